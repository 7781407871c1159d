/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/transmit.c: which text goes next.
 *
 * First what is lost (recovery.h), lowest number first; then new text and the FIN, as the peer's
 * window (RFC 9293 §3.8.6), the congestion window (RFC 5681 §3.1: the pipe of RFC 6675 below cwnd)
 * and pacing allow; a tail loss probe (RFC 8985 §7.3) in spite of the last two. A record is made
 * for all that leaves, and what none can be made for does not leave.
 *
 * Then the deadline: the earliest of RTO, tail loss probe and RACK's reordering timer while
 * something is in flight and the peer's window is open; else a window probe's.
 *
 * Entry points: apus_tcp_transmit, apus_tcp_watch.
 */
#include "net/tcp/transmit.h"

#include "net/tcp/pmtu.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_mbuf.h>

#define IPV4_HEADER_BYTES 20 /* apus_ipv4_output() makes no options */
#define RUN_SEGMENTS_MAX  64 /* in one run: bounds the mbufs of its chain */

/* Bytes of SND.WND beyond @seq; none when the peer drew its window back (MUST-34). */
static uint32_t usable_window(const struct apus_tcp *c, uint32_t seq)
{
	uint32_t edge = c->snd.una + c->snd.wnd;

	return apus_seq_lt(seq, edge) ? edge - seq : 0;
}

/* What is to be sent ends here. */
static uint32_t owed_end(const struct apus_tcp *c)
{
	return apus_tcp_text_end(c) + apus_tcp_fin_due(c);
}

/* How much may be in the network besides what is. */
static uint32_t cwnd_room(const struct apus_tcp *c)
{
	uint32_t pipe = apus_recovery_pipe(c->recovery);

	return pipe < c->cc.cwnd_bytes ? c->cc.cwnd_bytes - pipe : 0;
}

/* ---- pacing ---- */

/* What may leave in this turn. */
struct pacing {
	uint64_t rate; /* bytes per second; 0: none */
	uint32_t room; /* bytes */
};

static struct pacing pacing_of(const struct apus_tcp *c, int64_t now_ns)
{
	struct pacing p = {.rate = apus_cc_pacing_rate(&c->cc), .room = UINT32_MAX};

	if (!p.rate && c->layer->options.pacing)
		p.rate = apus_pace_window_rate(&c->cc, apus_rtt_srtt_ns(&c->rtt));
	if (p.rate)
		p.room = apus_pace_allowance(&c->recovery->pace, p.rate, c->cc.mss, now_ns);
	return p;
}

/* Must @bytes wait? */
static bool pacing_holds(struct apus_tcp *c, const struct pacing *p, uint32_t bytes)
{
	if (bytes <= p->room)
		return false;
	c->recovery->is_paced = true;
	return true;
}

static void pacing_sent(struct apus_tcp *c, struct pacing *p, uint32_t bytes, int64_t now_ns)
{
	if (!p->rate)
		return;
	apus_pace_sent(&c->recovery->pace, p->rate, bytes, now_ns);
	p->room -= apus_min(p->room, bytes);
}

/* ---- again ---- */

/* One record, as far as the peer's window goes. Return: it left. */
static bool resend(struct apus_tcp *c, struct apus_flight_record *r, int64_t now_ns)
{
	bool fin = r->end == apus_tcp_text_end(c) + 1;
	uint32_t bytes = r->end - r->seq - fin, usable = usable_window(c, r->seq), left = bytes;

	if (usable < bytes + fin) {
		if (r->seq != c->snd.una || !usable)
			return false;
		bytes = apus_min(bytes, usable);
		fin = fin && usable > bytes;
	}

	bool psh = bytes && r->seq + bytes == apus_tcp_text_end(c);
	int64_t sent = apus_tcp_send_text(c, r->seq, bytes, fin, psh, now_ns);

	if (sent < 0)
		return false;
	if (sent < left)
		c->recovery->is_cut_short = true;
	apus_recovery_resent(c->recovery, r, now_ns);
	return true;
}

/* Return: congestion window or pacing held something back. */
static bool transmit_lost(struct apus_tcp *c, struct pacing *p, int64_t now_ns)
{
	struct apus_flight_record *r;

	while ((r = apus_flight_next_lost(&c->recovery->flight))) {
		uint32_t bytes = r->end - r->seq;

		if (!c->recovery->is_forced) {
			if (cwnd_room(c) < bytes && apus_recovery_pipe(c->recovery))
				return true;
			if (pacing_holds(c, p, apus_min(bytes, (uint32_t)c->cc.mss)))
				return true;
		}
		if (!resend(c, r, now_ns))
			return false;
		pacing_sent(c, p, bytes, now_ns);
	}
	return false;
}

/* ---- new ---- */

/* What the two windows and the rules let go next. */
struct allowance {
	uint32_t bytes;    /* of text */
	bool fin;          /* behind it */
	bool psh;          /* the last for now */
	bool cwnd_limited; /* the congestion window held something back */
};

/* The longest run of full segments: what one IPv4 packet can hold. */
static uint32_t run_max(uint32_t full)
{
	uint32_t room = UINT16_MAX - IPV4_HEADER_BYTES - APUS_SEGMENT_HEADER_MAX;
	uint32_t segments = apus_min(room / full, (uint32_t)RUN_SEGMENTS_MAX);

	return apus_max(segments, 1U) * full;
}

/*
 * How much of @left bytes goes as one run of full segments: what the windows let go of them at
 * once. The short piece at the end goes along if there is no reason to hold it back. 0: what is
 * next is to be looked at singly.
 */
static uint32_t allow_run(const struct apus_tcp *c, uint32_t left, uint32_t usable, uint32_t full,
			  uint32_t paced)
{
	uint32_t bytes = apus_min(apus_min(left, usable), paced);

	/* CWR is said by one segment, not by each of a run. */
	if (bytes < 2 * full || c->snd.ecn.owes_cwr || c->layer->options.no_gso)
		return 0;
	bytes = apus_min(bytes, cwnd_room(c));
	if (bytes < 2 * full)
		return 0;
	bytes = apus_min(bytes, run_max(full));
	return bytes == left && c->is_nodelay && !c->is_corked ? bytes : bytes - bytes % full;
}

/* RFC 9293 §3.8.6.2.1 (MUST-38), with Nagle's part (§3.7.4) if it is on, and RFC 5681 §3.1. */
static struct allowance allow(struct apus_tcp *c, const struct pacing *p)
{
	uint32_t seq = c->snd.nxt, end = apus_tcp_text_end(c);
	uint32_t left = apus_seq_lt(seq, end) ? end - seq : 0;
	uint32_t flight = seq - c->snd.una, usable = usable_window(c, seq);
	uint32_t full = apus_tcp_text_max(c), run = allow_run(c, left, usable, full, p->room);
	uint32_t bytes = run ? run : apus_min(left, full);
	bool fin = apus_tcp_fin_due(c) && bytes == left && apus_seq_leq(seq, end);
	struct allowance a = {0};

	if (!bytes && !fin)
		return a;
	if (usable < bytes + fin) { /* the peer's window cuts it short */
		fin = fin && usable > bytes;
		bytes = apus_min(bytes, usable);
		if (!bytes && !fin)
			return a;
		/* (3): at least half of the largest window; (4): or the override timeout. */
		if (bytes < left && bytes < full && bytes < c->snd.max_wnd / 2 &&
		    !(c->want & APUS_TCP_WANT_FORCE))
			return a;
	}

	uint32_t room = cwnd_room(c);

	if (room < bytes && apus_recovery_pipe(c->recovery)) {
		a.cwnd_limited = true;
		return a;
	}
	if (pacing_holds(c, p, bytes))
		return a;
	/* (2), Nagle: a short segment waits while anything is unacknowledged. */
	if (!c->is_nodelay && bytes < full && flight && !fin)
		return a;
	/* A cork holds it back for longer: until the override timeout, one RTO. */
	if (c->is_corked && bytes == left && bytes < full && !fin &&
	    !(c->want & APUS_TCP_WANT_FORCE))
		return a;
	a.bytes = bytes;
	a.fin = fin;
	a.psh = bytes && (bytes == left || usable < bytes + full || room < bytes + full);
	return a;
}

/* RFC 5681 §4.1: a window that was not used for an RTO says nothing about the path any more. */
static void check_idle(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t silent = apus_tcp_tick(now_ns) - c->sent_tick;

	/* No RTO is shorter than that: most of the time nothing need be computed. */
	if (silent < apus_tcp_tick(APUS_RTT_RTO_FLOOR_NS) || c->snd.una != c->snd.nxt)
		return;
	if (apus_tcp_tick_ns(silent) > apus_rtt_rto_ns(&c->rtt))
		apus_cc_idle_restart(&c->cc, now_ns);
}

/* New text or the FIN, with room for its records. Return: something left. */
static bool send_new(struct apus_tcp *c, struct allowance a, int64_t now_ns)
{
	uint32_t seq = c->snd.nxt, full = apus_tcp_text_max(c);
	uint32_t records = a.bytes > full ? (a.bytes + full - 1) / full : 1;

	if (apus_flight_reserve(&c->recovery->flight, records)) {
		uint32_t room = apus_flight_room(&c->recovery->flight);

		apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MEMORY);
		if (!room) {
			(void)apus_tcp_no_memory(c, now_ns);
			return false;
		}
		a.bytes = room * full; /* fewer than there are: records > room */
		a.fin = a.psh = false;
	}
	if (c->snd.una == seq)
		c->progress_tick = apus_tcp_tick(now_ns);

	int64_t sent = apus_tcp_send_text(c, seq, a.bytes, a.fin, a.psh, now_ns);

	if (sent < 0)
		return false;
	c->snd.nxt = seq + (uint32_t)sent + (a.fin && sent == a.bytes);
	apus_recovery_sent(c->recovery, seq, c->snd.nxt, full, now_ns);
	return true;
}

static void transmit_new(struct apus_tcp *c, struct pacing *p, bool cwnd_limited, int64_t now_ns)
{
	struct allowance a = {.cwnd_limited = cwnd_limited};

	while (c->snd.nxt != owed_end(c) && !cwnd_limited) {
		a = allow(c, p);
		if ((!a.bytes && !a.fin) || !send_new(c, a, now_ns))
			break;
		pacing_sent(c, p, a.bytes, now_ns);
		c->want &= (uint8_t)~APUS_TCP_WANT_FORCE;
	}
	apus_cc_sent(&c->cc, c->snd.una, c->snd.nxt, a.cwnd_limited);
	if (c->snd.nxt == owed_end(c) && !a.cwnd_limited)
		apus_rate_limited(&c->recovery->rate, apus_recovery_pipe(c->recovery));
}

/* ---- the probe of a larger segment (RFC 4821) ---- */

static APUS_COLD void transmit_path_probe(struct apus_tcp *c, int64_t now_ns)
{
	struct allowance a = {.bytes = apus_tcp_path_probe(c, now_ns)};
	struct apus_recovery *r = c->recovery;
	uint32_t seq = c->snd.nxt;
	uint16_t mss = c->cc.mss;
	struct pacing p;

	if (!a.bytes)
		return;
	p = pacing_of(c, now_ns);
	if (pacing_holds(c, &p, a.bytes))
		return;
	c->cc.mss = (uint16_t)a.bytes; /* for this one */
	if (send_new(c, a, now_ns) && c->snd.nxt - seq == a.bytes) {
		r->path_probe_end = c->snd.nxt;
		r->path_probe_bytes = (uint16_t)a.bytes;
		apus_tcp_count(c->layer, APUS_TCP_COUNT_MTU_PROBES);
	}
	c->cc.mss = mss;
	pacing_sent(c, &p, c->snd.nxt - seq, now_ns);
}

/* ---- the tail loss probe (RFC 8985 §7.3) ---- */

static void transmit_probe(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_recovery *r = c->recovery;
	uint32_t end = apus_tcp_text_end(c);
	uint32_t left = apus_seq_lt(c->snd.nxt, end) ? end - c->snd.nxt : 0;
	uint32_t usable = usable_window(c, c->snd.nxt);
	struct allowance a = {.bytes = apus_min(left, apus_tcp_text_max(c)), .psh = true};

	c->want &= (uint8_t)~APUS_TCP_WANT_TAIL_PROBE;
	if (!apus_recovery_may_probe(r, c->has_sack))
		return;
	if (a.bytes && usable >= a.bytes) {
		if (!send_new(c, a, now_ns))
			return;
		apus_recovery_probed(r, c->snd.nxt, false);
	} else {
		struct apus_flight_record *last = apus_flight_at(&r->flight, r->flight.tail - 1);

		if (last->marks & APUS_FLIGHT_SACKED || !resend(c, last, now_ns))
			return;
		apus_recovery_probed(r, c->snd.nxt, true);
	}
	apus_tcp_count(c->layer, APUS_TCP_COUNT_TAIL_PROBES);
}

void apus_tcp_transmit(struct apus_tcp *c, int64_t now_ns)
{
	bool cwnd_limited = false;

	if (c->snd.nxt == owed_end(c) && c->snd.una == c->snd.nxt)
		return;
	if (!c->recovery && apus_tcp_recovery_open(c)) {
		(void)apus_tcp_no_memory(c, now_ns);
		return;
	}
	check_idle(c, now_ns);
	apus_tcp_follow_path(c, now_ns);
	if (apus_unlikely(c->is_path_small))
		transmit_path_probe(c, now_ns);

	struct pacing p = pacing_of(c, now_ns);

	c->recovery->is_paced = false;
	if (c->want & APUS_TCP_WANT_TAIL_PROBE)
		transmit_probe(c, now_ns);
	if (c->recovery->flight.lost_bytes && !c->recovery->holds_back) {
		cwnd_limited = transmit_lost(c, &p, now_ns);
		/* New text waits for it: there was no mbuf, or the peer's window is too small. */
		if (!cwnd_limited && apus_flight_next_lost(&c->recovery->flight))
			return;
	}
	transmit_new(c, &p, cwnd_limited, now_ns);
	if (apus_tcp_traces(c) && c->sent_tick == apus_tcp_tick(now_ns))
		apus_tcp_trace_note(c, APUS_TCP_TRACE_SENT, now_ns);
}

/* ---- the deadline ---- */

void apus_tcp_watch(struct apus_tcp *c, int64_t now_ns)
{
	bool in_flight = c->snd.una != c->snd.nxt;

	if (in_flight && c->snd.wnd) {
		if (c->is_persisting) /* until now it waited for the window */
			c->recovery->rto_from_ns = now_ns;
		c->is_persisting = false;
		apus_tcp_watch_flight(c, now_ns);
		return;
	}
	if (!in_flight && c->snd.nxt == owed_end(c)) {
		c->rexmit_at_ns = APUS_NEVER;
		c->is_persisting = false;
		/* A writer who found no mbuf waits, and no ACK will come that wakes him. */
		if (!apus_waitq_empty(&c->writers))
			c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
		return;
	}
	if (c->snd.wnd && c->recovery && c->recovery->is_paced) {
		c->is_persisting = false;
		c->rexmit_at_ns = c->recovery->pace.next_ns;
		return;
	}
	/* Something waits for the peer's window: the next probe (RFC 9293 §3.8.6.1). */
	if (c->rexmit_at_ns != APUS_NEVER && c->is_persisting)
		return;
	c->is_persisting = true;
	if (!in_flight)
		c->progress_tick = apus_tcp_tick(now_ns);
	apus_tcp_restart_rexmit(c, now_ns);
}
