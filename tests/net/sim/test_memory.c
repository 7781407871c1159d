/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_memory.c: many connections on few mbufs: the pool is shared, never used up by
 * those who do not read, and whoever waited for it goes on.
 */
#include "tests/net/sim/sim_test.h"

#include "net/stack_internal.h"
#include "net/tcp/tcb.h"

#include <stdlib.h>

#define MBUFS     1023
#define MANY      60
#define EACH      100000
#define FAST_PORT 81
#define FAST_MORE 1000000
#define LIMIT_NS  (3600 * APUS_SEC)

static struct sim_pair pair;
static bool readers_sleep;
static uint32_t free_least, done;
static int64_t fast_took_ns;

static void open_world(const struct apus_impair_options *impair)
{
	struct apus_sim_link_options link = {.wire.delay_ns = APUS_MS};

	if (impair)
		link.impair = *impair;
	readers_sleep = false;
	done = 0;
	fast_took_ns = 0;
	free_least = UINT32_MAX;
	sim_pair_open_with(&pair, 1, &link, MBUFS, false);
}

static int setup(void **state)
{
	open_world(NULL);
	return 0;
}

static int setup_lossy(void **state)
{
	open_world(&(struct apus_impair_options){.loss_ppm = 20000});
	return 0;
}

static int teardown(void **state)
{
	int rc = apus_sim_advance(pair.world, 300 * APUS_SEC);
	size_t left = sim_pair_left(&pair);

	return apus_sim_world_close(pair.world) < 0 || rc < 0 || left ? -1 : 0;
}

static uint64_t counter(const struct apus_sim_host *h, const char *name)
{
	return apus_sim_host_counter(h, "tcp", name);
}

/* ---- tasks ---- */

static int64_t read_one(void *arg)
{
	struct apus_tcp *c = arg;
	uint64_t got = 0;
	uint8_t *buf;
	int64_t n;

	while (readers_sleep)
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	buf = malloc(8192);
	apus_must(buf);
	while ((n = apus_tcp_read(c, buf, 8192)) > 0) {
		if (sim_differs(buf, (size_t)n, got, 1) >= 0)
			n = -EBADMSG;
		if (n < 0)
			break;
		got += (uint64_t)n;
	}
	free(buf);
	apus_tcp_close(c);
	sim_check_equal(n, 0);
	sim_check_equal(got, EACH);
	done++;
	return 0;
}

static int64_t slow_server(void *arg)
{
	struct apus_task *readers[MANY];
	struct apus_tcp_listener *l;
	int64_t rc = 0;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), MANY, &l), 0);
	for (int i = 0; i < MANY; i++) {
		struct apus_tcp *c;

		sim_check_equal(apus_tcp_accept(l, &c), 0);
		readers[i] = apus_spawn(read_one, c);
	}
	apus_tcp_listener_close(l);
	for (int i = 0; i < MANY; i++) {
		int64_t one = apus_await(readers[i]);

		rc = rc ? rc : one;
	}
	return rc;
}

static int64_t write_one(void *arg)
{
	struct apus_tcp *c;
	uint8_t *bytes = malloc(EACH);
	int64_t rc;

	apus_must(bytes);
	sim_fill(bytes, EACH, 0, 1);
	rc = apus_tcp_connect(sim_server(), &c);
	if (!rc) {
		rc = apus_tcp_write(c, bytes, EACH);
		apus_tcp_close(c);
	}
	free(bytes);
	sim_check_equal(rc, EACH);
	return 0;
}

static int64_t many_client(void *arg)
{
	struct apus_task *writers[MANY];
	int64_t rc = 0;

	for (int i = 0; i < MANY; i++)
		writers[i] = apus_spawn(write_one, NULL);
	for (int i = 0; i < MANY; i++) {
		int64_t one = apus_await(writers[i]);

		rc = rc ? rc : one;
	}
	return rc;
}

static int64_t fast_server(void *arg)
{
	struct apus_tcp_listener *l;
	static uint8_t buf[65536];
	struct apus_tcp *c;
	uint64_t got = 0;
	int64_t n;

	sim_check_equal(apus_tcp_listen(sim_any(FAST_PORT), 1, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	apus_tcp_listener_close(l);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		got += (uint64_t)n;
	apus_tcp_close(c);
	sim_check_equal(n, 0);
	sim_check_equal(got, FAST_MORE);
	return 0;
}

static int64_t fast_client(void *arg)
{
	static uint8_t bytes[FAST_MORE];
	struct apus_endpoint to = sim_endpoint(SERVER_IP, FAST_PORT);
	int64_t begin_ns;
	struct apus_tcp *c;

	sim_check_equal(apus_sleep(20 * APUS_SEC), 0); /* the others have filled what they may */
	begin_ns = apus_now();
	sim_check_equal(apus_tcp_connect(to, &c), 0);
	sim_check_equal(apus_tcp_write(c, bytes, FAST_MORE), FAST_MORE);
	apus_tcp_close(c);
	fast_took_ns = apus_now() - begin_ns;
	readers_sleep = false;
	return 0;
}

static void watch_pool(struct apus_sim_task *const *tasks, size_t n)
{
	bool all = false;

	for (int64_t ns = 0; !all && ns < LIMIT_NS; ns += 10 * APUS_MS) {
		assert_int_equal(apus_sim_advance(pair.world, 10 * APUS_MS), 0);
		free_least = apus_min(free_least, apus_sim_host_mbufs_free(pair.server));
		all = true;
		for (size_t i = 0; i < n; i++)
			all &= apus_sim_task_done(tasks[i]);
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
}

/* ---- tests ---- */

static void many_writers_on_few_mbufs_all_finish(void **state)
{
	struct apus_sim_task *tasks[] = {
		apus_sim_spawn(pair.server, "server", slow_server, NULL),
		apus_sim_spawn(pair.client, "client", many_client, NULL),
	};

	watch_pool(tasks, 2);
	assert_int_equal(done, MANY);
	/* 60 queues of up to 256 KiB want seven times what there is. */
	assert_true(counter(pair.client, "memory_pressures") > 0);
}

/* 6 MB are offered to readers who sleep; the pool has 2 MB. */
static void those_who_do_not_read_leave_room_for_one_who_does(void **state)
{
	struct apus_sim_task *tasks[] = {
		apus_sim_spawn(pair.server, "slow server", slow_server, NULL),
		apus_sim_spawn(pair.client, "slow client", many_client, NULL),
		apus_sim_spawn(pair.server, "fast server", fast_server, NULL),
		apus_sim_spawn(pair.client, "fast client", fast_client, NULL),
	};

	readers_sleep = true;
	watch_pool(tasks, 4);
	assert_int_equal(done, MANY);
	assert_true(counter(pair.server, "memory_pressures") > 0);
	assert_in_range(fast_took_ns, 1, 30 * APUS_SEC);
	assert_in_range(free_least, 1, MBUFS); /* there always was one to answer with */
}

static void loss_and_pressure_give_up_text_out_of_order(void **state)
{
	struct apus_sim_task *tasks[] = {
		apus_sim_spawn(pair.server, "server", slow_server, NULL),
		apus_sim_spawn(pair.client, "client", many_client, NULL),
	};

	readers_sleep = true;
	assert_int_equal(apus_sim_advance(pair.world, 30 * APUS_SEC), 0);
	assert_int_equal(apus_tcp_memory_held(&apus_sim_host_stack(pair.server)->tcp).ooo_bytes, 0);
	readers_sleep = false;
	watch_pool(tasks, 2);
	assert_int_equal(done, MANY);
	assert_true(counter(pair.server, "ooo_pruned") + counter(pair.server, "drop_rcv_pruned") >
		    0);
}

/* An empty pool for ten seconds: nothing can be said or heard; then all goes on by itself. */
static void empty_pool_recovers_and_wakes_the_writers(void **state)
{
	struct apus_sim_task *tasks[] = {
		apus_sim_spawn(pair.server, "server", slow_server, NULL),
		apus_sim_spawn(pair.client, "client", many_client, NULL),
	};

	assert_int_equal(apus_sim_advance(pair.world, 20 * APUS_MS), 0);
	assert_true(done < MANY);
	assert_int_equal(apus_sim_host_starve(pair.client, 0), 0);
	assert_int_equal(apus_sim_advance(pair.world, 10 * APUS_SEC), 0);
	assert_true(done < MANY);
	assert_int_equal(apus_sim_host_starve(pair.client, UINT32_MAX), 0);
	watch_pool(tasks, 2);
	assert_int_equal(done, MANY);
}

/* ---- one whose queue has grown ---- */

static struct apus_tcp *grown;
static uint64_t sunk;

static int64_t sink(void *arg)
{
	struct apus_tcp_listener *l;
	static uint8_t buf[65536];
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 1, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	apus_tcp_listener_close(l);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		sunk += (uint64_t)n;
	apus_tcp_close(c);
	return 0;
}

static int64_t write_on(void *arg)
{
	static uint8_t bytes[65536];
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &grown), 0);
	while ((rc = apus_tcp_write(grown, bytes, sizeof(bytes))) > 0)
		;
	apus_tcp_abort(grown);
	grown = NULL;
	sim_check_equal(rc, -ECANCELED);
	return 0;
}

/* A long fat path, on which a megabyte and more is in flight. */
static int setup_long(void **state)
{
	struct apus_sim_link_options link = {
		.wire = {.delay_ns = 40 * APUS_MS, .rate_bps = 400000000, .queue_frames = 8192}};

	sunk = 0;
	sim_pair_open_with(&pair, 1, &link, 4 * 4096 - 1, false);
	return 0;
}

static uint32_t most_queued(int64_t span_ns)
{
	uint32_t most = 0;

	for (int64_t ns = 0; ns < span_ns; ns += APUS_MS) {
		assert_int_equal(apus_sim_advance(pair.world, APUS_MS), 0);
		most = apus_max(most, grown->sndq.bytes);
		apus_tcp_check(grown);
	}
	return most;
}

/* The limit stays where it grew to; what is queued does not come near it while memory is short. */
static void send_queue_that_grew_shrinks_under_pressure_and_grows_again(void **state)
{
	static const uint32_t levels[] = {3000, 1500, 200}; /* pressed, critical, reserve */
	struct apus_sim_task *writer;
	uint64_t before;
	uint32_t most;

	apus_sim_spawn(pair.server, "sink", sink, NULL);
	writer = apus_sim_spawn(pair.client, "write", write_on, NULL);
	assert_int_equal(apus_sim_advance(pair.world, 3 * APUS_SEC), 0);
	assert_true(most_queued(200 * APUS_MS) > 1000000);
	for (size_t i = 0; i < apus_countof(levels); i++) {
		assert_int_equal(apus_sim_host_starve(pair.client, levels[i]), 0);
		most_queued(2 * APUS_SEC); /* what is queued is sent and acknowledged */
		before = sunk;
		most = most_queued(2 * APUS_SEC);
		assert_in_range(most, 0, APUS_TCP_MEMORY_SHARE);
		if (levels[i] > 200) /* slower, but on */
			assert_true(sunk - before > 10 * APUS_TCP_MEMORY_SHARE);
		assert_true(apus_sim_host_mbufs_free(pair.client) > levels[i] / 2);
	}
	assert_int_equal(apus_sim_host_starve(pair.client, UINT32_MAX), 0);
	most_queued(3 * APUS_SEC);
	assert_true(most_queued(200 * APUS_MS) > 1000000);
	assert_true(apus_sim_task_cancel(writer));
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_writers_on_few_mbufs_all_finish, setup),
		TEST(those_who_do_not_read_leave_room_for_one_who_does, setup),
		TEST(loss_and_pressure_give_up_text_out_of_order, setup_lossy),
		TEST(empty_pool_recovers_and_wakes_the_writers, setup),
		TEST(send_queue_that_grew_shrinks_under_pressure_and_grows_again, setup_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
