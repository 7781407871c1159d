/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_pace.c: what leaves by a rate.
 */
#include "tests/net/tcp/cc_test.h"

#include "net/tcp/pace.h"
#include "net/tcp/reno.h"

#define MBIT (1000 * 1000 / 8)

/* draft-cardwell-iccrg-bbr-congestion-control-00 §4.2.2 */
static void quantum_grows_with_the_rate(void **state)
{
	assert_int_equal(apus_pace_quantum(MBIT, 1460), 1460);
	assert_int_equal(apus_pace_quantum(2 * MBIT, 1460), 2920);
	assert_int_equal(apus_pace_quantum(100 * MBIT, 1460), 12500);
	assert_int_equal(apus_pace_quantum(10000ULL * MBIT, 1460), 65536);
	assert_int_equal(apus_pace_quantum(24 * MBIT, 8960), 2 * 8960); /* never less than two */
}

/* A sender whose timer fires up to @jitter_ns late: bytes in a second. */
static uint64_t sent_in_a_second(uint64_t rate, uint32_t mss, int64_t jitter_ns)
{
	struct apus_pace p = {.next_ns = 0};
	uint64_t random = 1, bytes = 0;
	int64_t now_ns = 5 * APUS_SEC, end_ns = 6 * APUS_SEC;

	while (now_ns < end_ns) {
		uint32_t quantum = apus_pace_allowance(&p, rate, mss, now_ns);

		assert_true(quantum >= mss);
		for (; quantum >= mss; quantum -= mss) {
			apus_pace_sent(&p, rate, mss, now_ns);
			bytes += mss;
		}
		assert_true(p.next_ns > now_ns);
		assert_int_equal(apus_pace_allowance(&p, rate, mss, now_ns), 0);
		now_ns = p.next_ns + (int64_t)test_random_below(&random, (uint64_t)jitter_ns + 1);
	}
	return bytes;
}

static void rate_is_kept(void **state)
{
	static const uint64_t rates[] = {MBIT, 10 * MBIT, 100 * MBIT, 1000 * MBIT, 40000ULL * MBIT};

	for (size_t i = 0; i < apus_countof(rates); i++)
		assert_near(sent_in_a_second(rates[i], 1460, 0), rates[i],
			    fmax(0.001 * (double)rates[i], 65536));
}

static void late_timers_are_made_up_for(void **state)
{
	assert_near(sent_in_a_second(100 * MBIT, 1460, 100 * APUS_US), 100 * MBIT,
		    0.01 * 100 * MBIT);
}

static void pause_does_not_end_in_a_burst(void **state)
{
	struct apus_pace p = {.next_ns = 0};
	uint64_t rate = 100 * MBIT;
	int64_t now_ns = 100 * APUS_SEC;
	uint32_t quantum = apus_pace_allowance(&p, rate, 1460, now_ns);

	assert_true(quantum <= 12500);
	apus_pace_sent(&p, rate, quantum, now_ns);
	/* Half of it is forgiven at most. */
	assert_true(p.next_ns >= now_ns + (int64_t)(quantum / 2 * APUS_SEC / rate));
}

static void windows_pace_by_twice_and_by_a_fifth_more(void **state)
{
	struct test_cc t;

	test_cc_init(&t, &apus_reno);
	assert_int_equal(apus_pace_window_rate(&t.cc, 0), 0);
	assert_int_equal(apus_pace_window_rate(&t.cc, 100 * APUS_MS), 2 * 10 * MSS * 10);
	t.cc.ssthresh_bytes = 20 * MSS; /* half of it is reached */
	assert_int_equal(apus_pace_window_rate(&t.cc, 100 * APUS_MS), 12 * MSS * 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantum_grows_with_the_rate),
		cmocka_unit_test(rate_is_kept),
		cmocka_unit_test(late_timers_are_made_up_for),
		cmocka_unit_test(pause_does_not_end_in_a_burst),
		cmocka_unit_test(windows_pace_by_twice_and_by_a_fifth_more),
	};

	return test_main(argc, argv, tests);
}
