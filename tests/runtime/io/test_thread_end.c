/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/io/test_thread_end.c: calls on threads beside a virtual clock, and at the end of a run.
 *
 * Real threads. Each holds its call until the test lets it go, or for a few milliseconds.
 */
#include "tests/runtime/base_test.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "runtime/io/thread.h"
#include "runtime/sched/run.h"

/* cmocka's assertions belong to the main thread's stack; here they would unwind a task. */
#define check(condition) \
 do {                    \
  if (!(condition))      \
   return -__LINE__;     \
 } while (0)

static struct apus_clock virtual_clock;

static int64_t run_on_virtual_clock(apus_task_fn fn)
{
	const struct apus_shard_options options = {.core = -1, .seed = 1, .clock = &virtual_clock};

	apus_clock_init_virtual(&virtual_clock, APUS_SEC);
	return apus_run(&options, fn, NULL);
}

static int64_t take_5_ms(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	return 5;
}

static int64_t tick(void *arg)
{
	int *ticks = arg;

	while (apus_sleep(APUS_SEC) == 0)
		++*ticks;
	return 0;
}

static int64_t call_beside_a_ticker(void *arg)
{
	int ticks = 0;
	struct apus_task *t = apus_spawn(tick, &ticks);
	int64_t begin_ns = apus_now();

	for (int i = 0; i < 5; i++)
		check(apus_to_thread(take_5_ms, NULL) == 5);
	check(apus_now() == begin_ns);
	check(ticks == 0);
	check(apus_sleep(10 * APUS_SEC) == 0); /* now it jumps again */
	check(ticks == 9 || ticks == 10);
	apus_task_cancel(t);
	check(apus_await(t) == 0 || ticks);
	return 0;
}

static void virtual_clock_stands_while_a_call_is_out(void **state)
{
	int64_t rc = run_on_virtual_clock(call_beside_a_ticker);

	if (rc < 0)
		fail_msg("check failed: %s:%d", __FILE__, (int)-rc);
}

/* The end of a run. */

static sem_t let_go, under_way;

static int64_t hold(void *arg)
{
	sem_post(&under_way);
	while (sem_wait(&let_go))
		;
	return 0;
}

static int64_t call_hold(void *arg)
{
	char on_stack[64] = "lent";

	return apus_to_thread(hold, on_stack);
}

static int64_t leave_a_call(void *arg)
{
	check(apus_spawn_detached(NULL, call_hold, NULL, 0) == 0);
	while (sem_trywait(&under_way))
		check(apus_sleep(APUS_MS / 10) == 0);
	return 11;
}

static int64_t leave_a_call_virtually(void *arg)
{
	check(apus_spawn_detached(NULL, call_hold, NULL, 0) == 0);
	while (sem_trywait(&under_way))
		check(apus_yield() == 0);
	return 11;
}

static struct test_capture capture;

static void assert_abandons(struct apus_shard_options options, apus_task_fn fn)
{
	int64_t begin_ns = apus_clock_host_ns();

	options.core = -1;
	options.executor_wait_ns = 30 * APUS_MS;
	test_capture_begin(&capture);

	int64_t rc = apus_run(&options, fn, NULL);

	test_capture_end(&capture);
	assert_int_equal(rc, 11);
	assert_true(apus_clock_host_ns() - begin_ns >= 30 * APUS_MS);
	assert_int_equal(test_count(capture.text, "1 calls on threads have not returned"), 1);
	assert_null(apus_shard_self());
	/* Its memory is all there when the call comes back after all. */
	sem_post(&let_go);
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void call_that_does_not_return_is_abandoned_with_its_task(void **state)
{
	sem_init(&let_go, 0, 0);
	sem_init(&under_way, 0, 0);
	apus_clock_init_virtual(&virtual_clock, APUS_SEC);
	assert_abandons((struct apus_shard_options){.seed = 1}, leave_a_call);
	assert_abandons((struct apus_shard_options){.clock = &virtual_clock},
			leave_a_call_virtually);
}

static void *let_go_soon(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	sem_post(&let_go);
	return NULL;
}

static void call_that_returns_in_time_is_waited_for(void **state)
{
	const struct apus_shard_options options = {.core = -1, .executor_wait_ns = 60 * APUS_SEC};
	pthread_t thread;

	sem_init(&let_go, 0, 0);
	sem_init(&under_way, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, let_go_soon, NULL), 0);
	test_capture_begin(&capture);

	int64_t rc = apus_run(&options, leave_a_call, NULL);

	test_capture_end(&capture);
	pthread_join(thread, NULL);
	assert_int_equal(rc, 11);
	assert_int_equal(test_count(capture.text, "abandoned"), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtual_clock_stands_while_a_call_is_out),
		cmocka_unit_test(call_that_returns_in_time_is_waited_for),
		cmocka_unit_test(call_that_does_not_return_is_abandoned_with_its_task),
	};

	return test_main(argc, argv, tests);
}
