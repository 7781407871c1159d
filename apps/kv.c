/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv.c: a cache of keys and values that memcached's clients talk to.
 *
 *	kv                     memcached's text protocol on TCP port 11211
 *	kv --memory 1g         with room for so much, all that an item costs included
 *	kv --cores 0-3         with a store on each core; a key belongs to one of them
 *
 * The rooms are in apps/kv/: protocol.c, the bytes of a client; store.c, the items; session.c, one
 * connection; remote.c, the keys of other cores. Ctrl-C cancels the main task: no more connections are accepted, commands that have
 * begun are finished, for at most five seconds, and every client gets its FIN.
 */
#include "apps/kv/server.h"
#include "net/main.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRACE_NS   (5 * APUS_SEC)
#define MEMORY_MIN ((size_t)4 << 20) /* four of the largest values */

/* The command line. */
static struct {
	uint16_t port;
	size_t memory_bytes;
	uint32_t connections_max;
} options = {.port = 11211};

static int64_t serve(void *arg)
{
	struct kv_server *server;
	int ended;
	int rc = kv_server_open(
		&(struct kv_server_options){
			.local.port = options.port,
			.memory_bytes = options.memory_bytes,
			.connections_max = options.connections_max,
		},
		&server);

	if (rc < 0)
		return rc;
	printf("kv: port %u\n", options.port);
	fflush(stdout);
	ended = kv_server_wait(server);
	rc = kv_server_close(server, GRACE_NS);
	return rc == -ETIMEDOUT || rc == 0 ? ended : rc;
}

enum {
	KEY_PORT = 0x1000,
	KEY_MEMORY,
	KEY_CONNECTIONS,
};

static const struct argp_option kv_options[] = {
	{NULL, 0, NULL, 0, "Kv:", 0},
	{"port", KEY_PORT, "PORT", 0, "to listen on (11211)", 0},
	{"memory", KEY_MEMORY, "BYTES", 0,
	 "for items and the hash table, with a suffix k, m or g (64m); beyond it the item that was "
	 "not used for the longest time is dropped",
	 0},
	{"connections", KEY_CONNECTIONS, "N", 0, "open at a time; one more is turned away (10000)",
	 0},
	{0},
};

/* A number of bytes, with its suffix. */
static size_t memory(const char *text)
{
	static const char suffixes[] = "kmg";
	char digits[32];
	size_t len = strlen(text);
	const char *suffix = len ? strchr(suffixes, text[len - 1] | 0x20) : NULL;
	unsigned int shift = suffix ? 10 * (unsigned int)(suffix - suffixes + 1) : 0;

	len -= suffix != NULL;
	if (len >= sizeof(digits))
		apus_main_refuse("--memory: '%s' is too long for a number", text);
	memcpy(digits, text, len);
	digits[len] = 0;
	return (size_t)apus_main_number("memory", digits, (MEMORY_MIN + (1 << shift) - 1) >> shift,
					(UINT64_C(1) << 40) >> shift)
	       << shift;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
	switch (key) {
	case KEY_PORT:
		options.port = (uint16_t)apus_main_number("port", text, 1, UINT16_MAX);
		return 0;
	case KEY_MEMORY:
		options.memory_bytes = memory(text);
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
	static const struct argp argp = {.options = kv_options, .parser = parse};
	const struct apus_app app = {
		.doc = "A cache of keys and values: memcached's text protocol.",
		.argp = &argp,
		.fn = serve,
	};

	return apus_main_with(&app, argc, argv);
}
