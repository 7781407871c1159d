/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/hystart.c: HyStart++ (RFC 9406 §4.2), in the RFC's order.
 *
 * A round is a window's worth of data: it ends when what was SND.NXT at its beginning is
 * acknowledged. Its least RTT is compared with the last round's.
 *
 * Where we differ: RFC 9406 §4.3 advises L = 8 segments of growth per ACK to a sender that does not
 * pace; we have no limit, as Linux has none (TCP.md §2), because receivers that coalesce (GRO)
 * acknowledge 64 KiB at once.
 */
#include "net/tcp/hystart.h"

#include "net/tcp/seq.h"

void apus_hystart_init(struct apus_hystart *h)
{
	*h = (struct apus_hystart){.phase = APUS_HYSTART_SLOW_START};
}

static void start_round(struct apus_hystart *h, uint32_t nxt)
{
	h->has_round = true;
	h->window_end = nxt;
	h->last_min_ns = h->current_min_ns;
	h->current_min_ns = 0;
	h->samples = 0;
}

/* The round's minimum is worth a comparison. */
static bool round_is_sampled(const struct apus_hystart *h)
{
	return h->samples >= APUS_HYSTART_SAMPLES;
}

static bool rtt_has_grown(const struct apus_hystart *h)
{
	int64_t thresh_ns = h->last_min_ns / APUS_HYSTART_RTT_DIVISOR;

	thresh_ns = apus_max(thresh_ns, APUS_HYSTART_MIN_THRESH_NS);
	thresh_ns = apus_min(thresh_ns, APUS_HYSTART_MAX_THRESH_NS);
	return h->last_min_ns && h->current_min_ns >= h->last_min_ns + thresh_ns;
}

static void sample(struct apus_hystart *h, int64_t rtt_ns)
{
	if (rtt_ns < 0)
		return;
	rtt_ns = apus_max(rtt_ns, 1); /* 0 means none */
	if (!h->current_min_ns || rtt_ns < h->current_min_ns)
		h->current_min_ns = rtt_ns;
	if (h->samples < APUS_HYSTART_SAMPLES)
		h->samples++;
}

enum apus_hystart_phase apus_hystart_acked(struct apus_hystart *h, const struct apus_cc_sample *s)
{
	if (!h->has_round)
		start_round(h, s->nxt);
	sample(h, s->rtt_ns);

	if (h->phase == APUS_HYSTART_SLOW_START && round_is_sampled(h) && rtt_has_grown(h)) {
		h->phase = APUS_HYSTART_CSS;
		h->baseline_ns = h->current_min_ns;
		h->css_rounds = 0;
	} else if (h->phase == APUS_HYSTART_CSS && round_is_sampled(h) &&
		   h->current_min_ns < h->baseline_ns) {
		h->phase = APUS_HYSTART_SLOW_START; /* it was jitter */
	}

	if (apus_seq_geq(s->una, h->window_end)) {
		start_round(h, s->nxt);
		/* A round in the middle of which CSS began counts too. */
		if (h->phase == APUS_HYSTART_CSS && ++h->css_rounds >= APUS_HYSTART_CSS_ROUNDS)
			h->phase = APUS_HYSTART_DONE;
	}
	return (enum apus_hystart_phase)h->phase;
}
