/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/echo.c: a message, and the same bytes back.
 *
 * Every message has its bytes at the same place of a pattern whose length is a prime, so that an echo
 * that loses or repeats any is found out.
 */
#include "apps/load/load.h"

#include <errno.h>
#include <string.h>

#define PATTERN 251

static char pattern[PATTERN + 65536];
static uint32_t step; /* in the pattern, of a message */

static int prepare(const struct load_options *o, char *why, size_t why_bytes)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PATTERN);
	step = o->bytes % PATTERN;
	return 0;
}

static int begin(struct load_stream *s)
{
	s->left = 0;
	s->line = s->asked = 0; /* places in the pattern: of the next byte in, and out */
	return 0;
}

static void end(struct load_stream *s)
{
}

/* From one message to the next, without a division. */
static uint32_t behind(uint32_t at)
{
	return at + step < PATTERN ? at + step : at + step - PATTERN;
}

static int request(struct load_stream *s, struct iovec pieces[LOAD_PIECES_MAX])
{
	pieces[0] = (struct iovec){pattern + s->asked, load_options.bytes};
	s->asked = behind(s->asked);
	return 1;
}

static APUS_NOINLINE int64_t part_of_answer(struct load_stream *s, const char *bytes, size_t len,
					    bool *whole)
{
	if (!s->left)
		s->left = load_options.bytes;
	len = apus_min(len, (size_t)s->left);
	if (memcmp(bytes, pattern + s->line, len))
		return -EBADMSG;
	s->line = (uint32_t)((s->line + len) % PATTERN);
	s->left -= len;
	*whole = !s->left;
	return (int64_t)len;
}

static int64_t answer(struct load_stream *s, const char *bytes, size_t len, bool *whole)
{
	if (apus_unlikely(s->left || len < load_options.bytes))
		return part_of_answer(s, bytes, len, whole);
	const char *right = pattern + s->line;

	s->line = behind(s->line);
	*whole = true;
	return memcmp(bytes, right, load_options.bytes) ? -EBADMSG : (int64_t)load_options.bytes;
}

const struct load_protocol load_echo = {prepare, begin, end, request, answer};
