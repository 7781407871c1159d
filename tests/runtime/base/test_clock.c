/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_clock.c: the virtual clock stands still; the real one agrees with the
 * host's. The second half is the one place under tests/runtime that looks at the wall clock.
 */
#include "tests/runtime/base_test.h"

#include <time.h>

#include "runtime/base/clock.h"

#define YEAR_2026_NS (INT64_C(1767225600) * APUS_SEC)
#define YEAR_2027_NS (INT64_C(1798761600) * APUS_SEC)

static void virtual_clock_stands_still_until_set(void **state)
{
	struct apus_clock clock;

	apus_clock_init_virtual(&clock, 5 * APUS_SEC);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(apus_clock_read(&clock), 5 * APUS_SEC);
	apus_clock_set(&clock, 5 * APUS_SEC);
	assert_int_equal(apus_clock_read(&clock), 5 * APUS_SEC);
	apus_clock_set(&clock, 5 * APUS_SEC + 1);
	assert_int_equal(apus_clock_read(&clock), 5 * APUS_SEC + 1);
	apus_clock_set(&clock, INT64_MAX / 2);
	assert_int_equal(apus_clock_read(&clock), INT64_MAX / 2);
}

static void virtual_clocks_are_independent(void **state)
{
	struct apus_clock a, b;

	apus_clock_init_virtual(&a, 0);
	apus_clock_init_virtual(&b, 100);
	apus_clock_set(&a, 7);
	assert_int_equal(apus_clock_read(&a), 7);
	assert_int_equal(apus_clock_read(&b), 100);
}

/* The same in every run, or a replay would print another Date. */
static void virtual_wall_time_starts_in_2026_and_is_repeatable(void **state)
{
	struct apus_clock a, b;

	apus_clock_init_virtual(&a, APUS_SEC);
	apus_clock_init_virtual(&b, APUS_SEC);
	int64_t wall_ns = apus_clock_wall_ns(&a, apus_clock_read(&a));

	assert_in_range(wall_ns, YEAR_2026_NS, YEAR_2027_NS);
	assert_int_equal(wall_ns, apus_clock_wall_ns(&b, apus_clock_read(&b)));
	assert_int_equal(apus_clock_wall_ns(&a, 3 * APUS_SEC) - wall_ns, 2 * APUS_SEC);
}

static int64_t host_monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * APUS_SEC + ts.tv_nsec;
}

static void real_clock_never_goes_back(void **state)
{
	struct apus_clock clock;

	apus_clock_init_real(&clock);
	assert_false(clock.is_virtual);
	int64_t last_ns = apus_clock_read(&clock);

	for (int i = 0; i < 1000000; i++) {
		int64_t now_ns = apus_clock_read(&clock);

		assert_true(now_ns >= last_ns);
		last_ns = now_ns;
	}
}

/* Both spans are bracketed, so a descheduled test only widens the bracket. */
static void real_clock_runs_as_fast_as_the_hosts(void **state)
{
	struct apus_clock clock;

	apus_clock_init_real(&clock);
	int64_t before_ns = host_monotonic_ns(), start_ns = apus_clock_read(&clock);
	int64_t started_ns = host_monotonic_ns();

	while (host_monotonic_ns() - started_ns < 50 * APUS_MS)
		;
	int64_t ending_ns = host_monotonic_ns(), end_ns = apus_clock_read(&clock);
	int64_t after_ns = host_monotonic_ns(), span_ns = end_ns - start_ns;

	assert_true(span_ns >= (ending_ns - started_ns) * 999 / 1000);
	assert_true(span_ns <= (after_ns - before_ns) * 1001 / 1000);
}

static void real_wall_time_is_the_hosts(void **state)
{
	struct apus_clock clock;
	time_t before = time(NULL);

	apus_clock_init_real(&clock);
	int64_t wall_ns = apus_clock_wall_ns(&clock, apus_clock_read(&clock));

	assert_true(wall_ns >= (before - 1) * APUS_SEC);
	assert_true(wall_ns <= (time(NULL) + 2) * APUS_SEC);
}

static void host_time_is_clock_monotonic(void **state)
{
	int64_t before_ns = host_monotonic_ns(), host_ns = apus_clock_host_ns();

	assert_true(host_ns >= before_ns);
	assert_true(host_ns <= host_monotonic_ns());
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtual_clock_stands_still_until_set),
		cmocka_unit_test(virtual_clocks_are_independent),
		cmocka_unit_test(virtual_wall_time_starts_in_2026_and_is_repeatable),
		cmocka_unit_test(real_clock_never_goes_back),
		cmocka_unit_test(real_clock_runs_as_fast_as_the_hosts),
		cmocka_unit_test(real_wall_time_is_the_hosts),
		cmocka_unit_test(host_time_is_clock_monotonic),
	};

	return test_main(argc, argv, tests);
}
