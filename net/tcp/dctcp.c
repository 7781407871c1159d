/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/dctcp.c: DCTCP (RFC 8257): the window shrinks by as much as there are marks.
 *
 * Once per window of data alpha, the smoothed fraction of bytes that met congestion, is brought up
 * to date (§3.3), and when there was any, the window is reduced by alpha / 2 (§3.3, §3.4). A
 * packet loss is what it is to Reno (§3.5), and so is growth.
 */
#include "net/tcp/dctcp.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

#define GAIN_SHIFT 4 /* g = 1/16: RFC 8257 §4.2 */

static struct apus_dctcp *dctcp_of(const struct apus_cc *cc)
{
	apus_assert(cc->is_attached);
	return cc->state;
}

/* RFC 8257 §3.3, §4.2: alpha begins at 1: until it is known, a mark counts as much as to Reno. */
static void init(struct apus_cc *cc)
{
	cc->kept[0] = APUS_DCTCP_ONE;
}

static void restore(struct apus_cc *cc, const uint32_t kept[2])
{
	dctcp_of(cc)->alpha = kept[0];
}

static void save(const struct apus_cc *cc, uint32_t kept[2])
{
	kept[0] = dctcp_of(cc)->alpha;
}

static void begin_window(struct apus_dctcp *d, uint32_t nxt)
{
	d->has_window = true;
	d->window_end = nxt;
	d->acked_bytes = d->marked_bytes = 0;
}

/* RFC 8257 §3.3: alpha = alpha (1 - g) + g M. Rounded so that it does reach 0. */
static void update_alpha(struct apus_dctcp *d)
{
	uint64_t m = (uint64_t)d->marked_bytes * APUS_DCTCP_ONE / d->acked_bytes;
	uint32_t less = (d->alpha + (1 << GAIN_SHIFT) - 1) >> GAIN_SHIFT;

	m = (m + (1 << GAIN_SHIFT) - 1) >> GAIN_SHIFT;
	d->alpha = apus_min(d->alpha - less + (uint32_t)m, APUS_DCTCP_ONE);
}

/* Saturating: a window holds no more than 2^30 bytes, but a peer may acknowledge in odd ways. */
static uint32_t add(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static void observe(struct apus_dctcp *d, const struct apus_cc_sample *s)
{
	if (!d->has_window)
		begin_window(d, s->nxt);
	d->acked_bytes = add(d->acked_bytes, s->acked_bytes);
	d->marked_bytes = add(d->marked_bytes, apus_min(s->ce_bytes, s->acked_bytes));
	if (apus_seq_lt(s->una, d->window_end))
		return;
	if (d->acked_bytes)
		update_alpha(d);
	begin_window(d, s->nxt);
}

static void acked(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_dctcp *d = dctcp_of(cc);
	uint32_t left_bytes = s->acked_bytes;

	observe(d, s);
	if (!apus_cc_may_grow(cc, s))
		return;
	if (apus_cc_in_slow_start(cc))
		left_bytes = apus_cc_slow_start(cc, s);
	if (left_bytes > 0)
		apus_cc_avoid(cc, &d->counted_bytes, left_bytes);
}

static uint32_t congestion(struct apus_cc *cc, const struct apus_cc_sample *s,
			   enum apus_cc_signal why)
{
	struct apus_dctcp *d = dctcp_of(cc);
	uint32_t used_bytes = apus_cc_used(cc, s);

	d->counted_bytes = 0;
	if (why != APUS_CC_ECN)
		return used_bytes / 2;
	/* RFC 8257 §3.3: cwnd (1 - alpha / 2) */
	return (uint32_t)(cc->cwnd_bytes -
			  (uint64_t)cc->cwnd_bytes * d->alpha / (2 * APUS_DCTCP_ONE));
}

static void info(const struct apus_cc *cc, struct apus_cc_info *info)
{
	info->phase = apus_cc_in_slow_start(cc) ? "slow_start" : "avoidance";
	info->detail[0] = cc->is_attached ? dctcp_of(cc)->alpha : cc->kept[0];
}

const struct apus_cc_type apus_dctcp = {
	.name = "dctcp",
	.flags = APUS_CC_NEEDS_ECN,
	.state_bytes = sizeof(struct apus_dctcp),
	.init = init,
	.restore = restore,
	.save = save,
	.acked = acked,
	.congestion = congestion,
	.info = info,
};
