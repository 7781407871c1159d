/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/bucket.h: a token bucket: so many a second, and a burst.
 *
 * Kept as one point in time (the virtual scheduling form of the generic cell rate algorithm), so
 * taking a token is a comparison and an addition, and nothing has to be refilled.
 */
#ifndef APUS_NET_IP_BUCKET_H
#define APUS_NET_IP_BUCKET_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_bucket {
	int64_t full_at_ns;  /* when it is full again, if nothing is taken */
	int64_t interval_ns; /* between tokens */
	int64_t burst_ns;    /* interval x tokens that it holds */
};

static inline void apus_bucket_init(struct apus_bucket *b, uint32_t per_second, uint32_t burst)
{
	b->full_at_ns = 0;
	b->interval_ns = APUS_SEC / per_second;
	b->burst_ns = b->interval_ns * burst;
}

/** apus_bucket_take - Return: true if there was a token */
APUS_MUST_CHECK static inline bool apus_bucket_take(struct apus_bucket *b, int64_t now_ns)
{
	int64_t full_at_ns = apus_max(b->full_at_ns, now_ns) + b->interval_ns;

	if (full_at_ns - now_ns > b->burst_ns)
		return false;
	b->full_at_ns = full_at_ns;
	return true;
}

APUS_END_DECLS

#endif
