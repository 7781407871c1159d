/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/shard.c: the shard and its loop.
 *
 *	poll     every poller takes in what is there; other threads' calls come in
 *	timers   due ones join the tail of the ready queue
 *	ready    exactly the entries present now, first in, first out
 *	flush    every poller sends out what the turn produced
 *
 * The clock is read at most once in a turn, and only if somebody looks at it.
 */
#include "runtime/sched/shard.h"

#include "runtime/base/log.h"
#include "runtime/sched/debug.h"
#include "runtime/sched/internal.h"
#include "runtime/sched/run.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const size_t tasks_max_default = 4 * 1024 * 1024;
static const size_t stack_bytes_default = 64 * 1024;
static const uint32_t laps_in_place_max = 64;
static const int64_t executor_wait_default = 300 * APUS_SEC; /* asyncio's */

apus_thread_local struct apus_shard *apus_shard_current;

static const char *const counter_names[] = {
#define X(id, name) name,
	APUS_SHARD_COUNTERS(X)
#undef X
};

/* ------------------------------------------------------------------------------------- pollers */

void apus_poller_register(struct apus_shard *shard, struct apus_poller *p,
			  const struct apus_poller_type *type)
{
	p->type = type;
	apus_list_push_back(&shard->pollers, &p->link);
}

void apus_poller_unregister(struct apus_poller *p)
{
	apus_list_remove(&p->link);
}

/* ------------------------------------------------------------------------------------ the loop */

static bool poll_all(struct apus_shard *s)
{
	bool any = apus_inbox_poll(s);
	struct apus_list *it, *tmp;

	apus_list_for_each_safe(it, tmp, &s->pollers) {
		struct apus_poller *p = apus_list_entry(it, struct apus_poller, link);

		any |= p->type->poll(p, apus_shard_now(s));
	}
	return any;
}

static void flush_all(struct apus_shard *s)
{
	struct apus_list *it, *tmp;

	apus_list_for_each_safe(it, tmp, &s->pollers) {
		struct apus_poller *p = apus_list_entry(it, struct apus_poller, link);

		if (p->type->flush)
			p->type->flush(p, apus_shard_now(s));
	}
}

static bool fire_timers(struct apus_shard *s)
{
	struct apus_timer *t;
	bool any = false;

	if (!s->wheel.armed || s->wheel.next_ns > apus_shard_now(s))
		return false;
	while ((t = apus_wheel_pop(&s->wheel, s->now_ns))) {
		s->counters[APUS_SHARD_TIMERS_FIRED]++;
		apus_ready_push(&s->ready, &t->work, 0);
		any = true;
	}
	return any;
}

/* In the context of who registered it. */
static void run_work(struct apus_shard *s, struct apus_work *work)
{
	s->work_vars = work->vars;
	work->vars = NULL;
	work->where = APUS_READY_NOWHERE;
	work->fn(work);
	apus_vars_put(s->work_vars);
	s->work_vars = NULL;
}

/* Runs the lap's entries; a task that suspends goes on with the next one by itself. */
static void run_lap(struct apus_shard *s)
{
	struct apus_ready *r = &s->ready;

	if (apus_unlikely(r->overflow))
		apus_ready_refill(r);
	s->lap_end = r->tail;
	s->counters[APUS_SHARD_LAPS]++;
	while (r->head != s->lap_end) {
		uintptr_t entry = r->ring[r->head++ & r->mask];
		struct apus_work *work = (struct apus_work *)(entry & ~APUS_READY_TASK);

		if (!entry)
			continue;
		if (entry & APUS_READY_TASK)
			apus_task_run(s, apus_container_of(work, struct apus_task, step));
		else
			run_work(s, work);
	}
}

bool apus_shard_turn(struct apus_shard *s)
{
	apus_assert(s == apus_shard_current && !s->current);
	s->now_known = false;
	s->in_turn = true;
	s->counters[APUS_SHARD_TURNS]++;

	bool any = poll_all(s);

	any |= fire_timers(s);
	if (!apus_ready_empty(&s->ready)) {
		run_lap(s);
		any = true;
	}
	flush_all(s);
	s->in_turn = false;
	return any;
}

/* A turn, or a while of sleep. */
static inline void turn_or_idle(struct apus_shard *s)
{
	bool quiet = apus_list_empty(&s->pollers) && !s->wheel.armed;

	s->laps_in_place = quiet ? laps_in_place_max : 0;

	bool any = apus_shard_turn(s);

	s->laps_in_place = 0;
	if (any)
		s->busy_at_ns = s->now_known ? s->now_ns : s->busy_at_ns;
	else
		apus_shard_idle(s);
}

void apus_shard_run(struct apus_shard *s, const struct apus_task *t)
{
	s->until = t;
	while (t->state != APUS_TASK_DONE)
		turn_or_idle(s);
	s->until = NULL;
}

void apus_shard_serve(struct apus_shard *s, const bool *until)
{
	while (!*until)
		turn_or_idle(s);
}

/* ------------------------------------------------------------------------------- open and close */

static int pin(int core)
{
	cpu_set_t set;

	if (core < 0)
		return 0;
	if (core >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static int init_memory(struct apus_shard *s, const struct apus_shard_options *o)
{
	size_t stack_bytes = o->stack_bytes ? o->stack_bytes : stack_bytes_default;

	for (unsigned int i = 0; i < APUS_STACK_POOLS; i++) {
		apus_stack_pool_init(&s->pools[i], (size_t)1 << (APUS_STACK_BITS_MIN + i),
				     sizeof(struct apus_task), apus_task_drop);
		if (!s->default_pool && s->pools[i].stack_bytes >= stack_bytes)
			s->default_pool = &s->pools[i];
	}
	if (!s->default_pool)
		return -EINVAL;

	int rc = apus_heap_init(&s->heap);

	if (rc)
		return rc;
	rc = apus_ready_init(&s->ready, &s->heap);
	if (rc)
		apus_heap_fini(&s->heap);
	return rc;
}

static void init_time_and_chance(struct apus_shard *s, const struct apus_shard_options *o)
{
	s->clock = o->clock;
	if (!s->clock) {
		s->clock = &s->own_clock;
		apus_clock_init_real(s->clock);
	}
	if (o->seed)
		apus_random_init_seed(&s->random, o->seed);
	else
		apus_random_init_system(&s->random);
	apus_wheel_init(&s->wheel, apus_clock_read(s->clock));
	s->busy_at_ns = s->trimmed_at_ns = apus_clock_read(s->clock);
}

int apus_shard_open(const struct apus_shard_options *options, struct apus_shard **out)
{
	static const struct apus_shard_options defaults = {.core = -1};
	const struct apus_shard_options *o = options ? options : &defaults;
	struct apus_shard *s;
	int rc = pin(o->core);

	if (rc)
		return rc;
	/* Its heap is a part of it, so it comes from the process. */
	s = aligned_alloc(APUS_CACHE_LINE,
			  (sizeof(*s) + APUS_CACHE_LINE - 1) / APUS_CACHE_LINE * APUS_CACHE_LINE);
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->index = o->index;
	s->count = o->count;
	s->spin = o->spin;
	s->tasks_max = o->tasks_max ? o->tasks_max : tasks_max_default;
	apus_list_init(&s->tasks);
	apus_list_init(&s->pollers);
	apus_list_init(&s->closers);
	apus_list_init(&s->enders);
	s->outside_until_ns = APUS_NEVER;
	s->executor_wait_ns = o->executor_wait_ns > 0 ? o->executor_wait_ns : executor_wait_default;
	apus_metrics_init(&s->metrics);
	apus_metrics_register(&s->metrics, &s->metrics_block, "shard", counter_names, s->counters,
			      APUS_SHARD_COUNTER_COUNT);
	rc = init_memory(s, o);
	if (rc)
		goto err_free;
	init_time_and_chance(s, o);
	rc = apus_inbox_open(s);
	if (rc)
		goto err_ready;
	rc = apus_idle_open(s);
	if (rc)
		goto err_inbox;
	rc = o->stack_report ? apus_fault_open(s) : 0;
	if (rc)
		goto err_idle;
	s->thread = pthread_self();
	rc = apus_debug_open(s, o);
	if (rc)
		goto err_fault;
	*out = s;
	return 0;

err_fault:
	apus_fault_close(s);
err_idle:
	apus_idle_close(s);
err_inbox:
	apus_inbox_put(s->inbox);
err_ready:
	apus_ready_fini(&s->ready);
	apus_heap_fini(&s->heap);
err_free:
	free(s);
	return rc;
}

void apus_shard_at_close(struct apus_shard *s, struct apus_closer *closer)
{
	apus_list_push_front(&s->closers, &closer->link);
}

/* The stacks of tasks that ended stay in use while a handle is out. */
static void warn_of_handles(const struct apus_shard *s)
{
	size_t handles = 0;

	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		handles += s->pools[i].used;
	if (handles)
		apus_log(WARN, "shard: %zu tasks were neither awaited nor detached", handles);
}

/* Calls of other threads that came in time still run; they ought not to, but may spawn. */
static void shut_inbox(struct apus_shard *s)
{
	struct apus_shard *before = apus_shard_current;
	size_t tasks = s->tasks_live;

	s->is_stopping = true;
	apus_shard_current = s;
	apus_inbox_shut(s);
	if (s->tasks_live > tasks && !s->is_abandoned)
		(void)!apus_shard_drain(s, APUS_SEC);
	apus_shard_current = before;
}

void apus_shard_close(struct apus_shard *s)
{
	struct apus_list *node;

	if (!s)
		return;
	shut_inbox(s);
	if (s->is_abandoned) {
		apus_debug_close(s);
		if (apus_shard_current == s)
			apus_shard_current = NULL;
		return;
	}
	while ((node = apus_list_pop_front(&s->closers))) {
		struct apus_closer *closer = apus_list_entry(node, struct apus_closer, link);

		closer->close(closer);
	}
	apus_debug_report_leaks(s);
	apus_must_op(s->tasks_live, ==, 0);
	apus_must(apus_list_empty(&s->pollers));
	warn_of_handles(s);
	if (apus_shard_current == s)
		apus_shard_current = NULL;
	apus_debug_close(s);
	apus_fault_close(s);
	apus_idle_close(s);
	apus_inbox_put(s->inbox);
	apus_ready_fini(&s->ready);
	apus_debug_report_heap(s);
	apus_heap_fini(&s->heap);
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		apus_stack_pool_fini(&s->pools[i]);
	free(s);
}

/* ------------------------------------------------------------------------------------ accessors */

struct apus_shard *apus_shard_self(void)
{
	return apus_shard_current;
}

struct apus_shard *apus_shard_enter(struct apus_shard *shard)
{
	struct apus_shard *before = apus_shard_current;

	apus_must(!before || !before->current);
	apus_shard_current = shard;
	if (shard && !pthread_equal(shard->thread, pthread_self()))
		shard->thread = pthread_self(); /* else it stays unwritten: a watchdog reads it */
	apus_log_set_shard(shard && shard->count > 1 ? (int)shard->index : -1);
	return before;
}

void apus_all_tasks(struct apus_shard *s, apus_task_visit_fn visit, void *arg)
{
	struct apus_list *it, *tmp;

	apus_list_for_each_safe(it, tmp, &s->tasks) {
		struct apus_task *t = apus_list_entry(it, struct apus_task, all);

		if (!t->is_inner)
			visit(t, arg);
	}
}

void apus_on_unhandled(struct apus_shard *s, apus_unhandled_fn fn, void *arg)
{
	s->unhandled = fn;
	s->unhandled_arg = arg;
}

size_t apus_shard_tasks(const struct apus_shard *s)
{
	return s->tasks_live;
}

int64_t apus_now(void)
{
	return apus_shard_now(apus_shard_current);
}

int64_t apus_wall_now(void)
{
	return apus_clock_wall_ns(apus_shard_current->clock, apus_now());
}

struct apus_heap *apus_shard_heap(struct apus_shard *s)
{
	return &s->heap;
}

struct apus_random *apus_shard_random(struct apus_shard *s)
{
	return &s->random;
}

struct apus_metrics *apus_shard_metrics(struct apus_shard *s)
{
	return &s->metrics;
}

void *apus_shard_slot(const struct apus_shard *s, unsigned int slot)
{
	apus_must_op(slot, <, APUS_SHARD_SLOTS);
	return s->slots[slot];
}

void apus_shard_set_slot(struct apus_shard *s, unsigned int slot, void *value)
{
	apus_must_op(slot, <, APUS_SHARD_SLOTS);
	s->slots[slot] = value;
}
