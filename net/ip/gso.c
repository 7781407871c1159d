/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/gso.c: segmentation in software, behind the Ethernet header: see gso.h.
 *
 * Not DPDK's rte_gso_segment(): that makes an indirect mbuf of each piece of the text, which here
 * is one already (the send queue's), allocates while it cuts, so that a run may get lost half-way,
 * and leaves the TCP checksum to a device. Ours takes over the pieces as they are, and the mbufs for
 * the headers come in the chain, allocated where a want of them still can be answered by waiting.
 *
 * All frames but the last are of one size, so their headers differ in SEQ, flags and checksum only:
 * the rest is summed once.
 *
 * Invariant: `text` holds `left` bytes.
 *
 * Where we differ: IPv4 only, as the rooms around it. The identification stays 0 (ipv4.c).
 */
#include "net/ip/gso.h"

#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <netinet/in.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#define FLAGS_OF_LAST (RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG)

static struct rte_ipv4_hdr *ip_of(const struct apus_gso *g, void *header)
{
	return (struct rte_ipv4_hdr *)(void *)((uint8_t *)header + g->l2_bytes);
}

static struct rte_tcp_hdr *tcp_of(const struct apus_gso *g, void *header)
{
	return (struct rte_tcp_hdr *)(void *)((uint8_t *)header + g->l2_bytes + g->l3_bytes);
}

/* The headers of frames with so much text: lengths, the IP checksum, and the sum of what is fixed. */
static void set_length(struct apus_gso *g, uint32_t text_bytes)
{
	struct rte_ipv4_hdr *ip = ip_of(g, g->header);
	struct rte_tcp_hdr *tcp = tcp_of(g, g->header);
	uint32_t total = (uint32_t)g->l3_bytes + g->l4_bytes + text_bytes;

	ip->total_length = rte_cpu_to_be_16((uint16_t)total);
	ip->hdr_checksum = 0;
	if (!(g->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM))
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	g->sum = apus_sum_pseudo(ip->src_addr, ip->dst_addr, IPPROTO_TCP, g->l4_bytes + text_bytes);
	if (!(g->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM))
		g->sum = apus_sum_add(g->sum, apus_sum(tcp, g->l4_bytes));
}

void apus_gso_begin(struct apus_gso *g, struct rte_mbuf *m, struct rte_mempool *pool,
		    uint64_t tx_offloads)
{
	struct rte_tcp_hdr *tcp;

	g->pool = pool;
	g->head = m;
	g->text = m->next;
	g->tx_offloads = tx_offloads;
	g->segment_bytes = m->tso_segsz;
	g->l2_bytes = (uint16_t)m->l2_len;
	g->l3_bytes = (uint16_t)m->l3_len;
	g->l4_bytes = (uint16_t)m->l4_len;
	g->header_bytes = (uint16_t)(m->l2_len + m->l3_len + m->l4_len);
	g->left = m->pkt_len - g->header_bytes;
	g->is_first = true;
	apus_must_op(g->segment_bytes, >, 0);
	apus_must_op(g->header_bytes, <=, sizeof(g->header));
	apus_must_op(m->data_len, ==, g->header_bytes);

	memcpy(g->header, rte_pktmbuf_mtod(m, const void *), g->header_bytes);
	tcp = tcp_of(g, g->header);
	g->seq = rte_be_to_cpu_32(tcp->sent_seq);
	g->flags = tcp->tcp_flags;
	tcp->sent_seq = 0;
	tcp->tcp_flags = 0;
	tcp->cksum = 0;
	set_length(g, apus_min(g->left, (uint32_t)g->segment_bytes));

	g->ol_flags = RTE_MBUF_F_TX_IPV4;
	if (tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		g->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		g->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	m->next = NULL;
	m->nb_segs = 1;
	m->tso_segsz = 0;
	m->ol_flags &= ~(RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_L4_MASK);
	m->ol_flags |= g->ol_flags;
}

/* An mbuf for the headers: the frame's own, one that stands ready in the chain, or a new one. */
static struct rte_mbuf *header_mbuf(struct apus_gso *g)
{
	struct rte_mbuf *m = g->head;

	if (m) {
		g->head = NULL;
		return m;
	}
	m = g->text;
	if (apus_likely(!m->data_len)) {
		g->text = m->next;
		m->next = NULL;
	} else {
		m = rte_pktmbuf_alloc(g->pool);
		if (!m)
			return NULL;
	}
	m->data_len = g->header_bytes;
	m->l2_len = g->l2_bytes;
	m->l3_len = g->l3_bytes;
	m->l4_len = g->l4_bytes;
	m->ol_flags |= g->ol_flags;
	return m;
}

/* An indirect mbuf for the first `bytes` bytes of the text's first mbuf, which begins behind them then. */
static struct rte_mbuf *split(struct apus_gso *g, uint16_t bytes)
{
	struct rte_mbuf *m = g->text, *piece = rte_pktmbuf_alloc(g->pool);

	if (!piece)
		return NULL;
	rte_pktmbuf_attach(piece, m);
	piece->data_len = bytes;
	piece->pkt_len = bytes;
	m->data_off = (uint16_t)(m->data_off + bytes);
	m->data_len = (uint16_t)(m->data_len - bytes);
	return piece;
}

/* Moves the next `bytes` bytes of text behind the headers. */
static bool take_text(struct apus_gso *g, struct rte_mbuf *frame, uint32_t bytes)
{
	struct rte_mbuf *last = frame;
	uint16_t segs = 1;

	while (bytes > 0) {
		struct rte_mbuf *m = g->text;

		if (apus_unlikely(m->data_len > bytes)) {
			m = split(g, (uint16_t)bytes);
			if (!m)
				return false;
		} else {
			g->text = m->next;
			m->next = NULL;
		}
		bytes -= m->data_len;
		last->next = m;
		last = m;
		segs++;
	}
	frame->nb_segs = segs;
	return true;
}

/* What is this frame's own in its headers. The text is behind them. */
static void write_header(const struct apus_gso *g, struct rte_mbuf *frame, uint8_t flags)
{
	void *header = rte_pktmbuf_mtod(frame, void *);
	struct rte_tcp_hdr *tcp = tcp_of(g, header);
	uint64_t sum = g->sum;

	memcpy(header, g->header, g->header_bytes);
	tcp->sent_seq = rte_cpu_to_be_32(g->seq);
	tcp->tcp_flags = flags;
	if (g->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) {
		tcp->cksum = apus_sum_fold(sum);
		return;
	}
	sum = apus_sum_add(sum, (uint64_t)tcp->sent_seq + rte_cpu_to_be_16(flags));
	sum = apus_sum_add(sum,
			   apus_mbuf_sum(frame, g->header_bytes, frame->pkt_len - g->header_bytes));
	tcp->cksum = (uint16_t)~apus_sum_fold(sum);
}

struct rte_mbuf *apus_gso_next(struct apus_gso *g)
{
	uint32_t bytes = apus_min(g->left, (uint32_t)g->segment_bytes);
	uint8_t flags = g->flags;
	struct rte_mbuf *frame;

	if (!g->left)
		return NULL;
	frame = header_mbuf(g);
	if (!frame)
		return NULL;
	frame->pkt_len = g->header_bytes + bytes;
	if (!take_text(g, frame, bytes)) {
		rte_pktmbuf_free(frame);
		return NULL;
	}
	g->left -= bytes;
	if (g->left)
		flags &= (uint8_t)~FLAGS_OF_LAST;
	if (!g->is_first)
		flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
	if (bytes < g->segment_bytes && !g->is_first)
		set_length(g, bytes);
	g->is_first = false;
	write_header(g, frame, flags);
	g->seq += bytes;
	return frame;
}

uint32_t apus_gso_end(struct apus_gso *g)
{
	struct rte_mbuf *m = g->text;

	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		rte_pktmbuf_free_seg(m);
		m = next;
	}
	rte_pktmbuf_free(g->head);
	g->text = g->head = NULL;
	return g->left;
}
