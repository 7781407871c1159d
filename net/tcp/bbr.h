/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/bbr.h: BBR, version 1 (draft-cardwell-iccrg-bbr-congestion-control-00): send at the rate
 * at which the path delivers, and keep no more in flight than it holds.
 */
#ifndef APUS_NET_TCP_BBR_H
#define APUS_NET_TCP_BBR_H

#include "net/tcp/cc.h"

APUS_BEGIN_DECLS

#define APUS_BBR_ROUNDS       10              /* BtlBwFilterLen */
#define APUS_BBR_RTPROP_NS    (10 * APUS_SEC) /* RTpropFilterLen and ProbeRTTInterval */
#define APUS_BBR_PROBE_RTT_NS (200 * APUS_MS) /* ProbeRTTDuration */
#define APUS_BBR_CYCLE        8               /* phases of a gain cycle */
#define APUS_BBR_PIPE_MSS     4               /* BBRMinPipeCwnd */

/* Gains are in these parts of one. */
#define APUS_BBR_UNIT       256
#define APUS_BBR_HIGH_GAIN  739 /* 2 / ln 2 */
#define APUS_BBR_DRAIN_GAIN 88  /* its inverse */

enum apus_bbr_phase {
	APUS_BBR_STARTUP,
	APUS_BBR_DRAIN,
	APUS_BBR_PROBE_BW,
	APUS_BBR_PROBE_RTT,
};

/* What apus_cc.state points to; rates in bytes per second. */
struct apus_bbr {
	uint64_t rates[APUS_BBR_ROUNDS]; /* the best of each round that had a sample, by round */
	uint64_t rate;                   /* BtlBw: the best of these */
	uint64_t full_rate;              /* BtlBw when it last grew by a quarter */
	uint64_t pacing_rate;            /* 0: none yet */
	uint64_t next_round_bytes;       /* delivered in all when the round began */
	uint64_t limited_until_bytes; /* samples of what was sent before say nothing: PROBE_RTT */
	int64_t rtprop_ns;            /* 0: none yet */
	int64_t rtprop_at_ns;         /* when it was last seen */
	int64_t cycle_at_ns;          /* when this phase of the gain cycle began */
	int64_t probe_rtt_until_ns;   /* 0: still draining */
	uint32_t round;               /* counted */
	uint32_t rated_round;         /* of the last sample in rates */
	uint32_t prior_cwnd_bytes;    /* last known good, without recovery or PROBE_RTT */
	uint8_t phase;                /* enum apus_bbr_phase */
	uint8_t cycle;                /* phase of the gain cycle */
	uint8_t full_rounds;          /* without growth by a quarter */
	bool filled_pipe : 1;
	bool is_round_start : 1;
	bool is_conserving : 1; /* first round of recovery: out goes what came in */
	bool is_probe_rtt_round_done : 1;
	bool is_idle_restart : 1;
	bool is_repairing : 1; /* between a loss and its repair */
};

static_assert(sizeof(struct apus_bbr) <= APUS_CC_STATE_BYTES_MAX, "what is lent");

extern const struct apus_cc_type apus_bbr;

APUS_END_DECLS

#endif
