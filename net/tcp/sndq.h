/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/sndq.h: the bytes that were written and are not yet acknowledged.
 *
 * They lie in mbufs of the link's pool, each filled to the brim before the next is taken, so that
 * small writes share one; or where the user has them, when a buffer is lent. A segment is a header mbuf with indirect mbufs that point into these, so
 * sending and sending again copy nothing; a small slice is copied, which is cheaper. Offset 0 is
 * the byte at SND.UNA.
 *
 * Bytes are only ever added behind the last one: what a driver still reads is never written again.
 * An acknowledged mbuf goes back to the pool when the last driver has let go of it (refcounts). One
 * that nobody else holds is kept until the end of the turn, for what is written in answer.
 */
#ifndef APUS_NET_TCP_SNDQ_H
#define APUS_NET_TCP_SNDQ_H

#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <string.h>
#include <sys/uio.h>

APUS_BEGIN_DECLS

#define APUS_SNDQ_LENT_LEAST 4096

/*
 * A slice up to this is copied into the header mbuf. With an mbuf cache and the bytes in L2, alloc,
 * attach and free take 10, 11, 14, 23 and 30 ns for 1, 256, 512, 1000 and 1448 copied bytes; 24, 26,
 * 28, 34 and 38 for lent ones. Beyond 512 the difference is small, and what is not copied does not
 * push other things out of the cache; a driver that reads one piece instead of two is not counted.
 */
#define APUS_SNDQ_COPY_MAX 512U

struct apus_sndq {
	struct rte_mempool *pool; /* borrowed */
	struct rte_mbuf *head, *tail;
	uint32_t bytes;       /* queued */
	uint32_t limit_bytes; /* at most; bounds the mbufs too, since each is filled */
	uint32_t front;       /* position of offset 0: counts, modulo 2^32, all bytes that left */
	uint32_t head_used;   /* bytes of the head mbuf that are acknowledged */

	/* Places found behind the head: an mbuf (NULL: none) and the position of its first byte. */
	struct rte_mbuf *forward; /* where the last slice at the far end (SND.NXT) ended */
	struct rte_mbuf *back;    /* where the last slice behind that (retransmission) ended */
	uint32_t forward_position, back_position;
};

/** apus_sndq_init - @pool is borrowed until fini; takes no memory */
void apus_sndq_init(struct apus_sndq *q, struct rte_mempool *pool, uint32_t limit_bytes);
/** apus_sndq_fini - free what is queued; the queue is empty and usable after */
void apus_sndq_fini(struct apus_sndq *q);
/** apus_sndq_set_limit - at most @limit_bytes from now on; what is queued stays */
void apus_sndq_set_limit(struct apus_sndq *q, uint32_t limit_bytes);

/** apus_sndq_space - bytes that may be appended now, memory permitting */
static inline uint32_t apus_sndq_space(const struct apus_sndq *q)
{
	return q->bytes < q->limit_bytes ? q->limit_bytes - q->bytes : 0;
}

/**
 * apus_sndq_append - copy bytes to the end of the queue
 * @iov, @iov_count: where they are; borrowed
 *
 * Return: bytes taken: fewer than given when the queue is full or the pool empty, 0 when none.
 */
APUS_MUST_CHECK size_t apus_sndq_append(struct apus_sndq *q, const struct iovec *iov,
					int iov_count);

/**
 * apus_sndq_append_lent - queue bytes where they lie
 * @bytes:  kept and not to be changed until @shinfo's count falls to 0
 * @iova:   of @bytes, for the device
 * @shinfo: counts who names them; each mbuf made here does
 *
 * Small pieces are not worth an mbuf: none is made of less than APUS_SNDQ_LENT_LEAST bytes unless
 * that is all there is.
 *
 * Return: bytes taken: fewer than given when the queue is full or the pool empty, 0 when none.
 */
APUS_MUST_CHECK size_t apus_sndq_append_lent(struct apus_sndq *q, const void *bytes, size_t count,
					     rte_iova_t iova,
					     struct rte_mbuf_ext_shared_info *shinfo);

/** apus_sndq_room - where the next @n bytes, > 0, go, if that is one mbuf; to be filled before all else. Return: NULL: apus_sndq_append() is the way */
static inline uint8_t *apus_sndq_room(struct apus_sndq *q, size_t n);
/** apus_sndq_begin - the other half of apus_sndq_room(): in an empty queue */
uint8_t *apus_sndq_begin(struct apus_sndq *q, size_t n);
/** apus_sndq_filled - the first @n bytes of that room, > 0, are queued now */
static inline void apus_sndq_filled(struct apus_sndq *q, size_t n);

/** apus_sndq_ack_any - apus_sndq_ack(), whatever is queued */
void apus_sndq_ack_any(struct apus_sndq *q, uint32_t bytes);
/** apus_sndq_ack - the first @bytes (<= q->bytes) were acknowledged: forget them. Keeps an mbuf perhaps: apus_sndq_rest() is to follow */
static inline void apus_sndq_ack(struct apus_sndq *q, uint32_t bytes);
/** apus_sndq_rest - the turn is over: a queue without bytes holds no mbuf from now on */
static inline void apus_sndq_rest(struct apus_sndq *q);

/**
 * apus_sndq_attach - append a slice to a segment
 * @offset, @bytes: of the slice; bytes > 0, offset + bytes <= q->bytes
 * @head:           header mbuf, or the chain so far; borrowed; pkt_len and nb_segs are kept right
 *
 * O(1) at the front, where the last slice ended, and where the last slice further back ended.
 *
 * Return: 0; -ENOBUFS when the pool is empty, and @head is as it was.
 */
APUS_MUST_CHECK int apus_sndq_attach(struct apus_sndq *q, uint32_t offset, uint32_t bytes,
				     struct rte_mbuf *head);

/**
 * apus_sndq_attach_run - append a slice that will be cut into segments
 * @segment_bytes: of text in each but the last; > 0
 * @spare:         put an empty mbuf before each segment but the first: for headers, when software
 *                 will cut (net/ip/gso.h)
 * @segs_max:      mbufs in the chain, at most; -ENOBUFS when it takes more
 *
 * As apus_sndq_attach(), but nothing is copied, and no mbuf of the chain is in two segments.
 */
APUS_MUST_CHECK int apus_sndq_attach_run(struct apus_sndq *q, uint32_t offset, uint32_t bytes,
					 uint32_t segment_bytes, bool spare, uint32_t segs_max,
					 struct rte_mbuf *head);

/** apus_sndq_is_short - is a slice of @bytes, wherever it begins, one piece that is to be copied? Else attach it */
static inline bool apus_sndq_is_short(const struct apus_sndq *q, uint32_t bytes)
{
	return q->head == q->tail && bytes <= APUS_SNDQ_COPY_MAX;
}

/** apus_sndq_short - where it is, if so; valid until the next append or ack */
static inline const uint8_t *apus_sndq_short(const struct apus_sndq *q, uint32_t offset)
{
	apus_assert(offset < q->bytes);
	return rte_pktmbuf_mtod_offset(q->head, const uint8_t *, q->head_used + offset);
}

/** apus_sndq_check - the invariants, for tests; O(n) */
void apus_sndq_check(const struct apus_sndq *q);

/* inline definitions */

static inline uint8_t *apus_sndq_room(struct apus_sndq *q, size_t n)
{
	struct rte_mbuf *m = q->tail;
	size_t end;

	if (q->bytes + n > q->limit_bytes) /* not apus_sndq_space(): no need to know how much */
		return NULL;
	if (apus_unlikely(!m)) /* after an ACK there is one */
		return apus_sndq_begin(q, n);
	end = (size_t)m->data_off + m->data_len;
	return n > m->buf_len - end ? NULL : (uint8_t *)m->buf_addr + end;
}

static inline void apus_sndq_filled(struct apus_sndq *q, size_t n)
{
	struct rte_mbuf *m = q->tail;

	apus_assert(n > 0 && n <= rte_pktmbuf_tailroom(m));
	m->data_len = (uint16_t)(m->data_len + n);
	m->pkt_len = m->data_len;
	q->bytes += (uint32_t)n;
}

static inline void apus_sndq_ack(struct apus_sndq *q, uint32_t bytes)
{
	struct rte_mbuf *m = q->head;

	if (bytes != q->bytes || m != q->tail || !m || !RTE_MBUF_DIRECT(m) ||
	    rte_mbuf_refcnt_read(m) != 1) {
		apus_sndq_ack_any(q, bytes);
		return;
	}
	/* All, in one mbuf of ours alone: it is as one that was just begun. */
	q->forward = q->back = NULL;
	q->head_used = 0;
	q->bytes = 0;
	q->front += bytes;
	m->data_len = 0;
}

static inline void apus_sndq_rest(struct apus_sndq *q)
{
	if (!q->bytes && q->head)
		apus_sndq_ack_any(q, 0);
}

APUS_END_DECLS

#endif
