/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timestamp.h: the timestamps option (RFC 7323 §3 to §5): a clock of milliseconds with an
 * offset per four-tuple, TS.Recent, and protection against wrapped sequence numbers (PAWS).
 */
#ifndef APUS_NET_TCP_TIMESTAMP_H
#define APUS_NET_TCP_TIMESTAMP_H

#include "net/tcp/tcb.h"

/** apus_tcp_ts_offset - of @key's timestamps, by chance (as Linux's tcp_timestamps = 1 has it): the next incarnation goes on where the last one was */
uint32_t apus_tcp_ts_offset(const struct apus_tcp_layer *layer, const struct apus_tcp_key *key);

/* What a timestamp, or its absence, says about a segment of a connection. */
enum apus_tcp_ts {
	APUS_TCP_TS_FINE,
	APUS_TCP_TS_ABSENT, /* agreed on, and not there: to be dropped in silence */
	APUS_TCP_TS_OLD,    /* an old duplicate: not acceptable, whatever its number */
};

/** apus_tcp_ts_age - a time as RCV.TS_AGE counts it, modulo 9 years */
static inline uint16_t apus_tcp_ts_age(int64_t now_ns)
{
	return (uint16_t)(now_ns >> 42);
}

/** apus_tcp_is_old - RFC 7323 §5.3 (R1): SEG.TSval < TS.Recent, modulo 2^32 */
static inline bool apus_tcp_is_old(const struct apus_segment *seg, uint32_t ts_recent)
{
	return (int32_t)(seg->ts_val - ts_recent) < 0;
}
enum apus_tcp_ts apus_tcp_ts_check_slow(struct apus_tcp *c, const struct apus_segment *seg,
					int64_t now_ns);
/** apus_tcp_ts_check - PAWS. TS.Recent is forgotten when it is too old to mean anything */
static inline enum apus_tcp_ts apus_tcp_ts_check(struct apus_tcp *c, const struct apus_segment *seg,
						 int64_t now_ns)
{
	if (!c->has_ts || (seg->has_ts && !apus_tcp_is_old(seg, c->rcv.ts_recent)))
		return APUS_TCP_TS_FINE;
	return apus_tcp_ts_check_slow(c, seg, now_ns);
}
/**
 * apus_tcp_ts_note - @seg was acceptable: TS.Recent <- SEG.TSval, if that is due
 *
 * RFC 7323 §4.3 (2), §5.3 (R3): of the segments that one ACK stands for the first is echoed, so that
 * the delay of the ACK counts into the round trip. RCV.ACKED is Last.ACK.sent.
 */
static inline void apus_tcp_ts_note(struct apus_tcp *c, const struct apus_segment *seg,
				    int64_t now_ns)
{
	if (!c->has_ts || !seg->has_ts || apus_tcp_is_old(seg, c->rcv.ts_recent) ||
	    apus_seq_gt(seg->seq, c->rcv.acked))
		return;
	c->rcv.ts_recent = seg->ts_val;
	c->rcv.ts_age = apus_tcp_ts_age(now_ns);
}
/** apus_tcp_ts_clock - milliseconds, without the offset */
static inline uint32_t apus_tcp_ts_clock(int64_t now_ns)
{
	return (uint32_t)((uint64_t)now_ns / APUS_MS);
}
/** apus_tcp_stamp - put a timestamp into @seg (RFC 7323 §3.2): milliseconds, and what was last heard */
static inline void apus_tcp_stamp(struct apus_segment *seg, uint32_t ts_offset, uint32_t ts_recent,
				  int64_t now_ns)
{
	seg->has_ts = true;
	seg->ts_val = apus_tcp_ts_clock(now_ns) + ts_offset;
	seg->ts_ecr = ts_recent;
}

#endif
