/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main_cores.c: what --cores means on this machine.
 */
#include "net/main_cores.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSFS_CPUS "/sys/devices/system/cpu/"

enum {
	LIST_BYTES = 128,      /* of a list in a sentence */
	LIST_BYTES_MAX = 2048, /* of one of the kernel's */
};

/* --- Lists --------------------------------------------------------------------------------- */

/* A number below CPU_SETSIZE. Return: where it ends; NULL: there is none. */
static const char *read_cpu(const char *at, int *cpu)
{
	char *end;

	if (*at < '0' || *at > '9')
		return NULL;

	unsigned long value = strtoul(at, &end, 10);

	/* A number that is too large is one, of a CPU that no machine has. */
	*cpu = (int)apus_min(value, (unsigned long)CPU_SETSIZE);
	return end;
}

/* "3" or "0-3", and the comma after it. Return: what follows; NULL: it is not one. */
static const char *read_range(const char *at, int *first, int *last)
{
	at = read_cpu(at, first);
	if (!at)
		return NULL;
	*last = *first;
	if (*at == '-')
		at = read_cpu(at + 1, last);
	if (!at || *last < *first)
		return NULL;
	if (*at == ',')
		return at[1] ? at + 1 : NULL;
	return *at ? NULL : at;
}

/* The kernel's lists of CPUs; an empty line is an empty list. */
static bool read_list(const char *path, cpu_set_t *set)
{
	char line[LIST_BYTES_MAX];
	const char *at = line;
	FILE *f = fopen(path, "re");
	int first, last;

	CPU_ZERO(set);
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		*line = '\0';
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	while (at && *at) {
		at = read_range(at, &first, &last);
		for (int cpu = first; at && cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, set);
	}
	return at != NULL;
}

static void print_list(const cpu_set_t *set, char *out, size_t bytes)
{
	size_t used = 0;

	*out = '\0';
	for (int cpu = 0; cpu < CPU_SETSIZE && used < bytes; cpu++) {
		int last = cpu;

		if (!CPU_ISSET(cpu, set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
			last++;
		used += (size_t)snprintf(out + used, bytes - used, last > cpu ? "%s%d-%d" : "%s%d",
					 used ? "," : "", cpu, last);
		cpu = last;
	}
}

/* --- The machine --------------------------------------------------------------------------- */

static bool can_use(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0;
}

void apus_cpus_look(struct apus_cpus *cpus)
{
	CPU_ZERO(&cpus->given);
	CPU_ZERO(&cpus->usable);
	(void)sched_getaffinity(0, sizeof(cpus->given), &cpus->given);
	if (!read_list(SYSFS_CPUS "present", &cpus->present))
		for (int cpu = 0; cpu < (int)sysconf(_SC_NPROCESSORS_CONF); cpu++)
			CPU_SET(cpu, &cpus->present);
	if (!read_list(SYSFS_CPUS "online", &cpus->online))
		cpus->online = cpus->present;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus->online) && can_use(cpu))
			CPU_SET(cpu, &cpus->usable);
	(void)sched_setaffinity(0, sizeof(cpus->given), &cpus->given);
}

/* --- Entry point --------------------------------------------------------------------------- */

struct parsing {
	const struct apus_cpus *cpus;
	const char *text;
	unsigned int max;
	int *cores;
	unsigned int count;
	cpu_set_t taken;
	char *why;
	size_t why_bytes;
};

/* Return: false, and why, if it cannot be used. */
static bool take(struct parsing *p, int cpu)
{
	char list[LIST_BYTES];

	if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &p->cpus->present)) {
		print_list(&p->cpus->present, list, sizeof(list));
		snprintf(p->why, p->why_bytes, "--cores %s: this machine has no CPU %d; it has %s",
			 p->text, cpu, list);
	} else if (!CPU_ISSET(cpu, &p->cpus->online)) {
		print_list(&p->cpus->online, list, sizeof(list));
		snprintf(p->why, p->why_bytes,
			 "--cores %s: CPU %d is offline; bring it up with `echo 1 > " SYSFS_CPUS
			 "cpu%d/online`, or choose among %s",
			 p->text, cpu, cpu, list);
	} else if (!CPU_ISSET(cpu, &p->cpus->usable)) {
		print_list(&p->cpus->usable, list, sizeof(list));
		snprintf(p->why, p->why_bytes,
			 "--cores %s: this process may not run on CPU %d: its cpuset (of a "
			 "container, or of an isolated partition) has only %s",
			 p->text, cpu, list);
	} else if (CPU_ISSET(cpu, &p->taken)) {
		snprintf(p->why, p->why_bytes,
			 "--cores %s: CPU %d is in the list twice; two shards on one CPU would "
			 "only wait for each other",
			 p->text, cpu);
	} else if (p->count == p->max) {
		snprintf(p->why, p->why_bytes,
			 "--cores %s: these are more than the %u that DPDK can use; give fewer",
			 p->text, p->max);
	} else {
		CPU_SET(cpu, &p->taken);
		p->cores[p->count++] = cpu;
		return true;
	}
	return false;
}

int apus_cores_parse(const char *text, const struct apus_cpus *cpus, unsigned int max, int *cores,
		     unsigned int *count, char *why, size_t why_bytes)
{
	struct parsing p = {
		.cpus = cpus,
		.text = text,
		.max = max,
		.cores = cores,
		.why = why,
		.why_bytes = why_bytes,
	};
	char all[LIST_BYTES_MAX];
	const char *at = text;
	int first, last;

	if (!strcmp(text, "all")) {
		print_list(&cpus->given, all, sizeof(all));
		at = all;
	}
	do {
		at = read_range(at, &first, &last);
		if (!at) {
			snprintf(why, why_bytes,
				 "--cores %s: give CPUs, as 0-3 or 0,2, or all for those that this "
				 "process may run on",
				 text);
			return -EINVAL;
		}
		for (int cpu = first; cpu <= last; cpu++)
			if (!take(&p, cpu))
				return -EINVAL;
	} while (*at);
	*count = p.count;
	return 0;
}
