/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_rcvq.c: reassembly against an array that remembers which bytes came, for any
 * order, overlap and piece size; and what it costs when a peer is hostile.
 */
#include "tests/net/tcp/tcp_test.h"

#include "net/tcp/rcvq.h"

static struct apus_heap heap;
static struct apus_ooo_pool nodes;

static int open_nodes(void **state)
{
	if (test_pool_open(state) || apus_heap_init(&heap))
		return -1;
	apus_ooo_pool_init(&nodes, &heap, 100000, 12345);
	return 0;
}

static int close_nodes(void **state)
{
	apus_ooo_pool_fini(&nodes);
	apus_heap_fini(&heap);
	return test_pool_close(state);
}

static int nothing_is_left(void **state)
{
	if (nodes.objects.used)
		fprintf(stderr, "%u nodes leaked\n", nodes.objects.used);
	return nodes.objects.used ? -1 : test_pool_is_full(state);
}

#define LIMIT_HELD (4U << 20)

static struct apus_rcvq opened(void)
{
	struct apus_rcvq q;

	apus_rcvq_init(&q, &nodes, LIMIT_HELD);
	return q;
}

static uint32_t gaps(const struct apus_rcvq *q)
{
	return q->ooo ? q->ooo->runs : 0;
}

static uint32_t ooo_bytes(const struct apus_rcvq *q)
{
	return q->ooo ? q->ooo->bytes : 0;
}

/* The stream's bytes [seq, seq + bytes), behind `offset` bytes of header, in pieces. */
static int64_t input_pieces(struct apus_rcvq *q, uint32_t nxt, uint32_t seq, uint32_t bytes,
			    uint32_t piece)
{
	static uint8_t packet[70000];
	const uint32_t offset = 40;
	struct apus_ooo_text text = {seq, offset, bytes};

	memset(packet, 0xee, offset);
	for (uint32_t i = 0; i < bytes; i++)
		packet[offset + i] = test_byte((uint32_t)(seq + i));
	memset(packet + offset + bytes, 0xdd, 7); /* cut off by the caller: beyond the window */
	return apus_rcvq_input(q, test_mbuf(packet, offset + bytes + 7, piece), text, nxt);
}

static int64_t input(struct apus_rcvq *q, uint32_t nxt, uint32_t seq, uint32_t bytes)
{
	return input_pieces(q, nxt, seq, bytes, 2000);
}

static void assert_reads(struct apus_rcvq *q, uint32_t seq, uint32_t bytes)
{
	static uint8_t got[200000];

	assert_true(bytes < sizeof(got));
	assert_int_equal(apus_rcvq_read(q, got, bytes), bytes);
	for (uint32_t i = 0; i < bytes; i++)
		if (got[i] != test_byte((uint32_t)(seq + i)))
			fail_msg("byte %u of %u at %u is wrong", i, bytes, seq);
	apus_rcvq_check(q);
}

/* ---- in order ---- */

static void in_order_text_is_queued_without_copying(void **state)
{
	struct apus_rcvq q = opened();
	uint8_t bytes[1000];
	struct rte_mbuf *m;

	test_fill(bytes, 0, sizeof(bytes));
	m = test_mbuf(bytes, sizeof(bytes), sizeof(bytes));
	assert_int_equal(apus_rcvq_input(&q, m, (struct apus_ooo_text){0, 0, 1000}, 0), 1000);
	assert_ptr_equal(q.head, m);
	assert_reads(&q, 0, 1000);
	assert_null(q.head);
	apus_rcvq_fini(&q);
}

static void read_takes_at_most_what_is_there(void **state)
{
	struct apus_rcvq q = opened();
	char buf[8];

	assert_int_equal(apus_rcvq_read(&q, buf, sizeof(buf)), 0);
	assert_int_equal(input(&q, 0, 0, 5), 5);
	assert_int_equal(apus_rcvq_read(&q, buf, sizeof(buf)), 5);
	apus_rcvq_fini(&q);
}

static void vector_is_filled_in_order(void **state)
{
	struct apus_rcvq q = opened();
	uint8_t a[3], b[4], c[100], expected[10];
	struct iovec iov[] = {{a, 3}, {NULL, 0}, {b, 4}, {c, 100}};

	test_fill(expected, 0, 10);
	assert_int_equal(input(&q, 0, 0, 10), 10);
	assert_int_equal(apus_rcvq_readv(&q, iov, 4), 10);
	assert_memory_equal(a, expected, 3);
	assert_memory_equal(b, expected + 3, 4);
	assert_memory_equal(c, expected + 7, 3);
	apus_rcvq_fini(&q);
}

static void vector_that_is_too_small_leaves_the_rest(void **state)
{
	struct apus_rcvq q = opened();
	uint8_t a[3], b[4], guard[8] = {0};
	struct iovec iov[] = {{a, 3}, {b, 4}, {guard, 8}};

	assert_int_equal(input(&q, 0, 0, 10), 10);
	assert_int_equal(apus_rcvq_readv(&q, iov, 2), 7);
	for (size_t i = 0; i < sizeof(guard); i++)
		assert_int_equal(guard[i], 0);
	assert_reads(&q, 7, 3);
	apus_rcvq_fini(&q);
}

static void peek_lends_what_consume_drops(void **state)
{
	struct apus_rcvq q = opened();
	struct iovec views[8];
	uint32_t at = 0;
	int n;

	for (uint32_t seq = 0; seq < 6000; seq += 1000)
		assert_int_equal(input(&q, seq, seq, 1000), 1000);
	n = apus_rcvq_peek(&q, views, 8);
	assert_int_equal(n, 6);
	for (int i = 0; i < n; i++)
		for (size_t j = 0; j < views[i].iov_len; j++)
			assert_int_equal(((uint8_t *)views[i].iov_base)[j], test_byte(at++));
	assert_int_equal(at, 6000);
	assert_int_equal(apus_rcvq_peek(&q, views, 2), 2);
	apus_rcvq_consume(&q, 1500);
	apus_rcvq_check(&q);
	assert_reads(&q, 1500, 4500);
	apus_rcvq_fini(&q);
}

/* A peer that sends single bytes to a reader who sleeps fills bytes, not buffers. */
static void unread_single_bytes_are_packed(void **state)
{
	struct apus_rcvq q = opened();

	for (uint32_t seq = 0; seq < 100000; seq++)
		assert_int_equal(input(&q, seq, seq, 1), 1);
	assert_true(rte_mempool_in_use_count(test_pool) <= 60);
	assert_reads(&q, 0, 100000);
	apus_rcvq_fini(&q);
}

static void shared_buffer_is_not_written_behind_its_end(void **state)
{
	struct apus_rcvq q = opened();
	uint8_t bytes[10];
	struct rte_mbuf *m, *other;

	test_fill(bytes, 0, sizeof(bytes));
	m = test_mbuf(bytes, sizeof(bytes), sizeof(bytes));
	other = rte_pktmbuf_alloc(test_pool);
	rte_pktmbuf_attach(other, m); /* as a capture does: it also sees the buffer */
	assert_int_equal(apus_rcvq_input(&q, m, (struct apus_ooo_text){0, 0, 10}, 0), 10);
	assert_int_equal(input(&q, 10, 10, 10), 10);
	assert_ptr_not_equal(q.head, q.tail);
	assert_reads(&q, 0, 20);
	rte_pktmbuf_free(other);
	apus_rcvq_fini(&q);
}

/* ---- out of order ---- */

static void hole_filled_delivers_all_behind_it(void **state)
{
	struct apus_rcvq q = opened();

	assert_int_equal(input(&q, 0, 1000, 1000), 0);
	assert_int_equal(input(&q, 0, 3000, 10), 0);
	assert_int_equal(input(&q, 0, 2000, 1000), 0);
	assert_int_equal(ooo_bytes(&q), 2010);
	assert_int_equal(q.bytes, 0);
	assert_int_equal(input(&q, 0, 0, 1000), 3010);
	assert_int_equal(gaps(&q), 0);
	assert_int_equal(apus_rcvq_ooo_held(&q), 0);
	assert_reads(&q, 0, 3010);
	apus_rcvq_fini(&q);
}

static void hole_left_stops_delivery_there(void **state)
{
	struct apus_rcvq q = opened();

	assert_int_equal(input(&q, 0, 1000, 500), 0);
	assert_int_equal(input(&q, 0, 2000, 500), 0);
	assert_int_equal(input(&q, 0, 0, 1000), 1500);
	assert_int_equal(gaps(&q), 1);
	assert_reads(&q, 0, 1500);
	apus_rcvq_fini(&q);
	assert_int_equal(apus_rcvq_ooo_held(&q), 0);
}

/* The kept text ends where the one that fills the hole does: large and small. */
static void text_covered_to_its_last_byte_is_dropped(void **state)
{
	static const uint32_t sizes[] = {10, 700};

	for (size_t i = 0; i < apus_countof(sizes); i++) {
		struct apus_rcvq q = opened();

		assert_int_equal(input(&q, 0, 1000 - sizes[i], sizes[i]), 0);
		assert_int_equal(input(&q, 0, 0, 1000), 1000);
		assert_int_equal(gaps(&q), 0);
		assert_reads(&q, 0, 1000);
		apus_rcvq_fini(&q);
	}
}

/* Every way that a newcomer [5, 10) can lie to one kept text, with sizes on both sides of inline. */
static void each_overlap_of_two_is_cut(void **state)
{
	static const uint32_t scales[] = {1, 10, 100};

	for (size_t s = 0; s < apus_countof(scales); s++) {
		uint32_t k = scales[s];

		for (uint32_t start = 1; start < 15; start++) {
			for (uint32_t end = start + 1; end <= 15; end++) {
				struct apus_rcvq q = opened();
				uint32_t covered = 5 + (end - start);

				for (uint32_t i = start; i < end; i++)
					covered -= i >= 5 && i < 10;
				assert_int_equal(input(&q, 0, start * k, (end - start) * k), 0);
				assert_int_equal(input(&q, 0, 5 * k, 5 * k), 0);
				assert_int_equal(ooo_bytes(&q), covered * k);
				apus_rcvq_check(&q);
				assert_int_equal(input(&q, 0, 0, 16 * k), 16 * k);
				assert_reads(&q, 0, 16 * k);
				assert_int_equal(gaps(&q), 0);
				apus_rcvq_fini(&q);
			}
		}
	}
}

static void duplicate_is_nothing_new(void **state)
{
	struct apus_rcvq q = opened();

	assert_int_equal(input(&q, 100, 500, 200), 0);
	assert_int_equal(input(&q, 100, 500, 200), 0);
	assert_int_equal(input(&q, 100, 550, 50), 0);
	assert_int_equal(input(&q, 100, 0, 100), 0); /* before RCV.NXT */
	assert_int_equal(input(&q, 100, 50, 20), 0);
	assert_int_equal(ooo_bytes(&q), 200);
	assert_int_equal(gaps(&q), 1);
	apus_rcvq_fini(&q);
}

static void text_from_before_nxt_delivers_the_new_part(void **state)
{
	struct apus_rcvq q = opened();

	assert_int_equal(input(&q, 100, 40, 100), 40);
	assert_reads(&q, 100, 40);
	apus_rcvq_fini(&q);
}

static void sequence_wraps_inside_out_of_order_text(void **state)
{
	struct apus_rcvq q = opened();
	uint32_t nxt = (uint32_t)-3000;

	assert_int_equal(input(&q, nxt, (uint32_t)-500, 1000), 0);
	assert_int_equal(input(&q, nxt, 500, 1000), 0);
	assert_int_equal(input(&q, nxt, (uint32_t)-2000, 1500), 0);
	assert_int_equal(input(&q, nxt, nxt, 1000), 4500);
	assert_reads(&q, nxt, 4500);
	apus_rcvq_fini(&q);
}

/* ---- limits ---- */

static void limit_of_gaps_drops_and_in_order_still_flows(void **state)
{
	struct apus_rcvq q = opened();
	uint32_t kept = 0;

	for (uint32_t i = 1; i <= 2 * APUS_OOO_RUNS_MAX; i++)
		kept += input(&q, 0, 2 * i, 1) == 0;
	assert_int_equal(kept, APUS_OOO_RUNS_MAX);
	assert_int_equal(gaps(&q), APUS_OOO_RUNS_MAX);
	assert_int_equal(rte_mempool_in_use_count(test_pool),
			 test_pool_used); /* single bytes hold no mbuf */
	assert_int_equal(input(&q, 0, 0, 2), 3);
	apus_rcvq_check(&q);
	apus_rcvq_fini(&q);
}

static void memory_limit_counts_buffers_not_bytes(void **state)
{
	struct apus_rcvq q;
	uint32_t kept = 0;

	apus_rcvq_init(&q, &nodes, 100 * 1024);
	for (uint32_t i = 1; i <= 1000; i++)
		kept += input(&q, 0, 1000 * i, 100) == 0;
	assert_in_range(kept, 20, 50); /* 100 KiB of text would be a thousand */
	assert_true(apus_rcvq_ooo_held(&q) <= 100 * 1024);
	apus_rcvq_check(&q);
	apus_rcvq_fini(&q);
}

static void neighbours_out_of_order_are_packed(void **state)
{
	struct apus_rcvq q = opened();

	for (uint32_t seq = 1000; seq < 3000; seq += 100)
		assert_int_equal(input(&q, 0, seq, 100), 0);
	assert_true(rte_mempool_in_use_count(test_pool) <= 3);
	apus_rcvq_check(&q);
	assert_int_equal(input(&q, 0, 0, 1000), 3000);
	assert_reads(&q, 0, 3000);
	apus_rcvq_fini(&q);
}

static void no_object_drops_and_leaks_nothing(void **state)
{
	struct apus_ooo_pool two; /* of which the tree's head takes one */
	struct apus_rcvq q;

	apus_ooo_pool_init(&two, &heap, 2, 1);
	apus_rcvq_init(&q, &two, LIMIT_HELD);
	assert_int_equal(input(&q, 0, 1000, 10), 0);
	assert_int_equal(input(&q, 0, 2000, 10), -ENOBUFS);
	assert_int_equal(input(&q, 0, 3000, 600), -ENOBUFS);
	assert_int_equal(input(&q, 0, 0, 1000), 1010);
	assert_int_equal(input(&q, 1010, 2000, 10), 0);
	apus_rcvq_fini(&q);
	assert_int_equal(two.objects.used, 0);
	apus_ooo_pool_fini(&two);
}

static void dropped_out_of_order_text_is_taken_when_it_comes_again(void **state)
{
	struct apus_rcvq q = opened();

	for (uint32_t i = 1; i < 50; i++)
		assert_int_equal(input(&q, 0, i * 1000, 700), 0);
	apus_rcvq_drop_ooo(&q);
	assert_int_equal(apus_rcvq_ooo_held(&q), 0);
	assert_int_equal(input(&q, 0, 0, 1000), 1000);
	assert_int_equal(input(&q, 1000, 1000, 700), 700);
	assert_reads(&q, 0, 1700);
	apus_rcvq_fini(&q);
}

/* The text in a node needs an mbuf to go into when the tail is full: without one it waits. */
static void empty_pool_keeps_the_small_text_for_later(void **state)
{
	static struct rte_mbuf *taken[TEST_POOL_MBUFS];
	struct apus_rcvq q = opened();
	uint8_t full[RTE_MBUF_DEFAULT_BUF_SIZE - RTE_PKTMBUF_HEADROOM];
	struct rte_mbuf *m;
	unsigned int n = 0;

	test_fill(full, 0, sizeof(full));
	m = test_mbuf(full, sizeof(full), sizeof(full));
	assert_int_equal(input(&q, 0, sizeof(full), 50), 0);
	while (n < apus_countof(taken) && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	assert_int_equal(apus_rcvq_input(&q, m, (struct apus_ooo_text){0, 0, sizeof(full)}, 0),
			 sizeof(full));
	assert_int_equal(gaps(&q), 1);
	apus_rcvq_check(&q);
	while (n > 0)
		rte_pktmbuf_free(taken[--n]);
	/* The peer sends it again, with more. */
	assert_int_equal(input(&q, sizeof(full), sizeof(full), 60), 60);
	assert_int_equal(gaps(&q), 0);
	assert_reads(&q, 0, sizeof(full) + 60);
	apus_rcvq_fini(&q);
}

/* Indirect mbufs may come from a pool that has no room for bytes at all. */
static void pool_of_bare_headers_keeps_the_small_text_for_later(void **state)
{
	struct rte_mempool *bare =
		rte_pktmbuf_pool_create("bare", 7, 0, 0, RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	struct apus_rcvq q = opened();
	struct rte_mbuf *m = rte_pktmbuf_alloc(bare), *owner;
	uint8_t bytes[10];

	assert_non_null(bare);
	test_fill(bytes, 0, sizeof(bytes));
	owner = test_mbuf(bytes, sizeof(bytes), sizeof(bytes));
	rte_pktmbuf_attach(m, owner);
	rte_pktmbuf_free(owner);
	assert_int_equal(input(&q, 0, 10, 5), 0);
	assert_int_equal(apus_rcvq_input(&q, m, (struct apus_ooo_text){0, 0, 10}, 0), 10);
	assert_int_equal(gaps(&q), 1);
	assert_int_equal(rte_mempool_in_use_count(bare), 1);
	assert_int_equal(input(&q, 10, 10, 5), 5);
	assert_reads(&q, 0, 15);
	apus_rcvq_fini(&q);
	rte_mempool_free(bare);
}

/* ---- SegmentSmack ---- */

#define WORST 10000

static uint32_t permuted(uint32_t i, uint32_t n, int order)
{
	switch (order) {
	case 0: /* ascending */
		return i;
	case 1: /* descending */
		return n - 1 - i;
	case 2: /* from both ends to the middle */
		return i % 2 ? n - 1 - i / 2 : i / 2;
	default: /* scattered: 7919 is prime to 2^k and to 10^k */
		return (uint32_t)((uint64_t)i * 7919 % n);
	}
}

/* Every second byte: a list would be walked 8 million times; the check proves the tree is shallow. */
static void single_bytes_between_gaps_leave_the_tree_shallow(void **state)
{
	const uint32_t n = APUS_OOO_RUNS_MAX;

	for (int order = 0; order < 4; order++) {
		struct apus_rcvq q = opened();

		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(input(&q, 0, 2 * permuted(i, n, order) + 1, 1), 0);
		assert_int_equal(gaps(&q), n);
		apus_rcvq_check(&q);
		for (uint32_t i = 0; i < n; i++) /* the holes, from the far end: all at the last */
			assert_int_equal(input(&q, 0, 2 * (n - 1 - i), 1), i + 1 < n ? 0 : 2 * n);
		assert_reads(&q, 0, 2 * n);
		apus_rcvq_fini(&q);
	}
}

/* Single bytes without gaps, in any order, hold buffers for their number and not for each. */
static void single_bytes_in_any_order_fill_buffers(void **state)
{
	for (int order = 0; order < 4; order++) {
		struct apus_rcvq q = opened();

		for (uint32_t i = 0; i < WORST; i++)
			assert_int_equal(input(&q, 0, 1 + permuted(i, WORST, order), 1), 0);
		assert_int_equal(gaps(&q), 1);
		assert_int_equal(ooo_bytes(&q), WORST);
		assert_true(rte_mempool_in_use_count(test_pool) - test_pool_used <= 200);
		apus_rcvq_check(&q);
		assert_int_equal(input(&q, 0, 0, 1), WORST + 1);
		assert_reads(&q, 0, WORST + 1);
		apus_rcvq_fini(&q);
	}
}

/* ---- against an array ---- */

#define WINDOW 8192

struct world {
	struct apus_rcvq q;
	uint64_t random;
	uint32_t nxt, unread; /* RCV.NXT, and where the reader is */
	bool came[WINDOW];    /* by sequence number modulo the window */
};

/* One segment somewhere around the window, cut to it as the machine does. */
static void world_input(struct world *w, uint32_t max_bytes)
{
	uint32_t behind = (uint32_t)test_random_below(&w->random, 3) ? 0 : 300;
	uint32_t seq = w->nxt + (uint32_t)test_random_below(&w->random, WINDOW / 2) - behind;
	uint32_t bytes = (uint32_t)test_random_below(&w->random, max_bytes) + 1;
	uint32_t piece = 47 + (uint32_t)test_random_below(&w->random, 1500);
	uint32_t before = w->nxt;
	int64_t moved;

	if (!test_random_below(&w->random, 4))
		seq = w->nxt;
	for (uint32_t i = 0; i < bytes; i++)
		if ((int32_t)(seq + i - w->nxt) >= 0)
			w->came[(seq + i) % WINDOW] = true;
	moved = input_pieces(&w->q, w->nxt, seq, bytes, piece);
	assert_true(moved >= 0);
	while (w->came[w->nxt % WINDOW]) {
		w->came[w->nxt % WINDOW] = false;
		w->nxt++;
	}
	assert_int_equal(moved, w->nxt - before);
}

static void world_read(struct world *w)
{
	uint32_t bytes = (uint32_t)test_random_below(&w->random, w->q.bytes + 1);

	assert_reads(&w->q, w->unread, bytes);
	w->unread += bytes;
}

static uint32_t world_out_of_order(const struct world *w)
{
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < WINDOW; i++)
		bytes += w->came[i];
	return bytes;
}

static void queue_behaves_as_an_array_of_bytes(void **state)
{
	test_each_seed(seed, 600)
	{
		static struct world w;
		uint32_t max_bytes = 1U << (1 + seed % 11);

		w = (struct world){.random = seed, .nxt = (uint32_t)(0 - seed * 7)};
		w.unread = w.nxt;
		apus_rcvq_init(&w.q, &nodes, 16U << 20);
		for (int step = 0; step < 200; step++) {
			world_input(&w, max_bytes);
			if (!test_random_below(&w.random, 4))
				world_read(&w);
			apus_rcvq_check(&w.q);
			assert_int_equal(w.q.bytes, w.nxt - w.unread);
			assert_int_equal(ooo_bytes(&w.q), world_out_of_order(&w));
		}
		assert_reads(&w.q, w.unread, w.q.bytes);
		apus_rcvq_fini(&w.q);
		assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used);
		assert_int_equal(nodes.objects.used, 0);
	}
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, test_pool_count, nothing_is_left)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_of(in_order_text_is_queued_without_copying),
		test_of(read_takes_at_most_what_is_there),
		test_of(vector_is_filled_in_order),
		test_of(vector_that_is_too_small_leaves_the_rest),
		test_of(peek_lends_what_consume_drops),
		test_of(unread_single_bytes_are_packed),
		test_of(shared_buffer_is_not_written_behind_its_end),
		test_of(hole_filled_delivers_all_behind_it),
		test_of(hole_left_stops_delivery_there),
		test_of(text_covered_to_its_last_byte_is_dropped),
		test_of(each_overlap_of_two_is_cut),
		test_of(duplicate_is_nothing_new),
		test_of(text_from_before_nxt_delivers_the_new_part),
		test_of(sequence_wraps_inside_out_of_order_text),
		test_of(limit_of_gaps_drops_and_in_order_still_flows),
		test_of(memory_limit_counts_buffers_not_bytes),
		test_of(neighbours_out_of_order_are_packed),
		test_of(no_object_drops_and_leaks_nothing),
		test_of(dropped_out_of_order_text_is_taken_when_it_comes_again),
		test_of(empty_pool_keeps_the_small_text_for_later),
		test_of(pool_of_bare_headers_keeps_the_small_text_for_later),
		test_of(single_bytes_between_gaps_leave_the_tree_shallow),
		test_of(single_bytes_in_any_order_fill_buffers),
		test_of(queue_behaves_as_an_array_of_bytes),
	};

	test_options(argc, argv);
	return test_finish(cmocka_run_group_tests(tests, open_nodes, close_nodes));
}
