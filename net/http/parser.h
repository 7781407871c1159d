/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/parser.h: bytes in, a request out; no I/O. Internal to the floor.
 *
 *	apus_http_parser_init(&r, &limits);
 *	while ((verdict = apus_http_parser_feed(&r, bytes, len)) == APUS_HTTP_MORE)
 *		...wait for more, and hand in the whole request so far again, wherever it is now
 *
 * A connection begins each of its requests with apus_http_parser_next(). Clients say the same again
 * and again: what is byte for byte the head before it is not parsed a second time.
 */
#ifndef APUS_NET_HTTP_PARSER_H
#define APUS_NET_HTTP_PARSER_H

#include "net/http/request.h"
#include "net/http/scan.h"

#include <llhttp.h>

APUS_BEGIN_DECLS

/* Offsets from the request's first byte, so that the buffer may move. */
struct apus_http_span {
	uint16_t at, len;
};

struct apus_http_header {
	struct apus_http_span name, value;
};

#define APUS_HTTP_KEPT_BYTES 512 /* longer heads are parsed each time */

enum apus_http_verdict {
	APUS_HTTP_MORE,     /* all bytes are taken in, the request is not whole yet */
	APUS_HTTP_COMPLETE, /* a whole request; `parsed` is its length */
	APUS_HTTP_REJECTED, /* `status` is the answer it deserves; then the connection closes */
};

/* One request. Written by the parser only. */
struct apus_http_request {
	char *base;    /* the buffer as of the last feed */
	size_t len;    /* bytes in it */
	size_t parsed; /* bytes taken in */
	const struct apus_http_limits *limits;

	size_t body_at;    /* where the decoded body begins */
	size_t body_bytes; /* decoded so far */
	size_t framing;    /* bytes after the head that are not body: chunk sizes, trailers */

	struct apus_http_span target, path, query;
	uint16_t status;        /* of a rejected request */
	uint16_t headers_count; /* in `headers` */
	uint8_t method;         /* enum apus_http_method */
	uint8_t minor;          /* version HTTP/1.minor */
	bool head_done;         /* everything above the body is valid */
	bool complete;
	bool keep_alive;       /* the client does not mind another request */
	bool expects_continue; /* the client waits for a 100 before it sends the body */
	bool has_query;
	bool seen_host, seen_transfer_encoding;
	bool in_value;       /* the last header's value has begun */
	bool slow;           /* not for fast.c, or it said so; tests set it after init */
	uint16_t kept_bytes; /* 0: none. Else all of this is what such bytes in `kept` come to */

	llhttp_t llhttp; /* from here on init writes nothing; begun with the first byte it gets */
	struct apus_http_header headers[APUS_HTTP_HEADERS_MAX];
	char kept[APUS_HTTP_KEPT_BYTES];
};

/** apus_http_limits_complete - fill in the defaults and bring the rest into range */
void apus_http_limits_complete(struct apus_http_limits *limits);

/** apus_http_parser_init - for the next request of a connection; keeps @limits (complete) */
void apus_http_parser_init(struct apus_http_request *r, const struct apus_http_limits *limits);

/**
 * apus_http_parser_feed - go on with a request
 * @base: its bytes so far, from its first; those fed before are as the parser left them. Borrowed
 *        until the next feed; a chunked body is decoded in place
 * @len:  how many there are; bytes behind the request's end are not looked at
 */
enum apus_http_verdict apus_http_parser_feed(struct apus_http_request *r, char *base, size_t len);

/**
 * apus_http_parser_next - the first bytes of a connection's next request, which stay as they are
 * @r: as after init, or as it was left by the request before, however that ended
 *
 * Return: true: COMPLETE; false: apus_http_parser_feed() is to say, and to go on.
 */
static inline bool apus_http_parser_next(struct apus_http_request *r, const char *base, size_t len);

/**
 * apus_http_parser_squeeze - bytes that decoding left behind the body
 * @at: where they begin
 *
 * The caller takes them out of the buffer. Return: how many, may be 0.
 */
size_t apus_http_parser_squeeze(struct apus_http_request *r, size_t *at);

/** apus_http_request_check - the invariants; for tests and the fuzzer. Return: true if they hold */
bool apus_http_request_check(const struct apus_http_request *r, size_t len);

/* inline definitions */

/** apus_http_request_path_here - apus_http_request_path() */
static inline struct apus_http_text apus_http_request_path_here(const struct apus_http_request *r)
{
	static const char root[8] = "/"; /* eight bytes from a path's begin may be read */

	if (apus_unlikely(!r->path.len)) /* "http://host": RFC 9110 §4.2.3 */
		return (struct apus_http_text){.at = root, .len = 1};
	return (struct apus_http_text){.at = r->base + r->path.at, .len = r->path.len};
}

bool apus_http_parser_next_slow(struct apus_http_request *r, const char *base, size_t len);

static inline bool apus_http_parser_next(struct apus_http_request *r, const char *base, size_t len)
{
	size_t kept = r->kept_bytes;

	if (!kept || kept > len || !apus_http_scan_same(base, r->kept, kept))
		return apus_http_parser_next_slow(r, base, len);
	r->base = (char *)(uintptr_t)base;
	r->len = len;
	return true;
}

APUS_END_DECLS

#endif
