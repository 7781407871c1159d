/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/timeout.c: a time limit as a scope.
 *
 * Expiry is a cancel of the task that the scope remembers and takes back at its end. If after that
 * no more cancels stand than when it began, the cancel was its own and becomes -ETIMEDOUT; else
 * somebody outside asked too (a caller, or an outer scope), and -ECANCELED goes on to them.
 */
#include "runtime/sync/timeout.h"

#include "runtime/sched/misuse.h"
#include "runtime/sync/internal.h"

#include <errno.h>

static void expire(struct apus_work *work)
{
	struct apus_timeout *t = apus_container_of(apus_timer_of(work), struct apus_timeout, timer);

	t->expired = true;
	apus_task_cancel(t->task);
}

/* A deadline that has come already expires in the next lap, before the body's own next step. */
static inline void arm(struct apus_timeout *t, int64_t deadline_ns, int64_t now_ns)
{
	if (deadline_ns <= now_ns)
		apus_call_soon(&t->timer.work);
	else if (deadline_ns != APUS_NEVER)
		apus_timer_arm(&t->timer, deadline_ns);
}

void apus_timeout_begin(struct apus_timeout *t, int64_t ns)
{
	struct apus_shard *s = apus_shard_current;

	t->task = s->current;
	t->cancelling = t->task->cancelling;
	t->expired = false;
	t->depth = apus_scope_begin();
	t->outer = t->task->limits;
	t->task->limits = t;
	if (apus_is_debug()) {
		apus_scope_note(t->depth, __builtin_return_address(0));
		apus_note(t, "begun");
	}
	apus_timer_init(&t->timer, expire);
	if (ns == APUS_NEVER)
		return;

	int64_t now_ns = apus_shard_now(s);

	arm(t, ns > APUS_NEVER - now_ns ? APUS_NEVER : now_ns + ns, now_ns);
}

void apus_timeout_reschedule(struct apus_timeout *t, int64_t deadline_ns)
{
	if (t->expired || !t->depth)
		return;
	apus_timer_cancel(&t->timer);
	arm(t, deadline_ns, apus_now());
}

/* Out of the task's limits, with what is inside of it, if anything was left open. */
static inline void unlink_limit(struct apus_timeout *t)
{
	struct apus_timeout *it = t->task->limits;

	while (it && it != t)
		it = it->outer;
	if (it)
		t->task->limits = it->outer;
}

int64_t apus_timeout_end(struct apus_timeout *t, int64_t rc)
{
	if (apus_unlikely(t->task != apus_shard_current->current))
		return apus_misuse(-EINVAL, t,
				   "end of a time limit by a task that did not begin it");
	if (apus_unlikely(!t->depth))
		return apus_misuse(-EINVAL, t, "end of a time limit that has ended");

	int order = apus_scope_end(t->depth, __builtin_return_address(0));

	t->depth = 0;
	unlink_limit(t);
	apus_note(t, "ended");
	apus_timer_cancel(&t->timer);
	if (!t->expired)
		return apus_unlikely(order) ? order : rc;

	bool own = apus_task_uncancel(t->task) <= t->cancelling;

	/* Even if the body swallowed the cancel: in C a return code is easily lost. */
	if (own && (rc >= 0 || rc == -ECANCELED))
		rc = -ETIMEDOUT;
	return apus_unlikely(order) ? order : rc;
}

static int64_t limit_ns(const struct apus_timeout *t)
{
	if (t->timer.prev)
		return t->timer.deadline_ns;
	return t->expired || t->timer.work.where ? apus_now() : APUS_NEVER;
}

int64_t apus_deadline(void)
{
	const struct apus_task *self = apus_shard_current->current;
	int64_t ns = APUS_NEVER;

	for (const struct apus_timeout *t = self ? self->limits : NULL; t; t = t->outer)
		ns = apus_min(ns, limit_ns(t));
	return ns;
}
