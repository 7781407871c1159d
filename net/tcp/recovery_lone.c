/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_lone.c: an ACK takes the short way (recovery_lone.h) or the long one (recovery.c).
 *
 * Entry points: apus_recovery_acked.
 */
#include "net/tcp/recovery_lone.h"

#include "net/tcp/recovery_step.h"

APUS_NOINLINE void apus_recovery_tell_lone(struct apus_recovery *r, struct apus_cc *cc,
					   uint32_t nxt, int64_t rtt_ns, int64_t srtt_ns)
{
	const struct apus_flight_record *record = apus_flight_at(&r->flight, r->flight.head - 1);
	int64_t now_ns = r->rto_from_ns, min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt);
	uint32_t bytes = r->step_bytes;
	struct apus_rate_sample rate =
		apus_rate_delivered_here(&r->rate, record, bytes, min_rtt_ns, now_ns);

	if (apus_cc_rests(cc))
		return;
	apus_cc_acked(cc, &(struct apus_cc_sample){
				  .now_ns = now_ns,
				  .una = record->end,
				  .nxt = nxt,
				  .acked_bytes = bytes,
				  .prior_flight_bytes = bytes,
				  .rate_bytes = rate.bytes,
				  .rate_interval_ns = rate.interval_ns,
				  .delivered_bytes = r->rate.delivered_bytes,
				  .prior_delivered_bytes = rate.prior_delivered_bytes,
				  .rtt_ns = rtt_ns,
				  .srtt_ns = srtt_ns,
				  .min_rtt_ns = min_rtt_ns,
				  .is_app_limited = rate.is_app_limited,
			  });
}

bool apus_recovery_acked_lone(struct apus_recovery *r, struct apus_cc *cc, struct apus_rtt *rtt,
			      const struct apus_recovery_ack *ack)
{
	if (ack->sack_count || ack->is_ece || !apus_recovery_is_lone(r, ack->una, ack->now_ns))
		return false;
	apus_recovery_take_lone(r, cc, rtt, ack->has_sack, ack->nxt, ack->now_ns);
	return true;
}

unsigned int apus_recovery_acked(struct apus_recovery *r, struct apus_cc *cc, struct apus_rtt *rtt,
				 const struct apus_recovery_ack *ack)
{
	return apus_recovery_acked_lone(r, cc, rtt, ack) ? 0
							 : apus_recovery_acked_any(r, cc, rtt, ack);
}
