/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/hystart.h: HyStart++ (RFC 9406): leave the first slow start when the round-trip time
 * grows, before the queue overflows; but slowly at first, since jitter looks the same.
 *
 * For algorithms to embed; no connection and no clock. The owner grows the window.
 */
#ifndef APUS_NET_TCP_HYSTART_H
#define APUS_NET_TCP_HYSTART_H

#include "net/tcp/cc.h"

APUS_BEGIN_DECLS

/* RFC 9406 §4.3 */
#define APUS_HYSTART_MIN_THRESH_NS  (4 * APUS_MS)
#define APUS_HYSTART_MAX_THRESH_NS  (16 * APUS_MS)
#define APUS_HYSTART_RTT_DIVISOR    8
#define APUS_HYSTART_SAMPLES        8
#define APUS_HYSTART_GROWTH_DIVISOR 4
#define APUS_HYSTART_CSS_ROUNDS     5

enum apus_hystart_phase {
	APUS_HYSTART_SLOW_START,
	APUS_HYSTART_CSS,  /* conservative slow start */
	APUS_HYSTART_DONE, /* set ssthresh to cwnd: congestion avoidance */
};

struct apus_hystart {
	int64_t last_min_ns;    /* of the last round; 0: none */
	int64_t current_min_ns; /* of this round; 0: none */
	int64_t baseline_ns;    /* current_min_ns when CSS began */
	uint32_t window_end;    /* SND.NXT when the round began */
	uint8_t phase;          /* enum apus_hystart_phase */
	uint8_t samples;        /* of this round, at most APUS_HYSTART_SAMPLES */
	uint8_t css_rounds;     /* ended in CSS */
	bool has_round : 1;     /* window_end is set */
};

/** apus_hystart_init - slow start begins */
void apus_hystart_init(struct apus_hystart *h);

/**
 * apus_hystart_acked - an ACK in the first slow start
 *
 * Return: the phase from now on; by what the window may grow follows from it, in CSS a
 * APUS_HYSTART_GROWTH_DIVISOR'th of what was acknowledged (RFC 9406 §4.2).
 */
enum apus_hystart_phase apus_hystart_acked(struct apus_hystart *h, const struct apus_cc_sample *s);

APUS_END_DECLS

#endif
