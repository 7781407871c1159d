/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/bench.c: the list of benchmarks, and what they share.
 */
#include "bench/bench.h"

#include "runtime/base/check.h"
#include "runtime/sched/run.h"

#include <stdlib.h>

const struct apus_bench *apus_bench_at(size_t index)
{
	const struct apus_bench *const tables[] = {
		apus_bench_runtime, apus_bench_sync, apus_bench_calls,       apus_bench_net,
		apus_bench_stack,   apus_bench_bulk, apus_bench_connections, apus_bench_steer};

	for (size_t i = 0; i < apus_countof(tables); i++)
		for (const struct apus_bench *b = tables[i]; b->name; b++)
			if (index-- == 0)
				return b;
	return NULL;
}

int64_t apus_bench_in_shard(apus_task_fn fn, uint64_t n, int64_t arg)
{
	struct apus_bench_job job = {.n = n, .arg = arg};

	apus_must(apus_run(&(struct apus_shard_options){.core = -1, .seed = 1}, fn, &job) == 0);
	return job.elapsed_ns;
}

void *apus_bench_allocate(size_t count, size_t bytes)
{
	void *p = calloc(count, bytes);

	apus_must(p);
	return p;
}
