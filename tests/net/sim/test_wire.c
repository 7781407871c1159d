/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_wire.c: the wire of a simulated world (net/link/sim.c), without stacks.
 */
#include "net/link/sim.h"
#include "runtime/sched/shard.h"
#include "tests/net/net_test.h"

#include <errno.h>
#include <rte_ip.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ENDS_MAX 4

struct fixture {
	struct apus_clock clock;
	struct apus_shard *shard;
	struct rte_mempool *pool;
	struct apus_sim_wire *wire;
	struct apus_link *ends[ENDS_MAX];
	unsigned int count;
	unsigned int traced;
};

static void open_wire(struct fixture *f, const struct apus_sim_wire_options *options)
{
	assert_int_equal(apus_sim_wire_open(apus_shard_heap(f->shard), options, &f->wire), 0);
	f->count = options && options->ends_max ? options->ends_max : 2;
	for (unsigned int i = 0; i < f->count; i++)
		assert_int_equal(apus_sim_end_open(f->wire, f->pool, &f->ends[i]), 0);
}

static struct rte_mbuf *frame_new(struct rte_mempool *pool, uint16_t bytes, uint8_t fill)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	memset(rte_pktmbuf_append(m, bytes), fill, bytes);
	return m;
}

static void send_frame(struct fixture *f, unsigned int end, uint16_t bytes, uint8_t fill,
		       int64_t now_ns)
{
	struct rte_mbuf *m = frame_new(f->pool, bytes, fill);

	apus_link_tx(f->ends[end], &m, 1, now_ns);
}

/* Takes one frame that must be there, of that length and filled with that byte. */
static void expect_frame(struct fixture *f, unsigned int end, uint32_t bytes, uint8_t fill,
			 int64_t now_ns)
{
	struct rte_mbuf *m = NULL;

	assert_int_equal(apus_link_rx(f->ends[end], &m, 1, now_ns), 1);
	assert_int_equal(m->pkt_len, bytes);
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t byte;

		assert_int_equal(*(const uint8_t *)rte_pktmbuf_read(m, i, 1, &byte), fill);
	}
	rte_pktmbuf_free(m);
}

static void expect_nothing(struct fixture *f, unsigned int end, int64_t now_ns)
{
	struct rte_mbuf *m;

	assert_int_equal(apus_link_rx(f->ends[end], &m, 1, now_ns), 0);
}

static int64_t next_ns(struct fixture *f, unsigned int end)
{
	return apus_link_idle(f->ends[end], APUS_IDLE_ASK, 0);
}

static int setup(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;

	memset(f, 0, sizeof(*f));
	apus_clock_init_virtual(&f->clock, 0);
	if (apus_shard_open(&(struct apus_shard_options){.core = -1, .clock = &f->clock, .seed = 1},
			    &f->shard))
		return -1;
	apus_shard_enter(f->shard);
	f->pool = rte_pktmbuf_pool_create("wire", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	*state = f;
	return f->pool ? 0 : -1;
}

/* Whatever a test did, nothing may be left: not an mbuf, not an object. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc = 0;

	for (unsigned int i = 0; i < f->count; i++)
		if (f->ends[i])
			apus_link_close(f->ends[i]);
	if (f->wire)
		apus_sim_wire_close(f->wire);
	rc |= rte_mempool_avail_count(f->pool) != 255;
	rte_mempool_free(f->pool);
	apus_shard_close(f->shard);
	return rc;
}

/* --- Two ends ------------------------------------------------------------------------------ */

static void frame_arrives_after_the_delay_and_not_before(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.delay_ns = APUS_MS});
	assert_int_equal(next_ns(f, 1), APUS_NEVER);
	send_frame(f, 0, 100, 7, 5);
	assert_int_equal(next_ns(f, 1), APUS_MS + 5);
	assert_int_equal(next_ns(f, 0), APUS_NEVER);
	assert_int_equal(apus_sim_wire_in_flight(f->wire), 1);
	expect_nothing(f, 1, APUS_MS + 4);
	expect_frame(f, 1, 100, 7, APUS_MS + 5);
	expect_nothing(f, 1, APUS_SEC);
	assert_int_equal(apus_sim_wire_in_flight(f->wire), 0);
}

static void frames_keep_their_order(void **state)
{
	struct fixture *f = *state;

	open_wire(f, NULL);
	for (uint8_t i = 0; i < 100; i++)
		send_frame(f, i % 2, 60, i, 0);
	for (uint8_t i = 0; i < 100; i++)
		expect_frame(f, 1 - i % 2, 60, i, 0);
}

static void rate_lets_one_frame_leave_after_the_other(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.rate_bps = 8000000}); /* 1 byte in 1 us */
	send_frame(f, 0, 1000, 1, 0);
	send_frame(f, 0, 500, 2, 0);
	send_frame(f, 1, 100, 3, 0); /* the other direction has a rate of its own */
	assert_int_equal(next_ns(f, 1), APUS_MS);
	expect_frame(f, 1, 1000, 1, APUS_MS);
	assert_int_equal(next_ns(f, 1), APUS_MS + 500 * APUS_US);
	expect_nothing(f, 1, APUS_MS + 499 * APUS_US);
	expect_frame(f, 1, 500, 2, APUS_MS + 500 * APUS_US);
	expect_frame(f, 0, 100, 3, 100 * APUS_US);
}

static void full_queue_drops_the_last_and_counts(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.queue_frames = 3});
	for (uint8_t i = 0; i < 5; i++)
		send_frame(f, 0, 60, i, 0);
	assert_int_equal(f->ends[0]->counters[APUS_LINK_TX_DROP_FULL], 2);
	for (uint8_t i = 0; i < 3; i++)
		expect_frame(f, 1, 60, i, 0);
	expect_nothing(f, 1, 0);
	send_frame(f, 0, 60, 9, 0);
	expect_frame(f, 1, 60, 9, 0);
}

static void own_frame_is_moved_and_shared_one_is_copied(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *own, *shared, *got[2];

	open_wire(f, NULL);
	own = frame_new(f->pool, 60, 1);
	shared = frame_new(f->pool, 60, 2);
	rte_mbuf_refcnt_update(shared, 1);
	apus_link_tx(f->ends[0], &own, 1, 0);
	apus_link_tx(f->ends[0], &shared, 1, 0);
	assert_int_equal(apus_link_rx(f->ends[1], got, 2, 0), 2);
	assert_ptr_equal(got[0], own);
	assert_ptr_not_equal(got[1], shared);
	memset(rte_pktmbuf_mtod(got[1], void *), 0xff, 60); /* what the receiver does with it */
	assert_int_equal(*rte_pktmbuf_mtod(shared, const uint8_t *), 2);
	rte_pktmbuf_free(got[0]);
	rte_pktmbuf_free(got[1]);
	rte_pktmbuf_free(shared);
}

static void header_with_indirect_payload_arrives_whole(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *data, *head, *payload;

	open_wire(f, NULL);
	data = frame_new(f->pool, 200, 5);
	head = frame_new(f->pool, 54, 5);
	payload = rte_pktmbuf_clone(data, f->pool);
	assert_non_null(payload);
	assert_int_equal(rte_pktmbuf_chain(head, payload), 0);
	apus_link_tx(f->ends[0], &head, 1, 0);
	rte_pktmbuf_free(data); /* acknowledged before it arrived */
	expect_frame(f, 1, 254, 5, 0);
}

static void receiver_without_mbufs_loses_and_counts(void **state)
{
	struct fixture *f = *state;
	struct rte_mempool *small = rte_pktmbuf_pool_create("small", 2, 0, 0, 2176, 0);

	assert_non_null(small);
	assert_int_equal(apus_sim_wire_open(apus_shard_heap(f->shard), NULL, &f->wire), 0);
	f->count = 2;
	assert_int_equal(apus_sim_end_open(f->wire, f->pool, &f->ends[0]), 0);
	assert_int_equal(apus_sim_end_open(f->wire, small, &f->ends[1]), 0);
	for (uint8_t i = 0; i < 3; i++)
		send_frame(f, 0, 60, i, 0);
	assert_int_equal(f->ends[1]->counters[APUS_LINK_RX_DROP_NO_MBUF], 1);
	expect_frame(f, 1, 60, 0, 0);
	expect_frame(f, 1, 60, 1, 0);
	expect_nothing(f, 1, 0);
	assert_int_equal(rte_mempool_avail_count(small), 2);
	rte_mempool_free(small);
}

static void unplugged_end_neither_sends_nor_receives(void **state)
{
	struct fixture *f = *state;

	open_wire(f, NULL);
	send_frame(f, 0, 60, 1, 0);
	apus_sim_end_set_up(f->ends[1], false);
	assert_int_equal(apus_sim_wire_in_flight(f->wire), 0); /* what was on its way is lost */
	send_frame(f, 0, 60, 2, 0);
	send_frame(f, 1, 60, 3, 0);
	assert_int_equal(apus_sim_end_counter(f->ends[1], APUS_SIM_TX_DROP_DOWN), 1);
	apus_sim_end_set_up(f->ends[1], true);
	expect_nothing(f, 1, 0);
	expect_nothing(f, 0, 0);
	send_frame(f, 0, 60, 4, 0);
	expect_frame(f, 1, 60, 4, 0);
}

static void frame_beyond_the_mtu_is_dropped_by_name(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.mtu = 1000});
	assert_int_equal(f->ends[0]->mtu, 1000);
	send_frame(f, 0, 1000 + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + 1, 1, 0);
	send_frame(f, 0, 1000 + RTE_ETHER_HDR_LEN, 2, 0);
	assert_int_equal(apus_sim_end_counter(f->ends[0], APUS_SIM_TX_DROP_TOO_LONG), 1);
	expect_frame(f, 1, 1000 + RTE_ETHER_HDR_LEN, 2, 0);
}

static void closed_peer_takes_nothing(void **state)
{
	struct fixture *f = *state;

	open_wire(f, NULL);
	send_frame(f, 0, 60, 1, 0);
	apus_link_close(f->ends[1]);
	f->ends[1] = NULL;
	send_frame(f, 0, 60, 2, 0);
	assert_int_equal(apus_sim_wire_in_flight(f->wire), 0);
}

static void third_end_of_two_is_refused(void **state)
{
	struct fixture *f = *state;
	struct apus_link *third;

	open_wire(f, NULL);
	assert_int_equal(apus_sim_end_open(f->wire, f->pool, &third), -ENOSPC);
}

static void options_out_of_range_are_refused(void **state)
{
	static const struct apus_sim_wire_options wrong[] = {
		{.delay_ns = -1},         {.delay_ns = INT64_MAX},
		{.rate_bps = UINT64_MAX}, {.queue_bytes = 1},
		{.mark_bytes = 1},        {.queue_frames = UINT32_MAX},
		{.ends_max = 1},          {.ends_max = APUS_SIM_ENDS_MAX + 1},
	};
	struct fixture *f = *state;
	struct apus_sim_wire *wire = NULL;

	for (size_t i = 0; i < apus_countof(wrong); i++)
		assert_int_equal(apus_sim_wire_open(apus_shard_heap(f->shard), &wrong[i], &wire),
				 -EINVAL);
	assert_null(wire);
}

static void without_memory_open_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct apus_heap *heap = apus_shard_heap(f->shard);
	struct apus_link *end;

	apus_heap_fail_after(heap, 0);
	assert_int_equal(apus_sim_wire_open(heap, NULL, &f->wire), -ENOMEM);
	apus_heap_fail_after(heap, -1);
	assert_int_equal(apus_sim_wire_open(heap, NULL, &f->wire), 0);
	for (int64_t n = 0; n < 2; n++) {
		apus_heap_fail_after(heap, n);
		assert_int_equal(apus_sim_end_open(f->wire, f->pool, &end), -ENOMEM);
	}
	apus_heap_fail_after(heap, -1);
}

static void count_trace(void *arg, unsigned int end, const struct rte_mbuf *m, int64_t now_ns)
{
	struct fixture *f = arg;

	f->traced += m->pkt_len * (end + 1);
}

static void trace_sees_every_frame_sent_even_lost_ones(void **state)
{
	struct fixture *f = *state;

	open_wire(f, NULL);
	apus_sim_wire_trace(f->wire, count_trace, f);
	send_frame(f, 0, 60, 1, 0);
	send_frame(f, 1, 100, 1, 0);
	apus_sim_end_set_up(f->ends[0], false);
	send_frame(f, 0, 80, 1, 0);
	apus_sim_wire_trace(f->wire, NULL, NULL);
	send_frame(f, 1, 70, 1, 0);
	assert_int_equal(f->traced, 60 + 2 * 100 + 80);
}

/* --- A switch ------------------------------------------------------------------------------ */

static void send_to(struct fixture *f, unsigned int from, const char *to, uint16_t bytes,
		    int64_t now_ns)
{
	struct rte_mbuf *m = frame_new(f->pool, bytes, 0xff);

	memcpy(rte_pktmbuf_mtod(m, void *), to, RTE_ETHER_ADDR_LEN);
	apus_link_tx(f->ends[from], &m, 1, now_ns);
}

static unsigned int arrived(struct fixture *f, unsigned int end, int64_t now_ns)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t n = apus_link_rx(f->ends[end], frames, APUS_LINK_BURST_MAX, now_ns);

	rte_pktmbuf_free_bulk(frames, n);
	return n;
}

static void switch_hands_unicast_to_its_end_and_the_rest_to_all_others(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.ends_max = 4});
	send_to(f, 0, "\x02\0\0\0\0\x03", 60, 0); /* to number 2 */
	assert_int_equal(arrived(f, 2, 0), 1);
	assert_int_equal(arrived(f, 0, 0) + arrived(f, 1, 0) + arrived(f, 3, 0), 0);

	send_to(f, 1, "\xff\xff\xff\xff\xff\xff", 60, 0);
	send_to(f, 1, "\x02\0\0\0\x09\x03", 60, 0); /* nobody's: flooded as well */
	assert_int_equal(arrived(f, 1, 0), 0);
	assert_int_equal(arrived(f, 0, 0), 2);
	assert_int_equal(arrived(f, 2, 0), 2);
	assert_int_equal(arrived(f, 3, 0), 2);

	send_to(f, 1, "\x02\0\0\0\0\x02", 60, 0); /* to itself */
	assert_int_equal(apus_sim_wire_in_flight(f->wire), 0);
}

static void slow_and_fast_ends_of_a_switch_arrive_in_order_of_time(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.ends_max = 3, .rate_bps = 8000000});
	send_to(f, 0, "\x02\0\0\0\0\x03", 1500, 0);
	send_to(f, 1, "\x02\0\0\0\0\x03", 60, 0);
	assert_int_equal(next_ns(f, 2), 60 * APUS_US);
	assert_int_equal(arrived(f, 2, 60 * APUS_US), 1);
	assert_int_equal(next_ns(f, 2), 1500 * APUS_US);
	assert_int_equal(arrived(f, 2, 1500 * APUS_US), 1);
}

/* Only what waits for the rate is in the queue, not what is on its way. */
static void queue_of_bytes_drops_at_its_tail_and_loses_no_time(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){
			     .rate_bps = 8000000, .delay_ns = APUS_SEC, .queue_bytes = 300});
	for (int i = 0; i < 4; i++)
		send_frame(f, 0, 100, (uint8_t)i, 0);
	assert_int_equal(apus_sim_end_counter(f->ends[0], APUS_SIM_TX_DROP_QUEUE), 1);
	send_frame(f, 0, 100, 9, 100 * APUS_US); /* one has left */
	assert_int_equal(apus_sim_end_counter(f->ends[0], APUS_SIM_TX_DROP_QUEUE), 1);
	for (int i = 0; i < 3; i++)
		expect_frame(f, 1, 100, (uint8_t)i, APUS_SEC + 300 * APUS_US);
	expect_nothing(f, 1, APUS_SEC + 399 * APUS_US);
	expect_frame(f, 1, 100, 9, APUS_SEC + 400 * APUS_US); /* right behind the third */
}

/* An IPv4 header with these two bits of ECN. */
static void send_ipv4(struct fixture *f, uint8_t ecn, int64_t now_ns)
{
	struct rte_mbuf *m = frame_new(f->pool, 100, 0);
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->type_of_service = 0x80 | ecn;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	apus_link_tx(f->ends[0], &m, 1, now_ns);
}

static uint8_t take_tos(struct fixture *f, int64_t now_ns)
{
	struct rte_mbuf *m = NULL;
	uint8_t tos;

	assert_int_equal(apus_link_rx(f->ends[1], &m, 1, now_ns), 1);

	const struct rte_ipv4_hdr *ip =
		rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);

	assert_int_equal(rte_raw_cksum(ip, sizeof(*ip)), 0xffff);
	tos = ip->type_of_service;
	rte_pktmbuf_free(m);
	return tos;
}

static void long_queue_marks_what_may_be_marked(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.rate_bps = 8000000, .mark_bytes = 150});
	for (uint8_t ecn = 0; ecn < 4; ecn++)
		send_ipv4(f, ecn, 0);
	send_ipv4(f, 2, 300 * APUS_US); /* 100 bytes wait */
	assert_int_equal(take_tos(f, APUS_MS), 0x80);
	assert_int_equal(take_tos(f, APUS_MS), 0x81); /* 100 waited */
	assert_int_equal(take_tos(f, APUS_MS), 0x83); /* ECT(0) behind 200 */
	assert_int_equal(take_tos(f, APUS_MS), 0x83);
	assert_int_equal(take_tos(f, APUS_MS), 0x82);
	assert_int_equal(apus_sim_end_counter(f->ends[0], APUS_SIM_TX_MARKED), 2);
}

static void every_nth_frame_is_lost(void **state)
{
	struct fixture *f = *state;

	open_wire(f, &(struct apus_sim_wire_options){.lose_every = 3});
	for (uint8_t i = 1; i <= 6; i++)
		send_frame(f, 0, 100, i, 0);
	for (uint8_t i = 1; i <= 6; i++)
		if (i % 3)
			expect_frame(f, 1, 100, i, 0);
	expect_nothing(f, 1, 0);
	assert_int_equal(apus_sim_end_counter(f->ends[0], APUS_SIM_TX_LOST), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(frame_arrives_after_the_delay_and_not_before),
		TEST(frames_keep_their_order),
		TEST(rate_lets_one_frame_leave_after_the_other),
		TEST(queue_of_bytes_drops_at_its_tail_and_loses_no_time),
		TEST(long_queue_marks_what_may_be_marked),
		TEST(every_nth_frame_is_lost),
		TEST(full_queue_drops_the_last_and_counts),
		TEST(own_frame_is_moved_and_shared_one_is_copied),
		TEST(header_with_indirect_payload_arrives_whole),
		TEST(receiver_without_mbufs_loses_and_counts),
		TEST(unplugged_end_neither_sends_nor_receives),
		TEST(frame_beyond_the_mtu_is_dropped_by_name),
		TEST(closed_peer_takes_nothing),
		TEST(third_end_of_two_is_refused),
		TEST(options_out_of_range_are_refused),
		TEST(without_memory_open_fails_cleanly),
		TEST(trace_sees_every_frame_sent_even_lost_ones),
		TEST(switch_hands_unicast_to_its_end_and_the_rest_to_all_others),
		TEST(slow_and_fast_ends_of_a_switch_arrive_in_order_of_time),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim wire", tests, NULL, NULL);
}
