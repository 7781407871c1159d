/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_future.c: asyncio.Future: completed once, waiters in order, a cancel of
 * any waiter cancels it.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
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

static void *as_arg(int value)
{
	return (void *)(intptr_t)value;
}

static int64_t await_and_emit(void *arg)
{
	int number = (int)(intptr_t)arg;
	int64_t rc = apus_future_await(&future);
	uint32_t cancelling = apus_task_cancelling(apus_task_self());

	if (rc == -ECANCELED)
		emit("%d CE %u", number, cancelling);
	else
		emit("%d %lld", number, (long long)rc);
	return rc;
}

static void new_future_is_pending(void **state)
{
	assert_false(apus_future_done(&future));
	assert_false(apus_future_cancelled(&future));
	assert_int_equal(apus_future_result(&future), -EINPROGRESS);
}

static void future_is_completed_once(void **state)
{
	static const char *const ways[] = {"set", "fail", "cancel"};

	for (size_t first = 0; first < apus_countof(ways); first++) {
		apus_future_init(&future);
		switch (first) {
		case 0:
			ok(apus_future_set(&future, 5));
			break;
		case 1:
			ok(apus_future_fail(&future, -EPIPE));
			break;
		default:
			assert_true(apus_future_cancel(&future));
			break;
		}
		int64_t result = first == 0 ? 5 : first == 1 ? -EPIPE : -ECANCELED;

		assert_int_equal(apus_future_set(&future, 6), -EALREADY);
		assert_int_equal(apus_future_fail(&future, -EIO), -EALREADY);
		assert_false(apus_future_cancel(&future));
		assert_true(apus_future_done(&future));
		assert_int_equal(apus_future_cancelled(&future), first == 2);
		assert_int_equal(apus_future_result(&future), result);
	}
}

static void fail_with_no_error_is_refused(void **state)
{
	assert_int_equal(apus_future_fail(&future, 0), -EINVAL);
	assert_int_equal(apus_future_fail(&future, 1), -EINVAL);
	assert_false(apus_future_done(&future));
}

static void waiters_get_the_value_in_order_in_the_next_lap(void **state)
{
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(await_and_emit, as_arg(i));
	test_laps(1);
	ok(apus_future_set(&future, INT64_MAX));
	assert_trace("");
	test_laps(1);
	assert_trace("0 9223372036854775807 · 1 9223372036854775807 · 2 9223372036854775807");
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_await(tasks[i]), INT64_MAX);
}

static void waiters_get_the_error(void **state)
{
	struct apus_task *t = apus_spawn(await_and_emit, as_arg(1));

	test_laps(1);
	ok(apus_future_fail(&future, -EPIPE));
	assert_int_equal(test_await(t), -EPIPE);
	assert_trace("1 -32");
}

static int64_t await_the_complete(void *arg)
{
	int64_t rc = apus_future_await(&future);

	emit("no lap %lld", (long long)rc);
	return 0;
}

static void await_of_a_complete_future_does_not_suspend(void **state)
{
	ok(apus_future_set(&future, 3));
	struct apus_task *t = apus_spawn(await_the_complete, NULL);

	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_trace("no lap 3");
}

static void await_of_a_cancelled_future_is_ecanceled_without_being_cancelled(void **state)
{
	assert_true(apus_future_cancel(&future));
	struct apus_task *t = apus_spawn(await_and_emit, as_arg(1));

	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("1 CE 0");
}

static void cancel_of_the_future_reaches_all_who_wait(void **state)
{
	struct apus_task *tasks[2];

	for (int i = 0; i < 2; i++)
		tasks[i] = apus_spawn(await_and_emit, as_arg(i));
	test_laps(1);
	assert_true(apus_future_cancel(&future));
	test_laps(1);
	assert_trace("0 CE 0 · 1 CE 0");
	for (int i = 0; i < 2; i++)
		assert_int_equal(test_await(tasks[i]), -ECANCELED);
}

static void cancel_of_one_waiter_cancels_the_future_for_all(void **state)
{
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(await_and_emit, as_arg(i));
	test_laps(1);
	apus_task_cancel(tasks[1]);
	emit("%s", apus_future_cancelled(&future) ? "True" : "False");
	assert_int_equal(apus_future_set(&future, 1), -EALREADY);
	test_laps(1);
	emit("end");
	assert_trace("True · 0 CE 0 · 1 CE 1 · 2 CE 0 · end");
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_await(tasks[i]), -ECANCELED);
}

/* Semantics 5 and 6: cancel at every moment around the completion. */
static void cancel_around_the_completion(void **state)
{
	static const struct {
		const char *acts; /* s set, c cancel, u uncancel */
		const char *trace;
	} cases[] = {
		{"s", "1 5"},      {"sc", "1 CE 1"},   {"scu", "1 5"},   {"sccu", "1 CE 1"},
		{"sccuu", "1 5"},  {"c", "1 CE 1"},    {"cc", "1 CE 2"}, {"cu", "1 CE 0"},
		{"ccu", "1 CE 1"}, {"ccuu", "1 CE 0"}, {"cs", "1 CE 1"},
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		apus_future_init(&future);
		struct apus_task *t = apus_spawn(await_and_emit, as_arg(1));

		test_laps(1);
		for (const char *act = cases[i].acts; *act; act++) {
			if (*act == 's')
				assert_int_equal(apus_future_set(&future, 5),
						 cases[i].acts[0] == 'c' ? -EALREADY : 0);
			else if (*act == 'c')
				assert_true(apus_task_cancel(t));
			else
				apus_task_uncancel(t);
		}
		test_laps(1);
		assert_true(apus_task_done(t));
		assert_trace(cases[i].trace);
		apus_detach(t);
	}
}

static int64_t await_twice(void *arg)
{
	struct apus_future *g = arg;
	int64_t rc = apus_future_await(&future);

	if (rc == -ECANCELED)
		emit("ignored");
	return apus_future_await(g);
}

/* Trace 7. */
static void cancel_ignored_then_continue(void **state)
{
	struct apus_future g;

	apus_future_init(&g);
	struct apus_task *t = apus_spawn(await_twice, &g);

	test_laps(1);
	apus_task_cancel(t);
	test_laps(2);
	emit("%s", apus_task_done(t) ? "done" : "pending");
	ok(apus_future_set(&g, 7));
	emit("%lld", (long long)test_await(t));
	assert_trace("ignored · pending · 7");
}

static int64_t await_for_ever_when_complete(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count)
		assert_int_equal(apus_future_await(&future), 3);
	return 0;
}

static void await_of_a_complete_future_spends_the_budget(void **state)
{
	int count = 0;

	ok(apus_future_set(&future, 3));
	struct apus_task *t = apus_spawn(await_for_ever_when_complete, &count);

	test_laps(1);
	assert_in_range(count, 127, 128);
	ok(test_await(t));
}

static int64_t await_task_awaiting_future(void *arg)
{
	int64_t rc = apus_await(arg);

	emit("outer %s", rc == -ECANCELED ? "CE" : "value");
	return rc;
}

static void cancel_passes_through_a_task_to_the_future(void **state)
{
	struct apus_task *inner = apus_spawn(await_and_emit, as_arg(1));
	struct apus_task *outer = apus_spawn(await_task_awaiting_future, inner);

	test_laps(1);
	apus_task_cancel(outer);
	assert_true(apus_future_cancelled(&future));
	assert_int_equal(test_await(outer), -ECANCELED);
	assert_trace("1 CE 1 · outer CE");
}

/* Callbacks. */

struct named {
	struct apus_callback callback;
	const char *name;
};

static void emit_callback(struct apus_work *work)
{
	struct named *n = apus_container_of(apus_callback_of(work), struct named, callback);

	emit("%s %lld", n->name, (long long)n->callback.wait.rc);
}

static struct apus_callback *named_init(struct named *n, const char *name)
{
	apus_callback_init(&n->callback, emit_callback);
	n->name = name;
	return &n->callback;
}

static int64_t await_and_emit_name(void *arg)
{
	int64_t rc = apus_future_await(&future);

	emit("%s", (const char *)arg);
	return rc;
}

static int64_t complete_between_others(void *arg)
{
	struct named cb1, cb2, before, after, late;
	struct apus_task *w1, *w2;

	apus_future_on_done(&future, named_init(&cb1, "cb1"));
	w1 = apus_spawn(await_and_emit_name, "w1");
	ok(apus_yield());
	apus_future_on_done(&future, named_init(&cb2, "cb2"));
	w2 = apus_spawn(await_and_emit_name, "w2");
	ok(apus_yield());
	named_init(&before, "before")->wait.rc = 0;
	named_init(&after, "after")->wait.rc = 0;
	apus_call_soon(&before.callback.work);
	ok(apus_future_set(&future, 1));
	apus_call_soon(&after.callback.work);
	emit("set");
	ok(apus_yield());
	apus_future_on_done(&future, named_init(&late, "late"));
	emit("x");
	ok(apus_yield());
	emit("end");
	assert_int_equal(apus_await(w1), 1);
	assert_int_equal(apus_await(w2), 1);
	return 0;
}

static void callbacks_and_waiters_are_told_in_order_of_registration(void **state)
{
	ok(test_run(complete_between_others, NULL));
	assert_trace("set · before 0 · cb1 1 · w1 · cb2 1 · w2 · after 0 · x · late 1 · end");
}

static void removed_callback_is_not_told(void **state)
{
	struct named a, b;

	apus_future_on_done(&future, named_init(&a, "a"));
	apus_future_on_done(&future, named_init(&b, "b"));
	assert_true(apus_callback_remove(&a.callback));
	assert_false(apus_callback_remove(&a.callback));
	assert_true(apus_future_cancel(&future));
	test_laps(1);
	char expected[32];

	snprintf(expected, sizeof(expected), "b %d", -ECANCELED);
	assert_trace(expected);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		future_test(new_future_is_pending),
		future_test(future_is_completed_once),
		future_test(fail_with_no_error_is_refused),
		future_test(waiters_get_the_value_in_order_in_the_next_lap),
		future_test(waiters_get_the_error),
		future_test(await_of_a_complete_future_does_not_suspend),
		future_test(await_of_a_cancelled_future_is_ecanceled_without_being_cancelled),
		future_test(cancel_of_the_future_reaches_all_who_wait),
		future_test(cancel_of_one_waiter_cancels_the_future_for_all),
		future_test(cancel_around_the_completion),
		future_test(cancel_ignored_then_continue),
		future_test(await_of_a_complete_future_spends_the_budget),
		future_test(cancel_passes_through_a_task_to_the_future),
		future_test(callbacks_and_waiters_are_told_in_order_of_registration),
		future_test(removed_callback_is_not_told),
	};

	return test_main(argc, argv, tests);
}
