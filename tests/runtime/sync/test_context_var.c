/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_context_var.c: contextvars: a snapshot at spawn and at registration; what
 * is set later is seen by neither side.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/context_var.h"
#include "runtime/sync/future.h"

static struct apus_context_var color = {.name = "color", .initial_value = "none"};
static struct apus_context_var size = {.name = "size"};

static const char *now(const struct apus_context_var *var)
{
	const char *value = apus_context_var_get(var);

	return value ? value : "NULL";
}

static void set(const struct apus_context_var *var, const char *value)
{
	ok(apus_context_var_set(var, (void *)(uintptr_t)value, NULL));
}

static int64_t set_and_get(void *arg)
{
	emit("%s %s", now(&color), now(&size));
	set(&color, "red");
	set(&size, "big");
	emit("%s %s", now(&color), now(&size));
	set(&color, "blue");
	emit("%s %s", now(&color), now(&size));
	set(&color, NULL);
	emit("%s %s", now(&color), now(&size));
	return 0;
}

static void value_is_the_initial_one_until_set(void **state)
{
	ok(test_run(set_and_get, NULL));
	assert_trace("none NULL · red big · blue big · NULL big");
	/* A task that did not inherit it starts anew. */
	ok(test_run(set_and_get, NULL));
	assert_trace("none NULL · red big · blue big · NULL big");
}

static int64_t child_body(void *arg)
{
	emit("child %s", now(&color));
	set(&color, "green");
	ok(apus_yield());
	emit("child %s", now(&color));
	return 0;
}

static int64_t parent_body(void *arg)
{
	set(&color, "red");
	struct apus_task *child = apus_spawn(child_body, NULL);

	set(&color, "blue");
	ok(apus_yield());
	emit("parent %s", now(&color));
	ok(apus_await(child));
	emit("parent %s", now(&color));
	return 0;
}

static void child_has_the_values_of_the_moment_of_spawning(void **state)
{
	ok(test_run(parent_body, NULL));
	assert_trace("child red · parent blue · child green · parent blue");
}

struct emit_work {
	struct apus_work work;
	struct apus_timer timer, nobodys;
	struct apus_callback callback;
};

static void emit_color_of_work(struct apus_work *work)
{
	emit("callback %s", now(&color));
	set(&color, "changed in a callback");
}

static int64_t register_callbacks(void *arg)
{
	struct emit_work w;
	struct apus_future f;

	apus_future_init(&f);
	apus_work_init(&w.work, emit_color_of_work);
	apus_timer_init(&w.timer, emit_color_of_work);
	apus_callback_init(&w.callback, emit_color_of_work);
	set(&color, "one");
	apus_call_soon(&w.work);
	set(&color, "two");
	apus_timer_init(&w.nobodys, emit_color_of_work);
	apus_call_at(&w.timer, apus_now() + 5);
	apus_timer_arm(&w.nobodys, apus_now() + 6);
	set(&color, "three");
	apus_future_on_done(&f, &w.callback);
	set(&color, "four");
	ok(apus_future_set(&f, 1));
	ok(apus_sleep(APUS_MS));
	emit("task %s", now(&color));
	return 0;
}

static void callbacks_have_the_values_of_the_moment_of_registration(void **state)
{
	ok(test_run(register_callbacks, NULL));
	assert_trace("callback one · callback three · callback two · "
		     "callback none · task four");
}

static int64_t reset_tokens(void *arg)
{
	struct apus_context_token first, second;

	ok(apus_context_var_set(&color, (void *)(uintptr_t) "red", &first));
	ok(apus_context_var_set(&color, (void *)(uintptr_t) "blue", &second));
	emit("%s", now(&color));
	ok(apus_context_var_reset(&second));
	emit("%s", now(&color));
	ok(apus_context_var_reset(&first));
	emit("%s", now(&color));
	emit("%d", apus_context_var_reset(&first) == -EALREADY);
	return 0;
}

static void token_brings_back_what_stood_before_once(void **state)
{
	ok(test_run(reset_tokens, NULL));
	assert_trace("blue · red · none · 1");
}

static int64_t reset_of_another(void *arg)
{
	return apus_context_var_reset(arg);
}

static int64_t lend_a_token(void *arg)
{
	struct apus_context_token token;

	ok(apus_context_var_set(&color, (void *)(uintptr_t) "red", &token));
	emit("%d", apus_await(apus_spawn(reset_of_another, &token)) == -EINVAL);
	emit("%s", now(&color));
	ok(apus_context_var_reset(&token)); /* still good where it belongs */
	return 0;
}

static void token_of_another_task_is_refused(void **state)
{
	ok(test_run(lend_a_token, NULL));
	assert_trace("1 · red");
}

/* Many variables, many tasks, each with a view of its own, against arrays. */

#define VARS  20
#define TASKS 40

static struct apus_context_var vars[VARS];
static uint64_t chance;

struct view {
	intptr_t values[VARS];
	int depth;
};

static int64_t live_with_view(void *arg)
{
	struct view v = *(struct view *)arg;
	struct apus_context_token tokens[8];
	intptr_t before[8];
	int which[8], taken = 0;

	for (int step = 0; step < 30; step++) {
		for (int i = 0; i < VARS; i++)
			assert_int_equal((intptr_t)apus_context_var_get(&vars[i]), v.values[i]);
		int i = (int)test_random_below(&chance, VARS);
		intptr_t value = (intptr_t)test_random_below(&chance, 1000) + 1;

		switch (test_random_below(&chance, 6)) {
		case 0:
			if (taken == 8)
				break;
			which[taken] = i;
			before[taken] = v.values[i];
			ok(apus_context_var_set(&vars[i], (void *)value, &tokens[taken++]));
			v.values[i] = value;
			break;
		case 1:
			if (!taken)
				break;
			taken--;
			ok(apus_context_var_reset(&tokens[taken]));
			v.values[which[taken]] = before[taken];
			break;
		case 2:
			if (v.depth == 0 || apus_shard_tasks(test_world.shard) >= TASKS)
				break;
			v.depth--;
			ok(apus_spawn_detached(NULL, live_with_view, &v, sizeof(v)));
			break;
		case 3:
			ok(apus_yield());
			break;
		default:
			ok(apus_context_var_set(&vars[i], (void *)value, NULL));
			/* A token taken before now brings back what stood then all the same. */
			v.values[i] = value;
			break;
		}
	}
	return 0;
}

static void random_views_stay_apart(void **state)
{
	test_each_seed(seed, 200)
	{
		struct view empty = {.depth = 5};
		uint64_t live;

		chance = seed;
		live = apus_shard_heap(test_world.shard)->live;
		for (int i = 0; i < 3; i++)
			ok(apus_spawn_detached(NULL, live_with_view, &empty, sizeof(empty)));
		test_drain();
		test_laps(1);
		/* What the views took is given back with their tasks, but for what is kept for reuse. */
		if (seed > 20)
			assert_true(apus_shard_heap(test_world.shard)->live <= live + 2);
	}
}

static int64_t set_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);
	int failed = 0;

	for (int64_t n = 0; n < 4; n++) {
		for (int i = 0; i < VARS; i++) {
			void *before = apus_context_var_get(&vars[i]);

			apus_heap_fail_after(heap, n);
			int rc =
				apus_context_var_set(&vars[i], (void *)(intptr_t)(i + n + 1), NULL);

			apus_heap_fail_after(heap, -1);
			assert_true(rc == 0 || rc == -ENOMEM);
			assert_ptr_equal(apus_context_var_get(&vars[i]),
					 rc ? before : (void *)(intptr_t)(i + n + 1));
			failed += rc != 0;
		}
	}
	return failed;
}

static void set_without_memory_changes_nothing(void **state)
{
	assert_true(test_run(set_without_memory, NULL) >= 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(value_is_the_initial_one_until_set),
		shard_test(child_has_the_values_of_the_moment_of_spawning),
		shard_test(callbacks_have_the_values_of_the_moment_of_registration),
		shard_test(token_brings_back_what_stood_before_once),
		shard_test(token_of_another_task_is_refused),
		shard_test(random_views_stay_apart),
		shard_test(set_without_memory_changes_nothing),
	};

	return test_main(argc, argv, tests);
}
