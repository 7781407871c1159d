/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/run.h: from main() into a shard and back.
 */
#ifndef APUS_RUNTIME_SCHED_RUN_H
#define APUS_RUNTIME_SCHED_RUN_H

#include "runtime/sched/shard.h"

APUS_BEGIN_DECLS

/**
 * apus_run_task - run @fn as the main task of an open shard, until it and all it left behind ended
 *
 * The first SIGINT or SIGTERM cancels the main task, the second ends the process at once. When the
 * main task has ended, left-over tasks are cancelled and awaited, then the generators that they left
 * open closed; errors of either are told to apus_on_unhandled(). What waits for a call on a thread
 * that does not return is abandoned after apus_shard_options.executor_wait_ns.
 *
 * Context: thread, @shard entered.
 * Return:  what @fn returned.
 * Source:  asyncio.run
 */
APUS_MUST_CHECK int64_t apus_run_task(struct apus_shard *shard, apus_task_fn fn, void *arg);

/**
 * apus_run_task_then - as apus_run_task(), but what follows the main task is the caller's
 * @then: runs on the loop's stack when the main task has ended, and must end the tasks that are left:
 *        apus_shard_drain() does
 *
 * The first signal still cancels nothing then, the second ends the process. Context: thread, @shard
 * entered. Return: what @fn returned; -ENOMEM: it has not run, but what follows it has.
 */
APUS_MUST_CHECK int64_t apus_run_task_then(struct apus_shard *shard, apus_task_fn fn, void *arg,
					   void (*then)(struct apus_shard *shard, void *arg),
					   void *then_arg);

/**
 * apus_shard_drain - cancel every task, and turn until none is left
 * @ns: how long at most; calls on threads are waited for up to apus_shard_options.executor_wait_ns
 *
 * Context: thread, @shard entered, not in a task. Return: 0; -ETIMEDOUT, tasks are left.
 */
APUS_MUST_CHECK int apus_shard_drain(struct apus_shard *shard, int64_t ns);

/** apus_run - open a shard, apus_run_task(), close it. NULL options: defaults */
APUS_MUST_CHECK int64_t apus_run(const struct apus_shard_options *options, apus_task_fn fn,
				 void *arg);

APUS_END_DECLS

#endif
