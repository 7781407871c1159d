/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_timeout.c: asyncio.timeout() as a scope.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program, but for one
 * thing that ASYNCIO.md decides: a scope that expired ends in -ETIMEDOUT even if its body
 * swallowed the cancel.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/future.h"
#include "runtime/sync/timeout.h"

/* "T" for a timeout, "CE" for a cancel, the number otherwise. */
static const char *name_of(int64_t rc)
{
	static char text[32];

	if (rc == -ETIMEDOUT)
		return "T";
	if (rc == -ECANCELED)
		return "CE";
	snprintf(text, sizeof(text), "%lld", (long long)rc);
	return text;
}

static int64_t return_in_time(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_sleep(5 * APUS_MS);

	assert_false(apus_timeout_expired(&t));
	rc = apus_timeout_end(&t, rc ? rc : 12);
	emit("%lld at %d", (long long)rc, (int)test_ms());
	ok(apus_sleep(20 * APUS_MS));
	emit("no late fire");
	return 0;
}

static void body_in_time_passes_its_result_and_disarms(void **state)
{
	ok(test_run(return_in_time, NULL));
	assert_trace("12 at 5 · no late fire");
}

static int64_t expire(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_sleep(APUS_SEC);

	assert_int_equal(rc, -ECANCELED);
	rc = apus_timeout_end(&t, rc);
	emit("%s %s %d %u", name_of(rc), yes_no(apus_timeout_expired(&t)), (int)test_ms(),
	     cancelling());
	ok(apus_sleep(APUS_MS));
	return 0;
}

static void body_out_of_time_is_cancelled_and_the_scope_times_out(void **state)
{
	ok(test_run(expire, NULL));
	assert_trace("T True 10 0");
}

/* Trace 31. */
static int64_t nested_inner_first(void *arg)
{
	struct apus_timeout outer, inner;

	apus_timeout_begin(&outer, 100 * APUS_MS);
	apus_timeout_begin(&inner, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&inner, apus_sleep(APUS_SEC));

	if (rc == -ETIMEDOUT)
		emit("inner %d %s", (int)test_ms(), yes_no(apus_timeout_expired(&outer)));
	rc = apus_timeout_end(&outer, apus_sleep(APUS_SEC));
	if (rc == -ETIMEDOUT)
		emit("outer %d", (int)test_ms());
	return cancelling();
}

static void nested_inner_expires_first_then_outer(void **state)
{
	ok(test_run(nested_inner_first, NULL));
	assert_trace("inner 10 False · outer 100");
}

/* Semantics 7. */
static int64_t nested_both(void *arg)
{
	struct apus_timeout outer, inner;

	apus_timeout_begin(&outer, 10 * APUS_MS);
	apus_timeout_begin(&inner, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&inner, apus_sleep(APUS_SEC));

	emit("inner %s %s %s %u", name_of(rc), yes_no(apus_timeout_expired(&inner)),
	     yes_no(apus_timeout_expired(&outer)), cancelling());
	rc = apus_timeout_end(&outer, rc);
	emit("outer %s %u", name_of(rc), cancelling());
	ok(apus_yield());
	return 0;
}

static void nested_both_expire_in_one_lap_only_the_outermost_reports(void **state)
{
	ok(test_run(nested_both, NULL));
	assert_trace("inner CE True True 1 · outer T 0");
}

static int64_t nested_three(void *arg)
{
	struct apus_timeout t[3];

	for (int i = 0; i < 3; i++)
		apus_timeout_begin(&t[i], 10 * APUS_MS);
	int64_t rc = apus_sleep(APUS_SEC);

	for (int i = 2; i >= 0; i--) {
		rc = apus_timeout_end(&t[i], rc);
		emit("%s %u", name_of(rc), cancelling());
	}
	return 0;
}

static void nested_three_expire_in_one_lap_only_the_outermost_reports(void **state)
{
	ok(test_run(nested_three, NULL));
	assert_trace("CE 2 · CE 1 · T 0");
}

static int64_t nested_inner_earlier_outer_between(void *arg)
{
	struct apus_timeout outer, inner;

	apus_timeout_begin(&outer, 10 * APUS_MS);
	apus_timeout_begin(&inner, 5 * APUS_MS);
	int64_t rc = apus_timeout_end(&inner, apus_sleep(APUS_SEC));

	emit("inner %s %s %u", name_of(rc), yes_no(apus_timeout_expired(&outer)), cancelling());
	ok(apus_yield());
	emit("between");
	rc = apus_timeout_end(&outer, apus_sleep(APUS_SEC));
	emit("outer %s %d %u", name_of(rc), (int)test_ms(), cancelling());
	return 0;
}

static void nested_inner_expires_body_goes_on_until_outer(void **state)
{
	ok(test_run(nested_inner_earlier_outer_between, NULL));
	assert_trace("inner T False 0 · between · outer T 10 0");
}

/* Trace 33. */
static int64_t foreign_cancel(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_SEC);
	apus_task_cancel(apus_task_self());
	int64_t rc = apus_timeout_end(&t, apus_sleep(20 * APUS_SEC));

	emit("%s %s %d", name_of(rc), yes_no(apus_timeout_expired(&t)), (int)test_ms());
	return rc;
}

static void foreign_cancel_is_not_a_timeout(void **state)
{
	assert_int_equal(test_run(foreign_cancel, NULL), -ECANCELED);
	assert_trace("CE False 0");
}

/* Trace 35. */
static int64_t zero_and_reschedule(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 0);
	emit("body starts");
	int64_t rc = apus_yield();

	if (rc == 0)
		emit("not here");
	rc = apus_timeout_end(&t, rc);
	emit("%s%d", name_of(rc), (int)test_ms());

	apus_timeout_begin(&t, 10 * APUS_MS);
	apus_timeout_reschedule(&t, apus_now() + 50 * APUS_MS);
	ok(apus_sleep(20 * APUS_MS));
	emit("alive %d", (int)test_ms());
	rc = apus_timeout_end(&t, apus_sleep(APUS_SEC));
	emit("%s %d", name_of(rc), (int)test_ms());
	ok(apus_sleep(APUS_SEC));
	emit("no late fire");
	return 0;
}

static void zero_expires_at_the_first_wait_and_reschedule_moves(void **state)
{
	ok(test_run(zero_and_reschedule, NULL));
	assert_trace("body starts · T0 · alive 20 · T 50 · no late fire");
}

static int64_t reschedule_to_now(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, APUS_SEC);
	ok(apus_yield());
	apus_timeout_reschedule(&t, apus_now());
	emit("%s", name_of(apus_yield()));
	emit("%s %d", name_of(apus_timeout_end(&t, 0)), (int)test_ms());
	return 0;
}

static void reschedule_to_now_expires_at_the_next_wait(void **state)
{
	ok(test_run(reschedule_to_now, NULL));
	assert_trace("CE · T 0");
}

static int64_t reschedule_never(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	apus_timeout_reschedule(&t, APUS_NEVER);
	ok(apus_sleep(APUS_SEC));
	emit("alive");
	apus_timeout_reschedule(&t, apus_now() + 5 * APUS_MS);
	int64_t rc = apus_timeout_end(&t, apus_sleep(APUS_SEC));

	emit("%s %d", name_of(rc), (int)test_ms());
	apus_timeout_begin(&t, APUS_NEVER);
	ok(apus_sleep(1000 * APUS_SEC));
	return apus_timeout_end(&t, 3);
}

static void never_sets_no_limit(void **state)
{
	assert_int_equal(test_run(reschedule_never, NULL), 3);
	assert_trace("alive · T 1005");
}

static int64_t negative_body_never_waits(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, -1);
	emit("body");
	int64_t rc = apus_timeout_end(&t, 5);

	emit("after %lld %s %u", (long long)rc, yes_no(apus_timeout_expired(&t)), cancelling());
	ok(apus_yield());
	ok(apus_yield());
	emit("alive");
	return 0;
}

static void body_that_never_waits_is_not_interrupted(void **state)
{
	ok(test_run(negative_body_never_waits, NULL));
	assert_trace("body · after 5 False 0 · alive");
}

/* Trace 37, and the verdict of ASYNCIO.md: the scope says -ETIMEDOUT all the same. */
static int64_t swallow(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	if (apus_sleep(APUS_SEC) == -ECANCELED)
		emit("swallowed");
	int64_t rc = apus_timeout_end(&t, 5);

	emit("%s %u", yes_no(apus_timeout_expired(&t)), cancelling());
	return rc;
}

static void cancel_swallowed_in_body_is_still_a_timeout(void **state)
{
	assert_int_equal(test_run(swallow, NULL), -ETIMEDOUT);
	assert_trace("swallowed · True 0");
}

static int64_t fail_while_expiring(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	assert_int_equal(apus_sleep(APUS_SEC), -ECANCELED);
	int64_t rc = apus_timeout_end(&t, -EPIPE);

	emit("%s %u", yes_no(apus_timeout_expired(&t)), cancelling());
	return rc == -EPIPE ? 0 : rc;
}

static void other_error_while_expiring_passes_through(void **state)
{
	ok(test_run(fail_while_expiring, NULL));
	assert_trace("True 0");
}

static int64_t error_in_time(void *arg)
{
	static const int64_t errors[] = {-EPIPE, -ECANCELED, -ETIMEDOUT, 0, 1, INT64_MAX};

	for (size_t i = 0; i < apus_countof(errors); i++) {
		struct apus_timeout t;

		apus_timeout_begin(&t, 10 * APUS_MS);
		assert_int_equal(apus_timeout_end(&t, errors[i]), errors[i]);
	}
	return 0;
}

static void whatever_came_in_time_passes_through(void **state)
{
	ok(test_run(error_in_time, NULL));
}

static int64_t cancel_pending_at_entry(void *arg)
{
	struct apus_timeout t;

	apus_task_cancel(apus_task_self());
	apus_timeout_begin(&t, 10 * APUS_MS);
	emit("%s %d", name_of(apus_sleep(APUS_SEC)), (int)test_ms());
	int64_t rc = apus_timeout_end(&t, apus_sleep(APUS_SEC));

	emit("%s %d %u", name_of(rc), (int)test_ms(), cancelling());
	return 0;
}

/* The count at entry is what the scope compares with. */
static void cancel_pending_at_entry_is_somebody_elses(void **state)
{
	ok(test_run(cancel_pending_at_entry, NULL));
	assert_trace("CE 0 · T 10 1");
}

/* Against another event of the same lap. */

struct canceller {
	struct apus_timer timer;
	struct apus_task *victim;
};

static void cancel_victim(struct apus_work *work)
{
	apus_task_cancel(apus_container_of(apus_timer_of(work), struct canceller, timer)->victim);
}

static int64_t time_out_or_ce(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&t, apus_sleep(APUS_SEC));

	emit("%s %s %u", name_of(rc), yes_no(apus_timeout_expired(&t)), cancelling());
	return rc;
}

/* Semantics 7, second half. */
static void foreign_cancel_in_the_lap_of_the_timeout_wins(void **state)
{
	for (int before = 0; before < 2; before++) {
		int64_t due_ns = apus_clock_read(&test_world.clock) + 10 * APUS_MS;
		struct canceller c;

		apus_timer_init(&c.timer, cancel_victim);
		if (before)
			apus_timer_arm(&c.timer, due_ns);
		c.victim = apus_spawn(time_out_or_ce, NULL);
		test_laps(1);
		if (!before)
			apus_timer_arm(&c.timer, due_ns);
		assert_int_equal(test_await(c.victim), -ECANCELED);
		assert_trace("CE True 1");
	}
}

struct setter {
	struct apus_timer timer;
	struct apus_future *future;
};

static void set_future(struct apus_work *work)
{
	struct setter *s = apus_container_of(apus_timer_of(work), struct setter, timer);

	if (!apus_future_done(s->future))
		ok(apus_future_set(s->future, 1));
}

static int64_t await_in_time(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&t, apus_future_await(arg));

	emit("%s %s %u", name_of(rc), yes_no(apus_timeout_expired(&t)), cancelling());
	return 0;
}

static void completion_in_the_lap_of_the_timeout_loses(void **state)
{
	for (int before = 0; before < 2; before++) {
		int64_t due_ns = apus_clock_read(&test_world.clock) + 10 * APUS_MS;
		struct apus_future f;
		struct setter s = {.future = &f};

		apus_future_init(&f);
		apus_timer_init(&s.timer, set_future);
		if (before)
			apus_timer_arm(&s.timer, due_ns);
		struct apus_task *t = apus_spawn(await_in_time, &f);

		test_laps(1);
		if (!before)
			apus_timer_arm(&s.timer, due_ns);
		ok(test_await(t));
		assert_trace("T True 0");
		assert_int_equal(apus_future_cancelled(&f), !before);
	}
}

static int64_t sleep_as_long_as_the_limit(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&t, apus_sleep(10 * APUS_MS));

	emit("%s %u", name_of(rc), cancelling());
	ok(apus_yield());
	emit("after");
	return 0;
}

static void sleep_as_long_as_the_limit_times_out(void **state)
{
	ok(test_run(sleep_as_long_as_the_limit, NULL));
	assert_trace("T 0 · after");
}

static int64_t compute_past_the_limit(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	apus_clock_set(&test_world.clock, apus_clock_read(&test_world.clock) + 20 * APUS_MS);
	/* No wait: the limit is long past, but nobody had the time to say so. */
	emit("%lld %s", (long long)apus_timeout_end(&t, 1), yes_no(apus_timeout_expired(&t)));
	ok(apus_sleep(20 * APUS_MS));
	return 0;
}

static void limit_that_passed_without_a_wait_is_not_an_expiry(void **state)
{
	ok(test_run(compute_past_the_limit, NULL));
	assert_trace("1 False");
}

/* Around an awaited task: it is cancelled, and waited for. */
static int64_t slow_to_unwind(void *arg)
{
	int64_t rc = apus_sleep(APUS_SEC);

	ok(apus_sleep(30 * APUS_MS));
	emit("unwound %d", (int)test_ms());
	return rc;
}

static int64_t limit_an_await(void *arg)
{
	struct apus_timeout t;

	apus_timeout_begin(&t, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&t, apus_await(apus_spawn(slow_to_unwind, NULL)));

	emit("%s %d %u", name_of(rc), (int)test_ms(), cancelling());
	return 0;
}

static void limit_around_an_await_waits_for_its_clean_up(void **state)
{
	ok(test_run(limit_an_await, NULL));
	assert_trace("unwound 40 · T 40 0");
}

/* Random nests of scopes: what comes out must follow from the deadlines alone. */

#define DEPTH 6

struct nest {
	int64_t limits_ns[DEPTH];
	int64_t sleep_ns;
	int depth;
};

static int64_t run_nest(void *arg)
{
	const struct nest *n = arg;
	struct apus_timeout scopes[DEPTH];
	int64_t start_ns = apus_now(), first_ns = INT64_MAX;

	for (int i = 0; i < n->depth; i++) {
		apus_timeout_begin(&scopes[i], n->limits_ns[i]);
		first_ns = apus_min(first_ns, n->limits_ns[i]);
	}
	int64_t rc = apus_sleep(n->sleep_ns);
	bool late = first_ns <= n->sleep_ns;

	assert_int_equal(rc, late ? -ECANCELED : 0);
	assert_int_equal(apus_now() - start_ns, apus_min(first_ns, n->sleep_ns));

	/* All scopes with the earliest deadline have expired; the outermost of them reports. */
	int outermost = -1;

	for (int i = n->depth - 1; late && i >= 0; i--)
		outermost = n->limits_ns[i] == first_ns ? i : outermost;
	for (int i = n->depth - 1; i >= 0; i--) {
		rc = apus_timeout_end(&scopes[i], rc);
		assert_int_equal(apus_timeout_expired(&scopes[i]),
				 late && n->limits_ns[i] == first_ns);
		assert_int_equal(rc, !late ? 0 : i > outermost ? -ECANCELED : -ETIMEDOUT);
	}
	assert_int_equal(cancelling(), 0);
	ok(apus_sleep(APUS_MS));
	return 0;
}

static void random_nests_report_at_the_outermost_that_expired(void **state)
{
	test_each_seed(seed, 2000)
	{
		uint64_t chance = seed;
		struct nest n = {.depth = 1 + (int)test_random_below(&chance, DEPTH)};

		/* Few different times, so that many expire together. */
		for (int i = 0; i < n.depth; i++)
			n.limits_ns[i] = 1 + (int64_t)test_random_below(&chance, 5);
		n.sleep_ns = 1 + (int64_t)test_random_below(&chance, 7);
		ok(test_run(run_nest, &n));
		assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(body_in_time_passes_its_result_and_disarms),
		shard_test(body_out_of_time_is_cancelled_and_the_scope_times_out),
		shard_test(nested_inner_expires_first_then_outer),
		shard_test(nested_both_expire_in_one_lap_only_the_outermost_reports),
		shard_test(nested_three_expire_in_one_lap_only_the_outermost_reports),
		shard_test(nested_inner_expires_body_goes_on_until_outer),
		shard_test(foreign_cancel_is_not_a_timeout),
		shard_test(zero_expires_at_the_first_wait_and_reschedule_moves),
		shard_test(reschedule_to_now_expires_at_the_next_wait),
		shard_test(never_sets_no_limit),
		shard_test(body_that_never_waits_is_not_interrupted),
		shard_test(cancel_swallowed_in_body_is_still_a_timeout),
		shard_test(other_error_while_expiring_passes_through),
		shard_test(whatever_came_in_time_passes_through),
		shard_test(cancel_pending_at_entry_is_somebody_elses),
		shard_test(foreign_cancel_in_the_lap_of_the_timeout_wins),
		shard_test(completion_in_the_lap_of_the_timeout_loses),
		shard_test(sleep_as_long_as_the_limit_times_out),
		shard_test(limit_that_passed_without_a_wait_is_not_an_expiry),
		shard_test(limit_around_an_await_waits_for_its_clean_up),
		shard_test(random_nests_report_at_the_outermost_that_expired),
	};

	return test_main(argc, argv, tests);
}
