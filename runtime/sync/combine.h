/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/combine.h: waiting for several tasks, and waiting in other ways for one: gather,
 * wait, as_completed, wait_for, shield, race.
 *
 * Where a call consumes handles it does so always, whatever it returns; but with -EXDEV, for tasks of
 * another shard, whose handles can only be spent there. NULL handles (spawns that
 * had no memory) count as tasks that ended with -ENOMEM.
 */
#ifndef APUS_RUNTIME_SYNC_COMBINE_H
#define APUS_RUNTIME_SYNC_COMBINE_H

#include "runtime/sched/task.h"
#include "runtime/sched/wait.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

enum apus_gather_flags {
	APUS_GATHER_RETURN_ERRORS = 1
				    << 0, /* return_exceptions: wait for all, errors are results */
};

/**
 * apus_gather - wait for all of @tasks
 * @tasks:   @n handles, consumed; the same task may stand there twice (with a handle for each)
 * @results: @n results in the order of @tasks, written for those that ended; may be NULL
 * @flags:   enum apus_gather_flags
 *
 * Without flags the first error is returned at once, and the others go on running. A cancel of the
 * caller cancels all of them; it then returns once they ended (at the first that did, without
 * flags), with -ECANCELED even with flags.
 *
 * Context: task, suspends. Return: 0; the first error; -ECANCELED; -ENOMEM (nothing was waited for); -EDEADLK (the running task is one of them); -EXDEV. Source: asyncio.gather
 */
APUS_MUST_CHECK int64_t apus_gather(struct apus_task *const tasks[], size_t n, int64_t results[],
				    unsigned int flags);

enum apus_wait_mode {
	APUS_WAIT_ALL,             /* ALL_COMPLETED */
	APUS_WAIT_FIRST,           /* FIRST_COMPLETED */
	APUS_WAIT_FIRST_EXCEPTION, /* the first that ended in an error that is no cancel, or all */
};

/**
 * apus_wait - wait for some of @tasks, which it neither consumes nor cancels
 * @ns: at most so long; APUS_NEVER: no limit
 *
 * Which ended apus_task_done() tells. A cancel of the caller leaves the tasks alone.
 * Context: task, suspends. Return: how many have ended (fewer than the mode wants: the time was up); -EINVAL for none; -ECANCELED; -ENOMEM; -EDEADLK; -EXDEV. Source: asyncio.wait
 */
APUS_MUST_CHECK int64_t apus_wait(struct apus_task *const tasks[], size_t n,
				  enum apus_wait_mode mode, int64_t ns);

/* Tasks in the order in which they end; embedded by the user, written by the calls below. */
struct apus_as_completed {
	struct apus_waitq waiters; /* the task in next */
	struct apus_member *members;
	size_t n, returned;
	struct apus_list ended; /* struct apus_member.link, oldest first */
};

/** apus_as_completed_begin - borrows the @n tasks until end. Return: 0, -ENOMEM, -EDEADLK, -EXDEV. Context: any, on the shard */
APUS_MUST_CHECK int apus_as_completed_begin(struct apus_as_completed *it,
					    struct apus_task *const tasks[], size_t n);
/** apus_as_completed_next - wait for the next to end. Context: task, suspends. Return: its index; -ENOENT after the last; -ECANCELED. Source: asyncio.as_completed */
APUS_MUST_CHECK int64_t apus_as_completed_next(struct apus_as_completed *it);
/** apus_as_completed_end - those that have not ended go on. Context: any, on the shard */
void apus_as_completed_end(struct apus_as_completed *it);

/**
 * apus_wait_for - wait for @t, at most @ns, then cancel it and wait for that
 * @t: consumed
 *
 * With @ns <= 0 a task that has not begun never does. A task that swallows the cancel and returns
 * a value gives that value. Context: task, suspends. Return: the result; -ETIMEDOUT; -ECANCELED; -EDEADLK; -EXDEV. Source: asyncio.wait_for
 */
APUS_MUST_CHECK int64_t apus_wait_for(struct apus_task *t, int64_t ns);

/**
 * apus_shield - wait for @t, without passing a cancel on to it
 * @t: consumed; after a cancel it goes on, and its error is reported if nobody else has a handle
 *
 * Context: task, suspends. Return: the result; -ECANCELED; -EDEADLK; -EXDEV. Source: asyncio.shield
 */
APUS_MUST_CHECK int64_t apus_shield(struct apus_task *t);

struct apus_racer {
	apus_task_fn fn;
	void *arg;
	int64_t result; /* written: what it came to; -EINPROGRESS: never begun */
};

/**
 * apus_race_staggered - start each of @racers when the one before has failed, or after @delay_ns
 *
 * The first that succeeds wins: the others are cancelled and waited for. This is how happy eyeballs
 * connect (RFC 8305). Context: task, suspends. Return: the winner's index; the last error; -ECANCELED; -EINVAL for none; -ENOMEM. Source: asyncio.staggered
 */
APUS_MUST_CHECK int64_t apus_race_staggered(struct apus_racer racers[], size_t n, int64_t delay_ns);

APUS_END_DECLS

#endif
