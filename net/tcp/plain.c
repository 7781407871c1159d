/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/plain.c: the plainest output: one segment of new text, an acknowledgment, or neither, while
 * nothing is amiss. That is all that requests and answers send, and what acknowledges a download.
 *
 * From the decision to the burst in one piece: the headers are copied from a frame that was made
 * before, and what differs is written into the copy. What it does is what output.c, transmit.c,
 * segment.c and net/ip do with it, without what finds nothing to do; without this file
 * (-Dtcp_fast=false, or the stack's option no_fast) all is the same but slower, and test_plain.c
 * compares the two, frame by frame and field by field.
 *
 * Entry points: apus_tcp_output_plain.
 */
#include "net/tcp/plain.h"

#include "net/ip/mbuf.h"
#include "net/tcp/short.h"
#include "net/tcp/steady.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/transmit.h"
#include "net/tcp/window.h"

#define FLAG_PSH 0x08U
#define FLAG_ACK 0x10U

/* ---- is it plain? ---- */

/* Nothing is lost, sacked, sent again or told twice: all that was sent is in the network. */
static inline bool flight_is_plain(const struct apus_recovery *r)
{
	const struct apus_flight *f = &r->flight;

	static_assert(APUS_RECOVERY_OPEN == 0, "taken together with counts");
	return !(r->is_paced | r->state | f->sacked_bytes | f->lost_bytes | f->again_bytes |
		 f->emulated_bytes);
}

static inline bool is_plain(const struct apus_tcp *c)
{
	const struct apus_tcp_layer *layer = c->layer;

	return (c->state == APUS_TCP_ESTABLISHED || c->state == APUS_TCP_CLOSE_WAIT) &&
	       !(c->want & ~(APUS_TCP_WANT_ACK_NOW | APUS_TCP_WANT_ACK_SOON)) &&
	       !(c->is_persisting | c->is_path_small | c->is_corked) &&
	       !(c->snd.ecn.is_on | c->rcv.duplicates) && c->snd.wnd && c->recovery &&
	       !c->rcvq.ooo && !apus_tcp_traces(c) &&
	       c->rcv.nxt - c->rcv.acked <= 2U * c->rcv.mss && !c->cc.type->pacing_rate &&
	       !(layer->options.pacing | layer->options.no_fast) && flight_is_plain(c->recovery);
}

/* The last text left so lately that the window is not to be restarted (RFC 5681 §4.1: an RTO). */
static inline bool is_lately(const struct apus_tcp *c, int64_t now_ns)
{
	return apus_tcp_tick(now_ns) - c->sent_tick < apus_tcp_tick(APUS_RTT_RTO_FLOOR_NS);
}

/*
 * The same of a steady connection, where all else is known: nothing, or all of it in one segment. Its
 * timer does not tell that it was silent for an RTO: the last ACK may have made that shorter.
 */
static inline bool is_plain_steady(const struct apus_tcp *c, uint32_t text, uint32_t flight,
				   int64_t now_ns)
{
	if (!c->is_steady || c->rcv.nxt - c->rcv.acked > 2U * c->rcv.mss)
		return false;
	if (!text) /* a writer who found no mbuf waits: watch() */
		return flight || apus_waitq_empty(&c->writers);
	return !flight && text <= apus_tcp_sender_of(c)->steady_most && text <= c->snd.wnd &&
	       is_lately(c, now_ns);
}

/* May all of @text bytes that wait leave as one segment? @flight: bytes in the network. */
static inline bool text_may_go(const struct apus_tcp *c, uint32_t text, uint32_t flight,
			       int64_t now_ns)
{
	const struct apus_flight *f = &c->recovery->flight;
	uint32_t mss = c->cc.mss, queued = c->sndq.bytes;

	if (text > mss || queued > c->snd.wnd || queued > c->cc.cwnd_bytes ||
	    apus_flight_count(f) > f->mask)
		return false;
	if (flight) /* Nagle */
		return c->is_nodelay || text == mss;
	return is_lately(c, now_ns);
}

/* Is an ACK due that no text carries? (output.c's output_ack()) */
static bool owes_ack(const struct apus_tcp *c)
{
	return c->want & APUS_TCP_WANT_ACK_NOW ||
	       (c->want & APUS_TCP_WANT_ACK_SOON &&
		(c->rcv.quick || c->rcv.nxt - c->rcv.acked > c->rcv.mss));
}

/* ---- the segment ---- */

static APUS_NOINLINE bool make_frame(struct apus_tcp *c, struct apus_tcp_frame *frame)
{
	struct apus_tcp_layer *layer = c->layer;
	const struct apus_tcp_key *key = &c->key;

	if (!apus_ipv4_flow_make(&frame->flow, layer->ip, key->local, key->remote, IPPROTO_TCP,
				 frame->header))
		return false;
	apus_tcp_template_make(&frame->template, apus_addr_to_v4(key->local), key->local_port,
			       apus_addr_to_v4(key->remote), key->remote_port, c->has_ts,
			       layer->link->tx_offloads, frame->header + frame->flow.bytes);
	frame->bytes = (uint16_t)(frame->flow.bytes + frame->template.bytes);
	frame->data_off = (uint16_t)(RTE_PKTMBUF_HEADROOM - frame->bytes);

	struct rte_mbuf lengths = {.l2_len = frame->flow.l2_bytes,
				   .l3_len = sizeof(struct rte_ipv4_hdr),
				   .l4_len = frame->template.bytes};

	frame->tx_offload = lengths.tx_offload;
	frame->ol_flags = RTE_MBUF_F_TX_IPV4;
	if (frame->flow.sums_in_device)
		frame->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (frame->template.sums_in_device)
		frame->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	return true;
}

/* The headers, up to date. NULL: this segment has to go the long way. */
static struct apus_tcp_frame *frame_of(struct apus_tcp *c)
{
	struct apus_tcp_frame *frame =
		&apus_container_of(c->recovery, struct apus_tcp_sender, recovery)->frame;

	if (apus_likely(apus_ipv4_flow_is_fresh(&frame->flow, c->layer->ip)))
		return frame;
	return make_frame(c, frame) ? frame : NULL;
}

/* take_text(), of what is not one piece, or is too long to be copied. */
static APUS_NOINLINE struct rte_mbuf *
attach_text(struct apus_tcp *c, const struct apus_tcp_frame *frame, uint32_t text, uint32_t flight)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(c->layer->link->pool);

	if (!m)
		return NULL;
	if (apus_sndq_attach(&c->sndq, flight, text, m)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	m->data_off = frame->data_off;
	m->data_len = (uint16_t)(m->data_len + frame->bytes);
	m->pkt_len += frame->bytes;
	m->ol_flags |= frame->ol_flags;
	m->tx_offload = frame->tx_offload;
	memcpy(rte_pktmbuf_mtod(m, void *), frame->header, frame->bytes);
	return m;
}

/* Whole, with what is not in use: the text is put over that. */
static inline void put_header(uint8_t *at, const struct apus_tcp_frame *frame)
{
	static_assert(sizeof(frame->header) == 64 + 8, "that is");
	apus_sum_put_32(at, frame->header);
	apus_sum_put_32(at + 32, frame->header + 32);
	memcpy(at + 64, frame->header + 64, 8);
}

/*
 * An mbuf with the headers and the @text bytes at SND.NXT. NULL: no memory. *sum: of the bytes,
 * unless the device makes it.
 */
static APUS_INLINE struct rte_mbuf *take_text(struct apus_tcp *c,
					      const struct apus_tcp_frame *frame, uint32_t text,
					      uint32_t flight, uint64_t *sum)
{
	struct rte_mbuf *m;
	uint8_t *at;

	if (apus_unlikely(text && !apus_sndq_is_short(&c->sndq, text))) {
		m = attach_text(c, frame, text, flight);
		if (m && !frame->template.sums_in_device)
			*sum = apus_mbuf_sum_slow(m, frame->bytes, text);
		return m;
	}
	m = apus_mbuf_get_bare(c->layer->link->pool);
	if (apus_unlikely(!m))
		return NULL;
	m->data_off = frame->data_off;
	m->data_len = (uint16_t)(frame->bytes + text);
	m->pkt_len = frame->bytes + text;
	m->ol_flags = frame->ol_flags;
	m->tx_offload = frame->tx_offload;
	at = rte_pktmbuf_mtod(m, uint8_t *);
	put_header(at, frame);
	if (apus_likely(text)) {
		const uint8_t *from = apus_sndq_short(&c->sndq, flight);

		if (frame->template.sums_in_device)
			memcpy(at + frame->bytes, from, text);
		else
			*sum = apus_sum_copy(at + frame->bytes, from, text);
	}
	return m;
}

/* The segment, or with no @text the ACK. Return: it left; else nothing has changed. */
static APUS_INLINE bool send_segment(struct apus_tcp *c, uint32_t text, uint32_t flight,
				     int64_t now_ns)
{
	struct apus_tcp_frame *frame = frame_of(c);
	uint64_t sum = 0;
	struct rte_mbuf *m = frame ? take_text(c, frame, text, flight, &sum) : NULL;

	if (apus_unlikely(!m))
		return false;

	uint8_t *header = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t wnd = apus_tcp_choose_window(c);
	struct apus_tcp_fields fields = {
		.seq = c->snd.nxt,
		.ack = c->rcv.nxt,
		.wnd = wnd,
		.flags = text ? FLAG_PSH | FLAG_ACK : FLAG_ACK,
		.ts_val = apus_tcp_ts_clock(now_ns) + c->ts_offset,
		.ts_ecr = c->rcv.ts_recent,
	};

	apus_tcp_template_fill(&frame->template, header + frame->flow.bytes, &fields, text, sum);
	c->layer->counters[APUS_TCP_COUNT_SEGMENTS_OUT]++;
	if (c->tally)
		c->tally->segs_out++;
	apus_ipv4_flow_output(&frame->flow, c->layer->ip, m,
			      (struct rte_ipv4_hdr *)(header + frame->flow.l2_bytes), now_ns);
	return true;
}

/* ---- all of it ---- */

/* The @text bytes that waited have left, or an ACK has. */
static inline void note_sent(struct apus_tcp *c, uint32_t text, int64_t now_ns)
{
	/* RCV.NXT has been said. */
	c->want = 0;
	c->rcv.acked = c->rcv.nxt;
	c->ack_at_ns = APUS_NEVER;
	if (!text) {
		c->rcv.quick = (uint8_t)(c->rcv.quick - !!c->rcv.quick);
		return;
	}
	c->sent_tick = apus_tcp_tick(now_ns);
	c->rcv.quick = 0; /* the application answers: from now on ACKs can ride on that */
	c->layer->counters[APUS_TCP_COUNT_BYTES_OUT] += text;
}

/* A segment of @text bytes is in flight now. */
static void record(struct apus_tcp *c, uint32_t text, uint32_t flight, int64_t now_ns)
{
	uint32_t seq = c->snd.nxt;

	if (!flight)
		c->progress_tick = apus_tcp_tick(now_ns);
	c->snd.nxt = seq + text;
	apus_recovery_sent_plain(c->recovery, seq, seq + text, now_ns);
}

/* rexmit_at_ns, when all is sent. @flight: bytes in the network. */
static void watch(struct apus_tcp *c, uint32_t flight, int64_t now_ns)
{
	if (apus_likely(flight)) {
		apus_cc_sent(&c->cc, c->snd.una, c->snd.nxt, false);
		apus_rate_limited(&c->recovery->rate, flight);
		apus_tcp_watch_flight(c, now_ns);
		return;
	}
	c->rexmit_at_ns = APUS_NEVER;
	/* A writer who found no mbuf waits, and no ACK will come that wakes him. */
	if (!apus_waitq_empty(&c->writers))
		c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
}

/* What is to be remembered of what left, and watched. */
static void follow(struct apus_tcp *c, uint32_t text, uint32_t flight, int64_t now_ns)
{
	if (text && !flight)
		apus_tcp_steady_begin(c, text);
	if (c->is_steady) {
		apus_tcp_steady_sent(c, text, now_ns);
		return;
	}
	if (text)
		record(c, text, flight, now_ns);
	watch(c, flight + text, now_ns);
	apus_tcp_arm(c);
}

static APUS_NOINLINE bool output_any(struct apus_tcp *c, uint32_t text, uint32_t flight,
				     int64_t now_ns)
{
	apus_sndq_rest(&c->sndq);
	if (!is_plain_steady(c, text, flight, now_ns)) {
		apus_tcp_settle(c);
		if (!is_plain(c) || (text && !text_may_go(c, text, flight, now_ns)))
			return false;
	}
	if (text || owes_ack(c)) {
		if (apus_unlikely(!send_segment(c, text, flight, now_ns)))
			return false;
		note_sent(c, text, now_ns);
	} else if (c->want && c->ack_at_ns == APUS_NEVER) {
		c->ack_at_ns = now_ns + APUS_TCP_DELAYED_ACK_NS;
	}
	if (c->is_steady) /* and all that left is an ACK */
		apus_tcp_arm(c);
	else
		follow(c, text, flight, now_ns);
	return true;
}

bool apus_tcp_output_plain(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t flight = c->snd.nxt - c->snd.una, text = c->sndq.bytes - flight;

	if (apus_unlikely(!text || flight || !is_plain_steady(c, text, 0, now_ns)))
		return output_any(c, text, flight, now_ns);
	/* An answer: what is known of it is known to the compiler, too. */
	if (apus_unlikely(!send_segment(c, text, 0, now_ns)))
		return false;
	note_sent(c, text, now_ns);
	apus_tcp_steady_sent(c, text, now_ns);
	return true;
}
