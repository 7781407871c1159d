/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev.h: a DPDK port, any driver's, as a link, or as one link for each of several shards.
 */
#ifndef APUS_NET_LINK_ETHDEV_H
#define APUS_NET_LINK_ETHDEV_H

#include "net/link/link.h"

APUS_BEGIN_DECLS

#define APUS_ETHDEV_MBUFS_DEFAULT 16384
#define APUS_ETHDEV_MBUFS_MIN     2048

struct apus_ethdev_port;
struct apus_steer;

struct apus_ethdev_options {
	const char *
		device; /* "net_tap0", "0000:03:00.0"; arguments after a comma do not matter; NULL: the first */
	uint16_t mtu;    /* 0: the device's, 1500 as a rule */
	uint16_t shards; /* that share the port; 0: 1 */
	uint32_t mbufs;  /* in each shard's pool, for frames in both directions; 0: 16384 */
	uint64_t seed;   /* of the key that flows are spread by; 0: the system's chance */
};

/** apus_ethdev_memory - bytes that a pool of @mbufs (0: default) for @mtu (0: 1500) and the rest of a port take, for each shard. Context: any */
uint64_t apus_ethdev_memory(uint32_t mbufs, uint16_t mtu);

/**
 * apus_ethdev_port_open - configure and start a port, with a queue pair for each shard if it has them
 * @options: borrowed until return
 * @why:     on error one sentence: the cause, and the remedy
 *
 * A device with fewer queues than shards is no error: shards that have none get their frames handed
 * over, and give what they send to one that has (net/link/steer.h). Offloads are asked for where
 * hardware has them; the rest is done by software, here (gathering segments) or in the stack
 * (checksums).
 *
 * Context: thread, after apus_eal_open(); needs no shard.
 * Return: 0; -ENODEV; -ENOMEM; -EINVAL, an option the device cannot follow; -errno of the driver.
 */
APUS_MUST_CHECK int apus_ethdev_port_open(const struct apus_ethdev_options *options, char *why,
					  size_t why_bytes, struct apus_ethdev_port **out);

/** apus_ethdev_port_close - stop the port; its links are closed, and so is the fabric of its shards. Consumes @port. Context: thread */
void apus_ethdev_port_close(struct apus_ethdev_port *port);

/**
 * apus_ethdev_queue_open - the port as the link of shard @index
 *
 * Its frames are those of queue @index; what belongs to other shards is among them (apus_steer_wrap()
 * hands that over). Each index once. Context: thread, on the shard. Return: 0; -ENOMEM.
 */
APUS_MUST_CHECK int apus_ethdev_queue_open(struct apus_ethdev_port *port, unsigned int index,
					   struct apus_link **out);

/** apus_ethdev_steer - what its links are to be wrapped with; NULL when it has one shard only. Context: any */
struct apus_steer *apus_ethdev_steer(const struct apus_ethdev_port *port);

/** apus_ethdev_port_report - lines of the log: what the port is, what it does for us, what software does */
void apus_ethdev_port_report(const struct apus_ethdev_port *port);

/** apus_ethdev_rss_verdict - how flows come to their shards, in a few words: "hardware, key ours, ...". Context: any */
void apus_ethdev_rss_verdict(const struct apus_ethdev_port *port, char *text, size_t bytes);

/** apus_ethdev_open - apus_ethdev_port_open() and its only link in one, for one shard; the port goes with the link. Context: thread, on a shard */
APUS_MUST_CHECK int apus_ethdev_open(const struct apus_ethdev_options *options, char *why,
				     size_t why_bytes, struct apus_link **out);

/** apus_ethdev_report - as apus_ethdev_port_report(), of the link's port */
void apus_ethdev_report(const struct apus_link *link);

/** apus_ethdev_port - the port's number in DPDK. Context: any */
uint16_t apus_ethdev_port(const struct apus_link *link);

APUS_END_DECLS

#endif
