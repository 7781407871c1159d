/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_task_memory.c: tasks by the hundred thousand, at their limit, without
 * memory, and in random families that must end, leak nothing and replay.
 */
#include "tests/runtime/runtime_test.h"

#include <sys/resource.h>

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(1000 * APUS_SEC);
}

/* Resident memory of this process. */
static size_t resident_bytes(void)
{
	unsigned long total = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
	fclose(file);
	return resident * 4096;
}

/* Many. */

#define MANY_MAX 100000

static struct apus_task *many[MANY_MAX];

/*
 * Before Linux 6.13 a guard page costs two mappings, and vm.max_map_count is 65,530 by default;
 * TSan has 8,128 fibers.
 */
static size_t how_many(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool guards = madvise(page, 4096, 102 /* MADV_GUARD_INSTALL */) == 0;

	munmap(page, 4096);
	return test_is_slow() ? 2000 : guards ? MANY_MAX : 20000;
}

static void hundred_thousand_tasks_park_and_all_are_cancelled(void **state)
{
	size_t count = how_many(), before = resident_bytes();

	for (size_t i = 0; i < count; i++) {
		many[i] = apus_spawn(sleep_long, NULL);
		assert_non_null(many[i]);
	}
	test_laps(1);
	assert_int_equal(apus_shard_tasks(test_world.shard), count);
	if (test_memory_is_ours()) {
		size_t each = (resident_bytes() - before) / count;

		/* Issue 2: an idle task costs at most 4,400 bytes, its guard page included. */
		assert_in_range(each, 1000, 4400);
	}
	assert_int_equal(apus_shard_cancel_all(test_world.shard), count);
	test_laps(1);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(apus_task_result(many[i]), -ECANCELED);
		apus_detach(many[i]);
	}
}

#define ROUNDS (test_is_slow() ? 5000 : 200000)

static int64_t spawn_and_await_many(void *arg)
{
	int64_t sum = 0;

	for (int64_t i = 0; i < ROUNDS; i++)
		sum += apus_await(apus_spawn(return_arg, (void *)(intptr_t)1));
	return sum;
}

static void tasks_in_turn_reuse_one_stack(void **state)
{
	assert_int_equal(test_run(spawn_and_await_many, NULL), ROUNDS);
	size_t before = resident_bytes();
	uint64_t live = apus_shard_heap(test_world.shard)->live;

	assert_int_equal(test_run(spawn_and_await_many, NULL), ROUNDS);
	assert_int_equal(apus_shard_heap(test_world.shard)->live, live);
	if (test_memory_is_ours())
		assert_true(resident_bytes() <= before + (256 << 10));
}

/* The limit. */

static int open_with_ten_tasks_at_most(void **state)
{
	return test_open_with(&(struct apus_shard_options){.tasks_max = 10});
}

static void spawn_at_the_limit_gives_null_and_recovers(void **state)
{
	struct apus_task *tasks[10];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 10; i++) {
			tasks[i] = apus_spawn(sleep_long, NULL);
			assert_non_null(tasks[i]);
		}
		assert_null(apus_spawn(return_arg, NULL));
		assert_null(apus_spawn_with(&(struct apus_spawn_options){0}, return_arg, "x", 1));
		assert_int_equal(apus_spawn_detached(NULL, return_arg, NULL, 0), -ENOMEM);
		assert_int_equal(apus_shard_tasks(test_world.shard), 10);
		test_laps(1);

		/* One that has ended makes room for one, though its handle is still out. */
		apus_task_cancel(tasks[3]);
		test_laps(1);
		struct apus_task *t = apus_spawn(return_arg, (void *)7);

		assert_non_null(t);
		assert_null(apus_spawn(return_arg, NULL));
		assert_int_equal(test_await(t), 7);
		apus_shard_cancel_all(test_world.shard);
		for (int i = 0; i < 10; i++)
			assert_int_equal(test_await(tasks[i]), -ECANCELED);
	}
}

static int64_t await_one_too_many(void *arg)
{
	struct apus_task *tasks[9];

	for (int i = 0; i < 9; i++)
		tasks[i] = apus_spawn(return_arg, (void *)1);
	assert_int_equal(apus_await(apus_spawn(return_arg, (void *)1)), -ENOMEM);
	for (int i = 0; i < 9; i++)
		assert_int_equal(apus_await(tasks[i]), 1);
	return 0;
}

static void await_of_what_could_not_be_spawned_is_enomem(void **state)
{
	ok(test_run(await_one_too_many, NULL));
}

/* Without memory. */

static void spawn_without_memory_gives_null_or_a_whole_task(void **state)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);

	for (int64_t n = 0; n < 20; n++) {
		struct apus_task *tasks[300];

		apus_heap_fail_after(heap, n);
		for (size_t i = 0; i < apus_countof(tasks); i++) {
			size_t before = apus_shard_tasks(test_world.shard);

			tasks[i] = apus_spawn_with(
				&(struct apus_spawn_options){.stack_bytes = 16384u << (i % 3)},
				return_arg, NULL, 0);
			assert_int_equal(apus_shard_tasks(test_world.shard) - before,
					 tasks[i] != NULL);
		}
		while (apus_shard_turn(test_world.shard))
			;
		apus_heap_fail_after(heap, -1);
		for (size_t i = 0; i < apus_countof(tasks); i++) {
			if (tasks[i])
				ok(test_await(tasks[i]));
		}
		assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	}
}

static struct test_capture capture;

/* In a child with little address space: spawn says no, and what was spawned can be ended. */
static void exhaust_address_space(void *arg)
{
	struct rlimit limit = {512 << 20, 512 << 20};
	size_t got = 0;

	if (setrlimit(RLIMIT_AS, &limit))
		_exit(3);
	while (apus_spawn_detached(NULL, sleep_long, NULL, 0) == 0)
		got++;
	apus_shard_turn(test_world.shard);
	if (apus_shard_tasks(test_world.shard) != got || got < 1000)
		_exit(4);
	apus_shard_cancel_all(test_world.shard);
	while (apus_shard_tasks(test_world.shard))
		apus_shard_turn(test_world.shard);
	struct apus_task *t = apus_spawn(return_arg, NULL);

	_exit(t && test_await(t) == 0 ? 0 : 5);
}

static void without_address_space_spawn_fails_and_the_rest_goes_on(void **state)
{
	if (!test_memory_is_ours())
		test_skip();
	int status = test_in_child(exhaust_address_space, NULL, &capture);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Families of tasks that do random things to each other. */

#define MEMBERS 40

static struct family {
	uint64_t chance;
	uint64_t hash; /* over all that happened */
	struct apus_task *members[MEMBERS];
	int spawned;
} family;

static void note(uint64_t what)
{
	family.hash = (family.hash ^ what) * UINT64_C(0x100000001b3);
}

static int64_t live(void *arg);

static void spawn_a_child(void)
{
	int slot = (int)test_random_below(&family.chance, MEMBERS);

	if (family.spawned >= 500)
		return;
	struct apus_task *t = apus_spawn_with(
		&(struct apus_spawn_options){
			.stack_bytes = 16384u << test_random_below(&family.chance, 3)},
		live, &family.spawned, sizeof(family.spawned));

	family.spawned++;
	apus_detach(family.members[slot]);
	family.members[slot] = t;
}

/* One thing that a task may do. Return: what it came to. */
static int64_t act(void)
{
	struct apus_task *other = family.members[test_random_below(&family.chance, MEMBERS)];

	switch (test_random_below(&family.chance, 10)) {
	case 0:
	case 1:
		spawn_a_child();
		return 1;
	case 2:
		return apus_task_cancel(other);
	case 3:
		/* Only a younger one: a circle of awaits would never end by itself. */
		if (apus_task_id(other) > apus_task_id(apus_task_self()))
			return apus_await(apus_task_get(other));
		return apus_yield();
	case 4:
		return apus_checkpoint();
	case 5:
		return apus_task_uncancel(apus_task_self());
	case 6:
	case 7:
		return apus_sleep((int64_t)(test_random(&family.chance) >> 40));
	default:
		return apus_yield();
	}
}

static int64_t live(void *arg)
{
	uint64_t me = *(int *)arg;
	volatile uint64_t guard[32];
	int64_t rc = 0;

	for (size_t i = 0; i < 32; i++)
		guard[i] = me * i;
	for (uint64_t n = 5 + test_random_below(&family.chance, 20); n; n--) {
		rc = act();
		note(me);
		note((uint64_t)rc);
		note((uint64_t)apus_now());
		/* Half of the tasks stop when told to. */
		if (rc == -ECANCELED && me % 2)
			return rc;
	}
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(guard[i], me * i);
	return rc < 0 ? -ECANCELED : rc;
}

static uint64_t run_family(uint64_t seed)
{
	family = (struct family){.chance = seed};
	ok(test_open(NULL));
	for (int i = 0; i < 10; i++)
		spawn_a_child();
	test_drain();
	for (int i = 0; i < MEMBERS; i++)
		apus_detach(family.members[i]);
	assert_int_equal(apus_shard_tasks(test_world.shard), 0);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	note((uint64_t)apus_clock_read(&test_world.clock));
	apus_shard_close(test_world.shard);
	return family.hash;
}

static void random_families_end_leave_nothing_and_replay(void **state)
{
	test_each_seed(seed, 300)
	{
		uint64_t hash = run_family(seed);

		assert_int_equal(run_family(seed), hash);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(hundred_thousand_tasks_park_and_all_are_cancelled),
		shard_test(tasks_in_turn_reuse_one_stack),
		shard_test_with(spawn_at_the_limit_gives_null_and_recovers,
				open_with_ten_tasks_at_most),
		shard_test_with(await_of_what_could_not_be_spawned_is_enomem,
				open_with_ten_tasks_at_most),
		shard_test(spawn_without_memory_gives_null_or_a_whole_task),
		shard_test(without_address_space_spawn_fails_and_the_rest_goes_on),
		cmocka_unit_test(random_families_end_leave_nothing_and_replay),
	};

	return test_main(argc, argv, tests);
}
