/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_steer.c: who gets a frame (net/link/steer.c), and what is said of a device that
 * hashes.
 */
#include "tests/net/link/steer_test.h"

/* --- Who gets it --------------------------------------------------------------------------- */

static void own_frames_stay_in_order(void **state)
{
	open_board(2, 2);
	send_to(0, 0, 0, 100);
	assert_gets(0, 0, 100);
	settle();
	assert_gets_nothing(1);
	assert_int_equal(counted_by_all(APUS_STEER_HANDED_OVER), 0);
	assert_int_equal(b.links[0]->counters[APUS_LINK_RX_FRAMES], 100);
}

static void frames_of_another_reach_it_in_order(void **state)
{
	open_board(3, 3);
	send_to(2, 0, 0, 100);
	assert_gets_nothing(0);
	settle();
	assert_gets_nothing(1);
	assert_gets(2, 0, 100);
	assert_int_equal(counted(0, APUS_STEER_HANDED_OVER), 100);
	assert_int_equal(counted(2, APUS_STEER_TAKEN), 100);
	assert_int_equal(b.links[2]->counters[APUS_LINK_RX_FRAMES], 100);
	assert_int_equal(b.links[0]->counters[APUS_LINK_RX_FRAMES], 0);
}

/* Any flow of any kind, by any queue of any number: it ends where the rule says, and once. */
static void every_flow_reaches_its_owner_whatever_the_queue(void **state)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_GRE};
	static const uint16_t fragments[] = {0, 0, 0, FRAGMENT_ONE, FRAGMENT_TWO};
	static unsigned int owners[1000];

	for (unsigned int shards = 1; shards <= SHARDS_MAX; shards++) {
		for (unsigned int queues = 1; queues <= shards; queues++) {
			unsigned int came = 0;

			open_board(shards, queues);
			for (uint32_t i = 0; i < apus_countof(owners); i++) {
				struct flow f =
					random_flow(protos[apus_random_below(&b.random, 4)]);

				f.fragment = fragments[apus_random_below(&b.random, 5)];
				owners[i] = owner_of(&f);
				arrives((unsigned int)apus_random_below(&b.random, queues),
					frame_of(&f, i));
			}
			for (unsigned int lap = 0; lap < 2 * shards; lap++) {
				static uint32_t numbers[apus_countof(owners)];
				unsigned int i = lap % shards;
				unsigned int n = drain(i, numbers, apus_countof(numbers));

				for (unsigned int k = 0; k < n; k++, came++)
					assert_int_equal(owners[numbers[k]], i);
			}
			assert_int_equal(came, apus_countof(owners));
			assert_int_equal(counted_by_all(APUS_STEER_HANDED_OVER),
					 counted_by_all(APUS_STEER_TAKEN));
			close_board();
		}
	}
}

/* The first fragment has ports, the others have not: all meet where they are put together. */
static void fragments_of_a_datagram_meet_on_one_shard(void **state)
{
	unsigned int apart = 0;

	open_board(2, 2);
	for (uint32_t i = 0; i < 100; i++) {
		struct flow f = random_flow(IPPROTO_UDP);
		unsigned int whole = owner_of(&f), owner;

		f.fragment = FRAGMENT_ONE;
		owner = owner_of(&f);
		apart += whole != owner;
		arrives(0, frame_of(&f, 2 * i));
		f.fragment = FRAGMENT_TWO;
		apus_random_secret(&b.random, &f.tuple.src_port, 4); /* text */
		arrives(1, frame_of(&f, 2 * i + 1));
		if (owner == 0) {
			assert_gets_nothing(1);
			assert_int_equal(drain(0, (uint32_t[2]){0}, 2), 2);
		} else {
			assert_gets_nothing(0);
			assert_int_equal(drain(1, (uint32_t[2]){0}, 2), 2);
		}
	}
	assert_in_range(apart, 20, 80); /* so it was by addresses */
}

/* What is no IPv4, or too short to be, stays with who got it. */
static void what_has_no_flow_stays_where_it_came(void **state)
{
	static const uint16_t types[] = {RTE_ETHER_TYPE_ARP, RTE_ETHER_TYPE_IPV6,
					 RTE_ETHER_TYPE_LLDP, 0x88b5};
	struct flow f;

	open_board(2, 2);
	f = flow_for(0, IPPROTO_TCP);
	for (uint32_t i = 0; i < apus_countof(types); i++) {
		struct rte_mbuf *m = frame_of(&f, i);

		rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type =
			rte_cpu_to_be_16(types[i]);
		arrives(1, m);
	}
	assert_gets(1, 0, apus_countof(types));
	for (uint16_t bytes = 0; bytes < RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr); bytes++) {
		struct rte_mbuf *m = frame_of(&f, 7);

		rte_pktmbuf_trim(m, (uint16_t)(FRAME_BYTES - bytes));
		arrives(1, m);
	}
	assert_int_equal(poll(1, (uint32_t[64]){0}, 64),
			 RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr));
	settle();
	assert_gets_nothing(0);
	assert_int_equal(counted_by_all(APUS_STEER_HANDED_OVER), 0);
}

/* A header whose ports are cut off is known by its addresses; one in two mbufs as in one. */
static void cut_and_chained_headers_are_read_as_far_as_they_go(void **state)
{
	struct flow f, by_addresses;
	struct rte_mbuf *m, *head;

	open_board(2, 2);
	do {
		f = by_addresses = flow_for(1, IPPROTO_TCP);
		by_addresses.proto = IPPROTO_GRE;
	} while (owner_of(&by_addresses) == 1);
	m = frame_of(&f, 0);
	rte_pktmbuf_trim(m, FRAME_BYTES - RTE_ETHER_HDR_LEN - 20 - 3);
	arrives(0, m);
	assert_int_equal(poll(0, (uint32_t[1]){0}, 1), 1);
	for (uint16_t cut = 1; cut < NUMBER_AT; cut++) {
		m = frame_of(&f, cut);
		head = rte_pktmbuf_alloc(b.pool);
		memcpy(rte_pktmbuf_append(head, cut), rte_pktmbuf_mtod(m, void *), cut);
		rte_pktmbuf_adj(m, cut);
		assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		arrives(0, head);
	}
	assert_gets_nothing(0);
	assert_int_equal(counted(0, APUS_STEER_HANDED_OVER), NUMBER_AT - 1);
}

/* --- UDP: by who has a socket -------------------------------------------------------------- */

static void udp_arrives(const struct flow *f, unsigned int to)
{
	arrives(0, frame_of(f, 1));
	poll(0, (uint32_t[1]){0}, to == 0);
	settle();
	for (unsigned int i = 1; i < b.count; i++)
		assert_gets(i, 1, to == i);
}

static void datagram_goes_to_a_shard_that_has_a_socket_on_its_port(void **state)
{
	struct flow f;
	uint16_t port;

	open_board(3, 3);
	f = flow_for(2, IPPROTO_UDP);
	port = ntohs(f.tuple.dst_port);
	udp_arrives(&f, 2); /* nobody has one: by the hash */
	assert_true(apus_steer_udp_claim(b.links[1], port));
	udp_arrives(&f, 1);
	assert_true(apus_steer_udp_claim(b.links[1], port)); /* a second one there */
	assert_false(apus_steer_udp_claim(b.links[2], port));
	udp_arrives(&f, 2); /* the hash's has one */
	apus_steer_udp_release(b.links[2], port);
	udp_arrives(&f, 1);
	apus_steer_udp_release(b.links[1], port);
	udp_arrives(&f, 1); /* one is left */
	apus_steer_udp_release(b.links[1], port);
	udp_arrives(&f, 2);
}

/* Nor does a claim move what is TCP, or a fragment. */
static void claim_of_a_port_is_of_datagrams_only(void **state)
{
	struct flow f;

	open_board(2, 2);
	f = flow_for(1, IPPROTO_TCP);
	assert_true(apus_steer_udp_claim(b.links[0], ntohs(f.tuple.dst_port)));
	arrives(0, frame_of(&f, 1));
	assert_gets_nothing(0);
	settle();
	assert_gets(1, 1, 1);
	apus_steer_udp_release(b.links[0], ntohs(f.tuple.dst_port));
}

static void datagrams_of_a_port_with_many_sockets_spread_by_the_hash(void **state)
{
	unsigned int got[4] = {0};

	open_board(4, 4);
	for (unsigned int i = 1; i < 4; i++)
		(void)apus_steer_udp_claim(b.links[i], 53);
	for (uint32_t i = 0; i < 600; i++) {
		struct flow f = random_flow(IPPROTO_UDP);

		f.tuple.dst_port = htons(53);
		arrives(0, frame_of(&f, i));
	}
	assert_gets_nothing(0);
	settle();
	for (unsigned int i = 1; i < 4; i++) {
		static uint32_t numbers[600];

		got[i] = drain(i, numbers, 600);
		assert_in_range(got[i], 140, 260);
	}
	assert_int_equal(got[1] + got[2] + got[3], 600);
	for (unsigned int i = 1; i < 4; i++)
		apus_steer_udp_release(b.links[i], 53);
}

/* --- The device's hash --------------------------------------------------------------------- */

enum device_hash {
	RIGHT,
	SWAPPED,
	LYING,
	NO_HASH,
};

static uint32_t device_hash(enum device_hash how, uint32_t hash)
{
	return how == RIGHT ? hash : how == SWAPPED ? __builtin_bswap32(hash) : ~hash;
}

/* Frames for shard 1 by shard 0's queue, with what the device says of them. Gives what is logged. */
static const char *with_hashes(struct test_capture *said, enum device_hash how, unsigned int count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct flow f = flow_for(1, IPPROTO_TCP);
		struct rte_mbuf *m = frame_of(&f, i);

		m->hash.rss = device_hash(how, hash_of(&f));
		m->ol_flags |= how == NO_HASH ? 0 : RTE_MBUF_F_RX_RSS_HASH;
		arrives(0, m);
	}
	test_capture_begin(said);
	(void)poll(0, (uint32_t[1]){0}, 0);
	return test_capture_end(said);
}

static void device_that_hashes_as_we_do_is_told_of_once(void **state)
{
	static struct test_capture said;
	static uint32_t numbers[164];

	open_board(2, 2);
	with_hashes(&said, RIGHT, 63);
	assert_string_equal(said.text, "");
	with_hashes(&said, RIGHT, 1);
	assert_non_null(strstr(said.text, "rss: shard 0: the device's hash is ours (64 frames)"));
	with_hashes(&said, RIGHT, 100);
	assert_string_equal(said.text, "");
	assert_int_equal(counted(0, APUS_STEER_HASH_AGREES), 164);
	assert_int_equal(drain(1, numbers, apus_countof(numbers)), 164);
}

static void device_that_swaps_bytes_or_lies_is_told_of_and_not_believed(void **state)
{
	static const struct {
		enum device_hash how;
		enum apus_steer_counter counter;
		const char *says;
	} rows[] = {
		{SWAPPED, APUS_STEER_HASH_SWAPPED, "the device's hash is ours with bytes swapped"},
		{LYING, APUS_STEER_HASH_DIFFERS, "the device's hash is another (0 of 64 frames"},
	};
	static struct test_capture said;

	for (size_t i = 0; i < apus_countof(rows); i++) {
		open_board(2, 2);
		with_hashes(&said, rows[i].how, 200);
		if (test_count(said.text, rows[i].says) != 1)
			fail_msg("%s", said.text);
		assert_int_equal(counted(0, rows[i].counter), 200);
		assert_int_equal(counted(0, APUS_STEER_HASH_AGREES), 0);
		assert_gets_all(1, 0, 200); /* where they belong */
		close_board();
	}
}

/* A router's word about a segment of ours that flow @f answers: for who sent that. */
static struct rte_mbuf *icmp_error_about(const struct flow *f)
{
	struct flow router = random_flow(IPPROTO_ICMP);
	struct rte_mbuf *m = frame_of(&router, 0);
	const uint16_t ports[] = {f->tuple.dst_port, f->tuple.src_port};
	const struct rte_ipv4_hdr inner = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = f->tuple.dst,
		.dst_addr = f->tuple.src,
	};
	char *at;

	apus_must(rte_pktmbuf_append(m, 16));
	at = rte_pktmbuf_mtod_offset(m, char *, RTE_ETHER_HDR_LEN + sizeof(inner));
	*at = 3;
	memcpy(at + 8, &inner, sizeof(inner));
	memcpy(at + 8 + sizeof(inner), ports, sizeof(ports));
	return m;
}

static void device_without_a_hash_and_icmp_errors_are_not_judged(void **state)
{
	static struct test_capture said;

	open_board(2, 2);
	with_hashes(&said, NO_HASH, 100);
	assert_string_equal(said.text, "");
	assert_int_equal(drain(1, (uint32_t[100]){0}, 100), 100);
	for (int i = 0; i < 100; i++) { /* no device looks into them */
		struct flow f = flow_for(1, IPPROTO_TCP);
		struct rte_mbuf *m = icmp_error_about(&f);

		m->hash.rss = 1;
		m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
		arrives(0, m);
	}
	assert_gets_nothing(0);
	assert_int_equal(drain(1, (uint32_t[100]){0}, 100), 100);
	assert_int_equal(counted(0, APUS_STEER_HASH_AGREES) + counted(0, APUS_STEER_HASH_SWAPPED) +
				 counted(0, APUS_STEER_HASH_DIFFERS),
			 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(own_frames_stay_in_order),
		TEST(frames_of_another_reach_it_in_order),
		TEST(every_flow_reaches_its_owner_whatever_the_queue),
		TEST(fragments_of_a_datagram_meet_on_one_shard),
		TEST(what_has_no_flow_stays_where_it_came),
		TEST(cut_and_chained_headers_are_read_as_far_as_they_go),
		TEST(datagram_goes_to_a_shard_that_has_a_socket_on_its_port),
		TEST(claim_of_a_port_is_of_datagrams_only),
		TEST(datagrams_of_a_port_with_many_sockets_spread_by_the_hash),
		TEST(device_that_hashes_as_we_do_is_told_of_once),
		TEST(device_that_swaps_bytes_or_lies_is_told_of_and_not_believed),
		TEST(device_without_a_hash_and_icmp_errors_are_not_judged),
	};

	return test_main(argc, argv, tests);
}
