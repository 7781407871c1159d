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

#endif
