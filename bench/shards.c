/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/shards.c: what a second shard brings: services on one core and on two, each core with a load of
 * its own.
 *
 *	shards                     lists the names and how many requests of each shard to ask for
 *	shards NAME CPUS COUNT     a shard on each of CPUS (0,1); prints nanoseconds per request, of all
 *	                           shards together: half as many on two as on one would be perfect
 *	shards NAME SHARDSx COUNT  so many shards by turns in this thread, for callgrind: 2x
 *
 * On each core two shards of the runtime turn by turns: the server, with a stack, and what asks it, with
 * a stack of its own at the other end of a pipe (bench/pipe.h), over CONNECTIONS connections, each with
 * one request on its way. So cores share what the service shares by design, and nothing else: what
 * keeps two from doing twice as much is the machine's, or ours. The servers are joined by a fabric.
 *
 *	http      GET of a few bytes
 *	kv/local  nine gets and a set of 64 bytes, of keys that belong to the shard that is asked
 *	kv/any    of any keys: of two shards half of the commands are calls to the other one
 *
 * Threads that spin starve each other under valgrind, which lets one run at a time and has no turns by
 * default: kv/any on 0,1, where each waits for the other, takes --fair-sched=yes.
 */
#include "apps/kv/internal.h"
#include "net/http/server.h"
#include "net/link/eal.h"
#include "net/link/pool.h"
#include "net/socket/tcp.h"
#include "net/stack.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/event.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PIPE_FRAMES 1024
#include "bench/pipe.h"

#define CORES_MAX   8
#define CONNECTIONS 32
#define UNTIMED     64 /* requests of each connection */
#define PORT        80
#define KEYS        1024 /* of each core */
#define KEY_BYTES   12   /* "key:00000001" */
#define VALUE_BYTES 64
#define APART       128 /* bytes: what two cores write lies so far apart */

struct core;

struct kind {
	const char *name;
	uint64_t count;
	bool only_first; /* one task serves on all shards */
	int64_t (*serve)(void *core);
	void (*prepare)(struct core *c); /* what is asked; the servers are open */
	void (*ask)(struct core *c, struct apus_tcp *tcp);
	bool local; /* keys */
};

enum phase {
	PHASE_OPEN,    /* servers open */
	PHASE_CONNECT, /* and clients connect, and ask what is not timed */
	PHASE_READY,
	PHASE_ASK, /* timed */
	PHASE_ASKED,
	PHASE_STOP, /* clients close, servers stop */
	PHASE_EMPTY,
};

/* What the threads tell each other: each is the number of cores that are so far. */
static struct {
	atomic_uint listening, ready, asked, empty;
	const struct kind *kind;
	struct core *cores[CORES_MAX];
	unsigned int count;
	struct apus_cross *cross;
	struct apus_clock clock; /* by turns: one for all, so that every run counts the same */
	bool by_turns;
	struct kv_server *kv; /* valid once `listening` */
} all;

struct core {
	struct pipe_end server_end, client_end;
	struct apus_shard *server, *client;
	struct apus_stack *server_stack, *client_stack;
	struct rte_mempool *pool;
	struct apus_task *serving;
	struct apus_event go, bye;
	unsigned int index;
	int cpu;
	enum phase phase;
	uint64_t left; /* timed requests that are to be begun */
	unsigned int connected, asking;
	int64_t begin_ns, end_ns;
	pthread_t thread;
	size_t response_bytes; /* of http: learnt from the first */
	char keys[KEYS][KEY_BYTES + 1];
};

/* --- Asking -------------------------------------------------------------------------------- */

static void exchange(struct apus_tcp *tcp, const char *request, size_t bytes, char *response,
		     size_t response_bytes)
{
	apus_must(apus_tcp_write(tcp, request, bytes) == (int64_t)bytes);
	for (size_t got = 0; got < response_bytes;) {
		int64_t n = apus_tcp_read(tcp, response + got, response_bytes - got);

		apus_must(n > 0);
		got += (size_t)n;
	}
}

static int64_t ask_repeatedly(void *arg)
{
	struct core *c = arg;
	struct apus_endpoint server = {.port = PORT};
	struct apus_tcp *tcp;

	apus_must(!apus_addr_parse("10.0.0.1", &server.addr));
	apus_must(!apus_tcp_connect(server, &tcp));
	for (unsigned int i = 0; i < UNTIMED; i++)
		all.kind->ask(c, tcp);
	c->connected++;
	apus_must(!apus_event_wait(&c->go));
	while (c->left) {
		c->left--;
		all.kind->ask(c, tcp);
	}
	c->asking--;
	apus_must(!apus_event_wait(&c->bye));
	apus_tcp_close(tcp);
	return 0;
}

/* --- http ---------------------------------------------------------------------------------- */

static int64_t hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "Hello, World!\n", 14);
}

static int64_t serve_http(void *arg)
{
	const struct apus_http_server_options o = {.local.port = PORT, .handler = hello};
	struct apus_http_server *server;

	apus_must(!apus_http_server_open(&o, &server));
	atomic_fetch_add(&all.listening, 1);
	(void)!apus_http_server_wait(server);
	return apus_http_server_close(server, APUS_SEC);
}

static void prepare_http(struct core *c)
{
}

static void ask_http(struct core *c, struct apus_tcp *tcp)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
	char response[1024];

	if (c->response_bytes) {
		exchange(tcp, request, sizeof(request) - 1, response, c->response_bytes);
		return;
	}
	exchange(tcp, request, sizeof(request) - 1, response, 0);

	int64_t n = apus_tcp_read(tcp, response, sizeof(response));

	apus_must(n > 0 && !memcmp(response + n - 14, "Hello, World!\n", 14));
	c->response_bytes = (size_t)n;
}

/* --- kv ------------------------------------------------------------------------------------ */

static int64_t serve_kv(void *arg)
{
	apus_must(!kv_server_open(&(struct kv_server_options){.local.port = PORT}, &all.kv));
	atomic_fetch_add(&all.listening, all.count);
	(void)!kv_server_wait(all.kv);
	return kv_server_close(all.kv, APUS_SEC);
}

static void prepare_kv(struct core *c)
{
	unsigned int number = 0;

	for (unsigned int i = 0; i < KEYS; number++) {
		struct kv_text text = {c->keys[i], KEY_BYTES};
		struct kv_key key;

		snprintf(c->keys[i], sizeof(c->keys[i]), "key:%02u%06u", c->index % 100,
			 number % 1000000);
		key = kv_store_key(kv_server_store(all.kv), text);
		i += !all.kind->local || kv_owner(all.kv, &key) == c->index;
	}
}

static void set(struct core *c, struct apus_tcp *tcp, const char *key)
{
	char request[128], response[16];
	size_t n = (size_t)snprintf(request, sizeof(request), "set %s 0 0 %d\r\n%0*d\r\n", key,
				    VALUE_BYTES, VALUE_BYTES, 0);

	exchange(tcp, request, n, response, sizeof("STORED\r\n") - 1);
	apus_must(response[0] == 'S');
}

static void get(struct core *c, struct apus_tcp *tcp, const char *key)
{
	static const char verb[4] = "get ";
	char request[sizeof(verb) + KEY_BYTES + 2 + 1], response[256];

	memcpy(request, verb, sizeof(verb));
	memcpy(request + sizeof(verb), key, KEY_BYTES);
	memcpy(request + sizeof(verb) + KEY_BYTES, "\r\n", 3);
	exchange(tcp, request, sizeof(request) - 1, response,
		 sizeof("VALUE  0 64\r\n\r\nEND\r\n") - 1 + KEY_BYTES + VALUE_BYTES);
	apus_must(response[0] == 'V' && !memcmp(response + 6, key, KEY_BYTES));
}

static void ask_kv(struct core *c, struct apus_tcp *tcp)
{
	struct apus_random *random = apus_shard_random(c->client);
	const char *key = c->keys[apus_random_below(random, KEYS)];

	if (c->connected < CONNECTIONS && c->response_bytes < KEYS) /* all are there at first */
		set(c, tcp, c->keys[c->response_bytes++]);
	else if (apus_random_below(random, 10) == 0)
		set(c, tcp, key);
	else
		get(c, tcp, key);
}

static_assert(KEYS <= CONNECTIONS * UNTIMED, "all keys are set before what is timed");

/* --- A core -------------------------------------------------------------------------------- */

static bool has_tasks(const struct core *c)
{
	return apus_shard_tasks(c->server) || apus_shard_tasks(c->client);
}

static void connect_all(struct core *c)
{
	apus_shard_enter(c->client);
	all.kind->prepare(c);
	c->asking = CONNECTIONS;
	for (unsigned int i = 0; i < CONNECTIONS; i++)
		apus_must(!apus_spawn_detached(NULL, ask_repeatedly, c, 0));
}

static void stop_all(struct core *c)
{
	apus_shard_enter(c->client);
	apus_event_set(&c->bye);
	apus_shard_enter(c->server);
	if (c->serving) {
		apus_task_cancel(c->serving);
		apus_detach(c->serving);
	}
}

/* A turn of both of its shards, and on with what comes next. Return: false when all is over. */
static bool step(struct core *c)
{
	apus_shard_enter(c->client);
	apus_shard_turn(c->client);
	apus_shard_enter(c->server);
	apus_shard_turn(c->server);
	switch (c->phase) {
	case PHASE_OPEN:
		if (atomic_load(&all.listening) < all.count)
			return true;
		connect_all(c);
		break;
	case PHASE_CONNECT:
		if (c->connected < CONNECTIONS)
			return true;
		atomic_fetch_add(&all.ready, 1);
		break;
	case PHASE_READY:
		if (atomic_load(&all.ready) < all.count)
			return true;
		apus_shard_enter(c->client);
		apus_event_set(&c->go);
		c->begin_ns = apus_clock_host_ns();
		break;
	case PHASE_ASK:
		if (c->asking)
			return true;
		c->end_ns = apus_clock_host_ns();
		atomic_fetch_add(&all.asked, 1);
		break;
	case PHASE_ASKED:
		if (atomic_load(&all.asked) < all.count)
			return true;
		stop_all(c);
		break;
	case PHASE_STOP:
		if (has_tasks(c))
			return true;
		atomic_fetch_add(&all.empty, 1);
		break;
	case PHASE_EMPTY:
		return atomic_load(&all.empty) < all.count;
	}
	c->phase++;
	return true;
}

static struct apus_stack *open_stack(struct apus_shard *shard, struct pipe_end *end,
				     const char *addr)
{
	struct apus_stack_options o = {.prefix_bits = 24};
	struct apus_stack *stack;

	apus_must(!apus_addr_parse(addr, &o.addr));
	apus_must(!apus_stack_open(shard, &end->link, &o, &stack));
	return stack;
}

/* On the thread whose it is. */
static void open_core(struct core *c)
{
	char why[APUS_EAL_WHY_BYTES];

	apus_must(!apus_eal_thread_open(why, sizeof(why)));
	apus_shard_enter(c->server);
	pipe_init(&c->server_end, &c->client_end, 0, c->pool, false);
	c->server_stack = open_stack(c->server, &c->server_end, "10.0.0.1");
	if (!all.kind->only_first || !c->index) {
		c->serving = apus_spawn(all.kind->serve, c);
		apus_must(c->serving);
	}
	apus_shard_enter(c->client);
	pipe_init(&c->client_end, &c->server_end, 1, c->pool, false);
	c->client_stack = open_stack(c->client, &c->client_end, "10.0.0.2");
	apus_event_init(&c->go);
	apus_event_init(&c->bye);
}

static void close_core(struct core *c)
{
	apus_shard_enter(c->server);
	apus_stack_close(c->server_stack);
	apus_shard_enter(c->client);
	apus_stack_close(c->client_stack);
	apus_shard_enter(NULL);
	apus_eal_thread_close();
}

static void *run_core(void *arg)
{
	struct core *c = arg;

	open_core(c);
	while (step(c))
		;
	close_core(c);
	return NULL;
}

/* --- All ----------------------------------------------------------------------------------- */

static void start_dpdk(void)
{
	const struct apus_eal_options o = {.core = -1, .memory_bytes = 256 << 20};
	char why[APUS_EAL_WHY_BYTES];

	if (apus_eal_open(&o, why, sizeof(why))) {
		fprintf(stderr, "shards: %s\n", why);
		exit(1);
	}
}

static void make_core(unsigned int i, int cpu, uint64_t n)
{
	struct apus_shard_options o = {
		.core = -1, .spin = true, .seed = i + 1, .index = i, .count = all.count};
	struct core *c = aligned_alloc(APART, (sizeof(*c) + APART - 1) / APART * APART);
	char name[32];

	if (all.by_turns)
		o.clock = &all.clock;
	apus_must(c);
	memset(c, 0, sizeof(*c));
	c->index = i;
	c->cpu = cpu;
	c->left = n;
	snprintf(name, sizeof(name), "shards-%u", i);
	c->pool = apus_pool_create(name, 8191, APUS_POOL_CACHE, RTE_MBUF_DEFAULT_BUF_SIZE,
				   SOCKET_ID_ANY);
	apus_must(c->pool);
	apus_must(!apus_shard_open(&o, &c->server));
	o.index = o.count = 0;
	apus_must(!apus_shard_open(&o, &c->client));
	all.cores[i] = c;
}

static void start_thread(struct core *c)
{
	pthread_attr_t attr;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(c->cpu, &cpus);
	apus_must(!pthread_attr_init(&attr));
	apus_must(!pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus));
	if (pthread_create(&c->thread, &attr, run_core, c)) {
		fprintf(stderr, "shards: no thread on CPU %d\n", c->cpu);
		exit(1);
	}
	pthread_attr_destroy(&attr);
}

static void run_by_turns(void)
{
	bool any = true;

	for (unsigned int i = 0; i < all.count; i++)
		open_core(all.cores[i]);
	while (any) {
		any = false;
		apus_clock_set(&all.clock, apus_clock_read(&all.clock) + APUS_US);
		for (unsigned int i = 0; i < all.count; i++)
			any |= step(all.cores[i]);
	}
	for (unsigned int i = 0; i < all.count; i++)
		close_core(all.cores[i]);
}

/* Return: from the first request to the last answer, in nanoseconds */
static int64_t run(const int *cpus, uint64_t n)
{
	int64_t begin_ns = INT64_MAX, end_ns = 0;
	struct apus_shard *servers[CORES_MAX];

	start_dpdk();
	apus_clock_init_virtual(&all.clock, APUS_SEC);
	for (unsigned int i = 0; i < all.count; i++) {
		make_core(i, cpus[i], n);
		servers[i] = all.cores[i]->server;
	}
	if (all.count > 1)
		apus_must(!apus_cross_open(servers, all.count, NULL, &all.cross));
	if (all.by_turns)
		run_by_turns();
	for (unsigned int i = 0; i < all.count && !all.by_turns; i++)
		start_thread(all.cores[i]);
	for (unsigned int i = 0; i < all.count && !all.by_turns; i++)
		pthread_join(all.cores[i]->thread, NULL);
	apus_cross_close(all.cross);
	for (unsigned int i = 0; i < all.count; i++) {
		begin_ns = apus_min(begin_ns, all.cores[i]->begin_ns);
		end_ns = apus_max(end_ns, all.cores[i]->end_ns);
		apus_shard_close(all.cores[i]->server);
		apus_shard_close(all.cores[i]->client);
		rte_mempool_free(all.cores[i]->pool);
		free(all.cores[i]);
	}
	return end_ns - begin_ns;
}

static const struct kind kinds[] = {
	{"http", 300000, false, serve_http, prepare_http, ask_http, false},
	{"kv/local", 300000, true, serve_kv, prepare_kv, ask_kv, true},
	{"kv/any", 300000, true, serve_kv, prepare_kv, ask_kv, false},
};

/* "0,1": a shard on each; "2x": so many by turns. Return: false if it is neither. */
static bool parse(const char *text, int *cpus)
{
	char *end;

	do {
		if (all.count == CORES_MAX)
			return false;
		cpus[all.count++] = (int)strtol(text, &end, 10);
		if (end == text)
			return false;
		text = end + 1;
	} while (*end == ',');
	all.by_turns = *end == 'x';
	if (all.by_turns)
		all.count = (unsigned int)cpus[0];
	return all.count > 0 && all.count <= CORES_MAX && !end[all.by_turns];
}

int main(int argc, char **argv)
{
	int cpus[CORES_MAX] = {0};

	if (argc < 2) {
		for (size_t i = 0; i < apus_countof(kinds); i++)
			printf("%s %llu\n", kinds[i].name, (unsigned long long)kinds[i].count);
		return 0;
	}
	for (size_t i = 0; i < apus_countof(kinds); i++)
		if (!strcmp(kinds[i].name, argv[1]))
			all.kind = &kinds[i];
	if (argc < 4 || !all.kind || !parse(argv[2], cpus)) {
		fprintf(stderr, "usage: shards [NAME CPUS|SHARDSx COUNT]; without arguments all "
				"names are listed\n");
		return 1;
	}

	uint64_t n = strtoull(argv[3], NULL, 10);

	printf("%.2f\n", (double)run(cpus, n) / (double)(n * all.count));
	return 0;
}
