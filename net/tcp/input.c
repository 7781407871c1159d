/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/input.c: SEGMENT ARRIVES (RFC 9293 §3.10.7), in the RFC's order.
 *
 * arrives_closed (.1), arrives_listen (.2), arrives_syn_sent (.3), then the eight checks (.4) for
 * all other states. A check says NEXT or DONE. Input only changes the TCB and sets wants; what is
 * to be said about it leaves at the end of the turn, once for all segments of the burst (MUST-58,
 * MUST-59). The exceptions are answers to segments for which there is no TCB.
 *
 * SYN-RECEIVED that came from LISTEN and TIME-WAIT are entries of their own: listen.c, timewait.c.
 *
 * Also here: RFC 5961 (blind attacks), RFC 5681 §3.2 (duplicate ACKs), RFC 2525 §2.17, RFC 6093.
 * Where we differ: a segment without text is acceptable at the right edge of the window too: it is
 * what a peer sends that has filled the window and lost a part of it (cf. RFC 9293 A.2).
 * Entry points: apus_tcp_input, apus_tcp_arrives.
 */
#include "net/ip/ipv4.h"
#include "net/tcp/challenge.h"
#include "net/tcp/listen.h"
#include "net/tcp/steady.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/timewait.h"
#include "net/tcp/window.h"
#include "runtime/sched/shard.h"

#include <errno.h>

enum check {
	NEXT, /* go on with the next check */
	DONE, /* the segment has had its effect */
};

static void want(struct apus_tcp *c, enum apus_tcp_want what)
{
	c->want |= (uint8_t)what;
	apus_tcp_mark(c);
}

static void drop(struct apus_tcp *c, enum apus_tcp_counter why)
{
	apus_tcp_count(c->layer, why);
}

/* ---- §3.10.7.1 CLOSED STATE ---- */

static void arrives_closed(struct apus_tcp_layer *layer, const struct apus_segment *seg,
			   int64_t now_ns)
{
	if (seg->rst) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_CLOSED_RST);
		return;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_DROP_NO_CONNECTION);
	apus_tcp_send_reset(layer, seg, now_ns);
}

/* ---- §3.10.7.2 LISTEN STATE ---- */

static void arrives_listen(struct apus_tcp_listener *l, struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	/* First, check for a RST: it cannot answer anything that we sent. */
	if (seg->rst) {
		apus_tcp_count(l->layer, APUS_TCP_COUNT_DROP_LISTEN);
		return;
	}
	/* Second, check for an ACK: there is nothing yet to acknowledge, but for a cookie. */
	if (seg->has_ack) {
		if (apus_tcp_cookie_arrives(l, a))
			return;
		apus_tcp_count(l->layer, APUS_TCP_COUNT_DROP_LISTEN);
		apus_tcp_send_reset(l->layer, seg, a->now_ns);
		return;
	}
	/*
	 * Third, check for a SYN. One with a FIN is no beginning of anything (RFC 9293 has no such
	 * segment); text is not acknowledged, so the peer sends it again.
	 */
	if (seg->syn && !seg->fin) {
		apus_tcp_request_open(l, a);
		return;
	}
	/* Fourth, other data or control: neither SYN nor ACK nor RST. */
	apus_tcp_count(l->layer, APUS_TCP_COUNT_DROP_LISTEN);
}

/* ---- shared by §3.10.7.3 and §3.10.7.4 ---- */

/*
 * Sixth, check the URG bit: RCV.UP <- max(RCV.UP, SEG.UP), behind the urgent text (MUST-62), which
 * stays in line (RFC 6093 §5). Its user is told (RFC 9293 §3.8.5, MUST-32), and can ask (MUST-33).
 */
static void sixth_check_urg(struct apus_tcp *c, const struct apus_segment *seg)
{
	uint32_t up = seg->seq + seg->syn + seg->up;

	if (!seg->urg || !apus_tcp_takes_text(c->state) || apus_seq_leq(up, c->rcv.nxt) ||
	    (c->rcv.has_urgent && apus_seq_leq(up, c->urgent_seq)))
		return;
	c->rcv.has_urgent = true;
	c->urgent_seq = up;
	if (c->layer->on_urgent)
		c->layer->on_urgent(c, c->layer->on_urgent_arg);
}

/*
 * Seventh, process the segment text (RFC 9293 §3.10.7.4).
 *
 * What lies before RCV.NXT or beyond the window has no effect. Out of order, duplicate or
 * hole-filling text is acknowledged at once (RFC 5681 §4.2), other text soon. Segments out of
 * order are counted, because each of them is worth a duplicate ACK to the sender.
 */
static enum check seventh_process_text(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	if (!seg->text_bytes || !apus_tcp_takes_text(c->state))
		return NEXT;

	uint32_t text_seq = seg->seq + seg->syn;

	if (apus_seq_leq(text_seq + seg->text_bytes, c->rcv.nxt)) {
		apus_rcvq_report(&c->rcvq, text_seq, text_seq + seg->text_bytes);
		want(c, APUS_TCP_WANT_ACK_NOW);
		return NEXT;
	}
	/* RFC 9293 §3.6.1: nobody will ever read it, and the peer must not think so. */
	if (c->is_released) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_DROP_AFTER_CLOSE);
		apus_tcp_send_reset(c->layer, seg, a->now_ns);
		apus_tcp_delete(c, -ECONNABORTED);
		return DONE;
	}

	if (!apus_tcp_memory_may_keep(c, apus_seq_leq(text_seq, c->rcv.nxt), a->m->nb_segs)) {
		want(c, APUS_TCP_WANT_ACK_NOW); /* as if it had been lost on the way */
		return DONE;
	}
	if (c->snd.ecn.is_on)
		apus_tcp_note_ecn(c, seg, a->now_ns);

	struct apus_ooo_text text = {text_seq, seg->text_offset, seg->text_bytes};
	bool had_gap = apus_rcvq_has_gap(&c->rcvq);
	uint32_t full = apus_segment_full(seg);

	if (!c->tally) {
		apus_tcp_tally_open(c);
		if (c->tally)
			c->tally->segs_in += apus_segment_count(seg); /* this one */
	}
	int64_t moved = apus_rcvq_input(&c->rcvq, a->m, text, c->rcv.nxt);

	a->m = NULL;
	c->rcv.mss = (uint16_t)apus_max(c->rcv.mss, apus_min(full, c->layer->mss));
	if (moved <= 0) {
		apus_tcp_count(c->layer, moved < 0 ? APUS_TCP_COUNT_DROP_RCV_FULL
						   : APUS_TCP_COUNT_OUT_OF_ORDER);
		c->rcv.duplicates = (uint8_t)apus_min(c->rcv.duplicates + apus_segment_count(seg),
						      (uint32_t)UINT8_MAX);
		want(c, APUS_TCP_WANT_ACK_NOW);
		return NEXT;
	}
	c->rcv.nxt += (uint32_t)moved;
	c->layer->counters[APUS_TCP_COUNT_BYTES_IN] += (uint64_t)moved;
	if (c->tally)
		c->tally->bytes_received += (uint64_t)moved;
	apus_tcp_tune(c, seg->text_bytes, seg->ts_ecr, a->now_ns);
	c->rcv.duplicates = 0; /* what was missing came in the same burst */
	if (had_gap)
		c->rcv.acked = c->rcv.nxt; /* one ACK for all that the hole kept back */
	want(c, had_gap || apus_seq_lt(text_seq, c->rcv.nxt - (uint32_t)moved)
			? APUS_TCP_WANT_ACK_NOW
			: APUS_TCP_WANT_ACK_SOON);
	apus_waitq_wake_one(&c->readers, 0);
	return NEXT;
}

/* A FIN counts when every byte before it is here; the number of one that came too early is kept. */
static bool fin_is_due(struct apus_tcp *c, const struct apus_segment *seg)
{
	uint32_t at = seg->seq + seg->syn + seg->text_bytes;

	if (seg->fin && at == c->rcv.nxt)
		return true;
	if (!apus_tcp_takes_text(c->state))
		return false;
	if (seg->fin && apus_seq_gt(at, c->rcv.nxt)) {
		c->early_fin_seq = at;
		c->rcv.has_early_fin = true;
		if (!seg->text_bytes) { /* out of order, as text would be */
			c->rcv.duplicates += c->rcv.duplicates < UINT8_MAX;
			want(c, APUS_TCP_WANT_ACK_NOW);
		}
	}
	if (c->rcv.has_early_fin && apus_seq_gt(c->rcv.nxt, c->early_fin_seq))
		c->rcv.has_early_fin = false; /* text beyond it: the peer contradicts itself */
	return c->rcv.has_early_fin && c->rcv.nxt == c->early_fin_seq;
}

/* Eighth, check the FIN bit (RFC 9293 §3.10.7.4). It counts once. */
static void eighth_check_fin(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	if (!fin_is_due(c, &a->seg))
		return;

	switch (c->state) {
	case APUS_TCP_ESTABLISHED:
		apus_tcp_enter(c, APUS_TCP_CLOSE_WAIT);
		break;
	case APUS_TCP_FIN_WAIT_1: /* our FIN is unacknowledged, else the fifth step had moved us on */
		apus_tcp_enter(c, APUS_TCP_CLOSING);
		break;
	case APUS_TCP_FIN_WAIT_2:
		apus_tcp_enter(c, APUS_TCP_TIME_WAIT);
		break;
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		/* A FIN behind the FIN: the peer contradicts itself. What it numbers is ignored. */
		drop(c, APUS_TCP_COUNT_DROP_AFTER_CLOSE);
		return;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_SYN_RECEIVED:
		apus_must(!"they do not come here: SEG.SEQ could not be validated");
		return;
	}
	c->rcv.has_early_fin = false;
	apus_rcvq_end(&c->rcvq);
	c->rcv.nxt++;
	if (apus_seq_lt(c->rcv.adv, c->rcv.nxt))
		c->rcv.adv = c->rcv.nxt;
	want(c, APUS_TCP_WANT_ACK_NOW);
	apus_waitq_wake_all(&c->readers, 0); /* they will read 0: end of stream */
}

/* ---- §3.10.7.3 SYN-SENT STATE ---- */

/* First, check the ACK bit. */
static enum check syn_sent_check_ack(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	/* SND.UNA is ISS here: SND.UNA < SEG.ACK =< SND.NXT. */
	if (!seg->has_ack || apus_seq_between(c->snd.una, seg->ack, c->snd.nxt))
		return NEXT;
	drop(c, APUS_TCP_COUNT_DROP_SYN_SENT);
	if (!seg->rst)
		apus_tcp_send_reset(c->layer, seg, a->now_ns);
	return DONE;
}

/* Second, check the RST bit. The ACK is good or absent; RFC 5961 has no RCV.NXT to compare. */
static enum check syn_sent_check_rst(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	if (!a->seg.rst)
		return NEXT;
	if (!a->seg.has_ack) {
		drop(c, APUS_TCP_COUNT_DROP_SYN_SENT);
		return DONE;
	}
	apus_tcp_count(c->layer, APUS_TCP_COUNT_RESETS_IN);
	apus_tcp_delete(c, -ECONNREFUSED);
	return DONE;
}

/* Fourth, check the SYN bit. */
static void syn_sent_check_syn(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	struct apus_segment *seg = &a->seg;

	if (!seg->syn) { /* Fifth: neither SYN nor RST. */
		drop(c, APUS_TCP_COUNT_DROP_SYN_SENT);
		return;
	}
	c->rcv.irs = seg->seq;
	c->rcv.nxt = c->rcv.acked = seg->seq + 1;
	c->rcv.adv = c->rcv.nxt + apus_tcp_syn_window(c->layer);

	struct apus_tcp_peer peer = apus_tcp_peer_of(c->layer, seg);

	apus_tcp_set_peer(c, &peer, a->now_ns);
	if (!seg->has_ack) { /* simultaneous open: RFC 9293 §3.5 (MUST-10) */
		apus_tcp_take_window(c, seg);
		apus_tcp_enter(c, APUS_TCP_SYN_RECEIVED);
		want(c, APUS_TCP_WANT_SYN);
		return; /* its text, if any, comes again */
	}
	c->snd.una = seg->ack;
	apus_tcp_established(c, a->now_ns);
	apus_tcp_take_window(c, seg);
	want(c, APUS_TCP_WANT_ACK_NOW);
	/* "continue processing at the sixth step" */
	apus_tcp_trim(seg, c->rcv.adv);
	sixth_check_urg(c, seg);
	if (seventh_process_text(c, a) == NEXT)
		eighth_check_fin(c, a);
}

static void arrives_syn_sent(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	if (syn_sent_check_ack(c, a) == DONE)
		return;
	if (syn_sent_check_rst(c, a) == DONE)
		return;
	/* Third, check the security: we keep no compartments. */
	syn_sent_check_syn(c, a);
}

/* ---- §3.10.7.4 Other States ---- */

/* Table 6 of RFC 9293 §3.10.7.4. */
static bool is_acceptable(const struct apus_tcp *c, const struct apus_segment *seg)
{
	uint32_t wnd = c->rcv.adv - c->rcv.nxt;

	if (!wnd)
		return !seg->len && seg->seq == c->rcv.nxt;
	if (!seg->len) /* with the right edge itself, as the top of the file says; not for a RST */
		return apus_seq_within(c->rcv.nxt, seg->seq, wnd + !seg->rst);
	return apus_seq_within(c->rcv.nxt, seg->seq, wnd) ||
	       apus_seq_within(c->rcv.nxt, seg->seq + seg->len - 1, wnd);
}

/* Not acceptable: say where we are, unless that could become a conversation. */
static void answer_unacceptable(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	if (seg->rst) {
		drop(c, APUS_TCP_COUNT_DROP_RST_SEQUENCE);
		return;
	}
	drop(c, APUS_TCP_COUNT_DROP_SEQUENCE);
	/* RFC 5961 §4: a SYN, whatever its number, is challenged. */
	if (seg->syn) {
		apus_tcp_challenge(c, a->now_ns);
		return;
	}
	/*
	 * Text or a FIN that came again means that our ACK was lost; SEG.SEQ = RCV.NXT - 1 without
	 * text is a keepalive or window probe (RFC 9293 §3.8.4). Both wait for an answer. Others
	 * could be an answer themselves: limited, so that two ends cannot answer each other.
	 */
	if (seg->text_bytes && apus_seq_lt(seg->seq, c->rcv.nxt))
		apus_rcvq_report(&c->rcvq, seg->seq,
				 apus_seq_min(seg->seq + seg->text_bytes, c->rcv.nxt));
	if (seg->len || seg->seq == c->rcv.nxt - 1)
		want(c, APUS_TCP_WANT_ACK_NOW);
	else
		apus_tcp_challenge(c, a->now_ns);
}

/* RFC 7323 §5.3 (R1): PAWS comes before the sequence number, which may be right again by chance. */
static enum check check_timestamp(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	switch (apus_tcp_ts_check(c, &a->seg, a->now_ns)) {
	case APUS_TCP_TS_FINE:
		return NEXT;
	case APUS_TCP_TS_ABSENT:
		drop(c, APUS_TCP_COUNT_DROP_NO_TIMESTAMP);
		return DONE;
	case APUS_TCP_TS_OLD:
		drop(c, APUS_TCP_COUNT_PAWS_REJECTED);
		answer_unacceptable(c, a);
		return DONE;
	}
	return DONE;
}

/* First, check sequence number. */
static enum check first_check_sequence(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	struct apus_segment *seg = &a->seg;

	/*
	 * RFC 9293 §3.5, figure 8: when both ends open at once, the peer's SYN comes again with its
	 * ACK. We have that SYN: it is trimmed off, as all that lies before the window.
	 */
	if (c->state == APUS_TCP_SYN_RECEIVED && seg->syn && seg->seq == c->rcv.irs) {
		seg->syn = false;
		seg->seq++;
		seg->len--;
		seg->wnd = (uint16_t)(seg->wnd >> c->snd.wscale); /* a SYN's is not scaled */
		/* Without ACK the peer is in SYN-SENT still: only our SYN helps it on. */
		want(c, seg->has_ack ? APUS_TCP_WANT_ACK_NOW : APUS_TCP_WANT_SYN);
	}
	if (check_timestamp(c, a) == DONE)
		return DONE;
	if (is_acceptable(c, seg)) {
		apus_tcp_trim(seg, c->rcv.adv);
		return NEXT;
	}
	/*
	 * "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be
	 * made to accept valid ACKs, URGs, and RSTs."
	 */
	if (seg->seq == c->rcv.nxt && c->rcv.adv == c->rcv.nxt && !seg->syn) {
		apus_tcp_trim(seg, c->rcv.adv);
		want(c, APUS_TCP_WANT_ACK_NOW);
		return NEXT;
	}
	/* TCP.md §2: after the peer's FIN its reset may still carry the number of the FIN. */
	if (seg->rst && seg->seq == c->rcv.nxt - 1 && apus_tcp_fin_received(c))
		return NEXT;
	answer_unacceptable(c, a);
	return DONE;
}

/* Second, check the RST bit, as RFC 5961 §3.2 has it. */
static enum check second_check_rst(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	if (!seg->rst)
		return NEXT;
	if (seg->seq != c->rcv.nxt && !(seg->seq == c->rcv.nxt - 1 && apus_tcp_fin_received(c))) {
		drop(c, APUS_TCP_COUNT_DROP_RST_SEQUENCE);
		apus_tcp_challenge(c, a->now_ns);
		return DONE;
	}

	apus_tcp_count(c->layer, APUS_TCP_COUNT_RESETS_IN);
	switch (c->state) {
	case APUS_TCP_SYN_RECEIVED:
		/* From LISTEN it is a request entry and never here: this was an active OPEN. */
		apus_tcp_delete(c, -ECONNREFUSED);
		break;
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
		apus_tcp_delete(c, -ECONNRESET);
		break;
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
		apus_tcp_delete(c, 0);
		break;
	case APUS_TCP_TIME_WAIT: /* RFC 1337 §3 (F1): not shortened by a reset */
		break;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_SYN_SENT:
		apus_must(!"they have arrival functions of their own");
		break;
	}
	return DONE;
}

/* Fourth, check the SYN bit: RFC 5961 §4.2, a challenge in all synchronized states. */
static enum check fourth_check_syn(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	if (!a->seg.syn)
		return NEXT;
	drop(c, APUS_TCP_COUNT_DROP_SYN_IN_WINDOW);
	apus_tcp_challenge(c, a->now_ns);
	return DONE;
}

/* Fifth: "Do the same processing as for the ESTABLISHED state". Returns true if our FIN is acknowledged now. */
static bool fifth_as_established(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	bool fin_acked = false;

	if (seg->ece && c->snd.ecn.is_on)
		apus_tcp_take_ece(c, a->now_ns);
	if (apus_seq_between(c->snd.una, seg->ack, c->snd.nxt)) {
		c->snd.acked += apus_min(seg->ack - c->snd.una, UINT32_MAX - c->snd.acked);
		fin_acked = apus_tcp_take_ack(c, seg, a->now_ns);
	} else if (seg->ack == c->snd.una)
		apus_tcp_take_same_ack(c, seg, a->now_ns);

	/* "If SND.UNA =< SEG.ACK =< SND.NXT, the send window should be updated", by newer segments. */
	if (seg->ack == c->snd.una &&
	    (apus_seq_lt(c->snd.wl1, seg->seq) ||
	     (c->snd.wl1 == seg->seq && apus_seq_leq(c->snd.wl2, seg->ack)))) {
		uint32_t before = c->snd.wnd;

		apus_tcp_take_window(c, seg);
		if (c->snd.wnd > before)
			apus_tcp_mark(c);
	}
	return fin_acked;
}

/* Fifth, in SYN-RECEIVED: SND.UNA < SEG.ACK =< SND.NXT opens the connection. */
static enum check fifth_in_syn_received(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	if (!apus_seq_between(c->snd.una, seg->ack, c->snd.nxt)) {
		drop(c, APUS_TCP_COUNT_DROP_BAD_ACK);
		apus_tcp_send_reset(c->layer, seg, a->now_ns);
		return DONE;
	}
	c->snd.una = seg->ack;
	apus_tcp_established(c, a->now_ns);
	apus_tcp_take_window(c, seg);
	return NEXT;
}

/* Fifth, check the ACK field. */
static enum check fifth_check_ack(struct apus_tcp *c, const struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;

	if (!seg->has_ack) {
		drop(c, APUS_TCP_COUNT_DROP_NO_ACK);
		return DONE;
	}
	if (c->state == APUS_TCP_SYN_RECEIVED)
		return fifth_in_syn_received(c, a);

	/*
	 * RFC 5961 §5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT. As in Linux since 6.7, the
	 * peer cannot have acknowledged what was never sent, which is less than the window at first.
	 */
	if (apus_seq_gt(seg->ack, c->snd.nxt) ||
	    apus_seq_lt(seg->ack, c->snd.una - apus_min(c->snd.max_wnd, c->snd.acked))) {
		drop(c, APUS_TCP_COUNT_DROP_BAD_ACK);
		apus_tcp_challenge(c, a->now_ns);
		return DONE;
	}

	bool fin_acked = fifth_as_established(c, a);

	c->heard_tick = apus_tcp_tick(a->now_ns);
	c->keepalive_sent = 0;
	if (c->is_persisting) { /* MUST-37: it answers, so it may keep its window closed */
		c->retries = 0;
		c->progress_tick = c->heard_tick;
	}
	if (!fin_acked)
		return NEXT;

	switch (c->state) {
	case APUS_TCP_FIN_WAIT_1:
		apus_tcp_enter(c, APUS_TCP_FIN_WAIT_2);
		apus_tcp_start_idle(c, a->now_ns);
		return NEXT;
	case APUS_TCP_CLOSING:
		apus_tcp_enter(c, APUS_TCP_TIME_WAIT);
		return NEXT;
	case APUS_TCP_LAST_ACK:
		apus_tcp_delete(c, 0);
		return DONE;
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_TIME_WAIT:
		apus_must(!"no FIN is due in these states");
		return DONE;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_SYN_RECEIVED:
		apus_must(!"they do not come here");
		return DONE;
	}
	return DONE;
}

/* Any state from SYN-RECEIVED on (RFC 9293 §3.10.7.4): eight checks, in the RFC's order. */
static void arrives_other(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	if (first_check_sequence(c, a) == DONE)
		return;
	if (second_check_rst(c, a) == DONE)
		return;
	/* Third, check security: we keep no compartments, so there is nothing to compare. */
	if (fourth_check_syn(c, a) == DONE)
		return;
	if (fifth_check_ack(c, a) == DONE)
		return;
	apus_tcp_ts_note(c, &a->seg, a->now_ns);
	sixth_check_urg(c, &a->seg);
	if (seventh_process_text(c, a) == DONE)
		return;
	eighth_check_fin(c, a);
}

void apus_tcp_arrives(struct apus_tcp *c, struct apus_tcp_arrival *a)
{
	apus_tcp_settle(c);
	if (c->tally)
		c->tally->segs_in += apus_segment_count(&a->seg);
	switch (c->state) {
	case APUS_TCP_SYN_SENT:
		arrives_syn_sent(c, a);
		break;
	case APUS_TCP_SYN_RECEIVED:
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		arrives_other(c, a);
		break;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
		apus_must(!"such a TCB is not in the demux");
	}
}

/* ---- the door ---- */

static enum apus_tcp_counter drop_counter(enum apus_segment_verdict verdict)
{
	switch (verdict) {
	case APUS_SEGMENT_BAD_OFFSET:
		return APUS_TCP_COUNT_DROP_BAD_OFFSET;
	case APUS_SEGMENT_BAD_CHECKSUM:
		return APUS_TCP_COUNT_DROP_BAD_CHECKSUM;
	case APUS_SEGMENT_SHORT:
	case APUS_SEGMENT_OK:
	case APUS_SEGMENT_VERDICT_COUNT:
		break;
	}
	return APUS_TCP_COUNT_DROP_SHORT;
}

/*
 * RFC 9293 §3.9.2.3 (MUST-57, MUST-63): only a single host opens connections, and with a single
 * address of ours. The IP room has looked at it; LAND: source and destination are the same endpoint.
 */
static bool check_addresses(struct apus_tcp_layer *layer, const struct apus_segment *seg)
{
	if (!apus_ipv4_is_ours(layer->ip, seg->local) ||
	    !apus_ipv4_is_unicast(layer->ip, seg->remote)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_ADDRESS);
		return false;
	}
	if (seg->local_port == seg->remote_port && apus_addr_equal(seg->local, seg->remote)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_DROP_LAND);
		return false;
	}
	return true;
}

/* No entry, or one in TIME-WAIT that gave way: LISTEN or CLOSED. */
static void arrives_unknown(struct apus_tcp_layer *layer, struct apus_tcp_arrival *a)
{
	const struct apus_segment *seg = &a->seg;
	struct apus_tcp_listener *l = apus_tcp_listener_find(layer, seg->local, seg->local_port);

	if (l)
		arrives_listen(l, a);
	else
		arrives_closed(layer, seg, a->now_ns);
}

static void dispatch(struct apus_tcp_layer *layer, struct apus_tcp_arrival *a)
{
	struct apus_tcp_key key = apus_tcp_key_of(&a->seg);
	struct apus_tcp_found found = apus_tcp_demux_find(&layer->demux, &key);

	switch (found.kind) {
	case APUS_TCP_KIND_CONNECTION:
		apus_tcp_arrives(found.entry, a);
		break;
	case APUS_TCP_KIND_REQUEST:
		apus_tcp_request_arrives(found.entry, a);
		break;
	case APUS_TCP_KIND_TIME_WAIT:
		if (!apus_tcp_time_wait_arrives(layer, found.entry, a))
			arrives_unknown(layer, a);
		break;
	case APUS_TCP_KIND_NONE:
		arrives_unknown(layer, a);
		break;
	}
}

void apus_tcp_input(struct apus_tcp_layer *layer, struct rte_mbuf *m, int64_t now_ns)
{
	struct apus_tcp_arrival a; /* the parser fills the segment: not cleared first */
	enum apus_segment_verdict verdict = apus_segment_parse(m, &a.seg);

	a.m = m;
	a.now_ns = now_ns;
	a.reopens = false;
	if (verdict != APUS_SEGMENT_OK) {
		apus_tcp_count(layer, APUS_TCP_COUNT_SEGMENTS_IN);
		apus_tcp_count(layer, drop_counter(verdict));
	} else {
		layer->counters[APUS_TCP_COUNT_SEGMENTS_IN] += apus_segment_count(&a.seg);
		if (a.seg.options_malformed)
			apus_tcp_count(layer, APUS_TCP_COUNT_OPTIONS_MALFORMED);
		if (check_addresses(layer, &a.seg))
			dispatch(layer, &a);
	}
	if (a.m)
		rte_pktmbuf_free(a.m);
}
