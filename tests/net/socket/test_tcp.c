/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_tcp.c: the contract of net/socket/tcp.h, on either network.
 */
#include "tests/net/socket/network_test.h"

/* More than the queues of both ends hold; the kernel's grow. */
#define MANY_BYTES ((size_t)(on_kernel ? 16 : 4) << 20)
#define MANY_MAX   (16 << 20)

static struct apus_tcp *shared;
static uint8_t buf[65536];
static uint8_t many[MANY_MAX];
static int64_t moment_ns;

static int64_t accept_one(struct apus_tcp **out)
{
	struct apus_tcp_listener *l;
	int rc = apus_tcp_listen(network_any(SERVER_PORT), 0, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, out);
	apus_tcp_listener_close(l);
	return rc;
}

/* Accepts one, gives back what comes until the end, then waits a while and closes. */
static int64_t echo_server(void *arg)
{
	static uint8_t bytes[4096];
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(accept_one(&c), 0);
	while ((n = apus_tcp_read(c, bytes, sizeof(bytes))) > 0)
		sim_check_equal(apus_tcp_write(c, bytes, (size_t)n), n);
	apus_tcp_close(c);
	return n;
}

/* Accepts one and reads nothing for ten seconds, then everything. */
static int64_t lazy_server(void *arg)
{
	static uint8_t bytes[65536];
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(network_pause(10 * APUS_SEC), 0);
	while ((n = apus_tcp_read(c, bytes, sizeof(bytes))) > 0)
		;
	apus_tcp_close(c);
	return n;
}

/* --- Listening ----------------------------------------------------------------------------- */

static int64_t listen_server(void *arg)
{
	struct apus_tcp_listener *a, *b;
	struct apus_endpoint here = network_server(SERVER_PORT);

	sim_check_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &a), 0);
	sim_check_equal(apus_tcp_listener_local(a).port, network_port(SERVER_PORT));
	sim_check_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &b), -EADDRINUSE);
	sim_check_equal(apus_tcp_listen(sim_endpoint("10.9.9.9", 81), 0, &b), -EADDRNOTAVAIL);
	apus_tcp_listener_close(a);
	sim_check_equal(apus_tcp_listen(here, 0, &a), 0);
	apus_tcp_listener_close(a);
	sim_check_equal(apus_tcp_listen(sim_any(0), 0, &a), 0);
	sim_check(apus_tcp_listener_local(a).port != 0);
	apus_tcp_listener_close(a);
	return 0;
}

static void port_listens_once_and_is_free_after_close(void **state)
{
	network_run(listen_server, NULL);
}

static int64_t accept_on(void *arg)
{
	struct apus_tcp *c;

	return apus_tcp_accept(arg, &c);
}

static int64_t listener_close_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_task *t;

	sim_check_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &l), 0);
	t = apus_spawn(accept_on, l);
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_tcp_listener_close(l);
	sim_check_equal(apus_await(t), -EPIPE);
	return 0;
}

static void listener_close_ends_the_task_in_accept(void **state)
{
	network_run(listener_close_server, NULL);
}

static int64_t unaccepted_server(void *arg)
{
	struct apus_tcp_listener *l;

	sim_check_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &l), 0);
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t unaccepted_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c),
			0); /* into the backlog */
	sim_check_equal(apus_tcp_read(c, buf, 1), -ECONNRESET);
	sim_check_equal(apus_tcp_write(c, "x", 1), -ECONNRESET);
	apus_tcp_close(c);
	return 0;
}

static void connection_nobody_accepted_is_reset_with_the_listener(void **state)
{
	network_run(unaccepted_server, unaccepted_client);
}

static int64_t names_server(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	shared = c;
	sim_check_equal(apus_tcp_local(c).port, network_port(SERVER_PORT));
	sim_check(apus_addr_equal(apus_tcp_local(c).addr, network_server(0).addr));
	sim_check(apus_addr_equal(apus_tcp_remote(c).addr, network_client_addr()));
	moment_ns = apus_tcp_remote(c).port;
	sim_check_equal(apus_tcp_read(c, buf, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static int64_t names_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_remote(c).port, network_port(SERVER_PORT));
	sim_check(apus_addr_equal(apus_tcp_remote(c).addr, network_server(0).addr));
	sim_check(apus_addr_equal(apus_tcp_local(c).addr, network_client_addr()));
	while (!moment_ns)
		sim_check_equal(apus_sleep(APUS_MS), 0);
	sim_check_equal(apus_tcp_local(c).port, moment_ns);
	apus_tcp_close(c);
	return 0;
}

static void both_ends_know_both_names(void **state)
{
	moment_ns = 0;
	network_run(names_server, names_client);
}

/* --- Several addresses --------------------------------------------------------------------- */

#define ADDRESSES 4

/* Who asks has more than one address: each has its turn. */
static int64_t many_addresses_server(void *arg)
{
	uint32_t first = ntohl(apus_addr_to_v4(network_client_addr()));
	int met[ADDRESSES] = {0};
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &l), 0);
	for (int i = 0; i < 2 * ADDRESSES; i++) {
		sim_check_equal(apus_tcp_accept(l, &c), 0);

		uint32_t which = ntohl(apus_addr_to_v4(apus_tcp_remote(c).addr)) - first;

		sim_check(which < ADDRESSES);
		met[which]++;
		sim_check_equal(apus_tcp_read(c, buf, 1), 1); /* and that it is there */
		apus_tcp_close(c);
	}
	apus_tcp_listener_close(l);
	for (int i = 0; i < ADDRESSES; i++)
		sim_check_equal(met[i], 2);
	/* The other way, to the last one of theirs; behind that nobody is. */
	sim_check_equal(apus_tcp_connect(sim_endpoint("10.0.0.5", 81), &c), 0);
	apus_tcp_close(c);
	sim_check_equal(apus_tcp_connect(sim_endpoint("10.0.0.6", 81), &c), -EHOSTUNREACH);
	return 0;
}

static int64_t many_addresses_client(void *arg)
{
	struct apus_endpoint mine = sim_endpoint("10.0.0.5", 5000);
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_endpoint("10.0.0.6", 81), 0, &l), -EADDRNOTAVAIL);
	sim_check_equal(apus_tcp_listen(sim_endpoint("10.0.0.5", 81), 0, &l), 0);
	for (int i = 0; i < 2 * ADDRESSES; i++) {
		if (i == 2) /* asked for by name it has no turn */
			sim_check_equal(
				apus_tcp_connect_from(mine, network_server(SERVER_PORT), &c), 0);
		else
			sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
		if (i == 2)
			sim_check(apus_addr_equal(apus_tcp_local(c).addr, mine.addr));
		sim_check_equal(apus_tcp_write(c, "x", 1), 1);
		apus_tcp_close(c);
	}
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	sim_check_equal(apus_tcp_read(c, buf, 1), 0);
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static void connections_leave_from_all_addresses_in_turn(void **state)
{
	assert_int_equal(apus_sim_world_close(pair.world), 0);
	sim_pair_open_as(&pair, 1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS},
			 (struct apus_sim_host_options){0},
			 (struct apus_sim_host_options){.more_addrs = ADDRESSES - 1});
	network_run(many_addresses_server, many_addresses_client);
}

/* --- Reading and writing ------------------------------------------------------------------- */

static int64_t echo_client(void *arg)
{
	struct apus_tcp *c;
	int64_t got = 0;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_write(c, "hello, ", 7), 7);
	sim_check_equal(apus_tcp_write(c, "world", 5), 5);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	while (got < 12) {
		int64_t n = apus_tcp_read(c, buf + got, 3); /* less than what is there */

		sim_check(n > 0 && n <= 3);
		got += n;
	}
	sim_check_equal(memcmp(buf, "hello, world", 12), 0);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 0);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 0); /* the end stays the end */
	apus_tcp_close(c);
	return 0;
}

static void bytes_come_back_and_then_the_end(void **state)
{
	network_run(echo_server, echo_client);
}

static int64_t writev_client(void *arg)
{
	struct iovec iov[] = {{"GET ", 4}, {"", 0}, {"/index", 6}, {".html", 5}};
	struct apus_tcp *c;
	uint64_t segments;
	int64_t got = 0;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(network_pause(100 * APUS_MS), 0);
	segments = apus_sim_host_counter(pair.client, "tcp", "segments_out");
	sim_check_equal(apus_tcp_writev(c, iov, apus_countof(iov), NULL), 15);
	sim_check_equal(apus_sleep(APUS_MS / 2), 0);
	sim_check_equal(apus_sim_host_counter(pair.client, "tcp", "segments_out"), segments + 1);
	while (got < 15) {
		int64_t n = apus_tcp_read(c, buf + got, sizeof(buf) - (size_t)got);

		sim_check(n > 0);
		got += n;
	}
	sim_check_equal(memcmp(buf, "GET /index.html", 15), 0);
	apus_tcp_close(c);
	return 0;
}

static void pieces_of_writev_go_in_one_segment(void **state)
{
	network_run(echo_server, writev_client);
}

static int64_t big_write(void *arg)
{
	return apus_tcp_write(shared, many, MANY_BYTES);
}

static int64_t big_client(void *arg)
{
	struct apus_task *t;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &shared), 0);
	t = apus_spawn(big_write, NULL);
	sim_check_equal(network_pause(5 * APUS_SEC), 0);
	sim_check(!apus_task_done(t)); /* nobody reads: it waits, in bounded memory */
	sim_check_equal(apus_tcp_write(shared, "x", 1), -EBUSY);
	sim_check_equal(apus_await(t), MANY_BYTES);
	apus_tcp_close(shared);
	return 0;
}

static void write_waits_for_room_and_a_second_writer_is_refused(void **state)
{
	network_run(lazy_server, big_client);
}

static int64_t read_shared(void *arg)
{
	return apus_tcp_read(shared, buf, sizeof(buf));
}

static int64_t busy_client(void *arg)
{
	struct apus_task *t;
	char byte;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &shared), 0);
	t = apus_spawn(read_shared, NULL);
	sim_check_equal(apus_yield(), 0);
	sim_check_equal(apus_tcp_read(shared, &byte, 1), -EBUSY);
	sim_check_equal(apus_tcp_write(shared, "abc", 3), 3); /* the other direction is free */
	sim_check_equal(apus_await(t), 3);
	apus_tcp_close(shared);
	return 0;
}

static void second_reader_is_refused_while_the_first_waits(void **state)
{
	network_run(echo_server, busy_client);
}

static int64_t shutdown_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_write(c, "abc", 3), 3);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_shutdown(c), -EPIPE);
	sim_check_equal(apus_tcp_write(c, "x", 1), -EPIPE);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 3);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 0);
	sim_check_equal(apus_tcp_write(c, "x", 1), -EPIPE);
	apus_tcp_close(c);
	return 0;
}

static void after_shutdown_writing_is_over_and_reading_is_not(void **state)
{
	network_run(echo_server, shutdown_client);
}

/* A second task waits in a read while the first gives the connection up. */
static int64_t close_under_reader_client(void *arg)
{
	struct apus_task *t;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &shared), 0);
	t = apus_spawn(read_shared, NULL);
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_tcp_close(shared);
	sim_check_equal(apus_await(t), -EPIPE);
	return 0;
}

static void close_ends_the_task_that_reads(void **state)
{
	network_run(echo_server, close_under_reader_client);
}

static int64_t abort_under_writer_client(void *arg)
{
	struct apus_task *t;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &shared), 0);
	t = apus_spawn(big_write, NULL);
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_tcp_abort(shared);
	rc = apus_await(t);
	sim_check(rc == -EPIPE || rc == -ECONNABORTED || rc == -ECONNRESET);
	return 0;
}

static void abort_ends_the_task_that_writes(void **state)
{
	network_run_until(lazy_server, -ECONNRESET, abort_under_writer_client);
}

static int64_t close_delivers_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_fill(many, 100000, 0, 5);
	sim_check_equal(apus_tcp_write(c, many, 100000), 100000);
	apus_tcp_close(c); /* at once: what is queued and the FIN still go */
	return 0;
}

static int64_t close_delivers_server(void *arg)
{
	struct apus_tcp *c;
	int64_t got = 0, n;

	sim_check_equal(accept_one(&c), 0);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		sim_check_equal(sim_differs(buf, (size_t)n, (uint64_t)got, 5), -1);
		got += n;
	}
	sim_check_equal(n, 0);
	sim_check_equal(got, 100000);
	apus_tcp_close(c);
	return 0;
}

static void close_does_not_wait_and_still_delivers(void **state)
{
	network_run(close_delivers_server, close_delivers_client);
}

static int64_t eof_server(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(apus_tcp_write(c, "bye", 3), 3);
	apus_tcp_close(c);
	return 0;
}

static int64_t eof_client(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = 0;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(network_pause(APUS_SEC), 0); /* the FIN is here long before the read */
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 3);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 0);
	/* The peer is gone, so what we write now is answered by a reset. */
	sim_check_equal(apus_tcp_write(c, "x", 1), 1);
	sim_check_equal(network_pause(APUS_SEC), 0);
	rc = apus_tcp_write(c, "x", 1);
	sim_check(rc == -ECONNRESET || rc == -EPIPE);
	apus_tcp_close(c);
	return 0;
}

static void bytes_before_the_end_are_read_before_the_end(void **state)
{
	network_run(eof_server, eof_client);
}

/* --- Limits and options -------------------------------------------------------------------- */

static int64_t timeout_client(void *arg)
{
	struct apus_timeout limit;
	struct apus_tcp *c;
	const int64_t limit_ns = network_span(3 * APUS_SEC);
	int64_t began_ns, passed_ns, rc;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	began_ns = apus_now();
	apus_timeout_begin(&limit, limit_ns);
	rc = apus_tcp_read(c, buf, sizeof(buf));
	rc = apus_timeout_end(&limit, rc);
	sim_check_equal(rc, -ETIMEDOUT);
	passed_ns = apus_now() - began_ns;
	sim_check(on_kernel ? passed_ns >= limit_ns : passed_ns == limit_ns);
	sim_check_equal(apus_tcp_write(c, "abc", 3), 3); /* as good as before */
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 3);
	apus_tcp_close(c);
	return 0;
}

static void time_limit_ends_a_read_and_harms_nothing(void **state)
{
	network_run(echo_server, timeout_client);
}

static int64_t options_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_NODELAY, 0), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_NODELAY, 1), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, 7200 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, 0), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, -1), -EINVAL);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_KEEPALIVE_PROBES, 0), -EINVAL);
	sim_check_equal(apus_tcp_set(c, (enum apus_tcp_option)999, 1), -EINVAL);
	apus_tcp_close(c);
	return 0;
}

static void options_are_checked(void **state)
{
	network_run(echo_server, options_client);
}

static int64_t linger_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_LINGER_NS, 0), 0);
	sim_check_equal(apus_tcp_write(c, "abc", 3), 3);
	sim_check_equal(apus_tcp_read(c, buf, sizeof(buf)), 3);
	apus_tcp_close(c);
	return 0;
}

static void close_with_linger_zero_resets(void **state)
{
	network_run_until(echo_server, -ECONNRESET, linger_client);
	if (!on_kernel)
		assert_int_equal(sim_pair_left(&pair), 0); /* and no TIME-WAIT */
}

/* Small writes one after the other: with Nagle they gather while the first is unacknowledged. */
static int64_t nagle_client(void *arg)
{
	const bool nodelay = *(const bool *)arg;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(network_server(SERVER_PORT), &c), 0);
	sim_check_equal(apus_tcp_set(c, APUS_TCP_NODELAY, nodelay), 0);
	for (int i = 0; i < 10; i++) {
		sim_check_equal(apus_tcp_write(c, "x", 1), 1);
		sim_check_equal(apus_sleep(100 * APUS_US), 0);
	}
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_tcp_abort(c);
	return 0;
}

static uint64_t segments_with(bool nodelay)
{
	uint64_t before = apus_sim_host_counter(pair.client, "tcp", "segments_out");
	struct apus_sim_task *c;

	apus_sim_spawn(pair.server, "server", lazy_server, NULL);
	c = apus_sim_spawn(pair.client, "client", nagle_client, &(bool){nodelay});
	assert_int_equal(apus_sim_run(pair.world, 60 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
	return apus_sim_host_counter(pair.client, "tcp", "segments_out") - before;
}

static void nodelay_sends_each_write_and_nagle_gathers(void **state)
{
	uint64_t alone = segments_with(true), gathered = segments_with(false);

	assert_in_range(alone, 1 + 10 + 1, 1 + 10 + 2); /* SYN, ten of which one may ACK, RST */
	assert_in_range(gathered, 1 + 2 + 1, 1 + 4 + 1);
}

/* --- Callers that are no tasks of a stack --------------------------------------------------- */

static void host_without_a_link_has_no_addresses(void **state)
{
	struct apus_tcp_listener *l;
	struct apus_sim_host *lonely;
	struct apus_shard *before;

	assert_int_equal(apus_sim_host_open(pair.world, "lonely",
					    &(struct apus_sim_host_options){.ip = "10.0.0.3/24"},
					    &lonely),
			 0);
	before = apus_shard_enter(apus_sim_host_shard(lonely));
	assert_int_equal(apus_tcp_listen(network_any(SERVER_PORT), 0, &l), -EADDRNOTAVAIL);
	apus_shard_enter(before);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest both[] = {
		NETWORK_TEST(port_listens_once_and_is_free_after_close),
		NETWORK_TEST(listener_close_ends_the_task_in_accept),
		NETWORK_TEST(connection_nobody_accepted_is_reset_with_the_listener),
		NETWORK_TEST(both_ends_know_both_names),
		NETWORK_TEST(bytes_come_back_and_then_the_end),
		NETWORK_TEST(write_waits_for_room_and_a_second_writer_is_refused),
		NETWORK_TEST(second_reader_is_refused_while_the_first_waits),
		NETWORK_TEST(after_shutdown_writing_is_over_and_reading_is_not),
		NETWORK_TEST(close_ends_the_task_that_reads),
		NETWORK_TEST(abort_ends_the_task_that_writes),
		NETWORK_TEST(close_does_not_wait_and_still_delivers),
		NETWORK_TEST(bytes_before_the_end_are_read_before_the_end),
		NETWORK_TEST(time_limit_ends_a_read_and_harms_nothing),
		NETWORK_TEST(options_are_checked),
		NETWORK_TEST(close_with_linger_zero_resets),
	};
	static const struct CMUnitTest own[] = {
		NETWORK_TEST(connections_leave_from_all_addresses_in_turn),
		NETWORK_TEST(pieces_of_writev_go_in_one_segment),
		NETWORK_TEST(nodelay_sends_each_write_and_nagle_gathers),
		NETWORK_TEST(host_without_a_link_has_no_addresses),
	};

	NETWORK_MAIN("net/socket tcp", argc, argv, both, own);
}
