/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_bbr.c: BBR's model and its phases on a modelled link, against what the draft
 * says of them.
 */
#include "tests/net/tcp/cc_link.h"

#include "net/tcp/bbr.h"
#include "net/tcp/reno.h"

#define MBIT (1000 * 1000 / 8)

static const struct apus_bbr *bbr(const struct link *l)
{
	return l->t.cc.state;
}

static double bdp(const struct link *l)
{
	return (double)l->rate * (double)l->delay_ns / 1e9;
}

static struct link *steady(uint64_t rate, int64_t delay_ns)
{
	struct link *l = link_new(&apus_bbr, rate, delay_ns);

	link_run(l, 3 * APUS_SEC);
	assert_int_equal(bbr(l)->phase, APUS_BBR_PROBE_BW);
	return l;
}

static void startup_doubles_each_round_and_ends_when_the_pipe_is_full(void **state)
{
	struct link *l = link_new(&apus_bbr, 100 * MBIT, 40 * APUS_MS);
	int64_t begin_ns = l->t.now_ns;

	assert_int_equal(l->t.cc.cwnd_bytes, 10 * MSS);
	while (bbr(l)->phase == APUS_BBR_STARTUP)
		link_step(l);
	assert_true(bbr(l)->filled_pipe);
	assert_near(bbr(l)->rate, l->rate, 0.02 * (double)l->rate);
	/* 50 initial windows fill the pipe: log2 of it, and then four more while the
	 * queue makes the RTT up to 2.9 times longer. */
	assert_true(l->t.now_ns - begin_ns < 17 * l->delay_ns);
	assert_int_equal(bbr(l)->phase, APUS_BBR_DRAIN);
	while (bbr(l)->phase == APUS_BBR_DRAIN)
		link_step(l);
	assert_int_equal(bbr(l)->phase, APUS_BBR_PROBE_BW);
	assert_true(l->flight_bytes <= bdp(l) * 1.1);
	assert_true(link_queue_bytes(l) < 0.1 * bdp(l));
	free(l);
}

static void model_is_the_link(void **state)
{
	static const struct {
		uint64_t rate;
		int64_t delay_ns;
	} cases[] = {
		{1 * MBIT, 100 * APUS_MS},
		{10 * MBIT, 10 * APUS_MS},
		{100 * MBIT, 40 * APUS_MS},
		{1000 * MBIT, 20 * APUS_MS},
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		struct link *l = steady(cases[i].rate, cases[i].delay_ns);
		int64_t wire_ns = (int64_t)(MSS * APUS_SEC / cases[i].rate);

		assert_near(bbr(l)->rate, l->rate, 0.03 * (double)l->rate);
		assert_near(bbr(l)->rtprop_ns, l->delay_ns + wire_ns, 0.02 * (double)l->delay_ns);
		free(l);
	}
}

static void link_is_full_and_its_queue_short(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);

	assert_true(link_use(l, 20 * APUS_SEC) > 0.95);
	assert_true(link_queue_mean(l) < 0.25 * bdp(l));
	assert_true(l->queue_most_bytes < 1.1 * bdp(l)); /* cwnd is two BDP */
	assert_true(l->t.cc.cwnd_bytes < 2.3 * bdp(l));
	free(l);
}

/* §4.3.4: eight phases of one RTprop each, with an average gain of one. */
static void cycle_has_eight_phases_of_one_rtt(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	uint32_t last = bbr(l)->cycle, up = 0, down = 0, changes = 0;
	int64_t begin_ns = l->t.now_ns;

	while (l->t.now_ns < begin_ns + 4 * APUS_SEC) {
		struct apus_cc_info info;

		link_step(l);
		if (bbr(l)->cycle == last)
			continue;
		assert_int_equal(bbr(l)->cycle, (last + 1) % APUS_BBR_CYCLE);
		last = bbr(l)->cycle;
		changes++;
		apus_bbr.info(&l->t.cc, &info);
		up += info.detail[2] == APUS_BBR_UNIT * 5 / 4;
		down += info.detail[2] == APUS_BBR_UNIT * 3 / 4;
	}
	assert_near(changes, 4e9 / 40e6, 12);
	assert_near(up, changes / 8.0, 1.5);
	assert_near(down, changes / 8.0, 1.5);
	free(l);
}

/* §4.3.5: after ten seconds without a lower RTT: four segments for 200 ms and a round. */
static void rtt_is_probed_every_ten_seconds_for_200_ms(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	int64_t seen_ns = bbr(l)->rtprop_at_ns, begin_ns, quiet_ns = 0;
	uint32_t cwnd;

	while (bbr(l)->phase != APUS_BBR_PROBE_RTT) {
		seen_ns = bbr(l)->rtprop_at_ns;
		cwnd = l->t.cc.cwnd_bytes;
		link_step(l);
	}
	begin_ns = l->t.now_ns;
	assert_near(begin_ns - seen_ns, 10 * APUS_SEC, 10 * APUS_MS);
	assert_int_equal(l->t.cc.cwnd_bytes, 4 * MSS);
	while (bbr(l)->phase == APUS_BBR_PROBE_RTT) {
		link_step(l);
		if (!quiet_ns && l->flight_bytes <= 4 * MSS)
			quiet_ns = l->t.now_ns;
	}
	assert_true(l->t.now_ns - quiet_ns >= 200 * APUS_MS);
	assert_true(l->t.now_ns - quiet_ns <= 300 * APUS_MS);
	assert_int_equal(bbr(l)->phase, APUS_BBR_PROBE_BW);
	assert_true(l->t.cc.cwnd_bytes >= cwnd);
	assert_near(bbr(l)->rate, l->rate,
		    0.02 * (double)l->rate); /* its low samples do not count */
	free(l);
}

static void one_percent_of_loss_costs_little_where_reno_starves(void **state)
{
	struct link *l = link_new(&apus_bbr, 100 * MBIT, 40 * APUS_MS);
	double use;

	l->loss = 0.01;
	link_run(l, 3 * APUS_SEC);
	use = link_use(l, 20 * APUS_SEC);
	assert_true(use > 0.9);
	assert_true(link_queue_mean(l) < 0.5 * bdp(l));
	free(l);

	l = link_new(&apus_reno, 100 * MBIT, 40 * APUS_MS);
	l->loss = 0.01;
	link_run(l, 3 * APUS_SEC);
	assert_true(link_use(l, 20 * APUS_SEC) < 0.1);
	free(l);
}

static void rate_that_halves_is_noticed_within_the_filters_rounds(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);

	l->rate /= 2;
	link_run(l, 2 * APUS_SEC); /* ten rounds of up to 120 ms */
	assert_near(bbr(l)->rate, l->rate, 0.03 * (double)l->rate);
	free(l);
}

static void rate_that_doubles_is_found_by_probing(void **state)
{
	struct link *l = steady(50 * MBIT, 40 * APUS_MS);

	l->rate *= 2;
	link_run(l, 2 * APUS_SEC); /* a quarter in each cycle of 320 ms: four of them */
	assert_near(bbr(l)->rate, l->rate, 0.03 * (double)l->rate);
	free(l);
}

static void application_that_sends_less_does_not_lower_the_model(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	uint64_t rate = bbr(l)->rate;

	l->app_rate = 10 * MBIT;
	l->app_bytes = (uint64_t)((double)l->t.now_ns * 1e-9 * (double)l->app_rate);
	link_run(l, 5 * APUS_SEC);
	assert_true(bbr(l)->rate >= rate * 95 / 100);
	free(l);
}

/* ---- loss, idleness: single events ---- */

static void recovery_conserves_packets_for_a_round_and_ends_where_it_began(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	uint32_t cwnd = l->t.cc.cwnd_bytes;
	struct apus_cc_sample s = link_sample(l);

	s.lost_bytes = 3 * MSS;
	s.flight_bytes -= 4 * MSS;
	s.acked_bytes = MSS;
	apus_cc_congested(&l->t.cc, &s, APUS_CC_LOSS);
	assert_int_equal(l->t.cc.cwnd_bytes, s.flight_bytes + MSS);
	s.in_recovery = true;
	s.prior_delivered_bytes = s.delivered_bytes - 100 * MSS; /* of the round before */
	s.lost_bytes = 0;
	for (int i = 0; i < 5; i++) {
		s.flight_bytes -= MSS;
		apus_cc_acked(&l->t.cc, &s);
		assert_true(l->t.cc.cwnd_bytes <= apus_max(cwnd, s.flight_bytes + 7 * MSS));
		assert_true(bbr(l)->is_conserving);
	}
	s.prior_delivered_bytes = s.delivered_bytes;
	apus_cc_acked(&l->t.cc, &s);
	assert_false(bbr(l)->is_conserving);
	apus_cc_recovered(&l->t.cc, &s);
	assert_true(l->t.cc.cwnd_bytes >= cwnd);
	free(l);
}

static void timeout_leaves_one_segment_and_recovery_restores(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	uint32_t cwnd = l->t.cc.cwnd_bytes;
	struct apus_cc_sample s = link_sample(l);

	apus_cc_congested(&l->t.cc, &s, APUS_CC_TIMEOUT);
	assert_int_equal(l->t.cc.cwnd_bytes, MSS);
	apus_cc_recovered(&l->t.cc, &s);
	assert_int_equal(l->t.cc.cwnd_bytes, cwnd);
	free(l);
}

/* §4.3.4.4 */
static void idle_connection_goes_on_at_the_rate_it_knew(void **state)
{
	struct link *l = steady(100 * MBIT, 40 * APUS_MS);
	uint64_t rate = bbr(l)->rate;
	uint32_t cwnd = l->t.cc.cwnd_bytes;
	int64_t rtprop_ns = bbr(l)->rtprop_ns;

	apus_cc_detach(&l->t.cc);
	memset(l->t.state, 0xa5, sizeof(l->t.state));
	l->t.now_ns += 60 * APUS_SEC;
	apus_cc_attach(&l->t.cc, l->t.state);
	apus_cc_idle_restart(&l->t.cc, l->t.now_ns);
	assert_int_equal(l->t.cc.cwnd_bytes, cwnd);
	assert_near(bbr(l)->rate, rate, 256);
	assert_near(bbr(l)->rtprop_ns, rtprop_ns, 1000);
	assert_near(apus_cc_pacing_rate(&l->t.cc), rate, 256);
	assert_int_equal(bbr(l)->phase, APUS_BBR_PROBE_BW);

	l->head = l->tail; /* nothing is in flight */
	l->flight_bytes = 0;
	l->delivered_bytes = 0; /* the owner's count may begin anew */
	for (int i = 0; i < 1000; i++) {
		link_step(l);
		assert_int_not_equal(bbr(l)->phase, APUS_BBR_PROBE_RTT); /* silence was one */
	}
	assert_true(link_use(l, 5 * APUS_SEC) > 0.9);
	free(l);
}

static void invariants_hold_for_any_samples(void **state)
{
	test_each_seed(seed, 300)
	{
		uint64_t random = seed;
		struct test_cc t;

		test_cc_init(&t, &apus_bbr);
		for (int i = 0; i < 1000; i++) {
			struct apus_cc_sample s = test_cc_sample(&t);
			uint32_t n = (uint32_t)test_random_below(&random, 100);

			t.now_ns += (int64_t)test_random_below(&random, APUS_SEC);
			t.una += (uint32_t)test_random_below(&random, 100000);
			s.rtt_ns = (int64_t)test_random(&random) >> test_random_below(&random, 64);
			s.rate_bytes = (uint32_t)test_random(&random);
			s.rate_interval_ns = (int64_t)test_random_below(&random, 1ULL << n % 40);
			s.acked_bytes = (uint32_t)test_random(&random) >> n % 32;
			s.lost_bytes = (uint32_t)test_random(&random) >> n % 32;
			s.flight_bytes = (uint32_t)test_random(&random) >> 2;
			s.delivered_bytes = test_random(&random) >> 8;
			s.prior_delivered_bytes = s.delivered_bytes - s.rate_bytes;
			s.is_app_limited = n % 3 == 0;
			if (n < 90)
				apus_cc_acked(&t.cc, &s);
			else if (n < 94)
				apus_cc_congested(&t.cc, &s, (enum apus_cc_signal)(n % 3));
			else if (n < 98)
				apus_cc_recovered(&t.cc, &s);
			else
				apus_cc_undo(&t.cc, s.acked_bytes, s.lost_bytes);
			apus_cc_check(&t.cc);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(startup_doubles_each_round_and_ends_when_the_pipe_is_full),
		cmocka_unit_test(model_is_the_link),
		cmocka_unit_test(link_is_full_and_its_queue_short),
		cmocka_unit_test(cycle_has_eight_phases_of_one_rtt),
		cmocka_unit_test(rtt_is_probed_every_ten_seconds_for_200_ms),
		cmocka_unit_test(one_percent_of_loss_costs_little_where_reno_starves),
		cmocka_unit_test(rate_that_halves_is_noticed_within_the_filters_rounds),
		cmocka_unit_test(rate_that_doubles_is_found_by_probing),
		cmocka_unit_test(application_that_sends_less_does_not_lower_the_model),
		cmocka_unit_test(recovery_conserves_packets_for_a_round_and_ends_where_it_began),
		cmocka_unit_test(timeout_leaves_one_segment_and_recovery_restores),
		cmocka_unit_test(idle_connection_goes_on_at_the_rate_it_knew),
		cmocka_unit_test(invariants_hold_for_any_samples),
	};

	return test_main(argc, argv, tests);
}
