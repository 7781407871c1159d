/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main_cores.h: what --cores means on this machine.
 *
 * Internal.
 */
#ifndef APUS_NET_MAIN_CORES_H
#define APUS_NET_MAIN_CORES_H

#include "runtime/base/compiler.h"

#include <sched.h>

/* The CPUs of a machine, as a process sees them. */
struct apus_cpus {
	cpu_set_t present; /* they exist */
	cpu_set_t online;  /* and are switched on */
	cpu_set_t usable;  /* and a thread of this process can be moved there */
	cpu_set_t given;   /* and this thread may run there as it is: `all` */
};

/**
 * apus_cpus_look - look at this machine
 *
 * Whether a CPU can be used is tried, by moving the thread there and back: what the thread's affinity
 * says leaves out those that are isolated from the scheduler (isolcpus), which are the best ones.
 * Context: thread.
 */
void apus_cpus_look(struct apus_cpus *cpus);

/**
 * apus_cores_parse - a list such as 0-3, 0,2 or all
 * @max:   room in @cores, and what a process can use
 * @cores: written in the order of the list, @count of them
 * @why:   on error one sentence: the cause, and the remedy
 *
 * Context: any. Return: 0; -EINVAL.
 */
APUS_MUST_CHECK int apus_cores_parse(const char *text, const struct apus_cpus *cpus,
				     unsigned int max, int *cores, unsigned int *count, char *why,
				     size_t why_bytes);

#endif
