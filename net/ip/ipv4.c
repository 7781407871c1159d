/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/ipv4.c: the Internet Protocol version 4, as a host (RFC 791, RFC 1122).
 *
 * Input is a list of questions, cheap ones first; each "no" has a name. Lengths come first: nothing
 * is read that was not shown to be there, and the checksum covers all of the header, options
 * included. The time to live is not asked for: a host must not discard a packet that has arrived
 * because of it (RFC 1122 §3.2.1.7).
 *
 * Identification is 0: all our packets are atomic (don't-fragment set), for which RFC 6864 §4.1
 * allows any value, and a constant tells nobody how many we send.
 *
 * Entry points: apus_ipv4_input() up, apus_ipv4_output() down.
 *
 * Where we differ: options are stepped over, never obeyed; source-routed packets are dropped.
 * Fragments are dropped by name until reassembly has its room. Groups are not joined.
 */
#include "net/ip/ipv4.h"
#include "net/ip/flow.h"
#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ethdev.h>
#include <string.h>

#define VERSION 4
#define IHL_MIN 5

/* Options, RFC 791 §3.1. */
#define OPTION_END                 0
#define OPTION_NOP                 1
#define OPTION_LOOSE_SOURCE_ROUTE  131
#define OPTION_STRICT_SOURCE_ROUTE 137

static_assert(RTE_PKTMBUF_HEADROOM >= 18 + 20 + 60, "tagged Ethernet, IPv4, and TCP with options");

static const char *const counter_names[] = {APUS_IPV4_COUNTERS(APUS_COUNTER_NAME)};
static const struct rte_ether_addr link_broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

void apus_ipv4_init(struct apus_ipv4 *ip, struct apus_shard *shard, struct apus_arp *arp,
		    struct apus_route_table *routes, uint16_t mtu)
{
	bool has_broadcast = rte_be_to_cpu_32(~arp->mask) > 1; /* RFC 3021: not a /31, /32 */

	*ip = (struct apus_ipv4){
		.link = arp->eth->link,
		.arp = arp,
		.routes = routes,
		.addr = arp->addr,
		.more = arp->more,
		.mask = arp->mask,
		.broadcast = has_broadcast ? arp->addr | ~arp->mask : 0,
		.mtu = mtu,
	};
	apus_pmtu_init(&ip->pmtu, shard);
	apus_metrics_register(apus_shard_metrics(shard), &ip->metrics, "ipv4", counter_names,
			      ip->counters, APUS_IPV4_COUNTER_COUNT);
}

void apus_ipv4_fini(struct apus_ipv4 *ip)
{
	apus_metrics_unregister(&ip->metrics);
	apus_pmtu_fini(&ip->pmtu);
}

/* --- what an address is --------------------------------------------------------------------- */

static uint8_t first_byte(uint32_t addr)
{
	return (uint8_t)(rte_be_to_cpu_32(addr) >> 24);
}

static bool is_multicast(uint32_t addr)
{
	return first_byte(addr) >> 4 == 0xe;
}

static bool is_broadcast(const struct apus_ipv4 *ip, uint32_t addr)
{
	return addr == INADDR_BROADCAST || (ip->broadcast && addr == ip->broadcast);
}

bool apus_ipv4_is_unicast(const struct apus_ipv4 *ip, struct apus_addr addr)
{
	uint32_t v4 = apus_addr_to_v4(addr);
	uint8_t first = first_byte(v4);

	return apus_addr_is_v4(addr) && first != 0 && first != IN_LOOPBACKNET && first < 0xe0 &&
	       !is_broadcast(ip, v4);
}

/* --- up ------------------------------------------------------------------------------------- */

/* Each check_...() returns the counter of what is wrong, or this. */
#define FINE APUS_IPV4_COUNTER_COUNT

/* The header's own shape: RFC 791 §3.1. On FINE it is contiguous, and padding is cut off. */
static enum apus_ipv4_counter check_shape(struct rte_mbuf *m)
{
	if (apus_unlikely(!apus_mbuf_pull(m, sizeof(struct rte_ipv4_hdr))))
		return APUS_IPV4_DROP_SHORT;

	const struct rte_ipv4_hdr *h = apus_ipv4_header(m);
	uint16_t header_bytes = rte_ipv4_hdr_len(h);
	uint16_t total = rte_be_to_cpu_16(h->total_length);

	if (apus_unlikely(h->version_ihl >> 4 != VERSION))
		return APUS_IPV4_DROP_VERSION;
	if (apus_unlikely(header_bytes < IHL_MIN * RTE_IPV4_IHL_MULTIPLIER ||
			  !apus_mbuf_pull(m, header_bytes)))
		return APUS_IPV4_DROP_HEADER_LENGTH;
	if (apus_unlikely(total < header_bytes || total > m->pkt_len))
		return APUS_IPV4_DROP_TOTAL_LENGTH;
	if (m->pkt_len > total)
		apus_mbuf_trim(m, total);
	m->l3_len = header_bytes;
	return FINE;
}

/* RFC 1122 §3.2.1.3: what may not be a source on a wire; our own address is LAND's. */
static enum apus_ipv4_counter check_source(const struct apus_ipv4 *ip, uint32_t src)
{
	uint8_t first = first_byte(src);

	if (apus_ipv4_has(ip, src))
		return APUS_IPV4_DROP_SOURCE_OURS;
	if (first == 0)
		return APUS_IPV4_DROP_SOURCE_THIS_NET;
	if (first == IN_LOOPBACKNET)
		return APUS_IPV4_DROP_SOURCE_LOOPBACK;
	if (is_broadcast(ip, src))
		return APUS_IPV4_DROP_SOURCE_BROADCAST;
	if (is_multicast(src))
		return APUS_IPV4_DROP_SOURCE_MULTICAST;
	if (first >= 0xf0)
		return APUS_IPV4_DROP_SOURCE_RESERVED;
	return FINE;
}

static enum apus_ipv4_counter check_destination(const struct apus_ipv4 *ip,
						const struct rte_mbuf *m, uint32_t dst)
{
	bool link_group = apus_eth_is_group(m);

	if (apus_likely(
		    apus_ipv4_has(ip, dst))) /* RFC 1122 §3.3.6: nobody broadcasts to one host */
		return apus_unlikely(link_group) ? APUS_IPV4_DROP_LINK_BROADCAST : FINE;
	if (is_broadcast(ip, dst))
		return FINE;
	if (is_multicast(dst))
		return APUS_IPV4_DROP_DST_MULTICAST;
	if (first_byte(dst) == IN_LOOPBACKNET)
		return APUS_IPV4_DROP_DST_LOOPBACK;
	return APUS_IPV4_DROP_NOT_OURS;
}

/* RFC 1122 §3.2.1.8: options not understood are stepped over. Each step moves on, within bounds. */
static APUS_COLD enum apus_ipv4_counter check_options(const struct rte_mbuf *m)
{
	const uint8_t *at =
		rte_pktmbuf_mtod_offset(m, const uint8_t *, sizeof(struct rte_ipv4_hdr));
	const uint8_t *end = rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l3_len);

	while (at < end && *at != OPTION_END) {
		if (*at == OPTION_NOP) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2 || at[1] > end - at)
			return APUS_IPV4_DROP_OPTIONS;
		if (*at == OPTION_LOOSE_SOURCE_ROUTE || *at == OPTION_STRICT_SOURCE_ROUTE)
			return APUS_IPV4_DROP_SOURCE_ROUTE;
		at += at[1];
	}
	return FINE;
}

static enum apus_ipv4_counter check(struct apus_ipv4 *ip, struct rte_mbuf *m)
{
	enum apus_ipv4_counter wrong = check_shape(m);

	if (apus_unlikely(wrong != FINE))
		return wrong;
	if (apus_unlikely(!apus_ipv4_checksum_good(m, apus_ipv4_header(m), m->l3_len)))
		return APUS_IPV4_DROP_CHECKSUM;

	const struct rte_ipv4_hdr *h = apus_ipv4_header(m);

	wrong = check_source(ip, h->src_addr);
	if (apus_unlikely(wrong != FINE))
		return wrong;
	wrong = check_destination(ip, m, h->dst_addr);
	if (apus_unlikely(wrong != FINE))
		return wrong;
	if (apus_unlikely(h->fragment_offset & rte_cpu_to_be_16(APUS_IPV4_FRAGMENT_FIELDS)))
		return APUS_IPV4_DROP_FRAGMENT;
	if (apus_likely(m->l3_len == sizeof(*h)))
		return FINE;
	ip->counters[APUS_IPV4_RX_OPTIONS]++;
	return check_options(m);
}

enum apus_ipv4_verdict apus_ipv4_input_any(struct apus_ipv4 *ip, struct rte_mbuf *m)
{
	enum apus_ipv4_counter wrong = check(ip, m);

	if (apus_unlikely(wrong != FINE)) {
		ip->counters[wrong]++;
		return APUS_IPV4_DROP;
	}

	const struct rte_ipv4_hdr *h = apus_ipv4_header(m);

	switch (h->next_proto_id) {
	case IPPROTO_TCP:
		if (apus_likely(apus_ipv4_has(ip, h->dst_addr)))
			return APUS_IPV4_TCP;
		/* RFC 1122 §4.2.3.10: TCP is between two hosts. */
		ip->counters[APUS_IPV4_DROP_TCP_BROADCAST]++;
		return APUS_IPV4_DROP;
	case IPPROTO_UDP:
		return APUS_IPV4_UDP;
	case IPPROTO_ICMP:
		return APUS_IPV4_ICMP;
	default:
		ip->counters[APUS_IPV4_RX_UNKNOWN_PROTOCOL]++;
		return APUS_IPV4_UNKNOWN;
	}
}

/* --- down ----------------------------------------------------------------------------------- */

struct rte_mbuf *apus_ipv4_mbuf(struct apus_ipv4 *ip)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(ip->link->pool);

	if (apus_unlikely(!m))
		ip->counters[APUS_IPV4_TX_NO_MBUF]++;
	return m;
}

int apus_ipv4_source(const struct apus_ipv4 *ip, struct apus_addr dst, struct apus_addr *src)
{
	uint32_t v4 = apus_addr_to_v4(dst), next_hop;

	if (!apus_addr_is_v4(dst) || v4 == 0 || first_byte(v4) == IN_LOOPBACKNET)
		return -ENETUNREACH;
	if (!apus_ipv4_has(ip, v4) && !is_broadcast(ip, v4) && !is_multicast(v4) &&
	    apus_route_lookup(ip->routes, v4, &next_hop))
		return -ENETUNREACH;
	*src = apus_addr_v4(ip->addr);
	return 0;
}

static int refuse(struct apus_ipv4 *ip, struct rte_mbuf *m, enum apus_ipv4_counter reason, int rc)
{
	ip->counters[reason]++;
	rte_pktmbuf_free(m);
	return rc;
}

static void write_header(const struct apus_ipv4 *ip, struct rte_mbuf *m, uint32_t src, uint32_t dst,
			 uint8_t proto, uint8_t tos)
{
	struct rte_ipv4_hdr *h = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);

	apus_ipv4_write_header(h, src, dst, proto, tos);
	h->total_length = rte_cpu_to_be_16((uint16_t)m->pkt_len);
	m->l3_len = sizeof(*h);
	m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	if (ip->link->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		h->hdr_checksum = (uint16_t)~apus_sum_fold(apus_sum(h, sizeof(*h)));
}

/* Broadcast and groups have their Ethernet address by rule (RFC 894, RFC 1112 §6.4). */
static APUS_COLD int output_group(struct apus_ipv4 *ip, struct rte_mbuf *m, uint32_t dst,
				  int64_t now_ns)
{
	struct rte_ether_addr to = link_broadcast;

	if (is_multicast(dst)) {
		uint32_t low = rte_be_to_cpu_32(dst) & 0x7fffff;

		to = (struct rte_ether_addr){{0x01, 0x00, 0x5e, (uint8_t)(low >> 16),
					      (uint8_t)(low >> 8), (uint8_t)low}};
	}
	return apus_eth_output(ip->arp->eth, m, &to, RTE_ETHER_TYPE_IPV4, now_ns);
}

int apus_ipv4_output(struct apus_ipv4 *ip, struct rte_mbuf *m, struct apus_addr src,
		     struct apus_addr dst, uint8_t proto, uint8_t tos, int64_t now_ns)
{
	uint32_t to = apus_addr_to_v4(dst), next_hop = 0;
	bool group = is_broadcast(ip, to) || is_multicast(to);

	if (apus_unlikely(!apus_addr_is_v4(dst) || to == 0 || first_byte(to) == IN_LOOPBACKNET))
		return refuse(ip, m, APUS_IPV4_TX_DROP_NO_ROUTE, -ENETUNREACH);
	if (apus_unlikely(apus_ipv4_has(ip, to)))
		return refuse(ip, m, APUS_IPV4_TX_DROP_TO_SELF, -EHOSTUNREACH);
	if (!group && apus_unlikely(apus_route_lookup(ip->routes, to, &next_hop)))
		return refuse(ip, m, APUS_IPV4_TX_DROP_NO_ROUTE, -ENETUNREACH);

	struct rte_ipv4_hdr *h = (void *)rte_pktmbuf_prepend(m, sizeof(*h));

	if (apus_unlikely(!h))
		return refuse(ip, m, APUS_IPV4_TX_DROP_HEADROOM, -ENOBUFS);
	if (apus_unlikely(m->pkt_len > ip->mtu && !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)))
		return refuse(ip, m, APUS_IPV4_TX_DROP_TOO_BIG, -EMSGSIZE);

	ip->counters[APUS_IPV4_TX_PACKETS]++;
	write_header(ip, m, apus_addr_to_v4(src), to, proto, tos);
	if (apus_unlikely(ip->link->is_l3))
		return apus_eth_output_l3(ip->arp->eth, m, now_ns);
	if (apus_unlikely(group))
		return output_group(ip, m, to, now_ns);
	return apus_arp_output(ip->arp, m, next_hop, now_ns);
}
