/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/settled.h: a copy of a connection as it is when nothing is left out (net/tcp/steady.h), to
 * be compared with one of which nothing ever was. The connection itself stays steady.
 */
#ifndef APUS_TESTS_NET_TCP_SETTLED_H
#define APUS_TESTS_NET_TCP_SETTLED_H

#include "net/tcp/steady.h"
#include "tests/net/tcp/tcp_peer.h"

#include <stdlib.h>

struct settled {
	struct apus_tcp c; /* its pointers lead here, or to what is shared */
	struct apus_tcp_sender sender;
	struct apus_tcp_tally tally;
	struct apus_flight_record *records; /* of a ring that had outgrown the block */
};

/* Places in the ring count from the first record: how many there have been is nobody's business. */
static inline uint32_t settled_place(const struct apus_flight *f, uint32_t index)
{
	return index > f->mask ? index : (index - f->head) & f->mask;
}

static inline void settled_turn(struct apus_flight *f)
{
	uint32_t size = f->mask + 3, count = apus_flight_count(f);
	struct apus_flight_record *turned = calloc(size, sizeof(*turned));

	assert_non_null(turned);
	for (uint32_t i = 0; i < size; i++) {
		struct apus_flight_record *r = &turned[settled_place(f, i)];

		if (settled_place(f, i) >= count && i <= f->mask)
			continue;
		*r = f->records[i];
		r->prev = settled_place(f, r->prev);
		if (!(r->marks & APUS_FLIGHT_SACKED) || i > f->mask)
			r->next = settled_place(f, r->next);
		else
			r->next -= f->head; /* a position */
	}
	memcpy(f->records, turned, size * sizeof(*turned));
	free(turned);
	f->tail = count;
	f->head = 0;
}

/* What means nothing while nothing is in flight. */
static inline void settled_forget(struct settled *s)
{
	struct apus_recovery *r = &s->sender.recovery;

	s->c.progress_tick = 0;
	s->c.cc.flight_max_bytes = 0;
	r->rto_from_ns = 0;
	r->rate.delivered_ns = r->rate.first_sent_ns = 0;
}

static inline void settled_copy(struct settled *s, const struct apus_tcp *c)
{
	struct apus_flight *f = &s->sender.recovery.flight;

	*s = (struct settled){.c = *c};
	if (c->tally) {
		s->tally = *c->tally;
		s->c.tally = &s->tally;
	}
	if (!c->recovery) {
		s->c.progress_tick = s->c.cc.flight_max_bytes = 0;
		return;
	}
	s->sender = *apus_tcp_sender_of(c);
	s->c.recovery = &s->sender.recovery;
	if (f->records == c->recovery->flight.inline_records) {
		f->records = f->inline_records;
	} else {
		s->records = malloc((f->mask + 3) * sizeof(*s->records));
		assert_non_null(s->records);
		memcpy(s->records, f->records, (f->mask + 3) * sizeof(*s->records));
		f->records = s->records;
	}
	apus_tcp_settle(&s->c);
	settled_turn(f);
	if (s->c.snd.una == s->c.snd.nxt)
		settled_forget(s);
	s->sender.steady_una = s->sender.steady_most = 0;
}

static inline void settled_free(struct settled *s)
{
	free(s->records);
	s->records = NULL;
}

#endif
