/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_cubic.c: CUBIC's integers against the formulas of RFC 9438 in doubles
 * (RFC 9293 §3.8.2, MAY-18: an alternative to RFC 5681's).
 */
#include "tests/net/tcp/cc_test.h"

#include "net/tcp/cubic.h"

#define C    0.4
#define BETA (717.0 / 1024)

static const struct apus_cubic *cubic(const struct test_cc *t)
{
	return t->cc.state;
}

/* W_cubic(t) and K of §4.2, windows in segments, times in seconds. */
static double w_cubic(double w_max, double k, double t)
{
	return C * pow(t - k, 3) + w_max;
}

static double k_of(double w_max, double cwnd)
{
	return cbrt((w_max - cwnd) / C);
}

/* ---- the functions ---- */

static void root_is_exact(void **state)
{
	static const uint64_t xs[] = {0, 1, 7, 8, 26, 27, 999, 1000, UINT64_MAX};
	static const uint32_t roots[] = {0, 1, 1, 2, 2, 3, 9, 10, 2642245};
	uint64_t random = 1;

	for (size_t i = 0; i < apus_countof(xs); i++)
		assert_int_equal(apus_cubic_root(xs[i]), roots[i]);
	for (int i = 0; i < 100000; i++) {
		uint64_t x = test_random(&random) >> test_random_below(&random, 64);
		uint64_t r = apus_cubic_root(x);

		assert_true(r * r * r <= x);
		assert_true(r == 2642245 || (r + 1) * (r + 1) * (r + 1) > x);
	}
}

static void k_is_the_formulas(void **state)
{
	uint64_t random = 1;

	for (int i = 0; i < 10000; i++) {
		uint32_t mss = 48 + (uint32_t)test_random_below(&random, 9000);
		uint32_t w_max = (uint32_t)test_random_below(&random, APUS_CC_CWND_MAX);
		uint32_t cwnd = (uint32_t)test_random_below(&random, w_max + 1ULL);
		double k = k_of((double)w_max / mss, (double)cwnd / mss);

		assert_near(apus_cubic_k(w_max, cwnd, mss), k * APUS_CUBIC_UNITS, 1);
	}
}

static void window_is_the_formulas(void **state)
{
	uint64_t random = 1;

	for (int i = 0; i < 10000; i++) {
		uint32_t mss = 48 + (uint32_t)test_random_below(&random, 9000);
		struct apus_cubic q = {
			.w_max_bytes = (uint32_t)test_random_below(&random, APUS_CC_CWND_MAX),
			.k_units = (uint32_t)test_random_below(&random, 100 * APUS_CUBIC_UNITS),
		};
		int64_t t = (int64_t)test_random_below(&random, 200 * APUS_CUBIC_UNITS);
		double w = mss * w_cubic((double)q.w_max_bytes / mss,
					 (double)q.k_units / APUS_CUBIC_UNITS,
					 (double)t / APUS_CUBIC_UNITS);

		w = fmin(fmax(w, 0), APUS_CC_CWND_MAX);
		assert_near(apus_cubic_window(&q, mss, t), w, 3);
	}
}

static void window_of_the_far_future_does_not_overflow(void **state)
{
	struct apus_cubic q = {.w_max_bytes = APUS_CC_CWND_MAX};

	assert_int_equal(apus_cubic_window(&q, UINT16_MAX, INT32_MAX), APUS_CC_CWND_MAX);
	q.k_units = UINT32_MAX;
	assert_int_equal(apus_cubic_window(&q, UINT16_MAX, 0), 0);
}

/* ---- reduction ---- */

static void loss_of_ten_segments_leaves_seven(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 10 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	assert_int_equal(t.cc.ssthresh_bytes, 10 * MSS * 717 / 1024);
	assert_int_equal(t.cc.ssthresh_bytes / MSS, 7);
	assert_int_equal(cubic(&t)->w_max_bytes, 10 * MSS);
}

static void ecn_reduces_as_loss_does(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_ECN);
	assert_int_equal(t.cc.cwnd_bytes, 100 * MSS * 717 / 1024);
}

/* §4.7 */
static void loss_below_the_last_maximum_lowers_it_further(void **state)
{
	struct test_cc t;
	uint32_t second;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	second = t.cc.cwnd_bytes;
	test_cc_lose(&t, APUS_CC_LOSS);
	assert_near(cubic(&t)->w_max_bytes, second * (1 + BETA) / 2, 2);
	assert_int_equal(t.cc.ssthresh_bytes, (uint64_t)second * 717 / 1024);
}

/* §4.8: then the curve begins at its plateau. */
static void timeout_forgets_the_maximum(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_TIMEOUT);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
	assert_int_equal(t.cc.ssthresh_bytes, 100 * MSS * 717 / 1024);
	while (apus_cc_in_slow_start(&t.cc))
		test_cc_round(&t, 100 * APUS_MS);
	test_cc_acked(&t, MSS, 100 * APUS_MS);
	assert_int_equal(cubic(&t)->k_units, 0);
	assert_near(cubic(&t)->w_max_bytes, t.cc.cwnd_bytes, 2 * MSS);
}

/* §4.9 */
static void spurious_loss_is_undone(void **state)
{
	struct test_cc t;
	struct apus_cubic before;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	for (int i = 0; i < 5; i++)
		test_cc_round(&t, 100 * APUS_MS);
	before = *cubic(&t);

	uint32_t cwnd = t.cc.cwnd_bytes, ssthresh = t.cc.ssthresh_bytes;

	test_cc_lose(&t, APUS_CC_LOSS);
	assert_true(t.cc.cwnd_bytes < cwnd);
	apus_cc_undo(&t.cc, cwnd, ssthresh);
	assert_int_equal(t.cc.cwnd_bytes, cwnd);
	assert_int_equal(t.cc.ssthresh_bytes, ssthresh);
	assert_int_equal(cubic(&t)->w_max_bytes, before.w_max_bytes);
	assert_int_equal(cubic(&t)->k_units, before.k_units);
	assert_true(cubic(&t)->epoch_ns == before.epoch_ns);
	assert_int_equal(cubic(&t)->prior_bytes, before.prior_bytes);
}

static void late_undo_does_not_shrink_what_has_grown(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 10 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	while (t.cc.cwnd_bytes < 20 * MSS)
		test_cc_round(&t, 100 * APUS_MS);

	uint32_t cwnd = t.cc.cwnd_bytes, w_max = cubic(&t)->w_max_bytes;

	apus_cc_undo(&t.cc, 10 * MSS, 2 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, cwnd);
	assert_int_equal(cubic(&t)->w_max_bytes, w_max);
}

/* ---- growth ---- */

/*
 * From a loss at 1000 segments on, against the RFC's rule for each segment in doubles: a long RTT,
 * so that the cubic region is met from the concave part through the plateau into the convex part.
 */
static void window_follows_the_curve_from_loss_to_beyond_the_plateau(void **state)
{
	const int64_t rtt_ns = 100 * APUS_MS;
	struct test_cc t;
	double cwnd, k, w_max = 1000;
	int64_t begin_ns;

	test_cc_avoiding(&t, &apus_cubic, 1000 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	cwnd = (double)t.cc.cwnd_bytes / MSS;
	k = k_of(w_max, cwnd);
	begin_ns = t.now_ns;

	test_cc_acked(&t, MSS, rtt_ns); /* the epoch begins */
	while (t.now_ns < begin_ns + (int64_t)(2 * k * APUS_SEC)) {
		double at = (double)(t.now_ns - begin_ns) / 1e9;
		uint32_t segments = t.cc.cwnd_bytes / MSS;

		test_cc_round(&t, rtt_ns);
		for (uint32_t i = 1; i <= segments; i++) {
			double target = w_cubic(w_max, k, at + 0.1 * i / segments + 0.1);

			target = fmin(fmax(target, cwnd), 1.5 * cwnd);
			cwnd += (target - cwnd) / cwnd;
		}
		assert_near((double)t.cc.cwnd_bytes / MSS, cwnd, 0.005 * cwnd);
	}
	assert_true(t.cc.cwnd_bytes > 1200 * MSS);
}

/* §4.3: at a short RTT W_est leads: alpha per round, and one segment per round above cwnd_prior. */
static void reno_friendly_region_grows_by_alpha_per_round(void **state)
{
	const double alpha = 3 * (1 - BETA) / (1 + BETA);
	struct test_cc t;
	double cwnd;

	test_cc_avoiding(&t, &apus_cubic, 20 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	cwnd = (double)t.cc.cwnd_bytes / MSS;
	for (int i = 0; i < 20; i++) {
		uint32_t segments = t.cc.cwnd_bytes / MSS;

		test_cc_round(&t, APUS_MS);
		for (uint32_t j = 0; j < segments; j++)
			cwnd += (cwnd < 20 ? alpha : 1) / cwnd;
		assert_near((double)t.cc.cwnd_bytes / MSS, cwnd, 0.1);
	}
	assert_true(t.cc.cwnd_bytes > 26 * MSS);
}

static void window_grows_by_half_per_round_at_most(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 10 * MSS);
	test_cc_acked(&t, MSS, 100 * APUS_MS);
	t.now_ns += 100 * APUS_SEC; /* the curve is far above */

	uint32_t before = t.cc.cwnd_bytes;

	for (int i = 0; i < 10; i++)
		test_cc_acked(&t, MSS, 100 * APUS_MS);
	assert_true(t.cc.cwnd_bytes > before * 14 / 10);
	assert_true(t.cc.cwnd_bytes <= before * 17 / 10);
}

static void small_acks_grow_as_much_as_large_ones(void **state)
{
	struct test_cc t, u;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	test_cc_acked(&t, MSS, 100 * APUS_MS);
	u = t;
	u.cc.state = u.state;
	t.now_ns += 500 * APUS_MS;
	u.now_ns += 500 * APUS_MS;
	test_cc_acked(&t, 10 * MSS, 100 * APUS_MS);
	for (int i = 0; i < 1000; i++)
		test_cc_acked(&u, MSS / 100, 100 * APUS_MS);
	assert_near(t.cc.cwnd_bytes, u.cc.cwnd_bytes, MSS / 5);
}

/* §5.8 */
static void time_in_which_the_window_is_not_used_does_not_count(void **state)
{
	struct test_cc t;
	int64_t age_ns;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	test_cc_round(&t, 100 * APUS_MS);
	age_ns = t.now_ns - cubic(&t)->epoch_ns;

	uint32_t cwnd = t.cc.cwnd_bytes;

	for (int i = 0; i < 50; i++) {
		t.now_ns += APUS_SEC;
		apus_cc_sent(&t.cc, t.una + 100 * MSS, t.una + 101 * MSS, false);
		t.una += 100 * MSS;

		struct apus_cc_sample s = test_cc_sample(&t);

		s.acked_bytes = MSS;
		apus_cc_acked(&t.cc, &s);
	}
	assert_int_equal(t.cc.cwnd_bytes, cwnd);
	assert_true(t.now_ns - cubic(&t)->epoch_ns == age_ns);
}

static void window_does_not_grow_in_recovery(void **state)
{
	struct test_cc t;
	struct apus_cc_sample s;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	s = test_cc_sample(&t);
	s.acked_bytes = 10 * MSS;
	s.in_recovery = true;
	apus_cc_acked(&t.cc, &s);
	assert_int_equal(t.cc.cwnd_bytes, 100 * MSS);
}

/* ---- slow start ---- */

static void first_slow_start_doubles_until_the_rtt_grows(void **state)
{
	struct test_cc t;

	test_cc_init(&t, &apus_cubic);
	for (uint32_t i = 1; i <= 4; i++) {
		test_cc_round(&t, 50 * APUS_MS);
		assert_int_equal(t.cc.cwnd_bytes, (10 * MSS) << i);
	}
	/* Within two rounds it is noticed, and for five the window grows by a quarter each. */
	for (int i = 0; cubic(&t)->hystart.phase == APUS_HYSTART_SLOW_START; i++) {
		assert_true(i < 2 * 320);
		test_cc_acked(&t, MSS, 70 * APUS_MS);
	}

	uint32_t before = t.cc.cwnd_bytes;

	while (t.cc.ssthresh_bytes == APUS_CC_SSTHRESH_NONE) {
		assert_true(t.cc.cwnd_bytes < before * 4);
		test_cc_acked(&t, MSS, 70 * APUS_MS);
	}
	assert_true(t.cc.ssthresh_bytes > before * pow(1.25, 4) * 0.95);
	assert_true(t.cc.ssthresh_bytes < before * pow(1.25, 5) * 1.05);
	/* §4.10: the plateau is here. */
	assert_int_equal(cubic(&t)->k_units, 0);
	assert_int_equal(cubic(&t)->w_max_bytes, t.cc.ssthresh_bytes);
}

static void later_slow_starts_are_plain(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_TIMEOUT);
	for (int i = 0; i < 6; i++)
		test_cc_round(&t, (10 << i) * APUS_MS);
	assert_int_equal(t.cc.cwnd_bytes, 64 * MSS);
}

/* ---- memory ---- */

static void maximum_survives_idleness(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 100 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	apus_cc_detach(&t.cc);
	assert_false(t.cc.is_attached);
	memset(t.state, 0x5a, sizeof(t.state));
	t.now_ns += 60 * APUS_SEC;
	apus_cc_attach(&t.cc, t.state);
	apus_cc_idle_restart(&t.cc, t.now_ns);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	assert_int_equal(t.cc.ssthresh_bytes, 100 * MSS * 717 / 1024);
	assert_int_equal(cubic(&t)->w_max_bytes, 100 * MSS);
	while (apus_cc_in_slow_start(&t.cc))
		test_cc_round(&t, 10 * APUS_MS);
	test_cc_acked(&t, MSS, 10 * APUS_MS);
	assert_near(cubic(&t)->k_units, APUS_CUBIC_UNITS * k_of(100, 71), 50);
}

static void invariants_hold_in_any_order_of_events(void **state)
{
	test_each_seed(seed, 300)
	{
		uint64_t random = seed;
		struct test_cc t;

		test_cc_init(&t, &apus_cubic);
		for (int i = 0; i < 1000; i++) {
			uint32_t n = (uint32_t)test_random_below(&random, 100);

			t.now_ns += (int64_t)test_random_below(&random, APUS_SEC);
			if (n < 94)
				test_cc_acked(&t,
					      (uint32_t)test_random_below(&random,
									  t.cc.cwnd_bytes + 1ULL),
					      (int64_t)test_random_below(&random, APUS_SEC));
			else if (n < 98)
				test_cc_lose(&t, (enum apus_cc_signal)(n % 3));
			else
				apus_cc_set_mss(&t.cc, 48 + n * 90);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_is_exact),
		cmocka_unit_test(k_is_the_formulas),
		cmocka_unit_test(window_is_the_formulas),
		cmocka_unit_test(window_of_the_far_future_does_not_overflow),
		cmocka_unit_test(loss_of_ten_segments_leaves_seven),
		cmocka_unit_test(ecn_reduces_as_loss_does),
		cmocka_unit_test(loss_below_the_last_maximum_lowers_it_further),
		cmocka_unit_test(timeout_forgets_the_maximum),
		cmocka_unit_test(spurious_loss_is_undone),
		cmocka_unit_test(late_undo_does_not_shrink_what_has_grown),
		cmocka_unit_test(window_follows_the_curve_from_loss_to_beyond_the_plateau),
		cmocka_unit_test(reno_friendly_region_grows_by_alpha_per_round),
		cmocka_unit_test(window_grows_by_half_per_round_at_most),
		cmocka_unit_test(small_acks_grow_as_much_as_large_ones),
		cmocka_unit_test(time_in_which_the_window_is_not_used_does_not_count),
		cmocka_unit_test(window_does_not_grow_in_recovery),
		cmocka_unit_test(first_slow_start_doubles_until_the_rtt_grows),
		cmocka_unit_test(later_slow_starts_are_plain),
		cmocka_unit_test(maximum_survives_idleness),
		cmocka_unit_test(invariants_hold_in_any_order_of_events),
	};

	return test_main(argc, argv, tests);
}
