/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_marks.c: two hosts and a queue that marks before it drops (RFC 3168): where both
 * ask for ECN the sender slows down without a loss, and where one does not nothing is marked.
 */
#include "tests/net/sim/sim_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BYTES (4U << 20)

struct run {
	struct apus_sim_world *world;
	struct apus_sim_host *server, *client;
	uint64_t got;
};

static int64_t serve(void *arg)
{
	static uint8_t buf[65536];
	struct run *r = arg;
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	int64_t n;

	apus_must(apus_tcp_listen(sim_any(SERVER_PORT), 1, &l) == 0);
	apus_must(apus_tcp_accept(l, &c) == 0);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		r->got += (uint64_t)n;
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return n;
}

static int64_t fetch(void *arg)
{
	static uint8_t buf[65536];
	struct apus_tcp *c;

	if (apus_tcp_connect(sim_server(), &c))
		return -ECONNREFUSED;
	for (uint32_t sent = 0; sent < BYTES; sent += sizeof(buf))
		apus_must(apus_tcp_write(c, buf, sizeof(buf)) == sizeof(buf));
	apus_tcp_close(c);
	return 0;
}

/* All bytes from the client to the server, over 50 Mb/s, 10 ms each way, and a queue of 400 kB. */
static void run_with(struct run *r, enum apus_tcp_ecn client, enum apus_tcp_ecn server)
{
	const struct apus_sim_link_options link = {.wire = {.delay_ns = 10 * APUS_MS,
							    .rate_bps = 50000000,
							    .queue_bytes = 400000,
							    .mark_bytes = 50000}};
	struct apus_sim_world_options options;

	apus_test_eal();
	options = (struct apus_sim_world_options){.pool = sim_pool()};
	*r = (struct run){0};
	assert_int_equal(apus_sim_world_open(1, &options, &r->world), 0);
	assert_int_equal(apus_sim_host_open(r->world, "server",
					    &(struct apus_sim_host_options){.ip = SERVER_IP "/24",
									    .tcp = {.ecn = server}},
					    &r->server),
			 0);
	assert_int_equal(apus_sim_host_open(r->world, "client",
					    &(struct apus_sim_host_options){.ip = CLIENT_IP "/24",
									    .tcp = {.ecn = client}},
					    &r->client),
			 0);
	assert_int_equal(apus_sim_link(r->world, r->server, r->client, &link), 0);
	(void)apus_sim_spawn(r->server, "serve", serve, r);
	(void)apus_sim_spawn(r->client, "fetch", fetch, r);
	assert_int_equal(apus_sim_run(r->world, 60 * APUS_SEC), 0);
	assert_int_equal(r->got, BYTES);
}

static uint64_t of_tcp(const struct apus_sim_host *host, const char *name)
{
	return apus_sim_host_counter(host, "tcp", name);
}

static void marks_slow_the_sender_without_a_loss(void **state)
{
	struct run r;

	run_with(&r, APUS_TCP_ECN_ASK, APUS_TCP_ECN_ACCEPT);
	assert_true(of_tcp(r.server, "ecn_ce") > 0);
	assert_true(of_tcp(r.client, "ecn_reductions") > 0);
	assert_int_equal(of_tcp(r.client, "retransmits"), 0);
	assert_int_equal(apus_sim_world_close(r.world), 0);
}

static void nothing_is_marked_unless_both_want_it(void **state)
{
	static const enum apus_tcp_ecn pairs[][2] = {{APUS_TCP_ECN_ACCEPT, APUS_TCP_ECN_ACCEPT},
						     {APUS_TCP_ECN_ASK, APUS_TCP_ECN_NEVER},
						     {APUS_TCP_ECN_NEVER, APUS_TCP_ECN_ASK}};

	for (size_t i = 0; i < apus_countof(pairs); i++) {
		struct run r;

		run_with(&r, pairs[i][0], pairs[i][1]);
		assert_int_equal(of_tcp(r.server, "ecn_ce"), 0);
		assert_int_equal(of_tcp(r.client, "ecn_reductions"), 0);
		assert_int_equal(apus_sim_world_close(r.world), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_slow_the_sender_without_a_loss),
		cmocka_unit_test(nothing_is_marked_unless_both_want_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
