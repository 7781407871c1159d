/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/scan.h: where a run of characters ends, sixteen bytes at a time. Internal to the floor.
 *
 * A set of ASCII characters is a table of sixteen bytes: by the low half of a character, a bit for
 * each high half; a shuffle looks up sixteen of them at once. Without SSSE3 it is a loop. test_parser.c
 * holds the tables against apus_http_chars.
 *
 * What lies behind the end is not read: the last bytes are looked at together with those before them.
 * So a text has at least sixteen bytes in all.
 */
#ifndef APUS_NET_HTTP_SCAN_H
#define APUS_NET_HTTP_SCAN_H

#include "net/http/chars.h"

#include <string.h>

#define APUS_HTTP_SCAN_LEAST 16 /* bytes of the whole text */
#define APUS_HTTP_SCAN_TEXT  0U /* a class beside those of chars.h: no control character */

#if defined(__SSSE3__)
# include <immintrin.h>

static inline __m128i apus_http_scan_table(unsigned int class)
{
# define TABLE(...) _mm_setr_epi8(__VA_ARGS__)
# define B(x)       (char)(x)
	switch (class) {
	case APUS_HTTP_CHAR_TOKEN:
		return TABLE(B(0xe8), B(0xfc), B(0xf8), B(0xfc), B(0xfc), B(0xfc), B(0xfc), B(0xfc),
			     B(0xf8), B(0xf8), B(0xf4), B(0x54), B(0xd0), B(0x54), B(0xf4),
			     B(0x70));
	case APUS_HTTP_CHAR_HOST:
		return TABLE(B(0xa8), B(0xfc), B(0xf8), B(0xf8), B(0xfc), B(0xfc), B(0xfc), B(0xfc),
			     B(0xfc), B(0xfc), B(0xfc), B(0x7c), B(0x54), B(0x7c), B(0xd4),
			     B(0x70));
	case APUS_HTTP_CHAR_PATH:
		return TABLE(B(0xb8), B(0xfc), B(0xf8), B(0xf8), B(0xfc), B(0xf8), B(0xfc), B(0xfc),
			     B(0xfc), B(0xfc), B(0xfc), B(0x5c), B(0x54), B(0x5c), B(0xd4),
			     B(0x74));
	default: /* APUS_HTTP_CHAR_QUERY */
		return TABLE(B(0xb8), B(0xfc), B(0xf8), B(0xf8), B(0xfc), B(0xfc), B(0xfc), B(0xfc),
			     B(0xfc), B(0xfc), B(0xfc), B(0x5c), B(0x54), B(0x5c), B(0xd4),
			     B(0x7c));
	}
# undef B
# undef TABLE
}

/* A bit for each of sixteen bytes that is below 0x20, or 0x7f. */
static inline unsigned int apus_http_scan_controls(__m128i bytes)
{
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
	__m128i delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));

	return (unsigned int)_mm_movemask_epi8(_mm_or_si128(low, delete));
}

/* A bit for each of sixteen bytes that ends a run; those from 0x80 on are in no set. */
static inline unsigned int apus_http_scan_ends(const char *at, unsigned int class)
{
	const __m128i row_bits =
		_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);

	if (class == APUS_HTTP_SCAN_TEXT)
		return apus_http_scan_controls(bytes);

	__m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
	__m128i rows = _mm_shuffle_epi8(apus_http_scan_table(class), bytes);
	__m128i in = _mm_and_si128(rows, _mm_shuffle_epi8(row_bits, high));

	return (unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(in, _mm_setzero_si128()));
}

#endif

#define APUS_HTTP_SAME_LEAST 32

/* Of 32 bytes. */
static inline bool apus_http_scan_same_32(const char *a, const char *b)
{
#if defined(__AVX2__)
	__m256i x = _mm256_loadu_si256((const __m256i *)(const void *)a);
	__m256i y = _mm256_loadu_si256((const __m256i *)(const void *)b);

	return _mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)) == -1;
#else
	uint64_t x[4], y[4];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
#endif
}

/** apus_http_scan_same - are these the same? @bytes >= APUS_HTTP_SAME_LEAST. The last are looked at first: the begin is alike mostly */
static inline bool apus_http_scan_same(const char *a, const char *b, size_t bytes)
{
	size_t last = bytes - 32;

	if (!apus_http_scan_same_32(a + last, b + last))
		return false;
	for (size_t i = 0; i < last; i += 32)
		if (!apus_http_scan_same_32(a + i, b + i))
			return false;
	return true;
}

/**
 * apus_http_scan - the end of what begins at @at and is made of @class; @end if all of it is
 * @class: TOKEN, HOST, PATH or QUERY of chars.h, or APUS_HTTP_SCAN_TEXT; a constant
 *
 * The APUS_HTTP_SCAN_LEAST bytes before @end must be there to be read.
 */
static inline const char *apus_http_scan(const char *at, const char *end, unsigned int class)
{
#if defined(__SSSE3__)
	for (; end - at >= 16; at += 16) {
		unsigned int ends = apus_http_scan_ends(at, class);

		if (ends)
			return at + __builtin_ctz(ends);
	}

	size_t left = (size_t)(end - at);

	return at + __builtin_ctz(apus_http_scan_ends(end - 16, class) >> (16 - left) | 1U << left);
#else
	if (class == APUS_HTTP_SCAN_TEXT)
		while (at < end && (uint8_t)*at >= 0x20 && *at != 0x7f)
			at++;
	else
		while (at < end && apus_http_char_is(*at, class))
			at++;
	return at;
#endif
}

#endif
