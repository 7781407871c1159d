/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cc.h: congestion control: how much may be in flight, and when a loss is inferred from
 * duplicate ACKs.
 *
 * Two parts. An algorithm (reno.h) is one const object of functions that say how the window grows
 * and what a loss does to it. The engine around it (cc.c) is RFC 5681 §3.2 and RFC 6582 §3.2:
 * duplicate threshold, limited transmit (RFC 3042), fast recovery with its recovery point. The
 * owner tells what happened and does what it is told; it keeps no window of its own. No connection
 * and no clock: sequence numbers and times are handed in.
 *
 * Invariants: cwnd >= 1 MSS, ssthresh >= 2 MSS.
 */
#ifndef APUS_NET_TCP_CC_H
#define APUS_NET_TCP_CC_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

#define APUS_CC_DUPLICATES_MAX 3          /* RFC 5681 §3.2: the third duplicate ACK means loss */
#define APUS_CC_INITIAL_MSS    10         /* RFC 6928 §2 */
#define APUS_CC_CWND_MAX       (1U << 30) /* the largest window a peer can offer */
#define APUS_CC_SSTHRESH_NONE  UINT32_MAX /* arbitrarily high: RFC 5681 §3.1 */

struct apus_cc;

/* New data was acknowledged (SND.UNA moved). */
struct apus_cc_ack {
	uint32_t ack;          /* the new SND.UNA */
	uint32_t acked_bytes;  /* by how much it moved; SYN and FIN not counted */
	uint32_t flight_bytes; /* SND.NXT - SND.UNA, after the move */
	int64_t now_ns;
	int64_t srtt_ns; /* 0: none yet */
};

/* What the owner is to do. */
enum apus_cc_act {
	APUS_CC_NOTHING,            /* nothing more than to send what apus_cc_window() now allows */
	APUS_CC_RETRANSMIT,         /* send the segment at SND.UNA again, at once */
	APUS_CC_RETRANSMIT_AND_ARM, /* the same, and restart the retransmission timer: first partial ACK */
};

struct apus_cc_type {
	const char *name;
	/* cwnd, ssthresh and mss are set: initialise the rest. */
	void (*init)(struct apus_cc *cc);
	/* New data acknowledged outside recovery, and the window was in use: grow it. */
	void (*acked)(struct apus_cc *cc, const struct apus_cc_ack *ack);
	/* A loss was inferred with @flight_bytes in flight: set ssthresh, then cwnd for recovery. */
	void (*enter_recovery)(struct apus_cc *cc, uint32_t flight_bytes);
	/* A duplicate ACK in recovery: a segment has left the network. */
	void (*duplicate)(struct apus_cc *cc);
	/* An ACK in recovery for some of what was in flight when it began. */
	void (*partial_ack)(struct apus_cc *cc, const struct apus_cc_ack *ack);
	/* All that was in flight is acknowledged. */
	void (*exit_recovery)(struct apus_cc *cc, uint32_t flight_bytes);
	/* The retransmission timer fired; @first: not a second time for the same segment. */
	void (*timeout)(struct apus_cc *cc, uint32_t flight_bytes, bool first);
	/* Nothing was sent for more than one RTO. */
	void (*idle_restart)(struct apus_cc *cc);
};

struct apus_cc {
	const struct apus_cc_type *type;
	uint32_t cwnd_bytes;
	uint32_t ssthresh_bytes;
	uint32_t counted_bytes;    /* algorithm's: acknowledged since the last growth */
	uint32_t recover;          /* SND.NXT when the last recovery or timeout began */
	uint32_t duplicate_nxt;    /* SND.NXT at the first of `duplicates` */
	uint32_t step_bytes;       /* by which the last ACK moved SND.UNA: RFC 6582 §4.1 */
	uint32_t usage_seq;        /* SND.NXT when flight_max_bytes began to count */
	uint32_t flight_max_bytes; /* most in flight within this window */
	uint16_t mss;              /* SMSS: bytes of text in a full segment; > 0 */
	uint8_t duplicates;        /* duplicate ACKs in a row outside recovery, at most 4 */
	bool has_recover : 1;      /* recover means something: SND.UNA has not passed it yet */
	bool in_recovery : 1;      /* fast recovery (RFC 6582), not the time after a timeout */
	bool saw_partial_ack : 1;  /* in this recovery */
	bool timed_out : 1;        /* since then nothing new was acknowledged */
	bool is_limited : 1;       /* within this window, cwnd kept data back */
};

static_assert(sizeof(struct apus_cc) <= 48, "its part of a connection's 512 bytes");

/** apus_cc_init - @mss: of text, 1 to 65535; @una: SND.UNA when data may first be sent */
void apus_cc_init(struct apus_cc *cc, const struct apus_cc_type *type, uint32_t mss, uint32_t una);

/** apus_cc_handshake_lost - a SYN was sent again: the initial window is one segment (RFC 5681 §3.1) */
void apus_cc_handshake_lost(struct apus_cc *cc);

/** apus_cc_set_mss - the segment size changed (path MTU); windows stay, but for their least */
void apus_cc_set_mss(struct apus_cc *cc, uint32_t mss);

/** apus_cc_window - bytes that may be in flight now: cwnd, and limited transmit's two segments (RFC 3042) */
static inline uint32_t apus_cc_window(const struct apus_cc *cc)
{
	return cc->in_recovery ? cc->cwnd_bytes
			       : cc->cwnd_bytes + apus_min(cc->duplicates, 2U) * cc->mss;
}

/**
 * apus_cc_sent - data was sent: note how much of the window is in use
 * @una, @nxt:  SND.UNA, SND.NXT
 * @limited:    there was more to send and the peer's window allowed it, but cwnd did not
 *
 * A window that the application does not fill does not grow (RFC 7661's reason, Linux's rule).
 */
void apus_cc_sent(struct apus_cc *cc, uint32_t una, uint32_t nxt, bool limited);

/** apus_cc_acked - SND.UNA moved. Return: what to do */
APUS_MUST_CHECK enum apus_cc_act apus_cc_acked(struct apus_cc *cc, const struct apus_cc_ack *ack);

/**
 * apus_cc_duplicate - a duplicate ACK by RFC 5681 §2's definition arrived
 * @una, @nxt:  SND.UNA, SND.NXT; una < nxt
 *
 * Return: what to do.
 */
APUS_MUST_CHECK enum apus_cc_act apus_cc_duplicate(struct apus_cc *cc, uint32_t una, uint32_t nxt);

/** apus_cc_timeout - the retransmission timer fired; @una, @nxt: before SND.NXT is pulled back, if it is */
void apus_cc_timeout(struct apus_cc *cc, uint32_t una, uint32_t nxt);

/** apus_cc_idle_restart - before sending after more than one RTO of silence (RFC 5681 §4.1) */
void apus_cc_idle_restart(struct apus_cc *cc);

/** apus_cc_check - the invariants, for tests */
void apus_cc_check(const struct apus_cc *cc);

APUS_END_DECLS

#endif
