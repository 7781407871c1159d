/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/callback.c: functions that wait in queues beside tasks.
 */
#include "runtime/sched/internal.h"

#include <errno.h>

void apus_callback_init(struct apus_callback *callback, apus_work_fn fn)
{
	callback->wait = (struct apus_wait){.what = "callback", .rc = -EINPROGRESS};
	apus_list_init(&callback->wait.link);
	apus_work_init(&callback->work, fn);
}

bool apus_callback_remove(struct apus_callback *callback)
{
	if (apus_call_cancel(&callback->work)) /* and its context variables with it */
		return true;
	if (!apus_list_linked(&callback->wait.link))
		return false;
	apus_list_remove(&callback->wait.link);
	return true;
}

bool apus_callback_is_queued(const struct apus_callback *callback)
{
	return callback->work.where != APUS_READY_NOWHERE;
}

void apus_callback_register(struct apus_callback *callback, struct apus_list *queue)
{
	apus_assert(!apus_list_linked(&callback->wait.link) && !callback->work.where);
	callback->work.vars = apus_vars_snapshot(apus_shard_current);
	apus_list_push_back(queue, &callback->wait.link);
}

void apus_callback_now(struct apus_callback *callback, int64_t rc)
{
	callback->wait.rc = rc;
	apus_call_soon(&callback->work);
}

void apus_task_on_done(struct apus_task *t, struct apus_callback *callback)
{
	if (!t || t->state == APUS_TASK_DONE)
		apus_callback_now(callback, t ? t->result : -ENOMEM);
	else
		apus_callback_register(callback, &t->awaiters);
}
