/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/tcp.h: TCP connections for tasks (RFC 9293 §3.9.1, the user interface).
 *
 * On the shard's own stack. A connection or a listener belongs to one shard; one task reads and one
 * task writes at a time. Time limits are scopes: apus_timeout_begin().
 */
#ifndef APUS_NET_SOCKET_TCP_H
#define APUS_NET_SOCKET_TCP_H

#include "net/ip/addr.h"

#include <sys/uio.h>

APUS_BEGIN_DECLS

struct apus_callback;
struct apus_tcp;
struct apus_tcp_info;
struct apus_tcp_listener;

enum apus_tcp_option {
	APUS_TCP_NODELAY,               /* 1: no Nagle (default 1: an answer never waits) */
	APUS_TCP_KEEPALIVE_IDLE_NS,     /* 0: off (default) */
	APUS_TCP_KEEPALIVE_INTERVAL_NS, /* default 75 s */
	APUS_TCP_KEEPALIVE_PROBES,      /* default 9 */
	APUS_TCP_USER_TIMEOUT_NS,       /* 0: RFC 9293's R2 (default) */
	/*
	 * 1: what would be a short segment waits for more (Linux's TCP_CORK, MSG_MORE), until it is
	 * full, until 0 is set, until shutdown or close, at most for about 200 ms and a round trip.
	 */
	APUS_TCP_CORK,
	APUS_TCP_LINGER_NS, /* < 0: close in the background (default); 0: close resets; > 0: close waits so long */
};

/**
 * apus_tcp_listen - accept connections at @local
 * @local:   address (any: all of the stack's) and port (0: one is chosen)
 * @backlog: connections that wait to be accepted, at most; 0: 4096
 *
 * Context: any, on a shard. Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, -ENOMEM.
 */
APUS_MUST_CHECK int apus_tcp_listen(struct apus_endpoint local, uint32_t backlog,
				    struct apus_tcp_listener **out);
/** apus_tcp_accept - the next connection, established. Context: task, suspends. Return: 0, -ECANCELED, -EPIPE once closed */
APUS_MUST_CHECK int apus_tcp_accept(struct apus_tcp_listener *l, struct apus_tcp **out);
/** apus_tcp_listener_close - stop; those not accepted are reset; a task in accept gets -EPIPE. Consumes @l. Context: any */
void apus_tcp_listener_close(struct apus_tcp_listener *l);
/** apus_tcp_listener_local - where it listens. Context: any */
struct apus_endpoint apus_tcp_listener_local(const struct apus_tcp_listener *l);

/**
 * apus_tcp_connect - open a connection to @remote
 *
 * Context: task, suspends.
 * Return:  0; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH, -EADDRNOTAVAIL (no free port), -ENOMEM,
 *          -ECANCELED (nothing is left behind).
 */
APUS_MUST_CHECK int apus_tcp_connect(struct apus_endpoint remote, struct apus_tcp **out);

/**
 * apus_tcp_connect_from - as apus_tcp_connect(), from an endpoint of one's own choice
 * @local: any address: the one that fits the way; port 0: an ephemeral one
 *
 * Where several shards share an address, answers land on the shard that the hash of both ends names.
 * A port that is chosen (here and by apus_tcp_connect()) is one whose answers come home to this shard: of n
 * shards' ports to one remote each has about one in n. A port that is given must be such a one; on
 * which shard it is, only trying tells.
 *
 * Context: task, suspends.
 * Return:  as apus_tcp_connect(), where -EADDRNOTAVAIL also says: no port of this shard's is free; an
 *          address that is not ours; a port whose answers would land on another shard. -EADDRINUSE:
 *          there is a connection from that port to @remote.
 * Source:  RFC 9293 §3.9.1.1 (MUST-43)
 */
APUS_MUST_CHECK int apus_tcp_connect_from(struct apus_endpoint local, struct apus_endpoint remote,
					  struct apus_tcp **out);

/**
 * apus_tcp_urgent - how much urgent text is still to be read
 *
 * Urgent text stays in its place in the stream (RFC 6093 §5) and is read as all other; the peer has
 * marked where it ends. There is no way to send any: new applications should not (SHLD-13).
 *
 * Context: any. Return: bytes from the next one read to the end of what is urgent; 0: nothing is.
 * Source:  RFC 9293 §3.8.5 (MUST-31, MUST-33)
 */
uint32_t apus_tcp_urgent(struct apus_tcp *c);
/**
 * apus_tcp_on_urgent - be told of urgent text, on any connection of this shard
 * @told: called with the connection and @arg when the peer points at urgent text and none was
 *        pending, or further ahead than before; NULL: nobody is told (default)
 *
 * From the loop, as the segment arrives: what it brings cannot be read yet, and may be the first of a
 * connection that waits to be accepted. There @told may ask apus_tcp_urgent(), set an event or wake a
 * task; it must not suspend, nor close or abort a connection. The kernel's connections tell nothing.
 *
 * Context: any, on the shard. Return: 0, -EADDRNOTAVAIL (it has no stack of its own).
 * Source: RFC 9293 §3.8.5 (MUST-32)
 */
APUS_MUST_CHECK int apus_tcp_on_urgent(void (*told)(struct apus_tcp *c, void *arg), void *arg);
/**
 * apus_tcp_read - take bytes from the stream, in order
 * @c:   open connection; borrowed
 * @buf: destination of @len bytes, len > 0
 *
 * Waits for at least one byte, then takes what is queued, at most @len. A cancelled read has taken
 * nothing.
 *
 * Context: task, suspends. One reader at a time (-EBUSY).
 * Return:  bytes taken; 0 once the peer has closed; -ECONNRESET, -ETIMEDOUT, -ECANCELED.
 * Source:  RFC 9293 §3.9.1.4 (RECEIVE)
 */
APUS_MUST_CHECK int64_t apus_tcp_read(struct apus_tcp *c, void *buf, size_t len);

/**
 * apus_tcp_peek - lend what has come, where it lies
 * @c:     open connection; borrowed
 * @views: of the first bytes that are queued, in order, at most @n > 0 of them; read-only
 *
 * Waits for at least one byte. Nothing is taken: a later peek lends the same bytes again, and more
 * if more has come. The views are valid until the next apus_tcp_consume() or apus_tcp_read() on
 * @c, until then also while the task waits for something else and when the connection fails; not
 * after apus_tcp_close() or apus_tcp_abort(). What is lent counts against the window.
 *
 * Context: task, suspends. One reader at a time (-EBUSY).
 * Return:  views, 1 to @n; 0 once the peer has closed; as apus_tcp_read().
 */
APUS_MUST_CHECK int apus_tcp_peek(struct apus_tcp *c, struct iovec *views, int n);
/**
 * apus_tcp_on_readable - call back once when a read would not wait: bytes, the end, or an error
 * @callback: initialised; kept until it ran or apus_callback_remove(), which is before @c is given up
 *
 * For who waits without a task. Nothing is read; it stands in line with tasks that read. What the connection
 * holds for the next write only is given back meanwhile. Context: any, on the shard. Source: loop.add_reader
 */
void apus_tcp_on_readable(struct apus_tcp *c, struct apus_callback *callback);
/** apus_tcp_consume - drop the first @bytes that a peek lent (at most what it lent). Context: any, on the shard */
void apus_tcp_consume(struct apus_tcp *c, size_t bytes);

/**
 * apus_tcp_write - append all of @buf to the stream
 *
 * Copies into the send queue, and waits for room when that is full: what is unsent is bounded.
 * Bytes go out in the same turn of the loop, as windows permit.
 *
 * Context: task, suspends when the send queue is full. One writer at a time (-EBUSY).
 * Return:  @len; -EPIPE closed here, -ECONNRESET, -ETIMEDOUT, -ECANCELED (a part may be queued).
 * Source:  RFC 9293 §3.9.1.3 (SEND)
 */
APUS_MUST_CHECK int64_t apus_tcp_write(struct apus_tcp *c, const void *buf, size_t len);
/**
 * apus_tcp_writev - as apus_tcp_write() with @n pieces in order, any number; one segment where they fit
 * @queued: written always, if not NULL: bytes that are queued, also when it was cancelled or failed
 */
APUS_MUST_CHECK int64_t apus_tcp_writev(struct apus_tcp *c, const struct iovec *iov, size_t n,
					size_t *queued);

/**
 * apus_tcp_send_buffer - append @buf to the stream without copying it
 * @buf:  of @len bytes; kept, and not to be changed, until @done is called
 * @done: called once with @arg, always, also on error: when all that was queued of it is
 *        acknowledged, or the connection has ended, and the driver has let go of the last frame that
 *        names it. From the loop at the end of a turn, where it must not suspend: it sets a future,
 *        wakes a task, frees. Or from within this call, when all was copied or nothing queued.
 *
 * What is shorter than a segment is copied, which is cheaper; so is memory that the device cannot
 * reach (it reads what DPDK mapped: its heap, and what was registered with it). Waits for room as
 * apus_tcp_write() does. At most 65536 buffers of a shard are out at a time; more are copied.
 *
 * Context: task, suspends when the send queue is full. One writer at a time (-EBUSY).
 * Return:  @len; as apus_tcp_write().
 */
APUS_MUST_CHECK int64_t apus_tcp_send_buffer(struct apus_tcp *c, const void *buf, size_t len,
					     void (*done)(void *arg), void *arg);

/** apus_tcp_shutdown - no more writes: FIN follows what is queued; reading goes on. Context: any. Return: 0, -EPIPE, -ECONNRESET */
APUS_MUST_CHECK int apus_tcp_shutdown(struct apus_tcp *c);
/**
 * apus_tcp_close - close both ways and give the connection up; consumes @c
 *
 * Does not wait: queued bytes and the FIN are still delivered (RFC 9293 §3.9.1.5). Unread data is a reset (RFC 2525 §2.17).
 * With APUS_TCP_LINGER_NS above 0 a task waits until they are acknowledged, or the time is over, or it is cancelled (which
 * its next wait then tells); whatever remains is delivered in the background.
 * Context: any, on the shard; suspends if it lingers.
 */
void apus_tcp_close(struct apus_tcp *c);
/** apus_tcp_abort - reset; consumes @c. Context: any, on the shard. Source: RFC 9293 §3.9.1.6 */
void apus_tcp_abort(struct apus_tcp *c);

/**
 * apus_tcp_get, apus_tcp_put - a second handle, for who watches a connection that another uses
 *
 * With it the calls below it may be made, also after the other has closed the connection. Each get is
 * followed by one put. Context: any, on the shard.
 */
void apus_tcp_get(struct apus_tcp *c);
void apus_tcp_put(struct apus_tcp *c);
/** apus_tcp_reset - as apus_tcp_abort(), but for another: @c stays his to close; his calls fail with -ECONNABORTED. Nothing when it is over. Context: any, on the shard */
void apus_tcp_reset(struct apus_tcp *c);
/** apus_tcp_is_closed - was it given up, by close or abort? Context: any */
bool apus_tcp_is_closed(const struct apus_tcp *c);
/** apus_tcp_error - what it ended in: -ECONNRESET, -ETIMEDOUT, ...; 0: nothing so far. Context: any */
int apus_tcp_error(const struct apus_tcp *c);

/** apus_tcp_local - its own end. Context: any */
struct apus_endpoint apus_tcp_local(const struct apus_tcp *c);
/** apus_tcp_remote - the other end. Context: any */
struct apus_endpoint apus_tcp_remote(const struct apus_tcp *c);
/** apus_tcp_get_info - how @c does now; any state; see net/tcp/info.h; what the kernel does not tell of one of its own is 0. Context: any, on the shard */
void apus_tcp_get_info(const struct apus_tcp *c, struct apus_tcp_info *info);
/** apus_tcp_set - set an option. Return: 0, -EINVAL. Context: any, on the shard */
APUS_MUST_CHECK int apus_tcp_set(struct apus_tcp *c, enum apus_tcp_option option, int64_t value);
/**
 * apus_tcp_set_congestion - send on by another algorithm: "cubic", "reno", "dctcp", "bbr"
 *
 * Windows stay as they are. DCTCP needs ECN, which is agreed on in the handshake: there it is to be
 * the stack's or the listener's choice.
 *
 * Context: any, on the shard. Return: 0, -ENOENT (no such algorithm), -EPIPE (it is over).
 */
APUS_MUST_CHECK int apus_tcp_set_congestion(struct apus_tcp *c, const char *name);
/** apus_tcp_listener_set_congestion - of what @l accepts from now on. Return: 0, -ENOENT. Context: any, on the shard */
APUS_MUST_CHECK int apus_tcp_listener_set_congestion(struct apus_tcp_listener *l, const char *name);

APUS_END_DECLS

#endif
