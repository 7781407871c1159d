/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_work.c: callbacks: call_soon and its cancel, lap by lap.
 */
#include "tests/runtime/runtime_test.h"

struct call {
	struct apus_work work;
	const char *name;
	struct call *other; /* for what a callback does to another */
};

static struct call *call_of(struct apus_work *work)
{
	return apus_container_of(work, struct call, work);
}

static void emit_call(struct apus_work *work)
{
	emit("%s", call_of(work)->name);
}

static struct call *call_init(struct call *c, apus_work_fn fn, const char *name, struct call *other)
{
	apus_work_init(&c->work, fn);
	c->name = name;
	c->other = other;
	return c;
}

static void callbacks_run_in_the_next_lap_in_order(void **state)
{
	struct call a, b, c;

	apus_call_soon(&call_init(&a, emit_call, "a", NULL)->work);
	apus_call_soon(&call_init(&b, emit_call, "b", NULL)->work);
	apus_call_soon(&call_init(&c, emit_call, "c", NULL)->work);
	assert_trace("");
	assert_int_equal(apus_shard_next_ns(test_world.shard), TEST_START_NS);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("a · b · c");
	assert_false(apus_shard_turn(test_world.shard));
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	assert_trace("");
}

static void callback_that_waits_already_stays_where_it_is(void **state)
{
	struct call a, b;

	apus_call_soon(&call_init(&a, emit_call, "a", NULL)->work);
	apus_call_soon(&call_init(&b, emit_call, "b", NULL)->work);
	apus_call_soon(&a.work);
	apus_call_soon(&a.work);
	test_laps(3);
	assert_trace("a · b");
}

static void cancelled_callback_does_not_run(void **state)
{
	struct call a, b, c;

	call_init(&a, emit_call, "a", NULL);
	call_init(&b, emit_call, "b", NULL);
	call_init(&c, emit_call, "c", NULL);
	assert_false(apus_call_cancel(&b.work));
	apus_call_soon(&a.work);
	apus_call_soon(&b.work);
	apus_call_soon(&c.work);
	assert_true(apus_call_cancel(&b.work));
	assert_false(apus_call_cancel(&b.work));
	test_laps(2);
	assert_trace("a · c");
	assert_false(apus_call_cancel(&a.work));
}

static void callback_cancelled_and_called_again_goes_to_the_tail(void **state)
{
	struct call a, b;

	apus_call_soon(&call_init(&a, emit_call, "a", NULL)->work);
	apus_call_soon(&call_init(&b, emit_call, "b", NULL)->work);
	assert_true(apus_call_cancel(&a.work));
	apus_call_soon(&a.work);
	test_laps(2);
	assert_trace("b · a");
}

static void cancel_other(struct apus_work *work)
{
	emit("%s cancels %d", call_of(work)->name, apus_call_cancel(&call_of(work)->other->work));
}

static void callback_cancelled_by_an_earlier_one_of_the_lap_does_not_run(void **state)
{
	struct call a, b, c;

	call_init(&b, emit_call, "b", NULL);
	apus_call_soon(&call_init(&a, cancel_other, "a", &b)->work);
	apus_call_soon(&b.work);
	apus_call_soon(&call_init(&c, cancel_other, "c", &a)->work);
	test_laps(2);
	assert_trace("a cancels 1 · c cancels 0");
}

static void call_other_and_self_again(struct apus_work *work)
{
	struct call *c = call_of(work);

	emit("%s", c->name);
	if (c->other) {
		apus_call_soon(&c->other->work);
		c->other = NULL;
		apus_call_soon(work);
	}
}

static void callback_called_from_a_callback_runs_in_the_next_lap(void **state)
{
	struct call a, b, c;

	call_init(&b, emit_call, "b", NULL);
	apus_call_soon(&call_init(&a, call_other_and_self_again, "a", &b)->work);
	apus_call_soon(&call_init(&c, emit_call, "c", NULL)->work);
	test_laps(1);
	emit("lap");
	test_laps(1);
	assert_trace("a · c · lap · b · a");
}

/* The memory of a callback that runs is its own again: it may be freed there and then. */
static void free_self(struct apus_work *work)
{
	struct call *c = call_of(work);

	emit("%s", c->name);
	memset(c, 0xff, sizeof(*c));
	free(c);
}

static void callback_may_free_itself(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct call *c = malloc(sizeof(*c));

		assert_non_null(c);
		apus_call_soon(&call_init(c, free_self, "freed", NULL)->work);
	}
	test_laps(2);
	assert_trace("freed · freed · freed");
}

#define MANY 100000

static struct call many[MANY];
static size_t many_ran;
static const struct call *many_last;

static void count_in_order(struct apus_work *work)
{
	struct call *c = call_of(work);

	assert_true(c > many_last);
	many_last = c;
	many_ran++;
}

static void queue_many(void)
{
	many_ran = 0;
	many_last = NULL;
	for (size_t i = 0; i < MANY; i++)
		apus_call_soon(&call_init(&many[i], count_in_order, NULL, NULL)->work);
}

static void hundred_thousand_callbacks_run_in_one_lap_in_order(void **state)
{
	for (int round = 0; round < 3; round++) {
		queue_many();
		test_laps(1);
		assert_int_equal(many_ran, MANY);
	}
}

static void cancelled_ones_among_hundred_thousand_do_not_run(void **state)
{
	queue_many();
	for (size_t i = 0; i < MANY; i += 7)
		assert_true(apus_call_cancel(&many[i].work));
	test_laps(1);
	assert_int_equal(many_ran, MANY - (MANY + 6) / 7);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
}

static void callbacks_without_memory_all_run_in_order(void **state)
{
	for (int64_t n = 0; n < 8; n += test_is_slow() ? 7 : 1) {
		apus_heap_fail_after(apus_shard_heap(test_world.shard), n);
		queue_many();
		for (size_t i = 0; i < MANY; i += 11)
			assert_true(apus_call_cancel(&many[i].work));
		while (apus_shard_turn(test_world.shard))
			;
		assert_int_equal(many_ran, MANY - (MANY + 10) / 11);
		apus_heap_fail_after(apus_shard_heap(test_world.shard), -1);
	}
}

/* A task among them must keep its place, too. */
static int64_t yield_for_ever(void *arg)
{
	int64_t laps = 0;

	while (apus_yield() == 0)
		laps++;
	return laps;
}

static void tasks_and_callbacks_without_memory_all_go_on(void **state)
{
	struct apus_task *tasks[200];

	for (int i = 0; i < 200; i++)
		tasks[i] = apus_spawn(yield_for_ever, NULL);
	test_laps(1);
	apus_heap_fail_after(apus_shard_heap(test_world.shard), 0);
	queue_many();
	while (many_ran < MANY)
		assert_true(apus_shard_turn(test_world.shard));
	test_laps(10);
	for (int i = 0; i < 200; i++)
		apus_task_cancel(tasks[i]);
	int64_t fewest = INT64_MAX, most = 0;

	for (int i = 0; i < 200; i++) {
		int64_t laps = test_await(tasks[i]);

		fewest = apus_min(fewest, laps);
		most = apus_max(most, laps);
	}
	apus_heap_fail_after(apus_shard_heap(test_world.shard), -1);
	assert_true(fewest >= 10);
	assert_true(most - fewest <= 1);
}

/* Against a model: laps of callbacks that call and cancel each other. */

#define CALLS 64

static struct call calls[CALLS];
static uint64_t chance;
static int model[CALLS], model_count;     /* of the lap after this one, in order */
static int lap[CALLS], lap_at, lap_count; /* of this one; -1: cancelled */

static bool waits(int i)
{
	for (int k = 0; k < model_count; k++) {
		if (model[k] == i)
			return true;
	}
	for (int k = lap_at; k < lap_count; k++) {
		if (lap[k] == i)
			return true;
	}
	return false;
}

static bool model_cancel(int i)
{
	for (int k = lap_at; k < lap_count; k++) {
		if (lap[k] == i) {
			lap[k] = -1;
			return true;
		}
	}
	for (int k = 0; k < model_count; k++) {
		if (model[k] == i) {
			memmove(model + k, model + k + 1,
				(size_t)(model_count - k - 1) * sizeof(int));
			model_count--;
			return true;
		}
	}
	return false;
}

static void random_calls(int count)
{
	for (int n = 0; n < count; n++) {
		int i = (int)test_random_below(&chance, CALLS);

		if (test_random_below(&chance, 3)) {
			if (!waits(i))
				model[model_count++] = i;
			apus_call_soon(&calls[i].work);
		} else {
			bool expected = model_cancel(i);

			assert_int_equal(apus_call_cancel(&calls[i].work), expected);
		}
	}
}

static void compare_and_go_on(struct apus_work *work)
{
	while (lap_at < lap_count && lap[lap_at] < 0)
		lap_at++;
	assert_true(lap_at < lap_count);
	assert_ptr_equal(call_of(work), &calls[lap[lap_at]]);
	lap_at++;
	random_calls((int)test_random_below(&chance, 4));
}

static void random_calls_and_cancels_equal_the_model(void **state)
{
	test_each_seed(seed, 100)
	{
		chance = seed;
		model_count = lap_at = lap_count = 0;
		for (int i = 0; i < CALLS; i++)
			call_init(&calls[i], compare_and_go_on, NULL, NULL);
		for (int turn = 0; turn < 300; turn++) {
			random_calls((int)test_random_below(&chance, 20));
			memcpy(lap, model, sizeof(model));
			lap_count = model_count;
			lap_at = model_count = 0;
			test_laps(1);
			while (lap_at < lap_count && lap[lap_at] < 0)
				lap_at++;
			assert_int_equal(lap_at, lap_count);
			lap_at = lap_count = 0;
		}
		for (int i = 0; i < CALLS; i++)
			apus_call_cancel(&calls[i].work);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(callbacks_run_in_the_next_lap_in_order),
		shard_test(callback_that_waits_already_stays_where_it_is),
		shard_test(cancelled_callback_does_not_run),
		shard_test(callback_cancelled_and_called_again_goes_to_the_tail),
		shard_test(callback_cancelled_by_an_earlier_one_of_the_lap_does_not_run),
		shard_test(callback_called_from_a_callback_runs_in_the_next_lap),
		shard_test(callback_may_free_itself),
		shard_test(hundred_thousand_callbacks_run_in_one_lap_in_order),
		shard_test(cancelled_ones_among_hundred_thousand_do_not_run),
		shard_test(callbacks_without_memory_all_run_in_order),
		shard_test(tasks_and_callbacks_without_memory_all_go_on),
		shard_test(random_calls_and_cancels_equal_the_model),
	};

	return test_main(argc, argv, tests);
}
