/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/parser.c: bytes in, a request out (RFC 9112), on llhttp.
 *
 * llhttp walks the grammar and says where the parts are; this file bounds them, and refuses what
 * two readers of the same bytes could read differently, because that is how a request is smuggled
 * past the first of them. So every line must end in CR LF, a header may not go on in the next line
 * (obs-fold), and between two headers there may be nothing: check_head() walks the finished head
 * once more and finds every byte accounted for.
 *
 * What is plain and whole does not come here: fast.c takes it.
 *
 * The parts are offsets from the request's first byte: the buffer may move between two feeds. A
 * chunked body is decoded in place, which only moves bytes towards the front.
 *
 * Invariants: `status` is set exactly when a request was rejected; what a feed comes to does not
 * depend on how the bytes were divided among feeds.
 *
 * Where we differ from the RFC: trailers are read over (RFC 9110 §6.5.1 permits it), transfer codings
 * other than chunked are refused with 501 (RFC 9112 §6.1), CONNECT is not implemented.
 */
#include "net/http/parser.h"

#include "net/http/chars.h"
#include "net/http/fast.h"
#include "runtime/base/check.h"

#include <string.h>

#define HEAD_BYTES_DEFAULT 16384
#define URI_BYTES_DEFAULT  8192
#define BODY_BYTES_DEFAULT (UINT64_C(1) << 20)
#define REJECT             (-1) /* a callback's word to llhttp: stop here, `status` is set */

/* Framing may not outweigh the body: 16 KiB, and 16 bytes for each byte of body. */
#define FRAMING_BYTES_FREE     16384
#define FRAMING_BYTES_PER_BYTE 16

void apus_http_limits_complete(struct apus_http_limits *l)
{
	if (l->head_bytes == 0)
		l->head_bytes = HEAD_BYTES_DEFAULT;
	l->head_bytes = apus_min(apus_max(l->head_bytes, 64U), UINT16_MAX);
	if (l->uri_bytes == 0)
		l->uri_bytes = URI_BYTES_DEFAULT;
	l->uri_bytes = apus_min(l->uri_bytes, l->head_bytes - 32);
	if (l->headers == 0 || l->headers > APUS_HTTP_HEADERS_MAX)
		l->headers = APUS_HTTP_HEADERS_MAX;
	if (l->body_bytes == 0)
		l->body_bytes = BODY_BYTES_DEFAULT;
	if (l->head_ns == 0)
		l->head_ns = 10 * APUS_SEC;
	if (l->body_ns == 0)
		l->body_ns = 60 * APUS_SEC;
	if (l->idle_ns == 0)
		l->idle_ns = 75 * APUS_SEC;
	if (l->write_ns == 0)
		l->write_ns = 60 * APUS_SEC;
}

/* ----------------------------------------------------------------------------- bytes and words */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool span_is(const struct apus_http_request *r, struct apus_http_span s, const char *word)
{
	return apus_http_text_equal_nocase(
		(struct apus_http_text){.at = r->base + s.at, .len = s.len}, word);
}

static int reject(struct apus_http_request *r, uint16_t status)
{
	if (!r->status)
		r->status = status;
	return REJECT;
}

/* --------------------------------------------------------------------------- what llhttp says */

static struct apus_http_request *request_of(llhttp_t *parser)
{
	return apus_container_of(parser, struct apus_http_request, llhttp);
}

/* Begin a span, or go on with it where the last feed ended. Return: false if there is a gap. */
static bool extend(struct apus_http_request *r, struct apus_http_span *s, const char *at,
		   size_t len)
{
	size_t offset = (size_t)(at - r->base);

	if (s->len == 0)
		s->at = (uint16_t)offset;
	else if ((size_t)s->at + s->len != offset)
		return false;
	s->len = (uint16_t)(s->len + len);
	return true;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct apus_http_request *r = request_of(parser);

	if (r->target.len + len > r->limits->uri_bytes)
		return reject(r, 414);
	return extend(r, &r->target, at, len) ? 0 : reject(r, 400);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
	struct apus_http_request *r = request_of(parser);

	if (r->head_done) /* a trailer: read over */
		return 0;
	if (r->in_value) {
		if (r->headers_count ==
		    r->limits->headers) /* too many: on_header_field_complete() */
			return 0;
		r->headers[r->headers_count++] = (struct apus_http_header){0};
		r->in_value = false;
	}
	return extend(r, &r->headers[r->headers_count - 1].name, at, len) ? 0 : reject(r, 400);
}

/* Not in on_header_field(): how often that is called depends on how the bytes were divided. */
static int on_header_field_complete(llhttp_t *parser)
{
	struct apus_http_request *r = request_of(parser);

	return r->in_value && !r->head_done ? reject(r, 431) : 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
	struct apus_http_request *r = request_of(parser);

	if (r->head_done)
		return 0;
	r->in_value = true;
	/* RFC 9112 §5.2: a value that goes on in another line is refused. */
	return extend(r, &r->headers[r->headers_count - 1].value, at, len) ? 0 : reject(r, 400);
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	struct apus_http_request *r = request_of(parser);

	if (len > r->limits->body_bytes - r->body_bytes)
		return reject(r, 413);

	char *to = r->base + r->body_at + r->body_bytes;

	if (to != at) /* chunk sizes lie between */
		memmove(to, at, len);
	r->body_bytes += len;
	return 0;
}

static int on_message_complete(llhttp_t *parser)
{
	request_of(parser)->complete = true;
	return HPE_PAUSED;
}

/* -------------------------------------------------------------------------- the head is whole */

/* enum apus_http_method, or -1: we do not do that. */
static int method_of(uint8_t llhttp_method)
{
	switch (llhttp_method) {
	case HTTP_GET:
		return APUS_HTTP_GET;
	case HTTP_HEAD:
		return APUS_HTTP_HEAD;
	case HTTP_POST:
		return APUS_HTTP_POST;
	case HTTP_PUT:
		return APUS_HTTP_PUT;
	case HTTP_DELETE:
		return APUS_HTTP_DELETE;
	case HTTP_OPTIONS:
		return APUS_HTTP_OPTIONS;
	case HTTP_TRACE:
		return APUS_HTTP_TRACE;
	case HTTP_PATCH:
		return APUS_HTTP_PATCH;
	default:
		return -1;
	}
}

/* What stands behind the target. Return: 0 for " HTTP/1.0" and " HTTP/1.1", else the status. */
static uint16_t check_version(const struct apus_http_request *r)
{
	size_t end = (size_t)r->target.at + r->target.len;
	const char *at = r->base + end;

	if (r->len - end < sizeof(" HTTP/1.1") - 1 || memcmp(at, " HTTP/", 6) != 0 ||
	    !is_digit(at[6]) || at[7] != '.' || !is_digit(at[8]))
		return 400;
	return at[6] == '1' && at[8] <= '1' ? 0 : 505;
}

/* RFC 9112 §3.2: one Host, and it looks like one. */
static int check_host(struct apus_http_request *r, struct apus_http_span value)
{
	if (r->seen_host)
		return reject(r, 400);
	r->seen_host = true;
	for (size_t i = 0; i < value.len; i++)
		if (!apus_http_char_is(r->base[value.at + i], APUS_HTTP_CHAR_HOST))
			return reject(r, 400);
	return 0;
}

/* RFC 9112 §6.1: chunked, once, by a client of HTTP/1.1. */
static int check_transfer_encoding(struct apus_http_request *r, struct apus_http_span value)
{
	if (r->seen_transfer_encoding || r->minor == 0 || value.len == 0)
		return reject(r, 400);
	r->seen_transfer_encoding = true;
	return span_is(r, value, "chunked") ? 0 : reject(r, 501);
}

/* RFC 9110 §10.1.1 */
static int check_expect(struct apus_http_request *r, struct apus_http_span value)
{
	if (!span_is(r, value, "100-continue"))
		return reject(r, 417);
	r->expects_continue = r->minor > 0;
	return 0;
}

/* A name in lower case, without a call: tokens have no other characters that differ by 0x20. */
static inline bool name_is(const char *at, const char *lower, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((at[i] | 0x20) != lower[i])
			return false;
	return true;
}

/* One of the headers that decide how the message is read? Then it has to be right. */
static inline int check_header(struct apus_http_request *r, const struct apus_http_header *h)
{
	const char *name = r->base + h->name.at;

	switch (h->name.len) {
	case sizeof("host") - 1:
		return name_is(name, "host", 4) ? check_host(r, h->value) : 0;
	case sizeof("expect") - 1:
		return name_is(name, "expect", 6) ? check_expect(r, h->value) : 0;
	case sizeof("transfer-encoding") - 1:
		return name_is(name, "transfer-encoding", 17) ? check_transfer_encoding(r, h->value)
							      : 0;
	default:
		return 0;
	}
}

/*
 * Every byte of the head is where the grammar puts it: single spaces in the request line, CR LF at
 * each line's end, headers back to back, CR LF at the end. Trailing blanks leave the values, and
 * body_at is where the head ends.
 */
static int check_head(struct apus_http_request *r)
{
	const char *base = r->base;
	size_t at = (size_t)r->target.at + r->target.len + sizeof(" HTTP/1.1") - 1;

	if (r->target.at < 2 || base[r->target.at - 1] != ' ' || is_blank(base[r->target.at - 2]) ||
	    base[at] != '\r' || base[at + 1] != '\n')
		return reject(r, 400);
	at += 2;

	for (size_t i = 0; i < r->headers_count; i++) {
		struct apus_http_header *h = &r->headers[i];

		if (h->name.at != at || h->name.len == 0)
			return reject(r, 400);
		at += h->name.len;
		if (base[at++] != ':')
			return reject(r, 400);
		while (is_blank(base[at]))
			at++;
		if (h->value.len == 0) /* llhttp says anything about where it is */
			h->value.at = (uint16_t)at;
		if (h->value.at != at)
			return reject(r, 400);
		at += h->value.len;
		if (base[at] != '\r' || base[at + 1] != '\n')
			return reject(r, 400);
		while (h->value.len > 0 && is_blank(base[h->value.at + h->value.len - 1]))
			h->value.len--;
		at += 2;
		if (check_header(r, h) < 0)
			return REJECT;
	}
	if (base[at] != '\r' || base[at + 1] != '\n')
		return reject(r, 400);
	r->body_at = at + 2;
	return r->minor > 0 && !r->seen_host ? reject(r, 400) : 0;
}

/* RFC 9112 §3.2.2: leave of "http://host/path" the path. */
static int strip_authority(struct apus_http_request *r)
{
	const char *target = r->base + r->target.at;
	size_t len = r->target.len;
	size_t scheme = len > 7 && apus_http_nocase_equal(target, "http://", 7)    ? 7
			: len > 8 && apus_http_nocase_equal(target, "https://", 8) ? 8
										   : 0;
	size_t end = scheme;

	while (end < len && apus_http_char_is(target[end], APUS_HTTP_CHAR_HOST))
		end++;
	if (scheme == 0 || end == scheme || (end < len && target[end] != '/' && target[end] != '?'))
		return reject(r, 400);
	r->path.at = (uint16_t)(r->target.at + end);
	r->path.len = (uint16_t)(len - end);
	return 0;
}

/* RFC 3986 §6.2.2.2: "%7E" and "~" are the same path, so only one of them remains. */
static int normalize_path(struct apus_http_request *r)
{
	char *path = r->base + r->path.at;
	size_t to = 0;

	for (size_t from = 0; from < r->path.len;) {
		if (path[from] != '%') {
			path[to++] = path[from++];
			continue;
		}
		if (r->path.len - from < 3)
			return reject(r, 400);

		int high = apus_http_char_hex(path[from + 1]),
		    low = apus_http_char_hex(path[from + 2]);

		if (high < 0 || low < 0)
			return reject(r, 400);

		char plain = (char)(high << 4 | low);

		if (apus_http_char_is(plain, APUS_HTTP_CHAR_UNRESERVED)) {
			path[to++] = plain;
		} else {
			memmove(path + to, path + from, 3);
			to += 3;
		}
		from += 3;
	}
	r->path.len = (uint16_t)to;
	return 0;
}

/* RFC 9112 §3.2: the target into path and query. */
static int split_target(struct apus_http_request *r)
{
	const char *base = r->base;
	bool escaped = false;

	r->path = r->target;
	if (base[r->target.at] != '/') {
		if (r->target.len == 1 && base[r->target.at] == '*')
			return r->method == APUS_HTTP_OPTIONS ? 0 : reject(r, 400);
		if (strip_authority(r) < 0)
			return REJECT;
	}
	for (size_t i = 0; i < r->path.len; i++) {
		char c = base[r->path.at + i];

		if (c == '?') {
			r->has_query = true;
			r->query.at = (uint16_t)(r->path.at + i + 1);
			r->query.len = (uint16_t)(r->path.len - i - 1);
			r->path.len = (uint16_t)i;
			break;
		}
		if (c == '#') /* a fragment is never sent */
			return reject(r, 400);
		escaped |= c == '%';
	}
	return escaped ? normalize_path(r) : 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct apus_http_request *r = request_of(parser);
	uint16_t status = check_version(r);
	int method = method_of(parser->method);

	if (status)
		return reject(r, status);
	r->minor = parser->http_minor;
	if (check_head(r) < 0)
		return REJECT;
	if (method < 0)
		return reject(r, 501);
	r->method = (uint8_t)method;
	r->keep_alive = llhttp_should_keep_alive(parser);
	if (split_target(r) < 0)
		return REJECT;
	if ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > r->limits->body_bytes)
		return reject(r, 413);

	parser->upgrade = 0; /* RFC 9110 §7.8: an upgrade may be ignored, and is */
	r->head_done = true;
	return 0;
}

/* -------------------------------------------------------------------------------------- entry */

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_field_complete = on_header_field_complete,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void apus_http_parser_init(struct apus_http_request *r, const struct apus_http_limits *limits)
{
	memset(r, 0, offsetof(struct apus_http_request, llhttp));
	r->limits = limits;
	r->in_value = true; /* so that the first name begins a header */
}

/* Bytes of the target before `at`; llhttp tells of them only when it or a feed ends. */
static APUS_COLD size_t target_bytes_before(const struct apus_http_request *r, const char *at)
{
	const char *p = r->base;

	while (p < at && (*p == '\r' || *p == '\n'))
		p++;
	while (p < at && *p != ' ')
		p++;
	while (p < at && *p == ' ')
		p++;
	return (size_t)(at - p);
}

/* The answer to what llhttp refused at `at`. */
static APUS_COLD uint16_t status_of(const struct apus_http_request *r, llhttp_errno_t error,
				    const char *at)
{
	switch (error) {
	case HPE_INVALID_METHOD: /* a token that is no method we know, or no token at all */
		return apus_http_char_is(*at, APUS_HTTP_CHAR_TOKEN) ? 501 : 400;
	case HPE_INVALID_URL:
		return target_bytes_before(r, at) > r->limits->uri_bytes ? 414 : 400;
	case HPE_INVALID_CONSTANT:
		return r->target.len > 0 && method_of(r->llhttp.method) < 0 ? 501 : 400;
	case HPE_INVALID_VERSION:
		return check_version(r) == 505 ? 505 : 400;
	case HPE_PAUSED_H2_UPGRADE: /* "PRI * HTTP/2.0" */
		return 505;
	default:
		return 400;
	}
}

/* Let llhttp have the next `len` bytes. Return: false when the request ended, well or badly. */
static bool execute(struct apus_http_request *r, size_t len)
{
	const char *from = r->base + r->parsed;
	bool had_head = r->head_done;
	size_t body_before = r->body_bytes;
	llhttp_errno_t error = llhttp_execute(&r->llhttp, from, len);

	if (error == HPE_OK) {
		r->parsed += len;
	} else if (error == HPE_PAUSED && r->complete) {
		r->parsed = (size_t)(llhttp_get_error_pos(&r->llhttp) - r->base);
	} else {
		reject(r, status_of(r, error, llhttp_get_error_pos(&r->llhttp)));
		return false;
	}
	if (!r->seen_transfer_encoding || !r->head_done)
		return !r->complete;

	size_t first = had_head ? (size_t)(from - r->base) : r->body_at;

	r->framing += (r->parsed - first) - (r->body_bytes - body_before);
	if (r->framing > FRAMING_BYTES_FREE + FRAMING_BYTES_PER_BYTE * r->body_bytes)
		reject(r, 400);
	/* The last line too ends in CR LF. squeeze() left these four bytes where they are. */
	if (r->complete && memcmp(r->base + r->parsed - 4, "\r\n\r\n", 4) != 0)
		reject(r, 400);
	return !r->complete && !r->status;
}

static APUS_NOINLINE enum apus_http_verdict feed_slow(struct apus_http_request *r)
{
	if (r->parsed == 0 && r->len > 0 && !r->status)
		llhttp_init(&r->llhttp, HTTP_REQUEST, &settings);

	while (!r->status && !r->complete && r->parsed < r->len) {
		size_t n = r->len - r->parsed;

		if (!r->head_done)
			n = apus_min(n, r->limits->head_bytes - r->parsed);
		if (!execute(r, n))
			break;
		if (!r->head_done && r->parsed == r->limits->head_bytes)
			reject(r, 431);
	}
	if (r->status)
		return APUS_HTTP_REJECTED;
	return r->complete ? APUS_HTTP_COMPLETE : APUS_HTTP_MORE;
}

enum apus_http_verdict apus_http_parser_feed(struct apus_http_request *r, char *base, size_t len)
{
	r->base = base;
	r->len = len;
	apus_assert(r->parsed <= len);
	if (apus_likely(!r->parsed && !r->status && !r->slow && apus_http_parse_fast(r)))
		return APUS_HTTP_COMPLETE;
	return feed_slow(r);
}

size_t apus_http_parser_squeeze(struct apus_http_request *r, size_t *at)
{
	size_t end = r->body_at + r->body_bytes + 4;

	if (!r->seen_transfer_encoding || !r->head_done || r->parsed <= end)
		return 0;

	size_t bytes = r->parsed - end;

	*at = end - 4;
	r->parsed = end;
	return bytes;
}

bool apus_http_request_check(const struct apus_http_request *r, size_t len)
{
	if (r->parsed > len || r->headers_count > r->limits->headers)
		return false;
	if (!r->head_done || r->status)
		return !r->complete || r->status;
	if (r->body_at > r->limits->head_bytes || r->body_bytes > r->limits->body_bytes ||
	    r->body_at + r->body_bytes > r->parsed)
		return false;
	for (size_t i = 0; i < r->headers_count; i++) {
		const struct apus_http_header *h = &r->headers[i];

		if (h->name.len == 0 || h->name.at + h->name.len > h->value.at ||
		    (size_t)h->value.at + h->value.len > r->body_at)
			return false;
	}
	return (size_t)r->target.at + r->target.len <= r->body_at &&
	       (size_t)r->path.at + r->path.len <= (size_t)r->target.at + r->target.len;
}
