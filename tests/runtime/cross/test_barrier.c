/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_barrier.c: a barrier for tasks of several shards: what CPython's
 * test_locks.BarrierTests say of one loop.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/barrier.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

#define SHARDS 4

static struct apus_cross_barrier barrier;

static int64_t init(void *arg)
{
	apus_cross_barrier_init(&barrier, (uint32_t)(intptr_t)arg);
	return 0;
}

static int64_t wait_once(void *arg)
{
	return cross_outcome(apus_cross_barrier_wait(&barrier));
}

static int64_t waiting(void *arg)
{
	return apus_cross_barrier_waiting(&barrier);
}

static int64_t reset(void *arg)
{
	return apus_cross_barrier_reset(&barrier);
}

static int64_t abort_it(void *arg)
{
	return apus_cross_barrier_abort(&barrier);
}

static void begin(unsigned int home, intptr_t parties)
{
	cross_open(SHARDS, &slow);
	ok(cross_run(home, init, (void *)parties));
}

static void settle(void)
{
	for (int i = 0; i < 100; i++) {
		apus_clock_set(&cross.clock, apus_clock_read(&cross.clock) + 100 * APUS_US);
		cross_turn();
	}
}

static void last_one_lets_all_through(void **state)
{
	for (unsigned int home = 0; home < SHARDS; home++) {
		struct apus_task *t[SHARDS];
		unsigned int seen = 0;

		begin(home, SHARDS);
		for (int round = 0; round < 3; round++) {
			seen = 0;
			for (unsigned int i = 0; i < SHARDS; i++) {
				settle();
				assert_int_equal(cross_run(home, waiting, NULL), i);
				t[i] = cross_spawn(i, wait_once, NULL);
			}
			for (unsigned int i = 0; i < SHARDS; i++) {
				assert_int_equal(cross_await(i, t[i]), i); /* in order of arrival */
				seen++;
			}
			assert_int_equal(seen, SHARDS);
		}
		assert_int_equal(cross_run((home + 1) % SHARDS, waiting, NULL), -EXDEV);
		cross_close();
	}
}

static void reset_sends_away_who_waits(void **state)
{
	struct apus_task *t[3];

	begin(1, SHARDS);
	for (unsigned int i = 0; i < 3; i++)
		t[i] = cross_spawn(i, wait_once, NULL);
	settle();
	ok(cross_run(3, reset, NULL));
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(cross_await(i, t[i]), -EPIPE);
	for (unsigned int i = 0; i < 3; i++)
		t[i] = cross_spawn(i, wait_once, NULL);
	assert_true(cross_run(3, wait_once, NULL) >= 0); /* as new */
	for (unsigned int i = 0; i < 3; i++)
		assert_true(cross_await(i, t[i]) >= 0);
	cross_close();
}

static void abort_breaks_it_until_reset(void **state)
{
	struct apus_task *t[3];

	begin(1, 2);
	t[0] = cross_spawn(0, wait_once, NULL);
	settle();
	ok(cross_run(3, abort_it, NULL));
	assert_int_equal(cross_await(0, t[0]), -EPIPE);
	assert_int_equal(cross_run(2, wait_once, NULL), -EPIPE);
	ok(cross_run(3, reset, NULL));
	t[0] = cross_spawn(0, wait_once, NULL);
	assert_int_equal(cross_run(2, wait_once, NULL) + cross_await(0, t[0]), 1);
	cross_close();
}

/* Whenever one is cancelled: it was let through, or it left and another takes its place. */
static void cancel_after(unsigned int shard, unsigned int steps, bool *was_done)
{
	struct apus_task *t, *other;

	begin(0, 2);
	t = cross_spawn(shard, wait_once, NULL);
	other = cross_spawn(3, wait_once, NULL);
	for (unsigned int i = 0; i < steps; i++)
		cross_turn();
	*was_done = apus_task_done(t);
	cross_cancel(shard, t);

	int64_t rc = cross_await(shard, t);

	if (rc == -ECANCELED) {
		assert_false(*was_done);
		settle();
		assert_false(apus_task_done(other));
		assert_true(cross_run(1, wait_once, NULL) >= 0);
	} else {
		assert_true(rc >= 0);
	}
	assert_true(cross_await(3, other) >= 0);
	assert_int_equal(cross_run(0, waiting, NULL), 0);
	cross_close();
}

static void cancelled_one_leaves_and_the_others_wait_on(void **state)
{
	for (unsigned int shard = 0; shard < 2; shard++) {
		for (unsigned int k = 0; k < 20; k++) {
			bool was_done;

			cancel_after(shard, k, &was_done);
		}
	}
}

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static void home_that_left_is_an_error(void **state)
{
	begin(0, 2);
	ok(cross_run(0, leave, NULL));
	while (!apus_cross_has_left(cross.shards[0]))
		cross_step();
	assert_int_equal(cross_run(1, wait_once, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, abort_it, NULL), -ESHUTDOWN);
	cross_close();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_one_lets_all_through),
		cmocka_unit_test(reset_sends_away_who_waits),
		cmocka_unit_test(abort_breaks_it_until_reset),
		cmocka_unit_test(cancelled_one_leaves_and_the_others_wait_on),
		cmocka_unit_test(home_that_left_is_an_error),
	};

	return test_main(argc, argv, tests);
}
