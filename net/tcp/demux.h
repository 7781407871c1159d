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

#include <string.h>

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
	uintptr_t tagged; /* entry | kind, | APUS_TCP_SLOT_V4; 0 while the slot is free */
	uint64_t print;   /* the hash, and above it both ports as a packet to us has them */
};

/* The four-tuple of an IPv4 packet to us, and where it is at home. */
struct apus_tcp_sought {
	const struct apus_tcp_slot *slot;
	uint64_t print;   /* of a slot that has it */
	uint32_t addr[2]; /* source and destination, as they lie in the packet */
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

/**
 * apus_tcp_demux_seek - the first step of a lookup that reads a packet only; the slot is on its way then
 * @tuple: addresses and ports, 12 bytes, as they follow each other in an IPv4 packet without options
 * @sought: written; of use until the table is next changed
 *
 * Context: any.
 */
static inline void apus_tcp_demux_seek(const struct apus_tcp_demux *d, const void *tuple,
				       struct apus_tcp_sought *sought);
/** apus_tcp_demux_connection - the second step. Return: the entry if it is a connection; else NULL. Context: any */
static inline void *apus_tcp_demux_connection(const struct apus_tcp_demux *d,
					      const struct apus_tcp_sought *sought);

/** apus_tcp_demux_check - every entry is found where it is, and the count is right */
void apus_tcp_demux_check(const struct apus_tcp_demux *d);

/* inline definitions */

/* What is kept is aligned to at least 8: two low bits are the kind, the third says that its key is IPv4. */
#define APUS_TCP_KIND_MASK ((uintptr_t)3)
#define APUS_TCP_SLOT_V4   ((uintptr_t)4)
#define APUS_TCP_SLOT_TAG  (APUS_TCP_KIND_MASK | APUS_TCP_SLOT_V4)

static inline struct apus_tcp_found apus_tcp_slot_found(const struct apus_tcp_slot *slot)
{
	return (struct apus_tcp_found){
		.kind = (enum apus_tcp_kind)(slot->tagged & APUS_TCP_KIND_MASK),
		.entry = (void *)(slot->tagged & ~APUS_TCP_SLOT_TAG),
	};
}

/* Both halves of the 128-bit product, folded: every input bit reaches every output bit. */
static inline uint64_t apus_tcp_demux_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t apus_tcp_demux_print_v4(const struct apus_tcp_demux *d, uint64_t addrs,
					       uint32_t ports)
{
	uint64_t h = apus_tcp_demux_fold(addrs ^ d->secret[0], ports ^ d->secret[1]);

	h = apus_tcp_demux_fold(h ^ d->secret[2], d->secret[3]);
	return (uint64_t)ports << 32 | (uint32_t)h;
}

static inline const struct apus_tcp_slot *apus_tcp_demux_home(const struct apus_tcp_demux *d,
							      uint64_t print)
{
	return &d->slots[print & d->mask];
}

static inline void apus_tcp_demux_seek(const struct apus_tcp_demux *d, const void *tuple,
				       struct apus_tcp_sought *sought)
{
	uint64_t addrs;
	uint32_t ports;

	memcpy(&addrs, tuple, sizeof(addrs));
	memcpy(&ports, (const char *)tuple + sizeof(addrs), sizeof(ports));
	memcpy(sought->addr, &addrs, sizeof(sought->addr));
	sought->print = apus_tcp_demux_print_v4(d, addrs, ports);
	sought->slot = apus_tcp_demux_home(d, sought->print);
	__builtin_prefetch(sought->slot);
}

static inline void *apus_tcp_demux_connection(const struct apus_tcp_demux *d,
					      const struct apus_tcp_sought *sought)
{
	const struct apus_tcp_slot *slot = sought->slot;

	for (;;) {
		/* Anything else than an IPv4 connection leaves a tag. */
		uintptr_t entry = slot->tagged ^ (APUS_TCP_KIND_CONNECTION | APUS_TCP_SLOT_V4);
		const struct apus_tcp_key *key = (const struct apus_tcp_key *)entry;

		if (apus_likely(slot->print == sought->print && !(entry & APUS_TCP_SLOT_TAG) &&
				apus_addr_to_v4(key->remote) == sought->addr[0] &&
				apus_addr_to_v4(key->local) == sought->addr[1]))
			return (void *)entry;
		if (!slot->tagged)
			return NULL;
		slot = slot == &d->slots[d->mask] ? d->slots : slot + 1;
	}
}

#endif
