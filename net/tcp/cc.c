/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cc.c: loss by duplicate ACKs, and fast recovery around any algorithm.
 *
 * RFC 5681 §3.2 (fast retransmit), RFC 3042 (limited transmit), RFC 6582 §3.2 (the recovery point
 * `recover`, partial ACKs, of which only the first restarts the retransmission timer) with the
 * heuristic of its §4.1.
 *
 * Invariants: apus_cc_check().
 *
 * Where we differ: RFC 6582 §3.2 (1) initialises `recover` to the initial send sequence number,
 * which would forbid the fast retransmit of the first segment; we have no recovery point before the
 * first recovery or timeout, and none once it has been passed, so that an old one cannot seem to
 * lie ahead after the sequence space has wrapped.
 */
#include "net/tcp/cc.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

void apus_cc_check(const struct apus_cc *cc)
{
	apus_must_op(cc->mss, >, 0);
	apus_must_op(cc->cwnd_bytes, >=, cc->mss);
	apus_must_op(cc->cwnd_bytes, <=, APUS_CC_CWND_MAX);
	apus_must_op(cc->ssthresh_bytes, >=, 2 * (uint64_t)cc->mss);
	apus_must(!cc->in_recovery || cc->has_recover);
	apus_must(!cc->in_recovery || !cc->timed_out);
	apus_must(!cc->in_recovery || !cc->duplicates);
}

void apus_cc_init(struct apus_cc *cc, const struct apus_cc_type *type, uint32_t mss, uint32_t una)
{
	apus_must(mss > 0 && mss <= UINT16_MAX);
	*cc = (struct apus_cc){
		.type = type,
		.mss = (uint16_t)mss,
		.cwnd_bytes = APUS_CC_INITIAL_MSS * mss,
		.ssthresh_bytes = APUS_CC_SSTHRESH_NONE,
		.usage_seq = una,
	};
	type->init(cc);
}

void apus_cc_handshake_lost(struct apus_cc *cc)
{
	cc->cwnd_bytes = cc->mss;
}

void apus_cc_set_mss(struct apus_cc *cc, uint32_t mss)
{
	apus_must(mss > 0 && mss <= UINT16_MAX);
	cc->mss = (uint16_t)mss;
	cc->cwnd_bytes = apus_max(cc->cwnd_bytes, mss);
	cc->ssthresh_bytes = apus_max(cc->ssthresh_bytes, 2 * mss);
}

/* Once per window, or when cwnd holds data back, or when more is in flight than before. */
void apus_cc_sent(struct apus_cc *cc, uint32_t una, uint32_t nxt, bool limited)
{
	uint32_t flight_bytes = nxt - una;

	if (apus_seq_geq(una, cc->usage_seq) || limited ||
	    (!cc->is_limited && flight_bytes > cc->flight_max_bytes)) {
		cc->is_limited = limited;
		cc->flight_max_bytes = flight_bytes;
		cc->usage_seq = nxt;
	}
}

/* TCP.md §2: in slow start, double what was used may be had; else only what was asked for. */
static bool window_in_use(const struct apus_cc *cc)
{
	if (cc->is_limited)
		return true;
	return cc->cwnd_bytes < cc->ssthresh_bytes && cc->cwnd_bytes < 2 * cc->flight_max_bytes;
}

static enum apus_cc_act acked_in_recovery(struct apus_cc *cc, const struct apus_cc_ack *ack)
{
	bool first = !cc->saw_partial_ack;

	if (apus_seq_geq(ack->ack, cc->recover)) { /* RFC 6582 §3.2 (3), full acknowledgment */
		cc->in_recovery = false;
		cc->type->exit_recovery(cc, ack->flight_bytes);
		return APUS_CC_NOTHING;
	}
	cc->saw_partial_ack = true;
	cc->type->partial_ack(cc, ack);
	return first ? APUS_CC_RETRANSMIT_AND_ARM : APUS_CC_RETRANSMIT;
}

enum apus_cc_act apus_cc_acked(struct apus_cc *cc, const struct apus_cc_ack *ack)
{
	enum apus_cc_act act = APUS_CC_NOTHING;

	cc->duplicates = 0;
	cc->timed_out = false;
	cc->step_bytes = ack->acked_bytes;
	if (cc->in_recovery)
		act = acked_in_recovery(cc, ack);
	else if (ack->acked_bytes > 0 && window_in_use(cc))
		cc->type->acked(cc, ack);
	if (!cc->in_recovery && cc->has_recover && apus_seq_gt(ack->ack, cc->recover))
		cc->has_recover = false;
	return act;
}

/*
 * Do three duplicate ACKs of `una` mean a loss? Not when they may be echoes of segments that the
 * last recovery or timeout sent twice (RFC 6582 §3.2 (2)); unless, §4.1, the last ACK moved so
 * little that the peer cannot have held what was sent again.
 */
static bool duplicates_mean_loss(const struct apus_cc *cc, uint32_t una)
{
	if (!cc->has_recover || apus_seq_gt(una, cc->recover))
		return true;
	return cc->cwnd_bytes > cc->mss && cc->step_bytes <= 4U * cc->mss;
}

enum apus_cc_act apus_cc_duplicate(struct apus_cc *cc, uint32_t una, uint32_t nxt)
{
	uint32_t flight_bytes;

	if (cc->in_recovery) {
		cc->type->duplicate(cc);
		return APUS_CC_NOTHING;
	}
	if (!cc->duplicates)
		cc->duplicate_nxt = nxt;
	if (cc->duplicates <= APUS_CC_DUPLICATES_MAX)
		cc->duplicates++;
	if (cc->duplicates != APUS_CC_DUPLICATES_MAX || !duplicates_mean_loss(cc, una))
		return APUS_CC_NOTHING;

	/* RFC 5681 §3.2 (2): what limited transmit sent is not in FlightSize. */
	flight_bytes = apus_seq_min(cc->duplicate_nxt, nxt) - una;
	cc->duplicates = 0;
	cc->recover = nxt;
	cc->has_recover = true;
	cc->in_recovery = true;
	cc->saw_partial_ack = false;
	cc->timed_out = false;
	cc->type->enter_recovery(cc, flight_bytes);
	return APUS_CC_RETRANSMIT;
}

void apus_cc_timeout(struct apus_cc *cc, uint32_t una, uint32_t nxt)
{
	bool first = !cc->timed_out;

	/* RFC 6582 §3.2 (4): the highest sequence number sent, which a second timeout does not lower. */
	cc->recover = cc->has_recover ? apus_seq_max(cc->recover, nxt) : nxt;
	cc->has_recover = true;
	cc->in_recovery = false;
	cc->duplicates = 0;
	cc->timed_out = true;
	cc->type->timeout(cc, nxt - una, first);
}

void apus_cc_idle_restart(struct apus_cc *cc)
{
	cc->type->idle_restart(cc);
}
