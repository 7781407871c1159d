/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_group_more.c: groups beyond asyncio's TaskGroup of 3.14, without memory,
 * and in random trees. What they have in common with it is in test_group.c.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/group.h"

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_second(void *arg)
{
	return apus_sleep(APUS_SEC);
}

/* Fails with arg after 10 ms. */
static int64_t fail_at_10_ms(void *arg)
{
	int rc = apus_sleep(10 * APUS_MS);

	return rc ? rc : (int64_t)(intptr_t)arg;
}

static int64_t emit_and_sleep(void *arg)
{
	int rc = apus_sleep(50 * APUS_MS);

	if (rc)
		emit("CE");
	else
		emit("end %d", (int)test_ms());
	return rc;
}

static void emit_errors(const struct apus_group *g)
{
	struct apus_group_error error;
	char text[256] = "[";

	for (size_t i = 0; apus_group_error(g, i, &error); i++)
		sprintf(text + strlen(text), "%s%lld", i ? ", " : "", (long long)error.error);
	emit("%s]", text);
}

/* Trace 39. */
static int64_t many_errors_same_tick(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < 3; i++)
		ok(apus_group_spawn(&g, NULL, fail_at_10_ms, as_arg(-100 - i), 0));
	int64_t rc = apus_group_end(&g, 0);

	assert_int_equal(rc, -100);
	emit_errors(&g);
	apus_group_fini(&g);
	return 0;
}

/* What asyncio has only in 3.15, or not at all. */

static int64_t cancel_group_quietly(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	ok(apus_yield());
	apus_group_cancel(&g);
	apus_group_cancel(&g);
	int64_t rc = apus_group_end(&g, 0);

	emit("%lld %u", (long long)rc, cancelling());
	apus_group_fini(&g);
	ok(apus_sleep(APUS_MS));
	return 0;
}

static void cancel_of_a_group_is_a_quiet_early_exit(void **state)
{
	ok(test_run(cancel_group_quietly, NULL));
	assert_trace("CE · CE · 0 0");
}

static struct apus_group *open_group;

static int64_t cancel_open_group(void *arg)
{
	ok(apus_sleep(5 * APUS_MS));
	apus_group_cancel(open_group);
	return 0;
}

static int64_t body_waits_for_cancel(void *arg)
{
	struct apus_group g;

	open_group = &g;
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	ok(apus_group_spawn(&g, NULL, cancel_open_group, NULL, 0));
	int rc = apus_sleep(APUS_SEC);

	emit("body %s %d", rc == -ECANCELED ? "CE" : "no", (int)test_ms());
	int64_t result = apus_group_end(&g, rc);

	emit("%lld %u", (long long)result, cancelling());
	apus_group_fini(&g);
	ok(apus_yield());
	return 0;
}

static void cancel_of_a_group_from_a_child_ends_the_body_quietly(void **state)
{
	ok(test_run(body_waits_for_cancel, NULL));
	assert_trace("body CE 5 · 0 0");
}

static int64_t collect(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_COLLECT);
	ok(apus_group_spawn(&g, NULL, fail_at_10_ms, as_arg(-EDOM), 0));
	ok(apus_group_spawn(&g, NULL, emit_and_sleep, NULL, 0));
	ok(apus_group_spawn(&g, NULL, return_arg, as_arg(-ERANGE), 0));
	int64_t rc = apus_group_end(&g, 0);

	emit_errors(&g);
	apus_group_fini(&g);
	return rc == -ERANGE ? 0 : -EINVAL;
}

static void collecting_group_lets_the_others_go_on(void **state)
{
	ok(test_run(collect, NULL));
	assert_trace("end 50 · [-34, -33]");
}

static int64_t spawn_without_room(void *arg)
{
	struct apus_group g;
	int rc = 0, spawned = 0;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	while ((rc = apus_group_spawn(&g, NULL, sleep_second, NULL, 0)) == 0)
		spawned++;
	assert_int_equal(rc, -ENOMEM);
	assert_int_equal(spawned, 9);
	apus_group_cancel(&g);
	int64_t result = apus_group_end(&g, 0);

	apus_group_fini(&g);
	return result;
}

static int open_with_ten_tasks_at_most(void **state)
{
	return test_open_with(&(struct apus_shard_options){.tasks_max = 10});
}

static void spawn_without_memory_is_enomem_and_the_group_goes_on(void **state)
{
	ok(test_run(spawn_without_room, NULL));
}

/* Errors of children are seen by the end: nothing is reported as unseen. */
static void errors_of_children_are_not_reported_as_unseen(void **state)
{
	static struct test_capture capture;

	test_capture_begin(&capture);
	struct apus_task *t = apus_spawn(many_errors_same_tick, NULL);

	test_laps(2);
	test_advance(10 * APUS_MS);
	test_capture_end(&capture);
	ok(test_await(t));
	assert_string_equal(capture.text, "");
}

/* Random trees of groups: at every end all below is gone, and the counts are as they were. */

static struct {
	uint64_t chance;
	int alive, begun;
	struct apus_task *root;
} fuzz;

static int64_t random_group(void *arg);

static int64_t random_leaf(void *arg)
{
	int64_t rc;

	fuzz.alive++;
	rc = apus_sleep((int64_t)test_random_below(&fuzz.chance, 50));
	if (rc == -ECANCELED && test_random_below(&fuzz.chance, 3) == 0)
		(void)!apus_sleep((int64_t)test_random_below(&fuzz.chance, 20));
	fuzz.alive--;
	if (rc == 0 && test_random_below(&fuzz.chance, 6) == 0)
		return -EIO;
	return rc;
}

static int64_t random_group(void *arg)
{
	intptr_t depth = (intptr_t)arg;
	struct apus_group g;
	int64_t rc = 0;

	fuzz.begun++;
	fuzz.alive++;
	uint32_t before = cancelling();

	apus_group_begin(&g, test_random_below(&fuzz.chance, 4) ? APUS_GROUP_FAIL_FAST
								: APUS_GROUP_COLLECT);
	for (uint64_t n = test_random_below(&fuzz.chance, 4); n && !rc; n--) {
		rc = apus_group_spawn(&g, NULL, random_leaf, NULL, 0);
		if (!rc && depth)
			rc = apus_group_spawn(&g, NULL, random_group, (void *)(depth - 1), 0);
		if (!rc && test_random_below(&fuzz.chance, 2))
			rc = apus_sleep((int64_t)test_random_below(&fuzz.chance, 30));
	}
	if (test_random_below(&fuzz.chance, 8) == 0)
		apus_group_cancel(&g);
	int64_t result = apus_group_end(&g, rc);

	assert_int_equal(g.live, 0);
	assert_true(apus_list_empty(&g.children));
	assert_true(cancelling() >= before);
	apus_group_fini(&g);
	fuzz.alive--;
	return result < 0 ? result : 0;
}

static void random_trees_leave_nobody_behind(void **state)
{
	test_each_seed(seed, 500)
	{
		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		fuzz.root = apus_spawn(random_group, (void *)4);
		if (seed % 2)
			for (uint64_t n = test_random_below(&fuzz.chance, 40); n; n--)
				test_step();
		if (seed % 4 == 1)
			apus_task_cancel(fuzz.root);
		while (!apus_task_done(fuzz.root))
			assert_true(test_step());
		(void)apus_task_result(fuzz.root);
		apus_detach(fuzz.root);
		assert_int_equal(fuzz.alive, 0);
		assert_int_equal(apus_shard_tasks(test_world.shard), 0);
		assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(cancel_of_a_group_is_a_quiet_early_exit),
		shard_test(cancel_of_a_group_from_a_child_ends_the_body_quietly),
		shard_test(collecting_group_lets_the_others_go_on),
		shard_test_with(spawn_without_memory_is_enomem_and_the_group_goes_on,
				open_with_ten_tasks_at_most),
		shard_test(errors_of_children_are_not_reported_as_unseen),
		shard_test(random_trees_leave_nobody_behind),
	};

	return test_main(argc, argv, tests);
}
