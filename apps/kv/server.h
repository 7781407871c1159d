/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/server.h: memcached's text protocol over TCP, on all shards.
 *
 * Each shard has a store, with its part of the memory and the keys that are its own by their hash;
 * each listens, and its sessions call the others for keys that are theirs.
 *
 * Each connection has a task while it is open, in a bounded number. Commands of a connection are
 * carried out in order; answers that are ready together leave together. A client
 * that does not read its answers is not read from either.
 *
 *	struct kv_server *server;
 *	int rc = kv_server_open(&(struct kv_server_options){.local.port = 11211}, &server);
 *	...
 *	rc = kv_server_wait(server);			// until this task is cancelled
 *	return kv_server_close(server, 5 * APUS_SEC);
 */
#ifndef APUS_APPS_KV_SERVER_H
#define APUS_APPS_KV_SERVER_H

#include "apps/kv/store.h"
#include "net/ip/addr.h"

struct kv_server;

struct kv_server_options {
	struct apus_endpoint local; /* any address: all of the stack's */
	size_t memory_bytes;      /* for items, with all that they cost, on all shards; 0: 64 MiB */
	uint32_t connections_max; /* of each shard; one more is told so and closed; 0: 10000 */
	uint32_t backlog;         /* as for apus_tcp_listen() */
};

/** kv_server_open - listen and serve, on all shards. Borrows @options until return. Context: task, suspends. Return: 0; as apus_servers_open() */
APUS_MUST_CHECK int kv_server_open(const struct kv_server_options *options, struct kv_server **out);
/** kv_server_wait - until it no longer accepts. Context: task, suspends. Return: 0, -ECANCELED (it then accepts no more) */
APUS_MUST_CHECK int kv_server_wait(struct kv_server *server);
/**
 * kv_server_close - stop in order, on all shards; consumes @server, always
 * @grace_ns: how long commands that have begun may take
 *
 * Context: task on the shard that opened it, suspends. Return: 0; -ETIMEDOUT when connections had to be reset; -ECANCELED.
 */
int kv_server_close(struct kv_server *server, int64_t grace_ns);
/** kv_server_store - of this shard, for looking at. Borrowed. Context: any */
const struct kv_store *kv_server_store(const struct kv_server *server);

#endif
