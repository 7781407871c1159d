/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/request.h: an HTTP/1.1 request as a handler sees it (RFC 9110, RFC 9112).
 *
 * The request is whole: head and body are in the connection's buffer, and what these functions
 * return points there. All of it is valid until the handler returns.
 */
#ifndef APUS_NET_HTTP_REQUEST_H
#define APUS_NET_HTTP_REQUEST_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_http_request;
struct apus_http_response;

/* Bytes of a message, not terminated. */
struct apus_http_text {
	const char *at; /* NULL: there is no such thing (a header that was not sent) */
	size_t len;
};

/* RFC 9110 §9.3 and RFC 5789. Every other method is answered with 501. */
enum apus_http_method {
	APUS_HTTP_GET,
	APUS_HTTP_HEAD,
	APUS_HTTP_POST,
	APUS_HTTP_PUT,
	APUS_HTTP_DELETE,
	APUS_HTTP_OPTIONS,
	APUS_HTTP_TRACE,
	APUS_HTTP_PATCH,
	APUS_HTTP_METHODS, /* how many there are */
};

#define APUS_HTTP_HEADERS_MAX 100

/* What a client may ask of us. A field that is 0 takes its default. */
struct apus_http_limits {
	uint32_t head_bytes; /* request line and headers: 16 KiB; at most 65535 */
	uint32_t uri_bytes;  /* the target in the request line: 8 KiB */
	uint32_t headers;    /* 100, which is also the most */
	uint64_t body_bytes; /* 1 MiB */
	int64_t head_ns;     /* from a request's first byte to the end of its head: 10 s */
	int64_t body_ns;     /* from there to the end of its body: 60 s */
	int64_t idle_ns;     /* between requests: 75 s */
	int64_t write_ns;    /* for one write of the answer to find room: 60 s */
};

/**
 * apus_http_handler_fn - answers one request with net/http/response.h
 *
 * Context: task, may suspend.
 * Return:  >= 0; a negative errno becomes a 500 if nothing was answered yet, else the connection is
 *          reset.
 */
typedef int64_t (*apus_http_handler_fn)(struct apus_http_request *req,
					struct apus_http_response *res, void *arg);

/** apus_http_request_method - its method. Context: any */
enum apus_http_method apus_http_request_method(const struct apus_http_request *r);
/** apus_http_method_name - "GET" */
const char *apus_http_method_name(enum apus_http_method method);

/**
 * apus_http_request_path - the path of the target, still percent-encoded
 *
 * Begins with '/', or is "*" (OPTIONS). Escapes of unreserved characters are already taken out
 * (RFC 3986 §6.2.2.2), so that one path has one spelling here.
 */
struct apus_http_text apus_http_request_path(const struct apus_http_request *r);
/** apus_http_request_query - after the '?'; at is NULL without one */
struct apus_http_text apus_http_request_query(const struct apus_http_request *r);
/** apus_http_request_header - the first header of that name (any case); at is NULL if there is none */
struct apus_http_text apus_http_request_header(const struct apus_http_request *r, const char *name);
/** apus_http_request_header_count - how many headers there are */
size_t apus_http_request_header_count(const struct apus_http_request *r);
/** apus_http_request_header_at - the @i-th header, @i < count. Return: its value */
struct apus_http_text apus_http_request_header_at(const struct apus_http_request *r, size_t i,
						  struct apus_http_text *name);
/** apus_http_request_body - all of it, decoded; len is 0 without one */
struct apus_http_text apus_http_request_body(const struct apus_http_request *r);
/** apus_http_request_minor - 0 or 1: HTTP/1.0 or HTTP/1.1 */
unsigned int apus_http_request_minor(const struct apus_http_request *r);

/** apus_http_text_equal - the same bytes as the string @s */
bool apus_http_text_equal(struct apus_http_text t, const char *s);
/** apus_http_text_equal_nocase - the same but for the case of ASCII letters */
bool apus_http_text_equal_nocase(struct apus_http_text t, const char *s);
/**
 * apus_http_decode - take percent-encoding out of @t
 * @buf: destination of @size bytes; gets a terminating NUL
 *
 * Return: bytes without the NUL; -EINVAL: a bad escape or an encoded NUL, -EMSGSIZE.
 */
APUS_MUST_CHECK int64_t apus_http_decode(struct apus_http_text t, char *buf, size_t size);

APUS_END_DECLS

#endif
