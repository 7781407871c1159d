/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_queue.c: asyncio.Queue, PriorityQueue and LifoQueue, with shutdown: every
 * item is delivered exactly once or is still there.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/queue.h"

static struct apus_queue queue;

static void queue_open(uint32_t capacity)
{
	ok(apus_queue_init(&queue, &(struct apus_queue_options){.capacity = capacity}));
}

static void *item_of(int number)
{
	return (void *)(intptr_t)number;
}

static int number_of(const void *item)
{
	return (int)(intptr_t)item;
}

static int64_t put_arg(void *arg)
{
	return apus_queue_put(&queue, arg);
}

static int take(void)
{
	void *item = item_of(-1);

	ok(apus_queue_try_get(&queue, &item));
	return number_of(item);
}

/* Without waiting. */

static void queue_without_room_is_refused(void **state)
{
	assert_int_equal(apus_queue_init(&queue, &(struct apus_queue_options){.capacity = 0}),
			 -EINVAL);
}

static void try_put_and_try_get_say_eagain(void **state)
{
	void *item = &queue;

	queue_open(2);
	assert_true(apus_queue_is_empty(&queue));
	assert_int_equal(apus_queue_try_get(&queue, &item), -EAGAIN);
	assert_ptr_equal(item, &queue);
	ok(apus_queue_try_put(&queue, item_of(1)));
	ok(apus_queue_try_put(&queue, NULL)); /* any pointer is an item */
	assert_int_equal(apus_queue_try_put(&queue, item_of(3)), -EAGAIN);
	assert_true(apus_queue_is_full(&queue));
	assert_int_equal(apus_queue_size(&queue), 2);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0);
	assert_true(apus_queue_is_empty(&queue));
	apus_queue_fini(&queue);
}

static int64_t priority_of(const void *item)
{
	return number_of(item) / 100;
}

static void orders_are_fifo_lifo_and_stable_priority(void **state)
{
	/* Hundreds are the priority, the rest tells equal ones apart. */
	static const int in[] = {301, 102, 203, 104, 305, 106, 207, -108, 209};
	static const int out[3][9] = {
		{301, 102, 203, 104, 305, 106, 207, -108, 209},
		{209, -108, 207, 106, 305, 104, 203, 102, 301},
		{-108, 102, 104, 106, 203, 207, 209, 301, 305},
	};

	for (int order = APUS_QUEUE_FIFO; order <= APUS_QUEUE_PRIORITY; order++) {
		const struct apus_queue_options options = {
			.capacity = 9,
			.order = (enum apus_queue_order)order,
			.priority = order == APUS_QUEUE_PRIORITY ? priority_of : NULL};

		ok(apus_queue_init(&queue, &options));
		for (size_t i = 0; i < 9; i++)
			ok(apus_queue_try_put(&queue, item_of(in[i])));
		for (size_t i = 0; i < 9; i++)
			assert_int_equal(take(), out[order][i]);
		apus_queue_fini(&queue);
	}
}

static void hundred_thousand_items_come_out_in_order(void **state)
{
	for (int order = APUS_QUEUE_FIFO; order <= APUS_QUEUE_PRIORITY; order++) {
		const struct apus_queue_options options = {
			.capacity = UINT32_MAX,
			.order = (enum apus_queue_order)order,
			.priority = order == APUS_QUEUE_PRIORITY ? priority_of : NULL};
		uint64_t live = apus_shard_heap(test_world.shard)->live;

		ok(apus_queue_init(&queue, &options));
		for (int i = 0; i < 100000; i++)
			ok(apus_queue_try_put(&queue, item_of(i)));
		for (int i = 0; i < 100000; i++)
			assert_int_equal(take(), order == APUS_QUEUE_LIFO ? 100000 - 1 - i : i);
		apus_queue_fini(&queue);
		assert_int_equal(apus_shard_heap(test_world.shard)->live, live);
	}
}

static void put_without_memory_is_enomem_and_keeps_what_was_there(void **state)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);

	for (int order = APUS_QUEUE_FIFO; order <= APUS_QUEUE_PRIORITY; order++) {
		for (int64_t n = 0; n < 8; n++) {
			const struct apus_queue_options options = {
				.capacity = 10000,
				.order = (enum apus_queue_order)order,
				.priority = order == APUS_QUEUE_PRIORITY ? priority_of : NULL};
			int put = 0, rc = 0;

			apus_heap_fail_after(heap, n);
			rc = apus_queue_init(&queue, &options);
			if (rc == 0) {
				while (put < 10000 &&
				       (rc = apus_queue_try_put(&queue, item_of(put))) == 0)
					put++;
				assert_int_equal(apus_queue_size(&queue), put);
			}
			apus_heap_fail_after(heap, -1);
			assert_true(rc == -ENOMEM || put == 10000);
			for (int i = 0; i < put; i++)
				assert_int_equal(take(),
						 order == APUS_QUEUE_LIFO ? put - 1 - i : i);
			apus_queue_fini(&queue);
		}
	}
}

/* Waiting. */

/* Trace 61. */
static int64_t put_three(void *arg)
{
	for (int i = 0; i < 3; i++) {
		ok(apus_queue_put(&queue, item_of(i)));
		emit("put %d", i);
	}
	return 0;
}

static int64_t get_three(void *arg)
{
	for (int i = 0; i < 3; i++) {
		void *item;

		ok(apus_queue_get(&queue, &item));
		emit("got %d", number_of(item));
	}
	return 0;
}

static void back_pressure_alternates(void **state)
{
	queue_open(1);
	struct apus_task *p = apus_spawn(put_three, NULL), *c = apus_spawn(get_three, NULL);

	ok(test_await(p));
	ok(test_await(c));
	assert_trace("put 0 · got 0 · put 1 · got 1 · put 2 · got 2");
	apus_queue_fini(&queue);
}

/* Trace 63. */
static void cancelled_putter_puts_nothing(void **state)
{
	queue_open(1);
	struct apus_task *a = apus_spawn(put_arg, item_of('a'));
	struct apus_task *b = apus_spawn(put_arg, item_of('b'));
	struct apus_task *x = apus_spawn(put_arg, item_of('X'));

	test_laps(1);
	apus_task_cancel(x);
	test_laps(1);
	emit("%s %s %s", test_state(a), test_state(b), test_state(x));
	emit("%c", take());
	test_laps(1);
	emit("%c", take());
	ok(test_await(b));
	assert_trace("result:0 pending cancelled · a · b");
	apus_detach(a);
	apus_detach(x);
	apus_queue_fini(&queue);
}

static int64_t get_and_emit(void *arg)
{
	void *item;
	int rc = apus_queue_get(&queue, &item);

	if (rc == -EPIPE)
		emit("%s shut", (const char *)arg);
	else if (rc)
		emit("%s CE", (const char *)arg);
	else
		emit("%s %d", (const char *)arg, number_of(item));
	return rc;
}

static void woken_getter_cancelled_wakes_the_next(void **state)
{
	queue_open(10);
	struct apus_task *a = apus_spawn(get_and_emit, "a"), *b = apus_spawn(get_and_emit, "b");

	test_laps(1);
	ok(apus_queue_try_put(&queue, item_of(1)));
	apus_task_cancel(a);
	test_laps(3);
	emit("%u", apus_queue_size(&queue));
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_await(b));
	assert_trace("a CE · b 1 · 0");
	apus_queue_fini(&queue);
}

static void woken_putter_cancelled_wakes_the_next(void **state)
{
	queue_open(1);
	ok(apus_queue_try_put(&queue, item_of(1)));
	struct apus_task *a = apus_spawn(put_arg, item_of(2)), *b = apus_spawn(put_arg, item_of(3));

	test_laps(1);
	assert_int_equal(take(), 1);
	apus_task_cancel(a);
	test_laps(3);
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_await(b));
	assert_int_equal(take(), 3);
	assert_true(apus_queue_is_empty(&queue));
	apus_queue_fini(&queue);
}

static void barger_takes_it_and_the_loser_queues_again(void **state)
{
	queue_open(10);
	struct apus_task *a = apus_spawn(get_and_emit, "a"), *b = apus_spawn(get_and_emit, "b");

	test_laps(1);
	ok(apus_queue_try_put(&queue, item_of(1)));
	emit("barger %d", take());
	test_laps(1);
	ok(apus_queue_try_put(&queue, item_of(2)));
	ok(apus_queue_try_put(&queue, item_of(3)));
	ok(test_await(a));
	ok(test_await(b));
	assert_trace("barger 1 · b 2 · a 3");
	apus_queue_fini(&queue);
}

static int64_t put_and_get_for_ever(void *arg)
{
	int *count = arg;

	for (*count = 0; *count < 1000; ++*count) {
		void *item;

		ok(apus_queue_put(&queue, item_of(*count)));
		ok(apus_queue_get(&queue, &item));
		assert_int_equal(number_of(item), *count);
	}
	return 0;
}

static void calls_that_need_not_wait_spend_the_budget(void **state)
{
	int count = 0;

	queue_open(4);
	struct apus_task *t = apus_spawn(put_and_get_for_ever, &count);

	test_laps(1);
	assert_in_range(count, 62, 128);
	ok(test_await(t));
	apus_queue_fini(&queue);
}

/* task_done, join, shutdown. */

/* Trace 65. */
static int64_t work_off(void *arg)
{
	for (;;) {
		void *item;
		int rc = apus_queue_get(&queue, &item);

		if (rc)
			return rc;
		ok(apus_sleep(10 * APUS_MS));
		ok(apus_queue_task_done(&queue));
		emit("done %d", number_of(item));
	}
}

static int64_t join(void *arg)
{
	int rc = apus_queue_join(&queue);

	emit("joined %d", (int)test_ms());
	return rc;
}

static void join_waits_until_all_is_worked_off(void **state)
{
	queue_open(10);
	for (int i = 0; i < 3; i++)
		ok(apus_queue_try_put(&queue, item_of(i)));
	struct apus_task *worker = apus_spawn(work_off, NULL);

	ok(test_run(join, NULL));
	apus_task_cancel(worker);
	assert_int_equal(test_await(worker), -ECANCELED);
	if (apus_queue_task_done(&queue) == -EINVAL)
		emit("ValueError");
	assert_trace("done 0 · done 1 · done 2 · joined 30 · ValueError");
	ok(test_run(join, NULL)); /* nothing to wait for */
	apus_queue_fini(&queue);
}

static int64_t just_join(void *arg)
{
	return apus_queue_join(&queue);
}

static const char *shut_or(int rc)
{
	return rc == -EPIPE ? "QueueShutDown" : "no";
}

/* Trace 67. */
static void shutdown_lets_the_queue_be_emptied(void **state)
{
	void *item;

	queue_open(1);
	ok(apus_queue_try_put(&queue, item_of('d')));
	struct apus_task *p = apus_spawn(put_arg, item_of('e'));

	test_laps(1);
	apus_queue_shutdown(&queue, false);
	test_laps(1);
	emit("exc:%s", shut_or((int)test_await(p)));
	emit("%c", take());
	struct apus_task *j = apus_spawn(just_join, NULL);

	test_laps(1);
	emit("%s", test_state(j));
	emit("%s", shut_or(apus_queue_try_put(&queue, item_of(1))));
	emit("%s", shut_or(apus_queue_try_get(&queue, &item)));
	ok(apus_queue_task_done(&queue));
	test_laps(1);
	emit("%s", test_state(j));
	ok(test_await(j));
	assert_trace("exc:QueueShutDown · d · pending · QueueShutDown · QueueShutDown · result:0");
	apus_queue_shutdown(&queue, false); /* again: nothing */
	apus_queue_fini(&queue);
}

static void shutdown_wakes_all_getters(void **state)
{
	queue_open(4);
	struct apus_task *a = apus_spawn(get_and_emit, "a"), *b = apus_spawn(get_and_emit, "b");

	test_laps(1);
	apus_queue_shutdown(&queue, false);
	assert_int_equal(test_await(a), -EPIPE);
	assert_int_equal(test_await(b), -EPIPE);
	assert_trace("a shut · b shut");
	apus_queue_fini(&queue);
}

static void immediate_shutdown_drops_and_join_waits_for_what_is_out(void **state)
{
	queue_open(4);
	for (int i = 0; i < 3; i++)
		ok(apus_queue_try_put(&queue, item_of(i)));
	assert_int_equal(take(), 0);
	struct apus_task *j = apus_spawn(just_join, NULL);

	test_laps(1);
	apus_queue_shutdown(&queue, true);
	test_laps(1);
	emit("%s %u", test_state(j), apus_queue_size(&queue));
	ok(apus_queue_task_done(&queue));
	test_laps(1);
	emit("%s", test_state(j));
	assert_trace("pending 0 · result:0");
	ok(test_await(j));
	apus_queue_fini(&queue);
}

static void cancelled_join_leaves_the_queue_alone(void **state)
{
	queue_open(4);
	ok(apus_queue_try_put(&queue, item_of(1)));
	struct apus_task *j = apus_spawn(just_join, NULL);

	test_laps(1);
	apus_task_cancel(j);
	assert_int_equal(test_await(j), -ECANCELED);
	assert_int_equal(take(), 1);
	ok(apus_queue_task_done(&queue));
	apus_queue_fini(&queue);
}

/* Every item exactly once: many producers and consumers, waiting or not, cancelled at any time. */

#define TASKS 12
#define ITEMS 400

static struct {
	uint64_t chance;
	uint8_t put[ITEMS], got[ITEMS];
	int next;
	int last_of[TASKS]; /* FIFO: what one consumer gets of one producer is in order */
	struct apus_task *tasks[TASKS];
} fuzz;

static void uncancel_all(void)
{
	while (cancelling())
		apus_task_uncancel(apus_task_self());
}

static int64_t produce(void *arg)
{
	while (fuzz.next < ITEMS) {
		int number = fuzz.next++;
		bool wait = test_random_below(&fuzz.chance, 4);
		int rc = wait ? apus_queue_put(&queue, item_of(number))
			      : apus_queue_try_put(&queue, item_of(number));

		uncancel_all();
		assert_true(rc == 0 || rc == (wait ? -ECANCELED : -EAGAIN));
		fuzz.put[number] += rc == 0;
		if (test_random_below(&fuzz.chance, 3) == 0)
			(void)!apus_yield();
		uncancel_all();
	}
	return 0;
}

static int64_t consume(void *arg)
{
	for (;;) {
		void *item = item_of(-1);
		bool wait = test_random_below(&fuzz.chance, 4);
		int rc = wait ? apus_queue_get(&queue, &item) : apus_queue_try_get(&queue, &item);

		uncancel_all();
		if (rc == -EPIPE)
			return 0;
		assert_true(rc == 0 || rc == (wait ? -ECANCELED : -EAGAIN));
		if (rc == 0) {
			fuzz.got[number_of(item)]++;
			ok(apus_queue_task_done(&queue));
		}
		if (rc == -EAGAIN || test_random_below(&fuzz.chance, 3) == 0)
			(void)!apus_yield();
		uncancel_all();
	}
}

static int64_t join_then_shut_down(void *arg)
{
	for (int i = 0; i < TASKS; i += 2)
		ok(apus_await(apus_task_get(fuzz.tasks[i])));
	ok(apus_queue_join(&queue));
	apus_queue_shutdown(&queue, false);
	return 0;
}

static void random_use_delivers_every_item_once(void **state)
{
	test_each_seed(seed, 300)
	{
		const struct apus_queue_options options = {
			.capacity = 1 + (uint32_t)(seed % 5),
			.order = (enum apus_queue_order)(seed % 3),
			.priority = seed % 3 == APUS_QUEUE_PRIORITY ? priority_of : NULL};

		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		ok(apus_queue_init(&queue, &options));
		for (int i = 0; i < TASKS; i++)
			fuzz.tasks[i] = apus_spawn(i % 2 ? consume : produce, NULL);
		test_laps(1);
		struct apus_task *closer = apus_spawn(join_then_shut_down, NULL);

		while (!apus_task_done(closer)) {
			assert_true(test_step());
			if (test_random_below(&fuzz.chance, 3) == 0)
				apus_task_cancel(
					fuzz.tasks[test_random_below(&fuzz.chance, TASKS)]);
		}
		ok(test_await(closer));
		for (int i = 0; i < TASKS; i++)
			assert_true(test_await(fuzz.tasks[i]) <= 0);
		for (int i = 0; i < ITEMS; i++)
			assert_int_equal(fuzz.put[i], fuzz.got[i]);
		assert_true(apus_waitq_empty(&queue.getters));
		assert_true(apus_waitq_empty(&queue.putters));
		apus_queue_fini(&queue);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(queue_without_room_is_refused),
		shard_test(try_put_and_try_get_say_eagain),
		shard_test(orders_are_fifo_lifo_and_stable_priority),
		shard_test(hundred_thousand_items_come_out_in_order),
		shard_test(put_without_memory_is_enomem_and_keeps_what_was_there),
		shard_test(back_pressure_alternates),
		shard_test(cancelled_putter_puts_nothing),
		shard_test(woken_getter_cancelled_wakes_the_next),
		shard_test(woken_putter_cancelled_wakes_the_next),
		shard_test(barger_takes_it_and_the_loser_queues_again),
		shard_test(calls_that_need_not_wait_spend_the_budget),
		shard_test(join_waits_until_all_is_worked_off),
		shard_test(shutdown_lets_the_queue_be_emptied),
		shard_test(shutdown_wakes_all_getters),
		shard_test(immediate_shutdown_drops_and_join_waits_for_what_is_out),
		shard_test(cancelled_join_leaves_the_queue_alone),
		shard_test(random_use_delivers_every_item_once),
	};

	return test_main(argc, argv, tests);
}
