/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/stack.c: what the stack alone costs: two of them, each on a shard of its own in this thread,
 * joined by a link that passes pointers: no world, no wire, no driver. The loop, the tasks and the
 * sockets of both ends count. With `offload` the link says that it makes and checks checksums; with
 * `32` so many connections ask at once, with `100000` as many more are open, and with `lost` each of
 * them has lost an answer before.
 */
#include "net/stack.h"
#include "bench/bench.h"
#include "bench/pipe.h"
#include "net/link/pool.h"
#include "net/socket/tcp.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/group.h"

#define PORT        80
#define IDLE_PORTS  8  /* behind it; each has 28232 four-tuples */
#define UNTIMED     16 /* requests: the handshake, ARP */
#define OFFLOAD     1  /* a bit of a benchmark's argument */
#define LOST        2  /* another one */
#define BUSY        APUS_LINK_BURST_MAX
#define BATCH_BYTES 64

/* ---- two stacks ---- */

struct side {
	struct pipe_end end;
	struct apus_shard *shard;
	struct apus_stack *stack;
};

static struct side sides[2];

static void open_side(struct side *s, struct side *peer, struct apus_clock *clock, bool offload,
		      uint32_t connections_max)
{
	static struct rte_mempool *pool;
	const struct apus_shard_options as = {.core = -1, .clock = clock, .seed = 1};
	struct apus_stack_options o = {.prefix_bits = 24, .connections_max = connections_max};

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

/*
 * BUSY connections ask all at once, so that a turn serves a batch, or one asks alone; beside them
 * are as many idle ones as is wanted. The task that opens them waits for the busy ones.
 */
struct job {
	uint64_t n;     /* requests of each that is busy */
	uint32_t busy;  /* connections */
	uint32_t idle;  /* connections */
	uint32_t begun; /* of the busy ones */
	size_t bytes;
	bool loses; /* an answer of each, before the clock runs */
	bool is_over;
	int64_t begin_ns, elapsed_ns;
};

static struct apus_endpoint server(uint32_t port)
{
	struct apus_endpoint to = {.port = (uint16_t)port};

	apus_must(!apus_addr_parse("10.0.0.1", &to.addr));
	return to;
}

static int64_t answer(void *arg)
{
	struct apus_tcp *c = *(struct apus_tcp **)arg;
	char buf[2048];
	int64_t n;

	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		apus_must(apus_tcp_write(c, buf, (size_t)n) == n);
	apus_tcp_close(c);
	return 0;
}

/* Serves the busy ones, at PORT, and lets the others, at the ports behind it, be there. */
static int64_t serve(void *arg)
{
	struct job *job = *(struct job **)arg;
	struct apus_tcp_listener *listeners[1 + IDLE_PORTS];
	struct apus_tcp *c;

	for (uint32_t i = 0; i <= IDLE_PORTS; i++)
		apus_must(!apus_tcp_listen((struct apus_endpoint){.port = (uint16_t)(PORT + i)}, 0,
					   &listeners[i]));
	for (uint32_t i = 0; i < job->idle; i++)
		apus_must(!apus_tcp_accept(listeners[1 + i % IDLE_PORTS], &c));
	for (uint32_t i = 0; i < job->busy; i++) {
		apus_must(!apus_tcp_accept(listeners[0], &c));
		apus_must(!apus_spawn_detached(NULL, answer, &c, sizeof(c)));
	}
	for (uint32_t i = 0; i <= IDLE_PORTS; i++)
		apus_tcp_listener_close(listeners[i]);
	return 0;
}

static int64_t ask(void *arg)
{
	struct job *job = *(struct job **)arg;
	char buf[2048] = {0};
	struct apus_tcp *c;

	apus_must(!apus_tcp_connect(server(PORT), &c));
	job->begun++;
	while (job->begun < job->busy)
		apus_must(!apus_yield());
	for (uint64_t i = 0; i < job->n + UNTIMED; i++) {
		if (i == UNTIMED / 2 && job->loses) {
			sides[1].end.lose = (uint16_t)job->busy;
			job->loses = false;
		}
		if (i == UNTIMED && !job->begin_ns)
			job->begin_ns = apus_clock_host_ns();
		apus_must(apus_tcp_write(c, buf, job->bytes) == (int64_t)job->bytes);
		apus_must(apus_tcp_read(c, buf, sizeof(buf)) == (int64_t)job->bytes);
	}
	job->elapsed_ns = apus_clock_host_ns() - job->begin_ns;
	apus_tcp_close(c);
	return 0;
}

static int64_t ask_all(void *arg)
{
	struct job *job = *(struct job **)arg;
	struct apus_group group;
	struct apus_tcp *c;

	for (uint32_t i = 0; i < job->idle; i++)
		apus_must(!apus_tcp_connect(server(PORT + 1 + i % IDLE_PORTS), &c));
	apus_group_begin(&group, APUS_GROUP_FAIL_FAST);
	for (uint32_t i = 0; i < job->busy; i++)
		apus_must(!apus_group_spawn(&group, NULL, ask, &job, sizeof(job)));
	apus_must(!apus_group_end(&group, 0));
	job->is_over = true;
	return 0;
}

static void run_job(struct job *job, bool offload)
{
	struct apus_clock clock;

	apus_bench_start_dpdk();
	apus_clock_init_virtual(&clock, APUS_SEC);
	for (int i = 0; i < 2; i++)
		open_side(&sides[i], &sides[1 - i], &clock, offload, 2 * job->idle + 1024);
	apus_shard_enter(sides[0].shard);
	apus_must(!apus_spawn_detached(NULL, serve, &job, sizeof(job)));
	apus_shard_enter(sides[1].shard);
	apus_must(!apus_spawn_detached(NULL, ask_all, &job, sizeof(job)));
	/* Until it is over, and then for the farewell. */
	for (int farewell = 0; farewell < 100; farewell += job->is_over) {
		turn(&sides[1]);
		turn(&sides[0]);
		apus_clock_set(&clock, apus_clock_read(&clock) + APUS_US);
	}
	for (int i = 0; i < 2; i++)
		close_side(&sides[i]);
}

static int64_t request_response(uint64_t n, int64_t arg)
{
	struct job job = {.n = n, .busy = 1, .bytes = (size_t)(arg & ~OFFLOAD)};

	run_job(&job, arg & OFFLOAD);
	return job.elapsed_ns;
}

/* @arg: idle connections, beside BUSY that ask for BATCH_BYTES at once; an operation is a request. */
static int64_t batches(uint64_t n, int64_t arg)
{
	struct job job = {.n = (n + BUSY - 1) / BUSY,
			  .busy = BUSY,
			  .idle = (uint32_t)(arg & ~(OFFLOAD | LOST)),
			  .loses = arg & LOST,
			  .bytes = BATCH_BYTES};

	run_job(&job, arg & OFFLOAD);
	return job.elapsed_ns;
}

const struct apus_bench apus_bench_stack[] = {
	{"stack/request_response", request_response, 64, 200000, 10000},
	{"stack/request_response/offload", request_response, 64 | OFFLOAD, 200000, 10000},
	{"stack/request_response/32", batches, 0, 200000, 10240},
	{"stack/request_response/32/offload", batches, OFFLOAD, 200000, 10240},
	{"stack/request_response/32/lost", batches, LOST, 200000, 10240},
	{"stack/request_response/100000", batches, 100000, 200000, 10240},
	{NULL, NULL, 0, 0, 0},
};
