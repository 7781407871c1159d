/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/clock.h: time, real or virtual.
 *
 * Everything above reads the time of its shard (apus_now() in sched/shard.h); only this room asks
 * the machine. A point in time is int64_t nanoseconds of a monotonic clock with an arbitrary zero.
 */
#ifndef APUS_RUNTIME_BASE_CLOCK_H
#define APUS_RUNTIME_BASE_CLOCK_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_clock {
	bool is_virtual;        /* fixed at init */
	int64_t virtual_ns;     /* written by apus_clock_set() only */
	int64_t wall_offset_ns; /* wall time = monotonic time + this; taken at init */
	uint64_t base_ticks;    /* the counter at init */
	int64_t base_ns;        /* the monotonic clock at init */
	uint64_t ns_per_tick;   /* 32.32 fixed point; 0: no usable counter, ask the system */
};

/** apus_clock_init_real - the machine's clock, by its time-stamp counter where that is steady */
void apus_clock_init_real(struct apus_clock *clock);

/** apus_clock_init_virtual - a clock that stands still until it is set; wall time starts in 2026 */
void apus_clock_init_virtual(struct apus_clock *clock, int64_t start_ns);

/** apus_clock_read - the time now, in ns. Context: any; ~10 ns when real: once per turn, not per event */
int64_t apus_clock_read(const struct apus_clock *clock);

/** apus_clock_set - move a virtual clock on; never back */
void apus_clock_set(struct apus_clock *clock, int64_t now_ns);

/** apus_clock_wall_ns - @now_ns as nanoseconds since 1970 (UTC), for people and for HTTP's Date */
static inline int64_t apus_clock_wall_ns(const struct apus_clock *clock, int64_t now_ns)
{
	return now_ns + clock->wall_offset_ns;
}

/** apus_clock_host_ns - CLOCK_MONOTONIC of the host, for logs and start-up only */
int64_t apus_clock_host_ns(void);

APUS_END_DECLS

#endif
