/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/rss.h: which shard a flow belongs to: receive-side scaling's rule, pure.
 *
 * The Toeplitz hash of the tuple that the receiver sees picks an entry of an indirection table, and
 * the entry names the shard. A NIC that is given the same key and table picks the queue by the same
 * rule; what it cannot do is done by software (net/link/steer.h), with the same answer.
 *
 * What is hashed: TCP and UDP by addresses and ports; fragments (of which only the first has ports),
 * ICMP and all other protocols by addresses; an ICMP error as the packet that it is about, so that
 * it reaches the shard that sent that one. A tuple without ports has zeros there, which add nothing
 * to a Toeplitz hash: so all tuples are twelve bytes long, and are hashed alike.
 */
#ifndef APUS_NET_LINK_RSS_H
#define APUS_NET_LINK_RSS_H

#include "runtime/base/compiler.h"
#include "runtime/base/random.h"

#include <rte_mbuf.h>

APUS_BEGIN_DECLS

#define APUS_RSS_KEY_BYTES     40 /* what most devices have; Microsoft's */
#define APUS_RSS_KEY_BYTES_MIN 16 /* twelve bytes of tuple and the width of the hash */
#define APUS_RSS_KEY_BYTES_MAX 64
#define APUS_RSS_ENTRIES_MAX   2048 /* of the table */
#define APUS_RSS_ENTRIES       512  /* where only software looks into it */
#define APUS_RSS_SHARDS_MAX    64

/* As it stands in the packet: addresses and ports in network order. */
struct apus_rss_tuple {
	uint32_t src, dst;
	uint16_t src_port, dst_port; /* 0: has none */
};

static_assert(sizeof(struct apus_rss_tuple) == 12, "hashed as it lies");

enum apus_rss_kind {
	APUS_RSS_NONE,      /* no IPv4 packet: nothing to hash */
	APUS_RSS_ARP,       /* of interest to every shard */
	APUS_RSS_ADDRESSES, /* fragments, ICMP, other protocols */
	APUS_RSS_TCP,
	APUS_RSS_UDP,
	APUS_RSS_KIND_COUNT,
};

/* What a frame says of where it belongs. */
struct apus_rss_flow {
	struct apus_rss_tuple tuple;
	enum apus_rss_kind kind;
	bool inner; /* of the packet that an ICMP error is about: no device's hash is of it */
};

/* The rule. Not written after init, so all shards read one. */
struct apus_rss {
	uint32_t adds[12][256]; /* to the hash, by each value of each byte of the tuple */
	uint64_t matrices[APUS_RSS_KEY_BYTES_MAX]; /* as rte_thash_gfni() wants them */
	uint8_t key[APUS_RSS_KEY_BYTES_MAX];
	uint8_t key_bytes;
	bool gfni;                            /* the CPU has the instructions */
	uint16_t shards;                      /* 1 to APUS_RSS_SHARDS_MAX */
	uint16_t queues;                      /* of the device, > 0 */
	uint16_t entries;                     /* of the table, a power of two */
	uint8_t owner[APUS_RSS_ENTRIES_MAX];  /* entry -> shard */
	uint16_t queue[APUS_RSS_ENTRIES_MAX]; /* entry -> queue: what the device is to be told */
};

/**
 * apus_rss_key_draw - a key of @bytes (16 to 64) that spreads well
 *
 * Drawn at random and tried: each of the 16 bits of the source port, the destination port and the
 * lower half of the source address must be able to reach every entry of the largest table. A key that
 * is the same for both directions (two bytes, repeated) is not used: its hash depends on the
 * exclusive or of source and destination only, and on 16 bits of that, so that a peer can choose
 * flows that all meet on one shard; and nothing here needs both directions to hash alike, because a
 * shard that sends asks for the hash of the answer.
 *
 * Context: any.
 */
void apus_rss_key_draw(struct apus_random *random, uint8_t *key, size_t bytes);

/**
 * apus_rss_init - make the rule
 * @key:     borrowed until return
 * @shards:  among which flows are divided
 * @queues:  that the device has for us
 * @table:   the device's own, of @entries queues; NULL: it takes ours, which is written to rss->queue
 * @entries: 0: 512
 *
 * Shard s is fed by queue s modulo @queues; with more queues than shards it is fed by every queue
 * that is s modulo @shards. A queue with several shards divides its entries among them.
 *
 * Context: any. Return: 0; -EINVAL: a number out of its range, a table that names no queue of ours.
 */
APUS_MUST_CHECK int apus_rss_init(struct apus_rss *rss, const uint8_t *key, size_t key_bytes,
				  unsigned int shards, unsigned int queues, const uint16_t *table,
				  unsigned int entries);

/** apus_rss_is_symmetric - do both directions of every flow hash alike? Context: any */
bool apus_rss_is_symmetric(const struct apus_rss *rss);

/** apus_rss_hash - Toeplitz over @tuple. Context: any. Source: Microsoft, "RSS Hashing Functions" */
uint32_t apus_rss_hash(const struct apus_rss *rss, const struct apus_rss_tuple *tuple);
/** apus_rss_hash_burst - @hashes[i] = apus_rss_hash(@tuples[i]), for @n at once. Context: any */
void apus_rss_hash_burst(const struct apus_rss *rss, const struct apus_rss_tuple *tuples,
			 uint32_t *hashes, unsigned int n);
/** apus_rss_hash_plain - the same as apus_rss_hash(), by table: for CPUs without the instructions. Context: any */
uint32_t apus_rss_hash_plain(const struct apus_rss *rss, const struct apus_rss_tuple *tuple);

/** apus_rss_flow_of - what an Ethernet frame belongs to; reads what is there, changes nothing. Context: any */
void apus_rss_flow_of(const struct rte_mbuf *m, struct apus_rss_flow *out);
/** apus_rss_flow_parse - the same for the first @bytes of a frame. Context: any */
void apus_rss_flow_parse(const void *frame, size_t bytes, struct apus_rss_flow *out);

/** apus_rss_shard - who owns flows of this hash. Context: any */
static inline unsigned int apus_rss_shard(const struct apus_rss *rss, uint32_t hash)
{
	return rss->owner[hash & (rss->entries - 1u)];
}

/**
 * apus_rss_with_port - the hash of a tuple with destination port @port
 * @hash: of the same tuple with destination port 0
 * @port: host order
 *
 * The hash is linear: a port adds what its two bytes add. Context: any.
 */
static inline uint32_t apus_rss_with_port(const struct apus_rss *rss, uint32_t hash, uint16_t port)
{
	return hash ^ rss->adds[10][port >> 8] ^ rss->adds[11][port & 0xff];
}

APUS_END_DECLS

#endif
