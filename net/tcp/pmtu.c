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
 * a small path, so that its other connections need not find out for themselves; and from there the
 * search goes upwards (RFC 4821): now and then one segment of new text is longer, by half of
 * what is in question. If it arrives, all others become so; if it alone is lost, that says nothing of
 * congestion, and less remains in question. After the ten minutes the whole size is tried again.
 *
 * Where we differ: never below 536 bytes (TCP.md §2): the don't-fragment bit stays set on paths with
 * an MTU below 576.
 */
#include "net/tcp/pmtu.h"

#include "net/ip/ipv4.h"
#include "net/tcp/transmit.h"

#define HEADERS_BYTES   40 /* IPv4 and TCP, without options: RFC 9293 §3.7.1 */
#define MTU_LEAST       (APUS_TCP_MSS_LEAST_ICMP + HEADERS_BYTES)
#define BASE_MSS        1024 /* RFC 4821 §7.2; Linux's tcp_base_mss */
#define RETRIES_IN_VAIN 3    /* Linux's tcp_retries1, R1 of RFC 9293 §3.8.3 */
#define BEHIND_PROBE    3    /* full segments that tell of its loss: RFC 5681 §3.2 */

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

/* The packet that a segment with so many @bytes of text makes. */
static uint16_t mtu_of(const struct apus_tcp *c, uint32_t bytes)
{
	uint32_t options = c->mss_most - apus_tcp_path_mss(c, c->mss_most);

	return (uint16_t)(bytes + options + HEADERS_BYTES);
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

/* A smaller segment was answered: it gets there, and something larger does not. */
static void remember_black_hole(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_pmtu *pmtu = &c->layer->ip->pmtu;
	uint32_t mtu = mtu_of(c, c->cc.mss), most = c->mss_most + HEADERS_BYTES;
	uint32_t in_vain = mtu < BASE_MSS + HEADERS_BYTES ? BASE_MSS + HEADERS_BYTES : most;

	apus_pmtu_lower(pmtu, c->key.remote, (uint16_t)mtu, now_ns);
	apus_pmtu_search(pmtu, c->key.remote, (uint16_t)(apus_min(in_vain, most) - 1), now_ns);
}

/* ---- the search upwards ---- */

static void path_probed(struct apus_tcp *c, bool passed, int64_t now_ns)
{
	uint16_t mtu = mtu_of(c, c->recovery->path_probe_bytes);

	apus_tcp_count(c->layer,
		       passed ? APUS_TCP_COUNT_MTU_PROBES_PASSED : APUS_TCP_COUNT_MTU_PROBES_LOST);
	apus_pmtu_probed(&c->layer->ip->pmtu, c->key.remote, mtu, passed, now_ns);
	c->recovery->path_probe_bytes = 0;
}

void apus_tcp_path_probe_lost(struct apus_tcp *c, int64_t now_ns)
{
	path_probed(c, false, now_ns);
	apus_tcp_resegment(c);
}

/* Room for the probe and for what tells of its loss, in both windows, and text for it. */
static bool has_room(const struct apus_tcp *c, uint32_t bytes)
{
	uint32_t flight = c->snd.nxt - c->snd.una, window = apus_min(c->snd.wnd, c->cc.cwnd_bytes);
	uint32_t all = bytes + BEHIND_PROBE * c->cc.mss;

	return apus_tcp_text_end(c) - c->snd.nxt >= all && window >= flight &&
	       window - flight >= all;
}

uint32_t apus_tcp_path_probe(struct apus_tcp *c, int64_t now_ns)
{
	const struct apus_recovery *r = c->recovery;
	uint32_t bytes;
	uint16_t mtu;

	if (c->layer->options.no_mtu_probing || c->is_black_hole || r->path_probe_bytes ||
	    r->state != APUS_RECOVERY_OPEN || r->flight.lost_bytes || c->rcvq.ooo ||
	    apus_seq_gt(c->snd.nxt, apus_tcp_text_end(c)))
		return 0;
	mtu = apus_pmtu_next(&c->layer->ip->pmtu, c->key.remote, now_ns);
	bytes = mtu ? mss_of_mtu(c, mtu) : 0;
	return bytes > c->cc.mss && has_room(c, bytes) ? bytes : 0;
}

void apus_tcp_follow_path_slow(struct apus_tcp *c, int64_t now_ns)
{
	if (c->is_black_hole) {
		if (c->retries)
			return; /* not answered either */
		c->is_black_hole = false;
		remember_black_hole(c, now_ns);
	}
	if (c->recovery->path_probe_bytes && apus_seq_geq(c->snd.una, c->recovery->path_probe_end))
		path_probed(c, true, now_ns);

	uint32_t mss = apus_tcp_mss_now(c, now_ns);

	if (mss > c->cc.mss) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_MSS_RAISED);
		apus_cc_set_mss(&c->cc, mss);
	}
	c->is_path_small = mss < apus_tcp_path_mss(c, c->mss_most);
}
