/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/gso.h: one large TCP frame becomes the frames that a wire carries, when the device does
 * not cut it (RTE_ETH_TX_OFFLOAD_TCP_TSO not granted).
 *
 * TCP hands a run of many segments down as one frame, so that the headers are made once, the route
 * and the neighbour looked up once. Here, behind the Ethernet header, it is cut.
 */
#ifndef APUS_NET_IP_GSO_H
#define APUS_NET_IP_GSO_H

#include "runtime/base/compiler.h"

#include <rte_mbuf.h>

APUS_BEGIN_DECLS

#define APUS_GSO_HEADER_MAX 98 /* tagged Ethernet, IPv4, TCP with options */

/* One frame that is being cut. */
struct apus_gso {
	struct rte_mempool *pool; /* borrowed */
	struct rte_mbuf *head; /* the frame's own first mbuf, until the first one is made of it */
	struct rte_mbuf *text; /* not given out yet */
	uint64_t tx_offloads;
	uint64_t ol_flags; /* of every frame */
	uint32_t left;     /* bytes of text, not given out yet */
	uint32_t seq;      /* of the next frame */
	uint64_t sum; /* of pseudo header and TCP header of a full frame, without SEQ and flags */
	uint16_t segment_bytes;
	uint16_t header_bytes, l2_bytes, l3_bytes, l4_bytes;
	uint8_t flags; /* of the whole run */
	bool is_first;
	uint8_t header[APUS_GSO_HEADER_MAX]; /* of a full frame */
};

/**
 * apus_gso_begin - cut @m into frames of m->tso_segsz bytes of text
 * @m:    a frame with RTE_MBUF_F_TX_TCP_SEG, its l2_len, l3_len, l4_len set, and nothing but these
 *        headers in its first mbuf, which is the caller's alone; consumed
 * @pool: for what more mbufs it takes; borrowed until the end. An empty mbuf in the chain where a
 *        frame begins is used for its headers instead.
 * @tx_offloads: granted by the link: checksums it makes are left to it
 *
 * Context: any.
 */
void apus_gso_begin(struct apus_gso *g, struct rte_mbuf *m, struct rte_mempool *pool,
		    uint64_t tx_offloads);

/**
 * apus_gso_next - the next frame; gives it
 *
 * Sequence numbers, lengths and checksums are its own; FIN and PSH are on the last one only, CWR on
 * the first only (RFC 3168 §6.1.2: once per window).
 *
 * Return: NULL at the end, or without mbufs: then apus_gso_end() says how much was not sent.
 */
struct rte_mbuf *apus_gso_next(struct apus_gso *g);

/** apus_gso_end - forget the rest. Return: bytes of text that were in it, 0 when all were given out */
uint32_t apus_gso_end(struct apus_gso *g);

APUS_END_DECLS

#endif
