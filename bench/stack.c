/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/stack.c: what the stack alone costs: two of them, each on a shard of its own in this thread,
 * joined by a link that passes pointers: no world, no wire, no driver. The loop, the tasks and the
 * sockets of both ends count. With `offload` the link says that it makes and checks checksums.
 */
#include "net/stack.h"
#include "bench/bench.h"
#include "bench/pipe.h"
#include "net/link/pool.h"
#include "net/socket/tcp.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/sched/shard.h"

#define PORT    80
#define UNTIMED 16 /* requests: the handshake, ARP */
#define OFFLOAD 1  /* beside the bytes of a request, in a benchmark's argument */

/* ---- two stacks ---- */

struct side {
	struct pipe_end end;
	struct apus_shard *shard;
	struct apus_stack *stack;
};

static struct side sides[2];

static void open_side(struct side *s, struct side *peer, struct apus_clock *clock, bool offload)
{
	static struct rte_mempool *pool;
	const struct apus_shard_options as = {.core = -1, .clock = clock, .seed = 1};
	struct apus_stack_options o = {.prefix_bits = 24};

	if (!pool)
		pool = apus_pool_create("pipe", 8191, APUS_POOL_CACHE, RTE_MBUF_DEFAULT_BUF_SIZE,
					SOCKET_ID_ANY);
	apus_must(pool);
	apus_must(!apus_addr_parse(s == sides ? "10.0.0.1" : "10.0.0.2", &o.addr));
	apus_must(!apus_shard_open(&as, &s->shard));
	apus_shard_enter(s->shard);
	pipe_init(&s->end, &peer->end, (unsigned int)(s - sides), pool, offload);
	apus_must(!apus_stack_open(s->shard, &s->end.link, &o, &s->stack));
}

static void close_side(struct side *s)
{
	apus_shard_enter(s->shard);
	apus_stack_close(s->stack);
	apus_shard_close(s->shard);
	apus_shard_enter(NULL);
}

static void turn(struct side *s)
{
	apus_shard_enter(s->shard);
	apus_shard_turn(s->shard);
}

/* ---- request and response ---- */

struct job {
	uint64_t n;
	size_t bytes;
	bool is_over;
	int64_t elapsed_ns;
};

static int64_t answer(void *arg)
{
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;
	char buf[2048];
	int64_t n;

	apus_must(!apus_tcp_listen((struct apus_endpoint){.port = PORT}, 0, &listener));
	apus_must(!apus_tcp_accept(listener, &c));
	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		apus_must(apus_tcp_write(c, buf, (size_t)n) == n);
	apus_tcp_close(c);
	apus_tcp_listener_close(listener);
	return 0;
}

static int64_t ask(void *arg)
{
	struct apus_endpoint server = {.port = PORT};
	struct job *job = arg;
	char buf[2048] = {0};
	struct apus_tcp *c;
	int64_t begin_ns = 0;

	apus_must(!apus_addr_parse("10.0.0.1", &server.addr));
	apus_must(!apus_tcp_connect(server, &c));
	for (uint64_t i = 0; i < job->n + UNTIMED; i++) {
		if (i == UNTIMED)
			begin_ns = apus_clock_host_ns();
		apus_must(apus_tcp_write(c, buf, job->bytes) == (int64_t)job->bytes);
		apus_must(apus_tcp_read(c, buf, sizeof(buf)) == (int64_t)job->bytes);
	}
	job->elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_tcp_close(c);
	job->is_over = true;
	return 0;
}

static int64_t request_response(uint64_t n, int64_t arg)
{
	struct job job = {.n = n, .bytes = (size_t)(arg & ~OFFLOAD)};
	struct apus_clock clock;

	apus_bench_start_dpdk();
	apus_clock_init_virtual(&clock, APUS_SEC);
	for (int i = 0; i < 2; i++)
		open_side(&sides[i], &sides[1 - i], &clock, arg & OFFLOAD);
	apus_shard_enter(sides[0].shard);
	apus_must(!apus_spawn_detached(NULL, answer, NULL, 0));
	apus_shard_enter(sides[1].shard);
	apus_must(!apus_spawn_detached(NULL, ask, &job, 0));
	/* Until it is over, and then for the farewell. */
	for (int farewell = 0; farewell < 100; farewell += job.is_over) {
		turn(&sides[1]);
		turn(&sides[0]);
		apus_clock_set(&clock, apus_clock_read(&clock) + APUS_US);
	}
	for (int i = 0; i < 2; i++)
		close_side(&sides[i]);
	return job.elapsed_ns;
}

const struct apus_bench apus_bench_stack[] = {
	{"stack/request_response", request_response, 64, 200000, 10000},
	{"stack/request_response/offload", request_response, 64 | OFFLOAD, 200000, 10000},
	{NULL, NULL, 0, 0, 0},
};
