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
void apus_histogram_record(struct apus_histogram *h, int64_t value);
/** apus_histogram_merge - add all of @from to @into */
void apus_histogram_merge(struct apus_histogram *into, const struct apus_histogram *from);
/** apus_histogram_percentile - the value that @percent (0 to 100) of the records do not exceed; 0 if empty */
uint64_t apus_histogram_percentile(const struct apus_histogram *h, double percent);

APUS_END_DECLS

#endif
