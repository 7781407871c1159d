/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/memory.h: how short of mbufs the shard is, and what each connection may still have.
 *
 * All queues of all connections, the frames below and the device's rings live of one pool. When its
 * free part falls below levels, connections hold back in this order: text out of order is given up,
 * windows stop growing and writers wait, text in order of those who do not read is refused, and at
 * last all text is, while acknowledgments can still be heard and said: so what is queued can leave,
 * and the pool recovers by itself.
 */
#ifndef APUS_NET_TCP_MEMORY_H
#define APUS_NET_TCP_MEMORY_H

#include "runtime/base/check.h"

APUS_BEGIN_DECLS

struct apus_tcp;
struct apus_tcp_layer;
struct rte_mempool;

/* What a connection may have in each direction, whatever the others have. */
#define APUS_TCP_MEMORY_SHARE (16U * 1024)
#define APUS_TCP_MEMORY_MBUF  2048U /* bytes of text in an mbuf, about */

enum apus_tcp_memory_level {
	APUS_TCP_MEMORY_FINE,
	APUS_TCP_MEMORY_PRESSED,  /* less than a quarter is free, until three eighths are */
	APUS_TCP_MEMORY_CRITICAL, /* less than an eighth */
	APUS_TCP_MEMORY_RESERVE,  /* less than 1/32, at most 256: for acknowledgments */
};

struct apus_tcp_memory {
	struct rte_mempool *pool; /* borrowed */
	enum apus_tcp_memory_level level;
	uint32_t fine;    /* mbufs: with so many free there is no pressure, or it ends */
	uint32_t reserve; /* mbufs that no text gets */
	uint32_t free;    /* mbufs at the beginning of this turn, less what was queued since */
	uint32_t cursor;  /* into the demux: whose text out of order is next */
};

/* What the connections of a layer hold. */
struct apus_tcp_held {
	uint64_t send_bytes, receive_bytes, ooo_bytes; /* of text */
	uint64_t send_mbufs, receive_mbufs;
	uint64_t connections;
};

void apus_tcp_memory_init(struct apus_tcp_memory *memory, struct rte_mempool *pool);
/** apus_tcp_memory_look - once per turn, before the burst: which level is it? O(1). Counts when pressure begins */
void apus_tcp_memory_look(struct apus_tcp_layer *layer);
/** apus_tcp_memory_reclaim - once per turn under pressure: give up text out of order of a bounded number of connections */
void apus_tcp_memory_reclaim(struct apus_tcp_layer *layer);
/** apus_tcp_memory_held - what all connections hold, by a walk over them; for reports and tests. O(connections) */
struct apus_tcp_held apus_tcp_memory_held(const struct apus_tcp_layer *layer);

/** apus_tcp_memory_room - bytes that @c's writer may queue now, of @space that the queue has. Of a lent buffer too: what is sent of it takes mbufs */
uint32_t apus_tcp_memory_room(const struct apus_tcp *c, uint32_t space);
/** apus_tcp_memory_plenty - is there no need to ask? */
static inline bool apus_tcp_memory_plenty(const struct apus_tcp_memory *memory, uint32_t space)
{
	return !memory->level && memory->free > memory->reserve + space / APUS_TCP_MEMORY_MBUF;
}
/** apus_tcp_memory_may_keep - may text that arrived for @c in @mbufs, in order or not, be kept? Then it counts */
bool apus_tcp_memory_may_keep(struct apus_tcp *c, bool in_order, uint32_t mbufs);
/** apus_tcp_memory_is_fine - is there no need to ask that? */
static inline bool apus_tcp_memory_is_fine(const struct apus_tcp_memory *memory)
{
	return memory->free >= memory->fine;
}
/** apus_tcp_memory_kept - text was kept in @mbufs */
static inline void apus_tcp_memory_kept(struct apus_tcp_memory *memory, uint32_t mbufs)
{
	memory->free -= apus_min(memory->free, mbufs);
}
/** apus_tcp_memory_taken - the same, of @mbufs that are there: apus_tcp_memory_is_fine() or _plenty() said so */
static inline void apus_tcp_memory_taken(struct apus_tcp_memory *memory, uint32_t mbufs)
{
	apus_assert(mbufs <= memory->free);
	memory->free -= mbufs;
}
/** apus_tcp_memory_queued - a writer queued so many @bytes */
static inline void apus_tcp_memory_queued(struct apus_tcp_memory *memory, size_t bytes)
{
	apus_tcp_memory_kept(memory, (uint32_t)(bytes / APUS_TCP_MEMORY_MBUF) + 1);
}
/** apus_tcp_memory_receive_limit - of the bytes that a receive queue may come to, which are @buffer_bytes without pressure */
static inline uint32_t apus_tcp_memory_receive_limit(const struct apus_tcp_memory *memory,
						     uint32_t buffer_bytes)
{
	if (apus_likely(!memory->level))
		return buffer_bytes;
	return apus_min(buffer_bytes, APUS_TCP_MEMORY_SHARE);
}

APUS_END_DECLS

#endif
