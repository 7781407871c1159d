/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/port.c: which local port a connection of ours gets (RFC 6056 §3.3.4).
 *
 * Algorithm 4, double-hash port selection: where the search begins is a keyed hash of the other
 * three parts of the four-tuple plus a counter that connections to the same peers share, so that
 * ports are hard to guess from outside, yet the port after the last one used is tried first, and
 * that one is free unless very many are in use: O(1) expected.
 *
 * Where we differ: a port is taken only if its four-tuple is; what waits in TIME-WAIT there counts
 * as free once 16 ports in a row were taken, if it has waited for a second and our new numbers lie
 * beyond its old ones. So TIME-WAIT cannot exhaust the ports.
 */
#include "net/tcp/port.h"

#include "net/tcp/listen.h"
#include "net/tcp/timewait.h"

#include <errno.h>

#define PORTS         (APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1)
#define PROBES_POLITE 16 /* before a TIME-WAIT entry may be replaced */

static_assert(!(APUS_TCP_PORT_MARKS & (APUS_TCP_PORT_MARKS - 1)), "masked");

/* RFC 6191's question, asked from our side and answered without timestamps: is it safe to go on? */
static bool may_replace(const struct apus_tcp_layer *layer, const struct apus_tcp_time_wait *tw,
			int64_t now_ns)
{
	return apus_tcp_time_wait_waited(tw, now_ns) >= apus_tcp_tick(APUS_SEC) &&
	       apus_seq_gt(apus_tcp_isn(layer, &tw->key, now_ns), tw->snd_nxt);
}

int apus_tcp_choose_port(struct apus_tcp_layer *layer, struct apus_tcp_key *key, int64_t now_ns)
{
	struct apus_tcp_key others = *key;

	others.local_port = 0;

	uint64_t hash = apus_siphash(&layer->port_key, &others, sizeof(others));
	uint16_t *mark = &layer->port_marks[hash >> 32 & (APUS_TCP_PORT_MARKS - 1)];
	struct apus_tcp_time_wait *replaceable = NULL;

	for (uint32_t i = 0; i < PORTS; i++) {
		uint32_t offset = ((uint32_t)hash % PORTS + *mark + i) % PORTS;

		key->local_port = (uint16_t)(APUS_TCP_PORT_FIRST + offset);
		if (apus_tcp_listener_find(layer, key->local, key->local_port))
			continue;

		struct apus_tcp_found found = apus_tcp_demux_find(&layer->demux, key);

		if (found.kind == APUS_TCP_KIND_NONE) {
			*mark = (uint16_t)((*mark + i + 1) % PORTS);
			return 0;
		}
		if (!replaceable && found.kind == APUS_TCP_KIND_TIME_WAIT &&
		    may_replace(layer, found.entry, now_ns))
			replaceable = found.entry;
		if (replaceable && i >= PROBES_POLITE) {
			*key = replaceable->key;
			apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_REUSED);
			apus_tcp_time_wait_close(layer, replaceable);
			return 0;
		}
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_PORTS_EXHAUSTED);
	return -EADDRNOTAVAIL;
}
