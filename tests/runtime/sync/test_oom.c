/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_oom.c: every call that allocates or spawns, without memory.
 *
 * Each scenario runs again and again, with the 1st, 2nd, 3rd... allocation and all later ones
 * failing, until none is left that could; then the same with tasks. What a call says must be
 * success or -ENOMEM, and what it is about must be whole. It does so on a shard that has run
 * nothing, and on one that has, where the heap must then hold as many objects as before.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/context_var.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/timeout.h"

#define MANY 40 /* beyond what combinators have room for on the stack */

/*
 * What memory_ends() leaves until memory_is_back(): allocations, or tasks: a spawn takes its stack
 * from a pool and not from the heap, and has its own end.
 */
static bool counts_tasks;
static int64_t left;
static size_t tasks_max;
static bool was_short; /* something was refused, or the last was taken */

static void memory_ends(void)
{
	struct apus_shard *shard = test_world.shard;

	tasks_max = shard->tasks_max;
	if (counts_tasks)
		shard->tasks_max = shard->tasks_live + (size_t)left;
	else
		apus_heap_fail_after(&shard->heap, left);
}

static void memory_is_back(void)
{
	struct apus_shard *shard = test_world.shard;

	was_short = counts_tasks ? left < MANY : shard->heap.fail_after == 0;
	shard->tasks_max = tasks_max;
	apus_heap_fail_after(&shard->heap, -1);
}

static void *as_arg(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

static int64_t yield_and_return_arg(void *arg)
{
	int rc = apus_yield();

	return rc ? rc : (int64_t)(intptr_t)arg;
}

/* Spawns. */

static int64_t spawn_some(void *arg)
{
	struct apus_task *tasks[MANY];
	int64_t rc = 0;

	memory_ends();
	for (int i = 0; i < MANY; i++)
		tasks[i] = apus_spawn_with(
			&(struct apus_spawn_options){.stack_bytes = 16384u << (i % 4)},
			yield_and_return_arg, as_arg(i), 0);
	memory_is_back();
	for (int i = 0; i < MANY; i++) {
		int64_t result = apus_await(tasks[i]);

		assert_int_equal(result, tasks[i] ? i : -ENOMEM);
		if (result < 0)
			rc = result;
	}
	return rc;
}

struct block {
	int64_t words[100];
};

static int64_t sum_of_copy(void *arg)
{
	const int64_t *words = ((const struct block *)arg)->words;

	return words[0] + words[1] + words[99];
}

static int64_t spawn_eager_with_copies(void *arg)
{
	const struct apus_spawn_options options = {
		.flags = APUS_SPAWN_EAGER,
		.stack_bytes = 32768,
	};
	struct block block = {{1, 2, [99] = 3}};

	memory_ends();
	struct apus_task *t = apus_spawn_with(&options, sum_of_copy, &block, sizeof(block));

	memory_is_back();
	assert_true(!t || apus_task_done(t));
	block.words[0] = 100;
	int64_t rc = apus_await(t);

	assert_true(rc == 6 || (rc == -ENOMEM && !t));
	return rc < 0 ? rc : 0;
}

static int64_t count_run(void *arg)
{
	++*(int *)arg;
	return 0;
}

static int64_t spawn_some_detached(void *arg)
{
	const struct apus_spawn_options options = {.stack_bytes = 32768};
	int count = 0, spawned = 0;
	int64_t rc = 0;

	memory_ends();
	for (int i = 0; i < MANY; i++) {
		int refused = apus_spawn_detached(&options, count_run, &count, 0);

		if (refused)
			rc = refused;
		else
			spawned++;
	}
	memory_is_back();
	ok(apus_yield());
	ok(apus_yield());
	assert_int_equal(count, spawned);
	return rc;
}

/* Callbacks never need memory: the ready queue finds another way. */

struct counted {
	struct apus_work work;
	int number;
};

static int callbacks_run;

static void in_order(struct apus_work *work)
{
	assert_int_equal(apus_container_of(work, struct counted, work)->number, callbacks_run++);
}

static struct counted counted[3000];

static int64_t call_very_many(void *arg)
{
	memory_ends();
	callbacks_run = 0;
	for (int i = 0; i < (int)apus_countof(counted); i++) {
		counted[i].number = i;
		apus_work_init(&counted[i].work, in_order);
		apus_call_soon(&counted[i].work);
	}
	ok(apus_yield());
	memory_is_back();
	assert_int_equal(callbacks_run, apus_countof(counted));
	return 0;
}

/* Queues. */

static int64_t number_of(const void *item)
{
	return (int64_t)(intptr_t)item;
}

static int64_t fill_queue(void *arg)
{
	enum apus_queue_order order = (enum apus_queue_order)(uintptr_t)arg;
	struct apus_queue q;
	int put = 0;
	int64_t rc;
	void *item;

	struct apus_queue_options options = {.capacity = 1000, .order = order};

	if (order == APUS_QUEUE_PRIORITY)
		options.priority = number_of;
	ok(apus_queue_init(&q, &options));
	memory_ends();
	do
		rc = apus_queue_put(&q, as_arg(put + 1));
	while (rc == 0 && ++put < 100);
	if (rc)
		assert_int_equal(apus_queue_try_put(&q, as_arg(1000)), -ENOMEM);
	memory_is_back();
	assert_int_equal(apus_queue_size(&q), put);
	ok(apus_queue_put(&q, as_arg(put + 1))); /* it goes on as if nothing had been */
	put++;
	for (int i = 1; i <= put; i++) {
		ok(apus_queue_get(&q, &item));
		assert_int_equal(item, order == APUS_QUEUE_LIFO ? put + 1 - i : i);
		ok(apus_queue_task_done(&q));
	}
	assert_int_equal(apus_queue_task_done(&q), -EINVAL);
	assert_int_equal(apus_queue_try_get(&q, &item), -EAGAIN);
	apus_queue_fini(&q);
	return rc;
}

static int64_t get_one(void *arg)
{
	void *item = NULL;
	int rc = apus_queue_get(arg, &item);

	return rc ? rc : (int64_t)(intptr_t)item;
}

/* A put without memory must not wake a getter for nothing, nor forget it. */
static int64_t put_to_getter(void *arg)
{
	struct apus_queue q;

	ok(apus_queue_init(&q, &(struct apus_queue_options){.capacity = 4}));
	struct apus_task *getter = apus_spawn(get_one, &q);

	ok(apus_yield());
	memory_ends();
	int64_t rc = apus_queue_put(&q, as_arg(1));

	memory_is_back();
	ok(apus_yield());
	assert_int_equal(apus_task_done(getter), rc == 0);
	if (rc)
		ok(apus_queue_put(&q, as_arg(1)));
	assert_int_equal(apus_await(getter), 1);
	apus_queue_fini(&q);
	return rc;
}

static int64_t select_put(void *arg)
{
	struct apus_queue q;
	struct apus_select_case cases[] = {APUS_SELECT_PUT(&q, as_arg(1))};

	ok(apus_queue_init(&q, &(struct apus_queue_options){.capacity = 4}));
	memory_ends();
	int64_t rc = apus_select(cases, 1);

	memory_is_back();
	ok(rc);
	assert_int_equal(apus_queue_size(&q), cases[0].rc == 0);
	apus_queue_fini(&q);
	return cases[0].rc;
}

/* Combinators. */

static int gathered;

static int64_t count_and_yield(void *arg)
{
	int rc = apus_yield();

	gathered++;
	return rc;
}

static void spawn_many(struct apus_task *tasks[])
{
	gathered = 0;
	for (int i = 0; i < MANY; i++) {
		tasks[i] = apus_spawn(count_and_yield, NULL);
		assert_non_null(tasks[i]);
	}
}

static int64_t gather_many(void *arg)
{
	struct apus_task *tasks[MANY];
	int64_t results[MANY];

	spawn_many(tasks);
	memory_ends();
	int64_t rc = apus_gather(tasks, MANY, results, (unsigned int)(uintptr_t)arg);

	memory_is_back();
	if (rc == 0) {
		for (int i = 0; i < MANY; i++)
			ok(results[i]);
		assert_int_equal(gathered, MANY);
	}
	for (int i = 0; i < 3; i++)
		ok(apus_yield());
	assert_int_equal(gathered, MANY); /* nothing was waited for, but all of them ran */
	return rc;
}

static int64_t wait_many(void *arg)
{
	struct apus_task *tasks[MANY];

	spawn_many(tasks);
	memory_ends();
	int64_t n = apus_wait(tasks, MANY, APUS_WAIT_ALL, APUS_SEC);

	memory_is_back();
	assert_true(n == MANY || n == -ENOMEM);
	for (int i = 0; i < MANY; i++)
		ok(apus_await(tasks[i])); /* the handles are still ours */
	return n < 0 ? n : 0;
}

static int64_t as_completed_many(void *arg)
{
	struct apus_task *tasks[MANY];
	struct apus_as_completed it;

	spawn_many(tasks);
	memory_ends();
	int64_t rc = apus_as_completed_begin(&it, tasks, MANY);

	if (rc == 0) {
		for (int i = 0; i < MANY; i++)
			assert_int_equal(apus_as_completed_next(&it), i);
		assert_int_equal(apus_as_completed_next(&it), -ENOENT);
		apus_as_completed_end(&it);
	}
	memory_is_back();
	for (int i = 0; i < MANY; i++)
		ok(apus_await(tasks[i]));
	return rc;
}

static int64_t wait_for_or_shield(void *arg)
{
	struct apus_task *t = apus_spawn(yield_and_return_arg, as_arg(5));

	memory_ends();
	int64_t rc = arg ? apus_shield(t) : apus_wait_for(t, APUS_SEC);

	memory_is_back();
	return rc == 5 ? 0 : rc;
}

static int racing;

static int64_t racer(void *arg)
{
	racing++;
	int64_t rc = apus_sleep(50 * APUS_MS);

	racing--;
	return rc;
}

static int64_t race(void *arg)
{
	struct apus_racer racers[6];

	for (size_t i = 0; i < apus_countof(racers); i++)
		racers[i] = (struct apus_racer){.fn = racer};
	racing = 0;
	memory_ends();
	int64_t rc = apus_race_staggered(racers, apus_countof(racers), 10 * APUS_MS);

	memory_is_back();
	assert_int_equal(racing, 0); /* nobody runs on */
	if (rc >= 0)
		ok(racers[rc].result);
	return rc > 0 ? 0 : rc;
}

static int64_t group_of_many(void *arg)
{
	struct apus_group g;
	int spawned = 0;
	int64_t rc = 0;

	gathered = 0;
	apus_group_begin(&g, (enum apus_group_policy)(uintptr_t)arg);
	memory_ends();
	for (int i = 0; i < MANY; i++) {
		int refused = apus_group_spawn(&g, NULL, count_and_yield, &i, sizeof(i));

		if (refused)
			rc = refused;
		else
			spawned++;
	}
	memory_is_back();
	ok(apus_group_end(&g, 0));
	assert_int_equal(gathered, spawned);
	apus_group_fini(&g);
	return rc;
}

/* The errors of children are kept without memory, too. */
static int64_t group_of_errors(void *arg)
{
	struct apus_group g;
	struct apus_group_error error;

	apus_group_begin(&g, APUS_GROUP_COLLECT);
	for (int i = 0; i < MANY; i++)
		ok(apus_group_spawn(&g, NULL, return_arg, as_arg(-1 - i), 0));
	memory_ends();
	assert_int_equal(apus_group_end(&g, 0), -1);
	memory_is_back();
	for (int i = 0; i < MANY; i++) {
		assert_true(apus_group_error(&g, (size_t)i, &error));
		assert_int_equal(error.error, -1 - i);
	}
	assert_false(apus_group_error(&g, MANY, &error));
	apus_group_fini(&g);
	return 0;
}

/* Channels, variables, generators. */

static int64_t open_broadcast(void *arg)
{
	struct apus_broadcast b;
	struct apus_subscriber s;
	void *value;

	memory_ends();
	int64_t rc = apus_broadcast_init(&b, 16, APUS_LAG_DROP);

	if (rc == 0) {
		apus_broadcast_subscribe(&b, &s);
		ok(apus_broadcast_send(&b, as_arg(3)));
		ok(apus_broadcast_recv(&s, &value));
		assert_int_equal(value, 3);
		apus_broadcast_unsubscribe(&s);
		apus_broadcast_fini(&b);
	}
	memory_is_back();
	return rc;
}

static struct apus_context_var vars[20];

static int64_t sees_ones(void *arg)
{
	for (size_t i = 0; i < apus_countof(vars); i++)
		assert_int_equal(apus_context_var_get(&vars[i]), 1);
	return 0;
}

static int64_t set_vars(void *arg)
{
	struct apus_context_token tokens[apus_countof(vars)];
	int64_t rc = 0;

	for (size_t i = 0; i < apus_countof(vars); i++)
		ok(apus_context_var_set(&vars[i], as_arg(1), NULL));
	/* Others hold this snapshot, so that the first change copies it. */
	struct apus_task *t = apus_spawn(sees_ones, NULL);
	size_t n = 0;

	memory_ends();
	for (; n < apus_countof(vars); n++) {
		rc = apus_context_var_set(&vars[n], as_arg(2), &tokens[n]);
		if (rc)
			break;
	}
	for (size_t i = 0; i < apus_countof(vars); i++)
		assert_int_equal(apus_context_var_get(&vars[i]), i < n ? 2 : 1);
	while (rc == 0 && n > 0) {
		rc = apus_context_var_reset(&tokens[n - 1]);
		if (rc == 0)
			n--;
	}
	memory_is_back();
	while (n > 0) /* one that failed can be done again */
		ok(apus_context_var_reset(&tokens[--n]));
	ok(sees_ones(NULL));
	ok(apus_await(t));
	return rc;
}

static int64_t count_to_three(struct apus_generator *g, void *arg)
{
	for (int64_t i = 1; i <= 3; i++) {
		int64_t rc = apus_generator_yield(g, as_arg(i), NULL);

		if (rc)
			return rc;
	}
	return 0;
}

static int64_t generate(void *arg)
{
	struct apus_generator g;
	void *value;

	apus_generator_open(&g, count_to_three, NULL);
	memory_ends();
	int64_t rc = apus_generator_next(&g, &value);

	memory_is_back();
	if (rc == 1) {
		assert_int_equal(value, 1);
		rc = 0;
	}
	ok(apus_generator_close(&g));
	return rc;
}

/* What must need no memory at all. */

static int64_t hold_lock(void *arg)
{
	struct apus_lock *lock = arg;
	int rc = apus_lock_acquire(lock);

	if (rc == 0)
		rc = apus_yield();
	ok(apus_lock_release(lock));
	return rc;
}

static int64_t wait_everywhere(void *arg)
{
	struct apus_lock lock;
	struct apus_condition condition;
	struct apus_semaphore semaphore;
	struct apus_barrier barrier;
	struct apus_gate gate;
	struct apus_event event;
	struct apus_timeout limit;
	struct apus_select_case cases[] = {
		APUS_SELECT_EVENT(&event),
		APUS_SELECT_UNTIL(apus_now() + APUS_MS),
	};
	struct apus_task *t = apus_spawn(hold_lock, &lock);

	apus_lock_init(&lock);
	apus_condition_init(&condition, &lock);
	apus_semaphore_init(&semaphore, 1, 1);
	apus_barrier_init(&barrier, 1);
	apus_gate_init(&gate);
	apus_event_init(&event);
	memory_ends();
	ok(apus_yield());
	ok(apus_lock_acquire(&lock));
	apus_timeout_begin(&limit, APUS_MS);
	assert_int_equal(apus_timeout_end(&limit, apus_condition_wait(&condition)), -ETIMEDOUT);
	ok(apus_lock_release(&lock));
	ok(apus_semaphore_acquire(&semaphore, 1));
	apus_timeout_begin(&limit, APUS_MS);
	assert_int_equal(apus_timeout_end(&limit, apus_semaphore_acquire(&semaphore, 1)),
			 -ETIMEDOUT);
	apus_timeout_begin(&limit, APUS_MS);
	assert_int_equal(apus_timeout_end(&limit, apus_event_wait(&event)), -ETIMEDOUT);
	ok(apus_barrier_wait(&barrier));
	ok(apus_gate_close(&gate));
	cases[1].deadline_ns = apus_now() + APUS_MS;
	assert_int_equal(apus_select(cases, 2), 1);
	ok(apus_sleep(APUS_MS));
	ok(apus_await(t));
	memory_is_back();
	return 0;
}

static const struct scenario {
	const char *name;
	apus_task_fn run;
	unsigned int arg;
	bool allocates; /* so that with nothing left it must fail */
	bool spawns;    /* the same of tasks */
} scenarios[] = {
	{"spawn", spawn_some, 0, false, true},
	{"spawn_eager", spawn_eager_with_copies, 0, false, true},
	{"spawn_detached", spawn_some_detached, 0, false, true},
	{"call_soon", call_very_many, 0, false, false},
	{"queue_put_fifo", fill_queue, APUS_QUEUE_FIFO, true, false},
	{"queue_put_lifo", fill_queue, APUS_QUEUE_LIFO, true, false},
	{"queue_put_priority", fill_queue, APUS_QUEUE_PRIORITY, true, false},
	{"queue_put_to_a_getter", put_to_getter, 0, true, false},
	{"select_put", select_put, 0, true, false},
	{"gather", gather_many, 0, true, false},
	{"gather_return_errors", gather_many, APUS_GATHER_RETURN_ERRORS, true, false},
	{"wait", wait_many, 0, true, false},
	{"as_completed", as_completed_many, 0, true, false},
	{"wait_for", wait_for_or_shield, 0, false, false},
	{"shield", wait_for_or_shield, 1, false, false},
	{"race_staggered", race, 0, false, true},
	{"group_spawn", group_of_many, APUS_GROUP_FAIL_FAST, false, true},
	{"group_spawn_collect", group_of_many, APUS_GROUP_COLLECT, false, true},
	{"group_end", group_of_errors, 0, false, false},
	{"broadcast_init", open_broadcast, 0, true, false},
	{"context_var", set_vars, 0, true, false},
	{"generator_next", generate, 0, false, true},
	{"waiting", wait_everywhere, 0, false, false},
};

static const struct scenario *scenario;

/* Return: was memory short in it? */
static bool run_once(int64_t with, int64_t *rc)
{
	left = with;
	was_short = false;
	*rc = test_run(scenario->run, as_arg(scenario->arg));
	test_drain();
	assert_true(*rc == 0 || *rc == -ENOMEM);
	assert_true(*rc == 0 || was_short);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	return was_short;
}

#define LEFT_MAX 2000

static void run_again(void)
{
	struct apus_heap *heap = apus_shard_heap(test_world.shard);
	bool more = true;
	int64_t rc;

	for (int i = 0; i < 3; i++) {
		assert_false(run_once(LEFT_MAX, &rc));
		ok(rc);
	}
	uint64_t live = heap->live;

	for (int64_t with = 0; more; with++) {
		assert_true(with < LEFT_MAX);
		more = run_once(with, &rc);
		if (with == 0)
			assert_int_equal(rc, (counts_tasks ? scenario->spawns : scenario->allocates)
						     ? -ENOMEM
						     : 0);
		if (heap->live != live)
			fail_msg("%s with %lld left: %llu objects before, %llu after",
				 scenario->name, (long long)with, (unsigned long long)live,
				 (unsigned long long)heap->live);
	}
}

static void run_on_new_shards(void)
{
	bool more = true;
	int64_t rc;

	for (int64_t with = 0; more; with++) {
		assert_true(with < LEFT_MAX);
		ok(test_open(NULL));
		more = run_once(with, &rc);
		assert_false(run_once(LEFT_MAX, &rc)); /* it is as good as new */
		ok(rc);
		test_world.passed = true;
		ok(test_close(NULL));
	}
}

static void run_scenario(void **state)
{
	scenario = *state;
	counts_tasks = false;
	run_on_new_shards();
	ok(test_open(NULL));
	run_again();
	counts_tasks = true;
	run_again();
	test_world.passed = true;
	ok(test_close(NULL));
}

static int leave_shard(void **state)
{
	apus_shard_current = NULL; /* of a test that failed in the middle of its run */
	return 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(scenarios)];

	for (size_t i = 0; i < apus_countof(scenarios); i++)
		tests[i] = (struct CMUnitTest){scenarios[i].name, run_scenario, NULL, leave_shard,
					       (void *)(uintptr_t)&scenarios[i]};
	return test_main(argc, argv, tests);
}
