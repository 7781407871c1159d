/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/future.h: a result that another shard will give.
 *
 *	struct apus_promise *p;
 *
 *	rc = apus_promise_open(&p);		// here is its home: here one waits
 *	rc = apus_promise_run(p, 2, compute, &what); // there: return 42, or an error
 *	rc = apus_future_await(apus_promise_future(p));
 *	apus_promise_close(p);
 *
 * Two ends of one thing. The home's is a future as any other (runtime/sync/future.h): awaited by many,
 * selected on, with callbacks. The other end belongs to whoever holds a reference, on any shard, and is
 * set once; by the first, if several try. Nobody waits for ever: when the last reference is given back
 * without a result, the future fails with -EPIPE. A task that owns it answers for it: its end gives the
 * reference back, its error is the future's, and a cancel of either is one of the other (as asyncio's
 * wrap_future).
 */
#ifndef APUS_RUNTIME_CROSS_FUTURE_H
#define APUS_RUNTIME_CROSS_FUTURE_H

#include "runtime/sched/task.h"
#include "runtime/sync/future.h"

APUS_BEGIN_DECLS

struct apus_promise;

/**
 * apus_promise_open - a pending future of this shard, and one reference to be given to who sets it
 *
 * This shard does not leave its fabric before all references are back. Context: any, on a shard. Return: 0; -ENOMEM.
 */
APUS_MUST_CHECK int apus_promise_open(struct apus_promise **out);
/** apus_promise_future - the end to wait at; valid until close. Context: any, at home */
struct apus_future *apus_promise_future(struct apus_promise *p);
/** apus_promise_close - wait no more; a future that is pending is cancelled. Nobody may wait then. Consumes this end. Context: any, at home */
void apus_promise_close(struct apus_promise *p);

/** apus_promise_get - one more reference, to be given back like the first. Context: any, on any shard. Return: @p */
struct apus_promise *apus_promise_get(struct apus_promise *p);
/** apus_promise_put - give a reference back; the last one without a result: the future fails with -EPIPE. Context: any, on any shard */
void apus_promise_put(struct apus_promise *p);
/**
 * apus_promise_set - complete it with @value >= 0; the reference stays
 *
 * Who waits is woken when the news is there. Context: any, on any shard.
 * Return: 0; -EALREADY: it was set, by whomever; -ECANCELED: nobody wants it any more; -EINVAL.
 */
APUS_MUST_CHECK int apus_promise_set(struct apus_promise *p, int64_t value);
/** apus_promise_fail - the same with @error < 0; of -ECANCELED: the future is cancelled */
APUS_MUST_CHECK int apus_promise_fail(struct apus_promise *p, int64_t error);
/** apus_promise_is_cancelled - does nobody want it any more? Context: any, on any shard */
bool apus_promise_is_cancelled(const struct apus_promise *p);
/**
 * apus_promise_own - from now on the running task answers for it; consumes the reference
 *
 * A cancel of the future cancels the task. When the task ends the future has its error, -EPIPE if it
 * has none and has not set it. Context: task, on any shard; does not suspend. Return: 0; -EBUSY: another owns it: the reference stays.
 */
APUS_MUST_CHECK int apus_promise_own(struct apus_promise *p);
/**
 * apus_promise_run - run @fn(@arg) on @shard as a task that owns @p; consumes the reference, always
 * @arg: kept until @fn has ended
 *
 * A call that somebody waits for later, or selects on: what @fn returns is the future's, if it has not
 * set it. It cannot be left without an end: a task that could not begin there, since the shard stops or
 * has no memory, is the future's error; one whose future is cancelled before it begins does not run.
 * (A reference that is handed to a task in another way is lost if that is cancelled before it begins.)
 *
 * Context: as apus_post_to().
 * Return:  0; as apus_post_to(): it is not run, and this is the future's error; -EBUSY: another owns it.
 * Source:  asyncio.run_coroutine_threadsafe
 */
APUS_MUST_CHECK int apus_promise_run(struct apus_promise *p, unsigned int shard, apus_task_fn fn,
				     void *arg);

APUS_END_DECLS

#endif
