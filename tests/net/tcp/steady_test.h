/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/steady_test.h: what test_steady.c hears: every frame that leaves, with its time.
 */
#ifndef APUS_TESTS_NET_TCP_STEADY_TEST_H
#define APUS_TESTS_NET_TCP_STEADY_TEST_H

#include "tests/net/tcp/tcp_peer.h"

#define MSS       1448 /* with timestamps */
#define RTT_NS    (10 * APUS_MS)
#define ANSWER    400
#define FRAMES    512
#define TOLERANCE (2 * APUS_MS)

/* A frame of ours, numbers from the initial ones. */
struct frame {
	int64_t at_ns;
	uint32_t seq, ack, bytes, wnd;
	bool fin, rst;
};

/* What was seen of a story. */
struct told {
	struct frame frames[FRAMES];
	uint32_t count;
	struct apus_tcp_info info;
	int error;
};

static struct told tolds[2], *told;
static struct peer *p;
static uint32_t seq; /* the peer's next */
static uint64_t out_bytes;

/* ---- what is heard ---- */

static void tell(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	for (uint16_t i = 0; i < n; i++) {
		const struct heard *h = &p->heard[0];

		peer_forget(p);
		peer_hear(p, frames[i]);
		rte_pktmbuf_free(frames[i]);
		if (!p->heard_count)
			continue; /* ARP */
		for (uint32_t at = 0; at < h->seg.text_bytes; at++)
			apus_must(h->text[at] == test_byte(h->seg.seq + at));
		out_bytes += h->seg.text_bytes;
		told->frames[told->count++ % FRAMES] =
			(struct frame){.at_ns = apus_clock_read(&p->clock),
				       .seq = h->seg.seq - p->iss,
				       .ack = h->seg.ack - p->irs,
				       .bytes = h->seg.text_bytes,
				       .wnd = h->seg.wnd,
				       .fin = h->seg.fin,
				       .rst = h->seg.rst};
	}
}

static int64_t now(void)
{
	return apus_clock_read(&p->clock);
}

static void assert_around(int64_t ns, int64_t expected_ns)
{
	assert_in_range(ns, expected_ns - TOLERANCE, expected_ns + TOLERANCE);
}

static const struct frame *frame(uint32_t from, uint32_t i)
{
	assert_true(told->count > from + i);
	return &told->frames[from + i];
}

static uint64_t count(enum apus_tcp_counter counter)
{
	return peer_counter(p, counter);
}

static struct apus_tcp_info info(void)
{
	struct apus_tcp_info info;

	apus_tcp_call_info(p->c, &info);
	return info;
}

#endif
