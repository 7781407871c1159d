/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/internal.h: what the rooms of the server share.
 */
#ifndef APUS_APPS_KV_INTERNAL_H
#define APUS_APPS_KV_INTERNAL_H

#include "apps/kv/server.h"
#include "net/socket/servers.h"
#include "net/socket/stream.h"
#include "runtime/base/metrics.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sync/waitq.h"

/* All shards' stores; made by the one that opens, unchanged while there is any session. */
struct kv_cluster {
	struct kv_server_options options;
	struct apus_siphash_key salt;
	unsigned int count;
	struct apus_heap *heap;
	struct apus_servers *servers;
	struct kv_server *shards[APUS_CROSS_SHARDS_MAX]; /* by index */
};

/* One shard's. */
struct kv_server {
	struct kv_cluster *cluster;
	unsigned int index; /* of its shard */
	struct kv_server_options options;
	struct apus_heap *heap;
	struct kv_store store;
	struct apus_slab leases; /* struct kv_lease */
	uint32_t connections;    /* sessions; who is told that there are too many is none */
	uint64_t buffered;       /* bytes of long lines that have not come whole, all connections */
	int64_t opened_at_ns;
	struct apus_metrics_block metrics;
};

/* A session; on its task's stack. */
struct kv_connection {
	struct kv_server *server;
	struct apus_server_connection *base;
	struct apus_stream *stream;
	size_t charged;          /* its part of the server's `buffered` */
	uint32_t leases;         /* values that TCP has not given back */
	struct apus_waitq given; /* the session, at its end, for the last of them */
};

/* A value that TCP sends from where it lies, in the store of any shard. */
struct kv_lease {
	struct apus_message
		message; /* on its way to the owner and back, when that is another shard */
	struct kv_connection *connection;
	struct kv_server *owner;
	struct kv_item *item; /* held there */
};

/* How a session ends. */
enum kv_end {
	KV_CLOSE,  /* nothing is owed */
	KV_LINGER, /* an answer is to arrive although the client still sends */
	KV_ABORT,  /* reset it */
};

/* A session goes on (0), or ends. */
#define KV_END_SESSION(how) (-1 - (int)(how))

#define KV_HEAD_BYTES \
 (6 + KV_KEY_MAX + 1 + 10 + 1 + 10 + 1 + KV_NUMBER_BYTES + 2) /* VALUE ... CR LF */

/* A command of one key, for the shard to which it belongs. */
struct kv_change {
	enum kv_verb verb;
	struct kv_key key;
	uint64_t number;       /* delta, cas unique; then the sum */
	int64_t exptime;       /* as the client said it */
	uint32_t flags;        /* of a value */
	uint32_t bytes;        /* of a value */
	const char *value;     /* NULL: there is none */
	bool is_refused;       /* a value that was not taken: count it */
	enum kv_result result; /* written */
};

/** kv_owner - the number of the shard to which @key belongs */
static inline unsigned int kv_owner(const struct kv_server *s, const struct kv_key *key)
{
	return (unsigned int)((key->hash >> 32) * s->cluster->count >> 32);
}

/** kv_change_here - carry it out on its own shard. Context: any */
void kv_change_here(struct kv_store *store, struct kv_change *what);
/** kv_change - carry it out where it belongs. Context: task, suspends if that is elsewhere. Return: 0 with its result; -ECANCELED, -ESHUTDOWN, -ENOMEM: it was not */
APUS_MUST_CHECK int64_t kv_change(struct kv_server *s, struct kv_change *what);
/** kv_remote_get - say the values of @cmd's keys, of any shard; the first is @first, of another one. Context: task, suspends. Return: 0; an end of the session */
APUS_MUST_CHECK int kv_remote_get(struct kv_connection *c, struct kv_command *cmd,
				  const struct kv_key *first);
/** kv_flush_all - on all shards. Context: task, suspends if there are others. Return: 0, < 0 */
APUS_MUST_CHECK int64_t kv_flush_all(struct kv_server *s, int64_t exptime);

/* One shard's part of what "stats" says, or the sum. */
struct kv_tally {
	uint64_t connections, bytes, items, hash_bytes, buckets;
	uint64_t counts[KV_COUNTERS_MAX];
};
/** kv_tally_all - the sum over all shards; @reset: set the counters to zero. Context: task, suspends if there are others. Return: 0, < 0 */
APUS_MUST_CHECK int64_t kv_tally_all(struct kv_server *s, bool reset, struct kv_tally *out);
/** kv_put_item - head, value, CR LF. Return: behind it */
char *kv_put_item(char *at, struct kv_item *item, bool cas);
/**
 * kv_say_item - of an item that is held by the caller
 * @owner: the server in whose store it is
 * @taken: written: the hold has passed on to a lease, which lets it go
 *
 * Context: task, suspends. Return: 0; an end.
 */
APUS_MUST_CHECK int kv_say_item(struct kv_connection *c, struct kv_server *owner,
				struct kv_item *item, bool cas, bool *taken);
/** kv_session_run - carry out the commands of @c until it ends. Context: task, suspends */
enum kv_end kv_session_run(struct kv_connection *c);
/** kv_session_linger - FIN, then read what comes for a while. Context: task, suspends. Return: CLOSE, ABORT */
enum kv_end kv_session_linger(struct kv_connection *c);
/** kv_say - an answer. Context: task, suspends when much is unsent. Return: 0, < 0 */
APUS_MUST_CHECK int kv_say(struct kv_connection *c, const char *text, size_t len);
/** kv_stats_say - the answer to "stats", or "stats @what". Context: task, suspends. Return: 0, < 0 */
APUS_MUST_CHECK int kv_stats_say(struct kv_connection *c, struct kv_text what);

#endif
