/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/icmp.h: ICMP: echo, and errors in both directions (RFC 792, RFC 1122 §3.2.2).
 */
#ifndef APUS_NET_IP_ICMP_H
#define APUS_NET_IP_ICMP_H

#include "net/ip/addr.h"
#include "net/ip/bucket.h"
#include "net/ip/ipv4.h"

APUS_BEGIN_DECLS

/* Errors sent, to everybody together. */
#define APUS_ICMP_ERRORS_PER_SECOND 1000
#define APUS_ICMP_ERRORS_BURST      50

enum apus_icmp_type {
	APUS_ICMP_ECHO_REPLY = 0,
	APUS_ICMP_UNREACHABLE = 3,
	APUS_ICMP_SOURCE_QUENCH = 4,
	APUS_ICMP_REDIRECT = 5,
	APUS_ICMP_ECHO_REQUEST = 8,
	APUS_ICMP_TIME_EXCEEDED = 11,
	APUS_ICMP_PARAMETER_PROBLEM = 12,
};

/* Of APUS_ICMP_UNREACHABLE. */
enum apus_icmp_unreachable_code {
	APUS_ICMP_UNREACHABLE_NET = 0,
	APUS_ICMP_UNREACHABLE_HOST = 1,
	APUS_ICMP_UNREACHABLE_PROTOCOL = 2,
	APUS_ICMP_UNREACHABLE_PORT = 3,
	APUS_ICMP_UNREACHABLE_TOO_BIG = 4,
};

/* What an error said about a packet of ours, in host order; not yet believed (RFC 5927). */
struct apus_icmp_error {
	uint8_t type, code;
	uint8_t proto; /* IPPROTO_* of the packet of ours */
	struct apus_addr local, remote;
	uint16_t local_port, remote_port;
	uint32_t seq; /* TCP's; of other protocols the second four bytes */
	uint16_t mtu; /* of the next hop, with APUS_ICMP_UNREACHABLE_TOO_BIG; 0: not told */
};

#define APUS_ICMP_COUNTERS(X)                      \
 X(RX_MESSAGES, "rx_messages")                     \
 X(RX_ECHO_REQUESTS, "rx_echo_requests")           \
 X(RX_ECHO_REPLIES, "rx_echo_replies")             \
 X(RX_ERRORS, "rx_errors")                         \
 X(IGNORED_REDIRECT, "ignored_redirect")           \
 X(IGNORED_SOURCE_QUENCH, "ignored_source_quench") \
 X(IGNORED_TYPE, "ignored_type")                   \
 X(DROP_SHORT, "drop_short")                       \
 X(DROP_CHECKSUM, "drop_checksum")                 \
 X(DROP_BROADCAST, "drop_broadcast")               \
 X(DROP_INNER_SHORT, "drop_inner_short")           \
 X(DROP_INNER_HEADER, "drop_inner_header")         \
 X(DROP_INNER_NOT_OURS, "drop_inner_not_ours")     \
 X(DROP_INNER_FRAGMENT, "drop_inner_fragment")     \
 X(DROP_INNER_PROTOCOL, "drop_inner_protocol")     \
 X(NO_MBUF, "no_mbuf")                             \
 X(TX_ECHO_REPLIES, "tx_echo_replies")             \
 X(TX_ERRORS, "tx_errors")                         \
 X(TX_ERRORS_LIMITED, "tx_errors_limited")         \
 X(TX_ERRORS_FORBIDDEN, "tx_errors_forbidden")

enum apus_icmp_counter {
#define X(id, name) APUS_ICMP_##id,
	APUS_ICMP_COUNTERS(X)
#undef X
	APUS_ICMP_COUNTER_COUNT,
};

struct apus_icmp {
	struct apus_ipv4 *ip;      /* the room below */
	struct apus_bucket errors; /* limits what unreachable sends */
	uint64_t counters[APUS_ICMP_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

void apus_icmp_init(struct apus_icmp *icmp, struct apus_shard *shard, struct apus_ipv4 *ip);
void apus_icmp_fini(struct apus_icmp *icmp);

/**
 * apus_icmp_input - answer an echo request, or read an error
 * @m:     data at the IPv4 header, as apus_ipv4_input() left it; consumed
 * @error: written when it is for a transport
 *
 * Context: any. Return: true if @error is to be handed to the transport of its protocol.
 */
APUS_MUST_CHECK bool apus_icmp_input(struct apus_icmp *icmp, struct rte_mbuf *m, int64_t now_ns,
				     struct apus_icmp_error *error);

/**
 * apus_icmp_neighbour_lost - what a router would say of a packet of ours that found no neighbour
 * @m:     data at the IPv4 header, of a packet that was not sent; borrowed
 * @error: written when it is for a transport: host unreachable (RFC 1122 §2.4)
 *
 * Context: any. Return: true if @error is to be handed to the transport of its protocol.
 */
APUS_MUST_CHECK bool apus_icmp_neighbour_lost(const struct rte_mbuf *m,
					      struct apus_icmp_error *error);

/**
 * apus_icmp_unreachable - tell the sender of @m that it did not get where it should
 * @m: data at the IPv4 header, as apus_ipv4_input() left it; borrowed
 *
 * Says nothing where RFC 1122 §3.2.2 forbids it (about an ICMP error, a broadcast, a fragment), and
 * no more than the limit.
 *
 * Context: any. Source: RFC 792, RFC 1122 §3.2.2.1
 */
void apus_icmp_unreachable(struct apus_icmp *icmp, const struct rte_mbuf *m,
			   enum apus_icmp_unreachable_code code, int64_t now_ns);

APUS_END_DECLS

#endif
