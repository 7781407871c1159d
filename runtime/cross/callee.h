/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/callee.h: what calls and posts have in common: the task that runs for another shard.
 */
#ifndef APUS_RUNTIME_CROSS_CALLEE_H
#define APUS_RUNTIME_CROSS_CALLEE_H

#include "runtime/cross/internal.h"
#include "runtime/sched/park.h"

struct apus_call;

/* The argument of a task that runs for another; copied to the top of its stack. */
struct apus_callee {
	struct apus_call *call; /* NULL: a post */
	apus_task_fn fn;
	void *arg;
	int64_t deadline_ns;
	unsigned int from;
	bool was_posted;
};

/**
 * apus_callee_start - begin a task of @body with a copy of @c, and of another shard's variables
 *
 * It begins at once, so that a cancel always finds it begun. Context: the loop. Return: 0, -ENOMEM
 */
APUS_MUST_CHECK int apus_callee_start(apus_task_fn body, const struct apus_callee *c,
				      const struct apus_vars *theirs);

/** apus_call_is_posted - was @t posted, or is it called by what was: see apus_post_to() */
bool apus_call_is_posted(const struct apus_task *t);
/** apus_post_runs - is @t the task of a post? */
bool apus_post_runs(const struct apus_task *t);

/* A cancel that came when all was there already: it is for the next wait. */
static inline void apus_keep_cancel(const struct apus_wait *wait, int64_t rc)
{
	if (apus_unlikely(rc == -ECANCELED) && wait->rc != -ECANCELED)
		apus_shard_current->current->must_cancel = true;
}

#endif
