/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_select_more.c: a select whose item is stolen, that shares its queue with
 * others, or stands in a time limit.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/select.h"
#include "runtime/sync/timeout.h"

static struct apus_queue queue, other;
static struct apus_event event;
static struct apus_future future;

static int open_select(void **state)
{
	const struct apus_queue_options one = {.capacity = 1}, many = {.capacity = 8};
	int rc = test_open(state);

	apus_event_init(&event);
	apus_future_init(&future);
	if (rc || apus_queue_init(&queue, &many) || apus_queue_init(&other, &one))
		return -1;
	return 0;
}

/* Whatever happened: nobody is left in a queue of waiters. */
static int close_select(void **state)
{
	if (!test_world.passed)
		return test_close(state);

	bool is_clean = apus_waitq_empty(&queue.getters) && apus_waitq_empty(&queue.putters) &&
			apus_waitq_empty(&other.getters) && apus_waitq_empty(&other.putters) &&
			apus_waitq_empty(&event.waiters) && apus_waitq_empty(&future.waiters) &&
			apus_shard_next_ns(test_world.shard) == APUS_NEVER;

	apus_queue_fini(&queue);
	apus_queue_fini(&other);
	if (!is_clean) {
		fprintf(stderr, "somebody is still linked, or a timer is armed\n");
		return -1;
	}
	return test_close(state);
}

#define select_test(name)                                          \
 {                                                                 \
#  name, test_body, open_select, close_select, &(struct test_body) \
  {                                                                \
   name                                                            \
  }                                                                \
 }

static void *as_item(int64_t value)
{
	return (void *)(intptr_t)value;
}

/* All kinds at once. */
static int64_t select_all(void *arg)
{
	void *item = NULL;
	struct apus_select_case cases[] = {
		APUS_SELECT_GET(&queue, &item),
		APUS_SELECT_PUT(&other, as_item(77)),
		APUS_SELECT_EVENT(&event),
		APUS_SELECT_FUTURE(&future),
		APUS_SELECT_UNTIL(TEST_START_NS + 10 * APUS_MS),
	};
	int64_t winner = apus_select(cases, apus_countof(cases));

	if (winner < 0) {
		emit("%s %s", (const char *)arg, winner == -ECANCELED ? "CE" : "error");
		return winner;
	}
	emit("%s %lld rc %lld item %lld", (const char *)arg, (long long)winner,
	     (long long)cases[winner].rc, (long long)(intptr_t)item);
	return winner;
}

/* `other` is full, so that all arms of select_all() wait. */
static struct apus_task *spawn_waiting(const char *name)
{
	if (!apus_queue_is_full(&other))
		ok(apus_queue_try_put(&other, as_item(1)));

	struct apus_task *t = apus_spawn(select_all, (void *)(uintptr_t)name);

	test_laps(1);
	assert_false(apus_task_done(t));
	return t;
}

static int64_t put_and_emit(void *arg)
{
	int rc = apus_queue_put(&other, as_item(2));

	emit("%s %s", (const char *)arg, rc == 0 ? "put" : rc == -ECANCELED ? "CE" : "error");
	return rc;
}

static int64_t get_and_emit(void *arg)
{
	void *item = NULL;
	int rc = apus_queue_get(&queue, &item);

	emit("%s got %lld", (const char *)arg, (long long)(intptr_t)item);
	return rc;
}

static void item_stolen_on_the_way_makes_it_wait_again(void **state)
{
	for (int laps = 0; laps < 2; laps++) { /* before, and after its callback ran */
		struct apus_task *t = spawn_waiting("select");
		void *item;

		ok(apus_queue_try_put(&queue, as_item(3)));
		test_laps(laps);
		ok(apus_queue_try_get(&queue, &item));
		test_laps(4);
		assert_false(apus_task_done(t));
		ok(apus_queue_try_put(&queue, as_item(4)));
		assert_int_equal(test_await(t), 0);
		assert_trace("select 0 rc 0 item 4");
	}
}

static void after_a_theft_the_other_arms_still_count(void **state)
{
	struct apus_task *t = spawn_waiting("event");
	void *item;

	ok(apus_queue_try_put(&queue, as_item(3)));
	ok(apus_queue_try_get(&queue, &item));
	apus_event_set(&event); /* after the wake of the get arm, before the task runs */
	assert_int_equal(test_await(t), 2);
	apus_event_clear(&event);

	t = spawn_waiting("until");
	ok(apus_queue_try_put(&queue, as_item(3)));
	ok(apus_queue_try_get(&queue, &item));
	assert_int_equal(test_await(t), 4);
	assert_int_equal(test_ms(), 10);
	assert_trace("event 2 rc 0 item 0 · until 4 rc 0 item 0");
}

static void event_set_and_cleared_at_once_wakes_a_select(void **state)
{
	struct apus_task *t = spawn_waiting("select");

	apus_event_set(&event);
	apus_event_clear(&event);
	assert_int_equal(test_await(t), 2);
	assert_trace("select 2 rc 0 item 0");
}

static void future_arm_tells_value_error_and_cancel(void **state)
{
	struct apus_task *t = spawn_waiting("set");

	ok(apus_future_set(&future, 8));
	assert_int_equal(test_await(t), 3);
	apus_future_init(&future);
	t = spawn_waiting("fail");
	ok(apus_future_fail(&future, -5));
	assert_int_equal(test_await(t), 3);
	apus_future_init(&future);
	t = spawn_waiting("cancel");
	assert_true(apus_future_cancel(&future));
	assert_int_equal(test_await(t), 3);
	assert_trace("set 3 rc 8 item 0 · fail 3 rc -5 item 0 · cancel 3 rc -125 item 0");
}

static int64_t sleep_5_ms(void *arg)
{
	return apus_sleep(5 * APUS_MS);
}

static int64_t select_task(void *arg)
{
	struct apus_select_case cases[] = {APUS_SELECT_EVENT(&event), APUS_SELECT_TASK(arg)};

	return apus_select(cases, 2);
}

static void cancel_leaves_the_future_and_the_task_alone(void **state)
{
	struct apus_task *slow = apus_spawn(sleep_5_ms, NULL);
	struct apus_task *on_task = apus_spawn(select_task, slow), *t = spawn_waiting("select");

	assert_true(apus_task_cancel(t));
	assert_true(apus_task_cancel(on_task));
	assert_int_equal(test_await(t), -ECANCELED);
	assert_int_equal(test_await(on_task), -ECANCELED);
	assert_false(apus_future_done(&future));
	assert_int_equal(apus_task_cancelling(slow), 0);
	ok(test_await(slow));
	assert_trace("select CE");
}

static void selects_on_one_queue_are_served_first_come_first_served(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++)
		tasks[i] = spawn_waiting(names[i]);
	for (int i = 0; i < 3; i++)
		ok(apus_queue_try_put(&queue, as_item(i + 1)));
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	assert_trace("a 0 rc 0 item 1 · b 0 rc 0 item 2 · c 0 rc 0 item 3");
}

static int64_t select_twice_the_same(void *arg)
{
	void *first = NULL, *second = NULL;
	struct apus_select_case cases[] = {
		APUS_SELECT_GET(&queue, &first),
		APUS_SELECT_GET(&queue, &second),
	};

	ok(apus_select(cases, 2));
	assert_int_equal(first, 1);
	assert_null(second);
	return 0;
}

/* Both puts woke it; the second wake belongs to who waits behind. */
static void same_queue_twice_takes_one_item(void **state)
{
	struct apus_task *t = apus_spawn(select_twice_the_same, NULL);
	struct apus_task *next;

	test_laps(1);
	next = apus_spawn(get_and_emit, "next");
	test_laps(1);
	ok(apus_queue_try_put(&queue, as_item(1)));
	ok(apus_queue_try_put(&queue, as_item(2)));
	ok(test_await(t));
	ok(test_await(next));
	assert_trace("next got 2");
}

static int64_t put_by_select(void *arg)
{
	struct apus_select_case cases[] = {APUS_SELECT_PUT(&queue, arg)};

	return apus_select(cases, 1);
}

/* Room that a select filled, and items it put, wake the other side as put and get do. */
static void select_wakes_the_other_side(void **state)
{
	struct apus_task *t = spawn_waiting("select"), *putter = apus_spawn(put_and_emit, "putter");
	void *item;

	test_laps(1);
	ok(apus_queue_try_get(&other, &item));
	assert_int_equal(test_await(t), 1);
	assert_false(apus_task_done(putter));
	ok(apus_queue_try_get(&other, &item));
	assert_ptr_equal(item, as_item(77));
	ok(test_await(putter));

	struct apus_task *getter = apus_spawn(get_and_emit, "getter");

	test_laps(1);
	ok(test_await(apus_spawn(put_by_select, as_item(6))));
	ok(test_await(getter));
	assert_trace("select 1 rc 0 item 0 · putter put · getter got 6");
}

static int64_t select_in_a_limit(void *arg)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, 3 * APUS_MS);
	return apus_timeout_end(&limit, select_all("limited"));
}

static void limit_ends_a_select(void **state)
{
	ok(apus_queue_try_put(&other, as_item(1)));
	assert_int_equal(test_await(apus_spawn(select_in_a_limit, NULL)), -ETIMEDOUT);
	assert_int_equal(test_ms(), 3);
	assert_trace("limited CE");
}

static int64_t select_for_ever(void *arg)
{
	struct apus_select_case cases[] = {APUS_SELECT_EVENT(&event)};
	int *count = arg;

	apus_event_set(&event);
	for (*count = 0; *count < 1000; ++*count)
		ok(apus_select(cases, 1));
	return 0;
}

static void select_that_need_not_wait_spends_the_budget(void **state)
{
	int count = 0;
	struct apus_task *t = apus_spawn(select_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 60, 128);
	ok(test_await(t));
}

/* Two selects that could serve each other through a full and an empty queue. */
static int64_t relay(void *arg)
{
	int64_t moved = 0;

	while (moved < 1000) {
		void *item;
		struct apus_select_case in[] = {APUS_SELECT_EVENT(&event),
						APUS_SELECT_GET(&other, &item)};
		struct apus_select_case out[] = {APUS_SELECT_EVENT(&event),
						 APUS_SELECT_PUT(&queue, NULL)};

		if (apus_select(in, 2) != 1)
			return -EBADE;
		out[1].value = item;
		if (apus_select(out, 2) != 1)
			return -EBADE;
		moved++;
	}
	return 0;
}

static int64_t feed(void *arg)
{
	for (int64_t i = 1; i <= 1000; i++) {
		struct apus_select_case cases[] = {APUS_SELECT_PUT(&other, as_item(i))};

		ok(apus_select(cases, 1));
		ok(cases[0].rc);
	}
	return 0;
}

static int64_t eat(void *arg)
{
	for (int64_t i = 1; i <= 1000; i++) {
		void *item = NULL;
		struct apus_select_case cases[] = {APUS_SELECT_UNTIL(APUS_NEVER),
						   APUS_SELECT_GET(&queue, &item)};

		assert_int_equal(apus_select(cases, 2), 1);
		assert_ptr_equal(item, as_item(i));
	}
	return 0;
}

static void chain_of_selects_keeps_order_and_loses_nothing(void **state)
{
	struct apus_task *a = apus_spawn(eat, NULL), *b = apus_spawn(relay, NULL);
	struct apus_task *c = apus_spawn(feed, NULL);

	ok(test_await(a));
	ok(test_await(b));
	ok(test_await(c));
	assert_int_equal(test_ms(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		select_test(item_stolen_on_the_way_makes_it_wait_again),
		select_test(after_a_theft_the_other_arms_still_count),
		select_test(event_set_and_cleared_at_once_wakes_a_select),
		select_test(future_arm_tells_value_error_and_cancel),
		select_test(cancel_leaves_the_future_and_the_task_alone),
		select_test(selects_on_one_queue_are_served_first_come_first_served),
		select_test(same_queue_twice_takes_one_item),
		select_test(select_wakes_the_other_side),
		select_test(limit_ends_a_select),
		select_test(select_that_need_not_wait_spends_the_budget),
		select_test(chain_of_selects_keeps_order_and_loses_nothing),
	};

	return test_main(argc, argv, tests);
}
