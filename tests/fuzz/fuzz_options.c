/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_options.c: any bytes as the options of a segment, against a parser that is slow.
 *
 * Input: a byte of flags (as in the header), one that says where the header is cut in two mbufs;
 * then up to 40 bytes of options, to which zeros are added up to a multiple of 4.
 *
 * What the parser finds has to be what RFC 9293 §3.1 and §3.2, RFC 2018 §2 and §3, and RFC 7323 §2.2
 * and §3.2 say is there, read here one option at a time and one field after the other; and what is
 * built of it has to say the same, again by that reading.
 */
#include "net/tcp/segment.h"
#include "runtime/base/check.h"
#include "tests/fuzz/fuzz_mbuf.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPTIONS_MAX 40
#define HEADERS_MAX (20 + 20 + OPTIONS_MAX)

/* What a sequence of options says: the last of each kind counts. */
struct said {
	bool is_malformed;
	bool has_mss, has_shift, sack_permitted, has_ts;
	uint64_t mss, shift, ts_val, ts_ecr;
	uint32_t blocks;
	uint64_t edges[8];
};

static uint64_t number(const uint8_t *at, uint32_t bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = 256 * n + *at++;
	return n;
}

static void read_one(const uint8_t *at, struct said *s)
{
	static const struct {
		uint8_t kind, bytes;
	} fixed[] = {{2, 4}, {3, 3}, {4, 2}, {8, 10}};

	for (int i = 0; i < 4; i++) {
		if (at[0] == fixed[i].kind && at[1] != fixed[i].bytes) {
			s->is_malformed = true;
			return;
		}
	}
	if (at[0] == 2) {
		s->has_mss = true;
		s->mss = number(at + 2, 2);
	} else if (at[0] == 3) {
		s->has_shift = true;
		s->shift = at[2] > 14 ? 14 : at[2]; /* RFC 7323 §2.3 */
	} else if (at[0] == 4) {
		s->sack_permitted = true;
	} else if (at[0] == 8) {
		s->has_ts = true;
		s->ts_val = number(at + 2, 4);
		s->ts_ecr = number(at + 6, 4);
	} else if (at[0] == 5) { /* RFC 2018 §3: 8 * n + 2 bytes, n from 1 to 4 */
		if (at[1] != 10 && at[1] != 18 && at[1] != 26 && at[1] != 34) {
			s->is_malformed = true;
			return;
		}
		s->blocks = at[1] / 8;
		for (uint32_t i = 0; i < 2 * s->blocks; i++)
			s->edges[i] = number(at + 2 + 4 * i, 4);
	}
}

static struct said read_all(const uint8_t *at, uint32_t bytes)
{
	struct said s = {0};
	uint32_t i = 0;

	while (i < bytes && at[i] != 0) {
		if (at[i] == 1) {
			i++;
		} else if (i + 1 == bytes || at[i + 1] < 2 || i + at[i + 1] > bytes) {
			s.is_malformed = true; /* nothing tells where the next would begin */
			break;
		} else {
			read_one(at + i, &s);
			i += at[i + 1];
		}
	}
	return s;
}

/* As it is said in a segment with these flags: RFC 9293 §3.2, these three only in a SYN. */
static void check_same(const struct apus_segment *seg, const struct said *s)
{
	bool syn = seg->syn;

	apus_must_op(seg->options_malformed, ==, s->is_malformed);
	apus_must_op(seg->mss, ==, syn && s->has_mss ? s->mss : 0);
	apus_must_op(seg->wscale, ==, syn && s->has_shift ? (int)s->shift : -1);
	apus_must_op(seg->sack_permitted, ==, syn && s->sack_permitted);
	apus_must_op(seg->has_ts, ==, s->has_ts);
	if (s->has_ts) {
		apus_must_op(seg->ts_val, ==, s->ts_val);
		apus_must_op(seg->ts_ecr, ==, s->ts_ecr);
	}
	apus_must_op(seg->sack_count, ==, s->blocks);
	for (uint32_t i = 0; i < s->blocks; i++) {
		apus_must_op(seg->sack[i].start, ==, s->edges[2 * i]);
		apus_must_op(seg->sack[i].end, ==, s->edges[2 * i + 1]);
	}
}

/* Built of what was found: it says the same, in 40 bytes, padded with NOPs to whole words. */
static void check_built(struct apus_segment *seg)
{
	uint8_t *buffer = malloc(HEADERS_MAX);
	struct rte_mbuf m = mbuf_on(buffer, HEADERS_MAX, 0);

	apus_must_op(apus_segment_build(&m, seg, 0), ==, 0);

	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(&m, const struct rte_tcp_hdr *);
	uint32_t header = (uint32_t)(tcp->data_off >> 4) * 4;
	struct said s = read_all((const uint8_t *)(tcp + 1), header - 20);

	apus_must_op(header, ==, m.pkt_len);
	apus_must_op(header, ==, apus_segment_header_bytes(seg));
	apus_must_op(tcp->tcp_flags, ==, seg->flags);
	apus_must_op(s.blocks, <=, seg->sack_count); /* the last give way to what stands before */
	apus_must(s.blocks == seg->sack_count || header + 8 > 60);
	seg->sack_count = (uint8_t)s.blocks;
	seg->options_malformed = false;
	check_same(seg, &s);
	free(buffer);
}

static void put_headers(uint8_t *at, uint8_t flags, uint32_t total)
{
	struct rte_ipv4_hdr ip = {
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16((uint16_t)total),
		.time_to_live = 64,
		.next_proto_id = 6,
		.src_addr = RTE_IPV4(2, 0, 0, 10),
		.dst_addr = RTE_IPV4(1, 0, 0, 10),
	};
	struct rte_tcp_hdr tcp = {
		.data_off = (uint8_t)((total - 20) / 4 << 4),
		.tcp_flags = flags,
	};

	memcpy(at, &ip, sizeof(ip));
	memcpy(at + 20, &tcp, sizeof(tcp));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t packet[HEADERS_MAX] = {0};

	if (size < 2)
		return 0;

	uint32_t options = apus_min((uint32_t)size - 2, (uint32_t)OPTIONS_MAX);
	uint32_t total = 40 + (options + 3) / 4 * 4, cut = 20 + data[1] % (total - 19);

	put_headers(packet, data[0], total);
	memcpy(packet + 40, data + 2, options);

	uint8_t *first_buffer = malloc(cut), *second_buffer = malloc(total - cut + 1);
	struct rte_mbuf first = mbuf_on(first_buffer, 0, cut);
	struct rte_mbuf second = mbuf_on(second_buffer, 0, total - cut);
	struct said s = read_all(packet + 40, total - 40);
	struct apus_segment seg;

	memcpy(first_buffer, packet, cut);
	memcpy(second_buffer, packet + cut, total - cut);
	if (second.data_len) {
		first.next = &second;
		first.nb_segs = 2;
		first.pkt_len = total;
	}
	first.l3_len = 20;
	first.ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	apus_must_op(apus_segment_parse(&first, &seg), ==, APUS_SEGMENT_OK);
	check_same(&seg, &s);
	check_built(&seg);
	free(first_buffer);
	free(second_buffer);
	return 0;
}
