/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/net.c: what the stack's operations cost, without a driver.
 */
#include "bench/bench.h"
#include "runtime/base/clock.h"

#include <rte_ip.h>

static int64_t checksum(uint64_t n, int64_t bytes)
{
	static unsigned char data[2048];
	volatile uint16_t sink = 0;
	int64_t begin_ns = apus_clock_host_ns();

	for (uint64_t i = 0; i < n; i++) {
		data[i % (size_t)bytes]++;
		sink = (uint16_t)(sink + rte_raw_cksum(data, (size_t)bytes));
	}
	return apus_clock_host_ns() - begin_ns;
}

const struct apus_bench apus_bench_net[] = {
	{"checksum/1460", checksum, 1460, 10000000, 100000},
	{NULL, NULL, 0, 0, 0},
};
