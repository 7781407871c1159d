/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/flight.h: what is in flight: a record for each segment that was sent and is not yet
 * acknowledged, and the scoreboard of what the peer holds of it (RFC 2018, RFC 6675).
 *
 * Records lie in a ring in the order of their sequence numbers, without a gap: appending at
 * SND.NXT and forgetting at SND.UNA move a number, and any sequence number is found by bisection.
 * A record is in one of two lists: by the time it was last sent (RFC 8985's order), or of what is
 * lost and waits to be sent again; in neither once it is sacked. No record is larger than one
 * segment and none is ever split by what the peer says: a block that covers a part of a segment
 * says nothing about that segment. So no peer can make us take memory.
 *
 * No connection and no clock; a ring that outgrows the block comes from a heap.
 */
#ifndef APUS_NET_TCP_FLIGHT_H
#define APUS_NET_TCP_FLIGHT_H

#include "net/tcp/seq.h"
#include "runtime/base/alloc.h"
#include "runtime/base/check.h"

APUS_BEGIN_DECLS

#define APUS_FLIGHT_INLINE      4U         /* records in the block itself; a power of two */
#define APUS_FLIGHT_RECORDS_MAX (1U << 16) /* then output waits, as for an mbuf */

enum apus_flight_mark {
	APUS_FLIGHT_SACKED = 1 << 0,      /* the peer holds it */
	APUS_FLIGHT_LOST = 1 << 1,        /* what was sent first counts as lost */
	APUS_FLIGHT_AGAIN = 1 << 2,       /* sent again since, and that may be under way */
	APUS_FLIGHT_EVER_AGAIN = 1 << 3,  /* sent more than once (Karn) */
	APUS_FLIGHT_APP_LIMITED = 1 << 4, /* rate.h: the application had no more to send */
};

struct apus_flight_record {
	uint32_t seq, end;  /* octets seq =< x < end; a FIN counts */
	int64_t sent_ns;    /* the last time */
	uint32_t next;      /* index, in its list; sacked: a position, all before which is sacked */
	uint32_t prev;      /* index */
	uint32_t delivered; /* rate.h: bytes delivered in all when it was sent; modulo 2^32 */
	uint32_t delivered_units;  /* rate.h: when the last of them were */
	uint32_t first_sent_units; /* rate.h: when what was delivered then had been sent */
	uint8_t marks;             /* enum apus_flight_mark */
};

static_assert(sizeof(struct apus_flight_record) <= 40, "a window has thousands of them");

struct apus_flight {
	struct apus_flight_record *records; /* capacity, then the sentinels of the two lists */
	uint32_t mask;                      /* capacity - 1 */
	uint32_t head, tail;                /* positions: index & mask; tail - head records */
	uint32_t sacked_bytes, lost_bytes, again_bytes; /* of records with these marks */
	uint32_t emulated_bytes; /* left the network by count of duplicate ACKs: no SACK */
	uint32_t sacked_records, lost_records;
	uint32_t
		sacked_end; /* behind the highest that was ever sacked; valid with has_sacked_end */
	bool has_sacked_end;
	struct apus_heap *heap;
	struct apus_flight_record inline_records[APUS_FLIGHT_INLINE + 2];
};

/* What an acknowledgment says, summed up over the records that it covers. */
struct apus_flight_news {
	/* Set by the caller. */
	int64_t now_ns;
	int64_t min_rtt_ns; /* 0: none yet. Sooner than that no answer to what was sent again comes */
	int64_t echo_ns; /* when what the peer's timestamp echoes was sent; valid with has_echo */
	bool has_echo;
	uint32_t high_seq; /* what ends up to here was sent before the recovery at hand */
	uint32_t fack;     /* all before it may have been expected to be here: reordering */
	bool has_fack;

	/* Set here. */
	uint32_t delivered_bytes; /* newly acknowledged or sacked */
	uint32_t acked_records;   /* forgotten: SND.UNA passed them */
	uint32_t sacked_records;  /* newly sacked */
	uint32_t reordered_seq;   /* lowest that came after higher ones though sent before them */
	bool is_reordered;        /* reordered_seq is set */
	bool has_original;        /* something sent once only, before high_seq, has arrived */
	bool has_again;           /* something that was sent more than once has arrived */
	bool has_rack;            /* the next two are set */
	uint32_t rack_end;        /* of the last sent among them, by RFC 8985 §6.2 step 2 */
	int64_t rack_sent_ns;
	int64_t first_sent_ns, last_sent_ns; /* of those sent once only; < 0: none */
	const struct apus_flight_record
		*newest; /* the last sent; NULL: none. Until the next append */
};

void apus_flight_init(struct apus_flight *f, struct apus_heap *heap);
void apus_flight_fini(struct apus_flight *f);

static inline uint32_t apus_flight_count(const struct apus_flight *f)
{
	return f->tail - f->head;
}

static inline struct apus_flight_record *apus_flight_at(const struct apus_flight *f,
							uint32_t position)
{
	return &f->records[position & f->mask];
}

/** apus_flight_bytes - sent and not acknowledged; 0 when there is nothing */
static inline uint32_t apus_flight_bytes(const struct apus_flight *f)
{
	if (f->tail == f->head)
		return 0;
	return apus_flight_at(f, f->tail - 1)->end - apus_flight_at(f, f->head)->seq;
}

/** apus_flight_pipe - bytes that are in the network, as far as can be told (RFC 6675 §2) */
static inline uint32_t apus_flight_pipe(const struct apus_flight *f)
{
	return apus_flight_bytes(f) - f->sacked_bytes - f->lost_bytes - f->emulated_bytes +
	       f->again_bytes;
}

/** apus_flight_room - records that fit without more memory */
static inline uint32_t apus_flight_room(const struct apus_flight *f)
{
	return f->mask + 1 - apus_flight_count(f);
}

/** apus_flight_reserve_slow - see below */
APUS_MUST_CHECK int apus_flight_reserve_slow(struct apus_flight *f, uint32_t n);

/** apus_flight_reserve - see that @n (> 0) more records fit. Return: 0; -ENOMEM: no memory, or too many */
APUS_MUST_CHECK static inline int apus_flight_reserve(struct apus_flight *f, uint32_t n)
{
	return apus_flight_count(f) + n <= f->mask + 1 ? 0 : apus_flight_reserve_slow(f, n);
}

/**
 * apus_flight_append - @seq to @end (at the end of what is in flight) was sent now
 *
 * There is room: apus_flight_reserve(). Return: the record, whose fields of rate.h are the caller's
 * to set; valid until the next reserve.
 */
static inline struct apus_flight_record *apus_flight_append(struct apus_flight *f, uint32_t seq,
							    uint32_t end, int64_t now_ns)
{
	uint32_t index = f->tail & f->mask, sentinel = f->mask + 1; /* of the list by time */
	struct apus_flight_record *r = &f->records[index];
	uint32_t prev = f->records[sentinel].prev;

	apus_assert(apus_flight_count(f) <= f->mask);
	apus_assert(!apus_flight_count(f) || apus_flight_at(f, f->tail - 1)->end == seq);
	r->seq = seq;
	r->end = end;
	r->sent_ns = now_ns;
	r->marks = 0;
	r->next = sentinel;
	r->prev = prev;
	f->records[prev].next = index;
	f->records[sentinel].prev = index;
	f->tail++;
	return r;
}

/** apus_flight_find - the position of the record that holds @seq; f->tail when none does */
uint32_t apus_flight_find(const struct apus_flight *f, uint32_t seq);

/** apus_flight_ack - all before @una has arrived: forget it */
void apus_flight_ack(struct apus_flight *f, uint32_t una, struct apus_flight_news *news);

/**
 * apus_flight_sack - the peer holds @start =< x < @end
 *
 * Any numbers: only what lies in flight counts. In O(log n) and the number of records newly sacked.
 */
void apus_flight_sack(struct apus_flight *f, uint32_t start, uint32_t end,
		      struct apus_flight_news *news);

/** apus_flight_lose - mark a record lost, that is not sacked and not waiting already. Return: bytes newly lost */
uint32_t apus_flight_lose(struct apus_flight *f, struct apus_flight_record *r);

/** apus_flight_lose_all - what is not sacked waits to be sent again, lowest number first. Return: bytes newly lost */
uint32_t apus_flight_lose_all(struct apus_flight *f);

/** apus_flight_forget_sacks - the peer may have reneged: it holds nothing (RFC 2018 §8) */
void apus_flight_forget_sacks(struct apus_flight *f);

/** apus_flight_keep - undo: nothing is lost; what waited to be sent again is under way, as first sent */
void apus_flight_keep(struct apus_flight *f);

/** apus_flight_resend - @r was sent again now */
void apus_flight_resend(struct apus_flight *f, struct apus_flight_record *r, int64_t now_ns);

/**
 * apus_flight_cut - the segment size shrank: cut every record to pieces of at most @mss bytes
 *
 * Return: 0; -ENOMEM: as before, each is still sent as one record, in several segments.
 */
APUS_MUST_CHECK int apus_flight_cut(struct apus_flight *f, uint32_t mss);

/** apus_flight_next_lost - the next to be sent again; NULL: none waits */
static inline struct apus_flight_record *apus_flight_next_lost(const struct apus_flight *f)
{
	uint32_t sentinel = f->mask + 2, first = f->records[sentinel].next;

	return first == sentinel ? NULL : &f->records[first];
}

/** apus_flight_first_sent - of those under way, the one whose sending lies longest back; NULL: none is */
static inline struct apus_flight_record *apus_flight_first_sent(const struct apus_flight *f)
{
	uint32_t sentinel = f->mask + 1, first = f->records[sentinel].next;

	return first == sentinel ? NULL : &f->records[first];
}

/** apus_flight_next_sent - the one sent after @r; NULL: none */
static inline struct apus_flight_record *apus_flight_next_sent(const struct apus_flight *f,
							       const struct apus_flight_record *r)
{
	return r->next == f->mask + 1 ? NULL : &f->records[r->next];
}

/** apus_flight_pop_lone - the only record has arrived: it was sent once and is under way */
static inline void apus_flight_pop_lone(struct apus_flight *f)
{
	uint32_t sentinel = f->mask + 1;

	apus_assert(apus_flight_count(f) == 1);
	f->records[sentinel].next = f->records[sentinel].prev = sentinel;
	f->head++;
}

/** apus_flight_check - the invariants, for tests; O(n) */
void apus_flight_check(const struct apus_flight *f);

APUS_END_DECLS

#endif
