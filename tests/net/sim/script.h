/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/script.h: one world, a server and a client in it, and what their tasks are made of.
 *
 * Each test is a world: tasks on the server and on the client, and a fault. The rule for all: the
 * call that waits gets the error that its header names, in bounded virtual time, other connections
 * go on, and nothing is left.
 */
#ifndef APUS_TESTS_NET_SIM_SCRIPT_H
#define APUS_TESTS_NET_SIM_SCRIPT_H

#include "tests/net/sim/sim_test.h"

#define WIRE_DELAY_NS APUS_MS
#define CALM_NS       (300 * APUS_SEC) /* longer than TIME-WAIT, FIN-WAIT-2 and SYN-ACK retries */

/* What the tasks of one test share. One test runs at a time. */
static struct script {
	struct sim_pair pair;
	struct apus_tcp *c[2];
	int64_t began_ns, ended_ns;
	int64_t bytes;
	uint32_t count, failed;
	uint8_t buf[65536];
	uint8_t more[65536];
} script;

/* For a test that makes its own world. */
static inline int setup_bare(void **state)
{
	memset(&script, 0, sizeof(script));
	return 0;
}

static inline int setup(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open(&script.pair, 1,
		      &(struct apus_sim_link_options){.wire.delay_ns = WIRE_DELAY_NS});
	return 0;
}

/* A wire on which 28,000 connections can come and go within a TIME-WAIT. */
static inline int setup_fast(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open(&script.pair, 1,
		      &(struct apus_sim_link_options){.wire.delay_ns = 100 * APUS_US});
	return 0;
}

static inline int setup_own_pools(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open_with(&script.pair, 1,
			   &(struct apus_sim_link_options){.wire.delay_ns = WIRE_DELAY_NS}, 2047,
			   false);
	return 0;
}

static inline int teardown(void **state)
{
	int rc = 0;

	if (!script.pair.world)
		return 0;
	if (apus_sim_advance(script.pair.world, CALM_NS) < 0)
		rc = -1;
	if (sim_pair_left(&script.pair) != 0) {
		fprintf(stderr, "%zu connections or entries are left\n",
			sim_pair_left(&script.pair));
		rc = -1;
	}
	if (apus_sim_world_close(script.pair.world) < 0)
		rc = -1;
	return rc;
}

static inline struct apus_sim_task *on_server(apus_task_fn fn)
{
	return apus_sim_spawn(script.pair.server, "server", fn, NULL);
}

static inline struct apus_sim_task *on_client(apus_task_fn fn)
{
	return apus_sim_spawn(script.pair.client, "client", fn, NULL);
}

static inline void run_for(int64_t limit_ns)
{
	assert_int_equal(apus_sim_run(script.pair.world, limit_ns), 0);
}

static inline void run_both(apus_task_fn server, apus_task_fn client, int64_t limit_ns)
{
	struct apus_sim_task *s = on_server(server);
	struct apus_sim_task *c = on_client(client);

	run_for(limit_ns);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
}

static inline uint64_t server_counter(const char *name)
{
	return apus_sim_host_counter(script.pair.server, "tcp", name);
}

static inline uint64_t client_counter(const char *name)
{
	return apus_sim_host_counter(script.pair.client, "tcp", name);
}

/* --- Pieces of tasks ----------------------------------------------------------------------- */

static inline int accept_one(struct apus_tcp **out)
{
	struct apus_tcp_listener *l;
	int rc = apus_tcp_listen(sim_any(SERVER_PORT), 0, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, out);
	apus_tcp_listener_close(l);
	return rc;
}

static inline int64_t write_pattern(struct apus_tcp *c, int64_t bytes, uint32_t key)
{
	int64_t sent = 0;

	while (sent < bytes) {
		size_t n = (size_t)apus_min(bytes - sent, (int64_t)sizeof(script.more));
		int64_t rc;

		sim_fill(script.more, n, (uint64_t)sent, key);
		rc = apus_tcp_write(c, script.more, n);
		if (rc < 0)
			return rc;
		sent += rc;
	}
	return sent;
}

/* Until the end. Return: bytes; an error of the read; -EBADMSG if a byte is wrong. */
static inline int64_t read_pattern(struct apus_tcp *c, uint32_t key)
{
	int64_t got = 0;

	for (;;) {
		int64_t n = apus_tcp_read(c, script.buf, sizeof(script.buf));

		if (n <= 0)
			return n < 0 ? n : got;
		sim_check_equal(sim_differs(script.buf, (size_t)n, (uint64_t)got, key), -1);
		got += n;
	}
}

/* Accepts one, reads until the end, closes. */
static inline int64_t serve_sink(void *arg)
{
	struct apus_tcp *c;
	int rc = accept_one(&c);

	if (rc < 0)
		return rc;
	script.bytes = read_pattern(c, 1);
	apus_tcp_close(c);
	return script.bytes < 0 ? script.bytes : 0;
}

static inline int64_t connect_timed(void *arg)
{
	int rc;

	script.began_ns = apus_now();
	rc = apus_tcp_connect(sim_server(), &script.c[0]);
	script.ended_ns = apus_now();
	if (rc == 0)
		apus_tcp_close(script.c[0]);
	return rc;
}

static inline int64_t took_ns(void)
{
	return script.ended_ns - script.began_ns;
}

/* Lets each host know the other's address, so that ARP is not what a test waits for. */
static inline void introduce(void)
{
	run_both(serve_sink, connect_timed, 10 * APUS_SEC);
	assert_int_equal(apus_sim_advance(script.pair.world, 100 * APUS_MS), 0);
}

/* --- Tests --------------------------------------------------------------------------------- */

#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)
#define TEST_FAST(name) cmocka_unit_test_setup_teardown(name, setup_fast, teardown)
#define TEST_OWN(name)  cmocka_unit_test_setup_teardown(name, setup_own_pools, teardown)

#endif
