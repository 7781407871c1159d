/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/end.c: how what runs on a shard comes to its end: tasks are asked to stop; when there
 * are none any more, what was left open is closed (asyncio's shutdown_asyncgens).
 *
 * Inner tasks, the bodies of generators, are nobody's to cancel: they end when their generator is
 * closed. Which is done by who consumes it, or else here, when all who could are gone.
 */
#include "runtime/sched/internal.h"

#include "runtime/base/log.h"
#include "runtime/sched/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------------------- errors unhandled */

void apus_report_unhandled(struct apus_shard *s, const struct apus_unhandled *what)
{
	const char *text = strerrordesc_np((int)-what->error);

	if (s->unhandled) {
		s->unhandled(what, s->unhandled_arg);
		return;
	}
	apus_log(ERROR, "task: %s: %s: %s (%lld)", apus_task_name(what->task), what->message,
		 text ? text : "an error", (long long)what->error);
}

void apus_unhandled_error(const char *message, int64_t error)
{
	struct apus_shard *s = apus_shard_current;

	apus_report_unhandled(s, &(struct apus_unhandled){
					 .message = message,
					 .task = s->current,
					 .error = error,
				 });
}

/* --------------------------------------------------------------------------------- inner tasks */

void apus_task_set_inner(struct apus_task *t, bool is_inner)
{
	if (t->is_inner == is_inner)
		return;
	t->is_inner = is_inner;
	t->shard->inner_live += is_inner ? 1 : (size_t)-1;
}

void apus_shard_at_end(struct apus_shard *s, struct apus_ender *ender)
{
	ender->task = s->current;
	apus_list_push_back(&s->enders, &ender->link);
}

/* In a task of its own, since what it closes may take its time; and which nobody may cancel. */
static int64_t run_ender(void *arg)
{
	struct apus_ender *ender = arg;
	struct apus_task *self = apus_shard_current->current;

	apus_task_set_inner(self, true);

	int64_t rc = ender->end(ender);

	if (rc < 0 && rc != -ECANCELED)
		apus_unhandled_error("a generator that was left open failed when closed", rc);
	apus_task_set_inner(self, false);
	return 0;
}

/* Oldest first: an outer one closes the inner ones that it consumes. */
static size_t close_all(struct apus_shard *s)
{
	static const struct apus_spawn_options options = {
		.name = "close",
		.flags = APUS_SPAWN_EAGER,
	};
	struct apus_list *node;
	size_t closed = 0;

	for (; (node = apus_list_pop_front(&s->enders)); closed++) {
		struct apus_ender *ender = apus_list_entry(node, struct apus_ender, link);

		if (apus_spawn_detached(&options, run_ender, ender, 0))
			apus_task_cancel(ender->task); /* no memory: it unwinds by itself */
	}
	return closed;
}

size_t apus_shard_cancel_all(struct apus_shard *s)
{
	const struct apus_task *self = s->current;
	size_t others = s->tasks_live - s->inner_live, asked = 0;
	struct apus_list *it;

	if (self && !self->is_inner)
		others--;
	if (!others)
		return close_all(s);
	apus_list_for_each(it, &s->tasks) {
		struct apus_task *t = apus_list_entry(it, struct apus_task, all);

		if (self && t == self)
			continue;
		if (!t->cancelling && !t->is_inner)
			asked += apus_task_cancel(t);
	}
	return asked;
}

/* ------------------------------------------------------------------------- answers from outside */

void apus_outside_begin(void)
{
	apus_shard_current->outside++;
}

void apus_outside_end(void)
{
	struct apus_shard *s = apus_shard_current;

	apus_must_op(s->outside, >, 0u);
	s->outside--;
}

bool apus_shard_is_late(struct apus_shard *s)
{
	return s->outside && apus_clock_host_ns() >= s->outside_until_ns;
}

void apus_shard_abandon(struct apus_shard *s)
{
	s->is_abandoned = true;
	if (s->outside) {
		apus_log(ERROR,
			 "run: %u calls on threads have not returned in time after the main task "
			 "ended; they are abandoned, and with them %zu tasks and their memory",
			 s->outside, s->tasks_live);
		return;
	}
	apus_log(ERROR,
		 "run: tasks have not ended in time after they were cancelled; they are abandoned, "
		 "and with them their shard's memory:");
	apus_shard_dump_tree(s, stderr, 0);
}

/* Of a thread that stands still in a task: what it shows does not change. */
__attribute__((no_sanitize("thread"))) void apus_shard_say_stuck(const struct apus_shard *s)
{
	const struct apus_task *t = *(struct apus_task *const volatile *)&s->current;
	char name[APUS_TASK_NAME_BYTES] = "the loop";

	if (t && *t->name)
		memcpy(name, t->name, sizeof(name));
	else if (t)
		snprintf(name, sizeof(name), "task-%llu", (unsigned long long)t->id);
	apus_log(ERROR,
		 "run: shard %u does not answer: %s does not suspend (--debug says where it is); "
		 "its thread cannot be stopped, so nothing that it may use is given back",
		 s->index, name);
}
