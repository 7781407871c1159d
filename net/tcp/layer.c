/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/layer.c: the TCP room of a stack: its birth, its end, its turn; see layer.h.
 *
 * Entry points: init, fini, flush. A connection is in at most one list: marked, when output is to
 * run for it or its memory is to be freed; detached, when it is over and only its user holds it.
 */
#include "net/tcp/layer.h"

#include "net/ip/ipv4.h"
#include "net/tcp/isn.h"
#include "net/tcp/lent.h"
#include "net/tcp/listen.h"
#include "net/tcp/plain.h"
#include "net/tcp/timewait.h"
#include "net/tcp/window.h"
#include "runtime/sched/shard.h"

#include <errno.h>

#define HEADERS_BYTES 40 /* IPv4 and TCP, without options: RFC 9293 §3.7.1 */

static const char *const counter_names[] = {
#define X(id, name) name,
	APUS_TCP_COUNTERS(X)
#undef X
};

static_assert(apus_countof(counter_names) == APUS_TCP_COUNTER_COUNT, "a name for each");

static uint16_t mss_of_mtu(uint16_t mtu)
{
	uint16_t mss = mtu > HEADERS_BYTES ? mtu - HEADERS_BYTES : 0;

	return (uint16_t)apus_max(mss, APUS_TCP_MSS_LEAST);
}

static void init_cookies(struct apus_tcp_layer *layer, struct apus_random *random)
{
	struct apus_siphash_key master;

	apus_random_secret(random, &master, sizeof(master));
	apus_tcp_cookie_init(&layer->cookies, &master);
}

int apus_tcp_layer_init(struct apus_tcp_layer *layer, struct apus_shard *shard,
			struct apus_ipv4 *ip, const struct apus_tcp_options *options,
			uint32_t connections_max)
{
	struct apus_heap *heap = apus_shard_heap(shard);
	struct apus_random *random = apus_shard_random(shard);

	*layer = (struct apus_tcp_layer){
		.ip = ip,
		.link = ip->link,
		.shard = shard,
		.mss = mss_of_mtu(apus_ipv4_mtu(ip)),
		.options = *options,
		.rcv_buffer_max = apus_tcp_buffer_max(options, ip->link->pool),
	};
	layer->congestion = apus_cc_find(options->congestion ? options->congestion : "cubic");
	if (!layer->congestion)
		return -EINVAL;
	/* One table for three kinds, each of which has a limit of its own. */
	int rc = apus_tcp_demux_init(&layer->demux, heap, random, 3 * connections_max);

	if (rc)
		return rc;
	apus_tcp_memory_init(&layer->memory, layer->link->pool);
	layer->lender = apus_tcp_lender_open(heap);
	if (!layer->lender) {
		apus_tcp_demux_fini(&layer->demux);
		return -ENOMEM;
	}
	apus_list_init(&layer->marked);
	apus_list_init(&layer->detached);
	for (size_t i = 0; i < APUS_TCP_LISTENER_HEADS; i++)
		apus_list_init(&layer->listener_heads[i]);
	apus_slab_init(&layer->connections, heap, sizeof(struct apus_tcp), connections_max);
	apus_slab_init(&layer->senders, heap, sizeof(struct apus_tcp_sender), connections_max);
	apus_slab_init(&layer->tallies, heap, sizeof(struct apus_tcp_tally), connections_max);
	apus_slab_init(&layer->requests, heap, sizeof(struct apus_tcp_request), connections_max);
	apus_slab_init(&layer->time_waits, heap, sizeof(struct apus_tcp_time_wait),
		       connections_max);
	layer->wscale = apus_tcp_buffer_scale(options->rcv_buffer_max ? options->rcv_buffer_max
								      : APUS_TCP_RCV_BUFFER_MAX);
	apus_slab_init(&layer->drs, heap, sizeof(struct apus_drs), connections_max);
	apus_ooo_pool_init(&layer->ooo, heap, APUS_TCP_GAPS_MAX, (uint32_t)apus_random_u64(random));
	apus_timer_init(&layer->time_wait_timer, apus_tcp_time_wait_timer_fired);
	apus_random_secret(random, &layer->isn_key, sizeof(layer->isn_key));
	apus_random_secret(random, &layer->port_key, sizeof(layer->port_key));
	apus_random_secret(random, &layer->ts_key, sizeof(layer->ts_key));
	init_cookies(layer, random);
	apus_metrics_register(apus_shard_metrics(shard), &layer->metrics, "tcp", counter_names,
			      layer->counters, APUS_TCP_COUNTER_COUNT);
	apus_metrics_register(apus_shard_metrics(shard), &layer->nstat, "nstat", apus_tcp_nstat,
			      layer->counters, APUS_TCP_COUNTER_COUNT);
	return 0;
}

/* Whatever is still found by a lookup: in silence, there is nobody to hear it any more. */
static void empty_demux(struct apus_tcp_layer *layer)
{
	struct apus_tcp_found found;
	uint32_t cursor = 0;

	while ((found = apus_tcp_demux_next(&layer->demux, &cursor)).entry) {
		switch (found.kind) {
		case APUS_TCP_KIND_CONNECTION:
			apus_tcp_delete(found.entry, -ECONNABORTED);
			break;
		case APUS_TCP_KIND_REQUEST:
			apus_must(!"requests end with their listener");
			break;
		case APUS_TCP_KIND_TIME_WAIT:
			apus_tcp_time_wait_close(layer, found.entry);
			break;
		case APUS_TCP_KIND_NONE:
			break;
		}
	}
}

static void destroy_all(struct apus_list *list)
{
	struct apus_list *node;

	while ((node = apus_list_pop_front(list))) {
		struct apus_tcp *c = apus_list_entry(node, struct apus_tcp, link);

		c->holds = 0;
		apus_tcp_destroy(c);
	}
}

void apus_tcp_layer_fini(struct apus_tcp_layer *layer)
{
	for (size_t i = 0; i < APUS_TCP_LISTENER_HEADS; i++) {
		struct apus_list *head = &layer->listener_heads[i];

		while (!apus_list_empty(head)) {
			struct apus_tcp_listener *l =
				apus_list_entry(head->next, struct apus_tcp_listener, link);

			apus_tcp_listener_destroy(l);
		}
	}
	empty_demux(layer);
	apus_timer_cancel(&layer->time_wait_timer);
	destroy_all(&layer->marked);
	destroy_all(&layer->detached);
	apus_metrics_unregister(&layer->nstat);
	apus_metrics_unregister(&layer->metrics);
	apus_ooo_pool_fini(&layer->ooo);
	apus_slab_fini(&layer->drs);
	apus_slab_fini(&layer->time_waits);
	apus_slab_fini(&layer->tallies);
	apus_slab_fini(&layer->requests);
	apus_slab_fini(&layer->senders);
	apus_slab_fini(&layer->connections);
	apus_tcp_demux_fini(&layer->demux);
	apus_tcp_lender_close(layer->lender);
}

/* A marked connection's turn: it is over, or it has something to say. */
static void flush_one(struct apus_tcp *c, int64_t now_ns)
{
	if (!c->in_demux) {
		if (c->holds)
			apus_list_push_back(&c->layer->detached, &c->link);
		else
			apus_tcp_destroy(c);
		return;
	}
	if (apus_tcp_output_plain(c, now_ns))
		return;
	apus_sndq_rest(&c->sndq);
	apus_tcp_output(c, now_ns);
	if (c->state == APUS_TCP_TIME_WAIT)
		apus_tcp_time_wait_open(c, now_ns); /* which marks it, to be freed */
}

void apus_tcp_flush(struct apus_tcp_layer *layer, int64_t now_ns)
{
	struct apus_list *node;

	/* Output marks nobody but itself, when it is over: two rounds for each at most. */
	while ((node = apus_list_pop_front(&layer->marked))) {
		struct apus_tcp *c = apus_list_entry(node, struct apus_tcp, link);

		c->is_marked = false;
		flush_one(c, now_ns);
	}
	if (apus_unlikely(apus_tcp_lender_has_back(layer->lender)))
		apus_tcp_lender_flush(layer->lender);
}

size_t apus_tcp_layer_open(const struct apus_tcp_layer *layer)
{
	return (size_t)layer->alive + layer->requests.used;
}

size_t apus_tcp_layer_time_wait(const struct apus_tcp_layer *layer)
{
	return layer->time_waits.used;
}

uint32_t apus_tcp_isn(const struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
		      int64_t now_ns)
{
	struct apus_endpoint local = {.addr = key->local, .port = key->local_port};
	struct apus_endpoint remote = {.addr = key->remote, .port = key->remote_port};

	return apus_isn(&layer->isn_key, &local, &remote, now_ns);
}
