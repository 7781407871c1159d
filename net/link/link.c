/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/link.c: what all kinds of links share: their counters and how a wrapper begins.
 */
#include "net/link/link.h"
#include "runtime/sched/shard.h"

#include <rte_eal.h>
#include <rte_memory.h>
#include <string.h>

static const char *const counter_names[] = {APUS_LINK_COUNTERS(APUS_COUNTER_NAME)};

static_assert(APUS_LINK_RX_BYTES == APUS_LINK_RX_FRAMES + 1, "apus_link_count() adds to both");
static_assert(APUS_LINK_TX_BYTES == APUS_LINK_TX_FRAMES + 1, "apus_link_count() adds to both");

void apus_link_init(struct apus_link *link, const struct apus_link_type *type)
{
	memset(link, 0, sizeof(*link));
	link->type = type;
	link->wake_fd = -1;
	apus_metrics_register(apus_shard_metrics(apus_shard_self()), &link->metrics, type->name,
			      counter_names, link->counters, APUS_LINK_COUNTER_COUNT);
}

void apus_link_wrap(struct apus_link *link, const struct apus_link_type *type,
		    const struct apus_link *inner)
{
	apus_link_init(link, type);
	link->mac = inner->mac;
	link->mtu = inner->mtu;
	link->is_l3 = inner->is_l3;
	link->tx_offloads = inner->tx_offloads;
	link->rx_offloads = inner->rx_offloads;
	link->pool = inner->pool;
	link->tx_segs_max = inner->tx_segs_max;
	link->reads_any_memory = inner->reads_any_memory;
	link->wake_fd = inner->wake_fd;
	link->shard = inner->shard;
	link->rss = inner->rss;
}

bool apus_link_can_send(const struct apus_link *link, const void *bytes, size_t count,
			rte_iova_t *iova)
{
	const char *last = (const char *)bytes + count - 1;

	*iova = (rte_iova_t)(uintptr_t)bytes;
	if (link->reads_any_memory)
		return true;
	return rte_eal_iova_mode() == RTE_IOVA_VA && rte_mem_virt2memseg_list(bytes) &&
	       rte_mem_virt2memseg_list(bytes) == rte_mem_virt2memseg_list(last);
}

void apus_link_fini(struct apus_link *link)
{
	apus_metrics_unregister(&link->metrics);
}
