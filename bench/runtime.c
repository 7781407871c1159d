/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/runtime.c: what the scheduler's operations cost.
 *
 * Each opens a shard, prepares, reads the clock, does the operations and reads it again. The
 * conditions are those of SPEED.md's table, so that the peers' figures are comparable.
 */
#include "bench/bench.h"
#include "runtime/base/check.h"
#include "runtime/sched/context.h"
#include "runtime/sched/run.h"

#include <stdlib.h>

/* ---------------------------------------------------------------------------- context, tasks */

static struct apus_context here, there;

static void bounce(void)
{
	for (;;)
		apus_context_switch(&there, &here);
}

/* One switch is one way: there and back are two. */
static int64_t context_switch(uint64_t n, int64_t arg)
{
	char *stack = aligned_alloc(64, 65536);

	apus_must(stack);
	apus_context_make(&there, stack + 65536, bounce);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < n / 2; i++)
		apus_context_switch(&here, &there);

	int64_t elapsed_ns = apus_clock_host_ns() - begin_ns;

	free(stack);
	return elapsed_ns;
}

static int64_t yield_task(void *arg)
{
	const uint64_t *rounds = arg;

	for (uint64_t i = 0; i < *rounds; i++)
		apus_must(apus_yield() == 0);
	return 0;
}

static int64_t yield_main(void *arg)
{
	struct apus_bench_job *job = arg;
	size_t tasks = (size_t)job->arg;
	uint64_t rounds = job->n / tasks;
	struct apus_task **t = apus_bench_allocate(tasks, sizeof(struct apus_task *));

	for (size_t i = 0; i < tasks; i++)
		t[i] = apus_spawn(yield_task, &rounds);
	apus_must(apus_yield() == 0); /* all have begun: their stacks are there */

	int64_t begin_ns = apus_clock_host_ns();

	for (size_t i = 0; i < tasks; i++)
		apus_must(apus_await(t[i]) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	free(t);
	return 0;
}

static int64_t task_yield(uint64_t n, int64_t tasks)
{
	return apus_bench_in_shard(yield_main, n, tasks);
}

static int64_t nothing(void *arg)
{
	return 0;
}

static int64_t spawn_main(void *arg)
{
	struct apus_bench_job *job = arg;
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++)
		apus_must(apus_await(apus_spawn(nothing, NULL)) == 0);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static int64_t task_spawn_await(uint64_t n, int64_t arg)
{
	return apus_bench_in_shard(spawn_main, n, arg);
}

/* ------------------------------------------------------------------------------------ timers */

enum {
	SPANS = 4096
};

static void timer_fires(struct apus_work *work)
{
}

/* 1 to 61 s away, at random: no two in the same place, none due while we measure. */
static int64_t *random_spans(void)
{
	int64_t *spans = apus_bench_allocate(SPANS, sizeof(*spans));
	struct apus_random *r = apus_shard_random(apus_shard_self());

	for (size_t i = 0; i < SPANS; i++)
		spans[i] = APUS_SEC + (int64_t)apus_random_below(r, 60 * APUS_SEC);
	return spans;
}

static struct apus_timer *random_timers(size_t count, int64_t within_ns)
{
	struct apus_timer *timers = apus_bench_allocate(count, sizeof(*timers));
	struct apus_random *r = apus_shard_random(apus_shard_self());

	for (size_t i = 0; i < count; i++) {
		apus_timer_init(&timers[i], timer_fires);
		apus_timer_arm(&timers[i],
			       apus_now() + APUS_SEC + (int64_t)apus_random_below(r, within_ns));
	}
	return timers;
}

static int64_t arm_cancel_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_timer *outstanding = random_timers((size_t)job->arg, 60 * APUS_SEC);
	struct apus_timer probes[32];
	int64_t *spans = random_spans(), now_ns = apus_now();

	for (size_t i = 0; i < apus_countof(probes); i++)
		apus_timer_init(&probes[i], timer_fires);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		struct apus_timer *t = &probes[i % apus_countof(probes)];

		apus_timer_arm(t, now_ns + spans[i % SPANS]);
		apus_timer_cancel(t);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	for (int64_t i = 0; i < job->arg; i++)
		apus_timer_cancel(&outstanding[i]);
	free(outstanding);
	free(spans);
	return 0;
}

static int64_t timer_arm_cancel(uint64_t n, int64_t outstanding)
{
	return apus_bench_in_shard(arm_cancel_main, n, outstanding);
}

/* An armed timer is moved, any of them, to any time: a server's connections, each of which heard of its peer. */
static int64_t rearm_main(void *arg)
{
	struct apus_bench_job *job = arg;
	size_t count = (size_t)job->arg;
	struct apus_timer *timers = random_timers(count, 60 * APUS_SEC);
	struct apus_random *r = apus_shard_random(apus_shard_self());
	int64_t *spans = random_spans(), now_ns = apus_now();
	uint32_t *chosen = apus_bench_allocate(job->n, sizeof(*chosen));

	for (uint64_t i = 0; i < job->n; i++)
		chosen[i] = (uint32_t)apus_random_below(r, count);

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++)
		apus_timer_arm(&timers[chosen[i]], now_ns + spans[i % SPANS]);
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	for (size_t i = 0; i < count; i++)
		apus_timer_cancel(&timers[i]);
	free(chosen);
	free(spans);
	free(timers);
	return 0;
}

static int64_t timer_rearm(uint64_t n, int64_t count)
{
	return apus_bench_in_shard(rearm_main, n, count);
}

static struct {
	uint64_t left;
} expiry;

static void timer_expires(struct apus_work *work)
{
	expiry.left--;
}

/* All within one virtual second, in steps of 1 ms: a busy server's timeouts. One operation arms and fires. */
static int64_t timer_arm_expire(uint64_t n, int64_t count)
{
	struct apus_clock clock;
	struct apus_shard *shard;

	apus_clock_init_virtual(&clock, APUS_SEC);
	apus_must(apus_shard_open(
			  &(struct apus_shard_options){.core = -1, .seed = 1, .clock = &clock},
			  &shard) == 0);
	apus_shard_enter(shard);

	struct apus_timer *timers = apus_bench_allocate((size_t)count, sizeof(*timers));
	struct apus_random *r = apus_shard_random(shard);
	int64_t elapsed_ns = 0;

	for (int64_t i = 0; i < count; i++)
		apus_timer_init(&timers[i], timer_expires);
	for (uint64_t done = 0; done < n; done += (uint64_t)count) {
		int64_t begin_ns = apus_clock_host_ns();

		expiry.left = (uint64_t)count;
		for (int64_t i = 0; i < count; i++)
			apus_timer_arm(&timers[i],
				       clock.virtual_ns + (int64_t)apus_random_below(r, APUS_SEC));
		while (expiry.left) {
			apus_clock_set(&clock, clock.virtual_ns + APUS_MS);
			apus_shard_turn(shard);
		}
		elapsed_ns += apus_clock_host_ns() - begin_ns;
	}
	free(timers);
	apus_shard_close(shard);
	return elapsed_ns;
}

/* ------------------------------------------------------------------------------------ memory */

/* Of the shard's heap, taken and given back in turn, as a connection's buffers are. */
static int64_t alloc_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	void *kept[64] = {NULL};
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		void **at = &kept[i % apus_countof(kept)];

		apus_heap_free(heap, *at);
		*at = apus_heap_alloc(heap, (size_t)job->arg);
		apus_must(*at);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	for (size_t i = 0; i < apus_countof(kept); i++)
		apus_heap_free(heap, kept[i]);
	return 0;
}

static int64_t heap_alloc_free(uint64_t n, int64_t bytes)
{
	return apus_bench_in_shard(alloc_main, n, bytes);
}

static int64_t slab_main(void *arg)
{
	struct apus_bench_job *job = arg;
	struct apus_slab slab;
	void *kept[64] = {NULL};

	apus_slab_init(&slab, apus_shard_heap(apus_shard_self()), (size_t)job->arg,
		       apus_countof(kept));

	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < job->n; i++) {
		void **at = &kept[i % apus_countof(kept)];

		if (*at)
			apus_slab_put(&slab, *at);
		*at = apus_slab_get(&slab);
		apus_must(*at);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	for (size_t i = 0; i < apus_countof(kept); i++)
		if (kept[i])
			apus_slab_put(&slab, kept[i]);
	apus_slab_fini(&slab);
	return 0;
}

static int64_t slab_get_put(uint64_t n, int64_t bytes)
{
	return apus_bench_in_shard(slab_main, n, bytes);
}

const struct apus_bench apus_bench_runtime[] = {
	{"context/switch", context_switch, 0, 100000000, 200000},
	{"task/yield/2", task_yield, 2, 20000000, 200000},
	{"task/yield/1000", task_yield, 1000, 20000000, 200000},
	{"task/yield/100000", task_yield, 100000, 20000000, 1000000},
	{"task/spawn_await", task_spawn_await, 0, 10000000, 100000},
	{"timer/arm_cancel/1000", timer_arm_cancel, 1000, 20000000, 200000},
	{"timer/arm_cancel/1000000", timer_arm_cancel, 1000000, 20000000, 200000},
	{"timer/rearm/1000", timer_rearm, 1000, 10000000, 200000},
	{"timer/rearm/1000000", timer_rearm, 1000000, 10000000, 1000000},
	{"timer/arm_expire/1000000", timer_arm_expire, 1000000, 2000000, 1000000},
	{"heap/alloc_free/64", heap_alloc_free, 64, 20000000, 200000},
	{"slab/get_put/64", slab_get_put, 64, 50000000, 200000},
	{NULL, NULL, 0, 0, 0},
};
