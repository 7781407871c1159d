/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_server.c: the contract of net/socket/server.h, between two simulated hosts.
 *
 * Sections "wait_closed", "close_clients", "abort_clients" and "start_serving" are what CPython's
 * test_asyncio/test_server.py asserts, at the same moments.
 */
#include "net/socket/server.h"
#include "net/socket/stream.h"
#include "runtime/sched/shard.h"
#include "tests/net/sim/sim_test.h"

static struct sim_pair pair;
static struct apus_server *server;
static uint32_t inside, most_inside, served;
static int64_t ended_ns[8]; /* of clients, in order of ending */
static size_t ended;
static char unhandled[128];
static int64_t unhandled_error;
static size_t unhandled_count;

static void open_world(uint64_t seed)
{
	server = NULL;
	inside = most_inside = served = 0;
	ended = 0;
	unhandled[0] = '\0';
	unhandled_error = 0;
	unhandled_count = 0;
	sim_pair_open(&pair, seed, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
}

static int setup(void **state)
{
	open_world(1);
	return 0;
}

static int teardown(void **state)
{
	int rc = apus_sim_advance(pair.world, 300 * APUS_SEC);
	size_t left = sim_pair_left(&pair);

	if (left)
		fprintf(stderr, "%zu connections or entries are left\n", left);
	return apus_sim_world_close(pair.world) < 0 || rc < 0 || left ? -1 : 0;
}

/* @client is run @n times, with 1 to @n. */
static void run_many(apus_task_fn serve, apus_task_fn client, intptr_t n)
{
	struct apus_sim_task *tasks[16], *s = apus_sim_spawn(pair.server, "server", serve, NULL);

	for (intptr_t i = 0; i < n; i++)
		tasks[i] = apus_sim_spawn(pair.client, "client", client, (void *)(i + 1));
	assert_int_equal(apus_sim_run(pair.world, 600 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	for (intptr_t i = 0; i < n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
}

static void run(apus_task_fn serve, apus_task_fn client)
{
	run_many(serve, client, client ? 1 : 0);
}

/* --- Handlers ------------------------------------------------------------------------------ */

static void enter(void)
{
	if (++inside > most_inside)
		most_inside = inside;
}

static int64_t leave(int64_t rc)
{
	inside--;
	served++;
	return rc;
}

/* Gives back what comes; waits for more with nothing half done. */
static int64_t echo(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	char bytes[256];
	int64_t n = 0;

	enter();
	while (n >= 0 && (n = apus_server_idle(self)) == 0 &&
	       (n = apus_tcp_read(c, bytes, sizeof(bytes))) > 0) {
		apus_server_busy(self);
		n = apus_tcp_write(c, bytes, (size_t)n);
	}
	return leave(n);
}

/* Reads one byte, which it answers after a second; never says that it is idle. */
static int64_t slow(struct apus_tcp *c, void *arg)
{
	char byte;
	int64_t rc;

	enter();
	rc = apus_tcp_read(c, &byte, 1);
	if (rc > 0)
		rc = apus_sleep(APUS_SEC);
	if (!rc)
		rc = apus_tcp_write(c, &byte, 1);
	return leave(rc);
}

static int64_t hang(struct apus_tcp *c, void *arg)
{
	enter();
	return leave(apus_sleep(APUS_NEVER));
}

/* Does not end for 17 s, whoever asks. */
static int64_t stubborn(struct apus_tcp *c, void *arg)
{
	int64_t until_ns = apus_now() + 17 * APUS_SEC;

	enter();
	while (apus_now() < until_ns)
		(void)!apus_sleep_until(until_ns);
	return leave(0);
}

/* Fails when the first byte has come. */
static int64_t fails(struct apus_tcp *c, void *arg)
{
	char byte;

	(void)!apus_tcp_read(c, &byte, 1);
	return -EPROTO;
}

/* Closes by itself, through a stream, and outlives that. */
static int64_t streams(struct apus_tcp *c, void *arg)
{
	struct apus_stream *stream;
	const char *line;
	int64_t n;

	enter();
	n = apus_stream_open(c, 0, &stream);
	if (n)
		return leave(n);
	n = apus_stream_read_until(stream, "\n", 1, &line);
	if (n > 0)
		n = apus_stream_write(stream, line, (size_t)n);
	apus_stream_close(stream);
	sim_check(apus_tcp_is_closed(c)); /* the server holds it still */
	return leave(n < 0 ? n : apus_sleep(10 * APUS_SEC));
}

static int64_t open_with(struct apus_server_options options)
{
	options.local = sim_any(SERVER_PORT);
	return apus_server_open(&options, &server);
}

/* --- Clients ------------------------------------------------------------------------------- */

/* Asks once and reads until the end. Return: what the last read gave. */
static int64_t ask(int64_t *got)
{
	struct apus_tcp *c;
	char bytes[64];
	int64_t n = apus_tcp_connect(sim_server(), &c);

	*got = 0;
	if (n)
		return n;
	n = apus_tcp_write(c, "x", 1);
	while (n > 0 && (n = apus_tcp_read(c, bytes, sizeof(bytes))) > 0)
		*got += n;
	apus_tcp_close(c);
	ended_ns[ended++ % apus_countof(ended_ns)] = apus_now();
	return n;
}

static int64_t asker(void *arg)
{
	int64_t got;

	sim_check_equal(ask(&got), 0);
	sim_check_equal(got, 1);
	return 0;
}

/* ... whose connection the server resets. */
static int64_t victim(void *arg)
{
	int64_t got;

	sim_check_equal(ask(&got), -ECONNRESET);
	return 0;
}

/* Asks, hears, stays for two seconds, and leaves in order. */
static int64_t guest(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_write(c, "x", 1), 1);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 1);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	apus_tcp_close(c);
	return 0;
}

static int64_t line_client(void *arg)
{
	struct apus_tcp *c;
	char bytes[8];

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_write(c, "line\n", 5), 5);
	sim_check_equal(apus_tcp_read(c, bytes, sizeof(bytes)), 5);
	sim_check_equal(apus_tcp_read(c, bytes, sizeof(bytes)), 0);
	apus_tcp_close(c);
	return 0;
}

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

static void on_unhandled(const struct apus_unhandled *what, void *arg)
{
	snprintf(unhandled, sizeof(unhandled), "%s", what->message);
	unhandled_error = what->error;
	unhandled_count++;
}

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

static int64_t serve_task(void *arg)
{
	return apus_server_serve(server);
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

#define row(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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

	return cmocka_run_group_tests_name("net/socket server", tests, NULL, NULL);
}
