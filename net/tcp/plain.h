/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/plain.h: the short way of output, for what most segments are; see plain.c.
 */
#ifndef APUS_NET_TCP_PLAIN_H
#define APUS_NET_TCP_PLAIN_H

#include "net/ip/flow.h"
#include "net/tcp/tcb.h"
#include "net/tcp/template.h"

#define APUS_TCP_FRAME_BYTES (APUS_IPV4_FLOW_BYTES_MAX + APUS_TCP_TEMPLATE_BYTES_MAX + 2)

static_assert(APUS_TCP_FRAME_BYTES % 8 == 0, "copied whole, in words");

/* All headers of a connection's plain segments. */
struct apus_tcp_frame {
	struct apus_ipv4_flow flow;
	struct apus_tcp_template template;
	uint16_t bytes;      /* of header[] in use */
	uint16_t data_off;   /* of the mbuf */
	uint64_t ol_flags;   /* of the mbuf */
	uint64_t tx_offload; /* of the mbuf: lengths of the headers */
	uint8_t header[APUS_TCP_FRAME_BYTES];
};

/* What a connection has while it sends: the block behind c->recovery. */
struct apus_tcp_sender {
	struct apus_recovery recovery; /* first */
	uint32_t steady_una;           /* SND.UNA when the connection became steady (steady.h) */
	uint32_t steady_most;          /* so long as it is, no segment has more text */
	struct apus_tcp_frame frame;
};

/** apus_tcp_frame_init - @ip is that of the connection's layer; to be made when it is needed */
static inline void apus_tcp_frame_init(struct apus_tcp_frame *frame, struct apus_ipv4 *ip)
{
	apus_ipv4_flow_init(&frame->flow, ip);
}

/**
 * apus_tcp_output_plain - all that apus_tcp_output() would do, if that is a plain matter
 *
 * One segment of new text that everything allows, or an acknowledgment, or nothing at all; no
 * options but a timestamp. Return: it was, and is done; false: nothing has changed.
 */
#if APUS_TCP_FAST
APUS_MUST_CHECK bool apus_tcp_output_plain(struct apus_tcp *c, int64_t now_ns);
#else
static inline bool apus_tcp_output_plain(struct apus_tcp *c, int64_t now_ns)
{
	return false;
}
#endif

#endif
