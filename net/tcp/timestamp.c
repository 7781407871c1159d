/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/timestamp.c: which segments a timestamp refuses, and which timestamp is echoed; RFC 7323
 * §4.3, §5.3 to §5.5; see timestamp.h.
 *
 * The offset of a connection's clock is a keyed hash of its four-tuple, not a random number: so it
 * tells nothing about the uptime or about other connections, and a segment of the next incarnation
 * has a later timestamp than any of the last one, though nobody has kept it (RFC 6191, RFC 7323
 * §5.4; Linux does it in the same way).
 *
 * Where we differ: TS.Recent does not move before the ACK has been found acceptable (§5.3 has it
 * right behind the sequence number), so that a forger who would have all later segments refused has
 * to guess that, too. Linux lets segments without a timestamp pass; we follow §3.2.
 */
#include "net/tcp/timestamp.h"

/* RFC 7323 §5.5: after 24 days TS.Recent means nothing, since the peer's clock may have wrapped. */
#define VALID_UNITS ((uint16_t)(24 * 86400 * APUS_SEC >> 42))

uint32_t apus_tcp_ts_offset(const struct apus_tcp_layer *layer, const struct apus_tcp_key *key)
{
	return (uint32_t)apus_siphash(&layer->ts_key, key, sizeof(*key));
}

/*
 * Resets are exempt (§5.2). Without a timestamp nothing can be told: §3.2, "a TCP SHOULD silently
 * drop the segment". But a SYN is never more than challenged (RFC 5961 §4), and that of a peer that
 * restarted has to be.
 */
enum apus_tcp_ts apus_tcp_ts_check_slow(struct apus_tcp *c, const struct apus_segment *seg,
					int64_t now_ns)
{
	if (!c->has_ts || seg->rst)
		return APUS_TCP_TS_FINE;
	if (!seg->has_ts)
		return seg->syn ? APUS_TCP_TS_FINE : APUS_TCP_TS_ABSENT;
	if (!apus_tcp_is_old(seg, c->rcv.ts_recent))
		return APUS_TCP_TS_FINE;
	if ((uint16_t)(apus_tcp_ts_age(now_ns) - c->rcv.ts_age) <= VALID_UNITS)
		return APUS_TCP_TS_OLD;
	c->rcv.ts_recent = seg->ts_val;
	return APUS_TCP_TS_FINE;
}
