/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/store.h: one shard's items: a hash table, an LRU list and a limit of memory.
 *
 * No clock, no connection: `now_ns` is handed down. Items end lazily: one that has expired or was
 * flushed is dead, and is dropped when it is asked for or when it comes to the end of the LRU list.
 * Every operation takes constant time but for the bytes it copies; what it evicts was paid for by
 * what put it there.
 *
 * An item is one allocation: head, key, value, and CR LF behind that, as it goes out. It can be held
 * while it is sent: it then stays as it is, also when its key is set anew or evicted.
 */
#ifndef APUS_APPS_KV_STORE_H
#define APUS_APPS_KV_STORE_H

#include "apps/kv/protocol.h"
#include "apps/kv/table.h"
#include "runtime/base/list.h"
#include "runtime/base/siphash.h"

/* memcached's names, in its order. */
#define KV_COUNTERS(X)                           \
 X(TOTAL_CONNECTIONS, "total_connections")       \
 X(REJECTED_CONNECTIONS, "rejected_connections") \
 X(CMD_GET, "cmd_get")                           \
 X(CMD_SET, "cmd_set")                           \
 X(CMD_FLUSH, "cmd_flush")                       \
 X(CMD_TOUCH, "cmd_touch")                       \
 X(GET_HITS, "get_hits")                         \
 X(GET_MISSES, "get_misses")                     \
 X(GET_EXPIRED, "get_expired")                   \
 X(GET_FLUSHED, "get_flushed")                   \
 X(DELETE_MISSES, "delete_misses")               \
 X(DELETE_HITS, "delete_hits")                   \
 X(INCR_MISSES, "incr_misses")                   \
 X(INCR_HITS, "incr_hits")                       \
 X(DECR_MISSES, "decr_misses")                   \
 X(DECR_HITS, "decr_hits")                       \
 X(CAS_MISSES, "cas_misses")                     \
 X(CAS_HITS, "cas_hits")                         \
 X(CAS_BADVAL, "cas_badval")                     \
 X(TOUCH_HITS, "touch_hits")                     \
 X(TOUCH_MISSES, "touch_misses")                 \
 X(STORE_TOO_LARGE, "store_too_large")           \
 X(STORE_NO_MEMORY, "store_no_memory")           \
 X(BYTES_READ, "bytes_read")                     \
 X(BYTES_WRITTEN, "bytes_written")               \
 X(TOTAL_ITEMS, "total_items")                   \
 X(EXPIRED_UNFETCHED, "expired_unfetched")       \
 X(EVICTED_UNFETCHED, "evicted_unfetched")       \
 X(EVICTIONS, "evictions")                       \
 X(RECLAIMED, "reclaimed")

enum kv_counter {
#define X(id, name) KV_##id,
	KV_COUNTERS(X)
#undef X
	KV_COUNTERS_MAX
};

struct kv_store_options {
	struct apus_heap *heap;       /* borrowed until close */
	struct apus_siphash_key salt; /* of the hash; the same on all shards */
	size_t memory_bytes;          /* for items and the table, at most */
	uint64_t cas_first;           /* the first unique number, >= cas_step */
	uint64_t cas_step;            /* from each to the next: how many shards give such numbers */
};

/* A key with its hash: the low half finds the bucket, the high half the shard. */
struct kv_key {
	struct kv_text text; /* at most KV_KEY_MAX bytes */
	uint64_t hash;
};

struct kv_item {
	struct kv_node node;  /* in the table, while linked */
	struct apus_list lru; /* in the store's list, while linked */
	int64_t deadline_ns;  /* APUS_NEVER */
	uint64_t cas;         /* unique number; 0 before it is linked */
	uint32_t flags;       /* the client's */
	uint32_t bytes;       /* of the value, without CR LF */
	uint32_t holds;       /* who reads or fills it */
	uint8_t key_bytes;
	bool is_linked : 1;
	bool is_fetched : 1; /* asked for since it was put */
	char data[];         /* key, value, CR LF */
};

struct kv_store {
	struct kv_store_options options;
	struct kv_table table;
	struct apus_list lru; /* struct kv_item.lru, last used first */
	size_t bytes;         /* of all items, held ones too, as the allocator counts */
	uint32_t holds;       /* of all items */
	uint64_t cas_last;    /* given last */
	uint64_t cas_flushed; /* items up to it are dead */
	int64_t flush_at_ns;  /* when a delayed flush_all is due; APUS_NEVER */
	uint64_t counts[KV_COUNTERS_MAX];
};

enum kv_result {
	KV_RESULT_STORED,
	KV_RESULT_NOT_STORED,
	KV_RESULT_EXISTS,
	KV_RESULT_NOT_FOUND,
	KV_RESULT_DONE, /* deleted, touched, a number */
	KV_RESULT_NOT_NUMERIC,
	KV_RESULT_NO_MEMORY,
	KV_RESULT_TOO_LARGE,
};

/** kv_store_open - empty. Return: 0, -ENOMEM. Context: any */
APUS_MUST_CHECK int kv_store_open(struct kv_store *s, const struct kv_store_options *options);
/** kv_store_close - drop all; nothing may be held. Context: any */
void kv_store_close(struct kv_store *s);
/** kv_store_key - with its hash. Borrows @text. Context: any */
struct kv_key kv_store_key(const struct kv_store *s, struct kv_text text);

/**
 * kv_store_get - the item of that key
 *
 * Context: any. Return: borrowed until the next call on the store, or held from kv_item_hold() to
 *          kv_item_put(); NULL.
 */
struct kv_item *kv_store_get(struct kv_store *s, const struct kv_key *key, int64_t now_ns);
/** kv_store_touch - as kv_store_get(), which ends at @deadline_ns from now on */
struct kv_item *kv_store_touch(struct kv_store *s, const struct kv_key *key, int64_t deadline_ns,
			       int64_t now_ns);

/**
 * kv_store_alloc - an item to be filled, in nobody's sight, held by the caller
 * @bytes: of the value, at most KV_VALUE_MAX
 *
 * Its key is written and CR LF behind the value, which is the caller's to write. Drops from the end
 * of the LRU list what it needs memory of. Context: any. Return: it; NULL, counted.
 */
struct kv_item *kv_store_alloc(struct kv_store *s, const struct kv_key *key, uint32_t flags,
			       int64_t deadline_ns, uint32_t bytes, int64_t now_ns);
/** kv_item_value - of it, `bytes` long. Context: any */
static inline char *kv_item_value(struct kv_item *item)
{
	return item->data + item->key_bytes;
}

/** kv_item_hold - it stays as it is until it is put. Context: any */
void kv_item_hold(struct kv_store *s, struct kv_item *item);
/** kv_item_put - one hold less. Context: any */
void kv_item_put(struct kv_store *s, struct kv_item *item);

/**
 * kv_store_put - link @item as @verb (set, add, replace, append, prepend, cas) says
 * @item: of kv_store_alloc(); consumed
 * @cas:  for KV_CAS, the unique number that the linked one must have
 *
 * Context: any. Return: STORED, NOT_STORED, EXISTS, NOT_FOUND; of append and prepend also NO_MEMORY, TOO_LARGE.
 */
enum kv_result kv_store_put(struct kv_store *s, enum kv_verb verb, struct kv_item *item,
			    uint64_t cas, int64_t now_ns);
/** kv_store_refuse - count a value that is too large or found no memory; of a set, drop the old one. Context: any */
void kv_store_refuse(struct kv_store *s, enum kv_verb verb, const struct kv_key *key,
		     bool too_large);
/** kv_store_delete - Return: DONE, NOT_FOUND. Context: any */
enum kv_result kv_store_delete(struct kv_store *s, const struct kv_key *key, int64_t now_ns);
/**
 * kv_store_add - add to a value that is a number, or (@verb is KV_DECR) subtract, not below 0
 *
 * What gets shorter is padded with spaces, as memcached does. Context: any.
 * Return: DONE with the number in @out; NOT_FOUND, NOT_NUMERIC, NO_MEMORY.
 */
enum kv_result kv_store_add(struct kv_store *s, enum kv_verb verb, const struct kv_key *key,
			    uint64_t delta, int64_t now_ns, uint64_t *out);
/** kv_store_flush - what was put before @at_ns is dead from then on; this takes an earlier call's place. Context: any */
void kv_store_flush(struct kv_store *s, int64_t at_ns, int64_t now_ns);

/** kv_store_memory - bytes that count against the limit. Context: any */
size_t kv_store_memory(const struct kv_store *s);
/** kv_store_check - invariants, for tests; visits all. Context: any */
void kv_store_check(const struct kv_store *s);

#endif
