/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/condition.h: wait until something under a lock has changed (asyncio.Condition).
 */
#ifndef APUS_RUNTIME_SYNC_CONDITION_H
#define APUS_RUNTIME_SYNC_CONDITION_H

#include "runtime/sync/lock.h"

APUS_BEGIN_DECLS

/* Embedded by the user; written by the calls below. */
struct apus_condition {
	struct apus_lock *lock; /* borrowed */
	struct apus_waitq waiters;
};

/** apus_condition_init - borrows @lock, which several conditions may share. Context: any */
void apus_condition_init(struct apus_condition *c, struct apus_lock *lock);
/**
 * apus_condition_wait - release the lock, wait to be notified, acquire the lock again
 *
 * The lock is held on return, whatever it returns: a cancel is delivered after the lock is back.
 * Check what you waited for in a loop. A notification that comes with a cancel goes to the next.
 * Context: task, suspends. Return: 0, -ECANCELED, -EPERM (not locked), -EXDEV. Source: Condition.wait
 */
APUS_MUST_CHECK int apus_condition_wait(struct apus_condition *c);
/** apus_condition_wait_for - wait until @predicate(@arg) holds. Context: task, suspends. Return: as apus_condition_wait(). Source: Condition.wait_for */
APUS_MUST_CHECK int apus_condition_wait_for(struct apus_condition *c, bool (*predicate)(void *arg),
					    void *arg);
/** apus_condition_notify - wake at most @n waiters; the lock must be held and is not released. Return: 0, -EPERM. Context: any, on the shard. Source: Condition.notify */
int apus_condition_notify(struct apus_condition *c, size_t n);
/** apus_condition_notify_all - wake all waiters; as notify. Return: 0, -EPERM. Context: any, on the shard. Source: Condition.notify_all */
int apus_condition_notify_all(struct apus_condition *c);

APUS_END_DECLS

#endif
