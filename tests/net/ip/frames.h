/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/frames.h: a stack in virtual time on a wire of which the test holds the other end.
 *
 * Frames are built by hand, byte by byte where it matters, and go in through the real corridor; what
 * comes out is captured and held to a few rules that every frame of ours must keep (lengths,
 * checksums, addresses). After each test nothing may be left: no mbuf and no object of the heap.
 */
#ifndef APUS_TESTS_NET_IP_FRAMES_H
#define APUS_TESTS_NET_IP_FRAMES_H

#include "net/ip/mbuf.h"
#include "net/stack_internal.h"
#include "tests/net/net_test.h"

#include <netinet/in.h>
#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FRAME_BYTES 1536
#define SENT_MAX    4096

#define IP4(a, b, c, d) RTE_BE32(RTE_IPV4((uint32_t)(a), b, c, d))
#define US              IP4(10, 7, 0, 2)
#define PEER            IP4(10, 7, 0, 1)
#define GATEWAY         IP4(10, 7, 0, 254)
#define SUBNET_ALL      IP4(10, 7, 0, 255)
#define FAR             IP4(192, 0, 2, 1)

static const struct rte_ether_addr mac_us APUS_UNUSED = {{2, 0, 0, 0, 0, 2}};
static const struct rte_ether_addr mac_peer APUS_UNUSED = {{2, 0, 0, 0, 0, 1}};
static const struct rte_ether_addr mac_other APUS_UNUSED = {{2, 0, 0, 0, 0, 9}};
static const struct rte_ether_addr mac_all APUS_UNUSED = {{255, 255, 255, 255, 255, 255}};

struct frame {
	uint16_t len;
	uint8_t bytes[FRAME_BYTES] APUS_ALIGNED(8);
};

struct net {
	struct apus_link link; /* first: the stack's link is the test's */
	struct apus_clock clock;
	struct apus_shard *shard;
	struct apus_stack *stack;
	struct rte_mempool *pool;
	struct rte_mbuf *rx[APUS_LINK_BURST_MAX * 8]; /* for the next polls */
	uint32_t rx_head, rx_count;
	bool closed;
	bool trusting;       /* do not check what is sent: a test has it damaged or offloaded */
	uint64_t sent_flags; /* ol_flags of the last frame sent */
	uint32_t sent_count;
	struct frame sent[SENT_MAX];
};

/* --- the wire ------------------------------------------------------------------------------- */

static inline uint16_t net_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			      int64_t now_ns)
{
	struct net *net = (struct net *)link;
	uint16_t count = (uint16_t)apus_min((uint32_t)n, net->rx_count - net->rx_head);

	memcpy(frames, &net->rx[net->rx_head], count * sizeof(*frames));
	net->rx_head += count;
	if (net->rx_head == net->rx_count)
		net->rx_head = net->rx_count = 0;
	return count;
}

/* The sum over a pseudo header and the bytes behind the header; 0xffff is right. */
static inline uint16_t l4_sum(const struct rte_ipv4_hdr *ip)
{
	uint32_t header = rte_ipv4_hdr_len(ip);
	uint32_t bytes = rte_be_to_cpu_16(ip->total_length) - header;
	uint16_t sum = rte_raw_cksum((const char *)ip + header, bytes);

	if (ip->next_proto_id == IPPROTO_ICMP)
		return sum;
	return apus_sum_fold((uint32_t)sum + rte_ipv4_phdr_cksum(ip, 0));
}

/* What every frame that we send must keep. */
static inline void check_sent(const struct net *net, const struct frame *f)
{
	const struct rte_ether_hdr *eth = (const void *)f->bytes;
	const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);

	assert_true(f->len >= sizeof(*eth));
	assert_true(rte_is_same_ether_addr(&eth->src_addr, &net->link.mac));
	if (eth->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		return;
	assert_int_equal(ip->version_ihl, 0x45);
	assert_int_equal(rte_be_to_cpu_16(ip->total_length), f->len - sizeof(*eth));
	assert_true(rte_be_to_cpu_16(ip->total_length) <= net->stack->ipv4.mtu);
	assert_int_equal(ip->fragment_offset, rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG));
	assert_int_equal(ip->time_to_live, 64);
	assert_true(apus_ipv4_has(&net->stack->ipv4, ip->src_addr));
	assert_int_equal(rte_raw_cksum(ip, sizeof(*ip)), 0xffff);
	if (ip->next_proto_id == IPPROTO_ICMP || ip->next_proto_id == IPPROTO_UDP)
		assert_int_equal(l4_sum(ip), 0xffff);
}

static inline void net_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			  int64_t now_ns)
{
	struct net *net = (struct net *)link;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i];
		struct frame *f = &net->sent[net->sent_count];

		apus_must_op(net->sent_count, <, SENT_MAX);
		apus_must_op(m->pkt_len, <=, FRAME_BYTES);
		rte_mbuf_sanity_check(m, 1);

		const void *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, f->bytes);

		apus_must(bytes);
		if (bytes != f->bytes)
			memcpy(f->bytes, bytes, m->pkt_len);
		f->len = (uint16_t)m->pkt_len;
		net->sent_flags = m->ol_flags;
		net->sent_count++;
		if (!net->trusting)
			check_sent(net, f);
		rte_pktmbuf_free(m);
	}
}

static inline int64_t net_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct net *net = (struct net *)link;

	return net->rx_count ? now_ns : APUS_NEVER;
}

static inline void net_link_close(struct apus_link *link)
{
	struct net *net = (struct net *)link;

	rte_pktmbuf_free_bulk(&net->rx[net->rx_head], net->rx_count - net->rx_head);
	net->closed = true;
}

static const struct apus_link_type net_link_type = {
	.name = "test",
	.rx = net_rx,
	.tx = net_tx,
	.idle = net_idle,
	.close = net_link_close,
};

/* --- a stack of one test -------------------------------------------------------------------- */

#define POOL_MBUFS 2047

static inline struct rte_mempool *net_pool(void)
{
	static struct rte_mempool *pool;

	apus_test_eal();
	if (!pool)
		pool = rte_pktmbuf_pool_create("test", POOL_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					       SOCKET_ID_ANY);
	apus_must(pool);
	return pool;
}

/* The shard and the wire, without a stack. */
static inline void net_prepare(struct net *net)
{
	memset(net, 0, offsetof(struct net, sent));
	net->pool = net_pool();
	net->link = (struct apus_link){
		.type = &net_link_type,
		.mac = mac_us,
		.mtu = 1500,
		.pool = net->pool,
		.wake_fd = -1,
	};
	apus_clock_init_virtual(&net->clock, APUS_SEC);
	apus_must(!apus_shard_open(
		&(struct apus_shard_options){.core = -1, .clock = &net->clock, .seed = 1},
		&net->shard));
	apus_shard_enter(net->shard);
}

static inline struct apus_stack_options net_options(void)
{
	return (struct apus_stack_options){
		.addr = apus_addr_v4(US),
		.prefix_bits = 24,
		.gateway = apus_addr_v4(GATEWAY),
		.connections_max = 64,
	};
}

/* Until nothing is due now. */
static inline void net_turn(struct net *net)
{
	while (apus_shard_turn(net->shard))
		;
}

/* Virtual time goes on by @ns; everything that is due on the way happens at its time. */
static inline void net_advance(struct net *net, int64_t ns)
{
	int64_t end_ns = apus_clock_read(&net->clock) + ns;

	for (;;) {
		net_turn(net);

		int64_t next_ns = apus_shard_next_ns(net->shard);

		if (next_ns > end_ns)
			break;
		apus_clock_set(&net->clock, apus_max(next_ns, apus_clock_read(&net->clock)));
	}
	apus_clock_set(&net->clock, end_ns);
	net_turn(net);
}

/* A stack that has said its announcements; what it sent is forgotten. */
static inline void net_open_with(struct net *net, const struct apus_stack_options *options)
{
	net_prepare(net);
	apus_must(!apus_stack_open(net->shard, &net->link, options, &net->stack));
	net_advance(net, APUS_ARP_ANNOUNCE_INTERVAL_NS);
	net->sent_count = 0;
}

static inline void net_open(struct net *net)
{
	struct apus_stack_options options = net_options();

	net_open_with(net, &options);
}

static inline void net_unprepare(struct net *net)
{
	apus_shard_enter(NULL);
	apus_shard_close(net->shard);
	assert_int_equal(rte_mempool_in_use_count(net->pool), 0);
}

static inline void net_close(struct net *net)
{
	if (net->stack)
		apus_arp_check(&net->stack->arp);
	if (net->stack)
		apus_stack_close(net->stack);
	assert_true(net->closed);
	assert_int_equal(apus_shard_tasks(net->shard), 0);
	net_unprepare(net);
}

/* --- frames in ------------------------------------------------------------------------------ */

/* Puts @f on the wire in segments of at most @segment_bytes, with these receive flags. */
static inline void net_put(struct net *net, const struct frame *f, uint16_t segment_bytes,
			   uint64_t ol_flags)
{
	struct rte_mbuf *first = rte_pktmbuf_alloc(net->pool), *last = first;

	apus_must(first && net->rx_count < apus_countof(net->rx));
	for (uint16_t done = 0; done < f->len;) {
		uint16_t part = apus_min(segment_bytes, (uint16_t)(f->len - done));

		if (done > 0) {
			last->next = rte_pktmbuf_alloc(net->pool);
			apus_must(last->next);
			last = last->next;
			first->nb_segs++;
		}
		memcpy(rte_pktmbuf_mtod(last, char *), f->bytes + done, part);
		last->data_len = part;
		first->pkt_len += part;
		done += part;
	}
	first->ol_flags = ol_flags;
	net->rx[net->rx_count++] = first;
}

/* One frame arrives, and the stack has done what it will do about it. */
static inline void net_receive(struct net *net, const struct frame *f)
{
	net_put(net, f, FRAME_BYTES, 0);
	net_turn(net);
}

static inline void frame_append(struct frame *f, const void *bytes, size_t n)
{
	apus_must_op(f->len + n, <=, FRAME_BYTES);
	if (bytes)
		memcpy(f->bytes + f->len, bytes, n);
	else
		memset(f->bytes + f->len, 0, n);
	f->len += (uint16_t)n;
}

static inline void frame_eth(struct frame *f, const struct rte_ether_addr *dst,
			     const struct rte_ether_addr *src, uint16_t ethertype)
{
	struct rte_ether_hdr h = {
		.dst_addr = *dst, .src_addr = *src, .ether_type = rte_cpu_to_be_16(ethertype)};

	f->len = 0;
	frame_append(f, &h, sizeof(h));
}

static inline struct rte_ether_hdr *frame_eth_header(struct frame *f)
{
	return (void *)f->bytes;
}

static inline struct rte_ipv4_hdr *frame_ip(struct frame *f)
{
	return (void *)(f->bytes + RTE_ETHER_HDR_LEN);
}

static inline void *frame_l4(struct frame *f)
{
	return f->bytes + RTE_ETHER_HDR_LEN + rte_ipv4_hdr_len(frame_ip(f));
}

/* Ethernet from the peer to us, and an IPv4 header without options; lengths and sums are not done. */
static inline void frame_ipv4(struct frame *f, uint8_t proto, uint32_t src, uint32_t dst)
{
	struct rte_ipv4_hdr h = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.time_to_live = 64,
		.next_proto_id = proto,
		.src_addr = src,
		.dst_addr = dst,
	};

	frame_eth(f, &mac_us, &mac_peer, RTE_ETHER_TYPE_IPV4);
	frame_append(f, &h, sizeof(h));
}

/* The header's checksum, after a change to it. */
static inline void frame_sum_ip(struct frame *f)
{
	struct rte_ipv4_hdr *h = frame_ip(f);

	h->hdr_checksum = 0;
	h->hdr_checksum = (uint16_t)~rte_raw_cksum(h, rte_ipv4_hdr_len(h));
}

/* Total length and header checksum as they should be. */
static inline void frame_finish_ip(struct frame *f)
{
	frame_ip(f)->total_length = rte_cpu_to_be_16((uint16_t)(f->len - RTE_ETHER_HDR_LEN));
	frame_sum_ip(f);
}

static inline void frame_sum_udp(struct frame *f)
{
	struct rte_udp_hdr *h = frame_l4(f);

	h->dgram_cksum = 0;
	h->dgram_cksum = (uint16_t)~l4_sum(frame_ip(f));
	if (!h->dgram_cksum)
		h->dgram_cksum = 0xffff;
}

static inline void frame_sum_icmp(struct frame *f)
{
	struct rte_icmp_hdr *h = frame_l4(f);

	h->icmp_cksum = 0;
	h->icmp_cksum = (uint16_t)~l4_sum(frame_ip(f));
}

/* A whole datagram from the peer. */
static inline void frame_udp(struct frame *f, uint32_t src, uint16_t src_port, uint32_t dst,
			     uint16_t dst_port, const void *data, size_t bytes)
{
	struct rte_udp_hdr h = {
		.src_port = rte_cpu_to_be_16(src_port),
		.dst_port = rte_cpu_to_be_16(dst_port),
		.dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(h) + bytes)),
	};

	frame_ipv4(f, IPPROTO_UDP, src, dst);
	frame_append(f, &h, sizeof(h));
	frame_append(f, data, bytes);
	frame_finish_ip(f);
	frame_sum_udp(f);
}

static inline void frame_echo(struct frame *f, uint32_t src, uint32_t dst, const void *data,
			      size_t bytes)
{
	struct rte_icmp_hdr h = {
		.icmp_type = APUS_ICMP_ECHO_REQUEST,
		.icmp_ident = rte_cpu_to_be_16(0x1234),
		.icmp_seq_nb = rte_cpu_to_be_16(7),
	};

	frame_ipv4(f, IPPROTO_ICMP, src, dst);
	frame_append(f, &h, sizeof(h));
	frame_append(f, data, bytes);
	frame_finish_ip(f);
	frame_sum_icmp(f);
}

static inline void frame_arp(struct frame *f, uint16_t op, const struct rte_ether_addr *sha,
			     uint32_t spa, uint32_t tpa)
{
	struct rte_arp_hdr h = {
		.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER),
		.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(uint32_t),
		.arp_opcode = rte_cpu_to_be_16(op),
		.arp_data = {.arp_sha = *sha, .arp_sip = spa, .arp_tip = tpa},
	};

	frame_eth(f, op == RTE_ARP_OP_REPLY ? &mac_us : &mac_all, sha, RTE_ETHER_TYPE_ARP);
	frame_append(f, &h, sizeof(h));
}

static inline struct rte_arp_hdr *frame_arp_header(struct frame *f)
{
	return (void *)(f->bytes + RTE_ETHER_HDR_LEN);
}

/* We know the peer's Ethernet address from here on; nothing of it is left in net->sent. */
static inline void net_meet(struct net *net, uint32_t addr, const struct rte_ether_addr *mac)
{
	static struct frame f;

	frame_arp(&f, RTE_ARP_OP_REQUEST, mac, addr, US);
	net_receive(net, &f);
	net->sent_count = 0;
}

/* The last frame that we sent. */
static inline struct frame *net_last(struct net *net)
{
	assert_true(net->sent_count > 0);
	return &net->sent[net->sent_count - 1];
}

/* One counter has moved by one (and it is this one that has the name). */
#define assert_count(net, room, counter, value) \
 assert_int_equal((net)->stack->room.counters[counter], value)

#endif
