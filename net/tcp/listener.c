/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/listener.c: who listens where, and the queue of connections that wait to be accepted.
 *
 * The queue is a ring that doubles as it fills, up to the backlog. What a SYN makes of a listener
 * is in listen.c.
 *
 * Entry points: listener_open, listener_find, listener_take, listener_shut.
 */
#include "net/tcp/listen.h"

#include "net/ip/ipv4.h"
#include "net/tcp/user.h"
#include "runtime/sched/shard.h"

#include <errno.h>

#define READY_FIRST 16 /* places in an accept queue at first, a power of two */

/* ---- the accept queue ---- */

bool apus_tcp_listener_reserve(struct apus_tcp_listener *l)
{
	uint32_t count = apus_tcp_listener_ready(l);

	if (count >= l->backlog)
		return false;
	if (count < l->ready_size)
		return true;

	struct apus_heap *heap = apus_shard_heap(l->layer->shard);
	uint32_t size = l->ready_size ? 2 * l->ready_size : READY_FIRST;
	struct apus_tcp **ring = apus_heap_alloc(heap, size * sizeof(struct apus_tcp *));

	if (!ring)
		return false;
	for (uint32_t i = 0; i < count; i++)
		ring[i] = l->ready[(l->ready_head + i) & (l->ready_size - 1)];
	apus_heap_free(heap, l->ready);
	l->ready = ring;
	l->ready_size = size;
	l->ready_head = 0;
	l->ready_tail = count;
	return true;
}

void apus_tcp_listener_put(struct apus_tcp_listener *l, struct apus_tcp *c)
{
	apus_tcp_hold(c); /* becomes the user's handle */
	l->ready[l->ready_tail++ & (l->ready_size - 1)] = c;
	apus_waitq_wake_one(&l->acceptors, 0);
}

struct apus_tcp *apus_tcp_listener_take(struct apus_tcp_listener *l)
{
	if (!apus_tcp_listener_ready(l))
		return NULL;
	return l->ready[l->ready_head++ & (l->ready_size - 1)];
}

/* ---- listeners ---- */

static struct apus_list *chain(struct apus_tcp_layer *layer, uint16_t port)
{
	return &layer->listener_heads[port & (APUS_TCP_LISTENER_HEADS - 1)];
}

struct apus_tcp_listener *apus_tcp_listener_find(const struct apus_tcp_layer *layer,
						 struct apus_addr addr, uint16_t port)
{
	const struct apus_list *head = &layer->listener_heads[port & (APUS_TCP_LISTENER_HEADS - 1)];
	struct apus_tcp_listener *any = NULL;
	struct apus_list *it;

	apus_list_for_each(it, head) {
		struct apus_tcp_listener *l = apus_list_entry(it, struct apus_tcp_listener, link);

		if (l->local.port != port)
			continue;
		if (apus_addr_equal(l->local.addr, addr))
			return l;
		if (apus_addr_is_any(l->local.addr))
			any = l;
	}
	return any;
}

/* Two listeners may share a port only with two different addresses, neither of them any. */
static bool is_taken(struct apus_tcp_layer *layer, struct apus_endpoint local)
{
	const struct apus_list *it;

	apus_list_for_each(it, chain(layer, local.port)) {
		const struct apus_tcp_listener *l =
			apus_list_entry(it, struct apus_tcp_listener, link);

		if (l->local.port == local.port &&
		    (apus_addr_is_any(l->local.addr) || apus_addr_is_any(local.addr) ||
		     apus_addr_equal(l->local.addr, local.addr)))
			return true;
	}
	return false;
}

/* Any ephemeral port nobody listens at; random, so that a few tries do. */
static int choose_listen_port(struct apus_tcp_layer *layer, struct apus_endpoint *local)
{
	uint32_t ports = APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1;
	uint64_t start = apus_random_below(apus_shard_random(layer->shard), ports);

	for (uint32_t i = 0; i < ports; i++) {
		local->port = (uint16_t)(APUS_TCP_PORT_FIRST + (start + i) % ports);
		if (!is_taken(layer, *local))
			return 0;
	}
	return -EADDRINUSE;
}

int apus_tcp_listener_open(struct apus_tcp_layer *layer, struct apus_endpoint local,
			   uint32_t backlog, struct apus_tcp_listener **out)
{
	if (!apus_addr_is_any(local.addr) && !apus_ipv4_is_ours(layer->ip, local.addr))
		return -EADDRNOTAVAIL;
	if (!local.port) {
		int rc = choose_listen_port(layer, &local);

		if (rc)
			return rc;
	}
	if (is_taken(layer, local))
		return -EADDRINUSE;

	struct apus_tcp_listener *l = apus_heap_alloc(apus_shard_heap(layer->shard), sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct apus_tcp_listener){
		.layer = layer,
		.local = local,
		.backlog = backlog ? backlog : APUS_TCP_BACKLOG_DEFAULT,
		.holds = 1,
		.cookie_at_ns = -2 * APUS_TCP_COOKIE_PERIOD_NS,
	};
	apus_tcp_requests_init(l);
	apus_waitq_init(&l->acceptors);
	apus_list_push_back(chain(layer, local.port), &l->link);
	*out = l;
	return 0;
}

/* Out of the tables, with all request entries. */
static void stop(struct apus_tcp_listener *l)
{
	l->is_closed = true;
	apus_list_remove(&l->link);
	apus_tcp_requests_close(l);
}

static void free_listener(struct apus_tcp_listener *l)
{
	struct apus_heap *heap = apus_shard_heap(l->layer->shard);

	apus_heap_free(heap, l->ready);
	apus_heap_free(heap, l);
}

void apus_tcp_listener_unhold(struct apus_tcp_listener *l)
{
	if (!--l->holds)
		free_listener(l);
}

void apus_tcp_listener_shut(struct apus_tcp_listener *l, int64_t now_ns)
{
	struct apus_tcp *c;

	stop(l);
	while ((c = apus_tcp_listener_take(l)))
		apus_tcp_call_abort(c, now_ns);
	apus_waitq_wake_all(&l->acceptors, 0);
	apus_tcp_listener_unhold(l);
}

void apus_tcp_listener_destroy(struct apus_tcp_listener *l)
{
	apus_must(apus_waitq_empty(&l->acceptors));
	stop(l);
	free_listener(l); /* what waited to be accepted is in the demux or among the detached */
}
