/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev.h: one queue pair of a DPDK port, any driver's, as a link.
 */
#ifndef APUS_NET_LINK_ETHDEV_H
#define APUS_NET_LINK_ETHDEV_H

#include "net/link/link.h"

APUS_BEGIN_DECLS

#define APUS_ETHDEV_MBUFS_DEFAULT 16384
#define APUS_ETHDEV_MBUFS_MIN     2048

struct apus_ethdev_options {
	const char *
		device; /* "net_tap0", "0000:03:00.0"; arguments after a comma do not matter; NULL: the first */
	uint16_t mtu;   /* 0: the device's, 1500 as a rule */
	uint32_t mbufs; /* in the pool, for frames in both directions; 0: 16384 */
};

/** apus_ethdev_memory - bytes that a pool of @mbufs (0: default) for @mtu (0: 1500) and the rest of a port take. Context: any */
uint64_t apus_ethdev_memory(uint32_t mbufs, uint16_t mtu);

/**
 * apus_ethdev_open - configure and start a port with one queue pair
 * @options: borrowed until return
 * @why:     on error one sentence: the cause, and the remedy
 *
 * Offloads are asked for where hardware has them; the rest is done by software, here (gathering segments) or in the stack (checksums).
 *
 * Context: thread, on a shard, after apus_eal_open().
 * Return: 0; -ENODEV; -ENOMEM; -EINVAL, an option the device cannot follow; -errno of the driver.
 */
APUS_MUST_CHECK int apus_ethdev_open(const struct apus_ethdev_options *options, char *why,
				     size_t why_bytes, struct apus_link **out);

/** apus_ethdev_report - one line of the log: what the port is, what it does for us, what software does */
void apus_ethdev_report(const struct apus_link *link);

/** apus_ethdev_port - the port's number in DPDK. Context: any */
uint16_t apus_ethdev_port(const struct apus_link *link);

APUS_END_DECLS

#endif
