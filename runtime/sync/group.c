/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/group.c: structured concurrency.
 *
 * A child's record lies on the child's own stack, in front of its argument, so a group allocates
 * nothing; that of a failed child stays until fini, because its error does.
 */
#include "runtime/sync/group.h"

#include "runtime/sync/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define ARG_MAX_BYTES 768

/* Who waits in apus_group_start(); on its stack. */
struct starter {
	struct apus_wait wait;
	struct apus_task *child;
	bool is_cancelled; /* the child was, too, and is no more waited for than for its end */
};

struct APUS_ALIGNED(16) child {
	struct apus_list link; /* in children or failed; nowhere while it starts */
	struct apus_group *group;
	struct apus_task *task;
	struct starter *starter; /* until it is started, or has ended without */
	bool was_started;
	struct apus_callback done;
	apus_task_fn fn;
	void *arg;
};

static_assert(sizeof(struct child) + ARG_MAX_BYTES <= APUS_TASK_ARG_MAX,
	      "an argument block of a task");

void apus_group_begin(struct apus_group *g, enum apus_group_policy policy)
{
	*g = (struct apus_group){
		.parent = apus_task_self(),
		.policy = policy,
		.depth = apus_scope_begin(),
	};
	if (apus_is_debug()) {
		apus_scope_note(g->depth, __builtin_return_address(0));
		apus_note(g, "begun");
	}
	apus_list_init(&g->children);
	apus_list_init(&g->failed);
	apus_waitq_init(&g->ended);
}

static void abort_children(struct apus_group *g)
{
	struct apus_list *it, *tmp;

	g->is_aborting = true;
	apus_list_for_each_safe(it, tmp, &g->children)
		apus_task_cancel(apus_list_entry(it, struct child, link)->task);
}

/* A child failed while the body, or the end, goes on: it is cancelled too, and knows by whom. */
static void abort_by_child(struct apus_group *g)
{
	abort_children(g);
	if (g->cancelled_parent)
		return;
	g->cancelled_parent = true;
	apus_task_cancel(g->parent);
}

static void keep_error(struct apus_group *g, int64_t error)
{
	if (!g->errors++)
		g->first_error = error;
}

/* It was never a child of the group's: what it came to is its starter's. */
static void tell_starter(struct starter *starter, int64_t result)
{
	if (result >= 0)
		result = starter->is_cancelled ? -ECANCELED : -EPROTO;
	apus_wake(&starter->wait, result);
}

static bool is_quiet(int64_t result)
{
	return result >= 0 || result == -ECANCELED;
}

static void child_done(struct apus_work *work)
{
	struct child *child = apus_container_of(apus_callback_of(work), struct child, done);
	struct apus_group *g = child->group;
	int64_t result = apus_task_result(child->task);

	apus_list_remove(&child->link);
	if (--g->live == 0)
		apus_waitq_wake_all(&g->ended, 0);
	if (child->starter)
		tell_starter(child->starter, result);
	if (child->starter || is_quiet(result)) {
		apus_detach(child->task); /* and the record with it */
		return;
	}
	apus_list_push_back(&g->failed, &child->link);
	keep_error(g, result);
	if (g->policy == APUS_GROUP_FAIL_FAST && !g->is_aborting && !g->cancelled_parent)
		abort_by_child(g);
}

/*
 * One that ends quietly, and is not the last, changes nothing that anybody could see: it takes
 * itself out and saves the callback. The others are accounted for in the lap after their end.
 */
static int64_t run_child(void *arg)
{
	struct child *child = arg;
	int64_t result = child->fn(child->arg);
	struct apus_group *g = child->group;

	if (apus_likely(is_quiet(result) && g->live > 1 && !child->starter)) {
		apus_list_unlink(&child->done.wait.link);
		apus_list_unlink(&child->link);
		g->live--;
		apus_detach(child->task);
	}
	return result;
}

/* What a group that is over says; its memory is still there, or this could not be asked. */
static int refuse(const struct apus_group *g, const void *place)
{
	return g->is_over ? apus_misuse_at(-EPIPE, g, "spawn into a group that is over", place)
			  : -EPIPE;
}

/* With a starter the child is no member yet: an abort does not reach it. */
static int spawn(struct apus_group *g, const struct apus_spawn_options *options, apus_task_fn fn,
		 struct iovec arg, struct starter *starter)
{
	size_t bytes = arg.iov_len;

	if (bytes > ARG_MAX_BYTES || (options && options->flags & APUS_SPAWN_EAGER))
		return -EINVAL;
	if (g->is_over || (g->is_exiting && !g->live))
		return -EPIPE;
	if (apus_unlikely(apus_task_check_home(g->parent, "a group's spawn beside")))
		return -EXDEV;
	if (g->is_aborting)
		return -ECANCELED;

	struct apus_task *t =
		apus_spawn_with(options, run_child, NULL, sizeof(struct child) + bytes);

	if (!t)
		return -ENOMEM;

	struct child *child = apus_task_arg(t);

	child->group = g;
	child->task = t;
	child->starter = starter;
	child->was_started = false;
	child->fn = fn;
	child->arg = bytes ? memcpy(child + 1, arg.iov_base, bytes) : arg.iov_base;
	/* What its parent, or its starter, waits for: a dump finds it so. */
	apus_task_watch(t, &child->done, child_done, starter ? (const void *)starter : &g->ended);
	apus_list_init(&child->link);
	if (starter)
		starter->child = t;
	else
		apus_list_push_back(&g->children, &child->link);
	g->live++;
	return 0;
}

int apus_group_spawn(struct apus_group *g, const struct apus_spawn_options *options,
		     apus_task_fn fn, const void *arg, size_t bytes)
{
	int rc = spawn(g, options, fn, (struct iovec){(void *)(uintptr_t)arg, bytes}, NULL);

	return apus_unlikely(rc == -EPIPE) ? refuse(g, __builtin_return_address(0)) : rc;
}

/* The wait goes on until the child has ended, also when it has, and its callback is on the way. */
static bool cancel_start(struct apus_wait *wait)
{
	struct starter *starter = apus_container_of(wait, struct starter, wait);

	starter->is_cancelled = true;
	(void)apus_task_cancel(starter->child);
	return true;
}

APUS_SUSPENDS int64_t apus_group_start(struct apus_group *g,
				       const struct apus_spawn_options *options, apus_task_fn fn,
				       const void *arg, size_t bytes)
{
	static const struct apus_wait_type starting = {.cancel = cancel_start};
	struct starter starter = {.is_cancelled = false};
	int rc = spawn(g, options, fn, (struct iovec){(void *)(uintptr_t)arg, bytes}, &starter);

	if (rc)
		return rc == -EPIPE ? refuse(g, __builtin_return_address(0)) : rc;
	apus_wait_init(&starter.wait, &starting, "group start", &starter);
	return apus_park(&starter.wait);
}

int apus_started(int64_t value)
{
	struct apus_task *self = apus_task_self();
	struct child *child = apus_task_runs(self, run_child) ? apus_task_arg(self) : NULL;
	struct starter *starter = child ? child->starter : NULL;

	if (value < 0 || !self)
		return -EINVAL;
	if (!starter && child && child->was_started)
		return apus_misuse(-EALREADY, child, "started, for the second time");
	if (!starter)
		return apus_task_misuse_at(-EINVAL, self, "started, which nobody waits for,",
					   __builtin_return_address(0));
	if (starter->is_cancelled)
		return -ECANCELED;
	apus_note(child, "started");
	child->starter = NULL;
	child->was_started = true;
	child->done.wait.object = &child->group->ended;
	apus_list_push_back(&child->group->children, &child->link);
	if (child->group->is_aborting)
		apus_task_cancel(self);
	apus_wake(&starter->wait, value);
	return 0;
}

void apus_group_cancel(struct apus_group *g)
{
	if (g->is_over || g->is_aborting)
		return;
	abort_children(g);
	if (!g->cancelled_parent && apus_task_self() != g->parent) {
		g->cancelled_parent = true;
		apus_task_cancel(g->parent);
	}
}

/* Cancels of the waiting task abort the group, the first time; the wait goes on. */
static inline int64_t wait_for_children(struct apus_group *g, int64_t rc)
{
	while (g->live) {
		int64_t woken = apus_waitq_wait_here(&g->ended, "group");

		if (woken == -ECANCELED && !g->is_aborting) {
			rc = -ECANCELED;
			abort_children(g);
		}
	}
	return rc;
}

static APUS_SUSPENDS int64_t end(struct apus_group *g, int64_t rc)
{
	g->is_exiting = true;
	if (rc < 0 && !g->is_aborting)
		abort_children(g);

	int64_t body = rc;

	rc = wait_for_children(g, rc);
	g->is_over = true;
	/* The cancel that we asked for is taken back; if no other stands, it was all there was. */
	if (g->cancelled_parent && apus_task_uncancel(g->parent) == 0 && rc == -ECANCELED)
		rc = 0;
	if (rc == -ECANCELED && !g->errors)
		return rc;
	if (body < 0 && body != -ECANCELED) {
		g->body_error = body;
		keep_error(g, body);
	}
	if (!g->errors)
		return rc;
	/* An error wins over a cancel from outside, which is delivered at the next wait instead. */
	if (apus_task_cancelling(g->parent)) {
		apus_task_uncancel(g->parent);
		apus_task_cancel(g->parent);
	}
	return g->first_error;
}

int64_t apus_group_end(struct apus_group *g, int64_t rc)
{
	if (apus_unlikely(g->parent != apus_task_self()))
		return apus_misuse(-EINVAL, g, "end of a group by a task that did not begin it");
	if (apus_unlikely(g->is_over))
		return apus_misuse(-EINVAL, g, "end of a group that is over");

	int order = apus_scope_end(g->depth, __builtin_return_address(0));

	rc = end(g, rc);
	apus_note(g, "ended");
	return apus_unlikely(order) ? order : rc;
}

void apus_group_fini(struct apus_group *g)
{
	struct apus_list *node;

	apus_must(g->is_over);
	while ((node = apus_list_pop_front(&g->failed)))
		apus_detach(apus_list_entry(node, struct child, link)->task);
}

bool apus_group_error(const struct apus_group *g, size_t index, struct apus_group_error *out)
{
	const struct apus_list *it;

	apus_list_for_each(it, &g->failed) {
		const struct child *child = apus_list_entry(it, struct child, link);

		if (index-- > 0)
			continue;
		*out = (struct apus_group_error){
			.task_id = apus_task_id(child->task),
			.task_name = apus_task_name(child->task),
			.error = apus_task_result(child->task),
		};
		return true;
	}
	if (index > 0 || !g->body_error)
		return false;
	*out = (struct apus_group_error){
		.task_id = apus_task_id(g->parent),
		.task_name = apus_task_name(g->parent),
		.error = g->body_error,
	};
	return true;
}
