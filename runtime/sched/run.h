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

/** apus_run - open a shard, apus_run_task(), close it. NULL options: defaults */
APUS_MUST_CHECK int64_t apus_run(const struct apus_shard_options *options, apus_task_fn fn,
				 void *arg);

APUS_END_DECLS

#endif
