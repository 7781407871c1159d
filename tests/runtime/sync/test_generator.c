/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_generator.c: asyncio's async generators: values one at a time, sent and
 * thrown into, closed once.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/timeout.h"

static void *as_value(int64_t number)
{
	return (void *)(intptr_t)number;
}

static int number_of(const void *value)
{
	return (int)(intptr_t)value;
}

static int64_t count_to_three(struct apus_generator *g, void *arg)
{
	emit("begins");
	for (int i = 1; i <= 3; i++) {
		int64_t rc = apus_generator_yield(g, as_value(i), NULL);

		if (rc) {
			emit("ends by %s", rc == APUS_GENERATOR_EXIT ? "exit"
					   : rc == -ECANCELED        ? "CE"
								     : "error");
			return rc;
		}
	}
	emit("ends");
	return 0;
}

/* next. */

static int64_t take_all(void *arg)
{
	struct apus_generator g;
	void *value;
	int64_t rc;

	apus_generator_open(&g, count_to_three, NULL);
	emit("open");
	while ((rc = apus_generator_next(&g, &value)) > 0)
		emit("%d", number_of(value));
	emit("%lld", (long long)rc);
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_close(&g));
	return 0;
}

static void next_gives_each_value_and_then_zero(void **state)
{
	struct apus_task *t = apus_spawn(take_all, NULL);

	test_laps(1); /* no lap goes by for a value that is there */
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_trace("open · begins · 1 · 2 · 3 · ends · 0 · 0 · 0");
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

static int64_t open_and_close(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_to_three, NULL);
	emit("%lld", (long long)apus_generator_close(&g));
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_close(&g));
	return 0;
}

static void close_before_the_first_value_never_runs_the_body(void **state)
{
	ok(test_run(open_and_close, NULL));
	assert_trace("0 · 0 · 0");
}

static int64_t fail_after_one(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, as_value(1), NULL);

	return rc ? rc : -EDOM;
}

static int64_t take_the_error(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, fail_after_one, NULL);
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_close(&g));
	return 0;
}

/* As in Python: the error comes once, after it the generator is at its end. */
static void error_of_the_body_comes_out_of_next_once(void **state)
{
	ok(test_run(take_the_error, NULL));
	assert_trace("1 · -33 · 0 · 0");
}

/* send. */

static int64_t echo_sum(struct apus_generator *g, void *arg)
{
	int sum = 0;

	for (;;) {
		void *sent = as_value(-1);
		int64_t rc = apus_generator_yield(g, as_value(sum), &sent);

		if (rc)
			return rc;
		sum += number_of(sent);
	}
}

static int64_t send_some(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, echo_sum, NULL);
	emit("%d", apus_generator_send(&g, as_value(5), &value) == -EINVAL);
	emit("%lld", (long long)apus_generator_send(&g, NULL, &value));
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(apus_generator_send(&g, as_value(i), &value), 1);
		emit("%d", number_of(value));
	}
	assert_int_equal(apus_generator_next(&g, &value), 1); /* sends NULL */
	emit("%d", number_of(value));
	return apus_generator_close(&g);
}

static void send_gives_the_body_a_value(void **state)
{
	ok(test_run(send_some, NULL));
	assert_trace("1 · 1 · 1 · 3 · 6 · 10 · 10");
}

/* throw. */

static int64_t catch_and_go_on(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, as_value(1), NULL);

	if (rc == -EDOM) {
		emit("caught");
		rc = apus_generator_yield(g, as_value(2), NULL);
	}
	return rc;
}

static int64_t throw_some(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, catch_and_go_on, NULL);
	assert_int_equal(apus_generator_next(&g, &value), 1);
	emit("%lld", (long long)apus_generator_throw(&g, -EDOM, &value));
	emit("%d", number_of(value));
	emit("%lld", (long long)apus_generator_throw(&g, -ERANGE, &value));
	emit("%lld", (long long)apus_generator_close(&g));
	return 0;
}

static void throw_makes_yield_fail(void **state)
{
	ok(test_run(throw_some, NULL));
	assert_trace("caught · 1 · 2 · -34 · 0");
}

static int64_t throw_into_the_new(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_to_three, NULL);
	emit("%lld", (long long)apus_generator_throw(&g, -EDOM, &value));
	emit("%lld", (long long)apus_generator_next(&g, &value));
	return apus_generator_close(&g);
}

/* As in Python: the body never begins, and the generator has ended. */
static void throw_before_the_first_value_comes_straight_back(void **state)
{
	ok(test_run(throw_into_the_new, NULL));
	assert_trace("-33 · 0");
}

/* close. */

static int64_t close_in_the_middle(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_to_three, NULL);
	assert_int_equal(apus_generator_next(&g, &value), 1);
	emit("%lld", (long long)apus_generator_close(&g));
	emit("%lld", (long long)apus_generator_next(&g, &value));
	emit("%lld", (long long)apus_generator_close(&g));
	return 0;
}

static void close_in_the_middle_ends_the_body(void **state)
{
	ok(test_run(close_in_the_middle, NULL));
	assert_trace("begins · ends by exit · 0 · 0 · 0");
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

static int64_t clean_up_slowly(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, as_value(1), NULL);

	ok(apus_sleep(10 * APUS_MS));
	emit("cleaned %d", (int)test_ms());
	return arg ? -EDOM : rc;
}

static int64_t close_and_wait(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, clean_up_slowly, arg);
	assert_int_equal(apus_generator_next(&g, &value), 1);
	int64_t rc = apus_generator_close(&g);

	emit("%lld at %d", (long long)rc, (int)test_ms());
	return 0;
}

static void close_waits_for_the_clean_up_and_gives_its_error(void **state)
{
	ok(test_run(close_and_wait, NULL));
	ok(test_run(close_and_wait, "fail"));
	assert_trace("cleaned 10 · 0 at 10 · cleaned 20 · -33 at 20");
}

static int64_t yield_when_closed(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, as_value(1), NULL);

	if (rc == APUS_GENERATOR_EXIT)
		rc = apus_generator_yield(g, as_value(2), NULL);
	emit("%s", rc == -ECANCELED ? "CE" : "other");
	return rc;
}

static int64_t close_the_stubborn(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, yield_when_closed, NULL);
	assert_int_equal(apus_generator_next(&g, &value), 1);
	emit("%d", apus_generator_close(&g) == -EPROTO);
	return 0;
}

static void body_that_yields_when_closed_is_cancelled(void **state)
{
	ok(test_run(close_the_stubborn, NULL));
	assert_trace("CE · 1");
	test_drain();
}

/* Bodies that suspend, consumers that are cancelled. */

static int64_t one_each_10_ms(struct apus_generator *g, void *arg)
{
	for (int i = 1; i <= 3; i++) {
		int64_t rc = apus_sleep(10 * APUS_MS);

		if (rc) {
			emit("body CE %d", (int)test_ms());
			return rc;
		}
		rc = apus_generator_yield(g, as_value(i), NULL);
		if (rc)
			return rc;
	}
	return 0;
}

static int64_t take_slowly(void *arg)
{
	struct apus_generator g;
	void *value;
	int64_t rc;

	apus_generator_open(&g, one_each_10_ms, NULL);
	while ((rc = apus_generator_next(&g, &value)) > 0)
		emit("%d at %d", number_of(value), (int)test_ms());
	if (rc == -ECANCELED)
		emit("consumer CE");
	emit("close %lld", (long long)apus_generator_close(&g));
	return rc;
}

static void body_that_suspends_suspends_its_consumer(void **state)
{
	ok(test_run(take_slowly, NULL));
	assert_trace("1 at 10 · 2 at 20 · 3 at 30 · close 0");
}

static void cancel_of_the_consumer_reaches_the_body(void **state)
{
	struct apus_task *t = apus_spawn(take_slowly, NULL);

	test_laps(1);
	test_advance(15 * APUS_MS);
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
	assert_trace("1 at 10 · body CE 15 · consumer CE · close 0");
}

static int64_t take_within_a_limit(void *arg)
{
	struct apus_generator g;
	struct apus_timeout limit;
	void *value;
	int64_t rc;

	apus_generator_open(&g, one_each_10_ms, NULL);
	apus_timeout_begin(&limit, 25 * APUS_MS);
	while ((rc = apus_generator_next(&g, &value)) > 0)
		emit("%d", number_of(value));
	rc = apus_timeout_end(&limit, rc);
	emit("%s %u", rc == -ETIMEDOUT ? "T" : "no", cancelling());
	return apus_generator_close(&g);
}

static void limit_around_next_times_out(void **state)
{
	ok(test_run(take_within_a_limit, NULL));
	assert_trace("1 · 2 · body CE 25 · T 0");
}

static struct apus_generator shared;

static int64_t take_one_of_shared(void *arg)
{
	void *value;

	return apus_generator_next(&shared, &value);
}

static void second_consumer_at_once_is_ebusy(void **state)
{
	apus_generator_open(&shared, one_each_10_ms, NULL);
	struct apus_task *a = apus_spawn(take_one_of_shared, NULL);
	struct apus_task *b = apus_spawn(take_one_of_shared, NULL);

	assert_int_equal(test_await(b), -EBUSY);
	assert_int_equal(test_await(a), 1);
	/* One after the other, several tasks may. */
	a = apus_spawn(take_one_of_shared, NULL);
	assert_int_equal(test_await(a), 1);
	a = apus_spawn(take_one_of_shared, NULL);
	assert_int_equal(test_await(a), 1);
	a = apus_spawn(take_one_of_shared, NULL);
	assert_int_equal(test_await(a), 0);
	test_drain();
}

/* A generator over a generator, a long one, and its cost in laps. */

static int64_t numbers(struct apus_generator *g, void *arg)
{
	for (intptr_t i = 0; i < (intptr_t)arg; i++) {
		int64_t rc = apus_generator_yield(g, as_value(i), NULL);

		if (rc)
			return rc;
	}
	return 0;
}

static int64_t doubled(struct apus_generator *g, void *arg)
{
	struct apus_generator inner;
	void *value;
	int64_t rc, closed;

	apus_generator_open(&inner, numbers, arg);
	while ((rc = apus_generator_next(&inner, &value)) > 0) {
		rc = apus_generator_yield(g, as_value(2 * number_of(value)), NULL);
		if (rc)
			break;
	}
	closed = apus_generator_close(&inner);
	return rc ? rc : closed;
}

static int64_t sum_doubled(void *arg)
{
	struct apus_generator g;
	void *value;
	int64_t rc, sum = 0;

	apus_generator_open(&g, doubled, arg);
	while ((rc = apus_generator_next(&g, &value)) > 0)
		sum += number_of(value);
	assert_int_equal(rc, 0);
	ok((int)apus_generator_close(&g));
	return sum;
}

static void generators_nest(void **state)
{
	assert_int_equal(test_run(sum_doubled, as_value(1000)), 1000 * 999);
}

static int64_t close_nested_early(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, doubled, as_value(1000));
	for (int i = 0; i < 5; i++)
		assert_int_equal(apus_generator_next(&g, &value), 1);
	return apus_generator_close(&g);
}

static void close_of_the_outer_closes_the_inner(void **state)
{
	ok(test_run(close_nested_early, NULL));
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
}

static int64_t count_laps(void *arg)
{
	const bool *stop = arg;
	int64_t laps = 0;

	for (; !*stop; laps++)
		ok(apus_yield());
	return laps;
}

static int64_t take_many(void *arg)
{
	bool *stop = arg;
	int64_t sum = sum_doubled(as_value(2000));

	*stop = true;
	return sum;
}

static void long_generator_lets_others_run(void **state)
{
	bool stop = false;
	struct apus_task *busy = apus_spawn(take_many, &stop);
	struct apus_task *other = apus_spawn(count_laps, &stop);

	assert_int_equal(test_await(busy), 2000 * 1999);
	/* 2000 values at 128 operations a lap: at the least fifteen laps. */
	assert_in_range(test_await(other), 15, 100);
}

static int open_with_one_task_at_most(void **state)
{
	return test_open_with(&(struct apus_shard_options){.tasks_max = 1});
}

static int64_t take_without_memory(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_to_three, NULL);
	emit("%d", apus_generator_next(&g, &value) == -ENOMEM);
	return apus_generator_close(&g);
}

static void first_value_without_memory_is_enomem(void **state)
{
	ok(test_run(take_without_memory, NULL));
	assert_trace("1");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(next_gives_each_value_and_then_zero),
		shard_test(close_before_the_first_value_never_runs_the_body),
		shard_test(error_of_the_body_comes_out_of_next_once),
		shard_test(send_gives_the_body_a_value),
		shard_test(throw_makes_yield_fail),
		shard_test(throw_before_the_first_value_comes_straight_back),
		shard_test(close_in_the_middle_ends_the_body),
		shard_test(close_waits_for_the_clean_up_and_gives_its_error),
		shard_test(body_that_yields_when_closed_is_cancelled),
		shard_test(body_that_suspends_suspends_its_consumer),
		shard_test(cancel_of_the_consumer_reaches_the_body),
		shard_test(limit_around_next_times_out),
		shard_test(second_consumer_at_once_is_ebusy),
		shard_test(generators_nest),
		shard_test(close_of_the_outer_closes_the_inner),
		shard_test(long_generator_lets_others_run),
		shard_test_with(first_value_without_memory_is_enomem, open_with_one_task_at_most),
	};

	return test_main(argc, argv, tests);
}
