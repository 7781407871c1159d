/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/port.c: which local port a connection of ours gets (RFC 6056).
 *
 * Where the search begins is a keyed hash of the other three parts of the four-tuple plus a mark
 * that connections to the same peers share (§3.3.4, algorithm 4); a mark moves on by one to eight
 * ports at random (§3.3.5), so that who sees one port cannot say the next. Ports are in use evenly
 * along the range that way, and a free one is found after 1/(1 - load) probes on average. That all
 * are in use is remembered until one is given back, so that to be told so again costs no search.
 *
 * What waits in TIME-WAIT counts as free once 16 ports in a row were taken, if it has waited for a
 * second and the peer can tell old segments from new: by timestamps, which go on where the old
 * connection's were (Linux's tcp_tw_reuse, RFC 6191), or because our numbers lie beyond the old
 * ones by themselves. So TIME-WAIT cannot exhaust the ports.
 *
 * With several shards behind one address (net/link/steer.h) only ports are looked at whose answers
 * land on this shard: of n shards every n-th, in no order. Which those are costs two loads each,
 * because the hash is linear: that of the rest of the four-tuple is made once. Searching so takes 27
 * ns among four shards; rte_thash_adjust_tuple() takes 73, wants a key made for it, and knows one
 * port of each entry of the table, inside the range or not.
 *
 * Where we differ: a port is taken only if its four-tuple is.
 */
#include "net/tcp/port.h"

#include "net/link/link.h"
#include "net/link/rss.h"
#include "net/tcp/listen.h"
#include "net/tcp/timewait.h"
#include "runtime/sched/shard.h"

#include <errno.h>

#define PORTS         (APUS_TCP_PORT_LAST - APUS_TCP_PORT_FIRST + 1)
#define PROBES_POLITE 16 /* before a TIME-WAIT entry may be replaced */
#define STEP_MAX      8
#define REUSE_NS      APUS_SEC
#define EXHAUSTED_NS  (100 * APUS_MS) /* an entry may have waited long enough by then */

static_assert(!(APUS_TCP_PORT_MARKS & (APUS_TCP_PORT_MARKS - 1)), "masked");
static_assert(!(APUS_TCP_PORT_MEMOS & (APUS_TCP_PORT_MEMOS - 1)), "masked");

/*
 * May a connection of ours go on where this one waits? With @iss, which is the clock's number, or
 * behind the old ones where the timestamps tell the two apart.
 */
static bool may_replace(const struct apus_tcp_layer *layer, const struct apus_tcp_time_wait *tw,
			int64_t now_ns, uint32_t *iss)
{
	if (apus_tcp_time_wait_waited(tw, now_ns) < apus_tcp_tick(REUSE_NS))
		return false;
	*iss = apus_tcp_isn(layer, &tw->key, now_ns);
	if (apus_seq_gt(*iss, tw->snd_nxt))
		return true;
	if (!tw->has_ts || layer->options.no_timestamps)
		return false;
	*iss = apus_tcp_isn_beyond(tw->snd_nxt);
	return true;
}

static void replace(struct apus_tcp_layer *layer, struct apus_tcp_time_wait *tw)
{
	apus_tcp_count(layer, APUS_TCP_COUNT_TIME_WAIT_REUSED);
	apus_tcp_time_wait_close(layer, tw);
}

/* The hash of answers to a connection whose local port is not chosen yet; 0 where nobody asks. */
static uint32_t answers_hash(const struct apus_tcp_layer *layer, const struct apus_tcp_key *key)
{
	struct apus_rss_tuple answer = {
		.src = apus_addr_to_v4(key->remote),
		.dst = apus_addr_to_v4(key->local),
		.src_port = rte_cpu_to_be_16(key->remote_port),
	};

	return layer->link->rss ? apus_rss_hash(layer->link->rss, &answer) : 0;
}

/* Do answers to @port come back to this shard? @hash: answers_hash() */
static bool is_home(const struct apus_tcp_layer *layer, uint32_t hash, uint16_t port)
{
	const struct apus_rss *rss = layer->link->rss;

	return !rss ||
	       apus_rss_shard(rss, apus_rss_with_port(rss, hash, port)) == layer->link->shard;
}

/* The @i-th port after the mark. */
static uint16_t port_at(uint32_t start, uint32_t i)
{
	return (uint16_t)(APUS_TCP_PORT_FIRST + (start + i) % PORTS);
}

/* What is in use there. */
static struct apus_tcp_found look(const struct apus_tcp_layer *layer, struct apus_tcp_key *key,
				  uint16_t port)
{
	key->local_port = port;
	return apus_tcp_demux_find(&layer->demux, key);
}

static int search(struct apus_tcp_layer *layer, struct apus_tcp_key *key, uint64_t hash,
		  int64_t now_ns, uint32_t *iss)
{
	uint16_t *mark = &layer->port_marks[hash >> 32 & (APUS_TCP_PORT_MARKS - 1)];
	uint32_t start = (uint32_t)hash % PORTS + *mark;
	struct apus_tcp_time_wait *replaceable = NULL;
	uint32_t answers = answers_hash(layer, key), probes = 0;

	for (uint32_t i = 0; i < PORTS; i++) {
		if (!is_home(layer, answers, port_at(start, i)))
			continue;

		struct apus_tcp_found found = look(layer, key, port_at(start, i));

		if (found.kind == APUS_TCP_KIND_NONE &&
		    !apus_tcp_listener_find(layer, key->local, key->local_port)) {
			uint64_t step =
				1 + apus_random_below(apus_shard_random(layer->shard), STEP_MAX);

			*mark = (uint16_t)((*mark + i + step) % PORTS);
			*iss = apus_tcp_isn(layer, key, now_ns);
			return 0;
		}
		if (!replaceable && found.kind == APUS_TCP_KIND_TIME_WAIT &&
		    may_replace(layer, found.entry, now_ns, iss))
			replaceable = found.entry;
		if (replaceable && probes++ >= PROBES_POLITE) {
			*key = replaceable->key;
			*mark = (uint16_t)((*mark + i + 1) % PORTS);
			replace(layer, replaceable);
			return 0;
		}
	}
	return -EADDRNOTAVAIL;
}

int apus_tcp_choose_port(struct apus_tcp_layer *layer, struct apus_tcp_key *key, int64_t now_ns,
			 uint32_t *iss)
{
	struct apus_tcp_key others = *key;

	others.local_port = 0;

	uint64_t hash = apus_siphash(&layer->port_key, &others, sizeof(others));
	struct apus_tcp_port_memo *memo = &layer->port_memos[hash & (APUS_TCP_PORT_MEMOS - 1)];
	bool known = memo->hash == hash && memo->removals == layer->demux.removals &&
		     now_ns < memo->until_ns;

	if (!known && !search(layer, key, hash, now_ns, iss))
		return 0;
	if (!known)
		*memo = (struct apus_tcp_port_memo){
			.hash = hash,
			.removals = layer->demux.removals,
			.until_ns = now_ns + EXHAUSTED_NS,
		};
	apus_tcp_count(layer, APUS_TCP_COUNT_PORTS_EXHAUSTED);
	return -EADDRNOTAVAIL;
}

int apus_tcp_claim_port(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
			int64_t now_ns, uint32_t *iss)
{
	struct apus_tcp_found found = apus_tcp_demux_find(&layer->demux, key);

	if (!is_home(layer, answers_hash(layer, key), key->local_port))
		return -EADDRNOTAVAIL;
	switch (found.kind) {
	case APUS_TCP_KIND_NONE:
		*iss = apus_tcp_isn(layer, key, now_ns);
		return 0;
	case APUS_TCP_KIND_TIME_WAIT:
		if (!may_replace(layer, found.entry, now_ns, iss))
			break;
		replace(layer, found.entry);
		return 0;
	case APUS_TCP_KIND_CONNECTION:
	case APUS_TCP_KIND_REQUEST:
		break;
	}
	return -EADDRINUSE;
}
