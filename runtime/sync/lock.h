/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/lock.h: mutual exclusion between the tasks of a shard (asyncio.Lock).
 *
 * Needed only where a task suspends in the middle of a change. First come, first served: a release
 * wakes the oldest waiter, and nobody may overtake it on its way. Not re-entrant; any task may
 * release.
 */
#ifndef APUS_RUNTIME_SYNC_LOCK_H
#define APUS_RUNTIME_SYNC_LOCK_H

#include "runtime/sched/misuse.h"
#include "runtime/sched/task.h"
#include "runtime/sync/waitq.h"

#include <errno.h>

APUS_BEGIN_DECLS

/* Embedded by the user; written by the calls below. */
struct apus_lock {
	struct apus_waitq waiters;
	uint8_t state; /* enum apus_lock_state; one byte, so that all are looked at in one load */
	uint32_t home; /* misuse.h */
};

enum apus_lock_state {
	APUS_LOCK_LOCKED = 1 << 0,
	APUS_LOCK_PROMISED = 1 << 1, /* to a waiter that was woken and has not run yet */
	/*
	 * Initialised in debug mode: every call takes its slow half, which notes who did it. So who holds
	 * a lock is known in debug mode, and costs nothing without.
	 */
	APUS_LOCK_TRACED = 1 << 2,
};

/** apus_lock_trace - what apus_lock_init() calls in debug mode */
APUS_COLD void apus_lock_trace(struct apus_lock *l);

/** apus_lock_init - not locked. Context: any */
static inline void apus_lock_init(struct apus_lock *l)
{
	apus_waitq_init(&l->waiters);
	l->state = 0;
	l->home = apus_home_here();
	if (apus_is_debug())
		apus_lock_trace(l);
}

/** apus_lock_is_locked - does somebody hold it? Context: any, on the shard. Source: Lock.locked */
static inline bool apus_lock_is_locked(const struct apus_lock *l)
{
	return l->state & APUS_LOCK_LOCKED;
}

/* The other halves of the two calls. */
APUS_MUST_CHECK int apus_lock_acquire_slow(struct apus_lock *l);
int apus_lock_release_slow(struct apus_lock *l);
/** apus_lock_wake_first - what apus_lock_release() calls when somebody waits */
void apus_lock_wake_first(struct apus_lock *l);

/**
 * apus_lock_acquire - wait until it is ours
 *
 * Context: task, suspends when it is taken. Return: 0; -ECANCELED, -EXDEV (not ours). Source: Lock.acquire
 */
APUS_MUST_CHECK static inline int apus_lock_acquire(struct apus_lock *l)
{
	if (apus_unlikely(l->state || !apus_waitq_empty(&l->waiters) || --apus_task_budget <= 0))
		return apus_lock_acquire_slow(l);
	l->state = APUS_LOCK_LOCKED;
	return 0;
}

/** apus_lock_release - Return: 0; -EPERM if it is not locked. Context: any, on the shard. Source: Lock.release */
static inline int apus_lock_release(struct apus_lock *l)
{
	if (apus_unlikely(l->state != APUS_LOCK_LOCKED))
		return apus_lock_release_slow(l);
	l->state = 0;
	if (apus_unlikely(!apus_waitq_empty(&l->waiters)))
		apus_lock_wake_first(l);
	return 0;
}

APUS_END_DECLS

#endif
