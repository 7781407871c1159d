/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_listen.c: LISTEN, request entries, the backlog and the accept queue, segment
 * by segment (RFC 9293 §3.10.7.2, and §3.10.7.4 for SYN-RECEIVED that came from LISTEN).
 */
#include "tests/net/tcp/tcp_peer.h"

#define SYN_SEQ 1000

static struct peer *p;

static int setup(void **state)
{
	p = peer_open_with((struct apus_tcp_options){.cookies = APUS_TCP_COOKIES_NEVER});
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static int64_t now(void)
{
	return apus_clock_read(&p->clock);
}

/* Without cookies, which have tests of their own: test_syncookies.c. */
static void listen_with(uint32_t backlog)
{
	struct apus_endpoint any = {.port = SERVER_PORT};

	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, any, backlog, &p->listener), 0);
}

static uint64_t count(enum apus_tcp_counter counter)
{
	return peer_counter(p, counter);
}

static size_t open_count(void)
{
	return apus_tcp_layer_open(&p->stack->tcp);
}

/* The SYN of a peer at @port; what answers it, or NULL. */
static const struct apus_segment *syn_from(uint16_t port, struct apus_segment syn)
{
	peer_forget(p);
	syn.syn = true;
	syn.local_port = port;
	peer_send(p, syn, 0);
	return p->heard_count ? peer_last(p) : NULL;
}

static const struct apus_segment *plain_syn(uint16_t port)
{
	return syn_from(port, (struct apus_segment){.seq = SYN_SEQ, .wnd = 5000, .wscale = -1});
}

static void ack_from(uint16_t port, uint32_t seq, uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	seg.local_port = port;
	peer_forget(p);
	peer_send(p, seg, 0);
}

/* The whole handshake; the stack's ISS. */
static uint32_t open_from(uint16_t port)
{
	uint32_t iss = plain_syn(port)->seq;

	ack_from(port, SYN_SEQ + 1, iss + 1);
	return iss;
}

static struct apus_tcp *take(void)
{
	return apus_tcp_listener_take(p->listener);
}

/* ---- the SYN and its answer ---- */

static void syn_makes_an_entry_and_not_a_connection(void **state)
{
	listen_with(0);
	plain_syn(PEER_PORT);
	assert_int_equal(p->stack->tcp.requests.used, 1);
	assert_int_equal(p->stack->tcp.connections.used, 0);
	assert_int_equal(open_count(), 1);
}

static void syn_is_answered_by_syn_ack(void **state)
{
	const struct apus_segment *seg;

	listen_with(0);
	seg = plain_syn(PEER_PORT);
	assert_int_equal(p->heard_count, 1);
	assert_true(seg->syn && seg->has_ack && !seg->rst && !seg->fin);
	assert_int_equal(seg->ack, SYN_SEQ + 1);
	assert_int_equal(seg->mss, 1460);
	assert_int_equal(seg->wnd, 65535); /* not scaled in a SYN */
}

static void syn_ack_has_only_the_options_that_the_syn_had(void **state)
{
	struct apus_segment syn = {.seq = SYN_SEQ, .wnd = 5000, .mss = 1460, .wscale = 7};

	listen_with(0);
	assert_true(plain_syn(PEER_PORT)->wscale < 0);
	assert_int_equal(syn_from(PEER_PORT + 1, syn)->wscale, 8);
}

static void text_on_a_syn_is_not_acknowledged(void **state)
{
	struct apus_segment syn = {.seq = SYN_SEQ, .wnd = 5000, .syn = true, .wscale = -1};

	listen_with(0);
	peer_send(p, syn, 100);
	assert_int_equal(peer_last(p)->ack, SYN_SEQ + 1);
}

static void syn_with_fin_is_dropped(void **state)
{
	struct apus_segment syn = {.seq = SYN_SEQ, .fin = true, .wscale = -1};

	listen_with(0);
	assert_null(syn_from(PEER_PORT, syn));
	assert_int_equal(open_count(), 0);
	assert_int_equal(count(APUS_TCP_COUNT_DROP_LISTEN), 1);
}

static void reset_to_a_listener_is_ignored(void **state)
{
	struct apus_segment rst = {.seq = SYN_SEQ, .rst = true, .wscale = -1};

	listen_with(0);
	peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(count(APUS_TCP_COUNT_DROP_LISTEN), 1);
}

static void ack_to_a_listener_is_reset_at_its_number(void **state)
{
	listen_with(0);
	ack_from(PEER_PORT, SYN_SEQ, 777);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->rst && !peer_last(p)->has_ack);
	assert_int_equal(peer_last(p)->seq, 777);
	assert_int_equal(peer_last(p)->wnd, 0);
}

static void syn_ack_is_sent_again_after_1_2_4_8_16_seconds_and_then_no_more(void **state)
{
	listen_with(0);
	plain_syn(PEER_PORT);
	for (int i = 0; i < APUS_TCP_SYN_ACK_RETRIES; i++) {
		peer_forget(p);
		peer_wait(p, (APUS_SEC << i) - APUS_MS);
		assert_int_equal(p->heard_count, 0);
		peer_wait(p, APUS_MS);
		assert_int_equal(p->heard_count, 1);
		assert_true(peer_last(p)->syn && peer_last(p)->has_ack);
	}
	peer_forget(p);
	peer_wait(p, 32 * APUS_SEC - APUS_MS);
	assert_int_equal(open_count(), 1);
	peer_wait(p, 100 * APUS_SEC);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(open_count(), 0);
	assert_int_equal(count(APUS_TCP_COUNT_REQUEST_TIMEOUTS), 1);
}

static void syn_again_is_answered_again_and_is_still_one_entry(void **state)
{
	uint32_t iss;

	listen_with(0);
	iss = plain_syn(PEER_PORT)->seq;
	assert_int_equal(plain_syn(PEER_PORT)->seq, iss);
	assert_int_equal(open_count(), 1);
}

/* ---- SYN-RECEIVED ---- */

static void ack_opens_a_connection_and_queues_it(void **state)
{
	struct apus_tcp *c;

	listen_with(0);
	open_from(PEER_PORT);
	assert_int_equal(p->stack->tcp.requests.used, 0);
	c = p->c = take();
	assert_non_null(c);
	assert_int_equal(c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(c->snd.wnd, PEER_WINDOW);
	assert_int_equal(p->heard_count, 0); /* nothing to say to that */
}

static void ack_with_text_opens_and_delivers(void **state)
{
	struct apus_segment seg;
	char buf[100];

	listen_with(0);
	seg = peer_segment(SYN_SEQ + 1, plain_syn(PEER_PORT)->seq + 1);
	seg.has_ack = true;
	peer_send(p, seg, 10);
	p->c = take();
	assert_non_null(p->c);
	assert_int_equal(apus_tcp_call_receive(p->c, buf, sizeof(buf)), 10);
	assert_int_equal(peer_last(p)->ack, SYN_SEQ + 11);
}

static void ack_with_fin_opens_and_ends(void **state)
{
	struct apus_segment seg;
	char buf[100];

	listen_with(0);
	seg = peer_segment(SYN_SEQ + 1, plain_syn(PEER_PORT)->seq + 1);
	seg.has_ack = seg.fin = true;
	peer_send(p, seg, 0);
	p->c = take();
	assert_int_equal(p->c->state, APUS_TCP_CLOSE_WAIT);
	assert_int_equal(apus_tcp_call_receive(p->c, buf, sizeof(buf)), 0);
}

static void windows_are_scaled_when_both_offered_it(void **state)
{
	struct apus_segment syn = {.seq = SYN_SEQ, .wnd = 5000, .mss = 1460, .wscale = 14};

	listen_with(0);
	ack_from(PEER_PORT, SYN_SEQ + 1, syn_from(PEER_PORT, syn)->seq + 1);
	p->c = take();
	assert_int_equal(p->c->snd.wnd, (uint32_t)PEER_WINDOW << 14);
	assert_int_equal(p->c->rcv.wscale, 8);
}

static void segment_size_is_the_peers_or_536_and_never_below_48(void **state)
{
	static const struct {
		uint16_t offered;
		uint32_t used;
	} cases[] = {{0, 536}, {1, 48}, {100, 100}, {1400, 1400}, {9000, 1460}};

	listen_with(0);
	for (uint16_t i = 0; i < apus_countof(cases); i++) {
		struct apus_segment syn = {
			.seq = SYN_SEQ, .wnd = 5000, .mss = cases[i].offered, .wscale = -1};
		uint32_t iss = syn_from(PEER_PORT + i, syn)->seq;
		struct apus_tcp *c;

		ack_from(PEER_PORT + i, SYN_SEQ + 1, iss + 1);
		c = take();
		assert_int_equal(c->cc.mss, cases[i].used);
		apus_tcp_call_abort(c, now());
	}
}

static void ack_of_what_was_not_sent_is_reset_and_the_entry_stays(void **state)
{
	uint32_t iss;

	listen_with(0);
	iss = plain_syn(PEER_PORT)->seq;
	ack_from(PEER_PORT, SYN_SEQ + 1, iss + 2);
	assert_true(peer_last(p)->rst);
	assert_int_equal(peer_last(p)->seq, iss + 2);
	assert_int_equal(open_count(), 1);
}

static void reset_at_rcv_nxt_ends_the_entry(void **state)
{
	struct apus_segment rst = {.seq = SYN_SEQ + 1, .rst = true, .wscale = -1};

	listen_with(0);
	plain_syn(PEER_PORT);
	peer_forget(p);
	peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(open_count(), 0);
	assert_int_equal(count(APUS_TCP_COUNT_RESETS_IN), 1);
}

static void reset_elsewhere_in_the_window_is_challenged_once(void **state)
{
	struct apus_segment rst = {.seq = SYN_SEQ + 2, .rst = true, .wscale = -1};

	listen_with(0);
	plain_syn(PEER_PORT);
	peer_forget(p);
	peer_send(p, rst, 0);
	peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->has_ack && !peer_last(p)->syn && !peer_last(p)->rst);
	assert_int_equal(peer_last(p)->ack, SYN_SEQ + 1);
	assert_int_equal(open_count(), 1);
	assert_int_equal(count(APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED), 1);
}

static void reset_outside_the_window_is_dropped(void **state)
{
	struct apus_segment rst = {.seq = SYN_SEQ - 5, .rst = true, .wscale = -1};

	listen_with(0);
	plain_syn(PEER_PORT);
	peer_forget(p);
	peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(open_count(), 1);
}

static void another_syn_in_the_window_returns_to_listen(void **state)
{
	struct apus_segment syn = {.seq = SYN_SEQ + 100, .wnd = 5000, .wscale = -1};

	listen_with(0);
	plain_syn(PEER_PORT);
	assert_null(syn_from(PEER_PORT, syn));
	assert_int_equal(open_count(), 0);
	assert_non_null(plain_syn(PEER_PORT)); /* and the listener listens */
}

static void segment_without_ack_is_dropped(void **state)
{
	struct apus_segment seg = peer_segment(SYN_SEQ + 1, 0);

	listen_with(0);
	plain_syn(PEER_PORT);
	peer_forget(p);
	peer_send(p, seg, 5);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(count(APUS_TCP_COUNT_DROP_NO_ACK), 1);
}

/* ---- limits ---- */

static void full_backlog_drops_a_syn_while_its_entries_are_fresh(void **state)
{
	listen_with(4);
	for (uint16_t i = 0; i < 4; i++)
		assert_non_null(plain_syn(PEER_PORT + i));
	assert_null(plain_syn(PEER_PORT + 4));
	assert_int_equal(open_count(), 4);
	assert_int_equal(count(APUS_TCP_COUNT_LISTEN_DROP), 1);
}

static void full_backlog_gives_up_the_oldest_that_did_not_answer(void **state)
{
	uint32_t iss;

	listen_with(4);
	for (uint16_t i = 0; i < 4; i++)
		plain_syn(PEER_PORT + i);
	peer_wait(p, 1100 * APUS_MS);
	iss = plain_syn(PEER_PORT + 4)->seq;
	assert_int_equal(open_count(), 4);
	assert_int_equal(count(APUS_TCP_COUNT_REQUEST_EVICTED), 1);
	ack_from(PEER_PORT + 4, SYN_SEQ + 1, iss + 1);
	p->c = take();
	assert_non_null(p->c);
	ack_from(PEER_PORT, SYN_SEQ + 1, 1); /* the oldest is gone */
	assert_true(peer_last(p)->rst);
}

static void full_accept_queue_ignores_the_ack_and_keeps_the_entry(void **state)
{
	uint32_t iss;

	listen_with(1);
	iss = plain_syn(PEER_PORT)->seq;
	p->listener->backlog = 2;
	open_from(PEER_PORT + 1);
	p->listener->backlog = 1;
	ack_from(PEER_PORT, SYN_SEQ + 1, iss + 1);
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(count(APUS_TCP_COUNT_ACCEPT_OVERFLOW), 1);
	assert_int_equal(p->stack->tcp.requests.used, 1);

	p->c = take(); /* room again: the next one finds the entry */
	ack_from(PEER_PORT, SYN_SEQ + 1, iss + 1);
	assert_int_equal(p->stack->tcp.requests.used, 0);
	assert_int_equal(p->stack->tcp.connections.used, 2);
}

static void full_accept_queue_promises_nothing_more(void **state)
{
	listen_with(2);
	open_from(PEER_PORT);
	open_from(PEER_PORT + 1);
	assert_null(plain_syn(PEER_PORT + 2));
	assert_int_equal(count(APUS_TCP_COUNT_LISTEN_DROP), 1);
}

static void accept_queue_is_first_come_first_served_as_it_grows(void **state)
{
	listen_with(50);
	for (uint16_t i = 0; i < 40; i++)
		open_from(PEER_PORT + i);
	for (uint16_t i = 0; i < 40; i++) {
		struct apus_tcp *c = take();

		assert_int_equal(c->key.remote_port, PEER_PORT + i);
		apus_tcp_call_abort(c, now());
	}
	assert_null(take());
}

static void no_memory_for_an_entry_is_counted_and_harmless(void **state)
{
	listen_with(0);
	for (uint16_t i = 0; i < 64; i++) /* connections_max of the fixture */
		assert_non_null(plain_syn(PEER_PORT + i));
	assert_null(plain_syn(PEER_PORT + 64));
	assert_int_equal(count(APUS_TCP_COUNT_NO_MEMORY), 1);
}

/* Every allocation on the way of a connection may be the one that fails; another try succeeds. */
static void memory_may_run_out_anywhere_and_nothing_breaks(void **state)
{
	struct apus_endpoint any = {.port = SERVER_PORT};

	for (int64_t n = 0; n < 12; n++) {
		struct apus_tcp_listener *l;
		struct apus_heap *heap;
		struct apus_tcp *c;
		int rc;

		assert_int_equal(teardown(NULL), 0);
		setup(NULL);
		heap = apus_shard_heap(p->shard);
		apus_heap_fail_after(heap, n);
		rc = apus_tcp_listener_open(&p->stack->tcp, any, 0, &l);
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			apus_heap_fail_after(heap, -1);
			assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, any, 0, &l), 0);
		}
		p->listener = l;
		if (plain_syn(PEER_PORT))
			ack_from(PEER_PORT, SYN_SEQ + 1, peer_last(p)->seq + 1);
		c = take();
		apus_heap_fail_after(heap, -1);
		if (!c) { /* then the next SYN, or the next ACK, gets through */
			ack_from(PEER_PORT, SYN_SEQ + 1, plain_syn(PEER_PORT)->seq + 1);
			c = take();
		}
		assert_non_null(c);
		assert_int_equal(c->state, APUS_TCP_ESTABLISHED);
		apus_tcp_call_abort(c, now());
	}
}

static void connection_that_was_reset_before_accept_is_still_given(void **state)
{
	struct apus_segment rst = {.seq = SYN_SEQ + 1, .rst = true, .wscale = -1};
	char buf[10];

	listen_with(0);
	open_from(PEER_PORT);
	peer_send(p, rst, 0);
	p->c = take();
	assert_int_equal(apus_tcp_call_receive(p->c, buf, sizeof(buf)), -ECONNRESET);
}

/* ---- listeners ---- */

static void port_can_be_listened_at_once(void **state)
{
	struct apus_endpoint any = {.port = SERVER_PORT};
	struct apus_endpoint ours = {apus_addr_v4(htonl(0x0a000001)), SERVER_PORT};
	struct apus_tcp_listener *l;

	listen_with(0);
	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, any, 0, &l), -EADDRINUSE);
	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, ours, 0, &l), -EADDRINUSE);
}

static void address_of_somebody_else_cannot_be_listened_at(void **state)
{
	struct apus_endpoint other = {apus_addr_v4(htonl(0x0a000009)), SERVER_PORT};
	struct apus_tcp_listener *l;

	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, other, 0, &l), -EADDRNOTAVAIL);
}

static void port_zero_is_a_port_of_its_own_each_time(void **state)
{
	struct apus_tcp_listener *a, *b;
	struct apus_endpoint none = {.port = 0};

	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, none, 0, &a), 0);
	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, none, 0, &b), 0);
	assert_in_range(a->local.port, APUS_TCP_PORT_FIRST, APUS_TCP_PORT_LAST);
	assert_int_not_equal(a->local.port, b->local.port);
	apus_tcp_listener_shut(a, now());
	apus_tcp_listener_shut(b, now());
}

static void closed_listener_resets_what_nobody_accepted_and_forgets_entries(void **state)
{
	listen_with(0);
	open_from(PEER_PORT);
	plain_syn(PEER_PORT + 1);
	peer_forget(p);
	apus_tcp_listener_shut(p->listener, now());
	p->listener = NULL;
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->rst);
	assert_int_equal(peer_last(p)->local_port, PEER_PORT);
	assert_int_equal(open_count(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(syn_makes_an_entry_and_not_a_connection),
		TEST(syn_is_answered_by_syn_ack),
		TEST(syn_ack_has_only_the_options_that_the_syn_had),
		TEST(text_on_a_syn_is_not_acknowledged),
		TEST(syn_with_fin_is_dropped),
		TEST(reset_to_a_listener_is_ignored),
		TEST(ack_to_a_listener_is_reset_at_its_number),
		TEST(syn_ack_is_sent_again_after_1_2_4_8_16_seconds_and_then_no_more),
		TEST(syn_again_is_answered_again_and_is_still_one_entry),
		TEST(ack_opens_a_connection_and_queues_it),
		TEST(ack_with_text_opens_and_delivers),
		TEST(ack_with_fin_opens_and_ends),
		TEST(windows_are_scaled_when_both_offered_it),
		TEST(segment_size_is_the_peers_or_536_and_never_below_48),
		TEST(ack_of_what_was_not_sent_is_reset_and_the_entry_stays),
		TEST(reset_at_rcv_nxt_ends_the_entry),
		TEST(reset_elsewhere_in_the_window_is_challenged_once),
		TEST(reset_outside_the_window_is_dropped),
		TEST(another_syn_in_the_window_returns_to_listen),
		TEST(segment_without_ack_is_dropped),
		TEST(full_backlog_drops_a_syn_while_its_entries_are_fresh),
		TEST(full_backlog_gives_up_the_oldest_that_did_not_answer),
		TEST(full_accept_queue_ignores_the_ack_and_keeps_the_entry),
		TEST(full_accept_queue_promises_nothing_more),
		TEST(accept_queue_is_first_come_first_served_as_it_grows),
		TEST(no_memory_for_an_entry_is_counted_and_harmless),
		TEST(memory_may_run_out_anywhere_and_nothing_breaks),
		TEST(connection_that_was_reset_before_accept_is_still_given),
		TEST(port_can_be_listened_at_once),
		TEST(address_of_somebody_else_cannot_be_listened_at),
		TEST(port_zero_is_a_port_of_its_own_each_time),
		TEST(closed_listener_resets_what_nobody_accepted_and_forgets_entries),
	};

	return test_main_with_pool(argc, argv, tests);
}
