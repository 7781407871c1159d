/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/internal.h: what the rooms of the server share.
 */
#ifndef APUS_APPS_KV_INTERNAL_H
#define APUS_APPS_KV_INTERNAL_H

#include "apps/kv/server.h"
#include "net/socket/stream.h"
#include "runtime/base/metrics.h"
#include "runtime/sync/waitq.h"

enum kv_phase {
	KV_RUNNING,
	KV_STOPPING, /* no more commands are begun */
	KV_ABORTING, /* those that run are cancelled */
};

/* One shard's. */
struct kv_server {
	struct kv_server_options options;
	struct apus_heap *heap;
	struct kv_store store;
	struct apus_tcp_listener *listener;
	struct apus_task *acceptor;
	enum kv_phase phase;
	struct apus_slab slab;        /* struct kv_connection */
	struct apus_list connections; /* struct kv_connection.link */
	struct apus_slab leases;      /* struct kv_lease */
	struct apus_waitq emptied;    /* woken when there is no connection, or no lease, any more */
	uint64_t buffered; /* bytes of long lines that have not come whole, all connections */
	int64_t opened_at_ns;
	struct apus_metrics_block metrics;
};

/* A value that TCP sends from where it lies. */
struct kv_lease {
	struct kv_server *server;
	struct kv_item *item; /* held */
};

struct kv_connection {
	struct kv_server *server;
	struct apus_list link; /* of the server's */
	struct apus_stream *stream;
	struct apus_task *task; /* NULL before it has run */
	size_t charged;         /* its part of the server's `buffered` */
	bool idle;              /* waits for a command to begin */
};

/* How a session ends. */
enum kv_end {
	KV_CLOSE,  /* nothing is owed */
	KV_LINGER, /* an answer is to arrive although the client still sends */
	KV_ABORT,  /* reset it */
};

/** kv_session_run - carry out the commands of @c until it ends. Context: task, suspends */
enum kv_end kv_session_run(struct kv_connection *c);
/** kv_session_linger - FIN, then read what comes for a while. Context: task, suspends. Return: CLOSE, ABORT */
enum kv_end kv_session_linger(struct kv_connection *c);
/** kv_say - an answer. Context: task, suspends when much is unsent. Return: 0, < 0 */
APUS_MUST_CHECK int kv_say(struct kv_connection *c, const char *text, size_t len);
/** kv_stats_say - the answer to "stats", or "stats @what". Context: task, suspends. Return: 0, < 0 */
APUS_MUST_CHECK int kv_stats_say(struct kv_connection *c, struct kv_text what);

#endif
