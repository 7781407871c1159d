/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/task.h: tasks: stackful coroutines of one shard.
 *
 * A task body is int64_t fn(void *arg): a value >= 0, or a negative errno. The runtime owns every
 * task; a handle is one reference to it, given by spawn and spent by exactly one apus_await() or
 * apus_detach(). NULL stands for "could not be spawned": every call takes it, and awaiting it
 * gives -ENOMEM, so that a spawn need not be checked apart.
 */
#ifndef APUS_RUNTIME_SCHED_TASK_H
#define APUS_RUNTIME_SCHED_TASK_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_callback;
struct apus_task;

typedef int64_t (*apus_task_fn)(void *arg);

#define APUS_TASK_NAME_BYTES 32
#define APUS_TASK_ARG_MAX    1024 /* bytes of a copied argument */

enum apus_spawn_flags {
	/*
	 * The body begins inside of the spawning call, which returns when it first suspends or ends:
	 * a task that does not have to wait costs no lap (asyncio's eager_start).
	 */
	APUS_SPAWN_EAGER = 1 << 0,
};

struct apus_spawn_options {
	const char *name;   /* copied, cut at 31 bytes; NULL or empty: "task-<id>" */
	unsigned int flags; /* enum apus_spawn_flags */
	size_t stack_bytes; /* 0: the shard's default (64 KiB of address space) */
};

/**
 * apus_spawn - start a task; it runs in the next lap
 * @fn:  the body
 * @arg: its argument; borrowed by the task until it ends
 *
 * Context: any, on a shard.
 * Return:  a handle, to be given to apus_await() or apus_detach(); NULL without memory.
 * Source:  asyncio.create_task
 */
APUS_MUST_CHECK struct apus_task *apus_spawn(apus_task_fn fn, void *arg);

/**
 * apus_spawn_with - as apus_spawn(), with options and a copied argument
 * @options: borrowed until return
 * @arg:     copied into the task when @bytes > 0 (at most 1024), passed as it is when 0; NULL with
 *           @bytes: room at apus_task_arg(), to be filled before the task runs
 */
APUS_MUST_CHECK struct apus_task *apus_spawn_with(const struct apus_spawn_options *options,
						  apus_task_fn fn, const void *arg, size_t bytes);

/** apus_spawn_detached - a task nobody awaits. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_spawn_detached(const struct apus_spawn_options *options, apus_task_fn fn,
					const void *arg, size_t bytes);

/**
 * apus_await - wait until the task has ended, and take its result
 * @t: handle; consumed, unless it is of another shard
 *
 * A cancel of the waiting task is passed on to @t, as in asyncio: the wait then ends when @t does.
 * When @t has ended already it does not wait, but spends budget as apus_checkpoint().
 *
 * Context: task, suspends.
 * Return:  what the body returned; -ECANCELED; -EDEADLK for one's own task; -EXDEV; -ENOMEM for NULL;
 *          -EINVAL for a handle that was spent, as long as its memory has no new owner (in debug mode
 *          it is not given back to the system).
 */
APUS_MUST_CHECK int64_t apus_await(struct apus_task *t);

/** apus_detach - give the handle back without waiting; an error of the task is then reported. Context: any */
void apus_detach(struct apus_task *t);

/** apus_task_get - a second handle to the same task, to be spent like the first. Context: any */
APUS_MUST_CHECK struct apus_task *apus_task_get(struct apus_task *t);

/**
 * apus_task_cancel - ask the task to stop
 *
 * Counted and edge-triggered: the call it waits in returns -ECANCELED, once; a task that does not
 * wait gets it at its next wait. One that has not started never does.
 *
 * Context: any, on the task's shard.
 * Return:  true if asked; false if it has ended, or is another shard's.
 * Source:  asyncio Task.cancel
 */
bool apus_task_cancel(struct apus_task *t);

/** apus_task_cancel_because - as apus_task_cancel(); @reason is told by apus_task_cancel_reason() and must stay */
bool apus_task_cancel_because(struct apus_task *t, const char *reason);
/** apus_task_cancel_reason - of the last cancel that gave one; NULL if none did. Context: any */
const char *apus_task_cancel_reason(const struct apus_task *t);

/** apus_task_cancelling - cancels asked for and not taken back. Context: any */
uint32_t apus_task_cancelling(const struct apus_task *t);
/** apus_task_uncancel - take one back; at 0 a request not yet delivered is dropped. Return: what is left */
uint32_t apus_task_uncancel(struct apus_task *t);

/** apus_task_done - true once the body returned or the task was cancelled before it began */
bool apus_task_done(const struct apus_task *t);
/** apus_task_result - the result of a task that is done, which is then seen; -EINPROGRESS before */
int64_t apus_task_result(struct apus_task *t);

/**
 * apus_task_on_done - call back when @t has ended, in the lap after that
 * @callback: initialised; kept until it ran or apus_callback_remove(); its wait.rc is the result
 *
 * Callbacks and awaiting tasks are told in order of registration. Of a task that has ended already
 * the callback runs in the next lap. A callback has not seen the result, as in asyncio: an error that
 * nobody awaits is still told, unless a handle is out and the callback takes it by apus_task_result(). Context: any, on the shard. Source: Task.add_done_callback
 */
void apus_task_on_done(struct apus_task *t, struct apus_callback *callback);

/** apus_task_self - the running task; NULL in a callback. Borrowed. Context: any */
struct apus_task *apus_task_self(void);
/** apus_task_name - its name, "task-<id>" if it was given none; valid as long as the task. Context: any, on the shard. Source: Task.get_name */
const char *apus_task_name(const struct apus_task *t);
/** apus_task_set_name - copied, cut at 31 bytes. Context: any, on the shard. Source: Task.set_name */
void apus_task_set_name(struct apus_task *t, const char *name);
/** apus_task_id - counts from 1 on each shard; 0 for NULL. Context: any */
uint64_t apus_task_id(const struct apus_task *t);
/** apus_task_arg - what its body is called with: the copy, if it was copied. Context: any */
void *apus_task_arg(const struct apus_task *t);

/**
 * apus_yield - let everything that is ready run once: exactly one lap
 *
 * Context: task, suspends. Return: 0, -ECANCELED. Source: asyncio.sleep(0)
 */
APUS_MUST_CHECK int apus_yield(void);

/**
 * apus_sleep - suspend for at least @ns nanoseconds; 0 or less is one apus_yield()
 *
 * Context: task, suspends. Return: 0, -ECANCELED. Source: asyncio.sleep
 */
APUS_MUST_CHECK int apus_sleep(int64_t ns);
/** apus_sleep_until - as apus_sleep(), until a point of apus_now() */
APUS_MUST_CHECK int apus_sleep_until(int64_t deadline_ns);

/**
 * apus_checkpoint - spend one unit of the task's budget
 *
 * Called by every operation that may complete without waiting, so that a task that never has to
 * wait still lets others run: when the budget of the run (128) is spent, it yields once.
 *
 * Context: task, suspends when the budget is spent. Return: 0, -ECANCELED.
 */
APUS_MUST_CHECK static inline int apus_checkpoint(void);

/* --- inline definitions ----------------------------------------------------------------------- */

/* Operations left to the running task; written by the scheduler at every switch. */
extern apus_thread_local int32_t apus_task_budget;

APUS_COLD int apus_checkpoint_slow(void);

/** apus_checkpoint_is_free - is apus_checkpoint() sure not to suspend? Context: task */
static inline bool apus_checkpoint_is_free(void)
{
	return apus_task_budget > 1;
}

static inline int apus_checkpoint(void)
{
	if (apus_likely(--apus_task_budget > 0))
		return 0;
	return apus_checkpoint_slow();
}

APUS_END_DECLS

#endif
