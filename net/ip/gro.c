/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/gro.c: joining what a burst brought in order: see gro.h.
 *
 * Joined are segments with text of one flow that follow each other without a hole and without
 * another packet between, whose IP headers are equal but for length, identification and checksum
 * (so TOS with its ECN bits, and TTL, are equal), whose TCP headers are equal but for SEQ, checksum
 * and PSH: same ACK, same window, same options byte for byte, no flag but ACK. Each but the last has
 * as much text as the first. PSH ends a run, as does a shorter one. So nothing is lost by it but
 * the count of segments, which tso_segsz tells.
 *
 * A checksum that no device has looked at is looked at here, before the join; one that is wrong
 * joins nothing and goes up, to be counted where all of them are.
 *
 * Not DPDK's librte_gro: in light mode it keeps tables for flows, allocates them per burst, orders
 * by flow and not by arrival, and does not look at checksums, windows or ECN.
 */
#include "net/ip/gro.h"

#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <netinet/in.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#define IP_BYTES sizeof(struct rte_ipv4_hdr) /* with options: not joined */

static const struct rte_ipv4_hdr *ip_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
}

static struct rte_tcp_hdr *tcp_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, IP_BYTES);
}

/* Bytes of TCP header if headers are whole, in the first mbuf, and followed by text; else 0. */
static uint16_t header_bytes(const struct rte_mbuf *m)
{
	uint16_t l4_bytes;

	if (m->l3_len != IP_BYTES || m->data_len < IP_BYTES + sizeof(struct rte_tcp_hdr))
		return 0;
	l4_bytes = (uint16_t)(tcp_of(m)->data_off >> 4) * 4;
	if (l4_bytes < sizeof(struct rte_tcp_hdr) || m->data_len < IP_BYTES + l4_bytes ||
	    m->pkt_len <= IP_BYTES + l4_bytes)
		return 0;
	return l4_bytes;
}

bool apus_gro_begin(struct apus_gro *g, struct rte_mbuf *m)
{
	uint16_t l4_bytes = header_bytes(m);
	uint32_t text_bytes;

	apus_assert(!g->head);
	if (!l4_bytes || tcp_of(m)->tcp_flags != RTE_TCP_ACK_FLAG)
		return false;
	text_bytes = m->pkt_len - (uint32_t)IP_BYTES - l4_bytes;
	if (text_bytes < APUS_GRO_SEGMENT_LEAST || m->ol_flags & RTE_MBUF_F_RX_LRO ||
	    !RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
		return false;
	g->head = m;
	g->last = rte_pktmbuf_lastseg(m);
	g->next_seq = rte_be_to_cpu_32(tcp_of(m)->sent_seq) + text_bytes;
	g->segment_bytes = (uint16_t)text_bytes;
	g->l4_bytes = l4_bytes;
	g->is_summed = false;
	return true;
}

/* Is all that TCP looks at the same? Lengths were compared before. */
static bool same_headers(const struct apus_gro *g, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = ip_of(g->head), *ip_m = ip_of(m);
	const struct rte_tcp_hdr *tcp = tcp_of(g->head), *tcp_m = tcp_of(m);

	return ip->src_addr == ip_m->src_addr && ip->dst_addr == ip_m->dst_addr &&
	       ip->type_of_service == ip_m->type_of_service &&
	       ip->time_to_live == ip_m->time_to_live &&
	       ip->fragment_offset == ip_m->fragment_offset && tcp->src_port == tcp_m->src_port &&
	       tcp->dst_port == tcp_m->dst_port && tcp->recv_ack == tcp_m->recv_ack &&
	       tcp->rx_win == tcp_m->rx_win && tcp->tcp_urp == tcp_m->tcp_urp &&
	       (tcp_m->tcp_flags & ~RTE_TCP_PSH_FLAG) == RTE_TCP_ACK_FLAG &&
	       !memcmp(tcp + 1, tcp_m + 1, g->l4_bytes - sizeof(*tcp));
}

/* Behind the run, without its headers. */
static void append(struct apus_gro *g, struct rte_mbuf *m, uint32_t text_bytes)
{
	uint16_t segs = m->nb_segs;

	rte_pktmbuf_adj(m, (uint16_t)(IP_BYTES + g->l4_bytes));
	if (!m->data_len) { /* headers in an mbuf of their own */
		struct rte_mbuf *text = m->next;

		m->next = NULL;
		m->nb_segs = 1;
		rte_pktmbuf_free_seg(m);
		m = text;
		segs--;
	}
	g->last->next = m;
	while (m->next)
		m = m->next;
	g->last = m;
	g->head->nb_segs = (uint16_t)(g->head->nb_segs + segs);
	g->head->pkt_len += text_bytes;
	g->next_seq += text_bytes;
}

bool apus_gro_join(struct apus_gro *g, struct rte_mbuf *m)
{
	uint32_t text_bytes, run_bytes;
	bool ends;

	if (!g->head || header_bytes(m) != g->l4_bytes)
		return false;
	text_bytes = m->pkt_len - (uint32_t)IP_BYTES - g->l4_bytes;
	run_bytes = g->head->pkt_len - (uint32_t)IP_BYTES - g->l4_bytes;
	if (text_bytes > g->segment_bytes || run_bytes % g->segment_bytes ||
	    rte_be_to_cpu_32(tcp_of(m)->sent_seq) != g->next_seq || !same_headers(g, m) ||
	    tcp_of(g->head)->tcp_flags != RTE_TCP_ACK_FLAG || m->ol_flags & RTE_MBUF_F_RX_LRO ||
	    g->head->pkt_len + text_bytes > UINT16_MAX)
		return false;
	if (!apus_mbuf_checksum_good(m, IP_BYTES, IPPROTO_TCP) ||
	    (!g->is_summed && !apus_mbuf_checksum_good(g->head, IP_BYTES, IPPROTO_TCP)))
		return false;

	g->is_summed = true;
	ends = tcp_of(m)->tcp_flags & RTE_TCP_PSH_FLAG;
	append(g, m, text_bytes);
	g->head->tso_segsz = g->segment_bytes;
	g->head->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
	g->head->ol_flags |= RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (ends)
		tcp_of(g->head)->tcp_flags |= RTE_TCP_PSH_FLAG; /* which nothing joins */
	return true;
}

struct rte_mbuf *apus_gro_end(struct apus_gro *g)
{
	struct rte_mbuf *m = g->head;

	g->head = NULL;
	return m;
}
