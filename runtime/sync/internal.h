/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/internal.h: waiting and waking inline, for the primitives of this folder.
 */
#ifndef APUS_RUNTIME_SYNC_INTERNAL_H
#define APUS_RUNTIME_SYNC_INTERNAL_H

#include "runtime/sched/park.h"
#include "runtime/sync/waitq.h"

/** apus_waitq_wait_here - apus_waitq_wait(), in the frame of a caller that is APUS_SUSPENDS */
APUS_MUST_CHECK static inline int64_t apus_waitq_wait_here(struct apus_waitq *q, const char *what)
{
	struct apus_wait wait;
	int rc = apus_wait_join(&wait, NULL, what, q, &q->waiters);

	return apus_unlikely(rc) ? rc : apus_park_here(&wait);
}

/** apus_waitq_wake_one_here - apus_waitq_wake_one() */
static inline bool apus_waitq_wake_one_here(struct apus_waitq *q, int64_t rc)
{
	if (apus_waitq_empty(q))
		return false;
	apus_wake_here(apus_list_entry(q->waiters.next, struct apus_wait, link), rc);
	return true;
}

/*
 * The two below wake a task of this shard inline and leave the rest to a function that is called
 * last, so that the caller needs no frame of its own.
 */

/** apus_waitq_wake_all_here - apus_waitq_wake_all(), mostly of one */
static inline void apus_waitq_wake_all_here(struct apus_waitq *q, int64_t rc)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_list *first = q->waiters.next;
	struct apus_wait *wait = apus_list_entry(first, struct apus_wait, link);

	if (first == &q->waiters)
		return;
	if (apus_unlikely(first->next != &q->waiters || !wait->task || wait->task->shard != s)) {
		apus_waitq_wake_all(q, rc);
		return;
	}
	apus_wake_task(s, wait->task, wait, rc);
}

/* apus_waitq_wake_one(q, 0). Return: 0 */
APUS_NOINLINE int apus_waitq_wake_one_then_0(struct apus_waitq *q);

/** apus_waitq_wake_one_last - apus_waitq_wake_one(q, 0), and nothing after it. Return: 0 */
static inline int apus_waitq_wake_one_last(struct apus_waitq *q)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_list *first = q->waiters.next;
	struct apus_wait *wait = apus_list_entry(first, struct apus_wait, link);

	if (first == &q->waiters)
		return 0;
	if (apus_unlikely(!wait->task || wait->task->shard != s))
		return apus_waitq_wake_one_then_0(q);
	return apus_wake_task(s, wait->task, wait, 0);
}

/**
 * apus_task_watch - call @fn back when @t, which has not ended, has
 * @object: what the task that gets the news waits for, so that a dump finds it
 *
 * As apus_callback_init() and apus_task_on_done(), but without the context variables: @fn is one of
 * ours, and runs nothing of the user's.
 */
static inline void apus_task_watch(struct apus_task *t, struct apus_callback *callback,
				   apus_work_fn fn, const void *object)
{
	callback->wait.task = NULL;
	callback->wait.type = NULL;
	callback->wait.what = "callback";
	callback->wait.object = object;
	apus_work_init(&callback->work, fn);
	apus_list_push_back(&t->awaiters, &callback->wait.link);
}

#endif
