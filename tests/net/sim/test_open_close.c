/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_open_close.c: how connections begin and end, and calls that are cancelled.
 */
#include "tests/net/sim/script.h"

#include "net/tcp/numbers.h"

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
	/* By timeout; that its neighbour was silent says more (RFC 1122 §2.4). */
	assert_int_equal(apus_sim_task_result(c), -EHOSTUNREACH);
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

/* Opens at three seconds sharp, says what it has to say, and hears the other. */
static int64_t open_at_three(struct apus_endpoint remote, uint16_t port)
{
	struct apus_tcp *c;
	char buf[6] = "";

	sim_check_equal(apus_sleep_until(3 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_connect_from(sim_any(port), remote, &c), 0);
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
		TEST(cancelled_accept_leaves_nothing),
		TEST(cancelled_connect_leaves_nothing),
		TEST(cancelled_read_has_taken_nothing),
		TEST(write_that_ran_out_of_time_leaves_the_connection_usable),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim open and close", tests, NULL, NULL);
}
