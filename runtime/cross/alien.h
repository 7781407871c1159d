/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/alien.h: for threads that are no shards: run a task on one, and wait for it.
 *
 *	struct apus_inbox *inbox = apus_inbox_get(shard);     // while the shard is known to be open
 *	...
 *	int64_t rc = apus_submit_and_wait(inbox, count, &all); // any time, on any plain thread
 *	apus_inbox_put(inbox);
 *
 * What does not wait is apus_inbox_call() of sched/shard.h, which signal handlers may use, too.
 */
#ifndef APUS_RUNTIME_CROSS_ALIEN_H
#define APUS_RUNTIME_CROSS_ALIEN_H

#include "runtime/sched/shard.h"

APUS_BEGIN_DECLS

/**
 * apus_submit_and_wait - run @fn(@arg) as a task on the shard behind @inbox, and block until it ended
 * @inbox: borrowed until return
 * @arg:   borrowed until return; nobody but @fn uses it meanwhile
 *
 * The task begins in the turn that finds it, without a lap of its own, and inherits no context
 * variables. When the shard's main task ends, it is cancelled as every other.
 *
 * Context: a thread that is no shard; blocks.
 * Return:  what @fn returned; -ESHUTDOWN: the shard's main task has ended, or the shard is closed, and
 *          @fn has not run, or was abandoned with its shard; -EDEADLK: this is a shard's thread, which
 *          must not block (apus_call_on() suspends); -ENOMEM: no task for it.
 * Source:  asyncio.run_coroutine_threadsafe(...).result()
 */
APUS_MUST_CHECK int64_t apus_submit_and_wait(struct apus_inbox *inbox, apus_task_fn fn, void *arg);

APUS_END_DECLS

#endif
