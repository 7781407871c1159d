/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev_internal.h: what the files of ethdev share: a port, and one of its links.
 */
#ifndef APUS_NET_LINK_ETHDEV_INTERNAL_H
#define APUS_NET_LINK_ETHDEV_INTERNAL_H

#include "net/link/ethdev.h"
#include "net/link/rss.h"
#include "runtime/base/alloc.h"

#include <rte_ethdev.h>
#include <stdatomic.h>

/* What the device lets us know of how it spreads flows over queues. */
enum apus_rss_source {
	APUS_RSS_OURS,    /* it took what we gave it, and says so when asked */
	APUS_RSS_THEIRS,  /* it has its own, and says what that is */
	APUS_RSS_UNKNOWN, /* it says nothing, or nothing that can be true */
};

struct apus_rss_facts {
	enum apus_rss_source key, table;
	uint64_t hashed; /* RTE_ETH_RSS_*: what it says it hashes */
	bool asked;      /* it was asked to hash: several queues, and a driver that can */
};

struct apus_ethdev_port {
	struct apus_heap heap;    /* its own: it is older than any shard */
	struct apus_steer *steer; /* NULL with one shard */
	struct apus_rss rss;
	struct apus_rss_facts facts;
	uint16_t port;
	uint16_t shards;
	uint16_t rx_queues, tx_queues; /* <= shards; a shard beyond them has none */
	bool is_tap;
	bool gather;  /* the driver takes one segment only */
	bool prepare; /* granted offloads need rte_eth_tx_prepare() */
	bool reads_any_memory;
	uint64_t offered;                  /* RTE_ETH_TX_OFFLOAD_* that the driver says it has */
	uint64_t tx_offloads, rx_offloads; /* granted; as in a link */
	uint16_t tx_segs_max;
	uint16_t mtu;
	struct rte_ether_addr mac;
	atomic_uint links; /* open */
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_mempool *pools[APUS_RSS_SHARDS_MAX]; /* one for each shard */
	int fds[APUS_RSS_SHARDS_MAX]; /* of each receive queue's interrupt; < 0: none */
};

/** apus_ethdev_ask_rss - what to configure: key, and what to hash; @info: of the device. Context: thread */
void apus_ethdev_ask_rss(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			 const uint8_t *key, size_t key_bytes, struct rte_eth_conf *conf);
/** apus_ethdev_test_rss - the port is started: give it our table, look what it really has, make the rule. Context: thread */
void apus_ethdev_test_rss(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			  const uint8_t *key, size_t key_bytes);
/** apus_ethdev_rss_key_bytes - how long a key this device wants. Context: any */
size_t apus_ethdev_rss_key_bytes(const struct rte_eth_dev_info *info);

#endif
