/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_timers.c: one timer after the other (RFC 9293 §3.10.8), to the millisecond,
 * with a peer that answers only when the test wants it to.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/ip/icmp.h"

#define MSS 1460

static struct peer *p;
static uint32_t seq, una;
static uint8_t bytes[100000];

static int setup_bare(void **state)
{
	p = peer_open();
	return 0;
}

/* A connection that the peer opened with a round trip of nothing: the RTO is its least, 200 ms. */
static int setup(void **state)
{
	p = peer_open();
	peer_listen(p);
	peer_send_syn(p, p->irs);
	seq = p->irs + 1;
	una = peer_last(p)->seq + 1;
	peer_send_ack(p, seq, una);
	p->c = apus_tcp_listener_take(p->listener);
	apus_must(p->c);
	peer_forget(p);
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static void ack_with_window(uint32_t number, uint16_t wnd)
{
	struct apus_segment seg = peer_segment(seq, number);

	seg.has_ack = true;
	seg.wnd = wnd;
	peer_send(p, seg, 0);
}

/* Nothing is sent until a millisecond before @at_ns, and one segment by a millisecond after it. */
static void assert_next_at(int64_t at_ns)
{
	peer_forget(p);
	peer_wait(p, at_ns - APUS_MS - apus_clock_read(&p->clock));
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 2 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
}

/* ---- SYN ---- */

static void syn_is_sent_again_by_the_schedule_and_then_given_up(void **state)
{
	static const int spans[] = {1, 1, 1, 1, 1, 2, 4, 8, 16, 32};
	int64_t at_ns = 0;

	peer_is_called(p);
	assert_int_equal(APUS_TCP_SYN_RETRIES_LINEAR + APUS_TCP_SYN_RETRIES, apus_countof(spans));
	for (size_t i = 0; i < apus_countof(spans); i++) {
		int64_t span_ns = spans[i] * APUS_SEC;

		peer_forget(p);
		peer_wait(p, span_ns - APUS_MS);
		assert_int_equal(p->heard_count, 0);
		peer_wait(p, APUS_MS);
		assert_int_equal(p->heard_count, 1);
		assert_true(peer_last(p)->syn && !peer_last(p)->has_ack);
		assert_int_equal(peer_last(p)->seq, p->iss);
		at_ns += span_ns;
	}
	peer_wait(p, 64 * APUS_SEC - APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_SYN_SENT);
	peer_wait(p, APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_CLOSED);
	assert_int_equal(p->c->error, -ETIMEDOUT);
	assert_int_equal(at_ns / APUS_SEC, 67);
}

static void reset_in_syn_sent_refuses_at_once(void **state)
{
	struct apus_segment rst = {.rst = true, .has_ack = true, .wscale = -1};

	peer_is_called(p);
	rst.ack = p->iss + 1;
	peer_send(p, rst, 0);
	assert_int_equal(p->c->state, APUS_TCP_CLOSED);
	assert_int_equal(p->c->error, -ECONNREFUSED);
}

/* ---- retransmission ---- */

static void text_is_sent_again_after_the_rto_which_doubles(void **state)
{
	int64_t at_ns = apus_clock_read(&p->clock);

	peer_write(p, bytes, 100);
	for (int i = 0; i < 6; i++) {
		at_ns += 200 * APUS_MS << i;
		assert_next_at(at_ns);
		assert_int_equal(peer_last(p)->seq, una);
		assert_int_equal(peer_last(p)->text_bytes, 100);
	}
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_RTO), 6);
}

static void rto_is_two_minutes_at_most_and_the_fifteenth_is_the_last(void **state)
{
	int64_t began_ns = apus_clock_read(&p->clock), took_ns;

	peer_write(p, bytes, 100);
	while (p->c->state != APUS_TCP_CLOSED)
		peer_wait(p, 100 * APUS_MS);
	took_ns = apus_clock_read(&p->clock) - began_ns;
	/* 0.2 (2^10 - 1) = 204.6 s up to the cap, then 120 s each: RFC 9293 §3.8.3 asks for 100. */
	assert_in_range(took_ns / APUS_SEC, 204 + 6 * 120, 206 + 6 * 120);
	assert_int_equal(p->c->error, -ETIMEDOUT);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_RETRANSMITS), 15);
}

static void after_a_timeout_one_segment_goes_and_then_two(void **state)
{
	peer_write(p, bytes, 10 * MSS);
	assert_next_at(apus_clock_read(&p->clock) + 200 * APUS_MS);
	assert_int_equal(peer_last(p)->seq, una);
	peer_forget(p);
	una += MSS;
	peer_send_ack(p, seq, una);
	assert_int_equal(p->heard_count, 2);
	assert_int_equal(p->heard[0].seg.seq, una);
}

static void what_arrived_before_the_timeout_is_not_sent_again(void **state)
{
	peer_write(p, bytes, 10 * MSS);
	peer_wait(p, 201 * APUS_MS); /* only the first was lost */
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_RTO), 1);
	peer_forget(p);
	una += 10 * MSS;
	peer_send_ack(p, seq, una);
	peer_wait(p, 10 * APUS_SEC);
	assert_int_equal(p->heard_count, 0);
}

/* Karn: what was sent twice measures nothing. */
static void ack_of_what_was_sent_twice_is_no_sample(void **state)
{
	int64_t srtt_ns = apus_rtt_srtt_ns(&p->c->rtt);

	peer_write(p, bytes, 100);
	peer_wait(p, 500 * APUS_MS);
	una += 100;
	peer_send_ack(p, seq, una);
	assert_int_equal(apus_rtt_srtt_ns(&p->c->rtt), srtt_ns);
}

static void ack_of_what_was_sent_once_is_a_sample(void **state)
{
	peer_write(p, bytes, 100);
	peer_wait(p, 100 * APUS_MS);
	una += 100;
	peer_send_ack(p, seq, una);
	assert_true(apus_rtt_srtt_ns(&p->c->rtt) > 5 * APUS_MS);
}

static void ack_restarts_the_timer_for_what_is_left(void **state)
{
	peer_write(p, bytes, MSS);
	peer_write(p, bytes, MSS);
	peer_wait(p, 150 * APUS_MS);
	peer_forget(p);
	una += MSS;
	peer_send_ack(p, seq, una);
	peer_wait(p, 150 * APUS_MS);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, apus_rtt_rto_ns(&p->c->rtt) - 151 * APUS_MS);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 2 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una);
}

static void user_timeout_ends_it(void **state)
{
	p->c->user_timeout_ticks = apus_tcp_tick(5 * APUS_SEC);
	peer_write(p, bytes, 100);
	peer_wait(p, 4990 * APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	peer_wait(p, 20 * APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_CLOSED);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

/* ---- the closed window ---- */

static void closed_window_is_probed_after_one_rto_and_then_ever_later(void **state)
{
	int64_t at_ns = apus_clock_read(&p->clock);

	ack_with_window(una, 0);
	peer_write(p, bytes, 1000);
	assert_int_equal(p->heard_count, 0);
	for (int i = 0; i < 5; i++) {
		at_ns += 200 * APUS_MS << i;
		assert_next_at(at_ns);
		assert_int_equal(peer_last(p)->seq, una - 1);
		assert_int_equal(peer_last(p)->text_bytes, 0);
		assert_true(peer_last(p)->has_ack);
		ack_with_window(una, 0); /* an answer: it lives, but the wait is not shortened */
	}
}

static void closed_window_that_is_answered_for_never_ends_it(void **state)
{
	ack_with_window(una, 0);
	peer_write(p, bytes, 1000);
	for (int i = 0; i < 100; i++) {
		peer_forget(p);
		peer_wait(p, 130 * APUS_SEC);
		assert_true(p->heard_count > 0);
		ack_with_window(una, 0);
	}
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	ack_with_window(una, 5000);
	assert_int_equal(peer_last(p)->text_bytes, 1000);
}

/* RFC 6429: but not what the user gave up, which nobody could end but the peer. */
static void closed_window_ends_what_was_given_up_although_answered_for(void **state)
{
	struct apus_tcp *c = p->c;
	int64_t passed_s = 0;

	ack_with_window(una, 0);
	peer_write(p, bytes, 1000);
	p->c = NULL;
	apus_tcp_call_close(c, apus_clock_read(&p->clock));
	while (apus_tcp_layer_open(&p->stack->tcp) && passed_s++ < 3600) {
		peer_forget(p);
		peer_wait(p, APUS_SEC);
		if (p->heard_count && !peer_last(p)->rst)
			ack_with_window(una, 0);
	}
	assert_true(peer_last(p)->rst);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	assert_in_range(passed_s, 100, 600);
}

static void closed_window_that_nobody_answers_for_ends_it(void **state)
{
	ack_with_window(una, 0);
	peer_write(p, bytes, 1000);
	peer_wait(p, 3600 * APUS_SEC);
	assert_int_equal(p->c->state, APUS_TCP_CLOSED);
	assert_int_equal(p->c->error, -ETIMEDOUT);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ZERO_WINDOW_PROBES), 15);
}

static void window_that_closes_with_text_in_flight_is_probed_and_kills_nobody(void **state)
{
	peer_write(p, bytes, 5 * MSS);
	ack_with_window(una, 0); /* the peer drew it back */
	peer_wait(p, 10 * APUS_SEC);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_true(peer_counter(p, APUS_TCP_COUNT_ZERO_WINDOW_PROBES) > 0);
	peer_forget(p);
	ack_with_window(una, 60000);
	assert_true(p->heard_count > 0);
	assert_int_equal(p->heard[0].seg.seq, una); /* what was in flight goes again */
}

static void fin_waits_for_the_window_too(void **state)
{
	ack_with_window(una, 0);
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	assert_int_equal(p->heard_count, 0);
	ack_with_window(una, 100);
	assert_true(peer_last(p)->fin);
}

/* ---- keepalive ---- */

static void keepalive_is_off_by_default(void **state)
{
	peer_wait(p, 100000 * APUS_SEC);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
}

static void keep_alive(int64_t idle_ns, int64_t interval_ns, uint8_t probes)
{
	p->c->keepalive_ticks = apus_tcp_tick(idle_ns);
	p->c->keepalive_interval_ticks = apus_tcp_tick(interval_ns);
	p->c->keepalive_probes = probes;
	apus_tcp_start_idle(p->c, apus_clock_read(&p->clock));
	apus_tcp_mark(p->c);
	peer_turn(p);
}

static void keepalive_asks_a_silent_peer_and_then_resets(void **state)
{
	keep_alive(10 * APUS_SEC, APUS_SEC, 3);
	peer_wait(p, 9980 * APUS_MS);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 20 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una - 1);
	assert_int_equal(peer_last(p)->text_bytes, 0);
	peer_wait(p, 2 * APUS_SEC);
	assert_int_equal(p->heard_count, 3);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	peer_wait(p, APUS_SEC);
	assert_true(peer_last(p)->rst);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

static void keepalive_that_is_answered_starts_anew(void **state)
{
	keep_alive(10 * APUS_SEC, APUS_SEC, 3);
	for (int i = 0; i < 20; i++) {
		peer_wait(p, 10 * APUS_SEC);
		ack_with_window(una, PEER_WINDOW);
	}
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_in_range(peer_counter(p, APUS_TCP_COUNT_KEEPALIVE_PROBES), 18, 20);
}

/* Linux's tcp_keepalive_timer(): with a user timeout the number of probes does not matter. */
static void user_timeout_takes_the_place_of_the_number_of_probes(void **state)
{
	p->c->user_timeout_ticks = apus_tcp_tick(20 * APUS_SEC);
	keep_alive(10 * APUS_SEC, APUS_SEC, 3);
	peer_wait(p, 19500 * APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_KEEPALIVE_PROBES), 10);
	peer_wait(p, 2 * APUS_SEC);
	assert_true(peer_last(p)->rst);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

static void user_timeout_shorter_than_keepalive_still_asks_once(void **state)
{
	p->c->user_timeout_ticks = apus_tcp_tick(5 * APUS_SEC);
	keep_alive(10 * APUS_SEC, APUS_SEC, 9);
	peer_wait(p, 10500 * APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(p->heard_count, 1);
	peer_wait(p, APUS_SEC);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

/* While text waits for a window its probes ask, and nothing else does. */
static void keepalive_is_silent_while_the_window_is_probed(void **state)
{
	keep_alive(APUS_SEC, APUS_SEC, 3);
	ack_with_window(una, 0);
	peer_write(p, bytes, 1000);
	for (int i = 0; i < 60; i++) {
		peer_forget(p);
		peer_wait(p, APUS_SEC);
		if (p->heard_count)
			ack_with_window(una, 0);
	}
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_KEEPALIVE_PROBES), 0);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
}

static void keepalive_of_the_peer_is_answered_every_time(void **state)
{
	for (int i = 0; i < 5; i++) {
		peer_send_ack(p, seq - 1, una);
		assert_int_equal(p->heard_count, i + 1);
		assert_int_equal(peer_last(p)->ack, seq);
	}
}

/* ---- FIN-WAIT-2 ---- */

static void reach_fin_wait_2(void)
{
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	una++;
	peer_send_ack(p, seq, una);
	assert_int_equal(p->c->state, APUS_TCP_FIN_WAIT_2);
}

static void fin_wait_2_of_a_closed_connection_ends_after_a_minute(void **state)
{
	struct apus_tcp *c = p->c;

	reach_fin_wait_2();
	p->c = NULL;
	apus_tcp_call_close(c, apus_clock_read(&p->clock));
	peer_wait(p, 59 * APUS_SEC);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 1);
	peer_wait(p, 2 * APUS_SEC);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 0);
}

static void fin_wait_2_with_a_reader_does_not_end(void **state)
{
	reach_fin_wait_2();
	peer_wait(p, 3600 * APUS_SEC);
	assert_int_equal(p->c->state, APUS_TCP_FIN_WAIT_2);
	peer_send_text(p, seq, una, 10);
	assert_int_equal(apus_tcp_call_receive(p->c, bytes, sizeof(bytes)), 10);
}

/* ---- ICMP ---- */

static void hard_icmp_error_refuses_a_connection_attempt(void **state)
{
	peer_is_called(p);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_PORT, p->iss, 0);
	assert_int_equal(p->c->error, -ECONNREFUSED);
}

static void soft_icmp_error_is_told_when_the_attempt_times_out(void **state)
{
	peer_is_called(p);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_HOST, p->iss, 0);
	assert_int_equal(p->c->state, APUS_TCP_SYN_SENT);
	peer_wait(p, 200 * APUS_SEC);
	assert_int_equal(p->c->error, -EHOSTUNREACH);
}

static void hard_icmp_error_does_not_end_an_established_connection(void **state)
{
	peer_write(p, bytes, 100);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_PORT, una, 0);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ICMP_ERRORS), 1);
}

static void soft_icmp_error_is_told_when_the_connection_times_out(void **state)
{
	peer_write(p, bytes, 100);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_HOST, una, 0);
	peer_wait(p, 1200 * APUS_SEC);
	assert_int_equal(p->c->error, -EHOSTUNREACH);
}

static void soft_icmp_error_is_forgotten_when_the_way_is_back(void **state)
{
	peer_write(p, bytes, 100);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_HOST, una, 0);
	una += 100;
	peer_send_ack(p, seq, una);
	peer_write(p, bytes, 100);
	peer_wait(p, 1200 * APUS_SEC);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

static void icmp_error_about_what_is_not_in_flight_is_ignored(void **state)
{
	peer_write(p, bytes, 100);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, una - 1, 576);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, una + 100, 576);
	assert_int_equal(p->c->cc.mss, MSS);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ICMP_IGNORED), 2);
}

static void too_big_sends_again_in_smaller_segments(void **state)
{
	peer_write(p, bytes, 2 * MSS);
	peer_forget(p);
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, una, 1000);
	assert_int_equal(p->c->cc.mss, 960);
	assert_true(p->heard_count >= 3);
	assert_int_equal(p->heard[0].seg.seq, una);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_in_range(p->heard[i].seg.text_bytes, 1, 960);
}

static void too_big_never_goes_below_536_nor_up(void **state)
{
	static const struct {
		uint16_t mtu;
		uint32_t mss;
	} cases[] = {{9000, MSS}, {1500, MSS}, {1400, 1360}, {1450, 1360}, {68, 536}, {0, 536}};

	peer_write(p, bytes, MSS);
	for (size_t i = 0; i < apus_countof(cases); i++) {
		peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, una, cases[i].mtu);
		assert_int_equal(p->c->cc.mss, cases[i].mss);
	}
}

#define BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BARE(syn_is_sent_again_by_the_schedule_and_then_given_up),
		BARE(reset_in_syn_sent_refuses_at_once),
		TEST(text_is_sent_again_after_the_rto_which_doubles),
		TEST(rto_is_two_minutes_at_most_and_the_fifteenth_is_the_last),
		TEST(after_a_timeout_one_segment_goes_and_then_two),
		TEST(what_arrived_before_the_timeout_is_not_sent_again),
		TEST(ack_of_what_was_sent_twice_is_no_sample),
		TEST(ack_of_what_was_sent_once_is_a_sample),
		TEST(ack_restarts_the_timer_for_what_is_left),
		TEST(user_timeout_ends_it),
		TEST(closed_window_is_probed_after_one_rto_and_then_ever_later),
		TEST(closed_window_that_is_answered_for_never_ends_it),
		TEST(closed_window_ends_what_was_given_up_although_answered_for),
		TEST(closed_window_that_nobody_answers_for_ends_it),
		TEST(window_that_closes_with_text_in_flight_is_probed_and_kills_nobody),
		TEST(fin_waits_for_the_window_too),
		TEST(keepalive_is_off_by_default),
		TEST(keepalive_asks_a_silent_peer_and_then_resets),
		TEST(keepalive_that_is_answered_starts_anew),
		TEST(user_timeout_takes_the_place_of_the_number_of_probes),
		TEST(user_timeout_shorter_than_keepalive_still_asks_once),
		TEST(keepalive_is_silent_while_the_window_is_probed),
		TEST(keepalive_of_the_peer_is_answered_every_time),
		TEST(fin_wait_2_of_a_closed_connection_ends_after_a_minute),
		TEST(fin_wait_2_with_a_reader_does_not_end),
		BARE(hard_icmp_error_refuses_a_connection_attempt),
		BARE(soft_icmp_error_is_told_when_the_attempt_times_out),
		TEST(hard_icmp_error_does_not_end_an_established_connection),
		TEST(soft_icmp_error_is_told_when_the_connection_times_out),
		TEST(soft_icmp_error_is_forgotten_when_the_way_is_back),
		TEST(icmp_error_about_what_is_not_in_flight_is_ignored),
		TEST(too_big_sends_again_in_smaller_segments),
		TEST(too_big_never_goes_below_536_nor_up),
	};

	return test_main_with_pool(argc, argv, tests);
}
