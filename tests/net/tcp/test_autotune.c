/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_autotune.c: the receive buffer of a connection grows with what its reader takes
 * in a round trip, and with nothing else; and the window that it offers (RFC 9293 §3.8.6).
 */
#include "tests/net/tcp/tcp_peer.h"

#define MSS    1448
#define TRIP   (50 * APUS_MS)
#define BURST  48 /* segments in a turn */
#define WSCALE 7

static struct peer *p;
static uint8_t sink[1 << 20];

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

static void open_with(struct apus_tcp_options options, bool has_ts)
{
	struct apus_segment syn_ack;

	p = peer_open_with(options);
	p->stamps = has_ts;
	p->ts_val = 1;
	peer_is_called(p);
	syn_ack = peer_syn_ack(p);
	syn_ack.wscale = WSCALE;
	peer_answers(p, syn_ack);
}

static uint32_t offered(void)
{
	return p->c->rcv.adv - p->c->rcv.nxt;
}

/* `bytes` of text, in full segments; the edge never moves back. */
static void send_bytes(uint32_t bytes, bool reads)
{
	while (bytes) {
		uint32_t edge = p->c->rcv.adv, at = p->c->rcv.nxt;

		for (int i = 0; i < BURST && bytes; i++) {
			uint32_t n = apus_min(bytes, (uint32_t)MSS);
			struct apus_segment seg = peer_segment(at, p->c->snd.nxt);

			seg.has_ack = true;
			peer_put(p, seg, n);
			at += n;
			bytes -= n;
		}
		peer_turn(p);
		assert_int_equal(p->c->rcv.nxt, at);
		assert_true(apus_seq_geq(p->c->rcv.adv, edge)); /* SHLD-14 */
		while (reads && apus_tcp_call_receive(p->c, sink, sizeof(sink)) > 0)
			;
		peer_turn(p);
		peer_forget(p);
	}
}

/* A sender in slow start, as far as the window lets it. Return: bytes sent in the last trip. */
static uint32_t slow_start(uint32_t trips, bool reads)
{
	uint32_t bytes = 10 * MSS, sent = 0;

	for (uint32_t i = 0; i < trips; i++) {
		sent = apus_min(bytes, offered() / MSS * MSS);
		if (!sent)
			break;
		send_bytes(sent, reads);
		peer_wait(p, TRIP);
		peer_forget(p);
		bytes *= 2;
	}
	return sent;
}

/* ---- the buffer ---- */

static void new_connection_has_128_kib(void **state)
{
	open_with((struct apus_tcp_options){0}, true);
	send_bytes(10, false);
	peer_wait(p, APUS_SEC);
	assert_in_range(offered(), 128 * 1024 - 20, 128 * 1024);
	assert_null(p->c->drs); /* it has received little: it is not measured */
}

static void fast_reader_is_never_held_back(void **state)
{
	open_with((struct apus_tcp_options){0}, true);
	assert_int_equal(slow_start(8, true), 10 * MSS << 7);
	assert_true(offered() >= 10 * MSS << 7);
}

/* Without timestamps the round trip is known only when a whole window has come. */
static void fast_reader_without_timestamps_is_held_back_for_a_while(void **state)
{
	open_with((struct apus_tcp_options){0}, false);
	slow_start(14, true);
	assert_true(offered() >= 10 * MSS << 7);
}

static void buffer_ends_at_the_limit(void **state)
{
	open_with((struct apus_tcp_options){.rcv_buffer_max = 600000}, true);
	slow_start(9, true);
	assert_int_equal(p->c->rcv_buffer, 600000);
	assert_true(offered() <= 600000);
}

/* A quarter of the link's mbufs: 15 MB would be all of a small pool. */
static void buffer_ends_at_a_share_of_the_pool(void **state)
{
	open_with((struct apus_tcp_options){0}, true);
	slow_start(12, true);
	assert_true(p->c->rcv_buffer <= TEST_POOL_MBUFS / 4 * 1072);
	assert_true(p->c->rcv_buffer > 1 << 20);
}

static void buffer_does_not_grow_while_mbufs_are_few(void **state)
{
	static struct rte_mbuf *taken[TEST_POOL_MBUFS * 6 / 10];

	open_with((struct apus_tcp_options){0}, true);
	for (size_t i = 0; i < apus_countof(taken); i++)
		assert_non_null(taken[i] = rte_pktmbuf_alloc(test_pool));
	slow_start(8, true);
	assert_int_equal(p->c->rcv_buffer, APUS_TCP_RCV_BUFFER_BYTES);
	for (size_t i = 0; i < apus_countof(taken); i++)
		rte_pktmbuf_free(taken[i]);
}

static void slow_reader_gets_no_more(void **state)
{
	open_with((struct apus_tcp_options){0}, true);
	slow_start(20, false);
	assert_int_equal(p->c->rcv_buffer, APUS_TCP_RCV_BUFFER_BYTES);
	assert_true(p->c->rcvq.bytes <= APUS_TCP_RCV_BUFFER_BYTES);
	assert_true(offered() < MSS);
}

/* The same amount per trip, for ever, is no reason to grow, but for the first jump. */
static void steady_sender_does_not_inflate_it(void **state)
{
	open_with((struct apus_tcp_options){0}, true);
	for (int i = 0; i < 200; i++) {
		send_bytes(40 * MSS, true);
		peer_wait(p, TRIP);
		peer_forget(p);
	}
	assert_in_range(p->c->rcv_buffer, APUS_TCP_RCV_BUFFER_BYTES, 1 << 20);
}

static void scale_is_that_of_the_largest_buffer(void **state)
{
	static const struct {
		uint32_t max;
		int scale;
	} cases[] = {{0, 8},      {1 << 20, 5},    {65535, 1},     {131070, 1},
		     {131071, 2}, {64U << 20, 11}, {1U << 30, 14}, {UINT32_MAX, 14}};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		p = peer_open_with((struct apus_tcp_options){.rcv_buffer_bytes = 65535,
							     .rcv_buffer_max = cases[i].max});
		peer_is_called(p);
		assert_int_equal(peer_last(p)->wscale, cases[i].scale);
		assert_int_equal(peer_last(p)->wnd, 65535); /* not scaled */
		peer_close(p);
	}
	p = NULL;
}

/* ---- the window: RFC 9293 §3.8.6.2.2 (MUST-39), against the silly window syndrome ---- */

static void window_opens_by_a_segment_or_half_the_buffer(void **state)
{
	static uint8_t byte;
	uint32_t edge;

	open_with((struct apus_tcp_options){.rcv_buffer_bytes = 20 * MSS}, true);
	while (offered() >= MSS)
		send_bytes(MSS, false);
	send_bytes(offered(), false);
	edge = p->c->rcv.adv;
	for (int i = 0; i < MSS - 300; i++) { /* the field counts in units of 256 */
		assert_int_equal(apus_tcp_call_receive(p->c, &byte, 1), 1);
		peer_turn(p);
		assert_int_equal(p->c->rcv.adv, edge);
	}
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(apus_tcp_call_receive(p->c, sink, 3 * MSS), 3 * MSS);
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->wnd >= 3 * MSS >> 8);
}

/* ---- the peer's window: MUST-34, "a sending TCP peer MUST be robust against window shrinking" ---- */

static void peer_window(uint32_t ack, uint16_t wnd)
{
	struct apus_segment seg = peer_segment(p->c->rcv.nxt, ack);

	seg.has_ack = true;
	seg.wnd = wnd;
	peer_send(p, seg, 0);
}

static void window_that_shrinks_below_what_was_sent(void **state)
{
	static const uint8_t text[8 * MSS];
	uint32_t una, nxt;

	open_with((struct apus_tcp_options){0}, true);
	una = p->c->snd.una;
	peer_write(p, text, sizeof(text));
	nxt = p->c->snd.nxt;
	assert_int_equal(nxt - una, 8 * MSS);
	peer_window(una + MSS, 2 * MSS >> WSCALE); /* its edge is now 5 segments back */
	peer_forget(p);
	peer_write(p, text, MSS);
	assert_int_equal(p->heard_count, 0); /* SHLD-15: no new text beyond it */
	assert_int_equal(p->c->snd.nxt, nxt);
	peer_wait(p, APUS_SEC);
	assert_true(p->heard_count > 0); /* SHLD-17: what is between is sent again */
	for (uint32_t i = 0; i < p->heard_count; i++)
		assert_true(apus_seq_lt(p->heard[i].seg.seq, nxt));
	peer_window(nxt, 60000 >> WSCALE); /* an ACK from beyond the edge counts */
	assert_int_equal(p->c->snd.una, nxt);
	peer_window(p->c->snd.nxt, 60000 >> WSCALE);
	assert_int_equal(p->c->sndq.bytes, 0);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(new_connection_has_128_kib),
		t(fast_reader_is_never_held_back),
		t(fast_reader_without_timestamps_is_held_back_for_a_while),
		t(buffer_ends_at_the_limit),
		t(buffer_ends_at_a_share_of_the_pool),
		t(buffer_does_not_grow_while_mbufs_are_few),
		t(slow_reader_gets_no_more),
		t(steady_sender_does_not_inflate_it),
		t(scale_is_that_of_the_largest_buffer),
		t(window_opens_by_a_segment_or_half_the_buffer),
		t(window_that_shrinks_below_what_was_sent),
	};

	return test_main_with_pool(argc, argv, tests);
}
