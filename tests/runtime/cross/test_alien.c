/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_alien.c: threads that are no shards, which call into one that runs, stops
 * or is gone. Real threads: this is for TSan and ASan, too.
 */
#include "tests/runtime/base_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "runtime/cross/alien.h"
#include "runtime/sched/run.h"
#include "runtime/sched/wait.h"

#define THREADS 4
#define CALLS   (test_is_slow() ? 200 : 2000)

static const struct apus_shard_options plain = {.core = -1, .seed = 1};

static struct apus_inbox *_Atomic inbox; /* of the shard that runs, held by the test */

static struct apus_inbox *wait_for_inbox(void)
{
	struct apus_inbox *found;

	while (!(found = atomic_load(&inbox)))
		sched_yield();
	return found;
}

static void drop_inbox(void)
{
	apus_inbox_put(atomic_exchange(&inbox, NULL));
}

static void nap_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* A main task that lasts until `stop`. */
static atomic_bool stop;

static int64_t serve(void *arg)
{
	atomic_store(&stop, false);
	atomic_store(&inbox, apus_inbox_get(apus_shard_self()));
	while (!atomic_load(&stop))
		if (apus_sleep(APUS_MS))
			return -ECANCELED;
	return 0;
}

/* One at a time. */

static int64_t add_after_a_sleep(void *arg)
{
	int64_t *numbers = arg;

	if (apus_sleep(APUS_MS))
		return -ECANCELED;
	return numbers[0] + numbers[1];
}

static int64_t fail_at_once(void *arg)
{
	return -EXDEV;
}

static int64_t count_tasks(void *arg)
{
	return (int64_t)apus_shard_tasks(apus_shard_self());
}

static int64_t results[4];

static void *call_some(void *arg)
{
	int64_t numbers[2] = {40, 2};
	struct apus_inbox *to = wait_for_inbox();

	results[0] = apus_submit_and_wait(to, add_after_a_sleep, numbers);
	results[1] = apus_submit_and_wait(to, fail_at_once, NULL);
	results[2] = apus_submit_and_wait(to, count_tasks, NULL);
	atomic_store(&stop, true);
	return NULL;
}

static void result_of_the_task_comes_back_to_the_thread(void **state)
{
	static struct test_capture c;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, call_some, NULL), 0);
	test_capture_begin(&c);

	int64_t rc = apus_run(&plain, serve, NULL);

	test_capture_end(&c);
	pthread_join(thread, NULL);
	drop_inbox();
	assert_int_equal(rc, 0);
	assert_int_equal(results[0], 42);
	assert_int_equal(results[1], -EXDEV);
	assert_int_equal(results[2], 2); /* main, and itself */
	assert_string_equal(c.text, ""); /* the error was seen by who waited */
}

static int64_t submit_on_its_own_shard(void *arg)
{
	struct apus_inbox *own = apus_inbox_get(apus_shard_self());
	int64_t rc = apus_submit_and_wait(own, fail_at_once, NULL);

	apus_inbox_put(own);
	return rc;
}

static void submitting_on_a_shards_thread_is_a_deadlock(void **state)
{
	assert_int_equal(apus_run(&plain, submit_on_its_own_shard, NULL), -EDEADLK);
}

static void never(struct apus_work *work)
{
	abort();
}

static void closed_shard_refuses_calls(void **state)
{
	struct apus_shard *shard;
	struct apus_work work;

	assert_int_equal(apus_shard_open(&plain, &shard), 0);

	struct apus_inbox *held = apus_inbox_get(shard);

	apus_shard_close(shard);
	apus_work_init(&work, never);
	assert_int_equal(apus_inbox_call(held, &work), -ESHUTDOWN);
	assert_int_equal(apus_submit_and_wait(held, fail_at_once, NULL), -ESHUTDOWN);
	apus_inbox_put(held);
	apus_inbox_put(NULL);
}

static int calls_run;

static void note_call(struct apus_work *work)
{
	calls_run++;
}

static void call_that_came_before_the_close_runs(void **state)
{
	struct apus_shard *shard;
	struct apus_work work;

	calls_run = 0;
	assert_int_equal(apus_shard_open(&plain, &shard), 0);
	apus_work_init(&work, note_call);
	assert_int_equal(apus_call_from_thread(shard, &work), 0);
	apus_shard_close(shard);
	assert_int_equal(calls_run, 1);
}

static int64_t sleep_long(void *arg)
{
	atomic_store(&stop, true); /* it has begun */
	return apus_sleep(1000 * APUS_SEC);
}

static void *call_what_sleeps(void *arg)
{
	results[0] = apus_submit_and_wait(wait_for_inbox(), sleep_long, NULL);
	return NULL;
}

static void submitted_task_is_cancelled_when_main_has_ended(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, call_what_sleeps, NULL), 0);
	assert_int_equal(apus_run(&plain, serve, NULL), 0);
	pthread_join(thread, NULL);
	drop_inbox();
	assert_int_equal(results[0], -ECANCELED);
}

/* A task that cannot be ended: a call on a thread is out for good. */

static int64_t hang(void *arg)
{
	apus_outside_begin();
	atomic_store(&stop, true);
	for (;;)
		(void)!apus_sleep(APUS_SEC);
	return 0;
}

static void *call_what_hangs(void *arg)
{
	fprintf(stderr, "rc %lld\n", (long long)apus_submit_and_wait(wait_for_inbox(), hang, NULL));
	return NULL;
}

static void abandon(void *arg)
{
	struct apus_shard_options options = plain;
	pthread_t thread;

	options.executor_wait_ns = 20 * APUS_MS;
	if (pthread_create(&thread, NULL, call_what_hangs, NULL) || apus_run(&options, serve, NULL))
		_exit(1);
	pthread_join(thread, NULL);
	_exit(0);
}

static void thread_is_told_when_its_task_is_abandoned(void **state)
{
	static struct test_capture c;
	char expected[32];

	assert_int_equal(test_in_child(abandon, NULL, &c), 0);
	snprintf(expected, sizeof(expected), "rc %d\n", -ESHUTDOWN);
	assert_non_null(strstr(c.text, expected));
}

/* Many, until the shard is gone. */

static struct caller {
	pthread_t thread;
	uint64_t answered, refused, cancelled;
	uint64_t ran; /* the shard's */
	uint64_t next, expected;
} callers[THREADS];
static atomic_uint finished;

static int64_t count_run(void *arg)
{
	struct caller *c = arg;

	c->ran++;
	return c->ran % 3 ? 7 : apus_yield() ? -ECANCELED : 7;
}

static void *submit_until_done(void *arg)
{
	struct caller *c = arg;
	struct apus_inbox *to = wait_for_inbox();

	for (int i = 0; i < CALLS; i++) {
		if (apus_submit_and_wait(to, count_run, c) == 7)
			c->answered++;
		if (i % 100 == 99)
			nap_us(150); /* so that the shard falls asleep now and then */
	}
	if (atomic_fetch_add(&finished, 1) + 1 == THREADS)
		atomic_store(&stop, true);
	return NULL;
}

static void start(void *(*fn)(void *arg))
{
	atomic_store(&finished, 0);
	for (int i = 0; i < THREADS; i++) {
		callers[i] = (struct caller){0};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, fn, &callers[i]), 0);
	}
}

static void join(void)
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(callers[i].thread, NULL);
	drop_inbox();
}

static void calls_of_many_threads_are_all_answered(void **state)
{
	start(submit_until_done);
	assert_int_equal(apus_run(&plain, serve, NULL), 0);
	join();
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(callers[i].ran, CALLS);
		assert_int_equal(callers[i].answered, CALLS);
	}
}

static void *submit_until_refused(void *arg)
{
	struct caller *c = arg;
	struct apus_inbox *to = wait_for_inbox();
	int64_t rc;

	while ((rc = apus_submit_and_wait(to, count_run, c)) != -ESHUTDOWN) {
		c->answered += rc == 7;
		c->cancelled += rc == -ECANCELED;
	}
	c->refused++;
	return NULL;
}

static int64_t serve_a_little(void *arg)
{
	atomic_store(&inbox, apus_inbox_get(apus_shard_self()));
	return apus_sleep(3 * APUS_MS);
}

static void every_call_of_a_stopping_shard_is_answered_or_refused(void **state)
{
	for (int round = 0; round < (test_is_slow() ? 20 : 100); round++) {
		start(submit_until_refused);
		assert_int_equal(apus_run(&plain, serve_a_little, NULL), 0);
		join();
		for (int i = 0; i < THREADS; i++) {
			assert_int_equal(callers[i].refused, 1);
			assert_int_equal(callers[i].answered + callers[i].cancelled,
					 callers[i].ran);
		}
	}
}

/* Calls that do not wait: what was accepted runs once and in order, what was refused never. */

struct numbered {
	struct apus_work work;
	struct caller *caller;
	uint64_t number;
	atomic_bool free;
};
static struct numbered pool[THREADS][64];

static void take_numbered(struct apus_work *work)
{
	struct numbered *n = apus_container_of(work, struct numbered, work);

	if (n->number != n->caller->expected++)
		abort();
	n->caller->ran++;
	atomic_store(&n->free, true);
}

static void *call_until_refused(void *arg)
{
	struct caller *c = arg;
	struct numbered *mine = pool[c - callers];
	struct apus_inbox *to = wait_for_inbox();

	for (int i = 0; i < 64; i++) {
		apus_work_init(&mine[i].work, take_numbered);
		mine[i].caller = c;
		atomic_store(&mine[i].free, true);
	}
	for (;;) {
		struct numbered *n = &mine[c->next % 64];

		while (!atomic_load(&n->free))
			sched_yield();
		atomic_store(&n->free, false);
		n->number = c->next;
		if (apus_inbox_call(to, &n->work))
			return NULL;
		c->next++;
	}
}

static void call_into_a_closing_shard_runs_once_or_is_refused(void **state)
{
	for (int round = 0; round < (test_is_slow() ? 20 : 100); round++) {
		start(call_until_refused);
		assert_int_equal(apus_run(&plain, serve_a_little, NULL), 0);
		join();
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(callers[i].ran, callers[i].next);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(result_of_the_task_comes_back_to_the_thread),
		cmocka_unit_test(submitting_on_a_shards_thread_is_a_deadlock),
		cmocka_unit_test(closed_shard_refuses_calls),
		cmocka_unit_test(call_that_came_before_the_close_runs),
		cmocka_unit_test(submitted_task_is_cancelled_when_main_has_ended),
		cmocka_unit_test(thread_is_told_when_its_task_is_abandoned),
		cmocka_unit_test(calls_of_many_threads_are_all_answered),
		cmocka_unit_test(every_call_of_a_stopping_shard_is_answered_or_refused),
		cmocka_unit_test(call_into_a_closing_shard_runs_once_or_is_refused),
	};

	return test_main(argc, argv, tests);
}
