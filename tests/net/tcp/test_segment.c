/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_segment.c: the parser against headers written out by hand and against every
 * malformed option of TCP.md §4 and §5; the builder against TCP.md's layouts, byte for byte; and
 * both against each other.
 */
#include "tests/net/tcp/tcp_test.h"

#include "net/tcp/segment.h"

#include <arpa/inet.h>
#include <rte_ethdev.h>

#define PACKET_MAX 1280

struct packet {
	uint8_t bytes[PACKET_MAX];
	uint32_t count;
};

/* A packet with these options (padded with EOL to 4) and `text_bytes` of text. */
static struct packet packet_with(uint8_t flags, const uint8_t *options, uint32_t options_bytes,
				 uint32_t text_bytes)
{
	struct packet p = {.count = 40 + (options_bytes + 3) / 4 * 4 + text_bytes};
	static const uint8_t tcp[] = {0x12, 0x34, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04, 0xf1, 0xf2,
				      0xf3, 0xf4, 0,    0,    0xab, 0xcd, 0,    0,    0x56, 0x78};

	memcpy(p.bytes + 20, tcp, sizeof(tcp));
	p.bytes[32] = (uint8_t)((5 + (options_bytes + 3) / 4) << 4);
	p.bytes[33] = flags;
	if (options_bytes)
		memcpy(p.bytes + 40, options, options_bytes);
	test_fill(p.bytes + p.count - text_bytes, 0, text_bytes);
	test_packet_finish(p.bytes, p.count);
	return p;
}

static enum apus_segment_verdict parse_pieces(const struct packet *p, uint64_t ol_flags,
					      uint32_t piece, struct apus_segment *out)
{
	struct rte_mbuf *m = test_mbuf(p->bytes, p->count, piece);
	enum apus_segment_verdict verdict;

	m->l3_len = 20;
	m->ol_flags = ol_flags;
	memset(out, 0xa5, sizeof(*out));
	verdict = apus_segment_parse(m, out);
	assert_int_equal(m->pkt_len, p->count); /* borrowed, not changed */
	rte_pktmbuf_free(m);
	return verdict;
}

static enum apus_segment_verdict parse(const struct packet *p, struct apus_segment *out)
{
	return parse_pieces(p, 0, PACKET_MAX, out);
}

static struct apus_segment parsed(const struct packet *p)
{
	struct apus_segment seg;

	assert_int_equal(parse(p, &seg), APUS_SEGMENT_OK);
	return seg;
}

/* ---- parse: header ---- */

static void header_fields_are_read_in_host_order(void **state)
{
	struct packet p = packet_with(0x10, NULL, 0, 5);
	struct apus_segment seg = parsed(&p);

	assert_int_equal(seg.remote_port, 0x1234);
	assert_int_equal(seg.local_port, 80);
	assert_int_equal(seg.seq, 0x01020304);
	assert_int_equal(seg.ack, 0xf1f2f3f4);
	assert_int_equal(seg.wnd, 0xabcd);
	assert_int_equal(seg.up, 0x5678);
	assert_int_equal(seg.text_bytes, 5);
	assert_int_equal(seg.text_offset, 40);
	assert_int_equal(apus_addr_to_v4(seg.remote), htonl(0x0a000002));
	assert_int_equal(apus_addr_to_v4(seg.local), htonl(0x0a000001));
	assert_true(seg.local.u8[10] == 0xff && seg.local.u8[11] == 0xff);
}

static void segment_without_options_has_none(void **state)
{
	struct packet p = packet_with(0x02, NULL, 0, 0);
	struct apus_segment seg = parsed(&p);

	assert_true(seg.wscale < 0);
	assert_int_equal(seg.mss, 0);
	assert_int_equal(seg.sack_count, 0);
	assert_false(seg.sack_permitted || seg.has_ts || seg.options_malformed);
}

static void each_flag_is_its_own_bit(void **state)
{
	for (uint32_t flags = 0; flags < 256; flags++) {
		struct packet p = packet_with((uint8_t)flags, NULL, 0, 7);
		struct apus_segment seg = parsed(&p);
		uint32_t found =
			(uint32_t)(seg.fin | seg.syn << 1 | seg.rst << 2 | seg.psh << 3 |
				   seg.has_ack << 4 | seg.urg << 5 | seg.ece << 6 | seg.cwr << 7);

		assert_int_equal(found, flags);
		assert_int_equal(seg.len, 7 + (flags & 1) + (flags >> 1 & 1)); /* SEG.LEN */
	}
}

static void each_truncation_is_a_drop_by_name(void **state)
{
	static const uint8_t options[] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	struct packet whole = packet_with(0x10, options, sizeof(options), 3);
	struct apus_segment seg;

	for (uint32_t count = 20; count < whole.count; count++) {
		struct packet p = whole;
		enum apus_segment_verdict verdict, expected;

		p.count = count;
		expected = count < 40   ? APUS_SEGMENT_SHORT
			   : count < 52 ? APUS_SEGMENT_BAD_OFFSET
					: APUS_SEGMENT_BAD_CHECKSUM;
		verdict = parse(&p, &seg);
		assert_int_equal(verdict, expected);
	}
}

/* TCP.md §4: "A data offset beyond the segment reads past it." */
static void data_offset_out_of_bounds_is_a_drop(void **state)
{
	for (uint32_t offset = 0; offset < 16; offset++) {
		struct packet p = packet_with(0x10, NULL, 0, 8);
		struct apus_segment seg;

		p.bytes[32] = (uint8_t)(offset << 4);
		test_packet_finish(p.bytes, p.count);
		assert_int_equal(parse(&p, &seg), offset >= 5 && offset <= 7
							  ? APUS_SEGMENT_OK
							  : APUS_SEGMENT_BAD_OFFSET);
	}
}

static void ip_options_move_the_header(void **state)
{
	struct packet p = packet_with(0x10, NULL, 0, 9);
	struct apus_segment seg;
	struct rte_mbuf *m;

	memmove(p.bytes + 60, p.bytes + 20, p.count - 20);
	memset(p.bytes + 20, 1, 40); /* 40 bytes of NOP */
	p.bytes[0] = 0x4f;
	p.bytes[3] = (uint8_t)(p.count + 40);
	m = test_mbuf(p.bytes, p.count + 40, PACKET_MAX);
	m->l3_len = 60;
	assert_int_equal(apus_segment_parse(m, &seg), APUS_SEGMENT_OK);
	assert_int_equal(seg.text_offset, 80);
	assert_int_equal(seg.text_bytes, 9);
	rte_pktmbuf_free(m);
}

/* ---- parse: checksum ---- */

static void each_flipped_bit_is_a_drop(void **state)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4};
	struct packet whole = packet_with(0x02, options, sizeof(options), 11);

	for (uint32_t bit = 20 * 8; bit < whole.count * 8; bit++) {
		struct packet p = whole;
		struct apus_segment seg;

		p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(parse(&p, &seg), APUS_SEGMENT_OK);
	}
}

static void flipped_address_is_a_drop(void **state)
{
	struct packet p = packet_with(0x10, NULL, 0, 0);
	struct apus_segment seg;

	p.bytes[15] ^= 1; /* of the pseudo header only */
	assert_int_equal(parse(&p, &seg), APUS_SEGMENT_BAD_CHECKSUM);
}

static void device_verdict_saves_the_checksum_but_bad_is_not_believed(void **state)
{
	struct packet good = packet_with(0x10, NULL, 0, 20), bad = good;
	struct apus_segment seg;

	bad.bytes[45] ^= 0x10;
	assert_int_equal(parse_pieces(&bad, RTE_MBUF_F_RX_L4_CKSUM_GOOD, PACKET_MAX, &seg),
			 APUS_SEGMENT_OK);
	assert_int_equal(parse_pieces(&bad, RTE_MBUF_F_RX_L4_CKSUM_NONE, PACKET_MAX, &seg),
			 APUS_SEGMENT_OK);
	assert_int_equal(parse_pieces(&bad, RTE_MBUF_F_RX_L4_CKSUM_BAD, PACKET_MAX, &seg),
			 APUS_SEGMENT_BAD_CHECKSUM);
	assert_int_equal(parse_pieces(&good, RTE_MBUF_F_RX_L4_CKSUM_BAD, PACKET_MAX, &seg),
			 APUS_SEGMENT_OK);
}

/* Also through the header and with pieces that begin at odd bytes. */
static void packet_in_pieces_parses_as_whole(void **state)
{
	static const uint8_t options[] = {1, 1, 8, 10, 9, 8, 7, 6, 5, 4, 3, 2};
	struct packet p = packet_with(0x18, options, sizeof(options), 1001);
	struct apus_segment whole = parsed(&p), seg;

	memset(p.bytes + 52, 0xff, 1001); /* carries everywhere */
	test_packet_finish(p.bytes, p.count);
	for (uint32_t piece = 20; piece < 400; piece++) {
		assert_int_equal(parse_pieces(&p, 0, piece, &seg), APUS_SEGMENT_OK);
		assert_memory_equal(&seg, &whole, sizeof(seg));
	}
}

/* ---- parse: options ---- */

struct option_row {
	const char *what;
	uint8_t flags;
	uint8_t bytes[40];
	uint8_t count;
	bool malformed;
	uint16_t mss;
	bool scales;
	int8_t wscale;
	bool sack_permitted;
	bool has_ts;
	uint8_t sack_count;
};

#define SYN 0x02
#define ACK 0x10

static const struct option_row option_rows[] = {
	{"mss", SYN, {2, 4, 0x05, 0xb4}, 4, .malformed = false, .mss = 1460},
	{"mss of 0 is absent", SYN, {2, 4, 0, 0}, 4, .malformed = false},
	{"mss outside a SYN is absent", ACK, {2, 4, 5, 0xb4}, 4, .malformed = false},
	{"two mss: the last",
	 SYN,
	 {2, 4, 5, 0xb4, 2, 4, 2, 0x18},
	 8,
	 .malformed = false,
	 .mss = 536},
	{"mss of length 3", SYN, {2, 3, 5, 0}, 4, .malformed = true},
	{"mss of length 5", SYN, {2, 5, 5, 0xb4, 0}, 8, .malformed = true},
	{"mss of length 2", SYN, {2, 2, 1, 1}, 4, .malformed = true},
	{"wscale", SYN, {1, 3, 3, 8}, 4, .malformed = false, .scales = true, .wscale = 8},
	{"wscale 0 is there",
	 SYN,
	 {3, 3, 0, 1},
	 4,
	 .malformed = false,
	 .scales = true,
	 .wscale = 0},
	{"wscale 14", SYN, {3, 3, 14, 1}, 4, .malformed = false, .scales = true, .wscale = 14},
	{"wscale 15 is taken as 14",
	 SYN,
	 {3, 3, 15, 1},
	 4,
	 .malformed = false,
	 .scales = true,
	 .wscale = 14},
	{"wscale 255 is taken as 14",
	 SYN,
	 {3, 3, 255, 1},
	 4,
	 .malformed = false,
	 .scales = true,
	 .wscale = 14},
	{"wscale outside a SYN is absent", ACK, {3, 3, 8, 1}, 4, .malformed = false},
	{"wscale of length 4", SYN, {3, 4, 8, 8}, 4, .malformed = true},
	{"sack permitted", SYN, {4, 2, 1, 1}, 4, .malformed = false, .sack_permitted = true},
	{"sack permitted outside a SYN", ACK, {4, 2, 1, 1}, 4, .malformed = false},
	{"sack permitted of length 3", SYN, {4, 3, 1, 1}, 4, .malformed = true},
	{"timestamps",
	 ACK,
	 {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8},
	 12,
	 .malformed = false,
	 .has_ts = true},
	{"timestamps of length 9", ACK, {8, 9, 1, 2, 3, 4, 5, 6, 7}, 12, .malformed = true},
	{"timestamps of length 11", ACK, {8, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 12, .malformed = true},
	{"timestamps cut off", ACK, {1, 8, 10, 1}, 4, .malformed = true},
	{"sack of one block",
	 ACK,
	 {5, 10, 0, 0, 0, 1, 0, 0, 0, 2},
	 12,
	 .malformed = false,
	 .sack_count = 1},
	{"sack of four blocks", ACK, {1, 1, 5, 34}, 36, .malformed = false, .sack_count = 4},
	{"sack of no block", ACK, {5, 2, 1, 1}, 4, .malformed = true},
	{"sack of half a block", ACK, {5, 6, 0, 0, 0, 1}, 8, .malformed = true},
	{"sack of a block and a byte", ACK, {5, 11, 0, 0, 0, 1}, 12, .malformed = true},
	{"sack that claims five blocks", ACK, {5, 42}, 40, .malformed = true},
	{"length 0", SYN, {77, 0, 2, 4, 5, 0xb4}, 8, .malformed = true},
	{"length 1", SYN, {77, 1, 2, 4, 5, 0xb4}, 8, .malformed = true},
	{"mss of length 0", SYN, {2, 0, 5, 0xb4}, 4, .malformed = true},
	{"mss of length 1", SYN, {2, 1, 5, 0xb4}, 4, .malformed = true},
	{"length beyond the rest", SYN, {77, 5, 0, 0}, 4, .malformed = true},
	{"length 255", SYN, {77, 255, 0, 0}, 4, .malformed = true},
	{"kind as the last byte", SYN, {1, 1, 1, 2}, 4, .malformed = true},
	{"kind as the 40th byte",
	 SYN,
	 {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8},
	 40,
	 .malformed = true},
	{"good one before a bad one counts",
	 SYN,
	 {2, 4, 5, 0xb4, 3, 0, 7, 7},
	 8,
	 .malformed = true,
	 .mss = 1460},
	{"good one behind a wrong length",
	 SYN,
	 {3, 4, 9, 9, 2, 4, 5, 0xb4},
	 8,
	 .malformed = true,
	 .mss = 1460},
	{"unknown kind is skipped",
	 SYN,
	 {77, 4, 1, 2, 2, 4, 5, 0xb4},
	 8,
	 .malformed = false,
	 .mss = 1460},
	{"unknown kind of length 2",
	 SYN,
	 {77, 2, 1, 1, 2, 4, 5, 0xb4},
	 8,
	 .malformed = false,
	 .mss = 1460},
	{"nothing counts behind the end", SYN, {0, 1, 1, 1, 2, 4, 5, 0xb4}, 8, .malformed = false},
	{"all zero", SYN, {0}, 40, .malformed = false},
	{"all NOP", SYN, {1, 1, 1, 1}, 4, .malformed = false},
};

static void each_option_row_parses_as_the_table_says(void **state)
{
	for (size_t i = 0; i < apus_countof(option_rows); i++) {
		const struct option_row *row = &option_rows[i];
		struct packet p = packet_with(row->flags, row->bytes, row->count, 4);
		struct apus_segment seg = parsed(&p);

		if (seg.options_malformed != row->malformed || seg.mss != row->mss ||
		    (seg.wscale >= 0) != row->scales ||
		    (row->scales && seg.wscale != row->wscale) ||
		    seg.sack_permitted != row->sack_permitted || seg.has_ts != row->has_ts ||
		    seg.sack_count != row->sack_count || seg.text_bytes != 4)
			fail_msg("row '%s'", row->what);
	}
}

static void values_of_timestamps_and_sack_are_read(void **state)
{
	static const uint8_t options[] = {8, 10, 1, 2, 3, 4, 0xf5, 0xf6, 0xf7, 0xf8, 5, 18, 0, 0,
					  0, 9,  0, 0, 0, 4, 1,    2,    3,    4,    5, 6,  7, 8};
	struct packet p = packet_with(ACK, options, sizeof(options), 0);
	struct apus_segment seg = parsed(&p);

	assert_int_equal(seg.ts_val, 0x01020304);
	assert_int_equal(seg.ts_ecr, 0xf5f6f7f8);
	/* Reversed blocks are the owner's to judge. */
	assert_true(seg.sack[0].start == 9 && seg.sack[0].end == 4);
	assert_true(seg.sack[1].start == 0x01020304 && seg.sack[1].end == 0x05060708);
}

/* Options that end exactly where the memory ends: ASan sees a byte read beyond. */
static void options_are_not_read_past_their_end(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		uint64_t random = seed;
		uint8_t options[40];
		uint32_t count = (uint32_t)test_random_below(&random, 11) * 4;
		struct rte_mbuf_ext_shared_info shinfo;
		struct apus_segment seg;
		struct packet p;
		struct rte_mbuf *m;
		uint8_t *exact;

		for (uint32_t i = 0; i < count; i++)
			options[i] = (uint8_t)test_random_below(&random, 12);
		p = packet_with(SYN, options, count, 0);
		exact = malloc(p.count);
		memcpy(exact, p.bytes, p.count);
		m = rte_pktmbuf_alloc(test_pool);
		memset(&shinfo, 0, sizeof(shinfo));
		rte_mbuf_ext_refcnt_set(&shinfo, 2); /* the memory stays ours */
		rte_pktmbuf_attach_extbuf(m, exact, 0, (uint16_t)p.count, &shinfo);
		m->data_off = 0;
		m->data_len = (uint16_t)p.count;
		m->pkt_len = p.count;
		m->l3_len = 20;
		assert_int_equal(apus_segment_parse(m, &seg), APUS_SEGMENT_OK);
		rte_pktmbuf_free(m);
		free(exact);
	}
}

/* ---- build ---- */

struct built {
	uint8_t bytes[PACKET_MAX];
	uint32_t count;
};

static struct apus_segment plain(void)
{
	return (struct apus_segment){
		.seq = 0x01020304,
		.ack = 0x05060708,
		.wnd = 0x1234,
		.local_port = 80,
		.remote_port = 4000,
		.wscale = -1,
		.local = apus_addr_v4(htonl(0x0a000002)),
		.remote = apus_addr_v4(htonl(0x0a000001)),
	};
}

static struct built build(const struct apus_segment *seg, uint32_t text_bytes, uint32_t piece)
{
	struct built b;
	uint8_t text[PACKET_MAX];
	struct rte_mbuf *m;

	test_fill(text, 0, text_bytes);
	m = test_mbuf(text, text_bytes, piece);
	assert_int_equal(apus_segment_build(m, seg, 0), 0);
	assert_int_equal(m->pkt_len, text_bytes + apus_segment_header_bytes(seg));
	b.count = test_mbuf_bytes(m, b.bytes, sizeof(b.bytes));
	rte_pktmbuf_free(m);
	return b;
}

static void assert_options(const struct apus_segment *seg, const uint8_t *options, uint32_t count)
{
	struct built b = build(seg, 0, PACKET_MAX);

	assert_int_equal(b.count, 20 + count);
	assert_int_equal(b.bytes[12] >> 4, b.count / 4);
	assert_memory_equal(b.bytes + 20, options, count);
}

static void header_is_written_in_network_order(void **state)
{
	static const uint8_t expected[16] = {0, 80, 0x0f, 0xa0, 1,    2,    3,    4,
					     5, 6,  7,    8,    0x50, 0x29, 0x12, 0x34};
	struct apus_segment seg = plain();
	struct built b;

	seg.fin = seg.psh = seg.urg = true;
	seg.up = 0x4321;
	b = build(&seg, 0, PACKET_MAX);
	assert_int_equal(b.count, 20);
	assert_memory_equal(b.bytes, expected, sizeof(expected));
	assert_true(b.bytes[18] == 0x43 && b.bytes[19] == 0x21);
}

static void syn_options_stand_in_linux_order(void **state)
{
	static const uint8_t all[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
				      0, 7, 0, 0,    0, 0, 1, 3,  3, 8};
	static const uint8_t no_ts[] = {2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 8};
	static const uint8_t no_sack[] = {2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0,
					  0, 7, 0, 0,    0, 0, 1, 3,  3, 8};
	struct apus_segment seg = plain();

	seg.syn = true;
	seg.mss = 1460;
	assert_options(&seg, all, 4);
	seg.wscale = 8;
	seg.sack_permitted = true;
	assert_options(&seg, no_ts, sizeof(no_ts));
	seg.has_ts = true;
	seg.ts_val = 7;
	assert_options(&seg, all, sizeof(all));
	seg.sack_permitted = false;
	assert_options(&seg, no_sack, sizeof(no_sack));
}

static void data_options_are_nop_nop_and_the_option(void **state)
{
	static const uint8_t ts[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8,
				     1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	struct apus_segment seg = plain();

	seg.has_ack = true;
	seg.sack_count = 1;
	seg.sack[0] = (struct apus_segment_sack){1, 2};
	assert_options(&seg, ts + 12, 12);
	seg.has_ts = true;
	seg.ts_val = 0x01020304;
	seg.ts_ecr = 0x05060708;
	assert_options(&seg, ts, sizeof(ts));
	seg.sack_count = 0;
	assert_options(&seg, ts, 12);
}

static void four_sack_blocks_fit_three_beside_timestamps(void **state)
{
	struct apus_segment seg = plain();

	seg.sack_count = 4;
	assert_int_equal(apus_segment_header_bytes(&seg), 20 + 36);
	seg.has_ts = true;
	assert_int_equal(apus_segment_header_bytes(&seg), 60);
	assert_int_equal(build(&seg, 0, PACKET_MAX).bytes[20 + 15], 2 + 3 * 8);
}

static void scale_of_0_is_an_option(void **state)
{
	static const uint8_t options[] = {1, 3, 3, 0};
	struct apus_segment seg = plain();

	seg.syn = true;
	seg.wscale = 0;
	assert_options(&seg, options, sizeof(options));
}

/* As many SACK blocks as there is room for, beside any other options. */
static void options_fill_40_bytes_and_no_more(void **state)
{
	for (uint32_t bits = 0; bits < 16; bits++) {
		struct apus_segment seg = plain();
		uint32_t others, with;

		seg.mss = bits & 1 ? 1460 : 0;
		seg.sack_permitted = bits & 2;
		seg.has_ts = bits & 4;
		seg.wscale = bits & 8 ? 7 : -1;
		others = apus_segment_header_bytes(&seg);
		seg.sack_count = 4;
		with = apus_segment_header_bytes(&seg);
		assert_true(with <= 60 && with % 4 == 0);
		assert_int_equal((with - others - 4) % 8, 0);
		assert_true(with - others == 36 || with + 8 > 60);
		assert_int_equal(build(&seg, 0, PACKET_MAX).count, with);
	}
}

static void checksum_is_right_whatever_the_pieces_of_the_text(void **state)
{
	struct apus_segment seg = plain();

	for (uint32_t piece = 1; piece < 300; piece += piece < 20 ? 1 : 37) {
		for (uint32_t bytes = 0; bytes < 300; bytes += 23) {
			struct built b = build(&seg, bytes, piece);
			struct packet p = {.count = b.count + 20};

			test_packet_finish(p.bytes, 20 + b.count);
			memcpy(p.bytes + 20, b.bytes, b.count);
			assert_int_equal(test_tcp_checksum(p.bytes, p.count), 0);
		}
	}
}

static void offloaded_checksum_leaves_the_pseudo_header_and_flags(void **state)
{
	struct apus_segment seg = plain();
	/* 0a00 0002 0a00 0001, 6, 20 + 3 bytes */
	uint16_t sum = 0x0a00 + 0x0002 + 0x0a00 + 0x0001 + 6 + 23;
	struct rte_mbuf *m = test_mbuf((const uint8_t *)"abc", 3, 3);
	const uint8_t *tcp;

	assert_int_equal(apus_segment_build(m, &seg, RTE_ETH_TX_OFFLOAD_TCP_CKSUM), 0);
	tcp = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_int_equal(tcp[16] << 8 | tcp[17], sum);
	assert_int_equal(m->l4_len, 20);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IPV4);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_L4_MASK, RTE_MBUF_F_TX_TCP_CKSUM);
	rte_pktmbuf_free(m);
}

static void no_headroom_is_an_error_that_changes_nothing(void **state)
{
	struct apus_segment seg = plain();
	struct rte_mbuf *m = test_mbuf((const uint8_t *)"abc", 3, 3);

	m->data_off = 19;
	assert_int_equal(apus_segment_build(m, &seg, 0), -ENOBUFS);
	assert_int_equal(m->data_off, 19);
	assert_int_equal(m->pkt_len, 3);
	rte_pktmbuf_free(m);
}

/* ---- both ---- */

static struct apus_segment random_segment(uint64_t *random)
{
	uint64_t bits = test_random(random);
	struct apus_segment seg = {
		.seq = (uint32_t)test_random(random),
		.ack = (uint32_t)test_random(random),
		.wnd = (uint16_t)test_random(random),
		.up = (uint16_t)test_random(random),
		.local_port = (uint16_t)test_random(random),
		.remote_port = (uint16_t)test_random(random),
		.fin = bits & 1,
		.syn = bits & 2,
		.rst = bits & 4,
		.psh = bits & 8,
		.has_ack = bits & 16,
		.urg = bits & 32,
		.ece = bits & 64,
		.cwr = bits & 128,
		.has_ts = bits & 256,
		.wscale = -1,
		.local = apus_addr_v4((uint32_t)test_random(random)),
		.remote = apus_addr_v4((uint32_t)test_random(random)),
	};

	if (seg.syn) {
		seg.mss = (uint16_t)(bits >> 16);
		seg.sack_permitted = bits & 512;
		seg.wscale = (int8_t)((bits >> 32) % 16 - 1);
	} else {
		seg.sack_count = (uint8_t)((bits >> 32) % (seg.has_ts ? 4 : 5));
		for (uint32_t i = 0; i < seg.sack_count; i++)
			seg.sack[i] = (struct apus_segment_sack){(uint32_t)test_random(random),
								 (uint32_t)test_random(random)};
	}
	if (seg.has_ts) {
		seg.ts_val = (uint32_t)test_random(random);
		seg.ts_ecr = (uint32_t)test_random(random);
	}
	return seg;
}

static void swap_ports(struct apus_segment *seg)
{
	uint16_t port = seg->local_port;

	seg->local_port = seg->remote_port;
	seg->remote_port = port;
}

/* What was built parses to what it was built from, seen from the other side. */
static void built_segment_parses_back(void **state)
{
	test_each_seed(seed, 20000)
	{
		uint64_t random = seed;
		struct apus_segment seg = random_segment(&random), back;
		uint32_t text = (uint32_t)test_random_below(&random, 50);
		struct built b = build(&seg, text, PACKET_MAX);
		struct packet p = {.count = b.count + 20};
		uint32_t src = apus_addr_to_v4(seg.local), dst = apus_addr_to_v4(seg.remote);

		p.bytes[0] = 0x45;
		p.bytes[3] = (uint8_t)p.count;
		memcpy(p.bytes + 12, &src, 4);
		memcpy(p.bytes + 16, &dst, 4);
		memcpy(p.bytes + 20, b.bytes, b.count);
		back = parsed(&p);

		seg.text_bytes = text;
		seg.text_offset = (uint16_t)(p.count - text);
		seg.len = text + seg.syn + seg.fin;
		seg.local = apus_addr_v4(dst);
		seg.remote = apus_addr_v4(src);
		swap_ports(&seg);
		assert_memory_equal(&seg, &back, sizeof(seg));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(header_fields_are_read_in_host_order),
		test_with_pool(segment_without_options_has_none),
		test_with_pool(each_flag_is_its_own_bit),
		test_with_pool(each_truncation_is_a_drop_by_name),
		test_with_pool(data_offset_out_of_bounds_is_a_drop),
		test_with_pool(ip_options_move_the_header),
		test_with_pool(each_flipped_bit_is_a_drop),
		test_with_pool(flipped_address_is_a_drop),
		test_with_pool(device_verdict_saves_the_checksum_but_bad_is_not_believed),
		test_with_pool(packet_in_pieces_parses_as_whole),
		test_with_pool(each_option_row_parses_as_the_table_says),
		test_with_pool(values_of_timestamps_and_sack_are_read),
		test_with_pool(options_are_not_read_past_their_end),
		test_with_pool(header_is_written_in_network_order),
		test_with_pool(syn_options_stand_in_linux_order),
		test_with_pool(data_options_are_nop_nop_and_the_option),
		test_with_pool(four_sack_blocks_fit_three_beside_timestamps),
		test_with_pool(scale_of_0_is_an_option),
		test_with_pool(options_fill_40_bytes_and_no_more),
		test_with_pool(checksum_is_right_whatever_the_pieces_of_the_text),
		test_with_pool(offloaded_checksum_leaves_the_pseudo_header_and_flags),
		test_with_pool(no_headroom_is_an_error_that_changes_nothing),
		test_with_pool(built_segment_parses_back),
	};

	return test_main_with_pool(argc, argv, tests);
}
