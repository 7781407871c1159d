/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/group.h: tasks with a common end (asyncio.TaskGroup).
 *
 *	struct apus_group g;
 *
 *	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
 *	rc = apus_group_spawn(&g, NULL, fetch, &a, 0);
 *	rc = apus_group_spawn(&g, NULL, fetch, &b, 0);
 *	rc = apus_group_end(&g, rc);	// always: waits for all of them
 *	apus_group_fini(&g);
 *
 * No child outlives the scope. When one fails, the others and the body are cancelled, once; errors
 * come before cancels in what the end returns, and all are kept until fini.
 */
#ifndef APUS_RUNTIME_SYNC_GROUP_H
#define APUS_RUNTIME_SYNC_GROUP_H

#include "runtime/base/list.h"
#include "runtime/sched/task.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

enum apus_group_policy {
	APUS_GROUP_FAIL_FAST, /* the first error cancels all (TaskGroup) */
	APUS_GROUP_COLLECT,   /* an error of one is nothing to the others (a supervisor) */
};

/* Embedded by the user; written by the calls below. */
struct apus_group {
	struct apus_task *parent;
	struct apus_list children; /* not ended, in order of spawning */
	struct apus_list failed;   /* ended in error, in order of ending */
	struct apus_waitq ended;   /* the parent, in the end */
	size_t live;               /* children that have not ended */
	size_t errors;             /* children in `failed`, and the body's own */
	int64_t first_error;
	int64_t body_error; /* 0: none */
	enum apus_group_policy policy;
	bool is_exiting;
	bool is_aborting;
	bool cancelled_parent; /* it was us: the parent's count has one of ours */
	bool is_over;
	uint16_t depth; /* among the scopes of the parent */
};

/** apus_group_begin - a scope: no child outlives apus_group_end(), which must come. Context: task */
void apus_group_begin(struct apus_group *g, enum apus_group_policy policy);
/**
 * apus_group_spawn - start a child: apus_spawn_with() in the group
 * @options: may be NULL
 * @arg:     copied into the task when @bytes > 0 (at most 768), passed as it is when 0
 *
 * Allowed while the end waits, as long as a child lives. A task that is awaited by nobody else
 * needs no handle: its result, if it is an error, comes out of the end.
 * Context: any, on the shard. Return: 0; -ECANCELED once the group aborts; -EPIPE once it is over; -ENOMEM; -EINVAL; -EXDEV. Source: TaskGroup.create_task
 */
APUS_MUST_CHECK int apus_group_spawn(struct apus_group *g, const struct apus_spawn_options *options,
				     apus_task_fn fn, const void *arg, size_t bytes);
/**
 * apus_group_start - as apus_group_spawn(), and wait until the child says that it is ready
 *
 * For what must listen, connect or load before others may go on. The child becomes a member of the
 * group when it calls apus_started(); until then it is the caller's: an abort of the group does not
 * reach it, a cancel of the caller does, and the wait then goes on until the child has ended. The
 * group does not end meanwhile. A cancel in the very lap in which the child got ready leaves it in
 * the group.
 * Context: task, suspends. Return: the value, >= 0, that the child gave; its error, which is then not the group's, if it ended before; -EPROTO if it ended without one; -ECANCELED; as apus_group_spawn(). Source: Trio nursery.start
 */
APUS_MUST_CHECK int64_t apus_group_start(struct apus_group *g,
					 const struct apus_spawn_options *options, apus_task_fn fn,
					 const void *arg, size_t bytes);
/**
 * apus_started - in a child: let apus_group_start() return @value >= 0
 *
 * Context: the body that was started, not a function of another task. Return: 0; -ECANCELED: who waited was cancelled, the child too, and nobody needs it any more; -EALREADY: for the second time; -EINVAL: by a task that nobody waits for so, or a value < 0. Source: Trio task_status.started
 */
APUS_MUST_CHECK int apus_started(int64_t value);
/** apus_group_cancel - a quiet early exit: all children and the body are cancelled, the end returns what it would without. Context: any, on the shard. Source: TaskGroup.cancel (3.15) */
void apus_group_cancel(struct apus_group *g);
/**
 * apus_group_end - wait until every child has ended
 * @rc: what the body came to; an error other than -ECANCELED aborts the group and counts as the last error
 *
 * Context: the task that began it; suspends.
 * Return:  @rc if there was no error; the first error in order of ending; -ECANCELED when the task
 *          was cancelled from outside and no child failed; -EINVAL: another task's, ended before, or
 *          not the innermost scope of the task (it has ended all the same).
 * Source:  TaskGroup.__aexit__
 */
APUS_MUST_CHECK int64_t apus_group_end(struct apus_group *g, int64_t rc);
/** apus_group_fini - after the end: give the memory of failed children back. Context: any, on the shard */
void apus_group_fini(struct apus_group *g);

struct apus_group_error {
	uint64_t task_id;
	const char *task_name; /* valid until fini */
	int64_t error;
};
/** apus_group_error - the @index-th error in order of ending, the body's last. Return: false beyond the last. After the end, before fini */
bool apus_group_error(const struct apus_group *g, size_t index, struct apus_group_error *out);

APUS_END_DECLS

#endif
