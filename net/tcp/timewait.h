/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timewait.h: TIME-WAIT as an entry of 64 bytes instead of a connection.
 *
 * It answers the peer's FIN that comes again (RFC 9293 §3.10.7.4), ignores resets (RFC 1337) and
 * gives way to a newer SYN (RFC 9293 §3.6.1) or to a connection of our own. All wait equally
 * long, so the list in order of deadline is a FIFO with one timer. At the limit the oldest goes.
 */
#ifndef APUS_NET_TCP_TIMEWAIT_H
#define APUS_NET_TCP_TIMEWAIT_H

#include "net/tcp/tcb.h"

struct apus_tcp_time_wait {
	struct apus_tcp_key key; /* first: demux.h */
	uint32_t snd_nxt, rcv_nxt;
	uint32_t ts_recent;               /* TS.Recent of RFC 7323, for RFC 6191 */
	uint32_t since_tick : 20;         /* the 60 s count from here; modulo 18 minutes */
	uint32_t challenge_half_sec : 11; /* of the clock: no challenge ACK in it, one went out */
	uint32_t has_ts : 1;              /* timestamps were in use */
	/* Neighbours in the layer's FIFO: pointers of 48 bits, with no padding. */
	uint16_t older_high, newer_high;
	uint32_t older_low, newer_low;
};

#define APUS_TCP_TIME_WAIT_TICKS (1U << 20) /* modulo which an entry knows its time */

static_assert(APUS_TCP_TIME_WAIT_NS >> 20 < APUS_TCP_TIME_WAIT_TICKS / 2, "one is told from late");
static_assert(sizeof(struct apus_tcp_time_wait) <= 64, "TCP.md §3");

/** apus_tcp_time_wait_open - @c, in TIME-WAIT and in the demux, is replaced there by an entry, and detached */
void apus_tcp_time_wait_open(struct apus_tcp *c, int64_t now_ns);

/** apus_tcp_time_wait_replace - what the demux has at @key (the caller's to free) gives way to an entry. Return: false without memory */
APUS_MUST_CHECK bool apus_tcp_time_wait_replace(struct apus_tcp_layer *layer,
						const struct apus_tcp_key *key,
						const struct apus_tcp_last *last, int64_t now_ns);

/** apus_tcp_time_wait_waited - ticks since it began to wait */
static inline uint32_t apus_tcp_time_wait_waited(const struct apus_tcp_time_wait *tw,
						 int64_t now_ns)
{
	return (apus_tcp_tick(now_ns) - tw->since_tick) % APUS_TCP_TIME_WAIT_TICKS;
}

/** apus_tcp_time_wait_close - forget the entry */
void apus_tcp_time_wait_close(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw);

/**
 * apus_tcp_time_wait_arrives - a segment for an entry
 *
 * Return: false if it is a SYN that may open a new connection: the entry is gone then, and the
 * segment is to be treated as if none had been there.
 */
APUS_MUST_CHECK bool apus_tcp_time_wait_arrives(struct apus_tcp_layer *layer,
						struct apus_tcp_time_wait *tw,
						struct apus_tcp_arrival *a);

void apus_tcp_time_wait_timer_fired(struct apus_work *work);

#endif
