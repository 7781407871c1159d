/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/table.h: a hash table that grows by one bucket at a time.
 *
 * Linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980):
 * with every item that is one too many the next bucket in order is split, and no operation ever
 * touches more than one other bucket. The buckets lie in segments, each as large as all before it,
 * so that growing copies nothing either. It shrinks in the same way.
 *
 * Chains are intrusive. Items must come with hashes that nobody outside can foresee.
 */
#ifndef APUS_APPS_KV_TABLE_H
#define APUS_APPS_KV_TABLE_H

#include "runtime/base/alloc.h"

#define KV_TABLE_FIRST_BITS 8
#define KV_TABLE_FIRST      (1U << KV_TABLE_FIRST_BITS) /* buckets it never has fewer of */
#define KV_TABLE_SEGMENTS   (32 - KV_TABLE_FIRST_BITS)

struct kv_node {
	struct kv_node *next; /* of the bucket */
	uint32_t hash;
};

struct kv_table {
	struct apus_heap *heap;
	uint32_t buckets; /* in use, at most 2^31 */
	uint32_t mask;    /* 2^n - 1, the least that all bucket numbers fit in */
	uint32_t items;
	struct kv_node **segments[KV_TABLE_SEGMENTS];
};

/** kv_table_init - empty; borrows @heap until fini. Return: 0, -ENOMEM */
APUS_MUST_CHECK int kv_table_init(struct kv_table *t, struct apus_heap *heap);
/** kv_table_fini - must be empty */
void kv_table_fini(struct kv_table *t);
/** kv_table_bucket - the chain in which an item of @hash is, if it is. Valid until the next insert or remove */
struct kv_node **kv_table_bucket(const struct kv_table *t, uint32_t hash);
/** kv_table_insert - @node with its hash set. Without memory for more buckets the chains get longer */
void kv_table_insert(struct kv_table *t, struct kv_node *node);
/** kv_table_remove - @node, which is in it */
void kv_table_remove(struct kv_table *t, struct kv_node *node);
/** kv_table_bytes - of memory for buckets */
size_t kv_table_bytes(const struct kv_table *t);
/** kv_table_check - every item is where it belongs, and none is missing: for tests; visits all */
void kv_table_check(const struct kv_table *t);

#endif
