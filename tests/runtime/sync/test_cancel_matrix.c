/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_cancel_matrix.c: every call that waits, cancelled at every moment.
 *
 * A row (cancel_rows.h) says how to make the call wait and how to complete it. Each is cancelled
 * before its task begins, before the call, while it waits, right before and some laps after its
 * completion, and twice. Whenever the cancel was taken, the outcome is -ECANCELED and the result is
 * lost, but not what it stood for: one completion serves exactly one, so the next waiter has it.
 * After each round nobody is linked, no timer is armed, and the heap has as many objects as before.
 */
#include "tests/runtime/sync/cancel_rows.h"

/* The world, made anew for each round. */

static void world_open(void)
{
	const struct apus_queue_options one = {.capacity = 1};

	memset(&world, 0, sizeof(world));
	for (int i = 0; i < WHO; i++) {
		apus_event_init(&world.events[i]);
		apus_future_init(&world.futures[i]);
		apus_barrier_init(&world.barriers[i], 2);
	}
	apus_lock_init(&world.lock);
	apus_condition_init(&world.condition, &world.lock);
	apus_semaphore_init(&world.semaphore, 3, 3);
	ok(apus_queue_init(&world.empty, &one));
	ok(apus_queue_init(&world.full, &one));
	ok(apus_queue_init(&world.other, &one));
	ok(apus_queue_try_put(&world.full, &world));
	apus_gate_init(&world.gate);
	apus_oneshot_init(&world.oneshot);
	apus_watch_init(&world.watch, NULL);
	ok(apus_broadcast_init(&world.lossy, 4, APUS_LAG_DROP));
	ok(apus_broadcast_init(&world.strict, 1, APUS_LAG_WAIT));
	for (int i = 0; i < WHO; i++)
		apus_broadcast_subscribe(&world.lossy, &world.listeners[i]);
	apus_broadcast_subscribe(&world.strict, &world.slowest);
	apus_waitq_init(&world.waitq);
	if (row->open)
		ok(test_run(row->open, NULL));
}

/* Every queue of waiters there is; of the row's own as of the others'. */
static void assert_nobody_is_linked(void)
{
	struct apus_waitq *all[] = {
		&world.events[0].waiters,
		&world.events[1].waiters,
		&world.futures[0].waiters,
		&world.futures[1].waiters,
		&world.barriers[0].condition.waiters,
		&world.barriers[1].condition.waiters,
		&world.barriers[0].lock.waiters,
		&world.barriers[1].lock.waiters,
		&world.lock.waiters,
		&world.condition.waiters,
		&world.semaphore.waiters,
		&world.empty.getters,
		&world.empty.putters,
		&world.full.getters,
		&world.full.putters,
		&world.other.joiners,
		&world.gate.closers,
		&world.oneshot.receivers,
		&world.watch.receivers,
		&world.lossy.receivers,
		&world.strict.senders,
		&world.strict.receivers,
		&world.waitq,
	};

	for (size_t i = 0; i < apus_countof(all); i++) {
		if (!apus_waitq_empty(all[i]))
			fail_msg("%s: somebody is linked in queue %zu", row->name, i);
	}
	assert_false(world.lock.state & APUS_LOCK_PROMISED);
	assert_int_equal(world.semaphore.promised, 0);
}

static void world_close(void)
{
	if (row->flags & LEAVES)
		apus_shard_cancel_all(test_world.shard);
	for (int i = 0; i < 8; i++)
		apus_shard_turn(test_world.shard);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	assert_nobody_is_linked();
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	for (int i = 0; i < WHO; i++)
		apus_broadcast_unsubscribe(&world.listeners[i]);
	apus_broadcast_unsubscribe(&world.slowest);
	apus_broadcast_fini(&world.lossy);
	apus_broadcast_fini(&world.strict);
	apus_queue_fini(&world.empty);
	apus_queue_fini(&world.full);
	apus_queue_fini(&world.other);
}

/* The moments. */

static unsigned int spawn_flags;
static bool was_entered;

static int64_t call_once(void *arg)
{
	was_entered = true;
	return row->call((int)(intptr_t)arg);
}

static int64_t cancel_and_call(void *arg)
{
	assert_true(apus_task_cancel(apus_task_self()));
	return call_once(arg);
}

static int64_t call_twice(void *arg)
{
	assert_int_equal(call_once(arg), -ECANCELED);
	assert_int_equal(cancelling(), 2);
	return call_once(arg);
}

static struct apus_task *start(apus_task_fn fn, intptr_t who)
{
	const struct apus_spawn_options options = {.flags = spawn_flags};

	return apus_spawn_with(&options, fn, (void *)who, 0);
}

static void settle(void)
{
	if (row->flags & INSTANT) {
		test_laps(!(spawn_flags & APUS_SPAWN_EAGER));
		return;
	}
	while (apus_shard_next_ns(test_world.shard) <= apus_clock_read(&test_world.clock))
		apus_shard_turn(test_world.shard);
}

static void serve(void)
{
	if (!row->complete)
		return;
	row->complete(0);
	if (!(row->flags & HANDS_ON))
		row->complete(1);
}

static void assert_usable(void)
{
	struct apus_task *t = start(call_once, 0);

	settle();
	assert_false(apus_task_done(t));
	serve();
	ok(test_await(t));
}

static void cancelled_before_it_begins(int unused)
{
	was_entered = false;
	struct apus_task *t = apus_spawn(call_once, NULL);

	assert_true(apus_task_cancel(t));
	assert_int_equal(test_await(t), -ECANCELED);
	assert_false(was_entered);
	assert_usable();
}

static void cancelled_before_the_call(int unused)
{
	assert_int_equal(test_await(start(cancel_and_call, 0)), -ECANCELED);
	assert_usable();
}

static void cancelled_while_it_waits(int times)
{
	struct apus_task *t = start(call_once, 0), *next = start(call_once, 1);

	settle();
	assert_false(apus_task_done(t));
	for (int i = 0; i < times; i++)
		assert_true(apus_task_cancel(t));
	assert_int_equal(test_await(t), -ECANCELED);
	assert_true((row->flags & INSTANT) || !apus_task_done(next));
	serve();
	ok(test_await(next));
}

static void cancelled_right_before_its_completion(int unused)
{
	struct apus_task *t = start(call_once, 0), *next = start(call_once, 1);

	settle();
	assert_true(apus_task_cancel(t));
	serve();
	assert_int_equal(test_await(t), -ECANCELED);
	ok(test_await(next));
}

static void cancelled_after_its_completion(int laps)
{
	struct apus_task *t = start(call_once, 0), *next = start(call_once, 1);
	int64_t expected = 0;

	settle();
	serve();
	test_laps(laps);
	bool was_asked = apus_task_cancel(t);

	assert_true(laps || was_asked); /* completion never runs the waiter inline */
	assert_int_equal(test_await(t), was_asked ? -ECANCELED : 0);
	if (!was_asked && (row->flags & ONCE))
		expected = -EPIPE;
	else if (!was_asked && (row->flags & HANDS_ON))
		serve();
	assert_int_equal(test_await(next), expected);
}

static void cancelled_twice_it_may_call_again(int unused)
{
	struct apus_task *t = start(call_twice, 0);

	settle();
	assert_true(apus_task_cancel(t));
	assert_true(apus_task_cancel(t));
	settle();
	assert_true((row->flags & INSTANT) || !apus_task_done(t));
	serve();
	ok(test_await(t));
}

/* Each moment twice: the second must leave as many objects on the heap as it found. */
static void round_of(const char *what, void (*moment)(int arg), int arg)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);
	uint64_t live = 0;

	for (int i = 0; i < 2; i++) {
		live = heap->live;
		world_open();
		moment(arg);
		world_close();
	}
	if (heap->live != live)
		fail_msg("%s, %s(%d): %llu objects before, %llu after", row->name, what, arg,
			 (unsigned long long)live, (unsigned long long)heap->live);
}

#define round_of(moment, arg) (round_of)(#moment, moment, arg)

static void run_row(void **state)
{
	static const unsigned int flags[] = {0, APUS_SPAWN_EAGER};

	row = *state;
	for (size_t i = 0; i < apus_countof(flags); i++) {
		spawn_flags = flags[i];
		round_of(cancelled_before_it_begins, 0);
		round_of(cancelled_before_the_call, 0);
		round_of(cancelled_while_it_waits, 1);
		round_of(cancelled_while_it_waits, 2);
		round_of(cancelled_right_before_its_completion, 0);
		for (int laps = 0; laps < 8; laps++)
			round_of(cancelled_after_its_completion, laps);
		round_of(cancelled_twice_it_may_call_again, 0);
	}
	test_world.passed = true;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(rows)];

	for (size_t i = 0; i < apus_countof(rows); i++)
		tests[i] = (struct CMUnitTest){
			rows[i].name, run_row, test_open, test_close, (void *)(uintptr_t)&rows[i],
		};
	return test_main(argc, argv, tests);
}
