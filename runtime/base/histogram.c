/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/histogram.c: log-linear buckets.
 */
#include "runtime/base/histogram.h"

#include <math.h>
#include <string.h>

static const uint64_t steps = UINT64_C(1) << APUS_HISTOGRAM_STEP_BITS;

static uint64_t bucket_top(size_t bucket)
{
	if (bucket < 2 * steps)
		return bucket;

	int shift = (int)(bucket >> APUS_HISTOGRAM_STEP_BITS) - 1;
	uint64_t step = (bucket & (steps - 1)) + steps;

	return ((step + 1) << shift) - 1;
}

void apus_histogram_init(struct apus_histogram *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void apus_histogram_merge(struct apus_histogram *into, const struct apus_histogram *from)
{
	into->count += from->count;
	into->sum += from->sum;
	into->min = apus_min(into->min, from->min);
	into->max = apus_max(into->max, from->max);
	for (size_t i = 0; i < APUS_HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t apus_histogram_percentile(const struct apus_histogram *h, double percent)
{
	if (!h->count)
		return 0;

	uint64_t rank = (uint64_t)ceil((double)h->count * percent / 100.0), seen = 0;

	rank = apus_max(rank, UINT64_C(1));
	for (size_t i = 0; i < APUS_HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= rank)
			return apus_min(bucket_top(i), h->max);
	}
	return h->max;
}
