/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_plain.c: net/tcp/plain.c is only faster: the same calls, segments and times, once
 * with it and once without, give the same frames, byte for byte, and leave the same connection, field by
 * field, after each step.
 */
#include "net/tcp/plain.h"
#include "tests/net/tcp/settled.h"
#include "tests/net/tcp/tcp_peer.h"

#include <rte_ethdev.h>

#define STEPS       1500
#define LOGGED_MAX  8192
#define FRAME_BYTES 2048
#define OFFLOADS    (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

/* A frame as the link saw it. */
struct sent {
	uint64_t ol_flags, tx_offload;
	uint32_t bytes;
	uint16_t segs, data_off;
	uint8_t data[FRAME_BYTES];
};

/* A connection after a step, without what is an address. */
struct after {
	struct apus_tcp c;
	struct apus_recovery recovery;
	struct apus_tcp_tally tally;
	int64_t timer_ns, used_at_ns;
	uint64_t tcp[APUS_TCP_COUNTER_COUNT], ipv4[APUS_IPV4_COUNTER_COUNT];
	uint32_t forward, back;
	uint32_t frames; /* so far */
	bool is_armed;
};

struct run {
	struct sent sent[LOGGED_MAX];
	struct after after[STEPS];
	uint32_t frames;
	uint32_t plain;  /* steps after which the headers were there to be copied */
	uint32_t steady; /* steps after which it was steady */
};

static struct run runs[2], *run;
static struct peer *p;
static uint32_t peer_seq;
static bool is_calm; /* nothing is lost and no window closes: requests and answers, mostly */
static uint64_t plain_steps, steady_steps; /* of all seeds */

static void log_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i];
		struct sent *sent = &run->sent[run->frames];

		apus_must(run->frames++ < LOGGED_MAX);
		*sent = (struct sent){.ol_flags = m->ol_flags,
				      .tx_offload = m->tx_offload,
				      .bytes = m->pkt_len,
				      .segs = m->nb_segs,
				      .data_off = m->data_off};
		apus_must(test_mbuf_bytes(m, sent->data, FRAME_BYTES) == m->pkt_len);
		rte_pktmbuf_free(m);
	}
}

/* What is an address, or tells of one, and nothing else. */
static void log_connection(struct after *after)
{
	struct apus_tcp *c = &after->c;
	struct settled settled;

	settled_copy(&settled, p->c);
	*after = (struct after){.c = settled.c, .frames = run->frames};
	run->steady += p->c->is_steady;
	after->timer_ns = c->timer.deadline_ns;
	after->is_armed = apus_timer_armed(&p->c->timer);
	after->forward = c->sndq.forward ? c->sndq.forward_position + 1 : 0;
	after->back = c->sndq.back ? c->sndq.back_position + 1 : 0;
	after->used_at_ns = p->stack->arp.last->used_at_ns;
	memcpy(after->tcp, p->stack->tcp.counters, sizeof(after->tcp));
	after->tcp[APUS_TCP_COUNT_SEGMENTS_FAST] = 0; /* no_fast is the switch of fast.c too */
	memcpy(after->ipv4, p->stack->ipv4.counters, sizeof(after->ipv4));
	if (c->tally)
		after->tally = *c->tally;
	if (c->recovery) {
		run->plain += settled.sender.frame.flow.bytes > 0;
		after->recovery = settled.sender.recovery;
		after->recovery.flight.records = NULL;
		after->recovery.flight.heap = NULL;
		if (settled.records)
			memset(after->recovery.flight.inline_records, 0,
			       sizeof(after->recovery.flight.inline_records));
	}
	settled_free(&settled);
	memset(&c->timer, 0, sizeof(c->timer));
	memset(&c->link, 0, sizeof(c->link));
	memset(&c->readers, 0, sizeof(c->readers));
	memset(&c->writers, 0, sizeof(c->writers));
	c->layer = NULL;
	c->recovery = NULL;
	c->tally = NULL;
	c->drs = NULL;
	if (c->cc.is_attached)
		c->cc.state = NULL;
	c->rcvq.head = c->rcvq.tail = NULL;
	c->rcvq.ooo = NULL;
	c->rcvq.pool = NULL;
	c->sndq.pool = NULL;
	c->sndq.head = c->sndq.tail = c->sndq.forward = c->sndq.back = NULL;
	c->sndq.forward_position = c->sndq.back_position = 0;
}

/* A sender's block is not zeroed when it is taken: what is not valid yet is the same in both runs. */
static void clear_senders(struct apus_slab *slab)
{
	void *sender = apus_slab_get(slab);

	memset(sender, 0, sizeof(struct apus_tcp_sender));
	apus_slab_put(slab, sender);
}

static void open_connection(bool has_ts, bool has_sack, struct apus_tcp_options options)
{
	static struct apus_link_type type;
	struct apus_segment answer;

	p = peer_open_with(options);
	clear_senders(&p->stack->tcp.senders);
	peer_is_called(p);
	p->stamps = has_ts;
	answer = peer_syn_ack(p);
	answer.sack_permitted = has_sack;
	answer.wscale = 7;
	p->irs = answer.seq;
	peer_answers(p, answer);
	assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
	peer_seq = p->irs + 1;
	type = peer_link_type;
	type.tx = log_tx;
	p->link.type = &type;
}

static void write_some(uint64_t *random)
{
	static uint8_t bytes[4000];
	size_t most = test_random_below(random, is_calm ? 40 : 4) ? 300 : sizeof(bytes);
	struct iovec iov = {bytes, 1 + test_random_below(random, most)};

	test_fill(bytes, p->c->sndq.front + p->c->sndq.bytes, iov.iov_len);
	(void)!apus_tcp_call_send(p->c, &iov, 1, apus_clock_read(&p->clock));
}

/* Many full segments in one turn. */
static void hear_burst(uint64_t *random)
{
	struct apus_segment seg = peer_segment(peer_seq, p->c->snd.una);

	seg.has_ack = true;
	seg.wnd = 512;
	for (uint64_t n = 1 + test_random_below(random, 6); n; n--) {
		seg.seq = peer_seq;
		peer_put(p, seg, 1400);
		peer_seq += 1400;
	}
}

/* Of the peer: an ACK of all or of a part, with text or without, in order or not. */
static void hear(uint64_t *random)
{
	uint32_t flight = p->c->snd.nxt - p->c->snd.una, text = 0, gap = 0;
	uint32_t acked = test_random_below(random, is_calm ? 40 : 3)
				 ? flight
				 : (uint32_t)test_random_below(random, flight + 1);
	struct apus_segment seg = peer_segment(peer_seq, p->c->snd.una + acked);

	if (test_random_below(random, 2))
		text = 1 + (uint32_t)test_random_below(random,
						       test_random_below(random, 3) ? 200 : 1448);
	if (text && !is_calm && !test_random_below(random, 20))
		gap = 1 + (uint32_t)test_random_below(random, 500);
	seg.has_ack = true;
	seg.seq += gap;
	seg.wnd = is_calm || test_random_below(random, 10)
			  ? 512
			  : (uint16_t)test_random_below(random, 20);
	p->ts_val = (uint32_t)(apus_clock_read(&p->clock) / APUS_MS);
	p->ts_ecr = p->ts_val - 1 + p->c->ts_offset;
	peer_put(p, seg, text);
	if (!gap)
		peer_seq += text;
}

static void step(uint64_t *random)
{
	uint8_t buf[3000];

	switch (test_random_below(random, 10)) {
	case 0:
	case 1:
		write_some(random);
		break;
	case 2:
		hear(random);
		write_some(random);
		break;
	case 3:
	case 4:
	case 5:
		hear(random);
		break;
	case 6:
		if (is_calm)
			hear(random);
		peer_turn(
			p); /* not with the next timer: that may be a stale one, of one run only */
		peer_wait(p, (int64_t)test_random_below(random, test_random_below(random, 4)
									? 2 * APUS_MS
								: is_calm ? 150 * APUS_MS
									  : 400 * APUS_MS));
		break;
	case 7:
		(void)!apus_tcp_call_receive(p->c, buf,
					     1 + test_random_below(random, sizeof(buf) - 1));
		break;
	case 8:
		if (!is_calm || !test_random_below(random, 8))
			hear_burst(random);
		break;
	case 9:
		apus_tcp_settle(p->c); /* as apus_tcp_set() does */
		if (!test_random_below(random, 8))
			p->c->is_nodelay ^= 1;
		if (!test_random_below(random, 30))
			p->c->is_corked ^= 1;
		if (!test_random_below(random, 100))
			p->c->user_timeout_ticks ^= 100000;
		break;
	}
	peer_turn(p);
	peer_wait(p, (int64_t)test_random_below(random, 100 * APUS_US));
}

static void run_one(uint64_t seed, bool no_fast, uint64_t offloads)
{
	struct apus_tcp_options options = {.no_fast = no_fast, .no_gro = seed % 5 == 0};
	uint64_t random = seed;

	run = &runs[no_fast];
	run->frames = run->plain = run->steady = 0;
	is_calm = seed % 2;
	open_connection(seed % 3, seed % 4, options);
	p->link.tx_offloads = offloads;
	for (int i = 0; i < STEPS; i++) {
		assert_true(p->c->in_demux);
		step(&random);
		log_connection(&run->after[i]);
	}
	p->link.type = &peer_link_type;
	p->link.tx_offloads = 0;
	peer_forget(p);
	peer_close(p);
}

static void compare(void)
{
	for (int i = 0; i < STEPS; i++) {
		if (memcmp(&runs[0].after[i], &runs[1].after[i], sizeof(struct after))) {
			const uint8_t *a = (const uint8_t *)&runs[0].after[i];
			const uint8_t *b = (const uint8_t *)&runs[1].after[i];
			size_t at = 0;

			while (a[at] == b[at])
				at++;
			fail_msg("after step %d byte %zu differs", i, at);
		}
	}
	assert_int_equal(runs[0].frames, runs[1].frames);
	assert_memory_equal(runs[0].sent, runs[1].sent, runs[0].frames * sizeof(struct sent));
	assert_int_equal(runs[1].plain, 0);
	assert_int_equal(runs[1].steady, 0);
	plain_steps += runs[0].plain;
	steady_steps += runs[0].steady;
}

static void compare_seeds(uint64_t offloads)
{
	plain_steps = steady_steps = 0;
	test_each_seed(seed, 24)
	{
		run_one(seed, false, offloads);
		run_one(seed, true, offloads);
		compare();
	}
	if (APUS_TCP_FAST && !test_seeds.only) {
		assert_true(plain_steps > STEPS);
		assert_true(steady_steps > STEPS);
	}
}

static void short_way_sends_what_the_long_way_does(void **state)
{
	compare_seeds(0);
}

static void with_checksums_in_the_device_it_does_too(void **state)
{
	compare_seeds(OFFLOADS);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		test_with_pool(short_way_sends_what_the_long_way_does),
		test_with_pool(with_checksums_in_the_device_it_does_too),
	};

	return test_main_with_pool(argc, argv, tests);
}
