/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_eager.c: tasks that begin inside of the call that spawns them: when they
 * wait, are cancelled, fail, spawn or outlive who spawned them. (Trace 69 is in test_callback.c.)
 */
#include "tests/runtime/runtime_test.h"

static const struct apus_spawn_options eager = {.flags = APUS_SPAWN_EAGER};

static struct apus_task *spawn_eager(apus_task_fn fn, void *arg)
{
	return apus_spawn_with(&eager, fn, arg, 0);
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_long(void *arg)
{
	int rc = apus_sleep(1000 * APUS_SEC);

	emit("%s %s", (const char *)arg, rc == -ECANCELED ? "CE" : "slept");
	return rc;
}

/* Cancels. */

static int64_t cancel_eager_at_once(void *arg)
{
	struct apus_task *t = spawn_eager(sleep_long, "t");

	assert_false(apus_task_done(t));
	assert_true(apus_task_cancel(t));
	emit("asked");
	assert_int_equal(apus_await(t), -ECANCELED);
	return 0;
}

static void eager_task_that_waits_can_be_cancelled_in_the_same_lap(void **state)
{
	ok(test_run(cancel_eager_at_once, NULL));
	assert_trace("asked · t CE");
	assert_int_equal(test_ms(), 0);
}

static int64_t cancel_oneself(void *arg)
{
	assert_true(apus_task_cancel(apus_task_self()));
	if (arg)
		return sleep_long("self");
	return 12;
}

static int64_t spawn_those_that_cancel_themselves(void *arg)
{
	struct apus_task *at_end = spawn_eager(cancel_oneself, NULL);
	struct apus_task *in_wait = spawn_eager(cancel_oneself, "wait");

	emit("%s %s", test_state(at_end), apus_task_done(in_wait) ? "done" : "pending");
	assert_int_equal(apus_task_cancelling(apus_task_self()), 0);
	assert_int_equal(apus_await(at_end), -ECANCELED); /* trace 9 holds for it, too */
	assert_int_equal(apus_await(in_wait), -ECANCELED);
	return 0;
}

static void eager_task_that_cancels_itself_is_cancelled(void **state)
{
	ok(test_run(spawn_those_that_cancel_themselves, NULL));
	assert_null(strstr(test_world.trace, "slept"));
	assert_non_null(strstr(test_world.trace, "self CE"));
	assert_non_null(strstr(test_world.trace, "cancelled "));
}

static int64_t cancelled_spawner(void *arg)
{
	assert_true(apus_task_cancel(apus_task_self()));
	struct apus_task *t = spawn_eager(sleep_long, "child"); /* the cancel is not for it */

	assert_int_equal(apus_task_cancelling(t), 0);
	assert_int_equal(apus_yield(), -ECANCELED);
	assert_false(apus_task_done(t));
	apus_task_cancel(t);
	assert_int_equal(apus_await(t), -ECANCELED);
	return 0;
}

static void pending_cancel_of_the_spawner_stays_the_spawners(void **state)
{
	ok(test_run(cancelled_spawner, NULL));
	assert_trace("child CE");
}

static int64_t cancel_spawner_then_wait(void *arg)
{
	apus_task_cancel(arg);
	ok(apus_yield());
	emit("child goes on");
	return 3;
}

static int64_t spawner_that_is_cancelled(void *arg)
{
	struct apus_task *t = spawn_eager(cancel_spawner_then_wait, apus_task_self());

	emit("spawner %s", apus_yield() == -ECANCELED ? "CE" : "no");
	return apus_await(t) - 3;
}

static void eager_task_may_cancel_its_spawner_and_wait(void **state)
{
	ok(test_run(spawner_that_is_cancelled, NULL));
	assert_trace("child goes on · spawner CE");
}

/* Awaiting each other. */

static int64_t await_arg(void *arg)
{
	int64_t rc = apus_await(arg);

	emit("spawner came to %lld", (long long)rc);
	return 0;
}

static int64_t spawn_who_awaits_us(void *arg)
{
	*(struct apus_task **)arg = spawn_eager(await_arg, apus_task_get(apus_task_self()));
	emit("spawner goes on");
	return 7;
}

static void eager_task_may_await_its_spawner(void **state)
{
	struct apus_task *waiter = NULL;

	assert_int_equal(test_run(spawn_who_awaits_us, &waiter), 7);
	ok(test_await(waiter));
	assert_trace("spawner goes on · spawner came to 7");
}

/* Order. */

static int64_t three_laps(void *arg)
{
	for (int i = 1; i <= 3; i++) {
		emit("%s%d", (const char *)arg, i);
		ok(apus_yield());
	}
	return 0;
}

static int64_t eager_and_lazy(void *arg)
{
	struct apus_task *lazy = apus_spawn(three_laps, "l"), *t = spawn_eager(three_laps, "e");

	emit("main");
	ok(apus_await(lazy));
	return apus_await(t);
}

static void only_the_first_step_comes_early(void **state)
{
	ok(test_run(eager_and_lazy, NULL));
	assert_trace("e1 · main · l1 · e2 · l2 · e3 · l3");
}

static int64_t spawn_inner(void *arg)
{
	emit("in %s", apus_task_name(apus_task_self()));
	struct apus_task *t = spawn_eager(three_laps, "i");

	emit("out %s", apus_task_name(apus_task_self()));
	return apus_await(t);
}

static int64_t spawn_outer(void *arg)
{
	const struct apus_spawn_options options = {.name = "outer", .flags = APUS_SPAWN_EAGER};
	struct apus_task *t = apus_spawn_with(&options, spawn_inner, NULL, 0);

	emit("main");
	return apus_await(t);
}

static void each_returns_to_who_spawned_it(void **state)
{
	ok(test_run(spawn_outer, NULL));
	assert_trace("in outer · i1 · out outer · main · i2 · i3");
}

/* Arguments, callbacks, detached ones. */

struct block {
	int numbers[64];
};

static int64_t sum_before_and_after(void *arg)
{
	const struct block *block = arg;
	int64_t sum = 0;

	ok(apus_yield());
	for (size_t i = 0; i < apus_countof(block->numbers); i++)
		sum += block->numbers[i];
	return sum;
}

static int64_t overwrite_argument(void *arg)
{
	struct block block;

	for (int i = 0; i < (int)apus_countof(block.numbers); i++)
		block.numbers[i] = i;
	struct apus_task *t = apus_spawn_with(&eager, sum_before_and_after, &block, sizeof(block));

	memset(&block, 0xff, sizeof(block));
	return apus_await(t);
}

static void argument_is_copied_and_stays_after_the_first_wait(void **state)
{
	assert_int_equal(test_run(overwrite_argument, NULL), 63 * 64 / 2);
}

static void emit_result(struct apus_work *work)
{
	emit("told %lld", (long long)apus_callback_of(work)->wait.rc);
}

static void callback_of_an_eager_task_runs_a_lap_after_it_ended(void **state)
{
	struct apus_callback callback;
	struct apus_task *t = spawn_eager(return_arg, (void *)5);

	assert_true(apus_task_done(t));
	apus_callback_init(&callback, emit_result);
	apus_task_on_done(t, &callback);
	assert_trace("");
	test_laps(1);
	assert_trace("told 5");
	apus_detach(t);
}

static void emit_unhandled(const struct apus_unhandled *what, void *arg)
{
	emit("unhandled %lld", (long long)what->error);
}

static void detached_eager_task_runs_now_and_its_error_is_reported(void **state)
{
	apus_on_unhandled(test_world.shard, emit_unhandled, NULL);
	ok(apus_spawn_detached(&eager, return_arg, (void *)-5, 0));
	test_laps(1);
	assert_trace("unhandled -5");
	ok(apus_spawn_detached(&eager, three_laps, "d", 0));
	assert_trace("d1");
	test_drain();
	assert_trace("d2 · d3");
	/* A handle whose task failed before the spawn returned is not yet unseen. */
	struct apus_task *t = spawn_eager(return_arg, (void *)-6);

	test_laps(1);
	assert_trace("");
	assert_int_equal(test_await(t), -6);
	assert_trace("");
}

/* Fairness: none of these may keep the lap for itself. */

static int64_t count_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 2000; ++*count) {
		int rc = apus_checkpoint();

		if (rc)
			return rc;
	}
	return 0;
}

static int64_t spawn_counter(void *arg)
{
	return apus_await(spawn_eager(count_for_ever, arg));
}

static void eager_task_has_a_budget(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(spawn_counter, &count);

	test_laps(1);
	assert_in_range(count, 1, 300);
	ok(test_await(t));
	assert_int_equal(count, 2000);
}

static int64_t spawn_detached_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 2000; ++*count) {
		ok(apus_spawn_detached(&eager, return_arg, NULL, 0));
		ok(apus_checkpoint());
	}
	return 0;
}

/* The budget is the spawner's own, not a new one after each eager task. */
static void eager_tasks_do_not_renew_the_budget_of_their_spawner(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(spawn_detached_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 1, 128);
	ok(test_await(t));
}

/* Depth: an eager task that waits deep inside unwinds to its spawner, and comes back to the loop. */
static int64_t wait_at_the_bottom(void *arg)
{
	intptr_t depth = (intptr_t)arg;

	if (depth)
		return 1 + apus_await(spawn_eager(wait_at_the_bottom, (void *)(depth - 1)));
	return apus_sleep(APUS_MS);
}

static void wait_deep_inside_comes_back(void **state)
{
	const intptr_t depth = test_is_slow() ? 50 : 500;
	struct apus_task *t = spawn_eager(wait_at_the_bottom, (void *)depth);

	assert_false(apus_task_done(t));
	assert_null(apus_task_self());
	assert_int_equal(apus_shard_tasks(test_world.shard), depth + 1);
	assert_int_equal(test_await(t), depth);
	assert_int_equal(test_ms(), 1);
}

static void cancel_of_the_top_reaches_the_bottom(void **state)
{
	struct apus_task *t = spawn_eager(wait_at_the_bottom, (void *)50);

	assert_true(apus_task_cancel(t));
	assert_true(test_await(t) < 0);
	assert_int_equal(test_ms(), 0);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(eager_task_that_waits_can_be_cancelled_in_the_same_lap),
		shard_test(eager_task_that_cancels_itself_is_cancelled),
		shard_test(pending_cancel_of_the_spawner_stays_the_spawners),
		shard_test(eager_task_may_cancel_its_spawner_and_wait),
		shard_test(eager_task_may_await_its_spawner),
		shard_test(only_the_first_step_comes_early),
		shard_test(each_returns_to_who_spawned_it),
		shard_test(argument_is_copied_and_stays_after_the_first_wait),
		shard_test(callback_of_an_eager_task_runs_a_lap_after_it_ended),
		shard_test(detached_eager_task_runs_now_and_its_error_is_reported),
		shard_test(eager_task_has_a_budget),
		shard_test(eager_tasks_do_not_renew_the_budget_of_their_spawner),
		shard_test(wait_deep_inside_comes_back),
		shard_test(cancel_of_the_top_reaches_the_bottom),
	};

	return test_main(argc, argv, tests);
}
