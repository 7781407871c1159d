/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/tcb.c: the life of a transmission control block (RFC 9293 §3.3.1).
 *
 * It is made by an active OPEN or by the ACK that completes a request entry, found through the
 * demux until it is CLOSED or an entry of TIME-WAIT stands for it, and freed at the flush after
 * which neither the user's handle nor a call under way holds it.
 */
#include "net/tcp/tcb.h"

#include "net/link/link.h"
#include "net/tcp/plain.h"
#include "net/tcp/pmtu.h"
#include "net/tcp/steady.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/transmit.h"
#include "net/tcp/window.h"
#include "runtime/sched/shard.h"

#include <errno.h>

struct apus_tcp *apus_tcp_create(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
				 int64_t now_ns)
{
	struct apus_tcp *c = apus_slab_get(&layer->connections);

	if (!c) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MEMORY);
		return NULL;
	}

	*c = (struct apus_tcp){
		.key = *key,
		.state = APUS_TCP_CLOSED,
		.is_nodelay = true,
		.layer = layer,
		.rcv_buffer = apus_tcp_buffer_first(&layer->options),
		.ts_offset = apus_tcp_ts_offset(layer, key),
		.rcv = {.mss = APUS_TCP_MSS_DEFAULT,
			.quick = APUS_TCP_QUICK_ACKS,
			.ts_age = apus_tcp_ts_age(now_ns)},
		.rexmit_at_ns = APUS_NEVER,
		.ack_at_ns = APUS_NEVER,
		.idle_at_ns = APUS_NEVER,
		.heard_tick = apus_tcp_tick(now_ns),
		.sent_tick = apus_tcp_tick(now_ns),
		.progress_tick = apus_tcp_tick(now_ns),
		.challenge_tick = apus_tcp_tick(now_ns),
		.keepalive_probes = APUS_TCP_KEEPALIVE_PROBES_N,
		.keepalive_interval_ticks = apus_tcp_tick(APUS_TCP_KEEPALIVE_NS),
	};
	c->cc.type = layer->congestion;
	apus_list_init(&c->link);
	apus_timer_init(&c->timer, apus_tcp_timer_fired);
	apus_waitq_init(&c->readers);
	apus_waitq_init(&c->writers);
	apus_rtt_init(&c->rtt);
	apus_rcvq_init(&c->rcvq, &layer->ooo, 2 * apus_tcp_buffer_first(&layer->options));
	apus_sndq_init(&c->sndq, layer->link->pool, APUS_TCP_SEND_QUEUE_BYTES);
	return c;
}

int apus_tcp_recovery_open(struct apus_tcp *c)
{
	struct apus_tcp_sender *sender = apus_slab_get(&c->layer->senders);

	if (!sender) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MEMORY);
		return -ENOMEM;
	}
	apus_tcp_tally_open(c);
	apus_recovery_init(&sender->recovery, &c->cc, apus_shard_heap(c->layer->shard), &c->kept);
	apus_tcp_frame_init(&sender->frame, c->layer->ip);
	c->recovery = &sender->recovery;
	return 0;
}

void apus_tcp_recovery_close(struct apus_tcp *c)
{
	if (!c->recovery)
		return;
	apus_recovery_fini(c->recovery, &c->cc, &c->kept);
	apus_slab_put(&c->layer->senders, c->recovery);
	c->recovery = NULL;
}

void apus_tcp_destroy(struct apus_tcp *c)
{
	apus_must_op(c->holds, ==, 0);
	apus_must(!c->in_demux);
	apus_must(apus_waitq_empty(&c->readers) && apus_waitq_empty(&c->writers));
	apus_timer_cancel(&c->timer);
	apus_list_remove(&c->link);
	apus_tcp_recovery_close(c);
	apus_tcp_tally_close(c);
	apus_rcvq_fini(&c->rcvq);
	if (c->drs)
		apus_slab_put(&c->layer->drs, c->drs);
	apus_sndq_fini(&c->sndq);
	apus_slab_put(&c->layer->connections, c);
}

void apus_tcp_mark(struct apus_tcp *c)
{
	if (c->is_marked)
		return;
	c->is_marked = true;
	apus_list_remove(&c->link);
	apus_list_push_back(&c->layer->marked, &c->link);
}

/* Wakes who waits for this connection; they look at its state themselves. */
static void wake_users(struct apus_tcp *c)
{
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
}

void apus_tcp_detach(struct apus_tcp *c)
{
	c->rexmit_at_ns = c->ack_at_ns = c->idle_at_ns = APUS_NEVER;
	apus_timer_cancel(&c->timer);
	if (c->in_demux) {
		c->in_demux = false;
		c->layer->alive--;
	}
	wake_users(c);
	apus_tcp_mark(c); /* flush frees it, or puts it with those that are only held */
}

void apus_tcp_delete(struct apus_tcp *c, int error)
{
	apus_tcp_settle(c);
	if (c->in_demux)
		apus_tcp_demux_remove(&c->layer->demux, c);
	if (!c->error)
		c->error = (int16_t)error;
	c->want = 0;
	apus_tcp_recovery_close(c);
	apus_sndq_fini(&c->sndq);
	if (error && !c->is_lent)
		apus_rcvq_fini(&c->rcvq);
	else
		apus_rcvq_drop_ooo(&c->rcvq); /* what is in order can still be read */
	apus_tcp_enter(c, APUS_TCP_CLOSED);
	apus_tcp_detach(c);
}

struct apus_tcp_peer apus_tcp_peer_of(const struct apus_tcp_layer *layer,
				      const struct apus_segment *syn)
{
	return (struct apus_tcp_peer){
		.ts_recent = syn->ts_val,
		.mss = syn->mss,
		.wscale = syn->wscale,
		.has_ts = syn->has_ts && !layer->options.no_timestamps,
		.has_sack = syn->sack_permitted && !layer->options.no_sack,
		.has_ecn = syn->has_ack ? apus_ecn_is_setup_syn_ack(syn)
					: apus_ecn_is_setup_syn(syn) &&
						  layer->options.ecn != APUS_TCP_ECN_NEVER,
	};
}

uint32_t apus_tcp_path_mss(const struct apus_tcp *c, uint32_t mss)
{
	return mss - (c->has_ts ? APUS_SEGMENT_TS_BYTES : 0);
}

void apus_tcp_set_peer(struct apus_tcp *c, const struct apus_tcp_peer *peer, int64_t now_ns)
{
	uint32_t effective = peer->mss ? peer->mss : APUS_TCP_MSS_DEFAULT;

	/* RFC 9293 §3.7.1 (MUST-16): the lesser of what the peer takes and what the path does. */
	effective = apus_min(effective, c->layer->mss);
	effective = apus_max(effective, APUS_TCP_MSS_LEAST);
	c->has_sack = peer->has_sack;
	c->rcvq.reports_duplicates = peer->has_sack;
	c->has_ts = peer->has_ts;
	if (peer->has_ecn && (c->is_passive || c->snd.ecn.has_asked))
		apus_ecn_agreed(&c->snd.ecn);
	c->rcv.ts_recent = peer->ts_recent;
	c->mss_most = (uint16_t)effective;
	effective = apus_tcp_mss_now(c, now_ns);
	c->is_path_small = effective < apus_tcp_path_mss(c, c->mss_most);
	apus_cc_init(&c->cc, c->cc.type, effective, c->snd.una);
	/* RFC 7323 §2.2: only if both SYNs had the option; §2.3: 14 at most, seen to by the parser. */
	if (peer->wscale >= 0) {
		c->snd.wscale = (uint8_t)peer->wscale;
		c->rcv.wscale = c->layer->wscale;
	}
}

void apus_tcp_established(struct apus_tcp *c, int64_t now_ns)
{
	apus_tcp_enter(c, APUS_TCP_ESTABLISHED);
	if (c->syn_at_ns) { /* the SYN's round trip; Karn: not if it went out twice */
		c->handshake_ns = now_ns - c->syn_at_ns;
		apus_rtt_sample(&c->rtt, c->handshake_ns);
	}
	apus_rtt_handshake_done(&c->rtt, c->syn_resent);
	c->retries = 0;
	c->rexmit_at_ns = APUS_NEVER;
	apus_cc_init(&c->cc, c->cc.type, c->cc.mss, c->snd.una);
	if (c->syn_resent)
		apus_cc_handshake_lost(&c->cc);
	c->snd.ecn.marks_all = c->snd.ecn.is_on && c->cc.type->flags & APUS_CC_NEEDS_ECN;
	c->progress_tick = apus_tcp_tick(now_ns);
	apus_tcp_start_idle(c, now_ns);
	if (c->is_close_queued)
		apus_tcp_enter(c, APUS_TCP_FIN_WAIT_1);
	apus_waitq_wake_all(&c->writers, 0);
	apus_tcp_mark(c);
}

/* What is in flight has records, and what has records is in flight. */
static void check_flight(const struct apus_tcp *c)
{
	const struct apus_flight *f;

	if (!c->recovery) {
		apus_must_op(c->snd.una, ==, c->snd.nxt);
		return;
	}
	f = &c->recovery->flight;
	apus_recovery_check(c->recovery);
	if (c->is_steady) {
		apus_must_op(apus_flight_count(f), ==, 0);
		apus_must_op(c->snd.nxt - c->snd.una, <=, c->cc.mss);
		return;
	}
	apus_must_op(apus_flight_bytes(f), ==, c->snd.nxt - c->snd.una);
	if (apus_flight_count(f))
		apus_must_op(apus_flight_at(f, f->head)->seq, ==, c->snd.una);
}

/* What must be true of a connection whose handshake is over. */
static void check_synchronized(const struct apus_tcp *c)
{
	uint32_t end = apus_tcp_text_end(c);

	/* Nothing was sent that is not queued, but for a FIN. */
	apus_must(apus_seq_leq(c->snd.nxt, end + apus_tcp_fin_due(c)));
	apus_must_op(c->cc.mss, >=, apus_tcp_path_mss(c, APUS_TCP_MSS_LEAST));
	apus_must(apus_seq_leq(c->rcv.acked, c->rcv.nxt));
	apus_must_op(c->rcvq.bytes, <=, c->rcv_buffer + (1U << c->rcv.wscale));
	/* What is in flight, or waits, is watched by a timer; nothing else is. */
	if (c->is_steady)
		apus_must(c->snd.una == c->snd.nxt || apus_timer_armed(&c->timer));
	else if (!c->is_marked)
		apus_must_op(c->rexmit_at_ns != APUS_NEVER, ==,
			     c->snd.nxt != end + apus_tcp_fin_due(c) || c->snd.una != c->snd.nxt);
	apus_cc_check(&c->cc);
	check_flight(c);
}

void apus_tcp_check(const struct apus_tcp *c)
{
	apus_must_op(c->state, <, APUS_TCP_STATES);
	apus_must(apus_seq_leq(c->snd.una, c->snd.nxt));
	apus_must_op(c->snd.wscale, <=, APUS_SEGMENT_WSCALE_MAX);
	if (c->state == APUS_TCP_CLOSED) {
		apus_must(!c->in_demux);
		apus_must(!apus_timer_armed(&c->timer));
		apus_must_op(c->sndq.bytes, ==, 0);
	}
	if (apus_tcp_synchronized(c->state) && c->in_demux)
		check_synchronized(c);
	/* An empty queue has an mbuf until the end of the turn, which comes to those that are marked. */
	if (!c->is_marked)
		apus_must(c->sndq.bytes || !c->sndq.head);
	apus_rcvq_check(&c->rcvq);
	apus_sndq_check(&c->sndq);
}
