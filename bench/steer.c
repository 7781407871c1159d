/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/steer.c: what it costs to know where a flow belongs, and to find a port whose answers come
 * back: our search against DPDK's rte_thash_adjust_tuple().
 */
#define ALLOW_EXPERIMENTAL_API /* rte_thash_adjust_tuple(), to be measured against */
#include "bench/bench.h"
#include "net/link/rss.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
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
	{NULL, NULL, 0, 0, 0},
};
