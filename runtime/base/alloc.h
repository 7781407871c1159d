/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/alloc.h: memory: a heap per shard, and slabs of one size.
 *
 * A heap is a jemalloc arena with a thread cache of its own, so that shards do not meet in the
 * allocator. Under ASan the heap is malloc, so that every object is watched. Tests make the n-th
 * allocation fail with apus_heap_fail_after().
 */
#ifndef APUS_RUNTIME_BASE_ALLOC_H
#define APUS_RUNTIME_BASE_ALLOC_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_heap {
	int flags;          /* jemalloc's: arena and thread cache */
	unsigned int arena; /* jemalloc's number of the arena */
	unsigned int cache; /* and of its thread cache */
	int64_t fail_after; /* this many allocations succeed, then each fails; < 0: none fails */
	uint64_t live;      /* objects allocated and not freed: 0 when nothing leaked */
};

/** apus_heap_init - Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_heap_init(struct apus_heap *heap);
/** apus_heap_fini - every object must have been freed */
void apus_heap_fini(struct apus_heap *heap);

/** apus_heap_alloc - @bytes > 0, aligned to 16, not zeroed. Return: the memory, NULL. Context: any */
APUS_MUST_CHECK void *apus_heap_alloc(struct apus_heap *heap, size_t bytes);
/** apus_heap_zalloc - as apus_heap_alloc(), zeroed */
APUS_MUST_CHECK void *apus_heap_zalloc(struct apus_heap *heap, size_t bytes);
/** apus_heap_alloc_aligned - as apus_heap_alloc(), aligned to @align, a power of two */
APUS_MUST_CHECK void *apus_heap_alloc_aligned(struct apus_heap *heap, size_t bytes, size_t align);
/** apus_heap_realloc - as realloc(3): on failure @p stays as it was */
APUS_MUST_CHECK void *apus_heap_realloc(struct apus_heap *heap, void *p, size_t bytes);
/** apus_heap_free - NULL does nothing */
void apus_heap_free(struct apus_heap *heap, void *p);

/** apus_heap_fail_after - the next @n allocations succeed, later ones fail; < 0 ends it */
static inline void apus_heap_fail_after(struct apus_heap *heap, int64_t n)
{
	heap->fail_after = n;
}

/*
 * Objects of one size, at most `limit` of them, from chunks of the heap that are kept for reuse.
 * The last one freed is the first one given: it is the one in the cache.
 */
struct apus_slab {
	struct apus_heap *heap;
	void *free;     /* chain through the first word of free objects */
	void *chunks;   /* chain of chunks, freed by fini */
	size_t bytes;   /* of one object, rounded up to the cache line when it is larger */
	uint32_t limit; /* objects at most */
	uint32_t used;  /* objects given out */
	uint32_t made;  /* objects carved from chunks so far */
};

/** apus_slab_init - of objects of @bytes, at most @limit; takes no memory yet; borrows @heap until fini */
void apus_slab_init(struct apus_slab *slab, struct apus_heap *heap, size_t bytes, uint32_t limit);
/** apus_slab_fini - every object must have been put back */
void apus_slab_fini(struct apus_slab *slab);
/** apus_slab_get - not zeroed. Return: an object, NULL at the limit or out of memory */
APUS_MUST_CHECK void *apus_slab_get(struct apus_slab *slab);
/** apus_slab_put - give an object back that apus_slab_get() gave */
void apus_slab_put(struct apus_slab *slab, void *object);

APUS_END_DECLS

#endif
