/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/wait.h: how a task parks and is woken: what runtime/sync is made of.
 *
 * For whoever builds a primitive. The node lives on the waiting task's stack. Whoever wakes it
 * unlinks it and gives it a value; a cancel does the same with -ECANCELED, at once, unless the
 * kind of wait passes the cancel on to what it waits for (an awaited task).
 */
#ifndef APUS_RUNTIME_SCHED_WAIT_H
#define APUS_RUNTIME_SCHED_WAIT_H

#include "runtime/base/list.h"
#include "runtime/sched/misuse.h"
#include "runtime/sched/work.h"

APUS_BEGIN_DECLS

struct apus_shard;
struct apus_task;
struct apus_wait;

/* What a wait is for, when it is the end of a task. */
struct apus_awaited {
	const struct apus_task *task; /* of this shard; NULL: of another */
	unsigned int shard;           /* whose number this is */
	uint64_t id; /* there; 0: it has not begun, or it is not known that it has */
};

struct apus_wait_type {
	/* The waiting task was cancelled. Return: true if passed on, so that the wait goes on. NULL: never is. */
	bool (*cancel)(struct apus_wait *wait);
	/*
	 * For dumps, which find out by themselves who waits in the queue of a task: the next task that
	 * is awaited, from *@i on, which is moved on. Return: false: no more. NULL: none.
	 */
	bool (*awaits)(const struct apus_wait *wait, unsigned int *i, struct apus_awaited *out);
};

struct apus_wait {
	struct apus_list link;             /* in the queue of what is waited for */
	struct apus_task *task;            /* who waits */
	const struct apus_wait_type *type; /* NULL: a cancel ends the wait */
	const char *what;                  /* for dumps: "sleep", "tcp read" */
	const void *object;                /* what is waited for; identifies it in dumps */
	int64_t rc;                        /* the waker's value; valid once woken */
};

/* In a queue like a waiting task, but what happens is that a function runs, in the next lap. */
struct apus_callback {
	struct apus_wait wait;
	struct apus_work work; /* its function finds the value in callback->wait.rc */
};

/** apus_callback_init - it waits nowhere. Context: any */
void apus_callback_init(struct apus_callback *callback, apus_work_fn fn);
/** apus_callback_of - in the function: from the work to the callback */
static inline struct apus_callback *apus_callback_of(struct apus_work *work)
{
	return apus_container_of(work, struct apus_callback, work);
}
/** apus_callback_remove - out of the queue it waits in, or out of the ready queue. Return: true if it was in one. Context: any, on the shard */
bool apus_callback_remove(struct apus_callback *callback);

/** apus_callback_is_queued - it was woken, and its function has not run yet. Context: any, on the shard */
bool apus_callback_is_queued(const struct apus_callback *callback);
/** apus_callback_register - at the end of @queue, of struct apus_wait.link: for a primitive's on_done. Context: any, on the shard */
void apus_callback_register(struct apus_callback *callback, struct apus_list *queue);
/** apus_callback_now - nothing to wait for: it runs in the next lap, with @rc. Context: any, on the shard */
void apus_callback_now(struct apus_callback *callback, int64_t rc);

/** apus_task_awaiters - the queue of who waits for the end of @t: struct apus_wait.link. Context: any, on the shard */
struct apus_list *apus_task_awaiters(struct apus_task *t);

/**
 * apus_outside_begin, apus_outside_end - around a wait that another thread ends
 *
 * Meanwhile a virtual clock does not jump, nothing is called a deadlock, and the end of the run waits
 * for it no longer than apus_shard_options.executor_wait_ns. Context: task.
 */
void apus_outside_begin(void);
void apus_outside_end(void);

/** apus_task_set_inner - the task is a part of another: it is not cancelled when all are. Context: on its shard */
void apus_task_set_inner(struct apus_task *t, bool is_inner);

/* What is to be closed when all tasks have ended that could do so; the room's memory. */
struct apus_ender {
	struct apus_list link;  /* in the shard's; written by at_end */
	struct apus_task *task; /* that registered it */
	int64_t (*end)(
		struct apus_ender *ender); /* runs in a task, and may wait; unlinked by then */
};
/** apus_shard_at_end - keeps @ender until it is unlinked by apus_list_remove(). Context: task */
void apus_shard_at_end(struct apus_shard *shard, struct apus_ender *ender);

/** apus_task_runs - is @fn the body of @t, so that apus_task_arg() is what that was spawned with? Context: any */
bool apus_task_runs(const struct apus_task *t, int64_t (*fn)(void *arg));

/** apus_wait_init - for the running task */
void apus_wait_init(struct apus_wait *wait, const struct apus_wait_type *type, const char *what,
		    const void *object);

/**
 * apus_park - suspend until @wait is woken; it must be reachable for a waker by now
 *
 * Return: wait->rc; -ECANCELED when a cancel came, before the waker or in the same lap after it: then
 * wait->rc still holds the value that was given, for the primitive to hand on.
 */
APUS_MUST_CHECK int64_t apus_park(struct apus_wait *wait);

/**
 * apus_wait_check - may the running task wait in @queue, of struct apus_wait.link?
 *
 * For what has no home of its own (misuse.h), before it links its wait: an object belongs to the
 * shard whose tasks wait for it. If none does yet, the wake that follows finds the mistake, and ends
 * the process before anything is corrupted.
 * Context: task. Return: 0; -EXDEV: those that wait in it are of another shard.
 */
APUS_MUST_CHECK static inline int apus_wait_check(const struct apus_list *queue);

/** apus_wake - end the wait with @rc; unlinks it; the task runs in the next lap. Context: any, on the shard */
void apus_wake(struct apus_wait *wait, int64_t rc);

/**
 * apus_wake_inside - end the wait with @rc and run the woken task now, inside of this call
 *
 * It returns when the woken task suspends or ends: no lap goes by. For generators.
 * Context: task.
 */
void apus_wake_inside(struct apus_wait *wait, int64_t rc);

/**
 * apus_park_into - as apus_park(), and run the task of @next now, whose wait ends with @rc
 *
 * Context: task, suspends. Return: as apus_park().
 */
APUS_MUST_CHECK int64_t apus_park_into(struct apus_wait *wait, struct apus_wait *next, int64_t rc);

/** apus_task_is_inside - does the running task run inside of another's call: was it woken so, and has not suspended since? Context: task */
bool apus_task_is_inside(void);

/* --- inline definitions ----------------------------------------------------------------------- */

int apus_wait_check_slow(const struct apus_list *queue);

static inline int apus_wait_check(const struct apus_list *queue)
{
	if (apus_likely(apus_list_empty(queue)))
		return 0;
	return apus_wait_check_slow(queue);
}

APUS_END_DECLS

#endif
