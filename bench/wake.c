/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/wake.c: how long it takes a shard that sleeps to notice, by what wakes it.
 *
 *	wake             lists the names and how many wake-ups to ask for
 *	wake NAME COUNT  does it, and prints the median and the 99th percentile in nanoseconds
 *
 * The shard turns on core 0 and sleeps in epoll; who wakes it is on core 1 and looks at the clock
 * just before. Between two wake-ups the shard is left alone for longer than it looks before it sleeps.
 *
 *	thread   a call from a thread that is no shard (apus_call_from_thread)
 *	shard    a call from another shard that spins (apus_call_on)
 *	packets  a device's descriptor becomes readable; io_uring's completions come by one, too
 *	timer    a timer: how late it fires, without anybody
 *	eventfd  the least there is: a thread in epoll and an eventfd
 */
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/call.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/run.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ALONE_NS  (400 * APUS_US) /* a shard looks for 100 us at most before it sleeps */
#define WAKES_MAX 100000

static struct {
	uint64_t n, seen; /* wake-ups; `seen` is the sleeper's */
	int64_t late_ns[WAKES_MAX];
	_Atomic int64_t rung_at_ns;
	_Atomic uint64_t heard;
	_Atomic(struct apus_shard *) sleeper; /* NULL: not ready, or over */
	int fd;
	void (*ring)(void);
	struct apus_work work;
	struct apus_poller poller;
	struct apus_shard *shards[2];
	bool over;
} job;

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	apus_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0);
}

/* The sleeper has noticed. Return: was it the last? */
static bool note(void)
{
	if (job.seen < job.n)
		job.late_ns[job.seen++] = apus_clock_host_ns() - atomic_load(&job.rung_at_ns);
	atomic_store(&job.heard, job.seen);
	return job.seen == job.n;
}

static void leave_alone(void)
{
	int64_t until_ns = apus_clock_host_ns() + ALONE_NS;

	while (apus_clock_host_ns() < until_ns)
		;
}

static void *wake_repeatedly(void *arg)
{
	pin(1);
	while (!atomic_load(&job.sleeper))
		;
	for (uint64_t i = 0; i < job.n; i++) {
		leave_alone();
		atomic_store(&job.rung_at_ns, apus_clock_host_ns());
		job.ring();
		while (atomic_load(&job.heard) <= i)
			;
	}
	return NULL;
}

/* Runs @sleep on this thread and @ring on the other core. */
static void with_waker(void (*ring)(void), void (*sleep)(void))
{
	pthread_t thread;

	job.ring = ring;
	apus_must(pthread_create(&thread, NULL, wake_repeatedly, NULL) == 0);
	sleep();
	pthread_join(thread, NULL);
}

static void run_shard(apus_task_fn fn)
{
	apus_must(apus_run(&(struct apus_shard_options){.core = -1, .seed = 1}, fn, NULL) == 0);
}

/* The sleeper's main task: until all were noticed, and the waker knows. */
static int64_t until_over(void)
{
	atomic_store(&job.sleeper, apus_shard_self());
	while (!job.over)
		apus_must(apus_sleep(10 * APUS_SEC) == -ECANCELED);
	return 0;
}

static struct apus_task *main_task;

static void end_main(void)
{
	job.over = true;
	apus_task_cancel(main_task);
}

/* --- thread -------------------------------------------------------------------------------- */

static void called(struct apus_work *work)
{
	if (note())
		end_main();
}

static int64_t be_called(void *arg)
{
	main_task = apus_task_self();
	apus_work_init(&job.work, called);
	return until_over();
}

static void ring_thread(void)
{
	apus_must(apus_call_from_thread(atomic_load(&job.sleeper), &job.work) == 0);
}

static void sleep_thread(void)
{
	run_shard(be_called);
}

static void by_thread(void)
{
	with_waker(ring_thread, sleep_thread);
}

/* --- packets ------------------------------------------------------------------------------- */

static bool poll_fd(struct apus_poller *p, int64_t now_ns)
{
	eventfd_t value;

	if (eventfd_read(job.fd, &value))
		return false;
	if (note())
		end_main();
	return true;
}

static int64_t idle_fd(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	return APUS_NEVER;
}

static int64_t be_sent_packets(void *arg)
{
	static const struct apus_poller_type type = {
		.name = "device", .poll = poll_fd, .idle = idle_fd};
	struct apus_shard *s = apus_shard_self();
	int64_t rc;

	main_task = apus_task_self();
	apus_must(apus_shard_watch(s, job.fd, APUS_WAKER_PACKETS) == 0);
	apus_poller_register(s, &job.poller, &type);
	rc = until_over();
	apus_poller_unregister(&job.poller);
	apus_shard_unwatch(s, job.fd);
	return rc;
}

static void ring_fd(void)
{
	apus_must(eventfd_write(job.fd, 1) == 0);
}

static void sleep_fd(void)
{
	run_shard(be_sent_packets);
}

static void by_packets(void)
{
	job.fd = eventfd(0, EFD_NONBLOCK);
	apus_must(job.fd >= 0);
	with_waker(ring_fd, sleep_fd);
}

/* --- timer --------------------------------------------------------------------------------- */

static int64_t sleep_often(void *arg)
{
	do {
		int64_t begin_ns = apus_clock_host_ns();

		apus_must(apus_sleep(ALONE_NS) == 0);
		atomic_store(&job.rung_at_ns, begin_ns + ALONE_NS);
	} while (!note());
	return 0;
}

static void by_timer(void)
{
	run_shard(sleep_often);
}

/* --- shard --------------------------------------------------------------------------------- */

static int64_t notice(void *arg)
{
	if (note())
		end_main();
	return 0;
}

static int64_t call_repeatedly(void *arg)
{
	for (uint64_t i = 0; i < job.n; i++) {
		apus_must(apus_sleep(ALONE_NS) == 0);
		atomic_store(&job.rung_at_ns, apus_clock_host_ns());
		apus_must(apus_call_on(0, notice, NULL) == 0);
	}
	return 0;
}

static void turn_until(struct apus_shard *s, apus_task_fn fn)
{
	struct apus_task *t;

	apus_shard_enter(s);
	t = apus_spawn(fn, NULL);
	apus_must(t);
	apus_shard_run(s, t);
	apus_detach(t);
	for (int i = 0; i < 10000; i++) /* what it has left to say */
		apus_shard_turn(s);
	apus_shard_enter(NULL);
}

static void *be_the_caller(void *arg)
{
	pin(1);
	turn_until(job.shards[1], call_repeatedly);
	return NULL;
}

static void by_shard(void)
{
	struct apus_cross *cross;
	pthread_t thread;

	for (int i = 0; i < 2; i++)
		apus_must(
			apus_shard_open(
				&(struct apus_shard_options){.core = -1, .spin = i == 1, .seed = 1},
				&job.shards[i]) == 0);
	apus_must(apus_cross_open(job.shards, 2, NULL, &cross) == 0);
	apus_must(pthread_create(&thread, NULL, be_the_caller, NULL) == 0);
	turn_until(job.shards[0], be_called);
	pthread_join(thread, NULL);
	apus_cross_close(cross);
	for (int i = 0; i < 2; i++)
		apus_shard_close(job.shards[i]);
}

/* --- eventfd ------------------------------------------------------------------------------- */

static void sleep_bare(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll_fd = epoll_create1(0);
	eventfd_t value;

	apus_must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, job.fd, &event) == 0);
	atomic_store(&job.sleeper, (struct apus_shard *)(uintptr_t)64);
	do {
		apus_must(epoll_wait(epoll_fd, &event, 1, -1) == 1);
		apus_must(eventfd_read(job.fd, &value) == 0);
	} while (!note());
	close(epoll_fd);
}

static void by_eventfd(void)
{
	job.fd = eventfd(0, EFD_NONBLOCK);
	apus_must(job.fd >= 0);
	with_waker(ring_fd, sleep_bare);
}

/* --- All ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} all[] = {
	{"eventfd", by_eventfd}, {"thread", by_thread}, {"shard", by_shard},
	{"packets", by_packets}, {"timer", by_timer},
};

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < apus_countof(all); i++) {
		if (argc < 2)
			printf("%s %d\n", all[i].name, 2000);
		else if (argc > 2 && !strcmp(all[i].name, argv[1])) {
			job.n = strtoull(argv[2], NULL, 10);
			apus_must(job.n > 0 && job.n <= WAKES_MAX);
			pin(0);
			all[i].run();
			qsort(job.late_ns, job.n, sizeof(job.late_ns[0]), by_time);
			printf("%lld %lld\n", (long long)job.late_ns[job.n / 2],
			       (long long)job.late_ns[job.n * 99 / 100]);
			return 0;
		}
	}
	if (argc > 1)
		fprintf(stderr, "usage: wake [NAME COUNT]; without arguments all are listed\n");
	return argc > 1;
}
