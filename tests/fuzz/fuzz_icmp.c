/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_icmp.c: any ICMP about a connection that lives, and what it does to it.
 *
 * Input: a byte of settings (bit 0: timestamps), then records, at most 64: a byte that says what,
 * and what that needs:
 *
 *	0  an error about the connection: type, code, MTU (two bytes), where its number lies beside
 *	   SND.UNA (two bytes, signed, times 16), how many bytes are quoted, what of the quote is wrong
 *	1  any message: length, bytes; the checksum is made right
 *	2  time: 2^n ms, 17 minutes at most
 *	3  the peer acknowledges n * 64 bytes of what is in flight
 *	4  n * 64 bytes are written
 *
 * Nothing of that ends a connection that is synchronized (RFC 9293 §3.9.2.2), makes its segments
 * smaller than 536 bytes and options or larger than both ends agreed on, or changes anything at all
 * unless the number is in flight (RFC 5927). Its invariants hold after each step.
 */
#include "net/tcp/user.h"
#include "tests/fuzz/fuzz_stack.h"

#include <rte_icmp.h>
#include <rte_tcp.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 64
#define IRS         1000
#define MSS         1460
#define QUOTE_MAX   64

struct input {
	const uint8_t *at, *end;
};

static struct fuzz fuzz;
static struct apus_tcp *conn;
static bool has_ts;

static uint8_t byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint16_t half(struct input *in)
{
	uint16_t high = byte(in);

	return (uint16_t)(high << 8 | byte(in));
}

static int64_t now(void)
{
	return apus_clock_read(&fuzz.clock);
}

/* ---- packets in ---- */

static void put_ip(struct rte_ipv4_hdr *ip, uint8_t proto, uint32_t src, uint32_t dst,
		   uint32_t payload)
{
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + payload)),
		.time_to_live = 64,
		.next_proto_id = proto,
		.src_addr = src,
		.dst_addr = dst,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* @payload has room for the headers in front of it. */
static void receive(uint8_t proto, const uint8_t *payload, uint32_t bytes)
{
	static uint8_t frame[1600] APUS_ALIGNED(4);
	struct rte_ether_hdr eth = {.dst_addr = fuzz_mac_us,
				    .src_addr = fuzz_mac_peer,
				    .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)};
	struct rte_ipv4_hdr ip;

	put_ip(&ip, proto, PEER, US, bytes);
	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(frame + sizeof(eth) + sizeof(ip), payload, bytes);
	fuzz_receive(&fuzz, frame, (uint32_t)(sizeof(eth) + sizeof(ip) + bytes), UINT32_MAX, 0);
}

static void receive_arp(void)
{
	uint8_t arp[42] = {2, 0, 0, 0, 0, 2, 2, 0,  0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
			   1, 2, 0, 0, 0, 0, 1, 10, 7, 0, 1, 2, 0, 0, 0, 0, 2, 10, 7, 0, 2};

	fuzz_receive(&fuzz, arp, sizeof(arp), UINT32_MAX, 0);
}

static void receive_segment(uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct {
		struct rte_tcp_hdr tcp;
		uint8_t mss[4], ts[12];
	} __attribute__((packed)) segment = {
		.tcp.src_port = rte_cpu_to_be_16(conn->key.remote_port),
		.tcp.dst_port = rte_cpu_to_be_16(conn->key.local_port),
		.tcp.sent_seq = rte_cpu_to_be_32(seq),
		.tcp.recv_ack = rte_cpu_to_be_32(ack),
		.tcp.data_off = sizeof(segment) / 4 << 4,
		.tcp.tcp_flags = flags,
		.tcp.rx_win = 0xffff,
		.mss = {2, 4, MSS >> 8, MSS & 0xff},
		.ts = {8, 10, 0, 0, 0, 1},
	};
	struct rte_ipv4_hdr ip;

	if (!has_ts)
		memset(segment.ts, 1, sizeof(segment.ts));
	put_ip(&ip, IPPROTO_TCP, PEER, US, sizeof(segment));
	segment.tcp.cksum = rte_ipv4_udptcp_cksum(&ip, &segment);
	receive(IPPROTO_TCP, (const uint8_t *)&segment, sizeof(segment));
}

static void receive_icmp(uint8_t *message, uint32_t bytes)
{
	uint16_t sum;

	if (bytes >= sizeof(struct rte_icmp_hdr)) {
		memset(message + 2, 0, 2);
		sum = (uint16_t)~rte_raw_cksum(message, bytes);
		memcpy(message + 2, &sum, 2);
	}
	receive(IPPROTO_ICMP, message, bytes);
}

/* ---- records ---- */

static void some_error(struct input *in)
{
	struct {
		uint8_t type, code;
		uint16_t sum, unused, mtu;
		struct rte_ipv4_hdr ip;
		struct rte_tcp_hdr tcp;
	} __attribute__((packed)) error = {.type = byte(in), .code = byte(in)};
	uint32_t mss = conn->cc.mss;

	error.mtu = rte_cpu_to_be_16(half(in));

	int32_t beside = (int16_t)half(in) * 16;
	uint32_t seq = conn->snd.una + (uint32_t)beside;
	uint32_t quoted = byte(in) % (QUOTE_MAX + 1);
	uint8_t wrong = byte(in);
	bool in_flight = apus_seq_within(conn->snd.una, seq, conn->snd.nxt - conn->snd.una);

	put_ip(&error.ip, wrong & 1 ? IPPROTO_UDP : IPPROTO_TCP, wrong & 2 ? PEER : US,
	       wrong & 4 ? GATEWAY : PEER, sizeof(error.tcp) + 1000);
	error.tcp.src_port = rte_cpu_to_be_16((uint16_t)(conn->key.local_port + !!(wrong & 8)));
	error.tcp.dst_port = rte_cpu_to_be_16((uint16_t)(conn->key.remote_port + !!(wrong & 16)));
	error.tcp.sent_seq = rte_cpu_to_be_32(seq);
	if (wrong & 32)
		error.ip.version_ihl = (uint8_t)(0x40 | quoted % 16);
	if (wrong & 64)
		error.ip.fragment_offset = rte_cpu_to_be_16(5);
	receive_icmp((uint8_t *)&error, apus_min(8 + quoted, (uint32_t)sizeof(error)));
	if (!in_flight || wrong & 0x7f)
		apus_must_op(conn->cc.mss, ==, mss);
	apus_must_op(conn->cc.mss, <=, mss); /* nothing is raised by it */
}

static void any_message(struct input *in)
{
	uint8_t message[255];
	uint32_t bytes = byte(in);

	for (uint32_t i = 0; i < bytes; i++)
		message[i] = byte(in);
	receive_icmp(message, bytes);
}

static void write_some(uint32_t bytes)
{
	static const uint8_t zeros[255 * 64];
	struct iovec iov = {(void *)(uintptr_t)zeros, bytes};

	if (bytes)
		(void)!apus_tcp_call_send(conn, &iov, 1, now());
	fuzz_turn(&fuzz);
}

static void ack_some(uint32_t bytes)
{
	uint32_t flight = conn->snd.nxt - conn->snd.una;

	receive_segment(RTE_TCP_ACK_FLAG, IRS + 1, conn->snd.una + apus_min(bytes, flight));
}

static void check(void)
{
	apus_tcp_check(conn);
	apus_pmtu_check(&fuzz.stack->ipv4.pmtu);
	apus_must_op(fuzz.stack->ipv4.pmtu.used, <=, 1); /* one peer, one path */
	if (conn->state == APUS_TCP_CLOSED) {
		apus_must(conn->error == -ETIMEDOUT || conn->error == conn->soft_error);
		return;
	}
	apus_must_op(conn->state, ==, APUS_TCP_ESTABLISHED);
	apus_must_op(conn->cc.mss, >=, APUS_TCP_MSS_LEAST_ICMP - 12);
	apus_must_op(conn->cc.mss, <=, MSS);
}

static void step(struct input *in)
{
	bool alive = conn->state == APUS_TCP_ESTABLISHED;
	uint8_t what = byte(in) % 5;

	switch (what) {
	case 0:
		some_error(in);
		break;
	case 1:
		any_message(in);
		break;
	case 2:
		fuzz_advance(&fuzz, APUS_MS << byte(in) % 21);
		receive_arp(); /* a neighbour that is known again */
		return;
	case 3:
		ack_some(byte(in) * 64U);
		break;
	case 4:
		write_some(byte(in) * 64U);
		break;
	}
	apus_must_op(conn->state == APUS_TCP_ESTABLISHED, ==, alive); /* only time ends it */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apus_endpoint peer = {apus_addr_v4(PEER), 80}, local = {.port = 40000};
	struct input in = {data, data + size};

	has_ts = byte(&in) & 1;
	fuzz_open(&fuzz);
	receive_arp();
	apus_must(!apus_tcp_call_open_from(&fuzz.stack->tcp, local, peer, now(), &conn));
	fuzz_turn(&fuzz);
	receive_segment(RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, IRS, conn->snd.nxt);
	apus_must_op(conn->state, ==, APUS_TCP_ESTABLISHED);
	apus_must_op(conn->has_ts, ==, has_ts);
	write_some(6000);
	for (int i = 0; i < RECORDS_MAX && in.at < in.end; i++) {
		step(&in);
		check();
	}
	apus_tcp_call_abort(conn, now());
	fuzz_turn(&fuzz);
	fuzz_close(&fuzz);
	return 0;
}
