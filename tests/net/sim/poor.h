/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/poor.h: one host of a world is refused memory, from its k-th allocation on.
 *
 * An allocation is an object of a slab, memory of the heap or an mbuf, whoever on that host asks for it.
 * Refusals are made by the linker (--wrap, see meson.build) and by a mempool driver of our own.
 */
#ifndef APUS_TESTS_NET_SIM_POOR_H
#define APUS_TESTS_NET_SIM_POOR_H

#include "net/stack_internal.h"
#include "runtime/sched/shard.h"
#include "tests/net/sim/sim_test.h"

#include <rte_mbuf_pool_ops.h>
#include <stdlib.h>

#define POOR_MBUFS    2047
#define POOR_SLABS    8
#define POOR_FOR_GOOD INT64_MAX

/* Whose allocations count, and which are refused. One at a time. */
static struct {
	struct apus_sim_host *host;
	struct apus_shard *shard; /* NULL: nobody is poor */
	struct apus_sim_world *world;
	uint64_t count;   /* allocations so far */
	uint64_t fail_at; /* the first that fails, from 1 */
	int64_t span_ns;  /* those for so long after it fail too */
	int64_t until_ns;
	uint64_t refused;
	bool only_heap; /* objects of slabs and mbufs do not count */
} poor;

/* Who was refused, over all runs. */
static struct {
	uint64_t slabs[POOR_SLABS], heap, mbufs;
} victims;

static bool refuse(void)
{
	int64_t now_ns = apus_sim_now(poor.world);

	if (++poor.count < poor.fail_at)
		return false;
	if (poor.count == poor.fail_at)
		poor.until_ns =
			poor.span_ns == POOR_FOR_GOOD ? POOR_FOR_GOOD : now_ns + poor.span_ns;
	else if (now_ns >= poor.until_ns)
		return false;
	poor.refused++;
	return true;
}

static inline struct apus_slab *poor_slab(const struct apus_sim_host *host, int i)
{
	struct apus_tcp_layer *tcp = &apus_sim_host_stack(host)->tcp;
	struct apus_slab *const slabs[POOR_SLABS] = {
		&tcp->connections, &tcp->senders, &tcp->tallies,     &tcp->requests,
		&tcp->time_waits,  &tcp->drs,     &tcp->ooo.objects, &tcp->lender->slab,
	};

	return slabs[i];
}

static const char *const poor_slab_names[POOR_SLABS] = {
	"connections", "senders", "tallies", "requests", "time_waits", "drs", "ooo", "lent"};

/* The linker's names. */
void *real_slab_get(struct apus_slab *slab) __asm__("__real_apus_slab_get");
void *poor_slab_get(struct apus_slab *slab) __asm__("__wrap_apus_slab_get");
void *real_alloc(struct apus_heap *heap, size_t bytes) __asm__("__real_apus_heap_alloc");
void *poor_alloc(struct apus_heap *heap, size_t bytes) __asm__("__wrap_apus_heap_alloc");
void *real_zalloc(struct apus_heap *heap, size_t bytes) __asm__("__real_apus_heap_zalloc");
void *poor_zalloc(struct apus_heap *heap, size_t bytes) __asm__("__wrap_apus_heap_zalloc");

void *poor_slab_get(struct apus_slab *slab)
{
	if (poor.shard && !poor.only_heap && slab->heap == apus_shard_heap(poor.shard) &&
	    refuse()) {
		for (int i = 0; i < POOR_SLABS; i++)
			victims.slabs[i] += poor_slab(poor.host, i) == slab;
		return NULL;
	}
	return real_slab_get(slab);
}

static bool heap_refuses(const struct apus_heap *heap)
{
	if (!poor.shard || heap != apus_shard_heap(poor.shard) || !refuse())
		return false;
	victims.heap++;
	return true;
}

void *poor_alloc(struct apus_heap *heap, size_t bytes)
{
	return heap_refuses(heap) ? NULL : real_alloc(heap, bytes);
}

void *poor_zalloc(struct apus_heap *heap, size_t bytes)
{
	return heap_refuses(heap) ? NULL : real_zalloc(heap, bytes);
}

/* What the one pool has left. */
static struct {
	unsigned int count;
	void *objects[POOR_MBUFS + 1];
} stock;

static int stock_alloc(struct rte_mempool *pool)
{
	pool->pool_data = &stock;
	return 0;
}

static void stock_free(struct rte_mempool *pool)
{
}

static int stock_put(struct rte_mempool *pool, void *const *objects, unsigned int n)
{
	apus_must_op(stock.count + n, <=, apus_countof(stock.objects));
	for (unsigned int i = 0; i < n; i++)
		stock.objects[stock.count++] = objects[i];
	return 0;
}

/* Whose turn it is takes them. */
static int stock_get(struct rte_mempool *pool, void **objects, unsigned int n)
{
	if (n > stock.count)
		return -ENOBUFS;
	if (poor.shard && !poor.only_heap && apus_shard_self() == poor.shard && refuse()) {
		victims.mbufs++;
		return -ENOBUFS;
	}
	for (unsigned int i = 0; i < n; i++)
		objects[i] = stock.objects[--stock.count];
	return 0;
}

static unsigned int stock_count(const struct rte_mempool *pool)
{
	return stock.count;
}

static const struct rte_mempool_ops stock_ops = {
	.name = "apus_poor",
	.alloc = stock_alloc,
	.free = stock_free,
	.enqueue = stock_put,
	.dequeue = stock_get,
	.get_count = stock_count,
};

RTE_MEMPOOL_REGISTER_OPS(stock_ops);

static inline struct rte_mempool *poor_pool(void)
{
	static struct rte_mempool *pool;

	if (pool)
		return pool;
	apus_must(rte_mbuf_set_user_mempool_ops(stock_ops.name) == 0);
	pool = apus_pool_create("poor", POOR_MBUFS, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	apus_must(pool);
	return pool;
}

static inline void poor_begin(struct apus_sim_world *world, struct apus_sim_host *host,
			      uint64_t fail_at, int64_t span_ns)
{
	poor.host = host;
	poor.shard = apus_sim_host_shard(host);
	poor.world = world;
	poor.count = poor.refused = 0;
	poor.fail_at = fail_at;
	poor.span_ns = span_ns;
}

static inline void poor_end(void)
{
	poor.shard = NULL;
}

#endif
