/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_segment.c: any bytes as a TCP segment.
 *
 * Input: a byte whose lowest bit says that the device found the checksum good (so that the rest is
 * reached), and whose other bits say where the segment is cut in two mbufs; then the segment. Each
 * mbuf is exactly as large as its bytes, so that ASan sees a read beyond.
 *
 * Whatever is accepted must be in bounds, and must parse to itself when it is built again.
 */
#include "net/tcp/segment.h"
#include "runtime/base/check.h"
#include "tests/fuzz/fuzz_mbuf.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IP_BYTES 20

static void put_ip_header(uint8_t *at, uint32_t total, uint32_t src, uint32_t dst)
{
	struct rte_ipv4_hdr ip = {
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16((uint16_t)total),
		.time_to_live = 64,
		.next_proto_id = 6,
		.src_addr = src,
		.dst_addr = dst,
	};

	memcpy(at, &ip, sizeof(ip));
}

static void check_bounds(const struct apus_segment *seg, uint32_t total)
{
	apus_must_op(seg->text_offset, >=, IP_BYTES + APUS_SEGMENT_HEADER_MIN);
	apus_must_op(seg->text_offset, <=, IP_BYTES + APUS_SEGMENT_HEADER_MAX);
	apus_must_op(seg->text_offset + seg->text_bytes, ==, total);
	apus_must_op(seg->len, ==, seg->text_bytes + seg->syn + seg->fin);
	apus_must(seg->wscale >= -1 && seg->wscale <= APUS_SEGMENT_WSCALE_MAX);
	apus_must_op(seg->sack_count, <=, APUS_SEGMENT_SACK_MAX);
	apus_must(seg->syn || (!seg->mss && seg->wscale < 0 && !seg->sack_permitted));
}

/* Built and parsed again, seen from the other side. */
static void check_rebuilt(const struct apus_segment *seg)
{
	const uint32_t room = IP_BYTES + APUS_SEGMENT_HEADER_MAX;
	uint8_t *buffer = malloc(room);
	struct rte_mbuf m = mbuf_on(buffer, (uint16_t)room, 0);
	struct apus_segment back;

	apus_must_op(apus_segment_build(&m, seg, 0), ==, 0);
	apus_must_op(m.pkt_len, ==, apus_segment_header_bytes(seg));
	m.data_off -= IP_BYTES;
	m.data_len += IP_BYTES;
	m.pkt_len += IP_BYTES;
	m.l3_len = IP_BYTES;
	put_ip_header(rte_pktmbuf_mtod(&m, uint8_t *), m.pkt_len, apus_addr_to_v4(seg->local),
		      apus_addr_to_v4(seg->remote));
	apus_must_op(apus_segment_parse(&m, &back), ==, APUS_SEGMENT_OK);
	apus_must_op(back.seq, ==, seg->seq);
	apus_must_op(back.ack, ==, seg->ack);
	apus_must_op(back.wnd, ==, seg->wnd);
	apus_must_op(back.mss, ==, seg->mss);
	apus_must_op(back.wscale, ==, seg->wscale);
	apus_must_op(back.sack_permitted, ==, seg->sack_permitted);
	apus_must_op(back.has_ts, ==, seg->has_ts);
	apus_must_op(back.ts_val, ==, seg->ts_val);
	apus_must_op(back.ts_ecr, ==, seg->ts_ecr);
	apus_must_op(back.sack_count, <=, seg->sack_count); /* NOPs may take the room of one */
	apus_must(!memcmp(back.sack, seg->sack, back.sack_count * sizeof(back.sack[0])));
	apus_must(!back.options_malformed);
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t total, first_bytes;
	struct rte_mbuf first, second;
	uint8_t *first_buffer, *second_buffer;
	struct apus_segment seg;

	if (size < 1 || size > 4096)
		return 0;
	total = IP_BYTES + (uint32_t)size - 1;
	first_bytes = IP_BYTES + apus_min((uint32_t)data[0] >> 1, (uint32_t)size - 1);
	first_buffer = malloc(first_bytes);
	second_buffer = malloc(total - first_bytes + 1);
	put_ip_header(first_buffer, total, RTE_IPV4(2, 0, 0, 10), RTE_IPV4(1, 0, 0, 10));
	memcpy(first_buffer + IP_BYTES, data + 1, first_bytes - IP_BYTES);
	memcpy(second_buffer, data + 1 + first_bytes - IP_BYTES, total - first_bytes);

	first = mbuf_on(first_buffer, 0, first_bytes);
	second = mbuf_on(second_buffer, 0, total - first_bytes);
	if (second.data_len) {
		first.next = &second;
		first.nb_segs = 2;
		first.pkt_len = total;
	}
	first.l3_len = IP_BYTES;
	first.ol_flags = data[0] & 1 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
	if (apus_segment_parse(&first, &seg) == APUS_SEGMENT_OK) {
		check_bounds(&seg, total);
		check_rebuilt(&seg);
	}
	free(first_buffer);
	free(second_buffer);
	return 0;
}
