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

/**
 * apus_stream_reserve_here - as apus_stream_reserve() with nothing to keep, @bytes of at most APUS_STREAM_BUFFER_BYTES
 *
 * Context: task; never suspends.
 * Return: where they go; NULL if what was committed before would have to be sent first, or all else
 * that apus_stream_reserve() says.
 */
static inline char *apus_stream_reserve_here(struct apus_stream *s, size_t bytes)
{
	char *out;

	if (apus_likely(s->out && !s->writing && !s->out_error &&
			bytes <= APUS_STREAM_BUFFER_BYTES - s->out_bytes))
		return s->out + s->out_bytes;
	if (s->out_bytes || apus_stream_reserve(s, 0, bytes, &out) < 0)
		return NULL;
	return out;
}

/** apus_stream_commit_here - as apus_stream_commit() */
static inline void apus_stream_commit_here(struct apus_stream *s, size_t bytes)
{
	apus_must_op(bytes, <=, APUS_STREAM_BUFFER_BYTES - s->out_bytes);
	s->out_bytes += bytes;
}

#endif
