/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/tcb.h: the transmission control block, and what the files of this room call in each other.
 *
 * Input decides, output sends: arriving segments, user calls and timers only change the TCB, set
 * wants and mark the connection; apus_tcp_output() runs once for each marked connection at the end
 * of a turn. A connection that reached CLOSED stays in memory until the next flush, so that nobody
 * up the call chain is left with a dangling pointer, and until its last hold is gone.
 *
 * Sequence space, once the handshake is over:
 *
 *	snd.una         snd.nxt        una + sndq.bytes
 *	   |--- in flight ---|--- never sent ---|[FIN]
 *
 * What is in flight has records (flight.h), from SND.UNA to SND.NXT without a gap; what of it is
 * lost, and is to be sent again, they tell. Where requests and answers take turns, the one segment
 * has none until somebody asks (steady.h).
 */
#ifndef APUS_NET_TCP_TCB_H
#define APUS_NET_TCP_TCB_H

#include "net/tcp/arrival.h"
#include "net/tcp/cc.h"
#include "net/tcp/demux.h"
#include "net/tcp/drs.h"
#include "net/tcp/ecn.h"
#include "net/tcp/layer.h"
#include "net/tcp/numbers.h"
#include "net/tcp/rcvq.h"
#include "net/tcp/recovery.h"
#include "net/tcp/rtt.h"
#include "net/tcp/segment.h"
#include "net/tcp/seq.h"
#include "net/tcp/sndq.h"
#include "net/tcp/state.h"
#include "net/tcp/tally.h"
#include "runtime/base/check.h"
#include "runtime/sync/waitq.h"

/* What apus_tcp_output() is to do; set by input, calls and timers. */
enum apus_tcp_want {
	APUS_TCP_WANT_SYN = 1 << 0,        /* (re)send our SYN or SYN-ACK */
	APUS_TCP_WANT_ACK_NOW = 1 << 1,    /* an ACK leaves in this turn */
	APUS_TCP_WANT_ACK_SOON = 1 << 2,   /* an ACK leaves with data, or within 40 ms */
	APUS_TCP_WANT_TAIL_PROBE = 1 << 3, /* a tail loss probe (RFC 8985 §7.3) */
	APUS_TCP_WANT_PROBE = 1 << 4, /* a bare segment at SND.UNA - 1: window probe, keepalive */
	APUS_TCP_WANT_FORCE = 1 << 5, /* send into a small window, against SWS avoidance */
};

/* Spans that need no precision are kept in ticks of 2^20 ns, about a millisecond. */
static inline uint32_t apus_tcp_tick(int64_t ns)
{
	return (uint32_t)(ns >> 20);
}

static inline int64_t apus_tcp_tick_ns(uint32_t ticks)
{
	return (int64_t)ticks << 20;
}

struct apus_tcp {
	/* Found by, and what state. */
	struct apus_tcp_key key;  /* first: demux.h */
	uint8_t state;            /* enum apus_tcp_state; written by apus_tcp_enter() only */
	uint8_t want;             /* enum apus_tcp_want */
	bool is_marked : 1;       /* in layer->marked */
	bool in_demux : 1;        /* a lookup finds it */
	bool is_passive : 1;      /* came from LISTEN */
	bool is_released : 1;     /* the user closed it: nobody will read */
	bool is_nodelay : 1;      /* no Nagle */
	bool is_persisting : 1;   /* rexmit_at_ns is a window probe's, not a retransmission's */
	bool is_reading : 1;      /* a task is in a read */
	bool is_writing : 1;      /* a task is in a write or a connect */
	bool is_close_queued : 1; /* CLOSE was called in SYN-RECEIVED */
	bool is_steady : 1;       /* what is in flight is one segment without a record: steady.h */
	bool is_path_small : 1;   /* cc.mss is less than the SYNs allow: pmtu.h */
	bool is_black_hole : 1;   /* that is a guess, which an ACK confirms */
	bool has_ts : 1;          /* timestamps in every segment (Snd.TS.OK of RFC 7323) */
	bool has_sack : 1;        /* the peer understands SACK (RFC 2018 §2) */
	bool is_corked : 1;       /* a short segment waits for more, even with no Nagle */
	bool is_kernel : 1;       /* not ours: a socket of the kernel's, and `layer` is NULL */
	struct apus_tcp_layer *layer;
	struct apus_list link; /* layer->marked, or layer->detached once it is CLOSED */

	/* RFC 9293 §3.3.1, with its names. */
	struct {
		uint32_t una, nxt, wnd, wl1, wl2;
		uint32_t max_wnd;    /* largest SND.WND seen */
		uint32_t acked;      /* bytes that were acknowledged, at most 2^32 - 1 */
		uint8_t wscale;      /* Snd.Wind.Shift of RFC 7323 */
		struct apus_ecn ecn; /* of both directions */
	} snd;
	struct {
		uint32_t nxt;
		uint32_t irs;
		uint32_t adv;   /* right edge offered: RCV.NXT + RCV.WND */
		uint32_t acked; /* RCV.NXT as last told to the peer, or wanted to be told at once */
		uint32_t ts_recent; /* TS.Recent of RFC 7323: echoed */
		uint16_t mss;       /* largest text that came, up to ours: what a full segment is */
		uint8_t wscale;     /* Rcv.Wind.Shift of RFC 7323 */
		uint8_t quick;      /* ACKs still to be sent at once */
		uint8_t duplicates; /* of this burst: segments that came out of order */
		bool has_early_fin : 1; /* a FIN came, at early_fin_seq, before all text did */
		bool has_urgent : 1;    /* urgent_seq means something */
		uint16_t ts_age; /* when ts_recent was set, in units of 2^42 ns: 73 minutes */
	} rcv;

	/* Deadlines; the timer is armed for the earliest, and late is found out when it fires. */
	int64_t rexmit_at_ns; /* SYN, RTO, tail loss probe, reordering timer, or window probe */
	int64_t ack_at_ns;    /* delayed ACK; or the next try after there was no mbuf */
	int64_t idle_at_ns;   /* keepalive; or the end of FIN-WAIT-2 */
	struct apus_tcp_tally *tally;   /* NULL: no text yet, or no memory */
	struct apus_recovery *recovery; /* records and all about loss; NULL: idle for an RTO */
	uint32_t rcv_buffer;            /* bytes for the reader, at most */
	uint32_t ts_offset;             /* TSval is the clock's milliseconds and this */
	uint32_t heard_tick;            /* anything acceptable came */
	uint32_t sent_tick;             /* text or FIN went out */
	uint32_t progress_tick; /* SND.UNA moved, or there began to be something to acknowledge */
	uint8_t retries;        /* retransmissions or window probes without an answer */
	uint8_t keepalive_sent; /* keepalive probes without an answer */

	/* The rest. */
	uint8_t holds;            /* the user's handle and calls under way keep the memory */
	uint8_t keepalive_probes; /* option */
	int16_t error;            /* negative errno that ended it; 0: none */
	int16_t soft_error;       /* what ICMP or routing said last; told if it ends in a timeout */
	uint32_t early_fin_seq;   /* of a FIN that came too early */
	uint32_t challenge_tick;  /* no challenge ACK before */
	uint32_t keepalive_ticks; /* option; 0: off */
	uint32_t keepalive_interval_ticks; /* option */
	uint32_t user_timeout_ticks;       /* option; 0: R2 */
	uint16_t linger_units;             /* option: how long a close waits; 0: not */
	uint16_t
		mss_most; /* text and options per segment as both SYNs allow, whatever the path does */
	bool is_lent : 1;    /* a peek lent what is in rcvq: it stays, whatever happens */
	bool syn_resent : 1; /* more than one of our SYNs went out */
	struct apus_timer timer;
	struct apus_waitq readers;
	struct apus_waitq writers; /* and who waits for the handshake */
	struct apus_rtt rtt;
	uint32_t urgent_seq; /* RCV.UP: urgent text ends before it */
	struct apus_cc cc;
	union {                       /* 0: our SYN was sent twice, or nobody knows */
		int64_t syn_at_ns;    /* before ESTABLISHED: when it was sent */
		int64_t handshake_ns; /* then: how long its answer took */
	};
	struct apus_recovery_kept kept; /* of `recovery`, while there is none */
	struct apus_drs *drs;           /* NULL while it has received little */
	struct apus_rcvq rcvq;
	struct apus_sndq sndq;
};

static_assert(offsetof(struct apus_tcp, key) == 0, "the demux finds the key first");
static_assert(offsetof(struct apus_tcp, holds) <= 3 * APUS_CACHE_LINE, "the hot part");
static_assert(sizeof(struct apus_tcp) <= 512, "TCP.md §3");

/* ---- tcb.c ---- */

/** apus_tcp_create - a TCB in @state CLOSED or LISTEN, not in the demux. Return: it; NULL without memory */
APUS_MUST_CHECK struct apus_tcp *apus_tcp_create(struct apus_tcp_layer *layer,
						 const struct apus_tcp_key *key, int64_t now_ns);
/** apus_tcp_destroy - give back what it holds, and itself */
void apus_tcp_destroy(struct apus_tcp *c);
/** apus_tcp_mark - output will run for @c at the end of this turn */
void apus_tcp_mark(struct apus_tcp *c);
/** apus_tcp_hold - a call is under way */
static inline void apus_tcp_hold(struct apus_tcp *c)
{
	apus_assert(c->holds < UINT8_MAX);
	c->holds++;
}
/** apus_tcp_unhold - the memory may go once nothing holds it and it is CLOSED */
static inline void apus_tcp_unhold(struct apus_tcp *c)
{
	apus_assert(c->holds > 0);
	if (apus_unlikely(!--c->holds) && !c->in_demux)
		apus_tcp_mark(c); /* the next flush frees it */
}
/** apus_tcp_delete - RFC's "enter the CLOSED state, delete the TCB": @error < 0 is told to the user, text is then flushed */
void apus_tcp_delete(struct apus_tcp *c, int error);
/** apus_tcp_detach - no lookup finds it any more (the caller has seen to that): timers end, users wake */
void apus_tcp_detach(struct apus_tcp *c);
/** apus_tcp_peer_of - the options of a SYN, without those that we do not want */
struct apus_tcp_peer apus_tcp_peer_of(const struct apus_tcp_layer *layer,
				      const struct apus_segment *syn);
/** apus_tcp_set_peer - the peer's SYN is here */
void apus_tcp_set_peer(struct apus_tcp *c, const struct apus_tcp_peer *peer, int64_t now_ns);
/** apus_tcp_path_mss - bytes of text where @mss bytes are text and options (RFC 6691 §2) */
uint32_t apus_tcp_path_mss(const struct apus_tcp *c, uint32_t mss);
/** apus_tcp_established - the handshake is over: windows and estimators start */
void apus_tcp_established(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_fin_due - our FIN is owed and not acknowledged */
static inline bool apus_tcp_fin_due(const struct apus_tcp *c)
{
	return c->state == APUS_TCP_FIN_WAIT_1 || c->state == APUS_TCP_CLOSING ||
	       c->state == APUS_TCP_LAST_ACK;
}
/** apus_tcp_fin_received - all that the peer ever says is here */
static inline bool apus_tcp_fin_received(const struct apus_tcp *c)
{
	return c->state == APUS_TCP_CLOSE_WAIT || c->state == APUS_TCP_CLOSING ||
	       c->state == APUS_TCP_LAST_ACK || c->state == APUS_TCP_TIME_WAIT;
}
/** apus_tcp_text_end - the sequence number behind the last byte that was written */
static inline uint32_t apus_tcp_text_end(const struct apus_tcp *c)
{
	return c->snd.una + c->sndq.bytes;
}
/** apus_tcp_check - the invariants; called by tests after each step */
void apus_tcp_check(const struct apus_tcp *c);

/* ---- input.c ---- */

/** apus_tcp_arrives - RFC 9293 §3.10.7.3 and .4 for an existing connection */
void apus_tcp_arrives(struct apus_tcp *c, struct apus_tcp_arrival *a);

/* ---- ack.c ---- */

/** apus_tcp_take_ack - SND.UNA < SEG.ACK =< SND.NXT: forget what arrived, learn from it. Return: our FIN is acknowledged now */
bool apus_tcp_take_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns);
/** apus_tcp_take_same_ack - SEG.ACK = SND.UNA: what it says of losses, if anything */
void apus_tcp_take_same_ack(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns);
/** apus_tcp_take_ece - the peer tells of congestion: the window shrinks, once for each window of text (RFC 3168 §6.1.2) */
void apus_tcp_take_ece(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_take_window - SND.WND <- SEG.WND, SND.WL1 <- SEG.SEQ, SND.WL2 <- SEG.ACK */
void apus_tcp_take_window(struct apus_tcp *c, const struct apus_segment *seg);

/* ---- output.c ---- */

void apus_tcp_output(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_base_segment - at @seq: ACK, window, timestamp, ports, without SACK blocks */
struct apus_segment apus_tcp_base_segment(struct apus_tcp *c, uint32_t seq, int64_t now_ns);
/** apus_tcp_note_ecn - text came on a connection with ECN: its mark is to be echoed */
void apus_tcp_note_ecn(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns);
/** apus_tcp_send_abort - <SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>, at once */
void apus_tcp_send_abort(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_send_reset - answer @seg with a reset in the right form (RFC 9293 §3.10.7.1) */
void apus_tcp_send_reset(struct apus_tcp_layer *layer, const struct apus_segment *seg,
			 int64_t now_ns);
/** apus_tcp_send_bare - a segment without text for a @key that has no TCB; seg's seq, ack, flags, options set */
void apus_tcp_send_bare(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
			struct apus_segment *seg, int64_t now_ns);

/* ---- timers.c ---- */
void apus_tcp_timer_fired(struct apus_work *work);
/** apus_tcp_start_idle - keepalive, or the end of FIN-WAIT-2 */
void apus_tcp_start_idle(struct apus_tcp *c, int64_t now_ns);

#endif
