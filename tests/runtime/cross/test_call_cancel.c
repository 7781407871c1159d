/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_call_cancel.c: a caller is cancelled: its callee ends, or the cancel is told
 * by the caller's next wait, at whatever moment it comes.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/sync/timeout.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

static int64_t sleep_arg(void *arg)
{
	int rc = apus_sleep((intptr_t)arg);

	return rc ? rc : 5;
}

static int64_t call_sleep(void *arg)
{
	return apus_call_on(1, sleep_arg, arg);
}

static void cancel_ends_the_callee_at_every_moment(void **state)
{
	for (int turns = 0; turns < 40; turns++) {
		for (unsigned int to = 0; to < 2; to++) {
			cross_open_seed(2, &slow, (uint64_t)turns + 1);

			struct apus_task *t = cross_spawn(1 - to, call_sleep,
							  (void *)(intptr_t)(3600 * APUS_SEC));

			for (int i = 0; i < turns / 2 + 1; i++)
				cross_turn();
			for (int i = 0; i < turns / 2; i++)
				if (cross_next_ns() < CROSS_START_NS + APUS_SEC)
					cross_step();
			cross_cancel(1 - to, t);
			assert_int_equal(cross_await(1 - to, t), -ECANCELED);
			assert_true(apus_clock_read(&cross.clock) < CROSS_START_NS + APUS_SEC);
			cross_close();
		}
	}
}

/* Is cancelled as often as @arg says, and goes on. */
static int64_t do_not_mind(void *arg)
{
	for (intptr_t i = 0; i < (intptr_t)arg; i++)
		assert_int_equal(apus_sleep(APUS_SEC), -ECANCELED);

	int rc = apus_sleep(APUS_MS);

	return rc ? rc : 77;
}

/* The others have ended long before. */
static int64_t do_not_mind_on_0(void *arg)
{
	return apus_shard_index() == 0 ? do_not_mind(arg) : 0;
}

static unsigned int callee_shard; /* 2: all */

static int64_t call_do_not_mind(void *arg)
{
	int64_t results[2] = {0}, rc;

	if (callee_shard < 2)
		rc = apus_call_on(callee_shard, do_not_mind, arg);
	else
		rc = apus_on_all(do_not_mind_on_0, arg, results) + results[0];

	ok(apus_yield()); /* what the callee took is not told again */
	return rc;
}

static void until(int64_t ns)
{
	while (cross_next_ns() <= ns)
		cross_step();
}

static void callee_that_does_not_stop_has_its_result_delivered(void **state)
{
	for (intptr_t times = 1; times < 4; times++) {
		for (callee_shard = 0; callee_shard < 3; callee_shard++) {
			cross_open(2, &slow);

			struct apus_task *t = cross_spawn(0, call_do_not_mind, (void *)times);

			for (int i = 1; i <= times; i++) {
				until(CROSS_START_NS + i * 100 * APUS_MS);
				cross_cancel(0, t);
			}
			assert_int_equal(cross_await(0, t), 77);
			cross_close();
		}
	}
}

static int64_t ignore_the_first(void *arg)
{
	assert_int_equal(apus_sleep(3600 * APUS_SEC), -ECANCELED);
	return apus_sleep(3600 * APUS_SEC);
}

static int64_t call_ignore_the_first(void *arg)
{
	return apus_call_on(1, ignore_the_first, NULL);
}

static void every_cancel_is_passed_on(void **state)
{
	cross_open(2, &slow);

	struct apus_task *t = cross_spawn(0, call_ignore_the_first, NULL);

	while (cross_next_ns() < CROSS_START_NS + APUS_SEC)
		cross_step();
	cross_cancel(0, t);
	cross_cancel(0, t); /* the first has not even left */
	assert_int_equal(cross_await(0, t), -ECANCELED);
	assert_true(apus_clock_read(&cross.clock) < CROSS_START_NS + APUS_SEC);
	cross_close();
}

static int64_t cancel_self(void *arg)
{
	apus_task_cancel(apus_task_self());
	return 5;
}

static int64_t call_cancel_self(void *arg)
{
	return apus_call_on((unsigned int)(intptr_t)arg, cancel_self, NULL);
}

static void cancel_that_the_callee_did_not_take_is_its_result(void **state)
{
	cross_open(2, NULL);
	for (intptr_t to = 0; to < 2; to++)
		assert_int_equal(cross_run(0, call_cancel_self, (void *)to), -ECANCELED);
	cross_close();
}

/* A cancel behind the answer, in the same line: the caller is awake, and has not run. */

static struct {
	struct apus_message message;
	struct apus_task *caller;
} late;

static void cancel_caller(struct apus_message *message)
{
	assert_true(apus_task_cancel(late.caller));
}

static int64_t send_late(void *arg)
{
	late.message.fn = cancel_caller;
	return apus_message_send(0, &late.message);
}

static int64_t answer_and_send(void *arg)
{
	ok(apus_spawn_detached(NULL, send_late, NULL, 0)); /* in this turn, after the answer */
	return 5;
}

static int64_t call_and_sleep(void *arg)
{
	late.caller = apus_task_self();
	assert_int_equal(apus_call_on(1, answer_and_send, NULL), 5); /* not lost */
	assert_int_equal(apus_task_cancelling(late.caller), 1);
	assert_int_equal(apus_sleep(APUS_SEC), -ECANCELED);
	return 0;
}

static void cancel_that_comes_after_the_result_is_for_the_next_wait(void **state)
{
	cross_open(2, NULL);
	ok(cross_run(0, call_and_sleep, NULL));
	cross_close();
}

/*
 * A cancel that is on its way when the callee ends is for the caller's next wait: a loop of calls,
 * each of which ends at once, does not outlive one cancel, at whatever moment that comes.
 */

static int64_t note_it(void *arg)
{
	++*(int *)arg;
	return 0;
}

static int64_t call_1_for_ever(void *arg)
{
	while (apus_call_on(1, note_it, arg) == 0 && apus_yield() == 0)
		;
	return 0;
}

static int64_t call_itself_for_ever(void *arg)
{
	while (apus_call_on(0, note_it, arg) == 0 && apus_yield() == 0)
		;
	return 0;
}

static int64_t call_all_for_ever(void *arg)
{
	while (apus_on_all(note_it, arg, NULL) == 0 && apus_yield() == 0)
		;
	return 0;
}

/* Nothing but the call itself waits in the loop: the next one has to give -ECANCELED. */
static int64_t call_and_nothing_else(void *arg)
{
	int64_t rc;

	while ((rc = apus_call_on(1, note_it, arg)) == 0)
		;
	return rc == -ECANCELED ? 0 : rc;
}

static void ends_by_one_cancel(apus_task_fn loop, int moment)
{
	int calls = 0;

	cross_open_seed(2, &slow, (uint64_t)moment + 1);

	struct apus_task *t = cross_spawn(0, loop, &calls);

	for (int i = 0; i < moment; i++)
		cross_step();
	cross_cancel(0, t);

	int before = calls;

	ok(cross_await(0, t));
	assert_true(calls <= before + 4); /* of the round that it was in, and of one more */
	cross_close();
}

static void one_cancel_ends_a_loop_of_calls_at_every_moment(void **state)
{
	static const apus_task_fn loops[] = {
		call_1_for_ever,
		call_itself_for_ever,
		call_all_for_ever,
		call_and_nothing_else,
	};

	for (size_t i = 0; i < apus_countof(loops); i++)
		for (int moment = 1; moment < 200; moment++)
			ends_by_one_cancel(loops[i], moment);
}

static int64_t call_within_a_limit(void *arg)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, (intptr_t)arg);

	int calls = 0;
	int64_t rc = apus_timeout_end(&limit, call_1_for_ever(&calls));

	if (rc != -ETIMEDOUT)
		return rc ? rc : -EBADE;
	assert_int_equal(apus_task_cancelling(apus_task_self()), 0);
	return apus_sleep(APUS_MS); /* the cancel was the limit's, and is no more */
}

static void limit_ends_a_loop_of_calls(void **state)
{
	for (int64_t ns = APUS_US; ns < 200 * APUS_US; ns += 3 * APUS_US) {
		cross_open_seed(2, &slow, (uint64_t)ns);
		ok(cross_run(0, call_within_a_limit, (void *)(intptr_t)ns));
		cross_close();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancel_ends_the_callee_at_every_moment),
		cmocka_unit_test(callee_that_does_not_stop_has_its_result_delivered),
		cmocka_unit_test(every_cancel_is_passed_on),
		cmocka_unit_test(cancel_that_the_callee_did_not_take_is_its_result),
		cmocka_unit_test(cancel_that_comes_after_the_result_is_for_the_next_wait),
		cmocka_unit_test(one_cancel_ends_a_loop_of_calls_at_every_moment),
		cmocka_unit_test(limit_ends_a_loop_of_calls),
	};

	return test_main(argc, argv, tests);
}
