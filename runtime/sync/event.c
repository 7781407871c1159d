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
}

void apus_event_set(struct apus_event *e)
{
	e->is_set = true;
	while (apus_waitq_wake_one_here(&e->waiters, 0))
		;
}

void apus_event_clear(struct apus_event *e)
{
	e->is_set = false;
}

static APUS_SUSPENDS int wait_slow(struct apus_event *e)
{
	return (int)apus_waitq_wait_here(&e->waiters, "event");
}

int apus_event_wait(struct apus_event *e)
{
	return e->is_set ? apus_checkpoint() : wait_slow(e);
}
