/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_troubles.c: floods, memory that runs out, lies told by ICMP, and more bytes
 * than the sequence space has (TCP.md §5). Memory stays bounded, and who is honest is served.
 */
#include "tests/net/tcp/tcp_peer.h"

static struct peer *established(void)
{
	struct peer *p = peer_open();

	peer_is_called(p);
	peer_answers(p, peer_syn_ack(p));
	return p;
}

/* A stranger, far enough away that his ports do not meet the peer's. */
static void send_from(struct peer *p, uint16_t port, struct apus_segment seg)
{
	seg.local_port = port;
	peer_send(p, seg, 0);
}

/* A handshake with the listener, and five bytes. */
static void assert_serves(struct peer *p, uint16_t port)
{
	struct apus_segment seg = peer_segment(7000, 0);
	uint8_t got[5];
	struct apus_tcp *c;
	uint32_t iss;

	peer_forget(p);
	seg.syn = true;
	send_from(p, port, seg);
	assert_true(p->heard_count == 1 && peer_last(p)->syn && peer_last(p)->has_ack);
	iss = peer_last(p)->seq;
	seg = peer_segment(7001, iss + 1);
	seg.has_ack = true;
	seg.local_port = port;
	peer_send(p, seg, 5);
	c = apus_tcp_listener_take(p->listener);
	assert_non_null(c);
	assert_int_equal(apus_tcp_call_receive(c, got, sizeof(got)), 5);
	apus_tcp_call_abort(c, apus_clock_read(&p->clock));
	peer_turn(p);
	peer_forget(p);
}

/* ---- floods ---- */

static void syn_flood_fills_the_backlog_and_no_more(void **state)
{
	struct peer *p = peer_open();
	struct apus_endpoint any = {.port = SERVER_PORT};
	struct apus_segment syn = peer_segment(1, 0);

	assert_int_equal(apus_tcp_listener_open(&p->stack->tcp, any, 16, &p->listener), 0);
	syn.syn = true;
	for (uint32_t i = 0; i < 20000; i++) {
		syn.seq = i * 77777;
		send_from(p, (uint16_t)(10000 + i), syn);
		peer_forget(p);
		assert_true(apus_tcp_layer_open(&p->stack->tcp) <= 16);
	}
	/* Who never answered is forgotten, and whoever comes then is served. */
	for (int i = 0; i < 120; i++) {
		peer_wait(p, APUS_SEC);
		peer_forget(p);
	}
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	assert_serves(p, PEER_PORT);
	peer_close(p);
}

/* RFC 5961: only a RST at RCV.NXT resets; a million guesses elsewhere do not. */
static void blind_resets_do_not_reset(void **state)
{
	struct peer *p = established();
	struct apus_segment rst = peer_segment(0, 0);
	uint64_t random = 5;
	uint8_t byte;

	rst.rst = true;
	for (int i = 0; i < 20000; i++) {
		rst.seq = (uint32_t)test_random(&random);
		if (rst.seq == p->irs + 1)
			continue;
		peer_send(p, rst, 0);
		peer_forget(p);
	}
	assert_int_equal(apus_tcp_call_receive(p->c, &byte, 1), -EAGAIN);
	peer_close(p);
}

/* ACKs and SYN,ACKs that nobody asked for leave nothing behind but a RST each. */
static void unasked_acks_make_no_state(void **state)
{
	struct peer *p = peer_open();
	struct apus_segment ack = peer_segment(1, 0);

	peer_listen(p);
	ack.has_ack = true;
	for (uint32_t i = 0; i < 5000; i++) {
		ack.ack = i * 99991;
		ack.syn = i % 2;
		send_from(p, (uint16_t)(10000 + i), ack);
		assert_true(p->heard_count <= 1);
		if (p->heard_count)
			assert_true(peer_last(p)->rst && peer_last(p)->seq == ack.ack);
		peer_forget(p);
		assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	}
	assert_serves(p, PEER_PORT);
	peer_close(p);
}

/* ---- memory ---- */

/* Open both ways, text in and out of order, close; whatever of it there is memory for. */
static void live_a_little(struct peer *p)
{
	int64_t now_ns = apus_clock_read(&p->clock);
	struct apus_endpoint to = {apus_addr_v4(htonl(0x0a000002)), PEER_PORT + 1};
	struct apus_tcp *c = NULL, *accepted;
	struct apus_segment seg = peer_segment(1000, 0);

	peer_forget(p);
	if (apus_tcp_call_open(&p->stack->tcp, to, now_ns, &c) == 0) {
		peer_turn(p);
		apus_tcp_call_abort(c, now_ns);
	}
	peer_turn(p);
	peer_forget(p);

	seg.syn = true;
	peer_send(p, seg, 0);
	if (!p->heard_count)
		return;
	seg = peer_segment(1001, peer_last(p)->seq + 1);
	seg.has_ack = true;
	peer_send(p, seg, 10);
	seg.seq += 100;
	peer_send(p, seg, 200);
	seg.seq += 500;
	peer_send(p, seg, 1);
	accepted = apus_tcp_listener_take(p->listener);
	if (!accepted)
		return;
	apus_tcp_call_close(accepted, now_ns); /* unread text: reset */
	peer_turn(p);
}

/* TCP.md §5: "ENOMEM at each allocation". */
static void no_memory_at_any_allocation_is_survived(void **state)
{
	int failures = 0;

	for (int64_t n = 0; n < 40; n++) {
		struct peer *p = peer_open();
		struct apus_heap *heap = apus_shard_heap(p->shard);
		uint64_t no_memory = peer_counter(p, APUS_TCP_COUNT_NO_MEMORY);

		peer_listen(p);
		apus_heap_fail_after(heap, n);
		live_a_little(p);
		apus_heap_fail_after(heap, -1);
		failures += peer_counter(p, APUS_TCP_COUNT_NO_MEMORY) > no_memory;
		for (int i = 0; i < 130; i++) { /* what was left half open gives up */
			peer_wait(p, APUS_SEC);
			peer_forget(p);
		}
		assert_serves(p, PEER_PORT + 2);
		peer_close(p);
	}
	assert_true(failures > 0); /* the first ones at least must have hurt */
}

/* ---- ICMP (RFC 5927; RFC 9293 §3.9.2.2) ---- */

static uint32_t largest_after_icmp(uint16_t mtu, int32_t seq_offset)
{
	static const uint8_t zeros[40000];
	struct peer *p = established();
	uint32_t una = p->iss + 1, largest = 0;

	peer_write(p, zeros, 5000);
	peer_unreachable(p, 4, una + (uint32_t)seq_offset, mtu);
	peer_send_ack(p, p->irs + 1, una + 5000);
	peer_forget(p);
	peer_write(p, zeros, sizeof(zeros));
	assert_true(p->heard_count > 0);
	for (uint32_t i = 0; i < p->heard_count; i++)
		largest = apus_max(largest, p->heard[i].seg.text_bytes);
	peer_close(p);
	return largest;
}

static void too_big_lowers_the_segment_size_within_bounds(void **state)
{
	assert_int_equal(largest_after_icmp(1400, 0), 1360);
	assert_int_equal(largest_after_icmp(1400, 4999), 1360);
	assert_int_equal(largest_after_icmp(576, 0), 536);
	assert_true(largest_after_icmp(68, 0) >= 536);
	assert_true(largest_after_icmp(0, 0) >= 536);
	assert_int_equal(largest_after_icmp(1500, 0), 1460);
	assert_int_equal(largest_after_icmp(9000, 0), 1460);
	assert_int_equal(largest_after_icmp(65535, 0), 1460);
}

/* RFC 5927: the number must be of what is in flight. */
static void too_big_about_nothing_in_flight_is_ignored(void **state)
{
	assert_int_equal(largest_after_icmp(1400, -1), 1460);
	assert_int_equal(largest_after_icmp(1400, 5001), 1460);
	assert_int_equal(largest_after_icmp(1400, INT32_MIN), 1460);
}

/* RFC 9293 §3.9.2.2 (SHLD-26): hard errors abort; RFC 5927: but no synchronised connection. */
static void unreachable_ends_syn_sent_and_nothing_later(void **state)
{
	static const uint8_t codes[] = {2, 3};

	for (size_t i = 0; i < apus_countof(codes); i++) {
		struct peer *p = peer_open();
		uint8_t byte;

		peer_is_called(p);
		peer_unreachable(p, codes[i], p->iss, 0);
		assert_true(apus_tcp_call_receive(p->c, &byte, 1) < 0);
		assert_int_equal(p->c->state, APUS_TCP_CLOSED);
		peer_close(p);

		p = established();
		peer_write(p, "x", 1);
		peer_unreachable(p, codes[i], p->iss + 1, 0);
		assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
		assert_int_equal(apus_tcp_call_receive(p->c, &byte, 1), -EAGAIN);
		peer_close(p);
	}
}

/* RFC 9293 §3.9.2.2 (MUST-56) */
static void soft_errors_abort_nothing(void **state)
{
	static const uint8_t codes[] = {0, 1, 5};

	for (size_t i = 0; i < apus_countof(codes); i++) {
		struct peer *p = peer_open();

		peer_is_called(p);
		peer_unreachable(p, codes[i], p->iss, 0);
		assert_int_equal(p->c->state, APUS_TCP_SYN_SENT);
		peer_answers(p, peer_syn_ack(p));
		peer_write(p, "x", 1);
		peer_unreachable(p, codes[i], p->iss + 1, 0);
		assert_int_equal(p->c->state, APUS_TCP_ESTABLISHED);
		peer_close(p);
	}
}

static void unreachable_with_a_wrong_number_is_ignored(void **state)
{
	struct peer *p = peer_open();

	peer_is_called(p);
	peer_unreachable(p, 3, p->iss + 1000, 0);
	peer_unreachable(p, 3, p->iss - 1, 0);
	assert_int_equal(p->c->state, APUS_TCP_SYN_SENT);
	peer_close(p);
}

/* ---- more than 4 GiB ---- */

#define GIANT_BYTES 60000 /* of text in a packet: LRO makes such */

/* In a chain of mbufs, as a device that coalesces gives them; it has verified the checksum too. */
static void send_giant(struct peer *p, uint32_t seq)
{
	static uint8_t packet[14 + 40 + GIANT_BYTES];
	uint32_t seq_be = htonl(seq), ack_be = htonl(p->iss + 1);
	struct rte_ether_hdr eth = {.dst_addr = p->link.mac,
				    .src_addr = peer_mac,
				    .ether_type = htons(RTE_ETHER_TYPE_IPV4)};
	struct rte_mbuf *m;

	if (!packet[0]) {
		memcpy(packet, &eth, sizeof(eth));
		packet[14 + 20] = PEER_PORT >> 8;
		packet[14 + 21] = PEER_PORT & 0xff;
		packet[14 + 32] = 0x50;
		packet[14 + 33] = 0x10;
		packet[14 + 34] = packet[14 + 35] = 0xff;
		test_packet_finish(packet + 14, sizeof(packet) - 14);
	}
	packet[14 + 22] = (uint8_t)(p->port >> 8);
	packet[14 + 23] = (uint8_t)p->port;
	memcpy(packet + 14 + 24, &seq_be, 4);
	memcpy(packet + 14 + 28, &ack_be, 4);
	memcpy(packet + 14 + 40, &seq_be, 4); /* the text begins with its number */
	m = test_mbuf(packet, sizeof(packet), 2000);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	p->frames[p->frame_count++] = m;
	peer_turn(p);
}

static void more_bytes_than_the_sequence_space_arrive(void **state)
{
	const uint64_t total = (UINT64_C(4) << 30) + 200 * 1000 * 1000;
	static uint8_t got[GIANT_BYTES];
	struct peer *p = established();
	uint32_t seq = p->irs + 1, seq_be;

	for (uint64_t bytes = 0; bytes < total; bytes += GIANT_BYTES) {
		send_giant(p, seq);
		assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), GIANT_BYTES);
		memcpy(&seq_be, got, 4);
		assert_int_equal(ntohl(seq_be), seq);
		seq += GIANT_BYTES;
		peer_turn(p);
		peer_forget(p);
	}
	peer_wait(p, 50 * APUS_MS);
	assert_int_equal(p->c->rcv.nxt, seq);
	peer_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(syn_flood_fills_the_backlog_and_no_more),
		test_with_pool(blind_resets_do_not_reset),
		test_with_pool(unasked_acks_make_no_state),
		test_with_pool(no_memory_at_any_allocation_is_survived),
		test_with_pool(too_big_lowers_the_segment_size_within_bounds),
		test_with_pool(too_big_about_nothing_in_flight_is_ignored),
		test_with_pool(unreachable_ends_syn_sent_and_nothing_later),
		test_with_pool(soft_errors_abort_nothing),
		test_with_pool(unreachable_with_a_wrong_number_is_ignored),
		test_with_pool(more_bytes_than_the_sequence_space_arrive),
	};

	return test_main_with_pool(argc, argv, tests);
}
