/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/misuse.c: notes of what was last done to objects, and the sentences about misuse.
 *
 * The notes are kept beside the objects, so that those are no larger for it: a table of the process,
 * made with the first note, of four places for each hash. A note that had to make room is forgotten;
 * then one of the places in a sentence is unknown.
 */
#include "runtime/sched/misuse.h"

#include "runtime/base/log.h"
#include "runtime/sched/backtrace.h"
#include "runtime/sched/debug.h"
#include "runtime/sched/internal.h"

#include <stdlib.h>
#include <string.h>

static_assert(APUS_CACHE_LINE == 64, "apus_home_here() divides by it");

enum {
	SETS = 4096,
	WAYS = 4,
};

struct note {
	const void *object;
	const char *verb;
	const void *place;
	uint64_t task_id; /* 0: a callback */
	uint64_t seq;     /* the smallest of a set is forgotten first */
	char task_name[APUS_TASK_NAME_BYTES];
};

/* Shards of several threads may be in debug mode. */
static struct {
	pthread_mutex_t lock;
	struct note (*sets)[WAYS]; /* for the life of the process */
	uint64_t seq;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---------------------------------------------------------------------------------------- notes */

static struct note *set_of(const void *object)
{
	uint64_t hash = (uint64_t)(uintptr_t)object * UINT64_C(0x9e3779b97f4a7c15);

	return notes.sets ? notes.sets[hash >> 52] : NULL;
}

static_assert(SETS == 1 << (64 - 52), "set_of() takes so many bits");

static struct note *find(const void *object)
{
	struct note *set = set_of(object);

	for (int i = 0; set && i < WAYS; i++)
		if (set[i].object == object)
			return &set[i];
	return NULL;
}

static struct note *find_oldest(const void *object)
{
	struct note *set = set_of(object), *oldest = set;

	for (int i = 1; set && i < WAYS; i++)
		if (set[i].seq < oldest->seq)
			oldest = &set[i];
	return oldest;
}

void apus_note_at(const void *object, const char *verb, const void *place)
{
	const struct apus_task *self = apus_task_self();

	pthread_mutex_lock(&notes.lock);
	if (!notes.sets)
		notes.sets = calloc(SETS, sizeof(notes.sets[0]));

	struct note *n = find(object);

	if (!n)
		n = find_oldest(object);
	if (n) {
		*n = (struct note){
			.object = object,
			.verb = verb,
			.place = place,
			.task_id = apus_task_id(self),
			.seq = ++notes.seq,
		};
		if (self)
			memcpy(n->task_name, apus_task_name(self), sizeof(n->task_name));
	}
	pthread_mutex_unlock(&notes.lock);
}

/* A copy, since another thread may write it. Return: false if there is none. */
static bool read_note(const void *object, struct note *out)
{
	const struct note *n;

	pthread_mutex_lock(&notes.lock);
	n = find(object);
	if (n)
		*out = *n;
	pthread_mutex_unlock(&notes.lock);
	return n != NULL;
}

uint64_t apus_noted_by(const void *object, const char *verb)
{
	struct note note;

	return read_note(object, &note) && !strcmp(note.verb, verb) ? note.task_id : 0;
}

/* ------------------------------------------------------------------------------------ sentences */

static const char *self_name(void)
{
	const struct apus_task *self = apus_task_self();

	return self ? apus_task_name(self) : "a callback";
}

int apus_misuse_at(int error, const void *object, const char *what, const void *place)
{
	char here[APUS_SYMBOL_TEXT_SIZE], there[APUS_SYMBOL_TEXT_SIZE];
	struct note note;

	if (!apus_is_debug())
		return error;
	apus_symbol_text(place, here);
	if (read_note(object, &note))
		apus_log(ERROR, "debug: %s (%p), by %s at %s; it was %s by %s at %s", what, object,
			 self_name(), here, note.verb, note.task_id ? note.task_name : "a callback",
			 apus_symbol_text(note.place, there));
	else
		apus_log(
			ERROR,
			"debug: %s (%p), by %s at %s; of what was done to it before nothing is known",
			what, object, self_name(), here);
	return error;
}

int apus_task_misuse_at(int error, const struct apus_task *t, const char *what, const void *place)
{
	char here[APUS_SYMBOL_TEXT_SIZE], spawned[APUS_SYMBOL_TEXT_SIZE];

	if (!apus_is_debug())
		return error;
	apus_debug_spawn_place(t, spawned);
	apus_log(ERROR, "debug: %s of %s, by %s at %s; it was spawned at %s", what,
		 apus_task_name(t), self_name(), apus_symbol_text(place, here), spawned);
	return error;
}

/* --------------------------------------------------------------------------------- whose it is */

int apus_home_check_slow(uint32_t *home, const void *object, const char *what, const void *place)
{
	char text[128];

	if (*home == apus_home_here())
		return 0;
	if (!*home) {
		*home = apus_home_here();
		if (apus_is_debug())
			apus_note_at(object, "first waited for", place);
		return 0;
	}
	if (!apus_is_debug())
		return -EXDEV;
	snprintf(text, sizeof(text), "%s of another shard", what);
	return apus_misuse_at(-EXDEV, object, text, place);
}

int apus_task_check_home_at(const struct apus_task *t, const char *what, const void *place)
{
	if (apus_likely(!t || t->shard == apus_shard_current))
		return 0;
	return apus_wrong_shard(t, what, place);
}

/* --------------------------------------------------------------------------------------- scopes */

/* A place inside of the task stands for each of its scopes, innermost last. */
static const void *scope_object(const struct apus_task *t, uint16_t depth)
{
	return (const char *)t + 1 + depth % sizeof(*t);
}

uint16_t apus_scope_begin(void)
{
	return ++apus_shard_current->current->scopes;
}

int apus_scope_end(uint16_t depth, const void *place)
{
	struct apus_task *t = apus_shard_current->current;
	uint16_t open = t->scopes;

	t->scopes = apus_min(open, (uint16_t)(depth - 1));
	if (apus_likely(open == depth))
		return 0;
	if (open > depth)
		return apus_misuse_at(-EINVAL, scope_object(t, (uint16_t)(depth + 1)),
				      "end of a scope while one that began inside of it is open",
				      place);
	return apus_misuse_at(-EINVAL, scope_object(t, depth),
			      "end of a scope after the end of one that it began inside of", place);
}

void apus_scope_note(uint16_t depth, const void *place)
{
	apus_note_at(scope_object(apus_shard_current->current, depth), "begun", place);
}

void apus_scopes_left(struct apus_task *t)
{
	apus_log(ERROR, "task: %s ended inside of %u scopes that it began", apus_task_name(t),
		 (unsigned int)t->scopes);
	(void)apus_misuse_at(-EINVAL, scope_object(t, t->scopes), "end of a task inside of a scope",
			     (const void *)t->fn);
	apus_must(!"a time limit or a group on a stack that is given back");
}
