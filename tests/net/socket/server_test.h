/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/server_test.h: a server's handlers and its clients, for the tests of server.c.
 */
#ifndef APUS_TESTS_NET_SOCKET_SERVER_TEST_H
#define APUS_TESTS_NET_SOCKET_SERVER_TEST_H

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

APUS_UNUSED static void open_world(uint64_t seed)
{
	server = NULL;
	inside = most_inside = served = 0;
	ended = 0;
	unhandled[0] = '\0';
	unhandled_error = 0;
	unhandled_count = 0;
	sim_pair_open(&pair, seed, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
}

APUS_UNUSED static int setup(void **state)
{
	open_world(1);
	return 0;
}

APUS_UNUSED static int teardown(void **state)
{
	int rc = apus_sim_advance(pair.world, 300 * APUS_SEC);
	size_t left = sim_pair_left(&pair);

	if (left)
		fprintf(stderr, "%zu connections or entries are left\n", left);
	return apus_sim_world_close(pair.world) < 0 || rc < 0 || left ? -1 : 0;
}

/* @client is run @n times, with 1 to @n. */
APUS_UNUSED static void run_many(apus_task_fn serve, apus_task_fn client, intptr_t n)
{
	struct apus_sim_task *tasks[16], *s = apus_sim_spawn(pair.server, "server", serve, NULL);

	for (intptr_t i = 0; i < n; i++)
		tasks[i] = apus_sim_spawn(pair.client, "client", client, (void *)(i + 1));
	assert_int_equal(apus_sim_run(pair.world, 600 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	for (intptr_t i = 0; i < n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
}

APUS_UNUSED static void run(apus_task_fn serve, apus_task_fn client)
{
	run_many(serve, client, client ? 1 : 0);
}

/* --- Handlers ------------------------------------------------------------------------------ */

APUS_UNUSED static void enter(void)
{
	if (++inside > most_inside)
		most_inside = inside;
}

APUS_UNUSED static int64_t leave(int64_t rc)
{
	inside--;
	served++;
	return rc;
}

/* Gives back what comes; waits for more with nothing half done. */
APUS_UNUSED static int64_t echo(struct apus_tcp *c, void *arg)
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
APUS_UNUSED static int64_t slow(struct apus_tcp *c, void *arg)
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

APUS_UNUSED static int64_t hang(struct apus_tcp *c, void *arg)
{
	enter();
	return leave(apus_sleep(APUS_NEVER));
}

/* Does not end for 17 s, whoever asks. */
APUS_UNUSED static int64_t stubborn(struct apus_tcp *c, void *arg)
{
	int64_t until_ns = apus_now() + 17 * APUS_SEC;

	enter();
	while (apus_now() < until_ns)
		(void)!apus_sleep_until(until_ns);
	return leave(0);
}

/* Fails when the first byte has come. */
APUS_UNUSED static int64_t fails(struct apus_tcp *c, void *arg)
{
	char byte;

	(void)!apus_tcp_read(c, &byte, 1);
	return -EPROTO;
}

/* Closes by itself, through a stream, and outlives that. */
APUS_UNUSED static int64_t streams(struct apus_tcp *c, void *arg)
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

APUS_UNUSED static int64_t open_with(struct apus_server_options options)
{
	options.local = sim_any(SERVER_PORT);
	return apus_server_open(&options, &server);
}

APUS_UNUSED static int64_t serve_task(void *arg)
{
	return apus_server_serve(server);
}

/* --- Clients ------------------------------------------------------------------------------- */

/* Asks once and reads until the end. Return: what the last read gave. */
APUS_UNUSED static int64_t ask(int64_t *got)
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

APUS_UNUSED static int64_t asker(void *arg)
{
	int64_t got;

	sim_check_equal(ask(&got), 0);
	sim_check_equal(got, 1);
	return 0;
}

/* ... whose connection the server resets. */
APUS_UNUSED static int64_t victim(void *arg)
{
	int64_t got;

	sim_check_equal(ask(&got), -ECONNRESET);
	return 0;
}

/* Asks, hears, stays for two seconds, and leaves in order. */
APUS_UNUSED static int64_t guest(void *arg)
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

APUS_UNUSED static int64_t line_client(void *arg)
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

APUS_UNUSED static void on_unhandled(const struct apus_unhandled *what, void *arg)
{
	snprintf(unhandled, sizeof(unhandled), "%s", what->message);
	unhandled_error = what->error;
	unhandled_count++;
}

#define row(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
