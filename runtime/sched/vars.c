/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/vars.c: snapshots of context variables.
 */
#include "runtime/sched/vars.h"

#include "runtime/base/check.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <string.h>

/* So few are found faster one by one than by halving: the branches can be predicted. */
static const uint32_t scan_max = 8;

void apus_vars_free(struct apus_vars *v)
{
	apus_heap_free(v->heap, v);
}

/* The first entry whose key is not smaller. */
static uint32_t place_of(const struct apus_vars *v, const void *key)
{
	uint32_t low = 0, high = v ? v->count : 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if ((uintptr_t)v->entries[middle].key < (uintptr_t)key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct apus_vars *v, uint32_t place, const void *key)
{
	return v && place < v->count && v->entries[place].key == key;
}

bool apus_vars_find(const struct apus_vars *v, const void *key, void **value)
{
	if (v && v->count <= scan_max) {
		for (uint32_t i = 0; i < v->count; i++)
			if (v->entries[i].key == key) {
				*value = v->entries[i].value;
				return true;
			}
		return false;
	}

	uint32_t place = place_of(v, key);

	if (!is_at(v, place, key))
		return false;
	*value = v->entries[place].value;
	return true;
}

/* A snapshot of one's own with room for @count entries, the old ones in it, in place of *at. */
static int own(struct apus_vars **at, struct apus_heap *heap, uint32_t count)
{
	struct apus_vars *old = *at, *v;
	uint32_t kept = old ? old->count : 0;

	if (old && old->refs == 1 && count <= old->count)
		return 0;
	v = apus_heap_alloc(heap, sizeof(*v) + apus_max(count, kept) * sizeof(v->entries[0]));
	if (!v)
		return -ENOMEM;
	*v = (struct apus_vars){.refs = 1, .count = kept, .heap = heap};
	if (old)
		memcpy(v->entries, old->entries, kept * sizeof(v->entries[0]));
	apus_vars_put(old);
	*at = v;
	return 0;
}

int apus_vars_set(struct apus_vars **at, struct apus_heap *heap, const void *key, void *value)
{
	uint32_t place = place_of(*at, key), count = *at ? (*at)->count : 0;
	bool is_new = !is_at(*at, place, key);

	if (is_new && count == APUS_VARS_MAX)
		return -ENOSPC;

	int rc = own(at, heap, count + is_new);

	if (rc)
		return rc;

	struct apus_vars *v = *at;

	if (is_new) {
		memmove(&v->entries[place + 1], &v->entries[place],
			(v->count - place) * sizeof(v->entries[0]));
		v->count++;
	}
	v->entries[place].key = key;
	v->entries[place].value = value;
	return 0;
}

int apus_vars_unset(struct apus_vars **at, struct apus_heap *heap, const void *key)
{
	uint32_t place = place_of(*at, key);

	if (!is_at(*at, place, key))
		return 0;
	if ((*at)->count == 1) {
		apus_vars_put(*at);
		*at = NULL;
		return 0;
	}

	int rc = own(at, heap, (*at)->count);

	if (rc)
		return rc;

	struct apus_vars *v = *at;

	v->count--;
	memmove(&v->entries[place], &v->entries[place + 1],
		(v->count - place) * sizeof(v->entries[0]));
	return 0;
}

int apus_vars_copy(const struct apus_vars *theirs, struct apus_heap *heap, struct apus_vars **out)
{
	struct apus_vars *v = NULL;

	if (theirs) {
		size_t bytes = theirs->count * sizeof(v->entries[0]);

		v = apus_heap_alloc(heap, sizeof(*v) + bytes);
		if (!v)
			return -ENOMEM;
		*v = (struct apus_vars){.refs = 1, .count = theirs->count, .heap = heap};
		memcpy(v->entries, theirs->entries, bytes);
	}
	*out = v;
	return 0;
}

struct apus_vars **apus_vars_current(struct apus_shard *s)
{
	return s->current ? &s->current->vars : &s->work_vars;
}
