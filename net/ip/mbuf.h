/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/mbuf.h: what DPDK's mbuf library does not have, and every room of this floor needs.
 */
#ifndef APUS_NET_IP_MBUF_H
#define APUS_NET_IP_MBUF_H

#include "net/ip/sum.h"

#include <rte_mbuf.h>

APUS_BEGIN_DECLS

/** apus_mbuf_pull_slow - the other half of apus_mbuf_pull(): moves bytes from later segments */
APUS_MUST_CHECK bool apus_mbuf_pull_slow(struct rte_mbuf *m, uint32_t bytes);
/** apus_mbuf_get_slow - the other half of apus_mbuf_get(): from the pool itself */
APUS_MUST_CHECK struct rte_mbuf *apus_mbuf_get_slow(struct rte_mempool *pool);
/** apus_mbuf_put_slow - the other half of apus_mbuf_put(): one that is shared or not direct, or to the pool itself */
void apus_mbuf_put_slow(struct rte_mbuf *m);
/** apus_mbuf_trim - cut the packet to @bytes <= pkt_len; segments left empty are freed */
void apus_mbuf_trim(struct rte_mbuf *m, uint32_t bytes);

/** apus_mbuf_sum_slow - the other half of apus_mbuf_sum(): over several segments */
APUS_MUST_CHECK uint64_t apus_mbuf_sum_slow(const struct rte_mbuf *m, uint32_t offset,
					    uint32_t bytes);

/* inline definitions */

/**
 * apus_mbuf_pull - make the first @bytes of the packet contiguous in its first segment
 *
 * Borrows @m. Context: any. Return: false if the packet is shorter, or its first segment has not
 * the room.
 */
APUS_MUST_CHECK static inline bool apus_mbuf_pull(struct rte_mbuf *m, uint32_t bytes)
{
	return apus_likely(m->data_len >= bytes) || apus_mbuf_pull_slow(m, bytes);
}

/** apus_mbuf_sum_onto - apus_mbuf_sum(), added to @sum */
APUS_MUST_CHECK static inline uint64_t apus_mbuf_sum_onto(uint64_t sum, const struct rte_mbuf *m,
							  uint32_t offset, uint32_t bytes)
{
	if (apus_likely(offset + bytes <= m->data_len))
		return apus_sum_onto(sum, rte_pktmbuf_mtod_offset(m, const void *, offset), bytes);
	return apus_sum_add(sum, apus_mbuf_sum_slow(m, offset, bytes));
}

/**
 * apus_mbuf_sum - apus_sum() of @bytes bytes from @offset on, which lie within the packet
 *
 * Unlike rte_raw_cksum_mbuf() of DPDK 22.11 it is right for segments that begin at an odd byte: that
 * one swaps their sum before it is folded, and loses the carries.
 *
 * Context: any. Source: RFC 1071
 */
APUS_MUST_CHECK static inline uint64_t apus_mbuf_sum(const struct rte_mbuf *m, uint32_t offset,
						     uint32_t bytes)
{
	return apus_mbuf_sum_onto(0, m, offset, bytes);
}

/**
 * apus_mbuf_checksum_good - is the checksum right of what lies behind an IPv4 header of @l3_bytes?
 * @protocol: TCP, or UDP with a checksum
 *
 * What the device said counts, but that it is wrong: drivers err, so that is looked at here.
 */
APUS_MUST_CHECK static inline bool apus_mbuf_checksum_good(const struct rte_mbuf *m,
							   uint32_t l3_bytes, uint8_t protocol)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t bytes = m->pkt_len - l3_bytes;
	uint64_t told = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	/* NONE: not computed, for it never left the host. */
	if (told == RTE_MBUF_F_RX_L4_CKSUM_GOOD || told == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return true;
	return apus_sum_is_right(apus_mbuf_sum_onto(
		apus_sum_pseudo(ip->src_addr, ip->dst_addr, protocol, bytes), m, l3_bytes, bytes));
}

/* True if we may write to the packet's bytes: nobody else holds them. */
static inline bool apus_mbuf_is_ours(const struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
			return false;
	}
	return true;
}

/* What this core holds of the pool. NULL: nothing. */
static inline struct rte_mempool_cache *apus_mbuf_cache(struct rte_mempool *pool)
{
	unsigned int core = rte_lcore_id();

	return pool->cache_size && core < RTE_MAX_LCORE ? &pool->local_cache[core] : NULL;
}

/**
 * apus_mbuf_put - rte_pktmbuf_free_seg(), with little to do for an mbuf that nobody shares
 * @m: one mbuf; what follows it in a chain stays; consumed
 */
static inline void apus_mbuf_put(struct rte_mbuf *m)
{
	struct rte_mempool_cache *cache = apus_mbuf_cache(m->pool);

	m->next = NULL; /* as an mbuf in a pool is */
	if (apus_unlikely(!cache || rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m) ||
			  cache->len >= cache->flushthresh)) {
		apus_mbuf_put_slow(m);
		return;
	}
	m->nb_segs = 1;
	cache->objs[cache->len++] = m;
}

/** apus_mbuf_get_near - apus_mbuf_get_bare(), of those that this core holds. Return: NULL: it holds none */
APUS_MUST_CHECK static inline struct rte_mbuf *apus_mbuf_get_near(struct rte_mempool *pool)
{
	struct rte_mempool_cache *cache = apus_mbuf_cache(pool);
	struct rte_mbuf *m;

	if (apus_unlikely(!cache || !cache->len))
		return NULL;
	m = (struct rte_mbuf *)cache->objs[--cache->len];
	m->packet_type = 0;
	return m;
}

/** apus_mbuf_get_bare - apus_mbuf_get() for who writes data_off, both lengths, ol_flags and tx_offload: they are not valid. What only a receiver reads is not, either */
APUS_MUST_CHECK static inline struct rte_mbuf *apus_mbuf_get_bare(struct rte_mempool *pool)
{
	struct rte_mbuf *m = apus_mbuf_get_near(pool);

	return apus_likely(m) ? m : apus_mbuf_get_slow(pool);
}

/** apus_mbuf_get - rte_pktmbuf_alloc(), likewise. Return: NULL: the pool is empty */
APUS_MUST_CHECK static inline struct rte_mbuf *apus_mbuf_get(struct rte_mempool *pool)
{
	struct rte_mbuf *m = apus_mbuf_get_bare(pool);

	if (apus_likely(m))
		rte_pktmbuf_reset(m);
	return m;
}

/* A received packet becomes one to send: what the receiver noted in it is forgotten. */
static inline void apus_mbuf_turn_round(struct rte_mbuf *m)
{
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	m->tx_offload = 0;
	m->packet_type = 0;
	m->vlan_tci = 0;
}

APUS_END_DECLS

#endif
