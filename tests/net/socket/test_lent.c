/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_lent.c: bytes that are sent from where they lie, and read where they came:
 * they arrive, and whoever lent or borrowed them knows until when.
 */
#include "tests/net/sim/sim_test.h"

#include "net/stack_internal.h"
#include "net/tcp/lent.h"
#include "runtime/base/random.h"
#include "runtime/sync/future.h"

#include <stdlib.h>

#define KEY       77
#define LARGE     300000 /* more than the send queue holds */
#define STREAM    2000000
#define VIEWS_MAX 16

static struct sim_pair pair;
static struct apus_tcp *server_c, *client_c;
static uint8_t
	*lent; /* the buffer that is out; freed when it is given back, so that ASan watches */
static int given_back; /* how often */
static bool hold_reader;

static void open_pair(const struct apus_sim_link_options *link)
{
	server_c = client_c = NULL;
	lent = NULL;
	given_back = 0;
	hold_reader = false;
	sim_pair_open(&pair, 1, link);
}

static int setup(void **state)
{
	open_pair(&(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS});
	return 0;
}

/* The wire is a driver that keeps what it was given until the receiver has read it. */
static int setup_lending(void **state)
{
	open_pair(
		&(struct apus_sim_link_options){.wire = {.delay_ns = 10 * APUS_MS, .lend = true}});
	return 0;
}

static int setup_lossy(void **state)
{
	open_pair(&(struct apus_sim_link_options){
		.wire = {.delay_ns = 2 * APUS_MS, .lend = true},
		.impair = {.loss_ppm = 30000, .reorder_ppm = 20000, .duplicate_ppm = 20000}});
	return 0;
}

static int teardown(void **state)
{
	int rc = apus_sim_advance(pair.world, 300 * APUS_SEC);
	size_t left = sim_pair_left(&pair);

	return apus_sim_world_close(pair.world) < 0 || rc < 0 || left ? -1 : 0;
}

static void run(apus_task_fn server, apus_task_fn client)
{
	struct apus_sim_task *s = apus_sim_spawn(pair.server, "server", server, NULL);
	struct apus_sim_task *c = apus_sim_spawn(pair.client, "client", client, NULL);

	assert_int_equal(apus_sim_run(pair.world, 600 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
}

static uint32_t out(const struct apus_sim_host *h)
{
	return apus_tcp_lender_out(apus_sim_host_stack(h)->tcp.lender);
}

static int64_t accept_one(void)
{
	struct apus_tcp_listener *l;
	int rc = apus_tcp_listen(sim_any(SERVER_PORT), 0, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, &server_c);
	apus_tcp_listener_close(l);
	return rc;
}

static void lend_out(size_t bytes)
{
	lent = malloc(bytes);
	apus_must(lent);
	sim_fill(lent, bytes, 0, KEY);
}

static void give_back(void *arg)
{
	given_back++;
	free(lent);
	lent = NULL;
	if (arg)
		(void)!apus_future_set(arg, 1);
}

/* Reads to the end, by views; every byte must be the stream's. */
static int64_t read_views(uint64_t *got)
{
	struct iovec views[VIEWS_MAX];
	int n;

	while ((n = apus_tcp_peek(server_c, views, VIEWS_MAX)) > 0) {
		size_t bytes = 0;

		for (int i = 0; i < n; i++) {
			sim_check_equal(
				sim_differs(views[i].iov_base, views[i].iov_len, *got + bytes, KEY),
				-1);
			bytes += views[i].iov_len;
		}
		apus_tcp_consume(server_c, bytes);
		*got += bytes;
	}
	return n;
}

static int64_t check_stream(uint64_t bytes)
{
	uint64_t got = 0;

	sim_check_equal(accept_one(), 0);
	while (hold_reader)
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(read_views(&got), 0);
	sim_check_equal(got, bytes);
	apus_tcp_close(server_c);
	return 0;
}

static int64_t large_server(void *arg)
{
	return check_stream(LARGE);
}

/* ---- a buffer ---- */

static int64_t large_client(void *arg)
{
	struct apus_future back;

	apus_future_init(&back);
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	lend_out(LARGE);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, LARGE, give_back, &back), LARGE);
	sim_check_equal(given_back, 0); /* the last of it is on its way at best */
	sim_check_equal(out(pair.client), 1);
	sim_check_equal(apus_future_await(&back), 1);
	sim_check_equal(given_back, 1);
	sim_check_equal(out(pair.client), 0);
	apus_tcp_close(client_c);
	return 0;
}

static void buffer_comes_back_once_when_it_is_acknowledged(void **state)
{
	run(large_server, large_client);
}

static int64_t held_client(void *arg)
{
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	lend_out(20000);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, 20000, give_back, NULL), 20000);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(given_back, 0); /* acknowledged long ago, but the wire's other end has it */
	hold_reader = false;
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(given_back, 1);
	apus_tcp_close(client_c);
	return 0;
}

static int64_t held_server(void *arg)
{
	hold_reader = true;
	return check_stream(20000);
}

static void buffer_stays_out_while_the_driver_holds_it(void **state)
{
	run(held_server, held_client);
}

static int64_t abort_client(void *arg)
{
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_sim_host_unplug(pair.server); /* nothing is acknowledged */
	lend_out(LARGE / 2);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, LARGE / 2, give_back, NULL),
			LARGE / 2);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(given_back, 0);
	apus_tcp_abort(client_c);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(given_back, 1);
	apus_sim_host_plug(pair.server);
	return 0;
}

static int64_t idle_server(void *arg)
{
	uint64_t got = 0;

	sim_check_equal(accept_one(), 0);
	sim_check_equal(apus_tcp_set(server_c, APUS_TCP_KEEPALIVE_IDLE_NS, APUS_SEC), 0);
	sim_check(read_views(&got) < 0);
	apus_tcp_close(server_c);
	return 0;
}

static void abort_gives_the_buffer_back(void **state)
{
	run(idle_server, abort_client);
}

static int64_t cancelled_client(void *arg)
{
	struct apus_timeout limit;
	int64_t rc;

	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	lend_out(STREAM);
	apus_timeout_begin(&limit, APUS_SEC);
	rc = apus_tcp_send_buffer(client_c, lent, STREAM, give_back, NULL);
	sim_check_equal(apus_timeout_end(&limit, rc), -ETIMEDOUT);
	sim_check_equal(given_back, 0); /* what is queued of it is still to be sent */
	hold_reader = false;
	apus_tcp_close(client_c);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(given_back, 1);
	return 0;
}

static int64_t part_server(void *arg)
{
	uint64_t got = 0;

	hold_reader = true;
	sim_check_equal(accept_one(), 0);
	while (hold_reader)
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(read_views(&got), 0);
	sim_check(got > 0 && got < STREAM);
	apus_tcp_close(server_c);
	return 0;
}

static void cancelled_send_lets_the_queued_part_arrive(void **state)
{
	run(part_server, cancelled_client);
}

static int64_t small_client(void *arg)
{
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	lend_out(1000);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, 1000, give_back, NULL), 1000);
	sim_check_equal(given_back, 1); /* copied */
	apus_tcp_close(client_c);
	return 0;
}

static int64_t small_server(void *arg)
{
	return check_stream(1000);
}

static void buffer_shorter_than_a_segment_is_copied(void **state)
{
	run(small_server, small_client);
}

static int64_t unreachable_client(void *arg)
{
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	/* A device of hardware reads what DPDK mapped, and malloc()'s memory is not. */
	apus_sim_host_stack(pair.client)->link->reads_any_memory = false;
	lend_out(20000);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, 20000, give_back, NULL), 20000);
	sim_check_equal(given_back, 1);
	apus_tcp_close(client_c);
	return 0;
}

static int64_t unreachable_server(void *arg)
{
	return check_stream(20000);
}

static void memory_that_the_device_cannot_read_is_copied(void **state)
{
	run(unreachable_server, unreachable_client);
}

static int64_t busy_writer(void *arg)
{
	static uint8_t bytes[STREAM];

	sim_fill(bytes, STREAM, 0, KEY);
	return apus_tcp_write(client_c, bytes, STREAM);
}

static int64_t busy_client(void *arg)
{
	struct apus_task *writer;

	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	writer = apus_spawn(busy_writer, NULL);
	sim_check_equal(apus_sleep(15 * APUS_MS), 0);
	lend_out(20000);
	sim_check_equal(apus_tcp_send_buffer(client_c, lent, 20000, give_back, NULL), -EBUSY);
	sim_check_equal(given_back, 1);
	sim_check_equal(apus_await(writer), STREAM);
	apus_tcp_close(client_c);
	return 0;
}

static int64_t stream_server(void *arg)
{
	return check_stream(STREAM);
}

static void second_writer_gets_its_buffer_back(void **state)
{
	run(stream_server, busy_client);
}

/* ---- a stream of buffers and copies, through loss ---- */

struct piece {
	size_t bytes;
	uint8_t *at;
};

static int pieces_out;

static void piece_back(void *arg)
{
	struct piece *piece = arg;

	pieces_out--;
	memset(piece->at, 0xee, piece->bytes); /* if anybody still sends it, the reader will see */
	free(piece->at);
	free(piece);
}

static int64_t mixed_client(void *arg)
{
	struct apus_random random;
	uint64_t sent = 0;

	apus_random_init_seed(&random, 5);
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	while (sent < STREAM) {
		size_t bytes =
			1 + apus_random_below(&random,
					      apus_random_chance(&random, 300000) ? 100 : 100000);
		struct piece *piece = malloc(sizeof(*piece));

		bytes = apus_min(bytes, STREAM - sent);
		*piece = (struct piece){.bytes = bytes, .at = malloc(bytes)};
		sim_fill(piece->at, bytes, sent, KEY);
		pieces_out++;
		if (apus_random_chance(&random, 200000)) {
			sim_check_equal(apus_tcp_write(client_c, piece->at, bytes), bytes);
			piece_back(piece);
		} else {
			sim_check_equal(
				apus_tcp_send_buffer(client_c, piece->at, bytes, piece_back, piece),
				bytes);
		}
		sent += bytes;
	}
	apus_tcp_close(client_c);
	while (pieces_out)
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	return 0;
}

static void buffers_and_copies_arrive_in_order_through_loss(void **state)
{
	run(stream_server, mixed_client);
	assert_true(apus_sim_host_counter(pair.client, "tcp", "retransmits") > 0);
}

/* ---- views ---- */

static int64_t views_client(void *arg)
{
	static uint8_t bytes[10000];

	sim_fill(bytes, sizeof(bytes), 0, KEY);
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_tcp_write(client_c, bytes, 5000), 5000);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(client_c, bytes + 5000, 5000), 5000);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_tcp_abort(client_c);
	return 0;
}

static int64_t views_server(void *arg)
{
	struct iovec first[VIEWS_MAX], again[VIEWS_MAX];
	uint8_t byte;
	int n, m;

	sim_check_equal(accept_one(), 0);
	n = apus_tcp_peek(server_c, first, VIEWS_MAX);
	sim_check(n > 0);
	sim_check_equal(apus_tcp_peek(server_c, again, 1), 1);
	sim_check(again[0].iov_base == first[0].iov_base); /* nothing was taken */
	sim_check_equal(apus_sleep(3 * APUS_SEC / 2), 0);
	m = apus_tcp_peek(server_c, again, VIEWS_MAX);
	sim_check(m > n);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	/* The connection was reset, but what is lent can still be looked at. */
	for (int i = 0, at = 0; i < m; at += (int)again[i].iov_len, i++)
		sim_check_equal(sim_differs(again[i].iov_base, again[i].iov_len, (uint64_t)at, KEY),
				-1);
	apus_tcp_consume(server_c, 10000);
	sim_check_equal(apus_tcp_peek(server_c, again, VIEWS_MAX), -ECONNRESET);
	sim_check_equal(apus_tcp_read(server_c, &byte, 1), -ECONNRESET);
	apus_tcp_close(server_c);
	return 0;
}

static void views_stay_until_consumed_whatever_happens(void **state)
{
	run(views_server, views_client);
}

static int64_t window_server(void *arg)
{
	hold_reader = true;
	return check_stream(STREAM);
}

static int64_t window_client(void *arg)
{
	static uint8_t bytes[STREAM];
	struct apus_timeout limit;
	size_t queued = 0;
	static struct iovec iov[1000];

	sim_fill(bytes, STREAM, 0, KEY);
	for (size_t i = 0; i < apus_countof(iov); i++)
		iov[i] = (struct iovec){bytes + i * 2000, 2000};
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	apus_timeout_begin(&limit, APUS_SEC);
	sim_check_equal(apus_timeout_end(
				&limit, apus_tcp_writev(client_c, iov, apus_countof(iov), &queued)),
			-ETIMEDOUT);
	sim_check(queued > 0 && queued < STREAM);
	hold_reader = false; /* what was queued is told, so that the rest can follow */
	sim_check_equal(apus_tcp_write(client_c, bytes + queued, STREAM - queued), STREAM - queued);
	apus_tcp_close(client_c);
	return 0;
}

static void cancelled_scatter_list_tells_how_much_is_queued(void **state)
{
	run(window_server, window_client);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(buffer_comes_back_once_when_it_is_acknowledged, setup),
		TEST(buffer_stays_out_while_the_driver_holds_it, setup_lending),
		TEST(abort_gives_the_buffer_back, setup),
		TEST(cancelled_send_lets_the_queued_part_arrive, setup),
		TEST(buffer_shorter_than_a_segment_is_copied, setup),
		TEST(memory_that_the_device_cannot_read_is_copied, setup),
		TEST(second_writer_gets_its_buffer_back, setup),
		TEST(buffers_and_copies_arrive_in_order_through_loss, setup_lossy),
		TEST(views_stay_until_consumed_whatever_happens, setup),
		TEST(cancelled_scatter_list_tells_how_much_is_queued, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
