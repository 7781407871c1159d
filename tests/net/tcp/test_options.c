/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_options.c: which options are offered, accepted and then sent (RFC 7323 §2.2
 * and §3.2, RFC 2018 §2, RFC 6691 §2), from both sides of the handshake.
 */
#include "tests/net/tcp/tcp_peer.h"

#include <errno.h>

#define TS_VAL 0xfffffff0 /* the peer's: about to wrap */

static struct peer *p;

static int setup(void **state)
{
	p = NULL;
	return 0;
}

static int teardown(void **state)
{
	if (p)
		peer_close(p);
	return test_pool_is_full(state);
}

static void open_with(struct apus_tcp_options options)
{
	p = peer_open_with(options);
}

/* A SYN of the peer's, with all options; they may be taken away. */
static struct apus_segment full_syn(void)
{
	struct apus_segment seg = peer_segment(p->irs, 0);

	seg.syn = true;
	seg.mss = 1460;
	seg.wscale = 7;
	seg.sack_permitted = true;
	seg.has_ts = true;
	seg.ts_val = TS_VAL;
	return seg;
}

/* A segment of the peer's after the handshake, with a timestamp. */
static struct apus_segment stamped(uint32_t seq, uint32_t ack, uint32_t ts_val)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	seg.has_ts = true;
	seg.ts_val = ts_val;
	seg.ts_ecr = p->heard_count ? peer_last(p)->ts_val : 0;
	return seg;
}

/* The stack's SYN-ACK to @syn. */
static const struct apus_segment *answer_to(struct apus_segment syn)
{
	if (!p->listener)
		peer_listen(p);
	peer_send(p, syn, 0);
	p->iss = peer_last(p)->seq;
	return peer_last(p);
}

/* A connection that the peer opened with @syn, accepted. */
static void open_by(struct apus_segment syn)
{
	answer_to(syn);
	if (syn.has_ts)
		peer_send(p, stamped(p->irs + 1, p->iss + 1, TS_VAL + 1), 0);
	else
		peer_send_ack(p, p->irs + 1, p->iss + 1);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	peer_forget(p);
}

/* The stack calls, and the peer answers with all options but those taken from @syn. */
static void call_answered_by(struct apus_segment syn)
{
	peer_is_called(p);
	syn.has_ack = true;
	syn.ack = p->iss + 1;
	syn.ts_ecr = peer_last(p)->ts_val;
	peer_send(p, syn, 0);
}

/* ---- what is offered ---- */

static void syn_offers_timestamps_and_sack_in_linux_order(void **state)
{
	open_with((struct apus_tcp_options){0});
	peer_is_called(p);
	assert_true(peer_last(p)->has_ts && peer_last(p)->sack_permitted);
	assert_int_equal(peer_last(p)->ts_ecr, 0); /* RFC 7323 §3.2: no ACK, nothing to echo */
	assert_int_equal(peer_last(p)->mss, 1460); /* RFC 6691 §2: options are not taken off it */
	assert_int_equal(peer_last(p)->wscale, 8);
	assert_int_equal(apus_segment_header_bytes(peer_last(p)), 40);
}

static void syn_offers_what_the_options_leave(void **state)
{
	for (int i = 0; i < 4; i++) {
		open_with((struct apus_tcp_options){.no_timestamps = i & 1, .no_sack = i & 2});
		peer_is_called(p);
		assert_int_equal(peer_last(p)->has_ts, !(i & 1));
		assert_int_equal(peer_last(p)->sack_permitted, !(i & 2));
		peer_close(p);
	}
	p = NULL;
}

static void syn_ack_has_what_both_ends_want(void **state)
{
	for (int i = 0; i < 16; i++) {
		open_with((struct apus_tcp_options){.no_timestamps = i & 1, .no_sack = i & 2});

		struct apus_segment syn = full_syn();

		syn.has_ts = !(i & 4);
		syn.sack_permitted = !(i & 8);

		const struct apus_segment *seg = answer_to(syn);

		assert_true(seg->syn && seg->has_ack);
		assert_int_equal(seg->has_ts, !(i & 5));
		assert_int_equal(seg->sack_permitted, !(i & 10));
		if (seg->has_ts)
			assert_int_equal(seg->ts_ecr, TS_VAL);
		peer_close(p);
	}
	p = NULL;
}

static void syn_ack_sent_again_has_the_same_options(void **state)
{
	open_with((struct apus_tcp_options){0});

	uint32_t first = answer_to(full_syn())->ts_val;

	peer_forget(p);
	peer_wait(p, APUS_SEC);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->has_ts && peer_last(p)->sack_permitted);
	assert_int_equal(peer_last(p)->ts_ecr, TS_VAL);
	assert_int_equal(peer_last(p)->ts_val - first, 1000); /* ticks of a millisecond */
}

static void simultaneous_open_negotiates_as_well(void **state)
{
	open_with((struct apus_tcp_options){0});
	peer_is_called(p);
	peer_send(p, full_syn(), 0);
	assert_true(peer_last(p)->syn && peer_last(p)->has_ack);
	assert_true(peer_last(p)->has_ts && peer_last(p)->sack_permitted);
	assert_int_equal(peer_last(p)->ts_ecr, TS_VAL);
}

/* ---- what was agreed ---- */

static void callee_without_timestamps_gets_none(void **state)
{
	open_with((struct apus_tcp_options){0});
	peer_is_called(p);
	peer_answers(p, peer_syn_ack(p));
	assert_false(p->c->has_ts);
	assert_false(p->c->has_sack);
	peer_write(p, "text", 4);
	assert_false(peer_last(p)->has_ts);
}

static void options_that_were_not_offered_are_not_agreed_on(void **state)
{
	open_with((struct apus_tcp_options){.no_timestamps = true, .no_sack = true});
	call_answered_by(full_syn());
	assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_ESTABLISHED);
	assert_false(p->c->has_ts);
	assert_false(p->c->has_sack);
	assert_false(peer_last(p)->has_ts);
}

/* RFC 7323 §3.2: "the TSopt MUST be sent in every non-<RST> segment". */
static void every_segment_has_a_timestamp_once_agreed(void **state)
{
	open_with((struct apus_tcp_options){0});
	call_answered_by(full_syn());
	peer_write(p, "text", 4);
	peer_send(p, stamped(p->irs + 1, p->iss + 5, TS_VAL + 1), 1000);
	peer_send(p, stamped(p->irs + 11001, p->iss + 5, TS_VAL + 1), 10); /* a gap */
	peer_send(p, stamped(p->irs, p->iss + 5, TS_VAL + 2), 0);          /* a probe */
	peer_wait(p, APUS_SEC);
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_wait(p, APUS_SEC); /* the FIN, sent again */
	assert_true(p->heard_count > 6);
	for (uint32_t i = 1; i < p->heard_count; i++)
		assert_true(p->heard[i].seg.has_ts);
}

/* RFC 7323 §3.2: "and SHOULD be sent in an <RST> segment" */
static void reset_of_an_abort_has_a_timestamp(void **state)
{
	open_with((struct apus_tcp_options){0});
	open_by(full_syn());
	apus_tcp_call_abort(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_true(peer_last(p)->rst && peer_last(p)->has_ts);
	assert_int_equal(peer_last(p)->ts_ecr, TS_VAL + 1);
}

static void reset_without_a_connection_has_none(void **state)
{
	open_with((struct apus_tcp_options){0});
	peer_send(p, stamped(5, 6, 7), 0);
	assert_true(peer_last(p)->rst);
	assert_false(peer_last(p)->has_ts);
}

/* RFC 7323 §3.2, RFC 6691 §2: the sender takes the options off the peer's MSS. */
static void text_of_a_segment_is_shorter_by_the_timestamp(void **state)
{
	static const char text[4000];

	open_with((struct apus_tcp_options){0});
	open_by(full_syn());
	peer_write(p, text, sizeof(text));
	assert_true(p->heard_count >= 2);
	assert_int_equal(p->heard[0].seg.text_bytes, 1460 - 12);
	assert_int_equal(p->heard[1].seg.text_bytes, 1460 - 12);
}

static void least_mss_leaves_room_for_text_beside_all_options(void **state)
{
	static const char text[200];
	struct apus_segment syn;

	open_with((struct apus_tcp_options){0});
	syn = full_syn();
	syn.mss = 1;
	open_by(syn);
	peer_write(p, text, sizeof(text));
	assert_int_equal(p->heard[0].seg.text_bytes, 48 - 12);
	assert_true(48 - (APUS_SEGMENT_HEADER_MAX - APUS_SEGMENT_HEADER_MIN) > 0);
}

/* ---- the clock ---- */

static void clock_ticks_once_in_a_millisecond(void **state)
{
	open_with((struct apus_tcp_options){0});
	open_by(full_syn());
	peer_write(p, "a", 1);

	uint32_t first = peer_last(p)->ts_val;

	peer_wait(p, 7 * APUS_MS);
	peer_write(p, "b", 1);
	assert_int_equal(peer_last(p)->ts_val - first, 7);
}

static void offsets_of_two_connections_tell_nothing_about_each_other(void **state)
{
	uint32_t first;

	open_with((struct apus_tcp_options){0});
	first = answer_to(full_syn())->ts_val;

	struct apus_segment syn = full_syn();

	syn.local_port = PEER_PORT + 1;

	uint32_t apart = answer_to(syn)->ts_val - first;

	assert_true(apart > 10000 && apart < UINT32_MAX - 10000);
}

/* TCP.md §2: "monotonic across FIN and RST"; so RFC 6191 works with us as the peer. */
static void next_incarnation_goes_on_where_the_last_one_was(void **state)
{
	open_with((struct apus_tcp_options){0});
	open_by(full_syn());
	peer_write(p, "a", 1);

	uint32_t last = peer_last(p)->ts_val;
	struct apus_segment rst = stamped(p->irs + 1, 0, TS_VAL + 1);

	rst.has_ack = false;
	rst.rst = true;
	peer_send(p, rst, 0);
	assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_CLOSED);
	apus_tcp_call_close(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_wait(p, 5 * APUS_MS);
	assert_int_equal(answer_to(full_syn())->ts_val - last, 5);
}

static void time_wait_answers_with_a_timestamp(void **state)
{
	open_with((struct apus_tcp_options){0});
	open_by(full_syn());
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);

	struct apus_segment fin = stamped(p->irs + 1, p->iss + 2, TS_VAL + 20);

	fin.fin = true;
	peer_send(p, fin, 0);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 1);

	uint32_t before = peer_last(p)->ts_val;

	peer_wait(p, 30 * APUS_MS);
	peer_send(p, fin, 0);
	assert_true(peer_last(p)->has_ts);
	assert_int_equal(peer_last(p)->ts_val - before, 30);
	assert_int_equal(peer_last(p)->ts_ecr, TS_VAL + 20);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(syn_offers_timestamps_and_sack_in_linux_order),
		t(syn_offers_what_the_options_leave),
		t(syn_ack_has_what_both_ends_want),
		t(syn_ack_sent_again_has_the_same_options),
		t(simultaneous_open_negotiates_as_well),
		t(callee_without_timestamps_gets_none),
		t(options_that_were_not_offered_are_not_agreed_on),
		t(every_segment_has_a_timestamp_once_agreed),
		t(reset_of_an_abort_has_a_timestamp),
		t(reset_without_a_connection_has_none),
		t(text_of_a_segment_is_shorter_by_the_timestamp),
		t(least_mss_leaves_room_for_text_beside_all_options),
		t(clock_ticks_once_in_a_millisecond),
		t(offsets_of_two_connections_tell_nothing_about_each_other),
		t(next_incarnation_goes_on_where_the_last_one_was),
		t(time_wait_answers_with_a_timestamp),
	};

	return test_main_with_pool(argc, argv, tests);
}
