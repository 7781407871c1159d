/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/echo.c: sends back what it gets: the first program to read.
 *
 *	echo                   TCP and UDP on port 7 (RFC 862); the stack answers pings by itself
 *	echo --l2              no stack: every frame goes back with its addresses swapped
 *
 * On each shard of --cores a server has one task per connection, and one more serves all datagrams.
 * Each is written as if it blocked. Ctrl-C cancels the main task: its call returns -ECANCELED, it stops the server, which lets
 * the others finish what they have begun, cleans up and returns.
 */
#include "net/main.h"
#include "net/socket/servers.h"
#include "net/socket/udp.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_BYTES    16384
#define DATAGRAM_BYTES  65536
#define DATAGRAMS       32 /* of what has come, at a time */
#define CONNECTIONS_MAX 10000

/* The command line. */
static struct {
	uint16_t port;
	uint32_t connections_max;
	int64_t report_ns; /* 0: none */
	bool l2;
} options = {.port = 7, .connections_max = CONNECTIONS_MAX};

/* --- TCP and UDP --------------------------------------------------------------------------- */

/* async def serve_connection(reader, writer): */
static int64_t serve_connection(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	char *buf = malloc(BUFFER_BYTES); /* not on the stack, which is small */
	int64_t n = buf ? 0 : -ENOMEM;

	/* Nothing is half done while it waits to read: there a stop may end it. */
	while (n >= 0 && (n = apus_server_idle(self)) == 0 &&
	       (n = apus_tcp_read(c, buf, BUFFER_BYTES)) > 0) {
		apus_server_busy(self);
		n = apus_tcp_write(c, buf, (size_t)n);
	}
	free(buf);
	return n;
}

static int64_t serve_udp(void *arg)
{
	char *buf = malloc(DATAGRAM_BYTES);
	struct apus_udp *u = arg;
	struct apus_udp_view got[DATAGRAMS];
	int64_t n = buf ? 0 : -ENOMEM;

	while (n >= 0 && (n = apus_udp_recv_many(u, got, DATAGRAMS, buf, DATAGRAM_BYTES)) >= 0)
		for (int64_t i = 0; i < n; i++)
			if (apus_udp_send(u, got[i].bytes, got[i].len, &got[i].from) < 0)
				continue; /* it may be lost; the stack counted it */
	free(buf);
	apus_udp_close(u);
	return n;
}

/* On each shard: a datagram is answered where it arrives. The task begins at once, so it always ends. */
static int64_t start_udp(void *arg, void **instance)
{
	const struct apus_spawn_options as = {.name = "datagrams", .flags = APUS_SPAWN_EAGER};
	struct apus_udp *u;
	int rc = apus_udp_open((struct apus_endpoint){.port = options.port}, NULL, &u);

	if (rc)
		return rc;
	*instance = apus_spawn_with(&as, serve_udp, u, 0);
	if (*instance)
		return 0;
	apus_udp_close(u);
	return -ENOMEM;
}

static int64_t stop_udp(void *instance, int64_t drain_ns, void *arg)
{
	int64_t rc;

	apus_task_cancel(instance);
	rc = apus_await(instance);
	return rc == -ECANCELED ? 0 : rc;
}

static int64_t serve(void)
{
	struct apus_servers *servers;
	int rc = apus_servers_open(
		&(struct apus_servers_options){
			.server = {.local.port = options.port,
				   .handler = serve_connection,
				   .connections_max = options.connections_max},
			.start = start_udp,
			.stop = stop_udp,
		},
		&servers);

	if (rc)
		return rc;
	printf("echo: TCP and UDP on port %u\n", options.port);
	fflush(stdout);

	rc = apus_servers_wait(servers);

	int stopped = apus_servers_stop(servers, APUS_SEC);

	return stopped == -ENOMEM ? stopped : rc;
}

/* --- Frames: the DPDK classic -------------------------------------------------------------- */

struct reflector {
	struct apus_poller poller; /* in the shard's loop, every turn */
	struct apus_link *link;
	uint64_t frames;
	uint64_t second_frames; /* in the second that began at second_at_ns */
	int64_t second_at_ns;
	double best; /* frames per second */
};

static void swap_addresses(struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ether_addr from = eth->src_addr;

	eth->src_addr = eth->dst_addr;
	eth->dst_addr = from;
}

/* Frames per second, of the best second. */
static void count(struct reflector *r, uint16_t n, int64_t now_ns)
{
	int64_t span_ns = now_ns - r->second_at_ns;

	r->frames += n;
	r->second_frames += n;
	if (span_ns < APUS_SEC)
		return;
	r->best = apus_max(r->best, (double)r->second_frames * (double)APUS_SEC / (double)span_ns);
	r->second_frames = 0;
	r->second_at_ns = now_ns;
}

static bool reflector_poll(struct apus_poller *poller, int64_t now_ns)
{
	struct reflector *r = apus_container_of(poller, struct reflector, poller);
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t n = apus_link_rx(r->link, frames, APUS_LINK_BURST_MAX, now_ns);

	if (!n)
		return false;
	for (uint16_t i = 0; i < n; i++)
		if (frames[i]->data_len >= sizeof(struct rte_ether_hdr))
			swap_addresses(frames[i]);
	apus_link_tx(r->link, frames, n, now_ns);

	count(r, n, now_ns);
	return true;
}

static int64_t reflector_idle(struct apus_poller *poller, enum apus_idle what, int64_t now_ns)
{
	struct reflector *r = apus_container_of(poller, struct reflector, poller);

	return apus_link_idle(r->link, what, now_ns);
}

static const struct apus_poller_type reflector_type = {
	.name = "reflector",
	.poll = reflector_poll,
	.idle = reflector_idle,
};

static int64_t reflect(void)
{
	struct reflector r = {.link = apus_main_link(), .second_at_ns = apus_now()};
	struct apus_shard *shard = apus_shard_self();
	struct apus_event never;
	int rc;

	rc = r.link->wake_fd < 0 ? 0 : apus_shard_watch(shard, r.link->wake_fd, APUS_WAKER_PACKETS);
	if (rc)
		return rc;
	apus_poller_register(shard, &r.poller, &reflector_type);
	printf("echo: every frame goes back\n");
	fflush(stdout);

	apus_event_init(&never);
	rc = apus_event_wait(&never);

	apus_poller_unregister(&r.poller);
	if (r.link->wake_fd >= 0)
		apus_shard_unwatch(shard, r.link->wake_fd);
	printf("echo: %" PRIu64 " frames, %.0f frames/s in the best second\n", r.frames, r.best);
	return rc;
}

/* --- Both ---------------------------------------------------------------------------------- */

/* Prints what went through the link, every report_ns, until it is cancelled. */
static int64_t report(void *arg)
{
	const uint64_t *now = apus_main_link()->counters;
	uint64_t rx = now[APUS_LINK_RX_FRAMES], tx = now[APUS_LINK_TX_FRAMES];
	double seconds = (double)options.report_ns / (double)APUS_SEC;
	int rc;

	while (!(rc = apus_sleep(options.report_ns))) {
		printf("echo: %.0f frames/s in, %.0f frames/s out\n",
		       (double)(now[APUS_LINK_RX_FRAMES] - rx) / seconds,
		       (double)(now[APUS_LINK_TX_FRAMES] - tx) / seconds);
		fflush(stdout);
		rx = now[APUS_LINK_RX_FRAMES];
		tx = now[APUS_LINK_TX_FRAMES];
	}
	return rc;
}

static int64_t echo(void *arg)
{
	struct apus_task *reporter = options.report_ns ? apus_spawn(report, NULL) : NULL;
	int64_t rc = options.l2 ? reflect() : serve();

	if (reporter) {
		apus_task_cancel(reporter);
		(void)!apus_await(reporter);
	}
	return rc;
}

enum key {
	KEY_L2 = 0x1000,
	KEY_PORT,
	KEY_CONNECTIONS,
	KEY_REPORT,
};

static const struct argp_option echo_options[] = {
	{NULL, 0, NULL, 0, "Echo:", 0},
	{"port", KEY_PORT, "PORT", 0, "of TCP and UDP (7)", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "open at a time, at most; more wait (10000)", 0},
	{"l2", KEY_L2, NULL, 0, "no stack: send each frame back with its addresses swapped", 0},
	{"report", KEY_REPORT, "SECONDS", 0, "print frames per second this often", 0},
	{0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
	switch (key) {
	case KEY_L2:
		options.l2 = true;
		return 0;
	case KEY_PORT:
		options.port = (uint16_t)apus_main_number("port", text, 1, UINT16_MAX);
		return 0;
	case KEY_CONNECTIONS:
		options.connections_max =
			(uint32_t)apus_main_number("connections", text, 1, 1000000);
		return 0;
	case KEY_REPORT:
		options.report_ns = (int64_t)apus_main_number("report", text, 1, 86400) * APUS_SEC;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = echo_options, .parser = parse};
	const struct apus_app app = {
		.doc = "Sends back what it gets: pings, datagrams, connections, frames.",
		.argp = &argp,
		.fn = echo,
		.connections = &options.connections_max,
		.bare = &options.l2,
	};

	return apus_main_with(&app, argc, argv);
}
