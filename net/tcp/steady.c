/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/steady.c: when a connection becomes steady, and when it is no more; see steady.h.
 *
 * Entry points: apus_tcp_steady_begin, apus_tcp_settle.
 */
#include "net/tcp/steady.h"

#include "net/tcp/short.h"
#include "net/tcp/transmit.h"

/* Loss recovery and congestion control have nothing to say of one segment, now or when it arrives. */
static bool recovery_rests(const struct apus_tcp *c)
{
	const struct apus_recovery *r = c->recovery;

	/* What is app-limited is no rate sample. */
	return apus_cc_rests(&c->cc) && r->rate.app_limited_end && r->reorder_at_ns == APUS_NEVER &&
	       !(r->has_probe | r->has_recover | r->rack.has_dsack | r->flight.has_sacked_end);
}

/* The queue is as long as ACKs may let it become: the next one need not look (ack.h). */
static bool queue_is_grown(const struct apus_tcp *c)
{
	return c->sndq.limit_bytes >= apus_tcp_queue_limit(c);
}

void apus_tcp_steady_begin(struct apus_tcp *c, uint32_t text)
{
	struct apus_tcp_sender *sender = apus_tcp_sender_of(c);

	apus_assert(c->snd.una == c->snd.nxt);
	if (c->state != APUS_TCP_ESTABLISHED || !c->has_sack || !c->tally ||
	    (c->is_released | c->rcv.has_early_fin | c->retries | c->keepalive_sent) ||
	    c->soft_error || c->user_timeout_ticks || !queue_is_grown(c) || !recovery_rests(c))
		return;
	/* A window is not in use of which less than half is (apus_cc_rests()). */
	sender->steady_most = apus_min(c->cc.cwnd_bytes / 2, (uint32_t)c->cc.mss);
	if (text > sender->steady_most)
		return;
	c->is_steady = true;
	c->rexmit_at_ns = APUS_NEVER;
	sender->recovery.probe_at_ns = APUS_NEVER;
	sender->steady_una = c->snd.una;
}

/* What is in flight gets its record and its deadlines, as of when it was sent. */
static void record(struct apus_tcp *c)
{
	struct apus_recovery *r = c->recovery;
	int64_t sent_ns = r->rto_from_ns;

	c->progress_tick = apus_tcp_tick(sent_ns);
	apus_recovery_sent_plain(r, c->snd.una, c->snd.nxt, sent_ns);
	apus_cc_sent(&c->cc, c->snd.una, c->snd.nxt, false);
	apus_tcp_watch_flight(c, sent_ns);
}

APUS_COLD void apus_tcp_settle_slow(struct apus_tcp *c)
{
	struct apus_recovery *r = c->recovery;
	uint32_t acked = c->snd.una - apus_tcp_sender_of(c)->steady_una;

	c->is_steady = false;
	c->snd.acked += apus_min(acked, UINT32_MAX - c->snd.acked);
	c->tally->bytes_acked += acked;
	r->rate.delivered_bytes += acked;
	c->cc.usage_seq = c->snd.una;
	if (c->snd.una != c->snd.nxt)
		record(c);
	apus_rate_limited(&r->rate, c->snd.nxt - c->snd.una);
}

int64_t apus_tcp_steady_deadline_ns(const struct apus_tcp *c)
{
	int64_t probe_ns = apus_tlp_span_ns(apus_rtt_srtt_ns(&c->rtt), true);

	return c->recovery->rto_from_ns + apus_min(probe_ns, apus_rtt_rto_ns(&c->rtt));
}

/* As watch() of plain.c and apus_tcp_arm() would, had they been asked. */
APUS_NOINLINE void apus_tcp_steady_arm(struct apus_tcp *c)
{
	c->rexmit_at_ns = apus_tcp_steady_deadline_ns(c);
	apus_tcp_arm(c);
	c->rexmit_at_ns = APUS_NEVER;
}
