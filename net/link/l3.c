/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/l3.c: a link of bare IP packets whose other end is the caller.
 *
 * Two rings: what was injected and the stack has not polled yet, what the stack sent and was not
 * collected yet. A packet that the sender still holds parts of (a TCP does, to send them again) is
 * copied at once, so what is collected is what was sent, and nobody's buffer waits for the caller.
 *
 * Entry points: apus_l3_open(), apus_l3_inject(), apus_l3_collect(), and the link's own.
 */
#include "net/link/l3.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define MTU_DEFAULT 1500

struct packet {
	struct rte_mbuf *m;
	int64_t sent_at_ns; /* 0 in the ring of what was injected */
};

struct ring {
	struct packet *packets; /* of the link's ring_size */
	uint32_t first;         /* not wrapped */
	uint32_t used;
};

struct l3 {
	struct apus_link link; /* first */
	struct apus_heap *heap;
	struct rte_mempool *sent_pool;
	uint32_t queue_packets;
	uint32_t ring_size; /* a power of two, >= queue_packets */
	struct ring injected, sent;
};

static struct l3 *l3_of(const struct apus_link *link)
{
	return apus_container_of(link, struct l3, link);
}

/* --- The rings ----------------------------------------------------------------------------- */

static void ring_push(const struct l3 *l, struct ring *r, struct packet packet)
{
	apus_assert(r->used < l->ring_size);
	r->packets[(r->first + r->used++) & (l->ring_size - 1)] = packet;
}

/* It is not empty. */
static struct packet ring_pop(const struct l3 *l, struct ring *r)
{
	apus_assert(r->used > 0);
	r->used--;
	return r->packets[r->first++ & (l->ring_size - 1)];
}

static void ring_fini(struct l3 *l, struct ring *r)
{
	while (r->used > 0)
		rte_pktmbuf_free(ring_pop(l, r).m);
	apus_heap_free(l->heap, r->packets);
}

/* --- As a link ----------------------------------------------------------------------------- */

static uint16_t l3_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct l3 *l = l3_of(link);
	uint16_t taken = 0;

	while (taken < n && l->injected.used > 0)
		frames[taken++] = ring_pop(l, &l->injected).m;
	apus_link_count(link, APUS_LINK_RX_FRAMES, frames, taken);
	return taken;
}

/* The caller's to keep: nobody else holds any of it, and it does not starve the stack's pool. */
static bool can_move(const struct rte_mbuf *m, const struct rte_mempool *pool)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1 || m->pool != pool)
			return false;
	return true;
}

/* Consumes @m. */
static void send_one(struct l3 *l, struct rte_mbuf *m, int64_t now_ns)
{
	struct rte_mbuf *copy = m;

	if (l->sent.used == l->queue_packets) {
		l->link.counters[APUS_LINK_TX_DROP_FULL]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (!can_move(m, l->sent_pool)) {
		copy = rte_pktmbuf_copy(m, l->sent_pool, 0, UINT32_MAX);
		rte_pktmbuf_free(m);
	}
	if (!copy) {
		l->link.counters[APUS_LINK_TX_DROP_NO_MBUF]++;
		return;
	}
	ring_push(l, &l->sent, (struct packet){.m = copy, .sent_at_ns = now_ns});
}

static void l3_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
	for (uint16_t i = 0; i < n; i++)
		send_one(l3_of(link), frames[i], now_ns);
}

static int64_t l3_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return l3_of(link)->injected.used > 0 ? now_ns : APUS_NEVER;
}

static void l3_close(struct apus_link *link)
{
	struct l3 *l = l3_of(link);

	ring_fini(l, &l->injected);
	ring_fini(l, &l->sent);
	apus_link_fini(link);
	apus_heap_free(l->heap, l);
}

static const struct apus_link_type l3_type = {
	.name = "l3",
	.rx = l3_rx,
	.tx = l3_tx,
	.idle = l3_idle,
	.close = l3_close,
};

/* --- Entry points -------------------------------------------------------------------------- */

int apus_l3_open(struct apus_heap *heap, const struct apus_l3_options *options,
		 struct apus_link **out)
{
	uint32_t packets = options->queue_packets ? options->queue_packets : APUS_L3_QUEUE_DEFAULT;
	struct l3 *l;

	if (packets > APUS_L3_QUEUE_MAX || !options->pool)
		return -EINVAL;
	l = apus_heap_zalloc(heap, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->heap = heap;
	l->queue_packets = packets;
	l->ring_size = rte_align32pow2(packets);
	l->sent_pool = options->sent_pool ? options->sent_pool : options->pool;
	l->injected.packets = apus_heap_alloc(heap, l->ring_size * sizeof(struct packet));
	if (!l->injected.packets)
		goto err_free_l3;
	l->sent.packets = apus_heap_alloc(heap, l->ring_size * sizeof(struct packet));
	if (!l->sent.packets)
		goto err_free_injected;

	apus_link_init(&l->link, &l3_type);
	l->link.is_l3 = true;
	l->link.mtu = options->mtu ? options->mtu : MTU_DEFAULT;
	l->link.pool = options->pool;
	l->link.reads_any_memory = true;
	*out = &l->link;
	return 0;

err_free_injected:
	apus_heap_free(heap, l->injected.packets);
err_free_l3:
	apus_heap_free(heap, l);
	return -ENOMEM;
}

/* Room behind the last segment of @m, or in a new one. Return: how many of @bytes; 0 without an mbuf. */
static uint16_t append(struct rte_mbuf *m, const uint8_t *from, size_t bytes)
{
	struct rte_mbuf *last = rte_pktmbuf_lastseg(m);
	uint16_t n;

	if (rte_pktmbuf_tailroom(last) == 0) {
		last = rte_pktmbuf_alloc(m->pool);
		if (!last)
			return 0;
		apus_must(rte_pktmbuf_chain(m, last) == 0);
	}
	n = (uint16_t)apus_min(bytes, rte_pktmbuf_tailroom(last));
	memcpy(rte_pktmbuf_append(m, n), from, n);
	return n;
}

int apus_l3_inject(struct apus_link *link, const void *packet, size_t bytes)
{
	struct l3 *l = l3_of(link);
	struct rte_mbuf *m;
	size_t done = 0;

	if (bytes > APUS_L3_BYTES_MAX)
		return -EMSGSIZE;
	if (l->injected.used == l->queue_packets) {
		link->counters[APUS_LINK_RX_DROP_FULL]++;
		return -ENOSPC;
	}
	m = rte_pktmbuf_alloc(link->pool);
	while (m && done < bytes) {
		uint16_t n = append(m, (const uint8_t *)packet + done, bytes - done);

		if (n == 0) {
			rte_pktmbuf_free(m);
			m = NULL;
		}
		done += n;
	}
	if (!m) {
		link->counters[APUS_LINK_RX_DROP_NO_MBUF]++;
		return -ENOBUFS;
	}
	ring_push(l, &l->injected, (struct packet){.m = m});
	return 0;
}

struct rte_mbuf *apus_l3_collect(struct apus_link *link, int64_t *sent_at_ns)
{
	struct l3 *l = l3_of(link);
	struct packet packet;

	if (l->sent.used == 0)
		return NULL;
	packet = ring_pop(l, &l->sent);
	if (sent_at_ns)
		*sent_at_ns = packet.sent_at_ns;
	return packet.m;
}

size_t apus_l3_waiting(const struct apus_link *link)
{
	return l3_of(link)->sent.used;
}
