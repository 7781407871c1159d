/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/http.c: GET over HTTP/1.1, any server's answers (RFC 9112), read by llhttp.
 *
 * A server mostly says the same thing again. An answer that is byte for byte the last one that was
 * read whole, head and body, needs no parser: it would come to the same end. So the client is
 * seldom the slower side.
 */
#include "apps/load/load.h"

#include <errno.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES 4096
#define SAME_BYTES    2048

static char request_text[REQUEST_BYTES];
static size_t request_bytes;

/* The last answer that was read from one piece. */
static _Thread_local struct {
	char bytes[SAME_BYTES];
	size_t len;
} same;

struct parser {
	llhttp_t llhttp;
	bool whole;
};

static int on_complete(llhttp_t *p)
{
	((struct parser *)p->data)->whole = true;
	return HPE_PAUSED; /* what follows is the next answer's */
}

static llhttp_settings_t settings = {.on_message_complete = on_complete};

static bool is_path(const char *text)
{
	if (*text != '/')
		return false;
	while (*text > ' ' && *text != 0x7f)
		text++;
	return !*text;
}

static int prepare(const struct load_options *o, char *why, size_t why_bytes)
{
	char host[APUS_ENDPOINT_TEXT_BYTES];
	int n = snprintf(request_text, sizeof(request_text),
			 "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", o->path,
			 apus_endpoint_format(o->to, host),
			 o->reconnect && o->depth == 1 ? "Connection: close\r\n" : "");

	if (n < 0 || (size_t)n >= sizeof(request_text)) {
		snprintf(why, why_bytes, "--path is longer than 4,000 bytes");
		return -EINVAL;
	}
	if (!is_path(o->path)) {
		snprintf(why, why_bytes,
			 "--path %s: give a path that begins with / and has no blanks", o->path);
		return -EINVAL;
	}
	request_bytes = (size_t)n;
	same.len = 0;
	return 0;
}

static void restart(struct parser *p)
{
	llhttp_init(&p->llhttp, HTTP_RESPONSE, &settings);
	p->llhttp.data = p;
	p->whole = false;
}

static int begin(struct load_stream *s)
{
	struct parser *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	restart(p);
	s->parser = p;
	s->within = false; /* no part of an answer is in */
	return 0;
}

static void end(struct load_stream *s)
{
	free(s->parser);
	s->parser = NULL;
}

static int request(struct load_stream *s, struct iovec pieces[LOAD_PIECES_MAX])
{
	pieces[0] = (struct iovec){request_text, request_bytes};
	return 1;
}

static APUS_NOINLINE int64_t parse(struct load_stream *s, const char *bytes, size_t len,
				   bool *whole)
{
	struct parser *p = s->parser;
	bool from_begin = !s->within;
	enum llhttp_errno rc;
	size_t taken = len;

	rc = llhttp_execute(&p->llhttp, bytes, len);
	s->within = true;
	if (rc == HPE_PAUSED && p->whole)
		taken = (size_t)(llhttp_get_error_pos(&p->llhttp) - bytes);
	else if (rc != HPE_OK)
		return -EBADMSG;
	if (!p->whole)
		return (int64_t)taken;
	*whole = true;
	s->is_bad = p->llhttp.status_code >= 400;
	if (from_begin && !s->is_bad && taken <= sizeof(same.bytes) &&
	    llhttp_should_keep_alive(&p->llhttp)) {
		memcpy(same.bytes, bytes, taken);
		same.len = taken;
	}
	restart(p);
	s->within = false;
	return (int64_t)taken;
}

static int64_t answer(struct load_stream *s, const char *bytes, size_t len, bool *whole)
{
	if (s->within || !same.len || len < same.len || memcmp(bytes, same.bytes, same.len))
		return parse(s, bytes, len, whole);
	*whole = true;
	return (int64_t)same.len;
}

const struct load_protocol load_http = {prepare, begin, end, request, answer};
