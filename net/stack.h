/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/stack.h: the corridor: one shard's TCP/IP stack over one link.
 *
 * apus_stack_open() initialises the rooms in floor order and attaches the stack to the shard as a
 * poller; the sockets (net/socket) find it there.
 */
#ifndef APUS_NET_STACK_H
#define APUS_NET_STACK_H

#include "net/ip/addr.h"
#include "net/link/link.h"
#include "net/tcp/options.h"
#include "runtime/sched/shard.h"

APUS_BEGIN_DECLS

struct apus_stack;

struct apus_stack_options {
	struct apus_addr addr;    /* of the interface */
	unsigned int prefix_bits; /* of the connected route */
	uint32_t
		more_addrs; /* that follow it and are ours, too: connections leave from all in turn */
	struct apus_addr gateway; /* any: none */
	uint16_t mtu;             /* 0: the link's */
	uint32_t connections_max; /* 0: 65536 */
	struct apus_tcp_options tcp;
};

/**
 * apus_stack_open - a stack over @link, on @shard
 * @link:    consumed: closed with the stack, or at once on error
 * @options: borrowed until return
 *
 * Says its address to the neighbours (RFC 5227 §2.3), without having looked whether another has it;
 * a conflict is counted and answered later.
 *
 * Context: any, @shard entered.
 * Return:  0; -ENOMEM; -EINVAL: an address no host can have, a gateway that is no neighbour, an MTU
 *          above the link's or below 68; -errno of watching the link's wake_fd.
 */
APUS_MUST_CHECK int apus_stack_open(struct apus_shard *shard, struct apus_link *link,
				    const struct apus_stack_options *options,
				    struct apus_stack **out);
/** apus_stack_close - every connection is reset, every socket must be closed. Context: any, entered, not in a task of it */
void apus_stack_close(struct apus_stack *stack);
/** apus_stack_self - the current shard's; NULL if it has none */
struct apus_stack *apus_stack_self(void);
/** apus_stack_linger - wait until connections closed in the background have said their FIN, at most @ns. Context: task, suspends. Return: 0, -ETIMEDOUT, -ECANCELED */
APUS_MUST_CHECK int apus_stack_linger(struct apus_stack *stack, int64_t ns);

#define APUS_STACK_SLOT 0 /* of apus_shard_slot() */

APUS_END_DECLS

#endif
