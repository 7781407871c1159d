/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/calls.c: calls between two shards that turn by turns in one thread: what both sides of a call
 * do, without what it costs to get a line from one core to the other (bench/cross.c).
 */
#include "bench/bench.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/call.h"
#include "runtime/sched/shard.h"

static struct {
	struct apus_shard *shards[2];
	uint64_t left;
} job;

static int64_t nothing(void *arg)
{
	return 0;
}

static int64_t call_repeatedly(void *arg)
{
	while (job.left) {
		job.left--;
		apus_must(apus_call_on(1, nothing, NULL) == 0);
	}
	return 0;
}

static int64_t post_repeatedly(void *arg)
{
	while (job.left) {
		job.left--;
		apus_must(apus_post_to(1, nothing, NULL) == 0);
	}
	return 0;
}

static void turn(unsigned int shard)
{
	apus_shard_enter(job.shards[shard]);
	apus_shard_turn(job.shards[shard]);
}

static int64_t in_two_shards(apus_task_fn fn, uint64_t n, int64_t tasks)
{
	const struct apus_shard_options options = {.core = -1, .spin = true, .seed = 1};
	struct apus_cross *cross;

	for (int i = 0; i < 2; i++)
		apus_must(apus_shard_open(&options, &job.shards[i]) == 0);
	apus_must(apus_cross_open(job.shards, 2, NULL, &cross) == 0);
	job.left = n;
	apus_shard_enter(job.shards[0]);
	for (int64_t i = 0; i < tasks; i++)
		apus_must(apus_spawn_detached(NULL, fn, NULL, 0) == 0);

	int64_t begin_ns = apus_clock_host_ns();

	while (apus_shard_tasks(job.shards[0]) || apus_shard_tasks(job.shards[1])) {
		turn(0);
		turn(1);
	}

	int64_t elapsed_ns = apus_clock_host_ns() - begin_ns;

	for (int i = 0; i < 4; i++)
		turn(i % 2); /* the last posts are told of */
	apus_shard_enter(NULL);
	apus_cross_close(cross);
	for (int i = 0; i < 2; i++)
		apus_shard_close(job.shards[i]);
	return elapsed_ns;
}

static int64_t call(uint64_t n, int64_t tasks)
{
	return in_two_shards(call_repeatedly, n, tasks);
}

static int64_t post(uint64_t n, int64_t tasks)
{
	return in_two_shards(post_repeatedly, n, tasks);
}

const struct apus_bench apus_bench_calls[] = {
	{"cross/call/1", call, 1, 5000000, 100000},
	{"cross/call/64", call, 64, 10000000, 100000},
	{"cross/post", post, 1, 10000000, 100000},
	{NULL, NULL, 0, 0, 0},
};
