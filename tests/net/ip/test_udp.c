/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_udp.c: datagrams in and out: lengths, checksums, sockets, queues.
 */
#include "net/socket/udp.h"
#include "tests/net/ip/udp_test.h"

#include <errno.h>
#include <rte_ethdev.h>

static void assert_dropped(const struct frame *f, enum apus_udp_counter reason)
{
	uint64_t before = net.stack->udp.counters[reason];
	uint64_t taken = net.stack->udp.counters[APUS_UDP_RX_DATAGRAMS];

	net_receive(&net, f);
	assert_int_equal(net.stack->udp.counters[reason], before + 1);
	assert_int_equal(net.stack->udp.counters[APUS_UDP_RX_DATAGRAMS], taken);
}

/* --- lengths and checksums ------------------------------------------------------------------ */

static void datagrams_of_every_size_arrive(void **state)
{
	static uint8_t data[1472];
	struct apus_udp *u = open_at(0, 7);

	for (size_t bytes = 0; bytes <= sizeof(data); bytes += bytes < 64 ? 1 : 64) {
		receive(7, data, bytes);
		assert_int_equal(pop(u), bytes);
	}
	receive(7, data, 1472);
	assert_int_equal(pop(u), 1472);
	apus_udp_close(u);
}

static void header_cut_at_each_length_is_dropped(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	for (uint16_t bytes = 0; bytes < 8; bytes++) {
		frame_udp(&f, PEER, 5353, US, 7, "data", 4);
		f.len = RTE_ETHER_HDR_LEN + 20 + bytes;
		frame_finish_ip(&f);
		assert_dropped(&f, APUS_UDP_DROP_SHORT);
	}
	apus_udp_close(u);
}

static void length_below_the_header_or_beyond_the_packet_is_dropped(void **state)
{
	static const uint16_t bad[] = {0, 1, 7, 13, 14, 255, 65535};
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		frame_udp(&f, PEER, 5353, US, 7, "data", 4); /* 12 is right */
		((struct rte_udp_hdr *)frame_l4(&f))->dgram_len = rte_cpu_to_be_16(bad[i]);
		((struct rte_udp_hdr *)frame_l4(&f))->dgram_cksum = 0;
		assert_dropped(&f, APUS_UDP_DROP_LENGTH);
	}
	apus_udp_close(u);
}

/* RFC 768: the datagram ends where its own length says, and so does its checksum. */
static void bytes_behind_the_datagram_are_cut_off(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 7, "data", 4);
	frame_append(&f, "more", 4);
	frame_finish_ip(&f);
	net_receive(&net, &f);
	assert_int_equal(pop(u), 4);
	net_put(&net, &f, 5, 0);
	net_turn(&net);
	assert_int_equal(pop(u), 4);
	apus_udp_close(u);
}

static void each_flipped_bit_is_noticed(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	for (unsigned int bit = 0; bit < 12 * 8; bit++) {
		frame_udp(&f, PEER, 5353, US, 7, "data", 4);
		((uint8_t *)frame_l4(&f))[bit / 8] ^= (uint8_t)(1 << bit % 8);
		net_receive(&net, &f);
	}
	assert_int_equal(pop(u), -1);
	assert_int_equal(net.stack->udp.counters[APUS_UDP_DROP_CHECKSUM] +
				 net.stack->udp.counters[APUS_UDP_DROP_LENGTH],
			 12 * 8);
	apus_udp_close(u);
}

static void addresses_are_under_the_checksum(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 7, "data", 4);
	frame_ip(&f)->src_addr = GATEWAY;
	frame_sum_ip(&f);
	assert_dropped(&f, APUS_UDP_DROP_CHECKSUM);
	apus_udp_close(u);
}

static void checksum_of_zero_means_none(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 7, "data", 4);
	((struct rte_udp_hdr *)frame_l4(&f))->dgram_cksum = 0;
	net_receive(&net, &f);
	assert_int_equal(pop(u), 4);
	assert_count(&net, udp, APUS_UDP_RX_NO_CHECKSUM, 1);
	apus_udp_close(u);
}

static void device_that_checked_is_believed(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 7, "data", 4);
	((struct rte_udp_hdr *)frame_l4(&f))->dgram_cksum ^= 1;
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	net_turn(&net);
	assert_int_equal(pop(u), 4);
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_L4_CKSUM_BAD);
	net_turn(&net);
	assert_int_equal(pop(u), -1);
	assert_count(&net, udp, APUS_UDP_DROP_CHECKSUM, 1);
	apus_udp_close(u);
}

static void datagram_in_segments_arrives(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	uint8_t data[1001];
	struct frame f;

	memset(data, 0x31, sizeof(data));
	frame_udp(&f, PEER, 5353, US, 7, data, sizeof(data));
	net_put(&net, &f, 33, 0);
	net_turn(&net);
	assert_int_equal(pop(u), sizeof(data));
	apus_udp_close(u);
}

static void destination_port_zero_is_dropped(void **state)
{
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 0, "data", 4);
	assert_dropped(&f, APUS_UDP_DROP_PORT_ZERO);
}

/* --- which socket --------------------------------------------------------------------------- */

static void socket_with_that_peer_goes_first(void **state)
{
	struct apus_udp *all = open_at(0, 7), *one = open_to(7, PEER, 5353);
	struct frame f;

	receive(7, "to one", 6);
	frame_udp(&f, PEER, 5354, US, 7, "to all", 6);
	net_receive(&net, &f);
	assert_int_equal(pop(one), 6);
	assert_int_equal(pop(one), -1);
	assert_int_equal(pop(all), 6);
	assert_int_equal(pop(all), -1);
	apus_udp_close(one);
	receive(7, "again", 5);
	assert_int_equal(pop(all), 5);
	apus_udp_close(all);
}

static void others_do_not_reach_a_socket_with_a_peer(void **state)
{
	struct apus_udp *u = open_to(7, PEER, 5353);
	struct frame f;

	frame_udp(&f, PEER, 5354, US, 7, "data", 4);
	assert_dropped(&f, APUS_UDP_DROP_NO_SOCKET);
	frame_udp(&f, GATEWAY, 5353, US, 7, "data", 4);
	assert_dropped(&f, APUS_UDP_DROP_NO_SOCKET);
	apus_udp_close(u);
}

static void broadcast_reaches_any_but_not_one_address(void **state)
{
	struct apus_udp *any = open_at(0, 7), *one = open_at(US, 8);
	struct frame f;

	frame_udp(&f, PEER, 5353, SUBNET_ALL, 7, "data", 4);
	frame_eth_header(&f)->dst_addr = mac_all;
	net_receive(&net, &f);
	assert_int_equal(pop(any), 4);
	frame_udp(&f, PEER, 5353, SUBNET_ALL, 8, "data", 4);
	frame_eth_header(&f)->dst_addr = mac_all;
	assert_dropped(&f, APUS_UDP_DROP_NO_SOCKET);
	assert_int_equal(net.sent_count, 0); /* and nothing is said about a broadcast */
	apus_udp_close(any);
	apus_udp_close(one);
}

static void port_without_a_socket_is_told(void **state)
{
	const struct rte_icmp_hdr *h;
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 9, "data", 4);
	assert_dropped(&f, APUS_UDP_DROP_NO_SOCKET);
	assert_int_equal(net.sent_count, 1);
	h = frame_l4(net_last(&net));
	assert_int_equal(h->icmp_type, APUS_ICMP_UNREACHABLE);
	assert_int_equal(h->icmp_code, APUS_ICMP_UNREACHABLE_PORT);
	assert_memory_equal(h + 1, frame_ip(&f), 20 + 8 + 4);
}

static void taken_ports_are_refused(void **state)
{
	struct apus_udp *u = open_at(0, 7), *v;
	struct apus_endpoint peer = at(PEER, 5353);

	assert_int_equal(apus_udp_open(at(0, 7), NULL, &v), -EADDRINUSE);
	assert_int_equal(apus_udp_open(at(US, 7), NULL, &v), -EADDRINUSE);
	apus_udp_close(u);
	u = open_at(US, 7);
	assert_int_equal(apus_udp_open(at(0, 7), NULL, &v), -EADDRINUSE);
	apus_udp_close(u);
	u = open_to(7, PEER, 5353);
	assert_int_equal(apus_udp_open(at(0, 7), &peer, &v), -EADDRINUSE);
	apus_udp_close(u);
	u = open_to(7, PEER, 5353); /* free again */
	apus_udp_close(u);
	assert_int_equal(net.stack->udp.connected_count, 0);
}

static void bad_addresses_are_refused(void **state)
{
	struct apus_endpoint no_port = at(PEER, 0), broadcast = at(SUBNET_ALL, 7), far = at(FAR, 7);
	struct apus_udp *u;

	assert_int_equal(apus_udp_open(at(PEER, 7), NULL, &u), -EADDRNOTAVAIL);
	assert_int_equal(apus_udp_open(at(0, 7), &no_port, &u), -EADDRNOTAVAIL);
	assert_int_equal(apus_udp_open(at(0, 7), &broadcast, &u), -EADDRNOTAVAIL);
	assert_int_equal(apus_route_del(&net.stack->routes, (struct apus_addr){0}, 0), 0);
	assert_int_equal(apus_udp_open(at(0, 7), &far, &u), -ENETUNREACH);
}

static void chosen_ports_are_ephemeral_and_differ(void **state)
{
	enum {
		COUNT = 1000
	};
	static struct apus_udp *sockets[COUNT];
	static bool seen[65536];
	uint32_t neighbours = 0;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < COUNT; i++) {
		sockets[i] = open_at(0, 0);

		uint16_t port = apus_udp_local(sockets[i]).port;

		assert_in_range(port, APUS_UDP_PORT_FIRST, APUS_UDP_PORT_LAST);
		assert_false(seen[port]);
		seen[port] = true;
		if (i > 0)
			neighbours += abs(port - apus_udp_local(sockets[i - 1]).port) == 1;
	}
	assert_true(neighbours < COUNT / 20); /* RFC 6056: not one after the other */
	for (int i = 0; i < COUNT; i++)
		apus_udp_close(sockets[i]);
}

static void port_chosen_for_a_peer_is_not_stolen_from_who_has_none(void **state)
{
	enum {
		COUNT = 1000
	};
	static struct apus_udp *bound[COUNT], *connected[COUNT];
	static bool taken[65536];

	memset(taken, 0, sizeof(taken));
	for (int i = 0; i < COUNT; i++) {
		bound[i] = open_at(0, 0);
		taken[apus_udp_local(bound[i]).port] = true;
	}
	for (int i = 0; i < COUNT; i++) {
		connected[i] = open_to(0, PEER, 5353);
		assert_false(taken[apus_udp_local(connected[i]).port]);
	}
	for (int i = 0; i < COUNT; i++) {
		apus_udp_close(bound[i]);
		apus_udp_close(connected[i]);
	}
}

static void exhausted_ports_are_told(void **state)
{
	struct apus_udp_layer *layer = &net.stack->udp;
	struct apus_slab sockets = layer->sockets;
	static struct apus_udp *all[APUS_UDP_PORT_LAST - APUS_UDP_PORT_FIRST + 1];
	struct apus_udp *u;

	/* With room for more sockets than ports. */
	apus_slab_init(&layer->sockets, sockets.heap, sizeof(struct apus_udp),
		       apus_countof(all) + 1);
	for (size_t i = 0; i < apus_countof(all); i++)
		all[i] = open_at(0, (uint16_t)(APUS_UDP_PORT_FIRST + i));
	assert_int_equal(apus_udp_open(at(0, 0), NULL, &u), -EADDRINUSE);
	assert_count(&net, udp, APUS_UDP_PORTS_EXHAUSTED, 1);
	apus_udp_close(all[4711]);
	all[4711] = open_at(0, 0);
	assert_int_equal(apus_udp_local(all[4711]).port, APUS_UDP_PORT_FIRST + 4711);
	for (size_t i = 0; i < apus_countof(all); i++)
		apus_udp_close(all[i]);
	apus_slab_fini(&layer->sockets);
	layer->sockets = sockets;
}

static void every_socket_taken_is_no_memory(void **state)
{
	static struct apus_udp *sockets[APUS_UDP_SOCKETS_MAX];
	struct apus_udp *u;

	for (uint32_t i = 0; i < APUS_UDP_SOCKETS_MAX; i++)
		sockets[i] = open_at(0, (uint16_t)(1 + i));
	assert_int_equal(apus_udp_open(at(0, 60000), NULL, &u), -ENOMEM);
	apus_udp_close(sockets[0]);
	sockets[0] = open_at(0, 60000);
	for (uint32_t i = 0; i < APUS_UDP_SOCKETS_MAX; i++)
		apus_udp_close(sockets[i]);
}

/* --- queues --------------------------------------------------------------------------------- */

static void full_queue_drops_the_newest(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	static uint8_t data[APUS_UDP_QUEUE_MAX + 10];

	for (size_t i = 0; i < sizeof(data); i++)
		receive(7, data, i);
	assert_count(&net, udp, APUS_UDP_DROP_QUEUE_FULL, 10);
	for (int i = 0; i < APUS_UDP_QUEUE_MAX; i++)
		assert_int_equal(pop(u), i);
	assert_int_equal(pop(u), -1);
	receive(7, data, 5);
	assert_int_equal(pop(u), 5);
	apus_udp_close(u);
}

static void all_queues_together_leave_half_of_the_pool(void **state)
{
	struct apus_udp *sockets[6];
	uint32_t queued = 0;

	for (uint16_t i = 0; i < 6; i++) {
		sockets[i] = open_at(0, 100 + i);
		for (int k = 0; k < APUS_UDP_QUEUE_MAX; k++)
			receive(100 + i, "x", 1);
	}
	queued = (uint32_t)net.stack->udp.counters[APUS_UDP_RX_DATAGRAMS];
	assert_int_equal(queued, POOL_MBUFS / 2);
	assert_count(&net, udp, APUS_UDP_DROP_QUEUES_FULL, 6 * APUS_UDP_QUEUE_MAX - queued);
	apus_udp_close(sockets[0]);
	receive(105, "x", 1);
	assert_int_equal(net.stack->udp.counters[APUS_UDP_RX_DATAGRAMS], queued + 1);
	for (int i = 1; i < 6; i++)
		apus_udp_close(sockets[i]);
}

/* --- down ----------------------------------------------------------------------------------- */

static void sent_datagram_is_as_the_rfc_says(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	const struct rte_udp_hdr *h;

	assert_int_equal(apus_udp_send(u, "hello", 5, &to), 5);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	h = frame_l4(net_last(&net)); /* check_sent() looked at the checksum */
	assert_int_equal(rte_be_to_cpu_16(h->src_port), 7);
	assert_int_equal(rte_be_to_cpu_16(h->dst_port), 5353);
	assert_int_equal(rte_be_to_cpu_16(h->dgram_len), 13);
	assert_int_not_equal(h->dgram_cksum, 0);
	assert_memory_equal(h + 1, "hello", 5);
	apus_udp_close(u);
}

static void no_sent_checksum_is_zero(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	uint32_t all_ones = 0;

	for (uint32_t v = 0; v < 65536; v++) {
		uint16_t word = (uint16_t)v;

		assert_int_equal(apus_udp_send(u, &word, 2, &to), 2);
		net_turn(&net);
		assert_int_not_equal(((struct rte_udp_hdr *)frame_l4(net_last(&net)))->dgram_cksum,
				     0);
		all_ones += ((struct rte_udp_hdr *)frame_l4(net_last(&net)))->dgram_cksum == 0xffff;
		net.sent_count = 0;
	}
	assert_in_range(all_ones, 1, 2);
	apus_udp_close(u);
}

static void granted_offload_has_the_pseudo_header_in_place(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	struct rte_mbuf *m;

	net.trusting = true;
	net.link.tx_offloads = RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	assert_int_equal(apus_udp_send(u, "hello", 5, &to), 5);
	m = net.stack->eth.tx_burst[0];
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_L4_MASK, RTE_MBUF_F_TX_UDP_CKSUM);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IPV4);
	assert_int_equal(m->l2_len, 14);
	assert_int_equal(m->l3_len, 20);
	net_turn(&net);

	struct rte_udp_hdr *h = frame_l4(net_last(&net));

	assert_int_equal(h->dgram_cksum, rte_ipv4_phdr_cksum(frame_ip(net_last(&net)), 0));
	apus_udp_close(u);
}

static void datagram_of_the_mtu_goes_and_one_more_byte_does_not(void **state)
{
	static uint8_t data[65536];
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);

	assert_int_equal(apus_udp_send(u, data, 1472, &to), 1472);
	assert_int_equal(apus_udp_send(u, data, 1473, &to), -EMSGSIZE);
	assert_int_equal(apus_udp_send(u, data, 65536, &to), -EMSGSIZE);
	assert_int_equal(apus_udp_send(u, data, SIZE_MAX - 4, &to), -EMSGSIZE);
	assert_int_equal(apus_udp_send(u, data, 0, &to), 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 2);
	apus_udp_close(u);
}

/* MTU 1500 with buffers of 300 bytes, so that a datagram needs several. */
static void datagram_larger_than_a_buffer_is_sent_in_segments(void **state)
{
	struct rte_mempool *small = rte_pktmbuf_pool_create(
		"small", 63, 0, 0, RTE_PKTMBUF_HEADROOM + 300, SOCKET_ID_ANY);
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	uint8_t data[1472];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 11);
	net.link.pool = small;
	for (size_t bytes = 250; bytes <= sizeof(data); bytes += 13) {
		assert_int_equal(apus_udp_send(u, data, bytes, &to), bytes);
		net_turn(&net);
		assert_int_equal(net_last(&net)->len, 14 + 20 + 8 + bytes);
		assert_memory_equal((char *)frame_l4(net_last(&net)) + 8, data, bytes);
	}
	net.link.pool = net.pool;
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	rte_mempool_free(small);
	apus_udp_close(u);
}

static void empty_pool_is_told_and_nothing_leaks(void **state)
{
	struct rte_mempool *small = rte_pktmbuf_pool_create(
		"small", 3, 0, 0, RTE_PKTMBUF_HEADROOM + 300, SOCKET_ID_ANY);
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint to = at(PEER, 5353);
	uint8_t data[1472] = {0};

	net.link.pool = small;
	assert_int_equal(apus_udp_send(u, data, sizeof(data), &to), -ENOBUFS);
	assert_count(&net, udp, APUS_UDP_NO_MBUF, 1);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	net.link.pool = net.pool;
	rte_mempool_free(small);
	apus_udp_close(u);
}

static void send_without_a_way_says_why(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct apus_endpoint far = at(FAR, 7), self = at(US, 7);

	assert_int_equal(apus_udp_send(u, "x", 1, NULL), -EDESTADDRREQ);
	assert_int_equal(apus_udp_send(u, "x", 1, &self), -EHOSTUNREACH);
	assert_int_equal(apus_route_del(&net.stack->routes, (struct apus_addr){0}, 0), 0);
	assert_int_equal(apus_udp_send(u, "x", 1, &far), -ENETUNREACH);
	apus_udp_close(u);
}

static void connected_socket_sends_to_its_peer(void **state)
{
	struct apus_udp *u = open_to(0, PEER, 5353);

	assert_int_equal(apus_udp_send(u, "x", 1, NULL), 1);
	net_turn(&net);
	assert_int_equal(frame_ip(net_last(&net))->dst_addr, PEER);
	apus_udp_close(u);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagrams_of_every_size_arrive),
		TEST(header_cut_at_each_length_is_dropped),
		TEST(length_below_the_header_or_beyond_the_packet_is_dropped),
		TEST(bytes_behind_the_datagram_are_cut_off),
		TEST(each_flipped_bit_is_noticed),
		TEST(addresses_are_under_the_checksum),
		TEST(checksum_of_zero_means_none),
		TEST(device_that_checked_is_believed),
		TEST(datagram_in_segments_arrives),
		TEST(destination_port_zero_is_dropped),
		TEST(socket_with_that_peer_goes_first),
		TEST(others_do_not_reach_a_socket_with_a_peer),
		TEST(broadcast_reaches_any_but_not_one_address),
		TEST(port_without_a_socket_is_told),
		TEST(taken_ports_are_refused),
		TEST(bad_addresses_are_refused),
		TEST(chosen_ports_are_ephemeral_and_differ),
		TEST(port_chosen_for_a_peer_is_not_stolen_from_who_has_none),
		TEST(exhausted_ports_are_told),
		TEST(every_socket_taken_is_no_memory),
		TEST(full_queue_drops_the_newest),
		TEST(all_queues_together_leave_half_of_the_pool),
		TEST(sent_datagram_is_as_the_rfc_says),
		TEST(no_sent_checksum_is_zero),
		TEST(granted_offload_has_the_pseudo_header_in_place),
		TEST(datagram_of_the_mtu_goes_and_one_more_byte_does_not),
		TEST(datagram_larger_than_a_buffer_is_sent_in_segments),
		TEST(empty_pool_is_told_and_nothing_leaks),
		TEST(send_without_a_way_says_why),
		TEST(connected_socket_sends_to_its_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
