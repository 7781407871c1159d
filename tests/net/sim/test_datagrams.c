/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_datagrams.c: datagrams over a bad wire, and neighbours that are forgotten.
 */
#include "tests/net/sim/script.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(udp_questions_are_all_answered_over_a_lossy_wire),
		TEST(neighbour_is_found_again_after_its_entry_expired),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim datagrams", tests, NULL, NULL);
}
