/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_rss.c: which shard a flow belongs to.
 */
#include "net/link/rss.h"
#include "runtime/base/check.h"
#include "tests/runtime/base_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>

/* Microsoft, "Verifying the RSS Hash Calculation": key, and hashes with and without ports. */
static const uint8_t microsoft_key[APUS_RSS_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct {
	uint32_t dst;
	uint16_t dst_port;
	uint32_t src;
	uint16_t src_port;
	uint32_t addresses, ports;
} vectors[] = {
	{RTE_IPV4(161, 142, 100, 80), 1766, RTE_IPV4(66, 9, 149, 187), 2794, 0x323e8fc2,
	 0x51ccc178},
	{RTE_IPV4(65, 69, 140, 83), 4739, RTE_IPV4(199, 92, 111, 2), 14230, 0xd718262a, 0xc626b0ea},
	{RTE_IPV4(12, 22, 207, 184), 38024, RTE_IPV4(24, 19, 198, 95), 12898, 0xd2d0a5de,
	 0x5c2b394a},
	{RTE_IPV4(209, 142, 163, 6), 2217, RTE_IPV4(38, 27, 205, 30), 48228, 0x82989176,
	 0xafc7327f},
	{RTE_IPV4(202, 188, 127, 2), 1303, RTE_IPV4(153, 39, 163, 191), 44251, 0x5d1809c5,
	 0x10e828a2},
};

static struct apus_rss rss; /* under test: too large for a frame */

/* Makes it anew. */
static void rule(unsigned int shards, unsigned int queues, unsigned int entries)
{
	assert_int_equal(apus_rss_init(&rss, microsoft_key, sizeof(microsoft_key), shards, queues,
				       NULL, entries),
			 0);
}

static struct apus_rss_tuple random_tuple(struct apus_random *random)
{
	struct apus_rss_tuple t;

	apus_random_secret(random, &t, sizeof(t));
	return t;
}

/* As Microsoft's text says it: for each bit that is set, the leftmost 32 bits of the key's rest. */
static uint32_t naive(const uint8_t *key, const void *input, size_t bytes)
{
	const uint8_t *in = input;
	uint32_t hash = 0;

	for (size_t i = 0; i < 8 * bytes; i++) {
		uint32_t word = 0;

		if (!(in[i / 8] >> (7 - i % 8) & 1))
			continue;
		for (size_t j = 0; j < 32; j++)
			word = word << 1 | (key[(i + j) / 8] >> (7 - (i + j) % 8) & 1);
		hash ^= word;
	}
	return hash;
}

/* --- The hash ------------------------------------------------------------------------------ */

static void published_vectors_are_met(void **state)
{
	rule(1, 1, 0);

	for (size_t i = 0; i < apus_countof(vectors); i++) {
		struct apus_rss_tuple t = {.src = htonl(vectors[i].src),
					   .dst = htonl(vectors[i].dst)};
		uint32_t burst;

		assert_int_equal(apus_rss_hash(&rss, &t), vectors[i].addresses);
		assert_int_equal(apus_rss_hash_plain(&rss, &t), vectors[i].addresses);
		t.src_port = htons(vectors[i].src_port);
		t.dst_port = htons(vectors[i].dst_port);
		assert_int_equal(apus_rss_hash(&rss, &t), vectors[i].ports);
		assert_int_equal(apus_rss_hash_plain(&rss, &t), vectors[i].ports);
		apus_rss_hash_burst(&rss, &t, &burst, 1);
		assert_int_equal(burst, vectors[i].ports);
	}
}

static void random_tuples_and_keys_hash_as_the_definition_says(void **state)
{
	struct apus_random random;
	uint8_t key[APUS_RSS_KEY_BYTES_MAX];
	apus_random_init_seed(&random, 5);
	for (size_t bytes = APUS_RSS_KEY_BYTES_MIN; bytes <= sizeof(key); bytes++) {
		apus_rss_key_draw(&random, key, bytes);
		assert_int_equal(apus_rss_init(&rss, key, bytes, 3, 2, NULL, 0), 0);
		for (int i = 0; i < 200; i++) {
			struct apus_rss_tuple t = random_tuple(&random);
			uint32_t want = naive(key, &t, sizeof(t));

			assert_int_equal(apus_rss_hash(&rss, &t), want);
			assert_int_equal(apus_rss_hash_plain(&rss, &t), want);
		}
	}
}

static void bursts_of_any_size_hash_as_single_tuples(void **state)
{
	struct apus_rss_tuple tuples[100];
	uint32_t hashes[101];
	struct apus_random random;

	rule(1, 1, 0);
	apus_random_init_seed(&random, 6);
	for (unsigned int n = 0; n <= apus_countof(tuples); n++) {
		for (unsigned int i = 0; i < n; i++)
			tuples[i] = random_tuple(&random);
		hashes[n] = 0xdeadbeef;
		apus_rss_hash_burst(&rss, tuples, hashes, n);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(hashes[i], apus_rss_hash_plain(&rss, &tuples[i]));
		assert_int_equal(hashes[n], 0xdeadbeef);
	}
}

static void port_put_in_later_gives_the_same_hash(void **state)
{
	struct apus_random random;

	rule(4, 4, 0);
	apus_random_init_seed(&random, 7);
	for (int i = 0; i < 1000; i++) {
		struct apus_rss_tuple t = random_tuple(&random);
		uint32_t want = apus_rss_hash(&rss, &t);
		uint16_t port = ntohs(t.dst_port);

		t.dst_port = 0;
		assert_int_equal(apus_rss_with_port(&rss, apus_rss_hash(&rss, &t), port), want);
	}
}

/* --- The key ------------------------------------------------------------------------------- */

static void drawn_keys_are_not_symmetric_and_the_known_symmetric_one_is(void **state)
{
	struct apus_random random;
	uint8_t key[APUS_RSS_KEY_BYTES];
	apus_random_init_seed(&random, 8);
	for (int i = 0; i < 100; i++) {
		apus_rss_key_draw(&random, key, sizeof(key));
		assert_int_equal(apus_rss_init(&rss, key, sizeof(key), 2, 2, NULL, 0), 0);
		assert_false(apus_rss_is_symmetric(&rss));
	}
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = i % 2 ? 0x5a : 0x6d;
	assert_int_equal(apus_rss_init(&rss, key, sizeof(key), 2, 2, NULL, 0), 0);
	assert_true(apus_rss_is_symmetric(&rss));
	for (int i = 0; i < 1000; i++) {
		struct apus_rss_tuple t = random_tuple(&random);
		struct apus_rss_tuple back = {t.dst, t.src, t.dst_port, t.src_port};

		assert_int_equal(apus_rss_hash(&rss, &t), apus_rss_hash(&rss, &back));
	}
	rule(2, 2, 0);
	assert_false(apus_rss_is_symmetric(&rss)); /* Microsoft's */
}

/* Whatever the other fields are, the ports that lead to one shard of n are a share of 1/n. */
static void each_shard_is_reached_by_its_share_of_ports(void **state)
{
	struct apus_random random;
	uint8_t key[APUS_RSS_KEY_BYTES];

	apus_random_init_seed(&random, 9);
	for (unsigned int shards = 1; shards <= 7; shards++) {
		apus_rss_key_draw(&random, key, sizeof(key));
		assert_int_equal(apus_rss_init(&rss, key, sizeof(key), shards, 1, NULL, 0), 0);
		for (int i = 0; i < 50; i++) {
			struct apus_rss_tuple t = random_tuple(&random);
			uint32_t count[8] = {0}, hash;

			t.dst_port = 0;
			hash = apus_rss_hash(&rss, &t);
			for (unsigned int port = 0; port <= UINT16_MAX; port++)
				count[apus_rss_shard(
					&rss, apus_rss_with_port(&rss, hash, (uint16_t)port))]++;
			for (unsigned int s = 0; s < shards; s++)
				assert_in_range(count[s], 65536 / shards * 98 / 100,
						65536 / shards * 102 / 100 + 1);
		}
	}
}

/* --- The table ----------------------------------------------------------------------------- */

/* Is a shard that owns an entry fed by the queue that the entry sends to? */
static bool is_fed(unsigned int entry)
{
	unsigned int shard = rss.owner[entry], queue = rss.queue[entry];

	return rss.queues < rss.shards ? shard % rss.queues == queue : queue % rss.shards == shard;
}

static void every_shape_divides_entries_evenly_and_uses_every_queue(void **state)
{
	for (unsigned int shards = 1; shards <= 9; shards++) {
		for (unsigned int queues = 1; queues <= 9; queues++) {
			unsigned int owned[9] = {0}, used[9] = {0};

			rule(shards, queues, 128);
			for (unsigned int i = 0; i < 128; i++) {
				assert_true(is_fed(i));
				owned[rss.owner[i]]++;
				used[rss.queue[i]]++;
			}
			for (unsigned int s = 0; s < shards; s++)
				assert_in_range(owned[s], 128 / shards, 128 / shards + 1);
			for (unsigned int q = 0; q < queues; q++)
				assert_true(used[q] > 0);
		}
	}
}

static void device_table_is_adopted_without_needless_hand_over(void **state)
{
	for (unsigned int shards = 1; shards <= 9; shards++) {
		for (unsigned int queues = 1; queues <= 9; queues++) {
			uint16_t table[64];
			unsigned int owned[9] = {0};

			for (unsigned int i = 0; i < 64; i++)
				table[i] = (uint16_t)(i / 7 % queues); /* as odd as a device's */
			assert_int_equal(apus_rss_init(&rss, microsoft_key, sizeof(microsoft_key),
						       shards, queues, table, 64),
					 0);
			for (unsigned int i = 0; i < 64; i++) {
				assert_int_equal(rss.queue[i], table[i]);
				assert_true(is_fed(i));
				owned[rss.owner[i]]++;
			}
			for (unsigned int s = 0; s < shards; s++)
				assert_true(owned[s] > 0);
		}
	}
}

static void impossible_shapes_are_refused(void **state)
{
	uint16_t table[4] = {0, 1, 2, 0};
	const uint8_t *key = microsoft_key;

	assert_int_equal(apus_rss_init(&rss, key, 15, 1, 1, NULL, 0), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 65, 1, 1, NULL, 0), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 0, 1, NULL, 0), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 65, 1, NULL, 0), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 1, 0, NULL, 0), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 1, 1, NULL, 100), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 1, 1, NULL, 4096), -EINVAL);
	assert_int_equal(apus_rss_init(&rss, key, 40, 2, 2, table, 4), -EINVAL); /* names queue 2 */
	assert_int_equal(apus_rss_init(&rss, key, 40, 2, 3, table, 4), 0);
}

/* --- What a frame belongs to --------------------------------------------------------------- */

struct frame {
	uint8_t bytes[256];
	size_t len;
};

#define SRC RTE_BE32(RTE_IPV4(10, 0, 0, 2))
#define DST RTE_BE32(RTE_IPV4(10, 0, 0, 1))

static void put(struct frame *f, const void *data, size_t len)
{
	memcpy(f->bytes + f->len, data, len);
	f->len += len;
}

static void put_eth(struct frame *f, uint16_t type)
{
	struct rte_ether_hdr eth = {.ether_type = htons(type)};

	put(f, &eth, sizeof(eth));
}

static void put_ip(struct frame *f, uint8_t proto, uint32_t src, uint32_t dst, uint8_t words,
		   uint16_t fragment)
{
	uint8_t header[60] = {0};
	struct rte_ipv4_hdr ip = {
		.version_ihl = (uint8_t)(0x40 | words),
		.next_proto_id = proto,
		.src_addr = src,
		.dst_addr = dst,
		.fragment_offset = htons(fragment),
	};

	memcpy(header, &ip, sizeof(ip));
	put(f, header, (size_t)words * 4);
}

static void put_ports(struct frame *f, uint16_t src, uint16_t dst)
{
	uint16_t ports[4] = {htons(src), htons(dst)};

	put(f, ports, sizeof(ports));
}

static struct frame ipv4_frame(uint8_t proto, uint8_t words, uint16_t fragment)
{
	struct frame f = {.len = 0};

	put_eth(&f, RTE_ETHER_TYPE_IPV4);
	put_ip(&f, proto, SRC, DST, words, fragment);
	put_ports(&f, 1000, 80);
	return f;
}

static struct apus_rss_flow flow_of(const struct frame *f)
{
	struct apus_rss_flow flow;

	apus_rss_flow_parse(f->bytes, f->len, &flow);
	return flow;
}

static void assert_flow(const struct frame *f, enum apus_rss_kind kind, uint16_t src_port,
			uint16_t dst_port)
{
	struct apus_rss_flow flow = flow_of(f);

	assert_int_equal(flow.kind, kind);
	assert_false(flow.inner);
	assert_int_equal(flow.tuple.src, kind == APUS_RSS_NONE || kind == APUS_RSS_ARP ? 0 : SRC);
	assert_int_equal(flow.tuple.dst, kind == APUS_RSS_NONE || kind == APUS_RSS_ARP ? 0 : DST);
	assert_int_equal(flow.tuple.src_port, htons(src_port));
	assert_int_equal(flow.tuple.dst_port, htons(dst_port));
}

static void tcp_and_udp_are_known_by_ports_with_any_header_length(void **state)
{
	for (uint8_t words = 5; words <= 15; words++) {
		struct frame tcp = ipv4_frame(IPPROTO_TCP, words, RTE_IPV4_HDR_DF_FLAG);
		struct frame udp = ipv4_frame(IPPROTO_UDP, words, 0);

		assert_flow(&tcp, APUS_RSS_TCP, 1000, 80);
		assert_flow(&udp, APUS_RSS_UDP, 1000, 80);
	}
}

static void fragments_and_other_protocols_are_known_by_addresses(void **state)
{
	struct frame first = ipv4_frame(IPPROTO_UDP, 5, RTE_IPV4_HDR_MF_FLAG);
	struct frame later = ipv4_frame(IPPROTO_UDP, 5, 185);
	struct frame echo = ipv4_frame(IPPROTO_ICMP, 5, 0);
	struct frame gre = ipv4_frame(IPPROTO_GRE, 5, 0);

	assert_flow(&first, APUS_RSS_ADDRESSES, 0, 0);
	assert_flow(&later, APUS_RSS_ADDRESSES, 0, 0);
	echo.bytes[RTE_ETHER_HDR_LEN + 20] = 8;
	assert_flow(&echo, APUS_RSS_ADDRESSES, 0, 0);
	assert_flow(&gre, APUS_RSS_ADDRESSES, 0, 0);
}

static void tagged_frames_are_looked_into_and_other_types_are_not(void **state)
{
	struct frame tagged = {.len = 0}, arp = {.len = 0}, ipv6 = {.len = 0};
	uint16_t tag[2] = {htons(7), htons(RTE_ETHER_TYPE_IPV4)};

	put_eth(&tagged, RTE_ETHER_TYPE_VLAN);
	put(&tagged, tag, sizeof(tag));
	put_ip(&tagged, IPPROTO_TCP, SRC, DST, 5, 0);
	put_ports(&tagged, 1, 2);
	assert_flow(&tagged, APUS_RSS_TCP, 1, 2);
	put_eth(&arp, RTE_ETHER_TYPE_ARP);
	assert_flow(&arp, APUS_RSS_ARP, 0, 0);
	put_eth(&ipv6, RTE_ETHER_TYPE_IPV6);
	put_ip(&ipv6, IPPROTO_TCP, SRC, DST, 5, 0);
	assert_flow(&ipv6, APUS_RSS_NONE, 0, 0);
}

/* An ICMP error of @type about a segment of ours from DST:80 to SRC:1000, told by a router. */
static struct frame icmp_error(uint8_t type, uint8_t inner_words, uint16_t inner_fragment)
{
	struct frame f = {.len = 0};
	struct rte_icmp_hdr icmp = {.icmp_type = type};

	put_eth(&f, RTE_ETHER_TYPE_IPV4);
	put_ip(&f, IPPROTO_ICMP, RTE_BE32(RTE_IPV4(10, 0, 0, 254)), DST, 6, 0);
	put(&f, &icmp, sizeof(icmp));
	put_ip(&f, IPPROTO_TCP, DST, SRC, inner_words, inner_fragment);
	put_ports(&f, 80, 1000);
	return f;
}

static void icmp_error_goes_where_the_flow_is_that_it_is_about(void **state)
{
	const uint8_t types[] = {3, 4, 11, 12};
	struct frame answer = ipv4_frame(IPPROTO_TCP, 5, 0);
	struct apus_rss_flow want = flow_of(&answer);

	for (size_t i = 0; i < sizeof(types); i++) {
		for (uint8_t words = 5; words <= 15; words++) {
			struct frame f = icmp_error(types[i], words, RTE_IPV4_HDR_DF_FLAG);
			struct apus_rss_flow flow = flow_of(&f);

			assert_true(flow.inner);
			assert_int_equal(flow.kind, APUS_RSS_TCP);
			assert_memory_equal(&flow.tuple, &want.tuple, sizeof(want.tuple));
		}
	}
}

static void icmp_that_names_no_flow_is_known_by_addresses(void **state)
{
	struct frame redirect = icmp_error(5, 5, 0), later = icmp_error(3, 5, 10);
	struct frame cut = icmp_error(3, 5, 0);
	struct apus_rss_flow flow;

	flow = flow_of(&redirect);
	assert_true(flow.kind == APUS_RSS_ADDRESSES && !flow.inner);
	flow = flow_of(&later);
	assert_true(flow.kind == APUS_RSS_ADDRESSES && !flow.inner);
	for (cut.len -= 5; cut.len >= RTE_ETHER_HDR_LEN + 24; cut.len--) {
		flow = flow_of(&cut);
		assert_true(flow.kind == APUS_RSS_ADDRESSES && !flow.inner);
		assert_int_equal(flow.tuple.src_port | flow.tuple.dst_port, 0);
	}
}

/* The short way through an mbuf says what the long one does. */
static void frames_in_mbufs_are_read_as_in_memory(void **state)
{
	static struct rte_mbuf m;
	struct apus_random random;

	apus_random_init_seed(&random, 11);
	for (int i = 0; i < 20000; i++) {
		uint8_t proto =
			(uint8_t)(i % 3 ? i % 3 == 1 ? IPPROTO_TCP : IPPROTO_UDP : IPPROTO_ICMP);
		struct frame f = ipv4_frame(proto, i % 5 ? 5 : 7, i % 7 ? 0 : RTE_IPV4_HDR_MF_FLAG);
		struct apus_rss_flow want, got;

		f.bytes[apus_random_below(&random, f.len)] ^= (uint8_t)(i % 11 ? 0 : 1 << i % 8);
		if (i % 13 == 0)
			f.len = apus_random_below(&random, f.len);
		m.buf_addr = f.bytes;
		m.data_len = (uint16_t)f.len;
		m.pkt_len = (uint32_t)f.len;
		memset(&got, 0, sizeof(got));
		apus_rss_flow_of(&m, &got);
		want = flow_of(&f);
		assert_int_equal(got.kind, want.kind);
		assert_int_equal(got.inner, want.inner);
		assert_memory_equal(&got.tuple, &want.tuple, sizeof(want.tuple));
	}
}

/* In memory of exactly their length, so that a sanitizer sees a byte too many. */
static void frames_cut_anywhere_and_noise_are_read_within_bounds(void **state)
{
	struct frame f = icmp_error(3, 15, 0);
	struct apus_random random;

	apus_random_init_seed(&random, 10);
	for (int i = 0; i < 20000; i++) {
		size_t len = apus_random_below(&random, f.len + 1);
		uint8_t *exact = malloc(len ? len : 1);
		struct apus_rss_flow flow;

		memcpy(exact, f.bytes, len);
		for (size_t n = apus_random_below(&random, 4); len > 12 && n > 0; n--)
			exact[12 + apus_random_below(&random, len - 12)] =
				(uint8_t)apus_random_u64(&random);
		apus_rss_flow_parse(exact, len, &flow);
		assert_in_range(flow.kind, 0, APUS_RSS_KIND_COUNT - 1);
		free(exact);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_are_met),
		cmocka_unit_test(random_tuples_and_keys_hash_as_the_definition_says),
		cmocka_unit_test(bursts_of_any_size_hash_as_single_tuples),
		cmocka_unit_test(port_put_in_later_gives_the_same_hash),
		cmocka_unit_test(drawn_keys_are_not_symmetric_and_the_known_symmetric_one_is),
		cmocka_unit_test(each_shard_is_reached_by_its_share_of_ports),
		cmocka_unit_test(every_shape_divides_entries_evenly_and_uses_every_queue),
		cmocka_unit_test(device_table_is_adopted_without_needless_hand_over),
		cmocka_unit_test(impossible_shapes_are_refused),
		cmocka_unit_test(tcp_and_udp_are_known_by_ports_with_any_header_length),
		cmocka_unit_test(fragments_and_other_protocols_are_known_by_addresses),
		cmocka_unit_test(tagged_frames_are_looked_into_and_other_types_are_not),
		cmocka_unit_test(icmp_error_goes_where_the_flow_is_that_it_is_about),
		cmocka_unit_test(icmp_that_names_no_flow_is_known_by_addresses),
		cmocka_unit_test(frames_in_mbufs_are_read_as_in_memory),
		cmocka_unit_test(frames_cut_anywhere_and_noise_are_read_within_bounds),
	};

	return test_main(argc, argv, tests);
}
