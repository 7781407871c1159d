/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rtt.c: the retransmission timer's length: RFC 6298 §2 and §5, with Linux's bounds.
 *
 * Invariants: SRTT and RTTVAR <= APUS_RTT_RTO_MAX_NS; backoff <= BACKOFF_MAX.
 *
 * Where we differ: RFC 6298 (2.4) rounds an RTO below 1 second up to 1 second. We put a floor of
 * 200 ms under the variance term instead, as Linux does: RTO = SRTT + max(4 RTTVAR, 200 ms).
 */
#include "net/tcp/rtt.h"

#include "runtime/base/check.h"

#define BACKOFF_MAX 10 /* 200 ms << 10 is beyond the maximum */

static_assert(APUS_RTT_RTO_FLOOR_NS << BACKOFF_MAX >= APUS_RTT_RTO_MAX_NS, "backoff reaches it");
static_assert(APUS_RTT_RTO_MAX_NS / APUS_RTT_UNIT_NS < INT32_MAX / 2, "units fit");
static_assert(5 * APUS_RTT_RTO_MAX_NS < INT64_MAX >> BACKOFF_MAX, "the shift cannot overflow");

void apus_rtt_init(struct apus_rtt *rtt)
{
	*rtt = (struct apus_rtt){0};
}

void apus_rtt_sample(struct apus_rtt *rtt, int64_t measured_ns)
{
	/* A peer's forged timestamp may say anything: bounded, so that sums cannot overflow. */
	measured_ns = apus_max(measured_ns, APUS_RTT_UNIT_NS);
	measured_ns = apus_min(measured_ns, APUS_RTT_RTO_MAX_NS);
	apus_rtt_sample_units(rtt, (int32_t)(measured_ns / APUS_RTT_UNIT_NS));
	apus_assert(rtt->srtt_units > 0);
}

void apus_rtt_backoff(struct apus_rtt *rtt)
{
	if (rtt->backoff < BACKOFF_MAX)
		rtt->backoff++;
}

void apus_rtt_progress(struct apus_rtt *rtt)
{
	rtt->backoff = 0;
}

void apus_rtt_handshake_done(struct apus_rtt *rtt, bool retransmitted)
{
	rtt->backoff = 0;
	rtt->lost_handshake = retransmitted;
}
