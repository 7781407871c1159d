/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/work.c: callbacks in the ready queue.
 */
#include "runtime/sched/work.h"

#include "runtime/sched/internal.h"

void apus_call_soon(struct apus_work *work)
{
	struct apus_shard *s = apus_shard_current;

	apus_must(s); /* other threads have apus_call_from_thread() */
	if (work->where != APUS_READY_NOWHERE)
		return;
	work->vars = apus_vars_snapshot(s);
	apus_ready_push(&s->ready, work, 0);
}

bool apus_call_cancel(struct apus_work *work)
{
	bool waited = apus_ready_remove(&apus_shard_current->ready, work);

	apus_vars_put(work->vars);
	work->vars = NULL;
	return waited;
}
