/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/ring.h: the ring between two shards: one producer, one consumer, whole cache lines.
 *
 * A line carries up to seven words and, in its eighth, its own number: the consumer reads the news
 * and the message in one transfer of a line, and one that carries seven costs no more than one that
 * carries one. A line is written in one go, by stores that follow each other, so that the consumer,
 * which spins on the eighth word, takes it away from the producer once and not in between.
 *
 * No index is shared but `freed`: the consumer says only every quarter of a ring how many lines may
 * be written anew, and the producer looks only when it has used up what it knows of. Since it says so
 * at every multiple of a quarter, a producer that finds the ring full will find room once the
 * consumer has taken all.
 *
 * Why this one (bench/cross.c, two cores of an EPYC, ns, least of many runs; a round trip / one of a
 * stream in batches of 32): lines 78 / 0.65; a flag per slot 81 / 0.82; the same a line apart 83 /
 * 0.95; cached indices 114 / 1.07; rte_ring 131 / 1.31; ck_ring 123 / 4.2. Two indices cost a round trip two
 * more transfers of a line; a flag per slot is written by both sides, eight to a line. What a stream
 * gains comes from fetching lines for writing APUS_RING_AHEAD before their turn, half of it. In a
 * line that is not full it is left out: the next one is not near, and the consumer would take it back.
 */
#ifndef APUS_RUNTIME_CROSS_RING_H
#define APUS_RUNTIME_CROSS_RING_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

#define APUS_RING_WORDS     7
#define APUS_RING_AHEAD     8 /* lines that a stream fetches for writing before their turn */
#define APUS_RING_LINES_MIN 8
#define APUS_RING_APART \
 128 /* bytes between what different cores write: lines are fetched in pairs */

struct apus_ring_line {
	uint64_t words[APUS_RING_WORDS];
	uint64_t state; /* (its number + 1) * 8 + how many words, once published; starts as 0 */
} APUS_ALIGNED(64);

/*
 * APUS_RING_FENCE - no load after it is done before a store ahead of it has been seen
 *
 * TSan does not know fences; what is read and written on both sides of ours is ordered without them.
 */
#if APUS_TSAN
# define APUS_RING_FENCE()                                            \
  do {                                                                \
   uint32_t apus_ring_fence_ = 0;                                     \
   (void)__atomic_exchange_n(&apus_ring_fence_, 1, __ATOMIC_SEQ_CST); \
  } while (0)
#else
# define APUS_RING_FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/* What both sides see; the consumer writes it, the producer reads it now and then. */
struct apus_ring_freed {
	uint64_t lines; /* all before this number may be written anew */
} APUS_ALIGNED(APUS_RING_APART);

/* The producer's side. */
struct apus_ring_out {
	struct apus_ring_line *lines;
	const struct apus_ring_freed *freed;
	uint64_t head;       /* number of the next line */
	uint64_t freed_seen; /* what freed->lines was */
	uint64_t mask;       /* lines - 1 */
};

/* The consumer's. */
struct apus_ring_in {
	const struct apus_ring_line *lines;
	struct apus_ring_freed *freed;
	uint64_t tail;       /* number of the next line */
	uint64_t mask;       /* lines - 1 */
	uint64_t freed_mask; /* a quarter of the lines, - 1 */
};

/**
 * apus_ring_init - both sides of an empty ring
 * @lines: @count of them, zeroed, a power of two from 8 on; kept by both sides
 * @freed: zeroed; kept
 *
 * Context: any; before either side uses it.
 */
static inline void apus_ring_init(struct apus_ring_out *out, struct apus_ring_in *in,
				  struct apus_ring_line *lines, uint64_t count,
				  struct apus_ring_freed *freed)
{
	out->lines = lines;
	out->freed = freed;
	out->head = out->freed_seen = 0;
	out->mask = count - 1;
	in->lines = lines;
	in->freed = freed;
	in->tail = 0;
	in->mask = count - 1;
	in->freed_mask = count / 4 - 1;
}

/** apus_ring_has_room - may @lines lines be published? Context: the producer */
static inline bool apus_ring_has_room(struct apus_ring_out *out, uint64_t lines)
{
	if (apus_likely(out->head + lines - out->freed_seen <= out->mask + 1))
		return true;
	out->freed_seen = __atomic_load_n(&out->freed->lines, __ATOMIC_ACQUIRE);
	return out->head + lines - out->freed_seen <= out->mask + 1;
}

/**
 * apus_ring_publish - give the consumer a line of @count words, 1 to 7
 *
 * There must be room. Context: the producer.
 */
static inline void apus_ring_publish(struct apus_ring_out *out, const uint64_t *words,
				     unsigned int count)
{
	struct apus_ring_line *line = &out->lines[out->head & out->mask];

	for (unsigned int i = 0; i < APUS_RING_WORDS; i++)
		line->words[i] = words[i]; /* all, so that no loop hangs on @count */
	__atomic_store_n(&line->state, ++out->head * 8 + count, __ATOMIC_RELEASE);
	if (count == APUS_RING_WORDS)
		apus_prefetch(&out->lines[(out->head + APUS_RING_AHEAD) & out->mask]);
}

/** apus_ring_peek - the oldest line that was not taken. Return: its words, *@count of them; NULL. Context: the consumer */
static inline const uint64_t *apus_ring_peek(const struct apus_ring_in *in, unsigned int *count)
{
	const struct apus_ring_line *line = &in->lines[in->tail & in->mask];
	uint64_t state = __atomic_load_n(&line->state, __ATOMIC_ACQUIRE);

	if (state >> 3 != in->tail + 1)
		return NULL;
	*count = state & 7;
	return line->words;
}

/**
 * apus_ring_take - the line that peek gave was read, and may be written anew
 *
 * Context: the consumer. Return: true if the producer was told so: it may have been waiting.
 */
static inline bool apus_ring_take(struct apus_ring_in *in)
{
	if (++in->tail & in->freed_mask)
		return false;
	__atomic_store_n(&in->freed->lines, in->tail, __ATOMIC_RELEASE);
	return true;
}

APUS_END_DECLS

#endif
