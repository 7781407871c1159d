/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/server.h: a listener, and a task for each connection (asyncio.Server).
 *
 *	static int64_t echo(struct apus_tcp *c, void *arg)
 *	{
 *		char buf[4096];
 *		int64_t n;
 *
 *		while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
 *			if ((n = apus_tcp_write(c, buf, (size_t)n)) < 0)
 *				break;
 *		return n;
 *	}
 *
 *	rc = apus_server_open(&(struct apus_server_options){.local.port = 7, .handler = echo}, &s);
 *	rc = apus_server_wait(s);			// until this task is cancelled
 *	rc = apus_server_stop(s, 5 * APUS_SEC);
 *
 * It ends in phases: no more is accepted; handlers that wait for a next request are cancelled, the
 * others finish theirs; at the deadline what is left is reset and cancelled. close(), wait_closed(),
 * close_clients() and abort_clients() are asyncio's, for who wants another order.
 *
 * A handler whose connection is idle may park it: its task ends, and the connection waits by itself,
 * without a stack, until there is something to read.
 *
 * On one shard; servers.h puts one on each.
 */
#ifndef APUS_NET_SOCKET_SERVER_H
#define APUS_NET_SOCKET_SERVER_H

#include "net/socket/tcp.h"
#include "runtime/base/list.h"

#include <errno.h>

APUS_BEGIN_DECLS

struct apus_server;
struct apus_task;

/**
 * apus_server_fn - the handler of one connection, in a task of its own that begins at once
 * @c: the handler's to use, and to close or to give to a stream if it wants to; one that it leaves
 *     open is closed when it returns, in order
 *
 * Return: anything >= 0; -errno. An error is told to apus_on_unhandled() with the client's address,
 * but for -ECANCELED, and for the one that the connection ended in: how a client leaves is not
 * our error, and is only counted.
 */
typedef int64_t (*apus_server_fn)(struct apus_tcp *c, void *arg);

enum apus_server_full {
	APUS_SERVER_WAIT,  /* who is one too many waits in the listener's backlog */
	APUS_SERVER_RESET, /* ... is accepted and reset */
};

struct apus_server_options {
	struct apus_endpoint local; /* any address: all of the stack's; port 0: one is chosen */
	apus_server_fn handler;
	void *arg;                  /* handed to it; kept until the server has stopped */
	const char *name;           /* of the handlers' tasks; NULL: "connection"; kept */
	size_t stack_bytes;         /* of a handler; 0: the shard's default */
	uint32_t connections_max;   /* open at a time; 0: 10000 */
	enum apus_server_full full; /* what becomes of one more */
	uint32_t backlog;           /* as for apus_tcp_listen() */
	bool is_paused;             /* do not listen before apus_server_start() */
	/*
	 * A connection that was parked with @state has ended without its handler; from the loop, must
	 * not wait. @why: -ETIMEDOUT, -ECANCELED (the server stops or closes its clients), -ECONNABORTED
	 * (it aborts them), -ENOMEM (there was something to read, but no memory for a task). NULL: nobody
	 * is told.
	 */
	void (*lost)(uintptr_t state, int why, void *arg);
};

/**
 * apus_server_open - listen, and serve who comes
 * @options: borrowed until return
 *
 * Context: any, on a shard. Return: 0; -EINVAL without a handler; as apus_tcp_listen(). Source: asyncio.start_server
 */
APUS_MUST_CHECK int apus_server_open(const struct apus_server_options *options,
				     struct apus_server **out);
/** apus_server_start - begin to listen, if it was opened paused; nothing if it listens. Context: any, on the shard. Return: 0; -EPIPE once closed; as apus_tcp_listen(). Source: Server.start_serving */
APUS_MUST_CHECK int apus_server_start(struct apus_server *s);

/**
 * apus_server_stop - stop in phases; consumes @s, always
 * @drain_ns: how long handlers may take to finish
 *
 * No more is accepted. Handlers that wait in between two requests (apus_server_idle()) are cancelled,
 * the others run on. After @drain_ns, or when the calling task is cancelled, what is left is reset and
 * cancelled, and waited for; the log says for whom if that takes long.
 *
 * Context: task, suspends. Not from a handler of the same server. Return: 0; -ETIMEDOUT when some had to be reset; -ECANCELED.
 */
int apus_server_stop(struct apus_server *s, int64_t drain_ns);

/** apus_server_wait - until it accepts no more; a cancel of the waiting task makes that so. Context: task, suspends. Return: 0, -ECANCELED */
APUS_MUST_CHECK int apus_server_wait(struct apus_server *s);
/** apus_server_serve - start, and wait until it is closed and everybody has left; a cancel closes it, and waits. Context: task, suspends. Return: 0; -ECANCELED; as apus_server_start(). Source: Server.serve_forever */
APUS_MUST_CHECK int apus_server_serve(struct apus_server *s);

/** apus_server_close - accept no more, from now on; who is connected stays. Again: nothing. Context: any, on the shard. Source: Server.close */
void apus_server_close(struct apus_server *s);
/** apus_server_wait_closed - until it was closed, by whomever, and the last handler has ended. Context: task, suspends. Return: 0, -ECANCELED. Source: Server.wait_closed */
APUS_MUST_CHECK int apus_server_wait_closed(struct apus_server *s);
/** apus_server_close_clients - cancel every handler; when it returns its connection is closed in order: what is queued is still delivered. Context: any, on the shard. Source: Server.close_clients */
void apus_server_close_clients(struct apus_server *s);
/** apus_server_abort_clients - reset every connection now, and cancel its handler. Context: any, on the shard. Source: Server.abort_clients */
void apus_server_abort_clients(struct apus_server *s);

/** apus_server_is_serving - does it listen? Context: any. Source: Server.is_serving */
bool apus_server_is_serving(const struct apus_server *s);
/** apus_server_local - where it listens, or did: the port that was chosen. Context: any. Source: Server.sockets */
struct apus_endpoint apus_server_local(const struct apus_server *s);
/** apus_server_connections - handlers that have not ended, and connections that are parked. Context: any */
uint32_t apus_server_connections(const struct apus_server *s);

enum apus_server_counter {
	APUS_SERVER_ACCEPTED,
	APUS_SERVER_DROPPED,        /* one too many, or no memory for its task: reset */
	APUS_SERVER_FULL,           /* times that accepting had to wait for somebody to leave */
	APUS_SERVER_HANDLER_ERRORS, /* told to apus_on_unhandled() */
	APUS_SERVER_CLIENT_ERRORS,  /* handlers that ended in what their connection ended in */
	APUS_SERVER_ABORTED,        /* reset by apus_server_abort_clients(), or at a deadline */
	APUS_SERVER_ACCEPT_ERRORS,  /* of the listener; it is tried again */
	APUS_SERVER_PARKED,  /* connections that wait without a task: so many are there now */
	APUS_SERVER_RESUMED, /* ... that were given one again */
	APUS_SERVER_COUNTERS,
};
/** apus_server_counter - also among the shard's metrics, as server/accepted and so on. Context: any */
uint64_t apus_server_counter(const struct apus_server *s, enum apus_server_counter which);

/* ---- for handlers ---- */

/* One connection, on its task's stack. Read it by the calls below. */
struct apus_server_connection {
	struct apus_list link; /* in the server's */
	struct apus_server *server;
	struct apus_tcp *tcp;
	struct apus_task *task;
	struct apus_server_parked *parked; /* NULL: when the handler returns, it has ended */
	uintptr_t state;                   /* that it was parked with */
	bool is_back;                      /* it was parked */
	bool is_idle;                      /* nothing is half done: a stop cancels it */
	bool is_asked;                     /* the server stops */
};

/** apus_server_connection_self - of the handler that runs; NULL in any other task. Valid until it returns. Context: any */
struct apus_server_connection *apus_server_connection_self(void);
/**
 * apus_server_idle - from here to apus_server_busy() nothing is half done: a stop may cancel the wait
 * @c: of the running handler
 *
 * Context: its task. Return: 0; -ECANCELED: the server stops, there is nothing to wait for.
 */
APUS_MUST_CHECK static inline int apus_server_idle(struct apus_server_connection *c)
{
	c->is_idle = !c->is_asked;
	return c->is_asked ? -ECANCELED : 0;
}
/** apus_server_busy - a request has begun to come: a stop waits for its end. Context: the handler's task */
static inline void apus_server_busy(struct apus_server_connection *c)
{
	c->is_idle = false;
}
/**
 * apus_server_park - the handler's task will end, and the connection waits without one
 * @c:           of the running handler, which returns next, and has not closed the connection
 * @deadline_ns: it is closed then, in order; APUS_NEVER
 * @state:       what the handler is to know when it is called again; owns nothing
 *
 * Once there is something to read, or its end, the handler is called anew, in a new task with the
 * context variables of this one. Until then it counts as a connection, and a stop closes it at once.
 * Without memory for the task it is reset (APUS_SERVER_DROPPED).
 *
 * Context: its task. Return: 0; -ENOMEM, -EPIPE (the server was closed), -ECANCELED (it stops): the
 * handler is to go on as it is.
 */
APUS_MUST_CHECK int apus_server_park(struct apus_server_connection *c, int64_t deadline_ns,
				     uintptr_t state);
/** apus_server_is_back - was it parked? Then @state is what it was parked with. Context: the handler's task */
static inline bool apus_server_is_back(const struct apus_server_connection *c, uintptr_t *state)
{
	*state = c->state;
	return c->is_back;
}
/** apus_server_is_stopping - was the server asked to stop? Context: any, on the shard */
static inline bool apus_server_is_stopping(const struct apus_server_connection *c)
{
	return c->is_asked;
}

APUS_END_DECLS

#endif
