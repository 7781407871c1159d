/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_cancel.c: cancellation: a request, edge-triggered, counted
 * (ASYNCIO.md §0, items 4 to 6).
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program; the numbers
 * are those of ASYNCIO.md §4. Those that need a future are in tests/runtime/sync/test_traces.c.
 */
#include "tests/runtime/runtime_test.h"

static bool cancel_self(void)
{
	return apus_task_cancel(apus_task_self());
}

static int64_t emit_ran(void *arg)
{
	emit("ran %u", cancelling());
	return 0;
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(APUS_SEC);
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

/* Before the first step. */

static void cancel_before_start_body_never_runs(void **state)
{
	struct apus_task *t = apus_spawn(emit_ran, NULL);
	bool asked = apus_task_cancel(t); /* trace 5 */

	emit("%s %u", yes_no(asked), apus_task_cancelling(t));
	emit("%s", test_state(t));
	test_laps(1);
	emit("%s", test_state(t));
	emit("%s", yes_no(apus_task_cancel(t)));
	assert_trace("True 1 · pending · cancelled · False");
	assert_int_equal(apus_task_cancelling(t), 1);
	apus_detach(t);
}

static void cancel_before_start_taken_back_body_runs(void **state)
{
	struct apus_task *t = apus_spawn(emit_ran, NULL);

	assert_true(apus_task_cancel(t));
	assert_int_equal(apus_task_uncancel(t), 0);
	ok(test_await(t));
	assert_trace("ran 0");
}

static void cancel_twice_before_start_taken_back_once_body_never_runs(void **state)
{
	struct apus_task *t = apus_spawn(emit_ran, NULL);

	apus_task_cancel(t);
	apus_task_cancel(t);
	assert_int_equal(apus_task_uncancel(t), 1);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("");
}

static int64_t await_cancelled_before_start(void *arg)
{
	struct apus_task *t = apus_spawn(emit_ran, NULL);

	apus_task_cancel(t);
	return apus_await(t) == -ECANCELED ? 0 : -EINVAL;
}

static void cancel_before_start_awaiter_gets_ecanceled(void **state)
{
	ok(test_run(await_cancelled_before_start, NULL));
	assert_trace("");
}

/* While it waits. */

static int64_t sleep_twice(void *arg)
{
	if (apus_sleep(10 * APUS_SEC) == -ECANCELED)
		emit("hit %d %u", (int)test_ms(), cancelling());
	ok(apus_sleep(50 * APUS_MS));
	emit("ok %d", (int)test_ms());
	return 0;
}

static void cancel_twice_while_blocked_counts_two_hits_once(void **state)
{
	struct apus_task *t = apus_spawn(sleep_twice, NULL); /* trace 11 */

	test_laps(1);
	assert_true(apus_task_cancel(t));
	assert_true(apus_task_cancel(t));
	emit("%u", apus_task_cancelling(t));
	test_laps(2);
	emit("%s", test_state(t));
	ok(test_await(t));
	assert_trace("2 · hit 0 2 · pending · ok 50");
}

static void cancelled_sleep_leaves_no_timer(void **state)
{
	struct apus_task *t = apus_spawn(sleep_long, NULL);

	test_laps(1);
	assert_int_not_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	apus_task_cancel(t);
	test_laps(1);
	assert_int_equal(apus_task_result(t), -ECANCELED);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	apus_detach(t);
}

static int64_t yield_once(void *arg)
{
	emit("%s", apus_yield() == -ECANCELED ? "CE" : "no");
	ok(apus_yield());
	return 0;
}

static void cancel_during_yield_is_delivered_once(void **state)
{
	struct apus_task *t = apus_spawn(yield_once, NULL);

	test_laps(1);
	apus_task_cancel(t);
	apus_task_cancel(t);
	emit("lap");
	ok(test_await(t));
	assert_trace("lap · CE");
}

static int64_t cleanup_that_sleeps(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	emit("cleanup %d", rc == -ECANCELED);
	rc = apus_sleep(10 * APUS_MS);
	emit("cleaned %d at %d", rc, (int)test_ms());
	return -ECANCELED;
}

static void await_in_cleanup_works_normally(void **state)
{
	struct apus_task *t = apus_spawn(cleanup_that_sleeps, NULL);

	test_laps(1);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("cleanup 1 · cleaned 0 at 10");
}

static void second_cancel_interrupts_the_cleanup(void **state)
{
	struct apus_task *t = apus_spawn(cleanup_that_sleeps, NULL);

	test_laps(1);
	apus_task_cancel(t);
	test_advance(5 * APUS_MS);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	char expected[64];

	snprintf(expected, sizeof(expected), "cleanup 1 · cleaned %d at 5", -ECANCELED);
	assert_trace(expected);
}

static int64_t sleep_10_ms(void *arg)
{
	int rc = apus_sleep(10 * APUS_MS);

	emit("%s %d", rc == -ECANCELED ? "CE" : "slept", (int)test_ms());
	return 0;
}

/* The sleep is over, its task not yet run: the cancel wins, or is taken back. */
static void cancel_after_the_timer_fired_same_lap_wins(void **state)
{
	for (int back = 0; back < 2; back++) {
		struct apus_task *t = apus_spawn(sleep_10_ms, NULL);

		test_laps(1);
		apus_clock_set(&test_world.clock,
			       apus_clock_read(&test_world.clock) + 10 * APUS_MS);
		test_laps(1);
		assert_false(apus_task_done(t));
		apus_task_cancel(t);
		if (back)
			assert_int_equal(apus_task_uncancel(t), 0);
		test_laps(1);
		assert_true(apus_task_done(t));
		apus_detach(t);
	}
	assert_trace("CE 10 · slept 20");
}

struct canceller {
	struct apus_timer timer;
	struct apus_task *victim;
};

static void cancel_victim(struct apus_work *work)
{
	struct canceller *c = apus_container_of(apus_timer_of(work), struct canceller, timer);

	emit("cancel %d", apus_task_cancel(c->victim));
}

/* Both timers are due in one lap; the canceller's comes first, or second. */
static void sleep_cancelled_in_the_lap_in_which_it_is_due_ends_once(void **state)
{
	for (int first = 0; first < 2; first++) {
		struct canceller c;

		apus_timer_init(&c.timer, cancel_victim);
		int64_t due_ns = apus_clock_read(&test_world.clock) + 10 * APUS_MS;

		if (first)
			apus_timer_arm(&c.timer, due_ns);
		c.victim = apus_spawn(sleep_10_ms, NULL);
		test_laps(1);
		if (!first)
			apus_timer_arm(&c.timer, due_ns);
		apus_clock_set(&test_world.clock, due_ns);
		test_laps(2);
		assert_true(apus_task_done(c.victim));
		test_laps(3);
		apus_detach(c.victim);
	}
	assert_trace("cancel 1 · CE 10 · cancel 1 · CE 20");
}

/* The wait was ended by the cancel at once: taking it back does not bring it again. */
static void uncancel_after_a_wait_was_ended_still_ends_it(void **state)
{
	struct apus_task *t = apus_spawn(sleep_10_ms, NULL);

	test_laps(1);
	apus_task_cancel(t);
	assert_int_equal(apus_task_uncancel(t), 0);
	ok(test_await(t));
	assert_trace("CE 0");
}

/* Of oneself. */

static int64_t cancel_self_and_return_12(void *arg)
{
	assert_true(cancel_self());
	return 12;
}

static void cancel_at_end_drops_the_result(void **state)
{
	struct apus_task *t = apus_spawn(cancel_self_and_return_12, NULL); /* trace 9 */

	test_laps(1);
	emit("%s", test_state(t));
	assert_trace("cancelled");
	apus_detach(t);
}

static int64_t cancel_self_then_wait(void *arg)
{
	struct apus_task *done = apus_spawn(return_arg, (void *)3);

	ok(apus_yield());
	cancel_self();
	emit("done %d", (int)apus_await(done));
	emit("%s", apus_yield() == -ECANCELED ? "CE" : "no");
	ok(apus_yield());
	emit("fine");
	return 0;
}

static void cancel_of_oneself_hits_the_next_wait_that_suspends(void **state)
{
	ok(test_run(cancel_self_then_wait, NULL));
	assert_trace("done 3 · CE · fine");
}

static int64_t cancel_self_then_sleep(void *arg)
{
	cancel_self();
	cancel_self();
	emit("%d", apus_sleep(APUS_SEC) == -ECANCELED);
	emit("%d %u", (int)test_ms(), cancelling());
	ok(apus_sleep(APUS_MS));
	return 0;
}

static void cancel_of_oneself_ends_a_sleep_before_it_began(void **state)
{
	ok(test_run(cancel_self_then_sleep, NULL));
	assert_trace("1 · 0 2");
}

static int64_t cancel_self_then_take_back(void *arg)
{
	cancel_self();
	cancel_self();
	emit("%u", apus_task_uncancel(apus_task_self()));
	emit("%u", apus_task_uncancel(apus_task_self()));
	emit("%u", apus_task_uncancel(apus_task_self()));
	emit("%d", apus_yield());
	emit("%d", apus_sleep(1));
	return 7;
}

static void uncancel_to_zero_drops_what_was_not_delivered(void **state)
{
	assert_int_equal(test_run(cancel_self_then_take_back, NULL), 7);
	assert_trace("1 · 0 · 0 · 0 · 0");
}

static int64_t cancel_self_twice_take_back_one(void *arg)
{
	cancel_self();
	cancel_self();
	apus_task_uncancel(apus_task_self());
	emit("%s", apus_yield() == -ECANCELED ? "CE" : "no");
	return cancelling();
}

static void uncancel_to_one_still_delivers(void **state)
{
	assert_int_equal(test_run(cancel_self_twice_take_back_one, NULL), 1);
	assert_trace("CE");
}

static int64_t checkpoints_after_self_cancel(void *arg)
{
	int count = 0;

	cancel_self();
	while (apus_checkpoint() == 0)
		count++;
	emit("%s", count >= 126 && count <= 128 ? "CE at the yield" : "CE elsewhere");
	ok(apus_yield());
	return 0;
}

static void cancel_is_delivered_where_the_budget_ends(void **state)
{
	ok(test_run(checkpoints_after_self_cancel, NULL));
	assert_trace("CE at the yield");
}

/* Through an await. */

static int64_t unwinding_inner(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	if (rc == -ECANCELED)
		emit("inner unwinds");
	return rc;
}

static int64_t cancel_self_then_await(void *arg)
{
	cancel_self();
	int64_t rc = apus_await(arg);

	if (rc == -ECANCELED)
		emit("outer unwinds cancelled");
	return rc;
}

static void cancel_chain_reaches_the_awaited_task(void **state)
{
	struct apus_task *inner = apus_spawn(unwinding_inner, NULL); /* trace 13 */
	struct apus_task *outer = apus_spawn(cancel_self_then_await, apus_task_get(inner));

	while (!apus_task_done(outer))
		assert_true(test_step());
	emit("%s %s", test_state(inner), yes_no(apus_task_result(outer) == -ECANCELED));
	assert_trace("inner unwinds · outer unwinds cancelled · cancelled True");
	apus_detach(inner);
	apus_detach(outer);
}

static int64_t await_arg(void *arg)
{
	int64_t rc = apus_await(arg);

	emit("%s %u", rc == -ECANCELED ? "CE" : "result", cancelling());
	return rc;
}

static void cancel_passes_down_a_chain_of_ten(void **state)
{
	struct apus_task *leaf = apus_task_get(apus_spawn(unwinding_inner, NULL)), *top = leaf;

	apus_detach(leaf);
	for (int i = 0; i < 10; i++)
		top = apus_spawn(await_arg, top);
	test_laps(11);
	apus_task_cancel(top);
	assert_int_equal(test_await(top), -ECANCELED);
	/* Each was cancelled: as in asyncio, the request is counted by everyone on the way. */
	assert_trace("inner unwinds · CE 1 · CE 1 · CE 1 · CE 1 · CE 1 · CE 1 · CE 1 · CE 1 · "
		     "CE 1 · CE 1");
	assert_int_equal(test_ms(), 0);
}

static int64_t swallow_and_return_5(void *arg)
{
	if (apus_sleep(APUS_SEC) == -ECANCELED)
		emit("swallow");
	return 5;
}

static void cancel_swallowed_by_the_awaited_task_gives_its_result(void **state)
{
	struct apus_task *inner = apus_spawn(swallow_and_return_5, NULL);
	struct apus_task *outer = apus_spawn(await_arg, apus_task_get(inner));

	test_laps(2);
	apus_task_cancel(outer);
	assert_int_equal(test_await(outer), 5);
	assert_trace("swallow · result 1");
	assert_int_equal(apus_task_cancelling(inner), 1);
	assert_int_equal(test_await(inner), 5);
}

static void cancel_of_one_awaiter_cancels_the_task_for_both(void **state)
{
	struct apus_task *inner = apus_spawn(unwinding_inner, NULL);
	struct apus_task *a = apus_spawn(await_arg, apus_task_get(inner));
	struct apus_task *b = apus_spawn(await_arg, apus_task_get(inner));

	test_laps(1);
	apus_task_cancel(a);
	test_laps(1);
	emit("lap");
	test_laps(1);
	emit("lap");
	assert_trace("inner unwinds · lap · CE 1 · CE 0 · lap");
	assert_int_equal(test_await(a), -ECANCELED);
	assert_int_equal(test_await(b), -ECANCELED);
	assert_int_equal(test_await(inner), -ECANCELED);
}

/* Semantics 5: the child has ended, the awaiter has not run yet. */
static void cancel_after_result_same_tick_result_loses(void **state)
{
	for (int back = 0; back < 2; back++) {
		struct apus_task *inner = apus_spawn(return_arg, (void *)9);
		struct apus_task *outer = apus_spawn(await_arg, inner);

		/* The child is first in the lap: it has ended when its awaiter comes to wait. */
		test_laps(1);
		assert_true(apus_task_done(outer));
		apus_detach(outer);

		outer = apus_spawn(await_arg, apus_spawn(sleep_10_ms, NULL));
		test_laps(1);
		apus_clock_set(&test_world.clock,
			       apus_clock_read(&test_world.clock) + 10 * APUS_MS);
		test_laps(2); /* the timer; the child */
		assert_false(apus_task_done(outer));
		assert_true(apus_task_cancel(outer));
		if (back)
			apus_task_uncancel(outer);
		test_laps(1);
		assert_int_equal(test_await(outer), back ? 0 : -ECANCELED);
	}
	assert_trace("result 0 · slept 10 · CE 1 · result 0 · slept 20 · result 0");
}

/* Result and cancel from the child itself: it cancels its awaiter and ends. */
static int64_t cancel_parent_and_return(void *arg)
{
	struct apus_task *parent = *(struct apus_task **)arg;

	ok(apus_yield());
	apus_task_cancel(parent);
	return 3;
}

static int64_t await_hostile_child(void *arg)
{
	struct apus_task *self = apus_task_self();
	int64_t rc = apus_await(apus_spawn_with(&(struct apus_spawn_options){0},
						cancel_parent_and_return, &self, sizeof(self)));

	/* Passed on to the running child, whose end then drops its result. */
	emit("%s %u", rc == -ECANCELED ? "CE" : "result", cancelling());
	ok(apus_yield());
	return 0;
}

static void cancel_of_the_awaiter_by_its_child_comes_back_to_the_child(void **state)
{
	ok(test_run(await_hostile_child, NULL));
	assert_trace("CE 1");
}

/* All. */

static int64_t cancel_all_others(void *arg)
{
	emit("asked %d", (int)apus_shard_cancel_all(test_world.shard));
	ok(apus_yield());
	return 0;
}

static void cancel_all_asks_everyone_but_the_running_task(void **state)
{
	struct apus_task *tasks[5], *done = apus_spawn(return_arg, NULL);

	for (int i = 0; i < 5; i++)
		tasks[i] = apus_spawn(unwinding_inner, NULL);
	test_laps(1);
	ok(test_run(cancel_all_others, NULL));
	for (int i = 0; i < 5; i++)
		assert_int_equal(test_await(tasks[i]), -ECANCELED);
	apus_detach(done);
	assert_trace("asked 5 · inner unwinds · inner unwinds · inner unwinds · inner unwinds · "
		     "inner unwinds");
}

static void cancel_all_asks_in_order_of_spawning(void **state)
{
	struct apus_task *tasks[4];

	for (int i = 0; i < 4; i++)
		tasks[i] = apus_spawn(sleep_10_ms, NULL);
	test_laps(1);
	assert_int_equal(apus_shard_cancel_all(test_world.shard), 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(apus_task_cancelling(tasks[i]), 1);
		ok(test_await(tasks[i]));
	}
	assert_int_equal(apus_shard_cancel_all(test_world.shard), 0);
	assert_trace("CE 0 · CE 0 · CE 0 · CE 0");
}

/* A circle of awaits: nothing ever ends it but a cancel. */
static struct apus_task *circle[3];

static int64_t await_next_in_circle(void *arg)
{
	intptr_t next = ((intptr_t)arg + 1) % 3;

	ok(apus_yield());
	return apus_await(apus_task_get(circle[next]));
}

static void cancel_of_one_in_a_circle_of_awaits_ends_all(void **state)
{
	for (intptr_t i = 0; i < 3; i++)
		circle[i] = apus_spawn(await_next_in_circle, (void *)i);
	test_laps(3);
	assert_true(apus_task_cancel(circle[1]));
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_await(circle[i]), -ECANCELED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(cancel_before_start_body_never_runs),
		shard_test(cancel_before_start_taken_back_body_runs),
		shard_test(cancel_twice_before_start_taken_back_once_body_never_runs),
		shard_test(cancel_before_start_awaiter_gets_ecanceled),
		shard_test(cancel_twice_while_blocked_counts_two_hits_once),
		shard_test(cancelled_sleep_leaves_no_timer),
		shard_test(cancel_during_yield_is_delivered_once),
		shard_test(await_in_cleanup_works_normally),
		shard_test(second_cancel_interrupts_the_cleanup),
		shard_test(cancel_after_the_timer_fired_same_lap_wins),
		shard_test(sleep_cancelled_in_the_lap_in_which_it_is_due_ends_once),
		shard_test(uncancel_after_a_wait_was_ended_still_ends_it),
		shard_test(cancel_at_end_drops_the_result),
		shard_test(cancel_of_oneself_hits_the_next_wait_that_suspends),
		shard_test(cancel_of_oneself_ends_a_sleep_before_it_began),
		shard_test(uncancel_to_zero_drops_what_was_not_delivered),
		shard_test(uncancel_to_one_still_delivers),
		shard_test(cancel_is_delivered_where_the_budget_ends),
		shard_test(cancel_chain_reaches_the_awaited_task),
		shard_test(cancel_passes_down_a_chain_of_ten),
		shard_test(cancel_swallowed_by_the_awaited_task_gives_its_result),
		shard_test(cancel_of_one_awaiter_cancels_the_task_for_both),
		shard_test(cancel_after_result_same_tick_result_loses),
		shard_test(cancel_of_the_awaiter_by_its_child_comes_back_to_the_child),
		shard_test(cancel_all_asks_everyone_but_the_running_task),
		shard_test(cancel_all_asks_in_order_of_spawning),
		shard_test(cancel_of_one_in_a_circle_of_awaits_ends_all),
	};

	return test_main(argc, argv, tests);
}
