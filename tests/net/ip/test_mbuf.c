/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_mbuf.c: packets cut into segments anywhere, and the token bucket.
 */
#include "net/ip/bucket.h"
#include "net/ip/mbuf.h"
#include "runtime/base/random.h"
#include "tests/net/net_test.h"

#include <rte_ip.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BYTES 300

static struct rte_mempool *pool;
static uint8_t data[BYTES];

static int group_setup(void **state)
{
	apus_test_eal();
	pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i * 151 + 13);
	return pool ? 0 : -1;
}

static int teardown(void **state)
{
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

/* `data` in segments of 1 to @segment_max bytes. */
static struct rte_mbuf *chain(struct apus_random *r, uint32_t segment_max)
{
	struct rte_mbuf *m = NULL, **at = &m;
	uint32_t done = 0, segs = 0;

	while (done < BYTES) {
		uint32_t part = 1 + (uint32_t)apus_random_below(r, segment_max);

		part = apus_min(part, BYTES - done);
		*at = rte_pktmbuf_alloc(pool);
		memcpy(rte_pktmbuf_mtod(*at, char *), data + done, part);
		(*at)->data_len = (uint16_t)part;
		done += part;
		at = &(*at)->next;
		segs++;
	}
	m->nb_segs = (uint16_t)segs;
	m->pkt_len = BYTES;
	return m;
}

static void assert_is_data(const struct rte_mbuf *m, uint32_t bytes)
{
	uint8_t copy[BYTES];
	const void *p = rte_pktmbuf_read(m, 0, bytes, copy);

	rte_mbuf_sanity_check(m, 1);
	assert_int_equal(m->pkt_len, bytes);
	if (bytes)
		assert_memory_equal(p, data, bytes);
}

static void pull_makes_each_length_contiguous(void **state)
{
	struct apus_random r;

	apus_random_init_seed(&r, 1);
	for (uint32_t bytes = 0; bytes <= BYTES; bytes++) {
		struct rte_mbuf *m = chain(&r, 1 + bytes % 40);

		assert_true(apus_mbuf_pull(m, bytes));
		assert_true(m->data_len >= bytes);
		assert_is_data(m, BYTES);
		rte_pktmbuf_free(m);
	}
}

static void pull_beyond_the_packet_fails_and_changes_nothing(void **state)
{
	struct apus_random r;
	struct rte_mbuf *m;

	apus_random_init_seed(&r, 2);
	m = chain(&r, 10);
	assert_false(apus_mbuf_pull(m, BYTES + 1));
	assert_is_data(m, BYTES);
	rte_pktmbuf_free(m);
}

static void pull_without_room_fails_and_changes_nothing(void **state)
{
	struct apus_random r;
	struct rte_mbuf *m;

	apus_random_init_seed(&r, 3);
	m = chain(&r, 10);
	/* As if the device had put the frame at the end of the buffer. */
	memmove((char *)m->buf_addr + m->buf_len - m->data_len, rte_pktmbuf_mtod(m, char *),
		m->data_len);
	m->data_off = m->buf_len - m->data_len;
	assert_false(apus_mbuf_pull(m, 100));
	assert_is_data(m, BYTES);
	rte_pktmbuf_free(m);
}

static void pull_does_not_write_to_shared_buffers(void **state)
{
	struct apus_random r;
	struct rte_mbuf *m;

	apus_random_init_seed(&r, 4);
	m = chain(&r, 10);
	rte_mbuf_refcnt_update(m->next, 1);
	assert_false(apus_mbuf_pull(m, 100));
	rte_mbuf_refcnt_update(m->next, -1);
	assert_is_data(m, BYTES);
	rte_pktmbuf_free(m);
}

static void trim_leaves_each_length(void **state)
{
	struct apus_random r;

	apus_random_init_seed(&r, 5);
	for (uint32_t bytes = 0; bytes <= BYTES; bytes++) {
		struct rte_mbuf *m = chain(&r, 1 + bytes % 40);

		apus_mbuf_trim(m, bytes);
		assert_is_data(m, bytes);
		rte_pktmbuf_free(m);
	}
}

static void sum_of_segments_is_the_sum_of_the_whole(void **state)
{
	struct apus_random r;

	apus_random_init_seed(&r, 6);
	for (int i = 0; i < 2000; i++) {
		struct rte_mbuf *m = chain(&r, 1 + (uint32_t)apus_random_below(&r, 60));
		uint32_t offset = (uint32_t)apus_random_below(&r, BYTES + 1);
		uint32_t bytes = (uint32_t)apus_random_below(&r, BYTES - offset + 1);

		assert_int_equal(apus_sum_fold(apus_mbuf_sum(m, offset, bytes)),
				 rte_raw_cksum(data + offset, bytes));
		rte_pktmbuf_free(m);
	}
}

static void bucket_gives_its_burst_then_its_rate(void **state)
{
	struct apus_bucket b;
	int given = 0;

	apus_bucket_init(&b, 1000, 50);
	for (int i = 0; i < 200; i++)
		given += apus_bucket_take(&b, APUS_SEC);
	assert_int_equal(given, 50);
	for (int64_t t = 0; t < APUS_SEC; t += 100 * APUS_US)
		given += apus_bucket_take(&b, APUS_SEC + t);
	assert_in_range(given, 50 + 999, 50 + 1000);
}

static void bucket_never_holds_more_than_its_burst(void **state)
{
	struct apus_bucket b;
	int given = 0;

	apus_bucket_init(&b, 1000, 50);
	for (int i = 0; i < 200; i++)
		given += apus_bucket_take(&b, 3600 * APUS_SEC);
	assert_int_equal(given, 50);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pull_makes_each_length_contiguous),
		TEST(pull_beyond_the_packet_fails_and_changes_nothing),
		TEST(pull_without_room_fails_and_changes_nothing),
		TEST(pull_does_not_write_to_shared_buffers),
		TEST(trim_leaves_each_length),
		TEST(sum_of_segments_is_the_sum_of_the_whole),
		cmocka_unit_test(bucket_gives_its_burst_then_its_rate),
		cmocka_unit_test(bucket_never_holds_more_than_its_burst),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
