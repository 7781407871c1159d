/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/fast.h: the short way for segments about which nothing is odd; see fast.c.
 *
 * In two steps, so that a burst can be walked in stages: find the connection, which may be far away
 * in memory, then act. Without -Dtcp_fast nothing is ever found.
 */
#ifndef APUS_NET_TCP_FAST_H
#define APUS_NET_TCP_FAST_H

#include "net/ip/ipv4.h"
#include "net/tcp/tcb.h"

#include <rte_tcp.h>

/** apus_tcp_fast_is_on - are there segments to be looked for? */
static inline bool apus_tcp_fast_is_on(const struct apus_tcp_layer *layer)
{
	return APUS_TCP_FAST && !layer->options.no_fast;
}

/** apus_tcp_fast_seek - the first step: @ip is of a whole packet without options; behind it lies the header of TCP */
static inline void apus_tcp_fast_seek(const struct apus_tcp_layer *layer,
				      const struct rte_ipv4_hdr *ip, struct apus_tcp_sought *sought)
{
	static_assert(sizeof(*ip) - offsetof(struct rte_ipv4_hdr, src_addr) == 8, "then the ports");
	apus_tcp_demux_seek(&layer->demux, &ip->src_addr, sought);
}

/** apus_tcp_fast_find - whose it is. Return: NULL: no connection's; else ask apus_tcp_fast_arrives(), before the next flush */
static inline struct apus_tcp *apus_tcp_fast_find(const struct apus_tcp_layer *layer,
						  const struct apus_tcp_sought *sought)
{
	return (struct apus_tcp *)apus_tcp_demux_connection(&layer->demux, sought);
}

/** apus_tcp_fast_prefetch - a segment of it arrives soon */
static inline void apus_tcp_fast_prefetch(const struct apus_tcp *c)
{
	for (size_t at = 0; at < 3 * APUS_CACHE_LINE; at += APUS_CACHE_LINE)
		apus_prefetch((const char *)c + at);
}

/**
 * apus_tcp_fast_arrives - a segment arrives
 * @c: apus_tcp_fast_find() of it, in this burst
 * @m: as for apus_tcp_input(); consumed if so
 *
 * Context: the loop, within the burst.
 * Return:  true: done; false: nothing was done, apus_tcp_input() is the way.
 * Source:  RFC 9293 §3.10.7.4
 */
#if APUS_TCP_FAST
APUS_MUST_CHECK bool apus_tcp_fast_arrives(struct apus_tcp *c, struct rte_mbuf *m, int64_t now_ns);
#else
APUS_MUST_CHECK static inline bool apus_tcp_fast_arrives(struct apus_tcp *c, struct rte_mbuf *m,
							 int64_t now_ns)
{
	return false;
}
#endif

#endif
