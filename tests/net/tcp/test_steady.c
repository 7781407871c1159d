/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_steady.c: what befalls an answer that is in flight without a record
 * (net/tcp/steady.h): loss, odd ACKs, windows, ends, options, no memory. Each story is told twice, with
 * net/tcp/fast.c and plain.c and without: every frame leaves at the same time with the same numbers,
 * and the connection tells the same of itself.
 */
#include "net/ip/icmp.h"
#include "tests/net/tcp/steady_test.h"

/* Life goes on: another request is answered at once. */
static void carry_on(void)
{
	uint32_t before;

	ack(p->c->snd.nxt);
	before = told->count;
	queue(ANSWER);
	request();
	assert_int_equal(frame(before, told->count - before - 1)->bytes, ANSWER);
	assert_int_equal(p->c->snd.nxt, apus_tcp_text_end(p->c));
}

/* ---- loss ---- */

/* RFC 8985 §7.2: the probe after 2 SRTT and the peer's delay, at most an RTO; RFC 6298 (5.5), (5.6). */
static void lost(void)
{
	uint32_t from = told->count;
	int64_t rto_ns = info().rto_ns, at_ns = now();
	uint64_t probes = count(APUS_TCP_COUNT_TAIL_PROBES), rtos = count(APUS_TCP_COUNT_RTO);

	at_ns += apus_min(2 * info().srtt_ns + APUS_TLP_ONE_IN_FLIGHT_NS, rto_ns);
	peer_wait(p, 14 * rto_ns);
	for (uint32_t i = 0; i < 4; i++) {
		const struct frame *f = frame(from, i);

		assert_around(f->at_ns, at_ns);
		assert_int_equal(f->seq, p->c->snd.una - p->iss);
		assert_int_equal(f->bytes, ANSWER);
		at_ns += i ? rto_ns << i : rto_ns;
	}
	assert_int_equal(told->count, from + 4);
	assert_int_equal(count(APUS_TCP_COUNT_TAIL_PROBES), probes + 1);
	assert_int_equal(count(APUS_TCP_COUNT_RTO), rtos + 3);
	carry_on();
}

static void partly_acked(void)
{
	uint32_t una = p->c->snd.una, from = told->count;

	peer_wait(p, RTT_NS);
	ack(una + 150);
	assert_int_equal(info().unacked, 1);
	peer_wait(p, APUS_SEC);
	assert_int_equal(frame(from, 0)->seq, una + 150 - p->iss);
	assert_int_equal(frame(from, 0)->bytes, ANSWER - 150);
	carry_on();
}

static void sacked(void)
{
	struct apus_segment seg = segment(p->c->snd.una);

	peer_wait(p, RTT_NS);
	seg.sack[0] = (struct apus_segment_sack){p->c->snd.una + 100, p->c->snd.nxt};
	seg.sack_count = 1;
	peer_send(p, seg, 0);
	assert_int_equal(info().unacked, 1 + (info().sacked > 0));
	peer_wait(p, 2 * APUS_SEC);
	carry_on();
}

static void acked_in_duplicate(void)
{
	uint32_t from = told->count;

	for (int i = 0; i < 4; i++)
		ack(p->c->snd.una);
	assert_int_equal(count(APUS_TCP_COUNT_DUPLICATE_ACKS), 4);
	peer_wait(p, 5 * RTT_NS);
	assert_int_equal(told->count, from); /* with SACK they mean nothing: RFC 8985 */
	peer_wait(p, APUS_SEC);
	assert_true(told->count > from);
	carry_on();
}

/* What was lost and repaired does not matter any more. */
static void lost_again(void)
{
	lost();
	answers(2, RTT_NS);
	answer(ANSWER); /* is steady */
	sacked();
	answers(2, RTT_NS);
	answer(ANSWER);
	lost();
}

/* The timer of an answer before it fires, 5 ms after this one left: this one has its own deadline. */
static void timer_is_early(void)
{
	int64_t rto_ns = info().rto_ns, at_ns;
	uint32_t from;

	ack(p->c->snd.nxt);
	peer_wait(p, p->c->timer.deadline_ns - now() - 5 * APUS_MS);
	answer(ANSWER);
	from = told->count;
	at_ns = now() + apus_min(2 * info().srtt_ns + APUS_TLP_ONE_IN_FLIGHT_NS, rto_ns);
	peer_wait(p, 10 * APUS_MS);
	assert_steady();
	peer_wait(p, 4 * rto_ns);
	assert_around(frame(from, 0)->at_ns, at_ns);
	carry_on();
}

/* What is kept for text in flight stays for an RTO after the last of it. */
static void nothing_is_in_flight(void)
{
	ack(p->c->snd.nxt);
	peer_wait(p, info().rto_ns - 5 * APUS_MS);
	assert_steady();
	assert_non_null(p->c->recovery);
	peer_wait(p, 10 * APUS_MS);
	assert_null(p->c->recovery);
	carry_on();
}

static void timer_that_is_early_ends_nothing(void **state)
{
	tell_twice(timer_is_early);
	tell_twice(nothing_is_in_flight);
}

static void loss_is_repaired_by_the_probe_and_then_by_timeouts(void **state)
{
	tell_twice(lost);
	tell_twice(lost_again);
	for (int no_fast = 0; no_fast < 2; no_fast++) {
		open_story(no_fast, 150 * APUS_MS, 0);
		answers(4, 150 * APUS_MS);
		answers(5, RTT_NS / 2); /* round trips vary: the probe is sooner than the timeout */
		answer(ANSWER);
		assert_true(2 * info().srtt_ns + APUS_TLP_ONE_IN_FLIGHT_NS + 2 * RTT_NS <
			    info().rto_ns);
		lost();
		end_story();
	}
	compare();
}

static void odd_acks_say_what_they_say(void **state)
{
	tell_twice(partly_acked);
	tell_twice(sacked);
	tell_twice(acked_in_duplicate);
}

/* ---- the peer ---- */

static void window_closes(void)
{
	struct apus_segment seg = segment(p->c->snd.una);
	uint32_t from;

	seg.wnd = 0;
	peer_send(p, seg, 0);
	from = told->count;
	peer_wait(p, 2 * APUS_SEC);
	assert_true(told->count > from); /* probes */
	for (uint32_t i = from; i < told->count; i++)
		assert_int_equal(told->frames[i].bytes, 0);
	from = told->count;
	ack(p->c->snd.una);
	peer_wait(p, RTT_NS);
	assert_int_equal(frame(from, 0)->bytes, ANSWER);
	carry_on();
}

static void peer_ends(void)
{
	uint32_t from;

	peer_send_fin(p, seq, p->c->snd.una);
	seq++;
	assert_int_equal(p->c->state, APUS_TCP_CLOSE_WAIT);
	from = told->count;
	peer_wait(p, 250 * APUS_MS);
	assert_int_equal(frame(from, 0)->bytes, ANSWER); /* it is still owed */
	ack(p->c->snd.nxt);
	write_text(ANSWER);
	assert_int_equal(frame(told->count - 1, 0)->bytes, ANSWER);
}

static void peer_resets(void)
{
	struct apus_segment seg = segment(p->c->snd.una);
	uint32_t from = told->count;

	seg.rst = true;
	peer_send(p, seg, 0);
	assert_int_equal(p->c->state, APUS_TCP_CLOSED);
	assert_int_equal(p->c->error, -ECONNRESET);
	peer_wait(p, 5 * APUS_SEC);
	assert_int_equal(told->count, from);
}

static void too_big(void)
{
	uint32_t from, bytes = 0;

	answer(1200);
	from = told->count;
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, p->c->snd.una, 700);
	for (uint32_t i = from; i < told->count; i++) {
		assert_in_range(told->frames[i].bytes, 1, 700 - 52);
		bytes += told->frames[i].bytes;
	}
	assert_int_equal(bytes, 1200); /* at once, and in pieces that fit */
	carry_on();
}

static void peer_and_path_are_heard(void **state)
{
	tell_twice(window_closes);
	tell_twice(peer_ends);
	tell_twice(peer_resets);
	tell_twice(too_big);
}

/* ---- the user ---- */

static void user_shuts(void)
{
	uint32_t from = told->count, text = 0, fins = 0;

	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	assert_true(frame(from, 0)->fin);
	from = told->count;
	peer_wait(p, 5 * APUS_SEC);
	for (uint32_t i = from; i < told->count; i++) {
		text += told->frames[i].bytes;
		fins += told->frames[i].fin;
	}
	assert_true(text >= ANSWER && fins);
	ack(p->c->snd.nxt);
	assert_int_equal(p->c->state, APUS_TCP_FIN_WAIT_2);
}

static void user_closes(void)
{
	uint32_t from = told->count;

	apus_tcp_hold(p->c); /* to look at it, until peer_close() */
	apus_tcp_call_close(p->c, now());
	peer_turn(p);
	assert_true(frame(from, 0)->fin);
	peer_wait(p, APUS_SEC);
	assert_true(told->count > from + 1);
	ack(p->c->snd.nxt);
	assert_int_equal(p->c->state, APUS_TCP_FIN_WAIT_2);
}

static void user_aborts(void)
{
	uint32_t from = told->count, nxt = p->c->snd.nxt - p->iss;

	apus_tcp_hold(p->c);
	apus_tcp_call_abort(p->c, now());
	peer_turn(p);
	assert_true(frame(from, 0)->rst);
	assert_int_equal(frame(from, 0)->seq, nxt);
	peer_wait(p, 5 * APUS_SEC);
	assert_int_equal(told->count, from + 1);
}

static void user_writes_more(void)
{
	uint32_t from;

	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_NODELAY, 0), 0);
	peer_wait(p, RTT_NS);
	answer(ANSWER);
	from = told->count;
	write_text(50);
	assert_int_equal(told->count, from); /* Nagle */
	peer_wait(p, RTT_NS);
	ack(p->c->snd.nxt);
	assert_int_equal(frame(from, 0)->bytes, 50);
	carry_on();
}

static void user_writes_without_nagle(void)
{
	uint32_t from = told->count;

	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_NODELAY, 1), 0);
	write_text(50);
	assert_int_equal(frame(from, 0)->bytes, 50);
	assert_int_equal(info().unacked, 2);
	peer_wait(p, APUS_SEC); /* both are lost */
	assert_true(told->count > from + 2);
	carry_on();
}

static void user_corks(void)
{
	uint32_t from = told->count;

	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_CORK, 1), 0);
	ack(p->c->snd.nxt);
	write_text(50);
	assert_int_equal(told->count, from);
	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_CORK, 0), 0);
	peer_turn(p);
	assert_int_equal(frame(from, 0)->bytes, 50);
	carry_on();
}

static void user_has_no_patience(void)
{
	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_USER_TIMEOUT_NS, 2 * APUS_SEC), 0);
	peer_wait(p, 1990 * APUS_MS);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	peer_wait(p, 20 * APUS_MS);
	assert_int_equal(p->c->error, -ETIMEDOUT);
}

static void user_keeps_alive(void)
{
	int64_t at_ns;
	uint32_t from;

	assert_int_equal(apus_tcp_set(p->c, APUS_TCP_KEEPALIVE_IDLE_NS, 10 * APUS_SEC), 0);
	peer_wait(p, RTT_NS);
	ack(p->c->snd.nxt);
	answer(ANSWER);
	ack(p->c->snd.nxt);
	at_ns = now() + 10 * APUS_SEC;
	from = told->count;
	peer_wait(p, 11 * APUS_SEC);
	assert_around(frame(from, 0)->at_ns, at_ns);
	assert_int_equal(frame(from, 0)->seq, p->c->snd.una - 1 - p->iss);
	carry_on();
}

static void user_changes_the_algorithm(void)
{
	uint32_t from = told->count;

	assert_int_equal(apus_tcp_set_congestion(p->c, "reno"), 0);
	peer_turn(p);
	assert_string_equal(info().congestion, "reno");
	peer_wait(p, APUS_SEC);
	assert_true(told->count > from + 1);
	assert_int_equal(info().snd_cwnd, MSS); /* after the timeout */
	carry_on();
}

static void user_traces(void)
{
	struct apus_tcp_trace_event event;

	assert_int_equal(apus_tcp_trace_start(p->c, 16), 0);
	ack(p->c->snd.nxt);
	assert_true(apus_tcp_trace_next(p->c, &event));
	assert_int_equal(event.what, APUS_TCP_TRACE_ACK);
	assert_int_equal(event.acked_bytes, info().bytes_acked);
	carry_on();
	apus_tcp_trace_stop(p->c);
}

static void user_asks(void)
{
	assert_int_equal(info().unacked, 1);
	assert_int_equal(info().bytes_acked, 5 * ANSWER);
	assert_in_range(info().srtt_ns, RTT_NS - APUS_MS, RTT_NS + APUS_MS);
	assert_steady(); /* to ask changes nothing */
	peer_wait(p, RTT_NS);
	ack(p->c->snd.nxt);
	assert_int_equal(info().unacked, 0);
	assert_int_equal(info().bytes_acked, 6 * ANSWER);
}

static void user_may_do_anything_meanwhile(void **state)
{
	static void (*const stories[])(void) = {
		user_shuts,
		user_closes,
		user_aborts,
		user_writes_more,
		user_writes_without_nagle,
		user_corks,
		user_has_no_patience,
		user_keeps_alive,
		user_changes_the_algorithm,
		user_traces,
		user_asks,
	};

	for (size_t i = 0; i < apus_countof(stories); i++)
		tell_twice(stories[i]);
}

/* ---- silence: RFC 5681 §4.1 ---- */

/* The window grows beyond the initial one. */
static void grow(int64_t rtt_ns)
{
	for (int i = 0; i < 2; i++) {
		write_text(20 * MSS);
		while (p->c->snd.una != apus_tcp_text_end(p->c)) {
			peer_wait(p, rtt_ns);
			ack(p->c->snd.nxt);
		}
	}
	assert_true(info().snd_cwnd > 15 * MSS);
}

static void restart_after(int64_t rtt_ns, int64_t silence_ns)
{
	for (int no_fast = 0; no_fast < 2; no_fast++) {
		uint32_t from;

		open_story(no_fast, rtt_ns, 0);
		grow(rtt_ns);
		answers(3, rtt_ns);
		answer(ANSWER);
		peer_wait(p, rtt_ns);
		ack(p->c->snd.nxt);
		assert_true(silence_ns > info().rto_ns + 2 * APUS_MS);
		peer_wait(p, silence_ns - rtt_ns);
		write_text(ANSWER); /* short: it goes at once */
		assert_int_equal(info().snd_cwnd, 10 * MSS);
		ack(p->c->snd.nxt);
		from = told->count;
		write_text(30 * MSS);
		assert_int_equal(told->count - from, 10);
		end_story();
	}
	compare();
}

static void silence_restarts_the_window(void **state)
{
	restart_after(RTT_NS, APUS_SEC);
}

/* The last ACK made the RTO shorter than it was when the answer left, and the timer was armed. */
static void silence_counts_by_the_rto_of_now(void **state)
{
	int64_t sent_ns, rto_ns;

	if (!APUS_TCP_FAST)
		return;
	open_story(false, 150 * APUS_MS, 0);
	grow(150 * APUS_MS);
	answers(4, 150 * APUS_MS);
	do { /* the path becomes faster, and the timer of before fires meanwhile */
		peer_wait(p, 3 * RTT_NS / 2);
		queue(ANSWER);
		request();
		sent_ns = now();
		peer_wait(p, RTT_NS / 2);
		ack(p->c->snd.nxt);
		rto_ns = info().rto_ns;
		assert_true(rto_ns > APUS_RTT_RTO_FLOOR_NS + 2 * RTT_NS);
	} while (!p->c->is_steady || p->c->timer.deadline_ns - sent_ns < rto_ns + 5 * APUS_MS);
	peer_wait(p, sent_ns + rto_ns + 3 * APUS_MS - now());
	assert_steady();
	write_text(ANSWER);
	assert_int_equal(info().snd_cwnd, 10 * MSS);
	end_story();
}

/* ---- memory ---- */

static struct rte_mbuf *taken[TEST_POOL_MBUFS];

static uint32_t take_mbufs(uint32_t leave)
{
	uint32_t n = 0;

	while (rte_mempool_avail_count(test_pool) > leave &&
	       (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	return n;
}

static void without_mbufs(void)
{
	uint32_t from, n;

	peer_wait(p, RTT_NS);
	request();
	queue(ANSWER);
	from = told->count;
	n = take_mbufs(0);
	assert_steady();
	peer_turn(p);
	peer_wait(p, 50 * APUS_MS);
	assert_int_equal(told->count, from);
	rte_pktmbuf_free_bulk(taken, n);
	peer_wait(p, 20 * APUS_MS);
	assert_int_equal(told->count, from + 1);
	assert_int_equal(frame(from, 0)->bytes, ANSWER);
	carry_on();
}

static void under_pressure(void)
{
	uint32_t n = take_mbufs(TEST_POOL_MBUFS / 5), from;

	for (int i = 0; i < 3; i++) {
		peer_wait(p, RTT_NS);
		request();
		from = told->count;
		write_text(ANSWER);
		assert_int_equal(frame(from, 0)->bytes, ANSWER);
	}
	assert_true(count(APUS_TCP_COUNT_MEMORY_PRESSURES) > 0);
	peer_wait(p, APUS_SEC); /* and one is lost */
	assert_true(told->count > from + 2);
	rte_pktmbuf_free_bulk(taken, n);
	carry_on();
}

/* Less is free than ends pressure, but more than begins it. */
static void little_is_enough(void)
{
	uint32_t n = take_mbufs(TEST_POOL_MBUFS * 5 / 16);
	uint64_t fast = count(APUS_TCP_COUNT_SEGMENTS_FAST);

	request();
	if (APUS_TCP_FAST)
		assert_int_equal(count(APUS_TCP_COUNT_SEGMENTS_FAST) - fast, told == &tolds[0]);
	assert_int_equal(count(APUS_TCP_COUNT_MEMORY_PRESSURES), 0);
	rte_pktmbuf_free_bulk(taken, n);
	carry_on();
}

static void memory_may_be_short(void **state)
{
	tell_twice(little_is_enough);
	tell_twice(without_mbufs);
	tell_twice(under_pressure);
}

/* ---- numbers ---- */

static void millions_of_bytes_pass_the_end_of_the_numbers(void **state)
{
	const uint64_t rounds = 5000, bytes = 700;

	for (int no_fast = 0; no_fast < 2; no_fast++) {
		open_story(no_fast, RTT_NS, UINT32_MAX - 1000000);
		for (uint64_t i = 0; i < rounds; i++) {
			queue((uint32_t)bytes);
			request();
			peer_wait(p, 200 * APUS_US);
		}
		assert_steady();
		ack(p->c->snd.nxt);
		assert_true(p->c->snd.nxt < p->iss);
		assert_int_equal(out_bytes, rounds * bytes);
		assert_int_equal(info().bytes_acked, rounds * bytes);
		assert_int_equal(info().bytes_received, rounds * 100);
		assert_int_equal(count(APUS_TCP_COUNT_RETRANSMITS), 0);
		end_story();
	}
	compare();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		test_with_pool(loss_is_repaired_by_the_probe_and_then_by_timeouts),
		test_with_pool(timer_that_is_early_ends_nothing),
		test_with_pool(odd_acks_say_what_they_say),
		test_with_pool(peer_and_path_are_heard),
		test_with_pool(user_may_do_anything_meanwhile),
		test_with_pool(silence_restarts_the_window),
		test_with_pool(silence_counts_by_the_rto_of_now),
		test_with_pool(memory_may_be_short),
		test_with_pool(millions_of_bytes_pass_the_end_of_the_numbers),
	};

	return test_main_with_pool(argc, argv, tests);
}
