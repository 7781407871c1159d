/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/user.c: the user calls of RFC 9293 §3.10.1 to §3.10.6; see user.h.
 *
 * In the RFC's order: OPEN, SEND, RECEIVE, CLOSE, ABORT, STATUS. A switch lists all states, as
 * the RFC does.
 *
 * Where we differ: CLOSE comes in two, for one half (shutdown) and for both (close). A passive
 * OPEN makes a listener (listen.c), not a connection. CLOSE in SYN-RECEIVED waits for ESTABLISHED
 * in any case, so that a FIN is never sent before our SYN is acknowledged.
 */
#include "net/tcp/user.h"

#include "net/ip/ipv4.h"
#include "net/link/link.h"
#include "net/tcp/port.h"
#include "net/tcp/steady.h"
#include "net/tcp/window.h"

#include <errno.h>

#define SOURCES_TRIED_MAX 3 /* besides the first */

/* ---- §3.10.1 OPEN Call ---- */

/*
 * Any port, of any address: one whose ports are all in use to this peer is passed over, but not
 * many, because the others, which take turns, will be in the same state.
 */
static int choose_source(struct apus_tcp_layer *layer, struct apus_tcp_key *key, int64_t now_ns,
			 uint32_t *iss)
{
	uint32_t tries = apus_min(layer->ip->more, (uint32_t)SOURCES_TRIED_MAX);
	int rc;

	do {
		key->local = apus_ipv4_in_turn(layer->ip);
		rc = apus_tcp_choose_port(layer, key, now_ns, iss);
	} while (rc == -EADDRNOTAVAIL && tries-- > 0);
	return rc;
}

/* The two addresses and ports; *iss is the number to begin with. */
static int choose_key(struct apus_tcp_layer *layer, struct apus_endpoint local,
		      struct apus_endpoint remote, int64_t now_ns, struct apus_tcp_key *key,
		      uint32_t *iss)
{
	struct apus_addr source;

	/* RFC 9293 §3.9.2.3 (MUST-46): not to an address that no single host has. */
	if (!remote.port || !apus_ipv4_is_unicast(layer->ip, remote.addr))
		return -EADDRNOTAVAIL;

	int rc = apus_ipv4_source(layer->ip, remote.addr, &source);

	if (rc)
		return rc;
	if (!apus_addr_is_any(local.addr)) { /* RFC 9293 §3.9.1.1 (MUST-43) */
		if (!apus_ipv4_is_ours(layer->ip, local.addr))
			return -EADDRNOTAVAIL;
		source = local.addr;
	}
	*key = (struct apus_tcp_key){
		.local = source,
		.local_port = local.port,
		.remote = remote.addr,
		.remote_port = remote.port,
	};
	if (local.port)
		return apus_tcp_claim_port(layer, key, now_ns, iss);
	if (layer->ip->more && apus_addr_is_any(local.addr))
		return choose_source(layer, key, now_ns, iss);
	return apus_tcp_choose_port(layer, key, now_ns, iss);
}

int apus_tcp_call_open_from(struct apus_tcp_layer *layer, struct apus_endpoint local,
			    struct apus_endpoint remote, int64_t now_ns, struct apus_tcp **out)
{
	struct apus_tcp_key key;
	uint32_t iss;
	int rc = choose_key(layer, local, remote, now_ns, &key, &iss);

	if (rc)
		return rc;

	struct apus_tcp *c = apus_tcp_create(layer, &key, now_ns);

	if (!c)
		return -ENOMEM;
	rc = apus_tcp_demux_insert(&layer->demux, APUS_TCP_KIND_CONNECTION, c);
	if (rc) {
		apus_tcp_destroy(c);
		return rc;
	}
	c->in_demux = true;
	layer->alive++;
	apus_tcp_hold(c);
	/* SND.UNA to ISS; SND.NXT becomes ISS+1 when the SYN leaves, at the end of this turn. */
	c->snd.una = c->snd.nxt = iss;
	apus_tcp_enter(c, APUS_TCP_SYN_SENT);
	c->want |= APUS_TCP_WANT_SYN;
	apus_tcp_mark(c);
	*out = c;
	return 0;
}

int apus_tcp_call_open(struct apus_tcp_layer *layer, struct apus_endpoint remote, int64_t now_ns,
		       struct apus_tcp **out)
{
	return apus_tcp_call_open_from(layer, (struct apus_endpoint){.port = 0}, remote, now_ns,
				       out);
}

/* ---- §3.10.2 SEND Call ---- */

/* May text be queued? Return: 0, or why not. */
static int may_send(const struct apus_tcp *c)
{
	if (c->error)
		return c->error;
	if (c->is_close_queued)
		return -EPIPE;
	switch (c->state) {
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_SYN_RECEIVED: /* queued, until ESTABLISHED */
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_CLOSE_WAIT:
		return 0;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		return -EPIPE; /* "error: connection closing" */
	}
	return -EPIPE;
}

/* So much was queued, of text for which there was room for @least bytes. */
static int64_t queued(struct apus_tcp *c, size_t taken, size_t least, int64_t now_ns)
{
	if (!taken && apus_sndq_space(&c->sndq) >= least) {
		/* No mbuf, or few, and perhaps no ACK that will come. */
		apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MBUF);
		c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
	}
	apus_tcp_memory_queued(&c->layer->memory, taken);
	apus_tcp_mark(c);
	return taken ? (int64_t)taken : -EAGAIN;
}

/* For one call: the queue takes no more than there is memory for. */
static void limit_to_memory(struct apus_tcp *c)
{
	uint32_t space = apus_sndq_space(&c->sndq);

	if (apus_unlikely(!apus_tcp_memory_plenty(&c->layer->memory, space)))
		apus_sndq_set_limit(&c->sndq, c->sndq.bytes + apus_tcp_memory_room(c, space));
}

int64_t apus_tcp_call_send(struct apus_tcp *c, const struct iovec *iov, size_t n, int64_t now_ns)
{
	uint32_t limit_bytes = c->sndq.limit_bytes;
	int rc = may_send(c);
	size_t taken;

	if (rc)
		return rc;
	limit_to_memory(c);
	taken = apus_sndq_append(&c->sndq, iov, (int)n);
	apus_sndq_set_limit(&c->sndq, limit_bytes);
	return queued(c, taken, 1, now_ns);
}

int64_t apus_tcp_call_send_lent(struct apus_tcp *c, const void *bytes, size_t count,
				struct apus_tcp_lent *lent, int64_t now_ns)
{
	size_t least = apus_min(count, (size_t)APUS_SNDQ_LENT_LEAST), taken;
	uint32_t limit_bytes = c->sndq.limit_bytes;
	rte_iova_t iova;
	int rc = may_send(c);

	if (rc)
		return rc;
	apus_must(apus_link_can_send(c->layer->link, bytes, count, &iova));
	limit_to_memory(c);
	taken = apus_sndq_append_lent(&c->sndq, bytes, count, iova, &lent->shinfo);
	apus_sndq_set_limit(&c->sndq, limit_bytes);
	return queued(c, taken, least, now_ns);
}

/* ---- §3.10.3 RECEIVE Call ---- */

/*
 * RFC 9293 §3.8.6.2.2: the reader made room. The peer is told at once when what it was last
 * offered is less than half of the buffer, and two full segments or half the buffer more can be
 * offered; else the next segment tells it.
 */
static void update_window(struct apus_tcp *c)
{
	uint32_t wnd = c->rcv.adv - c->rcv.nxt;
	uint32_t least = apus_min(c->rcv_buffer / 2, 2U * c->cc.mss);

	if (wnd >= c->rcv_buffer / 2 || apus_tcp_window_grow(c) < least || apus_tcp_fin_received(c))
		return;
	c->want |= APUS_TCP_WANT_ACK_NOW;
	apus_tcp_mark(c);
}

/* Nothing is there: will anything come? Return: 0 if not, -EAGAIN. */
static int end_or_wait(const struct apus_tcp *c)
{
	switch (c->state) {
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_SYN_RECEIVED:
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
		return -EAGAIN;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		return 0; /* the peer has said all */
	}
	return 0;
}

int64_t apus_tcp_call_receive(struct apus_tcp *c, void *buf, size_t len)
{
	size_t taken;

	if (c->error)
		return c->error;
	if (!c->rcvq.bytes)
		return end_or_wait(c);
	taken = apus_rcvq_read(&c->rcvq, buf, len);
	c->is_lent = false;
	if (apus_tcp_synchronized(c->state))
		update_window(c);
	return (int64_t)taken;
}

int apus_tcp_call_peek(struct apus_tcp *c, struct iovec *views, int n)
{
	if (c->error)
		return c->error;
	if (!c->rcvq.bytes)
		return end_or_wait(c);
	c->is_lent = true;
	return apus_rcvq_peek(&c->rcvq, views, n);
}

void apus_tcp_call_consume(struct apus_tcp *c, size_t bytes)
{
	apus_rcvq_consume(&c->rcvq, bytes);
	c->is_lent = false;
	if (c->error) /* what would have gone with the connection but was lent */
		apus_rcvq_fini(&c->rcvq);
	else if (apus_tcp_synchronized(c->state))
		update_window(c);
}

uint32_t apus_tcp_call_urgent(struct apus_tcp *c)
{
	uint32_t read_seq = c->rcv.nxt - c->rcvq.bytes - apus_tcp_fin_received(c);

	if (!c->rcv.has_urgent)
		return 0;
	if (apus_seq_leq(c->urgent_seq, read_seq)) {
		c->rcv.has_urgent = false; /* "normal mode" */
		return 0;
	}
	return c->urgent_seq - read_seq;
}

/* ---- §3.10.4 CLOSE Call ---- */

static int close_our_half(struct apus_tcp *c)
{
	apus_tcp_settle(c);
	switch (c->state) {
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		return -EPIPE; /* "error: connection closing": no second FIN */
	case APUS_TCP_SYN_SENT:
		apus_tcp_delete(c, -ECONNABORTED);
		return 0;
	case APUS_TCP_SYN_RECEIVED: /* "queue for processing after entering ESTABLISHED state" */
		if (c->is_close_queued)
			return -EPIPE;
		c->is_close_queued = true;
		return 0;
	case APUS_TCP_ESTABLISHED:
		apus_tcp_enter(c, APUS_TCP_FIN_WAIT_1);
		break;
	case APUS_TCP_CLOSE_WAIT:
		apus_tcp_enter(c, APUS_TCP_LAST_ACK);
		break;
	}
	apus_tcp_mark(c);
	return 0;
}

int apus_tcp_call_shutdown(struct apus_tcp *c)
{
	return c->error ? c->error : close_our_half(c);
}

void apus_tcp_call_close(struct apus_tcp *c, int64_t now_ns)
{
	/*
	 * RFC 9293 §3.6.1 (SHLD-3): text that was received and will not be read must not pass for
	 * delivered (RFC 2525 §2.17); not even when both FINs are out, where §3.10.5, of an ABORT,
	 * has no reset. A user who set linger to 0 asks for an ABORT.
	 */
	if (c->rcvq.bytes && (c->state == APUS_TCP_CLOSING || c->state == APUS_TCP_LAST_ACK))
		apus_tcp_send_abort(c, now_ns);
	if (c->rcvq.bytes || c->linger_units == APUS_TCP_LINGER_RESET) {
		apus_tcp_call_abort(c, now_ns);
		return;
	}
	c->is_released = true;
	(void)close_our_half(c); /* -EPIPE: it was closed before */
	if (c->state == APUS_TCP_FIN_WAIT_2)
		apus_tcp_start_idle(c, now_ns);
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
	apus_tcp_mark(c); /* its deadlines are armed at the end of the turn */
	apus_tcp_unhold(c);
}

/* ---- §3.10.5 ABORT Call ---- */

void apus_tcp_call_abort(struct apus_tcp *c, int64_t now_ns)
{
	apus_tcp_settle(c);
	c->is_released = true;
	switch (c->state) {
	case APUS_TCP_SYN_RECEIVED:
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
		apus_tcp_send_abort(c, now_ns);
		apus_tcp_delete(c, -ECONNABORTED);
		break;
	case APUS_TCP_LISTEN:
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		apus_tcp_delete(c, -ECONNABORTED);
		break;
	case APUS_TCP_CLOSED:
		break;
	}
	apus_tcp_unhold(c);
}

/* ---- §3.10.6 STATUS Call ---- */

enum apus_tcp_state apus_tcp_call_status(const struct apus_tcp *c)
{
	return c->state;
}
