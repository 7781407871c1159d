/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/example.h: how every example starts.
 *
 * With --virtual the clock is virtual: it stands still while anything can run and then jumps to the
 * next timer, so an example that sleeps for an hour ends at once, and prints the same every time.
 */
#ifndef APUS_APPS_EXAMPLES_EXAMPLE_H
#define APUS_APPS_EXAMPLES_EXAMPLE_H

#include "runtime/sched/run.h"

#include <stdio.h>
#include <string.h>

/* Seconds since the example began, by its clock. */
static inline double seconds(void)
{
	static int64_t began_at_ns;

	if (!began_at_ns)
		began_at_ns = apus_now();
	return (double)(apus_now() - began_at_ns) / (double)APUS_SEC;
}

static inline int example_run(int argc, char **argv, apus_task_fn fn)
{
	struct apus_clock clock;
	struct apus_shard_options options = {.core = -1};

	if (argc > 1 && strcmp(argv[1], "--virtual") == 0) {
		apus_clock_init_virtual(&clock, APUS_SEC);
		options.clock = &clock;
		options.seed = 1;
	}
	return apus_run(&options, fn, NULL) < 0;
}

#endif
