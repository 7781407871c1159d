/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_server.c: what a server answers, and in how many writes.
 */
#include "tests/net/http/server_test.h"

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
	assert_int_equal(counter("client_resets"), 2);
	assert_int_equal(counter("aborts"), 1); /* there was an answer to be sent */
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
	};

	return test_main(argc, argv, tests);
}
