/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/echo_cost.c: what a request costs a TCP echo server, by how many connections are open.
 *
 *	echo_cost OPEN RANGE FLIGHT REQUESTS CPU CPU   a server and a client, each a thread on its CPU
 *	echo_cost OPEN RANGE FLIGHT REQUESTS           by turns in this thread, for callgrind
 *
 * OPEN connections; FLIGHT requests of a byte are on their way at a time, and go through the first
 * RANGE connections in turn: FLIGHT of them are busy and the others silent, or each is asked so
 * rarely that nothing of it is in a cache. Between the two is a memif, the link of scripts/pair, with
 * DPDK's driver at either end, which knows no checksums: they are computed.
 *
 * With two threads it prints what a request took of the server in ns, requests per second, which
 * share of its time the server had something to do, and requests per turn of its loop. What a request
 * took is the time of the turns that found something to do, driver, stack and tasks, by the CPU's
 * counter; a turn that found nothing is no request's. By turns nothing is printed and nothing depends
 * on time; callgrind collects the server's turns while requests are counted.
 */
#include "bench/memif_pair.h"
#include "net/socket/server.h"
#include "runtime/base/clock.h"
#include "runtime/sync/group.h"

#include <pthread.h>
#include <rte_cycles.h>
#include <stdatomic.h>
#if APUS_HAVE_VALGRIND
# include <valgrind/callgrind.h>
#else
# define CALLGRIND_TOGGLE_COLLECT
#endif

#define MBUFS           131072 /* answers wait for a delayed ACK, 40 ms, each in one */
#define CONNECTIONS_MAX 1000000
#define PER_ADDR        20000 /* connections from an address: a port for each */
#define OPENERS         64
#define WARM_LAPS       2
#define WARM_REQUESTS   20000 /* at least */
#define PORT            7
#define APART           128 /* bytes: what two cores write lies so far apart */

enum phase {
	PHASE_WARM, /* connect, ask */
	PHASE_COUNT,
	PHASE_DONE, /* close */
	PHASE_EMPTY,
};

static struct {
	uint32_t open, range, flight;
	uint64_t requests;
	bool by_turns;
	int cpus[2];
	struct apus_clock clock; /* by turns */
	_Alignas(APART) atomic_int phase;
} job;

static struct {
	uint64_t served, turns, busy, all; /* in ticks of the CPU's counter */
	enum phase phase;                  /* as far as the server has seen it */
} APUS_ALIGNED(APART) server_says;

static struct {
	struct apus_tcp **connections;
	uint32_t opened;
	uint64_t left; /* requests that are not begun */
} APUS_ALIGNED(APART) client_has;

/* ------------------------------------------------------------------------------- the server */

static int64_t echo(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	char buf[64];
	int64_t n = 0;

	while (n >= 0 && (n = apus_server_idle(self)) == 0 &&
	       (n = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		apus_server_busy(self);
		server_says.served++;
		n = apus_tcp_write(c, buf, (size_t)n);
	}
	return n;
}

static int64_t serve(void *arg)
{
	const struct apus_server_options options = {
		.local.port = PORT,
		.handler = echo,
		.connections_max = job.open,
		.backlog = 4096,
	};
	struct apus_server *s;

	apus_must(!apus_server_open(&options, &s));
	(void)!apus_server_wait(s);
	return apus_server_stop(s, APUS_SEC);
}

/* What the client says it is now, from the next turn on. */
static void look_at_phase(struct apus_task *serving)
{
	enum phase now = (enum phase)atomic_load_explicit(&job.phase, memory_order_relaxed);

	if (apus_likely(now == server_says.phase))
		return;
	if (now == PHASE_COUNT)
		server_says.served = server_says.turns = server_says.busy = server_says.all = 0;
	if (now == PHASE_DONE)
		apus_task_cancel(serving);
	server_says.phase = now;
}

/* Only turns that are counted are collected. */
static bool serve_turn(struct memif_end *server)
{
	bool counts = server_says.phase == PHASE_COUNT, any;

	if (counts)
		CALLGRIND_TOGGLE_COLLECT;
	any = apus_shard_turn(server->shard);
	if (counts)
		CALLGRIND_TOGGLE_COLLECT;
	return any;
}

static struct apus_task *start_serving(struct memif_end *server)
{
	struct apus_task *serving;

	apus_shard_enter(server->shard);
	serving = apus_spawn(serve, NULL);
	apus_must(serving);
	return serving;
}

/* Until the client is done, and for as long after that as the server has tasks. */
static void run_server(struct memif_end *server)
{
	struct apus_task *serving = start_serving(server);
	uint64_t then = rte_rdtsc();

	while (server_says.phase < PHASE_DONE) {
		bool any = serve_turn(server);
		uint64_t now = rte_rdtsc();

		server_says.all += now - then;
		if (any) {
			server_says.busy += now - then;
			server_says.turns++;
		}
		then = now;
		look_at_phase(serving);
	}
	while (apus_shard_tasks(server->shard))
		apus_shard_turn(server->shard);
	apus_detach(serving);
	atomic_store(&job.phase, PHASE_EMPTY);
}

/* ------------------------------------------------------------------------------- the client */

static int64_t open_some(void *arg)
{
	struct apus_endpoint to = {.port = PORT};

	apus_must(!apus_addr_parse("10.7.0.1", &to.addr));
	while (client_has.opened < job.open) {
		uint32_t i = client_has.opened++;

		apus_must(!apus_tcp_connect(to, &client_has.connections[i]));
	}
	return 0;
}

static void ask(struct apus_tcp *c)
{
	char byte = 'x';

	apus_must(apus_tcp_write(c, &byte, 1) == 1);
	apus_must(apus_tcp_read(c, &byte, 1) == 1);
}

/* One request at a time, over every FLIGHTth of the connections. @arg: which of them */
static int64_t ask_in_turn(void *arg)
{
	uint32_t first = *(const uint32_t *)arg, i = first;

	while (client_has.left) {
		client_has.left--;
		ask(client_has.connections[i]);
		i += job.flight;
		if (i >= job.range)
			i = first;
	}
	return 0;
}

/* All of them to their ends. @fn: of its number */
static void run_tasks(uint32_t count, apus_task_fn fn)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (uint32_t i = 0; i < count; i++)
		apus_must(!apus_group_spawn(&g, NULL, fn, &i, sizeof(i)));
	apus_must(!apus_group_end(&g, 0));
	apus_group_fini(&g);
}

static int64_t drive(void *arg)
{
	run_tasks(OPENERS, open_some);
	client_has.left = apus_max((uint64_t)job.range * WARM_LAPS, (uint64_t)WARM_REQUESTS);
	run_tasks(job.flight, ask_in_turn);
	atomic_store(&job.phase, PHASE_COUNT);
	client_has.left = job.requests;
	run_tasks(job.flight, ask_in_turn);
	atomic_store(&job.phase, PHASE_DONE);
	for (uint32_t i = 0; i < job.open; i++)
		apus_tcp_abort(client_has.connections[i]);
	return 0;
}

static void start_client(struct memif_end *client)
{
	apus_shard_enter(client->shard);
	apus_must(!apus_spawn_detached(NULL, drive, NULL, 0));
}

static void pin(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus)) {
		fprintf(stderr, "echo_cost: no thread on CPU %d\n", cpu);
		exit(1);
	}
}

static void *run_client(void *arg)
{
	struct memif_end *client = arg;
	char why[APUS_EAL_WHY_BYTES];

	pin(job.cpus[1]);
	apus_must(!apus_eal_thread_open(why, sizeof(why)));
	start_client(client);
	while (atomic_load_explicit(&job.phase, memory_order_relaxed) != PHASE_EMPTY ||
	       apus_shard_tasks(client->shard))
		apus_shard_turn(client->shard);
	apus_shard_enter(NULL);
	apus_eal_thread_close();
	return NULL;
}

/* --------------------------------------------------------------------------------- both ends */

static void run_by_turns(struct memif_end *server, struct memif_end *client)
{
	struct apus_task *serving = start_serving(server);

	start_client(client);
	while (server_says.phase < PHASE_DONE || apus_shard_tasks(client->shard) ||
	       apus_shard_tasks(server->shard)) {
		apus_shard_enter(client->shard);
		apus_shard_turn(client->shard);
		apus_shard_enter(server->shard);
		serve_turn(server);
		look_at_phase(serving);
		apus_clock_set(&job.clock, apus_clock_read(&job.clock) + APUS_US);
	}
	apus_detach(serving);
	apus_shard_enter(NULL);
}

static void run_in_threads(struct memif_end *server, struct memif_end *client)
{
	double ns = 1e9 / (double)rte_get_tsc_hz(), served;
	pthread_t thread;

	apus_must(!pthread_create(&thread, NULL, run_client, client));
	pin(job.cpus[0]);
	run_server(server);
	pthread_join(thread, NULL);
	apus_shard_enter(NULL);
	served = (double)server_says.served;
	printf("%.1f %.0f %.3f %.2f\n", (double)server_says.busy * ns / served,
	       served / ((double)server_says.all * ns) * 1e9,
	       (double)server_says.busy / (double)server_says.all,
	       served / (double)server_says.turns);
}

static void run(void)
{
	struct memif_pair pair = {.server.ip = "10.7.0.1", .client.ip = "10.7.1.0"};
	struct memif_options options = {
		.shard = {.core = -1,
			  .clock = job.by_turns ? &job.clock : NULL,
			  .seed = 1,
			  .spin = true},
		.server = {.prefix_bits = 16, .connections_max = job.open + 1024},
		.mbufs = MBUFS,
	};

	options.client = options.server;
	options.client.more_addrs = job.open / PER_ADDR;
	apus_clock_init_virtual(&job.clock, APUS_SEC);
	memif_pair_open(&pair, &options);
	if (job.by_turns)
		run_by_turns(&pair.server, &pair.client);
	else
		run_in_threads(&pair.server, &pair.client);
	memif_pair_close(&pair);
}

int main(int argc, char **argv)
{
	if (argc != 5 && argc != 7)
		refuse("usage: echo_cost OPEN RANGE FLIGHT REQUESTS [CPU CPU]");
	job.open = (uint32_t)strtoul(argv[1], NULL, 10);
	job.range = (uint32_t)strtoul(argv[2], NULL, 10);
	job.flight = (uint32_t)strtoul(argv[3], NULL, 10);
	job.requests = strtoull(argv[4], NULL, 10);
	if (!job.flight || job.flight > job.range || job.range > job.open ||
	    job.open > CONNECTIONS_MAX || !job.requests)
		refuse("0 < FLIGHT <= RANGE <= OPEN <= 1000000, and 0 < REQUESTS");
	job.by_turns = argc == 5;
	for (int i = 0; i < 2 && !job.by_turns; i++)
		job.cpus[i] = atoi(argv[5 + i]);
	client_has.connections = calloc(job.open, sizeof(*client_has.connections));
	apus_must(client_has.connections);
	run();
	free(client_has.connections);
	return 0;
}
