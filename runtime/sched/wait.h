/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/wait.h: how a task parks and is woken: what runtime/sync is made of.
 *
 * Internal to runtime/ and net/. The node lives on the waiting task's stack. Whoever wakes it
 * unlinks it and gives it a value; a cancel does the same with -ECANCELED, at once, unless the
 * kind of wait passes the cancel on to what it waits for (an awaited task).
 */
#ifndef APUS_RUNTIME_SCHED_WAIT_H
#define APUS_RUNTIME_SCHED_WAIT_H

#include "runtime/base/list.h"

struct apus_task;
struct apus_wait;

struct apus_wait_type {
	/* The waiting task was cancelled. Return: true if passed on, so that the wait goes on. NULL: never is. */
	bool (*cancel)(struct apus_wait *wait);
};

struct apus_wait {
	struct apus_list link;             /* in the queue of what is waited for */
	struct apus_task *task;            /* who waits */
	const struct apus_wait_type *type; /* NULL: a cancel ends the wait */
	const char *what;                  /* for dumps: "sleep", "tcp read" */
	const void *object;                /* what is waited for; identifies it in dumps */
	int64_t rc;                        /* the waker's value; valid once woken */
};

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

/** apus_wake - end the wait with @rc; unlinks it; the task runs in the next lap. Context: any, on the shard */
void apus_wake(struct apus_wait *wait, int64_t rc);

#endif
