/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/stream.h: a buffered byte stream over a connection (asyncio.StreamReader/Writer).
 *
 * Reads by count, by separator or as it comes; writes gather in a buffer and go out when it is full
 * or at drain. A cancelled read loses nothing: bytes stay in the buffer until a complete read takes
 * them. A stream that holds no bytes holds no buffer either.
 *
 * One task reads and one task writes at a time; a second one gets -EBUSY.
 */
#ifndef APUS_NET_SOCKET_STREAM_H
#define APUS_NET_SOCKET_STREAM_H

#include "net/socket/tcp.h"

APUS_BEGIN_DECLS

struct apus_stream;

#define APUS_STREAM_SLOT         2    /* of apus_shard_slot(): the shard's pool of buffers */
#define APUS_STREAM_BUFFER_BYTES 8192 /* what writes gather in, and the room of a reservation */

/**
 * apus_stream_open - a stream over a connection
 * @c:     open connection; consumed (kept until the stream closes; closed at once on error)
 * @limit: most bytes buffered for reading; 0: 64 KiB
 *
 * Context: any, on the shard. Return: 0, -ENOMEM. Source: asyncio.open_connection
 */
APUS_MUST_CHECK int apus_stream_open(struct apus_tcp *c, size_t limit, struct apus_stream **out);

/** apus_stream_read - at least one byte, at most @len. Context: task, suspends. Return: bytes; 0 at the end; as apus_tcp_read() */
APUS_MUST_CHECK int64_t apus_stream_read(struct apus_stream *s, void *buf, size_t len);

/**
 * apus_stream_read_exactly - all @len bytes, or none
 *
 * Context: task, suspends.
 * Return:  @len; -ENODATA when the end came first, -EMSGSIZE when @len is more than the limit (in
 *          both cases what came stays readable); as apus_tcp_read().
 * Source:  asyncio.StreamReader.readexactly
 */
APUS_MUST_CHECK int64_t apus_stream_read_exactly(struct apus_stream *s, void *buf, size_t len);

/**
 * apus_stream_read_until - lend the bytes up to and with @separator
 * @separator: of @separator_bytes > 0
 * @out:       points into the buffer; valid until the next read on the stream
 *
 * Context: task, suspends.
 * Return:  bytes with the separator; 0 at the end with nothing left; -ENODATA when the end came
 *          before the separator, -EMSGSIZE when it is not within the limit (bytes stay); as
 *          apus_tcp_read().
 * Source:  asyncio.StreamReader.readuntil
 */
APUS_MUST_CHECK int64_t apus_stream_read_until(struct apus_stream *s, const void *separator,
					       size_t separator_bytes, const char **out);

/**
 * apus_stream_peek - lend what is buffered, after waiting for more than @have bytes
 * @have: 0 for "anything"; the number already seen for "more than that"
 * @out:  points into the buffer, which the caller may change; valid until the next read
 *
 * Context: task, suspends.
 * Return:  bytes at @out, > @have; 0 at the end (apus_stream_buffered() still lends what is there);
 *          -EMSGSIZE at the limit; as apus_tcp_read().
 */
APUS_MUST_CHECK int64_t apus_stream_peek(struct apus_stream *s, size_t have, char **out);
/**
 * apus_stream_view - as apus_stream_peek(), to read only: what came in one piece stays where it lies
 *
 * apus_stream_own() makes it writable, elsewhere.
 */
APUS_MUST_CHECK int64_t apus_stream_view(struct apus_stream *s, size_t have, const char **out);
/** apus_stream_own - what is buffered may be changed: it is copied if it was only viewed. Context: any. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_stream_own(struct apus_stream *s);
/** apus_stream_buffered - lend what is here without waiting: to read only if it was viewed. Return: bytes at @out, may be 0. Context: any */
size_t apus_stream_buffered(const struct apus_stream *s, char **out);
/** apus_stream_consume - drop @bytes that a peek lent. Context: any */
void apus_stream_consume(struct apus_stream *s, size_t bytes);
/** apus_stream_cut - drop @bytes that begin @at bytes into what a peek lent. Context: any */
void apus_stream_cut(struct apus_stream *s, size_t at, size_t bytes);

/**
 * apus_stream_write - append to the buffer; sends when that is full
 *
 * Context: task, suspends when the buffer and the connection's send queue are full.
 * Return:  @len; as apus_tcp_write(). After an error a part may have been sent, so every later
 *          write fails too (-EPIPE after -ECANCELED).
 */
APUS_MUST_CHECK int64_t apus_stream_write(struct apus_stream *s, const void *buf, size_t len);
/** apus_stream_drain - send what is buffered. Context: task, suspends. Return: 0; as apus_stream_write() */
APUS_MUST_CHECK int apus_stream_drain(struct apus_stream *s);
/** apus_stream_pending - bytes written and not yet sent by a drain. Context: any */
size_t apus_stream_pending(const struct apus_stream *s);

/**
 * apus_stream_reserve - lend room at the end of the write buffer
 * @keep:  bytes of the previous reservation, not committed, that move along
 * @bytes: room after them; @keep + @bytes <= APUS_STREAM_BUFFER_BYTES
 * @out:   the room's begin: @keep bytes and then the new room; valid until the next write
 *
 * For text that is made in place. What was committed before is sent when there is no room.
 *
 * Context: task, suspends then. Return: 0; -EMSGSIZE, -ENOMEM; as apus_stream_write().
 */
APUS_MUST_CHECK int apus_stream_reserve(struct apus_stream *s, size_t keep, size_t bytes,
					char **out);
/** apus_stream_commit - the first @bytes of the reservation are written. Context: any */
void apus_stream_commit(struct apus_stream *s, size_t bytes);

/** apus_stream_shutdown - drain, then FIN; reading goes on. Context: task, suspends. Return: 0; as apus_stream_write() */
APUS_MUST_CHECK int apus_stream_shutdown(struct apus_stream *s);
/** apus_stream_close - drain, then close; consumes @s, always. Context: task, suspends. Return: 0; as apus_stream_write() (then it was reset) */
int apus_stream_close(struct apus_stream *s);
/** apus_stream_abort - reset; consumes @s. Context: any */
void apus_stream_abort(struct apus_stream *s);
/** apus_stream_release - give the connection back; consumes @s, in which nothing is buffered and nothing has failed. Context: any */
APUS_MUST_CHECK struct apus_tcp *apus_stream_release(struct apus_stream *s);
/** apus_stream_tcp - the connection below. Borrowed. Context: any */
struct apus_tcp *apus_stream_tcp(struct apus_stream *s);

APUS_END_DECLS

#endif
