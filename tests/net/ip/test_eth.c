/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_eth.c: Ethernet frames that are for us, those that are not, and tags.
 */
#include "tests/net/ip/frames.h"

#include <errno.h>

static struct net net;

static int setup(void **state)
{
	net_open(&net);
	return 0;
}

static int teardown(void **state)
{
	net_close(&net);
	return 0;
}

/* A ping of the peer is answered when its frame comes through. */
static void ping(struct frame *f)
{
	frame_echo(f, PEER, US, "ping", 4);
}

/* Puts a tag into a frame that has none. */
static void tag(struct frame *f, uint16_t tci)
{
	struct rte_vlan_hdr h = {rte_cpu_to_be_16(tci), frame_eth_header(f)->ether_type};

	memmove(f->bytes + RTE_ETHER_HDR_LEN + sizeof(h), f->bytes + RTE_ETHER_HDR_LEN,
		f->len - RTE_ETHER_HDR_LEN);
	memcpy(f->bytes + RTE_ETHER_HDR_LEN, &h, sizeof(h));
	f->len += sizeof(h);
	frame_eth_header(f)->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
}

static void frame_shorter_than_its_header_is_dropped(void **state)
{
	struct frame f;

	for (uint16_t len = 0; len < RTE_ETHER_HDR_LEN; len++) {
		ping(&f);
		f.len = len;
		net_receive(&net, &f);
		assert_count(&net, eth, APUS_ETH_DROP_SHORT, len + 1);
	}
	assert_int_equal(net.sent_count, 0);
}

static void frame_for_another_station_is_dropped(void **state)
{
	struct frame f;

	ping(&f);
	frame_eth_header(&f)->dst_addr = mac_other;
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_NOT_OURS, 1);
	assert_int_equal(net.sent_count, 0);
}

static void frame_from_a_group_address_is_dropped(void **state)
{
	struct frame f;

	ping(&f);
	frame_eth_header(&f)->src_addr = mac_all;
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_SOURCE, 1);
}

static void broadcast_and_multicast_frames_come_through(void **state)
{
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_peer, PEER, US);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
	frame_eth_header(&f)->dst_addr = (struct rte_ether_addr){{1, 0, 0x5e, 0, 0, 1}};
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 2);
}

static void ipv6_is_dropped_by_name(void **state)
{
	struct frame f;

	ping(&f);
	frame_eth_header(&f)->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_IPV6, 1);
}

static void unknown_ethertype_and_length_field_are_told_apart(void **state)
{
	struct frame f;

	ping(&f);
	frame_eth_header(&f)->ether_type = rte_cpu_to_be_16(0x88cc);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_ETHERTYPE, 1);
	frame_eth_header(&f)->ether_type = rte_cpu_to_be_16(1500);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_LENGTH_FIELD, 1);
	frame_eth_header(&f)->ether_type = 0;
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_LENGTH_FIELD, 2);
}

static void priority_tag_is_removed(void **state)
{
	struct frame f;

	net_meet(&net, PEER, &mac_peer);
	ping(&f);
	tag(&f, 5 << 13);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_RX_TAGGED, 1);
	assert_int_equal(net.sent_count, 1);
	assert_int_equal(frame_eth_header(net_last(&net))->ether_type,
			 rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4));
}

static void tag_of_another_vlan_is_dropped(void **state)
{
	struct frame f;

	ping(&f);
	tag(&f, 7);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_VLAN, 1);
}

static void truncated_tag_is_dropped(void **state)
{
	struct frame f;

	for (uint16_t len = RTE_ETHER_HDR_LEN; len < RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN; len++) {
		ping(&f);
		tag(&f, 0);
		f.len = len;
		net_receive(&net, &f);
	}
	assert_count(&net, eth, APUS_ETH_DROP_SHORT, 4);
}

static void second_tag_is_an_unknown_ethertype(void **state)
{
	struct frame f;

	ping(&f);
	tag(&f, 0);
	tag(&f, 0);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_ETHERTYPE, 1);
}

static void tag_stripped_by_the_device_counts(void **state)
{
	struct frame f;

	net_meet(&net, PEER, &mac_peer);
	ping(&f);
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	net.rx[0]->vlan_tci = 7;
	net_turn(&net);
	assert_count(&net, eth, APUS_ETH_DROP_VLAN, 1);
	net_put(&net, &f, FRAME_BYTES, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	net.rx[0]->vlan_tci = 0;
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
}

static void our_vlan_is_taken_off_and_put_on(void **state)
{
	struct frame f;

	/* As an interface of VLAN 7 would be opened; no option says so yet. */
	net.stack->eth.vlan_id = 7;
	net.stack->eth.header_bytes = RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_peer, PEER, US);
	tag(&f, 7);
	net_receive(&net, &f);
	ping(&f);
	tag(&f, 3 << 13 | 7);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 2);

	const struct rte_vlan_hdr *out = (const void *)(net_last(&net)->bytes + RTE_ETHER_HDR_LEN);

	assert_int_equal(frame_eth_header(net_last(&net))->ether_type,
			 rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN));
	assert_int_equal(rte_be_to_cpu_16(out->vlan_tci), 7);
	assert_int_equal(rte_be_to_cpu_16(out->eth_proto), RTE_ETHER_TYPE_IPV4);
	assert_int_equal(net_last(&net)->len, f.len);
}

static void frame_without_a_tag_is_not_of_our_vlan(void **state)
{
	struct frame f;

	net.stack->eth.vlan_id = 7;
	net.stack->eth.plain_head = UINT64_MAX; /* as apus_eth_init() has it: no frame is plain */
	ping(&f);
	net_receive(&net, &f);
	tag(&f, 0);
	net_receive(&net, &f);
	assert_count(&net, eth, APUS_ETH_DROP_VLAN, 2);
}

static void frame_of_one_byte_segments_is_answered(void **state)
{
	struct frame f;

	net_meet(&net, PEER, &mac_peer);
	ping(&f);
	net_put(&net, &f, 1, 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_memory_equal(net_last(&net)->bytes + net_last(&net)->len - 4, "ping", 4);
}

static void full_burst_is_sent_without_a_flush(void **state)
{
	struct apus_eth *eth = &net.stack->eth;

	net.trusting = true;
	for (int i = 0; i < APUS_LINK_BURST_MAX + 1; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

		assert_int_equal(apus_eth_output(eth, m, &mac_peer, 0x88b5, apus_now()), 0);
	}
	assert_int_equal(net.sent_count, APUS_LINK_BURST_MAX);
	assert_int_equal(eth->tx_count, 1);
	apus_eth_flush(eth, apus_now());
	assert_int_equal(net.sent_count, APUS_LINK_BURST_MAX + 1);
	assert_int_equal(eth->tx_count, 0);
}

static void frame_without_headroom_is_refused(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	m->data_off = RTE_ETHER_HDR_LEN - 1;
	assert_int_equal(apus_eth_output(&net.stack->eth, m, &mac_peer, 0x88b5, apus_now()),
			 -ENOBUFS);
	assert_count(&net, eth, APUS_ETH_TX_DROP_HEADROOM, 1);
}

static void frames_not_flushed_are_freed_at_close(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	assert_int_equal(apus_eth_output(&net.stack->eth, m, &mac_peer, 0x88b5, apus_now()), 0);
	assert_int_equal(net.stack->eth.tx_count, 1); /* teardown counts the pool */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frame_shorter_than_its_header_is_dropped),
		TEST(frame_for_another_station_is_dropped),
		TEST(frame_from_a_group_address_is_dropped),
		TEST(broadcast_and_multicast_frames_come_through),
		TEST(ipv6_is_dropped_by_name),
		TEST(unknown_ethertype_and_length_field_are_told_apart),
		TEST(priority_tag_is_removed),
		TEST(tag_of_another_vlan_is_dropped),
		TEST(truncated_tag_is_dropped),
		TEST(second_tag_is_an_unknown_ethertype),
		TEST(tag_stripped_by_the_device_counts),
		TEST(our_vlan_is_taken_off_and_put_on),
		TEST(frame_without_a_tag_is_not_of_our_vlan),
		TEST(frame_of_one_byte_segments_is_answered),
		TEST(full_burst_is_sent_without_a_flush),
		TEST(frame_without_headroom_is_refused),
		TEST(frames_not_flushed_are_freed_at_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
