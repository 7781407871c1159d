/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/pmtu.h: how large a connection's segments are, as what is known of its path changes.
 */
#ifndef APUS_NET_TCP_PMTU_H
#define APUS_NET_TCP_PMTU_H

#include "net/tcp/tcb.h"

/** apus_tcp_mss_now - bytes of text per segment that both SYNs and the path allow. At least 536, if the SYNs allow that */
uint32_t apus_tcp_mss_now(const struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_too_big - a router on the way says that nothing above @mtu bytes passes; its message was found credible. Source: RFC 1191 §6.3, §6.4 */
void apus_tcp_too_big(struct apus_tcp *c, uint16_t mtu, int64_t now_ns);

/** apus_tcp_black_hole - a timeout, after which c->retries of them have had no answer: segments may be too large, and nobody says so. Source: RFC 4821 §7.7, RFC 2923 §2.1 */
void apus_tcp_black_hole(struct apus_tcp *c, int64_t now_ns);

/**
 * apus_tcp_path_probe - is a segment to be tried that is larger than the path is known to take?
 *
 * When a black hole was found: with enough text behind it to hear of its loss soon, and while nothing
 * else is amiss.
 *
 * Return: bytes of its text; 0: no. Source: RFC 4821
 */
uint32_t apus_tcp_path_probe(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_path_probe_lost - and nothing else was: it goes again in smaller segments, cwnd stays. Source: RFC 4821 */
void apus_tcp_path_probe_lost(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_follow_path_slow - the other half of apus_tcp_follow_path() */
void apus_tcp_follow_path_slow(struct apus_tcp *c, int64_t now_ns);

/* inline definitions */

/** apus_tcp_follow_path - before text is sent: segments grow again when what kept them small is forgotten */
static inline void apus_tcp_follow_path(struct apus_tcp *c, int64_t now_ns)
{
	if (apus_unlikely(c->is_path_small))
		apus_tcp_follow_path_slow(c, now_ns);
}

#endif
