/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_parser_next.c: a request after another on one connection comes to what it would
 * come to alone, field by field, whether its head is the same, nearly the same, or another.
 */
#include "net/http/parser.h"
#include "runtime/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "Host: h\r\n"

static struct apus_http_limits limits;
static struct apus_http_request after, alone;

static int setup(void **state)
{
	limits = (struct apus_http_limits){0};
	apus_http_limits_complete(&limits);
	return 0;
}

/* A copy of exactly `len` bytes, so that ASan sees a step beyond. */
static char *copied(const char *bytes, size_t len)
{
	char *p = malloc(len ? len : 1);

	assert_non_null(p);
	memcpy(p, bytes, len);
	return p;
}

static enum apus_http_verdict next(struct apus_http_request *r, char *bytes, size_t len)
{
	if (apus_http_parser_next(r, bytes, len))
		return APUS_HTTP_COMPLETE;
	return apus_http_parser_feed(r, bytes, len);
}

static bool same_span(struct apus_http_span a, struct apus_http_span b)
{
	return a.at == b.at && a.len == b.len;
}

static bool same_outcome(const struct apus_http_request *a, const struct apus_http_request *b)
{
	if (a->status != b->status || a->complete != b->complete || a->parsed != b->parsed)
		return false;
	if (!a->complete || a->status) /* the rest is not for anybody's eyes */
		return true;
	for (size_t i = 0; i < a->headers_count && i < b->headers_count; i++)
		if (!same_span(a->headers[i].name, b->headers[i].name) ||
		    !same_span(a->headers[i].value, b->headers[i].value))
			return false;
	return a->len == b->len && a->limits == b->limits && a->body_at == b->body_at &&
	       a->body_bytes == b->body_bytes && a->framing == b->framing &&
	       same_span(a->target, b->target) && same_span(a->path, b->path) &&
	       same_span(a->query, b->query) && a->headers_count == b->headers_count &&
	       a->method == b->method && a->minor == b->minor && a->head_done == b->head_done &&
	       a->keep_alive == b->keep_alive && a->expects_continue == b->expects_continue &&
	       a->has_query == b->has_query && a->seen_host == b->seen_host;
}

/* `second` on the connection that said `first`, and on a new one, with fast.c and without. */
static void compare(const char *first, size_t first_bytes, const char *second, size_t bytes)
{
	for (int slow = 0; slow < 2; slow++) {
		char *before = copied(first, first_bytes), *a = copied(second, bytes);
		char *b = copied(second, bytes);
		enum apus_http_verdict got, wanted;

		apus_http_parser_init(&after, &limits);
		(void)next(&after, before, first_bytes);
		free(before);
		got = next(&after, a, bytes);
		apus_http_parser_init(&alone, &limits);
		alone.slow = slow;
		wanted = apus_http_parser_feed(&alone, b, bytes);
		if (got != wanted || !same_outcome(&after, &alone) || after.base != a)
			fail_msg("not as alone: \"%.*s\" after \"%.*s\"", (int)bytes, second,
				 (int)first_bytes, first);
		free(a);
		free(b);
	}
}

static const char *const table[] = {
	"GET / HTTP/1.1\r\nHost: 10.7.0.1\r\n\r\n",
	"GET / HTTP/1.1\r\n" HOST "\r\n",     /* too short to be kept */
	"GET /abcd HTTP/1.1\r\n" HOST "\r\n", /* the shortest that is kept has 32 bytes */
	"GET /abcdefg HTTP/1.1\r\nHost: hh\r\n\r\n",
	"HEAD /a/b.html?x=1&y=2 HTTP/1.1\r\n" HOST "Accept: */*\r\n\r\n",
	"GET /a?b HTTP/1.1\r\n" HOST "User-Agent: curl/7.88.1\r\nAccept: text/html  \r\n\r\n",
	"GET /a?b HTTP/1.1\r\n" HOST "User-Agent: curl/7.88.1\r\nAccept: text/html  \r\n\r\nGET /",
	"GET /x HTTP/1.0\r\n" HOST "Connection: keep-alive\r\nX: 0123456789\r\n\r\n",
	"GET /x HTTP/1.1\r\n" HOST "Connection: close\r\nX: 0123456789\r\n\r\n",
	"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
	"GET /%7Ex HTTP/1.1\r\n" HOST "\r\n",
	"GET /x HTTP/1.1\r\nX: 0123456789\r\n\r\n", /* no host: 400 */
	"BREW /x HTTP/1.1\r\n" HOST "\r\n",
	"",
};

static void any_request_after_any_other_is_as_alone(void **state)
{
	for (size_t i = 0; i < apus_countof(table); i++)
		for (size_t j = 0; j < apus_countof(table); j++)
			compare(table[i], strlen(table[i]), table[j], strlen(table[j]));
}

static void request_that_differs_by_a_byte_is_as_alone(void **state)
{
	static const char others[] = {' ', '\r', '\n', ':', '?', 'a', '1', 0, 0x7f, (char)0x80};

	for (size_t i = 0; i < apus_countof(table); i++) {
		size_t len = strlen(table[i]);

		for (size_t at = 0; at < len; at++) {
			char *other = copied(table[i], len);

			for (size_t k = 0; k < sizeof(others); k++) {
				other[at] = others[k];
				compare(table[i], len, other, len);
			}
			free(other);
		}
	}
}

static void part_of_the_same_request_is_as_alone(void **state)
{
	for (size_t i = 0; i < apus_countof(table); i++)
		for (size_t len = 0; len < strlen(table[i]); len++)
			compare(table[i], strlen(table[i]), table[i], len);
}

static void more_behind_the_same_request_is_not_looked_at(void **state)
{
	char twice[1024];

	for (size_t i = 0; i < apus_countof(table); i++)
		for (size_t j = 0; j < apus_countof(table); j++) {
			snprintf(twice, sizeof(twice), "%s%s", table[i], table[j]);
			compare(table[i], strlen(table[i]), twice, strlen(twice));
			compare(twice, strlen(twice), table[i], strlen(table[i]));
		}
}

/* As long as can be kept, and longer; with differences anywhere. */
static void long_heads_are_as_alone(void **state)
{
	char head[2 * APUS_HTTP_KEPT_BYTES], other[2 * APUS_HTTP_KEPT_BYTES];
	struct apus_random random;

	apus_random_init_seed(&random, 1);
	for (int padding = APUS_HTTP_KEPT_BYTES - 40; padding < APUS_HTTP_KEPT_BYTES + 8;
	     padding++) {
		int len = snprintf(head, sizeof(head), "GET /x HTTP/1.1\r\n" HOST "X: %0*d\r\n\r\n",
				   padding, 1);

		compare(head, (size_t)len, head, (size_t)len);
		for (int i = 0; i < 20; i++) {
			memcpy(other, head, (size_t)len);
			other[apus_random_below(&random, (uint64_t)len)] ^=
				(char)(1 << apus_random_below(&random, 8));
			compare(head, (size_t)len, other, (size_t)len);
		}
	}
}

static void same_head_is_recognised_and_a_request_in_between_forgets_it(void **state)
{
	const char *head = table[0];
	size_t len = strlen(head);
	char *first = copied(head, len), *again = copied(head, len);

	apus_http_parser_init(&after, &limits);
	assert_true(apus_http_parser_next(&after, first, len));
	assert_int_equal(after.kept_bytes, len);
	free(first);
	after.headers[0].value.len = 1; /* if it were parsed, this would be put right */
	assert_true(apus_http_parser_next(&after, again, len));
	assert_int_equal(after.headers[0].value.len, 1);

	char *post = copied(table[9], strlen(table[9]));

	assert_int_equal(next(&after, post, strlen(table[9])), APUS_HTTP_COMPLETE);
	assert_int_equal(after.kept_bytes, 0);
	free(post);
	assert_true(apus_http_parser_next(&after, again, len));
	assert_int_equal(after.headers[0].value.len, 8);
	free(again);
}

static void limits_hold_after_a_request_within_them(void **state)
{
	limits = (struct apus_http_limits){.head_bytes = 64, .headers = 2};
	apus_http_limits_complete(&limits);
	for (size_t i = 0; i < apus_countof(table); i++)
		for (size_t j = 0; j < apus_countof(table); j++)
			compare(table[i], strlen(table[i]), table[j], strlen(table[j]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(any_request_after_any_other_is_as_alone),
		TEST(request_that_differs_by_a_byte_is_as_alone),
		TEST(part_of_the_same_request_is_as_alone),
		TEST(more_behind_the_same_request_is_not_looked_at),
		TEST(long_heads_are_as_alone),
		TEST(same_head_is_recognised_and_a_request_in_between_forgets_it),
		TEST(limits_hold_after_a_request_within_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
