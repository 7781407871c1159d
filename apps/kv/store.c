/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/store.c: one shard's items: a hash table, an LRU list and a limit of memory.
 *
 * Values lie in the shard's heap, each with its head in one allocation, because a heap's buffer can
 * be lent to TCP and because jemalloc's size classes are what slab classes would be: a step of a
 * quarter at most is lost, and the same memory serves all sizes in turn. What counts against the
 * limit is the size class, not what was asked for, and the table's buckets.
 *
 * Invariants: an item is in the table and in the LRU list, or in neither; it is freed when it is in
 * neither and nobody holds it; `bytes` is the sum over all that are not freed.
 */
#include "apps/kv/store.h"

#include "runtime/base/check.h"

#include <string.h>

#define DEAD_TAILS 2  /* dropped from the end of the LRU list whenever something is put */
#define HELD_TAILS 64 /* items in use passed over, before there is no memory */

/* --- Items ----------------------------------------------------------------------------------- */

/* What jemalloc takes for so many bytes: multiples of 16, and from 128 on four sizes per doubling. */
static size_t class_bytes(size_t bytes)
{
	size_t step = 16;

	if (bytes > 128)
		step = (size_t)1 << (61 - __builtin_clzl(bytes - 1));
	return (bytes + step - 1) & ~(step - 1);
}

static size_t item_bytes(const struct kv_item *item)
{
	return class_bytes(sizeof(*item) + item->key_bytes + item->bytes + 2);
}

static struct kv_item *item_of(struct kv_node *node)
{
	return apus_container_of(node, struct kv_item, node);
}

static void item_free(struct kv_store *s, struct kv_item *item)
{
	s->bytes -= item_bytes(item);
	apus_heap_free(s->options.heap, item);
}

static void unlink_item(struct kv_store *s, struct kv_item *item)
{
	apus_assert(item->is_linked);
	kv_table_remove(&s->table, &item->node);
	apus_list_unlink(&item->lru);
	item->is_linked = false;
	if (item->holds == 0)
		item_free(s, item);
}

static void link_item(struct kv_store *s, struct kv_item *item)
{
	apus_assert(!item->is_linked);
	s->cas_last += s->options.cas_step;
	item->cas = s->cas_last;
	item->is_linked = true;
	apus_list_push_front(&s->lru, &item->lru);
	kv_table_insert(&s->table, &item->node);
	s->counts[KV_TOTAL_ITEMS]++;
}

/* It was used. */
static void bump(struct kv_store *s, struct kv_item *item)
{
	if (s->lru.next == &item->lru)
		return;
	apus_list_unlink(&item->lru);
	apus_list_push_front(&s->lru, &item->lru);
}

void kv_item_hold(struct kv_store *s, struct kv_item *item)
{
	item->holds++;
	s->holds++;
}

void kv_item_put(struct kv_store *s, struct kv_item *item)
{
	apus_assert(item->holds > 0);
	s->holds--;
	if (--item->holds == 0 && !item->is_linked)
		item_free(s, item);
}

/* --- Dead ones ------------------------------------------------------------------------------- */

static bool is_flushed(const struct kv_store *s, const struct kv_item *item)
{
	return item->cas <= s->cas_flushed;
}

static bool is_dead(const struct kv_store *s, const struct kv_item *item, int64_t now_ns)
{
	return item->deadline_ns <= now_ns || is_flushed(s, item);
}

/* A delayed flush_all takes effect with the first call after its time. */
static void settle(struct kv_store *s, int64_t now_ns)
{
	if (apus_likely(now_ns < s->flush_at_ns))
		return;
	s->cas_flushed = s->cas_last;
	s->flush_at_ns = APUS_NEVER;
}

static void drop_dead(struct kv_store *s, struct kv_item *item)
{
	s->counts[KV_EXPIRED_UNFETCHED] += !item->is_fetched;
	unlink_item(s, item);
}

static struct kv_item *lookup(const struct kv_store *s, const struct kv_key *key)
{
	struct kv_node *node = *kv_table_bucket(&s->table, (uint32_t)key->hash);

	for (; node; node = node->next) {
		struct kv_item *item = item_of(node);

		if (node->hash == (uint32_t)key->hash && item->key_bytes == key->text.len &&
		    memcmp(item->data, key->text.at, key->text.len) == 0)
			return item;
	}
	return NULL;
}

/* The item of that key, alive; one that is dead is dropped. */
static struct kv_item *find(struct kv_store *s, const struct kv_key *key, int64_t now_ns)
{
	struct kv_item *item = lookup(s, key);

	settle(s, now_ns);
	if (!item || apus_likely(!is_dead(s, item, now_ns)))
		return item;
	drop_dead(s, item);
	return NULL;
}

/* --- Memory ---------------------------------------------------------------------------------- */

size_t kv_store_memory(const struct kv_store *s)
{
	return s->bytes + kv_table_bytes(&s->table);
}

/* Drop what is dead at the end of the LRU list, so that it does not wait for the limit. */
static void reclaim(struct kv_store *s, int64_t now_ns)
{
	for (int i = 0; i < DEAD_TAILS && !apus_list_empty(&s->lru); i++) {
		struct kv_item *last = apus_list_entry(s->lru.prev, struct kv_item, lru);

		if (!is_dead(s, last, now_ns))
			return;
		s->counts[KV_RECLAIMED]++;
		drop_dead(s, last);
	}
}

/* Drop the last one of the LRU list. Return: false if there is none that is not held. */
static bool evict(struct kv_store *s, uint32_t *held, int64_t now_ns)
{
	if (apus_list_empty(&s->lru))
		return false;

	struct kv_item *last = apus_list_entry(s->lru.prev, struct kv_item, lru);

	if (last->holds > 0) { /* would give no memory: somebody uses it */
		bump(s, last);
		return ++*held < HELD_TAILS;
	}
	if (is_dead(s, last, now_ns)) {
		s->counts[KV_RECLAIMED]++;
		drop_dead(s, last);
		return true;
	}
	s->counts[KV_EVICTIONS]++;
	s->counts[KV_EVICTED_UNFETCHED] += !last->is_fetched;
	unlink_item(s, last);
	return true;
}

static bool make_room(struct kv_store *s, size_t bytes, int64_t now_ns)
{
	uint32_t held = 0;

	reclaim(s, now_ns);
	while (kv_store_memory(s) + bytes > s->options.memory_bytes)
		if (!evict(s, &held, now_ns))
			return false;
	return true;
}

struct kv_item *kv_store_alloc(struct kv_store *s, const struct kv_key *key, uint32_t flags,
			       int64_t deadline_ns, uint32_t bytes, int64_t now_ns)
{
	struct kv_item head = {
		.node.hash = (uint32_t)key->hash,
		.deadline_ns = deadline_ns,
		.flags = flags,
		.bytes = bytes,
		.holds = 1,
		.key_bytes = (uint8_t)key->text.len,
	};
	size_t size = sizeof(head) + key->text.len + bytes + 2;
	struct kv_item *item = NULL;

	apus_must_op(key->text.len, <=, KV_KEY_MAX);
	apus_must_op(bytes, <=, KV_VALUE_MAX);
	settle(s, now_ns);
	if (make_room(s, class_bytes(size), now_ns))
		item = apus_heap_alloc(s->options.heap, size);
	if (!item)
		return NULL;
	*item = head;
	s->bytes += class_bytes(size);
	s->holds++;
	memcpy(item->data, key->text.at, key->text.len);
	memcpy(kv_item_value(item) + bytes, "\r\n", 2);
	return item;
}

/* --- Commands -------------------------------------------------------------------------------- */

struct kv_key kv_store_key(const struct kv_store *s, struct kv_text text)
{
	return (struct kv_key){text, apus_siphash(&s->options.salt, text.at, text.len)};
}

struct kv_item *kv_store_get(struct kv_store *s, const struct kv_key *key, int64_t now_ns)
{
	struct kv_item *item = lookup(s, key);

	settle(s, now_ns);
	s->counts[KV_CMD_GET]++;
	if (!item) {
		s->counts[KV_GET_MISSES]++;
		return NULL;
	}
	if (apus_unlikely(is_dead(s, item, now_ns))) {
		s->counts[is_flushed(s, item) ? KV_GET_FLUSHED : KV_GET_EXPIRED]++;
		s->counts[KV_GET_MISSES]++;
		drop_dead(s, item);
		return NULL;
	}
	s->counts[KV_GET_HITS]++;
	item->is_fetched = true;
	bump(s, item);
	return item;
}

struct kv_item *kv_store_touch(struct kv_store *s, const struct kv_key *key, int64_t deadline_ns,
			       int64_t now_ns)
{
	struct kv_item *item = find(s, key, now_ns);

	s->counts[KV_CMD_TOUCH]++;
	s->counts[item ? KV_TOUCH_HITS : KV_TOUCH_MISSES]++;
	if (item) {
		item->deadline_ns = deadline_ns;
		item->is_fetched = true;
		bump(s, item);
	}
	return item;
}

/* The old value and the new one behind each other. Consumes @item. */
static enum kv_result join(struct kv_store *s, enum kv_verb verb, struct kv_item *old,
			   struct kv_item *item, int64_t now_ns)
{
	struct kv_key key = {{item->data, item->key_bytes}, item->node.hash};
	struct kv_item *first = verb == KV_APPEND ? old : item;
	struct kv_item *second = verb == KV_APPEND ? item : old;
	enum kv_result result = KV_RESULT_TOO_LARGE;
	struct kv_item *both = NULL;

	kv_item_hold(s, old); /* it is not what makes room */
	if (old->bytes <= KV_VALUE_MAX - item->bytes) {
		result = KV_RESULT_NO_MEMORY;
		both = kv_store_alloc(s, &key, old->flags, old->deadline_ns,
				      old->bytes + item->bytes, now_ns);
	}
	if (both) {
		result = KV_RESULT_STORED;
		memcpy(kv_item_value(both), kv_item_value(first), first->bytes);
		memcpy(kv_item_value(both) + first->bytes, kv_item_value(second), second->bytes);
		unlink_item(s, old);
		link_item(s, both);
		kv_item_put(s, both);
	} else {
		s->counts[result == KV_RESULT_TOO_LARGE ? KV_STORE_TOO_LARGE
							: KV_STORE_NO_MEMORY]++;
	}
	kv_item_put(s, old);
	kv_item_put(s, item);
	return result;
}

/* Does @verb allow it, when @old (or nothing) is there? */
static enum kv_result permit(struct kv_store *s, enum kv_verb verb, const struct kv_item *old,
			     uint64_t cas)
{
	switch (verb) {
	case KV_ADD:
		return old ? KV_RESULT_NOT_STORED : KV_RESULT_STORED;
	case KV_REPLACE:
	case KV_APPEND:
	case KV_PREPEND:
		return old ? KV_RESULT_STORED : KV_RESULT_NOT_STORED;
	case KV_CAS:
		if (!old) {
			s->counts[KV_CAS_MISSES]++;
			return KV_RESULT_NOT_FOUND;
		}
		s->counts[old->cas == cas ? KV_CAS_HITS : KV_CAS_BADVAL]++;
		return old->cas == cas ? KV_RESULT_STORED : KV_RESULT_EXISTS;
	default:
		return KV_RESULT_STORED;
	}
}

enum kv_result kv_store_put(struct kv_store *s, enum kv_verb verb, struct kv_item *item,
			    uint64_t cas, int64_t now_ns)
{
	const struct kv_key key = {{item->data, item->key_bytes}, item->node.hash};
	struct kv_item *old = find(s, &key, now_ns);
	enum kv_result result = permit(s, verb, old, cas);

	s->counts[KV_CMD_SET]++;
	if (result != KV_RESULT_STORED) {
		if (verb == KV_ADD && old)
			bump(s, old); /* as memcached: who adds what is there wants it */
		kv_item_put(s, item);
		return result;
	}
	if (verb == KV_APPEND || verb == KV_PREPEND)
		return join(s, verb, old, item, now_ns);
	if (old)
		unlink_item(s, old);
	link_item(s, item);
	kv_item_put(s, item);
	return KV_RESULT_STORED;
}

void kv_store_refuse(struct kv_store *s, enum kv_verb verb, const struct kv_key *key,
		     bool too_large)
{
	struct kv_item *old = lookup(s, key);

	s->counts[too_large ? KV_STORE_TOO_LARGE : KV_STORE_NO_MEMORY]++;
	if (verb == KV_SET && old) /* the client does not want that value any more */
		unlink_item(s, old);
}

enum kv_result kv_store_delete(struct kv_store *s, const struct kv_key *key, int64_t now_ns)
{
	struct kv_item *item = find(s, key, now_ns);

	s->counts[item ? KV_DELETE_HITS : KV_DELETE_MISSES]++;
	if (!item)
		return KV_RESULT_NOT_FOUND;
	unlink_item(s, item);
	return KV_RESULT_DONE;
}

/* Give @item the value of @digits; a new item if it does not fit, or if somebody reads the old one. */
static enum kv_result rewrite(struct kv_store *s, struct kv_item *item, const struct kv_key *key,
			      struct kv_text digits, int64_t now_ns)
{
	struct kv_item *other;

	if (digits.len <= item->bytes && item->holds == 0) {
		memcpy(kv_item_value(item), digits.at, digits.len);
		memset(kv_item_value(item) + digits.len, ' ', item->bytes - digits.len);
		s->cas_last += s->options.cas_step;
		item->cas = s->cas_last;
		bump(s, item);
		return KV_RESULT_DONE;
	}
	kv_item_hold(s, item);
	other = kv_store_alloc(s, key, item->flags, item->deadline_ns, (uint32_t)digits.len,
			       now_ns);
	if (other) {
		memcpy(kv_item_value(other), digits.at, digits.len);
		unlink_item(s, item);
		link_item(s, other);
		kv_item_put(s, other);
	} else {
		s->counts[KV_STORE_NO_MEMORY]++;
	}
	kv_item_put(s, item);
	return other ? KV_RESULT_DONE : KV_RESULT_NO_MEMORY;
}

enum kv_result kv_store_add(struct kv_store *s, enum kv_verb verb, const struct kv_key *key,
			    uint64_t delta, int64_t now_ns, uint64_t *out)
{
	struct kv_item *item = find(s, key, now_ns);
	bool decr = verb == KV_DECR;
	char digits[KV_NUMBER_BYTES];
	uint64_t n;

	if (!item) {
		s->counts[decr ? KV_DECR_MISSES : KV_INCR_MISSES]++;
		return KV_RESULT_NOT_FOUND;
	}
	if (!kv_number((struct kv_text){kv_item_value(item), item->bytes}, &n))
		return KV_RESULT_NOT_NUMERIC;
	s->counts[decr ? KV_DECR_HITS : KV_INCR_HITS]++;
	if (decr)
		n -= apus_min(n, delta);
	else
		n += delta; /* modulo 2^64, as the protocol says */
	item->is_fetched = true;
	*out = n;
	return rewrite(s, item, key,
		       (struct kv_text){digits, (size_t)(kv_put_number(digits, n) - digits)},
		       now_ns);
}

void kv_store_flush(struct kv_store *s, int64_t at_ns, int64_t now_ns)
{
	settle(s, now_ns);
	s->counts[KV_CMD_FLUSH]++;
	s->flush_at_ns = at_ns;
	settle(s, now_ns);
}

/* --- Open and close -------------------------------------------------------------------------- */

void kv_store_check(const struct kv_store *s)
{
	const struct apus_list *it;
	size_t items = 0, bytes = 0;

	kv_table_check(&s->table);
	apus_list_for_each(it, &s->lru) {
		struct kv_item *item = apus_list_entry(it, struct kv_item, lru);
		struct kv_key key = {{item->data, item->key_bytes}, item->node.hash};

		apus_must(item->is_linked);
		apus_must(item->cas > 0 && item->cas <= s->cas_last);
		apus_must(lookup(s, &key) == item);
		apus_must(memcmp(kv_item_value(item) + item->bytes, "\r\n", 2) == 0);
		bytes += item_bytes(item);
		items++;
	}
	apus_must_op(items, ==, s->table.items);
	apus_must_op(bytes, <=, s->bytes);
	if (s->holds == 0)
		apus_must_op(bytes, ==, s->bytes);
}

int kv_store_open(struct kv_store *s, const struct kv_store_options *options)
{
	apus_must(options->cas_step > 0);
	apus_must_op(options->cas_first, >=, options->cas_step);
	*s = (struct kv_store){
		.options = *options,
		.cas_last = options->cas_first - options->cas_step,
		.flush_at_ns = APUS_NEVER,
	};
	apus_list_init(&s->lru);
	return kv_table_init(&s->table, options->heap);
}

void kv_store_close(struct kv_store *s)
{
	while (!apus_list_empty(&s->lru))
		unlink_item(s, apus_list_entry(s->lru.next, struct kv_item, lru));
	apus_must_op(s->holds, ==, 0);
	apus_must_op(s->bytes, ==, 0);
	kv_table_fini(&s->table);
}
