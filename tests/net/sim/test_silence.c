/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_silence.c: windows that stay shut, peers that fall silent, pools that are empty.
 */
#include "tests/net/sim/script.h"

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
	/* It ends by timeout; that its neighbour was silent says more (RFC 1122 §2.4, §4.2.3.9). */
	assert_int_equal(apus_sim_task_result(c), -EHOSTUNREACH);
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

/* --- Memory that is out -------------------------------------------------------------------- */

#define ALLOCATIONS_MAX 1000

static int64_t sink_client(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = apus_tcp_connect(sim_server(), &c);

	if (rc < 0)
		return rc;
	rc = write_pattern(c, 100000, 1);
	apus_tcp_close(c);
	return rc < 0 ? rc : 0;
}

/* One transfer that may fail, in a world where @host's n-th allocation and all later ones fail. */
static bool starve_heap(struct apus_sim_host *host, int64_t n)
{
	struct apus_heap *heap = apus_shard_heap(apus_sim_host_shard(host));
	struct apus_sim_task *s, *c;
	bool failed;

	apus_heap_fail_after(heap, n);
	s = on_server(serve_sink);
	c = on_client(sink_client);
	for (int i = 0; i < 300 && !apus_sim_task_done(c); i++)
		assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	assert_true(apus_sim_task_done(c));
	assert_int_not_equal(apus_sim_task_result(c), -EBADMSG);
	assert_int_equal(apus_sim_advance(script.pair.world, CALM_NS), 0);
	if (apus_sim_host_connections(script.pair.server) == 0)
		apus_sim_task_cancel(s); /* nobody will come any more */
	run_for(2000 * APUS_SEC);
	assert_int_not_equal(apus_sim_task_result(s), -EBADMSG);
	failed = heap->fail_after == 0;
	apus_heap_fail_after(heap, -1);
	return failed;
}

/* For each n: whatever became of the transfer, nothing is broken and nothing leaks. */
static void each_allocation_may_fail(bool on_the_server)
{
	bool failed = true;

	for (int64_t n = 0; failed; n++) {
		assert_true(n < ALLOCATIONS_MAX);
		assert_int_equal(setup(NULL), 0);
		failed = starve_heap(on_the_server ? script.pair.server : script.pair.client, n);
		run_both(serve_sink, sink_client, 60 * APUS_SEC);
		assert_int_equal(script.bytes, 100000);
		if (failed)
			assert_int_equal(teardown(NULL), 0);
	}
}

static void each_allocation_of_the_client_may_fail(void **state)
{
	each_allocation_may_fail(false);
}

static void each_allocation_of_the_server_may_fail(void **state)
{
	each_allocation_may_fail(true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
		TEST_BARE(each_allocation_of_the_client_may_fail),
		TEST_BARE(each_allocation_of_the_server_may_fail),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim silence", tests, NULL, NULL);
}
