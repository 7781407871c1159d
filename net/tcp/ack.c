/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ack.c: what an acknowledgment says (RFC 9293 §3.10.7.4, fifth): which bytes arrived, how
 * long they took (RFC 6298), that some did not (RFC 5681 §3.2, RFC 6582), and how many more the
 * peer would take (RFC 9293 §3.8.6).
 *
 * Called by input.c once the numbers have been found acceptable. Only the TCB changes.
 */
#include "net/tcp/ack.h"

#include "net/tcp/pmtu.h"
#include "net/tcp/transmit.h"
#include "runtime/sched/shard.h"

/* RFC 9293 §3.8.6, §3.10.7.4: SND.WND <- SEG.WND, with the marks that tell old news from new. */
void apus_tcp_take_window(struct apus_tcp *c, const struct apus_segment *seg)
{
	/* RFC 7323 §2.2: the window field in a SYN is never scaled. */
	uint32_t wnd = (uint32_t)seg->wnd << (seg->syn ? 0 : c->snd.wscale);

	if (wnd != c->snd.wnd && !(wnd && c->snd.wnd)) {
		/* It closed or it opened: what the timer waits for is another thing now. */
		if (wnd) {
			if (c->recovery) /* beyond a closed window all was lost */
				apus_recovery_lose_all(c->recovery);
			apus_rtt_progress(&c->rtt); /* the probes' backoff is over */
		}
		c->retries = 0;
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

/* When the segment was sent that SEG.TSecr echoes, to the millisecond (RFC 7323 §4.1). */
static bool echo_ns(const struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns,
		    int64_t *out)
{
	uint32_t now_ms = (uint32_t)((uint64_t)now_ns / APUS_MS);
	uint32_t ago_ms = now_ms - (seg->ts_ecr - c->ts_offset);

	if (!c->has_ts || !seg->has_ts || ago_ms > APUS_RTT_RTO_MAX_NS / APUS_MS)
		return false; /* the peer's mistake, or not worth a sample */
	*out = now_ns - now_ns % APUS_MS - (int64_t)ago_ms * APUS_MS;
	return true;
}

static const struct {
	enum apus_recovery_event event;
	enum apus_tcp_counter counter;
} event_counters[] = {
	{APUS_RECOVERY_BEGAN, APUS_TCP_COUNT_FAST_RETRANSMITS},
	{APUS_RECOVERY_PARTIAL_ACK, APUS_TCP_COUNT_PARTIAL_ACKS},
	{APUS_RECOVERY_SAW_DSACK, APUS_TCP_COUNT_DSACKS_IN},
	{APUS_RECOVERY_SAW_REORDERING, APUS_TCP_COUNT_REORDERINGS},
	{APUS_RECOVERY_UNDID_LOSS, APUS_TCP_COUNT_TIMEOUT_UNDOS},
	{APUS_RECOVERY_UNDID_FAST, APUS_TCP_COUNT_RECOVERY_UNDOS},
	{APUS_RECOVERY_PROBE_REPAIRED, APUS_TCP_COUNT_TAIL_PROBE_REPAIRS},
	{APUS_RECOVERY_RENEGED, APUS_TCP_COUNT_SACK_RENEGED},
	{APUS_RECOVERY_LOST_AGAIN, APUS_TCP_COUNT_LOST_RETRANSMITS},
};

APUS_COLD void apus_tcp_note_events(struct apus_tcp *c, unsigned int events)
{
	for (size_t i = 0; i < apus_countof(event_counters); i++)
		if (events & event_counters[i].event)
			apus_tcp_count(c->layer, event_counters[i].counter);
	/* RFC 3168 §6.1.2: whenever the window becomes smaller, for any reason. */
	if (events & (APUS_RECOVERY_BEGAN | APUS_RECOVERY_PROBE_REPAIRED))
		c->snd.ecn.owes_cwr = c->snd.ecn.is_on;
	if (events & APUS_RECOVERY_PATH_PROBE_LOST)
		apus_tcp_path_probe_lost(c, apus_now());
	if (!apus_tcp_traces(c))
		return;
	if (events & APUS_RECOVERY_BEGAN)
		apus_tcp_trace_note(c, APUS_TCP_TRACE_LOSS, apus_now());
	if (events & (APUS_RECOVERY_UNDID_LOSS | APUS_RECOVERY_UNDID_FAST))
		apus_tcp_trace_note(c, APUS_TCP_TRACE_UNDO, apus_now());
}

/* For tcp_info: what arrived there by this ACK. */
static void tally_ack(struct apus_tcp *c, uint64_t delivered_bytes, bool is_ece,
		      unsigned int events)
{
	struct apus_tcp_tally *t = c->tally;
	uint32_t segments = (uint32_t)((delivered_bytes + c->cc.mss - 1) / c->cc.mss);

	t->delivered += segments;
	if (is_ece)
		t->delivered_ce += segments;
	t->dsack_dups += (events & APUS_RECOVERY_SAW_DSACK) != 0;
	t->reord_seen += (events & APUS_RECOVERY_SAW_REORDERING) != 0;
}

/* What the ACK says of what is in flight. */
static void learn(struct apus_tcp *c, const struct apus_segment *seg, bool is_duplicate,
		  int64_t now_ns)
{
	uint32_t edge = seg->ack + ((uint32_t)seg->wnd << c->snd.wscale);
	struct apus_recovery_ack ack = {
		.now_ns = now_ns,
		.una = seg->ack,
		.nxt = c->snd.nxt,
		.sack = seg->sack,
		.sack_count = c->has_sack ? seg->sack_count : 0,
		.has_sack = c->has_sack,
		.is_duplicate = is_duplicate,
		.is_ece = seg->ece && c->snd.ecn.is_on,
		.has_more = c->snd.nxt != apus_tcp_text_end(c) && apus_seq_gt(edge, c->snd.nxt),
	};

	ack.has_echo = echo_ns(c, seg, now_ns, &ack.echo_ns);

	uint64_t before = c->recovery->rate.delivered_bytes;
	unsigned int events = apus_recovery_acked(c->recovery, &c->cc, &c->rtt, &ack);

	if (events)
		apus_tcp_note_events(c, events);
	if (c->tally)
		tally_ack(c, c->recovery->rate.delivered_bytes - before, ack.is_ece, events);
	if (apus_tcp_traces(c) && !(events & APUS_RECOVERY_BEGAN))
		apus_tcp_trace_note(c, APUS_TCP_TRACE_ACK, now_ns);
	apus_tcp_mark(c); /* the windows moved: more may go */
}

void apus_tcp_take_ece(struct apus_tcp *c, int64_t now_ns)
{
	if (c->snd.una == c->snd.nxt ||
	    !apus_recovery_ecn(c->recovery, &c->cc, &c->rtt, c->snd.nxt, now_ns))
		return;
	c->snd.ecn.owes_cwr = true;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_ECN_REDUCTIONS);
}

bool apus_tcp_take_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns)
{
	bool fin_acked = apus_tcp_fin_due(c) && seg->ack == apus_tcp_text_end(c) + 1;
	uint32_t text_bytes = seg->ack - c->snd.una - fin_acked;

	apus_sndq_ack(&c->sndq, text_bytes);
	c->snd.una = seg->ack;
	c->retries = 0;
	c->soft_error = 0; /* whatever it was, it is over */
	c->progress_tick = apus_tcp_tick(now_ns);
	if (c->tally)
		c->tally->bytes_acked += text_bytes;
	learn(c, seg, false, now_ns);
	apus_tcp_acked(c);
	return fin_acked;
}

void apus_tcp_take_same_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns)
{
	bool is_duplicate = is_duplicate_ack(c, seg);

	if (is_duplicate)
		apus_tcp_count(c->layer, APUS_TCP_COUNT_DUPLICATE_ACKS);
	if (c->snd.una != c->snd.nxt && (is_duplicate || (seg->sack_count && c->has_sack)))
		learn(c, seg, is_duplicate, now_ns);
}

void apus_tcp_resegment(struct apus_tcp *c)
{
	if (!c->recovery)
		return;
	apus_recovery_resegment(c->recovery, c->cc.mss);
	apus_tcp_mark(c);
}
