/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_impair.c: the bad network (net/link/impair.c), in virtual time.
 */
#include "net/link/impair.h"
#include "tests/net/link/link_test.h"

static void open_impair(struct fixture *f, const struct apus_impair_options *options)
{
	assert_int_equal(apus_impair_open(&f->fake.link, options, &f->random, &f->link), 0);
}

/* Sends @n frames of @bytes at @now_ns, numbered from 0. */
static void send_many(struct fixture *f, uint32_t n, uint16_t bytes, int64_t now_ns)
{
	for (uint32_t i = 0; i < n; i++)
		send_one(f, frame_new(f, i, bytes), now_ns);
}

/* Lets time pass until nothing is held, in the jumps that idle asks for. Return: the time. */
static int64_t run_out(struct fixture *f, int64_t now_ns)
{
	while (apus_impair_held(f->link)) {
		int64_t next_ns = apus_link_idle(f->link, APUS_IDLE_ASK, now_ns);

		assert_true(next_ns > now_ns);
		assert_true(next_ns < APUS_NEVER);
		now_ns = next_ns;
		assert_int_equal(receive_one(f, now_ns), -1);
	}
	return now_ns;
}

/* --- Without faults ------------------------------------------------------------------------ */

static void no_fault_frame_passes_at_once_both_ways(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){0});
	send_one(f, frame_new(f, 7, 60), START_NS);
	assert_int_equal(f->fake.tx_count, 1);
	assert_int_equal(frame_number(f->fake.tx[0]), 7);

	arrive(f, frame_new(f, 8, 60));
	assert_int_equal(receive_one(f, START_NS), 8);
	assert_int_equal(f->link->counters[APUS_LINK_RX_FRAMES], 1);
	assert_int_equal(f->link->counters[APUS_LINK_TX_FRAMES], 1);
	assert_int_equal(f->link->counters[APUS_LINK_TX_BYTES], 60);
}

static void no_fault_properties_are_those_of_the_inner_link(void **state)
{
	struct fixture *f = *state;

	f->fake.link.wake_fd = 17;
	open_impair(f, &(struct apus_impair_options){0});
	assert_int_equal(f->link->mtu, 1500);
	assert_int_equal(f->link->wake_fd, 17);
	assert_ptr_equal(f->link->pool, f->pool);
	assert_int_equal(f->link->tx_offloads, f->fake.link.tx_offloads);
	assert_int_equal(f->link->rx_offloads, f->fake.link.rx_offloads);
	assert_memory_equal(&f->link->mac, &f->fake.link.mac, sizeof(f->link->mac));
}

static void idle_is_passed_on_and_the_earlier_answer_counts(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.delay_ns = 10 * APUS_MS});
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ARM, START_NS), APUS_NEVER);
	assert_int_equal(f->fake.idle_last, APUS_IDLE_ARM);
	send_one(f, frame_new(f, 1, 60), START_NS);
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ASK, START_NS), START_NS + 10 * APUS_MS);
	f->fake.idle_ns = START_NS + APUS_MS;
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ASK, START_NS), START_NS + APUS_MS);
}

/* --- Loss and duplicates ------------------------------------------------------------------- */

static void loss_of_all_nothing_passes(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.loss_ppm = 1000000});
	send_many(f, 50, 60, START_NS);
	for (uint32_t i = 0; i < 50; i++)
		arrive(f, frame_new(f, i, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(f->fake.tx_count, 0);
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_LOST), 50);
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_RX_LOST), 50);
}

static void loss_of_a_fifth_about_a_fifth_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t lost;

	open_impair(f, &(struct apus_impair_options){.loss_ppm = 200000, .seed = 5});
	send_many(f, 4000, 60, START_NS);
	lost = apus_impair_counter(f->link, APUS_IMPAIR_TX_LOST);
	assert_in_range(lost, 700, 900); /* 4 sigma = 101 */
	assert_int_equal(f->fake.tx_count, 4000 - lost);
}

/* Which of 64 frames pass, as a bit map. */
static uint64_t who_passes(struct fixture *f, uint64_t seed)
{
	uint64_t map = 0;

	open_impair(f, &(struct apus_impair_options){.loss_ppm = 500000, .seed = seed});
	send_many(f, 64, 60, START_NS);
	for (uint32_t i = 0; i < f->fake.tx_count; i++)
		map |= UINT64_C(1) << frame_number(f->fake.tx[i]);
	fixture_renew(f);
	return map;
}

static void same_seed_same_frames_are_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t first = who_passes(f, 42);

	assert_int_equal(who_passes(f, 42), first);
	assert_int_not_equal(who_passes(f, 43), first);
	/* No seed: drawn from the generator, which goes on. */
	assert_int_not_equal(who_passes(f, 0), who_passes(f, 0));
}

static void one_direction_does_not_change_the_others_chance(void **state)
{
	struct fixture *f = *state;
	const struct apus_impair_options o = {.loss_ppm = 500000, .seed = 9};
	uint64_t alone = who_passes(f, 9), map = 0;

	open_impair(f, &o);
	for (uint32_t i = 0; i < 64; i++) {
		arrive(f, frame_new(f, i, 60));
		(void)receive_one(f, START_NS);
		send_one(f, frame_new(f, i, 60), START_NS);
	}
	for (uint32_t i = 0; i < f->fake.tx_count; i++)
		map |= UINT64_C(1) << frame_number(f->fake.tx[i]);
	assert_int_equal(map, alone);
}

static void duplicate_of_all_two_equal_frames_pass(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.duplicate_ppm = 1000000});
	send_one(f, frame_new(f, 7, 900), START_NS);
	assert_int_equal(f->fake.tx_count, 2);
	assert_ptr_not_equal(f->fake.tx[0]->buf_addr, f->fake.tx[1]->buf_addr);
	assert_int_equal(f->fake.tx[1]->pkt_len, 900);
	assert_memory_equal(rte_pktmbuf_mtod(f->fake.tx[0], void *),
			    rte_pktmbuf_mtod(f->fake.tx[1], void *), 900);
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_DUPLICATED), 1);
}

static void duplicate_without_mbufs_the_frame_still_passes(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *m = frame_new(f, 7, 60);
	static struct rte_mbuf *all[8191];
	unsigned int n = rte_mempool_avail_count(f->pool);

	open_impair(f, &(struct apus_impair_options){.duplicate_ppm = 1000000});
	assert_int_equal(rte_pktmbuf_alloc_bulk(f->pool, all, n), 0);
	send_one(f, m, START_NS);
	rte_pktmbuf_free_bulk(all, n);
	assert_int_equal(f->fake.tx_count, 1);
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_COPY_FAILED), 1);
}

/* --- Damage -------------------------------------------------------------------------------- */

static unsigned int bits_that_differ(const uint8_t *a, const uint8_t *b, size_t n)
{
	unsigned int bits = 0;

	for (size_t i = 0; i < n; i++)
		bits += (unsigned int)__builtin_popcount(a[i] ^ b[i]);
	return bits;
}

static void corrupt_of_all_one_bit_behind_the_header_flips(void **state)
{
	struct fixture *f = *state;
	uint8_t before[200];

	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	for (uint32_t i = 0; i < 500; i++) {
		struct rte_mbuf *m = frame_new(f, i, sizeof(before));
		const uint8_t *after;

		memcpy(before, rte_pktmbuf_mtod(m, void *), sizeof(before));
		send_one(f, m, START_NS);
		after = rte_pktmbuf_mtod(f->fake.tx[i], const uint8_t *);
		assert_memory_equal(before, after, RTE_ETHER_HDR_LEN);
		assert_int_equal(bits_that_differ(before, after, sizeof(before)), 1);
	}
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_CORRUPTED), 500);
}

static void corrupt_of_a_chain_flips_in_any_segment(void **state)
{
	struct fixture *f = *state;
	unsigned int in_second = 0;

	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	for (uint32_t i = 0; i < 200; i++) {
		struct rte_mbuf *m = frame_new(f, 0, 114), *tail = frame_new(f, 0, 114);
		uint8_t before[2][114];
		unsigned int first, second;

		assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
		memcpy(before[0], rte_pktmbuf_mtod(m, void *), 114);
		memcpy(before[1], rte_pktmbuf_mtod(tail, void *), 114);
		send_one(f, m, START_NS);
		first = bits_that_differ(before[0], rte_pktmbuf_mtod(m, uint8_t *), 114);
		second = bits_that_differ(before[1], rte_pktmbuf_mtod(tail, uint8_t *), 114);
		assert_int_equal(first + second, 1);
		in_second += second;
	}
	assert_in_range(in_second, 60, 150); /* 114 of 214 bytes */
}

static void corrupt_of_arp_leaves_it_alone(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *m = frame_new(f, 7, 60);
	uint8_t before[60];

	rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type =
		rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);
	memcpy(before, rte_pktmbuf_mtod(m, void *), sizeof(before));
	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	send_one(f, m, START_NS);
	assert_memory_equal(before, rte_pktmbuf_mtod(f->fake.tx[0], void *), sizeof(before));
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_CORRUPTED), 0);
}

static void corrupt_of_shared_bytes_happens_to_a_copy(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *m = frame_new(f, 7, 60), *clone = rte_pktmbuf_clone(m, f->pool);
	uint8_t before[60];

	assert_non_null(clone);
	memcpy(before, rte_pktmbuf_mtod(m, void *), sizeof(before));
	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	send_one(f, clone, START_NS);
	assert_memory_equal(before, rte_pktmbuf_mtod(m, void *), sizeof(before));
	assert_int_equal(bits_that_differ(before, rte_pktmbuf_mtod(f->fake.tx[0], uint8_t *), 60),
			 1);
	rte_pktmbuf_free(m);
}

static void corrupt_checksums_are_made_and_checked_by_software(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *m = frame_new(f, 7, 60), *got;

	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	assert_int_equal(f->link->tx_offloads, RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	assert_int_equal(f->link->rx_offloads, 0);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	arrive(f, m);
	assert_int_equal(apus_link_rx(f->link, &got, 1, START_NS), 1);
	assert_int_equal(
		got->ol_flags & (RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK), 0);
	rte_pktmbuf_free(got);
}

static void corrupt_of_a_frame_without_payload_leaves_it_alone(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.corrupt_ppm = 1000000});
	send_one(f, frame_new(f, 0, RTE_ETHER_HDR_LEN + 4), START_NS); /* may be hit */
	for (int bytes = 1; bytes <= RTE_ETHER_HDR_LEN; bytes++) {
		struct rte_mbuf *m = frame_new(f, 0, RTE_ETHER_HDR_LEN + 4);

		rte_pktmbuf_trim(m, (uint16_t)(m->data_len - bytes));
		send_one(f, m, START_NS);
	}
	assert_int_equal(f->fake.tx_count, RTE_ETHER_HDR_LEN + 1);
}

/* --- Time and order ------------------------------------------------------------------------ */

static void delay_frame_leaves_exactly_when_due(void **state)
{
	struct fixture *f = *state;
	int64_t due_ns = START_NS + 10 * APUS_MS;

	open_impair(f, &(struct apus_impair_options){.delay_ns = 10 * APUS_MS});
	send_one(f, frame_new(f, 1, 60), START_NS);
	arrive(f, frame_new(f, 2, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(apus_impair_held(f->link), 2);
	assert_int_equal(receive_one(f, due_ns - 1), -1);
	assert_int_equal(f->fake.tx_count, 0);
	assert_int_equal(receive_one(f, due_ns), 2);
	assert_int_equal(f->fake.tx_count, 1);
	assert_int_equal(apus_impair_held(f->link), 0);
}

static void jitter_order_is_kept_and_delay_bounded(void **state)
{
	struct fixture *f = *state;

	test_each_seed(seed, 20)
	{
		open_impair(f, &(struct apus_impair_options){.delay_ns = 10 * APUS_MS,
							     .jitter_ns = 4 * APUS_MS,
							     .seed = seed});
		for (uint32_t i = 0; i < 100; i++)
			send_one(f, frame_new(f, i, 60), START_NS + i * APUS_US);
		run_out(f, START_NS + 99 * APUS_US);
		assert_int_equal(f->fake.tx_count, 100);
		for (uint32_t i = 0; i < 100; i++) {
			int64_t took_ns = f->fake.tx_at_ns[i] - (START_NS + i * APUS_US);

			assert_int_equal(frame_number(f->fake.tx[i]), i);
			assert_true(took_ns >= 6 * APUS_MS);
			assert_true(took_ns <= 14 * APUS_MS);
		}
		fixture_renew(f);
	}
}

static void jitter_greater_than_delay_is_never_before_now(void **state)
{
	struct fixture *f = *state;

	open_impair(f,
		    &(struct apus_impair_options){.delay_ns = APUS_MS, .jitter_ns = 5 * APUS_MS});
	for (uint32_t i = 0; i < 200; i++)
		send_one(f, frame_new(f, i, 60), START_NS + i * 10 * APUS_MS);
	for (uint32_t i = 0; i < f->fake.tx_count; i++)
		assert_true(f->fake.tx_at_ns[i] >=
			    START_NS + frame_number(f->fake.tx[i]) * 10 * APUS_MS);
	run_out(f, START_NS + 199 * 10 * APUS_MS);
	assert_int_equal(f->fake.tx_count, 200);
}

static void reorder_some_are_overtaken_and_none_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t seen[4] = {0};
	uint32_t late = 0;

	open_impair(f, &(struct apus_impair_options){
			       .reorder_ppm = 100000, .reorder_ns = APUS_MS, .seed = 3});
	for (uint32_t i = 0; i < 256; i++)
		send_one(f, frame_new(f, i, 60), START_NS + i * 50 * APUS_US);
	run_out(f, START_NS + 255 * 50 * APUS_US);
	assert_int_equal(f->fake.tx_count, 256);
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t n = frame_number(f->fake.tx[i]);

		assert_false(seen[n / 64] >> n % 64 & 1);
		seen[n / 64] |= UINT64_C(1) << n % 64;
		late += i && n < frame_number(f->fake.tx[i - 1]);
		assert_true(f->fake.tx_at_ns[i] <= START_NS + n * 50 * APUS_US + APUS_MS);
	}
	assert_true(late >= 10);
	assert_in_range(apus_impair_counter(f->link, APUS_IMPAIR_TX_REORDERED), 10, 50);
}

static void many_held_leave_in_order_of_time(void **state)
{
	struct fixture *f = *state;
	int64_t last_ns = 0, end_ns;

	/* All are held back by a time of their own: the heap has to sort. */
	open_impair(f, &(struct apus_impair_options){.reorder_ppm = 1000000,
						     .reorder_ns = APUS_SEC,
						     .queue_frames = 3000});
	send_many(f, 3000, 60, START_NS);
	end_ns = run_out(f, START_NS);
	assert_int_equal(f->fake.tx_count, 3000);
	for (uint32_t i = 0; i < 3000; i++) {
		assert_true(f->fake.tx_at_ns[i] >= last_ns);
		last_ns = f->fake.tx_at_ns[i];
	}
	assert_int_equal(end_ns, last_ns);
}

static void rate_frames_take_their_time_on_the_wire(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.rate_bps = 1000000});
	send_many(f, 10, 125, START_NS); /* 1000 bits: 1 ms each */
	run_out(f, START_NS);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(f->fake.tx_at_ns[i], START_NS + (i + 1) * APUS_MS);
	/* The wire was free since: no credit, no debt. */
	send_many(f, 1, 125, START_NS + APUS_SEC);
	run_out(f, START_NS + APUS_SEC);
	assert_int_equal(f->fake.tx_at_ns[10], START_NS + APUS_SEC + APUS_MS);
}

static void full_queue_drops_what_comes_last(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.delay_ns = APUS_MS, .queue_frames = 5});
	send_many(f, 9, 60, START_NS);
	assert_int_equal(apus_impair_held(f->link), 5);
	assert_int_equal(apus_impair_counter(f->link, APUS_IMPAIR_TX_QUEUE_FULL), 4);
	run_out(f, START_NS);
	assert_int_equal(f->fake.tx_count, 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(frame_number(f->fake.tx[i]), i);
}

static void direction_rx_leaves_tx_alone(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.loss_ppm = 1000000,
						     .directions = APUS_IMPAIR_RX});
	send_one(f, frame_new(f, 1, 60), START_NS);
	arrive(f, frame_new(f, 2, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(f->fake.tx_count, 1);
}

static void direction_tx_leaves_rx_alone(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.loss_ppm = 1000000,
						     .directions = APUS_IMPAIR_TX});
	send_one(f, frame_new(f, 1, 60), START_NS);
	arrive(f, frame_new(f, 2, 60));
	assert_int_equal(receive_one(f, START_NS), 2);
	assert_int_equal(f->fake.tx_count, 0);
}

/* --- Opening, changing, closing ------------------------------------------------------------ */

static void set_faults_change_and_held_frames_stay(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.delay_ns = 10 * APUS_MS});
	send_one(f, frame_new(f, 1, 60), START_NS);
	arrive(f, frame_new(f, 2, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(
		apus_impair_set(f->link, &(struct apus_impair_options){.loss_ppm = 1000000}), 0);
	send_one(f, frame_new(f, 3, 60), START_NS);
	assert_int_equal(receive_one(f, START_NS + 10 * APUS_MS), 2);
	assert_int_equal(f->fake.tx_count, 1);
	assert_int_equal(frame_number(f->fake.tx[0]), 1);
	/* Switched off in one direction: what is new passes at once, what is held is not forgotten. */
	assert_int_equal(
		apus_impair_set(f->link, &(struct apus_impair_options){.delay_ns = APUS_SEC}), 0);
	arrive(f, frame_new(f, 4, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(
		apus_impair_set(f->link,
				&(struct apus_impair_options){.directions = APUS_IMPAIR_TX}),
		0);
	arrive(f, frame_new(f, 5, 60));
	assert_int_equal(receive_one(f, START_NS), 5);
	assert_int_equal(receive_one(f, START_NS + 2 * APUS_SEC), 4);
}

static void options_out_of_range_are_refused(void **state)
{
	struct fixture *f = *state;
	static const struct apus_impair_options bad[] = {
		{.loss_ppm = 1000001},     {.duplicate_ppm = 1000001},
		{.corrupt_ppm = 1000001},  {.reorder_ppm = 1000001},
		{.delay_ns = -1},          {.jitter_ns = -1},
		{.reorder_ns = -1},        {.delay_ns = 3601 * APUS_SEC},
		{.queue_frames = 1000001}, {.directions = 4},
	};

	open_impair(f, &(struct apus_impair_options){0});
	for (size_t i = 0; i < apus_countof(bad); i++)
		assert_int_equal(apus_impair_set(f->link, &bad[i]), -EINVAL);
}

static void open_with_a_bad_option_closes_the_inner_link(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(apus_impair_open(&f->fake.link,
					  &(struct apus_impair_options){.loss_ppm = 2000000},
					  &f->random, &f->link),
			 -EINVAL);
	assert_null(f->link);
	assert_true(f->fake.closed);
}

static void open_without_memory_gives_all_back(void **state)
{
	struct fixture *f = *state;
	struct apus_heap *heap = apus_shard_heap(f->shard);
	int64_t n;

	for (n = 0; n < 10; n++) {
		int rc;

		apus_heap_fail_after(heap, n);
		rc = apus_impair_open(&f->fake.link, &(struct apus_impair_options){0}, &f->random,
				      &f->link);
		apus_heap_fail_after(heap, -1);
		if (!rc)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_true(f->fake.closed);
		assert_int_equal(heap->live, f->live);
		fake_open(f);
	}
	assert_in_range(n, 1, 5);
}

static void close_with_frames_held_frees_them(void **state)
{
	struct fixture *f = *state;

	open_impair(f, &(struct apus_impair_options){.delay_ns = APUS_SEC});
	send_many(f, 100, 60, START_NS);
	arrive(f, frame_new(f, 1, 60));
	assert_int_equal(receive_one(f, START_NS), -1);
	assert_int_equal(apus_impair_held(f->link), 101);
	/* The teardown closes and looks for leaks. */
}

/* --- The option ---------------------------------------------------------------------------- */

static void parse_all_keys_are_understood(void **state)
{
	struct apus_impair_options o;
	char why[256];

	assert_int_equal(
		apus_impair_parse("loss=1%,delay=10ms,jitter=2.5us,reorder=0.5%,reorder-by=5ms,"
				  "duplicate=100%,corrupt=0.0001%,rate=100mbit,queue=7,"
				  "direction=rx,seed=18446744073709551615",
				  &o, why, sizeof(why)),
		0);
	assert_int_equal(o.loss_ppm, 10000);
	assert_int_equal(o.delay_ns, 10 * APUS_MS);
	assert_int_equal(o.jitter_ns, 2500);
	assert_int_equal(o.reorder_ppm, 5000);
	assert_int_equal(o.reorder_ns, 5 * APUS_MS);
	assert_int_equal(o.duplicate_ppm, 1000000);
	assert_int_equal(o.corrupt_ppm, 1);
	assert_int_equal(o.rate_bps, 100000000);
	assert_int_equal(o.queue_frames, 7);
	assert_int_equal(o.directions, APUS_IMPAIR_RX);
	assert_int_equal(o.seed, UINT64_MAX);
}

static void parse_units_are_understood(void **state)
{
	struct apus_impair_options o;
	char why[256];

	assert_int_equal(apus_impair_parse("delay=1s,jitter=3ns,rate=2gbit", &o, why, sizeof(why)),
			 0);
	assert_int_equal(o.delay_ns, APUS_SEC);
	assert_int_equal(o.jitter_ns, 3);
	assert_int_equal(o.rate_bps, 2000000000);
	assert_int_equal(apus_impair_parse("rate=9kbit,direction=tx", &o, why, sizeof(why)), 0);
	assert_int_equal(o.rate_bps, 9000);
	assert_int_equal(o.directions, APUS_IMPAIR_TX);
	assert_int_equal(apus_impair_parse("rate=9bit,direction=both", &o, why, sizeof(why)), 0);
	assert_int_equal(o.directions, APUS_IMPAIR_RX | APUS_IMPAIR_TX);
}

static void parse_what_is_wrong_is_said_and_nothing_is_written(void **state)
{
	static const char *const bad[] = {
		"",           "loss",         "loss=",      "loss=1",
		"loss=-1%",   "loss=101%",    "loss= 1%",   "loss=1%x",
		"loss=nan%",  "loss=inf%",    "loss=1%,",   ",loss=1%",
		"LOSS=1%",    "delay=10",     "delay=1h",   "delay=2000000s",
		"rate=0.5",   "rate=fast",    "queue=0",    "queue=2000000",
		"queue=1k",   "seed=0",       "seed=x",     "seed=18446744073709551616",
		"direction=", "direction=up", "nonsense=1", "delay=1ms delay=2ms",
	};
	struct apus_impair_options o = {.queue_frames = 77};
	char why[256], huge[1024];

	for (size_t i = 0; i < apus_countof(bad); i++) {
		*why = '\0';
		if (apus_impair_parse(bad[i], &o, why, sizeof(why)) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_true(strlen(why) > 10);
		assert_null(strchr(why, '\n'));
	}
	memset(huge, '1', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	assert_int_equal(apus_impair_parse(huge, &o, why, sizeof(why)), -EINVAL);
	assert_int_equal(o.queue_frames, 77);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_links(no_fault_frame_passes_at_once_both_ways),
		test_with_links(no_fault_properties_are_those_of_the_inner_link),
		test_with_links(idle_is_passed_on_and_the_earlier_answer_counts),
		test_with_links(loss_of_all_nothing_passes),
		test_with_links(loss_of_a_fifth_about_a_fifth_is_lost),
		test_with_links(same_seed_same_frames_are_lost),
		test_with_links(one_direction_does_not_change_the_others_chance),
		test_with_links(duplicate_of_all_two_equal_frames_pass),
		test_with_links(duplicate_without_mbufs_the_frame_still_passes),
		test_with_links(corrupt_of_all_one_bit_behind_the_header_flips),
		test_with_links(corrupt_of_a_chain_flips_in_any_segment),
		test_with_links(corrupt_of_arp_leaves_it_alone),
		test_with_links(corrupt_of_shared_bytes_happens_to_a_copy),
		test_with_links(corrupt_checksums_are_made_and_checked_by_software),
		test_with_links(corrupt_of_a_frame_without_payload_leaves_it_alone),
		test_with_links(delay_frame_leaves_exactly_when_due),
		test_with_links(jitter_order_is_kept_and_delay_bounded),
		test_with_links(jitter_greater_than_delay_is_never_before_now),
		test_with_links(reorder_some_are_overtaken_and_none_is_lost),
		test_with_links(many_held_leave_in_order_of_time),
		test_with_links(rate_frames_take_their_time_on_the_wire),
		test_with_links(full_queue_drops_what_comes_last),
		test_with_links(direction_rx_leaves_tx_alone),
		test_with_links(direction_tx_leaves_rx_alone),
		test_with_links(set_faults_change_and_held_frames_stay),
		test_with_links(options_out_of_range_are_refused),
		test_with_links(open_with_a_bad_option_closes_the_inner_link),
		test_with_links(open_without_memory_gives_all_back),
		test_with_links(close_with_frames_held_frees_them),
		cmocka_unit_test(parse_all_keys_are_understood),
		cmocka_unit_test(parse_units_are_understood),
		cmocka_unit_test(parse_what_is_wrong_is_said_and_nothing_is_written),
	};

	return test_main(argc, argv, tests);
}
