/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_world.c: the world itself: its clock, its reports, its faults, its accounts.
 */
#include "tests/net/sim/sim_test.h"

#include "runtime/sync/event.h"

#include <unistd.h>

#define PORT 7

static struct sim_pair pair;
static struct apus_event never;
static int64_t woke_at_ns;
static void *leaked;

static int setup(void **state)
{
	apus_event_init(&never);
	woke_at_ns = 0;
	sim_pair_open(&pair, 1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	return 0;
}

static int teardown(void **state)
{
	return pair.world ? apus_sim_world_close(pair.world) : 0;
}

static int64_t udp_echo(void *arg)
{
	struct apus_udp *u;
	struct apus_endpoint from;
	char buf[100];
	int64_t n;

	sim_check_equal(apus_udp_open(sim_any(PORT), NULL, &u), 0);
	while ((n = apus_udp_recv(u, buf, sizeof(buf), &from)) >= 0)
		sim_check_equal(apus_udp_send(u, buf, (size_t)n, &from), n);
	apus_udp_close(u);
	return n;
}

/* What is written to stderr meanwhile. */
struct capture {
	int stderr_fd; /* where it belongs */
	FILE *file;
	char text[2048];
};

static void capture_begin(struct capture *c)
{
	fflush(stderr);
	c->stderr_fd = dup(STDERR_FILENO);
	c->file = tmpfile();
	assert_non_null(c->file);
	assert_true(c->stderr_fd >= 0 && dup2(fileno(c->file), STDERR_FILENO) >= 0);
}

static void capture_end(struct capture *c)
{
	size_t bytes;

	fflush(stderr);
	dup2(c->stderr_fd, STDERR_FILENO);
	close(c->stderr_fd);
	rewind(c->file);
	bytes = fread(c->text, 1, sizeof(c->text) - 1, c->file);
	c->text[bytes] = '\0';
	fclose(c->file);
}

/* --- Time ---------------------------------------------------------------------------------- */

static int64_t sleep_an_hour(void *arg)
{
	int rc = apus_sleep(3600 * APUS_SEC);

	woke_at_ns = apus_now();
	return rc;
}

static void clock_jumps_over_what_nobody_needs(void **state)
{
	int64_t began_ns = apus_sim_now(pair.world);
	struct apus_sim_task *t = apus_sim_spawn(pair.client, "sleeper", sleep_an_hour, NULL);

	assert_false(apus_sim_task_done(t));
	assert_int_equal(apus_sim_task_result(t), -EINPROGRESS);
	assert_int_equal(apus_sim_run(pair.world, 7200 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(t), 0);
	assert_int_equal(woke_at_ns, began_ns + 3600 * APUS_SEC);
	assert_int_equal(apus_sim_now(pair.world), woke_at_ns);
	assert_in_range(apus_sim_host_counter(pair.client, "shard", "turns"), 1, 100);
}

static void run_stops_at_its_limit_and_goes_on_later(void **state)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.client, "sleeper", sleep_an_hour, NULL);
	struct capture c;

	capture_begin(&c);
	assert_int_equal(apus_sim_run(pair.world, APUS_SEC), -ETIMEDOUT);
	capture_end(&c);
	assert_non_null(strstr(c.text, "sleeper: waits for sleep"));
	assert_false(apus_sim_task_done(t));
	assert_int_equal(apus_sim_run(pair.world, 3600 * APUS_SEC), 0);
	assert_true(apus_sim_task_done(t));
}

static void advance_lets_exactly_so_much_time_go_by(void **state)
{
	int64_t began_ns = apus_sim_now(pair.world);

	assert_int_equal(apus_sim_advance(pair.world, 12345), 0);
	assert_int_equal(apus_sim_now(pair.world), began_ns + 12345);
	assert_int_equal(apus_sim_advance(pair.world, 0), 0);
	assert_int_equal(apus_sim_now(pair.world), began_ns + 12345);
}

static void foreign_loop_drives_it_by_step_and_jump(void **state)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.client, "sleeper", sleep_an_hour, NULL);
	int64_t next_ns = 0;

	for (int i = 0; i < 1000 && !apus_sim_task_done(t); i++) {
		next_ns = apus_sim_step(pair.world);
		assert_true(next_ns > apus_sim_now(pair.world));
		if (next_ns != APUS_NEVER)
			apus_sim_jump(pair.world, next_ns);
	}
	assert_true(apus_sim_task_done(t));
}

/* --- Worlds that get stuck ----------------------------------------------------------------- */

static int64_t wait_for_ever(void *arg)
{
	return apus_event_wait(&never);
}

static void nothing_left_to_happen_is_a_deadlock(void **state)
{
	struct capture c;
	int rc;

	apus_sim_spawn(pair.client, "waits for ever", wait_for_ever, NULL);
	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	capture_begin(&c);
	rc = apus_sim_run(pair.world, INT64_C(1) << 60);
	capture_end(&c);
	assert_int_equal(rc, -EDEADLK);
	assert_non_null(strstr(c.text, "seed 1,"));
	assert_non_null(strstr(c.text, "host client"));
	assert_non_null(strstr(c.text, "waits for ever: waits for event"));
	assert_non_null(strstr(c.text, "host server"));
	assert_non_null(strstr(c.text, "echo: waits for udp recv"));
}

static int64_t yield_for_ever(void *arg)
{
	int rc;

	do {
		rc = apus_yield();
	} while (rc == 0);
	return rc;
}

static void no_rest_at_one_instant_is_a_livelock(void **state)
{
	struct apus_sim_world_options options = {
		.pool = sim_pool(), .turns_max = 1000, .quiet = true};
	struct apus_sim_world *world;
	struct apus_sim_host *host;
	struct apus_sim_task *t;

	assert_int_equal(apus_sim_world_open(1, &options, &world), 0);
	assert_int_equal(apus_sim_host_open(world, "busy",
					    &(struct apus_sim_host_options){.ip = "10.0.0.1/24"},
					    &host),
			 0);
	t = apus_sim_spawn(host, "yields", yield_for_ever, NULL);
	assert_int_equal(apus_sim_run(world, APUS_SEC), -ELOOP);
	assert_true(apus_sim_task_cancel(t));
	assert_int_equal(apus_sim_run(world, APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(t), -ECANCELED);
	assert_int_equal(apus_sim_world_close(world), 0);
}

static void task_cancelled_before_it_began_ends_the_run(void **state)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.client, "never begins", wait_for_ever, NULL);

	assert_true(apus_sim_task_cancel(t));
	assert_int_equal(apus_sim_run(pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(t), -ECANCELED);
	assert_false(apus_sim_task_cancel(t));
}

static void close_ends_the_tasks_that_wait(void **state)
{
	struct apus_sim_world *world = pair.world;

	apus_sim_spawn(pair.client, "waits for ever", wait_for_ever, NULL);
	apus_sim_spawn(pair.server, "sleeper", sleep_an_hour, NULL);
	assert_int_equal(apus_sim_advance(world, APUS_SEC), 0);
	pair.world = NULL;
	assert_int_equal(apus_sim_world_close(world), 0);
}

/* --- Accounts ------------------------------------------------------------------------------ */

static int64_t leak_mbuf(void *arg)
{
	leaked = rte_pktmbuf_alloc(sim_pool());
	return leaked ? 0 : -ENOMEM;
}

static void lost_mbuf_is_found_at_close(void **state)
{
	struct apus_sim_world *world = pair.world;
	struct capture c;

	apus_sim_spawn(pair.client, "leaks", leak_mbuf, NULL);
	assert_int_equal(apus_sim_run(world, APUS_SEC), 0);
	pair.world = NULL;
	capture_begin(&c);
	assert_int_equal(apus_sim_world_close(world), -EUCLEAN);
	capture_end(&c);
	assert_non_null(strstr(c.text, "1 mbufs of 65535 leaked"));
	rte_pktmbuf_free(leaked);
}

static int64_t leak_object(void *arg)
{
	leaked = apus_heap_alloc(apus_shard_heap(apus_shard_self()), 100);
	return leaked ? 0 : -ENOMEM;
}

static void lost_object_is_found_at_close(void **state)
{
	struct apus_sim_world *world = pair.world;
	struct capture c;

	apus_sim_spawn(pair.client, "leaks", leak_object, NULL);
	assert_int_equal(apus_sim_run(world, APUS_SEC), 0);
	pair.world = NULL;
	capture_begin(&c);
	assert_int_equal(apus_sim_world_close(world), -EUCLEAN);
	capture_end(&c);
	assert_non_null(strstr(c.text, "host client: 1 objects of its heap leaked"));
	if (APUS_ASAN)
		free(leaked); /* else it went with its heap */
}

/* --- Hosts and faults ---------------------------------------------------------------------- */

/* Asks `*(int *)arg` times, and waits for each answer at most 100 ms. Return: answers. */
static int64_t udp_ask(void *arg)
{
	struct apus_endpoint server = sim_endpoint(SERVER_IP, PORT);
	struct apus_udp *u;
	char buf[100] = "ask";
	int64_t answers = 0;

	sim_check_equal(apus_udp_open(sim_any(0), &server, &u), 0);
	for (int i = 0; i < *(const int *)arg; i++) {
		struct apus_timeout limit;
		int64_t rc = apus_udp_send(u, buf, sizeof(buf), NULL);

		apus_timeout_begin(&limit, 100 * APUS_MS);
		if (rc >= 0)
			rc = apus_udp_recv(u, buf, sizeof(buf), NULL);
		rc = apus_timeout_end(&limit, rc);
		answers += rc == sizeof(buf);
	}
	apus_udp_close(u);
	woke_at_ns = apus_now();
	return answers;
}

static int64_t ask(int times)
{
	struct apus_sim_task *t = apus_sim_spawn(pair.client, "asks", udp_ask, &times);

	for (int i = 0; i < 1000 && !apus_sim_task_done(t); i++)
		assert_int_equal(apus_sim_advance(pair.world, APUS_SEC), 0);
	return apus_sim_task_result(t);
}

static void wire_takes_its_delay_and_nothing_else_takes_time(void **state)
{
	int64_t began_ns;

	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	assert_int_equal(ask(1), 1); /* and ARP */
	began_ns = apus_sim_now(pair.world);
	assert_int_equal(ask(10), 10);
	assert_int_equal(woke_at_ns - began_ns, 10 * 2 * APUS_MS);
}

static void unplugged_host_answers_again_when_plugged(void **state)
{
	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	assert_int_equal(ask(2), 2);
	apus_sim_host_unplug(pair.server);
	assert_int_equal(ask(2), 0);
	apus_sim_host_plug(pair.server);
	assert_int_equal(ask(2), 2);
}

static void killed_host_never_answers_and_its_tasks_do_not_count(void **state)
{
	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	assert_int_equal(ask(2), 2);
	apus_sim_host_kill(pair.server);
	assert_int_equal(apus_sim_run(pair.world, APUS_SEC), 0);
	assert_int_equal(ask(2), 0);
	apus_sim_host_plug(pair.server); /* does not bring the dead back */
	assert_int_equal(ask(2), 0);
}

static void paused_host_answers_late(void **state)
{
	int times = 1;
	struct apus_sim_task *t;

	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	assert_int_equal(ask(1), 1);
	apus_sim_host_pause(pair.server);
	t = apus_sim_spawn(pair.client, "asks", udp_ask, &times);
	assert_int_equal(apus_sim_advance(pair.world, 50 * APUS_MS), 0);
	assert_false(apus_sim_task_done(t));
	apus_sim_host_resume(pair.server);
	assert_int_equal(apus_sim_advance(pair.world, 2 * APUS_MS), 0);
	assert_int_equal(apus_sim_task_result(t), 1);
}

static void impairment_of_one_direction_leaves_the_other_alone(void **state)
{
	static const struct apus_impair_options deaf = {.loss_ppm = 1000000};

	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	assert_int_equal(ask(1), 1);
	assert_int_equal(apus_sim_host_impair(pair.server, &deaf), 0);
	assert_int_equal(ask(5), 0);
	assert_true(apus_sim_host_counter(pair.server, "impair", "tx_lost") >= 5); /* and ARP */
	assert_int_equal(apus_sim_host_counter(pair.client, "impair", "tx_lost"), 0);
	assert_int_equal(apus_sim_host_impair(pair.server, NULL), 0);
	assert_int_equal(ask(5), 5);
}

static void shared_pool_cannot_be_starved(void **state)
{
	assert_int_equal(apus_sim_host_starve(pair.client, 0), -EINVAL);
}

static void bad_addresses_and_second_links_are_refused(void **state)
{
	static const struct apus_sim_host_options wrong[] = {
		{0},
		{.ip = "10.0.0"},
		{.ip = "10.0.0.1/33"},
		{.ip = "10.0.0.1/24", .gateway = "nowhere"},
	};
	struct apus_sim_host *host = NULL;

	for (size_t i = 0; i < apus_countof(wrong); i++)
		assert_int_equal(apus_sim_host_open(pair.world, "wrong", &wrong[i], &host),
				 -EINVAL);
	assert_null(host);
	assert_int_equal(apus_sim_link(pair.world, pair.server, pair.client, NULL), -EALREADY);
}

/* --- Seeds --------------------------------------------------------------------------------- */

static uint64_t digest_of(uint64_t seed)
{
	static const struct apus_sim_link_options link = {
		.impair = {.loss_ppm = 200000, .jitter_ns = APUS_MS, .delay_ns = APUS_MS}};
	uint64_t digest;

	assert_int_equal(teardown(NULL), 0);
	sim_pair_open(&pair, seed, &link);
	apus_sim_spawn(pair.server, "echo", udp_echo, NULL);
	(void)ask(100);
	digest = apus_sim_digest(pair.world);
	return digest;
}

static void same_seed_is_the_same_run_and_another_is_another(void **state)
{
	uint64_t first = digest_of(42);

	assert_true(digest_of(42) == first);
	assert_true(digest_of(43) != first);
	assert_int_equal(apus_sim_seed(pair.world), 43);
}

/* --- A switch ------------------------------------------------------------------------------ */

#define HOSTS 5

static int64_t switch_ask(void *arg)
{
	const struct apus_endpoint *to = arg;
	struct apus_udp *u;
	char buf[8] = "ask";

	sim_check_equal(apus_udp_open(sim_any(0), to, &u), 0);
	sim_check_equal(apus_udp_send(u, buf, sizeof(buf), NULL), sizeof(buf));
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), NULL), sizeof(buf));
	apus_udp_close(u);
	return 0;
}

static void each_host_of_a_switch_reaches_each_other(void **state)
{
	static struct apus_endpoint to[HOSTS];
	struct apus_sim_world_options options = {.pool = sim_pool()};
	struct apus_sim_host *hosts[HOSTS];
	struct apus_sim_task *tasks[HOSTS][HOSTS];
	struct apus_sim_world *world;

	assert_int_equal(apus_sim_world_open(7, &options, &world), 0);
	for (int i = 0; i < HOSTS; i++) {
		char ip[20];

		snprintf(ip, sizeof(ip), "10.1.0.%d/24", i + 1);
		assert_int_equal(apus_sim_host_open(world, ip,
						    &(struct apus_sim_host_options){.ip = ip},
						    &hosts[i]),
				 0);
		to[i] = (struct apus_endpoint){apus_sim_host_addr(hosts[i]), PORT};
	}
	assert_int_equal(apus_sim_switch(world, hosts, HOSTS, NULL), 0);
	for (int i = 0; i < HOSTS; i++)
		apus_sim_spawn(hosts[i], "echo", udp_echo, NULL);
	for (int i = 0; i < HOSTS; i++)
		for (int j = 0; j < HOSTS; j++)
			tasks[i][j] = i == j ? NULL
					     : apus_sim_spawn(hosts[i], "asks", switch_ask, &to[j]);
	assert_int_equal(apus_sim_advance(world, 10 * APUS_SEC), 0);
	for (int i = 0; i < HOSTS; i++)
		for (int j = 0; j < HOSTS; j++)
			if (i != j)
				assert_int_equal(apus_sim_task_result(tasks[i][j]), 0);
	assert_int_equal(apus_sim_world_close(world), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(clock_jumps_over_what_nobody_needs),
		TEST(run_stops_at_its_limit_and_goes_on_later),
		TEST(advance_lets_exactly_so_much_time_go_by),
		TEST(foreign_loop_drives_it_by_step_and_jump),
		TEST(nothing_left_to_happen_is_a_deadlock),
		TEST(no_rest_at_one_instant_is_a_livelock),
		TEST(task_cancelled_before_it_began_ends_the_run),
		TEST(close_ends_the_tasks_that_wait),
		TEST(lost_mbuf_is_found_at_close),
		TEST(lost_object_is_found_at_close),
		TEST(wire_takes_its_delay_and_nothing_else_takes_time),
		TEST(unplugged_host_answers_again_when_plugged),
		TEST(killed_host_never_answers_and_its_tasks_do_not_count),
		TEST(paused_host_answers_late),
		TEST(impairment_of_one_direction_leaves_the_other_alone),
		TEST(shared_pool_cannot_be_starved),
		TEST(bad_addresses_and_second_links_are_refused),
		TEST(same_seed_is_the_same_run_and_another_is_another),
		TEST(each_host_of_a_switch_reaches_each_other),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim world", tests, NULL, NULL);
}
