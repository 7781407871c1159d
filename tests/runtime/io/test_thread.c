/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/io/test_thread.c: apus_to_thread: results, order, how many at once, cancel.
 *
 * Real threads on the real clock. Where a test needs a call to be under way it waits for the call to
 * say so; nothing relies on a time being long enough. TSan is run on this.
 */
#include "tests/runtime/base_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "runtime/io/thread.h"
#include "runtime/sched/run.h"

static const struct apus_shard_options plain = {.core = -1, .seed = 1};

/* cmocka's assertions belong to the main thread's stack; here they would unwind a task. */
#define check(condition) \
 do {                    \
  if (!(condition))      \
   return -__LINE__;     \
 } while (0)

static void run(apus_task_fn fn, void *arg)
{
	int64_t rc = apus_run(&plain, fn, arg);

	if (rc < 0)
		fail_msg("check failed: %s:%d", __FILE__, (int)-rc);
}

static void nap_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

/* Results. */

static int64_t call_with_each_result(void *arg)
{
	static const int64_t results[] = {0, 1, INT64_MAX, -1, -EPIPE, -ECANCELED, INT64_MIN};

	for (size_t i = 0; i < apus_countof(results); i++)
		check(apus_to_thread(return_arg, as_arg(results[i])) == results[i]);
	return 0;
}

static void call_gives_what_the_function_returned(void **state)
{
	run(call_with_each_result, NULL);
}

static int64_t thread_of(void *arg)
{
	*(pthread_t *)arg = pthread_self();
	return apus_shard_self() ? -EINVAL : 0;
}

static int64_t compare_threads(void *arg)
{
	pthread_t other;

	check(apus_to_thread(thread_of, &other) == 0);
	check(!pthread_equal(other, pthread_self()));
	return 0;
}

static void call_runs_on_a_thread_that_is_no_shard(void **state)
{
	run(compare_threads, NULL);
}

static int64_t signals_blocked(void *arg)
{
	sigset_t set;

	if (pthread_sigmask(SIG_SETMASK, NULL, &set))
		return -EINVAL;
	return sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGTERM) == 1;
}

static int64_t ask_for_signals(void *arg)
{
	check(apus_to_thread(signals_blocked, NULL) == 1);
	return 0;
}

static void workers_leave_signals_to_the_shard(void **state)
{
	run(ask_for_signals, NULL);
}

static int64_t write_to_callers_stack(void *arg)
{
	volatile char *bytes = arg;

	for (int i = 0; i < 2048; i++)
		bytes[i] = (char)i;
	nap_us(200);
	for (int i = 0; i < 2048; i++)
		if (bytes[i] != (char)i)
			return -EINVAL;
	return 0;
}

static int64_t lend_the_stack(void *arg)
{
	char bytes[2048];

	for (int i = 0; i < 20; i++)
		check(apus_to_thread(write_to_callers_stack, bytes) == 0);
	return 0;
}

static int64_t lend_many_stacks(void *arg)
{
	struct apus_task *tasks[10];

	for (int i = 0; i < 10; i++)
		tasks[i] = apus_spawn(lend_the_stack, NULL);
	for (int i = 0; i < 10; i++)
		check(apus_await(tasks[i]) == 0);
	return 0;
}

static void argument_may_be_on_the_callers_stack(void **state)
{
	run(lend_many_stacks, NULL);
}

static int64_t count_laps(void *arg)
{
	atomic_int *seen = arg;
	int64_t laps = 0;

	while (!atomic_load(seen)) {
		if (apus_yield())
			return -EINVAL;
		laps++;
	}
	return laps;
}

static int64_t wait_for_laps(void *arg)
{
	nap_us(2000);
	atomic_store((atomic_int *)arg, 1);
	return 0;
}

static int64_t block_while_others_run(void *arg)
{
	atomic_int over = 0;
	struct apus_task *other = apus_spawn(count_laps, &over);

	check(apus_to_thread(wait_for_laps, &over) == 0);
	check(apus_await(other) > 0);
	return 0;
}

static void shard_goes_on_while_a_call_blocks(void **state)
{
	run(block_while_others_run, NULL);
}

/* How many at once. */

#define AT_ONCE 4

static struct {
	atomic_int inside, most, order;
} gauge;

/* Returns only when `AT_ONCE` calls are inside together. */
static int64_t rendezvous(void *arg)
{
	atomic_fetch_add(&gauge.inside, 1);
	while (atomic_load(&gauge.inside) < AT_ONCE)
		nap_us(50);
	return 0;
}

static int64_t to_thread_rendezvous(void *arg)
{
	return apus_to_thread(rendezvous, NULL);
}

static int64_t four_together(void *arg)
{
	struct apus_task *tasks[AT_ONCE];
	int warm_up = (int)(intptr_t)arg;

	for (int i = 0; i < warm_up; i++)
		check(apus_to_thread(return_arg, NULL) == 0);
	nap_us(2000); /* the threads of before are idle by now, if the test is to be as hard as it can */
	atomic_store(&gauge.inside, 0);
	for (int i = 0; i < AT_ONCE; i++)
		tasks[i] = apus_spawn(to_thread_rendezvous, NULL);
	for (int i = 0; i < AT_ONCE; i++)
		check(apus_await(tasks[i]) == 0);
	return 0;
}

static void four_calls_run_at_once(void **state)
{
	run(four_together, as_arg(0));
}

static void four_calls_run_at_once_after_a_single_one(void **state)
{
	run(four_together, as_arg(1));
	run(four_together, as_arg(3));
}

static int64_t gauge_inside(void *arg)
{
	int inside = atomic_fetch_add(&gauge.inside, 1) + 1, most = atomic_load(&gauge.most);

	while (inside > most && !atomic_compare_exchange_weak(&gauge.most, &most, inside))
		;
	nap_us(300);
	atomic_fetch_sub(&gauge.inside, 1);
	return 0;
}

static int64_t to_thread_gauge(void *arg)
{
	return apus_to_thread(gauge_inside, NULL);
}

static int64_t hundred_calls(void *arg)
{
	struct apus_task *tasks[100];

	atomic_store(&gauge.inside, 0);
	atomic_store(&gauge.most, 0);
	for (int i = 0; i < 100; i++)
		tasks[i] = apus_spawn(to_thread_gauge, NULL);
	for (int i = 0; i < 100; i++)
		check(apus_await(tasks[i]) == 0);
	check(atomic_load(&gauge.most) <= AT_ONCE);
	check(atomic_load(&gauge.most) >= 2);
	return 0;
}

static void more_calls_than_threads_wait_their_turn(void **state)
{
	run(hundred_calls, NULL);
}

/* First come, first served: with all threads but one held, the rest is strictly in order. */

static atomic_int gate_open;
static int served[64], served_count; /* by the one thread that is left */

static int64_t hold(void *arg)
{
	atomic_fetch_add(&gauge.inside, 1);
	while (!atomic_load(&gate_open))
		nap_us(50);
	return 0;
}

static int64_t to_thread_hold(void *arg)
{
	return apus_to_thread(hold, NULL);
}

static int64_t note_order(void *arg)
{
	served[served_count++] = (int)(intptr_t)arg;
	return 0;
}

static int64_t to_thread_note(void *arg)
{
	return apus_to_thread(note_order, arg);
}

static int64_t serve_in_order(void *arg)
{
	struct apus_task *holders[AT_ONCE - 1], *tasks[64];

	atomic_store(&gate_open, 0);
	atomic_store(&gauge.inside, 0);
	served_count = 0;
	for (int i = 0; i < AT_ONCE - 1; i++)
		holders[i] = apus_spawn(to_thread_hold, NULL);
	while (atomic_load(&gauge.inside) < AT_ONCE - 1)
		check(apus_sleep(APUS_MS) == 0);
	for (int i = 0; i < 64; i++)
		tasks[i] = apus_spawn(to_thread_note, as_arg(i));
	for (int i = 0; i < 64; i++)
		check(apus_await(tasks[i]) == 0);
	for (int i = 0; i < 64; i++)
		check(served[i] == i);
	atomic_store(&gate_open, 1);
	for (int i = 0; i < AT_ONCE - 1; i++)
		check(apus_await(holders[i]) == 0);
	return 0;
}

static void waiting_calls_are_served_first_come_first_served(void **state)
{
	run(serve_in_order, NULL);
}

/* Cancel. */

static atomic_int ran_to_the_end;

static int64_t hold_and_note(void *arg)
{
	hold(NULL);
	atomic_fetch_add(&ran_to_the_end, 1);
	return 7;
}

static int64_t to_thread_hold_and_note(void *arg)
{
	int64_t rc = apus_to_thread(hold_and_note, NULL);

	/* Not before the function has returned: its argument may be on this stack. */
	return rc == -ECANCELED && atomic_load(&ran_to_the_end) == 1 ? 11 : rc;
}

static int64_t cancel_while_running(void *arg)
{
	atomic_store(&gate_open, 0);
	atomic_store(&gauge.inside, 0);
	atomic_store(&ran_to_the_end, 0);
	struct apus_task *t = apus_spawn(to_thread_hold_and_note, NULL);

	while (!atomic_load(&gauge.inside))
		check(apus_sleep(APUS_MS) == 0);
	check(apus_task_cancel(t));
	check(apus_task_cancel(t));
	for (int i = 0; i < 5; i++)
		check(apus_sleep(APUS_MS) == 0);
	check(!apus_task_done(t));
	atomic_store(&gate_open, 1);
	check(apus_await(t) == 11);
	return 0;
}

static void cancel_of_a_running_call_comes_when_it_returns(void **state)
{
	run(cancel_while_running, NULL);
}

static int64_t cancel_while_waiting(void *arg)
{
	struct apus_task *holders[AT_ONCE], *waiting, *after;

	atomic_store(&gate_open, 0);
	atomic_store(&gauge.inside, 0);
	served_count = 0;
	for (int i = 0; i < AT_ONCE; i++)
		holders[i] = apus_spawn(to_thread_hold, NULL);
	while (atomic_load(&gauge.inside) < AT_ONCE)
		check(apus_sleep(APUS_MS) == 0);
	waiting = apus_spawn(to_thread_note, as_arg(1));
	after = apus_spawn(to_thread_note, as_arg(2));
	check(apus_yield() == 0);
	check(apus_task_cancel(waiting));
	/* Its turn has not come: it need not wait for a thread to be told so. */
	for (int i = 0; i < 3; i++)
		check(apus_yield() == 0);
	check(apus_task_done(waiting));
	check(apus_await(waiting) == -ECANCELED);
	atomic_store(&gate_open, 1);
	check(apus_await(after) == 0);
	for (int i = 0; i < AT_ONCE; i++)
		check(apus_await(holders[i]) == 0);
	check(served_count == 1 && served[0] == 2);
	return 0;
}

static void cancelled_call_whose_turn_has_not_come_never_runs(void **state)
{
	run(cancel_while_waiting, NULL);
}

static int64_t cancel_self_and_call(void *arg)
{
	apus_task_cancel(apus_task_self());
	int64_t rc = apus_to_thread(return_arg, as_arg(5));

	check(rc == -ECANCELED);
	check(apus_to_thread(return_arg, as_arg(6)) == 6);
	return 0;
}

static void cancel_before_the_call_is_delivered_by_it_once(void **state)
{
	run(cancel_self_and_call, NULL);
}

/* Random calls and cancels, over and over, with shards that come and go. */

static int64_t short_call(void *arg)
{
	if ((intptr_t)arg % 3 == 0)
		nap_us((long)(intptr_t)arg);
	return (int64_t)(intptr_t)arg;
}

static int64_t call_repeatedly(void *arg)
{
	intptr_t number = (intptr_t)arg;

	for (int i = 0; i < 20; i++) {
		int64_t rc = apus_to_thread(short_call, (void *)number);

		check(rc == number || rc == -ECANCELED);
	}
	return number;
}

static int64_t cancel_at_random(void *arg)
{
	struct apus_random *r = apus_shard_random(apus_shard_self());
	struct apus_task *tasks[40];

	for (intptr_t i = 0; i < 40; i++)
		tasks[i] = apus_spawn(call_repeatedly, (void *)i);
	for (int i = 0; i < 200; i++) {
		check(apus_sleep((int64_t)apus_random_below(r, 100) * APUS_US) == 0);
		apus_task_cancel(tasks[apus_random_below(r, 40)]);
	}
	for (intptr_t i = 0; i < 40; i++) {
		int64_t rc = apus_await(tasks[i]);

		/* -ECANCELED: at its very end, or before its first step. */
		check(rc == i || rc == -ECANCELED);
	}
	return 0;
}

static void random_calls_and_cancels_end(void **state)
{
	for (int round = 0; round < 5; round++)
		run(cancel_at_random, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_gives_what_the_function_returned),
		cmocka_unit_test(call_runs_on_a_thread_that_is_no_shard),
		cmocka_unit_test(workers_leave_signals_to_the_shard),
		cmocka_unit_test(argument_may_be_on_the_callers_stack),
		cmocka_unit_test(shard_goes_on_while_a_call_blocks),
		cmocka_unit_test(four_calls_run_at_once),
		cmocka_unit_test(four_calls_run_at_once_after_a_single_one),
		cmocka_unit_test(more_calls_than_threads_wait_their_turn),
		cmocka_unit_test(waiting_calls_are_served_first_come_first_served),
		cmocka_unit_test(cancel_of_a_running_call_comes_when_it_returns),
		cmocka_unit_test(cancelled_call_whose_turn_has_not_come_never_runs),
		cmocka_unit_test(cancel_before_the_call_is_delivered_by_it_once),
		cmocka_unit_test(random_calls_and_cancels_end),
	};

	return test_main(argc, argv, tests);
}
