/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/pool.h: where mbufs come from: a mempool that gives back first what was freed last.
 */
#ifndef APUS_NET_LINK_POOL_H
#define APUS_NET_LINK_POOL_H

#include "runtime/base/compiler.h"

#include <rte_mempool.h>

APUS_BEGIN_DECLS

#define APUS_POOL_CACHE 256 /* mbufs that a core keeps at hand */

/**
 * apus_pool_create - a pool of @mbufs mbufs with room for @room bytes each, headroom counted
 * @name:   unique in the process
 * @cache:  APUS_POOL_CACHE; 0: none, where each mbuf counts
 * @socket: of memory; SOCKET_ID_ANY
 *
 * As rte_pktmbuf_pool_create(), but for two things. Its free mbufs are a stack, not a ring, unless
 * the platform or the user has chosen (--mbuf-pool-ops-name): from a ring comes what was freed
 * longest ago, so that a few hundred mbufs in use touch all the memory there is, and each is out of
 * the caches when its turn comes. And without hugepages mbufs may cross pages: else each would
 * begin a page, half of the memory lost, and every header in the same few lines of the first-level
 * cache. Only devices of software work without hugepages, and they do not ask where a page is.
 *
 * Context: any. Return: the pool, freed by rte_mempool_free(); NULL with rte_errno set.
 */
APUS_MUST_CHECK struct rte_mempool *apus_pool_create(const char *name, uint32_t mbufs,
						     uint32_t cache, uint16_t room, int socket);

APUS_END_DECLS

#endif
