/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_reassembly.c: any segments, in any order, against an array of bytes.
 *
 * Input: records of four bytes: where the text begins (two bytes, from 256 before RCV.NXT on), how
 * long it is, and what else: bits 0-2 how long in 256s, bits 3-4 in mbufs of which size, bit 5 read
 * something before, bit 6 forget what is out of order (nothing is compared with the array's blocks
 * until all of it has come again). The array knows which byte came when: what RCV.NXT is, what the
 * reader gets, which SACK blocks there are and in what order, follows from that.
 */
#include "net/tcp/rcvq.h"
#include "net/tcp/seq.h"
#include "tests/net/net_test.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define SPACE       8192 /* of sequence numbers, from the first RCV.NXT on */
#define BASE        0xfffff800U
#define RECORDS_MAX 512
#define POOL_MBUFS  4095
#define OBJECTS_MAX 8192

static struct rte_mempool *pool;

static struct {
	struct apus_rcvq q;
	uint32_t nxt, read;   /* from BASE */
	uint32_t came[SPACE]; /* the step at which the byte came last; 0: it is not here */
	uint32_t step;
} w;

static uint8_t stream(uint32_t at)
{
	return (uint8_t)(at * 2654435761U >> 24);
}

static struct rte_mbuf *packet(uint32_t at, uint32_t bytes, uint32_t piece)
{
	struct rte_mbuf *first = NULL, **link = &first;

	do {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t n = apus_min(bytes, piece);

		apus_must(m != NULL);
		for (uint32_t i = 0; i < n; i++)
			*(uint8_t *)rte_pktmbuf_append(m, 1) = stream(at + i);
		*link = m;
		link = &m->next;
		at += n;
		bytes -= n;
	} while (bytes);
	return first;
}

static void read_some(uint32_t bytes)
{
	static uint8_t got[SPACE];
	uint32_t n = (uint32_t)apus_rcvq_read(&w.q, got, bytes);

	apus_must_op(n, ==, apus_min(bytes, w.nxt - w.read));
	for (uint32_t i = 0; i < n; i++)
		apus_must_op(got[i], ==, stream(w.read + i));
	w.read += n;
}

static void input(uint32_t at, uint32_t bytes, uint32_t piece)
{
	uint32_t before = w.nxt, from = apus_max(at, w.nxt);
	struct apus_ooo_text text = {.seq = BASE + at, .bytes = bytes};
	int64_t moved = apus_rcvq_input(&w.q, packet(at, bytes, piece), text, BASE + w.nxt);

	apus_must_op(moved, >=, 0);
	w.step++;
	for (uint32_t i = from; i < at + bytes; i++)
		w.came[i] = w.step;
	while (w.nxt < SPACE && w.came[w.nxt])
		w.nxt++;
	apus_must_op(moved, ==, w.nxt - before);
}

/* The run that was touched last before `step`; false: there is none. */
static bool latest_before(uint32_t step, uint32_t *start, uint32_t *end, uint32_t *its_step)
{
	*its_step = 0;
	for (uint32_t i = w.nxt, first = 0, newest = 0; i < SPACE; i++) {
		if (!w.came[i])
			continue;
		first = i == w.nxt || !w.came[i - 1] ? i : first;
		newest = first == i ? w.came[i] : apus_max(newest, w.came[i]);
		if ((i + 1 == SPACE || !w.came[i + 1]) && newest < step && newest > *its_step) {
			*its_step = newest;
			*start = first;
			*end = i + 1;
		}
	}
	return *its_step;
}

static void check_blocks(void)
{
	struct apus_segment_sack blocks[APUS_SEGMENT_SACK_MAX];
	struct apus_ooo_query query = {.nxt = BASE + w.nxt, .max = APUS_SEGMENT_SACK_MAX};
	uint32_t n = apus_rcvq_blocks(&w.q, &query, blocks);
	uint32_t start = 0, end = 0, step = UINT32_MAX;

	for (uint32_t i = 0; i < n; i++) {
		apus_must(latest_before(step, &start, &end, &step));
		apus_must_op(blocks[i].start - BASE, ==, start);
		apus_must_op(blocks[i].end - BASE, ==, end);
	}
	apus_must(n == APUS_SEGMENT_SACK_MAX || !latest_before(step, &start, &end, &step));
}

static void record(const uint8_t *r)
{
	uint32_t start = (uint32_t)(r[0] << 8 | r[1]) % SPACE;
	uint32_t at = w.nxt + start < 256 ? 0 : w.nxt + start - 256;
	uint32_t bytes = (uint32_t)(r[3] & 7) << 8 | r[2];
	static const uint16_t pieces[] = {1500, 2000, 100, 7};

	if (r[3] & 0x20)
		read_some(bytes + 1);
	if (r[3] & 0x40) {
		apus_rcvq_drop_ooo(&w.q);
		memset(w.came + w.nxt, 0, (SPACE - w.nxt) * sizeof(w.came[0]));
	}
	if (at < SPACE && bytes)
		input(at, apus_min(bytes, SPACE - at), pieces[r[3] >> 3 & 3]);
	apus_rcvq_check(&w.q);
	check_blocks();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct apus_heap heap;
	struct apus_ooo_pool objects;

	apus_test_eal();
	if (!pool)
		pool = rte_pktmbuf_pool_create("reassembly", POOL_MBUFS, 0, 0,
					       RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	apus_must(pool && apus_heap_init(&heap) == 0);
	apus_ooo_pool_init(&objects, &heap, OBJECTS_MAX, 1);
	memset(&w, 0, sizeof(w));
	apus_rcvq_init(&w.q, &objects, INT32_MAX);
	for (int i = 0; i < RECORDS_MAX && size >= 4; i++, bytes += 4, size -= 4)
		record(bytes);
	read_some(SPACE);
	apus_rcvq_fini(&w.q);
	apus_must_op(objects.objects.used, ==, 0);
	apus_must_op(rte_mempool_in_use_count(pool), ==, 0);
	apus_ooo_pool_fini(&objects);
	apus_heap_fini(&heap);
	return 0;
}
