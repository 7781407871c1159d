/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/user.h: the user calls of RFC 9293 §3.10.1 to §3.10.6, none of which waits.
 *
 * net/socket/tcp.c makes the waiting calls of tasks out of these and of the wait queues; whoever
 * drives connections without tasks (a server that parks them, a foreign loop) uses them as they
 * are. They append, mark, and return; what they caused is sent at the end of the turn.
 */
#ifndef APUS_NET_TCP_USER_H
#define APUS_NET_TCP_USER_H

#include "net/tcp/lent.h"
#include "net/tcp/short.h"

#include <sys/uio.h>

#define APUS_TCP_LINGER_SHIFT 28         /* units of linger: about a quarter of a second */
#define APUS_TCP_LINGER_RESET UINT16_MAX /* instead of a time: close resets */

/**
 * apus_tcp_call_open - OPEN, active: a SYN leaves in this turn
 * @out: a connection in SYN-SENT, with one hold for the caller
 *
 * Context: any, on the shard.
 * Return:  0; -ENETUNREACH, -EADDRNOTAVAIL (no free port, or no address to connect to), -ENOMEM.
 */
APUS_MUST_CHECK int apus_tcp_call_open(struct apus_tcp_layer *layer, struct apus_endpoint remote,
				       int64_t now_ns, struct apus_tcp **out);

/** apus_tcp_call_open_from - the same, from @local: any address and port 0 are chosen. Return: also -EADDRNOTAVAIL (not ours), -EADDRINUSE (the four-tuple) */
APUS_MUST_CHECK int apus_tcp_call_open_from(struct apus_tcp_layer *layer,
					    struct apus_endpoint local, struct apus_endpoint remote,
					    int64_t now_ns, struct apus_tcp **out);

/** apus_tcp_call_send - SEND: queue what fits. Return: bytes; -EAGAIN when none; -EPIPE, -ECONNRESET, -ETIMEDOUT, ... */
APUS_MUST_CHECK int64_t apus_tcp_call_send(struct apus_tcp *c, const struct iovec *iov, size_t n,
					   int64_t now_ns);

/** apus_tcp_is_open - nothing has ended, neither for us nor for the peer; of our own network */
static inline bool apus_tcp_is_open(const struct apus_tcp *c)
{
	return apus_likely(c->is_steady) ||
	       (c->state == APUS_TCP_ESTABLISHED && !c->error && !(c->is_released | c->is_kernel));
}

/**
 * apus_tcp_call_room - SEND, in the plainest case, of text that is made in place
 *
 * Context: any, on the shard. Return: room for @n bytes, > 0, to be filled at once; NULL: nothing is
 * done, and apus_tcp_call_send() is the way.
 */
static inline char *apus_tcp_call_room(struct apus_tcp *c, size_t n)
{
	if (!apus_tcp_is_open(c) || !apus_tcp_memory_plenty(&c->layer->memory, (uint32_t)n))
		return NULL;
	return (char *)apus_sndq_room(&c->sndq, n);
}
/** apus_tcp_call_filled - the first @n bytes of it, > 0, are queued now */
static inline void apus_tcp_call_filled(struct apus_tcp *c, size_t n)
{
	apus_sndq_filled(&c->sndq, n);
	apus_tcp_memory_taken(&c->layer->memory, (uint32_t)(n / APUS_TCP_MEMORY_MBUF) + 1);
	apus_tcp_mark_open(c);
}

/** apus_tcp_call_send_lent - SEND, without copying: as apus_sndq_append_lent(). Return: as apus_tcp_call_send() */
APUS_MUST_CHECK int64_t apus_tcp_call_send_lent(struct apus_tcp *c, const void *bytes, size_t count,
						struct apus_tcp_lent *lent, int64_t now_ns);

/** apus_tcp_call_peek - RECEIVE, lent: views of what is there, until apus_tcp_call_consume(). Return: how many, at most @n; 0 at the end; -EAGAIN when none; -ECONNRESET, ... */
APUS_MUST_CHECK int apus_tcp_call_peek(struct apus_tcp *c, struct iovec *views, int n);
/** apus_tcp_call_consume - the first @bytes of what was lent are done with; no view is valid any more */
void apus_tcp_call_consume(struct apus_tcp *c, size_t bytes);

/** apus_tcp_call_view - RECEIVE, lent: apus_tcp_call_peek() of what is there in one piece. Return: bytes at *@out; 0: it is not so */
APUS_MUST_CHECK static inline size_t apus_tcp_call_view(struct apus_tcp *c, char **out)
{
	struct rte_mbuf *m = c->rcvq.head;

	if (apus_unlikely(!m || m != c->rcvq.tail || !apus_tcp_is_open(c)))
		return 0;
	c->is_lent = true;
	*out = rte_pktmbuf_mtod(m, char *);
	return m->data_len;
}
/** apus_tcp_call_is_dry - would RECEIVE say -EAGAIN, and that of our own network? */
static inline bool apus_tcp_call_is_dry(const struct apus_tcp *c)
{
	return !c->rcvq.head && apus_tcp_is_open(c);
}
/** apus_tcp_call_drop - apus_tcp_call_consume() of all that is there, in one piece, which lets the window stay. Return: else nothing is done */
APUS_MUST_CHECK static inline bool apus_tcp_call_drop(struct apus_tcp *c, size_t bytes)
{
	struct rte_mbuf *m = c->rcvq.head;

	if (apus_unlikely(!m || m != c->rcvq.tail || bytes != m->data_len || !apus_tcp_is_open(c) ||
			  c->rcv.adv - c->rcv.nxt < c->rcv_buffer / 2))
		return false;
	c->rcvq.head = c->rcvq.tail = NULL;
	c->rcvq.bytes = 0;
	c->is_lent = false;
	apus_mbuf_put(m);
	return true;
}
/** apus_tcp_call_take - RECEIVE, of all that is there, in one piece, which lets the window stay. Return: bytes; 0: nothing is done, and @buf may be scribbled on */
APUS_MUST_CHECK static inline size_t apus_tcp_call_take(struct apus_tcp *c, void *buf, size_t len)
{
	const struct rte_mbuf *m = c->rcvq.head;
	size_t bytes = m ? m->data_len : 0;

	if (!bytes || bytes > len)
		return 0;
	memcpy(buf, rte_pktmbuf_mtod(m, const void *), bytes);
	return apus_tcp_call_drop(c, bytes) ? bytes : 0;
}

/** apus_tcp_call_urgent - bytes to be read up to the end of the peer's urgent text (RFC 9293 §3.8.5, MUST-33); 0: none is pending */
uint32_t apus_tcp_call_urgent(struct apus_tcp *c);
/** apus_tcp_call_receive - RECEIVE: take what is there. Return: bytes; 0 at the end; -EAGAIN when none; -ECONNRESET, ... */
APUS_MUST_CHECK int64_t apus_tcp_call_receive(struct apus_tcp *c, void *buf, size_t len);

/** apus_tcp_call_shutdown - CLOSE, our half: FIN follows what is queued. Return: 0, -EPIPE (done before), -ECONNRESET, ... */
APUS_MUST_CHECK int apus_tcp_call_shutdown(struct apus_tcp *c);

/** apus_tcp_call_close - CLOSE, both halves: the handle is given up, delivery goes on; unread text is a reset. Consumes the hold */
void apus_tcp_call_close(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_call_abort - ABORT: reset. Consumes the hold */
void apus_tcp_call_abort(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_call_status - STATUS */
enum apus_tcp_state apus_tcp_call_status(const struct apus_tcp *c);

#endif
