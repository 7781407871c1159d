/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/cc_link.h: a sender and a bottleneck, packet by packet in virtual time, for what an
 * algorithm of congestion control does on a path: a rate, a queue that drops or marks, a delay,
 * random loss.
 *
 * Every packet is acknowledged; nothing is reordered, so a loss is noticed at the first ACK behind
 * it, and what was lost is sent again under a new number. Recovery sets cwnd to ssthresh at once. So the model has no engine
 * of its own to be wrong about: what is measured is the algorithm.
 */
#ifndef APUS_TESTS_NET_TCP_CC_LINK_H
#define APUS_TESTS_NET_TCP_CC_LINK_H

#include "tests/net/tcp/cc_test.h"

#include "net/tcp/pace.h"
#include "runtime/base/check.h"

#define LINK_PACKETS (1U << 18)

struct link_packet {
	int64_t sent_ns, arrives_ns; /* arrives: its ACK */
	int64_t delivered_ns, first_sent_ns;
	uint64_t delivered_bytes;
	bool is_lost, is_marked, is_app_limited;
};

struct link {
	/* To be set. */
	uint64_t rate; /* bytes per second */
	int64_t delay_ns;
	uint32_t queue_max_bytes;
	uint32_t mark_bytes; /* a longer queue marks; 0: never */
	double loss;         /* of each packet, by chance */
	uint64_t loss_every; /* one packet of so many; 0: none */
	uint64_t app_rate;   /* what there is to send; 0: always more */
	uint64_t random;

	/* The sender's. */
	struct test_cc t;
	struct apus_pace pace;
	struct link_packet packets[LINK_PACKETS];
	uint64_t head, tail; /* numbers: the oldest that is not settled, the next to be sent */
	uint32_t flight_bytes;
	uint64_t delivered_bytes, lost_packets, timeouts;
	uint64_t app_bytes;
	uint64_t app_limited_until; /* a packet number */
	int64_t delivered_ns, first_sent_ns;
	int64_t srtt_ns, min_rtt_ns;
	uint64_t recover; /* recovery ends beyond this number */
	bool in_recovery, is_after_timeout;
	uint64_t ecn_window;

	/* The bottleneck's. */
	int64_t free_ns;
	double queue_sum, queue_count; /* of bytes found by arriving packets */
	uint32_t queue_most_bytes;
};

static struct link *link_new(const struct apus_cc_type *type, uint64_t rate, int64_t delay_ns)
{
	struct link *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->rate = rate;
	l->delay_ns = delay_ns;
	l->queue_max_bytes = UINT32_MAX;
	l->random = 1;
	test_cc_init(&l->t, type);
	l->free_ns = l->delivered_ns = l->first_sent_ns = l->t.now_ns;
	return l;
}

static uint32_t link_queue_bytes(const struct link *l)
{
	int64_t wait_ns = l->free_ns - l->t.now_ns;

	return wait_ns > 0 ? (uint32_t)((double)wait_ns * (double)l->rate / 1e9) : 0;
}

static void link_send(struct link *l)
{
	struct link_packet *p = &l->packets[l->tail % LINK_PACKETS];
	uint32_t queue_bytes = link_queue_bytes(l);
	int64_t now_ns = l->t.now_ns;

	apus_must_op(l->tail - l->head, <, LINK_PACKETS);
	if (!l->flight_bytes)
		l->delivered_ns = l->first_sent_ns = now_ns;
	*p = (struct link_packet){
		.sent_ns = now_ns,
		.delivered_ns = l->delivered_ns,
		.first_sent_ns = l->first_sent_ns,
		.delivered_bytes = l->delivered_bytes,
		.is_marked = l->mark_bytes && queue_bytes > l->mark_bytes,
		.is_app_limited = l->tail < l->app_limited_until,
	};
	l->queue_sum += queue_bytes;
	l->queue_count++;
	l->queue_most_bytes = apus_max(l->queue_most_bytes, queue_bytes);
	l->tail++;
	l->flight_bytes += MSS;
	p->is_lost = queue_bytes + MSS > l->queue_max_bytes ||
		     (l->loss_every && l->tail % l->loss_every == 0) ||
		     (double)(test_random(&l->random) >> 11) * 0x1p-53 < l->loss;
	if (queue_bytes + MSS > l->queue_max_bytes)
		return;
	l->free_ns = apus_max(l->free_ns, now_ns) + (int64_t)(MSS * APUS_SEC / (int64_t)l->rate);
	p->arrives_ns = l->free_ns + l->delay_ns;
}

/* Sends what may be sent. Return: when more may, if only time is lacking. */
static int64_t link_fill(struct link *l)
{
	struct apus_cc *cc = &l->t.cc;
	uint32_t quantum = UINT32_MAX;
	uint64_t rate;
	bool is_limited = true;

	while (l->flight_bytes + MSS <= cc->cwnd_bytes || !l->flight_bytes) {
		rate = apus_cc_pacing_rate(cc);
		if (l->app_rate && l->app_bytes + MSS > (uint64_t)((double)l->t.now_ns * 1e-9 *
								   (double)l->app_rate)) {
			l->app_limited_until = l->tail + l->flight_bytes / MSS;
			is_limited = false;
			break;
		}
		if (rate && quantum == UINT32_MAX)
			quantum = apus_pace_allowance(&l->pace, rate, MSS, l->t.now_ns);
		if (rate && quantum < MSS) {
			apus_cc_sent(cc, (uint32_t)l->head * MSS, (uint32_t)l->tail * MSS, true);
			return apus_max(l->pace.next_ns, l->t.now_ns + 1);
		}
		if (rate) {
			apus_pace_sent(&l->pace, rate, MSS, l->t.now_ns);
			quantum -= MSS;
		}
		link_send(l);
		l->app_bytes += MSS;
	}
	apus_cc_sent(cc, (uint32_t)l->head * MSS, (uint32_t)l->tail * MSS, is_limited);
	return l->app_rate ? l->t.now_ns + (int64_t)(MSS * APUS_SEC / (int64_t)l->app_rate)
			   : INT64_MAX;
}

static struct apus_cc_sample link_sample(const struct link *l)
{
	return (struct apus_cc_sample){
		.now_ns = l->t.now_ns,
		.una = (uint32_t)l->head * MSS,
		.nxt = (uint32_t)l->tail * MSS,
		.flight_bytes = l->flight_bytes,
		.prior_flight_bytes = l->flight_bytes,
		.delivered_bytes = l->delivered_bytes,
		.rtt_ns = -1,
		.srtt_ns = l->srtt_ns,
		.min_rtt_ns = l->min_rtt_ns,
		.in_recovery = l->in_recovery,
		.is_after_timeout = l->is_after_timeout,
	};
}

/* Packets before @number that are lost are out. Return: bytes of them. */
static uint32_t link_drop(struct link *l, uint64_t number)
{
	uint32_t bytes = 0;

	while (l->head < number && l->packets[l->head % LINK_PACKETS].is_lost) {
		l->head++;
		bytes += MSS;
		l->lost_packets++;
	}
	l->flight_bytes -= bytes;
	return bytes;
}

static void link_measure(struct link *l, struct apus_cc_sample *s, const struct link_packet *p)
{
	int64_t now_ns = l->t.now_ns;
	int64_t send_ns = p->sent_ns - p->first_sent_ns, ack_ns = now_ns - p->delivered_ns;

	l->delivered_bytes += MSS;
	l->delivered_ns = now_ns;
	l->first_sent_ns = p->sent_ns;
	s->rtt_ns = now_ns - p->sent_ns;
	l->srtt_ns += l->srtt_ns ? (s->rtt_ns - l->srtt_ns) / 8 : s->rtt_ns;
	l->min_rtt_ns = l->min_rtt_ns ? apus_min(l->min_rtt_ns, s->rtt_ns) : s->rtt_ns;
	s->srtt_ns = l->srtt_ns;
	s->min_rtt_ns = l->min_rtt_ns;
	s->acked_bytes = MSS;
	s->ce_bytes = p->is_marked ? MSS : 0;
	s->is_ece = p->is_marked;
	s->delivered_bytes = l->delivered_bytes;
	s->prior_delivered_bytes = p->delivered_bytes;
	s->rate_bytes = (uint32_t)(l->delivered_bytes - p->delivered_bytes);
	s->rate_interval_ns = apus_max(send_ns, ack_ns);
	if (s->rate_interval_ns < l->min_rtt_ns)
		s->rate_interval_ns = 0;
	s->is_app_limited = p->is_app_limited;
}

static void link_congested(struct link *l, struct apus_cc_sample *s, enum apus_cc_signal why)
{
	struct apus_cc *cc = &l->t.cc;

	apus_cc_congested(cc, s, why);
	if (why != APUS_CC_TIMEOUT && !(cc->type->flags & APUS_CC_OWNS_CWND))
		cc->cwnd_bytes = cc->ssthresh_bytes;
}

/* The ACK of the oldest packet that was not lost. */
static void link_ack(struct link *l)
{
	uint64_t number = l->head;
	struct apus_cc_sample s;

	while (l->packets[number % LINK_PACKETS].is_lost)
		number++;

	const struct link_packet *p = &l->packets[number % LINK_PACKETS];
	uint32_t prior_bytes = l->flight_bytes, lost_bytes = link_drop(l, number);

	l->t.now_ns = p->arrives_ns;
	l->flight_bytes -= MSS;
	s = link_sample(l);
	link_measure(l, &s, p);
	l->head++;
	s.una = (uint32_t)l->head * MSS;
	s.lost_bytes = lost_bytes;
	s.prior_flight_bytes = prior_bytes;
	if ((l->in_recovery || l->is_after_timeout) && l->head > l->recover) {
		l->in_recovery = l->is_after_timeout = false;
		apus_cc_recovered(&l->t.cc, &s);
	}
	if (lost_bytes && !l->in_recovery && !l->is_after_timeout) {
		l->recover = l->tail;
		link_congested(l, &s, APUS_CC_LOSS);
		l->in_recovery = true;
	}
	if (s.is_ece && l->head >= l->ecn_window && !l->in_recovery) {
		link_congested(l, &s, APUS_CC_ECN);
		l->ecn_window = l->tail;
	}
	s.in_recovery = l->in_recovery;
	s.is_after_timeout = l->is_after_timeout;
	apus_cc_acked(&l->t.cc, &s);
	apus_cc_check(&l->t.cc);
}

/* When the next ACK comes. */
static int64_t link_next_ack(const struct link *l)
{
	for (uint64_t n = l->head; n < l->tail; n++)
		if (!l->packets[n % LINK_PACKETS].is_lost)
			return l->packets[n % LINK_PACKETS].arrives_ns;
	return INT64_MAX;
}

static void link_timeout(struct link *l)
{
	struct apus_cc_sample s;

	l->t.now_ns += l->srtt_ns + 200 * APUS_MS;
	s = link_sample(l);
	(void)link_drop(l, l->tail);
	l->timeouts++;
	link_congested(l, &s, APUS_CC_TIMEOUT);
	l->in_recovery = false;
	l->is_after_timeout = true;
	l->recover = l->tail;
}

/* One event. */
static void link_step(struct link *l)
{
	int64_t more_ns = link_fill(l), ack_ns = link_next_ack(l);

	if (ack_ns == INT64_MAX && more_ns == INT64_MAX)
		link_timeout(l);
	else if (ack_ns <= more_ns)
		link_ack(l);
	else
		l->t.now_ns = more_ns;
}

APUS_UNUSED static void link_run(struct link *l, int64_t span_ns)
{
	int64_t end_ns = l->t.now_ns + span_ns;

	while (l->t.now_ns < end_ns)
		link_step(l);
}

/* Goodput over a span, as a part of the link's rate. */
APUS_UNUSED static double link_use(struct link *l, int64_t span_ns)
{
	uint64_t before = l->delivered_bytes;
	int64_t begin_ns = l->t.now_ns;

	l->queue_sum = l->queue_count = 0;
	l->queue_most_bytes = 0;
	link_run(l, span_ns);
	return (double)(l->delivered_bytes - before) * 1e9 / (double)(l->t.now_ns - begin_ns) /
	       (double)l->rate;
}

APUS_UNUSED static double link_queue_mean(const struct link *l)
{
	return l->queue_sum / l->queue_count;
}

#endif
