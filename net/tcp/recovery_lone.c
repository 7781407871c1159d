/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_lone.c: an ACK takes the short way (recovery_lone.h) or the long one (recovery.c).
 *
 * Entry points: apus_recovery_acked.
 */
#include "net/tcp/recovery_lone.h"

#include "net/tcp/recovery_step.h"

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
