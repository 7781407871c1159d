/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_sack_blocks.c: which SACK blocks are sent: the examples of RFC 2018 §5 and
 * RFC 2883 §4 segment by segment, bursts, room in the header; and runs of random segments against an
 * array that remembers when each byte came last.
 */
#include "tests/net/tcp/tcp_peer.h"

static struct peer *p;

static int setup(void **state)
{
	p = NULL;
	return 0;
}

static int teardown(void **state)
{
	if (p)
		peer_close(p);
	return test_pool_is_full(state);
}

/* A connection of the peer's with SACK, whose stream begins at @base. */
static void open_at(uint32_t base, bool has_ts)
{
	struct apus_segment syn = peer_segment(base - 1, 0), ack = peer_segment(base, 0);

	p = peer_open();
	peer_listen(p);
	syn.syn = true;
	syn.mss = 1460;
	syn.sack_permitted = true;
	syn.has_ts = has_ts;
	syn.ts_val = 1;
	peer_send(p, syn, 0);
	p->irs = base - 1;
	p->iss = peer_last(p)->seq;
	ack.has_ack = true;
	ack.ack = p->iss + 1;
	ack.has_ts = has_ts;
	ack.ts_val = 1;
	peer_send(p, ack, 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	p->c->rcv.quick = APUS_TCP_QUICK_ACKS;
	peer_forget(p);
}

static struct apus_segment text_at(uint32_t seq)
{
	struct apus_segment seg = peer_segment(seq, p->iss + 1);

	seg.has_ack = true;
	seg.has_ts = p->c->has_ts;
	seg.ts_val = 1;
	return seg;
}

static void send_text(uint32_t seq, uint32_t bytes)
{
	peer_forget(p);
	peer_send(p, text_at(seq), bytes);
}

static void assert_says(const struct apus_segment *seg, uint32_t ack, const uint32_t *edges,
			uint32_t blocks)
{
	assert_int_equal(seg->ack, ack);
	assert_int_equal(seg->sack_count, blocks);
	for (uint32_t i = 0; i < blocks; i++) {
		assert_int_equal(seg->sack[i].start, edges[2 * i]);
		assert_int_equal(seg->sack[i].end, edges[2 * i + 1]);
	}
}

/* The one ACK that was heard says this: edges of the blocks in pairs. */
#define assert_answer(ack, ...)                                                \
 do {                                                                          \
  static const uint32_t edges[] = {__VA_ARGS__};                               \
  assert_int_equal(p->heard_count, 1);                                         \
  assert_says(peer_last(p), ack, edges, sizeof(edges) / sizeof(edges[0]) / 2); \
 } while (0)

/* ---- RFC 2018 §5 ---- */

static void first_of_eight_is_lost(void **state)
{
	open_at(5000, false);
	for (uint32_t end = 6000; end <= 9000; end += 500) {
		uint32_t edges[] = {5500, end};

		send_text(end - 500, 500);
		assert_int_equal(p->heard_count, 1);
		assert_says(peer_last(p), 5000, edges, 1);
	}
}

static void each_second_of_eight_is_lost(void **state)
{
	open_at(5000, false);
	send_text(5000, 500);
	assert_answer(5500);
	send_text(6000, 500);
	assert_answer(5500, 6000, 6500);
	send_text(7000, 500);
	assert_answer(5500, 7000, 7500, 6000, 6500);
	send_text(8000, 500);
	assert_answer(5500, 8000, 8500, 7000, 7500, 6000, 6500);
	send_text(6500, 500); /* the fourth comes after all */
	assert_answer(5500, 6000, 7500, 8000, 8500);
	send_text(5500, 500); /* and the second */
	assert_answer(7500, 8000, 8500);
}

/* RFC 2018 §3: four blocks; §3 again: three beside a timestamp. */
static void as_many_blocks_as_fit_newest_first(void **state)
{
	open_at(1000, false);
	for (uint32_t seq = 2000; seq <= 10000; seq += 1000)
		send_text(seq, 100);
	assert_answer(1000, 10000, 10100, 9000, 9100, 8000, 8100, 7000, 7100);
	peer_close(p);
	open_at(1000, true);
	for (uint32_t seq = 2000; seq <= 10000; seq += 1000)
		send_text(seq, 100);
	assert_answer(1000, 10000, 10100, 9000, 9100, 8000, 8100);
	assert_true(peer_last(p)->has_ts);
}

static void blocks_across_the_wrap(void **state)
{
	open_at(0xffffff00, false);
	send_text(0xffffff80, 0x100);
	assert_answer(0xffffff00, 0xffffff80, 0x80);
	send_text(0x100, 0x80);
	assert_answer(0xffffff00, 0x100, 0x180, 0xffffff80, 0x80);
}

static void no_blocks_for_a_peer_that_did_not_permit_them(void **state)
{
	p = peer_open();
	peer_listen(p);
	peer_send_syn(p, p->irs);
	p->iss = peer_last(p)->seq;
	peer_send_ack(p, p->irs + 1, p->iss + 1);
	p->c = apus_tcp_listener_take(p->listener);
	peer_forget(p);
	peer_send_text(p, p->irs + 1001, p->iss + 1, 100);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->sack_count, 0);
	peer_send_text(p, p->irs + 1001, p->iss + 1, 100); /* a duplicate */
	assert_int_equal(peer_last(p)->sack_count, 0);
}

/* ---- RFC 2883 §4 ---- */

/* §4.1.1 */
static void duplicate_of_what_is_acknowledged(void **state)
{
	open_at(3000, false);
	send_text(3000, 500);
	send_text(3500, 500);
	send_text(3000, 500);
	assert_answer(4000, 3000, 3500);
	send_text(4000, 500); /* it is reported once */
	assert_answer(4500);
}

/* §4.1.2 */
static void duplicate_of_what_is_acknowledged_beside_a_gap(void **state)
{
	open_at(3000, false);
	send_text(3000, 500);
	send_text(4000, 500);
	send_text(3000, 500);
	assert_answer(3500, 3000, 3500, 4000, 4500);
}

/* §4.1.3: the second block is the larger one around it */
static void duplicate_of_what_is_out_of_order(void **state)
{
	open_at(3500, false);
	send_text(4000, 500);
	send_text(4500, 500);
	send_text(4000, 500);
	assert_answer(3500, 4000, 4500, 4000, 5000);
	send_text(6000, 500);
	send_text(4500, 500); /* newest is another block: the one around still comes second */
	assert_answer(3500, 4500, 5000, 4000, 5000, 6000, 6500);
}

/* §4.2: segments of another size, with new bytes and old */
static void duplicate_part_of_a_segment(void **state)
{
	open_at(1000, false);
	send_text(1000, 500);
	send_text(1000, 1000); /* 1000 to 1500 again */
	assert_answer(2000, 1000, 1500);
	send_text(3000, 500);
	send_text(2500, 1500); /* 3000 to 3500 again, inside */
	assert_answer(2000, 3000, 3500, 2500, 4000);
	send_text(3500, 1000); /* 3500 to 4000 again, in front */
	assert_answer(2000, 3500, 4000, 2500, 4500);
}

static void old_fin_without_text_is_no_duplicate(void **state)
{
	struct apus_segment fin;

	open_at(1000, false);
	fin = text_at(1000);
	fin.fin = true;
	peer_send(p, fin, 100);
	peer_forget(p);
	fin.seq = 1100;
	peer_send(p, fin, 0);
	assert_answer(1101);
}

/* Text in order that runs into what is here: the part that came before. */
static void text_in_order_that_overlaps_a_run(void **state)
{
	open_at(1000, false);
	send_text(1100, 100);
	send_text(1000, 300);
	assert_answer(1300, 1100, 1200);
}

/* ---- a FIN out of order ---- */

static void send_fin(uint32_t seq, uint32_t bytes)
{
	struct apus_segment fin = text_at(seq);

	fin.fin = true;
	peer_forget(p);
	peer_send(p, fin, bytes);
}

static void early_fin_counts_when_the_gap_fills(void **state)
{
	static const uint32_t texts[] = {0, 100};

	for (size_t i = 0; i < apus_countof(texts); i++) {
		open_at(1000, false);
		send_fin(1500, texts[i]);
		assert_int_equal(p->heard_count, 1); /* a duplicate ACK */
		assert_int_equal(peer_last(p)->ack, 1000);
		assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_ESTABLISHED);
		send_text(1000, 500);
		assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_CLOSE_WAIT);
		assert_int_equal(peer_last(p)->ack, 1500 + texts[i] + 1);
		peer_close(p);
	}
	p = NULL;
}

static void early_fin_that_text_contradicts_is_forgotten(void **state)
{
	open_at(1000, false);
	send_fin(1500, 0);
	send_text(1000, 600);
	assert_int_equal(apus_tcp_call_status(p->c), APUS_TCP_ESTABLISHED);
	assert_int_equal(p->c->rcv.nxt, 1600);
}

static void nothing_is_kept_beyond_a_fin(void **state)
{
	open_at(1000, false);
	send_text(1500, 100);
	send_fin(1000, 10);
	assert_answer(1011);
	assert_null(p->c->rcvq.ooo);
}

/* ---- bursts ---- */

/* Each duplicate ACK begins with the block of the segment that it stands for. */
static void burst_of_gaps_is_answered_segment_by_segment(void **state)
{
	static const uint32_t first[] = {2000, 2100}, second[] = {3000, 3100, 2000, 2100},
			      third[] = {4000, 4100, 3000, 3100, 2000, 2100};

	open_at(1000, false);
	peer_put(p, text_at(2000), 100);
	peer_put(p, text_at(3000), 100);
	peer_put(p, text_at(4000), 100);
	peer_turn(p);
	assert_int_equal(p->heard_count, 3);
	assert_says(&p->heard[0].seg, 1000, first, 1);
	assert_says(&p->heard[1].seg, 1000, second, 2);
	assert_says(&p->heard[2].seg, 1000, third, 3);
}

static void burst_of_duplicates_is_reported_one_by_one(void **state)
{
	static const uint32_t reports[3][2] = {{1000, 1100}, {1200, 1300}, {1100, 1200}};

	open_at(1000, false);
	send_text(1000, 300);
	peer_forget(p);
	for (int i = 0; i < 3; i++)
		peer_put(p, text_at(reports[i][0]), 100);
	peer_turn(p);
	assert_int_equal(p->heard_count, 3);
	for (int i = 0; i < 3; i++)
		assert_says(&p->heard[i].seg, 1300, reports[i], 1);
}

static void flood_of_duplicates_is_reported_in_part(void **state)
{
	open_at(1000, false);
	send_text(1000, 1000);
	peer_forget(p);
	for (uint32_t i = 0; i < 60; i++)
		peer_put(p, text_at(1000 + i), 1);
	peer_turn(p);
	assert_in_range(p->heard_count, 1, 4 * 60 / 32 + 4);
}

/* ---- with text of ours ---- */

/* RFC 2018 §4: "in all ACKs"; RFC 6691 §2: the text is shorter by the option. */
static void text_with_blocks_is_shorter(void **state)
{
	static const char text[5000];

	for (int has_ts = 0; has_ts < 2; has_ts++) {
		uint32_t full = 1460 - 12 * (uint32_t)has_ts;

		open_at(1000, has_ts);
		send_text(2000, 100);
		send_text(3000, 100);
		peer_forget(p);
		peer_write(p, text, sizeof(text));
		assert_int_equal(p->heard[0].seg.text_bytes, full - 4 - 2 * 8);
		assert_int_equal(p->heard[0].seg.sack_count, 2);
		for (uint32_t i = 0; i < p->heard_count; i++)
			assert_true(apus_segment_header_bytes(&p->heard[i].seg) +
					    p->heard[i].seg.text_bytes <=
				    1480);
		send_text(1000, 1000);
		send_text(2100, 900);
		peer_forget(p);
		peer_wait(p, 2 * APUS_SEC); /* the tail probes, then it is sent again as it was */
		assert_int_equal(p->heard[1].seg.seq, p->iss + 1);
		assert_int_equal(p->heard[1].seg.sack_count, 0);
		assert_int_equal(p->heard[1].seg.text_bytes, full - 4 - 2 * 8);
		peer_close(p);
	}
	p = NULL;
}

/* ---- against an array ---- */

#define SPACE 4000

struct model {
	struct apus_heap heap;
	struct apus_ooo_pool pool;
	struct apus_ooo *ooo;
	uint32_t came[SPACE]; /* step at which the byte came last; 0: never */
	uint32_t step;
	uint64_t random;
};

struct model_run {
	uint32_t start, end, step;
};

static int later_first(const void *a, const void *b)
{
	const struct model_run *x = a, *y = b;

	return x->step < y->step ? 1 : x->step > y->step ? -1 : 0;
}

static uint32_t model_runs(const struct model *w, struct model_run *runs)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < SPACE; i++) {
		if (!w->came[i])
			continue;
		if (!w->came[i - 1])
			runs[n++] = (struct model_run){i, i, 0};
		runs[n - 1].end = i + 1;
		runs[n - 1].step = apus_max(runs[n - 1].step, w->came[i]);
	}
	qsort(runs, n, sizeof(runs[0]), later_first);
	return n;
}

/* The first stretch of bytes in [start, end) that had come. */
static struct apus_segment_sack model_duplicate(const struct model *w, uint32_t start, uint32_t end)
{
	uint32_t from = start, to;

	while (from < end && !w->came[from])
		from++;
	for (to = from; to < end && w->came[to]; to++)
		;
	return (struct apus_segment_sack){from, to};
}

static void model_step(struct model *w, uint32_t base, uint32_t max_bytes)
{
	static struct model_run runs[SPACE];
	static uint8_t packet[SPACE];
	struct apus_segment_sack duplicate, expected, blocks[APUS_SEGMENT_SACK_MAX];
	uint32_t start = 1 + (uint32_t)test_random_below(&w->random, SPACE - 1);
	uint32_t bytes = 1 + (uint32_t)test_random_below(&w->random, max_bytes);
	uint32_t n, count, skip = (uint32_t)test_random_below(&w->random, 3);

	bytes = apus_min(bytes, SPACE - start);
	expected = model_duplicate(w, start, start + bytes);
	w->step++;
	for (uint32_t i = start; i < start + bytes; i++)
		w->came[i] = w->step;
	assert_int_equal(apus_ooo_add(&w->ooo, &w->pool, test_mbuf(packet, bytes, 300),
				      (struct apus_ooo_text){base + start, 0, bytes},
				      UINT32_MAX / 2, &duplicate),
			 0);
	apus_ooo_check(w->ooo);
	assert_int_equal(duplicate.end - duplicate.start, expected.end - expected.start);
	if (expected.end != expected.start)
		assert_int_equal(duplicate.start - base, expected.start);

	n = model_runs(w, runs);
	assert_int_equal(w->ooo->runs, n);
	skip = apus_min(skip, n - 1);
	struct apus_ooo_query query = {.nxt = base, .max = APUS_SEGMENT_SACK_MAX, .skip = skip};

	count = apus_ooo_blocks(&w->ooo, &w->pool, &query, blocks);
	assert_int_equal(count, apus_min(n - skip, (uint32_t)APUS_SEGMENT_SACK_MAX));
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(blocks[i].start - base, runs[skip + i].start);
		assert_int_equal(blocks[i].end - base, runs[skip + i].end);
	}
}

static void blocks_are_those_of_an_array_of_bytes(void **state)
{
	test_each_seed(seed, 200)
	{
		static struct model w;
		uint32_t max_bytes = 1U << (seed % 11);

		memset(&w, 0, sizeof(w));
		w.random = seed;
		assert_int_equal(apus_heap_init(&w.heap), 0);
		apus_ooo_pool_init(&w.pool, &w.heap, 100000, (uint32_t)seed);
		for (int i = 0; i < 150; i++)
			model_step(&w, (uint32_t)(0 - seed * 20), max_bytes);
		apus_ooo_drop(&w.ooo, &w.pool);
		assert_null(w.ooo);
		assert_int_equal(w.pool.objects.used, 0);
		apus_ooo_pool_fini(&w.pool);
		apus_heap_fini(&w.heap);
	}
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(first_of_eight_is_lost),
		t(each_second_of_eight_is_lost),
		t(as_many_blocks_as_fit_newest_first),
		t(blocks_across_the_wrap),
		t(no_blocks_for_a_peer_that_did_not_permit_them),
		t(duplicate_of_what_is_acknowledged),
		t(duplicate_of_what_is_acknowledged_beside_a_gap),
		t(duplicate_of_what_is_out_of_order),
		t(duplicate_part_of_a_segment),
		t(old_fin_without_text_is_no_duplicate),
		t(text_in_order_that_overlaps_a_run),
		t(early_fin_counts_when_the_gap_fills),
		t(early_fin_that_text_contradicts_is_forgotten),
		t(nothing_is_kept_beyond_a_fin),
		t(burst_of_gaps_is_answered_segment_by_segment),
		t(burst_of_duplicates_is_reported_one_by_one),
		t(flood_of_duplicates_is_reported_in_part),
		t(text_with_blocks_is_shorter),
		t(blocks_are_those_of_an_array_of_bytes),
	};

	return test_main_with_pool(argc, argv, tests);
}
