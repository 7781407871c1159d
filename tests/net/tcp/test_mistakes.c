/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_mistakes.c: the mistakes that other stacks are known for (TCP.md §4) and the
 * bad inputs that they fell over (§5), as far as TCP's headers, flags, options, windows and
 * numbers go. In every case: no crash, no leak, memory bounded, and the connection goes on.
 */
#include "tests/net/tcp/tcp_peer.h"

#define MSS 1460

/* ---- fixture ---- */

static struct peer *called(void)
{
	struct peer *p = peer_open();

	peer_is_called(p);
	return p;
}

/* Established; the stack opened it. */
static struct peer *established(void)
{
	struct peer *p = called();

	peer_answers(p, peer_syn_ack(p));
	return p;
}

static uint32_t rcv_nxt(const struct peer *p)
{
	return p->irs + 1;
}

static uint32_t una(const struct peer *p)
{
	return p->iss + 1;
}

static void write_zeros(struct peer *p, uint32_t count)
{
	static uint8_t zeros[256 * 1024];

	apus_must(count <= sizeof(zeros));
	peer_write(p, zeros, count);
}

static void peer_send_window(struct peer *p, uint32_t ack, uint16_t wnd)
{
	struct apus_segment seg = peer_segment(rcv_nxt(p), ack);

	seg.has_ack = true;
	seg.wnd = wnd;
	peer_send(p, seg, 0);
}

/* Text heard and not yet forgotten: how much, and the largest in one segment. */
static uint32_t heard_text(const struct peer *p, uint32_t *largest)
{
	uint32_t bytes = 0;

	*largest = 0;
	for (uint32_t i = 0; i < p->heard_count; i++) {
		bytes += p->heard[i].seg.text_bytes;
		*largest = apus_max(*largest, p->heard[i].seg.text_bytes);
	}
	return bytes;
}

/* The connection still carries text both ways. */
static void assert_goes_on(struct peer *p, uint32_t peer_nxt, uint32_t ack)
{
	uint8_t got[5];

	peer_forget(p);
	peer_send_text(p, peer_nxt, ack, 5);
	assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), 5);
	peer_write(p, "hello", 5);
	assert_true(p->heard_count > 0);
	assert_int_equal(peer_last(p)->text_bytes, 5);
	assert_int_equal(peer_last(p)->ack, peer_nxt + 5);
}

/* ---- headers ---- */

struct bad_header {
	const char *what;
	uint32_t bytes;      /* of the packet */
	uint8_t offset_byte; /* data offset << 4 */
	bool break_checksum;
	enum apus_tcp_counter counter;
};

static const struct bad_header bad_headers[] = {
	{"no TCP header", 20, 0, false, APUS_TCP_COUNT_DROP_SHORT},
	{"one byte", 21, 0, false, APUS_TCP_COUNT_DROP_SHORT},
	{"19 bytes", 39, 0x50, false, APUS_TCP_COUNT_DROP_SHORT},
	{"data offset 0", 60, 0x00, false, APUS_TCP_COUNT_DROP_BAD_OFFSET},
	{"data offset 4", 60, 0x40, false, APUS_TCP_COUNT_DROP_BAD_OFFSET},
	{"data offset beyond the segment", 40, 0x60, false, APUS_TCP_COUNT_DROP_BAD_OFFSET},
	{"data offset 15 of 59 bytes", 79, 0xf0, false, APUS_TCP_COUNT_DROP_BAD_OFFSET},
	{"bad checksum", 60, 0x50, true, APUS_TCP_COUNT_DROP_BAD_CHECKSUM},
};

static void bad_header_is_counted_by_name_and_not_answered(void **state)
{
	for (size_t i = 0; i < apus_countof(bad_headers); i++) {
		const struct bad_header *bad = &bad_headers[i];
		struct peer *p = established();
		uint8_t packet[100] = {0};

		packet[20] = PEER_PORT >> 8;
		packet[21] = PEER_PORT & 0xff;
		packet[22] = (uint8_t)(p->port >> 8);
		packet[23] = (uint8_t)p->port;
		packet[32] = bad->offset_byte;
		packet[33] = 0x04; /* RST, should anybody look */
		test_packet_finish(packet, bad->bytes);
		packet[37] ^= bad->break_checksum;
		peer_send_frame(p, packet, bad->bytes);
		peer_turn(p);
		if (peer_counter(p, bad->counter) != 1 || p->heard_count)
			fail_msg("%s: counted %d, answered %u", bad->what,
				 (int)peer_counter(p, bad->counter), p->heard_count);
		assert_goes_on(p, rcv_nxt(p), una(p));
		peer_close(p);
	}
}

/* A segment of 5 bytes whose header carries these 4 bytes of options. */
static void send_text_with_options(struct peer *p, uint32_t options)
{
	uint8_t packet[49] = {0};
	uint32_t seq = htonl(rcv_nxt(p)), ack = htonl(una(p));

	options = htonl(options);
	packet[20] = PEER_PORT >> 8;
	packet[21] = PEER_PORT & 0xff;
	packet[22] = (uint8_t)(p->port >> 8);
	packet[23] = (uint8_t)p->port;
	memcpy(packet + 24, &seq, 4);
	memcpy(packet + 28, &ack, 4);
	packet[32] = 0x60;
	packet[33] = 0x10;
	packet[34] = 0xff;
	memcpy(packet + 40, &options, 4);
	test_packet_finish(packet, sizeof(packet));
	peer_send_frame(p, packet, sizeof(packet));
	peer_turn(p);
}

static void malformed_options_do_not_stop_the_text(void **state)
{
	static const uint32_t options[] = {
		0x4d000000, 0x4d010000, 0x02000000, 0x02010000, 0x02ff0000, 0x01010108, 0x01010102,
		0x05030000, 0x050a0000, 0x080a0000, 0x03030f01, 0x0204ffff, 0x00ffffff, 0x01010101};

	for (size_t i = 0; i < apus_countof(options); i++) {
		struct peer *p = established();
		uint8_t got[8];

		send_text_with_options(p, options[i]);
		assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), 5);
		peer_close(p);
	}
}

struct address_row {
	const char *what;
	uint32_t src, dst;
	uint16_t src_port;
};

/* TCP.md §5: LAND, broadcast, multicast, martian. RFC 9293 §3.9.2.3 (MUST-57, MUST-63). */
static void syn_from_or_to_no_host_is_not_answered(void **state)
{
	static const struct address_row addresses[] = {
		{"LAND", 0x0a000001, 0x0a000001, SERVER_PORT},
		{"our address, another port", 0x0a000001, 0x0a000001, PEER_PORT},
		{"from 255.255.255.255", 0xffffffff, 0x0a000001, PEER_PORT},
		{"from the subnet's broadcast", 0x0a0000ff, 0x0a000001, PEER_PORT},
		{"from a group", 0xe0000001, 0x0a000001, PEER_PORT},
		{"from loopback", 0x7f000001, 0x0a000001, PEER_PORT},
		{"from 0.0.0.0", 0x00000000, 0x0a000001, PEER_PORT},
		{"from class E", 0xf0000001, 0x0a000001, PEER_PORT},
		{"to 255.255.255.255", 0x0a000002, 0xffffffff, PEER_PORT},
		{"to the subnet's broadcast", 0x0a000002, 0x0a0000ff, PEER_PORT},
		{"to a group", 0x0a000002, 0xe0000001, PEER_PORT},
		{"to another host", 0x0a000002, 0x0a000003, PEER_PORT},
	};

	for (size_t i = 0; i < apus_countof(addresses); i++) {
		struct peer *p = peer_open();
		struct apus_segment seg = peer_segment(1000, 0);

		peer_listen(p);
		seg.syn = true;
		seg.local = apus_addr_v4(htonl(addresses[i].src));
		seg.remote = apus_addr_v4(htonl(addresses[i].dst));
		seg.local_port = addresses[i].src_port;
		peer_send(p, seg, 0);
		peer_wait(p, 10 * APUS_SEC);
		if (p->heard_count || apus_tcp_layer_open(&p->stack->tcp))
			fail_msg("%s: %u answers", addresses[i].what, p->heard_count);
		peer_close(p);
	}
}

/* ---- options of the SYN ---- */

static void segments_obey_the_peers_mss_whatever_it_is(void **state)
{
	static const struct {
		uint16_t mss, largest;
	} rows[] = {
		{0, 536}, /* an option of 0 is none: "an MSS of 0 divides by zero" */
		{1, 48},      {47, 48},     {48, 48},     {536, 536},
		{1000, 1000}, {1460, 1460}, {1461, 1460}, {65535, 1460}, /* our own MTU */
	};

	for (size_t i = 0; i < apus_countof(rows); i++) {
		struct peer *p = called();
		struct apus_segment syn_ack = peer_syn_ack(p);
		uint32_t largest;

		syn_ack.mss = rows[i].mss;
		peer_answers(p, syn_ack);
		write_zeros(p, 40000);
		assert_true(heard_text(p, &largest) > 0);
		assert_int_equal(largest, rows[i].largest);
		peer_close(p);
	}
}

static void our_syn_has_the_options_in_order_and_an_unscaled_window(void **state)
{
	struct peer *p = called();
	const struct apus_segment *syn = peer_last(p);

	assert_true(syn->syn && !syn->has_ack && !syn->text_bytes);
	assert_int_equal(syn->mss, MSS);
	assert_int_equal(syn->wscale, APUS_TCP_WINDOW_SCALE);
	assert_true(syn->wnd >= 10 * MSS); /* and not 256 KiB >> 8 */
	peer_close(p);
}

static void window_in_the_peers_syn_is_not_scaled(void **state)
{
	struct peer *p = called();
	struct apus_segment syn_ack = peer_syn_ack(p);
	uint32_t largest;

	syn_ack.wnd = 1000;
	syn_ack.wscale = 2;
	peer_answers(p, syn_ack);
	write_zeros(p, 20000);
	peer_wait(p, 10 * APUS_MS);
	assert_int_equal(heard_text(p, &largest), 1000);
	peer_forget(p);
	peer_send_window(p, una(p) + 1000, MSS / 2); /* later ones are */
	assert_int_equal(heard_text(p, &largest), 2 * MSS);
	peer_close(p);
}

static void our_window_is_scaled_only_if_the_peer_scales(void **state)
{
	for (int scales = 0; scales < 2; scales++) {
		struct peer *p = called();
		struct apus_segment syn_ack = peer_syn_ack(p);

		syn_ack.wscale = scales ? 0 : -1;
		peer_send(p, syn_ack, 0);
		if (scales)
			assert_in_range(peer_last(p)->wnd, 255, 1024);
		else
			assert_in_range(peer_last(p)->wnd, 65000, 65535);
		peer_close(p);
	}
}

/* RFC 7323 §2.3: a shift above 14 is used as 14. */
static void shift_of_15_counts_as_14(void **state)
{
	struct peer *p = called();
	struct apus_segment syn_ack = peer_syn_ack(p);

	syn_ack.wnd = 100;
	syn_ack.wscale = 15;
	peer_answers(p, syn_ack);
	peer_send_window(p, una(p), 1);
	assert_int_equal(p->c->snd.wnd, 1 << 14);
	peer_close(p);
}

/* ---- windows ---- */

/* TCP.md §4: "cwnd compared without subtracting the bytes in flight". */
static void bytes_in_flight_count_against_the_congestion_window(void **state)
{
	struct peer *p = established();
	uint32_t largest;

	write_zeros(p, 200000);
	assert_int_equal(heard_text(p, &largest), 10 * MSS);
	peer_wait(p, 50 * APUS_MS);
	assert_int_equal(heard_text(p, &largest), 10 * MSS);
	peer_forget(p);
	peer_send_ack(p, rcv_nxt(p), una(p) + 2 * MSS);
	assert_int_equal(heard_text(p, &largest), 4 * MSS); /* two left, and slow start's two */
	peer_close(p);
}

static void flight_obeys_the_peers_window(void **state)
{
	struct peer *p = established();
	uint32_t largest;

	peer_send_window(p, una(p), 3 * MSS);
	write_zeros(p, 200000);
	assert_int_equal(heard_text(p, &largest), 3 * MSS);
	peer_forget(p);
	peer_send_window(p, una(p) + MSS, 3 * MSS);
	assert_int_equal(heard_text(p, &largest), MSS);
	peer_close(p);
}

/* Answers each probe as a living peer with a full buffer does. Return: how many came. */
static uint32_t refuse_probes(struct peer *p, uint32_t ack, int64_t ns)
{
	uint32_t probes = 0;

	for (int64_t passed_ns = 0; passed_ns < ns; passed_ns += APUS_SEC) {
		peer_forget(p);
		peer_wait(p, APUS_SEC);
		for (uint32_t i = 0; i < p->heard_count; i++) {
			assert_false(p->heard[i].seg.rst || p->heard[i].seg.fin);
			probes++;
		}
		if (p->heard_count)
			peer_send_window(p, ack, 0);
	}
	return probes;
}

/* TCP.md §4: "a retransmission timer that fires while the peer's window is 0 aborts the process". */
static void window_of_zero_with_text_in_flight_neither_kills_nor_floods(void **state)
{
	struct peer *p = established();
	uint32_t largest;

	write_zeros(p, 3 * MSS);
	peer_send_window(p, una(p), 0); /* shrunk: all three are beyond it now */
	assert_true(refuse_probes(p, una(p), 3600 * APUS_SEC) < 3600 / 60);
	peer_forget(p);
	peer_send_window(p, una(p), PEER_WINDOW);
	peer_wait(p, 121 * APUS_SEC);
	assert_true(heard_text(p, &largest) > 0);
	assert_goes_on(p, rcv_nxt(p), una(p) + 3 * MSS);
	peer_close(p);
}

/* TCP.md §2: the first after one RTO, doubling; SEQ = SND.UNA-1, no data, ACK only. */
static void probes_of_a_zero_window_are_bare_and_back_off(void **state)
{
	struct peer *p = established();
	uint32_t first_minute;
	int64_t rto_ns;

	peer_send_window(p, una(p), 0);
	write_zeros(p, 1000);
	assert_int_equal(p->heard_count, 0);
	rto_ns = apus_rtt_rto_ns(&p->c->rtt);
	peer_wait(p, rto_ns - APUS_MS);
	assert_int_equal(p->heard_count, 0);
	peer_wait(p, 2 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->seq, una(p) - 1);
	assert_int_equal(peer_last(p)->len, 0);
	assert_true(peer_last(p)->has_ack && !peer_last(p)->psh);

	first_minute = refuse_probes(p, una(p), 60 * APUS_SEC);
	assert_in_range(first_minute, 4, 10);
	assert_true(refuse_probes(p, una(p), 3600 * APUS_SEC) <= 32); /* 120 s apart at last */
	peer_forget(p);
	peer_send_window(p, una(p), 1000);
	assert_int_equal(peer_last(p)->text_bytes, 1000);
	peer_close(p);
}

/* RFC 9293 §3.8.6.2.1: silly-window avoidance of the sender. */
static void window_that_opens_a_byte_at_a_time_is_not_filled_a_byte_at_a_time(void **state)
{
	struct peer *p = established();
	uint32_t largest;

	peer_send_window(p, una(p), 0);
	write_zeros(p, 10000);
	for (uint16_t wnd = 1; wnd < 100; wnd++)
		peer_send_window(p, una(p), wnd);
	assert_int_equal(heard_text(p, &largest), 0);
	peer_send_window(p, una(p), 2 * MSS);
	assert_int_equal(heard_text(p, &largest), 2 * MSS);
	peer_close(p);
}

/* RFC 9293 §3.8.6.2.2: and of the receiver. */
static void reader_of_single_bytes_sends_no_single_byte_windows(void **state)
{
	struct peer *p = established();
	uint32_t seq = rcv_nxt(p), edge, updates = 0;
	uint8_t byte;

	/* Fill the window to the edge. */
	edge = p->c->rcv.adv;
	while (seq != edge) {
		uint32_t bytes = apus_min(edge - seq, (uint32_t)MSS);

		peer_send_text(p, seq, una(p), bytes);
		seq += bytes;
		edge = p->c->rcv.adv;
		if (p->heard_count > HEARD_MAX / 2)
			peer_forget(p);
	}
	peer_wait(p, 50 * APUS_MS);
	assert_int_equal(peer_last(p)->wnd, 0);
	peer_forget(p);
	for (int i = 0; i < 3 * MSS; i++) {
		assert_int_equal(apus_tcp_call_receive(p->c, &byte, 1), 1);
		peer_turn(p);
	}
	updates = p->heard_count;
	assert_in_range(updates, 1, 3);
	for (uint32_t i = 0; i < updates; i++) /* each moves the edge by a segment at least */
		assert_true(p->heard[i].seg.ack + p->heard[i].seg.wnd >= edge + (i + 1) * MSS);
	peer_close(p);
}

/* ---- floods ---- */

/* TCP.md §2: at most one per 500 ms per connection, with a random part (CVE-2016-5696). */
static void challenge_acks_are_limited(void **state)
{
	struct peer *p = established();
	struct apus_segment rst = peer_segment(rcv_nxt(p) + 1, 0);
	uint32_t first;

	rst.rst = true;
	for (int i = 0; i < 100; i++)
		peer_send(p, rst, 0);
	assert_int_equal(p->heard_count, 1);
	for (int i = 0; i < 1000; i++) {
		peer_wait(p, 10 * APUS_MS);
		peer_send(p, rst, 0);
	}
	first = p->heard_count;
	assert_in_range(first, 5, 21); /* in ten seconds */
	assert_goes_on(p, rcv_nxt(p), una(p));
	peer_close(p);
}

/* Single bytes with a hole before each, from the far end: SegmentSmack. */
static void flood_of_single_bytes_out_of_order_is_bounded(void **state)
{
	struct peer *p = established();
	uint32_t in_use = rte_mempool_in_use_count(test_pool);

	for (uint32_t i = 5000; i > 0; i--) {
		peer_send_text(p, rcv_nxt(p) + 2 * i, una(p), 1);
		peer_forget(p);
	}
	assert_true(p->c->rcvq.ooo->runs <= APUS_OOO_RUNS_MAX);
	assert_true(peer_counter(p, APUS_TCP_COUNT_DROP_RCV_FULL) > 0);
	assert_true(rte_mempool_in_use_count(test_pool) <= in_use + 10);
	assert_goes_on(p, rcv_nxt(p), una(p));
	peer_close(p);
}

/* ---- the wrap ---- */

static void text_received_across_the_wrap_is_whole(void **state)
{
	struct peer *p = peer_open();
	uint8_t got[MSS];
	uint32_t seq;

	p->irs = 0U - 100000;
	peer_is_called(p);
	peer_answers(p, peer_syn_ack(p));
	seq = rcv_nxt(p);
	for (int i = 0; i < 200; i++) {
		peer_send_text(p, seq, una(p), MSS);
		assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), MSS);
		for (uint32_t j = 0; j < MSS; j++)
			assert_int_equal(got[j], test_byte((uint32_t)(seq + j)));
		seq += MSS;
		peer_forget(p);
	}
	assert_true(seq < 0x80000000);
	peer_close(p);
}

static void text_sent_across_the_wrap_is_whole(void **state)
{
	struct peer *p = peer_open();
	static uint8_t text[200000];
	uint32_t next = 0;

	peer_listen(p);
	peer_wait_for_iss(p, 0U - 100000);
	peer_send_syn(p, p->irs);
	p->iss = peer_last(p)->seq;
	assert_int_equal(p->iss, 0U - 100000);
	peer_send_ack(p, rcv_nxt(p), una(p));
	p->c = apus_tcp_listener_take(p->listener);
	test_fill(text, 0, sizeof(text));
	peer_forget(p);
	peer_write(p, text, sizeof(text));
	for (int i = 0; i < 1000 && next < sizeof(text); i++) {
		for (uint32_t h = 0; h < p->heard_count; h++) {
			const struct apus_segment *seg = &p->heard[h].seg;

			if (!seg->text_bytes)
				continue;
			assert_int_equal(seg->seq, una(p) + next); /* in order, nothing twice */
			assert_memory_equal(p->heard[h].text, text + next, seg->text_bytes);
			next += seg->text_bytes;
		}
		peer_forget(p);
		peer_send_ack(p, rcv_nxt(p), una(p) + next);
	}
	assert_int_equal(next, sizeof(text));
	assert_int_equal(p->c->snd.una, una(p) + next);
	peer_close(p);
}

/* ---- segments as they leave ---- */

static void push_is_on_the_last_segment_of_a_write_only(void **state)
{
	struct peer *p = established();

	write_zeros(p, 3 * MSS + 100);
	assert_int_equal(p->heard_count, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(p->heard[i].seg.psh, i == 3);
	peer_close(p);
}

/* RFC 9293 §3.6.1 (SHLD-3); the form is TCP.md §2's. */
static void close_with_unread_text_resets(void **state)
{
	struct peer *p = established();

	peer_send_text(p, rcv_nxt(p), una(p), 10);
	peer_forget(p);
	apus_tcp_call_close(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->rst && peer_last(p)->has_ack);
	assert_int_equal(peer_last(p)->seq, una(p));
	assert_int_equal(peer_last(p)->ack, rcv_nxt(p) + 10);
	peer_close(p);
}

/* RFC 9293 §3.6.1 (SHLD-3) */
static void text_after_close_resets(void **state)
{
	struct peer *p = established();

	apus_tcp_call_close(p->c, apus_clock_read(&p->clock));
	p->c = NULL;
	peer_turn(p);
	assert_true(peer_last(p)->fin);
	peer_send_ack(p, rcv_nxt(p), una(p) + 1);
	peer_forget(p);
	peer_send_text(p, rcv_nxt(p), una(p) + 1, 10);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->rst);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 0);
	peer_close(p);
}

/* RFC 9293 §3.8.6.3: at least every second full segment; the sender's clock. */
static void bulk_text_is_acknowledged_every_second_segment(void **state)
{
	struct peer *p = established();
	uint32_t seq = rcv_nxt(p);
	uint8_t got[MSS];

	for (int i = 0; i < 60; i++) {
		if (i == 20)
			peer_forget(p);
		peer_send_text(p, seq, una(p), MSS);
		assert_int_equal(apus_tcp_call_receive(p->c, got, sizeof(got)), MSS);
		seq += MSS;
	}
	assert_in_range(p->heard_count, 20, 40);
	peer_close(p);
}

static void empty_pool_delays_the_ack_and_loses_nothing(void **state)
{
	static struct rte_mbuf *taken[TEST_POOL_MBUFS];
	struct peer *p = established();
	unsigned int n = 0;
	uint8_t frame[45] = {0};
	uint32_t seq = htonl(rcv_nxt(p)), ack = htonl(una(p));

	frame[20] = PEER_PORT >> 8;
	frame[21] = PEER_PORT & 0xff;
	frame[22] = (uint8_t)(p->port >> 8);
	frame[23] = (uint8_t)p->port;
	memcpy(frame + 24, &seq, 4);
	memcpy(frame + 28, &ack, 4);
	frame[32] = 0x50;
	frame[33] = 0x10;
	test_packet_finish(frame, sizeof(frame));
	peer_send_frame(p, frame, sizeof(frame));
	while (n < apus_countof(taken) && (taken[n] = rte_pktmbuf_alloc(test_pool)))
		n++;
	p->c->is_reading = true; /* text that nobody waits for is refused when mbufs are short */
	peer_turn(p);
	peer_wait(p, 100 * APUS_MS);
	assert_int_equal(p->heard_count, 0);
	assert_true(peer_counter(p, APUS_TCP_COUNT_NO_MBUF) > 0);
	rte_pktmbuf_free_bulk(taken, n);
	peer_wait(p, 100 * APUS_MS);
	assert_int_equal(p->heard_count, 1);
	assert_int_equal(peer_last(p)->ack, rcv_nxt(p) + 5);
	p->c->is_reading = false;
	peer_close(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(bad_header_is_counted_by_name_and_not_answered),
		test_with_pool(malformed_options_do_not_stop_the_text),
		test_with_pool(syn_from_or_to_no_host_is_not_answered),
		test_with_pool(segments_obey_the_peers_mss_whatever_it_is),
		test_with_pool(our_syn_has_the_options_in_order_and_an_unscaled_window),
		test_with_pool(window_in_the_peers_syn_is_not_scaled),
		test_with_pool(our_window_is_scaled_only_if_the_peer_scales),
		test_with_pool(shift_of_15_counts_as_14),
		test_with_pool(bytes_in_flight_count_against_the_congestion_window),
		test_with_pool(flight_obeys_the_peers_window),
		test_with_pool(window_of_zero_with_text_in_flight_neither_kills_nor_floods),
		test_with_pool(probes_of_a_zero_window_are_bare_and_back_off),
		test_with_pool(window_that_opens_a_byte_at_a_time_is_not_filled_a_byte_at_a_time),
		test_with_pool(reader_of_single_bytes_sends_no_single_byte_windows),
		test_with_pool(challenge_acks_are_limited),
		test_with_pool(flood_of_single_bytes_out_of_order_is_bounded),
		test_with_pool(text_received_across_the_wrap_is_whole),
		test_with_pool(text_sent_across_the_wrap_is_whole),
		test_with_pool(push_is_on_the_last_segment_of_a_write_only),
		test_with_pool(close_with_unread_text_resets),
		test_with_pool(text_after_close_resets),
		test_with_pool(bulk_text_is_acknowledged_every_second_segment),
		test_with_pool(empty_pool_delays_the_ack_and_loses_nothing),
	};

	return test_main_with_pool(argc, argv, tests);
}
