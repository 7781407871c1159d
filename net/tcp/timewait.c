/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timewait.c: the TIME-WAIT state as a small entry; see timewait.h.
 *
 * RFC 9293 §3.10.7.4 for TIME-WAIT, §3.6.1 (MUST-13, MAY-2); RFC 1337 §3. Nothing can follow the
 * peer's FIN, so RCV.WND is 0, and acceptable is what says nothing, at RCV.NXT. All other segments
 * but resets are answered: with an ACK each if they have text, a FIN or a SYN, else with one in
 * half a second, as a challenge (RFC 5961 §7), so that two ends that do not agree on their numbers
 * cannot answer each other for ever.
 */
#include "net/tcp/timewait.h"

#include "net/tcp/timestamp.h"
#include "runtime/sched/shard.h"

#define HALF_SECS (1U << 11) /* modulo which they are kept */

static uint32_t half_sec(int64_t now_ns)
{
	return (uint32_t)(now_ns / APUS_TCP_CHALLENGE_NS);
}

/* ---- the FIFO: user space ends below 2^47 (x86-64) or 2^48 (aarch64) ---- */

static struct apus_tcp_time_wait *unpack(uint16_t high, uint32_t low)
{
	return (struct apus_tcp_time_wait *)((uintptr_t)high << 32 | low);
}

static void set_older(struct apus_tcp_time_wait *tw, const struct apus_tcp_time_wait *older)
{
	tw->older_high = (uint16_t)((uintptr_t)older >> 32);
	tw->older_low = (uint32_t)(uintptr_t)older;
}

static void set_newer(struct apus_tcp_time_wait *tw, const struct apus_tcp_time_wait *newer)
{
	tw->newer_high = (uint16_t)((uintptr_t)newer >> 32);
	tw->newer_low = (uint32_t)(uintptr_t)newer;
}

static void fifo_push(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw)
{
	struct apus_tcp_time_wait *newest = layer->time_wait_newest;

	apus_must(!((uintptr_t)tw >> 48));
	set_older(tw, newest);
	set_newer(tw, NULL);
	if (newest)
		set_newer(newest, tw);
	else
		layer->time_wait_oldest = tw;
	layer->time_wait_newest = tw;
}

static void fifo_remove(struct apus_tcp_layer *layer, const struct apus_tcp_time_wait *tw)
{
	struct apus_tcp_time_wait *older = unpack(tw->older_high, tw->older_low);
	struct apus_tcp_time_wait *newer = unpack(tw->newer_high, tw->newer_low);

	if (older)
		set_newer(older, newer);
	else
		layer->time_wait_oldest = newer;
	if (newer)
		set_older(newer, older);
	else
		layer->time_wait_newest = older;
}

/* ---- entries ---- */

static void arm_timer(struct apus_tcp_layer *layer)
{
	const struct apus_tcp_time_wait *oldest = layer->time_wait_oldest;

	if (apus_timer_armed(&layer->time_wait_timer) || !oldest)
		return;

	int64_t now_ns = apus_now();
	uint32_t waited = apus_tcp_time_wait_waited(oldest, now_ns);

	apus_timer_arm(&layer->time_wait_timer,
		       now_ns + APUS_TCP_TIME_WAIT_NS - apus_tcp_tick_ns(waited));
}

void apus_tcp_time_wait_close(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw)
{
	apus_tcp_demux_remove(&layer->demux, tw);
	fifo_remove(layer, tw);
	apus_slab_put(&layer->time_waits, tw);
}

void apus_tcp_time_wait_timer_fired(struct apus_work *work)
{
	struct apus_tcp_layer *layer =
		apus_container_of(apus_timer_of(work), struct apus_tcp_layer, time_wait_timer);
	struct apus_tcp_time_wait *oldest;
	int64_t now_ns = apus_now();

	while ((oldest = layer->time_wait_oldest)) {
		if (apus_tcp_time_wait_waited(oldest, now_ns) <
		    apus_tcp_tick(APUS_TCP_TIME_WAIT_NS))
			break;
		apus_tcp_time_wait_close(layer, oldest);
	}
	arm_timer(layer);
}

/* Room for one more: at the limit the oldest has waited longest. */
static struct apus_tcp_time_wait *get_entry(struct apus_tcp_layer *layer)
{
	struct apus_tcp_time_wait *tw = apus_slab_get(&layer->time_waits);

	if (tw || !layer->time_wait_oldest)
		return tw;
	apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_EVICTED);
	apus_tcp_time_wait_close(layer, layer->time_wait_oldest);
	return apus_slab_get(&layer->time_waits);
}

bool apus_tcp_time_wait_replace(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
				const struct apus_tcp_last *last, int64_t now_ns)
{
	struct apus_tcp_time_wait *tw = get_entry(layer);

	if (!tw) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MEMORY);
		return false;
	}
	*tw = (struct apus_tcp_time_wait){
		.key = *key,
		.snd_nxt = last->snd_nxt,
		.rcv_nxt = last->rcv_nxt,
		.ts_recent = last->ts_recent,
		.since_tick = apus_tcp_tick(now_ns) % APUS_TCP_TIME_WAIT_TICKS,
		.challenge_half_sec = half_sec(now_ns - APUS_SEC) % HALF_SECS,
		.has_ts = last->has_ts,
	};
	fifo_push(layer, tw);
	apus_tcp_demux_replace(&layer->demux, APUS_TCP_KIND_TIME_WAIT, tw);
	arm_timer(layer);
	return true;
}

void apus_tcp_time_wait_open(struct apus_tcp *c, int64_t now_ns)
{
	apus_must_op(c->state, ==, APUS_TCP_TIME_WAIT);

	struct apus_tcp_last last = {
		.snd_nxt = c->snd.nxt,
		.rcv_nxt = c->rcv.nxt,
		.ts_recent = c->rcv.ts_recent,
		.has_ts = c->has_ts,
	};

	if (apus_tcp_time_wait_replace(c->layer, &c->key, &last, now_ns))
		apus_tcp_detach(c);
	else /* out of memory: without a quiet time rather than not at all */
		apus_tcp_delete(c, 0);
}

/*
 * RFC 9293 §3.6.1 (MAY-2, SHLD-4): a SYN may reopen the connection from TIME-WAIT. That its
 * timestamp is later than any of the old connection's tells it from an old duplicate, whatever its
 * number (RFC 6191); if one of the two had no timestamps, or they are equal, its number has to.
 * Our own number will be beyond, too, and if the SYN was old after all TIME-WAIT comes back:
 * listen.c.
 */
static bool is_newer_syn(const struct apus_tcp_time_wait *tw, const struct apus_segment *seg)
{
	if (!seg->syn || seg->rst || seg->has_ack)
		return false;
	if (tw->has_ts && seg->has_ts && seg->ts_val != tw->ts_recent)
		return !apus_tcp_is_old(seg, tw->ts_recent);
	return apus_seq_gt(seg->seq, tw->rcv_nxt);
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

	if (tw->has_ts)
		apus_tcp_stamp(&ack, apus_tcp_ts_offset(layer, &tw->key), tw->ts_recent, now_ns);
	apus_tcp_send_bare(layer, &tw->key, &ack, now_ns);
}

/* "An acknowledgment should be sent in reply": what says nothing could be such a reply itself. */
static void answer_unacceptable(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw,
				const struct apus_tcp_arrival *a)
{
	uint32_t now = half_sec(a->now_ns) % HALF_SECS;

	if (!a->seg.len) {
		if (tw->challenge_half_sec == now) {
			apus_tcp_count(layer, APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED);
			return;
		}
		tw->challenge_half_sec = now & (HALF_SECS - 1);
		apus_tcp_count(layer, APUS_TCP_COUNT_CHALLENGE_ACKS);
	}
	answer(layer, tw, a->now_ns);
}

bool apus_tcp_time_wait_arrives(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw,
				struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	bool has_both_ts = tw->has_ts && seg->has_ts;

	if (is_newer_syn(tw, seg)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_REUSED);
		a->reopens = true;
		a->old = (struct apus_tcp_last){
			.snd_nxt = tw->snd_nxt,
			.rcv_nxt = tw->rcv_nxt,
			.ts_recent = tw->ts_recent,
			.has_ts = tw->has_ts,
		};
		apus_tcp_time_wait_close(layer, tw);
		return false;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_DROP_TIME_WAIT);
	/* RFC 1337 §3 (F1): a reset ends nothing here. */
	if (seg->rst)
		return true;
	/* RFC 7323 §3.2: one without is dropped, §5.3 (R1): an old one is answered and dropped. */
	if (tw->has_ts && !seg->has_ts && !seg->syn)
		return true;
	if (has_both_ts && apus_tcp_is_old(seg, tw->ts_recent)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_PAWS_REJECTED);
		answer_unacceptable(layer, tw, a);
		return true;
	}
	if (has_both_ts && apus_seq_leq(seg->seq, tw->rcv_nxt))
		tw->ts_recent = seg->ts_val;
	/* First: the only acceptable segment; fifth to eighth have nothing to do for it. */
	if (!seg->len && seg->seq == tw->rcv_nxt)
		return true;
	/* Eighth: the peer's FIN again; its ACK was lost. "Restart the 2 MSL time-wait timeout." */
	if (seg->fin && seg->seq + seg->len == tw->rcv_nxt) {
		tw->since_tick = apus_tcp_tick(a->now_ns) % APUS_TCP_TIME_WAIT_TICKS;
		fifo_remove(layer, tw);
		fifo_push(layer, tw);
	}
	answer_unacceptable(layer, tw, a);
	return true;
}
