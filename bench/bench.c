/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/bench.c: the list of benchmarks.
 */
#include "bench/bench.h"

const struct apus_bench *apus_bench_at(size_t index)
{
	const struct apus_bench *const tables[] = {apus_bench_runtime, apus_bench_net};

	for (size_t i = 0; i < apus_countof(tables); i++)
		for (const struct apus_bench *b = tables[i]; b->name; b++)
			if (index-- == 0)
				return b;
	return NULL;
}
