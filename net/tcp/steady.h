/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/steady.h: a connection on which requests and answers take turns.
 *
 * It is steady while at most one segment of text is in flight and nothing is amiss: whatever could be
 * asked before something is sent, or when it is acknowledged, was asked when it became so, and has the
 * same answer since. Then nobody needs a record of the segment, nor its deadlines: its text is SND.UNA to
 * SND.NXT, its time the moment from which the RTO counts, and no deadline of a segment alone in flight
 * is sooner than APUS_TCP_STEADY_NS, for which the timer is armed already.
 *
 * Whoever goes another way than fast.c and plain.c, or changes what these rely on, calls
 * apus_tcp_settle() first: it makes up for all that was left out, as if each segment had had a record.
 * So nobody else knows; test_fast_equivalence.c and test_plain.c compare.
 */
#ifndef APUS_NET_TCP_STEADY_H
#define APUS_NET_TCP_STEADY_H

#include "net/tcp/ack.h"
#include "net/tcp/plain.h"

#define APUS_TCP_STEADY_NS APUS_RTT_RTO_FLOOR_NS

static_assert(APUS_TLP_ONE_IN_FLIGHT_NS >= APUS_TCP_STEADY_NS, "no probe is sooner");

static inline struct apus_tcp_sender *apus_tcp_sender_of(const struct apus_tcp *c)
{
	return apus_container_of(c->recovery, struct apus_tcp_sender, recovery);
}

void apus_tcp_settle_slow(struct apus_tcp *c);
/** apus_tcp_settle - @c is steady no more: records, counts and deadlines are what they would be */
static inline void apus_tcp_settle(struct apus_tcp *c)
{
	if (apus_unlikely(c->is_steady))
		apus_tcp_settle_slow(c);
}

/** apus_tcp_steady_begin - @text bytes leave now, plainly (plain.c), and nothing was in flight: from now on @c is steady, if it can be */
void apus_tcp_steady_begin(struct apus_tcp *c, uint32_t text);

/** apus_tcp_steady_deadline_ns - of what is in flight: its probe, or its RTO */
int64_t apus_tcp_steady_deadline_ns(const struct apus_tcp *c);
void apus_tcp_steady_arm(struct apus_tcp *c);
/** apus_tcp_steady_sent - @text bytes left as one segment; @c is steady, and nothing is in flight */
static inline void apus_tcp_steady_sent(struct apus_tcp *c, uint32_t text, int64_t now_ns)
{
	c->snd.nxt += text;
	c->recovery->rto_from_ns = now_ns;
	if (apus_unlikely(!c->timer.prev || c->timer.deadline_ns > now_ns + APUS_TCP_STEADY_NS))
		apus_tcp_steady_arm(c);
}

/** apus_tcp_steady_acked - all @bytes in flight are acknowledged; @c is steady */
static inline void apus_tcp_steady_acked(struct apus_tcp *c, uint32_t bytes, int64_t now_ns)
{
	struct apus_recovery *r = c->recovery;
	int64_t sent_ns = r->rto_from_ns, rtt_ns = now_ns - sent_ns;
	uint32_t units = (uint32_t)apus_max((uint64_t)rtt_ns / APUS_RTT_UNIT_NS, UINT64_C(1));

	c->snd.una += bytes;
	apus_rtt_sample_units(&c->rtt, (int32_t)units);
	apus_min_rtt_sample_units(&r->rack.min_rtt, units, apus_tcp_tick(now_ns));
	r->rack.rtt_ns = rtt_ns;
	r->rack.sent_ns = sent_ns;
	r->rack.end = c->snd.una;
	r->rack.is_valid = true;
	r->step_bytes = bytes;
	c->tally->delivered++;
	apus_sndq_ack(&c->sndq, bytes);
	if (!apus_waitq_empty(&c->writers))
		apus_tcp_acked(c);
}

#endif
