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
#include "runtime/cross/call.h"
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

static int64_t serve_with(struct apus_http_router *router)
{
	struct apus_http_server *server;
	int rc = apus_http_server_open(
		&(struct apus_http_server_options){
			.local.port = options.port,
			.handler = apus_http_router_handle,
			.arg = router,
			.name = "apus",
			.connections_max = options.connections_max,
		},
		&server);

	if (rc < 0)
		return rc;
	if (apus_shard_index() == 0) {
		printf("httpd: port %u\n", options.port);
		fflush(stdout);
	}

	int64_t ended = apus_http_server_wait(server);

	rc = apus_http_server_close(server, GRACE_NS);
	return rc == -ETIMEDOUT || rc == 0 ? ended : rc;
}

/* On each shard: a connection is served where it arrives. */
static int64_t serve(void *arg)
{
	struct apus_http_router *router;
	struct apus_http_files *files = NULL;
	int64_t rc = apus_http_router_create(&router);

	if (rc < 0)
		return rc;
	if (options.root) {
		rc = apus_http_files_open(options.root, "/", &files);
		if (rc < 0)
			goto err_router;
	}
	rc = add_routes(router, files);
	if (rc == 0)
		rc = serve_with(router);
	if (files)
		apus_http_files_close(files);
err_router:
	apus_http_router_destroy(router);
	return rc;
}

static int64_t serve_on_all(void *arg)
{
	return apus_on_all(serve, NULL, NULL);
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
		.fn = serve_on_all,
	};

	return apus_main_with(&app, argc, argv);
}
