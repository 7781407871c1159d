/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_stack.c: the pool of stacks: apart, guarded, coloured, reused, given
 * back; and the report that names the task whose stack overflowed.
 */
#include "tests/runtime/runtime_test.h"

#include <sys/resource.h>

#include "runtime/sched/stack.h"

#define PAGE 4096

struct object {
	struct apus_stack stack;
	char payload[400];
};

static struct apus_stack_pool pool;

static int open_pool(void **state)
{
	apus_stack_pool_init(&pool, 64 << 10, sizeof(struct object), NULL);
	return 0;
}

static int close_pool(void **state)
{
	apus_stack_pool_fini(&pool);
	return 0;
}

static void size_is_rounded_up_to_a_power_of_two(void **state)
{
	static const size_t sizes[][2] = {
		{0, 16384},     {1, 16384},      {16384, 16384},     {16385, 32768},
		{65536, 65536}, {70000, 131072}, {1000000, 1048576},
	};

	for (size_t i = 0; i < apus_countof(sizes); i++) {
		struct apus_stack_pool p;

		apus_stack_pool_init(&p, sizes[i][0], sizeof(struct object), NULL);
		assert_int_equal(p.stack_bytes, sizes[i][1]);
		apus_stack_pool_fini(&p);
	}
}

static void object_is_at_the_top_of_its_own_stack(void **state)
{
	struct object *o = apus_stack_get(&pool);

	assert_non_null(o);
	assert_int_equal(pool.used, 1);
	assert_int_equal(o->stack.bytes, 64 << 10);
	assert_int_equal((uintptr_t)o % APUS_CACHE_LINE, 0);
	assert_true((char *)(o + 1) <= o->stack.base + o->stack.bytes);
	/* An idle task must cost one page. */
	assert_true((char *)o >= o->stack.base + o->stack.bytes - PAGE);
	assert_ptr_equal(apus_stack_object(&pool, o->stack.base), o);
	apus_stack_put(&pool, &o->stack);
	assert_int_equal(pool.used, 0);
}

#define MANY 1500

static struct object *objects[MANY];

static void get_many(void)
{
	size_t before = pool.used;

	for (size_t i = 0; i < MANY; i++) {
		objects[i] = apus_stack_get(&pool);
		assert_non_null(objects[i]);
	}
	assert_int_equal(pool.used, before + MANY);
}

static void put_many(void)
{
	size_t before = pool.used;

	for (size_t i = 0; i < MANY; i++)
		apus_stack_put(&pool, &objects[i]->stack);
	assert_int_equal(pool.used, before - MANY);
}

static int by_base(const void *a, const void *b)
{
	const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;

	return x->stack.base < y->stack.base ? -1 : x->stack.base > y->stack.base;
}

static void stacks_do_not_overlap_and_all_of_them_can_be_written(void **state)
{
	get_many();
	for (size_t i = 0; i < MANY; i += 10)
		memset(objects[i]->stack.base + PAGE, (int)i,
		       (size_t)((char *)objects[i] - objects[i]->stack.base - PAGE));
	for (size_t i = 0; i < MANY; i++)
		memset(objects[i]->payload, (int)i, sizeof(objects[i]->payload));
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal((uint8_t)objects[i]->payload[399], (uint8_t)i);
	qsort(objects, MANY, sizeof(objects[0]), by_base);
	for (size_t i = 1; i < MANY; i++)
		assert_true(objects[i - 1]->stack.base + (64 << 10) <= objects[i]->stack.base);
	put_many();
}

static void tops_have_many_colours(void **state)
{
	bool seen[PAGE / APUS_CACHE_LINE] = {false};
	int colours = 0;

	get_many();
	for (size_t i = 0; i < 64; i++)
		seen[(uintptr_t)objects[i] % PAGE / APUS_CACHE_LINE] = true;
	for (size_t i = 0; i < apus_countof(seen); i++)
		colours += seen[i];
	assert_true(colours >= 16);
	put_many();
}

static void last_one_freed_is_given_first(void **state)
{
	struct object *a = apus_stack_get(&pool), *b = apus_stack_get(&pool);

	apus_stack_put(&pool, &a->stack);
	apus_stack_put(&pool, &b->stack);
	assert_ptr_equal(apus_stack_get(&pool), b);
	assert_ptr_equal(apus_stack_get(&pool), a);
	apus_stack_put(&pool, &a->stack);
	apus_stack_put(&pool, &b->stack);
}

static void guard_page_is_known(void **state)
{
	get_many();
	for (size_t i = 0; i < MANY; i += 7) {
		char *base = objects[i]->stack.base, *found = NULL;

		assert_true(apus_stack_pool_guards(&pool, base, &found));
		assert_ptr_equal(found, base);
		assert_true(apus_stack_pool_guards(&pool, base + PAGE - 1, &found));
		assert_ptr_equal(found, base);
		assert_false(apus_stack_pool_guards(&pool, base + PAGE, &found));
		assert_false(apus_stack_pool_guards(&pool, objects[i], &found));
	}
	char *found, local;

	assert_false(apus_stack_pool_guards(&pool, &local, &found));
	assert_false(apus_stack_pool_guards(&pool, NULL, &found));
	put_many();
}

/* Return: is there more to do? */
static bool idle_moment(void)
{
	return apus_stack_pool_trim(&pool, 100) || apus_stack_pool_age(&pool);
}

static void give_back(void)
{
	int calls = 0;

	while (idle_moment())
		assert_true(++calls < 1000);
}

static struct test_capture capture;

static void write_at(void *address)
{
	*(volatile char *)address = 1;
}

static bool died(int status)
{
	return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

static void guard_page_cannot_be_written(void **state)
{
	struct object *o = apus_stack_get(&pool);

	assert_true(died(test_in_child(write_at, o->stack.base, &capture)));
	assert_true(died(test_in_child(write_at, o->stack.base + PAGE - 1, &capture)));
	assert_int_equal(test_in_child(write_at, o->stack.base + PAGE, &capture), 0);
	apus_stack_put(&pool, &o->stack);
	/* Nor after the stack was trimmed and used again. */
	for (int i = 0; i < 3; i++)
		idle_moment();
	o = apus_stack_get(&pool);
	assert_true(died(test_in_child(write_at, o->stack.base, &capture)));
	apus_stack_put(&pool, &o->stack);
}

static size_t resident_bytes(char *base, size_t bytes)
{
	unsigned char pages[64];
	size_t resident = 0;

	assert_true(bytes <= sizeof(pages) * PAGE);
	ok(mincore(base, bytes, pages));
	for (size_t i = 0; i < bytes / PAGE; i++)
		resident += pages[i] & 1 ? PAGE : 0;
	return resident;
}

static void trim_gives_back_all_but_one_page_of_unused_stacks(void **state)
{
	struct object *used = apus_stack_get(&pool);

	for (size_t i = 0; i < APUS_STACKS_KEPT; i++) {
		objects[i] = apus_stack_get(&pool);
		memset(objects[i]->stack.base + 32768, 1, 16384);
	}
	memset(used->stack.base + 32768, 1, 16384);
	for (size_t i = 0; i < APUS_STACKS_KEPT; i++)
		apus_stack_put(&pool, &objects[i]->stack);
	give_back();
	for (size_t i = 0; i < APUS_STACKS_KEPT; i++)
		assert_true(resident_bytes(objects[i]->stack.base, 64 << 10) <= PAGE);
	assert_true(resident_bytes(used->stack.base, 64 << 10) >= 16384);
	assert_in_range(pool.high_water_bytes, 32768, 36864);
	apus_stack_put(&pool, &used->stack);
	/* And they serve again. */
	get_many();
	for (size_t i = 0; i < MANY; i++)
		memset(objects[i]->stack.base + PAGE, 2, 8192);
	put_many();
}

static void trim_spares_stacks_used_since_the_last_call(void **state)
{
	struct object *o = apus_stack_get(&pool);

	memset(o->stack.base + PAGE, 1, 16384);
	for (int i = 0; i < 10; i++) {
		apus_stack_put(&pool, &o->stack);
		idle_moment();
		assert_ptr_equal(apus_stack_get(&pool), o);
		assert_true(resident_bytes(o->stack.base, 64 << 10) >= 16384);
	}
	apus_stack_put(&pool, &o->stack);
}

static size_t slabs(void)
{
	const struct apus_list *it;
	size_t n = 0;

	apus_list_for_each(it, &pool.slabs)
		n++;
	return n;
}

static void count_object(void *object, void *arg)
{
	(*(size_t *)arg)++;
}

/* Half of them stay in use, so that no slab is empty. */
static void of_more_than_are_kept_nothing_is_resident(void **state)
{
	static struct object *more[2 * APUS_STACKS_KEPT];
	size_t resident = 0, visited = 0;

	get_many();
	for (size_t i = 0; i < apus_countof(more); i++) {
		more[i] = apus_stack_get(&pool);
		memset(more[i]->stack.base + 32768, 1, 16384);
		memset(objects[i % MANY]->payload, 7, sizeof(objects[0]->payload));
	}
	for (size_t i = 0; i < apus_countof(more); i += 2)
		apus_stack_put(&pool, &more[i]->stack);
	put_many();

	size_t all = slabs();
	static char *bases[apus_countof(more)];

	for (size_t i = 0; i < apus_countof(more); i++)
		bases[i] = more[i]->stack.base;
	give_back();
	assert_int_equal(pool.cold_count, APUS_STACKS_KEPT);
	for (size_t i = 0; i < apus_countof(more); i += 2)
		resident += resident_bytes(bases[i], 64 << 10) / PAGE;
	assert_in_range(resident, 0, APUS_STACKS_KEPT);
	for (size_t i = 1; i < apus_countof(more); i += 2) {
		assert_ptr_equal(more[i]->stack.base, bases[i]);
		assert_int_equal(more[i]->stack.base[32768], 1);
	}
	apus_stack_pool_each_used(&pool, count_object, &visited);
	assert_int_equal(visited, apus_countof(more) / 2);
	assert_int_equal(pool.used, visited);

	/* They serve again, whole, and no slab is added for them. */
	for (size_t i = 0; i < apus_countof(more); i += 2) {
		more[i] = apus_stack_get(&pool);
		assert_ptr_equal(apus_stack_object(&pool, more[i]->stack.base), more[i]);
		assert_int_equal(more[i]->stack.bytes, 64 << 10);
		memset(more[i]->stack.base + PAGE, 2, 8192);
	}
	get_many();
	assert_true(slabs() <= all);
	put_many();
	for (size_t i = 0; i < apus_countof(more); i++)
		apus_stack_put(&pool, &more[i]->stack);
}

static void slabs_without_a_stack_in_use_are_unmapped(void **state)
{
	static struct object *more[8 * APUS_STACKS_KEPT];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < apus_countof(more); i++) {
			more[i] = apus_stack_get(&pool);
			assert_non_null(more[i]);
		}
		assert_true(slabs() >= apus_countof(more) / 256);
		for (size_t i = 0; i < apus_countof(more); i++)
			apus_stack_put(&pool, &more[i]->stack);
		give_back();
		assert_int_equal(pool.cold_count, APUS_STACKS_KEPT);
		/* Those that are kept lie together: they were freed one after the other. */
		assert_in_range(slabs(), APUS_STACKS_KEPT / 256, APUS_STACKS_KEPT / 256 + 2);
	}
}

static void kept_objects_stay_where_they_are(void **state)
{
	static struct object *more[2 * APUS_STACKS_KEPT];

	pool.keeps_objects = true;
	for (size_t i = 0; i < apus_countof(more); i++) {
		more[i] = apus_stack_get(&pool);
		memset(more[i]->payload, 7, sizeof(more[i]->payload));
	}
	for (size_t i = 0; i < apus_countof(more); i++)
		apus_stack_put(&pool, &more[i]->stack);
	give_back();
	assert_int_equal(pool.cold_count, apus_countof(more));
	for (size_t i = 0; i < apus_countof(more); i++)
		assert_int_equal(more[i]->payload[99], 7);
}

static size_t dropped;

static void drop_object(void *object)
{
	dropped++;
}

static void every_object_is_dropped_once(void **state)
{
	static struct object *more[2 * APUS_STACKS_KEPT];

	dropped = 0;
	pool.drop = drop_object;
	for (size_t i = 0; i < apus_countof(more); i++)
		more[i] = apus_stack_get(&pool);
	for (size_t i = 0; i < apus_countof(more); i++)
		apus_stack_put(&pool, &more[i]->stack);
	give_back();
	assert_int_equal(dropped, apus_countof(more) - APUS_STACKS_KEPT);
	apus_stack_pool_fini(&pool);
	assert_int_equal(dropped, apus_countof(more));
	open_pool(state);
}

/* A child that may not have more address space: get says no, and goes on saying so. */
static void exhaust_address_space(void *arg)
{
	struct rlimit limit = {256 << 20, 256 << 20};
	size_t got = 0;

	if (setrlimit(RLIMIT_AS, &limit))
		_exit(3);
	while (apus_stack_get(&pool))
		got++;
	_exit(got > 0 && !apus_stack_get(&pool) ? 0 : 4);
}

static void without_address_space_get_gives_null(void **state)
{
	if (!test_memory_is_ours())
		skip();
	int status = test_in_child(exhaust_address_space, NULL, &capture);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The report. */

static APUS_NOINLINE int64_t recurse(volatile int64_t depth)
{
	volatile char frame[256];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

static int64_t overflow(void *arg)
{
	return recurse(0);
}

static int64_t crash(void *arg)
{
	volatile char *volatile nowhere = (volatile char *)16;

	*nowhere = 1;
	return 0;
}

static void run_with_report(void *arg)
{
	struct apus_shard *shard;
	const struct apus_shard_options options = {.core = -1, .seed = 1, .stack_report = true};
	apus_task_fn fn = *(apus_task_fn *)arg;

	if (apus_shard_open(&options, &shard))
		_exit(0);
	apus_shard_enter(shard);
	/* Others around it, so that the right one must be found. */
	for (int i = 0; i < 100; i++)
		apus_detach(apus_spawn(overflow == fn ? crash : overflow, NULL));
	apus_shard_cancel_all(shard);
	apus_detach(
		apus_spawn_with(&(struct apus_spawn_options){.name = "deep-diver"}, fn, NULL, 0));
	for (int i = 0; i < 3; i++)
		apus_shard_turn(shard);
}

static void overflow_ends_by_signal_and_names_the_task(void **state)
{
	apus_task_fn fn = overflow;
	int status = test_in_child(run_with_report, &fn, &capture);

	assert_true(died(status));
	if (APUS_ASAN || APUS_TSAN)
		return; /* theirs is the report */
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_non_null(strstr(capture.text, "stack overflow"));
	assert_non_null(strstr(capture.text, "deep-diver"));
}

static void another_fault_is_not_called_an_overflow(void **state)
{
	if (test_is_slow())
		skip(); /* valgrind goes on behind the instruction */
	apus_task_fn fn = crash;
	int status = test_in_child(run_with_report, &fn, &capture);

	assert_true(died(status));
	if (APUS_ASAN || APUS_TSAN)
		return;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_null(strstr(capture.text, "overflow"));
}

#define pool_test(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_is_rounded_up_to_a_power_of_two),
		pool_test(object_is_at_the_top_of_its_own_stack),
		pool_test(stacks_do_not_overlap_and_all_of_them_can_be_written),
		pool_test(tops_have_many_colours),
		pool_test(last_one_freed_is_given_first),
		pool_test(guard_page_is_known),
		pool_test(guard_page_cannot_be_written),
		pool_test(trim_gives_back_all_but_one_page_of_unused_stacks),
		pool_test(trim_spares_stacks_used_since_the_last_call),
		pool_test(of_more_than_are_kept_nothing_is_resident),
		pool_test(slabs_without_a_stack_in_use_are_unmapped),
		pool_test(kept_objects_stay_where_they_are),
		pool_test(every_object_is_dropped_once),
		pool_test(without_address_space_get_gives_null),
		cmocka_unit_test(overflow_ends_by_signal_and_names_the_task),
		cmocka_unit_test(another_fault_is_not_called_an_overflow),
	};

	return test_main(argc, argv, tests);
}
