/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/isn.c: RFC 6528 §3: ISN = M + F(four-tuple, secret).
 *
 * Where we differ: RFC 6528 suggests MD5 for F; SipHash-2-4 with a 128-bit key is as unpredictable
 * for this purpose and ten times as fast (Linux made the same change).
 */
#include "net/tcp/isn.h"

uint32_t apus_isn(const struct apus_siphash_key *key, const struct apus_endpoint *local,
		  const struct apus_endpoint *remote, int64_t now_ns)
{
	struct {
		struct apus_addr local, remote;
		uint16_t local_port, remote_port;
	} tuple = {local->addr, remote->addr, local->port, remote->port};
	uint32_t f = (uint32_t)apus_siphash(
		key, &tuple, offsetof(__typeof__(tuple), remote_port) + sizeof(tuple.remote_port));

	return (uint32_t)(now_ns / APUS_ISN_TICK_NS) + f;
}
