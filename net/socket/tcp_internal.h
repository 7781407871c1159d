/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/tcp_internal.h: the text of a connection where it lies, for stream.c.
 *
 * Short ways for what nearly always is: what came is in one mbuf, and what is written has room in
 * one. When it is not so they do nothing, and the calls of tcp.h are the way, which also say why.
 */
#ifndef APUS_NET_SOCKET_TCP_INTERNAL_H
#define APUS_NET_SOCKET_TCP_INTERNAL_H

#include "net/socket/tcp.h"

/* Text that is lent. */
struct apus_tcp_view {
	char *at;      /* valid until apus_tcp_consume() */
	int64_t bytes; /* 0: nothing is lent, apus_tcp_peek() is to say why; -ECANCELED */
};

/** apus_tcp_view_soon - as apus_tcp_peek(), of what comes in one piece, which it waits for. Context: task, suspends */
APUS_MUST_CHECK struct apus_tcp_view apus_tcp_view_soon(struct apus_tcp *c);

/** apus_tcp_peek_slow - apus_tcp_peek(), whatever there is. Context: task, suspends */
APUS_MUST_CHECK int apus_tcp_peek_slow(struct apus_tcp *c, struct iovec *views, int n);

/**
 * apus_tcp_room - where the next @bytes, > 0, of a write go
 *
 * They are written there and told to apus_tcp_filled() at once. Context: task. Return: NULL:
 * apus_tcp_write() is the way.
 */
char *apus_tcp_room(struct apus_tcp *c, size_t bytes);
/** apus_tcp_filled - the first @bytes of that room are written, as if by apus_tcp_write(). Context: task. Return: 0 */
int apus_tcp_filled(struct apus_tcp *c, size_t bytes);

#endif
