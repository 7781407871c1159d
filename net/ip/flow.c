/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/flow.c: how the headers of a flow are made; see flow.h.
 *
 * They are the bytes that ipv4.c, arp.c and eth.c would write, which test_flow.c compares. Only a
 * neighbour that has answered and was sent to before will do: what else there is to do for a
 * neighbour, arp.c does.
 */
#include "net/ip/flow.h"

#include <netinet/in.h>
#include <rte_ethdev.h>

static uint16_t put_ethernet(const struct apus_eth *eth, const struct rte_ether_addr *dst,
			     uint8_t *at)
{
	struct rte_ether_hdr *h = (void *)at;

	h->dst_addr = *dst;
	h->src_addr = eth->link->mac;
	h->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	if (eth->vlan_id) {
		struct rte_vlan_hdr *tag = (struct rte_vlan_hdr *)(h + 1);

		tag->vlan_tci = rte_cpu_to_be_16(eth->vlan_id);
		tag->eth_proto = h->ether_type;
		h->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
	}
	return eth->header_bytes;
}

/* The neighbour that packets to @dst go to, if nothing but sending is to be done; else NULL. */
static struct apus_arp_entry *neighbour_of(struct apus_ipv4 *ip, uint32_t dst)
{
	uint32_t next_hop;

	if (dst == 0 || dst == ip->addr || dst == INADDR_BROADCAST || dst == ip->broadcast ||
	    IN_MULTICAST(rte_be_to_cpu_32(dst)) ||
	    rte_be_to_cpu_32(dst) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET ||
	    apus_route_lookup(ip->routes, dst, &next_hop))
		return NULL;
	if (ip->link->is_l3)
		return &ip->arp->none;
	return apus_arp_settled(ip->arp, next_hop);
}

bool apus_ipv4_flow_make(struct apus_ipv4_flow *flow, struct apus_ipv4 *ip, struct apus_addr src,
			 struct apus_addr dst, uint8_t proto, uint8_t *header)
{
	struct apus_arp_entry *neighbour =
		apus_addr_is_v4(dst) ? neighbour_of(ip, apus_addr_to_v4(dst)) : NULL;

	apus_ipv4_flow_init(flow, ip);
	if (!neighbour)
		return false;
	flow->neighbour = neighbour;
	flow->neighbour_changes = neighbour->changes;
	flow->route_changes = ip->routes->changes;
	if (!ip->link->is_l3)
		flow->l2_bytes = put_ethernet(ip->arp->eth, &neighbour->mac, header);
	flow->sums_in_device = ip->link->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;

	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)(header + flow->l2_bytes);

	apus_ipv4_write_header(h, apus_addr_to_v4(src), apus_addr_to_v4(dst), proto, 0);
	flow->sum = (uint32_t)apus_sum_fold(apus_sum(h, sizeof(*h)));
	flow->bytes = (uint16_t)(flow->l2_bytes + sizeof(*h));
	return true;
}
