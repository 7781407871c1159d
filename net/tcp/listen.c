/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/listen.c: the LISTEN state, and SYN-RECEIVED that came from it; see listen.h.
 *
 * Life of a request entry: a SYN makes it and is answered (§3.10.7.2, third); the timer answers
 * again after 1, 2, 4 ... s, five times (TCP.md §2); the ACK of our SYN turns it into a connection
 * that waits to be accepted; a reset, a strange SYN or time ends it.
 *
 * Where we differ: when the accept queue is full the ACK is ignored and the entry kept, as Linux
 * does: the peer sends text or our SYN-ACK asks again, and by then there may be room.
 *
 * Entry points: listener_open, listener_shut, request_open, request_arrives.
 */
#include "net/tcp/listen.h"

#include "net/ip/ipv4.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/timewait.h"
#include "net/tcp/user.h"
#include "runtime/sched/shard.h"

#include <errno.h>

#define READY_FIRST 16 /* places in an accept queue at first, a power of two */

/* ---- the accept queue ---- */

static uint32_t ready_count(const struct apus_tcp_listener *l)
{
	return l->ready_tail - l->ready_head;
}

/* A place in the ring for one more, by doubling it if need be. */
static bool ready_reserve(struct apus_tcp_listener *l)
{
	uint32_t count = ready_count(l);

	if (count >= l->backlog)
		return false;
	if (count < l->ready_size)
		return true;

	struct apus_heap *heap = apus_shard_heap(l->layer->shard);
	uint32_t size = l->ready_size ? 2 * l->ready_size : READY_FIRST;
	struct apus_tcp **ring = apus_heap_alloc(heap, size * sizeof(struct apus_tcp *));

	if (!ring)
		return false;
	for (uint32_t i = 0; i < count; i++)
		ring[i] = l->ready[(l->ready_head + i) & (l->ready_size - 1)];
	apus_heap_free(heap, l->ready);
	l->ready = ring;
	l->ready_size = size;
	l->ready_head = 0;
	l->ready_tail = count;
	return true;
}

struct apus_tcp *apus_tcp_listener_take(struct apus_tcp_listener *l)
{
	if (!ready_count(l))
		return NULL;
	return l->ready[l->ready_head++ & (l->ready_size - 1)];
}

/* ---- request entries ---- */

/* It is out of the demux, or something else is in its place there. */
static void request_free(struct apus_tcp_request *r)
{
	struct apus_tcp_listener *l = r->listener;

	apus_list_remove(&r->link);
	l->request_count--;
	apus_slab_put(&l->layer->requests, r);
}

static void request_close(struct apus_tcp_request *r)
{
	apus_tcp_demux_remove(&r->listener->layer->demux, r);
	request_free(r);
}

/*
 * The peer knows nothing of this SYN: it was an old duplicate. RFC 9293 §3.6.1 (MAY-2): "returns
 * to TIME-WAIT state if the SYN turns out to be an old duplicate".
 */
static void request_refused(struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp_last old = {
		.snd_nxt = r->old_snd_nxt,
		.rcv_nxt = r->old_rcv_nxt,
		.ts_recent = r->peer.ts_recent, /* not before the one that it had */
		.has_ts = r->peer.has_ts,
	};

	if (r->reopens && apus_tcp_time_wait_replace(r->listener->layer, &r->key, &old, now_ns))
		request_free(r);
	else
		request_close(r);
}

/* The oldest of those that were answered @retries times or more again; NULL. */
static struct apus_tcp_request *oldest_request(const struct apus_tcp_listener *l, int retries)
{
	for (int i = APUS_TCP_SYN_ACK_RETRIES; i >= retries; i--) {
		if (!apus_list_empty(&l->requests[i]))
			return apus_list_entry(l->requests[i].next, struct apus_tcp_request, link);
	}
	return NULL;
}

static void arm_timer(struct apus_tcp_listener *l)
{
	int64_t earliest_ns = APUS_NEVER;

	for (int i = 0; i <= APUS_TCP_SYN_ACK_RETRIES; i++) {
		if (apus_list_empty(&l->requests[i]))
			continue;

		const struct apus_tcp_request *r =
			apus_list_entry(l->requests[i].next, struct apus_tcp_request, link);

		earliest_ns = apus_min(earliest_ns, r->deadline_ns);
	}
	if (earliest_ns != APUS_NEVER &&
	    (!apus_timer_armed(&l->timer) || l->timer.deadline_ns > earliest_ns))
		apus_timer_arm(&l->timer, earliest_ns);
}

static void stamp(const struct apus_tcp_request *r, struct apus_segment *seg, int64_t now_ns)
{
	if (r->peer.has_ts)
		apus_tcp_stamp(seg, apus_tcp_ts_offset(r->listener->layer, &r->key),
			       r->peer.ts_recent, now_ns);
}

/* <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>, with those options that the SYN had (TCP.md §2). */
static void send_syn_ack(const struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp_layer *layer = r->listener->layer;
	struct apus_segment seg = {
		.seq = r->iss,
		.ack = r->irs + 1,
		/* RFC 7323 §2.2: never scaled in a SYN. */
		.wnd = (uint16_t)apus_min(APUS_TCP_RCV_BUFFER_BYTES, (uint32_t)UINT16_MAX),
		.syn = true,
		.has_ack = true,
		.mss = layer->mss,
		.wscale = r->peer.wscale < 0 ? -1 : APUS_TCP_WINDOW_SCALE,
		.sack_permitted = r->peer.has_sack,
	};

	stamp(r, &seg, now_ns);
	apus_tcp_send_bare(layer, &r->key, &seg, now_ns);
}

static void send_ack(const struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_segment seg = {
		.seq = r->iss + 1,
		.ack = r->irs + 1,
		.wnd = (uint16_t)apus_min(APUS_TCP_RCV_BUFFER_BYTES, (uint32_t)UINT16_MAX),
		.has_ack = true,
		.wscale = -1,
	};

	stamp(r, &seg, now_ns);
	apus_tcp_send_bare(r->listener->layer, &r->key, &seg, now_ns);
}

/* The next list, the next deadline: within a list all wait equally long, so it stays in order. */
static void request_schedule(struct apus_tcp_request *r, int64_t now_ns)
{
	r->deadline_ns = now_ns + (APUS_RTT_RTO_INITIAL_NS << r->retries);
	apus_list_push_back(&r->listener->requests[r->retries], &r->link);
}

static void request_timeout(struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp_layer *layer = r->listener->layer;

	if (r->retries == APUS_TCP_SYN_ACK_RETRIES) {
		apus_tcp_count(layer, APUS_TCP_COUNT_REQUEST_TIMEOUTS);
		request_refused(r, now_ns);
		return;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_SYN_ACK_RETRANSMITS);
	apus_list_remove(&r->link);
	r->retries++;
	request_schedule(r, now_ns);
	send_syn_ack(r, now_ns);
}

static void timer_fired(struct apus_work *work)
{
	struct apus_tcp_listener *l =
		apus_container_of(apus_timer_of(work), struct apus_tcp_listener, timer);
	int64_t now_ns = apus_now();

	/* From the last list down, so that none is looked at twice. */
	for (int i = APUS_TCP_SYN_ACK_RETRIES; i >= 0; i--) {
		while (!apus_list_empty(&l->requests[i])) {
			struct apus_tcp_request *r =
				apus_list_entry(l->requests[i].next, struct apus_tcp_request, link);

			if (r->deadline_ns > now_ns)
				break;
			request_timeout(r, now_ns);
		}
	}
	arm_timer(l);
}

/*
 * Memory for one more entry. When the backlog is full, at the cost of the oldest that has let a
 * SYN-ACK time out: a living peer would have answered. So a flood holds a place for a second, and
 * a crowd of living peers does not push itself out.
 */
static struct apus_tcp_request *request_get(struct apus_tcp_listener *l)
{
	struct apus_tcp_request *silent, *r;

	if (l->request_count >= l->backlog) {
		silent = oldest_request(l, 1);
		if (!silent) {
			apus_tcp_count(l->layer, APUS_TCP_COUNT_LISTEN_DROP);
			return NULL;
		}
		apus_tcp_count(l->layer, APUS_TCP_COUNT_REQUEST_EVICTED);
		request_close(silent);
	}
	r = apus_slab_get(&l->layer->requests);
	if (!r)
		apus_tcp_count(l->layer, APUS_TCP_COUNT_NO_MEMORY);
	return r;
}

/*
 * RFC 9293 §3.6.1 (MAY-2): reopened from TIME-WAIT, its numbers begin beyond all that the old
 * incarnation used. The clock alone does not see to that when it sent more than 250 kB/s.
 */
static uint32_t choose_iss(const struct apus_tcp_layer *layer, const struct apus_tcp_request *r,
			   const struct apus_tcp_arrival *a)
{
	uint32_t iss = apus_tcp_isn(layer, &r->key, a->now_ns);

	if (a->reopens && apus_seq_leq(iss, a->old.snd_nxt))
		return a->old.snd_nxt + UINT16_MAX + 2; /* Linux's distance */
	return iss;
}

void apus_tcp_request_open(struct apus_tcp_listener *l, const struct apus_tcp_arrival *a)
{
	struct apus_tcp_layer *layer = l->layer;
	const struct apus_segment *seg = &a->seg;
	int64_t now_ns = a->now_ns;

	if (ready_count(l) >= l->backlog) { /* nobody accepts: no promises */
		apus_tcp_count(layer, APUS_TCP_COUNT_LISTEN_DROP);
		return;
	}

	struct apus_tcp_request *r = request_get(l);

	if (!r)
		return; /* counted */
	*r = (struct apus_tcp_request){
		.key = apus_tcp_key_of(seg),
		.irs = seg->seq,
		.peer = apus_tcp_peer_of(layer, seg),
		.challenge_tick = (uint16_t)apus_tcp_tick(now_ns),
		.listener = l,
		.reopens = a->reopens,
		.old_snd_nxt = a->reopens ? a->old.snd_nxt : 0,
		.old_rcv_nxt = a->reopens ? a->old.rcv_nxt : 0,
	};
	r->iss = choose_iss(layer, r, a);
	if (apus_tcp_demux_insert(&layer->demux, APUS_TCP_KIND_REQUEST, r)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MEMORY);
		apus_slab_put(&layer->requests, r);
		return;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_REQUESTS);
	l->request_count++;
	request_schedule(r, now_ns);
	send_syn_ack(r, now_ns);
	arm_timer(l);
}

/* All of the tick: it is less than 2^15 away, or long past. */
static uint32_t challenge_tick(const struct apus_tcp_request *r, int64_t now_ns)
{
	uint32_t now_tick = apus_tcp_tick(now_ns);

	return now_tick + (uint32_t)(int16_t)(uint16_t)(r->challenge_tick - now_tick);
}

/* The handshake is about to end: a connection in SYN-RECEIVED takes the entry's place. */
static struct apus_tcp *promote(struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp_layer *layer = r->listener->layer;
	struct apus_tcp *c = apus_tcp_create(layer, &r->key, now_ns);

	if (!c)
		return NULL;
	c->is_passive = true;
	apus_tcp_enter(c, APUS_TCP_LISTEN);
	apus_tcp_enter(c, APUS_TCP_SYN_RECEIVED);
	c->snd.una = c->snd.rxt = r->iss;
	c->snd.nxt = r->iss + 1;
	c->rcv.irs = r->irs;
	c->rcv.nxt = c->rcv.acked = r->irs + 1;
	c->rcv.adv = c->rcv.nxt + apus_min(APUS_TCP_RCV_BUFFER_BYTES, (uint32_t)UINT16_MAX);
	apus_tcp_set_peer(c, &r->peer);
	c->syn_resent = r->retries > 0;
	c->is_timing = !r->retries;
	c->rtt_at_ns = r->deadline_ns - APUS_RTT_RTO_INITIAL_NS;
	c->challenge_tick = challenge_tick(r, now_ns);

	apus_tcp_demux_replace(&layer->demux, APUS_TCP_KIND_CONNECTION, c);
	c->in_demux = true;
	layer->alive++;
	request_free(r);
	return c;
}

/* The ACK of our SYN is here: make the connection, let the segment arrive there, and queue it. */
static void request_complete(struct apus_tcp_request *r, struct apus_tcp_arrival *a)
{
	struct apus_tcp_listener *l = r->listener;

	if (!ready_reserve(l)) {
		apus_tcp_count(l->layer, APUS_TCP_COUNT_ACCEPT_OVERFLOW);
		return;
	}

	struct apus_tcp *c = promote(r, a->now_ns);

	if (!c)
		return; /* counted; as when the queue is full */
	apus_tcp_arrives(c, a);
	if (c->state == APUS_TCP_CLOSED)
		return;
	apus_tcp_hold(c); /* becomes the user's handle */
	l->ready[l->ready_tail++ & (l->ready_size - 1)] = c;
	apus_waitq_wake_one(&l->acceptors, 0);
}

static void request_challenge(struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp_layer *layer = r->listener->layer;

	if (apus_tcp_challenge_limited(challenge_tick(r, now_ns), now_ns)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED);
		return;
	}
	r->challenge_tick = (uint16_t)apus_tcp_challenge_next(layer, now_ns);
	apus_tcp_count(layer, APUS_TCP_COUNT_CHALLENGE_ACKS);
	send_ack(r, now_ns);
}

/* Table 6; the window is the one in our SYN. */
static bool is_acceptable(const struct apus_tcp_request *r, const struct apus_segment *seg)
{
	uint32_t rcv_nxt = r->irs + 1;

	return apus_seq_within(rcv_nxt, seg->seq, UINT16_MAX) ||
	       (seg->len && apus_seq_within(rcv_nxt, seg->seq + seg->len - 1, UINT16_MAX));
}

/* RFC 7323 §5.3 (R1). */
static bool is_old(const struct apus_tcp_request *r, const struct apus_segment *seg)
{
	return r->peer.has_ts && seg->has_ts && !seg->rst &&
	       apus_tcp_is_old(seg, r->peer.ts_recent);
}

static enum apus_tcp_counter refusal(const struct apus_tcp_request *r,
				     const struct apus_segment *seg)
{
	if (seg->rst)
		return APUS_TCP_COUNT_DROP_RST_SEQUENCE;
	return is_old(r, seg) ? APUS_TCP_COUNT_PAWS_REJECTED : APUS_TCP_COUNT_DROP_SEQUENCE;
}

/*
 * RFC 9293 §3.10.7.4, in its order, for the one state SYN-RECEIVED, passive.
 */
void apus_tcp_request_arrives(struct apus_tcp_request *r, struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	struct apus_tcp_layer *layer = r->listener->layer;
	uint32_t rcv_nxt = r->irs + 1;

	/* First, check sequence number. The SYN again: our answer was lost. */
	if (seg->syn && !seg->has_ack && !seg->rst && seg->seq == r->irs) {
		if (seg->has_ts && !apus_tcp_is_old(seg, r->peer.ts_recent))
			r->peer.ts_recent = seg->ts_val; /* RFC 7323 §5.3 (R3) */
		send_syn_ack(r, a->now_ns);
		return;
	}
	/* RFC 7323 §3.2, as in input.c. */
	if (r->peer.has_ts && !seg->has_ts && !seg->rst && !seg->syn) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_NO_TIMESTAMP);
		return;
	}
	if (is_old(r, seg) || !is_acceptable(r, seg)) {
		apus_tcp_count(layer, refusal(r, seg));
		if (!seg->rst)
			request_challenge(r, a->now_ns);
		return;
	}
	/* Second, check the RST bit: "return this connection to LISTEN state"; RFC 5961 §3.2. */
	if (seg->rst) {
		if (seg->seq != rcv_nxt) {
			apus_tcp_count(layer, APUS_TCP_COUNT_DROP_RST_SEQUENCE);
			request_challenge(r, a->now_ns);
			return;
		}
		apus_tcp_count(layer, APUS_TCP_COUNT_RESETS_IN);
		request_refused(r, a->now_ns);
		return;
	}
	/* Fourth, check the SYN bit: "return this connection to the LISTEN state and return". */
	if (seg->syn) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_SYN_IN_WINDOW);
		request_close(r);
		return;
	}
	/* Fifth, check the ACK field. */
	if (!seg->has_ack) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_NO_ACK);
		return;
	}
	if (seg->ack != r->iss + 1) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_BAD_ACK);
		apus_tcp_send_reset(layer, seg, a->now_ns);
		return;
	}
	request_complete(r, a);
}

/* ---- listeners ---- */

static struct apus_list *chain(struct apus_tcp_layer *layer, uint16_t port)
{
	return &layer->listener_heads[port & (APUS_TCP_LISTENER_HEADS - 1)];
}

struct apus_tcp_listener *apus_tcp_listener_find(const struct apus_tcp_layer *layer,
						 struct apus_addr addr, uint16_t port)
{
	const struct apus_list *head = &layer->listener_heads[port & (APUS_TCP_LISTENER_HEADS - 1)];
	struct apus_tcp_listener *any = NULL;
	struct apus_list *it;

	apus_list_for_each(it, head) {
		struct apus_tcp_listener *l = apus_list_entry(it, struct apus_tcp_listener, link);

		if (l->local.port != port)
			continue;
		if (apus_addr_equal(l->local.addr, addr))
			return l;
		if (apus_addr_is_any(l->local.addr))
			any = l;
	}
	return any;
}

/* Two listeners may share a port only with two different addresses, neither of them any. */
static bool is_taken(struct apus_tcp_layer *layer, struct apus_endpoint local)
{
	const struct apus_list *it;

	apus_list_for_each(it, chain(layer, local.port)) {
		const struct apus_tcp_listener *l =
			apus_list_entry(it, struct apus_tcp_listener, link);

		if (l->local.port == local.port &&
		    (apus_addr_is_any(l->local.addr) || apus_addr_is_any(local.addr) ||
		     apus_addr_equal(l->local.addr, local.addr)))
			return true;
	}
	return false;
}

/* Any ephemeral port nobody listens at; random, so that a few tries do. */
static int choose_listen_port(struct apus_tcp_layer *layer, struct apus_endpoint *local)
{
	uint32_t ports = APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1;
	uint64_t start = apus_random_below(apus_shard_random(layer->shard), ports);

	for (uint32_t i = 0; i < ports; i++) {
		local->port = (uint16_t)(APUS_TCP_PORT_FIRST + (start + i) % ports);
		if (!is_taken(layer, *local))
			return 0;
	}
	return -EADDRINUSE;
}

int apus_tcp_listener_open(struct apus_tcp_layer *layer, struct apus_endpoint local,
			   uint32_t backlog, struct apus_tcp_listener **out)
{
	if (!apus_addr_is_any(local.addr) && !apus_ipv4_is_ours(layer->ip, local.addr))
		return -EADDRNOTAVAIL;
	if (!local.port) {
		int rc = choose_listen_port(layer, &local);

		if (rc)
			return rc;
	}
	if (is_taken(layer, local))
		return -EADDRINUSE;

	struct apus_tcp_listener *l = apus_heap_alloc(apus_shard_heap(layer->shard), sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct apus_tcp_listener){
		.layer = layer,
		.local = local,
		.backlog = backlog ? backlog : APUS_TCP_BACKLOG_DEFAULT,
		.holds = 1,
	};
	for (int i = 0; i <= APUS_TCP_SYN_ACK_RETRIES; i++)
		apus_list_init(&l->requests[i]);
	apus_timer_init(&l->timer, timer_fired);
	apus_waitq_init(&l->acceptors);
	apus_list_push_back(chain(layer, local.port), &l->link);
	*out = l;
	return 0;
}

/* Out of the tables, with all request entries. */
static void stop(struct apus_tcp_listener *l)
{
	struct apus_tcp_request *r;

	l->is_closed = true;
	apus_list_remove(&l->link);
	apus_timer_cancel(&l->timer);
	while ((r = oldest_request(l, 0)))
		request_close(r); /* a peer that goes on is answered by a reset: CLOSED */
}

static void free_listener(struct apus_tcp_listener *l)
{
	struct apus_heap *heap = apus_shard_heap(l->layer->shard);

	apus_heap_free(heap, l->ready);
	apus_heap_free(heap, l);
}

void apus_tcp_listener_unhold(struct apus_tcp_listener *l)
{
	if (!--l->holds)
		free_listener(l);
}

void apus_tcp_listener_shut(struct apus_tcp_listener *l, int64_t now_ns)
{
	struct apus_tcp *c;

	stop(l);
	while ((c = apus_tcp_listener_take(l)))
		apus_tcp_call_abort(c, now_ns);
	apus_waitq_wake_all(&l->acceptors, 0);
	apus_tcp_listener_unhold(l);
}

void apus_tcp_listener_destroy(struct apus_tcp_listener *l)
{
	apus_must(apus_waitq_empty(&l->acceptors));
	stop(l);
	free_listener(l); /* what waited to be accepted is in the demux or among the detached */
}
