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

void apus_event_set(struct apus_event *e)
{
	(void)apus_home_check_debug(e, "set of an event");
	e->is_set = true;
	apus_waitq_wake_all_here(&e->waiters, 0);
}

void apus_event_clear(struct apus_event *e)
{
	e->is_set = false;
}

static APUS_SUSPENDS int wait_slow(struct apus_event *e, const void *place)
{
	int rc = apus_home_check_at(e, "wait for an event", place);

	return rc ? rc : (int)apus_waitq_wait_here(&e->waiters, "event");
}

int apus_event_wait(struct apus_event *e)
{
	return e->is_set ? apus_checkpoint() : wait_slow(e, __builtin_return_address(0));
}
