/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ooo.h: text that arrived out of order, and what is told about it (RFC 2018, RFC 2883).
 *
 * Runs of text without a gap, each a chain of mbufs or a few bytes in the run itself, in a treap by
 * sequence number and in a list by when they last grew. A segment that touches a run joins it, so
 * there are as many runs as gaps, a run is a SACK block as it stands, and the list is the order in
 * which RFC 2018 §4 wants them. Each operation is O(log runs), whatever a peer sends in what order
 * (SegmentSmack, CVE-2018-5390).
 */
#ifndef APUS_NET_TCP_OOO_H
#define APUS_NET_TCP_OOO_H

#include "net/tcp/segment.h"
#include "runtime/base/alloc.h"

APUS_BEGIN_DECLS

#define APUS_OOO_RUNS_MAX    16384 /* of one connection */
#define APUS_OOO_SMALL_BYTES 512   /* a text up to this is packed beside its neighbour */
#define APUS_OOO_OBJECT      128   /* bytes of one object of the pool: a run, or struct apus_ooo */
#define APUS_OOO_REPORTS_MAX 4     /* duplicates that wait to be reported */

/* Of all connections of a shard. */
struct apus_ooo_pool {
	struct apus_slab objects;
	uint32_t chance; /* xorshift state for the treaps' priorities; never 0 */
};

struct apus_ooo_run;

/* There is one while there is a run or a report. */
struct apus_ooo {
	struct apus_ooo_run *root;
	struct apus_ooo_run *newest; /* the one that grew last */
	uint32_t bytes;              /* of text */
	uint32_t held;               /* bytes of memory held for it: whole buffers and runs */
	uint32_t runs;
	uint32_t report_count;
	struct apus_segment_sack reports[APUS_OOO_REPORTS_MAX]; /* duplicates, oldest first */
};

/* Where a segment's text is. */
struct apus_ooo_text {
	uint32_t seq;    /* of its first byte (a SYN before it not counted) */
	uint32_t offset; /* from the start of the mbuf chain */
	uint32_t bytes;  /* what lies beyond the window was cut off by the caller */
};

/* A run that is in order now. */
struct apus_ooo_taken {
	struct rte_mbuf *m, *last; /* NULL: its bytes are behind those of the tail */
	uint32_t bytes;            /* 0: there is none */
};

/** apus_ooo_pool_init - @seed: any random number, unknown to peers; @objects_max: of all connections */
void apus_ooo_pool_init(struct apus_ooo_pool *pool, struct apus_heap *heap, uint32_t objects_max,
			uint32_t seed);
/** apus_ooo_pool_fini - nothing may be held in it any more */
void apus_ooo_pool_fini(struct apus_ooo_pool *pool);

/**
 * apus_ooo_add - keep a text
 * @o:          NULL as long as there is none
 * @m:          the packet; consumed
 * @text:       which of its bytes; all behind RCV.NXT
 * @held_max:   bytes of memory that this connection may hold
 * @duplicate:  the first part that had come before; start == end: none
 *
 * Return: 0; -ENOBUFS: a limit is reached or memory is out, and nothing of it is kept.
 */
APUS_MUST_CHECK int apus_ooo_add(struct apus_ooo **o, struct apus_ooo_pool *pool,
				 struct rte_mbuf *m, struct apus_ooo_text text, uint32_t held_max,
				 struct apus_segment_sack *duplicate);

/**
 * apus_ooo_take - the run that reaches @nxt, from there on; what lies before is dropped
 * @tail: the last mbuf in order: a few bytes go there, or into one of its pool. Without one they stay
 */
struct apus_ooo_taken apus_ooo_take(struct apus_ooo **o, struct apus_ooo_pool *pool, uint32_t nxt,
				    struct rte_mbuf *tail);

/** apus_ooo_overlap - the first part of [@start, @end) that is here; start == end: none */
struct apus_segment_sack apus_ooo_overlap(const struct apus_ooo *o, uint32_t start, uint32_t end);

/** apus_ooo_drop_text - forget all text; duplicates are still to be reported */
void apus_ooo_drop_text(struct apus_ooo **o, struct apus_ooo_pool *pool);

/** apus_ooo_drop - forget all text and reports */
void apus_ooo_drop(struct apus_ooo **o, struct apus_ooo_pool *pool);

/** apus_ooo_report - @duplicate has come again: the next ACKs are to say so, one for each (RFC 2883) */
void apus_ooo_report(struct apus_ooo **o, struct apus_ooo_pool *pool,
		     struct apus_segment_sack duplicate);

/* What an ACK is to say. */
struct apus_ooo_query {
	uint32_t nxt; /* RCV.NXT */
	uint32_t max; /* blocks that fit, > 0 */
	uint32_t
		skip; /* the first block is that of the run that grew so many runs before the newest */
	bool with_report; /* begin with a duplicate, if one waits: it is reported by that */
};

/** apus_ooo_blocks - a duplicate, then runs, newest first, into @blocks. Return: how many */
uint32_t apus_ooo_blocks(struct apus_ooo **o, struct apus_ooo_pool *pool,
			 const struct apus_ooo_query *query, struct apus_segment_sack *blocks);

/** apus_ooo_check - the invariants, for tests; O(n) */
void apus_ooo_check(const struct apus_ooo *o);

APUS_END_DECLS

#endif
