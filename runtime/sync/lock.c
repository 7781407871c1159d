/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/lock.c: the slow half of the lock.
 *
 * Invariant: while it is neither locked nor promised, nobody waits.
 */
#include "runtime/sync/lock.h"

#include "runtime/base/check.h"
#include "runtime/sched/wait.h"

#include <errno.h>

void apus_lock_wake_first(struct apus_lock *l)
{
	l->is_promised = apus_waitq_wake_one(&l->waiters, 0);
}

int apus_lock_acquire_slow(struct apus_lock *l)
{
	struct apus_wait wait;
	int rc = apus_task_budget <= 0 ? apus_checkpoint() : 0;

	if (rc)
		return rc;
	if (!l->is_locked && !l->is_promised && apus_waitq_empty(&l->waiters)) {
		l->is_locked = true;
		return 0;
	}
	rc = apus_wait_check(&l->waiters.waiters);
	if (rc)
		return rc;
	apus_wait_init(&wait, NULL, "lock", l);
	apus_list_push_back(&l->waiters.waiters, &wait.link);
	rc = (int)apus_park(&wait);
	if (wait.rc == 0) /* it was promised to us, cancelled since or not */
		l->is_promised = false;
	if (rc) {
		if (wait.rc == 0 && !l->is_locked)
			apus_lock_wake_first(l);
		return rc;
	}
	apus_assert(!l->is_locked);
	l->is_locked = true;
	return 0;
}
