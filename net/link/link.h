/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/link.h: the one seam to devices.
 *
 * A link takes and gives bursts of Ethernet frames as mbufs. Kinds: ethdev (any DPDK port, one
 * queue pair of it), sim (a wire in a simulated world), l3 (bare IP packets, to and from whoever
 * drives it); wrappers that are links around a link: impair (loss, delay, ...), capture (pcapng)
 * and steer (each frame to the shard that owns its flow).
 * One indirect call per burst.
 */
#ifndef APUS_NET_LINK_LINK_H
#define APUS_NET_LINK_LINK_H

#include "runtime/base/compiler.h"
#include "runtime/base/metrics.h"
#include "runtime/sched/poller.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

APUS_BEGIN_DECLS

#define APUS_LINK_BURST_MAX 32

struct apus_link;
struct apus_rss;

struct apus_link_type {
	const char *name;
	/* Gives at most @n frames. Return: how many. */
	uint16_t (*rx)(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
		       int64_t now_ns);
	/* Consumes all @n frames, always: what the device does not take is freed and counted. */
	void (*tx)(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns);
	/* As a poller's idle: arm or disarm the wake-up, say when to be polled again. */
	int64_t (*idle)(struct apus_link *link, enum apus_idle what, int64_t now_ns);
	/* Closes it and frees it; a wrapper closes what it wraps. */
	void (*close)(struct apus_link *link);
};

#define APUS_LINK_COUNTERS(X)          \
 X(RX_FRAMES, "rx_frames")             \
 X(RX_BYTES, "rx_bytes")               \
 X(TX_FRAMES, "tx_frames")             \
 X(TX_BYTES, "tx_bytes")               \
 X(TX_DROP_FULL, "tx_drop_full")       \
 X(TX_DROP_NO_MBUF, "tx_drop_no_mbuf") \
 X(TX_DROP_REFUSED, "tx_drop_refused") \
 X(RX_DROP_FULL, "rx_drop_full")       \
 X(RX_DROP_NO_MBUF, "rx_drop_no_mbuf")

enum apus_link_counter {
#define X(id, name) APUS_LINK_##id,
	APUS_LINK_COUNTERS(X)
#undef X
	APUS_LINK_COUNTER_COUNT,
};

/* First member of every kind of link. A wrapper copies mac, mtu, is_l3, offloads and pool from the one it wraps. */
struct apus_link {
	const struct apus_link_type *type;
	struct rte_ether_addr mac;
	uint16_t mtu;             /* largest IP packet */
	bool is_l3;               /* frames are bare IP packets: no Ethernet, so no ARP */
	uint64_t tx_offloads;     /* RTE_ETH_TX_OFFLOAD_*: granted; what is not, software does */
	uint64_t rx_offloads;     /* RTE_ETH_RX_OFFLOAD_*: granted */
	struct rte_mempool *pool; /* where frames to send come from */
	uint16_t tx_segs_max;     /* mbufs of one frame that the device takes; 0: any number */
	bool reads_any_memory; /* software that reads frames as we do; else only what DPDK maps */
	int wake_fd;           /* readable when frames came while armed; < 0: none */
	unsigned int shard;    /* ours, by the rule */
	const struct apus_rss *rss; /* whose a flow is; NULL: every flow is ours */
	uint64_t counters[APUS_LINK_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/**
 * apus_link_init - what every kind's open does first: @type, no wake_fd, counters at 0
 *
 * The counters join the current shard's metrics under the type's name. Context: any, on a shard.
 */
void apus_link_init(struct apus_link *link, const struct apus_link_type *type);
/** apus_link_wrap - apus_link_init(), then mac, mtu, offloads, pool and wake_fd from @inner */
void apus_link_wrap(struct apus_link *link, const struct apus_link_type *type,
		    const struct apus_link *inner);
/** apus_link_fini - what every kind's close does last, before it frees @link */
void apus_link_fini(struct apus_link *link);

/** apus_link_count - add @n frames to @frames_counter, and their bytes to the counter after it */
static inline void apus_link_count(struct apus_link *link, enum apus_link_counter frames_counter,
				   struct rte_mbuf *const *frames, uint16_t n)
{
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < n; i++)
		bytes += frames[i]->pkt_len;
	link->counters[frames_counter] += n;
	link->counters[frames_counter + 1] += bytes;
}

/** apus_link_rx - take in at most @n frames, which are the caller's then. Context: poll. Return: how many */
static inline uint16_t apus_link_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
				    int64_t now_ns)
{
	return link->type->rx(link, frames, n, now_ns);
}

/** apus_link_tx - send @n frames; consumes them, sent or dropped. Context: flush */
static inline void apus_link_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
				int64_t now_ns)
{
	link->type->tx(link, frames, n, now_ns);
}

/** apus_link_idle - as struct apus_poller_type.idle, of the device */
static inline int64_t apus_link_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return link->type->idle(link, what, now_ns);
}

/** apus_link_close - give the device back; consumes @link. Context: thread, on the shard */
static inline void apus_link_close(struct apus_link *link)
{
	link->type->close(link);
}

/**
 * apus_link_can_send - may a frame's bytes lie at @bytes, which is not of the pool?
 * @iova: written if so: what the device calls that address
 *
 * A device of hardware reads what DPDK has mapped for it: its own heap and memory registered with it,
 * where addresses of the bus are virtual ones. All else has to be copied for it.
 *
 * Context: any.
 */
bool apus_link_can_send(const struct apus_link *link, const void *bytes, size_t count,
			rte_iova_t *iova);

APUS_END_DECLS

#endif
