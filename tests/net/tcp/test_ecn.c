/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_ecn.c: explicit congestion notification, clause by clause (RFC 3168 §6.1), and
 * the receiver of DCTCP (RFC 8257 §3.2).
 */
#include "tests/net/tcp/tcp_peer.h"

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

static void open_with(enum apus_tcp_ecn ecn)
{
	p = peer_open_with((struct apus_tcp_options){.ecn = ecn});
}

/* The stack's answer to a SYN with these bits. */
static const struct apus_segment *answer_to_syn(bool ece, bool cwr)
{
	struct apus_segment syn = peer_segment(p->irs, 0);

	syn.syn = true;
	syn.mss = 1460;
	syn.ece = ece;
	syn.cwr = cwr;
	if (!p->listener)
		peer_listen(p);
	peer_send(p, syn, 0);
	p->iss = peer_last(p)->seq;
	return peer_last(p);
}

/* A connection that the peer opened and asked for ECN on. */
static void established(void)
{
	open_with(APUS_TCP_ECN_ACCEPT);
	assert_true(answer_to_syn(true, true)->ece);
	peer_send_ack(p, p->irs + 1, p->iss + 1);
	p->c = apus_tcp_listener_take(p->listener);
	p->c->rcv.quick = 0;
	peer_forget(p);
}

static void send_text(uint32_t bytes, uint8_t ecn, bool cwr)
{
	struct apus_segment seg = peer_segment(p->c->rcv.nxt, p->c->snd.nxt);

	seg.has_ack = true;
	seg.ecn = ecn;
	seg.cwr = cwr;
	peer_send(p, seg, bytes);
}

static void send_ack(uint32_t ack, bool ece)
{
	struct apus_segment seg = peer_segment(p->c->rcv.nxt, ack);

	seg.has_ack = true;
	seg.ece = ece;
	peer_send(p, seg, 0);
}

/* The ACK that is owed, now. */
static const struct apus_segment *acked(void)
{
	peer_wait(p, APUS_TCP_DELAYED_ACK_NS);
	return peer_last(p);
}

static void write_segments(uint32_t count)
{
	static const char text[20 * 1460];

	peer_write(p, text, count * 1460);
}

/* ---- §6.1.1: what is agreed ---- */

static void syn_asks_only_when_told_to(void **state)
{
	static const struct {
		enum apus_tcp_ecn ecn;
		bool asks;
	} cases[] = {{APUS_TCP_ECN_ACCEPT, false},
		     {APUS_TCP_ECN_NEVER, false},
		     {APUS_TCP_ECN_ASK, true}};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		open_with(cases[i].ecn);
		peer_is_called(p);
		assert_int_equal(peer_last(p)->ece, cases[i].asks);
		assert_int_equal(peer_last(p)->cwr, cases[i].asks);
		assert_int_equal(peer_last(p)->ecn, 0); /* "MUST NOT set ECT on SYN" */
		peer_close(p);
	}
	p = NULL;
}

static void syn_ack_agrees_when_asked(void **state)
{
	for (int bits = 0; bits < 4; bits++) {
		for (int never = 0; never < 2; never++) {
			const struct apus_segment *seg;

			open_with(never ? APUS_TCP_ECN_NEVER : APUS_TCP_ECN_ACCEPT);
			seg = answer_to_syn(bits & 1, bits & 2);
			assert_int_equal(seg->ece, bits == 3 && !never);
			assert_false(seg->cwr);
			assert_int_equal(seg->ecn, 0);
			peer_close(p);
		}
	}
	p = NULL;
}

/* A SYN-ACK with both bits is one that a broken host has copied them into. */
static void only_ece_alone_agrees(void **state)
{
	for (int bits = 0; bits < 4; bits++) {
		struct apus_segment syn_ack;

		open_with(APUS_TCP_ECN_ASK);
		peer_is_called(p);
		syn_ack = peer_syn_ack(p);
		syn_ack.ece = bits & 1;
		syn_ack.cwr = bits & 2;
		peer_answers(p, syn_ack);
		write_segments(1);
		assert_int_equal(peer_last(p)->ecn, bits == 1 ? APUS_SEGMENT_ECT_0 : 0);
		peer_close(p);
	}
	p = NULL;
}

static void agreement_that_was_not_asked_for_is_none(void **state)
{
	struct apus_segment syn_ack;

	open_with(APUS_TCP_ECN_ACCEPT);
	peer_is_called(p);
	syn_ack = peer_syn_ack(p);
	syn_ack.ece = true;
	peer_answers(p, syn_ack);
	write_segments(1);
	assert_int_equal(peer_last(p)->ecn, 0);
}

/* §6.1.1.1: a SYN without an answer goes again without the bits; ECT is not sent then. */
static void syn_without_answer_stops_asking(void **state)
{
	struct apus_segment syn_ack;

	open_with(APUS_TCP_ECN_ASK);
	peer_is_called(p);
	peer_wait(p, APUS_SEC);
	assert_int_equal(p->heard_count, 2);
	assert_true(peer_last(p)->syn && !peer_last(p)->ece && !peer_last(p)->cwr);
	syn_ack = peer_syn_ack(p);
	syn_ack.ece = true; /* the answer to the first one, late */
	peer_answers(p, syn_ack);
	write_segments(1);
	assert_int_equal(peer_last(p)->ecn, 0);
	send_text(1460, APUS_SEGMENT_CE, false); /* but a mark is echoed: §6.1.1 */
	assert_true(acked()->ece);
}

static void syn_again_without_asking_is_answered_without(void **state)
{
	open_with(APUS_TCP_ECN_ACCEPT);
	assert_true(answer_to_syn(true, true)->ece);
	assert_false(answer_to_syn(false, false)->ece);
}

/* ---- §6.1.2 to §6.1.6: what is marked ---- */

static void new_text_is_marked_and_nothing_else(void **state)
{
	established();
	send_text(100, 0, false);
	assert_int_equal(acked()->ecn, 0); /* §6.1.4: a pure ACK */
	peer_forget(p);
	write_segments(3);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_int_equal(p->heard[i].seg.ecn, APUS_SEGMENT_ECT_0);
	peer_forget(p);
	peer_wait(p, 3 * APUS_SEC);
	assert_true(p->heard_count > 0 && peer_last(p)->text_bytes);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_int_equal(p->heard[i].seg.ecn, 0); /* §6.1.5: sent again */
}

static void window_probe_is_not_marked(void **state)
{
	struct apus_segment closed;

	established();
	closed = peer_segment(p->c->rcv.nxt, p->c->snd.nxt);
	closed.has_ack = true;
	closed.wnd = 0;
	peer_send(p, closed, 0);
	write_segments(1);
	peer_forget(p);
	peer_wait(p, 5 * APUS_SEC);
	assert_true(p->heard_count > 0);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_int_equal(p->heard[i].seg.ecn, 0); /* §6.1.6 */
}

static void nothing_is_marked_without_agreement(void **state)
{
	open_with(APUS_TCP_ECN_ACCEPT);
	answer_to_syn(false, false);
	peer_send_ack(p, p->irs + 1, p->iss + 1);
	p->c = apus_tcp_listener_take(p->listener);
	peer_forget(p);
	write_segments(2);
	assert_int_equal(peer_last(p)->ecn, 0);
	send_text(1460, APUS_SEGMENT_CE, false);
	assert_false(acked()->ece);
	send_ack(p->c->snd.nxt, true);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ECN_REDUCTIONS), 0);
}

/* ---- §6.1.3: the receiver ---- */

static void mark_is_echoed_until_cwr(void **state)
{
	established();
	send_text(100, APUS_SEGMENT_ECT_0, false);
	assert_false(acked()->ece);
	send_text(100, APUS_SEGMENT_CE, false);
	assert_true(acked()->ece);
	for (int i = 0; i < 5; i++) {
		send_text(100, APUS_SEGMENT_ECT_0, false);
		assert_true(acked()->ece);
	}
	write_segments(1);
	assert_true(peer_last(p)->ece); /* on text, too */
	send_text(100, APUS_SEGMENT_ECT_0, true);
	assert_false(acked()->ece);
}

static void mark_on_the_segment_with_cwr_counts(void **state)
{
	established();
	send_text(100, APUS_SEGMENT_CE, false);
	send_text(100, APUS_SEGMENT_CE, true);
	assert_true(acked()->ece);
}

/* §6.1.5: "SHOULD ignore the ECN field on arriving data packets that are outside of the window" */
static void mark_outside_the_window_is_ignored(void **state)
{
	struct apus_segment seg;

	established();
	send_text(100, 0, false);
	acked();
	seg = peer_segment(p->irs + 1, p->c->snd.nxt);
	seg.has_ack = true;
	seg.ecn = APUS_SEGMENT_CE;
	peer_send(p, seg, 100); /* old */
	assert_false(peer_last(p)->ece);
	seg.seq = p->c->rcv.adv + 100;
	peer_send(p, seg, 100);
	assert_false(peer_last(p)->ece);
}

/* ---- §6.1.2: the sender ---- */

static void echo_shrinks_the_window_once_in_each(void **state)
{
	uint32_t una, before, after;

	established();
	una = p->c->snd.una;
	write_segments(10);
	before = p->c->cc.cwnd_bytes;
	send_ack(una + 1460, true);
	after = p->c->cc.cwnd_bytes;
	assert_true(after < before); /* by PRR, until the end of the window */
	assert_true(p->c->cc.ssthresh_bytes < before);
	send_ack(una + 2 * 1460, true);
	send_ack(una + 3 * 1460, true);
	assert_true(p->c->cc.cwnd_bytes <= after + 1460);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ECN_REDUCTIONS), 1);
	write_segments(5);
	send_ack(una + 10 * 1460, false);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ECN_REDUCTIONS), 1);
	send_ack(una + 11 * 1460, false); /* beyond what was in flight then */
	assert_int_equal(p->c->cc.cwnd_bytes, p->c->cc.ssthresh_bytes);
	send_ack(una + 12 * 1460, true);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_ECN_REDUCTIONS), 2);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_RETRANSMITS), 0);
}

static void first_new_text_after_that_says_cwr(void **state)
{
	uint32_t una, said = 0;

	established();
	una = p->c->snd.una;
	write_segments(10);
	send_ack(una + 1460, true);
	peer_forget(p);
	write_segments(4);
	for (uint32_t ack = 2; ack <= 10; ack++)
		send_ack(una + ack * 1460, false);
	assert_true(p->heard_count >= 4);
	assert_true(p->heard[0].seg.cwr && p->heard[0].seg.text_bytes);
	for (uint32_t i = 0; i < p->heard_count; i++)
		said += p->heard[i].seg.cwr;
	assert_int_equal(said, 1);
}

/* "in response to ... a Retransmit Timeout" the window shrinks as well, and the peer is told. */
static void timeout_is_told_by_cwr_on_new_text(void **state)
{
	established();
	write_segments(1);
	peer_forget(p);
	peer_wait(p, APUS_SEC);
	assert_true(p->heard_count > 0);
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_false(p->heard[i].seg.cwr);
	send_ack(p->c->snd.nxt, false);
	peer_forget(p);
	write_segments(1);
	assert_true(p->heard[0].seg.cwr);
}

/* ---- RFC 8257 §3.2 ---- */

static void dctcp_echoes_mark_by_mark(void **state)
{
	static const uint8_t marks[] = {2, 2, 3, 3, 2, 3, 2};
	uint32_t marked = 0, clear = 0, ack;

	established();
	p->c->snd.ecn.marks_all = true;
	ack = p->c->rcv.nxt;
	for (size_t i = 0; i < apus_countof(marks); i++)
		send_text(100, marks[i], false);
	acked();
	for (uint32_t i = 0; i < p->heard_count; i++) {
		const struct apus_segment *h = &p->heard[i].seg;

		*(h->ece ? &marked : &clear) += h->ack - ack;
		ack = h->ack;
		assert_int_equal(h->ecn, APUS_SEGMENT_ECT_0);
	}
	assert_int_equal(marked, 300);
	assert_int_equal(clear, 400);
}

/* The same within one burst, where only one ACK would leave at its end. */
static void dctcp_tells_marks_of_a_burst_apart(void **state)
{
	uint32_t ack, marked = 0;

	established();
	p->c->snd.ecn.marks_all = true;
	ack = p->c->rcv.nxt;
	for (uint32_t i = 0; i < 6; i++) {
		struct apus_segment seg = peer_segment(ack + i * 100, p->c->snd.nxt);

		seg.has_ack = true;
		seg.ecn = i == 2 || i == 3 ? APUS_SEGMENT_CE : APUS_SEGMENT_ECT_0;
		peer_put(p, seg, 100);
	}
	peer_turn(p);
	acked();
	for (uint32_t i = 0; i < p->heard_count; i++) {
		marked += p->heard[i].seg.ece ? p->heard[i].seg.ack - ack : 0;
		ack = p->heard[i].seg.ack;
	}
	assert_int_equal(marked, 200);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(syn_asks_only_when_told_to),
		t(syn_ack_agrees_when_asked),
		t(only_ece_alone_agrees),
		t(agreement_that_was_not_asked_for_is_none),
		t(syn_without_answer_stops_asking),
		t(syn_again_without_asking_is_answered_without),
		t(new_text_is_marked_and_nothing_else),
		t(window_probe_is_not_marked),
		t(nothing_is_marked_without_agreement),
		t(mark_is_echoed_until_cwr),
		t(mark_on_the_segment_with_cwr_counts),
		t(mark_outside_the_window_is_ignored),
		t(echo_shrinks_the_window_once_in_each),
		t(first_new_text_after_that_says_cwr),
		t(timeout_is_told_by_cwr_on_new_text),
		t(dctcp_echoes_mark_by_mark),
		t(dctcp_tells_marks_of_a_burst_apart),
	};

	return test_main_with_pool(argc, argv, tests);
}
