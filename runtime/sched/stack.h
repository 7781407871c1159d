/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/stack.h: pooled, guarded, coloured stacks.
 *
 * Internal. A stack is a power of two of address space; its lowest page is a guard. Its owner's
 * object (the task) lies at its top, so that an idle task costs one resident page. The pool gives
 * the one freed last, which is the one in the cache.
 */
#ifndef APUS_RUNTIME_SCHED_STACK_H
#define APUS_RUNTIME_SCHED_STACK_H

#include "runtime/base/compiler.h"

/* First member of the object at the top of its stack. */
struct apus_stack {
	struct apus_stack *next; /* in one of the pool's lists while free */
	char *base;              /* lowest byte: the guard page */
	uint32_t bytes;          /* of address space */
	uint32_t valgrind_id;
};

struct apus_stack_slab;

struct apus_stack_pool {
	size_t stack_bytes;            /* power of two */
	size_t object_bytes;           /* of the owner's object */
	struct apus_stack_slab *slabs; /* newest first */
	struct apus_stack *hot;        /* freed since the last trim */
	struct apus_stack *aging;      /* freed before it */
	struct apus_stack *cold;       /* trimmed to one page */
	size_t used;                   /* stacks given out */
	size_t high_water_bytes;       /* deepest use seen when trimming */
};

/** apus_stack_pool_init - @stack_bytes is rounded up to a power of two of at least 16 KiB */
void apus_stack_pool_init(struct apus_stack_pool *pool, size_t stack_bytes, size_t object_bytes);
/** apus_stack_pool_fini - calls @drop, if not NULL, for the object of every stack that ever was in use */
void apus_stack_pool_fini(struct apus_stack_pool *pool, void (*drop)(void *object));

/** apus_stack_get - Return: the object at the top of a stack (only its struct apus_stack is set); NULL */
APUS_MUST_CHECK void *apus_stack_get(struct apus_stack_pool *pool);
/** apus_stack_put - give it back; the caller may still stand on it until it gets another */
static inline void apus_stack_put(struct apus_stack_pool *pool, struct apus_stack *stack)
{
	stack->next = pool->hot;
	pool->hot = stack;
	pool->used--;
}

/**
 * apus_stack_pool_trim - give pages below the top one back, of stacks unused since the last call
 *
 * Return: true if there will be something to trim the next time.
 */
bool apus_stack_pool_trim(struct apus_stack_pool *pool);

/** apus_stack_pool_guards - true if @address lies in a guard page of the pool; @base is then its stack */
bool apus_stack_pool_guards(const struct apus_stack_pool *pool, const void *address, char **base);

/** apus_stack_pool_each_used - calls @visit for the object of every stack that is given out */
void apus_stack_pool_each_used(struct apus_stack_pool *pool, void (*visit)(void *object, void *arg),
			       void *arg);

/** apus_stack_object - the object at the top of the stack at @base */
void *apus_stack_object(const struct apus_stack_pool *pool, char *base);

#endif
