/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/connections.c: what connections cost, not what they carry: to open and close one, and to
 * have very many beside the few that are busy. Two hosts of a simulated world in one thread, as in
 * net.c: the instructions of both ends count, and of the world's few.
 */
#include "bench/bench.h"
#include "net/sim/world.h"
#include "net/socket/tcp.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/sync/group.h"

#include <stdlib.h>

#define CONNECTIONS_MAX 262144
#define PORTS           8 /* that the server listens at: each has 28232 four-tuples */
#define IDLE_PORT       100
#define BUSY_PORT       80
#define BUSY            32
#define OPENERS         64
#define ROUNDS_UNTIMED  16
#define MESSAGE_BYTES   64

struct job {
	struct apus_bench_job *bench;
	uint64_t left;          /* connections still to be opened, of all openers */
	struct apus_tcp **held; /* those that stay open */
	uint64_t held_count;
	struct apus_tcp *busy[BUSY];
};

static struct apus_endpoint server(uint64_t port)
{
	struct apus_endpoint to = {.port = (uint16_t)port};

	apus_must(apus_addr_parse("10.0.0.1", &to.addr) == 0);
	return to;
}

/* ------------------------------------------------------------------------------ connect, close */

/* The end of one connection: it waits until the peer has closed. */
static int64_t outlive(void *arg)
{
	struct apus_tcp *c = *(struct apus_tcp **)arg;
	char byte;
	int64_t rc = apus_tcp_read(c, &byte, 1);

	apus_tcp_close(c);
	return rc;
}

/* Accepts at one of the ports, for ever. */
static int64_t accept_and_outlive(void *arg)
{
	const struct apus_spawn_options eager = {.flags = APUS_SPAWN_EAGER};
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;

	apus_must(apus_tcp_listen((struct apus_endpoint){.port = *(uint16_t *)arg}, 0, &listener) ==
		  0);
	while (apus_tcp_accept(listener, &c) == 0)
		apus_must(apus_spawn_detached(&eager, outlive, &c, sizeof(c)) == 0);
	apus_tcp_listener_close(listener);
	return 0;
}

static int64_t serve_ports(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (uint16_t i = 0; i < PORTS; i++) {
		uint16_t port = IDLE_PORT + i;

		apus_must(apus_group_spawn(&g, NULL, accept_and_outlive, &port, sizeof(port)) == 0);
	}

	int64_t rc = apus_group_end(&g, 0);

	apus_group_fini(&g);
	return rc;
}

static int64_t connect_and_close(void *arg)
{
	struct job *job = *(struct job **)arg;
	struct apus_tcp *c;

	while (job->left) {
		apus_must(apus_tcp_connect(server(IDLE_PORT + job->left-- % PORTS), &c) == 0);
		apus_tcp_close(c);
	}
	return 0;
}

static void in_parallel(apus_task_fn fn, struct job *job, int64_t tasks)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int64_t i = 0; i < tasks; i++)
		apus_must(apus_group_spawn(&g, NULL, fn, &job, sizeof(job)) == 0);
	apus_must(apus_group_end(&g, 0) == 0);
	apus_group_fini(&g);
}

static int64_t open_and_close(void *arg)
{
	struct job *job = arg;
	int64_t begin_ns;

	job->left = 2 * OPENERS; /* ARP, first memory */
	in_parallel(connect_and_close, job, job->bench->arg);
	begin_ns = apus_clock_host_ns();
	job->left = job->bench->n;
	in_parallel(connect_and_close, job, job->bench->arg);
	job->bench->elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

/* ------------------------------------------------------------------------- a few of very many */

static int64_t echo(void *arg)
{
	struct apus_tcp *c = *(struct apus_tcp **)arg;
	char buf[MESSAGE_BYTES];
	int64_t n;

	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		apus_must(apus_tcp_write(c, buf, (size_t)n) == n);
	apus_tcp_close(c);
	return 0;
}

static int64_t serve_busy(void *arg)
{
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;

	apus_must(apus_tcp_listen((struct apus_endpoint){.port = BUSY_PORT}, 0, &listener) == 0);
	while (apus_tcp_accept(listener, &c) == 0)
		apus_must(apus_spawn_detached(NULL, echo, &c, sizeof(c)) == 0);
	apus_tcp_listener_close(listener);
	return 0;
}

/* Accepts what stays idle, without a task for each: the bare connection is all there is. */
static int64_t serve_idle(void *arg)
{
	struct job *job = arg;
	struct apus_tcp_listener *listeners[PORTS];
	uint64_t count = (uint64_t)job->bench->arg, accepted = 0;
	struct apus_tcp **held = apus_bench_allocate(count + 1, sizeof(*held));

	for (uint16_t i = 0; i < PORTS; i++)
		apus_must(apus_tcp_listen((struct apus_endpoint){.port = IDLE_PORT + i}, 0,
					  &listeners[i]) == 0);
	/* The client takes the ports in turn, so each has its share. */
	for (; accepted < count; accepted++)
		apus_must(apus_tcp_accept(listeners[accepted % PORTS], &held[accepted]) == 0);
	(void)!apus_sleep(APUS_NEVER / 2); /* until the end cancels it */
	for (uint64_t i = 0; i < accepted; i++)
		apus_tcp_abort(held[i]);
	for (uint16_t i = 0; i < PORTS; i++)
		apus_tcp_listener_close(listeners[i]);
	free(held);
	return 0;
}

static int64_t connect_and_hold(void *arg)
{
	struct job *job = *(struct job **)arg;

	while (job->left) {
		uint64_t i = job->held_count++;

		job->left--;
		apus_must(apus_tcp_connect(server(IDLE_PORT + i % PORTS), &job->held[i]) == 0);
	}
	return 0;
}

static void ask(struct apus_tcp *c)
{
	static const char request[MESSAGE_BYTES];
	char response[MESSAGE_BYTES];

	apus_must(apus_tcp_write(c, request, sizeof(request)) > 0);
	apus_must(apus_tcp_read(c, response, sizeof(response)) == sizeof(response));
}

/* One request after the other, over the busy connections in turn. */
static int64_t ask_among_idle(void *arg)
{
	struct job *job = arg;
	uint64_t idle = (uint64_t)job->bench->arg;
	int64_t begin_ns = 0;

	job->held = apus_bench_allocate(idle + 1, sizeof(struct apus_tcp *));
	for (int i = 0; i < BUSY; i++) { /* among the others, as they come */
		job->left = idle / BUSY + (i < (int64_t)(idle % BUSY));
		in_parallel(connect_and_hold, job, OPENERS);
		apus_must(apus_tcp_connect(server(BUSY_PORT), &job->busy[i]) == 0);
	}
	for (uint64_t i = 0; i < job->bench->n + (uint64_t)ROUNDS_UNTIMED * BUSY; i++) {
		if (i == (uint64_t)ROUNDS_UNTIMED * BUSY)
			begin_ns = apus_clock_host_ns();
		ask(job->busy[i % BUSY]);
	}
	job->bench->elapsed_ns = apus_clock_host_ns() - begin_ns;
	for (int i = 0; i < BUSY; i++)
		apus_tcp_close(job->busy[i]);
	for (uint64_t i = 0; i < idle; i++)
		apus_tcp_abort(job->held[i]);
	free(job->held);
	return 0;
}

/* ----------------------------------------------------------------------------------- the world */

static int64_t in_world(const apus_task_fn servers[], size_t n, apus_task_fn client,
			struct apus_bench_job bench)
{
	struct apus_sim_host_options a_options = {.ip = "10.0.0.1/24",
						  .connections_max = CONNECTIONS_MAX};
	struct apus_sim_host_options b_options = {.ip = "10.0.0.2/24",
						  .connections_max = CONNECTIONS_MAX};
	struct job job = {.bench = &bench};
	struct apus_sim_world *world;
	struct apus_sim_host *a, *b;
	struct apus_sim_task *serving[2];

	apus_bench_start_dpdk();
	apus_must(apus_sim_world_open(1, NULL, &world) == 0);
	apus_must(apus_sim_host_open(world, "server", &a_options, &a) == 0);
	apus_must(apus_sim_host_open(world, "client", &b_options, &b) == 0);
	apus_must(apus_sim_link(world, a, b,
				&(struct apus_sim_link_options){.wire.delay_ns = APUS_US}) == 0);
	for (size_t i = 0; i < n; i++)
		serving[i] = apus_sim_spawn(a, "server", servers[i], &job);

	struct apus_sim_task *asking = apus_sim_spawn(b, "client", client, &job);

	while (!apus_sim_task_done(asking))
		apus_must(apus_sim_advance(world, APUS_MS) == 0);
	apus_must(apus_sim_task_result(asking) == 0);
	apus_must(apus_sim_advance(world, 10 * APUS_MS) == 0); /* the last FINs */
	for (size_t i = 0; i < n; i++)
		apus_sim_task_cancel(serving[i]);
	apus_must(apus_sim_run(world, 60 * APUS_SEC) == 0);
	apus_must(apus_sim_world_close(world) == 0);
	return bench.elapsed_ns;
}

static int64_t tcp_connect_close(uint64_t n, int64_t parallel)
{
	static const apus_task_fn servers[] = {serve_ports};

	return in_world(servers, 1, open_and_close,
			(struct apus_bench_job){.n = n, .arg = parallel});
}

static int64_t tcp_request_response_among(uint64_t n, int64_t idle)
{
	static const apus_task_fn servers[] = {serve_idle, serve_busy};

	return in_world(servers, 2, ask_among_idle, (struct apus_bench_job){.n = n, .arg = idle});
}

const struct apus_bench apus_bench_connections[] = {
	{"tcp/connect_close/1", tcp_connect_close, 1, 100000, 5000},
	{"tcp/connect_close/64", tcp_connect_close, 64, 100000, 5000},
	{"tcp/request_response_among/0", tcp_request_response_among, 0, 200000, 10000},
	{"tcp/request_response_among/100000", tcp_request_response_among, 100000, 200000, 10000},
	{NULL, NULL, 0, 0, 0},
};
