/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_servers_trouble.c: a server on every shard, cancelled at every moment, without
 * memory, and in many worlds.
 *
 * --seed N replays one world, --seeds N tries so many.
 */
#include "tests/net/socket/servers_test.h"

/* --- Cancels and want of memory ------------------------------------------------------------ */

static int64_t told(int64_t rc)
{
	int next = apus_yield();

	was_told = rc == -ECANCELED || next == -ECANCELED;
	return rc;
}

static int64_t only_open(void *arg)
{
	return told(open_with_instances());
}

static int64_t open_plain(void *arg)
{
	return told(open_all());
}

static int64_t only_stop(void *arg)
{
	return told(apus_servers_stop(all, 30 * APUS_SEC));
}

static int64_t only_close(void *arg)
{
	return told(apus_servers_close(all));
}

static int64_t run_one(apus_task_fn fn, int64_t cancel_at_ns)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.server, "one", fn, NULL);
	bool was_asked = false;
	int64_t rc;

	if (cancel_at_ns >= 0) {
		assert_int_equal(apus_sim_advance(pair.world, cancel_at_ns), 0);
		was_asked = apus_sim_task_cancel(t);
	}
	for (int i = 0; !apus_sim_task_done(t); i++) {
		assert_int_equal(apus_sim_advance(pair.world, APUS_MS), 0);
		assert_true(i < 60000);
	}
	rc = apus_sim_task_result(t);
	apus_sim_task_forget(t);
	assert_int_equal(was_told, was_asked);
	return rc;
}

static unsigned int running(void)
{
	unsigned int starts = 0;

	for (const char *c = trace; *c; c++)
		starts += *c == '+' ? 1 : *c == '-' ? -1u : 0;
	return starts;
}

static void cancelled_open_leaves_all_or_none(void **state)
{
	unsigned int cancelled = 0, whole = 0;

	for (int64_t ns = 1; ns < 300 * APUS_US; ns += APUS_US) {
		int64_t rc;

		trace[0] = '\0';
		rc = run_one(only_open, ns);
		assert_true(rc == 0 || rc == -ECANCELED);
		assert_int_equal(running(), rc ? 0 : SHARDS);
		cancelled += rc != 0;
		whole += rc == 0;
		if (rc == 0)
			assert_int_equal(run_one(only_stop, -1), 0);
	}
	assert_true(cancelled > 20);
	assert_true(whole > 0);
}

static int64_t hang_around(void *arg)
{
	struct apus_tcp *c;
	char byte;
	int64_t rc = apus_tcp_connect(sim_server(), &c);

	if (rc)
		return rc;
	(void)!apus_tcp_read(c, &byte, 1);
	apus_tcp_close(c);
	return 0;
}

/* Some hang, so it has to wait; whenever it is cancelled, all end at once. */
static void cancelled_stop_stops_all_the_same(void **state)
{
	for (int64_t ns = 1; ns < 300 * APUS_US; ns += 7 * APUS_US) {
		int64_t begin_ns, rc;

		options.handler = hang;
		assert_int_equal(run_one(open_plain, -1), 0);
		for (int i = 0; i < 6; i++)
			(void)apus_sim_spawn(pair.client, "hang", hang_around, NULL);
		assert_int_equal(apus_sim_advance(pair.world, 100 * APUS_MS), 0);
		begin_ns = apus_sim_now(pair.world);
		rc = run_one(only_stop, ns);
		assert_int_equal(rc, -ECANCELED);
		assert_true(apus_sim_now(pair.world) - begin_ns < 10 * APUS_MS);
		assert_int_equal(inside, 0);
	}
}

static void cancel_of_a_close_or_a_stop_is_told(void **state)
{
	for (int64_t ns = 1; ns < 120 * APUS_US; ns += APUS_US) {
		int64_t rc;

		assert_int_equal(run_one(open_plain, -1), 0);
		rc = run_one(only_close, ns);
		assert_true(rc == 0 || rc == -ECANCELED);
		rc = run_one(only_stop, ns);
		assert_true(rc == 0 || rc == -ECANCELED);
	}
}

/* A cancel that is there before a stop is its deadline. */
static int64_t cancelled_before(void *arg)
{
	int64_t begin_ns = apus_now();

	apus_task_cancel(apus_task_self());
	sim_check_equal(apus_servers_stop(all, 30 * APUS_SEC), -ECANCELED);
	sim_check(apus_now() - begin_ns < APUS_MS);
	return told(0);
}

static void stop_after_a_cancel_does_not_wait(void **state)
{
	options.handler = hang;
	assert_int_equal(run_one(open_plain, -1), 0);
	for (int i = 0; i < 6; i++)
		(void)apus_sim_spawn(pair.client, "hang", hang_around, NULL);
	assert_int_equal(apus_sim_advance(pair.world, 100 * APUS_MS), 0);
	assert_int_equal(run_one(cancelled_before, -1), 0); /* told once, by the stop */
	assert_int_equal(inside, 0);
}

static void without_memory_nothing_is_left(void **state)
{
	for (unsigned int poor = 0; poor < SHARDS; poor++) {
		struct apus_heap *heap = apus_shard_heap(apus_sim_host_shard_at(pair.server, poor));
		unsigned int failures = 0;
		int64_t rc = -ENOMEM;

		for (int64_t left = 0; rc; left++) {
			uint64_t live = heap->live;

			trace[0] = '\0';
			apus_heap_fail_after(heap, left);
			rc = run_one(only_open, -1);
			apus_heap_fail_after(heap, -1);
			assert_true(rc == 0 || rc == -ENOMEM);
			assert_int_equal(running(), rc ? 0 : SHARDS);
			if (rc)
				assert_int_equal(heap->live, live);
			failures += rc != 0;
			assert_true(left < 40);
		}
		assert_true(failures > 1);
		/* A stop without memory for its tasks waits for some. */
		assert_int_equal(run_one(only_stop, -1), 0);
	}
}

/* No task on one shard for a while: a stop has time. */
static int64_t give_tasks(void *arg)
{
	int rc = apus_sleep(50 * APUS_MS);

	apus_sim_host_shard_at(pair.server, 2)->tasks_max = (size_t)(uintptr_t)arg;
	return rc;
}

static void stop_waits_for_memory_that_it_needs(void **state)
{
	struct apus_shard *shard = apus_sim_host_shard_at(pair.server, 2);
	size_t before = shard->tasks_max;
	struct apus_sim_task *t;

	assert_int_equal(run_one(open_plain, -1), 0);
	t = apus_sim_spawn(pair.server, "gives", give_tasks, (void *)(uintptr_t)before);
	assert_int_equal(apus_sim_advance(pair.world, APUS_MS), 0);
	shard->tasks_max = 0;
	assert_int_equal(run_one(only_stop, -1), 0);
	assert_true(apus_sim_task_done(t));
}

/* --- Worlds -------------------------------------------------------------------------------- */

static struct {
	uint32_t clients, answered, cut;
	int64_t stop_after_ns, drain_ns;
} plan;

/* Asks until the server says that it is enough. No answer may be lost, but for who is reset. */
static int64_t ask_on(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = wait_open();

	if (!rc)
		rc = apus_tcp_connect(sim_server(), &c);
	if (rc) {
		/* It comes too late: that is no fault of the start. */
		sim_check(rc == -ECONNREFUSED || rc == -ECONNRESET);
		refused_early |= is_open;
		return 0;
	}
	for (char out = 0, in;; out++) {
		rc = apus_tcp_write(c, &out, 1);
		if (rc > 0)
			rc = apus_tcp_read(c, &in, 1);
		if (rc <= 0)
			break;
		sim_check_equal(in, out);
		plan.answered++;
		(void)!apus_sleep(20 * APUS_MS);
	}
	plan.cut += rc < 0;
	apus_tcp_close(c);
	return 0;
}

static int64_t serve_world(void *arg)
{
	int64_t rc = open_all();

	sim_check_equal(rc, 0);
	sim_check_equal(apus_sleep(plan.stop_after_ns), 0);
	is_open = false; /* from now on they may be refused */
	rc = apus_servers_stop(all, plan.drain_ns);
	sim_check(rc == 0 || rc == -ETIMEDOUT);
	sim_check_equal(inside, 0);
	return 0;
}

static void nobody_is_refused_in_any_world(void **state)
{
	static const int64_t delays_ns[] = {0, 2 * APUS_US, 200 * APUS_US, 3 * APUS_MS};
	uint64_t answered = 0, cut = 0;

	test_each_seed(seed, WORLDS)
	{
		uint64_t random = seed;
		struct apus_sim_host_options host = {
			.shards = (uint16_t)(1 + test_random_below(&random, SHARDS)),
			.queues = (uint16_t)(1 + test_random_below(&random, SHARDS)),
			.spread = (enum apus_sim_spread)test_random_below(
				&random, APUS_SIM_SPREAD_FIRST + 1),
			.message_ns = delays_ns[test_random_below(&random, 4)],
		};
		uint32_t loss_ppm = test_random_below(&random, 3) ? 0 : 20000;

		open_shards(seed, host, loss_ppm);
		memset(&plan, 0, sizeof(plan));
		plan.clients = 1 + (uint32_t)test_random_below(&random, CLIENTS);
		plan.stop_after_ns = (int64_t)test_random_below(&random, 5 * APUS_SEC);
		plan.drain_ns = test_random_below(&random, 4) ? 30 * APUS_SEC : 0;
		options = (struct apus_server_options){
			.local.port = SERVER_PORT,
			.handler = echo,
		};
		run_many(serve_world, ask_on, plan.clients);
		assert_false(refused_early);
		/* An idle handler is cancelled and closes in order; a lost FIN is sent again. */
		answered += plan.answered;
		cut += plan.cut;
		assert_int_equal(teardown(NULL), 0);
	}
	assert_true(answered > 10 * WORLDS / 400);
	assert_true(cut > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shards_row(cancelled_open_leaves_all_or_none),
		shards_row(cancelled_stop_stops_all_the_same),
		shards_row(cancel_of_a_close_or_a_stop_is_told),
		shards_row(stop_after_a_cancel_does_not_wait),
		shards_row(without_memory_nothing_is_left),
		shards_row(stop_waits_for_memory_that_it_needs),
		cmocka_unit_test(nobody_is_refused_in_any_world),
	};

	return test_main(argc, argv, tests);
}
