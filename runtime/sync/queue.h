/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/queue.h: items from tasks to tasks (asyncio.Queue, PriorityQueue, LifoQueue).
 *
 * Items are pointers that the queue does not own. Bounded, unless spelled out otherwise. A waiting
 * getter is woken by a put and then takes the item itself: one that does not wait may come first,
 * and the loser waits again; an item is never lost to a cancel.
 */
#ifndef APUS_RUNTIME_SYNC_QUEUE_H
#define APUS_RUNTIME_SYNC_QUEUE_H

#include "runtime/base/alloc.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

#define APUS_QUEUE_UNBOUNDED UINT32_MAX

enum apus_queue_order {
	APUS_QUEUE_FIFO,
	APUS_QUEUE_LIFO,
	APUS_QUEUE_PRIORITY, /* the smallest first; equal ones first in, first out */
	APUS_QUEUE_TRACED,   /* not for options: what a FIFO is in debug mode, off the fast paths */
};

struct apus_queue_options {
	uint32_t capacity; /* items at most, > 0; memory is taken as it fills */
	enum apus_queue_order order;
	int64_t (*priority)(const void *item); /* of APUS_QUEUE_PRIORITY; read once, at put */
};

struct apus_queue_entry;

/* Embedded by the user; written by the calls below. */
struct apus_queue {
	struct apus_waitq getters, putters, joiners;
	uint32_t count;    /* items in it */
	uint32_t capacity; /* at most */
	uint32_t head;     /* FIFO: place of the oldest, in the ring */
	uint32_t room;     /* places allocated, a power of two */
	uint32_t limit; /* of a put at once: min(room, capacity) while it is an open FIFO, else 0 */
	uint32_t home;  /* misuse.h */
	bool is_shut_down;
	enum apus_queue_order order;
	union {
		void **items;                     /* FIFO: ring; LIFO: stack */
		struct apus_queue_entry *entries; /* PRIORITY: heap */
	};
	uint64_t unfinished; /* put and not yet told by apus_queue_task_done() */
	uint64_t seq;        /* PRIORITY: order of putting */
	int64_t (*priority)(const void *item);
	struct apus_heap *heap;
};

/** apus_queue_init - on the current shard. Return: 0, -EINVAL. Context: any, on a shard */
APUS_MUST_CHECK int apus_queue_init(struct apus_queue *q, const struct apus_queue_options *options);
/** apus_queue_fini - nobody may wait; items that are left are the caller's to know of. Context: any, on the shard */
void apus_queue_fini(struct apus_queue *q);

/** apus_queue_size - items in it. Context: any, on the shard. Source: Queue.qsize */
static inline uint32_t apus_queue_size(const struct apus_queue *q)
{
	return q->count;
}
/** apus_queue_is_empty - would a get wait? Context: any, on the shard. Source: Queue.empty */
static inline bool apus_queue_is_empty(const struct apus_queue *q)
{
	return !q->count;
}
/** apus_queue_is_full - would a put wait? Context: any, on the shard. Source: Queue.full */
static inline bool apus_queue_is_full(const struct apus_queue *q)
{
	return q->count >= q->capacity;
}

/**
 * apus_queue_put - add @item, waiting while the queue is full
 *
 * Context: task, suspends when full. Return: 0; -EPIPE once shut down; -ENOMEM; -ECANCELED (not
 * added); -EXDEV. Source: Queue.put
 */
APUS_MUST_CHECK int apus_queue_put(struct apus_queue *q, void *item);
/** apus_queue_try_put - as put; -EAGAIN instead of waiting. Context: any, on the shard. Source: Queue.put_nowait */
APUS_MUST_CHECK int apus_queue_try_put(struct apus_queue *q, void *item);
/**
 * apus_queue_get - take the next item, waiting while the queue is empty
 *
 * Context: task, suspends when empty. Return: 0; -EPIPE once shut down and empty; -ECANCELED (none
 * taken); -EXDEV. Source: Queue.get
 */
APUS_MUST_CHECK int apus_queue_get(struct apus_queue *q, void **item);
/** apus_queue_try_get - as get; -EAGAIN instead of waiting. Context: any, on the shard. Source: Queue.get_nowait */
APUS_MUST_CHECK int apus_queue_try_get(struct apus_queue *q, void **item);
/** apus_queue_task_done - one item that was taken is worked off. Return: 0; -EINVAL: more than were put. Context: any, on the shard. Source: Queue.task_done */
int apus_queue_task_done(struct apus_queue *q);
/** apus_queue_join - until every item put is worked off. Context: task, suspends. Return: 0, -ECANCELED, -EXDEV. Source: Queue.join */
APUS_MUST_CHECK int apus_queue_join(struct apus_queue *q);
/** apus_queue_shutdown - no more puts; gets go on until it is empty, or it is emptied now (@immediate). Context: any, on the shard. Source: Queue.shutdown */
void apus_queue_shutdown(struct apus_queue *q, bool immediate);

APUS_END_DECLS

#endif
