/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_dctcp.c: DCTCP's alpha against RFC 8257 §3.3 in doubles, its reduction, and the
 * queue that it keeps on a link that marks.
 */
#include "tests/net/tcp/cc_link.h"

#include "net/tcp/dctcp.h"

static const struct apus_dctcp *dctcp(const struct test_cc *t)
{
	return t->cc.state;
}

static double alpha_of(const struct test_cc *t)
{
	return (double)dctcp(t)->alpha / APUS_DCTCP_ONE;
}

/* A window of data of which a part was marked, ten ACKs. */
static void window_of(struct test_cc *t, double marked)
{
	uint32_t window = 10 * MSS;

	for (int i = 1; i <= 10; i++) {
		struct apus_cc_sample s = {
			.now_ns = t->now_ns,
			.una = t->una + MSS,
			.nxt = t->una + MSS + window - (i < 10 ? (uint32_t)i * MSS : 0),
			.acked_bytes = MSS,
			.ce_bytes = i <= marked * 10 ? MSS : 0,
			.in_recovery = true, /* so that the window stays */
		};

		t->una += MSS;
		apus_cc_acked(&t->cc, &s);
	}
}

static void alpha_begins_at_one(void **state)
{
	struct test_cc t;

	test_cc_init(&t, &apus_dctcp);
	assert_near(alpha_of(&t), 1, 0);
}

/* §3.3, with g = 1/16 */
static void alpha_is_the_moving_average(void **state)
{
	struct test_cc t;
	uint64_t random = 1;
	double alpha = 1;

	test_cc_init(&t, &apus_dctcp);
	for (int i = 0; i < 200; i++) {
		double m = (double)test_random_below(&random, 11) / 10;

		window_of(&t, m);
		alpha = alpha * 15 / 16 + m / 16;
		assert_near(alpha_of(&t), alpha, 0.0001);
	}
}

static void alpha_reaches_both_ends(void **state)
{
	struct test_cc t;

	test_cc_init(&t, &apus_dctcp);
	for (int i = 0; i < 300; i++)
		window_of(&t, 0);
	assert_int_equal(dctcp(&t)->alpha, 0);
	for (int i = 0; i < 300; i++)
		window_of(&t, 1);
	assert_near(alpha_of(&t), 1, 16.0 / APUS_DCTCP_ONE);
}

static void mark_reduces_by_half_of_alpha(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_dctcp, 100 * MSS);
	test_cc_lose(&t, APUS_CC_ECN);
	assert_int_equal(t.cc.cwnd_bytes, 50 * MSS); /* alpha is 1 */
	for (int i = 0; i < 22; i++)
		window_of(&t, 0);
	t.cc.cwnd_bytes = 100 * MSS;
	test_cc_lose(&t, APUS_CC_ECN);
	assert_near(t.cc.cwnd_bytes, 100 * MSS * (1 - pow(15.0 / 16, 22) / 2), 10);
}

/* §3.5 */
static void loss_halves_whatever_alpha_is(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_dctcp, 100 * MSS);
	for (int i = 0; i < 300; i++)
		window_of(&t, 0);
	test_cc_lose(&t, APUS_CC_LOSS);
	assert_int_equal(t.cc.cwnd_bytes, 50 * MSS);
	test_cc_lose(&t, APUS_CC_TIMEOUT);
	assert_int_equal(t.cc.cwnd_bytes, MSS);
}

static void growth_is_renos(void **state)
{
	struct test_cc t;

	test_cc_init(&t, &apus_dctcp);
	test_cc_round(&t, 100 * APUS_US);
	assert_int_equal(t.cc.cwnd_bytes, 20 * MSS);
	test_cc_avoiding(&t, &apus_dctcp, 10 * MSS);
	test_cc_round(&t, 100 * APUS_US);
	assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
}

static void alpha_survives_idleness(void **state)
{
	struct test_cc t;
	uint32_t alpha;

	test_cc_init(&t, &apus_dctcp);
	for (int i = 0; i < 10; i++)
		window_of(&t, 0.3);
	alpha = dctcp(&t)->alpha;
	apus_cc_detach(&t.cc);
	memset(t.state, 0x5a, sizeof(t.state));
	apus_cc_attach(&t.cc, t.state);
	assert_int_equal(dctcp(&t)->alpha, alpha);
}

static void more_marks_than_bytes_are_as_many(void **state)
{
	struct test_cc t;
	struct apus_cc_sample s;

	test_cc_avoiding(&t, &apus_dctcp, 10 * MSS);
	for (int i = 0; i < 100; i++) {
		s = test_cc_sample(&t);
		t.una = s.una = s.nxt;
		s.acked_bytes = MSS;
		s.ce_bytes = UINT32_MAX;
		apus_cc_acked(&t.cc, &s);
		assert_true(dctcp(&t)->alpha <= APUS_DCTCP_ONE);
	}
}

/*
 * 10 Gb/s, 200 us, marks beyond K = 100 segments: K is above a seventh of the BDP, so that the link
 * stays full, and the queue swings around K by what one window's reduction takes.
 */
static void marked_queue_stays_near_k(void **state)
{
	struct link *l = link_new(&apus_dctcp, 10000ULL * 1000 * 1000 / 8, 200 * APUS_US);

	l->mark_bytes = 100 * MSS;
	link_run(l, 200 * APUS_MS);
	assert_true(link_use(l, 500 * APUS_MS) > 0.99);
	assert_true(link_queue_mean(l) > 70 * MSS);
	assert_true(link_queue_mean(l) < 110 * MSS);
	assert_true(l->queue_most_bytes < 130 * MSS);
	assert_int_equal(l->lost_packets, 0);
	free(l);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alpha_begins_at_one),
		cmocka_unit_test(alpha_is_the_moving_average),
		cmocka_unit_test(alpha_reaches_both_ends),
		cmocka_unit_test(mark_reduces_by_half_of_alpha),
		cmocka_unit_test(loss_halves_whatever_alpha_is),
		cmocka_unit_test(growth_is_renos),
		cmocka_unit_test(alpha_survives_idleness),
		cmocka_unit_test(more_marks_than_bytes_are_as_many),
		cmocka_unit_test(marked_queue_stays_near_k),
	};

	return test_main(argc, argv, tests);
}
