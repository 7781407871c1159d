/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/bbr.c: BBR, version 1, by draft-cardwell-iccrg-bbr-congestion-control-00, whose sections
 * are cited as §; later versions exist as drafts only, too.
 *
 * The model is the rate of the bottleneck (the best of ten rounds) and the round-trip time without a
 * queue (the least of ten seconds). Startup doubles the rate until it stops growing, Drain empties
 * the queue that came of it, ProbeBW cruises at the rate and looks in one of eight phases whether
 * there is more, ProbeRTT lets the queue run dry when the least RTT is old.
 *
 * It owns cwnd: loss recovery says what to retransmit, the functions here how much may be in flight.
 *
 * What survives idleness (in `kept`): the rate, the RTT and whether the pipe was ever filled; so a
 * connection that was idle goes on at the rate that it knew (§4.3.4.4).
 *
 * Where we differ: the phase in which ProbeBW begins (§4.3.4.2) is drawn from the clock and the
 * sequence number, for want of a generator in a pure function. Until the first ACK there is no
 * pacing: an initial window may go at once.
 */
#include "net/tcp/bbr.h"

#include "net/tcp/pace.h"
#include "runtime/base/check.h"

static const uint16_t cycle_gains[APUS_BBR_CYCLE] = {
	APUS_BBR_UNIT * 5 / 4, APUS_BBR_UNIT * 3 / 4, APUS_BBR_UNIT, APUS_BBR_UNIT,
	APUS_BBR_UNIT,         APUS_BBR_UNIT,         APUS_BBR_UNIT, APUS_BBR_UNIT,
};

#define FULL_ROUNDS 3 /* §4.3.2.2: so many rounds without growth by a quarter */

/* So that products fit, whatever a peer makes us measure. */
#define RATE_MAX      (1ULL << 36)
#define RTPROP_MAX_NS (60 * APUS_SEC)

/* Units of `kept`. */
#define KEPT_RATE      256U
#define KEPT_RTPROP_NS 1000
#define KEPT_FILLED    (1U << 31)

static struct apus_bbr *bbr_of(const struct apus_cc *cc)
{
	apus_assert(cc->is_attached);
	return cc->state;
}

/* ---- gains ---- */

static uint32_t pacing_gain(const struct apus_bbr *b)
{
	switch ((enum apus_bbr_phase)b->phase) {
	case APUS_BBR_STARTUP:
		return APUS_BBR_HIGH_GAIN;
	case APUS_BBR_DRAIN:
		return APUS_BBR_DRAIN_GAIN;
	case APUS_BBR_PROBE_BW:
		return cycle_gains[b->cycle];
	case APUS_BBR_PROBE_RTT:
		break;
	}
	return APUS_BBR_UNIT;
}

static uint32_t cwnd_gain(const struct apus_bbr *b)
{
	switch ((enum apus_bbr_phase)b->phase) {
	case APUS_BBR_STARTUP:
	case APUS_BBR_DRAIN:
		return APUS_BBR_HIGH_GAIN;
	case APUS_BBR_PROBE_BW:
		return 2 * APUS_BBR_UNIT;
	case APUS_BBR_PROBE_RTT:
		break;
	}
	return APUS_BBR_UNIT;
}

/* §4.2.3.2, BBRInflight() */
static uint64_t inflight(const struct apus_cc *cc, uint32_t gain)
{
	const struct apus_bbr *b = bbr_of(cc);
	uint64_t bytes;

	if (!b->rtprop_ns)
		return APUS_CC_INITIAL_MSS * (uint64_t)cc->mss;
	/* It fits: a rate up to 2^36, a gain below 4, less than 2^26 microseconds. */
	bytes = b->rate * gain / APUS_BBR_UNIT * (uint64_t)(b->rtprop_ns / 1000) / 1000000;
	return bytes + 3ULL * apus_pace_quantum(b->pacing_rate, cc->mss);
}

/* ---- the model ---- */

/* §4.1.1.3, BBRUpdateRound() */
static void update_round(struct apus_bbr *b, const struct apus_cc_sample *s)
{
	b->is_round_start = s->prior_delivered_bytes >= b->next_round_bytes;
	if (b->is_round_start) {
		b->next_round_bytes = s->delivered_bytes;
		b->round++;
	}
}

static void note_rate(struct apus_bbr *b, uint64_t rate)
{
	uint32_t skipped = apus_min(b->round - b->rated_round, (uint32_t)APUS_BBR_ROUNDS);
	uint64_t *slot = &b->rates[b->round % APUS_BBR_ROUNDS];

	for (uint32_t i = 0; i < skipped; i++)
		b->rates[(b->round - i) % APUS_BBR_ROUNDS] = 0;
	b->rated_round = b->round;
	*slot = apus_max(*slot, rate);
	b->rate = 0;
	for (uint32_t i = 0; i < APUS_BBR_ROUNDS; i++)
		b->rate = apus_max(b->rate, b->rates[i]);
}

/* §4.1.1.5, BBRUpdateBtlBw() */
static void update_rate(struct apus_bbr *b, const struct apus_cc_sample *s, bool is_limited)
{
	uint64_t rate;

	if (s->rate_interval_ns <= 0 || !s->rate_bytes)
		return;
	rate = (uint64_t)s->rate_bytes * APUS_SEC / (uint64_t)s->rate_interval_ns;
	rate = apus_min(rate, RATE_MAX);
	if (rate >= b->rate || !is_limited)
		note_rate(b, rate);
}

/* §4.1.2.3, BBRUpdateRTprop(). Return: it was too old. */
static bool update_rtprop(struct apus_bbr *b, const struct apus_cc_sample *s)
{
	bool expired = s->now_ns > b->rtprop_at_ns + APUS_BBR_RTPROP_NS;
	int64_t rtt_ns = apus_min(s->rtt_ns, RTPROP_MAX_NS);

	if (s->rtt_ns >= 0 && (!b->rtprop_ns || rtt_ns <= b->rtprop_ns || expired)) {
		b->rtprop_ns = apus_max(rtt_ns, 1000);
		b->rtprop_at_ns = s->now_ns;
	}
	return expired;
}

/* ---- the state machine ---- */

static void advance_cycle(struct apus_bbr *b, int64_t now_ns)
{
	b->cycle_at_ns = now_ns;
	b->cycle = (uint8_t)((b->cycle + 1) % APUS_BBR_CYCLE);
}

/* §4.3.4.3, BBREnterProbeBW(): any phase but the one that drains. */
static void enter_probe_bw(struct apus_bbr *b, const struct apus_cc_sample *s)
{
	uint32_t chance = (s->una ^ (uint32_t)(s->now_ns >> 10)) * 2654435769U >> 16;

	b->phase = APUS_BBR_PROBE_BW;
	b->cycle = (uint8_t)(APUS_BBR_CYCLE - 1 - chance % (APUS_BBR_CYCLE - 1));
	advance_cycle(b, s->now_ns);
}

/* §4.3.4.3, BBRCheckCyclePhase() */
static void check_cycle(const struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);
	uint32_t gain = cycle_gains[b->cycle];
	bool is_full = s->now_ns - b->cycle_at_ns > b->rtprop_ns;

	if (gain > APUS_BBR_UNIT)
		is_full = is_full && (s->lost_bytes || s->prior_flight_bytes >= inflight(cc, gain));
	else if (gain < APUS_BBR_UNIT)
		is_full = is_full || s->prior_flight_bytes <= inflight(cc, APUS_BBR_UNIT);
	if (is_full)
		advance_cycle(b, s->now_ns);
}

/* §4.3.2.2, BBRCheckFullPipe() */
static void check_full_pipe(struct apus_bbr *b, bool is_limited)
{
	if (b->filled_pipe || !b->is_round_start || is_limited)
		return;
	if (b->rate >= b->full_rate + b->full_rate / 4) {
		b->full_rate = b->rate;
		b->full_rounds = 0;
		return;
	}
	if (++b->full_rounds >= FULL_ROUNDS)
		b->filled_pipe = true;
}

/* §4.3.3, BBRCheckDrain() */
static void check_drain(const struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);

	if (b->phase == APUS_BBR_STARTUP && b->filled_pipe)
		b->phase = APUS_BBR_DRAIN;
	if (b->phase == APUS_BBR_DRAIN && s->flight_bytes <= inflight(cc, APUS_BBR_UNIT))
		enter_probe_bw(b, s);
}

/* §4.2.3.4, BBRSaveCwnd() */
static void save_cwnd(const struct apus_cc *cc)
{
	struct apus_bbr *b = bbr_of(cc);

	if (!b->is_repairing && b->phase != APUS_BBR_PROBE_RTT)
		b->prior_cwnd_bytes = cc->cwnd_bytes;
	else
		b->prior_cwnd_bytes = apus_max(b->prior_cwnd_bytes, cc->cwnd_bytes);
}

static void restore_cwnd(struct apus_cc *cc)
{
	apus_cc_set_cwnd(cc, apus_max(cc->cwnd_bytes, bbr_of(cc)->prior_cwnd_bytes));
}

static uint32_t pipe_bytes(const struct apus_cc *cc)
{
	return APUS_BBR_PIPE_MSS * (uint32_t)cc->mss;
}

/* §4.3.5, BBRHandleProbeRTT() */
static void probe_rtt(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);

	b->limited_until_bytes = s->delivered_bytes + s->flight_bytes;
	if (!b->probe_rtt_until_ns) {
		if (s->flight_bytes > pipe_bytes(cc))
			return;
		b->probe_rtt_until_ns = s->now_ns + APUS_BBR_PROBE_RTT_NS;
		b->is_probe_rtt_round_done = false;
		b->next_round_bytes = s->delivered_bytes;
		return;
	}
	if (b->is_round_start)
		b->is_probe_rtt_round_done = true;
	if (!b->is_probe_rtt_round_done || s->now_ns <= b->probe_rtt_until_ns)
		return;
	b->rtprop_at_ns = s->now_ns;
	restore_cwnd(cc);
	if (b->filled_pipe)
		enter_probe_bw(b, s);
	else
		b->phase = APUS_BBR_STARTUP;
}

/* §4.3.5, BBRCheckProbeRTT() */
static void check_probe_rtt(struct apus_cc *cc, const struct apus_cc_sample *s, bool expired)
{
	struct apus_bbr *b = bbr_of(cc);

	if (b->phase != APUS_BBR_PROBE_RTT && expired && !b->is_idle_restart) {
		save_cwnd(cc);
		b->phase = APUS_BBR_PROBE_RTT;
		b->probe_rtt_until_ns = 0;
	}
	if (b->phase == APUS_BBR_PROBE_RTT)
		probe_rtt(cc, s);
	b->is_idle_restart = false;
}

/* ---- what follows from it ---- */

/* §4.2.1, BBRSetPacingRateWithGain() */
static void set_pacing_rate(struct apus_bbr *b, uint32_t gain)
{
	uint64_t rate = b->rate * gain / APUS_BBR_UNIT;

	if (rate && (b->filled_pipe || rate > b->pacing_rate))
		b->pacing_rate = rate;
}

/* §4.2.1, BBRInitPacingRate(): as if the initial window went through in a round-trip time. */
static void init_pacing_rate(const struct apus_cc *cc, int64_t srtt_ns)
{
	struct apus_bbr *b = bbr_of(cc);
	uint64_t bytes = APUS_CC_INITIAL_MSS * (uint64_t)cc->mss;

	if (!b->pacing_rate)
		b->pacing_rate = bytes * APUS_BBR_HIGH_GAIN / APUS_BBR_UNIT * APUS_SEC /
				 (uint64_t)(srtt_ns > 0 ? srtt_ns : APUS_MS);
}

/* §4.2.3.6, BBRSetCwnd() */
static void set_cwnd(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);
	uint64_t target = inflight(cc, cwnd_gain(b)), cwnd = cc->cwnd_bytes;

	/* §4.2.3.4, BBRModulateCwndForRecovery() */
	if (b->is_repairing && s->lost_bytes)
		cwnd = apus_max(cwnd, (uint64_t)s->lost_bytes + cc->mss) - s->lost_bytes;
	if (b->is_conserving && b->is_round_start)
		b->is_conserving = false;
	if (b->is_conserving) {
		cwnd = apus_max(cwnd, (uint64_t)s->flight_bytes + s->acked_bytes);
	} else {
		if (b->filled_pipe)
			cwnd = apus_min(cwnd + s->acked_bytes, target);
		else if (cwnd < target ||
			 s->delivered_bytes < APUS_CC_INITIAL_MSS * (uint64_t)cc->mss)
			cwnd += s->acked_bytes;
		cwnd = apus_max(cwnd, pipe_bytes(cc));
	}
	if (b->phase == APUS_BBR_PROBE_RTT) /* §4.2.3.5 */
		cwnd = apus_min(cwnd, pipe_bytes(cc));
	apus_cc_set_cwnd(cc, cwnd);
}

static void acked(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);
	bool is_limited = s->is_app_limited || s->prior_delivered_bytes < b->limited_until_bytes;
	bool expired;

	init_pacing_rate(cc, s->srtt_ns);
	update_round(b, s);
	update_rate(b, s, is_limited);
	if (b->phase == APUS_BBR_PROBE_BW)
		check_cycle(cc, s);
	check_full_pipe(b, is_limited);
	check_drain(cc, s);
	expired = update_rtprop(b, s);
	check_probe_rtt(cc, s, expired && b->rtprop_ns);
	set_pacing_rate(b, pacing_gain(b));
	set_cwnd(cc, s);
}

/* ---- loss (§4.2.3.4) ---- */

static uint32_t congestion(struct apus_cc *cc, const struct apus_cc_sample *s,
			   enum apus_cc_signal why)
{
	struct apus_bbr *b = bbr_of(cc);

	switch (why) {
	case APUS_CC_LOSS:
		save_cwnd(cc);
		apus_cc_set_cwnd(cc, (uint64_t)s->flight_bytes +
					     apus_max(s->acked_bytes, (uint32_t)cc->mss));
		b->is_conserving = true;
		b->is_repairing = true;
		b->next_round_bytes = s->delivered_bytes; /* the first round begins here */
		break;
	case APUS_CC_TIMEOUT:
		save_cwnd(cc);
		apus_cc_set_cwnd(cc, cc->mss);
		b->is_conserving = false;
		b->is_repairing = true;
		break;
	case APUS_CC_ECN: /* no part of this version's model */
		break;
	}
	return cc->ssthresh_bytes;
}

static void recovered(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_bbr *b = bbr_of(cc);

	if (!b->is_repairing)
		return;
	b->is_conserving = false;
	b->is_repairing = false;
	restore_cwnd(cc);
}

/* What looked like a full pipe may have been the needless repair. */
static void undone(struct apus_cc *cc)
{
	struct apus_bbr *b = bbr_of(cc);

	b->full_rate = 0;
	b->full_rounds = 0;
	recovered(cc, NULL);
}

/* ---- memory ---- */

static void restore(struct apus_cc *cc, const uint32_t kept[2])
{
	struct apus_bbr *b = bbr_of(cc);

	b->rate = b->rates[0] = (uint64_t)kept[0] * KEPT_RATE;
	b->rtprop_ns = (int64_t)(kept[1] & ~KEPT_FILLED) * KEPT_RTPROP_NS;
	b->filled_pipe = kept[1] & KEPT_FILLED;
	b->prior_cwnd_bytes = cc->cwnd_bytes;
	b->phase = APUS_BBR_STARTUP;
	if (b->filled_pipe) {
		b->phase = APUS_BBR_PROBE_BW;
		b->cycle = APUS_BBR_CYCLE - 1; /* the first ACK starts a cycle */
		b->full_rate = b->rate;
	}
}

static void save(const struct apus_cc *cc, uint32_t kept[2])
{
	const struct apus_bbr *b = bbr_of(cc);

	kept[0] = (uint32_t)apus_min(b->rate / KEPT_RATE, UINT32_MAX);
	kept[1] = (uint32_t)apus_min(b->rtprop_ns / KEPT_RTPROP_NS, INT32_MAX);
	if (b->filled_pipe)
		kept[1] |= KEPT_FILLED;
}

/* §4.3.4.4: cwnd stays, and the rate is the path's; no ProbeRTT, silence was as good. */
static void idle_restart(struct apus_cc *cc, int64_t now_ns)
{
	struct apus_bbr *b = bbr_of(cc);

	b->is_idle_restart = true;
	if (b->phase == APUS_BBR_PROBE_BW)
		set_pacing_rate(b, APUS_BBR_UNIT);
}

static uint64_t pacing_rate(const struct apus_cc *cc)
{
	return bbr_of(cc)->pacing_rate;
}

static void info(const struct apus_cc *cc, struct apus_cc_info *info)
{
	static const char *const phases[] = {"startup", "drain", "probe_bw", "probe_rtt"};

	info->phase = "idle";
	if (!cc->is_attached)
		return;

	const struct apus_bbr *b = bbr_of(cc);

	info->phase = phases[b->phase];
	info->detail[0] = b->rate;
	info->detail[1] = (uint64_t)b->rtprop_ns;
	info->detail[2] = pacing_gain(b);
	info->detail[3] = cwnd_gain(b);
}

const struct apus_cc_type apus_bbr = {
	.name = "bbr",
	.flags = APUS_CC_OWNS_CWND | APUS_CC_NEEDS_RATE | APUS_CC_NEEDS_PACING,
	.state_bytes = sizeof(struct apus_bbr),
	.restore = restore,
	.save = save,
	.acked = acked,
	.congestion = congestion,
	.recovered = recovered,
	.undone = undone,
	.idle_restart = idle_restart,
	.pacing_rate = pacing_rate,
	.info = info,
};
