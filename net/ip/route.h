/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/route.h: which neighbour is next on the way to an address.
 *
 * A host has a handful of routes: the table is an array of at most 64, longest prefix first, with
 * the last answer remembered. (rte_lpm takes 64 MiB per table; it is for routers.)
 */
#ifndef APUS_NET_IP_ROUTE_H
#define APUS_NET_IP_ROUTE_H

#include "net/ip/addr.h"

APUS_BEGIN_DECLS

#define APUS_ROUTES_MAX 64

/* IPv4, all in network order. */
struct apus_route {
	uint32_t prefix;
	uint32_t mask;
	uint32_t gateway; /* 0: connected, the destination is a neighbour itself */
	uint8_t prefix_bits;
};

struct apus_route_table {
	uint16_t count;
	uint32_t changes;                          /* so far */
	struct apus_route routes[APUS_ROUTES_MAX]; /* longest prefix first */
	/* The last answer; cached_dst 0: none (0.0.0.0 is never looked up). */
	uint32_t cached_dst;
	uint32_t cached_next_hop;
};

void apus_route_init(struct apus_route_table *table);

/**
 * apus_route_add - packets to @prefix/@bits go by @gateway
 * @prefix:  bits beyond @bits do not matter
 * @gateway: any: they are neighbours (a connected route); else itself on a connected route
 *
 * Context: any. Return: 0; -EEXIST (this prefix has a route), -ENOSPC (64 routes), -EINVAL,
 * -ENETUNREACH (no connected route to the gateway).
 */
APUS_MUST_CHECK int apus_route_add(struct apus_route_table *table, struct apus_addr prefix,
				   unsigned int bits, struct apus_addr gateway);
/** apus_route_del - Return: 0, -ENOENT, -EINVAL. Context: any */
APUS_MUST_CHECK int apus_route_del(struct apus_route_table *table, struct apus_addr prefix,
				   unsigned int bits);

/** apus_route_lookup_slow - the other half of apus_route_lookup() */
APUS_MUST_CHECK int apus_route_lookup_slow(struct apus_route_table *table, uint32_t dst,
					   uint32_t *next_hop);

/* inline definitions */

/**
 * apus_route_lookup - the neighbour to hand a packet for @dst to, by the longest prefix
 * @dst:      IPv4, network order, not 0
 * @next_hop: written on success
 *
 * Context: any. Return: 0, -ENETUNREACH. Source: RFC 1122 §3.3.1.1
 */
APUS_MUST_CHECK static inline int apus_route_lookup(struct apus_route_table *table, uint32_t dst,
						    uint32_t *next_hop)
{
	if (apus_likely(dst == table->cached_dst)) {
		*next_hop = table->cached_next_hop;
		return 0;
	}
	return apus_route_lookup_slow(table, dst, next_hop);
}

APUS_END_DECLS

#endif
