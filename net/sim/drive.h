/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/drive.h: a host of a simulated world, driven from outside by a foreign loop.
 *
 * For conformance tools written for sockets and packets, fuzzers, models: the host has no wire but
 * a link of bare IP packets, without Ethernet and ARP, whose other end is the caller. Time moves
 * only by apus_sim_jump(), chance comes from the world's seed, and nothing here has a thread,
 * sleeps, spins or reads a clock: the same calls are the same packets, at the same times.
 *
 *	apus_sim_world_open(seed, NULL, &world);
 *	apus_sim_host_open(world, "dut", &(struct apus_sim_host_options){.ip = "192.0.2.1/24"}, &host);
 *	apus_sim_drive(host, NULL);
 *	call = apus_sim_spawn(host, "accept", do_accept, NULL);	// a call that may wait: a task
 *	for (;;) {
 *		next_ns = apus_sim_step(world);			// all that can run now, runs
 *		while ((n = apus_sim_collect(host, packet, sizeof(packet), &sent_at_ns)) > 0)
 *			hear(packet, n, sent_at_ns);		// here: apus_sim_inject(), apus_sim_spawn()
 *		if (apus_sim_task_done(call))			// apus_sim_task_result(), _ended_at(),
 *			...					// _forget()
 *		apus_sim_jump(world, earlier(next_ns, mine_ns));
 *	}
 *
 * Checksums are made and checked in software. The caller is the network: what it does not pass on is
 * lost, what it passes on late is late; apus_sim_host_impair() impairs what the host sends before it
 * can be collected. apps/examples/drive.c is a whole program.
 */
#ifndef APUS_NET_SIM_DRIVE_H
#define APUS_NET_SIM_DRIVE_H

#include "net/link/l3.h"
#include "net/sim/world.h"

APUS_BEGIN_DECLS

struct apus_sim_drive_options {
	uint32_t queue_packets; /* sent and not collected, at most; more are dropped; 0: 4096 */
	uint16_t mtu;           /* of the link; 0: 1500 */
};

/**
 * apus_sim_drive - the caller becomes the other end of @host's link, and its stack is opened
 * @options: borrowed until return; NULL: all zero
 *
 * Context: thread, not in a task. Return: 0, -EALREADY (it has a link), -EINVAL, -ENOMEM; after the
 * last two the world is good for being closed only.
 */
APUS_MUST_CHECK int apus_sim_drive(struct apus_sim_host *host,
				   const struct apus_sim_drive_options *options);

/**
 * apus_sim_inject - @packet arrives at @host now; the next apus_sim_step() takes it in
 * @packet: from the first byte of the IP header; copied; may be as wrong as one likes
 * @bytes:  at most 65535
 *
 * Context: thread, not in a task. Return: 0; -EMSGSIZE; -ENOBUFS, -ENOSPC (lost, as at a NIC: counted).
 */
APUS_MUST_CHECK int apus_sim_inject(struct apus_sim_host *host, const void *packet, size_t bytes);

/**
 * apus_sim_collect - take the oldest packet that @host sent and nobody collected
 * @buf:        takes it, from the first byte of the IP header
 * @bytes:      room there; a longer packet is cut
 * @sent_at_ns: NULL, or takes the world's time when it was sent
 *
 * Context: thread, not in a task. Return: bytes of the packet, cut or not; 0 if there is none.
 */
APUS_MUST_CHECK size_t apus_sim_collect(struct apus_sim_host *host, void *buf, size_t bytes,
					int64_t *sent_at_ns);

/** apus_sim_uncollected - packets sent and not collected. Context: any */
size_t apus_sim_uncollected(const struct apus_sim_host *host);

/**
 * apus_sim_call - call @fn on @host, now, outside of any task
 *
 * For calls that do not wait (listen, close, shutdown, set): what would wait must be spawned. What
 * is due at the present happens before; what the call caused is sent by the next step.
 *
 * Context: thread, not in a task. Return: what @fn returned.
 */
int64_t apus_sim_call(struct apus_sim_host *host, apus_task_fn fn, void *arg);

APUS_END_DECLS

#endif
