/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/flight.c: the scoreboard; see flight.h.
 *
 * The two lists are circular, linked by indices, each through a sentinel behind the ring. A sacked
 * record is in none of them and its link serves to skip: it leads to a later position before which
 * all is sacked, and is shortened whenever it is followed, so that a block which the peer repeats
 * with every ACK costs next to nothing however much it covers.
 *
 * The list of what is lost has the lowest sequence number in front as long as losses are found in
 * the order of sending; one that is found late goes to the front if it lies before all others.
 *
 * Invariants: apus_flight_check().
 *
 * Entry points: append, ack, sack, lose, resend.
 */
#include "net/tcp/flight.h"

#include <errno.h>

static_assert((APUS_FLIGHT_INLINE & (APUS_FLIGHT_INLINE - 1)) == 0, "indices are masked");

/* ---- the lists ---- */

static uint32_t time_sentinel(const struct apus_flight *f)
{
	return f->mask + 1;
}

static uint32_t lost_sentinel(const struct apus_flight *f)
{
	return f->mask + 2;
}

static uint32_t index_of(const struct apus_flight *f, const struct apus_flight_record *r)
{
	return (uint32_t)(r - f->records);
}

static void list_init(struct apus_flight *f, uint32_t sentinel)
{
	f->records[sentinel] = (struct apus_flight_record){.next = sentinel, .prev = sentinel};
}

static void insert_before(struct apus_flight *f, struct apus_flight_record *r, uint32_t next)
{
	uint32_t index = index_of(f, r), prev = f->records[next].prev;

	r->next = next;
	r->prev = prev;
	f->records[prev].next = index;
	f->records[next].prev = index;
}

static void unlink(struct apus_flight *f, const struct apus_flight_record *r)
{
	f->records[r->prev].next = r->next;
	f->records[r->next].prev = r->prev;
}

static bool is_under_way(const struct apus_flight_record *r)
{
	return (r->marks & (APUS_FLIGHT_LOST | APUS_FLIGHT_AGAIN)) != APUS_FLIGHT_LOST;
}

/* To the end of what waits, or to its front. */
static void push_lost(struct apus_flight *f, struct apus_flight_record *r)
{
	uint32_t first = f->records[lost_sentinel(f)].next;

	if (first != lost_sentinel(f) && apus_seq_lt(r->seq, f->records[first].seq))
		insert_before(f, r, first);
	else
		insert_before(f, r, lost_sentinel(f));
}

/* ---- the ring ---- */

void apus_flight_init(struct apus_flight *f, struct apus_heap *heap)
{
	*f = (struct apus_flight){.heap = heap, .mask = APUS_FLIGHT_INLINE - 1};
	f->records = f->inline_records;
	list_init(f, time_sentinel(f));
	list_init(f, lost_sentinel(f));
}

void apus_flight_fini(struct apus_flight *f)
{
	if (f->records != f->inline_records)
		apus_heap_free(f->heap, f->records);
	apus_flight_init(f, f->heap);
}

/* What an index becomes when the ring has another mask. */
static uint32_t moved(const struct apus_flight *f, uint32_t index, uint32_t mask)
{
	if (index > f->mask) /* a sentinel */
		return mask + (index - f->mask);
	return (f->head + ((index - f->head) & f->mask)) & mask;
}

static struct apus_flight_record moved_record(const struct apus_flight *f,
					      struct apus_flight_record r, uint32_t mask)
{
	if (!(r.marks & APUS_FLIGHT_SACKED)) { /* else its link is a position */
		r.next = moved(f, r.next, mask);
		r.prev = moved(f, r.prev, mask);
	}
	return r;
}

static struct apus_flight_record *ring_alloc(const struct apus_flight *f, uint64_t capacity)
{
	if (capacity > APUS_FLIGHT_RECORDS_MAX)
		return NULL;
	return apus_heap_alloc(f->heap, (size_t)(capacity + 2) * sizeof(*f->records));
}

static void ring_replace(struct apus_flight *f, struct apus_flight_record *records, uint32_t mask)
{
	if (f->records != f->inline_records)
		apus_heap_free(f->heap, f->records);
	f->records = records;
	f->mask = mask;
}

APUS_COLD int apus_flight_reserve_slow(struct apus_flight *f, uint32_t n)
{
	uint64_t capacity = 2 * ((uint64_t)f->mask + 1);

	while (capacity < (uint64_t)apus_flight_count(f) + n)
		capacity *= 2;

	struct apus_flight_record *to = ring_alloc(f, capacity);
	uint32_t mask = (uint32_t)capacity - 1;

	if (!to)
		return -ENOMEM;
	for (uint32_t at = f->head; at != f->tail; at++)
		to[at & mask] = moved_record(f, *apus_flight_at(f, at), mask);
	for (uint32_t i = 1; i <= 2; i++)
		to[mask + i] = moved_record(f, f->records[f->mask + i], mask);
	ring_replace(f, to, mask);
	return 0;
}

/* The first record that does not lie wholly before @seq. */
static uint32_t lower_bound(const struct apus_flight *f, uint32_t seq)
{
	uint32_t at = f->head, count = apus_flight_count(f);

	while (count) {
		uint32_t half = count / 2;

		if (apus_seq_leq(apus_flight_at(f, at + half)->end, seq)) {
			at += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return at;
}

uint32_t apus_flight_find(const struct apus_flight *f, uint32_t seq)
{
	uint32_t at = lower_bound(f, seq);

	if (at == f->tail || apus_seq_lt(seq, apus_flight_at(f, at)->seq))
		return f->tail;
	return at;
}

/* ---- what an acknowledgment says ---- */

/* RFC 8985 §6.2 step 2: is it sure enough that this answers the last sending? */
static bool tells_time(const struct apus_flight_record *r, const struct apus_flight_news *news)
{
	if (!(r->marks & APUS_FLIGHT_EVER_AGAIN))
		return true;
	return news->now_ns - r->sent_ns >= news->min_rtt_ns &&
	       !(news->has_echo && news->echo_ns < r->sent_ns);
}

/* A record that was not sacked before has arrived. */
static void deliver(const struct apus_flight_record *r, struct apus_flight_news *news)
{
	int64_t sent_ns = r->sent_ns;

	if (r->marks & APUS_FLIGHT_EVER_AGAIN) {
		news->has_again = true;
	} else {
		if (news->first_sent_ns < 0 || sent_ns < news->first_sent_ns)
			news->first_sent_ns = sent_ns;
		news->last_sent_ns = apus_max(news->last_sent_ns, sent_ns);
		if (apus_seq_leq(r->end, news->high_seq))
			news->has_original = true;
		if (news->has_fack && apus_seq_lt(r->seq, news->fack) &&
		    (!news->is_reordered || apus_seq_lt(r->seq, news->reordered_seq))) {
			news->is_reordered = true;
			news->reordered_seq = r->seq;
		}
	}
	if (!news->newest || sent_ns >= news->newest->sent_ns)
		news->newest = r;
	if ((!news->has_rack || sent_ns >= news->rack_sent_ns) && tells_time(r, news)) {
		if (!news->has_rack || sent_ns > news->rack_sent_ns ||
		    apus_seq_gt(r->end, news->rack_end))
			news->rack_end = r->end;
		news->rack_sent_ns = sent_ns;
		news->has_rack = true;
	}
}

/* Its marks count no longer. */
static void unmark(struct apus_flight *f, const struct apus_flight_record *r, uint32_t bytes)
{
	if (r->marks & APUS_FLIGHT_LOST) {
		f->lost_bytes -= bytes;
		f->lost_records--;
	}
	if (r->marks & APUS_FLIGHT_AGAIN)
		f->again_bytes -= bytes;
}

/* The first bytes of the record at the head have arrived. */
static void ack_part(struct apus_flight *f, struct apus_flight_record *r, uint32_t una,
		     struct apus_flight_news *news)
{
	uint32_t bytes = una - r->seq;

	r->seq = una;
	if (r->marks &
	    APUS_FLIGHT_SACKED) { /* the peer contradicts itself; it has been delivered */
		f->sacked_bytes -= bytes;
		return;
	}
	news->delivered_bytes += bytes;
	if (r->marks & APUS_FLIGHT_LOST)
		f->lost_bytes -= bytes;
	if (r->marks & APUS_FLIGHT_AGAIN)
		f->again_bytes -= bytes;
}

void apus_flight_ack(struct apus_flight *f, uint32_t una, struct apus_flight_news *news)
{
	while (f->head != f->tail) {
		struct apus_flight_record *r = apus_flight_at(f, f->head);
		uint32_t bytes = r->end - r->seq;

		if (apus_seq_gt(r->end, una)) {
			if (apus_seq_gt(una, r->seq))
				ack_part(f, r, una, news);
			break;
		}
		if (r->marks & APUS_FLIGHT_SACKED) {
			f->sacked_bytes -= bytes;
			f->sacked_records--;
		} else {
			news->delivered_bytes += bytes;
			deliver(r, news);
			unlink(f, r);
			unmark(f, r, bytes);
		}
		f->head++;
		news->acked_records++;
	}
	if (f->has_sacked_end && apus_seq_geq(una, f->sacked_end))
		f->has_sacked_end = false;
}

static void sack_one(struct apus_flight *f, uint32_t position, struct apus_flight_news *news)
{
	struct apus_flight_record *r = apus_flight_at(f, position);
	uint32_t bytes = r->end - r->seq;

	news->delivered_bytes += bytes;
	news->sacked_records++;
	deliver(r, news);
	unlink(f, r);
	unmark(f, r, bytes);
	r->marks &= (uint8_t) ~(APUS_FLIGHT_LOST | APUS_FLIGHT_AGAIN);
	r->marks |= APUS_FLIGHT_SACKED;
	r->next = position + 1;
	f->sacked_bytes += bytes;
	f->sacked_records++;
	if (!f->has_sacked_end || apus_seq_gt(r->end, f->sacked_end)) {
		f->sacked_end = r->end;
		f->has_sacked_end = true;
	}
}

/* The first position from @at on that is not sacked; the way there is short the next time. */
static uint32_t skip_sacked(const struct apus_flight *f, uint32_t at)
{
	uint32_t end = at;

	while (end != f->tail && apus_flight_at(f, end)->marks & APUS_FLIGHT_SACKED)
		end = apus_flight_at(f, end)->next;
	while (at != end) {
		struct apus_flight_record *r = apus_flight_at(f, at);

		at = r->next;
		r->next = end;
	}
	return end;
}

void apus_flight_sack(struct apus_flight *f, uint32_t start, uint32_t end,
		      struct apus_flight_news *news)
{
	if (!apus_flight_count(f) || !apus_seq_lt(start, end))
		return;

	uint32_t at = lower_bound(f, start);

	/* A part of a record is none of it. */
	if (at != f->tail && apus_seq_lt(apus_flight_at(f, at)->seq, start))
		at++;
	for (at = skip_sacked(f, at); at != f->tail; at = skip_sacked(f, at + 1)) {
		if (apus_seq_gt(apus_flight_at(f, at)->end, end))
			break;
		sack_one(f, at, news);
	}
}

void apus_flight_forget_sacks(struct apus_flight *f)
{
	for (uint32_t at = f->head; at != f->tail; at++) {
		struct apus_flight_record *r = apus_flight_at(f, at);

		if (!(r->marks & APUS_FLIGHT_SACKED))
			continue;
		r->marks &= (uint8_t)~APUS_FLIGHT_SACKED;
		r->marks |= APUS_FLIGHT_LOST;
		f->lost_bytes += r->end - r->seq;
		f->lost_records++;
		insert_before(f, r, lost_sentinel(f));
	}
	f->sacked_bytes = f->sacked_records = 0;
	f->has_sacked_end = false;
}

/* ---- loss and what is done about it ---- */

uint32_t apus_flight_lose(struct apus_flight *f, struct apus_flight_record *r)
{
	uint32_t bytes = r->end - r->seq;

	apus_assert(!(r->marks & APUS_FLIGHT_SACKED) && is_under_way(r));
	unlink(f, r);
	if (r->marks & APUS_FLIGHT_AGAIN)
		f->again_bytes -= bytes;
	if (!(r->marks & APUS_FLIGHT_LOST)) {
		f->lost_bytes += bytes;
		f->lost_records++;
	}
	r->marks &= (uint8_t)~APUS_FLIGHT_AGAIN;
	r->marks |= APUS_FLIGHT_LOST;
	push_lost(f, r);
	return bytes;
}

uint32_t apus_flight_lose_all(struct apus_flight *f)
{
	uint32_t bytes = 0;

	list_init(f, time_sentinel(f));
	list_init(f, lost_sentinel(f));
	for (uint32_t at = f->head; at != f->tail; at++) {
		struct apus_flight_record *r = apus_flight_at(f, at);

		if (r->marks & APUS_FLIGHT_SACKED)
			continue;
		if (is_under_way(r))
			bytes += r->end - r->seq;
		unmark(f, r, r->end - r->seq);
		f->lost_bytes += r->end - r->seq;
		f->lost_records++;
		r->marks &= (uint8_t)~APUS_FLIGHT_AGAIN;
		r->marks |= APUS_FLIGHT_LOST;
		insert_before(f, r, lost_sentinel(f));
	}
	return bytes;
}

/*
 * Back among what is under way, in the order of time: what was sent once comes in that order by
 * its number; only for what was sent again, and lost again, the place is looked for from the start.
 */
void apus_flight_keep(struct apus_flight *f)
{
	uint32_t after = time_sentinel(f);

	for (uint32_t at = f->head; at != f->tail && f->lost_records; at++) {
		struct apus_flight_record *r = apus_flight_at(f, at);

		if (!(r->marks & APUS_FLIGHT_LOST))
			continue;
		f->lost_bytes -= r->end - r->seq;
		f->lost_records--;
		r->marks &= (uint8_t)~APUS_FLIGHT_LOST;
		if (r->marks & APUS_FLIGHT_AGAIN) /* is in its place */
			continue;
		unlink(f, r);
		if (after != time_sentinel(f) && f->records[after].sent_ns > r->sent_ns)
			after = time_sentinel(f);
		while (f->records[after].next != time_sentinel(f) &&
		       f->records[f->records[after].next].sent_ns <= r->sent_ns)
			after = f->records[after].next;
		insert_before(f, r, f->records[after].next);
		after = index_of(f, r);
	}
}

void apus_flight_resend(struct apus_flight *f, struct apus_flight_record *r, int64_t now_ns)
{
	apus_assert(!(r->marks & APUS_FLIGHT_SACKED));
	unlink(f, r);
	if (!(r->marks & APUS_FLIGHT_AGAIN))
		f->again_bytes += r->end - r->seq;
	r->marks |= APUS_FLIGHT_AGAIN | APUS_FLIGHT_EVER_AGAIN;
	r->sent_ns = now_ns;
	insert_before(f, r, time_sentinel(f));
}

/* ---- another segment size ---- */

static uint32_t pieces_of(const struct apus_flight_record *r, uint32_t mss)
{
	return (r->end - r->seq + mss - 1) / mss;
}

/* The pieces of a record, from position @to on; @r itself then says where they are. */
static uint32_t cut_record(struct apus_flight *f, struct apus_flight_record *r, uint32_t mss,
			   uint32_t to)
{
	uint32_t pieces = pieces_of(r, mss);

	for (uint32_t i = 0; i < pieces; i++) {
		struct apus_flight_record *piece = apus_flight_at(f, to + i);

		*piece = *r;
		piece->seq = r->seq + i * mss;
		piece->end = i + 1 < pieces ? piece->seq + mss : r->end;
		if (r->marks & APUS_FLIGHT_SACKED) {
			piece->next = to + i + 1;
			f->sacked_records++;
		} else if (r->marks & APUS_FLIGHT_LOST) {
			f->lost_records++;
		}
	}
	r->prev = to;
	r->end = pieces;
	return pieces;
}

/* A list of the old ring, in its order, with the pieces of each record. */
static void cut_list(struct apus_flight *f, const struct apus_flight_record *old, uint32_t end,
		     uint32_t sentinel)
{
	list_init(f, sentinel);
	for (uint32_t i = old[end].next; i != end; i = old[i].next)
		for (uint32_t n = 0; n < old[i].end; n++)
			insert_before(f, apus_flight_at(f, old[i].prev + n), sentinel);
}

APUS_COLD int apus_flight_cut(struct apus_flight *f, uint32_t mss)
{
	uint64_t total = 0, capacity = (uint64_t)f->mask + 1;
	struct apus_flight old = *f;

	apus_assert(mss > 0);
	for (uint32_t at = f->head; at != f->tail; at++)
		total += pieces_of(apus_flight_at(f, at), mss);
	if (total == apus_flight_count(f))
		return 0;
	while (capacity < total)
		capacity *= 2;

	struct apus_flight_record *to = ring_alloc(f, capacity);

	if (!to)
		return -ENOMEM;
	f->records = to;
	f->mask = (uint32_t)capacity - 1;
	f->sacked_records = f->lost_records = 0;
	f->tail = f->head;
	for (uint32_t at = old.head; at != old.tail; at++)
		f->tail += cut_record(f, &old.records[at & old.mask], mss, f->tail);
	cut_list(f, old.records, old.mask + 1, time_sentinel(f));
	cut_list(f, old.records, old.mask + 2, lost_sentinel(f));
	if (old.records != f->inline_records)
		apus_heap_free(f->heap, old.records);
	return 0;
}

/* ---- the invariants ---- */

struct sums {
	uint32_t sacked_bytes, lost_bytes, again_bytes;
	uint32_t sacked_records, lost_records;
	uint32_t under_way, waiting;
};

static void check_record(const struct apus_flight *f, uint32_t at, struct sums *sums)
{
	const struct apus_flight_record *r = apus_flight_at(f, at);
	uint32_t bytes = r->end - r->seq;

	apus_must(apus_seq_lt(r->seq, r->end));
	if (at + 1 != f->tail)
		apus_must_op(r->end, ==, apus_flight_at(f, at + 1)->seq);
	if (r->marks & APUS_FLIGHT_SACKED) {
		apus_must(!(r->marks & (APUS_FLIGHT_LOST | APUS_FLIGHT_AGAIN)));
		apus_must(f->has_sacked_end && apus_seq_leq(r->end, f->sacked_end));
		apus_must(r->next - at - 1 < f->tail - at);
		for (uint32_t skipped = at; skipped != r->next; skipped++)
			apus_must(apus_flight_at(f, skipped)->marks & APUS_FLIGHT_SACKED);
		sums->sacked_bytes += bytes;
		sums->sacked_records++;
		return;
	}
	if (r->marks & APUS_FLIGHT_LOST) {
		sums->lost_bytes += bytes;
		sums->lost_records++;
	}
	if (r->marks & APUS_FLIGHT_AGAIN)
		sums->again_bytes += bytes;
	sums->under_way += is_under_way(r);
	sums->waiting += !is_under_way(r);
}

static uint32_t check_list(const struct apus_flight *f, uint32_t sentinel)
{
	uint32_t n = 0, before = sentinel;
	int64_t sent_ns = INT64_MIN;

	for (uint32_t i = f->records[sentinel].next; i != sentinel; i = f->records[i].next, n++) {
		const struct apus_flight_record *r = &f->records[i];

		apus_must_op(r->prev, ==, before);
		apus_must(i <= f->mask && ((i - f->head) & f->mask) < apus_flight_count(f));
		apus_must(!(r->marks & APUS_FLIGHT_SACKED));
		apus_must_op(is_under_way(r), ==, sentinel == time_sentinel(f));
		if (sentinel == time_sentinel(f))
			apus_must_op(r->sent_ns, >=, sent_ns);
		sent_ns = r->sent_ns;
		before = i;
	}
	apus_must_op(f->records[sentinel].prev, ==, before);
	return n;
}

void apus_flight_check(const struct apus_flight *f)
{
	struct sums sums = {0};

	apus_must_op(apus_flight_count(f), <=, f->mask + 1);
	for (uint32_t at = f->head; at != f->tail; at++)
		check_record(f, at, &sums);
	apus_must_op(sums.sacked_bytes, ==, f->sacked_bytes);
	apus_must_op(sums.lost_bytes, ==, f->lost_bytes);
	apus_must_op(sums.again_bytes, ==, f->again_bytes);
	apus_must_op(sums.sacked_records, ==, f->sacked_records);
	apus_must_op(sums.lost_records, ==, f->lost_records);
	apus_must_op(sums.under_way, ==, check_list(f, time_sentinel(f)));
	apus_must_op(sums.waiting, ==, check_list(f, lost_sentinel(f)));
	apus_must_op((uint64_t)f->sacked_bytes + f->lost_bytes + f->emulated_bytes, <=,
		     apus_flight_bytes(f));
}
