/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/port.h: which local port a connection of ours gets (RFC 6056).
 */
#ifndef APUS_NET_TCP_PORT_H
#define APUS_NET_TCP_PORT_H

#include "net/tcp/tcb.h"

/** apus_tcp_choose_port - set @key's local port so that the four-tuple is free. Return: 0, -EADDRNOTAVAIL */
APUS_MUST_CHECK int apus_tcp_choose_port(struct apus_tcp_layer *layer, struct apus_tcp_key *key,
					 int64_t now_ns);

#endif
