/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/tcp_test.h: for the tests of net/tcp: a pool of mbufs that must be full again at
 * the end of each test, and packets built by hand, with a checksum of the test's own.
 */
#ifndef APUS_TESTS_NET_TCP_TCP_TEST_H
#define APUS_TESTS_NET_TCP_TCP_TEST_H

#include "tests/net/net_test.h"
#include "tests/runtime/base_test.h"

#include <rte_mbuf.h>

#define TEST_POOL_MBUFS 16383

static struct rte_mempool *test_pool;

/* Group setup. */
APUS_UNUSED static int test_pool_open(void **state)
{
	apus_test_eal();
	test_pool = rte_pktmbuf_pool_create("test", TEST_POOL_MBUFS, 0, 0,
					    RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return test_pool ? 0 : -1;
}

APUS_UNUSED static int test_pool_close(void **state)
{
	rte_mempool_free(test_pool);
	return 0;
}

/* What a failed test has left behind is not the next one's fault. */
static unsigned int test_pool_used;

/* Test setup. */
APUS_UNUSED static int test_pool_count(void **state)
{
	test_pool_used = rte_mempool_in_use_count(test_pool);
	return 0;
}

/* Test teardown: fails the test that kept an mbuf. */
APUS_UNUSED static int test_pool_is_full(void **state)
{
	unsigned int in_use = rte_mempool_in_use_count(test_pool) - test_pool_used;

	if (in_use)
		fprintf(stderr, "%u mbufs leaked\n", in_use);
	return in_use ? -1 : 0;
}

/* As test_main(), with the pool. */
#define test_main_with_pool(argc, argv, tests) \
 (test_options(argc, argv),                    \
  test_finish(cmocka_run_group_tests(tests, test_pool_open, test_pool_close)))

#define test_with_pool(name) \
 cmocka_unit_test_setup_teardown(name, test_pool_count, test_pool_is_full)

/* The byte at a position of the streams that tests send. */
APUS_UNUSED static uint8_t test_byte(uint64_t position)
{
	uint64_t state = position / 8;

	return (uint8_t)(test_random(&state) >> position % 8 * 8);
}

APUS_UNUSED static void test_fill(uint8_t *to, uint64_t position, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = test_byte(position + i);
}

/* An mbuf that holds these bytes, a chain if they do not fit into one of @piece bytes. */
APUS_UNUSED static struct rte_mbuf *test_mbuf(const uint8_t *bytes, uint32_t count, uint32_t piece)
{
	struct rte_mbuf *first = NULL, *last = NULL;

	do {
		struct rte_mbuf *m = rte_pktmbuf_alloc(test_pool);
		uint32_t n = apus_min(count, piece);

		apus_must(m && n <= rte_pktmbuf_tailroom(m));
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes, n);
		bytes += n;
		count -= n;
		if (first) {
			first->nb_segs++;
			first->pkt_len += n;
			last->next = m;
		} else {
			first = m;
		}
		last = m;
	} while (count);
	return first;
}

/* The bytes of a chain. */
APUS_UNUSED static uint32_t test_mbuf_bytes(const struct rte_mbuf *m, uint8_t *to, uint32_t room)
{
	uint32_t bytes = 0;

	for (; m; m = m->next) {
		apus_must(bytes + m->data_len <= room);
		memcpy(to + bytes, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		bytes += m->data_len;
	}
	return bytes;
}

/* RFC 1071, as it is written there, a byte at a time. */
APUS_UNUSED static uint16_t test_checksum(const uint8_t *bytes, size_t count, uint32_t sum)
{
	for (size_t i = 0; i < count; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Of a TCP segment in an IPv4 packet without options: 0 when the one in it is right. */
APUS_UNUSED static uint16_t test_tcp_checksum(const uint8_t *ip, size_t bytes)
{
	uint32_t sum = 6 + (uint32_t)(bytes - 20);

	for (size_t i = 12; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	return test_checksum(ip + 20, bytes - 20, sum);
}

/*
 * Make `packet`, of `bytes` bytes with the TCP segment at 20 in place, a valid IPv4 packet from
 * 10.0.0.2 to 10.0.0.1.
 */
APUS_UNUSED static void test_packet_finish(uint8_t *packet, uint32_t bytes)
{
	static const uint8_t head[20] = {0x45, 0, 0,  0, 0, 0, 0x40, 0, 64, 6,
					 0,    0, 10, 0, 0, 2, 10,   0, 0,  1};
	uint16_t sum;

	memcpy(packet, head, sizeof(head));
	packet[2] = (uint8_t)(bytes >> 8);
	packet[3] = (uint8_t)bytes;
	sum = test_checksum(packet, 20, 0);
	packet[10] = (uint8_t)(sum >> 8);
	packet[11] = (uint8_t)sum;
	if (bytes < 38)
		return;
	packet[36] = packet[37] = 0;
	sum = test_tcp_checksum(packet, bytes);
	packet[36] = (uint8_t)(sum >> 8);
	packet[37] = (uint8_t)sum;
}

#endif
