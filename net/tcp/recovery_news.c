/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_news.c: what an ACK says of what is in flight: SACK (RFC 2018), DSACK (RFC 2883), or
 * duplicates in place of both; round trips (RFC 6298 §3), RACK's times, the delivery rate.
 *
 * Nothing is decided here: see recovery.c.
 */
#include "net/tcp/recovery_step.h"

void apus_recovery_saw_reordering(struct apus_recovery_step *s, uint32_t seq, uint32_t fack)
{
	uint32_t segments = (fack - seq + s->cc->mss - 1) / s->cc->mss;

	if (!apus_seq_lt(seq, fack))
		return;
	if (segments > s->r->reordering)
		s->r->reordering =
			(uint16_t)apus_min(segments, (uint32_t)APUS_RECOVERY_REORDERING_MAX);
	s->r->rack.saw_reordering = true;
	s->events |= APUS_RECOVERY_SAW_REORDERING;
}

/* RFC 2883 §4: the first block tells of something that came twice. */
static bool is_dsack(const struct apus_recovery_step *s)
{
	const struct apus_segment_sack *b = s->ack->sack;

	if (!apus_seq_lt(b[0].start, b[0].end) || apus_seq_gt(b[0].end, s->ack->nxt))
		return false;
	if (apus_seq_lt(b[0].start, s->ack->una))
		return apus_seq_leq(b[0].end, s->ack->una);
	return s->ack->sack_count > 1 && apus_seq_geq(b[0].start, b[1].start) &&
	       apus_seq_leq(b[0].end, b[1].end);
}

static void take_dsack(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	const struct apus_segment_sack *b = s->ack->sack;
	uint32_t records = (b->end - b->start + s->cc->mss - 1) / s->cc->mss;

	s->events |= APUS_RECOVERY_SAW_DSACK;
	if (r->has_probe && b->end == r->probe_seq)
		s->dsacks_probe = true;
	/* More than was ever sent again: the network doubles packets, which says nothing. */
	if (records > r->resent_records - apus_min(r->resent_records, r->dsacked_records))
		return;
	r->dsacked_records += records;
	s->has_dsack = true;
	if (r->rack.saw_reordering && !s->dsacks_probe)
		r->rack.has_dsack = true;
	if (r->has_undo && r->undo_records > 0 && apus_seq_gt(b->end, r->undo_seq))
		r->undo_records -= (int32_t)apus_min(records, (uint32_t)r->undo_records);
}

/* Lowest first: of two blocks that are both new, the higher did not come before the lower. */
static void take_sack(struct apus_recovery_step *s)
{
	struct apus_segment_sack sorted[APUS_SEGMENT_SACK_MAX];
	uint32_t count = 0, i = is_dsack(s);

	if (i)
		take_dsack(s);
	for (; i < s->ack->sack_count; i++) {
		struct apus_segment_sack block = s->ack->sack[i];
		uint32_t at = count++;

		for (; at && apus_seq_lt(block.start, sorted[at - 1].start); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = block;
	}
	for (i = 0; i < count; i++) {
		struct apus_flight *f = &s->r->flight;

		/* RFC 2018 §4: what is not in flight, or upside down, is the peer's mistake. */
		if (!apus_seq_lt(sorted[i].start, sorted[i].end) ||
		    apus_seq_lt(sorted[i].start, s->ack->una) ||
		    apus_seq_gt(sorted[i].end, s->ack->nxt))
			continue;
		s->news.fack = f->sacked_end;
		s->news.has_fack = f->has_sacked_end;
		apus_flight_sack(f, sorted[i].start, sorted[i].end, &s->news);
	}
}

/* Without SACK: never so many that nothing could be missing. */
void apus_recovery_bound_emulated(struct apus_flight *f, uint32_t mss)
{
	uint32_t bytes = apus_flight_bytes(f);
	uint32_t holes = apus_min(apus_max(f->lost_bytes, mss), bytes);

	f->emulated_bytes = apus_min(f->emulated_bytes, bytes - holes);
}

/* A duplicate ACK stands for a segment that arrived behind a hole. */
static void emulate(struct apus_recovery_step *s)
{
	struct apus_flight *f = &s->r->flight;
	uint32_t before = f->emulated_bytes;

	s->r->duplicates += s->r->duplicates < UINT8_MAX;
	if (s->r->has_recover && !apus_recovery_is_hole(s))
		return; /* it may be an echo of what recovery sent twice */
	f->emulated_bytes += s->cc->mss;
	apus_recovery_bound_emulated(f, s->cc->mss);
	if (f->emulated_bytes > before)
		s->news.delivered_bytes += f->emulated_bytes - before;
}

/* SND.UNA moved: what duplicates stood for is part of it now, but for the hole itself. */
static void settle_emulated(struct apus_recovery_step *s)
{
	struct apus_flight *f = &s->r->flight;
	uint32_t mss = s->cc->mss, moved = s->news.delivered_bytes;
	uint32_t known = apus_min(f->emulated_bytes, moved - apus_min(moved, mss));

	if (!f->emulated_bytes)
		return;
	s->news.delivered_bytes -= known;
	f->emulated_bytes -= known;
	apus_recovery_bound_emulated(f, mss);
}

void apus_recovery_take_records(struct apus_recovery_step *s)
{
	struct apus_flight *f = &s->r->flight;
	uint32_t fack = f->sacked_end;
	bool has_fack = f->has_sacked_end;

	if (s->ack->sack_count && s->ack->has_sack)
		take_sack(s);
	if (s->is_advanced) {
		s->news.fack = fack;
		s->news.has_fack = has_fack;
		apus_flight_ack(f, s->ack->una, &s->news);
		s->r->step_bytes = s->ack->una - s->prior_una;
		s->r->duplicates = 0;
		if (!s->ack->has_sack)
			settle_emulated(s);
	} else if (s->ack->is_duplicate && !s->ack->has_sack) {
		emulate(s);
	}
	if (s->news.is_reordered)
		apus_recovery_saw_reordering(s, s->news.reordered_seq,
					     f->has_sacked_end ? f->sacked_end : fack);
}

/*
 * Is the time since what the ACK echoes a round trip (RFC 7323 §4.1)? Not when the ACK answers a
 * duplicate: then the ACK of what it echoes was lost, and that time counts our own timeouts. DSACK
 * tells; without SACK only an echo of the last sending is sure.
 */
static bool echo_is_rtt(const struct apus_recovery_step *s)
{
	if (!s->is_advanced || !s->ack->has_echo)
		return false;
	if (s->ack->has_sack)
		return !(s->events & APUS_RECOVERY_SAW_DSACK);
	return s->news.newest && s->ack->echo_ns + APUS_MS > s->news.newest->sent_ns;
}

/* Karn's rule (RFC 6298 §3), or by the timestamp. */
void apus_recovery_take_time(struct apus_recovery_step *s, struct apus_rtt *rtt)
{
	struct apus_recovery *r = s->r;
	int64_t now_ns = s->ack->now_ns, rtt_ns = -1;

	if (!s->news.has_again && s->news.first_sent_ns >= 0)
		rtt_ns = now_ns - s->news.first_sent_ns;
	else if (echo_is_rtt(s))
		rtt_ns = apus_max(now_ns - s->ack->echo_ns, APUS_MS);
	if (rtt_ns >= 0)
		apus_rtt_sample(rtt, rtt_ns);
	else if (s->is_advanced)
		apus_rtt_progress(rtt);
	if (!s->news.has_again && s->news.last_sent_ns >= 0) {
		s->sample.rtt_ns = now_ns - s->news.last_sent_ns;
		apus_min_rtt_sample(&r->rack.min_rtt, s->sample.rtt_ns, now_ns);
	}
	if (s->ack->has_sack)
		apus_rack_arrived(&r->rack, &s->news);
	if (s->is_advanced) {
		r->rto_from_ns = now_ns;     /* RFC 6298 (5.3) */
		r->probe_at_ns = APUS_NEVER; /* to be scheduled anew */
	}
}

void apus_recovery_take_rate(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	int64_t min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt);
	struct apus_rate_sample rate = apus_rate_delivered(
		&r->rate, s->news.newest, s->news.delivered_bytes, min_rtt_ns, s->ack->now_ns);

	s->sample.rate_bytes = rate.bytes;
	s->sample.rate_interval_ns = rate.interval_ns;
	s->sample.is_app_limited = rate.is_app_limited;
	s->sample.delivered_bytes = r->rate.delivered_bytes;
	s->sample.prior_delivered_bytes = rate.prior_delivered_bytes;
	s->sample.acked_bytes = s->news.delivered_bytes;
	s->sample.ce_bytes = s->ack->is_ece ? s->news.delivered_bytes : 0;
	s->sample.min_rtt_ns = min_rtt_ns;
	if (s->news.newest)
		apus_rack_adapt(&r->rack, r->rate.delivered_bytes, rate.prior_delivered_bytes);
}
