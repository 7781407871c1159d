/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/runtime_test.h: a shard in virtual time, and a sink for what happened.
 *
 * shard_test(name) gives each test a shard of its own, entered, with a virtual clock at 1 s and a
 * seed. test_await(task) turns the loop until the task has ended; when nothing is ready the clock
 * jumps to the next event, and if there is none the test fails: a deadlock. Nothing sleeps.
 *
 * emit() appends one event to the trace; assert_trace() compares all of it with a line as
 * in ASYNCIO.md, events separated by " · ", and empties it.
 */
#ifndef APUS_TESTS_RUNTIME_RUNTIME_TEST_H
#define APUS_TESTS_RUNTIME_RUNTIME_TEST_H

#include "tests/runtime/base_test.h"

#include "runtime/sched/internal.h"
#include "runtime/sched/shard.h"

#define TEST_START_NS APUS_SEC

static struct {
	struct apus_clock clock;
	struct apus_shard *shard;
	bool passed; /* the test ran to its end */
	size_t trace_bytes;
	char trace[1 << 16];
} test_world;

/* The trace. */

APUS_UNUSED APUS_PRINTF(1, 2) static void emit(const char *fmt, ...)
{
	size_t room = sizeof(test_world.trace) - test_world.trace_bytes;
	char *at = test_world.trace + test_world.trace_bytes;
	va_list args;
	int bytes = 0;

	if (test_world.trace_bytes)
		bytes = snprintf(at, room, " · ");
	va_start(args, fmt);
	bytes += vsnprintf(at + bytes, room - (size_t)bytes, fmt, args);
	va_end(args);
	if ((size_t)bytes >= room)
		abort(); /* a test that says too much */
	test_world.trace_bytes += (size_t)bytes;
}

#define assert_trace(expected)                     \
 do {                                              \
  assert_string_equal(test_world.trace, expected); \
  test_world.trace[0] = '\0';                      \
  test_world.trace_bytes = 0;                      \
 } while (0)

/* A task's state as in ASYNCIO.md §4. */
APUS_UNUSED static const char *test_state(struct apus_task *t)
{
	static char texts[8][32]; /* so that one emit() may have several */
	static unsigned int next;
	char *text = texts[next++ % apus_countof(texts)];

	if (!apus_task_done(t))
		return "pending";
	if (apus_task_result(t) == -ECANCELED)
		return "cancelled";
	snprintf(text, sizeof(texts[0]), "result:%lld", (long long)apus_task_result(t));
	return text;
}

APUS_UNUSED static const char *yes_no(bool is)
{
	return is ? "True" : "False";
}

/* Cancels of the running task that stand. */
APUS_UNUSED static uint32_t cancelling(void)
{
	return apus_task_cancelling(apus_task_self());
}

/* The shard. */

static int test_open_with(const struct apus_shard_options *given)
{
	struct apus_shard_options options = *given;

	test_world.passed = false;
	test_world.trace[0] = '\0';
	test_world.trace_bytes = 0;
	apus_clock_init_virtual(&test_world.clock, TEST_START_NS);
	options.core = -1;
	options.clock = &test_world.clock;
	if (!options.seed)
		options.seed = 1;
	int rc = apus_shard_open(&options, &test_world.shard);

	if (rc == 0)
		apus_shard_enter(test_world.shard);
	return rc;
}

APUS_UNUSED static int test_open(void **state)
{
	return test_open_with(&(struct apus_shard_options){.core = -1});
}

/*
 * A test that failed leaves the shard in the middle of its run: such a shard cannot be closed and is
 * left behind. One that passed must have ended all its tasks and given back all its handles.
 */
APUS_UNUSED static int test_close(void **state)
{
	struct apus_shard *shard = test_world.shard;

	if (!test_world.passed) {
		apus_shard_current = NULL; /* not by enter(): it refuses to leave a running task */
		return 0;
	}
	if (apus_shard_tasks(shard)) {
		fprintf(stderr, "%zu tasks were left\n", apus_shard_tasks(shard));
		apus_shard_enter(NULL);
		return -1;
	}
	apus_shard_close(shard);
	apus_shard_enter(NULL);
	return 0;
}

struct test_body {
	void (*run)(void **state);
};

APUS_UNUSED static void test_body(void **state)
{
	((const struct test_body *)*state)->run(state);
	test_world.passed = true;
}

/* In a shard_test(), instead of skip(): the shard is well. */
#define test_skip() (test_world.passed = true, skip())

/* A test with a shard of its own; or with options, by an opener of its own. */
#define shard_test_with(name, open)                       \
 {                                                        \
#  name, test_body, open, test_close, &(struct test_body) \
  {                                                       \
   name                                                   \
  }                                                       \
 }
#define shard_test(name) shard_test_with(name, test_open)

/* Virtual time. */

APUS_UNUSED static int64_t test_ms(void)
{
	return (apus_now() - TEST_START_NS) / APUS_MS;
}

/* One turn, after the jump to the next event. Return: false if nothing will ever happen again. */
APUS_UNUSED static bool test_step(void)
{
	if (apus_shard_wait_outside(test_world.shard)) {
		apus_shard_turn(test_world.shard);
		return true;
	}

	int64_t next_ns = apus_shard_next_ns(test_world.shard);

	if (next_ns == APUS_NEVER)
		return false;
	if (next_ns > apus_clock_read(&test_world.clock))
		apus_clock_set(&test_world.clock, next_ns);
	apus_shard_turn(test_world.shard);
	return true;
}

/* Turns of the loop at the time that is; returns as soon as nothing is ready. */
APUS_UNUSED static void test_laps(int laps)
{
	for (int i = 0; i < laps; i++)
		apus_shard_turn(test_world.shard);
}

/* Turns until every event up to `ns` after now has happened, and is then that late. */
APUS_UNUSED static void test_advance(int64_t ns)
{
	int64_t until_ns = apus_clock_read(&test_world.clock) + ns;

	while (apus_shard_next_ns(test_world.shard) <= until_ns)
		test_step();
	apus_clock_set(&test_world.clock, until_ns);
	apus_shard_turn(test_world.shard);
}

/* Turns until the task has ended. Consumes the handle; returns the result. */
APUS_UNUSED static int64_t test_await(struct apus_task *t)
{
	assert_non_null(t);
	for (uint64_t turns = 0; !apus_task_done(t); turns++) {
		if (!test_step())
			fail_msg("deadlock: '%s' waits, nothing is ready, no timer is armed",
				 apus_task_name(t));
		if (turns > 100000000)
			fail_msg("'%s' does not end", apus_task_name(t));
	}
	int64_t rc = apus_task_result(t);

	apus_detach(t);
	return rc;
}

/* Runs fn(arg) as a task named "main", to its end. */
APUS_UNUSED static int64_t test_run(apus_task_fn fn, void *arg)
{
	const struct apus_spawn_options options = {.name = "main"};

	return test_await(apus_spawn_with(&options, fn, arg, 0));
}

/* Turns until no task is left. */
APUS_UNUSED static void test_drain(void)
{
	while (apus_shard_tasks(test_world.shard)) {
		if (!test_step())
			fail_msg("deadlock: %zu tasks wait", apus_shard_tasks(test_world.shard));
	}
}

/* For must-check calls whose outcome is not what the test is about, but must be success. */
#define ok(call) assert_int_equal(call, 0)

#endif
