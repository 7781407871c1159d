/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel.h: the twin: the same sockets, made of the kernel's (--net kernel).
 *
 * A shard has a stack of its own or this, never both; apus_tcp_* and apus_udp_* are the same
 * functions. It is the honest baseline of every comparison, and the way in for who has no NIC to
 * give away. Everything of a turn goes to the kernel in one system call, by io_uring: accepts and
 * receives are multishot, into buffers that the kernel takes from a shared ring.
 *
 * What differs: times are the kernel's, addresses are the host's, lent buffers (apus_tcp_send_buffer)
 * are copied, and a close that lingers waits until the kernel has what was written, not the peer.
 */
#ifndef APUS_NET_SOCKET_KERNEL_H
#define APUS_NET_SOCKET_KERNEL_H

#include "runtime/sched/shard.h"

APUS_BEGIN_DECLS

struct apus_kernel;

struct apus_kernel_options {
	bool share_ports; /* listeners of several shards share a port: the kernel spreads connections */
};

/**
 * apus_kernel_open - the kernel's sockets as the network of @shard
 * @options: borrowed until return; NULL: all zero
 *
 * Context: thread, @shard entered.
 * Return:  0; -ENOMEM; -ENOSYS or -EPERM: this process may not use io_uring; -errno of it.
 */
APUS_MUST_CHECK int apus_kernel_open(struct apus_shard *shard,
				     const struct apus_kernel_options *options,
				     struct apus_kernel **out);
/** apus_kernel_say_why - a sentence for who runs this: what to do about apus_kernel_open()'s @rc. Context: any */
void apus_kernel_say_why(int rc, char *why, size_t why_bytes);
/** apus_kernel_close - every connection is reset, every socket must be closed. Context: any, entered, not in a task of it */
void apus_kernel_close(struct apus_kernel *kernel);
/** apus_kernel_self - the current shard's; NULL if it has none. Context: any */
struct apus_kernel *apus_kernel_self(void);
/** apus_kernel_linger - wait until what was written to closed connections is the kernel's, at most @ns. Context: task, suspends. Return: 0, -ETIMEDOUT, -ECANCELED */
APUS_MUST_CHECK int apus_kernel_linger(struct apus_kernel *kernel, int64_t ns);

#define APUS_KERNEL_SLOT 3 /* of apus_shard_slot() */

APUS_END_DECLS

#endif
