/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/world.c: a simulated world: one clock for all hosts, and the loop that moves it.
 *
 * Hosts take turns in the order they were opened, all at the same instant, until none of them has
 * anything to do; then the clock jumps to the earliest time at which one of them has. So a run
 * depends on the seed and on nothing else: not on the machine, its load or its clock.
 *
 * Invariants: the clock never goes back; no host is entered between calls; a task is in its host's
 * `tasks` until it ended, then in `ended` (one cancelled before it began is moved when looked for).
 *
 * Entry points: apus_sim_world_open(), apus_sim_spawn(), apus_sim_run(), apus_sim_world_close().
 */
#include "net/sim/internal.h"
#include "runtime/base/check.h"
#include "runtime/sched/dump.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define START_NS      APUS_SEC
#define CLOSE_ROUNDS  10                /* cancels of tasks that do not end */
#define CLOSE_WAIT_NS (3600 * APUS_SEC) /* for each */

void apus_sim_report(const struct apus_sim_world *world, const char *fmt, ...)
{
	va_list args;

	if (world->options.quiet)
		return;
	fprintf(stderr, "sim: seed %llu, at %.6f s: ", (unsigned long long)world->seed,
		(double)world->clock.virtual_ns / 1e9);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static struct apus_sim_host *host_of(struct apus_list *node)
{
	return apus_list_entry(node, struct apus_sim_host, link);
}

/* --- Tasks --------------------------------------------------------------------------------- */

static int64_t task_body(void *arg)
{
	struct apus_sim_task *t = arg;

	t->result = t->fn(t->arg);
	t->ended_at_ns = t->host->world->clock.virtual_ns;
	t->ended = true;
	apus_list_remove(&t->link);
	apus_list_push_back(&t->host->ended, &t->link);
	return 0; /* errors are for the test to see, not for the log */
}

struct apus_sim_task *apus_sim_spawn_on(struct apus_sim_host *h, unsigned int index,
					const char *name, apus_task_fn fn, void *arg)
{
	struct apus_sim_task *t = apus_heap_zalloc(&h->world->heap, sizeof(*t));
	struct apus_shard *before;

	if (!t)
		goto err_failed;
	apus_must_op(index, <, h->count);
	t->host = h;
	t->shard = h->members[index].shard;
	t->fn = fn;
	t->arg = arg;
	snprintf(t->name, sizeof(t->name), "%s", name);
	before = apus_shard_enter(t->shard);
	t->task = apus_spawn_with(&(struct apus_spawn_options){.name = t->name}, task_body, t, 0);
	apus_shard_enter(before);
	if (!t->task)
		goto err_free_task;
	apus_list_push_back(&h->tasks, &t->link);
	return t;

err_free_task:
	apus_heap_free(&h->world->heap, t);
err_failed:
	h->world->spawn_failed = true;
	return NULL;
}

struct apus_sim_task *apus_sim_spawn(struct apus_sim_host *h, const char *name, apus_task_fn fn,
				     void *arg)
{
	return apus_sim_spawn_on(h, 0, name, fn, arg);
}

bool apus_sim_task_done(const struct apus_sim_task *t)
{
	return !t || apus_task_done(t->task);
}

int64_t apus_sim_task_result(const struct apus_sim_task *t)
{
	if (!t)
		return -ENOMEM;
	return t->ended ? t->result : apus_task_result(t->task);
}

int64_t apus_sim_task_ended_at(const struct apus_sim_task *t)
{
	return t && t->ended ? t->ended_at_ns : APUS_NEVER;
}

void apus_sim_task_forget(struct apus_sim_task *t)
{
	struct apus_shard *before;

	if (!t)
		return;
	apus_must(apus_task_done(t->task));
	before = apus_shard_enter(t->shard);
	apus_detach(t->task);
	apus_shard_enter(before);
	apus_list_remove(&t->link);
	apus_heap_free(&t->host->world->heap, t);
}

bool apus_sim_task_cancel(struct apus_sim_task *t)
{
	struct apus_shard *before;
	bool asked;

	if (!t)
		return false;
	before = apus_shard_enter(t->shard);
	asked = apus_task_cancel(t->task);
	apus_shard_enter(before);
	return asked;
}

/* Those that were cancelled before they began never came through task_body(). */
static void find_ended(struct apus_sim_host *h)
{
	struct apus_list *it, *tmp;

	apus_list_for_each_safe(it, tmp, &h->tasks) {
		struct apus_sim_task *t = apus_list_entry(it, struct apus_sim_task, link);

		if (!apus_task_done(t->task))
			continue;
		apus_list_remove(it);
		apus_list_push_back(&h->ended, it);
	}
}

/* Does any living host have a task that has not ended? */
static bool tasks_left(const struct apus_sim_world *world)
{
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts)
		if (!host_of(it)->killed && !apus_list_empty(&host_of(it)->tasks))
			return true;
	return false;
}

static bool tasks_left_slow(const struct apus_sim_world *world)
{
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts)
		find_ended(host_of(it));
	return tasks_left(world);
}

static void report_tasks(const struct apus_sim_world *world)
{
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts) {
		const struct apus_sim_host *h = host_of(it);

		apus_sim_report(world, "host %s%s, %zu connections:", h->name,
				h->killed   ? " (killed)"
				: h->paused ? " (paused)"
					    : "",
				apus_sim_host_connections(h));
		for (uint32_t i = 0; !world->options.quiet && i < h->count; i++)
			apus_shard_dump_tree(h->members[i].shard, stderr, APUS_DUMP_STACKS);
	}
}

/* --- Time ---------------------------------------------------------------------------------- */

int64_t apus_sim_now(const struct apus_sim_world *world)
{
	return world->clock.virtual_ns;
}

void apus_sim_jump(struct apus_sim_world *world, int64_t now_ns)
{
	apus_clock_set(&world->clock, now_ns);
}

/* One turn of @shard if it has anything to do now. Return: when it has next; the present after a turn. */
static int64_t shard_turn(struct apus_sim_host *h, struct apus_shard *shard, int64_t now_ns)
{
	int64_t next_ns;

	apus_shard_enter(shard);
	next_ns = apus_shard_next_ns(shard);
	if (next_ns > now_ns && !apus_shard_wait_outside(shard))
		return next_ns;
	if (h->starved)
		apus_sim_host_starve_more(h);
	apus_shard_turn(shard);
	return now_ns;
}

/* The same for all shards of @h, in an order that chance decides. */
static int64_t host_turn(struct apus_sim_host *h, int64_t now_ns)
{
	uint32_t first = apus_sim_board_first(h);
	int64_t next_ns = APUS_NEVER;

	if (!apus_sim_host_runs(h))
		return APUS_NEVER;
	for (uint32_t i = 0; i < h->count; i++) {
		struct apus_shard *shard = h->members[(first + i) % h->count].shard;
		int64_t shard_ns = shard_turn(h, shard, now_ns);

		next_ns = apus_min(next_ns, shard_ns);
	}
	return next_ns;
}

/* Turns until nobody has anything to do at this instant. Return: when somebody has; -ELOOP. */
static int64_t rest(struct apus_sim_world *world)
{
	int64_t now_ns = world->clock.virtual_ns;
	struct apus_shard *before = apus_shard_enter(NULL);
	int64_t next_ns = now_ns;

	for (uint32_t turns = 0; next_ns <= now_ns; turns++) {
		struct apus_list *it;

		next_ns = APUS_NEVER;
		if (turns > world->options.turns_max) {
			next_ns = -ELOOP;
			break;
		}
		apus_list_for_each(it, &world->hosts) {
			int64_t host_ns = host_turn(host_of(it), now_ns);

			next_ns = apus_min(next_ns, host_ns);
		}
	}
	apus_shard_enter(before);
	if (next_ns < 0) {
		apus_sim_report(world, "no rest after %u turns", world->options.turns_max);
		report_tasks(world);
	}
	return next_ns;
}

/*
 * What was called from outside, between runs, may be unsent: a turn of each host sends it. And a
 * shard knows the time of its last turn only, so calls from outside need one at the present.
 */
static void turn_all(struct apus_sim_world *world)
{
	struct apus_shard *before = apus_shard_enter(NULL);
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts) {
		if (!apus_sim_host_runs(host_of(it)))
			continue;
		for (uint32_t i = 0; i < host_of(it)->count; i++) {
			apus_shard_enter(host_of(it)->members[i].shard);
			apus_shard_turn(host_of(it)->members[i].shard);
		}
	}
	apus_shard_enter(before);
}

int64_t apus_sim_step(struct apus_sim_world *world)
{
	turn_all(world);
	return rest(world);
}

int apus_sim_advance(struct apus_sim_world *world, int64_t ns)
{
	int64_t end_ns = world->clock.virtual_ns + ns;

	turn_all(world);
	for (;;) {
		int64_t next_ns = rest(world);

		if (next_ns < 0)
			return (int)next_ns;
		if (next_ns > end_ns)
			break;
		apus_sim_jump(world, next_ns);
	}
	apus_sim_jump(world, end_ns);
	turn_all(world);
	return 0;
}

int apus_sim_run(struct apus_sim_world *world, int64_t limit_ns)
{
	int64_t limit_at_ns = world->clock.virtual_ns + limit_ns;

	if (world->spawn_failed)
		return -ENOMEM;
	turn_all(world);
	for (;;) {
		int64_t next_ns = rest(world);

		if (next_ns < 0)
			return (int)next_ns;
		if (!tasks_left(world))
			return 0;
		if (next_ns > limit_at_ns) {
			if (!tasks_left_slow(world))
				return 0;
			apus_sim_report(world, next_ns == APUS_NEVER
						       ? "deadlock: nothing can happen any more"
						       : "the time limit has come");
			report_tasks(world);
			return next_ns == APUS_NEVER ? -EDEADLK : -ETIMEDOUT;
		}
		apus_sim_jump(world, next_ns);
	}
}

/* --- Opening and closing ------------------------------------------------------------------- */

int apus_sim_world_open(uint64_t seed, const struct apus_sim_world_options *options,
			struct apus_sim_world **out)
{
	struct apus_heap heap;
	struct apus_sim_world *world;
	int rc;

	rc = apus_heap_init(&heap);
	if (rc < 0)
		return rc;
	world = apus_heap_zalloc(&heap, sizeof(*world));
	if (!world)
		goto err_fini_heap;
	world->heap = heap; /* from here on the heap lives in what it gave */
	world->seed = seed;
	world->options = options ? *options : (struct apus_sim_world_options){0};
	if (world->options.mbufs == 0)
		world->options.mbufs = APUS_SIM_MBUFS_DEFAULT;
	if (world->options.turns_max == 0)
		world->options.turns_max = APUS_SIM_TURNS_DEFAULT;
	world->pool = world->options.pool;
	if (!world->pool)
		world->pool = apus_sim_pool_create(world, world->options.mbufs,
						   RTE_MBUF_DEFAULT_DATAROOM);
	if (!world->pool)
		goto err_free_world;
	world->pool_free = rte_mempool_avail_count(world->pool);
	apus_clock_init_virtual(&world->clock,
				world->options.start_ns ? world->options.start_ns : START_NS);
	apus_random_init_seed(&world->random, seed);
	apus_list_init(&world->hosts);
	apus_list_init(&world->wires);
	*out = world;
	return 0;

err_free_world:
	heap = world->heap;
	apus_heap_free(&heap, world);
err_fini_heap:
	apus_heap_fini(&heap);
	return -ENOMEM;
}

static size_t tasks_count(const struct apus_sim_world *world)
{
	struct apus_list *it;
	size_t count = 0;

	apus_list_for_each(it, &world->hosts)
		for (uint32_t i = 0; i < host_of(it)->count; i++)
			count += apus_shard_tasks(host_of(it)->members[i].shard);
	return count;
}

static void cancel_tasks(struct apus_sim_world *world)
{
	struct apus_shard *before = apus_shard_self();
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts) {
		for (uint32_t i = 0; i < host_of(it)->count; i++) {
			apus_shard_enter(host_of(it)->members[i].shard);
			apus_shard_cancel_all(host_of(it)->members[i].shard);
		}
	}
	apus_shard_enter(before);
}

/* Asks every task to stop and waits until it has; asks again those that have not. */
static void end_tasks(struct apus_sim_world *world)
{
	for (int round = 0; round < CLOSE_ROUNDS && tasks_count(world) > 0; round++) {
		int64_t limit_at_ns = world->clock.virtual_ns + CLOSE_WAIT_NS;

		cancel_tasks(world);
		for (;;) {
			int64_t next_ns = rest(world);

			if (next_ns < 0 || tasks_count(world) == 0 || next_ns > limit_at_ns)
				break;
			apus_sim_jump(world, next_ns);
		}
	}
	if (tasks_count(world) > 0)
		report_tasks(world);
	apus_must(tasks_count(world) == 0); /* a task that ignores its cancels */
	tasks_left_slow(world);
}

static void revive_hosts(struct apus_sim_world *world)
{
	struct apus_list *it;

	apus_list_for_each(it, &world->hosts) {
		host_of(it)->killed = false; /* its wire stays out */
		host_of(it)->paused = false;
	}
}

static int close_world_pool(struct apus_sim_world *world)
{
	uint32_t free_now = rte_mempool_avail_count(world->pool);
	int rc = 0;

	if (free_now != world->pool_free) {
		apus_sim_report(world, "%u mbufs of %u leaked", world->pool_free - free_now,
				world->pool_free);
		rc = -EUCLEAN;
	}
	if (!world->options.pool)
		rte_mempool_free(world->pool);
	return rc;
}

int apus_sim_world_close(struct apus_sim_world *world)
{
	struct apus_list *node, *it;
	struct apus_heap heap;
	int rc = 0;

	revive_hosts(world);
	end_tasks(world);
	apus_list_for_each(it, &world->hosts)
		apus_sim_host_close_stack(host_of(it));
	while (!apus_list_empty(&world->hosts))
		if (apus_sim_host_close(host_of(world->hosts.next)) < 0)
			rc = -EUCLEAN;
	while ((node = apus_list_pop_front(&world->wires))) {
		struct apus_sim_cable *cable = apus_list_entry(node, struct apus_sim_cable, link);

		apus_sim_wire_close(cable->wire);
		apus_heap_free(&world->heap, cable);
	}
	if (close_world_pool(world) < 0)
		rc = -EUCLEAN;
	heap = world->heap;
	apus_heap_free(&heap, world);
	if (heap.live != 0) {
		fprintf(stderr, "sim: %llu objects of the world leaked\n",
			(unsigned long long)heap.live);
		rc = -EUCLEAN;
	}
	apus_heap_fini(&heap);
	return rc;
}

uint64_t apus_sim_seed(const struct apus_sim_world *world)
{
	return world->seed;
}

uint64_t apus_sim_digest(const struct apus_sim_world *world)
{
	return world->digest;
}
