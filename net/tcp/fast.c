/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/fast.c: SEGMENT ARRIVES, for the segments that nearly all are (Jacobson's header
 * prediction, RFC 1144 §3 and BSD; DESIGN.md §5, row 7).
 *
 * The connection is ESTABLISHED and nothing is pending about it; the segment is the next one, with no
 * flag but ACK and PSH, no option but a timestamp where both ends use them, whole within the
 * window, and acknowledges what is in flight or nothing new. Then the eight checks of input.c have
 * one outcome, and it is written down here in one piece. All questions are asked before anything is
 * changed; one answer that is not expected sends the segment to input.c, as if this file were not
 * there. So it can be left out (-Dtcp_fast=false, or no_fast of struct apus_tcp_options) and
 * tests/net/tcp/test_fast.c compares both ways, field by field.
 *
 * The addresses are not looked at: the connection's own were when it was made (MUST-57, MUST-63).
 *
 * Entry points: apus_tcp_fast_arrives; fast.h: key, find.
 */
#include "net/tcp/fast.h"

#include "net/ip/mbuf.h"
#include "net/tcp/recovery_lone.h"
#include "net/tcp/short.h"
#include "net/tcp/steady.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/window.h"

/* What is read of a header, once. */
struct plain {
	uint32_t seq, ack, wnd; /* the window is scaled */
	uint32_t ts_val, ts_ecr;
	uint32_t text_bytes;
	uint16_t text_offset;
	uint8_t flags;
};

/* The connection: does nothing but text and ACKs concern it? */
static inline bool is_quiet(const struct apus_tcp *c)
{
	return c->state == APUS_TCP_ESTABLISHED && !c->is_persisting && !c->is_released &&
	       !c->rcv.has_early_fin && !c->snd.ecn.is_on && c->snd.wnd && c->tally && !c->rcvq.ooo;
}

/* The header: in one piece, with the options that this connection has in every segment. */
static inline bool is_plain_header(const struct apus_tcp *c, const struct rte_mbuf *m, bool has_ts,
				   struct plain *p)
{
	const struct rte_tcp_hdr *tcp =
		rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, sizeof(struct rte_ipv4_hdr));
	uint32_t header_bytes = sizeof(*tcp) + (has_ts ? APUS_SEGMENT_TS_BYTES : 0);
	rte_be16_t offset_and_flags;

	p->text_offset = (uint16_t)(sizeof(struct rte_ipv4_hdr) + header_bytes);
	p->text_bytes = m->pkt_len - p->text_offset;
	memcpy(&offset_and_flags, &tcp->data_off, sizeof(offset_and_flags));
	p->flags = tcp->tcp_flags;
	p->seq = rte_be_to_cpu_32(tcp->sent_seq);
	p->ack = rte_be_to_cpu_32(tcp->recv_ack);
	p->wnd = (uint32_t)rte_be_to_cpu_16(tcp->rx_win) << c->snd.wscale;
	p->ts_val = p->ts_ecr = 0;
	return (offset_and_flags | RTE_BE16(RTE_TCP_PSH_FLAG)) ==
		       RTE_BE16(header_bytes << 10 | RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG) &&
	       m->data_len >= p->text_offset &&
	       (!has_ts || apus_segment_only_ts(tcp + 1, &p->ts_val, &p->ts_ecr));
}

/* First to fifth check: acceptable, not old, and neither news of loss nor of a closed window. */
static inline bool is_expected(const struct apus_tcp *c, bool has_ts, const struct plain *p)
{
	return p->seq == c->rcv.nxt && p->text_bytes <= c->rcv.adv - p->seq &&
	       p->ack - c->snd.una <= c->snd.nxt - c->snd.una &&
	       (p->text_bytes | (p->ack - c->snd.una)) && p->wnd &&
	       (!has_ts || (int32_t)(p->ts_val - c->rcv.ts_recent) >= 0) &&
	       apus_tcp_memory_is_fine(&c->layer->memory);
}

/* An ACK that is more than that of the one segment in flight: as input.c would have it. */
static APUS_NOINLINE void take_any_ack(struct apus_tcp *c, struct plain p, int64_t now_ns)
{
	struct apus_segment seg = {
		.seq = p.seq,
		.ack = p.ack,
		.len = p.text_bytes,
		.text_bytes = p.text_bytes,
		.text_offset = p.text_offset,
		.wnd = (uint16_t)(p.wnd >> c->snd.wscale),
		.flags = p.flags,
		.has_ts = c->has_ts,
		.wscale = -1,
		.ts_val = p.ts_val,
		.ts_ecr = p.ts_ecr,
	};

	(void)apus_tcp_take_ack(c, &seg, now_ns); /* in ESTABLISHED no FIN of ours is out */
}

/* The same, short for the ACK of the one segment in flight. */
static APUS_NOINLINE void take_other_ack(struct apus_tcp *c, const struct rte_mbuf *m,
					 int64_t now_ns)
{
	struct plain p;
	uint32_t bytes;

	(void)is_plain_header(c, m, c->has_ts, &p);
	bytes = p.ack - c->snd.una;
	apus_tcp_settle(c);
	c->snd.acked += apus_min(bytes, UINT32_MAX - c->snd.acked);
	if (apus_unlikely(!apus_recovery_is_lone(c->recovery, p.ack, now_ns) || c->tally->trace ||
			  bytes > c->cc.mss)) {
		take_any_ack(c, p, now_ns);
		return;
	}
	c->snd.una = p.ack;
	c->retries = 0;
	c->soft_error = 0;
	c->progress_tick = apus_tcp_tick(now_ns);
	apus_recovery_take_lone(c->recovery, &c->cc, &c->rtt, c->has_sack, c->snd.nxt, now_ns);
	c->tally->bytes_acked += bytes;
	c->tally->delivered++;
	apus_sndq_ack(&c->sndq, bytes);
	apus_tcp_acked(c);
}

/* SND.UNA < SEG.ACK =< SND.NXT; of @m, whose header is read again where that is not all. */
static APUS_INLINE void take_ack(struct apus_tcp *c, uint32_t ack, const struct rte_mbuf *m,
				 bool is_steady, int64_t now_ns)
{
	if (apus_likely(is_steady && ack == c->snd.nxt))
		apus_tcp_steady_acked(c, ack - c->snd.una, now_ns);
	else
		take_other_ack(c, m, now_ns);
}

/* The window, from newer segments (RFC 9293 §3.10.7.4); it was open and it is. */
static inline void take_window(struct apus_tcp *c, struct plain p)
{
	if (apus_seq_lt(c->snd.wl1, p.seq) ||
	    (c->snd.wl1 == p.seq && apus_seq_leq(c->snd.wl2, p.ack))) {
		c->snd.wnd = p.wnd;
		if (apus_unlikely(p.wnd > c->snd.max_wnd)) {
			apus_tcp_settle(c); /* the next ACK lets the queue grow */
			c->snd.max_wnd = p.wnd;
		}
		c->snd.wl1 = p.seq;
		c->snd.wl2 = p.ack;
	}
}

static inline void count_segments(struct apus_tcp *c, uint32_t n)
{
	c->layer->counters[APUS_TCP_COUNT_SEGMENTS_IN] += n;
	c->layer->counters[APUS_TCP_COUNT_SEGMENTS_FAST] += n;
	c->tally->segs_in += n;
}

static APUS_NOINLINE void count_run(struct apus_tcp *c, uint32_t text_bytes, uint32_t full)
{
	count_segments(c, (text_bytes + full - 1) / full);
}

/* Bytes of text in each of the segments that came as this one. */
static inline uint32_t full_of(const struct rte_mbuf *m, uint32_t text_bytes)
{
	return apus_unlikely(m->ol_flags & RTE_MBUF_F_RX_LRO) && m->tso_segsz && text_bytes
		       ? m->tso_segsz
		       : text_bytes;
}

/* Seventh, process the segment text: in order, no gap, and the memory is there. */
static inline void take_text(struct apus_tcp *c, struct plain p, struct rte_mbuf *m, uint32_t full,
			     int64_t now_ns)
{
	if (apus_likely(m->nb_segs == 1))
		apus_tcp_memory_taken(&c->layer->memory, 1);
	else
		apus_tcp_memory_kept(&c->layer->memory, m->nb_segs);
	apus_rcvq_append(&c->rcvq, m, p.text_offset, p.text_bytes);
	if (apus_unlikely(full > c->rcv.mss))
		c->rcv.mss = (uint16_t)apus_max(c->rcv.mss, apus_min(full, c->layer->mss));
	c->rcv.nxt = p.seq + p.text_bytes;
	c->layer->counters[APUS_TCP_COUNT_BYTES_IN] += p.text_bytes;
	c->tally->bytes_received += p.text_bytes;
	apus_tcp_tune(c, p.text_bytes, p.ts_ecr, now_ns);
	c->rcv.duplicates = 0;
	c->want |= APUS_TCP_WANT_ACK_SOON;
	if (!apus_waitq_empty(&c->readers))
		apus_waitq_wake_one(&c->readers, 0);
}

static APUS_NOINLINE void free_packet(struct rte_mbuf *m)
{
	rte_pktmbuf_free(m);
}

/* @has_ts is c->has_ts, @is_steady c->is_steady or false; both are known to the compiler. */
static APUS_INLINE bool arrives(struct apus_tcp *c, struct rte_mbuf *m, bool has_ts, bool is_steady,
				int64_t now_ns)
{
	struct plain p;

	if (apus_unlikely(!is_plain_header(c, m, has_ts, &p) || !is_expected(c, has_ts, &p) ||
			  !apus_mbuf_checksum_good(m, sizeof(struct rte_ipv4_hdr), IPPROTO_TCP)))
		return false;

	uint32_t full = full_of(m, p.text_bytes);

	if (apus_likely(full == p.text_bytes))
		count_segments(c, 1);
	else
		count_run(c, p.text_bytes, full);
	if (p.ack != c->snd.una)
		take_ack(c, p.ack, m, is_steady || c->is_steady, now_ns);
	take_window(c, p);
	c->heard_tick = apus_tcp_tick(now_ns);
	if (!is_steady)
		c->keepalive_sent = 0;
	if (has_ts && c->rcv.nxt == c->rcv.acked) { /* RFC 7323 §4.3 (2) */
		c->rcv.ts_recent = p.ts_val;
		c->rcv.ts_age = apus_tcp_ts_age(now_ns);
	}
	apus_tcp_mark_open(c);
	if (apus_likely(p.text_bytes))
		take_text(c, p, m, full, now_ns);
	else
		free_packet(m);
	return true;
}

static APUS_NOINLINE bool arrives_any(struct apus_tcp *c, struct rte_mbuf *m, int64_t now_ns)
{
	/* Steady is more than quiet. */
	if (!c->is_steady && !is_quiet(c))
		return false;
	return apus_likely(c->has_ts) ? arrives(c, m, true, false, now_ns)
				      : arrives(c, m, false, false, now_ns);
}

bool apus_tcp_fast_arrives(struct apus_tcp *c, struct rte_mbuf *m, int64_t now_ns)
{
	return apus_likely(c->is_steady && c->has_ts) ? arrives(c, m, true, true, now_ns)
						      : arrives_any(c, m, now_ns);
}
