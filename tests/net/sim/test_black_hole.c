/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_black_hole.c: a path that swallows large packets and says nothing (RFC 2923
 * §2.1, RFC 4821 §7.7), from socket to socket.
 */
#include "tests/net/sim/script.h"

#include "net/stack_internal.h"

#define BYTES (1 << 20)

static void open_world(uint16_t hole_mtu)
{
	struct apus_sim_link_options link = {.wire.delay_ns = 10 * APUS_MS,
					     .wire.hole_mtu = hole_mtu};

	memset(&script, 0, sizeof(script));
	sim_pair_open(&script.pair, 1, &link);
}

static int64_t send_pattern(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	script.began_ns = apus_now();
	sim_check_equal(write_pattern(c, BYTES, 1), BYTES);
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_read(c, script.buf, 1), 0);
	script.ended_ns = apus_now();
	apus_tcp_close(c);
	return 0;
}

static void transfer(void)
{
	run_both(serve_sink, send_pattern, 300 * APUS_SEC);
	assert_int_equal(script.bytes, BYTES);
	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
}

static uint16_t path_mtu(void)
{
	struct apus_stack *stack = apus_sim_host_stack(script.pair.client);

	return apus_ipv4_path_mtu(&stack->ipv4, apus_sim_host_addr(script.pair.server),
				  apus_sim_now(script.pair.world));
}

/* The hole costs three timeouts to be found: 0.2 + 0.4 + 0.8 s; then a megabyte takes its time. */
static void bytes_get_through_a_hole_of_1300(void **state)
{
	open_world(1300);
	transfer();
	assert_in_range(took_ns(), APUS_SEC, 20 * APUS_SEC);
	assert_int_equal(client_counter("mtu_black_holes"), 1);
	/* From 1024 on the search has come near to it, at no other cost than its lost probes. */
	assert_in_range(path_mtu(), 1300 - APUS_PMTU_NEAR, 1300);
	assert_in_range(client_counter("mtu_probes_lost"), 1, 6);
	assert_int_equal(client_counter("fast_retransmits"), 0);
}

static void bytes_get_through_a_hole_of_600(void **state)
{
	open_world(600);
	transfer();
	assert_in_range(took_ns(), APUS_SEC, 40 * APUS_SEC);
	assert_int_equal(client_counter("mtu_black_holes"), 2);
}

/* What one connection has found out the next one knows; and after ten minutes it tries again. */
static void next_connection_does_not_fall_into_it(void **state)
{
	int64_t first_ns;

	open_world(1300);
	transfer();
	first_ns = took_ns();
	transfer();
	assert_true(took_ns() < first_ns - APUS_SEC / 2);
	assert_int_equal(client_counter("mtu_black_holes"), 1);
	assert_int_equal(apus_sim_advance(script.pair.world, 601 * APUS_SEC), 0);
	transfer();
	assert_int_equal(client_counter("mtu_black_holes"), 2);
}

/* Probes are lost beside others: what that says of sizes is nothing, and all bytes come. */
static void search_goes_on_where_others_are_lost_too(void **state)
{
	open_world(1300);
	assert_int_equal(apus_sim_host_impair(script.pair.client,
					      &(struct apus_impair_options){
						      .loss_ppm = 10000,
						      .reorder_ppm = 20000,
						      .reorder_ns = 2 * APUS_MS,
					      }),
			 0);
	for (int i = 0; i < 5; i++)
		transfer();
	assert_in_range(path_mtu(), 1200, 1300);
	assert_int_equal(client_counter("mtu_black_holes"), 1);
}

static void path_without_a_hole_is_never_taken_for_one(void **state)
{
	open_world(0);
	transfer();
	assert_int_equal(client_counter("mtu_black_holes"), 0);
	assert_int_equal(client_counter("mss_lowered"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BARE(bytes_get_through_a_hole_of_1300),
		TEST_BARE(bytes_get_through_a_hole_of_600),
		TEST_BARE(next_connection_does_not_fall_into_it),
		TEST_BARE(search_goes_on_where_others_are_lost_too),
		TEST_BARE(path_without_a_hole_is_never_taken_for_one),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim black hole", tests, NULL, NULL);
}
