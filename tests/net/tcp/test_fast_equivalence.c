/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_fast_equivalence.c: net/tcp/fast.c changes nothing but the cost (STYLE.md §8.8).
 *
 * Two stacks hear the same segments, calls and time; one of them takes the short way where it can,
 * the other never does. After each step everything must be the same: what they said, all counters,
 * and of the connection every byte that is no address: TCB, sender's block, tally, both queues.
 */
#define HEARD_MAX 4096 /* time may pass in long steps */
#include "tests/net/tcp/tcp_peer.h"

#include "net/tcp/bbr.h"
#include "net/tcp/cubic.h"
#include "net/tcp/dctcp.h"
#include "runtime/sched/task.h"
#include "tests/net/tcp/settled.h"

#include <errno.h>

#define STEPS   400
#define RUN_MAX 12 /* segments put on the wire in one burst */

static struct peer ends[2]; /* the short way and the long one */

/* Of each end: whether mbufs are short must not depend on the other one. */
static struct rte_mempool *pools[2];

static uint64_t chance;

static void select_end(int i)
{
	test_pool = pools[i];
	apus_shard_enter(ends[i].shard);
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)test_random_below(&chance, n);
}

/* Requests and answers, mostly: what is odd is a lot rarer. */
static bool is_calm;

static bool one_of(uint32_t n)
{
	return !below(is_calm && n >= 8 ? 64 * n : n);
}

/* ---- comparison ---- */

/* What of a queue of mbufs can be compared: how they are cut, and what is in them. */
static void assert_same_chains(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	for (; a && b; a = a->next, b = b->next) {
		assert_int_equal(a->data_len, b->data_len);
		assert_memory_equal(rte_pktmbuf_mtod(a, const void *),
				    rte_pktmbuf_mtod(b, const void *), a->data_len);
	}
	assert_ptr_equal(a, b);
}

/* What lies between two neighbours of a struct but in neither. */
#define clear_gap(p, before, after)                    \
 memset((char *)&(p)->before + sizeof((p)->before), 0, \
	(size_t)((char *)&(p)->after - (char *)&(p)->before) - sizeof((p)->before))

/* A copy without addresses; what they lead to is compared by itself. */
static void plain_tcb(struct apus_tcp *p, const struct apus_tcp *c)
{
	*p = *c;
	p->layer = NULL;
	p->link = (struct apus_list){NULL, NULL};
	p->tally = NULL;
	p->recovery = NULL;
	memset(&p->timer, 0, sizeof(p->timer));
	memset(&p->readers, 0, sizeof(p->readers));
	memset(&p->writers, 0, sizeof(p->writers));
	if (p->cc.is_attached)
		p->cc.state = NULL;
	p->drs = NULL;
	p->rcvq.head = p->rcvq.tail = NULL;
	p->rcvq.ooo = NULL;
	p->rcvq.pool = NULL;
	p->sndq.pool = NULL;
	p->sndq.head = p->sndq.tail = p->sndq.forward = p->sndq.back = NULL;
}

static void assert_same_records(const struct apus_flight *a, const struct apus_flight *b)
{
	assert_int_equal(a->mask, b->mask);
	for (uint32_t at = a->head; at != a->tail; at++) {
		struct apus_flight_record one = *apus_flight_at(a, at),
					  two = *apus_flight_at(b, at);

		assert_memory_equal(&one, &two, offsetof(struct apus_flight_record, marks) + 1);
	}
	for (uint32_t i = 1; i <= 2; i++) { /* the two lists' ends */
		assert_int_equal(a->records[a->mask + i].next, b->records[b->mask + i].next);
		assert_int_equal(a->records[a->mask + i].prev, b->records[b->mask + i].prev);
	}
}

/* The same; what a flag says to mean nothing is not compared. */
static void plain_recovery(struct apus_recovery *p, const struct apus_recovery *r,
			   const struct apus_cc_type *type)
{
	*p = *r;
	p->flight.records = NULL;
	p->flight.heap = NULL;
	memset(p->flight.inline_records, 0, sizeof(p->flight.inline_records));
	memset((char *)p->cc_state + type->state_bytes, 0, sizeof(p->cc_state) - type->state_bytes);
	if (!p->has_recover)
		p->recover = 0;
	if (!p->has_undo)
		p->undo_seq = 0, p->undo_records = 0;
	if (!p->has_prior)
		p->prior_cwnd = p->prior_ssthresh = 0;
	if (!p->has_probe)
		p->probe_seq = 0;
	if (!p->has_probe)
		p->probe_is_again = false;
	if (!p->flight.has_sacked_end)
		p->flight.sacked_end = 0;
	if (p->state != APUS_RECOVERY_FAST)
		p->began_ns = 0;
	clear_gap(p, step_bytes, began_ns);
	clear_gap(p, duplicates, reordering);
	/* Eleven flags, and then nothing up to cc_state. */
	((uint8_t *)&p->state)[2] &= 7;
	memset(&p->state + 3, 0, (size_t)((uint8_t *)p->cc_state - &p->state) - 3);
}

#define assert_same_bytes(a, b) assert_memory_equal(&(a), &(b), sizeof(a))

static void assert_same_senders(const struct apus_tcp *a, const struct apus_tcp *b)
{
	struct apus_recovery one, two;

	assert_int_equal(!a->recovery, !b->recovery);
	if (!a->recovery)
		return;
	assert_same_records(&a->recovery->flight, &b->recovery->flight);
	plain_recovery(&one, a->recovery, a->cc.type);
	plain_recovery(&two, b->recovery, b->cc.type);
	assert_same_bytes(one, two);
}

static void assert_same_tallies(const struct apus_tcp *a, const struct apus_tcp *b)
{
	struct apus_tcp_tally one, two;

	assert_int_equal(!a->tally, !b->tally);
	if (!a->tally)
		return;
	one = *a->tally;
	two = *b->tally;
	one.trace = two.trace = NULL;
	assert_same_bytes(one, two);
}

static void assert_same_queues(const struct apus_tcp *a, const struct apus_tcp *b)
{
	assert_same_chains(a->rcvq.head, b->rcvq.head);
	assert_same_chains(a->sndq.head, b->sndq.head);
	assert_int_equal(!a->sndq.forward, !b->sndq.forward);
	assert_int_equal(!a->sndq.back, !b->sndq.back);
	assert_int_equal(!a->rcvq.ooo, !b->rcvq.ooo);
	if (a->rcvq.ooo) {
		assert_int_equal(a->rcvq.ooo->runs, b->rcvq.ooo->runs);
		assert_int_equal(a->rcvq.ooo->bytes, b->rcvq.ooo->bytes);
		assert_int_equal(a->rcvq.ooo->report_count, b->rcvq.ooo->report_count);
	}
	assert_int_equal(!a->drs, !b->drs);
	if (a->drs)
		assert_memory_equal(a->drs, b->drs, offsetof(struct apus_drs, has_mark) + 1);
}

static void assert_same_connections(const struct apus_tcp *a, const struct apus_tcp *b)
{
	static struct settled settled[2];
	struct apus_tcp one, two;

	assert_same_queues(a, b);
	assert_int_equal(apus_timer_armed(&a->timer), apus_timer_armed(&b->timer));
	if (apus_timer_armed(&a->timer))
		assert_int_equal(a->timer.deadline_ns, b->timer.deadline_ns);
	assert_int_equal(apus_waitq_empty(&a->readers), apus_waitq_empty(&b->readers));
	assert_int_equal(apus_waitq_empty(&a->writers), apus_waitq_empty(&b->writers));
	settled_copy(&settled[0], a);
	settled_copy(&settled[1], b);
	plain_tcb(&one, &settled[0].c);
	plain_tcb(&two, &settled[1].c);
	assert_same_bytes(one, two);
	assert_same_senders(&settled[0].c, &settled[1].c);
	assert_same_tallies(&settled[0].c, &settled[1].c);
	settled_free(&settled[0]);
	settled_free(&settled[1]);
}

static void assert_same_counters(void)
{
	struct apus_stack *a = ends[0].stack, *b = ends[1].stack;

	for (int i = 0; i < APUS_TCP_COUNTER_COUNT; i++)
		if (i != APUS_TCP_COUNT_SEGMENTS_FAST)
			assert_int_equal(a->tcp.counters[i], b->tcp.counters[i]);
	assert_memory_equal(a->ipv4.counters, b->ipv4.counters, sizeof(a->ipv4.counters));
	assert_memory_equal(a->eth.counters, b->eth.counters, sizeof(a->eth.counters));
	assert_int_equal(a->tcp.memory.free, b->tcp.memory.free);
	assert_int_equal(a->tcp.memory.level, b->tcp.memory.level);
}

/* All that was said since the last time. */
static void assert_same_words(void)
{
	assert_int_equal(ends[0].heard_count, ends[1].heard_count);
	assert_memory_equal(ends[0].heard, ends[1].heard,
			    ends[0].heard_count * sizeof(ends[0].heard[0]));
	for (int i = 0; i < 2; i++) {
		memset(ends[i].heard, 0, ends[i].heard_count * sizeof(ends[i].heard[0]));
		peer_forget(&ends[i]);
	}
}

static void assert_same(void)
{
	assert_same_words();
	assert_same_counters();
	assert_same_connections(ends[0].c, ends[1].c);
}

/* ---- what both are told ---- */

static const struct apus_tcp *ours(void)
{
	return ends[1].c;
}

static void both_turn(void)
{
	for (int i = 0; i < 2; i++) {
		select_end(i);
		peer_turn(&ends[i]);
	}
}

static void both_wait(int64_t ns)
{
	for (int i = 0; i < 2; i++) {
		select_end(i);
		peer_wait(&ends[i], ns);
	}
}

static void both_put(struct apus_segment seg, uint32_t text_bytes)
{
	for (int i = 0; i < 2; i++) {
		select_end(i);
		peer_put(&ends[i], seg, text_bytes);
	}
}

/* The peer's clock and what it echoes: mostly right. */
static void stamp(struct apus_segment *seg)
{
	if (!ours()->has_ts ? !one_of(40) : one_of(100))
		return;
	seg->has_ts = true;
	seg->ts_val = ends[0].ts_val - (one_of(50) ? below(3) : 0);
	seg->ts_ecr = one_of(50) ? below(1000) : ends[0].ts_ecr;
}

static uint32_t some_ack(void)
{
	uint32_t una = ours()->snd.una, out = ours()->snd.nxt - una;

	if (is_calm && !one_of(8))
		return una + out;
	switch (below(16)) {
	case 0:
		return una - below(3000);
	case 1:
		return una + out + below(3);
	case 2:
	case 3:
	case 4:
		return una + (out ? below(out + 1) : 0);
	case 5:
	case 6:
		return una;
	default:
		return una + out;
	}
}

/* Blocks in what is in flight, or anywhere. */
static void put_blocks(struct apus_segment *seg)
{
	uint32_t out = ours()->snd.nxt - seg->ack;

	seg->sack_count = (uint8_t)(1 + below(2));
	for (uint8_t i = 0; i < seg->sack_count; i++) {
		seg->sack[i].start = seg->ack + (out ? below(out) : below(100));
		seg->sack[i].end = seg->sack[i].start + 1 + below(out ? out : 100);
	}
}

/* @seq: where the peer is; moved by what this one brings in order. */
static void put_segment(uint32_t *seq)
{
	static const uint32_t sizes[] = {0, 0, 1, 64, 64, 536, 1000, 1400};
	uint32_t text_bytes = sizes[below(8)];
	struct apus_segment seg = peer_segment(*seq, some_ack());

	seg.has_ack = !one_of(200);
	seg.psh = one_of(2);
	seg.wnd = (uint16_t)(one_of(20)                ? below(3) * 100
			     : one_of(is_calm ? 8 : 4) ? below(65536)
						       : 500);
	if (one_of(15)) /* again, or ahead */
		seg.seq += below(3000) - 1500;
	stamp(&seg);
	if (one_of(20) && ours()->has_sack)
		put_blocks(&seg);
	if (one_of(60))
		seg.flags ^= (uint8_t)(1U << (below(4) + 4)); /* ACK, URG, ECE, CWR */
	if (seg.urg)
		seg.up = (uint16_t)below(20);
	if (one_of(600))
		seg.fin = true;
	if (one_of(600)) {
		seg.syn = one_of(2);
		seg.rst = !seg.syn;
	}
	if (one_of(40))
		seg.ecn = (uint8_t)below(4);
	both_put(seg, text_bytes);
	if (seg.seq == *seq)
		*seq += text_bytes;
}

/* One bit of the last frame is another one, the same in both; but it is TCP: ICMP is not heard here. */
static void spoil(void)
{
	uint32_t at = below(74), bit = below(8);

	if (at == 23)
		return;
	for (int i = 0; i < 2; i++) {
		struct rte_mbuf *m = ends[i].frames[ends[i].frame_count - 1];

		if (at < m->data_len)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, at) ^= (uint8_t)(1U << bit);
	}
}

/* What a device says of the last frame: that its checksums are right, or that it joined segments. */
static void offload(void)
{
	bool joined = one_of(2);
	uint16_t size = (uint16_t)(one_of(8) ? 0 : 1 + below(1400)); /* 0: it does not say */

	for (int i = 0; i < 2; i++) {
		struct rte_mbuf *m = ends[i].frames[ends[i].frame_count - 1];

		m->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		if (joined) {
			m->ol_flags |= RTE_MBUF_F_RX_LRO;
			m->tso_segsz = size;
		}
	}
}

/* The last frame comes in two pieces, the first of which may end in the options. */
static void split(void)
{
	uint32_t at = 14 + 40 + below(40);

	for (int i = 0; i < 2; i++) {
		struct rte_mbuf *m = ends[i].frames[ends[i].frame_count - 1], *rest;
		uint32_t moved = m->data_len - apus_min((uint32_t)m->data_len, at);

		if (!moved || m->next)
			continue;
		rest = rte_pktmbuf_alloc(pools[i]);
		assert_non_null(rest);
		memcpy(rte_pktmbuf_append(rest, (uint16_t)moved),
		       rte_pktmbuf_mtod_offset(m, const void *, at), moved);
		/* What is behind the piece is somebody else's. */
		memset(rte_pktmbuf_mtod_offset(m, void *, at), 0xa5, moved);
		m->data_len = (uint16_t)at;
		m->next = rest;
		m->nb_segs = 2;
	}
}

static void hear_burst(void)
{
	uint32_t seq = ours()->rcv.nxt, n = one_of(3) ? 1 + below(RUN_MAX) : 1;
	bool is_run = one_of(3); /* of full segments, which are joined */

	for (uint32_t i = 0; i < n; i++) {
		if (is_run) {
			struct apus_segment seg = peer_segment(seq, ours()->snd.una);

			seg.has_ack = true;
			seg.has_ts = ours()->has_ts;
			seg.ts_val = ends[0].ts_val;
			seg.ts_ecr = ends[0].ts_ecr;
			seg.psh = i + 1 == n && one_of(2);
			both_put(seg, 1000);
			seq += 1000;
		} else {
			put_segment(&seq);
		}
		bool is_spoilt = one_of(50);

		if (is_spoilt)
			spoil();
		/* A device may call right what is not. */
		if (one_of(is_spoilt ? 2 : 10))
			offload();
		else if (one_of(20))
			split();
	}
	both_turn();
}

static void user_writes(void)
{
	static uint8_t bytes[8000];
	size_t count = one_of(is_calm ? 8 : 3) ? 1 + below(sizeof(bytes)) : 1 + below(200);
	struct iovec iov = {bytes, count};
	int64_t rc[2];

	test_fill(bytes, chance, count);
	for (int i = 0; i < 2; i++) {
		select_end(i);
		rc[i] = apus_tcp_call_send(ends[i].c, &iov, 1, apus_clock_read(&ends[i].clock));
	}
	assert_int_equal(rc[0], rc[1]);
	if (one_of(8))
		return;
	both_turn();
}

static void user_reads(void)
{
	static uint8_t bytes[2][20000];
	size_t count = 1 + below(sizeof(bytes[0]));
	int64_t rc[2];

	for (int i = 0; i < 2; i++) {
		select_end(i);
		rc[i] = apus_tcp_call_receive(ends[i].c, bytes[i], count);
	}
	assert_int_equal(rc[0], rc[1]);
	if (rc[0] > 0)
		assert_memory_equal(bytes[0], bytes[1], (size_t)rc[0]);
	if (one_of(2))
		both_turn();
}

static void user_sets(void)
{
	bool corked = one_of(4), nodelay = !one_of(4);

	for (int i = 0; i < 2; i++) {
		apus_tcp_settle(ends[i].c); /* as apus_tcp_set() does */
		ends[i].c->is_corked = corked;
		ends[i].c->is_nodelay = nodelay;
		apus_tcp_mark(ends[i].c);
	}
	both_turn();
}

/* What seldom happens, or takes long, has happened. */
static void pretend(void)
{
	uint32_t what = below(3), value = below(3000);

	for (int i = 0; i < 2; i++) {
		struct apus_tcp *c = ends[i].c;

		apus_tcp_settle(c);
		if (what == 0)
			c->snd.acked = UINT32_MAX - value; /* 4 GiB */
		else if (what == 1)
			c->soft_error = -EHOSTUNREACH; /* ICMP said so */
		else
			c->keepalive_sent = (uint8_t)(1 + value % 8);
	}
}

static void time_passes(void)
{
	int64_t ns = (int64_t)below(one_of(10) ? 400 : 5) * APUS_MS + below(1000000);

	if (one_of(500) && ours()->snd.una == ours()->snd.nxt)
		ns += 2 * 3600 * APUS_SEC;

	both_wait(ns);
	ends[0].ts_val += (uint32_t)(ns / APUS_MS);
	ends[1].ts_val = ends[0].ts_val;
}

static void step(void)
{
	switch (below(16)) {
	case 0:
	case 1:
		user_reads();
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		user_writes();
		break;
	case 6:
		if (one_of(20))
			user_sets();
		else if (one_of(10))
			pretend();
		break;
	case 7:
	case 8:
	case 9:
		time_passes();
		break;
	default:
		hear_burst();
	}
}

/* ---- a reader of each, in half of the runs ---- */

struct reader {
	struct peer *p;
	uint64_t sum;
	bool ends;
};

static struct reader readers[2];

static int64_t read_on(void *arg)
{
	struct reader *r = *(struct reader **)arg;
	struct apus_tcp *c = r->p->c;
	uint8_t bytes[3000];

	apus_tcp_hold(c);
	while (!r->ends) {
		int64_t n = apus_tcp_call_receive(c, bytes, sizeof(bytes));

		for (int64_t i = 0; i < n; i++)
			r->sum = r->sum * 31 + bytes[i];
		if (n != -EAGAIN && n <= 0)
			break;
		c->is_reading = true;
		if (n == -EAGAIN && apus_waitq_wait(&c->readers, "test read"))
			break;
		c->is_reading = false;
	}
	c->is_reading = false;
	apus_tcp_unhold(c);
	return 0;
}

static void readers_begin(void)
{
	for (int i = 0; i < 2; i++) {
		struct reader *r = &readers[i];

		*r = (struct reader){.p = &ends[i]};
		select_end(i);
		apus_must(!apus_spawn_detached(NULL, read_on, &r, sizeof(r)));
	}
	both_turn();
}

static void readers_end(void)
{
	for (int i = 0; i < 2; i++) {
		readers[i].ends = true;
		select_end(i);
		apus_waitq_wake_all(&ends[i].c->readers, 0);
	}
	both_turn();
	assert_int_equal(readers[0].sum, readers[1].sum);
}

/* ---- the test ---- */

static void open_ends(uint64_t seed)
{
	static const char *const congestions[] = {"cubic", "reno", "dctcp", "bbr"};
	struct apus_tcp_options tcp = {
		.no_timestamps = seed % 5 == 0,
		.no_gro = seed % 7 == 0,
		.rcv_buffer_bytes = seed % 4 == 0 ? 4000 : 0,
		.congestion = congestions[seed % 3 ? 0 : seed / 3 % 4],
	};

	for (int i = 0; i < 2; i++) {
		struct apus_segment syn_ack;

		tcp.no_fast = i;
		test_pool = pools[i];
		peer_open_at(&ends[i], tcp);
		peer_is_called(&ends[i]);
		syn_ack = peer_syn_ack(&ends[i]);
		ends[i].ts_val = 5000;
		syn_ack.has_ts = seed % 6 != 0;
		syn_ack.ts_val = ends[i].ts_val;
		syn_ack.ts_ecr = ends[i].ts_ecr;
		syn_ack.sack_permitted = seed % 3 != 0;
		syn_ack.wscale = seed % 2 ? 7 : -1;
		syn_ack.ece = seed % 11 == 0;
		peer_send(&ends[i], syn_ack, 0);
	}
}

static void close_ends(void)
{
	for (int i = 0; i < 2; i++) {
		select_end(i);
		peer_close(&ends[i]);
	}
}

static void short_way_and_long_way_are_one(void **state)
{
	uint64_t fast = 0, all = 0, steady = 0;

	pools[0] = test_pool;
	pools[1] = rte_pktmbuf_pool_create("other", TEST_POOL_MBUFS, 0, 0,
					   RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	assert_non_null(pools[1]);
	test_each_seed(seed, APUS_ASAN ? 100 : 1500)
	{
		bool reads = seed % 2;

		chance = seed;
		is_calm = seed % 8 > 5;
		open_ends(seed);
		assert_same();
		if (reads)
			readers_begin();
		for (int i = 0; i < STEPS && ours()->state != APUS_TCP_CLOSED; i++) {
			step();
			assert_same();
			steady += ends[0].c->is_steady;
		}
		fast += peer_counter(&ends[0], APUS_TCP_COUNT_SEGMENTS_FAST);
		all += peer_counter(&ends[0], APUS_TCP_COUNT_SEGMENTS_IN);
		assert_int_equal(peer_counter(&ends[1], APUS_TCP_COUNT_SEGMENTS_FAST), 0);
		if (reads)
			readers_end();
		close_ends();
	}
	assert_int_equal(rte_mempool_in_use_count(pools[1]), 0);
	rte_mempool_free(pools[1]);
	test_pool = pools[0];
	/* Else nothing was compared. */
	if (APUS_TCP_FAST)
		assert_true(fast > all / 4 && (test_seeds.only || steady > STEPS));
	fprintf(stderr, "%llu of %llu segments took the short way; steady after %llu steps\n",
		(unsigned long long)fast, (unsigned long long)all, (unsigned long long)steady);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		test_with_pool(short_way_and_long_way_are_one),
	};

	return test_main_with_pool(argc, argv, tests);
}
