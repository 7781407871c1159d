/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/sleep.c: a task that waits for a time.
 */
#include "runtime/sched/park.h"

struct sleeper {
	struct apus_timer timer;
	struct apus_wait wait;
};

static void wake_sleeper(struct apus_work *work)
{
	apus_wake(&apus_container_of(apus_timer_of(work), struct sleeper, timer)->wait, 0);
}

/* At once, not when the task runs again: the timer may be due in this very lap. */
static bool cancel_sleep(struct apus_wait *wait)
{
	apus_timer_cancel(&apus_container_of(wait, struct sleeper, wait)->timer);
	return false;
}

static APUS_SUSPENDS int sleep_slow(int64_t deadline_ns)
{
	static const struct apus_wait_type sleeping = {.cancel = cancel_sleep};
	struct sleeper sleeper;

	apus_timer_init(&sleeper.timer, wake_sleeper);
	apus_wait_init(&sleeper.wait, &sleeping, "sleep", NULL);
	apus_timer_arm(&sleeper.timer, deadline_ns);
	return (int)apus_park_here(&sleeper.wait);
}

int apus_sleep_until(int64_t deadline_ns)
{
	return deadline_ns <= apus_now() ? apus_yield() : sleep_slow(deadline_ns);
}

int apus_sleep(int64_t ns)
{
	if (ns <= 0)
		return apus_yield();

	/* Of this moment, not of the turn: a task that computed for long must still sleep its span. */
	int64_t now_ns = apus_clock_read(apus_shard_current->clock);

	return apus_sleep_until(ns > APUS_NEVER - now_ns ? APUS_NEVER : now_ns + ns);
}
