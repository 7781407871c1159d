/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_connection.c: a whole connection: any sequence of segments, calls and time.
 *
 * Input: a byte of settings (bit 0: we connect, bits 1-2: what the peer's SYN offers, bit 3: a small
 * pool), then records: a byte that says what, and what that needs:
 *
 *	0-3  a segment: flags, where its SEQ lies and by how much beside, where its ACK, length / 8,
 *	     window, options (bits 0-1 timestamp, 2-4 how many SACK blocks of two offsets each)
 *	4    time: 2^n ms
 *	5    write n * 64 bytes     6  read n * 64 bytes     7  shutdown, close, abort or an option
 *
 * The peer's text is a function of its sequence number, and so is ours: what is read must be what
 * lies at that place in the peer's stream, what is sent what lies there in ours, however often and
 * in whatever pieces it comes; the connection's own invariants hold after each step; and when the
 * world is closed nothing may be left.
 */
#include "net/sim/drive.h"
#include "net/socket/tcp.h"
#include "net/stack_internal.h"
#include "net/tcp/listen.h"
#include "net/tcp/user.h"
#include "tests/net/net_test.h"

#include <netinet/in.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define OUR_PORT  80
#define PEER_PORT 4000
#define TEXT_MAX  2040
#define STEPS_MAX 400

struct input {
	const uint8_t *at, *end;
};

static struct {
	struct apus_sim_world *world;
	struct apus_sim_host *host;
	struct apus_tcp_listener *listener;
	struct apus_tcp *conn;
	bool we_connect;
	uint8_t offer;              /* bit 0: timestamps, bit 1: SACK */
	uint32_t peer_iss, our_iss; /* the latter as heard */
	uint16_t our_port;
	uint32_t heard_ack, heard_end; /* of the last segments that we sent */
	uint32_t heard_ts;
	uint64_t written, read; /* bytes of the two streams */
} fuzz;

static uint8_t byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint16_t half(struct input *in)
{
	uint16_t high = byte(in);

	return (uint16_t)(high << 8 | byte(in));
}

/* Byte @position of a stream. */
static uint8_t text(uint32_t position, uint8_t key)
{
	uint32_t x = position * 2654435761u + key;

	return (uint8_t)(x >> 24 ^ x >> 11);
}

/* ---- what we send ---- */

static void read_timestamp(const uint8_t *at, size_t n)
{
	uint32_t value;

	for (size_t i = 0; i < n && at[i]; i += at[i] == 1 ? 1 : at[i + 1])
		if (at[i] == 8) {
			memcpy(&value, at + i + 2, 4);
			fuzz.heard_ts = ntohl(value);
		}
}

/* Well formed, and of our stream. */
static void hear(const uint8_t *packet, size_t bytes)
{
	const struct rte_ipv4_hdr *ip = (const void *)packet;
	const struct rte_tcp_hdr *tcp = (const void *)(ip + 1);
	size_t header = (size_t)(tcp->data_off >> 4) * 4;
	uint32_t seq = ntohl(tcp->sent_seq);

	if (ip->next_proto_id != IPPROTO_TCP)
		return; /* ICMP: not this test's */
	apus_must_op(ntohs(ip->total_length), ==, bytes);
	apus_must_op(rte_ipv4_udptcp_cksum(ip, tcp), ==, 0); /* with the checksum itself */
	apus_must(header >= 20 && sizeof(*ip) + header <= bytes);
	if (tcp->tcp_flags & RTE_TCP_RST_FLAG || tcp->dst_port != htons(PEER_PORT))
		return;
	if (tcp->tcp_flags & RTE_TCP_SYN_FLAG) {
		fuzz.our_iss = seq;
		fuzz.our_port = ntohs(tcp->src_port);
	}
	read_timestamp((const uint8_t *)(tcp + 1), header - sizeof(*tcp));
	bytes -= sizeof(*ip) + header;
	/* Probes lie before the stream, a FIN behind it. */
	for (size_t i = 0; i < bytes; i++)
		apus_must_op(packet[sizeof(*ip) + header + i], ==,
			     text(seq + (uint32_t)i - fuzz.our_iss - 1, 1));
	fuzz.heard_ack = ntohl(tcp->recv_ack);
	fuzz.heard_end =
		seq + (uint32_t)bytes + !!(tcp->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG));
}

static void run(void)
{
	static uint8_t packet[65536];
	size_t bytes;

	apus_must(apus_sim_step(fuzz.world) >= 0);
	while ((bytes = apus_sim_collect(fuzz.host, packet, sizeof(packet), NULL)) > 0)
		hear(packet, bytes);
	if (fuzz.conn)
		apus_tcp_check(fuzz.conn);
}

/* ---- what the peer sends ---- */

/* One of the places that matter, or a little beside one, or anywhere. */
static uint32_t place(struct input *in, uint32_t right, uint32_t initial)
{
	uint8_t what = byte(in);

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		return right;
	case 3:
		return right + (what >> 3);
	case 4:
		return right - (what >> 3);
	case 5:
		return right + half(in);
	case 6:
		return initial + half(in);
	default:
		return right + ((uint32_t)half(in) << 16);
	}
}

static size_t put_sack(uint8_t *at, struct input *in, unsigned int count)
{
	size_t n = 4;

	memcpy(at, "\x01\x01\x05", 3);
	at[3] = (uint8_t)(2 + 8 * count);
	for (unsigned int i = 0; i < count; i++) {
		uint32_t start = fuzz.our_iss + half(in);
		uint32_t end = htonl(start + half(in));

		start = htonl(start);
		memcpy(at + n, &start, 4);
		memcpy(at + n + 4, &end, 4);
		n += 8;
	}
	return n;
}

static size_t put_options(uint8_t *at, struct input *in, uint8_t flags)
{
	uint8_t what = byte(in);
	unsigned int blocks = apus_min(what >> 2 & 7u, 3u);
	uint32_t val, ecr = htonl(fuzz.heard_ts);
	size_t n = 0;

	if (flags & RTE_TCP_SYN_FLAG) {
		memcpy(at, "\x02\x04\x05\xb4\x03\x03\x07\x01", 8);
		n = 8;
		if (fuzz.offer & 2) {
			memcpy(at + n, "\x04\x02\x01\x01", 4);
			n += 4;
		}
	}
	if (fuzz.offer & 1 && (what & 3) != 3) { /* now, now, old */
		val = htonl((uint32_t)(apus_sim_now(fuzz.world) / APUS_MS) -
			    ((what & 3) == 2 ? byte(in) * 256u : 0));
		memcpy(at + n, "\x01\x01\x08\x0a", 4);
		memcpy(at + n + 4, &val, 4);
		memcpy(at + n + 8, &ecr, 4);
		n += 12;
	}
	if (blocks && !(flags & RTE_TCP_SYN_FLAG) && n + 4 + 8 * blocks <= 40)
		n += put_sack(at + n, in, blocks);
	return n;
}

static void send_segment(struct input *in)
{
	struct {
		struct rte_ipv4_hdr ip;
		struct rte_tcp_hdr tcp;
		uint8_t rest[40 + TEXT_MAX];
	} p = {
		.ip = {.version_ihl = RTE_IPV4_VHL_DEF,
		       .time_to_live = 64,
		       .next_proto_id = IPPROTO_TCP,
		       .src_addr = htonl(RTE_IPV4(10, 0, 0, 2)),
		       .dst_addr = htonl(RTE_IPV4(10, 0, 0, 1))},
		.tcp = {.src_port = htons(PEER_PORT), .dst_port = htons(fuzz.our_port)},
	};
	uint32_t right = fuzz.heard_ack ? fuzz.heard_ack : fuzz.peer_iss;
	uint32_t seq, bytes;
	size_t options, total;

	p.tcp.tcp_flags = byte(in);
	seq = place(in, right, fuzz.peer_iss);
	p.tcp.sent_seq = htonl(seq);
	p.tcp.recv_ack = htonl(place(in, fuzz.heard_end, fuzz.our_iss));
	bytes = p.tcp.tcp_flags & RTE_TCP_SYN_FLAG ? 0 : byte(in) * 8u;
	p.tcp.rx_win = htons(half(in));
	options = put_options(p.rest, in, p.tcp.tcp_flags);
	for (uint32_t i = 0; i < bytes; i++)
		p.rest[options + i] = text(seq + i - fuzz.peer_iss - 1, 2);
	total = offsetof(typeof(p), rest) + options + bytes;
	p.tcp.data_off = (uint8_t)((sizeof(p.tcp) + options) / 4 << 4);
	p.ip.total_length = htons((uint16_t)total);
	p.ip.hdr_checksum = rte_ipv4_cksum(&p.ip);
	p.tcp.cksum = rte_ipv4_udptcp_cksum(&p.ip, &p.tcp);
	(void)!apus_sim_inject(fuzz.host, &p, total); /* without an mbuf it is lost */
}

/* ---- calls of our user ---- */

static uint8_t data[255 * 64 + 1];

static void call_write(uint32_t bytes)
{
	struct iovec iov = {.iov_base = data, .iov_len = bytes};
	int64_t n;

	for (uint32_t i = 0; i < bytes; i++)
		data[i] = text((uint32_t)fuzz.written + i, 1);
	n = apus_tcp_call_send(fuzz.conn, &iov, 1, apus_now());
	apus_must(n <= (int64_t)bytes);
	if (n > 0)
		fuzz.written += (uint64_t)n;
}

static void call_read(uint32_t bytes)
{
	int64_t n = apus_tcp_call_receive(fuzz.conn, data, bytes + 1);

	apus_must(n <= (int64_t)bytes + 1);
	/* The peer's stream begins where the SYN said that was taken. */
	for (int64_t i = 0; i < n; i++)
		apus_must_op(data[i], ==,
			     text(fuzz.conn->rcv.irs - fuzz.peer_iss + (uint32_t)fuzz.read++, 2));
}

static void call_other(uint8_t what)
{
	switch (what & 7) {
	case 0:
		(void)!apus_tcp_call_shutdown(fuzz.conn);
		break;
	case 1:
		apus_tcp_call_close(fuzz.conn, apus_now());
		fuzz.conn = NULL;
		break;
	case 2:
		apus_tcp_call_abort(fuzz.conn, apus_now());
		fuzz.conn = NULL;
		break;
	case 3:
		(void)!apus_tcp_set(fuzz.conn, APUS_TCP_NODELAY, what & 8);
		break;
	case 4:
		(void)!apus_tcp_set(fuzz.conn, APUS_TCP_KEEPALIVE_IDLE_NS, (what >> 3) * APUS_SEC);
		break;
	case 5:
		(void)!apus_tcp_set(fuzz.conn, APUS_TCP_USER_TIMEOUT_NS, (what >> 3) * APUS_SEC);
		break;
	default:
		break;
	}
}

static int64_t call(void *arg)
{
	struct input *in = arg;
	uint8_t what = byte(in);

	if (!fuzz.conn && fuzz.listener && apus_tcp_listener_has_ready(fuzz.listener)) {
		fuzz.conn = apus_tcp_listener_take(fuzz.listener);
		fuzz.written = fuzz.read = 0;
	}
	if (!fuzz.conn)
		return 0;
	if ((what & 7) == 5)
		call_write(byte(in) * 64u);
	else if ((what & 7) == 6)
		call_read(byte(in) * 64u);
	else
		call_other(byte(in));
	return 0;
}

static int64_t open_either(void *arg)
{
	struct apus_endpoint to = {.addr = apus_addr_v4(htonl(RTE_IPV4(10, 0, 0, 2))),
				   .port = PEER_PORT};

	if (!fuzz.we_connect)
		return apus_tcp_listen((struct apus_endpoint){.port = OUR_PORT}, 8, &fuzz.listener);
	return apus_tcp_call_open(&apus_stack_self()->tcp, to, apus_now(), &fuzz.conn);
}

static int64_t close_either(void *arg)
{
	if (fuzz.conn)
		apus_tcp_call_close(fuzz.conn, apus_now());
	if (fuzz.listener)
		apus_tcp_listener_close(fuzz.listener);
	return 0;
}

/* ---- one input ---- */

static struct rte_mempool *pool(void)
{
	static struct rte_mempool *made;

	apus_test_eal();
	if (!made)
		made = rte_pktmbuf_pool_create("fuzz", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					       SOCKET_ID_ANY);
	apus_must(made);
	return made;
}

static void begin(uint8_t settings)
{
	struct apus_sim_world_options world = {.pool = pool(), .quiet = true};
	struct apus_sim_host_options as = {.ip = "10.0.0.1/24"};

	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.we_connect = settings & 1;
	fuzz.offer = settings >> 1 & 3;
	fuzz.peer_iss = settings & 16 ? UINT32_MAX - 5000 : 1000; /* the sequence space wraps */
	fuzz.our_port = OUR_PORT;
	if (settings & 8)
		as.mbufs = 63;
	apus_must(!apus_sim_world_open(settings, &world, &fuzz.world));
	apus_must(!apus_sim_host_open(fuzz.world, "host", &as, &fuzz.host));
	apus_must(!apus_sim_drive(fuzz.host, NULL));
	apus_must(!apus_sim_call(fuzz.host, open_either, NULL));
	run();
}

static void step(struct input *in)
{
	uint8_t what = *in->at;

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
	case 3:
		in->at++;
		send_segment(in);
		break;
	case 4:
		in->at++;
		apus_must(!apus_sim_advance(fuzz.world, APUS_MS << (byte(in) & 15)));
		break;
	default:
		(void)apus_sim_call(fuzz.host, call, in);
		break;
	}
	run();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = {.at = bytes + 1, .end = bytes + size};

	if (size < 2)
		return 0;
	begin(bytes[0]);
	for (int i = 0; i < STEPS_MAX && in.at < in.end; i++)
		step(&in);
	(void)apus_sim_call(fuzz.host, close_either, NULL);
	fuzz.conn = NULL;
	run();
	apus_must(!apus_sim_world_close(fuzz.world));
	return 0;
}
