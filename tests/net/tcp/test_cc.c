/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_cc.c: what all algorithms share, with NewReno for one, and how much each gets
 * through a modelled link, against the formulas of their papers.
 */
#include "tests/net/tcp/cc_link.h"

#include "net/tcp/bbr.h"
#include "net/tcp/cubic.h"
#include "net/tcp/dctcp.h"
#include "net/tcp/reno.h"

#define MBIT (1000 * 1000 / 8)

static const struct apus_cc_type *const types[] = {&apus_reno, &apus_cubic, &apus_dctcp, &apus_bbr};

/* ---- growth ---- */

static void new_connection_may_send_ten_segments(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		test_cc_init(&t, types[i]);
		assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
		assert_int_equal(t.cc.ssthresh_bytes, APUS_CC_SSTHRESH_NONE);
	}
}

static void slow_start_doubles_in_a_round(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		test_cc_init(&t, types[i]);
		test_cc_round(&t, 100 * APUS_MS);
		assert_int_equal(t.cc.cwnd_bytes, 20 * MSS);
	}
}

/* ACK division (RFC 3465): a thousand ACKs for a byte each gain what one for all does. */
static void divided_acks_gain_nothing(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		test_cc_init(&t, types[i]);
		for (uint32_t j = 0; j < MSS; j++)
			test_cc_acked(&t, 1, 100 * APUS_MS);
		assert_int_equal(t.cc.cwnd_bytes, 11 * MSS);
	}
}

static void renos_avoidance_adds_a_segment_per_round(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_reno, 10 * MSS);
	for (uint32_t i = 1; i <= 50; i++) {
		test_cc_round(&t, 100 * APUS_MS);
		assert_int_equal(t.cc.cwnd_bytes, (10 + i) * MSS);
	}
}

static void window_that_is_not_used_does_not_grow(void **state)
{
	static const struct apus_cc_type *const windows[] = {&apus_reno, &apus_cubic, &apus_dctcp};
	struct test_cc t;
	struct apus_cc_sample s;

	for (size_t i = 0; i < apus_countof(windows); i++) {
		test_cc_init(&t, windows[i]);
		apus_cc_sent(&t.cc, UNA, UNA + 5 * MSS, false); /* half of it */
		s = test_cc_sample(&t);
		s.acked_bytes = 5 * MSS;
		apus_cc_acked(&t.cc, &s);
		assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);

		test_cc_avoiding(&t, windows[i], 10 * MSS);
		apus_cc_sent(&t.cc, UNA + 10 * MSS, UNA + 19 * MSS, false); /* nearly all */
		apus_cc_acked(&t.cc, &s);
		assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
	}
}

/* Some bytes leave, mostly few, and are acknowledged some time later. */
static struct apus_cc_sample random_turn(struct test_cc *t, uint64_t *chance)
{
	uint32_t most = test_random_below(chance, 4) ? 2 * MSS : t->cc.cwnd_bytes;
	uint32_t bytes = 1 + (uint32_t)test_random_below(chance, most);
	bool is_all = bytes >= t->cc.cwnd_bytes || !test_random_below(chance, 20);
	struct apus_cc_sample s;

	apus_cc_sent(&t->cc, t->una, t->una + bytes, is_all);
	t->now_ns += (int64_t)test_random_below(chance, 300 * APUS_MS);
	t->una += bytes;
	s = test_cc_sample(t);
	s.nxt = t->una;
	s.acked_bytes = s.prior_flight_bytes = bytes;
	s.flight_bytes = 0;
	s.rtt_ns = s.srtt_ns = s.min_rtt_ns = 100 * APUS_MS;
	return s;
}

static void something_else(struct test_cc *t, uint64_t *chance)
{
	uint32_t cwnd = t->cc.cwnd_bytes, ssthresh = t->cc.ssthresh_bytes;

	switch (test_random_below(chance, 200)) {
	case 0:
	case 1:
		test_cc_lose(t, APUS_CC_LOSS);
		break;
	case 2:
		test_cc_lose(t, APUS_CC_TIMEOUT);
		break;
	case 3:
		test_cc_lose(t, APUS_CC_LOSS);
		apus_cc_undo(&t->cc, cwnd, ssthresh);
		break;
	case 4:
		apus_cc_idle_restart(&t->cc, t->now_ns);
		break;
	case 5:
		apus_cc_detach(&t->cc);
		apus_cc_attach(&t->cc, t->state);
		break;
	}
}

/* apus_cc_rests(): whoever does not tell it of an ACK then changes nothing. */
static void type_at_rest_learns_nothing_from_an_ack(void **state)
{
	static const struct apus_cc_type *const resting[] = {&apus_reno, &apus_cubic};
	uint64_t chance = 1;

	for (size_t i = 0; i < apus_countof(resting); i++) {
		uint32_t rests = 0, rests_after_loss = 0, others = 0;
		struct test_cc t, before;

		for (int turn = 0; turn < 200000; turn++) {
			struct apus_cc_sample s;
			bool is_resting;

			if (turn % 2000 == 0)
				test_cc_init(&t, resting[i]);
			s = random_turn(&t, &chance);
			before = t;
			is_resting = apus_cc_rests(&t.cc);
			apus_cc_acked(&t.cc, &s);
			if (is_resting) {
				assert_memory_equal(&t, &before, sizeof(t));
				rests++;
				rests_after_loss += t.cc.ssthresh_bytes != APUS_CC_SSTHRESH_NONE;
			} else {
				others++;
			}
			something_else(&t, &chance);
		}
		assert_true(rests > 10000 && rests_after_loss > 1000 && others > 10000);
	}
}

static void after_a_timeout_an_ack_adds_one_segment_at_most(void **state)
{
	static const struct apus_cc_type *const windows[] = {&apus_reno, &apus_cubic, &apus_dctcp};
	struct test_cc t;
	struct apus_cc_sample s;

	for (size_t i = 0; i < apus_countof(windows); i++) {
		test_cc_avoiding(&t, windows[i], 40 * MSS);
		test_cc_lose(&t, APUS_CC_TIMEOUT);
		assert_int_equal(t.cc.cwnd_bytes, MSS);
		s = test_cc_sample(&t);
		s.acked_bytes = 30 * MSS;
		s.is_after_timeout = true;
		apus_cc_sent(&t.cc, UNA, UNA + MSS, true);
		apus_cc_acked(&t.cc, &s);
		assert_int_equal(t.cc.cwnd_bytes, 2 * MSS);
	}
}

static void window_has_a_ceiling(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		test_cc_init(&t, types[i]);
		for (int j = 0; j < 100; j++)
			test_cc_acked(&t, t.cc.cwnd_bytes, 100 * APUS_MS);
		assert_true(t.cc.cwnd_bytes <= APUS_CC_CWND_MAX);
	}
}

/* ---- reduction ---- */

static void reno_halves_what_was_in_flight(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_reno, 20 * MSS);
	test_cc_lose(&t, APUS_CC_LOSS);
	assert_int_equal(t.cc.ssthresh_bytes, 10 * MSS);

	/* RFC 5681 §3.1 (4): FlightSize, not cwnd. */
	test_cc_avoiding(&t, &apus_reno, 20 * MSS);
	apus_cc_sent(&t.cc, UNA + 20 * MSS, UNA + 28 * MSS, false);

	struct apus_cc_sample s = {.una = UNA + 20 * MSS, .nxt = UNA + 28 * MSS};

	apus_cc_congested(&t.cc, &s, APUS_CC_LOSS);
	assert_int_equal(t.cc.ssthresh_bytes, 4 * MSS);
}

static void ssthresh_is_at_least_two_segments(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		for (int why = APUS_CC_LOSS; why <= APUS_CC_TIMEOUT; why++) {
			test_cc_avoiding(&t, types[i], 2 * MSS);
			test_cc_lose(&t, (enum apus_cc_signal)why);
			assert_true(t.cc.ssthresh_bytes >= 2 * MSS);
		}
	}
}

static void undo_brings_back_both_windows(void **state)
{
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(types); i++) {
		test_cc_avoiding(&t, types[i], 50 * MSS);
		test_cc_lose(&t, APUS_CC_TIMEOUT);
		apus_cc_undo(&t.cc, 50 * MSS, 30 * MSS);
		assert_int_equal(t.cc.cwnd_bytes, 50 * MSS);
		assert_int_equal(t.cc.ssthresh_bytes, apus_max(t.cc.ssthresh_bytes, 30 * MSS));
	}
}

static void idle_window_falls_back_to_the_initial_one(void **state)
{
	static const struct apus_cc_type *const windows[] = {&apus_reno, &apus_cubic, &apus_dctcp};
	struct test_cc t;

	for (size_t i = 0; i < apus_countof(windows); i++) {
		test_cc_avoiding(&t, windows[i], 50 * MSS);
		apus_cc_idle_restart(&t.cc, t.now_ns);
		assert_int_equal(t.cc.cwnd_bytes, 10 * MSS);
		test_cc_avoiding(&t, windows[i], 3 * MSS);
		apus_cc_idle_restart(&t.cc, t.now_ns);
		assert_int_equal(t.cc.cwnd_bytes, 3 * MSS); /* never up */
	}
}

/* ---- types ---- */

static void types_are_found_by_name(void **state)
{
	assert_ptr_equal(apus_cc_find("reno"), &apus_reno);
	assert_ptr_equal(apus_cc_find("cubic"), &apus_cubic);
	assert_ptr_equal(apus_cc_find("dctcp"), &apus_dctcp);
	assert_ptr_equal(apus_cc_find("bbr"), &apus_bbr);
	assert_null(apus_cc_find("Cubic"));
	assert_null(apus_cc_find(""));
	for (size_t i = 0; i < apus_countof(types); i++)
		assert_true(strlen(types[i]->name) < APUS_CC_NAME_BYTES);
}

static void type_can_change_under_way(void **state)
{
	struct test_cc t;

	test_cc_avoiding(&t, &apus_cubic, 50 * MSS);
	for (size_t i = 0; i < apus_countof(types); i++) {
		uint32_t cwnd = t.cc.cwnd_bytes;

		apus_cc_set_type(&t.cc, types[i], t.state);
		assert_int_equal(t.cc.cwnd_bytes, cwnd);
		assert_true(t.cc.is_attached == (types[i]->state_bytes > 0));
		test_cc_round(&t, 10 * APUS_MS);
	}
}

/* ---- goodput on a modelled link ---- */

/* Mathis et al. 1997: MSS / RTT * sqrt(3/2 / p), every segment acknowledged. */
static double mathis(double p, double rtt)
{
	return MSS / rtt * sqrt(1.5 / p);
}

/* RFC 9438 §5, figure 6, in segments. */
static double cubic_window(double p, double rtt)
{
	const double beta = 717.0 / 1024, c = 0.4;

	return pow(c * (3 + beta) / (4 * (1 - beta)), 0.25) * pow(rtt, 0.75) / pow(p, 0.75);
}

/* The response function of a link that loses every n-th packet, as the formulas assume. */
static double goodput(const struct apus_cc_type *type, double p, int64_t rtt_ns, int64_t span_ns)
{
	struct link *l = link_new(type, 10000ULL * MBIT, rtt_ns);
	double use;

	l->loss_every = (uint64_t)(1 / p);
	link_run(l, span_ns / 4);
	use = link_use(l, span_ns) * (double)l->rate;
	free(l);
	return use;
}

static void reno_gets_what_mathis_says(void **state)
{
	static const struct {
		double p;
		int64_t rtt_ns;
	} cases[] = {{0.001, 10 * APUS_MS}, {0.001, 100 * APUS_MS}, {0.0002, 50 * APUS_MS}};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		double model = mathis(cases[i].p, (double)cases[i].rtt_ns / 1e9);

		assert_near(goodput(&apus_reno, cases[i].p, cases[i].rtt_ns, 100 * APUS_SEC), model,
			    0.15 * model);
	}
}

static void cubic_gets_what_its_response_function_says(void **state)
{
	static const struct {
		double p;
		int64_t rtt_ns;
	} cases[] = {{0.001, 100 * APUS_MS}, {0.0001, 100 * APUS_MS}, {0.00001, 40 * APUS_MS}};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		double rtt = (double)cases[i].rtt_ns / 1e9;
		/* In the Reno-friendly region as much as Reno. */
		double model =
			fmax(cubic_window(cases[i].p, rtt) * MSS / rtt, mathis(cases[i].p, rtt));

		assert_near(goodput(&apus_cubic, cases[i].p, cases[i].rtt_ns, 200 * APUS_SEC),
			    model, 0.15 * model);
	}
}

static void everyone_fills_a_link_that_loses_nothing(void **state)
{
	static const struct apus_cc_type *const all[] = {&apus_reno, &apus_cubic, &apus_bbr};

	for (size_t i = 0; i < apus_countof(all); i++) {
		struct link *l = link_new(all[i], 100 * MBIT, 40 * APUS_MS);

		l->queue_max_bytes = 500 * MSS; /* a BDP */
		link_run(l, 10 * APUS_SEC);
		assert_true(link_use(l, 20 * APUS_SEC) > 0.95);
		assert_int_equal(l->timeouts, 0);
		free(l);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_connection_may_send_ten_segments),
		cmocka_unit_test(slow_start_doubles_in_a_round),
		cmocka_unit_test(divided_acks_gain_nothing),
		cmocka_unit_test(renos_avoidance_adds_a_segment_per_round),
		cmocka_unit_test(window_that_is_not_used_does_not_grow),
		cmocka_unit_test(type_at_rest_learns_nothing_from_an_ack),
		cmocka_unit_test(after_a_timeout_an_ack_adds_one_segment_at_most),
		cmocka_unit_test(window_has_a_ceiling),
		cmocka_unit_test(reno_halves_what_was_in_flight),
		cmocka_unit_test(ssthresh_is_at_least_two_segments),
		cmocka_unit_test(undo_brings_back_both_windows),
		cmocka_unit_test(idle_window_falls_back_to_the_initial_one),
		cmocka_unit_test(types_are_found_by_name),
		cmocka_unit_test(type_can_change_under_way),
		cmocka_unit_test(reno_gets_what_mathis_says),
		cmocka_unit_test(cubic_gets_what_its_response_function_says),
		cmocka_unit_test(everyone_fills_a_link_that_loses_nothing),
	};

	return test_main(argc, argv, tests);
}
