/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/histogram.h: a histogram of spans with a bounded relative error.
 *
 * Log-linear buckets as in HDR histograms: 32 linear steps in every power of two, so a value is
 * known within 3.2 %, from 0 to 2^63, in a fixed 15 KiB. Recording is a few instructions.
 */
#ifndef APUS_RUNTIME_BASE_HISTOGRAM_H
#define APUS_RUNTIME_BASE_HISTOGRAM_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

#define APUS_HISTOGRAM_STEP_BITS 5
#define APUS_HISTOGRAM_BUCKETS   ((64 - APUS_HISTOGRAM_STEP_BITS) << APUS_HISTOGRAM_STEP_BITS)

struct apus_histogram {
	uint64_t count, sum, min, max;
	uint64_t buckets[APUS_HISTOGRAM_BUCKETS];
};

/** apus_histogram_init - empty */
void apus_histogram_init(struct apus_histogram *h);
/** apus_histogram_record - one value; negative ones count as 0. Context: any */
static inline void apus_histogram_record(struct apus_histogram *h, int64_t value);
/** apus_histogram_merge - add all of @from to @into */
void apus_histogram_merge(struct apus_histogram *into, const struct apus_histogram *from);
/** apus_histogram_percentile - the value that @percent (0 to 100) of the records do not exceed; 0 if empty */
uint64_t apus_histogram_percentile(const struct apus_histogram *h, double percent);

/* inline definitions */

/** apus_histogram_bucket - of a value: below two times the steps its own; above, its top STEP_BITS + 1 bits choose */
static inline size_t apus_histogram_bucket(uint64_t value)
{
	if (value < UINT64_C(2) << APUS_HISTOGRAM_STEP_BITS)
		return (size_t)value;

	int shift = 63 - __builtin_clzll(value) - APUS_HISTOGRAM_STEP_BITS;

	return ((size_t)shift << APUS_HISTOGRAM_STEP_BITS) + (size_t)(value >> shift);
}

static inline void apus_histogram_record(struct apus_histogram *h, int64_t value)
{
	uint64_t v = value < 0 ? 0 : (uint64_t)value;

	h->count++;
	h->sum += v;
	if (apus_unlikely(v < h->min))
		h->min = v;
	if (apus_unlikely(v > h->max))
		h->max = v;
	h->buckets[apus_histogram_bucket(v)]++;
}

APUS_END_DECLS

#endif
