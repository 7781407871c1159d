/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_resets.c: every reset that the stack sends, in its form (RFC 9293 §3.10.7.1;
 * TCP.md §2, "RST forms"):
 *
 *	in answer to a segment with ACK      <SEQ=SEG.ACK><CTL=RST>
 *	in answer to one without             <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
 *	of our own accord                    <SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>
 *
 * all with a window of 0, without text and without options, but for a timestamp in the last kind
 * (RFC 7323 §3.2).
 */
#include "tests/net/tcp/tcp_peer.h"

static struct peer *p;

static int setup(void **state)
{
	p = peer_open();
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static struct apus_segment with_ack(uint32_t seq, uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	return seg;
}

static void assert_bare_reset(const struct apus_segment *seg)
{
	assert_true(seg->rst && !seg->syn && !seg->fin && !seg->psh && !seg->urg);
	assert_int_equal(seg->wnd, 0);
	assert_int_equal(seg->text_bytes, 0);
	assert_false(seg->sack_permitted || seg->sack_count || seg->mss);
	assert_int_equal(seg->wscale, -1);
}

/* The last thing that was heard, once. */
static void assert_answer_to_ack(uint32_t ack)
{
	assert_int_equal(p->heard_count, 1);
	assert_bare_reset(peer_last(p));
	assert_false(peer_last(p)->has_ack || peer_last(p)->has_ts);
	assert_int_equal(peer_last(p)->seq, ack);
	peer_forget(p);
}

static void assert_answer_to_none(uint32_t seq_and_len)
{
	assert_int_equal(p->heard_count, 1);
	assert_bare_reset(peer_last(p));
	assert_true(peer_last(p)->has_ack && !peer_last(p)->has_ts);
	assert_int_equal(peer_last(p)->seq, 0);
	assert_int_equal(peer_last(p)->ack, seq_and_len);
	peer_forget(p);
}

static void assert_own_accord(uint32_t snd_nxt, uint32_t rcv_nxt)
{
	assert_true(p->heard_count >= 1);
	assert_bare_reset(peer_last(p));
	assert_true(peer_last(p)->has_ack);
	assert_int_equal(peer_last(p)->seq, snd_nxt);
	assert_int_equal(peer_last(p)->ack, rcv_nxt);
}

/* With timestamps, so that they would be seen. */
static void establish(void)
{
	struct apus_segment syn = peer_segment(p->irs, 0), ack;

	peer_listen(p);
	syn.syn = syn.has_ts = syn.sack_permitted = true;
	syn.ts_val = 7;
	peer_send(p, syn, 0);
	p->iss = peer_last(p)->seq;
	ack = with_ack(p->irs + 1, p->iss + 1);
	ack.has_ts = true;
	ack.ts_val = 8;
	ack.ts_ecr = peer_last(p)->ts_val;
	peer_send(p, ack, 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	peer_forget(p);
}

static void send_text(uint32_t seq, uint32_t ack, uint32_t bytes)
{
	struct apus_segment seg = with_ack(seq, ack);

	seg.has_ts = p->c ? p->c->has_ts : true;
	seg.ts_val = 9;
	peer_send(p, seg, bytes);
}

/* ---- CLOSED (§3.10.7.1) ---- */

static void closed_answers_each_kind_of_segment_in_its_form(void **state)
{
	struct apus_segment seg = peer_segment(1000, 0);

	seg.syn = true;
	peer_send(p, seg, 0);
	assert_answer_to_none(1001);
	peer_send(p, seg, 10); /* the text counts, too */
	assert_answer_to_none(1011);
	seg.fin = true;
	peer_send(p, seg, 10);
	assert_answer_to_none(1012);
	seg = peer_segment(UINT32_MAX, 0);
	seg.fin = true;
	peer_send(p, seg, 0);
	assert_answer_to_none(0);               /* over the wrap */
	peer_send(p, peer_segment(1000, 0), 0); /* no flag at all */
	assert_answer_to_none(1000);
	peer_send(p, with_ack(1000, 77), 10);
	assert_answer_to_ack(77);
	seg = with_ack(1000, 77);
	seg.syn = true;
	peer_send(p, seg, 0);
	assert_answer_to_ack(77);
}

static void reset_is_never_answered(void **state)
{
	struct apus_segment rst = with_ack(1000, 77);

	rst.rst = true;
	peer_send(p, rst, 0);
	rst.has_ack = false;
	peer_send(p, rst, 10);
	peer_listen(p);
	peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 0);
}

/* ---- LISTEN, SYN-SENT, SYN-RECEIVED ---- */

static void listen_resets_an_ack_at_its_number(void **state)
{
	peer_listen(p);
	peer_send(p, with_ack(1000, 77), 10);
	assert_answer_to_ack(77);
}

static void syn_sent_resets_an_ack_of_what_was_not_sent(void **state)
{
	peer_is_called(p);
	peer_forget(p);
	peer_send(p, with_ack(1000, p->iss), 0);
	assert_answer_to_ack(p->iss);
	peer_send(p, with_ack(1000, p->iss + 2), 0);
	assert_answer_to_ack(p->iss + 2);
	assert_int_equal(p->c->state, APUS_TCP_SYN_SENT);
}

static void syn_received_resets_an_ack_of_what_was_not_sent(void **state)
{
	struct apus_segment syn = peer_segment(p->irs, 0);

	peer_listen(p);
	syn.syn = true;
	peer_send(p, syn, 0);
	p->iss = peer_last(p)->seq;
	peer_forget(p);
	peer_send(p, with_ack(p->irs + 1, p->iss + 2), 0);
	assert_answer_to_ack(p->iss + 2);
}

/* ---- of our own accord ---- */

static void abort_in_each_state_says_where_both_ends_are(void **state)
{
	establish();
	send_text(p->irs + 1, p->iss + 1, 100);
	peer_write(p, "hello", 5);
	peer_forget(p);
	apus_tcp_call_abort(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_own_accord(p->iss + 6, p->irs + 101);
}

static void abort_after_our_fin_counts_it(void **state)
{
	establish();
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	peer_forget(p);
	apus_tcp_call_abort(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_own_accord(p->iss + 2, p->irs + 1);
}

/* RFC 9293 §3.10.5: in SYN-SENT there is nobody yet who could be told. */
static void abort_in_syn_sent_says_nothing(void **state)
{
	peer_is_called(p);
	peer_forget(p);
	apus_tcp_call_abort(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_int_equal(p->heard_count, 0);
}

/* RFC 2525 §2.17 */
static void close_with_unread_text_resets(void **state)
{
	establish();
	send_text(p->irs + 1, p->iss + 1, 100);
	peer_forget(p);
	apus_tcp_call_close(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_own_accord(p->iss + 1, p->irs + 101);
}

static void close_with_linger_zero_resets(void **state)
{
	establish();
	p->c->linger_units = APUS_TCP_LINGER_RESET;
	apus_tcp_call_close(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_own_accord(p->iss + 1, p->irs + 1);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 0);
}

static void listener_that_is_shut_resets_what_nobody_accepted(void **state)
{
	peer_listen(p);
	peer_send_syn(p, p->irs);
	p->iss = peer_last(p)->seq;
	peer_send_ack(p, p->irs + 1, p->iss + 1);
	peer_forget(p);
	apus_tcp_listener_shut(p->listener, apus_clock_read(&p->clock));
	p->listener = NULL;
	peer_turn(p);
	assert_own_accord(p->iss + 1, p->irs + 1);
}

/* RFC 9293 §3.6.1: nobody will read it. It has an ACK, so it is answered by that. */
static void text_after_close_is_reset_at_its_ack(void **state)
{
	struct apus_tcp *c;

	establish();
	c = p->c;
	p->c = NULL;
	apus_tcp_call_close(c, apus_clock_read(&p->clock));
	peer_turn(p);
	assert_true(peer_last(p)->fin);
	peer_forget(p);
	send_text(p->irs + 1, p->iss + 2, 100);
	assert_answer_to_ack(p->iss + 2);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
}

static void half_close_goes_on_reading(void **state)
{
	uint8_t got[100];

	establish();
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	peer_forget(p);
	send_text(p->irs + 1, p->iss + 2, 100);
	assert_int_equal(p->c->state, APUS_TCP_FIN_WAIT_2);
	assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), 100);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_false(p->heard[i].seg.rst);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(closed_answers_each_kind_of_segment_in_its_form),
		TEST(reset_is_never_answered),
		TEST(listen_resets_an_ack_at_its_number),
		TEST(syn_sent_resets_an_ack_of_what_was_not_sent),
		TEST(syn_received_resets_an_ack_of_what_was_not_sent),
		TEST(abort_in_each_state_says_where_both_ends_are),
		TEST(abort_after_our_fin_counts_it),
		TEST(abort_in_syn_sent_says_nothing),
		TEST(close_with_unread_text_resets),
		TEST(close_with_linger_zero_resets),
		TEST(listener_that_is_shut_resets_what_nobody_accepted),
		TEST(text_after_close_is_reset_at_its_ack),
		TEST(half_close_goes_on_reading),
	};
#undef TEST

	return test_main_with_pool(argc, argv, tests);
}
