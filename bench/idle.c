/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/idle.c: how much memory connections take that are open and idle.
 *
 *	idle [COUNT]		opens so many (1,000,000) between two hosts of a simulated world
 *	idle [COUNT] http	the same to an HTTP server, which has answered one request on each;
 *				and how long one more's requests take, before and after
 *
 * Prints, for each end by itself, the resident bytes of its heap, which holds all that a stack
 * allocates: connections, tables, timers. The process's resident set, in which mbufs, tasks' stacks
 * and the world are, too, is printed beside it, so that nothing hides elsewhere. With http it is
 * looked at twice: at its highest, when connections that were opened in the last second have tasks, and when
 * stacks were given back; then all that is not the client's heap counts as the server's.
 *
 * Fails when an end takes more than 700 bytes for each; with http, when the server takes more than 1024,
 * or has tasks left for them.
 */
#include "net/http/server.h"
#include "net/link/eal.h"
#include "net/sim/world.h"
#include "net/socket/tcp.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/histogram.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/group.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT_DEFAULT 1000000
#define PORT          80
#define ADDRESSES     48 /* of the client: 28232 connections each */
#define OPENERS       256
#define REQUESTS      20000 /* whose time is taken */
#define MEGABYTE      1e6
#define BYTES_MAX     700             /* of an end, per connection */
#define HTTP_MAX      1024            /* of the server, with all that it shares with the world */
#define HTTP_REST     (60 * APUS_SEC) /* until its stacks are given back; less than its idle limit */
#define HTTP_TASKS    8               /* of its own */

static struct {
	uint64_t count, opened, accepted;
	struct apus_tcp **client, **server;
	bool http;
	struct apus_histogram request; /* what one takes, of the host's time */
} job;

static struct apus_endpoint server_name(void)
{
	struct apus_endpoint to = {.port = PORT};

	apus_must(apus_addr_parse("10.0.0.1", &to.addr) == 0);
	return to;
}

static int64_t serve(void *arg)
{
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;

	apus_must(apus_tcp_listen((struct apus_endpoint){.port = PORT}, 0, &listener) == 0);
	while (apus_tcp_accept(listener, &c) == 0)
		job.server[job.accepted++] = c;
	apus_tcp_listener_close(listener);
	return 0;
}

static int64_t hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "Hello, World!\n", 14);
}

static int64_t serve_http(void *arg)
{
	const struct apus_http_server_options options = {
		.local = {.port = PORT},
		.handler = hello,
		.connections_max = (uint32_t)job.count + 2,
	};
	struct apus_http_server *server;

	apus_must(apus_http_server_open(&options, &server) == 0);
	(void)!apus_http_server_wait(server);
	return apus_http_server_close(server, APUS_SEC);
}

/* One request; the answer is one segment. */
static void ask(struct apus_tcp *c)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
	char answer[512];

	apus_must(apus_tcp_write(c, request, sizeof(request) - 1) > 0);
	apus_must(apus_tcp_read(c, answer, sizeof(answer)) > 0);
}

/* At most 256,000 a second: what a connection needs until it is idle is not needed by all at once. */
static int64_t open_some(void *arg)
{
	int64_t rc = 0;

	while (!rc && job.opened < job.count) {
		uint64_t i = job.opened++;

		apus_must(apus_tcp_connect(server_name(), &job.client[i]) == 0);
		if (job.http)
			ask(job.client[i]);
		rc = apus_sleep(APUS_MS);
	}
	return rc;
}

static int64_t open_all(void *arg)
{
	struct apus_group g;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; i < OPENERS; i++)
		apus_must(apus_group_spawn(&g, NULL, open_some, NULL, 0) == 0);

	int64_t rc = apus_group_end(&g, 0);

	apus_group_fini(&g);
	return rc;
}

/* Both ends and the world run in this thread: all that a request takes is between two readings. */
static int64_t time_requests(void *arg)
{
	struct apus_tcp *c;

	apus_must(apus_tcp_connect(server_name(), &c) == 0);
	apus_histogram_init(&job.request);
	for (int i = 0; i < REQUESTS; i++) {
		int64_t begin_ns = apus_clock_host_ns();

		ask(c);
		apus_histogram_record(&job.request, apus_clock_host_ns() - begin_ns);
	}
	apus_tcp_abort(c);
	return 0;
}

/* Lets @fn run on @host to its end. */
static void finish(struct apus_sim_world *world, struct apus_sim_host *host, apus_task_fn fn)
{
	struct apus_sim_task *task = apus_sim_spawn(host, "client", fn, NULL);

	while (!apus_sim_task_done(task))
		apus_must(apus_sim_advance(world, 10 * APUS_MS) == 0);
	apus_must(apus_sim_task_result(task) == 0);
}

static void time_active(struct apus_sim_world *world, struct apus_sim_host *client, uint64_t idle)
{
	if (!job.http)
		return;
	finish(world, client, time_requests); /* to fill caches */
	finish(world, client, time_requests);
	printf("request  beside %7llu idle: p50 %llu, p99 %llu, p99.9 %llu ns\n",
	       (unsigned long long)idle,
	       (unsigned long long)apus_histogram_percentile(&job.request, 50),
	       (unsigned long long)apus_histogram_percentile(&job.request, 99),
	       (unsigned long long)apus_histogram_percentile(&job.request, 99.9));
}

/* ---------------------------------------------------------------------------------- what it took */

static size_t process_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	apus_must(f && fscanf(f, "%*u %lu", &pages) == 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t heap_bytes(const struct apus_sim_host *host)
{
	const struct apus_heap *heap = apus_shard_heap(apus_sim_host_shard(host));
	uint64_t epoch = 1;
	size_t resident = 0, size = sizeof(resident);
	char name[64];

	apus_must(mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) == 0);
	snprintf(name, sizeof(name), "stats.arenas.%u.resident", heap->arena);
	apus_must(mallctl(name, &resident, &size, NULL, 0) == 0);
	return resident;
}

static size_t process_bytes_most(void)
{
	struct rusage usage;

	apus_must(getrusage(RUSAGE_SELF, &usage) == 0);
	return (size_t)usage.ru_maxrss * 1024;
}

static double print_end(const char *name, size_t before, size_t after)
{
	double each = (double)(after - before) / (double)job.count;

	printf("%-8s %8.1f MB resident, %6.1f bytes per connection\n", name,
	       (double)(after - before) / MEGABYTE, each);
	return each;
}

/* Return: was it as little as it is to be? */
static bool run(void)
{
	struct apus_sim_host_options a_options = {.ip = "10.0.0.1/24"};
	struct apus_sim_host_options b_options = {.ip = "10.0.0.2/24", .more_addrs = ADDRESSES - 1};
	struct apus_sim_link_options link = {.wire.delay_ns = APUS_US};
	struct apus_sim_world *world;
	struct apus_sim_host *a, *b;

	a_options.connections_max = b_options.connections_max = (uint32_t)job.count + 2;
	apus_must(apus_sim_world_open(1, NULL, &world) == 0);
	apus_must(apus_sim_host_open(world, "server", &a_options, &a) == 0);
	apus_must(apus_sim_host_open(world, "client", &b_options, &b) == 0);
	apus_must(apus_sim_link(world, a, b, &link) == 0);

	struct apus_sim_task *serving =
		apus_sim_spawn(a, "server", job.http ? serve_http : serve, NULL);

	apus_must(apus_sim_advance(world, APUS_MS) == 0);
	time_active(world, b, 0);

	size_t all = process_bytes(), server = heap_bytes(a), client = heap_bytes(b);
	int64_t begin_ns = apus_clock_host_ns();

	finish(world, b, open_all);
	apus_must(apus_sim_advance(world, APUS_SEC) == 0); /* delayed ACKs, idle timers */
	apus_must(job.http || job.accepted == job.count);
	apus_must(apus_sim_host_connections(a) == job.count);
	apus_must(apus_sim_host_connections(b) == job.count);
	printf("%llu connections in %.2f s\n", (unsigned long long)job.count,
	       (double)(apus_clock_host_ns() - begin_ns) / APUS_SEC);

	bool is_good;

	if (job.http) {
		print_end("highest", all, process_bytes_most());
		apus_must(apus_sim_advance(world, HTTP_REST) == 0);
	}

	double at_server = print_end("server", server, heap_bytes(a));
	double at_client = print_end("client", client, heap_bytes(b));
	double of_both = print_end("process", all, process_bytes());

	if (job.http) {
		size_t tasks = apus_shard_tasks(apus_sim_host_shard(a));

		printf("all of the server's: %.1f bytes per connection, %zu tasks\n",
		       of_both - at_client, tasks);
		is_good = of_both - at_client <= HTTP_MAX && tasks <= HTTP_TASKS;
	} else {
		is_good = apus_max(at_server, at_client) <= BYTES_MAX;
	}
	time_active(world, b, job.count);

	apus_shard_enter(apus_sim_host_shard(a));
	for (uint64_t i = 0; i < job.accepted; i++)
		apus_tcp_abort(job.server[i]);
	apus_shard_enter(apus_sim_host_shard(b));
	for (uint64_t i = 0; i < job.count; i++)
		apus_tcp_abort(job.client[i]);
	apus_shard_enter(NULL);
	apus_sim_task_cancel(serving);
	apus_must(apus_sim_run(world, 60 * APUS_SEC) == 0);
	apus_must(apus_sim_world_close(world) == 0);
	return is_good;
}

int main(int argc, char **argv)
{
	char why[APUS_EAL_WHY_BYTES];

	job.count = argc > 1 ? strtoull(argv[1], NULL, 10) : COUNT_DEFAULT;
	job.http = argc > 2 && !strcmp(argv[2], "http");
	if (!job.count || job.count > ADDRESSES * 28232) {
		fprintf(stderr, "idle: between 1 and %d connections\n", ADDRESSES * 28232);
		return 1;
	}
	if (apus_eal_open(&(struct apus_eal_options){.core = -1, .memory_bytes = 128 << 20}, why,
			  sizeof(why))) {
		fprintf(stderr, "idle: %s\n", why);
		return 1;
	}
	job.client = calloc(job.count, sizeof(struct apus_tcp *));
	job.server = calloc(job.count, sizeof(struct apus_tcp *));
	apus_must(job.client && job.server);
	memset(job.client, 0xff,
	       job.count * sizeof(struct apus_tcp *)); /* resident from the start */
	memset(job.server, 0xff, job.count * sizeof(struct apus_tcp *));

	bool is_good = run();

	free(job.client);
	free(job.server);
	return !is_good;
}
