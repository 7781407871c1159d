/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_combine.c: gather, wait, as_completed, wait_for, shield and the staggered
 * race.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program; the numbers
 * are those of ASYNCIO.md §4.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/combine.h"
#include "runtime/sync/event.h"
#include "runtime/sync/future.h"

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t sleep_10_s(void *arg)
{
	return apus_sleep(10 * APUS_SEC);
}

/* Sleeps, then comes to something. */
struct plan {
	int64_t sleep_ms, result;
	const char *at_end, *at_cancel; /* what it says then; NULL: nothing */
	int64_t cleanup_ms;             /* how long it takes to unwind */
};

static int64_t follow(void *arg)
{
	const struct plan *p = arg;
	int rc = apus_sleep(p->sleep_ms * APUS_MS);

	if (rc) {
		if (p->at_cancel)
			emit("%s", p->at_cancel);
		if (p->cleanup_ms)
			ok(apus_sleep(p->cleanup_ms * APUS_MS));
		return rc;
	}
	if (p->at_end)
		emit("%s %d", p->at_end, (int)test_ms());
	return p->result;
}

static struct apus_task *spawn_plan(struct plan p)
{
	return apus_spawn_with(&(struct apus_spawn_options){0}, follow, &p, sizeof(p));
}

/* Hops (3): a combinator may take one lap or two, no more. */

static struct apus_event go;
static struct apus_task *hopping;

static int64_t wait_to_go(void *arg)
{
	ok(apus_event_wait(&go));
	emit("child");
	return 1;
}

static int64_t by_gather(void *arg)
{
	return apus_gather(&hopping, 1, NULL, 0);
}

static int64_t by_wait(void *arg)
{
	int64_t n = apus_wait(&hopping, 1, APUS_WAIT_ALL, APUS_NEVER);

	apus_detach(hopping);
	return n - 1;
}

static int64_t by_shield(void *arg)
{
	return apus_shield(hopping) - 1;
}

static int64_t by_wait_for(void *arg)
{
	return apus_wait_for(hopping, APUS_SEC) - 1;
}

static void combinators_wake_within_two_laps(void **state)
{
	static const apus_task_fn ways[] = {by_gather, by_wait, by_shield, by_wait_for};

	for (size_t i = 0; i < apus_countof(ways); i++) {
		apus_event_init(&go);
		hopping = apus_spawn(wait_to_go, NULL);
		struct apus_task *t = apus_spawn(ways[i], NULL);

		test_laps(2);
		apus_event_set(&go);
		test_laps(1);
		assert_trace("child");
		assert_false(apus_task_done(t));
		/* asyncio: wait_for(task) 1, the others 2. */
		test_laps(ways[i] == by_wait_for ? 1 : 2);
		assert_true(apus_task_done(t));
		ok(test_await(t));
	}
}

/* gather. */

static int64_t gather_values(void *arg)
{
	struct apus_task *tasks[4];
	int64_t results[4] = {-1, -1, -1, -1};

	for (int i = 0; i < 4; i++)
		tasks[i] = spawn_plan((struct plan){.sleep_ms = 10 * (4 - i), .result = i});
	int64_t rc = apus_gather(tasks, 4, results, 0);

	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], i);
	emit("%d", (int)test_ms());
	return rc;
}

static void gather_gives_results_in_the_order_of_the_arguments(void **state)
{
	ok(test_run(gather_values, NULL));
	assert_trace("40");
}

/* Trace 17. */
static int runs;

static int64_t count_and_return(void *arg)
{
	runs++;
	ok(apus_yield());
	return 'r';
}

static int64_t gather_same_and_none(void *arg)
{
	struct apus_task *t = apus_spawn(count_and_return, NULL);
	struct apus_task *tasks[3] = {t, apus_task_get(t), apus_task_get(t)};
	int64_t results[3];

	runs = 0;
	ok(apus_gather(tasks, 3, results, 0));
	emit("[%c, %c, %c] %d", (int)results[0], (int)results[1], (int)results[2], runs);
	ok(apus_gather(NULL, 0, NULL, 0));
	emit("[]");
	return 0;
}

static void gather_takes_the_same_task_thrice_and_none_at_all(void **state)
{
	ok(test_run(gather_same_and_none, NULL));
	assert_trace("[r, r, r] 1 · []");
}

static int64_t gather_first_error(void *arg)
{
	struct apus_task *sibling = spawn_plan(
		(struct plan){.sleep_ms = 50, .at_end = "sibling ends", .at_cancel = "sibling CE"});
	struct apus_task *tasks[2] = {spawn_plan((struct plan){.sleep_ms = 10, .result = -EIO}),
				      apus_task_get(sibling)};
	int64_t rc = apus_gather(tasks, 2, NULL, 0);

	emit("%lld %d", (long long)rc, (int)test_ms());
	return apus_await(sibling);
}

static void gather_gives_the_first_error_at_once_siblings_go_on(void **state)
{
	ok(test_run(gather_first_error, NULL));
	assert_trace("-5 10 · sibling ends 50");
}

static int64_t gather_all_errors(void *arg)
{
	struct apus_task *tasks[4] = {
		spawn_plan((struct plan){.sleep_ms = 10, .result = -EIO}),
		spawn_plan((struct plan){.sleep_ms = 30, .result = 3}),
		spawn_plan((struct plan){.sleep_ms = 20, .result = -ECANCELED}),
		NULL, /* could not be spawned */
	};
	int64_t results[4];

	ok(apus_gather(tasks, 4, results, APUS_GATHER_RETURN_ERRORS));
	emit("%lld %lld %d %d at %d", (long long)results[0], (long long)results[1],
	     results[2] == -ECANCELED, results[3] == -ENOMEM, (int)test_ms());
	return 0;
}

static void gather_with_errors_as_results_waits_for_all(void **state)
{
	ok(test_run(gather_all_errors, NULL));
	assert_trace("-5 3 1 1 at 30");
}

/* Trace 15. */
static int64_t gather_two(void *arg)
{
	struct apus_task *tasks[2] = {
		spawn_plan((struct plan){.sleep_ms = 10000, .at_cancel = "child 1"}),
		spawn_plan((struct plan){.sleep_ms = 10000, .at_cancel = "child 2"}),
	};
	int64_t rc = apus_gather(tasks, 2, NULL, APUS_GATHER_RETURN_ERRORS);

	emit("parent");
	return rc;
}

static void cancel_of_gather_cancels_all_and_waits(void **state)
{
	struct apus_task *p = apus_spawn(gather_two, NULL);

	test_laps(2);
	emit("%s", yes_no(apus_task_cancel(p)));
	emit("%s", yes_no(apus_task_done(p)));
	assert_int_equal(test_await(p), -ECANCELED);
	assert_trace("True · False · child 1 · child 2 · parent");
}

static int64_t gather_slow_unwinders(void *arg)
{
	struct apus_task *tasks[2] = {
		spawn_plan(
			(struct plan){.sleep_ms = 10000, .at_cancel = "child 1", .cleanup_ms = 20}),
		spawn_plan(
			(struct plan){.sleep_ms = 10000, .at_cancel = "child 2", .cleanup_ms = 10}),
	};
	int64_t rc = apus_gather(tasks, 2, NULL, arg ? APUS_GATHER_RETURN_ERRORS : 0);

	emit("parent %d", (int)test_ms());
	return rc;
}

static void cancelled_gather_returns_at_the_first_without_flags_at_the_last_with(void **state)
{
	struct apus_task *p = apus_spawn(gather_slow_unwinders, NULL);

	test_laps(2);
	apus_task_cancel(p);
	assert_int_equal(test_await(p), -ECANCELED);
	assert_trace("child 1 · child 2 · parent 10");
	test_drain();

	p = apus_spawn(gather_slow_unwinders, "all");
	test_laps(2);
	apus_task_cancel(p);
	assert_int_equal(test_await(p), -ECANCELED);
	assert_trace("child 1 · child 2 · parent 40");
}

static struct apus_task *gathered;

static int64_t gather_with_one_cancelled(void *arg)
{
	struct apus_task *other = spawn_plan((struct plan){.sleep_ms = 50, .at_cancel = "CE"});
	struct apus_task *tasks[2] = {gathered, apus_task_get(other)};
	int64_t rc = apus_gather(tasks, 2, NULL, 0);

	emit("gather %s %u %d", rc == -ECANCELED ? "CE" : "no", cancelling(), (int)test_ms());
	emit("%s", test_state(other));
	return apus_await(other);
}

static void cancelled_child_of_gather_is_an_error_like_any(void **state)
{
	gathered = spawn_plan((struct plan){.sleep_ms = 50, .at_cancel = "CE"});
	struct apus_task *t = apus_spawn(gather_with_one_cancelled, NULL);
	struct apus_task *victim = apus_task_get(gathered);

	test_laps(2);
	test_advance(10 * APUS_MS);
	apus_task_cancel(victim);
	ok(test_await(t));
	assert_trace("CE · gather CE 0 10 · pending");
	apus_detach(victim);
}

/* wait. */

/* Trace 21. */
static const char *names_of(struct apus_task *const tasks[3], bool done)
{
	static char texts[2][32];
	char *text = texts[done];
	bool any = false;

	strcpy(text, "[");
	for (int i = 0; i < 3; i++) {
		if (apus_task_done(tasks[i]) != done)
			continue;
		sprintf(text + strlen(text), "%s'%c'", any ? ", " : "", 'a' + i);
		any = true;
	}
	return strcat(text, "]");
}

static void show_mode(enum apus_wait_mode mode, const char *tag)
{
	int64_t start_ms = test_ms();
	struct apus_task *tasks[3] = {
		spawn_plan((struct plan){.sleep_ms = 10}),
		spawn_plan((struct plan){.sleep_ms = 20, .result = -EIO}),
		spawn_plan((struct plan){.sleep_ms = 30}),
	};
	int64_t ended = apus_wait(tasks, 3, mode, APUS_NEVER);

	emit("%s %s %s %d", tag, names_of(tasks, true), names_of(tasks, false),
	     (int)(test_ms() - start_ms));
	assert_int_equal(ended, mode == APUS_WAIT_FIRST ? 1 : mode == APUS_WAIT_ALL ? 3 : 2);
	for (int i = 0; i < 3; i++)
		(void)!apus_await(tasks[i]);
}

static int64_t wait_for_x(void *arg)
{
	return apus_wait(arg, 1, APUS_WAIT_ALL, APUS_NEVER);
}

static int64_t wait_modes(void *arg)
{
	struct apus_task *x;

	show_mode(APUS_WAIT_FIRST, "FIRST_COMPLETED");
	show_mode(APUS_WAIT_FIRST_EXCEPTION, "FIRST_EXCEPTION");
	show_mode(APUS_WAIT_ALL, "ALL_COMPLETED");
	x = apus_spawn(sleep_10_s, NULL);
	ok((int)apus_wait(&x, 1, APUS_WAIT_ALL, 10 * APUS_MS));
	emit("[] x %s", test_state(x));

	struct apus_task *w = apus_spawn(wait_for_x, &x);

	ok(apus_yield());
	apus_task_cancel(w);
	ok((int)apus_wait(&w, 1, APUS_WAIT_ALL, APUS_NEVER) - 1);
	emit("%s %s", test_state(w), test_state(x));
	(void)!apus_await(w);
	if (apus_wait(NULL, 0, APUS_WAIT_ALL, APUS_NEVER) == -EINVAL)
		emit("ValueError");
	apus_task_cancel(x);
	return apus_await(x) == -ECANCELED ? 0 : -EINVAL;
}

static void wait_has_three_modes_and_a_limit_and_leaves_tasks_alone(void **state)
{
	ok(test_run(wait_modes, NULL));
	assert_trace("FIRST_COMPLETED ['a'] ['b', 'c'] 10 · FIRST_EXCEPTION ['a', 'b'] ['c'] 20 · "
		     "ALL_COMPLETED ['a', 'b', 'c'] [] 30 · [] x pending · cancelled pending · "
		     "ValueError");
}

static int64_t wait_with_the_limit_in_one_lap(void *arg)
{
	struct apus_task *tasks[2] = {spawn_plan((struct plan){.sleep_ms = 10}),
				      spawn_plan((struct plan){.sleep_ms = 20})};
	int64_t ended = apus_wait(tasks, 2, APUS_WAIT_ALL, 10 * APUS_MS);

	emit("%lld %d", (long long)ended, (int)test_ms());
	ok((int)apus_await(tasks[0]));
	ok((int)apus_await(tasks[1]));
	/* All done already: no lap. */
	tasks[0] = apus_spawn(return_arg, as_arg(0));
	ok(apus_yield());
	assert_int_equal(apus_wait(tasks, 1, APUS_WAIT_ALL, 0), 1);
	ok((int)apus_await(tasks[0]));
	return 0;
}

static void wait_whose_limit_comes_first_counts_what_ended(void **state)
{
	ok(test_run(wait_with_the_limit_in_one_lap, NULL));
	/* asyncio: 0 10, or 1 10; which timer was armed first decides, and that is the wait's. */
	assert_trace("0 10");
}

static int64_t wait_counts_missing(void *arg)
{
	struct apus_task *tasks[2] = {NULL, apus_spawn(sleep_10_s, NULL)};

	assert_int_equal(apus_wait(tasks, 2, APUS_WAIT_FIRST, APUS_NEVER), 1);
	assert_int_equal(apus_wait(tasks, 2, APUS_WAIT_FIRST_EXCEPTION, APUS_NEVER), 1);
	apus_task_cancel(tasks[1]);
	assert_int_equal(apus_wait(tasks, 2, APUS_WAIT_ALL, APUS_NEVER), 2);
	return apus_await(tasks[1]) == -ECANCELED ? 0 : -EINVAL;
}

static void task_that_could_not_be_spawned_counts_as_ended(void **state)
{
	ok(test_run(wait_counts_missing, NULL));
}

/* as_completed. */

static int64_t in_order_of_ending(void *arg)
{
	struct apus_task *tasks[4] = {
		spawn_plan((struct plan){.sleep_ms = 30, .result = 'a'}),
		spawn_plan((struct plan){.sleep_ms = 10, .result = 'b'}),
		spawn_plan((struct plan){.sleep_ms = 20, .result = 'c'}),
		apus_spawn(return_arg, as_arg('d')),
	};
	struct apus_as_completed it;
	int64_t index;

	ok(apus_yield()); /* d has ended before */
	ok(apus_as_completed_begin(&it, tasks, 4));
	while ((index = apus_as_completed_next(&it)) >= 0)
		emit("%c %d", (int)apus_task_result(tasks[index]), (int)test_ms());
	assert_int_equal(index, -ENOENT);
	assert_int_equal(apus_as_completed_next(&it), -ENOENT);
	apus_as_completed_end(&it);
	for (int i = 0; i < 4; i++)
		assert_true(apus_await(tasks[i]) > 0);
	return 0;
}

static void as_completed_gives_indices_in_order_of_ending(void **state)
{
	ok(test_run(in_order_of_ending, NULL));
	assert_trace("d 0 · b 10 · c 20 · a 30");
}

static int64_t leave_early(void *arg)
{
	struct apus_task *tasks[3];
	struct apus_as_completed it;

	for (int i = 0; i < 3; i++)
		tasks[i] = spawn_plan((struct plan){.sleep_ms = 10 * (i + 1), .at_end = "end"});
	ok(apus_as_completed_begin(&it, tasks, 3));
	assert_int_equal(apus_as_completed_next(&it), 0);
	apus_as_completed_end(&it);
	for (int i = 0; i < 3; i++)
		ok((int)apus_await(tasks[i]));
	return 0;
}

static void as_completed_left_early_lets_the_others_go_on(void **state)
{
	ok(test_run(leave_early, NULL));
	assert_trace("end 10 · end 20 · end 30");
}

static int64_t cancelled_in_next(void *arg)
{
	struct apus_task *t = apus_spawn(sleep_10_s, NULL);
	struct apus_as_completed it;

	ok(apus_as_completed_begin(&it, &t, 1));
	apus_task_cancel(apus_task_self());
	assert_int_equal(apus_as_completed_next(&it), -ECANCELED);
	assert_false(apus_task_done(t));
	apus_task_cancel(t);
	assert_int_equal(apus_as_completed_next(&it), 0); /* it may be asked again */
	apus_as_completed_end(&it);
	return apus_await(t) == -ECANCELED ? 0 : -EINVAL;
}

static void cancel_in_next_leaves_the_tasks_alone(void **state)
{
	ok(test_run(cancelled_in_next, NULL));
}

/* Random use of all of them: nothing is left, and the same seed runs the same. */

static struct {
	uint64_t chance, hash;
} fuzz;

static int64_t random_leaf(void *arg)
{
	int64_t rc = apus_sleep((int64_t)test_random_below(&fuzz.chance, 30) - 2);

	if (rc == -ECANCELED && test_random_below(&fuzz.chance, 4) == 0)
		rc = apus_sleep(3);
	return rc == 0 && test_random_below(&fuzz.chance, 4) == 0 ? -EIO : rc;
}

static int64_t random_combination(void *arg)
{
	intptr_t depth = (intptr_t)arg;
	struct apus_task *tasks[5];
	struct apus_racer racers[5];
	struct apus_as_completed it;
	int64_t results[5], rc = 0;
	size_t n = 1 + test_random_below(&fuzz.chance, 5);
	uint64_t kind = test_random_below(&fuzz.chance, 6);

	for (size_t i = 0; i < n; i++) {
		bool leaf = depth == 0 || test_random_below(&fuzz.chance, 2);

		racers[i].fn = leaf ? random_leaf : random_combination;
		racers[i].arg = (void *)(depth - 1);
		if (kind != 5)
			tasks[i] = apus_spawn(racers[i].fn, racers[i].arg);
	}
	switch (kind) {
	case 0:
		rc = apus_gather(tasks, n, results,
				 (unsigned int)test_random_below(&fuzz.chance, 2));
		break;
	case 1:
		rc = apus_wait(tasks, n, (enum apus_wait_mode)test_random_below(&fuzz.chance, 3),
			       (int64_t)test_random_below(&fuzz.chance, 30));
		for (size_t i = 0; i < n; i++)
			apus_task_cancel(tasks[i]);
		for (size_t i = 0; i < n; i++)
			rc ^= apus_await(tasks[i]);
		break;
	case 2:
		ok(apus_as_completed_begin(&it, tasks, n));
		while ((rc = apus_as_completed_next(&it)) >= 0)
			if (test_random_below(&fuzz.chance, 4) == 0)
				break;
		apus_as_completed_end(&it);
		for (size_t i = 0; i < n; i++)
			rc ^= apus_await(tasks[i]);
		break;
	case 3:
		for (size_t i = 0; i < n; i++)
			rc ^= apus_wait_for(tasks[i],
					    (int64_t)test_random_below(&fuzz.chance, 20) - 2);
		break;
	case 4:
		for (size_t i = 0; i < n; i++)
			rc ^= apus_shield(tasks[i]);
		break;
	default:
		rc = apus_race_staggered(racers, n, (int64_t)test_random_below(&fuzz.chance, 20));
		break;
	}
	fuzz.hash = (fuzz.hash ^ (uint64_t)rc ^ (uint64_t)apus_now()) * UINT64_C(0x100000001b3);
	return rc < 0 ? rc : 0;
}

static void ignore_unhandled(const struct apus_unhandled *what, void *arg)
{
	fuzz.hash = (fuzz.hash ^ (uint64_t)what->error) * UINT64_C(0x100000001b3);
}

static uint64_t run_combinations(uint64_t seed)
{
	fuzz.chance = seed;
	fuzz.hash = 0;
	ok(test_open(NULL));
	apus_on_unhandled(test_world.shard, ignore_unhandled, NULL);
	for (int i = 0; i < 3; i++)
		apus_detach(apus_spawn(random_combination, (void *)2));
	for (uint64_t n = test_random_below(&fuzz.chance, 40); n; n--)
		test_step();
	if (seed % 2)
		apus_shard_cancel_all(test_world.shard);
	test_drain();
	test_laps(1); /* a callback that was removed leaves its place empty until here */
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	apus_shard_close(test_world.shard);
	return fuzz.hash;
}

static void random_combinations_leave_nothing_and_replay(void **state)
{
	test_each_seed(seed, 500)
	{
		uint64_t hash = run_combinations(seed);

		assert_int_equal(run_combinations(seed), hash);
	}
}

/* Allocation failing at the n-th place, for every n: an answer, and nothing leaked. */
static int64_t use_all_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);
	int64_t n = *(int64_t *)arg;
	struct apus_task *tasks[40];
	struct apus_as_completed it;
	uint64_t live = heap->live;

	for (int way = 0; way < 3; way++) {
		for (int i = 0; i < 40; i++)
			tasks[i] = spawn_plan((struct plan){.sleep_ms = 1 + i});
		apus_heap_fail_after(heap, n);
		int64_t rc = way == 0   ? apus_gather(tasks, 40, NULL, 0)
			     : way == 1 ? apus_wait(tasks, 40, APUS_WAIT_ALL, APUS_SEC) % 40
					: apus_as_completed_begin(&it, tasks, 40);

		apus_heap_fail_after(heap, -1);
		assert_true(rc == 0 || rc == -ENOMEM);
		if (way == 2 && rc == 0)
			apus_as_completed_end(&it);
		for (int i = 0; way && i < 40; i++)
			assert_int_equal(apus_await(tasks[i]), 0);
		assert_int_equal(heap->live, live);
	}
	return 0;
}

static void without_memory_they_say_enomem_and_leak_nothing(void **state)
{
	for (int64_t n = 0; n < 5; n++) {
		ok(test_run(use_all_without_memory, &n));
		test_drain(); /* what a failed gather was given goes on */
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(combinators_wake_within_two_laps),
		shard_test(gather_gives_results_in_the_order_of_the_arguments),
		shard_test(gather_takes_the_same_task_thrice_and_none_at_all),
		shard_test(gather_gives_the_first_error_at_once_siblings_go_on),
		shard_test(gather_with_errors_as_results_waits_for_all),
		shard_test(cancel_of_gather_cancels_all_and_waits),
		shard_test(cancelled_gather_returns_at_the_first_without_flags_at_the_last_with),
		shard_test(cancelled_child_of_gather_is_an_error_like_any),
		shard_test(wait_has_three_modes_and_a_limit_and_leaves_tasks_alone),
		shard_test(wait_whose_limit_comes_first_counts_what_ended),
		shard_test(task_that_could_not_be_spawned_counts_as_ended),
		shard_test(as_completed_gives_indices_in_order_of_ending),
		shard_test(as_completed_left_early_lets_the_others_go_on),
		shard_test(cancel_in_next_leaves_the_tasks_alone),
		cmocka_unit_test(random_combinations_leave_nothing_and_replay),
		shard_test(without_memory_they_say_enomem_and_leak_nothing),
	};

	return test_main(argc, argv, tests);
}
