/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/queue.c: three orders of storage under one protocol of waiting.
 */
#include "runtime/sync/queue.h"

#include "runtime/base/check.h"
#include "runtime/sync/internal.h"

#include <errno.h>

static const uint32_t room_min = 8;

struct apus_queue_entry {
	int64_t priority;
	uint64_t seq;
	void *item;
};

int apus_queue_init(struct apus_queue *q, const struct apus_queue_options *options)
{
	if (!options->capacity ||
	    (options->order == APUS_QUEUE_PRIORITY) != (options->priority != NULL))
		return -EINVAL;
	*q = (struct apus_queue){
		.capacity = options->capacity,
		.order = options->order,
		.priority = options->priority,
		.heap = apus_shard_heap(apus_shard_self()),
		.home = apus_home_here(),
	};
	if (apus_is_debug() && q->order == APUS_QUEUE_FIFO)
		q->order = APUS_QUEUE_TRACED;
	apus_note(q, "initialised");
	apus_waitq_init(&q->getters);
	apus_waitq_init(&q->putters);
	apus_waitq_init(&q->joiners);
	return 0;
}

void apus_queue_fini(struct apus_queue *q)
{
	apus_must(apus_waitq_empty(&q->getters) && apus_waitq_empty(&q->putters));
	apus_heap_free(q->heap, q->items);
	q->items = NULL;
	q->room = q->count = q->limit = 0;
}

/* ------------------------------------------------------------------------------------ storage */

/* What a put may compare with alone. */
static uint32_t limit_of(const struct apus_queue *q)
{
	bool is_plain = q->order == APUS_QUEUE_FIFO && !q->is_shut_down;

	return is_plain ? apus_min(q->room, q->capacity) : 0;
}

static bool is_ring(const struct apus_queue *q)
{
	return q->order == APUS_QUEUE_FIFO || q->order == APUS_QUEUE_TRACED;
}

static APUS_COLD int grow(struct apus_queue *q)
{
	size_t bytes =
		q->order == APUS_QUEUE_PRIORITY ? sizeof(q->entries[0]) : sizeof(q->items[0]);
	uint32_t room = q->room ? 2 * q->room : room_min;
	void **items;

	if (room < q->room)
		return -ENOMEM;
	items = apus_heap_realloc(q->heap, q->items, room * bytes);
	if (!items)
		return -ENOMEM;
	/* A full ring that begins in the middle: what had wrapped round now follows the rest. */
	if (is_ring(q))
		for (uint32_t i = 0; i < q->head; i++)
			items[q->room + i] = items[i];
	q->items = items;
	q->room = room;
	q->limit = limit_of(q);
	return 0;
}

static bool before(const struct apus_queue_entry *a, const struct apus_queue_entry *b)
{
	return a->priority != b->priority ? a->priority < b->priority : a->seq < b->seq;
}

static void heap_push(struct apus_queue *q, struct apus_queue_entry entry)
{
	uint32_t at = q->count;

	while (at && before(&entry, &q->entries[(at - 1) / 2])) {
		q->entries[at] = q->entries[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	q->entries[at] = entry;
}

/* q->count is already one less: the last entry looks for its place from the root on. */
static void *heap_pop(struct apus_queue *q)
{
	struct apus_queue_entry *e = q->entries, last = e[q->count];
	void *item = e[0].item;
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < q->count) {
		if (child + 1 < q->count && before(&e[child + 1], &e[child]))
			child++;
		if (!before(&e[child], &last))
			break;
		e[at] = e[child];
		at = child;
	}
	e[at] = last;
	return item;
}

static inline void ring_push(struct apus_queue *q, void *item)
{
	q->items[(q->head + q->count++) & (q->room - 1)] = item;
}

static inline void *ring_pop(struct apus_queue *q)
{
	void *item = q->items[q->head];

	q->head = (q->head + 1) & (q->room - 1);
	q->count--;
	return item;
}

static int store(struct apus_queue *q, void *item)
{
	if (apus_unlikely(q->count == q->room)) {
		int rc = grow(q);

		if (rc)
			return rc;
	}
	switch (q->order) {
	case APUS_QUEUE_FIFO:
	case APUS_QUEUE_TRACED:
		ring_push(q, item);
		break;
	case APUS_QUEUE_LIFO:
		q->items[q->count++] = item;
		break;
	case APUS_QUEUE_PRIORITY:
		heap_push(q, (struct apus_queue_entry){q->priority(item), q->seq++, item});
		q->count++;
		break;
	}
	return 0;
}

static void *fetch(struct apus_queue *q)
{
	switch (q->order) {
	case APUS_QUEUE_FIFO:
	case APUS_QUEUE_TRACED:
		break;
	case APUS_QUEUE_LIFO:
		return q->items[--q->count];
	case APUS_QUEUE_PRIORITY:
		q->count--;
		return heap_pop(q);
	}
	return ring_pop(q);
}

/* ------------------------------------------------------------------------------------ waiting */

static APUS_NOINLINE int put_other(struct apus_queue *q, void *item)
{
	int rc = q->is_shut_down ? -EPIPE : 0;

	rc = rc ? rc : apus_home_check_debug(q, "put into a queue");
	rc = rc ? rc : store(q, item);
	if (rc)
		return rc;
	q->unfinished++;
	apus_waitq_wake_one(&q->getters, 0);
	return 0;
}

/* The first case, of an open FIFO with a free place that is allocated, is found by one look. */
static inline int put_now(struct apus_queue *q, void *item)
{
	if (apus_likely(q->count < q->limit)) {
		ring_push(q, item);
		q->unfinished++;
		return apus_waitq_wake_one_last(&q->getters);
	}
	if (!apus_queue_is_full(q) || q->is_shut_down)
		return put_other(q, item);
	return -EAGAIN;
}

static APUS_NOINLINE int get_other(struct apus_queue *q, void **item)
{
	if (!q->count)
		return -EPIPE;
	if (apus_home_check_debug(q, "get from a queue"))
		return -EXDEV;
	*item = fetch(q);
	apus_waitq_wake_one(&q->putters, 0);
	return 0;
}

static inline int get_now(struct apus_queue *q, void **item)
{
	if (apus_likely(q->count && q->order == APUS_QUEUE_FIFO)) {
		*item = ring_pop(q);
		apus_waitq_wake_one_here(&q->putters, 0);
		return 0;
	}
	if (q->count || q->is_shut_down)
		return get_other(q, item);
	return -EAGAIN;
}

int apus_queue_try_put(struct apus_queue *q, void *item)
{
	return put_now(q, item);
}

int apus_queue_try_get(struct apus_queue *q, void **item)
{
	return get_now(q, item);
}

/* Return: 0 to look again. One that was woken and cancelled since gives the wake to the next. */
static inline int wait_turn(struct apus_queue *q, struct apus_waitq *waiters, const char *what)
{
	struct apus_wait wait;
	int rc = apus_wait_join(&wait, NULL, what, q, &waiters->waiters);

	if (apus_unlikely(rc))
		return rc;
	rc = (int)apus_park_here(&wait);
	if (rc && wait.rc == 0 &&
	    (waiters == &q->getters ? !apus_queue_is_empty(q) : !apus_queue_is_full(q)))
		apus_waitq_wake_one(waiters, 0);
	return rc;
}

static APUS_SUSPENDS int put_slow(struct apus_queue *q, void *item)
{
	int rc;

	do {
		rc = wait_turn(q, &q->putters, "queue put");
		if (!rc)
			rc = put_now(q, item);
	} while (rc == -EAGAIN);
	return rc;
}

/* There was no free place that is allocated. @place: of the put, for whom that is told. */
static APUS_NOINLINE int put_late(struct apus_queue *q, void *item, const void *place)
{
	int rc = put_now(q, item);

	if (rc != -EAGAIN)
		return rc;
	rc = apus_home_check_at(q, "queue put", place);
	return rc ? rc : put_slow(q, item);
}

static APUS_COLD int put_after_lap(struct apus_queue *q, void *item)
{
	int rc = apus_checkpoint_slow();

	return rc ? rc : apus_queue_put(q, item);
}

int apus_queue_put(struct apus_queue *q, void *item)
{
	if (apus_unlikely(--apus_task_budget <= 0))
		return put_after_lap(q, item);

	if (apus_likely(q->count < q->limit))
		return put_now(q, item);
	return put_late(q, item, __builtin_return_address(0));
}

static APUS_SUSPENDS int get_slow(struct apus_queue *q, void **item)
{
	int rc;

	do {
		rc = wait_turn(q, &q->getters, "queue get");
		if (!rc)
			rc = get_now(q, item);
	} while (rc == -EAGAIN);
	return rc;
}

static APUS_COLD int get_checked(struct apus_queue *q, void **item, const void *place)
{
	int rc = apus_home_check_at(q, "queue get", place);

	return rc ? rc : get_slow(q, item);
}

static APUS_COLD int get_after_lap(struct apus_queue *q, void **item)
{
	int rc = apus_checkpoint_slow();

	return rc ? rc : apus_queue_get(q, item);
}

int apus_queue_get(struct apus_queue *q, void **item)
{
	if (apus_unlikely(--apus_task_budget <= 0))
		return get_after_lap(q, item);

	int rc = get_now(q, item);

	if (rc != -EAGAIN)
		return rc;
	if (apus_unlikely(!apus_home_is_here(q)))
		return get_checked(q, item, __builtin_return_address(0));
	return get_slow(q, item);
}

int apus_queue_task_done(struct apus_queue *q)
{
	if (!q->unfinished)
		return apus_misuse(-EINVAL, q, "task_done of a queue for more items than were put");
	if (apus_home_check_debug(q, "task_done of a queue"))
		return -EXDEV;
	apus_note(q, "told that an item is done");
	if (--q->unfinished == 0)
		apus_waitq_wake_all(&q->joiners, 0);
	return 0;
}

static APUS_SUSPENDS int join_slow(struct apus_queue *q, const void *place)
{
	int rc = apus_home_check_at(q, "join of a queue", place);

	return rc ? rc : (int)apus_waitq_wait_here(&q->joiners, "queue join");
}

int apus_queue_join(struct apus_queue *q)
{
	return q->unfinished ? join_slow(q, __builtin_return_address(0)) : apus_checkpoint();
}

void apus_queue_shutdown(struct apus_queue *q, bool immediate)
{
	q->is_shut_down = true;
	q->limit = limit_of(q);
	while (immediate && q->count) {
		(void)fetch(q);
		(void)apus_queue_task_done(q);
	}
	apus_waitq_wake_all(&q->getters, 0);
	apus_waitq_wake_all(&q->putters, 0);
}
