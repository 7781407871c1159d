/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/proxy.c: forwards TCP connections to another server.
 *
 *	proxy --port 8080 --to 10.7.0.1:80
 *	proxy --cores 0-3 ...          on four shards, each with its own connections, near and far
 *
 * One task per connection opens the far side and starts a group of two, one for each direction. A
 * side that says it has nothing more to send is told so to the other side, which may go on; one
 * that is reset resets the other: the first error cancels the group.
 */
#include "net/main.h"
#include "net/socket/servers.h"
#include "runtime/sync/group.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_BYTES    (64 * 1024)
#define CONNECTIONS_MAX 10000
#define CONNECT_NS      (10 * APUS_SEC)

/* The command line. */
static struct {
	uint16_t port;
	uint32_t connections_max;
	struct apus_endpoint to;
} options = {.port = 8080, .connections_max = CONNECTIONS_MAX};

struct direction {
	struct apus_tcp *from, *to;
};

/* Until @from has said all, or one of the two is gone. */
static int64_t forward(void *arg)
{
	struct direction *d = arg;
	char *buf = malloc(BUFFER_BYTES); /* not on the stack, which is small */
	int64_t n = buf ? 0 : -ENOMEM;

	while (!n) {
		n = apus_tcp_read(d->from, buf, BUFFER_BYTES);
		if (!n) { /* the end of one half: the other goes on */
			n = apus_tcp_shutdown(d->to);
			break;
		}
		if (n > 0)
			n = apus_min(apus_tcp_write(d->to, buf, (size_t)n), 0);
	}
	free(buf);
	return n;
}

static int64_t forward_both(struct apus_tcp *near, struct apus_tcp *far)
{
	struct direction up = {near, far}, down = {far, near};
	struct apus_group g;
	int64_t rc;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	rc = apus_group_spawn(&g, &(struct apus_spawn_options){.name = "up"}, forward, &up,
			      sizeof(up));
	if (!rc)
		rc = apus_group_spawn(&g, &(struct apus_spawn_options){.name = "down"}, forward,
				      &down, sizeof(down));
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	return rc;
}

/* async def serve_connection(near): */
static int64_t serve_connection(struct apus_tcp *near, void *arg)
{
	struct apus_tcp *far = NULL;
	struct apus_timeout limit;
	int64_t rc;

	apus_timeout_begin(&limit, CONNECT_NS);
	rc = apus_timeout_end(&limit, apus_tcp_connect(options.to, &far));
	if (!rc)
		rc = forward_both(near, far);
	if (rc) { /* what was cut off must not look whole */
		apus_tcp_abort(near);
		if (far)
			apus_tcp_abort(far);
	} else {
		apus_tcp_close(near);
		apus_tcp_close(far);
	}
	return 0; /* how a peer leaves is no error of ours */
}

static int64_t proxy(void *arg)
{
	struct apus_servers *servers;
	char to[APUS_ENDPOINT_TEXT_BYTES];
	int rc = apus_servers_open(
		&(struct apus_servers_options){
			.server = {.local.port = options.port,
				   .handler = serve_connection,
				   .connections_max = options.connections_max},
		},
		&servers);

	if (rc)
		return rc;
	printf("proxy: TCP port %u to %s\n", options.port, apus_endpoint_format(options.to, to));
	fflush(stdout);
	rc = apus_servers_wait(servers);
	apus_servers_stop(servers, 0); /* no stream of bytes has a place where it could end */
	return rc;
}

enum key {
	KEY_PORT = 0x1000,
	KEY_TO,
	KEY_CONNECTIONS,
};

static const struct argp_option proxy_options[] = {
	{NULL, 0, NULL, 0, "Proxy:", 0},
	{"port", KEY_PORT, "PORT", 0, "to listen on (8080)", 0},
	{"to", KEY_TO, "ADDR:PORT", 0, "where connections are forwarded to; must be given", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "open at a time, at most; more wait (10000)", 0},
	{0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
	switch (key) {
	case KEY_PORT:
		options.port = (uint16_t)apus_main_number("port", text, 1, UINT16_MAX);
		return 0;
	case KEY_TO:
		if (apus_endpoint_parse(text, &options.to) || !options.to.port)
			apus_main_refuse("--to %s: give an address and a port, such as 10.7.0.1:80",
					 text);
		return 0;
	case KEY_CONNECTIONS:
		options.connections_max =
			(uint32_t)apus_main_number("connections", text, 1, 1000000);
		return 0;
	case ARGP_KEY_END:
		if (!options.to.port)
			apus_main_refuse("--to is missing: say where connections are to go, such "
					 "as --to 10.7.0.1:80");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = proxy_options, .parser = parse};
	const struct apus_app app = {
		.doc = "Forwards TCP connections to another server.",
		.argp = &argp,
		.fn = proxy,
	};

	return apus_main_with(&app, argc, argv);
}
