/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/drs.h: how large the receive buffer should be: dynamic right-sizing, as in Linux.
 *
 * The window has to hold what the sender can send in one round trip. That is not known here, but
 * what the application read in the last one is a lower bound; twice that leaves a sender in slow
 * start room for its next doubling, and a rate that grows adds more. The round trip is taken from
 * timestamps, or else from the time in which a whole window came, which is not less.
 *
 * But a sender whose window nothing but ours ends fills any: what is read in a round trip grows with
 * the window, when all that it adds is a queue. No window is of use beyond what one core can take in
 * while nothing is queued: so that bounds it, by the round trip of the handshake, or by the least
 * of the last seconds if the path has become longer.
 *
 * Pure: sequence numbers and microseconds are handed in. The buffer never shrinks, so an edge that
 * was offered is never taken back (RFC 9293 §3.8.6, SHLD-14).
 */
#ifndef APUS_NET_TCP_DRS_H
#define APUS_NET_TCP_DRS_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

/* Times are in microseconds, modulo 2^32: 71 minutes. */
struct apus_drs {
	uint32_t space_bytes; /* read within a round trip, at most so far; 0: not known */
	uint32_t read_seq;    /* up to where had been read when this round trip began */
	uint32_t began_us;
	uint32_t rtt_us;   /* 0: none yet */
	uint32_t mark_seq; /* when RCV.NXT is there, a window has come since mark_us */
	uint32_t mark_us;
	bool has_mark;
	uint32_t trip_us;         /* of the handshake; 0: not known */
	uint32_t least_us;        /* of the samples since epoch_us */
	uint32_t least_before_us; /* of those in the epoch before; 0: not known */
	uint32_t epoch_us;
};

/** apus_drs_init - @read_seq: the first byte that was not read; @space_bytes: read in a round trip so far; 0: not known; @trip_us: the handshake's; 0: likewise */
void apus_drs_init(struct apus_drs *d, uint32_t read_seq, uint32_t space_bytes, uint32_t trip_us,
		   uint32_t now_us);
/** apus_drs_sample - a timestamp came back after @us, which is a number of whole milliseconds */
void apus_drs_sample(struct apus_drs *d, uint32_t us, uint32_t now_us);
/** apus_drs_arrived - without timestamps: RCV.NXT is @nxt now, and @wnd bytes more are offered */
void apus_drs_arrived(struct apus_drs *d, uint32_t nxt, uint32_t wnd, uint32_t now_us);
/**
 * apus_drs_read - the reader is at @read_seq now
 * @mss: bytes of text in a segment
 *
 * Return: how large the buffer should be; 0: as it is.
 */
APUS_MUST_CHECK uint32_t apus_drs_read(struct apus_drs *d, uint32_t read_seq, uint32_t mss,
				       uint32_t now_us);

APUS_END_DECLS

#endif
