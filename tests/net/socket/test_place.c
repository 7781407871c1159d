/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_place.c: text read and written where it lies (net/socket/tcp_internal.h): the
 * short ways give the same bytes as the long ones, and do nothing where those have more to say.
 */
#include "tests/net/sim/sim_test.h"

#include "net/socket/tcp_internal.h"
#include "net/tcp/tcb.h"
#include "runtime/base/random.h"
#include "runtime/sync/timeout.h"

#include <string.h>

#define KEY       78
#define STREAM    500000
#define VIEWS_MAX 16
#define BUDGET    128

static struct sim_pair pair;
static struct apus_tcp *server_c, *client_c;

static void open_pair(const struct apus_sim_link_options *link)
{
	server_c = client_c = NULL;
	sim_pair_open(&pair, 1, link);
}

static int setup(void **state)
{
	open_pair(&(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	return 0;
}

static int setup_lossy(void **state)
{
	open_pair(&(struct apus_sim_link_options){
		.wire.delay_ns = APUS_MS,
		.impair = {.loss_ppm = 20000, .reorder_ppm = 20000, .duplicate_ppm = 20000}});
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

/* ---- reading ---- */

static int64_t view_soon(struct apus_tcp *c, char **out)
{
	struct apus_tcp_view view = apus_tcp_view_soon(c);

	*out = view.bytes > 0 ? view.at : *out;
	return view.bytes;
}

/* 100 bytes, a second later 5000, two seconds later the end. */
static int64_t speaking_client(void *arg)
{
	static uint8_t bytes[5100];

	sim_fill(bytes, sizeof(bytes), 0, KEY);
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_tcp_write(client_c, bytes, 100), 100);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(client_c, bytes + 100, 5000), 5000);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	apus_tcp_close(client_c);
	return 0;
}

static int64_t viewing_server(void *arg)
{
	struct iovec views[VIEWS_MAX];
	char *view = NULL;

	sim_check_equal(accept_one(), 0);
	sim_check_equal(view_soon(server_c, &view), 100); /* waits */
	sim_check_equal(sim_differs((uint8_t *)view, 100, 0, KEY), -1);
	sim_check_equal(view_soon(server_c, &view), 100); /* it is still there */
	apus_tcp_consume(server_c, 30);
	sim_check_equal(view_soon(server_c, &view), 70);
	sim_check_equal(sim_differs((uint8_t *)view, 70, 30, KEY), -1);
	apus_tcp_consume(server_c, 70);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	sim_check_equal(view_soon(server_c, &view), 0); /* more than one piece */
	sim_check(apus_tcp_peek(server_c, views, VIEWS_MAX) > 1);
	apus_tcp_consume(server_c, 5000);
	sim_check_equal(view_soon(server_c, &view), 0); /* the end */
	sim_check_equal(apus_tcp_peek(server_c, views, VIEWS_MAX), 0);
	apus_tcp_close(server_c);
	return 0;
}

static void text_in_one_piece_is_viewed_and_else_nothing_is(void **state)
{
	run(viewing_server, speaking_client);
}

static int64_t cancelled_server(void *arg)
{
	struct apus_timeout limit;
	char *view = NULL;
	int64_t rc;

	sim_check_equal(accept_one(), 0);
	sim_check_equal(view_soon(server_c, &view), 100);
	apus_tcp_consume(server_c, 100);
	apus_timeout_begin(&limit, 100 * APUS_MS);
	rc = view_soon(server_c, &view);
	sim_check_equal(rc, -ECANCELED);
	sim_check_equal(apus_timeout_end(&limit, rc), -ETIMEDOUT);
	sim_check(!server_c->is_reading);
	for (uint64_t got = 100; got < 5100;) { /* nothing is lost */
		uint8_t buf[700];
		int64_t n = apus_tcp_read(server_c, buf, sizeof(buf));

		sim_check(n > 0);
		sim_check_equal(sim_differs(buf, (size_t)n, got, KEY), -1);
		got += (uint64_t)n;
	}
	apus_tcp_close(server_c);
	return 0;
}

static void cancelled_wait_for_a_view_loses_nothing(void **state)
{
	run(cancelled_server, speaking_client);
}

static int64_t first_reader(void *arg)
{
	char *view = NULL;

	return view_soon(server_c, &view);
}

static int64_t busy_server(void *arg)
{
	struct iovec views[VIEWS_MAX];
	struct apus_task *reader;
	char *view = NULL;

	sim_check_equal(accept_one(), 0);
	sim_check_equal(view_soon(server_c, &view), 100);
	apus_tcp_consume(server_c, 100);
	reader = apus_spawn(first_reader, NULL);
	sim_check_equal(apus_yield(), 0);
	sim_check_equal(view_soon(server_c, &view), 0);
	sim_check_equal(apus_tcp_peek(server_c, views, VIEWS_MAX), -EBUSY);
	apus_tcp_close(server_c);
	sim_check_equal(apus_await(reader), 0); /* nothing to view, and no use after free */
	return 0;
}

static int64_t silent_client(void *arg)
{
	uint8_t bytes[100] = {0};

	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_tcp_write(client_c, bytes, sizeof(bytes)), sizeof(bytes));
	sim_check_equal(apus_tcp_read(client_c, bytes, sizeof(bytes)), 0);
	apus_tcp_close(client_c);
	return 0;
}

static void second_reader_views_nothing_and_close_ends_the_first(void **state)
{
	run(busy_server, silent_client);
}

static int64_t reset_server(void *arg)
{
	struct iovec views[VIEWS_MAX];
	char *view = NULL;

	sim_check_equal(accept_one(), 0);
	sim_check_equal(view_soon(server_c, &view), 0);
	sim_check_equal(apus_tcp_peek(server_c, views, VIEWS_MAX), -ECONNRESET);
	apus_tcp_close(server_c);
	return 0;
}

static int64_t reset_client(void *arg)
{
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_tcp_abort(client_c);
	return 0;
}

static void reset_ends_a_wait_for_a_view_without_one(void **state)
{
	run(reset_server, reset_client);
}

/* ---- a stream, each piece by any way ---- */

static int64_t any_reader(void *arg)
{
	static uint8_t buf[4096];
	struct apus_random random;
	uint64_t got = 0;
	uint32_t views = 0;

	apus_random_init_seed(&random, 6);
	sim_check_equal(accept_one(), 0);
	while (got < STREAM) {
		char *at = (char *)buf;
		int64_t n = 0;

		if (apus_random_chance(&random, 10000))
			sim_check_equal(apus_sleep(50 * APUS_MS), 0); /* it piles up */
		if (apus_random_chance(&random, 700000))
			n = view_soon(server_c, &at);
		views += n > 0;
		if (n > 0 && apus_random_chance(&random, 200000))
			n = 1 + (int64_t)apus_random_below(&random, (uint64_t)n);
		if (n > 0) {
			sim_check_equal(sim_differs((uint8_t *)at, (size_t)n, got, KEY), -1);
			apus_tcp_consume(server_c, (size_t)n);
		} else {
			n = apus_tcp_read(server_c, buf, sizeof(buf));
			sim_check(n > 0);
			sim_check_equal(sim_differs(buf, (size_t)n, got, KEY), -1);
		}
		apus_rcvq_check(&server_c->rcvq);
		got += (uint64_t)n;
	}
	sim_check(views > 100);
	sim_check_equal(apus_tcp_read(server_c, buf, sizeof(buf)), 0);
	apus_tcp_close(server_c);
	return 0;
}

static int64_t any_writer(void *arg)
{
	static uint8_t buf[4096];
	struct apus_random random;
	uint32_t rooms = 0;

	apus_random_init_seed(&random, 7);
	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	for (uint64_t sent = 0; sent < STREAM;) {
		size_t bytes = 1 + apus_random_below(&random, apus_random_chance(&random, 500000)
								      ? 200
								      : sizeof(buf));
		size_t more = apus_random_below(&random, 300);
		char *room = NULL;

		bytes = apus_min(bytes, STREAM - sent);
		if (apus_random_chance(&random, 700000))
			room = apus_tcp_room(client_c, bytes + more);
		rooms += room != NULL;
		if (room) {
			sim_fill((uint8_t *)room, bytes, sent, KEY);
			apus_tcp_filled(client_c, bytes);
		} else {
			sim_fill(buf, bytes, sent, KEY);
			sim_check_equal(apus_tcp_write(client_c, buf, bytes), bytes);
		}
		apus_sndq_check(&client_c->sndq);
		sent += bytes;
		if (apus_random_chance(&random, 900000))
			sim_check_equal(apus_sleep(5 * APUS_MS), 0); /* the reader waits */
	}
	sim_check(rooms > 100);
	apus_tcp_close(client_c);
	return 0;
}

static void pieces_by_all_ways_arrive_in_order(void **state)
{
	run(any_reader, any_writer);
}

/* ---- writing ---- */

static int64_t full_writer(void *arg)
{
	static uint8_t bytes[STREAM];

	return apus_tcp_write(client_c, bytes, STREAM);
}

static int64_t full_client(void *arg)
{
	struct apus_task *writer;
	uint32_t rooms = 0;
	char *room;

	sim_check_equal(apus_tcp_connect(sim_server(), &client_c), 0);
	sim_check_equal(apus_sleep(APUS_MS), 0);
	while ((room = apus_tcp_room(client_c, 1))) {
		*room = 0;
		apus_tcp_filled(client_c, 1);
		rooms++;
	}
	sim_check(rooms > 0 && rooms < BUDGET); /* others are to have a turn */
	sim_check_equal(apus_yield(), 0);
	sim_check(apus_tcp_room(client_c, 1) != NULL);
	sim_check(apus_tcp_room(client_c, 65536) == NULL); /* no mbuf is so large */
	writer = apus_spawn(full_writer, NULL);
	sim_check_equal(apus_yield(), 0);
	sim_check(apus_tcp_room(client_c, 1) ==
		  NULL); /* somebody else writes, and the queue is full */
	apus_task_cancel(writer);
	sim_check_equal(apus_await(writer), -ECANCELED);
	sim_check(apus_tcp_room(client_c, 1) == NULL); /* it is still full */
	apus_tcp_get(client_c);
	apus_tcp_abort(client_c);
	sim_check(apus_tcp_room(client_c, 1) == NULL); /* closed */
	apus_tcp_put(client_c);
	return 0;
}

static int64_t deaf_server(void *arg)
{
	sim_check_equal(accept_one(), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_tcp_close(server_c);
	return 0;
}

static void there_is_no_room_where_a_write_would_wait_or_fail(void **state)
{
	run(deaf_server, full_client);
}

int main(void)
{
#define WITH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH(text_in_one_piece_is_viewed_and_else_nothing_is),
		WITH(cancelled_wait_for_a_view_loses_nothing),
		WITH(second_reader_views_nothing_and_close_ends_the_first),
		WITH(reset_ends_a_wait_for_a_view_without_one),
		WITH(pieces_by_all_ways_arrive_in_order),
		cmocka_unit_test_setup_teardown(pieces_by_all_ways_arrive_in_order, setup_lossy,
						teardown),
		WITH(there_is_no_room_where_a_write_would_wait_or_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
