/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/shards.c: what a host with several shards has: a network card with queues, the rule by
 * which flows belong to shards, and the fabric that joins them.
 *
 *	stacks -> steer (one a shard) -> queue (one a shard) -> card -> impair -> end of a wire
 *
 * It is what runs behind a NIC, with two things put in chance's hands. The card chooses the queue by
 * the shards' own rule, or by another one, as devices do that cannot be told; and what one shard
 * says to another takes as long as the seed likes, so that words of different shards overtake each
 * other.
 *
 * Whoever polls a queue takes everything out of the wire's end first, and spreads it. A queue that
 * is full loses what is for it.
 *
 * Entry points: apus_sim_board_open(), apus_sim_board_plug(), apus_sim_board_close().
 */
#include "net/link/rss.h"
#include "net/link/steer.h"
#include "net/sim/internal.h"
#include "runtime/base/check.h"
#include "runtime/cross/mailbox.h"

#include <errno.h>

#define QUEUES_MAX    64
#define QUEUE_DEFAULT 1024
#define QUEUE_MAX     (1U << 20)
#define CHANGE_EVERY  50 /* frames, on average, until a changing card takes another key */

struct queue {
	struct rte_mbuf **frames; /* a ring of board->queue_size */
	uint32_t first, used;     /* first is not wrapped */
};

/* One shard's view of the card. */
struct port {
	struct apus_link link; /* first */
	struct apus_sim_board *board;
	unsigned int index;
};

struct apus_sim_board {
	struct apus_sim_host *host;
	struct apus_heap *heap; /* the world's */
	struct apus_cross *cross;
	struct apus_steer *steer;
	struct apus_link *inner;   /* the wire, impaired; NULL before it is plugged in */
	struct apus_random random; /* the card's, and the fabric's */
	enum apus_sim_spread spread;
	int64_t message_ns;
	uint32_t queue_size; /* frames */
	unsigned int queue_count, tx_queues;
	struct queue queues[QUEUES_MAX];
	struct port ports[APUS_RSS_SHARDS_MAX];
	struct apus_rss rss;  /* whose a flow is */
	struct apus_rss card; /* what the card goes by */
};

/* --- The card ------------------------------------------------------------------------------ */

static void draw_card(struct apus_sim_board *b)
{
	uint8_t key[APUS_RSS_KEY_BYTES];
	int rc;

	apus_rss_key_draw(&b->random, key, sizeof(key));
	rc = apus_rss_init(&b->card, key, sizeof(key), b->rss.shards, b->queue_count, NULL, 0);
	apus_must(rc == 0);
}

static unsigned int choose_queue(struct apus_sim_board *b, const struct rte_mbuf *m)
{
	const struct apus_rss *rule = b->spread == APUS_SIM_SPREAD_RIGHT ? &b->rss : &b->card;
	struct apus_rss_flow flow;

	if (b->spread == APUS_SIM_SPREAD_FIRST)
		return 0;
	if (b->spread == APUS_SIM_SPREAD_CHANGING && !apus_random_below(&b->random, CHANGE_EVERY))
		draw_card(b);
	apus_rss_flow_of(m, &flow);
	return rule->queue[apus_rss_hash(rule, &flow.tuple) & (rule->entries - 1u)];
}

/* Consumes @m. */
static void spread(struct apus_sim_board *b, struct rte_mbuf *m)
{
	struct queue *q = &b->queues[choose_queue(b, m)];

	if (q->used == b->queue_size) {
		b->ports[0].link.counters[APUS_LINK_RX_DROP_FULL]++;
		rte_pktmbuf_free(m);
		return;
	}
	q->frames[(q->first + q->used++) % b->queue_size] = m;
}

static void pull(struct apus_sim_board *b, int64_t now_ns)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t n;

	while ((n = apus_link_rx(b->inner, frames, APUS_LINK_BURST_MAX, now_ns)))
		for (uint16_t i = 0; i < n; i++)
			spread(b, frames[i]);
}

static struct port *port_of(struct apus_link *link)
{
	return apus_container_of(link, struct port, link);
}

static uint16_t port_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			int64_t now_ns)
{
	struct apus_sim_board *b = port_of(link)->board;
	uint16_t got = 0;

	if (port_of(link)->index >= b->queue_count)
		return 0;
	pull(b, now_ns);
	for (unsigned int i = port_of(link)->index; i < b->queue_count; i += b->rss.shards) {
		struct queue *q = &b->queues[i];

		for (; got < n && q->used > 0; q->used--)
			frames[got++] = q->frames[q->first++ % b->queue_size];
	}
	apus_link_count(link, APUS_LINK_RX_FRAMES, frames, got);
	return got;
}

static void port_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	apus_must_op(port_of(link)->index, <, port_of(link)->board->tx_queues);
	apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
	apus_link_tx(port_of(link)->board->inner, frames, n, now_ns);
}

static int64_t port_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct apus_sim_board *b = port_of(link)->board;

	if (port_of(link)->index >= b->queue_count)
		return APUS_NEVER;
	for (unsigned int i = port_of(link)->index; i < b->queue_count; i += b->rss.shards)
		if (b->queues[i].used > 0)
			return now_ns;
	return apus_link_idle(b->inner, what, now_ns);
}

/* The card goes with the board. */
static void port_close(struct apus_link *link)
{
	apus_link_fini(link);
}

static const struct apus_link_type port_type = {
	.name = "sim-queue",
	.rx = port_rx,
	.tx = port_tx,
	.idle = port_idle,
	.close = port_close,
};

/* --- The fabric ---------------------------------------------------------------------------- */

static int64_t message_delay(void *arg, unsigned int from, unsigned int to)
{
	struct apus_sim_board *b = arg;

	return (int64_t)apus_random_below(&b->random, (uint64_t)b->message_ns + 1);
}

static int join(struct apus_sim_board *b)
{
	struct apus_cross_options options = {
		.delay_ns = b->message_ns ? message_delay : NULL,
		.delay_arg = b,
	};
	struct apus_shard *shards[APUS_RSS_SHARDS_MAX];

	for (uint32_t i = 0; i < b->host->count; i++)
		shards[i] = b->host->members[i].shard;
	return apus_cross_open(shards, b->host->count, &options, &b->cross);
}

/* --- Entry points -------------------------------------------------------------------------- */

uint32_t apus_sim_board_first(struct apus_sim_host *h)
{
	return h->board ? (uint32_t)apus_random_below(&h->board->random, h->count) : 0;
}

static int init_card(struct apus_sim_board *b)
{
	uint8_t key[APUS_RSS_KEY_BYTES];
	int rc;

	apus_rss_key_draw(&b->random, key, sizeof(key));
	rc = apus_rss_init(&b->rss, key, sizeof(key), b->host->count, b->queue_count, NULL, 0);
	if (rc < 0)
		return rc;
	draw_card(b);
	for (unsigned int i = 0; i < b->queue_count; i++) {
		b->queues[i].frames =
			apus_heap_alloc(b->heap, b->queue_size * sizeof(struct rte_mbuf *));
		if (!b->queues[i].frames)
			return -ENOMEM;
	}
	return 0;
}

int apus_sim_board_open(struct apus_sim_host *h, const struct apus_sim_host_options *o)
{
	struct apus_sim_board *b;
	int rc;

	if (h->count > APUS_RSS_SHARDS_MAX || o->queues > QUEUES_MAX ||
	    o->queue_frames > QUEUE_MAX || o->message_ns < 0)
		return -EINVAL;
	b = apus_heap_zalloc(&h->world->heap, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->host = h;
	b->heap = &h->world->heap;
	apus_random_init_seed(&b->random, apus_random_u64(&h->world->random));
	b->spread = o->spread;
	b->message_ns = o->message_ns;
	b->queue_size = o->queue_frames ? o->queue_frames : QUEUE_DEFAULT;
	b->queue_count = o->queues ? o->queues : h->count;
	b->tx_queues = apus_min(b->queue_count, h->count);
	rc = init_card(b);
	if (rc == 0)
		rc = join(b);
	if (rc == 0)
		rc = apus_steer_open(&b->rss, b->tx_queues, &b->steer);
	if (rc < 0) {
		apus_sim_board_close(b);
		return rc;
	}
	h->board = b;
	return 0;
}

void apus_sim_board_close(struct apus_sim_board *b)
{
	struct apus_shard *before = apus_shard_self();

	if (!b)
		return;
	apus_cross_close(b->cross);
	if (b->steer)
		apus_steer_close(b->steer);
	if (b->inner) {
		apus_shard_enter(b->host->members[0].shard);
		apus_link_close(b->inner);
		apus_shard_enter(before);
	}
	for (unsigned int i = 0; i < b->queue_count; i++) {
		struct queue *q = &b->queues[i];

		for (; q->used > 0; q->used--)
			rte_pktmbuf_free(q->frames[q->first++ % b->queue_size]);
		apus_heap_free(b->heap, q->frames);
	}
	apus_heap_free(b->heap, b);
}

/* A link of shard @index, as that of a device: what is its own is its counters. */
static int plug_one(struct apus_sim_board *b, unsigned int index)
{
	struct apus_sim_member *m = &b->host->members[index];
	struct port *p = &b->ports[index];
	struct apus_link *link;
	int rc;

	apus_shard_enter(m->shard);
	apus_link_wrap(&p->link, &port_type, b->inner);
	p->board = b;
	p->index = index;
	rc = apus_steer_wrap(b->steer, &p->link, &link);
	if (rc == 0)
		rc = apus_stack_open(m->shard, link, &b->host->stack_options, &m->stack);
	return rc;
}

int apus_sim_board_plug(struct apus_sim_host *h, struct apus_link *link)
{
	struct apus_shard *before = apus_shard_self();
	int rc = 0;

	h->board->inner = link;
	for (unsigned int i = 0; rc == 0 && i < h->count; i++)
		rc = plug_one(h->board, i);
	apus_shard_enter(before);
	return rc;
}
