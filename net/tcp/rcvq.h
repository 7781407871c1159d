/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rcvq.h: the text that arrived: in order for the reader, out of order until the hole fills.
 *
 * In-order mbufs are queued, not copied, except that small texts are packed into the room behind
 * the last one, so that a peer who sends single bytes fills bytes and not buffers. Out-of-order
 * text is kept in runs (ooo.h), bounded in gaps and in memory held.
 */
#ifndef APUS_NET_TCP_RCVQ_H
#define APUS_NET_TCP_RCVQ_H

#include "net/tcp/ooo.h"

#include <sys/uio.h>

APUS_BEGIN_DECLS

struct apus_rcvq {
	/* In order: a chain of mbufs, each with at least one byte. */
	struct rte_mbuf *head, *tail;
	uint32_t bytes; /* for the reader: what counts against the window */

	/* Out of order. */
	uint32_t limit_held : 31;        /* bytes of memory for it */
	uint32_t reports_duplicates : 1; /* the peer understands SACK */
	struct apus_ooo *ooo;            /* NULL: nothing */
	struct apus_ooo_pool *pool;      /* borrowed: one per shard */
};

/**
 * apus_rcvq_init - takes no memory
 * @pool:       borrowed until fini
 * @limit_held: bytes of memory for out-of-order text; twice the receive buffer is usual
 */
void apus_rcvq_init(struct apus_rcvq *q, struct apus_ooo_pool *pool, uint32_t limit_held);
/** apus_rcvq_fini - free all; the queue is empty and usable after */
void apus_rcvq_fini(struct apus_rcvq *q);
/** apus_rcvq_drop_ooo - forget the out-of-order texts (the peer still has them): under memory pressure */
void apus_rcvq_drop_ooo(struct apus_rcvq *q);

/** apus_rcvq_end - the FIN is here, nothing can follow it: forget what is out of order; duplicates are still reported */
void apus_rcvq_end(struct apus_rcvq *q);

/** apus_rcvq_has_gap - there is text out of order */
static inline bool apus_rcvq_has_gap(const struct apus_rcvq *q)
{
	return q->ooo && q->ooo->runs;
}
/** apus_rcvq_ooo_held - bytes of memory held for it: whole buffers */
static inline uint32_t apus_rcvq_ooo_held(const struct apus_rcvq *q)
{
	return q->ooo ? q->ooo->held : 0;
}
/** apus_rcvq_reports - duplicates that wait to be reported, each by an ACK */
static inline uint32_t apus_rcvq_reports(const struct apus_rcvq *q)
{
	return q->ooo ? q->ooo->report_count : 0;
}
/** apus_rcvq_report - [@start, @end) came again: the next ACK is to say so, if the peer understands (RFC 2883) */
void apus_rcvq_report(struct apus_rcvq *q, uint32_t start, uint32_t end);
/** apus_rcvq_blocks - as apus_ooo_blocks() */
static inline uint32_t apus_rcvq_blocks(struct apus_rcvq *q, const struct apus_ooo_query *query,
					struct apus_segment_sack *blocks)
{
	return q->ooo ? apus_ooo_blocks(&q->ooo, q->pool, query, blocks) : 0;
}

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
					struct apus_ooo_text text, uint32_t nxt);

/** apus_rcvq_append_any - apus_rcvq_append(), whatever is queued */
void apus_rcvq_append_any(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t offset, uint32_t bytes);
/** apus_rcvq_append - the @bytes (> 0) of @m from @offset to its end are the next; consumes @m. Nothing may be out of order or to be reported. Context: any */
static inline void apus_rcvq_append(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t offset,
				    uint32_t bytes);

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

/* inline definitions */

static inline void apus_rcvq_append(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t offset,
				    uint32_t bytes)
{
	if (q->head || m->nb_segs != 1) {
		apus_rcvq_append_any(q, m, offset, bytes);
		return;
	}
	m->data_off = (uint16_t)(m->data_off + offset);
	m->data_len = (uint16_t)bytes;
	q->head = q->tail = m;
	q->bytes = bytes;
}

APUS_END_DECLS

#endif
