/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/net.c: what the stack's operations cost, without a driver: two hosts of a simulated world,
 * client and server, on a short wire. The instructions of both count, and of the world's few.
 */
#include "apps/kv/server.h"
#include "bench/bench.h"
#include "net/http/server.h"
#include "net/link/eal.h"
#include "net/sim/world.h"
#include "net/socket/tcp.h"
#include "net/tcp/rcvq.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

#include <rte_ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- checksum */

static int64_t checksum(uint64_t n, int64_t bytes)
{
	static unsigned char data[2048];
	volatile uint16_t sink = 0;
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < n; i++) {
		data[i % (size_t)bytes]++;
		sink = (uint16_t)(sink + rte_raw_cksum(data, (size_t)bytes));
	}
	return apus_clock_host_ns() - begin_ns;
}

/* --------------------------------------------------------------------------------- the world */

struct job {
	uint64_t n;
	const char *first; /* sent before all, without an answer; may be NULL */
	const char *request;
	size_t first_bytes, request_bytes, response_bytes;
	int64_t elapsed_ns;
};

static const struct apus_endpoint any = {.port = 80};

void apus_bench_start_dpdk(void)
{
	static bool started;
	char why[APUS_EAL_WHY_BYTES];

	if (!started &&
	    apus_eal_open(&(struct apus_eal_options){.core = -1, .memory_bytes = 128 << 20}, why,
			  sizeof(why))) {
		fprintf(stderr, "bench: %s\n", why);
		exit(1);
	}
	started = true;
}

/* Runs @server on one host and @client, until it ends, on the other. */
static int64_t in_world(apus_task_fn server, apus_task_fn client, struct job *job)
{
	struct apus_sim_world *world;
	struct apus_sim_host *a, *b;

	apus_bench_start_dpdk();
	apus_must(apus_sim_world_open(1, NULL, &world) == 0);
	apus_must(apus_sim_host_open(world, "server",
				     &(struct apus_sim_host_options){.ip = "10.0.0.1/24"},
				     &a) == 0);
	apus_must(apus_sim_host_open(world, "client",
				     &(struct apus_sim_host_options){.ip = "10.0.0.2/24"},
				     &b) == 0);
	/* A microsecond long: else all would happen at one instant, which the world takes for a livelock. */
	apus_must(apus_sim_link(world, a, b,
				&(struct apus_sim_link_options){.wire.delay_ns = APUS_US}) == 0);

	struct apus_sim_task *serving = apus_sim_spawn(a, "server", server, job);
	struct apus_sim_task *asking = apus_sim_spawn(b, "client", client, job);

	while (!apus_sim_task_done(asking))
		apus_must(apus_sim_advance(world, APUS_MS) == 0);
	apus_must(apus_sim_task_result(asking) == 0);
	apus_sim_task_cancel(serving);
	apus_must(apus_sim_run(world, 60 * APUS_SEC) == 0);
	apus_must(apus_sim_world_close(world) == 0);
	return job->elapsed_ns;
}

static int64_t read_all(struct apus_tcp *c, char *buf, size_t bytes)
{
	for (size_t got = 0; got < bytes;) {
		int64_t n = apus_tcp_read(c, buf + got, bytes - got);

		if (n <= 0)
			return n;
		got += (size_t)n;
	}
	return (int64_t)bytes;
}

/* One request after the other on one connection; the first few are not counted: the handshake, ARP. */
static int64_t ask(void *arg)
{
	struct job *job = arg;
	struct apus_endpoint server = any;
	struct apus_tcp *c;
	static char buf[40000];
	int64_t begin_ns = 0;

	apus_must(apus_addr_parse("10.0.0.1", &server.addr) == 0);
	apus_must(apus_tcp_connect(server, &c) == 0);
	if (job->first)
		apus_must(apus_tcp_write(c, job->first, job->first_bytes) > 0);
	for (uint64_t i = 0; i < job->n + 16; i++) {
		if (i == 16)
			begin_ns = apus_clock_host_ns();
		apus_must(apus_tcp_write(c, job->request, job->request_bytes) > 0);
		if (!job->response_bytes) /* learnt from the first answer, which is one segment */
			job->response_bytes = (size_t)apus_tcp_read(c, buf, sizeof(buf));
		else
			apus_must(read_all(c, buf, job->response_bytes) > 0);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_tcp_close(c);
	return 0;
}

/* --------------------------------------------------------------------------------------- TCP */

static int64_t answer(void *arg)
{
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;
	char buf[2048];
	int64_t n;

	apus_must(apus_tcp_listen(any, 0, &listener) == 0);
	apus_must(apus_tcp_accept(listener, &c) == 0);
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		apus_must(apus_tcp_write(c, buf, (size_t)n) == n);
	apus_tcp_close(c);
	apus_tcp_listener_close(listener);
	return 0;
}

static int64_t tcp_request_response(uint64_t n, int64_t bytes)
{
	static const char request[2048];
	struct job job = {
		.n = n,
		.request = request,
		.request_bytes = (size_t)bytes,
		.response_bytes = (size_t)bytes,
	};

	return in_world(answer, ask, &job);
}

/* ------------------------------------------------------------------------------- reassembly */

#define WORST_SEGMENTS 10000

/*
 * A batch of WORST_SEGMENTS single bytes from the far end, each behind a gap, or, when `fills`, in two
 * passes of which the second one fills the gaps of the first. All are kept.
 */
static void ooo_batch(struct apus_rcvq *q, struct rte_mempool *mbufs, bool fills)
{
	for (uint32_t i = 0; i < WORST_SEGMENTS; i++) {
		uint32_t at = 2 * (WORST_SEGMENTS - i) + 1;
		struct rte_mbuf *m = rte_pktmbuf_alloc(mbufs);

		apus_must(m != NULL);
		*(uint8_t *)rte_pktmbuf_append(m, 1) = 0;
		if (fills)
			at = i < WORST_SEGMENTS / 2 ? at : at + WORST_SEGMENTS + 1;
		apus_must(apus_rcvq_input(q, m, (struct apus_ooo_text){at, 0, 1}, 0) == 0);
	}
	apus_rcvq_drop_ooo(q);
}

/* @n segments. */
static int64_t ooo_worst(uint64_t n, int64_t fills)
{
	struct rte_mempool *mbufs;
	struct apus_ooo_pool pool;
	struct apus_heap heap;
	struct apus_rcvq q;
	int64_t begin_ns;

	apus_bench_start_dpdk();
	mbufs = rte_pktmbuf_pool_create("ooo", 16383, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					SOCKET_ID_ANY);
	apus_must(mbufs && apus_heap_init(&heap) == 0);
	apus_ooo_pool_init(&pool, &heap, 2 * WORST_SEGMENTS, 1);
	apus_rcvq_init(&q, &pool, INT32_MAX);
	begin_ns = apus_clock_host_ns();
	for (uint64_t i = 0; i < n; i += WORST_SEGMENTS)
		ooo_batch(&q, mbufs, fills);
	begin_ns = apus_clock_host_ns() - begin_ns;
	apus_rcvq_fini(&q);
	apus_ooo_pool_fini(&pool);
	apus_heap_fini(&heap);
	rte_mempool_free(mbufs);
	return begin_ns;
}

/* -------------------------------------------------------------------------------------- HTTP */

static int64_t hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "Hello, World!\n", 14);
}

static int64_t serve_http(void *arg)
{
	struct apus_http_server *server;

	apus_must(apus_http_server_open(
			  &(struct apus_http_server_options){.local = any, .handler = hello},
			  &server) == 0);
	(void)!apus_http_server_wait(server);
	return apus_http_server_close(server, APUS_SEC);
}

static int64_t http_request_response(uint64_t n, int64_t arg)
{
	/* What wrk sends. */
	static const char request[] = "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
	struct job job = {.n = n, .request = request, .request_bytes = sizeof(request) - 1};

	return in_world(serve_http, ask, &job);
}

/* ---------------------------------------------------------------------------------------- kv */

static int64_t serve_kv(void *arg)
{
	struct kv_server *server;

	apus_must(kv_server_open(&(struct kv_server_options){.local = any}, &server) == 0);
	(void)!kv_server_wait(server);
	return kv_server_close(server, APUS_SEC);
}

/* One get of a value of that size; if it is 0, one set of 64 bytes. */
static int64_t kv_request_response(uint64_t n, int64_t bytes)
{
	static char value[32768], set[40000];
	int len;

	memset(value, 'v', sizeof(value));
	len = snprintf(set, sizeof(set), "set key:000000000001 0 0 %d%s\r\n%.*s\r\n",
		       bytes ? (int)bytes : 64, bytes ? " noreply" : "", bytes ? (int)bytes : 64,
		       value);

	struct job job = {.n = n, .request = set, .request_bytes = (size_t)len};

	if (bytes) {
		static const char get[] = "get key:000000000001\r\n";
		static char head[64];

		job.first = set;
		job.first_bytes = (size_t)len;
		job.request = get;
		job.request_bytes = sizeof(get) - 1;
		job.response_bytes =
			(size_t)snprintf(head, sizeof(head), "VALUE key:000000000001 0 %d\r\n",
					 (int)bytes) +
			(size_t)bytes + 7;
	}
	return in_world(serve_kv, ask, &job);
}

const struct apus_bench apus_bench_net[] = {
	{"checksum/1460", checksum, 1460, 10000000, 100000},
	{"tcp/request_response", tcp_request_response, 64, 200000, 10000},
	{"tcp/ooo_worst/gaps", ooo_worst, 0, 1000000, 10000},
	{"tcp/ooo_worst/fills", ooo_worst, 1, 1000000, 10000},
	{"http/request_response", http_request_response, 0, 200000, 10000},
	{"kv/get", kv_request_response, 64, 200000, 10000},
	{"kv/get/1024", kv_request_response, 1024, 200000, 10000},
	{"kv/get/4096", kv_request_response, 4096, 100000, 5000},
	{"kv/get/16384", kv_request_response, 16384, 50000, 2000},
	{"kv/get/32768", kv_request_response, 32768, 20000, 1000},
	{"kv/set", kv_request_response, 0, 200000, 10000},
	{NULL, NULL, 0, 0, 0},
};
