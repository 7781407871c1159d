/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_waitq.c: first come first served; a cancel takes its waiter out at once;
 * a waker never runs the waiter.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/waitq.h"

static struct apus_waitq queue;

static int open_queue(void **state)
{
	apus_waitq_init(&queue);
	return test_open(state);
}

#define queue_test(name) shard_test_with(name, open_queue)

struct waiter {
	const char *name;
	struct apus_task *task;
};

static int64_t wait_and_emit(void *arg)
{
	const char *name = arg;
	int64_t rc = apus_waitq_wait(&queue, "a test");

	emit("%s %lld", name, (long long)rc);
	return 0;
}

static const char *const names[] = {"a", "b", "c", "d", "e"};

static void spawn_waiters(struct apus_task **tasks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tasks[i] = apus_spawn(wait_and_emit, (void *)(uintptr_t)names[i]);
	test_laps(1);
}

static void await_waiters(struct apus_task **tasks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ok(test_await(tasks[i]));
	assert_true(apus_waitq_empty(&queue));
}

static void empty_queue_wakes_nobody(void **state)
{
	assert_true(apus_waitq_empty(&queue));
	assert_false(apus_waitq_wake_one(&queue, 0));
	assert_int_equal(apus_waitq_wake_all(&queue, 0), 0);
}

static void waiters_are_woken_in_order_with_the_value_given(void **state)
{
	struct apus_task *tasks[3];

	spawn_waiters(tasks, 3);
	assert_false(apus_waitq_empty(&queue));
	assert_true(apus_waitq_wake_one(&queue, 7));
	assert_true(apus_waitq_wake_one(&queue, 0));
	assert_true(apus_waitq_wake_one(&queue, INT64_MAX));
	assert_false(apus_waitq_wake_one(&queue, 1));
	assert_true(apus_waitq_empty(&queue));
	assert_trace(""); /* none has run yet */
	test_laps(1);
	assert_trace("a 7 · b 0 · c 9223372036854775807");
	await_waiters(tasks, 3);
}

static void wake_all_gives_everyone_the_same_and_counts(void **state)
{
	struct apus_task *tasks[5];

	spawn_waiters(tasks, 5);
	assert_int_equal(apus_waitq_wake_all(&queue, -EPIPE), 5);
	assert_trace("");
	test_laps(1);
	assert_trace("a -32 · b -32 · c -32 · d -32 · e -32");
	await_waiters(tasks, 5);
}

static void cancelled_waiter_is_out_of_the_queue_at_once(void **state)
{
	struct apus_task *tasks[3];

	spawn_waiters(tasks, 3);
	assert_true(apus_task_cancel(tasks[0]));
	/* It has not run yet, but the next in line is woken, not it. */
	assert_true(apus_waitq_wake_one(&queue, 1));
	assert_true(apus_task_cancel(tasks[2]));
	assert_true(apus_waitq_empty(&queue));
	assert_false(apus_waitq_wake_one(&queue, 1));
	test_laps(1);
	char expected[64];

	snprintf(expected, sizeof(expected), "a %d · b 1 · c %d", -ECANCELED, -ECANCELED);
	assert_trace(expected);
	await_waiters(tasks, 3);
}

static void wake_then_cancel_in_one_lap_loses_the_value(void **state)
{
	struct apus_task *tasks[1];
	char expected[64];

	spawn_waiters(tasks, 1);
	assert_true(apus_waitq_wake_one(&queue, 5));
	assert_true(apus_task_cancel(tasks[0]));
	test_laps(1);
	snprintf(expected, sizeof(expected), "a %d", -ECANCELED);
	assert_trace(expected);
	await_waiters(tasks, 1);
}

static void wake_cancel_uncancel_in_one_lap_keeps_the_value(void **state)
{
	struct apus_task *tasks[1];

	spawn_waiters(tasks, 1);
	assert_true(apus_waitq_wake_one(&queue, 5));
	assert_true(apus_task_cancel(tasks[0]));
	assert_int_equal(apus_task_uncancel(tasks[0]), 0);
	test_laps(1);
	assert_trace("a 5");
	await_waiters(tasks, 1);
}

static void cancel_then_wake_in_one_lap_wakes_another(void **state)
{
	struct apus_task *tasks[2];
	char expected[64];

	spawn_waiters(tasks, 2);
	apus_task_cancel(tasks[0]);
	assert_int_equal(apus_waitq_wake_all(&queue, 3), 1);
	test_laps(1);
	snprintf(expected, sizeof(expected), "a %d · b 3", -ECANCELED);
	assert_trace(expected);
	await_waiters(tasks, 2);
}

static int64_t cancel_self_and_wait(void *arg)
{
	apus_task_cancel(apus_task_self());
	int64_t rc = apus_waitq_wait(&queue, "a test");

	/* The wait ended before it began; its node, on this stack, is in no queue. */
	assert_true(apus_waitq_empty(&queue));
	return rc;
}

static void cancel_before_the_wait_ends_it_in_one_lap(void **state)
{
	struct apus_task *t = apus_spawn(cancel_self_and_wait, NULL);

	test_laps(1);
	assert_true(apus_waitq_empty(&queue));
	assert_false(apus_waitq_wake_one(&queue, 1));
	test_laps(1);
	assert_int_equal(test_await(t), -ECANCELED);
}

static int64_t wait_again_and_again(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < 3; i++)
		emit("%s %d", name, (int)apus_waitq_wait(&queue, "a test"));
	return 0;
}

static void waiter_that_waits_again_goes_to_the_tail(void **state)
{
	struct apus_task *a = apus_spawn(wait_again_and_again, "a");
	struct apus_task *b = apus_spawn(wait_again_and_again, "b");

	test_laps(1);
	for (int i = 1; i <= 6; i++) {
		assert_true(apus_waitq_wake_one(&queue, i));
		test_laps(1);
	}
	assert_trace("a 1 · b 2 · a 3 · b 4 · a 5 · b 6");
	ok(test_await(a));
	ok(test_await(b));
}

static int64_t wake_two(void *arg)
{
	apus_waitq_wake_one(&queue, 1);
	apus_waitq_wake_one(&queue, 2);
	emit("waker goes on");
	ok(apus_yield());
	emit("waker after a lap");
	return 0;
}

static void waker_goes_on_before_the_woken(void **state)
{
	struct apus_task *tasks[2];

	spawn_waiters(tasks, 2);
	ok(test_run(wake_two, NULL));
	assert_trace("waker goes on · a 1 · b 2 · waker after a lap");
	await_waiters(tasks, 2);
}

static void dump_says_what_is_waited_for(void **state)
{
	struct apus_task *tasks[1];
	char text[1000] = "";
	int file = memfd_create("dump", 0);

	spawn_waiters(tasks, 1);
	apus_shard_dump(test_world.shard, file);
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	close(file);
	assert_non_null(strstr(text, "a test"));
	apus_waitq_wake_all(&queue, 0);
	await_waiters(tasks, 1);
}

/* Random waits, wakes, cancels and uncancels against a model of who must be woken with what. */

#define TASKS 30

static struct model {
	struct apus_task *task;
	int in_queue;     /* place in line, or -1 */
	int64_t value;    /* that the next return must be; only when not in the queue */
	bool must_cancel; /* a cancel came after the wake */
	uint64_t returns;
} models[TASKS];
static int line[TASKS], line_count;
static bool stop;

static int64_t wait_and_check(void *arg)
{
	struct model *m = &models[(intptr_t)arg];

	while (!stop) {
		line[line_count] = (int)(m - models);
		m->in_queue = line_count++;
		int64_t rc = apus_waitq_wait(&queue, "a test");

		assert_int_equal(m->in_queue, -1);
		assert_int_equal(rc, m->must_cancel ? -ECANCELED : m->value);
		m->must_cancel = false;
		m->returns++;
		while (apus_task_cancelling(m->task))
			apus_task_uncancel(m->task);
	}
	return 0;
}

static void leave_line(int place, int64_t value)
{
	struct model *m = &models[line[place]];

	m->in_queue = -1;
	m->value = value;
	memmove(line + place, line + place + 1, (size_t)(line_count - place - 1) * sizeof(int));
	line_count--;
	for (int i = place; i < line_count; i++)
		models[line[i]].in_queue = i;
}

static void random_step(uint64_t *chance)
{
	struct model *m = &models[test_random_below(chance, TASKS)];
	int64_t value = (int64_t)test_random_below(chance, 1000) - 500;

	switch (test_random_below(chance, 8)) {
	case 0:
	case 1:
		assert_int_equal(apus_waitq_wake_one(&queue, value), line_count > 0);
		if (line_count)
			leave_line(0, value);
		break;
	case 2:
		if (test_random_below(chance, 10) == 0) {
			assert_int_equal(apus_waitq_wake_all(&queue, value), line_count);
			while (line_count)
				leave_line(0, value);
		}
		break;
	case 3:
		assert_true(apus_task_cancel(m->task));
		if (m->in_queue >= 0)
			leave_line(m->in_queue, -ECANCELED);
		else
			m->must_cancel = true;
		break;
	case 4:
		if (m->in_queue < 0 && apus_task_uncancel(m->task) == 0)
			m->must_cancel = false;
		break;
	default:
		test_laps(1);
		break;
	}
	assert_int_equal(apus_waitq_empty(&queue), line_count == 0);
}

static void random_waits_equal_the_model(void **state)
{
	test_each_seed(seed, 100)
	{
		uint64_t chance = seed, returns = 0;

		stop = false;
		line_count = 0;
		for (intptr_t i = 0; i < TASKS; i++) {
			models[i] = (struct model){.in_queue = -1};
			models[i].task = apus_spawn(wait_and_check, (void *)i);
		}
		test_laps(1);
		for (int step = 0; step < 3000; step++)
			random_step(&chance);
		stop = true;
		test_laps(1);
		while (line_count)
			leave_line(0, 0);
		apus_waitq_wake_all(&queue, 0);
		for (int i = 0; i < TASKS; i++) {
			returns += models[i].returns;
			ok(test_await(models[i].task));
		}
		assert_true(returns > 100);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		queue_test(empty_queue_wakes_nobody),
		queue_test(waiters_are_woken_in_order_with_the_value_given),
		queue_test(wake_all_gives_everyone_the_same_and_counts),
		queue_test(cancelled_waiter_is_out_of_the_queue_at_once),
		queue_test(wake_then_cancel_in_one_lap_loses_the_value),
		queue_test(wake_cancel_uncancel_in_one_lap_keeps_the_value),
		queue_test(cancel_then_wake_in_one_lap_wakes_another),
		queue_test(cancel_before_the_wait_ends_it_in_one_lap),
		queue_test(waiter_that_waits_again_goes_to_the_tail),
		queue_test(waker_goes_on_before_the_woken),
		queue_test(dump_says_what_is_waited_for),
		queue_test(random_waits_equal_the_model),
	};

	return test_main(argc, argv, tests);
}
