/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/drs.c: dynamic right-sizing (Fisk, Feng 2001), with Linux's growth; see drs.h.
 */
#include "net/tcp/drs.h"

#include "net/tcp/seq.h"

#define SEGMENTS_MORE 16 /* beyond twice of what was read: a sender that began just now */

void apus_drs_init(struct apus_drs *d, uint32_t read_seq, uint32_t space_bytes, uint32_t now_us)
{
	*d = (struct apus_drs){
		.space_bytes = space_bytes, .read_seq = read_seq, .began_us = now_us};
}

/* A smoothed mean: an ACK that was delayed makes a sample too large, but never too small. */
void apus_drs_sample(struct apus_drs *d, uint32_t us)
{
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
	d->space_bytes = bytes;
	window = 2ULL * bytes + (uint64_t)SEGMENTS_MORE * mss;
	if (before) /* as much more as the rate grew, and once again */
		window += 2 * (window * (bytes - before) / before);
	return (uint32_t)apus_min(window, UINT32_MAX);
}
