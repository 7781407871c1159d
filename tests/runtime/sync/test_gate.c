/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_gate.c: nobody comes in once it is closed, and it closes behind the last.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/gate.h"
#include "runtime/sync/timeout.h"

static struct apus_gate gate;

static int open_gate(void **state)
{
	apus_gate_init(&gate);
	return test_open(state);
}

#define gate_test(name) shard_test_with(name, open_gate)

static int64_t close_and_emit(void *arg)
{
	int rc = apus_gate_close(&gate);

	emit("%s %s", (const char *)arg, rc == 0 ? "closed" : rc == -ECANCELED ? "CE" : "error");
	return rc;
}

static void empty_gate_closes_without_a_lap(void **state)
{
	struct apus_task *t = apus_spawn(close_and_emit, "a");

	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_int_equal(apus_gate_enter(&gate), -EPIPE);
	ok(test_run(close_and_emit, "again"));
	assert_trace("a closed · again closed");
}

static void gate_that_was_entered_and_left_closes_at_once(void **state)
{
	ok(apus_gate_enter(&gate));
	ok(apus_gate_enter(&gate));
	apus_gate_leave(&gate);
	apus_gate_leave(&gate);
	struct apus_task *t = apus_spawn(close_and_emit, "a");

	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_trace("a closed");
}

static void close_waits_for_the_last_and_lets_nobody_in(void **state)
{
	ok(apus_gate_enter(&gate));
	ok(apus_gate_enter(&gate));
	struct apus_task *t = apus_spawn(close_and_emit, "a");

	test_laps(1);
	assert_int_equal(apus_gate_enter(&gate), -EPIPE);
	apus_gate_leave(&gate);
	test_laps(3);
	assert_false(apus_task_done(t));
	apus_gate_leave(&gate);
	assert_false(apus_task_done(t)); /* never inside of the call that frees it */
	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_int_equal(apus_gate_enter(&gate), -EPIPE);
	assert_trace("a closed");
}

static void every_closer_waits_and_all_go_on_in_order(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	struct apus_task *tasks[3];

	ok(apus_gate_enter(&gate));
	for (int i = 0; i < 3; i++)
		tasks[i] = apus_spawn(close_and_emit, (void *)(uintptr_t)names[i]);
	test_laps(2);
	assert_trace("");
	apus_gate_leave(&gate);
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	assert_trace("a closed · b closed · c closed");
}

static void cancelled_closer_leaves_the_gate_closed(void **state)
{
	ok(apus_gate_enter(&gate));
	struct apus_task *a = apus_spawn(close_and_emit, "a"), *b = apus_spawn(close_and_emit, "b");

	test_laps(1);
	assert_true(apus_task_cancel(a));
	assert_int_equal(test_await(a), -ECANCELED);
	assert_int_equal(apus_gate_enter(&gate), -EPIPE);
	assert_false(apus_task_done(b));
	apus_gate_leave(&gate);
	ok(test_await(b));
	ok(test_run(close_and_emit, "c"));
	assert_true(apus_waitq_empty(&gate.closers));
	assert_trace("a CE · b closed · c closed");
}

static void cancel_after_the_last_left_in_one_lap_cancels(void **state)
{
	ok(apus_gate_enter(&gate));
	struct apus_task *a = apus_spawn(close_and_emit, "a"), *b = apus_spawn(close_and_emit, "b");

	test_laps(1);
	apus_gate_leave(&gate);
	assert_true(apus_task_cancel(a));
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_await(b));
	assert_trace("a CE · b closed");
}

static int64_t close_in_a_limit(void *arg)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, 5 * APUS_MS);
	return apus_timeout_end(&limit, apus_gate_close(&gate));
}

static void close_with_a_limit_gives_up_and_may_be_tried_again(void **state)
{
	ok(apus_gate_enter(&gate));
	assert_int_equal(test_run(close_in_a_limit, NULL), -ETIMEDOUT);
	assert_int_equal(test_ms(), 5);
	apus_gate_leave(&gate);
	ok(test_run(close_in_a_limit, NULL));
	assert_int_equal(test_ms(), 5);
}

/* The use it is made for: workers that come and go while somebody takes the thing away. */

static struct {
	bool is_gone;
	int served, refused;
} resource;

static int64_t use_resource(void *arg)
{
	if (apus_gate_enter(&gate) == -EPIPE) {
		resource.refused++;
		return 0;
	}
	assert_false(resource.is_gone);
	int rc = apus_sleep((int64_t)(intptr_t)arg * APUS_MS);

	assert_false(resource.is_gone);
	resource.served++;
	apus_gate_leave(&gate);
	return rc;
}

static int64_t take_away(void *arg)
{
	ok(apus_sleep(10 * APUS_MS));
	ok(apus_gate_close(&gate));
	resource.is_gone = true;
	return test_ms();
}

static int64_t come(void *arg)
{
	for (intptr_t i = 0; i < 40; i++) {
		ok(apus_spawn_detached(NULL, use_resource, (void *)(i % 7), 0));
		ok(apus_sleep(APUS_MS));
	}
	return 0;
}

static void resource_is_never_used_after_it_is_gone(void **state)
{
	struct apus_task *away = apus_spawn(take_away, NULL);

	memset(&resource, 0, sizeof(resource));
	ok(test_run(come, NULL));
	assert_in_range(test_await(away), 10, 16);
	test_drain();
	assert_true(resource.is_gone);
	assert_in_range(resource.served, 10, 11);
	assert_int_equal(resource.served + resource.refused, 40);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		gate_test(empty_gate_closes_without_a_lap),
		gate_test(gate_that_was_entered_and_left_closes_at_once),
		gate_test(close_waits_for_the_last_and_lets_nobody_in),
		gate_test(every_closer_waits_and_all_go_on_in_order),
		gate_test(cancelled_closer_leaves_the_gate_closed),
		gate_test(cancel_after_the_last_left_in_one_lap_cancels),
		gate_test(close_with_a_limit_gives_up_and_may_be_tried_again),
		gate_test(resource_is_never_used_after_it_is_gone),
	};

	return test_main(argc, argv, tests);
}
