/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/sndq.c: the send queue: a chain of full mbufs, sliced without copying.
 *
 * A buffer that the user lends is queued as mbufs that name its bytes: for all below they are
 * queue mbufs like others, only without room behind the last byte.
 *
 * A queue mbuf has no headroom, for headers live in mbufs of their own. It is written only behind
 * its last byte, and an indirect mbuf sees only the slice it was made for; so appending is safe
 * while a driver still reads what is in front.
 *
 * Invariants: apus_sndq_check().
 *
 * Entry points: append, append_lent, ack_any, attach, attach_run; sndq.h: room, filled, ack, slice.
 */
#include "net/tcp/sndq.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define LENT_PIECE_MAX ((size_t)61440) /* an mbuf's length has 16 bits */

/* An mbuf of the queue and the position of its first byte. */
struct place {
	struct rte_mbuf *m;
	uint32_t position;
};

void apus_sndq_check(const struct apus_sndq *q)
{
	uint64_t bytes = 0;
	uint32_t mbufs = 0, lent = 0;
	bool has_forward = !q->forward, has_back = !q->back;
	const struct rte_mbuf *last = NULL;

	for (const struct rte_mbuf *m = q->head; m; last = m, m = m->next) {
		uint32_t position = q->front - q->head_used + (uint32_t)bytes;

		has_forward |= m == q->forward && position == q->forward_position;
		has_back |= m == q->back && position == q->back_position;
		apus_must_op(m->data_len > 0, ==, q->bytes > 0); /* one that was kept is empty */
		if (m->next && !RTE_MBUF_HAS_EXTBUF(m->next))
			apus_must_op(rte_pktmbuf_tailroom(m), ==, 0);
		bytes += m->data_len;
		mbufs++;
		lent += RTE_MBUF_HAS_EXTBUF(m);
	}
	apus_must(last == q->tail);
	apus_must_op(bytes, ==, (uint64_t)q->bytes + q->head_used);
	apus_must(!q->bytes || (q->head && q->head_used < q->head->data_len));
	apus_must(q->bytes || q->head == q->tail);
	apus_must(q->head || !q->head_used);
	apus_must(has_forward && has_back);
	apus_must_op(mbufs, <=, q->bytes / rte_pktmbuf_data_room_size(q->pool) + 2 + 2 * lent);
}

void apus_sndq_init(struct apus_sndq *q, struct rte_mempool *pool, uint32_t limit_bytes)
{
	*q = (struct apus_sndq){.pool = pool, .limit_bytes = limit_bytes};
}

void apus_sndq_fini(struct apus_sndq *q)
{
	apus_sndq_ack_any(q, q->bytes);
	apus_must(!q->head && !q->tail);
}

void apus_sndq_set_limit(struct apus_sndq *q, uint32_t limit_bytes)
{
	q->limit_bytes = limit_bytes;
}

/* ---- append ---- */

/* The mbuf with room behind its last byte, a new one if need be. */
static struct rte_mbuf *tail_with_room(struct apus_sndq *q)
{
	struct rte_mbuf *m = q->tail;

	if (m && rte_pktmbuf_tailroom(m))
		return m;

	m = apus_mbuf_get(q->pool);
	if (!m)
		return NULL;
	m->data_off = 0;
	if (q->tail)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = m;
	return m;
}

APUS_NOINLINE uint8_t *apus_sndq_begin(struct apus_sndq *q, size_t n)
{
	struct rte_mbuf *m = n <= rte_pktmbuf_data_room_size(q->pool) ? tail_with_room(q) : NULL;

	return m ? rte_pktmbuf_mtod(m, uint8_t *) : NULL;
}

static size_t append_piece(struct apus_sndq *q, const uint8_t *from, size_t bytes)
{
	size_t taken = 0;

	while (taken < bytes) {
		struct rte_mbuf *m = tail_with_room(q);
		uint32_t n;

		if (!m)
			break;
		n = (uint32_t)apus_min(bytes - taken, rte_pktmbuf_tailroom(m));
		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len), from + taken, n);
		m->data_len += (uint16_t)n;
		m->pkt_len = m->data_len;
		q->bytes += n;
		taken += n;
	}
	return taken;
}

size_t apus_sndq_append(struct apus_sndq *q, const struct iovec *iov, int iov_count)
{
	size_t taken = 0;

	for (int i = 0; i < iov_count; i++) {
		size_t bytes = apus_min(iov[i].iov_len, apus_sndq_space(q));
		size_t n = append_piece(q, iov[i].iov_base, bytes);

		taken += n;
		if (n < iov[i].iov_len)
			break;
	}
	return taken;
}

/* An mbuf whose bytes are the user's. There is no room behind them, so nothing is ever put there. */
static struct rte_mbuf *name_lent(struct apus_sndq *q, void *bytes, uint16_t count, rte_iova_t iova,
				  struct rte_mbuf_ext_shared_info *shinfo)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(q->pool);

	if (!m)
		return NULL;
	rte_pktmbuf_attach_extbuf(m, bytes, iova, count, shinfo);
	rte_mbuf_ext_refcnt_update(shinfo, 1);
	m->data_off = 0;
	m->data_len = count;
	m->pkt_len = count;
	return m;
}

size_t apus_sndq_append_lent(struct apus_sndq *q, const void *bytes, size_t count, rte_iova_t iova,
			     struct rte_mbuf_ext_shared_info *shinfo)
{
	size_t taken = 0;

	apus_sndq_rest(q); /* what was kept has no part in this */
	while (taken < count) {
		size_t left = count - taken;
		size_t n = apus_min(apus_min(left, apus_sndq_space(q)), LENT_PIECE_MAX);
		struct rte_mbuf *m;

		if (n < apus_min(left, APUS_SNDQ_LENT_LEAST))
			break;
		m = name_lent(q, (char *)(uintptr_t)bytes + taken, (uint16_t)n, iova + taken,
			      shinfo);
		if (!m)
			break;
		if (q->tail)
			q->tail->next = m;
		else
			q->head = m;
		q->tail = m;
		q->bytes += (uint32_t)n;
		taken += n;
	}
	return taken;
}

/* ---- ack ---- */

static void drop_head(struct apus_sndq *q)
{
	struct rte_mbuf *m = q->head;

	q->head = m->next;
	if (!q->head)
		q->tail = NULL;
	if (q->forward == m)
		q->forward = NULL;
	if (q->back == m)
		q->back = NULL;
	q->head_used -= m->data_len;
	apus_mbuf_put(m); /* to the pool now, or with the last indirect mbuf */
}

void apus_sndq_ack_any(struct apus_sndq *q, uint32_t bytes)
{
	apus_must_op(bytes, <=, q->bytes);
	q->bytes -= bytes;
	q->front += bytes;
	q->head_used += bytes;
	while (q->head && q->head_used >= q->head->data_len)
		drop_head(q);
}

/* ---- attach ---- */

/* The mbuf that holds the byte at `position`, from the nearest known place at or before it. */
static struct place seek(const struct apus_sndq *q, uint32_t position)
{
	struct place at = {q->head, q->front - q->head_used};

	if (q->back && apus_seq_leq(q->back_position, position))
		at = (struct place){q->back, q->back_position};
	if (q->forward && apus_seq_leq(q->forward_position, position) &&
	    apus_seq_leq(at.position, q->forward_position))
		at = (struct place){q->forward, q->forward_position};

	while (position - at.position >= at.m->data_len) {
		at.position += at.m->data_len;
		at.m = at.m->next;
	}
	return at;
}

static void remember(struct apus_sndq *q, struct place at)
{
	if (at.m == q->head) /* which is at hand */
		return;
	if (!q->forward || apus_seq_geq(at.position, q->forward_position)) {
		q->forward = at.m;
		q->forward_position = at.position;
	} else {
		q->back = at.m;
		q->back_position = at.position;
	}
}

/* Behind what is in `to`, which has the room. Return: where the slice ended. */
static struct place copy_slice(struct place at, uint32_t position, uint32_t bytes,
			       struct rte_mbuf *to)
{
	uint8_t *end = (uint8_t *)rte_pktmbuf_append(to, (uint16_t)bytes);

	for (;;) {
		uint32_t skip = position - at.position;
		uint32_t n = apus_min(bytes, at.m->data_len - skip);

		memcpy(end, rte_pktmbuf_mtod_offset(at.m, const uint8_t *, skip), n);
		end += n;
		position += n;
		bytes -= n;
		if (!bytes)
			return at;
		at.position += at.m->data_len;
		at.m = at.m->next;
	}
}

/* An indirect mbuf for the bytes [skip, skip + n) of `m`. */
static struct rte_mbuf *lend(struct rte_mempool *pool, struct rte_mbuf *m, uint32_t skip,
			     uint32_t n)
{
	struct rte_mbuf *piece = rte_pktmbuf_alloc(pool);

	if (!piece)
		return NULL;
	rte_pktmbuf_attach(piece, m);
	piece->data_off += (uint16_t)skip;
	piece->data_len = (uint16_t)n;
	piece->pkt_len = n;
	return piece;
}

/* A chain that is being made. */
struct chain {
	struct rte_mbuf *first;
	struct rte_mbuf **end; /* where the next one goes */
	uint16_t segs;
};

static void chain_add(struct chain *chain, struct rte_mbuf *m)
{
	*chain->end = m;
	chain->end = &m->next;
	chain->segs++;
}

/* Adds indirect mbufs to the chain. `*at` becomes where the slice ended. False: no memory. */
static bool lend_slice(const struct apus_sndq *q, struct place *at, uint32_t position,
		       uint32_t bytes, struct chain *chain)
{
	for (;;) {
		uint32_t skip = position - at->position;
		uint32_t n = apus_min(bytes, at->m->data_len - skip);

		if (n) {
			struct rte_mbuf *piece = lend(q->pool, at->m, skip, n);

			if (!piece)
				return false;
			chain_add(chain, piece);
		}
		position += n;
		bytes -= n;
		if (!bytes)
			return true;
		at->position += at->m->data_len;
		at->m = at->m->next;
	}
}

/* Behind what is in `head`. */
static void join(struct rte_mbuf *head, const struct chain *chain, uint32_t bytes)
{
	rte_pktmbuf_lastseg(head)->next = chain->first;
	head->nb_segs = (uint16_t)(head->nb_segs + chain->segs);
	head->pkt_len += bytes;
}

int apus_sndq_attach(struct apus_sndq *q, uint32_t offset, uint32_t bytes, struct rte_mbuf *head)
{
	uint32_t position = q->front + offset;
	struct chain chain = {.end = &chain.first};
	struct place at;

	apus_must_op(bytes, >, 0);
	apus_must_op((uint64_t)offset + bytes, <=, q->bytes);
	at = seek(q, position);
	if (bytes <= APUS_SNDQ_COPY_MAX && head->nb_segs == 1 && RTE_MBUF_DIRECT(head) &&
	    bytes <= rte_pktmbuf_tailroom(head)) {
		remember(q, copy_slice(at, position, bytes, head));
		return 0;
	}

	if (!lend_slice(q, &at, position, bytes, &chain)) {
		rte_pktmbuf_free(chain.first);
		return -ENOBUFS;
	}
	join(head, &chain, bytes);
	remember(q, at);
	return 0;
}

int apus_sndq_attach_run(struct apus_sndq *q, uint32_t offset, uint32_t bytes,
			 uint32_t segment_bytes, bool spare, uint32_t segs_max,
			 struct rte_mbuf *head)
{
	uint32_t position = q->front + offset;
	struct chain chain = {.end = &chain.first};
	struct place at;

	apus_must_op(bytes, >, 0);
	apus_must_op((uint64_t)offset + bytes, <=, q->bytes);
	at = seek(q, position);
	for (uint32_t left = bytes; left > 0;) {
		uint32_t n = apus_min(left, segment_bytes);

		if (!lend_slice(q, &at, position, n, &chain) ||
		    (uint32_t)head->nb_segs + chain.segs > segs_max)
			goto err_chain;
		position += n;
		left -= n;
		if (left && spare) {
			struct rte_mbuf *m = rte_pktmbuf_alloc(q->pool);

			if (!m)
				goto err_chain;
			chain_add(&chain, m);
		}
	}
	join(head, &chain, bytes);
	remember(q, at);
	return 0;

err_chain:
	rte_pktmbuf_free(chain.first);
	return -ENOBUFS;
}
