/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_lock.c: asyncio.Lock: first come first served, nobody overtakes, a waiter
 * that was woken and cancelled wakes the next.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/lock.h"

static struct apus_lock lock;

static int open_lock(void **state)
{
	apus_lock_init(&lock);
	return test_open(state);
}

#define lock_test(name) shard_test_with(name, open_lock)

static int64_t take_and_emit(void *arg)
{
	int rc = apus_lock_acquire(&lock);

	if (rc)
		return rc;
	emit("%s", (const char *)arg);
	ok(apus_lock_release(&lock));
	return 0;
}

static int64_t just_take(void *arg)
{
	return apus_lock_acquire(&lock);
}

static void release_of_an_open_lock_is_eperm(void **state)
{
	assert_false(apus_lock_is_locked(&lock));
	assert_int_equal(apus_lock_release(&lock), -EPERM);
	assert_false(apus_lock_is_locked(&lock));
}

static void uncontended_acquire_does_not_suspend(void **state)
{
	struct apus_task *t = apus_spawn(just_take, NULL);

	test_laps(1);
	assert_true(apus_task_done(t));
	assert_true(apus_lock_is_locked(&lock));
	ok(test_await(t));
	ok(apus_lock_release(&lock)); /* any task, or none, may */
	assert_false(apus_lock_is_locked(&lock));
}

/* lock_edges: a release leaves it open, and promised to the first; a newcomer must queue. */
static void newcomer_does_not_overtake_the_woken(void **state)
{
	static const char *const names[] = {"0", "1", "2", "3"};
	struct apus_task *tasks[5];

	ok(test_run(just_take, NULL));
	for (int i = 0; i < 4; i++)
		tasks[i] = apus_spawn(take_and_emit, (void *)(uintptr_t)names[i]);
	test_laps(1);
	apus_task_cancel(tasks[1]);
	ok(apus_lock_release(&lock));
	emit("%s", yes_no(apus_lock_is_locked(&lock)));
	tasks[4] = apus_spawn(take_and_emit, "barger");
	for (int i = 0; i < 5; i++)
		assert_int_equal(test_await(tasks[i]), i == 1 ? -ECANCELED : 0);
	emit("%s", yes_no(apus_lock_is_locked(&lock)));
	assert_trace("False · 0 · 2 · 3 · barger · False");
}

static int64_t hold_10_ms(void *arg)
{
	ok(apus_lock_acquire(&lock));
	emit("A got");
	ok(apus_sleep(10 * APUS_MS));
	ok(apus_lock_release(&lock));
	return 0;
}

static int64_t take_got(void *arg)
{
	int rc = apus_lock_acquire(&lock);

	if (rc)
		return rc;
	emit("%s got", (const char *)arg);
	return apus_lock_release(&lock);
}

/* Trace 49: A lets go, and B is cancelled in the lap in which it was woken. */
static void woken_then_cancelled_wakes_the_next(void **state)
{
	struct apus_task *a = apus_spawn(hold_10_ms, NULL);
	struct apus_task *b = apus_spawn(take_got, "B"), *c = apus_spawn(take_got, "C");

	while (!apus_task_done(a))
		assert_true(test_step());
	apus_task_cancel(b);
	emit("%s %s", yes_no(apus_lock_is_locked(&lock)), test_state(a));
	assert_int_equal(test_await(b), -ECANCELED);
	ok(test_await(c));
	ok(test_await(a));
	assert_trace("A got · False result:0 · C got");
	assert_false(apus_lock_is_locked(&lock));
}

static void woken_cancelled_and_taken_back_gets_it(void **state)
{
	struct apus_task *b, *c;

	ok(test_run(just_take, NULL));
	b = apus_spawn(take_got, "B");
	c = apus_spawn(take_got, "C");
	test_laps(1);
	ok(apus_lock_release(&lock));
	apus_task_cancel(b);
	apus_task_uncancel(b);
	ok(test_await(b));
	ok(test_await(c));
	assert_trace("B got · C got");
}

static void last_waiter_cancelled_on_its_way_leaves_it_open(void **state)
{
	struct apus_task *b;

	ok(test_run(just_take, NULL));
	b = apus_spawn(take_got, "B");
	test_laps(1);
	ok(apus_lock_release(&lock));
	apus_task_cancel(b);
	assert_int_equal(test_await(b), -ECANCELED);
	assert_false(apus_lock_is_locked(&lock));
	ok(test_run(take_got, "later"));
	assert_trace("later got");
}

static int64_t take_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count) {
		ok(apus_lock_acquire(&lock));
		ok(apus_lock_release(&lock));
	}
	return 0;
}

static void uncontended_acquire_spends_the_budget(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(take_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 126, 128);
	ok(test_await(t));
}

static int64_t acquire_twice(void *arg)
{
	ok(apus_lock_acquire(&lock));
	int rc = apus_lock_acquire(&lock); /* not re-entrant: waits for itself */

	ok(apus_lock_release(&lock));
	return rc;
}

static void lock_is_not_reentrant(void **state)
{
	struct apus_task *t = apus_spawn(acquire_twice, NULL);

	test_laps(5);
	assert_false(apus_task_done(t));
	apus_task_cancel(t);
	assert_int_equal(test_await(t), -ECANCELED);
}

/* Mutual exclusion and first come first served, whatever is cancelled when. */

#define TASKS 20

static struct {
	uint64_t chance;
	bool inside;
	uint64_t next_ticket, last_served; /* of those that were never cancelled */
	uint64_t entered;
	struct apus_task *tasks[TASKS];
} fuzz;

static int64_t enter_and_leave(void *arg)
{
	for (int i = 0; i < 50; i++) {
		uint64_t ticket = ++fuzz.next_ticket;
		int rc = apus_lock_acquire(&lock);

		while (cancelling())
			apus_task_uncancel(apus_task_self());
		if (rc)
			continue;
		assert_false(fuzz.inside);
		assert_true(apus_lock_is_locked(&lock));
		assert_true(ticket > fuzz.last_served);
		fuzz.last_served = ticket;
		fuzz.inside = true;
		fuzz.entered++;
		for (uint64_t n = test_random_below(&fuzz.chance, 3); n; n--)
			(void)!apus_yield();
		fuzz.inside = false;
		ok(apus_lock_release(&lock));
		if (test_random_below(&fuzz.chance, 2))
			(void)!apus_sleep((int64_t)test_random_below(&fuzz.chance, 5));
	}
	return 0;
}

static void random_use_excludes_and_serves_in_order(void **state)
{
	test_each_seed(seed, 200)
	{
		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		apus_lock_init(&lock);
		for (int i = 0; i < TASKS; i++)
			fuzz.tasks[i] = apus_spawn(enter_and_leave, NULL);
		test_laps(1);
		while (apus_shard_tasks(test_world.shard)) {
			assert_true(test_step());
			if (test_random_below(&fuzz.chance, 2))
				apus_task_cancel(
					fuzz.tasks[test_random_below(&fuzz.chance, TASKS)]);
		}
		for (int i = 0; i < TASKS; i++)
			apus_detach(fuzz.tasks[i]);
		assert_false(apus_lock_is_locked(&lock));
		assert_true(apus_waitq_empty(&lock.waiters));
		assert_true(fuzz.entered > 100);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		lock_test(release_of_an_open_lock_is_eperm),
		lock_test(uncontended_acquire_does_not_suspend),
		lock_test(newcomer_does_not_overtake_the_woken),
		lock_test(woken_then_cancelled_wakes_the_next),
		lock_test(woken_cancelled_and_taken_back_gets_it),
		lock_test(last_waiter_cancelled_on_its_way_leaves_it_open),
		lock_test(uncontended_acquire_spends_the_budget),
		lock_test(lock_is_not_reentrant),
		lock_test(random_use_excludes_and_serves_in_order),
	};

	return test_main(argc, argv, tests);
}
