/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/slow.c: the watchdog: catches a step that does not end while it runs.
 *
 * A thread looks at each shard in debug mode five times per limit. The loop is not asked to help: the
 * head of the ready queue moves with every step, so a head that stands still during a turn is a step
 * that goes on; to watch costs the shard nothing. When it has stood for longer than the limit, a
 * signal makes the shard's own thread take the backtrace of what it runs, wherever that is, and the
 * watchdog prints it. SIGURG, because it is harmless: ignored by default, and used by next to nobody
 * (Go's scheduler chose it for that). Callbacks and pollers that take too long are told too, without a
 * task's name. What two looks see is a data race, wanted: the signal handler, which runs in the
 * shard's thread, looks again.
 */
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/sched/backtrace.h"
#include "runtime/sched/debug.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const int64_t looks_per_limit = 5;
static const int64_t answer_ns_max = 200 * APUS_MS;

enum {
	REPORTS_PER_MINUTE = 5,
	SIGNAL_FRAMES = 2, /* of the handler, and the kernel's trampoline */
};

/* What stands still while a step goes on. */
struct moment {
	uint64_t turns;
	uint32_t head;
	bool in_turn;
};

struct apus_slow {
	struct apus_shard *shard;
	int64_t limit_ns;
	pthread_t thread;
	pthread_mutex_t lock; /* over is_closing */
	pthread_cond_t news;
	bool is_closing;

	/* The watchdog's. */
	struct moment last;
	int64_t since_ns, cpu_since_ns; /* of last */
	bool told;                      /* of last */
	int64_t minute;
	unsigned int told_in_minute, left_out;

	/* Written by the handler between the signal and the answer. */
	struct moment asked;
	sem_t answered;
	bool is_caught; /* it was still at it */
	int frames_count;
	uint64_t task_id; /* 0: no task */
	char name[APUS_TASK_NAME_BYTES];
	void *frames[APUS_BACKTRACE_MAX];
};

/* ------------------------------------------------------------------------- in the shard's thread */

static bool is_same(const struct moment *a, const struct moment *b)
{
	return a->in_turn && b->in_turn && a->turns == b->turns && a->head == b->head;
}

__attribute__((no_sanitize("thread"))) static struct moment look(const struct apus_shard *s)
{
	const volatile struct apus_shard *v = s;

	return (struct moment){v->counters[APUS_SHARD_TURNS], v->ready.head, v->in_turn};
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	const struct apus_shard *s = apus_shard_current;
	struct apus_slow *slow = s ? s->slow : NULL;
	int saved_errno = errno;

	if (!slow || info->si_code != SI_QUEUE || info->si_value.sival_ptr != slow)
		return; /* not ours, or it came too late */

	const struct moment now = look(s);

	slow->is_caught = is_same(&now, &slow->asked);
	if (slow->is_caught) {
		slow->frames_count = backtrace(slow->frames, APUS_BACKTRACE_MAX);
		slow->task_id = s->current ? s->current->id : 0;
		if (s->current)
			memcpy(slow->name, s->current->name, sizeof(slow->name));
	}
	sem_post(&slow->answered);
	errno = saved_errno;
}

/* ------------------------------------------------------------------------------- in the watchdog */

static int64_t cpu_ns(pthread_t thread)
{
	struct timespec time = {0};
	clockid_t clock;

	if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &time))
		return 0;
	return time.tv_sec * APUS_SEC + time.tv_nsec;
}

static struct timespec in_future(clockid_t clock, int64_t ns)
{
	struct timespec time;

	clock_gettime(clock, &time);
	ns += time.tv_nsec;
	time.tv_sec += ns / APUS_SEC;
	time.tv_nsec = ns % APUS_SEC;
	return time;
}

static bool may_tell(struct apus_slow *slow, int64_t now_ns)
{
	if (slow->minute != now_ns / (60 * APUS_SEC)) {
		slow->minute = now_ns / (60 * APUS_SEC);
		slow->told_in_minute = 0;
	}
	if (slow->told_in_minute < REPORTS_PER_MINUTE) {
		slow->told_in_minute++;
		return true;
	}
	slow->left_out++;
	return false;
}

static void tell(struct apus_slow *slow, int64_t wall_ns, int64_t used_ns)
{
	char who[64] = "the loop", more[48] = "";
	int skip = apus_min((int)SIGNAL_FRAMES, slow->frames_count);

	if (slow->task_id && slow->name[0])
		snprintf(who, sizeof(who), "task %s", slow->name);
	else if (slow->task_id)
		snprintf(who, sizeof(who), "task task-%llu", (unsigned long long)slow->task_id);
	if (slow->left_out)
		snprintf(more, sizeof(more), " (%u like it left out)", slow->left_out);
	slow->left_out = 0;
	flockfile(stderr);
	apus_log(WARN,
		 "debug: %s has not suspended for %lld ms, %lld of them on the CPU; it is at:%s",
		 who, (long long)(wall_ns / APUS_MS), (long long)(used_ns / APUS_MS), more);
	apus_backtrace_print(stderr, slow->frames + skip, (size_t)(slow->frames_count - skip), 2);
	funlockfile(stderr);
}

/* Lets the shard's thread look at itself. Return: false if the step had ended, or nobody answers. */
static bool catch_it(struct apus_slow *slow)
{
	struct timespec limit = in_future(CLOCK_REALTIME, answer_ns_max);

	slow->asked = slow->last;
	slow->is_caught = false;
	if (pthread_sigqueue(slow->shard->thread, SIGURG, (union sigval){.sival_ptr = slow}))
		return false;
	while (sem_timedwait(&slow->answered, &limit))
		if (errno != EINTR)
			return false; /* it comes late, and is not believed: see slow->asked */
	return slow->is_caught;
}

static void watch(struct apus_slow *slow)
{
	struct moment now = look(slow->shard);
	int64_t now_ns = apus_clock_host_ns();

	if (!is_same(&now, &slow->last)) {
		slow->last = now;
		slow->since_ns = now_ns;
		slow->cpu_since_ns = now.in_turn ? cpu_ns(slow->shard->thread) : 0;
		slow->told = false;
		return;
	}
	if (slow->told || now_ns - slow->since_ns < slow->limit_ns)
		return;
	slow->told = true;
	while (sem_trywait(&slow->answered) == 0) /* an answer that came late */
		;
	if (may_tell(slow, now_ns) && catch_it(slow))
		tell(slow, now_ns - slow->since_ns,
		     cpu_ns(slow->shard->thread) - slow->cpu_since_ns);
}

static void *run(void *arg)
{
	struct apus_slow *slow = arg;

	apus_thread_leave_core();

	pthread_mutex_lock(&slow->lock);
	while (!slow->is_closing) {
		struct timespec next = in_future(CLOCK_MONOTONIC, slow->limit_ns / looks_per_limit);

		pthread_cond_timedwait(&slow->news, &slow->lock, &next);
		pthread_mutex_unlock(&slow->lock);
		watch(slow);
		pthread_mutex_lock(&slow->lock);
	}
	pthread_mutex_unlock(&slow->lock);
	return NULL;
}

/* -------------------------------------------------------------------------------- open and close */

/* A process has one handler for all its shards; what it replaced comes back with the last of them. */
static struct {
	pthread_mutex_t lock;
	unsigned int users;
	struct sigaction before;
} handler = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	pthread_mutex_lock(&handler.lock);
	if (!handler.users++)
		(void)sigaction(SIGURG, &action, &handler.before);
	pthread_mutex_unlock(&handler.lock);
}

static void uninstall(void)
{
	pthread_mutex_lock(&handler.lock);
	if (--handler.users == 0)
		(void)sigaction(SIGURG, &handler.before, NULL);
	pthread_mutex_unlock(&handler.lock);
}

int apus_slow_open(struct apus_shard *s, int64_t limit_ns)
{
	struct apus_slow *slow = apus_heap_zalloc(&s->heap, sizeof(*slow));
	pthread_condattr_t monotonic;

	if (!slow)
		return -ENOMEM;
	slow->shard = s;
	slow->limit_ns = limit_ns;
	sem_init(&slow->answered, 0, 0);
	pthread_mutex_init(&slow->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&slow->news, &monotonic);
	pthread_condattr_destroy(&monotonic);
	install();

	int rc = apus_thread_start(&slow->thread, run, slow, "apus-watchdog");

	if (rc) {
		uninstall();
		apus_heap_free(&s->heap, slow);
		return rc;
	}
	s->slow = slow;
	return 0;
}

void apus_slow_close(struct apus_shard *s)
{
	struct apus_slow *slow = s->slow;

	s->slow = NULL; /* a signal that is still on its way finds nothing */
	pthread_mutex_lock(&slow->lock);
	slow->is_closing = true;
	pthread_cond_signal(&slow->news);
	pthread_mutex_unlock(&slow->lock);
	pthread_join(slow->thread, NULL);
	pthread_cond_destroy(&slow->news);
	pthread_mutex_destroy(&slow->lock);
	sem_destroy(&slow->answered);
	uninstall();
	apus_heap_free(&s->heap, slow);
}
