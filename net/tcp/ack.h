/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ack.h: what follows once text of ours was acknowledged; for ack.c and fast.c.
 */
#ifndef APUS_NET_TCP_ACK_H
#define APUS_NET_TCP_ACK_H

#include "net/tcp/tcb.h"

/** apus_tcp_queue_limit - bytes that the send queue should be able to take */
static inline uint32_t apus_tcp_queue_limit(const struct apus_tcp *c)
{
	uint32_t window = apus_min(c->cc.cwnd_bytes, c->snd.max_wnd);
	uint32_t more = apus_max(window / 4, APUS_TCP_SEND_QUEUE_BYTES);

	return apus_min(window + more, APUS_TCP_SEND_QUEUE_MAX);
}

/**
 * apus_tcp_acked - the queue is shorter, and the congestion window perhaps larger
 *
 * A window cannot be filled from a queue that is shorter: room for what may be in flight, and for
 * what follows it. Writers are woken in the turn in which an ACK comes, before output sends, so
 * that need not be another window, as in Linux: text that waits long has left the caches when it
 * is sent.
 */
static inline void apus_tcp_acked(struct apus_tcp *c)
{
	uint32_t bytes = apus_tcp_queue_limit(c);

	if (bytes > c->sndq.limit_bytes)
		apus_sndq_set_limit(&c->sndq, bytes);
	if (!apus_waitq_empty(&c->writers) &&
	    apus_sndq_space(&c->sndq) >= APUS_TCP_SEND_QUEUE_BYTES / 4)
		apus_waitq_wake_all(&c->writers, 0);
}

#endif
