/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/servers.h: a server on every shard, started and stopped as one.
 *
 *	rc = apus_servers_open(&(struct apus_servers_options){
 *		.server = {.local.port = 7, .handler = echo}}, &all);
 *	rc = apus_servers_wait(all);			// until this task is cancelled
 *	rc = apus_servers_stop(all, 5 * APUS_SEC);
 *
 * Each shard listens with its own stack and serves the connections that it owns. Between them nothing
 * is shared but the options; limits are each shard's. What a shard needs for its handlers is an
 * instance of its own: options.start makes it, before any shard listens, and options.stop ends it, when
 * the last handler of all shards has ended. So a handler may call the instances of other shards, from
 * its first byte to its last.
 */
#ifndef APUS_NET_SOCKET_SERVERS_H
#define APUS_NET_SOCKET_SERVERS_H

#include "net/socket/server.h"

APUS_BEGIN_DECLS

struct apus_servers;

struct apus_servers_options {
	struct apus_server_options
		server;   /* of each; never paused. Its arg is that of the hooks, too */
	size_t arg_bytes; /* > 0: of server.arg, which is copied and so is the caller's again */
	/*
	 * A task on each shard, 0 first: gives the arg of that shard's handlers. Return: >= 0, -errno: then
	 * nothing is to be stopped there. NULL: server.arg is the handlers', on all shards
	 */
	int64_t (*start)(void *arg, void **instance);
	/* A task on each shard, the last first, with what its start gave; may take @drain_ns. NULL: nothing */
	int64_t (*stop)(void *instance, int64_t drain_ns, void *arg);
};

/**
 * apus_servers_open - start, and listen on every shard of the fabric
 * @options: borrowed until return
 *
 * When it returns all of them listen, at one port: 0 is one that is free on all. When one shard
 * cannot, or the caller is cancelled, everything is undone: who was connected already is reset.
 *
 * Context: task, suspends. Return: 0; -EINVAL; as apus_server_open(); what a start returned; -ESHUTDOWN: a shard has left; -ECANCELED.
 */
APUS_MUST_CHECK int apus_servers_open(const struct apus_servers_options *options,
				      struct apus_servers **out);

/**
 * apus_servers_stop - stop in phases, each on all shards; consumes @all, always
 * @drain_ns: how long all of it may take: handlers to finish, then instances to stop
 *
 * No shard accepts any more. Then, on all at once, as apus_server_stop(): handlers that wait in
 * between two requests are cancelled, the others run on, and at the deadline what is left is reset, cancelled
 * and waited for. Then the instances stop. A cancel of the caller is the deadline.
 *
 * Context: task on the shard that opened it, suspends. Not from a handler of it.
 * Return:  0; -ETIMEDOUT when some connections had to be reset; the first error of a stop; -ECANCELED; -ESHUTDOWN: a
 *          shard had left before.
 */
int apus_servers_stop(struct apus_servers *all, int64_t drain_ns);

/**
 * apus_servers_wait - until this shard's accepts no more; a cancel of the waiting task makes that so on all
 *
 * Context: task on the shard that opened it, suspends. Return: 0, -ECANCELED.
 */
APUS_MUST_CHECK int apus_servers_wait(struct apus_servers *all);

/** apus_servers_close - accept no more, on any shard, when it returns; who is connected stays. Context: task on the shard that opened it, suspends. Return: 0; -ECANCELED: it is done all the same. A cancel may also be for the next wait */
int apus_servers_close(struct apus_servers *all);

/** apus_servers_here - this shard's; NULL if it has none any more. Context: any, on any shard */
struct apus_server *apus_servers_here(const struct apus_servers *all);
/** apus_servers_local - where all of them listen, or did: the port that was chosen. Context: any, on any shard */
struct apus_endpoint apus_servers_local(const struct apus_servers *all);
/** apus_servers_counter - the sum over all shards. Context: task on any shard, suspends. Return: the sum; as apus_map_reduce(), -ECANCELED too */
APUS_MUST_CHECK int64_t apus_servers_counter(struct apus_servers *all,
					     enum apus_server_counter which);
/** apus_servers_connections - handlers on all shards that have not ended. Context: task on any shard, suspends. Return: the sum; as apus_map_reduce(), -ECANCELED too */
APUS_MUST_CHECK int64_t apus_servers_connections(struct apus_servers *all);

APUS_END_DECLS

#endif
