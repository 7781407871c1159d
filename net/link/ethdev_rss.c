/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev_rss.c: what a device really does to spread flows over its queues.
 *
 * A device is asked to hash with our key and given our table; then it is asked what it has. What it
 * took is ours; what it says it has instead is adopted, so that the rule by which software finds a
 * flow's owner is still the device's. If it says nothing, or nothing that can be true, the rule is
 * ours alone, and its queues are only where frames come from. Nothing here is ever fatal: cloud NICs
 * refuse to tell, virtual ones cannot hash, net_tap's queues are filled by the kernel's own rule.
 *
 * Whatever comes out, each frame's owner is found by software (net/link/steer.c), which costs less
 * than a look at a hash that might be of something else; what is decided here is how many frames
 * have to be handed over.
 */
#include "net/link/ethdev_internal.h"
#include "runtime/base/check.h"

#include <stdio.h>
#include <string.h>

#define GROUP      RTE_ETH_RETA_GROUP_SIZE
#define GROUPS_MAX (APUS_RSS_ENTRIES_MAX / GROUP)
#define HASH_WANTED                                                         \
 (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | \
  RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_OTHER)

/* The device's table as DPDK has it, and as we do: too large for a stack. */
struct scratch {
	struct rte_eth_rss_reta_entry64 groups[GROUPS_MAX];
	uint16_t table[APUS_RSS_ENTRIES_MAX];
};

size_t apus_ethdev_rss_key_bytes(const struct rte_eth_dev_info *info)
{
	size_t bytes = info->hash_key_size;

	return bytes >= APUS_RSS_KEY_BYTES_MIN && bytes <= APUS_RSS_KEY_BYTES_MAX
		       ? bytes
		       : APUS_RSS_KEY_BYTES;
}

void apus_ethdev_ask_rss(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			 const uint8_t *key, size_t key_bytes, struct rte_eth_conf *conf)
{
	uint64_t hashed = HASH_WANTED & info->flow_type_rss_offloads;

	/* net_tap offers to hash, by a program for the kernel that our kernels do not have. */
	p->facts.asked = key && p->rx_queues > 1 && hashed && !p->is_tap;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	memset(&conf->rx_adv_conf.rss_conf, 0, sizeof(conf->rx_adv_conf.rss_conf));
	conf->rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
	if (!p->facts.asked)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH & info->rx_offload_capa;
	conf->rx_adv_conf.rss_conf.rss_hf = hashed;
	if (info->hash_key_size == 0 || info->hash_key_size == key_bytes) {
		conf->rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)key;
		conf->rx_adv_conf.rss_conf.rss_key_len = (uint8_t)key_bytes;
	}
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Return: false if it does not say. */
static bool ask_key(struct apus_ethdev_port *p, uint8_t *key, size_t bytes)
{
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = (uint8_t)bytes};

	memset(key, 0, bytes);
	if (rte_eth_dev_rss_hash_conf_get(p->port, &conf))
		return false;
	p->facts.hashed = conf.rss_hf;
	return !all_zero(key, bytes); /* with zeros every hash is 0 */
}

/* @key holds ours, and then the device's. Some look at it only when it is given once more. */
static enum apus_rss_source read_key(struct apus_ethdev_port *p, uint8_t *key, size_t bytes)
{
	uint8_t theirs[APUS_RSS_KEY_BYTES_MAX];
	struct rte_eth_rss_conf again = {.rss_key = key, .rss_key_len = (uint8_t)bytes};

	if (!ask_key(p, theirs, bytes))
		return APUS_RSS_UNKNOWN;
	again.rss_hf = p->facts.hashed;
	if (memcmp(theirs, key, bytes) && !rte_eth_dev_rss_hash_update(p->port, &again) &&
	    !ask_key(p, theirs, bytes))
		return APUS_RSS_UNKNOWN;
	if (!memcmp(theirs, key, bytes))
		return APUS_RSS_OURS;
	memcpy(key, theirs, bytes);
	return APUS_RSS_THEIRS;
}

static bool entries_usable(uint16_t entries)
{
	return entries >= GROUP && entries <= APUS_RSS_ENTRIES_MAX && !(entries & (entries - 1u));
}

static void give_table(const struct apus_ethdev_port *p, uint16_t entries,
		       struct rte_eth_rss_reta_entry64 *groups)
{
	for (unsigned int i = 0; i < entries; i++) {
		groups[i / GROUP].mask = UINT64_MAX;
		groups[i / GROUP].reta[i % GROUP] = p->rss.queue[i];
	}
	/* If it fails, that is what the look at the table will show. */
	(void)rte_eth_dev_rss_reta_update(p->port, groups, entries);
}

static enum apus_rss_source read_table(const struct apus_ethdev_port *p, uint16_t entries,
				       struct scratch *scratch)
{
	struct rte_eth_rss_reta_entry64 *groups = scratch->groups;
	uint16_t *table = scratch->table;
	bool ours = true, used[APUS_RSS_SHARDS_MAX] = {0};

	memset(groups, 0, sizeof(scratch->groups));
	for (unsigned int i = 0; i < entries; i += GROUP)
		groups[i / GROUP].mask = UINT64_MAX;
	if (rte_eth_dev_rss_reta_query(p->port, groups, entries))
		return APUS_RSS_UNKNOWN;
	for (unsigned int i = 0; i < entries; i++) {
		table[i] = groups[i / GROUP].reta[i % GROUP];
		if (table[i] >= p->rx_queues)
			return APUS_RSS_UNKNOWN;
		used[table[i]] = true;
		ours = ours && table[i] == p->rss.queue[i];
	}
	for (unsigned int q = 0; q < p->rx_queues; q++)
		if (!used[q])
			return APUS_RSS_UNKNOWN; /* all on some queues: shards would starve */
	return ours ? APUS_RSS_OURS : APUS_RSS_THEIRS;
}

/* The rule; @table as the device has it, or NULL. What goes in was checked. */
static void make_rule(struct apus_ethdev_port *p, const uint8_t *key, size_t key_bytes,
		      const uint16_t *table, uint16_t entries)
{
	int rc = apus_rss_init(&p->rss, key, key_bytes, p->shards, p->rx_queues, table, entries);

	apus_must(rc == 0);
}

void apus_ethdev_test_rss(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			  const uint8_t *key, size_t key_bytes)
{
	uint8_t tried[APUS_RSS_KEY_BYTES_MAX];
	struct scratch *scratch = NULL;
	uint16_t entries = info->reta_size;

	p->facts.key = p->facts.table = APUS_RSS_UNKNOWN;
	p->facts.hashed = 0;
	if (p->facts.asked && entries_usable(entries))
		scratch = apus_heap_zalloc(&p->heap, sizeof(*scratch));
	if (scratch) {
		memcpy(tried, key, key_bytes);
		make_rule(p, key, key_bytes, NULL, entries);
		give_table(p, entries, scratch->groups);
		p->facts.table = read_table(p, entries, scratch);
		p->facts.key = read_key(p, tried, key_bytes);
	}
	if (p->facts.key == APUS_RSS_UNKNOWN || p->facts.table == APUS_RSS_UNKNOWN)
		make_rule(p, key, key_bytes, NULL, 0);
	else
		make_rule(p, tried, key_bytes, scratch->table, entries);
	apus_heap_free(&p->heap, scratch);
}

void apus_ethdev_rss_verdict(const struct apus_ethdev_port *p, char *text, size_t bytes)
{
	static const char *const whose[] = {[APUS_RSS_OURS] = "ours",
					    [APUS_RSS_THEIRS] = "the device's",
					    [APUS_RSS_UNKNOWN] = "unknown"};
	const struct apus_rss_facts *f = &p->facts;
	bool ports = f->hashed & RTE_ETH_RSS_NONFRAG_IPV4_TCP;

	if (p->rx_queues == 1)
		snprintf(text, bytes, "none, software steering of %u shards over 1 queue",
			 p->shards);
	else if (!f->asked)
		snprintf(text, bytes,
			 "the driver's own rule, software steering of %u shards over %u queues",
			 p->shards, p->rx_queues);
	else if (f->key == APUS_RSS_UNKNOWN || f->table == APUS_RSS_UNKNOWN)
		snprintf(
			text, bytes,
			"hardware, key %s, table %s: software steering of %u shards over %u queues",
			whose[f->key], whose[f->table], p->shards, p->rx_queues);
	else
		snprintf(
			text, bytes,
			"hardware, key %s (%ssymmetric), table %s of %u, tcp by %s, %u shards over "
			"%u queues",
			whose[f->key], apus_rss_is_symmetric(&p->rss) ? "" : "not ",
			whose[f->table], p->rss.entries, ports ? "ports" : "addresses", p->shards,
			p->rx_queues);
}
