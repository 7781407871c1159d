/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/lent.h: buffers of the user's that are sent from where they lie.
 *
 * A lent buffer is named by mbufs of the send queue (external buffers), by the slices of them that
 * are in frames, and by the call that lends it; it is given back when none of these is left: when
 * all of it is acknowledged and the driver has let go of the last frame, whatever comes first.
 * That can happen anywhere, so the owner is told at the end of the turn, on its own shard.
 */
#ifndef APUS_NET_TCP_LENT_H
#define APUS_NET_TCP_LENT_H

#include "runtime/base/alloc.h"
#include "runtime/base/list.h"

#include <rte_mbuf.h>

APUS_BEGIN_DECLS

#define APUS_TCP_LENT_MAX 65536 /* buffers at a time; more are copied */

/* One per layer; outlives it while buffers are out. */
struct apus_tcp_lender {
	struct apus_list back; /* struct apus_tcp_lent.link: to be told */
	struct apus_heap *heap;
	struct apus_slab slab; /* struct apus_tcp_lent */
	bool is_closed;        /* its layer is gone */
};

/* One buffer. */
struct apus_tcp_lent {
	struct rte_mbuf_ext_shared_info shinfo; /* counts who names it */
	struct apus_list link;                  /* in the lender's `back` */
	struct apus_tcp_lender *lender;
	void (*done)(void *arg);
	void *arg;
};

/** apus_tcp_lender_open - Return: NULL without memory */
struct apus_tcp_lender *apus_tcp_lender_open(struct apus_heap *heap);
/** apus_tcp_lender_close - buffers that are out are given back as they come, from then on at once; @heap must live until the last one came */
void apus_tcp_lender_close(struct apus_tcp_lender *lender);

/** apus_tcp_lend - @done is called with @arg when nobody names the buffer any more. Return: it, named by the caller; NULL at the limit, or without memory */
struct apus_tcp_lent *apus_tcp_lend(struct apus_tcp_lender *lender, void (*done)(void *arg),
				    void *arg);
/** apus_tcp_lent_put - the caller of apus_tcp_lend() names it no more */
void apus_tcp_lent_put(struct apus_tcp_lent *lent);

/** apus_tcp_lender_flush - tell the owners of what came back. Context: the loop, end of turn */
void apus_tcp_lender_flush(struct apus_tcp_lender *lender);
/** apus_tcp_lender_has_back - is there any to be told? */
static inline bool apus_tcp_lender_has_back(const struct apus_tcp_lender *lender)
{
	return !apus_list_empty(&lender->back);
}
/** apus_tcp_lender_out - buffers that are out. Context: any */
uint32_t apus_tcp_lender_out(const struct apus_tcp_lender *lender);

APUS_END_DECLS

#endif
