/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_output.c: when an ACK leaves, when text does, and how much: RFC 9293 §3.8.6,
 * §3.7.4, RFC 5681, and the numbers of TCP.md §2, segment by segment.
 */
#include "tests/net/tcp/tcp_peer.h"

#define MSS    1460
#define WINDOW 65535

static struct peer *p;
static uint32_t seq; /* the peer's next byte */
static uint32_t una; /* the stack's first byte that is not acknowledged */
static uint8_t bytes[200000];

static int64_t now(void)
{
	return apus_clock_read(&p->clock);
}

/* A connection that the peer opened, with windows of 64 KiB that are not scaled. */
static int setup(void **state)
{
	p = peer_open();
	peer_listen(p);
	peer_send_syn(p, p->irs);
	p->iss = peer_last(p)->seq;
	seq = p->irs + 1;
	una = p->iss + 1;
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

/* The peer's text arrives; what it caused is in p->heard. */
static void text(uint32_t count)
{
	peer_send_text(p, seq, una, count);
	seq += count;
}

static struct apus_segment with_ack(uint32_t number)
{
	struct apus_segment seg = peer_segment(number, una);

	seg.has_ack = true;
	return seg;
}

/* Several segments in one burst: one turn of the stack. */
static void burst(uint32_t segments, uint32_t count)
{
	uint32_t frames = p->frame_count;

	apus_must(frames == 0);
	for (uint32_t i = 0; i < segments; i++) {
		peer_put(p, with_ack(seq), count);
		seq += count;
	}
	peer_turn(p);
}

static void ack(uint32_t acked_bytes)
{
	una += acked_bytes;
	peer_send_ack(p, seq, una);
}

/* Past the 16 segments that are acknowledged at once. */
static void settle(void)
{
	p->c->rcv.quick = 0;
	p->c->rcv.mss = MSS;
}

static uint32_t heard_text(void)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < p->heard_count; i++)
		sum += p->heard[i].seg.text_bytes;
	return sum;
}

/* ---- acknowledgments ---- */

static void first_segments_are_acknowledged_at_once(void **state)
{
	for (int i = 0; i < APUS_TCP_QUICK_ACKS; i++) {
		peer_forget(p);
		text(100);
		assert_int_equal(p->heard_count, 1);
		assert_int_equal(peer_last(p)->ack, seq);
	}
	peer_forget(p);
	text(100);
	assert_int_equal(p->heard_count, 0);
}

static void once_the_application_answers_acknowledgments_can_wait(void **state)
{
	text(100);
	peer_write(p, bytes, 50);
	peer_forget(p);
	text(100);
	assert_int_equal(p->heard_count, 0);
}

static void small_text_is_acknowledged_after_40_ms(void **state)
{
	settle();
	text(100);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS - 1);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 1);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_DELAYED_ACKS), 1);
}

static void delay_counts_from_the_first_text_and_not_from_the_last(void **state)
{
	settle();
	text(100);
	peer_wait(p, 30 * APUS_MS);
	text(100);
	peer_wait(p, 10 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
}

static void more_than_a_full_segment_is_acknowledged_at_once(void **state)
{
	settle();
	text(MSS);
	assert_int_equal(p->heard_count, 0);
	text(1);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
}

static void ack_rides_on_the_answer_of_the_same_turn(void **state)
{
	settle();
	text(100);
	peer_write(p, bytes, 50);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
	assert_int_equal(peer_last(p)->text_bytes, 50);
	peer_wait(p, 100 * APUS_MS);
	assert_int_equal(p->heard_count, 1); /* nothing is owed any more */
}

static void out_of_order_text_is_acknowledged_at_once_with_the_old_number(void **state)
{
	settle();
	seq += 100;
	text(100);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, p->irs + 1);
}

static void text_that_fills_a_hole_is_acknowledged_at_once(void **state)
{
	uint32_t first = seq;

	settle();
	seq += 100;
	text(100);
	peer_forget(p);
	peer_send_text(p, first, una, 100);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, first + 200);
}

static void text_again_is_acknowledged_at_once(void **state)
{
	settle();
	text(100);
	peer_send_text(p, p->irs + 1, una, 100);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
}

static void burst_of_full_segments_is_acknowledged_every_second_one(void **state)
{
	uint32_t edge = 0;

	settle();
	burst(10, MSS);
	assert_int_equal(p->heard_count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		const struct apus_segment *seg = &p->heard[i].seg;

		assert_int_equal(seg->ack, p->irs + 1 + (i + 1) * 2 * MSS);
		assert_true(seg->ack + seg->wnd >= edge); /* none of them takes a window back */
		edge = seg->ack + seg->wnd;
	}
}

/* A hole at the front, then a burst behind it: RFC 5681 §4.2. */
static void burst_behind_a_hole_gives_a_duplicate_ack_for_each_segment(void **state)
{
	settle();
	seq += MSS;
	burst(8, MSS);
	assert_int_equal(p->heard_count, 8);
	for (uint32_t i = 0; i < 8; i++) {
		const struct apus_segment *seg = &p->heard[i].seg;

		assert_int_equal(seg->ack, p->irs + 1);
		assert_int_equal(seg->wnd, p->heard[0].seg.wnd);
		assert_int_equal(seg->text_bytes, 0);
	}
}

/* The reader makes room meanwhile: that is told later, else the ACKs would not be duplicates. */
static void duplicate_acks_keep_the_window_that_was_told(void **state)
{
	uint16_t told;

	settle();
	for (int i = 0; i < 65; i++) {
		peer_forget(p);
		text(MSS);
	}
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	told = peer_last(p)->wnd;
	assert_true(told < PEER_WINDOW);
	peer_forget(p);
	assert_int_equal(apus_tcp_call_receive(p->c, bytes, 3 * MSS), 3 * MSS);
	p->c->want = 0; /* the word that the reader would have sent */
	seq += MSS;
	burst(3, MSS);
	assert_int_equal(p->heard_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(p->heard[i].seg.wnd, told);
}

static void duplicate_acks_are_not_left_to_text(void **state)
{
	struct iovec iov = {bytes, 100};

	settle();
	seq += MSS;
	peer_put(p, with_ack(seq), MSS);
	peer_put(p, with_ack(seq + MSS), MSS);
	assert_int_equal(apus_tcp_call_send(p->c, &iov, 1, now()), 100);
	peer_turn(p);
	assert_int_equal(p->heard_count, 3);
	assert_int_equal(p->heard[0].seg.text_bytes, 0);
	assert_int_equal(p->heard[1].seg.text_bytes, 0);
	assert_int_equal(p->heard[2].seg.text_bytes, 100);
}

static void text_in_order_before_the_hole_is_acknowledged_before_the_duplicates(void **state)
{
	settle();
	peer_put(p, with_ack(seq), MSS);
	peer_put(p, with_ack(seq + 2 * MSS), MSS);
	peer_put(p, with_ack(seq + 3 * MSS), MSS);
	peer_turn(p);
	assert_int_equal(p->heard_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(p->heard[i].seg.ack, seq + MSS);
}

static void hole_that_fills_in_its_burst_gives_no_duplicate_ack(void **state)
{
	settle();
	peer_put(p, with_ack(seq + MSS), MSS);
	peer_put(p, with_ack(seq), MSS);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq + 2 * MSS);
}

static void what_a_hole_kept_back_is_acknowledged_once(void **state)
{
	uint32_t hole = seq;

	settle();
	seq += MSS;
	burst(20, MSS);
	peer_forget(p);
	peer_send_text(p, hole, una, MSS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
}

static void burst_of_small_segments_is_acknowledged_once(void **state)
{
	settle();
	burst(20, 100);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, seq);
}

/* ---- the window that is offered ---- */

static void window_closes_as_nobody_reads_and_opens_in_large_steps(void **state)
{
	uint32_t edge = p->c->rcv.adv;

	while (p->c->rcv.adv != p->c->rcv.nxt) {
		text(apus_min(MSS, p->c->rcv.adv - p->c->rcv.nxt));
		assert_true((int32_t)(p->c->rcv.adv - edge) >= 0); /* never back */
		edge = p->c->rcv.adv;
		if (p->c->rcv.adv != p->c->rcv.nxt)
			peer_forget(p);
	}
	/* Room for less than a full segment is not offered. */
	assert_in_range(p->c->rcvq.bytes, APUS_TCP_RCV_BUFFER_BYTES - MSS,
			APUS_TCP_RCV_BUFFER_BYTES);
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	assert_int_equal(peer_last(p)->wnd, 0);
	peer_forget(p);
	assert_int_equal(apus_tcp_call_receive(p->c, bytes, 100), 100);
	peer_turn(p);
	assert_int_equal(p->heard_count, 0); /* a hundred bytes are not worth a word, */
	peer_send_ack(p, seq - 1, una);
	assert_int_equal(peer_last(p)->wnd, 0); /* nor are they offered when asked */
	peer_forget(p);
	assert_int_equal(apus_tcp_call_receive(p->c, bytes, 2 * MSS), 2 * MSS);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->wnd, APUS_TCP_RCV_BUFFER_BYTES - p->c->rcvq.bytes);
}

/* ---- text ---- */

static void initial_window_is_ten_segments(void **state)
{
	peer_write(p, bytes, 100000);
	assert_int_equal(p->heard_count, 10);
	assert_int_equal(heard_text(), 10 * MSS);
}

static void slow_start_adds_what_is_acknowledged(void **state)
{
	peer_write(p, bytes, 100000);
	peer_forget(p);
	ack(10 * MSS);
	assert_int_equal(heard_text(), 20 * MSS);
}

static void push_is_on_the_last_segment_of_the_write(void **state)
{
	peer_write(p, bytes, 2 * MSS + 10);
	assert_int_equal(p->heard_count, 3);
	assert_false(p->heard[0].seg.psh);
	assert_false(p->heard[1].seg.psh);
	assert_true(p->heard[2].seg.psh);
}

static void fin_follows_the_last_byte_in_its_segment(void **state)
{
	struct iovec iov = {bytes, 100};

	assert_int_equal(apus_tcp_call_send(p->c, &iov, 1, now()), 100);
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->fin);
	assert_int_equal(peer_last(p)->text_bytes, 100);
}

static void without_nagle_small_writes_leave_at_once(void **state)
{
	peer_write(p, bytes, 10);
	peer_write(p, bytes, 10);
	assert_int_equal(p->heard_count, 2);
}

static void nagle_holds_small_text_while_any_is_unacknowledged(void **state)
{
	p->c->is_nodelay = false;
	peer_write(p, bytes, 10);
	peer_write(p, bytes, 10);
	peer_write(p, bytes, 10);
	assert_int_equal(p->heard_count, 1);
	ack(10);
	assert_int_equal(p->heard_count, 2);
	assert_int_equal(peer_last(p)->text_bytes, 20);
}

static void nagle_lets_full_segments_go(void **state)
{
	p->c->is_nodelay = false;
	peer_write(p, bytes, 10);
	peer_write(p, bytes, 2 * MSS);
	assert_int_equal(heard_text(), 10 + 2 * MSS);
}

static void cork_holds_a_short_segment_until_it_is_drawn(void **state)
{
	p->c->is_corked = true;
	peer_write(p, bytes, 10);
	peer_write(p, bytes, 20);
	assert_int_equal(p->heard_count, 0);
	p->c->is_corked = false;
	apus_tcp_mark(p->c);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->text_bytes, 30);
}

static void cork_lets_full_segments_go_and_keeps_the_rest(void **state)
{
	p->c->is_corked = true;
	peer_write(p, bytes, 2 * MSS + 7);
	assert_int_equal(heard_text(), 2 * MSS);
	assert_int_equal(peer_last(p)->text_bytes, MSS);
	ack(2 * MSS);
	assert_int_equal(heard_text(), 2 * MSS); /* also with nothing in flight: no Nagle */
	peer_write(p, bytes, MSS - 7);
	assert_int_equal(heard_text(), 3 * MSS);
}

/* TCP.md §2: about 200 ms and a round trip, which here took none. */
static void cork_gives_way_after_200_ms(void **state)
{
	p->c->is_corked = true;
	peer_write(p, bytes, 10);
	peer_wait(p, 190 * APUS_MS);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 120 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->text_bytes, 10);
	/* The next one waits again. */
	ack(10);
	peer_write(p, bytes, 10);
	assert_int_equal(p->heard_count, 1);
}

static void cork_does_not_hold_the_fin(void **state)
{
	p->c->is_corked = true;
	peer_write(p, bytes, 10);
	apus_must(apus_tcp_call_shutdown(p->c) == 0);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->fin);
	assert_int_equal(peer_last(p)->text_bytes, 10);
}

/* A run with Nagle ends with its last full segment; without it the short one goes along. */
static void run_of_segments_is_cut_at_full_ones(void **state)
{
	peer_write(p, bytes, 5 * MSS + 100);
	assert_int_equal(p->heard_count, 6);
	for (uint32_t i = 0; i < 6; i++) {
		const struct apus_segment *seg = &p->heard[i].seg;

		assert_int_equal(seg->text_bytes, i < 5 ? MSS : 100);
		assert_int_equal(seg->psh, i == 5);
		assert_int_equal(seg->seq, p->heard[0].seg.seq + i * MSS);
	}
}

static void window_of_the_peer_is_not_overrun(void **state)
{
	struct apus_segment seg = peer_segment(seq, una);

	seg.has_ack = true;
	seg.wnd = 3 * MSS;
	peer_send(p, seg, 0);
	peer_write(p, bytes, 100000);
	assert_int_equal(heard_text(), 3 * MSS);
}

/* RFC 9293 §3.8.6.2.1: a sliver of window is not filled; after one RTO it is. */
static void sliver_of_window_waits_for_the_override_timeout(void **state)
{
	struct apus_segment seg = peer_segment(seq, una);

	seg.has_ack = true;
	seg.wnd = 100;
	peer_send(p, seg, 0);
	peer_write(p, bytes, 1000);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 2 * APUS_SEC);
	assert_true(p->heard_count > 0);
	assert_int_equal(p->heard[0].seg.text_bytes, 100);
}

static void idle_connection_starts_again_with_the_initial_window(void **state)
{
	peer_write(p, bytes, 150000);
	for (int i = 0; i < 20 && p->c->snd.una != p->c->snd.nxt; i++)
		ack(p->c->snd.nxt - p->c->snd.una);
	assert_true(p->c->cc.cwnd_bytes > 10 * MSS);
	peer_wait(p, 10 * APUS_SEC);
	peer_forget(p);
	peer_write(p, bytes, 150000);
	assert_int_equal(heard_text(), 10 * MSS);
}

/* ---- loss ---- */

static void third_duplicate_ack_sends_the_lost_segment_at_once(void **state)
{
	peer_write(p, bytes, 10 * MSS);
	peer_forget(p);
	ack(0);
	ack(0);
	assert_int_equal(p->heard_count, 0);
	ack(0);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una);
	assert_int_equal(peer_last(p)->text_bytes, MSS);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_FAST_RETRANSMITS), 1);
}

/* Karn: the ACK may be for either of the two. */
static void segment_sent_again_measures_nothing(void **state)
{
	int64_t srtt_ns = apus_rtt_srtt_ns(&p->c->rtt);

	peer_write(p, bytes, 10 * MSS);
	ack(0);
	ack(0);
	ack(0);
	peer_wait(p, 100 * APUS_MS);
	ack(10 * MSS);
	assert_int_equal(apus_rtt_srtt_ns(&p->c->rtt), srtt_ns);
}

static void limited_transmit_sends_new_text_on_the_first_two_duplicates(void **state)
{
	peer_write(p, bytes, 100000);
	peer_forget(p);
	ack(0);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una + 10 * MSS);
	ack(0);
	assert_int_equal(peer_last(p)->seq, una + 11 * MSS);
}

static void partial_ack_sends_the_next_lost_segment(void **state)
{
	peer_write(p, bytes, 10 * MSS);
	ack(0);
	ack(0);
	ack(0);
	peer_forget(p);
	ack(3 * MSS); /* the fourth is lost, too */
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PARTIAL_ACKS), 1);
}

static void window_updates_are_no_duplicate_acks(void **state)
{
	struct apus_segment seg;

	peer_write(p, bytes, 10 * MSS);
	peer_forget(p);
	for (uint16_t i = 1; i <= 5; i++) {
		seg = peer_segment(seq, una);
		seg.has_ack = true;
		seg.wnd = (uint16_t)(WINDOW - i);
		peer_send(p, seg, 0);
	}
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_DUPLICATE_ACKS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(first_segments_are_acknowledged_at_once),
		TEST(once_the_application_answers_acknowledgments_can_wait),
		TEST(small_text_is_acknowledged_after_40_ms),
		TEST(delay_counts_from_the_first_text_and_not_from_the_last),
		TEST(more_than_a_full_segment_is_acknowledged_at_once),
		TEST(ack_rides_on_the_answer_of_the_same_turn),
		TEST(out_of_order_text_is_acknowledged_at_once_with_the_old_number),
		TEST(text_that_fills_a_hole_is_acknowledged_at_once),
		TEST(text_again_is_acknowledged_at_once),
		TEST(burst_of_full_segments_is_acknowledged_every_second_one),
		TEST(burst_behind_a_hole_gives_a_duplicate_ack_for_each_segment),
		TEST(duplicate_acks_keep_the_window_that_was_told),
		TEST(duplicate_acks_are_not_left_to_text),
		TEST(text_in_order_before_the_hole_is_acknowledged_before_the_duplicates),
		TEST(hole_that_fills_in_its_burst_gives_no_duplicate_ack),
		TEST(what_a_hole_kept_back_is_acknowledged_once),
		TEST(burst_of_small_segments_is_acknowledged_once),
		TEST(window_closes_as_nobody_reads_and_opens_in_large_steps),
		TEST(initial_window_is_ten_segments),
		TEST(slow_start_adds_what_is_acknowledged),
		TEST(push_is_on_the_last_segment_of_the_write),
		TEST(fin_follows_the_last_byte_in_its_segment),
		TEST(without_nagle_small_writes_leave_at_once),
		TEST(nagle_holds_small_text_while_any_is_unacknowledged),
		TEST(nagle_lets_full_segments_go),
		TEST(cork_holds_a_short_segment_until_it_is_drawn),
		TEST(cork_lets_full_segments_go_and_keeps_the_rest),
		TEST(cork_gives_way_after_200_ms),
		TEST(cork_does_not_hold_the_fin),
		TEST(run_of_segments_is_cut_at_full_ones),
		TEST(window_of_the_peer_is_not_overrun),
		TEST(sliver_of_window_waits_for_the_override_timeout),
		TEST(idle_connection_starts_again_with_the_initial_window),
		TEST(third_duplicate_ack_sends_the_lost_segment_at_once),
		TEST(segment_sent_again_measures_nothing),
		TEST(limited_transmit_sends_new_text_on_the_first_two_duplicates),
		TEST(partial_ack_sends_the_next_lost_segment),
		TEST(window_updates_are_no_duplicate_acks),
	};

	return test_main_with_pool(argc, argv, tests);
}
