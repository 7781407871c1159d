/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_generator_end.c: generators that nobody closed: by the end of the run, after
 * all tasks (asyncio's shutdown_asyncgens), and by the end of a scope.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sched/run.h"
#include "runtime/sync/event.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"

/* A whole run in virtual time. @fn gets no argument; what is written is in the trace. */
static int64_t run_whole(apus_task_fn fn)
{
	const struct apus_shard_options options = {
		.core = -1,
		.seed = 1,
		.clock = &test_world.clock,
	};

	apus_clock_init_virtual(&test_world.clock, TEST_START_NS);
	test_world.trace[0] = '\0';
	test_world.trace_bytes = 0;
	return apus_run(&options, fn, NULL);
}

static void clean_up(int64_t rc, const char *name)
{
	emit("%s %s", name,
	     rc == APUS_GENERATOR_EXIT ? "exit"
	     : rc == -ECANCELED        ? "CE"
				       : "goes on");
	ok(apus_sleep(10 * APUS_MS));
	emit("%s closed at %d", name, (int)test_ms());
}

static int64_t counts(struct apus_generator *g, void *arg)
{
	int64_t rc = 0;

	for (intptr_t i = 1; !rc; i++)
		rc = apus_generator_yield(g, (void *)i, NULL);
	clean_up(rc, arg);
	return rc;
}

static struct apus_generator kept[3];

/* Trace 71, its second half. */
static int64_t leave_two_open(void *arg)
{
	void *value;

	for (int i = 0; i < 2; i++) {
		apus_generator_open(&kept[i], counts, i ? "fin2" : "fin1");
		assert_int_equal(apus_generator_next(&kept[i], &value), 1);
	}
	emit("main ends");
	return 7;
}

static void trace_71_generators_left_open_are_closed_at_once_when_the_run_ends(void **state)
{
	assert_int_equal(run_whole(leave_two_open), 7);
	assert_trace("main ends · fin1 exit · fin2 exit · fin1 closed at 10 · fin2 closed at 10");
}

static int64_t consume_for_ever(void *arg)
{
	struct apus_generator g; /* its memory is gone when the generator is closed */
	void *value;

	apus_generator_open(&g, counts, "gen");
	assert_int_equal(apus_generator_next(&g, &value), 1);
	int rc = apus_sleep(APUS_SEC);

	emit("task %s", rc == -ECANCELED ? "CE" : "goes on");
	ok(apus_sleep(5 * APUS_MS));
	emit("task ends at %d", (int)test_ms());
	return rc;
}

static int64_t leave_a_consumer(void *arg)
{
	ok(apus_spawn_detached(NULL, consume_for_ever, NULL, 0));
	return apus_sleep(APUS_MS);
}

static void left_over_tasks_end_before_the_generators_that_they_left_open(void **state)
{
	ok(run_whole(leave_a_consumer));
	assert_trace("task CE · task ends at 6 · gen exit · gen closed at 16");
}

static int64_t consume_waiting(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, counts, "inner");
	assert_int_equal(apus_generator_next(&g, &value), 1);
	(void)!apus_sleep(APUS_SEC);
	int64_t rc = apus_generator_close(&g);

	emit("consumer closed it: %lld", (long long)rc);
	return rc;
}

static int64_t leave_one_that_closes(void *arg)
{
	ok(apus_spawn_detached(NULL, consume_waiting, NULL, 0));
	return apus_sleep(APUS_MS);
}

/* The body is no task of its own: the end of the run does not cancel it beside its consumer. */
static void consumer_that_closes_in_its_clean_up_finds_the_generator_whole(void **state)
{
	ok(run_whole(leave_one_that_closes));
	assert_trace("inner exit · inner closed at 11 · consumer closed it: 0");
}

static int64_t waits_for_ever(struct apus_generator *g, void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	clean_up(rc, arg);
	return rc;
}

static int64_t consume_what_waits(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, waits_for_ever, "body");
	int64_t rc = apus_generator_next(&g, &value);

	emit("consumer %s", rc == -ECANCELED ? "CE" : "goes on");
	return rc;
}

static int64_t leave_one_inside(void *arg)
{
	ok(apus_spawn_detached(NULL, consume_what_waits, NULL, 0));
	return apus_sleep(APUS_MS);
}

static void body_that_waits_is_cancelled_once_through_its_consumer(void **state)
{
	ok(run_whole(leave_one_inside));
	assert_trace("body CE · body closed at 11 · consumer CE");
}

/* Errors, spawns and nesting in what is closed. */

static void emit_unhandled(const struct apus_unhandled *what, void *arg)
{
	emit("unhandled %lld", (long long)what->error);
}

static int64_t fails_when_closed(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, NULL, NULL);

	return rc == APUS_GENERATOR_EXIT ? -EIO : rc;
}

static int64_t never_asked_for_its_end(struct apus_generator *g, void *arg)
{
	return apus_generator_yield(g, NULL, NULL);
}

static int64_t cleaner(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	emit("spawned %s", rc == -ECANCELED ? "CE" : "goes on");
	return rc;
}

static int64_t spawns_when_closed(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, NULL, NULL);

	ok(apus_spawn_detached(NULL, cleaner, NULL, 0));
	ok(apus_yield());
	return rc;
}

static int64_t leave_troubles(void *arg)
{
	static const apus_generator_fn bodies[] = {fails_when_closed, never_asked_for_its_end,
						   spawns_when_closed};
	void *value;

	apus_on_unhandled(apus_shard_self(), emit_unhandled, NULL);
	for (size_t i = 0; i < apus_countof(bodies); i++) {
		apus_generator_open(&kept[i], bodies[i], NULL);
		assert_int_equal(apus_generator_next(&kept[i], &value), 1);
	}
	return 0;
}

static void error_of_a_body_is_unhandled_and_what_it_spawns_is_ended(void **state)
{
	ok(run_whole(leave_troubles));
	assert_trace("unhandled -5 · spawned CE");
}

static int64_t outer(struct apus_generator *g, void *arg)
{
	struct apus_generator inner;
	void *value;

	apus_generator_open(&inner, counts, "inner");
	assert_int_equal(apus_generator_next(&inner, &value), 1);
	int64_t rc = apus_generator_yield(g, value, NULL);

	ok((int)apus_generator_close(&inner));
	emit("outer closed");
	return rc;
}

static int64_t leave_nested(void *arg)
{
	void *value;

	apus_generator_open(&kept[0], outer, NULL);
	return apus_generator_next(&kept[0], &value) == 1 ? 0 : -EINVAL;
}

static void outer_closes_its_inner_one_itself(void **state)
{
	ok(run_whole(leave_nested));
	assert_trace("inner exit · inner closed at 10 · outer closed");
}

static int64_t leave_without_memory(void *arg)
{
	void *value;

	apus_generator_open(&kept[0], counts, "gen");
	assert_int_equal(apus_generator_next(&kept[0], &value), 1);
	apus_shard_self()->tasks_max = 0; /* not even a task that could close it */
	return 0;
}

static void without_memory_the_body_is_cancelled(void **state)
{
	ok(run_whole(leave_without_memory));
	assert_trace("gen CE · gen closed at 10");
}

/* Scopes. */

static int64_t leave_by_the_middle(void *arg)
{
	struct apus_generator g APUS_GENERATOR_CLOSE_AT_END;
	void *value;

	apus_generator_open(&g, counts, "gen");
	while (apus_generator_next(&g, &value) > 0)
		if ((intptr_t)value == 2)
			return 2;
	return 0;
}

static int64_t leave_scopes(void *arg)
{
	apus_on_unhandled(apus_shard_self(), emit_unhandled, NULL);
	emit("returned %lld", (long long)leave_by_the_middle(NULL));
	{
		struct apus_generator g APUS_GENERATOR_CLOSE_AT_END;
		void *value;

		apus_generator_open(&g, fails_when_closed, NULL);
		assert_int_equal(apus_generator_next(&g, &value), 1);
	}
	return 0;
}

static void generator_is_closed_when_its_scope_is_left(void **state)
{
	ok(run_whole(leave_scopes));
	assert_trace("gen exit · gen closed at 10 · returned 2 · unhandled -5");
}

static struct test_capture capture;

static void leave_open_in_debug_mode(void *arg)
{
	apus_clock_init_virtual(&test_world.clock, TEST_START_NS);
	_exit(apus_run(&(struct apus_shard_options){.core = -1,
						    .clock = &test_world.clock,
						    .debug = true},
		       leave_a_consumer, NULL) != 0);
}

static void debug_mode_says_where_a_generator_that_was_left_open_was_opened(void **state)
{
	assert_int_equal(test_in_child(leave_open_in_debug_mode, NULL, &capture), 0);
	assert_non_null(strstr(capture.text, "debug: a generator was left open"));
	assert_non_null(strstr(capture.text, "counts+0x0; it was opened by"));
	assert_non_null(strstr(capture.text, "consume_for_ever+0x"));
}

static int64_t yield_elsewhere(void *arg)
{
	void *value;

	apus_generator_open(&kept[0], never_asked_for_its_end, NULL);
	emit("%lld", (long long)apus_generator_yield(&kept[0], NULL, NULL));
	assert_int_equal(apus_generator_next(&kept[0], &value), 1);
	emit("%lld", (long long)apus_generator_yield(&kept[0], NULL, NULL));
	ok((int)apus_generator_close(&kept[0]));
	emit("%lld", (long long)apus_generator_yield(&kept[0], NULL, NULL));
	return 0;
}

static void yield_by_another_than_the_body_is_an_error(void **state)
{
	ok(run_whole(yield_elsewhere));
	assert_trace("-22 · -22 · -22");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			trace_71_generators_left_open_are_closed_at_once_when_the_run_ends),
		cmocka_unit_test(left_over_tasks_end_before_the_generators_that_they_left_open),
		cmocka_unit_test(consumer_that_closes_in_its_clean_up_finds_the_generator_whole),
		cmocka_unit_test(body_that_waits_is_cancelled_once_through_its_consumer),
		cmocka_unit_test(error_of_a_body_is_unhandled_and_what_it_spawns_is_ended),
		cmocka_unit_test(outer_closes_its_inner_one_itself),
		cmocka_unit_test(without_memory_the_body_is_cancelled),
		cmocka_unit_test(generator_is_closed_when_its_scope_is_left),
		cmocka_unit_test(yield_by_another_than_the_body_is_an_error),
		cmocka_unit_test(debug_mode_says_where_a_generator_that_was_left_open_was_opened),
	};

	return test_main(argc, argv, tests);
}
