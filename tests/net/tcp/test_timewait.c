/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_timewait.c: TIME-WAIT as an entry (RFC 9293 §3.6.1, RFC 1337).
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/tcp/timewait.h"

#define SYN_SEQ 1000

static struct peer *p;
static uint32_t snd_nxt, rcv_nxt; /* of the stack, in TIME-WAIT */

static int setup(void **state)
{
	p = peer_open();
	peer_listen(p);
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static void send_from(uint16_t port, struct apus_segment seg)
{
	seg.local_port = port;
	peer_send(p, seg, 0);
}

static struct apus_segment with_ack(uint32_t seq, uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	return seg;
}

static struct apus_segment syn_at(uint32_t seq)
{
	struct apus_segment seg = peer_segment(seq, 0);

	seg.syn = true;
	return seg;
}

/* A connection from @port that the stack closes first. */
static void close_from(uint16_t port)
{
	struct apus_segment fin;
	uint32_t iss;

	send_from(port, syn_at(SYN_SEQ));
	iss = peer_last(p)->seq;
	send_from(port, with_ack(SYN_SEQ + 1, iss + 1));
	apus_tcp_call_close(apus_tcp_listener_take(p->listener), apus_clock_read(&p->clock));
	peer_turn(p);
	assert_true(peer_last(p)->fin);
	fin = with_ack(SYN_SEQ + 1, iss + 2);
	fin.fin = true;
	send_from(port, fin);
	snd_nxt = iss + 2;
	rcv_nxt = SYN_SEQ + 2;
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
	peer_forget(p);
}

static size_t waiting(void)
{
	return apus_tcp_layer_time_wait(&p->stack->tcp);
}

static void who_closes_first_leaves_an_entry_and_no_connection(void **state)
{
	close_from(PEER_PORT);
	assert_int_equal(waiting(), 1);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	assert_int_equal(p->stack->tcp.connections.used, 0);
}

static void entry_goes_after_a_minute_and_not_before(void **state)
{
	close_from(PEER_PORT);
	peer_wait(p, APUS_TCP_TIME_WAIT_NS - 10 * APUS_MS);
	assert_int_equal(waiting(), 1);
	peer_wait(p, 20 * APUS_MS);
	assert_int_equal(waiting(), 0);
}

static void entries_go_in_order_each_at_its_time(void **state)
{
	for (uint16_t i = 0; i < 5; i++) {
		close_from(PEER_PORT + i);
		peer_wait(p, 10 * APUS_SEC);
	}
	assert_int_equal(waiting(), 5);
	for (size_t left = 5; left > 0; left--) {
		peer_wait(p, 10 * APUS_SEC + 5 * APUS_MS);
		assert_int_equal(waiting(), left - 1);
	}
}

static void fin_again_is_acknowledged_and_the_minute_starts_anew(void **state)
{
	struct apus_segment fin;

	close_from(PEER_PORT);
	fin = with_ack(rcv_nxt - 1, snd_nxt);
	fin.fin = true;
	peer_wait(p, 50 * APUS_SEC);
	send_from(PEER_PORT, fin);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, snd_nxt);
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
	assert_true(peer_last(p)->has_ack && !peer_last(p)->fin && !peer_last(p)->rst);
	peer_wait(p, 50 * APUS_SEC);
	assert_int_equal(waiting(), 1);
	peer_wait(p, 11 * APUS_SEC);
	assert_int_equal(waiting(), 0);
}

static void bare_ack_is_not_answered(void **state)
{
	close_from(PEER_PORT);
	send_from(PEER_PORT, with_ack(rcv_nxt, snd_nxt));
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(waiting(), 1);
}

/* Else two ends that do not agree would answer each other for ever. */
static void bare_acks_elsewhere_are_answered_twice_a_second(void **state)
{
	close_from(PEER_PORT);
	for (int i = 0; i < 1000; i++) {
		send_from(PEER_PORT, with_ack(rcv_nxt + (i % 2 ? 100 : UINT32_MAX), snd_nxt));
		peer_wait(p, 10 * APUS_MS);
	}
	assert_in_range(peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS), 19, 21);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED) +
				 peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS),
			 1000);
	assert_int_equal(waiting(), 1);
}

static void reset_does_not_shorten_it(void **state)
{
	struct apus_segment rst;

	close_from(PEER_PORT);
	rst = peer_segment(rcv_nxt, 0);
	rst.rst = true;
	send_from(PEER_PORT, rst);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(waiting(), 1);
}

static void newer_syn_opens_a_new_connection(void **state)
{
	uint32_t old_snd_nxt;

	close_from(PEER_PORT);
	old_snd_nxt = snd_nxt;
	peer_wait(p, APUS_SEC);
	send_from(PEER_PORT, syn_at(rcv_nxt + 1));
	assert_true(peer_last(p)->syn && peer_last(p)->has_ack);
	assert_true((int32_t)(peer_last(p)->seq - old_snd_nxt) > 0); /* RFC 9293 §3.6.1 (MAY-2) */
	assert_int_equal(waiting(), 0);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 1);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_TIME_WAIT_REUSED), 1);
}

/* RFC 9293 §3.6.1 (MAY-2), (2): the SYN was an old duplicate, and its sender says so. */
static void newer_syn_that_is_refused_brings_the_entry_back(void **state)
{
	struct apus_segment rst = {.rst = true, .wscale = -1};

	close_from(PEER_PORT);
	peer_wait(p, APUS_SEC);
	send_from(PEER_PORT, syn_at(rcv_nxt + 1));
	assert_int_equal(waiting(), 0);
	rst.seq = rcv_nxt + 2;
	send_from(PEER_PORT, rst);
	assert_int_equal(waiting(), 1);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	peer_forget(p);
	send_from(PEER_PORT, syn_at(rcv_nxt - 1)); /* and it has the old numbers */
	assert_int_equal(peer_last(p)->seq, snd_nxt);
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
}

static void older_syn_is_answered_by_an_ack(void **state)
{
	close_from(PEER_PORT);
	send_from(PEER_PORT, syn_at(rcv_nxt - 1));
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->has_ack && !peer_last(p)->syn);
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
	assert_int_equal(waiting(), 1);
}

static void newer_syn_without_a_listener_is_reset(void **state)
{
	close_from(PEER_PORT);
	apus_tcp_listener_shut(p->listener, apus_clock_read(&p->clock));
	p->listener = NULL;
	send_from(PEER_PORT, syn_at(rcv_nxt + 1));
	assert_true(peer_last(p)->rst);
	assert_int_equal(waiting(), 0);
}

/* ---- RFC 6191: timestamps tell more surely than numbers ---- */

#define TS 100000

static void send_with_ts(struct apus_segment seg, uint32_t ts_val)
{
	seg.has_ts = true;
	seg.ts_val = ts_val;
	send_from(PEER_PORT, seg);
}

/* As close_from(), of a connection with timestamps, the last of which is TS. */
static void close_with_ts(void)
{
	struct apus_segment fin;
	uint32_t iss;

	send_with_ts(syn_at(SYN_SEQ), TS - 2);
	assert_true(peer_last(p)->has_ts);
	iss = peer_last(p)->seq;
	send_with_ts(with_ack(SYN_SEQ + 1, iss + 1), TS - 1);
	apus_tcp_call_close(apus_tcp_listener_take(p->listener), apus_clock_read(&p->clock));
	peer_turn(p);
	fin = with_ack(SYN_SEQ + 1, iss + 2);
	fin.fin = true;
	send_with_ts(fin, TS);
	snd_nxt = iss + 2;
	rcv_nxt = SYN_SEQ + 2;
	assert_int_equal(waiting(), 1);
	peer_forget(p);
}

static void assert_reopened(bool is)
{
	assert_int_equal(waiting(), !is);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_TIME_WAIT_REUSED), is);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), is);
	assert_int_equal(peer_last(p)->syn, is);
	if (is)
		assert_true((int32_t)(peer_last(p)->seq - snd_nxt) > 0);
	else
		assert_int_equal(peer_last(p)->ack, rcv_nxt);
}

static void later_timestamp_reopens_whatever_the_number(void **state)
{
	close_with_ts();
	send_with_ts(syn_at(rcv_nxt - 50000), TS + 1);
	assert_reopened(true);
}

static void earlier_timestamp_does_not_reopen_whatever_the_number(void **state)
{
	close_with_ts();
	send_with_ts(syn_at(rcv_nxt + 50000), TS - 1);
	assert_reopened(false);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PAWS_REJECTED), 1);
}

static void equal_timestamp_leaves_it_to_the_number(void **state)
{
	close_with_ts();
	send_with_ts(syn_at(rcv_nxt - 1), TS);
	assert_reopened(false);
	send_with_ts(syn_at(rcv_nxt + 1), TS);
	assert_reopened(true);
}

static void syn_without_timestamp_leaves_it_to_the_number(void **state)
{
	close_with_ts();
	send_from(PEER_PORT, syn_at(rcv_nxt - 1));
	assert_reopened(false);
	send_from(PEER_PORT, syn_at(rcv_nxt + 1));
	assert_reopened(true);
}

static void timestamp_without_one_before_leaves_it_to_the_number(void **state)
{
	close_from(PEER_PORT);
	send_with_ts(syn_at(rcv_nxt - 1), TS);
	assert_reopened(false);
	send_with_ts(syn_at(rcv_nxt + 1), TS);
	assert_reopened(true);
}

/* It was old after all: TIME-WAIT is back, and still knows the timestamp. */
static void reopened_by_timestamp_and_refused_it_comes_back(void **state)
{
	struct apus_segment rst = {.rst = true, .wscale = -1, .seq = 0};

	close_with_ts();
	rst.seq = rcv_nxt - 50000 + 1;
	send_with_ts(syn_at(rcv_nxt - 50000), TS + 1);
	assert_reopened(true);
	send_from(PEER_PORT, rst);
	assert_int_equal(waiting(), 1);
	peer_forget(p);
	send_with_ts(syn_at(rcv_nxt + 1), TS);
	assert_int_equal(waiting(), 1);
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
}

static void at_the_limit_the_oldest_gives_way(void **state)
{
	for (uint16_t i = 0; i < 70; i++) /* connections_max of the fixture is 64 */
		close_from(PEER_PORT + i);
	assert_int_equal(waiting(), 64);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_TIME_WAIT_EVICTED), 6);
	apus_tcp_demux_check(&p->stack->tcp.demux);
}

/* The user still reads when both FINs are through: what came is not lost with the connection. */
static void text_can_be_read_after_the_entry_took_over(void **state)
{
	struct apus_segment seg;
	char buf[100];
	uint32_t iss;

	send_from(PEER_PORT, syn_at(SYN_SEQ));
	iss = peer_last(p)->seq;
	send_from(PEER_PORT, with_ack(SYN_SEQ + 1, iss + 1));
	p->c = apus_tcp_listener_take(p->listener);
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	seg = with_ack(SYN_SEQ + 1, iss + 2);
	seg.fin = true;
	peer_send(p, seg, 10);
	assert_int_equal(waiting(), 1);
	assert_int_equal(p->c->state, APUS_TCP_TIME_WAIT);
	assert_int_equal(apus_tcp_call_receive(p->c, buf, sizeof(buf)), 10);
	assert_int_equal(apus_tcp_call_receive(p->c, buf, sizeof(buf)), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(who_closes_first_leaves_an_entry_and_no_connection),
		TEST(entry_goes_after_a_minute_and_not_before),
		TEST(entries_go_in_order_each_at_its_time),
		TEST(fin_again_is_acknowledged_and_the_minute_starts_anew),
		TEST(bare_ack_is_not_answered),
		TEST(bare_acks_elsewhere_are_answered_twice_a_second),
		TEST(reset_does_not_shorten_it),
		TEST(newer_syn_opens_a_new_connection),
		TEST(newer_syn_that_is_refused_brings_the_entry_back),
		TEST(older_syn_is_answered_by_an_ack),
		TEST(newer_syn_without_a_listener_is_reset),
		TEST(later_timestamp_reopens_whatever_the_number),
		TEST(earlier_timestamp_does_not_reopen_whatever_the_number),
		TEST(equal_timestamp_leaves_it_to_the_number),
		TEST(syn_without_timestamp_leaves_it_to_the_number),
		TEST(timestamp_without_one_before_leaves_it_to_the_number),
		TEST(reopened_by_timestamp_and_refused_it_comes_back),
		TEST(at_the_limit_the_oldest_gives_way),
		TEST(text_can_be_read_after_the_entry_took_over),
	};

	return test_main_with_pool(argc, argv, tests);
}
