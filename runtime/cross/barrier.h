/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/barrier.h: tasks of any shards that wait for each other (asyncio.Barrier).
 *
 * A barrier (runtime/sync/barrier.h) at home on one shard; elsewhere each call is one there. So its
 * semantics are that one's: who is cancelled leaves and the others go on waiting; a reset or an abort
 * breaks those inside. Caller's memory, read by all shards: it must stay until every call returned.
 */
#ifndef APUS_RUNTIME_CROSS_BARRIER_H
#define APUS_RUNTIME_CROSS_BARRIER_H

#include "runtime/sync/barrier.h"

APUS_BEGIN_DECLS

struct apus_cross_barrier {
	struct apus_barrier barrier; /* home's */
	uint32_t home;               /* index of its shard */
};

/** apus_cross_barrier_init - for @parties tasks, > 0; this shard is its home. Context: any, on a shard */
void apus_cross_barrier_init(struct apus_cross_barrier *b, uint32_t parties);
/**
 * apus_cross_barrier_wait - until @parties tasks wait
 *
 * Who is cancelled when the barrier has let him through already is told by his next wait.
 *
 * Context: task on any shard, suspends. Return: the order of arrival at home, from 0; -EPIPE: reset or
 * broken; -ECANCELED; -ESHUTDOWN: its home has left, or this shard; as apus_call_on(). Source: Barrier.wait
 */
APUS_MUST_CHECK int64_t apus_cross_barrier_wait(struct apus_cross_barrier *b);
/** apus_cross_barrier_reset - tasks inside get -EPIPE, then it is as new. Context: task on any shard, suspends. Return: 0; -ECANCELED: it is done or not; as wait. Source: Barrier.reset */
APUS_MUST_CHECK int apus_cross_barrier_reset(struct apus_cross_barrier *b);
/** apus_cross_barrier_abort - every wait, now and later, gets -EPIPE. Context: task on any shard, suspends. Return: 0; -ECANCELED: it is done or not; as wait. Source: Barrier.abort */
APUS_MUST_CHECK int apus_cross_barrier_abort(struct apus_cross_barrier *b);
/** apus_cross_barrier_waiting - tasks that wait for it to fill; -EXDEV away from home. Context: any. Source: Barrier.n_waiting */
APUS_MUST_CHECK int64_t apus_cross_barrier_waiting(const struct apus_cross_barrier *b);

APUS_END_DECLS

#endif
