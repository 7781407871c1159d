/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/servers.c: a server on every shard; see servers.h.
 *
 * The instances are a sharded service, which starts them in order, and stops those that were started
 * in the opposite one. Between its start and its stop are the phases that need all shards: listen on
 * all, close all, then drain all at once, since one after the other each would have only what the
 * ones before it left of the time.
 *
 * The record lies in the memory of the shard that opened it. Each shard has a part in it that only
 * that shard writes, and the opener reads when a call there has answered: that is how it knows, when
 * a call failed, whether the function had run. What must happen everywhere is called until it has.
 */
#include "net/socket/servers.h"

#include "runtime/base/alloc.h"
#include "runtime/cross/ring.h"
#include "runtime/cross/sharded.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define PORT_TRIES 32             /* for a port that is free on all shards */
#define RETRY_NS   (10 * APUS_MS) /* when there is no memory to stop */

/* Of one shard. */
struct part {
	void *instance;
	struct apus_server *server; /* NULL before it listens, and once it has stopped */
	bool is_closed;             /* it was told to accept no more */
	int rc;                     /* of its stop */
} APUS_ALIGNED(APUS_RING_APART);

struct apus_servers {
	struct apus_servers_options options;
	struct apus_heap *heap;
	struct apus_sharded *service; /* the instances */
	struct apus_endpoint local;
	int64_t deadline_ns; /* of a stop; written while no call of it is out */
	uint32_t holds;
	unsigned int count;
	int64_t *results; /* of the stop, by index */
	struct part parts[];
};

static void unhold(struct apus_servers *all)
{
	if (!--all->holds)
		apus_heap_free(all->heap, all);
}

static struct part *part_here(struct apus_servers *all)
{
	return &all->parts[apus_shard_index()];
}

/* ------------------------------------------------------------------------------------- instances */

static int64_t start_here(void *arg, void **instance)
{
	struct apus_servers *all = arg;
	struct part *part = part_here(all);

	*instance = part;
	part->instance = all->options.server.arg;
	return all->options.start ? all->options.start(all->options.server.arg, &part->instance)
				  : 0;
}

static int64_t stop_instance(void *instance, int64_t drain_ns, void *arg)
{
	const struct apus_servers_options *o = &((struct apus_servers *)arg)->options;
	const struct part *part = instance;

	return o->stop ? o->stop(part->instance, drain_ns, o->server.arg) : 0;
}

/* ------------------------------------------------------------------------------------------ stop */

static int64_t close_here(void *arg)
{
	struct part *part = part_here(arg);

	if (part->server)
		apus_server_close(part->server);
	part->is_closed = true;
	return 0;
}

/* On shard @index, whatever happens to the caller; what keeps it from beginning passes. Return: was a cancel told? */
static bool close_on(struct apus_servers *all, unsigned int index)
{
	bool is_cancelled = false;

	for (;;) {
		int64_t rc = apus_call_on(index, close_here, all);

		is_cancelled |= rc == -ECANCELED;
		if (rc == -ESHUTDOWN || all->parts[index].is_closed)
			return is_cancelled;
		if (rc == -ENOMEM)
			is_cancelled |= apus_sleep(RETRY_NS) < 0;
	}
}

int apus_servers_close(struct apus_servers *all)
{
	bool is_cancelled = false;

	for (unsigned int i = 0; i < all->count; i++)
		is_cancelled |= close_on(all, i);
	return is_cancelled ? -ECANCELED : 0;
}

static int64_t left_ns(const struct apus_servers *all)
{
	if (all->deadline_ns == APUS_NEVER)
		return APUS_NEVER;
	return apus_max(all->deadline_ns - apus_now(), (int64_t)0);
}

static int64_t stop_here(void *arg)
{
	struct apus_servers *all = arg;
	struct part *part = part_here(all);

	if (part->server)
		part->rc = apus_server_stop(part->server, left_ns(all));
	part->server = NULL;
	return 0;
}

/* Is none left that a call could stop? What was called for a last time says who has left. */
static bool are_stopped(const struct apus_servers *all)
{
	for (unsigned int i = 0; i < all->count; i++)
		if (all->parts[i].server && all->results[i] != -ESHUTDOWN)
			return false;
	return true;
}

/* Without memory to call all at once. */
static void stop_one_by_one(struct apus_servers *all)
{
	for (unsigned int i = 0; i < all->count; i++) {
		if (all->parts[i].server)
			all->results[i] = apus_call_on(i, stop_here, all);
		if (all->results[i] == -ENOMEM)
			(void)!apus_sleep(RETRY_NS);
	}
}

/* All servers, at once, by the deadline. Return: 0; the first error, by index; -ECANCELED */
static int stop_servers(struct apus_servers *all, int64_t drain_ns)
{
	const struct apus_task *self = apus_task_self();
	uint32_t cancels = apus_task_cancelling(self);
	int first = 0;

	all->deadline_ns = drain_ns == APUS_NEVER ? APUS_NEVER : apus_now() + drain_ns;
	(void)apus_servers_close(all);
	memset(all->results, 0, all->count * sizeof(*all->results));
	while (!are_stopped(all)) {
		if (apus_task_cancelling(self) > cancels)
			all->deadline_ns = apus_min(all->deadline_ns, apus_now());
		if (apus_on_all(stop_here, all, all->results) == -ENOMEM)
			stop_one_by_one(all);
	}
	for (unsigned int i = 0; i < all->count && !first; i++)
		first = all->parts[i].server ? -ESHUTDOWN : all->parts[i].rc;
	return apus_task_cancelling(self) > cancels ? -ECANCELED : first;
}

/* A cancel may come before, and may be the calls' to tell, or the next wait's: it is told once, by us. */
int apus_servers_stop(struct apus_servers *all, int64_t drain_ns)
{
	const struct apus_task *self = apus_task_self();
	uint32_t cancels = apus_task_cancelling(self);
	bool is_cancelled = apus_yield() < 0;
	int rc = stop_servers(all, is_cancelled ? 0 : drain_ns);
	int64_t stopped = apus_sharded_stop(all->service, rc ? 0 : left_ns(all));

	all->service = NULL;
	unhold(all);
	if (!is_cancelled && apus_task_cancelling(self) == cancels)
		return rc ? rc : (int)stopped;
	(void)!apus_yield();
	return -ECANCELED;
}

/* ------------------------------------------------------------------------------------------ open */

static int64_t listen_here(void *arg)
{
	struct apus_servers *all = arg;
	struct part *part = part_here(all);
	struct apus_server_options options = all->options.server;

	if (part->server)
		return 0;
	part->is_closed = false;
	options.local = all->local;
	options.arg = part->instance;
	return apus_server_open(&options, &part->server);
}

/* One shard chooses the port, which may be taken on another: then by chance it is another one. */
static int64_t listen_all(struct apus_servers *all)
{
	bool is_free = !all->options.server.local.port;
	int64_t rc;

	for (int i = is_free ? PORT_TRIES : 1; i > 0; i--) {
		all->local = all->options.server.local;
		rc = listen_here(all);
		if (rc)
			return rc;
		all->local = apus_server_local(part_here(all)->server);
		rc = apus_on_all(listen_here, all, NULL);
		if (!rc)
			return 0;
		if (stop_servers(all, 0) == -ECANCELED)
			return -ECANCELED;
		if (rc != -EADDRINUSE)
			break;
	}
	return rc;
}

/* Record, parts, results, and the copy of the arg are one piece. */
static struct apus_servers *new_servers(const struct apus_servers_options *options)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	unsigned int count = apus_shard_count();
	size_t results_at = sizeof(struct apus_servers) + count * sizeof(struct part);
	size_t arg_at = results_at + ((count + 1) & ~1u) * sizeof(int64_t);
	struct apus_servers *all =
		apus_heap_alloc_aligned(heap, arg_at + options->arg_bytes, APUS_RING_APART);

	if (!all)
		return NULL;
	memset((void *)all, 0, arg_at);
	all->options = *options;
	all->heap = heap;
	all->holds = 1;
	all->count = count;
	all->results = (void *)((char *)all + results_at);
	if (options->arg_bytes)
		all->options.server.arg =
			memcpy((char *)all + arg_at, options->server.arg, options->arg_bytes);
	return all;
}

int apus_servers_open(const struct apus_servers_options *options, struct apus_servers **out)
{
	struct apus_servers *all;
	int64_t rc;

	if (!options->server.handler || options->server.is_paused)
		return -EINVAL;
	all = new_servers(options);
	if (!all)
		return -ENOMEM;
	rc = apus_sharded_start(
		&(struct apus_sharded_options){
			.start = start_here,
			.stop = stop_instance,
			.arg = all,
		},
		&all->service);
	if (rc)
		goto err_free;
	rc = listen_all(all);
	if (rc)
		goto err_stop;
	*out = all;
	return 0;

err_stop:
	if (apus_sharded_stop(all->service, 0) == -ECANCELED)
		rc = -ECANCELED;
err_free:
	unhold(all);
	return (int)rc;
}

/* --------------------------------------------------------------------------------- while it runs */

int apus_servers_wait(struct apus_servers *all)
{
	struct apus_server *s = part_here(all)->server;
	int rc = 0;

	all->holds++;
	if (s)
		rc = apus_server_wait(s);
	if (rc)
		(void)apus_servers_close(all);
	unhold(all);
	return rc;
}

struct apus_server *apus_servers_here(const struct apus_servers *all)
{
	return all->parts[apus_shard_index()].server;
}

struct apus_endpoint apus_servers_local(const struct apus_servers *all)
{
	return all->local;
}

static void add(void *into, unsigned int shard, int64_t result)
{
	*(int64_t *)into += result;
}

static int64_t sum(apus_task_fn map, void *arg)
{
	int64_t total = 0;
	int64_t rc = apus_map_reduce(map, arg, add, &total);

	return rc ? rc : total;
}

struct counting {
	const struct apus_servers *all;
	enum apus_server_counter which;
};

static int64_t count_here(void *arg)
{
	const struct counting *counting = arg;
	const struct apus_server *s = apus_servers_here(counting->all);

	return s ? (int64_t)apus_server_counter(s, counting->which) : 0;
}

int64_t apus_servers_counter(struct apus_servers *all, enum apus_server_counter which)
{
	struct counting counting = {.all = all, .which = which};

	return sum(count_here, &counting);
}

static int64_t connections_here(void *arg)
{
	const struct apus_server *s = apus_servers_here(arg);

	return s ? apus_server_connections(s) : 0;
}

int64_t apus_servers_connections(struct apus_servers *all)
{
	return sum(connections_here, all);
}
