/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/challenge.c: challenge ACKs, and how many of them (RFC 5961 §3, §4, §5, §7).
 *
 * A segment that could be a blind attack has no effect but an ACK, which tells a genuine peer where
 * we are. How often is limited: at most one in half a second per connection (TCP.md §2).
 *
 * Where we differ: RFC 5961 §7 would count the challenges of the whole host. A counter that all
 * connections share tells an attacker on one of them what happens on another (CVE-2016-5696); ours
 * is the connection's own.
 */
#include "net/tcp/challenge.h"

#include "runtime/sched/shard.h"

uint32_t apus_tcp_challenge_next(struct apus_tcp_layer *layer, int64_t now_ns)
{
	uint64_t chance_ns =
		apus_random_below(apus_shard_random(layer->shard), APUS_TCP_CHALLENGE_NS / 2);

	return apus_tcp_tick(now_ns + APUS_TCP_CHALLENGE_NS + (int64_t)chance_ns) + 1;
}

bool apus_tcp_challenge_limited(uint32_t challenge_tick, int64_t now_ns)
{
	uint32_t left = challenge_tick - apus_tcp_tick(now_ns);

	return left && left <= apus_tcp_tick(2 * APUS_TCP_CHALLENGE_NS); /* else it lies behind */
}

/*
 * RFC 5961 §7: challenge ACKs are limited. The limit is the connection's own, and its length has a
 * random part, so that an attacker learns nothing from counting them (CVE-2016-5696).
 */
void apus_tcp_challenge(struct apus_tcp *c, int64_t now_ns)
{
	if (apus_tcp_challenge_limited(c->challenge_tick, now_ns)) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_CHALLENGE_ACKS_LIMITED);
		return;
	}
	c->challenge_tick = apus_tcp_challenge_next(c->layer, now_ns);
	apus_tcp_count(c->layer, APUS_TCP_COUNT_CHALLENGE_ACKS);
	c->want |= APUS_TCP_WANT_ACK_NOW;
	apus_tcp_mark(c);
}
