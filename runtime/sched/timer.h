/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/timer.h: one-shot timers: a callback at a time (asyncio's call_later, call_at).
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

/** apus_timer_init - @fn will run when it is due; it waits for nothing yet. Context: any */
static inline void apus_timer_init(struct apus_timer *t, apus_work_fn fn)
{
	apus_work_init(&t->work, fn);
	t->prev = NULL;
}

/** apus_timer_of - in the function: from the work to the timer. Context: any */
static inline struct apus_timer *apus_timer_of(struct apus_work *work)
{
	return apus_container_of(work, struct apus_timer, work);
}

/** apus_timer_armed - true from arm until its function starts or it is cancelled. Context: any, on the shard */
static inline bool apus_timer_armed(const struct apus_timer *t)
{
	return t->prev || t->work.where;
}

/**
 * apus_call_at - run its function once, at @deadline_ns of apus_now() or later
 * @t: initialised; kept until its function ran or apus_timer_cancel()
 *
 * A time in the past is due in the next turn. A timer that is armed already is moved. The function
 * sees the context variables of who called this. When it is due t->deadline_ns tells (asyncio's
 * TimerHandle.when()), whether it still is to come apus_timer_armed().
 *
 * Context: any, on a shard. Source: asyncio loop.call_at
 */
void apus_call_at(struct apus_timer *t, int64_t deadline_ns);

/** apus_call_later - as apus_call_at(), @ns after this moment; less than 0 is 0. Context: any, on a shard. Source: asyncio loop.call_later */
void apus_call_later(struct apus_timer *t, int64_t ns);

/**
 * apus_timer_arm - as apus_call_at(), without context variables
 *
 * For timers of the runtime and of protocols, which are nobody's: in their functions every variable
 * has its initial value, and arming them keeps no task's snapshot alive. Context: any, on a shard.
 */
void apus_timer_arm(struct apus_timer *t, int64_t deadline_ns);

/** apus_timer_cancel - its function does not run. Context: any, on the same shard. Return: true if it was armed. O(1) */
bool apus_timer_cancel(struct apus_timer *t);

APUS_END_DECLS

#endif
