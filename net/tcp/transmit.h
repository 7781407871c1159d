/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/transmit.h: which text goes next, and until when its answer is waited for; output.c calls
 * it, and it calls back for each segment.
 */
#ifndef APUS_NET_TCP_TRANSMIT_H
#define APUS_NET_TCP_TRANSMIT_H

#include "net/tcp/tcb.h"

/** apus_tcp_transmit - what is lost, then new text and the FIN, as the windows and the rules allow */
void apus_tcp_transmit(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_watch - after all was sent: rexmit_at_ns, by what it is that is waited for */
void apus_tcp_watch(struct apus_tcp *c, int64_t now_ns);

/* ---- output.c ---- */

/**
 * apus_tcp_send_text - @bytes of text from @seq on, a segment or a run of full ones, with @fin behind
 *
 * An error from below is a lost segment, and a reason to tell if all of them are lost.
 *
 * Return: bytes of text that left: fewer, in full segments, when mbufs are short; -ENOBUFS: none,
 * and nothing has changed.
 */
APUS_MUST_CHECK int64_t apus_tcp_send_text(struct apus_tcp *c, uint32_t seq, uint32_t bytes,
					   bool fin, bool psh, int64_t now_ns);

/** apus_tcp_text_max - bytes of text that fit into the next segment, beside its SACK blocks (RFC 6691 §2) */
uint32_t apus_tcp_text_max(const struct apus_tcp *c);
/** apus_tcp_no_memory - nothing was sent and every want stays: the timer runs output again, soon. Return: -ENOBUFS */
int apus_tcp_no_memory(struct apus_tcp *c, int64_t now_ns);

/* ---- tcb.c ---- */

/** apus_tcp_recovery_open - before something is sent: see that there is c->recovery. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_tcp_recovery_open(struct apus_tcp *c);
/** apus_tcp_recovery_close - nothing is in flight, or nothing will be any more */
void apus_tcp_recovery_close(struct apus_tcp *c);

/* ---- ack.c ---- */

/** apus_tcp_resegment - cc.mss became less: what does not fit is lost, without congestion (RFC 1191 §6.4) */
void apus_tcp_resegment(struct apus_tcp *c);
/** apus_tcp_note_events - count what recovery tells: enum apus_recovery_event */
void apus_tcp_note_events(struct apus_tcp *c, unsigned int events);

/* ---- timers.c ---- */

/** apus_tcp_restart_rexmit - one RTO from now: a SYN, a window probe */
void apus_tcp_restart_rexmit(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_user_limit_ns - when the user's patience ends; user_timeout_ticks is set */
int64_t apus_tcp_user_limit_ns(const struct apus_tcp *c, int64_t now_ns);

/* inline definitions */

/* RFC 8985 §7.2: set when new text was sent or something arrived, which clear it. */
static inline void apus_tcp_schedule_probe(struct apus_tcp *c, int64_t rto_at_ns, int64_t now_ns)
{
	struct apus_recovery *r = c->recovery;

	if (!apus_recovery_may_probe(r, c->has_sack) || c->want & APUS_TCP_WANT_TAIL_PROBE) {
		r->probe_at_ns = APUS_NEVER;
		return;
	}
	if (r->probe_at_ns != APUS_NEVER)
		return;

	int64_t span_ns =
		apus_tlp_span_ns(apus_rtt_srtt_ns(&c->rtt), apus_flight_count(&r->flight) == 1);

	r->probe_at_ns = apus_min(now_ns + span_ns, rto_at_ns);
}

/** apus_tcp_watch_flight - rexmit_at_ns while something is in flight and the window open (RFC 6298 (5.1)) */
static inline void apus_tcp_watch_flight(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_recovery *r = c->recovery;
	int64_t rto_at_ns = r->rto_from_ns + apus_rtt_rto_ns(&c->rtt);

	apus_tcp_schedule_probe(c, rto_at_ns, now_ns);
	c->rexmit_at_ns = apus_min(apus_min(rto_at_ns, r->probe_at_ns), r->reorder_at_ns);
	if (r->is_paced)
		c->rexmit_at_ns = apus_min(c->rexmit_at_ns, r->pace.next_ns);
	if (c->user_timeout_ticks)
		c->rexmit_at_ns = apus_min(c->rexmit_at_ns, apus_tcp_user_limit_ns(c, now_ns));
}

#endif
