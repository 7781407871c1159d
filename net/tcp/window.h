/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/window.h: the window that we offer, and the buffer behind it; see window.c.
 */
#ifndef APUS_NET_TCP_WINDOW_H
#define APUS_NET_TCP_WINDOW_H

#include "net/tcp/tcb.h"

/** apus_tcp_buffer_room - the window that the buffer allows now: bytes behind RCV.NXT */
static inline uint32_t apus_tcp_buffer_room(const struct apus_tcp *c)
{
	uint32_t limit = apus_tcp_memory_receive_limit(&c->layer->memory, c->rcv_buffer);
	uint32_t room = limit - apus_min(c->rcvq.bytes, limit);

	return apus_min(room, (uint32_t)UINT16_MAX << c->rcv.wscale);
}

/** apus_tcp_window_grow - the edge that could be offered now is so much further than what was offered */
static inline uint32_t apus_tcp_window_grow(const struct apus_tcp *c)
{
	int32_t more = (int32_t)(apus_tcp_buffer_room(c) - (c->rcv.adv - c->rcv.nxt));

	return more > 0 ? (uint32_t)more : 0;
}

/** apus_tcp_choose_window_any - apus_tcp_choose_window(), however much there is */
uint16_t apus_tcp_choose_window_any(struct apus_tcp *c);
/**
 * apus_tcp_choose_window - the window field for a segment that acknowledges RCV.NXT
 *
 * The field counts in units of the scale: it is rounded up, so as not to take back what was
 * offered, as long as that gives away less than one unit more than there is; else down (RFC 7323
 * §2.4 allows the edge to seem to move back by less than a unit; RCV.ADV does not).
 */
static inline uint16_t apus_tcp_choose_window(struct apus_tcp *c)
{
	uint32_t wnd = c->rcv.adv - c->rcv.nxt, used = c->rcv_buffer - wnd, rest;

	/* Unless all was read, and yet the edge has too short a way to go: most of the time. */
	if (apus_unlikely(used >= c->cc.mss || used >= c->rcv_buffer / 2 ||
			  c->rcvq.bytes | c->layer->memory.level))
		return apus_tcp_choose_window_any(c);
	rest = (1U << c->rcv.wscale) - 1; /* less than a unit */
	c->rcv.adv += -wnd & rest;
	return (uint16_t)((wnd + rest) >> c->rcv.wscale);
}

/** apus_tcp_buffer_first - bytes of a new connection's buffer */
static inline uint32_t apus_tcp_buffer_first(const struct apus_tcp_options *options)
{
	return options->rcv_buffer_bytes ? options->rcv_buffer_bytes : APUS_TCP_RCV_BUFFER_BYTES;
}
/** apus_tcp_buffer_max - to which it may grow; @pool: of the link */
uint32_t apus_tcp_buffer_max(const struct apus_tcp_options *options,
			     const struct rte_mempool *pool);
/** apus_tcp_buffer_scale - the window scale that such a buffer needs (RFC 7323 §2.3), 1 to 14 */
uint8_t apus_tcp_buffer_scale(uint32_t buffer_max);
/** apus_tcp_syn_window - what a SYN offers: never scaled (RFC 7323 §2.2) */
static inline uint16_t apus_tcp_syn_window(const struct apus_tcp_layer *layer)
{
	return (uint16_t)apus_min(apus_tcp_buffer_first(&layer->options), (uint32_t)UINT16_MAX);
}

void apus_tcp_tune_slow(struct apus_tcp *c, uint32_t text_bytes, uint32_t ts_ecr, int64_t now_ns);
/**
 * apus_tcp_tune - text came in order: should the buffer grow?
 *
 * A connection that has received little is not measured, nor one at a segment that is not full: who
 * asks and answers does not fill a window.
 */
static inline void apus_tcp_tune(struct apus_tcp *c, uint32_t text_bytes, uint32_t ts_ecr,
				 int64_t now_ns)
{
	if (text_bytes >= c->rcv.mss && (c->drs || c->rcv.nxt - c->rcv.irs > c->rcv_buffer / 2))
		apus_tcp_tune_slow(c, text_bytes, ts_ecr, now_ns);
}

#endif
