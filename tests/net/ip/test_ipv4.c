/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_ipv4.c: headers that lie, addresses that may not be, and what we send.
 *
 * "Came through" means that a ping, or a datagram of a protocol that nobody has, was answered.
 */
#include "tests/net/ip/frames.h"

#include <errno.h>
#include <rte_ethdev.h>

static struct net net;

static int setup(void **state)
{
	net_open(&net);
	net_meet(&net, PEER, &mac_peer);
	net_meet(&net, GATEWAY, &mac_other);
	return 0;
}

static int teardown(void **state)
{
	net_close(&net);
	return 0;
}

static void ping(struct frame *f)
{
	frame_echo(f, PEER, US, "ping", 4);
}

/* The frame is dropped, and this counter says why. */
static void assert_dropped(const struct frame *f, enum apus_ipv4_counter reason)
{
	uint64_t before = net.stack->ipv4.counters[reason];
	uint32_t sent = net.sent_count;

	net_receive(&net, f);
	assert_int_equal(net.stack->ipv4.counters[reason], before + 1);
	assert_int_equal(net.sent_count, sent);
}

static void assert_answered(const struct frame *f)
{
	uint32_t sent = net.sent_count;

	net_receive(&net, f);
	assert_int_equal(net.sent_count, sent + 1);
}

/* A ping with @bytes of options after the header. */
static void ping_with_options(struct frame *f, const void *options, size_t bytes)
{
	struct rte_icmp_hdr h = {.icmp_type = APUS_ICMP_ECHO_REQUEST};

	assert_int_equal(bytes % 4, 0);
	frame_ipv4(f, IPPROTO_ICMP, PEER, US);
	frame_ip(f)->version_ihl = (uint8_t)(0x45 + bytes / 4);
	frame_append(f, options, bytes);
	frame_append(f, &h, sizeof(h));
	frame_append(f, "ping", 4);
	frame_finish_ip(f);
	frame_sum_icmp(f);
}

/* --- shape ---------------------------------------------------------------------------------- */

static void good_packet_comes_through(void **state)
{
	struct frame f;

	ping(&f);
	assert_answered(&f);
}

static void packet_cut_at_each_length_is_dropped_by_name(void **state)
{
	struct frame f;
	uint16_t whole;

	ping(&f);
	whole = f.len;
	for (uint16_t len = RTE_ETHER_HDR_LEN; len < whole; len++) {
		f.len = len;
		assert_dropped(&f, len < RTE_ETHER_HDR_LEN + 20 ? APUS_IPV4_DROP_SHORT
								: APUS_IPV4_DROP_TOTAL_LENGTH);
	}
}

static void other_versions_are_dropped(void **state)
{
	struct frame f;

	for (int version = 0; version < 16; version++) {
		if (version == 4)
			continue;
		ping(&f);
		frame_ip(&f)->version_ihl = (uint8_t)(version << 4 | 5);
		frame_sum_ip(&f);
		assert_dropped(&f, APUS_IPV4_DROP_VERSION);
	}
}

static void header_length_below_five_is_dropped(void **state)
{
	struct frame f;

	for (int ihl = 0; ihl < 5; ihl++) {
		ping(&f);
		frame_ip(&f)->version_ihl = (uint8_t)(0x40 | ihl);
		assert_dropped(&f, APUS_IPV4_DROP_HEADER_LENGTH);
	}
}

static void header_length_beyond_the_frame_is_dropped(void **state)
{
	struct frame f;

	/* 20 + 8 + 4 bytes are there: 9 words do not fit. */
	ping(&f);
	frame_ip(&f)->version_ihl = 0x49;
	assert_dropped(&f, APUS_IPV4_DROP_HEADER_LENGTH);
	frame_ip(&f)->version_ihl = 0x4f;
	assert_dropped(&f, APUS_IPV4_DROP_HEADER_LENGTH);
}

static void total_length_below_the_header_is_dropped(void **state)
{
	struct frame f;

	for (uint16_t total = 0; total < 20; total++) {
		ping(&f);
		frame_ip(&f)->total_length = rte_cpu_to_be_16(total);
		frame_sum_ip(&f);
		assert_dropped(&f, APUS_IPV4_DROP_TOTAL_LENGTH);
	}
}

static void total_length_beyond_the_frame_is_dropped(void **state)
{
	struct frame f;

	ping(&f);
	frame_ip(&f)->total_length = rte_cpu_to_be_16(33);
	frame_sum_ip(&f);
	assert_dropped(&f, APUS_IPV4_DROP_TOTAL_LENGTH);
	frame_ip(&f)->total_length = 0xffff;
	frame_sum_ip(&f);
	assert_dropped(&f, APUS_IPV4_DROP_TOTAL_LENGTH);
}

static void padding_is_cut_off(void **state)
{
	struct frame f;

	ping(&f);
	uint16_t len = f.len;

	frame_append(&f, NULL, 60 - len);
	assert_answered(&f);
	assert_int_equal(net_last(&net)->len, len);
}

static void padding_in_later_segments_is_cut_off(void **state)
{
	struct frame f;

	ping(&f);
	uint16_t len = f.len;

	frame_append(&f, NULL, 60 - len);
	net_put(&net, &f, 7, 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_int_equal(net_last(&net)->len, len);
}

/* --- checksum ------------------------------------------------------------------------------- */

static void each_flipped_bit_of_the_header_is_noticed(void **state)
{
	struct frame f;

	for (unsigned int bit = 0; bit < 20 * 8; bit++) {
		ping(&f);
		f.bytes[RTE_ETHER_HDR_LEN + bit / 8] ^= (uint8_t)(1 << bit % 8);
		net_receive(&net, &f);
	}
	assert_int_equal(net.sent_count, 0);
}

static void checksum_covers_the_options_too(void **state)
{
	static const uint8_t nops[8] = {1, 1, 1, 1, 1, 1, 1, 1};
	struct frame f;

	ping_with_options(&f, nops, sizeof(nops));
	assert_answered(&f);
	/* A checksum over 20 bytes alone would be right here. */
	frame_ip(&f)->hdr_checksum = 0;
	frame_ip(&f)->hdr_checksum = (uint16_t)~rte_raw_cksum(frame_ip(&f), 20);
	assert_dropped(&f, APUS_IPV4_DROP_CHECKSUM);
}

static void device_that_checked_is_believed(void **state)
{
	struct frame f;

	ping(&f);
	frame_ip(&f)->hdr_checksum ^= 1;
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
}

static void device_that_complains_is_checked(void **state)
{
	struct frame f;

	ping(&f);
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_IP_CKSUM_BAD);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	frame_ip(&f)->hdr_checksum ^= 1;
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_IP_CKSUM_BAD);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_count(&net, ipv4, APUS_IPV4_DROP_CHECKSUM, 1);
}

/* --- addresses ------------------------------------------------------------------------------ */

/* The same for datagrams, which have a shorter way: alone, and several in a burst. */
static void assert_datagrams_dropped(uint32_t src, uint32_t dst, enum apus_ipv4_counter reason)
{
	static const uint8_t data[32];
	uint64_t before = net.stack->ipv4.counters[reason];
	struct frame f;

	for (int count = 1; count <= 3; count += 2) {
		for (int i = 0; i < count; i++) {
			frame_udp(&f, src, 5353, dst, 7, data, sizeof(data));
			net_put(&net, &f, FRAME_BYTES, 0);
		}
		net_turn(&net);
	}
	assert_int_equal(net.stack->ipv4.counters[reason], before + 4);
	assert_count(&net, udp, APUS_UDP_RX_DATAGRAMS, 0);
}

static void impossible_sources_are_dropped_by_name(void **state)
{
	static const struct {
		uint32_t src;
		enum apus_ipv4_counter reason;
	} bad[] = {
		{US, APUS_IPV4_DROP_SOURCE_OURS}, /* LAND */
		{IP4(0, 0, 0, 0), APUS_IPV4_DROP_SOURCE_THIS_NET},
		{IP4(0, 1, 2, 3), APUS_IPV4_DROP_SOURCE_THIS_NET},
		{IP4(127, 0, 0, 1), APUS_IPV4_DROP_SOURCE_LOOPBACK},
		{IP4(127, 255, 255, 255), APUS_IPV4_DROP_SOURCE_LOOPBACK},
		{IP4(224, 0, 0, 1), APUS_IPV4_DROP_SOURCE_MULTICAST},
		{IP4(239, 255, 255, 255), APUS_IPV4_DROP_SOURCE_MULTICAST},
		{IP4(255, 255, 255, 255), APUS_IPV4_DROP_SOURCE_BROADCAST},
		{SUBNET_ALL, APUS_IPV4_DROP_SOURCE_BROADCAST},
		{IP4(240, 0, 0, 1), APUS_IPV4_DROP_SOURCE_RESERVED},
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		frame_echo(&f, bad[i].src, US, "ping", 4);
		assert_dropped(&f, bad[i].reason);
		assert_datagrams_dropped(bad[i].src, US, bad[i].reason);
	}
}

static void other_destinations_are_dropped_by_name(void **state)
{
	static const struct {
		uint32_t dst;
		enum apus_ipv4_counter reason;
	} bad[] = {
		{PEER, APUS_IPV4_DROP_NOT_OURS},
		{IP4(10, 7, 0, 3), APUS_IPV4_DROP_NOT_OURS},
		{IP4(0, 0, 0, 0), APUS_IPV4_DROP_NOT_OURS},
		{IP4(10, 255, 255, 255), APUS_IPV4_DROP_NOT_OURS},
		{IP4(127, 0, 0, 1), APUS_IPV4_DROP_DST_LOOPBACK},
		{IP4(224, 0, 0, 1), APUS_IPV4_DROP_DST_MULTICAST},
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		frame_echo(&f, PEER, bad[i].dst, "ping", 4);
		assert_dropped(&f, bad[i].reason);
		assert_datagrams_dropped(PEER, bad[i].dst, bad[i].reason);
	}
}

static void unicast_packet_in_a_broadcast_frame_is_dropped(void **state)
{
	struct frame f;

	ping(&f);
	frame_eth_header(&f)->dst_addr = mac_all;
	assert_dropped(&f, APUS_IPV4_DROP_LINK_BROADCAST);
}

static void tcp_to_a_broadcast_address_is_dropped(void **state)
{
	struct frame f;

	frame_ipv4(&f, IPPROTO_TCP, PEER, SUBNET_ALL);
	frame_append(&f, NULL, 20);
	frame_finish_ip(&f);
	assert_dropped(&f, APUS_IPV4_DROP_TCP_BROADCAST);
}

static void packet_from_beyond_is_answered_through_the_gateway(void **state)
{
	struct frame f;

	frame_echo(&f, FAR, US, "ping", 4);
	assert_answered(&f);
	assert_int_equal(frame_ip(net_last(&net))->dst_addr, FAR);
	assert_true(
		rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_other));
}

static void any_time_to_live_is_accepted_at_its_end(void **state)
{
	static const uint8_t ttls[] = {0, 1, 2, 255};
	struct frame f;

	for (size_t i = 0; i < apus_countof(ttls); i++) {
		ping(&f);
		frame_ip(&f)->time_to_live = ttls[i];
		frame_sum_ip(&f);
		assert_answered(&f);
	}
}

/* --- fragments and options ------------------------------------------------------------------ */

static void fragments_are_dropped_by_name(void **state)
{
	static const uint16_t bad[] = {
		0x2000,         /* the first */
		0x2001, 0x0001, /* in the middle, the last */
		0x1fff,         /* offset + length > 65535 */
		0x3fff, 0x6000, /* with don't-fragment, which contradicts itself */
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		ping(&f);
		frame_ip(&f)->fragment_offset = rte_cpu_to_be_16(bad[i]);
		frame_sum_ip(&f);
		assert_dropped(&f, APUS_IPV4_DROP_FRAGMENT);
	}
	ping(&f);
	frame_ip(&f)->fragment_offset = rte_cpu_to_be_16(0x4000);
	frame_sum_ip(&f);
	assert_answered(&f);
}

static void options_are_stepped_over(void **state)
{
	static const uint8_t good[][8] = {
		{1, 1, 1, 1, 1, 1, 1, 1},
		{0, 131, 3, 4, 0, 0, 0, 0}, /* behind the end nothing counts */
		{148, 4, 0, 0, 1, 1, 1, 0}, /* router alert */
		{7, 7, 4, 0, 0, 0, 0, 0},   /* record route */
		{68, 8, 5, 0, 0, 0, 0, 0},  /* timestamp */
		{200, 8, 0, 0, 0, 0, 0, 0}, /* not known to anybody */
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(good); i++) {
		ping_with_options(&f, good[i], sizeof(good[i]));
		assert_answered(&f);
		assert_int_equal(net_last(&net)->len, f.len - sizeof(good[i]));
	}
	assert_count(&net, ipv4, APUS_IPV4_RX_OPTIONS, apus_countof(good));
}

static void malformed_options_are_dropped(void **state)
{
	static const uint8_t bad[][4] = {
		{200, 0, 0, 0},   /* a length of 0 would never end */
		{200, 1, 0, 0},   /* does not cover itself */
		{200, 5, 0, 0},   /* runs past the header */
		{200, 255, 0, 0}, /* and far past */
		{1, 1, 1, 200},   /* the kind is the last byte */
		{1, 1, 200, 3},
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		ping_with_options(&f, bad[i], sizeof(bad[i]));
		assert_dropped(&f, APUS_IPV4_DROP_OPTIONS);
	}
}

static void source_routes_are_dropped(void **state)
{
	static const uint8_t bad[][8] = {
		{131, 7, 4, 10, 7, 0, 1, 0},
		{137, 7, 4, 10, 7, 0, 1, 0},
		{1, 131, 7, 4, 10, 7, 0, 1},
	};
	struct frame f;

	for (size_t i = 0; i < apus_countof(bad); i++) {
		ping_with_options(&f, bad[i], sizeof(bad[i]));
		assert_dropped(&f, APUS_IPV4_DROP_SOURCE_ROUTE);
	}
}

static void forty_bytes_of_options_fit(void **state)
{
	uint8_t nops[40];
	struct frame f;

	memset(nops, 1, sizeof(nops));
	ping_with_options(&f, nops, sizeof(nops));
	assert_answered(&f);
	net_put(&net, &f, 1, 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 2);
}

/* --- down ----------------------------------------------------------------------------------- */

/* @bytes of a protocol that nobody has, to @dst. */
static int output(uint32_t dst, uint16_t bytes)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(&net.stack->ipv4);
	int rc;

	memset(rte_pktmbuf_append(m, bytes), 0xa5, bytes);
	rc = apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), apus_addr_v4(dst), 253, 0x2e,
			      apus_now());
	apus_eth_flush(&net.stack->eth, apus_now());
	return rc;
}

static void sent_header_is_as_the_rfc_says(void **state)
{
	const struct rte_ipv4_hdr *h;

	assert_int_equal(output(PEER, 100), 0);
	h = frame_ip(net_last(&net)); /* check_sent() looked at the rest */
	assert_int_equal(h->type_of_service, 0x2e);
	assert_int_equal(h->next_proto_id, 253);
	assert_int_equal(h->dst_addr, PEER);
	assert_int_equal(h->packet_id, 0);
	assert_int_equal(net_last(&net)->len, RTE_ETHER_HDR_LEN + 20 + 100);
}

static void granted_offload_leaves_the_checksum_to_the_device(void **state)
{
	struct apus_eth *eth = &net.stack->eth;
	struct rte_mbuf *m = apus_ipv4_mbuf(&net.stack->ipv4);

	net.trusting = true;
	net.link.tx_offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	rte_pktmbuf_append(m, 8);
	assert_int_equal(apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), apus_addr_v4(PEER),
					  253, 0, apus_now()),
			 0);
	assert_int_equal(eth->tx_burst[0]->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM);
	assert_int_equal(m->l2_len, 14);
	assert_int_equal(m->l3_len, 20);
	apus_eth_flush(eth, apus_now());
	assert_int_equal(frame_ip(net_last(&net))->hdr_checksum, 0);
}

static void packet_of_the_mtu_goes_and_one_more_byte_does_not(void **state)
{
	assert_int_equal(output(PEER, 1480), 0);
	assert_int_equal(net.sent_count, 1);
	assert_int_equal(output(PEER, 1481), -EMSGSIZE);
	assert_count(&net, ipv4, APUS_IPV4_TX_DROP_TOO_BIG, 1);
	assert_int_equal(net.sent_count, 1);
}

static void broadcasts_and_groups_need_no_neighbour(void **state)
{
	static const struct {
		uint32_t dst;
		struct rte_ether_addr mac;
	} groups[] = {
		{IP4(255, 255, 255, 255), {{255, 255, 255, 255, 255, 255}}},
		{SUBNET_ALL, {{255, 255, 255, 255, 255, 255}}},
		{IP4(224, 0, 0, 251), {{1, 0, 0x5e, 0, 0, 251}}},
		{IP4(239, 255, 1, 2), {{1, 0, 0x5e, 0x7f, 1, 2}}},
	};

	for (size_t i = 0; i < apus_countof(groups); i++) {
		assert_int_equal(output(groups[i].dst, 8), 0);
		assert_true(rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr,
						   &groups[i].mac));
	}
	assert_int_equal(net.sent_count, apus_countof(groups));
}

static void our_own_address_is_refused(void **state)
{
	assert_int_equal(output(US, 8), -EHOSTUNREACH);
	assert_count(&net, ipv4, APUS_IPV4_TX_DROP_TO_SELF, 1);
}

static void nowhere_is_unreachable(void **state)
{
	assert_int_equal(apus_route_del(&net.stack->routes, (struct apus_addr){0}, 0), 0);
	assert_int_equal(output(FAR, 8), -ENETUNREACH);
	assert_int_equal(output(0, 8), -ENETUNREACH);
	assert_int_equal(output(IP4(127, 0, 0, 1), 8), -ENETUNREACH);
	assert_count(&net, ipv4, APUS_IPV4_TX_DROP_NO_ROUTE, 3);
}

static void ipv6_destination_is_unreachable(void **state)
{
	struct apus_addr v6 = {.u8 = {0x20, 0x01}}, src;
	struct rte_mbuf *m = apus_ipv4_mbuf(&net.stack->ipv4);

	assert_int_equal(apus_ipv4_source(&net.stack->ipv4, v6, &src), -ENETUNREACH);
	assert_int_equal(
		apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), v6, 253, 0, apus_now()),
		-ENETUNREACH);
}

static void packet_without_headroom_is_refused(void **state)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(&net.stack->ipv4);

	m->data_off = 19;
	assert_int_equal(apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), apus_addr_v4(PEER),
					  253, 0, apus_now()),
			 -ENOBUFS);
	assert_count(&net, ipv4, APUS_IPV4_TX_DROP_HEADROOM, 1);
}

static void source_is_ours_wherever_there_is_a_way(void **state)
{
	struct apus_addr src;

	assert_int_equal(apus_ipv4_source(&net.stack->ipv4, apus_addr_v4(FAR), &src), 0);
	assert_int_equal(apus_addr_to_v4(src), US);
	assert_int_equal(apus_ipv4_source(&net.stack->ipv4, apus_addr_v4(SUBNET_ALL), &src), 0);
	assert_int_equal(apus_ipv4_source(&net.stack->ipv4, (struct apus_addr){0}, &src),
			 -ENETUNREACH);
	assert_int_equal(apus_route_del(&net.stack->routes, (struct apus_addr){0}, 0), 0);
	assert_int_equal(apus_ipv4_source(&net.stack->ipv4, apus_addr_v4(FAR), &src), -ENETUNREACH);
}

static void unicast_is_what_one_host_can_have(void **state)
{
	static const uint32_t no[] = {IP4(0, 0, 0, 0),     IP4(127, 0, 0, 1),
				      SUBNET_ALL,          IP4(255, 255, 255, 255),
				      IP4(224, 0, 0, 251), IP4(240, 0, 0, 1)};
	struct apus_addr v6 = {.u8 = {0x20, 0x01}};

	for (size_t i = 0; i < apus_countof(no); i++)
		assert_false(apus_ipv4_is_unicast(&net.stack->ipv4, apus_addr_v4(no[i])));
	assert_false(apus_ipv4_is_unicast(&net.stack->ipv4, v6));
	assert_true(apus_ipv4_is_unicast(&net.stack->ipv4, apus_addr_v4(FAR)));
	assert_true(apus_ipv4_is_unicast(&net.stack->ipv4, apus_addr_v4(US)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(good_packet_comes_through),
		TEST(packet_cut_at_each_length_is_dropped_by_name),
		TEST(other_versions_are_dropped),
		TEST(header_length_below_five_is_dropped),
		TEST(header_length_beyond_the_frame_is_dropped),
		TEST(total_length_below_the_header_is_dropped),
		TEST(total_length_beyond_the_frame_is_dropped),
		TEST(padding_is_cut_off),
		TEST(padding_in_later_segments_is_cut_off),
		TEST(each_flipped_bit_of_the_header_is_noticed),
		TEST(checksum_covers_the_options_too),
		TEST(device_that_checked_is_believed),
		TEST(device_that_complains_is_checked),
		TEST(impossible_sources_are_dropped_by_name),
		TEST(other_destinations_are_dropped_by_name),
		TEST(unicast_packet_in_a_broadcast_frame_is_dropped),
		TEST(tcp_to_a_broadcast_address_is_dropped),
		TEST(packet_from_beyond_is_answered_through_the_gateway),
		TEST(any_time_to_live_is_accepted_at_its_end),
		TEST(fragments_are_dropped_by_name),
		TEST(options_are_stepped_over),
		TEST(malformed_options_are_dropped),
		TEST(source_routes_are_dropped),
		TEST(forty_bytes_of_options_fit),
		TEST(sent_header_is_as_the_rfc_says),
		TEST(granted_offload_leaves_the_checksum_to_the_device),
		TEST(packet_of_the_mtu_goes_and_one_more_byte_does_not),
		TEST(broadcasts_and_groups_need_no_neighbour),
		TEST(our_own_address_is_refused),
		TEST(nowhere_is_unreachable),
		TEST(ipv6_destination_is_unreachable),
		TEST(packet_without_headroom_is_refused),
		TEST(source_is_ours_wherever_there_is_a_way),
		TEST(unicast_is_what_one_host_can_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
