/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/flow.h: the Ethernet and IPv4 headers of packets to one host, made once and copied from then
 * on, until the neighbour or a route changes.
 *
 * A flow is the owner's memory and takes none. What it says of neighbours and routes is what
 * apus_ipv4_output() would find out for each packet; apus_ipv4_flow_is_fresh() asks whether that still
 * holds, and if not the owner makes it anew, or sends by apus_ipv4_output().
 */
#ifndef APUS_NET_IP_FLOW_H
#define APUS_NET_IP_FLOW_H

#include "net/ip/ipv4.h"
#include "net/ip/sum.h"

APUS_BEGIN_DECLS

#define APUS_IPV4_FLOW_BYTES_MAX 38 /* tagged Ethernet, IPv4 without options */

struct apus_ipv4_flow {
	struct apus_arp_entry *neighbour; /* borrowed; of a link without Ethernet arp->none */
	uint32_t
		neighbour_changes; /* of it and of the routes when this was made; else it is stale */
	uint32_t route_changes;
	uint32_t sum;        /* of the IPv4 header with length and checksum 0, folded */
	uint16_t l2_bytes;   /* 14, 18 with a tag, 0 without Ethernet */
	uint16_t bytes;      /* of both headers */
	bool sums_in_device; /* the device makes the checksum of the IPv4 header */
};

#define APUS_IPV4_TTL 64

/** apus_ipv4_write_header - of a packet of ours, addresses in network order; length and checksum are 0. Context: any */
static inline void apus_ipv4_write_header(struct rte_ipv4_hdr *h, uint32_t src, uint32_t dst,
					  uint8_t proto, uint8_t tos)
{
	*h = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = tos,
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = APUS_IPV4_TTL,
		.next_proto_id = proto,
		.src_addr = src,
		.dst_addr = dst,
	};
}

/** apus_ipv4_flow_init - stale from the beginning. Context: any */
static inline void apus_ipv4_flow_init(struct apus_ipv4_flow *flow, struct apus_ipv4 *ip)
{
	*flow = (struct apus_ipv4_flow){
		.neighbour = &ip->arp->none,
		.neighbour_changes = ip->arp->none.changes + 1,
	};
}

/**
 * apus_ipv4_flow_make - look the way up and write the headers
 * @header: of APUS_IPV4_FLOW_BYTES_MAX bytes; the first flow->bytes of them are written
 *
 * Context: any. Return: false: there is no way, or the neighbour has to be asked first; then
 * apus_ipv4_output() does what is to be done, and @flow is stale.
 */
APUS_MUST_CHECK bool apus_ipv4_flow_make(struct apus_ipv4_flow *flow, struct apus_ipv4 *ip,
					 struct apus_addr src, struct apus_addr dst, uint8_t proto,
					 uint8_t *header);

/** apus_ipv4_flow_is_fresh - is the header still what it would be made to be? Context: any */
static inline bool apus_ipv4_flow_is_fresh(const struct apus_ipv4_flow *flow,
					   const struct apus_ipv4 *ip)
{
	return flow->neighbour->changes == flow->neighbour_changes &&
	       ip->routes->changes == flow->route_changes;
}

/**
 * apus_ipv4_flow_output - a packet that begins with a copy of the header
 * @m:      data at the first byte of it, all lengths set; consumed
 * @header: where the IPv4 header in it is
 *
 * Writes what differs from packet to packet. The flow is fresh, the packet no longer than the MTU.
 *
 * Context: any.
 */
static inline void apus_ipv4_flow_output(const struct apus_ipv4_flow *flow, struct apus_ipv4 *ip,
					 struct rte_mbuf *m, struct rte_ipv4_hdr *header,
					 int64_t now_ns)
{
	uint16_t length = rte_cpu_to_be_16((uint16_t)(m->pkt_len - flow->l2_bytes));

	header->total_length = length;
	if (!flow->sums_in_device)
		header->hdr_checksum = (uint16_t)~apus_sum_fold_2(flow->sum + length);
	ip->counters[APUS_IPV4_TX_PACKETS]++;
	flow->neighbour->used_at_ns = now_ns;
	apus_eth_push(ip->arp->eth, m, now_ns);
}

APUS_END_DECLS

#endif
