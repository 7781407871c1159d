/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/sim.c: a wire in a simulated world.
 *
 * Each end has a ring of the frames that are on their way to it, in order of arrival: with one
 * delay for all, that is the order of sending, except where ends of a switch send at limited rates.
 *
 * A frame on the wire lives in the receiver's pool, as a frame in a NIC's receive ring does, so a
 * host whose pool is empty loses what is sent to it, and never what it sends. The sender may keep
 * references to what it sent (a TCP does, to send it again), so only a frame that nobody else holds
 * is moved; the receiver may write into what it gets.
 *
 * Invariants: a ring is sorted by arrives_ns; an end that is down has an empty ring.
 *
 * Entry points: apus_sim_wire_open(), apus_sim_end_open(), and the link's rx, tx, idle and close.
 */
#include "net/link/sim.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <rte_ip.h>

#define MTU_DEFAULT  1500
#define L2_BYTES_MAX (RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN)
#define RATE_BPS_MAX (UINT64_C(1) << 50)
#define DELAY_NS_MAX (3600 * APUS_SEC)
#define OFFLOADS_KNOWN                                                                          \
 (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | \
  RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)

#define QUEUE_BYTES_MAX (1U << 30)

struct coming {
	int64_t arrives_ns;
	struct rte_mbuf *m;
};

struct end {
	struct apus_link link; /* first */
	struct apus_sim_wire *wire;
	struct coming *ring;   /* wire->ring_size entries */
	uint32_t first;        /* index of the next to arrive, not wrapped */
	uint32_t used;         /* on their way, at most the wire's queue_frames */
	int64_t busy_until_ns; /* when what it sent before has left, at the wire's rate */
	uint64_t sent;         /* frames; for lose_every */
	unsigned int number;   /* in wire->ends */
	bool up;
	bool is_congested; /* the frame that is being sent met a queue beyond mark_bytes */
	uint64_t counters[APUS_SIM_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

struct apus_sim_wire {
	struct apus_heap *heap;
	struct apus_sim_wire_options options; /* with the defaults filled in */
	int64_t queue_ns, mark_ns;            /* queue_bytes, mark_bytes at the rate; 0: none */
	uint32_t ring_size;                   /* a power of two, >= queue_frames */
	uint32_t opened;                      /* ends ever opened: the next one's number */
	uint32_t holders;                     /* the opener and the open ends */
	apus_sim_trace_fn trace;              /* NULL: nobody looks */
	void *trace_arg;
	struct end *ends[]; /* ends_max; NULL once closed */
};

static const char *const counter_names[] = {APUS_SIM_COUNTERS(APUS_COUNTER_NAME)};

static struct end *end_of(const struct apus_link *link)
{
	return apus_container_of(link, struct end, link);
}

/* --- The ring of one end ------------------------------------------------------------------- */

static struct coming *coming_at(const struct end *e, uint32_t i)
{
	return &e->ring[(e->first + i) & (e->wire->ring_size - 1)];
}

/* There is room: the caller looked. */
static void coming_push(struct end *e, struct rte_mbuf *m, int64_t arrives_ns)
{
	uint32_t at = e->used++;

	apus_assert(e->used <= e->wire->ring_size);
	/* Later only than those of a faster end of the switch: on a wire of two the loop never runs. */
	for (; at > 0 && coming_at(e, at - 1)->arrives_ns > arrives_ns; at--)
		*coming_at(e, at) = *coming_at(e, at - 1);
	*coming_at(e, at) = (struct coming){.arrives_ns = arrives_ns, .m = m};
}

static struct rte_mbuf *coming_pop(struct end *e)
{
	struct rte_mbuf *m = coming_at(e, 0)->m;

	e->first++;
	e->used--;
	return m;
}

static void coming_drop_all(struct end *e)
{
	while (e->used > 0)
		rte_pktmbuf_free(coming_pop(e));
}

/* --- From one end to the others ------------------------------------------------------------ */

/* Can the receiver have @m itself? Then nobody else may hold any of it. */
static bool can_move(const struct rte_mbuf *m, const struct rte_mempool *pool)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1 || m->pool != pool)
			return false;
	return true;
}

/* The same, if it does not mind that others hold the bytes. */
static bool can_lend(const struct rte_mbuf *m, const struct rte_mempool *pool)
{
	for (const struct rte_mbuf *s = m; s; s = s->next)
		if (s->pool != pool || rte_mbuf_refcnt_read(s) != 1)
			return false;
	return RTE_MBUF_DIRECT(m); /* headers are written to, on the way through a stack */
}

/* What only the sender's side of a device may say about a frame; what it left out is good. */
static void forget_sender(struct rte_mbuf *m)
{
	uint64_t flags = m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
	uint16_t segment_bytes = 0;

	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
		flags |= RTE_MBUF_F_RX_IP_CKSUM_NONE;
	if (m->ol_flags & RTE_MBUF_F_TX_L4_MASK)
		flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		flags |= RTE_MBUF_F_RX_LRO;
		segment_bytes = m->tso_segsz;
	}
	m->ol_flags = flags;
	m->tx_offload = 0;
	m->tso_segsz = segment_bytes;
	m->packet_type = 0;
	m->vlan_tci = 0;
	m->hash.rss = 0;
}

/* RFC 3168 §5: a frame of ours alone, that says it may be marked. */
static void mark_congestion(struct end *from, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	if (m->data_len < sizeof(*eth) + sizeof(*ip) ||
	    eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
	    !(ip->type_of_service & RTE_IPV4_HDR_ECN_MASK))
		return;
	ip->type_of_service |= RTE_IPV4_HDR_ECN_CE;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	from->counters[APUS_SIM_TX_MARKED]++;
}

/* Is there room for one more on the way to @to? Else it is the sender's loss. */
static bool has_room(struct end *from, const struct end *to)
{
	if (to->used < to->wire->options.queue_frames)
		return true;
	from->link.counters[APUS_LINK_TX_DROP_FULL]++;
	return false;
}

/* Does not consume @m. */
static void deliver_copy(struct end *from, struct end *to, const struct rte_mbuf *m,
			 int64_t arrives_ns)
{
	struct rte_mbuf *copy;

	if (!has_room(from, to))
		return;
	copy = rte_pktmbuf_copy(m, to->link.pool, 0, UINT32_MAX);
	if (!copy) {
		to->link.counters[APUS_LINK_RX_DROP_NO_MBUF]++;
		return;
	}
	copy->ol_flags |= m->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
	copy->tx_offload = m->tx_offload;
	forget_sender(copy);
	if (from->is_congested)
		mark_congestion(from, copy);
	coming_push(to, copy, arrives_ns);
}

/* Consumes @m. */
static void deliver(struct end *from, struct end *to, struct rte_mbuf *m, int64_t arrives_ns)
{
	if (!can_move(m, to->link.pool) &&
	    !(to->wire->options.lend && can_lend(m, to->link.pool))) {
		deliver_copy(from, to, m, arrives_ns);
		rte_pktmbuf_free(m);
		return;
	}
	if (!has_room(from, to)) {
		rte_pktmbuf_free(m);
		return;
	}
	forget_sender(m);
	if (from->is_congested)
		mark_congestion(from, m);
	coming_push(to, m, arrives_ns);
}

/* The end at @number if it can receive. */
static struct end *end_listening(const struct apus_sim_wire *wire, unsigned int number)
{
	struct end *e = number < wire->opened ? wire->ends[number] : NULL;

	return e && e->up ? e : NULL;
}

static void address_of(unsigned int number, struct rte_ether_addr *out)
{
	*out = (struct rte_ether_addr){
		.addr_bytes = {0x02, 0, 0, 0, (number + 1) >> 8, (number + 1) & 0xff}};
}

/* Which end an address belongs to; ends_max if to none. */
static unsigned int number_of(const struct apus_sim_wire *wire, const struct rte_ether_addr *addr)
{
	unsigned int number = (addr->addr_bytes[4] << 8 | addr->addr_bytes[5]) - 1u;
	struct rte_ether_addr same;

	if (number >= wire->options.ends_max)
		return wire->options.ends_max;
	address_of(number, &same);
	return rte_is_same_ether_addr(&same, addr) ? number : wire->options.ends_max;
}

/* To the end it is for, or to all others. Consumes @m. */
static void switch_frame(struct end *from, struct rte_mbuf *m, int64_t arrives_ns)
{
	struct apus_sim_wire *wire = from->wire;
	struct rte_ether_addr room;
	const struct rte_ether_addr *dst = rte_pktmbuf_read(m, 0, sizeof(room), &room);
	unsigned int number = dst ? number_of(wire, dst) : wire->options.ends_max;
	struct end *to;

	if (number < wire->options.ends_max) {
		to = end_listening(wire, number);
		if (to && to != from)
			deliver(from, to, m, arrives_ns);
		else
			rte_pktmbuf_free(m);
		return;
	}
	for (unsigned int i = 0; i < wire->opened; i++) {
		to = end_listening(wire, i);
		if (to && to != from)
			deliver_copy(from, to, m, arrives_ns);
	}
	rte_pktmbuf_free(m);
}

/* How long so many bytes take to leave; there is a rate. */
static int64_t span_ns(const struct apus_sim_wire *wire, uint32_t bytes)
{
	uint64_t rate_bps = wire->options.rate_bps;

	return (int64_t)(((uint64_t)bytes * 8 * APUS_SEC + rate_bps - 1) / rate_bps);
}

/* Does the queue take a frame, and is it so long that it is marked? */
static bool queue_takes(struct end *e, const struct rte_mbuf *m, int64_t now_ns)
{
	const struct apus_sim_wire *wire = e->wire;
	int64_t wait_ns = e->busy_until_ns - now_ns;

	e->is_congested = wire->mark_ns && wait_ns > wire->mark_ns;
	return !wire->queue_ns || wait_ns + span_ns(wire, m->pkt_len) <= wire->queue_ns;
}

/* When a frame that is sent now arrives; the rate lets one frame leave after the other. */
static int64_t arrival_ns(struct end *e, const struct rte_mbuf *m, int64_t now_ns)
{
	if (e->wire->options.rate_bps > 0) {
		e->busy_until_ns =
			apus_max(e->busy_until_ns, now_ns) + span_ns(e->wire, m->pkt_len);
		now_ns = e->busy_until_ns;
	}
	return now_ns + e->wire->options.delay_ns;
}

/* Is @m, or what a device would cut it into, longer than the black hole lets pass? */
static bool falls_into_hole(const struct apus_sim_wire *wire, const struct rte_mbuf *m)
{
	uint32_t bytes = m->pkt_len;

	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		bytes = m->l2_len + m->l3_len + m->l4_len + m->tso_segsz;
	return wire->options.hole_mtu &&
	       bytes > (uint32_t)wire->options.hole_mtu + RTE_ETHER_HDR_LEN;
}

/* Consumes @m. */
static void send_one(struct end *e, struct rte_mbuf *m, int64_t now_ns)
{
	struct apus_sim_wire *wire = e->wire;
	int64_t arrives_ns;

	if (wire->trace)
		wire->trace(wire->trace_arg, e->number, m, now_ns);
	if (!e->up) {
		e->counters[APUS_SIM_TX_DROP_DOWN]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (m->pkt_len > (uint32_t)wire->options.mtu + L2_BYTES_MAX &&
	    !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)) {
		e->counters[APUS_SIM_TX_DROP_TOO_LONG]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (falls_into_hole(wire, m)) {
		e->counters[APUS_SIM_TX_DROP_HOLE]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (wire->options.lose_every && ++e->sent % wire->options.lose_every == 0) {
		e->counters[APUS_SIM_TX_LOST]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (!queue_takes(e, m, now_ns)) {
		e->counters[APUS_SIM_TX_DROP_QUEUE]++;
		rte_pktmbuf_free(m);
		return;
	}
	arrives_ns = arrival_ns(e, m, now_ns);
	if (wire->options.ends_max > 2) {
		switch_frame(e, m, arrives_ns);
		return;
	}
	if (end_listening(wire, 1 - e->number))
		deliver(e, wire->ends[1 - e->number], m, arrives_ns);
	else
		rte_pktmbuf_free(m);
}

/* --- As a link ----------------------------------------------------------------------------- */

static uint16_t sim_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct end *e = end_of(link);
	uint16_t taken = 0;

	while (taken < n && e->used > 0 && coming_at(e, 0)->arrives_ns <= now_ns)
		frames[taken++] = coming_pop(e);
	apus_link_count(link, APUS_LINK_RX_FRAMES, frames, taken);
	return taken;
}

static void sim_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
	for (uint16_t i = 0; i < n; i++)
		send_one(end_of(link), frames[i], now_ns);
}

static int64_t sim_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	const struct end *e = end_of(link);

	return e->used > 0 ? coming_at(e, 0)->arrives_ns : APUS_NEVER;
}

static void wire_put(struct apus_sim_wire *wire)
{
	if (--wire->holders == 0)
		apus_heap_free(wire->heap, wire);
}

static void sim_close(struct apus_link *link)
{
	struct end *e = end_of(link);
	struct apus_sim_wire *wire = e->wire;

	coming_drop_all(e);
	wire->ends[e->number] = NULL;
	apus_metrics_unregister(&e->metrics);
	apus_link_fini(link);
	apus_heap_free(wire->heap, e->ring);
	apus_heap_free(wire->heap, e);
	wire_put(wire);
}

static const struct apus_link_type sim_type = {
	.name = "sim",
	.rx = sim_rx,
	.tx = sim_tx,
	.idle = sim_idle,
	.close = sim_close,
};

/* --- Entry points -------------------------------------------------------------------------- */

int apus_sim_wire_open(struct apus_heap *heap, const struct apus_sim_wire_options *options,
		       struct apus_sim_wire **out)
{
	struct apus_sim_wire_options o = options ? *options : (struct apus_sim_wire_options){0};
	struct apus_sim_wire *wire;

	o.queue_frames = o.queue_frames ? o.queue_frames : APUS_SIM_QUEUE_DEFAULT;
	o.ends_max = o.ends_max ? o.ends_max : 2;
	o.mtu = o.mtu ? o.mtu : MTU_DEFAULT;
	if (o.delay_ns < 0 || o.delay_ns > DELAY_NS_MAX || o.rate_bps > RATE_BPS_MAX ||
	    o.queue_frames > APUS_SIM_QUEUE_MAX || o.ends_max < 2 ||
	    o.ends_max > APUS_SIM_ENDS_MAX || o.queue_bytes > QUEUE_BYTES_MAX ||
	    o.mark_bytes > QUEUE_BYTES_MAX || (!o.rate_bps && (o.queue_bytes || o.mark_bytes)) ||
	    (o.offloads & ~OFFLOADS_KNOWN))
		return -EINVAL;

	wire = apus_heap_zalloc(heap, sizeof(*wire) + o.ends_max * sizeof(wire->ends[0]));
	if (!wire)
		return -ENOMEM;
	wire->heap = heap;
	wire->options = o;
	wire->queue_ns = o.queue_bytes ? span_ns(wire, o.queue_bytes) : 0;
	wire->mark_ns = o.mark_bytes ? span_ns(wire, o.mark_bytes) : 0;
	wire->ring_size = rte_align32pow2(o.queue_frames);
	wire->holders = 1;
	*out = wire;
	return 0;
}

void apus_sim_wire_close(struct apus_sim_wire *wire)
{
	wire_put(wire);
}

void apus_sim_wire_trace(struct apus_sim_wire *wire, apus_sim_trace_fn fn, void *arg)
{
	wire->trace = fn;
	wire->trace_arg = arg;
}

size_t apus_sim_wire_in_flight(const struct apus_sim_wire *wire)
{
	size_t frames = 0;

	for (unsigned int i = 0; i < wire->opened; i++)
		if (wire->ends[i])
			frames += wire->ends[i]->used;
	return frames;
}

int apus_sim_end_open(struct apus_sim_wire *wire, struct rte_mempool *pool, struct apus_link **out)
{
	struct end *e;

	if (wire->opened == wire->options.ends_max)
		return -ENOSPC;
	e = apus_heap_zalloc(wire->heap, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->ring = apus_heap_alloc(wire->heap, wire->ring_size * sizeof(e->ring[0]));
	if (!e->ring)
		goto err_free_end;

	apus_link_init(&e->link, &sim_type);
	apus_metrics_register(apus_shard_metrics(apus_shard_self()), &e->metrics, sim_type.name,
			      counter_names, e->counters, APUS_SIM_COUNTER_COUNT);
	e->wire = wire;
	e->number = wire->opened++;
	e->up = true;
	address_of(e->number, &e->link.mac);
	e->link.mtu = wire->options.mtu;
	e->link.tx_offloads = wire->options.offloads;
	e->link.pool = pool;
	e->link.reads_any_memory = true;
	wire->ends[e->number] = e;
	wire->holders++;
	*out = &e->link;
	return 0;

err_free_end:
	apus_heap_free(wire->heap, e);
	return -ENOMEM;
}

void apus_sim_end_set_up(struct apus_link *link, bool up)
{
	struct end *e = end_of(link);

	if (!up)
		coming_drop_all(e);
	e->up = up;
}

unsigned int apus_sim_end_number(const struct apus_link *link)
{
	return end_of(link)->number;
}

uint64_t apus_sim_end_counter(const struct apus_link *link, enum apus_sim_counter counter)
{
	return end_of(link)->counters[counter];
}
