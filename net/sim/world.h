/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/world.h: a simulated world: hosts, wires, faults, one virtual clock and one seed.
 *
 * A host is a shard with a stack of its own, or several joined by a fabric, as behind one NIC; so
 * what runs here is what runs on a NIC: the same tasks, sockets and TCP. All hosts of a world share one thread and one clock, which stands still
 * while anything can run and then jumps to the next event: an hour of timeouts takes microseconds.
 * All chance comes from the seed: the same seed is the same run, frame by frame.
 *
 *	struct apus_sim_world *world;
 *	struct apus_sim_host *a, *b;
 *
 *	apus_sim_world_open(seed, NULL, &world);
 *	apus_sim_host_open(world, "server", &(struct apus_sim_host_options){.ip = "10.0.0.1/24"}, &a);
 *	apus_sim_host_open(world, "client", &(struct apus_sim_host_options){.ip = "10.0.0.2/24"}, &b);
 *	apus_sim_link(world, a, b,
 *		      &(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS,
 *						      .impair.loss_ppm = 10000});
 *	apus_sim_spawn(a, "serve", serve, NULL);
 *	apus_sim_spawn(b, "fetch", fetch, NULL);
 *	rc = apus_sim_run(world, 60 * APUS_SEC);	// until both ended
 *	rc = apus_sim_world_close(world);		// -EUCLEAN if anything leaked
 *
 * DPDK's environment (rte_eal_init) must be there, because frames are mbufs; it needs no device.
 */
#ifndef APUS_NET_SIM_WORLD_H
#define APUS_NET_SIM_WORLD_H

#include "net/link/impair.h"
#include "net/link/sim.h"
#include "net/stack.h"
#include "runtime/sched/task.h"

APUS_BEGIN_DECLS

struct apus_sim_host;
struct apus_sim_task;
struct apus_sim_world;

#define APUS_SIM_MBUFS_DEFAULT 16383  /* 2^n - 1 wastes no memory */
#define APUS_SIM_TURNS_DEFAULT 100000 /* of all hosts, at one instant */

struct apus_sim_world_options {
	struct rte_mempool *pool; /* of all hosts; borrowed until close; NULL: one of its own */
	uint32_t mbufs;           /* in that one; 0: 16383 */
	uint32_t turns_max;       /* turns without the clock moving: more is -ELOOP; 0: 100000 */
	int64_t start_ns;         /* the time at which it begins, > 0; 0: one second */
	bool no_digest;           /* apus_sim_digest() stays 0: for when its cost matters */
	bool quiet;               /* do not print reports of deadlocks and leaks to stderr */
};

/* By which rule the network card of a host with several shards chooses a queue. */
enum apus_sim_spread {
	APUS_SIM_SPREAD_RIGHT,    /* the one that names the owner */
	APUS_SIM_SPREAD_WRONG,    /* another key: a flow keeps its queue, but it is any */
	APUS_SIM_SPREAD_CHANGING, /* another key, and now and then another one */
	APUS_SIM_SPREAD_FIRST,    /* none: all to the first */
};

struct apus_sim_host_options {
	const char *ip;              /* "10.0.0.1/24" */
	uint32_t more_addrs;         /* that follow it, as of struct apus_stack_options */
	const char *gateway;         /* "10.0.0.254"; NULL: none */
	uint16_t mtu;                /* 0: the wire's */
	uint32_t connections_max;    /* 0: the stack's default */
	uint32_t mbufs;              /* a pool of its own with so many; 0: the world's */
	struct apus_tcp_options tcp; /* what its TCP offers and accepts; all zero: the defaults */
	uint32_t mbuf_bytes;         /* of each in that pool: small ones chain; 0: 2048 */
	uint16_t shards;             /* each with a stack, behind one address; 0: 1 */
	uint16_t queues;             /* of its network card, 1 to 64; 0: as many as shards */
	uint32_t queue_frames;       /* in each of them; 0: 1024 */
	enum apus_sim_spread spread; /* over the queues */
	int64_t message_ns; /* what one shard says to another takes up to this, by chance; 0: no time */
};

struct apus_sim_link_options {
	struct apus_sim_wire_options wire; /* ends_max is set by the world */
	struct apus_impair_options impair; /* what each host sends; `directions` is not looked at */
};

/* --- The world ----------------------------------------------------------------------------- */

/**
 * apus_sim_world_open - an empty world, at one second past zero if not told otherwise
 * @seed:    of all chance in it
 * @options: borrowed until return; NULL: all zero
 *
 * Context: thread, not in a task. Return: 0, -ENOMEM.
 */
APUS_MUST_CHECK int apus_sim_world_open(uint64_t seed, const struct apus_sim_world_options *options,
					struct apus_sim_world **out);

/**
 * apus_sim_world_close - end all tasks, close all stacks, look for leaks; consumes @world
 *
 * Tasks that have not ended are cancelled and run until they have; killed and paused hosts live
 * again for that, without their wires. Then every mbuf must be back in its pool and every
 * object of each stack back on its heap.
 *
 * Context: thread, not in a task. Return: 0, -EUCLEAN (what leaked is on stderr).
 */
APUS_MUST_CHECK int apus_sim_world_close(struct apus_sim_world *world);

/** apus_sim_now - the world's time in ns; on its hosts apus_now() is the same. Context: any */
int64_t apus_sim_now(const struct apus_sim_world *world);

/** apus_sim_seed - as given to open */
uint64_t apus_sim_seed(const struct apus_sim_world *world);

/** apus_sim_digest - of every frame sent so far and its time: equal for equal runs. Context: any */
uint64_t apus_sim_digest(const struct apus_sim_world *world);

/* --- Hosts and wires ----------------------------------------------------------------------- */

/**
 * apus_sim_host_open - add a host; its stack comes with its link
 * @name:    copied, cut at 31 bytes: for reports
 * @options: borrowed until return
 *
 * Context: thread, not in a task. Return: 0, -EINVAL (an address), -ENOMEM. It lives until the world is closed.
 */
APUS_MUST_CHECK int apus_sim_host_open(struct apus_sim_world *world, const char *name,
				       const struct apus_sim_host_options *options,
				       struct apus_sim_host **out);

/**
 * apus_sim_link - join two hosts by a wire, and open their stacks on it
 * @options: borrowed until return; NULL: a perfect wire
 *
 * Context: thread, not in a task. Return: 0, -EALREADY (a host has a link), -EINVAL, -ENOMEM; after
 * the last two some host may have its link, and the world is good for being closed only.
 */
APUS_MUST_CHECK int apus_sim_link(struct apus_sim_world *world, struct apus_sim_host *a,
				  struct apus_sim_host *b,
				  const struct apus_sim_link_options *options);

/** apus_sim_switch - as apus_sim_link(), for @n hosts (at least 2) on one switch */
APUS_MUST_CHECK int apus_sim_switch(struct apus_sim_world *world,
				    struct apus_sim_host *const *hosts, size_t n,
				    const struct apus_sim_link_options *options);

/** apus_sim_host_shards - how many it has, > 0. Context: any */
unsigned int apus_sim_host_shards(const struct apus_sim_host *host);
/** apus_sim_host_shard_at - shard @index of it, as apus_sim_host_shard() */
struct apus_shard *apus_sim_host_shard_at(const struct apus_sim_host *host, unsigned int index);
/** apus_sim_host_stack_at - the stack of shard @index; NULL before it has a link */
struct apus_stack *apus_sim_host_stack_at(const struct apus_sim_host *host, unsigned int index);
/** apus_sim_host_shard - its first, to be entered by apus_shard_enter() for calls from outside of a task */
struct apus_shard *apus_sim_host_shard(const struct apus_sim_host *host);
/** apus_sim_host_stack - of its first shard; NULL before it has a link */
struct apus_stack *apus_sim_host_stack(const struct apus_sim_host *host);
/** apus_sim_host_addr - its first address. Context: any */
struct apus_addr apus_sim_host_addr(const struct apus_sim_host *host);
/** apus_sim_host_connections - of all its shards: connections and requests, without TIME-WAIT. Context: any */
size_t apus_sim_host_connections(const struct apus_sim_host *host);
/** apus_sim_host_time_waits - of all its shards: entries in TIME-WAIT. Context: any */
size_t apus_sim_host_time_waits(const struct apus_sim_host *host);
/** apus_sim_host_counter - sum of all counters of that name on all its shards: ("tcp", "retransmits"). Context: any */
uint64_t apus_sim_host_counter(const struct apus_sim_host *host, const char *area,
			       const char *name);
/** apus_sim_host_mbufs_free - in the host's pool, which may be the world's. Context: any */
uint32_t apus_sim_host_mbufs_free(const struct apus_sim_host *host);

/* --- Faults -------------------------------------------------------------------------------- */

/** apus_sim_host_impair - from now on @host sends through this; NULL: perfectly. Return: 0, -EINVAL. Context: any */
APUS_MUST_CHECK int apus_sim_host_impair(struct apus_sim_host *host,
					 const struct apus_impair_options *options);
/** apus_sim_host_unplug - both ways: what it sends, and what is sent to it, is lost. Context: any */
void apus_sim_host_unplug(struct apus_sim_host *host);
/** apus_sim_host_plug - the cable is in again. Context: any */
void apus_sim_host_plug(struct apus_sim_host *host);
/** apus_sim_host_kill - it never runs and never answers again; its tasks no longer count. Context: any, not on @host */
void apus_sim_host_kill(struct apus_sim_host *host);
/** apus_sim_host_killed - was it? Context: any */
bool apus_sim_host_killed(const struct apus_sim_host *host);
/** apus_sim_host_pause - it stands still; what is sent to it waits. Context: any, not on @host */
void apus_sim_host_pause(struct apus_sim_host *host);
/** apus_sim_host_resume - it goes on. Context: any */
void apus_sim_host_resume(struct apus_sim_host *host);
/**
 * apus_sim_host_starve - leave at most @free_max mbufs in the host's own pool
 *
 * What comes back to the pool later is taken too, before the host's next turn; within a turn it can
 * be used again. UINT32_MAX gives all back. Context: any. Return: 0, -EINVAL (it shares the world's pool).
 */
APUS_MUST_CHECK int apus_sim_host_starve(struct apus_sim_host *host, uint32_t free_max);

/* --- Tasks --------------------------------------------------------------------------------- */

/**
 * apus_sim_spawn - start a task on the first shard of @host; it begins with the next run
 * @name: copied, cut at 31 bytes: for reports
 * @fn, @arg: as for apus_spawn()
 *
 * Context: thread, not in a task. Return: borrowed until the world is closed; NULL without memory (apus_sim_run() then fails).
 */
struct apus_sim_task *apus_sim_spawn(struct apus_sim_host *host, const char *name, apus_task_fn fn,
				     void *arg);
/** apus_sim_spawn_on - as apus_sim_spawn(), on shard @index of @host */
struct apus_sim_task *apus_sim_spawn_on(struct apus_sim_host *host, unsigned int index,
					const char *name, apus_task_fn fn, void *arg);
/** apus_sim_task_done - has it ended? NULL: yes. Context: any */
bool apus_sim_task_done(const struct apus_sim_task *t);
/** apus_sim_task_result - what it returned; -EINPROGRESS while it runs; -ENOMEM for NULL. Context: any */
int64_t apus_sim_task_result(const struct apus_sim_task *t);
/** apus_sim_task_ended_at - the world's time at which it returned; APUS_NEVER if it did not. Context: any */
int64_t apus_sim_task_ended_at(const struct apus_sim_task *t);
/** apus_sim_task_forget - give back a task that has ended (or NULL), before the world is closed. Context: thread, not in a task */
void apus_sim_task_forget(struct apus_sim_task *t);
/** apus_sim_task_cancel - as apus_task_cancel(). Context: thread, not in a task */
bool apus_sim_task_cancel(struct apus_sim_task *t);

/* --- Time ---------------------------------------------------------------------------------- */

/**
 * apus_sim_run - until every spawned task of a living host has ended
 * @limit_ns: of virtual time, from now
 *
 * Context: thread, not in a task.
 * Return:  0; -ETIMEDOUT at the limit; -EDEADLK when nothing can ever happen again, and -ELOOP when
 *          the hosts never came to rest at one instant (each with a report of the tasks that wait);
 *          -ENOMEM when a spawn had failed.
 */
APUS_MUST_CHECK int apus_sim_run(struct apus_sim_world *world, int64_t limit_ns);

/** apus_sim_advance - let @ns go by, whatever happens. Context: thread, not in a task. Return: 0, -ELOOP */
APUS_MUST_CHECK int apus_sim_advance(struct apus_sim_world *world, int64_t ns);

/**
 * apus_sim_step - run all that can run now, without moving the clock
 *
 * What a foreign loop drives a world with, together with apus_sim_jump().
 * Context: thread, not in a task. Return: the time of the next event, APUS_NEVER; -ELOOP.
 */
APUS_MUST_CHECK int64_t apus_sim_step(struct apus_sim_world *world);

/** apus_sim_jump - move the clock, never back, without running anything. Context: thread, not in a task */
void apus_sim_jump(struct apus_sim_world *world, int64_t now_ns);

APUS_END_DECLS

#endif
