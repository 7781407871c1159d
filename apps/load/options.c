/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/options.c: the workloads there are, and the command line.
 */
#include "apps/load/load.h"
#include "net/main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONNECTIONS_MAX 4000000
#define BYTES_MAX       65536
#define VALUE_MAX       (1024 * 1024)

static const struct load_workload workloads[] = {
	{"echo", "TCP echo: a message and the same bytes back", &load_echo, 7, 64, BYTES_MAX,
	 load_run_stream, NULL},
#if APUS_HTTP
	{"http", "HTTP/1.1: GET --path", &load_http, 80, 0, 0, load_run_stream, NULL},
#endif
	{"memcached", "get and set of random keys, which are filled in before", &load_memcached,
	 11211, 100, VALUE_MAX, load_run_stream, load_fill_memcached},
	{"udp", "UDP echo", NULL, 7, 64, 65507, load_run_datagram, NULL},
	{"connect", "connect and close", NULL, 7, 0, 0, load_run_connect, NULL},
	{"send", "as many bytes as fit, to a server that discards them", NULL, 9, 65536, VALUE_MAX,
	 load_run_send, NULL},
	{"receive", "as many bytes as come, from a server that sends", NULL, 19, 0, 0,
	 load_run_receive, NULL},
};

struct load_options load_options = {
	.connections = 1,
	.depth = 1,
	.seconds = 10,
	.warmup = 1,
	.timeout_ns = 5 * APUS_SEC,
	.keys = 10000,
	.get_percent = 90,
	.path = "/",
};

enum key {
	KEY_TO = 0x1000,
	KEY_CONNECTIONS,
	KEY_ACTIVE,
	KEY_DEPTH,
	KEY_BYTES,
	KEY_RATE,
	KEY_SECONDS,
	KEY_WARMUP,
	KEY_TIMEOUT,
	KEY_PATH,
	KEY_KEYS,
	KEY_GETS,
	KEY_NEW,
	KEY_RESET,
	KEY_JSON,
	KEY_QUIET,
	KEY_HOLD,
};

static const struct argp_option load_argp_options[] = {
	{NULL, 0, NULL, 0, "Load:", 0},
	{"to", KEY_TO, "ADDR[:PORT]", 0, "the server; must be given", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "open at a time (1)", 0},
	{"active", KEY_ACTIVE, "N", 0, "of them; the others are open and silent (all)", 0},
	{"depth", KEY_DEPTH, "N", 0, "requests out at a time on one connection (1)", 0},
	{"rate", KEY_RATE, "N", 0,
	 "requests a second over all connections, on a schedule; latency counts from when one was to "
	 "be sent (as fast as answers come)",
	 0},
	{"seconds", KEY_SECONDS, "N", 0, "to count for (10)", 0},
	{"warmup", KEY_WARMUP, "N", 0, "seconds before, which do not count (1)", 0},
	{"timeout", KEY_TIMEOUT, "MS", 0, "for a connection, and for an answer (5000)", 0},
	{"new", KEY_NEW, NULL, 0, "a new connection for every --depth requests", 0},
	{"reset", KEY_RESET, NULL, 0, "close by RST: nobody waits in TIME-WAIT", 0},
	{"bytes", KEY_BYTES, "N", 0, "of a message or a value (64; memcached 100)", 0},
	{"path", KEY_PATH, "PATH", 0, "to GET (/)", 0},
	{"keys", KEY_KEYS, "N", 0, "of memcached, drawn evenly (10000)", 0},
	{"gets", KEY_GETS, "PERCENT", 0, "of requests to memcached; the others are sets (90)", 0},
	{"json", KEY_JSON, "FILE", 0,
	 "write the figures to FILE; -: to stdout, in place of the table", 0},
	{"quiet", KEY_QUIET, NULL, 0, "no progress", 0},
	{"hold", KEY_HOLD, NULL, 0,
	 "when all is said close stdout and hold still, with the link open, until stdin ends: for a "
	 "link whose other end is to be closed first",
	 0},
	{0},
};

static uint32_t number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	return (uint32_t)apus_main_number(option, text, min, max);
}

static void parse_workload(const char *text)
{
	for (size_t i = 0; i < apus_countof(workloads); i++)
		if (!strcmp(text, workloads[i].name))
			load_options.workload = &workloads[i];
	if (!load_options.workload)
		apus_main_refuse("%s: no such workload; --help lists them", text);
}

static void parse_to(const char *text)
{
	if (apus_endpoint_parse(text, &load_options.to) &&
	    apus_addr_parse(text, &load_options.to.addr))
		apus_main_refuse("--to %s: give an address and a port, such as 10.7.0.1:80", text);
	if (apus_addr_is_any(load_options.to.addr))
		apus_main_refuse("--to %s: give the server's address", text);
}

static int parse_number(int key, const char *text)
{
	struct load_options *o = &load_options;

	switch (key) {
	case KEY_CONNECTIONS:
		o->connections = number("connections", text, 1, CONNECTIONS_MAX);
		return 0;
	case KEY_ACTIVE:
		o->active = number("active", text, 1, CONNECTIONS_MAX);
		return 0;
	case KEY_DEPTH:
		o->depth = number("depth", text, 1, LOAD_DEPTH_MAX);
		return 0;
	case KEY_BYTES:
		o->bytes = number("bytes", text, 1, VALUE_MAX);
		return 0;
	case KEY_RATE:
		o->rate = apus_main_number("rate", text, 1, UINT64_C(1000000000));
		return 0;
	case KEY_SECONDS:
		o->seconds = number("seconds", text, 1, 1000000);
		return 0;
	case KEY_WARMUP:
		o->warmup = number("warmup", text, 0, 1000000);
		return 0;
	case KEY_TIMEOUT:
		o->timeout_ns = number("timeout", text, 1, 3600000) * APUS_MS;
		return 0;
	case KEY_KEYS:
		o->keys = number("keys", text, 1, 1000000000);
		return 0;
	case KEY_GETS:
		o->get_percent = number("gets", text, 0, 100);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* All are there: do they fit together? */
static void check_options(void)
{
	struct load_options *o = &load_options;
	const struct load_workload *w = o->workload;
	char why[256] = "out of memory";

	if (!w)
		apus_main_refuse("give a workload first, such as `load http --to 10.7.0.1:80`; "
				 "--help lists them");
	if (apus_addr_is_any(o->to.addr))
		apus_main_refuse("--to is missing: say where the server is, such as "
				 "--to 10.7.0.1:%u",
				 w->port);
	if (!o->to.port)
		o->to.port = w->port;
	if (!o->bytes)
		o->bytes = w->bytes;
	if (w->bytes_max && o->bytes > w->bytes_max)
		apus_main_refuse("--bytes %u: %s takes at most %u", o->bytes, w->name,
				 w->bytes_max);
	if (w->run == load_run_datagram && o->bytes < sizeof(uint64_t))
		apus_main_refuse("--bytes %u: a datagram carries its number, so at least 8",
				 o->bytes);
	if (o->json && strcmp(o->json, "-")) {
		o->json_file = fopen(o->json, "we");
		if (!o->json_file)
			apus_main_refuse("--json %s: %s", o->json, strerror(errno));
	}
	if (!o->active || o->active > o->connections)
		o->active = o->connections;
	if (w->protocol && w->protocol->prepare(o, why, sizeof(why)))
		apus_main_refuse("%s", why);
}

static error_t parse(int key, char *text, struct argp_state *state)
{
	switch (key) {
	case KEY_TO:
		parse_to(text);
		return 0;
	case KEY_PATH:
		load_options.path = text;
		return 0;
	case KEY_NEW:
		load_options.reconnect = true;
		return 0;
	case KEY_RESET:
		load_options.reset = true;
		return 0;
	case KEY_JSON:
		load_options.json = text;
		return 0;
	case KEY_HOLD:
		load_options.hold = true;
		return 0;
	case KEY_QUIET:
		load_options.quiet = true;
		return 0;
	case ARGP_KEY_ARG:
		if (load_options.workload)
			apus_main_refuse("%s: one workload is run at a time", text);
		parse_workload(text);
		return 0;
	case ARGP_KEY_END:
		check_options();
		return 0;
	default:
		return parse_number(key, text);
	}
}

const char *load_doc(void)
{
	static char text[2048];
	size_t at = (size_t)snprintf(text, sizeof(text),
				     "Drives a server and says how fast it answers.\v"
				     "Workloads, and the port each takes if none is given:\n");

	for (size_t i = 0; i < apus_countof(workloads); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "  %-10s %s (%u)\n",
				       workloads[i].name, workloads[i].doc, workloads[i].port);
	return text;
}

const struct argp load_argp = {
	.options = load_argp_options,
	.parser = parse,
	.args_doc = "WORKLOAD",
};
