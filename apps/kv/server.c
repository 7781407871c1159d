/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/server.c: accepts, bounds, and stops in order.
 *
 * Stopping has two phases: first nobody is accepted, idle connections are closed and the others
 * finish the command that has begun; after the grace time what is left is cancelled and reset. The
 * store goes last, when TCP has given back every value that it was lent.
 */
#include "apps/kv/server.h"

#include "apps/kv/internal.h"
#include "net/stack.h"
#include "runtime/base/log.h"
#include "runtime/cross/call.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <string.h>

#define CONNECTIONS_DEFAULT 10000
#define MEMORY_DEFAULT      ((size_t)64 << 20)
#define LEASES_MAX          65536 /* as TCP: what is above is copied */
#define ACCEPT_RETRY_NS     (100 * APUS_MS)

static const char *const counter_names[] = {
#define X(id, name) name,
	KV_COUNTERS(X)
#undef X
};

/* --- A connection ---------------------------------------------------------------------------- */

static void connection_free(struct kv_connection *c)
{
	struct kv_server *s = c->server;

	apus_list_remove(&c->link);
	apus_slab_put(&s->slab, c);
	if (apus_list_empty(&s->connections))
		apus_waitq_wake_all(&s->emptied, 0);
}

static int64_t connection_main(void *arg)
{
	struct kv_connection *c = arg;
	enum kv_end end;

	c->task = apus_task_self();
	end = c->server->phase == KV_ABORTING ? KV_ABORT : kv_session_run(c);
	if (end == KV_LINGER)
		end = kv_session_linger(c);
	if (end == KV_CLOSE)
		apus_stream_close(c->stream);
	else
		apus_stream_abort(c->stream);
	connection_free(c);
	return 0; /* how a peer leaves is no error of ours */
}

/* One too many. What it is told fits in any send queue. */
static void turn_away(struct kv_server *s, struct apus_tcp *tcp)
{
	s->store.counts[KV_REJECTED_CONNECTIONS]++;
	if (apus_tcp_write(tcp, KV_TOO_MANY, sizeof(KV_TOO_MANY) - 1) < 0)
		apus_tcp_abort(tcp);
	else
		apus_tcp_close(tcp);
}

/* Consumes @tcp. */
static void admit(struct kv_server *s, struct apus_tcp *tcp)
{
	static const struct apus_spawn_options as = {.name = "kv connection"};
	struct kv_connection *c;

	if (s->slab.used == s->options.connections_max) {
		turn_away(s, tcp);
		return;
	}
	c = apus_slab_get(&s->slab);
	if (!c)
		goto err_tcp;
	*c = (struct kv_connection){.server = s};
	if (apus_stream_open(tcp, KV_LINE_KEYS_MAX + APUS_STREAM_BUFFER_BYTES, &c->stream) < 0)
		goto err_slab;
	apus_list_push_back(&s->connections, &c->link);
	s->store.counts[KV_TOTAL_CONNECTIONS]++;
	if (apus_spawn_detached(&as, connection_main, c, 0) < 0) {
		apus_stream_abort(c->stream);
		connection_free(c);
	}
	return;

err_slab: /* the stream has closed the connection */
	apus_slab_put(&s->slab, c);
	return;
err_tcp:
	apus_tcp_abort(tcp);
}

static int64_t acceptor_main(void *arg)
{
	struct kv_server *s = arg;

	while (s->phase == KV_RUNNING) {
		struct apus_tcp *tcp;
		int rc = apus_tcp_accept(s->listener, &tcp);

		if (rc == 0) {
			admit(s, tcp);
			continue;
		}
		if (rc == -EPIPE || rc == -ECANCELED)
			return rc == -EPIPE ? 0 : rc;
		apus_log(WARN, "kv: accept: %s", strerrordesc_np(-rc));
		rc = apus_sleep(ACCEPT_RETRY_NS);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- Open and close -------------------------------------------------------------------------- */

static void cancel_connections(struct kv_server *s, bool only_idle)
{
	struct apus_list *it;

	apus_list_for_each(it, &s->connections) {
		struct kv_connection *c = apus_list_entry(it, struct kv_connection, link);

		if (c->task && (c->idle || !only_idle))
			apus_task_cancel(c->task);
	}
}

static bool is_empty(const struct kv_server *s)
{
	return apus_list_empty(&s->connections) && s->leases.used == 0;
}

/* Wait until nothing is left, at most @ns. Return: 0, -ETIMEDOUT, -ECANCELED. */
static int wait_empty(struct kv_server *s, int64_t ns)
{
	struct apus_timeout limit;
	int64_t rc = 0;

	apus_timeout_begin(&limit, ns);
	while (!is_empty(s) && rc == 0)
		rc = apus_waitq_wait(&s->emptied, "kv connections to end");
	return (int)apus_timeout_end(&limit, rc);
}

static void server_free(struct kv_server *s)
{
	kv_store_close(&s->store);
	apus_slab_fini(&s->leases);
	apus_slab_fini(&s->slab);
	apus_metrics_unregister(&s->metrics);
	apus_heap_free(s->heap, s);
}

int64_t kv_server_wait(struct kv_server *server)
{
	return apus_await(apus_task_get(server->acceptor));
}

/* End the sessions of this shard; nothing if that was done, or there never were any. */
static int stop(struct kv_server *s, int64_t grace_ns)
{
	int64_t accepted;
	int rc;

	s->phase = KV_STOPPING;
	if (!s->listener)
		return 0;
	apus_tcp_listener_close(s->listener);
	s->listener = NULL;
	cancel_connections(s, true);
	rc = wait_empty(s, grace_ns);
	if (rc == -ETIMEDOUT && is_empty(s))
		rc = 0; /* just in time */
	if (!is_empty(s)) {
		s->phase = KV_ABORTING;
		cancel_connections(s, false);
		/* They end at their next wait; a second cancel of ours must not leave them behind. */
		while (!is_empty(s))
			if (wait_empty(s, APUS_NEVER) < 0)
				rc = -ECANCELED;
	}
	accepted = apus_await(s->acceptor);
	return rc == 0 && accepted < 0 && accepted != -ECANCELED ? (int)accepted : rc;
}

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

static int listen_here(struct kv_server *s)
{
	static const struct apus_spawn_options as = {.name = "kv accept"};
	int rc = apus_tcp_listen(s->options.local, s->options.backlog, &s->listener);

	if (rc < 0)
		return rc;
	s->acceptor = apus_spawn_with(&as, acceptor_main, s, 0);
	if (s->acceptor)
		return 0;
	apus_tcp_listener_close(s->listener);
	s->listener = NULL;
	return -ENOMEM;
}

static int server_make(struct kv_cluster *cluster, struct kv_server **out)
{
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
	apus_list_init(&s->connections);
	apus_waitq_init(&s->emptied);
	rc = open_store(s);
	if (rc < 0) {
		apus_heap_free(heap, s);
		return rc;
	}
	apus_slab_init(&s->slab, heap, sizeof(struct kv_connection), s->options.connections_max);
	apus_slab_init(&s->leases, heap, sizeof(struct kv_lease), LEASES_MAX);
	apus_metrics_register(apus_shard_metrics(shard), &s->metrics, "kv", counter_names,
			      s->store.counts, KV_COUNTERS_MAX);
	*out = s;
	return 0;
}

/* --- On every shard -------------------------------------------------------------------------- */

/* First all stores, then all listeners: a command may go to any store. */
static int64_t make_here(void *arg)
{
	struct kv_cluster *cluster = arg;

	return server_make(cluster, &cluster->servers[apus_shard_index()]);
}

static int64_t serve_here(void *arg)
{
	struct kv_cluster *cluster = arg;
	struct kv_server *s = cluster->servers[apus_shard_index()];

	/* A shard without a network has a store only. */
	return s->index == 0 || apus_stack_self() ? listen_here(s) : 0;
}

struct closing {
	struct kv_cluster *cluster;
	int64_t grace_ns;
};

/* And the other way round: first all sessions end, then the stores go. */
static int64_t stop_here(void *arg)
{
	const struct closing *closing = arg;

	return stop(closing->cluster->servers[apus_shard_index()], closing->grace_ns);
}

static int64_t free_here(void *arg)
{
	struct kv_cluster *cluster = arg;
	struct kv_server *s = cluster->servers[apus_shard_index()];

	if (s)
		server_free(s);
	cluster->servers[apus_shard_index()] = NULL;
	return 0;
}

static int64_t on_all(const struct kv_cluster *cluster, apus_task_fn fn, void *arg)
{
	return cluster->count == 1 ? fn(arg) : apus_on_all(fn, arg, NULL);
}

/* What must happen everywhere, however often we are asked to stop. */
static int64_t surely_on_all(const struct kv_cluster *cluster, apus_task_fn fn, void *arg)
{
	int64_t rc, cancelled = 0;

	while ((rc = on_all(cluster, fn, arg)) == -ECANCELED && cluster->count > 1)
		cancelled = rc;
	return rc ? rc : cancelled;
}

int kv_server_close(struct kv_server *server, int64_t grace_ns)
{
	struct kv_cluster *cluster = server->cluster;
	struct apus_heap *heap = server->heap;
	struct closing closing = {cluster, grace_ns};
	int64_t rc = surely_on_all(cluster, stop_here, &closing);

	surely_on_all(cluster, free_here, cluster);
	apus_heap_free(heap, cluster);
	return (int)rc;
}

const struct kv_store *kv_server_store(const struct kv_server *server)
{
	return &server->store;
}

int kv_server_open(const struct kv_server_options *options, struct kv_server **out)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_heap *heap = apus_shard_heap(shard);
	struct kv_cluster *cluster = apus_heap_zalloc(heap, sizeof(*cluster));
	struct closing closing = {cluster, 0};
	int64_t rc;

	if (!cluster)
		return -ENOMEM;
	cluster->options = *options;
	cluster->count = apus_shard_count();
	if (cluster->options.connections_max == 0)
		cluster->options.connections_max = CONNECTIONS_DEFAULT;
	if (cluster->options.memory_bytes == 0)
		cluster->options.memory_bytes = MEMORY_DEFAULT;
	apus_random_secret(apus_shard_random(shard), &cluster->salt, sizeof(cluster->salt));
	rc = on_all(cluster, make_here, cluster);
	if (rc < 0)
		goto err_free;
	rc = on_all(cluster, serve_here, cluster);
	if (rc < 0)
		goto err_stop;
	*out = cluster->servers[apus_shard_index()];
	return 0;

err_stop:
	surely_on_all(cluster, stop_here, &closing);
err_free:
	surely_on_all(cluster, free_here, cluster);
	apus_heap_free(heap, cluster);
	return (int)rc;
}
