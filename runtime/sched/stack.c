/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/stack.c: slabs of stacks.
 *
 * One mapping holds many stacks, with a guard page under each: MADV_GUARD_INSTALL (Linux 6.13)
 * where the kernel has it, because it costs no mapping and so a million stacks fit under
 * vm.max_map_count; mprotect() else. Tops are coloured: at the same offset of their pages all
 * stacks would fight for the same few sets of the L1 cache.
 *
 * A slab begins at a multiple of its size, with its record, so that it is found from any stack. Of a
 * stack that is released nothing is resident, not even the object by which it could be in a list:
 * a bit of the slab's record stands for it. A slab all of whose stacks are released is unmapped, and
 * its page tables with it.
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
static const size_t colours = 29; /* prime, so that strides of the caller do not fold it */
enum {
	SLAB_STACKS_MAX = 1024
};

struct apus_stack_slab {
	struct apus_list all;   /* in pool->slabs */
	struct apus_list spare; /* in pool->spare */
	char *base;             /* of the first stack */
	size_t stacks;          /* room for */
	size_t carved;          /* given out at least once */
	size_t released;        /* of these */
	uint64_t is_released[SLAB_STACKS_MAX / 64];
};

static size_t round_up(size_t value, size_t to)
{
	return (value + to - 1) & ~(to - 1);
}

void apus_stack_pool_init(struct apus_stack_pool *pool, size_t stack_bytes, size_t object_bytes,
			  void (*drop)(void *object))
{
	size_t bytes = stack_bytes_min;

	while (bytes < stack_bytes)
		bytes *= 2;
	*pool = (struct apus_stack_pool){
		.stack_bytes = bytes,
		.object_bytes = round_up(object_bytes, APUS_CACHE_LINE),
		.drop = drop,
	};
	apus_list_init(&pool->slabs);
	apus_list_init(&pool->spare);
	apus_must_op(pool->object_bytes, <, page_bytes / 2);
}

/* Of address space; a power of two. */
static size_t slab_bytes_of(const struct apus_stack_pool *pool)
{
	return apus_max(slab_bytes_aim, 2 * pool->stack_bytes);
}

static struct apus_stack_slab *slab_of(const struct apus_stack_pool *pool, char *base)
{
	return (struct apus_stack_slab *)(void *)(base - (uintptr_t)base % slab_bytes_of(pool));
}

/* What an earlier mapping at this place left behind, or would leave. */
static void unpoison(APUS_UNUSED char *at, APUS_UNUSED size_t bytes)
{
#if APUS_ASAN
	ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#endif
}

/* @bytes of address space, at a multiple of @bytes. */
static char *map_aligned(size_t bytes)
{
	char *at = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (at == MAP_FAILED)
		return NULL;

	size_t before = (bytes - (uintptr_t)at % bytes) % bytes;

	if (before)
		apus_must(munmap(at, before) == 0);
	apus_must(munmap(at + before + bytes, bytes - before) == 0);
	return at + before;
}

/* The record has the place of the first stack. */
static struct apus_stack_slab *slab_open(struct apus_stack_pool *pool)
{
	size_t bytes = slab_bytes_of(pool);
	char *at = map_aligned(bytes);

	if (!at)
		return NULL;
	unpoison(at, bytes);
	/* A huge page would make a 4 KiB stack cost 2 MiB. */
	(void)madvise(at, bytes, MADV_NOHUGEPAGE);

	struct apus_stack_slab *slab = (struct apus_stack_slab *)(void *)at;

	*slab = (struct apus_stack_slab){
		.base = at + pool->stack_bytes,
		.stacks = bytes / pool->stack_bytes - 1,
	};
	apus_must_op(slab->stacks, <=, (size_t)SLAB_STACKS_MAX);
	apus_list_init(&slab->spare);
	apus_list_push_front(&pool->slabs, &slab->all);
	return slab;
}

static void slab_close(struct apus_stack_pool *pool, struct apus_stack_slab *slab)
{
	apus_list_remove(&slab->spare);
	apus_list_unlink(&slab->all);
	unpoison((char *)slab, slab_bytes_of(pool));
	apus_must(munmap(slab, slab_bytes_of(pool)) == 0);
}

static bool is_released(const struct apus_stack_slab *slab, size_t i)
{
	return slab->is_released[i / 64] >> i % 64 & 1;
}

void apus_stack_pool_fini(struct apus_stack_pool *pool)
{
	while (!apus_list_empty(&pool->slabs)) {
		struct apus_stack_slab *slab =
			apus_list_entry(pool->slabs.next, struct apus_stack_slab, all);

		for (size_t i = 0; pool->drop && i < slab->carved; i++)
			if (!is_released(slab, i))
				pool->drop(apus_stack_object(pool,
							     slab->base + i * pool->stack_bytes));
		slab_close(pool, slab);
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

/* A stack that was not in use before, or of which nothing is left. */
static struct apus_stack *furnish(struct apus_stack_pool *pool, char *base)
{
	struct apus_stack *stack = apus_stack_object(pool, base);

	stack->base = base;
	stack->bytes = (uint32_t)pool->stack_bytes;
	stack->valgrind_id = VALGRIND_STACK_REGISTER(base, base + pool->stack_bytes);
	return stack;
}

/* One that was released; NULL without any. */
static APUS_COLD struct apus_stack *take_back(struct apus_stack_pool *pool)
{
	if (apus_list_empty(&pool->spare))
		return NULL;

	struct apus_stack_slab *slab =
		apus_list_entry(pool->spare.next, struct apus_stack_slab, spare);
	size_t word = 0;

	while (!slab->is_released[word])
		word++;

	size_t bit = (size_t)__builtin_ctzll(slab->is_released[word]);

	slab->is_released[word] &= slab->is_released[word] - 1;
	if (!--slab->released)
		apus_list_remove(&slab->spare);
	return furnish(pool, slab->base + (word * 64 + bit) * pool->stack_bytes);
}

/* The next stack of the newest slab that never was in use. */
static APUS_COLD struct apus_stack *carve(struct apus_stack_pool *pool)
{
	struct apus_stack_slab *slab =
		apus_list_entry(pool->slabs.next, struct apus_stack_slab, all);

	if (apus_list_empty(&pool->slabs) || slab->carved == slab->stacks) {
		slab = slab_open(pool);
		if (!slab)
			return NULL;
	}

	char *base = slab->base + slab->carved * pool->stack_bytes;

	if (!guard(base)) {
		apus_log(WARN,
			 "stack: no more guard pages; raise vm.max_map_count, or run Linux 6.13, "
			 "which has cheaper ones");
		return NULL;
	}
	slab->carved++;
	return furnish(pool, base);
}

static inline struct apus_stack *list_pop(struct apus_stack **list)
{
	struct apus_stack *stack = *list;

	if (stack)
		*list = stack->next;
	return stack;
}

static APUS_COLD struct apus_stack *get_slow(struct apus_stack_pool *pool)
{
	struct apus_stack *stack = list_pop(&pool->cold);

	if (stack) {
		pool->cold_count--;
		return stack;
	}
	stack = take_back(pool);
	return stack ? stack : carve(pool);
}

void *apus_stack_get(struct apus_stack_pool *pool)
{
	struct apus_stack *stack = list_pop(&pool->hot);

	if (apus_unlikely(!stack))
		stack = list_pop(&pool->aging);
	if (apus_unlikely(!stack))
		stack = get_slow(pool);
	if (apus_unlikely(!stack))
		return NULL;
	pool->used++;
	/* The last frames of the task before never returned, and left their red zones behind. */
	unpoison(stack->base + page_bytes, stack->bytes - page_bytes);
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

/* All of it, but for the guard, which stays. */
static void release(struct apus_stack_pool *pool, struct apus_stack *stack)
{
	char *base = stack->base;
	struct apus_stack_slab *slab = slab_of(pool, base);
	size_t i = (size_t)(base - slab->base) / pool->stack_bytes;

	VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
	if (pool->drop)
		pool->drop(stack);
	(void)madvise(base + page_bytes, pool->stack_bytes - page_bytes, MADV_DONTNEED);
	apus_assert(!is_released(slab, i));
	slab->is_released[i / 64] |= UINT64_C(1) << i % 64;
	if (!slab->released++)
		apus_list_push_front(&pool->spare, &slab->spare);
	if (slab->released == slab->carved)
		slab_close(pool, slab);
}

bool apus_stack_pool_trim(struct apus_stack_pool *pool, size_t most)
{
	struct apus_stack *stack;

	for (size_t i = 0; i < most && (stack = list_pop(&pool->aging)); i++) {
		if (pool->cold_count >= APUS_STACKS_KEPT && !pool->keeps_objects) {
			release(pool, stack);
			continue;
		}
		trim(pool, stack);
		stack->next = pool->cold;
		pool->cold = stack;
		pool->cold_count++;
	}
	return pool->aging;
}

bool apus_stack_pool_age(struct apus_stack_pool *pool)
{
	if (!pool->aging) {
		pool->aging = pool->hot;
		pool->hot = NULL;
	}
	return pool->aging;
}

bool apus_stack_pool_guards(const struct apus_stack_pool *pool, const void *address, char **base)
{
	const char *at = address;
	const struct apus_list *it;

	apus_list_for_each(it, &pool->slabs) {
		const struct apus_stack_slab *slab =
			apus_list_entry(it, struct apus_stack_slab, all);

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
	struct apus_list *it;

	mark_free(pool);
	apus_list_for_each(it, &pool->slabs) {
		struct apus_stack_slab *slab = apus_list_entry(it, struct apus_stack_slab, all);

		for (size_t i = 0; i < slab->carved; i++) {
			struct apus_stack *stack =
				apus_stack_object(pool, slab->base + i * pool->stack_bytes);

			if (!is_released(slab, i) && !(stack->bytes & 1))
				visit(stack, arg);
		}
	}
	mark_free(pool);
}
