/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_recovery.c: loss recovery against ACKs made by hand: what is marked lost, when,
 * what the window is then, and what is taken back; then random ACKs, honest and hostile.
 */
#include "tests/net/tcp/recovery_test.h"

/* ---- with SACK: RFC 8985 ---- */

static void third_sacked_segment_makes_the_first_lost(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(1, 2);
	assert_int_equal(t.r.state, APUS_RECOVERY_DISORDER);
	sack(1, 3);
	assert_int_equal(lost_segments(), 0);
	sack(1, 4);
	assert_int_equal(t.r.state, APUS_RECOVERY_FAST);
	assert_int_equal(lost_segments(), 1);
	assert_true(is_lost(0));
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	assert_int_equal(resend(), 1);
	finish();
}

static void one_sacked_segment_makes_it_lost_a_quarter_rtt_later(void **state)
{
	begin(true, 10);
	send_new(2);
	wait_ns(RTT_NS);
	sack(1, 2);
	assert_int_equal(lost_segments(), 0);
	assert_int_equal(t.r.reorder_at_ns, t.now_ns + RTT_NS / 4 + APUS_RACK_TIMER_NS);
	wait_ns(RTT_NS / 4 + APUS_RACK_TIMER_NS);
	t.events |= apus_recovery_reorder_timeout(&t.r, &t.cc, &t.rtt, t.nxt, t.now_ns);
	assert_int_equal(t.r.state, APUS_RECOVERY_FAST);
	assert_true(is_lost(0));
	assert_true(t.events & APUS_RECOVERY_BEGAN);
	finish();
}

static void many_losses_in_one_window_are_found_by_one_ack(void **state)
{
	struct apus_segment_sack blocks[3];

	begin(true, 20);
	send_new(20);
	wait_ns(RTT_NS);
	blocks[0] = (struct apus_segment_sack){seq(15), seq(20)};
	blocks[1] = (struct apus_segment_sack){seq(10), seq(13)};
	blocks[2] = (struct apus_segment_sack){seq(3), seq(5)};
	take((struct apus_recovery_ack){.una = seq(0), .sack = blocks, .sack_count = 3});
	assert_int_equal(lost_segments(), 10);
	assert_false(is_lost(10));
	assert_true(is_lost(14));
	assert_false(t.events & APUS_RECOVERY_SAW_REORDERING);
	finish();
}

/* RFC 6937: over the recovery as much is sent as ssthresh/RecoverFS of what is delivered. */
static void window_shrinks_in_proportion_to_what_is_delivered(void **state)
{
	uint32_t sent = 0;

	begin(true, 20);
	send_new(20);
	wait_ns(RTT_NS);
	for (uint32_t i = 2; i <= 20; i++) {
		sack(1, i);
		sent += resend();
		while (!apus_flight_next_lost(&t.r.flight) &&
		       apus_recovery_pipe(&t.r) + MSS <= t.cc.cwnd_bytes && i >= 4) {
			send_new(1);
			sent++;
		}
	}
	/* 17 delivered since the third, half of them: 9, rounded up. */
	assert_in_range(sent, 8, 10);
	assert_int_equal(t.cc.ssthresh_bytes, 10 * MSS);
	finish();
}

static void recovery_ends_with_the_window_at_ssthresh(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(1, 10);
	(void)resend();
	wait_ns(RTT_NS);
	ack(10);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_int_equal(t.cc.cwnd_bytes, 5 * MSS);
	assert_true(t.events & APUS_RECOVERY_ENDED);
	finish();
}

static void what_was_sent_again_and_lost_again_is_found_by_time(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(1, 5);
	assert_int_equal(resend(), 1);
	wait_ns(APUS_MS);
	send_new(1); /* after it, in time */
	wait_ns(RTT_NS);
	sack(1, 10);
	assert_int_equal(pipe_segments(), 2);
	sack(1, 11);
	assert_true(t.events & APUS_RECOVERY_LOST_AGAIN);
	assert_int_equal(pipe_segments(), 0);
	finish();
}

static void reordering_widens_the_threshold_and_then_costs_nothing(void **state)
{
	begin(true, 20);
	send_new(10);
	wait_ns(RTT_NS);
	sack(6, 7);
	ack_with(0, 5, 7);
	assert_true(t.events & APUS_RECOVERY_SAW_REORDERING);
	sack(4, 7);
	sack(3, 7);
	sack(2, 7);
	assert_int_equal(t.r.state, APUS_RECOVERY_DISORDER); /* though five are SACKed */
	ack(10);
	assert_true(t.r.reordering >= 5);
	send_new(10);
	wait_ns(RTT_NS);
	sack(11, 14);
	assert_int_equal(t.r.state, APUS_RECOVERY_DISORDER);
	ack(20);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_false(t.events & APUS_RECOVERY_BEGAN);
	finish();
}

/* ---- tail loss probes ---- */

static void probe_that_repaired_a_loss_costs_a_reduction(void **state)
{
	begin(true, 10);
	send_new(4);
	wait_ns(RTT_NS);
	ack(3);
	wait_ns(2 * RTT_NS);
	assert_true(apus_recovery_may_probe(&t.r, true));
	apus_recovery_resent(&t.r, apus_flight_at(&t.r.flight, t.r.flight.tail - 1), t.now_ns);
	apus_recovery_probed(&t.r, t.nxt, true);
	assert_false(apus_recovery_may_probe(&t.r, true));
	wait_ns(RTT_NS);
	ack(4);
	send_new(1);
	wait_ns(RTT_NS);
	ack(5);
	assert_true(t.events & APUS_RECOVERY_PROBE_REPAIRED);
	assert_true(t.cc.cwnd_bytes < 10 * MSS);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	finish();
}

static void probe_that_came_twice_costs_nothing(void **state)
{
	begin(true, 10);
	send_new(4);
	wait_ns(RTT_NS);
	ack(3);
	wait_ns(2 * RTT_NS);
	apus_recovery_resent(&t.r, apus_flight_at(&t.r.flight, t.r.flight.tail - 1), t.now_ns);
	apus_recovery_probed(&t.r, t.nxt, true);
	ack(4);
	wait_ns(RTT_NS);
	ack_with(4, 3, 4);
	send_new(1);
	wait_ns(RTT_NS);
	ack(5);
	assert_false(t.events & APUS_RECOVERY_PROBE_REPAIRED);
	assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
	finish();
}

/* ---- without SACK: RFC 5681, RFC 6582 ---- */

static void third_duplicate_makes_the_first_lost(void **state)
{
	begin(false, 10);
	send_new(10);
	wait_ns(RTT_NS);
	ack(0);
	ack(0);
	assert_int_equal(pipe_segments(), 8); /* RFC 3042: two more may go */
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	assert_int_equal(lost_segments(), 0);
	ack(0);
	assert_int_equal(t.r.state, APUS_RECOVERY_FAST);
	assert_true(is_lost(0));
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	assert_int_equal(resend(), 1);
	finish();
}

static void each_partial_ack_sends_the_next_hole(void **state)
{
	begin(false, 10);
	send_new(10);
	wait_ns(RTT_NS);
	for (int i = 0; i < 7; i++)
		ack(0);
	assert_int_equal(resend(), 1);
	for (uint32_t hole = 3; hole <= 6; hole += 3) {
		wait_ns(RTT_NS);
		ack(hole);
		assert_true(is_lost(hole));
		assert_int_equal(resend(), 1);
	}
	ack(10);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_int_equal(t.cc.cwnd_bytes, 5 * MSS);
	finish();
}

static void duplicates_at_the_recovery_point_mean_nothing(void **state)
{
	begin(false, 10);
	send_new(10);
	wait_ns(RTT_NS);
	for (int i = 0; i < 5; i++)
		ack(0);
	(void)resend();
	wait_ns(RTT_NS);
	ack(10);
	send_new(5);
	for (int i = 0; i < 5; i++)
		ack(10);
	assert_int_equal(lost_segments(), 0);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	ack(11); /* beyond it they mean what they say */
	for (int i = 0; i < 3; i++)
		ack(11);
	assert_true(is_lost(11));
	finish();
}

/* A peer that sends duplicates without end cannot make us think that nothing is in flight. */
static void endless_duplicates_leave_a_hole(void **state)
{
	begin(false, 10);
	send_new(5);
	for (int i = 0; i < 1000; i++)
		ack(0);
	assert_true(t.r.flight.emulated_bytes <= 4 * MSS);
	ack(5);
	assert_int_equal(pipe_segments(), 0);
	finish();
}

/* ---- timeouts ---- */

static void timeout_loses_all_and_lets_one_go(void **state)
{
	begin(false, 10);
	send_new(10);
	wait_ns(300 * APUS_MS);
	timeout(false);
	assert_int_equal(lost_segments(), 10);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	assert_int_equal(resend(), 1);
	timeout(true);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS); /* a second time leaves it */
	finish();
}

static void timeout_keeps_what_was_sacked(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(8, 10);
	wait_ns(300 * APUS_MS);
	timeout(false);
	assert_int_equal(lost_segments(), 8);
	assert_int_equal(t.r.flight.sacked_bytes, 2 * MSS);
	finish();
}

/* RFC 2018 §8: the peer may drop what it has SACKed. */
static void peer_that_reneged_gets_it_all_again(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(1, 10);
	(void)resend();
	wait_ns(RTT_NS);
	ack(1); /* and not 10: it does not have them */
	assert_true(t.r.reorder_at_ns <= t.now_ns + RTT_NS);
	t.now_ns = t.r.reorder_at_ns;
	assert_int_equal(apus_recovery_reorder_timeout(&t.r, &t.cc, &t.rtt, t.nxt, t.now_ns),
			 APUS_RECOVERY_RENEGED);
	timeout(false);
	assert_true(t.events & APUS_RECOVERY_RENEGED);
	assert_int_equal(t.r.flight.sacked_bytes, 0);
	assert_int_equal(lost_segments(), 9);
	assert_int_equal(resend(), 1);
	finish();
}

/* ---- what was no loss ---- */

/* RFC 5682 §3.1: after the timeout an ACK of what was sent once, and the new text is SACKed or acknowledged. */
static void spurious_timeout_is_undone_by_frto(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(400 * APUS_MS);
	timeout(false);
	assert_int_equal(resend(), 1);
	t.has_more = true;
	ack(1); /* perhaps the first, perhaps the second sending */
	assert_true(t.r.holds_back);
	assert_int_equal(resend(), 0);
	send_new(2);
	ack(3); /* 1 and 2 were sent once */
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_true(t.events & APUS_RECOVERY_UNDID_LOSS);
	assert_int_equal(lost_segments(), 0);
	assert_true(t.cc.cwnd_bytes >= 10 * MSS);
	assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
	finish();
}

static void real_timeout_is_not_undone(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(400 * APUS_MS);
	timeout(false);
	(void)resend();
	t.has_more = true;
	wait_ns(RTT_NS);
	ack(1);
	send_new(2);
	wait_ns(RTT_NS);
	sack(10, 12); /* (3.a): the new text came, the old did not */
	assert_int_equal(t.r.state, APUS_RECOVERY_LOSS);
	assert_false(t.r.is_frto);
	assert_true(resend() > 0);
	assert_false(t.events & APUS_RECOVERY_UNDID_LOSS);
	finish();
}

/* RFC 3522: the timestamp echoes the first sending. */
static void spurious_timeout_is_undone_by_the_timestamp(void **state)
{
	int64_t sent_ns;

	begin(true, 10);
	sent_ns = t.now_ns;
	send_new(10);
	wait_ns(400 * APUS_MS);
	timeout(false);
	(void)resend();
	wait_ns(10 * APUS_MS);
	ack_echoing(1, sent_ns);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_true(t.events & APUS_RECOVERY_UNDID_LOSS);
	assert_int_equal(lost_segments(), 0);
	assert_true(t.cc.cwnd_bytes >= 10 * MSS);
	finish();
}

static void timestamp_of_the_second_sending_undoes_nothing(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(400 * APUS_MS);
	timeout(false);
	(void)resend();
	wait_ns(RTT_NS);
	ack_echoing(1, t.now_ns - RTT_NS);
	assert_int_equal(t.r.state, APUS_RECOVERY_LOSS);
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	finish();
}

/* RFC 3708 §2: all that was sent again came twice. */
static void spurious_recovery_is_undone_by_dsack(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(1, 5);
	assert_int_equal(resend(), 1);
	ack(9); /* it was only late */
	ack_with(9, 0, 1);
	assert_true(t.events & APUS_RECOVERY_UNDID_FAST);
	assert_true(t.cc.cwnd_bytes >= 10 * MSS);
	assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
	finish();
}

static void dsack_of_what_was_never_sent_again_undoes_nothing(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	sack(5, 10);
	assert_true(resend() > 0);
	ack_with(0, 5, 9);
	assert_false(t.events & APUS_RECOVERY_UNDID_FAST);
	assert_int_equal(t.r.state, APUS_RECOVERY_FAST);
	finish();
}

/* ---- ECN, segment size ---- */

static void echo_of_congestion_reduces_once_per_window(void **state)
{
	begin(true, 10);
	send_new(10);
	wait_ns(RTT_NS);
	assert_true(apus_recovery_ecn(&t.r, &t.cc, &t.rtt, t.nxt, t.now_ns));
	assert_false(apus_recovery_ecn(&t.r, &t.cc, &t.rtt, t.nxt, t.now_ns));
	assert_int_equal(t.cc.ssthresh_bytes, 5 * MSS);
	for (uint32_t i = 1; i <= 10; i++) {
		ack(i);
		if (apus_recovery_pipe(&t.r) + MSS <= t.cc.cwnd_bytes)
			send_new(1);
	}
	ack(11);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	assert_int_equal(t.cc.cwnd_bytes, 5 * MSS);
	finish();
}

static void smaller_segments_are_sent_again_without_congestion(void **state)
{
	begin(true, 10);
	send_new(4);
	apus_cc_set_mss(&t.cc, 300);
	apus_recovery_resegment(&t.r, 300);
	assert_int_equal(apus_flight_count(&t.r.flight), 16);
	assert_int_equal(pipe_segments(), 0);
	assert_int_equal(resend(), 16);
	assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	ack(4);
	assert_int_equal(t.r.state, APUS_RECOVERY_OPEN);
	finish();
}

/* ---- anything ---- */

static void random_ack(uint64_t *random)
{
	struct apus_segment_sack blocks[APUS_SEGMENT_SACK_MAX];
	uint32_t flight = t.nxt - t.una, count = (uint32_t)test_random_below(random, 5);
	uint32_t moved =
		test_random_below(random, 2) ? (uint32_t)test_random_below(random, flight + 1) : 0;

	if (moved && test_random_below(random, 2))
		moved -= moved % MSS;
	for (uint32_t i = 0; i < count; i++) {
		bool wild = test_random_below(random, 20) == 0;
		uint32_t start = t.una + (uint32_t)test_random_below(random, flight + 1);

		start = wild ? (uint32_t)test_random(random) : start - (start - t.base) % MSS;
		blocks[i].start = start;
		blocks[i].end = start + (uint32_t)test_random_below(random, 5) * MSS;
	}
	take((struct apus_recovery_ack){.una = t.una + moved,
					.sack = blocks,
					.sack_count = t.has_sack ? (uint8_t)count : 0,
					.is_duplicate = !moved,
					.has_echo = test_random_below(random, 2),
					.echo_ns = t.now_ns -
						   (int64_t)test_random_below(random, APUS_SEC)});
}

static void random_step(uint64_t *random)
{
	wait_ns((int64_t)test_random_below(random, 20 * APUS_MS));
	t.has_more = test_random_below(random, 2);
	switch (test_random_below(random, 8)) {
	case 0:
	case 1:
	case 2:
		while (apus_recovery_pipe(&t.r) + MSS <= t.cc.cwnd_bytes &&
		       t.nxt - t.una < 200 * MSS && test_random_below(random, 10))
			send_new(1);
		break;
	case 3:
	case 4:
	case 5:
		if (t.nxt != t.una)
			random_ack(random);
		break;
	case 6:
		(void)resend();
		break;
	default:
		if (t.nxt == t.una)
			break;
		if (!test_random_below(random, 10))
			timeout(test_random_below(random, 2));
		else if (t.has_sack && t.r.reorder_at_ns <= t.now_ns)
			(void)!apus_recovery_reorder_timeout(&t.r, &t.cc, &t.rtt, t.nxt, t.now_ns);
		break;
	}
	apus_recovery_check(&t.r);
	apus_cc_check(&t.cc);
}

static void invariants_hold_whatever_the_peer_says(void **state)
{
	test_each_seed(seed, 400)
	{
		uint64_t random = seed;

		begin(seed % 3, 10);
		for (int i = 0; i < 1000; i++)
			random_step(&random);
		finish();
	}
}

/* net/tcp/recovery_lone.c is only faster. */
static void lone_ack_does_what_any_does(void **state)
{
	static struct sender fast;
	uint64_t random = 7;

	for (int i = 0; i < 500; i++) {
		struct apus_recovery_ack a = {.has_sack = i % 2};

		if (i % 5 == 0)
			begin(true, 10);
		send_new(1);
		if (test_random_below(&random, 2))
			apus_rate_limited(&t.r.rate, MSS);
		wait_ns((int64_t)test_random_below(&random, 300 * APUS_MS));
		a.una = a.nxt = t.una = t.nxt;
		a.now_ns = t.now_ns;
		fast = t;
		fast.r.flight.records = fast.r.flight.inline_records;
		assert_true(apus_recovery_acked_lone(&fast.r, &fast.cc, &fast.rtt, &a));
		assert_int_equal(apus_recovery_acked_any(&t.r, &t.cc, &t.rtt, &a), 0);
		apus_recovery_check(&t.r);
		fast.r.flight.records = t.r.flight.records;       /* the one thing that differs, */
		for (uint32_t n = 0; n < APUS_FLIGHT_INLINE; n++) /* but for what is no more */
			fast.r.flight.inline_records[n] = t.r.flight.inline_records[n];
		assert_memory_equal(&fast, &t, sizeof(t));
		if (i % 5 == 4)
			finish();
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(third_sacked_segment_makes_the_first_lost),
		cmocka_unit_test(one_sacked_segment_makes_it_lost_a_quarter_rtt_later),
		cmocka_unit_test(many_losses_in_one_window_are_found_by_one_ack),
		cmocka_unit_test(window_shrinks_in_proportion_to_what_is_delivered),
		cmocka_unit_test(recovery_ends_with_the_window_at_ssthresh),
		cmocka_unit_test(what_was_sent_again_and_lost_again_is_found_by_time),
		cmocka_unit_test(reordering_widens_the_threshold_and_then_costs_nothing),
		cmocka_unit_test(probe_that_repaired_a_loss_costs_a_reduction),
		cmocka_unit_test(probe_that_came_twice_costs_nothing),
		cmocka_unit_test(third_duplicate_makes_the_first_lost),
		cmocka_unit_test(each_partial_ack_sends_the_next_hole),
		cmocka_unit_test(duplicates_at_the_recovery_point_mean_nothing),
		cmocka_unit_test(endless_duplicates_leave_a_hole),
		cmocka_unit_test(timeout_loses_all_and_lets_one_go),
		cmocka_unit_test(timeout_keeps_what_was_sacked),
		cmocka_unit_test(peer_that_reneged_gets_it_all_again),
		cmocka_unit_test(spurious_timeout_is_undone_by_frto),
		cmocka_unit_test(real_timeout_is_not_undone),
		cmocka_unit_test(spurious_timeout_is_undone_by_the_timestamp),
		cmocka_unit_test(timestamp_of_the_second_sending_undoes_nothing),
		cmocka_unit_test(spurious_recovery_is_undone_by_dsack),
		cmocka_unit_test(dsack_of_what_was_never_sent_again_undoes_nothing),
		cmocka_unit_test(echo_of_congestion_reduces_once_per_window),
		cmocka_unit_test(smaller_segments_are_sent_again_without_congestion),
		cmocka_unit_test(lone_ack_does_what_any_does),
		cmocka_unit_test(invariants_hold_whatever_the_peer_says),
	};

	return test_main(argc, argv, tests);
}
