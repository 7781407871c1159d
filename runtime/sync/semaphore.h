/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/semaphore.h: a number of units to take and give back (asyncio.Semaphore, and more
 * than one unit at a time: bytes of memory, slots of a pool).
 *
 * First come, first served: a large request at the head holds back small ones behind it. A unit is
 * the waiter's from the moment it is woken; if it is cancelled on its way, the unit goes on.
 */
#ifndef APUS_RUNTIME_SYNC_SEMAPHORE_H
#define APUS_RUNTIME_SYNC_SEMAPHORE_H

#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

#define APUS_SEMAPHORE_UNBOUNDED UINT64_MAX

/* Embedded by the user; written by the calls below. */
struct apus_semaphore {
	struct apus_waitq waiters;
	uint64_t value;    /* units that nobody has */
	uint64_t bound;    /* of value */
	uint32_t promised; /* waiters that were woken and have not run yet */
	uint32_t home;     /* misuse.h */
};

/** apus_semaphore_init - @value units; releasing to more than @bound is an error (BoundedSemaphore). Context: any */
void apus_semaphore_init(struct apus_semaphore *s, uint64_t value, uint64_t bound);
/** apus_semaphore_is_locked - would an acquire of one unit wait? Context: any, on the shard. Source: Semaphore.locked */
bool apus_semaphore_is_locked(const struct apus_semaphore *s);
/** apus_semaphore_acquire - take @n units, @n > 0. Context: task, suspends when there are too few or others wait. Return: 0; -ECANCELED (none taken); -EINVAL: more than the bound; -EXDEV. Source: Semaphore.acquire */
APUS_MUST_CHECK int apus_semaphore_acquire(struct apus_semaphore *s, uint64_t n);
/** apus_semaphore_try_acquire - as acquire, without waiting. Return: 0, -EAGAIN. Context: any, on the shard */
APUS_MUST_CHECK int apus_semaphore_try_acquire(struct apus_semaphore *s, uint64_t n);
/** apus_semaphore_release - give @n units back. Return: 0; -EOVERFLOW beyond the bound (none given). Context: any, on the shard. Source: Semaphore.release */
int apus_semaphore_release(struct apus_semaphore *s, uint64_t n);

APUS_END_DECLS

#endif
