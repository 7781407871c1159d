/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rcvq.c: reassembly (RFC 9293 §3.10.7.4, seventh).
 *
 * In order: a plain list of mbufs through `next`; a multi-segment packet becomes several entries.
 * Out of order: a treap keyed by sequence number (Aragon, Seidel 1989), in expectation as deep as a
 * balanced tree whatever the order of arrival, since the peer does not know the priorities. What is
 * kept never overlaps: a newcomer is cut to what is missing, and swallows the texts it covers.
 *
 * Memory: ooo_held counts buffers, not text. A text that fits into the node leaves its mbuf at
 * once, one that continues its predecessor is packed behind it, so a thousand single bytes hold
 * a thousand nodes at worst, and no mbuf. In order, texts up to APUS_RCVQ_SMALL_BYTES are packed,
 * so an unread window holds at most window / 512 mbufs.
 *
 * Invariants: apus_rcvq_check().
 *
 * Where we differ: a FIN out of order is not kept; the peer sends it again.
 */
#include "net/tcp/rcvq.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define NODE_TEXT_BYTES 88

struct apus_rcvq_node {
	struct apus_rcvq_node *left, *right; /* before and after in the sequence */
	uint32_t seq;
	uint32_t bytes;
	uint32_t chance;    /* heap order: a parent's is not less */
	uint32_t held;      /* its part of ooo_held */
	struct rte_mbuf *m; /* exactly the text, or NULL: it is in text[] */
	uint8_t text[NODE_TEXT_BYTES];
};

static_assert(sizeof(struct apus_rcvq_node) == APUS_RCVQ_NODE_BYTES, "the slab's size");

static uint32_t node_end(const struct apus_rcvq_node *node)
{
	return node->seq + node->bytes;
}

/* ---- chains of mbufs ---- */

static void free_chain(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		rte_pktmbuf_free_seg(m);
		m = next;
	}
}

/* Cut a chain to `bytes` bytes from `offset`; no mbuf of the result is empty. */
static struct rte_mbuf *carve(struct rte_mbuf *m, uint32_t offset, uint32_t bytes)
{
	struct rte_mbuf *first = NULL, **link = &first;

	while (m) {
		struct rte_mbuf *next = m->next;
		uint32_t skip = apus_min(offset, m->data_len);
		uint32_t n = apus_min(bytes, m->data_len - skip);

		offset -= skip;
		bytes -= n;
		m->next = NULL;
		if (n > 0) {
			m->data_off = (uint16_t)(m->data_off + skip);
			m->data_len = (uint16_t)n;
			*link = m;
			link = &m->next;
		} else {
			rte_pktmbuf_free_seg(m);
		}
		m = next;
	}
	apus_must_op(bytes, ==, 0); /* the parser bounded them by what is there */
	return first;
}

static void copy_chain(uint8_t *to, const struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		memcpy(to, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		to += m->data_len;
	}
}

static uint32_t chain_held(const struct rte_mbuf *m)
{
	uint32_t held = 0;

	for (; m; m = m->next)
		held += m->buf_len + (uint32_t)sizeof(*m);
	return held;
}

static struct rte_mbuf *chain_last(struct rte_mbuf *m)
{
	while (m->next)
		m = m->next;
	return m;
}

/* Nobody else sees the bytes behind its last one. */
static bool has_room(const struct rte_mbuf *m, uint32_t bytes)
{
	return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 &&
	       bytes <= rte_pktmbuf_tailroom(m);
}

static uint8_t *grow(struct rte_mbuf *m, uint32_t bytes)
{
	uint8_t *end = rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len);

	m->data_len = (uint16_t)(m->data_len + bytes);
	return end;
}

/* ---- the tree ---- */

static uint32_t next_chance(struct apus_rcvq *q)
{
	q->chance ^= q->chance << 13;
	q->chance ^= q->chance >> 17;
	q->chance ^= q->chance << 5;
	return q->chance;
}

/* The last node that begins at or before `seq`, or NULL. */
static struct apus_rcvq_node *tree_at_or_before(const struct apus_rcvq *q, uint32_t seq)
{
	struct apus_rcvq_node *node = q->root, *found = NULL;

	while (node) {
		if (apus_seq_leq(node->seq, seq)) {
			found = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return found;
}

/* The first node that begins at or after `seq`, or NULL. */
static struct apus_rcvq_node *tree_at_or_after(const struct apus_rcvq *q, uint32_t seq)
{
	struct apus_rcvq_node *node = q->root, *found = NULL;

	while (node) {
		if (apus_seq_geq(node->seq, seq)) {
			found = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return found;
}

static struct apus_rcvq_node *tree_first(const struct apus_rcvq *q)
{
	struct apus_rcvq_node *node = q->root;

	while (node && node->left)
		node = node->left;
	return node;
}

/* Go down while the priorities there are higher, then split what is below in two: its children. */
static void tree_insert(struct apus_rcvq *q, struct apus_rcvq_node *node)
{
	struct apus_rcvq_node **link = &q->root, **less = &node->left, **more = &node->right;
	struct apus_rcvq_node *below;

	while (*link && (*link)->chance >= node->chance)
		link = apus_seq_lt(node->seq, (*link)->seq) ? &(*link)->left : &(*link)->right;

	below = *link;
	*link = node;
	while (below) {
		if (apus_seq_lt(below->seq, node->seq)) {
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
static void tree_remove(struct apus_rcvq *q, struct apus_rcvq_node *node)
{
	struct apus_rcvq_node **link = &q->root;
	struct apus_rcvq_node *less = node->left, *more = node->right;

	while (*link != node)
		link = apus_seq_lt(node->seq, (*link)->seq) ? &(*link)->left : &(*link)->right;

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

/* The node goes back to the slab; what it held in `m` is the caller's. */
static void node_unlink(struct apus_rcvq *q, struct apus_rcvq_node *node)
{
	tree_remove(q, node);
	q->ooo_segments--;
	q->ooo_bytes -= node->bytes;
	q->ooo_held -= node->held;
	apus_slab_put(q->nodes, node);
}

static void node_drop(struct apus_rcvq *q, struct apus_rcvq_node *node)
{
	struct rte_mbuf *m = node->m;

	node_unlink(q, node);
	free_chain(m);
}

/* ---- in order ---- */

/* Consumes a carved chain. */
static void queue_chain(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t bytes)
{
	q->bytes += bytes;
	if (q->tail && bytes <= APUS_RCVQ_SMALL_BYTES && has_room(q->tail, bytes)) {
		copy_chain(grow(q->tail, bytes), m);
		free_chain(m);
		return;
	}
	if (q->tail)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = chain_last(m);
}

/* False when there is no memory to put it in. */
static bool queue_copy(struct apus_rcvq *q, const uint8_t *text, uint32_t bytes)
{
	struct rte_mbuf *m = q->tail; /* what filled the hole came right before */

	if (!has_room(m, bytes)) {
		m = rte_pktmbuf_alloc(m->pool);
		if (!m)
			return false;
		if (bytes > rte_pktmbuf_tailroom(m)) { /* a pool of bare headers */
			rte_pktmbuf_free(m);
			return false;
		}
		q->tail->next = m;
		q->tail = m;
	}
	memcpy(grow(m, bytes), text, bytes);
	q->bytes += bytes;
	return true;
}

/* Move a node, whose text reaches `nxt`, from there on to the queue. False: no memory, it stays. */
static bool drain_node(struct apus_rcvq *q, struct apus_rcvq_node *node, uint32_t nxt)
{
	uint32_t skip = nxt - node->seq, bytes = node->bytes - skip;
	struct rte_mbuf *m = node->m;

	if (!m && !queue_copy(q, node->text + skip, bytes))
		return false;
	node_unlink(q, node);
	if (m)
		queue_chain(q, carve(m, skip, bytes), bytes);
	return true;
}

/* All that is in order now. Return: RCV.NXT behind it. */
static uint32_t drain(struct apus_rcvq *q, uint32_t nxt)
{
	struct apus_rcvq_node *node;

	while ((node = tree_first(q)) && apus_seq_leq(node->seq, nxt)) {
		uint32_t end = node_end(node);

		if (apus_seq_leq(end, nxt)) {
			node_drop(q, node);
			continue;
		}
		if (!drain_node(q, node, nxt))
			break;
		nxt = end;
	}
	return nxt;
}

/* ---- out of order ---- */

/* Cut from `text` what is kept already; drop the kept texts that it covers. */
static void cut_overlaps(struct apus_rcvq *q, struct apus_rcvq_text *text)
{
	struct apus_rcvq_node *node = tree_at_or_before(q, text->seq);

	if (node && apus_seq_gt(node_end(node), text->seq)) {
		uint32_t skip = apus_min(node_end(node) - text->seq, text->bytes);

		text->seq += skip;
		text->offset += skip;
		text->bytes -= skip;
	}
	while (text->bytes && (node = tree_at_or_after(q, text->seq)) &&
	       apus_seq_lt(node->seq, text->seq + text->bytes)) {
		if (apus_seq_gt(node_end(node), text->seq + text->bytes)) {
			text->bytes = node->seq - text->seq;
			return;
		}
		node_drop(q, node);
	}
}

/* Where `bytes` more bytes of the node's text can be written, or NULL. */
static uint8_t *node_room(struct apus_rcvq_node *node, uint32_t bytes)
{
	struct rte_mbuf *last;

	if (!node->m)
		return node->bytes + bytes <= NODE_TEXT_BYTES ? node->text + node->bytes : NULL;
	if (bytes > APUS_RCVQ_SMALL_BYTES)
		return NULL;
	last = chain_last(node->m);
	return has_room(last, bytes) ? grow(last, bytes) : NULL;
}

/* Pack a text that continues the one before it. Borrows m. */
static bool continue_node(struct apus_rcvq *q, const struct rte_mbuf *m, uint32_t seq,
			  uint32_t bytes)
{
	struct apus_rcvq_node *node = tree_at_or_before(q, seq);
	uint8_t *room;

	if (!node || node_end(node) != seq)
		return false;
	room = node_room(node, bytes);
	if (!room)
		return false;
	copy_chain(room, m);
	node->bytes += bytes;
	q->ooo_bytes += bytes;
	return true;
}

static struct apus_rcvq_node *new_node(struct apus_rcvq *q, uint32_t held)
{
	if (q->ooo_segments >= q->limit_segments || held > q->limit_held - q->ooo_held)
		return NULL;
	return apus_slab_get(q->nodes);
}

/* Consumes a carved chain. */
static int keep(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t seq, uint32_t bytes)
{
	bool inside = bytes <= NODE_TEXT_BYTES;
	struct apus_rcvq_node *node;
	uint32_t held;

	if (continue_node(q, m, seq, bytes)) {
		free_chain(m);
		return 0;
	}

	held = (uint32_t)sizeof(*node) + (inside ? 0 : chain_held(m));
	node = new_node(q, held);
	if (!node) {
		free_chain(m);
		return -ENOBUFS;
	}
	node->seq = seq;
	node->bytes = bytes;
	node->chance = next_chance(q);
	node->held = held;
	node->m = inside ? NULL : m;
	if (inside) {
		copy_chain(node->text, m);
		free_chain(m);
	}
	tree_insert(q, node);
	q->ooo_segments++;
	q->ooo_bytes += bytes;
	q->ooo_held += held;
	return 0;
}

/* ---- entry points ---- */

void apus_rcvq_init(struct apus_rcvq *q, struct apus_slab *nodes, uint32_t limit_held,
		    uint32_t seed)
{
	apus_must_op(nodes->bytes, >=, APUS_RCVQ_NODE_BYTES);
	*q = (struct apus_rcvq){
		.nodes = nodes,
		.limit_held = limit_held,
		.limit_segments = APUS_RCVQ_SEGMENTS_MAX,
		.chance = seed ? seed : 1,
	};
}

void apus_rcvq_drop_ooo(struct apus_rcvq *q)
{
	while (q->root)
		node_drop(q, q->root);
}

void apus_rcvq_fini(struct apus_rcvq *q)
{
	apus_rcvq_drop_ooo(q);
	free_chain(q->head);
	q->head = q->tail = NULL;
	q->bytes = 0;
}

int64_t apus_rcvq_input(struct apus_rcvq *q, struct rte_mbuf *m, struct apus_rcvq_text text,
			uint32_t nxt)
{
	if (apus_seq_lt(text.seq, nxt)) {
		uint32_t skip = apus_min(nxt - text.seq, text.bytes);

		text.seq += skip;
		text.offset += skip;
		text.bytes -= skip;
	}
	if (text.bytes && text.seq == nxt) {
		queue_chain(q, carve(m, text.offset, text.bytes), text.bytes);
		return (int64_t)(drain(q, nxt + text.bytes) - nxt);
	}
	if (text.bytes)
		cut_overlaps(q, &text);
	if (!text.bytes) {
		free_chain(m);
		return 0;
	}
	return keep(q, carve(m, text.offset, text.bytes), text.seq, text.bytes);
}

void apus_rcvq_consume(struct apus_rcvq *q, size_t bytes)
{
	apus_must_op(bytes, <=, q->bytes);
	q->bytes -= (uint32_t)bytes;
	while (bytes > 0) {
		struct rte_mbuf *m = q->head;
		uint32_t n = (uint32_t)apus_min(bytes, m->data_len);

		bytes -= n;
		m->data_off = (uint16_t)(m->data_off + n);
		m->data_len = (uint16_t)(m->data_len - n);
		if (m->data_len)
			return;
		q->head = m->next;
		if (!q->head)
			q->tail = NULL;
		m->next = NULL;
		rte_pktmbuf_free_seg(m);
	}
}

size_t apus_rcvq_read(struct apus_rcvq *q, void *buf, size_t bytes)
{
	uint8_t *to = buf;
	size_t left = apus_min(bytes, q->bytes);
	size_t taken = left;

	while (left > 0) {
		size_t n = apus_min(left, q->head->data_len);

		memcpy(to, rte_pktmbuf_mtod(q->head, const uint8_t *), n);
		apus_rcvq_consume(q, n);
		to += n;
		left -= n;
	}
	return taken;
}

size_t apus_rcvq_readv(struct apus_rcvq *q, const struct iovec *iov, int iov_count)
{
	size_t taken = 0;

	for (int i = 0; i < iov_count && q->bytes > 0; i++)
		taken += apus_rcvq_read(q, iov[i].iov_base, iov[i].iov_len);
	return taken;
}

int apus_rcvq_peek(const struct apus_rcvq *q, struct iovec *views, int views_max)
{
	int n = 0;

	for (struct rte_mbuf *m = q->head; m && n < views_max; m = m->next, n++)
		views[n] = (struct iovec){rte_pktmbuf_mtod(m, void *), m->data_len};
	return n;
}

/* ---- check ---- */

/* What the walk over the tree has seen so far. */
struct walk {
	struct apus_rcvq sum;
	uint32_t depth_max;
	uint32_t end; /* of the node before */
	bool any;
};

static void check_node(const struct apus_rcvq_node *node, struct walk *walk)
{
	uint32_t bytes = 0;

	apus_must(!node->left || node->left->chance <= node->chance);
	apus_must(!node->right || node->right->chance <= node->chance);
	apus_must(!walk->any || apus_seq_leq(walk->end, node->seq)); /* in order, no overlap */
	apus_must_op(node->bytes, >, 0);
	for (const struct rte_mbuf *m = node->m; m; m = m->next)
		bytes += m->data_len;
	if (node->m)
		apus_must_op(bytes, ==, node->bytes);
	else
		apus_must_op(node->bytes, <=, NODE_TEXT_BYTES);
	walk->end = node_end(node);
	walk->any = true;
	walk->sum.ooo_segments++;
	walk->sum.ooo_bytes += node->bytes;
	walk->sum.ooo_held += node->held;
}

static void check_tree(const struct apus_rcvq_node *node, struct walk *walk, uint32_t depth)
{
	if (!node)
		return;
	apus_must_op(depth, <=, walk->depth_max);
	check_tree(node->left, walk, depth + 1);
	check_node(node, walk);
	check_tree(node->right, walk, depth + 1);
}

void apus_rcvq_check(const struct apus_rcvq *q)
{
	/* A random treap of n nodes is about 3 log2(n) deep at its deepest. */
	struct walk walk = {.depth_max =
				    10 + 5 * (32 - (uint32_t)__builtin_clz(q->ooo_segments | 1))};
	const struct rte_mbuf *last = NULL;

	for (const struct rte_mbuf *m = q->head; m; last = m, m = m->next) {
		apus_must_op(m->data_len, >, 0);
		walk.sum.bytes += m->data_len;
	}
	apus_must(last == q->tail);
	apus_must_op(walk.sum.bytes, ==, q->bytes);
	check_tree(q->root, &walk, 1);
	apus_must_op(walk.sum.ooo_segments, ==, q->ooo_segments);
	apus_must_op(walk.sum.ooo_bytes, ==, q->ooo_bytes);
	apus_must_op(walk.sum.ooo_held, ==, q->ooo_held);
	apus_must_op(q->ooo_segments, <=, q->limit_segments);
	apus_must_op(q->ooo_held, <=, q->limit_held);
}
