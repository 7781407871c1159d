/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/segment.c: from bytes to a segment, and back.
 *
 * The one place where a peer's header is believed, a field at a time: every length is checked
 * against what is really there before it is used. RFC 9293 §3.1 (header), §3.2 (options MSS, EOL,
 * NOP), RFC 7323 §2.2 and §3.2 (window scale, timestamps), RFC 2018 §2 and §3 (SACK).
 *
 * Invariants: out->text_offset + out->text_bytes is the end of the packet; a header that straddles
 * mbufs is read through a copy; an option is read only when all of it lies inside the header.
 *
 * Entry points: apus_segment_parse, apus_segment_build, apus_segment_header_bytes.
 *
 * Where we differ: RFC 9293 §3.1 (MUST-7) suggests to reset a connection on an illegal option
 * length; we take the option, and those behind it, as absent, because a reset is what a forger of
 * such a segment would like.
 */
#include "net/tcp/segment.h"

#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

enum option_kind {
	KIND_EOL = 0,
	KIND_NOP = 1,
	KIND_MSS = 2,
	KIND_WSCALE = 3,
	KIND_SACK_PERMITTED = 4,
	KIND_SACK = 5,
	KIND_TS = 8,
};

/* Kind, length, value. */
enum option_bytes {
	BYTES_MSS = 4,
	BYTES_WSCALE = 3,
	BYTES_SACK_PERMITTED = 2,
	BYTES_SACK_HEAD = 2,
	BYTES_SACK_BLOCK = 8,
	BYTES_TS = 10,
};

#define OPTIONS_MAX (APUS_SEGMENT_HEADER_MAX - APUS_SEGMENT_HEADER_MIN)

static_assert(APUS_SEGMENT_ONLY_TS == (KIND_NOP << 24 | KIND_NOP << 16 | KIND_TS << 8 | BYTES_TS),
	      "NOP, NOP, kind and length of TS");
static_assert(sizeof(struct rte_tcp_hdr) == APUS_SEGMENT_HEADER_MIN, "RFC 9293 figure 1");

/* ---- checksum ---- */

static uint16_t load_16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load_32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return rte_be_to_cpu_32(value);
}

static void store_32(uint8_t *p, uint32_t value)
{
	value = rte_cpu_to_be_32(value);
	memcpy(p, &value, sizeof(value));
}

/* ---- parse ---- */

static bool parse_sack(const uint8_t *value, uint32_t bytes, struct apus_segment *out)
{
	if (!bytes || bytes % BYTES_SACK_BLOCK || bytes / BYTES_SACK_BLOCK > APUS_SEGMENT_SACK_MAX)
		return false;

	out->sack_count = (uint8_t)(bytes / BYTES_SACK_BLOCK);
	for (uint32_t i = 0; i < out->sack_count; i++, value += BYTES_SACK_BLOCK)
		out->sack[i] = (struct apus_segment_sack){load_32(value), load_32(value + 4)};
	return true;
}

/*
 * One whole option of `bytes` bytes, kind and length included. False when the length is not what
 * its kind demands; then it is absent. Options that belong to a SYN are absent elsewhere.
 */
static bool parse_option(const uint8_t *option, uint32_t bytes, struct apus_segment *out)
{
	const uint8_t *value = option + 2;

	switch (option[0]) {
	case KIND_MSS: /* RFC 9293 §3.2: "This option MUST only be sent in SYNs" */
		if (bytes == BYTES_MSS && out->syn)
			out->mss = load_16(value);
		return bytes == BYTES_MSS;
	case KIND_WSCALE:
		if (bytes == BYTES_WSCALE && out->syn)
			out->wscale = (int8_t)apus_min(value[0], APUS_SEGMENT_WSCALE_MAX);
		return bytes == BYTES_WSCALE;
	case KIND_SACK_PERMITTED:
		if (bytes == BYTES_SACK_PERMITTED && out->syn)
			out->sack_permitted = true;
		return bytes == BYTES_SACK_PERMITTED;
	case KIND_TS:
		if (bytes != BYTES_TS)
			return false;
		out->has_ts = true;
		out->ts_val = load_32(value);
		out->ts_ecr = load_32(value + 4);
		return true;
	case KIND_SACK:
		return parse_sack(value, bytes - BYTES_SACK_HEAD, out);
	default:
		return true; /* RFC 9293 §3.1 (MUST-6): ignore what is not implemented */
	}
}

/*
 * The layout that RFC 7323 A recommends and nearly every segment after the handshake has: NOP, NOP,
 * TS. Asked in one comparison.
 */
static bool parse_only_ts(const uint8_t *option, uint32_t bytes, struct apus_segment *out)
{
	if (bytes != APUS_SEGMENT_TS_BYTES ||
	    !apus_segment_only_ts(option, &out->ts_val, &out->ts_ecr))
		return false;
	out->has_ts = true;
	return true;
}

static void parse_options(const uint8_t *option, uint32_t bytes, struct apus_segment *out)
{
	if (parse_only_ts(option, bytes, out))
		return;
	while (bytes > 0 && option[0] != KIND_EOL) {
		uint32_t step = 1;

		if (option[0] != KIND_NOP) {
			/* The last byte may be a kind without a length; 0 and 1 would not move on. */
			if (bytes < 2 || option[1] < 2 || option[1] > bytes) {
				out->options_malformed = true;
				return;
			}
			step = option[1];
			if (!parse_option(option, step, out))
				out->options_malformed = true;
		}
		option += step;
		bytes -= step;
	}
}

static void parse_header(const struct rte_tcp_hdr *tcp, struct apus_segment *out)
{
	out->remote_port = rte_be_to_cpu_16(tcp->src_port);
	out->local_port = rte_be_to_cpu_16(tcp->dst_port);
	out->seq = rte_be_to_cpu_32(tcp->sent_seq);
	out->ack = rte_be_to_cpu_32(tcp->recv_ack);
	out->wnd = rte_be_to_cpu_16(tcp->rx_win);
	out->up = rte_be_to_cpu_16(tcp->tcp_urp);
	out->flags = tcp->tcp_flags;
}

enum apus_segment_verdict apus_segment_parse(const struct rte_mbuf *m, struct apus_segment *out)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint32_t tcp_bytes = m->pkt_len - m->l3_len, header_bytes;
	uint8_t copy[APUS_SEGMENT_HEADER_MAX]; /* of a header that straddles mbufs */
	const uint8_t *header;

	apus_assert(m->l3_len >= sizeof(*ip) && m->data_len >= m->l3_len);
	if (m->pkt_len < m->l3_len + (uint32_t)APUS_SEGMENT_HEADER_MIN)
		return APUS_SEGMENT_SHORT;
	header = rte_pktmbuf_read(m, m->l3_len, apus_min(tcp_bytes, sizeof(copy)), copy);
	if (!header)
		return APUS_SEGMENT_SHORT; /* pkt_len lies: not the peer's doing, but cheap to ask */

	header_bytes = (uint32_t)(header[12] >> 4) * 4;
	if (header_bytes < APUS_SEGMENT_HEADER_MIN || header_bytes > tcp_bytes)
		return APUS_SEGMENT_BAD_OFFSET;
	if (!apus_mbuf_checksum_good(m, m->l3_len, IPPROTO_TCP))
		return APUS_SEGMENT_BAD_CHECKSUM;

	*out = (struct apus_segment){
		.wscale = -1,
		.text_offset = (uint16_t)(m->l3_len + header_bytes),
		.text_bytes = tcp_bytes - header_bytes,
		.ecn = ip->type_of_service & APUS_SEGMENT_CE,
		.segment_bytes = m->ol_flags & RTE_MBUF_F_RX_LRO ? m->tso_segsz : 0,
		.remote = apus_addr_v4(ip->src_addr),
		.local = apus_addr_v4(ip->dst_addr),
	};
	parse_header((const struct rte_tcp_hdr *)header, out);
	parse_options(header + APUS_SEGMENT_HEADER_MIN, header_bytes - APUS_SEGMENT_HEADER_MIN,
		      out);
	out->len = out->text_bytes + out->syn + out->fin; /* RFC 9293 §3.4 */
	return APUS_SEGMENT_OK;
}

/* ---- build ---- */

/* Writes options; `used` only counts when `at` is NULL, so that both questions have one answer. */
struct option_writer {
	uint8_t *at;
	uint32_t used;
};

static void put_8(struct option_writer *w, uint8_t value)
{
	if (w->at)
		w->at[w->used] = value;
	w->used++;
}

static void put_16(struct option_writer *w, uint16_t value)
{
	put_8(w, (uint8_t)(value >> 8));
	put_8(w, (uint8_t)value);
}

static void put_32(struct option_writer *w, uint32_t value)
{
	put_16(w, (uint16_t)(value >> 16));
	put_16(w, (uint16_t)value);
}

static void put_option(struct option_writer *w, enum option_kind kind, enum option_bytes bytes)
{
	put_8(w, (uint8_t)kind);
	put_8(w, (uint8_t)bytes);
}

static void put_nops(struct option_writer *w, uint32_t n)
{
	while (n--)
		put_8(w, KIND_NOP);
}

/* SACK permitted fills the two bytes before TS where both are there; else NOPs do. */
static void put_sack_permitted_and_ts(struct option_writer *w, const struct apus_segment *seg)
{
	if (!seg->sack_permitted && !seg->has_ts)
		return;
	if (!seg->has_ts || !seg->sack_permitted)
		put_nops(w, 2);
	if (seg->sack_permitted)
		put_option(w, KIND_SACK_PERMITTED, BYTES_SACK_PERMITTED);
	if (seg->has_ts) {
		put_option(w, KIND_TS, BYTES_TS);
		put_32(w, seg->ts_val);
		put_32(w, seg->ts_ecr);
	}
}

static void put_sack(struct option_writer *w, const struct apus_segment *seg)
{
	uint32_t room = OPTIONS_MAX - w->used;
	uint32_t count;

	if (!seg->sack_count || room < 2 + BYTES_SACK_HEAD + BYTES_SACK_BLOCK)
		return;

	count = (room - 2 - BYTES_SACK_HEAD) / BYTES_SACK_BLOCK;
	count = apus_min(count, seg->sack_count);
	put_nops(w, 2);
	put_8(w, KIND_SACK);
	put_8(w, (uint8_t)(BYTES_SACK_HEAD + count * BYTES_SACK_BLOCK));
	for (uint32_t i = 0; i < count; i++) {
		put_32(w, seg->sack[i].start);
		put_32(w, seg->sack[i].end);
	}
}

/* Nothing but a timestamp, or nothing at all: all segments but a SYN or a report of gaps. */
static bool is_plain(const struct apus_segment *seg)
{
	return !seg->mss && seg->wscale < 0 && !seg->sack_permitted && !seg->sack_count;
}

static uint32_t plain_bytes(const struct apus_segment *seg)
{
	return seg->has_ts ? APUS_SEGMENT_TS_BYTES : 0;
}

static void put_plain(uint8_t *at, const struct apus_segment *seg)
{
	if (!seg->has_ts)
		return;
	store_32(at, APUS_SEGMENT_ONLY_TS);
	store_32(at + 4, seg->ts_val);
	store_32(at + 8, seg->ts_ecr);
}

/* At most 40 bytes, a multiple of 4. */
static uint32_t put_options(uint8_t *at, const struct apus_segment *seg)
{
	struct option_writer w = {.at = at};

	if (seg->mss) {
		put_option(&w, KIND_MSS, BYTES_MSS);
		put_16(&w, seg->mss);
	}
	put_sack_permitted_and_ts(&w, seg);
	if (seg->wscale >= 0) {
		put_nops(&w, 1);
		put_option(&w, KIND_WSCALE, BYTES_WSCALE);
		put_8(&w, (uint8_t)seg->wscale);
	}
	put_sack(&w, seg);
	apus_assert(w.used <= OPTIONS_MAX && w.used % 4 == 0);
	return w.used;
}

uint32_t apus_segment_header_bytes(const struct apus_segment *seg)
{
	return APUS_SEGMENT_HEADER_MIN +
	       (is_plain(seg) ? plain_bytes(seg) : put_options(NULL, seg));
}

int apus_segment_build(struct rte_mbuf *m, const struct apus_segment *seg, uint64_t tx_offloads)
{
	uint32_t header_bytes = apus_segment_header_bytes(seg);
	struct rte_tcp_hdr *tcp;
	uint64_t pseudo;
	bool is_run;

	tcp = (struct rte_tcp_hdr *)rte_pktmbuf_prepend(m, (uint16_t)header_bytes);
	if (!tcp)
		return -ENOBUFS;

	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(seg->local_port),
		.dst_port = rte_cpu_to_be_16(seg->remote_port),
		.sent_seq = rte_cpu_to_be_32(seg->seq),
		.recv_ack = rte_cpu_to_be_32(seg->ack),
		.data_off = (uint8_t)(header_bytes / 4 << 4),
		.tcp_flags = seg->flags,
		.rx_win = rte_cpu_to_be_16(seg->wnd),
		.tcp_urp = rte_cpu_to_be_16(seg->up),
	};
	if (is_plain(seg))
		put_plain((uint8_t *)(tcp + 1), seg);
	else
		put_options((uint8_t *)(tcp + 1), seg);
	m->l4_len = header_bytes;
	/* Of a run each segment has a checksum of its own: who cuts it adds the length, and all else. */
	is_run = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	pseudo = apus_sum_pseudo(apus_addr_to_v4(seg->local), apus_addr_to_v4(seg->remote),
				 IPPROTO_TCP, is_run ? 0 : m->pkt_len);
	if (is_run || tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) {
		tcp->cksum = apus_sum_fold(pseudo);
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
		return 0;
	}
	tcp->cksum =
		(uint16_t)~apus_sum_fold(apus_sum_add(apus_mbuf_sum(m, 0, m->pkt_len), pseudo));
	return 0;
}
