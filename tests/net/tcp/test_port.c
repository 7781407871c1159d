/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_port.c: which port a connection of ours gets, when many and when all are in
 * use. The entries that use them are put into the table by the test.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/tcp/port.h"
#include "net/tcp/timewait.h"

#define PORTS (APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1)

/* Entries that occupy every port of one pair of addresses. */
struct user {
	struct apus_tcp_key key;
} APUS_ALIGNED(8);

static struct user users[PORTS];
static uint32_t user_count;
static struct peer *p;

static int setup(void **state)
{
	p = peer_open();
	p->stack->tcp.demux.limit = 2 * PORTS;
	user_count = 0;
	return 0;
}

static int teardown(void **state)
{
	while (user_count)
		apus_tcp_demux_remove(&p->stack->tcp.demux, &users[--user_count]);
	peer_close(p);
	return test_pool_is_full(state);
}

static struct apus_tcp_key key_to(uint16_t remote_port)
{
	return (struct apus_tcp_key){
		.local = apus_addr_v4(htonl(0x0a000001)),
		.remote = apus_addr_v4(htonl(0x0a000002)),
		.remote_port = remote_port,
	};
}

static int choose(struct apus_tcp_key *key)
{
	return apus_tcp_choose_port(&p->stack->tcp, key, apus_clock_read(&p->clock));
}

static void use(struct apus_tcp_key key)
{
	users[user_count].key = key;
	assert_int_equal(apus_tcp_demux_insert(&p->stack->tcp.demux, APUS_TCP_KIND_CONNECTION,
					       &users[user_count]),
			 0);
	user_count++;
}

static void use_all_ports(void)
{
	struct apus_tcp_key key = key_to(80);

	for (uint32_t port = APUS_TCP_PORT_FIRST; port <= APUS_TCP_PORT_LAST; port++) {
		key.local_port = (uint16_t)port;
		use(key);
	}
}

/* Port number `port` waits in TIME-WAIT, since now, with @snd_nxt. */
static void wait_at(uint16_t port, uint32_t snd_nxt)
{
	struct apus_tcp_layer *layer = &p->stack->tcp;
	struct apus_tcp_last last = {.snd_nxt = snd_nxt};
	struct apus_tcp_key key = key_to(80);
	uint32_t i = 0;

	key.local_port = port;
	if (apus_tcp_demux_find(&layer->demux, &key).kind == APUS_TCP_KIND_NONE)
		use(key);
	assert_true(apus_tcp_time_wait_replace(layer, &key, &last, apus_clock_read(&p->clock)));
	while (users[i].key.local_port != port)
		i++;
	users[i] = users[--user_count];
	if (i < user_count)
		apus_tcp_demux_replace(&layer->demux, APUS_TCP_KIND_CONNECTION, &users[i]);
}

static void ports_to_one_peer_follow_each_other(void **state)
{
	struct apus_tcp_key first = key_to(80), second = key_to(80);

	assert_int_equal(choose(&first), 0);
	use(first);
	assert_int_equal(choose(&second), 0);
	assert_int_equal((second.local_port - first.local_port + PORTS) % PORTS, 1);
}

static void ports_lie_in_the_ephemeral_range_and_apart_for_different_peers(void **state)
{
	uint32_t in_first_tenth = 0;

	for (uint16_t port = 1; port <= 1000; port++) {
		struct apus_tcp_key key = key_to(port);

		assert_int_equal(choose(&key), 0);
		assert_in_range(key.local_port, APUS_TCP_PORT_FIRST, APUS_TCP_PORT_LAST);
		in_first_tenth += key.local_port < APUS_TCP_PORT_FIRST + PORTS / 10;
	}
	assert_in_range(in_first_tenth, 50, 200);
}

static void port_of_a_listener_is_not_chosen(void **state)
{
	struct apus_tcp_key key = key_to(80), again = key_to(80);
	struct apus_endpoint next = {.port = 0};
	struct apus_tcp_listener *l;

	assert_int_equal(choose(&key), 0);
	next.port = key.local_port == APUS_TCP_PORT_LAST ? APUS_TCP_PORT_FIRST : key.local_port + 1;
	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, next, 0, &l), 0);
	assert_int_equal(choose(&again), 0);
	assert_int_not_equal(again.local_port, next.port);
	apus_tcp_listener_shut(l, apus_clock_read(&p->clock));
}

static void all_ports_in_use_is_said_and_counted(void **state)
{
	struct apus_tcp_key key = key_to(80), other = key_to(81);

	use_all_ports();
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PORTS_EXHAUSTED), 1);
	assert_int_equal(choose(&other), 0); /* another four-tuple is free */
}

static void port_in_time_wait_is_used_again_after_a_second(void **state)
{
	uint16_t port = APUS_TCP_PORT_FIRST + 1234;
	struct apus_tcp_key key = key_to(80);
	uint32_t old;

	use_all_ports();
	key.local_port = port;
	old = apus_tcp_isn(&p->stack->tcp, &key, apus_clock_read(&p->clock)) - 1000;
	wait_at(port, old); /* its numbers lie behind: it is only too early */
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	peer_wait(p, 1100 * APUS_MS);
	key = key_to(80);
	assert_int_equal(choose(&key), 0);
	assert_int_equal(key.local_port, port);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 0);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_TIME_WAIT_REUSED), 1);
}

static void port_in_time_wait_whose_old_numbers_lie_ahead_is_not_used(void **state)
{
	uint16_t port = APUS_TCP_PORT_FIRST + 1234;
	struct apus_tcp_key key = key_to(80);

	use_all_ports();
	key.local_port = port;
	wait_at(port, apus_tcp_isn(&p->stack->tcp, &key, apus_clock_read(&p->clock)) + (1U << 30));
	peer_wait(p, 1100 * APUS_MS);
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_to_one_peer_follow_each_other),
		TEST(ports_lie_in_the_ephemeral_range_and_apart_for_different_peers),
		TEST(port_of_a_listener_is_not_chosen),
		TEST(all_ports_in_use_is_said_and_counted),
		TEST(port_in_time_wait_is_used_again_after_a_second),
		TEST(port_in_time_wait_whose_old_numbers_lie_ahead_is_not_used),
	};

	return test_main_with_pool(argc, argv, tests);
}
