/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_oom.c: calls between shards without memory, here or there.
 *
 * Each scenario runs again and again, with the 1st, 2nd, 3rd... allocation of one shard's heap and all
 * later ones failing, until none is left that could; then the same with its tasks. What a call says
 * must be success or -ENOMEM, and in the end nothing may be left.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/sharded.h"
#include "runtime/sync/context_var.h"

#define MANY 12

static struct apus_context_var variable = {.name = "variable"};
static unsigned int ran, unhandled;

static int64_t serve(void *arg)
{
	ran++;
	return apus_yield();
}

static int64_t call_on(void *arg)
{
	return apus_call_on(1, serve, NULL);
}

static int64_t call_oneself(void *arg)
{
	return apus_call_on(0, serve, NULL);
}

static int64_t post_to(void *arg)
{
	return apus_post_to(1, serve, NULL);
}

static int64_t post_to_oneself(void *arg)
{
	return apus_post_to(0, serve, NULL);
}

static int64_t on_all(void *arg)
{
	return apus_on_all(serve, NULL, NULL);
}

static void reduce(void *into, unsigned int shard, int64_t result)
{
	++*(unsigned int *)into;
}

static int64_t map_reduce(void *arg)
{
	unsigned int reduced = 0;
	int64_t rc = apus_map_reduce(serve, NULL, reduce, &reduced);

	assert_int_equal(reduced, rc ? 0 : 2);
	return rc;
}

static unsigned int started;

static int64_t start_one(void *arg, void **instance)
{
	ran++;
	started++;
	return 0;
}

static int64_t stop_one(void *instance, int64_t drain_ns, void *arg)
{
	started--;
	return 0;
}

static int64_t serve_inside(void *instance, void *arg)
{
	return serve(arg);
}

static void memory_returns(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		apus_heap_fail_after(&cross.shards[i]->heap, -1);
		cross.shards[i]->tasks_max = 1000;
	}
}

/* It has started everywhere, or nowhere. A stop, which would wait for memory, has some. */
static int64_t sharded(void *arg)
{
	struct apus_sharded *s;
	int64_t rc = apus_sharded_start(
		&(struct apus_sharded_options){.start = start_one, .stop = stop_one}, &s);

	assert_int_equal(started, rc ? 0 : 2);
	if (rc)
		return rc;
	rc = apus_sharded_call(s, 1, serve_inside, NULL);
	if (!rc)
		rc = apus_sharded_call_all(s, serve_inside, NULL, NULL);

	memory_returns();
	ok(apus_sharded_stop(s, APUS_SEC));
	assert_int_equal(started, 0);
	return rc;
}

static void count_unhandled(const struct apus_unhandled *what, void *arg)
{
	assert_int_equal(what->error, -ENOMEM);
	unhandled++;
}

struct trial {
	apus_task_fn scenario;
	unsigned int poor; /* the shard without memory */
	int64_t left;      /* allocations, or tasks, that it still has */
	bool counts_tasks;
	bool has_variable;
};

static void memory_ends(const struct trial *t)
{
	struct apus_shard *shard = cross.shards[t->poor];

	if (t->counts_tasks)
		shard->tasks_max = (size_t)t->left + (t->poor == 0);
	else
		apus_heap_fail_after(&shard->heap, t->left);
}

static int64_t run_trial(void *arg)
{
	const struct trial *t = arg;

	if (t->has_variable)
		ok(apus_context_var_set(&variable, arg, NULL));
	memory_ends(t);
	return t->scenario(NULL);
}

static bool try(const struct trial *t)
{
	cross_open(2, NULL);
	ran = unhandled = 0;
	for (unsigned int i = 0; i < 2; i++)
		apus_on_unhandled(cross.shards[i], count_unhandled, NULL);

	int64_t rc = cross_run(0, run_trial, (void *)(uintptr_t)t);

	cross_drain();
	assert_true(rc == 0 || rc == -ENOMEM);
	memory_returns();
	bool failed = rc || unhandled;

	assert_true(ran || failed);
	ok(cross_run(0, t->scenario, NULL)); /* all is as before */
	cross_drain();
	cross_close();
	return failed;
}

static const struct row {
	const char *name;
	apus_task_fn scenario;
	unsigned int poor;
} rows[] = {
	{"call_on, the caller", call_on, 0},       {"call_on, the callee", call_on, 1},
	{"call_on oneself", call_oneself, 0},      {"post_to, the poster", post_to, 0},
	{"post_to, the other", post_to, 1},        {"post_to oneself", post_to_oneself, 0},
	{"on_all, the caller", on_all, 0},         {"on_all, another", on_all, 1},
	{"map_reduce, the caller", map_reduce, 0}, {"map_reduce, another", map_reduce, 1},
	{"sharded, the caller", sharded, 0},       {"sharded, another", sharded, 1},
};

static void run_row(void **state)
{
	const struct row *row = *state;
	unsigned int failures = 0;

	for (int kind = 0; kind < 4; kind++) {
		struct trial t = {
			.scenario = row->scenario,
			.poor = row->poor,
			.counts_tasks = kind & 1,
			.has_variable = kind & 2,
		};

		for (t.left = 0; t.left < MANY; t.left++)
			failures += try(&t);
		assert_false(try(&t)); /* there was enough at last */
	}
	if (row->scenario != call_on || row->poor)
		assert_true(failures > 0);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(rows)];

	for (size_t i = 0; i < apus_countof(rows); i++)
		tests[i] = (struct CMUnitTest){
			rows[i].name, run_row, NULL, NULL, (void *)(uintptr_t)&rows[i],
		};
	return test_main(argc, argv, tests);
}
