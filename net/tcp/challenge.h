/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/challenge.h: challenge ACKs, at most one in half a second per connection (RFC 5961).
 */
#ifndef APUS_NET_TCP_CHALLENGE_H
#define APUS_NET_TCP_CHALLENGE_H

#include "net/tcp/tcb.h"

/** apus_tcp_challenge - want a challenge ACK, if the limit lets one pass */
void apus_tcp_challenge(struct apus_tcp *c, int64_t now_ns);
/** apus_tcp_challenge_next - after a challenge ACK now: the tick before which there is no other */
uint32_t apus_tcp_challenge_next(struct apus_tcp_layer *layer, int64_t now_ns);
/** apus_tcp_challenge_limited - is it too early for another? */
bool apus_tcp_challenge_limited(uint32_t challenge_tick, int64_t now_ns);

#endif
