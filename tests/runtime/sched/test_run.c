/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_run.c: from main() into a shard and back: leftovers, signals, sleep.
 *
 * apus_run() sleeps in the kernel when idle, so these tests are on the real clock; each waits a few
 * milliseconds, and none depends on how long anything takes but for an upper bound on CPU time.
 */
#include "tests/runtime/base_test.h"

#include <sys/resource.h>

#include "runtime/sched/run.h"

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static const struct apus_shard_options plain = {.core = -1, .seed = 1};

static void run_returns_what_main_returned(void **state)
{
	assert_int_equal(apus_run(&plain, return_arg, (void *)42), 42);
	assert_int_equal(apus_run(&plain, return_arg, (void *)(intptr_t)-EPIPE), -EPIPE);
	assert_int_equal(apus_run(NULL, return_arg, (void *)7), 7);
	assert_null(apus_shard_self());
}

static void run_with_impossible_options_says_so(void **state)
{
	assert_int_equal(apus_run(&(struct apus_shard_options){.core = 100000}, return_arg, NULL),
			 -EINVAL);
	assert_null(apus_shard_self());
}

static int64_t main_is_named(void *arg)
{
	return strcmp(apus_task_name(apus_task_self()), "main");
}

static void main_task_is_named_main(void **state)
{
	assert_int_equal(apus_run(&plain, main_is_named, NULL), 0);
}

static int64_t sleep_2_ms(void *arg)
{
	int64_t start_ns = apus_now();

	if (apus_sleep(2 * APUS_MS))
		return -EINVAL;
	return apus_now() - start_ns;
}

static void sleep_on_the_real_clock_is_never_short(void **state)
{
	for (int i = 0; i < 5; i++)
		assert_true(apus_run(&plain, sleep_2_ms, NULL) >= 2 * APUS_MS);
}

static int64_t sleep_300_ms(void *arg)
{
	return apus_sleep(300 * APUS_MS);
}

static int64_t cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * APUS_SEC +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * APUS_US;
}

static void idle_shard_costs_no_cpu(void **state)
{
	int64_t before_ns = cpu_ns();

	assert_int_equal(apus_run(&plain, sleep_300_ms, NULL), 0);
	/* Issue 2 allows 2 % when idle; a loop that spins takes all of the 300 ms. */
	assert_true(cpu_ns() - before_ns < (test_is_slow() ? 290 : 100) * APUS_MS);
}

/* Leftovers. */

static struct {
	int cancelled, cleaned, interrupted, spawned_late;
} seen;

static int64_t leftover(void *arg)
{
	if (apus_sleep(1000 * APUS_SEC) == -ECANCELED)
		seen.cancelled++;
	return -ECANCELED;
}

static int64_t leave_three(void *arg)
{
	seen.cancelled = 0;
	for (int i = 0; i < 3; i++)
		if (apus_spawn_detached(NULL, leftover, NULL, 0))
			return -ENOMEM;
	if (apus_yield())
		return -EINVAL;
	/* This one has not begun when main ends: its body never runs. */
	if (apus_spawn_detached(NULL, leftover, NULL, 0))
		return -ENOMEM;
	return 5;
}

static void leftover_tasks_are_cancelled_and_awaited(void **state)
{
	assert_int_equal(apus_run(&plain, leave_three, NULL), 5);
	assert_in_range(seen.cancelled, 3, 4);
}

static int64_t slow_cleaner(void *arg)
{
	if (apus_sleep(1000 * APUS_SEC) != -ECANCELED)
		return -EINVAL;
	/* Five waits of some milliseconds: a flush, a FIN, its acknowledgement. */
	for (int i = 0; i < 5; i++) {
		if (apus_sleep(3 * APUS_MS) == 0)
			seen.cleaned++;
		else
			seen.interrupted++;
	}
	return -ECANCELED;
}

static int64_t leave_a_slow_cleaner(void *arg)
{
	seen.cleaned = seen.interrupted = 0;
	if (apus_spawn_detached(NULL, slow_cleaner, NULL, 0))
		return -ENOMEM;
	return apus_yield();
}

/* As in asyncio.run(): each is asked once, and then waited for. */
static void leftover_task_may_take_its_time_to_clean_up(void **state)
{
	assert_int_equal(apus_run(&plain, leave_a_slow_cleaner, NULL), 0);
	assert_int_equal(seen.interrupted, 0);
	assert_int_equal(seen.cleaned, 5);
}

static int64_t spawns_when_cancelled(void *arg)
{
	intptr_t depth = (intptr_t)arg;

	(void)!apus_sleep(1000 * APUS_SEC);
	seen.spawned_late++;
	if (depth)
		return apus_spawn_detached(NULL, spawns_when_cancelled, (void *)(depth - 1), 0);
	return 0;
}

static int64_t leave_a_spawner(void *arg)
{
	seen.spawned_late = 0;
	if (apus_spawn_detached(NULL, spawns_when_cancelled, (void *)3, 0))
		return -ENOMEM;
	return apus_yield();
}

static void task_spawned_by_a_leftover_is_ended_too(void **state)
{
	assert_int_equal(apus_run(&plain, leave_a_spawner, NULL), 0);
	/* The later ones may be cancelled before they begin; none may hold up the end. */
	assert_in_range(seen.spawned_late, 1, 4);
}

/* Signals. */

static int64_t wait_for_signal(void *arg)
{
	raise(*(int *)arg);
	int rc = apus_sleep(1000 * APUS_SEC);

	return rc == -ECANCELED && apus_task_cancelling(apus_task_self()) == 1 ? 11 : rc;
}

static void first_signal_cancels_main(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM};

	for (size_t i = 0; i < apus_countof(signals); i++) {
		int number = signals[i];

		assert_int_equal(apus_run(&plain, wait_for_signal, &number), 11);
	}
}

static struct test_capture capture;

static int64_t ignore_signals(void *arg)
{
	for (;;) {
		raise(SIGINT);
		(void)!apus_sleep(APUS_MS);
	}
	return 0;
}

static void run_ignoring_signals(void *arg)
{
	_exit((int)apus_run(&plain, ignore_signals, NULL));
}

static void second_signal_ends_the_process(void **state)
{
	if (APUS_TSAN)
		skip(); /* it delivers signals in its own time, or not at all on a fiber */
	int status = test_in_child(run_ignoring_signals, NULL, &capture);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
}

static void handler_of_ours(int number)
{
}

static void handlers_are_as_before_after_the_run(void **state)
{
	struct sigaction ours = {.sa_handler = handler_of_ours}, before, now;

	sigaction(SIGTERM, &ours, &before);
	assert_int_equal(apus_run(&plain, return_arg, (void *)1), 1);
	sigaction(SIGTERM, &before, &now);
	assert_ptr_equal(now.sa_handler, handler_of_ours);
}

/* A signal that comes while leftovers clean up must hurt nobody. */
static int64_t cleaner_with_signal(void *arg)
{
	if (apus_sleep(1000 * APUS_SEC) != -ECANCELED)
		return -EINVAL;
	raise(SIGINT);
	for (int i = 0; i < 3; i++) {
		if (apus_sleep(2 * APUS_MS) == 0)
			seen.cleaned++;
		else
			seen.interrupted++;
	}
	return -ECANCELED;
}

static int64_t leave_cleaner_with_signal(void *arg)
{
	seen.cleaned = seen.interrupted = 0;
	if (apus_spawn_detached(NULL, cleaner_with_signal, NULL, 0))
		return -ENOMEM;
	return apus_yield();
}

static void signal_during_the_clean_up_does_not_reach_a_task_that_ended(void **state)
{
	assert_int_equal(apus_run(&plain, leave_cleaner_with_signal, NULL), 0);
	assert_int_equal(seen.cleaned, 3);
	assert_int_equal(seen.interrupted, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_returns_what_main_returned),
		cmocka_unit_test(run_with_impossible_options_says_so),
		cmocka_unit_test(main_task_is_named_main),
		cmocka_unit_test(sleep_on_the_real_clock_is_never_short),
		cmocka_unit_test(idle_shard_costs_no_cpu),
		cmocka_unit_test(leftover_tasks_are_cancelled_and_awaited),
		cmocka_unit_test(leftover_task_may_take_its_time_to_clean_up),
		cmocka_unit_test(task_spawned_by_a_leftover_is_ended_too),
		cmocka_unit_test(first_signal_cancels_main),
		cmocka_unit_test(second_signal_ends_the_process),
		cmocka_unit_test(handlers_are_as_before_after_the_run),
		cmocka_unit_test(signal_during_the_clean_up_does_not_reach_a_task_that_ended),
	};

	return test_main(argc, argv, tests);
}
