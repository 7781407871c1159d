/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rate.c: delivery rate samples; see rate.h.
 *
 * A sample shorter than the least round-trip time is none: it came from an ACK of something else
 * than the last sending, or from ACKs that were held back and came together.
 */
#include "net/tcp/rate.h"

static int64_t since_ns(int64_t now_ns, uint32_t units)
{
	uint32_t span = (uint32_t)(now_ns >> APUS_RATE_UNIT_SHIFT) - units;

	return (int64_t)span << APUS_RATE_UNIT_SHIFT;
}

struct apus_rate_sample apus_rate_delivered(struct apus_rate *rate,
					    const struct apus_flight_record *newest, uint32_t bytes,
					    int64_t min_rtt_ns, int64_t now_ns)
{
	struct apus_rate_sample sample = {.prior_delivered_bytes = rate->delivered_bytes};

	if (!bytes)
		return sample;
	rate->delivered_bytes += bytes;
	rate->delivered_ns = now_ns;
	if (rate->app_limited_end && rate->delivered_bytes > rate->app_limited_end)
		rate->app_limited_end = 0;
	if (!newest)
		return sample;

	int64_t ack_ns = since_ns(now_ns, newest->delivered_units);
	int64_t send_ns = since_ns(newest->sent_ns, newest->first_sent_units);

	sample.bytes = (uint32_t)rate->delivered_bytes - newest->delivered;
	sample.prior_delivered_bytes = rate->delivered_bytes - sample.bytes;
	sample.interval_ns = apus_max(ack_ns, send_ns);
	sample.is_app_limited = newest->marks & APUS_FLIGHT_APP_LIMITED;
	rate->first_sent_ns = newest->sent_ns;
	if (sample.interval_ns < min_rtt_ns)
		sample.interval_ns = 0;
	if (sample.interval_ns && !sample.is_app_limited) {
		rate->last_interval_ns = sample.interval_ns;
		rate->last_bytes = sample.bytes;
	}
	return sample;
}
