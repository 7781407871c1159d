/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/work.c: callbacks in the ready queue.
 */
#include "runtime/sched/work.h"

#include "runtime/sched/internal.h"

void apus_call_soon(struct apus_work *work)
{
	if (work->where == APUS_READY_NOWHERE)
		apus_ready_push(&apus_shard_current->ready, work, 0);
}

bool apus_call_cancel(struct apus_work *work)
{
	return apus_ready_remove(&apus_shard_current->ready, work);
}
