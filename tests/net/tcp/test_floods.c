/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_floods.c: floods of every kind (TCP.md §5), and a connection that goes on.
 *
 * While twenty thousand packets of one kind arrive, a connection that was there before echoes and new
 * ones are made; memory stays bounded all the while, the counter with the flood's name moves, and an
 * hour later nothing of it is left.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/ip/icmp.h"

#define PACKETS  20000
#define BACKLOG  16
#define OUR_PORT 4321 /* of the connection that goes on */

static struct peer *p;
static uint32_t seq, una;
static uint64_t chance;

static int setup(void **state)
{
	struct apus_endpoint any = {.port = SERVER_PORT};
	struct apus_segment seg = peer_segment(90000, 0);

	p = peer_open();
	chance = 1;
	apus_must(apus_tcp_listener_open(&p->stack->tcp, any, BACKLOG, &p->listener) == 0);
	seg.syn = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
	seq = 90001;
	una = peer_last(p)->seq + 1;
	seg = peer_segment(seq, una);
	seg.has_ack = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
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

static uint32_t any32(void)
{
	return (uint32_t)test_random(&chance);
}

static uint16_t any_port(void)
{
	return (uint16_t)(10000 + any32() % 50000);
}

/* Ten bytes there and ten back. */
static void assert_goes_on(void)
{
	struct apus_segment seg = peer_segment(seq, una);
	uint8_t got[10];

	peer_forget(p);
	seg.has_ack = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 10);
	seq += 10;
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), 10);
	peer_write(p, got, 10);
	una += 10;
	seg = peer_segment(seq, una);
	seg.has_ack = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
	assert_int_equal(p->c->snd.una, una);
	peer_forget(p);
}

/* Somebody who comes in the middle of it. */
static void assert_serves(uint16_t port)
{
	struct apus_segment seg = peer_segment(7000, 0);
	struct apus_tcp *c;

	peer_forget(p);
	seg.syn = true;
	seg.local_port = port;
	peer_send(p, seg, 0);
	assert_true(p->heard_count == 1 && peer_last(p)->syn);
	seg = peer_segment(7001, peer_last(p)->seq + 1);
	seg.has_ack = true;
	seg.local_port = port;
	peer_send(p, seg, 5);
	c = apus_tcp_listener_take(p->listener);
	assert_non_null(c);
	apus_tcp_call_abort(c, apus_clock_read(&p->clock));
	peer_turn(p);
	peer_forget(p);
}

/* ---- packets ---- */

static struct apus_segment any_segment(void)
{
	struct apus_segment seg = peer_segment(any32(), any32());

	seg.local_port = any_port();
	return seg;
}

static void some_syn(void)
{
	struct apus_segment seg = any_segment();

	seg.syn = true;
	peer_send(p, seg, 0);
}

static void some_syn_ack(void)
{
	struct apus_segment seg = any_segment();

	seg.syn = seg.has_ack = true;
	peer_send(p, seg, 0);
}

static void some_ack(void)
{
	struct apus_segment seg = any_segment();

	seg.has_ack = true;
	peer_send(p, seg, any32() % 2 * 100);
}

static void some_rst(void)
{
	struct apus_segment seg = any_segment();

	seg.rst = true;
	peer_send(p, seg, 0);
}

/* Blind, at the connection that goes on: in its window, but not at RCV.NXT. */
static void some_rst_in_window(void)
{
	struct apus_segment seg = peer_segment(seq + 1 + any32() % 60000, any32());

	seg.rst = true;
	seg.has_ack = any32() % 2;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
}

static void some_syn_at_the_connection(void)
{
	struct apus_segment seg = peer_segment(any32(), any32());

	seg.syn = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
}

static void some_ack_at_the_connection(void)
{
	struct apus_segment seg =
		peer_segment(seq + any32() % 1000, una + 1 + any32() % (1U << 30));

	seg.has_ack = true;
	seg.local_port = OUR_PORT;
	peer_send(p, seg, 0);
}

static void some_fin(void)
{
	struct apus_segment seg = any_segment();

	seg.fin = true;
	peer_send(p, seg, 0);
}

static void some_xmas(void)
{
	struct apus_segment seg = any_segment();

	seg.fin = seg.psh = seg.urg = seg.syn = seg.rst = any32() % 2;
	peer_send(p, seg, 0);
}

/* Source and destination are the same endpoint; the IP room knows its own address. */
static void some_land(void)
{
	struct apus_segment seg = any_segment();

	seg.syn = true;
	seg.local = seg.remote = apus_addr_v4(htonl(0x0a000001));
	seg.local_port = SERVER_PORT;
	peer_send(p, seg, 0);
}

static void some_too_big(void)
{
	struct apus_icmp_error error = {
		.type = APUS_ICMP_UNREACHABLE,
		.code = (uint8_t)(any32() % 6),
		.proto = 6,
		.local = p->c->key.local,
		.remote = p->c->key.remote,
		.local_port = p->c->key.local_port,
		.remote_port = any32() % 2 ? OUR_PORT : any_port(),
		.seq = any32(),
		.mtu = (uint16_t)any32(),
	};

	apus_tcp_icmp_error(&p->stack->tcp, &error, apus_clock_read(&p->clock));
	peer_turn(p);
}

/* ---- the floods ---- */

static uint64_t drops_land(void)
{
	return p->stack->ipv4.counters[APUS_IPV4_DROP_SOURCE_OURS];
}

/* @name: a counter that has to move for each packet, or nearly. */
static void flood(void (*packet)(void), enum apus_tcp_counter name, uint64_t least)
{
	uint64_t before = peer_counter(p, name), live = 0;

	for (uint32_t i = 0; i < PACKETS; i++) {
		packet();
		assert_in_range(p->heard_count, 0, 1); /* no answer is larger than its question */
		peer_forget(p);
		assert_in_range(apus_tcp_layer_open(&p->stack->tcp), 1, 1 + BACKLOG);
		if (i == 1000) /* what there is to fill is full */
			live = apus_shard_heap(p->shard)->live;
		if (i % 500 == 499) {
			assert_goes_on();
			assert_serves(OUR_PORT + 1);
		}
		if (i % 100 == 99)
			peer_wait(p, APUS_MS);
	}
	assert_in_range(apus_shard_heap(p->shard)->live, 0, live + 2);
	assert_in_range(peer_counter(p, name) - before, least, UINT64_MAX);
	for (int minute = 0; minute < 60; minute++) {
		peer_wait(p, 60 * APUS_SEC);
		peer_forget(p);
	}
	peer_introduce(p);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 1);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 0);
	assert_goes_on();
}

static void flood_of_syns(void **state)
{
	flood(some_syn, APUS_TCP_COUNT_COOKIES_SENT, PACKETS * 9 / 10);
}

static void flood_of_syn_acks(void **state)
{
	flood(some_syn_ack, APUS_TCP_COUNT_DROP_LISTEN, PACKETS);
}

static void flood_of_acks(void **state)
{
	flood(some_ack, APUS_TCP_COUNT_DROP_LISTEN, PACKETS);
}

static void flood_of_acks_while_cookies_are_out(void **state)
{
	for (int i = 0; i < 2 * BACKLOG; i++)
		some_syn();
	peer_forget(p);
	flood(some_ack, APUS_TCP_COUNT_COOKIES_FAILED, PACKETS * 9 / 10);
}

static void flood_of_resets(void **state)
{
	flood(some_rst, APUS_TCP_COUNT_DROP_LISTEN, PACKETS);
}

static void flood_of_resets_in_the_window(void **state)
{
	flood(some_rst_in_window, APUS_TCP_COUNT_DROP_RST_SEQUENCE, PACKETS);
}

static void flood_of_syns_at_a_connection(void **state)
{
	flood(some_syn_at_the_connection, APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED, PACKETS * 9 / 10);
}

static void flood_of_acks_at_a_connection(void **state)
{
	flood(some_ack_at_the_connection, APUS_TCP_COUNT_DROP_BAD_ACK, PACKETS);
}

static void flood_of_fins(void **state)
{
	flood(some_fin, APUS_TCP_COUNT_DROP_LISTEN, PACKETS);
}

static void flood_of_null_and_xmas_segments(void **state)
{
	flood(some_xmas, APUS_TCP_COUNT_DROP_LISTEN, PACKETS);
}

static void flood_of_land_segments(void **state)
{
	flood(some_land, APUS_TCP_COUNT_SEGMENTS_IN, 0);
	assert_int_equal(drops_land(), PACKETS);
}

static void flood_of_icmp_errors(void **state)
{
	flood(some_too_big, APUS_TCP_COUNT_ICMP_IGNORED, PACKETS * 9 / 10);
	assert_int_equal(p->c->cc.mss, 536); /* as its SYN said nothing */
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(flood_of_syns),
		TEST(flood_of_syn_acks),
		TEST(flood_of_acks),
		TEST(flood_of_acks_while_cookies_are_out),
		TEST(flood_of_resets),
		TEST(flood_of_resets_in_the_window),
		TEST(flood_of_syns_at_a_connection),
		TEST(flood_of_acks_at_a_connection),
		TEST(flood_of_fins),
		TEST(flood_of_null_and_xmas_segments),
		TEST(flood_of_land_segments),
		TEST(flood_of_icmp_errors),
	};
#undef TEST

	return test_main_with_pool(argc, argv, tests);
}
