/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/tally.h: what is counted for one connection, for apus_tcp_get_info(), and its trace.
 *
 * In a block of its own that a connection gets with its first text, either way; without memory
 * there is none, and nothing is counted. So an idle connection has none, and what a busy one counts
 * costs a test and an addition.
 */
#ifndef APUS_NET_TCP_TALLY_H
#define APUS_NET_TCP_TALLY_H

#include "net/tcp/info.h"

struct apus_tcp_trace;

struct apus_tcp_tally {
	uint64_t bytes_acked, bytes_received, bytes_retrans;
	struct apus_tcp_trace *trace; /* NULL: off */
	uint32_t segs_in, segs_out;
	uint32_t total_retrans;
	uint32_t delivered, delivered_ce;
	uint32_t dsack_dups, reord_seen;
};

static_assert(sizeof(struct apus_tcp_tally) <= 64, "a cache line for each busy connection");

/** apus_tcp_tally_open - see that there is one, if there is memory */
void apus_tcp_tally_open(struct apus_tcp *c);
/** apus_tcp_tally_close - with its trace */
void apus_tcp_tally_close(struct apus_tcp *c);

/** apus_tcp_trace_note - c->tally->trace is on: remember what happened */
void apus_tcp_trace_note(struct apus_tcp *c, enum apus_tcp_trace_what what, int64_t now_ns);

/* Needs struct apus_tcp: tcb.h. */
#define apus_tcp_traces(c) ((c)->tally && (c)->tally->trace)

#endif
