/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/debug.c: debug mode: who spawned whom, what is left at the end, what can never go on.
 *
 * What a task needs lies on its own stack, right under it, so that nothing is allocated and the task
 * itself grows by nothing. A task spawned in debug mode loses 192 bytes of its stack.
 */
#include "runtime/sched/debug.h"

#include "runtime/base/log.h"
#include "runtime/sched/backtrace.h"
#include "runtime/sched/dump.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct apus_debug_record) % APUS_CACHE_LINE == 0,
	      "the stack under it begins at a cache line");

static const int64_t slow_ns_default = 25 * APUS_MS;
static const size_t handles_told_max = 20; /* at the end of a shard */

/* -------------------------------------------------------------------------------- open and close */

bool apus_debug_on;

static bool is_wanted(const struct apus_shard_options *o)
{
	const char *text = getenv("APUS_DEBUG"); /* read before there are threads that set it */

	return o->debug || (text && *text && strcmp(text, "0"));
}

int apus_debug_open(struct apus_shard *s, const struct apus_shard_options *o)
{
	void *frame;

	if (!is_wanted(o))
		return 0;
	apus_backtrace_here(&frame, 1,
			    0); /* loads the unwinder: it cannot be loaded in a handler */
	s->is_debug = true;
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		s->pools[i].keeps_objects = true; /* a handle that was spent may be looked at */
	__atomic_store_n(&apus_debug_on, true, __ATOMIC_RELAXED);
	return apus_slow_open(s, o->slow_ns > 0 ? o->slow_ns : slow_ns_default);
}

void apus_debug_close(struct apus_shard *s)
{
	if (s->is_debug)
		apus_slow_close(s);
}

/* -------------------------------------------------------------------------------------- records */

static struct apus_debug_record *record_of(struct apus_task *t)
{
	return (struct apus_debug_record *)t - 1;
}

const struct apus_debug_record *apus_debug_record_of(const struct apus_task *t)
{
	return t->shard->is_debug ? (const struct apus_debug_record *)t - 1 : NULL;
}

/* The youngest owners are the ones that say something: of a long chain the beginning goes. */
static void note_owners(struct apus_debug_record *record, const struct apus_task *spawner)
{
	const char *older = spawner ? ((const struct apus_debug_record *)spawner - 1)->owners : "";
	const char *name = spawner ? apus_task_name(spawner) : "the loop";
	size_t room = sizeof(record->owners) - strlen(name) - sizeof(" > ");
	size_t skip = strlen(older) > room ? strlen(older) - room : 0;

	snprintf(record->owners, sizeof(record->owners), "%s%s%s", older + skip,
		 *older ? " > " : "", name);
}

char *apus_debug_spawned(struct apus_shard *s, struct apus_task *t)
{
	struct apus_debug_record *record = record_of(t);
	const struct apus_task *self = s->current;

	record->since_ns = apus_shard_now(s);
	if (self)
		record->frames_count = (uint32_t)apus_backtrace_walk(
			__builtin_frame_address(0),
			(struct apus_stack_range){self->stack.base, (const char *)self},
			record->frames, APUS_DEBUG_FRAMES);
	else
		record->frames_count =
			(uint32_t)apus_backtrace_here(record->frames, APUS_DEBUG_FRAMES, 1);
	note_owners(record, self);
	return (char *)record;
}

void apus_debug_waits(struct apus_shard *s)
{
	if (!s->current) {
		char text[APUS_SYMBOL_TEXT_SIZE];

		apus_log(ERROR, "debug: a callback called what has to wait, at %s",
			 apus_symbol_text(__builtin_return_address(0), text));
	}
	apus_must(s->current);
	record_of(s->current)->since_ns = apus_shard_now(s);
}

/* --------------------------------------------------------------------------------- wrong shards */

/* The first place that is not the runtime's own. */
void apus_debug_spawn_place(const struct apus_task *t, char *out)
{
	const struct apus_debug_record *record = apus_debug_record_of(t);

	snprintf(out, APUS_SYMBOL_TEXT_SIZE, "an unknown place");
	for (uint32_t i = 0; record && i < record->frames_count; i++) {
		apus_symbol_text(record->frames[i], out);
		if (!strstr(out, "spawn"))
			return;
	}
}

int apus_wrong_shard(const struct apus_task *t, const char *what, const void *place)
{
	const struct apus_shard *here = apus_shard_current;
	char called[APUS_SYMBOL_TEXT_SIZE], spawned[APUS_SYMBOL_TEXT_SIZE];

	if (!t->shard->is_debug && !(here && here->is_debug))
		return -EXDEV;
	apus_debug_spawn_place(t, spawned);
	apus_log(ERROR,
		 "debug: %s of %s from another shard than its own: called at %s, spawned at %s",
		 what, apus_task_name(t), apus_symbol_text(place, called), spawned);
	return -EXDEV;
}

int apus_wait_check_slow(const struct apus_list *queue)
{
	const struct apus_task *first;

	first = apus_list_entry(queue->next, struct apus_wait, link)->task;
	if (!first || first->shard == apus_shard_current)
		return 0;
	return apus_wrong_shard(first, "a wait for the same as", __builtin_return_address(0));
}

void apus_debug_wakes_elsewhere(const struct apus_task *t, const void *place)
{
	(void)apus_wrong_shard(t, "wake", place);
	apus_must(pthread_equal(t->shard->thread, pthread_self()));
}

/* ------------------------------------------------------------------------------------- deadlock */

/* A timer, a descriptor, a call on a thread, a thread that holds the inbox, what pollers look at. */
static bool can_be_waked(struct apus_shard *s)
{
	struct apus_list *it;

	if (s->wheel.armed || s->watched || s->outside ||
	    atomic_load_explicit(&s->inbox->refs, memory_order_relaxed) > 1)
		return true;
	apus_list_for_each(it, &s->pollers) {
		struct apus_poller *p = apus_list_entry(it, struct apus_poller, link);

		if (!p->type->is_silent || !p->type->is_silent(p))
			return true;
	}
	return false;
}

void apus_debug_sleeps(struct apus_shard *s)
{
	if (can_be_waked(s) || s->said_deadlock || !s->tasks_live)
		return;
	s->said_deadlock = true;
	apus_log(WARN,
		 "debug: deadlock: nothing is ready, no timer is armed and no I/O is awaited, so "
		 "only a signal or another thread can wake the tasks that wait:");
	apus_shard_dump_tree(s, stderr, APUS_DUMP_STACKS);
}

/* ---------------------------------------------------------------------------------------- leaks */

struct telling {
	const char *what;
	size_t told;
};

static void tell_task(void *object, void *arg)
{
	const struct apus_task *t = object;
	const struct apus_debug_record *record = apus_debug_record_of(t);
	struct telling *telling = arg;

	if (telling->told++ >= handles_told_max)
		return;
	apus_log(WARN,
		 "debug: %s was neither awaited nor detached; it ended with %lld and was spawned "
		 "by %s at:",
		 apus_task_name(t), (long long)t->result, record->owners);
	apus_backtrace_print(stderr, record->frames, record->frames_count, 2);
}

void apus_debug_report_leaks(struct apus_shard *s)
{
	struct telling telling = {0};

	if (!s->is_debug)
		return;
	if (s->tasks_live) {
		apus_log(ERROR, "debug: tasks are left at the end of their shard:");
		apus_shard_dump_tree(s, stderr, APUS_DUMP_STACKS);
		return;
	}
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		apus_stack_pool_each_used(&s->pools[i], tell_task, &telling);
	if (telling.told > handles_told_max)
		apus_log(WARN, "debug: and %zu more like these", telling.told - handles_told_max);
}

void apus_debug_report_heap(const struct apus_shard *s)
{
	if (s->is_debug && s->heap.live)
		apus_log(WARN, "debug: %llu objects of the shard's heap were not given back",
			 (unsigned long long)s->heap.live);
}
