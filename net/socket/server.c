/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/server.c: a listener, and a task for each connection; see server.h.
 *
 * One task accepts. Each handler begins inside of it (APUS_SPAWN_EAGER), so a request that came
 * with the handshake is answered without another lap, and no task can be cancelled before it began:
 * what a handler must undo, it undoes itself. Its record lies on its own stack; a connection
 * allocates nothing but the task.
 *
 * A connection that is parked has a record on the heap instead, of three lines, whose callback stands
 * in the connection's queue of readers like a task. Who cancels all tasks must find somebody who
 * answers for those that have none: the acceptor stays for them when the listener is closed, and from
 * then on nobody parks.
 *
 * Whoever waits for something of the server holds it; the last one frees it.
 *
 * Invariants: gate.inside is the length of `connections` and of `parked`, at most connections_max; none
 * is added once is_closed, but for parked ones that come back.
 */
#include "net/socket/server.h"

#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/wait.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS_DEFAULT 10000
#define ACCEPT_RETRY_NS     (10 * APUS_MS)
#define TRIM_EVERY_NS       APUS_MS        /* a few stacks */
#define OVERDUE_NS          (5 * APUS_SEC) /* after an abort: then the log says who is left */
#define OVERDUE_NAMES       8              /* ... so many of them */

struct apus_server {
	struct apus_server_options options;
	struct apus_heap *heap;
	struct apus_tcp_listener *listener; /* NULL before start and once closed */
	struct apus_endpoint local;
	struct apus_task *acceptor;   /* handle; NULL before start */
	struct apus_list connections; /* struct apus_server_connection.link, oldest first */
	struct apus_list parked;      /* struct apus_server_parked.link, oldest first */
	struct apus_timer trim;       /* armed while stacks of parked ones may be to give back */
	struct apus_gate gate;        /* inside: handlers and parked connections */
	struct apus_waitq room;       /* the acceptor, at connections_max, or for parked ones */
	struct apus_waitq closing;    /* tasks that wait for is_closed */
	uint32_t holds;
	bool is_closed;
	bool is_aborting; /* handlers that are left are not to finish */
	uint64_t counts[APUS_SERVER_COUNTERS];
	struct apus_metrics_block metrics;
};

/* A connection without a task. */
struct apus_server_parked {
	struct apus_list link; /* in the server's, from when the handler has returned */
	struct apus_server *server;
	uintptr_t state;
	struct apus_callback
		ready;           /* among the connection's readers; wait.object is the connection */
	struct apus_timer limit; /* deadline_ns is set before it is armed */
};

static_assert(sizeof(struct apus_server_parked) <= 3 * APUS_CACHE_LINE, "a million of them");

static const char *const counter_names[APUS_SERVER_COUNTERS] = {
	[APUS_SERVER_ACCEPTED] = "accepted",
	[APUS_SERVER_DROPPED] = "dropped",
	[APUS_SERVER_FULL] = "full",
	[APUS_SERVER_HANDLER_ERRORS] = "handler_errors",
	[APUS_SERVER_CLIENT_ERRORS] = "client_errors",
	[APUS_SERVER_ABORTED] = "aborted",
	[APUS_SERVER_ACCEPT_ERRORS] = "accept_errors",
	[APUS_SERVER_PARKED] = "parked",
	[APUS_SERVER_RESUMED] = "resumed",
};

static void unhold(struct apus_server *s)
{
	if (--s->holds)
		return;
	apus_timer_cancel(&s->trim);
	apus_metrics_unregister(&s->metrics);
	apus_heap_free(s->heap, s);
}

/* -------------------------------------------------------------------------------- a connection */

/* A handler failed: the connection's own end is the client's doing, anything else is ours. */
static APUS_COLD void blame(const struct apus_server_connection *c, int64_t error)
{
	static const char words[] = "the handler of a connection failed, from ";
	char text[sizeof(words) + APUS_ENDPOINT_TEXT_BYTES];
	char address[APUS_ENDPOINT_TEXT_BYTES];
	struct apus_server *s = c->server;

	if (error == apus_tcp_error(c->tcp)) {
		s->counts[APUS_SERVER_CLIENT_ERRORS]++;
		return;
	}
	s->counts[APUS_SERVER_HANDLER_ERRORS]++;
	stpcpy(stpcpy(text, words), apus_endpoint_format(apus_tcp_remote(c->tcp), address));
	apus_unhandled_error(text, error);
}

/* A connection has ended. */
static void leave(struct apus_server *s)
{
	(void)apus_gate_leave(&s->gate);
	apus_waitq_wake_one(&s->room, 0);
}

static APUS_NOINLINE bool park(struct apus_server_connection *c);

static int64_t run_connection(void *arg)
{
	struct apus_server_connection *c = arg;
	struct apus_server *s = c->server;

	c->task = apus_task_self();
	apus_tcp_get(c->tcp);
	apus_list_push_back(&s->connections, &c->link);

	int64_t rc = s->options.handler(c->tcp, s->options.arg);

	c->is_idle = false;
	if (apus_unlikely(c->parked != NULL) && park(c))
		return 0;
	if (apus_unlikely(rc < 0 && rc != -ECANCELED))
		blame(c, rc);
	if (!apus_tcp_is_closed(c->tcp)) {
		if (s->is_aborting)
			apus_tcp_abort(c->tcp);
		else
			apus_tcp_close(c->tcp);
	}
	apus_tcp_put(c->tcp);

	apus_list_unlink(&c->link);
	leave(s);
	return 0;
}

/* @record is copied. Return: 0, -ENOMEM */
static int begin(const struct apus_server_connection *record)
{
	const struct apus_server_options *o = &record->server->options;
	const struct apus_spawn_options options = {
		.name = o->name,
		.flags = APUS_SPAWN_EAGER,
		.stack_bytes = o->stack_bytes,
	};

	return apus_spawn_detached(&options, run_connection, record, sizeof(*record));
}

struct apus_server_connection *apus_server_connection_self(void)
{
	struct apus_task *self = apus_task_self();

	return apus_task_runs(self, run_connection) ? apus_task_arg(self) : NULL;
}

/* --------------------------------------------------------------------- connections without a task */

static struct apus_tcp *tcp_of(const struct apus_server_parked *p)
{
	return (struct apus_tcp *)(uintptr_t)p->ready.wait.object;
}

/* Out of all that would find it; its memory goes. */
static void forget(struct apus_server_parked *p)
{
	apus_timer_cancel(&p->limit);
	(void)apus_callback_remove(&p->ready);
	apus_list_remove(&p->link);
	p->server->counts[APUS_SERVER_PARKED]--;
	apus_heap_free(p->server->heap, p);
}

static void lose(struct apus_server_parked *p, int why)
{
	struct apus_server *s = p->server;
	struct apus_tcp *tcp = tcp_of(p);
	uintptr_t state = p->state;

	forget(p);
	if (why == -ETIMEDOUT || why == -ECANCELED)
		apus_tcp_close(tcp);
	else
		apus_tcp_abort(tcp);
	if (s->options.lost)
		s->options.lost(state, why, s->options.arg);
	leave(s);
}

static size_t lose_all(struct apus_server *s, int why)
{
	size_t n = 0;

	for (; !apus_list_empty(&s->parked); n++)
		lose(apus_list_entry(s->parked.next, struct apus_server_parked, link), why);
	return n;
}

/* There is something to read. */
static void resume(struct apus_work *work)
{
	struct apus_server_parked *p =
		apus_container_of(apus_callback_of(work), struct apus_server_parked, ready);
	struct apus_server *s = p->server;
	const struct apus_server_connection record = {
		.server = s,
		.tcp = tcp_of(p),
		.state = p->state,
		.is_back = true,
	};

	/* The new task may park it again before this returns: by then the old record is gone. */
	s->counts[APUS_SERVER_RESUMED]++;
	forget(p);
	if (apus_likely(!begin(&record)))
		return;
	s->counts[APUS_SERVER_DROPPED]++;
	apus_tcp_abort(record.tcp);
	if (s->options.lost)
		s->options.lost(record.state, -ENOMEM, s->options.arg);
	leave(s);
}

static void expire(struct apus_work *work)
{
	struct apus_server_parked *p =
		apus_container_of(apus_timer_of(work), struct apus_server_parked, limit);

	if (!apus_callback_is_queued(&p->ready)) /* else it came back in the last moment */
		lose(p, -ETIMEDOUT);
}

/* The stacks of tasks that ended are not needed soon, as most connections stay idle. */
static void give_back(struct apus_work *work)
{
	struct apus_server *s = apus_container_of(apus_timer_of(work), struct apus_server, trim);
	int64_t at_ns = apus_shard_trim(apus_shard_self());

	if (at_ns != APUS_NEVER)
		apus_timer_arm(&s->trim, apus_max(at_ns, apus_now() + TRIM_EVERY_NS));
}

int apus_server_park(struct apus_server_connection *c, int64_t deadline_ns, uintptr_t state)
{
	struct apus_server *s = c->server;
	struct apus_server_parked *p;

	if (c->is_asked || s->is_closed)
		return c->is_asked ? -ECANCELED : -EPIPE;
	p = apus_heap_alloc(s->heap, sizeof(*p));
	if (!p)
		return -ENOMEM;
	apus_list_init(&p->link);
	p->server = s;
	p->state = state;
	apus_callback_init(&p->ready, resume);
	p->ready.wait.object = c->tcp;
	apus_timer_init(&p->limit, expire);
	p->limit.deadline_ns = deadline_ns;
	c->parked = p;
	return 0;
}

/* The handler has returned. Return: false if meanwhile the connection is to end. */
static APUS_NOINLINE bool park(struct apus_server_connection *c)
{
	struct apus_server *s = c->server;
	struct apus_server_parked *p = c->parked;

	if (c->is_asked || s->is_closed || s->is_aborting || apus_tcp_is_closed(c->tcp) ||
	    apus_task_cancelling(c->task)) {
		apus_heap_free(s->heap, p);
		return false;
	}
	apus_tcp_put(c->tcp);
	apus_list_unlink(&c->link);
	apus_list_push_back(&s->parked, &p->link);
	s->counts[APUS_SERVER_PARKED]++;
	if (p->limit.deadline_ns != APUS_NEVER)
		apus_timer_arm(&p->limit, p->limit.deadline_ns);
	if (!apus_timer_armed(&s->trim))
		apus_timer_arm(&s->trim, apus_now() + APUS_SEC);
	apus_tcp_on_readable(c->tcp, &p->ready);
	return true;
}

/* ------------------------------------------------------------------------------------ accepting */

/* Consumes @tcp. */
static void admit(struct apus_server *s, struct apus_tcp *tcp)
{
	const struct apus_server_connection record = {.server = s, .tcp = tcp};

	if (apus_unlikely(s->gate.inside >= s->options.connections_max))
		goto err_drop;
	(void)!apus_gate_enter(&s->gate); /* who accepts knows that it is open */
	if (apus_unlikely(begin(&record) < 0)) {
		(void)apus_gate_leave(&s->gate);
		goto err_drop;
	}
	s->counts[APUS_SERVER_ACCEPTED]++;
	return;

err_drop:
	s->counts[APUS_SERVER_DROPPED]++;
	apus_tcp_abort(tcp);
}

/* Back-pressure: whom we do not accept waits in the backlog, and then in the client's SYN. */
static int64_t wait_room(struct apus_server *s)
{
	int64_t rc = 0;

	if (s->options.full != APUS_SERVER_WAIT || s->gate.inside < s->options.connections_max)
		return 0;
	s->counts[APUS_SERVER_FULL]++;
	while (!rc && !s->is_closed && s->gate.inside >= s->options.connections_max)
		rc = apus_waitq_wait(&s->room, "server full");
	return rc;
}

static int64_t accept_all(void *arg)
{
	struct apus_server *s = arg;
	int64_t rc = 0;

	while (!rc && !s->is_closed) {
		struct apus_tcp *tcp;

		rc = wait_room(s);
		if (rc || s->is_closed)
			break;
		rc = apus_tcp_accept(s->listener, &tcp);
		if (!rc) {
			admit(s, tcp);
		} else if (rc != -EPIPE && rc != -ECANCELED) {
			s->counts[APUS_SERVER_ACCEPT_ERRORS]++;
			rc = apus_sleep(ACCEPT_RETRY_NS);
		}
	}
	apus_server_close(s); /* if it was a cancel of all tasks */
	if (rc == -EPIPE)
		rc = 0;
	while (!rc && !apus_list_empty(&s->parked))
		rc = apus_waitq_wait(&s->room, "parked connections");
	if (rc)
		(void)lose_all(s, -ECANCELED);
	return rc;
}

/* -------------------------------------------------------------------------------- open and close */

int apus_server_start(struct apus_server *s)
{
	const struct apus_spawn_options options = {.name = "server accept"};
	int rc;

	if (s->is_closed)
		return -EPIPE;
	if (s->listener)
		return 0;
	rc = apus_tcp_listen(s->options.local, s->options.backlog, &s->listener);
	if (rc)
		return rc;
	s->acceptor = apus_spawn_with(&options, accept_all, s, 0);
	if (!s->acceptor) {
		apus_tcp_listener_close(s->listener);
		s->listener = NULL;
		return -ENOMEM;
	}
	s->local = apus_tcp_listener_local(s->listener);
	return 0;
}

int apus_server_open(const struct apus_server_options *options, struct apus_server **out)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_heap *heap = apus_shard_heap(shard);
	struct apus_server *s;

	if (!options->handler)
		return -EINVAL;
	s = apus_heap_zalloc(heap, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->options = *options;
	if (!s->options.connections_max)
		s->options.connections_max = CONNECTIONS_DEFAULT;
	if (!s->options.name)
		s->options.name = "connection";
	s->heap = heap;
	s->local = options->local;
	s->holds = 1;
	apus_list_init(&s->connections);
	apus_list_init(&s->parked);
	apus_timer_init(&s->trim, give_back);
	apus_gate_init(&s->gate);
	apus_waitq_init(&s->room);
	apus_waitq_init(&s->closing);
	apus_metrics_register(apus_shard_metrics(shard), &s->metrics, "server", counter_names,
			      s->counts, APUS_SERVER_COUNTERS);

	int rc = options->is_paused ? 0 : apus_server_start(s);

	if (rc) {
		unhold(s);
		return rc;
	}
	*out = s;
	return 0;
}

void apus_server_close(struct apus_server *s)
{
	if (s->is_closed)
		return;
	s->is_closed = true;
	if (s->listener)
		apus_tcp_listener_close(s->listener);
	s->listener = NULL;
	apus_waitq_wake_all(&s->room, 0);
	apus_waitq_wake_all(&s->closing, 0);
}

static int wait_closing(struct apus_server *s)
{
	int64_t rc = apus_checkpoint();

	while (!rc && !s->is_closed)
		rc = apus_waitq_wait(&s->closing, "server to close");
	return (int)rc;
}

int apus_server_wait(struct apus_server *s)
{
	int rc;

	s->holds++;
	rc = wait_closing(s);
	if (rc)
		apus_server_close(s);
	unhold(s);
	return rc;
}

int apus_server_wait_closed(struct apus_server *s)
{
	int rc;

	s->holds++;
	rc = wait_closing(s);
	if (!rc)
		rc = apus_gate_close(&s->gate);
	unhold(s);
	return rc;
}

int apus_server_serve(struct apus_server *s)
{
	int rc = apus_server_start(s);

	if (rc)
		return rc;
	s->holds++;
	rc = apus_server_wait(s);

	int closed = apus_server_wait_closed(s);

	unhold(s);
	return rc ? rc : closed;
}

/* ------------------------------------------------------------------------------ clients, and stop */

void apus_server_close_clients(struct apus_server *s)
{
	struct apus_list *it;

	apus_list_for_each(it, &s->connections) {
		struct apus_server_connection *c =
			apus_list_entry(it, struct apus_server_connection, link);

		apus_task_cancel_because(c->task, "the server closes its clients");
	}
	(void)lose_all(s, -ECANCELED);
}

void apus_server_abort_clients(struct apus_server *s)
{
	struct apus_list *it;

	apus_list_for_each(it, &s->connections) {
		struct apus_server_connection *c =
			apus_list_entry(it, struct apus_server_connection, link);

		s->counts[APUS_SERVER_ABORTED]++;
		apus_tcp_reset(c->tcp);
		apus_task_cancel_because(c->task, "the server aborts its clients");
	}
	s->counts[APUS_SERVER_ABORTED] += lose_all(s, -ECONNABORTED);
}

/* Those that wait for a next request hear it by a cancel, or are parked; the others when they look. */
static void ask(struct apus_server *s)
{
	struct apus_list *it;

	apus_list_for_each(it, &s->connections) {
		struct apus_server_connection *c =
			apus_list_entry(it, struct apus_server_connection, link);

		c->is_asked = true;
		if (c->is_idle)
			apus_task_cancel_because(c->task, "the server stops");
		c->is_idle = false; /* once */
	}
	(void)lose_all(s, -ECANCELED);
}

/* Until the last handler has ended, at most @ns. Return: 0, -ETIMEDOUT, -ECANCELED */
static int wait_empty(struct apus_server *s, int64_t ns)
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, ns);

	int64_t rc = apus_timeout_end(&limit, apus_gate_close(&s->gate));

	return rc == -ETIMEDOUT && !s->gate.inside ? 0 : (int)rc;
}

static APUS_COLD void tell_overdue(const struct apus_server *s)
{
	const struct apus_list *it;
	int names = 0;

	apus_log(WARN, "server: %u handlers go on although their connections were reset",
		 apus_server_connections(s));
	apus_list_for_each(it, &s->connections) {
		const struct apus_server_connection *c =
			apus_list_entry(it, struct apus_server_connection, link);
		char address[APUS_ENDPOINT_TEXT_BYTES];

		if (++names > OVERDUE_NAMES)
			return;
		apus_log(WARN, "server: task %llu (%s) of %s",
			 (unsigned long long)apus_task_id(c->task), apus_task_name(c->task),
			 apus_endpoint_format(apus_tcp_remote(c->tcp), address));
	}
}

/* A second cancel of the caller must not leave handlers behind that use the server. */
static int abort_all(struct apus_server *s, int rc)
{
	int64_t overdue_ns = OVERDUE_NS;

	s->is_aborting = true;
	apus_server_abort_clients(s);
	while (s->gate.inside) {
		int waited = wait_empty(s, overdue_ns);

		if (waited == -ECANCELED)
			rc = -ECANCELED;
		if (waited != -ETIMEDOUT)
			continue;
		tell_overdue(s);
		overdue_ns *= 2;
	}
	return rc;
}

int apus_server_stop(struct apus_server *s, int64_t drain_ns)
{
	int rc;

	apus_server_close(s);
	ask(s);
	rc = wait_empty(s, drain_ns);
	if (s->gate.inside)
		rc = abort_all(s, rc);
	if (s->acceptor)
		(void)!apus_await(s->acceptor);
	s->acceptor = NULL;
	unhold(s);
	return rc;
}

bool apus_server_is_serving(const struct apus_server *s)
{
	return s->listener;
}

struct apus_endpoint apus_server_local(const struct apus_server *s)
{
	return s->local;
}

uint32_t apus_server_connections(const struct apus_server *s)
{
	return (uint32_t)s->gate.inside;
}

uint64_t apus_server_counter(const struct apus_server *s, enum apus_server_counter which)
{
	return s->counts[which];
}
