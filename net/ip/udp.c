/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/udp.c: the User Datagram Protocol (RFC 768, RFC 1122 §4.1, RFC 8085, RFC 6056).
 *
 * Input: length, checksum, socket, queue; each "no" has a name, and "no socket" is told to the
 * sender. A datagram may be shorter than the packet that carries it (RFC 768 has its own length):
 * what is behind it is cut off.
 *
 * Where a queue ends: 256 datagrams per socket, and half the pool for all sockets together, so that
 * readers who do not read cannot starve those who do of receive buffers.
 *
 * Entry points: apus_udp_input(), apus_udp_icmp_error() up; apus_udp_attach(), apus_udp_pop() for
 * net/socket/udp.c. The way down is udp_output.c.
 */
#include "net/ip/udp.h"
#include "net/ip/mbuf.h"
#include "net/link/rss.h"
#include "net/link/steer.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ethdev.h>
#include <rte_udp.h>
#include <string.h>

#define HASH_SHIFT (64 - 10)
static_assert(1u << (64 - HASH_SHIFT) == APUS_UDP_BUCKETS, "the hash's top bits are the bucket");
static_assert((APUS_UDP_QUEUE_MAX & (APUS_UDP_QUEUE_MAX - 1)) == 0, "positions wrap");

#define PORTS (APUS_UDP_PORT_LAST - APUS_UDP_PORT_FIRST + 1)

static const char *const counter_names[] = {APUS_UDP_COUNTERS(APUS_COUNTER_NAME)};

/* --- the tables ----------------------------------------------------------------------------- */

static struct apus_list *bound_bucket(const struct apus_udp_layer *layer, uint16_t port)
{
	return &layer->bound[(port * layer->hash_key) >> HASH_SHIFT];
}

static struct apus_list *connected_bucket(const struct apus_udp_layer *layer, uint16_t port,
					  uint32_t remote, uint16_t remote_port)
{
	uint64_t key = (uint64_t)remote << 32 | (uint32_t)port << 16 | remote_port;

	return &layer->connected[(key * layer->hash_key) >> HASH_SHIFT];
}

/* In network order. 0 is "any" and takes part in every address. */
static bool addr_overlaps(uint32_t a, uint32_t b)
{
	return a == b || !a || !b;
}

static struct apus_udp *find_bound(const struct apus_udp_layer *layer, uint32_t addr, uint16_t port)
{
	struct apus_list *head = bound_bucket(layer, port), *it;

	apus_list_for_each(it, head) {
		struct apus_udp *u = apus_list_entry(it, struct apus_udp, link);

		if (u->local.port == port && addr_overlaps(apus_addr_to_v4(u->local.addr), addr))
			return u;
	}
	return NULL;
}

static struct apus_udp *find_connected(const struct apus_udp_layer *layer, uint32_t addr,
				       uint16_t port, uint32_t remote, uint16_t remote_port)
{
	struct apus_list *head = connected_bucket(layer, port, remote, remote_port), *it;

	apus_list_for_each(it, head) {
		struct apus_udp *u = apus_list_entry(it, struct apus_udp, link);

		if (u->local.port == port && u->remote.port == remote_port &&
		    apus_addr_to_v4(u->remote.addr) == remote &&
		    addr_overlaps(apus_addr_to_v4(u->local.addr), addr))
			return u;
	}
	return NULL;
}

/* The socket of a datagram: the one with that peer goes first. */
static inline struct apus_udp *find_socket(const struct apus_udp_layer *layer,
					   const struct rte_ipv4_hdr *ip,
					   const struct rte_udp_hdr *h)
{
	uint16_t port = rte_be_to_cpu_16(h->dst_port);
	struct apus_udp *u = NULL;

	if (layer->connected_count)
		u = find_connected(layer, ip->dst_addr, port, ip->src_addr,
				   rte_be_to_cpu_16(h->src_port));
	return u ? u : find_bound(layer, ip->dst_addr, port);
}

/* --- up ------------------------------------------------------------------------------------- */

static bool checksum_good(struct apus_udp_layer *layer, const struct rte_mbuf *m,
			  const struct rte_udp_hdr *h)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	uint64_t told = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (h->dgram_cksum == 0) { /* RFC 768: the sender made none */
		layer->counters[APUS_UDP_RX_NO_CHECKSUM]++;
		return true;
	}
	if (told == RTE_MBUF_F_RX_L4_CKSUM_GOOD || told == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return true; /* NONE: there is none in the packet, but the data was verified */

	uint16_t bytes = rte_be_to_cpu_16(h->dgram_len);
	uint64_t sum = apus_sum_pseudo(ip->src_addr, ip->dst_addr, IPPROTO_UDP, bytes);

	return apus_sum_is_right(apus_sum_add(apus_mbuf_sum(m, m->l3_len, bytes), sum));
}

/* Return: what is wrong with it; APUS_UDP_COUNTER_COUNT if nothing */
static APUS_NOINLINE enum apus_udp_counter check(struct apus_udp_layer *layer, struct rte_mbuf *m)
{
	if (apus_unlikely(!apus_mbuf_pull(m, m->l3_len + sizeof(struct rte_udp_hdr))))
		return APUS_UDP_DROP_SHORT;

	const struct rte_udp_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);
	uint16_t bytes = rte_be_to_cpu_16(h->dgram_len);

	if (apus_unlikely(bytes < sizeof(*h) || bytes > m->pkt_len - m->l3_len))
		return APUS_UDP_DROP_LENGTH;
	if (apus_unlikely(!checksum_good(layer, m, h)))
		return APUS_UDP_DROP_CHECKSUM;
	if (apus_unlikely(h->dst_port == 0))
		return APUS_UDP_DROP_PORT_ZERO;
	return APUS_UDP_COUNTER_COUNT;
}

/* Consumes @m. */
static void drop(struct apus_udp_layer *layer, struct rte_mbuf *m, enum apus_udp_counter reason)
{
	layer->counters[reason]++;
	rte_pktmbuf_free(m);
}

/* Consumes @m, which is as long as it says. */
static inline void put(struct apus_udp *u, struct rte_mbuf *m)
{
	u->layer->counters[APUS_UDP_RX_DATAGRAMS]++;
	u->layer->queued++;
	u->queue[u->tail++ % APUS_UDP_QUEUE_MAX] = m;
	if (!apus_waitq_empty(&u->readers))
		apus_waitq_wake_one(&u->readers, 0);
}

/* Consumes @m, a datagram that is as it should be, of @u; NULL: of nobody's. */
static APUS_NOINLINE void deliver(struct apus_udp_layer *layer, struct apus_udp *u,
				  struct rte_mbuf *m, int64_t now_ns)
{
	const struct rte_udp_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);
	uint32_t bytes = m->l3_len + (uint32_t)rte_be_to_cpu_16(h->dgram_len);

	if (!u) {
		apus_icmp_unreachable(layer->icmp, m, APUS_ICMP_UNREACHABLE_PORT, now_ns);
		drop(layer, m, APUS_UDP_DROP_NO_SOCKET);
	} else if (u->tail - u->head == APUS_UDP_QUEUE_MAX) {
		drop(layer, m, APUS_UDP_DROP_QUEUE_FULL);
	} else if (layer->queued >= layer->queued_max) {
		drop(layer, m, APUS_UDP_DROP_QUEUES_FULL);
	} else {
		if (m->pkt_len > bytes)
			apus_mbuf_trim(m, bytes);
		put(u, m);
	}
}

/* Whatever it is. Consumes @m. */
static APUS_NOINLINE void input_slow(struct apus_udp_layer *layer, struct rte_mbuf *m,
				     int64_t now_ns)
{
	enum apus_udp_counter wrong = check(layer, m);

	if (wrong == APUS_UDP_COUNTER_COUNT)
		deliver(layer,
			find_socket(
				layer, apus_ipv4_header(m),
				rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len)),
			m, now_ns);
	else
		drop(layer, m, wrong);
}

/* As apus_mbuf_checksum_good(), of one piece. */
static inline bool is_right(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip,
			    const struct rte_udp_hdr *h, uint32_t bytes)
{
	uint64_t told = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint64_t pseudo = apus_sum_pseudo(ip->src_addr, ip->dst_addr, IPPROTO_UDP, bytes);

	return told == RTE_MBUF_F_RX_L4_CKSUM_GOOD || told == RTE_MBUF_F_RX_L4_CKSUM_NONE ||
	       apus_sum_is_right(apus_sum_add(apus_sum(h, bytes), pseudo));
}

/*
 * What nearly all are: one piece, with a checksum, and nothing behind it, for a socket that has room. No
 * datagram passes here that input_slow() would not let pass.
 */
static APUS_INLINE void input_plain(struct apus_udp_layer *layer, struct rte_mbuf *m,
				    uint32_t bytes, int64_t now_ns)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	const struct rte_udp_hdr *h = (const struct rte_udp_hdr *)((const uint8_t *)ip + m->l3_len);
	struct apus_udp *u;

	if (apus_unlikely(m->data_len != m->pkt_len || bytes < sizeof(*h) ||
			  h->dgram_len != rte_cpu_to_be_16((uint16_t)bytes) || !h->dgram_cksum ||
			  !h->dst_port || !is_right(m, ip, h, bytes))) {
		input_slow(layer, m, now_ns);
		return;
	}
	u = find_socket(layer, ip, h);
	if (apus_likely(u && u->tail - u->head < APUS_UDP_QUEUE_MAX &&
			layer->queued < layer->queued_max))
		put(u, m);
	else
		deliver(layer, u, m, now_ns);
}

/* Apart, as the sum of a long one is a call, for which the short ones would save registers. */
static APUS_NOINLINE void input_long(struct apus_udp_layer *layer, struct rte_mbuf *m,
				     int64_t now_ns)
{
	input_plain(layer, m, m->pkt_len - m->l3_len, now_ns);
}

void apus_udp_input(struct apus_udp_layer *layer, struct rte_mbuf *m, int64_t now_ns)
{
	uint32_t bytes = m->pkt_len - m->l3_len;

	if (bytes >= APUS_SUM_LONG_BYTES)
		input_long(layer, m, now_ns);
	else
		input_plain(layer, m, bytes, now_ns);
}

void apus_udp_icmp_error(struct apus_udp_layer *layer, const struct apus_icmp_error *error,
			 int64_t now_ns)
{
	struct apus_udp *u = find_connected(layer, apus_addr_to_v4(error->local), error->local_port,
					    apus_addr_to_v4(error->remote), error->remote_port);

	if (!u) {
		layer->counters[APUS_UDP_ICMP_NO_SOCKET]++;
		return;
	}
	/* Others are soft (RFC 1122 §4.2.3.9 says so for TCP): the way may come back. */
	if (error->type != APUS_ICMP_UNREACHABLE ||
	    (error->code != APUS_ICMP_UNREACHABLE_PORT &&
	     error->code != APUS_ICMP_UNREACHABLE_PROTOCOL)) {
		layer->counters[APUS_UDP_ICMP_IGNORED]++;
		return;
	}
	layer->counters[APUS_UDP_ICMP_REFUSED]++;
	u->error = -ECONNREFUSED;
	apus_waitq_wake_one(&u->readers, 0);
}

/* --- sockets -------------------------------------------------------------------------------- */

static bool is_taken(const struct apus_udp_layer *layer, const struct apus_endpoint *local,
		     const struct apus_endpoint *remote)
{
	uint32_t addr = apus_addr_to_v4(local->addr);

	return remote ? find_connected(layer, addr, local->port, apus_addr_to_v4(remote->addr),
				       remote->port) != NULL
		      : find_bound(layer, addr, local->port) != NULL;
}

/* Do datagrams of the peer come to this shard by themselves? Without a peer the claim brings them. */
static bool is_home(const struct apus_link *link, const struct apus_endpoint *local,
		    const struct apus_endpoint *remote)
{
	if (!link->rss || !remote)
		return true;

	struct apus_rss_tuple answer = {
		.src = apus_addr_to_v4(remote->addr),
		.dst = apus_addr_to_v4(local->addr),
		.src_port = rte_cpu_to_be_16(remote->port),
		.dst_port = rte_cpu_to_be_16(local->port),
	};

	return apus_rss_shard(link->rss, apus_rss_hash(link->rss, &answer)) == link->shard;
}

/* RFC 6056 §3.3.1, algorithm 1: from a random port on, the first that is free; claimed. Return: 0 if none is */
static uint16_t choose_port(struct apus_udp_layer *layer, struct apus_addr addr,
			    const struct apus_endpoint *remote)
{
	uint32_t start = (uint32_t)apus_random_below(apus_shard_random(layer->shard), PORTS);
	struct apus_link *link = layer->ip->link;

	for (uint32_t i = 0; i < PORTS; i++) {
		struct apus_endpoint local = {
			addr, (uint16_t)(APUS_UDP_PORT_FIRST + (start + i) % PORTS)};

		/* A peer's port that a socket without a peer listens on would be stolen from it. */
		if (is_taken(layer, &local, remote) || is_taken(layer, &local, NULL) ||
		    !is_home(link, &local, remote))
			continue;
		if (apus_steer_udp_claim(link, local.port))
			return local.port;
		apus_steer_udp_release(link, local.port); /* it is another shard's */
	}
	layer->counters[APUS_UDP_PORTS_EXHAUSTED]++;
	return 0;
}

int apus_udp_attach(struct apus_udp_layer *layer, struct apus_endpoint local,
		    const struct apus_endpoint *remote, struct apus_udp **out)
{
	struct apus_addr source;

	if (!apus_addr_is_any(local.addr) && !apus_ipv4_is_ours(layer->ip, local.addr))
		return -EADDRNOTAVAIL;
	if (remote) {
		if (!remote->port || !apus_ipv4_is_unicast(layer->ip, remote->addr))
			return -EADDRNOTAVAIL;
		if (apus_ipv4_source(layer->ip, remote->addr, &source))
			return -ENETUNREACH;
		if (apus_addr_is_any(local.addr))
			local.addr = source;
	}
	if (!local.port)
		local.port = choose_port(layer, local.addr, remote);
	else if (is_taken(layer, &local, remote))
		return -EADDRINUSE;
	else /* alone or with other shards: a service may be on all of them */
		(void)apus_steer_udp_claim(layer->ip->link, local.port);
	if (!local.port)
		return -EADDRINUSE;

	struct apus_udp *u = apus_slab_get(&layer->sockets);

	if (!u) {
		apus_steer_udp_release(layer->ip->link, local.port);
		return -ENOMEM;
	}
	u->layer = layer;
	u->local = local;
	u->remote = remote ? *remote : (struct apus_endpoint){0};
	u->users = 0;
	u->error = 0;
	u->head = u->tail = u->lent = 0;
	apus_waitq_init(&u->readers);
	layer->connected_count += !!remote;
	apus_list_push_back(remote ? connected_bucket(layer, local.port,
						      apus_addr_to_v4(remote->addr), remote->port)
				   : bound_bucket(layer, local.port),
			    &u->link);
	*out = u;
	return 0;
}

void apus_udp_detach(struct apus_udp *u)
{
	struct rte_mbuf *m;

	apus_must(apus_list_linked(&u->link));
	while ((m = apus_udp_pop(u)))
		rte_pktmbuf_free(m);
	u->layer->connected_count -= !!u->remote.port;
	apus_list_remove(&u->link);
	apus_steer_udp_release(u->layer->ip->link, u->local.port);
	apus_waitq_wake_all(&u->readers, -EPIPE);
	if (!u->users)
		apus_slab_put(&u->layer->sockets, u);
}

void apus_udp_put_user(struct apus_udp *u)
{
	apus_must(u->users > 0);
	u->users--;
	if (!u->users && !apus_list_linked(&u->link))
		apus_slab_put(&u->layer->sockets, u);
}

/* --- beginning and end ---------------------------------------------------------------------- */

int apus_udp_layer_init(struct apus_udp_layer *layer, struct apus_shard *shard,
			struct apus_ipv4 *ip, struct apus_icmp *icmp, uint32_t sockets_max)
{
	struct apus_heap *heap = apus_shard_heap(shard);
	struct apus_list *heads = apus_heap_alloc(heap, 2 * APUS_UDP_BUCKETS * sizeof(*heads));
	struct apus_udp_way *ways = apus_heap_zalloc(heap, APUS_UDP_WAYS * sizeof(*ways));

	if (!heads || !ways) {
		apus_heap_free(heap, heads);
		apus_heap_free(heap, ways);
		return -ENOMEM;
	}
	for (size_t i = 0; i < 2 * APUS_UDP_BUCKETS; i++)
		apus_list_init(&heads[i]);
	*layer = (struct apus_udp_layer){
		.ip = ip,
		.icmp = icmp,
		.shard = shard,
		.bound = heads,
		.connected = heads + APUS_UDP_BUCKETS,
		.ways = ways,
		.queued_max = ip->link->pool->size / 2,
		.hash_key = apus_random_u64(apus_shard_random(shard)) | 1,
	};
	apus_slab_init(&layer->sockets, heap, sizeof(struct apus_udp), sockets_max);
	apus_metrics_register(apus_shard_metrics(shard), &layer->metrics, "udp", counter_names,
			      layer->counters, APUS_UDP_COUNTER_COUNT);
	return 0;
}

void apus_udp_layer_fini(struct apus_udp_layer *layer)
{
	apus_slab_fini(&layer->sockets);
	apus_heap_free(apus_shard_heap(layer->shard), layer->bound);
	apus_heap_free(apus_shard_heap(layer->shard), layer->ways);
	apus_metrics_unregister(&layer->metrics);
}
