// SPDX-License-Identifier: BSD-3-Clause
//
// bench/micro.cc: the one C++ file: every benchmark, timed by Google Benchmark.
//
#include "bench/bench.h"

#include <benchmark/benchmark.h>

static void time_one(benchmark::State &state, const struct apus_bench *bench)
{
	while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(bench->batch)))
		state.SetIterationTime(static_cast<double>(bench->run(bench->batch, bench->arg)) *
				       1e-9);
}

int main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 1;
	for (size_t i = 0; const struct apus_bench *bench = apus_bench_at(i); i++)
		benchmark::RegisterBenchmark(bench->name, time_one, bench)->UseManualTime();
	benchmark::RunSpecifiedBenchmarks();
	benchmark::Shutdown();
	return 0;
}
