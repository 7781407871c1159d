/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/misuse.h: whose an object is, and what is said of its misuse.
 *
 * For whoever builds a primitive. Misuse returns an error and changes nothing; in debug mode one
 * sentence names two places: where it happened, and where the object was last used well.
 *
 * An object belongs to the shard that it was initialised on, or else, when that was none, to the one
 * whose task first had to wait for it (as asyncio binds a primitive to a loop). That is compared where
 * a call is about to wait, and in debug mode by every call.
 */
#ifndef APUS_RUNTIME_SCHED_MISUSE_H
#define APUS_RUNTIME_SCHED_MISUSE_H

#include "runtime/base/compiler.h"

#include <errno.h>

APUS_BEGIN_DECLS

struct apus_shard;
struct apus_task;

/* The shard of this thread; written by apus_shard_enter(). */
extern apus_thread_local struct apus_shard *apus_shard_current;

/* Some shard of the process is, or was, in debug mode. */
extern bool apus_debug_on;

/** apus_is_debug - is, or was, some shard of the process in debug mode? Context: any */
static inline bool apus_is_debug(void)
{
	return apus_unlikely(__atomic_load_n(&apus_debug_on, __ATOMIC_RELAXED));
}

/* ---- notes: what was last done to an object; called in debug mode only ---- */

/** apus_note_at - remember that the running task did @verb ("released") to @object, at @place. Context: any */
APUS_COLD void apus_note_at(const void *object, const char *verb, const void *place);
/** apus_noted_by - the id of the task that last did @verb to @object; 0: not known, or something was done since. Context: any */
APUS_COLD uint64_t apus_noted_by(const void *object, const char *verb);

/** apus_misuse_at - in debug mode say that @what ("release of a lock that is not locked") happened at @place, and what was last done to @object, where. Return: @error. Context: any */
APUS_COLD int apus_misuse_at(int error, const void *object, const char *what, const void *place);
/** apus_task_misuse_at - the same of a task, with where it was spawned. Return: @error. Context: any */
APUS_COLD int apus_task_misuse_at(int error, const struct apus_task *t, const char *what,
				  const void *place);

/* In a public function: the place is the one that it was called from. */
#define apus_note(object, verb) \
 (apus_is_debug() ? apus_note_at(object, verb, __builtin_return_address(0)) : (void)0)
#define apus_misuse(error, object, what) \
 apus_misuse_at(error, object, what, __builtin_return_address(0))
#define apus_task_misuse(error, t, what) \
 apus_task_misuse_at(error, t, what, __builtin_return_address(0))

/* ---- whose it is: the member `uint32_t home` of an object; 0: nobody's yet ---- */

/** apus_home_here - what stands for this shard; 0 on none. Context: any */
static inline uint32_t apus_home_here(void)
{
	return (uint32_t)((uintptr_t)apus_shard_current / 64); /* shards are that aligned */
}

/** apus_home_check_slow - binds what is nobody's. Return: 0, -EXDEV */
APUS_COLD int apus_home_check_slow(uint32_t *home, const void *object, const char *what,
				   const void *place);

#define apus_home_is_here(object) ((object)->home == apus_home_here())

/* Before a task waits: 0, or -EXDEV; @what is the call and the kind of object: "acquire of a lock". */
#define apus_home_check_at(object, what, place) \
 (apus_likely(apus_home_is_here(object))        \
	  ? 0                                   \
	  : apus_home_check_slow(&(object)->home, object, what, place))
#define apus_home_check(object, what) apus_home_check_at(object, what, __builtin_return_address(0))

/* In calls that never wait: looked at in debug mode only. */
#define apus_home_check_debug(object, what) \
 (apus_is_debug() && (object)->home ? apus_home_check(object, what) : 0)

/** apus_task_check_home_at - is @t this shard's, or NULL? @what: "wait". Context: any. Return: 0, -EXDEV */
APUS_MUST_CHECK int apus_task_check_home_at(const struct apus_task *t, const char *what,
					    const void *place);
#define apus_task_check_home(t, what) apus_task_check_home_at(t, what, __builtin_return_address(0))

/* ---- scopes: time limits and groups end in the order opposite to the one they began in ---- */

/** apus_scope_begin - of the running task. Return: its depth, > 0. Context: task */
uint16_t apus_scope_begin(void);
/** apus_scope_end - @place: of the end. Return: 0; -EINVAL: not the innermost that is open; those inside of it count as left. Context: the task that began it */
int apus_scope_end(uint16_t depth, const void *place);
/** apus_scope_note - in debug mode: the scope of @depth was begun at @place */
APUS_COLD void apus_scope_note(uint16_t depth, const void *place);

APUS_END_DECLS

#endif
