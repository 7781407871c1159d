/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/steer.c: what it costs to know where a flow belongs, and to find a port whose answers come
 * back: our search against DPDK's rte_thash_adjust_tuple().
 */
#define ALLOW_EXPERIMENTAL_API /* rte_thash_adjust_tuple(), to be measured against */
#include "net/link/steer.h"
#include "bench/bench.h"
#include "net/link/rss.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/shard.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_thash.h>
#include <string.h>

#define TUPLES       1024 /* a power of two */
#define BURST        32
#define ENTRIES_LOG2 9
#define PORT_FIRST   32768
#define PORTS        28232

static struct apus_rss rss;
static struct apus_rss_tuple tuples[TUPLES];

static void prepare(const uint8_t *key, unsigned int shards, bool gfni)
{
	struct apus_random random;
	uint8_t drawn[APUS_RSS_KEY_BYTES];

	apus_random_init_seed(&random, 1);
	apus_rss_key_draw(&random, drawn, sizeof(drawn));
	apus_must(apus_rss_init(&rss, key ? key : drawn, sizeof(drawn), shards, 1, NULL, 0) == 0);
	rss.gfni = rss.gfni && gfni;
	apus_random_secret(&random, tuples, sizeof(tuples));
}

enum how {
	SOFTRSS, /* rte_softrss_be(), with its key prepared */
	PLAIN,
	GFNI,
	BURST_GFNI,
};

static int64_t hash(uint64_t n, int64_t how)
{
	volatile uint32_t sink = 0;
	uint32_t hashes[BURST], key[APUS_RSS_KEY_BYTES / 4], sum = 0;
	int64_t begin_ns;

	prepare(NULL, 4, how > PLAIN);
	rte_convert_rss_key((const uint32_t *)(const void *)rss.key, key, sizeof(key));
	begin_ns = apus_clock_host_ns();
	if (how == BURST_GFNI) {
		for (uint64_t i = 0; i < n; i += BURST) {
			apus_rss_hash_burst(&rss, &tuples[i & (TUPLES - BURST)], hashes, BURST);
			sum += hashes[i & (BURST - 1)];
		}
	} else if (how == SOFTRSS) {
		for (uint64_t i = 0; i < n; i++) {
			const struct apus_rss_tuple *t = &tuples[i & (TUPLES - 1)];
			uint32_t words[3] = {rte_be_to_cpu_32(t->src), rte_be_to_cpu_32(t->dst),
					     (uint32_t)rte_be_to_cpu_16(t->src_port) << 16 |
						     rte_be_to_cpu_16(t->dst_port)};

			sum += rte_softrss_be(words, apus_countof(words), (const uint8_t *)key);
		}
	} else {
		for (uint64_t i = 0; i < n; i++)
			sum += apus_rss_hash(&rss, &tuples[i & (TUPLES - 1)]);
	}
	sink = sink + sum;
	return apus_clock_host_ns() - begin_ns;
}

/* Ports on from a random one, until one's answers land on shard 1 of @shards. */
static int64_t port_search(uint64_t n, int64_t shards)
{
	volatile uint32_t sink = 0;
	struct apus_random random;
	uint32_t sum = 0;
	int64_t begin_ns;

	prepare(NULL, (unsigned int)shards, true);
	apus_random_init_seed(&random, 2);
	begin_ns = apus_clock_host_ns();
	for (uint64_t i = 0; i < n; i++) {
		struct apus_rss_tuple t = tuples[i & (TUPLES - 1)];
		uint32_t start = (uint32_t)apus_random_below(&random, PORTS);
		uint16_t port;
		uint32_t base;

		t.dst_port = 0;
		base = apus_rss_hash(&rss, &t);
		do
			port = (uint16_t)(PORT_FIRST + start++ % PORTS);
		while (apus_rss_shard(&rss, apus_rss_with_port(&rss, base, port)) != 1);
		sum += port;
	}
	sink = sink + sum;
	return apus_clock_host_ns() - begin_ns;
}

/* From a random port to the one nearby whose hash is a random one of those of shard 1. */
static int64_t port_adjust(uint64_t n, int64_t shards)
{
	struct rte_thash_ctx *ctx;
	struct rte_thash_subtuple_helper *helper;
	struct apus_random random;
	int64_t begin_ns, elapsed_ns;
	uint64_t outside = 0;

	apus_bench_start_dpdk();
	ctx = rte_thash_init_ctx("bench", APUS_RSS_KEY_BYTES, ENTRIES_LOG2, NULL, 0);
	apus_must(ctx && rte_thash_add_helper(ctx, "port", 16, 80) == 0);
	helper = rte_thash_get_helper(ctx, "port");
	prepare(rte_thash_get_key(ctx), (unsigned int)shards, true);
	apus_random_init_seed(&random, 2);
	begin_ns = apus_clock_host_ns();
	for (uint64_t i = 0; i < n; i++) {
		struct apus_rss_tuple t = tuples[i & (TUPLES - 1)];
		uint32_t entry =
			(uint32_t)(1 + apus_random_below(&random,
							 (1 << ENTRIES_LOG2) / (uint64_t)shards) *
					       (uint64_t)shards);
		uint32_t port = PORT_FIRST + (uint32_t)apus_random_below(&random, PORTS);

		/* As rte_thash_adjust_tuple() does it, with the faster hash. */
		t.dst_port = rte_cpu_to_be_16((uint16_t)port);
		port ^= rte_thash_get_complement(helper, apus_rss_hash(&rss, &t),
						 entry & ((1 << ENTRIES_LOG2) - 1));
		outside += port < PORT_FIRST || port >= PORT_FIRST + PORTS;
	}
	elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_must(outside < n);
	rte_thash_free_ctx(ctx);
	return elapsed_ns;
}

/* DPDK's own: a random port, the hash wanted, the tuple adjusted and hashed again. */
static int64_t port_adjust_tuple(uint64_t n, int64_t shards)
{
	struct rte_thash_ctx *ctx;
	struct rte_thash_subtuple_helper *helper;
	struct apus_random random;
	int64_t begin_ns, elapsed_ns;

	apus_bench_start_dpdk();
	ctx = rte_thash_init_ctx("bench", APUS_RSS_KEY_BYTES, ENTRIES_LOG2, NULL, 0);
	apus_must(ctx && rte_thash_add_helper(ctx, "port", 16, 80) == 0);
	helper = rte_thash_get_helper(ctx, "port");
	prepare(rte_thash_get_key(ctx), (unsigned int)shards, true);
	apus_random_init_seed(&random, 2);
	begin_ns = apus_clock_host_ns();
	for (uint64_t i = 0; i < n; i++) {
		struct apus_rss_tuple t = tuples[i & (TUPLES - 1)];
		uint32_t entry =
			(uint32_t)(1 + apus_random_below(&random,
							 (1 << ENTRIES_LOG2) / (uint64_t)shards) *
					       (uint64_t)shards);

		t.dst_port = rte_cpu_to_be_16(
			(uint16_t)(PORT_FIRST + apus_random_below(&random, PORTS)));
		apus_must(rte_thash_adjust_tuple(ctx, helper, (uint8_t *)&t, sizeof(t),
						 entry & ((1 << ENTRIES_LOG2) - 1), 1, NULL,
						 NULL) == 0);
	}
	elapsed_ns = apus_clock_host_ns() - begin_ns;
	rte_thash_free_ctx(ctx);
	return elapsed_ns;
}

/* --- Through a link --------------------------------------------------------------------------- */

#define SHARDS 2

/* A device that gives the same frames for ever, and takes them back. */
struct endless {
	struct apus_link link;             /* first */
	struct rte_mbuf *frames[2][BURST]; /* of each shard's flows */
	unsigned int whose;                /* 2: gives nothing */
};

static uint16_t endless_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			   int64_t now_ns)
{
	const struct endless *e = apus_container_of(link, struct endless, link);

	n = e->whose == 2 ? 0 : n;
	for (uint16_t i = 0; i < n; i++) {
		frames[i] = e->frames[e->whose][i % BURST];
		rte_mbuf_refcnt_update(frames[i], 1);
	}
	return n;
}

static int64_t endless_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return APUS_NEVER;
}

static void endless_close(struct apus_link *link)
{
	struct endless *e = apus_container_of(link, struct endless, link);

	for (unsigned int i = 0; i < 2; i++)
		rte_pktmbuf_free_bulk(e->frames[i], BURST);
	apus_link_fini(link);
}

static const struct apus_link_type endless_type = {
	.name = "endless",
	.rx = endless_rx,
	.idle = endless_idle,
	.close = endless_close,
};

/* A segment from a port such that it is shard @owner's. */
static struct rte_mbuf *segment_of(struct rte_mempool *pool, unsigned int owner, uint16_t port)
{
	struct apus_rss_flow flow;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	char *at = m ? rte_pktmbuf_append(m, 64) : NULL;
	struct rte_ether_hdr eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	struct rte_ipv4_hdr ip = {.version_ihl = RTE_IPV4_VHL_DEF, .next_proto_id = 6};
	struct rte_tcp_hdr tcp = {.dst_port = RTE_BE16(80)};

	apus_must(at);
	do {
		tcp.src_port = rte_cpu_to_be_16(port++);
		memcpy(at, &eth, sizeof(eth));
		memcpy(at + sizeof(eth), &ip, sizeof(ip));
		memcpy(at + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
		apus_rss_flow_of(m, &flow);
	} while (apus_rss_shard(&rss, apus_rss_hash(&rss, &flow.tuple)) != owner);
	return m;
}

static void open_endless(struct endless *e, struct rte_mempool *pool)
{
	apus_link_init(&e->link, &endless_type);
	e->link.pool = pool;
	for (uint16_t i = 0; i < BURST; i++)
		for (unsigned int owner = 0; owner < 2; owner++)
			e->frames[owner][i] = segment_of(pool, owner, (uint16_t)(1000 + 100 * i));
}

/*
 * Frames of a device's queue polled through steer on one shard, and taken on the one they belong
 * to, in one thread: the work of both sides, without the way of a line from core to core.
 * @whose: 0: all are the poller's own; 1: all are handed over.
 */
static int64_t polled(uint64_t n, int64_t whose)
{
	static struct endless devices[SHARDS];
	struct apus_shard *shards[SHARDS];
	struct apus_link *links[SHARDS];
	struct rte_mbuf *frames[BURST];
	struct rte_mempool *pool;
	struct apus_steer *steer;
	struct apus_cross *cross;
	int64_t begin_ns, elapsed_ns;

	apus_bench_start_dpdk();
	prepare(NULL, SHARDS, true);
	pool = rte_pktmbuf_pool_create("steer", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	apus_must(pool && !apus_steer_open(&rss, SHARDS, &steer));
	for (unsigned int i = 0; i < SHARDS; i++)
		apus_must(!apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1},
					   &shards[i]));
	apus_must(!apus_cross_open(shards, SHARDS, NULL, &cross));
	for (unsigned int i = 0; i < SHARDS; i++) {
		apus_shard_enter(shards[i]);
		open_endless(&devices[i], pool);
		devices[i].whose = (unsigned int)whose;
		apus_must(!apus_steer_wrap(steer, &devices[i].link, &links[i]));
	}
	devices[1].whose = 2;
	begin_ns = apus_clock_host_ns();
	for (uint64_t done = 0; done < n;) {
		uint16_t got;

		apus_shard_enter(shards[0]);
		got = apus_link_rx(links[0], frames, BURST, begin_ns);
		if (whose) {
			apus_shard_turn(shards[0]); /* publishes them, and takes messages back */
			apus_shard_enter(shards[1]);
			apus_shard_turn(shards[1]);
			got = apus_link_rx(links[1], frames, BURST, begin_ns);
		}
		for (; got; got = whose ? apus_link_rx(links[1], frames, BURST, begin_ns) : 0) {
			for (uint16_t i = 0; i < got; i++)
				rte_mbuf_refcnt_update(frames[i], -1);
			done += got;
		}
	}
	elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_must(!apus_steer_counter(links[0], APUS_STEER_DROP_FULL));
	for (unsigned int i = 0; i < SHARDS; i++) {
		apus_shard_enter(shards[i]);
		apus_link_close(links[i]);
	}
	apus_cross_close(cross);
	apus_steer_close(steer);
	for (unsigned int i = 0; i < SHARDS; i++)
		apus_shard_close(shards[i]);
	apus_shard_enter(NULL);
	rte_mempool_free(pool);
	return elapsed_ns;
}

const struct apus_bench apus_bench_steer[] = {
	{"steer/hash/softrss_be", hash, SOFTRSS, 1000000, 10000},
	{"steer/hash/table", hash, PLAIN, 1000000, 10000},
	{"steer/hash/gfni", hash, GFNI, 10000000, 10000},
	{"steer/hash/burst", hash, BURST_GFNI, 10000000, 9984},
	{"steer/port_search/2", port_search, 2, 1000000, 10000},
	{"steer/port_search/4", port_search, 4, 1000000, 10000},
	{"steer/port_search/16", port_search, 16, 1000000, 10000},
	{"steer/port_complement/4", port_adjust, 4, 1000000, 10000},
	{"steer/port_adjust_tuple/4", port_adjust_tuple, 4, 1000000, 10000},
	{"steer/frame/own", polled, 0, 3200000, 32000},
	{"steer/frame/handed_over", polled, 1, 3200000, 32000},
	{NULL, NULL, 0, 0, 0},
};
