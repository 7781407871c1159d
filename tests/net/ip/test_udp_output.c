/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_udp_output.c: datagrams whose headers are kept are what the others are.
 *
 * The first datagram to a neighbour takes the long way, which makes it known as one that is sent to;
 * the next ones begin with a copy. Each frame's checksums are looked at by check_sent().
 */
#include "tests/net/ip/udp_test.h"

#include <rte_ethdev.h>

static void send_to(struct apus_udp *u, uint32_t addr, const void *data, size_t bytes)
{
	struct apus_endpoint to = at(addr, 5353);

	assert_int_equal(apus_udp_send(u, data, bytes, &to), bytes);
	net_turn(&net);
}

static const struct apus_udp_way *way_of(uint32_t addr)
{
	for (uint32_t i = 0; i < APUS_UDP_WAYS; i++)
		if (net.stack->udp.ways[i].dst == addr)
			return &net.stack->udp.ways[i];
	return NULL;
}

static void each_size_is_what_the_long_way_sends(void **state)
{
	static uint8_t data[1472];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t bytes = 0; bytes <= sizeof(data); bytes += bytes < 70 ? 1 : 467) {
		struct apus_udp *u = open_at(0, 7);

		send_to(u, PEER, data, bytes);
		assert_null(way_of(PEER));
		send_to(u, PEER, data, bytes);
		assert_non_null(way_of(PEER));
		assert_int_equal(net.sent_count, 2);
		assert_int_equal(net.sent[1].len, 14 + 20 + 8 + bytes);
		assert_int_equal(net.sent[1].len, net.sent[0].len);
		assert_memory_equal(net.sent[1].bytes, net.sent[0].bytes, net.sent[0].len);
		apus_udp_close(u);
		teardown(state);
		setup(state);
	}
}

static void data_from_odd_addresses_are_summed_right(void **state)
{
	static uint8_t data[600 + 8];
	struct apus_udp *u = open_at(0, 7);

	memset(data, 0xa5, sizeof(data));
	send_to(u, PEER, data, 1);
	for (size_t from = 0; from < 8; from++) {
		for (size_t bytes = 509; bytes < 515; bytes++) { /* about APUS_SUM_LONG_BYTES */
			net.sent_count = 0;
			send_to(u, PEER, data + from, bytes);
			assert_memory_equal((uint8_t *)frame_l4(net_last(&net)) + 8, data + from,
					    bytes);
		}
	}
	apus_udp_close(u);
}

static void granted_offloads_are_asked_for_alike(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	struct rte_mbuf *m;
	uint64_t flags, lengths;

	net.trusting = true;
	net.link.tx_offloads = RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	assert_int_equal(apus_udp_send(u, "hello", 5, &to), 5);
	assert_int_equal(apus_udp_send(u, "hello", 5, &to), 5);
	m = net.stack->eth.tx_burst[0];
	flags = m->ol_flags;
	lengths = m->tx_offload;
	m = net.stack->eth.tx_burst[1];
	assert_int_equal(m->ol_flags, flags);
	assert_int_equal(m->tx_offload, lengths);
	net_turn(&net);
	assert_memory_equal(net.sent[1].bytes, net.sent[0].bytes, net.sent[0].len);
	apus_udp_close(u);
}

static void neighbour_with_a_new_address_is_followed(void **state)
{
	struct apus_udp *u = open_at(0, 7);

	for (int i = 0; i < 3; i++)
		send_to(u, PEER, "x", 1);
	net_advance(&net, 2 * APUS_ARP_LOCK_NS);
	net_meet(&net, PEER, &mac_other);
	send_to(u, PEER, "x", 1);
	assert_true(
		rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_other));
	apus_udp_close(u);
}

static void other_route_is_followed(void **state)
{
	struct apus_addr far = apus_addr_v4(FAR), by = apus_addr_v4(PEER);
	struct apus_udp *u = open_at(0, 7);

	net_meet(&net, GATEWAY, &mac_other);
	for (int i = 0; i < 3; i++)
		send_to(u, FAR, "x", 1);
	assert_non_null(way_of(FAR));
	assert_int_equal(apus_route_add(&net.stack->routes, far, 32, by), 0);
	send_to(u, FAR, "x", 1);
	assert_true(rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_peer));
	apus_udp_close(u);
}

/* More than are kept, twice, so that each takes another's place and has its own taken. */
static void each_of_many_destinations_has_its_own_headers(void **state)
{
	enum {
		HOSTS = 4 * APUS_UDP_WAYS,
	};
	struct apus_udp *u = open_at(0, 7);

	net_meet(&net, GATEWAY, &mac_other);
	for (uint32_t i = 0; i < 2 * HOSTS; i++) {
		uint32_t host = rte_cpu_to_be_32(rte_be_to_cpu_32(FAR) + i % HOSTS);

		net.sent_count = 0;
		send_to(u, host, &i, sizeof(i));
		assert_int_equal(net.sent_count, 1);
		assert_int_equal(frame_ip(net_last(&net))->dst_addr, host);
		assert_memory_equal((uint8_t *)frame_l4(net_last(&net)) + 8, &i, sizeof(i));
	}
	assert_count(&net, udp, APUS_UDP_TX_DATAGRAMS, 2 * HOSTS);
	apus_udp_close(u);
}

static void broadcast_has_no_kept_headers(void **state)
{
	struct apus_udp *u = open_at(0, 7);

	for (int i = 0; i < 2; i++) {
		send_to(u, SUBNET_ALL, "x", 1);
		assert_true(rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr,
						   &mac_all));
	}
	assert_null(way_of(SUBNET_ALL));
	apus_udp_close(u);
}

/* A stack of two addresses, and a socket of the second: by the long way, then by the short one. */
static void bound_socket_sends_from_its_own_address(void **state)
{
	uint32_t second = rte_cpu_to_be_32(rte_be_to_cpu_32(US) + 1);
	struct apus_udp *all = open_at(0, 7), *bound;

	net.stack->ipv4.more = net.stack->arp.more = 1;
	bound = open_at(second, 8);
	for (int i = 0; i < 3; i++) {
		send_to(bound, PEER, "x", 1);
		assert_int_equal(frame_ip(net_last(&net))->src_addr, second);
		send_to(all, PEER, "x", 1);
		assert_int_equal(frame_ip(net_last(&net))->src_addr, US);
	}
	apus_udp_close(bound);
	apus_udp_close(all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_size_is_what_the_long_way_sends),
		TEST(data_from_odd_addresses_are_summed_right),
		TEST(granted_offloads_are_asked_for_alike),
		TEST(neighbour_with_a_new_address_is_followed),
		TEST(other_route_is_followed),
		TEST(each_of_many_destinations_has_its_own_headers),
		TEST(broadcast_has_no_kept_headers),
		TEST(bound_socket_sends_from_its_own_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
