/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/bulk.c: one connection that carries as much as it can, over a wire of a simulated world with
 * an MTU of 1500. Writer and reader, both stacks and the wire run on one core, so every
 * nanosecond of both sides counts. An operation is one write; 8 * bytes / ns is Gb/s.
 */
#include "bench/bench.h"
#include "net/sim/world.h"
#include "net/socket/tcp.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

#include <string.h>

#define PORT          80
#define WARM_UP_BYTES (8 << 20) /* the window opens, pools and caches fill */
#define READ_BYTES    65536

struct bulk {
	uint64_t writes;
	size_t bytes; /* of each */
	int64_t begin_ns, end_ns;
	uint64_t skip_bytes; /* at the reader, before it takes the time */
	uint64_t got_bytes;
};

static char out[1 << 20], in[READ_BYTES];

static void nothing(void *arg)
{
}

static int64_t write_bulk(void *arg)
{
	struct bulk *b = arg;
	struct apus_endpoint server = {.port = PORT};
	struct apus_tcp *c;

	apus_must(apus_addr_parse("10.0.0.1", &server.addr) == 0);
	apus_must(apus_tcp_connect(server, &c) == 0);
	for (uint64_t i = 0; i < b->writes; i++)
		apus_must(apus_tcp_write(c, out, b->bytes) == (int64_t)b->bytes);
	apus_tcp_close(c);
	return 0;
}

/* The same, each buffer from where it lies; one out at a time would wait for every round trip. */
static int64_t lend_bulk(void *arg)
{
	struct bulk *b = arg;
	struct apus_endpoint server = {.port = PORT};
	struct apus_tcp *c;

	apus_must(apus_addr_parse("10.0.0.1", &server.addr) == 0);
	apus_must(apus_tcp_connect(server, &c) == 0);
	for (uint64_t i = 0; i < b->writes; i++)
		apus_must(apus_tcp_send_buffer(c, out, b->bytes, nothing, NULL) ==
			  (int64_t)b->bytes);
	apus_tcp_close(c);
	return 0;
}

/* The clock runs from the first byte behind the warm-up to the last one. */
static void took(struct bulk *b, uint64_t bytes)
{
	b->got_bytes += bytes;
	if (!b->begin_ns && b->got_bytes >= b->skip_bytes) {
		b->begin_ns = apus_clock_host_ns();
		b->skip_bytes = b->got_bytes;
	}
	b->end_ns = b->got_bytes == b->writes * b->bytes ? apus_clock_host_ns() : 0;
}

static int64_t read_bulk(void *arg)
{
	struct bulk *b = arg;
	struct apus_tcp_listener *listener;
	struct apus_tcp *c;
	int64_t n;

	apus_must(apus_tcp_listen((struct apus_endpoint){.port = PORT}, 0, &listener) == 0);
	apus_must(apus_tcp_accept(listener, &c) == 0);
	while ((n = apus_tcp_read(c, in, sizeof(in))) > 0)
		took(b, (uint64_t)n);
	apus_must(n == 0);
	apus_tcp_close(c);
	apus_tcp_listener_close(listener);
	return 0;
}

static int64_t view_bulk(void *arg)
{
	struct bulk *b = arg;
	struct apus_tcp_listener *listener;
	struct iovec views[64];
	struct apus_tcp *c;
	int n;

	apus_must(apus_tcp_listen((struct apus_endpoint){.port = PORT}, 0, &listener) == 0);
	apus_must(apus_tcp_accept(listener, &c) == 0);
	while ((n = apus_tcp_peek(c, views, 64)) > 0) {
		size_t bytes = 0;

		for (int i = 0; i < n; i++)
			bytes += views[i].iov_len;
		apus_tcp_consume(c, bytes);
		took(b, bytes);
	}
	apus_must(n == 0);
	apus_tcp_close(c);
	apus_tcp_listener_close(listener);
	return 0;
}

/* Return: ns for @writes writes, in proportion to the bytes that were timed. */
static int64_t in_bulk_world(uint64_t writes, int64_t bytes, apus_task_fn writer,
			     apus_task_fn reader)
{
	uint64_t warm_up = WARM_UP_BYTES / (uint64_t)bytes + 1;
	struct bulk b = {
		.writes = writes + warm_up,
		.bytes = (size_t)bytes,
		.skip_bytes = warm_up * (uint64_t)bytes,
	};
	struct apus_sim_world_options options = {.no_digest = true};
	struct apus_sim_host_options server = {.ip = "10.0.0.1/24"};
	struct apus_sim_host_options client = {.ip = "10.0.0.2/24"};
	struct apus_sim_link_options link = {
		.wire = {.delay_ns = APUS_US, .queue_frames = 65536, .lend = true},
	};
	struct apus_sim_world *world;
	struct apus_sim_host *hosts[2];

	apus_bench_start_dpdk();
	apus_must(apus_sim_world_open(1, &options, &world) == 0);
	apus_must(apus_sim_host_open(world, "server", &server, &hosts[0]) == 0);
	apus_must(apus_sim_host_open(world, "client", &client, &hosts[1]) == 0);
	apus_must(apus_sim_link(world, hosts[0], hosts[1], &link) == 0);

	struct apus_sim_task *reading = apus_sim_spawn(hosts[0], "reader", reader, &b);
	struct apus_sim_task *writing = apus_sim_spawn(hosts[1], "writer", writer, &b);

	apus_must(apus_sim_run(world, 3600 * APUS_SEC) == 0);
	apus_must(apus_sim_task_result(reading) == 0 && apus_sim_task_result(writing) == 0);
	apus_must(apus_sim_world_close(world) == 0);
	apus_must(b.begin_ns && b.end_ns);
	return (int64_t)((double)(b.end_ns - b.begin_ns) /
			 (double)(b.writes * b.bytes - b.skip_bytes) * (double)(writes * b.bytes));
}

static int64_t tcp_bulk(uint64_t n, int64_t bytes)
{
	return in_bulk_world(n, bytes, write_bulk, read_bulk);
}

static int64_t tcp_bulk_lent(uint64_t n, int64_t bytes)
{
	return in_bulk_world(n, bytes, lend_bulk, view_bulk);
}

const struct apus_bench apus_bench_bulk[] = {
	{"tcp/bulk/65536", tcp_bulk, 65536, 10000, 500},
	{"tcp/bulk/1024", tcp_bulk, 1024, 500000, 32000},
	{"tcp/bulk_lent/65536", tcp_bulk_lent, 65536, 10000, 500},
	{NULL, NULL, 0, 0, 0},
};
