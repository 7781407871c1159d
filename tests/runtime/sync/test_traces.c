/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_traces.c: the traces of ASYNCIO.md §4 that need more than one primitive,
 * by their numbers. The others are in sched/test_cancel.c (5, 9, 11, 13), test_future.c (7),
 * test_timeout.c (31, 33, 35, 37) and test_event.c (51).
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"
#include "runtime/sync/future.h"
#include "runtime/sync/timeout.h"

struct emit_timer {
	struct apus_timer timer;
	const char *text;
};

static void emit_text(struct apus_work *work)
{
	emit("%s", apus_container_of(apus_timer_of(work), struct emit_timer, timer)->text);
}

static void emit_timer_init(struct emit_timer *e, const char *text)
{
	apus_timer_init(&e->timer, emit_text);
	e->text = text;
}

/* 1: sched_order. */

static struct apus_future waited_for;

static int64_t wait_for_it(void *arg)
{
	int64_t rc = apus_future_await(&waited_for);

	emit("waiter");
	return rc < 0 ? rc : 0;
}

static int64_t start_and_yield(void *arg)
{
	emit("%s start", (const char *)arg);
	ok(apus_yield());
	emit("%s after sleep0", (const char *)arg);
	return 0;
}

static int64_t sched_order(void *arg)
{
	struct emit_timer cb1, cb2, later;
	struct apus_task *waiter = apus_spawn(wait_for_it, NULL);

	emit_timer_init(&cb1, "cb1");
	emit_timer_init(&cb2, "cb2");
	emit_timer_init(&later, "later0");
	ok(apus_yield());
	struct apus_task *a = apus_spawn(start_and_yield, "A");

	apus_call_soon(&cb1.timer.work);
	struct apus_task *b = apus_spawn(start_and_yield, "B");

	ok(apus_future_set(&waited_for, 1));
	apus_call_soon(&cb2.timer.work);
	apus_call_later(&later.timer, 0);
	emit("main yields");
	for (int i = 1; i <= 3; i++) {
		ok(apus_yield());
		emit("main%d", i);
	}
	ok(apus_await(waiter));
	ok(apus_await(a));
	return apus_await(b);
}

static void trace_1_sched_order(void **state)
{
	apus_future_init(&waited_for);
	ok(test_run(sched_order, NULL));
	assert_trace("main yields · A start · cb1 · B start · waiter · cb2 · main1 · later0 · "
		     "A after sleep0 · B after sleep0 · main2 · main3");
}

/* 3: hops: laps between a child's end and its awaiter's next step. */

static struct apus_event go;

static int64_t child_of_hops(void *arg)
{
	ok(apus_event_wait(&go));
	emit("child");
	return 1;
}

static int64_t await_directly(void *arg)
{
	int64_t rc = apus_await(apus_spawn(child_of_hops, NULL));

	emit("parent");
	return rc;
}

static int64_t await_within_a_limit(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, APUS_SEC);
	int64_t rc = apus_timeout_end(&t, apus_await(apus_spawn(child_of_hops, NULL)));

	emit("parent");
	return rc;
}

static int64_t no_task_within_a_limit(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, APUS_SEC);
	int64_t rc = apus_timeout_end(&t, child_of_hops(NULL));

	emit("parent");
	return rc;
}

static void count_hops(apus_task_fn fn, const char *expected)
{
	apus_event_init(&go);
	struct apus_task *t = apus_spawn(fn, NULL);

	test_laps(2);
	apus_event_set(&go);
	for (int lap = 0; lap < 3; lap++) {
		test_laps(1);
		emit("lap");
	}
	assert_trace(expected);
	assert_int_equal(test_await(t), 1);
}

static void trace_3_hops(void **state)
{
	count_hops(await_directly, "child · lap · parent · lap · lap");
	count_hops(await_within_a_limit, "child · lap · parent · lap · lap");
	count_hops(no_task_within_a_limit, "child · parent · lap · lap · lap");
}

/* Cancel around everything at once: futures, events, limits and tasks, and nothing is left behind. */

#define MEMBERS 24

static struct {
	uint64_t chance, hash;
	struct apus_future futures[4];
	struct apus_event events[4];
	struct apus_task *tasks[MEMBERS];
} world;

static void note(uint64_t what)
{
	world.hash = (world.hash ^ what) * UINT64_C(0x100000001b3);
}

static int64_t act(int depth)
{
	uint64_t which = test_random_below(&world.chance, 4);
	struct apus_task *other = world.tasks[test_random_below(&world.chance, MEMBERS)];
	struct apus_timeout t;

	switch (test_random_below(&world.chance, 12)) {
	case 0:
		return apus_event_wait(&world.events[which]);
	case 1:
		apus_event_set(&world.events[which]);
		return 0;
	case 2:
		apus_event_clear(&world.events[which]);
		return 0;
	case 3:
		return apus_future_await(&world.futures[which]);
	case 4: {
		int rc = apus_future_set(&world.futures[which], 4);

		if (rc && apus_waitq_empty(&world.futures[which].waiters))
			apus_future_init(&world.futures[which]);
		return rc;
	}
	case 5:
		return apus_task_cancel(other);
	case 6:
		return apus_sleep((int64_t)test_random_below(&world.chance, 50) - 5);
	case 7:
		return apus_yield();
	case 8:
		if (apus_task_id(other) > apus_task_id(apus_task_self()))
			return apus_await(apus_task_get(other));
		return 0;
	default:
		if (depth >= 4)
			return 0;
		uint32_t before = apus_task_cancelling(apus_task_self());

		apus_timeout_begin(&t, (int64_t)test_random_below(&world.chance, 40) - 4);
		int64_t rc = 0;

		for (uint64_t n = test_random_below(&world.chance, 4); n && rc >= 0; n--)
			rc = act(depth + 1);
		rc = apus_timeout_end(&t, rc);
		/* A limit leaves the count as it was, but for the cancels of others. */
		assert_true(apus_task_cancelling(apus_task_self()) >= before);
		return rc;
	}
}

static int64_t live(void *arg)
{
	for (int i = 0; i < 30; i++) {
		int64_t rc = act(0);

		note((uint64_t)(intptr_t)arg);
		note((uint64_t)rc);
		note((uint64_t)apus_now());
		while (apus_task_cancelling(apus_task_self()))
			apus_task_uncancel(apus_task_self());
	}
	return 0;
}

static bool all_done(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (!apus_task_done(world.tasks[i]))
			return false;
	return true;
}

/* Wakes whoever waits for something that nobody will do any more. */
static int64_t set_all_now_and_then(void *arg)
{
	while (!all_done()) {
		ok(apus_sleep(100));
		for (int i = 0; i < 4; i++) {
			apus_event_set(&world.events[i]);
			(void)!apus_future_set(&world.futures[i], 1);
		}
	}
	return 0;
}

static uint64_t run_world(uint64_t seed)
{
	memset(&world, 0, sizeof(world));
	world.chance = seed;
	for (int i = 0; i < 4; i++) {
		apus_future_init(&world.futures[i]);
		apus_event_init(&world.events[i]);
	}
	ok(test_open(NULL));
	for (intptr_t i = 0; i < MEMBERS; i++)
		world.tasks[i] = apus_spawn(live, (void *)i);
	ok(test_run(set_all_now_and_then, NULL));
	for (int i = 0; i < MEMBERS; i++) {
		int64_t rc = test_await(world.tasks[i]);

		assert_true(rc == 0 || rc == -ECANCELED); /* cancelled before its first step */
	}
	for (int i = 0; i < 4; i++) {
		assert_true(apus_waitq_empty(&world.events[i].waiters));
		assert_true(apus_waitq_empty(&world.futures[i].waiters));
	}
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	apus_shard_close(test_world.shard);
	return world.hash;
}

static void random_worlds_end_leave_nothing_and_replay(void **state)
{
	test_each_seed(seed, 1000)
	{
		uint64_t hash = run_world(seed);

		assert_int_equal(run_world(seed), hash);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(trace_1_sched_order),
		shard_test(trace_3_hops),
		cmocka_unit_test(random_worlds_end_leave_nothing_and_replay),
	};

	return test_main(argc, argv, tests);
}
