/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_sharded.c: a service on every shard: order of start and stop, failures in
 * the middle, calls that are inside, one deadline, cancels, want of memory.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/sharded.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

#define SHARDS 4

static struct apus_sharded *service;
static char trace[256];  /* "+0 +1 -1 -0": starts and stops */
static int fails_at;     /* the shard whose start fails; -1: none */
static int64_t takes_ns; /* a stop, if it is let */
static int64_t starts_ns;
static int64_t left_ns[SHARDS]; /* what each stop was given */
static int counts[SHARDS];
static unsigned int alive; /* bits */

static void note(char what)
{
	size_t at = strlen(trace);

	snprintf(trace + at, sizeof(trace) - at, "%s%c%u", at ? " " : "", what, apus_shard_index());
}

static int64_t start_one(void *arg, void **instance)
{
	int rc = starts_ns ? apus_sleep(starts_ns) : 0;

	if (rc)
		return rc;
	if ((int)apus_shard_index() == fails_at)
		return -EADDRINUSE;
	note('+');
	alive |= 1u << apus_shard_index();
	counts[apus_shard_index()] = 0;
	*instance = &counts[apus_shard_index()];
	return 7; /* what is not negative is a success */
}

static int64_t stop_one(void *instance, int64_t drain_ns, void *arg)
{
	assert_ptr_equal(instance, &counts[apus_shard_index()]);
	left_ns[apus_shard_index()] = drain_ns;
	if (takes_ns)
		(void)!apus_sleep(apus_min(takes_ns, drain_ns));
	note('-');
	alive &= ~(1u << apus_shard_index());
	return takes_ns < 0 ? -EIO : 0;
}

static int64_t start(void *arg)
{
	static const struct apus_sharded_options options = {
		.start = start_one,
		.stop = stop_one,
		.drain_ns = APUS_SEC,
	};

	return cross_outcome(apus_sharded_start(&options, &service));
}

static int64_t stop(void *arg)
{
	return apus_sharded_stop(service, (intptr_t)arg);
}

static void begin(void)
{
	trace[0] = '\0';
	fails_at = -1;
	takes_ns = starts_ns = 0;
	alive = 0;
	cross_open(SHARDS, &slow);
}

static int64_t add(void *instance, void *arg)
{
	*(int *)instance += (int)(intptr_t)arg;
	return *(int *)instance;
}

static int64_t slow_add(void *instance, void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	return rc ? rc : add(instance, arg);
}

static int64_t call_all(void *arg)
{
	int64_t results[SHARDS], rc = 0;

	for (intptr_t i = 0; i < SHARDS && rc >= 0; i++)
		rc = apus_sharded_call(service, (unsigned int)i, add, (void *)(i + 1));
	if (rc != SHARDS)
		return -EBADMSG;
	rc = apus_sharded_call_all(service, add, (void *)10, results);
	for (intptr_t i = 0; i < SHARDS; i++)
		if (results[i] != i + 11)
			return -EBADMSG;
	if (apus_sharded_here(service) != &counts[apus_shard_index()])
		return -EBADMSG;
	return rc;
}

static void sum(void *into, unsigned int shard, int64_t result)
{
	*(int64_t *)into += result;
}

static int64_t reduce(void *arg)
{
	int64_t total = 0, rc = apus_sharded_map_reduce(service, add, (void *)0, sum, &total);

	return rc ? rc : total;
}

static void instances_start_in_order_and_stop_in_reverse(void **state)
{
	for (unsigned int home = 0; home < SHARDS; home++) {
		begin();
		ok(cross_run(home, start, NULL));
		ok(cross_run(home, call_all, NULL));
		assert_int_equal(cross_run(2, reduce, NULL), 11 + 12 + 13 + 14);
		ok(cross_run(home, stop, (void *)(intptr_t)APUS_SEC));
		assert_string_equal(trace, "+0 +1 +2 +3 -3 -2 -1 -0");
		cross_close();
	}
}

static void start_that_fails_stops_those_before_it(void **state)
{
	for (int at = 0; at < SHARDS; at++) {
		begin();
		fails_at = at;
		assert_int_equal(cross_run(1, start, NULL), -EADDRINUSE);
		assert_int_equal(alive, 0);
		assert_int_equal(strlen(trace), at ? (size_t)at * 6 - 1 : 0);
		cross_close();
	}
	begin();
	fails_at = 2;
	assert_int_equal(cross_run(0, start, NULL), -EADDRINUSE);
	assert_string_equal(trace, "+0 +1 -1 -0");
	cross_close();
}

static int64_t call_slowly(void *arg)
{
	return apus_sharded_call(service, (unsigned int)(intptr_t)arg, slow_add, (void *)1);
}

static void settle(void)
{
	for (int i = 0; i < 100; i++) {
		apus_clock_set(&cross.clock, apus_clock_read(&cross.clock) + 100 * APUS_US);
		cross_turn();
	}
}

static void calls_inside_may_finish(void **state)
{
	struct apus_task *t[SHARDS];

	begin();
	ok(cross_run(0, start, NULL));
	for (intptr_t i = 0; i < SHARDS; i++)
		t[i] = cross_spawn((unsigned int)(i + 1) % SHARDS, call_slowly, (void *)i);
	settle();
	ok(cross_run(0, stop, (void *)(intptr_t)(10 * APUS_SEC)));
	for (unsigned int i = 0; i < SHARDS; i++)
		assert_int_equal(cross_await((i + 1) % SHARDS, t[i]), 1);
	assert_string_equal(trace, "+0 +1 +2 +3 -3 -2 -1 -0");
	cross_close();
}

static void calls_inside_are_cancelled_at_the_deadline(void **state)
{
	struct apus_task *t[SHARDS];
	int64_t begin_ns;

	begin();
	ok(cross_run(0, start, NULL));
	for (intptr_t i = 0; i < SHARDS; i++)
		t[i] = cross_spawn((unsigned int)(i + 1) % SHARDS, call_slowly, (void *)i);
	settle();
	begin_ns = apus_clock_read(&cross.clock);
	assert_int_equal(cross_run(0, stop, (void *)(intptr_t)(100 * APUS_MS)), -ETIMEDOUT);
	/* One deadline for all of them, and some messages. */
	assert_true(apus_clock_read(&cross.clock) - begin_ns >= 100 * APUS_MS);
	assert_true(apus_clock_read(&cross.clock) - begin_ns < 120 * APUS_MS);
	for (unsigned int i = 0; i < SHARDS; i++)
		assert_int_equal(cross_await((i + 1) % SHARDS, t[i]), -ECANCELED);
	assert_int_equal(alive, 0);
	cross_close();
}

static void stops_share_the_time(void **state)
{
	begin();
	takes_ns = APUS_SEC;
	ok(cross_run(0, start, NULL));
	ok(cross_run(0, stop, (void *)(intptr_t)(5 * APUS_SEC / 2)));
	assert_true(left_ns[3] > 2 * APUS_SEC && left_ns[3] <= 5 * APUS_SEC / 2);
	assert_true(left_ns[2] > APUS_SEC && left_ns[2] <= 3 * APUS_SEC / 2);
	assert_true(left_ns[1] > 0 && left_ns[1] <= APUS_SEC / 2);
	assert_int_equal(left_ns[0], 0);
	assert_int_equal(alive, 0);
	cross_close();
}

static void error_of_a_stop_does_not_keep_the_others(void **state)
{
	begin();
	ok(cross_run(0, start, NULL));
	takes_ns = -1;
	assert_int_equal(cross_run(0, stop, (void *)(intptr_t)APUS_SEC), -EIO);
	assert_int_equal(alive, 0);
	cross_close();
}

static int64_t call_during_stop(void *arg)
{
	int64_t rc;

	do
		rc = apus_sharded_call(service, 3, add, (void *)1);
	while (rc > 0);
	return rc;
}

static void call_to_a_stopping_instance_is_refused(void **state)
{
	begin();
	ok(cross_run(0, start, NULL));
	takes_ns = APUS_SEC;

	struct apus_task *s = cross_spawn(0, stop, (void *)(intptr_t)(10 * APUS_SEC));

	assert_int_equal(cross_run(1, call_during_stop, NULL), -EPIPE);
	ok(cross_await(0, s));
	cross_close();
}

/* Whenever who starts it is cancelled: it has started everywhere, or it has stopped everywhere. */
static void cancelled_start_leaves_all_or_none(void **state)
{
	for (unsigned int k = 0; k < 60; k++) {
		begin();
		starts_ns = 10 * APUS_US;

		struct apus_task *t = cross_spawn(1, start, NULL);

		for (unsigned int i = 0; i < k; i++)
			cross_step();
		cross_cancel(1, t);

		int64_t rc = cross_await(1, t);

		if (rc == 0) {
			assert_int_equal(alive, (1u << SHARDS) - 1);
			ok(cross_run(1, stop, (void *)(intptr_t)APUS_SEC));
		}
		assert_true(rc == 0 || rc == -ECANCELED);
		assert_int_equal(alive, 0);
		cross_close();
	}
}

static void cancelled_stop_stops_all_the_same(void **state)
{
	for (unsigned int k = 1; k < 60; k++) {
		struct apus_task *t, *c;
		int64_t begin_ns;

		begin();
		ok(cross_run(1, start, NULL));
		takes_ns = 100 * APUS_MS;
		c = cross_spawn(0, call_slowly, (void *)2);
		for (unsigned int i = 0; i < 3; i++)
			cross_turn();
		begin_ns = apus_clock_read(&cross.clock);
		t = cross_spawn(1, stop, (void *)(intptr_t)(20 * APUS_SEC));
		for (unsigned int i = 0; i < k; i++)
			cross_step();
		cross_cancel(1, t);

		int64_t rc = cross_await(1, t);

		assert_true(rc == 0 || rc == -ECANCELED);
		assert_int_equal(alive, 0);
		if (k == 1) /* it has just begun: nobody is waited for */
			assert_true(apus_clock_read(&cross.clock) - begin_ns < 600 * APUS_MS);
		(void)cross_await(0, c);
		cross_close();
	}
}

static int64_t start_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int64_t rc;

	apus_heap_fail_after(heap, 0);
	rc = start(NULL);
	apus_heap_fail_after(heap, -1);
	return rc;
}

static void start_without_memory_is_an_error(void **state)
{
	begin();
	assert_int_equal(cross_run(0, start_without_memory, NULL), -ENOMEM);
	cross_close();
}

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static void shard_that_left_fails_the_start(void **state)
{
	begin();
	ok(cross_run(2, leave, NULL));
	while (!apus_cross_has_left(cross.shards[2]))
		cross_step();
	assert_int_equal(cross_run(0, start, NULL), -ESHUTDOWN);
	assert_string_equal(trace, "+0 +1 -1 -0");
	cross_close();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instances_start_in_order_and_stop_in_reverse),
		cmocka_unit_test(start_that_fails_stops_those_before_it),
		cmocka_unit_test(calls_inside_may_finish),
		cmocka_unit_test(calls_inside_are_cancelled_at_the_deadline),
		cmocka_unit_test(stops_share_the_time),
		cmocka_unit_test(error_of_a_stop_does_not_keep_the_others),
		cmocka_unit_test(call_to_a_stopping_instance_is_refused),
		cmocka_unit_test(cancelled_start_leaves_all_or_none),
		cmocka_unit_test(cancelled_stop_stops_all_the_same),
		cmocka_unit_test(start_without_memory_is_an_error),
		cmocka_unit_test(shard_that_left_fails_the_start),
	};

	return test_main(argc, argv, tests);
}
