/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery.h: when a loss is inferred from duplicate ACKs, and the window until it is
 * repaired: RFC 5681 §3.2 and RFC 6582 §3.2 with limited transmit (RFC 3042).
 *
 * The owner tells what happened and does what it is told. No connection and no clock: sequence
 * numbers and times are handed in.
 */
#ifndef APUS_NET_TCP_RECOVERY_H
#define APUS_NET_TCP_RECOVERY_H

#include "net/tcp/cc.h"

APUS_BEGIN_DECLS

#define APUS_RECOVERY_DUPLICATES_MAX 3 /* RFC 5681 §3.2: the third duplicate ACK means loss */

/* What the owner is to do. */
enum apus_recovery_act {
	APUS_RECOVERY_NOTHING,    /* nothing more than to send what the window now allows */
	APUS_RECOVERY_RETRANSMIT, /* send the segment at SND.UNA again, at once */
	APUS_RECOVERY_RETRANSMIT_AND_ARM, /* the same, and restart the retransmission timer: first partial ACK */
};

struct apus_recovery {
	uint32_t recover;         /* SND.NXT when the last recovery or timeout began */
	uint32_t duplicate_nxt;   /* SND.NXT at the first of `duplicates` */
	uint32_t step_bytes;      /* by which the last ACK moved SND.UNA: RFC 6582 §4.1 */
	uint8_t duplicates;       /* duplicate ACKs in a row outside recovery, at most 4 */
	bool has_recover : 1;     /* recover means something: SND.UNA has not passed it yet */
	bool in_recovery : 1;     /* fast recovery (RFC 6582), not the time after a timeout */
	bool saw_partial_ack : 1; /* in this recovery */
	bool timed_out : 1;       /* since then nothing new was acknowledged */
};

/** apus_recovery_init - nothing was lost yet */
void apus_recovery_init(struct apus_recovery *r);

/** apus_recovery_window - bytes that may be in flight now: cwnd, and limited transmit's two segments (RFC 3042) */
static inline uint32_t apus_recovery_window(const struct apus_recovery *r, const struct apus_cc *cc)
{
	return r->in_recovery ? cc->cwnd_bytes
			      : cc->cwnd_bytes + apus_min(r->duplicates, 2U) * cc->mss;
}

/** apus_recovery_acked - SND.UNA moved; @s: what by (its in_recovery and is_after_timeout are set here). Return: what to do */
APUS_MUST_CHECK enum apus_recovery_act
apus_recovery_acked(struct apus_recovery *r, struct apus_cc *cc, struct apus_cc_sample *s);

/** apus_recovery_duplicate - a duplicate ACK by RFC 5681 §2's definition arrived; @s: una < nxt. Return: what to do */
APUS_MUST_CHECK enum apus_recovery_act apus_recovery_duplicate(struct apus_recovery *r,
							       struct apus_cc *cc,
							       const struct apus_cc_sample *s);

/** apus_recovery_timeout - the retransmission timer fired; @s: una, nxt before SND.NXT is pulled back, if it is */
void apus_recovery_timeout(struct apus_recovery *r, struct apus_cc *cc,
			   const struct apus_cc_sample *s);

/** apus_recovery_check - the invariants, for tests */
void apus_recovery_check(const struct apus_recovery *r);

APUS_END_DECLS

#endif
