/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cubic.h: CUBIC (RFC 9438) with HyStart++ (RFC 9406): the default.
 */
#ifndef APUS_NET_TCP_CUBIC_H
#define APUS_NET_TCP_CUBIC_H

#include "net/tcp/hystart.h"

APUS_BEGIN_DECLS

/* TCP.md §2: Linux's 717/1024 for the 0.7 of RFC 9438 §4.6. */
#define APUS_CUBIC_BETA_NUM 717
#define APUS_CUBIC_BETA_DEN 1024

/* Times of the cubic function are counted in these parts of a second. */
#define APUS_CUBIC_UNITS 1024

/* What apus_cc.state points to; an epoch is a stage of congestion avoidance. */
struct apus_cubic {
	int64_t epoch_ns; /* when it began, later by the time in which the window was not in use; 0: there is none */
	int64_t last_ns;       /* of the last ACK in it */
	uint64_t cubic_credit; /* what growth by the cubic function left over, in parts of cwnd */
	uint64_t est_credit;   /* the same of w_est_bytes */
	uint32_t w_max_bytes;  /* W_max */
	uint32_t prior_bytes;  /* cwnd_prior: cwnd before the last reduction */
	uint32_t w_est_bytes;  /* W_est: what Reno would have */
	uint32_t k_units;      /* K: from the epoch's begin to W_max */
	struct {               /* what a spurious reduction brings back (RFC 9438 §4.9) */
		int64_t epoch_ns;
		uint32_t w_max_bytes, prior_bytes, w_est_bytes, k_units;
	} undo;
	struct apus_hystart hystart;
};

static_assert(sizeof(struct apus_cubic) <= APUS_CC_STATE_BYTES_MAX, "what is lent");

extern const struct apus_cc_type apus_cubic;

/** apus_cubic_root - the largest whole number whose cube is at most @x */
uint32_t apus_cubic_root(uint64_t x);

/** apus_cubic_k - K of RFC 9438 §4.2 in units: from @cwnd_bytes up to @w_max_bytes, the larger */
uint32_t apus_cubic_k(uint32_t w_max_bytes, uint32_t cwnd_bytes, uint32_t mss);

/** apus_cubic_window - W_cubic(t) of RFC 9438 §4.2 in bytes, from 0 to APUS_CC_CWND_MAX; @t_units since the epoch began */
uint32_t apus_cubic_window(const struct apus_cubic *q, uint32_t mss, int64_t t_units);

APUS_END_DECLS

#endif
