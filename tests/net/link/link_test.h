/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/link_test.h: for the tests of net/link: a shard in virtual time, a pool that must be
 * full at the end, and a link that gives what the test put in and keeps what was sent.
 */
#ifndef APUS_TESTS_NET_LINK_LINK_TEST_H
#define APUS_TESTS_NET_LINK_LINK_TEST_H

#include "net/link/link.h"
#include "runtime/sched/shard.h"
#include "tests/net/net_test.h"
#include "tests/runtime/base_test.h"

#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>

#define FAKE_FRAMES_MAX 4096
#define START_NS        APUS_SEC

/* A device that the test is. */
struct fake {
	struct apus_link link; /* first */
	struct rte_mbuf *rx[FAKE_FRAMES_MAX];
	struct rte_mbuf *tx[FAKE_FRAMES_MAX];
	int64_t tx_at_ns[FAKE_FRAMES_MAX];
	uint32_t rx_head, rx_count, tx_count;
	int64_t idle_ns; /* what its idle answers */
	enum apus_idle idle_last;
	bool closed;
};

struct fixture {
	struct apus_clock clock;
	struct apus_shard *shard;
	struct rte_mempool *pool;
	struct apus_random random;
	uint64_t live; /* objects on the heap before the test */
	struct fake fake;
	struct apus_link *link; /* under test; closed by the teardown if the test did not */
};

static uint16_t fake_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			int64_t now_ns)
{
	struct fake *fake = apus_container_of(link, struct fake, link);
	uint16_t got = 0;

	while (got < n && fake->rx_head < fake->rx_count)
		frames[got++] = fake->rx[fake->rx_head++];
	return got;
}

static void fake_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct fake *fake = apus_container_of(link, struct fake, link);

	for (uint16_t i = 0; i < n; i++) {
		apus_must_op(fake->tx_count, <, FAKE_FRAMES_MAX);
		fake->tx_at_ns[fake->tx_count] = now_ns;
		fake->tx[fake->tx_count++] = frames[i];
	}
}

static int64_t fake_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct fake *fake = apus_container_of(link, struct fake, link);

	fake->idle_last = what;
	return fake->idle_ns;
}

static void fake_close(struct apus_link *link)
{
	struct fake *fake = apus_container_of(link, struct fake, link);

	apus_must(!fake->closed);
	fake->closed = true;
	rte_pktmbuf_free_bulk(fake->rx + fake->rx_head, fake->rx_count - fake->rx_head);
	rte_pktmbuf_free_bulk(fake->tx, fake->tx_count);
	apus_link_fini(link);
}

static const struct apus_link_type fake_type = {
	.name = "fake",
	.rx = fake_rx,
	.tx = fake_tx,
	.idle = fake_idle,
	.close = fake_close,
};

/* A frame of IPv4 with @bytes in all, each of them after the header @fill; its first 4 carry @number. */
static APUS_UNUSED struct rte_mbuf *frame_new(struct fixture *f, uint32_t number, uint16_t bytes)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->pool);
	struct rte_ether_hdr *eth;

	assert_non_null(m);
	eth = (struct rte_ether_hdr *)(void *)rte_pktmbuf_append(m, bytes);
	memset(eth, (int)number, bytes);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	memcpy(eth + 1, &number, sizeof(number));
	return m;
}

static APUS_UNUSED uint32_t frame_number(const struct rte_mbuf *m)
{
	uint32_t number;

	memcpy(&number, rte_pktmbuf_mtod_offset(m, const char *, RTE_ETHER_HDR_LEN),
	       sizeof(number));
	return number;
}

/* The fake device will give it to who asks. */
static APUS_UNUSED void arrive(struct fixture *f, struct rte_mbuf *m)
{
	apus_must_op(f->fake.rx_count, <, FAKE_FRAMES_MAX);
	f->fake.rx[f->fake.rx_count++] = m;
}

static APUS_UNUSED void send_one(struct fixture *f, struct rte_mbuf *m, int64_t now_ns)
{
	apus_link_tx(f->link, &m, 1, now_ns);
}

/* Takes one frame from the link under test; it is freed. Return: its number, -1 if there was none. */
static APUS_UNUSED int64_t receive_one(struct fixture *f, int64_t now_ns)
{
	struct rte_mbuf *m;
	int64_t number;

	if (!apus_link_rx(f->link, &m, 1, now_ns))
		return -1;
	number = frame_number(m);
	rte_pktmbuf_free(m);
	return number;
}

/* A new device, in place of one that was never made or was closed. */
static APUS_UNUSED void fake_open(struct fixture *f)
{
	memset(&f->fake, 0, sizeof(f->fake));
	apus_link_init(&f->fake.link, &fake_type);
	f->fake.link.pool = f->pool;
	f->fake.link.mtu = 1500;
	f->fake.link.mac = (struct rte_ether_addr){{2, 0, 0, 0, 0, 1}};
	f->fake.link.tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
				   RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	f->fake.link.rx_offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM;
	f->fake.idle_ns = APUS_NEVER;
}

/* Closes the link under test, and makes a new device. */
static APUS_UNUSED void fixture_renew(struct fixture *f)
{
	apus_link_close(f->link);
	f->link = NULL;
	fake_open(f);
}

static APUS_UNUSED int fixture_open(void **state)
{
	static struct fixture f;

	apus_test_eal();
	memset(&f, 0, sizeof(f));
	apus_clock_init_virtual(&f.clock, START_NS);
	apus_random_init_seed(&f.random, 1);
	if (apus_shard_open(&(struct apus_shard_options){.core = -1, .clock = &f.clock, .seed = 1},
			    &f.shard))
		return -1;
	apus_shard_enter(f.shard);
	f.live = apus_shard_heap(f.shard)->live;
	f.pool = rte_pktmbuf_pool_create("link_test", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					 SOCKET_ID_ANY);
	if (!f.pool)
		return -1;
	fake_open(&f);
	*state = &f;
	return 0;
}

/* Whatever the test did: nothing is left, neither frames nor memory. */
static APUS_UNUSED int fixture_close(void **state)
{
	struct fixture *f = *state;
	unsigned int in_use;
	uint64_t live;

	if (f->link)
		apus_link_close(f->link);
	else if (!f->fake.closed)
		apus_link_close(&f->fake.link);
	in_use = rte_mempool_in_use_count(f->pool);
	live = apus_shard_heap(f->shard)->live;
	rte_mempool_free(f->pool);
	apus_shard_close(f->shard);
	if (in_use)
		fprintf(stderr, "%u mbufs leaked\n", in_use);
	if (live != f->live)
		fprintf(stderr, "%d objects leaked\n", (int)(live - f->live));
	if (!f->fake.closed)
		fprintf(stderr, "the wrapped link was not closed\n");
	return in_use || live != f->live || !f->fake.closed ? -1 : 0;
}

#define test_with_links(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

#endif
