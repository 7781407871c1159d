/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/response_internal.h: a response as the server sees it. Internal to the floor.
 */
#ifndef APUS_NET_HTTP_RESPONSE_INTERNAL_H
#define APUS_NET_HTTP_RESPONSE_INTERNAL_H

#include "net/http/date.h"
#include "net/http/response.h"
#include "net/http/watchdog.h"
#include "net/socket/stream.h"

APUS_BEGIN_DECLS

enum apus_http_response_state {
	APUS_HTTP_RESPONSE_NONE, /* nothing yet */
	APUS_HTTP_RESPONSE_HEAD, /* the head is made in the stream's reservation, nothing is sent */
	APUS_HTTP_RESPONSE_BODY, /* the head is out of our hands */
	APUS_HTTP_RESPONSE_DONE,
};

#define APUS_HTTP_ALIKE       4 /* a power of two */
#define APUS_HTTP_ALIKE_BYTES 224

/* How small answers of one status and type begin: all alike for a second, up to the length. */
struct apus_http_alike {
	int64_t until_ns; /* then the date is another; 0: there is none */
	size_t length;    /* of the body; written by set_length() */
	uint16_t status;
	uint16_t bytes; /* of `text` */
	uint16_t type_at, type_bytes;
	uint16_t length_at;
	char text[APUS_HTTP_ALIKE_BYTES];
};

static_assert(sizeof(struct apus_http_alike) == 256, "found by a shift");

/* What a server's responses have in common. */
struct apus_http_response_common {
	struct apus_http_date date;
	struct apus_http_text server;                  /* "Server: apus\r\n", or "" */
	int64_t write_ns;                              /* limit of one wait for room */
	struct apus_http_alike alike[APUS_HTTP_ALIKE]; /* by alike_of() */
};

/* What the short way asks for, in one word. */
struct apus_http_response_how {
	int error;       /* sticky */
	uint8_t state;   /* enum apus_http_response_state */
	bool head_only;  /* the request is a HEAD */
	bool old;        /* the client speaks HTTP/1.0 */
	bool keep_alive; /* another request may follow */
};

/* Written by response.c only, but for what the server sets up. */
struct apus_http_response {
	struct apus_stream *stream;
	struct apus_http_watchdog *watchdog;
	struct apus_http_response_common *common;
	char *head;          /* the reservation */
	size_t head_bytes;   /* written there */
	size_t head_room;    /* of the reservation */
	uint64_t left;       /* of a body whose length was announced */
	const bool *closing; /* true: it is its connection's last; NULL: never */
	struct apus_http_response_how how;
	uint16_t status;
	bool bodiless; /* so is the status: 204 and 304 */
	bool chunked;
	bool counted; /* `left` counts */
};

/** apus_http_response_init - nothing is answered yet */
static inline void apus_http_response_init(struct apus_http_response *res,
					   struct apus_stream *stream,
					   struct apus_http_watchdog *watchdog,
					   struct apus_http_response_common *common)
{
	*res = (struct apus_http_response){
		.stream = stream,
		.watchdog = watchdog,
		.common = common,
	};
}
/** apus_http_response_again - the same for the connection's next request */
static inline void apus_http_response_again(struct apus_http_response *res,
					    struct apus_http_response_how how)
{
	res->head_bytes = res->head_room = 0;
	res->how = how;
	res->status = 0;
	res->bodiless = res->chunked = res->counted = false;
}
/** apus_http_response_discard - begin again. Return: false if a part is out of our hands already */
bool apus_http_response_discard(struct apus_http_response *res);

APUS_END_DECLS

#endif
