/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_debug.c: debug mode says what is wrong, and where.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sched/dump.h"
#include "runtime/sched/run.h"
#include "runtime/sched/wait.h"

#include <pthread.h>

static int open_debug(void **state)
{
	return test_open_with(&(struct apus_shard_options){.debug = true});
}

static int open_watched(void **state)
{
	return test_open_with(&(struct apus_shard_options){.debug = true, .slow_ns = 20 * APUS_MS});
}

static struct apus_task *spawn_named(const char *name, apus_task_fn fn, void *arg)
{
	return apus_spawn_with(&(struct apus_spawn_options){.name = name}, fn, arg, 0);
}

/* TSan lets no forked process begin a thread, and debug mode has one. */
static int run_in_child(void (*fn)(void *arg), struct test_capture *c)
{
	if (APUS_TSAN)
		skip();
	return test_in_child(fn, NULL, c);
}

/* The tree of the shard as text; to be freed. */
static APUS_NOINLINE char *tree_text(unsigned int flags, size_t *cycles)
{
	char *text = NULL;
	size_t bytes, found;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		abort();
	found = apus_shard_dump_tree(test_world.shard, out, flags);
	if (cycles)
		*cycles = found;
	fclose(out);
	return text;
}

/* --- The await tree ------------------------------------------------------------------------ */

/* A call in tail position would leave no frame behind. */
static int64_t keep_frame(int64_t rc)
{
	__asm__ volatile("" : "+r"(rc));
	return rc;
}

static APUS_NOINLINE int64_t sleep_in_the_deep(void *arg)
{
	return keep_frame(apus_sleep(APUS_SEC));
}

static APUS_NOINLINE int64_t await_the_deep(void *arg)
{
	struct apus_task *leaf = spawn_named("leaf", sleep_in_the_deep, NULL);

	return keep_frame(apus_await(leaf));
}

static void tree_puts_the_awaited_under_who_awaits(void **state)
{
	struct apus_task *root = spawn_named("root", await_the_deep, NULL);
	struct apus_task *other = spawn_named("other", sleep_in_the_deep, NULL);
	size_t cycles;

	test_laps(2);
	char *text = tree_text(0, &cycles);

	assert_non_null(strstr(text, "apus: 3 tasks\n  root: waits for task leaf"));
	assert_non_null(strstr(text, "\n    leaf: waits for sleep"));
	assert_non_null(strstr(text, "\n  other: waits for sleep"));
	assert_int_equal(cycles, 0);
	free(text);
	ok(test_await(root));
	ok(test_await(other));
}

static void tree_shows_the_stacks_of_parked_tasks(void **state)
{
	struct apus_task *root = spawn_named("root", await_the_deep, NULL);

	test_laps(2);
	char *text = tree_text(APUS_DUMP_STACKS, NULL);
	char *leaf = strstr(text, "leaf: waits for sleep");

	assert_non_null(leaf);
	assert_non_null(strstr(text, "await_the_deep+0x"));
	assert_true(strstr(text, "await_the_deep+0x") < leaf);
	assert_non_null(strstr(leaf, "sleep_in_the_deep+0x"));
	free(text);
	ok(test_await(root));
}

static int64_t dump_oneself(void *arg)
{
	apus_dump_tasks(*(int *)arg);
	return 0;
}

static void dump_from_a_task_shows_the_running_stack(void **state)
{
	int file = memfd_create("dump", 0);
	static char text[8192];

	ok(test_run(dump_oneself, &file));
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	close(file);
	assert_non_null(strstr(text, "main: running"));
	assert_non_null(strstr(text, "dump_oneself+0x"));
}

static struct apus_task *circle[3];

static int64_t await_next(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;

	return apus_await(apus_task_get(circle[(i + 1) % 3]));
}

static void tree_names_cycles(void **state)
{
	static const char *const names[] = {"a", "b", "c"};
	size_t cycles;

	for (size_t i = 0; i < 3; i++)
		circle[i] = spawn_named(names[i], await_next, (void *)i);
	test_laps(1);
	char *text = tree_text(0, &cycles);

	assert_non_null(strstr(text, "cycle: a awaits b, which awaits c, which awaits a\n"));
	assert_int_equal(cycles, 1);
	free(text);
	apus_task_cancel(circle[0]);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(test_await(circle[i]), -ECANCELED);
}

/* A chain longer than any stack is deep: the tree is not walked by recursion. */
static struct apus_task *chain[20000];

static int64_t await_one_more(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;

	return i ? apus_await(chain[i - 1]) : apus_sleep(APUS_SEC);
}

static void tree_of_a_long_chain_is_printed(void **state)
{
	size_t n = test_is_slow() ? 200 : apus_countof(chain);

	for (size_t i = 0; i < n; i++)
		chain[i] = apus_spawn(await_one_more, (void *)i);
	test_laps(1);
	char *text = tree_text(0, NULL);

	assert_int_equal(test_count(text, ": waits for "), n);
	assert_int_equal(test_count(text, "above"), 0);
	free(text);
	ok(test_await(chain[n - 1]));
}

static void infos_say_what_and_since_when(void **state)
{
	struct apus_task *root = spawn_named("root", await_the_deep, NULL);
	struct apus_task_info infos[3];

	test_laps(2);
	apus_clock_set(&test_world.clock, TEST_START_NS + 250 * APUS_MS);
	assert_int_equal(apus_shard_task_infos(test_world.shard, 0, infos, 3), 2);
	assert_string_equal(infos[0].name, "root");
	assert_string_equal(infos[0].state, "waits");
	assert_int_equal(infos[0].awaits_id, infos[1].id);
	assert_string_equal(infos[1].what, "sleep");
	assert_int_equal(infos[1].waits_ns, 250 * APUS_MS);
	assert_int_equal(apus_shard_task_infos(test_world.shard, infos[0].id, infos, 1), 1);
	assert_string_equal(infos[0].name, "leaf");
	ok(test_await(root));
}

/* --- Slow steps ---------------------------------------------------------------------------- */

static APUS_NOINLINE int64_t spin_for(void *arg)
{
	int64_t until_ns = apus_clock_host_ns() + *(int64_t *)arg;

	while (apus_clock_host_ns() < until_ns)
		;
	return 0;
}

static void step_that_does_not_end_is_caught_in_the_act(void **state)
{
	static struct test_capture c;
	int64_t ns = 300 * APUS_MS;

	if (test_is_slow())
		skip(); /* TSan holds signals back, valgrind runs one thread at a time */
	test_capture_begin(&c);
	int64_t rc = test_await(spawn_named("hog", spin_for, &ns));

	test_capture_end(&c);
	ok(rc);
	assert_non_null(strstr(c.text, "task hog has not suspended for "));
	assert_non_null(strstr(c.text, "spin_for+0x"));
	assert_int_equal(test_count(c.text, "has not suspended"), 1); /* once per step */
}

static int64_t yield_for(void *arg)
{
	int64_t until_ns = apus_clock_host_ns() + *(int64_t *)arg;

	while (apus_clock_host_ns() < until_ns) {
		int rc = apus_yield();

		if (rc)
			return rc;
	}
	return 0;
}

static void many_short_steps_are_not_slow(void **state)
{
	static struct test_capture c;
	int64_t ns = 100 * APUS_MS;

	if (test_is_slow())
		skip();
	test_capture_begin(&c);
	int64_t rc = test_await(apus_spawn(yield_for, &ns));

	test_capture_end(&c);
	ok(rc);
	/* Another process may have had the core for long: then the hog is not on it. */
	if (strstr(c.text, "yield_for") && strstr(c.text, "suspended"))
		assert_null(strstr(c.text, "for 100 ms"));
}

static int64_t spin_often(void *arg)
{
	int64_t ns = 60 * APUS_MS;

	for (int i = 0; i < 8; i++) {
		int64_t rc = spin_for(&ns) ? 0 : apus_yield();

		if (rc)
			return rc;
	}
	return 0;
}

static void slow_steps_are_told_five_times_a_minute(void **state)
{
	static struct test_capture c;

	if (test_is_slow())
		skip();
	test_capture_begin(&c);
	int64_t rc = test_await(apus_spawn(spin_often, NULL));

	test_capture_end(&c);
	ok(rc);
	/* A minute may end in between; then it is up to eight. */
	assert_in_range(test_count(c.text, "has not suspended"), 1, 8);
	if (apus_clock_host_ns() / (60 * APUS_SEC) ==
	    (apus_clock_host_ns() - 2 * APUS_SEC) / (60 * APUS_SEC))
		assert_in_range(test_count(c.text, "has not suspended"), 1, 5);
}

/* --- Deadlock ------------------------------------------------------------------------------ */

static struct apus_list nobody;

static APUS_NOINLINE int64_t wait_for_nobody(void *arg)
{
	struct apus_wait wait;

	apus_list_init(&nobody);
	apus_wait_init(&wait, NULL, "godot", &nobody);
	apus_list_push_back(&nobody, &wait.link);
	return keep_frame(apus_park(&wait));
}

static void *ring(void *arg)
{
	struct timespec span = {.tv_nsec = 200 * 1000 * 1000};

	nanosleep(&span, NULL);
	apus_call_from_thread(test_world.shard, arg);
	return NULL;
}

static void wake_him(struct apus_work *work)
{
	apus_wake(apus_list_entry(nobody.next, struct apus_wait, link), 7);
}

/* On a real clock, as an application runs. */
static void deadlock_body(void *arg)
{
	struct apus_work work;
	pthread_t thread;
	struct apus_task *t;

	if (apus_shard_open(&(struct apus_shard_options){.core = -1, .debug = true},
			    &test_world.shard))
		_exit(1);
	apus_shard_enter(test_world.shard);
	apus_work_init(&work, wake_him);
	t = spawn_named("vladimir", wait_for_nobody, NULL);
	if (pthread_create(&thread, NULL, ring, &work))
		_exit(2);
	apus_shard_run(test_world.shard, t);
	pthread_join(thread, NULL);
	_exit(apus_task_result(t) == 7 ? 0 : 3);
}

static void deadlock_is_told_once_and_waited_out(void **state)
{
	static struct test_capture c;
	int status = run_in_child(deadlock_body, &c);

	assert_int_equal(status, 0);
	assert_int_equal(test_count(c.text, "deadlock: nothing is ready"), 1);
	assert_non_null(strstr(c.text, "vladimir: waits for godot"));
	assert_non_null(strstr(c.text, "wait_for_nobody+0x"));
}

/* --- Leaks --------------------------------------------------------------------------------- */

static int64_t return_5(void *arg)
{
	return 5;
}

static APUS_NOINLINE int64_t forget_a_child(void *arg)
{
	struct apus_task *forgotten = spawn_named("forgotten", return_5, NULL);

	return apus_yield() + (forgotten ? 0 : -ENOMEM);
}

static void leak_handle(void *arg)
{
	test_open_with(&(struct apus_shard_options){.debug = true});
	if (test_run(forget_a_child, NULL))
		_exit(1);
	apus_shard_close(test_world.shard);
}

static void forgotten_handle_is_told_with_its_owners(void **state)
{
	static struct test_capture c;

	assert_int_equal(run_in_child(leak_handle, &c), 0);
	assert_non_null(strstr(c.text, "forgotten was neither awaited nor detached"));
	assert_non_null(strstr(c.text, "ended with 5"));
	assert_non_null(strstr(c.text, "spawned by the loop > main at:"));
	assert_non_null(strstr(c.text, "forget_a_child+0x"));
	assert_int_equal(test_count(c.text, "neither awaited nor detached; it"), 1);
}

static void leak_task(void *arg)
{
	test_open_with(&(struct apus_shard_options){.debug = true});
	(void)!spawn_named("left over", sleep_in_the_deep, NULL);
	test_laps(1);
	apus_shard_close(test_world.shard);
}

static void task_that_is_left_is_told_before_the_end(void **state)
{
	static struct test_capture c;

	assert_int_not_equal(run_in_child(leak_task, &c), 0);
	assert_non_null(strstr(c.text, "left over: waits for sleep"));
	assert_non_null(strstr(c.text, "check failed"));
}

static void leak_memory(void *arg)
{
	test_open_with(&(struct apus_shard_options){.debug = true});
	(void)!apus_heap_alloc(apus_shard_heap(test_world.shard), 10);
	apus_shard_close(test_world.shard);
}

static void memory_that_is_left_is_told(void **state)
{
	static struct test_capture c;

	assert_int_equal(run_in_child(leak_memory, &c), 0);
	assert_non_null(strstr(c.text, "1 objects of the shard's heap were not given back"));
}

/* --- Wrong shards -------------------------------------------------------------------------- */

static struct apus_task *foreign;

static APUS_NOINLINE int64_t await_foreign(void *arg)
{
	return keep_frame(apus_await(foreign));
}

static int64_t cancel_foreign(void *arg)
{
	return apus_task_cancel(foreign);
}

static int64_t check_foreign(void *arg)
{
	return apus_wait_check(apus_task_awaiters(foreign));
}

static int64_t await_own(void *arg)
{
	return apus_await(apus_task_get(foreign));
}

/* The shard of the test has tasks `foreign` and one that awaits it; @fn runs on another. */
static int64_t run_elsewhere(apus_task_fn fn)
{
	struct apus_shard *other;

	if (apus_shard_open(
		    &(struct apus_shard_options){.core = -1, .clock = &test_world.clock, .seed = 1},
		    &other))
		abort();
	apus_shard_enter(other);
	struct apus_task *t = apus_spawn(fn, NULL);

	for (int i = 0; i < 3; i++)
		apus_shard_turn(other);
	int64_t rc = apus_task_result(t);

	apus_detach(t);
	apus_shard_close(other);
	apus_shard_enter(test_world.shard);
	return rc;
}

static void wrong_shard_is_refused_and_both_places_told(void **state)
{
	static struct test_capture c;

	foreign = spawn_named("foreign", sleep_in_the_deep, NULL);
	struct apus_task *waiter = apus_spawn(await_own, NULL);

	test_laps(1);
	test_capture_begin(&c);
	int64_t awaited = run_elsewhere(await_foreign);
	int64_t cancelled = run_elsewhere(cancel_foreign);
	int64_t waited = run_elsewhere(check_foreign);

	test_capture_end(&c);
	assert_int_equal(awaited, -EXDEV);
	assert_int_equal(cancelled, 0);
	assert_int_equal(waited, -EXDEV);
	assert_non_null(strstr(c.text, "debug: await of foreign from another shard than its own: "
				       "called at await_foreign+0x"));
	assert_non_null(
		strstr(c.text, "spawned at wrong_shard_is_refused_and_both_places_told+0x"));
	assert_non_null(strstr(c.text, "debug: cancel of foreign"));
	ok(test_await(foreign));
	ok(test_await(waiter));
}

static void *wake_from_thread(void *arg)
{
	apus_wake(apus_list_entry(nobody.next, struct apus_wait, link), 7);
	return (void *)(uintptr_t)keep_frame(0);
}

static void wake_on_another_thread(void *arg)
{
	pthread_t thread;

	test_open_with(&(struct apus_shard_options){.debug = true});
	(void)!spawn_named("vladimir", wait_for_nobody, NULL);
	test_laps(1);
	if (pthread_create(&thread, NULL, wake_from_thread, NULL))
		_exit(1);
	pthread_join(thread, NULL);
}

static void wake_from_another_thread_ends_the_process(void **state)
{
	static struct test_capture c;

	assert_int_not_equal(run_in_child(wake_on_another_thread, &c), 0);
	assert_non_null(strstr(c.text, "debug: wake of vladimir from another shard"));
	assert_non_null(strstr(c.text, "wake_from_thread+0x"));
	assert_non_null(strstr(c.text, "check failed"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(tree_puts_the_awaited_under_who_awaits),
		shard_test_with(tree_shows_the_stacks_of_parked_tasks, open_debug),
		shard_test(dump_from_a_task_shows_the_running_stack),
		shard_test(tree_names_cycles),
		shard_test(tree_of_a_long_chain_is_printed),
		shard_test_with(infos_say_what_and_since_when, open_debug),
		shard_test_with(step_that_does_not_end_is_caught_in_the_act, open_watched),
		shard_test_with(many_short_steps_are_not_slow, open_watched),
		shard_test_with(slow_steps_are_told_five_times_a_minute, open_watched),
		cmocka_unit_test(deadlock_is_told_once_and_waited_out),
		cmocka_unit_test(forgotten_handle_is_told_with_its_owners),
		cmocka_unit_test(task_that_is_left_is_told_before_the_end),
		cmocka_unit_test(memory_that_is_left_is_told),
		shard_test_with(wrong_shard_is_refused_and_both_places_told, open_debug),
		cmocka_unit_test(wake_from_another_thread_ends_the_process),
	};

	return test_main(argc, argv, tests);
}
