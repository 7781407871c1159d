/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/task.c: tasks: spawn, switch, park, wake, cancel, await.
 *
 * Invariants: a task is in the ready queue, or parked with task->wait set, or running, or done; its
 * memory lives while it has not ended or a handle is out.
 */
#include "runtime/sched/task.h"

#include "runtime/base/log.h"
#include "runtime/sched/debug.h"
#include "runtime/sched/park.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

apus_thread_local int32_t apus_task_budget;

/* ---------------------------------------------------------------------------- leaving the core */

#if APUS_ASAN
apus_thread_local const void *apus_loop_stack_base;
apus_thread_local size_t apus_loop_stack_bytes;
#endif

struct apus_task *apus_task_leave_eager(struct apus_task *t)
{
	t->is_eager = false;
	return t->spawner;
}

void apus_task_run(struct apus_shard *s, struct apus_task *t)
{
	void *saved = NULL;

#if APUS_TSAN
	s->tsan_fiber = __tsan_get_current_fiber();
#endif
	apus_switch_to_task(s, &s->loop, &saved, t);
}

/* ------------------------------------------------------------------------------ begin and end */

static void free_task(struct apus_task *t)
{
	apus_stack_put(t->pool, &t->stack);
}

static APUS_COLD void report_unseen(struct apus_shard *s, struct apus_task *t)
{
	s->counters[APUS_SHARD_TASKS_FAILED_UNSEEN]++;
	apus_report_unhandled(s, &(struct apus_unhandled){
					 .message = "a task ended in error and nobody awaited it",
					 .task = t,
					 .error = t->result,
				 });
}

static inline bool failed(int64_t result)
{
	return result < 0 && result != -ECANCELED;
}

/* The next one is read before its neighbour is unlinked: nothing waits for that store. */
static inline void wake_awaiters(struct apus_task *t, int64_t result)
{
	struct apus_list *it, *next;

	apus_list_for_each_safe(it, next, &t->awaiters)
		apus_wake(apus_list_entry(it, struct apus_wait, link), result);
}

/*
 * When nothing else is ready, the one task that waits for this one would be pushed and popped at
 * once, as the only entry of a lap in place: it is next, without the queue. NULL if it is not so.
 */
static inline struct apus_task *only_awaiter(struct apus_shard *s, struct apus_task *t,
					     int64_t result)
{
	const struct apus_list *node = t->awaiters.next;

	if (node == &t->awaiters || node->next != &t->awaiters || !s->laps_in_place ||
	    s->ready.head != s->ready.tail || s->ready.overflow || t->is_eager)
		return NULL;

	struct apus_wait *wait = apus_list_entry(node, struct apus_wait, link);
	struct apus_task *waiter = wait->task;

	if (apus_unlikely(!waiter || waiter->shard != s))
		return NULL;
	s->laps_in_place--;
	s->counters[APUS_SHARD_LAPS]++;
	wait->rc = result; /* its link dies with the list it is in */
	waiter->wait = NULL;
	waiter->state = APUS_TASK_READY;
	return waiter;
}

static APUS_NORETURN void end(struct apus_shard *s, struct apus_task *t, int64_t result)
{
	if (apus_unlikely(t->scopes))
		apus_scopes_left(t);
	t->result = result;
	t->state = APUS_TASK_DONE;
	apus_list_unlink(&t->all);
	s->tasks_live--;
	if (t == s->until)
		s->laps_in_place = 0;

	struct apus_task *next = only_awaiter(s, t, result);

	if (!next) {
		wake_awaiters(t, result);
		next = apus_choose_next(s, t);
	}
	apus_vars_put(t->vars);

	if (apus_unlikely(!t->refs)) {
		if (failed(result))
			report_unseen(s, t);
		free_task(t);
	}

	/* The stack may have a new owner from the next switch on, but not before. */
	struct apus_context gone;

	if (next)
		apus_switch_to_task(s, &gone, NULL, next);
	else
		apus_switch_to_loop(s, &gone, NULL);
	__builtin_unreachable();
}

static void enter(void)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *t = s->current;
	int64_t result = -ECANCELED;

#if APUS_ASAN
	const void *base;
	size_t bytes;

	__sanitizer_finish_switch_fiber(NULL, &base, &bytes);
	if (!apus_loop_stack_base) {
		apus_loop_stack_base = base;
		apus_loop_stack_bytes = bytes;
	}
#endif
	t->state = APUS_TASK_READY;
	if (apus_likely(!t->must_cancel))
		result = t->fn(t->arg);
	if (apus_unlikely(t->must_cancel))
		result = -ECANCELED;
	end(s, t, result);
}

/* A stack's fiber belongs to the task that has it; the one of the task before is dropped here. */
static inline void fiber_renew(APUS_UNUSED struct apus_task *t)
{
#if APUS_TSAN
	if (t->fiber)
		__tsan_destroy_fiber(t->fiber);
	t->fiber = __tsan_create_fiber(0);
#endif
}

#if APUS_TSAN
void apus_task_drop(void *task)
{
	struct apus_task *t = task;

	if (t->fiber)
		__tsan_destroy_fiber(t->fiber);
}
#endif

/* NULL when no pool has stacks so large. */
static struct apus_stack_pool *pool_of(struct apus_shard *s, size_t stack_bytes)
{
	if (!stack_bytes)
		return s->default_pool;
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		if (s->pools[i].stack_bytes >= stack_bytes)
			return &s->pools[i];
	return NULL;
}

static inline struct apus_task *create(struct apus_shard *s, struct apus_stack_pool *pool,
				       apus_task_fn fn, void *arg)
{
	if (apus_unlikely(!pool || s->tasks_live >= s->tasks_max))
		return NULL;

	struct apus_task *t = apus_stack_get(pool);

	if (apus_unlikely(!t))
		return NULL;
	t->state = APUS_TASK_NEW;
	t->must_cancel = false;
	t->result_seen = false;
	t->cancel_passing = false;
	t->is_eager = false;
	t->is_inner = false;
	t->scopes = 0;
	t->limits = NULL;
	t->refs = 1;
	t->cancelling = 0;
	t->pool = pool;
	t->cancel_reason = NULL;
	t->vars = apus_vars_snapshot(s);
	apus_list_init(&t->awaiters);
	t->fn = fn;
	t->arg = arg;
	t->shard = s;
	t->id = ++s->counters[APUS_SHARD_TASKS_SPAWNED];
	t->name[0] = '\0';
	fiber_renew(t);
	apus_list_push_back(&s->tasks, &t->all);
	s->tasks_live++;
	return t;
}

/* Its stack begins right under it; in debug mode, under what is noted of it. */
static inline char *stack_top(struct apus_shard *s, struct apus_task *t)
{
	return apus_unlikely(s->is_debug) ? apus_debug_spawned(s, t) : (char *)t;
}

static inline void start(struct apus_shard *s, struct apus_task *t, char *top)
{
	apus_context_make(&t->context, top, enter);
	apus_task_ready(s, t);
}

struct apus_task *apus_spawn(apus_task_fn fn, void *arg)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *t = create(s, s->default_pool, fn, arg);

	if (apus_likely(t))
		start(s, t, stack_top(s, t));
	return t;
}

/* Runs @t until it suspends or ends, from wherever we are. */
static void run_eagerly(struct apus_shard *s, struct apus_task *t, char *top)
{
	struct apus_task *spawner = s->current;
	void *saved = NULL;

	apus_context_make(&t->context, top, enter);
	t->is_eager = true;
	t->spawner = spawner;
	if (!spawner) {
		apus_task_run(s, t);
		return;
	}

	int32_t budget = apus_task_budget;

	apus_switch_to_task(s, &spawner->context, &saved, t);
	apus_task_budget = budget - 1;
}

/* A copied argument lies right under the task, and the stack begins under that. */
static struct apus_task *spawn_options(const struct apus_spawn_options *options, apus_task_fn fn,
				       const void *arg, size_t bytes, uint32_t refs)
{
	struct apus_shard *s = apus_shard_current;

	if (bytes > APUS_TASK_ARG_MAX)
		return NULL;

	struct apus_task *t = create(s, pool_of(s, options ? options->stack_bytes : 0), fn,
				     (void *)(uintptr_t)arg);

	if (!t)
		return NULL;

	char *top = stack_top(s, t) - ((bytes + 63) & ~(size_t)63);

	if (bytes)
		t->arg = arg ? memcpy(top, arg, bytes) : top;
	if (options && options->name)
		apus_task_set_name(t, options->name);
	t->refs = refs;
	if (options && options->flags & APUS_SPAWN_EAGER)
		run_eagerly(s, t, top);
	else
		start(s, t, top);
	return t;
}

struct apus_task *apus_spawn_with(const struct apus_spawn_options *options, apus_task_fn fn,
				  const void *arg, size_t bytes)
{
	return spawn_options(options, fn, arg, bytes, 1);
}

int apus_spawn_detached(const struct apus_spawn_options *options, apus_task_fn fn, const void *arg,
			size_t bytes)
{
	if (spawn_options(options, fn, arg, bytes, 0))
		return 0;
	return bytes > APUS_TASK_ARG_MAX ? -EINVAL : -ENOMEM;
}

/* ----------------------------------------------------------------------------- handles, names */

static void put(struct apus_task *t)
{
	apus_assert(t->refs > 0);
	if (--t->refs == 0 && t->state == APUS_TASK_DONE)
		free_task(t);
}

struct apus_task *apus_task_get(struct apus_task *t)
{
	if (t)
		t->refs++;
	return t;
}

void apus_detach(struct apus_task *t)
{
	if (!t)
		return;
	if (apus_unlikely(!t->refs)) {
		(void)apus_misuse(-EINVAL, t, "detach of a task by a handle that was spent");
		return;
	}
	apus_note(t, "detached");
	if (t->state == APUS_TASK_DONE && t->refs == 1 && !t->result_seen && failed(t->result))
		report_unseen(t->shard, t);
	put(t);
}

/* ------------------------------------------------------------------------------- park and wake */

static inline void init_wait(struct apus_wait *wait, const struct apus_wait_type *type,
			     const char *what, const void *object)
{
	struct apus_shard *s = apus_shard_current;

	*wait = (struct apus_wait){
		.task = s->current,
		.type = type,
		.what = what,
		.object = object,
		.rc = -EINPROGRESS,
	};
	apus_list_init(&wait->link);
	if (apus_unlikely(s->is_debug))
		apus_debug_waits(s); /* last, so that it costs no register when it is not called */
}

void apus_wait_init(struct apus_wait *wait, const struct apus_wait_type *type, const char *what,
		    const void *object)
{
	init_wait(wait, type, what, object);
}

int apus_wait_join_slow(struct apus_wait *wait, const struct apus_wait_type *type, const char *what,
			const void *object, struct apus_list *queue)
{
	int rc = apus_wait_check(queue);

	if (rc)
		return rc;
	apus_wait_init(wait, type, what, object);
	apus_list_push_back(queue, &wait->link);
	return 0;
}

void apus_wake_callback(struct apus_wait *wait, int64_t rc)
{
	apus_list_remove(&wait->link);
	wait->rc = rc;
	apus_ready_push(&apus_shard_current->ready,
			&apus_container_of(wait, struct apus_callback, wait)->work, 0);
}

void apus_wake_elsewhere(struct apus_wait *wait, int64_t rc)
{
	apus_debug_wakes_elsewhere(wait->task, __builtin_return_address(0));
	apus_wake_task(wait->task->shard, wait->task, wait, rc);
}

void apus_wake(struct apus_wait *wait, int64_t rc)
{
	apus_wake_here(wait, rc);
}

/* Tasks that await each other in a circle pass a cancel round; where it comes back, the wait ends. */
void apus_wait_cancel(struct apus_wait *wait)
{
	struct apus_task *t = wait->task;

	if (!t->cancel_passing && wait->type && wait->type->cancel) {
		t->cancel_passing = true;

		bool passed_on = wait->type->cancel(wait);

		t->cancel_passing = false;
		if (passed_on)
			return;
	}
	apus_wake(wait, -ECANCELED);
}

APUS_SUSPENDS int64_t apus_park(struct apus_wait *wait)
{
	return apus_park_here(wait);
}

/* Out of what it waits in, but not into the ready queue: it runs next. */
static struct apus_task *unpark(struct apus_wait *wait, int64_t rc)
{
	struct apus_task *t = wait->task;

	apus_assert(t->state == APUS_TASK_PARKED && t->wait == wait);
	apus_list_unlink(&wait->link);
	wait->rc = rc;
	t->wait = NULL;
	t->state = APUS_TASK_READY;
	return t;
}

APUS_SUSPENDS void apus_wake_inside(struct apus_wait *wait, int64_t rc)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *self = s->current, *t = unpark(wait, rc);
	int32_t budget = apus_task_budget;
	void *saved = NULL;

	t->is_eager = true;
	t->spawner = self;
	apus_switch_to_task(s, &self->context, &saved, t);
	apus_task_budget = budget - 1;
}

APUS_SUSPENDS int64_t apus_park_into(struct apus_wait *wait, struct apus_wait *next, int64_t rc)
{
	struct apus_task *t = wait->task;
	struct apus_shard *s = t->shard;
	void *saved = NULL;

	apus_assert(t == s->current && !t->is_eager);
	t->wait = wait;
	t->state = APUS_TASK_PARKED;
	apus_switch_to_task(s, &t->context, &saved, unpark(next, rc));
	return apus_unlikely(apus_take_cancel(t)) ? -ECANCELED : wait->rc;
}

bool apus_task_is_inside(void)
{
	return apus_shard_current->current->is_eager;
}

bool apus_task_cancel(struct apus_task *t)
{
	if (!t || t->state == APUS_TASK_DONE)
		return false;
	if (apus_unlikely(t->shard != apus_shard_current)) {
		(void)apus_wrong_shard(t, "cancel", __builtin_return_address(0));
		return false;
	}
	t->cancelling++;
	t->shard->counters[APUS_SHARD_CANCELS]++;
	if (t->state == APUS_TASK_PARKED)
		apus_wait_cancel(t->wait);
	else
		t->must_cancel = true;
	return true;
}

/* ------------------------------------------------------------------------- await, yield, sleep */

static bool pass_cancel_on(struct apus_wait *wait)
{
	return apus_task_cancel((struct apus_task *)(uintptr_t)wait->object);
}

static APUS_SUSPENDS int64_t await_slow(struct apus_task *t)
{
	static const struct apus_wait_type await_task = {.cancel = pass_cancel_on};
	struct apus_wait wait;
	int64_t rc = apus_wait_join(&wait, &await_task, "task", t, &t->awaiters);

	if (apus_likely(!rc))
		rc = apus_park_here(&wait);
	put(t);
	return rc;
}

int64_t apus_await(struct apus_task *t)
{
	struct apus_shard *s = apus_shard_current;
	int64_t rc;

	if (apus_unlikely(!t))
		return -ENOMEM;
	if (apus_unlikely(!t->refs))
		return apus_misuse(-EINVAL, t, "await of a task by a handle that was spent");
	if (apus_unlikely(t->shard != s))
		return apus_wrong_shard(t, "await", __builtin_return_address(0));
	apus_note(t, "awaited");
	t->result_seen = true;
	if (apus_unlikely(t == s->current)) {
		put(t);
		return apus_task_misuse_at(-EDEADLK, t, "await by itself",
					   __builtin_return_address(0));
	}
	if (t->state != APUS_TASK_DONE)
		return await_slow(t);
	rc = apus_checkpoint();
	if (!rc)
		rc = t->result;
	put(t);
	return rc;
}

APUS_SUSPENDS int apus_yield(void)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_task *t = s->current;

	apus_task_ready(s, t);
	apus_suspend(s, t);
	return apus_unlikely(apus_take_cancel(t)) ? -ECANCELED : 0;
}

int apus_checkpoint_slow(void)
{
	struct apus_shard *s = apus_shard_current;

	apus_task_budget = APUS_BUDGET_PER_RUN;
	if (!s->current) /* a callback: it cannot suspend */
		return 0;
	s->counters[APUS_SHARD_BUDGET_YIELDS]++;
	return apus_yield();
}
