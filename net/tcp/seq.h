/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/seq.h: arithmetic of sequence numbers, modulo 2^32 (RFC 9293 §3.4).
 *
 * Two numbers are compared by the sign of their difference, which is right as long as they are less
 * than 2^31 apart: the largest window is 2^30 (RFC 7323 §2.3). Nothing in net/tcp compares sequence
 * numbers in another way.
 */
#ifndef APUS_NET_TCP_SEQ_H
#define APUS_NET_TCP_SEQ_H

#include "runtime/base/compiler.h"

/* a < b */
static inline bool apus_seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* a =< b */
static inline bool apus_seq_leq(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

/* a > b */
static inline bool apus_seq_gt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* a >= b */
static inline bool apus_seq_geq(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}

/* low < x =< high, as in SND.UNA < SEG.ACK =< SND.NXT; false for all x when low == high. */
static inline bool apus_seq_between(uint32_t low, uint32_t x, uint32_t high)
{
	return x - low - 1 < high - low;
}

/* start =< x < start + size, as in RCV.NXT =< SEG.SEQ < RCV.NXT + RCV.WND; false when size is 0. */
static inline bool apus_seq_within(uint32_t start, uint32_t x, uint32_t size)
{
	return x - start < size;
}

/* The later of two. */
static inline uint32_t apus_seq_max(uint32_t a, uint32_t b)
{
	return apus_seq_lt(a, b) ? b : a;
}

/* The earlier of two. */
static inline uint32_t apus_seq_min(uint32_t a, uint32_t b)
{
	return apus_seq_lt(a, b) ? a : b;
}

#endif
