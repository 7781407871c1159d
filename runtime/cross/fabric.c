/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/fabric.c: opens and closes what joins shards: their ports, and a ring for each pair.
 */
#include "runtime/cross/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t ring_lines_most = 256, ring_lines_least = 32; /* when nobody says */
static const uint32_t ring_lines_of_shard = 4096;                   /* of all its rings, about */
static const uint32_t posts_max_default = 1024;

static const char *const counter_names[] = {APUS_CROSS_COUNTERS(APUS_COUNTER_NAME)};

static void part(struct apus_cross_port *port)
{
	apus_poller_unregister(&port->poller);
	apus_metrics_unregister(&port->metrics);
	port->shard->slots[APUS_CROSS_SLOT] = NULL;
	port->shard = NULL;
}

static void shard_closes(struct apus_closer *closer)
{
	part(apus_container_of(closer, struct apus_cross_port, closer));
}

static int open_ring(struct apus_cross *cross, unsigned int from, unsigned int to)
{
	static struct apus_ring_line nothing; /* of the ring to oneself: never published */
	struct apus_cross_peer *peer = &cross->ports[from].peers[to];
	struct apus_ring_in *in = &cross->ports[to].in[from];
	uint32_t lines = cross->options.ring_lines;
	struct apus_ring_freed *freed;
	struct apus_ring_line *ring;

	if (from == to) {
		*in = (struct apus_ring_in){.lines = &nothing};
		return 0;
	}
	ring = apus_heap_alloc_aligned(&cross->heap, lines * sizeof(*ring) + sizeof(*freed),
				       APUS_RING_APART);
	if (!ring)
		return -ENOMEM;
	freed = (void *)(ring + lines);
	memset(ring, 0, lines * sizeof(*ring) + sizeof(*freed));
	apus_ring_init(&peer->out, in, ring, lines, freed);
	if (!cross->options.delay_ns)
		return 0;
	peer->due_ns = apus_heap_zalloc(&cross->heap, lines * sizeof(*peer->due_ns));
	cross->ports[to].peers[from].due_in_ns = peer->due_ns;
	return peer->due_ns ? 0 : -ENOMEM;
}

static void init_peer(struct apus_cross *cross, struct apus_cross_peer *peer, unsigned int to)
{
	peer->index = to;
	peer->port = &cross->ports[to];
	peer->replies_tail = &peer->replies;
	apus_list_init(&peer->requests);
	apus_list_init(&peer->posts_waiting);
	apus_list_init(&peer->watches);
}

static void *zeroed(struct apus_cross *cross, size_t count, size_t bytes)
{
	size_t all = (count * bytes + APUS_RING_APART - 1) / APUS_RING_APART * APUS_RING_APART;
	void *p = apus_heap_alloc_aligned(&cross->heap, all, APUS_RING_APART);

	return p ? memset(p, 0, all) : NULL;
}

static int open_port(struct apus_cross *cross, unsigned int index, struct apus_shard *shard)
{
	struct apus_cross_port *port = &cross->ports[index];

	port->cross = cross;
	port->index = index;
	port->count = cross->count;
	port->in = zeroed(cross, cross->count, sizeof(*port->in));
	port->peers = zeroed(cross, cross->count, sizeof(*port->peers));
	port->dirty = zeroed(cross, cross->count, sizeof(*port->dirty));
	return port->in && port->peers && port->dirty ? 0 : -ENOMEM;
}

static void join(struct apus_cross_port *port, struct apus_shard *shard)
{
	port->shard = shard;
	port->closer.close = shard_closes;
	shard->slots[APUS_CROSS_SLOT] = port;
	apus_poller_register(shard, &port->poller, &apus_cross_poller_type);
	apus_shard_at_close(shard, &port->closer);
	apus_metrics_register(apus_shard_metrics(shard), &port->metrics, "cross", counter_names,
			      port->counters, APUS_CROSS_COUNTER_COUNT);
}

static int open_all(struct apus_cross *cross, struct apus_shard *const *shards)
{
	unsigned int n = cross->count;
	int rc = 0;

	cross->ports = zeroed(cross, n, sizeof(*cross->ports));
	if (!cross->ports)
		return -ENOMEM;
	for (unsigned int i = 0; i < n && !rc; i++)
		rc = open_port(cross, i, shards[i]);
	for (unsigned int i = 0; i < n && !rc; i++) {
		for (unsigned int j = 0; j < n && !rc; j++) {
			init_peer(cross, &cross->ports[i].peers[j], j);
			rc = open_ring(cross, i, j);
		}
	}
	return rc;
}

static void free_all(struct apus_cross *cross)
{
	for (unsigned int i = 0; cross->ports && i < cross->count; i++) {
		struct apus_cross_port *port = &cross->ports[i];

		for (unsigned int j = 0; port->peers && j < cross->count; j++) {
			apus_heap_free(&cross->heap, port->peers[j].due_ns);
			apus_heap_free(&cross->heap, port->peers[j].out.lines);
		}
		apus_heap_free(&cross->heap, port->in);
		apus_heap_free(&cross->heap, port->peers);
		apus_heap_free(&cross->heap, port->dirty);
	}
	apus_heap_free(&cross->heap, cross->ports);
	apus_heap_fini(&cross->heap);
	pthread_mutex_destroy(&cross->silence);
	free(cross);
}

static int check(struct apus_shard *const *shards, unsigned int count,
		 const struct apus_cross_options *o)
{
	if (!count || count > APUS_CROSS_SHARDS_MAX || o->ring_lines < APUS_RING_LINES_MIN ||
	    o->ring_lines & (o->ring_lines - 1))
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++)
		if (shards[i]->slots[APUS_CROSS_SLOT])
			return -EBUSY;
	return 0;
}

/* Rings are as many as pairs: among many shards each is smaller. */
static uint32_t lines_for(unsigned int count)
{
	uint32_t lines = ring_lines_most;

	while (lines > ring_lines_least && lines * count > ring_lines_of_shard)
		lines /= 2;
	return lines;
}

int apus_cross_open(struct apus_shard *const *shards, unsigned int count,
		    const struct apus_cross_options *options, struct apus_cross **out)
{
	struct apus_cross_options o = {0};

	if (options)
		o = *options;
	if (!o.ring_lines)
		o.ring_lines = lines_for(count);
	if (!o.posts_max)
		o.posts_max = posts_max_default;

	int rc = check(shards, count, &o);

	if (rc)
		return rc;

	struct apus_cross *cross = calloc(1, sizeof(*cross)); /* its heap is a part of it */

	if (!cross)
		return -ENOMEM;
	cross->count = count;
	cross->options = o;
	rc = apus_heap_init(&cross->heap);
	if (rc) {
		free(cross);
		return rc;
	}
	apus_must(pthread_mutex_init(&cross->silence, NULL) == 0);
	rc = open_all(cross, shards);
	if (rc) {
		free_all(cross);
		return rc;
	}
	for (unsigned int i = 0; i < count; i++)
		join(&cross->ports[i], shards[i]);
	*out = cross;
	return 0;
}

void apus_cross_close(struct apus_cross *cross)
{
	if (!cross)
		return;
	for (unsigned int i = 0; i < cross->count; i++) {
		struct apus_cross_port *port = &cross->ports[i];

		if (!port->shard)
			continue;
		apus_list_remove(&port->closer.link);
		part(port);
	}
	free_all(cross);
}
