/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_recovery.c: the window of NewReno, and fast retransmit and recovery around it,
 * with the numbers worked out by hand from RFC 5681, RFC 6582 and RFC 3042.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/recovery.h"
#include "net/tcp/reno.h"

#define MSS 1000
#define UNA 0xfffff000U /* near the wrap */

struct sender {
	struct apus_cc cc;
	struct apus_recovery r;
};

static void check(const struct sender *t)
{
	apus_cc_check(&t->cc);
	apus_recovery_check(&t->r);
}

static struct sender fresh(void)
{
	struct sender t;

	apus_cc_init(&t.cc, &apus_reno, MSS, UNA);
	apus_recovery_init(&t.r);
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

static uint32_t window(const struct sender *t)
{
	return apus_recovery_window(&t->r, &t->cc);
}

static enum apus_recovery_act acked(struct sender *t, uint32_t ack, uint32_t bytes, uint32_t flight)
{
	struct apus_cc_sample s = {
		.una = ack,
		.nxt = ack + flight,
		.acked_bytes = bytes,
		.flight_bytes = flight,
		.prior_flight_bytes = flight + bytes,
		.rtt_ns = -1,
	};
	enum apus_recovery_act act = apus_recovery_acked(&t->r, &t->cc, &s);

	check(t);
	return act;
}

static struct apus_cc_sample nothing(uint32_t una, uint32_t nxt)
{
	return (struct apus_cc_sample){
		.una = una,
		.nxt = nxt,
		.flight_bytes = nxt - una,
		.prior_flight_bytes = nxt - una,
		.rtt_ns = -1,
	};
}

static enum apus_recovery_act duplicate(struct sender *t, uint32_t una, uint32_t nxt)
{
	struct apus_cc_sample s = nothing(una, nxt);

	return apus_recovery_duplicate(&t->r, &t->cc, &s);
}

static void timeout(struct sender *t, uint32_t una, uint32_t nxt)
{
	struct apus_cc_sample s = nothing(una, nxt);

	apus_recovery_timeout(&t->r, &t->cc, &s);
}

/* `n` duplicate ACKs. Return: what the last one asks for; the others must ask for nothing. */
static enum apus_recovery_act duplicates(struct sender *t, uint32_t una, uint32_t nxt, uint32_t n)
{
	enum apus_recovery_act act = APUS_RECOVERY_NOTHING;

	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(act, APUS_RECOVERY_NOTHING);
		act = duplicate(t, una, nxt);
		check(t);
	}
	return act;
}

/* ---- growth ---- */

static void new_connection_may_send_ten_segments(void **state)
{
	struct sender t = fresh();

	assert_int_equal(window(&t), 10 * MSS);
	assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
}

static void lost_handshake_may_send_one(void **state)
{
	struct sender t = fresh();

	apus_cc_handshake_lost(&t.cc);
	assert_int_equal(window(&t), MSS);
}

static void slow_start_adds_what_was_acknowledged(void **state)
{
	struct sender t = fresh();

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	assert_int_equal(acked(&t, UNA + 2 * MSS, 2 * MSS, 8 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
	assert_int_equal(acked(&t, UNA + 10 * MSS, 8 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 20 * MSS); /* doubled in one round trip */
}

/* ACK division (RFC 3465): a thousand ACKs for a byte each gain what one for all does. */
static void divided_acks_gain_nothing(void **state)
{
	struct sender t = fresh();

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	for (uint32_t i = 1; i <= MSS; i++)
		assert_int_equal(acked(&t, UNA + i, 1, 10 * MSS - i), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
}

static void slow_start_ends_at_ssthresh_and_the_rest_counts(void **state)
{
	struct sender t = fresh();

	t.cc.ssthresh_bytes = 12 * MSS;
	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	assert_int_equal(acked(&t, UNA + 5 * MSS, 5 * MSS, 5 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
	assert_int_equal(t.cc.kept[0], 3 * MSS);
}

static void avoidance_adds_one_segment_per_window(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t una = UNA;

	apus_cc_sent(&t.cc, una, una + 10 * MSS, true);
	for (int i = 0; i < 9; i++)
		assert_int_equal(acked(&t, una += MSS, MSS, 9 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	assert_int_equal(acked(&t, una += MSS, MSS, 9 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
	for (int i = 0; i < 10; i++)
		assert_int_equal(acked(&t, una += MSS, MSS, 9 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
	assert_int_equal(acked(&t, una += MSS, MSS, 9 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS);
}

static void giant_ack_in_avoidance_adds_one_segment_only(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	for (int i = 0; i < 5; i++) {
		uint32_t before = t.cc.cwnd_bytes;

		assert_int_equal(acked(&t, UNA + 1, 1U << 30, 0), APUS_RECOVERY_NOTHING);
		assert_true(t.cc.cwnd_bytes <= before + MSS);
	}
}

static void unused_window_does_not_grow(void **state)
{
	struct sender t = fresh();

	/* Slow start: below half in use, no growth; above, growth without being held back. */
	apus_cc_sent(&t.cc, UNA, UNA + 5 * MSS, false);
	assert_int_equal(acked(&t, UNA + 5 * MSS, 5 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	apus_cc_sent(&t.cc, UNA + 5 * MSS, UNA + 11 * MSS, false);
	assert_int_equal(acked(&t, UNA + 11 * MSS, 6 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 16 * MSS);

	/* Avoidance: only when it held data back. */
	t = avoiding(10 * MSS);
	apus_cc_sent(&t.cc, UNA, UNA + 9 * MSS, false);
	assert_int_equal(acked(&t, UNA + 9 * MSS, 9 * MSS, 0), APUS_RECOVERY_NOTHING);
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
	assert_int_equal(acked(&t, UNA + 10 * MSS, 2 * MSS, 0), APUS_RECOVERY_NOTHING);
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
	assert_int_equal(acked(&t, UNA + 8 * MSS, 8 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.kept[0], 0);
}

static void window_has_a_ceiling(void **state)
{
	struct sender t = fresh();
	uint32_t una = UNA;

	for (int i = 0; i < 100; i++) {
		apus_cc_sent(&t.cc, una, una + t.cc.cwnd_bytes, true);
		una += t.cc.cwnd_bytes;
		assert_int_equal(acked(&t, una, t.cc.cwnd_bytes, 0), APUS_RECOVERY_NOTHING);
	}
	assert_int_equal(t.cc.cwnd_bytes, APUS_CC_CWND_MAX);
}

/* ---- fast retransmit and recovery ---- */

static void two_duplicates_lend_a_segment_each(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t nxt = UNA + 10 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 1), APUS_RECOVERY_NOTHING);
	assert_int_equal(window(&t), 11 * MSS);
	assert_int_equal(duplicates(&t, UNA, nxt + MSS, 1), APUS_RECOVERY_NOTHING);
	assert_int_equal(window(&t), 12 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS); /* RFC 3042: cwnd itself does not change */
	assert_int_equal(acked(&t, UNA + MSS, MSS, 11 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(window(&t), 10 * MSS);
}

static void third_duplicate_retransmits_and_halves(void **state)
{
	struct sender t = avoiding(10 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	assert_int_equal(t.cc.cwnd_bytes, 8 * MSS); /* ssthresh + 3 */
}

static void interrupted_duplicates_start_anew(void **state)
{
	struct sender t = avoiding(10 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 2), APUS_RECOVERY_NOTHING);
	assert_int_equal(acked(&t, UNA + 1, 1, 10 * MSS - 1), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, UNA + 1, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
}

/* RFC 5681 §3.2 (2): not in FlightSize what limited transmit sent. */
static void limited_transmit_does_not_count_as_flight(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t nxt = UNA + 10 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 1), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, UNA, nxt + MSS, 1), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, UNA, nxt + 2 * MSS, 1), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	assert_int_equal(t.r.recover, nxt + 2 * MSS);
}

static void ssthresh_is_at_least_two_segments(void **state)
{
	struct sender t = avoiding(4 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 3 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(t.cc.ssthresh_bytes, 2 * MSS);
	t = avoiding(4 * MSS);
	timeout(&t, UNA, UNA + MSS);
	assert_int_equal(t.cc.ssthresh_bytes, 2 * MSS);
}

static void more_duplicates_inflate_and_full_ack_deflates(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t nxt = UNA + 10 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(duplicates(&t, UNA, nxt, 6), APUS_RECOVERY_NOTHING);
	assert_int_equal(window(&t), 14 * MSS);
	/* Four new ones went out meanwhile: ack at nxt leaves 4 in flight. */
	assert_int_equal(acked(&t, nxt, 10 * MSS, 4 * MSS), APUS_RECOVERY_NOTHING);
	assert_false(t.r.in_recovery);
	assert_int_equal(t.cc.cwnd_bytes, 5 * MSS); /* min(ssthresh, flight + 1) */
}

static void full_ack_with_little_in_flight_avoids_a_burst(void **state)
{
	struct sender t = avoiding(20 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 20 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, UNA + 20 * MSS, 20 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 2 * MSS); /* max(flight, 1) + 1, not ssthresh = 10 */
}

/* Losses 0, 3 and 6 of ten, by hand. */
static void each_partial_ack_retransmits_the_next_hole(void **state)
{
	struct sender t = avoiding(10 * MSS);
	uint32_t nxt = UNA + 10 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(duplicates(&t, UNA, nxt, 4), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 12 * MSS); /* 5 + 7 */
	assert_int_equal(acked(&t, UNA + 3 * MSS, 3 * MSS, 9 * MSS),
			 APUS_RECOVERY_RETRANSMIT_AND_ARM);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS); /* - 3 + 1 */
	assert_int_equal(acked(&t, UNA + 6 * MSS, 3 * MSS, 6 * MSS), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(t.cc.cwnd_bytes, 8 * MSS);
	assert_true(t.r.in_recovery);
	assert_int_equal(acked(&t, nxt, 4 * MSS, 2 * MSS), APUS_RECOVERY_NOTHING);
	assert_false(t.r.in_recovery);
	assert_int_equal(t.cc.cwnd_bytes, 3 * MSS);
}

static void partial_ack_of_less_than_a_segment_adds_none_back(void **state)
{
	struct sender t = avoiding(10 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, UNA + 10, 10, 10 * MSS - 10), APUS_RECOVERY_RETRANSMIT_AND_ARM);
	assert_int_equal(t.cc.cwnd_bytes, 8 * MSS - 10);
}

static void partial_ack_larger_than_the_window_leaves_one_segment(void **state)
{
	struct sender t = avoiding(10 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, UNA + 9 * MSS, 9 * MSS, MSS), APUS_RECOVERY_RETRANSMIT_AND_ARM);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
}

static void no_growth_within_recovery(void **state)
{
	struct sender t = avoiding(10 * MSS);

	apus_cc_sent(&t.cc, UNA, UNA + 10 * MSS, true);
	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, UNA + MSS, MSS, 9 * MSS), APUS_RECOVERY_RETRANSMIT_AND_ARM);
	assert_int_equal(t.cc.kept[0], 0);
	assert_int_equal(t.cc.cwnd_bytes, 8 * MSS);
}

/* RFC 6582 §3.2 (2): duplicates made by what recovery sent twice are no second loss. */
static void duplicates_at_the_recovery_point_do_not_retransmit_again(void **state)
{
	struct sender t = avoiding(20 * MSS);
	uint32_t nxt = UNA + 20 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, nxt, 20 * MSS, 10 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, nxt, nxt + 10 * MSS, 3), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, nxt, nxt + 10 * MSS, 20), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.ssthresh_bytes, 10 * MSS);
	/* Beyond it, they are. */
	assert_int_equal(acked(&t, nxt + MSS, MSS, 9 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, nxt + MSS, nxt + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
}

/* RFC 6582 §4.1: the last ACK moved by at most four segments, so they do mean a loss. */
static void duplicates_at_the_recovery_point_after_a_small_step_retransmit(void **state)
{
	struct sender t = avoiding(20 * MSS);
	uint32_t nxt = UNA + 20 * MSS;

	assert_int_equal(duplicates(&t, UNA, nxt, 3), APUS_RECOVERY_RETRANSMIT);
	assert_int_equal(acked(&t, nxt - 4 * MSS, 16 * MSS, 4 * MSS),
			 APUS_RECOVERY_RETRANSMIT_AND_ARM);
	assert_int_equal(acked(&t, nxt, 4 * MSS, 10 * MSS), APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, nxt, nxt + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
}

/* A stale recovery point would seem to lie ahead once 2 GiB have gone by. */
static void old_recovery_point_is_forgotten_before_the_wrap(void **state)
{
	struct sender t = avoiding(20 * MSS);
	uint32_t una = UNA + 20 * MSS;

	assert_int_equal(duplicates(&t, UNA, una, 3), APUS_RECOVERY_RETRANSMIT);
	for (int i = 0; i < 5; i++)
		assert_int_equal(acked(&t, una += 0x20000000, 0x20000000, 10 * MSS),
				 APUS_RECOVERY_NOTHING);
	assert_int_equal(duplicates(&t, una, una + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
}

/* ---- timeout ---- */

static void timeout_leaves_one_segment_and_half_as_threshold(void **state)
{
	struct sender t = avoiding(10 * MSS);

	timeout(&t, UNA, UNA + 10 * MSS);
	check(&t);
	assert_int_equal(window(&t), MSS);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
}

static void second_timeout_of_a_segment_keeps_the_threshold(void **state)
{
	struct sender t = avoiding(20 * MSS);

	timeout(&t, UNA, UNA + 20 * MSS);
	timeout(&t, UNA, UNA + MSS); /* SND.NXT was pulled back */
	assert_int_equal(t.cc.ssthresh_bytes, 10 * MSS);
	assert_int_equal(t.r.recover, UNA + 20 * MSS); /* the highest that was sent */

	assert_int_equal(acked(&t, UNA + MSS, MSS, 0), APUS_RECOVERY_NOTHING);
	timeout(&t, UNA + MSS, UNA + 5 * MSS); /* another segment's first */
	assert_int_equal(t.cc.ssthresh_bytes, 2 * MSS);
}

static void timeout_in_recovery_ends_it(void **state)
{
	struct sender t = avoiding(10 * MSS);

	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 3), APUS_RECOVERY_RETRANSMIT);
	timeout(&t, UNA, UNA + 10 * MSS);
	check(&t);
	assert_false(t.r.in_recovery);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
	/* And duplicates of what is sent again do not start a new one. */
	assert_int_equal(duplicates(&t, UNA, UNA + 10 * MSS, 5), APUS_RECOVERY_NOTHING);
}

/* An ACK that covers what the receiver had all along must not open the window by all of it. */
static void after_a_timeout_each_ack_adds_one_segment_at_most(void **state)
{
	struct sender t = avoiding(40 * MSS);

	timeout(&t, UNA, UNA + 40 * MSS);
	apus_cc_sent(&t.cc, UNA, UNA + MSS, true);
	assert_int_equal(acked(&t, UNA + 30 * MSS, 30 * MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 2 * MSS);
}

static void after_a_timeout_slow_start_goes_up_to_the_threshold(void **state)
{
	struct sender t = avoiding(8 * MSS);
	uint32_t una = UNA;

	timeout(&t, una, una + 8 * MSS);
	for (uint32_t expected = 2; expected <= 4; expected++) {
		apus_cc_sent(&t.cc, una, una + t.cc.cwnd_bytes, true);
		assert_int_equal(acked(&t, una += MSS, MSS, 0), APUS_RECOVERY_NOTHING);
		assert_int_equal(t.cc.cwnd_bytes, expected * MSS);
	}
	apus_cc_sent(&t.cc, una, una + t.cc.cwnd_bytes, true);
	assert_int_equal(acked(&t, una += MSS, MSS, 0), APUS_RECOVERY_NOTHING);
	assert_int_equal(t.cc.cwnd_bytes, 4 * MSS); /* avoidance from here */
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

	timeout(&t, UNA, UNA + MSS);
	apus_cc_set_mss(&t.cc, 9000);
	check(&t);
	assert_int_equal(t.cc.cwnd_bytes, 9000);
}

/* ---- anything ---- */

static void random_step(struct sender *t, uint64_t *random, uint32_t *una, uint32_t *nxt)
{
	uint32_t flight = *nxt - *una, bytes;

	switch (test_random_below(random, 8)) {
	case 0:
	case 1:
	case 2:
		bytes = window(t) > flight ? window(t) - flight : 0;
		bytes = (uint32_t)test_random_below(random, apus_min(bytes, 100000U) + 1);
		*nxt += bytes;
		apus_cc_sent(&t->cc, *una, *nxt, test_random_below(random, 2));
		break;
	case 3:
	case 4:
		bytes = (uint32_t)test_random_below(random, flight + 1);
		*una += bytes;
		if (bytes)
			(void)!acked(t, *una, bytes, *nxt - *una);
		break;
	case 5:
	case 6:
		if (flight)
			(void)!duplicate(t, *una, *nxt);
		break;
	default:
		if (test_random_below(random, 10) == 0 && flight)
			timeout(t, *una, *nxt);
		else if (test_random_below(random, 10) == 0)
			apus_cc_set_mss(&t->cc, 48 + (uint32_t)test_random_below(random, 9000));
		break;
	}
	check(t);
}

static void invariants_hold_in_any_order_of_events(void **state)
{
	test_each_seed(seed, 300)
	{
		uint64_t random = seed;
		struct sender t = fresh();
		uint32_t una = UNA, nxt = UNA;

		for (int i = 0; i < 1000; i++)
			random_step(&t, &random, &una, &nxt);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
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
		cmocka_unit_test(two_duplicates_lend_a_segment_each),
		cmocka_unit_test(third_duplicate_retransmits_and_halves),
		cmocka_unit_test(interrupted_duplicates_start_anew),
		cmocka_unit_test(limited_transmit_does_not_count_as_flight),
		cmocka_unit_test(ssthresh_is_at_least_two_segments),
		cmocka_unit_test(more_duplicates_inflate_and_full_ack_deflates),
		cmocka_unit_test(full_ack_with_little_in_flight_avoids_a_burst),
		cmocka_unit_test(each_partial_ack_retransmits_the_next_hole),
		cmocka_unit_test(partial_ack_of_less_than_a_segment_adds_none_back),
		cmocka_unit_test(partial_ack_larger_than_the_window_leaves_one_segment),
		cmocka_unit_test(no_growth_within_recovery),
		cmocka_unit_test(duplicates_at_the_recovery_point_do_not_retransmit_again),
		cmocka_unit_test(duplicates_at_the_recovery_point_after_a_small_step_retransmit),
		cmocka_unit_test(old_recovery_point_is_forgotten_before_the_wrap),
		cmocka_unit_test(timeout_leaves_one_segment_and_half_as_threshold),
		cmocka_unit_test(second_timeout_of_a_segment_keeps_the_threshold),
		cmocka_unit_test(timeout_in_recovery_ends_it),
		cmocka_unit_test(after_a_timeout_each_ack_adds_one_segment_at_most),
		cmocka_unit_test(after_a_timeout_slow_start_goes_up_to_the_threshold),
		cmocka_unit_test(idle_window_falls_back_to_the_initial_one),
		cmocka_unit_test(larger_mss_raises_the_least_windows),
		cmocka_unit_test(invariants_hold_in_any_order_of_events),
	};

	return test_main(argc, argv, tests);
}
