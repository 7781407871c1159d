/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/window.c: the window that we offer (RFC 9293 §3.8.6.2.2), and the buffer behind it.
 *
 * A connection begins with 128 KiB. One that has received half of that is measured from then on,
 * and its buffer grows with what its reader takes in a round trip (drs.h), up to 15 MB, or to a
 * quarter of the mbufs that the link has, and not while less than half of these are free.
 *
 * Invariants: RCV.ADV, the right edge that was offered, never moves back (SHLD-14); it moves by a
 * full segment or half the buffer at least (MUST-39).
 */
#include "net/tcp/window.h"

#include "net/link/link.h"
#include "net/tcp/timestamp.h"

#define TS_SAMPLE_MAX_MS 60000 /* an echo from longer ago is not believed */

/* ---- what is offered of it ---- */

uint16_t apus_tcp_choose_window_any(struct apus_tcp *c)
{
	uint32_t scale = c->rcv.wscale, rest = (1U << scale) - 1; /* less than a unit */
	uint32_t least = apus_min(c->rcv_buffer / 2, (uint32_t)c->cc.mss);
	uint32_t room = apus_tcp_buffer_room(c), wnd = c->rcv.adv - c->rcv.nxt;

	/* Not while duplicate ACKs are sent: with another window they would not count as such. */
	if ((int32_t)(room - wnd) >= (int32_t)least && !c->rcv.duplicates)
		wnd = room;

	uint32_t field = (wnd + rest) >> scale;

	if (field << scale > room + rest)
		field = wnd >> scale;
	field = apus_min(field, (uint32_t)UINT16_MAX);
	c->rcv.adv = c->rcv.nxt + apus_max(wnd, field << scale);
	return (uint16_t)field;
}

/* ---- how large the buffer is ---- */

uint32_t apus_tcp_buffer_max(const struct apus_tcp_options *options, const struct rte_mempool *pool)
{
	uint64_t pool_bytes = (uint64_t)pool->size / 4 * APUS_TCP_MSS_DEFAULT * 2;
	uint32_t least = apus_tcp_buffer_first(options);
	uint32_t most = options->rcv_buffer_max ? options->rcv_buffer_max : APUS_TCP_RCV_BUFFER_MAX;

	most = apus_min(most, (uint32_t)UINT16_MAX << APUS_SEGMENT_WSCALE_MAX);
	return (uint32_t)apus_max(apus_min(pool_bytes, most), least);
}

uint8_t apus_tcp_buffer_scale(uint32_t buffer_max)
{
	uint8_t scale = 1; /* 0 could not be told from a peer that does not scale */

	while (scale < APUS_SEGMENT_WSCALE_MAX && (uint32_t)UINT16_MAX << scale < buffer_max)
		scale++;
	return scale;
}

static void grow(struct apus_tcp *c, uint32_t bytes)
{
	const struct rte_mempool *pool = c->layer->link->pool;

	bytes = apus_min(bytes, c->layer->rcv_buffer_max);
	if (bytes <= c->rcv_buffer || rte_mempool_avail_count(pool) < pool->size / 2)
		return;
	c->rcv_buffer = bytes;
	c->rcvq.limit_held = (2 * bytes) & INT32_MAX;
}

/* A round trip as the receiver sees it: our timestamp, echoed by text that our ACK let go. */
static void measure(struct apus_tcp *c, uint32_t text_bytes, uint32_t ts_ecr, int64_t now_ns)
{
	uint32_t now_us = (uint32_t)(now_ns / 1000);

	if (!c->has_ts) {
		apus_drs_arrived(c->drs, c->rcv.nxt, c->rcv.adv - c->rcv.nxt, now_us);
		return;
	}
	if (text_bytes < c->rcv.mss || ts_ecr == c->drs->mark_seq)
		return;
	c->drs->mark_seq = ts_ecr; /* one sample for each echo */

	uint32_t ms = apus_tcp_ts_clock(now_ns) + c->ts_offset - ts_ecr;

	if (ms <= TS_SAMPLE_MAX_MS)
		apus_drs_sample(c->drs, 1000 * ms, now_us);
}

void apus_tcp_tune_slow(struct apus_tcp *c, uint32_t text_bytes, uint32_t ts_ecr, int64_t now_ns)
{
	uint32_t now_us = (uint32_t)(now_ns / 1000);
	uint32_t read_seq = c->rcv.nxt - c->rcvq.bytes;

	if (!c->drs) {
		c->drs = apus_slab_get(&c->layer->drs);
		if (!c->drs)
			return; /* its buffer stays as it is */
		apus_drs_init(c->drs, read_seq, APUS_CC_INITIAL_MSS * c->rcv.mss,
			      (uint32_t)apus_min((c->handshake_ns + 999) / 1000, INT32_MAX),
			      now_us);
	}
	measure(c, text_bytes, ts_ecr, now_ns);

	uint32_t bytes = apus_drs_read(c->drs, read_seq, c->rcv.mss, now_us);

	if (bytes)
		grow(c, bytes);
}
