/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_alloc.c: heap and slab: what is given is usable, aligned, nobody else's,
 * counted, limited, and fails on demand.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/alloc.h"

static int open_heap(void **state)
{
	static struct apus_heap heap;

	*state = &heap;
	return apus_heap_init(&heap);
}

static int close_heap(void **state)
{
	struct apus_heap *heap = *state;
	bool leaked = heap->live != 0;

	apus_heap_fini(heap);
	return leaked;
}

static void new_heap_has_nothing_live_and_fails_nothing(void **state)
{
	struct apus_heap *heap = *state;

	assert_int_equal(heap->live, 0);
	assert_true(heap->fail_after < 0);
}

static void each_allocation_counts_as_live_until_freed(void **state)
{
	struct apus_heap *heap = *state;
	void *a = apus_heap_alloc(heap, 1), *b = apus_heap_zalloc(heap, 100);
	void *c = apus_heap_alloc_aligned(heap, 10, 64);

	assert_int_equal(heap->live, 3);
	apus_heap_free(heap, b);
	assert_int_equal(heap->live, 2);
	apus_heap_free(heap, NULL);
	assert_int_equal(heap->live, 2);
	apus_heap_free(heap, a);
	apus_heap_free(heap, c);
	assert_int_equal(heap->live, 0);
}

static void memory_is_aligned_to_16_at_any_size(void **state)
{
	struct apus_heap *heap = *state;

	for (size_t bytes = 1; bytes <= 1 << 20; bytes += bytes / 3 + 1) {
		uint8_t *p = apus_heap_alloc(heap, bytes);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xff, bytes);
		apus_heap_free(heap, p);
	}
}

static void aligned_memory_has_the_alignment_asked_for(void **state)
{
	struct apus_heap *heap = *state;

	for (size_t align = 16; align <= 4096; align *= 2) {
		for (size_t bytes = 1; bytes <= 10000; bytes += bytes / 2 + 1) {
			uint8_t *p = apus_heap_alloc_aligned(heap, bytes, align);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, 0);
			memset(p, 0xff, bytes);
			apus_heap_free(heap, p);
		}
	}
}

static void zalloc_of_used_memory_is_zero(void **state)
{
	static const uint8_t zeros[4096];
	struct apus_heap *heap = *state;

	for (size_t bytes = 1; bytes <= sizeof(zeros); bytes += bytes / 4 + 1) {
		for (int round = 0; round < 4; round++) {
			uint8_t *p = apus_heap_zalloc(heap, bytes);

			assert_non_null(p);
			assert_memory_equal(p, zeros, bytes);
			memset(p, 0xff, bytes);
			apus_heap_free(heap, p);
		}
	}
}

static void realloc_keeps_what_was_there(void **state)
{
	struct apus_heap *heap = *state;
	uint8_t *p = NULL;
	size_t filled = 0;

	for (size_t bytes = 1; bytes < 100000; bytes = bytes * 2 + 1) {
		p = apus_heap_realloc(heap, p, bytes);
		assert_non_null(p);
		assert_int_equal(heap->live, 1);
		for (size_t i = 0; i < filled; i++)
			assert_int_equal(p[i], (uint8_t)(i * 7));
		for (; filled < bytes; filled++)
			p[filled] = (uint8_t)(filled * 7);
	}
	p = apus_heap_realloc(heap, p, 10);
	assert_non_null(p);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(p[i], (uint8_t)(i * 7));
	apus_heap_free(heap, p);
}

static void fail_after_n_lets_n_succeed_then_none(void **state)
{
	struct apus_heap *heap = *state;

	for (int64_t n = 0; n < 10; n++) {
		void *got[10];

		apus_heap_fail_after(heap, n);
		for (int64_t i = 0; i < n; i++) {
			got[i] = i % 3 == 0   ? apus_heap_alloc(heap, 32)
				 : i % 3 == 1 ? apus_heap_zalloc(heap, 32)
					      : apus_heap_alloc_aligned(heap, 32, 64);
			assert_non_null(got[i]);
		}
		assert_null(apus_heap_alloc(heap, 32));
		assert_null(apus_heap_zalloc(heap, 32));
		assert_null(apus_heap_alloc_aligned(heap, 32, 64));
		assert_null(apus_heap_realloc(heap, NULL, 32));
		assert_int_equal(heap->live, n);
		while (n > 0 && heap->live)
			apus_heap_free(heap, got[heap->live - 1]);
		apus_heap_fail_after(heap, -1);
	}
	void *p = apus_heap_alloc(heap, 32);

	assert_non_null(p);
	apus_heap_free(heap, p);
}

static void realloc_that_fails_leaves_the_old_as_it_was(void **state)
{
	struct apus_heap *heap = *state;
	char *p = apus_heap_alloc(heap, 16);

	assert_non_null(p);
	strcpy(p, "still here");
	apus_heap_fail_after(heap, 0);
	assert_null(apus_heap_realloc(heap, p, 100000));
	assert_string_equal(p, "still here");
	assert_int_equal(heap->live, 1);
	apus_heap_fail_after(heap, -1);
	apus_heap_free(heap, p);
}

static void absurd_size_is_refused(void **state)
{
	struct apus_heap *heap = *state;
	volatile size_t absurd = SIZE_MAX / 2; /* volatile: the compiler would warn */

	if (APUS_ASAN || APUS_TSAN)
		skip(); /* their allocator ends the process instead */
	assert_null(apus_heap_alloc(heap, absurd));
	assert_null(apus_heap_zalloc(heap, absurd));
	assert_int_equal(heap->live, 0);
}

static void heaps_are_counted_apart(void **state)
{
	struct apus_heap *heap = *state, other;

	assert_int_equal(apus_heap_init(&other), 0);
	void *a = apus_heap_alloc(heap, 64), *b = apus_heap_alloc(&other, 64);

	apus_heap_fail_after(&other, 0);
	void *c = apus_heap_alloc(heap, 64);

	assert_non_null(c);
	assert_null(apus_heap_alloc(&other, 64));
	assert_int_equal(heap->live, 2);
	assert_int_equal(other.live, 1);
	apus_heap_free(&other, b);
	apus_heap_free(heap, a);
	apus_heap_free(heap, c);
	apus_heap_fini(&other);
}

/* Many heaps come and go: in a simulated world every host has one. */
static void hundreds_of_heaps_in_turn_and_together_work(void **state)
{
	static struct apus_heap many[200];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < apus_countof(many); i++) {
			assert_int_equal(apus_heap_init(&many[i]), 0);
			apus_heap_free(&many[i], apus_heap_alloc(&many[i], 100));
		}
		for (size_t i = 0; i < apus_countof(many); i++) {
			assert_int_equal(many[i].live, 0);
			apus_heap_fini(&many[i]);
		}
	}
}

/* The slab. */

static void slab_gives_up_to_its_limit_and_not_one_more(void **state)
{
	static const uint32_t limits[] = {1, 2, 63, 64, 65, 1000};
	struct apus_heap *heap = *state;

	for (size_t l = 0; l < apus_countof(limits); l++) {
		struct apus_slab slab;
		static void *objects[1000];

		apus_slab_init(&slab, heap, 48, limits[l]);
		for (uint32_t i = 0; i < limits[l]; i++) {
			objects[i] = apus_slab_get(&slab);
			assert_non_null(objects[i]);
			assert_int_equal(slab.used, i + 1);
		}
		assert_null(apus_slab_get(&slab));
		assert_null(apus_slab_get(&slab));
		assert_int_equal(slab.used, limits[l]);

		apus_slab_put(&slab, objects[0]);
		assert_ptr_equal(apus_slab_get(&slab), objects[0]);
		assert_null(apus_slab_get(&slab));
		for (uint32_t i = 0; i < limits[l]; i++)
			apus_slab_put(&slab, objects[i]);
		assert_int_equal(slab.used, 0);
		apus_slab_fini(&slab);
		assert_int_equal(heap->live, 0);
	}
}

static void slab_gives_the_last_one_freed_first(void **state)
{
	struct apus_slab slab;
	void *objects[8];

	apus_slab_init(&slab, *state, 64, 100);
	for (int i = 0; i < 8; i++)
		objects[i] = apus_slab_get(&slab);
	for (int i = 0; i < 8; i++)
		apus_slab_put(&slab, objects[i]);
	for (int i = 7; i >= 0; i--)
		assert_ptr_equal(apus_slab_get(&slab), objects[i]);
	for (int i = 0; i < 8; i++)
		apus_slab_put(&slab, objects[i]);
	apus_slab_fini(&slab);
}

static void slab_objects_of_any_size_do_not_overlap(void **state)
{
	static const size_t sizes[] = {1, 7, 8, 9, 24, 63, 64, 65, 127, 200, 1000, 5000};

	for (size_t s = 0; s < apus_countof(sizes); s++) {
		struct apus_slab slab;
		static uint8_t *objects[200];

		apus_slab_init(&slab, *state, sizes[s], 200);
		for (uint32_t i = 0; i < 200; i++) {
			objects[i] = apus_slab_get(&slab);
			assert_non_null(objects[i]);
			assert_int_equal((uintptr_t)objects[i] % (sizes[s] > 64 ? 64 : 8), 0);
			memset(objects[i], (int)i, sizes[s]);
		}
		for (uint32_t i = 0; i < 200; i++) {
			for (size_t b = 0; b < sizes[s]; b++)
				assert_int_equal(objects[i][b], i);
			apus_slab_put(&slab, objects[i]);
		}
		apus_slab_fini(&slab);
	}
}

static void slab_reuses_chunks_instead_of_asking_the_heap(void **state)
{
	struct apus_heap *heap = *state;
	struct apus_slab slab;
	static void *objects[500];

	apus_slab_init(&slab, heap, 100, 500);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 500; i++) {
			objects[i] = apus_slab_get(&slab);
			assert_non_null(objects[i]);
		}
		for (int i = 0; i < 500; i++)
			apus_slab_put(&slab, objects[(i * 7) % 500]);
		apus_heap_fail_after(heap, 0); /* the first round took all that is needed */
	}
	apus_heap_fail_after(heap, -1);
	assert_true(slab.made <= 500);
	apus_slab_fini(&slab);
}

static void slab_without_memory_gives_null_and_recovers(void **state)
{
	struct apus_heap *heap = *state;

	for (int64_t n = 0; n < 6; n++) {
		struct apus_slab slab;
		static void *objects[400];
		uint32_t got = 0;

		apus_slab_init(&slab, heap, 256, 400);
		apus_heap_fail_after(heap, n);
		while (got < 400 && (objects[got] = apus_slab_get(&slab)))
			got++;
		assert_int_equal(slab.used, got);
		apus_heap_fail_after(heap, -1);
		for (; got < 400; got++) {
			objects[got] = apus_slab_get(&slab);
			assert_non_null(objects[got]);
		}
		for (uint32_t i = 0; i < 400; i++)
			apus_slab_put(&slab, objects[i]);
		apus_slab_fini(&slab);
		assert_int_equal(heap->live, 0);
	}
}

/* Each object carries its index; a random mix of get and put must never give one out twice. */
static void slab_random_get_and_put_never_gives_one_twice(void **state)
{
	test_each_seed(seed, 50)
	{
		static uint64_t *held[300];
		uint64_t chance = seed;
		size_t count = 0, limit = 1 + test_random_below(&chance, 300);
		struct apus_slab slab;

		apus_slab_init(&slab, *state, 8 + test_random_below(&chance, 100), (uint32_t)limit);
		for (int step = 0; step < 3000; step++) {
			if (test_random_below(&chance, 100) < (step / 300 % 2 ? 30 : 70)) {
				uint64_t *p = apus_slab_get(&slab);

				assert_int_equal(p != NULL, count < limit);
				if (!p)
					continue;
				*p = count;
				held[count++] = p;
			} else if (count) {
				size_t i = test_random_below(&chance, count);

				assert_int_equal(*held[i], i);
				apus_slab_put(&slab, held[i]);
				held[i] = held[--count];
				if (i < count)
					*held[i] = i;
			}
			assert_int_equal(slab.used, count);
		}
		while (count)
			apus_slab_put(&slab, held[--count]);
		apus_slab_fini(&slab);
	}
}

#define heap_test(name) cmocka_unit_test_setup_teardown(name, open_heap, close_heap)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		heap_test(new_heap_has_nothing_live_and_fails_nothing),
		heap_test(each_allocation_counts_as_live_until_freed),
		heap_test(memory_is_aligned_to_16_at_any_size),
		heap_test(aligned_memory_has_the_alignment_asked_for),
		heap_test(zalloc_of_used_memory_is_zero),
		heap_test(realloc_keeps_what_was_there),
		heap_test(fail_after_n_lets_n_succeed_then_none),
		heap_test(realloc_that_fails_leaves_the_old_as_it_was),
		heap_test(absurd_size_is_refused),
		heap_test(heaps_are_counted_apart),
		heap_test(hundreds_of_heaps_in_turn_and_together_work),
		heap_test(slab_gives_up_to_its_limit_and_not_one_more),
		heap_test(slab_gives_the_last_one_freed_first),
		heap_test(slab_objects_of_any_size_do_not_overlap),
		heap_test(slab_reuses_chunks_instead_of_asking_the_heap),
		heap_test(slab_without_memory_gives_null_and_recovers),
		heap_test(slab_random_get_and_put_never_gives_one_twice),
	};

	return test_main(argc, argv, tests);
}
