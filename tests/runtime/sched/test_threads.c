/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_threads.c: calls from other threads and from signal handlers into a
 * shard, awake or asleep. Real threads on the real clock: this is what TSan is run on.
 *
 * Nothing here waits for a fixed time to be long enough; a call that is lost shows as a hang, which
 * the test's time limit ends.
 */
#include "tests/runtime/base_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "runtime/sched/internal.h"
#include "runtime/sched/run.h"

static const struct apus_shard_options plain = {.core = -1, .seed = 1};

/* A task that sleeps until somebody calls done(). */

static struct {
	struct apus_task *main;
	bool finished;
} run;

static void finish(void)
{
	run.finished = true;
	apus_task_cancel(run.main);
}

static int64_t wait_until_finished(void *arg)
{
	run.main = apus_task_self();
	run.finished = false;
	atomic_store((_Atomic(struct apus_shard *) *)arg, apus_shard_self());
	while (!run.finished)
		(void)!apus_sleep(1000 * APUS_SEC);
	return 0;
}

static struct apus_shard *wait_for_shard(_Atomic(struct apus_shard *) *shared)
{
	struct apus_shard *shard;

	while (!(shard = atomic_load(shared)))
		sched_yield();
	return shard;
}

static void nap_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Many calls of many threads. */

#define THREADS       4
#define CALLS         (test_is_slow() ? 5000 : 50000)
#define CALLS_AT_ONCE 64

struct producer;

struct call {
	struct apus_work work;
	struct producer *producer;
	uint64_t number;  /* written by the producer before the call */
	atomic_bool free; /* set by the shard */
};

static struct producer {
	pthread_t thread;
	_Atomic(struct apus_shard *) *shard;
	struct call calls[CALLS_AT_ONCE];
	uint64_t expected; /* the shard's */
} producers[THREADS];
static uint64_t total; /* the shard's */

static void take_call(struct apus_work *work)
{
	struct call *c = apus_container_of(work, struct call, work);
	struct producer *p = c->producer;

	if (c->number != p->expected++)
		abort(); /* out of order; not an assertion of cmocka's: those belong to the main thread */
	if (++total == (uint64_t)THREADS * (uint64_t)CALLS)
		finish();
	atomic_store(&c->free, true);
}

static void *produce(void *arg)
{
	struct producer *p = arg;
	struct apus_shard *shard = wait_for_shard(p->shard);

	for (uint64_t n = 0; n < (uint64_t)CALLS; n++) {
		struct call *c = &p->calls[n % CALLS_AT_ONCE];

		while (!atomic_load(&c->free))
			sched_yield();
		atomic_store(&c->free, false);
		c->number = n;
		apus_call_from_thread(shard, &c->work);
		if (n % 1000 == 999)
			nap_us(300); /* so that the shard falls asleep now and then */
	}
	return NULL;
}

static void calls_of_each_thread_run_once_and_in_order(void **state)
{
	_Atomic(struct apus_shard *) shard = NULL;

	total = 0;
	for (int i = 0; i < THREADS; i++) {
		struct producer *p = &producers[i];

		*p = (struct producer){.shard = &shard};
		for (int k = 0; k < CALLS_AT_ONCE; k++) {
			apus_work_init(&p->calls[k].work, take_call);
			p->calls[k].producer = p;
			atomic_init(&p->calls[k].free, true);
		}
		assert_int_equal(pthread_create(&p->thread, NULL, produce, p), 0);
	}
	assert_int_equal(apus_run(&plain, wait_until_finished, &shard), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(producers[i].thread, NULL);
		assert_int_equal(producers[i].expected, CALLS);
	}
}

/* One call at a time, each into a shard that has gone to sleep. */

#define ROUNDS 200

static struct {
	struct apus_work work;
	_Atomic(struct apus_shard *) shard;
	atomic_int answered;
} ping;

static void answer(struct apus_work *work)
{
	if (atomic_fetch_add(&ping.answered, 1) + 1 == ROUNDS)
		finish();
}

static void *call_and_wait(void *arg)
{
	struct apus_shard *shard = wait_for_shard(&ping.shard);

	for (int i = 0; i < ROUNDS; i++) {
		/* Around the 100 µs that a shard spins before it sleeps: before, in, and after. */
		nap_us(i % 4 * 60);
		apus_call_from_thread(shard, &ping.work);
		while (atomic_load(&ping.answered) <= i)
			sched_yield();
	}
	return NULL;
}

static void call_wakes_a_sleeping_shard_every_time(void **state)
{
	pthread_t thread;

	atomic_store(&ping.shard, NULL);
	atomic_store(&ping.answered, 0);
	apus_work_init(&ping.work, answer);
	assert_int_equal(pthread_create(&thread, NULL, call_and_wait, NULL), 0);
	assert_int_equal(apus_run(&plain, wait_until_finished, &ping.shard), 0);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&ping.answered), ROUNDS);
}

static void call_reaches_a_spinning_shard(void **state)
{
	const struct apus_shard_options spin = {.core = -1, .seed = 1, .spin = true};
	pthread_t thread;

	atomic_store(&ping.shard, NULL);
	atomic_store(&ping.answered, 0);
	apus_work_init(&ping.work, answer);
	assert_int_equal(pthread_create(&thread, NULL, call_and_wait, NULL), 0);
	assert_int_equal(apus_run(&spin, wait_until_finished, &ping.shard), 0);
	pthread_join(thread, NULL);
}

/* From a signal handler that interrupts the shard itself. */

static struct apus_work signal_work;
static struct apus_shard *signal_shard;
static volatile sig_atomic_t signal_in_flight;
static int signals_seen;

static void on_signal(int number)
{
	if (signal_in_flight)
		return;
	signal_in_flight = 1;
	errno = EXDEV;
	apus_call_from_thread(signal_shard, &signal_work);
	errno = 0;
}

static void signal_seen(struct apus_work *work)
{
	signals_seen++;
	signal_in_flight = 0;
}

static int64_t raise_many(void *arg)
{
	signal_shard = apus_shard_self();
	for (int i = 1; i <= 1000; i++) {
		raise(SIGUSR1);
		/* The loop may run some laps of tasks in a row before it looks at the inbox. */
		for (int laps = 0; signals_seen != i; laps++)
			if (laps > 100 || apus_yield())
				return i;
	}
	return 0;
}

static void calls_from_a_signal_handler_run(void **state)
{
	struct sigaction action = {.sa_handler = on_signal}, before;

	signals_seen = 0;
	apus_work_init(&signal_work, signal_seen);
	sigaction(SIGUSR1, &action, &before);
	assert_int_equal(apus_run(&plain, raise_many, NULL), 0);
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(signals_seen, 1000);
}

/* A file descriptor that a poller watches. */

static struct watcher {
	struct apus_poller poller;
	_Atomic(struct apus_shard *) shard;
	int fd;
	uint64_t total;
	int armed, woken;
} watcher;

static bool watcher_poll(struct apus_poller *p, int64_t now_ns)
{
	struct watcher *w = apus_container_of(p, struct watcher, poller);
	eventfd_t value;

	if (eventfd_read(w->fd, &value))
		return false;
	w->total += value;
	if (w->total >= ROUNDS)
		finish();
	return true;
}

static int64_t watcher_idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	struct watcher *w = apus_container_of(p, struct watcher, poller);

	w->armed += what == APUS_IDLE_ARM;
	w->woken += what == APUS_IDLE_WAKE;
	return APUS_NEVER;
}

static int64_t watch_and_wait(void *arg)
{
	static const struct apus_poller_type type = {
		.name = "watcher", .poll = watcher_poll, .idle = watcher_idle};
	struct apus_shard *shard = apus_shard_self();
	int rc = apus_shard_watch(shard, watcher.fd, APUS_WAKER_FD);

	if (rc)
		return rc;
	apus_poller_register(shard, &watcher.poller, &type);
	int64_t result = wait_until_finished(&watcher.shard);

	apus_poller_unregister(&watcher.poller);
	apus_shard_unwatch(shard, watcher.fd);
	return result;
}

static void *ring_many_times(void *arg)
{
	wait_for_shard(&watcher.shard);
	for (int i = 0; i < ROUNDS; i++) {
		nap_us(i % 4 * 60);
		if (eventfd_write(watcher.fd, 1))
			abort();
	}
	return NULL;
}

static void readable_descriptor_wakes_a_sleeping_shard(void **state)
{
	pthread_t thread;

	watcher = (struct watcher){.fd = eventfd(0, EFD_NONBLOCK)};
	assert_true(watcher.fd >= 0);
	assert_int_equal(pthread_create(&thread, NULL, ring_many_times, NULL), 0);
	assert_int_equal(apus_run(&plain, watch_and_wait, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(watcher.total, ROUNDS);
	assert_true(watcher.armed > 0);
	assert_int_equal(watcher.armed, watcher.woken);
	close(watcher.fd);
}

static void watch_of_a_bad_descriptor_fails(void **state)
{
	struct apus_shard *shard;

	assert_int_equal(apus_shard_open(&plain, &shard), 0);
	assert_int_equal(apus_shard_watch(shard, -1, APUS_WAKER_FD), -EBADF);
	apus_shard_unwatch(shard, -1);
	apus_shard_close(shard);
}

/* What ended a sleep is counted, and how long a shard looks before it sleeps is learnt. */

#define NAPS 10

static struct {
	_Atomic(struct apus_shard *) shard;
	struct apus_work work;
	int fd;
	_Atomic(bool) is_called; /* the work has run, and may be sent again */
	_Atomic(bool) is_seen;   /* each has woken it */
	_Atomic(bool) is_over;   /* the thread is done with the shard */
} causes;

static uint64_t woken(enum apus_shard_counter which)
{
	return apus_shard_self()->counters[which];
}

/* On a machine with much to do a nap may be over before it began, so as many as it takes. */
static int64_t sleep_often(void *arg)
{
	struct apus_shard *s = apus_shard_self();

	for (int i = 0; i < 1000; i++) {
		if (woken(APUS_SHARD_WOKEN_TIMER) >= NAPS && s->spin_ns == 12500)
			break; /* it learnt that it would have looked in vain */
		if (apus_sleep(2 * APUS_MS))
			return -EINVAL;
	}
	if (s->spin_ns != 12500)
		return -ERANGE;
	if (woken(APUS_SHARD_SLEEPS) < NAPS || woken(APUS_SHARD_WOKEN_TIMER) < NAPS ||
	    woken(APUS_SHARD_WOKEN_FD) || woken(APUS_SHARD_WOKEN_THREAD) ||
	    woken(APUS_SHARD_WOKEN_PACKETS))
		return -EBADMSG;
	for (int i = 0; i < 10000 && s->spin_ns == 12500; i++)
		if (apus_sleep(40 * APUS_US))
			return -EINVAL;
	return s->spin_ns > 12500 ? 0 : -EDOM;
}

static void sleeps_that_timers_end_are_counted_and_learnt_from(void **state)
{
	assert_int_equal(apus_run(&plain, sleep_often, NULL), 0);
}

static void called(struct apus_work *work)
{
	atomic_store(&causes.is_called, true);
}

static void *call_and_write(void *arg)
{
	wait_for_shard(&causes.shard);
	for (int i = 0; i < 2000 && !atomic_load(&causes.is_seen); i++) {
		nap_us(2000);
		if (i % 2)
			apus_must(eventfd_write(causes.fd, 1) == 0);
		else if (atomic_exchange(&causes.is_called, false))
			apus_must(apus_call_from_thread(causes.shard, &causes.work) == 0);
	}
	atomic_store(&causes.is_over, true);
	return NULL;
}

static int64_t be_woken(void *arg)
{
	struct apus_shard *s = apus_shard_self();
	int rc = apus_shard_watch(s, causes.fd, APUS_WAKER_PACKETS);
	eventfd_t value;

	atomic_store(&causes.shard, s);
	while (rc == 0 && !atomic_load(&causes.is_over)) {
		rc = apus_sleep(10 * APUS_MS);
		(void)eventfd_read(causes.fd, &value);
		if (woken(APUS_SHARD_WOKEN_THREAD) && woken(APUS_SHARD_WOKEN_PACKETS))
			atomic_store(&causes.is_seen, true);
	}
	apus_shard_unwatch(s, causes.fd);
	if (rc == 0 && woken(APUS_SHARD_WOKEN_FD) + woken(APUS_SHARD_WOKEN_RING))
		rc = -EDOM;
	return rc ? rc : atomic_load(&causes.is_seen) ? 0 : -EBADMSG;
}

static void sleeps_that_threads_and_descriptors_end_are_counted_apart(void **state)
{
	pthread_t thread;

	memset(&causes, 0, sizeof(causes));
	causes.fd = eventfd(0, EFD_NONBLOCK);
	apus_work_init(&causes.work, called);
	causes.is_called = true;
	assert_int_equal(pthread_create(&thread, NULL, call_and_write, NULL), 0);
	assert_int_equal(apus_run(&plain, be_woken, NULL), 0);
	pthread_join(thread, NULL);
	close(causes.fd);
}

/* A shard on each of several threads: nothing is shared. */

static int64_t compute(void *arg)
{
	int64_t sum = 0;

	for (int i = 0; i < 2000; i++) {
		if (apus_yield())
			return -EINVAL;
		sum += (int64_t)apus_random_below(apus_shard_random(apus_shard_self()), 1000);
	}
	return sum;
}

static int64_t compute_in_tasks(void *arg)
{
	struct apus_task *tasks[4];
	int64_t sum = 0;

	for (int i = 0; i < 4; i++)
		tasks[i] = apus_spawn(compute, NULL);
	for (int i = 0; i < 4; i++)
		sum += apus_await(tasks[i]);
	return sum;
}

static void *run_a_shard(void *arg)
{
	*(int64_t *)arg = apus_run(&plain, compute_in_tasks, NULL);
	return NULL;
}

static void shards_of_several_threads_do_not_meet(void **state)
{
	pthread_t threads[4];
	int64_t results[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_a_shard, &results[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++) {
		assert_true(results[i] > 0);
		assert_int_equal(results[i], results[0]); /* the same seed */
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_of_each_thread_run_once_and_in_order),
		cmocka_unit_test(call_wakes_a_sleeping_shard_every_time),
		cmocka_unit_test(call_reaches_a_spinning_shard),
		cmocka_unit_test(calls_from_a_signal_handler_run),
		cmocka_unit_test(readable_descriptor_wakes_a_sleeping_shard),
		cmocka_unit_test(watch_of_a_bad_descriptor_fails),
		cmocka_unit_test(sleeps_that_timers_end_are_counted_and_learnt_from),
		cmocka_unit_test(sleeps_that_threads_and_descriptors_end_are_counted_apart),
		cmocka_unit_test(shards_of_several_threads_do_not_meet),
	};

	return test_main(argc, argv, tests);
}
