/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/clock.c: the only room that asks the machine for the time.
 *
 * clock_gettime() costs 23 ns here and the counter 10, so the counter is used, scaled by a factor
 * measured against CLOCK_MONOTONIC at start. Where the counter is not there, or stands still
 * during that measurement, the system is asked each time.
 */
#include "runtime/base/clock.h"

#include "runtime/base/check.h"

#include <time.h>
#if defined(__x86_64__)
# include <x86intrin.h>
#endif

static const int64_t calibration_ns = 2 * APUS_MS;
static const int64_t virtual_wall_start_ns = INT64_C(1767225600) * APUS_SEC; /* 2026-01-01 */

static int64_t system_ns(clockid_t id)
{
	struct timespec ts;

	apus_must(clock_gettime(id, &ts) == 0);
	return (int64_t)ts.tv_sec * APUS_SEC + ts.tv_nsec;
}

static uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#elif defined(__aarch64__)
	uint64_t value;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
#else
	return 0;
#endif
}

int64_t apus_clock_host_ns(void)
{
	return system_ns(CLOCK_MONOTONIC);
}

void apus_clock_init_real(struct apus_clock *clock)
{
	int64_t start_ns = apus_clock_host_ns(), now_ns;
	uint64_t start_ticks = ticks();

	do {
		now_ns = apus_clock_host_ns();
	} while (now_ns - start_ns < calibration_ns);

	uint64_t elapsed = ticks() - start_ticks;

	*clock = (struct apus_clock){
		.wall_offset_ns = system_ns(CLOCK_REALTIME) - now_ns,
		.base_ticks = start_ticks + elapsed,
		.base_ns = now_ns,
	};
	if (elapsed > 0)
		clock->ns_per_tick =
			(uint64_t)(((unsigned __int128)(now_ns - start_ns) << 32) / elapsed);
}

void apus_clock_init_virtual(struct apus_clock *clock, int64_t start_ns)
{
	*clock = (struct apus_clock){
		.is_virtual = true,
		.virtual_ns = start_ns,
		.wall_offset_ns = virtual_wall_start_ns - start_ns,
	};
}

int64_t apus_clock_read(const struct apus_clock *clock)
{
	if (clock->is_virtual)
		return clock->virtual_ns;
	if (!clock->ns_per_tick)
		return apus_clock_host_ns();

	uint64_t elapsed = ticks() - clock->base_ticks;

	return clock->base_ns + (int64_t)(((unsigned __int128)elapsed * clock->ns_per_tick) >> 32);
}

void apus_clock_set(struct apus_clock *clock, int64_t now_ns)
{
	apus_must(clock->is_virtual);
	apus_must_op(now_ns, >=, clock->virtual_ns);
	clock->virtual_ns = now_ns;
}
