/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_arp.c: neighbours that answer, that do not, that move, that lie, that flood.
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

static struct apus_arp *arp(void)
{
	return &net.stack->arp;
}

static int64_t now(void)
{
	return apus_clock_read(&net.clock);
}

static enum apus_arp_state state_of(uint32_t addr)
{
	const struct apus_arp_entry *e = apus_arp_find(arp(), addr);

	return e ? (enum apus_arp_state)e->state : APUS_ARP_FREE;
}

/* A packet to @addr, told apart by @mark, as a room above would send it. */
static int send_to(uint32_t addr, uint8_t mark)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	*(uint8_t *)rte_pktmbuf_append(m, 1) = mark;
	return apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), apus_addr_v4(addr), 253, 0,
				now());
}

static int send_and_flush(uint32_t addr, uint8_t mark)
{
	int rc = send_to(addr, mark);

	apus_eth_flush(&net.stack->eth, now());
	return rc;
}

static uint8_t mark_of(const struct frame *f)
{
	return f->bytes[RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr)];
}

static void receive_reply(const struct rte_ether_addr *mac, uint32_t addr)
{
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REPLY, mac, addr, US);
	net_receive(&net, &f);
}

static void receive_request(const struct rte_ether_addr *mac, uint32_t sender, uint32_t target)
{
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, mac, sender, target);
	net_receive(&net, &f);
}

/* f is an ARP packet from us, sent to @to, with these addresses. */
static void assert_arp(struct frame *f, uint16_t op, const struct rte_ether_addr *to,
		       uint32_t sender, uint32_t target)
{
	const struct rte_arp_hdr *h = frame_arp_header(f);

	assert_int_equal(f->len, RTE_ETHER_HDR_LEN + sizeof(*h));
	assert_int_equal(frame_eth_header(f)->ether_type, rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP));
	assert_true(rte_is_same_ether_addr(&frame_eth_header(f)->dst_addr, to));
	assert_int_equal(rte_be_to_cpu_16(h->arp_hardware), 1);
	assert_int_equal(rte_be_to_cpu_16(h->arp_protocol), 0x0800);
	assert_int_equal(h->arp_hlen, 6);
	assert_int_equal(h->arp_plen, 4);
	assert_int_equal(rte_be_to_cpu_16(h->arp_opcode), op);
	assert_true(rte_is_same_ether_addr(&h->arp_data.arp_sha, &mac_us));
	assert_int_equal(h->arp_data.arp_sip, sender);
	assert_int_equal(h->arp_data.arp_tip, target);
}

/* --- answering ------------------------------------------------------------------------------ */

static void request_for_us_is_answered_and_learned(void **state)
{
	receive_request(&mac_peer, PEER, US);
	assert_int_equal(net.sent_count, 1);
	assert_arp(net_last(&net), RTE_ARP_OP_REPLY, &mac_peer, US, PEER);
	assert_true(rte_is_same_ether_addr(&frame_arp_header(net_last(&net))->arp_data.arp_tha,
					   &mac_peer));
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_true(rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_peer));
}

static void request_for_another_is_not_answered(void **state)
{
	receive_request(&mac_peer, PEER, GATEWAY);
	assert_int_equal(net.sent_count, 0);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
	assert_count(&net, arp, APUS_ARP_DROP_NOT_FOR_US, 1);
}

static void requests_for_all_addresses_in_a_row_are_answered(void **state)
{
	arp()->more = 2;
	for (uint8_t i = 1; i <= 2; i++) {
		receive_request(&mac_peer, PEER, IP4(10, 7, 0, 2 + i));
		assert_int_equal(net.sent_count, i);
		assert_arp(net_last(&net), RTE_ARP_OP_REPLY, &mac_peer, IP4(10, 7, 0, 2 + i), PEER);
	}
	receive_request(&mac_peer, PEER, IP4(10, 7, 0, 5));
	assert_int_equal(net.sent_count, 2);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	/* Who else has one of them is in conflict with us. */
	receive_reply(&mac_peer, IP4(10, 7, 0, 4));
	assert_count(&net, arp, APUS_ARP_CONFLICTS, 1);
}

static void probe_without_an_address_is_answered_but_not_learned(void **state)
{
	receive_request(&mac_peer, 0, US);
	assert_int_equal(net.sent_count, 1);
	assert_arp(net_last(&net), RTE_ARP_OP_REPLY, &mac_peer, US, 0);
	assert_count(&net, arp, APUS_ARP_LEARNED, 0);
}

static void sender_off_the_prefix_is_dropped(void **state)
{
	static const uint32_t bad[] = {FAR,
				       SUBNET_ALL,
				       IP4(10, 7, 0, 0),
				       IP4(224, 0, 0, 1),
				       IP4(255, 255, 255, 255),
				       IP4(127, 0, 0, 1)};

	for (size_t i = 0; i < apus_countof(bad); i++) {
		receive_request(&mac_peer, bad[i], US);
		assert_count(&net, arp, APUS_ARP_DROP_SENDER, i + 1);
		assert_int_equal(state_of(bad[i]), APUS_ARP_FREE);
	}
	assert_int_equal(net.sent_count, 0);
}

static void sender_with_a_group_mac_is_dropped(void **state)
{
	struct rte_ether_addr zero = {{0}};
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_all, PEER, US);
	frame_eth_header(&f)->src_addr = mac_peer;
	net_receive(&net, &f);
	frame_arp(&f, RTE_ARP_OP_REQUEST, &zero, PEER, US);
	frame_eth_header(&f)->src_addr = mac_peer;
	net_receive(&net, &f);
	assert_count(&net, arp, APUS_ARP_DROP_SENDER, 2);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
}

static void truncated_packet_is_dropped_at_every_length(void **state)
{
	struct frame f;

	for (uint16_t len = 0; len < sizeof(struct rte_arp_hdr); len++) {
		frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_peer, PEER, US);
		f.len = RTE_ETHER_HDR_LEN + len;
		net_receive(&net, &f);
	}
	assert_count(&net, arp, APUS_ARP_DROP_SHORT, sizeof(struct rte_arp_hdr));
	assert_int_equal(net.sent_count, 0);
}

static void padded_packet_is_answered(void **state)
{
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_peer, PEER, US);
	frame_append(&f, NULL, 18);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
}

static void foreign_formats_and_operations_are_dropped_by_name(void **state)
{
	struct frame f;

#define BROKEN(field, value)                             \
 frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_peer, PEER, US); \
 frame_arp_header(&f)->field = (value);                  \
 net_receive(&net, &f)

	BROKEN(arp_hardware, rte_cpu_to_be_16(6));
	BROKEN(arp_protocol, rte_cpu_to_be_16(0x86dd));
	BROKEN(arp_hlen, 8);
	BROKEN(arp_plen, 16);
	BROKEN(arp_plen, 0);
	assert_count(&net, arp, APUS_ARP_DROP_FORMAT, 5);
	BROKEN(arp_opcode, rte_cpu_to_be_16(RTE_ARP_OP_REVREQUEST));
	BROKEN(arp_opcode, 0);
	assert_count(&net, arp, APUS_ARP_DROP_OPERATION, 2);
	assert_int_equal(net.sent_count, 0);
#undef BROKEN
}

static void our_own_packet_that_comes_back_is_dropped(void **state)
{
	struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, &mac_us, US, US);
	net_receive(&net, &f);
	assert_count(&net, arp, APUS_ARP_DROP_OWN, 1);
	assert_count(&net, arp, APUS_ARP_CONFLICTS, 0);
}

/* --- asking --------------------------------------------------------------------------------- */

static void packet_waits_for_the_answer_and_leaves_with_it(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_int_equal(net.sent_count, 1);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, PEER);
	receive_reply(&mac_peer, PEER);
	assert_int_equal(net.sent_count, 2);
	assert_int_equal(mark_of(net_last(&net)), 1);
	assert_true(rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_peer));
}

static void packet_beyond_the_prefix_asks_for_the_gateway(void **state)
{
	assert_int_equal(send_and_flush(FAR, 1), 0);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, GATEWAY);
}

static void their_request_answers_ours(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	receive_request(&mac_peer, PEER, US);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	assert_int_equal(net.sent_count, 3); /* our request, the packet, our reply */
}

static void full_waiting_queue_drops_the_oldest(void **state)
{
	for (int i = 0; i < APUS_ARP_WAITING_MAX + 3; i++)
		assert_int_equal(send_and_flush(PEER, (uint8_t)i), 0);
	assert_int_equal(net.sent_count, 1); /* one request for all of them */
	assert_count(&net, arp, APUS_ARP_DROP_WAITING_FULL, 3);
	receive_reply(&mac_peer, PEER);
	assert_int_equal(net.sent_count, 1 + APUS_ARP_WAITING_MAX);
	for (int i = 0; i < APUS_ARP_WAITING_MAX; i++)
		assert_int_equal(mark_of(&net.sent[1 + i]), i + 3);
}

static void unanswered_requests_go_out_three_times_a_second_apart(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_int_equal(net.sent_count, 1);
	net_advance(&net, APUS_SEC - 1);
	assert_int_equal(net.sent_count, 1);
	net_advance(&net, 1);
	assert_int_equal(net.sent_count, 2);
	net_advance(&net, APUS_SEC);
	assert_int_equal(net.sent_count, 3);
	assert_int_equal(state_of(PEER), APUS_ARP_INCOMPLETE);
	net_advance(&net, APUS_SEC);
	assert_int_equal(net.sent_count, 3);
	assert_int_equal(state_of(PEER), APUS_ARP_FAILED);
	assert_count(&net, arp, APUS_ARP_DROP_UNANSWERED, 1);
	assert_int_equal(rte_mempool_in_use_count(net.pool), 0);
}

static uint32_t lost_packets;

static void count_lost(void *arg, const struct rte_mbuf *m, int64_t now_ns)
{
	assert_ptr_equal(arg, &lost_packets);
	assert_int_equal(apus_ipv4_header(m)->dst_addr, PEER);
	lost_packets++;
}

/* RFC 1122 §2.4: the link layer must tell when a neighbour cannot be reached. */
static void packets_that_waited_in_vain_are_told_of_once_each(void **state)
{
	lost_packets = 0;
	apus_arp_on_lost(arp(), count_lost, &lost_packets);
	for (uint8_t i = 0; i < APUS_ARP_WAITING_MAX + 3; i++)
		assert_int_equal(send_and_flush(PEER, i), 0);
	assert_int_equal(lost_packets, 0); /* those dropped for want of room were not unanswered */
	net_advance(&net, APUS_ARP_TRIES * APUS_SEC);
	assert_int_equal(lost_packets, APUS_ARP_WAITING_MAX);
}

static void failed_neighbour_refuses_at_once_then_is_asked_again(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	net_advance(&net, APUS_ARP_TRIES * APUS_SEC);
	assert_int_equal(send_and_flush(PEER, 2), -EHOSTUNREACH);
	assert_count(&net, arp, APUS_ARP_DROP_UNREACHABLE, 1);
	net_advance(&net, APUS_ARP_FAILED_NS);
	net.sent_count = 0;
	assert_int_equal(send_and_flush(PEER, 3), 0);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, PEER);
}

static void failed_neighbour_that_speaks_up_is_reachable(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	net_advance(&net, APUS_ARP_TRIES * APUS_SEC);
	receive_reply(&mac_peer, PEER); /* late, but asked for */
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	assert_int_equal(send_and_flush(PEER, 2), 0);
}

static void requests_to_many_neighbours_are_limited(void **state)
{
	for (int i = 3; i < 253; i++)
		assert_int_equal(send_and_flush(IP4(10, 7, 0, i), 1), 0);
	assert_count(&net, arp, APUS_ARP_REQUESTS_OUT, APUS_ARP_REQUESTS_BURST);
	assert_count(&net, arp, APUS_ARP_REQUESTS_LIMITED, 250 - APUS_ARP_REQUESTS_BURST);
	net_advance(&net, 3 * APUS_SEC);
	assert_int_equal(rte_mempool_in_use_count(net.pool), 0);
}

/* --- time ----------------------------------------------------------------------------------- */

static void used_neighbour_is_probed_by_unicast_and_stays_usable(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	net.sent_count = 0;
	net_advance(&net, APUS_ARP_REACHABLE_NS);
	assert_int_equal(net.sent_count, 1);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_peer, US, PEER);
	assert_int_equal(state_of(PEER), APUS_ARP_STALE);
	assert_int_equal(send_and_flush(PEER, 2), 0);
	assert_int_equal(mark_of(net_last(&net)), 2);
	receive_reply(&mac_peer, PEER);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
}

static void probes_unanswered_end_in_broadcast(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	net_advance(&net, APUS_ARP_REACHABLE_NS + 3 * APUS_SEC);
	assert_count(&net, arp, APUS_ARP_PROBES_OUT, 3);
	assert_count(&net, arp, APUS_ARP_EXPIRED, 1);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
	assert_int_equal(send_and_flush(PEER, 2), 0);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, PEER);
}

static void unused_neighbour_expires_in_silence(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	net_advance(&net, APUS_ARP_REACHABLE_NS);
	assert_int_equal(net.sent_count, 0);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
	assert_count(&net, arp, APUS_ARP_EXPIRED, 1);
}

static void neighbour_heard_of_again_lives_on(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	net_advance(&net, APUS_ARP_REACHABLE_NS - APUS_SEC);
	receive_request(&mac_peer, PEER, GATEWAY); /* RFC 826 merges even what is not for us */
	net_advance(&net, 2 * APUS_SEC);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
}

static void idle_table_has_no_timer(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	net_advance(&net, 2 * APUS_ARP_REACHABLE_NS);
	assert_false(apus_timer_armed(&arp()->timer));
	assert_int_equal(apus_shard_next_ns(net.shard), APUS_NEVER);
}

/* --- moving and lying ----------------------------------------------------------------------- */

static void unsolicited_reply_makes_no_entry(void **state)
{
	receive_reply(&mac_peer, PEER);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
	assert_count(&net, arp, APUS_ARP_DROP_UNSOLICITED, 1);
}

static void gratuitous_announcement_moves_a_known_neighbour(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	net_advance(&net, 2 * APUS_SEC);
	receive_request(&mac_other, PEER, PEER);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_true(
		rte_is_same_ether_addr(&frame_eth_header(net_last(&net))->dst_addr, &mac_other));
}

static void gratuitous_announcement_of_a_stranger_makes_no_entry(void **state)
{
	receive_request(&mac_other, PEER, PEER);
	assert_int_equal(state_of(PEER), APUS_ARP_FREE);
}

static void neighbour_just_confirmed_does_not_move(void **state)
{
	net_meet(&net, PEER, &mac_peer);
	receive_reply(&mac_other, PEER);
	assert_count(&net, arp, APUS_ARP_DROP_LOCKED, 1);
	assert_true(rte_is_same_ether_addr(&apus_arp_find(arp(), PEER)->mac, &mac_peer));
}

static void conflict_is_defended_once_in_ten_seconds(void **state)
{
	receive_request(&mac_other, US, US);
	assert_int_equal(net.sent_count, 1);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, US);
	for (int i = 0; i < 20; i++) {
		receive_reply(&mac_other, US);
		net_advance(&net, 100 * APUS_MS);
	}
	assert_count(&net, arp, APUS_ARP_CONFLICTS, 21);
	assert_count(&net, arp, APUS_ARP_DEFENDED, 1);
	net_advance(&net, 8 * APUS_SEC);
	receive_reply(&mac_other, US);
	assert_count(&net, arp, APUS_ARP_DEFENDED, 2);
	assert_int_equal(state_of(US), APUS_ARP_FREE);
}

static void start_is_announced_twice(void **state)
{
	struct apus_stack_options options = net_options();

	/* Of its own, as net_open() forgets what was said at the beginning. */
	net_close(&net);
	net_prepare(&net);
	net.trusting = true;
	assert_int_equal(apus_stack_open(net.shard, &net.link, &options, &net.stack), 0);
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_arp(&net.sent[0], RTE_ARP_OP_REQUEST, &mac_all, US, US);
	net_advance(&net, APUS_ARP_ANNOUNCE_INTERVAL_NS - 1);
	assert_int_equal(net.sent_count, 1);
	net_advance(&net, 1);
	assert_int_equal(net.sent_count, 2);
	assert_arp(&net.sent[1], RTE_ARP_OP_REQUEST, &mac_all, US, US);
	net_advance(&net, 60 * APUS_SEC);
	assert_int_equal(net.sent_count, 2);
}

/* --- floods --------------------------------------------------------------------------------- */

/* A stack with a /8, so that there are strangers enough. */
static void open_wide(void)
{
	struct apus_stack_options options = net_options();

	options.prefix_bits = 8;
	net_close(&net);
	net_open_with(&net, &options);
}

static size_t entries(void)
{
	size_t count = APUS_ARP_ENTRIES_MAX;
	const struct apus_list *it;

	apus_list_for_each(it, &arp()->free)
		count--;
	return count;
}

static void flood_of_requests_keeps_the_neighbours_in_use(void **state)
{
	open_wide();
	net_meet(&net, PEER, &mac_peer);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	for (uint32_t i = 0; i < 5000; i++) {
		receive_request(&mac_other, IP4(10, 9, i >> 8, i & 0xff) | 0, US);
		net.sent_count = 0;
		if (i % 512 == 0)
			apus_arp_check(arp());
	}
	assert_true(entries() <= APUS_ARP_ENTRIES_MAX);
	assert_true(net.stack->arp.counters[APUS_ARP_EVICTED] >= 5000 - APUS_ARP_ENTRIES_MAX);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	assert_int_equal(send_and_flush(PEER, 2), 0);
	assert_int_equal(mark_of(net_last(&net)), 2);
}

static void flood_of_unreachable_destinations_is_bounded_and_spares_neighbours(void **state)
{
	open_wide();
	net_meet(&net, PEER, &mac_peer);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	for (uint32_t i = 0; i < 3000; i++) {
		int rc = send_to(IP4(10, 9, i >> 8, i & 0xff), 1);

		assert_true(rc == 0 || rc == -ENOBUFS);
	}
	apus_arp_check(arp());
	assert_true(arp()->waiting <= POOL_MBUFS / 8);
	assert_true(net.stack->arp.counters[APUS_ARP_DROP_WAITING_TOTAL] > 0);
	assert_true(net.stack->arp.counters[APUS_ARP_REQUESTS_OUT] <= APUS_ARP_REQUESTS_BURST);
	assert_int_equal(state_of(PEER), APUS_ARP_REACHABLE);
	net_advance(&net, 10 * APUS_SEC);
	assert_int_equal(entries(), 1);
	assert_int_equal(rte_mempool_in_use_count(net.pool), 0);
}

static void neighbour_in_the_place_of_a_forgotten_one_is_proven_too(void **state)
{
	const struct apus_arp_entry *before, *after;

	net_meet(&net, PEER, &mac_peer);
	assert_int_equal(send_and_flush(PEER, 1), 0);
	before = apus_arp_find(arp(), PEER);
	assert_true(before->proven);
	net_advance(&net, APUS_ARP_REACHABLE_NS + 3 * APUS_SEC);
	net_meet(&net, GATEWAY, &mac_other);
	assert_int_equal(send_and_flush(GATEWAY, 1), 0);
	after = apus_arp_find(arp(), GATEWAY);
	assert_ptr_equal(after, before);
	assert_true(after->proven);
}

static void table_full_of_proven_neighbours_gives_up_the_one_not_used(void **state)
{
	open_wide();
	for (uint32_t i = 0; i < APUS_ARP_ENTRIES_MAX; i++) {
		uint32_t addr = IP4(10, 9, 1 + (i >> 8), i & 0xff);

		net_advance(&net, APUS_MS);
		net_meet(&net, addr, &mac_other);
		assert_int_equal(send_and_flush(addr, 1), 0);
		net.sent_count = 0;
	}
	/* All are used again but the third. */
	net_advance(&net, APUS_MS);
	for (uint32_t i = 0; i < APUS_ARP_ENTRIES_MAX; i++) {
		if (i != 2)
			assert_int_equal(send_and_flush(IP4(10, 9, 1 + (i >> 8), i & 0xff), 1), 0);
	}
	net.sent_count = 0;
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_count(&net, arp, APUS_ARP_EVICTED, 1);
	assert_int_equal(state_of(IP4(10, 9, 1, 2)), APUS_ARP_FREE);
	assert_int_equal(state_of(IP4(10, 9, 1, 0)), APUS_ARP_REACHABLE);
}

static void empty_pool_is_counted_and_the_request_tried_again(void **state)
{
	static struct rte_mbuf *all[POOL_MBUFS];
	unsigned int count = 0;
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	rte_pktmbuf_append(m, 1);
	while (count < POOL_MBUFS && (all[count] = rte_pktmbuf_alloc(net.pool)))
		count++;
	assert_int_equal(apus_ipv4_output(&net.stack->ipv4, m, apus_addr_v4(US), apus_addr_v4(PEER),
					  253, 0, now()),
			 0);
	assert_count(&net, arp, APUS_ARP_NO_MBUF, 1);
	rte_pktmbuf_free_bulk(all, count);
	net_advance(&net, APUS_SEC);
	assert_arp(net_last(&net), RTE_ARP_OP_REQUEST, &mac_all, US, PEER);
	receive_reply(&mac_peer, PEER);
	assert_int_equal(net.sent_count, 2);
}

static void packets_that_wait_are_freed_at_close(void **state)
{
	assert_int_equal(send_and_flush(PEER, 1), 0);
	assert_int_equal(arp()->waiting, 1); /* teardown counts the pool */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(request_for_us_is_answered_and_learned),
		TEST(request_for_another_is_not_answered),
		TEST(requests_for_all_addresses_in_a_row_are_answered),
		TEST(probe_without_an_address_is_answered_but_not_learned),
		TEST(sender_off_the_prefix_is_dropped),
		TEST(sender_with_a_group_mac_is_dropped),
		TEST(truncated_packet_is_dropped_at_every_length),
		TEST(padded_packet_is_answered),
		TEST(foreign_formats_and_operations_are_dropped_by_name),
		TEST(our_own_packet_that_comes_back_is_dropped),
		TEST(packet_waits_for_the_answer_and_leaves_with_it),
		TEST(packet_beyond_the_prefix_asks_for_the_gateway),
		TEST(their_request_answers_ours),
		TEST(full_waiting_queue_drops_the_oldest),
		TEST(unanswered_requests_go_out_three_times_a_second_apart),
		TEST(packets_that_waited_in_vain_are_told_of_once_each),
		TEST(failed_neighbour_refuses_at_once_then_is_asked_again),
		TEST(failed_neighbour_that_speaks_up_is_reachable),
		TEST(requests_to_many_neighbours_are_limited),
		TEST(used_neighbour_is_probed_by_unicast_and_stays_usable),
		TEST(probes_unanswered_end_in_broadcast),
		TEST(unused_neighbour_expires_in_silence),
		TEST(neighbour_heard_of_again_lives_on),
		TEST(idle_table_has_no_timer),
		TEST(unsolicited_reply_makes_no_entry),
		TEST(gratuitous_announcement_moves_a_known_neighbour),
		TEST(gratuitous_announcement_of_a_stranger_makes_no_entry),
		TEST(neighbour_just_confirmed_does_not_move),
		TEST(conflict_is_defended_once_in_ten_seconds),
		TEST(start_is_announced_twice),
		TEST(flood_of_requests_keeps_the_neighbours_in_use),
		TEST(flood_of_unreachable_destinations_is_bounded_and_spares_neighbours),
		TEST(neighbour_in_the_place_of_a_forgotten_one_is_proven_too),
		TEST(table_full_of_proven_neighbours_gives_up_the_one_not_used),
		TEST(empty_pool_is_counted_and_the_request_tried_again),
		TEST(packets_that_wait_are_freed_at_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
