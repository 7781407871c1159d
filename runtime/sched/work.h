/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/work.h: a callback that waits its turn in the ready queue.
 *
 * The node is the caller's memory and must stay until it ran or was cancelled. Callbacks and task
 * steps share one FIFO; what is queued during a lap runs in the next one (asyncio's call_soon).
 * A callback runs on the loop's stack and must not suspend.
 */
#ifndef APUS_RUNTIME_SCHED_WORK_H
#define APUS_RUNTIME_SCHED_WORK_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_vars;
struct apus_work;

typedef void (*apus_work_fn)(struct apus_work *work);

struct apus_work {
	apus_work_fn fn;        /* set by apus_work_init() */
	struct apus_work *next; /* written by the ready queue when it could not grow */
	struct apus_vars *vars; /* context variables of who registered it; owned while registered */
	uint32_t position;      /* written by the ready queue */
	uint32_t where;         /* enum in ready.h; 0 while it is nowhere */
};

/** apus_work_init - @fn will run; it waits for nothing yet. Context: any */
static inline void apus_work_init(struct apus_work *work, apus_work_fn fn)
{
	work->fn = fn;
	work->next = NULL;
	work->vars = NULL;
	work->position = 0;
	work->where = 0;
}

/**
 * apus_call_soon - run @work's function once, in the next lap, after all that is ready now
 * @work: initialised; kept until it ran or was cancelled; one that waits already stays where it is
 *
 * Context: any, on a shard.
 * Source:  asyncio loop.call_soon
 */
void apus_call_soon(struct apus_work *work);

/**
 * apus_call_cancel - take @work out of the ready queue. Return: true if it was waiting
 *
 * O(1): its place is left empty and skipped. Only while the queue could not grow, for want of memory,
 * is it a walk along those that wait for room.
 *
 * Context: any, on the same shard.
 */
bool apus_call_cancel(struct apus_work *work);

APUS_END_DECLS

#endif
