/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/timer.c: timers of the current shard.
 *
 * An armed timer is in the wheel, or, once due, in the ready queue.
 */
#include "runtime/sched/timer.h"

#include "runtime/sched/internal.h"

static inline bool disarm(struct apus_shard *s, struct apus_timer *t)
{
	apus_vars_put(t->work.vars);
	t->work.vars = NULL;
	if (t->prev) {
		apus_wheel_remove(&s->wheel, t);
		return true;
	}
	return t->work.where != APUS_READY_NOWHERE && apus_ready_remove(&s->ready, &t->work);
}

void apus_timer_arm(struct apus_timer *t, int64_t deadline_ns)
{
	struct apus_shard *s = apus_shard_current;

	disarm(s, t);
	s->laps_in_place = 0; /* the loop must look at the clock again */
	apus_wheel_arm(&s->wheel, t, deadline_ns);
}

void apus_call_at(struct apus_timer *t, int64_t deadline_ns)
{
	apus_timer_arm(t, deadline_ns);
	t->work.vars = apus_vars_snapshot(apus_shard_current);
}

void apus_call_later(struct apus_timer *t, int64_t ns)
{
	/* Of this moment, not of the turn, as apus_sleep(). */
	int64_t now_ns = apus_clock_read(apus_shard_current->clock);

	ns = apus_max(ns, INT64_C(0));
	apus_call_at(t, ns > APUS_NEVER - now_ns ? APUS_NEVER : now_ns + ns);
}

bool apus_timer_cancel(struct apus_timer *t)
{
	return disarm(apus_shard_current, t);
}
