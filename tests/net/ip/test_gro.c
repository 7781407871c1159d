/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_gro.c: what joins and what does not; and bursts of everything against the same
 * bursts looked at one by one.
 */
#include "net/ip/gro.h"
#include "tests/net/tcp/tcp_test.h"

#include <rte_ip.h>
#include <rte_tcp.h>

#define MSS   1000
#define BURST 32
#define TEXT  (BURST * MSS)

/* A segment to be made. */
struct made {
	uint32_t seq, text_bytes;
	uint32_t piece; /* mbufs of so many bytes; 0: one */
	uint32_t ack;
	uint16_t window;
	uint16_t port;
	uint8_t flags, tos, ttl;
	uint8_t option; /* in each of 12 bytes */
	bool bad_checksum;
};

static const struct made plain = {.text_bytes = MSS,
				  .ack = 5,
				  .window = 100,
				  .port = 80,
				  .flags = RTE_TCP_ACK_FLAG,
				  .ttl = 64,
				  .option = 1};

static struct rte_mbuf *make(struct made s)
{
	static uint8_t p[52 + 70000];
	uint32_t bytes = 52 + s.text_bytes;
	uint16_t sum;
	struct rte_mbuf *m;

	test_packet_finish(p, 20); /* the IP header */
	p[1] = s.tos;
	p[2] = (uint8_t)(bytes >> 8);
	p[3] = (uint8_t)bytes;
	p[8] = s.ttl;
	struct rte_tcp_hdr *tcp = (void *)(p + 20);
	*tcp = (struct rte_tcp_hdr){
		.src_port = 1234,
		.dst_port = s.port,
		.sent_seq = rte_cpu_to_be_32(s.seq),
		.recv_ack = rte_cpu_to_be_32(s.ack),
		.data_off = 8 << 4,
		.tcp_flags = s.flags,
		.rx_win = s.window,
	};
	memset(p + 40, s.option, 12);
	test_fill(p + 52, s.seq, s.text_bytes);
	sum = test_tcp_checksum(p, bytes);
	p[36] = (uint8_t)(sum >> 8);
	p[37] = (uint8_t)(sum + s.bad_checksum);
	m = test_mbuf(p, bytes, s.piece ? s.piece : 2000);
	m->l3_len = 20;
	return m;
}

/* Does `s` join a run that plain begins? Consumes both. */
static bool joins(struct made s)
{
	struct rte_mbuf *m = make(s);
	struct apus_gro g;
	bool joined;

	apus_gro_init(&g);
	assert_true(apus_gro_begin(&g, make(plain)));
	joined = apus_gro_join(&g, m);
	if (!joined)
		rte_pktmbuf_free(m);
	rte_pktmbuf_free(apus_gro_end(&g));
	return joined;
}

static struct made next(void)
{
	struct made s = plain;

	s.seq = MSS;
	return s;
}

#define WITH(field, value) \
 ({                        \
struct made made_ = next();     \
made_.field = (value);          \
made_;                          \
 })

static void segment_that_follows_joins(void **state)
{
	assert_true(joins(next()));
	assert_true(joins(WITH(piece, 52)));     /* its headers in an mbuf of their own */
	assert_true(joins(WITH(piece, 100)));    /* many pieces */
	assert_true(joins(WITH(text_bytes, 1))); /* the last one is shorter */
	assert_true(joins(WITH(flags, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG)));
}

static void segment_that_differs_does_not_join(void **state)
{
	assert_false(joins(WITH(seq, MSS + 1)));
	assert_false(joins(WITH(seq, MSS - 1)));
	assert_false(joins(WITH(seq, 0))); /* the same again */
	assert_false(joins(WITH(text_bytes, MSS + 1)));
	assert_false(joins(WITH(text_bytes, 0)));
	assert_false(joins(WITH(ack, 6)));
	assert_false(joins(WITH(window, 101)));
	assert_false(joins(WITH(port, 81)));
	assert_false(joins(WITH(ttl, 63)));
	assert_false(joins(WITH(tos, 3))); /* CE: RFC 3168 §5.3 */
	assert_false(joins(WITH(tos, 2)));
	assert_false(joins(WITH(option, 2)));
	for (unsigned int flag = 1; flag < 256; flag <<= 1)
		if (flag != RTE_TCP_ACK_FLAG && flag != RTE_TCP_PSH_FLAG)
			assert_false(joins(WITH(flags, (uint8_t)(RTE_TCP_ACK_FLAG | flag))));
	assert_false(joins(WITH(flags, 0)));
	assert_false(joins(WITH(bad_checksum, true)));
	assert_false(joins(WITH(piece, 40))); /* headers that straddle mbufs */
}

static void run_with_a_bad_first_checksum_takes_none(void **state)
{
	struct made bad = plain;
	struct rte_mbuf *m = make(next());
	struct apus_gro g;

	bad.bad_checksum = true;
	apus_gro_init(&g);
	assert_true(apus_gro_begin(&g, make(bad)));
	assert_false(apus_gro_join(&g, m));
	rte_pktmbuf_free(m);
	m = apus_gro_end(&g);
	/* It goes up as it came, to be counted there. */
	assert_int_equal(m->ol_flags & (RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_MASK), 0);
	rte_pktmbuf_free(m);
}

static void what_has_flags_or_little_text_begins_no_run(void **state)
{
	struct made s = plain;
	struct apus_gro g;

	apus_gro_init(&g);
	for (unsigned int flag = 1; flag < 256; flag <<= 1) {
		struct rte_mbuf *m;

		s.flags = (uint8_t)(RTE_TCP_ACK_FLAG ^ flag);
		m = make(s);
		assert_false(apus_gro_begin(&g, m));
		rte_pktmbuf_free(m);
	}
	s = plain;
	s.text_bytes = 512;
	struct rte_mbuf *small = make(s);

	assert_false(apus_gro_begin(&g, small));
	rte_pktmbuf_free(small);
}

static void shorter_segment_and_psh_end_a_run(void **state)
{
	for (int psh = 0; psh < 2; psh++) {
		struct made second = next(), third = next();
		struct rte_mbuf *m;
		struct apus_gro g;

		if (psh)
			second.flags |= RTE_TCP_PSH_FLAG;
		else
			second.text_bytes = 700;
		third.seq = MSS + second.text_bytes;
		apus_gro_init(&g);
		assert_true(apus_gro_begin(&g, make(plain)));
		assert_true(apus_gro_join(&g, make(second)));
		m = make(third);
		assert_false(apus_gro_join(&g, m));
		rte_pktmbuf_free(m);
		m = apus_gro_end(&g);
		assert_int_equal(m->tso_segsz, MSS);
		assert_int_equal(m->pkt_len, 52 + MSS + second.text_bytes);
		rte_pktmbuf_free(m);
	}
}

/* What one packet says, as far as it matters: bytes of text with their place, and what they are told with. */
static uint64_t digest_of(struct rte_mbuf *m)
{
	static uint8_t bytes[70000];
	uint32_t n = test_mbuf_bytes(m, bytes, sizeof(bytes));
	const struct rte_tcp_hdr *tcp = (const void *)(bytes + 20);
	uint32_t seq = rte_be_to_cpu_32(tcp->sent_seq);
	uint64_t sum = 0;

	assert_int_equal(n, m->pkt_len);
	for (uint32_t i = 52; i < n; i++)
		sum += ((uint64_t)bytes[i] + 1) * (seq + i) *
		       (tcp->dst_port + tcp->rx_win + bytes[1] + 1);
	return sum;
}

static void bursts_keep_every_byte_and_every_chain_is_right(void **state)
{
	test_each_seed(seed, 300)
	{
		uint64_t random = seed, before = 0, after = 0;
		struct made s = plain;
		uint32_t up = 0;
		struct apus_gro g;

		apus_gro_init(&g);
		for (int i = 0; i < BURST; i++) {
			struct rte_mbuf *m, *done;
			const char *why;

			s.piece = test_random_below(&random, 4) ? 0 : 52;
			s.text_bytes = test_random_below(&random, 8) ? MSS : 700;
			s.tos = test_random_below(&random, 12) ? 0 : 3;
			s.port = test_random_below(&random, 12) ? 80 : 81;
			s.flags = RTE_TCP_ACK_FLAG;
			if (!test_random_below(&random, 6))
				s.flags |= RTE_TCP_PSH_FLAG;
			m = make(s);
			s.seq += s.text_bytes + (test_random_below(&random, 10) ? 0 : MSS);
			before += digest_of(m);
			if (apus_gro_join(&g, m))
				continue;
			done = apus_gro_end(&g);
			if (done) {
				after += digest_of(done);
				assert_true(rte_mbuf_check(done, 1, &why) == 0);
				rte_pktmbuf_free(done);
				up++;
			}
			if (!apus_gro_begin(&g, m)) {
				after += digest_of(m);
				rte_pktmbuf_free(m);
				up++;
			}
		}
		struct rte_mbuf *last = apus_gro_end(&g);

		if (last) {
			after += digest_of(last);
			rte_pktmbuf_free(last);
			up++;
		}
		assert_true(before == after);
		assert_true(up < BURST);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_with_pool(segment_that_follows_joins),
		test_with_pool(segment_that_differs_does_not_join),
		test_with_pool(run_with_a_bad_first_checksum_takes_none),
		test_with_pool(what_has_flags_or_little_text_begins_no_run),
		test_with_pool(shorter_segment_and_psh_end_a_run),
		test_with_pool(bursts_keep_every_byte_and_every_chain_is_right),
	};

	return test_main_with_pool(argc, argv, tests);
}
