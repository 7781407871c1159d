/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/pace.h: pacing: when the next burst may leave, from a rate.
 *
 * A sender that paces sends at most a quantum, then waits until that would have gone through at the
 * rate. BBR always paces. Window-based algorithms do not unless asked to: on a path that is not
 * congested pacing only delays, and a burst of a window is what their RFCs describe; where the
 * bottleneck has a short queue the option spares it those bursts.
 *
 * Pure: no clock and no connection; the owner holds back and arms its timer for next_ns.
 */
#ifndef APUS_NET_TCP_PACE_H
#define APUS_NET_TCP_PACE_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_cc;

struct apus_pace {
	int64_t next_ns; /* before that nothing leaves */
};

/**
 * apus_pace_quantum - the most that leaves at once at this rate, at least a segment
 *
 * About a millisecond's worth and at most 64 KiB, but two segments up to 24 Mb/s and one below
 * 1.2 Mb/s: so that queues stay short at low rates and segmentation is worth it at high ones.
 *
 * Source: draft-cardwell-iccrg-bbr-congestion-control-00 §4.2.2
 */
uint32_t apus_pace_quantum(uint64_t rate, uint32_t mss);

/** apus_pace_allowance - bytes that may leave now at @rate bytes per second (> 0); 0: wait for next_ns */
static inline uint32_t apus_pace_allowance(const struct apus_pace *p, uint64_t rate, uint32_t mss,
					   int64_t now_ns)
{
	return now_ns < p->next_ns ? 0 : apus_pace_quantum(rate, mss);
}

/**
 * apus_pace_sent - @bytes left at @rate
 *
 * A timer that fired late is made up for, by half of what was sent at most, so that the rate is
 * kept on average without bursts after a pause.
 */
void apus_pace_sent(struct apus_pace *p, uint64_t rate, uint32_t bytes, int64_t now_ns);

/** apus_pace_window_rate - for window-based algorithms: twice the window per @srtt_ns in slow start, 1.2 times later, as Linux does; 0: no RTT yet */
uint64_t apus_pace_window_rate(const struct apus_cc *cc, int64_t srtt_ns);

APUS_END_DECLS

#endif
