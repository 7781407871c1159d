/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/properties.h: random operations of many tasks on one primitive, for
 * test_properties.c. A property says how one operation is done, and what must be true between laps.
 */
#ifndef APUS_TESTS_RUNTIME_SYNC_PROPERTIES_H
#define APUS_TESTS_RUNTIME_SYNC_PROPERTIES_H

#include "tests/runtime/runtime_test.h"

#include "runtime/sync/timeout.h"
#include "runtime/sync/waitq.h"

#define WORKERS     12
#define OPS_EACH    300
#define SEEDS       30 /* 108,000 operations; with sanitizers as without */
#define OPS_AT_ONCE 8  /* before a worker lets others run: far less than the budget */

struct worker {
	struct apus_task *task;
	uint64_t random;
	uint32_t number;
	uint32_t at_once;
};

struct property {
	void (*open)(void);
	int64_t (*step)(struct worker *w); /* one operation: 0, or why it came to nothing */
	void (*check)(bool is_quiet); /* between laps; quiet: nothing will happen before a timer */
	void (*close)(void);
};

static struct {
	const struct property *property;
	uint64_t random;
	uint64_t digest;
	uint64_t ops, cancels, limits;
	struct worker workers[WORKERS];
} play;

static uint64_t pick(struct worker *w, uint64_t bound)
{
	return test_random_below(&w->random, bound);
}

static void note(uint64_t value)
{
	play.digest = (play.digest ^ value) * UINT64_C(0x100000001b3);
}

/* A while in which others run, and in which a cancel may come. */
static int64_t pause_for_a_while(struct worker *w)
{
	w->at_once = 0;
	if (pick(w, 2))
		return apus_yield();
	return apus_sleep((int64_t)pick(w, 30000));
}

static int64_t step_in_a_limit(struct worker *w)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, (int64_t)pick(w, 40000));
	int64_t rc = apus_timeout_end(&limit, play.property->step(w));

	assert_false(apus_timer_armed(&limit.timer));
	if (rc == -ETIMEDOUT)
		play.limits++;
	return rc;
}

static int64_t work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < OPS_EACH; i++) {
		int64_t rc = pick(w, 3) ? play.property->step(w) : step_in_a_limit(w);

		note(w->number * 1000 + (uint64_t)-rc);
		note((uint64_t)apus_now());
		play.ops++;
		if (++w->at_once >= OPS_AT_ONCE || pick(w, 3) == 0)
			rc = pause_for_a_while(w);
		while (apus_task_cancelling(w->task))
			apus_task_uncancel(w->task);
	}
	return 0;
}

static void cancel_somebody(void)
{
	struct worker *w = &play.workers[test_random_below(&play.random, WORKERS)];
	uint64_t times = 1 + (test_random_below(&play.random, 8) == 0);

	while (times--)
		play.cancels += apus_task_cancel(w->task);
}

/* Return: the digest of all that happened. */
static uint64_t run_seed(const struct property *property, uint64_t seed)
{
	ok(test_open_with(&(struct apus_shard_options){.core = -1, .seed = seed}));
	play.property = property;
	play.random = seed;
	play.digest = UINT64_C(0xcbf29ce484222325);
	property->open();
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct worker *w = &play.workers[i];

		*w = (struct worker){.number = i, .random = test_random(&play.random)};
		w->task = apus_spawn(work, w);
		assert_non_null(w->task);
	}
	while (apus_shard_tasks(test_world.shard)) {
		if (!test_step())
			fail_msg("deadlock: %zu tasks wait", apus_shard_tasks(test_world.shard));
		property->check(apus_shard_next_ns(test_world.shard) >
				apus_clock_read(&test_world.clock));
		if (test_random_below(&play.random, 4) == 0)
			cancel_somebody();
	}
	for (int i = 0; i < WORKERS; i++)
		apus_detach(play.workers[i].task);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	property->close();
	test_world.passed = true;
	ok(test_close(NULL));
	return play.digest;
}

static void run_property(const struct property *property)
{
	uint64_t first = 0, runs = 0;

	play.ops = play.cancels = play.limits = 0;
	test_each_seed(seed, SEEDS)
	{
		uint64_t digest = run_seed(property, seed);

		if (runs++ < 2) {
			assert_int_equal(run_seed(property, seed), digest);
			assert_int_not_equal(digest, first);
			first = digest;
		}
	}
	assert_true(play.cancels > runs * 10);
	assert_true(play.limits > runs * 10);
	if (!test_is_slow() && !test_seeds.only && !test_seeds.count)
		assert_true(play.ops >= 100000);
}

/* Whoever is linked here is parked. */
APUS_UNUSED static void check_waitq(const struct apus_waitq *q)
{
	for (const struct apus_list *at = q->waiters.next; at != &q->waiters; at = at->next) {
		const struct apus_wait *wait = apus_container_of(at, struct apus_wait, link);

		if (wait->task) /* NULL: a callback's */
			assert_int_equal(wait->task->state, APUS_TASK_PARKED);
	}
}

/* After a test that failed in the middle of its run. */
static int leave_shard(void **state)
{
	apus_shard_current = NULL;
	return 0;
}

#define property_test(name) cmocka_unit_test_teardown(name, leave_shard)

#endif
