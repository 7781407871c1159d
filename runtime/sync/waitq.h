/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/waitq.h: tasks that wait for the same thing, first come first served.
 *
 * What every primitive is made of. The waiter's node is on its own stack, so waiting allocates
 * nothing. A cancel takes the waiter out of the queue at once, not when it runs again. A waker
 * never runs the waiter: it joins the tail of the ready queue.
 */
#ifndef APUS_RUNTIME_SYNC_WAITQ_H
#define APUS_RUNTIME_SYNC_WAITQ_H

#include "runtime/base/list.h"

APUS_BEGIN_DECLS

struct apus_waitq {
	struct apus_list waiters; /* struct apus_wait.link, oldest first */
};

/** apus_waitq_init - nobody waits. Context: any */
static inline void apus_waitq_init(struct apus_waitq *q)
{
	apus_list_init(&q->waiters);
}

/** apus_waitq_empty - does nobody wait? Context: any, on the shard */
static inline bool apus_waitq_empty(const struct apus_waitq *q)
{
	return apus_list_empty(&q->waiters);
}

/**
 * apus_waitq_wait - park until woken
 * @q:    queue
 * @what: what is waited for, for dumps: "tcp read"; a string that stays
 *
 * Context: task, suspends.
 * Return:  the value the waker gave (>= 0, or its negative errno); -ECANCELED; -EXDEV
 *          when tasks of another shard wait in @q. A waker's value is
 *          lost to a cancel that came after it in the same lap: re-check the state you waited for.
 */
APUS_MUST_CHECK int64_t apus_waitq_wait(struct apus_waitq *q, const char *what);

/** apus_waitq_wake_one - the oldest waiter gets @rc. Return: false if there was none. Context: any, on the shard */
bool apus_waitq_wake_one(struct apus_waitq *q, int64_t rc);
/** apus_waitq_wake_all - every waiter gets @rc, in order. Return: how many. Context: any, on the shard */
size_t apus_waitq_wake_all(struct apus_waitq *q, int64_t rc);

APUS_END_DECLS

#endif
