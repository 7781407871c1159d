/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev.c: one queue pair of a DPDK port, any driver's, as a link.
 *
 * Idle. Where the driver gives a file descriptor for the queue, the shard sleeps on it. A driver
 * with interrupts has them armed first, then the queue is looked at again, because a frame may have
 * come in between. net_tap's descriptor is the TAP itself, readable while frames wait, and needs no
 * arming. With neither, a sleeping shard looks after a delay that grows up to a millisecond. A shard
 * for which the device has no queue waits for others only.
 *
 * Entry points: apus_ethdev_queue_open(), apus_ethdev_open(), and the link's rx, tx, idle and close.
 */
#include "net/link/ethdev.h"
#include "net/link/eal.h"
#include "net/link/ethdev_internal.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_mempool.h>

#define STATS_NS       APUS_SEC
#define BACKOFF_MIN_NS (20 * APUS_US)
#define BACKOFF_MAX_NS APUS_MS
#define RECHECK_MAX_NS (10 * APUS_MS) /* armed, but the driver cannot say if a frame came */

enum wake {
	WAKE_NONE,      /* no descriptor: back-off */
	WAKE_LEVEL,     /* readable while frames wait */
	WAKE_INTERRUPT, /* must be armed and disarmed */
	WAKE_NEVER,     /* no queue: nothing ever comes */
};

struct ethdev {
	struct apus_link link; /* first */
	struct apus_ethdev_port *owner;
	struct apus_heap *memory;
	enum wake wake;
	int64_t backoff_ns;  /* the next one, while nothing comes */
	int64_t stats_at_ns; /* when to ask the driver for its counters again */
	uint16_t port;
	uint16_t queue;
	bool has_rx, has_tx;
	bool gather;    /* as the port's */
	bool prepare;   /* as the port's */
	bool owns_port; /* closes it */
};

/* --- The link ------------------------------------------------------------------------------ */

/* What only the driver saw. */
static APUS_COLD void read_stats(struct ethdev *d, int64_t now_ns)
{
	struct rte_eth_stats stats;

	d->stats_at_ns = now_ns + STATS_NS;
	if (d->queue != 0 || rte_eth_stats_get(d->port, &stats))
		return; /* they are of the whole port: its first link shows them */
	d->link.counters[APUS_LINK_RX_DROP_NO_MBUF] = stats.rx_nombuf;
	d->link.counters[APUS_LINK_RX_DROP_FULL] = stats.imissed;
}

static uint16_t ethdev_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			  int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	uint16_t got = d->has_rx ? rte_eth_rx_burst(d->port, d->queue, frames, n) : 0;

	if (got) {
		apus_link_count(link, APUS_LINK_RX_FRAMES, frames, got);
		d->backoff_ns = BACKOFF_MIN_NS;
	}
	if (apus_unlikely(now_ns >= d->stats_at_ns))
		read_stats(d, now_ns);
	return got;
}

/* Makes each frame one segment, by a copy. Frames that cannot be are dropped. Return: how many are left. */
static uint16_t gather(struct ethdev *d, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i];

		if (m->nb_segs > 1) {
			struct rte_mbuf *one = rte_pktmbuf_copy(m, d->link.pool, 0, UINT32_MAX);

			rte_pktmbuf_free(m);
			if (one && one->nb_segs > 1) {
				rte_pktmbuf_free(one);
				one = NULL;
			}
			m = one;
		}
		if (m)
			frames[kept++] = m;
		else
			d->link.counters[APUS_LINK_TX_DROP_NO_MBUF]++;
	}
	return kept;
}

static void ethdev_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	uint64_t bytes = 0;
	uint16_t ready, sent;

	apus_assert(d->has_tx);
	if (d->gather)
		n = gather(d, frames, n);
	ready = d->prepare ? rte_eth_tx_prepare(d->port, d->queue, frames, n) : n;
	for (uint16_t i = 0; i < ready; i++)
		bytes += frames[i]->pkt_len; /* now: the driver frees what it takes */
	sent = rte_eth_tx_burst(d->port, d->queue, frames, ready);
	for (uint16_t i = sent; i < ready; i++)
		bytes -= frames[i]->pkt_len;
	link->counters[APUS_LINK_TX_FRAMES] += sent;
	link->counters[APUS_LINK_TX_BYTES] += bytes;
	if (apus_unlikely(sent < n)) {
		link->counters[APUS_LINK_TX_DROP_FULL] += ready - sent;
		link->counters[APUS_LINK_TX_DROP_REFUSED] += n - ready;
		rte_pktmbuf_free_bulk(frames + sent, n - sent);
	}
}

/* Interrupts on; then look again, because a frame may have come before they were. */
static int64_t arm(struct ethdev *d, int64_t now_ns)
{
	int waiting;

	if (rte_eth_dev_rx_intr_enable(d->port, d->queue))
		return now_ns + BACKOFF_MAX_NS;
	waiting = rte_eth_rx_queue_count(d->port, d->queue);
	if (waiting > 0)
		return now_ns;
	return waiting < 0 ? now_ns + RECHECK_MAX_NS : APUS_NEVER;
}

static void disarm(struct ethdev *d)
{
	uint64_t events;

	rte_eth_dev_rx_intr_disable(d->port, d->queue);
	/* An eventfd that does not block: it stays readable until it is read. */
	while (read(d->link.wake_fd, &events, sizeof(events)) > 0)
		;
}

static int64_t ethdev_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	int64_t delay_ns = d->backoff_ns;

	switch (d->wake) {
	case WAKE_LEVEL:
	case WAKE_NEVER:
		return APUS_NEVER;
	case WAKE_INTERRUPT:
		if (what == APUS_IDLE_ARM)
			return arm(d, now_ns);
		if (what == APUS_IDLE_WAKE)
			disarm(d);
		return APUS_NEVER;
	case WAKE_NONE:
		if (what == APUS_IDLE_ARM)
			d->backoff_ns = apus_min(2 * delay_ns, BACKOFF_MAX_NS);
		return now_ns + delay_ns;
	}
	return now_ns;
}

static void ethdev_close(struct apus_link *link)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	struct apus_ethdev_port *owner = d->owner;
	bool owns_port = d->owns_port;

	apus_link_fini(link);
	apus_heap_free(d->memory, d);
	atomic_fetch_sub_explicit(&owner->links, 1, memory_order_release);
	if (owns_port)
		apus_ethdev_port_close(owner);
}

static const struct apus_link_type ethdev_type = {
	.name = "ethdev",
	.rx = ethdev_rx,
	.tx = ethdev_tx,
	.idle = ethdev_idle,
	.close = ethdev_close,
};

/* --- Opening ------------------------------------------------------------------------------- */

/* How will a sleeping shard hear of frames? The port is started. */
static void choose_wake(struct ethdev *d)
{
	int fd = d->owner->fds[d->queue];

	d->wake = d->has_rx ? WAKE_NONE : WAKE_NEVER;
	d->backoff_ns = BACKOFF_MIN_NS;
	if (fd < 0)
		return;
	if (d->owner->is_tap) {
		d->wake = WAKE_LEVEL;
	} else if (!rte_eth_dev_rx_intr_enable(d->port, d->queue)) {
		rte_eth_dev_rx_intr_disable(d->port, d->queue);
		d->wake = WAKE_INTERRUPT;
	}
	if (d->wake != WAKE_NONE)
		d->link.wake_fd = fd;
}

int apus_ethdev_queue_open(struct apus_ethdev_port *p, unsigned int index, struct apus_link **out)
{
	struct apus_heap *memory = apus_shard_heap(apus_shard_self());
	struct ethdev *d = apus_heap_zalloc(memory, sizeof(*d));

	apus_must_op(index, <, p->shards);
	if (!d)
		return -ENOMEM;
	apus_link_init(&d->link, &ethdev_type);
	d->owner = p;
	d->memory = memory;
	d->port = p->port;
	d->queue = (uint16_t)index;
	d->has_rx = index < p->rx_queues;
	d->has_tx = index < p->tx_queues;
	d->gather = p->gather;
	d->prepare = p->prepare;
	d->link.mac = p->mac;
	d->link.mtu = p->mtu;
	d->link.pool = p->pools[index];
	d->link.tx_offloads = p->tx_offloads;
	d->link.rx_offloads = p->rx_offloads;
	d->link.tx_segs_max = p->tx_segs_max;
	d->link.reads_any_memory = p->reads_any_memory;
	choose_wake(d);
	atomic_fetch_add_explicit(&p->links, 1, memory_order_relaxed);
	*out = &d->link;
	return 0;
}

int apus_ethdev_open(const struct apus_ethdev_options *options, char *why, size_t why_bytes,
		     struct apus_link **out)
{
	struct apus_ethdev_port *p;
	int rc;

	apus_must_op(options->shards, <=, 1);
	rc = apus_ethdev_port_open(options, why, why_bytes, &p);
	if (rc)
		return rc;
	rc = apus_ethdev_queue_open(p, 0, out);
	if (rc) {
		snprintf(why, why_bytes, "not enough memory");
		apus_ethdev_port_close(p);
		return rc;
	}
	apus_container_of(*out, struct ethdev, link)->owns_port = true;
	return 0;
}

static const struct ethdev *ethdev_of(const struct apus_link *link)
{
	apus_must(link->type == &ethdev_type);
	return apus_container_of(link, const struct ethdev, link);
}

uint16_t apus_ethdev_port(const struct apus_link *link)
{
	return ethdev_of(link)->port;
}

void apus_ethdev_report(const struct apus_link *link)
{
	apus_ethdev_port_report(ethdev_of(link)->owner);
}
