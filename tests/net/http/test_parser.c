/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_parser.c: what bytes are which request, and which are none.
 *
 * Every message is fed whole, byte by byte, and in two parts at every position, from a buffer that
 * moves between the feeds, with and without fast.c: the outcome has to be the same.
 */
#include "net/http/fast.h"
#include "net/http/parser.h"
#include "net/http/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "Host: h\r\n"

static struct apus_http_limits limits;
static struct apus_http_request request;
static char *heap; /* where the request is now */
static bool slow;  /* without fast.c */

static int setup(void **state)
{
	limits = (struct apus_http_limits){0};
	apus_http_limits_complete(&limits);
	return 0;
}

static int teardown(void **state)
{
	free(heap);
	heap = NULL;
	return 0;
}

/* A copy of exactly `len` bytes, so that ASan sees a step beyond; the old one is gone. */
static char *move_to_heap(const char *kept, size_t kept_bytes, const char *more, size_t more_bytes)
{
	char *p = malloc(kept_bytes + more_bytes + 1); /* never 0 bytes */

	assert_non_null(p);
	p = realloc(p, kept_bytes + more_bytes ? kept_bytes + more_bytes : 1);
	memcpy(p, kept, kept_bytes);
	memcpy(p + kept_bytes, more, more_bytes);
	return p;
}

/* Feed `bytes` in pieces that end at each of `ends`; squeeze as a connection does. */
static enum apus_http_verdict feed_pieces(const char *bytes, size_t len, size_t step, size_t first)
{
	enum apus_http_verdict verdict = APUS_HTTP_MORE;
	size_t held = 0, fed = 0;

	free(heap);
	heap = NULL;
	apus_http_parser_init(&request, &limits);
	request.slow = slow;
	while (fed < len && verdict == APUS_HTTP_MORE) {
		size_t n = fed == 0 && first ? first : step;

		n = apus_min(n, len - fed);

		char *next = move_to_heap(heap ? heap : "", held, bytes + fed, n);

		free(heap);
		heap = next;
		held += n;
		fed += n;
		verdict = apus_http_parser_feed(&request, heap, held);
		assert_true(apus_http_request_check(&request, held));

		size_t at;
		size_t dead = apus_http_parser_squeeze(&request, &at);

		memmove(heap + at * !!dead, heap + (at + dead) * !!dead,
			dead ? held - at - dead : 0);
		held -= dead;
	}
	return verdict;
}

typedef void (*check_fn)(enum apus_http_verdict verdict);

static void in_every_division(const char *bytes, size_t len, check_fn check)
{
	for (int way = 0; way < 2; way++) {
		slow = way;
		check(feed_pieces(bytes, len, len, 0));
		check(feed_pieces(bytes, len, 1, 0));
		for (size_t i = 1; i < len; i++)
			check(feed_pieces(bytes, len, len, i));
	}
	slow = false;
}

static void assert_text(struct apus_http_text t, const char *expected)
{
	assert_non_null(t.at);
	assert_int_equal(t.len, strlen(expected));
	assert_memory_equal(t.at, expected, t.len);
}

/* --- Good requests --------------------------------------------------------------------------- */

static const char get_message[] =
	"GET /a/b?x=1&y HTTP/1.1\r\nHost: example.org:80\r\n"
	"Accept:text/html  \r\nX-Empty:\r\nX-Blank: \t \r\nx-two: a b\r\n\r\n";

static void check_get(enum apus_http_verdict verdict)
{
	struct apus_http_text name;

	assert_int_equal(verdict, APUS_HTTP_COMPLETE);
	assert_int_equal(request.parsed, sizeof(get_message) - 1);
	assert_int_equal(apus_http_request_method(&request), APUS_HTTP_GET);
	assert_int_equal(apus_http_request_minor(&request), 1);
	assert_text(apus_http_request_path(&request), "/a/b");
	assert_text(apus_http_request_query(&request), "x=1&y");
	assert_text(apus_http_request_header(&request, "hOST"), "example.org:80");
	assert_text(apus_http_request_header(&request, "accept"), "text/html");
	assert_text(apus_http_request_header(&request, "X-Empty"), "");
	assert_text(apus_http_request_header(&request, "X-Blank"), "");
	assert_text(apus_http_request_header(&request, "X-Two"), "a b");
	assert_null(apus_http_request_header(&request, "X-None").at);
	assert_int_equal(apus_http_request_header_count(&request), 5);
	assert_text(apus_http_request_header_at(&request, 4, &name), "a b");
	assert_text(name, "x-two");
	assert_int_equal(apus_http_request_body(&request).len, 0);
	assert_true(request.keep_alive);
}

static void get_in_every_division_is_the_same(void **state)
{
	in_every_division(get_message, sizeof(get_message) - 1, check_get);
}

static const char post_message[] =
	"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world";

static void check_post(enum apus_http_verdict verdict)
{
	assert_int_equal(verdict, APUS_HTTP_COMPLETE);
	assert_int_equal(request.parsed, sizeof(post_message) - 1);
	assert_text(apus_http_request_body(&request), "hello world");
}

static void body_by_length_in_every_division_is_the_same(void **state)
{
	in_every_division(post_message, sizeof(post_message) - 1, check_post);
}

static const char chunked_message[] =
	"PUT /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
	"5\r\nhello\r\n1;name=value\r\n \r\n005\r\nworld\r\n0\r\nTrailer: t\r\n\r\n";

static void check_chunked(enum apus_http_verdict verdict)
{
	assert_int_equal(verdict, APUS_HTTP_COMPLETE);
	assert_text(apus_http_request_body(&request), "hello world");
	assert_null(apus_http_request_header(&request, "Trailer").at);
}

static void chunked_body_in_every_division_is_decoded_in_place(void **state)
{
	in_every_division(chunked_message, sizeof(chunked_message) - 1, check_chunked);
}

static const char absolute_message[] = "GET http://h.example:8080?q HTTP/1.1\r\n" HOST "\r\n";

static void check_absolute(enum apus_http_verdict verdict)
{
	assert_int_equal(verdict, APUS_HTTP_COMPLETE);
	assert_text(apus_http_request_path(&request), "/");
	assert_text(apus_http_request_query(&request), "q");
}

static void absolute_target_loses_its_authority(void **state)
{
	in_every_division(absolute_message, sizeof(absolute_message) - 1, check_absolute);
}

static const char escaped_message[] = "GET /%7euser/%2fa%41%5A%2e?%41 HTTP/1.1\r\n" HOST "\r\n";

static void check_escaped(enum apus_http_verdict verdict)
{
	assert_int_equal(verdict, APUS_HTTP_COMPLETE);
	assert_text(apus_http_request_path(&request), "/~user/%2faAZ.");
	assert_text(apus_http_request_query(&request), "%41");
}

static void unreserved_escapes_have_one_spelling(void **state)
{
	in_every_division(escaped_message, sizeof(escaped_message) - 1, check_escaped);
}

static void pipelined_request_ends_where_the_next_begins(void **state)
{
	static const char two[] = "GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n";
	size_t half = (sizeof(two) - 1) / 2;

	assert_int_equal(feed_pieces(two, sizeof(two) - 1, sizeof(two), 0), APUS_HTTP_COMPLETE);
	assert_int_equal(request.parsed, half);
	assert_text(apus_http_request_path(&request), "/1");
}

static void empty_lines_before_a_request_are_skipped(void **state)
{
	static const char message[] = "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n";

	assert_int_equal(feed_pieces(message, sizeof(message) - 1, 1, 0), APUS_HTTP_COMPLETE);
}

static void expect_is_seen_before_the_body(void **state)
{
	static const char head[] =
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n";

	assert_int_equal(feed_pieces(head, sizeof(head) - 1, sizeof(head), 0), APUS_HTTP_MORE);
	assert_true(request.head_done);
	assert_true(request.expects_continue);
}

/* --- Keep-alive: RFC 9112 §9.3 --------------------------------------------------------------- */

static void keep_alive_follows_version_and_connection(void **state)
{
	static const struct {
		const char *message;
		bool keep_alive;
	} table[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", true},
		{"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" HOST "Connection: Keep-Alive, Close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
	};

	for (size_t i = 0; i < apus_countof(table); i++) {
		size_t len = strlen(table[i].message);

		assert_int_equal(feed_pieces(table[i].message, len, len, 0), APUS_HTTP_COMPLETE);
		assert_int_equal(request.parsed, len);
		if (request.keep_alive != table[i].keep_alive)
			fail_msg("keep_alive is wrong for: %s", table[i].message);
	}
}

/* --- Bad requests ---------------------------------------------------------------------------- */

#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

struct bad {
	const char *message;
	uint16_t status;
};

static const struct bad bad_table[] = {
	/* the request line */
	{"\x16\x03\x01", 400},
	{"GET\r\n", 400},
	{"GET /\r\n\r\n", 400},
	{"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
	{"GET / HTTP/1.1\n" HOST "\r\n", 400},
	{"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
	{"GET / HTTP/1\r\n" HOST "\r\n", 400},
	{"GET / HTTP/x.1\r\n" HOST "\r\n", 400},
	{"GET / http/1.1\r\n" HOST "\r\n", 400},
	{"GET / RTSP/1.0\r\n" HOST "\r\n", 400},
	{"GET / ICE/1.0\r\n" HOST "\r\n", 400},
	{"GET / HTTP/0.9\r\n\r\n", 505},
	{"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
	{"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
	{"GET / HTTP/3.1\r\n" HOST "\r\n", 505},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"BREW / HTTP/1.1\r\n" HOST "\r\n", 501},
	{"GETX / HTTP/1.1\r\n" HOST "\r\n", 501},
	{"get / HTTP/1.1\r\n" HOST "\r\n", 501},
	{"PROPFIND / HTTP/1.1\r\n" HOST "\r\n", 501},
	{"CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", 501},
	{"G\x01 / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"G@T / HTTP/1.1\r\n" HOST "\r\n", 400},
	/* the target */
	{"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\xff HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /%4 HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n", 400},
	/* headers */
	{"GET / HTTP/1.1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A: b\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A: b\rC: d\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "\rX", 400},
	{"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A:\r\n c\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n " HOST "\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "A\x80: b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n", 417},
	/* lengths that two readers read differently */
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\nabc", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST
	 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400},
	{"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
	/* chunks */
	{CHUNKED "3\nabc\r\n0\r\n\r\n", 400},
	{CHUNKED "3 \r\nabc\r\n0\r\n\r\n", 400},
	{CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", 400},
	{CHUNKED "-3\r\nabc\r\n0\r\n\r\n", 400},
	{CHUNKED "g\r\n", 400},
	{CHUNKED "\r\n", 400},
	{CHUNKED "3\r\nabcX0\r\n\r\n", 400},
	{CHUNKED "3\r\nabc\n0\r\n\r\n", 400},
	{CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", 400},
	{CHUNKED "3\r\nabc\r\n0\r\n\rX", 400},
	{CHUNKED "3\r\nabc\r\n0\r\n\n", 400},
	{CHUNKED "3\r\nabc\r\n0\r\nT: x\r\n\n", 400},
	/* limits */
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", 413},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", 413},
};

static const struct bad *bad_now;

static void check_bad(enum apus_http_verdict verdict)
{
	if (verdict != APUS_HTTP_REJECTED || request.status != bad_now->status)
		fail_msg("verdict %d, status %u, not %u, for: %s", verdict, request.status,
			 bad_now->status, bad_now->message);
}

static void bad_requests_get_their_status_in_every_division(void **state)
{
	for (size_t i = 0; i < apus_countof(bad_table); i++) {
		bad_now = &bad_table[i];
		in_every_division(bad_now->message, strlen(bad_now->message), check_bad);
	}
}

static void nul_in_a_header_is_refused(void **state)
{
	static const char message[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";

	assert_int_equal(feed_pieces(message, sizeof(message) - 1, 1, 0), APUS_HTTP_REJECTED);
	assert_int_equal(request.status, 400);
}

/* --- The fast way ---------------------------------------------------------------------------- */

static bool is_fast(const char *message, size_t len)
{
	char *p = move_to_heap("", 0, message, len);

	apus_http_parser_init(&request, &limits);
	request.base = p;
	request.len = len;

	bool fast = apus_http_parse_fast(&request);

	free(p);
	return fast;
}

/* Where `c` stands in a text of `len` other bytes of the class, each class. */
static void scan_one(unsigned int c, size_t at, size_t len)
{
	/* Of exactly so many bytes, so that ASan sees a step beyond. */
	char *text = malloc(len);
	const char *end = text + len;
	size_t last = c < 0x20 || c == 0x7f ? at : len;

	assert_non_null(text);
	memset(text, 'a', len);
	text[at] = (char)c;
	assert_ptr_equal(apus_http_scan(text, end, APUS_HTTP_SCAN_TEXT), text + last);
#define CLASS(name)                                                               \
 last = apus_http_chars[c] & APUS_HTTP_CHAR_##name ? len : at;                    \
 if (apus_http_scan(text, end, APUS_HTTP_CHAR_##name) != text + last)             \
  fail_msg("%s: 0x%02x at %zu of %zu", #name, c, at, len);                        \
 if (len - at > 16 && apus_http_scan(end - 3, end, APUS_HTTP_CHAR_##name) != end) \
 fail_msg("%s: the last three of %zu", #name, len)
	CLASS(TOKEN);
	CLASS(HOST);
	CLASS(PATH);
	CLASS(QUERY);
#undef CLASS
	free(text);
}

static void scan_ends_at_what_is_not_of_the_class(void **state)
{
	for (unsigned int c = 0; c < 256; c++)
		for (size_t len = APUS_HTTP_SCAN_LEAST; len < 3 * APUS_HTTP_SCAN_LEAST + 2; len++)
			for (size_t at = 0; at < len; at++)
				scan_one(c, at, len);
}

static void plain_requests_go_the_fast_way(void **state)
{
	static const char *const table[] = {
		"GET / HTTP/1.1\r\n" HOST "\r\n",
		"HEAD /a/b.html?x=%20&y=? HTTP/1.1\r\nhOsT: [::1]:80\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "User-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\nGET",
		"GET / HTTP/1.1\r\nHost:\r\nX:a long value with \xe4, and trailing blanks   \r\n\r\n",
	};

	for (size_t i = 0; i < apus_countof(table); i++)
		if (!is_fast(table[i], strlen(table[i])))
			fail_msg("goes the slow way: %s", table[i]);
}

static void unusual_requests_go_the_slow_way(void **state)
{
	static const char *const table[] = {
		"POST / HTTP/1.1\r\n" HOST "\r\n",
		"\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
		"GET / HTTP/1.0\r\n" HOST "\r\n",
		"GET /%41 HTTP/1.1\r\n" HOST "\r\n",
		"GET http://h/ HTTP/1.1\r\n" HOST "\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Proxy-Connection: close\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "A: b\tc\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n",
	};
	static const char plain[] = "GET / HTTP/1.1\r\n" HOST "A: b\r\n\r\n";

	for (size_t i = 0; i < apus_countof(table); i++)
		if (is_fast(table[i], strlen(table[i])))
			fail_msg("goes the fast way: %s", table[i]);
	for (size_t len = 0; len < sizeof(plain) - 1; len++)
		assert_false(is_fast(plain, len));
	assert_true(is_fast(plain, sizeof(plain) - 1));
}

/* All that a handler could see. */
static uint64_t digest(void)
{
	uint64_t d = request.status + request.keep_alive * 1000 + request.method * 2000;
	struct apus_http_text texts[2 + 2 * APUS_HTTP_HEADERS_MAX];
	size_t n = 0;

	if (!request.complete || request.status)
		return d;
	d = d * 31 + request.parsed * 7 + request.minor;
	texts[n++] = apus_http_request_path(&request);
	texts[n++] = apus_http_request_query(&request);
	for (size_t i = 0; i < apus_http_request_header_count(&request); i++, n += 2)
		texts[n + 1] = apus_http_request_header_at(&request, i, &texts[n]);
	for (size_t i = 0; i < n; i++) {
		d = (d ^ texts[i].len) * UINT64_C(1099511628211);
		for (size_t k = 0; k < texts[i].len; k++)
			d = (d ^ (uint8_t)texts[i].at[k]) * UINT64_C(1099511628211);
	}
	return d;
}

/* Plain requests with a few bytes changed: near to what the fast way takes, and to its edges. */
static void both_ways_agree_on_changed_requests(void **state)
{
	static const char base[] = "GET /abc/d?e=f HTTP/1.1\r\nHost: example.org\r\n"
				   "Connectio: n\r\nUser-Agent: curl/7.88.1\r\nX: \r\n\r\n";
	static const char edits[] = "\r\n\t :/?%#HCOPc01\x7f\x80\x01\"*";
	uint64_t random = 1, fast_ones = 0;

	for (int i = 0; i < 100000; i++) {
		char message[sizeof(base)];
		enum apus_http_verdict verdicts[2];
		uint64_t digests[2];

		memcpy(message, base, sizeof(base));
		for (int k = 0; k < 1 + i % 3; k++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			message[(random >> 33) % (sizeof(base) - 1)] =
				edits[(random >> 20) % (sizeof(edits) - 1)];
		}
		for (int way = 0; way < 2; way++) {
			slow = way;
			verdicts[way] = feed_pieces(message, sizeof(base) - 1, sizeof(base), 0);
			digests[way] = digest();
		}
		slow = false;
		fast_ones += is_fast(message, sizeof(base) - 1);
		if (verdicts[0] != verdicts[1] || digests[0] != digests[1])
			fail_msg("two answers to change %d: %s", i, message);
	}
	assert_true(fast_ones > 5000 && fast_ones < 95000);
}

/* --- Limits ---------------------------------------------------------------------------------- */

/* "GET /aaa… HTTP/1.1", Host, and `headers` headers of `value` bytes each. */
static size_t make(char *to, size_t uri, size_t headers, size_t value)
{
	char *p = to;

	p += sprintf(p, "GET /");
	memset(p, 'a', uri - 1);
	p += uri - 1;
	p += sprintf(p, " HTTP/1.1\r\n" HOST);
	for (size_t i = 0; i < headers; i++) {
		p += sprintf(p, "X: ");
		memset(p, 'v', value);
		p += value;
		p += sprintf(p, "\r\n");
	}
	p += sprintf(p, "\r\n");
	return (size_t)(p - to);
}

static char large[65536];

static uint16_t status_of_message(size_t len)
{
	enum apus_http_verdict whole = feed_pieces(large, len, len, 0);
	uint16_t status = request.status;

	assert_int_equal(feed_pieces(large, len, 7, 0), whole);
	assert_int_equal(request.status, status);
	assert_int_equal(whole, status ? APUS_HTTP_REJECTED : APUS_HTTP_COMPLETE);
	return status;
}

static void uri_at_its_limit_passes_and_one_more_is_414(void **state)
{
	assert_int_equal(status_of_message(make(large, 8192, 0, 0)), 0);
	assert_int_equal(status_of_message(make(large, 8193, 0, 0)), 414);
	assert_int_equal(status_of_message(make(large, 40000, 0, 0)), 414);
}

static void headers_at_their_count_pass_and_one_more_is_431(void **state)
{
	assert_int_equal(status_of_message(make(large, 1, 99, 1)), 0);
	assert_int_equal(status_of_message(make(large, 1, 100, 1)), 431);
}

static void head_at_its_bytes_passes_and_one_more_is_431(void **state)
{
	size_t frame = make(large, 1, 1, 0);

	assert_int_equal(status_of_message(make(large, 1, 1, 16384 - frame)), 0);
	assert_int_equal(status_of_message(make(large, 1, 1, 16384 - frame + 1)), 431);
	assert_int_equal(status_of_message(make(large, 1, 1, 40000)), 431);
}

static void chunked_body_over_its_limit_is_413(void **state)
{
	limits.body_bytes = 10;

	static const char at[] = CHUNKED "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
	static const char over[] = CHUNKED "5\r\nhello\r\n6\r\nworlds\r\n0\r\n\r\n";

	assert_int_equal(feed_pieces(at, sizeof(at) - 1, 1, 0), APUS_HTTP_COMPLETE);
	assert_int_equal(feed_pieces(over, sizeof(over) - 1, 1, 0), APUS_HTTP_REJECTED);
	assert_int_equal(request.status, 413);
}

static void chunk_extensions_without_end_are_refused(void **state)
{
	size_t len = (size_t)sprintf(large, CHUNKED "1;");

	memset(large + len, 'e', 20000);
	assert_int_equal(feed_pieces(large, len + 20000, 100, 0), APUS_HTTP_REJECTED);
	assert_int_equal(request.status, 400);
	assert_true(request.parsed < len + 16384 + 200);
}

static void squeeze_keeps_the_buffer_at_head_and_body(void **state)
{
	static const char head[] = CHUNKED;
	char *message = malloc(sizeof(head) + 6000 * 6 + 5);
	char *p = message + sprintf(message, "%s", head);

	for (int i = 0; i < 6000; i++)
		p += sprintf(p, "1\r\n%c\r\n", 'a' + i % 26);
	p += sprintf(p, "0\r\n\r\n");

	assert_int_equal(feed_pieces(message, (size_t)(p - message), 600, 0), APUS_HTTP_COMPLETE);
	assert_int_equal(request.body_bytes, 6000);
	assert_true(request.parsed <= sizeof(head) - 1 + 6000 + 600);
	for (size_t i = 0; i < 6000; i++)
		assert_int_equal(apus_http_request_body(&request).at[i], 'a' + i % 26);
	free(message);
}

static void decode_takes_escapes_out_and_refuses_bad_ones(void **state)
{
	static const struct {
		const char *text;
		int64_t rc;
		const char *plain;
	} table[] = {
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"%61%2F%2f", 3, "a//"},
		{"a%20b+", 4, "a b+"},
		{"%e4%F6", 2, "\xe4\xf6"},
		{"%", -22, NULL},
		{"%4", -22, NULL},
		{"%4g", -22, NULL},
		{"%00", -22, NULL},
		{"1234567", 7, "1234567"},
		{"12345678", -90, NULL},
	};

	for (size_t i = 0; i < apus_countof(table); i++) {
		char buf[8];
		struct apus_http_text t = {.at = table[i].text, .len = strlen(table[i].text)};

		assert_int_equal(apus_http_decode(t, buf, sizeof(buf)), table[i].rc);
		if (table[i].plain)
			assert_string_equal(buf, table[i].plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(get_in_every_division_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(body_by_length_in_every_division_is_the_same, setup,
						teardown),
		cmocka_unit_test_setup_teardown(chunked_body_in_every_division_is_decoded_in_place,
						setup, teardown),
		cmocka_unit_test_setup_teardown(absolute_target_loses_its_authority, setup,
						teardown),
		cmocka_unit_test_setup_teardown(unreserved_escapes_have_one_spelling, setup,
						teardown),
		cmocka_unit_test_setup_teardown(pipelined_request_ends_where_the_next_begins, setup,
						teardown),
		cmocka_unit_test_setup_teardown(empty_lines_before_a_request_are_skipped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(expect_is_seen_before_the_body, setup, teardown),
		cmocka_unit_test_setup_teardown(keep_alive_follows_version_and_connection, setup,
						teardown),
		cmocka_unit_test_setup_teardown(bad_requests_get_their_status_in_every_division,
						setup, teardown),
		cmocka_unit_test_setup_teardown(nul_in_a_header_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_requests_go_the_fast_way, setup, teardown),
		cmocka_unit_test(scan_ends_at_what_is_not_of_the_class),
		cmocka_unit_test_setup_teardown(unusual_requests_go_the_slow_way, setup, teardown),
		cmocka_unit_test_setup_teardown(both_ways_agree_on_changed_requests, setup,
						teardown),
		cmocka_unit_test_setup_teardown(uri_at_its_limit_passes_and_one_more_is_414, setup,
						teardown),
		cmocka_unit_test_setup_teardown(headers_at_their_count_pass_and_one_more_is_431,
						setup, teardown),
		cmocka_unit_test_setup_teardown(head_at_its_bytes_passes_and_one_more_is_431, setup,
						teardown),
		cmocka_unit_test_setup_teardown(chunked_body_over_its_limit_is_413, setup,
						teardown),
		cmocka_unit_test_setup_teardown(chunk_extensions_without_end_are_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(squeeze_keeps_the_buffer_at_head_and_body, setup,
						teardown),
		cmocka_unit_test(decode_takes_escapes_out_and_refuses_bad_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
