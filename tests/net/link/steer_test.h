/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/steer_test.h: for the tests of net/link/steer.c: shards that turn in one thread in
 * virtual time, a device for each that the test is, and steering around it.
 *
 * Who a frame is for is worked out here from what it was made of, not from what can be read in it.
 */
#ifndef APUS_TESTS_NET_LINK_STEER_TEST_H
#define APUS_TESTS_NET_LINK_STEER_TEST_H

#include "net/link/rss.h"
#include "net/link/steer.h"
#include "runtime/cross/mailbox.h"
#include "tests/net/link/link_test.h"

#include <netinet/in.h>

#include <rte_ip.h>

#define SHARDS_MAX   6
#define FRAME_BYTES  64
#define NUMBER_AT    38 /* behind the ports */
#define IN_FLIGHT    (APUS_STEER_MESSAGES * APUS_LINK_BURST_MAX)
#define FRAGMENT_ONE RTE_IPV4_HDR_MF_FLAG
#define FRAGMENT_TWO 100 /* in units of 8 bytes */

static struct {
	struct apus_clock clock;
	struct apus_random random;
	struct rte_mempool *pool;
	struct apus_rss rss;
	struct apus_steer *steer;
	struct apus_cross *cross;
	struct apus_shard *shards[SHARDS_MAX];
	struct apus_link *links[SHARDS_MAX];
	struct fake devices[SHARDS_MAX];
	unsigned int count;
} b;

APUS_UNUSED static int64_t now(void)
{
	return apus_clock_read(&b.clock);
}

/* --- The board ----------------------------------------------------------------------------- */

APUS_UNUSED static void open_device(unsigned int i)
{
	struct fake *d = &b.devices[i];

	memset(d, 0, sizeof(*d));
	apus_link_init(&d->link, &fake_type);
	d->link.pool = b.pool;
	d->idle_ns = APUS_NEVER;
}

APUS_UNUSED static void open_board(unsigned int shards, unsigned int queues)
{
	uint8_t key[APUS_RSS_KEY_BYTES];

	b.count = shards;
	apus_rss_key_draw(&b.random, key, sizeof(key));
	assert_int_equal(apus_rss_init(&b.rss, key, sizeof(key), shards, queues, NULL, 0), 0);
	assert_int_equal(apus_steer_open(&b.rss, apus_min(queues, shards), &b.steer), 0);
	for (unsigned int i = 0; i < shards; i++) {
		const struct apus_shard_options o = {
			.core = -1, .clock = &b.clock, .seed = i + 1, .index = i, .count = shards};

		assert_int_equal(apus_shard_open(&o, &b.shards[i]), 0);
	}
	assert_int_equal(apus_cross_open(b.shards, shards, NULL, &b.cross), 0);
	for (unsigned int i = 0; i < shards; i++) {
		apus_shard_enter(b.shards[i]);
		open_device(i);
		assert_int_equal(apus_steer_wrap(b.steer, &b.devices[i].link, &b.links[i]), 0);
	}
}

APUS_UNUSED static void close_link(unsigned int i)
{
	apus_shard_enter(b.shards[i]);
	if (b.links[i])
		apus_link_close(b.links[i]);
	b.links[i] = NULL;
}

APUS_UNUSED static void part(void)
{
	apus_shard_enter(NULL);
	if (b.cross)
		apus_cross_close(b.cross);
	b.cross = NULL;
}

/* Whatever is on its way: nothing is left of it. */
APUS_UNUSED static void close_board(void)
{
	for (unsigned int i = 0; i < b.count; i++)
		close_link(i);
	part();
	if (b.steer)
		apus_steer_close(b.steer);
	b.steer = NULL;
	for (unsigned int i = 0; i < b.count; i++)
		apus_shard_close(b.shards[i]);
	b.count = 0;
	assert_int_equal(rte_mempool_in_use_count(b.pool), 0);
}

APUS_UNUSED static int board_setup(void **state)
{
	apus_test_eal();
	memset(&b, 0, sizeof(b));
	apus_clock_init_virtual(&b.clock, START_NS);
	apus_random_init_seed(&b.random, 1);
	b.pool = rte_pktmbuf_pool_create("steer_test", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					 SOCKET_ID_ANY);
	return b.pool ? 0 : -1;
}

APUS_UNUSED static int board_teardown(void **state)
{
	close_board();
	rte_mempool_free(b.pool);
	return 0;
}

APUS_UNUSED static void turn(unsigned int i)
{
	apus_shard_enter(b.shards[i]);
	apus_shard_turn(b.shards[i]);
}

/* Until all that is on its way has come. */
APUS_UNUSED static void settle(void)
{
	for (unsigned int lap = 0; lap < 8; lap++)
		for (unsigned int i = 0; i < b.count; i++)
			turn(i);
}

APUS_UNUSED static uint64_t counted(unsigned int shard, enum apus_steer_counter counter)
{
	return apus_steer_counter(b.links[shard], counter);
}

APUS_UNUSED static uint64_t counted_by_all(enum apus_steer_counter counter)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < b.count; i++)
		sum += counted(i, counter);
	return sum;
}

/* --- Frames -------------------------------------------------------------------------------- */

struct flow {
	struct apus_rss_tuple tuple;
	uint8_t proto;
	uint16_t fragment; /* flags and offset, host order */
};

APUS_UNUSED static struct rte_mbuf *frame_of(const struct flow *f, uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b.pool);
	struct rte_ether_hdr eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(FRAME_BYTES - RTE_ETHER_HDR_LEN),
		.fragment_offset = rte_cpu_to_be_16(f->fragment),
		.next_proto_id = f->proto,
		.src_addr = f->tuple.src,
		.dst_addr = f->tuple.dst,
	};
	char *at;

	assert_non_null(m);
	at = rte_pktmbuf_append(m, FRAME_BYTES);
	apus_must(at);
	memset(at, 0, FRAME_BYTES);
	memcpy(at, &eth, sizeof(eth));
	memcpy(at + sizeof(eth), &ip, sizeof(ip));
	memcpy(at + sizeof(eth) + sizeof(ip), &f->tuple.src_port, 4);
	memcpy(at + NUMBER_AT, &number, sizeof(number));
	return m;
}

APUS_UNUSED static uint32_t number_of(const struct rte_mbuf *m)
{
	uint32_t number;

	memcpy(&number, rte_pktmbuf_mtod_offset(m, const char *, NUMBER_AT), sizeof(number));
	return number;
}

APUS_UNUSED static struct flow random_flow(uint8_t proto)
{
	struct flow f = {.proto = proto};

	apus_random_secret(&b.random, &f.tuple, sizeof(f.tuple));
	return f;
}

/* By the rule: whole TCP and UDP by ports too, all else by addresses. */
APUS_UNUSED static uint32_t hash_of(const struct flow *f)
{
	struct apus_rss_tuple t = f->tuple;

	if (f->fragment || (f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP))
		t.src_port = t.dst_port = 0;
	return apus_rss_hash_plain(&b.rss, &t);
}

APUS_UNUSED static unsigned int owner_of(const struct flow *f)
{
	return apus_rss_shard(&b.rss, hash_of(f));
}

APUS_UNUSED static struct flow flow_for(unsigned int shard, uint8_t proto)
{
	struct flow f;

	do
		f = random_flow(proto);
	while (owner_of(&f) != shard);
	return f;
}

/* The device of @shard will give it to who asks. */
APUS_UNUSED static void arrives(unsigned int shard, struct rte_mbuf *m)
{
	struct fake *d = &b.devices[shard];

	apus_must_op(d->rx_count, <, FAKE_FRAMES_MAX);
	d->rx[d->rx_count++] = m;
}

/* Polls @shard until there is nothing. Gives the numbers of what came, which is freed. Return: how many */
APUS_UNUSED static unsigned int poll(unsigned int shard, uint32_t *numbers, unsigned int most)
{
	const struct fake *d = &b.devices[shard];
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	unsigned int count = 0;

	apus_shard_enter(b.shards[shard]);
	for (int quiet = 0; quiet < 2;) {
		uint32_t left = d->rx_count - d->rx_head;
		uint16_t got = apus_link_rx(b.links[shard], frames, APUS_LINK_BURST_MAX, now());

		quiet = got || left != d->rx_count - d->rx_head ? 0 : quiet + 1;
		for (uint16_t i = 0; i < got; i++, count++) {
			assert_true(count < most);
			numbers[count] = number_of(frames[i]);
			rte_pktmbuf_free(frames[i]);
		}
	}
	return count;
}

/* As poll(), and until nothing is on its way to @shard: empty messages go back for what gathered. */
APUS_UNUSED static unsigned int drain(unsigned int shard, uint32_t *numbers, unsigned int most)
{
	unsigned int count = 0, got;

	do {
		settle();
		got = poll(shard, numbers + count, most - count);
		count += got;
	} while (got);
	return count;
}

static void assert_numbers(const uint32_t *numbers, unsigned int got, uint32_t first,
			   unsigned int count)
{
	assert_int_equal(got, count);
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(numbers[i], first + i);
}

/* Nothing but these numbers, in this order, is at @shard. */
APUS_UNUSED static void assert_gets(unsigned int shard, uint32_t first, unsigned int count)
{
	static uint32_t numbers[FAKE_FRAMES_MAX];

	assert_numbers(numbers, poll(shard, numbers, FAKE_FRAMES_MAX), first, count);
}

/* Nor on its way to it. */
APUS_UNUSED static void assert_gets_all(unsigned int shard, uint32_t first, unsigned int count)
{
	static uint32_t numbers[FAKE_FRAMES_MAX];

	assert_numbers(numbers, drain(shard, numbers, FAKE_FRAMES_MAX), first, count);
}

APUS_UNUSED static void assert_gets_nothing(unsigned int shard)
{
	assert_gets(shard, 0, 0);
}

/* Frames of flows of @owner's come by @queue, numbered from @first on. */
APUS_UNUSED static void send_to(unsigned int owner, unsigned int queue, uint32_t first,
				unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct flow f = flow_for(owner, IPPROTO_TCP);

		arrives(queue, frame_of(&f, first + i));
	}
}

#endif
