/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/pmtu.c: path MTU discovery (RFC 1191 §6.4, RFC 5927 §7), and what to do when routers keep
 * silent about it (RFC 4821 §7.7, RFC 2923 §2.1).
 *
 * What a router says is remembered for its destination for ten minutes (net/ip/pmtu.h), and obeyed
 * at once: what is in flight and was too long goes again in smaller segments, without a word to
 * congestion control. What cannot be true is ignored by name: an MTU of 0 (RFC 1191's old routers,
 * of which none are left; if one is, it is a black hole), below 68, or not below ours.
 *
 * Black holes: three timeouts in a row about a segment above 1024 bytes lower it to 1024, the next
 * to 536, as Linux's tcp_mtu_probing = 1 does. If that is answered, the destination is remembered as
 * a small path, so that its other connections need not find out for themselves; after the ten
 * minutes the whole size is tried again.
 *
 * Where we differ: RFC 4821 searches upwards with probes of growing size; ours go back to the whole
 * size at once, and then, if the hole is still there, down again. Never below 536 bytes (TCP.md §2):
 * the don't-fragment bit stays set on paths with an MTU below 576.
 */
#include "net/tcp/pmtu.h"

#include "net/ip/ipv4.h"
#include "net/tcp/transmit.h"

#define HEADERS_BYTES   40 /* IPv4 and TCP, without options: RFC 9293 §3.7.1 */
#define MTU_LEAST       (APUS_TCP_MSS_LEAST_ICMP + HEADERS_BYTES)
#define BASE_MSS        1024 /* RFC 4821 §7.2; Linux's tcp_base_mss */
#define RETRIES_IN_VAIN 3    /* Linux's tcp_retries1, R1 of RFC 9293 §3.8.3 */

/* What goes into one packet of @mtu bytes, at most what the SYNs allow. */
static uint32_t mss_of_mtu(const struct apus_tcp *c, uint32_t mtu)
{
	uint32_t mss = apus_max(mtu, (uint32_t)MTU_LEAST) - HEADERS_BYTES;

	return apus_tcp_path_mss(c, apus_min(mss, (uint32_t)c->mss_most));
}

uint32_t apus_tcp_mss_now(const struct apus_tcp *c, int64_t now_ns)
{
	struct apus_ipv4 *ip = c->layer->ip;

	return mss_of_mtu(c, apus_ipv4_path_mtu(ip, c->key.remote, now_ns));
}

/* The packet that the largest segment makes. */
static uint16_t mtu_now(const struct apus_tcp *c)
{
	uint32_t options = c->mss_most - apus_tcp_path_mss(c, c->mss_most);

	return (uint16_t)(c->cc.mss + options + HEADERS_BYTES);
}

/* RFC 1191 §6.4: no sign of congestion; what did not fit goes again at once. */
static void lower(struct apus_tcp *c, uint32_t mss)
{
	apus_tcp_count(c->layer, APUS_TCP_COUNT_MSS_LOWERED);
	apus_cc_set_mss(&c->cc, mss);
	c->is_path_small = true;
	apus_tcp_resegment(c);
}

void apus_tcp_too_big(struct apus_tcp *c, uint16_t mtu, int64_t now_ns)
{
	struct apus_tcp_layer *layer = c->layer;

	if (mtu < APUS_PMTU_MIN) {
		apus_tcp_count(layer, mtu ? APUS_TCP_COUNT_ICMP_MTU_IMPOSSIBLE
					  : APUS_TCP_COUNT_ICMP_MTU_ZERO);
		return;
	}
	if (mtu >= layer->ip->mtu) {
		apus_tcp_count(layer, APUS_TCP_COUNT_ICMP_MTU_NOT_LESS);
		return;
	}
	if (mtu < MTU_LEAST) {
		apus_tcp_count(layer, APUS_TCP_COUNT_ICMP_MTU_BELOW_LEAST);
		mtu = MTU_LEAST;
	}
	apus_pmtu_lower(&layer->ip->pmtu, c->key.remote, mtu, now_ns);

	uint32_t mss = mss_of_mtu(c, mtu);

	if (mss < c->cc.mss) /* a stale or forged one can only lower it */
		lower(c, mss);
}

void apus_tcp_black_hole(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t in_vain = apus_min(c->snd.nxt - c->snd.una, (uint32_t)c->cc.mss);
	uint32_t mss = BASE_MSS;

	if (c->layer->options.no_mtu_probing || c->retries < RETRIES_IN_VAIN)
		return;
	if (c->is_black_hole) /* 1024 bytes were in vain, too */
		mss = APUS_TCP_MSS_LEAST_ICMP;
	mss = mss_of_mtu(c, mss + HEADERS_BYTES);
	if (in_vain <= mss) /* its size is not what is wrong */
		return;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_MTU_BLACK_HOLES);
	c->is_black_hole = true;
	lower(c, mss);
}

void apus_tcp_follow_path_slow(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_ipv4 *ip = c->layer->ip;

	if (c->is_black_hole) {
		if (c->retries)
			return; /* not answered either */
		c->is_black_hole = false;
		apus_pmtu_lower(&ip->pmtu, c->key.remote, mtu_now(c), now_ns);
	}

	uint32_t mss = apus_tcp_mss_now(c, now_ns);

	if (mss > c->cc.mss) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_MSS_RAISED);
		apus_cc_set_mss(&c->cc, mss);
	}
	c->is_path_small = mss < apus_tcp_path_mss(c, c->mss_most);
}
