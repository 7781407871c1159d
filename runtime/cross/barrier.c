/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/barrier.c: a barrier at home, and calls to it.
 */
#include "runtime/cross/barrier.h"

#include "runtime/cross/call.h"

#include <errno.h>

void apus_cross_barrier_init(struct apus_cross_barrier *b, uint32_t parties)
{
	apus_barrier_init(&b->barrier, parties);
	b->home = apus_shard_index();
}

static int64_t at_home(const struct apus_cross_barrier *b, apus_task_fn fn)
{
	void *barrier = (void *)(uintptr_t)&b->barrier;

	return apus_shard_index() == b->home ? fn(barrier) : apus_call_on(b->home, fn, barrier);
}

static int64_t wait_at_home(void *arg)
{
	return apus_barrier_wait(arg);
}

static int64_t reset_at_home(void *arg)
{
	return apus_barrier_reset(arg);
}

static int64_t abort_at_home(void *arg)
{
	return apus_barrier_abort(arg);
}

int64_t apus_cross_barrier_wait(struct apus_cross_barrier *b)
{
	return at_home(b, wait_at_home);
}

int apus_cross_barrier_reset(struct apus_cross_barrier *b)
{
	return (int)at_home(b, reset_at_home);
}

int apus_cross_barrier_abort(struct apus_cross_barrier *b)
{
	return (int)at_home(b, abort_at_home);
}

int64_t apus_cross_barrier_waiting(const struct apus_cross_barrier *b)
{
	return apus_shard_index() == b->home ? (int64_t)apus_barrier_waiting(&b->barrier) : -EXDEV;
}
