/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_reno.c: the window of NewReno while nothing is lost, with the numbers worked out
 * by hand from RFC 5681 §3.1 and RFC 3465.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/reno.h"

#define MSS 1000
#define UNA 0xfffff000U /* near the wrap */

struct sender {
	struct apus_cc cc;
};

static void check(const struct sender *t)
{
	apus_cc_check(&t->cc);
}

static struct sender fresh(void)
{
	struct sender t;

	apus_cc_init(&t.cc, &apus_reno, MSS, UNA);
	check(&t);
	return t;
}

/* In congestion avoidance with this window. */
static struct sender avoiding(uint32_t cwnd_bytes)
{
	struct sender t = fresh();

	t.cc.cwnd_bytes = cwnd_bytes;
	t.cc.ssthresh_bytes = 2 * MSS;
	return t;
}

static void acked(struct sender *t, uint32_t ack, uint32_t bytes, uint32_t flight)
{
	struct apus_cc_sample s = {
		.una = ack,
		.nxt = ack + flight,
		.acked_bytes = bytes,
		.flight_bytes = flight,
		.prior_flight_bytes = flight + bytes,
		.rtt_ns = -1,
	};

	apus_cc_acked(&t->cc, &s);
	check(t);
}

/* ---- growth ---- */

static void new_connection_may_send_ten_segments(void **state)
{
	struct sender t = fresh();

	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
}

static void lost_handshake_may_send_one(void **state)
{
	struct sender t = fresh();

	apus_cc_handshake_lost(&t.cc);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
}

static void slow_start_adds_what_was_acknowledged(void **state)
{
	struct sender t = fresh();

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	acked(&t, UNA + 2 * MSS, 2 * MSS, 8 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
	acked(&t, UNA + 10 * MSS, 8 * MSS, 0);
	assert_int_equal(t.cc.cwnd_bytes, 20 * MSS); /* doubled in one round trip */
}

/* ACK division (RFC 3465): a thousand ACKs for a byte each gain what one for all does. */
static void divided_acks_gain_nothing(void **state)
{
	struct sender t = fresh();

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	for (uint32_t i = 1; i <= MSS; i++)
		acked(&t, UNA + i, 1, 10 * MSS - i);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
}

static void slow_start_ends_at_ssthresh_and_the_rest_counts(void **state)
{
	struct sender t = fresh();

	t.cc.ssthresh_bytes = 12 * MSS;
	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	acked(&t, UNA + 5 * MSS, 5 * MSS, 5 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
	assert_int_equal(t.cc.kept[0], 3 * MSS);
}

static void avoidance_adds_one_segment_per_window(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t una = UNA;

	apus_cc_sent(&t.cc, una, una + 10 * MSS, true);
	for (int i = 0; i < 9; i++)
		acked(&t, una += MSS, MSS, 9 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	acked(&t, una += MSS, MSS, 9 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
	for (int i = 0; i < 10; i++)
		acked(&t, una += MSS, MSS, 9 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
	acked(&t, una += MSS, MSS, 9 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
}

static void giant_ack_in_avoidance_adds_one_segment_only(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	for (int i = 0; i < 5; i++) {
		uint32_t before = t.cc.cwnd_bytes;

		acked(&t, UNA + 1, 1U << 30, 0);
		assert_true(t.cc.cwnd_bytes <= before + MSS);
	}
}

static void unused_window_does_not_grow(void **state)
{
	struct sender t = fresh();

	/* Slow start: below half in use, no growth; above, growth without being held back. */
	apus_cc_sent(&t.cc, UNA, UNA + 5 * MSS, false);
	acked(&t, UNA + 5 * MSS, 5 * MSS, 0);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	apus_cc_sent(&t.cc, UNA + 5 * MSS, UNA + 11 * MSS, false);
	acked(&t, UNA + 11 * MSS, 6 * MSS, 0);
	assert_int_equal(t.cc.cwnd_bytes, 16 * MSS);

	/* Avoidance: only when it held data back. */
	t = avoiding(10 * MSS);
	apus_cc_sent(&t.cc, UNA, UNA + 9 * MSS, false);
	acked(&t, UNA + 9 * MSS, 9 * MSS, 0);
	assert_int_equal(t.cc.kept[0], 0);
}

static void being_limited_is_forgotten_after_a_window(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	apus_cc_sent(&t.cc, UNA + 5 * MSS, UNA + 11 * MSS, false); /* within the window: still so */
	assert_true(t.cc.is_limited);
	apus_cc_sent(&t.cc, UNA + 10 * MSS, UNA + 12 * MSS, false);
	assert_false(t.cc.is_limited);
}

static void largest_flight_of_a_window_counts(void **state)
{
	struct sender t = fresh();

	apus_cc_sent(&t.cc, UNA, UNA + 9 * MSS, false);
	apus_cc_sent(&t.cc, UNA + 8 * MSS, UNA + 10 * MSS, false); /* less, in the same window */
	assert_int_equal(t.cc.flight_max_bytes, 9 * MSS);
	acked(&t, UNA + 10 * MSS, 2 * MSS, 0);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
	apus_cc_sent(&t.cc, UNA + 10 * MSS, UNA + 11 * MSS, false); /* the next window */
	assert_int_equal(t.cc.flight_max_bytes, MSS);
}

static void being_limited_within_a_window_counts_at_once(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_sent(&t.cc, UNA, UNA + 9 * MSS, false);
	apus_cc_sent(&t.cc, UNA + 5 * MSS, UNA + 10 * MSS, true);
	assert_true(t.cc.is_limited);
}

static void window_at_the_threshold_is_in_avoidance(void **state)
{
	struct sender t = avoiding(10 * MSS);

	t.cc.ssthresh_bytes = 10 * MSS;
	apus_cc_sent(&t.cc, UNA, UNA + 8 * MSS,
		     false); /* more than half, but nothing was held back */
	acked(&t, UNA + 8 * MSS, 8 * MSS, 0);
	assert_int_equal(t.cc.kept[0], 0);
}

static void window_has_a_ceiling(void **state)
{
	struct sender t = fresh();
	uint32_t una = UNA;

	for (int i = 0; i < 100; i++) {
		apus_cc_sent(&t.cc, una, una + t.cc.cwnd_bytes, true);
		una += t.cc.cwnd_bytes;
		acked(&t, una, t.cc.cwnd_bytes, 0);
	}
	assert_int_equal(t.cc.cwnd_bytes, APUS_CC_CWND_MAX);
}

/* ---- idle, MSS ---- */

static void idle_window_falls_back_to_the_initial_one(void **state)
{
	struct sender t = avoiding(50 * MSS);

	apus_cc_idle_restart(&t.cc, 0);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	t = avoiding(3 * MSS);
	apus_cc_idle_restart(&t.cc, 0);
	assert_int_equal(t.cc.cwnd_bytes, 3 * MSS); /* never up */
}

static void larger_mss_raises_the_least_windows(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_set_cwnd(&t.cc, 0);
	apus_cc_set_mss(&t.cc, 9000);
	check(&t);
	assert_int_equal(t.cc.cwnd_bytes, 9000);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_connection_may_send_ten_segments),
		cmocka_unit_test(lost_handshake_may_send_one),
		cmocka_unit_test(slow_start_adds_what_was_acknowledged),
		cmocka_unit_test(divided_acks_gain_nothing),
		cmocka_unit_test(slow_start_ends_at_ssthresh_and_the_rest_counts),
		cmocka_unit_test(avoidance_adds_one_segment_per_window),
		cmocka_unit_test(giant_ack_in_avoidance_adds_one_segment_only),
		cmocka_unit_test(unused_window_does_not_grow),
		cmocka_unit_test(being_limited_is_forgotten_after_a_window),
		cmocka_unit_test(largest_flight_of_a_window_counts),
		cmocka_unit_test(being_limited_within_a_window_counts_at_once),
		cmocka_unit_test(window_at_the_threshold_is_in_avoidance),
		cmocka_unit_test(window_has_a_ceiling),
		cmocka_unit_test(idle_window_falls_back_to_the_initial_one),
		cmocka_unit_test(larger_mss_raises_the_least_windows),
	};

	return test_main(argc, argv, tests);
}
