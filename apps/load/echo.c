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

static int prepare(const struct load_options *o, char *why, size_t why_bytes)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PATTERN);
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

static int request(struct load_stream *s, struct iovec pieces[LOAD_PIECES_MAX])
{
	pieces[0] = (struct iovec){pattern + s->asked, load_options.bytes};
	s->asked = (s->asked + load_options.bytes) % PATTERN;
	return 1;
}

static int64_t answer(struct load_stream *s, const char *bytes, size_t len, bool *whole)
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

const struct load_protocol load_echo = {prepare, begin, end, request, answer};
