/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/event.c: a flag to wait for.
 */
#include "runtime/sync/event.h"

#include "runtime/sync/internal.h"

void apus_event_init(struct apus_event *e)
{
	apus_waitq_init(&e->waiters);
	e->is_set = false;
	e->home = apus_home_here();
	apus_note(e, "initialised");
}

static inline void set(struct apus_event *e)
{
	e->is_set = true;
	apus_waitq_wake_all_here(&e->waiters, 0);
}

/* Apart, as what waits on the road to it: no frame where nothing is looked at. */
static APUS_COLD void set_checked(struct apus_event *e, const void *place)
{
	if (e->home)
		(void)apus_home_check_at(e, "set of an event", place);
	set(e);
}

void apus_event_set(struct apus_event *e)
{
	if (apus_is_debug())
		set_checked(e, __builtin_return_address(0));
	else
		set(e);
}

void apus_event_clear(struct apus_event *e)
{
	e->is_set = false;
}

static APUS_SUSPENDS int wait_slow(struct apus_event *e)
{
	return (int)apus_waitq_wait_here(&e->waiters, "event");
}

static APUS_COLD int wait_checked(struct apus_event *e, const void *place)
{
	int rc = apus_home_check_at(e, "wait for an event", place);

	return rc ? rc : wait_slow(e);
}

int apus_event_wait(struct apus_event *e)
{
	if (e->is_set)
		return apus_checkpoint();
	if (apus_unlikely(!apus_home_is_here(e)))
		return wait_checked(e, __builtin_return_address(0));
	return wait_slow(e);
}
