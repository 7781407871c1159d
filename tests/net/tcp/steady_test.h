/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/steady_test.h: how stories of an answer in flight are told, twice: with fast.c and plain.c,
 * and without; and what is heard of them: every frame that leaves, with its time.
 */
#ifndef APUS_TESTS_NET_TCP_STEADY_TEST_H
#define APUS_TESTS_NET_TCP_STEADY_TEST_H

#include "net/socket/tcp.h"
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

/* ---- what is done ---- */

static void queue(uint32_t bytes)
{
	static uint8_t text[300000];
	struct iovec iov = {text, bytes};
	uint32_t end = apus_tcp_text_end(p->c);

	for (uint32_t i = 0; i < bytes; i++)
		text[i] = test_byte((uint32_t)(end + i));
	assert_int_equal(apus_tcp_call_send(p->c, &iov, 1, now()), bytes);
}

static void write_text(uint32_t bytes)
{
	queue(bytes);
	peer_turn(p);
}

/* Of the peer, the next text. */
static struct apus_segment segment(uint32_t ack)
{
	struct apus_segment seg = peer_segment(seq, ack);

	seg.has_ack = true;
	seg.wnd = 8192; /* 1 MB */
	p->ts_val = (uint32_t)(now() / APUS_MS);
	return seg;
}

static void ack(uint32_t number)
{
	peer_send(p, segment(number), 0);
}

/* It acknowledges all that is in flight; text that is queued already answers in the same turn. */
static void request(void)
{
	char text[100];

	peer_send(p, segment(p->c->snd.nxt), sizeof(text));
	seq += sizeof(text);
	assert_int_equal(apus_tcp_call_receive(p->c, text, sizeof(text)), sizeof(text));
}

static void assert_steady(void)
{
	if (APUS_TCP_FAST)
		assert_int_equal(p->c->is_steady, told == &tolds[0]);
}

/* A request and its answer of @bytes, which is in flight now. */
static void answer(uint32_t bytes)
{
	queue(bytes);
	request();
	assert_steady();
	assert_int_equal(p->c->snd.nxt - p->c->snd.una, bytes);
}

static void answers(int n, int64_t rtt_ns)
{
	for (int i = 0; i < n; i++) {
		queue(ANSWER);
		request();
		peer_wait(p, rtt_ns);
	}
}

static void open_story(bool no_fast, int64_t rtt_ns, uint32_t iss)
{
	static struct apus_link_type type;
	struct apus_segment syn;

	told = &tolds[no_fast];
	memset(told, 0, sizeof(*told));
	p = peer_open_with((struct apus_tcp_options){.no_fast = no_fast});
	peer_listen(p);
	if (iss)
		peer_wait_for_iss(p, iss);
	p->stamps = true;
	syn = peer_segment(p->irs, 0);
	syn.syn = syn.sack_permitted = true;
	syn.mss = 1460;
	syn.wscale = 7;
	peer_send(p, syn, 0);
	p->iss = peer_last(p)->seq;
	peer_wait(p, rtt_ns);
	seq = p->irs + 1;
	ack(p->iss + 1);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	type = peer_link_type;
	type.tx = tell;
	p->link.type = &type;
	out_bytes = 0;
}

static void end_story(void)
{
	told->info = info();
	told->error = p->c->error;
	p->link.type = &peer_link_type;
	peer_forget(p);
	peer_close(p);
	p = NULL;
}

static void compare(void)
{
	const struct apus_tcp_info *a = &tolds[0].info, *b = &tolds[1].info;

	assert_int_equal(tolds[0].count, tolds[1].count);
	for (uint32_t i = 0; i < apus_min(tolds[0].count, (uint32_t)FRAMES); i++)
		assert_memory_equal(&tolds[0].frames[i], &tolds[1].frames[i], sizeof(struct frame));
	assert_int_equal(tolds[0].error, tolds[1].error);
	assert_string_equal(a->state, b->state);
	assert_int_equal(a->bytes_acked, b->bytes_acked);
	assert_int_equal(a->bytes_retrans, b->bytes_retrans);
	assert_int_equal(a->segs_in, b->segs_in);
	assert_int_equal(a->segs_out, b->segs_out);
	assert_int_equal(a->delivered, b->delivered);
	assert_int_equal(a->unacked, b->unacked);
	assert_int_equal(a->sacked, b->sacked);
	assert_int_equal(a->lost, b->lost);
	assert_int_equal(a->snd_cwnd, b->snd_cwnd);
	assert_int_equal(a->snd_ssthresh, b->snd_ssthresh);
	assert_int_equal(a->rto_ns, b->rto_ns);
	assert_int_equal(a->srtt_ns, b->srtt_ns);
	assert_int_equal(a->min_rtt_ns, b->min_rtt_ns);
}

/* The story, with an answer in flight, twice. */
static void tell_twice(void (*story)(void))
{
	for (int no_fast = 0; no_fast < 2; no_fast++) {
		open_story(no_fast, RTT_NS, 0);
		answers(5, RTT_NS);
		answer(ANSWER);
		story();
		end_story();
	}
	compare();
}

#endif
