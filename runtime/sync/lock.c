/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/lock.c: the slow half of the lock.
 *
 * Invariants: while it is neither locked nor promised, nobody waits; it is never both. A traced one
 * stays that.
 */
#include "runtime/sync/lock.h"

#include "runtime/base/check.h"
#include "runtime/sync/internal.h"

#include <errno.h>

void apus_lock_wake_first(struct apus_lock *l)
{
	uint8_t traced = l->state & APUS_LOCK_TRACED;

	l->state = apus_waitq_wake_one_here(&l->waiters, 0) ? traced | APUS_LOCK_PROMISED : traced;
}

void apus_lock_trace(struct apus_lock *l)
{
	l->state = APUS_LOCK_TRACED;
	apus_note(l, "initialised");
}

static bool is_free(const struct apus_lock *l)
{
	return !(l->state & ~APUS_LOCK_TRACED) && apus_waitq_empty(&l->waiters);
}

/* Ours; @place is in who called. */
static int take(struct apus_lock *l, const void *place)
{
	l->state = (l->state & APUS_LOCK_TRACED) | APUS_LOCK_LOCKED;
	if (apus_unlikely(l->state & APUS_LOCK_TRACED))
		apus_note_at(l, "acquired", place);
	return 0;
}

int apus_lock_release_slow(struct apus_lock *l)
{
	if (!apus_lock_is_locked(l))
		return apus_misuse(-EPERM, l, "release of a lock that is not locked");
	if (apus_home_check_debug(l, "release of a lock"))
		return -EXDEV;
	apus_note(l, "released");
	apus_lock_wake_first(l);
	return 0;
}

APUS_SUSPENDS int apus_lock_acquire_slow(struct apus_lock *l)
{
	struct apus_wait wait;
	const void *place = __builtin_return_address(0);
	bool may_take = is_free(l) && !apus_home_check_debug(l, "acquire of a lock");
	int rc = may_take || apus_task_budget <= 0 ? apus_checkpoint() : 0;

	if (rc)
		return rc;
	if (may_take && is_free(l))
		return take(l, place);
	rc = apus_home_check(l, "acquire of a lock");
	if (apus_unlikely(rc))
		return rc;
	rc = apus_wait_join(&wait, NULL, "lock", l, &l->waiters.waiters);
	if (apus_unlikely(rc))
		return rc;
	rc = (int)apus_park_here(&wait);
	if (rc) {
		if (wait.rc == 0) /* it was promised to us, and cancelled since */
			apus_lock_wake_first(l);
		return rc;
	}
	apus_assert((l->state & ~APUS_LOCK_TRACED) == APUS_LOCK_PROMISED);
	return take(l, place);
}
