/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cookie.c: SYN cookies (RFC 4987 §3.6); see cookie.h.
 *
 * A cookie: 28 bits of SipHash over four-tuple and IRS, three that say which of eight segment
 * sizes, hidden by other bits of the hash, and one that says which of two keys. A new key is in use
 * every minute, derived from the master key, so that nothing is drawn on the packet's path.
 *
 * Where we differ: a cookie does not grow with time as RFC 9293 §3.4.1 asks of an ISN; no room is
 * left for that. A SYN that reopens a connection from TIME-WAIT is therefore never answered with
 * one (listen.c), as in Linux.
 */
#include "net/tcp/cookie.h"

#include "net/tcp/segment.h"
#include "runtime/base/check.h"

#define SIZE_BITS   3
#define SIZES       (1U << SIZE_BITS)
#define CODE_BITS   (SIZE_BITS + 1) /* and which key */
#define MSS_DEFAULT 536             /* RFC 9293 §3.7.1 (MUST-15) */
#define WSCALE_NONE 15U
#define TS_WSCALE   0x0fU
#define TS_SACK     0x10U
#define TS_ECN      0x20U
#define TS_MASK     ((1U << APUS_TCP_COOKIE_TS_BITS) - 1)

/*
 * What segment sizes can be told, rounded down: the least that is believed (TCP.md §2), the
 * defaults of both IPs, then what tunnels, PPPoE, Ethernet and its jumbo frames make.
 */
static const uint16_t sizes[] = {48, 536, 1220, 1360, 1420, 1440, 1460, 8960};

static_assert(apus_countof(sizes) == SIZES, "all codes mean something");
static_assert(WSCALE_NONE > APUS_SEGMENT_WSCALE_MAX, "no shift is that large");

void apus_tcp_cookie_init(struct apus_tcp_cookie_jar *jar, const struct apus_siphash_key *master)
{
	*jar = (struct apus_tcp_cookie_jar){.master = *master, .period = -1};
}

static void derive(struct apus_tcp_cookie_jar *jar, int64_t period)
{
	struct apus_siphash_key *key = &jar->keys[period & 1];

	for (unsigned int i = 0; i < 2; i++) {
		int64_t from[2] = {period, i};

		key->k[i] = apus_siphash(&jar->master, from, sizeof(from));
	}
}

/* The keys of this period and of the one before. */
static void turn(struct apus_tcp_cookie_jar *jar, int64_t period)
{
	if (apus_likely(jar->period == period))
		return;
	if (jar->period != period - 1)
		derive(jar, period - 1);
	derive(jar, period);
	jar->period = period;
}

static uint64_t hash(const struct apus_tcp_cookie_jar *jar, unsigned int which,
		     const struct apus_tcp_key *key, uint32_t irs)
{
	struct {
		struct apus_tcp_key key;
		uint32_t irs;
	} of = {*key, irs};

	static_assert(sizeof(of) == sizeof(of.key) + sizeof(of.irs), "no padding is hashed");
	return apus_siphash(&jar->keys[which], &of, sizeof(of));
}

/* A hash, a size and the number of a key, as 32 bits. */
static uint32_t encode(uint64_t h, unsigned int size, unsigned int which)
{
	uint32_t hidden = (size ^ (uint32_t)(h >> 32)) & (SIZES - 1);

	return ((uint32_t)h & ~((1U << CODE_BITS) - 1)) | hidden << 1 | which;
}

uint32_t apus_tcp_cookie_make(struct apus_tcp_cookie_jar *jar, const struct apus_tcp_key *key,
			      uint32_t irs, uint16_t mss, int64_t now_ns)
{
	int64_t period = now_ns / APUS_TCP_COOKIE_PERIOD_NS;
	unsigned int which = period & 1, size = 0;

	if (!mss)
		mss = MSS_DEFAULT;
	while (size + 1 < SIZES && sizes[size + 1] <= mss)
		size++;
	turn(jar, period);
	return encode(hash(jar, which, key, irs), size, which);
}

uint16_t apus_tcp_cookie_check(struct apus_tcp_cookie_jar *jar, const struct apus_tcp_key *key,
			       uint32_t irs, uint32_t iss, int64_t now_ns)
{
	unsigned int which = iss & 1;

	turn(jar, now_ns / APUS_TCP_COOKIE_PERIOD_NS);

	uint64_t h = hash(jar, which, key, irs);
	unsigned int size = (iss >> 1 ^ (uint32_t)(h >> 32)) & (SIZES - 1);

	return encode(h, size, which) == iss ? sizes[size] : 0;
}

uint32_t apus_tcp_cookie_ts(uint32_t ts, const struct apus_tcp_cookie_options *options)
{
	uint32_t bits = options->wscale < 0 ? WSCALE_NONE : (uint32_t)options->wscale;

	apus_assert(options->wscale <= APUS_SEGMENT_WSCALE_MAX);
	bits |= (options->sack_permitted ? TS_SACK : 0) | (options->ecn ? TS_ECN : 0);

	/* Never ahead of the clock: a later timestamp must not be smaller (RFC 7323 §5). */
	uint32_t said = (ts & ~TS_MASK) | bits;

	return bits > (ts & TS_MASK) ? said - TS_MASK - 1 : said;
}

struct apus_tcp_cookie_options apus_tcp_cookie_ts_options(uint32_t ts)
{
	int8_t wscale = (int8_t)(ts & TS_WSCALE);

	return (struct apus_tcp_cookie_options){
		.wscale = (int8_t)(wscale == (int8_t)WSCALE_NONE ? -1 : wscale),
		.sack_permitted = ts & TS_SACK,
		.ecn = ts & TS_ECN,
	};
}
