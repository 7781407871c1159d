/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/listen.c: the LISTEN state, and SYN-RECEIVED that came from it; see listen.h.
 *
 * Life of a request entry: a SYN makes it and is answered (§3.10.7.2, third); the timer answers
 * again after 1, 2, 4 ... s, five times (TCP.md §2); the ACK of our SYN turns it into a connection
 * that waits to be accepted; a reset, a strange SYN or time ends it.
 *
 * When there are too many entries a SYN makes none: our answer is a cookie (cookie.h), and an ACK
 * that brings it back makes the connection. Cookies are looked for only while some are out.
 *
 * Where we differ: when the accept queue is full the ACK is ignored and the entry kept, as Linux
 * does: the peer sends text or our SYN-ACK asks again, and by then there may be room. By option
 * the peer is reset instead, as by Linux's tcp_abort_on_overflow.
 *
 * Entry points: request_open, request_arrives, cookie_arrives.
 */
#include "net/tcp/listen.h"

#include "net/ip/ipv4.h"
#include "net/tcp/challenge.h"
#include "net/tcp/port.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/timewait.h"
#include "net/tcp/window.h"
#include "runtime/sched/shard.h"

#include <errno.h>

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
static void send_syn_ack_as(const struct apus_tcp_request *r, bool is_cookie, int64_t now_ns)
{
	struct apus_tcp_layer *layer = r->listener->layer;
	struct apus_segment seg = {
		.seq = r->iss,
		.ack = r->irs + 1,
		/* RFC 7323 §2.2: never scaled in a SYN. */
		.wnd = apus_tcp_syn_window(layer),
		.syn = true,
		.has_ack = true,
		.mss = layer->mss,
		.wscale = (int8_t)(r->peer.wscale < 0 ? -1 : layer->wscale),
		.sack_permitted = r->peer.has_sack,
		.ece = r->peer.has_ecn, /* RFC 3168 §6.1.1: an ECN-setup SYN-ACK */
	};

	stamp(r, &seg, now_ns);
	if (is_cookie && seg.has_ts) {
		struct apus_tcp_cookie_options options = {
			.wscale = r->peer.wscale,
			.sack_permitted = r->peer.has_sack,
			.ecn = r->peer.has_ecn,
		};

		seg.ts_val = apus_tcp_cookie_ts(seg.ts_val, &options);
	}
	apus_tcp_send_bare(layer, &r->key, &seg, now_ns);
}

static void send_syn_ack(const struct apus_tcp_request *r, int64_t now_ns)
{
	send_syn_ack_as(r, false, now_ns);
}

static void send_ack(const struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_segment seg = {
		.seq = r->iss + 1,
		.ack = r->irs + 1,
		.wnd = apus_tcp_syn_window(r->listener->layer),
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

/* Entries beyond which there is no room. */
static uint32_t requests_max(const struct apus_tcp_listener *l)
{
	uint32_t option = l->layer->options.requests_max;

	return option ? apus_min(option, l->backlog) : l->backlog;
}

/*
 * Memory for one more entry. When there is no room, at the cost of the oldest that has let a
 * SYN-ACK time out: a living peer would have answered. So a flood holds a place for a second, and
 * a crowd of living peers does not push itself out.
 */
static struct apus_tcp_request *request_get(struct apus_tcp_listener *l)
{
	struct apus_tcp_request *silent, *r;

	if (l->request_count >= requests_max(l)) {
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
		return apus_tcp_isn_beyond(a->old.snd_nxt);
	return iss;
}

/*
 * RFC 4987 §3.6, at the end: cookies cost options, so they are for when entries would not do. Not
 * for a SYN that reopens a connection from TIME-WAIT, whose number must lie beyond the old ones:
 * the entry that gave way has left room for its own.
 */
static bool wants_cookie(const struct apus_tcp_listener *l, const struct apus_tcp_arrival *a)
{
	const struct apus_slab *requests = &l->layer->requests;

	if (a->reopens)
		return false;
	switch (l->layer->options.cookies) {
	case APUS_TCP_COOKIES_WHEN_FULL:
		return l->request_count >= requests_max(l) || requests->used >= requests->limit;
	case APUS_TCP_COOKIES_NEVER:
		return false;
	case APUS_TCP_COOKIES_ALWAYS:
		return true;
	}
	return false;
}

/* A SYN-ACK that remembers for us. Without timestamps there is room for the segment size only. */
static void send_cookie(struct apus_tcp_listener *l, const struct apus_tcp_arrival *a)
{
	struct apus_tcp_layer *layer = l->layer;
	const struct apus_segment *seg = &a->seg;
	struct apus_tcp_request r = {
		.key = apus_tcp_key_of(seg),
		.irs = seg->seq,
		.peer = apus_tcp_peer_of(layer, seg),
		.listener = l,
	};

	if (!r.peer.has_ts) {
		r.peer.wscale = -1;
		r.peer.has_sack = false;
		r.peer.has_ecn = false;
	}
	r.iss = apus_tcp_cookie_make(&layer->cookies, &r.key, r.irs, r.peer.mss, a->now_ns);
	l->cookie_at_ns = a->now_ns;
	apus_tcp_count(layer, APUS_TCP_COUNT_COOKIES_SENT);
	send_syn_ack_as(&r, true, a->now_ns);
}

void apus_tcp_request_open(struct apus_tcp_listener *l, const struct apus_tcp_arrival *a)
{
	struct apus_tcp_layer *layer = l->layer;
	const struct apus_segment *seg = &a->seg;
	int64_t now_ns = a->now_ns;

	if (apus_tcp_listener_ready(l) >= l->backlog) { /* nobody accepts: no promises */
		apus_tcp_count(layer, APUS_TCP_COUNT_LISTEN_DROP);
		return;
	}
	if (wants_cookie(l, a)) {
		send_cookie(l, a);
		return;
	}

	struct apus_tcp_request *r = request_get(l);

	if (!r) { /* counted */
		if (!a->reopens && layer->options.cookies != APUS_TCP_COOKIES_NEVER)
			send_cookie(l, a);
		return;
	}
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

/* The handshake is about to end: a connection in SYN-RECEIVED, not in the demux yet. */
static struct apus_tcp *make_connection(const struct apus_tcp_request *r, int64_t now_ns)
{
	struct apus_tcp *c = apus_tcp_create(r->listener->layer, &r->key, now_ns);

	if (!c)
		return NULL;
	c->is_passive = true;
	if (r->listener->congestion)
		c->cc.type = r->listener->congestion;
	apus_tcp_enter(c, APUS_TCP_LISTEN);
	apus_tcp_enter(c, APUS_TCP_SYN_RECEIVED);
	c->snd.una = r->iss;
	c->snd.nxt = r->iss + 1;
	c->rcv.irs = r->irs;
	c->rcv.nxt = c->rcv.acked = r->irs + 1;
	c->rcv.adv = c->rcv.nxt + apus_tcp_syn_window(c->layer);
	apus_tcp_set_peer(c, &r->peer, now_ns);
	c->challenge_tick = challenge_tick(r, now_ns);
	return c;
}

/* The segment that completes the handshake arrives at its new connection, which is queued. */
static void complete(struct apus_tcp_listener *l, struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	c->in_demux = true;
	l->layer->alive++;
	apus_tcp_arrives(c, a);
	if (c->state != APUS_TCP_CLOSED)
		apus_tcp_listener_put(l, c);
}

/* The ACK of our SYN is here: a connection takes the entry's place. */
static void request_complete(struct apus_tcp_request *r, struct apus_tcp_arrival *a)
{
	struct apus_tcp_listener *l = r->listener;
	struct apus_tcp_layer *layer = l->layer;

	if (!apus_tcp_listener_reserve(l)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_ACCEPT_OVERFLOW);
		if (layer->options.reset_on_overflow) {
			apus_tcp_send_reset(layer, &a->seg, a->now_ns);
			request_close(r);
		}
		return;
	}

	struct apus_tcp *c = make_connection(r, a->now_ns);

	if (!c)
		return; /* counted; as when the queue is full */
	c->syn_resent = r->retries > 0;
	c->syn_at_ns = r->retries ? 0 : r->deadline_ns - APUS_RTT_RTO_INITIAL_NS;
	apus_tcp_demux_replace(&layer->demux, APUS_TCP_KIND_CONNECTION, c);
	request_free(r);
	complete(l, c, a);
}

/* ---- cookies that come back ---- */

/* What the entry would have known; r->peer.mss is 0 if it is no cookie of ours. */
static struct apus_tcp_request read_cookie(struct apus_tcp_listener *l,
					   const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	struct apus_tcp_layer *layer = l->layer;
	struct apus_tcp_request r = {
		.key = apus_tcp_key_of(seg),
		.iss = seg->ack - 1,
		.irs = seg->seq - 1,
		.peer = {.wscale = -1, .ts_recent = seg->ts_val},
		.challenge_tick = (uint16_t)apus_tcp_tick(a->now_ns),
		.listener = l,
	};

	r.peer.mss = apus_tcp_cookie_check(&layer->cookies, &r.key, r.irs, r.iss, a->now_ns);
	r.peer.has_ts = seg->has_ts && !layer->options.no_timestamps;
	if (r.peer.has_ts) { /* it echoes what the SYN-ACK had said */
		struct apus_tcp_cookie_options told = apus_tcp_cookie_ts_options(seg->ts_ecr);

		r.peer.wscale = told.wscale;
		r.peer.has_sack = told.sack_permitted && !layer->options.no_sack;
		r.peer.has_ecn = told.ecn && layer->options.ecn != APUS_TCP_ECN_NEVER;
	}
	return r;
}

bool apus_tcp_cookie_arrives(struct apus_tcp_listener *l, struct apus_tcp_arrival *a)
{
	struct apus_tcp_layer *layer = l->layer;

	/* None is out: whatever this is, not the smallest part of a hash is spent on it. */
	if (a->seg.syn || a->now_ns - l->cookie_at_ns >= 2 * APUS_TCP_COOKIE_PERIOD_NS)
		return false;

	struct apus_tcp_request r = read_cookie(l, a);

	if (!r.peer.mss) {
		apus_tcp_count(layer, APUS_TCP_COUNT_COOKIES_FAILED);
		return false;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_COOKIES_RECEIVED);
	if (!apus_tcp_listener_reserve(l)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_ACCEPT_OVERFLOW);
		return !layer->options.reset_on_overflow;
	}

	struct apus_tcp *c = make_connection(&r, a->now_ns);

	if (!c)
		return true; /* counted; the peer asks again */
	if (apus_tcp_demux_insert(&layer->demux, APUS_TCP_KIND_CONNECTION, c)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MEMORY);
		apus_tcp_destroy(c);
		return true;
	}
	complete(l, c, a);
	return true;
}

/* ---- segments for an entry ---- */

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
		if (!apus_ecn_is_setup_syn(seg))
			r->peer.has_ecn = false; /* it has given up asking: RFC 3168 §6.1.1.1 */
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

/* ---- with a listener ---- */

void apus_tcp_requests_init(struct apus_tcp_listener *l)
{
	for (int i = 0; i <= APUS_TCP_SYN_ACK_RETRIES; i++)
		apus_list_init(&l->requests[i]);
	apus_timer_init(&l->timer, timer_fired);
}

void apus_tcp_requests_close(struct apus_tcp_listener *l)
{
	struct apus_tcp_request *r;

	apus_timer_cancel(&l->timer);
	while ((r = oldest_request(l, 0)))
		request_close(r); /* a peer that goes on is answered by a reset: CLOSED */
}
