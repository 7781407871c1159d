/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_select.c: the first of several things; the cases that lose have consumed
 * nothing.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"
#include "runtime/sync/future.h"
#include "runtime/sync/queue.h"
#include "runtime/sync/select.h"

static struct apus_queue in, out;
static struct apus_event event;
static struct apus_future future;
static struct apus_task *task;

static int64_t sleep_10_ms_then_5(void *arg)
{
	int rc = apus_sleep(10 * APUS_MS);

	return rc ? rc : 5;
}

static int open_all(void **state)
{
	int rc = test_open(state);

	if (rc)
		return rc;
	apus_event_init(&event);
	apus_future_init(&future);
	task = NULL;
	rc = apus_queue_init(&in, &(struct apus_queue_options){.capacity = 4});
	return rc ? rc : apus_queue_init(&out, &(struct apus_queue_options){.capacity = 1});
}

#define select_test(name) shard_test_with(name, open_all)

static void fini_queues(void)
{
	apus_queue_fini(&in);
	apus_queue_fini(&out);
}

static void *as_item(intptr_t number)
{
	return (void *)number;
}

/* Every kind once; says who won, with what. */
static int64_t select_all(void *arg)
{
	void *item = NULL;
	struct apus_select_case cases[] = {
		APUS_SELECT_GET(&in, &item), APUS_SELECT_PUT(&out, as_item(77)),
		APUS_SELECT_EVENT(&event),   APUS_SELECT_FUTURE(&future),
		APUS_SELECT_TASK(task),      APUS_SELECT_UNTIL(*(int64_t *)arg),
	};
	int64_t winner = apus_select(cases, 6);

	if (winner < 0)
		emit("%s", winner == -ECANCELED ? "CE" : "error");
	else
		emit("%lld rc %lld item %d at %d", (long long)winner, (long long)cases[winner].rc,
		     (int)(intptr_t)item, (int)test_ms());
	return winner;
}

static int64_t never_ns = APUS_NEVER;

/* A select that waits: `out` is full, the task sleeps, nothing else is true. */
static struct apus_task *spawn_waiting_select(int64_t *until_ns)
{
	ok(apus_queue_try_put(&out, as_item(1)));
	task = apus_spawn(sleep_10_ms_then_5, NULL);
	struct apus_task *t = apus_spawn(select_all, until_ns);

	test_laps(2);
	assert_false(apus_task_done(t));
	return t;
}

/* Nothing may be left waiting anywhere, and nothing taken. */
static void finish(struct apus_task *t, int64_t winner)
{
	assert_int_equal(test_await(t), winner);
	assert_true(apus_waitq_empty(&in.getters));
	assert_true(apus_waitq_empty(&out.putters));
	assert_true(apus_waitq_empty(&event.waiters));
	assert_true(apus_waitq_empty(&future.waiters));
	if (task && !apus_task_done(task)) {
		apus_task_cancel(task);
		assert_int_equal(test_await(task), -ECANCELED);
	} else {
		apus_detach(task);
	}
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	fini_queues();
}

static void none_or_too_many_is_einval(void **state)
{
	struct apus_select_case cases[17] = {APUS_SELECT_EVENT(&event)};

	assert_int_equal(apus_select(cases, 0), -EINVAL);
	assert_int_equal(apus_select(cases, 17), -EINVAL);
	fini_queues();
}

static void item_that_comes_wins(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	ok(apus_queue_try_put(&in, as_item(42)));
	test_laps(2);
	assert_trace("0 rc 0 item 42 at 0");
	assert_true(apus_queue_is_empty(&in));
	assert_int_equal(apus_queue_size(&out), 1);
	finish(t, 0);
}

static void room_that_comes_wins(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);
	void *item;

	ok(apus_queue_try_get(&out, &item));
	test_laps(2);
	assert_trace("1 rc 0 item 0 at 0");
	ok(apus_queue_try_get(&out, &item));
	assert_ptr_equal(item, as_item(77));
	finish(t, 1);
}

static void event_that_is_set_wins(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	apus_event_set(&event);
	test_laps(2);
	assert_trace("2 rc 0 item 0 at 0");
	finish(t, 2);
}

static void future_that_completes_wins_with_its_result(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	ok(apus_future_fail(&future, -EDOM));
	test_laps(2);
	assert_trace("3 rc -33 item 0 at 0");
	finish(t, 3);
}

static void task_that_ends_wins_with_its_result(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	while (!apus_task_done(t))
		assert_true(test_step());
	assert_trace("4 rc 5 item 0 at 10");
	finish(t, 4);
}

static void time_that_comes_wins(void **state)
{
	int64_t until_ns = TEST_START_NS + 7 * APUS_MS;
	struct apus_task *t = spawn_waiting_select(&until_ns);

	while (!apus_task_done(t))
		assert_true(test_step());
	assert_trace("5 rc 0 item 0 at 7");
	finish(t, 5);
}

static void queue_that_is_shut_down_wins(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	apus_queue_shutdown(&in, false);
	test_laps(2);
	assert_trace("0 rc -32 item 0 at 0");
	finish(t, 0);
}

static void of_several_true_already_the_first_in_the_list_wins(void **state)
{
	struct apus_task *t;

	apus_event_set(&event);
	ok(apus_future_set(&future, 1));
	t = apus_spawn(select_all, &never_ns); /* room in `out` is before both */
	test_laps(1);
	assert_true(apus_task_done(t)); /* and it does not suspend */
	assert_trace("1 rc 0 item 0 at 0");
	assert_int_equal(apus_queue_size(&out), 1);
	finish(t, 1);
}

static void of_several_that_come_true_in_one_lap_one_wins_the_rest_is_untouched(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	ok(apus_future_set(&future, 3));
	apus_event_set(&event);
	ok(apus_queue_try_put(&in, as_item(9)));
	test_laps(2);
	/* The future came first. The item is still there for somebody else. */
	assert_trace("3 rc 3 item 0 at 0");
	assert_int_equal(apus_queue_size(&in), 1);
	finish(t, 3);
}

static void cancelled_select_has_consumed_nothing(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	apus_task_cancel(t);
	test_laps(1);
	assert_trace("CE");
	assert_false(apus_future_done(&future)); /* not cancelled with it */
	assert_false(apus_task_done(task));
	finish(t, -ECANCELED);
}

static void item_of_a_select_cancelled_on_its_way_stays(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);

	ok(apus_queue_try_put(&in, as_item(42)));
	apus_task_cancel(t);
	test_laps(2);
	assert_trace("CE");
	assert_int_equal(apus_queue_size(&in), 1);
	finish(t, -ECANCELED);
}

static int64_t get_and_emit(void *arg)
{
	void *item;
	int rc = apus_queue_get(&in, &item);

	emit("getter %d", rc ? rc : (int)(intptr_t)item);
	return rc;
}

/* A wake that a losing case had is passed on to the next who waits there. */
static void wake_of_a_losing_case_goes_to_the_next_waiter(void **state)
{
	struct apus_task *t = spawn_waiting_select(&never_ns);
	struct apus_task *getter = apus_spawn(get_and_emit, NULL);

	test_laps(1);
	apus_event_set(&event);                   /* wins */
	ok(apus_queue_try_put(&in, as_item(42))); /* wakes the select, or the getter */
	test_laps(4);
	assert_true(apus_task_done(getter));
	assert_non_null(strstr(test_world.trace, "getter 42"));
	assert_non_null(strstr(test_world.trace, "2 rc 0"));
	ok(test_await(getter));
	finish(t, 2);
}

/* Consumers that select over two queues, a stop and a time: every item exactly once. */

static struct {
	uint64_t chance;
	uint8_t put[400], got[400];
	int next;
	struct apus_queue queues[2];
	struct apus_event stop;
	struct apus_task *tasks[10];
} fuzz;

static void uncancel_all(void)
{
	while (cancelling())
		apus_task_uncancel(apus_task_self());
}

static int64_t produce_by_select(void *arg)
{
	while (fuzz.next < 400) {
		int number = fuzz.next++;
		struct apus_select_case cases[] = {
			APUS_SELECT_PUT(&fuzz.queues[number % 2], as_item(number)),
			APUS_SELECT_PUT(&fuzz.queues[1 - number % 2], as_item(number)),
			APUS_SELECT_UNTIL(apus_now() + (int64_t)test_random_below(&fuzz.chance, 9)),
		};
		int64_t winner = apus_select(cases, 3);

		uncancel_all();
		fuzz.put[number] += winner == 0 || winner == 1;
		if (test_random_below(&fuzz.chance, 3) == 0)
			(void)!apus_yield();
		uncancel_all();
	}
	return 0;
}

static int64_t consume_by_select(void *arg)
{
	for (;;) {
		void *items[2] = {NULL, NULL};
		struct apus_select_case cases[] = {
			APUS_SELECT_GET(&fuzz.queues[0], &items[0]),
			APUS_SELECT_GET(&fuzz.queues[1], &items[1]),
			APUS_SELECT_EVENT(&fuzz.stop),
			APUS_SELECT_UNTIL(apus_now() + (int64_t)test_random_below(&fuzz.chance, 9)),
		};
		int64_t winner = apus_select(cases, 4);

		uncancel_all();
		if (winner == 2)
			return 0;
		if (winner == 0 || winner == 1)
			fuzz.got[(intptr_t)items[winner]]++;
	}
}

static void random_selects_deliver_every_item_once(void **state)
{
	test_each_seed(seed, 300)
	{
		void *item;

		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		apus_event_init(&fuzz.stop);
		for (int i = 0; i < 2; i++)
			ok(apus_queue_init(&fuzz.queues[i],
					   &(struct apus_queue_options){
						   .capacity = 1 + (uint32_t)(seed % 3)}));
		for (int i = 0; i < 10; i++)
			fuzz.tasks[i] =
				apus_spawn(i % 2 ? consume_by_select : produce_by_select, NULL);
		test_laps(1);
		for (int i = 0; i < 10; i += 2) {
			while (!apus_task_done(fuzz.tasks[i])) {
				assert_true(test_step());
				if (test_random_below(&fuzz.chance, 3) == 0)
					apus_task_cancel(
						fuzz.tasks[test_random_below(&fuzz.chance, 10)]);
			}
		}
		apus_event_set(&fuzz.stop);
		for (int i = 0; i < 10; i++)
			assert_true(test_await(fuzz.tasks[i]) <= 0);
		for (int i = 0; i < 2; i++) {
			while (apus_queue_try_get(&fuzz.queues[i], &item) == 0)
				fuzz.got[(intptr_t)item]++;
			assert_true(apus_waitq_empty(&fuzz.queues[i].getters));
			assert_true(apus_waitq_empty(&fuzz.queues[i].putters));
			apus_queue_fini(&fuzz.queues[i]);
		}
		assert_memory_equal(fuzz.put, fuzz.got, sizeof(fuzz.put));
	}
	fini_queues();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		select_test(none_or_too_many_is_einval),
		select_test(item_that_comes_wins),
		select_test(room_that_comes_wins),
		select_test(event_that_is_set_wins),
		select_test(future_that_completes_wins_with_its_result),
		select_test(task_that_ends_wins_with_its_result),
		select_test(time_that_comes_wins),
		select_test(queue_that_is_shut_down_wins),
		select_test(of_several_true_already_the_first_in_the_list_wins),
		select_test(of_several_that_come_true_in_one_lap_one_wins_the_rest_is_untouched),
		select_test(cancelled_select_has_consumed_nothing),
		select_test(item_of_a_select_cancelled_on_its_way_stays),
		select_test(wake_of_a_losing_case_goes_to_the_next_waiter),
		select_test(random_selects_deliver_every_item_once),
	};

	return test_main(argc, argv, tests);
}
