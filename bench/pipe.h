/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/pipe.h: a link that passes pointers, so that two stacks of one thread can talk without a
 * world, a wire or a driver.
 */
#ifndef APUS_BENCH_PIPE_H
#define APUS_BENCH_PIPE_H

#include "net/link/link.h"

#include <rte_ethdev.h>
#include <string.h>

#ifndef PIPE_FRAMES
# define PIPE_FRAMES (4 * APUS_LINK_BURST_MAX) /* that may have come; more are dropped */
#endif

struct pipe_end {
	struct apus_link link; /* first */
	struct pipe_end *peer;
	struct rte_mbuf *arrived[PIPE_FRAMES];
	uint16_t count;
	uint16_t lose; /* so many of the next frames do not come */
	bool checks;   /* checksums: says of each frame that they are right */
};

static uint16_t pipe_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			int64_t now_ns)
{
	struct pipe_end *end = (struct pipe_end *)link;

	n = apus_min(n, end->count);
	memcpy(frames, end->arrived, n * sizeof(*frames));
	end->count -= n;
	memmove(end->arrived, end->arrived + n, end->count * sizeof(*frames));
	return n;
}

static void pipe_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct pipe_end *to = ((struct pipe_end *)link)->peer;

	for (uint16_t i = 0; i < n; i++) {
		if (to->lose || to->count == apus_countof(to->arrived)) {
			to->lose -= !!to->lose;
			rte_pktmbuf_free(frames[i]);
			continue;
		}
		frames[i]->ol_flags =
			to->checks ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
		to->arrived[to->count++] = frames[i];
	}
}

static int64_t pipe_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return ((struct pipe_end *)link)->count ? now_ns : APUS_NEVER;
}

static void pipe_close(struct apus_link *link)
{
	struct pipe_end *end = (struct pipe_end *)link;

	rte_pktmbuf_free_bulk(end->arrived, end->count);
	apus_link_fini(link);
}

static const struct apus_link_type pipe_type = {
	.name = "pipe",
	.rx = pipe_rx,
	.tx = pipe_tx,
	.idle = pipe_idle,
	.close = pipe_close,
};

/* On the shard whose it is: end number @number of a pipe whose other end is @peer. */
static inline void pipe_init(struct pipe_end *end, struct pipe_end *peer, unsigned int number,
			     struct rte_mempool *pool, bool offload)
{
	memset(end, 0, sizeof(*end));
	end->peer = peer;
	end->checks = offload;
	apus_link_init(&end->link, &pipe_type);
	end->link.mac.addr_bytes[5] = (uint8_t)(1 + number);
	end->link.mtu = 1500;
	end->link.pool = pool;
	if (offload)
		end->link.tx_offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
					RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
}

#endif
