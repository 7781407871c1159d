/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/eth.h: Ethernet: frames in, frames out.
 *
 * On the way up the header (and a VLAN tag) is taken off and m->l2_len says how much that was; the
 * bytes stay before the data, where apus_eth_header() finds them. On the way down frames gather in
 * a burst, which goes to the link when it is full and at flush. A run of TCP segments that came as
 * one frame (RTE_MBUF_F_TX_TCP_SEG) is cut here unless the device does that. On a link of bare IP
 * packets (is_l3) there is no header either way, and l2_len is 0.
 */
#ifndef APUS_NET_IP_ETH_H
#define APUS_NET_IP_ETH_H

#include "net/link/link.h"
#include "runtime/sched/shard.h"

#include <rte_byteorder.h>
#include <string.h>

APUS_BEGIN_DECLS

enum apus_eth_verdict {
	APUS_ETH_ARP,
	APUS_ETH_IPV4,
	APUS_ETH_DROP, /* counted by name */
};

#define APUS_ETH_COUNTERS(X)               \
 X(RX_FRAMES, "rx_frames")                 \
 X(RX_TAGGED, "rx_tagged")                 \
 X(DROP_SHORT, "drop_short")               \
 X(DROP_SOURCE, "drop_source")             \
 X(DROP_NOT_OURS, "drop_not_ours")         \
 X(DROP_VLAN, "drop_vlan")                 \
 X(DROP_IPV6, "drop_ipv6")                 \
 X(DROP_LENGTH_FIELD, "drop_length_field") \
 X(DROP_ETHERTYPE, "drop_ethertype")       \
 X(TX_FRAMES, "tx_frames")                 \
 X(TX_BURSTS, "tx_bursts")                 \
 X(TX_CUT, "tx_cut")                       \
 X(TX_DROP_NO_MBUF, "tx_drop_no_mbuf")     \
 X(TX_DROP_HEADROOM, "tx_drop_headroom")

enum apus_eth_counter {
#define X(id, name) APUS_ETH_##id,
	APUS_ETH_COUNTERS(X)
#undef X
	APUS_ETH_COUNTER_COUNT,
};

struct apus_eth {
	struct apus_link *link; /* borrowed */
	uint16_t vlan_id;       /* ours, 1 to 4094; 0: untagged */
	uint16_t header_bytes;  /* before an IP header that we send: 14, or 18 with a tag */
	uint16_t tx_count;
	uint64_t plain_head; /* what apus_eth_input() looks for: ours, from one host */
	struct rte_mbuf *tx_burst[APUS_LINK_BURST_MAX]; /* tx_count frames, to be sent at flush */
	uint64_t counters[APUS_ETH_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/** apus_eth_init - @link is kept until fini; @vlan_id 0 for none. Context: any */
void apus_eth_init(struct apus_eth *eth, struct apus_shard *shard, struct apus_link *link,
		   uint16_t vlan_id);
/** apus_eth_fini - frames not flushed are freed */
void apus_eth_fini(struct apus_eth *eth);

/**
 * apus_eth_input - check the header and take it off
 * @m: a frame from the link; borrowed: on APUS_ETH_DROP the caller frees it
 *
 * The first 14 (tagged: 18) bytes must be there, the destination be ours, broadcast or multicast,
 * the tag be that of our VLAN; no tag and a priority tag are VLAN 0.
 *
 * Context: any. Return: which room is next. Source: IEEE 802.3, 802.1Q; RFC 894
 */
APUS_MUST_CHECK static inline enum apus_eth_verdict apus_eth_input(struct apus_eth *eth,
								   struct rte_mbuf *m);
/** apus_eth_input_any - the same, for any frame; it is counted */
APUS_MUST_CHECK enum apus_eth_verdict apus_eth_input_any(struct apus_eth *eth, struct rte_mbuf *m);

/**
 * apus_eth_output - put the header before the data, and the frame into the burst
 * @m:         consumed
 * @ethertype: host order
 *
 * Context: any. Return: 0, -ENOBUFS (no headroom; counted).
 */
int apus_eth_output(struct apus_eth *eth, struct rte_mbuf *m, const struct rte_ether_addr *dst,
		    uint16_t ethertype, int64_t now_ns);
/** apus_eth_output_l3 - an IP packet into the burst of a link without Ethernet; consumes @m. Context: any. Return: 0 */
int apus_eth_output_l3(struct apus_eth *eth, struct rte_mbuf *m, int64_t now_ns);
/** apus_eth_flush - send what has gathered. Context: any */
void apus_eth_flush(struct apus_eth *eth, int64_t now_ns);

/** apus_eth_push - a frame, header and all, into the burst; no run. Consumes @m. Context: any */
static inline void apus_eth_push(struct apus_eth *eth, struct rte_mbuf *m, int64_t now_ns)
{
	eth->tx_burst[eth->tx_count++] = m;
	if (apus_unlikely(eth->tx_count == APUS_LINK_BURST_MAX))
		apus_eth_flush(eth, now_ns);
}

/* The Ethernet header that apus_eth_input() took off @m, whose data is still where it left it. */
static inline const struct rte_ether_hdr *apus_eth_header(const struct rte_mbuf *m)
{
	return (const void *)(rte_pktmbuf_mtod(m, const char *) - m->l2_len);
}

/* Was it sent to a broadcast or group address of the link? Its data is where apus_eth_input() left it. */
static inline bool apus_eth_is_group(const struct rte_mbuf *m)
{
	return m->l2_len && rte_is_multicast_ether_addr(&apus_eth_header(m)->dst_addr);
}

/* inline definitions */

/* The first eight bytes of a frame that count here: the destination, and is the source a group? */
static inline uint64_t apus_eth_head(const void *frame)
{
	static const uint8_t counts[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0};
	uint64_t head, mask;

	memcpy(&head, frame, sizeof(head));
	memcpy(&mask, counts, sizeof(mask));
	return head & mask;
}

/*
 * The frame that nearly all are: untagged IPv4 from one host to us. Nothing passes here that
 * apus_eth_input_any() would not let pass.
 */
static inline bool apus_eth_is_plain(const struct apus_eth *eth, const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *h = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	return m->data_len >= sizeof(*h) && apus_eth_head(h) == eth->plain_head &&
	       h->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
	       !(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED);
}

/** apus_eth_take_plain - take the header off a frame that is known to be plain; who calls counts it. Context: any */
static inline void apus_eth_take_plain(struct rte_mbuf *m)
{
	m->l2_len = RTE_ETHER_HDR_LEN;
	m->data_off += RTE_ETHER_HDR_LEN;
	m->data_len -= RTE_ETHER_HDR_LEN;
	m->pkt_len -= RTE_ETHER_HDR_LEN;
}

static inline enum apus_eth_verdict apus_eth_input(struct apus_eth *eth, struct rte_mbuf *m)
{
	eth->counters[APUS_ETH_RX_FRAMES]++;
	if (apus_unlikely(!apus_eth_is_plain(eth, m)))
		return apus_eth_input_any(eth, m);
	apus_eth_take_plain(m);
	return APUS_ETH_IPV4;
}

APUS_END_DECLS

#endif
