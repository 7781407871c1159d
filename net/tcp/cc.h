/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cc.h: congestion control: how much may be in flight, and how fast it may leave.
 *
 * An algorithm is one const object of functions (reno.h, cubic.h, ...) that is told what happened:
 * what an ACK delivered, that there is congestion, that the connection was idle. It never decides
 * that something is lost; that is the loss recovery's part (recovery.h), which also has the window
 * between the first loss and the end of recovery, unless the algorithm owns it always (BBR). No
 * connection and no clock here: sequence numbers and times are handed in, windows are read from
 * struct apus_cc.
 *
 * Memory: what an idle connection must remember is eight bytes in struct apus_cc (`kept`). An
 * algorithm that needs more gets it while something is in flight: the owner lends state_bytes by
 * apus_cc_attach() before it sends and takes them back by apus_cc_detach(). The other functions of
 * such a type are called only in between, but for init.
 *
 * Invariants: 1 MSS <= cwnd <= APUS_CC_CWND_MAX, ssthresh >= 2 MSS.
 */
#ifndef APUS_NET_TCP_CC_H
#define APUS_NET_TCP_CC_H

#include "net/tcp/seq.h"

APUS_BEGIN_DECLS

#define APUS_CC_INITIAL_MSS     10U        /* RFC 6928 §2 */
#define APUS_CC_CWND_MAX        (1U << 30) /* the largest window a peer can offer */
#define APUS_CC_SSTHRESH_NONE   UINT32_MAX /* arbitrarily high: RFC 5681 §3.1 */
#define APUS_CC_STATE_BYTES_MAX 192        /* the most that a type may ask for */
#define APUS_CC_NAME_BYTES      16         /* of a name, with its NUL */

struct apus_cc;

/* What one ACK told, or what a timer found; a value of the moment. */
struct apus_cc_sample {
	int64_t now_ns;
	uint32_t una, nxt;              /* SND.UNA, SND.NXT, after it */
	uint32_t acked_bytes;           /* newly delivered, cumulatively or by SACK */
	uint32_t lost_bytes;            /* newly marked lost */
	uint32_t flight_bytes;          /* in the network (pipe), after it */
	uint32_t prior_flight_bytes;    /* and before it */
	uint32_t ce_bytes;              /* of acked_bytes, told to have met congestion (ECE) */
	uint32_t rate_bytes;            /* delivery rate: so many bytes were delivered ... */
	int64_t rate_interval_ns;       /* ... in this time; 0: no sample */
	uint64_t delivered_bytes;       /* in all, by now */
	uint64_t prior_delivered_bytes; /* in all, when what was acknowledged now was sent */
	int64_t rtt_ns;                 /* < 0: no sample */
	int64_t srtt_ns, min_rtt_ns;    /* 0: none yet */
	bool is_app_limited;   /* the rate sample was taken while there was too little to send */
	bool in_recovery;      /* fast recovery is under way: the owner moves cwnd */
	bool is_after_timeout; /* what a timeout left to repair is not repaired yet */
	bool is_ece;
};

/* What told of congestion. */
enum apus_cc_signal {
	APUS_CC_LOSS,    /* recovery begins */
	APUS_CC_ECN,     /* the peer says so (ECE); once per window */
	APUS_CC_TIMEOUT, /* the retransmission timer fired, for the first time since progress */
};

enum apus_cc_flags {
	APUS_CC_OWNS_CWND = 1 << 0,    /* recovery (PRR) leaves cwnd to the algorithm */
	APUS_CC_NEEDS_ECN = 1 << 1,    /* asks for ECN in the SYN, and for ECE at every mark */
	APUS_CC_NEEDS_RATE = 1 << 2,   /* uses rate samples */
	APUS_CC_NEEDS_PACING = 1 << 3, /* sends by pacing_rate, always */
	APUS_CC_RESTS = 1 << 4,        /* see apus_cc_rests() */
};

/* What an algorithm tells of itself, for apus_tcp_info and traces. */
struct apus_cc_info {
	const char *phase;  /* of the algorithm; a constant string */
	uint64_t detail[4]; /* by what detail_names() of the type says */
};

struct apus_cc_type {
	const char *name;
	uint8_t flags; /* enum apus_cc_flags */
	uint16_t
		state_bytes; /* needed between attach and detach, at most APUS_CC_STATE_BYTES_MAX; 0: `kept` is enough */
	/* cwnd, ssthresh and mss are set and `kept` is zero. NULL: nothing to do. */
	void (*init)(struct apus_cc *cc);
	/* The state is zeroed: fill it from what was kept; and at the end keep what matters. */
	void (*restore)(struct apus_cc *cc, const uint32_t kept[2]);
	void (*save)(const struct apus_cc *cc, uint32_t kept[2]);
	/* Something was delivered. Types that do not own cwnd grow it if apus_cc_may_grow(). */
	void (*acked)(struct apus_cc *cc, const struct apus_cc_sample *s);
	/* Congestion: note it. Return: the new ssthresh (types that own cwnd: as it is). */
	uint32_t (*congestion)(struct apus_cc *cc, const struct apus_cc_sample *s,
			       enum apus_cc_signal why);
	/* What was lost is repaired; cwnd is set. NULL: nothing to do. */
	void (*recovered)(struct apus_cc *cc, const struct apus_cc_sample *s);
	/* The last congestion was no such thing; cwnd and ssthresh are what they were. NULL likewise. */
	void (*undone)(struct apus_cc *cc);
	/* Nothing was in flight for more than an RTO; something will be sent now. NULL: the window falls to the initial one. */
	void (*idle_restart)(struct apus_cc *cc, int64_t now_ns);
	/* Bytes per second; 0: none. NULL: none. */
	uint64_t (*pacing_rate)(const struct apus_cc *cc);
	/* NULL: nothing to tell. */
	void (*info)(const struct apus_cc *cc, struct apus_cc_info *info);
};

struct apus_cc {
	const struct apus_cc_type *type;
	union {
		uint32_t kept[2]; /* the type's own; what survives idleness */
		void *state;      /* while is_attached */
	};
	uint32_t cwnd_bytes;
	uint32_t ssthresh_bytes;
	uint32_t usage_seq;        /* SND.NXT when flight_max_bytes began to count */
	uint32_t flight_max_bytes; /* most outstanding within this window */
	uint16_t mss;              /* SMSS: bytes of text in a full segment; > 0 */
	bool is_limited : 1;       /* within this window, cwnd kept data back */
	bool is_attached : 1;      /* state is lent */
	bool is_timed : 1;         /* the state has a clock, which ACKs stop or let go on */
};

static_assert(sizeof(struct apus_cc) <= 40, "its part of a connection's 512 bytes");

/** apus_cc_init - @mss: of text, 1 to 65535; @una: SND.UNA when data may first be sent; nothing is attached */
void apus_cc_init(struct apus_cc *cc, const struct apus_cc_type *type, uint32_t mss, uint32_t una);

/** apus_cc_set_type - another algorithm goes on from the windows as they are; @state: as to apus_cc_attach(), NULL while nothing is lent */
void apus_cc_set_type(struct apus_cc *cc, const struct apus_cc_type *type, void *state);

/** apus_cc_find - a type by name ("reno", "cubic", ...). Return: it; NULL if there is none */
const struct apus_cc_type *apus_cc_find(const char *name);

/** apus_cc_attach - lend @state, APUS_CC_STATE_BYTES_MAX aligned as a pointer; kept until apus_cc_detach(). Types without state ignore it */
void apus_cc_attach(struct apus_cc *cc, void *state);

/** apus_cc_detach - the lent memory is free again; nothing happens if none was lent */
void apus_cc_detach(struct apus_cc *cc);

/** apus_cc_handshake_lost - a SYN was sent again: the initial window is one segment (RFC 5681 §3.1) */
void apus_cc_handshake_lost(struct apus_cc *cc);

/** apus_cc_set_mss - the segment size changed (path MTU); windows stay, but for their least */
void apus_cc_set_mss(struct apus_cc *cc, uint32_t mss);

/** apus_cc_set_cwnd - for algorithms and recovery: @bytes, bounded */
void apus_cc_set_cwnd(struct apus_cc *cc, uint64_t bytes);

/**
 * apus_cc_sent - data was sent: note how much of the window is in use
 * @una, @nxt:  SND.UNA, SND.NXT
 * @limited:    there was more to send and the peer's window allowed it, but cwnd did not
 *
 * A window that the application does not fill does not grow (RFC 7661's reason, Linux's rule).
 */
static inline void apus_cc_sent(struct apus_cc *cc, uint32_t una, uint32_t nxt, bool limited)
{
	uint32_t flight_bytes = nxt - una;

	/* Once per window, or when cwnd holds data back, or when more is outstanding than before. */
	if (apus_seq_geq(una, cc->usage_seq) || limited ||
	    (!cc->is_limited && flight_bytes > cc->flight_max_bytes)) {
		cc->is_limited = limited;
		cc->flight_max_bytes = flight_bytes;
		cc->usage_seq = nxt;
	}
}

/** apus_cc_acked - something was delivered: an ACK, once for each */
void apus_cc_acked(struct apus_cc *cc, const struct apus_cc_sample *s);

/**
 * apus_cc_congested - set ssthresh; after a timeout also cwnd, to the loss window of one segment
 *
 * For APUS_CC_LOSS and APUS_CC_ECN the owner then moves cwnd to ssthresh (RFC 6937), unless the
 * type owns it. What cwnd and ssthresh were before is the owner's to remember, for apus_cc_undo().
 */
void apus_cc_congested(struct apus_cc *cc, const struct apus_cc_sample *s, enum apus_cc_signal why);

/** apus_cc_recovered - recovery from loss or timeout, or a reduction by ECN, is over; cwnd is set by the owner */
void apus_cc_recovered(struct apus_cc *cc, const struct apus_cc_sample *s);

/** apus_cc_undo - the congestion was spurious: back to what was before it, or to more (RFC 4015 §3.2) */
void apus_cc_undo(struct apus_cc *cc, uint32_t cwnd_bytes, uint32_t ssthresh_bytes);

/** apus_cc_idle_restart - before sending after more than one RTO of silence (RFC 5681 §4.1); attached */
void apus_cc_idle_restart(struct apus_cc *cc, int64_t now_ns);

/** apus_cc_pacing_rate - bytes per second at which to send; 0: at once, as the window allows */
static inline uint64_t apus_cc_pacing_rate(const struct apus_cc *cc)
{
	return cc->type->pacing_rate ? cc->type->pacing_rate(cc) : 0;
}

static inline bool apus_cc_in_slow_start(const struct apus_cc *cc)
{
	return cc->cwnd_bytes < cc->ssthresh_bytes;
}

/** apus_cc_may_grow - outside recovery, and the window was in use (TCP.md §2: in slow start, half of it) */
bool apus_cc_may_grow(const struct apus_cc *cc, const struct apus_cc_sample *s);

/** apus_cc_rests - would apus_cc_acked() do nothing, outside recovery? The window may not grow, and no clock is to be stopped */
static inline bool apus_cc_rests(const struct apus_cc *cc)
{
	return cc->type->flags & APUS_CC_RESTS && !(cc->is_limited | cc->is_timed) &&
	       cc->cwnd_bytes >= 2 * cc->flight_max_bytes;
}

/** apus_cc_used - of cwnd, what was in use of late: what a loss is a loss of (RFC 5681 §3.1: FlightSize, not cwnd) */
uint32_t apus_cc_used(const struct apus_cc *cc, const struct apus_cc_sample *s);

/**
 * apus_cc_slow_start - RFC 5681 §3.1 (2): grow by what was acknowledged, up to ssthresh
 *
 * Bytes are counted, not ACKs (RFC 3465), so a peer that splits its ACKs gains nothing.
 *
 * Return: bytes of it left for congestion avoidance.
 */
uint32_t apus_cc_slow_start(struct apus_cc *cc, const struct apus_cc_sample *s);

/**
 * apus_cc_avoid - RFC 5681 §3.1: grow by one segment for every window of acknowledged bytes
 * @counted_bytes: what was acknowledged since the last growth; the algorithm's to keep
 */
void apus_cc_avoid(struct apus_cc *cc, uint32_t *counted_bytes, uint32_t acked_bytes);

/** apus_cc_check - the invariants, for tests */
void apus_cc_check(const struct apus_cc *cc);

APUS_END_DECLS

#endif
