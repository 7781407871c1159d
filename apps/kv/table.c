/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/table.c: a hash table that grows by one bucket at a time.
 *
 * Invariants: `buckets` are in use; an item of hash h is in bucket h & mask if there is one of that
 * number, else in bucket h & (mask >> 1), which is the one that will be split into both. There is at
 * most one item per bucket on average, and at least one in four. (So each item that is removed may
 * merge four buckets.)
 */
#include "apps/kv/table.h"

#include "runtime/base/check.h"

#include <errno.h>

#define BUCKETS_MAX (1U << 31)

static unsigned int segment_of(uint32_t bucket)
{
	if (bucket < KV_TABLE_FIRST)
		return 0;
	return 32 - (unsigned int)__builtin_clz(bucket >> KV_TABLE_FIRST_BITS);
}

/* Buckets of that segment; it begins with the bucket of the same number, but for the first. */
static uint32_t segment_buckets(unsigned int segment)
{
	return segment ? KV_TABLE_FIRST << (segment - 1) : KV_TABLE_FIRST;
}

static struct kv_node **bucket_at(const struct kv_table *t, uint32_t bucket)
{
	unsigned int segment = segment_of(bucket);

	return &t->segments[segment][segment ? bucket - segment_buckets(segment) : bucket];
}

static uint32_t number_of(const struct kv_table *t, uint32_t hash)
{
	uint32_t bucket = hash & t->mask;

	return bucket < t->buckets ? bucket : hash & (t->mask >> 1);
}

struct kv_node **kv_table_bucket(const struct kv_table *t, uint32_t hash)
{
	return bucket_at(t, number_of(t, hash));
}

/* One bucket more: those of its elder twin that belong to it move. */
static void grow(struct kv_table *t)
{
	uint32_t bucket = t->buckets;
	unsigned int segment = segment_of(bucket);

	if (bucket == BUCKETS_MAX)
		return;
	if (bucket > t->mask) {
		t->segments[segment] = apus_heap_alloc(t->heap, segment_buckets(segment) *
									sizeof(struct kv_node *));
		if (!t->segments[segment])
			return;
		t->mask = t->mask * 2 + 1;
	}
	t->buckets++;

	struct kv_node **to = bucket_at(t, bucket);
	struct kv_node **link = bucket_at(t, bucket & (t->mask >> 1));

	*to = NULL;
	while (*link) {
		struct kv_node *node = *link;

		if ((node->hash & t->mask) == bucket) {
			*link = node->next;
			node->next = *to;
			*to = node;
		} else {
			link = &node->next;
		}
	}
}

/* One bucket less: its items move to its elder twin. */
static void shrink(struct kv_table *t)
{
	uint32_t bucket = t->buckets - 1;
	struct kv_node *chain = *bucket_at(t, bucket);
	struct kv_node **link = bucket_at(t, bucket & (t->mask >> 1));

	while (*link)
		link = &(*link)->next;
	*link = chain;
	t->buckets = bucket;
	if (bucket == (t->mask >> 1) + 1) {
		unsigned int segment = segment_of(bucket);

		apus_heap_free(t->heap, t->segments[segment]);
		t->segments[segment] = NULL;
		t->mask >>= 1;
	}
}

void kv_table_insert(struct kv_table *t, struct kv_node *node)
{
	struct kv_node **bucket = kv_table_bucket(t, node->hash);

	node->next = *bucket;
	*bucket = node;
	if (++t->items > t->buckets)
		grow(t);
}

void kv_table_remove(struct kv_table *t, struct kv_node *node)
{
	struct kv_node **link = kv_table_bucket(t, node->hash);

	while (*link != node) {
		apus_must(*link != NULL);
		link = &(*link)->next;
	}
	*link = node->next;
	t->items--;
	for (int i = 0; i < 4 && t->items < t->buckets / 4 && t->buckets > KV_TABLE_FIRST; i++)
		shrink(t);
}

size_t kv_table_bytes(const struct kv_table *t)
{
	return ((size_t)t->mask + 1) * sizeof(struct kv_node *);
}

void kv_table_check(const struct kv_table *t)
{
	uint32_t items = 0;

	apus_must_op(t->buckets, >=, KV_TABLE_FIRST);
	apus_must_op(t->buckets - 1, <=, t->mask);
	for (uint32_t b = 0; b < t->buckets; b++) {
		for (const struct kv_node *node = *bucket_at(t, b); node; node = node->next) {
			apus_must_op(number_of(t, node->hash), ==, b);
			items++;
		}
	}
	apus_must_op(items, ==, t->items);
}

int kv_table_init(struct kv_table *t, struct apus_heap *heap)
{
	*t = (struct kv_table){
		.heap = heap,
		.buckets = KV_TABLE_FIRST,
		.mask = KV_TABLE_FIRST - 1,
	};
	t->segments[0] = apus_heap_zalloc(heap, KV_TABLE_FIRST * sizeof(struct kv_node *));
	return t->segments[0] ? 0 : -ENOMEM;
}

void kv_table_fini(struct kv_table *t)
{
	apus_must_op(t->items, ==, 0);
	for (size_t i = 0; i < KV_TABLE_SEGMENTS; i++)
		apus_heap_free(t->heap, t->segments[i]);
}
