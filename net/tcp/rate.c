/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rate.c: delivery rate samples; see rate.h.
 */
#include "net/tcp/rate.h"

struct apus_rate_sample apus_rate_delivered(struct apus_rate *rate,
					    const struct apus_flight_record *newest, uint32_t bytes,
					    int64_t min_rtt_ns, int64_t now_ns)
{
	return apus_rate_delivered_here(rate, newest, bytes, min_rtt_ns, now_ns);
}
