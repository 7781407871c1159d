/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_arp.c: any order of ARP packets, of packets to send, and of time.
 *
 * Input: operations, a byte whose lowest two bits say which, then its operand:
 *
 *	0  28 bytes, or what is left: an ARP packet as it is
 *	1  4 bytes: an ARP packet of kind, sender, station and target chosen from a few
 *	2  1 byte: a packet of ours to one of 256 neighbours (0 to 255 of the prefix)
 *	3  1 byte: so many times 250 ms pass
 *
 * The table keeps its invariants after each; what waits is bounded, and leaves in the end.
 */
#include "tests/fuzz/fuzz_stack.h"

#include <errno.h>
#include <rte_arp.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPERATIONS_MAX 256
#define STEP_NS        (250 * APUS_MS)

static struct fuzz fuzz;

static void receive_arp(const uint8_t *bytes, uint32_t len)
{
	uint8_t frame[RTE_ETHER_HDR_LEN + sizeof(struct rte_arp_hdr)] APUS_ALIGNED(2);
	struct rte_ether_hdr eth = {.dst_addr = fuzz_mac_us,
				    .src_addr = fuzz_mac_peer,
				    .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)};

	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), bytes, len);
	fuzz_receive(&fuzz, frame, (uint32_t)sizeof(eth) + len, sizeof(frame), 0);
}

static void receive_chosen(const uint8_t choice[4])
{
	struct rte_arp_hdr h = {
		.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER),
		.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(uint32_t),
		.arp_opcode = rte_cpu_to_be_16(1 + (choice[0] & 1)),
		.arp_data =
			{
				.arp_sha = {{2, 0, 0, 0, 0, choice[1] & 7}},
				.arp_sip = IP4(10, 7, 0, choice[2]),
				.arp_tip = choice[3] & 1 ? US : IP4(10, 7, 0, choice[3]),
			},
	};

	receive_arp((const uint8_t *)&h, sizeof(h));
}

static void send_to(uint8_t host)
{
	struct apus_ipv4 *ip = &fuzz.stack->ipv4;
	struct rte_mbuf *m = apus_ipv4_mbuf(ip);
	int rc;

	apus_must(m);
	/* An empty datagram whose sum is right for any address: fuzz_check_sent() wants TCP's or UDP's. */
	rte_pktmbuf_append(m, 8);
	memset(rte_pktmbuf_mtod(m, char *), 0, 8);

	struct rte_ipv4_hdr pseudo = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(28),
		.next_proto_id = IPPROTO_UDP,
		.src_addr = US,
		.dst_addr = IP4(10, 7, 0, host),
	};
	uint16_t sum = (uint16_t)~rte_ipv4_phdr_cksum(&pseudo, 0);

	memcpy(rte_pktmbuf_mtod_offset(m, char *, 6), &sum, sizeof(sum));
	rc = apus_ipv4_output(ip, m, apus_addr_v4(US), apus_addr_v4(IP4(10, 7, 0, host)),
			      IPPROTO_UDP, 0, apus_clock_read(&fuzz.clock));
	apus_must(rc == 0 || rc == -EHOSTUNREACH || rc == -ENOBUFS);
	fuzz_turn(&fuzz);
}

/* Return: how many bytes of the operand were used */
static size_t operate(uint8_t operation, const uint8_t *operand, size_t size)
{
	static const uint8_t bytes[4] = {sizeof(struct rte_arp_hdr), 4, 1, 1};
	uint8_t padded[4] = {0};
	size_t used = apus_min(size, (size_t)bytes[operation & 3]);

	memcpy(padded, operand, apus_min(used, sizeof(padded)));
	switch (operation & 3) {
	case 0:
		receive_arp(operand, (uint32_t)used);
		break;
	case 1:
		receive_chosen(padded);
		break;
	case 2:
		send_to(padded[0]);
		break;
	case 3:
		fuzz_advance(&fuzz, padded[0] * STEP_NS);
		break;
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apus_arp *arp;

	fuzz_open(&fuzz);
	arp = &fuzz.stack->arp;
	for (int i = 0; i < OPERATIONS_MAX && size > 0; i++) {
		size_t used = 1 + operate(data[0], data + 1, size - 1);

		data += used;
		size -= used;
		apus_arp_check(arp);
	}
	/* Nobody answers any more: what waits is given up, and the table empties. */
	fuzz_advance(&fuzz, 2 * APUS_ARP_REACHABLE_NS);
	apus_arp_check(arp);
	apus_must_op(arp->waiting, ==, 0);
	apus_must(apus_list_empty(&arp->proven) && apus_list_empty(&arp->unproven));
	apus_must(!apus_timer_armed(&arp->timer));
	fuzz_close(&fuzz);
	return 0;
}
