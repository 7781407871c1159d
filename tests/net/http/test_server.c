/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_server.c: connections of clients good, slow and bad, in virtual time.
 *
 * Over connections without a network (fake_tcp.h), so that writes can be counted and each byte be
 * placed at its time. test_server_sim.c does the same over the whole stack.
 */
#include "net/http/router.h"
#include "net/http/server.h"
#include "tests/net/http/fake_tcp.h"
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/event.h"

#define HOST  "Host: h\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"
#define DATE  "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"

static struct apus_http_server *server;
static struct apus_http_router *router;
static struct apus_event gate; /* what /wait waits for */
static int64_t hang_rc;        /* how /hang ended */
static uint64_t live_before;   /* objects on the heap */

/* --- Handlers -------------------------------------------------------------------------------- */

static int64_t on_hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "hello\n", 6);
}

static int64_t on_echo(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	struct apus_http_text body = apus_http_request_body(req);

	return apus_http_respond(res, 200, NULL, body.at, body.len);
}

static int64_t on_wait(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	int rc = apus_event_wait(&gate);

	return rc < 0 ? rc : apus_http_respond(res, 200, NULL, "waited\n", 7);
}

static int64_t on_hang(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	hang_rc = apus_sleep(APUS_NEVER);
	return hang_rc;
}

static int64_t on_error(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return -EIO;
}

static int64_t on_head_error(struct apus_http_request *req, struct apus_http_response *res,
			     void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_header(res, "X-Secret", "never seen");
	return rc < 0 ? rc : -EIO;
}

static int64_t on_late_error(struct apus_http_request *req, struct apus_http_response *res,
			     void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_stream(res, 100);
	if (rc == 0)
		rc = apus_http_response_write(res, "part", 4);
	return rc < 0 ? rc : apus_http_response_end(res); /* -ENODATA: 96 are missing */
}

static int64_t on_silent(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return 0;
}

static int64_t on_stream(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_stream(res, -1);
	if (rc == 0)
		rc = apus_http_response_write(res, "first", 5);
	if (rc == 0)
		rc = apus_http_response_write(res, "", 0); /* must not end the body */
	if (rc == 0)
		rc = apus_http_response_write(res, "the second piece", 16);
	return rc < 0 ? rc : apus_http_response_end(res);
}

static char big[100000];

static int64_t on_big(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, NULL, big, sizeof(big));
}

static int64_t on_split(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	assert_int_equal(rc, 0);
	assert_int_equal(apus_http_response_header(res, "X-Name", "a\r\nSet-Cookie: b"), -EINVAL);
	return apus_http_response_body(res, NULL, 0); /* the error stays */
}

static int64_t on_many_headers(struct apus_http_request *req, struct apus_http_response *res,
			       void *arg)
{
	static char value[1000];
	int rc = apus_http_response_begin(res, 200);

	memset(value, 'v', sizeof(value) - 1);
	for (size_t i = 0; rc == 0 && i < (size_t)(intptr_t)arg; i++)
		rc = apus_http_response_header(res, "X-Long", value);
	return rc < 0 ? rc : apus_http_response_body(res, NULL, 0);
}

/* --- Around the tests ------------------------------------------------------------------------ */

static void add(enum apus_http_method method, const char *path, apus_http_handler_fn fn, void *arg)
{
	ok(apus_http_router_add(router, method, path, fn, arg));
}

static void start_with(struct apus_http_server_options options)
{
	apus_event_init(&gate);
	hang_rc = 0;
	live_before = apus_shard_heap(apus_shard_self())->live;
	memset(big, 'B', sizeof(big));
	ok(apus_http_router_create(&router));
	add(APUS_HTTP_GET, "/hello", on_hello, NULL);
	add(APUS_HTTP_POST, "/echo", on_echo, NULL);
	add(APUS_HTTP_GET, "/wait", on_wait, NULL);
	add(APUS_HTTP_GET, "/hang", on_hang, NULL);
	add(APUS_HTTP_GET, "/error", on_error, NULL);
	add(APUS_HTTP_GET, "/head-error", on_head_error, NULL);
	add(APUS_HTTP_GET, "/late-error", on_late_error, NULL);
	add(APUS_HTTP_GET, "/silent", on_silent, NULL);
	add(APUS_HTTP_GET, "/stream", on_stream, NULL);
	add(APUS_HTTP_GET, "/big", on_big, NULL);
	add(APUS_HTTP_GET, "/split", on_split, NULL);
	add(APUS_HTTP_GET, "/headers-7", on_many_headers, (void *)7);
	add(APUS_HTTP_GET, "/headers-9", on_many_headers, (void *)9);
	options.handler = apus_http_router_handle;
	options.arg = router;
	ok(apus_http_server_open(&options, &server));
}

static void start(void)
{
	start_with((struct apus_http_server_options){0});
}

static void stop(void)
{
	ok(apus_http_server_close(server, APUS_SEC));
	apus_http_router_destroy(router);
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live_before);
}

/* Let everything that is ready run, without time passing. */
static void settle(void)
{
	for (int i = 0; i < 20; i++)
		ok(apus_yield());
}

/* Send, let the server work, and give what it wrote. */
static const char *exchange(struct apus_tcp *c, const char *request)
{
	fake_send(c, request);
	settle();
	return fake_take(c);
}

static uint64_t counter_sum;
static const char *counter_name;

static void add_counter(void *arg, const char *area, const char *name, uint64_t value)
{
	if (!strcmp(area, "http") && !strcmp(name, counter_name))
		counter_sum += value;
}

static uint64_t counter(const char *name)
{
	counter_sum = 0;
	counter_name = name;
	apus_metrics_visit(apus_shard_metrics(apus_shard_self()), add_counter, NULL);
	return counter_sum;
}

APUS_NOINLINE static void assert_begins(const char *text, const char *begin)
{
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("expected: %s\ngot: %s", begin, text);
}

APUS_NOINLINE static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("missing: %s\nin: %s", part, text);
}

static void end_client(struct apus_tcp *c, enum fake_end end)
{
	fake_send_end(c);
	settle();
	assert_int_equal(c->end, end);
	assert_false(c->unread);
	fake_free(c);
}

/* --- Requests and answers -------------------------------------------------------------------- */

static int64_t plain_get(void *arg)
{
	start_with((struct apus_http_server_options){.name = "apus"});

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, HELLO),
			    "HTTP/1.1 200 OK\r\n" DATE "Server: apus\r\n"
			    "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n");
	assert_int_equal(c->writes, 1);
	assert_int_equal(c->end, FAKE_OPEN);
	assert_contains(exchange(c, HELLO), "hello\n");
	assert_int_equal(c->writes, 2);
	end_client(c, FAKE_CLOSED);
	assert_int_equal(counter("requests"), 2);
	assert_int_equal(counter("responses_2xx"), 2);
	assert_int_equal(counter("connections"), 1);
	stop();
	return 0;
}

static void answer_is_one_write_and_the_connection_stays(void **state)
{
	ok(test_run(plain_get, NULL));
}

static int64_t pipelined(void *arg)
{
	static const char hello[] = "HTTP/1.1 200 OK\r\n" DATE
				    "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
	char expected[1024];

	start();

	struct apus_tcp *c = fake_connect();
	const char *got = exchange(c, HELLO "POST /echo HTTP/1.1\r\n" HOST
					    "Content-Length: 3\r\n\r\nabc" HELLO "GET /hel");

	snprintf(expected, sizeof(expected),
		 "%sHTTP/1.1 200 OK\r\n" DATE "Content-Length: 3\r\n\r\nabc%s", hello, hello);
	assert_string_equal(got, expected);
	assert_int_equal(c->writes, 1);
	assert_string_equal(exchange(c, "lo HTTP/1.1\r\n" HOST "\r\n"), hello);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void pipelined_answers_leave_in_order_in_one_write(void **state)
{
	ok(test_run(pipelined, NULL));
}

static int64_t pipelined_slow(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "GET /wait HTTP/1.1\r\n" HOST "\r\n" HELLO), "");
	apus_event_set(&gate);
	settle();

	const char *got = fake_take(c);

	assert_true(strstr(got, "waited\n") < strstr(got, "hello\n"));
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void slow_answer_holds_back_the_next(void **state)
{
	ok(test_run(pipelined_slow, NULL));
}

static int64_t many_pipelined(void *arg)
{
	size_t answers = 0;

	start();

	struct apus_tcp *c = fake_connect();

	for (int i = 0; i < 1000; i++)
		fake_send(c, HELLO);
	settle();
	for (const char *p = fake_take(c); (p = strstr(p, "hello\n")); p++)
		answers++;
	assert_int_equal(answers, 1000);
	assert_true(c->writes <= 20); /* as many as the write buffer fills */
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void thousand_pipelined_requests_are_answered(void **state)
{
	ok(test_run(many_pipelined, NULL));
}

/* The same requests, divided at random, give the same bytes. */
static int64_t random_divisions(void *arg)
{
	static const char *const pieces[] = {
		HELLO,
		"\r\n" HELLO,
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789",
		"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: t\r\n\r\n",
		"HEAD /hello HTTP/1.1\r\n" HOST "\r\n",
		"GET /none HTTP/1.1\r\n" HOST "\r\n",
		"GET /error HTTP/1.1\r\n" HOST "\r\n",
		"GET /stream HTTP/1.1\r\n" HOST "\r\n",
	};
	uint64_t random = *(uint64_t *)arg;
	static char text[8192], expected[16384];

	start();
	text[0] = 0;
	for (int i = 0; i < 12; i++)
		strcat(text, pieces[test_random_below(&random, apus_countof(pieces))]);

	struct apus_tcp *c = fake_connect();

	strcpy(expected, exchange(c, text));
	end_client(c, FAKE_CLOSED);

	c = fake_connect();
	for (size_t at = 0, len = strlen(text); at < len;) {
		size_t n = 1 + test_random_below(&random, 60);

		n = apus_min(n, len - at);
		fake_send_bytes(c, text + at, n);
		at += n;
		if (test_random_below(&random, 4))
			settle();
	}
	settle();
	assert_string_equal(fake_take(c), expected);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void requests_divided_at_random_get_the_same_answers(void **state)
{
	test_each_seed(seed, 200)
	{
		ok(test_run(random_divisions, &seed));
	}
}

static int64_t head_request(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n"),
			    "HTTP/1.1 200 OK\r\n" DATE
			    "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\n");
	assert_string_equal(exchange(c, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n"),
			    "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void head_gets_the_same_head_without_a_body(void **state)
{
	ok(test_run(head_request, NULL));
}

static int64_t streamed(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "GET /stream HTTP/1.1\r\n" HOST "\r\n"),
			    "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n"
			    "5\r\nfirst\r\n10\r\nthe second piece\r\n0\r\n\r\n");
	assert_int_equal(c->writes, 1);
	/* An old client does not know chunks: the end of the connection ends the body. */
	assert_string_equal(exchange(c, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
			    "HTTP/1.1 200 OK\r\n" DATE
			    "Connection: close\r\n\r\nfirstthe second piece");
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void body_of_unknown_length_is_chunked(void **state)
{
	ok(test_run(streamed, NULL));
}

static int64_t big_body(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	settle();
	assert_int_equal(c->writes, 1); /* head and body together, the body not copied */
	assert_int_equal(c->out_bytes,
			 strlen("HTTP/1.1 200 OK\r\n" DATE "Content-Length: 100000\r\n\r\n") +
				 sizeof(big));
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void large_body_leaves_with_its_head(void **state)
{
	ok(test_run(big_body, NULL));
}

static int64_t old_clients(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_contains(exchange(c, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
			"Connection: keep-alive\r\n\r\nhello\n");
	assert_int_equal(c->end, FAKE_OPEN);
	assert_contains(exchange(c, "GET /hello HTTP/1.0\r\n\r\n"),
			"Connection: close\r\n\r\nhello\n");
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void old_client_is_closed_unless_it_asks_not_to(void **state)
{
	ok(test_run(old_clients, NULL));
}

static int64_t half_closed(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, HELLO);
	fake_send_end(c);
	settle();
	assert_contains(fake_take(c), "hello\n");
	assert_int_equal(c->end, FAKE_CLOSED);
	fake_free(c);
	stop();
	return 0;
}

static void client_that_closed_its_side_still_gets_its_answer(void **state)
{
	ok(test_run(half_closed, NULL));
}

static int64_t continues(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "POST /echo HTTP/1.1\r\n" HOST
					"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"),
			    "HTTP/1.1 100 Continue\r\n\r\n");
	assert_string_equal(exchange(c, "a"), "");
	assert_contains(exchange(c, "bc"), "\r\n\r\nabc");
	/* The body came with the head: nobody waits. */
	assert_begins(exchange(c, "POST /echo HTTP/1.1\r\n" HOST
				  "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"),
		      "HTTP/1.1 200 OK\r\n");
	/* Too large: the answer comes instead. */
	assert_begins(exchange(c, "POST /echo HTTP/1.1\r\n" HOST
				  "Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n"),
		      "HTTP/1.1 413 Content Too Large\r\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void client_that_expects_it_is_told_to_continue(void **state)
{
	ok(test_run(continues, NULL));
}

/* --- Errors ---------------------------------------------------------------------------------- */

static int64_t rejected(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, HELLO "GET / HTTP/1.1\r\n\r\n" HELLO),
			    "HTTP/1.1 200 OK\r\n" DATE
			    "Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
			    "HTTP/1.1 400 Bad Request\r\n" DATE
			    "Content-Type: text/plain\r\nContent-Length: 16\r\n"
			    "Connection: close\r\n\r\n400 Bad Request\n");
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	/* What the client still sends is read, or its reset would destroy our answer. */
	fake_send(c, HELLO);
	settle();
	assert_int_equal(c->in_bytes, 0);
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	assert_string_equal(fake_take(c), "");
	end_client(c, FAKE_CLOSED);
	assert_int_equal(counter("requests_rejected"), 1);
	assert_int_equal(counter("responses_4xx"), 1);
	stop();
	return 0;
}

static void bad_request_is_answered_and_ends_the_connection(void **state)
{
	ok(test_run(rejected, NULL));
}

static int64_t lingering(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	exchange(c, "GET / HTTP/9.9\r\n\r\n");
	assert_int_equal(c->end, FAKE_SHUTDOWN);
	for (int i = 0; i < 30; i++) { /* it never stops */
		fake_send(c, "more");
		ok(apus_sleep(100 * APUS_MS));
		if (c->end == FAKE_CLOSED)
			break;
	}
	assert_int_equal(c->ended_ns, TEST_START_NS + 2 * APUS_SEC);
	fake_free(c);
	stop();
	return 0;
}

static void client_that_does_not_stop_is_read_for_two_seconds(void **state)
{
	ok(test_run(lingering, NULL));
}

static int64_t handler_errors(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();
	static const char internal[] =
		"HTTP/1.1 500 Internal Server Error\r\n" DATE
		"Content-Type: text/plain\r\nContent-Length: 26\r\n\r\n500 Internal Server Error\n";

	assert_string_equal(exchange(c, "GET /error HTTP/1.1\r\n" HOST "\r\n"), internal);
	assert_string_equal(exchange(c, "GET /silent HTTP/1.1\r\n" HOST "\r\n"), internal);
	assert_string_equal(exchange(c, "GET /head-error HTTP/1.1\r\n" HOST "\r\n"), internal);
	assert_string_equal(exchange(c, "GET /split HTTP/1.1\r\n" HOST "\r\n"), internal);
	assert_contains(exchange(c, HELLO), "hello\n");
	assert_int_equal(counter("handler_errors"), 4);
	/* Once the head is out it cannot be taken back. */
	fake_send(c, "GET /late-error HTTP/1.1\r\n" HOST "\r\n");
	settle();
	assert_int_equal(c->end, FAKE_ABORTED);
	fake_free(c);
	stop();
	return 0;
}

static void handler_that_fails_is_a_500_or_a_reset(void **state)
{
	ok(test_run(handler_errors, NULL));
}

static int64_t long_heads(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();
	const char *got = exchange(c, HELLO "GET /headers-7 HTTP/1.1\r\n" HOST "\r\n");

	assert_begins(got, "HTTP/1.1 200 OK\r\n");
	got = strstr(got, "hello\n") + 6;
	assert_begins(got, "HTTP/1.1 200 OK\r\n");
	assert_contains(got, "v\r\nContent-Length: 0\r\n\r\n");
	assert_true(strlen(got) > 7000);
	assert_begins(exchange(c, "GET /headers-9 HTTP/1.1\r\n" HOST "\r\n"), "HTTP/1.1 500 ");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void answer_head_is_bounded(void **state)
{
	ok(test_run(long_heads, NULL));
}

static int64_t truncated(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, "GET /hello HT");
	fake_send_end(c);
	settle();
	assert_begins(fake_take(c), "HTTP/1.1 400 ");
	assert_int_equal(c->end, FAKE_CLOSED);
	fake_free(c);
	stop();
	return 0;
}

static void request_cut_off_by_the_end_is_bad(void **state)
{
	ok(test_run(truncated, NULL));
}

static int64_t reset_by_client(void *arg)
{
	start();

	struct apus_tcp *idle = fake_connect(), *part = fake_connect(), *busy = fake_connect();

	fake_send(part, "GET /he");
	fake_send(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	settle();
	fake_reset(idle);
	fake_reset(part);
	fake_reset(busy);
	apus_event_set(&gate);
	settle();
	assert_int_equal(idle->end, FAKE_ABORTED);
	assert_int_equal(part->end, FAKE_ABORTED);
	assert_int_equal(busy->end, FAKE_ABORTED);
	assert_int_equal(apus_http_server_connections(server), 0);
	fake_free(idle);
	fake_free(part);
	fake_free(busy);
	stop();
	return 0;
}

static void client_that_resets_leaves_nothing_behind(void **state)
{
	ok(test_run(reset_by_client, NULL));
}

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
	assert_int_equal(counter("connections_dropped"), 4);

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
		shard_test(answer_is_one_write_and_the_connection_stays),
		shard_test(pipelined_answers_leave_in_order_in_one_write),
		shard_test(slow_answer_holds_back_the_next),
		shard_test(thousand_pipelined_requests_are_answered),
		shard_test(requests_divided_at_random_get_the_same_answers),
		shard_test(head_gets_the_same_head_without_a_body),
		shard_test(body_of_unknown_length_is_chunked),
		shard_test(large_body_leaves_with_its_head),
		shard_test(old_client_is_closed_unless_it_asks_not_to),
		shard_test(client_that_closed_its_side_still_gets_its_answer),
		shard_test(client_that_expects_it_is_told_to_continue),
		shard_test(bad_request_is_answered_and_ends_the_connection),
		shard_test(client_that_does_not_stop_is_read_for_two_seconds),
		shard_test(handler_that_fails_is_a_500_or_a_reset),
		shard_test(answer_head_is_bounded),
		shard_test(request_cut_off_by_the_end_is_bad),
		shard_test(client_that_resets_leaves_nothing_behind),
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
