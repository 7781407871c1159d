/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/server.c: an HTTP/1.1 server, on one shard or on all (RFC 9112 §9).
 *
 * Listening, limits and the stop in phases are apus_server's; this is its handler. A connection's
 * life is a loop of receive(), which waits until a whole request is in the stream's buffer, and
 * answer(), which calls the user's handler. Answers gather in the stream and are drained when
 * receive() has to wait, which is when no further whole request is there: pipelined requests are
 * answered by one write.
 *
 * Every wait for the client has a limit, kept by one watchdog per connection. A connection that we
 * end says FIN, reads on for a moment and then closes (RFC 9112 §9.6), because a reset would
 * destroy the answer on its way.
 *
 * Invariants: at most REFUSALS_MAX connections are refusals; `buffered` is the sum of what
 * connections hold of unfinished requests beyond one small buffer each, at most buffered_max.
 */
#include "net/http/server.h"

#include "net/http/parser.h"
#include "net/http/response_internal.h"
#include "net/socket/server.h"
#include "net/socket/stream_internal.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS_DEFAULT 10000
#define REFUSALS_MAX        64 /* connections over the limit that get a 503; more are reset */
#define BUFFERED_DEFAULT    (UINT64_C(64) << 20)
#define PARK_DEFAULT_NS     APUS_SEC
#define LINGER_NS           (2 * APUS_SEC)
#define LINGER_BYTES_MAX    (UINT64_C(4) << 20) /* what a client may still send, unread */

#define COUNTERS(X)                            \
 X(CONNECTIONS, "connections")                 \
 X(REQUESTS, "requests")                       \
 X(RESPONSES_2XX, "responses_2xx")             \
 X(RESPONSES_3XX, "responses_3xx")             \
 X(RESPONSES_4XX, "responses_4xx")             \
 X(RESPONSES_5XX, "responses_5xx")             \
 X(REQUESTS_REJECTED, "requests_rejected")     \
 X(CONNECTIONS_REFUSED, "connections_refused") \
 X(TIMEOUTS_IDLE, "timeouts_idle")             \
 X(TIMEOUTS_REQUEST, "timeouts_request")       \
 X(TIMEOUTS_WRITE, "timeouts_write")           \
 X(HANDLER_ERRORS, "handler_errors")           \
 X(CLIENT_RESETS, "client_resets")             \
 X(ABORTS, "aborts")

enum counter {
#define X(id, name) COUNT_##id,
	COUNTERS(X)
#undef X
	COUNTS,
};

static const char *const counter_names[COUNTS] = {COUNTERS(APUS_COUNTER_NAME)};

/* What becomes of a connection. */
enum end {
	KEEP,   /* another request may come */
	CLOSE,  /* there is nothing more to say or to read */
	LINGER, /* we said the last word, the client may not have noticed */
	ABORT,  /* its bytes can no longer be understood */
	MORE,   /* the request that came is not whole yet */
	PARK,   /* none came for a while: this task ends, the connection waits */
};

/* On its task's stack. */
struct connection {
	struct apus_http_server *server;
	struct apus_server_connection *base;
	struct apus_stream *stream;
	struct apus_http_watchdog watchdog;
	size_t charged; /* part of the server's `buffered` */
	int64_t served; /* requests */
	bool reset;     /* by the client */
	bool continued; /* the request's client was told to go on */
};

struct apus_http_server {
	struct apus_heap *heap;
	struct apus_http_server_options options;
	struct apus_server *base;
	uint32_t refusals; /* connections that are answered with 503: one too many */
	uint64_t buffered;
	bool parks; /* idle connections give their tasks up after options.park_ns */
	struct apus_http_response_common common;
	uint64_t counts[COUNTS];
	struct apus_metrics_block metrics;
	char name_line[64];
};

/* --------------------------------------------------------------------------------- a request */

static void count(struct connection *c, enum counter which)
{
	c->server->counts[which]++;
}

/* Hold `bytes` of an unfinished request. Return: false if all connections hold too much. */
static bool charge(struct connection *c, size_t bytes)
{
	struct apus_http_server *s = c->server;
	size_t over = bytes > APUS_STREAM_BUFFER_BYTES ? bytes - APUS_STREAM_BUFFER_BYTES : 0;

	if (apus_likely(over == c->charged))
		return true;

	uint64_t rest = s->buffered - c->charged;

	if (over > 0 && rest + over > s->options.buffered_max)
		return false;
	s->buffered = rest + over;
	c->charged = over;
	return true;
}

static int drain(struct connection *c)
{
	if (c->stream->out_bytes == 0)
		return 0;
	apus_http_watchdog_begin(&c->watchdog, apus_now() + c->server->common.write_ns);

	int64_t rc = apus_http_watchdog_end(&c->watchdog, apus_stream_drain(c->stream));

	if (rc == -ETIMEDOUT)
		count(c, COUNT_TIMEOUTS_WRITE);
	return (int)rc;
}

/* An answer of our own that ends the connection. */
static enum end answer_plain(struct connection *c, uint16_t status)
{
	struct apus_http_response res;
	char text[64];
	char *p = text;

	*p++ = (char)('0' + status / 100);
	*p++ = (char)('0' + status / 10 % 10);
	*p++ = (char)('0' + status % 10);
	*p++ = ' ';
	p = stpcpy(p, apus_http_reason(status));
	*p++ = '\n';

	apus_http_response_init(&res, c->stream, &c->watchdog, &c->server->common);
	res.closing = &c->base->is_asked;
	if (apus_http_respond(&res, status, "text/plain", text, (size_t)(p - text)) < 0)
		return ABORT;
	count(c, COUNT_RESPONSES_2XX + status / 100 - 2);
	return LINGER;
}

/* The limit of the next wait within a request; those of head and body count from their first wait. */
static int64_t deadline_of(const struct connection *c, const struct apus_http_request *r,
			   int64_t *head_ns, int64_t *body_ns)
{
	const struct apus_http_limits *limits = &c->server->options.limits;
	int64_t now_ns = apus_now();

	if (!r->head_done) {
		if (*head_ns == 0)
			*head_ns = now_ns + limits->head_ns;
		return *head_ns;
	}
	if (*body_ns == 0)
		*body_ns = now_ns + limits->body_ns;
	return *body_ns;
}

/* Why a request did not come whole: the wait for its next bytes gave `rc`. */
static enum end not_received(struct connection *c, int64_t rc)
{
	if (rc == -ETIMEDOUT) {
		count(c, COUNT_TIMEOUTS_REQUEST);
		return answer_plain(c, 408);
	}
	if (rc == 0) /* RFC 9112 §8: a client may close between requests, not within */
		return answer_plain(c, 400);
	c->reset = rc == -ECONNRESET;
	return ABORT;
}

/* What has come of a request: `*have` bytes. Return: KEEP with all of it in `r`; an end; MORE. */
static enum end parse(struct connection *c, struct apus_http_request *r, size_t *have)
{
	size_t at, dead;

	if (apus_stream_own(c->stream) < 0)
		return ABORT;
	switch (apus_http_parser_feed(r, apus_stream_begin(c->stream), *have)) {
	case APUS_HTTP_COMPLETE:
		return KEEP;
	case APUS_HTTP_REJECTED:
		count(c, COUNT_REQUESTS_REJECTED);
		return answer_plain(c, r->status);
	case APUS_HTTP_MORE:
		break;
	}
	dead = apus_http_parser_squeeze(r, &at);
	if (dead)
		apus_stream_cut(c->stream, at, dead);
	*have -= dead;
	return MORE;
}

/* The client waits for a word before it sends the body (RFC 9110 §10.1.1). */
static int say_continue(struct connection *c, const struct apus_http_request *r)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!r->head_done || !r->expects_continue || c->continued || r->body_bytes > 0)
		return 0;
	c->continued = true;
	return apus_stream_write(c->stream, text, sizeof(text) - 1) < 0 ? -1 : 0;
}

/* With nothing half done, for the first bytes of a request. Return: as apus_stream_view() */
static inline int64_t wait_idle(struct connection *c, int64_t deadline_ns)
{
	const char *bytes;

	apus_http_watchdog_begin(&c->watchdog, deadline_ns);

	int64_t rc = apus_stream_wait_here(c->stream);

	if (apus_unlikely(!rc))
		rc = apus_stream_view_any(c->stream, 0, &bytes);
	rc = apus_http_watchdog_end(&c->watchdog, rc);
	apus_server_busy(c->base);
	return rc;
}

/* The wait for the first bytes is over, without any. */
static enum end no_first(struct connection *c, int64_t rc)
{
	if (rc == -ETIMEDOUT)
		count(c, COUNT_TIMEOUTS_IDLE);
	c->reset = rc == -ECONNRESET;
	return rc == -ETIMEDOUT || rc == 0 || rc == -ECANCELED ? CLOSE : ABORT;
}

/* park_ns have gone by. Without memory to wait without a task, it waits with it. */
static APUS_NOINLINE enum end rest(struct connection *c)
{
	const struct apus_http_server_options *o = &c->server->options;
	int64_t began_ns = c->watchdog.barked_ns - o->park_ns;
	int64_t until_ns = began_ns + (c->served ? o->limits.idle_ns : o->limits.head_ns);
	int64_t rc = -ETIMEDOUT;

	if (apus_now() < until_ns) {
		if (c->server->parks &&
		    apus_server_park(c->base, until_ns, (uintptr_t)c->served) == 0)
			return PARK;
		if (apus_server_idle(c->base) < 0)
			return LINGER;
		rc = wait_idle(c, until_ns);
	}
	return rc > 0 ? KEEP : no_first(c, rc);
}

/* Wait for the first bytes of a request. Return: KEEP when there are some. */
static enum end receive_first(struct connection *c)
{
	if (apus_likely(c->stream->in_bytes)) /* they came with those before */
		return KEEP;
	if (apus_server_is_stopping(c->base))
		return LINGER;
	if (drain(c) < 0)
		return ABORT;
	if (apus_server_idle(c->base) < 0)
		return LINGER;

	int64_t rc = wait_idle(c, apus_shard_now(apus_shard_current) + c->server->options.park_ns);

	if (apus_likely(rc > 0))
		return KEEP;
	return rc == -ETIMEDOUT ? rest(c) : no_first(c, rc);
}

/* The first bytes are not all. Return: KEEP with a whole request in `r`. */
static APUS_NOINLINE enum end receive_rest(struct connection *c, struct apus_http_request *r)
{
	int64_t head_ns = 0, body_ns = 0;
	const char *bytes;

	c->continued = false;
	for (;;) {
		size_t have = c->stream->in_bytes;
		enum end end = parse(c, r, &have);

		if (end != MORE)
			return end;
		if (!charge(c, have))
			return answer_plain(c, 503);
		if (say_continue(c, r) < 0 || drain(c) < 0)
			return ABORT;
		apus_http_watchdog_begin(&c->watchdog, deadline_of(c, r, &head_ns, &body_ns));

		int64_t rc = apus_stream_view(c->stream, have, &bytes);

		rc = apus_http_watchdog_end(&c->watchdog, rc);
		if (rc <= 0)
			return not_received(c, rc);
	}
}

/* Wait until a whole request is in the buffer. Return: KEEP with it in `r`. */
static inline enum end receive(struct connection *c, struct apus_http_request *r)
{
	enum end end = receive_first(c);

	if (apus_unlikely(end != KEEP))
		return end;
	/* A plain request is read where it lies. */
	if (apus_likely(
		    apus_http_parser_next(r, apus_stream_begin(c->stream), c->stream->in_bytes)))
		return KEEP;
	return receive_rest(c, r);
}

/* The handler is done, with `rc`. Return: false if the answer cannot be saved. */
static bool settle(struct connection *c, struct apus_http_response *res, int64_t rc)
{
	if (rc >= 0 && res->how.state == APUS_HTTP_RESPONSE_DONE)
		return true;
	if (rc == -ETIMEDOUT && res->how.error == -ETIMEDOUT)
		count(c, COUNT_TIMEOUTS_WRITE);
	else
		count(c, COUNT_HANDLER_ERRORS);
	if (apus_task_cancelling(c->base->task) > 0 || !apus_http_response_discard(res))
		return false;
	return apus_http_respond(res, 500, "text/plain", "500 Internal Server Error\n", 26) == 0;
}

/* Call the handler. Return: KEEP or LINGER with the answer in the stream. */
static enum end answer(struct connection *c, struct apus_http_request *r,
		       struct apus_http_response *res)
{
	struct apus_http_server *s = c->server;

	count(c, COUNT_REQUESTS);
	c->served++;
	apus_http_response_again(res, (struct apus_http_response_how){
					      .head_only = r->method == APUS_HTTP_HEAD,
					      .old = r->minor == 0,
					      .keep_alive = r->keep_alive,
				      });

	int64_t rc = s->options.handler(r, res, s->options.arg);

	if (!settle(c, res, rc))
		return ABORT;
	count(c, COUNT_RESPONSES_2XX + res->status / 100 - 2);
	apus_stream_consume_here(c->stream, r->parsed);
	charge(c, 0);
	return res->how.keep_alive ? KEEP : LINGER;
}

static enum end serve(struct connection *c)
{
	struct apus_http_request r;
	struct apus_http_response res;
	enum end end;

	apus_http_parser_init(&r, &c->server->options.limits);
	apus_http_response_init(&res, c->stream, &c->watchdog, &c->server->common);
	res.closing = &c->base->is_asked;
	do {
		end = receive(c, &r);
		if (end == KEEP)
			end = answer(c, &r, &res);
		if (end == KEEP && apus_checkpoint() < 0)
			end = LINGER;
	} while (end == KEEP);
	return end;
}

/* ------------------------------------------------------------------------------ a connection */

/* RFC 9112 §9.6: FIN, then read what comes for a while, then close. */
static enum end linger(struct connection *c)
{
	int64_t deadline_ns = apus_now() + LINGER_NS;
	uint64_t bytes = 0;
	char *data;
	int64_t n = drain(c);

	if (n < 0 || apus_stream_shutdown(c->stream) < 0)
		return ABORT;
	bytes = apus_stream_buffered(c->stream, &data);
	apus_stream_consume(c->stream, bytes);
	do {
		apus_http_watchdog_begin(&c->watchdog, deadline_ns);
		n = apus_http_watchdog_end(&c->watchdog, apus_stream_peek(c->stream, 0, &data));
		if (n <= 0)
			break;
		apus_stream_consume(c->stream, (size_t)n);
		bytes += (uint64_t)n;
	} while (bytes < LINGER_BYTES_MAX);
	return CLOSE;
}

/* Ends the stream, and but for PARK the connection. */
static void converse(struct connection *c, bool is_refused)
{
	enum end end = is_refused ? answer_plain(c, 503) : serve(c);

	if (end == LINGER)
		end = linger(c);
	if (end == PARK) {
		(void)!apus_stream_release(c->stream);
		return;
	}
	if (end == CLOSE) {
		apus_stream_close(c->stream);
		return;
	}
	count(c, c->reset ? COUNT_CLIENT_RESETS : COUNT_ABORTS);
	apus_stream_abort(c->stream);
}

static int64_t serve_connection(struct apus_tcp *tcp, void *arg)
{
	struct apus_http_server *s = arg;
	const struct apus_http_limits *l = &s->options.limits;
	struct connection c = {.server = s, .base = apus_server_connection_self()};
	uint32_t others = apus_server_connections(c.base->server) - 1 - s->refusals;
	uintptr_t served;
	bool is_back = apus_server_is_back(c.base, &served);
	bool is_refused = others >= s->options.connections_max;

	/* A whole request must fit, and a read must always have room. */
	if (apus_stream_open(tcp, l->head_bytes + l->body_bytes + APUS_STREAM_BUFFER_BYTES,
			     &c.stream) < 0) {
		count(&c, COUNT_ABORTS);
		return 0;
	}
	c.served = (int64_t)served;
	s->refusals += is_refused;
	if (!is_back)
		count(&c, is_refused ? COUNT_CONNECTIONS_REFUSED : COUNT_CONNECTIONS);
	apus_http_watchdog_init(&c.watchdog, c.base->task);
	converse(&c, is_refused);
	apus_http_watchdog_fini(&c.watchdog);
	charge(&c, 0);
	s->refusals -= is_refused;
	return 0;
}

/* A connection that waited without a task has ended. */
static void lost(uintptr_t served, int why, void *arg)
{
	struct apus_http_server *s = arg;

	if (why == -ETIMEDOUT)
		s->counts[COUNT_TIMEOUTS_IDLE]++;
	else if (why != -ECANCELED)
		s->counts[COUNT_ABORTS]++;
}

/* ------------------------------------------------------------------------------ open and close */

static void server_free(struct apus_http_server *s)
{
	apus_metrics_unregister(&s->metrics);
	apus_heap_free(s->heap, s);
}

int64_t apus_http_server_wait(struct apus_http_server *server)
{
	return apus_server_wait(server->base);
}

int apus_http_server_close(struct apus_http_server *server, int64_t grace_ns)
{
	int rc = apus_server_stop(server->base, grace_ns);

	server_free(server);
	return rc;
}

struct apus_endpoint apus_http_server_local(const struct apus_http_server *server)
{
	return apus_server_local(server->base);
}

uint32_t apus_http_server_connections(const struct apus_http_server *server)
{
	return apus_server_connections(server->base);
}

/* The first wait of an idle connection; then either it parks, or waits for what is left of its limit. */
static void configure_parking(struct apus_http_server *s)
{
	const struct apus_http_limits *limits = &s->options.limits;
	int64_t shortest_ns = apus_min(limits->idle_ns, limits->head_ns);

	s->parks = s->options.park_ns >= 0;
	if (s->options.park_ns == 0)
		s->options.park_ns = PARK_DEFAULT_NS;
	if (!s->parks || s->options.park_ns > shortest_ns)
		s->options.park_ns = shortest_ns;
}

/* Options with their defaults, and what is made of them once. */
static int configure(struct apus_http_server *s, const struct apus_http_server_options *options)
{
	s->options = *options;
	if (s->options.connections_max == 0)
		s->options.connections_max = CONNECTIONS_DEFAULT;
	if (s->options.buffered_max == 0)
		s->options.buffered_max = BUFFERED_DEFAULT;
	apus_http_limits_complete(&s->options.limits);
	configure_parking(s);
	s->common.write_ns = s->options.limits.write_ns;
	apus_http_date_init(&s->common.date);
	if (options->name) {
		size_t len = strlen(options->name);

		if (len + sizeof("Server: \r\n") > sizeof(s->name_line) ||
		    strpbrk(options->name, "\r\n"))
			return -EINVAL;
		stpcpy(stpcpy(stpcpy(s->name_line, "Server: "), options->name), "\r\n");
		s->common.server = (struct apus_http_text){
			.at = s->name_line,
			.len = strlen(s->name_line),
		};
	}
	return options->handler ? 0 : -EINVAL;
}

/* Without a listener. */
static int server_make(const struct apus_http_server_options *options,
		       struct apus_http_server **out)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_heap *heap = apus_shard_heap(shard);
	struct apus_http_server *s = apus_heap_zalloc(heap, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->heap = heap;
	apus_metrics_register(apus_shard_metrics(shard), &s->metrics, "http", counter_names,
			      s->counts, COUNTS);

	int rc = configure(s, options);

	if (rc < 0) {
		server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

static struct apus_server_options base_options(const struct apus_http_server_options *options)
{
	uint32_t max = options->connections_max;

	return (struct apus_server_options){
		.local = options->local,
		.handler = serve_connection,
		.lost = lost,
		.name = "http connection",
		.connections_max = (max ? max : CONNECTIONS_DEFAULT) + REFUSALS_MAX,
		.full = APUS_SERVER_RESET,
		.backlog = options->backlog,
	};
}

int apus_http_server_open(const struct apus_http_server_options *options,
			  struct apus_http_server **out)
{
	struct apus_server_options base = base_options(options);
	struct apus_http_server *s;
	int rc = server_make(options, &s);

	if (rc < 0)
		return rc;
	base.arg = s;
	rc = apus_server_open(&base, &s->base);
	if (rc < 0) {
		server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

/* --------------------------------------------------------------------------------- on all shards */

/* Ours, around an instance of the user's, who is the handler's arg. */
static int64_t start_here(void *arg, void **instance)
{
	const struct apus_http_servers_options *o = arg;
	struct apus_http_server_options options = o->server;
	struct apus_http_server *s;
	int64_t rc = o->start ? o->start(o->server.arg, &options.arg) : 0;

	if (rc < 0)
		return rc;
	rc = server_make(&options, &s);
	if (rc < 0) {
		if (o->stop)
			(void)o->stop(options.arg, 0, o->server.arg);
		return rc;
	}
	*instance = s;
	return 0;
}

static int64_t stop_here(void *instance, int64_t drain_ns, void *arg)
{
	const struct apus_http_servers_options *o = arg;
	struct apus_http_server *s = instance;
	void *theirs = s->options.arg;

	server_free(s);
	return o->stop ? o->stop(theirs, drain_ns, o->server.arg) : 0;
}

int apus_http_servers_open(const struct apus_http_servers_options *options,
			   struct apus_servers **out)
{
	struct apus_servers_options o = {
		.server = base_options(&options->server),
		.arg_bytes = sizeof(*options),
		.start = start_here,
		.stop = stop_here,
	};

	o.server.arg = (void *)(uintptr_t)options;
	return apus_servers_open(&o, out);
}
