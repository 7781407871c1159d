/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/ipv4.h: IPv4, as a host (RFC 791, RFC 1122 §3.2.1, §3.3).
 *
 * Up: a packet that this room lets through is valid, whole and for us; its data stays at the IPv4
 * header and m->l3_len says how long that is, so the rooms above read addresses where they are.
 * Down: one call prepends the header, finds the neighbour and hands the packet on.
 */
#ifndef APUS_NET_IP_IPV4_H
#define APUS_NET_IP_IPV4_H

#include "net/ip/addr.h"
#include "net/ip/arp.h"
#include "net/ip/eth.h"
#include "net/ip/pmtu.h"
#include "net/ip/route.h"
#include "net/ip/sum.h"

#include <netinet/in.h>
#include <rte_ip.h>

APUS_BEGIN_DECLS

enum apus_ipv4_verdict {
	APUS_IPV4_TCP,
	APUS_IPV4_UDP,
	APUS_IPV4_ICMP,
	APUS_IPV4_UNKNOWN, /* valid and for us, of a protocol that we do not have */
	APUS_IPV4_DROP,    /* counted by name */
};

#define APUS_IPV4_COUNTERS(X)                        \
 X(RX_PACKETS, "rx_packets")                         \
 X(RX_OPTIONS, "rx_options")                         \
 X(RX_UNKNOWN_PROTOCOL, "rx_unknown_protocol")       \
 X(DROP_SHORT, "drop_short")                         \
 X(DROP_VERSION, "drop_version")                     \
 X(DROP_HEADER_LENGTH, "drop_header_length")         \
 X(DROP_TOTAL_LENGTH, "drop_total_length")           \
 X(DROP_CHECKSUM, "drop_checksum")                   \
 X(DROP_SOURCE_OURS, "drop_source_ours")             \
 X(DROP_SOURCE_THIS_NET, "drop_source_this_net")     \
 X(DROP_SOURCE_LOOPBACK, "drop_source_loopback")     \
 X(DROP_SOURCE_MULTICAST, "drop_source_multicast")   \
 X(DROP_SOURCE_BROADCAST, "drop_source_broadcast")   \
 X(DROP_SOURCE_RESERVED, "drop_source_reserved")     \
 X(DROP_DST_LOOPBACK, "drop_destination_loopback")   \
 X(DROP_DST_MULTICAST, "drop_destination_multicast") \
 X(DROP_NOT_OURS, "drop_not_ours")                   \
 X(DROP_LINK_BROADCAST, "drop_link_broadcast")       \
 X(DROP_TCP_BROADCAST, "drop_tcp_broadcast")         \
 X(DROP_FRAGMENT, "drop_fragment")                   \
 X(DROP_OPTIONS, "drop_options")                     \
 X(DROP_SOURCE_ROUTE, "drop_source_route")           \
 X(TX_PACKETS, "tx_packets")                         \
 X(TX_NO_MBUF, "tx_no_mbuf")                         \
 X(TX_DROP_HEADROOM, "tx_drop_headroom")             \
 X(TX_DROP_TOO_BIG, "tx_drop_too_big")               \
 X(TX_DROP_NO_ROUTE, "tx_drop_no_route")             \
 X(TX_DROP_TO_SELF, "tx_drop_to_self")

enum apus_ipv4_counter {
#define X(id, name) APUS_IPV4_##id,
	APUS_IPV4_COUNTERS(X)
#undef X
	APUS_IPV4_COUNTER_COUNT,
};

struct apus_ipv4 {
	struct apus_link *link; /* borrowed: its pool and offloads */
	struct apus_arp *arp;   /* the room below */
	struct apus_route_table *routes;
	uint32_t addr;      /* ours, network order */
	uint32_t more;      /* addresses that follow it and are ours as well */
	uint32_t turn;      /* of the one that the next connection leaves from */
	uint32_t mask;      /* of the connected prefix */
	uint32_t broadcast; /* of it; 0: it has none */
	uint16_t mtu;
	struct apus_pmtu pmtu; /* of destinations that are reached by smaller packets only */
	uint64_t counters[APUS_IPV4_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/** apus_ipv4_init - @arp and @routes are kept; our address is @arp's. Context: any */
void apus_ipv4_init(struct apus_ipv4 *ip, struct apus_shard *shard, struct apus_arp *arp,
		    struct apus_route_table *routes, uint16_t mtu);
void apus_ipv4_fini(struct apus_ipv4 *ip);

/**
 * apus_ipv4_input - check the header
 * @m: data at the IPv4 header, as apus_eth_input() left it; borrowed: on APUS_IPV4_DROP the caller
 *     frees it
 *
 * Any verdict but DROP: the header with its options is contiguous, m->l3_len is its length, and
 * padding of the frame is cut off: pkt_len is the total length.
 *
 * Context: any. Return: which room is next. Source: RFC 791 §3.1, RFC 1122 §3.2.1, §3.3.6
 */
APUS_MUST_CHECK static inline enum apus_ipv4_verdict apus_ipv4_input(struct apus_ipv4 *ip,
								     struct rte_mbuf *m);
/** apus_ipv4_input_any - the same, for any packet; it is counted */
APUS_MUST_CHECK enum apus_ipv4_verdict apus_ipv4_input_any(struct apus_ipv4 *ip,
							   struct rte_mbuf *m);

/**
 * apus_ipv4_output - send a packet to @dst
 * @m:     data at the transport header, whose checksum is done or asked for by RTE_MBUF_F_TX_*;
 *         consumed
 * @src:   ours
 * @dst:   a host, a group or a broadcast address
 * @proto: IPPROTO_*
 * @tos:   DSCP and ECN
 *
 * Don't-fragment is set and nothing is fragmented. There is no loopback: a packet to our own
 * address is refused and counted.
 *
 * Context: any. Return: 0 (sent, or waits for the neighbour); -EMSGSIZE, -EHOSTUNREACH,
 * -ENETUNREACH, -ENOBUFS.
 */
int apus_ipv4_output(struct apus_ipv4 *ip, struct rte_mbuf *m, struct apus_addr src,
		     struct apus_addr dst, uint8_t proto, uint8_t tos, int64_t now_ns);

/** apus_ipv4_source - the address of ours to send from to @dst. Return: 0, -ENETUNREACH. Context: any */
APUS_MUST_CHECK int apus_ipv4_source(const struct apus_ipv4 *ip, struct apus_addr dst,
				     struct apus_addr *src);
/** apus_ipv4_mbuf - empty, with headroom for every header. Return: NULL without one (counted) */
APUS_MUST_CHECK struct rte_mbuf *apus_ipv4_mbuf(struct apus_ipv4 *ip);

/* Is @addr, in network order, one of ours? To have more than one costs only who has them. */
static inline bool apus_ipv4_has(const struct apus_ipv4 *ip, uint32_t addr)
{
	return addr == ip->addr ||
	       (apus_unlikely(ip->more) && apus_addr_v4_follows(ip->addr, ip->more, addr));
}

/* True for an address of this host: not for broadcast, group or loopback ones. */
static inline bool apus_ipv4_is_ours(const struct apus_ipv4 *ip, struct apus_addr addr)
{
	return apus_addr_is_v4(addr) && apus_ipv4_has(ip, apus_addr_to_v4(addr));
}

/* Where we have several addresses: one of them, all in turn. */
static inline struct apus_addr apus_ipv4_in_turn(struct apus_ipv4 *ip)
{
	uint32_t i = ip->turn++ % (ip->more + 1);

	return apus_addr_v4(rte_cpu_to_be_32(rte_be_to_cpu_32(ip->addr) + i));
}

/** apus_ipv4_is_unicast - false for what no single host has: any, broadcast, group, loopback, reserved */
bool apus_ipv4_is_unicast(const struct apus_ipv4 *ip, struct apus_addr addr);

/* The largest packet, header included. */
static inline uint16_t apus_ipv4_mtu(const struct apus_ipv4 *ip)
{
	return ip->mtu;
}

/** apus_ipv4_path_mtu - the largest packet that gets to @dst, header included, as far as is known. Context: any */
static inline uint16_t apus_ipv4_path_mtu(struct apus_ipv4 *ip, struct apus_addr dst,
					  int64_t now_ns)
{
	uint16_t known = apus_pmtu_find(&ip->pmtu, dst, now_ns);

	return known ? (uint16_t)apus_min(known, ip->mtu) : ip->mtu;
}

/* The header of a packet that apus_ipv4_input() let through. */
static inline const struct rte_ipv4_hdr *apus_ipv4_header(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
}

/* inline definitions */

#define APUS_IPV4_FRAGMENT_FIELDS (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)

/* Of a header's first eight bytes: what counts, and what that is, but for the total length. */
#define APUS_IPV4_PLAIN_FIELDS (UINT64_C(0xff00ffff00000000) | APUS_IPV4_FRAGMENT_FIELDS)
#define APUS_IPV4_PLAIN        ((uint64_t)RTE_IPV4_VHL_DEF << 56)

/* RFC 1122 §3.2.1.2: verified over all @bytes of the header @h of @m, by the device or by us. */
static inline bool apus_ipv4_checksum_good(const struct rte_mbuf *m, const struct rte_ipv4_hdr *h,
					   uint32_t bytes)
{
	uint64_t told = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (told == RTE_MBUF_F_RX_IP_CKSUM_GOOD || told == RTE_MBUF_F_RX_IP_CKSUM_NONE)
		return true;
	/* Not known; or bad, which drivers say of what they do not understand, too. */
	return apus_sum_is_right(apus_sum(h, bytes));
}

/** apus_ipv4_is_plain_shape - the header @h of @m, whose packet has @bytes, less than 16 MiB: no options, no fragment, no padding, nothing broken. Of the addresses it says nothing. Context: any */
static inline bool apus_ipv4_is_plain_shape(const struct rte_mbuf *m, const struct rte_ipv4_hdr *h,
					    size_t bytes)
{
	uint64_t word, plain = APUS_IPV4_PLAIN + ((uint64_t)bytes << 32);

	memcpy(&word, h, sizeof(word)); /* up to and with the fragment fields */
	return (word & RTE_BE64(APUS_IPV4_PLAIN_FIELDS)) == rte_cpu_to_be_64(plain) &&
	       apus_ipv4_checksum_good(m, h, sizeof(*h));
}

/** apus_ipv4_is_plain_way - is it from one host to us? Context: any */
static inline bool apus_ipv4_is_plain_way(const struct apus_ipv4 *ip, const struct rte_ipv4_hdr *h)
{
	uint32_t src = h->src_addr, first = *(const uint8_t *)&h->src_addr;

	return apus_ipv4_has(ip, h->dst_addr) && first - 1 < 0xdf && first != IN_LOOPBACKNET &&
	       !apus_ipv4_has(ip, src) && src != ip->broadcast;
}

/*
 * The packet that nearly all are: no options, no fragment, no padding, from one host to us. Nothing
 * passes here that apus_ipv4_input_any() would not let pass.
 */
static inline bool apus_ipv4_is_plain(const struct apus_ipv4 *ip, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *h = apus_ipv4_header(m);

	return apus_likely(m->data_len >= sizeof(*h)) &&
	       apus_ipv4_is_plain_shape(m, h, m->pkt_len) && apus_ipv4_is_plain_way(ip, h) &&
	       !apus_eth_is_group(m);
}

static inline enum apus_ipv4_verdict apus_ipv4_input(struct apus_ipv4 *ip, struct rte_mbuf *m)
{
	ip->counters[APUS_IPV4_RX_PACKETS]++;
	if (apus_likely(apus_ipv4_is_plain(ip, m))) {
		uint8_t protocol = apus_ipv4_header(m)->next_proto_id;

		if (apus_likely(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)) {
			m->l3_len = sizeof(struct rte_ipv4_hdr);
			return protocol == IPPROTO_TCP ? APUS_IPV4_TCP : APUS_IPV4_UDP;
		}
	}
	return apus_ipv4_input_any(ip, m);
}

APUS_END_DECLS

#endif
