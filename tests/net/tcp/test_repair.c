/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_repair.c: how long losses take to repair on a connection with SACK, in virtual
 * time: in round trips where a timeout would take 200 ms and more; and what a timeout that was none
 * costs: nothing.
 */
#include "tests/net/tcp/tcp_peer.h"

#define MSS    1460U
#define RTT_NS (20 * APUS_MS)

static struct peer *p;
static uint8_t bytes[40 * MSS];
static uint32_t una, seq;

/* Our connection to a peer that knows SACK, one round trip old. */
static int setup(void **state)
{
	struct apus_segment syn_ack;

	test_pool_count(state);
	p = peer_open();
	peer_is_called(p);
	peer_wait(p, RTT_NS);
	syn_ack = peer_syn_ack(p);
	syn_ack.sack_permitted = true;
	syn_ack.wscale = 8;
	peer_answers(p, syn_ack);
	una = p->iss + 1;
	seq = p->irs + 1;
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static uint64_t count(enum apus_tcp_counter counter)
{
	return peer_counter(p, counter);
}

/* The peer holds all before `segment`, and those in the blocks. */
static void ack(uint32_t segment, const struct apus_segment_sack *blocks, uint8_t n)
{
	struct apus_segment seg = peer_segment(seq, una + segment * MSS);

	seg.has_ack = true;
	seg.wnd = 1024;
	for (uint8_t i = 0; i < n; i++)
		seg.sack[i] = (struct apus_segment_sack){una + blocks[i].start * MSS,
							 una + blocks[i].end * MSS};
	seg.sack_count = n;
	peer_send(p, seg, 0);
}

static uint32_t heard_segment(uint32_t i)
{
	return (p->heard[i].seg.seq - una) / MSS;
}

/* RFC 8985 §7: a tail loss is found by a probe, two round trips later. */
static void lost_tail_is_repaired_in_round_trips(void **state)
{
	static const struct apus_segment_sack last = {9, 10};
	int64_t sent_ns = apus_clock_read(&p->clock);

	peer_write(p, bytes, 10 * MSS);
	peer_wait(p, RTT_NS);
	peer_forget(p);
	ack(8, NULL, 0); /* the last two are lost */
	peer_wait(p, 2 * RTT_NS + 3 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(heard_segment(0), 9);
	peer_wait(p, RTT_NS);
	ack(8, &last, 1);
	assert_int_equal(p->heard_count, 2);
	assert_int_equal(heard_segment(1), 8);
	assert_in_range(apus_clock_read(&p->clock) - sent_ns, 0, 4 * RTT_NS + 4 * APUS_MS);
	peer_wait(p, RTT_NS);
	ack(10, NULL, 0);
	assert_int_equal(count(APUS_TCP_COUNT_RTO), 0);
	assert_int_equal(count(APUS_TCP_COUNT_TAIL_PROBES), 1);
}

/* RFC 6675 §5, RFC 6937: each hole is sent again, once, by the ACK that shows it. */
static void holes_of_one_window_are_filled_in_one_round_trip(void **state)
{
	static const struct apus_segment_sack blocks[] = {{7, 10}, {4, 6}, {1, 3}};

	peer_write(p, bytes, 10 * MSS);
	peer_wait(p, RTT_NS);
	peer_forget(p);
	ack(0, blocks, 3);
	assert_int_equal(p->heard_count, 3);
	assert_int_equal(heard_segment(0), 0);
	assert_int_equal(heard_segment(1), 3);
	assert_int_equal(heard_segment(2), 6);
	peer_wait(p, RTT_NS);
	ack(10, NULL, 0);
	assert_int_equal(p->c->recovery->state, APUS_RECOVERY_OPEN);
	assert_int_equal(count(APUS_TCP_COUNT_FAST_RETRANSMITS), 1);
	assert_int_equal(count(APUS_TCP_COUNT_RETRANSMITS), 3);
	assert_int_equal(count(APUS_TCP_COUNT_RTO), 0);
}

/* RFC 5682: everything was only late; the window is what it was, and nothing more goes twice. */
static void spurious_timeout_is_undone(void **state)
{
	uint32_t cwnd = p->c->cc.cwnd_bytes;
	uint64_t again;

	peer_write(p, bytes, 20 * MSS);
	peer_wait(p, 600 * APUS_MS);
	assert_true(count(APUS_TCP_COUNT_RTO) >= 1);
	again = count(APUS_TCP_COUNT_RETRANSMITS);
	ack(1, NULL, 0);
	ack(3, NULL, 0);
	assert_int_equal(count(APUS_TCP_COUNT_TIMEOUT_UNDOS), 1);
	for (uint32_t i = 4; i <= 10; i++)
		ack(i, NULL, 0);
	assert_true(p->c->cc.cwnd_bytes >= cwnd);
	assert_int_equal(count(APUS_TCP_COUNT_RETRANSMITS), again);
}

/* RFC 8985 §6.2 step 4: what arrives late by less than a quarter of a round trip is not sent twice. */
static void reordered_path_costs_no_retransmission(void **state)
{
	static const struct apus_segment_sack first = {1, 2};

	peer_write(p, bytes, 5 * MSS);
	peer_wait(p, RTT_NS);
	ack(0, &first, 1);
	peer_wait(p, RTT_NS / 8);
	ack(2, NULL, 0); /* it was only late */
	ack(5, NULL, 0);
	assert_int_equal(count(APUS_TCP_COUNT_REORDERINGS), 1);
	for (uint32_t at = 5; at < 30; at += 5) {
		struct apus_segment_sack late[2] = {{at + 1, at + 4}, {at + 1, at + 5}};

		peer_write(p, bytes, 5 * MSS);
		peer_wait(p, RTT_NS);
		ack(at, &late[0], 1); /* three are SACKed, and now nothing is hurried */
		ack(at, &late[1], 1);
		peer_wait(p, RTT_NS / 8);
		ack(at + 5, NULL, 0);
		peer_forget(p);
	}
	assert_int_equal(count(APUS_TCP_COUNT_RETRANSMITS), 0);
	assert_int_equal(count(APUS_TCP_COUNT_FAST_RETRANSMITS), 0);
}

int main(int argc, char **argv)
{
#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		t(lost_tail_is_repaired_in_round_trips),
		t(holes_of_one_window_are_filled_in_one_round_trip),
		t(spurious_timeout_is_undone),
		t(reordered_path_costs_no_retransmission),
	};

	return test_main_with_pool(argc, argv, tests);
}
