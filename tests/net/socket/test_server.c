/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_server.c: serving, limits, errors and start, between two simulated hosts; see
 * test_server_stop.c for the end.
 */
#include "tests/net/socket/server_test.h"

/* --- Serving ------------------------------------------------------------------------------- */

static int64_t serve_echo(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);
	sim_check(apus_server_is_serving(server));
	sim_check_equal(apus_server_local(server).port, SERVER_PORT);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 3);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ACCEPTED), 3);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 0);
	return apus_server_stop(server, 0);
}

static void each_connection_has_a_handler(void **state)
{
	run_many(serve_echo, guest, 3);
	assert_int_equal(served, 3);
	assert_int_equal(most_inside, 3);
}

static int64_t serve_streams(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = streams}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 1);
	/* Reset under its nose, though long closed: nothing is left of it, and nothing is hurt. */
	return apus_server_stop(server, APUS_MS) == -ETIMEDOUT ? 0 : -EBADMSG;
}

static void handler_may_close_by_itself(void **state)
{
	run(serve_streams, line_client);
}

static int64_t no_handler(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.connections_max = 3}), -EINVAL);
	sim_check(!apus_server_connection_self());
	return 0;
}

static void server_without_handler_is_refused(void **state)
{
	run(no_handler, NULL);
}

static int64_t serve_two_at_a_time(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){
				.handler = slow,
				.connections_max = 2,
			}),
			0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 2);
	sim_check_equal(apus_sleep(9 * APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ACCEPTED), 6);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_DROPPED), 0);
	sim_check(apus_server_counter(server, APUS_SERVER_FULL) >= 2);
	return apus_server_stop(server, 0);
}

static void one_too_many_waits_until_another_leaves(void **state)
{
	run_many(serve_two_at_a_time, asker, 6);
	assert_int_equal(most_inside, 2);
	assert_int_equal(ended, 6);
	assert_true(ended_ns[1] - ended_ns[0] < APUS_SEC / 2);
	assert_true(ended_ns[2] - ended_ns[1] >= APUS_SEC - 10 * APUS_MS);
	assert_true(ended_ns[4] - ended_ns[3] >= APUS_SEC - 10 * APUS_MS);
}

static int64_t serve_one_or_reset(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){
				.handler = echo,
				.connections_max = 1,
				.full = APUS_SERVER_RESET,
			}),
			0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ACCEPTED), 1);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_DROPPED), 1);
	return apus_server_stop(server, 0);
}

/* The first one stays; the second comes 100 ms later. */
static int64_t guest_or_victim(void *arg)
{
	if ((intptr_t)arg == 1)
		return guest(arg);
	sim_check_equal(apus_sleep(100 * APUS_MS), 0);
	return victim(arg);
}

static void one_too_many_is_reset_where_that_is_wished(void **state)
{
	run_many(serve_one_or_reset, guest_or_victim, 2);
}

static int64_t full_and_closed(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){
				.handler = hang,
				.connections_max = 1,
			}),
			0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_FULL), 1);
	return apus_server_stop(server, 0) == -ETIMEDOUT ? 0 : -EBADMSG;
}

static void full_server_can_be_stopped(void **state)
{
	run_many(full_and_closed, victim, 3); /* one in its handler, two in the backlog */
	assert_int_equal(served, 1);
}

/* --- Errors -------------------------------------------------------------------------------- */

static int64_t serve_badly(void *arg)
{
	apus_on_unhandled(apus_shard_self(), on_unhandled, NULL);
	sim_check_equal(open_with((struct apus_server_options){.handler = fails}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_HANDLER_ERRORS), 1);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_CLIENT_ERRORS), 0);
	return apus_server_stop(server, 0);
}

/* It is closed in order all the same. */
static int64_t gets_nothing(void *arg)
{
	int64_t got;

	sim_check_equal(ask(&got), 0);
	sim_check_equal(got, 0);
	return 0;
}

static void error_of_a_handler_is_told_with_the_address(void **state)
{
	static const char begin[] = "the handler of a connection failed, from " CLIENT_IP ":";

	run(serve_badly, gets_nothing);
	assert_int_equal(unhandled_count, 1);
	assert_int_equal(unhandled_error, -EPROTO);
	assert_memory_equal(unhandled, begin, sizeof(begin) - 1);
}

static int64_t serve_rude_client(void *arg)
{
	apus_on_unhandled(apus_shard_self(), on_unhandled, NULL);
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_HANDLER_ERRORS), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_CLIENT_ERRORS), 1);
	return apus_server_stop(server, 0);
}

static int64_t rude_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_sleep(100 * APUS_MS), 0);
	apus_tcp_abort(c);
	return 0;
}

static void client_that_resets_is_no_error_of_ours(void **state)
{
	run(serve_rude_client, rude_client);
	assert_int_equal(unhandled_count, 0);
}

static int64_t serve_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	uint64_t live = heap->live;
	int64_t n = 0, rc = -ENOMEM;

	for (; rc == -ENOMEM; n++) {
		sim_check_equal(heap->live, live);
		apus_heap_fail_after(heap, n);
		rc = open_with((struct apus_server_options){.handler = echo});
		apus_heap_fail_after(heap, -1);
	}
	sim_check_equal(rc, 0);
	sim_check(n > 2); /* the server, and the listener */
	sim_check_equal(apus_sleep(10 * APUS_MS), 0);
	sim_check_equal(apus_server_stop(server, 0), 0);
	sim_check_equal(heap->live, live);
	return 0;
}

static void want_of_memory_leaves_nothing_behind(void **state)
{
	run(serve_without_memory, NULL);
}

/* --- start_serving ------------------------------------------------------------------------- */

static int64_t serve_later(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo, .is_paused = true}),
			0);
	sim_check(!apus_server_is_serving(server));
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_start(server), 0);
	sim_check_equal(apus_server_start(server), 0);
	sim_check(apus_server_is_serving(server));
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	apus_server_close(server);
	apus_server_close(server);
	sim_check(!apus_server_is_serving(server));
	sim_check_equal(apus_server_start(server), -EPIPE);
	sim_check_equal(apus_server_local(server).port, SERVER_PORT);
	return apus_server_stop(server, 0);
}

static int64_t early_and_late_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), -ECONNREFUSED);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	return guest(arg);
}

static void paused_server_refuses_until_it_is_started(void **state)
{
	run(serve_later, early_and_late_client);
}

static int64_t never_started(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo, .is_paused = true}),
			0);
	return apus_server_stop(server, APUS_SEC);
}

static void server_that_was_never_started_can_be_stopped(void **state)
{
	run(never_started, NULL);
}

static int64_t serve_and_cancel(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo, .is_paused = true}),
			0);

	struct apus_task *t = apus_spawn(serve_task, NULL);

	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 1);
	apus_task_cancel(t);
	sim_check_equal(apus_sleep(APUS_MS), 0);
	sim_check(!apus_server_is_serving(server));
	sim_check(!apus_task_done(t)); /* until the guest has left */
	sim_check_equal(apus_await(t), -ECANCELED);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(served, 1);
	return apus_server_stop(server, 0);
}

static void cancelled_serve_closes_and_waits_for_the_clients(void **state)
{
	run(serve_and_cancel, guest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		row(each_connection_has_a_handler),
		row(handler_may_close_by_itself),
		row(server_without_handler_is_refused),
		row(one_too_many_waits_until_another_leaves),
		row(one_too_many_is_reset_where_that_is_wished),
		row(full_server_can_be_stopped),
		row(error_of_a_handler_is_told_with_the_address),
		row(client_that_resets_is_no_error_of_ours),
		row(want_of_memory_leaves_nothing_behind),
		row(paused_server_refuses_until_it_is_started),
		row(server_that_was_never_started_can_be_stopped),
		row(cancelled_serve_closes_and_waits_for_the_clients),
	};

	return cmocka_run_group_tests_name("net/socket server", tests, NULL, NULL);
}
