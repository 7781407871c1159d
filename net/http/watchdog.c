/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/watchdog.c: the time limit of a connection's waits.
 *
 * Invariant: inside a scope the timer is armed for its deadline or for an earlier time.
 */
#include "net/http/watchdog.h"

#include "runtime/sched/shard.h"

#include <errno.h>

static void bark(struct apus_work *work)
{
	struct apus_http_watchdog *w =
		apus_container_of(apus_timer_of(work), struct apus_http_watchdog, timer);

	if (w->deadline_ns == APUS_NEVER)
		return;
	if (apus_now() < w->deadline_ns) {
		apus_timer_arm(&w->timer, w->deadline_ns);
		return;
	}
	w->fired = true;
	w->barked_ns = w->deadline_ns;
	apus_task_cancel(w->task);
}

void apus_http_watchdog_init(struct apus_http_watchdog *w, struct apus_task *task)
{
	apus_timer_init(&w->timer, bark);
	w->task = task;
	w->deadline_ns = APUS_NEVER;
	w->fired = false;
}

void apus_http_watchdog_fini(struct apus_http_watchdog *w)
{
	apus_timer_cancel(&w->timer);
}

int64_t apus_http_watchdog_barked(struct apus_http_watchdog *w, int64_t rc)
{
	w->fired = false;

	bool own = apus_task_uncancel(w->task) <= w->cancelling;

	return own && (rc >= 0 || rc == -ECANCELED) ? -ETIMEDOUT : rc;
}
