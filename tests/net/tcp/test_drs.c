/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_drs.c: the size of the receive buffer for senders whose rate and round trip
 * are known.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/drs.h"

#define MSS   1460
#define FIRST (128 * 1024) /* window */

static void reader_of_nothing_new_asks_for_nothing(void **state)
{
	struct apus_drs d;

	apus_drs_init(&d, 100, 1000, 0, 0);
	apus_drs_sample(&d, 1000, 0);
	for (uint32_t us = 0; us < 100000; us += 500)
		assert_int_equal(apus_drs_read(&d, 100, MSS, us), 0);
}

static void nothing_is_known_without_a_round_trip(void **state)
{
	struct apus_drs d;

	apus_drs_init(&d, 0, 1000, 0, 0);
	assert_int_equal(apus_drs_read(&d, 1 << 20, MSS, 1 << 30), 0);
}

static void steady_reader_gets_twice_what_it_reads(void **state)
{
	struct apus_drs d;
	uint32_t seq = 0xffff0000, largest = 0;

	apus_drs_init(&d, seq, 100000, 0, 0xfffff000); /* both wrap */
	apus_drs_sample(&d, 10000, 0);
	for (uint32_t us = 0xfffff000, i = 0; i < 1000; i++, us += 1000, seq += 10000) {
		uint32_t size = apus_drs_read(&d, seq, MSS, us);

		largest = apus_max(largest, size);
	}
	assert_int_equal(largest, 0); /* 100,000 in a round trip is what it was */
	assert_int_equal(d.space_bytes, 100000);
}

/* Slow start: what comes in each round trip is twice what came in the one before. */
static void buffer_stays_ahead_of_slow_start(void **state)
{
	struct apus_drs d;
	uint32_t seq = 0, size = 128 * 1024, rate = 10 * MSS;

	apus_drs_init(&d, 0, 10 * MSS, 0, 0);
	apus_drs_sample(&d, 50000, 0);
	for (uint32_t trip = 1; trip < 12; trip++) {
		uint32_t asked;

		assert_true(rate <= size); /* never held back */
		seq += rate;
		asked = apus_drs_read(&d, seq, MSS, trip * 50000);
		size = apus_max(size, asked);
		rate *= 2;
	}
	assert_true(size >= 15 << 20);
}

static void timestamps_are_smoothed(void **state)
{
	struct apus_drs d;

	apus_drs_init(&d, 0, 1, 0, 0);
	apus_drs_sample(&d, 80000, 0);
	assert_int_equal(d.rtt_us, 80000);
	apus_drs_sample(&d, 160000, 0);
	assert_int_equal(d.rtt_us, 90000);
	apus_drs_sample(&d, 10000, 0);
	assert_int_equal(d.rtt_us, 80000);
	for (int i = 0; i < 200; i++)
		apus_drs_sample(&d, 0, 0);
	assert_in_range(d.rtt_us, 1, 10);
}

/* Without timestamps: a window of 64 kB comes every 20 ms, but once the sender hesitates. */
static void window_by_window_the_least_time_counts(void **state)
{
	struct apus_drs d;
	uint32_t nxt = 0xfffffff0;

	apus_drs_init(&d, nxt, 1, 0, 0);
	apus_drs_arrived(&d, nxt, 65536, 0);
	assert_int_equal(d.rtt_us, 0);
	apus_drs_arrived(&d, nxt + 30000, 65536, 10000);
	assert_int_equal(d.rtt_us, 0);
	apus_drs_arrived(&d, nxt + 65536, 65536, 20000);
	assert_int_equal(d.rtt_us, 20000);
	apus_drs_arrived(&d, nxt + 2 * 65536, 65536, 90000);
	assert_int_equal(d.rtt_us, 20000);
	apus_drs_arrived(&d, nxt + 3 * 65536, 65536, 105000);
	assert_int_equal(d.rtt_us, 15000);
}

static void hostile_numbers_overflow_nothing(void **state)
{
	struct apus_drs d;

	apus_drs_init(&d, 0, 1, 0, 0);
	apus_drs_sample(&d, UINT32_MAX, 0);
	apus_drs_sample(&d, 1, 0);
	d.rtt_us = 1;
	assert_int_equal(apus_drs_read(&d, 0x7fffffff, 65535, 10), UINT32_MAX);
}

/* Reads as fast as the window lets it, which is @size at first, in @trips. Return: the last window. */
static uint32_t read_windows(struct apus_drs *d, uint32_t *now_us, uint32_t trip_us, uint32_t trips,
			     uint32_t size)
{
	for (uint32_t i = 0; i < trips; i++) {
		uint32_t asked;

		*now_us += trip_us;
		apus_drs_sample(d, trip_us / 1000 * 1000, *now_us);
		asked = apus_drs_read(d, d->read_seq + size, MSS, *now_us);
		size = apus_max(size, asked);
	}
	return size;
}

/* On a wire of no length all windows are filled, and all they do is wait in a queue. */
static void window_ends_at_what_a_core_takes_in(void **state)
{
	struct apus_drs d;
	uint32_t now_us = 0;

	apus_drs_init(&d, 0, 10 * MSS, 2, now_us);
	assert_int_equal(read_windows(&d, &now_us, 2, 100, FIRST), 2 * 12500 * (2 + 20));
}

static void longer_handshake_has_no_such_end(void **state)
{
	struct apus_drs d;
	uint32_t now_us = 0;

	apus_drs_init(&d, 0, 10 * MSS, 1000, now_us);
	assert_true(read_windows(&d, &now_us, 1000, 100, FIRST) > 15 << 20);
}

static void unknown_handshake_has_no_such_end(void **state)
{
	struct apus_drs d;
	uint32_t now_us = 0;

	apus_drs_init(&d, 0, 10 * MSS, 0, now_us);
	assert_true(read_windows(&d, &now_us, 2, 100, FIRST) > 15 << 20);
}

/* 3 ms may be a queue of our own making; a whole epoch of them, and another, are the path. */
static void path_that_became_longer_is_believed_after_a_while(void **state)
{
	struct apus_drs d;
	uint32_t now_us = 0;

	apus_drs_init(&d, 0, 10 * MSS, 50, now_us);
	assert_int_equal(read_windows(&d, &now_us, 50, 1000, FIRST), 2 * 12500 * (50 + 20));
	assert_true(read_windows(&d, &now_us, 3000, 3000, 2 * 12500 * (50 + 20)) <=
		    2 * 12500 * (50 + 20));
	assert_true(read_windows(&d, &now_us, 3000, 6000, 2 * 12500 * (50 + 20)) > 15 << 20);
}

/* A least that is many seconds old says nothing of now. */
static void idle_connection_forgets_what_was_least(void **state)
{
	struct apus_drs d;
	uint32_t now_us = 0;

	apus_drs_init(&d, 0, 10 * MSS, 50, now_us);
	assert_true(read_windows(&d, &now_us, 3000, 3000, FIRST) <= 2 * 12500 * (50 + 20));
	now_us += 60000000;
	assert_true(read_windows(&d, &now_us, 3000, 3000, FIRST) <= 2 * 12500 * (50 + 20));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_of_nothing_new_asks_for_nothing),
		cmocka_unit_test(nothing_is_known_without_a_round_trip),
		cmocka_unit_test(steady_reader_gets_twice_what_it_reads),
		cmocka_unit_test(buffer_stays_ahead_of_slow_start),
		cmocka_unit_test(timestamps_are_smoothed),
		cmocka_unit_test(window_by_window_the_least_time_counts),
		cmocka_unit_test(hostile_numbers_overflow_nothing),
		cmocka_unit_test(window_ends_at_what_a_core_takes_in),
		cmocka_unit_test(longer_handshake_has_no_such_end),
		cmocka_unit_test(unknown_handshake_has_no_such_end),
		cmocka_unit_test(path_that_became_longer_is_believed_after_a_while),
		cmocka_unit_test(idle_connection_forgets_what_was_least),
	};

	return test_main(argc, argv, tests);
}
