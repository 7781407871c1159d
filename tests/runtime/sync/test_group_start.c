/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_group_start.c: children that say when they are ready (Trio's
 * nursery.start): until then they are their starter's, from then on the group's.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"
#include "runtime/sync/group.h"
#include "runtime/sync/timeout.h"

static struct apus_group group;
static int64_t last_end;

/* Runs @fn as the body of a group. Return: what the group came to. */
static int64_t in_a_group(void *arg)
{
	apus_task_fn fn = *(apus_task_fn *)arg;

	apus_group_begin(&group, APUS_GROUP_FAIL_FAST);
	last_end = apus_group_end(&group, fn(NULL));
	emit("group %lld %u at %d", (long long)last_end, cancelling(), (int)test_ms());
	apus_group_fini(&group);
	return last_end;
}

static int64_t run_group(apus_task_fn fn)
{
	return test_run(in_a_group, &fn);
}

/* Ready at 10 ms, ends at 30 ms with @arg. */
static int64_t server(void *arg)
{
	int rc = apus_sleep(10 * APUS_MS);

	if (!rc) {
		rc = apus_started(8080);
		emit("started %d", rc);
	}
	rc = rc ? rc : apus_sleep(20 * APUS_MS);
	emit("server %s", rc == -ECANCELED ? "CE" : "ends");
	return rc ? rc : (int64_t)(intptr_t)arg;
}

static int64_t start_server(void *arg)
{
	int64_t port = apus_group_start(&group, NULL, server, NULL, 0);

	emit("port %lld at %d", (long long)port, (int)test_ms());
	return port < 0 ? port : 0;
}

static void start_returns_when_the_child_is_ready_and_the_group_waits_for_its_end(void **state)
{
	ok(run_group(start_server));
	assert_trace("started 0 · port 8080 at 10 · server ends · group 0 0 at 30");
}

static int64_t start_one_that_fails_late(void *arg)
{
	int64_t rc = apus_group_start(&group, NULL, server, (void *)(intptr_t)-EDOM, 0);

	return rc < 0 ? rc : apus_sleep(APUS_SEC);
}

static void error_of_a_started_child_is_the_groups(void **state)
{
	assert_int_equal(run_group(start_one_that_fails_late), -EDOM);
	assert_trace("started 0 · server ends · group -33 0 at 30");
}

/* Without getting ready. */

static int64_t fail_early(void *arg)
{
	int rc = apus_sleep(5 * APUS_MS);

	return rc ? rc : (int64_t)(intptr_t)arg;
}

static int64_t start_failures(void *arg)
{
	emit("%lld", (long long)apus_group_start(&group, NULL, fail_early,
						 (void *)(intptr_t)-EADDRINUSE, 0));
	emit("%lld", (long long)apus_group_start(&group, NULL, fail_early, (void *)5, 0));
	emit("at %d", (int)test_ms());
	return 0;
}

static void child_that_ends_before_gives_its_error_to_the_starter_only(void **state)
{
	ok(run_group(start_failures));
	assert_trace("-98 · -71 · at 10 · group 0 0 at 10");
}

/* Cancels. */

static int64_t start_in_time(void *arg)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, (int64_t)(intptr_t)arg);
	int64_t rc = apus_timeout_end(&limit, apus_group_start(&group, NULL, server, NULL, 0));

	emit("rc %lld at %d, %zu live", (long long)rc, (int)test_ms(), group.live);
	return 0;
}

static int64_t start_within_5_ms(void *arg)
{
	return start_in_time((void *)(5 * APUS_MS));
}

static void cancel_of_the_starter_ends_the_child_before_it_returns(void **state)
{
	ok(run_group(start_within_5_ms));
	assert_trace("server CE · rc -110 at 5, 0 live · group 0 0 at 5");
}

static int64_t slow_to_clean_up(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	ok(apus_sleep(7 * APUS_MS));
	emit("started %d", apus_started(1));
	return arg ? 3 : rc;
}

static int64_t cancel_slow_ones(void *arg)
{
	for (intptr_t swallows = 0; swallows < 2; swallows++) {
		struct apus_timeout limit;

		apus_timeout_begin(&limit, 5 * APUS_MS);
		int64_t rc = apus_group_start(&group, NULL, slow_to_clean_up, (void *)swallows, 0);

		emit("%lld at %d", (long long)rc, (int)test_ms());
		assert_int_equal(apus_timeout_end(&limit, rc), -ETIMEDOUT);
	}
	return 0;
}

static void child_that_gets_ready_after_the_cancel_is_told_and_stays_outside(void **state)
{
	ok(run_group(cancel_slow_ones));
	assert_trace("started -125 · -125 at 12 · started -125 · -125 at 24 · group 0 0 at 24");
}

static struct apus_task *starter;

static int64_t ready_then_cancels_starter(void *arg)
{
	ok(apus_started(1));
	assert_true(apus_task_cancel(starter));
	int rc = apus_sleep(20 * APUS_MS);

	emit("child %s", rc ? "CE" : "ends");
	return rc;
}

static int64_t start_and_be_cancelled(void *arg)
{
	starter = apus_task_self();
	int64_t rc = apus_group_start(&group, NULL, ready_then_cancels_starter, NULL, 0);

	emit("rc %lld, %zu live", (long long)rc, group.live);
	apus_task_uncancel(starter);
	return 0;
}

static void cancel_in_the_lap_of_getting_ready_leaves_the_child_in_the_group(void **state)
{
	ok(run_group(start_and_be_cancelled));
	assert_trace("rc -125, 1 live · child ends · group 0 0 at 20");
}

static int64_t fail_then_cancel_starter(void *arg)
{
	assert_true(apus_task_cancel(starter));
	return -EDOM;
}

static int64_t start_what_fails_and_cancels(void *arg)
{
	starter = apus_task_self();
	int64_t rc = apus_group_start(&group, NULL, fail_then_cancel_starter, NULL, 0);

	emit("rc %lld, %zu live", (long long)rc, group.live);
	apus_task_uncancel(starter);
	return 0;
}

/* The cancel reaches the child, which is at its end; the starter waits for that. */
static void cancel_by_a_child_that_ends_at_once_leaves_nothing_behind(void **state)
{
	ok(run_group(start_what_fails_and_cancels));
	assert_trace("rc -125, 0 live · group 0 0 at 0");
}

/* The group and its starting children. */

static int64_t fail_at_5_ms(void *arg)
{
	int rc = apus_sleep(5 * APUS_MS);

	return rc ? rc : -ERANGE;
}

static int64_t start_beside_a_failure(void *arg)
{
	ok(apus_group_spawn(&group, NULL, fail_at_5_ms, NULL, 0));
	return start_server(NULL);
}

static void failing_sibling_cancels_the_body_and_so_what_it_starts(void **state)
{
	assert_int_equal(run_group(start_beside_a_failure), -ERANGE);
	assert_trace("server CE · port -125 at 5 · group -34 0 at 5");
}

static int64_t start_from_outside(void *arg)
{
	int64_t port = apus_group_start(&group, NULL, server, NULL, 0);

	emit("port %lld at %d", (long long)port, (int)test_ms());
	return 0;
}

static int64_t let_another_start(void *arg)
{
	apus_task_fn *outside = arg;

	apus_group_begin(&group, APUS_GROUP_FAIL_FAST);
	struct apus_task *t = apus_spawn(*outside, NULL);

	ok(apus_group_spawn(&group, NULL, fail_at_5_ms, NULL, 0));
	ok(apus_yield());
	int64_t rc = apus_group_end(&group, 0);

	emit("group %lld at %d", (long long)rc, (int)test_ms());
	apus_group_fini(&group);
	return apus_await(t);
}

/* A task outside of the group is not aborted with it; what it started is, from when it is ready. */
static void abort_reaches_a_child_of_an_outside_starter_when_it_gets_ready(void **state)
{
	apus_task_fn outside = start_from_outside;

	ok(test_run(let_another_start, &outside));
	assert_trace("started 0 · port 8080 at 10 · server CE · group -34 at 10");
}

static int64_t start_when_over(void *arg)
{
	apus_group_begin(&group, APUS_GROUP_FAIL_FAST);
	apus_group_cancel(&group);
	emit("%lld", (long long)apus_group_start(&group, NULL, server, NULL, 0));
	ok(apus_group_end(&group, 0));
	emit("%lld", (long long)apus_group_start(&group, NULL, server, NULL, 0));
	apus_group_fini(&group);
	return 0;
}

static void group_that_aborts_or_is_over_starts_nothing(void **state)
{
	ok(test_run(start_when_over, NULL));
	assert_trace("-125 · -32");
}

/* Misuse of apus_started(). */

static int64_t says_it_twice(void *arg)
{
	emit("%d", apus_started(-1));
	emit("%d", apus_started(INT64_MAX));
	emit("%d", apus_started(2));
	return 0;
}

static int64_t never_asked(void *arg)
{
	emit("%d", apus_started(1));
	return 0;
}

static int64_t misuse_started(void *arg)
{
	assert_true(apus_group_start(&group, NULL, says_it_twice, NULL, 0) == INT64_MAX);
	ok(apus_group_spawn(&group, NULL, never_asked, NULL, 0));
	return never_asked(NULL);
}

static void started_twice_or_by_one_who_was_not_asked_is_an_error(void **state)
{
	ok(run_group(misuse_started));
	assert_trace("-22 · 0 · -114 · -22 · -22 · group 0 0 at 0");
	assert_int_equal(apus_started(0), -EINVAL); /* by no task */
}

/* The argument is copied, and the tree shows who waits for whom. */

static int64_t sum(void *arg)
{
	const int64_t *numbers = arg;

	return apus_started(numbers[0] + numbers[1]);
}

static int64_t start_sum(void *arg)
{
	int64_t numbers[] = {40, 2};

	return apus_group_start(&group, &(struct apus_spawn_options){.name = "sum"}, sum, numbers,
				sizeof(numbers)) == 42
		       ? 0
		       : -EINVAL;
}

static void argument_is_copied(void **state)
{
	ok(run_group(start_sum));
	assert_trace("group 0 0 at 0");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(start_returns_when_the_child_is_ready_and_the_group_waits_for_its_end),
		shard_test(error_of_a_started_child_is_the_groups),
		shard_test(child_that_ends_before_gives_its_error_to_the_starter_only),
		shard_test(cancel_of_the_starter_ends_the_child_before_it_returns),
		shard_test(child_that_gets_ready_after_the_cancel_is_told_and_stays_outside),
		shard_test(cancel_in_the_lap_of_getting_ready_leaves_the_child_in_the_group),
		shard_test(cancel_by_a_child_that_ends_at_once_leaves_nothing_behind),
		shard_test(failing_sibling_cancels_the_body_and_so_what_it_starts),
		shard_test(abort_reaches_a_child_of_an_outside_starter_when_it_gets_ready),
		shard_test(group_that_aborts_or_is_over_starts_nothing),
		shard_test(started_twice_or_by_one_who_was_not_asked_is_an_error),
		shard_test(argument_is_copied),
	};

	return test_main(argc, argv, tests);
}
