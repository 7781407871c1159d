/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/l3.h: a link of bare IP packets whose other end is the caller.
 *
 * Without Ethernet, and so without ARP: what the caller injects, the stack receives in its next
 * turn; what the stack sends waits, with the time it was sent, until the caller collects it. For
 * simulated worlds driven from outside (net/sim/drive.h), fuzzers, and tests of single packets.
 */
#ifndef APUS_NET_LINK_L3_H
#define APUS_NET_LINK_L3_H

#include "net/link/link.h"
#include "runtime/base/alloc.h"

APUS_BEGIN_DECLS

#define APUS_L3_QUEUE_DEFAULT 4096
#define APUS_L3_QUEUE_MAX     (1u << 20)
#define APUS_L3_BYTES_MAX     65535 /* of a packet that is injected: whatever IPv4 can say */

struct apus_l3_options {
	struct rte_mempool *pool;      /* borrowed: of the stack: what it sends and receives */
	struct rte_mempool *sent_pool; /* borrowed: of what waits to be collected; NULL: pool */
	uint32_t queue_packets;        /* that wait, each way; more are dropped; 0: 4096 */
	uint16_t mtu;                  /* 0: 1500 */
};

/**
 * apus_l3_open - a link whose other end is the caller
 * @heap:    where its memory comes from; must outlive the link
 * @options: borrowed until return; the pools until close
 *
 * What the stack sends is copied or moved into sent_pool, so it stays as it was sent; a copy that
 * finds that pool empty is tx_drop_no_mbuf. Offloads: none.
 *
 * Context: any, on the shard that will use the link. Return: 0, -ENOMEM, -EINVAL.
 */
APUS_MUST_CHECK int apus_l3_open(struct apus_heap *heap, const struct apus_l3_options *options,
				 struct apus_link **out);

/**
 * apus_l3_inject - the stack receives a copy of @packet in its next turn
 * @link:  one that apus_l3_open() gave
 * @bytes: at most 65535, whatever the MTU; the packet may be as wrong as one likes
 *
 * Context: any. Return: 0; -EMSGSIZE; -ENOBUFS (the pool is empty: rx_drop_no_mbuf), -ENOSPC (the queue
 * is full: rx_drop_full).
 */
APUS_MUST_CHECK int apus_l3_inject(struct apus_link *link, const void *packet, size_t bytes);

/**
 * apus_l3_collect - the oldest packet sent and not collected
 * @sent_at_ns: NULL, or takes the time of the turn that sent it
 *
 * Context: any. Return: it, the caller's to free; NULL if none waits.
 */
struct rte_mbuf *apus_l3_collect(struct apus_link *link, int64_t *sent_at_ns);

/** apus_l3_waiting - packets sent and not collected. Context: any */
size_t apus_l3_waiting(const struct apus_link *link);

APUS_END_DECLS

#endif
