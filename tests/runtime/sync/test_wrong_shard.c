/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_wrong_shard.c: every call that would wait for an object of another shard
 * returns -EXDEV, and leaves the object and its waiters as they were.
 *
 * Two shards in one thread. The objects are the first one's, in a state in which each call would have
 * to wait; a task of the second does the call. Then a task of the first does, which waits as ever.
 * In debug mode a sentence says so, and the calls that never wait are looked at as well.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"

static struct {
	struct apus_lock lock, condition_lock;
	struct apus_condition condition;
	struct apus_semaphore semaphore;
	struct apus_barrier barrier;
	struct apus_event event;
	struct apus_future future;
	struct apus_gate gate;
	struct apus_queue empty, full;
	struct apus_oneshot oneshot;
	struct apus_watch watch;
	struct apus_broadcast broadcast;
	struct apus_subscriber subscriber;
	struct apus_waitq waitq;
	struct apus_generator generator;
	struct apus_group group;
	struct apus_task *task; /* sleeps, for ever or until it is cancelled */
} world;

static void *item;

static int64_t yields_two(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, NULL, NULL);

	return rc ? rc : apus_generator_yield(g, NULL, NULL);
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(APUS_NEVER);
}

static int64_t wait_in_queue(void *arg)
{
	return apus_waitq_wait(&world.waitq, "something");
}

static int64_t open_world(void *arg)
{
	const struct apus_queue_options one = {.capacity = 1};

	memset(&world, 0, sizeof(world));
	apus_lock_init(&world.lock);
	apus_lock_init(&world.condition_lock);
	apus_condition_init(&world.condition, &world.condition_lock);
	apus_semaphore_init(&world.semaphore, 0, 1);
	apus_barrier_init(&world.barrier, 2);
	apus_event_init(&world.event);
	apus_future_init(&world.future);
	apus_gate_init(&world.gate);
	ok(apus_queue_init(&world.empty, &one));
	ok(apus_queue_init(&world.full, &one));
	apus_oneshot_init(&world.oneshot);
	apus_watch_init(&world.watch, NULL);
	ok(apus_broadcast_init(&world.broadcast, 1, APUS_LAG_WAIT));
	apus_waitq_init(&world.waitq);
	ok(apus_lock_acquire(&world.lock));
	ok(apus_lock_acquire(&world.condition_lock));
	ok(apus_gate_enter(&world.gate));
	ok(apus_queue_try_put(&world.full, &world));
	world.task = apus_spawn(sleep_long, NULL);
	apus_generator_open(&world.generator, yields_two, NULL);
	assert_int_equal(apus_generator_next(&world.generator, &item), 1);
	apus_broadcast_subscribe(&world.broadcast, &world.subscriber);
	return apus_spawn_detached(NULL, wait_in_queue, NULL, 0);
}

/* The calls. */

static int64_t call_lock(void *arg)
{
	return apus_lock_acquire(&world.lock);
}

static int64_t call_semaphore(void *arg)
{
	return apus_semaphore_acquire(&world.semaphore, 1);
}

static int64_t call_condition(void *arg)
{
	return apus_condition_wait(&world.condition);
}

static int64_t call_barrier(void *arg)
{
	return apus_barrier_wait(&world.barrier);
}

static int64_t call_event(void *arg)
{
	return apus_event_wait(&world.event);
}

static int64_t call_future(void *arg)
{
	return apus_future_await(&world.future);
}

static int64_t call_gate(void *arg)
{
	return apus_gate_close(&world.gate);
}

static int64_t call_get(void *arg)
{
	return apus_queue_get(&world.empty, &item);
}

static int64_t call_put(void *arg)
{
	return apus_queue_put(&world.full, &world);
}

static int64_t call_join(void *arg)
{
	return apus_queue_join(&world.full);
}

static int64_t call_oneshot(void *arg)
{
	return apus_oneshot_recv(&world.oneshot, &item);
}

static int64_t call_watch(void *arg)
{
	uint64_t seen = world.watch.version;

	return apus_watch_changed(&world.watch, &seen, &item);
}

static int64_t call_recv(void *arg)
{
	return apus_broadcast_recv(&world.subscriber, &item);
}

static int64_t call_send(void *arg)
{
	if (world.broadcast.sent == 0)
		world.broadcast.sent = 1; /* the subscriber is one behind: it is full */
	return apus_broadcast_send(&world.broadcast, &world);
}

static int64_t call_waitq(void *arg)
{
	return apus_waitq_wait(&world.waitq, "something");
}

static int64_t call_select(void *arg)
{
	struct apus_select_case *one = arg;

	return apus_select(one, 1);
}

static int64_t call_select_all(void *arg)
{
	struct apus_select_case cases[] = {
		APUS_SELECT_GET(&world.empty, &item), APUS_SELECT_PUT(&world.full, &world),
		APUS_SELECT_EVENT(&world.event),      APUS_SELECT_FUTURE(&world.future),
		APUS_SELECT_TASK(world.task),
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		int64_t rc = call_select(&cases[i]);

		if (rc != -EXDEV)
			return rc;
	}
	return -EXDEV;
}

static int64_t call_await(void *arg)
{
	return apus_await(world.task);
}

static int64_t call_gather(void *arg)
{
	return apus_gather(&world.task, 1, NULL, 0);
}

static int64_t call_wait(void *arg)
{
	return apus_wait(&world.task, 1, APUS_WAIT_ALL, APUS_NEVER);
}

static int64_t call_as_completed(void *arg)
{
	struct apus_as_completed it;
	int64_t rc = apus_as_completed_begin(&it, &world.task, 1);

	if (!rc)
		rc = apus_as_completed_next(&it);
	apus_as_completed_end(&it);
	return rc;
}

static int64_t call_wait_for(void *arg)
{
	return apus_wait_for(world.task, 0);
}

static int64_t call_shield(void *arg)
{
	return apus_shield(world.task);
}

/* The first shard would not wait here: what its values are is not this test's business. */

static int64_t call_generator_next(void *arg)
{
	return apus_generator_next(&world.generator, &item);
}

static int64_t call_generator_throw(void *arg)
{
	return apus_generator_throw(&world.generator, -EIO, &item);
}

static int64_t call_generator_close(void *arg)
{
	return apus_generator_close(&world.generator);
}

static int64_t call_group_spawn(void *arg)
{
	apus_group_begin(&world.group, APUS_GROUP_FAIL_FAST);
	struct apus_task *parent = world.group.parent;

	world.group.parent = world.task;
	int64_t rc = apus_group_spawn(&world.group, NULL, sleep_long, NULL, 0);

	world.group.parent = parent;
	assert_int_equal(apus_group_end(&world.group, 0), 0);
	return rc;
}

#define SPENDS  (1u << 0) /* a handle, when it does not fail */
#define NO_WAIT (1u << 1)

static const struct row {
	const char *name;
	apus_task_fn call;
	unsigned int flags;
} rows[] = {
	{"lock_acquire", call_lock, 0},
	{"semaphore_acquire", call_semaphore, 0},
	{"condition_wait", call_condition, 0},
	{"barrier_wait", call_barrier, 0},
	{"event_wait", call_event, 0},
	{"future_await", call_future, 0},
	{"gate_close", call_gate, 0},
	{"queue_get", call_get, 0},
	{"queue_put", call_put, 0},
	{"queue_join", call_join, 0},
	{"oneshot_recv", call_oneshot, 0},
	{"watch_changed", call_watch, 0},
	{"broadcast_recv", call_recv, 0},
	{"broadcast_send", call_send, 0},
	{"waitq_wait", call_waitq, 0},
	{"select", call_select_all, 0},
	{"await", call_await, SPENDS},
	{"gather", call_gather, SPENDS},
	{"wait", call_wait, 0},
	{"as_completed", call_as_completed, 0},
	{"wait_for", call_wait_for, SPENDS | NO_WAIT},
	{"shield", call_shield, SPENDS},
	{"generator_next", call_generator_next, NO_WAIT},
	{"generator_throw", call_generator_throw, NO_WAIT},
	{"generator_close", call_generator_close, NO_WAIT},
	{"group_spawn", call_group_spawn, NO_WAIT},
};

/* @fn runs on another shard. Return: its result. */
static int64_t run_elsewhere(apus_task_fn fn)
{
	struct apus_shard *other;

	ok(apus_shard_open(
		&(struct apus_shard_options){.core = -1, .clock = &test_world.clock, .seed = 1},
		&other));
	apus_shard_enter(other);

	struct apus_task *t = apus_spawn(fn, NULL);

	for (int i = 0; i < 4; i++)
		apus_shard_turn(other);
	assert_true(apus_task_done(t));
	int64_t rc = apus_task_result(t);

	apus_detach(t);
	apus_shard_close(other);
	apus_shard_enter(test_world.shard);
	return rc;
}

static void call_of_another_shard_is_exdev_and_changes_nothing(void **state)
{
	const struct row *row = *state;

	ok(test_run(open_world, NULL));
	test_laps(2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(run_elsewhere(row->call), -EXDEV);
	assert_false(apus_task_done(world.task));
	assert_int_equal(apus_task_cancelling(world.task), 0);

	/* At home it waits. */
	if (!(row->flags & NO_WAIT)) {
		if (row->flags & SPENDS)
			(void)!apus_task_get(world.task);

		struct apus_task *t = apus_spawn(row->call, NULL);

		test_laps(4);
		assert_false(apus_task_done(t));
		apus_task_cancel(t);
		int64_t rc = test_await(t);

		assert_true(rc == -ECANCELED);
	}
	for (int i = 0; i < 8; i++) {
		apus_shard_cancel_all(test_world.shard);
		test_laps(2);
	}
	test_drain();
	apus_detach(world.task);
	apus_broadcast_unsubscribe(&world.subscriber);
	apus_broadcast_fini(&world.broadcast);
	apus_queue_fini(&world.empty);
	apus_queue_fini(&world.full);
	test_world.passed = true;
}

/* In debug mode: a sentence, and the calls that never wait. */

static int64_t calls_that_never_wait(void *arg)
{
	assert_int_equal(apus_lock_release(&world.lock), -EXDEV);
	assert_int_equal(apus_semaphore_release(&world.semaphore, 1), -EXDEV);
	assert_int_equal(apus_queue_try_put(&world.empty, &world), -EXDEV);
	assert_int_equal(apus_queue_try_get(&world.full, &item), -EXDEV);
	assert_int_equal(apus_queue_task_done(&world.full), -EXDEV);
	assert_int_equal(apus_future_set(&world.future, 1), -EXDEV);
	assert_int_equal(apus_oneshot_send(&world.oneshot, &world), -EXDEV);
	assert_int_equal(apus_gate_enter(&world.gate), -EXDEV);
	return apus_gate_leave(&world.gate);
}

static APUS_NOINLINE int64_t wait_for_foreign_event(void *arg)
{
	static volatile int64_t rc;

	rc = apus_event_wait(&world.event);
	return rc;
}

static void open_and_misuse(void *arg)
{
	(void)!test_open_with(&(struct apus_shard_options){.core = -1, .debug = true});
	if (test_run(open_world, NULL) || run_elsewhere(calls_that_never_wait) != -EXDEV ||
	    run_elsewhere(wait_for_foreign_event) != -EXDEV)
		_exit(1);
}

static struct test_capture capture;

static void debug_mode_looks_at_every_call_and_says_so(void **state)
{
	assert_int_equal(test_in_child(open_and_misuse, NULL, &capture), 0);
	assert_non_null(strstr(capture.text, "debug: release of a lock of another shard"));
	assert_non_null(strstr(capture.text, "debug: enter of a gate of another shard"));
	assert_non_null(strstr(capture.text, "calls_that_never_wait+0x"));
	assert_non_null(strstr(capture.text, "debug: wait for an event of another shard"));
	assert_non_null(strstr(capture.text, "wait_for_foreign_event+0x"));
	assert_non_null(strstr(capture.text, "it was initialised by main at open_world+0x"));
}

/* Initialised before there is a shard: whose it is the first wait decides. */

static int64_t wait_a_moment(void *arg)
{
	return apus_event_wait(&world.event);
}

static void object_of_no_shard_belongs_to_who_first_waits_for_it(void **state)
{
	struct apus_shard *shard = apus_shard_enter(NULL);

	apus_event_init(&world.event);
	apus_shard_enter(shard);
	assert_int_equal(world.event.home, 0);
	struct apus_task *t = apus_spawn(wait_a_moment, NULL);

	test_laps(1);
	assert_int_equal(run_elsewhere(call_event), -EXDEV);
	apus_event_set(&world.event);
	ok(test_await(t));
	ok(run_elsewhere(call_event)); /* it need not wait: nobody looks */
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(rows) + 2] = {
		[apus_countof(rows)] =
			shard_test(object_of_no_shard_belongs_to_who_first_waits_for_it),
		[apus_countof(rows) + 1] =
			cmocka_unit_test(debug_mode_looks_at_every_call_and_says_so),
	};
	for (size_t i = 0; i < apus_countof(rows); i++)
		tests[i] = (struct CMUnitTest){
			rows[i].name,
			call_of_another_shard_is_exdev_and_changes_nothing,
			test_open,
			test_close,
			(void *)(uintptr_t)&rows[i],
		};
	return test_main(argc, argv, tests);
}
