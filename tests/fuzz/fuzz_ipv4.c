/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_ipv4.c: any bytes as frames: through Ethernet and IPv4 to ICMP, UDP and TCP.
 *
 * Input: records of flags, length (two bytes, low first) and a packet, at most 32 of them:
 *
 *	bit 0     the packet begins with its own Ethernet header; else one from the peer to us is put before it
 *	bit 1     checksums are made right, as far as the headers are there, so that the rest is reached
 *	bits 2-4  cut in segments of: the whole, 1, 3, 8, 17, 40, 64, 100 bytes
 *	bit 5     a second passes afterwards
 *	bit 6     the device says that it found the checksums good
 *
 * Somebody listens: UDP port 7, UDP port 8 to the peer's port 5353, TCP port 80. Every frame must be
 * accounted for: it went to a room above, or a drop counter has moved.
 */
#include "net/socket/tcp.h"
#include "net/socket/udp.h"
#include "tests/fuzz/fuzz_stack.h"

#include <rte_icmp.h>
#include <rte_tcp.h>
#include <rte_udp.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 32
#define FRAME_MAX   1600

static struct fuzz fuzz;

/* Makes the sums of an IPv4 packet right, where there is room for them. */
static void mend(uint8_t *packet, uint32_t len)
{
	struct rte_ipv4_hdr *ip = (void *)packet;

	if (len < sizeof(*ip) || rte_ipv4_hdr_len(ip) < sizeof(*ip) || rte_ipv4_hdr_len(ip) > len)
		return;

	uint32_t header = rte_ipv4_hdr_len(ip);
	uint32_t total = rte_be_to_cpu_16(ip->total_length);

	ip->hdr_checksum = 0;
	ip->hdr_checksum = (uint16_t)~rte_raw_cksum(ip, header);
	if (total < header || total > len)
		return;

	uint8_t *l4 = packet + header;
	uint32_t bytes = total - header, at;

	switch (ip->next_proto_id) {
	case IPPROTO_ICMP:
		at = offsetof(struct rte_icmp_hdr, icmp_cksum);
		break;
	case IPPROTO_UDP:
		at = offsetof(struct rte_udp_hdr, dgram_cksum);
		break;
	case IPPROTO_TCP:
		at = offsetof(struct rte_tcp_hdr, cksum);
		break;
	default:
		return;
	}
	if (bytes < at + sizeof(uint16_t))
		return;
	memset(l4 + at, 0, sizeof(uint16_t));

	uint32_t sum = rte_raw_cksum(l4, bytes);

	if (ip->next_proto_id != IPPROTO_ICMP)
		sum += rte_ipv4_phdr_cksum(ip, 0);

	uint16_t right = (uint16_t)~apus_sum_fold(sum);

	memcpy(l4 + at, &right, sizeof(right));
}

/* The sum of the counters from @first to @last. */
static uint64_t sum(const uint64_t *counters, unsigned int first, unsigned int last)
{
	uint64_t n = 0;

	for (unsigned int i = first; i <= last; i++)
		n += counters[i];
	return n;
}

/* No frame is lost without a name. */
static void check_accounts(const struct apus_stack *s, uint64_t frames)
{
	const uint64_t *eth = s->eth.counters, *arp = s->arp.counters, *ip = s->ipv4.counters;
	const uint64_t *icmp = s->icmp.counters, *udp = s->udp.counters;
	uint64_t ip_dropped = sum(ip, APUS_IPV4_DROP_SHORT, APUS_IPV4_DROP_SOURCE_ROUTE);
	uint64_t arps = arp[APUS_ARP_REQUESTS_IN] + arp[APUS_ARP_REPLIES_IN] +
			sum(arp, APUS_ARP_DROP_SHORT, APUS_ARP_DROP_OPERATION);
	uint64_t udps = udp[APUS_UDP_RX_DATAGRAMS] +
			sum(udp, APUS_UDP_DROP_SHORT, APUS_UDP_DROP_QUEUES_FULL);
	uint64_t icmps = icmp[APUS_ICMP_RX_MESSAGES];

	apus_must_op(eth[APUS_ETH_RX_FRAMES], ==, frames);
	apus_must_op(frames, ==,
		     sum(eth, APUS_ETH_DROP_SHORT, APUS_ETH_DROP_ETHERTYPE) + arps +
			     ip[APUS_IPV4_RX_PACKETS]);
	apus_must_op(ip[APUS_IPV4_RX_PACKETS], ==,
		     ip_dropped + ip[APUS_IPV4_RX_UNKNOWN_PROTOCOL] + udps + icmps +
			     s->tcp.counters[APUS_TCP_COUNT_SEGMENTS_IN]);
	apus_must_op(icmps, ==,
		     icmp[APUS_ICMP_RX_ECHO_REQUESTS] + icmp[APUS_ICMP_RX_ECHO_REPLIES] +
			     icmp[APUS_ICMP_RX_ERRORS] +
			     sum(icmp, APUS_ICMP_IGNORED_REDIRECT, APUS_ICMP_DROP_CHECKSUM));
	apus_arp_check(&s->arp);
}

static void receive(uint8_t flags, const uint8_t *packet, uint32_t len)
{
	static const uint16_t segment_bytes[] = {FRAME_MAX, 1, 3, 8, 17, 40, 64, 100};
	static uint8_t frame[FRAME_MAX] APUS_ALIGNED(2);
	struct rte_ether_hdr eth = {.dst_addr = fuzz_mac_us,
				    .src_addr = fuzz_mac_peer,
				    .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)};
	uint32_t header = flags & 1 ? 0 : sizeof(eth);
	uint64_t ol_flags =
		flags & 0x40 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
	uint32_t segment = segment_bytes[flags >> 2 & 7];

	len = apus_min(len, FRAME_MAX - header);
	memcpy(frame, &eth, header);
	memcpy(frame + header, packet, len);
	len += header;
	if (flags & 2 && len > sizeof(eth))
		mend(frame + sizeof(eth), len - sizeof(eth));
	if (len / segment > 200) /* no more segments than the pool has */
		segment = 8;
	fuzz_receive(&fuzz, frame, len, segment, ol_flags);
	if (flags & 0x20)
		fuzz_advance(&fuzz, APUS_SEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apus_endpoint any7 = {.port = 7}, any8 = {.port = 8}, any80 = {.port = 80};
	struct apus_endpoint peer = {apus_addr_v4(PEER), 5353};
	struct apus_tcp_listener *listener;
	struct apus_udp *all, *one;
	uint64_t records = 0;

	fuzz_open(&fuzz);
	apus_must(!apus_udp_open(any7, NULL, &all));
	apus_must(!apus_udp_open(any8, &peer, &one));
	apus_must(!apus_tcp_listen(any80, 8, &listener));
	while (size >= 3 && records < RECORDS_MAX) {
		uint32_t len = data[1] | (uint32_t)data[2] << 8;
		uint8_t flags = data[0];

		data += 3;
		size -= 3;
		len = (uint32_t)apus_min((size_t)len, size);
		receive(flags, data, len);
		data += len;
		size -= len;
		records++;
		check_accounts(fuzz.stack, records);
	}
	apus_tcp_listener_close(listener);
	apus_udp_close(one);
	apus_udp_close(all);
	fuzz_close(&fuzz);
	return 0;
}
