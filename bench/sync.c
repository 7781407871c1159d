/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/sync.c: what asyncio's primitives cost.
 *
 * Defined as the programs in bench/peers/ define theirs under the same names, so that
 * `scripts/bench peers` may put them side by side. What is called uncontended still yields whenever
 * the task's budget is spent.
 */
#include "bench/bench.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/condition.h"
#include "runtime/sync/context_var.h"
#include "runtime/sync/event.h"
#include "runtime/sync/future.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/queue.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/timeout.h"

#include <stdlib.h>

/* ------------------------------------------------------------------------------------- queues */

struct pair {
	struct apus_queue there, back;
	uint64_t rounds;
};

/* The smallest address first: as good an order as any. */
static int64_t by_address(const void *item)
{
	return (int64_t)(uintptr_t)item;
}

static void open_queue(struct apus_queue *q, int64_t capacity)
{
	apus_must(apus_queue_init(
			  q, &(struct apus_queue_options){.capacity = (uint32_t)capacity}) == 0);
}

static int64_t return_messages(void *arg)
{
	struct pair *p = arg;
	void *item;

	for (uint64_t i = 0; i < p->rounds; i++) {
		apus_must(apus_queue_get(&p->there, &item) == 0);
		apus_must(apus_queue_put(&p->back, item) == 0);
	}
	return 0;
}

/* A message is one way: there and back are two. */
static int64_t queue_ping_pong_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct pair p = {.rounds = job->n / 2};
	void *item = &p;

	open_queue(&p.there, 1);
	open_queue(&p.back, 1);

	struct apus_task *t = apus_spawn(return_messages, &p);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < p.rounds; i++) {
		apus_must(apus_queue_put(&p.there, item) == 0);
		apus_must(apus_queue_get(&p.back, &item) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_must(apus_await(t) == 0);
	apus_queue_fini(&p.there);
	apus_queue_fini(&p.back);
	return 0;
}

static int64_t queue_ping_pong(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(queue_ping_pong_main, n, arg);
}

static int64_t take_messages(void *arg)
{
	struct pair *p = arg;
	void *item;

	for (uint64_t i = 0; i < p->rounds; i++)
		apus_must(apus_queue_get(&p->there, &item) == 0);
	return 0;
}

static int64_t queue_one_way_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct pair p = {.rounds = job->n};

	open_queue(&p.there, job->arg);

	struct apus_task *t = apus_spawn(take_messages, &p);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++)
		apus_must(apus_queue_put(&p.there, &p) == 0);
	apus_must(apus_await(t) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_queue_fini(&p.there);
	return 0;
}

static int64_t queue_one_way(uint64_t n, int64_t capacity)
{
	return apus_bench_in_shard(queue_one_way_main, n, capacity);
}

/* As one_way, but what is put in falling order comes out in rising order. */
static int64_t queue_priority_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct pair p = {.rounds = job->n};
	char *items = apus_bench_allocate((size_t)job->arg, 1);

	apus_must(apus_queue_init(&p.there, &(struct apus_queue_options){
						    .capacity = (uint32_t)job->arg,
						    .order = APUS_QUEUE_PRIORITY,
						    .priority = by_address,
					    }) == 0);

	struct apus_task *t = apus_spawn(take_messages, &p);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++)
		apus_must(apus_queue_put(&p.there, items + (size_t)job->arg - 1 -
							   i % (uint64_t)job->arg) == 0);
	apus_must(apus_await(t) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_queue_fini(&p.there);
	free(items);
	return 0;
}

static int64_t queue_priority(uint64_t n, int64_t capacity)
{
	return apus_bench_in_shard(queue_priority_main, n, capacity);
}

/* ---------------------------------------------------------------------------- locks, semaphores */

static int64_t lock_uncontended_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_lock lock;

	apus_lock_init(&lock);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		apus_must(apus_lock_acquire(&lock) == 0);
		apus_must(apus_lock_release(&lock) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t lock_uncontended(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(lock_uncontended_main, n, arg);
}

struct sections {
	struct apus_lock lock;
	uint64_t rounds;
};

static int64_t enter_sections(void *arg)
{
	struct sections *s = arg;

	for (uint64_t i = 0; i < s->rounds; i++) {
		apus_must(apus_lock_acquire(&s->lock) == 0);
		apus_must(apus_yield() == 0);
		apus_must(apus_lock_release(&s->lock) == 0);
	}
	return 0;
}

/*
 * Every task wants the lock, and whoever has it yields once: an operation is a section with all
 * that is needed to hand it on, the yield inside too.
 */
static int64_t lock_contended_main(void *arg)
{
	struct apus_bench_job *job = arg;
	size_t tasks = (size_t)job->arg;
	struct apus_task *t[16];
	struct sections s = {.rounds = job->n / tasks};

	apus_must(tasks <= apus_countof(t));
	apus_lock_init(&s.lock);
	for (size_t i = 0; i < tasks; i++)
		t[i] = apus_spawn(enter_sections, &s);

	int64_t begin_ns = apus_clock_host_ns();

	for (size_t i = 0; i < tasks; i++)
		apus_must(apus_await(t[i]) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t lock_contended(uint64_t n, int64_t tasks)
{
	return apus_bench_in_shard(lock_contended_main, n, tasks);
}

static int64_t semaphore_uncontended_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_semaphore semaphore;

	apus_semaphore_init(&semaphore, 2, 2);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		apus_must(apus_semaphore_acquire(&semaphore, 1) == 0);
		apus_must(apus_semaphore_release(&semaphore, 1) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t semaphore_uncontended(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(semaphore_uncontended_main, n, arg);
}

struct units {
	struct apus_semaphore semaphore;
	uint64_t rounds;
};

static int64_t take_units(void *arg)
{
	struct units *u = arg;

	for (uint64_t i = 0; i < u->rounds; i++) {
		apus_must(apus_semaphore_acquire(&u->semaphore, 1) == 0);
		apus_must(apus_yield() == 0);
		apus_must(apus_semaphore_release(&u->semaphore, 1) == 0);
	}
	return 0;
}

/* As the contended lock, but two at once get in. */
static int64_t semaphore_contended_main(void *arg)
{
	struct apus_bench_job *job = arg;
	size_t tasks = (size_t)job->arg;
	struct apus_task *t[16];
	struct units u = {.rounds = job->n / tasks};

	apus_must(tasks <= apus_countof(t));
	apus_semaphore_init(&u.semaphore, 2, 2);
	for (size_t i = 0; i < tasks; i++)
		t[i] = apus_spawn(take_units, &u);

	int64_t begin_ns = apus_clock_host_ns();

	for (size_t i = 0; i < tasks; i++)
		apus_must(apus_await(t[i]) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t semaphore_contended(uint64_t n, int64_t tasks)
{
	return apus_bench_in_shard(semaphore_contended_main, n, tasks);
}

struct notices {
	struct apus_lock lock;
	struct apus_condition changed;
	uint64_t value, rounds;
};

/* Two tasks change a value in turn, and each waits for the other's change. */
static int64_t change_odd(void *arg)
{
	struct notices *c = arg;

	apus_must(apus_lock_acquire(&c->lock) == 0);
	while (c->value < 2 * c->rounds) {
		while (!(c->value & 1))
			apus_must(apus_condition_wait(&c->changed) == 0);
		c->value++;
		apus_must(apus_condition_notify(&c->changed, 1) == 0);
	}
	return apus_lock_release(&c->lock);
}

/* One operation is one way: a change, the notice, the waiter running with the lock. */
static int64_t condition_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct notices c = {.rounds = job->n / 2};

	apus_lock_init(&c.lock);
	apus_condition_init(&c.changed, &c.lock);

	struct apus_task *t = apus_spawn(change_odd, &c);
	int64_t begin_ns = apus_clock_host_ns();

	apus_must(apus_lock_acquire(&c.lock) == 0);
	for (uint64_t i = 0; i < c.rounds; i++) {
		c.value++;
		apus_must(apus_condition_notify(&c.changed, 1) == 0);
		while (c.value & 1)
			apus_must(apus_condition_wait(&c.changed) == 0);
	}
	apus_must(apus_lock_release(&c.lock) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return apus_await(t);
}

static int64_t condition_notify(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(condition_main, n, arg);
}

/* ----------------------------------------------------------------------------- events, futures */

struct events {
	struct apus_event ping, pong;
	uint64_t rounds;
};

static int64_t event_pong(void *arg)
{
	struct events *e = arg;

	for (uint64_t i = 0; i < e->rounds; i++) {
		apus_must(apus_event_wait(&e->ping) == 0);
		apus_event_clear(&e->ping);
		apus_event_set(&e->pong);
	}
	return 0;
}

/* One operation is one way: an event set, the waiter running, and clearing it. */
static int64_t event_ping(void *arg)
{
	struct apus_bench_job *job = arg;
	struct events e = {.rounds = job->n / 2};

	apus_event_init(&e.ping);
	apus_event_init(&e.pong);

	struct apus_task *t = apus_spawn(event_pong, &e);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < e.rounds; i++) {
		apus_event_set(&e.ping);
		apus_must(apus_event_wait(&e.pong) == 0);
		apus_event_clear(&e.pong);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return apus_await(t);
}

static int64_t event_set_wait(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(event_ping, n, arg);
}

struct futures {
	struct apus_future ping, pong;
	uint64_t rounds;
};

static int64_t future_pong(void *arg)
{
	struct futures *f = arg;

	for (uint64_t i = 0; i < f->rounds; i++) {
		apus_must(apus_future_await(&f->ping) == 1);
		apus_future_init(&f->ping);
		apus_must(apus_future_set(&f->pong, 1) == 0);
	}
	return 0;
}

/* One operation is one way: a new future, somebody awaiting it, its value given, and taken. */
static int64_t future_ping(void *arg)
{
	struct apus_bench_job *job = arg;
	struct futures f = {.rounds = job->n / 2};

	apus_future_init(&f.ping);

	struct apus_task *t = apus_spawn(future_pong, &f);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < f.rounds; i++) {
		apus_future_init(&f.pong);
		apus_must(apus_future_set(&f.ping, 1) == 0);
		apus_must(apus_future_await(&f.pong) == 1);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return apus_await(t);
}

static int64_t future_await(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(future_ping, n, arg);
}

/* ------------------------------------------------------------------------------ tasks together */

enum {
	TOGETHER_MAX = 64
};

static int64_t nothing(void *arg)
{
	return 0;
}

/* One operation is one task: spawned, run, and waited for with the others of its group. */
static int64_t group_spawn_main(void *arg)
{
	struct apus_bench_job *job = arg;
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t done = 0; done < job->n; done += (uint64_t)job->arg) {
		struct apus_group g;

		apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
		for (int64_t i = 0; i < job->arg; i++)
			apus_must(apus_group_spawn(&g, NULL, nothing, NULL, 0) == 0);
		apus_must(apus_group_end(&g, 0) == 0);
		apus_group_fini(&g);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t group_spawn(uint64_t n, int64_t together)
{
	return apus_bench_in_shard(group_spawn_main, n, together);
}

static int64_t gather_main(void *arg)
{
	struct apus_bench_job *job = arg;
	size_t together = (size_t)job->arg;
	struct apus_task *t[TOGETHER_MAX];

	apus_must(together <= TOGETHER_MAX);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t done = 0; done < job->n; done += together) {
		for (size_t i = 0; i < together; i++)
			t[i] = apus_spawn(nothing, NULL);
		apus_must(apus_gather(t, together, NULL, 0) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t gather(uint64_t n, int64_t together)
{
	return apus_bench_in_shard(gather_main, n, together);
}

static int64_t timeout_main(void *arg)
{
	struct apus_bench_job *job = arg;
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		struct apus_timeout limit;

		apus_timeout_begin(&limit, 5 * APUS_SEC);
		apus_must(apus_timeout_end(&limit, 0) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t timeout_begin_end(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(timeout_main, n, arg);
}

/* --------------------------------------------------------- select, generators, context variables */

static int64_t feed(void *arg)
{
	struct pair *p = arg;

	for (uint64_t i = 0; i < p->rounds; i++)
		apus_must(apus_queue_put(&p->there, p) == 0);
	return 0;
}

/* Two cases, a queue of one place and an event that is never set; every message is waited for. */
static int64_t select_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct pair p = {.rounds = job->n};
	struct apus_event stop;
	void *item;

	open_queue(&p.there, 1);
	apus_event_init(&stop);

	struct apus_task *t = apus_spawn(feed, &p);
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		struct apus_select_case cases[] = {
			APUS_SELECT_GET(&p.there, &item),
			APUS_SELECT_EVENT(&stop),
		};

		apus_must(apus_select(cases, apus_countof(cases)) == 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_must(apus_await(t) == 0);
	apus_queue_fini(&p.there);
	return 0;
}

static int64_t select_two(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(select_main, n, arg);
}

static int64_t count_up(struct apus_generator *g, void *arg)
{
	const uint64_t *n = arg;
	int64_t rc = 0;

	for (uint64_t i = 0; i < *n && !rc; i++)
		rc = apus_generator_yield(g, arg, NULL);
	return rc;
}

static int64_t generator_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_up, &job->n);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++)
		apus_must(apus_generator_next(&g, &value) == 1);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return apus_generator_close(&g);
}

static int64_t generator_next(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(generator_main, n, arg);
}

/* Of four variables that are set, each in turn. */
static int64_t context_var_main(void *arg)
{
	static struct apus_context_var vars[] = {
		{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}};
	struct apus_bench_job *job = arg;

	for (size_t i = 0; i < apus_countof(vars); i++)
		apus_must(apus_context_var_set(&vars[i], &vars[i], NULL) == 0);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		struct apus_context_var *var = &vars[i % apus_countof(vars)];

		apus_must(apus_context_var_get(var) == var);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t context_var_get(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(context_var_main, n, arg);
}

const struct apus_bench apus_bench_sync[] = {
	{"queue/ping_pong", queue_ping_pong, 0, 10000000, 100000},
	{"queue/one_way/128", queue_one_way, 128, 20000000, 128000},
	{"queue/priority/128", queue_priority, 128, 5000000, 128000},
	{"lock/uncontended", lock_uncontended, 0, 100000000, 100000},
	{"lock/contended/4", lock_contended, 4, 10000000, 100000},
	{"semaphore/uncontended", semaphore_uncontended, 0, 20000000, 100000},
	{"semaphore/contended/4", semaphore_contended, 4, 10000000, 100000},
	{"condition/notify", condition_notify, 0, 10000000, 100000},
	{"event/ping_pong", event_set_wait, 0, 10000000, 100000},
	{"future/await", future_await, 0, 10000000, 100000},
	{"group/spawn/10", group_spawn, 10, 5000000, 50000},
	{"gather/10", gather, 10, 5000000, 50000},
	{"timeout/begin_end", timeout_begin_end, 0, 20000000, 100000},
	{"select/2", select_two, 0, 5000000, 50000},
	{"generator/next", generator_next, 0, 20000000, 100000},
	{"context_var/get", context_var_get, 0, 50000000, 100000},
	{NULL, NULL, 0, 0, 0},
};
