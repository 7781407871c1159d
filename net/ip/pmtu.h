/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/pmtu.h: what is known of the way to a destination: the largest packet that gets there.
 *
 * Filled by what routers say (RFC 1191: "fragmentation needed and DF set") and by transports that
 * found out without them (RFC 4821); asked by transports that cut their text. Only what is less
 * than the interface's MTU is kept, and for ten minutes: then the whole size may be tried again.
 * What was only found not to be too large is searched upwards meanwhile, by halves (RFC 4821).
 *
 * Bounds: 1024 destinations, in sets of 4 found by a keyed hash; in a full set the oldest gives way.
 * The memory is taken when there is something to remember, which most hosts never have.
 */
#ifndef APUS_NET_IP_PMTU_H
#define APUS_NET_IP_PMTU_H

#include "net/ip/addr.h"
#include "runtime/base/metrics.h"
#include "runtime/base/siphash.h"
#include "runtime/sched/shard.h"

APUS_BEGIN_DECLS

#define APUS_PMTU_SETS 256 /* a power of two */
#define APUS_PMTU_WAYS 4
#define APUS_PMTU_NS   (600 * APUS_SEC) /* RFC 1191 §6.3: about ten minutes */
#define APUS_PMTU_MIN  68               /* RFC 791: no link has less */
#define APUS_PMTU_NEAR 8                /* bytes: a search ends there, as Linux's does */

#define APUS_PMTU_COUNTERS(X) \
 X(LEARNED, "learned")        \
 X(EXPIRED, "expired")        \
 X(EVICTED, "evicted")        \
 X(NO_MEMORY, "no_memory")

enum apus_pmtu_counter {
#define X(id, name) APUS_PMTU_##id,
	APUS_PMTU_COUNTERS(X)
#undef X
	APUS_PMTU_COUNTER_COUNT,
};

struct apus_pmtu_entry {
	struct apus_addr dst;
	int64_t since_ns; /* when it was last lowered, or said again */
	uint16_t mtu;     /* 0 while free; RFC 4821's search_low */
	uint16_t high;    /* nothing larger gets there: search_high; >= mtu */
};

struct apus_pmtu {
	struct apus_heap *heap;
	struct apus_siphash_key key;     /* of the hash: a stranger cannot fill one set */
	struct apus_pmtu_entry *entries; /* sets x ways; NULL while none was ever learned */
	uint32_t used;                   /* entries not free; some may be too old */
	uint64_t counters[APUS_PMTU_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/** apus_pmtu_init - an empty cache. Context: any */
void apus_pmtu_init(struct apus_pmtu *pmtu, struct apus_shard *shard);
void apus_pmtu_fini(struct apus_pmtu *pmtu);

/**
 * apus_pmtu_lower - packets to @dst may have at most @mtu bytes, IP header included
 * @mtu: at least 68; not believed to be more than what is known already
 *
 * Whether to believe the one who said it is the caller's question (RFC 5927). Without memory
 * nothing is remembered.
 *
 * Context: any. Source: RFC 1191 §3, §6.3
 */
void apus_pmtu_lower(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t mtu, int64_t now_ns);

/** apus_pmtu_search - what is known of @dst is not too large, but up to @high might not be, either. Context: any. Source: RFC 4821 */
void apus_pmtu_search(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t high, int64_t now_ns);
/** apus_pmtu_next - of which size a probe to @dst would tell most. Context: any. Return: bytes; 0: nothing is to be found out */
uint16_t apus_pmtu_next(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns);
/** apus_pmtu_probed - a packet of @mtu bytes to @dst was heard of (@passed), or was lost and no other was. Context: any */
void apus_pmtu_probed(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t mtu, bool passed,
		      int64_t now_ns);

/** apus_pmtu_find_slow - the other half of apus_pmtu_find() */
uint16_t apus_pmtu_find_slow(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns);

/** apus_pmtu_check - invariants of the table, for tests */
void apus_pmtu_check(const struct apus_pmtu *pmtu);

/* inline definitions */

/** apus_pmtu_find - what is known of the way to @dst. Context: any. Return: bytes; 0: nothing */
static inline uint16_t apus_pmtu_find(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns)
{
	return apus_likely(!pmtu->used) ? 0 : apus_pmtu_find_slow(pmtu, dst, now_ns);
}

APUS_END_DECLS

#endif
