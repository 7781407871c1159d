/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/internal.h: what world.c, host.c and shards.c share.
 */
#ifndef APUS_NET_SIM_INTERNAL_H
#define APUS_NET_SIM_INTERNAL_H

#include "net/sim/world.h"
#include "runtime/base/list.h"
#include "runtime/sched/shard.h"

#define APUS_SIM_NAME_BYTES 32

struct apus_sim_world {
	struct apus_heap heap; /* the world's own, and its wires' */
	struct apus_clock clock;
	struct apus_random random; /* seeds of the hosts */
	struct apus_sim_world_options options;
	struct apus_list hosts; /* struct apus_sim_host.link, in order of opening */
	struct apus_list wires; /* struct apus_sim_cable.link */
	struct rte_mempool *pool;
	uint32_t pool_free; /* mbufs in it at the start */
	uint64_t seed;
	uint64_t digest;
	bool spawn_failed;
};

/* A wire, and where its frames are traced to. */
struct apus_sim_cable {
	struct apus_list link; /* in the world's wires */
	struct apus_sim_world *world;
	struct apus_sim_wire *wire;
	unsigned int number; /* in the world: told apart in the digest */
};

/* One shard of a host. */
struct apus_sim_member {
	struct apus_shard *shard;
	struct apus_stack *stack; /* NULL before the link */
	uint64_t heap_live;       /* objects on the shard's heap before fabric and stack came */
};

/* What a host with several shards has; see shards.c. */
struct apus_sim_board;

struct apus_sim_host {
	struct apus_list link; /* in the world's hosts */
	struct apus_sim_world *world;
	struct apus_sim_member *members; /* count of them */
	uint32_t count;                  /* shards */
	struct apus_sim_board *board;    /* NULL with one */
	struct apus_link *end;           /* of the wire; owned by impair; NULL before the link */
	struct apus_link *impair;        /* owned by the stack */
	struct rte_mempool *pool;        /* the world's or its own */
	struct rte_mbuf **starved;       /* taken out of the pool of its own; NULL while none */
	struct apus_list tasks;          /* struct apus_sim_task.link, not ended */
	struct apus_list ended;          /* the others */
	struct apus_stack_options stack_options;
	uint32_t pool_free; /* mbufs in the pool of its own at the start */
	uint32_t starved_count;
	uint32_t starved_free_max; /* more than that are taken out, while `starved` is there */
	bool own_pool, killed, paused, unplugged;
	bool is_driven; /* end is of net/link/l3.h, not of a wire */
	char name[APUS_SIM_NAME_BYTES];
};

struct apus_sim_task {
	struct apus_list link; /* in the host's tasks or ended */
	struct apus_sim_host *host;
	struct apus_shard *shard; /* of the host, where it runs */
	struct apus_task *task;   /* our handle */
	apus_task_fn fn;
	void *arg;
	int64_t result; /* of fn, once it returned */
	int64_t ended_at_ns;
	bool ended; /* fn returned: false for ever if it was cancelled before it began */
	char name[APUS_SIM_NAME_BYTES];
};

/** apus_sim_pool_create - @context: makes the name unique. Return: NULL without memory */
struct rte_mempool *apus_sim_pool_create(const void *context, uint32_t mbufs, uint32_t bytes);

/** apus_sim_host_attach - @end, consumed, impaired, becomes the link of @host's new stack. Context: host entered. Return: 0, -errno */
APUS_MUST_CHECK int apus_sim_host_attach(struct apus_sim_host *host, struct apus_link *end,
					 const struct apus_impair_options *impair);

/** apus_sim_board_open - join the shards of @host, which are open. Return: 0, -EINVAL, -ENOMEM */
APUS_MUST_CHECK int apus_sim_board_open(struct apus_sim_host *host,
					const struct apus_sim_host_options *options);
/** apus_sim_board_close - what is on its way is freed; the stacks are closed, the shards are not. NULL: nothing */
void apus_sim_board_close(struct apus_sim_board *board);
/** apus_sim_board_plug - @link, consumed, is the wire of all shards; each gets a stack. Return: 0, -ENOMEM, -EINVAL */
APUS_MUST_CHECK int apus_sim_board_plug(struct apus_sim_host *host, struct apus_link *link);
/** apus_sim_board_first - whose turn is first now: chance's choice */
uint32_t apus_sim_board_first(struct apus_sim_host *host);

/** apus_sim_digest_frame - mix a frame into the world's digest; @place: where it was seen */
void apus_sim_digest_frame(struct apus_sim_world *world, uint64_t place, const struct rte_mbuf *m,
			   int64_t now_ns);

/** apus_sim_host_close_stack - its tasks have ended; of all hosts, before any is closed: one may hold what another one lent */
void apus_sim_host_close_stack(struct apus_sim_host *host);
/** apus_sim_host_close - its tasks have ended; its link and its stack are gone. Return: 0, -EUCLEAN */
APUS_MUST_CHECK int apus_sim_host_close(struct apus_sim_host *host);

/** apus_sim_host_starve_more - take out what came back since; the host is being starved */
void apus_sim_host_starve_more(struct apus_sim_host *host);

/** apus_sim_report - a line to stderr unless the world is quiet */
void apus_sim_report(const struct apus_sim_world *world, const char *fmt, ...) APUS_PRINTF(2, 3);

/** apus_sim_host_runs - does it take turns? */
static inline bool apus_sim_host_runs(const struct apus_sim_host *host)
{
	return !host->killed && !host->paused;
}

#endif
