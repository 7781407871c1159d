/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_flight.c: the scoreboard beside a naive model that keeps a flat array and looks
 * through all of it, under random sending, acknowledging, hostile blocks, losses and undo.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/flight.h"

#define MSS       1000U
#define MODEL_MAX 2000

/* ---- the model: one entry for each record, nothing but an array ---- */

struct entry {
	uint32_t seq, end;
	int64_t sent_ns;
	bool sacked, lost, again, ever;
};

struct world {
	struct apus_heap heap;
	struct apus_flight f;
	struct apus_flight_news news;
	uint64_t random;
	int64_t now_ns;
	uint32_t una, nxt;
	struct entry entries[MODEL_MAX];
	uint32_t count;
	uint32_t delivered_bytes; /* by the model, of the last step */
};

static void model_ack(struct world *w, uint32_t una)
{
	uint32_t gone = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		struct entry *e = &w->entries[i];

		if (apus_seq_leq(e->end, una)) {
			w->delivered_bytes += e->sacked ? 0 : e->end - e->seq;
			gone++;
		} else if (apus_seq_lt(e->seq, una)) {
			w->delivered_bytes += e->sacked ? 0 : una - e->seq;
			e->seq = una;
		}
	}
	memmove(w->entries, w->entries + gone, (w->count - gone) * sizeof(w->entries[0]));
	w->count -= gone;
}

static void model_sack(struct world *w, uint32_t start, uint32_t end)
{
	if (!apus_seq_lt(start, end))
		return;
	for (uint32_t i = 0; i < w->count; i++) {
		struct entry *e = &w->entries[i];

		if (e->sacked || apus_seq_lt(e->seq, start) || apus_seq_gt(e->end, end))
			continue;
		w->delivered_bytes += e->end - e->seq;
		e->sacked = true;
		e->lost = e->again = false;
	}
}

static uint32_t model_pipe(const struct world *w)
{
	uint32_t pipe = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		const struct entry *e = &w->entries[i];
		uint32_t bytes = e->end - e->seq;

		pipe += (!e->sacked && !e->lost ? bytes : 0) + (e->again ? bytes : 0);
	}
	return pipe;
}

/* Under way, next to be marked lost: sent before @sent_ns is done already. NULL: none. */
static const struct entry *model_sent_after(const struct world *w, int64_t sent_ns)
{
	const struct entry *first = NULL;

	for (uint32_t i = 0; i < w->count; i++) {
		const struct entry *e = &w->entries[i];

		if (!e->sacked && (!e->lost || e->again) && e->sent_ns > sent_ns &&
		    (!first || e->sent_ns < first->sent_ns))
			first = e;
	}
	return first;
}

static void compare(const struct world *w)
{
	int64_t sent_ns = -1;
	uint32_t waiting = 0, lost = 0;

	apus_flight_check(&w->f);
	assert_int_equal(apus_flight_count(&w->f), w->count);
	assert_int_equal(apus_flight_bytes(&w->f), w->nxt - w->una);
	assert_int_equal(apus_flight_pipe(&w->f), model_pipe(w));
	for (uint32_t i = 0; i < w->count; i++) {
		const struct entry *e = &w->entries[i];
		const struct apus_flight_record *r = apus_flight_at(&w->f, w->f.head + i);

		assert_int_equal(r->seq, e->seq);
		assert_int_equal(r->end, e->end);
		assert_int_equal(!!(r->marks & APUS_FLIGHT_SACKED), e->sacked);
		assert_int_equal(!!(r->marks & APUS_FLIGHT_LOST), e->lost);
		assert_int_equal(!!(r->marks & APUS_FLIGHT_AGAIN), e->again);
		assert_int_equal(!!(r->marks & APUS_FLIGHT_EVER_AGAIN), e->ever);
		lost += e->lost && !e->again;
	}
	for (const struct apus_flight_record *r = apus_flight_first_sent(&w->f); r;
	     r = apus_flight_next_sent(&w->f, r)) {
		const struct entry *e = model_sent_after(w, sent_ns);

		assert_non_null(e);
		assert_int_equal(r->seq, e->seq);
		sent_ns = r->sent_ns;
	}
	assert_null(model_sent_after(w, sent_ns));
	for (const struct apus_flight_record *r = apus_flight_next_lost(&w->f); r;
	     r = r->next <= w->f.mask ? &w->f.records[r->next] : NULL)
		waiting++;
	assert_int_equal(waiting, lost);
}

/* ---- steps ---- */

static uint32_t below(struct world *w, uint32_t bound)
{
	return (uint32_t)test_random_below(&w->random, bound);
}

static void news_begin(struct world *w)
{
	w->delivered_bytes = 0;
	w->news = (struct apus_flight_news){
		.now_ns = w->now_ns, .first_sent_ns = -1, .last_sent_ns = -1};
}

static void send_one(struct world *w)
{
	uint32_t bytes = below(w, 3) ? MSS : 1 + below(w, MSS);

	if (w->count == MODEL_MAX || apus_flight_reserve(&w->f, 1))
		return;
	(void)apus_flight_append(&w->f, w->nxt, w->nxt + bytes, w->now_ns);
	w->entries[w->count++] =
		(struct entry){.seq = w->nxt, .end = w->nxt + bytes, .sent_ns = w->now_ns};
	w->nxt += bytes;
}

static void acknowledge(struct world *w)
{
	uint32_t una = w->una;

	if (w->count && below(w, 8))
		una = w->entries[below(w, apus_min(w->count, 1 + below(w, w->count)))].end;
	else if (w->nxt != w->una)
		una += below(w, w->nxt - w->una + 1);
	news_begin(w);
	apus_flight_ack(&w->f, una, &w->news);
	model_ack(w, una);
	w->una = una;
	assert_int_equal(w->news.delivered_bytes, w->delivered_bytes);
}

/* Blocks as the peer likes: whole records, parts, outside, reversed. */
static void sack(struct world *w)
{
	uint32_t start, end;

	switch (w->count ? below(w, 5) : 4) {
	case 0:
	case 1: {
		uint32_t i = below(w, w->count);

		start = w->entries[i].seq;
		end = w->entries[i + below(w, w->count - i)].end;
		break;
	}
	case 2:
		start = w->una + below(w, w->nxt - w->una + 1);
		end = w->una + below(w, w->nxt - w->una + 1);
		break;
	case 3:
		start = w->una - below(w, 5000);
		end = w->nxt + below(w, 5000);
		break;
	default:
		start = (uint32_t)test_random(&w->random);
		end = (uint32_t)test_random(&w->random);
		break;
	}
	news_begin(w);
	apus_flight_sack(&w->f, start, end, &w->news);
	model_sack(w, start, end);
	assert_int_equal(w->news.delivered_bytes, w->delivered_bytes);
}

static void lose_some(struct world *w)
{
	uint32_t i = w->count ? below(w, w->count) : 0;

	for (uint32_t n = 1 + below(w, 4); n && i < w->count; i++, n--) {
		struct entry *e = &w->entries[i];

		if (e->sacked || (e->lost && !e->again))
			continue;
		e->lost = true;
		e->again = false;
		(void)apus_flight_lose(&w->f, apus_flight_at(&w->f, w->f.head + i));
	}
}

static void resend(struct world *w)
{
	struct apus_flight_record *r = apus_flight_next_lost(&w->f);

	if (!below(w, 10) && w->count) /* a tail loss probe */
		r = apus_flight_at(&w->f, w->f.tail - 1);
	if (!r || r->marks & APUS_FLIGHT_SACKED)
		return;

	struct entry *e = &w->entries[apus_flight_find(&w->f, r->seq) - w->f.head];

	assert_int_equal(e->seq, r->seq);
	e->again = e->ever = true;
	e->sent_ns = w->now_ns;
	apus_flight_resend(&w->f, r, w->now_ns);
}

static void timeout(struct world *w)
{
	if (below(w, 2)) {
		apus_flight_forget_sacks(&w->f);
		for (uint32_t i = 0; i < w->count; i++)
			if (w->entries[i].sacked)
				w->entries[i] = (struct entry){w->entries[i].seq, w->entries[i].end,
							       w->entries[i].sent_ns, .lost = true,
							       .ever = w->entries[i].ever};
		compare(w);
	}
	(void)apus_flight_lose_all(&w->f);
	for (uint32_t i = 0; i < w->count; i++) {
		w->entries[i].lost = !w->entries[i].sacked;
		w->entries[i].again = false;
	}
	for (uint32_t i = 0, seq = w->una; i < w->count; i++) { /* lowest first */
		const struct apus_flight_record *r = apus_flight_next_lost(&w->f);

		if (!w->entries[i].lost)
			continue;
		assert_true(!i || apus_seq_geq(r->seq, seq));
		break;
	}
}

static void undo(struct world *w)
{
	apus_flight_keep(&w->f);
	for (uint32_t i = 0; i < w->count; i++)
		w->entries[i].lost = false;
}

static void cut(struct world *w)
{
	uint32_t mss = 1 + below(w, MSS), total = 0;
	static struct entry old[MODEL_MAX];
	uint32_t count = w->count;

	for (uint32_t i = 0; i < count; i++)
		total += (w->entries[i].end - w->entries[i].seq + mss - 1) / mss;
	if (total > MODEL_MAX)
		return;
	memcpy(old, w->entries, count * sizeof(old[0]));
	w->count = 0;
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t at = old[i].seq; at != old[i].end; w->count++) {
			struct entry *e = &w->entries[w->count];

			*e = old[i];
			e->seq = at;
			e->end = apus_seq_min(at + mss, old[i].end);
			at = e->end;
		}
	assert_int_equal(apus_flight_cut(&w->f, mss), 0);
	apus_flight_check(&w->f);
	/* From now on pieces share a time: the model asks for it to be unique. */
	for (uint32_t i = 0; i < w->count; i++)
		assert_int_equal(apus_flight_at(&w->f, w->f.head + i)->seq, w->entries[i].seq);
}

static void step(struct world *w)
{
	w->now_ns++;
	switch (below(w, 40)) {
	default:
		send_one(w);
		break;
	case 0 ... 7:
		acknowledge(w);
		break;
	case 8 ... 14:
		sack(w);
		break;
	case 15 ... 17:
		lose_some(w);
		break;
	case 18 ... 24:
		resend(w);
		break;
	case 25:
		if (!below(w, 8))
			timeout(w);
		break;
	case 26:
		if (!below(w, 4))
			undo(w);
		break;
	}
}

static void world_open(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	assert_int_equal(apus_heap_init(&w->heap), 0);
	w->random = seed;
	w->una = w->nxt = (uint32_t)(0 - seed * 1000); /* across the wrap */
	apus_flight_init(&w->f, &w->heap);
}

static void world_close(struct world *w)
{
	apus_flight_fini(&w->f);
	assert_int_equal(w->heap.live, 0);
	apus_heap_fini(&w->heap);
}

static struct world world;

static void random_acks_sacks_and_losses_match_the_model(void **state)
{
	test_each_seed(seed, 600)
	{
		struct world *w = &world;

		world_open(w, seed);
		for (int i = 0; i < 400; i++) {
			step(w);
			compare(w);
		}
		world_close(w);
	}
}

static void a_smaller_segment_size_cuts_records_and_keeps_their_marks(void **state)
{
	test_each_seed(seed, 300)
	{
		struct world *w = &world;

		world_open(w, seed);
		for (int i = 0; i < 150; i++)
			step(w);
		cut(w);
		assert_int_equal(apus_flight_pipe(&w->f), model_pipe(w));
		/* What comes after it works on pieces as on any record. */
		for (uint32_t i = 0; i < w->count; i += 3) {
			news_begin(w);
			apus_flight_sack(&w->f, w->entries[i].seq, w->entries[i].end, &w->news);
			model_sack(w, w->entries[i].seq, w->entries[i].end);
			assert_int_equal(w->news.delivered_bytes, w->delivered_bytes);
			apus_flight_check(&w->f);
			assert_int_equal(apus_flight_pipe(&w->f), model_pipe(w));
		}
		(void)apus_flight_lose_all(&w->f);
		apus_flight_check(&w->f);
		world_close(w);
	}
}

static void a_ring_that_cannot_grow_stays_as_it_was(void **state)
{
	struct world *w = &world;

	world_open(w, 1);
	for (uint32_t i = 0; i < APUS_FLIGHT_INLINE; i++) {
		w->now_ns++;
		assert_int_equal(apus_flight_reserve(&w->f, 1), 0);
		send_one(w);
	}
	apus_heap_fail_after(&w->heap, 0);
	assert_int_equal(apus_flight_reserve(&w->f, 1), -ENOMEM);
	compare(w);
	apus_heap_fail_after(&w->heap, -1);
	assert_int_equal(apus_flight_reserve(&w->f, 1), 0);
	compare(w);
	assert_int_equal(apus_flight_reserve(&w->f, APUS_FLIGHT_RECORDS_MAX + 1), -ENOMEM);
	compare(w);
	world_close(w);
}

/* What a peer repeats costs nothing: else it could make us walk the window four times an ACK. */
static void a_block_repeated_ten_million_times_is_not_walked_again(void **state)
{
	struct world *w = &world;
	uint32_t first, n = 60000;

	world_open(w, 2);
	first = w->nxt;
	for (uint32_t i = 0; i < n; i++, w->nxt += MSS) {
		assert_int_equal(apus_flight_reserve(&w->f, 1), 0);
		(void)apus_flight_append(&w->f, w->nxt, w->nxt + MSS, ++w->now_ns);
	}
	for (uint32_t i = n - 1; i > 0; i--) { /* the worst order: each joins on the left */
		news_begin(w);
		apus_flight_sack(&w->f, first + i * MSS, w->nxt, &w->news);
		assert_int_equal(w->news.sacked_records, 1);
	}
	/* Walked, these were 6 * 10^11 steps and the test would time out. */
	for (uint32_t i = 0; i < 10000000; i++) {
		news_begin(w);
		apus_flight_sack(&w->f, first + MSS, w->nxt, &w->news);
	}
	assert_int_equal(w->news.sacked_records, 0);
	assert_int_equal(apus_flight_pipe(&w->f), MSS);
	world_close(w);
}

static void what_arrives_behind_what_was_sent_later_is_reordered(void **state)
{
	struct world *w = &world;
	uint32_t s;

	world_open(w, 3);
	s = w->nxt;
	for (int i = 0; i < 5; i++, w->now_ns++, w->nxt += MSS) {
		assert_int_equal(apus_flight_reserve(&w->f, 1), 0);
		(void)apus_flight_append(&w->f, w->nxt, w->nxt + MSS, w->now_ns);
	}
	news_begin(w);
	apus_flight_sack(&w->f, s + 3 * MSS, s + 4 * MSS, &w->news);
	assert_false(w->news.is_reordered);
	news_begin(w);
	w->news.fack = w->f.sacked_end;
	w->news.has_fack = w->f.has_sacked_end;
	apus_flight_sack(&w->f, s + MSS, s + 2 * MSS, &w->news);
	assert_true(w->news.is_reordered);
	assert_int_equal(w->news.reordered_seq, s + MSS);
	assert_int_equal(w->news.first_sent_ns, 1);
	assert_int_equal(w->news.rack_end, s + 2 * MSS);
	world_close(w);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_acks_sacks_and_losses_match_the_model),
		cmocka_unit_test(a_smaller_segment_size_cuts_records_and_keeps_their_marks),
		cmocka_unit_test(a_ring_that_cannot_grow_stays_as_it_was),
		cmocka_unit_test(a_block_repeated_ten_million_times_is_not_walked_again),
		cmocka_unit_test(what_arrives_behind_what_was_sent_later_is_reordered),
	};

	return test_main(argc, argv, tests);
}
