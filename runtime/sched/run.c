/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/run.c: the life of a main task, and the signals that end it.
 */
#include "runtime/sched/run.h"

#include "runtime/sched/internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

/* Only one run in a process answers to signals: the one that began first. */
static struct {
	atomic_bool is_taken; /* by a shard, for as long as it uses what is below */
	struct apus_shard *_Atomic shard;
	atomic_uint handlers; /* that look at it now, in whichever thread */
	struct apus_task *main;
	struct apus_work cancel;
	volatile sig_atomic_t asked;
} interrupt;

static const int interrupt_signals[] = {SIGINT, SIGTERM};

static void cancel_main(struct apus_work *work)
{
	apus_task_cancel(interrupt.main);
}

static void on_signal(int number)
{
	atomic_fetch_add(&interrupt.handlers, 1);

	struct apus_shard *shard = atomic_load(&interrupt.shard);

	if (!shard || interrupt.asked++) {
		signal(number, SIG_DFL);
		raise(number);
	} else {
		apus_call_from_thread(shard, &interrupt.cancel);
	}
	atomic_fetch_sub(&interrupt.handlers, 1);
}

static bool listen_for_signals(struct apus_shard *shard, struct apus_task *main,
			       struct sigaction old[])
{
	struct sigaction action = {.sa_handler = on_signal};

	if (atomic_exchange(&interrupt.is_taken, true))
		return false;
	interrupt.main = main;
	interrupt.asked = 0;
	apus_work_init(&interrupt.cancel, cancel_main);
	atomic_store(&interrupt.shard, shard);
	for (size_t i = 0; i < apus_countof(interrupt_signals); i++)
		apus_must(sigaction(interrupt_signals[i], &action, &old[i]) == 0);
	return true;
}

static void unlisten(struct apus_shard *shard, const struct sigaction old[])
{
	for (size_t i = 0; i < apus_countof(interrupt_signals); i++)
		apus_must(sigaction(interrupt_signals[i], &old[i], NULL) == 0);
	atomic_store(&interrupt.shard, NULL);
	while (atomic_load(&interrupt.handlers)) /* one began before, in another thread */
		sched_yield();
	apus_inbox_poll(shard); /* the node is ours: nothing may point at it later */
	apus_call_cancel(&interrupt.cancel);
	atomic_store(&interrupt.is_taken, false);
	if (!apus_ready_empty(&shard->ready))
		apus_shard_turn(shard); /* what else has come is not ours, and must run */
}

/*
 * Each left-over task is asked once, so that it may take its time to clean up; what they spawn
 * meanwhile is asked too. Then, with nobody left but this one, open generators are closed.
 */
static int64_t sweep(void *arg)
{
	struct apus_shard *shard = arg;

	while (apus_shard_tasks(shard) > 1) {
		apus_shard_cancel_all(shard);
		if (apus_sleep(APUS_MS) < 0)
			break;
	}
	return 0;
}

static int64_t run_to_end(struct apus_shard *shard, struct apus_task *t)
{
	apus_shard_run(shard, t);

	int64_t result = apus_task_result(t);

	apus_detach(t);
	return result;
}

int apus_shard_drain(struct apus_shard *shard, int64_t ns)
{
	bool sweeps = false;
	int64_t now_ns = apus_clock_host_ns();
	int64_t until_ns = ns == APUS_NEVER ? APUS_NEVER : now_ns + ns;

	/* A call on a thread can be neither cancelled nor waited for without end. */
	shard->outside_until_ns = now_ns + shard->executor_wait_ns;
	shard->is_stopping = true;
	while (apus_shard_tasks(shard)) {
		if (!sweeps)
			sweeps = apus_spawn_detached(NULL, sweep, shard, 0) == 0;
		if (!sweeps) /* no memory yet */
			apus_shard_cancel_all(shard);
		if (!apus_shard_turn(shard))
			apus_shard_idle(shard);
		if (shard->outside ? apus_shard_is_late(shard) : apus_clock_host_ns() >= until_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

static void end_left_over_tasks(struct apus_shard *shard, void *arg)
{
	if (apus_shard_drain(shard, APUS_NEVER))
		apus_shard_abandon(shard);
}

int64_t apus_run_task_then(struct apus_shard *shard, apus_task_fn fn, void *arg,
			   void (*then)(struct apus_shard *shard, void *arg), void *then_arg)
{
	struct sigaction old[apus_countof(interrupt_signals)];
	struct apus_task *main =
		apus_spawn_with(&(struct apus_spawn_options){.name = "main"}, fn, arg, 0);

	if (!main) {
		then(shard, then_arg);
		return -ENOMEM;
	}

	bool listening = listen_for_signals(shard, main, old);
	int64_t result = run_to_end(shard, apus_task_get(main));

	then(shard, then_arg);
	if (listening)
		unlisten(shard, old);
	apus_detach(main); /* until here a signal may look at it */
	return result;
}

int64_t apus_run_task(struct apus_shard *shard, apus_task_fn fn, void *arg)
{
	return apus_run_task_then(shard, fn, arg, end_left_over_tasks, NULL);
}

int64_t apus_run(const struct apus_shard_options *options, apus_task_fn fn, void *arg)
{
	struct apus_shard *shard;
	int rc = apus_shard_open(options, &shard);

	if (rc)
		return rc;

	struct apus_shard *before = apus_shard_enter(shard);
	int64_t result = apus_run_task(shard, fn, arg);

	apus_shard_close(shard);
	apus_shard_enter(before);
	return result;
}
