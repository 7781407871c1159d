/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/stack.h: pooled, guarded, coloured stacks.
 *
 * Internal. A stack is a power of two of address space; its lowest page is a guard. Its owner's
 * object (the task) lies at its top, so that an idle task costs one resident page. The pool gives
 * the one freed last, which is the one in the cache.
 *
 * What many tasks needed once is not kept for ever: stacks that nobody took for a while are trimmed
 * to the page of their object, and when APUS_STACKS_KEPT of them are, further ones lose that, too.
 */
#ifndef APUS_RUNTIME_SCHED_STACK_H
#define APUS_RUNTIME_SCHED_STACK_H

#include "runtime/base/list.h"

#define APUS_STACKS_KEPT 256 /* trimmed ones of a pool that keep a page: 1 MiB */

/* First member of the object at the top of its stack. */
struct apus_stack {
	struct apus_stack *next; /* in one of the pool's lists while free */
	char *base;              /* lowest byte: the guard page */
	uint32_t bytes;          /* of address space */
	uint32_t valgrind_id;
};

struct apus_stack_slab;

struct apus_stack_pool {
	size_t stack_bytes;         /* power of two */
	size_t object_bytes;        /* of the owner's object */
	void (*drop)(void *object); /* NULL: an object owns nothing */
	struct apus_list slabs;     /* struct apus_stack_slab.all, newest first */
	struct apus_list spare;     /* struct apus_stack_slab.spare: they have released stacks */
	struct apus_stack *hot;     /* freed since the last age */
	struct apus_stack *aging;   /* freed before it */
	struct apus_stack *cold;    /* trimmed to one page */
	size_t cold_count;          /* of them; at most APUS_STACKS_KEPT, unless keeps_objects */
	size_t used;                /* stacks given out */
	size_t high_water_bytes;    /* deepest use seen when trimming */
	bool keeps_objects;         /* the last page of a stack is never given back */
};

/**
 * apus_stack_pool_init - an empty pool
 * @stack_bytes: rounded up to a power of two of at least 16 KiB
 * @drop:        if not NULL, called for the object of a stack that was in use before its memory goes
 */
void apus_stack_pool_init(struct apus_stack_pool *pool, size_t stack_bytes, size_t object_bytes,
			  void (*drop)(void *object));
/** apus_stack_pool_fini - all memory goes */
void apus_stack_pool_fini(struct apus_stack_pool *pool);

/** apus_stack_get - Return: the object at the top of a stack (only its struct apus_stack is set); NULL */
APUS_MUST_CHECK void *apus_stack_get(struct apus_stack_pool *pool);
/** apus_stack_put - give it back; the caller may still stand on it until it gets another */
static inline void apus_stack_put(struct apus_stack_pool *pool, struct apus_stack *stack)
{
	stack->next = pool->hot;
	pool->hot = stack;
	pool->used--;
}

/** apus_stack_pool_age - what is free now, and still is when it is trimmed, is to be trimmed. Return: is there any? */
bool apus_stack_pool_age(struct apus_stack_pool *pool);
/** apus_stack_pool_trim - give pages back of at most @most stacks that have been free since the last age. Return: are there more? */
bool apus_stack_pool_trim(struct apus_stack_pool *pool, size_t most);

/** apus_stack_pool_guards - true if @address lies in a guard page of the pool; @base is then its stack */
bool apus_stack_pool_guards(const struct apus_stack_pool *pool, const void *address, char **base);

/** apus_stack_pool_each_used - calls @visit for the object of every stack that is given out */
void apus_stack_pool_each_used(struct apus_stack_pool *pool, void (*visit)(void *object, void *arg),
			       void *arg);

/** apus_stack_object - the object at the top of the stack at @base */
void *apus_stack_object(const struct apus_stack_pool *pool, char *base);

#endif
