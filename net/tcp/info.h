/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/info.h: what a connection can tell of itself: a snapshot, and a trace of what happened to it.
 *
 * Fields are called what Linux's tcp_info calls them where they are the same; times are in ns and
 * windows in bytes, though. Counts of segments are modulo 2^32.
 */
#ifndef APUS_NET_TCP_INFO_H
#define APUS_NET_TCP_INFO_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_tcp;

/* The state of loss recovery, with Linux's numbers (tcpi_ca_state). */
enum apus_tcp_ca_state {
	APUS_TCP_CA_OPEN,
	APUS_TCP_CA_DISORDER, /* SACK or duplicate ACKs, no loss yet */
	APUS_TCP_CA_CWR,      /* the window shrinks without a loss: ECN */
	APUS_TCP_CA_RECOVERY, /* fast recovery */
	APUS_TCP_CA_LOSS,     /* after a timeout */
};

struct apus_tcp_info {
	const char *state;      /* "ESTABLISHED": as RFC 9293 writes it; a constant string */
	const char *congestion; /* "cubic"; likewise */
	const char *phase;      /* of the algorithm: "slow_start"; likewise */
	uint8_t ca_state;       /* enum apus_tcp_ca_state */
	uint8_t retransmits;    /* of the timer, in a row, without an answer */
	uint8_t backoff;        /* the RTO is doubled so many times */
	uint8_t snd_wscale, rcv_wscale;
	bool has_timestamps, has_sack, has_ecn;

	/* Times, ns; 0: not known yet. */
	int64_t rto_ns, srtt_ns, rttvar_ns, min_rtt_ns;
	int64_t last_data_sent_ns, last_heard_ns; /* ago, to a millisecond */

	/* Windows, bytes. */
	uint32_t snd_mss, rcv_mss;
	uint32_t snd_cwnd, snd_ssthresh; /* ssthresh UINT32_MAX: none yet */
	uint32_t snd_wnd;                /* the peer's */
	uint32_t rcv_wnd;                /* ours, as the peer knows it */
	uint32_t rcv_space;              /* the buffer that it comes from */
	uint32_t notsent_bytes;          /* written, never sent */

	/* In flight, segments. */
	uint32_t unacked, sacked, lost, retrans;
	uint32_t reordering; /* so many may overtake one before that means a loss */

	/* In all. */
	uint64_t bytes_acked, bytes_received, bytes_retrans;
	uint32_t segs_in, segs_out;
	uint32_t total_retrans;
	uint32_t delivered,
		delivered_ce; /* segments that arrived, and those of them that met congestion */
	uint32_t dsack_dups;  /* the peer got something twice */
	uint32_t reord_seen;

	/* Rates, bytes per second; 0: none. */
	uint64_t pacing_rate, delivery_rate;
};

/** apus_tcp_call_info - how @c does now, which is of our stack; any state; users ask apus_tcp_get_info(). Context: any, on the shard */
void apus_tcp_call_info(const struct apus_tcp *c, struct apus_tcp_info *info);

/* ---- trace ---- */

/* Why there is a line. */
enum apus_tcp_trace_what {
	APUS_TCP_TRACE_ACK,     /* an ACK came */
	APUS_TCP_TRACE_SENT,    /* text or FIN left, for the first time or again */
	APUS_TCP_TRACE_LOSS,    /* fast recovery began */
	APUS_TCP_TRACE_TIMEOUT, /* the retransmission timer fired */
	APUS_TCP_TRACE_UNDO,    /* recovery was for nothing */
	APUS_TCP_TRACE_STATE,   /* the connection's state changed */
};

struct apus_tcp_trace_event {
	int64_t at_ns;
	uint32_t cwnd_bytes, ssthresh_bytes; /* UINT32_MAX: none yet */
	uint32_t pipe_bytes;                 /* in the network */
	uint32_t srtt_us;
	uint32_t acked_bytes, sent_bytes; /* SND.UNA and SND.NXT, from the initial number */
	uint8_t what;                     /* enum apus_tcp_trace_what */
	uint8_t state;                    /* enum apus_tcp_state */
	uint8_t ca_state;                 /* enum apus_tcp_ca_state */
};

#define APUS_TCP_TRACE_EVENTS_MAX (1U << 20)
#define APUS_TCP_TRACE_LINE_BYTES 160 /* of text for an event, at most */

/**
 * apus_tcp_trace_start - from now on remember the last @events_max events of @c
 * @events_max: 1 to APUS_TCP_TRACE_EVENTS_MAX, rounded up to a power of two
 *
 * When the ring is full the oldest event gives way. What was remembered before is forgotten. The
 * memory is given back with the connection. A connection that is not traced pays nothing.
 *
 * Context: any, on the shard. Return: 0, -EINVAL, -ENOMEM, -EOPNOTSUPP (the kernel's).
 */
APUS_MUST_CHECK int apus_tcp_trace_start(struct apus_tcp *c, uint32_t events_max);

/** apus_tcp_trace_stop - and forget. Context: any, on the shard */
void apus_tcp_trace_stop(struct apus_tcp *c);

/** apus_tcp_trace_next - take the oldest event. Return: there was one. Context: any, on the shard */
bool apus_tcp_trace_next(struct apus_tcp *c, struct apus_tcp_trace_event *event);

/**
 * apus_tcp_trace_read - take events as lines of CSV, oldest first
 * @text: of @size bytes, at least APUS_TCP_TRACE_LINE_BYTES
 *
 * The columns are those of apus_tcp_trace_header().
 *
 * Return: bytes of text, without a NUL; 0: no more events. Context: any, on the shard.
 */
size_t apus_tcp_trace_read(struct apus_tcp *c, char *text, size_t size);

/** apus_tcp_trace_header - "time_us,what,state,..." and a newline; a constant string */
const char *apus_tcp_trace_header(void);

APUS_END_DECLS

#endif
