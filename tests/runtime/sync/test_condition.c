/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_condition.c: asyncio.Condition: the lock is held on every way out, and a
 * notification that meets a cancel goes to the next.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/condition.h"

static struct apus_lock lock;
static struct apus_condition condition;

static int open_condition(void **state)
{
	apus_lock_init(&lock);
	apus_condition_init(&condition, &lock);
	return test_open(state);
}

#define condition_test(name) shard_test_with(name, open_condition)

static void *as_arg(int value)
{
	return (void *)(intptr_t)value;
}

static int64_t wait_without_the_lock(void *arg)
{
	assert_int_equal(apus_condition_wait(&condition), -EPERM);
	return 0;
}

static void without_the_lock_every_call_is_eperm(void **state)
{
	assert_int_equal(apus_condition_notify(&condition, 1), -EPERM);
	assert_int_equal(apus_condition_notify_all(&condition), -EPERM);
	ok(test_run(wait_without_the_lock, NULL));
}

static int64_t wait_and_emit_locked(void *arg)
{
	ok(apus_lock_acquire(&lock));
	int rc = apus_condition_wait(&condition);

	assert_true(apus_lock_is_locked(&lock));
	emit("%d %s", (int)(intptr_t)arg, yes_no(apus_lock_is_locked(&lock)));
	ok(apus_lock_release(&lock));
	return rc;
}

static int64_t notify_two(void *arg)
{
	ok(apus_lock_acquire(&lock));
	ok(apus_condition_notify(&condition, 2));
	emit("notified");
	return apus_lock_release(&lock);
}

static int64_t notify_everyone(void *arg)
{
	ok(apus_lock_acquire(&lock));
	ok(apus_condition_notify_all(&condition));
	return apus_lock_release(&lock);
}

static void notify_wakes_so_many_in_order(void **state)
{
	struct apus_task *tasks[4];

	for (int i = 0; i < 4; i++)
		tasks[i] = apus_spawn(wait_and_emit_locked, as_arg(i));
	test_laps(1);
	assert_false(apus_lock_is_locked(&lock));
	ok(test_run(notify_two, NULL));
	test_laps(6);
	emit("lap");
	ok(test_run(notify_everyone, NULL));
	for (int i = 0; i < 4; i++)
		ok(test_await(tasks[i]));
	assert_trace("notified · 0 True · 1 True · lap · 2 True · 3 True");
}

static int64_t just_take(void *arg)
{
	return apus_lock_acquire(&lock);
}

static int64_t wait_and_emit_ce(void *arg)
{
	ok(apus_lock_acquire(&lock));
	int rc = apus_condition_wait(&condition);

	emit("%s, locked %s", rc == -ECANCELED ? "CE" : "no", yes_no(apus_lock_is_locked(&lock)));
	ok(apus_lock_release(&lock));
	return 0;
}

/* Trace 53. */
static void cancel_while_reacquiring_is_delivered_with_the_lock(void **state)
{
	struct apus_task *t = apus_spawn(wait_and_emit_ce, NULL);

	test_laps(1);
	ok(test_run(just_take, NULL));
	ok(apus_condition_notify(&condition, 1));
	test_laps(1);
	apus_task_cancel(t);
	test_laps(2);
	emit("%s", test_state(t));
	ok(apus_lock_release(&lock));
	test_laps(3);
	emit("cancelled %s", yes_no(test_await(t) == -ECANCELED));
	assert_trace("pending · CE, locked True · cancelled False");
}

static void many_cancels_while_reacquiring_are_delivered_once(void **state)
{
	struct apus_task *t = apus_spawn(wait_and_emit_ce, NULL);

	test_laps(1);
	ok(test_run(just_take, NULL));
	apus_task_cancel(t); /* first in the wait, then four times in the acquire */
	for (int i = 0; i < 4; i++) {
		test_laps(2);
		apus_task_cancel(t);
	}
	assert_false(apus_task_done(t));
	ok(apus_lock_release(&lock));
	ok(test_await(t));
	assert_trace("CE, locked True");
	assert_false(apus_lock_is_locked(&lock));
}

static int64_t wait_and_emit_notified(void *arg)
{
	ok(apus_lock_acquire(&lock));
	int rc = apus_condition_wait(&condition);

	emit("%d %s", (int)(intptr_t)arg, rc == -ECANCELED ? "CE" : "notified");
	ok(apus_lock_release(&lock));
	return rc;
}

static void notification_that_meets_a_cancel_goes_to_the_next(void **state)
{
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(wait_and_emit_notified, as_arg(i));
	test_laps(1);
	ok(test_run(just_take, NULL));
	ok(apus_condition_notify(&condition, 1));
	apus_task_cancel(tasks[0]);
	ok(apus_lock_release(&lock));
	test_laps(6);
	emit("%s %s %s", test_state(tasks[0]), test_state(tasks[1]), test_state(tasks[2]));
	apus_task_cancel(tasks[2]);
	assert_int_equal(test_await(tasks[2]), -ECANCELED);
	assert_trace("0 CE · 1 notified · cancelled result:0 pending · 2 CE");
	apus_detach(tasks[0]);
	apus_detach(tasks[1]);
}

static bool is_three(void *arg)
{
	return *(int *)arg == 3;
}

static int64_t wait_for_three(void *arg)
{
	ok(apus_lock_acquire(&lock));
	int rc = apus_condition_wait_for(&condition, is_three, arg);

	emit("%d", *(int *)arg);
	ok(apus_lock_release(&lock));
	return rc;
}

static void wait_for_goes_on_when_the_predicate_holds(void **state)
{
	int value = 0;
	struct apus_task *t = apus_spawn(wait_for_three, &value);

	for (int i = 1; i <= 3; i++) {
		test_laps(5);
		assert_false(apus_task_done(t));
		value = i;
		ok(test_run(notify_everyone, NULL));
	}
	ok(test_await(t));
	/* And does not wait at all when it holds already. */
	t = apus_spawn(wait_for_three, &value);
	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_trace("3 · 3");
}

/* A bounded buffer with several producers and consumers, some of them cancelled: nothing is lost. */

static struct {
	struct apus_condition not_full, not_empty;
	uint64_t chance;
	int count, capacity;
	int put, got;
	bool closed;
} buffer;

static int64_t produce(void *arg)
{
	for (int i = 0; i < 50; i++) {
		int rc = apus_lock_acquire(&lock);

		if (rc)
			return rc;
		while (rc == 0 && buffer.count == buffer.capacity)
			rc = apus_condition_wait(&buffer.not_full);
		if (rc == 0) {
			buffer.count++;
			buffer.put++;
			ok(apus_condition_notify(&buffer.not_empty, 1));
		}
		ok(apus_lock_release(&lock));
		if (rc)
			return rc;
		if (test_random_below(&buffer.chance, 4) == 0)
			rc = apus_yield();
		if (rc)
			return rc;
	}
	return 0;
}

static int64_t consume(void *arg)
{
	for (;;) {
		int rc = apus_lock_acquire(&lock);

		if (rc)
			return rc;
		while (rc == 0 && buffer.count == 0 && !buffer.closed)
			rc = apus_condition_wait(&buffer.not_empty);
		bool over = rc || buffer.count == 0;

		if (!over) {
			buffer.count--;
			buffer.got++;
			ok(apus_condition_notify(&buffer.not_full, 1));
		}
		ok(apus_lock_release(&lock));
		if (over)
			return rc;
	}
}

static int64_t close_buffer(void *arg)
{
	ok(apus_lock_acquire(&lock));
	buffer.closed = true;
	ok(apus_condition_notify_all(&buffer.not_empty));
	return apus_lock_release(&lock);
}

static void random_buffer_loses_nothing_and_ends(void **state)
{
	test_each_seed(seed, 200)
	{
		struct apus_task *producers[4], *consumers[4];

		apus_lock_init(&lock);
		memset(&buffer, 0, sizeof(buffer));
		buffer.chance = seed;
		buffer.capacity = 1 + (int)test_random_below(&buffer.chance, 4);
		apus_condition_init(&buffer.not_full, &lock);
		apus_condition_init(&buffer.not_empty, &lock);
		for (int i = 0; i < 4; i++) {
			consumers[i] = apus_spawn(consume, NULL);
			producers[i] = apus_spawn(produce, NULL);
		}
		/* Two of each are cancelled at some time; the others must be able to finish. */
		for (uint64_t n = test_random_below(&buffer.chance, 60); n; n--)
			test_laps(1);
		apus_task_cancel(producers[0]);
		apus_task_cancel(consumers[0]);
		for (uint64_t n = test_random_below(&buffer.chance, 60); n; n--)
			test_laps(1);
		apus_task_cancel(producers[1]);
		apus_task_cancel(consumers[1]);
		for (int i = 0; i < 4; i++)
			assert_true(test_await(producers[i]) == 0 || i < 2);
		ok(test_run(close_buffer, NULL));
		for (int i = 0; i < 4; i++)
			assert_true(test_await(consumers[i]) == 0 || i < 2);
		assert_int_equal(buffer.count, 0);
		assert_int_equal(buffer.put, buffer.got);
		assert_true(buffer.put >= 100);
		assert_false(apus_lock_is_locked(&lock));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		condition_test(without_the_lock_every_call_is_eperm),
		condition_test(notify_wakes_so_many_in_order),
		condition_test(cancel_while_reacquiring_is_delivered_with_the_lock),
		condition_test(many_cancels_while_reacquiring_are_delivered_once),
		condition_test(notification_that_meets_a_cancel_goes_to_the_next),
		condition_test(wait_for_goes_on_when_the_predicate_holds),
		condition_test(random_buffer_loses_nothing_and_ends),
	};

	return test_main(argc, argv, tests);
}
