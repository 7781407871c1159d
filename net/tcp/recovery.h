/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/recovery.h: loss recovery: what of the data in flight is lost, what is sent again, and the
 * window until that is repaired.
 *
 * One engine for all peers. With SACK, losses are found by RACK-TLP (rack.h); without, by counting
 * duplicate ACKs, each of which stands for a segment that left the network (RFC 5681, RFC 6582).
 * Around both: PRR (RFC 6937), the retransmission timeout (RFC 6298) with F-RTO (RFC 5682), and
 * undo of what turns out to be spurious, by timestamps (RFC 3522) and DSACK (RFC 3708).
 *
 * All state that only matters while data is in flight, or was of late, is in struct apus_recovery: a
 * connection has one only then. No connection and no clock: it is told what happened, and tells
 * the deadlines that follow and the records that wait to be sent again.
 */
#ifndef APUS_NET_TCP_RECOVERY_H
#define APUS_NET_TCP_RECOVERY_H

#include "net/tcp/cc.h"
#include "net/tcp/flight.h"
#include "net/tcp/pace.h"
#include "net/tcp/rack.h"
#include "net/tcp/rate.h"
#include "net/tcp/rtt.h"
#include "net/tcp/segment.h"

APUS_BEGIN_DECLS

#define APUS_RECOVERY_DUPLICATES     3   /* RFC 5681 §3.2, RFC 6675 §2: DupThresh, at first */
#define APUS_RECOVERY_REORDERING_MAX 300 /* and at most: Linux's tcp_max_reordering */
#define APUS_RECOVERY_RENEGE_NS      (10 * APUS_MS) /* at least: the peer may be slow, not false */

/* Linux's names, as tcp_info's ca_state tells them. */
enum apus_recovery_state {
	APUS_RECOVERY_OPEN,     /* nothing is amiss */
	APUS_RECOVERY_DISORDER, /* SACK or duplicate ACKs, no loss yet */
	APUS_RECOVERY_CWR,  /* the window is being reduced, without loss: ECN, a probe's repair */
	APUS_RECOVERY_FAST, /* fast recovery */
	APUS_RECOVERY_LOSS, /* after a timeout */
};

/* What happened, for counters. */
enum apus_recovery_event {
	APUS_RECOVERY_BEGAN = 1 << 0,       /* fast recovery */
	APUS_RECOVERY_PARTIAL_ACK = 1 << 1, /* in it, some of what it repairs was acknowledged */
	APUS_RECOVERY_ENDED = 1 << 2,       /* all is repaired */
	APUS_RECOVERY_SAW_DSACK = 1 << 3,   /* the peer got something twice */
	APUS_RECOVERY_SAW_REORDERING = 1 << 4,
	APUS_RECOVERY_UNDID_LOSS = 1 << 5,       /* the timeout was spurious */
	APUS_RECOVERY_UNDID_FAST = 1 << 6,       /* the fast recovery was */
	APUS_RECOVERY_PROBE_REPAIRED = 1 << 7,   /* a tail loss probe was a repair: TLP */
	APUS_RECOVERY_RENEGED = 1 << 8,          /* the peer has dropped what it had SACKed */
	APUS_RECOVERY_LOST_AGAIN = 1 << 9,       /* what was sent again was lost too */
	APUS_RECOVERY_PATH_PROBE_LOST = 1 << 10, /* and nothing else: it was too large */
};

/* What survives idleness; in the TCB. */
struct apus_recovery_kept {
	uint32_t min_rtt_units; /* of 125 ns; 0: none */
	uint16_t reordering;    /* segments that may overtake one; 0: the first guess */
	bool saw_reordering;
};

struct apus_recovery {
	struct apus_flight flight;
	struct apus_rack rack;
	struct apus_rate rate;

	int64_t rto_from_ns; /* the RTO counts from here: RFC 6298 §5 */
	int64_t probe_at_ns; /* TLP; APUS_NEVER */
	int64_t reorder_at_ns; /* RACK's reordering timer, or the end of patience with a reneging peer */
	struct apus_pace pace;
	int64_t resent_at_ns; /* when the first was sent again in this recovery; 0: none was */

	uint32_t high_seq;    /* SND.NXT when the state was entered: RFC 6582's recover */
	uint32_t recover;     /* no SACK: duplicates up to here tell nothing; with has_recover */
	uint32_t undo_seq;    /* SND.UNA then; with has_undo */
	int32_t undo_records; /* sent again and not told as duplicates; < 0: none was sent again */
	uint32_t prior_cwnd;  /* before it; with has_prior */
	uint32_t prior_ssthresh;
	uint32_t prr_flight; /* RecoverFS of RFC 6937 */
	uint32_t prr_delivered, prr_out;
	uint32_t probe_seq;      /* TLP.end_seq: SND.NXT at the probe; with has_probe */
	uint32_t resent_records; /* ever, in this struct's life */
	uint32_t dsacked_records;
	uint32_t step_bytes;     /* no SACK: by which the last ACK moved SND.UNA: RFC 6582 §4.1 */
	int64_t began_ns;        /* fast recovery */
	uint32_t path_probe_end; /* behind the segment that probes the path (RFC 4821) */
	uint16_t path_probe_bytes; /* of its text; 0: none is out that could tell anything */
	uint8_t duplicates;        /* no SACK: since SND.UNA moved */
	uint16_t reordering;       /* the duplicate threshold, in segments */
	uint8_t state;             /* enum apus_recovery_state */
	bool has_undo : 1;         /* undo_seq, undo_records */
	bool has_prior : 1;        /* the window can be given back */
	bool has_probe : 1;        /* a tail loss probe is out */
	bool probe_is_again : 1;   /* and was sent again, not new text */
	bool is_frto : 1;          /* a timeout may be spurious: RFC 5682 */
	bool is_forced : 1;        /* one record may be sent again whatever the window says */
	bool has_recover : 1;
	bool is_reneging : 1; /* the first record is sacked: wait a little, then take it for a timeout */
	bool is_paced : 1;     /* something waits for pace.next_ns */
	bool holds_back : 1;   /* F-RTO: new text goes before what is lost */
	bool is_cut_short : 1; /* of the first record only a part was sent again: the window ends */
	uint64_t cc_state[APUS_CC_STATE_BYTES_MAX / 8]; /* lent to cc */
};

/* An acceptable ACK, as the engine needs it. */
struct apus_recovery_ack {
	int64_t now_ns;
	int64_t echo_ns; /* when the segment that its timestamp echoes was sent, to 1 ms; with has_echo */
	uint32_t una, nxt; /* SEG.ACK and SND.NXT */
	const struct apus_segment_sack *sack;
	uint8_t sack_count;
	bool has_sack; /* the peer may SACK: duplicates are not counted */
	bool has_echo;
	bool is_duplicate; /* RFC 5681 §2's definition */
	bool is_ece;
	bool has_more; /* new text waits, and the peer's window has room: RFC 5682 step 2b */
};

/** apus_recovery_init - @kept: from the last time; attaches cc. @heap for records beyond the first few */
void apus_recovery_init(struct apus_recovery *r, struct apus_cc *cc, struct apus_heap *heap,
			const struct apus_recovery_kept *kept);
/** apus_recovery_fini - detaches cc; memory of records is given back */
void apus_recovery_fini(struct apus_recovery *r, struct apus_cc *cc,
			struct apus_recovery_kept *kept);

/** apus_recovery_pipe - bytes in the network */
static inline uint32_t apus_recovery_pipe(const struct apus_recovery *r)
{
	return apus_flight_pipe(&r->flight);
}

/** apus_recovery_sent - new text, @seq to @end, left in segments of @mss; room is reserved (apus_flight_reserve) */
void apus_recovery_sent(struct apus_recovery *r, uint32_t seq, uint32_t end, uint32_t mss,
			int64_t now_ns);
/** apus_recovery_sent_plain - the same, of one segment, while nothing is amiss (APUS_RECOVERY_OPEN) */
static inline void apus_recovery_sent_plain(struct apus_recovery *r, uint32_t seq, uint32_t end,
					    int64_t now_ns)
{
	bool is_first = !apus_flight_count(&r->flight);

	apus_assert(r->state == APUS_RECOVERY_OPEN);
	if (is_first)
		r->rto_from_ns = now_ns;
	r->probe_at_ns = APUS_NEVER; /* to be scheduled anew */
	apus_rate_sent(&r->rate, apus_flight_append(&r->flight, seq, end, now_ns), is_first,
		       now_ns);
}
/** apus_recovery_resent - @record left again */
void apus_recovery_resent(struct apus_recovery *r, struct apus_flight_record *record,
			  int64_t now_ns);

/** apus_recovery_acked - an ACK, also one that moves nothing. @rtt gets its sample. Return: enum apus_recovery_event */
APUS_MUST_CHECK unsigned int apus_recovery_acked(struct apus_recovery *r, struct apus_cc *cc,
						 struct apus_rtt *rtt,
						 const struct apus_recovery_ack *ack);

/**
 * apus_recovery_timeout - the RTO expired (RFC 6298 §5, RFC 8985 §6.3)
 * @is_again: not the first time since something was acknowledged
 *
 * The first record waits to be sent again, and may be. Return: enum apus_recovery_event.
 */
APUS_MUST_CHECK unsigned int apus_recovery_timeout(struct apus_recovery *r, struct apus_cc *cc,
						   const struct apus_rtt *rtt, uint32_t nxt,
						   bool is_again, int64_t now_ns);

/** apus_recovery_reorder_timeout - the reordering timer fired. Return: enum apus_recovery_event; RENEGED: take it for a timeout */
APUS_MUST_CHECK unsigned int apus_recovery_reorder_timeout(struct apus_recovery *r,
							   struct apus_cc *cc,
							   const struct apus_rtt *rtt, uint32_t nxt,
							   int64_t now_ns);

/** apus_recovery_may_probe - is a tail loss probe to be scheduled? (RFC 8985 §7.2) */
static inline bool apus_recovery_may_probe(const struct apus_recovery *r, bool has_sack)
{
	return has_sack && apus_flight_count(&r->flight) && !r->has_probe &&
	       (r->state == APUS_RECOVERY_OPEN || r->state == APUS_RECOVERY_CWR);
}

/** apus_recovery_probed - a probe has left: @nxt is SND.NXT after it; @is_again: not new text (RFC 8985 §7.3) */
static inline void apus_recovery_probed(struct apus_recovery *r, uint32_t nxt, bool is_again)
{
	r->has_probe = true;
	r->probe_is_again = is_again;
	r->probe_seq = nxt;
}

/** apus_recovery_lose_all - nothing in flight can have arrived (a window was closed, ICMP said so): it waits to be sent again, cwnd stays */
static inline void apus_recovery_lose_all(struct apus_recovery *r)
{
	r->flight.emulated_bytes = 0;
	r->path_probe_bytes = 0;
	(void)apus_flight_lose_all(&r->flight);
}

/** apus_recovery_resegment - segments are now @mss at most: longer ones are lost, and cut if there is memory; cwnd stays */
void apus_recovery_resegment(struct apus_recovery *r, uint32_t mss);

/** apus_recovery_ecn - the peer tells of congestion (RFC 3168 §6.1.2): once per window. Return: cwnd is reduced now: tell the peer (CWR) */
APUS_MUST_CHECK bool apus_recovery_ecn(struct apus_recovery *r, struct apus_cc *cc,
				       const struct apus_rtt *rtt, uint32_t nxt, int64_t now_ns);

/** apus_recovery_check - the invariants, for tests */
void apus_recovery_check(const struct apus_recovery *r);

APUS_END_DECLS

#endif
