/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_stack.h: a whole stack in virtual time, fed by a fuzzer.
 *
 * Each input gets a fresh stack with the same seed, so that it alone makes a finding. Received frames
 * live in a pool of their own, whose bytes behind the frame are poisoned, so that ASan sees a read
 * beyond it; what the stack sends must be well formed; and when it is closed nothing may be left.
 */
#ifndef APUS_TESTS_FUZZ_FUZZ_STACK_H
#define APUS_TESTS_FUZZ_FUZZ_STACK_H

#include "net/ip/mbuf.h"
#include "net/stack_internal.h"
#include "tests/net/net_test.h"

#include <netinet/in.h>
#include <sanitizer/asan_interface.h>
#include <string.h>

#define POOL_MBUFS 1023
#define RX_MAX     256

#define IP4(a, b, c, d) RTE_BE32(RTE_IPV4((uint32_t)(a), b, c, d))
#define US              IP4(10, 7, 0, 2)
#define PEER            IP4(10, 7, 0, 1)
#define GATEWAY         IP4(10, 7, 0, 254)

struct fuzz {
	struct apus_link link; /* first */
	struct apus_clock clock;
	struct apus_shard *shard;
	struct apus_stack *stack;
	struct rte_mempool *rx_pool;
	struct rte_mbuf *rx; /* for the next poll, or NULL */
	uint64_t heap_live;
	uint32_t held; /* of all received, to be unpoisoned */
	struct {
		void *at;
		size_t bytes;
	} poisoned[RX_MAX * 4];
};

static const struct rte_ether_addr fuzz_mac_us = {{2, 0, 0, 0, 0, 2}};
static const struct rte_ether_addr fuzz_mac_peer = {{2, 0, 0, 0, 0, 1}};

/* --- the wire ------------------------------------------------------------------------------- */

static inline uint16_t fuzz_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			       int64_t now_ns)
{
	struct fuzz *fuzz = (struct fuzz *)link;

	if (!fuzz->rx)
		return 0;
	frames[0] = fuzz->rx;
	fuzz->rx = NULL;
	return 1;
}

/* The rules that every packet of ours must keep, whatever came in. */
static inline void fuzz_check_sent(const struct fuzz *fuzz, const uint8_t *bytes, uint32_t len)
{
	const struct rte_ether_hdr *eth = (const void *)bytes;
	const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);

	apus_must_op(len, >=, sizeof(*eth));
	apus_must(rte_is_same_ether_addr(&eth->src_addr, &fuzz_mac_us));
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)) {
		apus_must_op(len, ==, sizeof(*eth) + 28);
		return;
	}
	apus_must_op(eth->ether_type, ==, rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4));
	apus_must_op(len, >=, sizeof(*eth) + sizeof(*ip));
	apus_must_op(ip->version_ihl, ==, 0x45);
	apus_must_op(rte_be_to_cpu_16(ip->total_length), ==, len - sizeof(*eth));
	apus_must_op(len - sizeof(*eth), <=, fuzz->link.mtu);
	apus_must_op(ip->src_addr, ==, US);
	apus_must_op(rte_raw_cksum(ip, sizeof(*ip)), ==, 0xffff);

	uint32_t sum = rte_raw_cksum(ip + 1, len - sizeof(*eth) - sizeof(*ip));

	if (ip->next_proto_id != IPPROTO_ICMP)
		sum += rte_ipv4_phdr_cksum(ip, 0);
	apus_must_op(apus_sum_fold(sum), ==, 0xffff);
}

static inline void fuzz_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			   int64_t now_ns)
{
	struct fuzz *fuzz = (struct fuzz *)link;
	static uint8_t copy[RTE_MBUF_DEFAULT_DATAROOM];

	for (uint16_t i = 0; i < n; i++) {
		apus_must_op(frames[i]->pkt_len, <=, sizeof(copy));
		rte_mbuf_sanity_check(frames[i], 1);

		const void *bytes = rte_pktmbuf_read(frames[i], 0, frames[i]->pkt_len, copy);

		apus_must(bytes);
		fuzz_check_sent(fuzz, bytes, frames[i]->pkt_len);
		rte_pktmbuf_free(frames[i]);
	}
}

static inline int64_t fuzz_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return APUS_NEVER;
}

static inline void fuzz_link_close(struct apus_link *link)
{
	rte_pktmbuf_free(((struct fuzz *)link)->rx);
}

static const struct apus_link_type fuzz_link_type = {
	.name = "fuzz",
	.rx = fuzz_rx,
	.tx = fuzz_tx,
	.idle = fuzz_idle,
	.close = fuzz_link_close,
};

/* --- beginning, time, end ------------------------------------------------------------------- */

static inline struct rte_mempool *fuzz_pool(const char *name)
{
	struct rte_mempool *pool;

	apus_test_eal();
	pool = rte_mempool_lookup(name);
	if (!pool)
		pool = rte_pktmbuf_pool_create(name, POOL_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					       SOCKET_ID_ANY);
	apus_must(pool);
	return pool;
}

static inline void fuzz_turn(struct fuzz *fuzz)
{
	for (int i = 0; i < 100 && apus_shard_turn(fuzz->shard); i++)
		;
}

static inline void fuzz_open(struct fuzz *fuzz)
{
	struct apus_stack_options options = {
		.addr = apus_addr_v4(US),
		.prefix_bits = 24,
		.gateway = apus_addr_v4(GATEWAY),
		.connections_max = 16,
	};

	memset(fuzz, 0, sizeof(*fuzz));
	fuzz->rx_pool = fuzz_pool("fuzz_rx");
	fuzz->link = (struct apus_link){
		.type = &fuzz_link_type,
		.mac = fuzz_mac_us,
		.mtu = 1500,
		.pool = fuzz_pool("fuzz_tx"),
		.wake_fd = -1,
	};
	apus_clock_init_virtual(&fuzz->clock, APUS_SEC);
	apus_must(!apus_shard_open(
		&(struct apus_shard_options){.core = -1, .clock = &fuzz->clock, .seed = 1},
		&fuzz->shard));
	apus_shard_enter(fuzz->shard);
	fuzz->heap_live = apus_shard_heap(fuzz->shard)->live;
	apus_must(!apus_stack_open(fuzz->shard, &fuzz->link, &options, &fuzz->stack));
	fuzz_turn(fuzz);
}

static inline void fuzz_advance(struct fuzz *fuzz, int64_t ns)
{
	int64_t end_ns = apus_clock_read(&fuzz->clock) + ns;
	int64_t next_ns;

	while ((next_ns = apus_shard_next_ns(fuzz->shard)) <= end_ns) {
		apus_clock_set(&fuzz->clock, apus_max(next_ns, apus_clock_read(&fuzz->clock)));
		fuzz_turn(fuzz);
	}
	apus_clock_set(&fuzz->clock, end_ns);
	fuzz_turn(fuzz);
}

static inline void fuzz_unpoison(struct fuzz *fuzz)
{
	for (uint32_t i = 0; i < fuzz->held; i++)
		ASAN_UNPOISON_MEMORY_REGION(fuzz->poisoned[i].at, fuzz->poisoned[i].bytes);
	fuzz->held = 0;
}

static inline void fuzz_close(struct fuzz *fuzz)
{
	apus_stack_close(fuzz->stack);
	fuzz_unpoison(fuzz);
	apus_must_op(apus_shard_heap(fuzz->shard)->live, ==, fuzz->heap_live);
	apus_shard_enter(NULL);
	apus_shard_close(fuzz->shard);
	apus_must_op(rte_mempool_in_use_count(fuzz->rx_pool), ==, 0);
	apus_must_op(rte_mempool_in_use_count(fuzz->link.pool), ==, 0);
}

/* --- frames in ------------------------------------------------------------------------------ */

/* What lies behind the bytes of @m is out of bounds from now on. */
static inline void fuzz_poison(struct fuzz *fuzz, struct rte_mbuf *m)
{
	char *end = rte_pktmbuf_mtod_offset(m, char *, m->data_len);
	size_t bytes = rte_pktmbuf_tailroom(m);

	if (fuzz->held == apus_countof(fuzz->poisoned) || !bytes)
		return;
	fuzz->poisoned[fuzz->held].at = end;
	fuzz->poisoned[fuzz->held].bytes = bytes;
	fuzz->held++;
	ASAN_POISON_MEMORY_REGION(end, bytes);
}

/*
 * A frame arrives, in segments of @segment_bytes, and the stack does what it will about it. The
 * first of several segments is not poisoned: headers are made contiguous in it.
 */
static inline void fuzz_receive(struct fuzz *fuzz, const uint8_t *bytes, uint32_t len,
				uint32_t segment_bytes, uint64_t ol_flags)
{
	struct rte_mbuf *first = NULL, *last = NULL;
	uint32_t done = 0;

	do {
		struct rte_mbuf *m = rte_pktmbuf_alloc(fuzz->rx_pool);
		uint32_t part = apus_min(segment_bytes, len - done);

		apus_must(m);
		memcpy(rte_pktmbuf_mtod(m, char *), bytes + done, part);
		m->data_len = (uint16_t)part;
		if (first) {
			last->next = m;
			first->nb_segs++;
			fuzz_poison(fuzz, m);
		} else {
			first = m;
			if (part == len)
				fuzz_poison(fuzz, m);
		}
		last = m;
		done += part;
	} while (done < len);
	first->pkt_len = len;
	first->ol_flags = ol_flags;
	fuzz->rx = first;
	fuzz_turn(fuzz);
	apus_must(!fuzz->rx);
}

#endif
