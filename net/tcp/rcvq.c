/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rcvq.c: reassembly (RFC 9293 §3.10.7.4, seventh).
 *
 * In order: a plain list of mbufs through `next`; a multi-segment packet becomes several entries.
 * Texts up to APUS_OOO_SMALL_BYTES are packed behind the last one, so an unread window holds at most
 * window / 512 mbufs. Out of order: runs (ooo.c), of which the first one joins the list as it is when
 * the gap before it fills.
 *
 * Invariants: apus_rcvq_check().
 */
#include "net/tcp/rcvq.h"

#include "net/tcp/mchain.h"
#include "net/tcp/seq.h"

/* ---- in order ---- */

/* Consumes a carved chain. */
static void queue_chain(struct apus_rcvq *q, struct rte_mbuf *m, struct rte_mbuf *last,
			uint32_t bytes)
{
	q->bytes += bytes;
	if (q->tail && bytes <= APUS_OOO_SMALL_BYTES && apus_mchain_has_room(q->tail, bytes)) {
		apus_mchain_copy(apus_mchain_grow(q->tail, bytes), m);
		apus_mchain_free(m);
		return;
	}
	if (q->tail)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = last;
}

/* All that is in order now. Return: RCV.NXT behind it. */
static uint32_t drain(struct apus_rcvq *q, uint32_t nxt)
{
	while (q->ooo) {
		struct apus_ooo_taken taken = apus_ooo_take(&q->ooo, q->pool, nxt, q->tail);

		if (!taken.bytes)
			break;
		nxt += taken.bytes;
		if (taken.m)
			queue_chain(q, taken.m, taken.last, taken.bytes);
		else
			q->bytes += taken.bytes; /* behind the tail's */
	}
	return nxt;
}

/* ---- entry points ---- */

void apus_rcvq_init(struct apus_rcvq *q, struct apus_ooo_pool *pool, uint32_t limit_held)
{
	*q = (struct apus_rcvq){.pool = pool, .limit_held = limit_held};
}

void apus_rcvq_drop_ooo(struct apus_rcvq *q)
{
	apus_ooo_drop(&q->ooo, q->pool);
}

void apus_rcvq_end(struct apus_rcvq *q)
{
	apus_ooo_drop_text(&q->ooo, q->pool);
}

void apus_rcvq_fini(struct apus_rcvq *q)
{
	apus_rcvq_drop_ooo(q);
	apus_mchain_free(q->head);
	q->head = q->tail = NULL;
	q->bytes = 0;
}

void apus_rcvq_report(struct apus_rcvq *q, uint32_t start, uint32_t end)
{
	if (q->reports_duplicates)
		apus_ooo_report(&q->ooo, q->pool, (struct apus_segment_sack){start, end});
}

/* What lies before RCV.NXT came before. */
static void cut_old(struct apus_rcvq *q, struct apus_ooo_text *text, uint32_t nxt)
{
	uint32_t skip;

	if (!apus_seq_lt(text->seq, nxt))
		return;
	skip = apus_min(nxt - text->seq, text->bytes);
	apus_rcvq_report(q, text->seq, text->seq + skip);
	text->seq += skip;
	text->offset += skip;
	text->bytes -= skip;
}

static void report_overlap(struct apus_rcvq *q, uint32_t start, uint32_t end)
{
	struct apus_segment_sack duplicate = apus_ooo_overlap(q->ooo, start, end);

	apus_rcvq_report(q, duplicate.start, duplicate.end);
}

static int keep(struct apus_rcvq *q, struct rte_mbuf *m, struct apus_ooo_text text)
{
	struct apus_segment_sack duplicate;
	int rc = apus_ooo_add(&q->ooo, q->pool, m, text, q->limit_held, &duplicate);

	apus_rcvq_report(q, duplicate.start, duplicate.end);
	return rc;
}

void apus_rcvq_append_any(struct apus_rcvq *q, struct rte_mbuf *m, uint32_t offset, uint32_t bytes)
{
	m = apus_mchain_carve(m, offset, bytes);
	queue_chain(q, m, apus_mchain_last(m), bytes);
}

int64_t apus_rcvq_input(struct apus_rcvq *q, struct rte_mbuf *m, struct apus_ooo_text text,
			uint32_t nxt)
{
	cut_old(q, &text, nxt);
	if (!text.bytes) {
		apus_mchain_free(m);
		return 0;
	}
	if (text.seq != nxt)
		return keep(q, m, text);

	if (q->ooo) /* what of it had come out of order */
		report_overlap(q, nxt, nxt + text.bytes);
	apus_rcvq_append_any(q, m, text.offset, text.bytes);
	return (int64_t)(drain(q, nxt + text.bytes) - nxt);
}

void apus_rcvq_consume(struct apus_rcvq *q, size_t bytes)
{
	apus_must_op(bytes, <=, q->bytes);
	q->bytes -= (uint32_t)bytes;
	q->head = apus_mchain_skip(q->head, (uint32_t)bytes);
	if (!q->head)
		q->tail = NULL;
}

/* More than one mbuf, or a part of one. */
static APUS_NOINLINE size_t read_any(struct apus_rcvq *q, void *buf, size_t bytes)
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

size_t apus_rcvq_read(struct apus_rcvq *q, void *buf, size_t bytes)
{
	struct rte_mbuf *m = q->head;

	if (apus_unlikely(m != q->tail || !m || bytes < m->data_len))
		return read_any(q, buf, bytes);
	bytes = m->data_len;
	memcpy(buf, rte_pktmbuf_mtod(m, const void *), bytes);
	q->head = q->tail = NULL;
	q->bytes = 0;
	apus_mbuf_put(m);
	return bytes;
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

void apus_rcvq_check(const struct apus_rcvq *q)
{
	const struct rte_mbuf *last = NULL;
	uint32_t bytes = 0;

	for (const struct rte_mbuf *m = q->head; m; last = m, m = m->next) {
		apus_must_op(m->data_len, >, 0);
		bytes += m->data_len;
	}
	apus_must(last == q->tail);
	apus_must_op(bytes, ==, q->bytes);
	apus_ooo_check(q->ooo);
	apus_must_op(apus_rcvq_ooo_held(q), <=, q->limit_held);
}
