/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/call.h: functions called on other shards.
 *
 *	int64_t rc = apus_call_on(2, count_keys, &range); // waits; the result, or an error
 *	rc = apus_post_to(2, forget, key);                // does not wait for it
 *	rc = apus_on_all(open_log, &path, NULL);          // on every shard, this one too
 *
 * The function runs there as a task, eagerly: in the turn in which it arrives, without a lap of its
 * own unless it suspends. It has the context variables of the caller, and the caller's deadline: the
 * earliest of the time limits that the caller is inside of limits it, too.
 *
 * Of the caller's memory it sees @arg alone, which is the caller's to protect: while the caller waits
 * it does not run, so what only the caller uses needs no lock.
 */
#ifndef APUS_RUNTIME_CROSS_CALL_H
#define APUS_RUNTIME_CROSS_CALL_H

#include "runtime/cross/mailbox.h"
#include "runtime/sched/task.h"

APUS_BEGIN_DECLS

/**
 * apus_call_on - run @fn(@arg) on @shard as a task, and wait for its result
 * @arg: borrowed until return
 *
 * On this shard itself: a plain task. A cancel of the caller is passed on to the callee, and the wait
 * ends when that has, with its result, as in apus_await(); a call that is still waiting for room is
 * taken back, one that was not made yet is not made. A result is not lost when a cancel comes: if the
 * callee has ended before the cancel got there, it is returned, and the cancel is delivered at the
 * next wait.
 *
 * Context: task, suspends.
 * Return:  what @fn returned; -ECANCELED; -EINVAL: no such shard; -ESHUTDOWN: the shard has left, or
 *          this one has, or it left while the call was on its way; -ENOMEM: no task for it there.
 */
APUS_MUST_CHECK int64_t apus_call_on(unsigned int shard, apus_task_fn fn, void *arg);

/**
 * apus_post_to - run @fn(@arg) on @shard as a task that nobody waits for
 * @arg: kept until @fn has ended
 *
 * An error of @fn is told on the shard where it ran (apus_on_unhandled). At most
 * apus_cross_options.posts_max of this shard's are going on there; beyond that, and while there is no
 * room, the caller waits. But a function that was itself posted, or is called by one, never does:
 * posts that wait for the end of posts could wait in a circle. It gets -EAGAIN, as does who is no task.
 *
 * Context: any, on a shard; in a task it may suspend.
 * Return:  0; -EAGAIN; -ECANCELED: not posted; -EINVAL; -ESHUTDOWN; -ENOMEM.
 */
APUS_MUST_CHECK int apus_post_to(unsigned int shard, apus_task_fn fn, void *arg);

/**
 * apus_on_all - run @fn(@arg) on every shard at once, this one too, and wait for all
 * @results: apus_shard_count() of them, written by index; or NULL
 *
 * A shard that has left gives -ESHUTDOWN. A cancel is passed on to all; when all had ended before it
 * got there, it is delivered at the next wait. Context: task, suspends.
 * Return:  0 if none was negative; the first error, by index; -ENOMEM; -ECANCELED.
 */
APUS_MUST_CHECK int64_t apus_on_all(apus_task_fn fn, void *arg, int64_t *results);

/* Adds one shard's result to what @into points to; runs in the calling task, and must not suspend. */
typedef void (*apus_reduce_fn)(void *into, unsigned int shard, int64_t result);

/**
 * apus_map_reduce - run @map(@arg) on every shard, then @reduce its results here, in order of index
 * @into: handed to @reduce
 *
 * Context: task, suspends. Return: 0; as apus_on_all() when a shard failed: then nothing is reduced; -ECANCELED.
 */
APUS_MUST_CHECK int64_t apus_map_reduce(apus_task_fn map, void *arg, apus_reduce_fn reduce,
					void *into);

APUS_END_DECLS

#endif
