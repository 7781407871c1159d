/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/httpd.c: a web server.
 *
 *	httpd                  "/" says hello, "/json" says it as JSON, "/stats" are our counters
 *	httpd --root DIR       and every other path is a file below DIR
 *	httpd --cores 0-3      on four shards; "/stats" are those of the one that answers
 *
 * Ctrl-C cancels the main task: no more connections are accepted, requests that have begun are
 * finished, for at most five seconds, and every client gets its FIN.
 */
#include "net/http/files.h"
#include "net/http/router.h"
#include "net/http/server.h"
#include "net/main.h"
#include "runtime/base/alloc.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GRACE_NS (5 * APUS_SEC)

/* The command line. */
static struct {
	uint16_t port;
	const char *root;
	uint32_t connections_max;
} options = {.port = 80};

/* --- Handlers -------------------------------------------------------------------------------- */

static int64_t say_hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	static const char text[] = "Hello, World!\n";

	return apus_http_respond(res, 200, "text/plain", text, sizeof(text) - 1);
}

static int64_t say_json(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	static const char text[] = "{\"message\":\"Hello, World!\"}";

	return apus_http_respond(res, 200, "application/json", text, sizeof(text) - 1);
}

/* Text that grows. Counters are read without waiting, so that they are of one moment. */
struct text {
	char *at;
	size_t bytes, size;
	int rc;
};

static void add_counter(void *arg, const char *area, const char *name, uint64_t value)
{
	struct text *t = arg;
	size_t most = strlen(area) + strlen(name) + 64;

	if (t->rc < 0)
		return;
	if (t->size - t->bytes < most) {
		struct apus_heap *heap = apus_shard_heap(apus_shard_self());
		char *at = apus_heap_realloc(heap, t->at, t->size * 2 + most);

		if (!at) {
			t->rc = -ENOMEM;
			return;
		}
		t->at = at;
		t->size = t->size * 2 + most;
	}
	t->bytes += (size_t)snprintf(t->at + t->bytes, most, "%s\"%s.%s\":%" PRIu64,
				     t->bytes ? ",\n" : "{", area, name, value);
}

static int64_t say_stats(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	struct apus_shard *shard = apus_shard_self();
	struct text t = {0};
	int rc;

	add_counter(&t, "shard", "index", apus_shard_index());
	apus_metrics_visit(apus_shard_metrics(shard), add_counter, &t);
	rc = t.rc;
	if (rc == 0 && !t.at) /* a shard always has counters, but who knows */
		rc = apus_http_respond(res, 200, "application/json", "{}\n", 3);
	else if (rc == 0) {
		memcpy(t.at + t.bytes, "}\n", 2); /* there is room: `most` is generous */
		rc = apus_http_respond(res, 200, "application/json", t.at, t.bytes + 2);
	}
	apus_heap_free(apus_shard_heap(shard), t.at);
	return rc;
}

/* --- Main ------------------------------------------------------------------------------------ */

static int add_routes(struct apus_http_router *router, struct apus_http_files *files)
{
	int rc = apus_http_router_add(router, APUS_HTTP_GET, "/", say_hello, NULL);

	if (rc == 0)
		rc = apus_http_router_add(router, APUS_HTTP_GET, "/json", say_json, NULL);
	if (rc == 0)
		rc = apus_http_router_add(router, APUS_HTTP_GET, "/stats", say_stats, NULL);
	if (rc == 0 && files)
		rc = apus_http_router_add_prefix(router, APUS_HTTP_GET, "/", apus_http_files_handle,
						 files);
	return rc;
}

/* What a shard serves: nothing is shared, not even the files that are open. */
struct site {
	struct apus_http_router *router;
	struct apus_http_files *files; /* NULL without --root */
};

static int64_t close_site(void *instance, int64_t drain_ns, void *arg)
{
	struct site *site = instance;

	if (site->files)
		apus_http_files_close(site->files);
	if (site->router)
		apus_http_router_destroy(site->router);
	free(site);
	return 0;
}

/* On each shard, before any of them listens. */
static int64_t open_site(void *arg, void **instance)
{
	struct site *site = calloc(1, sizeof(*site));
	int64_t rc;

	if (!site)
		return -ENOMEM;
	rc = apus_http_router_create(&site->router);
	if (rc == 0 && options.root)
		rc = apus_http_files_open(options.root, "/", &site->files);
	if (rc == 0)
		rc = add_routes(site->router, site->files);
	if (rc < 0) {
		(void)close_site(site, 0, NULL);
		return rc;
	}
	*instance = site;
	return 0;
}

static int64_t route(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_router_handle(req, res, ((struct site *)arg)->router);
}

static int64_t serve(void *arg)
{
	struct apus_servers *servers;
	int rc = apus_http_servers_open(
		&(struct apus_http_servers_options){
			.server = {.local.port = options.port,
				   .handler = route,
				   .name = "apus",
				   .connections_max = options.connections_max},
			.start = open_site,
			.stop = close_site,
		},
		&servers);

	if (rc < 0)
		return rc;
	printf("httpd: port %u\n", options.port);
	fflush(stdout);

	int ended = apus_servers_wait(servers);

	rc = apus_servers_stop(servers, GRACE_NS);
	return rc == -ETIMEDOUT || rc == 0 ? ended : rc;
}

enum {
	KEY_PORT = 256,
	KEY_ROOT,
	KEY_CONNECTIONS,
};

static const struct argp_option httpd_options[] = {
	{NULL, 0, NULL, 0, "Httpd:", 0},
	{"port", KEY_PORT, "PORT", 0, "to listen on (80)", 0},
	{"root", KEY_ROOT, "DIR", 0, "serve the files below DIR", 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "open at a time; one more gets a 503 (10000)", 0},
	{0},
};

static const char *directory(const char *name, const char *text)
{
	struct stat st;

	if (stat(text, &st) < 0)
		apus_main_refuse("--%s: '%s': %s", name, text, strerrordesc_np(errno));
	if (!S_ISDIR(st.st_mode))
		apus_main_refuse("--%s: '%s' is not a directory", name, text);
	return text;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
	switch (key) {
	case KEY_PORT:
		options.port = (uint16_t)apus_main_number("port", text, 1, UINT16_MAX);
		return 0;
	case KEY_ROOT:
		options.root = directory("root", text);
		return 0;
	case KEY_CONNECTIONS:
		options.connections_max =
			(uint32_t)apus_main_number("connections", text, 1, 1000000);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = httpd_options, .parser = parse};
	const struct apus_app app = {
		.doc = "A web server: \"/\", \"/json\", \"/stats\", and files with --root.",
		.argp = &argp,
		.fn = serve,
		.connections = &options.connections_max,
	};

	return apus_main_with(&app, argc, argv);
}
