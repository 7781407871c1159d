/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/state.h: the eleven states of RFC 9293 §3.3.2, and the one door between them.
 */
#ifndef APUS_NET_TCP_STATE_H
#define APUS_NET_TCP_STATE_H

#include "runtime/base/compiler.h"

struct apus_tcp;

/* In the order of RFC 9293 §3.3.2, CLOSED first. */
enum apus_tcp_state {
	APUS_TCP_CLOSED,
	APUS_TCP_LISTEN,
	APUS_TCP_SYN_SENT,
	APUS_TCP_SYN_RECEIVED,
	APUS_TCP_ESTABLISHED,
	APUS_TCP_FIN_WAIT_1,
	APUS_TCP_FIN_WAIT_2,
	APUS_TCP_CLOSE_WAIT,
	APUS_TCP_CLOSING,
	APUS_TCP_LAST_ACK,
	APUS_TCP_TIME_WAIT,
};

#define APUS_TCP_STATES 11

/** apus_tcp_state_name - "ESTABLISHED"; as the RFC writes it */
const char *apus_tcp_state_name(enum apus_tcp_state state);

/** apus_tcp_edge - is there an arrow from @from to @to in figure 5 (or a deletion)? */
bool apus_tcp_edge(enum apus_tcp_state from, enum apus_tcp_state to);

/** apus_tcp_enter - the only writer of c->state; the edge must exist */
void apus_tcp_enter(struct apus_tcp *c, enum apus_tcp_state state);

/** apus_tcp_synchronized - both ends know each other's number (RFC 9293 §3.4.1) */
static inline bool apus_tcp_synchronized(enum apus_tcp_state state)
{
	return state >= APUS_TCP_ESTABLISHED;
}

/** apus_tcp_takes_text - after a FIN there is no new text; before the handshake it will be sent again */
static inline bool apus_tcp_takes_text(enum apus_tcp_state state)
{
	return state >= APUS_TCP_ESTABLISHED && state <= APUS_TCP_FIN_WAIT_2;
}

static_assert(APUS_TCP_FIN_WAIT_2 == APUS_TCP_ESTABLISHED + 2, "the three states between");

#endif
