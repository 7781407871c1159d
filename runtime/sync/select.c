/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/select.c: one callback per case, none of which takes anything.
 *
 * A callback only says "look again". The selecting task then tries the cases itself, in order, as
 * it would without having waited; what it was woken for and does not use it hands on.
 */
#include "runtime/sync/select.h"

#include "runtime/sched/misuse.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/wait.h"

#include <errno.h>

/* What the arms of one select share. */
struct looking {
	struct apus_event again;
	const struct arm *first; /* the one that was woken first */
};

struct arm {
	struct apus_callback callback;
	struct apus_timer timer; /* of UNTIL */
	struct looking *looking;
	bool was_woken;
};

static void look_again(struct arm *arm)
{
	arm->was_woken = true;
	if (!arm->looking->first)
		arm->looking->first = arm;
	apus_event_set(&arm->looking->again);
}

static void was_called_back(struct apus_work *work)
{
	look_again(apus_container_of(apus_callback_of(work), struct arm, callback));
}

static void time_has_come(struct apus_work *work)
{
	look_again(apus_container_of(apus_timer_of(work), struct arm, timer));
}

/* Takes what the case is about, if it is there. An event that woke us counts, cleared since or not. */
static bool try_case(struct apus_select_case *c, bool was_woken)
{
	switch (c->kind) {
	case APUS_SELECT_KIND_GET:
		c->rc = apus_queue_try_get(c->queue, c->item);
		return c->rc != -EAGAIN;
	case APUS_SELECT_KIND_PUT:
		c->rc = apus_queue_try_put(c->queue, c->value);
		return c->rc != -EAGAIN;
	case APUS_SELECT_KIND_EVENT:
		c->rc = 0;
		return was_woken || apus_event_is_set(c->event);
	case APUS_SELECT_KIND_FUTURE:
		c->rc = apus_future_result(c->future);
		return apus_future_done(c->future);
	case APUS_SELECT_KIND_TASK:
		if (!apus_task_done(c->task))
			return false;
		c->rc = apus_task_result(c->task);
		return true;
	case APUS_SELECT_KIND_UNTIL:
		c->rc = 0;
		return c->deadline_ns <= apus_now();
	}
	return false;
}

static void arm_case(struct arm *arm, const struct apus_select_case *c, struct looking *looking)
{
	arm->looking = looking;
	arm->was_woken = false;
	apus_callback_init(&arm->callback, was_called_back);
	apus_timer_init(&arm->timer, time_has_come);
	switch (c->kind) {
	case APUS_SELECT_KIND_GET:
		apus_callback_register(&arm->callback, &c->queue->getters.waiters);
		break;
	case APUS_SELECT_KIND_PUT:
		apus_callback_register(&arm->callback, &c->queue->putters.waiters);
		break;
	case APUS_SELECT_KIND_EVENT:
		apus_callback_register(&arm->callback, &c->event->waiters.waiters);
		break;
	case APUS_SELECT_KIND_FUTURE:
		apus_future_on_done(c->future, &arm->callback);
		break;
	case APUS_SELECT_KIND_TASK:
		apus_task_on_done(c->task, &arm->callback);
		break;
	case APUS_SELECT_KIND_UNTIL:
		if (c->deadline_ns != APUS_NEVER)
			apus_timer_arm(&arm->timer, c->deadline_ns);
		break;
	}
}

/* A queue wakes one waiter per item or place: if it woke us and we do not come, the next one may. */
static void disarm_case(struct arm *arm, const struct apus_select_case *c, bool won)
{
	bool was_queued = apus_callback_is_queued(&arm->callback);

	apus_callback_remove(&arm->callback);
	apus_timer_cancel(&arm->timer);
	if (won || !(arm->was_woken || was_queued))
		return;
	if (c->kind == APUS_SELECT_KIND_GET && !apus_queue_is_empty(c->queue))
		apus_waitq_wake_one(&c->queue->getters, 0);
	else if (c->kind == APUS_SELECT_KIND_PUT && !apus_queue_is_full(c->queue))
		apus_waitq_wake_one(&c->queue->putters, 0);
}

/* An object of another shard must not be touched, not even for a look. */
static int check_case(struct apus_select_case *c, const void *place)
{
	switch (c->kind) {
	case APUS_SELECT_KIND_GET:
	case APUS_SELECT_KIND_PUT:
		return apus_home_check_at(c->queue, "select of a queue", place);
	case APUS_SELECT_KIND_EVENT:
		return apus_home_check_at(c->event, "select of an event", place);
	case APUS_SELECT_KIND_FUTURE:
		return apus_home_check_at(c->future, "select of a future", place);
	case APUS_SELECT_KIND_TASK:
		if (c->task && c->task == apus_task_self())
			return apus_task_misuse_at(-EDEADLK, c->task, "select", place);
		return apus_task_check_home_at(c->task, "select", place);
	case APUS_SELECT_KIND_UNTIL:
		break;
	}
	return 0;
}

static int64_t try_all(struct apus_select_case *cases, size_t n, const struct arm *arms)
{
	for (size_t i = 0; i < n; i++)
		if (try_case(&cases[i], arms && arms[i].was_woken))
			return (int64_t)i;
	return -EAGAIN;
}

/* The case that came true first, unless somebody else was faster; then any other. */
static int64_t try_woken(struct apus_select_case *cases, size_t n, const struct arm *arms,
			 const struct arm *first)
{
	if (first && try_case(&cases[first - arms], true))
		return first - arms;
	return try_all(cases, n, arms);
}

static APUS_NOINLINE int64_t wait_for_one(struct apus_select_case *cases, size_t n)
{
	struct arm arms[APUS_SELECT_CASES_MAX];
	struct looking looking = {.first = NULL};
	int64_t winner;

	apus_event_init(&looking.again);
	for (size_t i = 0; i < n; i++)
		arm_case(&arms[i], &cases[i], &looking);
	winner = apus_event_wait(&looking.again);
	if (winner == 0)
		winner = try_woken(cases, n, arms, looking.first);
	for (size_t i = 0; i < n; i++)
		disarm_case(&arms[i], &cases[i], winner == (int64_t)i);
	return winner;
}

int64_t apus_select(struct apus_select_case *cases, size_t n)
{
	int64_t rc = apus_checkpoint();

	if (rc)
		return rc;
	if (!n || n > APUS_SELECT_CASES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (apus_unlikely((rc = check_case(&cases[i], __builtin_return_address(0)))))
			return rc;
	rc = try_all(cases, n, NULL);
	while (rc == -EAGAIN) /* what woke us was gone when we came */
		rc = wait_for_one(cases, n);
	return rc;
}
