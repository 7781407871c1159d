/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/gro.h: TCP segments of one burst that follow each other become one.
 *
 * As hardware would (RTE_MBUF_F_RX_LRO, tso_segsz is the text of each): the connection is looked up,
 * and its state asked, once for the run. Nothing waits: what the burst's end leaves goes up.
 *
 * The order of packets is never changed, and only those are joined that differ in nothing that TCP
 * would notice: see gro.c.
 */
#ifndef APUS_NET_IP_GRO_H
#define APUS_NET_IP_GRO_H

#include "runtime/base/compiler.h"

#include <rte_mbuf.h>

APUS_BEGIN_DECLS

#define APUS_GRO_SEGMENT_LEAST \
 513 /* bytes of text: smaller ones are better packed by the receive queue */

/* A run that may go on; one per burst. */
struct apus_gro {
	struct rte_mbuf *head; /* NULL: none */
	struct rte_mbuf *last; /* of its chain */
	uint32_t next_seq;
	uint16_t segment_bytes; /* of text in each but the last */
	uint16_t l4_bytes;
	bool is_summed; /* head's checksum was looked at */
};

/** apus_gro_init - no run */
static inline void apus_gro_init(struct apus_gro *g)
{
	g->head = NULL;
}

/**
 * apus_gro_join - does @m go on where the run ended?
 * @m: TCP in IPv4, as apus_ipv4_input() leaves it; consumed if so
 *
 * Context: any. Return: true: it is part of the run now; false: @m is as it was, and the run over.
 */
APUS_MUST_CHECK bool apus_gro_join(struct apus_gro *g, struct rte_mbuf *m);

/** apus_gro_begin - can @m begin a run? Then the run keeps it until apus_gro_end(). No run may be there. Context: any */
APUS_MUST_CHECK bool apus_gro_begin(struct apus_gro *g, struct rte_mbuf *m);

/** apus_gro_end - the run is over; gives it. Return: one packet; NULL if there is none. Context: any */
struct rte_mbuf *apus_gro_end(struct apus_gro *g);

APUS_END_DECLS

#endif
