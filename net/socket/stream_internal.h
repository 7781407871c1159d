/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/stream_internal.h: a stream from inside, for protocols of ours that ask it many small
 * things for each message (net/http).
 *
 * What is written here only stream.c writes, but for what the functions below do.
 */
#ifndef APUS_NET_SOCKET_STREAM_INTERNAL_H
#define APUS_NET_SOCKET_STREAM_INTERNAL_H

#include "net/socket/stream.h"
#include "net/socket/tcp_internal.h"
#include "runtime/base/check.h"

struct apus_stream_pool;

struct apus_stream {
	struct apus_tcp *tcp;
	struct apus_stream_pool *pool;
	char *in;        /* NULL while nothing is buffered */
	size_t in_size;  /* of the allocation */
	size_t lent;     /* `in` is no allocation: so many bytes that lie with the connection */
	size_t in_at;    /* first byte that is not consumed */
	size_t in_bytes; /* bytes from there */
	size_t limit;    /* of in_bytes */
	char *out;       /* APUS_STREAM_BUFFER_BYTES; NULL while nothing is written */
	size_t out_bytes;
	int out_error; /* sticky: nobody knows what the peer has */
	bool ended;    /* the peer closed its side */
	bool reading;  /* a task waits for bytes */
	bool writing;  /* a task waits for room */
};

/* The first byte that is not consumed; NULL while nothing is buffered. */
static inline char *apus_stream_begin(const struct apus_stream *s)
{
	return s->in ? s->in + s->in_at : NULL;
}

/* Consumes. Return: true if nothing is left, and what held it is to be released. */
static inline bool apus_stream_step(struct apus_stream *s, size_t bytes)
{
	apus_must_op(bytes, <=, s->in_bytes);
	s->in_bytes -= bytes;
	s->in_at += bytes;
	return s->in_bytes == 0 && !s->reading;
}

/** apus_stream_view_any - apus_stream_view(), whatever is buffered and comes */
APUS_MUST_CHECK int64_t apus_stream_view_any(struct apus_stream *s, size_t have, const char **out);

/**
 * apus_stream_wait_here - wait for bytes that come in one piece while nothing is buffered
 *
 * Context: task, suspends. Return: how many there are, from s->in on; -ECANCELED; 0: it is not so,
 * apus_stream_view_any() is to say.
 */
APUS_MUST_CHECK static inline int64_t apus_stream_wait_here(struct apus_stream *s)
{
	struct apus_tcp_view view;

	if (apus_unlikely(s->in || s->reading || s->ended))
		return 0;
	s->reading = true;
	view = apus_tcp_view_soon(s->tcp);
	s->reading = false;
	if (apus_unlikely(view.bytes <= 0))
		return view.bytes;
	s->in = view.at;
	s->in_bytes = s->lent = apus_min((size_t)view.bytes, s->limit);
	return (int64_t)s->in_bytes;
}

/** apus_stream_consume_here - as apus_stream_consume() */
static inline void apus_stream_consume_here(struct apus_stream *s, size_t bytes)
{
	if (!s->lent || s->lent != s->in_at + bytes || s->reading) {
		apus_stream_consume(s, bytes);
		return;
	}
	/* All that was lent. */
	apus_assert(bytes == s->in_bytes);
	apus_tcp_consume(s->tcp, s->lent);
	s->in = NULL;
	s->lent = s->in_at = s->in_bytes = 0;
}

/**
 * apus_stream_room_here - room in the connection's queue for a message of at most @bytes, made in place
 *
 * It is made at once, told by apus_stream_filled_here(), and leaves at the end of the turn, without a
 * drain, which has nothing to do then. Context: task; never suspends. Return: NULL: something waits
 * before it, or the queue is full; apus_stream_reserve() is the way.
 */
static inline char *apus_stream_room_here(struct apus_stream *s, size_t bytes)
{
	if (apus_unlikely(s->out_bytes || s->writing || s->out_error))
		return NULL;
	return apus_tcp_room(s->tcp, bytes);
}

/** apus_stream_filled_here - the first @bytes of that room, > 0, are written. Return: 0 */
static inline int apus_stream_filled_here(struct apus_stream *s, size_t bytes)
{
	return apus_tcp_filled(s->tcp, bytes);
}

#endif
