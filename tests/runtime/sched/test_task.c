/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_task.c: spawn, await, detach, sleep and yield: who runs in which lap.
 *
 * The expected traces of the first half are what CPython's asyncio prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

/* Bodies that many tests use. */

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t emit_name(void *arg)
{
	emit("%s", (const char *)arg);
	return 0;
}

static int64_t emit_name_twice(void *arg)
{
	emit("%s start", (const char *)arg);
	ok(apus_yield());
	emit("%s after", (const char *)arg);
	return 0;
}

static int64_t sleep_arg_ms(void *arg)
{
	return apus_sleep((int64_t)(intptr_t)arg * APUS_MS);
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

/* Laps. */

static void spawned_task_runs_in_the_next_lap(void **state)
{
	struct apus_task *t = apus_spawn(emit_name, "ran");

	assert_non_null(t);
	assert_trace("");
	assert_false(apus_task_done(t));
	assert_int_equal(apus_task_result(t), -EINPROGRESS);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("ran");
	assert_true(apus_task_done(t));
	assert_int_equal(apus_task_result(t), 0);
	apus_detach(t);
}

static int64_t spawn_three(void *arg)
{
	struct apus_task *a = apus_spawn(emit_name, "a"), *b = apus_spawn(emit_name, "b");

	emit("main");
	ok(apus_await(b));
	emit("main again");
	ok(apus_await(a));
	return 0;
}

static void tasks_start_in_order_of_spawning(void **state)
{
	ok(test_run(spawn_three, NULL));
	assert_trace("main · a · b · main again");
}

/* sched_order of ASYNCIO.md §4, but for the future, which sync's test has. */
static int64_t sched_order(void *arg)
{
	struct emit_work cb1, cb2;
	struct apus_task *a = apus_spawn(emit_name_twice, "A");

	call_soon_emit(&cb1, "cb1");
	struct apus_task *b = apus_spawn(emit_name_twice, "B");

	call_soon_emit(&cb2, "cb2");
	emit("main yields");
	for (int i = 1; i <= 3; i++) {
		ok(apus_yield());
		emit("main%d", i);
	}
	ok(apus_await(a));
	ok(apus_await(b));
	return 0;
}

static void callbacks_and_task_steps_share_one_fifo(void **state)
{
	ok(test_run(sched_order, NULL));
	assert_trace("main yields · A start · cb1 · B start · cb2 · main1 · A after · B after · "
		     "main2 · main3");
}

static int64_t yield_three_times(void *arg)
{
	for (int i = 0; i < 3; i++)
		ok(apus_yield());
	return 0;
}

static void yield_is_exactly_one_lap(void **state)
{
	struct apus_task *t = apus_spawn(yield_three_times, NULL);

	test_laps(3);
	assert_false(apus_task_done(t));
	test_laps(1);
	assert_true(apus_task_done(t));
	apus_detach(t);
}

static int64_t parent_of_one(void *arg)
{
	int64_t rc = apus_await(apus_spawn(emit_name, "child"));

	emit("parent");
	return rc;
}

static void awaiter_resumes_one_lap_after_the_child_ended(void **state)
{
	struct apus_task *t = apus_spawn(parent_of_one, NULL);

	for (int lap = 1; lap <= 3; lap++) {
		test_laps(1);
		emit("lap");
	}
	assert_trace("lap · child · lap · parent · lap");
	assert_true(apus_task_done(t));
	apus_detach(t);
}

static int64_t await_the_finished(void *arg)
{
	struct emit_work later;
	struct apus_task *done = apus_spawn(return_arg, as_arg(3));

	ok(apus_yield());
	assert_true(apus_task_done(done));
	call_soon_emit(&later, "callback");
	emit("got %d", (int)apus_await(done));
	ok(apus_yield());
	return 0;
}

static void await_of_a_finished_task_does_not_suspend(void **state)
{
	ok(test_run(await_the_finished, NULL));
	assert_trace("got 3 · callback");
}

static int64_t spawn_deeper(void *arg)
{
	intptr_t depth = (intptr_t)arg;

	if (depth == 0)
		return 0;
	return 1 + apus_await(apus_spawn(spawn_deeper, (void *)(depth - 1)));
}

static void chain_of_1000_awaits_unwinds_one_lap_each(void **state)
{
	struct apus_task *t = apus_spawn(spawn_deeper, as_arg(1000));

	test_laps(1001 + 999);
	assert_false(apus_task_done(t));
	test_laps(1);
	assert_int_equal(apus_task_result(t), 1000);
	apus_detach(t);
}

/* Results and handles. */

static int64_t await_each_result(void *arg)
{
	static const int64_t results[] = {0, 1, INT64_MAX, -1, -EPIPE, -ECANCELED, INT64_MIN};

	for (size_t i = 0; i < apus_countof(results); i++)
		assert_int_equal(apus_await(apus_spawn(return_arg, as_arg(results[i]))),
				 results[i]);
	return 0;
}

static void await_gives_what_the_body_returned(void **state)
{
	ok(test_run(await_each_result, NULL));
}

static int64_t await_and_emit(void *arg)
{
	struct apus_task **t = arg;

	emit("%d", (int)apus_await(*t));
	return 0;
}

static void second_handle_is_awaited_apart_and_waiters_wake_in_order(void **state)
{
	struct apus_task *t = apus_spawn(sleep_arg_ms, as_arg(1)), *waiters[4];

	for (int i = 0; i < 4; i++) {
		struct apus_task *handle = i ? apus_task_get(t) : t;

		assert_ptr_equal(handle, t);
		waiters[i] = apus_spawn_with(&(struct apus_spawn_options){0}, await_and_emit,
					     &handle, sizeof(handle));
	}
	for (int i = 0; i < 4; i++)
		ok(test_await(waiters[i]));
	assert_trace("0 · 0 · 0 · 0");
}

static void handle_outlives_the_task(void **state)
{
	struct apus_task *t = apus_spawn(return_arg, as_arg(42)), *others[100];

	assert_non_null(t);
	test_laps(3);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	for (int i = 0; i < 100; i++)
		others[i] = apus_spawn(return_arg, as_arg(i));
	test_laps(3);
	assert_true(apus_task_done(t));
	assert_int_equal(apus_task_result(t), 42);
	apus_detach(t);
	for (int i = 0; i < 100; i++)
		assert_int_equal(test_await(others[i]), i);
}

static void detached_task_runs_to_its_end(void **state)
{
	apus_detach(apus_spawn(emit_name_twice, "d"));
	assert_int_equal(apus_shard_tasks(test_world.shard), 1);
	ok(apus_spawn_detached(NULL, emit_name_twice, "e", 0));
	test_drain();
	assert_trace("d start · e start · d after · e after");
}

static int64_t await_null(void *arg)
{
	return apus_await(NULL);
}

static void null_handle_is_taken_by_every_call(void **state)
{
	assert_int_equal(test_run(await_null, NULL), -ENOMEM);
	assert_null(apus_task_get(NULL));
	assert_false(apus_task_cancel(NULL));
	assert_int_equal(apus_task_cancelling(NULL), 0);
	assert_int_equal(apus_task_uncancel(NULL), 0);
	assert_true(apus_task_done(NULL));
	assert_int_equal(apus_task_result(NULL), -ENOMEM);
	assert_non_null(apus_task_name(NULL));
	assert_int_equal(apus_task_id(NULL), 0);
	apus_task_set_name(NULL, "nobody");
	apus_detach(NULL);
}

static int64_t await_self(void *arg)
{
	assert_int_equal(apus_await(apus_task_get(apus_task_self())), -EDEADLK);
	/* The handle was consumed, and the task goes on as before. */
	ok(apus_yield());
	return 5;
}

static void await_of_oneself_is_edeadlk(void **state)
{
	assert_int_equal(test_run(await_self, NULL), 5);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

static int64_t self_is(void *arg)
{
	struct apus_task **expected = arg;

	assert_ptr_equal(apus_task_self(), *expected);
	ok(apus_yield());
	assert_ptr_equal(apus_task_self(), *expected);
	ok(apus_sleep(1));
	assert_ptr_equal(apus_task_self(), *expected);
	return 0;
}

static void self_is_null_in_callback(struct apus_work *work)
{
	assert_null(apus_task_self());
	emit("checked");
}

static void self_is_the_running_task_and_null_elsewhere(void **state)
{
	struct apus_task *tasks[3];
	struct apus_work work;

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(self_is, &tasks[i]);
	apus_work_init(&work, self_is_null_in_callback);
	apus_call_soon(&work);
	assert_null(apus_task_self());
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	assert_trace("checked");
}

/* Names and numbers. */

static void name_is_copied_and_cut_at_31_bytes(void **state)
{
	char given[] = "a name of exactly forty-two bytes, truly..";
	struct apus_task *t =
		apus_spawn_with(&(struct apus_spawn_options){.name = given}, return_arg, NULL, 0);

	memset(given, '!', sizeof(given) - 1);
	assert_string_equal(apus_task_name(t), "a name of exactly forty-two byt");
	apus_task_set_name(t, "123456789012345678901234567890123456789");
	assert_string_equal(apus_task_name(t), "1234567890123456789012345678901");
	apus_task_set_name(t, "1234567890123456789012345678901");
	assert_string_equal(apus_task_name(t), "1234567890123456789012345678901");
	apus_task_set_name(t, "short");
	assert_string_equal(apus_task_name(t), "short");
	ok(test_await(t));
}

static void unnamed_task_is_named_by_its_id(void **state)
{
	struct apus_task *tasks[50];
	char expected[64];

	for (int i = 0; i < 50; i++) {
		tasks[i] = apus_spawn(return_arg, NULL);
		snprintf(expected, sizeof(expected), "task-%llu",
			 (unsigned long long)apus_task_id(tasks[i]));
		assert_string_equal(apus_task_name(tasks[i]), expected);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(apus_task_id(tasks[i]), apus_task_id(tasks[j]));
	}
	for (int i = 0; i < 50; i++)
		ok(test_await(tasks[i]));
}

static void empty_name_is_as_none(void **state)
{
	struct apus_task *t =
		apus_spawn_with(&(struct apus_spawn_options){.name = ""}, return_arg, NULL, 0);

	assert_int_equal(strncmp(apus_task_name(t), "task-", 5), 0);
	apus_task_set_name(t, "other");
	apus_task_set_name(t, "");
	assert_int_equal(strncmp(apus_task_name(t), "task-", 5), 0);
	ok(test_await(t));
}

static void reused_task_has_a_new_id_and_name(void **state)
{
	struct apus_task *first =
		apus_spawn_with(&(struct apus_spawn_options){.name = "first"}, return_arg, NULL, 0);
	uint64_t id = apus_task_id(first);

	ok(test_await(first));
	for (int i = 0; i < 20; i++) {
		struct apus_task *next = apus_spawn(return_arg, NULL);

		assert_true(apus_task_id(next) > id);
		id = apus_task_id(next);
		assert_string_not_equal(apus_task_name(next), "first");
		assert_int_equal(apus_task_cancelling(next), 0);
		ok(test_await(next));
	}
}

/* Copied arguments and stacks. */

static int64_t sum_bytes(void *arg)
{
	const uint8_t *bytes = arg;
	int64_t sum = 0;

	assert_int_equal((uintptr_t)arg % 16, 0);
	ok(apus_yield());
	for (size_t i = 1; i < bytes[0]; i++)
		sum += bytes[i] * (int64_t)i;
	return sum;
}

static void argument_is_copied_at_spawn_and_aligned(void **state)
{
	for (size_t bytes = 1; bytes <= 255; bytes++) {
		uint8_t block[255];
		int64_t expected = 0;

		block[0] = (uint8_t)bytes;
		for (size_t i = 1; i < bytes; i++) {
			block[i] = (uint8_t)(i * 31);
			expected += block[i] * (int64_t)i;
		}
		struct apus_task *t =
			apus_spawn_with(&(struct apus_spawn_options){0}, sum_bytes, block, bytes);

		memset(block, 0xff, sizeof(block));
		assert_int_equal(test_await(t), expected);
	}
}

static int64_t check_1024_bytes(void *arg)
{
	const uint16_t *words = arg;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 512; i++)
			assert_int_equal(words[i], i * 3);
		ok(apus_yield());
	}
	return 0;
}

static void argument_of_1024_bytes_is_copied_whole(void **state)
{
	struct apus_task *tasks[10];
	uint16_t words[512];

	for (int i = 0; i < 512; i++)
		words[i] = (uint16_t)(i * 3);
	for (int i = 0; i < 10; i++)
		tasks[i] = apus_spawn_with(&(struct apus_spawn_options){0}, check_1024_bytes, words,
					   sizeof(words));
	memset(words, 0xff, sizeof(words));
	for (int i = 0; i < 10; i++)
		ok(test_await(tasks[i]));
}

/* Touches `bytes` of stack in frames of 1 KiB. */
static APUS_NOINLINE int64_t use_stack(intptr_t bytes)
{
	volatile char frame[1024];

	frame[0] = 1;
	frame[1023] = (char)bytes;
	if (bytes > 1024)
		return use_stack(bytes - 1024) + frame[0];
	return frame[0];
}

static int64_t use_stack_of(void *arg)
{
	int64_t frames = use_stack((intptr_t)arg);

	ok(apus_yield());
	return frames == use_stack((intptr_t)arg) ? 0 : -EINVAL;
}

static void stack_has_the_bytes_asked_for(void **state)
{
	static const size_t sizes[] = {0, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 64 << 10, 0};
	/* A sanitizer's frames are larger than ours. */
	const size_t reserve = APUS_ASAN || APUS_TSAN ? 4 : 2;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < apus_countof(sizes); i++) {
			struct apus_spawn_options options = {.stack_bytes = sizes[i]};
			size_t bytes = sizes[i] ? sizes[i] : 64 << 10;
			void *use = as_arg((int64_t)(bytes / reserve));

			ok(test_await(apus_spawn_with(&options, use_stack_of, use, 0)));
		}
	}
}

/* Errors that nobody sees. */

static struct test_capture capture;

static int64_t fail_with_epipe(void *arg)
{
	return -EPIPE;
}

static const char *stderr_of_detached(apus_task_fn fn, void *arg)
{
	test_capture_begin(&capture);
	int rc = apus_spawn_detached(&(struct apus_spawn_options){.name = "orphan"}, fn, arg, 0);

	test_laps(3);
	test_capture_end(&capture);
	ok(rc);
	return capture.text;
}

static void detached_task_that_fails_is_reported_by_name(void **state)
{
	const char *text = stderr_of_detached(fail_with_epipe, NULL);

	assert_int_equal(test_count(text, "\n"), 1);
	assert_non_null(strstr(text, "orphan"));
	/* The error by its name, its text or its number. */
	assert_true(strstr(text, "EPIPE") || strstr(text, "roken pipe") || strstr(text, "32"));
}

static void detached_task_that_succeeds_is_silent(void **state)
{
	assert_string_equal(stderr_of_detached(return_arg, as_arg(5)), "");
}

/* As in asyncio: being cancelled is not an error. */
static void detached_task_that_was_cancelled_is_silent(void **state)
{
	assert_string_equal(stderr_of_detached(return_arg, as_arg(-ECANCELED)), "");
}

static void error_is_reported_when_the_handle_is_dropped_after_the_end(void **state)
{
	struct apus_task *t = apus_spawn_with(&(struct apus_spawn_options){.name = "late"},
					      fail_with_epipe, NULL, 0);

	test_capture_begin(&capture);
	test_laps(2);
	test_capture_end(&capture);
	assert_string_equal(capture.text, "");
	test_capture_begin(&capture);
	apus_detach(t);
	test_laps(2);
	test_capture_end(&capture);
	assert_int_equal(test_count(capture.text, "late"), 1);
}

static void error_that_was_looked_at_is_silent(void **state)
{
	struct apus_task *t = apus_spawn(fail_with_epipe, NULL);

	test_laps(2);
	assert_int_equal(apus_task_result(t), -EPIPE);
	test_capture_begin(&capture);
	apus_detach(t);
	test_laps(2);
	test_capture_end(&capture);
	assert_string_equal(capture.text, "");
}

static int64_t await_failing(void *arg)
{
	return apus_await(apus_spawn(fail_with_epipe, NULL)) == -EPIPE ? 0 : -EINVAL;
}

static void awaited_error_is_silent(void **state)
{
	test_capture_begin(&capture);
	struct apus_task *t = apus_spawn(await_failing, NULL);

	test_laps(5);
	test_capture_end(&capture);
	ok(test_await(t));
	assert_string_equal(capture.text, "");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(spawned_task_runs_in_the_next_lap),
		shard_test(tasks_start_in_order_of_spawning),
		shard_test(callbacks_and_task_steps_share_one_fifo),
		shard_test(yield_is_exactly_one_lap),
		shard_test(awaiter_resumes_one_lap_after_the_child_ended),
		shard_test(await_of_a_finished_task_does_not_suspend),
		shard_test(chain_of_1000_awaits_unwinds_one_lap_each),
		shard_test(await_gives_what_the_body_returned),
		shard_test(second_handle_is_awaited_apart_and_waiters_wake_in_order),
		shard_test(handle_outlives_the_task),
		shard_test(detached_task_runs_to_its_end),
		shard_test(null_handle_is_taken_by_every_call),
		shard_test(await_of_oneself_is_edeadlk),
		shard_test(self_is_the_running_task_and_null_elsewhere),
		shard_test(name_is_copied_and_cut_at_31_bytes),
		shard_test(unnamed_task_is_named_by_its_id),
		shard_test(empty_name_is_as_none),
		shard_test(reused_task_has_a_new_id_and_name),
		shard_test(argument_is_copied_at_spawn_and_aligned),
		shard_test(argument_of_1024_bytes_is_copied_whole),
		shard_test(stack_has_the_bytes_asked_for),
		shard_test(detached_task_that_fails_is_reported_by_name),
		shard_test(detached_task_that_succeeds_is_silent),
		shard_test(detached_task_that_was_cancelled_is_silent),
		shard_test(error_is_reported_when_the_handle_is_dropped_after_the_end),
		shard_test(error_that_was_looked_at_is_silent),
		shard_test(awaited_error_is_silent),
	};

	return test_main(argc, argv, tests);
}
