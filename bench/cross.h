/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/cross.h: what the benchmarks of bench/cross.c share.
 */
#ifndef APUS_BENCH_CROSS_H
#define APUS_BENCH_CROSS_H

#include <pthread.h>
#include <stdint.h>

struct cross_bench {
	const char *name;
	double (*run)(uint64_t n); /* on core 0. Return: nanoseconds per operation */
	uint64_t count;            /* operations to ask for */
};

extern const struct cross_bench cross_rings[], cross_shards[]; /* the last has no name */

/** cross_start_on - a thread that stays on @core; to be joined */
pthread_t cross_start_on(int core, void *(*run)(void *), void *arg);

static inline void cross_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

#endif
