/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/stream.c: a buffered byte stream over a connection.
 *
 * What asyncio's StreamReader and StreamWriter are: the place where a protocol finds its lines and
 * lengths, and where small writes gather. It exists so that no protocol above buffers for itself.
 *
 * Buffers come from a pool of the shard, one size, last freed first given, and go back when they
 * are empty: a connection that waits for its peer holds this struct and nothing else. A stream with
 * an empty buffer waits for the connection to lend what came. What came in one piece is read where
 * it lies, and dropped there when all of it is consumed; it is copied into a buffer only when more is
 * to come behind it, or when somebody wants to change it. Reads that need more than the pool's size
 * take a buffer of their own from the heap, doubling up to the limit.
 *
 * Invariants: the bytes in_at .. in_at + in_bytes are read and not consumed; out_bytes are written
 * and not sent; a buffer is held only while it has bytes or somebody fills it; lent bytes are the
 * first that the connection holds, all of it, until they are released.
 *
 * Where we differ from asyncio: writes wait (what is unsent is bounded), there is one reader and
 * one writer at a time (-EBUSY), and a write that was cancelled half-way makes later writes fail:
 * nobody could know where the stream stands.
 */
#include "net/socket/stream.h"

#include "net/socket/stream_internal.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define LIMIT_DEFAULT ((size_t)65536)
#define KEPT_MAX      64 /* free buffers that the pool keeps */
#define VIEWS_MAX     32 /* of what came, taken at a time */

/* One per shard that has streams; lives from the first open to the last close. */
struct apus_stream_pool {
	struct apus_shard *shard;
	struct apus_heap *heap;
	void *free;       /* chain through the first word */
	uint32_t kept;    /* buffers in `free` */
	uint32_t streams; /* open ones: references to the pool */
};

/* ------------------------------------------------------------------------------------ buffers */

static struct apus_stream_pool *pool_get(struct apus_shard *shard)
{
	struct apus_stream_pool *pool = apus_shard_slot(shard, APUS_STREAM_SLOT);

	if (!pool) {
		pool = apus_heap_alloc(apus_shard_heap(shard), sizeof(*pool));
		if (!pool)
			return NULL;
		pool->shard = shard;
		pool->heap = apus_shard_heap(shard);
		pool->free = NULL;
		pool->kept = 0;
		pool->streams = 0;
		apus_shard_set_slot(shard, APUS_STREAM_SLOT, pool);
	}
	pool->streams++;
	return pool;
}

static void pool_put(struct apus_stream_pool *pool)
{
	apus_must(pool->streams > 0);
	if (--pool->streams > 0)
		return;

	while (pool->free) {
		void *buffer = pool->free;

		memcpy(&pool->free, buffer, sizeof(pool->free));
		apus_heap_free(pool->heap, buffer);
	}
	apus_shard_set_slot(pool->shard, APUS_STREAM_SLOT, NULL);
	apus_heap_free(pool->heap, pool);
}

static char *buffer_get(struct apus_stream_pool *pool)
{
	void *buffer = pool->free;

	if (!buffer)
		return apus_heap_alloc(pool->heap, APUS_STREAM_BUFFER_BYTES);
	memcpy(&pool->free, buffer, sizeof(pool->free));
	pool->kept--;
	return buffer;
}

static void buffer_put(struct apus_stream_pool *pool, char *buffer)
{
	if (pool->kept == KEPT_MAX) {
		apus_heap_free(pool->heap, buffer);
		return;
	}
	memcpy(buffer, &pool->free, sizeof(pool->free));
	pool->free = buffer;
	pool->kept++;
}

static void in_release(struct apus_stream *s)
{
	if (!s->in)
		return;
	if (s->lent)
		apus_tcp_consume(s->tcp, s->lent);
	else if (s->in_size == APUS_STREAM_BUFFER_BYTES)
		buffer_put(s->pool, s->in);
	else
		apus_heap_free(s->pool->heap, s->in);
	s->in = NULL;
	s->in_size = 0;
	s->lent = 0;
	s->in_at = 0;
}

static void out_release(struct apus_stream *s)
{
	if (!s->out)
		return;
	buffer_put(s->pool, s->out);
	s->out = NULL;
}

/* A buffer of at least `bytes`, holding what the old one held, from its first byte on. */
static int in_resize(struct apus_stream *s, size_t bytes)
{
	size_t size = APUS_STREAM_BUFFER_BYTES;

	while (size < bytes)
		size *= 2;

	char *buffer = size == APUS_STREAM_BUFFER_BYTES ? buffer_get(s->pool)
							: apus_heap_alloc(s->pool->heap, size);
	if (!buffer)
		return -ENOMEM;

	size_t held = s->in_bytes;

	if (held)
		memcpy(buffer, s->in + s->in_at, held);
	in_release(s);
	s->in = buffer;
	s->in_size = size;
	return 0;
}

int apus_stream_own(struct apus_stream *s)
{
	if (apus_likely(!s->lent))
		return 0;
	if (s->in_bytes)
		return in_resize(s, s->in_bytes);
	in_release(s);
	return 0;
}

/* ------------------------------------------------------------------------------------ reading */

/* Copies what is lent, at most `bytes`, behind what is buffered: there is room. */
static void take_views(struct apus_stream *s, const struct iovec *views, size_t bytes)
{
	char *to = s->in + s->in_at + s->in_bytes;

	s->in_bytes += bytes;
	for (size_t left = bytes; left > 0; views++) {
		size_t n = apus_min(left, views->iov_len);

		memcpy(to, views->iov_base, n);
		to += n;
		left -= n;
	}
	apus_tcp_consume(s->tcp, bytes);
}

/* Takes a buffer for what came in `n` pieces, or in more than there are views. */
static APUS_NOINLINE int64_t take_pieces(struct apus_stream *s, const struct iovec *views, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += views[i].iov_len;
	bytes = apus_min(bytes, s->limit);
	if (in_resize(s, bytes) < 0)
		return -ENOMEM;
	take_views(s, views, bytes);
	return (int64_t)bytes;
}

/* Nothing is buffered: wait without a buffer. (What comes in one piece: apus_stream_wait_here().) */
static int64_t fill_empty(struct apus_stream *s)
{
	struct iovec views[VIEWS_MAX];
	int n;

	in_release(s);
	s->reading = true;
	n = apus_tcp_peek(s->tcp, views, VIEWS_MAX);
	s->reading = false;
	if (apus_unlikely(n != 1))
		return n <= 0 ? n : take_pieces(s, views, n);
	s->in = views[0].iov_base;
	s->in_bytes = s->lent = apus_min(views[0].iov_len, s->limit);
	return (int64_t)s->in_bytes;
}

/* A part is buffered: read behind it. */
static APUS_NOINLINE int64_t fill_behind(struct apus_stream *s)
{
	int rc = apus_stream_own(s);
	size_t end = s->in_at + s->in_bytes;

	if (rc < 0)
		return rc;
	if (end == s->in_size && s->in_at > 0) {
		memmove(s->in, s->in + s->in_at, s->in_bytes);
		s->in_at = 0;
		end = s->in_bytes;
	}
	if (end == s->in_size) {
		rc = in_resize(s, end + 1);
		if (rc < 0)
			return rc;
	}
	s->reading = true;

	int64_t n = apus_tcp_read(s->tcp, s->in + end,
				  apus_min(s->in_size - end, s->limit - s->in_bytes));

	s->reading = false;
	if (n > 0)
		s->in_bytes += (size_t)n;
	return n;
}

/* Wait for more bytes. Return: how many came; 0 at the end; -EMSGSIZE at the limit; an error. */
static inline int64_t fill(struct apus_stream *s)
{
	if (s->reading)
		return -EBUSY;
	if (s->ended)
		return 0;
	if (s->in_bytes >= s->limit)
		return -EMSGSIZE;

	int64_t n = s->in_bytes ? fill_behind(s) : fill_empty(s);

	if (n == 0)
		s->ended = true;
	return n;
}

size_t apus_stream_buffered(const struct apus_stream *s, char **out)
{
	*out = apus_stream_begin(s);
	return s->in_bytes;
}

void apus_stream_consume(struct apus_stream *s, size_t bytes)
{
	if (apus_stream_step(s, bytes))
		in_release(s);
}

void apus_stream_cut(struct apus_stream *s, size_t at, size_t bytes)
{
	apus_must(!s->reading && !s->lent);
	apus_must_op(at, <=, s->in_bytes);
	apus_must_op(bytes, <=, s->in_bytes - at);

	char *hole = s->in + s->in_at + at;

	memmove(hole, hole + bytes, s->in_bytes - at - bytes);
	s->in_bytes -= bytes;
	if (s->in_bytes == 0)
		in_release(s);
}

int64_t apus_stream_view(struct apus_stream *s, size_t have, const char **out)
{
	int64_t n = have ? 0 : apus_stream_wait_here(s);

	*out = s->in;
	return apus_likely(n) ? n : apus_stream_view_any(s, have, out);
}

int64_t apus_stream_view_any(struct apus_stream *s, size_t have, const char **out)
{
	if (s->reading)
		return -EBUSY;
	while (s->in_bytes <= have) {
		int64_t n = fill(s);

		if (n <= 0)
			return n;
	}
	*out = s->in + s->in_at;
	return (int64_t)s->in_bytes;
}

int64_t apus_stream_peek(struct apus_stream *s, size_t have, char **out)
{
	const char *view;
	int64_t n = apus_stream_view(s, have, &view);
	int rc = n < 0 ? (int)n : apus_stream_own(s);

	if (rc < 0 || n == 0)
		return rc;
	*out = s->in + s->in_at;
	return n;
}

int64_t apus_stream_read(struct apus_stream *s, void *buf, size_t len)
{
	if (s->reading)
		return -EBUSY;

	if (s->in_bytes) {
		size_t n = apus_min(len, s->in_bytes);
		int rc = apus_checkpoint();

		if (rc < 0)
			return rc;
		memcpy(buf, s->in + s->in_at, n);
		apus_stream_consume(s, n);
		return (int64_t)n;
	}
	if (s->ended)
		return 0;
	in_release(s);

	s->reading = true;

	int64_t n = apus_tcp_read(s->tcp, buf, len);

	s->reading = false;
	if (n == 0)
		s->ended = true;
	return n;
}

int64_t apus_stream_read_exactly(struct apus_stream *s, void *buf, size_t len)
{
	if (len == 0)
		return 0;
	if (s->reading)
		return -EBUSY;
	if (s->in_bytes >= len) {
		int rc = apus_checkpoint();

		if (rc < 0)
			return rc;
	}
	if (len > s->limit)
		return -EMSGSIZE;
	while (s->in_bytes < len) {
		int64_t n = fill(s);

		if (n <= 0)
			return n == 0 ? -ENODATA : n;
	}
	memcpy(buf, s->in + s->in_at, len);
	apus_stream_consume(s, len);
	return (int64_t)len;
}

int64_t apus_stream_read_until(struct apus_stream *s, const void *separator, size_t separator_bytes,
			       const char **out)
{
	size_t seen = 0; /* no separator begins before it */

	apus_must(separator_bytes > 0);
	if (s->reading)
		return -EBUSY;
	if (s->in_bytes >= separator_bytes) {
		int rc = apus_checkpoint();

		if (rc < 0)
			return rc;
	}
	for (;;) {
		char *begin = NULL;

		apus_stream_buffered(s, &begin);

		char *hit = begin && s->in_bytes > seen ? memmem(begin + seen, s->in_bytes - seen,
								 separator, separator_bytes)
							: NULL;

		if (hit) {
			size_t n = (size_t)(hit - begin) + separator_bytes;

			*out = begin;
			s->in_at += n; /* the buffer stays, even if empty: it is lent */
			s->in_bytes -= n;
			return (int64_t)n;
		}
		if (s->in_bytes >= separator_bytes)
			seen = s->in_bytes - separator_bytes + 1;

		int64_t rc = fill(s);

		if (rc == 0)
			return s->in_bytes ? -ENODATA : 0;
		if (rc < 0)
			return rc;
	}
}

/* ------------------------------------------------------------------------------------ writing */

/* A write ended with `rc`. */
static inline int sent(struct apus_stream *s, int64_t rc)
{
	s->writing = false;
	s->out_bytes = 0;
	if (apus_likely(rc >= 0))
		return 0;
	s->out_error = rc == -ECANCELED ? -EPIPE : (int)rc;
	return (int)rc;
}

static inline int send_buffered(struct apus_stream *s)
{
	if (!s->out_bytes)
		return 0;
	s->writing = true;
	return sent(s, apus_tcp_write(s->tcp, s->out, s->out_bytes));
}

/* Send what is buffered and then `len` > 0 bytes of `buf`. */
static int send_with(struct apus_stream *s, const void *buf, size_t len)
{
	struct iovec iov[2] = {
		{.iov_base = s->out, .iov_len = s->out_bytes},
		{.iov_base = (void *)(uintptr_t)buf, .iov_len = len},
	};

	s->writing = true;
	return sent(s, s->out_bytes ? apus_tcp_writev(s->tcp, iov, 2, NULL)
				    : apus_tcp_write(s->tcp, buf, len));
}

static int may_write(const struct apus_stream *s)
{
	return s->writing ? -EBUSY : s->out_error;
}

int64_t apus_stream_write(struct apus_stream *s, const void *buf, size_t len)
{
	int rc = may_write(s);

	if (rc < 0 || len == 0)
		return rc;
	if (len <= APUS_STREAM_BUFFER_BYTES - s->out_bytes) {
		if (!s->out)
			s->out = buffer_get(s->pool);
		if (s->out) {
			memcpy(s->out + s->out_bytes, buf, len);
			s->out_bytes += len;
			return (int64_t)len;
		}
	}
	/* Too large for the buffer, or no memory for one: it goes out as it is. */
	rc = send_with(s, buf, len);
	out_release(s);
	return rc < 0 ? rc : (int64_t)len;
}

int apus_stream_drain(struct apus_stream *s)
{
	int rc = may_write(s);

	if (rc < 0)
		return rc;
	rc = send_buffered(s);
	out_release(s);
	return rc;
}

size_t apus_stream_pending(const struct apus_stream *s)
{
	return s->out_bytes;
}

/* As reserve, when there is no room. */
static APUS_NOINLINE int reserve_behind(struct apus_stream *s, size_t keep)
{
	size_t before = s->out_bytes;
	int rc = send_buffered(s);

	if (rc == 0)
		memmove(s->out, s->out + before, keep);
	return rc;
}

int apus_stream_reserve(struct apus_stream *s, size_t keep, size_t bytes, char **out)
{
	int rc = may_write(s);

	if (rc < 0)
		return rc;
	if (keep + bytes > APUS_STREAM_BUFFER_BYTES)
		return -EMSGSIZE;
	if (!s->out) {
		apus_must(keep == 0);
		s->out = buffer_get(s->pool);
		if (!s->out)
			return -ENOMEM;
	}
	if (apus_unlikely(s->out_bytes + keep + bytes > APUS_STREAM_BUFFER_BYTES)) {
		rc = reserve_behind(s, keep);
		if (rc < 0)
			return rc;
	}
	*out = s->out + s->out_bytes;
	return 0;
}

void apus_stream_commit(struct apus_stream *s, size_t bytes)
{
	apus_must_op(bytes, <=, APUS_STREAM_BUFFER_BYTES - s->out_bytes);
	s->out_bytes += bytes;
}

/* ----------------------------------------------------------------------------- open and close */

static APUS_INLINE void stream_free(struct apus_stream *s)
{
	struct apus_stream_pool *pool = s->pool;

	if (!s->lent) /* else it went with the connection */
		in_release(s);
	out_release(s);
	apus_heap_free(pool->heap, s);
	pool_put(pool);
}

int apus_stream_shutdown(struct apus_stream *s)
{
	int rc = apus_stream_drain(s);

	return rc < 0 ? rc : apus_tcp_shutdown(s->tcp);
}

int apus_stream_close(struct apus_stream *s)
{
	int rc = apus_stream_drain(s);

	if (s->lent) /* it was read: it is no reason for a reset */
		in_release(s);
	if (rc < 0)
		apus_tcp_abort(s->tcp);
	else
		apus_tcp_close(s->tcp);
	stream_free(s);
	return rc;
}

void apus_stream_abort(struct apus_stream *s)
{
	apus_tcp_abort(s->tcp);
	stream_free(s);
}

struct apus_tcp *apus_stream_release(struct apus_stream *s)
{
	struct apus_tcp *tcp = s->tcp;

	apus_must(!s->in_bytes && !s->out_bytes && !s->reading && !s->writing);
	apus_must(!s->ended && !s->out_error);
	in_release(s);
	stream_free(s);
	return tcp;
}

struct apus_tcp *apus_stream_tcp(struct apus_stream *s)
{
	return s->tcp;
}

int apus_stream_open(struct apus_tcp *c, size_t limit, struct apus_stream **out)
{
	struct apus_stream_pool *pool = pool_get(apus_shard_self());

	if (!pool)
		goto err_close;

	struct apus_stream *s = apus_heap_zalloc(pool->heap, sizeof(*s));

	if (!s)
		goto err_pool;
	s->tcp = c;
	s->pool = pool;
	s->limit = limit ? limit : LIMIT_DEFAULT;
	*out = s;
	return 0;

err_pool:
	pool_put(pool);
err_close:
	apus_tcp_close(c);
	return -ENOMEM;
}
