/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/fake_tcp.h: connections without a network, for tests of what lies above them.
 *
 * Defines apus_tcp_*: bytes go straight from the test to the reader, and every write is counted, so
 * that a test can say "one write". Included by a test program, which then links no real TCP.
 */
#ifndef APUS_TESTS_NET_HTTP_FAKE_TCP_H
#define APUS_TESTS_NET_HTTP_FAKE_TCP_H

#include "net/socket/tcp_internal.h"
#include "runtime/base/check.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/wait.h"
#include "runtime/sync/waitq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAKE_BYTES_MAX
# define FAKE_BYTES_MAX ((size_t)1 << 20)
#endif

enum fake_end {
	FAKE_OPEN,
	FAKE_SHUTDOWN, /* the server said FIN */
	FAKE_CLOSED,
	FAKE_ABORTED,
};

/* One connection; the test's and the server's end. Freed by the test, when the server holds it no more. */
struct apus_tcp {
	char *in; /* from the test to the reader */
	size_t in_at, in_bytes;
	bool in_ended;
	bool is_reset; /* by apus_tcp_reset() */
	bool unread;   /* bytes were left when it was closed: a real one would reset */
	int error;     /* of reads and writes from now on */
	struct apus_waitq readers;
	char *out; /* what was written */
	size_t out_bytes;
	size_t window; /* bytes that may still be written before a writer waits */
	struct apus_waitq writers;
	uint32_t writes; /* calls that wrote */
	bool has_room;   /* apus_tcp_room() gives some */
	enum fake_end end;
	int64_t ended_ns;      /* when it became closed or aborted */
	struct apus_tcp *next; /* in the accept queue */
	uint32_t holds;        /* of apus_tcp_get() */
	bool is_freed;         /* by the test */
};

struct apus_tcp_listener {
	struct apus_tcp *queue;
	struct apus_waitq acceptors;
	struct apus_endpoint local;
	int error; /* the next accept gives it, once */
	bool open;
};

static struct apus_tcp_listener fake_listeners[8]; /* of each shard */
#define fake_listener fake_listeners[apus_shard_index()]

/* --- The test's end -------------------------------------------------------------------------- */

static inline struct apus_tcp *fake_open(void)
{
	struct apus_tcp *c = calloc(1, sizeof(*c));

	apus_must(c != NULL);
	c->in = malloc(FAKE_BYTES_MAX);
	c->out = malloc(FAKE_BYTES_MAX);
	c->window = SIZE_MAX;
	apus_waitq_init(&c->readers);
	apus_waitq_init(&c->writers);
	return c;
}

static inline void fake_free(struct apus_tcp *c)
{
	c->is_freed = true;
	if (c->holds)
		return;
	free(c->in);
	free(c->out);
	free(c);
}

static inline struct apus_tcp *fake_connect(void)
{
	struct apus_tcp *c = fake_open();
	struct apus_tcp **last = &fake_listener.queue;

	while (*last)
		last = &(*last)->next;
	*last = c;
	apus_waitq_wake_one(&fake_listener.acceptors, 0);
	return c;
}

static inline void fake_send_bytes(struct apus_tcp *c, const void *bytes, size_t len)
{
	apus_must_op(c->in_at + c->in_bytes + len, <=, FAKE_BYTES_MAX);
	memcpy(c->in + c->in_at + c->in_bytes, bytes, len);
	c->in_bytes += len;
	apus_waitq_wake_one(&c->readers, 0);
}

static inline void fake_send(struct apus_tcp *c, const char *text)
{
	fake_send_bytes(c, text, strlen(text));
}

static inline void fake_send_end(struct apus_tcp *c)
{
	c->in_ended = true;
	apus_waitq_wake_one(&c->readers, 0);
}

static inline void fake_reset(struct apus_tcp *c)
{
	c->error = -ECONNRESET;
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
}

static inline void fake_open_window(struct apus_tcp *c, size_t bytes)
{
	c->window = bytes;
	apus_waitq_wake_all(&c->writers, 0);
}

/* What was written so far, as a string; then it is forgotten. */
static inline const char *fake_take(struct apus_tcp *c)
{
	c->out[c->out_bytes] = 0;
	c->out_bytes = 0;
	return c->out;
}

/* --- The server's end ------------------------------------------------------------------------ */

int apus_tcp_listen(struct apus_endpoint local, uint32_t backlog, struct apus_tcp_listener **out)
{
	struct apus_tcp_listener *l = &fake_listener;

	apus_must_op(apus_shard_index(), <, apus_countof(fake_listeners));
	apus_must(!l->open);
	*l = (struct apus_tcp_listener){.local = local, .open = true};
	apus_waitq_init(&l->acceptors);
	*out = l;
	return 0;
}

int apus_tcp_accept(struct apus_tcp_listener *l, struct apus_tcp **out)
{
	int rc = l->error;

	l->error = 0;
	if (rc < 0)
		return rc;
	rc = apus_checkpoint();
	while (rc == 0 && l->open && !l->queue)
		rc = (int)apus_waitq_wait(&l->acceptors, "fake accept");
	if (rc < 0 || !l->open)
		return rc < 0 ? rc : -EPIPE;
	*out = l->queue;
	l->queue = l->queue->next;
	return 0;
}

void apus_tcp_listener_close(struct apus_tcp_listener *l)
{
	apus_must(l->open);
	l->open = false;
	apus_waitq_wake_all(&l->acceptors, -EPIPE);
}

struct apus_endpoint apus_tcp_listener_local(const struct apus_tcp_listener *l)
{
	return l->local;
}

int64_t apus_tcp_read(struct apus_tcp *c, void *buf, size_t len)
{
	int rc = apus_checkpoint();

	while (rc == 0 && !c->error && !c->in_bytes && !c->in_ended)
		rc = (int)apus_waitq_wait(&c->readers, "fake read");
	if (rc < 0 || c->error)
		return rc < 0 ? rc : c->error;

	size_t n = apus_min(len, c->in_bytes);

	memcpy(buf, c->in + c->in_at, n);
	c->in_at = c->in_bytes == n ? 0 : c->in_at + n;
	c->in_bytes -= n;
	return (int64_t)n;
}

int apus_tcp_peek(struct apus_tcp *c, struct iovec *views, int n)
{
	int rc = apus_checkpoint();

	while (rc == 0 && !c->error && !c->in_bytes && !c->in_ended)
		rc = (int)apus_waitq_wait(&c->readers, "fake read");
	if (rc < 0 || c->error)
		return rc < 0 ? rc : c->error;
	views[0] = (struct iovec){c->in + c->in_at, c->in_bytes};
	return c->in_bytes > 0;
}

void apus_tcp_on_readable(struct apus_tcp *c, struct apus_callback *callback)
{
	if (c->error || c->in_bytes || c->in_ended)
		apus_callback_now(callback, 0);
	else
		apus_callback_register(callback, &c->readers.waiters);
}

void apus_tcp_consume(struct apus_tcp *c, size_t bytes)
{
	apus_must_op(bytes, <=, c->in_bytes);
	c->in_at = c->in_bytes == bytes ? 0 : c->in_at + bytes;
	c->in_bytes -= bytes;
}

/* Short ways are not taken here, for a test counts the calls; unless it wants to see one taken. */
struct apus_tcp_view apus_tcp_view_soon(struct apus_tcp *c)
{
	return (struct apus_tcp_view){0};
}

char *apus_tcp_room(struct apus_tcp *c, size_t bytes)
{
	apus_must_op(c->out_bytes + bytes, <, FAKE_BYTES_MAX);
	return c->has_room ? c->out + c->out_bytes : NULL;
}

int apus_tcp_filled(struct apus_tcp *c, size_t bytes)
{
	apus_must(c->has_room);
	c->out_bytes += bytes;
	return 0;
}

int64_t apus_tcp_writev(struct apus_tcp *c, const struct iovec *iov, size_t n, size_t *queued)
{
	int64_t all = 0;

	apus_must(c->end == FAKE_OPEN);
	c->writes++;
	for (size_t i = 0; i < n; i++) {
		const char *at = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left > 0) {
			int rc = 0;

			while (rc == 0 && !c->error && c->window == 0)
				rc = (int)apus_waitq_wait(&c->writers, "fake write");
			if (rc < 0 || c->error)
				return rc < 0 ? rc : c->error;

			size_t part = apus_min(left, c->window);

			apus_must_op(c->out_bytes + part, <, FAKE_BYTES_MAX);
			memcpy(c->out + c->out_bytes, at, part);
			c->out_bytes += part;
			c->window -= c->window == SIZE_MAX ? 0 : part;
			at += part;
			left -= part;
			all += (int64_t)part;
		}
	}
	return all;
}

int64_t apus_tcp_write(struct apus_tcp *c, const void *buf, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};

	return apus_tcp_writev(c, &iov, 1, NULL);
}

int apus_tcp_shutdown(struct apus_tcp *c)
{
	apus_must(c->end == FAKE_OPEN);
	c->end = FAKE_SHUTDOWN;
	return c->error;
}

void apus_tcp_close(struct apus_tcp *c)
{
	apus_must(c->end <= FAKE_SHUTDOWN);
	c->unread = c->in_bytes > 0;
	c->end = c->is_reset ? FAKE_ABORTED : FAKE_CLOSED;
	c->ended_ns = apus_now();
}

void apus_tcp_abort(struct apus_tcp *c)
{
	apus_must(c->end <= FAKE_SHUTDOWN);
	c->end = FAKE_ABORTED;
	c->ended_ns = apus_now();
}

void apus_tcp_get(struct apus_tcp *c)
{
	c->holds++;
}

void apus_tcp_put(struct apus_tcp *c)
{
	apus_must_op(c->holds, >, 0);
	c->holds--;
	if (c->is_freed)
		fake_free(c);
}

void apus_tcp_reset(struct apus_tcp *c)
{
	c->is_reset = true;
	c->error = -ECONNABORTED;
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
}

bool apus_tcp_is_closed(const struct apus_tcp *c)
{
	return c->end > FAKE_SHUTDOWN;
}

int apus_tcp_error(const struct apus_tcp *c)
{
	return c->error;
}

struct apus_endpoint apus_tcp_remote(const struct apus_tcp *c)
{
	return (struct apus_endpoint){.port = 1024};
}

#endif
