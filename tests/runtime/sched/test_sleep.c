/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_sleep.c: sleeping in virtual time, to the nanosecond, and the budget of a
 * task that never has to wait.
 */
#include "tests/runtime/runtime_test.h"

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

struct emit_work {
	struct apus_work work;
	const char *text;
};

static void emit_text(struct apus_work *work)
{
	emit("%s", apus_container_of(work, struct emit_work, work)->text);
}

static void call_soon_emit(struct emit_work *w, const char *text)
{
	apus_work_init(&w->work, emit_text);
	w->text = text;
	apus_call_soon(&w->work);
}

/* Sleep. */

struct nap {
	const char *name;
	int64_t ns;
};

static int64_t nap(void *arg)
{
	const struct nap *n = arg;

	ok(apus_sleep(n->ns));
	emit("%s %lld", n->name, (long long)(apus_now() - TEST_START_NS));
	return 0;
}

static void run_naps(const struct nap *naps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		apus_detach(apus_spawn(nap, (void *)(uintptr_t)&naps[i]));
	test_drain();
}

static void sleepers_wake_by_deadline_then_by_arming(void **state)
{
	static const struct nap naps[] = {{"a", 20}, {"b", 10}, {"c", 10},
					  {"d", 0},  {"e", -1}, {"f", 5}};

	run_naps(naps, apus_countof(naps));
	assert_trace("d 0 · e 0 · f 5 · b 10 · c 10 · a 20");
}

static void sleep_of_any_length_ends_at_its_nanosecond(void **state)
{
	for (int power = 0; power < 62; power++) {
		for (int64_t delta = -1; delta <= 1; delta++) {
			int64_t ns = (INT64_C(1) << power) + delta;
			int64_t start_ns = apus_clock_read(&test_world.clock);

			if (ns <= 0 || start_ns > INT64_MAX / 2 - ns)
				continue;
			struct apus_task *t =
				apus_spawn_with(&(struct apus_spawn_options){0}, nap,
						&(struct nap){"n", ns}, sizeof(struct nap));
			ok(test_await(t));
			assert_int_equal(apus_clock_read(&test_world.clock) - start_ns, ns);
			test_world.trace_bytes = 0;
		}
	}
}

static int64_t sleep_nothing(void *arg)
{
	struct emit_work later;

	call_soon_emit(&later, "callback");
	ok(apus_sleep((int64_t)(intptr_t)arg));
	emit("slept");
	return 0;
}

static void sleep_of_zero_or_less_is_one_lap_and_no_timer(void **state)
{
	static const int64_t spans[] = {0, -1, INT64_MIN};

	for (size_t i = 0; i < apus_countof(spans); i++) {
		struct apus_task *t = apus_spawn(sleep_nothing, as_arg(spans[i]));

		test_laps(2);
		assert_true(apus_task_done(t));
		assert_trace("callback · slept");
		assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
		apus_detach(t);
	}
}

static int64_t sleep_until_arg(void *arg)
{
	ok(apus_sleep_until(*(int64_t *)arg));
	emit("%lld", (long long)(apus_now() - TEST_START_NS));
	return 0;
}

static void sleep_until_a_point_ends_then(void **state)
{
	int64_t point_ns = TEST_START_NS + 7;

	ok(test_run(sleep_until_arg, &point_ns));
	assert_trace("7");
}

static void sleep_until_now_or_before_is_one_lap_and_no_timer(void **state)
{
	int64_t points[] = {TEST_START_NS, TEST_START_NS - 1, 0, INT64_MIN};

	for (size_t i = 0; i < apus_countof(points); i++) {
		struct apus_task *t = apus_spawn(sleep_until_arg, &points[i]);

		test_laps(2);
		assert_true(apus_task_done(t));
		assert_trace("0");
		assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
		apus_detach(t);
	}
}

static int64_t sleep_for_ever(void *arg)
{
	int rc = arg ? apus_sleep_until(APUS_NEVER) : apus_sleep(APUS_NEVER);

	emit("%d", rc == -ECANCELED);
	return 0;
}

static void sleep_for_ever_does_not_overflow_and_can_be_cancelled(void **state)
{
	struct apus_task *a = apus_spawn(sleep_for_ever, NULL);
	struct apus_task *b = apus_spawn(sleep_for_ever, &test_world);

	test_laps(3);
	apus_clock_set(&test_world.clock, 1000 * INT64_C(365) * 86400 * APUS_MS);
	test_laps(3);
	assert_false(apus_task_done(a));
	assert_false(apus_task_done(b));
	assert_true(apus_task_cancel(a));
	assert_true(apus_task_cancel(b));
	test_laps(1);
	assert_trace("1 · 1");
	ok(test_await(a));
	ok(test_await(b));
}

/* Budget. */

static int64_t never_block(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count)
		ok(apus_checkpoint());
	return 0;
}

static void task_that_never_blocks_yields_every_128_checkpoints(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(never_block, &count);

	for (int lap = 1; lap <= 7; lap++) {
		int before = count;

		test_laps(1);
		assert_in_range(count - before, 127, 129);
	}
	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
}

static int64_t rest_and_never_block(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count) {
		ok(apus_checkpoint());
		if (*count % 100 == 99)
			ok(apus_yield());
	}
	return 0;
}

static void budget_is_new_after_each_suspension(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(rest_and_never_block, &count);

	for (int lap = 1; lap <= 10; lap++) {
		test_laps(1);
		assert_int_equal(count, lap * 100 - 1);
	}
	ok(test_await(t));
}

static int64_t await_the_finished_for_ever(void *arg)
{
	struct apus_task *done = apus_spawn(return_arg, as_arg(1));
	int *count = arg;

	ok(apus_yield());
	for (*count = 0; *count < 1000; ++*count)
		assert_int_equal(apus_await(apus_task_get(done)), 1);
	apus_detach(done);
	return 0;
}

static void awaiting_finished_tasks_spends_the_budget(void **state)
{
	int count = -1;
	struct apus_task *t = apus_spawn(await_the_finished_for_ever, &count);

	test_laps(2);
	assert_in_range(count, 126, 129);
	ok(test_await(t));
}

static int64_t count_own_laps(void *arg)
{
	struct apus_task *busy = arg;
	int64_t laps = 0;

	while (!apus_task_done(busy)) {
		ok(apus_yield());
		laps++;
	}
	return laps;
}

static void others_run_between_two_budgets(void **state)
{
	int count = 0;
	struct apus_task *busy = apus_spawn(never_block, &count);
	struct apus_task *other = apus_spawn(count_own_laps, busy);

	assert_in_range(test_await(other), 7, 8);
	ok(test_await(busy));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(sleepers_wake_by_deadline_then_by_arming),
		shard_test(sleep_of_any_length_ends_at_its_nanosecond),
		shard_test(sleep_of_zero_or_less_is_one_lap_and_no_timer),
		shard_test(sleep_until_a_point_ends_then),
		shard_test(sleep_until_now_or_before_is_one_lap_and_no_timer),
		shard_test(sleep_for_ever_does_not_overflow_and_can_be_cancelled),
		shard_test(task_that_never_blocks_yields_every_128_checkpoints),
		shard_test(budget_is_new_after_each_suspension),
		shard_test(awaiting_finished_tasks_spends_the_budget),
		shard_test(others_run_between_two_budgets),
	};

	return test_main(argc, argv, tests);
}
