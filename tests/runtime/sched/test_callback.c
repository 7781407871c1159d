/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_callback.c: what else is told of a task: done-callbacks, unseen errors,
 * reasons of a cancel, the list of all tasks; and tasks that begin at once (eager).
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

static int64_t sleep_arg_ms(void *arg)
{
	return apus_sleep((int64_t)(intptr_t)arg * APUS_MS);
}

struct named {
	struct apus_callback callback;
	const char *name;
};

static void emit_done(struct apus_work *work)
{
	struct named *n = apus_container_of(apus_callback_of(work), struct named, callback);

	emit("%s %lld", n->name, (long long)n->callback.wait.rc);
	assert_null(apus_task_self());
}

static struct apus_callback *named_init(struct named *n, const char *name)
{
	apus_callback_init(&n->callback, emit_done);
	n->name = name;
	return &n->callback;
}

/* Done-callbacks. */

static int64_t await_and_emit(void *arg)
{
	int64_t rc = apus_await(arg);

	emit("awaiter %lld", (long long)rc);
	return 0;
}

static void callbacks_and_awaiters_are_told_in_order_of_registration(void **state)
{
	struct apus_task *t = apus_spawn(sleep_arg_ms, as_arg(1)), *awaiter;
	struct named first, second;

	test_laps(1);
	apus_task_on_done(t, named_init(&first, "first"));
	awaiter = apus_spawn(await_and_emit, apus_task_get(t));
	test_laps(1);
	apus_task_on_done(t, named_init(&second, "second"));
	while (!apus_task_done(t))
		assert_true(test_step());
	assert_trace(""); /* never inside of the end */
	test_laps(1);
	assert_trace("first 0 · awaiter 0 · second 0");
	ok(test_await(awaiter));
	apus_detach(t);
}

static void callback_of_an_ended_task_runs_in_the_next_lap(void **state)
{
	struct apus_task *t = apus_spawn(return_arg, as_arg(9));
	struct named late;

	test_laps(1);
	apus_task_on_done(t, named_init(&late, "late"));
	assert_trace("");
	test_laps(1);
	assert_trace("late 9");
	apus_detach(t);
}

static void removed_callback_is_not_told(void **state)
{
	struct apus_task *t = apus_spawn(sleep_arg_ms, as_arg(1));
	struct named a, b, c;

	apus_callback_init(&a.callback, emit_done);
	assert_false(apus_callback_remove(&a.callback)); /* it was nowhere */
	apus_task_on_done(t, named_init(&a, "a"));
	apus_task_on_done(t, named_init(&b, "b"));
	apus_task_on_done(t, named_init(&c, "c"));
	assert_true(apus_callback_remove(&a.callback));
	assert_false(apus_callback_remove(&a.callback));
	while (!apus_task_done(t))
		assert_true(test_step());
	/* Told already, but it has not run: it can still be taken back. */
	assert_true(apus_callback_remove(&b.callback));
	test_laps(2);
	assert_trace("c 0");
	assert_false(apus_callback_remove(&c.callback));
	apus_detach(t);
}

static void cancel_of_the_task_tells_callbacks_ecanceled(void **state)
{
	struct apus_task *before = apus_spawn(sleep_arg_ms, as_arg(1));
	struct apus_task *during = apus_spawn(sleep_arg_ms, as_arg(1));
	struct named a, b;
	char expected[64];

	apus_task_on_done(before, named_init(&a, "a"));
	apus_task_on_done(during, named_init(&b, "b"));
	apus_task_cancel(before);
	test_laps(1);
	apus_task_cancel(during);
	test_laps(3);
	snprintf(expected, sizeof(expected), "a %d · b %d", -ECANCELED, -ECANCELED);
	assert_trace(expected);
	apus_detach(before);
	apus_detach(during);
}

static struct named again;

static void register_again(struct apus_work *work)
{
	struct apus_callback *callback = apus_callback_of(work);
	struct apus_task *next = apus_spawn(return_arg, as_arg(2));

	emit("%lld", (long long)callback->wait.rc);
	named_init(&again, "again");
	apus_task_on_done(next, &again.callback);
	apus_detach(next);
}

static void callback_may_spawn_and_register(void **state)
{
	struct apus_task *t = apus_spawn(return_arg, as_arg(1));
	struct apus_callback callback;

	apus_callback_init(&callback, register_again);
	apus_task_on_done(t, &callback);
	apus_detach(t);
	test_laps(4);
	assert_trace("1 · again 2");
}

/* Errors that nobody sees. */

static void emit_unhandled(const struct apus_unhandled *what, void *arg)
{
	emit("%s %lld %s", what->task ? apus_task_name(what->task) : "?", (long long)what->error,
	     (const char *)arg);
	assert_non_null(what->message);
}

static void unseen_errors_go_to_the_handler_instead_of_the_log(void **state)
{
	static struct test_capture capture;
	const struct apus_spawn_options options = {.name = "orphan"};

	apus_on_unhandled(test_world.shard, emit_unhandled, "told");
	test_capture_begin(&capture);
	int rc = apus_spawn_detached(&options, return_arg, as_arg(-EPIPE), 0);

	test_laps(2);
	test_capture_end(&capture);
	ok(rc);
	assert_string_equal(capture.text, "");
	assert_trace("orphan -32 told");

	apus_on_unhandled(test_world.shard, NULL, NULL);
	test_capture_begin(&capture);
	rc = apus_spawn_detached(&options, return_arg, as_arg(-EPIPE), 0);
	test_laps(2);
	test_capture_end(&capture);
	ok(rc);
	assert_int_equal(test_count(capture.text, "orphan"), 1);
	assert_trace("");
}

/* Reasons. */

static void cancel_tells_its_reason(void **state)
{
	struct apus_task *t = apus_spawn(sleep_arg_ms, as_arg(1));

	assert_null(apus_task_cancel_reason(t));
	assert_true(apus_task_cancel(t));
	assert_null(apus_task_cancel_reason(t));
	assert_true(apus_task_cancel_because(t, "shutting down"));
	assert_true(apus_task_cancel(t)); /* without one: the last that gave one stays */
	assert_string_equal(apus_task_cancel_reason(t), "shutting down");
	assert_int_equal(apus_task_cancelling(t), 3);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_null(apus_task_cancel_reason(NULL));
	assert_false(apus_task_cancel_because(NULL, "nobody"));
}

static void reused_task_has_no_reason_left(void **state)
{
	struct apus_task *t = apus_spawn(sleep_arg_ms, as_arg(1));

	apus_task_cancel_because(t, "old");
	assert_int_equal(test_await(t), -ECANCELED);
	for (int i = 0; i < 5; i++) {
		t = apus_spawn(sleep_arg_ms, as_arg(1));
		assert_null(apus_task_cancel_reason(t));
		ok(test_await(t));
	}
}

/* All tasks. */

static void emit_name(struct apus_task *t, void *arg)
{
	emit("%s", apus_task_name(t));
	if (arg)
		apus_task_cancel(t);
}

static void all_tasks_are_visited_oldest_first_and_may_be_cancelled(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn_with(&(struct apus_spawn_options){.name = names[i]},
					   sleep_arg_ms, as_arg(1000), 0);
	apus_all_tasks(test_world.shard, emit_name, NULL);
	test_laps(1);
	apus_all_tasks(test_world.shard, emit_name, "cancel");
	test_laps(1);
	apus_all_tasks(test_world.shard, emit_name, NULL);
	assert_trace("a · b · c · a · b · c");
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_await(tasks[i]), -ECANCELED);
}

static int64_t arg_is(void *arg)
{
	return apus_task_arg(apus_task_self()) == arg;
}

static void task_arg_is_what_the_body_gets(void **state)
{
	int thing = 0;
	struct apus_task *t = apus_spawn(arg_is, &thing);

	assert_ptr_equal(apus_task_arg(t), &thing);
	assert_int_equal(test_await(t), 1);
	t = apus_spawn_with(&(struct apus_spawn_options){0}, arg_is, &thing, sizeof(thing));
	assert_ptr_not_equal(apus_task_arg(t), &thing);
	assert_int_equal(test_await(t), 1);
}

/* Eager tasks. */

static struct apus_task *spawn_eager(apus_task_fn fn, void *arg)
{
	return apus_spawn_with(&(struct apus_spawn_options){.flags = APUS_SPAWN_EAGER}, fn, arg, 0);
}

static int64_t runs_now(void *arg)
{
	emit("runs now %s", (const char *)arg);
	return 1;
}

static int64_t begins_then_yields(void *arg)
{
	emit("b1");
	ok(apus_yield());
	emit("b2");
	return 0;
}

/* Trace 69. */
static int64_t eager_tasks(void *arg)
{
	struct apus_task *self = apus_task_self();
	struct apus_task *a = spawn_eager(runs_now, "A");

	emit("%s main", test_state(a));
	assert_ptr_equal(apus_task_self(), self);
	struct apus_task *b = spawn_eager(begins_then_yields, NULL);

	emit("main");
	ok(apus_await(b));
	return apus_await(a) - 1;
}

static void eager_task_begins_inside_of_the_spawn(void **state)
{
	ok(test_run(eager_tasks, NULL));
	assert_trace("runs now A · result:1 main · b1 · main · b2");
}

static int64_t eager_self(void *arg)
{
	struct apus_task *spawner = arg;

	assert_ptr_not_equal(apus_task_self(), spawner);
	assert_int_equal(apus_task_cancelling(apus_task_self()), 0);
	return apus_task_cancel(spawner) ? 3 : -EINVAL;
}

static int64_t spawn_eager_that_cancels(void *arg)
{
	struct apus_task *t = spawn_eager(eager_self, apus_task_self());

	assert_int_equal(apus_await(t), 3);
	emit("%s", apus_yield() == -ECANCELED ? "CE" : "no");
	return 0;
}

static void eager_task_is_itself_and_may_cancel_its_spawner(void **state)
{
	ok(test_run(spawn_eager_that_cancels, NULL));
	assert_trace("CE");
}

static int64_t eager_depth(void *arg)
{
	intptr_t depth = (intptr_t)arg;

	if (!depth)
		return 0;
	return 1 + apus_await(spawn_eager(eager_depth, (void *)(depth - 1)));
}

static void eager_tasks_nest_without_a_lap(void **state)
{
	struct apus_task *t = apus_spawn(eager_depth, as_arg(200));

	test_laps(1);
	assert_true(apus_task_done(t));
	assert_int_equal(test_await(t), 200);
}

static void emit_from_callback(struct apus_work *work)
{
	struct apus_task *t = spawn_eager(runs_now, "in a callback");

	emit("back");
	assert_null(apus_task_self());
	apus_detach(t);
	t = spawn_eager(begins_then_yields, NULL);
	emit("back");
	apus_detach(t);
}

static void eager_task_may_be_spawned_outside_of_a_task(void **state)
{
	struct apus_work work;

	apus_work_init(&work, emit_from_callback);
	apus_call_soon(&work);
	test_laps(2);
	assert_trace("runs now in a callback · back · b1 · back · b2");
	struct apus_task *t = spawn_eager(runs_now, "outside");

	assert_trace("runs now outside");
	assert_int_equal(test_await(t), 1);
}

static int64_t spawn_eager_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count)
		assert_int_equal(apus_await(spawn_eager(return_arg, as_arg(1))), 1);
	return 0;
}

static void eager_tasks_that_never_wait_spend_the_budget(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(spawn_eager_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 30, 128);
	ok(test_await(t));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(callbacks_and_awaiters_are_told_in_order_of_registration),
		shard_test(callback_of_an_ended_task_runs_in_the_next_lap),
		shard_test(removed_callback_is_not_told),
		shard_test(cancel_of_the_task_tells_callbacks_ecanceled),
		shard_test(callback_may_spawn_and_register),
		shard_test(unseen_errors_go_to_the_handler_instead_of_the_log),
		shard_test(cancel_tells_its_reason),
		shard_test(reused_task_has_no_reason_left),
		shard_test(all_tasks_are_visited_oldest_first_and_may_be_cancelled),
		shard_test(task_arg_is_what_the_body_gets),
		shard_test(eager_task_begins_inside_of_the_spawn),
		shard_test(eager_task_is_itself_and_may_cancel_its_spawner),
		shard_test(eager_tasks_nest_without_a_lap),
		shard_test(eager_task_may_be_spawned_outside_of_a_task),
		shard_test(eager_tasks_that_never_wait_spend_the_budget),
	};

	return test_main(argc, argv, tests);
}
