/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/arrival.h: values that are handed from one of this room's files to another: a segment on
 * its way through the checks, what a peer's SYN said, what is left of a connection that is over.
 */
#ifndef APUS_NET_TCP_ARRIVAL_H
#define APUS_NET_TCP_ARRIVAL_H

#include "net/tcp/demux.h"
#include "net/tcp/segment.h"
#include "net/tcp/seq.h"

/* What remains to be known of a connection that is over. */
struct apus_tcp_last {
	uint32_t snd_nxt, rcv_nxt; /* it had sent, and received, up to here */
	uint32_t ts_recent;
	bool has_ts;
};

/* What the peer's SYN has said, as far as both ends want it. */
struct apus_tcp_peer {
	uint32_t ts_recent;
	uint16_t mss;  /* 0: no option */
	int8_t wscale; /* < 0: no option */
	bool has_ts : 1;
	bool has_sack : 1;
	bool has_ecn : 1;
};

/* A segment on its way through the checks. */
struct apus_tcp_arrival {
	struct apus_segment seg;
	struct rte_mbuf *m; /* NULL once its text is queued */
	int64_t now_ns;
	bool reopens;             /* a SYN to which an entry in TIME-WAIT gave way, */
	struct apus_tcp_last old; /* which was this */
};

/** apus_tcp_trim - the text and the FIN of a segment end at @edge, the right one of the window */
static inline void apus_tcp_trim(struct apus_segment *seg, uint32_t edge)
{
	uint32_t text_seq = seg->seq + seg->syn;

	if (apus_seq_leq(seg->seq + seg->len, edge))
		return;
	seg->fin = false;
	if (apus_seq_geq(text_seq, edge))
		seg->text_bytes = 0;
	else
		seg->text_bytes = apus_min(seg->text_bytes, edge - text_seq);
	seg->len = seg->syn + seg->text_bytes;
}

/** apus_tcp_key_of - the four-tuple of a segment */
static inline struct apus_tcp_key apus_tcp_key_of(const struct apus_segment *seg)
{
	return (struct apus_tcp_key){
		.local = seg->local,
		.remote = seg->remote,
		.local_port = seg->local_port,
		.remote_port = seg->remote_port,
	};
}

#endif
