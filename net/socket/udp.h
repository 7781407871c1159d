/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/udp.h: datagrams for tasks (RFC 768, RFC 8085).
 */
#ifndef APUS_NET_SOCKET_UDP_H
#define APUS_NET_SOCKET_UDP_H

#include "net/ip/addr.h"

APUS_BEGIN_DECLS

struct apus_udp;

/* A datagram that is lent. */
struct apus_udp_view {
	const void *bytes;
	size_t len;
	struct apus_endpoint from;
};

/**
 * apus_udp_open - receive datagrams for @local
 * @local:  address (any: all of the stack's) and port (0: one is chosen)
 * @remote: NULL, or the only peer: others' datagrams are not seen, and ICMP errors are reported
 *
 * Context: any, on a shard. Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, -ENETUNREACH (no way to @remote), -ENOMEM.
 */
APUS_MUST_CHECK int apus_udp_open(struct apus_endpoint local, const struct apus_endpoint *remote,
				  struct apus_udp **out);
/**
 * apus_udp_recv - the next datagram
 * @from: may be NULL
 *
 * The queue is bounded (256 datagrams); what comes when it is full is dropped and counted. What does
 * not fit into @len is cut off.
 *
 * Context: task, suspends. Return: bytes; -ECONNREFUSED (connected: port unreachable), -ECANCELED.
 */
APUS_MUST_CHECK int64_t apus_udp_recv(struct apus_udp *u, void *buf, size_t len,
				      struct apus_endpoint *from);
/**
 * apus_udp_recv_many - the next datagrams, lent where they lie
 * @views: written, of those that are here, in order, at most @n > 0
 * @buf:   of @len bytes: where one goes that cannot be lent, as by apus_udp_recv(); it comes alone. The
 *         kernel's sockets lend none
 *
 * Waits for at least one. The views are valid until the next apus_udp_recv_many() or apus_udp_recv()
 * on @u, which gives them back before it waits, or apus_udp_close(). Till then they have their place
 * in the queue. One task at a time receives.
 *
 * Context: task, suspends. Return: views, 1 to @n; as apus_udp_recv().
 */
APUS_MUST_CHECK int64_t apus_udp_recv_many(struct apus_udp *u, struct apus_udp_view *views, int n,
					   void *buf, size_t len);
/**
 * apus_udp_send - send one datagram; it leaves in this turn, or is dropped and counted
 * @to: NULL for a connected socket's peer
 *
 * Context: any, on the shard. Return: @len; -EMSGSIZE (more than the MTU allows), -ENOBUFS,
 * -EHOSTUNREACH, -ENETUNREACH, -EDESTADDRREQ.
 */
APUS_MUST_CHECK int64_t apus_udp_send(struct apus_udp *u, const void *buf, size_t len,
				      const struct apus_endpoint *to);
/** apus_udp_close - consumes @u. Context: any, on the shard */
void apus_udp_close(struct apus_udp *u);
/** apus_udp_local - its own end. Context: any */
struct apus_endpoint apus_udp_local(const struct apus_udp *u);

APUS_END_DECLS

#endif
