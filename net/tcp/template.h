/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/template.h: the header of a connection's plain segments, made once: ports, and the sum of
 * what does not change. What apus_segment_build() would write for a segment without other options
 * than a timestamp, and without SYN, RST or urgent text; test_plain.c compares them.
 *
 * No connection and no mbuf: fields in, bytes out.
 */
#ifndef APUS_NET_TCP_TEMPLATE_H
#define APUS_NET_TCP_TEMPLATE_H

#include "net/ip/sum.h"
#include "net/tcp/segment.h"

#include <netinet/in.h>
#include <rte_ethdev.h>
#include <rte_tcp.h>

#define APUS_TCP_TEMPLATE_BYTES_MAX (APUS_SEGMENT_HEADER_MIN + APUS_SEGMENT_TS_BYTES)
#define APUS_TCP_TEMPLATE_TS        0x0101080aU /* NOP, NOP, kind 8, length 10 (RFC 7323 §3.2) */

struct apus_tcp_template {
	uint32_t pseudo;     /* sum of the pseudo header without the length */
	uint32_t fixed;      /* the same, with the ports and what introduces the timestamp */
	uint8_t bytes;       /* 20, or 32 with a timestamp */
	bool has_ts;         /* that is */
	bool sums_in_device; /* the device makes the checksum; else it is made here */
};

/* What differs from segment to segment; host order. */
struct apus_tcp_fields {
	uint32_t seq, ack;
	uint32_t ts_val, ts_ecr; /* with has_ts */
	uint16_t wnd;
	uint8_t flags;
};

/** apus_tcp_template_make - addresses in network order, ports in host order. @header: of BYTES_MAX bytes; t->bytes of them are written */
static inline void apus_tcp_template_make(struct apus_tcp_template *t, uint32_t local,
					  uint16_t local_port, uint32_t remote,
					  uint16_t remote_port, bool has_ts, uint64_t tx_offloads,
					  uint8_t *header)
{
	struct rte_tcp_hdr *h = (struct rte_tcp_hdr *)header;
	uint32_t ts = rte_cpu_to_be_32(APUS_TCP_TEMPLATE_TS);
	uint64_t sum = apus_sum_pseudo(local, remote, IPPROTO_TCP, 0);

	*h = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(local_port),
		.dst_port = rte_cpu_to_be_16(remote_port),
	};
	memcpy(h + 1, &ts, sizeof(ts));
	*t = (struct apus_tcp_template){
		.pseudo = apus_sum_fold(sum),
		.bytes = has_ts ? APUS_TCP_TEMPLATE_BYTES_MAX : APUS_SEGMENT_HEADER_MIN,
		.has_ts = has_ts,
		.sums_in_device = tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM,
	};
	t->fixed = apus_sum_fold(sum + h->src_port + h->dst_port + (has_ts ? ts : 0));
}

/* Stores two words in network order. Return: them, as they lie in memory. */
static inline uint64_t apus_tcp_template_put(uint8_t *at, uint32_t first, uint32_t second)
{
	uint64_t both = rte_cpu_to_be_64((uint64_t)first << 32 | second);

	memcpy(at, &both, sizeof(both));
	return both;
}

/**
 * apus_tcp_template_fill - finish a copy of the header
 * @at:         the copy
 * @text_bytes: behind it
 * @text_sum:   apus_sum() of these; read only if !t->sums_in_device
 */
static inline void apus_tcp_template_fill(const struct apus_tcp_template *t, uint8_t *at,
					  const struct apus_tcp_fields *f, uint32_t text_bytes,
					  uint64_t text_sum)
{
	uint32_t mixed = (uint32_t)t->bytes << 26 | (uint32_t)f->flags << 16 | f->wnd;
	uint32_t length = rte_cpu_to_be_16((uint16_t)(t->bytes + text_bytes));
	uint64_t sum = apus_tcp_template_put(at + 4, f->seq, f->ack);
	uint16_t checksum;

	mixed = rte_cpu_to_be_32(mixed);
	memcpy(at + 12, &mixed, sizeof(mixed));
	sum = apus_sum_add(sum, (uint64_t)mixed + t->fixed + length);
	if (t->has_ts)
		sum = apus_sum_add(sum, apus_tcp_template_put(at + 24, f->ts_val, f->ts_ecr));
	if (t->sums_in_device)
		checksum = apus_sum_fold((uint64_t)t->pseudo + length);
	else
		checksum = (uint16_t)~apus_sum_fold(apus_sum_add(text_sum, sum));
	memcpy(at + 16, &checksum, sizeof(checksum));
}

#endif
