/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/recovery_test.h: one sender without a connection, its clock, and ACKs made by hand;
 * segments are counted from where it began.
 */
#ifndef APUS_TESTS_NET_TCP_RECOVERY_TEST_H
#define APUS_TESTS_NET_TCP_RECOVERY_TEST_H

#include "tests/runtime/base_test.h"

#include "net/tcp/recovery_step.h"
#include "net/tcp/reno.h"

#define MSS    1000U
#define RTT_NS (100 * APUS_MS)

static struct sender {
	struct apus_heap heap;
	struct apus_cc cc;
	struct apus_rtt rtt;
	struct apus_recovery r;
	int64_t now_ns;
	uint32_t base, una, nxt; /* base: what tests count segments from */
	bool has_sack, has_more;
	unsigned int events; /* of all since they were looked at */
} t;

APUS_UNUSED static uint32_t seq(uint32_t segment)
{
	return t.base + segment * MSS;
}

APUS_UNUSED static void begin(bool has_sack, uint32_t cwnd_segments)
{
	struct apus_recovery_kept kept = {0};

	memset(&t, 0, sizeof(t));
	assert_int_equal(apus_heap_init(&t.heap), 0);
	t.now_ns = APUS_SEC;
	t.base = t.una = t.nxt = 0xffffc000U; /* near the wrap */
	t.has_sack = has_sack;
	apus_rtt_init(&t.rtt);
	apus_rtt_sample(&t.rtt, RTT_NS);
	apus_cc_init(&t.cc, &apus_reno, MSS, t.una);
	t.cc.cwnd_bytes = cwnd_segments * MSS;
	apus_recovery_init(&t.r, &t.cc, &t.heap, &kept);
	apus_min_rtt_sample(&t.r.rack.min_rtt, RTT_NS, t.now_ns);
}

APUS_UNUSED static void finish(void)
{
	struct apus_recovery_kept kept;

	apus_recovery_fini(&t.r, &t.cc, &kept);
	assert_int_equal(t.heap.live, 0);
	apus_heap_fini(&t.heap);
}

APUS_UNUSED static void wait_ns(int64_t ns)
{
	t.now_ns += ns;
}

APUS_UNUSED static void send_new(uint32_t segments)
{
	assert_int_equal(apus_flight_reserve(&t.r.flight, segments), 0);
	apus_recovery_sent(&t.r, t.nxt, t.nxt + segments * MSS, MSS, t.now_ns);
	t.nxt += segments * MSS;
	apus_cc_sent(&t.cc, t.una, t.nxt, true);
}

APUS_UNUSED static void take(struct apus_recovery_ack ack)
{
	ack.now_ns = t.now_ns;
	ack.nxt = t.nxt;
	ack.has_sack = t.has_sack;
	ack.has_more = t.has_more;
	t.una = ack.una;
	t.events |= apus_recovery_acked(&t.r, &t.cc, &t.rtt, &ack);
	apus_recovery_check(&t.r);
	apus_cc_check(&t.cc);
	assert_int_equal(apus_flight_bytes(&t.r.flight), t.nxt - t.una);
}

APUS_UNUSED static void ack(uint32_t segment)
{
	take((struct apus_recovery_ack){.una = seq(segment),
					.is_duplicate = seq(segment) == t.una});
}

/* An ACK of what was acknowledged, and one block. */
APUS_UNUSED static void sack(uint32_t from, uint32_t to)
{
	struct apus_segment_sack block = {seq(from), seq(to)};

	take((struct apus_recovery_ack){
		.una = t.una, .sack = &block, .sack_count = 1, .is_duplicate = true});
}

APUS_UNUSED static void ack_with(uint32_t una, uint32_t from, uint32_t to)
{
	struct apus_segment_sack block = {seq(from), seq(to)};

	take((struct apus_recovery_ack){.una = seq(una), .sack = &block, .sack_count = 1});
}

APUS_UNUSED static void ack_echoing(uint32_t una, int64_t sent_ns)
{
	take((struct apus_recovery_ack){.una = seq(una), .has_echo = true, .echo_ns = sent_ns});
}

APUS_UNUSED static void timeout(bool is_again)
{
	t.events |= apus_recovery_timeout(&t.r, &t.cc, &t.rtt, t.nxt, is_again, t.now_ns);
	apus_recovery_check(&t.r);
}

/* Send again what the window allows. Return: segments. */
APUS_UNUSED static uint32_t resend(void)
{
	struct apus_flight_record *r;
	uint32_t n = 0;

	while ((r = apus_flight_next_lost(&t.r.flight)) && !t.r.holds_back) {
		if (!t.r.is_forced && apus_recovery_pipe(&t.r) + r->end - r->seq > t.cc.cwnd_bytes)
			break;
		apus_recovery_resent(&t.r, r, t.now_ns);
		n++;
	}
	apus_recovery_check(&t.r);
	return n;
}

APUS_UNUSED static uint32_t lost_segments(void)
{
	return t.r.flight.lost_bytes / MSS;
}

APUS_UNUSED static uint32_t pipe_segments(void)
{
	return apus_recovery_pipe(&t.r) / MSS;
}

APUS_UNUSED static bool is_lost(uint32_t segment)
{
	uint32_t at = apus_flight_find(&t.r.flight, seq(segment));

	return at != t.r.flight.tail && apus_flight_at(&t.r.flight, at)->marks & APUS_FLIGHT_LOST;
}

#endif
