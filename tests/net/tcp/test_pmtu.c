/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_pmtu.c: path MTU discovery, with routers that speak (RFC 1191, RFC 5927) and
 * with routers that do not (RFC 4821 §7.7), segment by segment.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/ip/icmp.h"

#define MSS     1460
#define MINUTES (60 * APUS_SEC)

static struct peer *p;
static uint32_t seq, una;
static uint8_t bytes[100000];

static int setup(void **state)
{
	p = peer_open();
	peer_listen(p);
	return 0;
}

static int teardown(void **state)
{
	apus_pmtu_check(&p->stack->ipv4.pmtu);
	peer_close(p);
	return test_pool_is_full(state);
}

/* A connection that the peer opens; the one before it is over. */
static void open_with(struct apus_segment syn)
{
	if (p->c)
		apus_tcp_call_abort(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_introduce(p); /* minutes may have passed */
	peer_forget(p);
	p->irs += 100000;
	syn.seq = p->irs;
	syn.syn = true;
	syn.mss = 1460;
	peer_send(p, syn, 0);
	assert_true(peer_last(p)->syn);
	assert_int_equal(peer_last(p)->mss, 1460); /* the path is no concern of what we receive */
	seq = p->irs + 1;
	una = peer_last(p)->seq + 1;

	struct apus_segment ack = peer_segment(seq, una);

	ack.has_ack = true;
	ack.has_ts = syn.has_ts;
	ack.ts_val = syn.ts_val;
	ack.ts_ecr = peer_last(p)->ts_val;
	peer_send(p, ack, 0);
	p->c = apus_tcp_listener_take(p->listener);
	assert_non_null(p->c);
	peer_forget(p);
}

static void open_plain(void)
{
	open_with(peer_segment(0, 0));
}

static void too_big_about(uint16_t mtu, uint32_t about)
{
	peer_unreachable(p, APUS_ICMP_UNREACHABLE_TOO_BIG, about, mtu);
}

static void too_big(uint16_t mtu)
{
	too_big_about(mtu, una);
}

static uint64_t count(enum apus_tcp_counter counter)
{
	return peer_counter(p, counter);
}

static uint32_t largest_heard(void)
{
	uint32_t largest = 0;

	for (uint32_t i = 0; i < p->heard_count; i++)
		largest = apus_max(largest, p->heard[i].seg.text_bytes);
	return largest;
}

/* All that was written is acknowledged. */
static void ack_all(void)
{
	while (una != apus_tcp_text_end(p->c)) {
		una = p->c->snd.nxt;
		peer_send_ack(p, seq, una);
	}
	peer_forget(p);
}

/* The largest segment of a long write. */
static uint32_t largest_of_a_write(void)
{
	peer_forget(p);
	peer_write(p, bytes, 20 * MSS);

	uint32_t largest = largest_heard();

	ack_all();
	return largest;
}

/* ---- routers that speak ---- */

static void too_big_is_obeyed_at_once_and_costs_no_window(void **state)
{
	uint32_t cwnd;

	open_plain();
	peer_write(p, bytes, 4 * MSS);
	assert_int_equal(largest_heard(), MSS);
	cwnd = p->c->cc.cwnd_bytes;
	peer_forget(p);
	too_big(1000);
	/* Within the turn, from the first byte on, all of it. */
	assert_int_equal(p->heard[0].seg.seq, una);
	assert_int_equal(p->heard_count, 4 * 2); /* each in two */
	assert_int_equal(largest_heard(), 960);
	assert_true(p->c->cc.cwnd_bytes >= cwnd);
	assert_int_equal(count(APUS_TCP_COUNT_MSS_LOWERED), 1);
	ack_all();
	assert_int_equal(largest_of_a_write(), 960);
}

static void options_count_against_the_path_too(void **state)
{
	struct apus_segment syn = peer_segment(0, 0);

	syn.has_ts = true;
	syn.ts_val = 1;
	open_with(syn);
	peer_write(p, bytes, 2 * MSS);
	peer_forget(p);
	too_big(1000);
	assert_int_equal(largest_heard(), 1000 - 40 - 12);
}

static void next_connection_to_that_peer_starts_small(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big(1000);
	open_plain();
	assert_int_equal(largest_of_a_write(), 960);
}

static void path_to_another_is_not_concerned(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big(1000);
	assert_int_equal(apus_ipv4_path_mtu(&p->stack->ipv4, apus_addr_v4(htonl(0x0a000003)),
					    apus_clock_read(&p->clock)),
			 1500);
}

/* RFC 1191 §6.3 */
static void after_ten_minutes_the_whole_size_is_tried_again(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big(1000);
	ack_all();
	peer_wait(p, 9 * MINUTES);
	peer_introduce(p);
	assert_int_equal(largest_of_a_write(), 960);
	peer_wait(p, 1 * MINUTES);
	peer_introduce(p);
	assert_int_equal(largest_of_a_write(), MSS);
	assert_int_equal(count(APUS_TCP_COUNT_MSS_RAISED), 1);
	open_plain();
	assert_int_equal(largest_of_a_write(), MSS);
}

static void what_cannot_be_true_is_ignored_by_name(void **state)
{
	static const struct {
		uint16_t mtu;
		enum apus_tcp_counter name;
	} cases[] = {
		{0, APUS_TCP_COUNT_ICMP_MTU_ZERO},
		{1, APUS_TCP_COUNT_ICMP_MTU_IMPOSSIBLE},
		{67, APUS_TCP_COUNT_ICMP_MTU_IMPOSSIBLE},
		{1500, APUS_TCP_COUNT_ICMP_MTU_NOT_LESS},
		{9000, APUS_TCP_COUNT_ICMP_MTU_NOT_LESS},
		{UINT16_MAX, APUS_TCP_COUNT_ICMP_MTU_NOT_LESS},
	};

	open_plain();
	peer_write(p, bytes, MSS);
	peer_forget(p);
	for (size_t i = 0; i < apus_countof(cases); i++) {
		uint64_t before = count(cases[i].name);

		too_big(cases[i].mtu);
		assert_int_equal(count(cases[i].name), before + 1);
	}
	assert_int_equal(p->heard_count, 0);
	assert_int_equal(count(APUS_TCP_COUNT_MSS_LOWERED), 0);
	assert_null(p->stack->ipv4.pmtu.entries);
	ack_all();
	assert_int_equal(largest_of_a_write(), MSS);
}

/* TCP.md §2: below 536 only by configuration. */
static void little_is_taken_for_576_and_said(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big(68);
	assert_int_equal(count(APUS_TCP_COUNT_ICMP_MTU_BELOW_LEAST), 1);
	ack_all();
	assert_int_equal(largest_of_a_write(), 536);
}

/* RFC 5927 §4.1: SND.UNA =< SEQ < SND.NXT. */
static void forged_numbers_are_ignored(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big_about(1000, una - 1);
	too_big_about(1000, una + MSS);
	too_big_about(1000, una + (1U << 31));
	assert_int_equal(count(APUS_TCP_COUNT_ICMP_IGNORED), 3);
	assert_int_equal(p->c->cc.mss, MSS);
	ack_all();
	too_big_about(1000, una); /* nothing is in flight */
	assert_int_equal(count(APUS_TCP_COUNT_ICMP_IGNORED), 4);
	assert_int_equal(p->c->cc.mss, MSS);
}

/* A flood of credible ones, lower each time: bounded work, and the text arrives. */
static void each_lower_one_is_obeyed_and_no_other(void **state)
{
	open_plain();
	peer_write(p, bytes, 2 * MSS);
	for (uint16_t mtu = 1499; mtu > 600; mtu--) {
		peer_forget(p);
		too_big(mtu);
		assert_int_equal(p->c->cc.mss, mtu - 40);
		too_big((uint16_t)(mtu + 1)); /* stale */
		assert_int_equal(p->c->cc.mss, mtu - 40);
		assert_in_range(p->heard_count, 1, 8);
	}
	ack_all();
	assert_int_equal(p->stack->ipv4.pmtu.used, 1);
}

/* ---- routers that do not ---- */

/* What the next timeout sends. */
static const struct apus_segment *after_timeout(void)
{
	peer_forget(p);
	for (int i = 0; i < 1000 && !p->heard_count; i++)
		peer_wait(p, 100 * APUS_MS);
	assert_true(p->heard_count > 0);
	return &p->heard[0].seg;
}

/* The second largest: one may be a probe. */
static uint32_t ordinary_of_a_write(void)
{
	uint32_t largest = 0, second = 0;

	peer_forget(p);
	peer_write(p, bytes, 20 * MSS);
	for (uint32_t i = 0; i < p->heard_count; i++) {
		uint32_t text_bytes = p->heard[i].seg.text_bytes;

		second = apus_max(second, apus_min(text_bytes, largest));
		largest = apus_max(largest, text_bytes);
	}
	ack_all();
	return second;
}

static void third_timeout_lowers_to_1024_and_the_fourth_to_536(void **state)
{
	open_plain();
	peer_write(p, bytes, 3 * MSS);
	for (int i = 0; i < 2; i++)
		assert_int_equal(after_timeout()->text_bytes, MSS);
	assert_int_equal(after_timeout()->text_bytes, 1024);
	for (int i = 0; i < 3; i++) /* and no further */
		assert_int_equal(after_timeout()->text_bytes, 536);
	assert_int_equal(count(APUS_TCP_COUNT_MTU_BLACK_HOLES), 2);
	ack_all();
	assert_int_equal(ordinary_of_a_write(), 536);
}

static void answer_to_a_smaller_segment_is_remembered_for_the_path(void **state)
{
	open_plain();
	peer_write(p, bytes, 3 * MSS);
	for (int i = 0; i < 3; i++)
		after_timeout();
	peer_send_ack(p, seq, una + 1024); /* it got through */
	una += 1024;
	ack_all();
	assert_int_equal(ordinary_of_a_write(), 1024);
	open_plain();
	assert_in_range(ordinary_of_a_write(), 1024, MSS - 1);
	peer_wait(p, 11 * MINUTES);
	open_plain();
	assert_int_equal(largest_of_a_write(), MSS);
}

static void peer_that_is_dead_teaches_nothing_about_the_path(void **state)
{
	open_plain();
	peer_write(p, bytes, 3 * MSS);
	for (int i = 0; i < 6; i++)
		after_timeout();
	assert_int_equal(p->stack->ipv4.pmtu.used, 0);
	open_plain();
	assert_int_equal(largest_of_a_write(), MSS);
}

static void small_segments_that_are_lost_are_not_made_smaller(void **state)
{
	open_plain();
	peer_write(p, bytes, 1000);
	for (int i = 0; i < 6; i++)
		assert_int_equal(after_timeout()->text_bytes, 1000);
	assert_int_equal(count(APUS_TCP_COUNT_MTU_BLACK_HOLES), 0);
	una += 1000;
	peer_send_ack(p, seq, una);
	assert_int_equal(largest_of_a_write(), MSS);
}

static void by_option_timeouts_lower_nothing(void **state)
{
	p->stack->tcp.options.no_mtu_probing = true;
	open_plain();
	peer_write(p, bytes, 3 * MSS);
	for (int i = 0; i < 6; i++)
		assert_int_equal(after_timeout()->text_bytes, MSS);
}

/* ---- the search upwards (RFC 4821) ---- */

/* A connection with SACK that has fallen to 1024 bytes, with all of it acknowledged. */
static void open_in_a_hole(void)
{
	struct apus_segment syn = peer_segment(0, 0);

	syn.sack_permitted = true;
	open_with(syn);
	peer_write(p, bytes, 3 * MSS);
	for (int i = 0; i < 5 && p->c->cc.mss > 1024; i++) /* a tail loss probe is the first */
		after_timeout();
	assert_int_equal(p->c->cc.mss, 1024);
	una += 1024;
	peer_send_ack(p, seq, una);
	while (p->c->sndq.bytes) { /* no more text, no probe */
		una = p->c->snd.nxt;
		peer_send_ack(p, seq, una);
		peer_wait(p, 50 * APUS_MS);
	}
	peer_forget(p);
}

/* Of what was heard; NULL: none is larger than @ordinary. */
static const struct apus_segment *probe_among(uint32_t ordinary)
{
	const struct apus_segment *probe = NULL;

	for (uint32_t i = 0; i < p->heard_count; i++) {
		if (p->heard[i].seg.text_bytes <= ordinary)
			continue;
		assert_null(probe); /* one at a time */
		probe = &p->heard[i].seg;
	}
	return probe;
}

static uint32_t probe_of_a_write(void)
{
	const struct apus_segment *probe;

	peer_forget(p);
	peer_write(p, bytes, 12 * 1024);
	probe = probe_among(p->c->cc.mss);
	return probe ? probe->text_bytes : 0;
}

/* Everything but the probe comes, and then the probe's text in smaller pieces. */
static void lose_probe(void)
{
	const struct apus_segment *probe = probe_among(p->c->cc.mss);
	struct apus_segment ack = peer_segment(seq, probe->seq);

	una = probe->seq;
	ack.has_ack = true;
	ack.sack_count = 1;
	ack.sack[0] = (struct apus_segment_sack){.start = probe->seq + probe->text_bytes,
						 .end = p->c->snd.nxt};
	peer_forget(p);
	peer_send(p, ack, 0);
	peer_wait(p, 50 * APUS_MS); /* the reordering window */
}

/* 1064 to 1499 is in question; whatever passes does, and in a few steps all of it is found. */
static void probes_that_arrive_lead_back_to_the_whole_size(void **state)
{
	uint32_t last = 1024, steps = 0, probe;

	open_in_a_hole();
	while ((probe = probe_of_a_write())) {
		assert_true(probe > last);
		assert_true(p->c->cc.mss < probe); /* not before it is heard of */
		last = probe;
		ack_all();
		steps++;
	}
	ack_all();
	assert_in_range(steps, 4, 9);
	assert_in_range(last, MSS - 10, MSS);
	assert_int_equal(p->c->cc.mss, last);
	assert_in_range(count(APUS_TCP_COUNT_MTU_PROBES), steps, 9);
	assert_int_equal(count(APUS_TCP_COUNT_MTU_PROBES_PASSED), count(APUS_TCP_COUNT_MTU_PROBES));
}

/* It goes again at once in segments that pass, and cwnd is none the smaller. */
static void probe_that_is_lost_alone_is_no_congestion(void **state)
{
	uint32_t cwnd, probe;

	open_in_a_hole();
	probe = probe_of_a_write();
	assert_int_equal(probe, (1064 + 1499 + 1) / 2 - 40);
	cwnd = p->c->cc.cwnd_bytes;
	lose_probe();
	assert_int_equal(count(APUS_TCP_COUNT_MTU_PROBES_LOST), 1);
	assert_true(p->heard_count >= 2);
	assert_int_equal(p->heard[0].seg.seq, una);
	assert_int_equal(p->heard[0].seg.text_bytes, 1024);
	assert_int_equal(p->heard[1].seg.text_bytes, probe - 1024);
	assert_true(p->c->cc.cwnd_bytes >= cwnd);
	assert_int_equal(count(APUS_TCP_COUNT_FAST_RETRANSMITS), 0);
	ack_all();
	assert_int_equal(p->c->cc.mss, 1024);
	/* And the next one is smaller. */
	assert_in_range(probe_of_a_write(), 1025, probe - 1);
}

/* A path that takes 1200: the search closes in on it, from both sides, and ends. */
static void search_ends_near_what_the_path_takes(void **state)
{
	uint32_t steps = 0, probe;

	open_in_a_hole();
	while ((probe = probe_of_a_write()) && ++steps < 20) {
		if (probe + 40 > 1200)
			lose_probe();
		ack_all();
	}
	ack_all();
	assert_in_range(steps, 5, 9);
	assert_in_range(p->c->cc.mss, 1160 - APUS_PMTU_NEAR, 1160);
	assert_int_equal(probe_of_a_write(), 0);
	ack_all();
	assert_int_equal(count(APUS_TCP_COUNT_MTU_BLACK_HOLES), 1);
}

/* It was lost among others. Of its size that says nothing, of the path's load it does. */
static void probe_that_is_lost_with_others_is_congestion_and_no_news(void **state)
{
	const struct apus_segment *probe;
	struct apus_segment ack;
	uint32_t size;

	open_in_a_hole();
	size = probe_of_a_write();
	assert_true(size > 1024);
	probe = probe_among(1024);
	una = probe->seq;
	ack = peer_segment(seq, una);
	ack.has_ack = true;
	ack.sack_count = 1; /* the probe and the one behind it are missing */
	ack.sack[0] =
		(struct apus_segment_sack){.start = probe->seq + size + 1024, .end = p->c->snd.nxt};
	peer_send(p, ack, 0);
	peer_wait(p, 50 * APUS_MS);
	assert_int_equal(count(APUS_TCP_COUNT_FAST_RETRANSMITS), 1);
	assert_int_equal(count(APUS_TCP_COUNT_MTU_PROBES_LOST), 0);
	ack_all();
	assert_int_equal(count(APUS_TCP_COUNT_MTU_PROBES_PASSED), 0);
	assert_int_equal(p->c->cc.mss, 1024);
}

/* What a router said is known; there is nothing to search for. */
static void after_a_routers_word_nothing_is_probed(void **state)
{
	open_plain();
	peer_write(p, bytes, MSS);
	too_big(1000);
	ack_all();
	for (int i = 0; i < 5; i++) {
		assert_int_equal(probe_of_a_write(), 0);
		ack_all();
	}
	assert_int_equal(count(APUS_TCP_COUNT_MTU_PROBES), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(too_big_is_obeyed_at_once_and_costs_no_window),
		TEST(options_count_against_the_path_too),
		TEST(next_connection_to_that_peer_starts_small),
		TEST(path_to_another_is_not_concerned),
		TEST(after_ten_minutes_the_whole_size_is_tried_again),
		TEST(what_cannot_be_true_is_ignored_by_name),
		TEST(little_is_taken_for_576_and_said),
		TEST(forged_numbers_are_ignored),
		TEST(each_lower_one_is_obeyed_and_no_other),
		TEST(third_timeout_lowers_to_1024_and_the_fourth_to_536),
		TEST(answer_to_a_smaller_segment_is_remembered_for_the_path),
		TEST(peer_that_is_dead_teaches_nothing_about_the_path),
		TEST(small_segments_that_are_lost_are_not_made_smaller),
		TEST(by_option_timeouts_lower_nothing),
		TEST(probes_that_arrive_lead_back_to_the_whole_size),
		TEST(probe_that_is_lost_alone_is_no_congestion),
		TEST(search_ends_near_what_the_path_takes),
		TEST(probe_that_is_lost_with_others_is_congestion_and_no_news),
		TEST(after_a_routers_word_nothing_is_probed),
	};
#undef TEST

	return test_main_with_pool(argc, argv, tests);
}
