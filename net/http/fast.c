/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/fast.c: the shortest way through the request that nearly every one is.
 *
 * A GET or HEAD of HTTP/1.1 that is here as a whole, has a path without escapes and no header that
 * changes how messages are read: one walk over its bytes instead of llhttp's automaton and the
 * second look of parser.c (1,280 instructions for what wrk sends; here 150). Whatever is unusual
 * in any way, bad requests among it, is left to them: this file never refuses anything.
 *
 * It can be taken out: apus_http_parser_feed() does without it. test_parser.c and the fuzzer hold
 * both ways against each other.
 */
#include "net/http/fast.h"

#include "net/http/scan.h"
#include "runtime/base/check.h"

#include <string.h>

#define REST " HTTP/1.1\r\n"

/* Words of `len` bytes in lower case, or with marks that have that bit: a constant. */
static inline uint64_t lower_word(const char *at, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, at, len);
	return word | UINT64_C(0x2020202020202020) >> (64 - 8 * len);
}

/* `len` is a constant. */
static inline bool name_is(const char *at, const char *lower, size_t len)
{
	uint64_t differs = 0;

	for (size_t i = 0; i + 8 <= len; i += 8)
		differs |= lower_word(at + i, 8) ^ lower_word(lower + i, 8);
	if (len % 8)
		differs |= lower_word(at + len / 8 * 8, len % 8) ^
			   lower_word(lower + len / 8 * 8, len % 8);
	return !differs;
}

enum name {
	PLAIN, /* means nothing to us */
	HOST,
	DECIDES, /* where the message ends, or whether the connection does */
};

static inline enum name name_of(const char *at, size_t len)
{
	switch (len) {
	case sizeof("host") - 1:
		return name_is(at, "host", 4) ? HOST : PLAIN;
	case sizeof("expect") - 1:
		return name_is(at, "expect", 6) ? DECIDES : PLAIN;
	case sizeof("upgrade") - 1:
		return name_is(at, "upgrade", 7) ? DECIDES : PLAIN;
	case sizeof("connection") - 1:
		return name_is(at, "connection", 10) ? DECIDES : PLAIN;
	case sizeof("content-length") - 1:
		return name_is(at, "content-length", 14) ? DECIDES : PLAIN;
	case sizeof("proxy-connection") - 1:
		return name_is(at, "proxy-connection", 16) ? DECIDES : PLAIN;
	case sizeof("transfer-encoding") - 1:
		return name_is(at, "transfer-encoding", 17) ? DECIDES : PLAIN;
	default:
		return PLAIN;
	}
}

static inline struct apus_http_span span_of(const struct apus_http_request *r, const char *from,
					    const char *to)
{
	return (struct apus_http_span){
		.at = (uint16_t)(from - r->base),
		.len = (uint16_t)(to - from),
	};
}

/* "/path?query" at `at`. Return: behind it; NULL if it is not that simple. */
static inline const char *take_target(struct apus_http_request *r, const char *at, const char *end)
{
	const char *path_end = apus_http_scan(at, end, APUS_HTTP_CHAR_PATH);
	const char *target_end = path_end;

	if (path_end == at || *at != '/')
		return NULL;
	if (path_end < end && *path_end == '?') {
		target_end = apus_http_scan(path_end + 1, end, APUS_HTTP_CHAR_QUERY);
		r->has_query = true;
		r->query = span_of(r, path_end + 1, target_end);
	}
	if ((size_t)(target_end - at) > r->limits->uri_bytes)
		return NULL;
	r->target = span_of(r, at, target_end);
	r->path = span_of(r, at, path_end);
	return target_end;
}

/* The end of the value at `value` of the header `name`; NULL if it is for others to judge. */
static inline const char *take_value(struct apus_http_request *r, enum name name, const char *value,
				     const char *end)
{
	switch (name) {
	case PLAIN:
		return apus_http_scan(value, end, APUS_HTTP_SCAN_TEXT);
	case HOST:
		if (r->seen_host)
			return NULL;
		r->seen_host = true;
		return apus_http_scan(value, end, APUS_HTTP_CHAR_HOST);
	case DECIDES:
		break;
	}
	return NULL;
}

/* One line, "name: value" CR LF, at `at`. Return: behind it; NULL. */
static inline const char *take_header(struct apus_http_request *r, const char *at, const char *end)
{
	const char *name_end = apus_http_scan(at, end, APUS_HTTP_CHAR_TOKEN);
	const char *value = name_end + 1, *value_end, *line_end;

	if (name_end == at || end - name_end < 3 || *name_end != ':' ||
	    r->headers_count == r->limits->headers)
		return NULL;
	while (value < end && *value == ' ')
		value++;
	value_end = take_value(r, name_of(at, (size_t)(name_end - at)), value, end);
	if (!value_end)
		return NULL;
	line_end = value_end;
	while (line_end < end && *line_end == ' ')
		line_end++; /* behind a host's; a text's are in it */
	if (end - line_end < 2 || line_end[0] != '\r' || line_end[1] != '\n')
		return NULL;
	while (value_end > value && value_end[-1] == ' ')
		value_end--;
	r->headers[r->headers_count++] = (struct apus_http_header){
		.name = span_of(r, at, name_end),
		.value = span_of(r, value, value_end),
	};
	return line_end + 2;
}

static inline bool parse(struct apus_http_request *r)
{
	size_t len = apus_min(r->len, (size_t)r->limits->head_bytes);
	const char *at, *end;

	static_assert(sizeof("GET /" REST "\r\n") - 1 >= APUS_HTTP_SCAN_LEAST, "can be scanned");
	if (len < sizeof("GET /" REST "\r\n") - 1)
		return false;
	end = r->base + len;
	if (memcmp(r->base, "GET ", 4) == 0) {
		r->method = APUS_HTTP_GET;
		at = r->base + 4;
	} else if (memcmp(r->base, "HEAD ", 5) == 0) {
		r->method = APUS_HTTP_HEAD;
		at = r->base + 5;
	} else {
		return false;
	}

	at = take_target(r, at, end);
	if (!at || (size_t)(end - at) < sizeof(REST) - 1 || memcmp(at, REST, sizeof(REST) - 1) != 0)
		return false;
	at += sizeof(REST) - 1;
	while (end - at >= 2 && *at != '\r') {
		at = take_header(r, at, end);
		if (!at)
			return false;
	}
	if (end - at < 2 || at[0] != '\r' || at[1] != '\n' || !r->seen_host)
		return false;
	r->body_at = (size_t)(at + 2 - r->base);
	return true;
}

bool apus_http_parse_fast(struct apus_http_request *r)
{
	apus_assert(!r->parsed && !r->status);
	if (apus_likely(parse(r))) {
		r->parsed = r->body_at;
		r->minor = 1;
		r->keep_alive = true;
		r->head_done = true;
		r->complete = true;
		return true;
	}
	r->target = r->path = r->query = (struct apus_http_span){0};
	r->method = 0;
	r->headers_count = 0;
	r->has_query = false;
	r->seen_host = false;
	return false;
}

bool apus_http_parser_next_slow(struct apus_http_request *r, const char *base, size_t len)
{
	apus_http_parser_init(r, r->limits);
	r->base =
		(char *)(uintptr_t)base; /* whoever writes there was given it to write by feed() */
	r->len = len;
	r->slow = !apus_http_parse_fast(r);
	/* Of what is kept nothing but these bytes decided: what lies behind a head is not looked at. */
	if (!r->slow && r->body_at >= APUS_HTTP_SAME_LEAST && r->body_at <= sizeof(r->kept)) {
		memcpy(r->kept, base, r->body_at);
		r->kept_bytes = (uint16_t)r->body_at;
	}
	return !r->slow;
}
