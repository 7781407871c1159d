/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_goodput.c: how much gets through a bottleneck, whole stacks in virtual time,
 * against the formulas: Reno by Mathis et al. (1997), CUBIC by RFC 9438 §5, the link's rate where
 * nothing is lost; how fairly two flows share it (Jain's index); and what BBR and DCTCP promise.
 */
#include "tests/net/sim/sim_test.h"

#include "net/tcp/info.h"
#include "runtime/sched/shard.h"

#include <math.h>

#define MBIT      UINT64_C(1000000)
#define MSS       1448.0 /* 1500 less IPv4, TCP and timestamps */
#define FRAME     1514.0
#define FLOWS_MAX 2
#define CHUNK     65536

/* One flow, from the client to the server. */
struct flow {
	uint16_t port;
	int64_t received;
	struct apus_tcp *c; /* the sender's end */
};

/* A bottleneck and what was measured on it. One at a time. */
static struct {
	struct sim_pair pair;
	struct flow flows[FLOWS_MAX];
	uint32_t flow_count;
	bool is_over;
} run;

static uint8_t chunk[CHUNK];

static int64_t receive(void *arg)
{
	struct flow *f = arg;
	static uint8_t buf[CHUNK];
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(apus_tcp_listen(sim_any(f->port), 0, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		f->received += n;
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t send_on(void *arg)
{
	struct flow *f = arg;

	sim_check_equal(apus_sleep(10 * APUS_MS), 0);
	sim_check_equal(apus_tcp_connect(sim_endpoint(SERVER_IP, f->port), &f->c), 0);
	while (!run.is_over)
		if (apus_tcp_write(f->c, chunk, sizeof(chunk)) < 0)
			break;
	apus_tcp_abort(f->c);
	f->c = NULL;
	return 0;
}

struct path {
	const char *congestion;
	uint64_t rate_bps;
	int64_t rtt_ns;
	uint32_t queue_bytes; /* 0: a BDP */
	uint32_t mark_bytes;
	uint32_t loss_ppm;   /* by chance */
	uint32_t lose_every; /* by the clock, as the formulas have it */
	uint64_t seed;
};

static double bdp(const struct path *p)
{
	return (double)p->rate_bps / 8 * (double)p->rtt_ns / 1e9;
}

static void open_path(const struct path *p, uint32_t flows)
{
	struct apus_sim_link_options link = {
		.wire.delay_ns = p->rtt_ns / 2,
		.wire.rate_bps = p->rate_bps,
		.wire.queue_frames = 65535,
		.wire.queue_bytes = p->queue_bytes ? p->queue_bytes : (uint32_t)bdp(p),
		.wire.mark_bytes = p->mark_bytes,
		.wire.lose_every = p->lose_every,
		.impair.loss_ppm = p->loss_ppm,
		.impair.queue_frames = 65535,
	};
	struct apus_sim_host_options server = {.ip = SERVER_IP "/24"};
	struct apus_sim_host_options client = {.ip = CLIENT_IP "/24"};
	struct apus_sim_world_options world = {0};

	apus_test_eal();
	world.pool = sim_pool();
	memset(&run, 0, sizeof(run));
	server.tcp.congestion = client.tcp.congestion = p->congestion;
	server.tcp.ecn = client.tcp.ecn = p->mark_bytes ? APUS_TCP_ECN_ASK : APUS_TCP_ECN_ACCEPT;
	apus_must(!apus_sim_world_open(p->seed ? p->seed : 1, &world, &run.pair.world));
	apus_must(!apus_sim_host_open(run.pair.world, "server", &server, &run.pair.server));
	apus_must(!apus_sim_host_open(run.pair.world, "client", &client, &run.pair.client));
	apus_must(!apus_sim_link(run.pair.world, run.pair.server, run.pair.client, &link));
	run.flow_count = flows;
	for (uint32_t i = 0; i < flows; i++) {
		run.flows[i].port = (uint16_t)(SERVER_PORT + i);
		apus_sim_spawn(run.pair.server, "receive", receive, &run.flows[i]);
		apus_sim_spawn(run.pair.client, "send", send_on, &run.flows[i]);
	}
}

static void advance(int64_t span_ns)
{
	assert_int_equal(apus_sim_advance(run.pair.world, span_ns), 0);
}

static void close_path(void)
{
	run.is_over = true;
	advance(APUS_SEC);
	assert_int_equal(apus_sim_world_close(run.pair.world), 0);
}

/* Text per second of flow @i within the next @span_ns. */
static double measure(uint32_t i, int64_t span_ns)
{
	int64_t before = run.flows[i].received;

	advance(span_ns);
	return (double)(run.flows[i].received - before) * 1e9 / (double)span_ns;
}

static double goodput(const struct path *p, int64_t warm_ns, int64_t span_ns)
{
	double rate;

	open_path(p, 1);
	advance(warm_ns);
	rate = measure(0, span_ns);
	close_path();
	return rate;
}

/* What of the link's rate can be text. */
static double text_rate(const struct path *p)
{
	return (double)p->rate_bps / 8 * MSS / FRAME;
}

#define assert_within(what, model, part)                                   \
 do {                                                                      \
  double what_ = (what), model_ = (model);                                 \
  if (fabs(what_ - model_) > (part)*model_)                                \
   fail_msg("%s is %g, the model says %g: %+.1f %%", #what, what_, model_, \
	    100 * (what_ - model_) / model_);                              \
 } while (0)

/* ---- a link that loses nothing ---- */

static void flow_alone_gets_the_links_rate(void **state)
{
	static const char *const types[] = {"reno", "cubic", "bbr"};
	static const struct {
		uint64_t rate_bps;
		int64_t rtt_ns, warm_ns, span_ns;
	} links[] = {
		{10 * MBIT, 10 * APUS_MS, 5 * APUS_SEC, 20 * APUS_SEC},
		{10 * MBIT, 100 * APUS_MS, 10 * APUS_SEC, 20 * APUS_SEC},
		{100 * MBIT, 10 * APUS_MS, 5 * APUS_SEC, 10 * APUS_SEC},
		{100 * MBIT, 40 * APUS_MS, 10 * APUS_SEC, 5 * APUS_SEC},
		{1000 * MBIT, APUS_MS, 2 * APUS_SEC, 2 * APUS_SEC},
		{1000 * MBIT, 10 * APUS_MS, 5 * APUS_SEC, 3 * APUS_SEC},
	};

	for (size_t i = 0; i < apus_countof(types); i++) {
		for (size_t j = 0; j < apus_countof(links); j++) {
			struct path p = {
				.congestion = types[i],
				.rate_bps = links[j].rate_bps,
				.rtt_ns = links[j].rtt_ns,
			};

			double rate = goodput(&p, links[j].warm_ns, links[j].span_ns);

			if (rate < 0.9 * text_rate(&p))
				fprintf(stderr, "%s at %g Mb/s\n", types[i],
					(double)p.rate_bps / 1e6);
			assert_within(rate, text_rate(&p), 0.1); /* BBR at 1 ms: 0.075 */
		}
	}
}

/* ---- random loss ---- */

/* Over as many seeds as make the mean worth comparing. */
static double mean_goodput(struct path p, int64_t span_ns, uint32_t seeds)
{
	double sum = 0;

	for (uint32_t i = 1; i <= seeds; i++) {
		p.seed = i;
		sum += goodput(&p, span_ns / 10, span_ns);
	}
	return sum / seeds;
}

static double mathis(double loss, double rtt)
{
	return MSS / rtt * sqrt(1.5 / loss);
}

/* RFC 9438 §5, figure 6, and its Reno-friendly region. */
static double cubic_model(double loss, double rtt)
{
	const double beta = 717.0 / 1024, c = 0.4;
	double window =
		pow(c * (3 + beta) / (4 * (1 - beta)), 0.25) * pow(rtt, 0.75) / pow(loss, 0.75);

	return fmax(window * MSS / rtt, mathis(loss, rtt));
}

static void renos_goodput_is_what_mathis_says(void **state)
{
	static const struct {
		uint32_t loss_ppm;
		int64_t rtt_ns, span_ns;
	} cases[] = {
		{1000, 10 * APUS_MS, 60 * APUS_SEC},
		{1000, 100 * APUS_MS, 300 * APUS_SEC},
		{300, 40 * APUS_MS, 200 * APUS_SEC},
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		struct path p = {
			.congestion = "reno",
			.rate_bps = 1000 * MBIT,
			.rtt_ns = cases[i].rtt_ns,
			.loss_ppm = cases[i].loss_ppm,
		};

		assert_within(mean_goodput(p, cases[i].span_ns, 2),
			      mathis(p.loss_ppm / 1e6, (double)p.rtt_ns / 1e9), 0.15);
	}
}

static void cubics_goodput_is_what_its_response_function_says(void **state)
{
	static const struct {
		uint32_t lose_every;
		int64_t rtt_ns, span_ns;
	} cases[] = {
		{1000, 10 * APUS_MS, 60 * APUS_SEC},   {1000, 100 * APUS_MS, 300 * APUS_SEC},
		{5000, 100 * APUS_MS, 300 * APUS_SEC}, {10000, 100 * APUS_MS, 300 * APUS_SEC},
		{2000, 300 * APUS_MS, 600 * APUS_SEC},
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		struct path p = {
			.congestion = "cubic",
			.rate_bps = 1000 * MBIT,
			.rtt_ns = cases[i].rtt_ns,
			.lose_every = cases[i].lose_every,
		};

		assert_within(goodput(&p, cases[i].span_ns / 4, cases[i].span_ns),
			      cubic_model(1.0 / p.lose_every, (double)p.rtt_ns / 1e9), 0.15);
	}
}

static void bbr_holds_the_link_with_one_percent_of_loss(void **state)
{
	struct path p = {
		.congestion = "bbr",
		.rate_bps = 20 * MBIT,
		.rtt_ns = 40 * APUS_MS,
		.loss_ppm = 10000,
	};

	assert_true(goodput(&p, 5 * APUS_SEC, 20 * APUS_SEC) > 0.85 * text_rate(&p));
	p.congestion = "reno";
	assert_true(goodput(&p, 5 * APUS_SEC, 20 * APUS_SEC) < 0.25 * text_rate(&p));
}

/* ---- two flows ---- */

static double jain(double a, double b)
{
	return (a + b) * (a + b) / (2 * (a * a + b * b));
}

static void two_flows_share_the_link_fairly(void **state)
{
	static const char *const types[] = {"reno", "cubic"};

	for (size_t i = 0; i < apus_countof(types); i++) {
		struct path p = {
			.congestion = types[i],
			.rate_bps = 50 * MBIT,
			.rtt_ns = 20 * APUS_MS,
		};
		int64_t before[FLOWS_MAX];
		double rates[FLOWS_MAX];

		open_path(&p, 2);
		advance(20 * APUS_SEC);
		for (uint32_t j = 0; j < 2; j++)
			before[j] = run.flows[j].received;
		advance(60 * APUS_SEC);
		for (uint32_t j = 0; j < 2; j++)
			rates[j] = (double)(run.flows[j].received - before[j]) / 60;
		close_path();
		if (jain(rates[0], rates[1]) < 0.95)
			fail_msg("%s: %g and %g", types[i], rates[0], rates[1]);
		assert_within(rates[0] + rates[1], text_rate(&p), 0.07);
	}
}

/* ---- delay ---- */

static struct apus_tcp_info info_of(const struct flow *f)
{
	struct apus_shard *before = apus_shard_enter(apus_sim_host_shard(run.pair.client));
	struct apus_tcp_info info;

	apus_tcp_get_info(f->c, &info);
	apus_shard_enter(before);
	return info;
}

/* The queue that a flow keeps, seen by its smoothed RTT, sampled; in ns. */
static double mean_queue_ns(int64_t rtt_ns, int64_t span_ns)
{
	double sum = 0;
	int count = 100;

	for (int i = 0; i < count; i++) {
		advance(span_ns / count);
		sum += (double)(info_of(&run.flows[0]).srtt_ns - rtt_ns);
	}
	return sum / count;
}

static void bbr_keeps_the_queue_short_that_cubic_fills(void **state)
{
	struct path p = {
		.congestion = "bbr",
		.rate_bps = 10 * MBIT,
		.rtt_ns = 40 * APUS_MS,
		.queue_bytes = 200000, /* four BDP */
	};
	double bbr, cubic;

	open_path(&p, 1);
	advance(5 * APUS_SEC);
	bbr = mean_queue_ns(p.rtt_ns, 20 * APUS_SEC);
	close_path();
	p.congestion = "cubic";
	open_path(&p, 1);
	advance(5 * APUS_SEC);
	cubic = mean_queue_ns(p.rtt_ns, 20 * APUS_SEC);
	close_path();
	assert_true(bbr < 0.5 * (double)p.rtt_ns);
	assert_true(cubic > 2 * (double)p.rtt_ns);
}

static void dctcp_keeps_the_queue_near_the_mark(void **state)
{
	struct path p = {
		.congestion = "dctcp",
		.rate_bps = 1000 * MBIT,
		.rtt_ns = APUS_MS,
		.queue_bytes = 1000000,
		.mark_bytes = 40 * 1514, /* K: above a seventh of the BDP */
	};
	double queue_bytes;

	open_path(&p, 1);
	advance(APUS_SEC);
	queue_bytes = mean_queue_ns(p.rtt_ns, APUS_SEC) * (double)p.rate_bps / 8e9;
	assert_within(measure(0, APUS_SEC), text_rate(&p), 0.03);
	assert_int_equal(apus_sim_host_counter(run.pair.client, "tcp", "retransmits"), 0);
	close_path();
	assert_within(queue_bytes, p.mark_bytes, 0.5);
}

static void srtt_is_the_links(void **state)
{
	static const int64_t rtts_ns[] = {APUS_MS, 10 * APUS_MS, 100 * APUS_MS};

	for (size_t i = 0; i < apus_countof(rtts_ns); i++) {
		struct path p = {
			.congestion = "bbr", /* no queue of its own */
			.rate_bps = 10 * MBIT,
			.rtt_ns = rtts_ns[i],
			.queue_bytes = 1000000,
		};
		struct apus_tcp_info info;

		open_path(&p, 1);
		advance(5 * APUS_SEC);
		info = info_of(&run.flows[0]);
		close_path();
		/* Serialization of a segment: 1.2 ms. */
		assert_true(info.min_rtt_ns >= p.rtt_ns);
		assert_true(info.min_rtt_ns <= p.rtt_ns + 3 * APUS_MS);
		assert_true(info.srtt_ns >= p.rtt_ns);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(flow_alone_gets_the_links_rate),
		cmocka_unit_test(renos_goodput_is_what_mathis_says),
		cmocka_unit_test(cubics_goodput_is_what_its_response_function_says),
		cmocka_unit_test(bbr_holds_the_link_with_one_percent_of_loss),
		cmocka_unit_test(two_flows_share_the_link_fairly),
		cmocka_unit_test(bbr_keeps_the_queue_short_that_cubic_fills),
		cmocka_unit_test(dctcp_keeps_the_queue_near_the_mark),
		cmocka_unit_test(srtt_is_the_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
