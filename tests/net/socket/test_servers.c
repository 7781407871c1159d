/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_servers.c: a server on every shard of a simulated host, as one.
 *
 * --seed N replays one world, --seeds N tries so many.
 *
 * A neighbour that is not known yet holds eight packets; a ninth client of the first moment sends its
 * SYN again a second later. So who needs all clients waits for them, not for a time.
 */
#include "net/socket/servers.h"
#include "net/tcp/layer.h"
#include "runtime/cross/call.h"
#include "runtime/sched/internal.h"
#include "tests/net/socket/server_test.h"
#include "tests/runtime/base_test.h"

#define SHARDS  4
#define CLIENTS 12
#define WORLDS  400

static struct apus_servers *all;
static struct apus_server_options options;
static bool is_open; /* for clients */
static char trace[8 * SHARDS * 2];
static int start_fails_on; /* -1: nowhere */
static int heads[SHARDS];  /* instances */
static bool refused_early;

static void open_shards(uint64_t seed, struct apus_sim_host_options host, uint32_t loss_ppm)
{
	const struct apus_sim_link_options link = {
		.wire.delay_ns = APUS_MS,
		.impair.loss_ppm = loss_ppm,
	};

	inside = most_inside = served = 0;
	ended = 0;
	all = NULL;
	is_open = refused_early = false;
	trace[0] = '\0';
	start_fails_on = -1;
	sim_pair_open_as(&pair, seed, &link, host, (struct apus_sim_host_options){0});
}

static int setup_shards(void **state)
{
	open_shards(1, (struct apus_sim_host_options){.shards = SHARDS, .message_ns = 20 * APUS_US},
		    0);
	options = (struct apus_server_options){.local.port = SERVER_PORT, .handler = echo};
	return 0;
}

static int64_t open_all(void)
{
	int64_t rc = apus_servers_open(&(struct apus_servers_options){.server = options}, &all);

	is_open = rc == 0;
	return rc;
}

static int64_t wait_open(void)
{
	int rc = 0;

	while (!is_open && !rc)
		rc = apus_sleep(100 * APUS_US);
	return rc;
}

/* Until @n handlers run. */
static int64_t wait_inside(uint32_t n)
{
	int rc = 0;

	while (inside < n && !rc)
		rc = apus_sleep(APUS_MS);
	return rc;
}

static int64_t early_guest(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : guest(arg);
}

static int64_t early_asker(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : asker(arg);
}

static int64_t early_victim(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : victim(arg);
}

/* --- Open ---------------------------------------------------------------------------------- */

static int64_t connections_here(void *arg)
{
	return apus_server_connections(apus_servers_here(all));
}

static int64_t serve_guests(void *arg)
{
	int64_t results[SHARDS];
	unsigned int busy = 0;

	sim_check_equal(open_all(), 0);
	sim_check_equal(apus_servers_local(all).port, SERVER_PORT);
	sim_check_equal(wait_inside(CLIENTS), 0);
	sim_check_equal(apus_servers_counter(all, APUS_SERVER_ACCEPTED), CLIENTS);
	sim_check_equal(apus_servers_connections(all), CLIENTS);
	sim_check_equal(apus_on_all(connections_here, NULL, results), 0);
	for (int i = 0; i < SHARDS; i++)
		busy += results[i] > 0;
	sim_check(busy > 1); /* their ports decide */
	while (served < CLIENTS)
		sim_check_equal(apus_sleep(APUS_MS), 0);
	sim_check_equal(apus_servers_connections(all), 0);
	return apus_servers_stop(all, 0);
}

static void every_shard_serves_what_is_its_own(void **state)
{
	run_many(serve_guests, early_guest, CLIENTS);
}

static int64_t port_here(void *arg)
{
	const struct apus_server *s = apus_servers_here(all);

	return apus_server_is_serving(s) ? apus_server_local(s).port : 0;
}

/* Half of the ports that are there to choose from. */
static int64_t take_half(void *arg)
{
	static struct apus_tcp_listener *taken[(APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST) / 2 + 1];
	size_t n = arg ? apus_countof(taken) : 0;

	for (size_t i = 0; i < apus_countof(taken) && !arg; i++)
		sim_check_equal(apus_tcp_listen(sim_any((uint16_t)(APUS_TCP_PORT_FIRST + 2 * i)), 0,
						&taken[i]),
				0);
	while (n > 0)
		apus_tcp_listener_close(taken[--n]);
	return 0;
}

static int64_t choose_ports(void *arg)
{
	int64_t results[SHARDS];
	uint32_t different = 0;
	uint16_t last = 0;

	options.local.port = 0;
	sim_check_equal(apus_call_on(2, take_half, NULL), 0);
	for (int lap = 0; lap < 40; lap++) {
		sim_check_equal(open_all(), 0);
		/* Every other one is taken. */
		sim_check((apus_servers_local(all).port - APUS_TCP_PORT_FIRST) % 2);
		different += apus_servers_local(all).port != last;
		last = apus_servers_local(all).port;
		sim_check_equal(apus_on_all(port_here, NULL, results), 0);
		for (int i = 0; i < SHARDS; i++)
			sim_check_equal(results[i], last);
		sim_check_equal(apus_servers_stop(all, 0), 0);
	}
	sim_check(different > 1);
	return apus_call_on(2, take_half, &options);
}

static void port_0_is_one_that_is_free_on_all_shards(void **state)
{
	run(choose_ports, NULL);
}

static int64_t take_port(void *arg)
{
	return apus_server_open(
		&(struct apus_server_options){.local = sim_any(SERVER_PORT), .handler = echo},
		&server);
}

static int64_t give_port(void *arg)
{
	return apus_server_stop(server, 0);
}

static int64_t one_cannot(void *arg)
{
	for (unsigned int i = 0; i < SHARDS; i++) {
		sim_check_equal(apus_call_on(i, take_port, NULL), 0);
		sim_check_equal(open_all(), -EADDRINUSE);
		sim_check_equal(apus_call_on(i, give_port, NULL), 0);
		sim_check_equal(open_all(), 0); /* nothing was left behind on the others */
		sim_check_equal(apus_servers_stop(all, 0), 0);
	}
	return 0;
}

static void one_shard_that_cannot_listen_stops_the_others(void **state)
{
	run(one_cannot, NULL);
}

static int64_t open_wrong(void *arg)
{
	options.is_paused = true;
	sim_check_equal(open_all(), -EINVAL);
	options = (struct apus_server_options){0};
	sim_check_equal(open_all(), -EINVAL);
	return 0;
}

static void options_that_make_no_sense_are_refused(void **state)
{
	run(open_wrong, NULL);
}

/* --- Instances ----------------------------------------------------------------------------- */

static void note(char what)
{
	size_t at = strlen(trace);

	snprintf(trace + at, sizeof(trace) - at, "%c%u", what, apus_shard_index());
}

static const struct arg {
	int first, second;
} given = {7, 8};

static int64_t start_instance(void *arg, void **instance)
{
	const struct arg *a = arg;

	sim_check(a != &given && a->first == 7 && a->second == 8); /* a copy */
	int rc = apus_sleep(10 * APUS_US);

	if (rc)
		return rc;
	if ((int)apus_shard_index() == start_fails_on)
		return -EPERM;
	note('+');
	heads[apus_shard_index()] = (int)apus_shard_index();
	*instance = &heads[apus_shard_index()];
	return 0;
}

static int64_t stop_instance(void *instance, int64_t drain_ns, void *arg)
{
	sim_check(instance == &heads[apus_shard_index()] && ((struct arg *)arg)->first == 7);
	heads[apus_shard_index()] = -1;
	note('-');
	return 0;
}

/* All instances are there, however late it is. */
static int64_t ask_all(void *arg)
{
	sim_check_equal(heads[apus_shard_index()], apus_shard_index());
	return apus_sleep(APUS_US);
}

static int64_t serve_with_instance(struct apus_tcp *c, void *arg)
{
	int64_t rc;

	sim_check(arg == &heads[apus_shard_index()]);
	sim_check_equal(apus_on_all(ask_all, NULL, NULL), 0);
	rc = echo(c, arg);
	(void)!apus_sleep(APUS_SEC); /* a last word, after the others have left */
	sim_check_equal(apus_on_all(ask_all, NULL, NULL), 0);
	return rc;
}

static int64_t open_with_instances(void)
{
	const struct apus_servers_options o = {
		.server = {.local.port = SERVER_PORT,
			   .handler = serve_with_instance,
			   .arg = (void *)(uintptr_t)&given},
		.arg_bytes = sizeof(given),
		.start = start_instance,
		.stop = stop_instance,
	};
	int rc = apus_servers_open(&o, &all);

	is_open = rc == 0;
	return rc;
}

static int64_t serve_with_instances(void *arg)
{
	sim_check_equal(open_with_instances(), 0);
	sim_check_equal(wait_inside(CLIENTS), 0);
	sim_check_equal(apus_servers_stop(all, 10 * APUS_SEC), 0);
	sim_check_equal(strcmp(trace, "+0+1+2+3-3-2-1-0"), 0);
	return 0;
}

static void instances_outlive_every_handler_of_every_shard(void **state)
{
	run_many(serve_with_instances, early_asker, CLIENTS);
	assert_int_equal(served, CLIENTS);
}

static int64_t fail_to_start(void *arg)
{
	for (start_fails_on = 0; start_fails_on < SHARDS; start_fails_on++) {
		trace[0] = '\0';
		sim_check_equal(open_with_instances(), -EPERM);
		sim_check_equal(strlen(trace), 4 * start_fails_on);
	}
	trace[0] = '\0';
	start_fails_on = -1;
	sim_check_equal(apus_call_on(3, take_port, NULL), 0);
	sim_check_equal(open_with_instances(), -EADDRINUSE);
	sim_check_equal(strcmp(trace, "+0+1+2+3-3-2-1-0"), 0);
	return apus_call_on(3, give_port, NULL);
}

static void instance_that_cannot_start_stops_those_before_it(void **state)
{
	run(fail_to_start, NULL);
}

/* --- Stop ---------------------------------------------------------------------------------- */

static int64_t stop_idle(void *arg)
{
	sim_check_equal(open_all(), 0);
	sim_check_equal(wait_inside(CLIENTS), 0);

	int64_t begin_ns = apus_now();

	sim_check_equal(apus_servers_stop(all, 30 * APUS_SEC), 0);
	sim_check(apus_now() - begin_ns < APUS_MS);
	return 0;
}

static void stop_ends_idle_handlers_of_all_at_once(void **state)
{
	run_many(stop_idle, early_asker, CLIENTS);
	assert_int_equal(served, CLIENTS);
}

static int64_t stop_hanging(void *arg)
{
	options.handler = hang;
	sim_check_equal(open_all(), 0);
	sim_check_equal(wait_inside(CLIENTS), 0);

	int64_t begin_ns = apus_now();

	sim_check_equal(apus_servers_stop(all, 3 * APUS_SEC), -ETIMEDOUT);
	/* One deadline, not one after the other. */
	sim_check(apus_now() - begin_ns >= 3 * APUS_SEC);
	sim_check(apus_now() - begin_ns < 3 * APUS_SEC + APUS_MS);
	return 0;
}

static void stop_resets_on_all_at_one_deadline(void **state)
{
	run_many(stop_hanging, early_victim, CLIENTS);
	assert_int_equal(served, CLIENTS);
}

static int64_t too_late(void *arg)
{
	struct apus_tcp *c;

	while (served < CLIENTS)
		sim_check_equal(apus_sleep(10 * APUS_US), 0);
	sim_check_equal(apus_tcp_connect(sim_server(), &c), -ECONNREFUSED);
	return 0;
}

static int64_t first_come(void *arg)
{
	return (intptr_t)arg > CLIENTS ? too_late(arg) : early_asker(arg);
}

static int64_t wait_all(void *arg)
{
	int rc = apus_servers_wait(all);

	sim_check(!apus_server_is_serving(apus_servers_here(all)));
	for (unsigned int i = 0; i < SHARDS; i++)
		sim_check_equal(apus_call_on(i, port_here, NULL), 0);
	return rc;
}

static int64_t cancel_wait(void *arg)
{
	struct apus_task *t;

	sim_check_equal(open_all(), 0);
	t = apus_spawn(wait_all, NULL);
	sim_check_equal(wait_inside(CLIENTS), 0);
	sim_check(!apus_task_done(t));
	apus_task_cancel(t);
	sim_check_equal(apus_await(t), -ECANCELED);
	sim_check_equal(apus_servers_connections(all), CLIENTS); /* who is connected stays */
	return apus_servers_stop(all, APUS_SEC);
}

static void cancelled_wait_closes_all_listeners(void **state)
{
	run_many(cancel_wait, first_come, CLIENTS + 3);
}

static int64_t stop_beside_wait(void *arg)
{
	struct apus_task *t;

	sim_check_equal(open_all(), 0);
	t = apus_spawn((apus_task_fn)arg, NULL);
	sim_check_equal(apus_sleep(APUS_MS), 0);
	sim_check_equal(apus_servers_stop(all, APUS_SEC), 0);
	return apus_await(t);
}

static int64_t only_wait(void *arg)
{
	return apus_servers_wait(all);
}

static int64_t stop_wakes(void *arg)
{
	return stop_beside_wait((void *)(uintptr_t)only_wait);
}

static void stop_ends_a_wait_of_another_task(void **state)
{
	run(stop_wakes, NULL);
}

/* --- Cancels and want of memory ------------------------------------------------------------ */

static int64_t only_open(void *arg)
{
	return open_with_instances();
}

static int64_t open_plain(void *arg)
{
	return open_all();
}

static int64_t only_stop(void *arg)
{
	return apus_servers_stop(all, 30 * APUS_SEC);
}

static int64_t run_one(apus_task_fn fn, int64_t cancel_at_ns)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.server, "one", fn, NULL);
	int64_t rc;

	if (cancel_at_ns >= 0) {
		assert_int_equal(apus_sim_advance(pair.world, cancel_at_ns), 0);
		apus_sim_task_cancel(t);
	}
	for (int i = 0; !apus_sim_task_done(t); i++) {
		assert_int_equal(apus_sim_advance(pair.world, APUS_MS), 0);
		assert_true(i < 60000);
	}
	rc = apus_sim_task_result(t);
	apus_sim_task_forget(t);
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
}

#define shards_row(name) cmocka_unit_test_setup_teardown(name, setup_shards, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shards_row(every_shard_serves_what_is_its_own),
		shards_row(port_0_is_one_that_is_free_on_all_shards),
		shards_row(one_shard_that_cannot_listen_stops_the_others),
		shards_row(options_that_make_no_sense_are_refused),
		shards_row(instances_outlive_every_handler_of_every_shard),
		shards_row(instance_that_cannot_start_stops_those_before_it),
		shards_row(stop_ends_idle_handlers_of_all_at_once),
		shards_row(stop_resets_on_all_at_one_deadline),
		shards_row(cancelled_wait_closes_all_listeners),
		shards_row(stop_ends_a_wait_of_another_task),
		shards_row(cancelled_open_leaves_all_or_none),
		shards_row(cancelled_stop_stops_all_the_same),
		shards_row(without_memory_nothing_is_left),
		shards_row(stop_waits_for_memory_that_it_needs),
		cmocka_unit_test(nobody_is_refused_in_any_world),
	};

	return test_main(argc, argv, tests);
}
