/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_future.c: promises: set on one shard, awaited on another, exactly once;
 * errors, cancels and ends of owners travel; nothing is left behind.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/future.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

#define SHARDS 4

static struct apus_promise *promise;
static int64_t unhandled;

static int64_t open_promise(void *arg)
{
	return apus_promise_open(&promise);
}

static int64_t await_promise(void *arg)
{
	return apus_future_await(apus_promise_future(promise));
}

static int64_t close_promise(void *arg)
{
	apus_promise_close(promise);
	return 0;
}

static int64_t set_promise(void *arg)
{
	int rc = apus_promise_set(promise, (intptr_t)arg);

	apus_promise_put(promise);
	return rc;
}

static int64_t fail_promise(void *arg)
{
	int rc = apus_promise_fail(promise, (intptr_t)arg);

	apus_promise_put(promise);
	return rc;
}

static int64_t put_promise(void *arg)
{
	apus_promise_put(promise);
	return 0;
}

static void begin(unsigned int count, unsigned int home)
{
	cross_open(count, &slow);
	ok(cross_run(home, open_promise, NULL));
}

static void end(unsigned int home)
{
	ok(cross_run(home, close_promise, NULL));
	cross_close();
}

/* --- Results ------------------------------------------------------------------------------- */

static void result_and_error_travel(void **state)
{
	for (unsigned int home = 0; home < 2; home++) {
		for (unsigned int there = 0; there < 2; there++) {
			begin(2, home);

			struct apus_task *t = cross_spawn(home, await_promise, NULL);

			ok(cross_run(there, set_promise, (void *)42));
			assert_int_equal(cross_await(home, t), 42);
			assert_int_equal(cross_run(home, await_promise, NULL), 42);
			end(home);

			begin(2, home);
			t = cross_spawn(home, await_promise, NULL);
			ok(cross_run(there, fail_promise, (void *)-EBADE));
			assert_int_equal(cross_await(home, t), -EBADE);
			end(home);
		}
	}
}

static int64_t set_twice(void *arg)
{
	if (apus_promise_set(promise, -1) != -EINVAL || apus_promise_fail(promise, 1) != -EINVAL ||
	    apus_promise_set(promise, 1) != 0 || apus_promise_set(promise, 2) != -EALREADY ||
	    apus_promise_fail(promise, -EIO) != -EALREADY)
		return -EBADMSG;
	apus_promise_put(promise);
	return 0;
}

static void second_set_is_refused(void **state)
{
	begin(2, 0);
	ok(cross_run(1, set_twice, NULL));
	assert_int_equal(cross_run(0, await_promise, NULL), 1);
	end(0);
}

static int64_t get_promises(void *arg)
{
	for (intptr_t i = 1; i < (intptr_t)arg; i++)
		(void)apus_promise_get(promise);
	return 0;
}

static void first_of_many_wins(void **state)
{
	test_each_seed(seed, 100)
	{
		struct apus_task *t[SHARDS], *waiter;
		int64_t won = -1;

		cross_open_seed(SHARDS, &slow, seed);
		ok(cross_run(seed % SHARDS, open_promise, NULL));
		ok(cross_run(0, get_promises, (void *)SHARDS));
		waiter = cross_spawn(seed % SHARDS, await_promise, NULL);
		for (intptr_t i = 0; i < SHARDS; i++)
			t[i] = cross_spawn((unsigned int)i, set_promise, (void *)(i + 1));
		for (unsigned int i = 0; i < SHARDS; i++) {
			int64_t rc = cross_await(i, t[i]);

			if (rc == 0) {
				assert_int_equal(won, -1);
				won = i + 1;
			} else {
				assert_int_equal(rc, -EALREADY);
			}
		}
		assert_int_equal(cross_await(seed % SHARDS, waiter), won);
		end(seed % SHARDS);
	}
}

static void last_reference_without_result_is_a_broken_pipe(void **state)
{
	begin(2, 0);

	struct apus_task *t = cross_spawn(0, await_promise, NULL);

	ok(cross_run(1, get_promises, (void *)2));
	ok(cross_run(1, put_promise, NULL));
	for (int i = 0; i < 100; i++)
		cross_turn();
	assert_false(apus_task_done(t));
	ok(cross_run(1, put_promise, NULL));
	assert_int_equal(cross_await(0, t), -EPIPE);
	end(0);
}

/* --- Cancels ------------------------------------------------------------------------------- */

static int64_t set_if_wanted(void *arg)
{
	int rc = 0;

	while (!apus_promise_is_cancelled(promise) && !rc)
		rc = apus_sleep(APUS_MS);
	rc = apus_promise_set(promise, 1);
	apus_promise_put(promise);
	return rc;
}

static void setter_hears_of_a_cancel(void **state)
{
	begin(2, 0);

	struct apus_task *w = cross_spawn(0, await_promise, NULL);
	struct apus_task *s = cross_spawn(1, set_if_wanted, NULL);

	cross_step();
	cross_cancel(0, w);
	assert_int_equal(cross_await(0, w), -ECANCELED);
	assert_int_equal(cross_await(1, s), -ECANCELED);
	end(0);
}

static void close_before_the_result_is_a_cancel(void **state)
{
	begin(2, 0);

	struct apus_task *s = cross_spawn(1, set_if_wanted, NULL);

	ok(cross_run(0, close_promise, NULL));
	assert_int_equal(cross_await(1, s), -ECANCELED);
	cross_close(); /* the memory came home */
}

/* --- Owners -------------------------------------------------------------------------------- */

/* What an owner does: sleeps 5 ms, then `how`. */
enum how {
	SETS,
	FORGETS,
	FAILS,
	SETS_AND_FAILS,
};

static int64_t own(void *arg)
{
	int64_t rc = apus_promise_own(promise);

	if (rc)
		return rc;
	rc = apus_sleep(5 * APUS_MS);
	if (rc)
		return rc;
	switch ((enum how)(intptr_t)arg) {
	case SETS:
		return apus_promise_set(promise, 7);
	case FORGETS:
		return 3;
	case FAILS:
		return -EIO;
	case SETS_AND_FAILS:
		rc = apus_promise_set(promise, 7);
		return rc ? rc : -EIO;
	}
	return -EBADMSG;
}

static void on_unhandled(const struct apus_unhandled *what, void *arg)
{
	unhandled = what->error;
}

static int64_t own_detached(void *arg)
{
	apus_on_unhandled(apus_shard_self(), on_unhandled, NULL);
	return apus_spawn_detached(NULL, own, arg, 0);
}

static void end_of_the_owner_is_the_end_of_the_wait(void **state)
{
	static const int64_t awaited[] = {
		[SETS] = 7,
		[FORGETS] = -EPIPE,
		[FAILS] = -EIO,
		[SETS_AND_FAILS] = 7,
	};

	for (intptr_t how = SETS; how <= SETS_AND_FAILS; how++) {
		for (unsigned int there = 0; there < 2; there++) {
			unhandled = 0;
			begin(2, 0);
			ok(cross_run(there, own_detached, (void *)how));
			assert_int_equal(cross_run(0, await_promise, NULL), awaited[how]);
			cross_drain();
			/* An error that is the future's is seen there; any other is nobody's. */
			assert_int_equal(unhandled, how == SETS_AND_FAILS ? -EIO : 0);
			end(0);
		}
	}
}

static void cancel_of_the_future_is_one_of_the_owner(void **state)
{
	for (unsigned int there = 0; there < 2; there++) {
		begin(2, 0);

		struct apus_task *w = cross_spawn(0, await_promise, NULL);
		struct apus_task *o = cross_spawn(there, own, (void *)SETS);

		cross_turn();
		cross_cancel(0, w);
		assert_int_equal(cross_await(0, w), -ECANCELED);
		assert_int_equal(cross_await(there, o), -ECANCELED);
		assert_true(apus_clock_read(&cross.clock) < CROSS_START_NS + 5 * APUS_MS);
		end(0);
	}
}

static void cancel_of_the_owner_is_one_of_the_future(void **state)
{
	begin(2, 0);

	struct apus_task *w = cross_spawn(0, await_promise, NULL);
	struct apus_task *o = cross_spawn(1, own, (void *)SETS);

	cross_step();
	cross_cancel(1, o);
	assert_int_equal(cross_await(1, o), -ECANCELED);
	assert_int_equal(cross_await(0, w), -ECANCELED);
	end(0);
}

static void late_owner_is_cancelled_at_once(void **state)
{
	begin(2, 0);
	ok(cross_run(0, close_promise, NULL));
	assert_int_equal(cross_run(1, own, (void *)SETS), -ECANCELED);
	cross_close();
}

static void second_owner_is_refused(void **state)
{
	begin(2, 0);
	ok(cross_run(0, get_promises, (void *)2));

	struct apus_task *o = cross_spawn(1, own, (void *)SETS);

	cross_step();
	assert_int_equal(cross_run(0, own, (void *)SETS), -EBUSY);
	ok(cross_run(0, put_promise, NULL));
	ok(cross_await(1, o));
	assert_int_equal(cross_run(0, await_promise, NULL), 7);
	end(0);
}

/* --- Leaving, memory, every moment ---------------------------------------------------------- */

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static void no_shard_leaves_while_something_is_to_be_said(void **state)
{
	begin(2, 0);

	struct apus_task *o = cross_spawn(1, own, (void *)SETS);

	cross_step();
	ok(cross_run(1, leave, NULL));
	ok(cross_run(0, leave, NULL));
	for (int i = 0; i < 100; i++)
		cross_turn();
	assert_false(apus_cross_has_left(cross.shards[0]));
	assert_false(apus_cross_has_left(cross.shards[1]));
	ok(cross_await(1, o));
	assert_int_equal(cross_run(0, await_promise, NULL), 7);
	ok(cross_run(0, close_promise, NULL));
	cross_drain();
	assert_true(apus_cross_has_left(cross.shards[0]));
	assert_true(apus_cross_has_left(cross.shards[1]));
	cross_close();
}

static int64_t open_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int rc;

	apus_heap_fail_after(heap, 0);
	rc = apus_promise_open(&promise);
	apus_heap_fail_after(heap, -1);
	return rc;
}

static void open_without_memory_is_an_error(void **state)
{
	cross_open(2, NULL);
	assert_int_equal(cross_run(0, open_without_memory, NULL), -ENOMEM);
	cross_close();
}

/* From where both have begun. Both ends see the same, or the wait was cancelled and the owner came too late to know. */
static void cancel_after(unsigned int there, unsigned int steps, bool waiter, bool *was_done)
{
	begin(2, 0);

	struct apus_task *w = cross_spawn(0, await_promise, NULL);
	struct apus_task *o = cross_spawn(there, own, (void *)SETS);

	for (unsigned int i = 0; i < steps; i++) {
		int64_t next_ns = cross_next_ns();

		if (next_ns != APUS_NEVER && next_ns > apus_clock_read(&cross.clock))
			apus_clock_set(&cross.clock, next_ns);
		apus_shard_enter(cross.shards[i % 2]);
		apus_shard_turn(cross.shards[i % 2]);
		apus_shard_enter(NULL);
	}
	*was_done = apus_task_done(w);
	cross_cancel(waiter ? 0 : there, waiter ? w : o);

	int64_t set = cross_await(there, o), got = cross_await(0, w);

	assert_true(set == 0 || set == -ECANCELED);
	if (waiter)
		assert_true(got == -ECANCELED || (got == 7 && set == 0));
	else
		assert_int_equal(got, set == 0 ? 7 : -ECANCELED);
	end(0);
}

static void cancel_at_every_moment_leaves_nothing(void **state)
{
	for (unsigned int there = 0; there < 2; there++) {
		for (int waiter = 0; waiter < 2; waiter++) {
			bool was_done = false;
			unsigned int steps = 2;

			for (; !was_done; steps++)
				cancel_after(there, steps, waiter, &was_done);
			assert_true(steps > 3);
		}
	}
}

/* --- Anything ------------------------------------------------------------------------------ */

static struct apus_promise *promises[64];

static int64_t any_setter(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	struct apus_promise *p = promises[(intptr_t)arg];

	switch (apus_random_below(random, 4)) {
	case 0:
		(void)!apus_promise_set(p, 5);
		break;
	case 1:
		(void)!apus_promise_fail(p, -EIO);
		break;
	case 2:
		if (apus_promise_own(p) == 0) {
			(void)!apus_sleep((int64_t)apus_random_below(random, APUS_MS));
			return apus_random_below(random, 2) ? -EIO : 0;
		}
		break;
	default:
		(void)!apus_sleep((int64_t)apus_random_below(random, APUS_MS));
		break;
	}
	apus_promise_put(p);
	return 0;
}

static int64_t any_waiter(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	struct apus_promise **p = &promises[(intptr_t)arg];
	int64_t rc;

	apus_on_unhandled(apus_shard_self(), on_unhandled, NULL);
	if (apus_promise_open(p))
		return -ENOMEM;
	for (uint64_t i = apus_random_below(random, 3) + 1; i > 0; i--) {
		unsigned int to = (unsigned int)apus_random_below(random, SHARDS);

		if (apus_post_to(to, any_setter, arg) == 0)
			(void)apus_promise_get(*p);
	}
	apus_promise_put(*p);
	if (apus_random_below(random, 4) == 0)
		rc = apus_sleep((int64_t)apus_random_below(random, APUS_MS));
	else
		rc = apus_future_await(apus_promise_future(*p));
	apus_promise_close(*p);
	return rc == 0 || rc == 5 || rc == -EIO || rc == -EPIPE || rc == -ECANCELED ? 0 : rc;
}

static void many_seeds_leave_nothing_behind(void **state)
{
	test_each_seed(seed, 150)
	{
		struct apus_task *t[64];

		cross_open_seed(SHARDS, &slow, seed);
		for (unsigned int i = 0; i < 64; i++)
			t[i] = cross_spawn(i % SHARDS, any_waiter, (void *)(intptr_t)i);
		for (unsigned int i = 0; i < 40; i++) {
			unsigned int k = (unsigned int)apus_random_below(&cross.random, 64);

			cross_step();
			cross_cancel(k % SHARDS, t[k]);
		}
		for (unsigned int i = 0; i < 64; i++) {
			int64_t rc = cross_await(i % SHARDS, t[i]);

			assert_true(rc == 0 || rc == -ECANCELED);
		}
		cross_close();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(result_and_error_travel),
		cmocka_unit_test(second_set_is_refused),
		cmocka_unit_test(first_of_many_wins),
		cmocka_unit_test(last_reference_without_result_is_a_broken_pipe),
		cmocka_unit_test(setter_hears_of_a_cancel),
		cmocka_unit_test(close_before_the_result_is_a_cancel),
		cmocka_unit_test(end_of_the_owner_is_the_end_of_the_wait),
		cmocka_unit_test(cancel_of_the_future_is_one_of_the_owner),
		cmocka_unit_test(cancel_of_the_owner_is_one_of_the_future),
		cmocka_unit_test(late_owner_is_cancelled_at_once),
		cmocka_unit_test(second_owner_is_refused),
		cmocka_unit_test(no_shard_leaves_while_something_is_to_be_said),
		cmocka_unit_test(open_without_memory_is_an_error),
		cmocka_unit_test(cancel_at_every_moment_leaves_nothing),
		cmocka_unit_test(many_seeds_leave_nothing_behind),
	};

	return test_main(argc, argv, tests);
}
