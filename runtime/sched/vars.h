/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/vars.h: the context variables of a task or a callback.
 *
 * Internal. A snapshot is a counted, sorted array: taking one is a count, changing one that others
 * hold copies it. NULL is the snapshot in which nothing is set, which is what most tasks have.
 */
#ifndef APUS_RUNTIME_SCHED_VARS_H
#define APUS_RUNTIME_SCHED_VARS_H

#include "runtime/base/alloc.h"

struct apus_shard;

#define APUS_VARS_MAX 256 /* variables set in one context */

struct apus_vars {
	uint32_t refs;
	uint32_t count;
	struct apus_heap *heap;
	struct apus_vars_entry {
		const void *key; /* struct apus_context_var; sorted */
		void *value;
	} entries[];
};

static inline struct apus_vars *apus_vars_get(struct apus_vars *v)
{
	if (apus_unlikely(v != NULL))
		v->refs++;
	return v;
}

void apus_vars_free(struct apus_vars *v);

static inline void apus_vars_put(struct apus_vars *v)
{
	if (apus_unlikely(v != NULL) && --v->refs == 0)
		apus_vars_free(v);
}

/** apus_vars_find - Return: false if @key is not set */
bool apus_vars_find(const struct apus_vars *v, const void *key, void **value);
/** apus_vars_set - in the snapshot at @at, which is copied first if others hold it. Return: 0, -ENOMEM, -ENOSPC */
APUS_MUST_CHECK int apus_vars_set(struct apus_vars **at, struct apus_heap *heap, const void *key,
				  void *value);
/** apus_vars_unset - Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_vars_unset(struct apus_vars **at, struct apus_heap *heap, const void *key);

/** apus_vars_copy - of another shard's, who does not change them meanwhile; NULL: NULL. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_vars_copy(const struct apus_vars *theirs, struct apus_heap *heap,
				   struct apus_vars **out);

/** apus_vars_current - where the running task or callback keeps its own. Context: on a shard */
struct apus_vars **apus_vars_current(struct apus_shard *s);

#endif
