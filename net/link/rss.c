/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/rss.c: the Toeplitz hash, its key and its table; see rss.h.
 *
 * The hash is DPDK's (rte_thash): by Galois field instructions where the CPU has them (rss_gfni.c,
 * the only file that is compiled for them). Else by a table of what each byte adds, which
 * rte_softrss_be() fills: asking that for each packet was tried, and takes 30 ns for 12 random bytes
 * where the instructions and the table, while it is in the cache, take 2.
 *
 * Entry points: apus_rss_key_draw(), apus_rss_init(), apus_rss_hash(), apus_rss_flow_of().
 */
#include "net/link/rss.h"
#include "net/link/rss_gfni.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_thash.h>

#define TUPLE_WORDS ((uint32_t)(sizeof(struct apus_rss_tuple) / 4))
#define HASH_BITS   32
#define ENTRY_BITS  11 /* of the hash, that index the largest table */
#define FIELD_BITS  16

static_assert(sizeof(struct apus_rss_tuple) == apus_countof(((struct apus_rss *)0)->adds),
	      "a row for each byte");
static_assert(1 << ENTRY_BITS == APUS_RSS_ENTRIES_MAX, "what a key is tried for");

/* --- The key ------------------------------------------------------------------------------- */

static unsigned int key_bit(const uint8_t *key, unsigned int i)
{
	return key[i / 8] >> (7 - i % 8) & 1;
}

/* What bit @i of the input adds to the last ENTRY_BITS of the hash: a window of the key. */
static unsigned int window(const uint8_t *key, unsigned int i)
{
	unsigned int bits = 0;

	for (unsigned int j = HASH_BITS - ENTRY_BITS; j < HASH_BITS; j++)
		bits = bits << 1 | key_bit(key, i + j);
	return bits;
}

/* Can the 16 bits of the input from @first on, all else alike, choose every entry? Gauss's elimination. */
static bool field_reaches_all(const uint8_t *key, unsigned int first)
{
	unsigned int basis[ENTRY_BITS] = {0}, rank = 0;

	for (unsigned int i = first; i < first + FIELD_BITS; i++) {
		unsigned int row = window(key, i);

		for (unsigned int bit = ENTRY_BITS; row && bit-- > 0;) {
			if (!(row >> bit & 1))
				continue;
			if (!basis[bit]) {
				basis[bit] = row;
				rank++;
				row = 0;
			} else {
				row ^= basis[bit];
			}
		}
	}
	return rank == ENTRY_BITS;
}

static bool key_is_good(const uint8_t *key)
{
	const unsigned int fields[] = {
		8 * offsetof(struct apus_rss_tuple, src) + FIELD_BITS,
		8 * offsetof(struct apus_rss_tuple, src_port),
		8 * offsetof(struct apus_rss_tuple, dst_port),
	};

	for (size_t i = 0; i < apus_countof(fields); i++)
		if (!field_reaches_all(key, fields[i]))
			return false;
	return true;
}

void apus_rss_key_draw(struct apus_random *random, uint8_t *key, size_t bytes)
{
	apus_must(bytes >= APUS_RSS_KEY_BYTES_MIN && bytes <= APUS_RSS_KEY_BYTES_MAX);
	do
		apus_random_secret(random, key, bytes);
	while (!key_is_good(key)); /* it is, 9 times in 10 */
}

bool apus_rss_is_symmetric(const struct apus_rss *rss)
{
	/* The hash is linear: it is enough that each bit and its mirror add the same. */
	for (unsigned int i = 0; i < HASH_BITS; i++)
		for (unsigned int j = 0; j < HASH_BITS; j++)
			if (key_bit(rss->key, i + j) != key_bit(rss->key, i + 32 + j) ||
			    (i < FIELD_BITS &&
			     key_bit(rss->key, 64 + i + j) != key_bit(rss->key, 80 + i + j)))
				return false;
	return true;
}

/* --- The hash ------------------------------------------------------------------------------ */

uint32_t apus_rss_hash_plain(const struct apus_rss *rss, const struct apus_rss_tuple *tuple)
{
	const uint8_t *bytes = (const uint8_t *)tuple;
	uint32_t hash = 0;

	for (size_t i = 0; i < sizeof(*tuple); i++)
		hash ^= rss->adds[i][bytes[i]];
	return hash;
}

uint32_t apus_rss_hash(const struct apus_rss *rss, const struct apus_rss_tuple *tuple)
{
	return rss->gfni ? apus_rss_gfni_hash(rss, tuple) : apus_rss_hash_plain(rss, tuple);
}

void apus_rss_hash_burst(const struct apus_rss *rss, const struct apus_rss_tuple *tuples,
			 uint32_t *hashes, unsigned int n)
{
	if (rss->gfni) {
		apus_rss_gfni_burst(rss, tuples, hashes, n);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		hashes[i] = apus_rss_hash_plain(rss, &tuples[i]);
}

static void init_hash(struct apus_rss *rss, const uint8_t *key, size_t bytes)
{
	uint32_t words[APUS_RSS_KEY_BYTES_MAX / 4] = {0}, prepared[APUS_RSS_KEY_BYTES_MAX / 4];

	memcpy(rss->key, key, bytes);
	rss->key_bytes = (uint8_t)bytes;
	rss->gfni = apus_rss_gfni_init(rss);
	memcpy(words, key, bytes);
	rte_convert_rss_key(words, prepared, sizeof(words));
	for (size_t i = 0; i < sizeof(struct apus_rss_tuple); i++) {
		for (uint32_t byte = 0; byte < 256; byte++) {
			uint32_t tuple[TUPLE_WORDS] = {0};

			tuple[i / 4] = byte << (24 - i % 4 * 8);
			rss->adds[i][byte] =
				rte_softrss_be(tuple, TUPLE_WORDS, (const uint8_t *)prepared);
		}
	}
}

/* --- The table ----------------------------------------------------------------------------- */

/* Shards in turn; the device is told a queue that feeds them. */
static void init_table(struct apus_rss *rss)
{
	for (unsigned int i = 0; i < rss->entries; i++) {
		unsigned int shard = i % rss->shards, lap = i / rss->shards;
		unsigned int mine = 1; /* queues that feed it */

		if (rss->queues > rss->shards)
			mine = (rss->queues - shard - 1) / rss->shards + 1;
		rss->owner[i] = (uint8_t)shard;
		rss->queue[i] = (uint16_t)((shard + lap % mine * rss->shards) % rss->queues);
	}
}

/* The device keeps its table: each queue's entries go to the shards that it feeds, in turn. */
static int adopt_table(struct apus_rss *rss, const uint16_t *table)
{
	uint16_t turn[APUS_RSS_SHARDS_MAX] = {0};

	for (unsigned int i = 0; i < rss->entries; i++) {
		unsigned int queue = table[i], fed = 1;

		if (queue >= rss->queues)
			return -EINVAL;
		rss->queue[i] = (uint16_t)queue;
		if (rss->queues >= rss->shards) {
			rss->owner[i] = (uint8_t)(queue % rss->shards);
			continue;
		}
		fed = (rss->shards - queue - 1) / rss->queues + 1;
		rss->owner[i] = (uint8_t)(queue + turn[queue]++ % fed * rss->queues);
	}
	return 0;
}

int apus_rss_init(struct apus_rss *rss, const uint8_t *key, size_t key_bytes, unsigned int shards,
		  unsigned int queues, const uint16_t *table, unsigned int entries)
{
	entries = entries ? entries : APUS_RSS_ENTRIES;
	if (key_bytes < APUS_RSS_KEY_BYTES_MIN || key_bytes > APUS_RSS_KEY_BYTES_MAX ||
	    shards < 1 || shards > APUS_RSS_SHARDS_MAX || queues < 1 || queues > UINT16_MAX ||
	    entries > APUS_RSS_ENTRIES_MAX || !rte_is_power_of_2(entries))
		return -EINVAL;

	*rss = (struct apus_rss){
		.shards = (uint16_t)shards,
		.queues = (uint16_t)queues,
		.entries = (uint16_t)entries,
	};
	init_hash(rss, key, key_bytes);
	if (table)
		return adopt_table(rss, table);
	init_table(rss);
	return 0;
}

/* --- What a frame belongs to --------------------------------------------------------------- */

/* A packet as it lies in memory, of which @bytes are there. */
struct packet {
	const uint8_t *at; /* the IPv4 header */
	size_t bytes;
	size_t header_bytes;
	struct rte_ipv4_hdr ip;
};

/* Return: false if it is no IPv4 that a hash could be made of. */
static bool parse_ipv4(const uint8_t *at, size_t bytes, struct packet *out)
{
	if (bytes < sizeof(out->ip))
		return false;
	memcpy(&out->ip, at, sizeof(out->ip));
	out->at = at;
	out->bytes = bytes;
	out->header_bytes = (out->ip.version_ihl & RTE_IPV4_HDR_IHL_MASK) * RTE_IPV4_IHL_MULTIPLIER;
	return out->ip.version_ihl >> 4 == 4 && out->header_bytes >= sizeof(out->ip);
}

static enum apus_rss_kind kind_of(const struct packet *p)
{
	if (p->ip.next_proto_id == IPPROTO_TCP)
		return APUS_RSS_TCP;
	return p->ip.next_proto_id == IPPROTO_UDP ? APUS_RSS_UDP : APUS_RSS_ADDRESSES;
}

static bool has_offset(const struct packet *p)
{
	return p->ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK);
}

/* Source and destination port, if the packet has some and they are there. */
static bool read_ports(const struct packet *p, uint16_t ports[2])
{
	if (kind_of(p) == APUS_RSS_ADDRESSES || p->bytes < p->header_bytes + 4)
		return false;
	memcpy(ports, p->at + p->header_bytes, 4);
	return true;
}

/* ICMP that tells of trouble with a packet of ours (RFC 792): its flow, as its answers have it. */
static void parse_inner(const struct packet *p, struct apus_rss_flow *out)
{
	size_t skip = p->header_bytes + sizeof(struct rte_icmp_hdr);
	struct packet inner;
	uint16_t ports[2];

	if (p->bytes < skip || has_offset(p))
		return;
	switch (p->at[p->header_bytes]) {
	case 3:  /* destination unreachable */
	case 4:  /* source quench */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		break;
	default:
		return;
	}
	if (!parse_ipv4(p->at + skip, p->bytes - skip, &inner) || has_offset(&inner) ||
	    !read_ports(&inner, ports))
		return;
	out->inner = true;
	out->kind = kind_of(&inner);
	out->tuple = (struct apus_rss_tuple){
		.src = inner.ip.dst_addr,
		.dst = inner.ip.src_addr,
		.src_port = ports[1],
		.dst_port = ports[0],
	};
}

static void parse_packet(const uint8_t *at, size_t bytes, struct apus_rss_flow *out)
{
	const rte_be16_t fragment = RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG);
	struct packet p;
	uint16_t ports[2];

	if (!parse_ipv4(at, bytes, &p))
		return;
	out->kind = APUS_RSS_ADDRESSES;
	out->tuple.src = p.ip.src_addr;
	out->tuple.dst = p.ip.dst_addr;
	if (apus_unlikely(p.ip.next_proto_id == IPPROTO_ICMP)) {
		parse_inner(&p, out);
	} else if (!(p.ip.fragment_offset & fragment) && read_ports(&p, ports)) {
		out->kind = kind_of(&p);
		out->tuple.src_port = ports[0];
		out->tuple.dst_port = ports[1];
	}
}

void apus_rss_flow_parse(const void *frame, size_t bytes, struct apus_rss_flow *out)
{
	const uint8_t *at = frame;
	size_t skip = RTE_ETHER_HDR_LEN;
	rte_be16_t type;

	*out = (struct apus_rss_flow){.kind = APUS_RSS_NONE};
	if (bytes < skip)
		return;
	memcpy(&type, at + skip - sizeof(type), sizeof(type));
	if (type == RTE_BE16(RTE_ETHER_TYPE_VLAN) && bytes >= skip + RTE_VLAN_HLEN) {
		skip += RTE_VLAN_HLEN;
		memcpy(&type, at + skip - sizeof(type), sizeof(type));
	}
	if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		parse_packet(at + skip, bytes - skip, out);
	else if (type == RTE_BE16(RTE_ETHER_TYPE_ARP))
		out->kind = APUS_RSS_ARP;
}

/* The longest that is looked at: both IPv4 headers with all their options, and four bytes of ports. */
#define LOOK_BYTES (RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + 60 + 8 + 60 + 4)

static APUS_NOINLINE void flow_of_any(const struct rte_mbuf *m, struct apus_rss_flow *out)
{
	uint8_t room[LOOK_BYTES];
	uint32_t bytes = apus_min(m->pkt_len, (uint32_t)LOOK_BYTES);

	apus_rss_flow_parse(rte_pktmbuf_read(m, 0, bytes, room), bytes, out);
}

/* TCP or UDP as nearly always: no tag, no options, whole. Return: false: it must be looked at closely. */
static bool flow_of_plain(const struct rte_mbuf *m, struct apus_rss_flow *out)
{
	const char *at = rte_pktmbuf_mtod(m, const char *);
	const struct rte_ether_hdr *eth = (const void *)at;
	const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);

	if (m->data_len < sizeof(*eth) + sizeof(*ip) + 4 ||
	    eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
	    ip->version_ihl != RTE_IPV4_VHL_DEF ||
	    (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)) ||
	    (ip->next_proto_id != IPPROTO_TCP && ip->next_proto_id != IPPROTO_UDP))
		return false;
	out->kind = ip->next_proto_id == IPPROTO_TCP ? APUS_RSS_TCP : APUS_RSS_UDP;
	out->inner = false;
	/* Addresses and ports lie side by side, as they are hashed. */
	memcpy(&out->tuple, &ip->src_addr, sizeof(out->tuple));
	return true;
}

void apus_rss_flow_of(const struct rte_mbuf *m, struct apus_rss_flow *out)
{
	if (apus_likely(flow_of_plain(m, out)))
		return;

	flow_of_any(m, out);
}
