/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/chars.h: what the characters of HTTP are, whatever the locale. Internal to the floor.
 */
#ifndef APUS_NET_HTTP_CHARS_H
#define APUS_NET_HTTP_CHARS_H

#include "runtime/base/compiler.h"

#include <string.h>

APUS_BEGIN_DECLS

enum {
	APUS_HTTP_CHAR_TOKEN = 1 << 0,      /* RFC 9110 §5.6.2 */
	APUS_HTTP_CHAR_UNRESERVED = 1 << 1, /* RFC 3986 §2.3 */
	APUS_HTTP_CHAR_HOST = 1 << 2,       /* RFC 3986 §3.2.2 and §3.2.3: host and port */
	APUS_HTTP_CHAR_PATH = 1 << 4,       /* RFC 3986 §3.3: may stand in a path, but for '%' */
	APUS_HTTP_CHAR_QUERY = 1 << 5,      /* RFC 3986 §3.4: may stand in a query */
	APUS_HTTP_CHAR_VALUE = 1 << 3,      /* RFC 9110 §5.5: may stand in a header's value */
};

extern const uint8_t apus_http_chars[256];

static inline bool apus_http_char_is(char c, unsigned int class)
{
	return apus_http_chars[(uint8_t)c] & class;
}

/* 0 to 15, or -1. */
static inline int apus_http_char_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline char apus_http_char_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The same but for the case of ASCII letters. */
static inline bool apus_http_nocase_equal(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (apus_http_char_lower(a[i]) != apus_http_char_lower(b[i]))
			return false;
	return true;
}

/* memcmp() == 0, for texts that are short mostly: without a call. */
static inline bool apus_http_same_bytes(const char *a, const char *b, size_t bytes)
{
	uint64_t x, y;
	size_t i = 0;

	if (bytes < sizeof(x)) {
		while (i < bytes && a[i] == b[i])
			i++;
		return i == bytes;
	}
	for (; i < bytes - sizeof(x); i += sizeof(x)) {
		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x != y)
			return false;
	}
	/* The last word ends with the text. */
	memcpy(&x, a + bytes - sizeof(x), sizeof(x));
	memcpy(&y, b + bytes - sizeof(y), sizeof(y));
	return x == y;
}

APUS_END_DECLS

#endif
