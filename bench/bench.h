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

#include "runtime/base/compiler.h"

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
extern const struct apus_bench apus_bench_net[];

/** apus_bench_table - all tables as one: the @index-th benchmark; NULL after the last */
const struct apus_bench *apus_bench_at(size_t index);

APUS_END_DECLS

#endif
