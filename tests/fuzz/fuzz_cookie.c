/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_cookie.c: SYN cookies of any peer at any time, and any change of them.
 *
 * Input: master key (16), four-tuple (36), IRS (4), MSS (2), minute and second (2), seconds that pass
 * (1), a timestamp (4) and its options (1), then the place of a bit to change (1).
 *
 * A cookie is good for a minute at least and for two at most, says no more than the SYN did, and
 * after a change of anything it stands for it is good no more, but for a chance of 2^-28 that is
 * taken for never.
 */
#include "net/tcp/cookie.h"
#include "runtime/base/check.h"

#include <string.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t master[sizeof(struct apus_siphash_key)];
	uint8_t key[sizeof(struct apus_tcp_key)];
	uint32_t irs;
	uint16_t mss;
	uint8_t minute, second, passed_s;
	uint32_t ts;
	uint8_t options, bit;
} __attribute__((packed));

#define SIZE_BITS 0xeU /* of a cookie: which of our segment sizes */

static void check_timestamp(const struct input *in)
{
	struct apus_tcp_cookie_options told, options = {
						     .wscale = (int8_t)(in->options % 16 - 1),
						     .sack_permitted = in->options & 16,
						     .ecn = in->options & 32,
					     };
	uint32_t ts = apus_tcp_cookie_ts(in->ts, &options);

	told = apus_tcp_cookie_ts_options(ts);
	apus_must_op(told.wscale, ==, options.wscale);
	apus_must_op(told.sack_permitted, ==, options.sack_permitted);
	apus_must_op(told.ecn, ==, options.ecn);
	apus_must_op(in->ts - ts, <, 64);
}

static void check_changed(struct apus_tcp_cookie_jar *jar, const struct input *in, uint32_t iss,
			  int64_t now_ns)
{
	struct {
		struct apus_tcp_key key;
		uint32_t irs, iss;
	} all = {.irs = in->irs, .iss = iss};
	struct apus_tcp_key key;
	uint32_t bit = in->bit % (sizeof(all) * 8);
	uint32_t size_bits;
	uint16_t mss;

	static_assert(sizeof(all) == sizeof(all.key) + 8, "no padding is changed");
	memcpy(&all.key, in->key, sizeof(all.key));
	((uint8_t *)&all)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	key = all.key;
	size_bits = all.iss ^ iss;
	mss = apus_tcp_cookie_check(jar, &key, all.irs, all.iss, now_ns);
	if (size_bits && !(size_bits & ~SIZE_BITS))
		apus_must_op(mss, >=, 48); /* another size, which the peer could have had */
	else
		apus_must_op(mss, ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apus_tcp_cookie_jar jar;
	struct apus_siphash_key master;
	struct apus_tcp_key key;
	struct input in;

	if (size < sizeof(in))
		return 0;
	memcpy(&in, data, sizeof(in));
	memcpy(&master, in.master, sizeof(master));
	memcpy(&key, in.key, sizeof(key));
	apus_tcp_cookie_init(&jar, &master);

	int64_t made_ns = in.minute * APUS_TCP_COOKIE_PERIOD_NS + in.second % 60 * APUS_SEC;
	int64_t now_ns = made_ns + in.passed_s * APUS_SEC;
	int64_t periods = now_ns / APUS_TCP_COOKIE_PERIOD_NS - in.minute;
	uint32_t iss = apus_tcp_cookie_make(&jar, &key, in.irs, in.mss, made_ns);
	uint16_t mss = apus_tcp_cookie_check(&jar, &key, in.irs, iss, now_ns);

	apus_must_op(!mss, ==, periods > 1);
	if (mss) {
		apus_must_op(mss, <=, in.mss ? apus_max(in.mss, 48) : 536);
		check_changed(&jar, &in, iss, now_ns);
	}
	check_timestamp(&in);
	return 0;
}
