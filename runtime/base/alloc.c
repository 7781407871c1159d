/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/alloc.c: a jemalloc arena per heap, and slabs on top of it.
 */
#include "runtime/base/alloc.h"

#include "runtime/base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if APUS_ASAN || APUS_TSAN

/* The sanitizer's own malloc, so that it sees every object by itself. */
static int arena_open(struct apus_heap *heap)
{
	return 0;
}

static void arena_close(struct apus_heap *heap)
{
}

static void *arena_alloc(struct apus_heap *heap, size_t bytes, size_t align)
{
	void *p = NULL;

	return posix_memalign(&p, apus_max(align, sizeof(void *)), bytes) ? NULL : p;
}

static void *arena_realloc(struct apus_heap *heap, void *p, size_t bytes)
{
	return realloc(p, bytes);
}

static void arena_free(struct apus_heap *heap, void *p)
{
	free(p);
}

#else

# include <jemalloc/jemalloc.h>
# include <pthread.h>
# include <stdio.h>

/* jemalloc never quite gives a destroyed arena's memory back: empty ones are used again. */
static struct {
	pthread_mutex_t lock;
	size_t count;
	unsigned int arenas[64];
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool take_spare(unsigned int *arena)
{
	pthread_mutex_lock(&spare.lock);

	bool found = spare.count > 0;

	if (found)
		*arena = spare.arenas[--spare.count];
	pthread_mutex_unlock(&spare.lock);
	return found;
}

static bool keep_spare(unsigned int arena)
{
	pthread_mutex_lock(&spare.lock);

	bool room = spare.count < apus_countof(spare.arenas);

	if (room)
		spare.arenas[spare.count++] = arena;
	pthread_mutex_unlock(&spare.lock);
	return room;
}

static int arena_open(struct apus_heap *heap)
{
	size_t size = sizeof(heap->arena);

	if (!take_spare(&heap->arena) && mallctl("arenas.create", &heap->arena, &size, NULL, 0))
		return -ENOMEM;
	size = sizeof(heap->cache);
	if (mallctl("tcache.create", &heap->cache, &size, NULL, 0))
		return -ENOMEM;
	heap->flags = (int)(MALLOCX_ARENA(heap->arena) | MALLOCX_TCACHE(heap->cache));
	return 0;
}

/* An arena with objects that outlive the heap is left alone: destroyed, it would take them along. */
static void arena_close(struct apus_heap *heap)
{
	char name[48];

	mallctl("tcache.destroy", NULL, NULL, &heap->cache, sizeof(heap->cache));
	if (heap->live || keep_spare(heap->arena))
		return;
	snprintf(name, sizeof(name), "arena.%u.destroy", heap->arena);
	mallctl(name, NULL, NULL, NULL, 0);
}

static void *arena_alloc(struct apus_heap *heap, size_t bytes, size_t align)
{
	return mallocx(bytes, heap->flags | (align > 16 ? MALLOCX_ALIGN(align) : 0));
}

static void *arena_realloc(struct apus_heap *heap, void *p, size_t bytes)
{
	return rallocx(p, bytes, heap->flags);
}

static void arena_free(struct apus_heap *heap, void *p)
{
	dallocx(p, heap->flags);
}

#endif

int apus_heap_init(struct apus_heap *heap)
{
	*heap = (struct apus_heap){.fail_after = -1};
	return arena_open(heap);
}

void apus_heap_fini(struct apus_heap *heap)
{
	arena_close(heap);
}

static bool must_fail(struct apus_heap *heap)
{
	if (apus_likely(heap->fail_after < 0))
		return false;
	if (heap->fail_after == 0)
		return true;
	heap->fail_after--;
	return false;
}

void *apus_heap_alloc_aligned(struct apus_heap *heap, size_t bytes, size_t align)
{
	apus_assert(bytes > 0);
	if (must_fail(heap))
		return NULL;

	void *p = arena_alloc(heap, bytes, align);

	heap->live += p != NULL;
	return p;
}

void *apus_heap_alloc(struct apus_heap *heap, size_t bytes)
{
	return apus_heap_alloc_aligned(heap, bytes, 16);
}

void *apus_heap_zalloc(struct apus_heap *heap, size_t bytes)
{
	void *p = apus_heap_alloc(heap, bytes);

	return p ? memset(p, 0, bytes) : NULL;
}

void *apus_heap_realloc(struct apus_heap *heap, void *p, size_t bytes)
{
	if (!p)
		return apus_heap_alloc(heap, bytes);
	apus_assert(bytes > 0);
	return must_fail(heap) ? NULL : arena_realloc(heap, p, bytes);
}

void apus_heap_free(struct apus_heap *heap, void *p)
{
	if (!p)
		return;
	apus_assert(heap->live > 0);
	heap->live--;
	arena_free(heap, p);
}

/* ------------------------------------------------------------------------------------ slabs */

/*
 * With its head: size classes of jemalloc's, so that nothing is lost at a chunk's end. Each costs a
 * page beside; a slab of many objects therefore grows by large ones.
 */
static const size_t chunk_bytes = 32768, chunk_bytes_large = 262144;

struct chunk {
	struct chunk *next;
};

void apus_slab_init(struct apus_slab *slab, struct apus_heap *heap, size_t bytes, uint32_t limit)
{
	size_t align = bytes >= APUS_CACHE_LINE ? APUS_CACHE_LINE : 16;

	apus_must(bytes > 0 && limit > 0);
	*slab = (struct apus_slab){
		.heap = heap,
		.bytes = (bytes + align - 1) & ~(align - 1),
		.limit = limit,
	};
}

void apus_slab_fini(struct apus_slab *slab)
{
	apus_must_op(slab->used, ==, 0);
	while (slab->chunks) {
		struct chunk *chunk = slab->chunks;

		slab->chunks = chunk->next;
		apus_heap_free(slab->heap, chunk);
	}
	slab->free = NULL;
}

static void *next_free(const void *object)
{
	void *next;

	memcpy(&next, object, sizeof(next));
	return next;
}

static void chain(struct apus_slab *slab, void *object)
{
	memcpy(object, &slab->free, sizeof(slab->free));
	slab->free = object;
}

static APUS_COLD bool grow(struct apus_slab *slab)
{
	bool is_large = slab->made * slab->bytes >= chunk_bytes_large;
	size_t room = (is_large ? chunk_bytes_large : chunk_bytes) - APUS_CACHE_LINE;
	uint32_t fit = (uint32_t)apus_max(room / slab->bytes, 1U);
	uint32_t n = apus_min(fit, slab->limit - slab->made);

	if (!n)
		return false;

	struct chunk *chunk = apus_heap_alloc_aligned(slab->heap, APUS_CACHE_LINE + n * slab->bytes,
						      APUS_CACHE_LINE);

	if (!chunk)
		return false;
	chunk->next = slab->chunks;
	slab->chunks = chunk;
	slab->made += n;
	while (n-- > 0)
		chain(slab, (char *)chunk + APUS_CACHE_LINE + n * slab->bytes);
	return true;
}

void *apus_slab_get(struct apus_slab *slab)
{
	if (apus_unlikely(!slab->free) && !grow(slab))
		return NULL;

	void *object = slab->free;

	slab->free = next_free(object);
	slab->used++;
	return object;
}

void apus_slab_put(struct apus_slab *slab, void *object)
{
	apus_assert(slab->used > 0);
	slab->used--;
	chain(slab, object);
}
