/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rate.h: how fast data is delivered: an estimate with each ACK, for congestion control.
 *
 * draft-cheng-iccrg-delivery-rate-estimation: each record remembers how much had been delivered when
 * it was sent, and when; what is delivered until it is acknowledged, over the longer of the time
 * that took and the time its sending took, is a sample that neither compressed nor stretched ACKs
 * can inflate. Bytes are counted, where the draft counts packets.
 */
#ifndef APUS_NET_TCP_RATE_H
#define APUS_NET_TCP_RATE_H

#include "net/tcp/flight.h"

APUS_BEGIN_DECLS

/* Times in records are kept in so many ns, modulo 2^32: they differ by less than 2 minutes. */
#define APUS_RATE_UNIT_SHIFT 6

struct apus_rate {
	uint64_t delivered_bytes; /* in all */
	uint64_t
		app_limited_end; /* samples are app-limited until so much is delivered; 0: they are not */
	int64_t delivered_ns;     /* when delivered_bytes last grew */
	int64_t last_interval_ns; /* the last sample that was worth telling; 0: none */
	uint32_t last_bytes;
	int64_t first_sent_ns; /* when the last delivered was sent: a sample's sending starts here */
};

struct apus_rate_sample {
	uint64_t prior_delivered_bytes; /* in all, when what was delivered now was sent */
	uint32_t bytes;                 /* delivered since */
	int64_t interval_ns;            /* in this time; 0: no sample */
	bool is_app_limited;
};

/** apus_rate_sent - @r was sent now, for the first time or again; @is_first: nothing was in flight before */
static inline void apus_rate_sent(struct apus_rate *rate, struct apus_flight_record *r,
				  bool is_first, int64_t now_ns)
{
	if (is_first)
		rate->first_sent_ns = rate->delivered_ns = now_ns;
	r->delivered = (uint32_t)rate->delivered_bytes;
	r->delivered_units = (uint32_t)(rate->delivered_ns >> APUS_RATE_UNIT_SHIFT);
	r->first_sent_units = (uint32_t)(rate->first_sent_ns >> APUS_RATE_UNIT_SHIFT);
	r->marks &= (uint8_t)~APUS_FLIGHT_APP_LIMITED;
	r->marks |= rate->app_limited_end ? APUS_FLIGHT_APP_LIMITED : 0;
}

/** apus_rate_limited - all is sent and the window is not full; @pipe_bytes: in flight */
static inline void apus_rate_limited(struct apus_rate *rate, uint32_t pipe_bytes)
{
	rate->app_limited_end = apus_max(rate->delivered_bytes + pipe_bytes, UINT64_C(1));
}

/** apus_rate_delivered - @bytes arrived, of which @newest (may be NULL) was sent last; @min_rtt_ns: no sample is shorter. Return: the sample */
struct apus_rate_sample apus_rate_delivered(struct apus_rate *rate,
					    const struct apus_flight_record *newest, uint32_t bytes,
					    int64_t min_rtt_ns, int64_t now_ns);

/* inline definitions */

static inline int64_t apus_rate_since_ns(int64_t now_ns, uint32_t units)
{
	uint32_t span = (uint32_t)(now_ns >> APUS_RATE_UNIT_SHIFT) - units;

	return (int64_t)span << APUS_RATE_UNIT_SHIFT;
}

/* @bytes arrived. */
static inline void apus_rate_count(struct apus_rate *rate, uint32_t bytes, int64_t now_ns)
{
	rate->delivered_bytes += bytes;
	rate->delivered_ns = now_ns;
	if (rate->app_limited_end && rate->delivered_bytes > rate->app_limited_end)
		rate->app_limited_end = 0;
}

/** apus_rate_counted - apus_rate_delivered(), of a sample that nobody wants: app-limited, it tells nothing of the path */
static inline void apus_rate_counted(struct apus_rate *rate,
				     const struct apus_flight_record *newest, uint32_t bytes,
				     int64_t now_ns)
{
	apus_rate_count(rate, bytes, now_ns);
	rate->first_sent_ns = newest->sent_ns;
}

/*
 * A sample shorter than the least round-trip time is none: it came from an ACK of something else
 * than the last sending, or from ACKs that were held back and came together.
 */
static inline struct apus_rate_sample
apus_rate_delivered_here(struct apus_rate *rate, const struct apus_flight_record *newest,
			 uint32_t bytes, int64_t min_rtt_ns, int64_t now_ns)
{
	struct apus_rate_sample sample = {.prior_delivered_bytes = rate->delivered_bytes};

	if (!bytes)
		return sample;
	apus_rate_count(rate, bytes, now_ns);
	if (!newest)
		return sample;

	int64_t ack_ns = apus_rate_since_ns(now_ns, newest->delivered_units);
	int64_t send_ns = apus_rate_since_ns(newest->sent_ns, newest->first_sent_units);

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

APUS_END_DECLS

#endif
