/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timers.c: Timeouts (RFC 9293 §3.10.8).
 *
 * SYN: a SYN without an answer is sent again after 1 s, four times; then after 1, 2, 4 ... s, six
 * times more (Linux's tcp_syn_linear_timeouts and tcp_syn_retries); a SYN-ACK of a simultaneous
 * open after 1, 2, 4 ... s, five times. Then the user is told. Where we differ: that is after 131 s
 * and not after the three minutes of MUST-23, because TCP.md §2 asks for Linux's numbers.
 *
 * Retransmission: when the oldest segment in flight is one RTO old, all that is in flight counts
 * as lost and is sent again from SND.UNA, at first one segment; the RTO doubles, and after the
 * fifteenth time in vain (R2) the connection ends (RFC 6298 §5, RFC 9293 §3.8.3).
 *
 * Window probe: when text has waited one RTO for a window, a bare segment asks for it again, then
 * after twice that, and so on; only fifteen in a row without any answer end the connection
 * (RFC 9293 §3.8.6.1). One that the user gave up is reset once the probes are two minutes apart,
 * answered or not: else a peer that never opens its window keeps it for ever (RFC 6429; so does
 * Linux). Text that waits because the window is small is sent into it after one RTO
 * (§3.8.6.2.1, the override timeout).
 *
 * Delayed ACK: 40 ms after text came and nothing carried its ACK, the ACK goes alone (§3.8.6.3).
 *
 * Keepalive: when nothing was heard for the time that the user chose, a bare segment asks; nine
 * without an answer, 75 s apart, end the connection (§3.8.4). A user timeout takes the place of their
 * number, as in Linux: the first after it ends the connection.
 *
 * User timeout: when what was sent is unacknowledged for the time that the user chose, the
 * connection ends (§3.10.8); it is looked at when one of the first three fires, which it moves up.
 *
 * FIN-WAIT-2: 60 s after the user gave the connection up and our FIN was acknowledged, a peer that
 * never says FIN is forgotten.
 *
 * TIME-WAIT and the SYN-ACKs of request entries have lists and timers of their own: timewait.c,
 * listen.c.
 *
 * One timer per connection, armed for the earliest deadline. A deadline that moves away is left
 * to be found out when the timer fires early; so an ACK only writes a number.
 */
#include "net/tcp/pmtu.h"
#include "net/tcp/short.h"
#include "net/tcp/steady.h"
#include "net/tcp/transmit.h"
#include "runtime/sched/shard.h"

#include <errno.h>

static int64_t syn_interval_ns(const struct apus_tcp *c)
{
	uint32_t doublings = c->retries;

	if (c->state == APUS_TCP_SYN_SENT)
		doublings -= apus_min(doublings, (uint32_t)APUS_TCP_SYN_RETRIES_LINEAR);
	return APUS_RTT_RTO_INITIAL_NS << doublings;
}

static uint32_t syn_retries_max(const struct apus_tcp *c)
{
	return c->state == APUS_TCP_SYN_SENT ? APUS_TCP_SYN_RETRIES_LINEAR + APUS_TCP_SYN_RETRIES
					     : APUS_TCP_SYN_ACK_RETRIES;
}

int64_t apus_tcp_user_limit_ns(const struct apus_tcp *c, int64_t now_ns)
{
	uint32_t waited = apus_tcp_tick(now_ns) - c->progress_tick;
	uint32_t left = c->user_timeout_ticks - apus_min(waited, c->user_timeout_ticks);

	return now_ns + apus_tcp_tick_ns(left + 1);
}

void apus_tcp_restart_rexmit(struct apus_tcp *c, int64_t now_ns)
{
	int64_t span_ns =
		apus_tcp_synchronized(c->state) ? apus_rtt_rto_ns(&c->rtt) : syn_interval_ns(c);

	c->rexmit_at_ns = now_ns + span_ns;
	if (c->user_timeout_ticks)
		c->rexmit_at_ns = apus_min(c->rexmit_at_ns, apus_tcp_user_limit_ns(c, now_ns));
}

void apus_tcp_start_idle(struct apus_tcp *c, int64_t now_ns)
{
	if (c->state == APUS_TCP_FIN_WAIT_2 && c->is_released)
		c->idle_at_ns = now_ns + APUS_TCP_FIN_WAIT_2_NS;
	else if (c->keepalive_ticks && apus_tcp_synchronized(c->state))
		c->idle_at_ns = now_ns + apus_tcp_tick_ns(c->keepalive_ticks);
	else
		c->idle_at_ns = APUS_NEVER;
}

/* R2 is reached, or the user's own limit; what the network said about it says more than the clock. */
static void give_up(struct apus_tcp *c)
{
	apus_tcp_count(c->layer, APUS_TCP_COUNT_TIMEOUTS);
	apus_tcp_delete(c, c->soft_error ? c->soft_error : -ETIMEDOUT);
}

static bool user_timeout(const struct apus_tcp *c, int64_t now_ns)
{
	return c->user_timeout_ticks &&
	       apus_tcp_tick(now_ns) - c->progress_tick >= c->user_timeout_ticks;
}

static void syn_timeout(struct apus_tcp *c, int64_t now_ns)
{
	if (c->retries >= syn_retries_max(c)) {
		give_up(c);
		return;
	}
	c->retries++;
	c->syn_resent = true;
	c->want |= APUS_TCP_WANT_SYN;
	apus_tcp_restart_rexmit(c, now_ns);
	apus_tcp_mark(c);
}

static void window_probe_timeout(struct apus_tcp *c, int64_t now_ns)
{
	if (c->snd.wnd && (c->recovery || !apus_tcp_recovery_open(c))) { /* open, but small */
		c->want |= APUS_TCP_WANT_FORCE;
		apus_tcp_mark(c);
		return;
	}
	if (c->is_released && apus_rtt_rto_ns(&c->rtt) >= APUS_RTT_RTO_MAX_NS) {
		apus_tcp_send_abort(c, now_ns);
		give_up(c);
		return;
	}
	if (c->retries >= APUS_TCP_DATA_RETRIES) {
		if (c->snd.wnd) /* the peer has done nothing wrong and hears nothing: tell it */
			apus_tcp_send_abort(c, now_ns);
		give_up(c);
		return;
	}
	if (c->snd.wnd) { /* open; but there has been no memory to send anything, for all this time */
		c->retries++;
		apus_rtt_backoff(&c->rtt);
		apus_tcp_restart_rexmit(c, now_ns);
		apus_tcp_mark(c);
		return;
	}
	c->retries++; /* until any answer comes (MUST-37) */
	c->want |= APUS_TCP_WANT_PROBE;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_ZERO_WINDOW_PROBES);
	apus_rtt_backoff(&c->rtt); /* SHLD-30 */
	apus_tcp_restart_rexmit(c, now_ns);
	apus_tcp_mark(c);
}

static void data_timeout(struct apus_tcp *c, int64_t now_ns)
{
	if (c->retries >= APUS_TCP_DATA_RETRIES) {
		give_up(c);
		return;
	}
	c->retries++;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_RTO);
	apus_tcp_note_events(c, apus_recovery_timeout(c->recovery, &c->cc, &c->rtt, c->snd.nxt,
						      c->retries > 1, now_ns));
	c->snd.ecn.owes_cwr = c->snd.ecn.is_on;
	c->want &= (uint8_t)~APUS_TCP_WANT_TAIL_PROBE;
	if (apus_tcp_traces(c))
		apus_tcp_trace_note(c, APUS_TCP_TRACE_TIMEOUT, now_ns);
	apus_tcp_black_hole(c, now_ns);
	apus_rtt_backoff(&c->rtt); /* RFC 6298 (5.5); (5.6): output arms it */
}

/* The timer of what is in flight: whichever of the three it was. */
static void flight_timeout(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_recovery *r = c->recovery;
	unsigned int events;

	apus_tcp_mark(c); /* output sets the next deadline */
	if (r->reorder_at_ns <= now_ns) {
		events = apus_recovery_reorder_timeout(r, &c->cc, &c->rtt, c->snd.nxt, now_ns);
		if (events & APUS_RECOVERY_RENEGED)
			data_timeout(c, now_ns);
		else
			apus_tcp_note_events(c, events);
	} else if (r->probe_at_ns <= now_ns) {
		r->probe_at_ns = APUS_NEVER;
		r->rto_from_ns = now_ns; /* RFC 8985 §7.3: also if there is no mbuf for it */
		c->want |= APUS_TCP_WANT_TAIL_PROBE;
	} else if (r->rto_from_ns + apus_rtt_rto_ns(&c->rtt) <= now_ns) {
		data_timeout(c, now_ns);
	}
}

static void rexmit_fired(struct apus_tcp *c, int64_t now_ns)
{
	c->rexmit_at_ns = APUS_NEVER;
	if (user_timeout(c, now_ns))
		give_up(c);
	else if (!apus_tcp_synchronized(c->state))
		syn_timeout(c, now_ns);
	else if (c->is_persisting || !c->snd.wnd)
		window_probe_timeout(c, now_ns);
	else if (c->snd.una != c->snd.nxt)
		flight_timeout(c, now_ns);
	else
		apus_tcp_mark(c); /* pacing held text back */
}

static void ack_fired(struct apus_tcp *c)
{
	c->ack_at_ns = APUS_NEVER;
	if (c->want & APUS_TCP_WANT_ACK_SOON) {
		c->want |= APUS_TCP_WANT_ACK_NOW;
		apus_tcp_count(c->layer, APUS_TCP_COUNT_DELAYED_ACKS);
	}
	/* It also counts to the next try after there was no mbuf: all that was wanted still is. */
	apus_waitq_wake_all(&c->writers, 0);
	apus_tcp_mark(c);
}

static bool keepalive_in_vain(const struct apus_tcp *c, uint32_t quiet)
{
	if (c->user_timeout_ticks)
		return c->keepalive_sent && quiet >= c->user_timeout_ticks;
	return c->keepalive_sent >= c->keepalive_probes;
}

static void keepalive_fired(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t quiet = apus_tcp_tick(now_ns) - c->heard_tick;

	if (!c->keepalive_ticks)
		return;
	/* While something is in flight, or waits for a window, another timer asks. */
	if (c->snd.una != c->snd.nxt || c->sndq.bytes || quiet < c->keepalive_ticks) {
		uint32_t left = c->keepalive_ticks - apus_min(quiet, c->keepalive_ticks - 1);

		c->idle_at_ns = now_ns + apus_tcp_tick_ns(left);
		return;
	}
	if (keepalive_in_vain(c, quiet)) {
		apus_tcp_send_abort(c, now_ns);
		give_up(c);
		return;
	}
	c->keepalive_sent++;
	apus_tcp_count(c->layer, APUS_TCP_COUNT_KEEPALIVE_PROBES);
	c->want |= APUS_TCP_WANT_PROBE;
	c->idle_at_ns = now_ns + apus_tcp_tick_ns(c->keepalive_interval_ticks);
	apus_tcp_mark(c);
}

static void idle_fired(struct apus_tcp *c, int64_t now_ns)
{
	c->idle_at_ns = APUS_NEVER;
	if (c->state == APUS_TCP_FIN_WAIT_2 && c->is_released) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_TIMEOUTS);
		apus_tcp_delete(c, 0);
	} else {
		keepalive_fired(c, now_ns);
	}
}

/*
 * What is kept for the sake of data in flight is given back when there was none for an RTO. The
 * timer that was armed for that data is still armed when it is acknowledged: it ends up here.
 * Return: when; now: it is time.
 */
static int64_t forget_at_ns(const struct apus_tcp *c, int64_t now_ns)
{
	uint32_t silent = apus_tcp_tick(now_ns) - c->sent_tick;
	uint32_t span = apus_tcp_tick(apus_rtt_rto_ns(&c->rtt)) + 1;

	return silent > span ? now_ns : now_ns + apus_tcp_tick_ns(span - silent + 1);
}

static void forget_recovery(struct apus_tcp *c, int64_t now_ns)
{
	int64_t at_ns;

	if (!c->recovery || c->snd.una != c->snd.nxt)
		return;
	at_ns = forget_at_ns(c, now_ns);
	if (at_ns > now_ns)
		apus_timer_arm(&c->timer, at_ns);
	else
		apus_tcp_recovery_close(c);
}

/* A steady connection's timer was early, as it mostly is: it is armed anew, and no more is to be done. */
static bool was_early(struct apus_tcp *c, int64_t now_ns)
{
	int64_t at_ns = apus_min(c->ack_at_ns, c->idle_at_ns);

	if (!c->is_steady)
		return false;
	at_ns = apus_min(at_ns, c->snd.una == c->snd.nxt ? forget_at_ns(c, now_ns)
							 : apus_tcp_steady_deadline_ns(c));
	if (at_ns <= now_ns)
		return false;
	apus_timer_arm(&c->timer, at_ns);
	return true;
}

void apus_tcp_timer_fired(struct apus_work *work)
{
	struct apus_tcp *c = apus_container_of(apus_timer_of(work), struct apus_tcp, timer);
	int64_t now_ns = apus_now();

	if (was_early(c, now_ns))
		return;
	apus_tcp_settle(c);
	if (c->ack_at_ns <= now_ns)
		ack_fired(c);
	if (c->rexmit_at_ns <= now_ns)
		rexmit_fired(c, now_ns);
	if (c->idle_at_ns <= now_ns)
		idle_fired(c, now_ns);
	if (c->state != APUS_TCP_CLOSED) {
		forget_recovery(c, now_ns);
		apus_tcp_arm(c);
	}
}
