/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/route.c: the table of routes (RFC 1122 §3.3.1).
 *
 * Invariant: routes are in order of prefix length, longest first, so the first that matches is the
 * answer; no two have the same prefix. Changes are rare and forget the cached answer.
 */
#include "net/ip/route.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <rte_byteorder.h>
#include <string.h>

#define BITS_MAX 32

void apus_route_init(struct apus_route_table *table)
{
	memset(table, 0, sizeof(*table));
}

static uint32_t mask_of(unsigned int bits)
{
	return bits ? rte_cpu_to_be_32(UINT32_MAX << (BITS_MAX - bits)) : 0;
}

/* "Any" is 0.0.0.0 here. Return: 0, -EINVAL for what is not IPv4 */
static int v4_or_any(struct apus_addr addr, uint32_t *v4)
{
	if (!apus_addr_is_any(addr) && !apus_addr_is_v4(addr))
		return -EINVAL;
	*v4 = apus_addr_to_v4(addr);
	return 0;
}

static const struct apus_route *match(const struct apus_route_table *table, uint32_t dst)
{
	for (uint16_t i = 0; i < table->count; i++) {
		if ((dst & table->routes[i].mask) == table->routes[i].prefix)
			return &table->routes[i];
	}
	return NULL;
}

/* Where the prefix is, or would be: after all longer ones and equal ones before it. */
static uint16_t find(const struct apus_route_table *table, uint32_t prefix, unsigned int bits,
		     bool *found)
{
	uint16_t i = 0;

	*found = false;
	for (; i < table->count && table->routes[i].prefix_bits >= bits; i++) {
		if (table->routes[i].prefix_bits == bits && table->routes[i].prefix == prefix) {
			*found = true;
			break;
		}
	}
	return i;
}

int apus_route_add(struct apus_route_table *table, struct apus_addr prefix, unsigned int bits,
		   struct apus_addr gateway)
{
	struct apus_route route = {.prefix_bits = (uint8_t)bits};
	bool found;

	if (bits > BITS_MAX || v4_or_any(prefix, &route.prefix) ||
	    v4_or_any(gateway, &route.gateway))
		return -EINVAL;
	route.mask = mask_of(bits);
	route.prefix &= route.mask;
	if (route.gateway) {
		const struct apus_route *way = match(table, route.gateway);

		if (!way || way->gateway)
			return -ENETUNREACH;
	}

	uint16_t i = find(table, route.prefix, bits, &found);

	if (found)
		return -EEXIST;
	if (table->count == APUS_ROUTES_MAX)
		return -ENOSPC;
	memmove(&table->routes[i + 1], &table->routes[i],
		(size_t)(table->count - i) * sizeof(route));
	table->routes[i] = route;
	table->count++;
	table->cached_dst = 0;
	table->changes++;
	return 0;
}

int apus_route_del(struct apus_route_table *table, struct apus_addr prefix, unsigned int bits)
{
	uint32_t v4;
	bool found;

	if (bits > BITS_MAX || v4_or_any(prefix, &v4))
		return -EINVAL;

	uint16_t i = find(table, v4 & mask_of(bits), bits, &found);

	if (!found)
		return -ENOENT;
	table->count--;
	memmove(&table->routes[i], &table->routes[i + 1],
		(size_t)(table->count - i) * sizeof(table->routes[0]));
	table->cached_dst = 0;
	table->changes++;
	return 0;
}

int apus_route_lookup_slow(struct apus_route_table *table, uint32_t dst, uint32_t *next_hop)
{
	apus_assert(dst != 0);

	const struct apus_route *route = match(table, dst);

	if (!route)
		return -ENETUNREACH;
	table->cached_dst = dst;
	table->cached_next_hop = route->gateway ? route->gateway : dst;
	*next_hop = table->cached_next_hop;
	return 0;
}
