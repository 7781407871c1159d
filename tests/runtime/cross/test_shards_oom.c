/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_shards_oom.c: shards that are opened while something is not to be had.
 *
 * Linked with --wrap: each memory, heap, thread and descriptor that the opening asks for fails in its
 * turn, the first, the second... until none is left that could. Whatever fails: the error is told,
 * with the number of the shard, and nothing is left open. Then the same for main tasks and for
 * submitted ones.
 */
#include "tests/runtime/cross/held_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "runtime/cross/alien.h"
#include "runtime/cross/call.h"
#include "runtime/cross/shards.h"
#include "runtime/sched/internal.h"

#define COUNT 3

static atomic_int left = INT32_MAX; /* resources until one fails */
static atomic_bool has_failed;
static atomic_int heaps; /* open */

/* Only one fails: what is given back may need some again. */
static bool is_to_fail(void)
{
	if (atomic_fetch_sub(&left, 1) != 1)
		return false;
	atomic_store(&has_failed, true);
	return true;
}

/* The linker's names for the wrapped functions, and for those behind them. */
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
int __real_eventfd(unsigned int value, int flags);
int __wrap_eventfd(unsigned int value, int flags);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_apus_heap_init(struct apus_heap *heap);
int __wrap_apus_heap_init(struct apus_heap *heap);
void __real_apus_heap_fini(struct apus_heap *heap);
void __wrap_apus_heap_fini(struct apus_heap *heap);
void *__real_apus_heap_alloc(struct apus_heap *heap, size_t bytes);
void *__wrap_apus_heap_alloc(struct apus_heap *heap, size_t bytes);
void *__real_apus_heap_zalloc(struct apus_heap *heap, size_t bytes);
void *__wrap_apus_heap_zalloc(struct apus_heap *heap, size_t bytes);
void *__real_apus_heap_alloc_aligned(struct apus_heap *heap, size_t bytes, size_t align);
void *__wrap_apus_heap_alloc_aligned(struct apus_heap *heap, size_t bytes, size_t align);
int __real_apus_thread_start_shard(pthread_t *thread, void *(*fn)(void *arg), void *arg,
				   const char *name);
int __wrap_apus_thread_start_shard(pthread_t *thread, void *(*fn)(void *arg), void *arg,
				   const char *name);

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	return is_to_fail() ? NULL : __real_aligned_alloc(align, bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return is_to_fail() ? NULL : __real_calloc(n, bytes);
}

int __wrap_eventfd(unsigned int value, int flags)
{
	if (!is_to_fail())
		return __real_eventfd(value, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_epoll_create1(int flags)
{
	if (!is_to_fail())
		return __real_epoll_create1(flags);
	errno = ENFILE;
	return -1;
}

int __wrap_apus_heap_init(struct apus_heap *heap)
{
	int rc = is_to_fail() ? -ENOMEM : __real_apus_heap_init(heap);

	atomic_fetch_add(&heaps, rc == 0);
	return rc;
}

void __wrap_apus_heap_fini(struct apus_heap *heap)
{
	atomic_fetch_sub(&heaps, 1);
	if (heap->live)
		abort();
	__real_apus_heap_fini(heap);
}

void *__wrap_apus_heap_alloc(struct apus_heap *heap, size_t bytes)
{
	return is_to_fail() ? NULL : __real_apus_heap_alloc(heap, bytes);
}

void *__wrap_apus_heap_zalloc(struct apus_heap *heap, size_t bytes)
{
	return is_to_fail() ? NULL : __real_apus_heap_zalloc(heap, bytes);
}

void *__wrap_apus_heap_alloc_aligned(struct apus_heap *heap, size_t bytes, size_t align)
{
	return is_to_fail() ? NULL : __real_apus_heap_alloc_aligned(heap, bytes, align);
}

int __wrap_apus_thread_start_shard(pthread_t *thread, void *(*fn)(void *arg), void *arg,
				   const char *name)
{
	return is_to_fail() ? -EAGAIN : __real_apus_thread_start_shard(thread, fn, arg, name);
}

/* ------------------------------------------------------------------------------------------ open */

static int64_t one(void *arg)
{
	return 1;
}

static int64_t count_shards(void *arg)
{
	int64_t results[COUNT], all = 0;
	int64_t rc = apus_on_all(one, NULL, results);

	for (int i = 0; i < COUNT; i++)
		all += results[i];
	return rc ? rc : all;
}

/* Return: false if all was to be had. */
static bool open_with_one_failing(int n, bool debug)
{
	const struct apus_shards_options options = {
		.shard = {.seed = 1, .debug = debug},
		.count = COUNT,
	};
	struct apus_shards *shards = NULL;
	unsigned int failed = 99;
	struct held before = held_now();

	atomic_store(&has_failed, false);
	atomic_store(&left, n);

	int rc = apus_shards_open(&options, &shards, &failed);

	atomic_store(&left, INT32_MAX);
	if (atomic_load(&has_failed)) {
		assert_true(rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE || rc == -ENFILE);
		assert_null(shards);
		assert_in_range(failed, 0, COUNT - 1);
	} else {
		assert_int_equal(rc, 0);
		assert_int_equal(apus_shards_run(shards, count_shards, NULL), COUNT);
		apus_shards_close(shards);
	}
	assert_null(apus_shard_self());
	assert_int_equal(atomic_load(&heaps), 0);
	assert_held_no_more(before);
	return atomic_load(&has_failed);
}

static void whatever_the_open_cannot_have_is_an_error_and_leaves_nothing(void **state)
{
	for (int debug = 0; debug < 2; debug++) {
		int n = 1;

		while (open_with_one_failing(n, debug))
			n++;
		/* Each shard's: itself, heap, queue, inbox, two descriptors; threads; the fabric's. */
		assert_true(n > COUNT * 6 + COUNT - 1 + COUNT * COUNT);
	}
}

/* ----------------------------------------------------------------------------------- main, others */

static int64_t sleep_long(void *arg)
{
	return apus_sleep(1000 * APUS_SEC);
}

/* There is room for one task on each shard, and this is it. */
static int take_the_place(struct apus_shard *shard, unsigned int index, void *arg)
{
	return apus_spawn_detached(NULL, sleep_long, NULL, 0);
}

static void main_task_without_memory_is_an_error_and_all_shards_stop(void **state)
{
	struct apus_shards_options options = {
		.shard = {.seed = 1, .tasks_max = 1},
		.count = COUNT,
		.setup = take_the_place,
	};
	struct held before = held_now();
	struct apus_shards *shards;

	assert_int_equal(apus_shards_open(&options, &shards, NULL), 0);
	assert_int_equal(apus_shards_run(shards, one, NULL), -ENOMEM);
	apus_shards_close(shards);
	assert_held_no_more(before);
}

static struct apus_inbox *_Atomic inbox;
static int64_t answers[2];
static atomic_bool stop;

static void *submit_twice(void *arg)
{
	struct apus_inbox *to;

	while (!(to = atomic_load(&inbox)))
		sched_yield();
	answers[0] = apus_submit_and_wait(to, one, NULL);
	answers[1] = apus_submit_and_wait(to, one, NULL);
	atomic_store(&stop, true);
	return NULL;
}

/* Room for one more task comes with the second submission. */
static int64_t make_room_later(void *arg)
{
	struct apus_shard *s = apus_shard_self();
	uint64_t before = s->counters[APUS_SHARD_INBOX];

	atomic_store(&inbox, apus_inbox_get(s));
	while (s->counters[APUS_SHARD_INBOX] == before)
		if (apus_yield())
			return -ECANCELED;
	if (apus_yield()) /* it is behind us in the queue */
		return -ECANCELED;
	s->tasks_max = 2;
	while (!atomic_load(&stop))
		if (apus_sleep(APUS_MS))
			return -ECANCELED;
	return 0;
}

static void submitted_task_without_memory_is_an_error_for_who_waits(void **state)
{
	const struct apus_shard_options options = {.core = -1, .seed = 1, .tasks_max = 1};
	pthread_t thread;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, submit_twice, NULL), 0);
	assert_int_equal(apus_run(&options, make_room_later, NULL), 0);
	pthread_join(thread, NULL);
	apus_inbox_put(inbox);
	assert_int_equal(answers[0], -ENOMEM);
	assert_int_equal(answers[1], 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_the_open_cannot_have_is_an_error_and_leaves_nothing),
		cmocka_unit_test(main_task_without_memory_is_an_error_and_all_shards_stop),
		cmocka_unit_test(submitted_task_without_memory_is_an_error_for_who_waits),
	};

	return test_main(argc, argv, tests);
}
