/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/response.c: the answer to a request (RFC 9112 §4, §6, §7).
 *
 * The head is made in place at the end of the stream's write buffer and committed when it is whole:
 * until then it can be thrown away, and a 500 takes its place. A body that fits follows in the same
 * buffer, a larger one goes out with it in one gathered write. Nothing here sends a small answer:
 * the server drains the stream when no further request is waiting.
 *
 * Small answers of one status and type begin with the same bytes until the second is over: status,
 * date, server, type. These are kept, for a few, and copied as they are.
 */
#include "net/http/response.h"

#include "net/http/chars.h"
#include "net/http/response_internal.h"
#include "net/socket/stream_internal.h"
#include "runtime/base/check.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <string.h>

#define HEAD_ROOM      512  /* reserved at once; a longer head asks again */
#define DECIMAL_BYTES  20   /* of a uint64_t */
#define CHUNK_OVERHEAD 20   /* size in hex, and two CR LF */
#define SMALL_BYTES    2048 /* a body that is copied behind its head at once */

#define TYPE   "Content-Type: "
#define LENGTH "Content-Length: "

#define STATUS_LINE_BYTES 64  /* at most, of status_line() */
#define END_BYTES         128 /* at most, of put_end() */

#define STATUSES(X)                        \
 X(100, "Continue")                        \
 X(101, "Switching Protocols")             \
 X(200, "OK")                              \
 X(201, "Created")                         \
 X(202, "Accepted")                        \
 X(203, "Non-Authoritative Information")   \
 X(204, "No Content")                      \
 X(205, "Reset Content")                   \
 X(206, "Partial Content")                 \
 X(300, "Multiple Choices")                \
 X(301, "Moved Permanently")               \
 X(302, "Found")                           \
 X(303, "See Other")                       \
 X(304, "Not Modified")                    \
 X(307, "Temporary Redirect")              \
 X(308, "Permanent Redirect")              \
 X(400, "Bad Request")                     \
 X(401, "Unauthorized")                    \
 X(403, "Forbidden")                       \
 X(404, "Not Found")                       \
 X(405, "Method Not Allowed")              \
 X(406, "Not Acceptable")                  \
 X(408, "Request Timeout")                 \
 X(409, "Conflict")                        \
 X(410, "Gone")                            \
 X(411, "Length Required")                 \
 X(412, "Precondition Failed")             \
 X(413, "Content Too Large")               \
 X(414, "URI Too Long")                    \
 X(415, "Unsupported Media Type")          \
 X(416, "Range Not Satisfiable")           \
 X(417, "Expectation Failed")              \
 X(422, "Unprocessable Content")           \
 X(426, "Upgrade Required")                \
 X(428, "Precondition Required")           \
 X(429, "Too Many Requests")               \
 X(431, "Request Header Fields Too Large") \
 X(500, "Internal Server Error")           \
 X(501, "Not Implemented")                 \
 X(502, "Bad Gateway")                     \
 X(503, "Service Unavailable")             \
 X(504, "Gateway Timeout")                 \
 X(505, "HTTP Version Not Supported")

#define LITERAL(s)                \
 (struct apus_http_text)          \
 {                                \
  .at = (s), .len = sizeof(s) - 1 \
 }

/* ---------------------------------------------------------------------------------- the head */

/* "HTTP/1.1 200 OK\r\n"; at is NULL for a status without a name. */
static struct apus_http_text status_line(int status)
{
	switch (status) {
#define X(number, reason) \
 case number:             \
  return LITERAL("HTTP/1.1 " #number " " reason "\r\n");
		STATUSES(X)
#undef X
	default:
		return (struct apus_http_text){0};
	}
}

const char *apus_http_reason(int status)
{
	switch (status) {
#define X(number, reason) \
 case number:             \
  return reason;
		STATUSES(X)
#undef X
	default:
		return "";
	}
}

static int fail(struct apus_http_response *res, int error)
{
	if (!res->how.error)
		res->how.error = error;
	return error;
}

static int64_t write_deadline(const struct apus_http_response *res)
{
	return apus_now() + res->common->write_ns;
}

/* Room for `bytes` more of the head. */
static int make_room(struct apus_http_response *res, size_t bytes)
{
	if (apus_likely(res->head_bytes + bytes <= res->head_room))
		return 0;

	size_t room = apus_min(bytes + HEAD_ROOM, APUS_STREAM_BUFFER_BYTES - res->head_bytes);
	int64_t rc;

	room = apus_max(room, bytes);
	if (apus_stream_pending(res->stream) + res->head_bytes + room <= APUS_STREAM_BUFFER_BYTES) {
		rc = apus_stream_reserve(res->stream, res->head_bytes, room, &res->head);
	} else { /* what is before it has to be sent */
		apus_http_watchdog_begin(res->watchdog, write_deadline(res));
		rc = apus_stream_reserve(res->stream, res->head_bytes, room, &res->head);
		rc = apus_http_watchdog_end(res->watchdog, rc);
	}
	if (rc < 0)
		return fail(res, (int)rc);
	res->head_room = res->head_bytes + room;
	return 0;
}

/* Writes @t at @p, where there is room. Return: behind it. */
static inline char *put_text(char *p, struct apus_http_text t)
{
	memcpy(p, t.at, t.len);
	return p + t.len;
}

/* Decimal digits at the end of `buf`. Return: where they begin. */
static char *decimal(uint64_t value, char buf[DECIMAL_BYTES])
{
	char *p = buf + DECIMAL_BYTES;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return p;
}

/* What every head begins with, which needs begin_bytes(). */
static inline char *put_begin(char *p, struct apus_http_response *res, int status)
{
	struct apus_http_text line = status_line(status);

	if (apus_likely(line.at != NULL)) {
		p = put_text(p, line);
	} else {
		p = put_text(p, LITERAL("HTTP/1.1 000 \r\n"));
		p[-6] = (char)('0' + status / 100);
		p[-5] = (char)('0' + status / 10 % 10);
		p[-4] = (char)('0' + status % 10);
	}
	memcpy(p, apus_http_date_line(&res->common->date), APUS_HTTP_DATE_LINE_BYTES);
	res->status = (uint16_t)status;
	res->bodiless = status == 204 || status == 304;
	p += APUS_HTTP_DATE_LINE_BYTES;
	return res->common->server.len ? put_text(p, res->common->server) : p;
}

static inline char *put_type(char *p, struct apus_http_text type)
{
	return put_text(put_text(put_text(p, LITERAL(TYPE)), type), LITERAL("\r\n"));
}

static inline size_t begin_bytes(const struct apus_http_response *res)
{
	return STATUS_LINE_BYTES + APUS_HTTP_DATE_LINE_BYTES + res->common->server.len;
}

/* What every head ends with: where the body ends (RFC 9112 §6.3), and the connection (§9.3). */
static inline bool is_closing(const struct apus_http_response *res)
{
	return res->closing && *res->closing;
}

static inline char *put_end(char *p, struct apus_http_response *res, int64_t length)
{
	char digits[DECIMAL_BYTES];

	if (res->bodiless) {
		length = 0;
	} else if (length >= 0) {
		char *from = decimal((uint64_t)length, digits);

		p = put_text(p, LITERAL(LENGTH));
		while (from < digits + DECIMAL_BYTES)
			*p++ = *from++;
		p = put_text(p, LITERAL("\r\n"));
	} else if (!res->how.old) {
		res->chunked = true;
		p = put_text(p, LITERAL("Transfer-Encoding: chunked\r\n"));
	} else {
		res->how.keep_alive = false;
	}
	res->counted = length >= 0;
	res->left = length >= 0 ? (uint64_t)length : 0;

	if (is_closing(res))
		res->how.keep_alive = false;
	if (!res->how.keep_alive)
		p = put_text(p, LITERAL("Connection: close\r\n"));
	else if (res->how.old)
		p = put_text(p, LITERAL("Connection: keep-alive\r\n"));
	return put_text(p, LITERAL("\r\n"));
}

static int check_begin(struct apus_http_response *res, int status)
{
	if (res->how.error < 0)
		return res->how.error;
	if (res->how.state != APUS_HTTP_RESPONSE_NONE)
		return fail(res, -EALREADY);
	if (status < 200 || status > 599)
		return fail(res, -EINVAL);
	return 0;
}

int apus_http_response_begin(struct apus_http_response *res, int status)
{
	int rc = check_begin(res, status);

	if (rc == 0)
		rc = make_room(res, begin_bytes(res));
	if (rc < 0)
		return rc;
	res->head_bytes = (size_t)(put_begin(res->head, res, status) - res->head);
	res->how.state = APUS_HTTP_RESPONSE_HEAD;
	return 0;
}

static bool all_chars(const char *at, size_t len, unsigned int class)
{
	unsigned int all = class;

	for (size_t i = 0; i < len; i++)
		all &= apus_http_chars[(uint8_t)at[i]];
	return all;
}

/* Headers that say where the message ends, and so are ours to write. */
static bool is_framing(const char *name, size_t len)
{
	switch (len) {
	case sizeof("Date") - 1:
		return apus_http_nocase_equal(name, "Date", len);
	case sizeof("Connection") - 1:
		return apus_http_nocase_equal(name, "Connection", len);
	case sizeof("Content-Length") - 1:
		return apus_http_nocase_equal(name, "Content-Length", len);
	case sizeof("Transfer-Encoding") - 1:
		return apus_http_nocase_equal(name, "Transfer-Encoding", len);
	default:
		return false;
	}
}

int apus_http_response_header_text(struct apus_http_response *res, const char *name,
				   struct apus_http_text value)
{
	size_t len = strlen(name);

	if (res->how.error < 0)
		return res->how.error;
	if (res->how.state != APUS_HTTP_RESPONSE_HEAD)
		return fail(res, -EALREADY);
	if (len == 0 || !all_chars(name, len, APUS_HTTP_CHAR_TOKEN) || is_framing(name, len) ||
	    !all_chars(value.at, value.len, APUS_HTTP_CHAR_VALUE))
		return fail(res, -EINVAL);

	int rc = make_room(res, len + value.len + 4);

	if (rc < 0)
		return rc;

	char *p = res->head + res->head_bytes;

	p = put_text(p, (struct apus_http_text){.at = name, .len = len});
	p = put_text(p, LITERAL(": "));
	if (value.len)
		p = put_text(p, value);
	p = put_text(p, LITERAL("\r\n"));
	res->head_bytes = (size_t)(p - res->head);
	return 0;
}

int apus_http_response_header(struct apus_http_response *res, const char *name, const char *value)
{
	return apus_http_response_header_text(
		res, name, (struct apus_http_text){.at = value, .len = strlen(value)});
}

static int end_head(struct apus_http_response *res, int64_t length)
{
	if (res->how.error < 0)
		return res->how.error;
	if (res->how.state != APUS_HTTP_RESPONSE_HEAD)
		return fail(res, -EALREADY);

	int rc = make_room(res, END_BYTES);

	if (rc < 0)
		return rc;

	char *p = put_end(res->head + res->head_bytes, res, length);

	apus_stream_commit(res->stream, (size_t)(p - res->head));
	res->how.state = APUS_HTTP_RESPONSE_BODY;
	return 0;
}

/* ---------------------------------------------------------------------------------- the body */

static bool is_silent(const struct apus_http_response *res)
{
	return res->how.head_only || res->bodiless;
}

/* Into the stream, which sends when it is full. */
static int put(struct apus_http_response *res, const void *buf, size_t len)
{
	int64_t rc;

	if (apus_stream_pending(res->stream) + len <= APUS_STREAM_BUFFER_BYTES) {
		rc = apus_stream_write(res->stream, buf, len);
	} else {
		apus_http_watchdog_begin(res->watchdog, write_deadline(res));
		rc = apus_stream_write(res->stream, buf, len);
		rc = apus_http_watchdog_end(res->watchdog, rc);
	}
	return rc < 0 ? fail(res, (int)rc) : 0;
}

/* RFC 9112 §7.1 */
static int put_chunk(struct apus_http_response *res, const void *buf, size_t len)
{
	char size[CHUNK_OVERHEAD];
	char *p = size + sizeof(size);
	size_t value = len;

	*--p = '\n';
	*--p = '\r';
	do {
		*--p = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);

	int rc = put(res, p, (size_t)(size + sizeof(size) - p));

	if (rc == 0)
		rc = put(res, buf, len);
	if (rc == 0)
		rc = put(res, "\r\n", 2);
	return rc;
}

int apus_http_response_body(struct apus_http_response *res, const void *body, size_t len)
{
	int rc = end_head(res, (int64_t)len);

	if (rc < 0)
		return rc;
	res->how.state = APUS_HTTP_RESPONSE_DONE;
	return len == 0 || is_silent(res) ? 0 : put(res, body, len);
}

int apus_http_response_stream(struct apus_http_response *res, int64_t length)
{
	return end_head(res, length);
}

int apus_http_response_write(struct apus_http_response *res, const void *buf, size_t len)
{
	if (res->how.error < 0)
		return res->how.error;
	if (res->how.state != APUS_HTTP_RESPONSE_BODY)
		return fail(res, -EALREADY);
	if (len == 0 || is_silent(res))
		return 0;
	if (res->counted) {
		if (len > res->left)
			return fail(res, -EMSGSIZE);
		res->left -= len;
	}
	return res->chunked ? put_chunk(res, buf, len) : put(res, buf, len);
}

int apus_http_response_end(struct apus_http_response *res)
{
	if (res->how.error < 0)
		return res->how.error;
	if (res->how.state != APUS_HTTP_RESPONSE_BODY)
		return fail(res, -EALREADY);
	if (!is_silent(res)) {
		if (res->left > 0)
			return fail(res, -ENODATA);
		if (res->chunked && put(res, "0\r\n\r\n", 5) < 0)
			return res->how.error;
	}
	res->how.state = APUS_HTTP_RESPONSE_DONE;
	return 0;
}

/* Any answer: piece by piece. */
static int respond_large(struct apus_http_response *res, int status, struct apus_http_text type,
			 const void *body, size_t len)
{
	int rc = apus_http_response_begin(res, status);

	if (rc == 0 && type.at)
		rc = apus_http_response_header_text(res, "Content-Type", type);
	return rc < 0 ? rc : apus_http_response_body(res, body, len);
}

/* A small answer is made in one go, if there is room for it. */
static APUS_NOINLINE int respond_small(struct apus_http_response *res, int status,
				       struct apus_http_text type, const void *body, size_t len)
{
	size_t most = begin_bytes(res) + sizeof("Content-Type: \r\n") + type.len + END_BYTES + len;
	char *p, *begin;

	if (len > SMALL_BYTES || type.len > SMALL_BYTES ||
	    apus_stream_pending(res->stream) + most > APUS_STREAM_BUFFER_BYTES ||
	    check_begin(res, status) < 0 || !all_chars(type.at, type.len, APUS_HTTP_CHAR_VALUE) ||
	    apus_stream_reserve(res->stream, 0, most, &begin) < 0)
		return respond_large(res, status, type, body, len);

	p = put_begin(begin, res, status);
	if (type.at)
		p = put_type(p, type);
	p = put_end(p, res, (int64_t)len);
	if (len > 0 && !is_silent(res))
		p = put_text(p, (struct apus_http_text){.at = body, .len = len});
	apus_stream_commit(res->stream, (size_t)(p - begin));
	res->how.state = APUS_HTTP_RESPONSE_DONE;
	return 0;
}

/* ---- answers that begin alike ---- */

static inline struct apus_http_alike *alike_of(const struct apus_http_response *res, int status,
					       size_t type_bytes)
{
	return &res->common->alike[((size_t)status + type_bytes) % APUS_HTTP_ALIKE];
}

/* The text's end for a body of `len` bytes. */
static APUS_NOINLINE void set_length(struct apus_http_alike *a, size_t len)
{
	char digits[DECIMAL_BYTES];
	char *from = decimal(len, digits), *p = a->text + a->length_at;

	p = put_text(p, (struct apus_http_text){
				.at = from,
				.len = (size_t)(digits + DECIMAL_BYTES - from),
			});
	p = put_text(p, LITERAL("\r\n\r\n"));
	a->bytes = (uint16_t)(p - a->text);
	a->length = len;
}

/* What was just answered is likely to be answered again. */
static void keep_alike(struct apus_http_response *res, struct apus_http_text type, size_t len)
{
	struct apus_http_alike *a = alike_of(res, res->status, type.len);
	char *p = a->text;

	a->until_ns = 0;
	if (!type.at || res->bodiless ||
	    begin_bytes(res) + sizeof(TYPE LENGTH "\r\n\r\n\r\n") + DECIMAL_BYTES + type.len >
		    sizeof(a->text))
		return;
	p = put_begin(p, res, res->status);
	a->type_at = (uint16_t)(p + sizeof(TYPE) - 1 - a->text);
	p = put_text(put_type(p, type), LITERAL(LENGTH));
	a->length_at = (uint16_t)(p - a->text);
	set_length(a, len);
	a->status = res->status;
	a->type_bytes = (uint16_t)type.len;
	a->until_ns = res->common->date.until_ns;
}

/* gcc's own copies are of 16 bytes at most. */
typedef char step32 __attribute__((vector_size(32), aligned(1), may_alias));

static inline void put_step(char *p, const char *from)
{
	*(step32 *)p = *(const step32 *)from;
}

/* A short body, without a call; there is room for 32 bytes in any case, but not to read from. */
static inline char *put_short(char *p, const char *body, size_t len)
{
	if (len >= 32) {
		for (size_t i = 0; i < len - 32; i += 32)
			put_step(p + i, body + i);
		put_step(p + len - 32, body + len - 32); /* the last step ends with it */
	} else if (len >= 16) {
		memcpy(p, body, 16);
		memcpy(p + len - 16, body + len - 16, 16);
	} else if (len >= 8) {
		memcpy(p, body, 8);
		memcpy(p + len - 8, body + len - 8, 8);
	} else {
		for (size_t i = 0; i < len; i++)
			p[i] = body[i];
	}
	return p + len;
}

/* Of 8 to 16 bytes: are they the same? */
static inline bool same_short(const char *a, const char *b, size_t len)
{
	uint64_t x[2], y[2];

	memcpy(&x[0], a, 8);
	memcpy(&y[0], b, 8);
	memcpy(&x[1], a + len - 8, 8);
	memcpy(&y[1], b + len - 8, 8);
	return x[0] == y[0] && x[1] == y[1];
}

/* Nothing is answered yet, and nothing is special about whom it is for. */
static inline bool is_plain(const struct apus_http_response *res)
{
	static const struct apus_http_response_how plain = {.keep_alive = true};

	static_assert(sizeof(plain) == sizeof(uint64_t), "compared as a word");
	return memcmp(&res->how, &plain, sizeof(plain)) == 0 && !is_closing(res);
}

/* Where there is room for the whole text and the body. Return: behind them. */
static inline char *put_alike(char *begin, struct apus_http_response *res,
			      const struct apus_http_alike *a, const void *body, size_t len)
{
	/* More than there is to copy: in few steps, and the room is there. */
	static_assert(sizeof(a->text) == 7 * 32, "whole steps");
	for (size_t i = 0; i < 4 * 32; i += 32)
		put_step(begin + i, a->text + i);
	for (size_t i = 4 * 32; i < a->bytes; i += 32)
		put_step(begin + i, a->text + i);
	res->status = a->status;
	res->how.state = APUS_HTTP_RESPONSE_DONE;
	return put_short(begin + a->bytes, body, len);
}

/* Behind what waits for a drain. */
static APUS_NOINLINE int respond_behind(struct apus_http_response *res,
					const struct apus_http_alike *a, const void *body,
					size_t len)
{
	struct apus_http_text type = {.at = a->text + a->type_at, .len = a->type_bytes};
	char *begin;

	if (apus_stream_pending(res->stream) + sizeof(a->text) + len > APUS_STREAM_BUFFER_BYTES ||
	    apus_stream_reserve(res->stream, 0, sizeof(a->text) + len, &begin) < 0)
		return respond_small(res, a->status, type, body, len);
	apus_stream_commit(res->stream, (size_t)(put_alike(begin, res, a, body, len) - begin));
	return 0;
}

static APUS_NOINLINE int respond_alike(struct apus_http_response *res,
				       const struct apus_http_alike *a, const void *body,
				       size_t len)
{
	char *begin = apus_stream_room_here(res->stream, sizeof(a->text) + len);

	if (apus_unlikely(!begin))
		return respond_behind(res, a, body, len);
	return apus_stream_filled_here(res->stream,
				       (size_t)(put_alike(begin, res, a, body, len) - begin));
}

/* Of another length, a type that is long or short, and all that is not alike; the next may be. */
static APUS_NOINLINE int respond_any(struct apus_http_response *res, int status,
				     struct apus_http_text type, const void *body, size_t len)
{
	struct apus_http_alike *a = alike_of(res, status, type.len);
	int rc;

	if (a->status == status && a->type_bytes == type.len && type.at && len <= SMALL_BYTES &&
	    is_plain(res) && apus_now() < a->until_ns &&
	    memcmp(type.at, a->text + a->type_at, type.len) == 0) {
		if (a->length != len)
			set_length(a, len);
		return respond_alike(res, a, body, len);
	}
	rc = respond_small(res, status, type, body, len);
	if (rc == 0)
		keep_alike(res, type, len);
	return rc;
}

int apus_http_respond_text(struct apus_http_response *res, int status, struct apus_http_text type,
			   const void *body, size_t len)
{
	const struct apus_http_alike *a = alike_of(res, status, type.len);
	const struct apus_shard *s = apus_shard_current;

	if (apus_likely(a->status == status && a->type_bytes == type.len && a->length == len &&
			len <= SMALL_BYTES && type.len - 8 <= 8 && is_plain(res) && s->now_known &&
			s->now_ns < a->until_ns &&
			same_short(type.at, a->text + a->type_at, type.len)))
		return respond_alike(res, a, body, len);
	return respond_any(res, status, type, body, len);
}

/* -------------------------------------------------------------------------------------- whole */

int apus_http_response_flush(struct apus_http_response *res)
{
	if (res->how.error < 0)
		return res->how.error;
	if (apus_stream_pending(res->stream) == 0)
		return 0;
	if (res->how.state == APUS_HTTP_RESPONSE_HEAD) /* it is being made in that buffer */
		return 0;
	apus_http_watchdog_begin(res->watchdog, write_deadline(res));

	int64_t rc = apus_http_watchdog_end(res->watchdog, apus_stream_drain(res->stream));

	return rc < 0 ? fail(res, (int)rc) : 0;
}

void apus_http_response_close(struct apus_http_response *res)
{
	res->how.keep_alive = false;
}

bool apus_http_response_begun(const struct apus_http_response *res)
{
	return res->how.state != APUS_HTTP_RESPONSE_NONE;
}

bool apus_http_response_discard(struct apus_http_response *res)
{
	if (res->how.state >= APUS_HTTP_RESPONSE_BODY)
		return false;
	res->how.state = APUS_HTTP_RESPONSE_NONE;
	res->head_bytes = 0;
	res->head_room = 0;
	res->how.error = 0;
	return true;
}
