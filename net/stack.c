/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/stack.c: the corridor: the road up, the rooms' beginning and end.
 *
 * Up by return, down by call: a room says what it found, and the corridor chooses the next door.
 * So the whole road of a packet reads here, and no room knows the ones above it. A burst is walked
 * in stages: fetch the headers, ask Ethernet and IPv4 of every frame, then act; so the memory that
 * the second frame needs is on its way while the first one is read.
 *
 * Each packet that ends here was counted by name in the room that refused it.
 *
 * Invariant: a poll takes at most 4 bursts, so a flood cannot keep the tasks from running.
 */
#include "net/stack.h"
#include "net/ip/gro.h"
#include "net/link/steer.h"
#include "net/stack_internal.h"
#include "net/tcp/fast.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define BURSTS_PER_POLL     4
#define CONNECTIONS_DEFAULT 65536
#define MTU_MIN             68 /* RFC 791 §3.2: what every module must be able to forward */
#define LINGER_STEP_NS      (5 * APUS_MS)

/* --- the road up ---------------------------------------------------------------------------- */

/* Where a frame goes next; the rooms have counted what goes nowhere. */
enum door {
	DOOR_OUT,
	DOOR_ARP,
	DOOR_TCP,
	DOOR_UDP,
	DOOR_ICMP,
	DOOR_UNKNOWN,
};

static APUS_NOINLINE enum door rx_parse(struct apus_stack *s, struct rte_mbuf *m)
{
	switch (apus_eth_input(&s->eth, m)) {
	case APUS_ETH_ARP:
		return DOOR_ARP;
	case APUS_ETH_IPV4:
		break;
	case APUS_ETH_DROP:
		return DOOR_OUT;
	}

	switch (apus_ipv4_input(&s->ipv4, m)) {
	case APUS_IPV4_TCP:
		return DOOR_TCP;
	case APUS_IPV4_UDP:
		return DOOR_UDP;
	case APUS_IPV4_ICMP:
		return DOOR_ICMP;
	case APUS_IPV4_UNKNOWN:
		return DOOR_UNKNOWN;
	case APUS_IPV4_DROP:
		break;
	}
	return DOOR_OUT;
}

static void tell_transport(struct apus_stack *s, const struct apus_icmp_error *error,
			   int64_t now_ns)
{
	if (error->proto == IPPROTO_TCP)
		apus_tcp_icmp_error(&s->tcp, error, now_ns);
	else
		apus_udp_icmp_error(&s->udp, error, now_ns);
}

static void rx_icmp(struct apus_stack *s, struct rte_mbuf *m, int64_t now_ns)
{
	struct apus_icmp_error error;

	if (apus_icmp_input(&s->icmp, m, now_ns, &error))
		tell_transport(s, &error, now_ns);
}

/* A packet found no neighbour: the transport hears what a router would have said. */
static void on_neighbour_lost(void *arg, const struct rte_mbuf *m, int64_t now_ns)
{
	struct apus_stack *s = arg;
	struct apus_icmp_error error;

	if (apus_icmp_neighbour_lost(m, &error))
		tell_transport(s, &error, now_ns);
}

/* --- what the shards of one address tell each other ----------------------------------------- */

static_assert(sizeof(struct apus_arp_word) <= APUS_STEER_NEWS_BYTES, "fits into the news");

static void tell_shards(void *arg, const struct apus_arp_word *word, bool concerns_us)
{
	struct apus_stack *s = arg;

	apus_steer_tell(s->link, word, sizeof(*word), concerns_us);
}

static void on_news(void *arg, const void *news, size_t bytes)
{
	struct apus_stack *s = arg;
	struct apus_arp_word word;

	apus_assert(bytes == sizeof(word));
	memcpy(&word, news, sizeof(word));
	apus_arp_hearsay(&s->arp, &word, apus_now());
}

/* --- the road up, acting -------------------------------------------------------------------- */

static void rx_act(struct apus_stack *s, struct rte_mbuf *m, enum door door, int64_t now_ns)
{
	switch (door) {
	case DOOR_TCP:
		apus_tcp_input(&s->tcp, m, now_ns);
		return;
	case DOOR_UDP:
		apus_udp_input(&s->udp, m, now_ns);
		return;
	case DOOR_ARP:
		apus_arp_input(&s->arp, m, now_ns);
		return;
	case DOOR_ICMP:
		rx_icmp(s, m, now_ns);
		return;
	case DOOR_UNKNOWN:
		apus_icmp_unreachable(&s->icmp, m, APUS_ICMP_UNREACHABLE_PROTOCOL, now_ns);
		break;
	case DOOR_OUT:
		break;
	}
	rte_pktmbuf_free(m);
}

/* A segment, or a run of them; @c: whose it is, if it may take the short way. */
static void rx_tcp(struct apus_stack *s, struct rte_mbuf *m, struct apus_tcp *c, int64_t now_ns)
{
	if (!c || !apus_tcp_fast_arrives(c, m, now_ns))
		apus_tcp_input(&s->tcp, m, now_ns);
}

/* What is known of a frame before anything is done. */
struct rx_look {
	struct apus_tcp_sought sought; /* of a segment whose connection is looked for */
	struct apus_tcp *owner;        /* whose it is, if it may take the short way */
	enum door door;                /* DOOR_OUT: the rooms are still to be asked */
};

/*
 * All is asked of the frame, as it came, that Ethernet and IPv4 would ask of the plainest one, but for
 * the addresses. What is shorter than this least is padded on Ethernet.
 */
static APUS_INLINE bool rx_is_plain(const struct apus_stack *s, const struct rte_mbuf *m,
				    const struct rte_ipv4_hdr *ip)
{
	return m->data_len >=
		       sizeof(struct rte_ether_hdr) + sizeof(*ip) + sizeof(struct rte_tcp_hdr) &&
	       apus_eth_is_plain(&s->eth, m) &&
	       apus_ipv4_is_plain_shape(m, ip, m->pkt_len - sizeof(struct rte_ether_hdr));
}

/*
 * Is the connection to be looked for at once, or is it a datagram for us? The addresses of a segment
 * are right if a connection has them, and if none has, the frame goes the long way.
 */
static APUS_INLINE void rx_seek(const struct apus_stack *s, const struct rte_mbuf *m,
				struct rx_look *look)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);
	bool is_plain = rx_is_plain(s, m, ip);

	if (apus_likely(is_plain && ip->next_proto_id == IPPROTO_TCP)) {
		look->door = DOOR_TCP;
		apus_tcp_fast_seek(&s->tcp, ip, &look->sought);
		return;
	}
	look->door = DOOR_OUT;
	if (is_plain && ip->next_proto_id == IPPROTO_UDP && apus_ipv4_is_plain_way(&s->ipv4, ip))
		look->door = DOOR_UDP;
}

/* Is its door known? Then both headers are taken off, but not counted; else nothing is done. */
static APUS_INLINE bool rx_find(struct apus_stack *s, struct rte_mbuf *m, struct rx_look *look)
{
	if (apus_likely(look->door == DOOR_TCP)) {
		look->owner = apus_tcp_fast_find(&s->tcp, &look->sought);
		if (apus_unlikely(!look->owner))
			return false;
		apus_tcp_fast_prefetch(look->owner);
	} else {
		look->owner = NULL;
		if (look->door != DOOR_UDP)
			return false;
	}
	apus_eth_take_plain(m);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	return true;
}

static void rx_count(struct apus_stack *s, uint16_t found)
{
	s->eth.counters[APUS_ETH_RX_FRAMES] += found;
	s->ipv4.counters[APUS_IPV4_RX_PACKETS] += found;
}

/* Whose is each frame, and if nobody's, where does it go? */
static APUS_NOINLINE void rx_look(struct apus_stack *s, struct rte_mbuf **frames,
				  struct rx_look *looks, uint16_t count)
{
	uint16_t sought = apus_tcp_fast_is_on(&s->tcp) ? count : 0, found = 0;

	for (uint16_t i = 0; i < sought; i++)
		rx_seek(s, frames[i], &looks[i]);
	for (uint16_t i = 0; i < sought; i++) {
		if (apus_likely(rx_find(s, frames[i], &looks[i])))
			found++;
		else
			looks[i].door = rx_parse(s, frames[i]);
	}
	rx_count(s, found);
	for (uint16_t i = sought; i < count; i++) {
		looks[i].owner = NULL;
		looks[i].door = rx_parse(s, frames[i]);
	}
}

/*
 * The first of @count frames; if segments follow it that go on where it ends, all of them as one.
 * Return: how many.
 */
static APUS_NOINLINE uint16_t rx_act_run(struct apus_stack *s, struct rte_mbuf **frames,
					 const struct rx_look *looks, uint16_t count,
					 int64_t now_ns)
{
	struct apus_gro gro;
	uint16_t n = 1;

	if (looks->door != DOOR_TCP) {
		rx_act(s, frames[0], looks->door, now_ns);
		return 1;
	}
	apus_gro_init(&gro);
	if (s->tcp.options.no_gro || !apus_gro_begin(&gro, frames[0])) {
		rx_tcp(s, frames[0], looks->owner, now_ns);
		return 1;
	}
	while (n < count && looks[n].door == DOOR_TCP && apus_gro_join(&gro, frames[n]))
		n++;
	rx_tcp(s, apus_gro_end(&gro), looks->owner, now_ns);
	return n;
}

/*
 * In the order in which they came. Where the next is known to be another connection's, no run is
 * begun.
 */
static APUS_INLINE void rx_act_burst(struct apus_stack *s, struct rte_mbuf **frames,
				     struct rx_look *looks, uint16_t count, int64_t now_ns)
{
	const struct rx_look *end = looks + count;

	looks[count].owner = NULL;
	while (looks != end) {
		struct apus_tcp *c = looks->owner;
		uint16_t n;

		if (apus_likely(c && c != looks[1].owner)) {
			rx_tcp(s, *frames++, c, now_ns);
			looks++;
			continue;
		}
		if (!c && looks->door == DOOR_UDP) {
			apus_udp_input(&s->udp, *frames++, now_ns);
			looks++;
			continue;
		}
		n = rx_act_run(s, frames, looks, (uint16_t)(end - looks), now_ns);
		frames += n;
		looks += n;
	}
}

/* A frame that came alone: there is nothing to fetch or to find ahead. */
static void rx_single(struct apus_stack *s, struct rte_mbuf *m, int64_t now_ns)
{
	struct rx_look look;

	if (apus_tcp_fast_is_on(&s->tcp)) {
		rx_seek(s, m, &look);
		if (apus_likely(rx_find(s, m, &look))) {
			rx_count(s, 1);
			if (look.owner)
				rx_tcp(s, m, look.owner, now_ns);
			else
				apus_udp_input(&s->udp, m, now_ns);
			return;
		}
	}
	rx_act(s, m, rx_parse(s, m), now_ns);
}

static void rx_burst(struct apus_stack *s, struct rte_mbuf **frames, uint16_t count, int64_t now_ns)
{
	struct rx_look looks[APUS_LINK_BURST_MAX + 1];

	if (count == 1) {
		rx_single(s, frames[0], now_ns);
		return;
	}
	for (uint16_t i = 0; i < count; i++)
		rte_prefetch0(rte_pktmbuf_mtod(frames[i], const void *));
	rx_look(s, frames, looks, count);
	rx_act_burst(s, frames, looks, count, now_ns);
}

/* --- the shard's hook ----------------------------------------------------------------------- */

static struct apus_stack *stack_of(struct apus_poller *p)
{
	return apus_container_of(p, struct apus_stack, poller);
}

static bool stack_poll(struct apus_poller *p, int64_t now_ns)
{
	struct apus_stack *s = stack_of(p);
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t count = APUS_LINK_BURST_MAX;
	bool any = false;

	for (int i = 0; i < BURSTS_PER_POLL && count == APUS_LINK_BURST_MAX; i++) {
		count = apus_link_rx(s->link, frames, APUS_LINK_BURST_MAX, now_ns);
		if (!i && (count || apus_unlikely(s->tcp.memory.level)))
			apus_tcp_turn_begins(&s->tcp);
		if (!count)
			break;
		rx_burst(s, frames, count, now_ns);
		any = true;
	}
	return any;
}

static void stack_flush(struct apus_poller *p, int64_t now_ns)
{
	struct apus_stack *s = stack_of(p);

	apus_tcp_flush(&s->tcp, now_ns);
	apus_eth_flush(&s->eth, now_ns);
}

/* A call from outside of a turn leaves what it has to say for the next flush. */
static bool has_to_flush(const struct apus_stack *s)
{
	return s->eth.tx_count || apus_tcp_has_to_flush(&s->tcp);
}

static int64_t stack_idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	struct apus_stack *s = stack_of(p);
	int64_t link_ns = apus_link_idle(s->link, what, now_ns);

	return has_to_flush(s) ? now_ns : link_ns;
}

static const struct apus_poller_type stack_poller = {
	.name = "stack",
	.poll = stack_poll,
	.flush = stack_flush,
	.idle = stack_idle,
};

/* --- beginning and end ---------------------------------------------------------------------- */

/* All of our addresses, and none of them the broadcast address? */
static bool in_prefix(const struct apus_stack_options *o)
{
	uint64_t first = rte_be_to_cpu_32(apus_addr_to_v4(o->addr));
	uint64_t mask = UINT32_MAX >> o->prefix_bits;

	return o->prefix_bits < 31 && (first & mask) + o->more_addrs < mask;
}

static bool options_valid(const struct apus_stack_options *o, const struct apus_link *link)
{
	uint32_t first = rte_be_to_cpu_32(apus_addr_to_v4(o->addr)) >> 24;

	if (!apus_addr_is_v4(o->addr) || o->prefix_bits < 1 || o->prefix_bits > 32)
		return false;
	if (first == 0 || first == IN_LOOPBACKNET || first >= 224) /* groups, reserved */
		return false;
	if (o->more_addrs && !in_prefix(o))
		return false;
	return !o->mtu || (o->mtu >= MTU_MIN && o->mtu <= link->mtu);
}

/* The rooms in floor order: the dependencies of the stack are what is passed here. */
static int init_rooms(struct apus_stack *s, const struct apus_stack_options *o)
{
	struct apus_addr any = {0};
	uint32_t connections = o->connections_max ? o->connections_max : CONNECTIONS_DEFAULT;
	int rc;

	apus_eth_init(&s->eth, s->shard, s->link, 0);
	rc = apus_arp_init(&s->arp, s->shard, &s->eth, o->addr, o->prefix_bits);
	if (rc)
		goto err_eth;
	s->arp.more = o->more_addrs;
	apus_route_init(&s->routes);
	rc = apus_route_add(&s->routes, o->addr, o->prefix_bits, any);
	if (!rc && !apus_addr_is_any(o->gateway))
		rc = apus_route_add(&s->routes, any, 0, o->gateway);
	if (rc)
		goto err_arp;
	apus_ipv4_init(&s->ipv4, s->shard, &s->arp, &s->routes, o->mtu ? o->mtu : s->link->mtu);
	apus_icmp_init(&s->icmp, s->shard, &s->ipv4);
	rc = apus_udp_layer_init(&s->udp, s->shard, &s->ipv4, &s->icmp, APUS_UDP_SOCKETS_MAX);
	if (rc)
		goto err_icmp;
	rc = apus_tcp_layer_init(&s->tcp, s->shard, &s->ipv4, &o->tcp, connections);
	if (rc)
		goto err_udp;
	return 0;

err_udp:
	apus_udp_layer_fini(&s->udp);
err_icmp:
	apus_icmp_fini(&s->icmp);
	apus_ipv4_fini(&s->ipv4);
err_arp:
	apus_arp_fini(&s->arp);
err_eth:
	apus_eth_fini(&s->eth);
	return rc == -ENETUNREACH ? -EINVAL : rc; /* the gateway is on no network of ours */
}

int apus_stack_open(struct apus_shard *shard, struct apus_link *link,
		    const struct apus_stack_options *options, struct apus_stack **out)
{
	struct apus_stack *s = NULL;
	int rc = -EINVAL;

	if (!options_valid(options, link))
		goto err_link;
	rc = -ENOMEM;
	s = apus_heap_zalloc(apus_shard_heap(shard), sizeof(*s));
	if (!s)
		goto err_link;
	s->shard = shard;
	s->link = link;
	rc = link->wake_fd < 0 ? 0 : apus_shard_watch(shard, link->wake_fd, APUS_WAKER_PACKETS);
	if (rc)
		goto err_free;
	rc = init_rooms(s, options);
	if (rc)
		goto err_unwatch;

	apus_arp_on_lost(&s->arp, on_neighbour_lost, s);
	if (link->rss) {
		apus_arp_on_heard(&s->arp, tell_shards, s);
		apus_steer_on_news(link, on_news, s);
	}
	apus_poller_register(shard, &s->poller, &stack_poller);
	apus_shard_set_slot(shard, APUS_STACK_SLOT, s);
	if (!link->is_l3 && link->shard == 0) /* the first speaks for all who have the address */
		apus_arp_announce(&s->arp, apus_now());
	*out = s;
	return 0;

err_unwatch:
	if (link->wake_fd >= 0)
		apus_shard_unwatch(shard, link->wake_fd);
err_free:
	apus_heap_free(apus_shard_heap(shard), s);
err_link:
	apus_link_close(link);
	return rc;
}

void apus_stack_close(struct apus_stack *s)
{
	struct apus_shard *shard = s->shard;

	apus_shard_set_slot(shard, APUS_STACK_SLOT, NULL);
	apus_poller_unregister(&s->poller);
	apus_arp_on_lost(&s->arp, NULL, NULL);
	apus_steer_on_news(s->link, NULL, NULL);
	apus_tcp_layer_fini(&s->tcp);
	apus_udp_layer_fini(&s->udp);
	apus_icmp_fini(&s->icmp);
	apus_ipv4_fini(&s->ipv4);
	apus_arp_fini(&s->arp);
	apus_eth_fini(&s->eth);
	if (s->link->wake_fd >= 0)
		apus_shard_unwatch(shard, s->link->wake_fd);
	apus_link_close(s->link);
	apus_heap_free(apus_shard_heap(shard), s);
}

struct apus_stack *apus_stack_self(void)
{
	return apus_shard_slot(apus_shard_self(), APUS_STACK_SLOT);
}

int apus_stack_linger(struct apus_stack *s, int64_t ns)
{
	int64_t end_ns = apus_now() + ns;

	while (apus_tcp_layer_open(&s->tcp)) {
		if (apus_now() >= end_ns)
			return -ETIMEDOUT;

		int rc = apus_sleep_until(apus_min(apus_now() + LINGER_STEP_NS, end_ns));

		if (rc)
			return rc;
	}
	return 0;
}
