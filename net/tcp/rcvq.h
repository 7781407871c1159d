/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rcvq.h: the text that arrived: in order for the reader, out of order until the hole fills.
 *
 * In-order mbufs are queued, not copied, except that small texts are packed into the room behind
 * the last one, so that a peer who sends single bytes fills bytes and not buffers. Out-of-order
 * texts stand in a treap by sequence number: insertion is O(log n) in any order of arrival
 * (SegmentSmack, CVE-2018-5390), the set is bounded in segments and in memory held, small texts are
 * copied into the node, and overlaps are trimmed so that no byte is held twice.
 */
#ifndef APUS_NET_TCP_RCVQ_H
#define APUS_NET_TCP_RCVQ_H

#include "runtime/base/alloc.h"

#include <rte_mbuf.h>
#include <sys/uio.h>

APUS_BEGIN_DECLS

#define APUS_RCVQ_SEGMENTS_MAX 1024 /* out of order, by default */
#define APUS_RCVQ_SMALL_BYTES  512  /* a text up to this is packed behind the last one in order */

struct apus_rcvq_node; /* one out-of-order text: an object of the slab */

#define APUS_RCVQ_NODE_BYTES 128 /* what the slab of nodes is to be initialised with */

struct apus_rcvq {
	/* In order: a chain of mbufs, each with at least one byte. */
	struct rte_mbuf *head, *tail;
	uint32_t bytes; /* for the reader: what counts against the window */

	/* Out of order. */
	uint32_t ooo_bytes;    /* of text */
	uint32_t ooo_held;     /* bytes of memory held for it: whole buffers and nodes */
	uint32_t ooo_segments; /* nodes in the tree */
	uint32_t limit_segments;
	uint32_t limit_held;
	uint32_t chance; /* xorshift state for the treap's priorities; never 0 */
	struct apus_rcvq_node *root;
	struct apus_slab *nodes; /* borrowed: one per shard */
};

/**
 * apus_rcvq_init - takes no memory
 * @nodes:      slab of APUS_RCVQ_NODE_BYTES; borrowed until fini
 * @limit_held: bytes of memory for out-of-order text; twice the receive buffer is usual
 * @seed:       any random number: the shape of the tree must not be the peer's choice
 */
void apus_rcvq_init(struct apus_rcvq *q, struct apus_slab *nodes, uint32_t limit_held,
		    uint32_t seed);
/** apus_rcvq_fini - free all; the queue is empty and usable after */
void apus_rcvq_fini(struct apus_rcvq *q);
/** apus_rcvq_drop_ooo - forget the out-of-order texts (the peer still has them): under memory pressure */
void apus_rcvq_drop_ooo(struct apus_rcvq *q);

/* Where a segment's text is. */
struct apus_rcvq_text {
	uint32_t seq;    /* of its first byte (a SYN before it not counted) */
	uint32_t offset; /* from the start of the mbuf chain */
	uint32_t bytes;  /* what lies beyond the window was cut off by the caller */
};

/**
 * apus_rcvq_input - take a segment's text
 * @m:    the packet; consumed, always
 * @text: which of its bytes; the part before @nxt is dropped here; 0 bytes do nothing
 * @nxt:  RCV.NXT
 *
 * Text that reaches @nxt joins the queue together with all that then is in order; other text is
 * kept out of order.
 *
 * Context: any.
 * Return:  bytes by which RCV.NXT moves: 0 when kept out of order or nothing new; -ENOBUFS when it
 *          was out of order and dropped, because a limit is reached or memory is out.
 * Source:  RFC 9293 §3.10.7.4, seventh
 */
APUS_MUST_CHECK int64_t apus_rcvq_input(struct apus_rcvq *q, struct rte_mbuf *m,
					struct apus_rcvq_text text, uint32_t nxt);

/** apus_rcvq_read - move at most @bytes to @buf. Return: how many */
APUS_MUST_CHECK size_t apus_rcvq_read(struct apus_rcvq *q, void *buf, size_t bytes);
/** apus_rcvq_readv - the same, to several places. Return: how many bytes */
APUS_MUST_CHECK size_t apus_rcvq_readv(struct apus_rcvq *q, const struct iovec *iov, int iov_count);
/** apus_rcvq_peek - lends the first bytes, at most @views_max pieces, until consume or read. Return: pieces */
int apus_rcvq_peek(const struct apus_rcvq *q, struct iovec *views, int views_max);
/** apus_rcvq_consume - drop the first @bytes (<= q->bytes) */
void apus_rcvq_consume(struct apus_rcvq *q, size_t bytes);

/** apus_rcvq_check - the invariants, for tests; O(n) */
void apus_rcvq_check(const struct apus_rcvq *q);

APUS_END_DECLS

#endif
