/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_promise_run.c: apus_promise_run(): what a function on another shard returns,
 * as a future; which has an end, whatever keeps the function from beginning.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/future.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

static struct {
	unsigned int shard;
	apus_task_fn fn;
	struct apus_promise *promise; /* while its future is awaited */
	int rc;                       /* of the run */
	unsigned int ran;             /* bodies */
	bool begun, ended;            /* the last of them */
	unsigned int unhandled;
} want;

static int64_t run_and_await(void *arg)
{
	struct apus_promise *p;

	ok(apus_promise_open(&p));
	want.promise = p;
	want.rc = apus_promise_run(p, want.shard, want.fn, arg);

	int64_t rc = apus_future_await(apus_promise_future(p));

	apus_promise_close(p);
	return cross_outcome(rc);
}

static void on_unhandled(const struct apus_unhandled *what, void *arg)
{
	want.unhandled++;
}

static void begin(unsigned int shard, apus_task_fn fn, uint64_t seed)
{
	memset(&want, 0, sizeof(want));
	want.shard = shard;
	want.fn = fn;
	cross_open_seed(2, &slow, seed);
	for (unsigned int i = 0; i < 2; i++)
		apus_on_unhandled(cross.shards[i], on_unhandled, NULL);
}

static int64_t index_and_arg(void *arg)
{
	want.ran++;
	return apus_yield() ? -ECANCELED : apus_shard_index() * 1000 + (intptr_t)arg;
}

static int64_t give_arg(void *arg)
{
	want.ran++;
	return (intptr_t)arg;
}

static void result_is_the_futures(void **state)
{
	for (unsigned int to = 0; to < 2; to++) {
		begin(to, index_and_arg, 1);
		assert_int_equal(cross_run(0, run_and_await, (void *)7), to * 1000 + 7);
		assert_int_equal(cross_run(1, run_and_await, (void *)8), to * 1000 + 8);
		cross_close();
	}
}

static void error_is_the_futures_and_nobody_elses(void **state)
{
	for (unsigned int to = 0; to < 2; to++) {
		begin(to, give_arg, 1);
		assert_int_equal(cross_run(0, run_and_await, (void *)-EBADE), -EBADE);
		assert_int_equal(want.rc, 0);
		assert_int_equal(want.unhandled, 0);
		cross_close();
	}
}

static int64_t set_another(void *arg)
{
	ok(apus_promise_set(want.promise, 5));
	return 6;
}

static void what_it_has_set_itself_counts(void **state)
{
	begin(1, set_another, 1);
	assert_int_equal(cross_run(0, run_and_await, NULL), 5);
	cross_close();
}

static void without_a_fabric_it_runs_here(void **state)
{
	struct apus_shard *shard;

	memset(&want, 0, sizeof(want));
	want.fn = index_and_arg;
	ok(apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1}, &shard));
	apus_shard_enter(shard);
	for (want.shard = 0; want.shard < 2; want.shard++) {
		struct apus_task *t = apus_spawn(run_and_await, (void *)3);

		apus_shard_run(shard, t);
		assert_int_equal(apus_task_result(t), want.shard ? -EINVAL : 3);
		apus_detach(t);
	}
	assert_int_equal(want.ran, 1);
	apus_shard_close(shard);
}

/* --- What does not begin --------------------------------------------------------------------- */

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static int64_t refuse(void *arg)
{
	apus_cross_refuse(apus_shard_self());
	return 0;
}

static void run_on_a_shard_that_left_is_an_error(void **state)
{
	begin(1, give_arg, 1);
	ok(cross_run(1, leave, NULL));
	while (cross_step()) /* all know */
		;
	assert_int_equal(cross_run(0, run_and_await, NULL), -ESHUTDOWN);
	assert_int_equal(want.rc, -ESHUTDOWN);
	cross_close();
}

static void run_on_a_shard_that_refuses_is_the_futures_error(void **state)
{
	begin(1, give_arg, 1);
	ok(cross_run(1, refuse, NULL));
	assert_int_equal(cross_run(0, run_and_await, NULL), -ESHUTDOWN);
	assert_int_equal(want.rc, 0); /* who ran it could not know */
	assert_int_equal(want.ran, 0);
	cross_close();
}

static void shard_that_leaves_at_any_moment_ends_the_wait(void **state)
{
	for (unsigned int steps = 0; steps < 40; steps++) {
		begin(1, index_and_arg, steps + 1);

		struct apus_task *t = cross_spawn(0, run_and_await, NULL);

		for (unsigned int i = 0; i < steps; i++)
			cross_step();
		ok(cross_run(1, leave, NULL));

		int64_t rc = cross_await(0, t);

		assert_true(rc == 1000 || rc == -ESHUTDOWN);
		assert_int_equal(want.ran, rc == 1000);
		cross_close();
	}
}

static void run_without_memory_there_is_the_futures_error(void **state)
{
	begin(1, give_arg, 1);
	cross.shards[1]->tasks_max = 0;
	assert_int_equal(cross_run(0, run_and_await, NULL), -ENOMEM);
	assert_int_equal(want.unhandled, 1); /* of the post: it is told where it happened */
	cross.shards[1]->tasks_max = 100;
	ok(cross_run(0, run_and_await, NULL));
	cross_close();
}

static int64_t run_owned(void *arg)
{
	struct apus_promise *p;

	ok(apus_promise_open(&p));
	(void)apus_promise_get(p);
	ok(apus_promise_run(p, 1, give_arg, (void *)4));
	assert_int_equal(apus_promise_run(p, 1, give_arg, (void *)5), -EBUSY);

	int64_t rc = apus_future_await(apus_promise_future(p));

	apus_promise_close(p);
	return rc;
}

static void second_run_is_refused_and_does_no_harm(void **state)
{
	begin(1, NULL, 1);
	assert_int_equal(cross_run(0, run_owned, NULL), 4);
	assert_int_equal(want.ran, 1);
	cross_close();
}

/* --- Cancel ---------------------------------------------------------------------------------- */

static int64_t sleep_long(void *arg)
{
	want.ran++;
	want.begun = true;

	int rc = apus_sleep(3600 * APUS_SEC);

	want.ended = true;
	return rc;
}

/* Whenever the waiter is cancelled: the function has not begun and never will, or is cancelled. */
static void cancel_at_every_moment_ends_both(void **state)
{
	unsigned int not_begun = 0, begun = 0;

	for (unsigned int to = 0; to < 2; to++) {
		for (unsigned int steps = 1; steps < 60; steps++) {
			begin(to, sleep_long, steps);

			struct apus_task *t = cross_spawn(0, run_and_await, NULL);

			for (unsigned int i = 0; i < steps && cross_next_ns() < 2 * APUS_SEC; i++)
				cross_step();
			cross_cancel(0, t);
			assert_int_equal(cross_await(0, t), -ECANCELED);
			cross_drain();
			assert_int_equal(want.begun, want.ended);
			assert_true(apus_clock_read(&cross.clock) < CROSS_START_NS + APUS_SEC);
			not_begun += !want.begun;
			begun += want.begun;
			cross_close();
		}
	}
	assert_true(not_begun > 0 && begun > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(result_is_the_futures),
		cmocka_unit_test(error_is_the_futures_and_nobody_elses),
		cmocka_unit_test(what_it_has_set_itself_counts),
		cmocka_unit_test(without_a_fabric_it_runs_here),
		cmocka_unit_test(run_on_a_shard_that_left_is_an_error),
		cmocka_unit_test(run_on_a_shard_that_refuses_is_the_futures_error),
		cmocka_unit_test(shard_that_leaves_at_any_moment_ends_the_wait),
		cmocka_unit_test(run_without_memory_there_is_the_futures_error),
		cmocka_unit_test(second_run_is_refused_and_does_no_harm),
		cmocka_unit_test(cancel_at_every_moment_ends_both),
	};

	return test_main(argc, argv, tests);
}
