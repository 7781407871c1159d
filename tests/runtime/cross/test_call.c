/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_call.c: calls, and all shards at once: results, errors, cancels,
 * deadlines, variables, and shards that are not there.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/sync/context_var.h"
#include "runtime/sync/timeout.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

static int64_t index_and_arg(void *arg)
{
	return apus_shard_index() * 1000 + (intptr_t)arg;
}

static int64_t call_1(void *arg)
{
	return apus_call_on(1, index_and_arg, arg);
}

static void call_gives_the_result(void **state)
{
	cross_open(2, &slow);
	assert_int_equal(cross_run(0, call_1, (void *)7), 1007);
	assert_int_equal(cross_run(1, call_1, (void *)7), 1007); /* itself */
	cross_close();
}

static int64_t give_error(void *arg)
{
	return -EBADE;
}

static int64_t call_fail(void *arg)
{
	return apus_call_on((unsigned int)(intptr_t)arg, give_error, NULL);
}

static void error_comes_back(void **state)
{
	cross_open(2, &slow);
	assert_int_equal(cross_run(0, call_fail, (void *)1), -EBADE);
	assert_int_equal(cross_run(0, call_fail, (void *)0), -EBADE);
	assert_int_equal(cross_run(0, call_fail, (void *)2), -EINVAL);
	cross_close();
}

static int64_t sleep_arg(void *arg)
{
	int rc = apus_sleep((intptr_t)arg);

	return rc ? rc : 5;
}

static int64_t call_sleep(void *arg)
{
	return apus_call_on(1, sleep_arg, arg);
}

static void callee_may_suspend(void **state)
{
	cross_open(2, &slow);
	assert_int_equal(cross_run(0, call_sleep, (void *)(intptr_t)APUS_SEC), 5);
	assert_true(apus_clock_read(&cross.clock) >= CROSS_START_NS + APUS_SEC);
	cross_close();
}

static void call_without_fabric_is_a_plain_task(void **state)
{
	struct apus_shard *shard;

	ok(apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1}, &shard));
	apus_shard_enter(shard);

	struct apus_task *t = apus_spawn(call_fail, NULL), *u = apus_spawn(call_fail, (void *)1);

	apus_shard_run(shard, u);
	assert_int_equal(apus_task_result(t), -EBADE);
	assert_int_equal(apus_task_result(u), -EINVAL);
	apus_detach(t);
	apus_detach(u);
	apus_shard_close(shard);
}

/* Deadline. */

static int64_t tell_deadline(void *arg)
{
	return apus_deadline();
}

static int64_t deadline_travels(void *arg)
{
	struct apus_timeout outer, inner;

	apus_timeout_begin(&outer, 5 * APUS_SEC);
	apus_timeout_begin(&inner, 10 * APUS_SEC);

	int64_t begin_ns = apus_now(), there_ns = apus_call_on(1, tell_deadline, NULL);

	there_ns = apus_timeout_end(&inner, there_ns);
	there_ns = apus_timeout_end(&outer, there_ns);
	assert_int_equal(apus_deadline(), APUS_NEVER);
	assert_int_equal(apus_call_on(1, tell_deadline, NULL), APUS_NEVER);
	return there_ns - begin_ns;
}

static void callee_knows_the_earliest_deadline(void **state)
{
	cross_open(2, &slow);
	assert_int_equal(cross_run(0, deadline_travels, NULL), 5 * APUS_SEC);
	cross_close();
}

static int64_t ended_ns;

static int64_t sleep_and_note(void *arg)
{
	int rc = apus_sleep(APUS_NEVER / 2);

	ended_ns = apus_now();
	return rc;
}

static int64_t call_within_two_limits(void *arg)
{
	struct apus_timeout outer, inner;

	apus_timeout_begin(&outer, 5 * APUS_MS);
	apus_timeout_begin(&inner, 10 * APUS_MS);

	int64_t rc = apus_call_on(1, sleep_and_note, NULL);

	rc = apus_timeout_end(&inner, rc);
	assert_int_equal(rc, -ECANCELED); /* it was not the inner one */
	return apus_timeout_end(&outer, rc);
}

static void deadline_ends_the_callee_on_its_own_shard(void **state)
{
	cross_open(2, &slow);
	assert_int_equal(cross_run(0, call_within_two_limits, NULL), -ETIMEDOUT);
	assert_int_equal(ended_ns, CROSS_START_NS + 5 * APUS_MS); /* no message was needed */
	cross_close();
}

static void deadline_travels_between_clocks_that_disagree(void **state)
{
	struct apus_clock other;

	cross_open(2, NULL);
	apus_clock_init_virtual(&other, 1000 * APUS_SEC);
	cross.shards[1]->clock = &other;
	assert_int_equal(cross_run(0, deadline_travels, NULL),
			 (1000 + 5) * APUS_SEC - CROSS_START_NS);
	cross.shards[1]->clock = &cross.clock;
	cross_close();
}

/* Variables. */

static struct apus_context_var user = {.name = "user", .initial_value = (void *)1};

static int64_t get_and_set_user(void *arg)
{
	intptr_t was = (intptr_t)apus_context_var_get(&user);

	ok(apus_context_var_set(&user, (void *)99, NULL));
	return was;
}

static int64_t variables_travel(void *arg)
{
	assert_int_equal(apus_call_on(1, get_and_set_user, NULL), 1);
	ok(apus_context_var_set(&user, (void *)42, NULL));
	assert_int_equal(apus_call_on(1, get_and_set_user, NULL), 42);
	assert_int_equal(apus_call_on(0, get_and_set_user, NULL), 42);
	assert_int_equal((intptr_t)apus_context_var_get(&user), 42); /* they do not come back */
	return 0;
}

static void variables_travel_one_way(void **state)
{
	cross_open(2, &slow);
	ok(cross_run(0, variables_travel, NULL));
	cross_close();
}

/* All shards. */

static int64_t sleep_by_index(void *arg)
{
	int rc = apus_sleep((10 - (int64_t)apus_shard_index()) * APUS_MS);

	return rc ? rc : index_and_arg(arg);
}

static int64_t fail_on_1_and_2(void *arg)
{
	unsigned int self = apus_shard_index();

	return self == 1 ? -EBADE : self == 2 ? -EBADF : 0;
}

static void add(void *into, unsigned int shard, int64_t result)
{
	int64_t *sum = into;

	*sum = *sum * 10 + result % 1000 + shard;
}

static int64_t use_all(void *arg)
{
	int64_t results[4], sum = 0;

	ok(apus_on_all(sleep_by_index, (void *)3, results));
	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], i * 1000 + 3);
	assert_int_equal(apus_on_all(fail_on_1_and_2, NULL, results), -EBADE);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[2], -EBADF);
	ok(apus_map_reduce(sleep_by_index, (void *)1, add, &sum));
	assert_int_equal(sum, 1234); /* in order of index */
	assert_int_equal(apus_map_reduce(fail_on_1_and_2, NULL, add, &sum), -EBADE);
	assert_int_equal(sum, 1234);
	return 0;
}

static void all_shards_run_it_and_results_come_in_order(void **state)
{
	cross_open(4, &slow);
	for (unsigned int i = 0; i < 4; i++)
		ok(cross_run(i, use_all, NULL));
	cross_close();
}

static void add_index(void *into, unsigned int shard, int64_t result)
{
	assert_int_equal(result, 1000 * shard + 1);
	*(int64_t *)into += shard;
}

static int64_t sum_of_64(void *arg)
{
	int64_t sum = 0, rc = apus_map_reduce(index_and_arg, (void *)1, add_index, &sum);

	return rc ? rc : sum;
}

static void sixty_four_shards_answer(void **state)
{
	cross_open(64, &slow);
	assert_int_equal(cross_run(17, sum_of_64, NULL), 63 * 64 / 2);
	cross_close();
}

static int64_t sleep_long_on_all(void *arg)
{
	return apus_on_all(sleep_arg, (void *)(intptr_t)(3600 * APUS_SEC), NULL);
}

static void cancel_is_passed_on_to_all(void **state)
{
	cross_open(4, &slow);

	struct apus_task *t = cross_spawn(2, sleep_long_on_all, NULL);

	while (cross_next_ns() < CROSS_START_NS + APUS_SEC)
		cross_step();
	cross_cancel(2, t);
	assert_int_equal(cross_await(2, t), -ECANCELED);
	assert_true(apus_clock_read(&cross.clock) < CROSS_START_NS + APUS_SEC);
	cross_close();
}

/* Everybody calls everybody, and is called back, with rings that hold next to nothing. */

static int64_t call_back(void *arg)
{
	intptr_t depth = (intptr_t)arg;
	unsigned int next = (apus_shard_index() + 1) % apus_shard_count();

	return depth ? apus_call_on(next, call_back, (void *)(depth - 1)) : 1;
}

static int64_t call_all_others(void *arg)
{
	int64_t sum = 0;

	for (unsigned int i = 0; i < apus_shard_count(); i++)
		sum += apus_call_on(i, call_back, (void *)12);
	return sum;
}

static void all_call_all_in_chains_under_full_rings_without_deadlock(void **state)
{
	static struct apus_task *tasks[4][200];
	int each = test_is_slow() ? 20 : 200; /* TSan has a limit of stacks */

	cross_open(4, &(struct apus_cross_options){.ring_lines = 8, .delay_ns = cross_delay});
	for (unsigned int i = 0; i < 4; i++)
		for (int j = 0; j < each; j++)
			tasks[i][j] = cross_spawn(i, call_all_others, NULL);
	for (unsigned int i = 0; i < 4; i++)
		for (int j = 0; j < each; j++)
			assert_int_equal(cross_await(i, tasks[i][j]), 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(cross_counter(i, APUS_CROSS_REQUESTS_WAITED) > 0);
	cross_close();
}

static void shard_that_does_not_turn_stops_only_its_callers(void **state)
{
	static struct apus_task *stuck[1000];

	cross_open(3, &(struct apus_cross_options){.ring_lines = 8, .delay_ns = cross_delay});
	cross.stuck = 1 << 1;
	for (int i = 0; i < 1000; i++)
		stuck[i] = cross_spawn(0, call_1, (void *)7);
	cross_turn();

	uint64_t live = apus_shard_heap(cross.shards[0])->live;

	assert_int_equal(cross_run(2, call_fail, (void *)0), -EBADE);
	assert_int_equal(cross_run(0, call_fail, (void *)2), -EBADE);
	assert_int_equal(apus_shard_heap(cross.shards[0])->live, live);
	for (int i = 999; i >= 500; i--)
		cross_cancel(0, stuck[i]);
	assert_int_equal(cross_await(0, stuck[999]), -ECANCELED); /* it was waiting for room */
	cross.stuck = 0;
	for (int i = 0; i < 500; i++)
		assert_int_equal(cross_await(0, stuck[i]), 1007);
	for (int i = 500; i < 999; i++)
		assert_int_equal(cross_await(0, stuck[i]), -ECANCELED);
	cross_close();
}

/* Parting. */

static void leave(unsigned int shard)
{
	apus_shard_enter(cross.shards[shard]);
	apus_cross_leave(cross.shards[shard]);
	apus_shard_enter(NULL);
}

static void call_on_a_shard_that_left_is_an_error(void **state)
{
	cross_open(3, &slow);
	leave(1);
	cross_drain();
	assert_int_equal(cross_run(0, call_1, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(0, sleep_long_on_all, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, call_fail, (void *)0), -ESHUTDOWN);
	cross_close();
}

static void shard_that_refuses_still_calls(void **state)
{
	cross_open(2, &slow);
	apus_cross_refuse(cross.shards[1]);
	assert_int_equal(cross_run(0, call_1, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, call_1, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, call_fail, (void *)0), -EBADE);
	cross_drain();
	cross_close();
}

static void calls_that_are_on_their_way_to_a_shard_that_leaves_end(void **state)
{
	struct apus_task *calls[300];

	for (uint64_t seed = 1; seed <= 50; seed++) {
		unsigned int served = 0, refused = 0;

		cross_open_seed(
			2, &(struct apus_cross_options){.ring_lines = 8, .delay_ns = cross_delay},
			seed);
		for (int i = 0; i < 300; i++)
			calls[i] = cross_spawn(0, call_1, (void *)7);
		for (uint64_t i = 0; i < seed; i++)
			cross_step();
		leave(1);
		for (int i = 0; i < 300; i++) {
			int64_t rc = cross_await(0, calls[i]);

			assert_true(rc == 1007 || rc == -ESHUTDOWN);
			served += rc == 1007;
			refused += rc == -ESHUTDOWN;
		}
		assert_int_equal(served + refused, 300);
		cross_drain();
		assert_true(apus_cross_has_left(cross.shards[1]));
		cross_close();
	}
}

static void running_callee_ends_before_its_shard_has_left(void **state)
{
	cross_open(2, &slow);

	struct apus_task *t = cross_spawn(0, call_sleep, (void *)(intptr_t)APUS_SEC);

	while (cross_next_ns() < CROSS_START_NS + APUS_SEC)
		cross_step();
	leave(1);
	while (cross_next_ns() < CROSS_START_NS + APUS_SEC)
		cross_step();
	assert_false(apus_cross_has_left(cross.shards[1]));
	assert_int_equal(cross_await(0, t), 5);
	cross_drain();
	assert_true(apus_cross_has_left(cross.shards[1]));
	cross_close();
}

/* The answer and a cancel pass each other, and the callee's shard stops turning at once. */
static void cancel_of_a_call_to_a_shard_that_has_left_ends(void **state)
{
	for (int step = 1; step < 60; step++) {
		cross_open_seed(2, &slow, (uint64_t)step);

		struct apus_task *t = cross_spawn(0, call_sleep, (void *)(intptr_t)(100 * APUS_US));
		bool was_cancelled = false;

		for (int i = 0; i < 5; i++)
			cross_turn();
		leave(1);
		for (int i = 0; !apus_task_done(t); i++) {
			if (i == step)
				cross_cancel(0, t);
			was_cancelled |= i == step;
			if (apus_cross_has_left(cross.shards[1]))
				cross.stuck = 1u << 1;
			if (!cross_step())
				fail_msg("the caller waits for a shard that is gone");
		}

		int64_t rc = cross_await(0, t);

		assert_true(rc == 5 || rc == -ESHUTDOWN || (was_cancelled && rc == -ECANCELED));
		cross.stuck = 0;
		cross_close();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_gives_the_result),
		cmocka_unit_test(error_comes_back),
		cmocka_unit_test(callee_may_suspend),
		cmocka_unit_test(call_without_fabric_is_a_plain_task),
		cmocka_unit_test(callee_knows_the_earliest_deadline),
		cmocka_unit_test(deadline_travels_between_clocks_that_disagree),
		cmocka_unit_test(deadline_ends_the_callee_on_its_own_shard),
		cmocka_unit_test(variables_travel_one_way),
		cmocka_unit_test(all_shards_run_it_and_results_come_in_order),
		cmocka_unit_test(sixty_four_shards_answer),
		cmocka_unit_test(cancel_is_passed_on_to_all),
		cmocka_unit_test(all_call_all_in_chains_under_full_rings_without_deadlock),
		cmocka_unit_test(shard_that_does_not_turn_stops_only_its_callers),
		cmocka_unit_test(call_on_a_shard_that_left_is_an_error),
		cmocka_unit_test(shard_that_refuses_still_calls),
		cmocka_unit_test(calls_that_are_on_their_way_to_a_shard_that_leaves_end),
		cmocka_unit_test(running_callee_ends_before_its_shard_has_left),
		cmocka_unit_test(cancel_of_a_call_to_a_shard_that_has_left_ends),
	};

	return test_main(argc, argv, tests);
}
