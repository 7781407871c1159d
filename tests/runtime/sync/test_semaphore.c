/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_semaphore.c: asyncio.Semaphore and BoundedSemaphore, and requests for
 * several units: first come first served, and no unit is ever lost.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/semaphore.h"

static struct apus_semaphore semaphore;

static int64_t take_one_and_emit(void *arg)
{
	int rc = apus_semaphore_acquire(&semaphore, 1);

	emit("%d %s", (int)(intptr_t)arg, rc ? "CE" : "got");
	return rc;
}

static void *as_arg(int value)
{
	return (void *)(intptr_t)value;
}

/* Trace 55. */
static int64_t take_twice(void *arg)
{
	int number = (int)(intptr_t)arg;

	for (int i = 1; i <= 2; i++) {
		ok(apus_semaphore_acquire(&semaphore, 1));
		emit("c%d_%d", number, i);
		ok(apus_yield());
		ok(apus_semaphore_release(&semaphore, 1));
	}
	return 0;
}

static void units_go_round_in_order(void **state)
{
	struct apus_task *tasks[3];

	apus_semaphore_init(&semaphore, 1, APUS_SEMAPHORE_UNBOUNDED);
	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(take_twice, as_arg(i + 1));
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	assert_trace("c1_1 · c2_1 · c3_1 · c1_2 · c2_2 · c3_2");
}

/* Trace 57. */
static struct apus_task *fourth;

static int64_t take_and_spawn(void *arg)
{
	int number = (int)(intptr_t)arg;

	ok(apus_semaphore_acquire(&semaphore, 1));
	emit("%d", number);
	if (number == 1)
		fourth = apus_spawn(take_and_spawn, as_arg(4));
	return 0;
}

static void three_releases_wake_three_before_a_newcomer(void **state)
{
	struct apus_task *tasks[3];

	apus_semaphore_init(&semaphore, 0, APUS_SEMAPHORE_UNBOUNDED);
	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(take_and_spawn, as_arg(i + 1));
	test_laps(1);
	emit("locked %s", yes_no(apus_semaphore_is_locked(&semaphore)));
	for (int i = 0; i < 3; i++)
		ok(apus_semaphore_release(&semaphore, 1));
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	test_laps(2);
	ok(apus_semaphore_release(&semaphore, 1));
	ok(test_await(fourth));
	assert_trace("locked True · 1 · 2 · 3 · 4");
}

static void unit_of_a_waiter_cancelled_on_its_way_goes_on(void **state)
{
	struct apus_task *tasks[3];

	apus_semaphore_init(&semaphore, 0, APUS_SEMAPHORE_UNBOUNDED);
	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(take_one_and_emit, as_arg(i));
	test_laps(1);
	ok(apus_semaphore_release(&semaphore, 1));
	apus_task_cancel(tasks[0]);
	emit("%s", yes_no(apus_semaphore_is_locked(&semaphore)));
	test_laps(3);
	emit("%s %d", yes_no(apus_semaphore_is_locked(&semaphore)), (int)semaphore.value);
	ok(apus_semaphore_release(&semaphore, 1));
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_await(tasks[i]), i ? 0 : -ECANCELED);
	assert_trace("True · 0 CE · 1 got · True 0 · 2 got");
	assert_int_equal(semaphore.value, 0);
}

static void release_beyond_the_bound_is_refused(void **state)
{
	apus_semaphore_init(&semaphore, 2, 3);
	assert_int_equal(apus_semaphore_release(&semaphore, 2), -EOVERFLOW);
	assert_int_equal(semaphore.value, 2);
	ok(apus_semaphore_release(&semaphore, 1));
	assert_int_equal(apus_semaphore_release(&semaphore, 1), -EOVERFLOW);
	assert_int_equal(apus_semaphore_release(&semaphore, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(semaphore.value, 3);
}

static int64_t take_more_than_there_can_be(void *arg)
{
	assert_int_equal(apus_semaphore_acquire(&semaphore, 4), -EINVAL);
	return 0;
}

static void request_beyond_the_bound_is_einval(void **state)
{
	apus_semaphore_init(&semaphore, 3, 3);
	ok(test_run(take_more_than_there_can_be, NULL));
	assert_int_equal(semaphore.value, 3);
}

static void try_acquire_takes_or_says_eagain(void **state)
{
	struct apus_task *t;

	apus_semaphore_init(&semaphore, 3, 10);
	ok(apus_semaphore_try_acquire(&semaphore, 2));
	assert_int_equal(apus_semaphore_try_acquire(&semaphore, 2), -EAGAIN);
	assert_int_equal(semaphore.value, 1);
	ok(apus_semaphore_try_acquire(&semaphore, 1));
	assert_true(apus_semaphore_is_locked(&semaphore));

	/* Nor does it overtake one who waits, or one who was woken. */
	t = apus_spawn(take_one_and_emit, as_arg(1));
	test_laps(1);
	ok(apus_semaphore_release(&semaphore, 1));
	assert_int_equal(apus_semaphore_try_acquire(&semaphore, 1), -EAGAIN);
	ok(test_await(t));
	assert_trace("1 got");
}

struct request {
	int number;
	uint64_t units;
};

static int64_t take_units(void *arg)
{
	const struct request *r = arg;
	int rc = apus_semaphore_acquire(&semaphore, r->units);

	emit("%d %s", r->number, rc ? "CE" : "got");
	return rc;
}

static struct apus_task *spawn_request(int number, uint64_t units)
{
	struct request r = {number, units};

	return apus_spawn_with(&(struct apus_spawn_options){0}, take_units, &r, sizeof(r));
}

static void large_request_at_the_head_holds_back_small_ones(void **state)
{
	struct apus_task *large, *small;

	apus_semaphore_init(&semaphore, 3, 10);
	large = spawn_request(1, 5);
	small = spawn_request(2, 1);
	test_laps(3);
	assert_trace("");
	/* There are units, but they are not for who comes now. */
	assert_true(apus_semaphore_is_locked(&semaphore));
	assert_int_equal(apus_semaphore_try_acquire(&semaphore, 1), -EAGAIN);
	ok(apus_semaphore_release(&semaphore, 1));
	test_laps(3);
	assert_trace("");
	ok(apus_semaphore_release(&semaphore, 2));
	test_laps(1);
	assert_trace("1 got · 2 got");
	assert_int_equal(semaphore.value, 0);
	ok(test_await(large));
	ok(test_await(small));
}

static void large_request_cancelled_lets_small_ones_through(void **state)
{
	struct apus_task *large, *small, *another;

	apus_semaphore_init(&semaphore, 3, 10);
	large = spawn_request(1, 5);
	small = spawn_request(2, 1);
	another = spawn_request(3, 2);
	test_laps(1);
	apus_task_cancel(large);
	assert_int_equal(test_await(large), -ECANCELED);
	ok(test_await(small));
	ok(test_await(another));
	assert_trace("1 CE · 2 got · 3 got");
	assert_int_equal(semaphore.value, 0);
}

static int64_t take_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count) {
		ok(apus_semaphore_acquire(&semaphore, 1));
		ok(apus_semaphore_release(&semaphore, 1));
	}
	return 0;
}

static void uncontended_acquire_spends_the_budget(void **state)
{
	int count = 0;

	apus_semaphore_init(&semaphore, 1, 1);
	struct apus_task *t = apus_spawn(take_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 126, 128);
	ok(test_await(t));
}

/* Units are conserved and requests served in order, whatever is cancelled when. */

#define TASKS 16
#define UNITS 10

static struct {
	uint64_t chance, held, next_ticket, last_served, served;
	struct apus_task *tasks[TASKS];
} fuzz;

static int64_t take_and_give_back(void *arg)
{
	for (int i = 0; i < 40; i++) {
		uint64_t units = 1 + test_random_below(&fuzz.chance, UNITS);
		uint64_t ticket = ++fuzz.next_ticket;
		int rc = apus_semaphore_acquire(&semaphore, units);

		while (cancelling())
			apus_task_uncancel(apus_task_self());
		if (rc)
			continue;
		assert_true(ticket > fuzz.last_served);
		fuzz.last_served = ticket;
		fuzz.served++;
		fuzz.held += units;
		assert_true(fuzz.held <= UNITS);
		for (uint64_t n = test_random_below(&fuzz.chance, 3); n; n--)
			(void)!apus_yield();
		fuzz.held -= units;
		/* In two parts, which may wake two waiters. */
		if (units > 1)
			ok(apus_semaphore_release(&semaphore, units - 1));
		ok(apus_semaphore_release(&semaphore, 1));
		if (test_random_below(&fuzz.chance, 2))
			(void)!apus_sleep((int64_t)test_random_below(&fuzz.chance, 5));
	}
	return 0;
}

static void random_use_conserves_units_and_serves_in_order(void **state)
{
	test_each_seed(seed, 200)
	{
		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		apus_semaphore_init(&semaphore, UNITS, UNITS);
		for (int i = 0; i < TASKS; i++)
			fuzz.tasks[i] = apus_spawn(take_and_give_back, NULL);
		test_laps(1);
		while (apus_shard_tasks(test_world.shard)) {
			assert_true(test_step());
			if (test_random_below(&fuzz.chance, 2))
				apus_task_cancel(
					fuzz.tasks[test_random_below(&fuzz.chance, TASKS)]);
		}
		for (int i = 0; i < TASKS; i++)
			apus_detach(fuzz.tasks[i]);
		assert_int_equal(semaphore.value, UNITS);
		assert_int_equal(semaphore.promised, 0);
		assert_true(apus_waitq_empty(&semaphore.waiters));
		assert_true(fuzz.served > 50);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(units_go_round_in_order),
		shard_test(three_releases_wake_three_before_a_newcomer),
		shard_test(unit_of_a_waiter_cancelled_on_its_way_goes_on),
		shard_test(release_beyond_the_bound_is_refused),
		shard_test(request_beyond_the_bound_is_einval),
		shard_test(try_acquire_takes_or_says_eagain),
		shard_test(large_request_at_the_head_holds_back_small_ones),
		shard_test(large_request_cancelled_lets_small_ones_through),
		shard_test(uncontended_acquire_spends_the_budget),
		shard_test(random_use_conserves_units_and_serves_in_order),
	};

	return test_main(argc, argv, tests);
}
