/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_internal.h: the user calls of net/tcp/user.h, on the kernel's sockets.
 *
 * A connection is a struct apus_tcp like any, with `is_kernel` set: its key, its wait queues, its
 * error and the flags of calls under way are used as they are, so net/socket/tcp.c waits in the same
 * lines for both. `layer` is NULL. None of these calls waits.
 */
#ifndef APUS_NET_SOCKET_KERNEL_INTERNAL_H
#define APUS_NET_SOCKET_KERNEL_INTERNAL_H

#include "net/ip/udp.h"
#include "net/socket/kernel.h"
#include "net/socket/kernel_inq.h"
#include "net/socket/tcp.h"
#include "net/tcp/info.h"
#include "net/tcp/listen.h"
#include "net/tcp/tcb.h"
#include "runtime/io/ring.h"

#include <netinet/in.h>

struct apus_kernel {
	struct apus_poller poller;
	struct apus_shard *shard;
	struct apus_ring *ring;
	struct apus_kernel_options options;
	struct apus_list connections; /* all of them */
	struct apus_list marked;      /* those with something to do at the end of the turn */
	struct apus_list starved;     /* those that wait for a receive buffer */
	struct apus_list drained;     /* those that may have been reset, and nobody would tell */
	int64_t look_at_ns;           /* when these are looked at */
	struct apus_list listeners;
	int64_t accept_at_ns;       /* when those that could not accept try again */
	int64_t opened_at_ns;       /* this network, on the host's clock */
	struct apus_list datagrams; /* struct apus_udp.link */
	uint32_t polls;             /* of datagram sockets, under way */
	uint32_t closing;           /* connections that were closed and have something to send */
	struct apus_waitq closed;
	struct apus_kernel_chunks chunks;
};

/* Errors of the kernel's calls, as ours are called. */
int apus_kernel_error(int rc);
/* Return: 0; -ENETUNREACH: not IPv4 */
int apus_kernel_sockaddr(struct apus_endpoint e, struct sockaddr_in *out);
struct apus_endpoint apus_kernel_endpoint(const struct sockaddr_in *in);
/* Return: descriptor; -EMFILE, ... */
int apus_kernel_stream_socket(void);
/* With a @backlog it listens, too. Return: 0; -EADDRINUSE, ... */
int apus_kernel_bind(const struct apus_kernel *kernel, int fd, const struct sockaddr_in *name,
		     uint32_t backlog);

/* ---- listeners ---- */
int apus_kernel_listen(struct apus_kernel *kernel, struct apus_endpoint local, uint32_t backlog,
		       struct apus_tcp_listener **out);
struct apus_tcp *apus_kernel_listener_take(struct apus_tcp_listener *l);
bool apus_kernel_listener_has_ready(const struct apus_tcp_listener *l);
void apus_kernel_listener_shut(struct apus_tcp_listener *l);
void apus_kernel_listener_unhold(struct apus_tcp_listener *l);
int apus_kernel_listener_descriptor(const struct apus_tcp_listener *l);

/* ---- connections: as apus_tcp_call_*() of the same name ---- */
int apus_kernel_call_open(struct apus_kernel *kernel, struct apus_endpoint local,
			  struct apus_endpoint remote, struct apus_tcp **out);
int64_t apus_kernel_call_send(struct apus_tcp *c, const struct iovec *iov, size_t n);
int64_t apus_kernel_call_receive(struct apus_tcp *c, void *buf, size_t len);
int apus_kernel_call_peek(struct apus_tcp *c, struct iovec *views, int n);
void apus_kernel_call_consume(struct apus_tcp *c, size_t bytes);
/* Nobody writes for a while: the memory for what is written is given back, if it is empty. */
void apus_kernel_call_rest(struct apus_tcp *c);
int apus_kernel_call_shutdown(struct apus_tcp *c);
void apus_kernel_call_close(struct apus_tcp *c);
void apus_kernel_call_abort(struct apus_tcp *c);
void apus_kernel_unhold(struct apus_tcp *c);
int apus_kernel_set(struct apus_tcp *c, enum apus_tcp_option option, int64_t value);
int apus_kernel_set_congestion(int fd, const char *name); /* a listener's, too */
int apus_kernel_descriptor(const struct apus_tcp *c);     /* -1: closed */
uint32_t apus_kernel_unsent_bytes(const struct apus_tcp *c);
void apus_kernel_info(const struct apus_tcp *c, struct apus_tcp_info *info);

/* ---- datagrams: as apus_udp_*() ---- */
int apus_kernel_udp_open(struct apus_kernel *kernel, struct apus_endpoint local,
			 const struct apus_endpoint *remote, struct apus_udp **out);
void apus_kernel_udp_close(struct apus_udp *u);
int64_t apus_kernel_udp_recv(struct apus_udp *u, void *buf, size_t len, struct apus_endpoint *from);
int64_t apus_kernel_udp_send(struct apus_udp *u, const void *buf, size_t len,
			     const struct apus_endpoint *to);

/* ---- between its rooms ---- */
/* A connection from an accepted descriptor. Return: NULL without memory; @fd is closed then */
struct apus_tcp *apus_kernel_accepted(struct apus_kernel *kernel, int fd);
/* It has a user now: what comes is received. */
void apus_kernel_taken(struct apus_tcp *c);
/* Of the connection whose place in kernel->connections is @node. */
void apus_kernel_reset(struct apus_list *node);
/* All that waited for a buffer, or for room in the ring. */
void apus_kernel_feed(struct apus_kernel *kernel);
/* Were some of `drained` reset? Then they fail. */
void apus_kernel_look(struct apus_kernel *kernel, int64_t now_ns);
/* Sends what was written in this turn, and closes what was let go. */
void apus_kernel_send_marked(struct apus_kernel *kernel);

#endif
