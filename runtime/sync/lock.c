/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/lock.c: the slow half of the lock.
 *
 * Invariants: while it is neither locked nor promised, nobody waits; it is never both.
 */
#include "runtime/sync/lock.h"

#include "runtime/base/check.h"
#include "runtime/sync/internal.h"

#include <errno.h>

void apus_lock_wake_first(struct apus_lock *l)
{
	l->state = apus_waitq_wake_one_here(&l->waiters, 0) ? APUS_LOCK_PROMISED : 0;
}

APUS_SUSPENDS int apus_lock_acquire_slow(struct apus_lock *l)
{
	struct apus_wait wait;
	int rc = apus_task_budget <= 0 ? apus_checkpoint() : 0;

	if (rc)
		return rc;
	if (!l->state && apus_waitq_empty(&l->waiters)) {
		l->state = APUS_LOCK_LOCKED;
		return 0;
	}
	rc = apus_wait_join(&wait, NULL, "lock", l, &l->waiters.waiters);
	if (apus_unlikely(rc))
		return rc;
	rc = (int)apus_park_here(&wait);
	if (rc) {
		if (wait.rc == 0) /* it was promised to us, and cancelled since */
			apus_lock_wake_first(l);
		return rc;
	}
	apus_assert(l->state == APUS_LOCK_PROMISED);
	l->state = APUS_LOCK_LOCKED;
	return 0;
}
