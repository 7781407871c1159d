/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_many.c: thousands of connections: at once, and one after the other.
 */
#include "tests/net/sim/script.h"

#include "net/tcp/tcb.h"

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

	for (int i = 0; i < CROWD; i++) {
		tasks[i] = apus_spawn(overflow_client_one, NULL);
		sim_check_equal(apus_sleep(5 * APUS_MS),
				0); /* else all their SYNs collide for ever */
	}
	for (int i = 0; i < CROWD; i++)
		sim_check_equal(apus_await(tasks[i]), 0);
	return 0;
}

static void crowd_beyond_the_backlog_is_served_in_the_end(void **state)
{
	struct apus_sim_task *s = on_server(overflow_server);
	struct apus_sim_task *c = on_client(overflow_client);

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(thousand_connections_at_once_all_get_their_answer),
		TEST(crowd_beyond_the_backlog_is_served_in_the_end),
		TEST_FAST(ports_in_time_wait_do_not_run_out),
		TEST_FAST(newer_syn_takes_a_port_out_of_the_servers_time_wait),
		TEST(last_port_taken_is_an_error_and_not_a_hang),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim many", tests, NULL, NULL);
}
