/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/shards.c: an election on three shards: a sharded service, a channel, a server.
 *
 *	server          on every shard: a connection is served on the one that owns it
 *	ballots         a sharded service: each candidate's votes are counted on one shard, without a lock
 *	journal         a channel: all shards send, a task of the first one receives
 *
 * The shards are those of a host in a simulated world, so there is nothing to set up; with
 * apus_main() they would be the cores of --cores. Voters connect from another host, and send a letter
 * for each vote.
 */
#include "net/sim/world.h"
#include "net/socket/servers.h"
#include "runtime/cross/channel.h"
#include "runtime/cross/sharded.h"
#include "runtime/sched/shard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS     3
#define CANDIDATES 5
#define VOTERS     40
#define VOTES      25 /* of each */
#define PORT       7000

static const char *const candidates[CANDIDATES] = {"Ada", "Barbara", "Grace", "Joan", "Margaret"};

/* ---- ballots: what a shard counts ---- */

struct ballots {
	int64_t votes[CANDIDATES]; /* of the candidates that are this shard's */
};

/* On each shard, the first one first. */
static int64_t open_ballots(void *arg, void **instance)
{
	struct ballots *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	printf("shard %u counts for", apus_shard_index());
	for (unsigned int i = apus_shard_index(); i < CANDIDATES; i += SHARDS)
		printf(" %s", candidates[i]);
	printf("\n");
	*instance = b;
	return 0;
}

/* On each shard, the last one first, when no call is inside any more. */
static int64_t close_ballots(void *instance, int64_t drain_ns, void *arg)
{
	printf("shard %u has closed\n", apus_shard_index());
	free(instance);
	return 0;
}

/* Runs where the candidate's votes are. */
static int64_t vote_here(void *instance, void *arg)
{
	struct ballots *b = instance;

	return ++b->votes[*(const unsigned int *)arg];
}

static int64_t count_here(void *instance, void *arg)
{
	const struct ballots *b = instance;

	return b->votes[*(const unsigned int *)arg];
}

/* ---- the server ---- */

/* What all shards share; nobody writes it while they run. */
static struct {
	struct apus_sharded *ballots;
	struct apus_channel *journal;
	struct apus_servers *servers;
} office;

static int64_t serve_voter(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	int64_t *votes = malloc(sizeof(*votes)), n = votes ? 0 : -ENOMEM;
	char letters[64];

	if (votes)
		*votes = 0;
	while (n >= 0 && (n = apus_server_idle(self)) == 0 &&
	       (n = apus_tcp_read(c, letters, sizeof(letters))) > 0) {
		apus_server_busy(self);
		for (int64_t i = 0; i < n; i++) {
			unsigned int whom = (unsigned char)letters[i] % CANDIDATES;
			int64_t rc =
				apus_sharded_call(office.ballots, whom % SHARDS, vote_here, &whom);

			if (rc < 0) {
				n = rc;
				break;
			}
			++*votes;
		}
	}
	/* Whoever receives it, frees it. */
	if (votes && apus_channel_send(office.journal, votes))
		free(votes);
	return n;
}

/* At home of the journal, until it is closed and empty. Return: the votes that were noted. */
static int64_t keep_journal(void *arg)
{
	int64_t total = 0;
	void *item;

	while (!apus_channel_recv(office.journal, &item)) {
		total += *(int64_t *)item;
		free(item);
	}
	return total;
}

static void add(void *into, unsigned int shard, int64_t votes)
{
	*(int64_t *)into += votes;
}

static int64_t print_result(void)
{
	int64_t rc = 0;

	for (unsigned int i = 0; i < CANDIDATES && !rc; i++) {
		int64_t votes = 0;

		rc = apus_sharded_map_reduce(office.ballots, count_here, &i, add, &votes);
		printf("%-8s %" PRId64 "\n", candidates[i], votes);
	}
	return rc;
}

/* Opened in this order, and closed in the opposite one: who is used outlives who uses it. */
static int64_t hold_election(void *arg)
{
	struct apus_task *journal;
	int64_t noted, rc = apus_channel_open(8, &office.journal);

	if (rc)
		return rc;
	journal = apus_spawn(keep_journal, NULL);
	rc = apus_sharded_start(
		&(struct apus_sharded_options){.start = open_ballots, .stop = close_ballots},
		&office.ballots);
	if (rc)
		goto err_journal;
	rc = apus_servers_open(&(struct apus_servers_options){.server = {.local.port = PORT,
									 .handler = serve_voter}},
			       &office.servers);
	if (rc)
		goto err_ballots;

	rc = apus_sleep(APUS_SEC); /* the polls are open */
	apus_servers_stop(office.servers, APUS_SEC);
	if (!rc)
		rc = print_result();

err_ballots:
	apus_sharded_stop(office.ballots, APUS_SEC);
err_journal:
	apus_channel_close(office.journal);
	noted = apus_await(journal);
	apus_channel_free(office.journal);
	printf("%" PRId64 " votes in the journal\n", noted);
	return rc;
}

/* ---- voters ---- */

static int64_t vote(void *arg)
{
	struct apus_endpoint office_at = {.addr = apus_addr_v4(inet_addr("192.0.2.1")),
					  .port = PORT};
	intptr_t number = (intptr_t)arg;
	char letters[VOTES];
	struct apus_tcp *c;
	int64_t rc = apus_sleep(number * APUS_MS);

	if (!rc)
		rc = apus_tcp_connect(office_at, &c);
	if (rc)
		return rc;
	for (int i = 0; i < VOTES; i++)
		letters[i] = (char)('A' + number * (i + 1) % 26);
	rc = apus_tcp_write(c, letters, sizeof(letters));
	apus_tcp_close(c);
	return rc < 0 ? rc : 0;
}

/* ---- the world ---- */

static int run_world(void)
{
	struct apus_sim_host_options office_options = {
		.ip = "192.0.2.1/24", .shards = SHARDS, .message_ns = 5 * APUS_US};
	struct apus_sim_host_options street_options = {.ip = "192.0.2.2/24"};
	struct apus_sim_link_options link = {.wire.delay_ns = APUS_MS};
	struct apus_sim_host *host, *street;
	struct apus_sim_world *world;
	struct apus_sim_task *task;
	int rc = apus_sim_world_open(1, NULL, &world);

	if (rc < 0)
		return rc;
	rc = apus_sim_host_open(world, "office", &office_options, &host);
	if (rc == 0)
		rc = apus_sim_host_open(world, "street", &street_options, &street);
	if (rc == 0)
		rc = apus_sim_link(world, host, street, &link);
	if (rc == 0) {
		task = apus_sim_spawn(host, "election", hold_election, NULL);
		for (intptr_t i = 0; i < VOTERS; i++)
			(void)apus_sim_spawn(street, "voter", vote, (void *)(i + 1));
		rc = apus_sim_run(world, 60 * APUS_SEC);
		if (rc == 0)
			rc = (int)apus_sim_task_result(task);
	}
	return apus_sim_world_close(world) < 0 ? -EUCLEAN : rc;
}

int main(int argc, char **argv)
{
	static char *eal[] = {"shards",      "--no-huge",         "--no-pci",
			      "--no-shconf", "--no-telemetry",    "-m",
			      "64",          "--log-level=error", NULL};
	int rc;

	if (rte_eal_init((int)apus_countof(eal) - 1, eal) < 0) {
		fprintf(stderr, "%s: DPDK does not start\n", argv[0]);
		return 1;
	}
	rc = run_world();
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", argv[0], strerrordesc_np(-rc));
	return rc < 0;
}
