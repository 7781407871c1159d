/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_rtt.c: the retransmission timeout, by RFC 6298's formulas and TCP.md's numbers.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/rtt.h"

static struct apus_rtt rtt_after(const int64_t *samples_ms, size_t count)
{
	struct apus_rtt rtt;

	apus_rtt_init(&rtt);
	for (size_t i = 0; i < count; i++)
		apus_rtt_sample(&rtt, samples_ms[i] * APUS_MS);
	return rtt;
}

static void before_any_sample_the_timeout_is_one_second(void **state)
{
	struct apus_rtt rtt = rtt_after(NULL, 0);

	assert_int_equal(apus_rtt_rto_ns(&rtt), APUS_SEC);
}

static void first_sample_sets_variance_to_half_and_timeout_to_sum(void **state)
{
	static const struct {
		int64_t rtt_ms, rto_ms;
	} rows[] = {
		{100, 300},       /* 4 * 50 is the floor exactly: TCP.md's example */
		{1, 201},         /* the floor */
		{99, 299},        /* just below it */
		{101, 303},       /* just above it */
		{1000, 3000},     /* SRTT + 4 * RTT / 2 */
		{40000, 120000},  /* the maximum exactly */
		{40001, 120000},  /* clamped */
		{500000, 120000}, /* far beyond */
	};

	for (size_t i = 0; i < apus_countof(rows); i++) {
		struct apus_rtt rtt = rtt_after(&rows[i].rtt_ms, 1);

		assert_int_equal(apus_rtt_rto_ns(&rtt), rows[i].rto_ms * APUS_MS);
	}
}

/* SRTT' = 7/8 SRTT + 1/8 R, RTTVAR' = 3/4 RTTVAR + 1/4 |SRTT - R| with the old SRTT, by hand. */
static void later_samples_are_smoothed(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){800, 1600}, 2);

	assert_int_equal(apus_rtt_srtt_ns(&rtt), 900 * APUS_MS);
	assert_int_equal(apus_rtt_rttvar_ns(&rtt), 500 * APUS_MS);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 2900 * APUS_MS);

	rtt = rtt_after((int64_t[]){800, 1600, 100}, 3);
	assert_int_equal(apus_rtt_srtt_ns(&rtt), 800 * APUS_MS);
	assert_int_equal(apus_rtt_rttvar_ns(&rtt), 575 * APUS_MS);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 3100 * APUS_MS);
}

static void steady_samples_bring_the_timeout_down_to_the_floor(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){1000}, 1);

	for (int i = 0; i < 200; i++)
		apus_rtt_sample(&rtt, 10 * APUS_MS);
	assert_in_range(apus_rtt_rto_ns(&rtt), 210 * APUS_MS, 211 * APUS_MS);
}

static void each_backoff_doubles_up_to_the_maximum(void **state)
{
	static const int64_t rto_ms[] = {300,   600,   1200,  2400,   4800,   9600,
					 19200, 38400, 76800, 120000, 120000, 120000};
	struct apus_rtt rtt = rtt_after((int64_t[]){100}, 1);

	for (size_t i = 0; i < apus_countof(rto_ms); i++) {
		assert_int_equal(apus_rtt_rto_ns(&rtt), rto_ms[i] * APUS_MS);
		apus_rtt_backoff(&rtt);
	}
	for (int i = 0; i < 1000; i++)
		apus_rtt_backoff(&rtt);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 120 * APUS_SEC);
}

static void least_timeout_backs_off_to_the_maximum_too(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){0}, 1);

	for (int i = 0; i < 20; i++)
		apus_rtt_backoff(&rtt);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 120 * APUS_SEC);
}

static void backed_off_sample_ends_backoff(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){100}, 1);

	apus_rtt_backoff(&rtt);
	apus_rtt_backoff(&rtt);
	apus_rtt_sample(&rtt, 100 * APUS_MS);
	assert_in_range(apus_rtt_rto_ns(&rtt), 300 * APUS_MS, 300 * APUS_MS);
}

static void backed_off_progress_ends_backoff_and_keeps_the_estimate(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){100}, 1);

	apus_rtt_backoff(&rtt);
	apus_rtt_progress(&rtt);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 300 * APUS_MS);
	assert_int_equal(apus_rtt_srtt_ns(&rtt), 100 * APUS_MS);
}

static void lost_syn_without_sample_starts_data_at_three_seconds(void **state)
{
	struct apus_rtt rtt = rtt_after(NULL, 0);

	apus_rtt_backoff(&rtt);
	apus_rtt_handshake_done(&rtt, true);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 3 * APUS_SEC);
	apus_rtt_sample(&rtt, 100 * APUS_MS);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 300 * APUS_MS);
}

static void clean_handshake_keeps_its_sample(void **state)
{
	struct apus_rtt rtt = rtt_after((int64_t[]){100}, 1);

	apus_rtt_handshake_done(&rtt, false);
	assert_int_equal(apus_rtt_rto_ns(&rtt), 300 * APUS_MS);
}

static void absurd_samples_stay_in_bounds(void **state)
{
	static const int64_t samples[] = {INT64_MIN, -1, 0, 1, INT64_MAX, 0, INT64_MAX, INT64_MIN};
	struct apus_rtt rtt;

	apus_rtt_init(&rtt);
	for (size_t i = 0; i < 1000; i++) {
		apus_rtt_sample(&rtt, samples[i * 7 % apus_countof(samples)]);
		assert_true(apus_rtt_srtt_ns(&rtt) > 0 &&
			    apus_rtt_srtt_ns(&rtt) <= APUS_RTT_RTO_MAX_NS);
		assert_true(apus_rtt_rttvar_ns(&rtt) >= 0 &&
			    apus_rtt_rttvar_ns(&rtt) <= APUS_RTT_RTO_MAX_NS);
		assert_in_range(apus_rtt_rto_ns(&rtt), APUS_RTT_RTO_FLOOR_NS, APUS_RTT_RTO_MAX_NS);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_any_sample_the_timeout_is_one_second),
		cmocka_unit_test(first_sample_sets_variance_to_half_and_timeout_to_sum),
		cmocka_unit_test(later_samples_are_smoothed),
		cmocka_unit_test(steady_samples_bring_the_timeout_down_to_the_floor),
		cmocka_unit_test(each_backoff_doubles_up_to_the_maximum),
		cmocka_unit_test(least_timeout_backs_off_to_the_maximum_too),
		cmocka_unit_test(backed_off_sample_ends_backoff),
		cmocka_unit_test(backed_off_progress_ends_backoff_and_keeps_the_estimate),
		cmocka_unit_test(lost_syn_without_sample_starts_data_at_three_seconds),
		cmocka_unit_test(clean_handshake_keeps_its_sample),
		cmocka_unit_test(absurd_samples_stay_in_bounds),
	};

	return test_main(argc, argv, tests);
}
