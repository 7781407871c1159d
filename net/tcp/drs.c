/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/drs.c: dynamic right-sizing (Fisk, Feng 2001), with Linux's growth; see drs.h.
 */
#include "net/tcp/drs.h"

#include "net/tcp/seq.h"

#define SEGMENTS_MORE     16       /* beyond twice of what was read: a sender that began just now */
#define EPOCH_US          10000000 /* how long a least round trip is remembered, at least */
#define TICK_US           1000     /* of the timestamps */
#define SLACK_US          20       /* in which both ends get to see what came */
#define CORE_BYTES_PER_US 12500    /* 100 Gb/s: more than one core takes in */

void apus_drs_init(struct apus_drs *d, uint32_t read_seq, uint32_t space_bytes, uint32_t trip_us,
		   uint32_t now_us)
{
	*d = (struct apus_drs){
		.space_bytes = space_bytes,
		.read_seq = read_seq,
		.began_us = now_us,
		.trip_us = trip_us,
		.least_us = UINT32_MAX,
		.epoch_us = now_us,
	};
}

static void note_least(struct apus_drs *d, uint32_t us, uint32_t now_us)
{
	uint32_t past_us = now_us - d->epoch_us;

	if (past_us >= EPOCH_US) {
		d->least_before_us = past_us < 2 * EPOCH_US ? d->least_us : 0;
		d->least_us = UINT32_MAX;
		d->epoch_us = now_us;
	}
	d->least_us = apus_min(d->least_us, us);
}

/*
 * Twice what can come in a round trip, so that the next window is offered before this one is full.
 * A sample may be too large by a tick; and a queue may be in it, so the handshake's is preferred
 * until even the least of a whole epoch is above it: then the path is another one, or the queue is
 * so constant that nobody could tell.
 */
static uint64_t most_bytes(const struct apus_drs *d)
{
	uint32_t least_us = apus_min(d->least_us, d->least_before_us);
	uint64_t bytes;

	least_us = least_us > TICK_US ? least_us - TICK_US : 0;
	bytes = 2ULL * CORE_BYTES_PER_US * ((uint64_t)apus_max(d->trip_us, least_us) + SLACK_US);
	return d->trip_us ? apus_min(bytes, UINT32_MAX) : UINT32_MAX;
}

/* A smoothed mean: an ACK that was delayed makes a sample too large, but never too small. */
void apus_drs_sample(struct apus_drs *d, uint32_t us, uint32_t now_us)
{
	note_least(d, us, now_us);
	us = apus_max(us, 1U);
	if (d->rtt_us)
		d->rtt_us += (uint32_t)((int32_t)(us - d->rtt_us) / 8);
	else
		d->rtt_us = us;
	d->rtt_us = apus_max(d->rtt_us, 1U);
}

void apus_drs_arrived(struct apus_drs *d, uint32_t nxt, uint32_t wnd, uint32_t now_us)
{
	if (d->has_mark && apus_seq_lt(nxt, d->mark_seq))
		return;
	if (d->has_mark) {
		uint32_t us = apus_max(now_us - d->mark_us, 1U);

		/* A sender that does not fill the window takes longer: the least counts. */
		d->rtt_us = d->rtt_us ? apus_min(d->rtt_us, us) : us;
	}
	d->has_mark = true;
	d->mark_seq = nxt + wnd;
	d->mark_us = now_us;
}

uint32_t apus_drs_read(struct apus_drs *d, uint32_t read_seq, uint32_t mss, uint32_t now_us)
{
	uint32_t bytes = read_seq - d->read_seq, before = d->space_bytes;
	uint64_t window;

	if (!d->rtt_us || now_us - d->began_us < d->rtt_us)
		return 0;
	d->read_seq = read_seq;
	d->began_us = now_us;
	if (bytes <= before)
		return 0;
	window = 2ULL * bytes + (uint64_t)SEGMENTS_MORE * mss;
	if (before) /* as much more as the rate grew, and once again */
		window += 2 * (window * (bytes - before) / before);
	if (window > most_bytes(d)) /* it is asked again: the bound may rise */
		return (uint32_t)most_bytes(d);
	d->space_bytes = bytes;
	return (uint32_t)apus_min(window, UINT32_MAX);
}
