/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/fast.c: the shortest way through the request that nearly every one is.
 *
 * A GET or HEAD of HTTP/1.1 that is here as a whole, has a path without escapes and no header that
 * changes how messages are read: one walk over its bytes instead of llhttp's automaton and the
 * second look of parser.c (1,280 instructions for what wrk sends; here 300). Whatever is unusual
 * in any way, bad requests among it, is left to them: this file never refuses anything.
 *
 * It can be taken out: apus_http_parser_feed() does without it. test_parser.c and the fuzzer hold
 * both ways against each other.
 */
#include "net/http/fast.h"

#include "net/http/chars.h"

#include <string.h>

#define REST " HTTP/1.1\r\n"

/* Bytes below 0x20 in a word: not 0 if there are any. */
static inline uint64_t has_control(uint64_t word)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	return (word - ones * 0x20) & ~word & ones * 0x80;
}

static inline bool name_is(const char *at, const char *lower, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((at[i] | 0x20) != lower[i])
			return false;
	return true;
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

/* The end of what begins at `at` and is made of `class`; `end` if all of it is. */
static inline const char *skip(const char *at, const char *end, unsigned int class)
{
	while (at < end && apus_http_char_is(*at, class))
		at++;
	return at;
}

/* The first control character from `at` on; `end` if there is none. */
static inline const char *skip_value(const char *at, const char *end)
{
	while (end - at >= 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		if (has_control(word))
			break;
		at += 8;
	}
	while (at < end && (uint8_t)*at >= 0x20)
		at++;
	return at;
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
	const char *path_end = skip(at, end, APUS_HTTP_CHAR_PATH);
	const char *target_end = path_end;

	if (path_end == at || *at != '/')
		return NULL;
	if (path_end < end && *path_end == '?') {
		target_end = skip(path_end + 1, end, APUS_HTTP_CHAR_QUERY);
		r->has_query = true;
		r->query = span_of(r, path_end + 1, target_end);
	}
	if ((size_t)(target_end - at) > r->limits->uri_bytes)
		return NULL;
	r->target = span_of(r, at, target_end);
	r->path = span_of(r, at, path_end);
	return target_end;
}

/* One line, "name: value" CR LF, at `at`. Return: behind it; NULL. */
static inline const char *take_header(struct apus_http_request *r, const char *at, const char *end)
{
	const char *name_end = skip(at, end, APUS_HTTP_CHAR_TOKEN);
	const char *value, *value_end, *line_end;

	if (name_end == at || name_end == end || *name_end != ':' ||
	    r->headers_count == r->limits->headers)
		return NULL;
	value = name_end + 1;
	while (value < end && *value == ' ')
		value++;
	line_end = value_end = skip_value(value, end);
	if (end - line_end < 2 || line_end[0] != '\r' || line_end[1] != '\n')
		return NULL;
	while (value_end > value && value_end[-1] == ' ')
		value_end--;

	switch (name_of(at, (size_t)(name_end - at))) {
	case PLAIN:
		if (memchr(value, 0x7f, (size_t)(value_end - value)))
			return NULL;
		break;
	case HOST:
		if (r->seen_host || skip(value, value_end, APUS_HTTP_CHAR_HOST) != value_end)
			return NULL;
		r->seen_host = true;
		break;
	case DECIDES:
		return NULL;
	}
	r->headers[r->headers_count++] = (struct apus_http_header){
		.name = span_of(r, at, name_end),
		.value = span_of(r, value, value_end),
	};
	return line_end + 2;
}

static inline bool parse(struct apus_http_request *r)
{
	const char *end = r->base + apus_min(r->len, (size_t)r->limits->head_bytes);
	const char *at;

	if (r->len < sizeof("GET /" REST "\r\n") - 1)
		return false;
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
