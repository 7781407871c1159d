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

/* What is to be looked for. */
struct apus_tcp_fast_key {
	uint32_t local, remote; /* network order */
	uint32_t ports;         /* apus_tcp_demux_ports() */
	uint32_t hash;
};

/**
 * apus_tcp_fast_key - the first step of apus_tcp_fast_find(), which touches the packet only
 * @ip: of a whole packet without options; the header of TCP lies behind it
 *
 * Return: false: apus_tcp_input() is the way.
 */
static inline bool apus_tcp_fast_key(const struct apus_tcp_layer *layer,
				     const struct rte_ipv4_hdr *ip, struct apus_tcp_fast_key *key)
{
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);

	if (!APUS_TCP_FAST || layer->options.no_fast)
		return false;
	key->local = ip->dst_addr;
	key->remote = ip->src_addr;
	memcpy(&key->ports, &tcp->src_port, sizeof(key->ports)); /* and the destination behind it */
	key->ports = rte_be_to_cpu_32(key->ports);
	key->hash = apus_tcp_demux_hash_v4(&layer->demux, key->local, key->remote, key->ports);
	return true;
}

/** apus_tcp_fast_find - whose it is. Return: NULL: no connection's; else ask apus_tcp_fast_arrives(), before the next flush */
static inline struct apus_tcp *apus_tcp_fast_find(const struct apus_tcp_layer *layer,
						  const struct apus_tcp_fast_key *key)
{
	struct apus_tcp_found found = apus_tcp_demux_find_v4(&layer->demux, key->hash, key->local,
							     key->remote, key->ports);

	return found.kind == APUS_TCP_KIND_CONNECTION ? found.entry : NULL;
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
