/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_gso.c: large TCP frames cut into small ones: every byte once, every header as
 * if the segment had been made alone, whatever pieces the text comes in.
 */
#include "net/ip/gso.h"
#include "tests/net/tcp/tcp_test.h"

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#define TEXT_MAX   65000
#define SEQ        UINT32_C(0xfffff000) /* wraps within the run */
#define ALL_FLAGS  (RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_CWR_FLAG)
#define CHECKSUMS  (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
#define FRAMES_MAX 2000

struct run {
	uint32_t text_bytes;
	uint16_t segment_bytes;
	uint16_t l2_bytes; /* 14 or 18 */
	uint16_t options_bytes;
	uint16_t piece_max; /* of the chain's mbufs */
	bool spare;         /* empty mbufs where segments begin; pieces end there */
};

static uint8_t text[TEXT_MAX];

static struct rte_mbuf *header_of(const struct run *r)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(test_pool);
	uint16_t bytes = (uint16_t)(r->l2_bytes + 20 + 20 + r->options_bytes);
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, bytes);
	struct rte_ipv4_hdr *ip = (void *)(p + r->l2_bytes);
	struct rte_tcp_hdr *tcp = (void *)(ip + 1);

	test_fill(p, 1000, bytes);
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = 6,
		.src_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 1)),
		.dst_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 2)),
	};
	tcp->sent_seq = rte_cpu_to_be_32(SEQ);
	tcp->data_off = (uint8_t)((20 + r->options_bytes) / 4 << 4);
	tcp->tcp_flags = ALL_FLAGS;
	tcp->cksum = 0x1234;
	m->l2_len = r->l2_bytes;
	m->l3_len = 20;
	m->l4_len = 20u + r->options_bytes;
	m->tso_segsz = r->segment_bytes;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
	return m;
}

static struct rte_mbuf *frame_of(const struct run *r, uint64_t *random)
{
	struct rte_mbuf *m = header_of(r), *last = m;

	for (uint32_t at = 0; at < r->text_bytes;) {
		uint32_t in_segment = at % r->segment_bytes;
		uint32_t n = 1 + (uint32_t)test_random_below(random, r->piece_max);

		n = apus_min(n, r->text_bytes - at);
		if (r->spare) {
			n = apus_min(n, r->segment_bytes - in_segment);
			if (at && !in_segment) {
				last = last->next = rte_pktmbuf_alloc(test_pool);
				m->nb_segs++;
			}
		}
		last = last->next = rte_pktmbuf_alloc(test_pool);
		apus_must(last);
		memcpy(rte_pktmbuf_append(last, (uint16_t)n), text + at, n);
		m->nb_segs++;
		m->pkt_len += n;
		at += n;
	}
	return m;
}

/* What is left of the checksum when the device made its part: 0 when all is right. */
static uint16_t tcp_checksum_rest(const struct run *r, uint8_t *ip, uint32_t bytes,
				  uint64_t offloads)
{
	if (offloads &
	    RTE_ETH_TX_OFFLOAD_TCP_CKSUM) { /* do what it does: from the pseudo header on */
		uint16_t sum = test_checksum(ip + 20, bytes - 20, 0);

		ip[36] = (uint8_t)(sum >> 8);
		ip[37] = (uint8_t)sum;
	}
	return test_tcp_checksum(ip, bytes);
}

static void assert_frame(const struct run *r, const struct rte_mbuf *m, uint32_t at,
			 uint64_t offloads)
{
	static uint8_t got[TEXT_MAX];
	uint32_t headers = (uint32_t)r->l2_bytes + 40 + r->options_bytes;
	uint32_t bytes = apus_min(r->text_bytes - at, (uint32_t)r->segment_bytes);
	bool last = at + bytes == r->text_bytes;
	const struct rte_ipv4_hdr *ip = (void *)(got + r->l2_bytes);
	const struct rte_tcp_hdr *tcp = (void *)(ip + 1);
	uint8_t flags = RTE_TCP_ACK_FLAG;
	uint16_t segs = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next, segs++)
		assert_true(s->data_len > 0);
	assert_int_equal(segs, m->nb_segs);
	assert_int_equal(m->pkt_len, headers + bytes);
	assert_int_equal(test_mbuf_bytes(m, got, sizeof(got)), headers + bytes);
	assert_memory_equal(got + headers, text + at, bytes);
	assert_int_equal(rte_be_to_cpu_16(ip->total_length), headers - r->l2_bytes + bytes);
	assert_int_equal(rte_be_to_cpu_32(tcp->sent_seq), (uint32_t)(SEQ + at));
	if (last)
		flags |= RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG;
	if (!at)
		flags |= RTE_TCP_CWR_FLAG;
	assert_int_equal(tcp->tcp_flags, flags);

	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG, 0);
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM),
			 !!(offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM));
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM),
			 !!(offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM));
	assert_int_equal(m->l2_len, r->l2_bytes);
	assert_int_equal(m->l3_len, 20);
	assert_int_equal(m->l4_len, 20 + r->options_bytes);
	if (offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		assert_int_equal(ip->hdr_checksum, 0);
	else
		assert_int_equal(test_checksum((const uint8_t *)ip, 20, 0), 0);
	assert_int_equal(
		tcp_checksum_rest(r, got + r->l2_bytes, m->pkt_len - r->l2_bytes, offloads), 0);
}

static void cut_and_compare(const struct run *r, uint64_t offloads, uint64_t *random)
{
	static struct rte_mbuf *frames[FRAMES_MAX];
	struct rte_mbuf *m;
	struct apus_gso g;
	uint32_t n = 0, at = 0;

	apus_gso_begin(&g, frame_of(r, random), test_pool, offloads);
	while ((m = apus_gso_next(&g))) {
		apus_must(n < FRAMES_MAX);
		frames[n++] = m;
	}
	assert_int_equal(apus_gso_end(&g), 0);
	/* All are looked at after all are made: none may change what another one holds. */
	for (uint32_t i = 0; i < n; i++) {
		assert_frame(r, frames[i], at, offloads);
		at += apus_min(r->text_bytes - at, (uint32_t)r->segment_bytes);
		rte_pktmbuf_free(frames[i]);
	}
	assert_int_equal(at, r->text_bytes);
}

static void frames_are_what_single_segments_would_be(void **state)
{
	static const uint64_t offloads[] = {0, CHECKSUMS, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM,
					    RTE_ETH_TX_OFFLOAD_TCP_CKSUM};

	test_fill(text, 0, sizeof(text));
	test_each_seed(seed, 400)
	{
		uint64_t random = seed;
		struct run r = {
			.text_bytes = 1 + (uint32_t)test_random_below(&random, TEXT_MAX),
			.segment_bytes = (uint16_t)(48 + test_random_below(&random, 1413)),
			.l2_bytes = test_random_below(&random, 4) ? 14 : 18,
			.options_bytes = (uint16_t)(4 * test_random_below(&random, 11)),
			.piece_max = (uint16_t)(test_random_below(&random, 3) ? 2000 : 100),
			.spare = test_random_below(&random, 2),
		};

		cut_and_compare(&r, offloads[test_random_below(&random, 4)], &random);
	}
}

static void run_with_spare_mbufs_takes_none(void **state)
{
	struct run r = {.text_bytes = 20000,
			.segment_bytes = 1448,
			.l2_bytes = 14,
			.options_bytes = 12,
			.piece_max = 2000,
			.spare = true};
	static struct rte_mbuf *taken[TEST_POOL_MBUFS];
	struct rte_mbuf *m;
	struct apus_gso g;
	uint64_t random = 1;
	uint32_t n = 0, frames = 0;

	apus_gso_begin(&g, frame_of(&r, &random), test_pool, 0);
	while (n < TEST_POOL_MBUFS && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	while ((m = apus_gso_next(&g))) {
		rte_pktmbuf_free(m);
		frames++;
		while (n < TEST_POOL_MBUFS && (taken[n] = rte_pktmbuf_alloc(test_pool)))
			n++;
	}
	assert_int_equal(frames, 14);
	assert_int_equal(apus_gso_end(&g), 0);
	rte_pktmbuf_free_bulk(taken, n);
}

static void empty_pool_ends_the_run_and_leaks_nothing(void **state)
{
	struct run r = {.text_bytes = 20000,
			.segment_bytes = 1448,
			.l2_bytes = 14,
			.options_bytes = 12,
			.piece_max = 2000};

	test_fill(text, 0, sizeof(text));
	for (uint32_t left = 0; left < 30; left++) {
		static struct rte_mbuf *taken[TEST_POOL_MBUFS];
		uint32_t n = 0, bytes = 0;
		struct rte_mbuf *m;
		struct apus_gso g;
		uint64_t random = left + 1;

		apus_gso_begin(&g, frame_of(&r, &random), test_pool, 0);
		while (n < TEST_POOL_MBUFS && (taken[n] = rte_pktmbuf_alloc(test_pool)))
			n++;
		n -= apus_min(n, left);
		rte_pktmbuf_free_bulk(taken + n, left);
		struct rte_mbuf *frames[32];
		uint32_t count = 0;

		while ((m = apus_gso_next(&g))) {
			assert_frame(&r, m, bytes, 0);
			bytes += m->pkt_len - 66;
			frames[count++] = m; /* a driver that holds on to it */
		}
		assert_int_equal(apus_gso_end(&g), r.text_bytes - bytes);
		rte_pktmbuf_free_bulk(frames, count);
		rte_pktmbuf_free_bulk(taken, n);
		if (!left)
			assert_true(bytes < r.text_bytes);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(frames_are_what_single_segments_would_be),
		test_with_pool(run_with_spare_mbufs_takes_none),
		test_with_pool(empty_pool_ends_the_run_and_leaks_nothing),
	};

	return test_main_with_pool(argc, argv, tests);
}
