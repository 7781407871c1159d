/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/short.h: what the short ways through this room share: fast.c in, plain.c out, and the
 * user's calls between them.
 */
#ifndef APUS_NET_TCP_SHORT_H
#define APUS_NET_TCP_SHORT_H

#include "net/tcp/tcb.h"

/** apus_tcp_mark_open - apus_tcp_mark(), of one that is not CLOSED and so in no other list */
static inline void apus_tcp_mark_open(struct apus_tcp *c)
{
	if (c->is_marked)
		return;
	c->is_marked = true;
	apus_list_push_back(&c->layer->marked, &c->link);
}

/** apus_tcp_arm - see that the timer fires at the earliest deadline */
static inline void apus_tcp_arm(struct apus_tcp *c)
{
	int64_t earliest_ns = apus_min(c->rexmit_at_ns, apus_min(c->ack_at_ns, c->idle_at_ns));

	if (earliest_ns == APUS_NEVER)
		return;
	if (!apus_timer_armed(&c->timer) || c->timer.deadline_ns > earliest_ns)
		apus_timer_arm(&c->timer, earliest_ns);
}

#endif
