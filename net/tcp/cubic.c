/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cubic.c: CUBIC (RFC 9438): after a loss the window returns along a cubic function of time
 * to where it was lost, rests there, and then goes on faster and faster; but never grows slower than
 * Reno would.
 *
 * All in integers: windows in bytes, times in 1/1024 s, C = 0.4 segments per cubed second. What a
 * division leaves over is carried to the next ACK, so that small ACKs lose nothing.
 *
 * The first slow start is HyStart++'s (RFC 9406); later ones, which know ssthresh, are plain.
 * While the window is not in use no time goes by (RFC 9438 §4.2, §5.8), and W_max survives
 * idleness.
 *
 * Where we differ: RFC 9438 §4.6 reduces flight_size; we reduce cwnd, as Linux does and the section
 * allows to who does not let a window grow that is not in use (apus_cc_may_grow()).
 */
#include "net/tcp/cubic.h"

#include "runtime/base/check.h"

/* C = 0.4 (RFC 9438 §5), as a fraction. */
#define C_NUM 2
#define C_DEN 5

/* alpha_cubic = 3 (1 - beta) / (1 + beta) (RFC 9438 §4.3). */
#define ALPHA_NUM (3 * (APUS_CUBIC_BETA_DEN - APUS_CUBIC_BETA_NUM))
#define ALPHA_DEN (APUS_CUBIC_BETA_DEN + APUS_CUBIC_BETA_NUM)

#define DISTANCE_MAX (1 << 18) /* 256 s: there the function is beyond any window */

static_assert(APUS_CUBIC_UNITS == 1024, "shifts below count on it");

static struct apus_cubic *cubic_of(const struct apus_cc *cc)
{
	apus_assert(cc->is_attached);
	return cc->state;
}

static int64_t units_of_ns(int64_t ns)
{
	static_assert(APUS_SEC / APUS_CUBIC_UNITS == 1953125 / 2, "1024 / 10^9");
	return ns * 2 / 1953125;
}

/* A binary digit at a time; once for each epoch. */
uint32_t apus_cubic_root(uint64_t x)
{
	uint64_t root = 0;

	for (int shift = 63; shift >= 0; shift -= 3) {
		uint64_t next;

		root *= 2;
		next = 3 * root * (root + 1) + 1;
		if (x >> shift >= next) {
			x -= next << shift;
			root++;
		}
	}
	return (uint32_t)root;
}

uint32_t apus_cubic_k(uint32_t w_max_bytes, uint32_t cwnd_bytes, uint32_t mss)
{
	uint64_t distance_bytes = w_max_bytes - cwnd_bytes;

	apus_assert(cwnd_bytes <= w_max_bytes && w_max_bytes <= APUS_CC_CWND_MAX);
	/* In seconds the root of distance / C; so in 1/1024 s that of 2^30 as much. */
	return apus_cubic_root((distance_bytes * C_DEN << 30) / (C_NUM * mss));
}

uint32_t apus_cubic_window(const struct apus_cubic *q, uint32_t mss, int64_t t_units)
{
	int64_t d = t_units - q->k_units;
	int64_t bytes;

	d = apus_min(apus_max(d, -DISTANCE_MAX), DISTANCE_MAX);
	bytes = d * d * d / APUS_CUBIC_UNITS * C_NUM * mss / C_DEN / (1 << 20);
	bytes += q->w_max_bytes;
	return (uint32_t)apus_min(apus_max(bytes, 0), APUS_CC_CWND_MAX);
}

/* ---- memory ---- */

static void restore(struct apus_cc *cc, const uint32_t kept[2])
{
	struct apus_cubic *q = cubic_of(cc);

	q->w_max_bytes = kept[0];
	q->prior_bytes = kept[1];
	apus_hystart_init(&q->hystart);
}

static void save(const struct apus_cc *cc, uint32_t kept[2])
{
	kept[0] = cubic_of(cc)->w_max_bytes;
	kept[1] = cubic_of(cc)->prior_bytes;
}

/* ---- growth ---- */

static void set_epoch(struct apus_cc *cc, int64_t epoch_ns)
{
	cubic_of(cc)->epoch_ns = epoch_ns;
	cc->is_timed = epoch_ns != 0;
}

/*
 * RFC 9438 §4.2: the epoch begins. Without a W_max above (after slow start, §4.10; after a timeout,
 * §4.8) the function begins at its plateau.
 */
static void start_epoch(struct apus_cc *cc, int64_t now_ns)
{
	struct apus_cubic *q = cubic_of(cc);

	set_epoch(cc, now_ns);
	q->last_ns = now_ns;
	q->cubic_credit = q->est_credit = 0;
	q->w_est_bytes = cc->cwnd_bytes;
	if (q->w_max_bytes > cc->cwnd_bytes) {
		q->k_units = apus_cubic_k(q->w_max_bytes, cc->cwnd_bytes, cc->mss);
	} else {
		q->k_units = 0;
		q->w_max_bytes = cc->cwnd_bytes;
	}
}

/* RFC 9438 §4.3: W_est grows as Reno's window with this beta; from cwnd_prior on as Reno's own. */
static void grow_estimate(const struct apus_cc *cc, struct apus_cubic *q, uint32_t acked_bytes)
{
	uint64_t alpha = q->w_est_bytes < q->prior_bytes ? ALPHA_NUM : ALPHA_DEN;
	uint64_t whole = (uint64_t)cc->cwnd_bytes * ALPHA_DEN;
	uint64_t step_bytes;

	q->est_credit += alpha * cc->mss * apus_min(acked_bytes, cc->cwnd_bytes);
	step_bytes = q->est_credit / whole;
	q->est_credit %= whole;
	q->w_est_bytes = (uint32_t)apus_min(q->w_est_bytes + step_bytes, APUS_CC_CWND_MAX);
}

/* RFC 9438 §4.2, §4.4, §4.5: (target - cwnd) / cwnd for each segment acknowledged. */
static void grow_cubic(struct apus_cc *cc, struct apus_cubic *q, uint32_t target_bytes,
		       uint32_t acked_bytes)
{
	uint64_t cwnd_bytes = cc->cwnd_bytes;
	uint64_t goal_bytes = apus_max(target_bytes, cwnd_bytes);

	goal_bytes = apus_min(goal_bytes, cwnd_bytes * 3 / 2);
	q->cubic_credit += (goal_bytes - cwnd_bytes) * apus_min(acked_bytes, cwnd_bytes);
	apus_cc_set_cwnd(cc, cwnd_bytes + q->cubic_credit / cwnd_bytes);
	q->cubic_credit %= cwnd_bytes;
}

static void avoid_congestion(struct apus_cc *cc, const struct apus_cc_sample *s,
			     uint32_t acked_bytes)
{
	struct apus_cubic *q = cubic_of(cc);

	if (!q->epoch_ns)
		start_epoch(cc, s->now_ns);
	q->last_ns = s->now_ns;

	int64_t t_units = units_of_ns(s->now_ns - q->epoch_ns);

	grow_estimate(cc, q, acked_bytes);
	if (apus_cubic_window(q, cc->mss, t_units) < q->w_est_bytes) { /* Reno-friendly region */
		apus_cc_set_cwnd(cc, apus_max(cc->cwnd_bytes, q->w_est_bytes));
		return;
	}
	t_units += units_of_ns(s->srtt_ns);
	grow_cubic(cc, q, apus_cubic_window(q, cc->mss, t_units), acked_bytes);
}

/* RFC 9406 §4.2, §4.3. Return: bytes left for congestion avoidance. */
static uint32_t first_slow_start(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	switch ((enum apus_hystart_phase)cubic_of(cc)->hystart.phase) {
	case APUS_HYSTART_SLOW_START:
		return apus_cc_slow_start(cc, s);
	case APUS_HYSTART_CSS:
		apus_cc_set_cwnd(cc, (uint64_t)cc->cwnd_bytes +
					     s->acked_bytes / APUS_HYSTART_GROWTH_DIVISOR);
		return 0;
	case APUS_HYSTART_DONE:
		break;
	}
	cc->ssthresh_bytes = cc->cwnd_bytes;
	cubic_of(cc)->prior_bytes = cc->cwnd_bytes; /* RFC 9438 §4.10 */
	return s->acked_bytes;
}

/* In congestion avoidance, time in which the window is not in use does not count. */
static void stand_still(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	struct apus_cubic *q = cubic_of(cc);

	if (q->epoch_ns) {
		q->epoch_ns += s->now_ns - q->last_ns;
		q->last_ns = s->now_ns;
	}
}

static void acked(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	uint32_t left_bytes = s->acked_bytes;
	bool is_first = cc->ssthresh_bytes == APUS_CC_SSTHRESH_NONE;

	if (!apus_cc_may_grow(cc, s)) {
		stand_still(cc, s);
		return;
	}
	if (is_first) { /* a window that is not in use makes no queue: its rounds tell nothing */
		(void)apus_hystart_acked(&cubic_of(cc)->hystart, s);
		left_bytes = first_slow_start(cc, s);
	} else if (apus_cc_in_slow_start(cc)) {
		left_bytes = apus_cc_slow_start(cc, s);
	}
	if (left_bytes > 0)
		avoid_congestion(cc, s, left_bytes);
}

/* ---- reduction ---- */

static void remember(struct apus_cubic *q)
{
	q->undo.epoch_ns = q->epoch_ns;
	q->undo.w_max_bytes = q->w_max_bytes;
	q->undo.prior_bytes = q->prior_bytes;
	q->undo.w_est_bytes = q->w_est_bytes;
	q->undo.k_units = q->k_units;
}

/* RFC 9438 §4.7: who loses below the old W_max gives room to newer flows. */
static uint32_t converge(const struct apus_cubic *q, uint32_t cwnd_bytes)
{
	if (cwnd_bytes < q->w_max_bytes)
		return (uint32_t)((uint64_t)cwnd_bytes * ALPHA_DEN / (2 * APUS_CUBIC_BETA_DEN));
	return cwnd_bytes;
}

static uint32_t congestion(struct apus_cc *cc, const struct apus_cc_sample *s,
			   enum apus_cc_signal why)
{
	struct apus_cubic *q = cubic_of(cc);
	uint32_t cwnd_bytes = cc->cwnd_bytes;

	if (!s->in_recovery && !s->is_after_timeout)
		remember(q);
	set_epoch(cc, 0);
	q->prior_bytes = cwnd_bytes;
	q->w_max_bytes = why == APUS_CC_TIMEOUT ? 0 : converge(q, cwnd_bytes); /* §4.8 */
	return (uint32_t)((uint64_t)cwnd_bytes * APUS_CUBIC_BETA_NUM / APUS_CUBIC_BETA_DEN);
}

static void undone(struct apus_cc *cc)
{
	struct apus_cubic *q = cubic_of(cc);

	set_epoch(cc, q->undo.epoch_ns);
	q->w_max_bytes = q->undo.w_max_bytes;
	q->prior_bytes = q->undo.prior_bytes;
	q->w_est_bytes = q->undo.w_est_bytes;
	q->k_units = q->undo.k_units;
}

/* RFC 5681 §4.1, and the curve begins anew behind it. */
static void idle_restart(struct apus_cc *cc, int64_t now_ns)
{
	set_epoch(cc, 0);
	apus_cc_set_cwnd(cc, apus_min(cc->cwnd_bytes, APUS_CC_INITIAL_MSS * cc->mss));
}

static void info(const struct apus_cc *cc, struct apus_cc_info *info)
{
	static const char *const phases[] = {"slow_start", "css", "avoidance"};
	bool is_slow = apus_cc_in_slow_start(cc);

	info->phase = is_slow ? phases[0] : phases[2];
	if (!cc->is_attached)
		return;

	const struct apus_cubic *q = cubic_of(cc);

	if (is_slow && q->hystart.phase == APUS_HYSTART_CSS)
		info->phase = phases[1];
	info->detail[0] = q->w_max_bytes;
	info->detail[1] = q->w_est_bytes;
	info->detail[2] = q->k_units;
}

const struct apus_cc_type apus_cubic = {
	.name = "cubic",
	.flags = APUS_CC_RESTS,
	.state_bytes = sizeof(struct apus_cubic),
	.restore = restore,
	.save = save,
	.acked = acked,
	.congestion = congestion,
	.undone = undone,
	.idle_restart = idle_restart,
	.info = info,
};
