/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/server_test.h: a server, its handlers and its clients, for the tests of server.c.
 *
 * Over connections without a network (fake_tcp.h), so that writes can be counted and each byte be
 * placed at its time. test_server_sim.c goes over the whole stack.
 */
#ifndef APUS_TESTS_NET_HTTP_SERVER_TEST_H
#define APUS_TESTS_NET_HTTP_SERVER_TEST_H

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
static struct apus_event gate;      /* what /wait waits for */
APUS_UNUSED static int64_t hang_rc; /* how /hang ended */
static uint64_t live_before;        /* objects on the heap */

/* --- Handlers -------------------------------------------------------------------------------- */

APUS_UNUSED static int64_t on_hello(struct apus_http_request *req, struct apus_http_response *res,
				    void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "hello\n", 6);
}

APUS_UNUSED static int64_t on_echo(struct apus_http_request *req, struct apus_http_response *res,
				   void *arg)
{
	struct apus_http_text body = apus_http_request_body(req);

	return apus_http_respond(res, 200, NULL, body.at, body.len);
}

APUS_UNUSED static int64_t on_wait(struct apus_http_request *req, struct apus_http_response *res,
				   void *arg)
{
	int rc = apus_event_wait(&gate);

	return rc < 0 ? rc : apus_http_respond(res, 200, NULL, "waited\n", 7);
}

APUS_UNUSED static int64_t on_hang(struct apus_http_request *req, struct apus_http_response *res,
				   void *arg)
{
	hang_rc = apus_sleep(APUS_NEVER);
	return hang_rc;
}

APUS_UNUSED static int64_t on_error(struct apus_http_request *req, struct apus_http_response *res,
				    void *arg)
{
	return -EIO;
}

APUS_UNUSED static int64_t on_head_error(struct apus_http_request *req,
					 struct apus_http_response *res, void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_header(res, "X-Secret", "never seen");
	return rc < 0 ? rc : -EIO;
}

APUS_UNUSED static int64_t on_late_error(struct apus_http_request *req,
					 struct apus_http_response *res, void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_stream(res, 100);
	if (rc == 0)
		rc = apus_http_response_write(res, "part", 4);
	return rc < 0 ? rc : apus_http_response_end(res); /* -ENODATA: 96 are missing */
}

APUS_UNUSED static int64_t on_silent(struct apus_http_request *req, struct apus_http_response *res,
				     void *arg)
{
	return 0;
}

APUS_UNUSED static int64_t on_stream(struct apus_http_request *req, struct apus_http_response *res,
				     void *arg)
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

APUS_UNUSED static int64_t on_big(struct apus_http_request *req, struct apus_http_response *res,
				  void *arg)
{
	return apus_http_respond(res, 200, NULL, big, sizeof(big));
}

APUS_UNUSED static int64_t on_split(struct apus_http_request *req, struct apus_http_response *res,
				    void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	assert_int_equal(rc, 0);
	assert_int_equal(apus_http_response_header(res, "X-Name", "a\r\nSet-Cookie: b"), -EINVAL);
	return apus_http_response_body(res, NULL, 0); /* the error stays */
}

APUS_UNUSED static int64_t on_many_headers(struct apus_http_request *req,
					   struct apus_http_response *res, void *arg)
{
	static char value[1000];
	int rc = apus_http_response_begin(res, 200);

	memset(value, 'v', sizeof(value) - 1);
	for (size_t i = 0; rc == 0 && i < (size_t)(intptr_t)arg; i++)
		rc = apus_http_response_header(res, "X-Long", value);
	return rc < 0 ? rc : apus_http_response_body(res, NULL, 0);
}

/* --- Around the tests ------------------------------------------------------------------------ */

APUS_UNUSED static void add(enum apus_http_method method, const char *path, apus_http_handler_fn fn,
			    void *arg)
{
	ok(apus_http_router_add(router, method, path, fn, arg));
}

APUS_UNUSED static void start_with(struct apus_http_server_options options)
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

APUS_UNUSED static void start(void)
{
	start_with((struct apus_http_server_options){0});
}

APUS_UNUSED static void stop(void)
{
	ok(apus_http_server_close(server, APUS_SEC));
	apus_http_router_destroy(router);
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live_before);
}

/* Let everything that is ready run, without time passing. */
APUS_UNUSED static void settle(void)
{
	for (int i = 0; i < 20; i++)
		ok(apus_yield());
}

/* Send, let the server work, and give what it wrote. */
APUS_UNUSED static const char *exchange(struct apus_tcp *c, const char *request)
{
	fake_send(c, request);
	settle();
	return fake_take(c);
}

static uint64_t counter_sum;
APUS_UNUSED static const char *counter_name;

APUS_UNUSED static void add_counter(void *arg, const char *area, const char *name, uint64_t value)
{
	if ((!strcmp(area, "http") || !strcmp(area, "server")) && !strcmp(name, counter_name))
		counter_sum += value;
}

APUS_UNUSED static uint64_t counter(const char *name)
{
	counter_sum = 0;
	counter_name = name;
	apus_metrics_visit(apus_shard_metrics(apus_shard_self()), add_counter, NULL);
	return counter_sum;
}

APUS_UNUSED APUS_NOINLINE static void assert_begins(const char *text, const char *begin)
{
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("expected: %s\ngot: %s", begin, text);
}

APUS_UNUSED APUS_NOINLINE static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("missing: %s\nin: %s", part, text);
}

APUS_UNUSED static void end_client(struct apus_tcp *c, enum fake_end end)
{
	fake_send_end(c);
	settle();
	assert_int_equal(c->end, end);
	assert_false(c->unread);
	fake_free(c);
}

#endif
