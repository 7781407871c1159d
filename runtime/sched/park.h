/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/park.h: how a task leaves the core and comes back to the queue, inline.
 *
 * Internal, for the primitives: whatever suspends has all of it in one frame, which it leaves
 * without a `ret` (APUS_SUSPENDS in compiler.h). wait.h has the same as functions.
 *
 * A task that suspends switches straight to the next task of the lap; only when the lap is over,
 * or a callback is next, does it go back to the loop.
 */
#ifndef APUS_RUNTIME_SCHED_PARK_H
#define APUS_RUNTIME_SCHED_PARK_H

#include "runtime/sched/internal.h"

#include <errno.h>

#if APUS_ASAN
# include <sanitizer/common_interface_defs.h>
#endif
#if APUS_TSAN
# include <sanitizer/tsan_interface.h>
#endif

#define APUS_BUDGET_PER_RUN 128

/* ---------------------------------------------------------------------------- switching stacks */

/*
 * The sanitizers follow by hand: ASan keeps a fake stack per fiber, which a task that ends drops by
 * saving it nowhere; TSan has an object of its own per fiber.
 */
#if APUS_ASAN
/* Bounds of the loop's stack, learnt when the thread's first task begins. */
extern apus_thread_local const void *apus_loop_stack_base;
extern apus_thread_local size_t apus_loop_stack_bytes;
#endif

static inline void apus_switch_to_task(struct apus_shard *s, struct apus_context *from,
				       APUS_UNUSED void **saved, struct apus_task *to)
{
	s->current = to;
	apus_task_budget = APUS_BUDGET_PER_RUN;
#if APUS_ASAN
	__sanitizer_start_switch_fiber(saved, to->stack.base, to->stack.bytes);
#elif APUS_TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
	apus_context_switch(from, &to->context);
#if APUS_ASAN
	__sanitizer_finish_switch_fiber(saved ? *saved : NULL, NULL, NULL);
#endif
}

static inline void apus_switch_to_loop(struct apus_shard *s, struct apus_context *from,
				       APUS_UNUSED void **saved)
{
	s->current = NULL;
#if APUS_ASAN
	__sanitizer_start_switch_fiber(saved, apus_loop_stack_base, apus_loop_stack_bytes);
#elif APUS_TSAN
	__tsan_switch_to_fiber(s->tsan_fiber, 0);
#endif
	apus_context_switch(from, &s->loop);
#if APUS_ASAN
	__sanitizer_finish_switch_fiber(saved ? *saved : NULL, NULL, NULL);
#endif
}

/* ------------------------------------------------------------------------------- who runs next */

/*
 * A new lap may begin without the loop while nothing but tasks has to be looked after: the loop
 * allows a few, and whatever needs the loop (a timer armed, the task it runs for ended) takes the
 * allowance back. Calls from other threads wait for its end: less than a microsecond.
 */
static inline bool apus_lap_in_place(struct apus_shard *s)
{
	if (!s->laps_in_place || s->ready.head == s->ready.tail)
		return false;
	s->laps_in_place--;
	s->counters[APUS_SHARD_LAPS]++;
	s->lap_end = s->ready.tail;
	return true;
}

/* Entries ahead of the one that runs: far enough for the stacks to arrive from memory. */
enum {
	APUS_PREFETCH_TASK_AHEAD = 8,
	APUS_PREFETCH_STACK_AHEAD = 4,
};

static inline void apus_prefetch_ahead(const struct apus_ready *r)
{
	uintptr_t far = r->ring[(r->head + APUS_PREFETCH_TASK_AHEAD) & r->mask];
	uintptr_t near = r->ring[(r->head + APUS_PREFETCH_STACK_AHEAD) & r->mask];

	apus_prefetch((const void *)far);
	apus_prefetch((const void *)(near - 192)); /* its frames lie under it */
}

/* The next entry of the lap if it is a task; NULL sends the caller to the loop. */
static inline struct apus_task *apus_next_task(struct apus_shard *s)
{
	struct apus_ready *r = &s->ready;

	for (;;) {
		if (r->head == s->lap_end && !apus_lap_in_place(s))
			return NULL;

		uintptr_t entry = r->ring[r->head & r->mask];

		if (apus_unlikely(!entry)) {
			r->head++;
			continue;
		}
		if (apus_unlikely(!(entry & APUS_READY_TASK)))
			return NULL;

		if (r->tail - r->head > APUS_PREFETCH_TASK_AHEAD)
			apus_prefetch_ahead(r);
		r->head++;

		/* Subtracted, not masked: it is a part of the task's address then, and of no other step. */
		struct apus_work *work = (struct apus_work *)(entry - APUS_READY_TASK);
		struct apus_task *t = apus_container_of(work, struct apus_task, step);

		if (!t)
			__builtin_unreachable();
		return t;
	}
}

/* task.c: an eager task goes back to its spawner, the first time that it leaves the core. */
APUS_COLD struct apus_task *apus_task_leave_eager(struct apus_task *t);

static inline struct apus_task *apus_choose_next(struct apus_shard *s, struct apus_task *t)
{
	return apus_unlikely(t->is_eager) ? apus_task_leave_eager(t) : apus_next_task(s);
}

/* Off this task's stack, until somebody switches back. */
static inline void apus_suspend(struct apus_shard *s, struct apus_task *t)
{
	struct apus_task *next = apus_choose_next(s, t);
	void *saved = NULL;

	if (apus_likely(next)) {
		if (next == t)
			apus_task_budget = APUS_BUDGET_PER_RUN;
		else
			apus_switch_to_task(s, &t->context, &saved, next);
	} else {
		apus_switch_to_loop(s, &t->context, &saved);
	}
}

/* ------------------------------------------------------------------------------- park and wake */

/* task.c: the task that waits was cancelled: passed on, or the wait ends. */
APUS_COLD void apus_wait_cancel(struct apus_wait *wait);

static inline bool apus_take_cancel(struct apus_task *t)
{
	if (apus_likely(!t->must_cancel))
		return false;
	t->must_cancel = false;
	return true;
}

/** apus_park_here - apus_park() */
static inline int64_t apus_park_here(struct apus_wait *wait)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *t = s->current;

	apus_assert(wait->task == t);
	t->wait = wait;
	t->state = APUS_TASK_PARKED;
	if (apus_unlikely(t->must_cancel)) {
		t->must_cancel = false;
		apus_wait_cancel(wait);
	}
	apus_suspend(s, t);
	/* Who wakes writes it. NOLINTNEXTLINE(clang-analyzer-core.uninitialized.UndefReturn) */
	return apus_unlikely(apus_take_cancel(t)) ? -ECANCELED : wait->rc;
}

/* task.c: the same with debug mode's checks and notes. */
APUS_COLD int apus_wait_join_slow(struct apus_wait *wait, const struct apus_wait_type *type,
				  const char *what, const void *object, struct apus_list *queue);

/**
 * apus_wait_join - the running task will wait at the end of @queue
 *
 * apus_wait_check(), apus_wait_init() and into the queue, in one; apus_park_here() comes next.
 *
 * Context: task. Return: 0; -EXDEV in debug mode, when tasks of another shard wait there.
 */
APUS_MUST_CHECK static inline int apus_wait_join(struct apus_wait *wait,
						 const struct apus_wait_type *type,
						 const char *what, const void *object,
						 struct apus_list *queue)
{
	if (apus_is_debug())
		return apus_wait_join_slow(wait, type, what, object, queue);
	wait->task = apus_shard_current->current;
	wait->type = type;
	wait->what = what;
	wait->object = object;
	apus_list_push_back(queue, &wait->link);
	return 0;
}

/* task.c: not a task waits but a callback, or a task of another shard. */
APUS_NOINLINE void apus_wake_callback(struct apus_wait *wait, int64_t rc);
APUS_COLD void apus_wake_elsewhere(struct apus_wait *wait, int64_t rc);

static inline int apus_wake_task(struct apus_shard *s, struct apus_task *t, struct apus_wait *wait,
				 int64_t rc)
{
	apus_assert(t->state == APUS_TASK_PARKED && t->wait == wait);
	apus_list_unlink(&wait->link);
	wait->rc = rc;
	t->wait = NULL;
	t->state = APUS_TASK_READY;
	return apus_task_ready(s, t);
}

/** apus_wake_here - apus_wake() */
static inline void apus_wake_here(struct apus_wait *wait, int64_t rc)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *t = wait->task;

	if (apus_unlikely(!t)) {
		apus_wake_callback(wait, rc);
		return;
	}
	if (apus_unlikely(t->shard != s)) {
		apus_wake_elsewhere(wait, rc);
		return;
	}
	apus_wake_task(s, t, wait, rc);
}

#endif
