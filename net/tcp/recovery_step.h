/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery_step.h: an ACK on its way through loss recovery: between recovery.c, which decides,
 * and recovery_news.c, which finds out what the ACK says. For these two only.
 */
#ifndef APUS_NET_TCP_RECOVERY_STEP_H
#define APUS_NET_TCP_RECOVERY_STEP_H

#include "net/tcp/recovery.h"

struct apus_recovery_step {
	struct apus_recovery *r;
	struct apus_cc *cc;
	const struct apus_rtt *rtt;
	const struct apus_recovery_ack *ack;
	struct apus_flight_news news;
	struct apus_cc_sample sample;
	unsigned int events;
	uint32_t lost_bytes; /* newly */
	uint32_t prior_una;
	bool is_advanced;  /* SND.UNA moved */
	bool has_dsack;    /* a part of what was sent came twice */
	bool dsacks_probe; /* the tail loss probe did */
	bool lost_again;   /* something that was sent again is lost */
};

/** apus_recovery_take_records - SACK blocks, then the cumulative part; without SACK, duplicates */
void apus_recovery_take_records(struct apus_recovery_step *s);
/** apus_recovery_take_time - what that tells of time: RTT, RACK, where the RTO counts from */
void apus_recovery_take_time(struct apus_recovery_step *s, struct apus_rtt *rtt);
/** apus_recovery_take_rate - and of the delivery rate */
void apus_recovery_take_rate(struct apus_recovery_step *s);
/** apus_recovery_saw_reordering - what begins at @seq came after what ends at @fack */
void apus_recovery_saw_reordering(struct apus_recovery_step *s, uint32_t seq, uint32_t fack);
/** apus_recovery_is_hole - no SACK: do duplicates mean a hole, though they may be echoes (RFC 6582 §4.1)? */
static inline bool apus_recovery_is_hole(const struct apus_recovery_step *s)
{
	return s->cc->cwnd_bytes > s->cc->mss && s->r->step_bytes <= 4U * s->cc->mss;
}
/** apus_recovery_bound_emulated - duplicates never stand for so much that nothing could be missing */
void apus_recovery_bound_emulated(struct apus_flight *f, uint32_t mss);

/* ---- recovery.c ---- */

/** apus_recovery_acked_any - apus_recovery_acked(), for any ACK */
unsigned int apus_recovery_acked_any(struct apus_recovery *r, struct apus_cc *cc,
				     struct apus_rtt *rtt, const struct apus_recovery_ack *ack);

/* ---- recovery_lone.c ---- */

/** apus_recovery_acked_lone - the same, if it is the plainest there is. Return: it was */
bool apus_recovery_acked_lone(struct apus_recovery *r, struct apus_cc *cc, struct apus_rtt *rtt,
			      const struct apus_recovery_ack *ack);

/* RFC 4821: what is lost is the probe alone. That tells of its size, not of congestion. */
static inline bool apus_recovery_lost_path_probe(struct apus_recovery_step *s)
{
	const struct apus_flight *f = &s->r->flight;
	const struct apus_flight_record *lost;

	if (apus_likely(!s->r->path_probe_bytes) || f->lost_bytes != s->r->path_probe_bytes)
		return false;
	lost = apus_flight_next_lost(&s->r->flight);
	if (lost->end != s->r->path_probe_end || lost->end - lost->seq != f->lost_bytes)
		return false;
	s->events |= APUS_RECOVERY_PATH_PROBE_LOST;
	return true;
}

#endif
