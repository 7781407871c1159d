/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/event.c: a flag to wait for.
 */
#include "runtime/sync/event.h"

#include "runtime/sched/task.h"

void apus_event_init(struct apus_event *e)
{
	apus_waitq_init(&e->waiters);
	e->is_set = false;
}

void apus_event_set(struct apus_event *e)
{
	e->is_set = true;
	apus_waitq_wake_all(&e->waiters, 0);
}

void apus_event_clear(struct apus_event *e)
{
	e->is_set = false;
}

int apus_event_wait(struct apus_event *e)
{
	if (e->is_set)
		return apus_checkpoint();
	return (int)apus_waitq_wait(&e->waiters, "event");
}
