/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_scoreboard.c: what is in flight, and what the peer says of it, against octets.
 *
 * Input: records of four bytes: what is done (the order of `actions`; bits 4-7: what the peer's
 * timestamp echoes), two numbers, and by how much time goes on.
 *
 * The model knows for each octet to which segment it belongs and what has become of it, and looks
 * at all of them after every step: which segments there are, their marks and times, every sum, what
 * waits to be sent again in which order, and what an acknowledgment said.
 */
#include "net/tcp/flight.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define SPACE       2048U /* of sequence numbers, from BASE on */
#define BASE        (UINT32_MAX - 700)
#define RECORDS_MAX 160
#define MIN_RTT     20

struct octet {
	uint32_t piece; /* the segment it was sent in: 1, 2, ... */
	int64_t sent_ns;
	bool sacked, lost, again, ever;
};

static struct {
	struct apus_flight f;
	int64_t now_ns;
	uint32_t una, nxt; /* from BASE */
	uint32_t pieces;
	struct octet octets[SPACE + 1]; /* the last one is never sent */
	uint32_t waiting[SPACE];        /* pieces to be sent again, next first */
	uint32_t waiting_count;
	uint32_t sacked_end; /* behind the highest sacked; 0: nothing is */
	uint8_t a, b;        /* of the record at hand */
	struct apus_flight_news news, expected;
} w;

/* ---- the model ---- */

static uint32_t end_of(uint32_t at)
{
	uint32_t piece = w.octets[at].piece;

	while (w.octets[at].piece == piece)
		at++;
	return at;
}

static bool is_waiting(const struct octet *o)
{
	return o->lost && !o->again;
}

static void stop_waiting(uint32_t piece)
{
	for (uint32_t i = 0; i < w.waiting_count; i++) {
		if (w.waiting[i] != piece)
			continue;
		w.waiting_count--;
		memmove(w.waiting + i, w.waiting + i + 1,
			(w.waiting_count - i) * sizeof(w.waiting[0]));
		return;
	}
}

static void wait_last(uint32_t piece)
{
	w.waiting[w.waiting_count++] = piece;
}

static uint32_t start_of_piece(uint32_t piece)
{
	uint32_t at = w.una;

	while (w.octets[at].piece != piece)
		at++;
	return at;
}

/* For all octets of the segment that begins at @at. */
static void set_piece(uint32_t at, struct octet to)
{
	for (uint32_t end = end_of(at); at < end; at++)
		w.octets[at] = to;
}

/* The segment is here, or what is left of it. What an acknowledgment says of it, one line for each clause. */
static void expect_delivered(uint32_t at)
{
	const struct octet o = w.octets[at];
	struct apus_flight_news *e = &w.expected;
	uint32_t end = end_of(at);

	e->has_again |= o.ever;
	if (!o.ever) {
		e->first_sent_ns =
			e->first_sent_ns < 0 ? o.sent_ns : apus_min(e->first_sent_ns, o.sent_ns);
		e->last_sent_ns = apus_max(e->last_sent_ns, o.sent_ns);
		e->has_original |= BASE + end - e->high_seq - 1 > INT32_MAX;
		if (e->has_fack && at < w.sacked_end &&
		    (!e->is_reordered || at < e->reordered_seq - BASE)) {
			e->is_reordered = true;
			e->reordered_seq = BASE + at;
		}
	}
	/* RFC 8985 §6.2 step 2: an answer sooner than any, or to an earlier sending, tells nothing. */
	if (o.ever &&
	    (e->now_ns - o.sent_ns < e->min_rtt_ns || (e->has_echo && e->echo_ns < o.sent_ns)))
		return;
	if (!e->has_rack || o.sent_ns > e->rack_sent_ns ||
	    (o.sent_ns == e->rack_sent_ns && end > e->rack_end - BASE)) {
		e->has_rack = true;
		e->rack_sent_ns = o.sent_ns;
		e->rack_end = BASE + end;
	}
}

static void model_ack(uint32_t una)
{
	for (uint32_t at = w.una; at < una; at++) {
		w.expected.delivered_bytes += !w.octets[at].sacked;
		if (end_of(at) > una) /* a part of a segment */
			continue;
		w.expected.acked_records += end_of(at) == at + 1;
	}
	for (uint32_t at = w.una; at < una; at = end_of(at)) {
		if (end_of(at) > una)
			break;
		if (w.octets[at].sacked)
			continue;
		expect_delivered(at);
		stop_waiting(w.octets[at].piece);
	}
	w.una = una;
	if (w.sacked_end <= una)
		w.sacked_end = 0;
}

static void model_sack(uint32_t start, uint32_t end)
{
	uint32_t highest = w.sacked_end;

	for (uint32_t at = w.una, next; at < w.nxt; at = next) {
		struct octet o = w.octets[at];

		next = end_of(at);
		if (o.sacked || BASE + at - start > INT32_MAX || end - (BASE + next) > INT32_MAX)
			continue;
		expect_delivered(at);
		w.expected.delivered_bytes += next - at;
		w.expected.sacked_records++;
		stop_waiting(o.piece);
		o.sacked = true;
		o.lost = o.again = false;
		set_piece(at, o);
		highest = apus_max(highest, next);
	}
	w.sacked_end = highest;
}

/* ---- comparing ---- */

static void check_sums(void)
{
	const struct apus_flight *f = &w.f;
	uint32_t sacked = 0, lost = 0, again = 0, pipe = 0;

	for (uint32_t at = w.una; at < w.nxt; at++) {
		const struct octet *o = &w.octets[at];

		sacked += o->sacked;
		lost += o->lost;
		again += o->again;
		pipe += !o->sacked && !o->lost; /* what was sent first */
		pipe += o->again;               /* and what was sent again */
	}
	apus_must_op(f->sacked_bytes, ==, sacked);
	apus_must_op(f->lost_bytes, ==, lost);
	apus_must_op(f->again_bytes, ==, again);
	apus_must_op(apus_flight_pipe(f), ==, pipe);
	apus_must_op(apus_flight_bytes(f), ==, w.nxt - w.una);
	apus_must_op(f->has_sacked_end, ==, w.sacked_end > 0);
	if (w.sacked_end)
		apus_must_op(f->sacked_end - BASE, ==, w.sacked_end);
}

/* Each segment is what it is for every octet of it. Returns how many are under way. */
static uint32_t check_records(void)
{
	uint32_t n = 0, under_way = 0, sacked = 0, lost = 0;

	for (uint32_t at = w.una; at < w.nxt; at = end_of(at), n++) {
		const struct octet *o = &w.octets[at];
		uint32_t position = apus_flight_find(&w.f, BASE + end_of(at) - 1);
		const struct apus_flight_record *r = apus_flight_at(&w.f, position);

		apus_must_op(position, ==, w.f.head + n);
		apus_must_op(r->seq - BASE, ==, at);
		apus_must_op(r->end - BASE, ==, end_of(at));
		apus_must_op(r->sent_ns, ==, o->sent_ns);
		apus_must_op(!!(r->marks & APUS_FLIGHT_SACKED), ==, o->sacked);
		apus_must_op(!!(r->marks & APUS_FLIGHT_LOST), ==, o->lost);
		apus_must_op(!!(r->marks & APUS_FLIGHT_AGAIN), ==, o->again);
		apus_must_op(!!(r->marks & APUS_FLIGHT_EVER_AGAIN), ==, o->ever);
		under_way += !o->sacked && !is_waiting(o);
		sacked += o->sacked;
		lost += o->lost;
	}
	apus_must_op(apus_flight_count(&w.f), ==, n);
	apus_must_op(w.f.sacked_records, ==, sacked);
	apus_must_op(w.f.lost_records, ==, lost);
	apus_must_op(apus_flight_find(&w.f, BASE + w.nxt), ==, w.f.tail);
	apus_must_op(apus_flight_find(&w.f, BASE + w.una - 1), ==, w.f.tail);
	return under_way;
}

static void check_lists(uint32_t under_way)
{
	const struct apus_flight_record *r = apus_flight_first_sent(&w.f);
	int64_t sent_ns = INT64_MIN;

	for (; r; r = apus_flight_next_sent(&w.f, r), under_way--) {
		apus_must(r->sent_ns >= sent_ns && under_way > 0);
		apus_must(!is_waiting(&w.octets[r->seq - BASE]));
		sent_ns = r->sent_ns;
	}
	apus_must_op(under_way, ==, 0);
	r = apus_flight_next_lost(&w.f);
	apus_must_op(!r, ==, !w.waiting_count);
	if (r)
		apus_must_op(w.octets[r->seq - BASE].piece, ==, w.waiting[0]);
}

static void check_news(void)
{
	const struct apus_flight_news *n = &w.news, *e = &w.expected;

	apus_must_op(n->delivered_bytes, ==, e->delivered_bytes);
	apus_must_op(n->acked_records, ==, e->acked_records);
	apus_must_op(n->sacked_records, ==, e->sacked_records);
	apus_must_op(n->has_original, ==, e->has_original);
	apus_must_op(n->has_again, ==, e->has_again);
	apus_must_op(n->first_sent_ns, ==, e->first_sent_ns);
	apus_must_op(n->last_sent_ns, ==, e->last_sent_ns);
	apus_must_op(n->is_reordered, ==, e->is_reordered);
	if (e->is_reordered)
		apus_must_op(n->reordered_seq, ==, e->reordered_seq);
	apus_must_op(n->has_rack, ==, e->has_rack);
	if (e->has_rack) {
		apus_must_op(n->rack_sent_ns, ==, e->rack_sent_ns);
		apus_must_op(n->rack_end, ==, e->rack_end);
	}
}

/* ---- actions: the same to both ---- */

static void expect_news(uint8_t echo)
{
	w.news = (struct apus_flight_news){
		.now_ns = w.now_ns,
		.min_rtt_ns = MIN_RTT,
		.echo_ns = w.now_ns - 4 * echo,
		.has_echo = echo,
		.high_seq = BASE + w.una + w.a,
		.fack = w.f.sacked_end,
		.has_fack = w.f.has_sacked_end,
		.first_sent_ns = -1,
		.last_sent_ns = -1,
	};
	w.expected = w.news;
}

static void do_send(void)
{
	uint32_t end = w.nxt + 1 + w.a % 64;

	if (end > SPACE || apus_flight_reserve(&w.f, 1))
		return;
	(void)apus_flight_append(&w.f, BASE + w.nxt, BASE + end, w.now_ns);
	w.pieces++;
	while (w.nxt < end)
		w.octets[w.nxt++] = (struct octet){.piece = w.pieces, .sent_ns = w.now_ns};
}

static void do_ack(void)
{
	uint32_t una = apus_min(w.una + w.a, w.nxt);

	apus_flight_ack(&w.f, BASE + una, &w.news);
	model_ack(una);
	check_news();
}

static void do_sack(void)
{
	uint32_t start = BASE + w.una + 8 * w.a - 32, end = start + 4 * w.b;

	if (w.b == UINT8_MAX)
		end = start - w.a;
	apus_flight_sack(&w.f, start, end, &w.news);
	if (apus_seq_lt(start, end))
		model_sack(start, end);
	check_news();
}

/* Blocks about single segments. */
static void do_sack_one(void)
{
	uint32_t at = w.una + 8 * w.a;

	if (at >= w.nxt)
		return;
	at = start_of_piece(w.octets[at].piece);
	apus_flight_sack(&w.f, BASE + at - w.b % 2, BASE + end_of(at), &w.news);
	model_sack(BASE + at - w.b % 2, BASE + end_of(at));
	check_news();
}

static void do_lose(void)
{
	uint32_t at = w.una + 8 * w.a + w.b;

	if (at >= w.nxt || w.octets[at].sacked || is_waiting(&w.octets[at]))
		return;
	at = start_of_piece(w.octets[at].piece);

	struct octet o = w.octets[at];
	struct apus_flight_record *r = apus_flight_at(&w.f, apus_flight_find(&w.f, BASE + at));

	apus_must_op(apus_flight_lose(&w.f, r), ==, end_of(at) - at);
	o.lost = true;
	o.again = false;
	set_piece(at, o);
	wait_last(o.piece);
	if (w.waiting_count > 1 && at < start_of_piece(w.waiting[0])) {
		w.waiting_count--;
		memmove(w.waiting + 1, w.waiting, w.waiting_count++ * sizeof(w.waiting[0]));
		w.waiting[0] = o.piece;
	}
}

static void do_resend(void)
{
	struct apus_flight_record *r = apus_flight_next_lost(&w.f);

	if (!r)
		return;

	uint32_t at = r->seq - BASE;
	struct octet o = w.octets[at];

	apus_flight_resend(&w.f, r, w.now_ns);
	o.again = o.ever = true;
	o.sent_ns = w.now_ns;
	set_piece(at, o);
	stop_waiting(o.piece);
}

static void do_lose_all(void)
{
	uint32_t bytes = 0;

	w.waiting_count = 0;
	for (uint32_t at = w.una; at < w.nxt; at++) {
		struct octet *o = &w.octets[at];

		if (o->sacked)
			continue;
		bytes += !is_waiting(o);
		o->lost = true;
		o->again = false;
		if (end_of(at) == at + 1)
			wait_last(o->piece);
	}
	apus_must_op(apus_flight_lose_all(&w.f), ==, bytes);
}

static void do_keep(void)
{
	apus_flight_keep(&w.f);
	for (uint32_t at = w.una; at < w.nxt; at++)
		w.octets[at].lost = false;
	w.waiting_count = 0;
}

static void do_forget_sacks(void)
{
	apus_flight_forget_sacks(&w.f);
	for (uint32_t at = w.una; at < w.nxt; at++) {
		struct octet *o = &w.octets[at];

		if (!o->sacked)
			continue;
		o->sacked = false;
		o->lost = true;
		if (end_of(at) == at + 1)
			wait_last(o->piece);
	}
	w.sacked_end = 0;
}

/* Octet by octet; a list keeps its order, each segment giving way to its pieces. */
static void do_cut(void)
{
	static uint32_t waiting[SPACE];
	uint32_t mss = 1 + w.a % 64, count = 0;

	if (apus_flight_cut(&w.f, mss))
		return;
	for (uint32_t i = 0; i < w.waiting_count; i++) {
		uint32_t at = start_of_piece(w.waiting[i]);

		for (uint32_t end = end_of(at); at < end; at = end_of(at)) {
			waiting[count++] = ++w.pieces;
			for (uint32_t last = apus_min(at + mss, end); last > at; last--)
				w.octets[last - 1].piece = w.pieces;
		}
	}
	memcpy(w.waiting, waiting, count * sizeof(waiting[0]));
	w.waiting_count = count;
	for (uint32_t at = w.una, next; at < w.nxt; at = next) {
		next = end_of(at);
		for (uint32_t first = at; next - first > mss;) {
			w.pieces++;
			for (uint32_t i = first; i < first + mss; i++)
				w.octets[i].piece = w.pieces;
			first += mss;
		}
	}
}

static void (*const actions[])(void) = {
	do_send,     do_send, do_send,   do_ack,      do_sack, do_sack,
	do_sack_one, do_lose, do_resend, do_lose_all, do_keep, do_forget_sacks,
	do_cut,      do_send, do_resend, do_sack_one,
};

static bool heap_is_open;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct apus_heap heap; /* lives as long as the process: opening one is dear */

	if (!heap_is_open)
		apus_must_op(apus_heap_init(&heap), ==, 0);
	heap_is_open = true;
	memset(&w, 0, sizeof(w));
	w.now_ns = 1000;
	apus_flight_init(&w.f, &heap);
	for (int i = 0; i < RECORDS_MAX && size >= 4; i++, bytes += 4, size -= 4) {
		w.a = bytes[1];
		w.b = bytes[2];
		w.now_ns += bytes[3];
		expect_news(bytes[0] >> 4);
		actions[bytes[0] % apus_countof(actions)]();
		apus_flight_check(&w.f);
		check_sums();
		check_lists(check_records());
	}
	apus_flight_fini(&w.f);
	return 0;
}
