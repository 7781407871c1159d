/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/pool.c: pools of mbufs; see pool.h.
 */
#include "net/link/pool.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <string.h>

/* The stack is a plug-in of DPDK, as the ring is: it may be missing. */
static int set_ops(struct rte_mempool *pool)
{
	const char *ops = rte_mbuf_best_mempool_ops();

	if (!strcmp(ops, RTE_MBUF_DEFAULT_MEMPOOL_OPS) &&
	    !rte_mempool_set_ops_byname(pool, "stack", NULL))
		return 0;
	return rte_mempool_set_ops_byname(pool, ops, NULL);
}

struct rte_mempool *apus_pool_create(const char *name, uint32_t mbufs, uint32_t cache,
				     uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	unsigned int flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	struct rte_mempool *pool =
		rte_mempool_create_empty(name, mbufs, (unsigned int)sizeof(struct rte_mbuf) + room,
					 cache, sizeof(private), socket, flags);
	int rc;

	if (!pool)
		return NULL;
	rc = set_ops(pool);
	if (!rc) {
		rte_pktmbuf_pool_init(pool, &private);
		rc = rte_mempool_populate_default(pool);
	}
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}
