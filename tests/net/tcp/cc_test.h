/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/cc_test.h: for the tests of congestion control: a window with the state lent to it,
 * and a sender that always uses it, ACK by ACK.
 */
#ifndef APUS_TESTS_NET_TCP_CC_TEST_H
#define APUS_TESTS_NET_TCP_CC_TEST_H

#include "tests/runtime/base_test.h"

#include "net/tcp/cc.h"

#include <math.h>

#define MSS 1000U
#define UNA 0xfffff000U /* near the wrap */

struct test_cc {
	struct apus_cc cc;
	int64_t now_ns;
	uint32_t una;
	uint64_t state[APUS_CC_STATE_BYTES_MAX / 8];
};

/* A sender after the handshake; what is lent is full of rubbish. */
APUS_UNUSED static void test_cc_init(struct test_cc *t, const struct apus_cc_type *type)
{
	*t = (struct test_cc){.now_ns = 5 * APUS_SEC, .una = UNA};
	memset(t->state, 0xa5, sizeof(t->state));
	apus_cc_init(&t->cc, type, MSS, UNA);
	apus_cc_attach(&t->cc, t->state);
	apus_cc_check(&t->cc);
}

/* In congestion avoidance with this window, all of it in use. */
APUS_UNUSED static void test_cc_avoiding(struct test_cc *t, const struct apus_cc_type *type,
					 uint32_t cwnd_bytes)
{
	test_cc_init(t, type);
	t->cc.cwnd_bytes = cwnd_bytes;
	t->cc.ssthresh_bytes = 2 * MSS;
	apus_cc_sent(&t->cc, UNA, UNA + cwnd_bytes, true);
}

/* All of the window is in flight. */
APUS_UNUSED static struct apus_cc_sample test_cc_sample(const struct test_cc *t)
{
	return (struct apus_cc_sample){
		.now_ns = t->now_ns,
		.una = t->una,
		.nxt = t->una + t->cc.cwnd_bytes,
		.flight_bytes = t->cc.cwnd_bytes,
		.prior_flight_bytes = t->cc.cwnd_bytes,
		.rtt_ns = -1,
	};
}

/* An ACK for so many bytes, and the window is filled again. */
APUS_UNUSED static void test_cc_acked(struct test_cc *t, uint32_t bytes, int64_t rtt_ns)
{
	struct apus_cc_sample s;

	apus_cc_sent(&t->cc, t->una, t->una + t->cc.cwnd_bytes, true);
	s = test_cc_sample(t);
	t->una += bytes;
	s.una = t->una;
	s.acked_bytes = bytes;
	s.flight_bytes -= apus_min(bytes, s.flight_bytes);
	s.rtt_ns = rtt_ns;
	s.srtt_ns = s.min_rtt_ns = apus_max(rtt_ns, 0);
	apus_cc_acked(&t->cc, &s);
	apus_cc_check(&t->cc);
}

/* A window, acknowledged segment by segment within a round-trip time. */
APUS_UNUSED static void test_cc_round(struct test_cc *t, int64_t rtt_ns)
{
	uint32_t segments = t->cc.cwnd_bytes / t->cc.mss;
	int64_t begin_ns = t->now_ns;

	for (uint32_t i = 1; i <= segments; i++) {
		t->now_ns = begin_ns + rtt_ns * i / segments;
		test_cc_acked(t, t->cc.mss, rtt_ns);
	}
}

/* Congestion, and the window as it is when that is dealt with. */
APUS_UNUSED static void test_cc_lose(struct test_cc *t, enum apus_cc_signal why)
{
	struct apus_cc_sample s = test_cc_sample(t);

	apus_cc_congested(&t->cc, &s, why);
	if (why != APUS_CC_TIMEOUT && !(t->cc.type->flags & APUS_CC_OWNS_CWND))
		t->cc.cwnd_bytes = t->cc.ssthresh_bytes;
	apus_cc_recovered(&t->cc, &s);
	apus_cc_check(&t->cc);
}

#define assert_near(a, b, tolerance)                                           \
 do {                                                                          \
  double a_ = (double)(a), b_ = (double)(b), tolerance_ = (double)(tolerance); \
  if (fabs(a_ - b_) > tolerance_)                                              \
   fail_msg("%s = %g, not within %g of %s = %g", #a, a_, tolerance_, #b, b_);  \
 } while (0)

#endif
