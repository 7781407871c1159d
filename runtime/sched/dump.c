/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/dump.c: who is there, and what they wait for.
 */
#include "runtime/sched/internal.h"

#include <stdio.h>

static void dump_task(const struct apus_shard *s, const struct apus_task *t, int fd)
{
	switch ((enum apus_task_state)t->state) {
	case APUS_TASK_NEW:
		dprintf(fd, "  %s: not begun\n", apus_task_name(t));
		break;
	case APUS_TASK_READY:
		dprintf(fd, "  %s: %s\n", apus_task_name(t), t == s->current ? "running" : "ready");
		break;
	case APUS_TASK_PARKED:
		dprintf(fd, "  %s: waits for %s %p\n", apus_task_name(t), t->wait->what,
			t->wait->object);
		break;
	case APUS_TASK_DONE:
		break;
	}
}

void apus_shard_dump(const struct apus_shard *s, int fd)
{
	const struct apus_list *it;

	dprintf(fd, "apus: %zu tasks\n", s->tasks_live);
	apus_list_for_each(it, &s->tasks)
		dump_task(s, apus_list_entry(it, struct apus_task, all), fd);
}
