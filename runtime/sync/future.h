/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/future.h: a result that is not there yet (asyncio.Future).
 *
 * Caller's memory, one shard. Completed once, by set, fail or cancel; any number of tasks may await
 * it and of callbacks be registered. Completion never runs them: they join the ready queue, in the
 * order in which they came.
 */
#ifndef APUS_RUNTIME_SYNC_FUTURE_H
#define APUS_RUNTIME_SYNC_FUTURE_H

#include "runtime/sched/wait.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

enum apus_future_state {
	APUS_FUTURE_PENDING,
	APUS_FUTURE_DONE,
	APUS_FUTURE_CANCELLED,
};

struct apus_future {
	struct apus_waitq waiters;
	int64_t result; /* valid once done */
	enum apus_future_state state;
	uint32_t home; /* misuse.h */
};

/** apus_future_init - pending. Context: any */
void apus_future_init(struct apus_future *f);
/** apus_future_set - complete with @value >= 0. Return: 0, -EALREADY, -EINVAL. Context: any, on the shard. Source: Future.set_result */
APUS_MUST_CHECK int apus_future_set(struct apus_future *f, int64_t value);
/** apus_future_fail - complete with a negative errno. Return: 0, -EALREADY, -EINVAL. Context: any, on the shard. Source: Future.set_exception */
APUS_MUST_CHECK int apus_future_fail(struct apus_future *f, int64_t error);
/** apus_future_cancel - waiters get -ECANCELED. Return: false if it was complete. Context: any, on the shard. Source: Future.cancel */
bool apus_future_cancel(struct apus_future *f);
/** apus_future_done - is it complete? Context: any, on the shard. Source: Future.done */
bool apus_future_done(const struct apus_future *f);
/** apus_future_cancelled - was it completed by a cancel? Context: any, on the shard. Source: Future.cancelled */
bool apus_future_cancelled(const struct apus_future *f);
/** apus_future_result - Return: the value, the error, -ECANCELED; -EINPROGRESS while pending. Context: any, on the shard. Source: Future.result */
int64_t apus_future_result(const struct apus_future *f);
/**
 * apus_future_await - wait until it is complete; at once if it is
 *
 * A cancel of the waiting task cancels the future, as in asyncio.
 * Context: task, suspends. Return: the value, the error, -ECANCELED; -EXDEV.
 */
APUS_MUST_CHECK int64_t apus_future_await(struct apus_future *f);
/**
 * apus_future_on_done - call back when it is complete, in the lap after that; in the next if it is
 * @callback: initialised; kept until it ran or apus_callback_remove(); its wait.rc is the result
 *
 * Context: any, on the shard. Source: Future.add_done_callback
 */
void apus_future_on_done(struct apus_future *f, struct apus_callback *callback);

APUS_END_DECLS

#endif
