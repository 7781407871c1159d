/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/profile.c: a server at work, for callgrind to count: bench/profile.py makes tables of it.
 *
 *	profile                                    lists the workloads
 *	profile WORKLOAD REQUESTS [CONNECTIONS]    does it, under valgrind or not
 *
 * Server and client are each a shard with a stack of its own, in this one thread; between them is a
 * memif, the link of scripts/pair, with DPDK's driver at either end. They take turns, so that nothing
 * depends on time: a build has one count. Counting is on only while the server's shard has its turn,
 * its driver included, so what the client does costs nothing.
 *
 * In the workloads whose name begins with load- the client is apps/load, as it is but for its main()
 * and its progress, and its turns are counted in place of the server's.
 *
 * A workload goes on until its requests are answered; the farewell is the same for any number. The
 * clock is virtual, a microsecond each turn: what reading the real one costs (a dozen instructions a
 * turn) is missing. With CONNECTIONS of 1 each turn of the server is for one request; with 64 it is for
 * all of them, and what a turn costs is shared.
 */
#include "apps/kv/server.h"
#include "apps/load/load.h"
#include "bench/memif_pair.h"
#include "net/http/router.h"
#include "net/http/server.h"
#include "net/socket/server.h"
#include "net/socket/udp.h"
#include "runtime/base/clock.h"

#include <argp.h>

#if APUS_HAVE_VALGRIND
# include <valgrind/callgrind.h>
#else
# define CALLGRIND_TOGGLE_COLLECT
#endif

#define SERVER_IP       "10.7.0.1"
#define MBUFS           4096
#define CONNECTIONS     64
#define CONNECTIONS_MAX 4096
#define FAREWELL_TURNS  200
#define ANSWER_BYTES    16384

struct workload {
	const char *name;
	apus_task_fn serve;
	const char *before; /* sent first; its answer is not counted */
	const char *request;
	uint32_t depth;
	bool is_new; /* a connection for each request */
	bool is_udp;
	uint16_t port;
	const char *load;  /* what apps/load calls it; NULL: the client is one of those below */
	const char *flags; /* of apps/load, one more */
};

/* ---- the servers ---- */

static int64_t echo_connection(struct apus_tcp *c, void *arg)
{
	char buf[2048];
	int64_t n;

	while ((n = apus_server_idle(apus_server_connection_self())) == 0 &&
	       (n = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		apus_server_busy(apus_server_connection_self());
		n = apus_tcp_write(c, buf, (size_t)n);
		if (n < 0)
			break;
	}
	return n;
}

static int64_t serve_echo(void *arg)
{
	const struct apus_server_options options = {
		.local.port = 7,
		.handler = echo_connection,
		.backlog = CONNECTIONS_MAX,
	};
	struct apus_server *s;

	apus_must(apus_server_open(&options, &s) == 0);
	(void)!apus_server_wait(s);
	return apus_server_stop(s, APUS_SEC);
}

/* As apps/echo. */
static int64_t serve_datagrams(void *arg)
{
	struct apus_udp_view got[32];
	struct apus_udp *u;
	char buf[2048];
	int64_t n;

	apus_must(apus_udp_open((struct apus_endpoint){.port = 7}, NULL, &u) == 0);
	while ((n = apus_udp_recv_many(u, got, 32, buf, sizeof(buf))) >= 0)
		for (int64_t i = 0; i < n; i++)
			apus_must(apus_udp_send(u, got[i].bytes, got[i].len, &got[i].from) > 0);
	apus_udp_close(u);
	return n;
}

static int64_t hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	static const char text[] = "Hello, World!\n";

	return apus_http_respond(res, 200, "text/plain", text, sizeof(text) - 1);
}

/* As apps/httpd. */
static int64_t serve_http(void *arg)
{
	struct apus_http_server_options options = {
		.local.port = 80,
		.handler = apus_http_router_handle,
		.name = "apus",
		.backlog = CONNECTIONS_MAX,
	};
	struct apus_http_router *router;
	struct apus_http_server *s;

	apus_must(apus_http_router_create(&router) == 0);
	apus_must(apus_http_router_add(router, APUS_HTTP_GET, "/", hello, NULL) == 0);
	apus_must(apus_http_router_add(router, APUS_HTTP_GET, "/json", hello, NULL) == 0);
	options.arg = router;
	apus_must(apus_http_server_open(&options, &s) == 0);
	(void)!apus_http_server_wait(s);

	int64_t rc = apus_http_server_close(s, APUS_SEC);

	apus_http_router_destroy(router);
	return rc;
}

static int64_t serve_kv(void *arg)
{
	struct kv_server *s;

	apus_must(kv_server_open(
			  &(struct kv_server_options){
				  .local.port = 11211,
				  .backlog = CONNECTIONS_MAX,
			  },
			  &s) == 0);
	(void)!kv_server_wait(s);
	return kv_server_close(s, APUS_SEC);
}

#define GET   "GET / HTTP/1.1\r\nHost: 10.7.0.1\r\n\r\n" /* what wrk sends */
#define ECHO  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define VALUE ECHO

static const struct workload workloads[] = {
	{.name = "echo", .serve = serve_echo, .request = ECHO, .depth = 1, .port = 7},
	{.name = "udp-echo",
	 .serve = serve_datagrams,
	 .request = ECHO,
	 .depth = 1,
	 .is_udp = true,
	 .port = 7},
	{.name = "http", .serve = serve_http, .request = GET, .depth = 1, .port = 80},
	{.name = "http-pipelined", .serve = serve_http, .request = GET, .depth = 16, .port = 80},
	{.name = "http-connect",
	 .serve = serve_http,
	 .request = GET,
	 .depth = 1,
	 .is_new = true,
	 .port = 80},
	{.name = "kv-get",
	 .serve = serve_kv,
	 .before = "set key:000000000001 0 0 64\r\n" VALUE "\r\n",
	 .request = "get key:000000000001\r\n",
	 .depth = 1,
	 .port = 11211},
	{.name = "load-echo", .serve = serve_echo, .port = 7, .load = "echo"},
	{.name = "load-udp",
	 .serve = serve_datagrams,
	 .port = 7,
	 .load = "udp",
	 .flags = "--depth=32",
	 .is_udp = true},
	{.name = "load-http", .serve = serve_http, .port = 80, .load = "http"},
};

/* ---- the client ---- */

static struct {
	const struct workload *w;
	uint64_t left; /* requests that are not begun */
	uint32_t alive;
	size_t answer_bytes; /* learnt from the first answer, which is one segment */
	char *requests;      /* depth of them in a row */
	size_t request_bytes;
} job;

static int64_t read_all(struct apus_tcp *c, char *buf, size_t bytes)
{
	for (size_t got = 0; got < bytes;) {
		int64_t n = apus_tcp_read(c, buf, apus_min(bytes - got, (size_t)ANSWER_BYTES));

		if (n <= 0)
			return -1;
		got += (size_t)n;
	}
	return (int64_t)bytes;
}

static int connect_to_server(struct apus_tcp **out)
{
	struct apus_endpoint to = {.port = job.w->port};

	apus_must(!apus_addr_parse(SERVER_IP, &to.addr));
	return apus_tcp_connect(to, out);
}

static void ask(struct apus_tcp *c, char *buf, uint64_t count)
{
	size_t bytes = job.request_bytes * count;

	apus_must(apus_tcp_write(c, job.requests, bytes) == (int64_t)bytes);
	apus_must(read_all(c, buf, job.answer_bytes * count) > 0);
}

/* One connection, or a chain of them. Requests are counted before anybody waits. */
static int64_t converse(void *arg)
{
	static char buf[ANSWER_BYTES]; /* nobody looks at it */
	struct apus_tcp *c = NULL;

	while (job.left) {
		uint64_t count = apus_min(job.left, (uint64_t)job.w->depth);

		job.left -= count;
		if (!c)
			apus_must(!connect_to_server(&c));
		ask(c, buf, count);
		if (job.w->is_new) {
			apus_tcp_close(c);
			c = NULL;
		}
	}
	if (c)
		apus_tcp_close(c);
	job.alive--;
	return 0;
}

/* The same by datagrams; none is lost here. */
static int64_t exchange(void *arg)
{
	struct apus_endpoint any = {0}, to = {.port = job.w->port};
	char buf[2048];
	struct apus_udp *u;

	apus_must(!apus_addr_parse(SERVER_IP, &to.addr));
	apus_must(!apus_udp_open(any, &to, &u));
	while (job.left) {
		job.left--;
		apus_must(apus_udp_send(u, job.requests, job.request_bytes, NULL) > 0);
		apus_must(apus_udp_recv(u, buf, sizeof(buf), NULL) > 0);
	}
	apus_udp_close(u);
	job.alive--;
	return 0;
}

/* How long is an answer? */
static void ask_first(void)
{
	static char buf[ANSWER_BYTES];
	struct apus_tcp *c;

	apus_must(!connect_to_server(&c));
	if (job.w->before) {
		apus_must(apus_tcp_write(c, job.w->before, strlen(job.w->before)) > 0);
		apus_must(apus_tcp_read(c, buf, sizeof(buf)) > 0);
	}
	apus_must(apus_tcp_write(c, job.requests, job.request_bytes) > 0);

	int64_t n = apus_tcp_read(c, buf, sizeof(buf));

	apus_must(n > 0);
	job.answer_bytes = (size_t)n;
	apus_tcp_close(c);
}

/* All connections begin after one has had an answer, so the neighbour is known. */
static int64_t begin(void *arg)
{
	uint64_t left = job.left;

	if (job.w->is_udp) {
		job.left = 1;
		job.alive++;
		exchange(NULL);
		job.left = left;
	} else {
		ask_first();
	}
	for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
		apus_must(!apus_spawn_detached(NULL, job.w->is_udp ? exchange : converse, NULL, 0));
		job.alive++;
	}
	job.alive--;
	return 0;
}

/* ---- the client that is apps/load ---- */

static void command_load(const struct workload *w, uint32_t connections)
{
	char to[64], count[64];
	char *argv[] = {"load", (char *)w->load, to, count, (char *)w->flags, NULL};

	snprintf(to, sizeof(to), "--to=" SERVER_IP ":%u", w->port);
	snprintf(count, sizeof(count), "--connections=%u", connections);
	apus_must(!argp_parse(&load_argp, w->flags ? 5 : 4, argv, 0, NULL, NULL));
}

static bool load_has_answers(void)
{
	return load_stats.latency.count >= job.left;
}

/* What its main() does, without progress and report; counts until it is cancelled. */
static int64_t generate(void *arg)
{
	struct apus_tcp *c;

	if (job.w->is_udp) {
		apus_must(!load_reach_datagram(apus_now() + APUS_SEC));
	} else {
		apus_must(!load_open(&c));
		load_stats.open--;
		apus_tcp_abort(c);
	}
	apus_must(!load_shares_start());
	apus_must(!load_shares_count());
	(void)!apus_sleep_until(APUS_NEVER);
	apus_must(!load_shares_stop());
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		apus_must(!load_stats.errors[i]);
	job.alive--;
	return 0;
}

/* ---- the two ends ---- */

/* Not a part of its caller: bench/profile.py tells samples by it. */
static APUS_NOINLINE void counted_turn(struct memif_end *end)
{
	apus_shard_enter(end->shard);
	CALLGRIND_TOGGLE_COLLECT;
	apus_shard_turn(end->shard);
	CALLGRIND_TOGGLE_COLLECT;
}

static APUS_NOINLINE void other_turn(struct memif_end *end)
{
	apus_shard_enter(end->shard);
	apus_shard_turn(end->shard);
}

static void turns(struct memif_end *server, struct memif_end *client, struct apus_clock *clock)
{
	if (job.w->load) {
		counted_turn(client);
		other_turn(server);
	} else {
		other_turn(client);
		counted_turn(server);
	}
	apus_clock_set(clock, apus_clock_read(clock) + APUS_US);
}

static void run(struct memif_end *server, struct memif_end *client, struct apus_clock *clock,
		uint32_t count)
{
	apus_shard_enter(server->shard);

	struct apus_task *serving = apus_spawn(job.w->serve, NULL), *asking;

	apus_must(serving != NULL);
	apus_shard_enter(client->shard);
	job.alive = 1;
	asking = apus_spawn(job.w->load ? generate : begin, &count);
	apus_must(asking != NULL);
	while (job.w->load && !load_has_answers())
		turns(server, client, clock);
	apus_shard_enter(client->shard);
	if (job.w->load)
		apus_task_cancel(asking);
	for (int farewell = 0; farewell < FAREWELL_TURNS; farewell += !job.alive)
		turns(server, client, clock);
	apus_shard_enter(client->shard);
	apus_detach(asking);
	apus_shard_enter(server->shard);
	apus_task_cancel(serving);
	while (apus_shard_tasks(server->shard))
		apus_shard_turn(server->shard);
	apus_detach(serving);
}

static void prepare(const struct workload *w, uint64_t requests, uint32_t connections)
{
	job.w = w;
	job.left = requests;
	if (w->load) {
		command_load(w, connections);
		return;
	}
	job.request_bytes = strlen(w->request);
	job.requests = malloc(job.request_bytes * w->depth);
	apus_must(job.requests);
	for (uint32_t i = 0; i < w->depth; i++)
		memcpy(job.requests + i * job.request_bytes, w->request, job.request_bytes);
}

static void profile(const struct workload *w, uint64_t requests, uint32_t connections)
{
	struct memif_pair pair = {.server.ip = SERVER_IP, .client.ip = "10.7.0.2"};
	struct apus_clock clock;
	const struct memif_options options = {
		.shard = {.core = -1, .clock = &clock, .seed = 1},
		.server.prefix_bits = 24,
		.client.prefix_bits = 24,
		.mbufs = MBUFS,
	};

	apus_clock_init_virtual(&clock, APUS_SEC);
	memif_pair_open(&pair, &options);
	prepare(w, requests, connections);
	run(&pair.server, &pair.client, &clock, connections);
	memif_pair_close(&pair);
	free(job.requests);
}

int main(int argc, char **argv)
{
	uint64_t connections = argc > 3 ? strtoull(argv[3], NULL, 10) : CONNECTIONS;

	if (argc < 3) {
		for (size_t i = 0; i < apus_countof(workloads); i++)
			printf("%s\n", workloads[i].name);
		return 0;
	}
	if (connections < 1 || connections > CONNECTIONS_MAX)
		refuse("between 1 and 4096 connections");
	for (size_t i = 0; i < apus_countof(workloads); i++) {
		if (strcmp(workloads[i].name, argv[1]))
			continue;
		profile(&workloads[i], strtoull(argv[2], NULL, 10), (uint32_t)connections);
		return 0;
	}
	refuse("no such workload; without arguments all are listed");
}
