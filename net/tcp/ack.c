/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ack.c: what an acknowledgment says (RFC 9293 §3.10.7.4, fifth): which bytes arrived, how
 * long they took (RFC 6298), that some did not (RFC 5681 §3.2, RFC 6582), and how many more the
 * peer would take (RFC 9293 §3.8.6).
 *
 * Called by input.c once the numbers have been found acceptable. Only the TCB changes.
 */
#include "net/tcp/tcb.h"

/* RFC 9293 §3.8.6, §3.10.7.4: SND.WND <- SEG.WND, with the marks that tell old news from new. */
void apus_tcp_take_window(struct apus_tcp *c, const struct apus_segment *seg)
{
	/* RFC 7323 §2.2: the window field in a SYN is never scaled. */
	uint32_t wnd = (uint32_t)seg->wnd << (seg->syn ? 0 : c->snd.wscale);

	if (wnd != c->snd.wnd && !(wnd && c->snd.wnd)) {
		/* It closed or it opened: what the timer waits for is another thing now. */
		if (wnd) {
			c->snd.rxt = c->snd.una; /* beyond a closed window all was lost */
			c->is_timing = false;
			apus_rtt_progress(&c->rtt); /* the probes' backoff is over */
		}
		c->retries = 0;
		c->is_persisting = false;
		c->rexmit_at_ns = APUS_NEVER;
		apus_tcp_mark(c);
	}
	c->snd.wnd = wnd;
	c->snd.max_wnd = apus_max(c->snd.max_wnd, wnd);
	c->snd.wl1 = seg->seq;
	c->snd.wl2 = seg->ack;
}

/* RFC 5681 §2: what counts as a duplicate ACK. */
static bool is_duplicate_ack(const struct apus_tcp *c, const struct apus_segment *seg)
{
	return seg->ack == c->snd.una && c->snd.una != c->snd.nxt && !seg->len &&
	       (uint32_t)seg->wnd << c->snd.wscale == c->snd.wnd && c->snd.wnd;
}

/* Output sends the segment at SND.UNA at the end of this turn. */
static void want_retransmit(struct apus_tcp *c)
{
	c->want |= APUS_TCP_WANT_RETRANSMIT;
	apus_tcp_mark(c);
}

static void act(struct apus_tcp *c, enum apus_recovery_act what, int64_t now_ns)
{
	switch (what) {
	case APUS_RECOVERY_RETRANSMIT_AND_ARM:
		c->snd.ecn.owes_cwr = c->snd.ecn.is_on; /* RFC 3168 §6.1.2: for any reason */
		apus_tcp_restart_rexmit(c, now_ns);
		want_retransmit(c);
		break;
	case APUS_RECOVERY_RETRANSMIT:
		want_retransmit(c);
		break;
	case APUS_RECOVERY_NOTHING:
		break;
	}
}

struct apus_cc_sample apus_tcp_sample(const struct apus_tcp *c, int64_t now_ns)
{
	uint32_t flight_bytes = c->snd.nxt - c->snd.una;

	return (struct apus_cc_sample){
		.now_ns = now_ns,
		.una = c->snd.una,
		.nxt = c->snd.nxt,
		.flight_bytes = flight_bytes,
		.prior_flight_bytes = flight_bytes,
		.rtt_ns = -1,
		.srtt_ns = apus_rtt_srtt_ns(&c->rtt),
	};
}

void apus_tcp_take_ece(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_cc_sample news = apus_tcp_sample(c, now_ns);

	if (c->snd.una == c->snd.nxt || c->recovery.in_recovery ||
	    apus_seq_lt(c->snd.una, c->ecn_seq))
		return;
	c->ecn_seq = c->snd.nxt;
	news.is_ece = true;
	apus_cc_congested(&c->cc, &news, APUS_CC_ECN);
	if (!(c->cc.type->flags & APUS_CC_OWNS_CWND))
		apus_cc_set_cwnd(&c->cc, c->cc.ssthresh_bytes);
	c->snd.ecn.owes_cwr = true;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_ECN_REDUCTIONS);
}

bool apus_tcp_take_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns)
{
	bool fin_acked = apus_tcp_fin_due(c) && seg->ack == apus_tcp_text_end(c) + 1;
	uint32_t text_bytes = seg->ack - c->snd.una - fin_acked;
	bool was_in_recovery = c->recovery.in_recovery;
	int64_t rtt_ns = -1;

	apus_sndq_ack(&c->sndq, text_bytes);
	c->snd.una = seg->ack;
	c->snd.rxt = apus_seq_max(c->snd.rxt, seg->ack);
	c->retries = 0;
	c->progress_tick = apus_tcp_tick(now_ns);
	/* Karn (RFC 6298 §3): is_timing ends when anything is sent again. */
	if (c->is_timing && apus_seq_gt(seg->ack, c->rtt_seq)) {
		rtt_ns = now_ns - c->rtt_at_ns;
		apus_rtt_sample(&c->rtt, rtt_ns);
		c->is_timing = false;
	} else {
		apus_rtt_progress(&c->rtt);
	}

	struct apus_cc_sample news = apus_tcp_sample(c, now_ns);

	news.acked_bytes = text_bytes;
	news.is_ece = seg->ece && c->snd.ecn.is_on;
	news.ce_bytes = news.is_ece ? text_bytes : 0;
	news.prior_flight_bytes += text_bytes;
	news.rtt_ns = rtt_ns;

	enum apus_recovery_act what = apus_recovery_acked(&c->recovery, &c->cc, &news);

	/* RFC 6298 (5.2), (5.3); in recovery only the first partial ACK restarts (RFC 6582 §3.2). */
	if (c->snd.una == c->snd.nxt)
		c->rexmit_at_ns = APUS_NEVER;
	else if (!was_in_recovery || !c->recovery.in_recovery)
		apus_tcp_restart_rexmit(c, now_ns);
	if (was_in_recovery && c->recovery.in_recovery)
		apus_tcp_count(c->layer, APUS_TCP_COUNT_PARTIAL_ACKS);
	act(c, what, now_ns);
	if (!apus_waitq_empty(&c->writers) &&
	    apus_sndq_space(&c->sndq) >= APUS_TCP_SEND_QUEUE_BYTES / 4)
		apus_waitq_wake_all(&c->writers, 0);
	apus_tcp_mark(c); /* the window moved: more may go */
	return fin_acked;
}

void apus_tcp_take_same_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns)
{
	struct apus_cc_sample news = apus_tcp_sample(c, now_ns);
	enum apus_recovery_act what;

	if (!is_duplicate_ack(c, seg))
		return;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_DUPLICATE_ACKS);
	/* While all is being sent again after a timeout, duplicates tell nothing new. */
	if (c->snd.rxt != c->snd.nxt)
		return;
	what = apus_recovery_duplicate(&c->recovery, &c->cc, &news);
	if (what != APUS_RECOVERY_NOTHING)
		apus_tcp_count(c->layer, APUS_TCP_COUNT_FAST_RETRANSMITS);
	act(c, what, now_ns);
	apus_tcp_mark(c); /* limited transmit, or the inflated window of recovery */
}
