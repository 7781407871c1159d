/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/server.c: the stores of all shards, and servers in front of them.
 *
 * Listening, limits and the stop in phases are apus_servers'; here is its handler, and a store for
 * each shard: all are there before any shard listens, and go when the last session of all shards has
 * ended. A session ends when TCP has given back every value that it lent to it, so no store goes
 * before what it has lent.
 */
#include "apps/kv/server.h"

#include "apps/kv/internal.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS_DEFAULT 10000
#define REFUSALS_MAX        64 /* connections over the limit that are told so; more are reset */
#define MEMORY_DEFAULT      ((size_t)64 << 20)
#define LEASES_MAX          65536 /* as TCP: what is above is copied */

static const char *const counter_names[] = {
#define X(id, name) name,
	KV_COUNTERS(X)
#undef X
};

/* --- A connection ---------------------------------------------------------------------------- */

/* One too many. What it is told fits in any send queue. */
static void turn_away(struct kv_server *s, struct apus_tcp *tcp)
{
	s->store.counts[KV_REJECTED_CONNECTIONS]++;
	if (apus_tcp_write(tcp, KV_TOO_MANY, sizeof(KV_TOO_MANY) - 1) < 0)
		apus_tcp_abort(tcp);
	else
		apus_tcp_close(tcp);
}

/* Ends the stream. */
static void converse(struct kv_connection *c)
{
	enum kv_end end = kv_session_run(c);

	if (end == KV_LINGER)
		end = kv_session_linger(c);
	if (end == KV_CLOSE)
		apus_stream_close(c->stream);
	else
		apus_stream_abort(c->stream);
}

static int64_t serve_connection(struct apus_tcp *tcp, void *arg)
{
	struct kv_server *s = arg;
	struct kv_connection c = {.server = s, .base = apus_server_connection_self()};

	if (s->connections == s->options.connections_max) {
		turn_away(s, tcp);
		return 0;
	}
	if (apus_stream_open(tcp, KV_LINE_KEYS_MAX + APUS_STREAM_BUFFER_BYTES, &c.stream) < 0)
		return 0; /* it has closed the connection */
	apus_waitq_init(&c.given);
	s->connections++;
	s->store.counts[KV_TOTAL_CONNECTIONS]++;
	converse(&c);
	/* A closed connection sends on what it has. Who stops the server resets it at the deadline. */
	while (c.leases > 0)
		(void)!apus_waitq_wait(&c.given, "values to be sent");
	s->connections--;
	return 0; /* how a peer leaves is no error of ours */
}

/* --- A shard --------------------------------------------------------------------------------- */

static int open_store(struct kv_server *s)
{
	const struct kv_store_options options = {
		.heap = s->heap,
		.salt = s->cluster->salt,
		.memory_bytes = s->options.memory_bytes,
		.cas_first = s->cluster->count + s->index,
		.cas_step = s->cluster->count,
	};

	return kv_store_open(&s->store, &options);
}

/* Before any shard listens: a command may go to any store. */
static int64_t open_here(void *arg, void **instance)
{
	struct kv_cluster *cluster = arg;
	struct apus_shard *shard = apus_shard_self();
	struct apus_heap *heap = apus_shard_heap(shard);
	struct kv_server *s = apus_heap_zalloc(heap, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->cluster = cluster;
	s->index = apus_shard_index();
	s->heap = heap;
	s->options = cluster->options;
	s->options.memory_bytes /= cluster->count;
	s->opened_at_ns = apus_now();
	rc = open_store(s);
	if (rc < 0) {
		apus_heap_free(heap, s);
		return rc;
	}
	apus_slab_init(&s->leases, heap, sizeof(struct kv_lease), LEASES_MAX);
	apus_metrics_register(apus_shard_metrics(shard), &s->metrics, "kv", counter_names,
			      s->store.counts, KV_COUNTERS_MAX);
	cluster->shards[s->index] = s;
	*instance = s;
	return 0;
}

static int64_t close_here(void *instance, int64_t drain_ns, void *arg)
{
	struct kv_server *s = instance;

	kv_store_close(&s->store);
	apus_slab_fini(&s->leases);
	apus_metrics_unregister(&s->metrics);
	apus_heap_free(s->heap, s);
	return 0;
}

/* --- All ------------------------------------------------------------------------------------- */

int kv_server_open(const struct kv_server_options *options, struct kv_server **out)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_heap *heap = apus_shard_heap(shard);
	struct kv_cluster *cluster = apus_heap_zalloc(heap, sizeof(*cluster));
	struct kv_server_options *o;
	int rc;

	if (!cluster)
		return -ENOMEM;
	o = &cluster->options;
	*o = *options;
	if (o->connections_max == 0)
		o->connections_max = CONNECTIONS_DEFAULT;
	if (o->memory_bytes == 0)
		o->memory_bytes = MEMORY_DEFAULT;
	cluster->count = apus_shard_count();
	cluster->heap = heap;
	apus_random_secret(apus_shard_random(shard), &cluster->salt, sizeof(cluster->salt));
	rc = apus_servers_open(
		&(struct apus_servers_options){
			.server = {.local = o->local,
				   .handler = serve_connection,
				   .arg = cluster,
				   .name = "kv connection",
				   .connections_max = o->connections_max + REFUSALS_MAX,
				   .full = APUS_SERVER_RESET,
				   .backlog = o->backlog},
			.start = open_here,
			.stop = close_here,
		},
		&cluster->servers);
	if (rc < 0) {
		apus_heap_free(heap, cluster);
		return rc;
	}
	*out = cluster->shards[apus_shard_index()];
	return 0;
}

int kv_server_wait(struct kv_server *server)
{
	return apus_servers_wait(server->cluster->servers);
}

int kv_server_close(struct kv_server *server, int64_t grace_ns)
{
	struct kv_cluster *cluster = server->cluster;
	int rc = apus_servers_stop(cluster->servers, grace_ns);

	apus_heap_free(cluster->heap, cluster);
	return rc;
}

const struct kv_store *kv_server_store(const struct kv_server *server)
{
	return &server->store;
}
