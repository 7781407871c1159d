/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/mchain.h: chains of mbufs through `next`, as the receive queues keep them: no mbuf in one
 * is empty, and pkt_len and nb_segs mean nothing.
 */
#ifndef APUS_NET_TCP_MCHAIN_H
#define APUS_NET_TCP_MCHAIN_H

#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <rte_mbuf.h>
#include <string.h>

static inline void apus_mchain_free(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		apus_mbuf_put(m);
		m = next;
	}
}

/* Drop the first `bytes` bytes; what is left, or NULL. O(mbufs dropped). */
static inline struct rte_mbuf *apus_mchain_skip(struct rte_mbuf *m, uint32_t bytes)
{
	while (bytes) {
		uint32_t n = apus_min(bytes, m->data_len);

		bytes -= n;
		m->data_off = (uint16_t)(m->data_off + n);
		m->data_len = (uint16_t)(m->data_len - n);
		if (m->data_len)
			break;

		struct rte_mbuf *next = m->next;

		apus_mbuf_put(m);
		m = next;
	}
	return m;
}

/* Cut a packet to `bytes` bytes from `offset`. */
static inline struct rte_mbuf *apus_mchain_carve(struct rte_mbuf *m, uint32_t offset,
						 uint32_t bytes)
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

static inline void apus_mchain_copy(uint8_t *to, const struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		memcpy(to, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		to += m->data_len;
	}
}

static inline uint32_t apus_mchain_held(const struct rte_mbuf *m)
{
	uint32_t held = 0;

	for (; m; m = m->next)
		held += (RTE_MBUF_HAS_EXTBUF(m) ? m->data_len : m->buf_len) + (uint32_t)sizeof(*m);
	return held;
}

static inline struct rte_mbuf *apus_mchain_last(struct rte_mbuf *m)
{
	while (m->next)
		m = m->next;
	return m;
}

/* Nobody else sees the buffer's other bytes. */
static inline bool apus_mchain_is_ours(const struct rte_mbuf *m)
{
	return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/* `bytes` bytes may be written behind its last one. */
static inline bool apus_mchain_has_room(const struct rte_mbuf *m, uint32_t bytes)
{
	return apus_mchain_is_ours(m) && bytes <= rte_pktmbuf_tailroom(m);
}

static inline uint8_t *apus_mchain_grow(struct rte_mbuf *m, uint32_t bytes)
{
	uint8_t *end = rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len);

	m->data_len = (uint16_t)(m->data_len + bytes);
	return end;
}

/* The same in front of its first one. */
static inline bool apus_mchain_has_headroom(const struct rte_mbuf *m, uint32_t bytes)
{
	return apus_mchain_is_ours(m) && bytes <= m->data_off;
}

static inline uint8_t *apus_mchain_grow_front(struct rte_mbuf *m, uint32_t bytes)
{
	m->data_off = (uint16_t)(m->data_off - bytes);
	m->data_len = (uint16_t)(m->data_len + bytes);
	return rte_pktmbuf_mtod(m, uint8_t *);
}

#endif
