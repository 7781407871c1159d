/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/semaphore.c: counted units, in order.
 */
#include "runtime/sync/semaphore.h"

#include "runtime/sync/internal.h"

#include <errno.h>

struct waiter {
	struct apus_wait wait;
	uint64_t n;
};

void apus_semaphore_init(struct apus_semaphore *s, uint64_t value, uint64_t bound)
{
	apus_waitq_init(&s->waiters);
	s->value = value;
	s->bound = bound;
	s->promised = 0;
	s->home = apus_home_here();
	apus_note(s, "initialised");
}

bool apus_semaphore_is_locked(const struct apus_semaphore *s)
{
	return !s->value || s->promised || !apus_waitq_empty(&s->waiters);
}

/* The units leave here, not when the waiter runs, so that nobody takes them meanwhile. */
static void wake_all_that_fit(struct apus_semaphore *s)
{
	while (!apus_waitq_empty(&s->waiters)) {
		struct apus_wait *first =
			apus_list_entry(s->waiters.waiters.next, struct apus_wait, link);
		uint64_t n = apus_container_of(first, struct waiter, wait)->n;

		if (n > s->value)
			return;
		s->value -= n;
		s->promised++;
		apus_wake_here(first, 0);
	}
}

int apus_semaphore_try_acquire(struct apus_semaphore *s, uint64_t n)
{
	if (n > s->value || s->promised || !apus_waitq_empty(&s->waiters))
		return -EAGAIN;
	if (apus_home_check_debug(s, "acquire of a semaphore"))
		return -EXDEV;
	s->value -= n;
	apus_note(s, "acquired");
	return 0;
}

static APUS_SUSPENDS int acquire_slow(struct apus_semaphore *s, uint64_t n, const void *place)
{
	struct waiter waiter = {.n = n};
	int rc = apus_home_check_at(s, "acquire of a semaphore", place);

	rc = rc ? rc : apus_wait_join(&waiter.wait, NULL, "semaphore", s, &s->waiters.waiters);
	if (apus_unlikely(rc))
		return rc;
	rc = (int)apus_park_here(&waiter.wait);
	if (waiter.wait.rc == 0) {
		s->promised--;
		if (rc)
			s->value += n;
		else if (apus_is_debug())
			apus_note_at(s, "acquired", place);
	}
	/* Others may fit now: behind a large request that left, or behind our own. */
	wake_all_that_fit(s);
	return rc;
}

int apus_semaphore_acquire(struct apus_semaphore *s, uint64_t n)
{
	int rc = apus_checkpoint();

	if (rc)
		return rc;
	if (!n || n > s->bound)
		return -EINVAL;
	rc = apus_semaphore_try_acquire(s, n);
	return rc != -EAGAIN ? rc : acquire_slow(s, n, __builtin_return_address(0));
}

int apus_semaphore_release(struct apus_semaphore *s, uint64_t n)
{
	if (n > s->bound || s->value > s->bound - n)
		return apus_misuse(-EOVERFLOW, s, "release of a semaphore beyond its bound");
	if (apus_home_check_debug(s, "release of a semaphore"))
		return -EXDEV;
	apus_note(s, "released");
	s->value += n;
	if (apus_unlikely(!apus_waitq_empty(&s->waiters)))
		wake_all_that_fit(s);
	return 0;
}
