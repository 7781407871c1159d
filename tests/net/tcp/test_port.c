/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_port.c: which port a connection of ours gets, when many and when all are in
 * use. The entries that use them are put into the table by the test.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/link/rss.h"
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

static uint32_t iss; /* of the last choice */

static int choose(struct apus_tcp_key *key)
{
	return apus_tcp_choose_port(&p->stack->tcp, key, apus_clock_read(&p->clock), &iss);
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
static void wait_at_with(uint16_t port, uint32_t snd_nxt, bool has_ts)
{
	struct apus_tcp_layer *layer = &p->stack->tcp;
	struct apus_tcp_last last = {.snd_nxt = snd_nxt, .has_ts = has_ts};
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

static void wait_at(uint16_t port, uint32_t snd_nxt)
{
	wait_at_with(port, snd_nxt, false);
}

/* RFC 6056 §3.3.5: each next port is one to eight further, and which cannot be said. */
static void ports_to_one_peer_follow_each_other_by_random_steps(void **state)
{
	uint32_t seen[9] = {0};
	struct apus_tcp_key key = key_to(80);
	uint16_t last;

	assert_int_equal(choose(&key), 0);
	for (int i = 0; i < 800; i++) {
		last = key.local_port;
		key = key_to(80);
		assert_int_equal(choose(&key), 0);

		uint32_t step = (uint32_t)(key.local_port - last + PORTS) % PORTS;

		assert_in_range(step, 1, 8);
		seen[step]++;
	}
	for (int step = 1; step <= 8; step++)
		assert_in_range(seen[step], 50, 150);
}

/* Who may see the ports of connections to itself learns nothing of those to another. */
static void ports_to_one_peer_do_not_depend_on_those_to_another(void **state)
{
	uint32_t moved = 0;

	for (uint16_t port = 1; port <= 200; port++) {
		struct apus_tcp_key before = key_to(port), other = key_to(40000 + port), after;

		assert_int_equal(choose(&before), 0);
		for (int i = 0; i < 100; i++)
			assert_int_equal(choose(&other), 0);
		after = key_to(port);
		assert_int_equal(choose(&after), 0);
		moved += (uint32_t)(after.local_port - before.local_port + PORTS) % PORTS > 8;
	}
	assert_in_range(moved, 0, 2); /* a mark is shared by chance, 1 in 4096 */
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
	struct apus_tcp_key key = key_to(80);
	struct apus_endpoint last = {.port = 0};
	struct apus_tcp_listener *l;

	use_all_ports();
	apus_tcp_demux_remove(&p->stack->tcp.demux, &users[--user_count]);
	last.port = users[user_count].key.local_port;
	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, last, 0, &l), 0);
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	apus_tcp_listener_shut(l, apus_clock_read(&p->clock));
	peer_wait(p, 100 * APUS_MS);
	assert_int_equal(choose(&key), 0);
	assert_int_equal(key.local_port, last.port);
}

static void all_ports_in_use_is_said_and_counted(void **state)
{
	struct apus_tcp_key key = key_to(80), other = key_to(81);

	use_all_ports();
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PORTS_EXHAUSTED), 1);
	assert_int_equal(choose(&other), 0); /* another four-tuple is free */
}

/* To be told so again costs no search, until a port is given back. */
static void exhaustion_is_remembered_until_a_port_is_free(void **state)
{
	struct apus_tcp_key key = key_to(80);
	struct apus_tcp_demux *demux = &p->stack->tcp.demux;

	use_all_ports();
	for (int i = 0; i < 1000000; i++) /* a quarter of an hour, if each were a search */
		assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PORTS_EXHAUSTED), 1000000);
	apus_tcp_demux_remove(demux, &users[--user_count]);
	assert_int_equal(choose(&key), 0);
	assert_int_equal(key.local_port, users[user_count].key.local_port);
}

/* And what TIME-WAIT gives back is found although nothing was removed. */
static void exhaustion_does_not_hide_a_port_that_has_waited(void **state)
{
	uint16_t port = APUS_TCP_PORT_FIRST + 1234;
	struct apus_tcp_key key = key_to(80);

	use_all_ports();
	wait_at_with(port, 0, true);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(choose(&key), -EADDRNOTAVAIL);
		peer_wait(p, 100 * APUS_MS);
	}
	peer_wait(p, 250 * APUS_MS);
	assert_int_equal(choose(&key), 0);
	assert_int_equal(key.local_port, port);
}

/* RFC 6191, Linux's tcp_tw_reuse: the timestamps tell old segments from new, whatever the numbers. */
static void port_in_time_wait_with_timestamps_is_used_with_numbers_beyond(void **state)
{
	uint16_t port = APUS_TCP_PORT_FIRST + 1234;
	struct apus_tcp_key key = key_to(80);
	uint32_t old;

	use_all_ports();
	key.local_port = port;
	old = apus_tcp_isn(&p->stack->tcp, &key, apus_clock_read(&p->clock)) + (1U << 30);
	wait_at_with(port, old, true);
	assert_int_equal(choose(&key), -EADDRNOTAVAIL);
	peer_wait(p, 1100 * APUS_MS);
	assert_int_equal(choose(&key), 0);
	assert_int_equal(key.local_port, port);
	assert_int_equal(iss, old + 65535 + 2);
}

/* ---- a port of one's own choice (RFC 9293 §3.9.1.1, MUST-43) ---- */

static int claim(uint16_t port)
{
	struct apus_tcp_key key = key_to(80);

	key.local_port = port;
	return apus_tcp_claim_port(&p->stack->tcp, &key, apus_clock_read(&p->clock), &iss);
}

static void chosen_port_is_refused_only_while_its_tuple_is_in_use(void **state)
{
	struct apus_tcp_key key = key_to(80);

	assert_int_equal(claim(7), 0);
	key.local_port = 7;
	assert_int_equal(iss, apus_tcp_isn(&p->stack->tcp, &key, apus_clock_read(&p->clock)));
	use(key);
	assert_int_equal(claim(7), -EADDRINUSE);
	assert_int_equal(claim(8), 0);
	wait_at_with(7, iss, true);
	assert_int_equal(claim(7), -EADDRINUSE);
	peer_wait(p, 1100 * APUS_MS);
	assert_int_equal(claim(7), 0);
	assert_int_equal(apus_tcp_layer_time_wait(&p->stack->tcp), 0);
}

static int open_from(uint32_t addr, uint16_t port)
{
	struct apus_endpoint local = {.port = port};
	struct apus_endpoint to = {apus_addr_v4(htonl(0x0a000002)), PEER_PORT};

	if (addr)
		local.addr = apus_addr_v4(htonl(addr));
	return apus_tcp_call_open_from(&p->stack->tcp, local, to, apus_clock_read(&p->clock),
				       &p->c);
}

static void connection_comes_from_the_endpoint_that_was_asked_for(void **state)
{
	assert_int_equal(open_from(0x0a000007, 0), -EADDRNOTAVAIL); /* somebody else's */
	assert_int_equal(open_from(0x0a000001, 5555), 0);
	peer_turn(p);
	assert_true(peer_last(p)->syn);
	assert_int_equal(peer_last(p)->remote_port, 5555);

	struct apus_tcp *first = p->c;

	assert_int_equal(open_from(0, 5555), -EADDRINUSE);
	apus_tcp_call_abort(first, apus_clock_read(&p->clock));
	peer_turn(p);
	assert_int_equal(open_from(0, 5555), 0);
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

/* ---- several shards behind one address: answers must come back to the shard that asked ---- */

static struct apus_rss rule;

static void be_shard(unsigned int shard, unsigned int shards)
{
	struct apus_random random;
	uint8_t rss_key[APUS_RSS_KEY_BYTES];

	apus_random_init_seed(&random, shards);
	apus_rss_key_draw(&random, rss_key, sizeof(rss_key));
	assert_int_equal(apus_rss_init(&rule, rss_key, sizeof(rss_key), shards, 1, NULL, 0), 0);
	p->link.rss = &rule;
	p->link.shard = shard;
}

/* Who gets the peer's answer, as steering finds it: from the frame. */
static unsigned int shard_of_answer(const struct apus_tcp_key *key)
{
	const struct rte_ether_hdr eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	const struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = apus_addr_to_v4(key->remote),
		.dst_addr = apus_addr_to_v4(key->local),
	};
	const uint16_t ports[] = {htons(key->remote_port), htons(key->local_port)};
	uint8_t frame[sizeof(eth) + sizeof(ip) + sizeof(ports)];
	struct apus_rss_flow flow;

	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(frame + sizeof(eth) + sizeof(ip), ports, sizeof(ports));
	apus_rss_flow_parse(frame, sizeof(frame), &flow);
	assert_int_equal(flow.kind, APUS_RSS_TCP);
	return apus_rss_shard(&rule, apus_rss_hash(&rule, &flow.tuple));
}

static void answers_to_chosen_ports_land_on_the_shard_that_chose(void **state)
{
	for (unsigned int shards = 2; shards <= APUS_RSS_SHARDS_MAX; shards *= 2) {
		for (uint16_t i = 0; i < 200; i++) {
			struct apus_tcp_key key = key_to((uint16_t)(1 + i * 317));

			be_shard(i % shards, shards);
			assert_int_equal(choose(&key), 0);
			assert_in_range(key.local_port, APUS_TCP_PORT_FIRST, APUS_TCP_PORT_LAST);
			assert_int_equal(shard_of_answer(&key), i % shards);
		}
	}
}

/* All are free, and a shard may have its part of them only. */
static void shard_that_used_its_part_of_the_ports_is_told_so(void **state)
{
	struct apus_tcp_key key = key_to(80), other = key_to(81);
	int rc;

	be_shard(1, 4);
	while (!(rc = choose(&key))) {
		assert_int_equal(shard_of_answer(&key), 1);
		use(key);
		key = key_to(80);
	}
	assert_int_equal(rc, -EADDRNOTAVAIL);
	assert_in_range(user_count, PORTS / 4 * 9 / 10, PORTS / 4 * 11 / 10);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_PORTS_EXHAUSTED), 1);
	assert_int_equal(choose(&other), 0); /* another peer's are others */
	p->link.shard = 2;
	p->stack->tcp.demux.removals++; /* what was remembered is of shard 1 */
	assert_int_equal(choose(&key), 0);
	assert_int_equal(shard_of_answer(&key), 2);
}

static void port_of_ones_choice_must_come_home_too(void **state)
{
	struct apus_tcp_key key = key_to(80);

	be_shard(2, 3);
	for (uint16_t port = 1000; port < 1100; port++) {
		key.local_port = port;
		assert_int_equal(claim(port), shard_of_answer(&key) == 2 ? 0 : -EADDRNOTAVAIL);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_to_one_peer_follow_each_other_by_random_steps),
		TEST(ports_to_one_peer_do_not_depend_on_those_to_another),
		TEST(ports_lie_in_the_ephemeral_range_and_apart_for_different_peers),
		TEST(port_of_a_listener_is_not_chosen),
		TEST(all_ports_in_use_is_said_and_counted),
		TEST(exhaustion_is_remembered_until_a_port_is_free),
		TEST(exhaustion_does_not_hide_a_port_that_has_waited),
		TEST(port_in_time_wait_with_timestamps_is_used_with_numbers_beyond),
		TEST(chosen_port_is_refused_only_while_its_tuple_is_in_use),
		TEST(connection_comes_from_the_endpoint_that_was_asked_for),
		TEST(port_in_time_wait_is_used_again_after_a_second),
		TEST(port_in_time_wait_whose_old_numbers_lie_ahead_is_not_used),
		TEST(answers_to_chosen_ports_land_on_the_shard_that_chose),
		TEST(shard_that_used_its_part_of_the_ports_is_told_so),
		TEST(port_of_ones_choice_must_come_home_too),
	};

	return test_main_with_pool(argc, argv, tests);
}
