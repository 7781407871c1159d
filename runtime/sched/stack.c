/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/stack.c: slabs of stacks.
 *
 * One mapping holds many stacks, with a guard page under each: MADV_GUARD_INSTALL (Linux 6.13)
 * where the kernel has it, because it costs no mapping and so a million stacks fit under
 * vm.max_map_count; mprotect() else. Tops are coloured: at the same offset of their pages all
 * stacks would fight for the same few sets of the L1 cache.
 */
#include "runtime/sched/stack.h"

#include "runtime/base/check.h"
#include "runtime/base/log.h"

#include <sys/mman.h>

#if defined(APUS_HAVE_VALGRIND)
# include <valgrind/valgrind.h>
#else
# define VALGRIND_STACK_REGISTER(start, end) 0
# define VALGRIND_STACK_DEREGISTER(id)       (void)(id)
#endif

#if APUS_ASAN
# include <sanitizer/asan_interface.h>
#endif

#ifndef MADV_GUARD_INSTALL
# define MADV_GUARD_INSTALL 102
#endif

static const size_t page_bytes = 4096;
static const size_t stack_bytes_min = 16 * 1024;
static const size_t slab_bytes_aim = 16 * 1024 * 1024;
static const size_t colours = 29;       /* prime, so that strides of the caller do not fold it */
static const size_t trim_at_once = 256; /* stacks per call: bounds the time of one idle moment */

struct apus_stack_slab {
	struct apus_stack_slab *next;
	char *base;
	size_t stacks; /* room for */
	size_t carved; /* given out at least once */
};

static size_t round_up(size_t value, size_t to)
{
	return (value + to - 1) & ~(to - 1);
}

void apus_stack_pool_init(struct apus_stack_pool *pool, size_t stack_bytes, size_t object_bytes)
{
	size_t bytes = stack_bytes_min;

	while (bytes < stack_bytes)
		bytes *= 2;
	*pool = (struct apus_stack_pool){
		.stack_bytes = bytes,
		.object_bytes = round_up(object_bytes, APUS_CACHE_LINE),
	};
	apus_must_op(pool->object_bytes, <, page_bytes / 2);
}

/* The slab's own record stands in its first page, above nothing: stacks begin after it. */
static struct apus_stack_slab *slab_open(size_t stack_bytes)
{
	size_t stacks = apus_max(slab_bytes_aim / stack_bytes, (size_t)1);
	char *base = mmap(NULL, page_bytes + stacks * stack_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
#if APUS_ASAN
	/* What an earlier mapping at this place left behind. */
	ASAN_UNPOISON_MEMORY_REGION(base, page_bytes + stacks * stack_bytes);
#endif
	/* A huge page would make a 4 KiB stack cost 2 MiB. */
	(void)madvise(base, page_bytes + stacks * stack_bytes, MADV_NOHUGEPAGE);

	struct apus_stack_slab *slab = (struct apus_stack_slab *)(void *)base;

	*slab = (struct apus_stack_slab){.base = base + page_bytes, .stacks = stacks};
	return slab;
}

void apus_stack_pool_fini(struct apus_stack_pool *pool, void (*drop)(void *object))
{
	while (pool->slabs) {
		struct apus_stack_slab *slab = pool->slabs;

		for (size_t i = 0; drop && i < slab->carved; i++)
			drop(apus_stack_object(pool, slab->base + i * pool->stack_bytes));
		pool->slabs = slab->next;
		apus_must(munmap(slab, page_bytes + slab->stacks * pool->stack_bytes) == 0);
	}
}

void *apus_stack_object(const struct apus_stack_pool *pool, char *base)
{
	size_t index = (size_t)((uintptr_t)base / pool->stack_bytes);
	size_t colour = index % colours * APUS_CACHE_LINE;

	return base + pool->stack_bytes - colour - pool->object_bytes;
}

static bool guard(char *page)
{
	return madvise(page, page_bytes, MADV_GUARD_INSTALL) == 0 ||
	       mprotect(page, page_bytes, PROT_NONE) == 0;
}

/* The next stack of the newest slab that never was in use. */
static APUS_COLD struct apus_stack *carve(struct apus_stack_pool *pool)
{
	struct apus_stack_slab *slab = pool->slabs;

	if (!slab || slab->carved == slab->stacks) {
		slab = slab_open(pool->stack_bytes);
		if (!slab)
			return NULL;
		slab->next = pool->slabs;
		pool->slabs = slab;
	}

	char *base = slab->base + slab->carved * pool->stack_bytes;

	if (!guard(base)) {
		apus_log(WARN,
			 "stack: no more guard pages; raise vm.max_map_count, or run Linux 6.13, "
			 "which has cheaper ones");
		return NULL;
	}
	slab->carved++;

	struct apus_stack *stack = apus_stack_object(pool, base);

	stack->base = base;
	stack->bytes = (uint32_t)pool->stack_bytes;
	stack->valgrind_id = VALGRIND_STACK_REGISTER(base, base + pool->stack_bytes);
	return stack;
}

static inline struct apus_stack *list_pop(struct apus_stack **list)
{
	struct apus_stack *stack = *list;

	if (stack)
		*list = stack->next;
	return stack;
}

void *apus_stack_get(struct apus_stack_pool *pool)
{
	struct apus_stack *stack = list_pop(&pool->hot);

	if (apus_unlikely(!stack))
		stack = list_pop(&pool->aging);
	if (apus_unlikely(!stack))
		stack = list_pop(&pool->cold);
	if (apus_unlikely(!stack))
		stack = carve(pool);
	if (apus_unlikely(!stack))
		return NULL;
	pool->used++;
#if APUS_ASAN
	/* The last frames of the task before never returned, and left their red zones behind. */
	ASAN_UNPOISON_MEMORY_REGION(stack->base + page_bytes, stack->bytes - page_bytes);
#endif
	return stack;
}

/* Keeps the pages that the object touches: all colours lie in the last one. */
static void trim(struct apus_stack_pool *pool, struct apus_stack *stack)
{
	unsigned char resident[64];
	char *low = stack->base + page_bytes;
	size_t bytes = pool->stack_bytes - 2 * page_bytes;
	size_t looked_at = apus_min(bytes / page_bytes, sizeof(resident)), deepest = looked_at;

	/* Deep stacks only ever have their upper part looked at; all of it is given back. */
	if (mincore(low + bytes - looked_at * page_bytes, looked_at * page_bytes, resident) == 0)
		for (deepest = 0; deepest < looked_at && !(resident[deepest] & 1);)
			deepest++;
	if (deepest == looked_at)
		return;
	pool->high_water_bytes =
		apus_max(pool->high_water_bytes, (looked_at - deepest + 1) * page_bytes);
	(void)madvise(low, bytes, MADV_DONTNEED);
}

bool apus_stack_pool_trim(struct apus_stack_pool *pool)
{
	struct apus_stack *stack;

	for (size_t i = 0; i < trim_at_once && (stack = list_pop(&pool->aging)); i++) {
		trim(pool, stack);
		stack->next = pool->cold;
		pool->cold = stack;
	}
	if (!pool->aging) {
		pool->aging = pool->hot;
		pool->hot = NULL;
	}
	return pool->aging;
}

bool apus_stack_pool_guards(const struct apus_stack_pool *pool, const void *address, char **base)
{
	const char *at = address;

	for (const struct apus_stack_slab *slab = pool->slabs; slab; slab = slab->next) {
		if (at < slab->base || at >= slab->base + slab->carved * pool->stack_bytes)
			continue;

		size_t offset = (size_t)(at - slab->base);

		*base = slab->base + offset / pool->stack_bytes * pool->stack_bytes;
		return offset % pool->stack_bytes < page_bytes;
	}
	return false;
}

/* Sizes are powers of two: their lowest bit is free to say that a stack lies in one of the lists. */
static void mark(struct apus_stack *list)
{
	for (; list; list = list->next)
		list->bytes ^= 1;
}

static void mark_free(struct apus_stack_pool *pool)
{
	mark(pool->hot);
	mark(pool->aging);
	mark(pool->cold);
}

void apus_stack_pool_each_used(struct apus_stack_pool *pool, void (*visit)(void *object, void *arg),
			       void *arg)
{
	mark_free(pool);
	for (struct apus_stack_slab *slab = pool->slabs; slab; slab = slab->next)
		for (size_t i = 0; i < slab->carved; i++) {
			struct apus_stack *stack =
				apus_stack_object(pool, slab->base + i * pool->stack_bytes);

			if (!(stack->bytes & 1))
				visit(stack, arg);
		}
	mark_free(pool);
}
