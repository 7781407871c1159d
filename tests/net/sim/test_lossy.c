/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_lossy.c: a connection through bad networks, over many seeds.
 *
 * In every run a client connects, and both sides send a megabyte to each other at the same time, in
 * pieces of random sizes, over a wire of random delay, rate, queue and offloads; some readers are slow,
 * some hosts send no runs or join none, some sides lend their buffers or borrow views. Then
 * every byte must have come, in order; both ends must have closed; after TIME-WAIT nothing may be
 * left of the connection, and after the world every mbuf and every object must be back. The seed
 * chooses the scenario and all chance in it.
 *
 * In the scenarios with chaos something else goes wrong every now and then: cables out, hosts that
 * stand still, pools that are empty; there too every byte must come. Where tasks are cancelled or
 * connections are aborted, the bytes that came must be right and nothing may be left.
 *
 *
 *	test_lossy                       APUS_SEEDS seeds (10,000; 700 under ASan), from 1 on
 *	test_lossy --seed N              that one, with what it did
 *	test_lossy --scenario loss20     seeds of that scenario only
 */
#include "tests/net/sim/sim_test.h"

#include <getopt.h>
#include <inttypes.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <unistd.h>

#define EACH_WAY_BYTES (1024 * 1024)
#define PIECE_BYTES    16384
#define CONNECT_TRIES  60
#define OWN_MBUFS      2047
#define LIMIT_NS       (3600 * APUS_SEC)
#define AFTER_NS       (300 * APUS_SEC) /* longer than TIME-WAIT and FIN-WAIT-2 */
#define RUNS_MANY      20               /* enough for an average to say something */
#define SEEDS_DEFAULT  (APUS_ASAN ? 700 : 10000)

enum chaos {
	UNPLUG = 1 << 0,
	PAUSE = 1 << 1,
	STARVE = 1 << 2,
	CANCEL = 1 << 3, /* of a task: the transfer does not have to end well */
	ABORT = 1 << 4,  /* of a connection: likewise */
};

struct scenario {
	const char *name;
	struct apus_impair_options impair;
	const char *must_happen; /* counter of impair that must move over all runs; NULL: none */
	uint32_t timeouts_max;   /* for 100 of those events: most losses cost no timeout; 0: any */
	uint32_t bytes;          /* each way; 0: a megabyte */
	uint32_t piece_bytes;    /* of a write or read, at most; 0: 16384 */
	unsigned int chaos;      /* enum chaos */
	uint16_t mtu;            /* 0: 1500 */
	bool one_bad_way;        /* only what the client sends is impaired */
};

static const struct scenario scenarios[] = {
	{.name = "clean"},
	{
		.name = "loss1",
		.impair = {.loss_ppm = 10000},
		.must_happen = "tx_lost",
		.timeouts_max = 20,
	},
	{
		.name = "loss5",
		.impair = {.loss_ppm = 50000},
		.must_happen = "tx_lost",
		.timeouts_max = 20,
	},
	{
		.name = "loss20",
		.impair = {.loss_ppm = 200000},
		.must_happen = "tx_lost",
		.timeouts_max = 50,
	},
	{
		.name = "reorder",
		.impair = {.reorder_ppm = 100000, .reorder_ns = 20 * APUS_MS},
		.must_happen = "tx_reordered",
	},
	{
		.name = "duplicate",
		.impair = {.duplicate_ppm = 100000, .jitter_ns = APUS_MS, .delay_ns = APUS_MS},
		.must_happen = "tx_duplicated",
	},
	{.name = "flip", .impair = {.corrupt_ppm = 50000}, .must_happen = "tx_corrupted"},
	{
		.name = "all",
		.impair = {.loss_ppm = 50000,
			   .duplicate_ppm = 50000,
			   .corrupt_ppm = 20000,
			   .reorder_ppm = 50000,
			   .reorder_ns = 5 * APUS_MS,
			   .delay_ns = 5 * APUS_MS,
			   .jitter_ns = 4 * APUS_MS},
		.must_happen = "tx_lost",
	},
	{
		.name = "tiny",
		.impair = {.loss_ppm = 30000, .reorder_ppm = 30000},
		.must_happen = "tx_lost",
		.bytes = 50000,
		.piece_bytes = 50,
	},
	{
		.name = "mtu576",
		.impair = {.loss_ppm = 30000, .reorder_ppm = 30000, .duplicate_ppm = 10000},
		.must_happen = "tx_lost",
		.bytes = 300000,
		.mtu = 576,
	},
	{
		.name = "one-way",
		.impair = {.loss_ppm = 300000},
		.must_happen = "tx_lost",
		.bytes = 200000,
		.one_bad_way = true,
	},
	{
		.name = "chaos",
		.impair = {.loss_ppm = 10000},
		.must_happen = "tx_lost",
		.chaos = UNPLUG | PAUSE | STARVE,
	},
	{
		.name = "cancel",
		.impair = {.loss_ppm = 10000},
		.must_happen = "tx_lost",
		.chaos = UNPLUG | PAUSE | STARVE | CANCEL,
	},
	{
		.name = "abort",
		.impair = {.loss_ppm = 10000},
		.must_happen = "tx_lost",
		.chaos = UNPLUG | PAUSE | STARVE | ABORT,
	},
};

/* What the runs of one scenario came to. */
struct tally {
	uint64_t runs, retransmits, timeouts, happened;
	int64_t sum_ns, max_ns;
};

/* One side of the connection. */
struct side {
	struct apus_random random; /* of the test, not of the host */
	struct apus_tcp *c;
	const struct scenario *scenario;
	uint64_t sent, got;
	uint32_t out_key, in_key;
	int64_t lazy_ns; /* the reader sleeps up to this now and then; 0: never */
	bool nodelay;
	bool lends, peeks; /* instead of write and read */
	uint8_t out[PIECE_BYTES], in[PIECE_BYTES];
};

struct run {
	struct sim_pair pair;
	struct apus_sim_task *serve, *fetch;
	struct side server, client;
};

/* --- The tasks ----------------------------------------------------------------------------- */

static bool may_fail(const struct scenario *scenario)
{
	return scenario->chaos & (CANCEL | ABORT);
}

static uint64_t bytes_of(const struct side *s)
{
	return s->scenario->bytes ? s->scenario->bytes : EACH_WAY_BYTES;
}

static size_t piece(struct side *s, uint64_t left)
{
	uint32_t max = s->scenario->piece_bytes ? s->scenario->piece_bytes : PIECE_BYTES;
	size_t bytes = 1 + apus_random_below(&s->random, max);

	return apus_min(bytes, left);
}

/* A buffer of the heap that is sent from where it lies, with its own free() as the end of it. */
static int64_t write_lent(struct side *s, size_t bytes)
{
	uint8_t *lent = malloc(bytes);

	apus_must(lent);
	memcpy(lent, s->out, bytes);
	return apus_tcp_send_buffer(s->c, lent, bytes, free, lent);
}

static int64_t write_piece(struct side *s, size_t bytes)
{
	if (!s->c)
		return -EPIPE;
	return s->lends ? write_lent(s, bytes) : apus_tcp_write(s->c, s->out, bytes);
}

static int64_t read_views(struct side *s)
{
	struct iovec views[4];
	int64_t bytes = 0;
	int n = apus_tcp_peek(s->c, views, 4);

	if (n <= 0)
		return n;
	for (int i = 0; i < n; i++) {
		apus_must_op(bytes + (int64_t)views[i].iov_len, <=, (int64_t)sizeof(s->in));
		memcpy(s->in + bytes, views[i].iov_base, views[i].iov_len);
		bytes += (int64_t)views[i].iov_len;
	}
	apus_tcp_consume(s->c, (size_t)bytes);
	return bytes;
}

static int64_t read_piece(struct side *s)
{
	if (!s->c)
		return -EPIPE;
	return s->peeks ? read_views(s) : apus_tcp_read(s->c, s->in, piece(s, PIECE_BYTES));
}

static int64_t write_all(void *arg)
{
	struct side *s = arg;

	while (s->sent < bytes_of(s)) {
		size_t bytes = piece(s, bytes_of(s) - s->sent);
		int64_t rc;

		sim_fill(s->out, bytes, s->sent, s->out_key);
		rc = write_piece(s, bytes);
		if (rc < 0)
			return rc;
		sim_check_equal(rc, bytes);
		s->sent += bytes;
	}
	return s->c ? apus_tcp_shutdown(s->c) : -EPIPE;
}

static int64_t read_all(struct side *s)
{
	for (;;) {
		int64_t n = read_piece(s);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		sim_check_equal(sim_differs(s->in, (size_t)n, s->got, s->in_key), -1);
		s->got += (uint64_t)n;
		if (s->lazy_ns && apus_random_chance(&s->random, 20000)) {
			int rc = apus_sleep(
				(int64_t)apus_random_below(&s->random, (uint64_t)s->lazy_ns));

			if (rc < 0)
				return rc;
		}
	}
	if (may_fail(s->scenario) && s->got < bytes_of(s))
		return -EPIPE; /* the other was cancelled, and closed */
	sim_check_equal(s->got, bytes_of(s));
	return 0;
}

/* Closes or aborts the connection if that has not been done. */
static void give_up(struct side *s, bool abort)
{
	struct apus_tcp *c = s->c;

	s->c = NULL;
	if (c && abort)
		apus_tcp_abort(c);
	else if (c)
		apus_tcp_close(c);
}

/* Reads and writes until both are through. The other task of a chaos may abort under our feet. */
static int64_t exchange(struct side *s)
{
	struct apus_task *writer;
	int64_t read_rc, write_rc;

	/* Where a peer may be gone without a word that arrives, one has to ask. */
	if (apus_tcp_set(s->c, APUS_TCP_NODELAY, s->nodelay) < 0 ||
	    apus_tcp_set(s->c, APUS_TCP_KEEPALIVE_IDLE_NS, s->scenario->chaos ? 30 * APUS_SEC : 0) <
		    0)
		return -EINVAL;
	writer = apus_spawn_with(&(struct apus_spawn_options){.name = "writer"}, write_all, s, 0);
	read_rc = read_all(s);
	if (read_rc < 0)
		apus_task_cancel(writer);
	write_rc = apus_await(writer);
	give_up(s, false);
	return read_rc < 0 ? read_rc : write_rc;
}

static int64_t serve(void *arg)
{
	struct side *s = arg;
	struct apus_tcp_listener *l;
	int rc = apus_tcp_listen(sim_any(SERVER_PORT), 16, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, &s->c);
	apus_tcp_listener_close(l);
	return rc < 0 ? rc : exchange(s);
}

/*
 * Where one frame of five is lost, even all SYNs may be, and where cables are out ARP has no answer:
 * then a user would try again.
 */
static int64_t fetch(void *arg)
{
	struct side *s = arg;
	int rc;

	for (int i = 0; i < CONNECT_TRIES; i++) {
		rc = apus_tcp_connect(sim_server(), &s->c);
		if (rc != -ETIMEDOUT && rc != -EHOSTUNREACH)
			break;
		if (apus_sleep(APUS_SEC) < 0)
			return -ECANCELED;
	}
	return rc < 0 ? rc : exchange(s);
}

/* --- One run ------------------------------------------------------------------------------- */

static void side_init(struct side *s, const struct scenario *scenario, uint64_t seed,
		      uint32_t out_key, uint32_t in_key)
{
	s->scenario = scenario;
	apus_random_init_seed(&s->random, seed);
	s->out_key = out_key;
	s->in_key = in_key;
	s->nodelay = apus_random_chance(&s->random, 500000);
	s->lazy_ns = apus_random_chance(&s->random, 250000) ? 200 * APUS_MS : 0;
	s->lends = seed >> 2 & 1;
	s->peeks = seed >> 3 & 1;
}

/* One of four has no segmentation of runs, one of four joins nothing, one of two has no short way. */
static struct apus_sim_host_options host_of(const struct scenario *scenario, uint64_t seed,
					    uint64_t side)
{
	struct apus_sim_host_options o = {
		.mbufs = scenario->chaos & STARVE ? OWN_MBUFS : 0,
		.tcp = sim_tcp_options(seed, side),
	};
	struct apus_random random;

	apus_random_init_seed(&random, (2 * seed + side) ^ UINT64_C(0x686f7374));
	o.tcp.no_gso = apus_random_chance(&random, 250000);
	o.tcp.no_gro = apus_random_chance(&random, 250000);
	o.tcp.no_fast = apus_random_chance(&random, 500000);
	return o;
}

static struct apus_sim_link_options link_of(const struct scenario *scenario, uint64_t seed)
{
	static const uint64_t rates_bps[] = {0, 10000000, 100000000, 1000000000};
	static const int64_t delays_ns[] = {0, 50 * APUS_US, APUS_MS, 10 * APUS_MS, 50 * APUS_MS};
	static const uint32_t queues[] = {64, 256, 1024};
	static const uint64_t checksums =
		RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	static const uint64_t offloads[] = {0, 0, checksums,
					    checksums | RTE_ETH_TX_OFFLOAD_TCP_TSO};
	struct apus_random random;

	apus_random_init_seed(&random, seed ^ UINT64_C(0x6c696e6b));
	return (struct apus_sim_link_options){
		.wire = {.rate_bps = rates_bps[apus_random_below(&random, 4)],
			 .delay_ns = delays_ns[apus_random_below(&random, 5)],
			 .queue_frames = queues[apus_random_below(&random, 3)],
			 .offloads = offloads[seed >> 1 & 3],
			 .lend = seed >> 3 & 1,
			 .mtu = scenario->mtu},
		.impair = scenario->impair,
	};
}

static uint64_t both(const struct run *r, const char *area, const char *name)
{
	return apus_sim_host_counter(r->pair.server, area, name) +
	       apus_sim_host_counter(r->pair.client, area, name);
}

/* Something happens to one of the hosts, or what had happened is over. */
static void make_chaos(struct run *r, const struct scenario *scenario, struct apus_random *random)
{
	bool first = apus_random_chance(random, 500000);
	struct apus_sim_host *h = first ? r->pair.server : r->pair.client;
	struct side *side = first ? &r->server : &r->client;
	struct apus_shard *before;

	apus_sim_host_plug(h);
	apus_sim_host_resume(h);
	apus_must(apus_sim_host_starve(h, UINT32_MAX) == 0);
	switch (scenario->chaos & 1u << apus_random_below(random, 6)) {
	case UNPLUG:
		apus_sim_host_unplug(h);
		break;
	case PAUSE:
		apus_sim_host_pause(h);
		break;
	case STARVE:
		apus_must(apus_sim_host_starve(h, (uint32_t)apus_random_below(random, 50)) == 0);
		break;
	case CANCEL:
		apus_sim_task_cancel(first ? r->serve : r->fetch);
		break;
	case ABORT:
		before = apus_shard_enter(apus_sim_host_shard(h));
		give_up(side, true);
		apus_shard_enter(before);
		break;
	default: /* a quiet while */
		break;
	}
}

/* Until the tasks have ended. Return: 0; -ETIMEDOUT, -ELOOP */
static int run_chaos(struct run *r, const struct scenario *scenario, uint64_t seed)
{
	int64_t end_ns = apus_sim_now(r->pair.world) + LIMIT_NS;
	struct apus_random random;

	apus_random_init_seed(&random, seed ^ UINT64_C(0x6368616f73));
	while (apus_sim_now(r->pair.world) < end_ns) {
		static const int64_t longest_ns[] = {APUS_MS, 100 * APUS_MS, 10 * APUS_SEC};
		int64_t span_ns = longest_ns[apus_random_below(&random, 3)];
		int rc = apus_sim_advance(r->pair.world,
					  (int64_t)apus_random_below(&random, (uint64_t)span_ns));

		if (rc < 0)
			return rc;
		if (apus_sim_task_done(r->serve) && apus_sim_task_done(r->fetch))
			return 0;
		if (may_fail(scenario) && apus_sim_task_done(r->fetch) && !r->server.c)
			apus_sim_task_cancel(r->serve); /* nobody will come any more */
		make_chaos(r, scenario, &random);
	}
	return -ETIMEDOUT;
}

static void end_chaos(struct run *r)
{
	struct apus_sim_host *const hosts[] = {r->pair.server, r->pair.client};

	for (size_t i = 0; i < apus_countof(hosts); i++) {
		apus_sim_host_plug(hosts[i]);
		apus_sim_host_resume(hosts[i]);
		apus_must(apus_sim_host_starve(hosts[i], UINT32_MAX) == 0);
	}
}

/*
 * May a task end so? Return: its error's name, or NULL. Where hosts come and go all the time, all of
 * fifteen retransmissions can be lost (R2), once in some thousand worlds.
 */
static const char *bad_result(const struct run *r, const struct apus_sim_task *t,
			      const struct scenario *scenario)
{
	int64_t rc = apus_sim_task_result(t);
	bool gave_up = scenario->chaos && both(r, "tcp", "timeouts");

	if (gave_up && (rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -EHOSTUNREACH))
		return NULL;

	if (rc == 0 || (may_fail(scenario) &&
			(rc == -ECANCELED || rc == -ECONNRESET || rc == -EPIPE ||
			 rc == -ETIMEDOUT || rc == -ECONNREFUSED || rc == -EHOSTUNREACH)))
		return NULL;
	return strerrorname_np((int)-rc);
}

/* What went wrong, or NULL. */
static const char *watch(struct run *r, const struct scenario *scenario, uint64_t seed,
			 struct tally *tally)
{
	struct apus_sim_world *world = r->pair.world;
	int64_t begin_ns = apus_sim_now(world), took_ns;
	const char *wrong;
	int rc;

	r->serve = apus_sim_spawn(r->pair.server, "serve", serve, &r->server);
	r->fetch = apus_sim_spawn(r->pair.client, "fetch", fetch, &r->client);
	rc = scenario->chaos ? run_chaos(r, scenario, seed) : apus_sim_run(world, LIMIT_NS);
	took_ns = apus_sim_now(world) - begin_ns;
	tally->runs++;
	tally->sum_ns += took_ns;
	tally->max_ns = apus_max(tally->max_ns, took_ns);
	if (rc < 0)
		return strerrorname_np(-rc);
	wrong = bad_result(r, r->serve, scenario);
	if (!wrong)
		wrong = bad_result(r, r->fetch, scenario);
	if (wrong)
		return wrong;
	if (scenario->chaos)
		end_chaos(r);
	if (apus_sim_advance(world, scenario->chaos ? 4 * AFTER_NS : AFTER_NS) < 0)
		return "no rest after the end";
	if (sim_pair_left(&r->pair) != 0)
		return "a connection is left";
	tally->retransmits += both(r, "tcp", "retransmits");
	tally->timeouts += both(r, "tcp", "rto");
	if (scenario->must_happen)
		tally->happened += both(r, "impair", scenario->must_happen);
	return NULL;
}

static const char *run_seed(const struct scenario *scenario, uint64_t seed, struct tally *tally,
			    uint64_t *digest)
{
	static struct run run;
	struct apus_sim_link_options link = link_of(scenario, seed);
	const char *wrong;

	memset(&run, 0, sizeof(run));
	side_init(&run.server, scenario, seed * 2, (uint32_t)seed, (uint32_t)~seed);
	side_init(&run.client, scenario, seed * 2 + 1, (uint32_t)~seed, (uint32_t)seed);
	sim_pair_open_as(&run.pair, seed, &link, host_of(scenario, seed, 0),
			 host_of(scenario, seed, 1));
	if (scenario->one_bad_way)
		apus_must(apus_sim_host_impair(run.pair.server, NULL) == 0);
	wrong = watch(&run, scenario, seed, tally);
	*digest = apus_sim_digest(run.pair.world);
	if (wrong)
		fprintf(stderr,
			"server: %" PRIu64 " sent, %" PRIu64 " got; client: %" PRIu64
			" sent, %" PRIu64 " got\n",
			run.server.sent, run.server.got, run.client.sent, run.client.got);
	if (apus_sim_world_close(run.pair.world) < 0 && !wrong)
		wrong = "something leaked";
	return wrong;
}

/* --- Many runs ----------------------------------------------------------------------------- */

struct options {
	const char *scenario; /* NULL: as the seed says */
	uint64_t seed;        /* the first */
	uint64_t seeds;
	bool verbose;
};

static const struct scenario *scenario_of(const struct options *o, uint64_t seed)
{
	if (!o->scenario)
		return &scenarios[seed % apus_countof(scenarios)];
	for (size_t i = 0; i < apus_countof(scenarios); i++)
		if (!strcmp(scenarios[i].name, o->scenario))
			return &scenarios[i];
	fprintf(stderr, "test_lossy: no scenario is called %s\n", o->scenario);
	exit(2);
}

/* Return: runs that failed. One in sixteen is run again: it must be the same run. */
static uint64_t run_seeds(const struct options *o, struct tally *tallies)
{
	uint64_t failed = 0;

	for (uint64_t seed = o->seed; seed < o->seed + o->seeds; seed++) {
		const struct scenario *scenario = scenario_of(o, seed);
		struct tally *tally = &tallies[scenario - scenarios];
		uint64_t digest, again;
		const char *wrong = run_seed(scenario, seed, tally, &digest);

		if (!wrong && (seed / apus_countof(scenarios)) % 16 == 0) {
			wrong = run_seed(scenario, seed, tally, &again);
			if (!wrong && digest != again)
				wrong = "the same seed was not the same run";
		}
		if (o->verbose)
			printf("seed %" PRIu64 " (%s): digest %016" PRIx64 "\n", seed,
			       scenario->name, digest);
		if (!wrong)
			continue;
		failed++;
		printf("FAILED: %s: replay with --seed %" PRIu64 " --scenario %s\n", wrong, seed,
		       scenario->name);
		fflush(stdout);
	}
	return failed;
}

/* Return: scenarios whose trouble never happened, or cost too much. */
static uint64_t report(const struct tally *tallies)
{
	uint64_t failed = 0;

	for (size_t i = 0; i < apus_countof(scenarios); i++) {
		const struct tally *t = &tallies[i];

		if (t->runs == 0)
			continue;
		printf("%-10s %5" PRIu64 " runs, %8.3f s mean, %8.3f s at most, %8" PRIu64
		       " retransmits, %6" PRIu64 " timeouts, %8" PRIu64 " %s\n",
		       scenarios[i].name, t->runs, (double)t->sum_ns / 1e9 / (double)t->runs,
		       (double)t->max_ns / 1e9, t->retransmits, t->timeouts, t->happened,
		       scenarios[i].must_happen ? scenarios[i].must_happen : "events");
		if (scenarios[i].must_happen && t->happened == 0) {
			printf("FAILED: in %s nothing went wrong\n", scenarios[i].name);
			failed++;
		}
		if (scenarios[i].timeouts_max && t->runs >= RUNS_MANY &&
		    t->timeouts * 100 > t->happened * scenarios[i].timeouts_max) {
			printf("FAILED: in %s too many losses cost a timeout\n", scenarios[i].name);
			failed++;
		}
	}
	return failed;
}

/*
 * The same seed in another process, where every address is different, must be the same run too.
 * Return: 1 if it was not.
 */
static uint64_t run_elsewhere(uint64_t seed)
{
	const struct options o = {0};
	const struct scenario *scenario = scenario_of(&o, seed);
	struct tally tally = {0};
	char command[128], line[128] = "", want[128];
	uint64_t digest;
	FILE *other;

	if (run_seed(scenario, seed, &tally, &digest))
		return 1;
	snprintf(want, sizeof(want), "seed %" PRIu64 " (%s): digest %016" PRIx64 "\n", seed,
		 scenario->name, digest);
	snprintf(command, sizeof(command), "/proc/%d/exe --seed %" PRIu64, (int)getpid(), seed);
	other = popen(command, "r");
	if (!other || !fgets(line, sizeof(line), other) || strcmp(line, want) != 0) {
		printf("FAILED: another process had %swhere this one had %s", line, want);
		return 1;
	}
	return pclose(other) == 0 ? 0 : 1;
}

static uint64_t seeds_default(void)
{
	const char *text = getenv("APUS_SEEDS");

	return text ? strtoull(text, NULL, 10) : SEEDS_DEFAULT;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'},
		{"scenario", required_argument, NULL, 'c'},
		{0},
	};
	struct options o = {.seed = 1, .seeds = seeds_default()};
	struct tally tallies[apus_countof(scenarios)] = {0};
	uint64_t failed;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			o.seeds = 1;
			o.verbose = true;
			break;
		case 'n':
			o.seeds = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			o.scenario = optarg;
			break;
		default:
			fprintf(stderr, "usage: test_lossy [--seed N] [--seeds N] "
					"[--scenario NAME]\n");
			return 2;
		}
	}
	apus_test_eal();
	failed = run_seeds(&o, tallies);
	failed += report(tallies);
	if (!o.verbose)
		failed += run_elsewhere(7);
	printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", o.seeds, failed);
	return failed ? 1 : 0;
}
