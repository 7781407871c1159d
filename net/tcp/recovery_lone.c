/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_lone.c: the plainest ACK: of the one segment in flight, sent once, while nothing is
 * amiss. That is every ACK of requests and answers that take turns.
 *
 * What it does is what recovery.c does with it, without what finds nothing to do; without this file
 * all is the same but slower, and test_recovery.c compares the two.
 *
 * Entry points: apus_recovery_acked.
 */
#include "net/tcp/recovery_step.h"

static bool is_lone(const struct apus_recovery *r, const struct apus_recovery_ack *ack)
{
	const struct apus_flight *f = &r->flight;
	const struct apus_flight_record *record = apus_flight_at(f, f->head);

	return apus_flight_count(f) == 1 && record->end == ack->una &&
	       !(record->marks & (uint8_t)~APUS_FLIGHT_APP_LIMITED) &&
	       r->state == APUS_RECOVERY_OPEN && !ack->sack_count && !ack->is_ece &&
	       !r->has_probe && !r->has_recover && !f->has_sacked_end && !r->rack.has_dsack;
}

static void note_time(struct apus_recovery *r, const struct apus_flight_record *record,
		      const struct apus_recovery_ack *ack, int64_t rtt_ns)
{
	struct apus_rack *rack = &r->rack;

	apus_min_rtt_sample(&rack->min_rtt, rtt_ns, ack->now_ns);
	if (ack->has_sack) { /* it is the last sent: nothing that arrived was sent later */
		rack->rtt_ns = rtt_ns;
		rack->sent_ns = record->sent_ns;
		rack->end = record->end;
		rack->is_valid = true;
	}
	rack->is_advanced = false;
	r->rto_from_ns = ack->now_ns;
	r->probe_at_ns = APUS_NEVER;
}

bool apus_recovery_acked_lone(struct apus_recovery *r, struct apus_cc *cc, struct apus_rtt *rtt,
			      const struct apus_recovery_ack *ack)
{
	if (!is_lone(r, ack))
		return false;

	const struct apus_flight_record *record = apus_flight_at(&r->flight, r->flight.head);
	uint32_t bytes = record->end - record->seq;
	int64_t rtt_ns = ack->now_ns - record->sent_ns;

	apus_rtt_sample(rtt, rtt_ns);
	note_time(r, record, ack, rtt_ns);
	r->step_bytes = bytes;
	r->duplicates = 0;

	int64_t min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt);
	struct apus_rate_sample rate =
		apus_rate_delivered(&r->rate, record, bytes, min_rtt_ns, ack->now_ns);
	struct apus_cc_sample sample = {
		.now_ns = ack->now_ns,
		.una = ack->una,
		.nxt = ack->nxt,
		.acked_bytes = bytes,
		.prior_flight_bytes = bytes,
		.rate_bytes = rate.bytes,
		.rate_interval_ns = rate.interval_ns,
		.delivered_bytes = r->rate.delivered_bytes,
		.prior_delivered_bytes = rate.prior_delivered_bytes,
		.rtt_ns = rtt_ns,
		.srtt_ns = apus_rtt_srtt_ns(rtt),
		.min_rtt_ns = min_rtt_ns,
		.is_app_limited = rate.is_app_limited,
	};

	apus_flight_pop_lone(&r->flight);
	apus_cc_acked(cc, &sample);
	return true;
}

unsigned int apus_recovery_acked(struct apus_recovery *r, struct apus_cc *cc, struct apus_rtt *rtt,
				 const struct apus_recovery_ack *ack)
{
	return apus_recovery_acked_lone(r, cc, rtt, ack) ? 0
							 : apus_recovery_acked_any(r, cc, rtt, ack);
}
