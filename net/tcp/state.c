/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/state.c: the one door between states (RFC 9293 §3.3.2, figure 5).
 *
 * The table is figure 5 with three things that its notes and §3.10 add: a TCB may be deleted in
 * every state, FIN-WAIT-1 may go to TIME-WAIT at once (note 2), and a FIN in SYN-RECEIVED leads
 * to CLOSE-WAIT (§3.10.7.4, eighth). Where we differ: TIME-WAIT is left by an entry of its own
 * (timewait.h), and SYN-RECEIVED that came from LISTEN is a request entry (listen.h) until its
 * ACK is here.
 */
#include "net/tcp/state.h"

#include "net/tcp/tcb.h"
#include "runtime/sched/shard.h"

#define EDGE(state) (1U << APUS_TCP_##state)

static const uint16_t edges[APUS_TCP_STATES] = {
	[APUS_TCP_CLOSED] = EDGE(LISTEN) | EDGE(SYN_SENT),
	[APUS_TCP_LISTEN] = EDGE(SYN_RECEIVED) | EDGE(SYN_SENT) | EDGE(CLOSED),
	[APUS_TCP_SYN_SENT] = EDGE(SYN_RECEIVED) | EDGE(ESTABLISHED) | EDGE(CLOSED),
	[APUS_TCP_SYN_RECEIVED] = EDGE(ESTABLISHED) | EDGE(FIN_WAIT_1) | EDGE(CLOSE_WAIT) |
				  EDGE(LISTEN) | EDGE(CLOSED),
	[APUS_TCP_ESTABLISHED] = EDGE(FIN_WAIT_1) | EDGE(CLOSE_WAIT) | EDGE(CLOSED),
	[APUS_TCP_FIN_WAIT_1] = EDGE(FIN_WAIT_2) | EDGE(CLOSING) | EDGE(TIME_WAIT) | EDGE(CLOSED),
	[APUS_TCP_FIN_WAIT_2] = EDGE(TIME_WAIT) | EDGE(CLOSED),
	[APUS_TCP_CLOSE_WAIT] = EDGE(LAST_ACK) | EDGE(CLOSED),
	[APUS_TCP_CLOSING] = EDGE(TIME_WAIT) | EDGE(CLOSED),
	[APUS_TCP_LAST_ACK] = EDGE(CLOSED),
	[APUS_TCP_TIME_WAIT] = EDGE(CLOSED),
};

static const char *const names[APUS_TCP_STATES] = {
	[APUS_TCP_CLOSED] = "CLOSED",           [APUS_TCP_LISTEN] = "LISTEN",
	[APUS_TCP_SYN_SENT] = "SYN-SENT",       [APUS_TCP_SYN_RECEIVED] = "SYN-RECEIVED",
	[APUS_TCP_ESTABLISHED] = "ESTABLISHED", [APUS_TCP_FIN_WAIT_1] = "FIN-WAIT-1",
	[APUS_TCP_FIN_WAIT_2] = "FIN-WAIT-2",   [APUS_TCP_CLOSE_WAIT] = "CLOSE-WAIT",
	[APUS_TCP_CLOSING] = "CLOSING",         [APUS_TCP_LAST_ACK] = "LAST-ACK",
	[APUS_TCP_TIME_WAIT] = "TIME-WAIT",
};

static_assert(APUS_TCP_TIME_WAIT + 1 == APUS_TCP_STATES, "one row for each state");

const char *apus_tcp_state_name(enum apus_tcp_state state)
{
	return names[state];
}

bool apus_tcp_edge(enum apus_tcp_state from, enum apus_tcp_state to)
{
	return edges[from] >> to & 1;
}

void apus_tcp_enter(struct apus_tcp *c, enum apus_tcp_state state)
{
	apus_must(apus_tcp_edge(c->state, state));
	apus_assert(!c->is_steady);
	c->state = (uint8_t)state;
	if (apus_tcp_traces(c))
		apus_tcp_trace_note(c, APUS_TCP_TRACE_STATE, apus_now());

	switch (state) {
	case APUS_TCP_SYN_SENT:
		apus_tcp_count(c->layer, APUS_TCP_COUNT_ACTIVE_OPENS);
		break;
	case APUS_TCP_SYN_RECEIVED:
		if (c->is_passive)
			apus_tcp_count(c->layer, APUS_TCP_COUNT_PASSIVE_OPENS);
		break;
	case APUS_TCP_ESTABLISHED:
		apus_tcp_count(c->layer, APUS_TCP_COUNT_ESTABLISHED);
		break;
	case APUS_TCP_TIME_WAIT:
		apus_tcp_count(c->layer, APUS_TCP_COUNT_TIME_WAITS);
		break;
	case APUS_TCP_CLOSED:
		apus_tcp_count(c->layer, APUS_TCP_COUNT_CLOSED);
		break;
	case APUS_TCP_LISTEN:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
		break;
	}
}
