/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_server_limits.c: clients that are slow or too many, and the end of a server.
 */
#include "tests/net/http/server_test.h"

/* --- Slow clients ---------------------------------------------------------------------------- */

static int64_t slowloris(void *arg)
{
	static const char request[] = "GET /hello HTTP/1.1\r\nHost: h\r\nX: aaaaaaaaaaaaaaaaaaaaa";

	start();

	struct apus_tcp *c = fake_connect();

	ok(apus_sleep(3 * APUS_SEC));
	for (size_t i = 0; i < sizeof(request) - 1 && c->end == FAKE_OPEN; i++) {
		fake_send_bytes(c, request + i, 1);
		ok(apus_sleep(990 * APUS_MS));
	}
	assert_begins(fake_take(c), "HTTP/1.1 408 Request Timeout\r\n");
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	assert_int_equal(test_ms(), 3000 + 11 * 990);
	end_client(c, FAKE_CLOSED);
	assert_int_equal(counter("timeouts_request"), 1);
	stop();
	return 0;
}

static void head_that_drips_is_408_ten_seconds_after_its_first_byte(void **state)
{
	ok(test_run(slowloris, NULL));
}

static int64_t slow_body(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	for (int i = 0; c->end == FAKE_OPEN; i++) {
		fake_send(c, "x");
		ok(apus_sleep(APUS_SEC + 1));
		assert_true(i < 70);
	}
	assert_begins(fake_take(c), "HTTP/1.1 408 Request Timeout\r\n");
	assert_int_equal(test_ms(), 60000);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void body_that_drips_is_408_after_sixty_seconds(void **state)
{
	ok(test_run(slow_body, NULL));
}

static int64_t idle_times(void *arg)
{
	start();

	struct apus_tcp *mute = fake_connect(), *c = fake_connect();

	for (int i = 0; i < 5; i++) {
		ok(apus_sleep(7 * APUS_SEC));
		assert_contains(exchange(c, HELLO), "hello\n");
	}
	assert_int_equal(mute->end, FAKE_CLOSED); /* said nothing in ten seconds */
	assert_int_equal(mute->ended_ns, TEST_START_NS + 10 * APUS_SEC);
	ok(apus_sleep(80 * APUS_SEC));
	assert_int_equal(c->end,
			 FAKE_CLOSED); /* 75 seconds from the last answer, not from the first */
	assert_int_equal(c->ended_ns, TEST_START_NS + (35 + 75) * APUS_SEC);
	assert_int_equal(c->out_bytes, 0);
	assert_int_equal(counter("timeouts_idle"), 2);
	fake_free(mute);
	fake_free(c);
	stop();
	return 0;
}

static void idle_connection_is_closed_without_a_word(void **state)
{
	ok(test_run(idle_times, NULL));
}

static int64_t slow_reader(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	c->window = 50000;
	fake_send(c, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	ok(apus_sleep(70 * APUS_SEC));
	assert_int_equal(c->end, FAKE_ABORTED);
	assert_int_equal(c->ended_ns, TEST_START_NS + 60 * APUS_SEC);
	assert_int_equal(counter("timeouts_write"), 1);
	fake_free(c);
	stop();
	return 0;
}

static void client_that_does_not_read_is_reset_after_sixty_seconds(void **state)
{
	ok(test_run(slow_reader, NULL));
}

/* --- Limits ---------------------------------------------------------------------------------- */

static int64_t too_many(void *arg)
{
	struct apus_tcp *c[70];

	start_with((struct apus_http_server_options){.connections_max = 2});
	for (size_t i = 0; i < apus_countof(c); i++)
		c[i] = fake_connect();
	settle();
	for (size_t i = 0; i < 66; i++) {
		if (i < 2) {
			assert_int_equal(c[i]->end, FAKE_OPEN);
			continue;
		}
		assert_begins(fake_take(c[i]), "HTTP/1.1 503 Service Unavailable\r\n");
		assert_int_equal(c[i]->end, FAKE_SHUTDOWN);
	}
	for (size_t i = 66; i < apus_countof(c); i++)
		assert_int_equal(c[i]->end, FAKE_ABORTED);
	assert_contains(exchange(c[1], HELLO), "hello\n");
	assert_int_equal(counter("connections_refused"), 64);
	assert_int_equal(counter("dropped"), 4);

	/* One leaves, another may come. */
	fake_send_end(c[0]);
	settle();

	struct apus_tcp *next = fake_connect();

	assert_contains(exchange(next, HELLO), "hello\n");
	end_client(next, FAKE_CLOSED);
	for (size_t i = 1; i < 66; i++)
		fake_send_end(c[i]);
	settle();
	for (size_t i = 0; i < apus_countof(c); i++)
		fake_free(c[i]);
	stop();
	return 0;
}

static void connections_over_the_limit_get_503(void **state)
{
	ok(test_run(too_many, NULL));
}

static int64_t much_buffered(void *arg)
{
	static char body[30000];

	start_with((struct apus_http_server_options){.buffered_max = 50000});
	memset(body, 'b', sizeof(body));

	struct apus_tcp *a = fake_connect(), *b = fake_connect();

	exchange(a, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n");
	exchange(b, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n");
	fake_send_bytes(a, body, sizeof(body));
	settle();
	fake_send_bytes(b, body, sizeof(body));
	settle();
	assert_begins(fake_take(a), ""); /* holds 30,000 */
	assert_int_equal(a->end, FAKE_OPEN);
	assert_int_equal(b->end, FAKE_OPEN); /* 21,808 each are charged */
	fake_send_bytes(b, body, 10000);
	settle();
	assert_begins(fake_take(b), "HTTP/1.1 503 ");
	end_client(b, FAKE_CLOSED);
	fake_send_bytes(a, body, sizeof(body)); /* there is room again */
	settle();
	assert_begins(fake_take(a), "HTTP/1.1 200 ");
	end_client(a, FAKE_CLOSED);
	stop();
	return 0;
}

static void unfinished_requests_share_a_limit(void **state)
{
	ok(test_run(much_buffered, NULL));
}

static int64_t out_of_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int answered = 0;

	start();
	for (int64_t n = 0; n < 20; n++) {
		struct apus_tcp *c = fake_connect();

		apus_heap_fail_after(heap, n);
		fake_send(c, HELLO);
		settle();
		apus_heap_fail_after(heap, -1);
		fake_send_end(c);
		settle();
		answered += !!strstr(fake_take(c), "hello\n");
		assert_true(c->end == FAKE_CLOSED || c->end == FAKE_ABORTED);
		assert_int_equal(apus_http_server_connections(server), 0);
		fake_free(c);
	}
	assert_true(answered > 10 && answered < 20);
	stop();
	return 0;
}

static void want_of_memory_costs_a_connection_and_no_more(void **state)
{
	ok(test_run(out_of_memory, NULL));
}

static int64_t accept_fails(void *arg)
{
	start();
	settle();
	fake_listener.error = -ENOMEM;

	struct apus_tcp *c = fake_connect();

	settle();
	fake_send(c, HELLO);
	ok(apus_sleep(APUS_SEC));
	assert_contains(fake_take(c), "hello\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void accept_that_fails_is_tried_again(void **state)
{
	ok(test_run(accept_fails, NULL));
}

/* --- Stop ------------------------------------------------------------------------------------ */

static int64_t open_gate(void *arg)
{
	ok(apus_sleep(500 * APUS_MS));
	apus_event_set(&gate);
	return 0;
}

static int64_t stop_in_order(void *arg)
{
	start();

	struct apus_tcp *idle = fake_connect(), *fresh = fake_connect(), *busy = fake_connect();
	struct apus_tcp *pipelining = fake_connect();

	exchange(idle, HELLO);
	fake_send(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	fake_send(pipelining, "GET /wait HTTP/1.1\r\n" HOST "\r\n" HELLO);
	settle();
	fake_send_end(busy);

	struct apus_task *opener = apus_spawn(open_gate, NULL);
	struct apus_tcp *late = fake_connect(); /* in the queue, not accepted yet */

	ok(apus_http_server_close(server, 10 * APUS_SEC));
	/* The pipelining client is read for 2 s after its FIN. */
	assert_int_equal(test_ms(), 2500);
	assert_int_equal(idle->end, FAKE_CLOSED);
	assert_int_equal(idle->ended_ns, TEST_START_NS);
	assert_int_equal(fresh->end, FAKE_CLOSED);
	assert_contains(fake_take(busy), "Connection: close\r\n\r\nwaited\n");
	assert_int_equal(busy->end, FAKE_CLOSED);
	assert_int_equal(busy->ended_ns, TEST_START_NS + 500 * APUS_MS);

	const char *got = fake_take(pipelining);

	assert_contains(got, "waited\n");
	assert_null(strstr(got, "hello\n"));
	ok(apus_await(opener));
	apus_http_router_destroy(router);
	fake_free(idle);
	fake_free(fresh);
	fake_free(busy);
	fake_free(pipelining);
	fake_free(late);
	return 0;
}

static void close_lets_requests_finish(void **state)
{
	ok(test_run(stop_in_order, NULL));
}

static int64_t stop_by_force(void *arg)
{
	start();

	struct apus_tcp *hang = fake_connect(), *part = fake_connect();

	fake_send(hang, "GET /hang HTTP/1.1\r\n" HOST "\r\n");
	fake_send(part, "GET /he");
	settle();
	assert_int_equal(apus_http_server_close(server, 3 * APUS_SEC), -ETIMEDOUT);
	assert_int_equal(test_ms(), 3000);
	assert_int_equal(hang_rc, -ECANCELED);
	assert_int_equal(hang->end, FAKE_ABORTED);
	assert_int_equal(part->end, FAKE_ABORTED);
	assert_int_equal(hang->out_bytes, 0);
	apus_http_router_destroy(router);
	fake_free(hang);
	fake_free(part);
	return 0;
}

static void close_resets_what_does_not_finish(void **state)
{
	ok(test_run(stop_by_force, NULL));
}

static int64_t wait_and_close(void *arg)
{
	int64_t rc = apus_http_server_wait(server);

	assert_int_equal(rc, -ECANCELED);
	return apus_http_server_close(server, APUS_NEVER);
}

static int64_t cancelled_twice(void *arg)
{
	start();

	struct apus_tcp *hang = fake_connect();

	exchange(hang, "GET /hang HTTP/1.1\r\n" HOST "\r\n");

	struct apus_task *main_task = apus_spawn(wait_and_close, NULL);

	settle();
	apus_task_cancel(main_task);
	ok(apus_sleep(APUS_SEC));
	assert_false(apus_task_done(main_task)); /* waits for the hanging one */
	apus_task_cancel(main_task);
	settle();
	assert_true(apus_task_done(main_task));
	assert_int_equal(apus_await(main_task), -ECANCELED);
	assert_int_equal(hang->end, FAKE_ABORTED);
	apus_http_router_destroy(router);
	fake_free(hang);
	return 0;
}

static void close_that_is_cancelled_does_not_wait_on(void **state)
{
	ok(test_run(cancelled_twice, NULL));
}

static int64_t bad_options(void *arg)
{
	struct apus_http_server_options options = {.handler = on_hello};
	uint64_t live = apus_shard_heap(apus_shard_self())->live;

	options.name = "bad\r\nname";
	assert_int_equal(apus_http_server_open(&options, &server), -EINVAL);
	options.name = "a name that is much longer than any name of a server should ever be";
	assert_int_equal(apus_http_server_open(&options, &server), -EINVAL);
	options.name = NULL;
	options.handler = NULL;
	assert_int_equal(apus_http_server_open(&options, &server), -EINVAL);
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live);
	return 0;
}

static void bad_options_are_refused(void **state)
{
	ok(test_run(bad_options, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(head_that_drips_is_408_ten_seconds_after_its_first_byte),
		shard_test(body_that_drips_is_408_after_sixty_seconds),
		shard_test(idle_connection_is_closed_without_a_word),
		shard_test(client_that_does_not_read_is_reset_after_sixty_seconds),
		shard_test(connections_over_the_limit_get_503),
		shard_test(unfinished_requests_share_a_limit),
		shard_test(want_of_memory_costs_a_connection_and_no_more),
		shard_test(accept_that_fails_is_tried_again),
		shard_test(close_lets_requests_finish),
		shard_test(close_resets_what_does_not_finish),
		shard_test(close_that_is_cancelled_does_not_wait_on),
		shard_test(bad_options_are_refused),
	};

	return test_main(argc, argv, tests);
}
