/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/stream.h: a buffered byte stream over a connection (asyncio.StreamReader/Writer).
 *
 * Reads by count, by separator or as it comes; writes gather in a buffer and go out when it is full
 * or at drain. A cancelled read loses nothing: bytes stay in the buffer until a complete read takes them.
 */
#ifndef APUS_NET_SOCKET_STREAM_H
#define APUS_NET_SOCKET_STREAM_H

#include "net/socket/tcp.h"

APUS_BEGIN_DECLS

struct apus_stream;

/** apus_stream_open - consumes @c (kept until close). @limit: most bytes buffered per direction; 0: 64 KiB. Return: 0, -ENOMEM (then @c is closed) */
APUS_MUST_CHECK int apus_stream_open(struct apus_tcp *c, size_t limit, struct apus_stream **out);
/** apus_stream_read - at least one byte, at most @len. Context: task, suspends. Return: bytes; 0 at the end; as apus_tcp_read() */
APUS_MUST_CHECK int64_t apus_stream_read(struct apus_stream *s, void *buf, size_t len);
/** apus_stream_read_exactly - all @len bytes. Return: @len; -ENODATA when the end came first (what came stays readable); as apus_tcp_read() */
APUS_MUST_CHECK int64_t apus_stream_read_exactly(struct apus_stream *s, void *buf, size_t len);
/**
 * apus_stream_read_until - lend the bytes up to and with @separator
 * @out: points into the buffer; valid until the next call on the stream
 *
 * Return: bytes with the separator; 0 at the end with nothing left; -ENODATA when the end came
 * before the separator, -EMSGSIZE when it is not within the limit (bytes stay); as apus_tcp_read()
 */
APUS_MUST_CHECK int64_t apus_stream_read_until(struct apus_stream *s, const void *separator,
					       size_t separator_bytes, const char **out);
/**
 * apus_stream_peek - lend what is buffered, after waiting for more than @have bytes
 * @have: 0 for "anything"; the number already seen for "more than that"
 *
 * Return: bytes at @out, > @have; 0 at the end (then @out still holds the @have bytes); -EMSGSIZE at the limit; as apus_tcp_read()
 */
APUS_MUST_CHECK int64_t apus_stream_peek(struct apus_stream *s, size_t have, const char **out);
/** apus_stream_consume - drop @bytes that a peek lent. Context: any */
void apus_stream_consume(struct apus_stream *s, size_t bytes);
/** apus_stream_write - append to the buffer; sends when that is full. Context: task, suspends then. Return: @len; as apus_tcp_write() */
APUS_MUST_CHECK int64_t apus_stream_write(struct apus_stream *s, const void *buf, size_t len);
/** apus_stream_drain - send what is buffered. Context: task, suspends. Return: 0; as apus_tcp_write() */
APUS_MUST_CHECK int apus_stream_drain(struct apus_stream *s);
/** apus_stream_close - drain, then close; consumes @s, always. Context: task, suspends. Return: 0; as apus_tcp_write() */
int apus_stream_close(struct apus_stream *s);
/** apus_stream_abort - reset; consumes @s. Context: any */
void apus_stream_abort(struct apus_stream *s);
struct apus_tcp *apus_stream_tcp(struct apus_stream *s);

APUS_END_DECLS

#endif
