/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_icmp.c: pings of every size, and errors in both directions.
 */
#include "tests/net/ip/frames.h"

#include <errno.h>

static struct net net;

static int setup(void **state)
{
	net_open(&net);
	net_meet(&net, PEER, &mac_peer);
	return 0;
}

static int teardown(void **state)
{
	net_close(&net);
	return 0;
}

/* --- echo ----------------------------------------------------------------------------------- */

static void ping_comes_back_as_it_was(void **state)
{
	const struct rte_icmp_hdr *h;
	struct frame f;

	frame_echo(&f, PEER, US, "some payload", 12);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
	h = frame_l4(net_last(&net)); /* check_sent() looked at the checksum */
	assert_int_equal(h->icmp_type, APUS_ICMP_ECHO_REPLY);
	assert_int_equal(h->icmp_code, 0);
	assert_int_equal(rte_be_to_cpu_16(h->icmp_ident), 0x1234);
	assert_int_equal(rte_be_to_cpu_16(h->icmp_seq_nb), 7);
	assert_memory_equal(h + 1, "some payload", 12);
	assert_int_equal(net_last(&net)->len, f.len);
	assert_int_equal(frame_ip(net_last(&net))->dst_addr, PEER);
	assert_count(&net, icmp, APUS_ICMP_TX_ECHO_REPLIES, 1);
}

static void pings_of_every_size_come_back(void **state)
{
	static uint8_t data[1472];
	struct frame f;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t bytes = 0; bytes <= sizeof(data); bytes++) {
		frame_echo(&f, PEER, US, data, bytes);
		net_receive(&net, &f);
		assert_int_equal(net.sent_count, 1);
		assert_int_equal(net_last(&net)->len, f.len);
		assert_memory_equal((char *)frame_l4(net_last(&net)) + 8, data, bytes);
		net.sent_count = 0;
	}
}

static void checksum_of_every_value_is_corrected(void **state)
{
	struct frame f;

	for (uint32_t v = 0; v < 65536; v += 17) {
		uint16_t word = (uint16_t)v;

		frame_echo(&f, PEER, US, &word, sizeof(word));
		net_receive(&net, &f);
		assert_int_equal(net.sent_count, 1); /* check_sent() looked at it */
		net.sent_count = 0;
	}
}

static void ping_in_several_segments_comes_back(void **state)
{
	uint8_t data[1000];
	struct frame f;

	memset(data, 0x5a, sizeof(data));
	frame_echo(&f, PEER, US, data, sizeof(data));
	net_put(&net, &f, 100, 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_memory_equal((char *)frame_l4(net_last(&net)) + 8, data, sizeof(data));
}

static void ping_in_a_shared_buffer_is_answered_from_a_copy(void **state)
{
	struct frame f;

	frame_echo(&f, PEER, US, "ping", 4);
	net_put(&net, &f, FRAME_BYTES, 0);

	struct rte_mbuf *held = net.rx[0];
	uint16_t data_off = held->data_off;

	rte_pktmbuf_refcnt_update(held, 1);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_int_equal(rte_mbuf_refcnt_read(held), 1);
	assert_memory_equal((char *)held->buf_addr + data_off, f.bytes, f.len);
	rte_pktmbuf_free(held);
}

static void what_the_device_noted_does_not_go_out_again(void **state)
{
	struct frame f;

	frame_echo(&f, PEER, US, "ping", 4);
	net_put(&net, &f, FRAME_BYTES,
		RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH |
			RTE_MBUF_F_RX_VLAN_STRIPPED);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_int_equal(net.sent_flags, RTE_MBUF_F_TX_IPV4);
}

static void type_of_service_of_a_ping_is_kept(void **state)
{
	struct frame f;

	frame_echo(&f, PEER, US, "ping", 4);
	frame_ip(&f)->type_of_service = 0xb8;
	frame_sum_ip(&f);
	net_receive(&net, &f);
	assert_int_equal(frame_ip(net_last(&net))->type_of_service, 0xb8);
}

static void broadcast_ping_is_not_answered(void **state)
{
	static const uint32_t all[] = {SUBNET_ALL, IP4(255, 255, 255, 255)};
	struct frame f;

	for (size_t i = 0; i < apus_countof(all); i++) {
		frame_echo(&f, PEER, all[i], "ping", 4);
		frame_eth_header(&f)->dst_addr = mac_all;
		net_receive(&net, &f);
	}
	assert_int_equal(net.sent_count, 0);
	assert_count(&net, icmp, APUS_ICMP_DROP_BROADCAST, 2);
}

static void short_message_is_dropped_at_every_length(void **state)
{
	struct frame f;

	for (uint16_t bytes = 0; bytes < 8; bytes++) {
		frame_ipv4(&f, IPPROTO_ICMP, PEER, US);
		frame_append(&f, NULL, bytes);
		frame_finish_ip(&f);
		net_receive(&net, &f);
	}
	assert_count(&net, icmp, APUS_ICMP_DROP_SHORT, 8);
	assert_int_equal(net.sent_count, 0);
}

static void each_flipped_bit_of_a_message_is_noticed(void **state)
{
	struct frame f;

	for (unsigned int bit = 0; bit < 12 * 8; bit++) {
		frame_echo(&f, PEER, US, "ping", 4);
		((uint8_t *)frame_l4(&f))[bit / 8] ^= (uint8_t)(1 << bit % 8);
		net_receive(&net, &f);
	}
	assert_count(&net, icmp, APUS_ICMP_DROP_CHECKSUM, 12 * 8);
	assert_int_equal(net.sent_count, 0);
}

static void other_types_are_ignored_by_name(void **state)
{
	static const struct {
		uint8_t type;
		enum apus_icmp_counter counter;
	} types[] = {
		{0, APUS_ICMP_RX_ECHO_REPLIES},  {4, APUS_ICMP_IGNORED_SOURCE_QUENCH},
		{5, APUS_ICMP_IGNORED_REDIRECT}, {9, APUS_ICMP_IGNORED_TYPE},
		{13, APUS_ICMP_IGNORED_TYPE},    {17, APUS_ICMP_IGNORED_TYPE},
		{255, APUS_ICMP_IGNORED_TYPE},
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(types); i++) {
		uint64_t before = net.stack->icmp.counters[types[i].counter];

		frame_echo(&f, PEER, US, "ping", 4);
		((struct rte_icmp_hdr *)frame_l4(&f))->icmp_type = types[i].type;
		frame_sum_icmp(&f);
		net_receive(&net, &f);
		assert_int_equal(net.stack->icmp.counters[types[i].counter], before + 1);
	}
	assert_int_equal(net.sent_count, 0);
}

static void empty_pool_loses_a_ping_and_nothing_else(void **state)
{
	static struct rte_mbuf *all[POOL_MBUFS];
	unsigned int count = 0;
	struct frame f;

	frame_echo(&f, PEER, US, "ping", 4);
	net_put(&net, &f, FRAME_BYTES, 0);
	rte_pktmbuf_refcnt_update(net.rx[0], 1); /* so that a copy is needed */

	struct rte_mbuf *held = net.rx[0];

	while (count < POOL_MBUFS && (all[count] = rte_pktmbuf_alloc(net.pool)))
		count++;
	net_turn(&net);
	rte_pktmbuf_free_bulk(all, count);
	rte_pktmbuf_free(held);
	assert_int_equal(net.sent_count, 0);
	assert_count(&net, icmp, APUS_ICMP_NO_MBUF, 1);
}

/* --- errors out ----------------------------------------------------------------------------- */

static void unknown(struct frame *f, uint32_t src, uint32_t dst, size_t bytes)
{
	frame_ipv4(f, 253, src, dst);
	frame_append(f, NULL, bytes);
	frame_finish_ip(f);
}

static void unknown_protocol_is_told_with_a_quotation(void **state)
{
	const struct rte_icmp_hdr *h;
	struct frame f;

	unknown(&f, PEER, US, 100);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
	h = frame_l4(net_last(&net));
	assert_int_equal(h->icmp_type, 3);
	assert_int_equal(h->icmp_code, 2);
	assert_memory_equal(h + 1, frame_ip(&f), 120);
	assert_int_equal(net_last(&net)->len, RTE_ETHER_HDR_LEN + 20 + 8 + 120);
	assert_int_equal(frame_ip(net_last(&net))->type_of_service, 0xc0);
}

static void quotation_stops_at_576_bytes(void **state)
{
	struct frame f;

	unknown(&f, PEER, US, 1400);
	net_receive(&net, &f);
	assert_int_equal(net_last(&net)->len, RTE_ETHER_HDR_LEN + 576);
	assert_memory_equal((char *)frame_l4(net_last(&net)) + 8, frame_ip(&f), 548);
}

static void quotation_of_a_packet_in_segments_is_whole(void **state)
{
	struct frame f;

	unknown(&f, PEER, US, 700);
	memset((char *)frame_l4(&f) + 100, 0x77, 500);
	net_put(&net, &f, 64, 0);
	net_turn(&net);
	assert_memory_equal((char *)frame_l4(net_last(&net)) + 8, frame_ip(&f), 548);
}

static void nothing_is_said_about_broadcasts(void **state)
{
	struct frame f;

	unknown(&f, PEER, SUBNET_ALL, 100);
	net_receive(&net, &f);
	frame_eth_header(&f)->dst_addr = mac_all;
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 0);
	assert_count(&net, icmp, APUS_ICMP_TX_ERRORS_FORBIDDEN, 2);
}

static void nothing_is_said_about_icmp_fragments_or_link_broadcasts(void **state)
{
	struct rte_mbuf *m;
	struct frame f;

	/* Rooms before it drop most of these; it must hold by itself. */
	for (int i = 0; i < 3; i++) {
		unknown(&f, PEER, US, 100);
		if (i == 0)
			frame_ip(&f)->next_proto_id = IPPROTO_ICMP;
		else if (i == 1)
			frame_ip(&f)->fragment_offset = rte_cpu_to_be_16(1);
		else
			frame_eth_header(&f)->dst_addr = mac_all;
		net_put(&net, &f, FRAME_BYTES, 0);
		m = net.rx[0];
		net.rx_count = 0;
		m->l2_len = RTE_ETHER_HDR_LEN;
		m->l3_len = 20;
		rte_pktmbuf_adj(m, RTE_ETHER_HDR_LEN);
		apus_icmp_unreachable(&net.stack->icmp, m, APUS_ICMP_UNREACHABLE_PORT, apus_now());
		rte_pktmbuf_free(m);
	}
	assert_count(&net, icmp, APUS_ICMP_TX_ERRORS_FORBIDDEN, 3);
}

static void errors_are_limited_and_flow_again_later(void **state)
{
	struct frame f;

	unknown(&f, PEER, US, 10);
	for (int i = 0; i < 3 * APUS_ICMP_ERRORS_BURST; i++)
		net_receive(&net, &f);
	assert_int_equal(net.sent_count, APUS_ICMP_ERRORS_BURST);
	assert_count(&net, icmp, APUS_ICMP_TX_ERRORS_LIMITED, 2 * APUS_ICMP_ERRORS_BURST);
	net_advance(&net, 10 * APUS_MS);
	net.sent_count = 0;
	for (int i = 0; i < 3 * APUS_ICMP_ERRORS_BURST; i++)
		net_receive(&net, &f);
	assert_int_equal(net.sent_count, 10);
}

static void pings_are_answered_while_errors_are_limited(void **state)
{
	struct frame f;

	unknown(&f, PEER, US, 10);
	for (int i = 0; i < 2 * APUS_ICMP_ERRORS_BURST; i++)
		net_receive(&net, &f);
	net.sent_count = 0;
	frame_echo(&f, PEER, US, "ping", 4);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
}

/* --- errors in ------------------------------------------------------------------------------ */

/* An error about a packet of ours with @options words of options; the whole may be cut after. */
static void error_about(struct frame *f, uint8_t type, uint8_t code, uint8_t proto, uint8_t options)
{
	static const uint8_t l4[8] = {0x80, 0x01, 0x00, 0x35, 0xde, 0xad, 0xbe, 0xef};
	struct rte_ipv4_hdr inner = {
		.version_ihl = (uint8_t)(0x45 + options),
		.time_to_live = 1,
		.next_proto_id = proto,
		.src_addr = US,
		.dst_addr = FAR,
	};
	struct rte_icmp_hdr h = {
		.icmp_type = type, .icmp_code = code, .icmp_seq_nb = rte_cpu_to_be_16(1400)};

	frame_ipv4(f, IPPROTO_ICMP, PEER, US);
	frame_append(f, &h, sizeof(h));
	frame_append(f, &inner, sizeof(inner));
	frame_append(f, NULL, options * 4u);
	frame_append(f, l4, sizeof(l4));
	frame_finish_ip(f);
	frame_sum_icmp(f);
}

static struct rte_ipv4_hdr *inner_of(struct frame *f)
{
	return (void *)((char *)frame_l4(f) + 8);
}

/* As the corridor would: what icmp.c makes of the frame. */
static bool read_error(const struct frame *f, uint16_t segment_bytes, struct apus_icmp_error *error)
{
	struct rte_mbuf *m;

	net_put(&net, f, segment_bytes, 0);
	m = net.rx[0];
	net.rx_count = 0;
	assert_int_equal(apus_eth_input(&net.stack->eth, m), APUS_ETH_IPV4);
	assert_int_equal(apus_ipv4_input(&net.stack->ipv4, m), APUS_IPV4_ICMP);
	return apus_icmp_input(&net.stack->icmp, m, apus_now(), error);
}

static void error_is_read_into_a_value(void **state)
{
	static const uint8_t types[] = {3, 11, 12};
	struct apus_icmp_error e;
	struct frame f;

	for (size_t i = 0; i < apus_countof(types); i++) {
		error_about(&f, types[i], 1, IPPROTO_TCP, 0);
		assert_true(read_error(&f, i ? FRAME_BYTES : 9, &e));
		assert_int_equal(e.type, types[i]);
		assert_int_equal(e.code, 1);
		assert_int_equal(e.proto, IPPROTO_TCP);
		assert_int_equal(apus_addr_to_v4(e.local), US);
		assert_int_equal(apus_addr_to_v4(e.remote), FAR);
		assert_int_equal(e.local_port, 0x8001);
		assert_int_equal(e.remote_port, 53);
		assert_int_equal(e.seq, 0xdeadbeef);
		assert_int_equal(e.mtu, 0);
	}
}

static void too_big_tells_the_mtu(void **state)
{
	static const uint16_t mtus[] = {0, 68, 1400, 65535};
	struct apus_icmp_error e;
	struct frame f;

	for (size_t i = 0; i < apus_countof(mtus); i++) {
		error_about(&f, 3, 4, IPPROTO_TCP, 0);
		((struct rte_icmp_hdr *)frame_l4(&f))->icmp_seq_nb = rte_cpu_to_be_16(mtus[i]);
		frame_sum_icmp(&f);
		assert_true(read_error(&f, FRAME_BYTES, &e));
		assert_int_equal(e.mtu, mtus[i]);
	}
}

static void inner_options_are_stepped_over(void **state)
{
	struct apus_icmp_error e;
	struct frame f;

	error_about(&f, 3, 3, IPPROTO_UDP, 10);
	assert_true(read_error(&f, FRAME_BYTES, &e));
	assert_int_equal(e.local_port, 0x8001);
	assert_int_equal(e.remote_port, 53);
}

static void truncated_quotation_is_dropped_at_every_length(void **state)
{
	struct apus_icmp_error e;
	struct frame f;

	for (uint16_t bytes = 0; bytes < 20 + 8 + 8; bytes++) {
		error_about(&f, 3, 3, IPPROTO_UDP, 2);
		f.len = RTE_ETHER_HDR_LEN + 20 + 8 + bytes;
		frame_finish_ip(&f);
		frame_sum_icmp(&f);
		assert_false(read_error(&f, FRAME_BYTES, &e));
	}
	assert_count(&net, icmp, APUS_ICMP_DROP_INNER_SHORT, 36);
}

static void quotations_that_lie_are_dropped_by_name(void **state)
{
	struct apus_icmp_error e;
	struct frame f;

#define LYING(field, value, counter)            \
 error_about(&f, 3, 3, IPPROTO_UDP, 0);         \
 inner_of(&f)->field = (value);                 \
 frame_sum_icmp(&f);                            \
 assert_false(read_error(&f, FRAME_BYTES, &e)); \
 assert_count(&net, icmp, counter, ++count)

	int count = 0;
	LYING(version_ihl, 0x65, APUS_ICMP_DROP_INNER_HEADER);
	LYING(version_ihl, 0x44, APUS_ICMP_DROP_INNER_HEADER);
	LYING(version_ihl, 0x40, APUS_ICMP_DROP_INNER_HEADER);
	count = 0;
	LYING(version_ihl, 0x4f, APUS_ICMP_DROP_INNER_SHORT);
	count = 0;
	LYING(src_addr, PEER, APUS_ICMP_DROP_INNER_NOT_OURS);
	count = 0;
	LYING(fragment_offset, rte_cpu_to_be_16(1), APUS_ICMP_DROP_INNER_FRAGMENT);
	count = 0;
	LYING(next_proto_id, IPPROTO_ICMP, APUS_ICMP_DROP_INNER_PROTOCOL);
	LYING(next_proto_id, 253, APUS_ICMP_DROP_INNER_PROTOCOL);
#undef LYING
}

static void error_with_a_bad_checksum_is_dropped(void **state)
{
	struct apus_icmp_error e;
	struct frame f;

	error_about(&f, 3, 3, IPPROTO_UDP, 0);
	inner_of(&f)->time_to_live ^= 4;
	assert_false(read_error(&f, FRAME_BYTES, &e));
	assert_count(&net, icmp, APUS_ICMP_DROP_CHECKSUM, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ping_comes_back_as_it_was),
		TEST(pings_of_every_size_come_back),
		TEST(checksum_of_every_value_is_corrected),
		TEST(ping_in_several_segments_comes_back),
		TEST(ping_in_a_shared_buffer_is_answered_from_a_copy),
		TEST(what_the_device_noted_does_not_go_out_again),
		TEST(type_of_service_of_a_ping_is_kept),
		TEST(broadcast_ping_is_not_answered),
		TEST(short_message_is_dropped_at_every_length),
		TEST(each_flipped_bit_of_a_message_is_noticed),
		TEST(other_types_are_ignored_by_name),
		TEST(empty_pool_loses_a_ping_and_nothing_else),
		TEST(unknown_protocol_is_told_with_a_quotation),
		TEST(quotation_stops_at_576_bytes),
		TEST(quotation_of_a_packet_in_segments_is_whole),
		TEST(nothing_is_said_about_broadcasts),
		TEST(nothing_is_said_about_icmp_fragments_or_link_broadcasts),
		TEST(errors_are_limited_and_flow_again_later),
		TEST(pings_are_answered_while_errors_are_limited),
		TEST(error_is_read_into_a_value),
		TEST(too_big_tells_the_mtu),
		TEST(inner_options_are_stepped_over),
		TEST(truncated_quotation_is_dropped_at_every_length),
		TEST(quotations_that_lie_are_dropped_by_name),
		TEST(error_with_a_bad_checksum_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
