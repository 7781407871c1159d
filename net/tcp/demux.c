/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/demux.c: four-tuple -> entry; see demux.h.
 *
 * Invariants: the table is never more than half full unless memory for a larger one was refused,
 * and never quite full; between an entry's home slot and the slot it is in there is no free slot.
 * Entry points: find, insert, replace, remove, next.
 */
#include "net/tcp/demux.h"

#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define SLOTS_FIRST 64 /* a power of two */

static const struct apus_tcp_key *slot_key(const struct apus_tcp_slot *slot)
{
	return (const struct apus_tcp_key *)apus_tcp_slot_found(slot).entry;
}

static bool key_is_v4(const struct apus_tcp_key *key)
{
	return apus_addr_is_v4(key->local) && apus_addr_is_v4(key->remote);
}

/* Of one kind, for a slot. */
static uintptr_t tagged(enum apus_tcp_kind kind, const void *entry)
{
	return (uintptr_t)entry | kind | (key_is_v4(entry) ? APUS_TCP_SLOT_V4 : 0);
}

/*
 * A keyed hash in the shape of wyhash's short path: not for secrets, but a peer who does not know
 * the key, and never sees a hash, cannot choose four-tuples that meet. What an IPv4 address adds to
 * its 32 bits is the same for all: it is left out, so that a header's fields are hashed as they lie.
 */
static uint64_t print_of(const struct apus_tcp_demux *d, const struct apus_tcp_key *key)
{
	uint16_t port[] = {htons(key->remote_port), htons(key->local_port)};
	uint32_t ports;
	uint64_t word[4];
	uint64_t h;

	memcpy(&ports, port, sizeof(ports));
	if (key_is_v4(key)) {
		uint32_t addrs[] = {apus_addr_to_v4(key->remote), apus_addr_to_v4(key->local)};

		memcpy(word, addrs, sizeof(addrs));
		return apus_tcp_demux_print_v4(d, word[0], ports);
	}
	memcpy(word, key, sizeof(word));
	h = apus_tcp_demux_fold(word[0] ^ d->secret[0], word[1] ^ d->secret[1]);
	h ^= apus_tcp_demux_fold(word[2] ^ d->secret[2], word[3] ^ d->secret[3]);
	h = apus_tcp_demux_fold(h ^ d->secret[4], ports ^ d->secret[5]);
	return (uint64_t)ports << 32 | (uint32_t)(h ^ h >> 32);
}

/* The slot with @key, or the free one where it would go. */
static struct apus_tcp_slot *probe(const struct apus_tcp_demux *d, const struct apus_tcp_key *key,
				   uint64_t print)
{
	for (uint32_t i = (uint32_t)print;; i++) {
		struct apus_tcp_slot *slot = &d->slots[i & d->mask];
		const struct apus_tcp_key *its = slot_key(slot);

		if (!slot->tagged ||
		    (slot->print == print && apus_addr_equal(its->remote, key->remote) &&
		     apus_addr_equal(its->local, key->local)))
			return slot;
	}
}

/* A table twice as large, filled anew. Without memory the old one stays, until it is full. */
static int grow(struct apus_tcp_demux *d)
{
	uint32_t size = (d->mask + 1) * 2;
	struct apus_tcp_slot *old = d->slots;
	struct apus_tcp_slot *slots = apus_heap_zalloc(d->heap, size * sizeof(*slots));

	if (!slots)
		return d->used < d->mask ? 0 : -ENOMEM;

	uint32_t old_size = d->mask + 1;

	d->slots = slots;
	d->mask = size - 1;
	for (uint32_t i = 0; i < old_size; i++) {
		if (old[i].tagged)
			*probe(d, slot_key(&old[i]), old[i].print) = old[i];
	}
	apus_heap_free(d->heap, old);
	return 0;
}

int apus_tcp_demux_init(struct apus_tcp_demux *d, struct apus_heap *heap,
			struct apus_random *random, uint32_t limit)
{
	*d = (struct apus_tcp_demux){.heap = heap, .mask = SLOTS_FIRST - 1, .limit = limit};
	apus_random_secret(random, d->secret, sizeof(d->secret));
	d->slots = apus_heap_zalloc(heap, SLOTS_FIRST * sizeof(*d->slots));
	return d->slots ? 0 : -ENOMEM;
}

void apus_tcp_demux_fini(struct apus_tcp_demux *d)
{
	apus_must_op(d->used, ==, 0);
	apus_heap_free(d->heap, d->slots);
	d->slots = NULL;
}

struct apus_tcp_found apus_tcp_demux_find(const struct apus_tcp_demux *d,
					  const struct apus_tcp_key *key)
{
	const struct apus_tcp_slot *slot = probe(d, key, print_of(d, key));

	return apus_tcp_slot_found(slot);
}

int apus_tcp_demux_insert(struct apus_tcp_demux *d, enum apus_tcp_kind kind, void *entry)
{
	const struct apus_tcp_key *key = entry;
	uint64_t print = print_of(d, key);

	apus_assert(kind != APUS_TCP_KIND_NONE && !((uintptr_t)entry & APUS_TCP_SLOT_TAG));
	if (d->used >= d->limit)
		return -ENOMEM;
	if (2 * (d->used + 1) > d->mask) {
		int rc = grow(d);

		if (rc)
			return rc;
	}

	struct apus_tcp_slot *slot = probe(d, key, print);

	apus_assert(!slot->tagged);
	*slot = (struct apus_tcp_slot){.tagged = tagged(kind, entry), .print = print};
	d->used++;
	return 0;
}

void apus_tcp_demux_replace(struct apus_tcp_demux *d, enum apus_tcp_kind kind, void *entry)
{
	struct apus_tcp_slot *slot = probe(d, entry, print_of(d, entry));

	apus_must(slot->tagged);
	slot->tagged = tagged(kind, entry);
}

void apus_tcp_demux_remove(struct apus_tcp_demux *d, const void *entry)
{
	struct apus_tcp_slot *slot = probe(d, entry, print_of(d, entry));
	uint32_t hole = (uint32_t)(slot - d->slots);

	apus_must((const void *)slot_key(slot) == entry);
	d->used--;
	d->removals++;
	/* Move back every later entry that the hole would otherwise cut off from its home. */
	for (uint32_t i = hole + 1;; i++) {
		const struct apus_tcp_slot *next = &d->slots[i & d->mask];

		if (!next->tagged)
			break;
		if (((i - (uint32_t)next->print) & d->mask) < ((i - hole) & d->mask))
			continue; /* its home lies behind the hole */
		d->slots[hole] = *next;
		hole = i & d->mask;
	}
	d->slots[hole] = (struct apus_tcp_slot){0};
}

/* Removal moves entries from behind the hole into it, never to before: the cursor need not go back. */
struct apus_tcp_found apus_tcp_demux_next(const struct apus_tcp_demux *d, uint32_t *cursor)
{
	while (*cursor <= d->mask && !d->slots[*cursor].tagged)
		(*cursor)++;
	if (*cursor > d->mask)
		return (struct apus_tcp_found){.kind = APUS_TCP_KIND_NONE};
	return apus_tcp_slot_found(&d->slots[*cursor]);
}

struct apus_tcp_found apus_tcp_demux_at(const struct apus_tcp_demux *d, uint32_t i)
{
	const struct apus_tcp_slot *slot = &d->slots[i & d->mask];

	if (!slot->tagged)
		return (struct apus_tcp_found){.kind = APUS_TCP_KIND_NONE};
	return apus_tcp_slot_found(slot);
}

void apus_tcp_demux_check(const struct apus_tcp_demux *d)
{
	uint32_t used = 0;

	apus_must(!(d->mask & (d->mask + 1)));
	for (uint32_t i = 0; i <= d->mask; i++) {
		const struct apus_tcp_slot *slot = &d->slots[i];

		if (!slot->tagged)
			continue;
		used++;
		apus_must_op(slot->print, ==, print_of(d, slot_key(slot)));
		apus_must(probe(d, slot_key(slot), slot->print) == slot);
	}
	apus_must_op(used, ==, d->used);
	apus_must_op(used, <=, d->mask);
}
