/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_syncookies.c: a listener that has no room for entries, segment by segment (RFC
 * 4987 §3.6; TCP.md §5: "floods: SYN, ACK with forged cookies"). What a cookie is: test_cookie.c.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/tcp/cookie.h"

#define SYN_SEQ 1000
#define MINUTE  (60 * APUS_SEC)

static struct peer *p;

static int setup(void **state)
{
	p = peer_open();
	return 0;
}

static int teardown(void **state)
{
	apus_heap_fail_after(apus_shard_heap(p->shard), -1);
	peer_close(p);
	return test_pool_is_full(state);
}

static void listen_with(uint32_t backlog)
{
	struct apus_endpoint any = {.port = SERVER_PORT};

	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, any, backlog, &p->listener), 0);
}

static struct apus_tcp_options *options(void)
{
	return &p->stack->tcp.options;
}

static uint64_t count(enum apus_tcp_counter counter)
{
	return peer_counter(p, counter);
}

static const struct apus_segment *send_from(uint16_t port, struct apus_segment seg, uint32_t bytes)
{
	peer_forget(p);
	seg.local_port = port;
	peer_send(p, seg, bytes);
	return p->heard_count ? peer_last(p) : NULL;
}

/* Nothing but an MSS. */
static struct apus_segment plain_syn(void)
{
	struct apus_segment syn = peer_segment(SYN_SEQ, 0);

	syn.syn = true;
	syn.mss = 1460;
	return syn;
}

static struct apus_segment full_syn(void)
{
	struct apus_segment syn = plain_syn();

	syn.has_ts = syn.sack_permitted = true;
	syn.ts_val = 5000;
	syn.wscale = 7;
	return syn;
}

static struct apus_segment ack_of(uint32_t iss)
{
	struct apus_segment ack = peer_segment(SYN_SEQ + 1, iss + 1);

	ack.has_ack = true;
	return ack;
}

/* A listener whose one entry is taken by somebody else. */
static void fill(void)
{
	listen_with(1);
	assert_non_null(send_from(9, plain_syn(), 0));
	assert_int_equal(p->stack->tcp.requests.used, 1);
	p->listener->backlog = 8; /* of the accept queue; of entries it stays */
	options()->requests_max = 1;
}

static void assert_cookies(uint64_t sent, uint64_t received, uint64_t failed)
{
	assert_int_equal(count(APUS_TCP_COUNT_COOKIES_SENT), sent);
	assert_int_equal(count(APUS_TCP_COUNT_COOKIES_RECEIVED), received);
	assert_int_equal(count(APUS_TCP_COUNT_COOKIES_FAILED), failed);
}

/* ---- when ---- */

static void with_room_a_syn_makes_an_entry_and_no_cookie(void **state)
{
	listen_with(4);
	for (uint16_t i = 0; i < 4; i++)
		assert_non_null(send_from(PEER_PORT + i, plain_syn(), 0));
	assert_int_equal(p->stack->tcp.requests.used, 4);
	assert_cookies(0, 0, 0);
}

static void without_room_the_answer_is_a_cookie_and_takes_no_memory(void **state)
{
	uint64_t live;

	fill();
	live = apus_shard_heap(p->shard)->live;
	for (uint16_t i = 0; i < 1000; i++) {
		const struct apus_segment *said = send_from(PEER_PORT + i, plain_syn(), 0);

		assert_true(said && said->syn && said->has_ack && said->ack == SYN_SEQ + 1);
	}
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 1);
	assert_int_equal(apus_shard_heap(p->shard)->live, live);
	assert_cookies(1000, 0, 0);
	assert_int_equal(count(APUS_TCP_COUNT_REQUEST_EVICTED), 0); /* who came before stays */
}

static void without_memory_for_an_entry_the_answer_is_a_cookie(void **state)
{
	listen_with(0);
	for (uint16_t i = 0; i < 64; i++) /* connections_max of the fixture */
		assert_non_null(send_from(PEER_PORT + i, plain_syn(), 0));
	assert_cookies(0, 0, 0);
	assert_non_null(send_from(PEER_PORT + 64, plain_syn(), 0));
	assert_cookies(1, 0, 0);
}

static void cookies_always_make_no_entry(void **state)
{
	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	listen_with(0);
	assert_non_null(send_from(PEER_PORT, plain_syn(), 0));
	assert_int_equal(p->stack->tcp.requests.used, 0);
	assert_cookies(1, 0, 0);
}

static void cookies_never_drop_the_syn(void **state)
{
	options()->cookies = APUS_TCP_COOKIES_NEVER;
	fill();
	assert_null(send_from(PEER_PORT, plain_syn(), 0));
	assert_int_equal(count(APUS_TCP_COUNT_LISTEN_DROP), 1);
	assert_cookies(0, 0, 0);
}

static void full_accept_queue_promises_nothing_by_cookie_either(void **state)
{
	uint32_t iss;

	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	listen_with(1);
	iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	send_from(PEER_PORT, ack_of(iss), 0);
	assert_null(send_from(PEER_PORT + 1, plain_syn(), 0));
	assert_int_equal(count(APUS_TCP_COUNT_LISTEN_DROP), 1);
}

/* RFC 9293 §3.6.1 (MAY-2) (1): the new numbers must lie beyond the old, which no cookie can see to. */
static void syn_that_reopens_from_time_wait_gets_no_cookie(void **state)
{
	struct apus_segment syn = plain_syn();
	uint32_t snd_nxt;

	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	listen_with(0);
	p->iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	send_from(PEER_PORT, ack_of(p->iss), 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
	snd_nxt = peer_last(p)->seq + 1;
	peer_send_fin(p, SYN_SEQ + 1, snd_nxt);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 1);
	syn.seq = SYN_SEQ + 100;

	const struct apus_segment *said = send_from(PEER_PORT, syn, 0);

	assert_true(said && said->syn && apus_seq_gt(said->seq, snd_nxt));
	assert_int_equal(p->stack->tcp.requests.used, 1);
	assert_cookies(1, 1, 0);
}

/* ---- what comes back ---- */

static void cookie_that_comes_back_opens_a_connection(void **state)
{
	uint32_t iss;
	uint8_t got[10];

	fill();
	iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	send_from(PEER_PORT, ack_of(iss), 10); /* the bare ACK was lost: text brings it */
	assert_cookies(1, 1, 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(p->c->cc.mss, 1460);
	assert_int_equal(p->c->snd.wscale, 0);
	assert_false(p->c->has_sack);
	assert_false(p->c->has_ts);
	assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(got[i], test_byte(SYN_SEQ + 1 + (uint32_t)i));
	/* And it talks. */
	p->port = SERVER_PORT;
	peer_forget(p);
	peer_write(p, "hello", 5);
	assert_int_equal(p->heard[0].seg.text_bytes, 5);
	assert_int_equal(p->heard[0].seg.seq, iss + 1);
}

static void small_segment_size_is_remembered(void **state)
{
	struct apus_segment syn = plain_syn();
	uint32_t iss;

	syn.mss = 600;
	fill();
	iss = send_from(PEER_PORT, syn, 0)->seq;
	send_from(PEER_PORT, ack_of(iss), 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_int_equal(p->c->cc.mss, 536); /* the next smaller of those that can be told */
}

static void options_come_back_in_the_timestamp(void **state)
{
	struct apus_segment ack, said;

	fill();
	said = *send_from(PEER_PORT, full_syn(), 0);
	assert_true(said.has_ts && said.sack_permitted);
	assert_int_equal(said.ts_ecr, 5000);
	assert_int_equal(said.wscale, APUS_TCP_WINDOW_SCALE);
	ack = ack_of(said.seq);
	ack.has_ts = true;
	ack.ts_val = 5001;
	ack.ts_ecr = said.ts_val;
	send_from(PEER_PORT, ack, 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	assert_int_equal(p->c->snd.wscale, 7);
	assert_int_equal(p->c->rcv.wscale, APUS_TCP_WINDOW_SCALE);
	assert_true(p->c->has_sack);
	assert_true(p->c->has_ts);
	assert_int_equal(p->c->rcv.ts_recent, 5001);
	/* RFC 7323 §5: our clock does not go back behind what the cookie said. */
	peer_forget(p);
	peer_write(p, "x", 1);
	assert_true((int32_t)(peer_last(p)->ts_val - said.ts_val) >= 0);
	assert_in_range(peer_last(p)->ts_val - said.ts_val, 0, 64);
}

static void without_timestamps_only_the_segment_size_is_offered(void **state)
{
	struct apus_segment syn = full_syn();
	const struct apus_segment *said;

	syn.has_ts = false;
	fill();
	said = send_from(PEER_PORT, syn, 0);
	assert_int_equal(said->wscale, -1);
	assert_false(said->sack_permitted || said->has_ts);
	assert_int_equal(said->mss, 1460);
}

static void cookie_is_good_for_a_minute_and_not_for_two(void **state)
{
	uint32_t iss, second;

	fill();
	iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	second = send_from(PEER_PORT + 1, plain_syn(), 0)->seq;
	peer_wait(p, MINUTE);
	peer_introduce(p);
	send_from(PEER_PORT, ack_of(iss), 0);
	assert_cookies(2, 1, 0);
	peer_wait(p, MINUTE);
	peer_introduce(p);
	p->listener->cookie_at_ns = apus_clock_read(&p->clock); /* others are out still */
	assert_true(send_from(PEER_PORT + 1, ack_of(second), 0)->rst);
	assert_cookies(2, 1, 1);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
}

/* ---- forgeries ---- */

static void ack_while_no_cookie_is_out_is_not_even_looked_at(void **state)
{
	const struct apus_segment *said;

	listen_with(0);
	said = send_from(PEER_PORT, ack_of(77), 0);
	assert_true(said->rst && said->seq == 78);
	assert_cookies(0, 0, 0);
	/* Nor when the last one is too old. */
	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	send_from(PEER_PORT, plain_syn(), 0);
	peer_wait(p, 2 * MINUTE);
	peer_introduce(p);
	assert_true(send_from(PEER_PORT, ack_of(77), 0)->rst);
	assert_cookies(1, 0, 0);
}

static void flood_of_forged_acks_costs_no_memory_and_is_counted(void **state)
{
	struct apus_segment ack = ack_of(0);
	uint64_t seed = 1, live;

	fill();
	send_from(PEER_PORT, plain_syn(), 0);
	live = apus_shard_heap(p->shard)->live;
	for (uint32_t i = 0; i < 50000; i++) {
		ack.ack = (uint32_t)test_random(&seed);
		ack.seq = (uint32_t)test_random(&seed);

		const struct apus_segment *said =
			send_from((uint16_t)(1024 + i % 60000), ack, i % 3 ? 0 : 100);

		/* RFC 9293 §3.10.7.2, second. */
		assert_true(said && said->rst && !said->has_ack && said->seq == ack.ack);
	}
	assert_cookies(1, 0, 50000);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 1);
	assert_int_equal(apus_shard_heap(p->shard)->live, live);
}

static void cookie_of_somebody_else_is_refused(void **state)
{
	uint32_t iss;

	fill();
	iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	assert_true(send_from(PEER_PORT + 1, ack_of(iss), 0)->rst);
	assert_cookies(1, 0, 1);
}

static void syn_ack_with_a_cookie_opens_nothing(void **state)
{
	struct apus_segment seg;

	fill();
	seg = ack_of(send_from(PEER_PORT, plain_syn(), 0)->seq);
	seg.syn = true;
	assert_true(send_from(PEER_PORT, seg, 0)->rst);
	assert_cookies(1, 0, 0);
}

/* ---- no room for the connection ---- */

static void cookie_that_finds_the_queue_full_is_ignored_and_good_later(void **state)
{
	uint32_t first, second;

	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	listen_with(1);
	first = send_from(PEER_PORT, plain_syn(), 0)->seq;
	second = send_from(PEER_PORT + 1, plain_syn(), 0)->seq;
	send_from(PEER_PORT, ack_of(first), 0);
	assert_null(send_from(PEER_PORT + 1, ack_of(second), 0));
	assert_int_equal(count(APUS_TCP_COUNT_ACCEPT_OVERFLOW), 1);
	p->c = apus_tcp_listener_take(p->listener);
	send_from(PEER_PORT + 1, ack_of(second), 5);
	assert_int_equal(apus_tcp_listener_ready(p->listener), 1);
	assert_cookies(2, 3, 0);
}

static void by_option_the_queue_that_is_full_resets(void **state)
{
	uint32_t entry, cookie, first;

	options()->reset_on_overflow = true;
	listen_with(1);
	entry = send_from(PEER_PORT, plain_syn(), 0)->seq;
	cookie = send_from(PEER_PORT + 1, plain_syn(), 0)->seq;
	p->listener->backlog = 2;
	first = send_from(PEER_PORT + 2, plain_syn(), 0)->seq;
	send_from(PEER_PORT + 2, ack_of(first), 0);
	p->listener->backlog = 1;

	const struct apus_segment *said = send_from(PEER_PORT, ack_of(entry), 0);

	assert_true(said && said->rst && said->seq == entry + 1);
	said = send_from(PEER_PORT + 1, ack_of(cookie), 0);
	assert_true(said && said->rst && said->seq == cookie + 1);
	assert_int_equal(p->stack->tcp.requests.used, 0);
	assert_int_equal(count(APUS_TCP_COUNT_ACCEPT_OVERFLOW), 2);
}

static void memory_may_run_out_anywhere_and_the_cookie_stays_good(void **state)
{
	uint32_t iss;
	int64_t n = 0;

	options()->cookies = APUS_TCP_COOKIES_ALWAYS;
	listen_with(0);
	iss = send_from(PEER_PORT, plain_syn(), 0)->seq;
	while (!apus_tcp_listener_ready(p->listener)) {
		apus_heap_fail_after(apus_shard_heap(p->shard), n++);
		assert_null(send_from(PEER_PORT, ack_of(iss), 0));
		assert_true(n < 100);
	}
	assert_true(n > 2); /* the ring and the connection at least */
	apus_heap_fail_after(apus_shard_heap(p->shard), -1);
	p->c = apus_tcp_listener_take(p->listener);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
}

/* ---- a flood, and somebody in it ---- */

static void who_comes_in_a_flood_is_served_at_once(void **state)
{
	struct apus_segment syn = plain_syn();
	uint64_t seed = 7;

	listen_with(16);
	for (uint32_t i = 0; i < 20000; i++) {
		syn.seq = (uint32_t)test_random(&seed);
		send_from((uint16_t)(10000 + i % 50000), syn, 0);
		assert_true(apus_tcp_layer_open(&p->stack->tcp) <= 16);
		if (i % 1000 != 999)
			continue;

		uint32_t iss = send_from(PEER_PORT, plain_syn(), 0)->seq;

		send_from(PEER_PORT, ack_of(iss), 5);

		struct apus_tcp *c = apus_tcp_listener_take(p->listener);

		assert_non_null(c);
		apus_tcp_call_abort(c, apus_clock_read(&p->clock));
		peer_turn(p);
	}
	assert_int_equal(count(APUS_TCP_COUNT_COOKIES_RECEIVED), 20);
	assert_int_equal(count(APUS_TCP_COUNT_COOKIES_FAILED), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(with_room_a_syn_makes_an_entry_and_no_cookie),
		TEST(without_room_the_answer_is_a_cookie_and_takes_no_memory),
		TEST(without_memory_for_an_entry_the_answer_is_a_cookie),
		TEST(cookies_always_make_no_entry),
		TEST(cookies_never_drop_the_syn),
		TEST(full_accept_queue_promises_nothing_by_cookie_either),
		TEST(syn_that_reopens_from_time_wait_gets_no_cookie),
		TEST(cookie_that_comes_back_opens_a_connection),
		TEST(small_segment_size_is_remembered),
		TEST(options_come_back_in_the_timestamp),
		TEST(without_timestamps_only_the_segment_size_is_offered),
		TEST(cookie_is_good_for_a_minute_and_not_for_two),
		TEST(ack_while_no_cookie_is_out_is_not_even_looked_at),
		TEST(flood_of_forged_acks_costs_no_memory_and_is_counted),
		TEST(cookie_of_somebody_else_is_refused),
		TEST(syn_ack_with_a_cookie_opens_nothing),
		TEST(cookie_that_finds_the_queue_full_is_ignored_and_good_later),
		TEST(by_option_the_queue_that_is_full_resets),
		TEST(memory_may_run_out_anywhere_and_the_cookie_stays_good),
		TEST(who_comes_in_a_flood_is_served_at_once),
	};
#undef TEST

	return test_main_with_pool(argc, argv, tests);
}
