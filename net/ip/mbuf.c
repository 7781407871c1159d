/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/mbuf.c: packets of several segments: the rare cases, out of the way of the common one.
 *
 * A device that scatters may cut a frame anywhere, so headers are made contiguous before they are
 * read; payload never is.
 */
#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <rte_ip.h>
#include <string.h>

APUS_COLD bool apus_mbuf_pull_slow(struct rte_mbuf *m, uint32_t bytes)
{
	if (bytes > m->pkt_len || !apus_mbuf_is_ours(m))
		return false;
	if (bytes - m->data_len > rte_pktmbuf_tailroom(m))
		return false;

	while (m->data_len < bytes) {
		struct rte_mbuf *next = m->next;
		uint16_t part = (uint16_t)apus_min(bytes - m->data_len, next->data_len);

		memcpy(rte_pktmbuf_mtod_offset(m, char *, m->data_len),
		       rte_pktmbuf_mtod(next, char *), part);
		m->data_len += part;
		next->data_off += part;
		next->data_len -= part;
		if (next->data_len == 0) {
			m->next = next->next;
			m->nb_segs--;
			rte_pktmbuf_free_seg(next);
		}
	}
	return true;
}

APUS_NOINLINE struct rte_mbuf *apus_mbuf_get_slow(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

APUS_NOINLINE void apus_mbuf_put_slow(struct rte_mbuf *m)
{
	rte_pktmbuf_free_seg(m);
}

void apus_mbuf_trim(struct rte_mbuf *m, uint32_t bytes)
{
	apus_must_op(bytes, <=, m->pkt_len);

	struct rte_mbuf *seg = m;
	uint32_t left = bytes;
	uint16_t segs = 1;

	m->pkt_len = bytes;
	while (left > seg->data_len) {
		left -= seg->data_len;
		seg = seg->next;
		segs++;
	}
	seg->data_len = (uint16_t)left;
	if (seg->next) {
		rte_pktmbuf_free(seg->next); /* frees the chain from there on */
		seg->next = NULL;
		m->nb_segs = segs;
	}
}

uint64_t apus_sum_long(const void *data, size_t bytes)
{
	return rte_raw_cksum(data, bytes);
}

uint64_t apus_mbuf_sum_slow(const struct rte_mbuf *m, uint32_t offset, uint32_t bytes)
{
	uint64_t sum = 0;
	bool odd = false;

	apus_must_op(offset + bytes, <=, m->pkt_len);
	for (; offset > 0 && offset >= m->data_len; m = m->next)
		offset -= m->data_len;
	for (; bytes > 0; m = m->next) {
		uint32_t part_bytes = apus_min(bytes, m->data_len - offset);
		uint16_t part = apus_sum_fold(
			apus_sum(rte_pktmbuf_mtod_offset(m, const void *, offset), part_bytes));

		sum += odd ? rte_bswap16(part) : part;
		odd ^= part_bytes & 1;
		bytes -= part_bytes;
		offset = 0;
	}
	return sum;
}
