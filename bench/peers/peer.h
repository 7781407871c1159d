/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/peers/peer.h: what a peer program in C or C++ is made of.
 *
 * A peer does with another library what bench/ does with apus, under the same name and by the same
 * definition, and is called as bench/instructions is:
 *
 *	PROGRAM             lists the names, and with how many operations to begin
 *	PROGRAM NAME COUNT  does them, and prints the nanoseconds they took, preparation left out
 *	PROGRAM --version   prints what it measures
 */
#ifndef APUS_BENCH_PEERS_PEER_H
#define APUS_BENCH_PEERS_PEER_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct peer_operation {
	const char *name;
	int64_t (*run)(uint64_t n, int64_t arg); /* gives the nanoseconds */
	int64_t arg;
	uint64_t count;
};

static inline int64_t peer_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void peer_must(int ok)
{
	if (!ok)
		abort();
}

/* Up to 60 at random: the same series in every run. */
static inline double peer_random_seconds(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return 60 * (double)(state >> 33) / (double)(UINT64_C(1) << 31);
}

static inline int peer_main(int argc, char **argv, const char *version,
			    const struct peer_operation *operations)
{
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("%s\n", version);
		return 0;
	}
	for (const struct peer_operation *o = operations; o->name; o++) {
		if (argc < 3) {
			printf("%s %" PRIu64 "\n", o->name, o->count);
		} else if (!strcmp(o->name, argv[1])) {
			printf("%" PRId64 "\n", o->run(strtoull(argv[2], NULL, 10), o->arg));
			return 0;
		}
	}
	return argc < 3 ? 0 : 1;
}

#endif
