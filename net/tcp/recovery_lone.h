/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_lone.h: the plainest ACK: of the one segment in flight, sent once, while nothing
 * is amiss. That is every ACK of requests and answers that take turns. Inline, for fast.c and
 * recovery_lone.c.
 *
 * What it does is what recovery.c does with it, without what finds nothing to do; without it all is
 * the same but slower, and test_recovery.c compares the two.
 */
#ifndef APUS_NET_TCP_RECOVERY_LONE_H
#define APUS_NET_TCP_RECOVERY_LONE_H

#include "net/tcp/recovery.h"

/** apus_recovery_is_lone - is an ACK of @una, without SACK or ECE, of that kind? */
static inline bool apus_recovery_is_lone(const struct apus_recovery *r, uint32_t una,
					 int64_t now_ns)
{
	const struct apus_flight *f = &r->flight;
	const struct apus_flight_record *record = apus_flight_at(f, f->head);

	static_assert(APUS_RECOVERY_OPEN == 0, "taken together with flags");
	return apus_flight_count(f) == 1 && record->end == una &&
	       !((record->marks & (uint8_t)~APUS_FLIGHT_APP_LIMITED) | r->state |
		 f->has_sacked_end | r->rack.has_dsack) &&
	       !(r->has_probe | r->has_recover) &&
	       (uint64_t)(now_ns - record->sent_ns) <= APUS_RTT_RTO_MAX_NS;
}

/* What is left of it where every ACK is looked at: the delivery rate, and congestion control. */
void apus_recovery_tell_lone(struct apus_recovery *r, struct apus_cc *cc, uint32_t nxt,
			     int64_t rtt_ns, int64_t srtt_ns);

/**
 * apus_recovery_take_lone - apus_recovery_acked(), of such an ACK; it has no events
 * @has_sack: as in struct apus_recovery_ack
 * @nxt:      SND.NXT
 */
static inline void apus_recovery_take_lone(struct apus_recovery *r, struct apus_cc *cc,
					   struct apus_rtt *rtt, bool has_sack, uint32_t nxt,
					   int64_t now_ns)
{
	const struct apus_flight_record *record = apus_flight_at(&r->flight, r->flight.head);
	uint32_t una = record->end, bytes = una - record->seq;
	int64_t sent_ns = record->sent_ns, rtt_ns = now_ns - sent_ns;
	uint32_t units = (uint32_t)apus_max((uint64_t)rtt_ns / APUS_RTT_UNIT_NS, UINT64_C(1));

	apus_rtt_sample_units(rtt, (int32_t)units);
	apus_min_rtt_sample_units(&r->rack.min_rtt, units, (uint32_t)(now_ns >> 20));
	if (has_sack) { /* it is the last sent: nothing that arrived was sent later */
		r->rack.rtt_ns = rtt_ns;
		r->rack.sent_ns = sent_ns;
		r->rack.end = una;
		r->rack.is_valid = true;
	}
	r->rack.is_advanced = false;
	r->rto_from_ns = now_ns;
	r->probe_at_ns = APUS_NEVER;
	r->step_bytes = bytes;
	r->duplicates = 0;

	apus_flight_pop_lone(&r->flight); /* the record stays as it is until the next append */
	if (apus_likely(apus_cc_rests(cc) && record->marks))
		apus_rate_counted(&r->rate, record, bytes, now_ns);
	else
		apus_recovery_tell_lone(r, cc, nxt, rtt_ns, apus_rtt_srtt_ns(rtt));
}

#endif
