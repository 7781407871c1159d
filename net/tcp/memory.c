/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/memory.c: pressure on the pool of mbufs: see memory.h.
 *
 * What is compared with the levels is what the pool has left, not what the queues hold: frames in
 * flight below, packets that wait for a neighbour and the device's ring live of the same mbufs. It is
 * looked at once per turn; what one turn receives is bounded, and what its tasks write is counted.
 *
 * Nobody is left waiting: a writer who is refused has text of his own in the queue, whose
 * acknowledgment wakes him, or finds the reserve reached and is woken by the retry timer, as with
 * no mbuf at all. A reader who reads all that is there is offered APUS_TCP_MEMORY_SHARE again.
 * Windows that were offered are never drawn back (SHLD-14): text that comes into them and is
 * refused counts as lost on the way.
 *
 * Linux's tcp_mem is the model (low, pressure, high), its tcp_prune_ofo_queue() the order of things.
 *
 * Where we differ: text out of order is given up although SACK has reported it, which RFC 2018 §8
 * allows.
 */
#include "net/tcp/memory.h"

#include "net/tcp/tcb.h"

#include <rte_lcore.h>
#include <rte_mempool.h>

#define RECLAIM_PER_TURN 64  /* entries of the demux looked at */
#define RESERVE_MAX      256 /* mbufs */

void apus_tcp_memory_init(struct apus_tcp_memory *memory, struct rte_mempool *pool)
{
	*memory = (struct apus_tcp_memory){
		.pool = pool,
		.fine = pool->size / 8 * 2,
		.reserve = apus_min(pool->size / 32, (uint32_t)RESERVE_MAX),
		.free = pool->size,
	};
}

/* Of this shard's; what another core's cache holds is not ours to take. */
static uint32_t free_mbufs(struct rte_mempool *pool)
{
	const struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	return rte_mempool_get_ops(pool->ops_index)->get_count(pool) + (cache ? cache->len : 0);
}

static enum apus_tcp_memory_level level_of(const struct apus_tcp_memory *memory)
{
	if (apus_likely(apus_tcp_memory_is_fine(memory)))
		return APUS_TCP_MEMORY_FINE;
	if (memory->free < memory->reserve)
		return APUS_TCP_MEMORY_RESERVE;
	if (memory->free < memory->pool->size / 8)
		return APUS_TCP_MEMORY_CRITICAL;
	return APUS_TCP_MEMORY_PRESSED;
}

/* Pressure ends later than it begins. */
static void set_level(struct apus_tcp_layer *layer)
{
	struct apus_tcp_memory *memory = &layer->memory;
	enum apus_tcp_memory_level before = memory->level;
	uint32_t eighth = memory->pool->size / 8;

	memory->level = level_of(memory);
	memory->fine = memory->level ? 3 * eighth : 2 * eighth;
	if (apus_unlikely(memory->level && !before))
		apus_tcp_count(layer, APUS_TCP_COUNT_MEMORY_PRESSURES);
}

void apus_tcp_memory_look(struct apus_tcp_layer *layer)
{
	layer->memory.free = free_mbufs(layer->memory.pool);
	set_level(layer);
}

void apus_tcp_memory_reclaim(struct apus_tcp_layer *layer)
{
	struct apus_tcp_memory *memory = &layer->memory;

	for (uint32_t i = 0; i < RECLAIM_PER_TURN && layer->ooo.objects.used; i++) {
		struct apus_tcp_found found = apus_tcp_demux_at(&layer->demux, memory->cursor++);
		struct apus_tcp *c = found.entry;

		if (found.kind == APUS_TCP_KIND_CONNECTION && apus_rcvq_has_gap(&c->rcvq)) {
			apus_rcvq_drop_ooo(&c->rcvq);
			apus_tcp_count(layer, APUS_TCP_COUNT_OOO_PRUNED);
		}
	}
}

uint32_t apus_tcp_memory_room(const struct apus_tcp *c, uint32_t space)
{
	const struct apus_tcp_memory *memory = &c->layer->memory;
	uint32_t share = 0;
	uint64_t room;

	switch (memory->level) {
	case APUS_TCP_MEMORY_FINE:
		share = space;
		break;
	case APUS_TCP_MEMORY_PRESSED:
		share = APUS_TCP_MEMORY_SHARE - apus_min(c->sndq.bytes, APUS_TCP_MEMORY_SHARE);
		break;
	case APUS_TCP_MEMORY_CRITICAL:
		share = c->sndq.bytes ? 0 : APUS_TCP_MEMORY_SHARE;
		break;
	case APUS_TCP_MEMORY_RESERVE:
		break;
	}
	if (memory->free <= memory->reserve)
		return 0;
	room = (uint64_t)(memory->free - memory->reserve) * APUS_TCP_MEMORY_MBUF;
	return (uint32_t)apus_min(room, apus_min(space, share));
}

/* A task waits for it within a read: it will be gone before the next burst. */
static bool is_awaited(const struct apus_tcp *c)
{
	return c->is_reading;
}

static APUS_COLD bool may_keep_slow(struct apus_tcp *c, bool in_order)
{
	struct apus_tcp_memory *memory = &c->layer->memory;

	set_level(c->layer);
	switch (memory->level) {
	case APUS_TCP_MEMORY_FINE:
		return true;
	case APUS_TCP_MEMORY_PRESSED:
		return in_order && (is_awaited(c) || c->rcvq.bytes < APUS_TCP_MEMORY_SHARE);
	case APUS_TCP_MEMORY_CRITICAL:
		return in_order && (is_awaited(c) || !c->rcvq.bytes);
	case APUS_TCP_MEMORY_RESERVE:
		break;
	}
	return in_order && is_awaited(c);
}

bool apus_tcp_memory_may_keep(struct apus_tcp *c, bool in_order, uint32_t mbufs)
{
	struct apus_tcp_memory *memory = &c->layer->memory;

	if (apus_unlikely(!apus_tcp_memory_is_fine(memory)) && !may_keep_slow(c, in_order)) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_DROP_RCV_PRUNED);
		return false;
	}
	apus_tcp_memory_kept(memory, mbufs);
	return true;
}

static uint64_t mbufs_of(const struct rte_mbuf *m)
{
	uint64_t n = 0;

	for (; m; m = m->next)
		n++;
	return n;
}

struct apus_tcp_held apus_tcp_memory_held(const struct apus_tcp_layer *layer)
{
	struct apus_tcp_held held = {0};

	for (uint32_t i = 0; i <= layer->demux.mask; i++) {
		struct apus_tcp_found found = apus_tcp_demux_at(&layer->demux, i);
		const struct apus_tcp *c = found.entry;

		if (found.kind != APUS_TCP_KIND_CONNECTION)
			continue;
		held.connections++;
		held.send_bytes += c->sndq.bytes;
		held.send_mbufs += mbufs_of(c->sndq.head);
		held.receive_bytes += c->rcvq.bytes;
		held.receive_mbufs += mbufs_of(c->rcvq.head);
		held.ooo_bytes += c->rcvq.ooo ? c->rcvq.ooo->bytes : 0;
	}
	return held;
}
