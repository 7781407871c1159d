/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_group.c: asyncio.TaskGroup: no child outlives the scope, errors beat
 * cancels, errors are in the order of ending.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program; the numbers
 * are those of ASYNCIO.md §4.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/group.h"
#include "runtime/sync/timeout.h"

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_second(void *arg)
{
	return apus_sleep(APUS_SEC);
}

/* Fails with arg after 10 ms. */
static int64_t fail_at_10_ms(void *arg)
{
	int rc = apus_sleep(10 * APUS_MS);

	return rc ? rc : (int64_t)(intptr_t)arg;
}

/* Fails with arg when cancelled. */
static int64_t fail_when_cancelled(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	return rc == -ECANCELED ? (int64_t)(intptr_t)arg : rc;
}

static int64_t emit_and_sleep(void *arg)
{
	int rc = apus_sleep(50 * APUS_MS);

	if (rc)
		emit("CE");
	else
		emit("end %d", (int)test_ms());
	return rc;
}

static void emit_errors(const struct apus_group *g)
{
	struct apus_group_error error;
	char text[256] = "[";

	for (size_t i = 0; apus_group_error(g, i, &error); i++)
		sprintf(text + strlen(text), "%s%lld", i ? ", " : "", (long long)error.error);
	emit("%s]", text);
}

/* The plain cases. */

static int64_t empty_group(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	int64_t rc = apus_group_end(&g, 7);

	apus_group_fini(&g);
	return rc;
}

static void empty_group_passes_the_body_s_result(void **state)
{
	struct apus_task *t = apus_spawn(empty_group, NULL);

	test_laps(1); /* and costs no lap */
	assert_true(apus_task_done(t));
	assert_int_equal(test_await(t), 7);
}

static int64_t group_of_sleepers(void *arg)
{
	struct apus_group g;
	int rc = 0;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < 10 && !rc; i++)
		rc = apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0);
	assert_true(apus_shard_tasks(test_world.shard) == 11);
	int64_t result = apus_group_end(&g, rc ? rc : 3);

	assert_int_equal(apus_shard_tasks(test_world.shard), 1);
	assert_int_equal(g.errors, 0);
	apus_group_fini(&g);
	return result;
}

static void end_waits_for_all_children(void **state)
{
	assert_int_equal(test_run(group_of_sleepers, NULL), 3);
	assert_trace("end 50 · end 50 · end 50 · end 50 · end 50 · end 50 · end 50 · end 50 · "
		     "end 50 · end 50");
}

static int64_t values_are_no_errors(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < 5; i++)
		ok(apus_group_spawn(&g, NULL, return_arg, as_arg(i), 0));
	ok(apus_yield());
	ok(apus_yield());
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	int64_t rc = apus_group_end(&g, 0);

	apus_group_fini(&g);
	return rc;
}

static void children_that_end_well_disturb_nobody(void **state)
{
	ok(test_run(values_are_no_errors, NULL));
	assert_trace("end 50");
}

struct args {
	uint8_t bytes[700];
};

static int64_t sum_args(void *arg)
{
	const struct args *a = arg;
	int64_t sum = 0;

	ok(apus_yield());
	for (size_t i = 0; i < sizeof(a->bytes); i++)
		sum += a->bytes[i];
	emit("%lld %s", (long long)sum, apus_task_name(apus_task_self()));
	return 0;
}

static int64_t copy_args(void *arg)
{
	struct apus_group g;
	struct args a;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	memset(a.bytes, 2, sizeof(a.bytes));
	ok(apus_group_spawn(&g, &(struct apus_spawn_options){.name = "child"}, sum_args, &a,
			    sizeof(a)));
	memset(&a, 0xff, sizeof(a));
	int rc = apus_group_spawn(&g, NULL, sum_args, &g, 769);

	assert_int_equal(rc, -EINVAL);
	int64_t result = apus_group_end(&g, 0);

	apus_group_fini(&g);
	return result;
}

static void argument_is_copied_up_to_768_bytes(void **state)
{
	ok(test_run(copy_args, NULL));
	assert_trace("1400 child");
}

/* Errors. */

/* Trace 39. */
static int64_t many_errors_same_tick(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < 3; i++)
		ok(apus_group_spawn(&g, NULL, fail_at_10_ms, as_arg(-100 - i), 0));
	int64_t rc = apus_group_end(&g, 0);

	assert_int_equal(rc, -100);
	emit_errors(&g);
	apus_group_fini(&g);
	return 0;
}

static void errors_of_one_lap_are_all_kept_in_order(void **state)
{
	ok(test_run(many_errors_same_tick, NULL));
	assert_trace("[-100, -101, -102]");
}

/* Trace 41. */
static int64_t error_while_cancelling(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, fail_when_cancelled, as_arg(-EDOM), 0));
	ok(apus_group_spawn(&g, NULL, fail_when_cancelled, as_arg(-ERANGE), 0));
	int64_t rc = apus_group_end(&g, apus_sleep(10 * APUS_SEC));

	assert_int_equal(rc, -EDOM);
	emit_errors(&g);
	emit("%u", cancelling());
	apus_group_fini(&g);
	/* The outer cancel was not lost: the next wait has it. */
	return apus_yield() == -ECANCELED ? 1 : 0;
}

static void errors_beat_the_cancel_which_comes_again(void **state)
{
	struct apus_task *t = apus_spawn(error_while_cancelling, NULL);

	test_laps(2);
	test_advance(10 * APUS_MS);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), 1);
	assert_trace("[-33, -34] · 1");
}

static int64_t error_while_cancelled_in_end(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, fail_when_cancelled, as_arg(-EDOM), 0));
	int64_t rc = apus_group_end(&g, 0);

	emit("%lld %u", (long long)rc, cancelling());
	apus_group_fini(&g);
	emit("%s", apus_yield() == -ECANCELED ? "CE later" : "no CE");
	return 0;
}

static void cancel_in_the_end_comes_again_after_the_errors(void **state)
{
	struct apus_task *t = apus_spawn(error_while_cancelled_in_end, NULL);

	test_laps(2);
	apus_task_cancel(t);
	ok(test_await(t));
	assert_trace("-33 1 · CE later");
}

static int64_t error_cancels_body(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, fail_at_10_ms, as_arg(-EDOM), 0));
	int rc = apus_sleep(APUS_SEC);

	if (rc == -ECANCELED)
		emit("body CE %d %u", (int)test_ms(), cancelling());
	int64_t result = apus_group_end(&g, rc);

	emit("EG %lld %u", (long long)result, cancelling());
	apus_group_fini(&g);
	ok(apus_yield());
	return 0;
}

static void error_of_a_child_cancels_the_body(void **state)
{
	ok(test_run(error_cancels_body, NULL));
	assert_trace("body CE 10 1 · EG -33 0");
}

static int64_t body_swallows(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, fail_at_10_ms, as_arg(-EDOM), 0));
	if (apus_sleep(APUS_SEC) == -ECANCELED)
		emit("body swallows");
	emit("%s", apus_sleep(5 * APUS_MS) ? "again?" : "goes on");
	if (apus_group_spawn(&g, NULL, sleep_second, NULL, 0) == -ECANCELED)
		emit("shutting down");
	int64_t rc = apus_group_end(&g, 0);

	emit("EG %lld %u", (long long)rc, cancelling());
	apus_group_fini(&g);
	return 0;
}

static void body_that_swallows_goes_on_but_may_not_spawn(void **state)
{
	ok(test_run(body_swallows, NULL));
	assert_trace("body swallows · goes on · shutting down · EG -33 0");
}

static int64_t body_error_last(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, fail_when_cancelled, as_arg(-1), 0));
	ok(apus_group_spawn(&g, NULL, fail_when_cancelled, as_arg(-2), 0));
	ok(apus_yield());
	int64_t rc = apus_group_end(&g, -EIO);

	assert_int_equal(rc, -1);
	assert_int_equal(g.errors, 3);
	emit_errors(&g);
	apus_group_fini(&g);
	return 0;
}

static void error_of_the_body_cancels_the_children_and_comes_last(void **state)
{
	ok(test_run(body_error_last, NULL));
	assert_trace("[-1, -2, -5]");
}

static int64_t body_error_alone(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, sleep_second, NULL, 0));
	ok(apus_yield());
	int64_t rc = apus_group_end(&g, -EIO);

	emit_errors(&g);
	apus_group_fini(&g);
	assert_int_equal(test_ms(), 0);
	return rc == -EIO ? 0 : -EINVAL;
}

static void error_of_the_body_alone_is_the_group_s(void **state)
{
	ok(test_run(body_error_alone, NULL));
	assert_trace("[-5]");
}

static struct apus_task *first_child;

static int64_t remember_and_sleep(void *arg)
{
	first_child = apus_task_self();
	return emit_and_sleep(arg);
}

static int64_t child_cancelled_alone(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, remember_and_sleep, NULL, 0));
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	ok(apus_sleep(10 * APUS_MS));
	apus_task_cancel(first_child);
	int64_t rc = apus_group_end(&g, 0);

	emit("over %d %u", (int)test_ms(), cancelling());
	apus_group_fini(&g);
	return rc;
}

static void cancelled_child_alone_is_silent(void **state)
{
	ok(test_run(child_cancelled_alone, NULL));
	assert_trace("CE · end 50 · over 50 0");
}

/* Cancel from outside. */

static int64_t wait_in_end(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	int64_t rc = apus_group_end(&g, 0);

	emit("parent %d %u", rc == -ECANCELED, cancelling());
	apus_group_fini(&g);
	return rc;
}

static void cancel_in_the_end_cancels_children_and_is_reported(void **state)
{
	struct apus_task *t = apus_spawn(wait_in_end, NULL);

	test_laps(2);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("CE · CE · parent 1 1");
	assert_int_equal(test_ms(), 0);
}

static int64_t slow_to_unwind(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	emit("unwinding");
	ok(apus_sleep(20 * APUS_MS));
	emit("unwound %d", (int)test_ms());
	return rc;
}

static int64_t wait_for_the_slow(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, slow_to_unwind, NULL, 0));
	int64_t rc = apus_group_end(&g, 0);

	emit("over %d", (int)test_ms());
	apus_group_fini(&g);
	return rc;
}

static void second_cancel_does_not_leave_children_behind(void **state)
{
	struct apus_task *t = apus_spawn(wait_for_the_slow, NULL);

	test_laps(2);
	apus_task_cancel(t);
	test_advance(10 * APUS_MS);
	apus_task_cancel(t);
	assert_false(apus_task_done(t));
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("unwinding · unwound 20 · over 20");
}

/* Trace 43. */
static struct apus_group *open_group;

static int64_t leaf(void *arg)
{
	emit("leaf");
	return 0;
}

static int64_t spawn_a_leaf_late(void *arg)
{
	ok(apus_sleep(10 * APUS_MS));
	return apus_group_spawn(open_group, NULL, leaf, NULL, 0);
}

static int64_t spawn_while_exiting(void *arg)
{
	struct apus_group g;

	open_group = &g;
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, spawn_a_leaf_late, NULL, 0));
	ok((int)apus_group_end(&g, 0));
	emit("%s", yes_no(apus_group_spawn(&g, NULL, leaf, NULL, 0) == -EPIPE));
	apus_group_fini(&g);
	return 0;
}

static void child_may_spawn_while_the_end_waits_nobody_after_it(void **state)
{
	ok(test_run(spawn_while_exiting, NULL));
	assert_trace("leaf · True");
}

/* Trace 45. */
static int64_t nested_both(void *arg)
{
	struct apus_group outer, inner;

	apus_group_begin(&outer, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&outer, NULL, fail_at_10_ms, as_arg(-EDOM), 0));
	apus_group_begin(&inner, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&inner, NULL, fail_at_10_ms, as_arg(-ERANGE), 0));
	int64_t rc = apus_group_end(&inner, apus_sleep(10 * APUS_SEC));

	assert_int_equal(rc, -ERANGE);
	emit("inner %u", cancelling());
	emit("between %u", cancelling());
	apus_group_fini(&inner);
	rc = apus_group_end(&outer, apus_sleep(APUS_SEC));
	assert_int_equal(rc, -EDOM);
	emit("outer %u", cancelling());
	apus_group_fini(&outer);
	ok(apus_yield());
	return 0;
}

static void nested_groups_that_both_fail_keep_their_own_cancels(void **state)
{
	ok(test_run(nested_both, NULL));
	assert_trace("inner 1 · between 1 · outer 0");
	assert_int_equal(test_ms(), 10);
}

/* Trace 47. */
static int64_t child_with_cleanup(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	emit("child cleanup %d", (int)test_ms());
	return rc;
}

static int64_t group_in_timeout(void *arg)
{
	struct apus_timeout t;
	struct apus_group g;

	apus_timeout_begin(&t, 10 * APUS_MS);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, child_with_cleanup, NULL, 0));
	int64_t rc = apus_timeout_end(&t, apus_group_end(&g, 0));

	if (rc == -ETIMEDOUT)
		emit("TimeoutError %d %u", (int)test_ms(), cancelling());
	apus_group_fini(&g);
	return 0;
}

static void limit_around_a_group_cleans_up_and_times_out(void **state)
{
	ok(test_run(group_in_timeout, NULL));
	assert_trace("child cleanup 10 · TimeoutError 10 0");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(empty_group_passes_the_body_s_result),
		shard_test(end_waits_for_all_children),
		shard_test(children_that_end_well_disturb_nobody),
		shard_test(argument_is_copied_up_to_768_bytes),
		shard_test(errors_of_one_lap_are_all_kept_in_order),
		shard_test(errors_beat_the_cancel_which_comes_again),
		shard_test(cancel_in_the_end_comes_again_after_the_errors),
		shard_test(error_of_a_child_cancels_the_body),
		shard_test(body_that_swallows_goes_on_but_may_not_spawn),
		shard_test(error_of_the_body_cancels_the_children_and_comes_last),
		shard_test(error_of_the_body_alone_is_the_group_s),
		shard_test(cancelled_child_alone_is_silent),
		shard_test(cancel_in_the_end_cancels_children_and_is_reported),
		shard_test(second_cancel_does_not_leave_children_behind),
		shard_test(child_may_spawn_while_the_end_waits_nobody_after_it),
		shard_test(nested_groups_that_both_fail_keep_their_own_cancels),
		shard_test(limit_around_a_group_cleans_up_and_times_out),
	};

	return test_main(argc, argv, tests);
}
