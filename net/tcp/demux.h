/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/demux.h: four-tuple -> connection, request entry or TIME-WAIT entry.
 *
 * An open-addressed table with linear probing; removal shifts back, so that there are no
 * tombstones and a probe never grows with age. The hash is keyed with a secret of this shard, so
 * that a peer cannot choose four-tuples that collide. It doubles while less than half is free, up
 * to the size that the limits of the three kinds need.
 */
#ifndef APUS_NET_TCP_DEMUX_H
#define APUS_NET_TCP_DEMUX_H

#include "net/ip/addr.h"
#include "runtime/base/alloc.h"
#include "runtime/base/random.h"

/* First member of everything the table holds: 36 bytes, no padding, IPv6 fits as it is. */
struct apus_tcp_key {
	struct apus_addr local, remote;
	uint16_t local_port, remote_port; /* host order */
} __attribute__((packed, aligned(4)));

static_assert(sizeof(struct apus_tcp_key) == 36, "the key has no padding");

enum apus_tcp_kind {
	APUS_TCP_KIND_NONE,
	APUS_TCP_KIND_CONNECTION, /* struct apus_tcp */
	APUS_TCP_KIND_REQUEST,    /* struct apus_tcp_request */
	APUS_TCP_KIND_TIME_WAIT,  /* struct apus_tcp_time_wait */
};

/* What a lookup found. */
struct apus_tcp_found {
	enum apus_tcp_kind kind;
	void *entry; /* of that kind; NULL for none */
};

struct apus_tcp_slot {
	uintptr_t tagged; /* entry | kind; 0 while the slot is free */
	uint32_t hash;
};

struct apus_tcp_demux {
	struct apus_heap *heap;
	struct apus_tcp_slot *slots; /* mask + 1 of them */
	uint32_t mask;
	uint32_t used;
	uint32_t limit;     /* entries at most */
	uint64_t removals;  /* so far */
	uint64_t secret[6]; /* of the hash */
};

/** apus_tcp_demux_init - a table for at most @limit entries. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_tcp_demux_init(struct apus_tcp_demux *d, struct apus_heap *heap,
					struct apus_random *random, uint32_t limit);
void apus_tcp_demux_fini(struct apus_tcp_demux *d);

/** apus_tcp_demux_find - Context: any */
struct apus_tcp_found apus_tcp_demux_find(const struct apus_tcp_demux *d,
					  const struct apus_tcp_key *key);

/** apus_tcp_demux_insert - keeps @entry until removed; its key must not be there. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_tcp_demux_insert(struct apus_tcp_demux *d, enum apus_tcp_kind kind,
					  void *entry);

/** apus_tcp_demux_replace - put @entry where one with the same key is; cannot fail */
void apus_tcp_demux_replace(struct apus_tcp_demux *d, enum apus_tcp_kind kind, void *entry);

/** apus_tcp_demux_remove - the entry with @entry's key, which must be @entry itself */
void apus_tcp_demux_remove(struct apus_tcp_demux *d, const void *entry);

/** apus_tcp_demux_next - to empty the table by: an entry at or behind @cursor (0 at first), to be removed before the next call; NONE when it is empty */
struct apus_tcp_found apus_tcp_demux_next(const struct apus_tcp_demux *d, uint32_t *cursor);

/** apus_tcp_demux_at - what slot @i holds, modulo the table's size; NONE if nothing. To look at all, a few at a time */
struct apus_tcp_found apus_tcp_demux_at(const struct apus_tcp_demux *d, uint32_t i);

/** apus_tcp_demux_hash_v4 - of a key whose addresses are these IPv4 ones, in network order; @ports: apus_tcp_demux_ports() */
static inline uint32_t apus_tcp_demux_hash_v4(const struct apus_tcp_demux *d, uint32_t local,
					      uint32_t remote, uint32_t ports);
/** apus_tcp_demux_prefetch - a key with @hash will be looked for */
static inline void apus_tcp_demux_prefetch(const struct apus_tcp_demux *d, uint32_t hash);
/** apus_tcp_demux_find_v4 - as apus_tcp_demux_find(), for such a key, by its @hash. Context: any */
static inline struct apus_tcp_found apus_tcp_demux_find_v4(const struct apus_tcp_demux *d,
							   uint32_t hash, uint32_t local,
							   uint32_t remote, uint32_t ports);

/** apus_tcp_demux_check - every entry is found where it is, and the count is right */
void apus_tcp_demux_check(const struct apus_tcp_demux *d);

/* inline definitions */

/* The kind is in the two low bits: what is kept is aligned to at least 8. */
#define APUS_TCP_KIND_MASK ((uintptr_t)3)

static inline struct apus_tcp_found apus_tcp_slot_found(const struct apus_tcp_slot *slot)
{
	return (struct apus_tcp_found){
		.kind = (enum apus_tcp_kind)(slot->tagged & APUS_TCP_KIND_MASK),
		.entry = (void *)(slot->tagged & ~APUS_TCP_KIND_MASK),
	};
}

/* Both ports, as they lie in a key: one word on most machines. */
static inline uint32_t apus_tcp_demux_ports(const struct apus_tcp_key *key)
{
	return (uint32_t)key->remote_port << 16 | key->local_port;
}

/* Both halves of the 128-bit product, folded: every input bit reaches every output bit. */
static inline uint64_t apus_tcp_demux_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t apus_tcp_demux_hash_v4(const struct apus_tcp_demux *d, uint32_t local,
					      uint32_t remote, uint32_t ports)
{
	uint64_t h = apus_tcp_demux_fold(((uint64_t)local << 32 | remote) ^ d->secret[0],
					 ports ^ d->secret[1]);

	return (uint32_t)apus_tcp_demux_fold(h ^ d->secret[2], d->secret[3]);
}

static inline void apus_tcp_demux_prefetch(const struct apus_tcp_demux *d, uint32_t hash)
{
	__builtin_prefetch(&d->slots[hash & d->mask]);
}

static inline struct apus_tcp_found apus_tcp_demux_find_v4(const struct apus_tcp_demux *d,
							   uint32_t hash, uint32_t local,
							   uint32_t remote, uint32_t ports)
{
	struct apus_addr local_addr = apus_addr_v4(local), remote_addr = apus_addr_v4(remote);

	for (uint32_t i = hash;; i++) {
		const struct apus_tcp_slot *slot = &d->slots[i & d->mask];
		struct apus_tcp_found found = apus_tcp_slot_found(slot);
		const struct apus_tcp_key *key = (const struct apus_tcp_key *)found.entry;

		if (!slot->tagged)
			return found;
		if (apus_likely(slot->hash == hash && apus_tcp_demux_ports(key) == ports &&
				apus_addr_equal(key->remote, remote_addr) &&
				apus_addr_equal(key->local, local_addr)))
			return found;
	}
}

#endif
