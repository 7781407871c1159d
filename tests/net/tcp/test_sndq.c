/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_sndq.c: the send queue against a plain array of bytes, with segments that
 * outlive what they were cut from.
 */
#include "tests/net/tcp/tcp_test.h"

#include "net/tcp/sndq.h"

#define ROOM      RTE_MBUF_DEFAULT_BUF_SIZE /* the whole of a queue mbuf */
#define ALL       (1U << 30)
#define BYTES_MAX 100000

static size_t append_at(struct apus_sndq *q, uint64_t position, size_t bytes)
{
	static uint8_t from[BYTES_MAX];
	struct iovec iov = {from, bytes};

	apus_must(bytes <= BYTES_MAX);
	test_fill(from, position, bytes);
	return apus_sndq_append(q, &iov, 1);
}

static bool put_at(struct apus_sndq *q, uint64_t position, size_t bytes)
{
	uint8_t *room = apus_sndq_room(q, bytes);

	if (!room)
		return false;
	test_fill(room, position, bytes);
	apus_sndq_filled(q, bytes);
	return true;
}

/* Is the segment the bytes of the stream from `position`? */
static void assert_stream(const struct rte_mbuf *m, uint64_t position, uint32_t bytes)
{
	static uint8_t got[BYTES_MAX], expected[BYTES_MAX];
	uint16_t mbufs = 0;

	apus_must(m);
	for (const struct rte_mbuf *piece = m; piece; piece = piece->next) {
		assert_true(piece == m || piece->data_len > 0); /* some drivers refuse empty ones */
		mbufs++;
	}
	assert_int_equal(m->nb_segs, mbufs);
	assert_int_equal(m->pkt_len, bytes);
	assert_int_equal(test_mbuf_bytes(m, got, sizeof(got)), bytes);
	test_fill(expected, position, bytes);
	assert_memory_equal(got, expected, bytes);
}

static struct rte_mbuf *slice(struct apus_sndq *q, uint32_t offset, uint32_t bytes)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(test_pool);

	apus_must(m);
	assert_int_equal(apus_sndq_attach(q, offset, bytes, m), 0);
	return m;
}

static void small_writes_share_an_mbuf(void **state)
{
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	for (uint64_t i = 0; i < 10 * ROOM; i++)
		assert_int_equal(append_at(&q, i, 1), 1);
	assert_int_equal(rte_mempool_in_use_count(test_pool), 10);
	apus_sndq_check(&q);
	apus_sndq_fini(&q);
}

static void full_queue_takes_only_what_fits(void **state)
{
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, 1000);
	assert_int_equal(append_at(&q, 0, 999), 999);
	assert_int_equal(append_at(&q, 999, 10), 1);
	assert_int_equal(append_at(&q, 1000, 10), 0);
	assert_int_equal(apus_sndq_space(&q), 0);
	apus_sndq_ack(&q, 300);
	assert_int_equal(apus_sndq_space(&q), 300);
	apus_sndq_set_limit(&q, 10);
	assert_int_equal(apus_sndq_space(&q), 0); /* what is queued stays */
	assert_int_equal(q.bytes, 700);
	apus_sndq_fini(&q);
}

static void vector_is_taken_in_order_and_cut_where_it_is_full(void **state)
{
	char a[] = "abc", b[] = "", c[] = "defgh";
	struct iovec iov[] = {{a, 3}, {b, 0}, {c, 5}};
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, 6);
	assert_int_equal(apus_sndq_append(&q, iov, 3), 6);
	m = slice(&q, 0, 6);
	assert_memory_equal(rte_pktmbuf_mtod(m, char *), "abcdef", 6);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

static void piece_is_put_into_one_mbuf_or_not_at_all(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_false(put_at(&q, 0, ROOM + 1));
	assert_null(apus_sndq_room(&q, SIZE_MAX));
	assert_null(q.head);
	assert_true(put_at(&q, 0, ROOM - 5));
	assert_false(put_at(&q, ROOM - 5, 6));
	assert_null(apus_sndq_room(&q, SIZE_MAX)); /* not even with what is queued added to it */
	assert_true(put_at(&q, ROOM - 5, 5));
	assert_false(put_at(&q, ROOM, 1));
	apus_sndq_check(&q);
	m = slice(&q, 10, ROOM - 10);
	assert_stream(m, 10, ROOM - 10);
	rte_pktmbuf_free(m);
	apus_sndq_ack(&q, ROOM);
	apus_sndq_rest(&q);
	assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used);
	apus_sndq_set_limit(&q, 10);
	assert_false(put_at(&q, ROOM, 11));
	assert_true(put_at(&q, ROOM, 10));
	apus_sndq_fini(&q);
}

static void empty_pool_takes_what_the_last_mbuf_holds(void **state)
{
	static struct rte_mbuf *taken[TEST_POOL_MBUFS];
	unsigned int n = 0;
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 10), 10);
	while (n < apus_countof(taken) && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	assert_int_equal(append_at(&q, 10, 5000), ROOM - 10);
	assert_int_equal(append_at(&q, ROOM, 5000), 0);
	apus_sndq_check(&q);

	/* A large slice finds no mbuf, and the header stays as it was; a small one needs none. */
	assert_int_equal(apus_sndq_attach(&q, 0, 1000, taken[0]), -ENOBUFS);
	assert_int_equal(taken[0]->pkt_len, 0);
	assert_null(taken[0]->next);
	assert_int_equal(apus_sndq_attach(&q, 3, 100, taken[0]), 0);
	assert_stream(taken[0], 3, 100);

	/* Nor with one mbuf where two are needed; the one goes back. */
	while (n > 2)
		rte_pktmbuf_free(taken[--n]);
	assert_int_equal(append_at(&q, ROOM, 1000), 1000);
	while (n < apus_countof(taken) && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	rte_pktmbuf_free(taken[--n]);
	assert_int_equal(apus_sndq_attach(&q, ROOM - 500, 1000, taken[1]), -ENOBUFS);
	assert_int_equal(rte_mempool_avail_count(test_pool), 1);
	while (n > 0)
		rte_pktmbuf_free(taken[--n]);
	apus_sndq_fini(&q);
}

static void small_slice_is_copied_and_large_one_lent(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 4000), 4000);
	m = slice(&q, 5, 100);
	assert_int_equal(m->nb_segs, 1);
	assert_stream(m, 5, 100);
	rte_pktmbuf_free(m);
	m = slice(&q, 0, 1448);
	assert_int_equal(m->nb_segs, 2);
	assert_ptr_equal(rte_pktmbuf_mtod(m->next, void *), rte_pktmbuf_mtod(q.head, void *));
	assert_stream(m, 0, 1448);
	rte_pktmbuf_free(m);
	m = slice(&q, 1448, 1448); /* over the edge of an mbuf */
	assert_int_equal(m->nb_segs, 3);
	assert_stream(m, 1448, 1448);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

static void slice_joins_what_the_segment_holds_already(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 4000), 4000);
	m = slice(&q, 0, 600);
	assert_int_equal(apus_sndq_attach(&q, 600, 700, m), 0);
	assert_int_equal(apus_sndq_attach(&q, 1300, 3, m), 0);
	assert_stream(m, 0, 1303);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

/* A run: no piece is in two segments, and before each segment but the first there may be a spare. */
static void run_is_cut_where_segments_begin(void **state)
{
	const uint32_t mss = 1448, bytes = 20 * mss + 7;
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, BYTES_MAX), BYTES_MAX);
	for (int spare = 0; spare < 2; spare++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(test_pool);
		uint32_t at = 0, spares = 0;

		assert_int_equal(apus_sndq_attach_run(&q, 777, bytes, mss, spare, UINT16_MAX, m),
				 0);
		for (struct rte_mbuf *piece = m->next; piece; piece = piece->next) {
			if (spare && at && at % mss == 0 && !piece->data_len) {
				assert_true(RTE_MBUF_DIRECT(piece));
				spares++;
				continue;
			}
			assert_true(piece->data_len > 0);
			assert_true(at % mss + piece->data_len <= mss);
			at += piece->data_len;
		}
		assert_int_equal(spares, spare ? 20 : 0);
		assert_int_equal(at, bytes);
		if (!spare)
			assert_stream(m, 777, bytes);
		apus_sndq_check(&q);
		rte_pktmbuf_free(m);
	}
	apus_sndq_fini(&q);
}

static void run_of_more_mbufs_than_the_device_takes_is_refused(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(test_pool);
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, BYTES_MAX), BYTES_MAX);
	assert_int_equal(apus_sndq_attach_run(&q, 0, 10 * ROOM, 1448, false, 11, m), -ENOBUFS);
	assert_int_equal(m->nb_segs, 1);
	assert_null(m->next);
	assert_int_equal(apus_sndq_attach_run(&q, 0, 1448, 1448, false, 2, m), 0);
	assert_int_equal(m->nb_segs, 2);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

static void run_that_finds_no_mbufs_leaves_the_header_alone(void **state)
{
	static struct rte_mbuf *taken[TEST_POOL_MBUFS];
	unsigned int n = 0;
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, BYTES_MAX), BYTES_MAX);
	while (n < apus_countof(taken) && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	for (unsigned int left = 0; left < 10; left++) {
		assert_int_equal(
			apus_sndq_attach_run(&q, 0, 20000, 1448, true, UINT16_MAX, taken[0]),
			-ENOBUFS);
		assert_int_equal(taken[0]->pkt_len, 0);
		assert_int_equal(taken[0]->nb_segs, 1);
		assert_null(taken[0]->next);
		assert_int_equal(rte_mempool_avail_count(test_pool), left);
		rte_pktmbuf_free(taken[--n]);
	}
	while (n > 0)
		rte_pktmbuf_free(taken[--n]);
	apus_sndq_fini(&q);
}

static void acknowledged_buffer_lives_until_the_driver_lets_go(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 1000), 1000);
	m = slice(&q, 0, 1000);
	apus_sndq_ack(&q, 1000);
	assert_null(q.head);
	assert_int_equal(append_at(&q, 1000, 1000), 1000); /* does not reuse the buffer */
	assert_stream(m, 0, 1000);
	assert_int_equal(rte_mempool_in_use_count(test_pool), 4);
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_in_use_count(test_pool), 1);
	apus_sndq_fini(&q);
}

static void acknowledged_mbuf_is_kept_for_the_next_bytes(void **state)
{
	struct rte_mbuf *first, *m;
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	q.front = (uint32_t)-150;
	assert_true(put_at(&q, 0, 100));
	first = q.head;
	for (uint64_t at = 100; at < 5 * ROOM; at += 100) {
		rte_pktmbuf_free(slice(&q, 0, 100));
		apus_sndq_ack(&q, 100);
		apus_sndq_check(&q);
		assert_int_equal(q.bytes, 0);
		if (at % 200)
			assert_int_equal(append_at(&q, at, 100), 100);
		else
			assert_true(put_at(&q, at, 100));
		apus_sndq_check(&q);
		assert_ptr_equal(q.head, first);
		m = slice(&q, 20, 80);
		assert_stream(m, at + 20, 80);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used + 1);
	apus_sndq_ack(&q, 100);
	apus_sndq_rest(&q);
	assert_null(q.head);
	assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used);
	apus_sndq_rest(&q); /* of none: nothing */
	apus_sndq_check(&q);
	apus_sndq_fini(&q);
}

static void queue_with_bytes_rests_as_it_is(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 2 * ROOM), 2 * ROOM);
	apus_sndq_ack(&q, ROOM + 1); /* not all, and not in one mbuf */
	apus_sndq_rest(&q);
	apus_sndq_check(&q);
	m = slice(&q, 0, ROOM - 1);
	assert_stream(m, ROOM + 1, ROOM - 1);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

static void queue_that_keeps_an_mbuf_leaves_nothing_behind(void **state)
{
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_true(put_at(&q, 0, 100));
	apus_sndq_ack(&q, 100);
	assert_non_null(q.head);
	apus_sndq_ack(&q, 0); /* a FIN's */
	apus_sndq_check(&q);
	apus_sndq_fini(&q);
	assert_null(q.head);
	assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used);
}

static void forget_lent(void *addr, void *opaque)
{
}

static void lent_bytes_do_not_follow_a_kept_mbuf(void **state)
{
	static uint8_t bytes[10000];
	struct rte_mbuf_ext_shared_info shinfo = {.free_cb = forget_lent};
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	test_fill(bytes, 100, sizeof(bytes));
	rte_mbuf_ext_refcnt_set(&shinfo, 1);
	assert_true(put_at(&q, 0, 100));
	apus_sndq_ack(&q, 100);
	assert_int_equal(
		apus_sndq_append_lent(&q, bytes, sizeof(bytes), (rte_iova_t)bytes, &shinfo),
		sizeof(bytes));
	apus_sndq_check(&q);
	assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used + 1);
	m = slice(&q, 0, sizeof(bytes));
	assert_stream(m, 100, sizeof(bytes));
	rte_pktmbuf_free(m);
	apus_sndq_ack(&q, sizeof(bytes)); /* such an mbuf is not kept: its bytes are the user's */
	assert_null(q.head);
	assert_int_equal(rte_mbuf_ext_refcnt_read(&shinfo), 1);
	apus_sndq_fini(&q);
}

static void append_behind_a_lent_slice_does_not_change_it(void **state)
{
	struct apus_sndq q;
	struct rte_mbuf *m;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 1000), 1000);
	m = slice(&q, 0, 1000);
	assert_int_equal(append_at(&q, 1000, 500), 500);
	assert_ptr_equal(q.head, q.tail); /* into the same mbuf */
	assert_stream(m, 0, 1000);
	rte_pktmbuf_free(m);
	m = slice(&q, 0, 1500);
	assert_stream(m, 0, 1500);
	rte_pktmbuf_free(m);
	apus_sndq_fini(&q);
}

/*
 * Where the last slice ended is remembered twice, at the far end and behind it, so that neither
 * sending nor sending again walks the queue from its head.
 */
static void places_follow_sending_and_sending_again(void **state)
{
	const uint32_t mss = 1448, bytes = 2000000;
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	for (uint32_t at = 0; at < bytes; at += BYTES_MAX)
		assert_int_equal(append_at(&q, at, BYTES_MAX), BYTES_MAX);
	for (uint32_t at = 0; at + mss <= bytes; at += mss) {
		rte_pktmbuf_free(slice(&q, at, mss));
		assert_in_range(q.forward_position + ROOM, at + mss, at + mss + ROOM - 1);
	}
	for (uint32_t at = 0; at + mss <= bytes / 2; at += mss) {
		rte_pktmbuf_free(slice(&q, at, mss));
		assert_in_range(q.back_position + ROOM, at + mss, at + mss + ROOM - 1);
		assert_true(q.forward_position > bytes - mss - ROOM);
	}
	apus_sndq_check(&q);
	apus_sndq_fini(&q);
}

static void places_are_forgotten_with_their_mbufs(void **state)
{
	struct apus_sndq q;

	apus_sndq_init(&q, test_pool, ALL);
	assert_int_equal(append_at(&q, 0, 5 * ROOM), 5 * ROOM);
	rte_pktmbuf_free(slice(&q, 4 * ROOM, 1000));
	rte_pktmbuf_free(slice(&q, 2 * ROOM, 1000));
	assert_ptr_not_equal(q.forward, q.back);
	apus_sndq_ack(&q, 3 * ROOM);
	assert_null(q.back);
	assert_non_null(q.forward);
	apus_sndq_ack(&q, 2 * ROOM);
	assert_null(q.forward);
	apus_sndq_fini(&q);
}

/* ---- against an array ---- */

#define FLIGHT_MAX 64

struct world {
	struct apus_sndq q;
	uint64_t random, una, end;
	struct {
		struct rte_mbuf *m;
		uint64_t position;
		uint32_t bytes;
	} flight[FLIGHT_MAX];
	uint32_t flights;
};

static void world_write(struct world *w)
{
	uint32_t bytes = (uint32_t)test_random_below(&w->random, 5) ? 50 : 6000;

	bytes = (uint32_t)test_random_below(&w->random, bytes) + 1;
	if (test_random_below(&w->random, 2))
		bytes = (uint32_t)append_at(&w->q, w->end, bytes);
	else if (!put_at(&w->q, w->end, bytes))
		bytes = 0;
	w->end += bytes;
}

static void world_send(struct world *w)
{
	uint32_t queued = (uint32_t)(w->end - w->una), offset, bytes;

	if (!queued || w->flights == FLIGHT_MAX)
		return;
	offset = (uint32_t)test_random_below(&w->random, queued);
	bytes = (uint32_t)test_random_below(&w->random, apus_min(queued - offset, 5000U)) + 1;
	w->flight[w->flights].m = slice(&w->q, offset, bytes);
	w->flight[w->flights].position = w->una + offset;
	w->flight[w->flights].bytes = bytes;
	w->flights++;
}

static void world_deliver(struct world *w)
{
	uint32_t i;

	if (!w->flights)
		return;
	i = (uint32_t)test_random_below(&w->random, w->flights);
	assert_stream(w->flight[i].m, w->flight[i].position, w->flight[i].bytes);
	rte_pktmbuf_free(w->flight[i].m);
	w->flight[i] = w->flight[--w->flights];
}

static void world_ack(struct world *w)
{
	uint32_t bytes = (uint32_t)test_random_below(&w->random, w->end - w->una + 1);

	if (!test_random_below(&w->random, 4))
		bytes = (uint32_t)(w->end - w->una);
	apus_sndq_ack(&w->q, bytes);
	w->una += bytes;
	if (test_random_below(&w->random, 2)) {
		apus_sndq_rest(&w->q);
		assert_true(w->q.bytes || !w->q.head);
	}
}

static void queue_behaves_as_an_array_of_bytes(void **state)
{
	test_each_seed(seed, 200)
	{
		struct world w = {.random = seed};

		apus_sndq_init(&w.q, test_pool, 60000);
		w.q.front = (uint32_t)-5000; /* positions wrap */
		for (int step = 0; step < 500; step++) {
			switch (test_random_below(&w.random, 8)) {
			case 0:
			case 1:
			case 2:
				world_write(&w);
				break;
			case 3:
			case 4:
				world_send(&w);
				break;
			case 5:
			case 6:
				world_deliver(&w);
				break;
			default:
				world_ack(&w);
				break;
			}
			assert_int_equal(w.q.bytes, w.end - w.una);
			apus_sndq_check(&w.q);
		}
		while (w.flights)
			world_deliver(&w);
		apus_sndq_fini(&w.q);
		assert_int_equal(rte_mempool_in_use_count(test_pool), test_pool_used);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(small_writes_share_an_mbuf),
		test_with_pool(full_queue_takes_only_what_fits),
		test_with_pool(vector_is_taken_in_order_and_cut_where_it_is_full),
		test_with_pool(piece_is_put_into_one_mbuf_or_not_at_all),
		test_with_pool(empty_pool_takes_what_the_last_mbuf_holds),
		test_with_pool(small_slice_is_copied_and_large_one_lent),
		test_with_pool(slice_joins_what_the_segment_holds_already),
		test_with_pool(run_is_cut_where_segments_begin),
		test_with_pool(run_of_more_mbufs_than_the_device_takes_is_refused),
		test_with_pool(run_that_finds_no_mbufs_leaves_the_header_alone),
		test_with_pool(acknowledged_buffer_lives_until_the_driver_lets_go),
		test_with_pool(acknowledged_mbuf_is_kept_for_the_next_bytes),
		test_with_pool(queue_with_bytes_rests_as_it_is),
		test_with_pool(queue_that_keeps_an_mbuf_leaves_nothing_behind),
		test_with_pool(lent_bytes_do_not_follow_a_kept_mbuf),
		test_with_pool(append_behind_a_lent_slice_does_not_change_it),
		test_with_pool(places_follow_sending_and_sending_again),
		test_with_pool(places_are_forgotten_with_their_mbufs),
		test_with_pool(queue_behaves_as_an_array_of_bytes),
	};

	return test_main_with_pool(argc, argv, tests);
}
