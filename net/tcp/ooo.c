/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ooo.c: runs of text behind a gap; see ooo.h.
 *
 * The tree is a treap keyed by sequence number (Aragon, Seidel 1989), in expectation as deep as a
 * balanced tree whatever the order of arrival, since the peer does not know the priorities. What is
 * kept never overlaps: a newcomer is cut to what is missing, and swallows the runs it covers. Then
 * it joins the run before it, the run behind it, or both, or is a run of its own.
 *
 * Memory: held counts buffers, not text. A few bytes lie in the run itself. Small texts are written
 * into the buffer of their neighbour, behind or in front of its bytes, so that single bytes in any
 * order hold about as many buffers as they fill.
 *
 * Where we differ: when there is no mbuf to join two short runs they stay two, side by side.
 *
 * Invariants: apus_ooo_check().
 */
#include "net/tcp/ooo.h"

#include "net/tcp/mchain.h"
#include "net/tcp/seq.h"

#include <errno.h>

#define RUN_TEXT_BYTES 64

struct apus_ooo_run {
	struct apus_ooo_run *left, *right;  /* before and after in the sequence */
	struct apus_ooo_run *older, *newer; /* by when they last grew */
	struct rte_mbuf *m, *last;          /* exactly the text, or NULL: it is in text[] */
	uint32_t seq;
	uint32_t bytes;
	uint32_t chance; /* heap order: a parent's is not less */
	uint32_t held;   /* its part of ooo->held */
	uint8_t text[RUN_TEXT_BYTES];
};

static_assert(sizeof(struct apus_ooo_run) == APUS_OOO_OBJECT, "the pool's size");
static_assert(sizeof(struct apus_ooo) <= APUS_OOO_OBJECT, "the pool's size");

static uint32_t run_end(const struct apus_ooo_run *run)
{
	return run->seq + run->bytes;
}

/* ---- the pool ---- */

void apus_ooo_pool_init(struct apus_ooo_pool *pool, struct apus_heap *heap, uint32_t objects_max,
			uint32_t seed)
{
	apus_slab_init(&pool->objects, heap, APUS_OOO_OBJECT, objects_max);
	pool->chance = seed ? seed : 1;
}

void apus_ooo_pool_fini(struct apus_ooo_pool *pool)
{
	apus_slab_fini(&pool->objects);
}

static uint32_t next_chance(struct apus_ooo_pool *pool)
{
	pool->chance ^= pool->chance << 13;
	pool->chance ^= pool->chance >> 17;
	pool->chance ^= pool->chance << 5;
	return pool->chance;
}

static bool open_ooo(struct apus_ooo **o, struct apus_ooo_pool *pool)
{
	if (*o)
		return true;
	*o = apus_slab_get(&pool->objects);
	if (*o)
		**o = (struct apus_ooo){0};
	return *o;
}

static void close_if_empty(struct apus_ooo **o, struct apus_ooo_pool *pool)
{
	if (!*o || (*o)->runs || (*o)->report_count)
		return;
	apus_slab_put(&pool->objects, *o);
	*o = NULL;
}

/* ---- the tree ---- */

/* The last run that begins at or before `seq`, or NULL. */
static struct apus_ooo_run *tree_at_or_before(const struct apus_ooo *o, uint32_t seq)
{
	struct apus_ooo_run *run = o->root, *found = NULL;

	while (run) {
		if (apus_seq_leq(run->seq, seq)) {
			found = run;
			run = run->right;
		} else {
			run = run->left;
		}
	}
	return found;
}

/* The first run that begins at or after `seq`, or NULL. */
static struct apus_ooo_run *tree_at_or_after(const struct apus_ooo *o, uint32_t seq)
{
	struct apus_ooo_run *run = o->root, *found = NULL;

	while (run) {
		if (apus_seq_geq(run->seq, seq)) {
			found = run;
			run = run->left;
		} else {
			run = run->right;
		}
	}
	return found;
}

static struct apus_ooo_run *tree_first(const struct apus_ooo *o)
{
	struct apus_ooo_run *run = o->root;

	while (run && run->left)
		run = run->left;
	return run;
}

/* Go down while the priorities there are higher, then split what is below in two: its children. */
static void tree_insert(struct apus_ooo *o, struct apus_ooo_run *run)
{
	struct apus_ooo_run **link = &o->root, **less = &run->left, **more = &run->right;
	struct apus_ooo_run *below;

	while (*link && (*link)->chance >= run->chance)
		link = apus_seq_lt(run->seq, (*link)->seq) ? &(*link)->left : &(*link)->right;

	below = *link;
	*link = run;
	while (below) {
		if (apus_seq_lt(below->seq, run->seq)) {
			*less = below;
			less = &below->right;
			below = below->right;
		} else {
			*more = below;
			more = &below->left;
			below = below->left;
		}
	}
	*less = NULL;
	*more = NULL;
}

/* Its children, merged by priority, take its place. */
static void tree_remove(struct apus_ooo *o, struct apus_ooo_run *run)
{
	struct apus_ooo_run **link = &o->root;
	struct apus_ooo_run *less = run->left, *more = run->right;

	while (*link != run)
		link = apus_seq_lt(run->seq, (*link)->seq) ? &(*link)->left : &(*link)->right;

	while (less && more) {
		if (less->chance >= more->chance) {
			*link = less;
			link = &less->right;
			less = less->right;
		} else {
			*link = more;
			link = &more->left;
			more = more->left;
		}
	}
	*link = less ? less : more;
}

/* ---- the list ---- */

static void list_remove(struct apus_ooo *o, struct apus_ooo_run *run)
{
	if (run->newer)
		run->newer->older = run->older;
	else
		o->newest = run->older;
	if (run->older)
		run->older->newer = run->newer;
}

static void list_push(struct apus_ooo *o, struct apus_ooo_run *run)
{
	run->newer = NULL;
	run->older = o->newest;
	if (o->newest)
		o->newest->newer = run;
	o->newest = run;
}

/* RFC 2018 §4: the block that a segment belongs to is told first. */
static void touch(struct apus_ooo *o, struct apus_ooo_run *run)
{
	if (o->newest == run)
		return;
	list_remove(o, run);
	list_push(o, run);
}

/* ---- runs ---- */

static void hold(struct apus_ooo *o, struct apus_ooo_run *run, uint32_t bytes)
{
	run->held += bytes;
	o->held += bytes;
}

/* The run goes back to the pool; what it held in `m` is the caller's. */
static void run_unlink(struct apus_ooo *o, struct apus_ooo_pool *pool, struct apus_ooo_run *run)
{
	tree_remove(o, run);
	list_remove(o, run);
	o->runs--;
	o->bytes -= run->bytes;
	o->held -= run->held;
	apus_slab_put(&pool->objects, run);
}

static void run_drop(struct apus_ooo *o, struct apus_ooo_pool *pool, struct apus_ooo_run *run)
{
	struct rte_mbuf *m = run->m;

	run_unlink(o, pool, run);
	apus_mchain_free(m);
}

/* The bytes in text[] move to an mbuf, at its end if @at_end. False without one. */
static bool run_to_chain(struct apus_ooo *o, struct apus_ooo_run *run, struct rte_mempool *mbufs,
			 bool at_end)
{
	struct rte_mbuf *m;

	if (run->m)
		return true;
	m = rte_pktmbuf_alloc(mbufs);
	if (!m)
		return false;
	if (run->bytes > rte_pktmbuf_tailroom(m)) { /* a pool of bare headers */
		rte_pktmbuf_free(m);
		return false;
	}
	if (at_end)
		m->data_off = (uint16_t)(m->buf_len - run->bytes);
	memcpy(apus_mchain_grow(m, run->bytes), run->text, run->bytes);
	run->m = run->last = m;
	hold(o, run, apus_mchain_held(m));
	return true;
}

/* The bytes of `m`, consumed, come behind those of the run. */
static void chain_append(struct apus_ooo *o, struct apus_ooo_run *run, struct rte_mbuf *m,
			 uint32_t bytes)
{
	if (bytes <= APUS_OOO_SMALL_BYTES && apus_mchain_has_room(run->last, bytes)) {
		apus_mchain_copy(apus_mchain_grow(run->last, bytes), m);
		apus_mchain_free(m);
		return;
	}
	hold(o, run, apus_mchain_held(m));
	run->last->next = m;
	run->last = apus_mchain_last(m);
}

static bool run_append(struct apus_ooo *o, struct apus_ooo_run *run, struct rte_mbuf *m,
		       uint32_t bytes)
{
	if (!run->m && run->bytes + bytes <= RUN_TEXT_BYTES) {
		apus_mchain_copy(run->text + run->bytes, m);
		apus_mchain_free(m);
	} else {
		if (!run_to_chain(o, run, m->pool, false))
			return false;
		chain_append(o, run, m, bytes);
	}
	run->bytes += bytes;
	o->bytes += bytes;
	return true;
}

/* So that more can be written in front of its few bytes. */
static void move_to_end(struct rte_mbuf *m)
{
	uint16_t offset = (uint16_t)(m->buf_len - m->data_len);

	memmove((uint8_t *)m->buf_addr + offset, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	m->data_off = offset;
}

static void chain_prepend(struct apus_ooo *o, struct apus_ooo_run *run, struct rte_mbuf *m,
			  uint32_t bytes)
{
	bool is_small = bytes <= APUS_OOO_SMALL_BYTES;

	if (is_small && apus_mchain_has_headroom(run->m, bytes)) {
		apus_mchain_copy(apus_mchain_grow_front(run->m, bytes), m);
		apus_mchain_free(m);
		return;
	}
	hold(o, run, apus_mchain_held(m));
	if (is_small && !m->next && apus_mchain_is_ours(m))
		move_to_end(m);
	apus_mchain_last(m)->next = run->m;
	run->m = m;
}

static bool run_prepend(struct apus_ooo *o, struct apus_ooo_run *run, struct rte_mbuf *m,
			uint32_t bytes)
{
	if (!run->m && run->bytes + bytes <= RUN_TEXT_BYTES) {
		memmove(run->text + bytes, run->text, run->bytes);
		apus_mchain_copy(run->text, m);
		apus_mchain_free(m);
	} else {
		if (!run_to_chain(o, run, m->pool, true))
			return false;
		chain_prepend(o, run, m, bytes);
	}
	run->seq -= bytes; /* nothing lies between: its place in the tree is the same */
	run->bytes += bytes;
	o->bytes += bytes;
	return true;
}

/* All of `next` that is not in the buffers of `run` hangs behind them. */
static void run_absorb(struct apus_ooo *o, struct apus_ooo_pool *pool, struct apus_ooo_run *run,
		       struct apus_ooo_run *next)
{
	struct rte_mbuf *m = next->m, *last = next->last;
	uint32_t bytes = next->bytes, held = next->held - (uint32_t)sizeof(*next);

	run_unlink(o, pool, next);
	if (m) {
		if (run->m)
			run->last->next = m;
		else
			run->m = m;
		run->last = last;
		hold(o, run, held);
	}
	run->bytes += bytes;
	o->bytes += bytes;
}

/*
 * `next`, that begins where `run` ends, becomes a part of it, if there is an mbuf when it needs one.
 * The few bytes of one go into the buffers of the other if there is room.
 */
static void run_join(struct apus_ooo *o, struct apus_ooo_pool *pool, struct apus_ooo_run *run,
		     struct apus_ooo_run *next, struct rte_mempool *mbufs)
{
	if (!run->m && !next->m && run->bytes + next->bytes <= RUN_TEXT_BYTES) {
		memcpy(run->text + run->bytes, next->text, next->bytes);
	} else if (!run->m && next->m && apus_mchain_has_headroom(next->m, run->bytes)) {
		memcpy(apus_mchain_grow_front(next->m, run->bytes), run->text, run->bytes);
	} else {
		if (!run_to_chain(o, run, mbufs, next->m))
			return;
		if (!next->m && apus_mchain_has_room(run->last, next->bytes))
			memcpy(apus_mchain_grow(run->last, next->bytes), next->text, next->bytes);
		else if (!run_to_chain(o, next, mbufs, false))
			return;
	}
	run_absorb(o, pool, run, next);
}

/* A run of its own. Consumes m unless there is no memory. */
static struct apus_ooo_run *run_create(struct apus_ooo *o, struct apus_ooo_pool *pool,
				       struct rte_mbuf *m, uint32_t seq, uint32_t bytes)
{
	struct apus_ooo_run *run;

	if (o->runs >= APUS_OOO_RUNS_MAX)
		return NULL;
	run = apus_slab_get(&pool->objects);
	if (!run)
		return NULL;
	run->seq = seq;
	run->bytes = bytes;
	run->chance = next_chance(pool);
	run->held = 0;
	run->m = run->last = NULL;
	hold(o, run, sizeof(*run));
	if (bytes <= RUN_TEXT_BYTES) {
		apus_mchain_copy(run->text, m);
		apus_mchain_free(m);
	} else {
		run->m = m;
		run->last = apus_mchain_last(m);
		hold(o, run, apus_mchain_held(m));
	}
	tree_insert(o, run);
	list_push(o, run);
	o->runs++;
	o->bytes += bytes;
	return run;
}

/* ---- a text comes ---- */

static void note_duplicate(struct apus_segment_sack *duplicate, uint32_t start, uint32_t end)
{
	if (duplicate->start == duplicate->end)
		*duplicate = (struct apus_segment_sack){start, end};
}

/*
 * Cut from `text` what is kept already; drop the runs that it covers; note the first part that had
 * come before (RFC 2883 §4). Return: the run in which it begins or that it continues, or NULL.
 */
static struct apus_ooo_run *cut_overlaps(struct apus_ooo *o, struct apus_ooo_pool *pool,
					 struct apus_ooo_text *text,
					 struct apus_segment_sack *duplicate)
{
	struct apus_ooo_run *before = tree_at_or_before(o, text->seq), *run;

	if (before && apus_seq_lt(run_end(before), text->seq))
		before = NULL;
	if (before && run_end(before) != text->seq) {
		uint32_t skip = apus_min(run_end(before) - text->seq, text->bytes);

		note_duplicate(duplicate, text->seq, text->seq + skip);
		text->seq += skip;
		text->offset += skip;
		text->bytes -= skip;
	}
	while (text->bytes && (run = tree_at_or_after(o, text->seq)) &&
	       apus_seq_lt(run->seq, text->seq + text->bytes)) {
		uint32_t end = text->seq + text->bytes;

		note_duplicate(duplicate, run->seq, apus_seq_min(run_end(run), end));
		if (apus_seq_gt(run_end(run), end))
			text->bytes = run->seq - text->seq;
		else
			run_drop(o, pool, run);
	}
	return before;
}

/* Consumes a carved chain, unless it returns NULL. */
static struct apus_ooo_run *insert(struct apus_ooo *o, struct apus_ooo_pool *pool,
				   struct apus_ooo_run *before, struct rte_mbuf *m,
				   const struct apus_ooo_text *text)
{
	struct apus_ooo_run *after = tree_at_or_after(o, text->seq);
	struct rte_mempool *mbufs = m->pool;

	if (after && after->seq != text->seq + text->bytes)
		after = NULL;
	if (before) {
		if (!run_append(o, before, m, text->bytes))
			return NULL;
		if (after)
			run_join(o, pool, before, after, mbufs);
		return before;
	}
	if (after)
		return run_prepend(o, after, m, text->bytes) ? after : NULL;
	return run_create(o, pool, m, text->seq, text->bytes);
}

int apus_ooo_add(struct apus_ooo **o, struct apus_ooo_pool *pool, struct rte_mbuf *m,
		 struct apus_ooo_text text, uint32_t held_max, struct apus_segment_sack *duplicate)
{
	struct apus_ooo_run *run;
	int rc = -ENOBUFS;

	*duplicate = (struct apus_segment_sack){0};
	if (!open_ooo(o, pool)) {
		apus_mchain_free(m);
		return rc;
	}
	run = cut_overlaps(*o, pool, &text, duplicate);
	if (!text.bytes) {
		apus_mchain_free(m);
		touch(*o, run);
		return 0;
	}
	m = apus_mchain_carve(m, text.offset, text.bytes);
	/* At most: the buffers that it came in, a run, and a buffer for one that grew out of its text[]. */
	if ((*o)->held + apus_mchain_held(m) + sizeof(*run) + sizeof(*m) +
		    rte_pktmbuf_data_room_size(m->pool) <=
	    held_max)
		run = insert(*o, pool, run, m, &text);
	else
		run = NULL;
	if (run) {
		touch(*o, run);
		rc = 0;
	} else {
		apus_mchain_free(m);
		close_if_empty(o, pool);
	}
	return rc;
}

struct apus_segment_sack apus_ooo_overlap(const struct apus_ooo *o, uint32_t start, uint32_t end)
{
	struct apus_segment_sack overlap = {0};
	const struct apus_ooo_run *run = tree_at_or_before(o, start);

	if (!run || apus_seq_leq(run_end(run), start))
		run = tree_at_or_after(o, start);
	if (run && apus_seq_lt(run->seq, end)) {
		overlap.start = apus_seq_max(run->seq, start);
		overlap.end = apus_seq_min(run_end(run), end);
	}
	return overlap;
}

/* Move the run, from `skip` on, to behind `tail` or to a chain. False: no memory, it stays. */
static bool take_run(struct apus_ooo *o, struct apus_ooo_pool *pool, struct apus_ooo_run *run,
		     uint32_t skip, struct rte_mbuf *tail, struct apus_ooo_taken *taken)
{
	uint32_t bytes = run->bytes - skip;

	if (!run->m && apus_mchain_has_room(tail, bytes))
		memcpy(apus_mchain_grow(tail, bytes), run->text + skip, bytes);
	else if (!run_to_chain(o, run, tail->pool, false))
		return false;
	taken->m = apus_mchain_skip(run->m, run->m ? skip : 0);
	taken->last = run->last;
	taken->bytes = bytes;
	run_unlink(o, pool, run);
	return true;
}

struct apus_ooo_taken apus_ooo_take(struct apus_ooo **o, struct apus_ooo_pool *pool, uint32_t nxt,
				    struct rte_mbuf *tail)
{
	struct apus_ooo_taken taken = {0};
	struct apus_ooo_run *run;

	while (*o && (run = tree_first(*o)) && apus_seq_leq(run->seq, nxt)) {
		if (apus_seq_gt(run_end(run), nxt)) {
			(void)take_run(*o, pool, run, nxt - run->seq, tail, &taken);
			break;
		}
		run_drop(*o, pool, run);
	}
	close_if_empty(o, pool);
	return taken;
}

void apus_ooo_drop_text(struct apus_ooo **o, struct apus_ooo_pool *pool)
{
	if (!*o)
		return;
	while ((*o)->root)
		run_drop(*o, pool, (*o)->root);
	close_if_empty(o, pool);
}

void apus_ooo_drop(struct apus_ooo **o, struct apus_ooo_pool *pool)
{
	if (*o)
		(*o)->report_count = 0;
	apus_ooo_drop_text(o, pool);
}

/* ---- what is told ---- */

void apus_ooo_report(struct apus_ooo **o, struct apus_ooo_pool *pool,
		     struct apus_segment_sack duplicate)
{
	if (duplicate.start == duplicate.end || !open_ooo(o, pool))
		return;
	if ((*o)->report_count < APUS_OOO_REPORTS_MAX)
		(*o)->reports[(*o)->report_count++] = duplicate;
}

/* The oldest report, if there is one, and the run that it is a part of (RFC 2883 §4 (4)). */
static uint32_t put_report(struct apus_ooo *o, struct apus_segment_sack *blocks,
			   const struct apus_ooo_run **around)
{
	struct apus_ooo_run *run;

	if (!o->report_count)
		return 0;
	blocks[0] = o->reports[0];
	o->report_count--;
	memmove(o->reports, o->reports + 1, o->report_count * sizeof(o->reports[0]));
	run = tree_at_or_before(o, blocks[0].start);
	if (run && apus_seq_geq(run_end(run), blocks[0].end))
		*around = run;
	return 1;
}

uint32_t apus_ooo_blocks(struct apus_ooo **ooo, struct apus_ooo_pool *pool,
			 const struct apus_ooo_query *query, struct apus_segment_sack *blocks)
{
	struct apus_ooo *o = *ooo;
	const struct apus_ooo_run *around = NULL, *run;
	uint32_t count = 0, skip = query->skip;

	if (!o)
		return 0;
	if (query->with_report)
		count = put_report(o, blocks, &around);
	if (around && apus_seq_gt(around->seq, query->nxt) && count < query->max)
		blocks[count++] = (struct apus_segment_sack){around->seq, run_end(around)};
	for (run = o->newest; run && run->older && skip; run = run->older)
		skip--;
	for (; run && count < query->max; run = run->older) {
		/* One that waits for an mbuf to be taken lies at RCV.NXT. */
		if (run == around || apus_seq_leq(run->seq, query->nxt))
			continue;
		blocks[count++] = (struct apus_segment_sack){run->seq, run_end(run)};
	}
	close_if_empty(ooo, pool);
	return count;
}

/* ---- check ---- */

/* What the walk over the tree has seen so far. */
struct walk {
	struct apus_ooo sum;
	uint32_t depth_max;
	uint32_t end; /* of the run before */
	bool any;
};

static void check_run(const struct apus_ooo_run *run, struct walk *walk)
{
	uint32_t bytes = 0;

	apus_must(!run->left || run->left->chance <= run->chance);
	apus_must(!run->right || run->right->chance <= run->chance);
	apus_must(!walk->any || apus_seq_leq(walk->end, run->seq)); /* in order, no overlap */
	apus_must_op(run->bytes, >, 0);
	for (const struct rte_mbuf *m = run->m; m; m = m->next) {
		apus_must_op(m->data_len, >, 0);
		bytes += m->data_len;
		apus_must(m->next || m == run->last);
	}
	if (run->m)
		apus_must_op(bytes, ==, run->bytes);
	else
		apus_must_op(run->bytes, <=, RUN_TEXT_BYTES);
	apus_must_op(run->held, ==, sizeof(*run) + apus_mchain_held(run->m));
	walk->end = run_end(run);
	walk->any = true;
	walk->sum.runs++;
	walk->sum.bytes += run->bytes;
	walk->sum.held += run->held;
}

static void check_tree(const struct apus_ooo_run *run, struct walk *walk, uint32_t depth)
{
	if (!run)
		return;
	apus_must_op(depth, <=, walk->depth_max);
	check_tree(run->left, walk, depth + 1);
	check_run(run, walk);
	check_tree(run->right, walk, depth + 1);
}

void apus_ooo_check(const struct apus_ooo *o)
{
	uint32_t listed = 0;

	if (!o)
		return;

	/* A random treap of n nodes is about 3 log2(n) deep at its deepest. */
	struct walk walk = {.depth_max = 10 + 5 * (32 - (uint32_t)__builtin_clz(o->runs | 1))};

	check_tree(o->root, &walk, 1);
	for (const struct apus_ooo_run *run = o->newest; run; run = run->older) {
		apus_must(!run->older || run->older->newer == run);
		listed++;
	}
	apus_must(o->runs || o->report_count);
	apus_must_op(listed, ==, o->runs);
	apus_must_op(walk.sum.runs, ==, o->runs);
	apus_must_op(walk.sum.bytes, ==, o->bytes);
	apus_must_op(walk.sum.held, ==, o->held);
	apus_must_op(o->runs, <=, APUS_OOO_RUNS_MAX);
	apus_must_op(o->report_count, <=, APUS_OOO_REPORTS_MAX);
}
