/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/eal_thread.c: threads of ours that DPDK knows.
 *
 * Registered, not launched by EAL: so a shard's thread is started in one way with and without a
 * network, and stops for good. DPDK's pools keep a cache for it all the same; without one, each
 * burst would go to the ring that all threads share.
 */
#include "net/link/eal.h"

#include <errno.h>
#include <stdio.h>

#include <rte_lcore.h>

int apus_eal_thread_open(char *why, size_t why_bytes)
{
	if (rte_lcore_id() != LCORE_ID_ANY || !rte_thread_register())
		return 0;
	snprintf(why, why_bytes, "DPDK does not take another thread (%s): give fewer --cores",
		 apus_eal_said());
	return -ENOMEM;
}

void apus_eal_thread_close(void)
{
	unsigned int lcore = rte_lcore_id();

	if (lcore != LCORE_ID_ANY && rte_eal_lcore_role(lcore) == ROLE_NON_EAL)
		rte_thread_unregister();
}
