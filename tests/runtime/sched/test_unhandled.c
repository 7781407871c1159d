/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_unhandled.c: an error is told once, and only if nobody has seen it; and
 * who is asked: the hook, all tasks, the reason of a cancel.
 */
#include "tests/runtime/runtime_test.h"

static void emit_unhandled(const struct apus_unhandled *what, void *arg)
{
	assert_true(what->message && what->message[0]);
	assert_true(what->error < 0);
	emit("%s %lld", what->task ? apus_task_name(what->task) : "nobody", (long long)what->error);
}

static int open_told(void **state)
{
	int rc = test_open(state);

	if (rc == 0)
		apus_on_unhandled(test_world.shard, emit_unhandled, NULL);
	return rc;
}

#define told_test(name) shard_test_with(name, open_told)

static int64_t yield_and_return_arg(void *arg)
{
	int rc = apus_yield();

	return rc ? rc : (int64_t)(intptr_t)arg;
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(1000 * APUS_SEC);
}

static struct apus_task *spawn_named(const char *name, int64_t result)
{
	const struct apus_spawn_options options = {.name = name};
	struct apus_task *t =
		apus_spawn_with(&options, yield_and_return_arg, (void *)(intptr_t)result, 0);

	assert_non_null(t);
	return t;
}

/* Seen, and not seen. */

static void error_of_a_task_detached_before_its_end_is_told_at_its_end(void **state)
{
	apus_detach(spawn_named("a", -5));
	assert_trace("");
	test_drain();
	assert_trace("a -5");
	test_laps(3);
	assert_trace("");
}

static void error_of_a_task_detached_after_its_end_is_told_then(void **state)
{
	struct apus_task *t = spawn_named("a", -5);

	test_drain();
	assert_trace(""); /* somebody may still come */
	apus_detach(t);
	test_laps(1);
	assert_trace("a -5");
}

static void last_handle_decides(void **state)
{
	struct apus_task *t = spawn_named("a", -5), *second = apus_task_get(t);

	test_drain();
	apus_detach(t);
	test_laps(1);
	assert_trace("");
	apus_detach(second);
	test_laps(1);
	assert_trace("a -5");
}

static int64_t await_arg(void *arg)
{
	return apus_await(arg) < 0 ? 0 : 1;
}

static void error_that_one_of_two_handles_saw_is_not_told(void **state)
{
	struct apus_task *t = spawn_named("a", -5), *second = apus_task_get(t);

	ok(test_await(apus_spawn(await_arg, t)));
	apus_detach(second);

	t = spawn_named("b", -5);
	test_drain();
	assert_int_equal(apus_task_result(t), -5);
	apus_detach(t);
	test_laps(2);
	assert_trace("");
}

static void result_asked_too_early_is_not_seen(void **state)
{
	struct apus_task *t = spawn_named("a", -5);

	assert_int_equal(apus_task_result(t), -EINPROGRESS);
	apus_detach(t);
	test_drain();
	assert_trace("a -5");
}

static void values_and_cancels_are_no_errors(void **state)
{
	struct apus_task *t = apus_spawn(sleep_long, NULL);

	apus_detach(spawn_named("value", 5));
	apus_detach(spawn_named("zero", 0));
	test_laps(1);
	apus_task_cancel(t);
	apus_detach(t);
	t = apus_spawn(sleep_long, NULL);
	apus_task_cancel(t); /* before it began */
	apus_detach(t);
	test_drain();
	assert_trace("");
}

/* The waiter was cancelled, and the task it awaited failed while it cleaned up: asyncio raises that. */
static int64_t fail_in_cleanup(void *arg)
{
	return apus_sleep(1000 * APUS_SEC) == -ECANCELED ? -EIO : 0;
}

static int64_t await_and_pass_on(void *arg)
{
	return apus_await(arg);
}

static void error_in_cleanup_reaches_the_waiter_and_is_told_once(void **state)
{
	const struct apus_spawn_options inner = {.name = "inner"}, outer = {.name = "outer"};
	struct apus_task *t = apus_spawn_with(&inner, fail_in_cleanup, NULL, 0);

	t = apus_spawn_with(&outer, await_and_pass_on, t, 0);
	test_laps(2);
	apus_task_cancel(t);
	apus_detach(t);
	test_drain();
	assert_trace("outer -5");
}

static void each_error_is_told_once_in_order_of_ending(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};

	for (int i = 0; i < 4; i++)
		apus_detach(spawn_named(names[i], -1 - i));
	test_drain();
	assert_trace("a -1 · b -2 · c -3 · d -4");
}

/* The hook itself. */

static void spawn_from_hook(const struct apus_unhandled *what, void *arg)
{
	int *left = arg;

	emit("%lld", (long long)what->error);
	if (--*left > 0)
		apus_detach(spawn_named("again", what->error - 1));
}

static void hook_may_spawn_what_fails_again(void **state)
{
	int left = 5;

	apus_on_unhandled(test_world.shard, spawn_from_hook, &left);
	apus_detach(spawn_named("first", -1));
	test_drain();
	test_laps(2);
	assert_trace("-1 · -2 · -3 · -4 · -5");
}

static void emit_arg(const struct apus_unhandled *what, void *arg)
{
	emit("%s", (const char *)arg);
}

static void hook_can_be_replaced(void **state)
{
	apus_on_unhandled(test_world.shard, emit_arg, "first");
	apus_detach(spawn_named("a", -1));
	test_drain();
	apus_on_unhandled(test_world.shard, emit_arg, "second");
	apus_detach(spawn_named("a", -1));
	test_drain();
	assert_trace("first · second");
}

/* All tasks. */

static void emit_name(struct apus_task *t, void *arg)
{
	emit("%s%s", apus_task_name(t), t == apus_task_self() ? "*" : "");
}

static int64_t look_around(void *arg)
{
	apus_all_tasks(apus_shard_self(), emit_name, NULL);
	return 0;
}

static void all_tasks_has_the_running_one_and_not_the_ended(void **state)
{
	const struct apus_spawn_options options = {.name = "looks"};
	struct apus_task *ended = spawn_named("ended", 1), *waits = NULL, *looks;

	test_drain();
	waits = apus_spawn_with(&(struct apus_spawn_options){.name = "waits"}, sleep_long, NULL, 0);
	looks = apus_spawn_with(&options, look_around, NULL, 0);
	ok(test_await(looks));
	assert_trace("waits · looks*");
	apus_task_cancel(waits);
	assert_int_equal(test_await(waits), -ECANCELED);
	assert_int_equal(test_await(ended), 1);
	apus_all_tasks(test_world.shard, emit_name, NULL);
	assert_trace("");
}

static void cancel_and_detach(struct apus_task *t, void *arg)
{
	struct apus_task **tasks = arg;

	assert_true(apus_task_cancel_because(t, "all of you"));
	for (int i = 0; i < 3; i++) {
		if (tasks[i] == t) {
			apus_detach(t);
			tasks[i] = NULL;
		}
	}
}

static void visitor_may_cancel_and_give_up_the_handle(void **state)
{
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(sleep_long, NULL);
	apus_all_tasks(test_world.shard, cancel_and_detach, tasks); /* before they begin */
	for (int i = 0; i < 3; i++)
		assert_null(tasks[i]);
	test_drain();
	assert_trace("");
}

/* Reasons. */

static int64_t emit_own_reason(void *arg)
{
	int rc = apus_sleep(1000 * APUS_SEC);

	emit("%s", apus_task_cancel_reason(apus_task_self()));
	return rc;
}

static void task_can_ask_why_it_was_cancelled(void **state)
{
	struct apus_task *t = apus_spawn(emit_own_reason, NULL);

	test_laps(1);
	assert_true(apus_task_cancel_because(t, "too slow"));
	assert_true(apus_task_cancel_because(t, "and too late"));
	assert_int_equal(apus_task_cancelling(t), 2);
	test_laps(1);
	assert_true(apus_task_done(t));
	assert_false(apus_task_cancel_because(t, "after its end"));
	assert_string_equal(apus_task_cancel_reason(t), "and too late");
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("and too late");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		told_test(error_of_a_task_detached_before_its_end_is_told_at_its_end),
		told_test(error_of_a_task_detached_after_its_end_is_told_then),
		told_test(last_handle_decides),
		told_test(error_that_one_of_two_handles_saw_is_not_told),
		told_test(result_asked_too_early_is_not_seen),
		told_test(values_and_cancels_are_no_errors),
		told_test(error_in_cleanup_reaches_the_waiter_and_is_told_once),
		told_test(each_error_is_told_once_in_order_of_ending),
		told_test(hook_may_spawn_what_fails_again),
		told_test(hook_can_be_replaced),
		told_test(all_tasks_has_the_running_one_and_not_the_ended),
		told_test(visitor_may_cancel_and_give_up_the_handle),
		told_test(task_can_ask_why_it_was_cancelled),
	};

	return test_main(argc, argv, tests);
}
