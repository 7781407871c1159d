/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/pace.c: pacing, see pace.h.
 */
#include "net/tcp/pace.h"

#include "net/tcp/cc.h"

#define QUANTUM_MAX_BYTES (64U * 1024)
#define RATE_ONE_SEGMENT  (1200 * 1000 / 8)      /* 1.2 Mb/s */
#define RATE_TWO_SEGMENTS (24 * 1000 * 1000 / 8) /* 24 Mb/s */

uint32_t apus_pace_quantum(uint64_t rate, uint32_t mss)
{
	uint64_t bytes;

	if (rate < RATE_ONE_SEGMENT)
		return mss;
	if (rate < RATE_TWO_SEGMENTS)
		return 2 * mss;
	bytes = apus_min(rate / 1000, QUANTUM_MAX_BYTES);
	return (uint32_t)apus_max(bytes, 2ULL * mss);
}

void apus_pace_sent(struct apus_pace *p, uint64_t rate, uint32_t bytes, int64_t now_ns)
{
	int64_t span_ns = (int64_t)((uint64_t)bytes * APUS_SEC / rate);
	int64_t late_ns = now_ns - p->next_ns;

	if (late_ns > 0)
		p->next_ns = now_ns - apus_min(late_ns, span_ns / 2);
	p->next_ns += span_ns;
}

uint64_t apus_pace_window_rate(const struct apus_cc *cc, int64_t srtt_ns)
{
	uint64_t percent = cc->cwnd_bytes < cc->ssthresh_bytes / 2 ? 200 : 120;

	if (srtt_ns <= 0)
		return 0;
	return cc->cwnd_bytes * percent * (APUS_SEC / 100) / (uint64_t)srtt_ns;
}
