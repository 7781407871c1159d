/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/segment.h: a TCP segment as a value, and the only code that touches a header's bytes.
 *
 * Bytes are parsed once into a struct apus_segment that is bounded and valid; nothing after the
 * parser reads the header again. The same struct describes a segment to be built, so that a built
 * segment parses back to what it was built from. Local and remote are seen from here, both ways.
 */
#ifndef APUS_NET_TCP_SEGMENT_H
#define APUS_NET_TCP_SEGMENT_H

#include "net/ip/addr.h"

#include <rte_byteorder.h>
#include <rte_mbuf.h>
#include <string.h>

APUS_BEGIN_DECLS

/* RFC 3168 §5 */
#define APUS_SEGMENT_ECT_0 2
#define APUS_SEGMENT_CE    3

#define APUS_SEGMENT_SACK_MAX   4  /* blocks that fit in 40 bytes of options (RFC 2018 §3) */
#define APUS_SEGMENT_WSCALE_MAX 14 /* RFC 7323 §2.3: a greater one is taken as 14 */
#define APUS_SEGMENT_HEADER_MAX 60 /* bytes: 20 and at most 40 of options */
#define APUS_SEGMENT_HEADER_MIN 20
/* Of header, with the NOPs before them: */
#define APUS_SEGMENT_TS_BYTES        12
#define APUS_SEGMENT_SACK_HEAD_BYTES 4
#define APUS_SEGMENT_SACK_BYTES      8 /* each block */

/* What the parser found; all but OK are reasons to drop, and names of counters. */
#define APUS_SEGMENT_VERDICTS(X)                                                  \
 X(OK, "segments_ok")                                                             \
 X(SHORT, "drop_short")           /* fewer than 20 bytes behind the IP header */  \
 X(BAD_OFFSET, "drop_bad_offset") /* data offset below 5 or beyond the segment */ \
 X(BAD_CHECKSUM, "drop_bad_checksum")

enum apus_segment_verdict {
#define X(id, name) APUS_SEGMENT_##id,
	APUS_SEGMENT_VERDICTS(X)
#undef X
	APUS_SEGMENT_VERDICT_COUNT,
};

/* Octets start =< x < end that the receiver holds (RFC 2018 §3); any values, the peer chose them. */
struct apus_segment_sack {
	uint32_t start, end;
};

/* Host order throughout. */
struct apus_segment {
	uint32_t seq;        /* SEG.SEQ */
	uint32_t ack;        /* SEG.ACK; as sent, whether or not has_ack */
	uint32_t len;        /* SEG.LEN: text_bytes, + 1 for SYN, + 1 for FIN; not read by build */
	uint32_t text_bytes; /* of payload; not read by build */
	uint16_t
		segment_bytes; /* of text in each of those that came as one (LRO); 0: it came alone */
	uint16_t text_offset; /* of the payload from the start of the mbuf; not read by build */
	uint16_t wnd;         /* SEG.WND as on the wire, not scaled */
	uint16_t up;          /* SEG.UP */
	uint16_t local_port, remote_port;
	uint8_t ecn; /* the IP header's two bits (RFC 3168 §5); build leaves them to IP */

	/* As they stand in the header: from the lowest bit on (RFC 9293 §3.1). */
	union {
		struct {
			bool fin : 1, syn : 1, rst : 1, psh : 1;
			bool has_ack : 1, urg : 1, ece : 1, cwr : 1;
		};
		uint8_t flags;
	};

	/* Options; a zeroed struct but for wscale = -1 has none. */
	bool options_malformed; /* parsing ended early: what came before counts, the rest is absent */
	bool sack_permitted;
	bool has_ts;
	int8_t wscale;      /* 0 to 14; < 0: absent */
	uint8_t sack_count; /* of sack[] */
	uint16_t mss;       /* 0: absent */
	uint32_t ts_val, ts_ecr;
	struct apus_segment_sack sack[APUS_SEGMENT_SACK_MAX];

	struct apus_addr local, remote;
};

/**
 * apus_segment_parse - read the segment in @m
 * @m:   IPv4 packet, data at the IP header, l3_len set, pkt_len = total length; any number of
 *       mbuf segments, the first of which holds the IP header. Borrowed, not changed.
 * @out: the segment; complete only when the verdict is OK
 *
 * The checksum is verified here unless the device has done it.
 *
 * Context: any.
 * Return:  the verdict.
 * Source:  RFC 9293 §3.1, §3.2; RFC 7323 §2.2, §3.2; RFC 2018 §2, §3
 */
enum apus_segment_verdict apus_segment_parse(const struct rte_mbuf *m, struct apus_segment *out);

/**
 * apus_segment_header_bytes - size of the header that build would make
 *
 * Return: 20 to 60, a multiple of 4. SACK blocks that do not fit beside the rest are not counted.
 */
uint32_t apus_segment_header_bytes(const struct apus_segment *seg);

/**
 * apus_segment_build - prepend the header of @seg to the payload in @m
 * @m:           the payload (a chain, may be empty), with headroom in front. Borrowed.
 * @seg:         what to say
 * @tx_offloads: RTE_ETH_TX_OFFLOAD_* that the link grants: with TCP_CKSUM the device computes the
 *               checksum (pseudo header, flags and l4_len are set here), else it is computed here;
 *               a run (RTE_MBUF_F_TX_TCP_SEG, tso_segsz set by the caller) is made ready for who
 *               cuts it, device or apus_gso_begin()
 *
 * Options stand in Linux's order: mss, sackOK, TS, nop, wscale; without TS: mss, nop, nop, sackOK,
 * nop, wscale; otherwise: nop, nop, TS, then nop, nop, SACK.
 *
 * Context: any.
 * Return:  0; -ENOBUFS without headroom, and @m is as it was.
 */
APUS_MUST_CHECK int apus_segment_build(struct rte_mbuf *m, const struct apus_segment *seg,
				       uint64_t tx_offloads);

/* inline definitions */

#define APUS_SEGMENT_ONLY_TS 0x0101080a /* the first word of the layout of RFC 7323 A */

/* A timestamp and no other option, as it lies in a header. */
struct apus_segment_ts {
	rte_be32_t kind; /* with two NOPs before it */
	rte_be32_t val, ecr;
} __attribute__((packed));

/** apus_segment_only_ts - 12 bytes of @options: NOP, NOP and a timestamp? Written if so. Context: any */
static inline bool apus_segment_only_ts(const void *options, uint32_t *ts_val, uint32_t *ts_ecr)
{
	const struct apus_segment_ts *ts = (const struct apus_segment_ts *)options;

	if (ts->kind != RTE_BE32(APUS_SEGMENT_ONLY_TS))
		return false;
	*ts_val = rte_be_to_cpu_32(ts->val);
	*ts_ecr = rte_be_to_cpu_32(ts->ecr);
	return true;
}

/** apus_segment_full - bytes of text in each, but perhaps the last, of the segments that came as this one. Context: any */
static inline uint32_t apus_segment_full(const struct apus_segment *seg)
{
	return seg->segment_bytes ? seg->segment_bytes : seg->text_bytes;
}

/** apus_segment_count - how many came as this one. Context: any */
static inline uint32_t apus_segment_count(const struct apus_segment *seg)
{
	if (!seg->segment_bytes || !seg->text_bytes)
		return 1;
	return (seg->text_bytes + seg->segment_bytes - 1) / seg->segment_bytes;
}

APUS_END_DECLS

#endif
