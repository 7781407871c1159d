/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_flow.c: a flow's headers are those that apus_ipv4_output() writes, as long as it is
 * fresh, and it is no longer than they are.
 */
#include "net/ip/flow.h"
#include "tests/net/ip/frames.h"

#include <rte_ethdev.h>

#define PROTO 253 /* RFC 3692: for experiments */

static struct net net;
static struct apus_ipv4_flow flow;
static uint8_t header[APUS_IPV4_FLOW_BYTES_MAX];

static int setup(void **state)
{
	net_open(&net);
	net_meet(&net, PEER, &mac_peer);
	net_meet(&net, GATEWAY, &mac_other);
	apus_ipv4_flow_init(&flow, &net.stack->ipv4);
	return 0;
}

static int teardown(void **state)
{
	net_close(&net);
	return 0;
}

static struct rte_mbuf *text(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(net.pool);

	memcpy(rte_pktmbuf_append(m, 33), "thirty-three bytes of any content", 33);
	return m;
}

/* By the long way. Return: what was sent. */
static const struct frame *send_long(uint32_t dst)
{
	struct apus_ipv4 *ip = &net.stack->ipv4;
	uint32_t sent = net.sent_count;

	apus_must(!apus_ipv4_output(ip, text(), apus_addr_v4(US), apus_addr_v4(dst), PROTO, 0,
				    apus_now()));
	apus_eth_flush(&net.stack->eth, apus_now());
	assert_int_equal(net.sent_count, sent + 1);
	return &net.sent[sent];
}

static bool make(uint32_t dst)
{
	return apus_ipv4_flow_make(&flow, &net.stack->ipv4, apus_addr_v4(US), apus_addr_v4(dst),
				   PROTO, header);
}

static const struct frame *send_short(void)
{
	struct apus_ipv4 *ip = &net.stack->ipv4;
	struct rte_mbuf *m = text();
	uint32_t sent = net.sent_count;
	char *at = rte_pktmbuf_prepend(m, flow.bytes);

	assert_true(apus_ipv4_flow_is_fresh(&flow, ip));
	memcpy(at, header, flow.bytes);
	apus_ipv4_flow_output(&flow, ip, m, (struct rte_ipv4_hdr *)(at + flow.l2_bytes),
			      apus_now());
	apus_eth_flush(&net.stack->eth, apus_now());
	assert_int_equal(net.sent_count, sent + 1);
	return &net.sent[sent];
}

static void assert_same(uint32_t dst)
{
	const struct frame *a = send_long(dst), *b;

	assert_true(make(dst));
	b = send_short();
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bytes, b->bytes, a->len);
}

static bool is_fresh(void)
{
	return apus_ipv4_flow_is_fresh(&flow, &net.stack->ipv4);
}

/* ---- what it is ---- */

static void new_flow_is_stale(void **state)
{
	assert_false(is_fresh());
}

static void headers_are_those_of_the_long_way(void **state)
{
	assert_same(PEER);
	assert_same(FAR);
}

static void headers_have_the_tag_of_our_vlan(void **state)
{
	struct apus_eth *eth = &net.stack->eth;

	net.trusting = true;
	(void)send_long(PEER);
	eth->vlan_id = 42;
	eth->header_bytes = RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	assert_same(PEER);
	eth->vlan_id = 0;
	eth->header_bytes = RTE_ETHER_HDR_LEN;
}

static void link_without_ethernet_has_bare_packets(void **state)
{
	net.trusting = true;
	net.link.is_l3 = true;
	assert_same(PEER);
	assert_same(FAR);
	net.link.is_l3 = false;
}

static void checksum_is_left_to_the_device_that_makes_it(void **state)
{
	net.trusting = true;
	net.link.tx_offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	assert_same(PEER);
	net.link.tx_offloads = 0;
}

static void packets_are_counted_and_keep_the_neighbour(void **state)
{
	uint64_t before = net.stack->ipv4.counters[APUS_IPV4_TX_PACKETS];
	const struct apus_arp_entry *e;

	(void)send_long(PEER);
	assert_true(make(PEER));
	net_advance(&net, APUS_SEC);
	(void)send_short();
	e = apus_arp_find(&net.stack->arp, PEER);
	assert_int_equal(e->used_at_ns, apus_now());
	assert_int_equal(net.stack->ipv4.counters[APUS_IPV4_TX_PACKETS], before + 2);
}

/* ---- when it is none ---- */

static void neighbour_not_spoken_to_yet_goes_the_long_way(void **state)
{
	assert_false(make(PEER));
	(void)send_long(PEER);
	assert_true(make(PEER));
	assert_false(make(IP4(10, 7, 0, 77)));
	assert_false(is_fresh());
}

static void groups_and_ourselves_go_the_long_way(void **state)
{
	assert_false(make(US));
	assert_false(make(SUBNET_ALL));
	assert_false(make(INADDR_BROADCAST));
	assert_false(make(IP4(224, 0, 0, 1)));
	assert_false(make(IP4(127, 0, 0, 1)));
	assert_false(make(0));
}

/* ---- when it ends ---- */

static void neighbour_with_another_address_makes_it_stale(void **state)
{
	(void)send_long(PEER);
	assert_true(make(PEER));
	net_advance(&net, 2 * APUS_ARP_LOCK_NS);
	net_meet(&net, PEER, &mac_peer);
	assert_true(is_fresh());
	net_advance(&net, 2 * APUS_ARP_LOCK_NS);
	net_meet(&net, PEER, &mac_other);
	assert_false(is_fresh());
	assert_same(PEER);
}

static void neighbour_that_is_forgotten_makes_it_stale(void **state)
{
	(void)send_long(PEER);
	assert_true(make(PEER));
	net_advance(&net, 2 * APUS_ARP_REACHABLE_NS);
	assert_null(apus_arp_find(&net.stack->arp, PEER));
	assert_false(is_fresh());
	assert_false(make(PEER));
}

static void other_routes_make_it_stale(void **state)
{
	struct apus_route_table *routes = &net.stack->routes;
	struct apus_addr far = apus_addr_v4(FAR), by = apus_addr_v4(PEER);

	(void)send_long(PEER);
	(void)send_long(FAR);
	assert_true(make(FAR));
	assert_int_equal(apus_route_add(routes, far, 32, by), 0);
	assert_false(is_fresh());
	assert_same(FAR);
	assert_int_equal(apus_route_del(routes, far, 32), 0);
	assert_false(is_fresh());
	assert_same(FAR);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(new_flow_is_stale),
		T(headers_are_those_of_the_long_way),
		T(headers_have_the_tag_of_our_vlan),
		T(link_without_ethernet_has_bare_packets),
		T(checksum_is_left_to_the_device_that_makes_it),
		T(packets_are_counted_and_keep_the_neighbour),
		T(neighbour_not_spoken_to_yet_goes_the_long_way),
		T(groups_and_ourselves_go_the_long_way),
		T(neighbour_with_another_address_makes_it_stale),
		T(neighbour_that_is_forgotten_makes_it_stale),
		T(other_routes_make_it_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
