/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/metrics.h: what happened, counted by name.
 *
 * A room declares its counters once, as an X-macro, and owns the array; a block registers the array
 * and its names with a registry (one per shard), where /stats and telemetry find it. Counting is
 * one increment of a plain integer: only the owning shard writes.
 *
 *	#define APUS_ARP_COUNTERS(X) X(REQUESTS_IN, "requests_in") X(DROP_SHORT, "drop_short")
 *	static const char *const counter_names[] = {APUS_ARP_COUNTERS(APUS_COUNTER_NAME)};
 */
#ifndef APUS_RUNTIME_BASE_METRICS_H
#define APUS_RUNTIME_BASE_METRICS_H

#include "runtime/base/list.h"

APUS_BEGIN_DECLS

/* One room's counters; the room's memory, linked into a registry while the room lives. */
struct apus_metrics_block {
	struct apus_list link;
	const char *area;         /* "arp": prefix of the names */
	const char *const *names; /* `count` of them; NULL: not shown */
	const uint64_t *values;   /* `count` of them */
	size_t count;
};

struct apus_metrics {
	struct apus_list blocks;
};

typedef void (*apus_metrics_visit_fn)(void *arg, const char *area, const char *name,
				      uint64_t value);

/** apus_metrics_init - no blocks yet */
static inline void apus_metrics_init(struct apus_metrics *m)
{
	apus_list_init(&m->blocks);
}

/** apus_metrics_register - keeps @block until apus_metrics_unregister() */
static inline void apus_metrics_register(struct apus_metrics *m, struct apus_metrics_block *block,
					 const char *area, const char *const *names,
					 const uint64_t *values, size_t count)
{
	block->area = area;
	block->names = names;
	block->values = values;
	block->count = count;
	apus_list_push_back(&m->blocks, &block->link);
}

/** apus_metrics_unregister - its counters are no longer visited; its memory is the owner's again */
static inline void apus_metrics_unregister(struct apus_metrics_block *block)
{
	apus_list_remove(&block->link);
}

/** apus_metrics_visit - every counter of every block, in order of registration */
static inline void apus_metrics_visit(const struct apus_metrics *m, apus_metrics_visit_fn visit,
				      void *arg)
{
	const struct apus_list *it;

	apus_list_for_each(it, &m->blocks) {
		const struct apus_metrics_block *b =
			apus_list_entry(it, struct apus_metrics_block, link);

		for (size_t i = 0; i < b->count; i++)
			if (b->names[i])
				visit(arg, b->area, b->names[i], b->values[i]);
	}
}

/* For X-macros of (ENUMERATOR_SUFFIX, "name"): the table of names. */
#define APUS_COUNTER_NAME(id, name) name,

APUS_END_DECLS

#endif
