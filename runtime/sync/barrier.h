/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/barrier.h: tasks that wait for each other (asyncio.Barrier).
 */
#ifndef APUS_RUNTIME_SYNC_BARRIER_H
#define APUS_RUNTIME_SYNC_BARRIER_H

#include "runtime/sync/condition.h"

APUS_BEGIN_DECLS

enum apus_barrier_state {
	APUS_BARRIER_FILLING,
	APUS_BARRIER_DRAINING,
	APUS_BARRIER_RESETTING,
	APUS_BARRIER_BROKEN,
};

/* Embedded by the user; written by the calls below. */
struct apus_barrier {
	struct apus_lock lock;
	struct apus_condition condition;
	uint32_t parties;
	uint32_t count; /* tasks inside */
	enum apus_barrier_state state;
};

/** apus_barrier_init - for @parties tasks, > 0. Context: any */
void apus_barrier_init(struct apus_barrier *b, uint32_t parties);
/**
 * apus_barrier_wait - until @parties tasks wait; new ones wait outside while those leave
 *
 * Context: task, suspends unless it is the last. Return: the order of arrival, from 0; -ECANCELED (it
 * leaves, the others go on waiting); -EPIPE: reset or broken; -EXDEV. Source: Barrier.wait
 */
APUS_MUST_CHECK int64_t apus_barrier_wait(struct apus_barrier *b);
/** apus_barrier_reset - tasks inside get -EPIPE, then it is as new. Context: task, suspends. Return: 0, -ECANCELED, -EXDEV. Source: Barrier.reset */
APUS_MUST_CHECK int apus_barrier_reset(struct apus_barrier *b);
/** apus_barrier_abort - every wait, now and later, gets -EPIPE. Context: task, suspends. Return: 0, -ECANCELED, -EXDEV. Source: Barrier.abort */
APUS_MUST_CHECK int apus_barrier_abort(struct apus_barrier *b);
/** apus_barrier_waiting - tasks that wait for it to fill. Context: any, on the shard. Source: Barrier.n_waiting */
static inline uint32_t apus_barrier_waiting(const struct apus_barrier *b)
{
	return b->state == APUS_BARRIER_FILLING ? b->count : 0;
}
/** apus_barrier_is_broken - was it aborted, and not reset since? Context: any, on the shard. Source: Barrier.broken */
static inline bool apus_barrier_is_broken(const struct apus_barrier *b)
{
	return b->state == APUS_BARRIER_BROKEN;
}

APUS_END_DECLS

#endif
