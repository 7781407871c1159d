/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/shards.h: several shards in one process, a pinned thread each, from start to stop.
 *
 * Shard 0 is the calling thread's and runs the main task; the others turn their loops until the
 * main task has ended. They start in order of their numbers and stop in the opposite one:
 *
 *	open     each thread opens its shard; the fabric between them; set-up hooks, 0 first
 *	run      all loops turn; the main task runs on shard 0
 *	drain    the last shard first: calls to it are refused, its tasks cancelled and awaited
 *	end      what the owner has each shard do when all tasks are gone: say the last FINs
 *	part     all shards leave the fabric, which had carried frames until here
 *	leave    all loops stand still
 *	close    tear-down hooks, the last first; the fabric; the shards; the threads are joined
 */
#ifndef APUS_RUNTIME_CROSS_SHARDS_H
#define APUS_RUNTIME_CROSS_SHARDS_H

#include "runtime/sched/run.h"

APUS_BEGIN_DECLS

#define APUS_SHARDS_MAX 128 /* in a process */

struct apus_shards;

struct apus_shards_options {
	struct apus_shard_options shard; /* of each; core, index and count are written for it */
	const int *cores;   /* a CPU for each, borrowed until return; NULL: not pinned */
	unsigned int count; /* 1 to APUS_SHARDS_MAX */
	int64_t drain_ns;   /* for the tasks to end after main did; 0: 30 s */
	/*
	 * On the thread of each shard, which is entered and does not turn: setup in order of their
	 * numbers, teardown of those that were set up in the opposite one. Each may be NULL.
	 */
	int (*setup)(struct apus_shard *shard, unsigned int index, void *arg); /* 0, -errno */
	void (*teardown)(struct apus_shard *shard, unsigned int index, void *arg);
	/*
	 * A task on each shard, on all at once, when the tasks of all have ended: all loops still
	 * turn. It has drain_ns. May be NULL.
	 */
	int64_t (*end)(struct apus_shard *shard, unsigned int index, void *arg);
	void *arg; /* of the hooks */
};

/**
 * apus_shards_open - start the threads and open a shard on each; all stand still until run
 * @options: borrowed until return; what its hooks need, until close
 * @failed:  on error the number of the shard that could not be had; may be NULL
 *
 * The calling thread becomes shard 0's: it is pinned until close, and its shard is entered. Signals
 * stay with it: the other threads take none but faults. A seed gives each shard a seed of its own.
 *
 * Context: thread, not on a shard.
 * Return:  0; -EINVAL, no such count, or one virtual clock for several threads; -ENOMEM; -EAGAIN, no
 *          thread; -errno of pinning; what a set-up hook returned. On error nothing is left open.
 */
APUS_MUST_CHECK int apus_shards_open(const struct apus_shards_options *options,
				     struct apus_shards **out, unsigned int *failed);

/**
 * apus_shards_run - run @fn as the main task on shard 0, until it and all tasks of all shards ended
 *
 * The first SIGINT or SIGTERM cancels the main task, the second ends the process. Tasks that have not
 * ended drain_ns after they were asked to are abandoned with their shard, and the log names them: so
 * long for all shards together, then as long once more for those whose turn had not come. Once.
 *
 * Context: the thread that opened, not in a task.
 * Return:  what @fn returned; -ENOMEM.
 */
APUS_MUST_CHECK int64_t apus_shards_run(struct apus_shards *shards, apus_task_fn fn, void *arg);

/** apus_shards_is_stuck - after run: does a task not suspend, so that its thread cannot be joined? Then close leaves everything as it is */
bool apus_shards_is_stuck(const struct apus_shards *shards);

/** apus_shards_close - tear down, close and join all; consumes @all. Context: the thread that opened, not in a task */
void apus_shards_close(struct apus_shards *all);

/** apus_shards_count - how many they are. Context: any thread */
unsigned int apus_shards_count(const struct apus_shards *all);
/** apus_shards_at - shard @index < count, for calls into it; valid until close. Context: any thread */
struct apus_shard *apus_shards_at(const struct apus_shards *all, unsigned int index);

APUS_END_DECLS

#endif
