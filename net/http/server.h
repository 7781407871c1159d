/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/server.h: an HTTP/1.1 server, on one shard or on all (RFC 9112).
 *
 * One task accepts; connections are open in a bounded number, and each has a task while it is in use:
 * one that has been idle for a second waits without. Requests of a connection are answered one after
 * the other, in order; answers that are ready together leave together.
 *
 *	static int64_t hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
 *	{
 *		return apus_http_respond(res, 200, "text/plain", "hello\n", 6);
 *	}
 *
 *	struct apus_http_server *server;
 *	int rc = apus_http_server_open(&(struct apus_http_server_options){
 *		.local.port = 80, .handler = hello}, &server);
 *	...
 *	rc = apus_http_server_wait(server);		// until this task is cancelled
 *	return apus_http_server_close(server, 5 * APUS_SEC);
 */
#ifndef APUS_NET_HTTP_SERVER_H
#define APUS_NET_HTTP_SERVER_H

#include "net/http/response.h"
#include "net/socket/servers.h"

APUS_BEGIN_DECLS

struct apus_http_server;

struct apus_http_server_options {
	struct apus_endpoint local;   /* any address: all of the stack's */
	apus_http_handler_fn handler; /* answers every request: often apus_http_router_handle */
	void *arg;                    /* handed to it; kept until close */
	const char *name;             /* of the Server header; NULL: no such header */
	struct apus_http_limits limits;
	uint32_t connections_max; /* one more is answered with 503; 0: 10000 */
	uint32_t backlog;         /* as for apus_tcp_listen() */
	uint64_t
		buffered_max; /* bytes of unfinished requests, all connections; 0: 64 MiB. Over it: 503 */
	int64_t park_ns; /* idle for so long a connection gives its task up; 0: 1 s; < 0: never */
};

/**
 * apus_http_server_open - listen and serve
 * @options: borrowed until return
 *
 * Context: any, on a shard. Return: 0; -EINVAL; as apus_tcp_listen().
 */
APUS_MUST_CHECK int apus_http_server_open(const struct apus_http_server_options *options,
					  struct apus_http_server **out);

/** apus_http_server_wait - until it no longer accepts. Context: task, suspends. Return: 0, -ECANCELED (it then accepts no more), the listener's error */
APUS_MUST_CHECK int64_t apus_http_server_wait(struct apus_http_server *server);

/**
 * apus_http_server_close - stop in order; consumes @server, always
 * @grace_ns: how long requests that have begun may take
 *
 * No more is accepted; idle connections are closed; those with a request finish it and are closed.
 * What is left after @grace_ns, or when the caller is cancelled, is cancelled and reset.
 *
 * Context: task, suspends. Not from a handler of the same server.
 * Return:  0; -ETIMEDOUT when some had to be reset; -ECANCELED.
 */
int apus_http_server_close(struct apus_http_server *server, int64_t grace_ns);

/** apus_http_server_local - where it listens: the port that was chosen. Context: any */
struct apus_endpoint apus_http_server_local(const struct apus_http_server *server);
/** apus_http_server_connections - open ones. Context: any */
uint32_t apus_http_server_connections(const struct apus_http_server *server);

/* ---- on all shards ---- */

struct apus_http_servers_options {
	struct apus_http_server_options server; /* of each; its arg is that of the hooks, too */
	/* As those of struct apus_servers_options: what start gives is the arg of that shard's handlers */
	int64_t (*start)(void *arg, void **instance);
	int64_t (*stop)(void *instance, int64_t drain_ns, void *arg);
};

/**
 * apus_http_servers_open - listen and serve on every shard; apus_servers_wait() and apus_servers_stop() are the rest
 * @options: borrowed until return
 *
 * Context: task, suspends. Return: as apus_servers_open(), -ECANCELED too; -EINVAL.
 */
APUS_MUST_CHECK int apus_http_servers_open(const struct apus_http_servers_options *options,
					   struct apus_servers **out);

APUS_END_DECLS

#endif
