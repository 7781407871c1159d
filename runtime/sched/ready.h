/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/ready.h: the ready queue: one FIFO of callbacks and task steps.
 *
 * Internal. An array of tagged pointers, not a list, so that the loop can prefetch what will run a
 * few entries ahead. It grows by doubling; when it cannot, entries wait in a list through
 * apus_work.next and move over as the array empties, so that pushing never fails.
 */
#ifndef APUS_RUNTIME_SCHED_READY_H
#define APUS_RUNTIME_SCHED_READY_H

#include "runtime/base/alloc.h"
#include "runtime/sched/work.h"

/* apus_work.where */
enum apus_ready_place {
	APUS_READY_NOWHERE,
	APUS_READY_RING,
	APUS_READY_OVERFLOW,
};

/* Low bit of an entry: a task's step, not a callback. */
#define APUS_READY_TASK ((uintptr_t)1)

struct apus_ready {
	uintptr_t *ring; /* 0: a cancelled entry */
	uint32_t mask;   /* size - 1 */
	uint32_t
		room; /* entries that may be in it: its size, or 0 while others wait in `overflow` */
	uint32_t head; /* position of the next entry to run; positions wrap at 2^32 */
	uint32_t tail; /* position of the next entry to be pushed */
	struct apus_work *overflow;
	struct apus_work **overflow_tail;
	struct apus_heap *heap;
};

APUS_MUST_CHECK int apus_ready_init(struct apus_ready *r, struct apus_heap *heap);
void apus_ready_fini(struct apus_ready *r);
/** apus_ready_push_slow - when the ring is full, or has overflowed before. Return: 0 */
APUS_COLD int apus_ready_push_slow(struct apus_ready *r, struct apus_work *work, uintptr_t tag);
/** apus_ready_refill - move overflowed entries into the ring */
APUS_COLD void apus_ready_refill(struct apus_ready *r);
/** apus_ready_remove - take @work out. Return: false if it was not there */
bool apus_ready_remove(struct apus_ready *r, struct apus_work *work);

static inline bool apus_ready_empty(const struct apus_ready *r)
{
	return r->head == r->tail && !r->overflow;
}

/* Return: 0, always, so that who ends in it, as what wakes does, needs no frame for the slow way. */
static inline int apus_ready_push(struct apus_ready *r, struct apus_work *work, uintptr_t tag)
{
	if (apus_unlikely(r->tail - r->head >= r->room))
		return apus_ready_push_slow(r, work, tag);
	work->where = APUS_READY_RING;
	work->position = r->tail;
	r->ring[r->tail++ & r->mask] = (uintptr_t)work + tag;
	return 0;
}

#endif
