/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_bbr.c: the phases of BBR as the draft has them
 * (draft-cardwell-iccrg-bbr-congestion-control-00 §4.3), whole stacks on a bottleneck in virtual
 * time. test_bbr.c of tests/net/tcp has the model alone, on a path of its own making.
 */
#include "tests/net/sim/sim_test.h"

#include "net/tcp/bbr.h"
#include "net/tcp/info.h"
#include "net/tcp/tcb.h"
#include "runtime/sched/shard.h"

#define RATE_BPS UINT64_C(50000000)
#define RTT_NS   (40 * APUS_MS)
#define BDP      (RATE_BPS / 8 * 40 / 1000) /* bytes: 250,000 */
#define TEXT     (1448.0 / 1514.0)          /* of a frame */
#define STEP_NS  APUS_MS

static struct {
	struct sim_pair pair;
	struct apus_tcp *c; /* the sender's end */
	uint64_t received;
	bool is_over, is_idle;
} run;

static uint8_t chunk[65536];

static int64_t receive(void *arg)
{
	static uint8_t buf[65536];
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		run.received += (uint64_t)n;
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t send_on(void *arg)
{
	sim_check_equal(apus_sleep(10 * APUS_MS), 0);
	sim_check_equal(apus_tcp_connect(sim_server(), &run.c), 0);
	while (!run.is_over) {
		int64_t rc = run.is_idle ? apus_sleep(10 * APUS_MS)
					 : apus_tcp_write(run.c, chunk, sizeof(chunk));

		if (rc < 0)
			break;
	}
	apus_tcp_abort(run.c);
	run.c = NULL;
	return 0;
}

static int setup(void **state)
{
	struct apus_sim_link_options link = {
		.wire = {.delay_ns = RTT_NS / 2,
			 .rate_bps = RATE_BPS,
			 .queue_frames = 65535,
			 .queue_bytes = 4 * BDP},
	};
	struct apus_sim_host_options options = {.tcp.congestion = "bbr"};

	memset(&run, 0, sizeof(run));
	sim_pair_open_as(&run.pair, 1, &link, options, options);
	apus_sim_spawn(run.pair.server, "receive", receive, NULL);
	apus_sim_spawn(run.pair.client, "send", send_on, NULL);
	return 0;
}

static int teardown(void **state)
{
	run.is_over = true;
	if (apus_sim_advance(run.pair.world, APUS_SEC) < 0)
		return -1;
	return apus_sim_world_close(run.pair.world);
}

static const struct apus_bbr *bbr(void)
{
	return run.c && run.c->cc.is_attached ? run.c->cc.state : NULL;
}

static uint32_t flight(void)
{
	return run.c->snd.nxt - run.c->snd.una;
}

static void step(void)
{
	assert_int_equal(apus_sim_advance(run.pair.world, STEP_NS), 0);
	if (run.c)
		apus_tcp_check(run.c);
}

static int64_t now_ns(void)
{
	return apus_sim_now(run.pair.world);
}

/* Until it is in that phase, at most so long. Return: how long it took. */
static int64_t until(enum apus_bbr_phase phase, int64_t limit_ns)
{
	int64_t began_ns = now_ns();

	while (!bbr() || bbr()->phase != phase) {
		if (now_ns() - began_ns > limit_ns)
			fail_msg("phase %d did not come in %ld ms", (int)phase,
				 (long)(limit_ns / APUS_MS));
		step();
	}
	return now_ns() - began_ns;
}

static double share_of_link(uint64_t bytes, int64_t span_ns)
{
	return (double)bytes * 8e9 / (double)span_ns / ((double)RATE_BPS * TEXT);
}

static void assert_share(double share, double least, double most)
{
	if (share < least || share > most)
		fail_msg("%.3f of the link, not %.2f to %.2f", share, least, most);
}

static const char *phase_name(void)
{
	struct apus_tcp_info info;
	struct apus_shard *before = apus_shard_enter(apus_sim_host_shard(run.pair.client));

	apus_tcp_get_info(run.c, &info);
	apus_shard_enter(before);
	return info.phase;
}

/*
 * §4.3.2: the rate doubles in each round, and after three without a quarter more the pipe is full:
 * not later, not before, and not by a loss, of which there is none.
 */
static void startup_ends_on_the_plateau(void **state)
{
	uint64_t best = 0;
	uint32_t rounds = 0;

	until(APUS_BBR_STARTUP, APUS_SEC);
	assert_string_equal(phase_name(), "startup");
	while (bbr()->phase == APUS_BBR_STARTUP) {
		best = apus_max(best, (uint64_t)bbr()->rate);
		rounds = bbr()->round;
		assert_true(bbr()->full_rounds < 3);
		step();
	}
	assert_true(bbr()->filled_pipe);
	assert_int_equal(bbr()->full_rounds, 3);
	/* 2^4 initial windows and more are a BDP, and three rounds on the plateau. */
	assert_in_range(rounds, 7, 11);
	assert_share(share_of_link(bbr()->rate, APUS_SEC), 0.95, 1.05);
	assert_true(flight() > BDP * 3 / 2); /* what there is to drain */
	assert_int_equal(apus_sim_host_counter(run.pair.client, "tcp", "retransmits"), 0);
}

/* §4.3.3: slower than the path, until no more is in flight than it holds. */
static void drain_empties_the_queue_and_then_the_cycle_begins(void **state)
{
	uint32_t most;
	int64_t took_ns;

	until(APUS_BBR_DRAIN, 2 * APUS_SEC);
	most = flight();
	assert_true(apus_cc_pacing_rate(&run.c->cc) < bbr()->rate / 2);
	took_ns = until(APUS_BBR_PROBE_BW, APUS_SEC);
	assert_string_equal(phase_name(), "probe_bw");
	assert_true(flight() < most * 2 / 3);
	assert_in_range(flight(), BDP / 2, BDP * 5 / 4);
	assert_true(took_ns < 4 * RTT_NS);
}

/* §4.3.4: a quarter more for an RTprop, a quarter less until that is drained, six times the rate. */
static void cycle_probes_drains_and_cruises(void **state)
{
	uint32_t seen[APUS_BBR_CYCLE] = {0}, changes = 0;
	uint64_t before;
	int64_t began_ns;
	uint8_t last;

	until(APUS_BBR_PROBE_BW, 3 * APUS_SEC);
	assert_int_equal(apus_sim_advance(run.pair.world, APUS_SEC), 0);
	last = bbr()->cycle;
	before = run.received;
	began_ns = now_ns();
	while (now_ns() < began_ns + 5 * APUS_SEC) {
		double gain;

		step();
		if (bbr()->phase != APUS_BBR_PROBE_BW || bbr()->cycle == last)
			continue;
		assert_int_equal(bbr()->cycle, (last + 1) % APUS_BBR_CYCLE);
		last = bbr()->cycle;
		seen[last]++;
		changes++;
		gain = (double)apus_cc_pacing_rate(&run.c->cc) / (double)bbr()->rate;
		assert_true(gain > (last == 0 ? 1.2 : last == 1 ? 0.7 : 0.95));
		assert_true(gain < (last == 0 ? 1.3 : last == 1 ? 0.8 : 1.05));
	}
	assert_in_range(changes, 100, 5000 / 40 + 5); /* one takes an RTprop, or a little more */
	for (int i = 0; i < APUS_BBR_CYCLE; i++)
		assert_in_range(seen[i], changes / 8 - 1, changes / 8 + 1);
	assert_share(share_of_link(run.received - before, 5 * APUS_SEC), 0.95, 1.01);
}

/* §4.3.5: when no RTT as low was seen for ten seconds: four segments in flight for 200 ms. */
static void rtt_is_probed_every_ten_seconds(void **state)
{
	int64_t last_ns = 0, began_ns;
	uint64_t before;

	until(APUS_BBR_PROBE_BW, 3 * APUS_SEC);
	before = run.received;
	began_ns = now_ns();
	for (int i = 0; i < 3; i++) {
		int64_t least_ns, quiet_ns = 0;

		until(APUS_BBR_PROBE_RTT, 11 * APUS_SEC);
		assert_string_equal(phase_name(), "probe_rtt");
		if (last_ns) /* and what it took itself */
			assert_in_range(now_ns() - last_ns, 10 * APUS_SEC, 10700 * APUS_MS);
		last_ns = now_ns();
		while (bbr()->phase == APUS_BBR_PROBE_RTT) {
			quiet_ns += flight() <= 4 * run.c->cc.mss ? STEP_NS : 0;
			step();
		}
		assert_in_range(quiet_ns, 195 * APUS_MS, 300 * APUS_MS);
		assert_int_equal(bbr()->phase, APUS_BBR_PROBE_BW);
		least_ns = bbr()->rtprop_ns;
		assert_in_range(least_ns, RTT_NS, RTT_NS + APUS_MS);
	}
	assert_share(share_of_link(run.received - before, now_ns() - began_ns), 0.9, 1.0);
}

/* §4.3.4.4: after silence at the rate that it knew, not a burst and not from the beginning. */
static void after_silence_it_goes_on_at_the_rate_it_knew(void **state)
{
	uint64_t before, rate;
	int64_t srtt_ns;

	until(APUS_BBR_PROBE_BW, 3 * APUS_SEC);
	assert_int_equal(apus_sim_advance(run.pair.world, 2 * APUS_SEC), 0);
	rate = bbr()->rate;
	run.is_idle = true;
	assert_int_equal(apus_sim_advance(run.pair.world, 30 * APUS_SEC), 0);
	assert_int_equal(flight(), 0);
	run.is_idle = false;
	while (!bbr() || !flight())
		step();
	assert_int_equal(bbr()->phase, APUS_BBR_PROBE_BW);
	assert_share((double)apus_cc_pacing_rate(&run.c->cc) / (double)rate, 0.95, 1.05);
	before = run.received;
	for (int64_t end_ns = now_ns() + 10 * RTT_NS; now_ns() < end_ns;) {
		step();
		assert_true(bbr()->phase == APUS_BBR_PROBE_BW);
		assert_true(flight() <= 2 * BDP + 20 * run.c->cc.mss);
	}
	assert_share(share_of_link(run.received - before, 9 * RTT_NS), 0.9,
		     1.1); /* one to fill it */
	srtt_ns = apus_rtt_srtt_ns(&run.c->rtt);
	assert_in_range(srtt_ns, RTT_NS, RTT_NS * 3 / 2); /* no queue */
	assert_int_equal(apus_sim_host_counter(run.pair.client, "tcp", "retransmits"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(startup_ends_on_the_plateau),
		TEST(drain_empties_the_queue_and_then_the_cycle_begins),
		TEST(cycle_probes_drains_and_cruises),
		TEST(rtt_is_probed_every_ten_seconds),
		TEST(after_silence_it_goes_on_at_the_rate_it_knew),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim bbr", tests, NULL, NULL);
}
