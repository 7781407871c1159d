/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery.c: loss by duplicate ACKs, and fast recovery around any algorithm.
 *
 * RFC 5681 §3.2 (fast retransmit), RFC 3042 (limited transmit), RFC 6582 §3.2 (the recovery point
 * `recover`, partial ACKs, of which only the first restarts the retransmission timer) with the
 * heuristic of its §4.1.
 *
 * Invariants: apus_recovery_check().
 *
 * Where we differ: RFC 6582 §3.2 (1) initialises `recover` to the initial send sequence number,
 * which would forbid the fast retransmit of the first segment; we have no recovery point before the
 * first recovery or timeout, and none once it has been passed, so that an old one cannot seem to
 * lie ahead after the sequence space has wrapped.
 */
#include "net/tcp/recovery.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

void apus_recovery_check(const struct apus_recovery *r)
{
	apus_must(!r->in_recovery || r->has_recover);
	apus_must(!r->in_recovery || !r->timed_out);
	apus_must(!r->in_recovery || !r->duplicates);
}

void apus_recovery_init(struct apus_recovery *r)
{
	*r = (struct apus_recovery){0};
}

/* RFC 6582 §3.2 (3), partial: deflate by what was acknowledged, add back the one sent again. */
static void partial_ack(struct apus_cc *cc, uint32_t acked_bytes)
{
	uint64_t cwnd_bytes = cc->cwnd_bytes - apus_min(cc->cwnd_bytes, acked_bytes);

	if (acked_bytes >= cc->mss)
		cwnd_bytes += cc->mss;
	apus_cc_set_cwnd(cc, cwnd_bytes);
}

/* RFC 6582 §3.2 (3), full, choice 1: no burst when little is in flight. */
static void exit_recovery(struct apus_recovery *r, struct apus_cc *cc,
			  const struct apus_cc_sample *s)
{
	uint32_t flight_bytes = s->nxt - s->una;

	r->in_recovery = false;
	apus_cc_set_cwnd(cc, apus_min((uint64_t)cc->ssthresh_bytes,
				      (uint64_t)apus_max(flight_bytes, cc->mss) + cc->mss));
	apus_cc_recovered(cc, s);
}

static enum apus_recovery_act acked_in_recovery(struct apus_recovery *r, struct apus_cc *cc,
						const struct apus_cc_sample *s)
{
	bool first = !r->saw_partial_ack;

	if (apus_seq_geq(s->una, r->recover)) { /* RFC 6582 §3.2 (3), full acknowledgment */
		exit_recovery(r, cc, s);
		return APUS_RECOVERY_NOTHING;
	}
	r->saw_partial_ack = true;
	partial_ack(cc, s->acked_bytes);
	return first ? APUS_RECOVERY_RETRANSMIT_AND_ARM : APUS_RECOVERY_RETRANSMIT;
}

enum apus_recovery_act apus_recovery_acked(struct apus_recovery *r, struct apus_cc *cc,
					   struct apus_cc_sample *s)
{
	enum apus_recovery_act act = APUS_RECOVERY_NOTHING;

	r->duplicates = 0;
	r->timed_out = false;
	r->step_bytes = s->acked_bytes;
	s->in_recovery = r->in_recovery;
	s->is_after_timeout = r->has_recover && !r->in_recovery;
	if (r->in_recovery)
		act = acked_in_recovery(r, cc, s);
	else if (s->acked_bytes > 0)
		apus_cc_acked(cc, s);
	if (!r->in_recovery && r->has_recover && apus_seq_gt(s->una, r->recover))
		r->has_recover = false;
	return act;
}

/*
 * Do three duplicate ACKs of `una` mean a loss? Not when they may be echoes of segments that the
 * last recovery or timeout sent twice (RFC 6582 §3.2 (2)); unless, §4.1, the last ACK moved so
 * little that the peer cannot have held what was sent again.
 */
static bool duplicates_mean_loss(const struct apus_recovery *r, const struct apus_cc *cc,
				 uint32_t una)
{
	if (!r->has_recover || apus_seq_gt(una, r->recover))
		return true;
	return cc->cwnd_bytes > cc->mss && r->step_bytes <= 4U * cc->mss;
}

enum apus_recovery_act apus_recovery_duplicate(struct apus_recovery *r, struct apus_cc *cc,
					       const struct apus_cc_sample *s)
{
	struct apus_cc_sample at_first = *s;

	if (r->in_recovery) { /* RFC 5681 §3.2 (4): a segment has left the network */
		apus_cc_set_cwnd(cc, (uint64_t)cc->cwnd_bytes + cc->mss);
		return APUS_RECOVERY_NOTHING;
	}
	if (!r->duplicates)
		r->duplicate_nxt = s->nxt;
	if (r->duplicates <= APUS_RECOVERY_DUPLICATES_MAX)
		r->duplicates++;
	if (r->duplicates != APUS_RECOVERY_DUPLICATES_MAX || !duplicates_mean_loss(r, cc, s->una))
		return APUS_RECOVERY_NOTHING;

	/* RFC 5681 §3.2 (2): what limited transmit sent is not in FlightSize. */
	at_first.nxt = apus_seq_min(r->duplicate_nxt, s->nxt);
	r->duplicates = 0;
	r->recover = s->nxt;
	r->has_recover = true;
	r->in_recovery = true;
	r->saw_partial_ack = false;
	r->timed_out = false;
	apus_cc_congested(cc, &at_first, APUS_CC_LOSS);
	/* (3): three segments have left the network: those that made the duplicates. */
	apus_cc_set_cwnd(cc, (uint64_t)cc->ssthresh_bytes +
				     APUS_RECOVERY_DUPLICATES_MAX * (uint64_t)cc->mss);
	return APUS_RECOVERY_RETRANSMIT;
}

void apus_recovery_timeout(struct apus_recovery *r, struct apus_cc *cc,
			   const struct apus_cc_sample *s)
{
	bool first = !r->timed_out;

	/* RFC 6582 §3.2 (4): the highest sequence number sent, which a second timeout does not lower. */
	r->recover = r->has_recover ? apus_seq_max(r->recover, s->nxt) : s->nxt;
	r->has_recover = true;
	r->in_recovery = false;
	r->duplicates = 0;
	r->timed_out = true;
	if (first) /* RFC 5681 §3.1: a second timeout of one segment leaves ssthresh */
		apus_cc_congested(cc, s, APUS_CC_TIMEOUT);
	else
		apus_cc_set_cwnd(cc, cc->mss);
}
