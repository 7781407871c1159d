/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_store.c: the store beside a naive one, in virtual time; and its corners.
 */
#include "apps/kv/store.h"
#include "runtime/base/check.h"
#include "tests/runtime/base_test.h"

#define S APUS_SEC

static struct apus_heap heap;
static struct kv_store store;
static int64_t now_ns;

static void open_store(size_t memory_bytes)
{
	const struct kv_store_options options = {
		.heap = &heap,
		.salt.k = {1, 2},
		.memory_bytes = memory_bytes,
		.cas_first = 3,
		.cas_step = 2,
	};

	now_ns = S;
	assert_int_equal(apus_heap_init(&heap), 0);
	assert_int_equal(kv_store_open(&store, &options), 0);
}

static void close_store(void)
{
	kv_store_check(&store);
	kv_store_close(&store);
	assert_int_equal(heap.live, 0);
	apus_heap_fini(&heap);
}

static struct kv_key key_of(const char *text)
{
	return kv_store_key(&store, (struct kv_text){text, strlen(text)});
}

static struct kv_item *item_of(const char *key, const void *value, size_t len, uint32_t flags,
			       int64_t deadline_ns)
{
	struct kv_key k = key_of(key);
	struct kv_item *item =
		kv_store_alloc(&store, &k, flags, deadline_ns, (uint32_t)len, now_ns);

	if (item && len)
		memcpy(kv_item_value(item), value, len);
	return item;
}

static enum kv_result put(enum kv_verb verb, const char *key, const char *value,
			  int64_t deadline_ns)
{
	struct kv_item *item = item_of(key, value, strlen(value), 0, deadline_ns);

	assert_non_null(item);
	return kv_store_put(&store, verb, item, 0, now_ns);
}

static struct kv_item *get(const char *key)
{
	struct kv_key k = key_of(key);

	return kv_store_get(&store, &k, now_ns);
}

static bool has(const char *key, const char *value)
{
	struct kv_item *item = get(key);

	return item && item->bytes == strlen(value) &&
	       memcmp(kv_item_value(item), value, item->bytes) == 0;
}

static enum kv_result add(enum kv_verb verb, const char *key, uint64_t delta, uint64_t *out)
{
	struct kv_key k = key_of(key);

	return kv_store_add(&store, verb, &k, delta, now_ns, out);
}

/* --- The table ------------------------------------------------------------------------------- */

static void table_grows_and_shrinks_by_one_bucket_at_a_time(void **state)
{
	enum {
		NODES = 20000
	};
	struct kv_node *nodes = calloc(NODES, sizeof(*nodes));
	uint64_t random = 7;
	struct kv_table t;

	assert_int_equal(apus_heap_init(&heap), 0);
	assert_int_equal(kv_table_init(&t, &heap), 0);
	for (uint32_t i = 0; i < NODES; i++) {
		uint32_t before = t.buckets;

		nodes[i].hash = (uint32_t)test_random(&random);
		kv_table_insert(&t, &nodes[i]);
		assert_true(t.buckets - before <= 1);
		assert_true(t.items <= t.buckets);
		if (i % 1000 == 0)
			kv_table_check(&t);
	}
	for (uint32_t i = 0; i < NODES; i++) {
		uint32_t before = t.buckets;

		kv_table_remove(&t, &nodes[i]);
		assert_true(before - t.buckets <= 4);
		assert_true(t.items >= t.buckets / 4 || t.buckets == KV_TABLE_FIRST);
		if (i % 1000 == 0)
			kv_table_check(&t);
	}
	assert_int_equal(t.buckets, KV_TABLE_FIRST);
	assert_int_equal(kv_table_bytes(&t), KV_TABLE_FIRST * sizeof(void *));
	kv_table_fini(&t);
	assert_int_equal(heap.live, 0);
	apus_heap_fini(&heap);
	free(nodes);
}

static void table_without_memory_has_longer_chains_only(void **state)
{
	static struct kv_node nodes[3000];
	struct kv_table t;

	assert_int_equal(apus_heap_init(&heap), 0);
	assert_int_equal(kv_table_init(&t, &heap), 0);
	apus_heap_fail_after(&heap, 0);
	for (uint32_t i = 0; i < 3000; i++) {
		nodes[i].hash = i * 2654435761U;
		kv_table_insert(&t, &nodes[i]);
	}
	kv_table_check(&t);
	assert_int_equal(t.buckets, KV_TABLE_FIRST);
	apus_heap_fail_after(&heap, -1);
	for (uint32_t i = 0; i < 3000; i++)
		kv_table_remove(&t, &nodes[i]);
	kv_table_fini(&t);
	apus_heap_fini(&heap);
}

/* --- Commands -------------------------------------------------------------------------------- */

static void verbs_store_what_they_may(void **state)
{
	open_store(1 << 20);
	assert_int_equal(put(KV_REPLACE, "a", "1", APUS_NEVER), KV_RESULT_NOT_STORED);
	assert_int_equal(put(KV_APPEND, "a", "1", APUS_NEVER), KV_RESULT_NOT_STORED);
	assert_int_equal(put(KV_PREPEND, "a", "1", APUS_NEVER), KV_RESULT_NOT_STORED);
	assert_int_equal(put(KV_CAS, "a", "1", APUS_NEVER), KV_RESULT_NOT_FOUND);
	assert_null(get("a"));
	assert_int_equal(put(KV_ADD, "a", "2", APUS_NEVER), KV_RESULT_STORED);
	assert_int_equal(put(KV_ADD, "a", "3", APUS_NEVER), KV_RESULT_NOT_STORED);
	assert_true(has("a", "2"));
	assert_int_equal(put(KV_REPLACE, "a", "4", APUS_NEVER), KV_RESULT_STORED);
	assert_int_equal(put(KV_APPEND, "a", "56", APUS_NEVER), KV_RESULT_STORED);
	assert_int_equal(put(KV_PREPEND, "a", "23", APUS_NEVER), KV_RESULT_STORED);
	assert_true(has("a", "23456"));
	assert_int_equal(store.counts[KV_CAS_MISSES], 1);
	close_store();
}

static void unique_numbers_grow_by_their_step_and_guard(void **state)
{
	struct kv_item *item;
	uint64_t first;

	open_store(1 << 20);
	put(KV_SET, "a", "1", APUS_NEVER);
	first = get("a")->cas;
	assert_int_equal(first, 3);
	put(KV_SET, "b", "1", APUS_NEVER);
	assert_int_equal(get("b")->cas, 5);
	item = item_of("a", "2", 1, 0, APUS_NEVER);
	assert_int_equal(kv_store_put(&store, KV_CAS, item, first, now_ns), KV_RESULT_STORED);
	item = item_of("a", "3", 1, 0, APUS_NEVER);
	assert_int_equal(kv_store_put(&store, KV_CAS, item, first, now_ns), KV_RESULT_EXISTS);
	assert_true(has("a", "2"));
	assert_int_equal(store.counts[KV_CAS_HITS], 1);
	assert_int_equal(store.counts[KV_CAS_BADVAL], 1);
	close_store();
}

static void items_end_at_their_deadline_and_not_before(void **state)
{
	struct kv_key key;

	open_store(1 << 20);
	put(KV_SET, "a", "1", now_ns + S);
	put(KV_SET, "b", "1", now_ns + S);
	put(KV_SET, "gone", "1", now_ns);
	assert_null(get("gone"));
	now_ns += S - 1;
	assert_non_null(get("a"));
	key = key_of("a");
	assert_non_null(kv_store_touch(&store, &key, now_ns + 10 * S, now_ns));
	now_ns += 1;
	assert_null(get("b"));
	assert_non_null(get("a"));
	assert_int_equal(put(KV_ADD, "b", "2", APUS_NEVER), KV_RESULT_STORED);
	now_ns += 10 * S;
	assert_null(kv_store_touch(&store, &key, APUS_NEVER, now_ns));
	assert_int_equal(put(KV_REPLACE, "a", "2", APUS_NEVER), KV_RESULT_NOT_STORED);
	assert_int_equal(store.counts[KV_GET_EXPIRED], 2);
	close_store();
}

static void flush_takes_what_was_put_before_its_time(void **state)
{
	open_store(1 << 20);
	put(KV_SET, "a", "1", APUS_NEVER);
	kv_store_flush(&store, now_ns, now_ns);
	put(KV_SET, "b", "1", APUS_NEVER); /* at the same time, but after it */
	assert_null(get("a"));
	assert_non_null(get("b"));
	kv_store_flush(&store, now_ns + 10 * S, now_ns);
	now_ns += 5 * S;
	put(KV_SET, "c", "1", APUS_NEVER);
	assert_non_null(get("b"));
	now_ns += 5 * S;
	put(KV_SET, "d", "1", APUS_NEVER); /* the first to notice that it is time */
	assert_null(get("b"));
	assert_null(get("c"));
	assert_non_null(get("d"));
	/* A later call takes the place of one that has not come to its time. */
	kv_store_flush(&store, now_ns + 10 * S, now_ns);
	kv_store_flush(&store, now_ns + 20 * S, now_ns);
	now_ns += 15 * S;
	assert_non_null(get("d"));
	now_ns += 5 * S;
	assert_null(get("d"));
	assert_int_equal(store.counts[KV_GET_FLUSHED],
			 1); /* the others had come to the end of the list */
	assert_int_equal(store.counts[KV_RECLAIMED], 3);
	close_store();
}

static void numbers_wrap_stop_at_zero_and_keep_their_room(void **state)
{
	uint64_t n = 0;

	open_store(1 << 20);
	put(KV_SET, "n", "99", APUS_NEVER);
	assert_int_equal(add(KV_INCR, "n", 1, &n), KV_RESULT_DONE);
	assert_int_equal(n, 100);
	assert_true(has("n", "100"));
	assert_int_equal(add(KV_DECR, "n", 98, &n), KV_RESULT_DONE);
	assert_true(has("n", "2  "));
	assert_int_equal(add(KV_DECR, "n", 7, &n), KV_RESULT_DONE);
	assert_true(has("n", "0  "));
	put(KV_SET, "n", "18446744073709551615", APUS_NEVER);
	assert_int_equal(add(KV_INCR, "n", 3, &n), KV_RESULT_DONE);
	assert_int_equal(n, 2);
	put(KV_SET, "t", "two", APUS_NEVER);
	assert_int_equal(add(KV_INCR, "t", 1, &n), KV_RESULT_NOT_NUMERIC);
	assert_int_equal(add(KV_INCR, "none", 1, &n), KV_RESULT_NOT_FOUND);
	close_store();
}

/* --- Held items ------------------------------------------------------------------------------ */

static void held_item_stays_as_it_is_whatever_happens_to_its_key(void **state)
{
	struct kv_item *held;
	uint64_t n;

	open_store(1 << 20);
	put(KV_SET, "a", "41", APUS_NEVER);
	held = get("a");
	kv_item_hold(&store, held);
	assert_int_equal(add(KV_INCR, "a", 1, &n), KV_RESULT_DONE);
	assert_memory_equal(kv_item_value(held), "41\r\n", 4);
	assert_true(has("a", "42"));
	put(KV_APPEND, "a", "x", APUS_NEVER);
	put(KV_SET, "a", "new", APUS_NEVER);
	kv_store_flush(&store, now_ns, now_ns);
	assert_null(get("a"));
	assert_memory_equal(kv_item_value(held), "41\r\n", 4);
	assert_true(store.bytes > 0);
	kv_item_put(&store, held);
	assert_int_equal(store.bytes, 0);
	close_store();
}

static void held_items_give_no_memory_and_count_until_they_are_put(void **state)
{
	enum {
		ITEMS = 31,
		VALUE = 30000
	}; /* so many fill it */
	static char value[VALUE];
	struct kv_item *held[ITEMS];
	char key[16];
	int stored = 0;

	open_store(1 << 20);
	for (int i = 0; i < ITEMS; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		held[i] = item_of(key, value, VALUE, 0, APUS_NEVER);
		assert_non_null(held[i]);
		kv_item_hold(&store, held[i]);
		assert_int_equal(kv_store_put(&store, KV_SET, held[i], 0, now_ns),
				 KV_RESULT_STORED);
	}
	for (int i = 0; i < 10; i++) {
		struct kv_item *more = item_of("more", value, VALUE, 0, APUS_NEVER);

		assert_true(kv_store_memory(&store) <= 1 << 20);
		if (more)
			stored += kv_store_put(&store, KV_SET, more, 0, now_ns) == KV_RESULT_STORED;
	}
	assert_int_equal(stored, 0);
	for (int i = 0; i < ITEMS; i++)
		kv_item_put(&store, held[i]);
	for (int i = 0; i < ITEMS; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		assert_non_null(held[i] = item_of(key, value, VALUE, 0, APUS_NEVER));
		kv_item_put(&store, held[i]);
	}
	close_store();
}

static void failed_allocation_leaves_the_old_value_but_for_a_set(void **state)
{
	struct kv_key key;
	uint64_t n;

	open_store(1 << 20);
	put(KV_SET, "a", "99", APUS_NEVER);
	key = key_of("a");
	apus_heap_fail_after(&heap, 0);
	assert_null(item_of("a", "1", 1, 0, APUS_NEVER));
	assert_int_equal(add(KV_INCR, "a", 1, &n), KV_RESULT_NO_MEMORY);
	apus_heap_fail_after(&heap, 1);
	assert_int_equal(put(KV_APPEND, "a", "x", APUS_NEVER), KV_RESULT_NO_MEMORY);
	apus_heap_fail_after(&heap, -1);
	assert_true(has("a", "99"));
	kv_store_refuse(&store, KV_APPEND, &key, false);
	assert_true(has("a", "99"));
	kv_store_refuse(&store, KV_SET, &key, true);
	assert_null(get("a"));
	assert_int_equal(store.counts[KV_STORE_TOO_LARGE], 1);
	close_store();
}

static void joined_values_do_not_grow_beyond_the_largest(void **state)
{
	struct kv_item *item;

	open_store(8 << 20);
	for (int i = 0; i < 2; i++) {
		item = item_of("a", "", 0, 0, APUS_NEVER);
		kv_item_put(&store, item); /* given up before it was put */
	}
	item = kv_store_alloc(&store, &(struct kv_key){{"a", 1}, key_of("a").hash}, 0, APUS_NEVER,
			      KV_VALUE_MAX, now_ns);
	assert_int_equal(kv_store_put(&store, KV_SET, item, 0, now_ns), KV_RESULT_STORED);
	assert_int_equal(put(KV_APPEND, "a", "", APUS_NEVER), KV_RESULT_STORED);
	assert_int_equal(put(KV_APPEND, "a", "x", APUS_NEVER), KV_RESULT_TOO_LARGE);
	assert_int_equal(put(KV_PREPEND, "a", "x", APUS_NEVER), KV_RESULT_TOO_LARGE);
	assert_int_equal(get("a")->bytes, KV_VALUE_MAX);
	close_store();
}

/* --- Beside a naive store -------------------------------------------------------------------- */

#define KEYS   150
#define STEPS  3000
#define MEMORY 16000

/* A key's item. `used` orders by last use; dead ones stay until they are found or are the last. */
struct naive {
	size_t len;
	int64_t deadline_ns;
	uint64_t cas, used;
	uint32_t flags;
	bool is_there;
	char value[4096];
};

static struct naive naive[KEYS];
static uint64_t naive_used, naive_cas, naive_flushed, naive_evictions;
static int64_t naive_flush_at_ns;

/* As jemalloc: 16, 32, ... 128, then steps of a quarter of the power of two below. */
static size_t size_class(size_t bytes)
{
	size_t size = 16, step = 16;

	while (size < bytes) {
		if (size >= 128 && (size & (size - 1)) == 0)
			step = size / 4;
		size += step;
	}
	return size;
}

static size_t naive_bytes(size_t key_len, size_t len)
{
	return size_class(sizeof(struct kv_item) + key_len + len + 2);
}

static const char *naive_key(int i)
{
	static char key[16];

	snprintf(key, sizeof(key), "key%d", i);
	return key;
}

static size_t naive_memory(void)
{
	size_t bytes = 0;

	for (int i = 0; i < KEYS; i++)
		bytes += naive[i].is_there ? naive_bytes(strlen(naive_key(i)), naive[i].len) : 0;
	return bytes + KV_TABLE_FIRST * sizeof(void *);
}

static bool naive_dead(const struct naive *e)
{
	return e->deadline_ns <= now_ns || e->cas <= naive_flushed;
}

static struct naive *naive_last(void)
{
	struct naive *last = NULL;

	for (int i = 0; i < KEYS; i++)
		if (naive[i].is_there && (!last || naive[i].used < last->used))
			last = &naive[i];
	return last;
}

static void naive_settle(void)
{
	if (now_ns >= naive_flush_at_ns) {
		naive_flushed = naive_cas;
		naive_flush_at_ns = APUS_NEVER;
	}
}

/* Room for an item; @keep may not be dropped. */
static void naive_make_room(size_t key_len, size_t len, const struct naive *keep)
{
	for (int i = 0; i < 2 && naive_last() && naive_dead(naive_last()); i++)
		naive_last()->is_there = false;
	while (naive_memory() + naive_bytes(key_len, len) > MEMORY) {
		struct naive *last = naive_last();

		apus_must(last != NULL);
		if (last == keep) {
			last->used = ++naive_used;
			continue;
		}
		naive_evictions += !naive_dead(last);
		last->is_there = false;
	}
}

static struct naive *naive_find(int i)
{
	if (naive[i].is_there && naive_dead(&naive[i]))
		naive[i].is_there = false;
	return naive[i].is_there ? &naive[i] : NULL;
}

static void naive_link(struct naive *e)
{
	e->is_there = true;
	e->used = ++naive_used;
	e->cas = naive_cas += 2;
}

/* A value that was made by the seed: often a number. */
static size_t draw_value(uint64_t *random, char *value)
{
	size_t len = test_random_below(random, test_random_below(random, 8) ? 100 : 2500);

	if (test_random_below(random, 3) == 0)
		return (size_t)sprintf(
			value, "%llu",
			(unsigned long long)(test_random(random) >> test_random_below(random, 64)));
	for (size_t i = 0; i < len; i++)
		value[i] = (char)test_random(random);
	return len;
}

static int64_t draw_deadline(uint64_t *random)
{
	return test_random_below(random, 3) ? APUS_NEVER
					    : now_ns + (int64_t)test_random_below(random, 1000) * S;
}

static void step_put(uint64_t *random, int i)
{
	static char value[4096];
	enum kv_verb verb = KV_SET + (enum kv_verb)test_random_below(random, 6);
	size_t len = draw_value(random, value);
	uint32_t flags = (uint32_t)test_random(random);
	int64_t deadline_ns = draw_deadline(random);
	struct kv_item *item = item_of(naive_key(i), value, len, flags, deadline_ns);
	uint64_t cas = naive[i].cas + test_random_below(random, 2);
	struct naive *old;
	enum kv_result want = KV_RESULT_STORED;

	assert_non_null(item);
	naive_make_room(strlen(naive_key(i)), len, NULL);
	old = naive_find(i);
	if (verb == KV_ADD ? old != NULL : verb != KV_SET && verb != KV_CAS && !old)
		want = KV_RESULT_NOT_STORED;
	else if (verb == KV_CAS)
		want = !old              ? KV_RESULT_NOT_FOUND
		       : old->cas == cas ? KV_RESULT_STORED
					 : KV_RESULT_EXISTS;
	/* Both the private one and the old one count while they are joined. */
	size_t joined = old ? old->len + len : 0;
	bool joins = want == KV_RESULT_STORED && (verb == KV_APPEND || verb == KV_PREPEND);

	if (joins && joined > 4000) {
		kv_item_put(&store, item);
		return;
	}
	if (joins) {
		size_t extra = naive_bytes(strlen(naive_key(i)), len);

		for (int n = 0; n < 2 && naive_last() && naive_dead(naive_last()); n++)
			naive_last()->is_there = false;
		while (naive_memory() + extra + naive_bytes(strlen(naive_key(i)), joined) >
		       MEMORY) {
			struct naive *last = naive_last();

			if (last == old) {
				last->used = ++naive_used;
				continue;
			}
			naive_evictions += !naive_dead(last);
			last->is_there = false;
		}
	}
	assert_int_equal(kv_store_put(&store, verb, item, cas, now_ns), want);
	if (want != KV_RESULT_STORED) {
		if (verb == KV_ADD)
			old->used = ++naive_used;
		return;
	}
	if (verb == KV_APPEND) {
		memcpy(naive[i].value + naive[i].len, value, len);
		naive[i].len += len;
	} else if (verb == KV_PREPEND) {
		memmove(naive[i].value + len, naive[i].value, naive[i].len);
		memcpy(naive[i].value, value, len);
		naive[i].len += len;
	} else {
		memcpy(naive[i].value, value, len);
		naive[i].len = len;
		naive[i].flags = flags;
		naive[i].deadline_ns = deadline_ns;
	}
	naive_link(&naive[i]);
}

static void step_get(uint64_t *random, int i)
{
	struct kv_key key = key_of(naive_key(i));
	int64_t deadline_ns = draw_deadline(random);
	bool touch = test_random_below(random, 3) == 0;
	struct kv_item *item = touch ? kv_store_touch(&store, &key, deadline_ns, now_ns)
				     : kv_store_get(&store, &key, now_ns);
	struct naive *e = naive_find(i);

	assert_int_equal(item != NULL, e != NULL);
	if (!e || !item)
		return;
	assert_int_equal(item->bytes, e->len);
	assert_memory_equal(kv_item_value(item), e->value, e->len);
	assert_int_equal(item->flags, e->flags);
	assert_true(item->cas == e->cas);
	if (touch)
		e->deadline_ns = deadline_ns;
	e->used = ++naive_used;
}

static void step_add(uint64_t *random, int i)
{
	struct naive *e = naive_find(i);
	uint64_t delta = test_random(random) >> test_random_below(random, 64), n, got = 0;
	bool decr = test_random_below(random, 2);
	char digits[32];
	int len;

	if (!e || !kv_number((struct kv_text){e->value, e->len}, &n)) {
		assert_int_equal(add(decr ? KV_DECR : KV_INCR, naive_key(i), delta, &got),
				 e ? KV_RESULT_NOT_NUMERIC : KV_RESULT_NOT_FOUND);
		return;
	}
	n = decr ? (n < delta ? 0 : n - delta) : n + delta;
	len = sprintf(digits, "%llu", (unsigned long long)n);
	if ((size_t)len > e->len)
		naive_make_room(strlen(naive_key(i)), (size_t)len, e);
	assert_int_equal(add(decr ? KV_DECR : KV_INCR, naive_key(i), delta, &got), KV_RESULT_DONE);
	assert_true(got == n);
	if ((size_t)len < e->len)
		memset(e->value, ' ', e->len);
	else
		e->len = (size_t)len;
	memcpy(e->value, digits, (size_t)len);
	naive_link(e);
}

static void step(uint64_t *random)
{
	uint64_t kind = test_random_below(random, 100);
	int i = (int)test_random_below(random, KEYS);
	struct kv_key key;

	now_ns += (int64_t)test_random_below(random, 2 * S);
	naive_settle();
	if (kind < 45) {
		step_put(random, i);
	} else if (kind < 80) {
		step_get(random, i);
	} else if (kind < 92) {
		step_add(random, i);
	} else if (kind < 98) {
		key = key_of(naive_key(i));
		assert_int_equal(kv_store_delete(&store, &key, now_ns),
				 naive_find(i) ? KV_RESULT_DONE : KV_RESULT_NOT_FOUND);
		naive[i].is_there = false;
	} else if (kind == 98 && test_random_below(random, 4) == 0) {
		naive_flush_at_ns = now_ns + (int64_t)test_random_below(random, 50) * S;
		kv_store_flush(&store, naive_flush_at_ns, now_ns);
		naive_settle();
	}
}

static void any_commands_do_what_they_do_to_a_naive_store(void **state)
{
	uint64_t evictions = 0, seeds = 0;

	test_each_seed(seed, 60)
	{
		uint64_t random = seed;

		memset(naive, 0, sizeof(naive));
		naive_used = naive_flushed = naive_evictions = 0;
		naive_cas = 1;
		naive_flush_at_ns = APUS_NEVER;
		open_store(MEMORY);
		for (int i = 0; i < STEPS; i++) {
			step(&random);
			if (i % 10 == 0)
				kv_store_check(&store);
			assert_int_equal(kv_store_memory(&store), naive_memory());
			assert_true(kv_store_memory(&store) <= MEMORY);
		}
		assert_int_equal(store.counts[KV_EVICTIONS], naive_evictions);
		evictions += naive_evictions;
		seeds++;
		close_store();
	}
	assert_true(evictions >= 10 * seeds); /* that memory was short is part of the test */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_grows_and_shrinks_by_one_bucket_at_a_time),
		cmocka_unit_test(table_without_memory_has_longer_chains_only),
		cmocka_unit_test(verbs_store_what_they_may),
		cmocka_unit_test(unique_numbers_grow_by_their_step_and_guard),
		cmocka_unit_test(items_end_at_their_deadline_and_not_before),
		cmocka_unit_test(flush_takes_what_was_put_before_its_time),
		cmocka_unit_test(numbers_wrap_stop_at_zero_and_keep_their_room),
		cmocka_unit_test(held_item_stays_as_it_is_whatever_happens_to_its_key),
		cmocka_unit_test(held_items_give_no_memory_and_count_until_they_are_put),
		cmocka_unit_test(failed_allocation_leaves_the_old_value_but_for_a_set),
		cmocka_unit_test(joined_values_do_not_grow_beyond_the_largest),
		cmocka_unit_test(any_commands_do_what_they_do_to_a_naive_store),
	};

	return test_main(argc, argv, tests);
}
