/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/stream.c: connections that ask and wait for answers.
 *
 * One task per active connection. It keeps up to `depth` requests out, remembers of each when it was
 * to be sent, and takes answers in order. In a closed loop the next request leaves when there is
 * room for it; in an open loop when the schedule says so, and its latency counts from that moment
 * also when the connection was not ready then.
 *
 * A moment is apus_now(): the turn in which something was sent or polled, so answers of one burst
 * share it.
 */
#include "apps/load/load.h"
#include "net/socket/tcp.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <stdlib.h>

#define OPENING_MAX 256 /* connections at a time: fewer than any server's backlog */
#define VIEWS       8

static const int64_t retry_ns = 100 * APUS_MS;

_Thread_local struct load_run load_run;

struct connection {
	struct apus_tcp *c;
	const struct load_protocol *protocol;
	uint32_t index;
	uint32_t first, out;                  /* in the ring: the oldest request, and how many */
	uint32_t asked;                       /* requests on this connection */
	uint64_t next;                        /* number of the next request in the schedule */
	int64_t sent_ns;                      /* the last one */
	struct iovec pieces[LOAD_PIECES_MAX]; /* of the request that is being written */
	int left;                             /* of them */
	struct load_stream stream;
	int64_t since_ns[]; /* ring: when each request that is out was to be sent */
};

static inline int64_t next_ns(uint64_t k, uint32_t i, int64_t now_ns)
{
	if (!load_options.rate)
		return now_ns;
	return load_due_ns(load_run.start_ns, load_options.rate, k, i, load_run.active);
}

int64_t load_next_ns(uint64_t k, uint32_t i)
{
	return next_ns(k, i, apus_now());
}

/* --- Opening ------------------------------------------------------------------------------- */

int load_open(struct apus_tcp **out)
{
	struct apus_timeout limit;
	int rc;

	if (!load_run.is_ready)
		apus_semaphore_init(&load_run.opening, OPENING_MAX, OPENING_MAX);
	load_run.is_ready = true;
	rc = apus_semaphore_acquire(&load_run.opening, 1);
	if (rc)
		return rc;
	apus_timeout_begin(&limit, load_options.timeout_ns);
	rc = (int)apus_timeout_end(&limit, apus_tcp_connect(load_options.to, out));
	apus_semaphore_release(&load_run.opening, 1);
	if (!rc) {
		load_stats.connects++;
		load_stats.open++;
	}
	return rc;
}

static void close_one(struct apus_tcp *c, bool reset)
{
	load_stats.open--;
	if (reset || load_options.reset)
		apus_tcp_abort(c);
	else
		apus_tcp_close(c);
}

int load_failed(int64_t rc, bool opening)
{
	load_stats.errors[load_error_of(rc, opening)]++;
	return apus_sleep(retry_ns);
}

/* --- Asking -------------------------------------------------------------------------------- */

/* May it send one more now? */
static bool has_room(const struct connection *k)
{
	return k->out < load_options.depth &&
	       !(load_options.reconnect && k->asked == load_options.depth);
}

/* Of what is to be written @bytes are. */
static void written(struct connection *k, size_t bytes)
{
	struct iovec *piece = k->pieces;

	while (k->left && bytes >= piece->iov_len) {
		bytes -= piece->iov_len;
		piece++;
		k->left--;
	}
	for (int i = 0; i < k->left; i++)
		k->pieces[i] = piece[i];
	if (k->left)
		k->pieces[0] = (struct iovec){(char *)k->pieces[0].iov_base + bytes,
					      k->pieces[0].iov_len - bytes};
}

/* The request, or what is left of it after a time limit came in between. */
static inline int64_t write_request(struct connection *k)
{
	size_t queued;
	int64_t rc = apus_tcp_writev(k->c, k->pieces, (size_t)k->left, &queued);

	load_stats.bytes_out += queued;
	if (apus_likely(rc >= 0)) {
		k->left = 0;
		return 0;
	}
	written(k, queued);
	return rc;
}

/* In the ring, of what is less than two times round. */
static uint32_t place(uint32_t at)
{
	return at < load_options.depth ? at : at - load_options.depth;
}

static inline int64_t ask(struct connection *k, int64_t since_ns)
{
	k->left = k->protocol->request(&k->stream, k->pieces);
	k->since_ns[place(k->first + k->out++)] = since_ns;
	k->next++;
	k->asked++;
	load_stats.requests++;
	return write_request(k);
}

/* All that may be sent now. */
static APUS_INLINE int64_t ask_all(struct connection *k, int64_t now_ns)
{
	int64_t rc = 0;

	if (apus_unlikely(k->left)) {
		rc = write_request(k);
		now_ns = apus_now();
	}
	while (!rc && has_room(k)) {
		int64_t since_ns = next_ns(k->next, k->index, now_ns);

		if (since_ns > now_ns)
			break;
		k->sent_ns = now_ns;
		rc = ask(k, since_ns);
		if (load_options.depth > 1)
			now_ns = apus_now(); /* it may have waited */
	}
	return rc;
}

/* --- Answers ------------------------------------------------------------------------------- */

static inline void answered(struct connection *k, int64_t now_ns)
{
	int64_t since_ns = k->since_ns[k->first];

	k->first = place(k->first + 1);
	k->out--;
	if (apus_unlikely(k->stream.is_bad))
		load_stats.errors[LOAD_BAD]++;
	else if (since_ns >= load_run.since_ns)
		apus_histogram_record(&load_stats.latency, now_ns - since_ns);
	k->stream.is_bad = false;
}

/* All answers that are in @view. Return: 0, -EBADMSG */
static inline int64_t take(struct connection *k, const char *bytes, size_t len, int64_t now_ns)
{
	while (len) {
		bool whole = false;
		int64_t n;

		if (apus_unlikely(!k->out))
			return -EBADMSG; /* said without being asked */
		n = k->protocol->answer(&k->stream, bytes, len, &whole);
		if (apus_unlikely(n < 0))
			return n;
		if (whole)
			answered(k, now_ns);
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* When the answers that are out are late. */
static int64_t late_ns(const struct connection *k)
{
	return k->out ? k->sent_ns + load_options.timeout_ns : APUS_NEVER;
}

/* When to stop waiting: the answers are late, or the next request is due. */
static int64_t wait_until_ns(const struct connection *k)
{
	int64_t due_ns = has_room(k) ? load_next_ns(k->next, k->index) : APUS_NEVER;

	return apus_min(late_ns(k), due_ns);
}

/* As take(), of more than one view. */
static APUS_NOINLINE int64_t take_views(struct connection *k, const struct iovec *views, int64_t n,
					size_t *bytes, int64_t now_ns)
{
	int64_t rc = 0;

	for (int64_t i = 0; !rc && i < n; i++) {
		rc = take(k, views[i].iov_base, views[i].iov_len, now_ns);
		*bytes += views[i].iov_len;
	}
	return rc;
}

/* @now_ns: written, the turn in which it came. Return: 0, -errno */
static APUS_INLINE int64_t receive(struct connection *k, int64_t *now_ns)
{
	struct iovec views[VIEWS];
	int64_t n = apus_tcp_peek(k->c, views, VIEWS), rc;
	size_t bytes = 0;

	*now_ns = apus_now();
	if (apus_unlikely(n <= 0))
		return n ? n : -ENODATA;
	if (apus_likely(n == 1)) {
		bytes = views[0].iov_len;
		rc = take(k, views[0].iov_base, bytes, *now_ns);
	} else {
		rc = take_views(k, views, n, &bytes, *now_ns);
	}
	apus_tcp_consume(k->c, bytes);
	load_stats.bytes_in += bytes;
	return rc;
}

static bool is_over(const struct connection *k)
{
	return load_options.reconnect && !k->out && k->asked == load_options.depth;
}

/*
 * Answers, and the requests that there is room for then, for as long as one time limit will do: that of
 * the requests that are out now. Those of later ones come later, so in a closed loop it costs a request
 * nothing.
 */
static int64_t exchange_within_limit(struct connection *k)
{
	int64_t until_ns = wait_until_ns(k), now_ns, rc;
	struct apus_timeout limit;

	apus_timeout_begin(&limit, until_ns == APUS_NEVER ? APUS_NEVER : until_ns - apus_now());
	do {
		rc = receive(k, &now_ns);
		if (!rc)
			rc = ask_all(k, now_ns);
	} while (!rc && !is_over(k) && wait_until_ns(k) >= until_ns);
	rc = apus_timeout_end(&limit, rc);
	if (rc == -ETIMEDOUT && apus_timeout_expired(&limit) && apus_now() < late_ns(k))
		return 0;
	return rc;
}

/* Until an error, or all that this connection was for. */
static int64_t exchange(struct connection *k)
{
	int64_t rc = 0;

	while (!rc && !is_over(k)) {
		rc = ask_all(k, apus_now());
		if (!rc)
			rc = exchange_within_limit(k);
	}
	return rc;
}

/* --- A connection's life ------------------------------------------------------------------- */

/*
 * With a connection per request the wait for the connection belongs to the request. A connection
 * that fails before is no latency, but an error.
 */
static int64_t live_once(struct connection *k)
{
	int64_t since_ns = load_next_ns(k->next, k->index), rc = 0;

	if (load_options.reconnect && since_ns > apus_now())
		rc = apus_sleep_until(since_ns);
	if (!rc)
		rc = load_open(&k->c);
	if (rc)
		return rc == -ECANCELED ? rc : load_failed(rc, true);
	k->first = k->out = k->asked = 0;
	k->left = 0;
	rc = k->protocol->begin(&k->stream);
	k->sent_ns = apus_now();
	if (!rc && load_options.reconnect)
		rc = ask(k, since_ns);
	if (!rc)
		rc = exchange(k);
	k->protocol->end(&k->stream);
	close_one(k->c, rc && rc != -ECANCELED);
	return rc && rc != -ECANCELED ? load_failed(rc, false) : rc;
}

int64_t load_run_stream(void *arg)
{
	struct connection *k = calloc(1, sizeof(*k) + load_options.depth * sizeof(k->since_ns[0]));
	int64_t rc = 0;

	if (!k)
		return -ENOMEM;
	k->index = (uint32_t)(uintptr_t)arg;
	k->protocol = load_options.workload->protocol;
	k->stream.random = apus_shard_random(apus_shard_self());
	while (!rc)
		rc = live_once(k);
	free(k);
	return rc;
}

/* Connect and close, nothing said. */
int64_t load_run_connect(void *arg)
{
	struct connection k = {.index = (uint32_t)(uintptr_t)arg};
	int64_t rc = 0;

	while (!rc) {
		struct apus_tcp *c;
		int64_t since_ns = load_next_ns(k.next, k.index);

		if (since_ns > apus_now())
			rc = apus_sleep_until(since_ns);
		if (!rc) {
			load_stats.requests++;
			rc = load_open(&c);
			k.next++;
		}
		if (rc) {
			rc = rc == -ECANCELED ? rc : load_failed(rc, true);
			continue;
		}
		if (since_ns >= load_run.since_ns)
			apus_histogram_record(&load_stats.latency, apus_now() - since_ns);
		close_one(c, false);
		rc = apus_checkpoint();
	}
	return rc;
}
