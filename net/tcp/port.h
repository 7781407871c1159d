/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/port.h: which local port a connection of ours gets (RFC 6056).
 */
#ifndef APUS_NET_TCP_PORT_H
#define APUS_NET_TCP_PORT_H

#include "net/tcp/tcb.h"

/**
 * apus_tcp_choose_port - set @key's local port so that the four-tuple is free
 * @key: its other parts are set
 * @iss: written: the initial sequence number to use
 *
 * What waits there in TIME-WAIT may give way. Return: 0, -EADDRNOTAVAIL.
 */
APUS_MUST_CHECK int apus_tcp_choose_port(struct apus_tcp_layer *layer, struct apus_tcp_key *key,
					 int64_t now_ns, uint32_t *iss);

/** apus_tcp_claim_port - the same for a local port that was chosen already. Return: 0, -EADDRINUSE; -EADDRNOTAVAIL: answers to it land on another shard */
APUS_MUST_CHECK int apus_tcp_claim_port(struct apus_tcp_layer *layer,
					const struct apus_tcp_key *key, int64_t now_ns,
					uint32_t *iss);

/** apus_tcp_isn_beyond - a number for an incarnation after one that had sent up to @snd_nxt: Linux's distance */
static inline uint32_t apus_tcp_isn_beyond(uint32_t snd_nxt)
{
	return snd_nxt + UINT16_MAX + 2;
}

#endif
