/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/memif_pair.h: two shards of one process, each with a stack, joined by memif as scripts/pair
 * joins two processes; for programs that have to look at one end alone.
 */
#ifndef APUS_BENCH_MEMIF_PAIR_H
#define APUS_BENCH_MEMIF_PAIR_H

#include "net/link/eal.h"
#include "net/link/ethdev.h"
#include "net/stack.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMIF_RING_BITS  "11" /* as scripts/pair */
#define MEMIF_LINK_MS    5000
#define MEMIF_PARTING_US 50000

struct memif_end {
	const char *device, *ip;
	struct apus_shard *shard;
	struct apus_stack *stack;
	struct apus_link *link;
};

struct memif_pair {
	struct memif_end server, client;
	char folder[32], socket[48];
};

struct memif_options {
	struct apus_shard_options shard;
	struct apus_stack_options server, client; /* without addresses */
	uint32_t mbufs;                           /* of each end */
};

static APUS_NORETURN void refuse(const char *why)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, why);
	exit(1);
}

static void memif_open_end(struct memif_end *e, const struct memif_options *o,
			   struct apus_stack_options stack)
{
	const struct apus_ethdev_options device = {.device = e->device, .mbufs = o->mbufs};
	char why[APUS_EAL_WHY_BYTES];

	apus_must(!apus_addr_parse(e->ip, &stack.addr));
	apus_must(!apus_shard_open(&o->shard, &e->shard));
	apus_shard_enter(e->shard);
	if (apus_ethdev_open(&device, why, sizeof(why), &e->link))
		refuse(why);
	apus_must(!apus_stack_open(e->shard, e->link, &stack, &e->stack));
	apus_shard_enter(NULL);
}

static void memif_close_end(struct memif_end *e)
{
	apus_shard_enter(e->shard);
	apus_stack_close(e->stack);
	apus_shard_close(e->shard);
	apus_shard_enter(NULL);
}

/* A thread of DPDK's joins the two rings, and parts them. */
static void memif_wait(const struct memif_end *e, bool is_up)
{
	struct rte_eth_link state = {0};

	for (int ms = 0; ms < MEMIF_LINK_MS; ms++) {
		apus_must(!rte_eth_link_get_nowait(apus_ethdev_port(e->link), &state));
		if (state.link_status == is_up)
			return;
		usleep(1000);
	}
	refuse(is_up ? "the two ends of the memif did not find each other"
		     : "one end of the memif did not see that the other is gone");
}

/* Starts DPDK; the ends have their addresses. It ends the program, with a sentence, if it can't be. */
static void memif_pair_open(struct memif_pair *p, const struct memif_options *o)
{
	char device[192], peer[256], why[APUS_EAL_WHY_BYTES];
	const struct apus_eal_options eal = {
		.vdev = device,
		.extra = peer,
		.core = -1,
		.memory_bytes = 2 * apus_ethdev_memory(o->mbufs, 0),
	};

	p->server.device = "net_memif0";
	p->client.device = "net_memif1";
	snprintf(p->folder, sizeof(p->folder), "/tmp/apus-bench-XXXXXX");
	apus_must(mkdtemp(p->folder));
	snprintf(p->socket, sizeof(p->socket), "%s/link", p->folder);
	snprintf(device, sizeof(device),
		 "net_memif0,role=server,id=0,socket-abstract=no,rsize=" MEMIF_RING_BITS
		 ",socket=%s",
		 p->socket);
	snprintf(peer, sizeof(peer), "--vdev=net_memif1,role=client%s",
		 device + strlen("net_memif0,role=server"));
	if (apus_eal_open(&eal, why, sizeof(why)))
		refuse(why);
	memif_open_end(&p->server, o, o->server);
	memif_open_end(&p->client, o, o->client);
	memif_wait(&p->server, true);
	memif_wait(&p->client, true);
}

static void memif_pair_close(struct memif_pair *p)
{
	memif_close_end(&p->client);
	/* The driver's thread must not meet a port that closes: it would use it after that. */
	memif_wait(&p->server, false);
	usleep(MEMIF_PARTING_US);
	memif_close_end(&p->server);
	apus_eal_close();
	unlink(p->socket);
	rmdir(p->folder);
}

#endif
