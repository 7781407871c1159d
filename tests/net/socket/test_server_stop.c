/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_server_stop.c: how a server ends, between two simulated hosts.
 *
 * The sections wait_closed and close_clients, abort_clients are what CPython's
 * test_asyncio/test_server.py asserts, at the same moments.
 */
#include "tests/net/socket/server_test.h"

/* --- wait_closed --------------------------------------------------------------------------- */

static int64_t wait_closed_task(void *arg)
{
	return apus_server_wait_closed(server);
}

static int64_t wait_closed_basic(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);

	struct apus_task *before = apus_spawn(wait_closed_task, NULL);

	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check(!apus_task_done(before)); /* open, with one client */
	apus_server_close(server);
	sim_check_equal(apus_yield(), 0);
	sim_check(!apus_task_done(before)); /* closed, with one client */

	struct apus_task *after = apus_spawn(wait_closed_task, NULL);

	sim_check_equal(apus_sleep(100 * APUS_MS), 0);
	sim_check(!apus_task_done(after));
	sim_check_equal(apus_await(before), 0);
	sim_check_equal(apus_await(after), 0);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(apus_server_wait_closed(server), 0);
	return apus_server_stop(server, 0);
}

static void wait_closed_waits_for_close_and_for_the_last_client(void **state)
{
	run(wait_closed_basic, guest);
}

static int64_t wait_closed_open(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);

	struct apus_task *t = apus_spawn(wait_closed_task, NULL);

	sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check(!apus_task_done(t)); /* everybody has left, but it is open */
	apus_server_close(server);
	sim_check_equal(apus_await(t), 0);
	return apus_server_stop(server, 0);
}

static void wait_closed_of_an_open_server_waits(void **state)
{
	run(wait_closed_open, guest);
}

static int64_t close_inside(struct apus_tcp *c, void *arg)
{
	int64_t rc = apus_sleep(100 * APUS_MS);

	apus_server_close(server); /* in the lap in which the last one leaves */
	return rc;
}

static int64_t wait_closed_race(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = close_inside}), 0);
	sim_check_equal(apus_server_wait_closed(server), 0);
	sim_check_equal(apus_server_connections(server), 0);
	return apus_server_stop(server, 0);
}

static int64_t waits_for_the_end(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static void server_and_last_client_may_end_together(void **state)
{
	run(wait_closed_race, waits_for_the_end);
}

static int64_t stop_under_waiters(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = hang}), 0);

	struct apus_task *closed = apus_spawn(wait_closed_task, NULL);
	struct apus_task *serving = apus_spawn(serve_task, NULL);

	sim_check_equal(apus_sleep(100 * APUS_MS), 0);
	sim_check_equal(apus_server_stop(server, APUS_SEC), -ETIMEDOUT);
	/* Their memory is there as long as they look at it. */
	sim_check_equal(apus_await(closed), 0);
	sim_check_equal(apus_await(serving), 0);
	return 0;
}

static void stop_ends_those_who_wait_for_the_server(void **state)
{
	run(stop_under_waiters, victim);
}

/* --- close_clients, abort_clients ---------------------------------------------------------- */

static int64_t close_clients(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_server_close(server);
	sim_check_equal(apus_server_connections(server), 2);
	apus_server_close_clients(server);
	sim_check_equal(apus_server_wait_closed(server), 0);
	return apus_server_stop(server, 0);
}

static void close_clients_ends_them_in_order(void **state)
{
	run_many(close_clients, asker, 2); /* the answer, and then the end */
	assert_int_equal(ended, 2);
	assert_int_equal(served, 2);
}

static int64_t abort_clients(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_server_close(server);
	apus_server_abort_clients(server);
	sim_check_equal(apus_server_wait_closed(server), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ABORTED), 2);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_HANDLER_ERRORS), 0);
	return apus_server_stop(server, 0);
}

static void abort_clients_resets_them(void **state)
{
	run_many(abort_clients, victim, 2);
	assert_int_equal(served, 2);
}

/* --- Stopping ------------------------------------------------------------------------------ */

static int64_t stop_idle(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = echo}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 2);

	int64_t begin_ns = apus_now();

	sim_check_equal(apus_server_stop(server, 30 * APUS_SEC), 0);
	sim_check_equal(apus_now(), begin_ns);
	return 0;
}

static void stop_cancels_idle_handlers_at_once(void **state)
{
	run_many(stop_idle, asker, 2);
}

static int64_t stop_busy(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = slow}), 0);
	sim_check_equal(apus_sleep(500 * APUS_MS), 0);
	sim_check_equal(apus_server_connections(server), 2);
	sim_check_equal(apus_server_stop(server, 30 * APUS_SEC), 0);
	return 0;
}

static void stop_lets_others_finish(void **state)
{
	run_many(stop_busy, asker, 2);
	assert_int_equal(served, 2);
	assert_true(ended_ns[1] < 3 * APUS_SEC);
}

static int64_t stop_hanging(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = hang}), 0);
	sim_check_equal(apus_sleep(500 * APUS_MS), 0);

	int64_t begin_ns = apus_now();

	sim_check_equal(apus_server_stop(server, 3 * APUS_SEC), -ETIMEDOUT);
	sim_check_equal(apus_now(), begin_ns + 3 * APUS_SEC);
	sim_check_equal(served, 2);
	return 0;
}

static void stop_resets_at_the_deadline(void **state)
{
	run_many(stop_hanging, victim, 2);
}

static int64_t stop_stubborn(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = stubborn}), 0);
	sim_check_equal(apus_sleep(500 * APUS_MS), 0);
	sim_check_equal(apus_server_stop(server, APUS_SEC), -ETIMEDOUT);
	sim_check_equal(served, 1);
	sim_check(apus_now() >= 17 * APUS_SEC); /* nothing may outlive the server */
	return 0;
}

static void stop_waits_for_who_ignores_cancels(void **state)
{
	run(stop_stubborn, victim);
}

static int64_t stop_task(void *arg)
{
	return apus_server_stop(server, APUS_NEVER);
}

static int64_t stop_cancelled(void *arg)
{
	sim_check_equal(open_with((struct apus_server_options){.handler = stubborn}), 0);
	sim_check_equal(apus_sleep(500 * APUS_MS), 0);

	struct apus_task *t = apus_spawn(stop_task, NULL);

	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ABORTED), 0);
	for (int i = 0; i < 3; i++) { /* the deadline is now; and only once */
		apus_task_cancel(t);
		sim_check_equal(apus_sleep(APUS_SEC), 0);
		sim_check_equal(apus_server_counter(server, APUS_SERVER_ABORTED), 1);
		sim_check(!apus_task_done(t));
	}
	sim_check_equal(apus_await(t), -ECANCELED);
	sim_check_equal(served, 1);
	return 0;
}

static void cancel_of_a_stop_is_its_deadline(void **state)
{
	run(stop_cancelled, victim);
}

/* --- Anything ------------------------------------------------------------------------------ */

static int64_t any_handler(struct apus_tcp *c, void *arg)
{
	static const apus_server_fn handlers[] = {echo, echo, slow, hang, streams};
	struct apus_random *random = apus_shard_random(apus_shard_self());

	return handlers[apus_random_below(random, apus_countof(handlers))](c, arg);
}

static int64_t any_client(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	struct apus_tcp *c;
	char bytes[64];

	for (int i = 0; i < 8; i++) {
		if (apus_sleep((int64_t)apus_random_below(random, 400 * APUS_MS)) ||
		    apus_tcp_connect(sim_server(), &c))
			return 0;
		(void)!apus_tcp_write(c, "x\n", apus_random_below(random, 3));
		if (apus_random_below(random, 2))
			(void)!apus_tcp_shutdown(c);
		(void)!apus_sleep((int64_t)apus_random_below(random, 100 * APUS_MS));
		if (apus_random_below(random, 2)) {
			struct apus_timeout limit;

			apus_timeout_begin(&limit, APUS_SEC / 2);
			int64_t rc = apus_tcp_read(c, bytes, sizeof(bytes));
			(void)!apus_timeout_end(&limit, rc);
		}
		if (apus_random_below(random, 2))
			apus_tcp_close(c);
		else
			apus_tcp_abort(c);
	}
	return 0;
}

static int64_t serve_any(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	uint32_t max = 1 + (uint32_t)apus_random_below(random, 6);

	apus_on_unhandled(apus_shard_self(), on_unhandled, NULL);
	sim_check_equal(open_with((struct apus_server_options){
				.handler = any_handler,
				.connections_max = max,
				.full = (enum apus_server_full)apus_random_below(random, 2),
			}),
			0);
	for (int64_t i = apus_random_below(random, 30); i > 0; i--) {
		sim_check_equal(apus_sleep(100 * APUS_MS), 0);
		sim_check(apus_server_connections(server) <= max);
		switch (apus_random_below(random, 12)) {
		case 0:
			apus_server_close_clients(server);
			break;
		case 1:
			apus_server_abort_clients(server);
			break;
		case 2:
			apus_heap_fail_after(heap, (int64_t)apus_random_below(random, 3));
			sim_check_equal(apus_sleep(20 * APUS_MS), 0);
			apus_heap_fail_after(heap, -1);
			break;
		default:
			break;
		}
	}

	int rc = apus_server_stop(server, (int64_t)apus_random_below(random, 2 * APUS_SEC));

	sim_check(rc == 0 || rc == -ETIMEDOUT);
	sim_check(most_inside <= max);
	sim_check_equal(inside, 0);
	return 0;
}

static void many_seeds_leave_nothing_behind(void **state)
{
	uint32_t seeds = 0;

	for (uint64_t seed = 2; seed < 150; seed++) {
		assert_int_equal(teardown(NULL), 0);
		open_world(seed);
		run_many(serve_any, any_client, 10);
		seeds += served > 0;
	}
	assert_true(seeds > 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		row(wait_closed_waits_for_close_and_for_the_last_client),
		row(wait_closed_of_an_open_server_waits),
		row(server_and_last_client_may_end_together),
		row(stop_ends_those_who_wait_for_the_server),
		row(close_clients_ends_them_in_order),
		row(abort_clients_resets_them),
		row(stop_cancels_idle_handlers_at_once),
		row(stop_lets_others_finish),
		row(stop_resets_at_the_deadline),
		row(stop_waits_for_who_ignores_cancels),
		row(cancel_of_a_stop_is_its_deadline),
		row(many_seeds_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("net/socket server stop", tests, NULL, NULL);
}
