/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/cross.c: what it costs to talk from core to core, on cores 0 and 1.
 *
 *	cross             lists the names and how many operations to ask for
 *	cross NAME COUNT  does it, and prints nanoseconds per operation
 *
 * cross_rings.c has the rings, cross_shards.c what goes on between two shards.
 */
#include "bench/cross.h"
#include "runtime/base/check.h"
#include "runtime/base/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pin_to(pthread_attr_t *attr, int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	apus_must(pthread_attr_setaffinity_np(attr, sizeof(set), &set) == 0);
}

pthread_t cross_start_on(int core, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	apus_must(pthread_attr_init(&attr) == 0);
	pin_to(&attr, core);
	apus_must(pthread_create(&thread, &attr, run, arg) == 0);
	pthread_attr_destroy(&attr);
	return thread;
}

static void pin_self(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	apus_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0);
}

static const struct cross_bench *const all[] = {cross_rings, cross_shards};

static void list(void)
{
	for (size_t i = 0; i < apus_countof(all); i++)
		for (const struct cross_bench *b = all[i]; b->name; b++)
			printf("%s %llu\n", b->name, (unsigned long long)b->count);
}

static const struct cross_bench *find(const char *name)
{
	for (size_t i = 0; i < apus_countof(all); i++)
		for (const struct cross_bench *b = all[i]; b->name; b++)
			if (!strcmp(b->name, name))
				return b;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct cross_bench *bench = argc > 2 ? find(argv[1]) : NULL;

	if (argc < 2) {
		list();
		return 0;
	}
	if (!bench) {
		fprintf(stderr,
			"cross: give a name and a number of operations; without arguments all "
			"are listed\n");
		return 1;
	}
	pin_self(0);
	printf("%.2f\n", bench->run(strtoull(argv[2], NULL, 10)));
	return 0;
}
