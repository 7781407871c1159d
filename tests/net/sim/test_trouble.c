/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_trouble.c: what can go wrong between two hosts, and how it must end.
 *
 * Each test is a world: tasks on the server and on the client, and a fault. The rule for all: the
 * call that waits gets the error that its header names, in bounded virtual time, other connections
 * go on, and nothing is left.
 */
#include "tests/net/sim/sim_test.h"

#include "net/stack_internal.h"
#include "net/tcp/tcb.h"

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
static int setup_bare(void **state)
{
	memset(&script, 0, sizeof(script));
	return 0;
}

static int setup(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open(&script.pair, 1,
		      &(struct apus_sim_link_options){.wire.delay_ns = WIRE_DELAY_NS});
	return 0;
}

/* A wire on which 28,000 connections can come and go within a TIME-WAIT. */
static int setup_fast(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open(&script.pair, 1,
		      &(struct apus_sim_link_options){.wire.delay_ns = 100 * APUS_US});
	return 0;
}

static int setup_own_pools(void **state)
{
	memset(&script, 0, sizeof(script));
	sim_pair_open_with(&script.pair, 1,
			   &(struct apus_sim_link_options){.wire.delay_ns = WIRE_DELAY_NS}, 2047);
	return 0;
}

static int teardown(void **state)
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

static struct apus_sim_task *on_server(apus_task_fn fn)
{
	return apus_sim_spawn(script.pair.server, "server", fn, NULL);
}

static struct apus_sim_task *on_client(apus_task_fn fn)
{
	return apus_sim_spawn(script.pair.client, "client", fn, NULL);
}

static void run_for(int64_t limit_ns)
{
	assert_int_equal(apus_sim_run(script.pair.world, limit_ns), 0);
}

static void run_both(apus_task_fn server, apus_task_fn client, int64_t limit_ns)
{
	struct apus_sim_task *s = on_server(server);
	struct apus_sim_task *c = on_client(client);

	run_for(limit_ns);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
}

static uint64_t server_counter(const char *name)
{
	return apus_sim_host_counter(script.pair.server, "tcp", name);
}

static uint64_t client_counter(const char *name)
{
	return apus_sim_host_counter(script.pair.client, "tcp", name);
}

/* --- Pieces of tasks ----------------------------------------------------------------------- */

static int accept_one(struct apus_tcp **out)
{
	struct apus_tcp_listener *l;
	int rc = apus_tcp_listen(sim_any(SERVER_PORT), 0, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, out);
	apus_tcp_listener_close(l);
	return rc;
}

static int64_t write_pattern(struct apus_tcp *c, int64_t bytes, uint32_t key)
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
static int64_t read_pattern(struct apus_tcp *c, uint32_t key)
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
static int64_t serve_sink(void *arg)
{
	struct apus_tcp *c;
	int rc = accept_one(&c);

	if (rc < 0)
		return rc;
	script.bytes = read_pattern(c, 1);
	apus_tcp_close(c);
	return script.bytes < 0 ? script.bytes : 0;
}

static int64_t connect_timed(void *arg)
{
	int rc;

	script.began_ns = apus_now();
	rc = apus_tcp_connect(sim_server(), &script.c[0]);
	script.ended_ns = apus_now();
	if (rc == 0)
		apus_tcp_close(script.c[0]);
	return rc;
}

static int64_t took_ns(void)
{
	return script.ended_ns - script.began_ns;
}

/* Lets each host know the other's address, so that ARP is not what a test waits for. */
static void introduce(void)
{
	run_both(serve_sink, connect_timed, 10 * APUS_SEC);
	assert_int_equal(apus_sim_advance(script.pair.world, 100 * APUS_MS), 0);
}

/* --- Connecting ---------------------------------------------------------------------------- */

static void connect_to_dead_host_times_out_after_the_syn_schedule(void **state)
{
	struct apus_sim_task *c;
	uint64_t segments;
	int64_t schedule_ns = APUS_TCP_SYN_RETRIES_LINEAR * APUS_SEC;

	introduce();
	apus_sim_host_kill(script.pair.server);
	segments = client_counter("segments_out");
	c = on_client(connect_timed);
	run_for(600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ETIMEDOUT);
	/* One second each for the linear ones, then 1 s doubling: 1 + 2 + 4 ... */
	schedule_ns += ((INT64_C(2) << APUS_TCP_SYN_RETRIES) - 1) * APUS_SEC;
	assert_in_range(took_ns(), schedule_ns, schedule_ns + APUS_SEC / 10);
	assert_int_equal(client_counter("segments_out") - segments,
			 1 + APUS_TCP_SYN_RETRIES_LINEAR + APUS_TCP_SYN_RETRIES);
	assert_int_equal(apus_sim_host_connections(script.pair.client), 0);
}

static void connect_to_nobody_is_unreachable(void **state)
{
	struct apus_sim_task *c;

	apus_sim_host_kill(script.pair.server); /* before it ever answered ARP */
	c = on_client(connect_timed);
	run_for(600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -EHOSTUNREACH);
}

static void connect_to_closed_port_is_refused_in_one_round_trip(void **state)
{
	struct apus_sim_task *c;

	introduce();
	c = on_client(connect_timed);
	run_for(APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ECONNREFUSED);
	assert_int_equal(took_ns(), 2 * WIRE_DELAY_NS);
}

static int64_t connect_elsewhere(void *arg)
{
	return apus_tcp_connect(sim_endpoint("192.168.7.7", 80), &script.c[0]);
}

static void connect_without_a_route_fails_at_once(void **state)
{
	struct apus_sim_task *c = on_client(connect_elsewhere);

	run_for(APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ENETUNREACH);
}

static void server_that_comes_up_late_is_reached_by_a_later_syn(void **state)
{
	struct apus_sim_task *c, *s;

	introduce();
	apus_sim_host_unplug(script.pair.server);
	c = on_client(connect_timed);
	s = on_server(serve_sink);
	assert_int_equal(apus_sim_advance(script.pair.world, 2500 * APUS_MS), 0);
	apus_sim_host_plug(script.pair.server);
	run_for(60 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_in_range(took_ns(), 3 * APUS_SEC, 3 * APUS_SEC + 100 * APUS_MS);
}

#define OPEN_PORT_SERVER 50000
#define OPEN_PORT_CLIENT 40000

/* The next connection from here to @remote will get @port: ports are tried one after the other. */
static int64_t choose_next_port(struct apus_endpoint remote, uint16_t port)
{
	struct apus_tcp_layer *layer = &apus_stack_self()->tcp;
	struct apus_tcp_key key = {.remote = remote.addr, .remote_port = remote.port};
	struct apus_addr local;

	sim_check_equal(apus_ipv4_source(layer->ip, remote.addr, &local), 0);
	key.local = local;
	do {
		sim_check_equal(apus_tcp_choose_port(layer, &key, apus_now()), 0);
	} while (key.local_port != port - 1);
	return 0;
}

/* Opens at three seconds sharp, says what it has to say, and hears the other. */
static int64_t open_at_three(struct apus_endpoint remote, uint16_t port)
{
	struct apus_tcp *c;
	char buf[6] = "";

	sim_check_equal(choose_next_port(remote, port), 0);
	sim_check_equal(apus_sleep_until(3 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_connect(remote, &c), 0);
	sim_check_equal(apus_tcp_local(c).port, port);
	sim_check_equal(apus_tcp_write(c, "hello", 5), 5);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 5);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 0);
	apus_tcp_close(c);
	return 0;
}

static int64_t open_server(void *arg)
{
	return open_at_three(sim_endpoint(CLIENT_IP, OPEN_PORT_CLIENT), OPEN_PORT_SERVER);
}

static int64_t open_client(void *arg)
{
	return open_at_three(sim_endpoint(SERVER_IP, OPEN_PORT_SERVER), OPEN_PORT_CLIENT);
}

/* RFC 9293 §3.5, figure 7 */
static void simultaneous_open_makes_one_connection(void **state)
{
	uint64_t opens;

	introduce();
	opens = server_counter("passive_opens");
	run_both(open_server, open_client, 10 * APUS_SEC);
	assert_int_equal(server_counter("active_opens"), 1);
	assert_int_equal(server_counter("passive_opens"), opens); /* that of introduce() */
	assert_int_equal(server_counter("resets_out") + client_counter("resets_out"), 0);
}

/* --- Closing ------------------------------------------------------------------------------- */

static int64_t half_close_server(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = accept_one(&c);

	if (rc < 0)
		return rc;
	sim_check_equal(read_pattern(c, 1), 1000);
	sim_check_equal(apus_sleep(30 * APUS_SEC), 0); /* well into the half-closed state */
	sim_check_equal(write_pattern(c, 300000, 2), 300000);
	apus_tcp_close(c);
	return 0;
}

static int64_t half_close_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(write_pattern(c, 1000, 1), 1000);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_write(c, "x", 1), -EPIPE);
	sim_check_equal(read_pattern(c, 2), 300000);
	apus_tcp_close(c);
	return 0;
}

static void half_closed_connection_still_carries_the_other_way(void **state)
{
	run_both(half_close_server, half_close_client, 120 * APUS_SEC);
}

static int64_t close_at_three(struct apus_tcp *c)
{
	char byte;

	sim_check_equal(apus_sleep_until(3 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static int64_t close_at_three_server(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	return close_at_three(c);
}

static int64_t close_at_three_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	return close_at_three(c);
}

static void simultaneous_close_leaves_time_wait_on_both_sides(void **state)
{
	run_both(close_at_three_server, close_at_three_client, 10 * APUS_SEC);
	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_host_time_waits(script.pair.server), 1);
	assert_int_equal(apus_sim_host_time_waits(script.pair.client), 1);
	assert_int_equal(apus_sim_host_connections(script.pair.server), 0);
	assert_int_equal(server_counter("resets_out") + client_counter("resets_out"), 0);
}

static void orderly_close_leaves_time_wait_at_the_first_to_close_for_a_minute(void **state)
{
	introduce(); /* the client closes first */
	assert_int_equal(apus_sim_advance(script.pair.world, 59 * APUS_SEC), 0);
	assert_int_equal(apus_sim_host_time_waits(script.pair.client), 1);
	assert_int_equal(apus_sim_host_time_waits(script.pair.server), 0);
	assert_int_equal(apus_sim_advance(script.pair.world, 2 * APUS_SEC), 0);
	assert_int_equal(apus_sim_host_time_waits(script.pair.client), 0);
}

static int64_t abort_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(write_pattern(c, 1000, 1), 1000);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_tcp_abort(c);
	return 0;
}

static void abort_resets_the_reader_at_the_other_end(void **state)
{
	struct apus_sim_task *s = on_server(serve_sink);
	struct apus_sim_task *c = on_client(abort_client);

	run_for(10 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), -ECONNRESET);
	assert_int_equal(apus_sim_host_connections(script.pair.server), 0);
	assert_int_equal(sim_pair_left(&script.pair), 0); /* no TIME-WAIT after a reset */
}

static int64_t close_unread_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_tcp_close(c); /* with bytes that nobody read */
	return 0;
}

static int64_t close_unread_server(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(write_pattern(c, 1000, 1), 1000);
	sim_check_equal(apus_tcp_read(c, &byte, 1), -ECONNRESET);
	apus_tcp_close(c);
	return 0;
}

static void close_with_unread_bytes_resets(void **state)
{
	run_both(close_unread_server, close_unread_client, 10 * APUS_SEC);
	assert_int_equal(client_counter("resets_out"), 1);
}

/* --- Windows that stay shut ---------------------------------------------------------------- */

#define STALLED_BYTES 2000000

static int64_t stalled_server(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(apus_sleep(600 * APUS_SEC), 0);
	sim_check_equal(read_pattern(c, 1), STALLED_BYTES);
	apus_tcp_close(c);
	return 0;
}

static int64_t stalled_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(write_pattern(c, STALLED_BYTES, 1), STALLED_BYTES);
	apus_tcp_close(c);
	return 0;
}

static void reader_that_stalls_for_minutes_is_probed_and_then_served(void **state)
{
	run_both(stalled_server, stalled_client, 1200 * APUS_SEC);
	/* Doubling from 200 ms to 120 s, about a dozen probes in ten minutes; not one a second. */
	assert_in_range(client_counter("zero_window_probes"), 8, 20);
}

static void window_update_that_is_lost_does_not_stop_the_connection(void **state)
{
	static const struct apus_impair_options deaf = {.loss_ppm = 1000000};
	struct apus_sim_task *s = on_server(stalled_server);
	struct apus_sim_task *c = on_client(stalled_client);

	assert_int_equal(apus_sim_advance(script.pair.world, 599 * APUS_SEC), 0);
	assert_int_equal(apus_sim_host_impair(script.pair.server, &deaf), 0);
	assert_int_equal(apus_sim_advance(script.pair.world, 2 * APUS_SEC), 0);
	assert_int_equal(apus_sim_host_impair(script.pair.server, NULL), 0);
	run_for(600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
}

/* --- Peers that fall silent ---------------------------------------------------------------- */

static int64_t keepalive_client(void *arg)
{
	struct apus_tcp *c;
	char byte;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, 10 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_INTERVAL_NS, APUS_SEC), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_PROBES, 3), 0);
	script.began_ns = apus_now();
	rc = apus_tcp_read(c, &byte, 1);
	script.ended_ns = apus_now();
	apus_tcp_close(c);
	return rc;
}

static void keepalive_finds_a_dead_peer(void **state)
{
	struct apus_sim_task *c;

	on_server(serve_sink);
	c = on_client(keepalive_client);
	assert_int_equal(apus_sim_advance(script.pair.world, 95 * APUS_SEC), 0);
	assert_false(apus_sim_task_done(c)); /* a living one answers */
	assert_in_range(client_counter("keepalive_probes"), 8, 10);
	apus_sim_host_kill(script.pair.server);
	run_for(60 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ETIMEDOUT);
	/* Within one idle time and three probes of the death. */
	assert_in_range(took_ns(), 95 * APUS_SEC, 110 * APUS_SEC);
}

static int64_t endless_client(void *arg)
{
	struct apus_tcp *c;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	script.began_ns = apus_now();
	rc = write_pattern(c, INT64_MAX, 1);
	script.ended_ns = apus_now();
	apus_tcp_close(c);
	return rc;
}

static void peer_killed_in_a_transfer_is_given_up_after_r2(void **state)
{
	struct apus_sim_task *c;

	on_server(serve_sink);
	c = on_client(endless_client);
	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	apus_sim_host_kill(script.pair.server);
	run_for(3600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ETIMEDOUT);
	/* RFC 9293 §3.8.3: at least 100 s; 15 retries from 200 ms doubling to 120 s: 924.6 s. */
	assert_in_range(took_ns(), 100 * APUS_SEC, 1100 * APUS_SEC);
	assert_int_equal(apus_sim_host_connections(script.pair.client), 0);
}

static int64_t user_timeout_client(void *arg)
{
	struct apus_tcp *c;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_USER_TIMEOUT_NS, 20 * APUS_SEC), 0);
	script.began_ns = apus_now();
	rc = write_pattern(c, INT64_MAX, 1);
	script.ended_ns = apus_now();
	apus_tcp_close(c);
	return rc;
}

static void user_timeout_ends_it_sooner(void **state)
{
	struct apus_sim_task *c;

	on_server(serve_sink);
	c = on_client(user_timeout_client);
	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	apus_sim_host_kill(script.pair.server);
	run_for(3600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), -ETIMEDOUT);
	assert_in_range(took_ns(), 20 * APUS_SEC, 45 * APUS_SEC);
}

#define CUT_BYTES 20000000

static int64_t cut_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(write_pattern(c, CUT_BYTES, 1), CUT_BYTES);
	apus_tcp_close(c);
	return 0;
}

static void cable_out_for_half_a_minute_only_delays(void **state)
{
	struct apus_sim_task *s = on_server(serve_sink);
	struct apus_sim_task *c = on_client(cut_client);

	assert_int_equal(apus_sim_advance(script.pair.world, 20 * APUS_MS), 0);
	apus_sim_host_unplug(script.pair.server);
	assert_int_equal(apus_sim_advance(script.pair.world, 30 * APUS_SEC), 0);
	assert_false(apus_sim_task_done(s));
	apus_sim_host_plug(script.pair.server);
	run_for(120 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(script.bytes, CUT_BYTES);
}

static void host_that_stands_still_for_a_minute_goes_on(void **state)
{
	struct apus_sim_task *s = on_server(serve_sink);
	struct apus_sim_task *c = on_client(cut_client);

	assert_int_equal(apus_sim_advance(script.pair.world, 20 * APUS_MS), 0);
	apus_sim_host_pause(script.pair.server);
	assert_int_equal(apus_sim_advance(script.pair.world, 60 * APUS_SEC), 0);
	assert_false(apus_sim_task_done(s));
	apus_sim_host_resume(script.pair.server);
	run_for(300 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(script.bytes, CUT_BYTES);
}

/* Connects, and begins to write at three seconds, when the pool is empty. */
static int64_t starved_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_sleep_until(3 * APUS_SEC), 0);
	sim_check_equal(write_pattern(c, CUT_BYTES, 1), CUT_BYTES);
	apus_tcp_close(c);
	return 0;
}

static void starve_for_ten_seconds(struct apus_sim_host *host)
{
	struct apus_sim_task *s = on_server(serve_sink);
	struct apus_sim_task *c = on_client(starved_client);

	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_host_starve(host, 0), 0);
	assert_int_equal(apus_sim_host_mbufs_free(host), 0);
	assert_int_equal(apus_sim_advance(script.pair.world, 11 * APUS_SEC), 0);
	assert_false(apus_sim_task_done(s));
	assert_int_equal(apus_sim_host_starve(host, UINT32_MAX), 0);
	run_for(300 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(script.bytes, CUT_BYTES);
}

static void empty_pool_of_the_sender_only_delays(void **state)
{
	starve_for_ten_seconds(script.pair.client);
	assert_true(client_counter("no_mbuf") > 0);
}

static void empty_pool_of_the_receiver_only_delays(void **state)
{
	starve_for_ten_seconds(script.pair.server);
	assert_true(apus_sim_host_counter(script.pair.server, "sim", "rx_drop_no_mbuf") > 0);
}

/* A host whose mbufs are so small that every frame is a chain of them, in and out. */
static void frames_in_chains_of_small_mbufs_are_understood(void **state)
{
	static const struct apus_sim_host_options small[] = {
		{.ip = SERVER_IP "/24", .mbufs = 8191, .mbuf_bytes = 256},
		{.ip = CLIENT_IP "/24", .mbufs = 8191, .mbuf_bytes = 256},
	};
	struct apus_sim_world_options world = {.pool = sim_pool()};
	struct apus_sim_task *s, *c;

	assert_int_equal(apus_sim_world_open(1, &world, &script.pair.world), 0);
	assert_int_equal(
		apus_sim_host_open(script.pair.world, "server", &small[0], &script.pair.server), 0);
	assert_int_equal(
		apus_sim_host_open(script.pair.world, "client", &small[1], &script.pair.client), 0);
	assert_int_equal(
		apus_sim_link(script.pair.world, script.pair.server, script.pair.client, NULL), 0);
	s = on_server(serve_sink);
	c = on_client(cut_client);
	run_for(300 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(script.bytes, CUT_BYTES);
}

/* --- Many ---------------------------------------------------------------------------------- */

#define MANY 1000

static int64_t echo_one(void *arg)
{
	struct apus_tcp *c = *(struct apus_tcp **)arg;
	char buf[256];
	int64_t n;

	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		n = apus_tcp_write(c, buf, (size_t)n);
		if (n < 0)
			break;
	}
	apus_tcp_close(c);
	return n;
}

static int64_t many_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	for (int i = 0; i < MANY; i++) {
		sim_check_equal(apus_tcp_accept(l, &c), 0);
		sim_check_equal(apus_spawn_detached(NULL, echo_one, &c, sizeof(struct apus_tcp *)),
				0);
	}
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t ask_echo(struct apus_tcp *c)
{
	char question[200], answer[200];
	int64_t got = 0;

	memset(question, (int)apus_task_id(apus_task_self()), sizeof(question));
	sim_check_equal(apus_tcp_write(c, question, sizeof(question)), sizeof(question));
	while (got < (int64_t)sizeof(answer)) {
		int64_t n = apus_tcp_read(c, answer + got, sizeof(answer) - (size_t)got);

		if (n <= 0)
			return n < 0 ? n : -ENODATA;
		got += n;
	}
	sim_check_equal(memcmp(question, answer, sizeof(answer)), 0);
	return 0;
}

static int64_t many_client_one(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = apus_tcp_connect(sim_server(), &c);

	if (rc < 0)
		return rc;
	rc = ask_echo(c);
	apus_tcp_close(c);
	return rc;
}

static int64_t many_client(void *arg)
{
	static struct apus_task *tasks[MANY];

	for (int i = 0; i < MANY; i++)
		tasks[i] = apus_spawn(many_client_one, NULL);
	for (int i = 0; i < MANY; i++) {
		int64_t rc = apus_await(tasks[i]);

		sim_check_equal(rc, 0);
	}
	return 0;
}

static void thousand_connections_at_once_all_get_their_answer(void **state)
{
	run_both(many_server, many_client, 10 * APUS_SEC);
	assert_int_equal(server_counter("passive_opens"), MANY);
	assert_int_equal(client_counter("active_opens"), MANY);
}

#define BACKLOG 8
#define CROWD   100

static int64_t overflow_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), BACKLOG, &l), 0);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	/* While nobody accepts, the memory for strangers is bounded by the backlog. */
	sim_check(apus_sim_host_connections(script.pair.server) <= 2 * BACKLOG);
	for (;;) {
		if (apus_tcp_accept(l, &c) < 0)
			break;
		sim_check_equal(apus_spawn_detached(NULL, echo_one, &c, sizeof(struct apus_tcp *)),
				0);
	}
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t overflow_client_one(void *arg)
{
	int64_t rc = many_client_one(NULL);

	script.count += rc == 0;
	script.failed += rc != 0;
	return 0;
}

static int64_t overflow_client(void *arg)
{
	static struct apus_task *tasks[CROWD];

	for (int i = 0; i < CROWD; i++)
		tasks[i] = apus_spawn(overflow_client_one, NULL);
	for (int i = 0; i < CROWD; i++)
		sim_check_equal(apus_await(tasks[i]), 0);
	return 0;
}

static void crowd_beyond_the_backlog_is_served_in_the_end(void **state)
{
	struct apus_sim_task *s = on_server(overflow_server);
	struct apus_sim_task *c = on_client(overflow_client);

	assert_int_equal(apus_sim_run(script.pair.world, 2 * APUS_SEC), -ETIMEDOUT);
	for (int i = 0; i < 300 && !apus_sim_task_done(c); i++)
		assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_true(apus_sim_task_done(c));
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(script.count + script.failed, CROWD);
	assert_int_equal(script.failed, 0);
	assert_true(server_counter("accept_overflow") + server_counter("request_evicted") +
			    server_counter("listen_drop") >
		    0);
	apus_sim_task_cancel(s);
	run_for(APUS_SEC);
}

#define ROUNDS 30000 /* more than there are ephemeral ports */

static int64_t rounds_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	char byte;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	for (int i = 0; i < ROUNDS; i++) {
		sim_check_equal(apus_tcp_accept(l, &c), 0);
		sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
		apus_tcp_close(c);
	}
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t rounds_client(void *arg)
{
	struct apus_tcp *c;
	char byte;

	for (script.count = 0; script.count < ROUNDS; script.count++) {
		sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
		sim_check_equal(apus_tcp_shutdown(c), 0);
		sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
		apus_tcp_close(c);
	}
	return 0;
}

static void ports_in_time_wait_do_not_run_out(void **state)
{
	run_both(rounds_server, rounds_client, 600 * APUS_SEC);
	assert_int_equal(script.count, ROUNDS);
}

/* The server closes first, so TIME-WAIT is there, and the same port comes back with a newer SYN. */
static int64_t reuse_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	char byte;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	for (int i = 0; i < ROUNDS; i++) {
		sim_check_equal(apus_tcp_accept(l, &c), 0);
		sim_check_equal(apus_tcp_shutdown(c), 0);
		sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
		apus_tcp_close(c);
	}
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t reuse_client(void *arg)
{
	struct apus_tcp *c;
	char byte;

	for (script.count = 0; script.count < ROUNDS; script.count++) {
		script.began_ns = apus_now();
		sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
		script.ended_ns = apus_max(script.ended_ns, apus_now() - script.began_ns);
		sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
		apus_tcp_close(c);
	}
	return 0;
}

static void newer_syn_takes_a_port_out_of_the_servers_time_wait(void **state)
{
	run_both(reuse_server, reuse_client, 1200 * APUS_SEC);
	assert_int_equal(script.count, ROUNDS);
	assert_true(server_counter("time_wait_reused") > 0);
}

static int64_t echo_until_reset(void *arg)
{
	int64_t rc = echo_one(arg);

	return rc == -ECONNRESET ? 0 : rc;
}

static int64_t exhaust_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	while (apus_tcp_accept(l, &c) == 0)
		sim_check_equal(
			apus_spawn_detached(NULL, echo_until_reset, &c, sizeof(struct apus_tcp *)),
			0);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t exhaust_client(void *arg)
{
	static struct apus_tcp *all[APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 2];
	int rc = 0;

	while (script.count < apus_countof(all)) {
		rc = apus_tcp_connect(sim_server(), &all[script.count]);
		if (rc < 0)
			break;
		script.count++;
	}
	sim_check_equal(rc, -EADDRNOTAVAIL);
	sim_check_equal(ask_echo(all[0]), 0); /* the others are well */
	for (uint32_t i = 0; i < script.count; i++) {
		apus_tcp_abort(all[i]);
		if (i % 256 == 0) /* the wire's queue is finite, and a lost RST is not sent again */
			sim_check_equal(apus_sleep(APUS_MS), 0);
	}
	sim_check_equal(apus_tcp_connect(sim_server(), &all[0]), 0); /* and there is room again */
	apus_tcp_abort(all[0]);
	return 0;
}

static void last_port_taken_is_an_error_and_not_a_hang(void **state)
{
	struct apus_sim_task *s = on_server(exhaust_server);
	struct apus_sim_task *c = on_client(exhaust_client);

	for (int i = 0; i < 300 && !apus_sim_task_done(c); i++)
		assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(script.count, APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1);
	assert_int_equal(client_counter("ports_exhausted"), 1);
	apus_sim_task_cancel(s);
	run_for(APUS_SEC);
}

/* --- Cancelling ---------------------------------------------------------------------------- */

static int64_t accept_only(void *arg)
{
	struct apus_tcp *c;
	int rc = accept_one(&c);

	if (rc == 0)
		apus_tcp_close(c);
	return rc;
}

static void cancelled_accept_leaves_nothing(void **state)
{
	struct apus_sim_task *s = on_server(accept_only);

	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_true(apus_sim_task_cancel(s));
	run_for(0);
	assert_int_equal(apus_sim_task_result(s), -ECANCELED);
}

static void cancelled_connect_leaves_nothing(void **state)
{
	struct apus_sim_task *c;

	introduce();
	assert_int_equal(apus_sim_advance(script.pair.world, 2 * CALM_NS), 0);
	apus_sim_host_kill(script.pair.server);
	c = on_client(connect_timed);
	assert_int_equal(apus_sim_advance(script.pair.world, 1500 * APUS_MS), 0);
	assert_int_equal(apus_sim_host_connections(script.pair.client), 1);
	assert_true(apus_sim_task_cancel(c));
	run_for(0);
	assert_int_equal(apus_sim_task_result(c), -ECANCELED);
	assert_int_equal(apus_sim_host_connections(script.pair.client), 0);
}

static int64_t quiet_server(void *arg)
{
	struct apus_tcp *c;
	char byte;
	int64_t n;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(c, "abc", 3), 3);
	while ((n = apus_tcp_read(c, &byte, 1)) > 0)
		script.bytes++;
	apus_tcp_close(c);
	return n;
}

static int64_t reader(void *arg)
{
	return apus_tcp_read(script.c[0], script.buf, sizeof(script.buf));
}

static int64_t cancelled_read_client(void *arg)
{
	struct apus_task *t;

	sim_check_equal(apus_tcp_connect(sim_server(), &script.c[0]), 0);
	t = apus_spawn(reader, NULL);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_task_cancel(t);
	sim_check_equal(apus_await(t), -ECANCELED);
	sim_check_equal(reader(NULL), 3); /* nothing was lost, and the place is free */
	sim_check_equal(memcmp(script.buf, "abc", 3), 0);
	apus_tcp_close(script.c[0]);
	return 0;
}

static void cancelled_read_has_taken_nothing(void **state)
{
	run_both(quiet_server, cancelled_read_client, 60 * APUS_SEC);
}

static int64_t cancelled_write_client(void *arg)
{
	struct apus_timeout limit;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &script.c[0]), 0);
	apus_timeout_begin(&limit, APUS_SEC);
	rc = write_pattern(script.c[0], INT64_MAX, 1);
	rc = apus_timeout_end(&limit, rc);
	sim_check_equal(rc, -ETIMEDOUT);
	sim_check_equal(reader(NULL), 3); /* the connection lives */
	sim_check_equal(apus_tcp_write(script.c[0], "x", 1), 1);
	apus_tcp_close(script.c[0]);
	return 0;
}

static void write_that_ran_out_of_time_leaves_the_connection_usable(void **state)
{
	run_both(quiet_server, cancelled_write_client, 60 * APUS_SEC);
	assert_true(script.bytes > 1);
}

/* --- UDP, ARP ------------------------------------------------------------------------------ */

#define QUESTIONS 1000

static int64_t udp_echo_server(void *arg)
{
	struct apus_udp *u;
	struct apus_endpoint from;
	char buf[2000];
	int64_t n;

	sim_check_equal(apus_udp_open(sim_any(7), NULL, &u), 0);
	while ((n = apus_udp_recv(u, buf, sizeof(buf), &from)) >= 0)
		sim_check_equal(apus_udp_send(u, buf, (size_t)n, &from), n);
	apus_udp_close(u);
	return n;
}

/* Asks until the answer with the same number comes, as every protocol over UDP must. */
static int64_t udp_ask(struct apus_udp *u, uint32_t number)
{
	uint32_t answer;

	for (;;) {
		struct apus_timeout limit;
		int64_t n;

		sim_check_equal(apus_udp_send(u, &number, sizeof(number), NULL), sizeof(number));
		script.count++;
		apus_timeout_begin(&limit, 100 * APUS_MS);
		do {
			n = apus_udp_recv(u, &answer, sizeof(answer), NULL);
		} while (n == sizeof(answer) && answer != number);
		n = apus_timeout_end(&limit, n);
		if (n != -ETIMEDOUT)
			return n;
	}
}

static int64_t udp_echo_client(void *arg)
{
	struct apus_endpoint server = sim_endpoint(SERVER_IP, 7);
	struct apus_udp *u;

	sim_check_equal(apus_udp_open(sim_any(0), &server, &u), 0);
	for (uint32_t i = 0; i < QUESTIONS; i++)
		sim_check_equal(udp_ask(u, i), sizeof(uint32_t));
	apus_udp_close(u);
	return 0;
}

static void udp_questions_are_all_answered_over_a_lossy_wire(void **state)
{
	static const struct apus_impair_options bad = {
		.loss_ppm = 100000, .corrupt_ppm = 50000, .duplicate_ppm = 50000};
	struct apus_sim_task *s = on_server(udp_echo_server);
	struct apus_sim_task *c = on_client(udp_echo_client);

	assert_int_equal(apus_sim_host_impair(script.pair.server, &bad), 0);
	assert_int_equal(apus_sim_host_impair(script.pair.client, &bad), 0);
	assert_int_equal(apus_sim_run(script.pair.world, 1), -ETIMEDOUT);
	for (int i = 0; i < 300 && !apus_sim_task_done(c); i++)
		assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_in_range(script.count, QUESTIONS + QUESTIONS / 10, 2 * QUESTIONS);
	apus_sim_task_cancel(s);
	run_for(0);
	assert_int_equal(apus_sim_task_result(s), -ECANCELED);
}

static void neighbour_is_found_again_after_its_entry_expired(void **state)
{
	uint64_t asked;

	introduce();
	asked = apus_sim_host_counter(script.pair.client, "arp", "requests_out");
	assert_true(asked > 0);
	introduce();
	assert_int_equal(apus_sim_host_counter(script.pair.client, "arp", "requests_out"), asked);
	assert_int_equal(apus_sim_advance(script.pair.world, 3600 * APUS_SEC), 0);
	introduce();
	assert_true(apus_sim_host_counter(script.pair.client, "arp", "requests_out") > asked);
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)
#define TEST_FAST(name) cmocka_unit_test_setup_teardown(name, setup_fast, teardown)
#define TEST_OWN(name)  cmocka_unit_test_setup_teardown(name, setup_own_pools, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(connect_to_dead_host_times_out_after_the_syn_schedule),
		TEST(connect_to_nobody_is_unreachable),
		TEST(connect_to_closed_port_is_refused_in_one_round_trip),
		TEST(connect_without_a_route_fails_at_once),
		TEST(server_that_comes_up_late_is_reached_by_a_later_syn),
		TEST(simultaneous_open_makes_one_connection),
		TEST(half_closed_connection_still_carries_the_other_way),
		TEST(simultaneous_close_leaves_time_wait_on_both_sides),
		TEST(orderly_close_leaves_time_wait_at_the_first_to_close_for_a_minute),
		TEST(abort_resets_the_reader_at_the_other_end),
		TEST(close_with_unread_bytes_resets),
		TEST(reader_that_stalls_for_minutes_is_probed_and_then_served),
		TEST(window_update_that_is_lost_does_not_stop_the_connection),
		TEST(keepalive_finds_a_dead_peer),
		TEST(peer_killed_in_a_transfer_is_given_up_after_r2),
		TEST(user_timeout_ends_it_sooner),
		TEST(cable_out_for_half_a_minute_only_delays),
		TEST(host_that_stands_still_for_a_minute_goes_on),
		TEST_OWN(empty_pool_of_the_sender_only_delays),
		TEST_OWN(empty_pool_of_the_receiver_only_delays),
		TEST_BARE(frames_in_chains_of_small_mbufs_are_understood),
		TEST(thousand_connections_at_once_all_get_their_answer),
		TEST(crowd_beyond_the_backlog_is_served_in_the_end),
		TEST_FAST(ports_in_time_wait_do_not_run_out),
		TEST_FAST(newer_syn_takes_a_port_out_of_the_servers_time_wait),
		TEST(last_port_taken_is_an_error_and_not_a_hang),
		TEST(cancelled_accept_leaves_nothing),
		TEST(cancelled_connect_leaves_nothing),
		TEST(cancelled_read_has_taken_nothing),
		TEST(write_that_ran_out_of_time_leaves_the_connection_usable),
		TEST(udp_questions_are_all_answered_over_a_lossy_wire),
		TEST(neighbour_is_found_again_after_its_entry_expired),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim trouble", tests, NULL, NULL);
}
