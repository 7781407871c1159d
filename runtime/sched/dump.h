/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/dump.h: who is there, and what they wait for (asyncio's ps, pstree and
 * print_call_graph).
 *
 * Works with or without debug mode, which adds since when a task waits, where it was spawned, and who
 * holds the lock that another waits for.
 */
#ifndef APUS_RUNTIME_SCHED_DUMP_H
#define APUS_RUNTIME_SCHED_DUMP_H

#include "runtime/sched/task.h"

#include <stdio.h>

APUS_BEGIN_DECLS

struct apus_shard;

enum apus_dump_flags {
	APUS_DUMP_STACKS = 1 << 0, /* the native stack of every task, innermost frame first */
};

/**
 * apus_shard_dump_tree - the await tree: under each task those that it awaits, oldest first
 * @out:   borrowed; text, a line per task
 * @flags: enum apus_dump_flags
 *
 * Under a task that awaits one of another shard stands a line with the number of that and of its
 * shard. A task that several await is printed under the first and named under the others; one that awaits
 * itself through others ends in a line that begins with "cycle:".
 *
 * Context: any, on the shard's thread. Return: how many cycles there are.
 */
size_t apus_shard_dump_tree(struct apus_shard *shard, FILE *out, unsigned int flags);

/** apus_dump_tasks - the await tree of this shard, with stacks, to the file descriptor @fd. Context: any, on a shard. Source: asyncio.print_call_graph */
void apus_dump_tasks(int fd);

/* What is known of a task; valid without it. */
struct apus_task_info {
	uint64_t id;
	uint64_t awaits_id;        /* of the task that it awaits; 0: none, or several */
	unsigned int awaits_shard; /* the shard of that task */
	int64_t waits_ns;   /* for how long it has waited; < 0: not known, or it does not wait */
	const char *state;  /* "new", "ready", "running", "waits" */
	const char *what;   /* it waits for: "lock"; "" if it does not; stays */
	const void *object; /* which one */
	char name[APUS_TASK_NAME_BYTES];
};

/** apus_shard_task_infos - the first @max tasks whose id is more than @after_id, oldest first. Context: any, on the shard's thread. Return: how many */
size_t apus_shard_task_infos(struct apus_shard *shard, uint64_t after_id,
			     struct apus_task_info *out, size_t max);

APUS_END_DECLS

#endif
