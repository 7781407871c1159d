/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/watchdog.h: the time limit of a connection's waits. Internal to the floor.
 *
 * A scope like apus_timeout, for one that begins and ends with every request: beginning stores the
 * deadline, ending stores "never", and the one timer moves only when it fires too early. So a
 * connection that answers ten thousand requests arms its timer once in each idle limit.
 */
#ifndef APUS_NET_HTTP_WATCHDOG_H
#define APUS_NET_HTTP_WATCHDOG_H

#include "runtime/base/check.h"
#include "runtime/sched/internal.h"
#include "runtime/sched/timer.h"

APUS_BEGIN_DECLS

struct apus_http_watchdog {
	struct apus_timer timer;
	struct apus_task *task; /* the one that waits */
	int64_t deadline_ns;    /* APUS_NEVER outside of a scope */
	int64_t barked_ns;      /* the deadline of the last scope that ended in -ETIMEDOUT */
	uint32_t cancelling;    /* the task's count of cancels when the scope began */
	bool fired;
};

/** apus_http_watchdog_init - for waits of @task */
void apus_http_watchdog_init(struct apus_http_watchdog *w, struct apus_task *task);
/** apus_http_watchdog_fini - its memory is the caller's again. Context: any */
void apus_http_watchdog_fini(struct apus_http_watchdog *w);
/** apus_http_watchdog_begin - from now until @deadline_ns. Scopes do not nest. Context: its task */
static inline void apus_http_watchdog_begin(struct apus_http_watchdog *w, int64_t deadline_ns);
/** apus_http_watchdog_end - Return: as apus_timeout_end(): @rc, or -ETIMEDOUT. Context: its task */
APUS_MUST_CHECK static inline int64_t apus_http_watchdog_end(struct apus_http_watchdog *w,
							     int64_t rc);

/* inline definitions */

APUS_COLD int64_t apus_http_watchdog_barked(struct apus_http_watchdog *w, int64_t rc);

static inline void apus_http_watchdog_begin(struct apus_http_watchdog *w, int64_t deadline_ns)
{
	apus_assert(w->deadline_ns == APUS_NEVER && !w->fired);
	w->deadline_ns = deadline_ns;
	w->cancelling = w->task->cancelling;
	if (apus_unlikely(!apus_timer_armed(&w->timer) || w->timer.deadline_ns > deadline_ns))
		apus_timer_arm(&w->timer, deadline_ns);
}

static inline int64_t apus_http_watchdog_end(struct apus_http_watchdog *w, int64_t rc)
{
	w->deadline_ns = APUS_NEVER;
	return apus_likely(!w->fired) ? rc : apus_http_watchdog_barked(w, rc);
}

APUS_END_DECLS

#endif
