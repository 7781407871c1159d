/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/cancel_rows.h: the calls that wait, for test_cancel_matrix.c: how to make each
 * wait, and how to complete it.
 */
#ifndef APUS_TESTS_RUNTIME_SYNC_CANCEL_ROWS_H
#define APUS_TESTS_RUNTIME_SYNC_CANCEL_ROWS_H

#include "tests/runtime/runtime_test.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/timeout.h"

/* Two tasks do each call: 0, which is cancelled, and 1 behind it, which must be served. */
#define WHO 2

#define HANDS_ON (1u << 0) /* a completion is for one waiter; else complete() is told for whom */
#define INSTANT  (1u << 1) /* waits for one lap only, and completes itself */
#define ONCE     (1u << 2) /* who comes after the one that was served gets -EPIPE */
#define LEAVES   (1u << 3) /* tasks that go on after the cancel */

struct row {
	const char *name;
	int64_t (*call)(int who);   /* 0, or a negative errno; waits */
	void (*complete)(int who);  /* from outside of a task */
	int64_t (*open)(void *arg); /* in a task; what makes the call wait. May be NULL */
	unsigned int flags;
};

static const struct row *row;

static struct {
	struct apus_event events[WHO];
	struct apus_future futures[WHO];
	struct apus_barrier barriers[WHO];
	struct apus_lock lock;
	struct apus_condition condition;
	struct apus_semaphore semaphore;
	struct apus_queue empty, full, other;
	struct apus_gate gate;
	struct apus_oneshot oneshot;
	struct apus_watch watch;
	struct apus_broadcast lossy, strict;
	struct apus_subscriber listeners[WHO], slowest;
	struct apus_waitq waitq;
	int changes;
} world;

static int64_t zero_or_error(int64_t rc)
{
	return rc < 0 ? rc : 0;
}

static void in_a_task(apus_task_fn fn, void *arg)
{
	ok(apus_spawn_detached(NULL, fn, arg, 0));
}

/* The shard's own. */

static int64_t call_yield(int who)
{
	return apus_yield();
}

static int64_t call_checkpoints(int who)
{
	int rc = 0;

	for (int i = 0; i < 128 && rc == 0; i++)
		rc = apus_checkpoint();
	return rc;
}

static int64_t call_sleep(int who)
{
	return apus_sleep(10 * APUS_MS);
}

static int64_t call_sleep_until(int who)
{
	return apus_sleep_until(apus_now() + 10 * APUS_MS);
}

static void time_goes_by(int who)
{
	if (who == 0)
		apus_clock_set(&test_world.clock,
			       apus_clock_read(&test_world.clock) + 10 * APUS_MS);
}

static int64_t call_waitq(int who)
{
	return apus_waitq_wait(&world.waitq, "matrix");
}

static void wake_waitq(int who)
{
	apus_waitq_wake_all(&world.waitq, 0);
}

/* Children that wait for an event of their parent's. */

static int64_t child(void *arg)
{
	return apus_event_wait(arg);
}

static struct apus_task *spawn_child(int who)
{
	apus_event_clear(&world.events[who]);
	return apus_spawn(child, &world.events[who]);
}

static void set_event(int who)
{
	apus_event_set(&world.events[who]);
}

static int64_t call_await(int who)
{
	return apus_await(spawn_child(who));
}

static int64_t call_shield(int who)
{
	return apus_shield(spawn_child(who));
}

static int64_t call_wait_for(int who)
{
	return apus_wait_for(spawn_child(who), 3600 * APUS_SEC);
}

static int64_t call_wait_for_too_long(int who)
{
	int64_t rc = apus_wait_for(spawn_child(who), 10 * APUS_MS);

	return rc == -ETIMEDOUT ? 0 : rc == 0 ? -EBADE : rc;
}

#define CHILDREN 20 /* more than gather and wait have room for without memory */

static int64_t gather(int who, unsigned int flags)
{
	struct apus_task *tasks[CHILDREN];
	int64_t results[CHILDREN];

	for (int i = 0; i < CHILDREN; i++)
		tasks[i] = spawn_child(who);
	return apus_gather(tasks, CHILDREN, results, flags);
}

static int64_t call_gather(int who)
{
	return gather(who, 0);
}

static int64_t call_gather_errors(int who)
{
	return gather(who, APUS_GATHER_RETURN_ERRORS);
}

static void end_children(struct apus_task *tasks[])
{
	for (int i = 0; i < CHILDREN; i++) {
		assert_int_equal(apus_task_cancelling(tasks[i]), 0); /* it was not for them */
		apus_task_cancel(tasks[i]);
		apus_detach(tasks[i]);
	}
}

static int64_t call_wait(int who)
{
	struct apus_task *tasks[CHILDREN];

	for (int i = 0; i < CHILDREN; i++)
		tasks[i] = spawn_child(who);
	int64_t n = apus_wait(tasks, CHILDREN, APUS_WAIT_ALL, 3600 * APUS_SEC);

	end_children(tasks);
	return n == CHILDREN ? 0 : n;
}

static int64_t call_as_completed(int who)
{
	struct apus_task *tasks[CHILDREN];
	struct apus_as_completed it;
	int64_t rc = 0;

	for (int i = 0; i < CHILDREN; i++)
		tasks[i] = spawn_child(who);
	ok(apus_as_completed_begin(&it, tasks, CHILDREN));
	for (int i = 0; i < CHILDREN && rc >= 0; i++)
		rc = apus_as_completed_next(&it);
	apus_as_completed_end(&it);
	end_children(tasks);
	return zero_or_error(rc);
}

static int64_t call_race(int who)
{
	struct apus_racer racers[] = {
		{.fn = child, .arg = &world.events[who]},
		{.fn = child, .arg = &world.events[who]},
	};

	apus_event_clear(&world.events[who]);
	return zero_or_error(apus_race_staggered(racers, 2, 3600 * APUS_SEC));
}

static int64_t call_group(int who)
{
	struct apus_group g;
	int64_t rc = 0;

	apus_event_clear(&world.events[who]);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < 3; i++)
		ok(apus_group_spawn(&g, NULL, child, &world.events[who], 0));
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	return rc;
}

static int64_t start_when_set(void *arg)
{
	int64_t rc = apus_event_wait(arg);

	return rc ? rc : apus_started(0);
}

static int64_t call_group_start(int who)
{
	struct apus_group g;

	apus_event_clear(&world.events[who]);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	int64_t rc = apus_group_start(&g, NULL, start_when_set, &world.events[who], 0);

	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	return rc;
}

static int64_t call_event(int who)
{
	apus_event_clear(&world.events[who]);
	return apus_event_wait(&world.events[who]);
}

static int64_t call_timeout(int who)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, 3600 * APUS_SEC);
	return apus_timeout_end(&limit, call_event(who));
}

static int64_t call_timeout_expires(int who)
{
	struct apus_timeout outer, limit;

	apus_timeout_begin(&outer, 3600 * APUS_SEC);
	apus_timeout_begin(&limit, 10 * APUS_MS);
	int64_t rc = apus_timeout_end(&limit, call_event(who));

	rc = apus_timeout_end(&outer, rc);
	return rc == -ETIMEDOUT ? 0 : rc == 0 ? -EBADE : rc;
}

static int64_t call_future(int who)
{
	apus_future_init(&world.futures[who]);
	return apus_future_await(&world.futures[who]);
}

static void set_future(int who)
{
	if (!apus_future_done(&world.futures[who]))
		ok(apus_future_set(&world.futures[who], 0));
}

/* Lock, semaphore, condition, barrier, gate. */

static int64_t take_lock(void *arg)
{
	return apus_lock_acquire(&world.lock);
}

static int64_t call_lock(int who)
{
	return apus_lock_acquire(&world.lock);
}

static void release_lock(int who)
{
	ok(apus_lock_release(&world.lock));
}

static int64_t take_units(void *arg)
{
	return apus_semaphore_acquire(&world.semaphore, 3);
}

static int64_t call_semaphore(int who)
{
	return apus_semaphore_acquire(&world.semaphore, 3);
}

static void release_units(int who)
{
	ok(apus_semaphore_release(&world.semaphore, 1));
	ok(apus_semaphore_release(&world.semaphore, 2));
}

static int64_t call_condition(int who)
{
	int64_t rc = apus_lock_acquire(&world.lock);

	if (rc)
		return rc;
	rc = apus_condition_wait(&world.condition);
	ok(apus_lock_release(&world.lock)); /* ours, whatever came */
	return rc;
}

static int64_t notify_one(void *arg)
{
	ok(apus_lock_acquire(&world.lock));
	world.changes++;
	ok(apus_condition_notify(&world.condition, 1));
	return apus_lock_release(&world.lock);
}

static void notify(int who)
{
	in_a_task(notify_one, NULL);
}

static bool has_changed(void *arg)
{
	return world.changes > 0;
}

static int64_t call_condition_for(int who)
{
	int64_t rc = apus_lock_acquire(&world.lock);

	if (rc)
		return rc;
	rc = apus_condition_wait_for(&world.condition, has_changed, NULL);
	if (rc == 0)
		world.changes--;
	ok(apus_lock_release(&world.lock));
	return rc;
}

static int64_t call_barrier(int who)
{
	return zero_or_error(apus_barrier_wait(&world.barriers[who]));
}

static int64_t hold_barriers(void *arg)
{
	ok(apus_lock_acquire(&world.barriers[0].lock));
	return apus_lock_acquire(&world.barriers[1].lock);
}

static void let_barrier_go(int who)
{
	if (apus_lock_is_locked(&world.barriers[who].lock))
		ok(apus_lock_release(&world.barriers[who].lock));
}

static int64_t call_barrier_reset(int who)
{
	return apus_barrier_reset(&world.barriers[who]);
}

static int64_t call_barrier_abort(int who)
{
	return apus_barrier_abort(&world.barriers[who]);
}

static int64_t come_to_barrier(void *arg)
{
	return zero_or_error(apus_barrier_wait(arg));
}

static void fill_barrier(int who)
{
	in_a_task(come_to_barrier, &world.barriers[who]);
}

static int64_t enter_gate(void *arg)
{
	return apus_gate_enter(&world.gate);
}

static int64_t call_gate(int who)
{
	return apus_gate_close(&world.gate);
}

static void leave_gate(int who)
{
	if (world.gate.inside)
		apus_gate_leave(&world.gate);
}

/* Queues and select. */

static int64_t call_get(int who)
{
	void *item;

	return apus_queue_get(&world.empty, &item);
}

static void put_item(int who)
{
	ok(apus_queue_try_put(&world.empty, &world));
}

static int64_t call_put(int who)
{
	return apus_queue_put(&world.full, &world);
}

static void get_item(int who)
{
	void *item;

	ok(apus_queue_try_get(&world.full, &item));
}

static int64_t put_one(void *arg)
{
	return apus_queue_put(&world.other, &world);
}

static int64_t call_join(int who)
{
	return apus_queue_join(&world.other);
}

static void work_off(int who)
{
	if (who == 0)
		ok(apus_queue_task_done(&world.other));
}

static int64_t call_select(int who)
{
	void *item;
	struct apus_select_case cases[] = {
		APUS_SELECT_EVENT(&world.events[0]),
		APUS_SELECT_GET(&world.empty, &item),
		APUS_SELECT_FUTURE(&world.futures[0]),
		APUS_SELECT_UNTIL(apus_now() + 3600 * APUS_SEC),
	};
	int64_t rc = apus_select(cases, apus_countof(cases));

	return rc == 1 ? cases[1].rc : rc < 0 ? rc : -EBADE;
}

static int64_t call_select_put(int who)
{
	struct apus_select_case cases[] = {
		APUS_SELECT_UNTIL(APUS_NEVER),
		APUS_SELECT_PUT(&world.full, &world),
	};
	int64_t rc = apus_select(cases, apus_countof(cases));

	return rc == 1 ? cases[1].rc : rc < 0 ? rc : -EBADE;
}

/* Channels. */

static int64_t call_oneshot(int who)
{
	void *value;

	return apus_oneshot_recv(&world.oneshot, &value);
}

static void send_oneshot(int who)
{
	ok(apus_oneshot_send(&world.oneshot, &world));
}

static int64_t call_watch(int who)
{
	uint64_t seen = 0;
	void *value;
	int64_t rc = apus_watch_changed(&world.watch, &seen, &value);

	return rc ? rc : apus_watch_changed(&world.watch, &seen, &value);
}

static void set_watch(int who)
{
	if (who == 0)
		apus_watch_set(&world.watch, &world);
}

static int64_t call_recv(int who)
{
	void *value;

	return apus_broadcast_recv(&world.listeners[who], &value);
}

static int64_t send_lossy(void *arg)
{
	return apus_broadcast_send(&world.lossy, &world);
}

static void send_to_listeners(int who)
{
	if (who == 0)
		in_a_task(send_lossy, NULL);
}

static int64_t call_send(int who)
{
	return apus_broadcast_send(&world.strict, &world);
}

static int64_t send_strict(void *arg)
{
	return apus_broadcast_send(&world.strict, &world);
}

static int64_t receive_strict(void *arg)
{
	void *value;

	return apus_broadcast_recv(&world.slowest, &value);
}

static void catch_up(int who)
{
	in_a_task(receive_strict, NULL);
}

/* Generators. The body waits for the event before, between or after its values. */

static int64_t waits_then_yields(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_event_wait(arg);

	return rc ? rc : apus_generator_yield(g, arg, NULL);
}

static int64_t yields_then_waits(struct apus_generator *g, void *arg)
{
	int64_t rc = apus_generator_yield(g, arg, NULL);
	int64_t cleanup = apus_event_wait(arg);

	if (cleanup)
		return cleanup;
	return rc == 0        ? apus_generator_yield(g, arg, NULL)
	       : rc == -EPIPE ? apus_generator_yield(g, arg, NULL)
			      : rc;
}

static int64_t call_generator_next(int who)
{
	struct apus_generator g;
	void *value;

	apus_event_clear(&world.events[who]);
	apus_generator_open(&g, waits_then_yields, &world.events[who]);
	int64_t rc = apus_generator_next(&g, &value);
	int64_t closed = apus_generator_close(&g);

	return rc == 1 ? closed : rc;
}

enum generator_way {
	SEND,
	THROW,
	CLOSE
};

static int64_t generator(int who, enum generator_way way)
{
	struct apus_generator g;
	void *value;
	int64_t rc = 0;

	apus_event_clear(&world.events[who]);
	apus_generator_open(&g, yields_then_waits, &world.events[who]);
	assert_int_equal(apus_generator_next(&g, &value), 1);
	if (way == SEND)
		rc = apus_generator_send(&g, &world, &value);
	else if (way == THROW)
		rc = apus_generator_throw(&g, -EPIPE, &value);
	else
		rc = apus_generator_close(&g);
	int64_t closed = apus_generator_close(&g);

	assert_in_range(-closed, 0, 4095);
	return zero_or_error(rc);
}

static int64_t call_generator_send(int who)
{
	return generator(who, SEND);
}

static int64_t call_generator_throw(int who)
{
	return generator(who, THROW);
}

static int64_t call_generator_close(int who)
{
	return generator(who, CLOSE);
}

static const struct row rows[] = {
	{"yield", call_yield, NULL, NULL, INSTANT},
	{"checkpoint", call_checkpoints, NULL, NULL, INSTANT},
	{"sleep", call_sleep, time_goes_by, NULL, 0},
	{"sleep_until", call_sleep_until, time_goes_by, NULL, 0},
	{"waitq_wait", call_waitq, wake_waitq, NULL, 0},
	{"await", call_await, set_event, NULL, 0},
	{"shield", call_shield, set_event, NULL, LEAVES},
	{"wait_for", call_wait_for, set_event, NULL, 0},
	{"wait_for_that_expires", call_wait_for_too_long, time_goes_by, NULL, 0},
	{"gather", call_gather, set_event, NULL, 0},
	{"gather_return_errors", call_gather_errors, set_event, NULL, 0},
	{"wait", call_wait, set_event, NULL, 0},
	{"as_completed_next", call_as_completed, set_event, NULL, 0},
	{"race_staggered", call_race, set_event, NULL, 0},
	{"group_end", call_group, set_event, NULL, 0},
	{"group_start", call_group_start, set_event, NULL, 0},
	{"event_wait", call_event, set_event, NULL, 0},
	{"timeout", call_timeout, set_event, NULL, 0},
	{"timeout_that_expires", call_timeout_expires, time_goes_by, NULL, 0},
	{"future_await", call_future, set_future, NULL, 0},
	{"lock_acquire", call_lock, release_lock, take_lock, HANDS_ON},
	{"semaphore_acquire", call_semaphore, release_units, take_units, HANDS_ON},
	{"condition_wait", call_condition, notify, NULL, HANDS_ON},
	{"condition_wait_for", call_condition_for, notify, NULL, HANDS_ON},
	{"barrier_wait", call_barrier, fill_barrier, NULL, LEAVES},
	{"barrier_reset", call_barrier_reset, let_barrier_go, hold_barriers, 0},
	{"barrier_abort", call_barrier_abort, let_barrier_go, hold_barriers, 0},
	{"gate_close", call_gate, leave_gate, enter_gate, 0},
	{"queue_get", call_get, put_item, NULL, HANDS_ON},
	{"queue_put", call_put, get_item, NULL, HANDS_ON},
	{"queue_join", call_join, work_off, put_one, 0},
	{"select_get", call_select, put_item, NULL, HANDS_ON},
	{"select_put", call_select_put, get_item, NULL, HANDS_ON},
	{"oneshot_recv", call_oneshot, send_oneshot, NULL, HANDS_ON | ONCE},
	{"watch_changed", call_watch, set_watch, NULL, 0},
	{"broadcast_recv", call_recv, send_to_listeners, NULL, 0},
	{"broadcast_send", call_send, catch_up, send_strict, HANDS_ON},
	{"generator_next", call_generator_next, set_event, NULL, 0},
	{"generator_send", call_generator_send, set_event, NULL, 0},
	{"generator_throw", call_generator_throw, set_event, NULL, 0},
	{"generator_close", call_generator_close, set_event, NULL, 0},
};

#endif
