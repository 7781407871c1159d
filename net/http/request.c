/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/request.c: a parsed request, as a handler sees it.
 *
 * Only views: the parser has checked and bounded everything, here it is looked up.
 */
#include "net/http/request.h"

#include "net/http/chars.h"
#include "net/http/parser.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define T  APUS_HTTP_CHAR_TOKEN
#define U  APUS_HTTP_CHAR_UNRESERVED
#define H  APUS_HTTP_CHAR_HOST
#define V  APUS_HTTP_CHAR_VALUE
#define P  (APUS_HTTP_CHAR_PATH | APUS_HTTP_CHAR_QUERY)
#define Q  APUS_HTTP_CHAR_QUERY
#define AN (T | U | H | V | P)

const uint8_t apus_http_chars[256] = {
	['0' ... '9'] = AN,
	['A' ... 'Z'] = AN,
	['a' ... 'z'] = AN,
	['-'] = AN,
	['.'] = AN,
	['_'] = AN,
	['~'] = AN,
	['!'] = T | H | V | P,
	['$'] = T | H | V | P,
	['&'] = T | H | V | P,
	['\''] = T | H | V | P,
	['*'] = T | H | V | P,
	['+'] = T | H | V | P,
	['('] = H | V | P,
	[')'] = H | V | P,
	[','] = H | V | P,
	[';'] = H | V | P,
	['='] = H | V | P,
	[':'] = H | V | P,
	['/'] = V | P,
	['@'] = V | P,
	['%'] = T | H | V | Q,
	['#'] = T | V,
	['^'] = T | V,
	['`'] = T | V,
	['|'] = T | V,
	['['] = H | V,
	[']'] = H | V,
	['\t'] = V,
	[' '] = V,
	['"'] = V,
	['<'] = V,
	['>'] = V,
	['?'] = V | Q,
	['\\'] = V,
	['{'] = V,
	['}'] = V,
	[0x80 ... 0xff] = V,
};

#undef T
#undef U
#undef H
#undef V
#undef P
#undef Q
#undef AN

static struct apus_http_text text_of(const struct apus_http_request *r, struct apus_http_span s)
{
	return (struct apus_http_text){.at = r->base + s.at, .len = s.len};
}

enum apus_http_method apus_http_request_method(const struct apus_http_request *r)
{
	return (enum apus_http_method)r->method;
}

const char *apus_http_method_name(enum apus_http_method method)
{
	static const char *const names[APUS_HTTP_METHODS] = {
		[APUS_HTTP_GET] = "GET",       [APUS_HTTP_HEAD] = "HEAD",
		[APUS_HTTP_POST] = "POST",     [APUS_HTTP_PUT] = "PUT",
		[APUS_HTTP_DELETE] = "DELETE", [APUS_HTTP_OPTIONS] = "OPTIONS",
		[APUS_HTTP_TRACE] = "TRACE",   [APUS_HTTP_PATCH] = "PATCH",
	};

	apus_must_op(method, <, APUS_HTTP_METHODS);
	return names[method];
}

struct apus_http_text apus_http_request_path(const struct apus_http_request *r)
{
	return apus_http_request_path_here(r);
}

struct apus_http_text apus_http_request_query(const struct apus_http_request *r)
{
	return r->has_query ? text_of(r, r->query) : (struct apus_http_text){0};
}

struct apus_http_text apus_http_request_header(const struct apus_http_request *r, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < r->headers_count; i++) {
		const struct apus_http_header *h = &r->headers[i];

		if (h->name.len == len && apus_http_nocase_equal(r->base + h->name.at, name, len))
			return text_of(r, h->value);
	}
	return (struct apus_http_text){0};
}

size_t apus_http_request_header_count(const struct apus_http_request *r)
{
	return r->headers_count;
}

struct apus_http_text apus_http_request_header_at(const struct apus_http_request *r, size_t i,
						  struct apus_http_text *name)
{
	apus_must_op(i, <, r->headers_count);
	*name = text_of(r, r->headers[i].name);
	return text_of(r, r->headers[i].value);
}

struct apus_http_text apus_http_request_body(const struct apus_http_request *r)
{
	return (struct apus_http_text){.at = r->base + r->body_at, .len = r->body_bytes};
}

unsigned int apus_http_request_minor(const struct apus_http_request *r)
{
	return r->minor;
}

bool apus_http_text_equal(struct apus_http_text t, const char *s)
{
	return t.at && t.len == strlen(s) && memcmp(t.at, s, t.len) == 0;
}

bool apus_http_text_equal_nocase(struct apus_http_text t, const char *s)
{
	return t.at && t.len == strlen(s) && apus_http_nocase_equal(t.at, s, t.len);
}

int64_t apus_http_decode(struct apus_http_text t, char *buf, size_t size)
{
	size_t to = 0;

	for (size_t i = 0; i < t.len; i++) {
		int c = (unsigned char)t.at[i];

		if (c == '%') {
			if (t.len - i < 3)
				return -EINVAL;

			int high = apus_http_char_hex(t.at[i + 1]),
			    low = apus_http_char_hex(t.at[i + 2]);

			if (high < 0 || low < 0 || high + low == 0)
				return -EINVAL;
			c = high << 4 | low;
			i += 2;
		}
		if (to + 1 >= size)
			return -EMSGSIZE;
		buf[to++] = (char)c;
	}
	if (size == 0)
		return -EMSGSIZE;
	buf[to] = 0;
	return (int64_t)to;
}
