/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/reno.c: how NewReno's window moves: RFC 5681 §3.1. When there is a loss, and the window
 * while it is repaired (RFC 6582, RFC 6937), are the recovery's.
 *
 * Remembers in `kept` the bytes acknowledged since the last growth.
 */
#include "net/tcp/reno.h"

static void acked(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	uint32_t left_bytes = s->acked_bytes;

	if (!apus_cc_may_grow(cc, s))
		return;
	if (apus_cc_in_slow_start(cc))
		left_bytes = apus_cc_slow_start(cc, s);
	if (left_bytes > 0)
		apus_cc_avoid(cc, &cc->kept[0], left_bytes);
}

/* RFC 5681 §3.1 (4): half of what was in flight, at least two segments. */
static uint32_t congestion(struct apus_cc *cc, const struct apus_cc_sample *s,
			   enum apus_cc_signal why)
{
	cc->kept[0] = 0;
	return apus_cc_used(cc, s) / 2;
}

const struct apus_cc_type apus_reno = {
	.name = "reno",
	.flags = APUS_CC_RESTS,
	.acked = acked,
	.congestion = congestion,
};
