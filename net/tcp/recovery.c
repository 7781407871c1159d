/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery.c: loss recovery; see recovery.h.
 *
 * apus_recovery_acked() in four steps: what the ACK says of the records (SACK, then the cumulative
 * part), what that tells of time (RTT, RACK, rate), what state follows, what window.
 *
 * The states are Linux's: OPEN; DISORDER, when something was SACKed or ACKs came twice; CWR and FAST,
 * while the window shrinks to ssthresh by PRR; LOSS, after a timeout. The last three end when all
 * that was in flight when they began is acknowledged (high_seq).
 *
 * Where we differ:
 * - RFC 2018 §8 has all SACK marks dropped at a timeout; they are dropped when the first record in
 *   flight is SACKed, which is what a peer that reneged looks like sooner or later.
 * - RFC 5681 §3.2 inflates cwnd for each duplicate ACK; here each takes a segment off the pipe.
 *   That is RFC 3042's limited transmit, too, which goes on when the threshold has grown.
 *
 * Invariants: apus_recovery_check().
 */
#include "net/tcp/recovery_step.h"

static struct apus_cc_sample base_sample(const struct apus_recovery *r, const struct apus_rtt *rtt,
					 uint32_t una, uint32_t nxt, int64_t now_ns)
{
	uint32_t pipe = apus_recovery_pipe(r);

	return (struct apus_cc_sample){
		.now_ns = now_ns,
		.una = una,
		.nxt = nxt,
		.flight_bytes = pipe,
		.prior_flight_bytes = pipe,
		.delivered_bytes = r->rate.delivered_bytes,
		.prior_delivered_bytes = r->rate.delivered_bytes,
		.rtt_ns = -1,
		.srtt_ns = apus_rtt_srtt_ns(rtt),
		.min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt),
	};
}

static uint32_t first_seq(const struct apus_recovery *r, uint32_t nxt)
{
	return apus_flight_count(&r->flight) ? apus_flight_at(&r->flight, r->flight.head)->seq
					     : nxt;
}

/* ---- birth and end ---- */

void apus_recovery_init(struct apus_recovery *r, struct apus_cc *cc, struct apus_heap *heap,
			const struct apus_recovery_kept *kept)
{
	apus_flight_init(&r->flight, heap);
	r->rack = (struct apus_rack){.saw_reordering = kept->saw_reordering, .steps = 1};
	r->rate = (struct apus_rate){0};
	r->rto_from_ns = r->resent_at_ns = r->pace.next_ns = 0;
	r->probe_at_ns = r->reorder_at_ns = APUS_NEVER;
	r->high_seq = r->undo_seq = 0;
	r->prr_flight = r->prr_delivered = r->prr_out = 0;
	r->resent_records = r->dsacked_records = r->step_bytes = r->path_probe_end = 0;
	r->duplicates = 0, r->path_probe_bytes = 0;
	r->reordering = (uint16_t)apus_max(kept->reordering, APUS_RECOVERY_DUPLICATES);
	r->state = APUS_RECOVERY_OPEN;
	r->has_undo = r->has_prior = r->has_probe = r->has_recover = false;
	r->is_frto = r->is_forced = r->is_cut_short = r->is_reneging = r->holds_back = false;
	r->is_paced = false;
	for (size_t i = 0; i < apus_countof(r->rack.min_rtt.best); i++)
		r->rack.min_rtt.best[i].units = kept->min_rtt_units;
	apus_cc_attach(cc, r->cc_state);
}

void apus_recovery_fini(struct apus_recovery *r, struct apus_cc *cc,
			struct apus_recovery_kept *kept)
{
	kept->min_rtt_units = r->rack.min_rtt.best[0].units;
	kept->reordering = r->reordering;
	kept->saw_reordering = r->rack.saw_reordering;
	apus_cc_detach(cc);
	apus_flight_fini(&r->flight);
}

/* ---- what was sent ---- */

static bool is_reducing(const struct apus_recovery *r)
{
	return r->state == APUS_RECOVERY_CWR || r->state == APUS_RECOVERY_FAST;
}

void apus_recovery_sent(struct apus_recovery *r, uint32_t seq, uint32_t end, uint32_t mss,
			int64_t now_ns)
{
	bool is_first = !apus_flight_count(&r->flight);

	if (is_first)
		r->rto_from_ns = now_ns;
	r->probe_at_ns = APUS_NEVER; /* to be scheduled anew */
	if (is_reducing(r))
		r->prr_out += end - seq;
	do {
		uint32_t next = end - seq > mss + 1 ? seq + mss : end; /* a FIN rides on the last */
		struct apus_flight_record *record =
			apus_flight_append(&r->flight, seq, next, now_ns);

		apus_rate_sent(&r->rate, record, is_first, now_ns);
		is_first = false;
		seq = next;
	} while (seq != end);
}

void apus_recovery_resent(struct apus_recovery *r, struct apus_flight_record *record,
			  int64_t now_ns)
{
	if (is_reducing(r))
		r->prr_out += record->end - record->seq;
	apus_flight_resend(&r->flight, record, now_ns);
	apus_rate_sent(&r->rate, record, false, now_ns);
	r->is_forced = false;
	r->resent_records++;
	if (record == apus_flight_at(&r->flight, r->flight.head)) /* as in Linux */
		r->rto_from_ns = now_ns;
	if (!r->resent_at_ns)
		r->resent_at_ns = now_ns;
	r->undo_records = apus_max(r->undo_records, 0) + 1;
}

/* ---- beginning and end of a reduction ---- */

static void remember_window(struct apus_recovery *r, const struct apus_cc *cc)
{
	r->prior_cwnd = cc->cwnd_bytes;
	r->prior_ssthresh = cc->ssthresh_bytes;
	r->has_prior = true;
}

static void remember_undo(struct apus_recovery *r, uint32_t una)
{
	r->has_undo = true;
	r->undo_seq = una;
	r->undo_records = r->flight.again_bytes ? 1 : -1; /* a probe that is out counts too */
}

/* RFC 6937 §3, at the beginning. */
static void begin_reduction(struct apus_recovery *r, struct apus_cc *cc,
			    const struct apus_cc_sample *s, enum apus_cc_signal why)
{
	r->prr_flight = apus_max(s->nxt - s->una, 1U);
	r->prr_delivered = r->prr_out = 0;
	r->has_probe = false;
	apus_cc_congested(cc, s, why);
}

static void enter_fast(struct apus_recovery *r, struct apus_cc *cc, const struct apus_cc_sample *s)
{
	bool was_reducing = is_reducing(r);

	remember_undo(r, s->una);
	if (r->state != APUS_RECOVERY_LOSS)
		r->resent_at_ns = 0;
	r->has_prior = false;
	if (!was_reducing) {
		if (!s->is_ece) /* else it is congestion, whatever else turns out */
			remember_window(r, cc);
		begin_reduction(r, cc, s, APUS_CC_LOSS);
	}
	r->high_seq = s->nxt;
	r->began_ns = s->now_ns;
	r->is_frto = r->holds_back = false;
	r->state = APUS_RECOVERY_FAST;
	r->is_forced = true; /* RFC 5681 §3.2 (3): the first goes at once */
}

/* RFC 6937 §3, with the slow start reduction bound. */
static void reduce(struct apus_recovery *r, struct apus_cc *cc, uint32_t delivered_bytes)
{
	uint32_t pipe = apus_recovery_pipe(r), send;

	if (cc->type->flags & APUS_CC_OWNS_CWND)
		return;
	r->prr_delivered += delivered_bytes;
	if (pipe > cc->ssthresh_bytes) {
		uint64_t due =
			((uint64_t)r->prr_delivered * cc->ssthresh_bytes + r->prr_flight - 1) /
			r->prr_flight;

		send = (uint32_t)(due > r->prr_out ? due - r->prr_out : 0);
	} else {
		uint32_t unsent = r->prr_delivered - apus_min(r->prr_delivered, r->prr_out);

		send = apus_max(unsent, delivered_bytes) + cc->mss;
		send = apus_min(send, cc->ssthresh_bytes - pipe);
	}
	if (!r->prr_out && r->state == APUS_RECOVERY_FAST) /* what is lost goes at once */
		send = apus_max(send, (uint32_t)cc->mss);
	apus_cc_set_cwnd(cc, (uint64_t)pipe + send);
}

static void end_reduction(struct apus_recovery *r, struct apus_cc *cc,
			  const struct apus_cc_sample *s)
{
	if (!(cc->type->flags & APUS_CC_OWNS_CWND) && cc->ssthresh_bytes != APUS_CC_SSTHRESH_NONE)
		apus_cc_set_cwnd(cc, cc->ssthresh_bytes);
	apus_cc_recovered(cc, s);
}

static void open_state(struct apus_recovery *r)
{
	bool is_disordered = r->flight.sacked_bytes || r->flight.emulated_bytes;

	r->state = is_disordered ? APUS_RECOVERY_DISORDER : APUS_RECOVERY_OPEN;
	r->is_frto = r->is_forced = r->holds_back = false;
	r->resent_at_ns = 0;
}

/* ---- undo ---- */

/* Nothing was lost, as it turns out. */
static void undo_window(struct apus_recovery_step *s)
{
	if (s->r->has_prior)
		apus_cc_undo(s->cc, s->r->prior_cwnd, s->r->prior_ssthresh);
	s->r->has_prior = s->r->has_undo = false;
	s->r->rack.is_advanced = true; /* look again at what was marked */
}

/* RFC 3522 §3.2: the ACK was caused by something sent before what was sent again. */
static bool echoes_original(const struct apus_recovery_step *s)
{
	return s->ack->has_echo && s->r->resent_at_ns &&
	       s->ack->echo_ns + APUS_MS <= s->r->resent_at_ns;
}

/* All that was sent again came twice (RFC 3708 §2), or the timestamp says so. */
static bool may_undo(const struct apus_recovery_step *s)
{
	return s->r->has_undo && (!s->r->undo_records || echoes_original(s));
}

static void count_undo(struct apus_recovery_step *s)
{
	s->events |= s->r->state == APUS_RECOVERY_LOSS ? APUS_RECOVERY_UNDID_LOSS
						       : APUS_RECOVERY_UNDID_FAST;
}

static void try_undo_dsack(struct apus_recovery_step *s)
{
	if (!s->r->has_undo || s->r->undo_records)
		return;
	s->r->rack.persist = (uint8_t)apus_min(s->r->rack.persist + 1, APUS_RACK_STEPS_PERSIST);
	count_undo(s);
	undo_window(s);
}

static bool try_undo_loss(struct apus_recovery_step *s, bool by_frto)
{
	if (!by_frto && !may_undo(s))
		return false;
	apus_flight_keep(&s->r->flight);
	count_undo(s);
	undo_window(s);
	if (by_frto || s->ack->has_sack)
		open_state(s->r);
	return true;
}

/* ---- the tail loss probe ---- */

/* RFC 8985 §7.4: was the tail loss probe a repair? */
static void take_probe(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	bool is_bare = !s->is_advanced && s->ack->is_duplicate && !s->news.sacked_records;

	if (!r->has_probe || apus_seq_lt(s->ack->una, r->probe_seq))
		return;
	if (!r->probe_is_again || s->dsacks_probe || is_bare) {
		r->has_probe = false; /* it was new, or both came */
	} else if (apus_seq_gt(s->ack->una, r->probe_seq)) {
		/* No DSACK came, so the peer got it once: congestion, and the probe repaired it. */
		s->events |= APUS_RECOVERY_PROBE_REPAIRED;
		r->has_probe = false;
		if (r->state >= APUS_RECOVERY_CWR)
			return;
		begin_reduction(r, s->cc, &s->sample, APUS_CC_LOSS);
		end_reduction(r, s->cc, &s->sample);
		r->high_seq = s->ack->nxt;
		r->has_undo = r->has_prior = false;
	}
}

/* ---- what is lost ---- */

static void find_lost_by_time(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	bool is_sure = r->state >= APUS_RECOVERY_FAST || r->flight.sacked_records >= r->reordering;

	r->reorder_at_ns = APUS_NEVER;
	if (!r->rack.is_advanced && r->state == APUS_RECOVERY_OPEN)
		return;
	r->rack.is_advanced = false;

	int64_t window_ns = apus_rack_window_ns(&r->rack, is_sure, apus_rtt_srtt_ns(s->rtt));
	struct apus_rack_losses found =
		apus_rack_detect(&r->rack, &r->flight, window_ns, s->ack->now_ns);

	s->lost_bytes += found.lost_bytes;
	s->lost_again |= found.has_again;
	r->reorder_at_ns = found.timer_at_ns;
}

/* RFC 5681 §3.2, and RFC 6582 §3.2 (3): the hole at SND.UNA. */
static void find_lost_by_count(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	struct apus_flight *f = &r->flight;

	if (!apus_flight_count(f))
		return;

	struct apus_flight_record *head = apus_flight_at(f, f->head);
	bool is_threshold = r->state < APUS_RECOVERY_FAST &&
			    f->emulated_bytes >= (uint32_t)r->reordering * s->cc->mss;
	bool is_partial = r->state == APUS_RECOVERY_FAST && s->is_advanced;
	/* It was sent again, before this recovery or while a timeout is repaired, and is missing. */
	bool is_again = head->marks & APUS_FLIGHT_AGAIN &&
			(is_partial ? head->sent_ns < r->began_ns
				    : r->state == APUS_RECOVERY_LOSS && apus_recovery_is_hole(s) &&
					      r->duplicates == APUS_RECOVERY_DUPLICATES);

	if (is_partial) /* RFC 6582 §3.2 (3): sent again at once */
		r->is_forced = true;
	if (is_again || ((is_threshold || is_partial) && !(head->marks & APUS_FLIGHT_LOST))) {
		s->lost_again |= is_again;
		s->lost_bytes += apus_flight_lose(f, head);
		apus_recovery_bound_emulated(f, s->cc->mss);
	}
}

static void find_lost(struct apus_recovery_step *s)
{
	if (s->ack->has_sack)
		find_lost_by_time(s);
	else
		find_lost_by_count(s);
}

/* ---- what state follows ---- */

/* All that was in flight when FAST or LOSS began is acknowledged. */
static void end_repair(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;

	r->flight.emulated_bytes = 0;
	if (may_undo(s)) {
		count_undo(s);
		undo_window(s);
	} else {
		apus_rack_recovered(&r->rack);
		if (r->state == APUS_RECOVERY_FAST)
			end_reduction(r, s->cc, &s->sample);
		else
			apus_cc_recovered(s->cc, &s->sample);
	}
	s->events |= APUS_RECOVERY_ENDED;
	/* RFC 6582 §3.2: duplicates of what was sent twice must not look like a loss. */
	r->has_recover = !s->ack->has_sack;
	r->recover = r->high_seq;
	r->has_undo = r->has_prior = false;
	open_state(r);
}

/* In FAST, an ACK of a part: if an original filled the hole, there was none. */
static bool undo_partial(struct apus_recovery_step *s)
{
	if (!s->r->has_undo || !echoes_original(s))
		return false;
	apus_recovery_saw_reordering(s, s->prior_una, s->ack->una);
	if (s->r->flight.again_bytes)
		return true; /* wait for their ACKs */
	apus_flight_keep(&s->r->flight);
	count_undo(s);
	undo_window(s);
	open_state(s->r);
	return true;
}

static void begin_fast(struct apus_recovery_step *s)
{
	enter_fast(s->r, s->cc, &s->sample);
	s->r->path_probe_bytes = 0; /* whatever comes of it says nothing */
	s->events |= APUS_RECOVERY_BEGAN;
}

static void in_fast(struct apus_recovery_step *s)
{
	if (s->is_advanced) {
		s->events |= APUS_RECOVERY_PARTIAL_ACK;
		if (undo_partial(s))
			return;
	}
	if (s->has_dsack && s->r->has_undo && !s->r->undo_records) {
		apus_flight_keep(&s->r->flight);
		try_undo_dsack(s);
		open_state(s->r);
	}
	find_lost(s);
	if (s->r->state != APUS_RECOVERY_FAST && s->lost_bytes)
		begin_fast(s);
}

/* RFC 5682 §3.1 with §2's steps for peers without SACK. Return: the state is over. */
static bool in_loss(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;
	const struct apus_recovery_ack *ack = s->ack;
	bool is_recovered = apus_seq_geq(ack->una, r->high_seq);
	bool is_duplicate = ack->is_duplicate && !s->is_advanced;

	if (s->is_advanced && try_undo_loss(s, false))
		return r->state != APUS_RECOVERY_LOSS;
	if (r->is_frto) {
		/* (3.b): something that was not sent again has arrived. */
		if (s->news.has_original && try_undo_loss(s, true))
			return true;
		if (apus_seq_gt(ack->nxt, r->high_seq)) {
			if (s->news.sacked_records || is_duplicate)
				r->is_frto = false; /* (3.a): the loss was real */
		} else if (s->is_advanced && !is_recovered) {
			if (ack->has_more) { /* (2.b): new text, to see what comes of it */
				r->high_seq = ack->nxt;
				r->holds_back = true;
				return false;
			}
			r->is_frto = false;
		}
	}
	if (is_recovered)
		end_repair(s);
	return is_recovered;
}

/* OPEN, DISORDER, CWR: is something lost? */
static void look_for_loss(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;

	if (r->state <= APUS_RECOVERY_DISORDER && s->has_dsack)
		try_undo_dsack(s);
	find_lost(s);
	if (s->lost_bytes && !apus_recovery_lost_path_probe(s))
		begin_fast(s);
	else if (r->state <= APUS_RECOVERY_DISORDER)
		open_state(r);
}

static bool head_is_sacked(const struct apus_recovery *r)
{
	return r->flight.sacked_bytes &&
	       apus_flight_at(&r->flight, r->flight.head)->marks & APUS_FLIGHT_SACKED;
}

/* The first in flight was SACKed, and is not acknowledged: the peer dropped it. */
static bool check_reneging(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;

	if (!head_is_sacked(r)) {
		r->is_reneging = false;
		return false;
	}
	if (s->is_advanced || !r->is_reneging)
		r->reorder_at_ns = s->ack->now_ns + apus_max(apus_rtt_srtt_ns(s->rtt) / 2,
							     (int64_t)APUS_RECOVERY_RENEGE_NS);
	r->is_reneging = true;
	if (r->state == APUS_RECOVERY_OPEN)
		r->state = APUS_RECOVERY_DISORDER;
	return true;
}

static void state_machine(struct apus_recovery_step *s)
{
	struct apus_recovery *r = s->r;

	if (s->ack->is_ece)
		r->has_prior = false; /* it was congestion, whatever else turns out */
	if (check_reneging(s))
		return;
	if (r->state == APUS_RECOVERY_CWR && apus_seq_gt(s->ack->una, r->high_seq)) {
		end_reduction(r, s->cc, &s->sample);
		open_state(r);
	} else if (r->state == APUS_RECOVERY_FAST && apus_seq_geq(s->ack->una, r->high_seq)) {
		end_repair(s);
	}
	switch (r->state) {
	case APUS_RECOVERY_OPEN:
	case APUS_RECOVERY_DISORDER:
	case APUS_RECOVERY_CWR:
		look_for_loss(s);
		break;
	case APUS_RECOVERY_FAST:
		in_fast(s);
		break;
	case APUS_RECOVERY_LOSS:
		if (in_loss(s)) {
			look_for_loss(s);
			break;
		}
		find_lost(s);
		if (s->lost_again) /* RFC 5681 §4.3: congestion a second time */
			begin_fast(s);
		break;
	}
}

/* ---- entry points ---- */

/* Nothing is amiss and nothing new is: most ACKs there are. */
static bool is_plain(const struct apus_recovery_step *s)
{
	return s->r->state == APUS_RECOVERY_OPEN && s->is_advanced && !s->r->flight.sacked_bytes &&
	       !s->r->flight.emulated_bytes && !s->ack->sack_count && !s->ack->is_ece &&
	       !s->news.is_reordered;
}

/* What is left of a record of which only a part was sent again waits once more. */
static void lose_rest(struct apus_recovery *r)
{
	struct apus_flight_record *head = apus_flight_at(&r->flight, r->flight.head);

	r->is_cut_short = false;
	if (apus_flight_count(&r->flight) && head->marks & APUS_FLIGHT_AGAIN)
		(void)apus_flight_lose(&r->flight, head);
}

unsigned int apus_recovery_acked_any(struct apus_recovery *r, struct apus_cc *cc,
				     struct apus_rtt *rtt, const struct apus_recovery_ack *ack)
{
	bool was_reducing = is_reducing(r), was_in_loss = r->state == APUS_RECOVERY_LOSS;
	struct apus_recovery_step s = {
		.r = r,
		.cc = cc,
		.rtt = rtt,
		.ack = ack,
		.prior_una = first_seq(r, ack->una),
		.news = {.now_ns = ack->now_ns,
			 .min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt),
			 .echo_ns = ack->echo_ns,
			 .has_echo = ack->has_echo,
			 .high_seq = r->high_seq,
			 .first_sent_ns = -1,
			 .last_sent_ns = -1},
		.sample = base_sample(r, rtt, ack->una, ack->nxt, ack->now_ns),
	};

	s.is_advanced = s.prior_una != ack->una;
	s.sample.is_ece = ack->is_ece;
	r->holds_back = false;
	apus_recovery_take_records(&s);
	if (r->has_recover && apus_seq_gt(ack->una, r->recover))
		r->has_recover = false;
	apus_recovery_take_time(&s, rtt);
	apus_recovery_take_rate(&s);
	s.sample.srtt_ns = apus_rtt_srtt_ns(rtt);
	if (r->has_probe)
		take_probe(&s);
	if (r->is_cut_short && s.is_advanced)
		lose_rest(r);
	if (is_plain(&s))
		r->rack.is_advanced = false;
	else
		state_machine(&s);
	s.sample.lost_bytes = s.lost_bytes;
	s.sample.flight_bytes = apus_recovery_pipe(r);
	s.sample.is_after_timeout = was_in_loss && r->state == APUS_RECOVERY_LOSS;
	/* RFC 5681 §3.2 (1): nor does cwnd grow by duplicates. */
	s.sample.in_recovery = was_reducing || is_reducing(r) ||
			       (r->state == APUS_RECOVERY_DISORDER && !s.is_advanced);
	apus_cc_acked(cc, &s.sample);
	if (is_reducing(r) && (s.news.delivered_bytes || s.events & APUS_RECOVERY_BEGAN))
		reduce(r, cc, s.news.delivered_bytes);
	return s.events | (s.lost_again ? APUS_RECOVERY_LOST_AGAIN : 0U);
}

unsigned int apus_recovery_timeout(struct apus_recovery *r, struct apus_cc *cc,
				   const struct apus_rtt *rtt, uint32_t nxt, bool is_again,
				   int64_t now_ns)
{
	struct apus_flight *f = &r->flight;
	uint32_t una = first_seq(r, nxt);
	struct apus_cc_sample sample = base_sample(r, rtt, una, nxt, now_ns);
	bool is_new = r->state < APUS_RECOVERY_FAST;
	unsigned int events = 0;

	if (head_is_sacked(r)) {
		apus_flight_forget_sacks(f);
		events |= APUS_RECOVERY_RENEGED;
	}
	r->is_reneging = false;
	f->emulated_bytes = r->path_probe_bytes = 0;
	sample.lost_bytes = apus_rack_timeout(&r->rack, f, now_ns);
	sample.flight_bytes = apus_recovery_pipe(r);
	/* RFC 5681 §3.1: a second timeout of one segment, or one within a recovery, leaves ssthresh. */
	if (r->state <= APUS_RECOVERY_DISORDER || apus_seq_leq(r->high_seq, una) ||
	    (r->state == APUS_RECOVERY_LOSS && !is_again)) {
		/* What was taken for reordering was a loss, after all. */
		if (r->state <= APUS_RECOVERY_DISORDER &&
		    f->sacked_records >= APUS_RECOVERY_DUPLICATES)
			r->reordering = APUS_RECOVERY_DUPLICATES;
		remember_window(r, cc);
		remember_undo(r, una);
		r->resent_at_ns = 0;
		apus_cc_congested(cc, &sample, APUS_CC_TIMEOUT);
	} else if (!(cc->type->flags & APUS_CC_OWNS_CWND)) {
		apus_cc_set_cwnd(cc, cc->mss);
	}
	r->state = APUS_RECOVERY_LOSS;
	r->high_seq = nxt;
	r->is_frto = is_new || is_again; /* RFC 5682 §3.1 step 1 */
	r->is_forced = true;
	r->has_probe = r->holds_back = r->is_cut_short = false;
	r->probe_at_ns = r->reorder_at_ns = APUS_NEVER;
	r->rto_from_ns = now_ns;
	return events;
}

unsigned int apus_recovery_reorder_timeout(struct apus_recovery *r, struct apus_cc *cc,
					   const struct apus_rtt *rtt, uint32_t nxt, int64_t now_ns)
{
	uint32_t una = first_seq(r, nxt);
	struct apus_recovery_ack none = {
		.now_ns = now_ns, .una = una, .nxt = nxt, .has_sack = true};
	struct apus_recovery_step s = {
		.r = r,
		.cc = cc,
		.rtt = rtt,
		.ack = &none,
		.prior_una = una,
		.sample = base_sample(r, rtt, una, nxt, now_ns),
	};

	r->reorder_at_ns = APUS_NEVER;
	if (head_is_sacked(r))
		return APUS_RECOVERY_RENEGED;
	r->rack.is_advanced = true;
	find_lost(&s);
	if (!s.lost_bytes || (r->state < APUS_RECOVERY_FAST && apus_recovery_lost_path_probe(&s)))
		return s.events;
	s.sample.lost_bytes = s.lost_bytes;
	s.sample.flight_bytes = apus_recovery_pipe(r);
	if (r->state < APUS_RECOVERY_FAST || s.lost_again) {
		begin_fast(&s);
		reduce(r, cc, cc->mss);
	}
	return s.events;
}

void apus_recovery_resegment(struct apus_recovery *r, uint32_t mss)
{
	struct apus_flight *f = &r->flight;

	for (uint32_t at = f->head; at != f->tail; at++) {
		struct apus_flight_record *record = apus_flight_at(f, at);
		uint8_t marks =
			record->marks & (APUS_FLIGHT_SACKED | APUS_FLIGHT_LOST | APUS_FLIGHT_AGAIN);

		if (record->end - record->seq > mss && !(marks & APUS_FLIGHT_SACKED) &&
		    marks != APUS_FLIGHT_LOST)
			(void)apus_flight_lose(f, record);
	}
	f->emulated_bytes = 0;
	r->is_forced = true;
	(void)!apus_flight_cut(f, mss); /* -ENOMEM: each is sent in several segments, then */
}

bool apus_recovery_ecn(struct apus_recovery *r, struct apus_cc *cc, const struct apus_rtt *rtt,
		       uint32_t nxt, int64_t now_ns)
{
	struct apus_cc_sample sample = base_sample(r, rtt, first_seq(r, nxt), nxt, now_ns);

	if (r->state >= APUS_RECOVERY_CWR)
		return false;
	sample.is_ece = true;
	r->has_undo = r->has_prior = false;
	begin_reduction(r, cc, &sample, APUS_CC_ECN);
	r->high_seq = nxt;
	r->state = APUS_RECOVERY_CWR;
	return true;
}

void apus_recovery_check(const struct apus_recovery *r)
{
	apus_flight_check(&r->flight);
	apus_must_op(r->state, <=, APUS_RECOVERY_LOSS);
	if (r->state == APUS_RECOVERY_OPEN)
		apus_must(!r->flight.sacked_bytes && !r->flight.emulated_bytes);
	if (r->state < APUS_RECOVERY_FAST)
		apus_must(!r->is_frto && !r->holds_back);
	apus_must_op(r->reordering, >=, APUS_RECOVERY_DUPLICATES);
	apus_must_op(r->reordering, <=, APUS_RECOVERY_REORDERING_MAX);
}
