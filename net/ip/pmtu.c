/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/pmtu.c: the path MTU of each destination (RFC 1191 §6.2, §6.3); see pmtu.h.
 *
 * Invariant: a destination is in one entry at most, of the set that its hash names. Entries that
 * are too old are found out when somebody asks for them, or for their place.
 *
 * Where we differ: RFC 1191 §6.3 would raise an old estimate in steps of a table of plateaus; ours
 * is forgotten, so that the whole size is tried, as in Linux.
 */
#include "net/ip/pmtu.h"

#include "runtime/base/check.h"

static_assert(!(APUS_PMTU_SETS & (APUS_PMTU_SETS - 1)), "masked");

static const char *const counter_names[] = {APUS_PMTU_COUNTERS(APUS_COUNTER_NAME)};

void apus_pmtu_init(struct apus_pmtu *pmtu, struct apus_shard *shard)
{
	*pmtu = (struct apus_pmtu){.heap = apus_shard_heap(shard)};
	apus_random_secret(apus_shard_random(shard), &pmtu->key, sizeof(pmtu->key));
	apus_metrics_register(apus_shard_metrics(shard), &pmtu->metrics, "pmtu", counter_names,
			      pmtu->counters, APUS_PMTU_COUNTER_COUNT);
}

void apus_pmtu_fini(struct apus_pmtu *pmtu)
{
	apus_metrics_unregister(&pmtu->metrics);
	apus_heap_free(pmtu->heap, pmtu->entries);
	pmtu->entries = NULL;
	pmtu->used = 0;
}

static struct apus_pmtu_entry *set_of(const struct apus_pmtu *pmtu, struct apus_addr dst)
{
	uint64_t hash = apus_siphash(&pmtu->key, &dst, sizeof(dst));

	return &pmtu->entries[(hash & (APUS_PMTU_SETS - 1)) * APUS_PMTU_WAYS];
}

/* Frees the entry if it is too old. */
static bool expire(struct apus_pmtu *pmtu, struct apus_pmtu_entry *e, int64_t now_ns)
{
	if (!e->mtu || now_ns - e->since_ns < APUS_PMTU_NS)
		return false;
	e->mtu = 0;
	pmtu->used--;
	pmtu->counters[APUS_PMTU_EXPIRED]++;
	return true;
}

/* The entry of @dst in @set, or NULL. */
static struct apus_pmtu_entry *find_in(struct apus_pmtu_entry *set, struct apus_addr dst)
{
	for (int i = 0; i < APUS_PMTU_WAYS; i++) {
		if (set[i].mtu && apus_addr_equal(set[i].dst, dst))
			return &set[i];
	}
	return NULL;
}

uint16_t apus_pmtu_find_slow(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns)
{
	struct apus_pmtu_entry *e = find_in(set_of(pmtu, dst), dst);

	return !e || expire(pmtu, e, now_ns) ? 0 : e->mtu;
}

/* A place in @set: a free one, or the one that was longest there. */
static struct apus_pmtu_entry *make_room(struct apus_pmtu *pmtu, struct apus_pmtu_entry *set,
					 int64_t now_ns)
{
	struct apus_pmtu_entry *oldest = set;

	for (int i = 0; i < APUS_PMTU_WAYS; i++) {
		(void)expire(pmtu, &set[i], now_ns);
		if (!set[i].mtu)
			return &set[i];
		if (set[i].since_ns < oldest->since_ns)
			oldest = &set[i];
	}
	oldest->mtu = 0;
	pmtu->used--;
	pmtu->counters[APUS_PMTU_EVICTED]++;
	return oldest;
}

void apus_pmtu_lower(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t mtu, int64_t now_ns)
{
	apus_assert(mtu >= APUS_PMTU_MIN);
	if (!pmtu->entries) {
		size_t bytes = APUS_PMTU_SETS * APUS_PMTU_WAYS * sizeof(*pmtu->entries);

		pmtu->entries = apus_heap_zalloc(pmtu->heap, bytes);
		if (!pmtu->entries) {
			pmtu->counters[APUS_PMTU_NO_MEMORY]++;
			return;
		}
	}

	struct apus_pmtu_entry *set = set_of(pmtu, dst), *e = find_in(set, dst);

	if (e && !expire(pmtu, e, now_ns)) {
		if (mtu > e->mtu) { /* less is known to pass: no news but for a search */
			e->high = apus_min(e->high, mtu);
			return;
		}
	} else {
		e = make_room(pmtu, set, now_ns);
		pmtu->used++;
	}
	*e = (struct apus_pmtu_entry){.dst = dst, .since_ns = now_ns, .mtu = mtu, .high = mtu};
	pmtu->counters[APUS_PMTU_LEARNED]++;
}

/* The entry of @dst, or NULL: there is none, or it is too old. */
static struct apus_pmtu_entry *find(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns)
{
	struct apus_pmtu_entry *e = pmtu->used ? find_in(set_of(pmtu, dst), dst) : NULL;

	return !e || expire(pmtu, e, now_ns) ? NULL : e;
}

void apus_pmtu_search(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t high, int64_t now_ns)
{
	struct apus_pmtu_entry *e = find(pmtu, dst, now_ns);

	if (e)
		e->high = apus_max(high, e->mtu);
}

uint16_t apus_pmtu_next(struct apus_pmtu *pmtu, struct apus_addr dst, int64_t now_ns)
{
	const struct apus_pmtu_entry *e = find(pmtu, dst, now_ns);

	if (!e || e->high - e->mtu < APUS_PMTU_NEAR)
		return 0;
	return (uint16_t)(e->mtu + (e->high - e->mtu + 1) / 2);
}

void apus_pmtu_probed(struct apus_pmtu *pmtu, struct apus_addr dst, uint16_t mtu, bool passed,
		      int64_t now_ns)
{
	struct apus_pmtu_entry *e = find(pmtu, dst, now_ns);

	if (!e || mtu <= e->mtu || mtu > e->high)
		return; /* a router or another connection knew more, meanwhile */
	if (passed)
		e->mtu = mtu;
	else
		e->high = (uint16_t)(mtu - 1);
}

void apus_pmtu_check(const struct apus_pmtu *pmtu)
{
	uint32_t used = 0;

	for (uint32_t i = 0; pmtu->entries && i < APUS_PMTU_SETS * APUS_PMTU_WAYS; i++) {
		struct apus_pmtu_entry *e = &pmtu->entries[i];

		if (!e->mtu)
			continue;
		used++;
		apus_must_op(e->mtu, >=, APUS_PMTU_MIN);
		apus_must_op(e->high, >=, e->mtu);
		apus_must(find_in(set_of(pmtu, e->dst), e->dst) == e);
	}
	apus_must_op(used, ==, pmtu->used);
}
