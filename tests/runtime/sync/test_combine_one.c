/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_combine_one.c: waiting in other ways for one: wait_for, shield and the
 * staggered race. The ways to wait for several are in test_combine.c.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program; the numbers
 * are those of ASYNCIO.md §4.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/combine.h"

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_10_s(void *arg)
{
	return apus_sleep(10 * APUS_SEC);
}

/* Sleeps, then comes to something. */
struct plan {
	int64_t sleep_ms, result;
	const char *at_end, *at_cancel; /* what it says then; NULL: nothing */
	int64_t cleanup_ms;             /* how long it takes to unwind */
};

static int64_t follow(void *arg)
{
	const struct plan *p = arg;
	int rc = apus_sleep(p->sleep_ms * APUS_MS);

	if (rc) {
		if (p->at_cancel)
			emit("%s", p->at_cancel);
		if (p->cleanup_ms)
			ok(apus_sleep(p->cleanup_ms * APUS_MS));
		return rc;
	}
	if (p->at_end)
		emit("%s %d", p->at_end, (int)test_ms());
	return p->result;
}

static struct apus_task *spawn_plan(struct plan p)
{
	return apus_spawn_with(&(struct apus_spawn_options){0}, follow, &p, sizeof(p));
}

/* wait_for. */

static int64_t emit_ran(void *arg)
{
	emit("ran");
	return 0;
}

/* Trace 23. */
static int64_t wait_for_zero(void *arg)
{
	struct apus_task *done = apus_spawn(return_arg, as_arg('d'));

	ok(apus_yield());
	if (apus_wait_for(apus_spawn(emit_ran, NULL), 0) == -ETIMEDOUT)
		emit("TimeoutError %u", cancelling());
	if (apus_wait_for(apus_spawn(emit_ran, NULL), -5) == -ETIMEDOUT)
		emit("TimeoutError %u", cancelling());
	emit("%c", (int)apus_wait_for(done, 0));
	return 0;
}

static void wait_for_nothing_never_starts_the_task(void **state)
{
	ok(test_run(wait_for_zero, NULL));
	assert_trace("TimeoutError 0 · TimeoutError 0 · d");
}

static int64_t swallow_and_return_42(void *arg)
{
	return apus_sleep(APUS_SEC) == -ECANCELED ? 42 : 0;
}

static int64_t fail_in_cleanup(void *arg)
{
	return apus_sleep(APUS_SEC) == -ECANCELED ? -EDOM : 0;
}

/* Traces 25 and 27. */
static int64_t wait_for_the_stubborn(void *arg)
{
	int64_t rc = apus_wait_for(apus_spawn(swallow_and_return_42, NULL), 10 * APUS_MS);

	emit("%lld %d %u", (long long)rc, (int)test_ms(), cancelling());
	rc = apus_wait_for(apus_spawn(fail_in_cleanup, NULL), 10 * APUS_MS);
	emit("%lld %d %u", (long long)rc, (int)test_ms(), cancelling());
	return 0;
}

static void wait_for_gives_what_the_cancelled_task_came_to(void **state)
{
	ok(test_run(wait_for_the_stubborn, NULL));
	assert_trace("42 10 0 · -33 20 0");
}

static int64_t wait_for_slow_cleanup(void *arg)
{
	int64_t rc =
		apus_wait_for(spawn_plan((struct plan){
				      .sleep_ms = 1000, .at_cancel = "inner CE", .cleanup_ms = 30}),
			      10 * APUS_MS);

	emit("%s %d", rc == -ETIMEDOUT ? "T" : "no", (int)test_ms());
	return 0;
}

static void wait_for_waits_for_the_clean_up(void **state)
{
	ok(test_run(wait_for_slow_cleanup, NULL));
	assert_trace("inner CE · T 40");
}

static int64_t wait_for_in_time(void *arg)
{
	emit("%lld", (long long)apus_wait_for(spawn_plan((struct plan){.sleep_ms = 5, .result = 9}),
					      10 * APUS_MS));
	emit("%lld", (long long)apus_wait_for(spawn_plan((struct plan){.sleep_ms = 5, .result = 8}),
					      APUS_NEVER));
	emit("%d", apus_wait_for(NULL, APUS_MS) == -ENOMEM);
	ok(apus_sleep(APUS_SEC));
	return 0;
}

static void wait_for_in_time_gives_the_result(void **state)
{
	ok(test_run(wait_for_in_time, NULL));
	assert_trace("9 · 8 · 1");
}

static int64_t wait_for_ten_seconds(void *arg)
{
	int64_t rc =
		apus_wait_for(spawn_plan((struct plan){.sleep_ms = 20000, .at_cancel = "inner CE"}),
			      10 * APUS_SEC);

	if (rc == -ECANCELED)
		emit("outer CE %u", cancelling());
	return rc;
}

static void cancel_of_wait_for_is_passed_on_and_not_swallowed(void **state)
{
	struct apus_task *t = apus_spawn(wait_for_ten_seconds, NULL);

	test_laps(2);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("inner CE · outer CE 1");
}

/* shield. */

static struct apus_task *shielded;

static int64_t shield_it(void *arg)
{
	int64_t rc = apus_shield(apus_task_get(shielded));

	if (rc == -ECANCELED)
		emit("outer CE %d", (int)test_ms());
	return rc;
}

static void cancel_of_shield_does_not_reach_the_task(void **state)
{
	shielded = spawn_plan((struct plan){
		.sleep_ms = 50, .result = 1, .at_end = "inner done", .at_cancel = "inner CE"});
	struct apus_task *w = apus_spawn(shield_it, NULL);

	test_laps(2);
	test_advance(10 * APUS_MS);
	apus_task_cancel(w);
	test_laps(1);
	emit("%s %s", test_state(w), test_state(shielded));
	emit("%lld", (long long)test_await(shielded));
	assert_int_equal(test_await(w), -ECANCELED);
	assert_trace("outer CE 10 · cancelled pending · inner done 50 · 1");
}

/* Trace 19. */
static void cancel_of_the_shielded_task_is_the_shield_s(void **state)
{
	shielded = apus_spawn(sleep_10_s, NULL);
	struct apus_task *w = apus_spawn(shield_it, NULL);

	test_laps(2);
	apus_task_cancel(shielded);
	emit("%s", yes_no(test_await(w) == -ECANCELED));
	assert_trace("outer CE 0 · True");
	assert_int_equal(test_await(shielded), -ECANCELED);
}

/* Trace 29. */
static int64_t shield_in_task(void *arg)
{
	return apus_shield(arg);
}

static int64_t wait_for_a_shield(void *arg)
{
	struct apus_task *inner = spawn_plan((struct plan){.sleep_ms = 50, .result = 'd'});
	int64_t rc = apus_wait_for(apus_spawn(shield_in_task, apus_task_get(inner)), 10 * APUS_MS);

	if (rc == -ETIMEDOUT)
		emit("TimeoutError %s", test_state(inner));
	rc = apus_await(inner);
	emit("%s %d", rc == 'd' ? "done" : "no", (int)test_ms());
	return 0;
}

static void limit_around_a_shield_spares_the_task(void **state)
{
	ok(test_run(wait_for_a_shield, NULL));
	assert_trace("TimeoutError pending · done 50");
}

static int64_t fail_later(void *arg)
{
	ok(apus_sleep(10 * APUS_MS));
	return -EDOM;
}

static int64_t shield_and_leave(void *arg)
{
	return apus_shield(apus_spawn_with(&(struct apus_spawn_options){.name = "lonely"},
					   fail_later, NULL, 0));
}

static void error_of_an_abandoned_shielded_task_is_reported(void **state)
{
	static struct test_capture capture;
	struct apus_task *w = apus_spawn(shield_and_leave, NULL);

	test_laps(2);
	apus_task_cancel(w);
	test_capture_begin(&capture);
	test_laps(1);
	apus_clock_set(&test_world.clock, TEST_START_NS + 10 * APUS_MS);
	test_laps(3);
	test_capture_end(&capture);
	assert_int_equal(test_await(w), -ECANCELED);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	assert_int_equal(test_count(capture.text, "lonely"), 1);
}

/* The staggered race. */

struct race {
	int64_t ms, result;
	const char *name;
};

static int64_t run_race(void *arg)
{
	const struct race *r = arg;

	emit("%s starts %d", r->name, (int)test_ms());
	int rc = apus_sleep(r->ms * APUS_MS);

	emit("%s %s %d", r->name, rc ? "CE" : "ends", (int)test_ms());
	return rc ? rc : r->result;
}

static int64_t race_fails_then_wins(void *arg)
{
	struct race races[4] = {{5, -EDOM, "a"}, {50, 1, "b"}, {30, 2, "c"}, {1, 3, "d"}};
	struct apus_racer racers[4];

	for (int i = 0; i < 4; i++)
		racers[i] = (struct apus_racer){.fn = run_race, .arg = &races[i]};
	int64_t rc = apus_race_staggered(racers, 4, 30 * APUS_MS);

	emit("%lld wins %d", (long long)rc, (int)test_ms());
	assert_int_equal(racers[0].result, -EDOM);
	assert_int_equal(racers[1].result, 1);
	assert_int_equal(racers[2].result, -ECANCELED);
	assert_int_equal(racers[3].result, -EINPROGRESS);
	return rc;
}

static void race_starts_the_next_on_failure_or_delay(void **state)
{
	/* a fails at 5: b starts at once; c after the delay, at 35, too late to win. */
	assert_int_equal(test_run(race_fails_then_wins, NULL), 1);
	assert_trace("a starts 0 · a ends 5 · b starts 5 · c starts 35 · b ends 55 · c CE 55 · "
		     "1 wins 55");
}

static int64_t race_all_fail(void *arg)
{
	struct race races[3] = {{5, -EDOM, "a"}, {5, -ERANGE, "b"}, {5, -EIO, "c"}};
	struct apus_racer racers[3];

	for (int i = 0; i < 3; i++)
		racers[i] = (struct apus_racer){.fn = run_race, .arg = &races[i]};
	int64_t rc = apus_race_staggered(racers, 3, APUS_NEVER);

	emit("%lld", (long long)rc);
	return 0;
}

static void race_that_all_lose_gives_the_last_error(void **state)
{
	ok(test_run(race_all_fail, NULL));
	assert_trace(
		"a starts 0 · a ends 5 · b starts 5 · b ends 10 · c starts 10 · c ends 15 · -5");
}

static int64_t race_of_two(void *arg)
{
	struct race races[2] = {{1000, 0, "a"}, {1000, 0, "b"}};
	struct apus_racer racers[2];

	assert_int_equal(apus_race_staggered(racers, 0, 0), -EINVAL);
	for (int i = 0; i < 2; i++)
		racers[i] = (struct apus_racer){.fn = run_race, .arg = &races[i]};
	return apus_race_staggered(racers, 2, 10 * APUS_MS);
}

static void cancel_of_a_race_cancels_and_waits_for_all(void **state)
{
	struct apus_task *t = apus_spawn(race_of_two, NULL);

	test_laps(2);
	test_advance(20 * APUS_MS);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("a starts 0 · b starts 10 · a CE 20 · b CE 20");
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(wait_for_nothing_never_starts_the_task),
		shard_test(wait_for_gives_what_the_cancelled_task_came_to),
		shard_test(wait_for_waits_for_the_clean_up),
		shard_test(wait_for_in_time_gives_the_result),
		shard_test(cancel_of_wait_for_is_passed_on_and_not_swallowed),
		shard_test(cancel_of_shield_does_not_reach_the_task),
		shard_test(cancel_of_the_shielded_task_is_the_shield_s),
		shard_test(limit_around_a_shield_spares_the_task),
		shard_test(error_of_an_abandoned_shielded_task_is_reported),
		shard_test(race_starts_the_next_on_failure_or_delay),
		shard_test(race_that_all_lose_gives_the_last_error),
		shard_test(cancel_of_a_race_cancels_and_waits_for_all),
	};

	return test_main(argc, argv, tests);
}
