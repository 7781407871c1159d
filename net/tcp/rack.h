/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rack.h: RACK-TLP (RFC 8985): loss by time.
 *
 * What was sent before something that has arrived, and has not arrived itself a reordering window
 * later, is lost; and when the end of a flight is lost, a probe brings the ACK that tells so. Needs
 * SACK. No connection and no clock: records (flight.h) and times are handed in.
 */
#ifndef APUS_NET_TCP_RACK_H
#define APUS_NET_TCP_RACK_H

#include "net/tcp/flight.h"

APUS_BEGIN_DECLS

#define APUS_RACK_TIMER_NS        (2 * APUS_MS) /* by which its timers are later: TCP.md §2 */
#define APUS_RACK_STEPS_PERSIST   16 /* recoveries without DSACK: RFC 8985 §6.2 step 4 */
#define APUS_RACK_MIN_RTT_NS      (300 * APUS_SEC) /* the span of the least RTT; Linux's */
#define APUS_RACK_MIN_RTT_TICKS   ((uint32_t)(APUS_RACK_MIN_RTT_NS >> 20))
#define APUS_TLP_ONE_IN_FLIGHT_NS (200 * APUS_MS) /* the peer may delay its ACK: TCP.md §2 */

/* The least round-trip time of the last APUS_RACK_MIN_RTT_NS, with the next best of later. */
struct apus_min_rtt {
	struct {
		uint32_t tick;  /* of 2^20 ns */
		uint32_t units; /* of 125 ns; 0: no sample */
	} best[3];
};

struct apus_rack {
	int64_t sent_ns;  /* RACK.xmit_ts: of what arrived, the last sent was sent then ... */
	int64_t rtt_ns;   /* RACK.rtt: ... and took so long */
	uint32_t end;     /* RACK.end_seq */
	bool is_valid;    /* the three above are set */
	bool is_advanced; /* they changed: look for losses */
	bool has_dsack;   /* in this round */
	bool saw_reordering;
	uint8_t steps;      /* RACK.reo_wnd_mult */
	uint8_t persist;    /* RACK.reo_wnd_persist */
	uint64_t round_end; /* RACK.dsack_round: no other step before so much is delivered */
	struct apus_min_rtt min_rtt;
};

struct apus_rack_losses {
	uint32_t lost_bytes;
	bool has_again;      /* something that was sent again is lost again */
	int64_t timer_at_ns; /* look again then; APUS_NEVER */
};

/** apus_min_rtt_sample - a round trip took @rtt_ns */
void apus_min_rtt_sample(struct apus_min_rtt *m, int64_t rtt_ns, int64_t now_ns);

void apus_min_rtt_sample_slow(struct apus_min_rtt *m, uint32_t units, uint32_t tick);
/** apus_min_rtt_sample_units - the same of @units of 125 ns (> 0) at @tick of 2^20 ns */
static inline void apus_min_rtt_sample_units(struct apus_min_rtt *m, uint32_t units, uint32_t tick)
{
	/* Most are no news: worse than the three, which are not old; or what they are. */
	if (units > m->best[2].units && m->best[0].units &&
	    tick - m->best[0].tick <= APUS_RACK_MIN_RTT_TICKS / 4)
		return;
	if (units == m->best[0].units && tick == m->best[0].tick && units == m->best[2].units &&
	    tick == m->best[2].tick)
		return;
	apus_min_rtt_sample_slow(m, units, tick);
}

/** apus_min_rtt_ns - 0: no sample */
static inline int64_t apus_min_rtt_ns(const struct apus_min_rtt *m)
{
	return (int64_t)m->best[0].units * 125;
}

/** apus_rack_arrived - RFC 8985 §6.2 steps 1 and 2: @news is what an ACK said */
void apus_rack_arrived(struct apus_rack *rack, const struct apus_flight_news *news);

/**
 * apus_rack_adapt - RFC 8985 §6.2 step 4: DSACKs widen the reordering window, once per round
 * @delivered_bytes:       in all, now
 * @prior_delivered_bytes: in all, when what was acknowledged now was sent
 */
void apus_rack_adapt(struct apus_rack *rack, uint64_t delivered_bytes,
		     uint64_t prior_delivered_bytes);

/** apus_rack_recovered - a recovery ended without being undone */
static inline void apus_rack_recovered(struct apus_rack *rack)
{
	if (rack->persist && !--rack->persist)
		rack->steps = 1;
}

/** apus_rack_window_ns - the reordering window; @is_sure: recovery is on, or the threshold of sacked segments is met */
int64_t apus_rack_window_ns(const struct apus_rack *rack, bool is_sure, int64_t srtt_ns);

/** apus_rack_detect - RFC 8985 §6.2 step 5: mark what is lost by now; @window_ns: the reordering window */
struct apus_rack_losses apus_rack_detect(const struct apus_rack *rack, struct apus_flight *f,
					 int64_t window_ns, int64_t now_ns);

/** apus_rack_timeout - RFC 8985 §6.3: the RTO expired: what is lost by that. Return: bytes newly lost */
uint32_t apus_rack_timeout(const struct apus_rack *rack, struct apus_flight *f, int64_t now_ns);

/** apus_tlp_span_ns - RFC 8985 §7.2: the probe timeout; @srtt_ns 0: no sample yet, @is_single: one segment in flight */
static inline int64_t apus_tlp_span_ns(int64_t srtt_ns, bool is_single)
{
	if (!srtt_ns)
		return APUS_SEC;
	return 2 * srtt_ns + (is_single ? APUS_TLP_ONE_IN_FLIGHT_NS : APUS_RACK_TIMER_NS);
}

APUS_END_DECLS

#endif
