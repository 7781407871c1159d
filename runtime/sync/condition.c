/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/condition.c: wait and notify under a lock.
 */
#include "runtime/sync/condition.h"

#include "runtime/sync/internal.h"

#include <errno.h>

void apus_condition_init(struct apus_condition *c, struct apus_lock *lock)
{
	c->lock = lock;
	apus_waitq_init(&c->waiters);
}

static void notify(struct apus_condition *c, size_t n)
{
	while (n-- && apus_waitq_wake_one_here(&c->waiters, 0))
		;
}

/* However often it is cancelled meanwhile: the caller must hold the lock when it goes on. */
static int reacquire(struct apus_lock *lock)
{
	int rc, cancelled = 0;

	while ((rc = apus_lock_acquire(lock)))
		cancelled = rc;
	return cancelled;
}

static APUS_SUSPENDS int wait_slow(struct apus_condition *c)
{
	int rc = (int)apus_waitq_wait_here(&c->waiters, "condition");
	int cancelled = reacquire(c->lock);

	rc = cancelled ? cancelled : rc;
	if (rc) /* we may have been notified, and did not use it */
		notify(c, 1);
	return rc;
}

int apus_condition_wait(struct apus_condition *c)
{
	if (apus_unlikely(!apus_lock_is_locked(c->lock)))
		return apus_misuse(-EPERM, c->lock,
				   "wait for a condition whose lock is not locked");

	int rc = apus_home_check(c->lock, "wait for a condition");

	rc = rc ? rc : apus_lock_release(c->lock);
	return rc ? rc : wait_slow(c);
}

int apus_condition_wait_for(struct apus_condition *c, bool (*predicate)(void *arg), void *arg)
{
	while (!predicate(arg)) {
		int rc = apus_condition_wait(c);

		if (rc)
			return rc;
	}
	return 0;
}

int apus_condition_notify(struct apus_condition *c, size_t n)
{
	if (!apus_lock_is_locked(c->lock))
		return apus_misuse(-EPERM, c->lock,
				   "notify of a condition whose lock is not locked");
	notify(c, n);
	return 0;
}

int apus_condition_notify_all(struct apus_condition *c)
{
	return apus_condition_notify(c, SIZE_MAX);
}
