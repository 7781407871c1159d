/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_lock_holder.c: in debug mode the await tree leads from who waits for a lock to
 * who holds it, and tasks that hold each other's locks are a cycle.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sched/dump.h"
#include "runtime/sync/condition.h"
#include "runtime/sync/lock.h"

static struct apus_lock locks[2];
static struct apus_condition condition;
static char *text;
static size_t cycles;

static int open_debug(void **state)
{
	int rc = test_open_with(&(struct apus_shard_options){.core = -1, .debug = true});

	apus_lock_init(&locks[0]);
	apus_lock_init(&locks[1]);
	return rc;
}

static struct apus_task *spawn_named(const char *name, apus_task_fn fn, intptr_t arg)
{
	return apus_spawn_with(&(struct apus_spawn_options){.name = name}, fn, (void *)arg, 0);
}

static const char *tree(void)
{
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	cycles = apus_shard_dump_tree(test_world.shard, out, 0);
	fclose(out);
	return text;
}

static void assert_tree_has(const char *what)
{
	if (!strstr(tree(), what))
		fail_msg("no '%s' in:\n%s", what, text);
	free(text);
}

static int64_t hold_one(void *arg)
{
	ok(apus_lock_acquire(&locks[0]));
	int rc = apus_sleep(APUS_SEC);

	ok(apus_lock_release(&locks[0]));
	return rc;
}

static int64_t take_one(void *arg)
{
	int rc = apus_lock_acquire(&locks[0]);

	if (rc)
		return rc;
	rc = apus_sleep(APUS_SEC);
	ok(apus_lock_release(&locks[0]));
	return rc;
}

static void holder_stands_under_who_waits_for_its_lock(void **state)
{
	struct apus_task *a = spawn_named("holder", hold_one, 0);
	struct apus_task *b = spawn_named("waiter", take_one, 0);

	test_laps(2);
	assert_tree_has("    holder: waits for sleep");
	assert_int_equal(cycles, 0);
	ok(test_await(a));
	test_laps(2);
	/* The lock has changed hands: nobody waits for it now. */
	assert_tree_has("\n  waiter: waits for sleep");
	ok(test_await(b));
}

static int64_t take_both(void *arg)
{
	intptr_t first = (intptr_t)arg;

	ok(apus_lock_acquire(&locks[first]));
	ok(apus_yield());
	int rc = apus_lock_acquire(&locks[1 - first]);

	if (!rc)
		ok(apus_lock_release(&locks[1 - first]));
	ok(apus_lock_release(&locks[first]));
	return rc;
}

static void tasks_that_hold_each_others_locks_are_a_cycle(void **state)
{
	struct apus_task *a = spawn_named("ab", take_both, 0);
	struct apus_task *b = spawn_named("ba", take_both, 1);

	test_laps(3);
	assert_tree_has("cycle: ab awaits ba, which awaits ab");
	assert_int_equal(cycles, 1);
	apus_task_cancel(a);
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_await(b));
}

static int64_t wait_for_change(void *arg)
{
	ok(apus_lock_acquire(&locks[0]));
	int rc = apus_condition_wait(&condition);

	ok(apus_lock_release(&locks[0]));
	return rc;
}

static int64_t change_and_hold(void *arg)
{
	ok(apus_lock_acquire(&locks[0]));
	ok(apus_condition_notify_all(&condition));
	int rc = apus_sleep(APUS_SEC);

	ok(apus_lock_release(&locks[0]));
	return rc;
}

static void who_was_notified_waits_for_the_holder(void **state)
{
	apus_condition_init(&condition, &locks[0]);
	struct apus_task *a = spawn_named("waiter", wait_for_change, 0);

	test_laps(1);
	struct apus_task *b = spawn_named("changer", change_and_hold, 0);

	test_laps(3);
	assert_tree_has("    changer: waits for sleep");
	ok(test_await(b));
	ok(test_await(a));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test_with(holder_stands_under_who_waits_for_its_lock, open_debug),
		shard_test_with(tasks_that_hold_each_others_locks_are_a_cycle, open_debug),
		shard_test_with(who_was_notified_waits_for_the_holder, open_debug),
	};

	return test_main(argc, argv, tests);
}
