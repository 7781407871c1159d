/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_paws.c: which timestamp is echoed (RFC 7323 §4.3) and which segments one
 * refuses (§5). What each state does with such segments is in test_states.c.
 */
#include "tests/net/tcp/tcp_peer.h"

#define TS 0xfffffff8U /* the peer's clock: it wraps within the tests */

static struct peer *p;

/* A connection with timestamps, R = irs + 1, U = S = iss + 1. */
static int setup(void **state)
{
	struct apus_segment syn_ack;

	p = peer_open();
	p->stamps = true;
	p->ts_val = TS;
	peer_is_called(p);
	syn_ack = peer_syn_ack(p);
	syn_ack.sack_permitted = true;
	peer_answers(p, syn_ack);
	p->c->rcv.quick = 0; /* ACKs are delayed */
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static uint32_t rcv_nxt(void)
{
	return p->c->rcv.nxt;
}

static void text_stamped(uint32_t seq, uint32_t bytes, uint32_t ts_val)
{
	p->ts_val = ts_val;
	peer_send_text(p, seq, p->iss + 1, bytes);
}

/* What a segment of ours echoes now. */
static uint32_t echoed(void)
{
	peer_write(p, "x", 1);
	return peer_last(p)->ts_ecr;
}

/* ---- what is echoed ---- */

/* §4.3: "A. Delayed ACKs": the first of the segments that the ACK is for. */
static void delayed_ack_echoes_the_first_of_two(void **state)
{
	text_stamped(rcv_nxt(), 100, TS + 1);
	text_stamped(rcv_nxt(), 100, TS + 2);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ts_ecr, TS + 1);
}

/* §4.3: "B. A hole in the sequence space": the last one that moved the left edge. */
static void duplicate_ack_echoes_the_last_in_sequence(void **state)
{
	text_stamped(rcv_nxt(), 500, TS + 1);
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	text_stamped(rcv_nxt() + 500, 500, TS + 2);
	assert_int_equal(peer_last(p)->ts_ecr, TS + 1);
	text_stamped(rcv_nxt() + 1000, 500, TS + 3);
	assert_int_equal(peer_last(p)->ts_ecr, TS + 1);
}

/* §4.3: "C. A filled hole": the one that filled it. */
static void filled_hole_echoes_what_filled_it(void **state)
{
	text_stamped(rcv_nxt() + 500, 500, TS + 2);
	text_stamped(rcv_nxt(), 500, TS + 5);
	assert_int_equal(peer_last(p)->ts_ecr, TS + 5);
}

/* Later text of the peer's with the same clock: >=, not >. */
static void equal_timestamps_are_taken(void **state)
{
	text_stamped(rcv_nxt(), 100, TS);
	text_stamped(rcv_nxt(), 100, TS);
	assert_int_equal(p->c->rcv.nxt, p->irs + 201);
}

static void clock_wraps(void **state)
{
	for (uint32_t i = 1; i <= 20; i++) {
		text_stamped(rcv_nxt(), 10, TS + i);
		peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	}
	assert_int_equal(p->c->rcv.nxt, p->irs + 201);
	assert_int_equal(echoed(), TS + 20);
}

/* ---- what is refused ---- */

/* §5.1: a duplicate from before the numbers wrapped, which would be new text by its number. */
static void old_duplicate_in_the_window_is_answered_and_dropped(void **state)
{
	uint32_t at;

	text_stamped(rcv_nxt(), 100, TS + 5);
	peer_wait(p, APUS_SEC);
	peer_forget(p);
	at = rcv_nxt();
	text_stamped(at, 100, TS + 4);
	assert_int_equal(rcv_nxt(), at);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, at);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PAWS_REJECTED), 1);
	text_stamped(at, 100, TS + 5);
	assert_int_equal(rcv_nxt(), at + 100);
}

static void refused_segment_acknowledges_nothing(void **state)
{
	peer_write(p, "text", 4);
	p->ts_val = TS - 1;
	peer_send_ack(p, rcv_nxt(), p->iss + 5);
	assert_int_equal(p->c->snd.una, p->iss + 1);
	p->ts_val = TS;
	peer_send_ack(p, rcv_nxt(), p->iss + 5);
	assert_int_equal(p->c->snd.una, p->iss + 5);
}

/* Half of the clock's circle is old. */
static void age_of_a_timestamp_is_counted_modulo_2_32(void **state)
{
	uint32_t at = rcv_nxt();

	text_stamped(at, 10, TS + 0x80000000U);
	assert_int_equal(rcv_nxt(), at);
	text_stamped(at, 10, TS + 0x7fffffffU);
	assert_int_equal(rcv_nxt(), at + 10);
}

/* §5.5: "TS.Recent is invalid" after 24 days without a segment. */
static void timestamp_of_24_days_ago_refuses_nothing(void **state)
{
	uint32_t at = rcv_nxt();

	peer_wait(p, 23 * 86400 * APUS_SEC);
	text_stamped(at, 10, TS - 1);
	assert_int_equal(rcv_nxt(), at);
	peer_wait(p, 2 * 86400 * APUS_SEC);
	peer_introduce(p);
	text_stamped(at, 10, TS - 1);
	assert_int_equal(rcv_nxt(), at + 10);
	assert_int_equal(echoed(), TS - 1);
}

/* ---- what must not move TS.Recent ---- */

/* §5.2: of a RST it "MUST NOT be used to update connection state information" */
static void reset_is_exempt_and_teaches_nothing(void **state)
{
	struct apus_segment rst = peer_segment(rcv_nxt() + 1, 0);

	rst.rst = true;
	p->ts_val = TS + 1000;
	peer_send(p, rst, 0); /* challenged */
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ts_ecr, TS);
	p->ts_val = TS - 1000;
	rst.seq--;
	peer_send(p, rst, 0);
	assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_CLOSED);
}

/* R2 comes before R3. */
static void segment_outside_the_window_teaches_nothing(void **state)
{
	text_stamped(rcv_nxt() + (1U << 20), 10, TS + 1000);
	assert_int_equal(echoed(), TS);
}

static void segment_beyond_a_gap_teaches_nothing(void **state)
{
	text_stamped(rcv_nxt() + 100, 10, TS + 1000);
	assert_int_equal(echoed(), TS);
}

/* A forger who guesses the window, but not the ACK, cannot have all later segments refused. */
static void segment_with_a_bad_ack_teaches_nothing(void **state)
{
	p->ts_val = TS + 1000;
	peer_send_text(p, rcv_nxt(), p->iss + 1000, 10);
	assert_int_equal(echoed(), TS);
}

static void keepalive_from_before_the_window_is_answered(void **state)
{
	p->ts_val = TS + 3;
	peer_send_ack(p, rcv_nxt() - 1, p->iss + 1);
	assert_int_equal(p->heard_count, 1);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(delayed_ack_echoes_the_first_of_two),
		t(duplicate_ack_echoes_the_last_in_sequence),
		t(filled_hole_echoes_what_filled_it),
		t(equal_timestamps_are_taken),
		t(clock_wraps),
		t(old_duplicate_in_the_window_is_answered_and_dropped),
		t(refused_segment_acknowledges_nothing),
		t(age_of_a_timestamp_is_counted_modulo_2_32),
		t(timestamp_of_24_days_ago_refuses_nothing),
		t(reset_is_exempt_and_teaches_nothing),
		t(segment_outside_the_window_teaches_nothing),
		t(segment_beyond_a_gap_teaches_nothing),
		t(segment_with_a_bad_ack_teaches_nothing),
		t(keepalive_from_before_the_window_is_answered),
	};

	return test_main_with_pool(argc, argv, tests);
}
