/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rtt.h: the round-trip time and the retransmission timeout (RFC 6298).
 *
 * Fed with samples by the owner, who obeys Karn: no sample from a segment that was sent twice
 * (RFC 6298 §3), unless a timestamp tells which one was answered.
 */
#ifndef APUS_NET_TCP_RTT_H
#define APUS_NET_TCP_RTT_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

#define APUS_RTT_RTO_INITIAL_NS  (1 * APUS_SEC)  /* before any sample: RFC 6298 (2.1) */
#define APUS_RTT_RTO_FALLBACK_NS (3 * APUS_SEC)  /* a lost SYN, still no sample: RFC 6298 (5.7) */
#define APUS_RTT_RTO_FLOOR_NS    (200 * APUS_MS) /* least that 4 RTTVAR counts as */
#define APUS_RTT_RTO_MAX_NS      (120 * APUS_SEC)

/* Times in units of 125 ns: the maximum fits in 32 bits, and a connection has not many. */
#define APUS_RTT_UNIT_NS 125

struct apus_rtt {
	uint32_t srtt_units; /* 0: no sample yet */
	uint32_t rttvar_units;
	uint8_t backoff;     /* the RTO is doubled so many times, up to the maximum */
	bool lost_handshake; /* a SYN was sent again and gave no sample */
};

void apus_rtt_init(struct apus_rtt *rtt);

/** apus_rtt_sample - a segment sent once was acknowledged after @measured_ns (< 0 is 0); ends backoff */
void apus_rtt_sample(struct apus_rtt *rtt, int64_t measured_ns);
/** apus_rtt_sample_units - the same of @units of 125 ns, 1 to those of the greatest RTO */
static inline void apus_rtt_sample_units(struct apus_rtt *rtt, int32_t units)
{
	int32_t error = units - (int32_t)rtt->srtt_units;
	int32_t deviation = error < 0 ? -error : error;

	rtt->backoff = 0;
	if (apus_unlikely(!rtt->srtt_units)) { /* RFC 6298 (2.2) */
		rtt->srtt_units = (uint32_t)units;
		rtt->rttvar_units = (uint32_t)units / 2;
		return;
	}
	/* RFC 6298 (2.3): RTTVAR with the old SRTT, alpha 1/8, beta 1/4. */
	rtt->rttvar_units += (uint32_t)((deviation - (int32_t)rtt->rttvar_units) / 4);
	rtt->srtt_units += (uint32_t)(error / 8);
}

/** apus_rtt_backoff - the timer fired: double the RTO, to the maximum (RFC 6298 (5.5)) */
void apus_rtt_backoff(struct apus_rtt *rtt);

/** apus_rtt_progress - new data was acknowledged, without a sample: backoff ends, as in Linux */
void apus_rtt_progress(struct apus_rtt *rtt);

/** apus_rtt_handshake_done - @retransmitted: a SYN was sent again; if no sample came either, the RTO is 3 s (RFC 6298 (5.7)) */
void apus_rtt_handshake_done(struct apus_rtt *rtt, bool retransmitted);

/** apus_rtt_srtt_ns - the smoothed round-trip time; 0: no sample yet */
static inline int64_t apus_rtt_srtt_ns(const struct apus_rtt *rtt)
{
	return (int64_t)rtt->srtt_units * APUS_RTT_UNIT_NS;
}

/** apus_rtt_rttvar_ns - its variation */
static inline int64_t apus_rtt_rttvar_ns(const struct apus_rtt *rtt)
{
	return (int64_t)rtt->rttvar_units * APUS_RTT_UNIT_NS;
}

/** apus_rtt_rto_ns - the timeout to arm now, backed off */
static inline int64_t apus_rtt_rto_ns(const struct apus_rtt *rtt)
{
	int64_t rto_ns = rtt->lost_handshake ? APUS_RTT_RTO_FALLBACK_NS : APUS_RTT_RTO_INITIAL_NS;

	if (apus_likely(rtt->srtt_units))
		rto_ns = apus_rtt_srtt_ns(rtt) +
			 apus_max(4 * apus_rtt_rttvar_ns(rtt), APUS_RTT_RTO_FLOOR_NS);
	return apus_min(rto_ns << rtt->backoff, APUS_RTT_RTO_MAX_NS);
}

APUS_END_DECLS

#endif
