/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/listen.h: the LISTEN state: listeners, request entries, the accept queue.
 *
 * A SYN makes a request entry of at most 96 bytes, not a connection: that comes with the ACK of our
 * SYN. Entries hang in their listener by the number of SYN-ACKs sent, each list in order of time,
 * so that one timer per listener serves them all in O(1). Backlog bounds the entries of a listener
 * and the connections nobody accepted yet, each; at the limit a SYN is answered by a cookie and
 * makes no entry. With cookies switched off it takes the place of the oldest entry that let a
 * SYN-ACK time out, or is dropped: a flood that never answers cannot lock others out for more than
 * a second.
 */
#ifndef APUS_NET_TCP_LISTEN_H
#define APUS_NET_TCP_LISTEN_H

#include "net/tcp/tcb.h"

#define APUS_TCP_BACKLOG_DEFAULT 4096

/* SYN-RECEIVED, before there is a TCB. */
struct apus_tcp_request {
	struct apus_tcp_key key; /* first: demux.h */
	uint32_t iss, irs;
	struct apus_tcp_peer peer; /* what its SYN said */
	uint16_t challenge_tick;   /* as in struct apus_tcp, modulo 2^16: half a minute both ways */
	uint8_t retries;           /* SYN-ACKs sent again by the timer */
	bool reopens;              /* an entry in TIME-WAIT gave way, with the numbers below */
	struct apus_tcp_listener *listener;
	struct apus_list link; /* listener->requests[retries] */
	int64_t deadline_ns;   /* of the next SYN-ACK, or of giving up */
	uint32_t old_snd_nxt, old_rcv_nxt;
};

static_assert(sizeof(struct apus_tcp_request) <= 96, "TCP.md §3");

struct apus_tcp_listener {
	struct apus_list link; /* layer->listener_heads[] */
	struct apus_tcp_layer *layer;
	struct apus_endpoint local;
	uint32_t backlog;
	uint32_t request_count;
	struct apus_list requests[APUS_TCP_SYN_ACK_RETRIES + 1]; /* by retries, oldest first */
	struct apus_timer timer; /* armed for the earliest deadline, or earlier */
	struct apus_tcp **ready; /* ring of established connections, held */
	uint32_t ready_size;     /* places in the ring, a power of two */
	uint32_t ready_head;     /* taken so far */
	uint32_t ready_tail;     /* put so far */
	uint32_t holds;          /* the user's handle and tasks in accept */
	int64_t cookie_at_ns;    /* the last one was sent; long ago: none is out */
	bool is_closed;
	const struct apus_cc_type *congestion; /* of what it accepts; NULL: the stack's */
	struct apus_waitq acceptors;
};

/**
 * apus_tcp_listener_open - RFC 9293 §3.10.1, passive
 * @local:   any address is allowed; port 0: one is chosen
 * @backlog: 0: 4096
 *
 * Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, -ENOMEM.
 */
APUS_MUST_CHECK int apus_tcp_listener_open(struct apus_tcp_layer *layer, struct apus_endpoint local,
					   uint32_t backlog, struct apus_tcp_listener **out);
/** apus_tcp_listener_shut - no more requests; those not accepted are reset; acceptors get -EPIPE. Consumes the handle */
void apus_tcp_listener_shut(struct apus_tcp_listener *l, int64_t now_ns);
void apus_tcp_listener_unhold(struct apus_tcp_listener *l);

/** apus_tcp_listener_destroy - with all it has, in silence; the handle is void */
void apus_tcp_listener_destroy(struct apus_tcp_listener *l);

/** apus_tcp_listener_find - who listens there: the exact address before any; NULL */
struct apus_tcp_listener *apus_tcp_listener_find(const struct apus_tcp_layer *layer,
						 struct apus_addr addr, uint16_t port);
/** apus_tcp_listener_take - the oldest established connection, with its hold; NULL */
struct apus_tcp *apus_tcp_listener_take(struct apus_tcp_listener *l);

/** apus_tcp_listener_ready - how many wait to be accepted */
static inline uint32_t apus_tcp_listener_ready(const struct apus_tcp_listener *l)
{
	return l->ready_tail - l->ready_head;
}
/** apus_tcp_listener_reserve - a place for one more, by doubling the ring if need be. Return: false at the backlog, or without memory */
APUS_MUST_CHECK bool apus_tcp_listener_reserve(struct apus_tcp_listener *l);
/** apus_tcp_listener_put - @c waits to be accepted; there must be a place */
void apus_tcp_listener_put(struct apus_tcp_listener *l, struct apus_tcp *c);

static inline bool apus_tcp_listener_has_ready(const struct apus_tcp_listener *l)
{
	return l->ready_tail != l->ready_head;
}

/** apus_tcp_requests_init - no entries */
void apus_tcp_requests_init(struct apus_tcp_listener *l);
/** apus_tcp_requests_close - forget all entries */
void apus_tcp_requests_close(struct apus_tcp_listener *l);

/** apus_tcp_cookie_arrives - an ACK to @l, for which there is no entry. Return: false if it is none of our cookies (RFC 4987 §3.6) */
APUS_MUST_CHECK bool apus_tcp_cookie_arrives(struct apus_tcp_listener *l,
					     struct apus_tcp_arrival *a);
/** apus_tcp_request_open - a SYN came to @l: remember it, or have the peer remember it, and answer */
void apus_tcp_request_open(struct apus_tcp_listener *l, const struct apus_tcp_arrival *a);
/** apus_tcp_request_arrives - RFC 9293 §3.10.7.4 for SYN-RECEIVED from LISTEN */
void apus_tcp_request_arrives(struct apus_tcp_request *r, struct apus_tcp_arrival *a);

#endif
