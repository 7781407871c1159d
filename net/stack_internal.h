/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/stack_internal.h: what a stack is made of, for net/socket and the tests.
 */
#ifndef APUS_NET_STACK_INTERNAL_H
#define APUS_NET_STACK_INTERNAL_H

#include "net/ip/arp.h"
#include "net/ip/eth.h"
#include "net/ip/icmp.h"
#include "net/ip/ipv4.h"
#include "net/ip/route.h"
#include "net/ip/udp.h"
#include "net/stack.h"
#include "net/tcp/layer.h"

APUS_BEGIN_DECLS

/* The rooms, by value, in floor order: each points only to rooms before it. */
struct apus_stack {
	struct apus_poller poller; /* of the shard */
	struct apus_shard *shard;
	struct apus_link *link; /* owned */
	struct apus_eth eth;
	struct apus_arp arp;
	struct apus_route_table routes;
	struct apus_ipv4 ipv4;
	struct apus_icmp icmp;
	struct apus_udp_layer udp;
	struct apus_tcp_layer tcp;
};

APUS_END_DECLS

#endif
