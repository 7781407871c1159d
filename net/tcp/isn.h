/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/isn.h: initial sequence numbers that a stranger cannot guess (RFC 6528).
 *
 * ISN = M + F(localip, localport, remoteip, remoteport, secretkey): M counts 4 µs, F is SipHash.
 * So an earlier connection of the same four-tuple lies behind (RFC 9293 §3.4.1), and one's own
 * numbers tell nothing about another's.
 */
#ifndef APUS_NET_TCP_ISN_H
#define APUS_NET_TCP_ISN_H

#include "net/ip/addr.h"
#include "runtime/base/siphash.h"

APUS_BEGIN_DECLS

#define APUS_ISN_TICK_NS 4000 /* RFC 9293 §3.4.1: about every 4 microseconds */

/** apus_isn - @key: the shard's secret, drawn once at start. Context: any */
uint32_t apus_isn(const struct apus_siphash_key *key, const struct apus_endpoint *local,
		  const struct apus_endpoint *remote, int64_t now_ns);

APUS_END_DECLS

#endif
