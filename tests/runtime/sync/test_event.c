/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_event.c: asyncio.Event: set wakes all who wait now, in order.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"

static struct apus_event event;

static int open_event(void **state)
{
	apus_event_init(&event);
	return test_open(state);
}

#define event_test(name) shard_test_with(name, open_event)

static void *as_arg(int value)
{
	return (void *)(intptr_t)value;
}

static int64_t wait_and_emit_flag(void *arg)
{
	int rc = apus_event_wait(&event);

	emit("%d %s", (int)(intptr_t)arg, apus_event_is_set(&event) ? "True" : "False");
	return rc;
}

static int64_t wait_and_emit(void *arg)
{
	int rc = apus_event_wait(&event);

	emit("%d %s", (int)(intptr_t)arg, rc == -ECANCELED ? "CE" : "woke");
	return 0;
}

static int64_t wait_late(void *arg)
{
	ok(apus_event_wait(&event));
	emit("late True");
	return 0;
}

static void new_event_is_clear(void **state)
{
	assert_false(apus_event_is_set(&event));
	apus_event_clear(&event);
	assert_false(apus_event_is_set(&event));
	apus_event_set(&event);
	assert_true(apus_event_is_set(&event));
	apus_event_set(&event);
	assert_true(apus_event_is_set(&event));
	apus_event_clear(&event);
	assert_false(apus_event_is_set(&event));
}

/* Trace 51. */
static void set_then_clear_wakes_all_who_waited(void **state)
{
	struct apus_task *tasks[3], *late;
	int64_t results[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(wait_and_emit_flag, as_arg(i));
	test_laps(1);
	apus_event_set(&event);
	apus_event_clear(&event);
	late = apus_spawn(wait_late, NULL);
	test_laps(2);
	for (int i = 0; i < 3; i++)
		results[i] = test_await(tasks[i]);
	emit("[%s, %s, %s] %s", results[0] ? "False" : "True", results[1] ? "False" : "True",
	     results[2] ? "False" : "True", apus_task_done(late) ? "done" : "pending");
	apus_event_set(&event);
	ok(test_await(late));
	assert_trace("0 False · 1 False · 2 False · [True, True, True] pending · late True");
}

static int64_t wait_when_set(void *arg)
{
	apus_event_set(&event);
	ok(apus_event_wait(&event));
	ok(apus_event_wait(&event));
	emit("no lap");
	return 0;
}

static void wait_of_a_set_event_does_not_suspend(void **state)
{
	struct apus_task *t = apus_spawn(wait_when_set, NULL);

	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_trace("no lap");
}

static int64_t wait_for_ever_when_set(void *arg)
{
	int *count = arg;

	apus_event_set(&event);
	for (*count = 0; *count < 1000; ++*count)
		ok(apus_event_wait(&event));
	return 0;
}

static void wait_of_a_set_event_spends_the_budget(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(wait_for_ever_when_set, &count);

	test_laps(1);
	assert_in_range(count, 127, 128);
	ok(test_await(t));
}

static void cancel_before_and_after_set_in_one_lap(void **state)
{
	struct apus_task *tasks[4];

	for (int i = 0; i < 4; i++)
		tasks[i] = apus_spawn(wait_and_emit, as_arg(i));
	test_laps(1);
	apus_task_cancel(tasks[1]);
	apus_event_set(&event);
	apus_task_cancel(tasks[2]);
	test_laps(1);
	emit("end");
	assert_trace("1 CE · 0 woke · 2 CE · 3 woke · end");
	for (int i = 0; i < 4; i++)
		ok(test_await(tasks[i]));
}

static void cancelled_waiters_all_leave_the_event(void **state)
{
	struct apus_task *tasks[5];

	for (int i = 0; i < 5; i++)
		tasks[i] = apus_spawn(wait_and_emit_flag, as_arg(i));
	test_laps(1);
	for (int i = 0; i < 5; i++)
		apus_task_cancel(tasks[i]);
	assert_true(apus_waitq_empty(&event.waiters));
	apus_event_set(&event);
	for (int i = 0; i < 5; i++)
		assert_int_equal(test_await(tasks[i]), -ECANCELED);
}

static int64_t ping(void *arg)
{
	struct apus_event *events = arg;

	for (int i = 0; i < 10000; i++) {
		apus_event_set(&events[1]);
		ok(apus_event_wait(&events[0]));
		apus_event_clear(&events[0]);
	}
	return 0;
}

static int64_t pong(void *arg)
{
	struct apus_event *events = arg;

	for (int i = 0; i < 10000; i++) {
		ok(apus_event_wait(&events[1]));
		apus_event_clear(&events[1]);
		apus_event_set(&events[0]);
	}
	return 0;
}

static void ping_pong_ends(void **state)
{
	struct apus_event events[2];

	apus_event_init(&events[0]);
	apus_event_init(&events[1]);
	struct apus_task *a = apus_spawn(ping, events), *b = apus_spawn(pong, events);

	ok(test_await(a));
	ok(test_await(b));
	assert_int_equal(test_ms(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		event_test(new_event_is_clear),
		event_test(set_then_clear_wakes_all_who_waited),
		event_test(wait_of_a_set_event_does_not_suspend),
		event_test(wait_of_a_set_event_spends_the_budget),
		event_test(cancel_before_and_after_set_in_one_lap),
		event_test(cancelled_waiters_all_leave_the_event),
		event_test(ping_pong_ends),
	};

	return test_main(argc, argv, tests);
}
