/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/task_info.c: what a task can be asked and told, beside its cancel.
 */
#include "runtime/sched/internal.h"
#include "runtime/sched/task.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *apus_task_name(const struct apus_task *t)
{
	if (!t)
		return "(no task)";
	if (!t->name[0])
		snprintf(((struct apus_task *)(uintptr_t)t)->name, sizeof(t->name), "task-%llu",
			 (unsigned long long)t->id);
	return t->name;
}

void apus_task_set_name(struct apus_task *t, const char *name)
{
	if (!t)
		return;
	strncpy(t->name, name, sizeof(t->name) - 1);
	t->name[sizeof(t->name) - 1] = '\0';
}

uint64_t apus_task_id(const struct apus_task *t)
{
	return t ? t->id : 0;
}

void *apus_task_arg(const struct apus_task *t)
{
	return t->arg;
}

bool apus_task_runs(const struct apus_task *t, apus_task_fn fn)
{
	return t && t->fn == fn;
}

struct apus_list *apus_task_awaiters(struct apus_task *t)
{
	return &t->awaiters;
}

bool apus_task_done(const struct apus_task *t)
{
	return !t || t->state == APUS_TASK_DONE;
}

int64_t apus_task_result(struct apus_task *t)
{
	if (!t)
		return -ENOMEM;
	if (t->state != APUS_TASK_DONE)
		return -EINPROGRESS;
	t->result_seen = true;
	return t->result;
}

struct apus_task *apus_task_self(void)
{
	return apus_shard_current ? apus_shard_current->current : NULL;
}

const char *apus_task_cancel_reason(const struct apus_task *t)
{
	return t ? t->cancel_reason : NULL;
}

uint32_t apus_task_cancelling(const struct apus_task *t)
{
	return t ? t->cancelling : 0;
}

bool apus_task_cancel_because(struct apus_task *t, const char *reason)
{
	if (!apus_task_cancel(t))
		return false;
	t->cancel_reason = reason;
	return true;
}

uint32_t apus_task_uncancel(struct apus_task *t)
{
	if (!t || !t->cancelling)
		return 0;
	if (--t->cancelling == 0)
		t->must_cancel = false;
	return t->cancelling;
}
