/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/instructions.c: runs one benchmark a given number of times, for callgrind to count, and
 * for `scripts/bench peers` to time: the programs in bench/peers/ are called the same way.
 *
 *	instructions             lists the names and how many operations to ask for
 *	instructions NAME COUNT  does it, and prints the nanoseconds it took
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const struct apus_bench *bench;

	for (size_t i = 0; (bench = apus_bench_at(i)); i++) {
		if (argc < 2)
			printf("%s %llu\n", bench->name, (unsigned long long)bench->count_batch);
		else if (!strcmp(bench->name, argv[1]))
			break;
	}
	if (argc < 2)
		return 0;
	if (!bench || argc < 3) {
		fprintf(stderr,
			"instructions: no benchmark named %s; without arguments all are listed\n",
			argv[1]);
		return 1;
	}
	printf("%lld\n", (long long)bench->run(strtoull(argv[2], NULL, 10), bench->arg));
	return 0;
}
