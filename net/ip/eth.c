/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/eth.c: Ethernet II framing (RFC 894, IEEE 802.3 §3, IEEE 802.1Q).
 *
 * A tag with VLAN 0 is a priority tag and means "no VLAN": hosts and switches put it on for its
 * priority bits alone, so without a VLAN of ours it is accepted as the absence of a tag is. A device
 * that strips tags is asked for what it stripped.
 *
 * Entry points: apus_eth_input() for one frame, apus_eth_output() and apus_eth_flush() down.
 *
 * Where we differ: one tag only (no QinQ); IEEE 802.3 length fields with LLC are dropped by name;
 * IPv6 is dropped by name until it has its room.
 */
#include "net/ip/eth.h"
#include "net/ip/gso.h"
#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <string.h>

#define VLAN_ID_MASK  0x0fff
#define ETHERTYPE_MIN 1536 /* smaller: the length field of IEEE 802.3 */

static const char *const counter_names[] = {APUS_ETH_COUNTERS(APUS_COUNTER_NAME)};

/* Where no frame is plain, for want of a header or for a tag: a head that none has. */
static uint64_t plain_head(const struct apus_eth *eth)
{
	uint8_t head[8] = {0};

	if (eth->vlan_id || eth->link->is_l3)
		return UINT64_MAX;
	memcpy(head, eth->link->mac.addr_bytes, RTE_ETHER_ADDR_LEN);
	return apus_eth_head(head);
}

void apus_eth_init(struct apus_eth *eth, struct apus_shard *shard, struct apus_link *link,
		   uint16_t vlan_id)
{
	apus_must_op(vlan_id, <, VLAN_ID_MASK);
	*eth = (struct apus_eth){
		.link = link,
		.vlan_id = vlan_id,
		.header_bytes = RTE_ETHER_HDR_LEN + (vlan_id ? RTE_VLAN_HLEN : 0),
	};
	eth->plain_head = plain_head(eth);
	apus_metrics_register(apus_shard_metrics(shard), &eth->metrics, "eth", counter_names,
			      eth->counters, APUS_ETH_COUNTER_COUNT);
}

void apus_eth_fini(struct apus_eth *eth)
{
	rte_pktmbuf_free_bulk(eth->tx_burst, eth->tx_count);
	eth->tx_count = 0;
	apus_metrics_unregister(&eth->metrics);
}

static enum apus_eth_verdict drop(struct apus_eth *eth, enum apus_eth_counter reason)
{
	eth->counters[reason]++;
	return APUS_ETH_DROP;
}

static enum apus_eth_verdict by_ethertype(struct apus_eth *eth, uint16_t ethertype)
{
	switch (ethertype) {
	case RTE_ETHER_TYPE_IPV4:
		return APUS_ETH_IPV4;
	case RTE_ETHER_TYPE_ARP:
		return APUS_ETH_ARP;
	case RTE_ETHER_TYPE_IPV6:
		return drop(eth, APUS_ETH_DROP_IPV6);
	default:
		return drop(eth, ethertype < ETHERTYPE_MIN ? APUS_ETH_DROP_LENGTH_FIELD
							   : APUS_ETH_DROP_ETHERTYPE);
	}
}

/* A bare IP packet says by its first four bits what it is. */
static APUS_COLD enum apus_eth_verdict input_l3(struct apus_eth *eth, struct rte_mbuf *m)
{
	if (!apus_mbuf_pull(m, 1))
		return drop(eth, APUS_ETH_DROP_SHORT);
	m->l2_len = 0;
	switch (*rte_pktmbuf_mtod(m, const uint8_t *) >> 4) {
	case 4:
		return APUS_ETH_IPV4;
	case 6:
		return drop(eth, APUS_ETH_DROP_IPV6);
	default:
		return drop(eth, APUS_ETH_DROP_ETHERTYPE);
	}
}

enum apus_eth_verdict apus_eth_input_any(struct apus_eth *eth, struct rte_mbuf *m)
{
	uint16_t header_bytes = RTE_ETHER_HDR_LEN;
	uint16_t vlan_id = 0;

	if (apus_unlikely(eth->link->is_l3))
		return input_l3(eth, m);
	if (apus_unlikely(!apus_mbuf_pull(m, RTE_ETHER_HDR_LEN)))
		return drop(eth, APUS_ETH_DROP_SHORT);

	const struct rte_ether_hdr *h = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t ethertype = rte_be_to_cpu_16(h->ether_type);

	if (rte_is_multicast_ether_addr(&h->src_addr))
		return drop(eth, APUS_ETH_DROP_SOURCE);
	if (!rte_is_multicast_ether_addr(&h->dst_addr) &&
	    !rte_is_same_ether_addr(&h->dst_addr, &eth->link->mac))
		return drop(eth, APUS_ETH_DROP_NOT_OURS);

	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		vlan_id = m->vlan_tci & VLAN_ID_MASK;
		eth->counters[APUS_ETH_RX_TAGGED]++;
	} else if (ethertype == RTE_ETHER_TYPE_VLAN) {
		header_bytes += RTE_VLAN_HLEN;
		if (!apus_mbuf_pull(m, header_bytes))
			return drop(eth, APUS_ETH_DROP_SHORT);

		const struct rte_vlan_hdr *tag =
			rte_pktmbuf_mtod_offset(m, const struct rte_vlan_hdr *, RTE_ETHER_HDR_LEN);

		vlan_id = rte_be_to_cpu_16(tag->vlan_tci) & VLAN_ID_MASK;
		ethertype = rte_be_to_cpu_16(tag->eth_proto);
		eth->counters[APUS_ETH_RX_TAGGED]++;
	}
	if (vlan_id != eth->vlan_id)
		return drop(eth, APUS_ETH_DROP_VLAN);

	m->l2_len = header_bytes;
	rte_pktmbuf_adj(m, header_bytes);
	return by_ethertype(eth, ethertype);
}

/* What finds no mbuf is lost, as on any link; TCP saw to it that it does not come to that. */
static void push_cut(struct apus_eth *eth, struct rte_mbuf *m, int64_t now_ns)
{
	struct rte_mbuf *frame;
	struct apus_gso gso;

	eth->counters[APUS_ETH_TX_CUT]++;
	apus_gso_begin(&gso, m, eth->link->pool, eth->link->tx_offloads);
	while ((frame = apus_gso_next(&gso)))
		apus_eth_push(eth, frame, now_ns);
	if (apus_unlikely(apus_gso_end(&gso)))
		eth->counters[APUS_ETH_TX_DROP_NO_MBUF]++;
}

static void push_any(struct apus_eth *eth, struct rte_mbuf *m, int64_t now_ns)
{
	if (apus_unlikely(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) &&
	    !(eth->link->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO))
		push_cut(eth, m, now_ns);
	else
		apus_eth_push(eth, m, now_ns);
}

int apus_eth_output_l3(struct apus_eth *eth, struct rte_mbuf *m, int64_t now_ns)
{
	m->l2_len = 0;
	push_any(eth, m, now_ns);
	return 0;
}

int apus_eth_output(struct apus_eth *eth, struct rte_mbuf *m, const struct rte_ether_addr *dst,
		    uint16_t ethertype, int64_t now_ns)
{
	struct rte_ether_hdr *h = (void *)rte_pktmbuf_prepend(m, eth->header_bytes);

	if (apus_unlikely(!h)) {
		eth->counters[APUS_ETH_TX_DROP_HEADROOM]++;
		rte_pktmbuf_free(m);
		return -ENOBUFS;
	}
	m->l2_len = eth->header_bytes;
	h->dst_addr = *dst;
	h->src_addr = eth->link->mac;
	if (apus_likely(!eth->vlan_id)) {
		h->ether_type = rte_cpu_to_be_16(ethertype);
	} else {
		struct rte_vlan_hdr *tag = (struct rte_vlan_hdr *)(h + 1);

		h->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
		tag->vlan_tci = rte_cpu_to_be_16(eth->vlan_id);
		tag->eth_proto = rte_cpu_to_be_16(ethertype);
	}

	push_any(eth, m, now_ns);
	return 0;
}

void apus_eth_flush(struct apus_eth *eth, int64_t now_ns)
{
	uint16_t count = eth->tx_count;

	if (!count)
		return;
	eth->tx_count = 0;
	eth->counters[APUS_ETH_TX_FRAMES] += count;
	eth->counters[APUS_ETH_TX_BURSTS]++;
	apus_link_tx(eth->link, eth->tx_burst, count, now_ns);
}
