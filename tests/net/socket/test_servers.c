/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_servers.c: a server on every shard of a simulated host, as one: how it opens,
 * what is each shard's own, how it stops.
 */
#include "tests/net/socket/servers_test.h"

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
	};

	return test_main(argc, argv, tests);
}
