/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/timer.h: one-shot timers: a callback at a time.
 *
 * Arm and cancel are O(1) and never fail: the node is the caller's memory, and must stay until the
 * timer fired or was cancelled. A timer never fires early; timers fire in order of deadline, and
 * of arming where deadlines are equal. A due timer joins the tail of the ready queue and its
 * function runs there, on the loop's stack; until then it can still be cancelled.
 */
#ifndef APUS_RUNTIME_SCHED_TIMER_H
#define APUS_RUNTIME_SCHED_TIMER_H

#include "runtime/sched/work.h"

APUS_BEGIN_DECLS

struct apus_timer {
	struct apus_work work;    /* its function is what runs; apus_timer_of() finds the timer */
	int64_t deadline_ns;      /* written by arm */
	uint64_t seq;             /* order of arming; written by the wheel */
	struct apus_timer *next;  /* slot list, or heap sibling; written by the wheel */
	struct apus_timer **prev; /* what points here; NULL while not in the wheel */
	struct apus_timer *child; /* heap only; written by the wheel */
};

static inline void apus_timer_init(struct apus_timer *t, apus_work_fn fn)
{
	apus_work_init(&t->work, fn);
	t->prev = NULL;
}

static inline struct apus_timer *apus_timer_of(struct apus_work *work)
{
	return apus_container_of(work, struct apus_timer, work);
}

/** apus_timer_armed - true from arm until its function starts or it is cancelled */
static inline bool apus_timer_armed(const struct apus_timer *t)
{
	return t->prev || t->work.where;
}

/**
 * apus_timer_arm - call back at @deadline_ns; a time in the past is due in the next turn
 *
 * An armed timer is moved. Context: any, on a shard. Source: asyncio loop.call_at
 */
void apus_timer_arm(struct apus_timer *t, int64_t deadline_ns);

/** apus_timer_cancel - Return: true if it was armed. Context: any, on the same shard */
bool apus_timer_cancel(struct apus_timer *t);

APUS_END_DECLS

#endif
