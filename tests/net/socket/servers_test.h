/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/servers_test.h: servers on every shard of a simulated host, and their clients.
 *
 * A neighbour that is not known yet holds eight packets; a ninth client of the first moment sends its
 * SYN again a second later. So who needs all clients waits for them, not for a time.
 */
#ifndef APUS_TESTS_NET_SOCKET_SERVERS_TEST_H
#define APUS_TESTS_NET_SOCKET_SERVERS_TEST_H

#include "net/socket/servers.h"
#include "net/tcp/layer.h"
#include "runtime/cross/call.h"
#include "runtime/sched/internal.h"
#include "tests/net/socket/server_test.h"
#include "tests/runtime/base_test.h"

#define SHARDS  4
#define CLIENTS 12
#define WORLDS  400

static struct apus_servers *all;
static struct apus_server_options options;
static bool is_open; /* for clients */
static char trace[8 * SHARDS * 2];
static int start_fails_on; /* -1: nowhere */
static int heads[SHARDS];  /* instances */
static bool refused_early;
static bool was_told; /* of a cancel, by the call or by the next wait */

APUS_UNUSED static void open_shards(uint64_t seed, struct apus_sim_host_options host,
				    uint32_t loss_ppm)
{
	const struct apus_sim_link_options link = {
		.wire.delay_ns = APUS_MS,
		.impair.loss_ppm = loss_ppm,
	};

	inside = most_inside = served = 0;
	ended = 0;
	all = NULL;
	is_open = refused_early = was_told = false;
	trace[0] = '\0';
	start_fails_on = -1;
	sim_pair_open_as(&pair, seed, &link, host, (struct apus_sim_host_options){0});
}

APUS_UNUSED static int setup_shards(void **state)
{
	open_shards(1, (struct apus_sim_host_options){.shards = SHARDS, .message_ns = 20 * APUS_US},
		    0);
	options = (struct apus_server_options){.local.port = SERVER_PORT, .handler = echo};
	return 0;
}

APUS_UNUSED static int64_t open_all(void)
{
	int64_t rc = apus_servers_open(&(struct apus_servers_options){.server = options}, &all);

	is_open = rc == 0;
	return rc;
}

APUS_UNUSED static int64_t wait_open(void)
{
	int rc = 0;

	while (!is_open && !rc)
		rc = apus_sleep(100 * APUS_US);
	return rc;
}

/* Until @n handlers run. */
APUS_UNUSED static int64_t wait_inside(uint32_t n)
{
	int rc = 0;

	while (inside < n && !rc)
		rc = apus_sleep(APUS_MS);
	return rc;
}

APUS_UNUSED static int64_t early_guest(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : guest(arg);
}

APUS_UNUSED static int64_t early_asker(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : asker(arg);
}

APUS_UNUSED static int64_t early_victim(void *arg)
{
	int64_t rc = wait_open();

	return rc ? rc : victim(arg);
}

/* --- Instances ---------------------------------------------------------------------------- */

APUS_UNUSED static void note(char what)
{
	size_t at = strlen(trace);

	snprintf(trace + at, sizeof(trace) - at, "%c%u", what, apus_shard_index());
}

static const struct arg {
	int first, second;
} given = {7, 8};

APUS_UNUSED static int64_t start_instance(void *arg, void **instance)
{
	const struct arg *a = arg;

	sim_check(a != &given && a->first == 7 && a->second == 8); /* a copy */
	int rc = apus_sleep(10 * APUS_US);

	if (rc)
		return rc;
	if ((int)apus_shard_index() == start_fails_on)
		return -EPERM;
	note('+');
	heads[apus_shard_index()] = (int)apus_shard_index();
	*instance = &heads[apus_shard_index()];
	return 0;
}

APUS_UNUSED static int64_t stop_instance(void *instance, int64_t drain_ns, void *arg)
{
	sim_check(instance == &heads[apus_shard_index()] && ((struct arg *)arg)->first == 7);
	heads[apus_shard_index()] = -1;
	note('-');
	return 0;
}

/* All instances are there, however late it is. */
APUS_UNUSED static int64_t ask_all(void *arg)
{
	sim_check_equal(heads[apus_shard_index()], apus_shard_index());
	return apus_sleep(APUS_US);
}

APUS_UNUSED static int64_t serve_with_instance(struct apus_tcp *c, void *arg)
{
	int64_t rc;

	sim_check(arg == &heads[apus_shard_index()]);
	sim_check_equal(apus_on_all(ask_all, NULL, NULL), 0);
	rc = echo(c, arg);
	(void)!apus_sleep(APUS_SEC); /* a last word, after the others have left */
	sim_check_equal(apus_on_all(ask_all, NULL, NULL), 0);
	return rc;
}

APUS_UNUSED static int64_t open_with_instances(void)
{
	const struct apus_servers_options o = {
		.server = {.local.port = SERVER_PORT,
			   .handler = serve_with_instance,
			   .arg = (void *)(uintptr_t)&given},
		.arg_bytes = sizeof(given),
		.start = start_instance,
		.stop = stop_instance,
	};
	int rc = apus_servers_open(&o, &all);

	is_open = rc == 0;
	return rc;
}

#define shards_row(name) cmocka_unit_test_setup_teardown(name, setup_shards, teardown)

#endif
