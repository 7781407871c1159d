/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/net_test.h: what every test of the net floors needs.
 *
 * The frames of a test are real mbufs, so DPDK's environment must be there: without hugepages,
 * devices, files or threads of its own, as many at a time as there are test programs.
 */
#ifndef APUS_TESTS_NET_NET_TEST_H
#define APUS_TESTS_NET_NET_TEST_H

#include "runtime/base/check.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static inline void apus_test_eal_cleanup(void)
{
	rte_eal_cleanup();
}

/**
 * apus_test_eal - start DPDK's environment in this process; the first call does, later ones return
 *
 * EAL pins the calling thread; the affinity it had is given back, so that tests run side by side.
 * The memory is address space until it is touched.
 */
static inline void apus_test_eal(void)
{
	static bool started;
	static char lcores[32]; /* EAL keeps the arguments */
	static char *argv[] = {
		"test", "--no-huge",         "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		"512",  "--log-level=error", "--lcores", lcores,        "--iova-mode=va", NULL};
	cpu_set_t before;
	int cpu = 0;

	if (started)
		return;
	started = true;
	apus_must(sched_getaffinity(0, sizeof(before), &before) == 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	snprintf(lcores, sizeof(lcores), "0@%d", cpu);
	if (rte_eal_init((int)apus_countof(argv) - 1, argv) < 0) {
		fprintf(stderr, "test: rte_eal_init: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
	apus_must(sched_setaffinity(0, sizeof(before), &before) == 0);
	atexit(apus_test_eal_cleanup);
}

#endif
