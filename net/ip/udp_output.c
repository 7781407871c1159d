/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/udp_output.c: the way down of net/ip/udp.h: a datagram becomes a packet (RFC 768).
 *
 * What a socket says to one host begins with the same headers each time, so they are kept for the
 * last few hundred destinations (net/ip/flow.h), and a datagram that fits into one mbuf is written
 * in one go: headers, then the data, which is summed while it is copied. All others, and those whose
 * neighbour has to be asked for first, take the rooms below one by one.
 *
 * Entry point: apus_udp_output().
 */
#include "net/ip/mbuf.h"
#include "net/ip/udp.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ethdev.h>
#include <rte_udp.h>
#include <string.h>

#define HEADERS_BYTES (sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr))
#define SHORT_BYTES   APUS_SUM_LONG_BYTES
#define WAY_SHIFT     (64 - 8)
static_assert(1u << (64 - WAY_SHIFT) == APUS_UDP_WAYS, "the hash's top bits are the way");
static_assert(RTE_PKTMBUF_HEADROOM >= APUS_IPV4_FLOW_BYTES_MAX + sizeof(struct rte_udp_hdr),
	      "all headers are put before the data");

/* The address it sends from: its own, or of all the stack's the first. */
static inline uint32_t source_of(const struct apus_udp *u)
{
	return apus_addr_is_any(u->local.addr) ? u->layer->ip->addr
					       : apus_addr_to_v4(u->local.addr);
}

static void write_header(struct rte_udp_hdr *h, const struct apus_udp *u, uint16_t to_port,
			 uint16_t bytes)
{
	*h = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(u->local.port),
		.dst_port = rte_cpu_to_be_16(to_port),
		.dgram_len = rte_cpu_to_be_16(bytes),
	};
}

/* Of a sum over all but the checksum: one of 0 is sent as all ones, as 0 means none. */
static uint16_t checksum_of(uint64_t sum)
{
	uint16_t checksum = (uint16_t)~apus_sum_fold(sum);

	return checksum ? checksum : UINT16_MAX;
}

/* --- the long way --------------------------------------------------------------------------- */

/* A packet with room for the UDP header, then @buf; several segments if it needs them. */
static struct rte_mbuf *build(struct apus_udp_layer *layer, const char *buf, size_t len)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(layer->ip), *seg = m;

	if (!m)
		goto err_no_mbuf;
	m->data_len = sizeof(struct rte_udp_hdr);
	for (size_t done = 0;;) {
		size_t part = apus_min(len - done, (size_t)rte_pktmbuf_tailroom(seg));

		memcpy(rte_pktmbuf_mtod_offset(seg, char *, seg->data_len), buf + done, part);
		seg->data_len += (uint16_t)part;
		done += part;
		if (done == len)
			break;
		seg->next = apus_ipv4_mbuf(layer->ip);
		if (!seg->next)
			goto err_no_mbuf;
		seg = seg->next;
		m->nb_segs++;
	}
	m->pkt_len = (uint32_t)(len + sizeof(struct rte_udp_hdr));
	return m;

err_no_mbuf:
	layer->counters[APUS_UDP_NO_MBUF]++;
	rte_pktmbuf_free(m);
	return NULL;
}

/* RFC 768: over a pseudo header, the header and the data. */
static void put_checksum(const struct apus_udp_layer *layer, struct rte_mbuf *m, uint32_t src,
			 uint32_t dst)
{
	struct rte_udp_hdr *h = rte_pktmbuf_mtod(m, struct rte_udp_hdr *);
	uint64_t sum = apus_sum_pseudo(src, dst, IPPROTO_UDP, m->pkt_len);

	if (layer->ip->link->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		h->dgram_cksum = apus_sum_fold(sum);
	} else {
		h->dgram_cksum = checksum_of(apus_sum_add(apus_mbuf_sum(m, 0, m->pkt_len), sum));
	}
}

static APUS_NOINLINE int64_t output_slow(struct apus_udp *u, const void *buf, size_t len,
					 const struct apus_endpoint *to, int64_t now_ns)
{
	struct apus_udp_layer *layer = u->layer;
	struct apus_addr src;
	int rc = apus_ipv4_source(layer->ip, to->addr, &src);

	if (rc)
		return rc;

	struct rte_mbuf *m = build(layer, buf, len);

	if (!m)
		return -ENOBUFS;
	write_header(rte_pktmbuf_mtod(m, struct rte_udp_hdr *), u, to->port, (uint16_t)m->pkt_len);
	src = apus_addr_v4(source_of(u));
	put_checksum(layer, m, apus_addr_to_v4(src), apus_addr_to_v4(to->addr));
	rc = apus_ipv4_output(layer->ip, m, src, to->addr, IPPROTO_UDP, 0, now_ns);
	if (rc)
		return rc;
	layer->counters[APUS_UDP_TX_DATAGRAMS]++;
	return (int64_t)len;
}

/* --- the short way -------------------------------------------------------------------------- */

/* Where it is, if it is known. */
static inline struct apus_udp_way *way_to(const struct apus_udp *u, struct apus_addr to)
{
	struct apus_udp_layer *layer = u->layer;

	return &layer->ways[(apus_addr_to_v4(to) * layer->hash_key) >> WAY_SHIFT];
}

/* Is @way the one there, and up to date? */
static inline bool is_open(const struct apus_udp *u, const struct apus_udp_way *way,
			   struct apus_addr to)
{
	return way->dst == apus_addr_to_v4(to) && way->src == source_of(u) && way->dst &&
	       apus_addr_is_v4(to) && apus_ipv4_flow_is_fresh(&way->flow, u->layer->ip);
}

/* Return: false: there is none, or its neighbour wants more than to be sent to */
static bool make_way(const struct apus_udp *u, struct apus_udp_way *way, struct apus_addr to)
{
	const struct apus_udp_layer *layer = u->layer;
	uint32_t src = source_of(u), dst = apus_addr_to_v4(to);

	way->dst = 0;
	if (!apus_addr_is_v4(to) || !apus_ipv4_flow_make(&way->flow, layer->ip, apus_addr_v4(src),
							 to, IPPROTO_UDP, way->header))
		return false;
	way->src = src;
	way->dst = dst;
	way->sum = apus_sum_pseudo(src, dst, IPPROTO_UDP, 0);
	way->ol_flags = RTE_MBUF_F_TX_IPV4;
	if (way->flow.sums_in_device)
		way->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (layer->ip->link->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
		way->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
	way->tx_offload =
		rte_mbuf_tx_offload(way->flow.l2_bytes, sizeof(struct rte_ipv4_hdr), 0, 0, 0, 0, 0);
	return true;
}

/* Return: the sum of the data, which is in @at then */
static inline uint64_t put_data(void *at, const void *buf, size_t len)
{
	if (apus_likely(len < APUS_SUM_LONG_BYTES))
		return apus_sum_copy(at, buf, len);
	memcpy(at, buf, len);
	return apus_sum(at, len);
}

/* Headers and data into @m, which may be bare. */
static APUS_INLINE void write_datagram(const struct apus_udp *u, const struct apus_udp_way *way,
				       struct rte_mbuf *m, const void *buf, size_t len,
				       uint16_t to_port)
{
	const struct apus_ipv4_flow *flow = &way->flow;
	const struct apus_link *link = u->layer->ip->link;
	uint16_t bytes = (uint16_t)(sizeof(struct rte_udp_hdr) + len);
	uint8_t *data = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;
	struct rte_udp_hdr *h = (struct rte_udp_hdr *)(data - sizeof(*h));
	uint64_t sum = way->sum + rte_cpu_to_be_16(bytes);

	/* Whole, with what is not in use: UDP's is put over that. */
	memcpy((uint8_t *)h - flow->bytes, way->header, sizeof(way->header));
	write_header(h, u, to_port, bytes);
	m->ol_flags = way->ol_flags;
	if (link->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) {
		memcpy(data, buf, len);
		h->dgram_cksum = apus_sum_fold(sum);
	} else {
		sum += (uint64_t)h->src_port + h->dst_port + h->dgram_len;
		h->dgram_cksum = checksum_of(apus_sum_add(put_data(data, buf, len), sum));
	}
	m->data_off = (uint16_t)(RTE_PKTMBUF_HEADROOM - sizeof(*h) - flow->bytes);
	m->data_len = (uint16_t)(flow->bytes + bytes);
	m->pkt_len = m->data_len;
	m->tx_offload = way->tx_offload;
}

/* For data behind the headroom, which is in each mbuf of ours. */
static inline bool has_room(const struct rte_mbuf *m, size_t len)
{
	return len + RTE_PKTMBUF_HEADROOM <= m->buf_len;
}

/* Headers and data by the short way, in @m. Return: @len */
static APUS_INLINE int64_t send_off(struct apus_udp *u, struct apus_udp_way *way,
				    struct rte_mbuf *m, const void *buf, size_t len,
				    const struct apus_endpoint *to, int64_t now_ns)
{
	struct apus_udp_layer *layer = u->layer;

	write_datagram(u, way, m, buf, len, to->port);
	layer->counters[APUS_UDP_TX_DATAGRAMS]++;
	apus_ipv4_flow_output(&way->flow, layer->ip, m,
			      rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, way->flow.l2_bytes),
			      now_ns);
	return (int64_t)len;
}

/* Whatever it is. */
static APUS_NOINLINE int64_t output_any(struct apus_udp *u, const void *buf, size_t len,
					const struct apus_endpoint *to, int64_t now_ns)
{
	struct apus_udp_layer *layer = u->layer;
	struct apus_udp_way *way;
	struct rte_mbuf *m;

	if (len > apus_ipv4_mtu(layer->ip) - HEADERS_BYTES) {
		layer->counters[APUS_UDP_TX_DROP_TOO_BIG]++;
		return -EMSGSIZE;
	}
	way = way_to(u, to->addr);
	if (!is_open(u, way, to->addr) && !make_way(u, way, to->addr))
		return output_slow(u, buf, len, to, now_ns);
	m = apus_mbuf_get_bare(layer->ip->link->pool);
	if (apus_likely(m && has_room(m, len)))
		return send_off(u, way, m, buf, len, to, now_ns);
	rte_pktmbuf_free(m);
	return output_slow(u, buf, len, to, now_ns); /* which counts what is missing */
}

/* A short one, over a way that is known, in an mbuf at hand, as nearly all are: there is nothing to call. */
int64_t apus_udp_output(struct apus_udp *u, const void *buf, size_t len,
			const struct apus_endpoint *to, int64_t now_ns)
{
	struct apus_ipv4 *ip = u->layer->ip;
	struct apus_udp_way *way = way_to(u, to->addr);
	struct rte_mbuf *m = NULL;

	if (apus_likely(len < SHORT_BYTES && len <= apus_ipv4_mtu(ip) - HEADERS_BYTES &&
			is_open(u, way, to->addr)))
		m = apus_mbuf_get_near(ip->link->pool);
	if (apus_likely(m && has_room(m, len)))
		return send_off(u, way, m, buf, len, to, now_ns);
	rte_pktmbuf_free(m);
	return output_any(u, buf, len, to, now_ns);
}
