/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/tcp_peer.h: a stack in virtual time, and as its peer the test itself, which sends
 * what segments it likes and hears every segment that is sent.
 *
 * The link has no other end: what the stack sends is parsed into `heard`, what the test sends is
 * what the link receives next. The stack is 10.0.0.1, the peer 10.0.0.2.
 */
#ifndef APUS_TESTS_NET_TCP_TCP_PEER_H
#define APUS_TESTS_NET_TCP_TCP_PEER_H

#include "tests/net/tcp/tcp_test.h"

#include "net/ip/icmp.h"
#include "net/stack_internal.h"
#include "net/tcp/listen.h"
#include "net/tcp/user.h"

#include <arpa/inet.h>

#define PEER_PORT   4000
#define SERVER_PORT 80
#define PEER_WINDOW 65535
#define FRAMES_MAX  64
#ifndef HEARD_MAX
# define HEARD_MAX 256
#endif

struct heard {
	struct apus_segment seg; /* local and remote as the peer sees them */
	uint8_t text[1460];
};

struct peer {
	struct apus_link link; /* first */
	struct apus_clock clock;
	struct apus_shard *shard;
	struct apus_stack *stack;
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;                  /* ours, once there is one; held */
	uint16_t port;                       /* the stack's */
	uint32_t irs;                        /* the peer's first sequence number */
	uint32_t iss;                        /* the stack's, once heard */
	struct rte_mbuf *frames[FRAMES_MAX]; /* to be received next */
	uint32_t frame_count;
	struct heard heard[HEARD_MAX];
	uint32_t heard_count;
	bool stamps;     /* every segment that the peer puts has a timestamp of its own or this: */
	uint32_t ts_val; /* what its clock shows */
	uint32_t ts_ecr; /* the last one that it heard */
};

static const struct rte_ether_addr peer_mac = {{2, 0, 0, 0, 0, 2}};

/* ---- the link ---- */

static uint16_t peer_link_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			     int64_t now_ns)
{
	struct peer *p = (struct peer *)link;
	uint16_t given = (uint16_t)apus_min(n, p->frame_count);

	memcpy(frames, p->frames, given * sizeof(frames[0]));
	p->frame_count -= given;
	memmove(p->frames, p->frames + given, p->frame_count * sizeof(frames[0]));
	return given;
}

/* ARP: what 10.0.0.2 answers when it is asked, and asks to be known. */
static void peer_arp(struct peer *p, uint8_t operation)
{
	uint8_t arp[42] = {2, 0, 0, 0, 0, 1, 2, 0,  0, 0, 0, 2, 8, 6, 0, 1, 8, 0,  6, 4, 0,
			   0, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1};

	arp[21] = operation;
	apus_must(p->frame_count < FRAMES_MAX);
	p->frames[p->frame_count++] = test_mbuf(arp, sizeof(arp), sizeof(arp));
}

/* TCP is parsed; ARP requests for the peer are answered. */
static void peer_hear(struct peer *p, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	struct heard *h = &p->heard[p->heard_count];

	if (eth->ether_type == htons(RTE_ETHER_TYPE_ARP)) {
		if (rte_pktmbuf_mtod(m, const uint8_t *)[21] == 1 &&
		    rte_pktmbuf_mtod(m, const uint8_t *)[41] == 2)
			peer_arp(p, 2);
		return;
	}
	apus_must(p->heard_count < HEARD_MAX);
	apus_must(rte_pktmbuf_adj(m, sizeof(*eth)));
	m->l3_len = 20;
	m->ol_flags = 0;
	apus_must(rte_pktmbuf_mtod(m, const uint8_t *)[0] == 0x45);
	apus_must(apus_segment_parse(m, &h->seg) == APUS_SEGMENT_OK);
	apus_must(!h->seg.options_malformed && h->seg.text_bytes <= sizeof(h->text));
	if (h->seg.text_bytes) {
		const void *text =
			rte_pktmbuf_read(m, h->seg.text_offset, h->seg.text_bytes, h->text);

		if (text != h->text)
			memcpy(h->text, text, h->seg.text_bytes);
	}
	p->ts_ecr = h->seg.has_ts ? h->seg.ts_val : p->ts_ecr;
	p->heard_count++;
}

static void peer_link_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			 int64_t now_ns)
{
	for (uint16_t i = 0; i < n; i++) {
		peer_hear((struct peer *)link, frames[i]);
		rte_pktmbuf_free(frames[i]);
	}
}

static int64_t peer_link_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return APUS_NEVER;
}

static void peer_link_close(struct apus_link *link)
{
	struct peer *p = (struct peer *)link;

	while (p->frame_count)
		rte_pktmbuf_free(p->frames[--p->frame_count]);
	apus_link_fini(link);
}

static const struct apus_link_type peer_link_type = {
	.name = "peer",
	.rx = peer_link_rx,
	.tx = peer_link_tx,
	.idle = peer_link_idle,
	.close = peer_link_close,
};

/* ---- time ---- */

static inline void peer_turn(struct peer *p)
{
	for (int i = 0; i < 100 && apus_shard_turn(p->shard); i++)
		;
	if (p->c)
		apus_tcp_check(p->c);
}

/* Let `ns` pass, and all that is due in them. */
static inline void peer_wait(struct peer *p, int64_t ns)
{
	int64_t end_ns = apus_clock_read(&p->clock) + ns;

	for (;;) {
		int64_t next_ns =
			apus_max(apus_shard_next_ns(p->shard), apus_clock_read(&p->clock));

		if (next_ns > end_ns)
			break;
		apus_clock_set(&p->clock, next_ns);
		peer_turn(p);
	}
	apus_clock_set(&p->clock, end_ns);
	peer_turn(p);
}

/* ---- sending ---- */

static inline void peer_send_frame(struct peer *p, const uint8_t *packet, uint32_t bytes)
{
	struct rte_ether_hdr eth = {.dst_addr = p->link.mac,
				    .src_addr = peer_mac,
				    .ether_type = htons(RTE_ETHER_TYPE_IPV4)};
	struct rte_mbuf *m = test_mbuf(packet, bytes, 2000);

	memcpy(rte_pktmbuf_prepend(m, sizeof(eth)), &eth, sizeof(eth));
	apus_must(p->frame_count < FRAMES_MAX);
	p->frames[p->frame_count++] = m;
}

/* The stack asks who 10.0.0.2 is as soon as it has to answer; told before, it need not. */
static inline void peer_introduce(struct peer *p)
{
	peer_arp(p, 1);
	peer_turn(p);
}

/*
 * Put the segment on the wire, with `text_bytes` bytes of the stream at its sequence number: it
 * arrives in the next turn. Addresses and ports are filled in where they are zero.
 */
static inline void peer_put(struct peer *p, struct apus_segment seg, uint32_t text_bytes)
{
	static uint8_t packet[2000];
	uint32_t first = seg.seq + seg.syn, bytes;
	struct rte_mbuf *m;

	if (apus_addr_is_any(seg.local))
		seg.local = apus_addr_v4(htonl(0x0a000002));
	if (apus_addr_is_any(seg.remote))
		seg.remote = apus_addr_v4(htonl(0x0a000001));
	if (!seg.local_port)
		seg.local_port = PEER_PORT;
	if (!seg.remote_port)
		seg.remote_port = p->port;
	if (p->stamps && !seg.has_ts) {
		seg.has_ts = true;
		seg.ts_val = p->ts_val;
		seg.ts_ecr = seg.has_ack ? p->ts_ecr : 0;
	}
	for (uint32_t i = 0; i < text_bytes; i++)
		packet[i] = test_byte((uint32_t)(first + i));
	m = test_mbuf(packet, text_bytes, sizeof(packet));
	apus_must(apus_segment_build(m, &seg, 0) == 0);
	bytes = 20 + test_mbuf_bytes(m, packet + 20, sizeof(packet) - 20);
	rte_pktmbuf_free(m);
	test_packet_finish(packet, bytes);
	packet[1] = seg.ecn;
	memcpy(packet + 12, &seg.local.u32[3], 4);
	memcpy(packet + 16, &seg.remote.u32[3], 4);
	packet[10] = packet[11] = 0;
	*(uint16_t *)(void *)(packet + 10) = htons(test_checksum(packet, 20, 0));
	*(uint16_t *)(void *)(packet + 36) = 0;
	*(uint16_t *)(void *)(packet + 36) = htons(test_tcp_checksum(packet, bytes));
	peer_send_frame(p, packet, bytes);
}

/* Put it on the wire, and let the stack answer. */
static inline void peer_send(struct peer *p, struct apus_segment seg, uint32_t text_bytes)
{
	peer_put(p, seg, text_bytes);
	peer_turn(p);
}

/* A segment of the peer's, no flags yet. */
static inline struct apus_segment peer_segment(uint32_t seq, uint32_t ack)
{
	return (struct apus_segment){.seq = seq, .ack = ack, .wnd = PEER_WINDOW, .wscale = -1};
}

static inline void peer_send_syn(struct peer *p, uint32_t seq)
{
	struct apus_segment seg = peer_segment(seq, 0);

	seg.syn = true;
	seg.mss = 1460;
	peer_send(p, seg, 0);
}

static inline void peer_send_ack(struct peer *p, uint32_t seq, uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	peer_send(p, seg, 0);
}

static inline void peer_send_text(struct peer *p, uint32_t seq, uint32_t ack, uint32_t bytes)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	peer_send(p, seg, bytes);
}

static inline void peer_send_fin(struct peer *p, uint32_t seq, uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	seg.fin = true;
	peer_send(p, seg, 0);
}

/* ---- hearing ---- */

static inline const struct apus_segment *peer_last(const struct peer *p)
{
	apus_must(p->heard_count > 0);
	return &p->heard[p->heard_count - 1].seg;
}

static inline void peer_forget(struct peer *p)
{
	p->heard_count = 0;
}

/* ---- open and close ---- */

/* On memory of the caller's. */
static inline void peer_open_at(struct peer *p, struct apus_tcp_options tcp)
{
	struct apus_stack_options options = {.addr = apus_addr_v4(htonl(0x0a000001)),
					     .prefix_bits = 24,
					     .connections_max = 64,
					     .tcp = tcp};

	memset(p, 0, sizeof(*p));
	p->irs = 1000;
	p->port = SERVER_PORT;
	apus_clock_init_virtual(&p->clock, APUS_SEC);
	apus_must(apus_shard_open(
			  &(struct apus_shard_options){.core = -1, .clock = &p->clock, .seed = 1},
			  &p->shard) == 0);
	apus_shard_enter(p->shard);
	apus_link_init(&p->link, &peer_link_type);
	p->link.mac = (struct rte_ether_addr){{2, 0, 0, 0, 0, 1}};
	p->link.mtu = 1500;
	p->link.pool = test_pool;
	p->link.reads_any_memory = true;
	apus_must(apus_stack_open(p->shard, &p->link, &options, &p->stack) == 0);
	peer_introduce(p);
}

static inline struct peer *peer_open_with(struct apus_tcp_options tcp)
{
	static struct peer peer;

	peer_open_at(&peer, tcp);
	return &peer;
}

static inline struct peer *peer_open(void)
{
	return peer_open_with((struct apus_tcp_options){0});
}

/* The connection and the listener go first, and what they say in the end is forgotten. */
static inline void peer_close(struct peer *p)
{
	int64_t now_ns = apus_clock_read(&p->clock);

	if (p->c)
		apus_tcp_call_abort(p->c, now_ns);
	p->c = NULL;
	if (p->listener)
		apus_tcp_listener_shut(p->listener, now_ns);
	peer_turn(p);
	apus_stack_close(p->stack);
	apus_shard_enter(NULL);
	apus_shard_close(p->shard);
}

static inline void peer_listen(struct peer *p)
{
	struct apus_endpoint any = {.port = SERVER_PORT};

	apus_must(apus_tcp_listener_open(&p->stack->tcp, any, 0, &p->listener) == 0);
}

/* The stack connects to the peer; its SYN is heard. */
static inline void peer_is_called(struct peer *p)
{
	struct apus_endpoint to = {apus_addr_v4(htonl(0x0a000002)), PEER_PORT};

	apus_must(apus_tcp_call_open(&p->stack->tcp, to, apus_clock_read(&p->clock), &p->c) == 0);
	peer_turn(p);
	p->iss = peer_last(p)->seq;
	p->port = peer_last(p)->remote_port;
}

/* The peer's SYN,ACK; options may be changed before it is sent. */
static inline struct apus_segment peer_syn_ack(const struct peer *p)
{
	struct apus_segment seg = peer_segment(p->irs, p->iss + 1);

	seg.syn = seg.has_ack = true;
	seg.mss = 1460;
	return seg;
}

/* The peer answers our SYN, and all said so far is forgotten. */
static inline void peer_answers(struct peer *p, struct apus_segment syn_ack)
{
	peer_send(p, syn_ack, 0);
	peer_forget(p);
}

/* Let the clock of initial sequence numbers run until that of the peer's next call is @iss. */
static inline void peer_wait_for_iss(struct peer *p, uint32_t iss)
{
	struct apus_tcp_key key = {.local = apus_addr_v4(htonl(0x0a000001)),
				   .remote = apus_addr_v4(htonl(0x0a000002)),
				   .local_port = SERVER_PORT,
				   .remote_port = PEER_PORT};
	uint32_t now = apus_tcp_isn(&p->stack->tcp, &key, apus_clock_read(&p->clock));

	peer_wait(p, (int64_t)(uint32_t)(iss - now) * 4000);
	peer_introduce(p);
}

static inline void peer_write(struct peer *p, const void *bytes, size_t count)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, count};

	apus_must(apus_tcp_call_send(p->c, &iov, 1, apus_clock_read(&p->clock)) == (int64_t)count);
	peer_turn(p);
}

/* A router cannot pass on the segment of ours, of number @seq; @mtu: of its next link. */
static inline void peer_unreachable(struct peer *p, uint8_t code, uint32_t seq, uint16_t mtu)
{
	struct apus_icmp_error error = {
		.type = APUS_ICMP_UNREACHABLE,
		.code = code,
		.proto = IPPROTO_TCP,
		.local = p->c->key.local,
		.remote = p->c->key.remote,
		.local_port = p->c->key.local_port,
		.remote_port = p->c->key.remote_port,
		.seq = seq,
		.mtu = mtu,
	};

	apus_tcp_icmp_error(&p->stack->tcp, &error, apus_clock_read(&p->clock));
	peer_turn(p);
}

static inline uint64_t peer_counter(const struct peer *p, enum apus_tcp_counter counter)
{
	return p->stack->tcp.counters[counter];
}

#endif
