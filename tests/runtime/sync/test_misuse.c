/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_misuse.c: what is not allowed gives the documented error, changes nothing,
 * and in debug mode one sentence that names two places: where it was done, and where the object was
 * last used well.
 *
 * Each row has a function that uses the object well, and one that does not (or lets another task do
 * it, in a function whose name begins with its own); the sentence must have both names.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/context_var.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/timeout.h"

static struct {
	struct apus_lock lock;
	struct apus_condition condition;
	struct apus_semaphore semaphore;
	struct apus_gate gate;
	struct apus_future future;
	struct apus_oneshot oneshot;
	struct apus_queue queue;
	struct apus_group group;
	struct apus_timeout limit, inner;
	struct apus_context_token token;
	struct apus_generator generator;
	struct apus_task *task;
} world;

static struct apus_context_var color = {.name = "color"};

/* A name of its own in the symbol table, and a frame of its own on the stack. */
#define good static APUS_NOINLINE int64_t
#define bad  static APUS_NOINLINE int64_t

/* Keeps a call from becoming a jump, which would leave no place to return to. */
static int64_t here(int64_t rc)
{
	static volatile int64_t last;

	last = rc;
	return last;
}

/* Release of what is not held. */

good good_release(void)
{
	ok(apus_lock_acquire(&world.lock));
	return here(apus_lock_release(&world.lock));
}

bad bad_release(void)
{
	return here(apus_lock_release(&world.lock));
}

bad bad_condition_wait(void)
{
	return here(apus_condition_wait(&world.condition));
}

bad bad_notify(void)
{
	return here(apus_condition_notify(&world.condition, 1));
}

good good_semaphore_release(void)
{
	ok(apus_semaphore_acquire(&world.semaphore, 2));
	return here(apus_semaphore_release(&world.semaphore, 2));
}

bad bad_semaphore_release(void)
{
	return here(apus_semaphore_release(&world.semaphore, 1));
}

good good_leave(void)
{
	ok(apus_gate_enter(&world.gate));
	return here(apus_gate_leave(&world.gate));
}

bad bad_leave(void)
{
	return here(apus_gate_leave(&world.gate));
}

/* Too many task_done. */

good good_task_done(void)
{
	void *item;

	ok(apus_queue_try_put(&world.queue, &world));
	ok(apus_queue_try_get(&world.queue, &item));
	return here(apus_queue_task_done(&world.queue));
}

bad bad_task_done(void)
{
	return here(apus_queue_task_done(&world.queue));
}

/* What has ended cannot be used again. */

good good_set(void)
{
	return here(apus_future_set(&world.future, 1));
}

bad bad_set(void)
{
	return here(apus_future_set(&world.future, 2));
}

bad bad_fail(void)
{
	return here(apus_future_fail(&world.future, -EIO));
}

good good_send(void)
{
	return here(apus_oneshot_send(&world.oneshot, &world));
}

bad bad_send(void)
{
	return here(apus_oneshot_send(&world.oneshot, &world));
}

static int64_t return_zero(void *arg)
{
	return 0;
}

good good_group(void)
{
	apus_group_begin(&world.group, APUS_GROUP_FAIL_FAST);
	return here(apus_group_end(&world.group, 0));
}

bad bad_group_spawn(void)
{
	return here(apus_group_spawn(&world.group, NULL, return_zero, NULL, 0));
}

bad bad_group_start(void)
{
	return here(apus_group_start(&world.group, NULL, return_zero, NULL, 0));
}

bad bad_group_end(void)
{
	return here(apus_group_end(&world.group, 0));
}

good good_limit(void)
{
	apus_timeout_begin(&world.limit, APUS_SEC);
	return here(apus_timeout_end(&world.limit, 0));
}

bad bad_limit(void)
{
	return here(apus_timeout_end(&world.limit, 0));
}

good good_reset(void)
{
	ok(apus_context_var_set(&color, &world, &world.token));
	return here(apus_context_var_reset(&world.token));
}

bad bad_reset(void)
{
	return here(apus_context_var_reset(&world.token));
}

good good_await(void)
{
	world.task = apus_spawn(return_zero, NULL);
	return here(apus_await(world.task));
}

bad bad_await(void)
{
	return here(apus_await(world.task));
}

bad bad_detach(void)
{
	apus_detach(world.task);
	return here(-EINVAL); /* it returns nothing */
}

/* Scopes out of order, or another's. */

good good_inner_begin(void)
{
	apus_timeout_begin(&world.limit, APUS_SEC);
	apus_timeout_begin(&world.inner, APUS_SEC);
	return here(0);
}

bad bad_outer_end(void)
{
	int64_t rc = here(apus_timeout_end(&world.limit, 0));

	assert_false(apus_timer_armed(&world.limit.timer));
	/* Its own end comes too late to be in order, and takes no more than its own. */
	assert_int_equal(apus_timeout_end(&world.inner, 0), -EINVAL);
	assert_false(apus_timer_armed(&world.inner.timer));
	return rc;
}

good good_group_in_limit(void)
{
	apus_timeout_begin(&world.limit, APUS_SEC);
	apus_group_begin(&world.group, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&world.group, NULL, return_zero, NULL, 0));
	return here(0);
}

bad bad_limit_end(void)
{
	int64_t rc = here(apus_timeout_end(&world.limit, 0));

	assert_int_equal(apus_group_end(&world.group, 0), -EINVAL);
	assert_int_equal(world.group.live, 0); /* it waited all the same */
	apus_group_fini(&world.group);
	return rc;
}

good good_limit_begin(void)
{
	apus_timeout_begin(&world.limit, APUS_SEC);
	return here(0);
}

static int64_t bad_end_by_another_itself(void *arg)
{
	return here(apus_timeout_end(&world.limit, 0));
}

bad bad_end_by_another(void)
{
	int64_t rc = here(apus_await(apus_spawn(bad_end_by_another_itself, NULL)));

	assert_true(apus_timer_armed(&world.limit.timer));
	ok(apus_timeout_end(&world.limit, 0));
	return rc;
}

good good_group_begin(void)
{
	apus_group_begin(&world.group, APUS_GROUP_FAIL_FAST);
	return here(0);
}

static int64_t bad_group_end_by_another_itself(void *arg)
{
	return here(apus_group_end(&world.group, 0));
}

bad bad_group_end_by_another(void)
{
	int64_t rc = here(apus_await(apus_spawn(bad_group_end_by_another_itself, NULL)));

	ok(apus_group_end(&world.group, 0));
	return rc;
}

good good_token(void)
{
	return here(apus_context_var_set(&color, &world, &world.token));
}

static int64_t bad_reset_by_another_itself(void *arg)
{
	return here(apus_context_var_reset(&world.token));
}

bad bad_reset_by_another(void)
{
	int64_t rc = here(apus_await(apus_spawn(bad_reset_by_another_itself, NULL)));

	ok(apus_context_var_reset(&world.token));
	return rc;
}

/* Waiting for oneself. */

bad bad_await_self(void)
{
	return here(apus_await(apus_task_get(apus_task_self())));
}

bad bad_gather_self(void)
{
	struct apus_task *tasks[] = {apus_spawn(return_zero, NULL),
				     apus_task_get(apus_task_self())};

	return here(apus_gather(tasks, 2, NULL, 0));
}

bad bad_wait_self(void)
{
	struct apus_task *self = apus_task_self();

	return here(apus_wait(&self, 1, APUS_WAIT_ALL, APUS_SEC));
}

bad bad_as_completed_self(void)
{
	struct apus_task *self = apus_task_self();
	struct apus_as_completed it;
	int64_t rc = here(apus_as_completed_begin(&it, &self, 1));

	assert_int_equal(apus_as_completed_next(&it), -ENOENT);
	apus_as_completed_end(&it);
	return rc;
}

bad bad_wait_for_self(void)
{
	int64_t rc = here(apus_wait_for(apus_task_get(apus_task_self()), 0));

	assert_int_equal(cancelling(), 0);
	return rc;
}

bad bad_shield_self(void)
{
	return here(apus_shield(apus_task_get(apus_task_self())));
}

bad bad_select_self(void)
{
	struct apus_select_case cases[] = {APUS_SELECT_TASK(apus_task_self())};

	return here(apus_select(cases, 1));
}

/* Others. */

static int64_t yields_once(struct apus_generator *g, void *arg)
{
	return apus_generator_yield(g, NULL, NULL);
}

good good_open(void)
{
	apus_generator_open(&world.generator, yields_once, NULL);
	return here(0);
}

bad bad_yield(void)
{
	void *value;
	int64_t rc = here(apus_generator_yield(&world.generator, NULL, NULL));

	assert_int_equal(apus_generator_next(&world.generator, &value), 1);
	ok((int)apus_generator_close(&world.generator));
	return rc;
}

bad bad_started(void)
{
	return here(apus_started(1));
}

#define USE(function) function, #function

static const struct row {
	int64_t (*use)(void); /* NULL: the object was initialised, or spawned, by the test itself */
	const char *use_name;
	int64_t (*misuse)(void);
	const char *misuse_name;
	int64_t error;
	const char *says;
} rows[] = {
	{USE(good_release), USE(bad_release), -EPERM, "release of a lock that is not locked"},
	{USE(good_release), USE(bad_condition_wait), -EPERM, "wait for a condition whose lock"},
	{USE(good_release), USE(bad_notify), -EPERM, "notify of a condition whose lock"},
	{USE(good_semaphore_release), USE(bad_semaphore_release), -EOVERFLOW, "beyond its bound"},
	{USE(good_leave), USE(bad_leave), -EPERM, "leave of a gate that nobody is in"},
	{USE(good_task_done), USE(bad_task_done), -EINVAL, "task_done of a queue for more items"},
	{USE(good_set), USE(bad_set), -EALREADY, "completion of a future that is complete"},
	{USE(good_set), USE(bad_fail), -EALREADY, "completion of a future that is complete"},
	{USE(good_send), USE(bad_send), -EALREADY, "second send into a oneshot"},
	{USE(good_group), USE(bad_group_spawn), -EPIPE, "spawn into a group that is over"},
	{USE(good_group), USE(bad_group_start), -EPIPE, "spawn into a group that is over"},
	{USE(good_group), USE(bad_group_end), -EINVAL, "end of a group that is over"},
	{USE(good_limit), USE(bad_limit), -EINVAL, "end of a time limit that has ended"},
	{USE(good_reset), USE(bad_reset), -EALREADY, "second reset by a context variable's token"},
	{USE(good_await), USE(bad_await), -EINVAL, "await of a task by a handle that was spent"},
	{USE(good_await), USE(bad_detach), -EINVAL, "detach of a task by a handle that was spent"},
	{USE(good_inner_begin), USE(bad_outer_end), -EINVAL, "while one that began inside of it"},
	{USE(good_group_in_limit), USE(bad_limit_end), -EINVAL,
	 "while one that began inside of it"},
	{USE(good_limit_begin), USE(bad_end_by_another), -EINVAL, "did not begin it"},
	{USE(good_group_begin), USE(bad_group_end_by_another), -EINVAL, "did not begin it"},
	{USE(good_token), USE(bad_reset_by_another), -EINVAL, "another task's token"},
	{NULL, NULL, USE(bad_await_self), -EDEADLK, "await by itself of main"},
	{NULL, NULL, USE(bad_gather_self), -EDEADLK, "gather of main"},
	{NULL, NULL, USE(bad_wait_self), -EDEADLK, "wait of main"},
	{NULL, NULL, USE(bad_as_completed_self), -EDEADLK, "as_completed of main"},
	{NULL, NULL, USE(bad_wait_for_self), -EDEADLK, "wait_for of main"},
	{NULL, NULL, USE(bad_shield_self), -EDEADLK, "shield of main"},
	{NULL, NULL, USE(bad_select_self), -EDEADLK, "select of main"},
	{USE(good_open), USE(bad_yield), -EINVAL, "yield of a generator outside of its body"},
	{NULL, NULL, USE(bad_started), -EINVAL, "started, which nobody waits for"},
};

static int64_t run_row(void *arg)
{
	const struct row *row = arg;

	if (row->use)
		ok((int)row->use());
	emit("%lld", (long long)row->misuse());
	return 0;
}

static struct test_capture capture;

static void open_world(bool is_debug)
{
	ok(test_open_with(&(struct apus_shard_options){.core = -1, .debug = is_debug}));
	memset(&world, 0, sizeof(world));
	apus_lock_init(&world.lock);
	apus_condition_init(&world.condition, &world.lock);
	apus_semaphore_init(&world.semaphore, 2, 2);
	apus_gate_init(&world.gate);
	apus_future_init(&world.future);
	apus_oneshot_init(&world.oneshot);
	ok(apus_queue_init(&world.queue, &(struct apus_queue_options){.capacity = 1}));
}

/* Of the main task the place is where it was spawned, which is here. */
static struct apus_task *start_row(const struct row *row)
{
	return apus_spawn_with(&(struct apus_spawn_options){.name = "main"}, run_row, row, 0);
}

/* In a process of its own: debug mode cannot be left, and logs are limited. */
static void run_in_debug_mode(void *arg)
{
	open_world(true);

	struct apus_task *t = start_row(arg);

	while (!apus_task_done(t) && test_step())
		;
	_exit(apus_task_result(t) != 0);
}

static void misuse_is_an_error_and_a_sentence_names_both_places(void **state)
{
	const struct row *row = *state;
	char expected[32];

	open_world(false);
	ok(test_await(start_row(row)));
	test_drain();
	snprintf(expected, sizeof(expected), "%lld", (long long)row->error);
	assert_trace(expected);
	apus_queue_fini(&world.queue);
	test_world.passed = true;
	ok(test_close(NULL));

	assert_int_equal(test_in_child(run_in_debug_mode, (void *)(uintptr_t)row, &capture), 0);
	if (!strstr(capture.text, row->says) || !strstr(capture.text, row->misuse_name) ||
	    strstr(capture.text, "unknown") ||
	    !strstr(capture.text, row->use ? row->use_name : "it was spawned at "))
		fail_msg("%s: the sentence is: %s", row->misuse_name, capture.text);
}

static int leave_shard(void **state)
{
	apus_shard_current = NULL; /* of a test that failed in the middle of its run */
	return 0;
}

/* A scope that is left open has its memory on the stack of a task that ends. */

static int64_t forget_the_end(void *arg)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, APUS_SEC);
	return 0;
}

static void end_inside_of_a_scope(void *arg)
{
	(void)!test_open_with(&(struct apus_shard_options){.core = -1, .debug = true});
	apus_detach(apus_spawn(forget_the_end, NULL));
	test_laps(1);
}

static void task_that_ends_inside_of_a_scope_ends_the_process(void **state)
{
	int status = test_in_child(end_inside_of_a_scope, NULL, &capture);

	assert_false(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_non_null(strstr(capture.text, "ended inside of 1 scopes"));
	assert_non_null(strstr(capture.text, "forget_the_end"));
}

static void sleep_in_a_callback(struct apus_work *work)
{
	(void)!apus_sleep(1);
}

static void call_sleep(void *arg)
{
	struct apus_timer timer;

	(void)!test_open_with(&(struct apus_shard_options){.core = -1, .debug = true});
	apus_timer_init(&timer, sleep_in_a_callback);
	apus_call_soon(&timer.work);
	test_laps(1);
}

static void callback_that_waits_ends_the_process(void **state)
{
	int status = test_in_child(call_sleep, NULL, &capture);

	assert_false(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_non_null(strstr(capture.text, "a callback called what has to wait"));
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(rows) + 2];

	for (size_t i = 0; i < apus_countof(rows); i++)
		tests[i] = (struct CMUnitTest){
			rows[i].misuse_name,
			misuse_is_an_error_and_a_sentence_names_both_places,
			NULL,
			leave_shard,
			(void *)(uintptr_t)&rows[i],
		};
	tests[apus_countof(rows)] = (struct CMUnitTest)cmocka_unit_test(
		task_that_ends_inside_of_a_scope_ends_the_process);
	tests[apus_countof(rows) + 1] =
		(struct CMUnitTest)cmocka_unit_test(callback_that_waits_ends_the_process);
	return test_main(argc, argv, tests);
}
