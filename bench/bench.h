/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/bench.h: what a benchmark is.
 *
 * A C function that does its operation @n times and says how many nanoseconds the operations took,
 * its own preparation left out. micro.cc times them with Google Benchmark; instructions.c runs one
 * for callgrind. Named area/operation/parameter.
 */
#ifndef APUS_BENCH_BENCH_H
#define APUS_BENCH_BENCH_H

#include "runtime/sched/task.h"

APUS_BEGIN_DECLS

typedef int64_t (*apus_bench_fn)(uint64_t n, int64_t arg);

struct apus_bench {
	const char *name;
	apus_bench_fn run;
	int64_t arg;
	uint64_t batch;       /* operations per call when timed */
	uint64_t count_batch; /* operations per call under callgrind */
};

/* Tables that end with a nameless entry. */
extern const struct apus_bench apus_bench_runtime[];
extern const struct apus_bench apus_bench_sync[];
extern const struct apus_bench apus_bench_calls[];
extern const struct apus_bench apus_bench_net[];
extern const struct apus_bench apus_bench_bulk[];
extern const struct apus_bench apus_bench_connections[];
extern const struct apus_bench apus_bench_stack[];
extern const struct apus_bench apus_bench_steer[];

/** apus_bench_at - all tables as one: the @index-th benchmark; NULL after the last */
const struct apus_bench *apus_bench_at(size_t index);

/* What a benchmark that runs in a task is told, and answers. */
struct apus_bench_job {
	uint64_t n;
	int64_t arg;
	int64_t elapsed_ns; /* written by the task */
};

/** apus_bench_in_shard - run @fn in a shard of its own, with a job of @n and @arg. Return: its elapsed_ns */
int64_t apus_bench_in_shard(apus_task_fn fn, uint64_t n, int64_t arg);

/** apus_bench_start_dpdk - its memory, without a device, once; or the end */
void apus_bench_start_dpdk(void);

/** apus_bench_allocate - zeroed memory of the C library's, or the end */
void *apus_bench_allocate(size_t count, size_t bytes);

APUS_END_DECLS

#endif
