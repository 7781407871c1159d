/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_router.c: which handler answers which path and method.
 */
#include "net/http/parser.h"
#include "net/http/response_internal.h"
#include "net/http/router.h"
#include "tests/net/http/fake_tcp.h"
#include "tests/runtime/runtime_test.h"

static struct apus_http_router *router;

/* The handler's answer is its argument. */
static int64_t say(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, NULL, arg, strlen(arg));
}

/* What the router answers to "METHOD path": the bytes behind the Date. */
static const char *ask(const char *method_and_path)
{
	static char answer[4096];
	struct apus_http_limits limits = {0};
	static struct apus_http_response_common common = {.write_ns = APUS_SEC};
	static struct apus_http_request req;
	struct apus_http_response res;
	struct apus_http_watchdog watchdog;
	struct apus_tcp *tcp = fake_open();
	struct apus_stream *stream;
	char text[2048];

	snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", method_and_path);
	apus_http_limits_complete(&limits);
	apus_http_date_init(&common.date);
	apus_http_parser_init(&req, &limits);
	assert_int_equal(apus_http_parser_feed(&req, text, strlen(text)), APUS_HTTP_COMPLETE);
	ok(apus_stream_open(tcp, 0, &stream));
	apus_http_watchdog_init(&watchdog, apus_task_self());
	apus_http_response_init(&res, stream, &watchdog, &common);
	res.how.keep_alive = true;
	ok(apus_http_router_handle(&req, &res, router));
	ok(apus_stream_close(stream));
	apus_http_watchdog_fini(&watchdog);
	strcpy(answer, fake_take(tcp));
	fake_free(tcp);
	memmove(strstr(answer, "Date: "), strstr(answer, " GMT\r\n") + 6,
		strlen(strstr(answer, " GMT\r\n") + 6) + 1);
	return answer;
}

static void assert_says(const char *method_and_path, const char *body)
{
	const char *answer = ask(method_and_path);
	const char *end = strstr(answer, "\r\n\r\n");

	assert_non_null(end);
	assert_memory_equal(answer, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(end + 4, body);
}

static void get(const char *path, void *says)
{
	ok(apus_http_router_add(router, APUS_HTTP_GET, path, say, says));
}

static void get_below(const char *path, void *says)
{
	ok(apus_http_router_add_prefix(router, APUS_HTTP_GET, path, say, says));
}

static int64_t paths(void *arg)
{
	ok(apus_http_router_create(&router));
	get("/", "root");
	get("/a", "a");
	get("/a/b", "ab");
	get("/a/", "a/");
	get_below("/a/", "below a");
	get_below("/a/b/c/", "below abc");
	get_below("/%2F/", "below an escape");

	assert_says("GET /", "root");
	assert_says("GET /?query", "root");
	assert_says("GET http://h", "root");
	assert_says("GET /a", "a");
	assert_says("GET /%61", "a");
	assert_says("GET /a/b", "ab");
	assert_says("GET /a/", "a/");
	assert_says("GET /a/x", "below a");
	assert_says("GET /a/b/", "below a");
	assert_says("GET /a/b/c", "below a");
	assert_says("GET /a/b/c/", "below abc");
	assert_says("GET /a/b/c/d/e/f/g", "below abc");
	assert_says("GET /%2F/x", "below an escape");
	assert_memory_equal(ask("GET /b"), "HTTP/1.1 404 Not Found\r\n", 24);
	assert_memory_equal(ask("GET /A"), "HTTP/1.1 404 Not Found\r\n", 24);
	assert_memory_equal(ask("GET //"), "HTTP/1.1 404 Not Found\r\n", 24);
	apus_http_router_destroy(router);
	return 0;
}

static void exact_path_wins_then_the_longest_prefix(void **state)
{
	ok(test_run(paths, NULL));
}

static int64_t methods(void *arg)
{
	ok(apus_http_router_create(&router));
	get("/", "get");
	ok(apus_http_router_add(router, APUS_HTTP_POST, "/", say, "post"));
	ok(apus_http_router_add(router, APUS_HTTP_DELETE, "/d", say, "delete"));
	ok(apus_http_router_add(router, APUS_HTTP_HEAD, "/h", say, "head"));
	assert_says("GET /", "get");
	assert_says("POST /", "post");
	assert_says("HEAD /", "get"); /* the response cuts the body off, not the router */
	assert_says("HEAD /h", "head");
	assert_string_equal(ask("PUT /"),
			    "HTTP/1.1 405 Method Not Allowed\r\n"
			    "Allow: GET, HEAD, POST, OPTIONS\r\nContent-Type: text/plain\r\n"
			    "Content-Length: 23\r\n\r\n405 Method Not Allowed\n");
	assert_string_equal(ask("OPTIONS /d"),
			    "HTTP/1.1 204 No Content\r\nAllow: DELETE, OPTIONS\r\n\r\n");
	assert_memory_equal(ask("HEAD /d"), "HTTP/1.1 405", 12);
	assert_memory_equal(ask("OPTIONS *"), "HTTP/1.1 404", 12);
	apus_http_router_destroy(router);
	return 0;
}

static void unknown_method_is_405_with_allow(void **state)
{
	ok(test_run(methods, NULL));
}

static int64_t many(void *arg)
{
	static char names[3000][16];
	char line[64];

	ok(apus_http_router_create(&router));
	for (int i = 0; i < 3000; i++) {
		snprintf(names[i], sizeof(names[i]), i % 3 ? "/r/%d" : "/p/%d/", i);
		if (i % 3)
			get(names[i], names[i]);
		else
			get_below(names[i], names[i]);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(line, sizeof(line), "GET %.20s%s", names[i], i % 3 ? "" : "x");
		assert_says(line, names[i]);
	}
	assert_int_equal(apus_http_router_add(router, APUS_HTTP_GET, "/r/1", say, ""), -EEXIST);
	assert_int_equal(apus_http_router_add(router, APUS_HTTP_GET, "r", say, ""), -EINVAL);
	assert_int_equal(apus_http_router_add_prefix(router, APUS_HTTP_GET, "/r", say, ""),
			 -EINVAL);
	apus_http_router_destroy(router);
	return 0;
}

static void thousands_of_routes_are_each_found(void **state)
{
	ok(test_run(many, NULL));
}

static int64_t out_of_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	uint64_t live = heap->live;
	char path[16];

	for (int64_t n = 0; n < 40; n++) {
		int rc;

		apus_heap_fail_after(heap, n);
		rc = apus_http_router_create(&router);
		if (rc == 0) {
			for (int i = 0; i < 30 && rc == 0; i++) {
				sprintf(path, "/%d", i);
				rc = apus_http_router_add(router, APUS_HTTP_GET, path, say, NULL);
			}
			apus_http_router_destroy(router);
		}
		apus_heap_fail_after(heap, -1);
		assert_int_equal(rc, n < 34 ? -ENOMEM : 0); /* 2, 30 routes, 2 growths */
		assert_int_equal(heap->live, live);
	}
	return 0;
}

static void want_of_memory_leaves_nothing_behind(void **state)
{
	ok(test_run(out_of_memory, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(exact_path_wins_then_the_longest_prefix),
		shard_test(unknown_method_is_405_with_allow),
		shard_test(thousands_of_routes_are_each_found),
		shard_test(want_of_memory_leaves_nothing_behind),
	};

	return test_main(argc, argv, tests);
}
