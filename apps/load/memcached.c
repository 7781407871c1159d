/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/memcached.c: get and set of random keys, in memcached's text protocol.
 */
#include "apps/load/load.h"
#include "net/socket/tcp.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX (1024 * 1024)

static char *value; /* of --bytes, and the line end behind it */

static int prepare(const struct load_options *o, char *why, size_t why_bytes)
{
	free(value);
	value = malloc(o->bytes + 2);
	if (!value)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->bytes; i++)
		value[i] = (char)('a' + i % 26);
	value[o->bytes] = '\r';
	value[o->bytes + 1] = '\n';
	return 0;
}

static int begin(struct load_stream *s)
{
	s->left = 0;
	s->line = 0;
	s->within = false;
	return 0;
}

static void end(struct load_stream *s)
{
}

static int set(struct load_stream *s, uint64_t key, const char *noreply,
	       struct iovec pieces[LOAD_PIECES_MAX])
{
	int n = snprintf(s->request_text, sizeof(s->request_text), "set load:%010llu 0 0 %u%s\r\n",
			 (unsigned long long)key, load_options.bytes, noreply);

	pieces[0] = (struct iovec){s->request_text, (size_t)n};
	pieces[1] = (struct iovec){value, load_options.bytes + 2};
	return 2;
}

static int request(struct load_stream *s, struct iovec pieces[LOAD_PIECES_MAX])
{
	uint64_t key = apus_random_below(s->random, load_options.keys);
	int n;

	if (apus_random_below(s->random, 100) >= load_options.get_percent)
		return set(s, key, "", pieces);
	n = snprintf(s->request_text, sizeof(s->request_text), "get load:%010llu\r\n",
		     (unsigned long long)key);
	pieces[0] = (struct iovec){s->request_text, (size_t)n};
	return 1;
}

static bool line_is(const struct load_stream *s, const char *text)
{
	return s->line == strlen(text) && !memcmp(s->text, text, s->line);
}

/* A whole line, without its end, is in s->text. Return: 0, -EBADMSG */
static int take_line(struct load_stream *s, bool *whole)
{
	const char *last; /* word */

	s->text[s->line] = '\0';
	if (!strncmp(s->text, "VALUE ", 6) && (last = strrchr(s->text, ' '))) {
		s->left = strtoul(last, NULL, 10) + UINT64_C(2);
		if (s->left > VALUE_MAX + 2)
			return -EBADMSG;
		s->within = true;
	} else if (line_is(s, "END")) {
		if (!s->within)
			load_stats.misses++;
		s->within = false;
		*whole = true;
	} else if (line_is(s, "STORED")) {
		*whole = true;
	} else if (!strncmp(s->text, "SERVER_ERROR", 12) || line_is(s, "NOT_STORED")) {
		s->is_bad = *whole = true;
	} else {
		return -EBADMSG;
	}
	s->line = 0;
	return 0;
}

static int64_t answer(struct load_stream *s, const char *bytes, size_t len, bool *whole)
{
	size_t at = 0;

	while (at < len && !*whole) {
		if (s->left) {
			size_t n = apus_min(len - at, (size_t)s->left);

			s->left -= n;
			at += n;
			continue;
		}

		const char *stop = memchr(bytes + at, '\n', len - at);
		size_t n = (stop ? (size_t)(stop - bytes) + 1 : len) - at;

		if (s->line + n >= sizeof(s->text))
			return -EBADMSG;
		memcpy(s->text + s->line, bytes + at, n);
		s->line += (uint32_t)n;
		at += n;
		if (!stop)
			break;
		if (s->line < 2 || s->text[s->line - 2] != '\r')
			return -EBADMSG;
		s->line -= 2;
		if (take_line(s, whole))
			return -EBADMSG;
	}
	return (int64_t)at;
}

const struct load_protocol load_memcached = {prepare, begin, end, request, answer};

/* All keys once, so that a get finds something; the answer to one more command says they are in. */
static int64_t fill_on(struct apus_tcp *c)
{
	static const char ask[] = "version\r\n";
	struct load_stream s = {0};
	struct iovec pieces[LOAD_PIECES_MAX];
	char said[LOAD_LINE_BYTES];
	int64_t rc = 0;

	for (uint64_t key = 0; rc >= 0 && key < load_options.keys; key++)
		rc = apus_tcp_writev(c, pieces, (size_t)set(&s, key, " noreply", pieces), NULL);
	if (rc >= 0)
		rc = apus_tcp_write(c, ask, sizeof(ask) - 1);
	if (rc >= 0)
		rc = apus_tcp_read(c, said, sizeof(said));
	if (rc >= 0)
		rc = rc > 7 && !memcmp(said, "VERSION", 7) ? 0 : -EBADMSG;
	return rc;
}

int load_fill_memcached(void)
{
	struct apus_tcp *c;
	int64_t rc = load_open(&c);

	if (rc)
		return (int)rc;
	rc = fill_on(c);
	apus_tcp_close(c);
	return (int)rc;
}
