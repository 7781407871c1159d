/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timewait.c: the TIME-WAIT state as a small entry; see timewait.h.
 *
 * RFC 9293 §3.10.7.4 for TIME-WAIT, §3.6.1 (MUST-13, MAY-2); RFC 1337 §3. Where we differ: a
 * segment without text that lies beyond RCV.NXT is not answered, so that two ends in TIME-WAIT
 * cannot answer each other for ever.
 */
#include "net/tcp/timewait.h"

#include "runtime/sched/shard.h"

static void arm_timer(struct apus_tcp_layer *layer)
{
	if (apus_timer_armed(&layer->time_wait_timer) || apus_list_empty(&layer->time_wait_fifo))
		return;

	const struct apus_tcp_time_wait *oldest =
		apus_list_entry(layer->time_wait_fifo.next, struct apus_tcp_time_wait, link);
	int64_t now_ns = apus_now();
	uint32_t waited = apus_tcp_tick(now_ns) - oldest->since_tick;

	apus_timer_arm(&layer->time_wait_timer,
		       now_ns + APUS_TCP_TIME_WAIT_NS - apus_tcp_tick_ns(waited));
}

void apus_tcp_time_wait_close(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw)
{
	apus_tcp_demux_remove(&layer->demux, tw);
	apus_list_remove(&tw->link);
	apus_slab_put(&layer->time_waits, tw);
}

void apus_tcp_time_wait_timer_fired(struct apus_work *work)
{
	struct apus_tcp_layer *layer =
		apus_container_of(apus_timer_of(work), struct apus_tcp_layer, time_wait_timer);
	uint32_t now_tick = apus_tcp_tick(apus_now());

	while (!apus_list_empty(&layer->time_wait_fifo)) {
		struct apus_tcp_time_wait *oldest = apus_list_entry(
			layer->time_wait_fifo.next, struct apus_tcp_time_wait, link);

		if (now_tick - oldest->since_tick < apus_tcp_tick(APUS_TCP_TIME_WAIT_NS))
			break;
		apus_tcp_time_wait_close(layer, oldest);
	}
	arm_timer(layer);
}

/* Room for one more: at the limit the oldest has waited longest. */
static struct apus_tcp_time_wait *get_entry(struct apus_tcp_layer *layer)
{
	struct apus_tcp_time_wait *tw = apus_slab_get(&layer->time_waits);

	if (tw || apus_list_empty(&layer->time_wait_fifo))
		return tw;
	apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_EVICTED);
	apus_tcp_time_wait_close(layer, apus_list_entry(layer->time_wait_fifo.next,
							struct apus_tcp_time_wait, link));
	return apus_slab_get(&layer->time_waits);
}

bool apus_tcp_time_wait_replace(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
				uint32_t snd_nxt, uint32_t rcv_nxt, int64_t now_ns)
{
	struct apus_tcp_time_wait *tw = get_entry(layer);

	if (!tw) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MEMORY);
		return false;
	}
	*tw = (struct apus_tcp_time_wait){
		.key = *key,
		.snd_nxt = snd_nxt,
		.rcv_nxt = rcv_nxt,
		.since_tick = apus_tcp_tick(now_ns),
	};
	apus_list_push_back(&layer->time_wait_fifo, &tw->link);
	apus_tcp_demux_replace(&layer->demux, APUS_TCP_KIND_TIME_WAIT, tw);
	arm_timer(layer);
	return true;
}

void apus_tcp_time_wait_open(struct apus_tcp *c, int64_t now_ns)
{
	apus_must_op(c->state, ==, APUS_TCP_TIME_WAIT);
	if (apus_tcp_time_wait_replace(c->layer, &c->key, c->snd.nxt, c->rcv.nxt, now_ns))
		apus_tcp_detach(c);
	else /* out of memory: without a quiet time rather than not at all */
		apus_tcp_delete(c, 0);
}

/*
 * RFC 9293 §3.6.1 (MAY-2): a SYN may reopen the connection from TIME-WAIT; that its number is
 * beyond the old connection's tells it from an old duplicate (timestamps would tell more surely:
 * RFC 6191). Our own number will be beyond, too, and if the SYN was old after all TIME-WAIT
 * comes back: listen.c.
 */
static bool is_newer_syn(const struct apus_tcp_time_wait *tw, const struct apus_segment *seg)
{
	return seg->syn && !seg->rst && !seg->has_ack && apus_seq_gt(seg->seq, tw->rcv_nxt);
}

static void answer(struct apus_tcp_layer *layer, const struct apus_tcp_time_wait *tw,
		   int64_t now_ns)
{
	struct apus_segment ack = {
		.seq = tw->snd_nxt,
		.ack = tw->rcv_nxt,
		.has_ack = true,
		.wscale = -1,
	};

	apus_tcp_send_bare(layer, &tw->key, &ack, now_ns);
}

bool apus_tcp_time_wait_arrives(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw,
				struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	bool is_old = seg->seq != tw->rcv_nxt && apus_seq_leq(seg->seq + seg->len, tw->rcv_nxt);

	if (is_newer_syn(tw, seg)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_REUSED);
		a->reopens = true;
		a->old_snd_nxt = tw->snd_nxt;
		a->old_rcv_nxt = tw->rcv_nxt;
		apus_tcp_time_wait_close(layer, tw);
		return false;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_DROP_TIME_WAIT);
	/* RFC 1337 §3 (F1): a reset ends nothing here. */
	if (seg->rst)
		return true;
	/* First: what lies before the window is answered. Fifth: the rest only if it has an ACK. */
	if (!is_old && (!seg->len || !(seg->has_ack || seg->syn)))
		return true;
	/* Eighth: the peer's FIN again; its ACK was lost. "Restart the 2 MSL time-wait timeout." */
	if (seg->fin && seg->seq + seg->len == tw->rcv_nxt) {
		tw->since_tick = apus_tcp_tick(a->now_ns);
		apus_list_remove(&tw->link);
		apus_list_push_back(&layer->time_wait_fifo, &tw->link);
	}
	answer(layer, tw, a->now_ns);
	return true;
}
