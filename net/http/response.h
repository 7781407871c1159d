/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/response.h: the answer to a request (RFC 9110, RFC 9112).
 *
 * At once:        apus_http_respond(res, 200, "text/plain", text, len)
 * With headers:   apus_http_response_begin(), _header() …, _body()
 * In pieces:      apus_http_response_begin(), _header() …, _stream(), _write() …, _end()
 *
 * Date, Content-Length, Transfer-Encoding and Connection are written for you. A HEAD request gets
 * the same head, and what is written as a body goes nowhere. An error stays: later calls return it,
 * so it is enough to return what the last one gave.
 */
#ifndef APUS_NET_HTTP_RESPONSE_H
#define APUS_NET_HTTP_RESPONSE_H

#include "net/http/request.h"

#include <string.h>

APUS_BEGIN_DECLS

/**
 * apus_http_respond - the whole answer
 * @content_type: NULL: no such header
 * @body:         of @len bytes; borrowed until return
 *
 * Context: task, suspends when the connection's buffers are full.
 * Return:  0; -EINVAL (@content_type cannot stand in a header), -EALREADY (answered), -ENOMEM;
 *          -ETIMEDOUT (the client does not read); as apus_stream_write().
 */
APUS_MUST_CHECK static inline int apus_http_respond(struct apus_http_response *res, int status,
						    const char *content_type, const void *body,
						    size_t len);
/** apus_http_respond_text - as apus_http_respond(), with a type that is not terminated; at is NULL for none */
APUS_MUST_CHECK int apus_http_respond_text(struct apus_http_response *res, int status,
					   struct apus_http_text type, const void *body,
					   size_t len);

/** apus_http_response_begin - the status line, 200 <= @status <= 599. Context: task, suspends. Return: 0; as apus_http_respond() */
APUS_MUST_CHECK int apus_http_response_begin(struct apus_http_response *res, int status);
/**
 * apus_http_response_header - add one header
 *
 * Context: task, suspends. Return: 0; -EINVAL: bytes that may not stand there (so nobody's input can
 * split the answer), or a header that is written for you; -EMSGSIZE: the head is over 8 KiB;
 * as apus_http_respond().
 */
APUS_MUST_CHECK int apus_http_response_header(struct apus_http_response *res, const char *name,
					      const char *value);
/** apus_http_response_header_text - as apus_http_response_header(), with a value that is not terminated */
APUS_MUST_CHECK int apus_http_response_header_text(struct apus_http_response *res, const char *name,
						   struct apus_http_text value);
/** apus_http_response_body - end the head and send all of the body. Context: task, suspends. Return: 0; as apus_http_respond() */
APUS_MUST_CHECK int apus_http_response_body(struct apus_http_response *res, const void *body,
					    size_t len);

/**
 * apus_http_response_stream - end the head; the body follows in pieces
 * @length: of the body; < 0: not known (chunked, or until close for HTTP/1.0)
 *
 * Context: task, suspends. Return: 0; as apus_http_respond().
 */
APUS_MUST_CHECK int apus_http_response_stream(struct apus_http_response *res, int64_t length);
/** apus_http_response_write - a piece of the body; waits while the client is slow. Context: task, suspends. Return: 0; -EMSGSIZE: more than was announced; as apus_http_respond() */
APUS_MUST_CHECK int apus_http_response_write(struct apus_http_response *res, const void *buf,
					     size_t len);
/** apus_http_response_end - the body is whole. Context: task, suspends. Return: 0; -ENODATA: less than was announced; as apus_http_respond() */
APUS_MUST_CHECK int apus_http_response_end(struct apus_http_response *res);

/**
 * apus_http_response_flush - send what is buffered now: pieces, and the answers before this one
 *
 * Answers to pipelined requests leave together when no further request is buffered. A handler that
 * is about to wait for something slow calls this first. Context: task, suspends. Return: 0; as
 * apus_http_respond().
 */
APUS_MUST_CHECK int apus_http_response_flush(struct apus_http_response *res);
/** apus_http_response_close - close the connection after this answer; before the head has ended. Context: any */
void apus_http_response_close(struct apus_http_response *res);
/** apus_http_response_begun - has an answer been begun? Context: any */
bool apus_http_response_begun(const struct apus_http_response *res);

/** apus_http_reason - "Not Found"; "" for what has no name */
const char *apus_http_reason(int status);

/* inline definitions */

/* So that the length of a type that is written here is not counted each time. */
static inline int apus_http_respond(struct apus_http_response *res, int status,
				    const char *content_type, const void *body, size_t len)
{
	struct apus_http_text type;

	type.at = content_type;
	type.len = content_type ? strlen(content_type) : 0;
	return apus_http_respond_text(res, status, type, body, len);
}

APUS_END_DECLS

#endif
