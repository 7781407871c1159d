/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_future_callback.c: callbacks of a future: told in order with the tasks
 * that await it, a lap after its completion, and not once they were removed.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/future.h"

static struct apus_future future;

static int open_future(void **state)
{
	apus_future_init(&future);
	return test_open(state);
}

#define future_test(name) shard_test_with(name, open_future)

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

static void watch(struct named *n, const char *name)
{
	apus_callback_init(&n->callback, emit_done);
	n->name = name;
	apus_future_on_done(&future, &n->callback);
}

static int64_t await_and_emit(void *arg)
{
	emit("%s %lld", (const char *)arg, (long long)apus_future_await(&future));
	return 0;
}

static void callbacks_and_awaiting_tasks_are_told_in_order(void **state)
{
	struct named a, c;
	struct apus_task *b;

	watch(&a, "a");
	b = apus_spawn(await_and_emit, "b");
	test_laps(1);
	watch(&c, "c");
	ok(apus_future_set(&future, 7));
	assert_trace(""); /* completion never runs them */
	test_laps(1);
	assert_trace("a 7 · b 7 · c 7");
	ok(test_await(b));
}

static void callback_of_a_complete_future_runs_in_the_next_lap(void **state)
{
	struct named late;

	ok(apus_future_fail(&future, -5));
	watch(&late, "late");
	assert_trace("");
	test_laps(1);
	assert_trace("late -5");
}

static void cancel_of_an_awaiting_task_tells_callbacks_ecanceled(void **state)
{
	struct named a;
	struct apus_task *t = apus_spawn(await_and_emit, "t");

	test_laps(1);
	watch(&a, "a");
	assert_true(apus_task_cancel(t));
	assert_true(apus_future_cancelled(&future));
	ok(test_await(t));
	test_laps(1);
	assert_trace("t -125 · a -125");
}

static void removed_callbacks_are_not_told(void **state)
{
	struct named a, b, c, d;

	watch(&a, "a");
	watch(&b, "b");
	watch(&c, "c");
	assert_true(apus_callback_remove(&a.callback)); /* before */
	assert_false(apus_callback_remove(&a.callback));
	ok(apus_future_set(&future, 1));
	watch(&d, "d");
	assert_true(apus_callback_is_queued(&b.callback));
	assert_true(apus_callback_remove(&b.callback)); /* on its way */
	assert_true(apus_callback_remove(&d.callback)); /* the late one, too */
	test_laps(2);
	assert_trace("c 1");
	assert_false(apus_callback_remove(&c.callback)); /* after */
	assert_true(apus_waitq_empty(&future.waiters));
}

static struct named removed;

static void remove_other(struct apus_work *work)
{
	assert_false(apus_callback_remove(apus_callback_of(work))); /* it runs: it is nowhere */
	emit("removes %s", apus_callback_remove(&removed.callback) ? "True" : "False");
}

static void callback_may_remove_the_next_one(void **state)
{
	struct apus_callback first;

	apus_callback_init(&first, remove_other);
	apus_future_on_done(&future, &first);
	watch(&removed, "removed");
	assert_true(apus_future_cancel(&future));
	test_laps(3);
	assert_trace("removes True");
}

static void free_own_memory(struct apus_work *work)
{
	emit("freed");
	apus_heap_free(apus_shard_heap(test_world.shard), apus_callback_of(work));
}

static void callback_may_free_itself(void **state)
{
	struct apus_callback *own =
		apus_heap_alloc(apus_shard_heap(test_world.shard), sizeof(*own));

	assert_non_null(own);
	apus_callback_init(own, free_own_memory);
	apus_future_on_done(&future, own);
	ok(apus_future_set(&future, 0));
	test_laps(2);
	assert_trace("freed");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		future_test(callbacks_and_awaiting_tasks_are_told_in_order),
		future_test(callback_of_a_complete_future_runs_in_the_next_lap),
		future_test(cancel_of_an_awaiting_task_tells_callbacks_ecanceled),
		future_test(removed_callbacks_are_not_told),
		future_test(callback_may_remove_the_next_one),
		future_test(callback_may_free_itself),
	};

	return test_main(argc, argv, tests);
}
