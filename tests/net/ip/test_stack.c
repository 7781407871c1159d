/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_stack.c: the corridor: its beginning, its end, and the doors between.
 */
#include "net/socket/tcp.h"
#include "tests/net/ip/frames.h"

#include <errno.h>

static struct net net;

static int setup(void **state)
{
	net_prepare(&net);
	return 0;
}

static int teardown(void **state)
{
	net_close(&net);
	return 0;
}

static int open_with(const struct apus_stack_options *options)
{
	net.closed = false;
	return apus_stack_open(net.shard, &net.link, options, &net.stack);
}

static void open_default(void)
{
	struct apus_stack_options options = net_options();

	net_unprepare(&net);
	net_open_with(&net, &options);
	net_meet(&net, PEER, &mac_peer);
}

/* --- beginning ------------------------------------------------------------------------------ */

static void impossible_options_are_refused_and_the_link_closed(void **state)
{
	struct apus_addr v6 = {.u8 = {0x20, 0x01}};
	struct apus_stack_options good = net_options(), bad[] = {
								good, good, good, good, good, good,
								good, good, good, good, good,
							};

	bad[0].addr = (struct apus_addr){0};
	bad[1].addr = v6;
	bad[2].addr = apus_addr_v4(IP4(127, 0, 0, 1));
	bad[3].addr = apus_addr_v4(IP4(224, 0, 0, 1));
	bad[4].addr = apus_addr_v4(IP4(255, 255, 255, 255));
	bad[5].prefix_bits = 0;
	bad[6].prefix_bits = 33;
	bad[7].gateway = apus_addr_v4(IP4(10, 8, 0, 1));
	bad[8].gateway = v6;
	bad[9].mtu = 67;
	bad[10].mtu = 1501;
	for (size_t i = 0; i < apus_countof(bad); i++) {
		if (open_with(&bad[i]) != -EINVAL)
			fail_msg("options %zu were taken", i);
		assert_true(net.closed);
		assert_null(apus_stack_self());
	}
}

static void each_allocation_that_fails_leaves_nothing(void **state)
{
	struct apus_stack_options options = net_options();
	struct apus_heap *heap = apus_shard_heap(net.shard);
	uint64_t live = heap->live;
	int rc = -ENOMEM, failures = 0;

	for (int n = 0; rc; n++) {
		apus_heap_fail_after(heap, n);
		rc = open_with(&options);
		apus_heap_fail_after(heap, -1);
		if (!rc)
			break;
		failures++;
		assert_int_equal(rc, -ENOMEM);
		assert_true(net.closed);
		assert_int_equal(heap->live, live);
	}
	assert_true(failures >= 5); /* the stack, two of ARP's, one of UDP's, TCP's */
	apus_stack_close(net.stack);
	net.stack = NULL;
	assert_int_equal(heap->live, live);
}

static const char *const areas[] = {"eth", "arp", "ipv4", "icmp", "udp", "tcp"};

/* Marks the areas that have counters. */
static void mark_area(void *arg, const char *area, const char *name, uint64_t value)
{
	bool *seen = arg;

	for (size_t i = 0; i < apus_countof(areas); i++)
		seen[i] |= !strcmp(area, areas[i]);
}

static void counters_are_found_by_name_while_it_is_open(void **state)
{
	bool open[apus_countof(areas)] = {0}, closed[apus_countof(areas)] = {0};

	open_default();
	apus_metrics_visit(apus_shard_metrics(net.shard), mark_area, open);
	apus_stack_close(net.stack);
	net.stack = NULL;
	apus_metrics_visit(apus_shard_metrics(net.shard), mark_area, closed);
	for (size_t i = 0; i < apus_countof(areas); i++) {
		assert_true(open[i]);
		assert_false(closed[i]);
	}
}

static void smaller_mtu_than_the_links_is_kept(void **state)
{
	struct apus_stack_options options = net_options();

	options.mtu = 1000;
	assert_int_equal(open_with(&options), 0);
	assert_int_equal(apus_ipv4_mtu(&net.stack->ipv4), 1000);
}

static void shard_knows_its_stack_until_it_is_closed(void **state)
{
	open_default();
	assert_ptr_equal(apus_stack_self(), net.stack);
	apus_stack_close(net.stack);
	net.stack = NULL;
	assert_null(apus_stack_self());
}

/* --- the road ------------------------------------------------------------------------------- */

static void poll_takes_four_bursts_and_leaves_the_rest(void **state)
{
	struct frame f;

	open_default();
	frame_echo(&f, PEER, US, "ping", 4);
	for (size_t i = 0; i < apus_countof(net.rx); i++)
		net_put(&net, &f, FRAME_BYTES, 0);
	apus_shard_turn(net.shard);
	assert_int_equal(net.sent_count, 4 * APUS_LINK_BURST_MAX);
	apus_shard_turn(net.shard);
	assert_int_equal(net.sent_count, 8 * APUS_LINK_BURST_MAX);
}

static void frame_that_arrives_in_a_turn_is_answered_in_it(void **state)
{
	struct frame f;

	open_default();
	frame_echo(&f, PEER, US, "ping", 4);
	net_put(&net, &f, FRAME_BYTES, 0);
	assert_true(apus_shard_turn(net.shard));
	assert_int_equal(net.sent_count, 1);
	assert_false(apus_shard_turn(net.shard));
}

static void bad_frames_in_a_burst_do_not_touch_the_good_ones(void **state)
{
	struct frame f;

	open_default();
	for (int i = 0; i < APUS_LINK_BURST_MAX; i++) {
		frame_echo(&f, PEER, US, "ping", 4);
		switch (i % 4) {
		case 1:
			f.len = 13;
			break;
		case 2:
			frame_ip(&f)->version_ihl = 0x4f;
			break;
		case 3:
			frame_eth_header(&f)->ether_type = 0xffff;
			break;
		}
		net_put(&net, &f, FRAME_BYTES, 0);
	}
	net_turn(&net);
	assert_int_equal(net.sent_count, APUS_LINK_BURST_MAX / 4);
	assert_count(&net, eth, APUS_ETH_DROP_SHORT, APUS_LINK_BURST_MAX / 4);
	assert_count(&net, eth, APUS_ETH_DROP_ETHERTYPE, APUS_LINK_BURST_MAX / 4);
	assert_count(&net, ipv4, APUS_IPV4_DROP_HEADER_LENGTH, APUS_LINK_BURST_MAX / 4);
}

static void empty_pool_loses_frames_and_legitimate_ones_go_on_later(void **state)
{
	static struct rte_mbuf *all[POOL_MBUFS];
	unsigned int count = 0;
	struct frame f;

	open_default();
	frame_udp(&f, PEER, 1, US, 9, "no socket", 9);
	net_put(&net, &f, FRAME_BYTES, 0);
	while (count < POOL_MBUFS && (all[count] = rte_pktmbuf_alloc(net.pool)))
		count++;
	net_turn(&net);
	assert_count(&net, icmp, APUS_ICMP_NO_MBUF, 1);
	assert_count(&net, ipv4, APUS_IPV4_TX_NO_MBUF, 1);
	rte_pktmbuf_free_bulk(all, count);
	net_receive(&net, &f);
	assert_int_equal(net.sent_count, 1);
}

static void error_about_tcp_goes_to_tcp(void **state)
{
	struct rte_icmp_hdr h = {.icmp_type = APUS_ICMP_UNREACHABLE, .icmp_code = 3};
	static struct frame inner, f;

	open_default();
	frame_ipv4(&inner, IPPROTO_TCP, US, PEER);
	frame_append(&inner, "\x80\x01\x00\x50\0\0\0\1", 8);
	frame_ipv4(&f, IPPROTO_ICMP, PEER, US);
	frame_append(&f, &h, sizeof(h));
	frame_append(&f, frame_ip(&inner), 28);
	frame_finish_ip(&f);
	frame_sum_icmp(&f);
	net_receive(&net, &f);
	assert_count(&net, tcp, APUS_TCP_COUNT_ICMP_IGNORED, 1); /* there is no connection */
	assert_count(&net, udp, APUS_UDP_ICMP_NO_SOCKET, 0);
}

/* --- time ----------------------------------------------------------------------------------- */

static void what_is_said_outside_of_a_turn_asks_for_one(void **state)
{
	struct apus_stack_options options = net_options();

	assert_int_equal(open_with(&options), 0);
	assert_int_equal(net.stack->eth.tx_count, 1); /* the announcement */
	assert_true(apus_shard_next_ns(net.shard) <= apus_clock_read(&net.clock));
	net_turn(&net);
	assert_int_equal(net.sent_count, 1);
	assert_true(apus_shard_next_ns(net.shard) > apus_clock_read(&net.clock));
}

static void idle_stack_waits_for_its_link_alone(void **state)
{
	open_default();
	net_advance(&net, 2 * APUS_ARP_REACHABLE_NS);
	assert_int_equal(apus_shard_next_ns(net.shard), APUS_NEVER);
}

struct lingering {
	int rc;
	int64_t took_ns;
};

static int64_t linger(void *arg)
{
	struct lingering *l = arg;
	int64_t begin_ns = apus_now();

	l->rc = apus_stack_linger(apus_stack_self(), APUS_SEC);
	l->took_ns = apus_now() - begin_ns;
	return 0;
}

static int64_t connect_to_nobody(void *arg)
{
	struct apus_endpoint to = {apus_addr_v4(PEER), 80};
	struct apus_tcp *c;

	return apus_tcp_connect(to, &c);
}

static void linger_without_connections_is_over_at_once(void **state)
{
	struct lingering l = {.rc = 1};
	struct apus_task *t;

	open_default();
	t = apus_spawn(linger, &l);
	net_turn(&net);
	assert_true(apus_task_done(t));
	assert_int_equal(l.rc, 0);
	assert_int_equal(l.took_ns, 0);
	apus_detach(t);
}

static void linger_gives_up_at_its_limit(void **state)
{
	struct lingering l = {0};
	struct apus_task *t[2];

	open_default();
	t[0] = apus_spawn(connect_to_nobody, NULL);
	net_turn(&net);
	t[1] = apus_spawn(linger, &l);
	net_advance(&net, APUS_SEC);
	assert_true(apus_task_done(t[1]));
	assert_int_equal(l.rc, -ETIMEDOUT);
	assert_int_equal(l.took_ns, APUS_SEC);
	apus_task_cancel(t[0]);
	net_turn(&net);
	assert_true(apus_task_done(t[0]));
	assert_int_equal(apus_task_result(t[0]), -ECANCELED);
	apus_detach(t[0]);
	apus_detach(t[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(impossible_options_are_refused_and_the_link_closed),
		TEST(each_allocation_that_fails_leaves_nothing),
		TEST(counters_are_found_by_name_while_it_is_open),
		TEST(smaller_mtu_than_the_links_is_kept),
		TEST(shard_knows_its_stack_until_it_is_closed),
		TEST(poll_takes_four_bursts_and_leaves_the_rest),
		TEST(frame_that_arrives_in_a_turn_is_answered_in_it),
		TEST(bad_frames_in_a_burst_do_not_touch_the_good_ones),
		TEST(empty_pool_loses_frames_and_legitimate_ones_go_on_later),
		TEST(error_about_tcp_goes_to_tcp),
		TEST(what_is_said_outside_of_a_turn_asks_for_one),
		TEST(idle_stack_waits_for_its_link_alone),
		TEST(linger_without_connections_is_over_at_once),
		TEST(linger_gives_up_at_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
