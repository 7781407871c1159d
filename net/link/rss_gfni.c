/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/rss_gfni.c: the Toeplitz hash by Galois field instructions; see rss_gfni.h.
 *
 * DPDK has them inline, for who is compiled for such CPUs; whether it says they are supported
 * depends on what DPDK itself was compiled for. So this file is compiled for them by itself, and
 * asks the CPU. Nothing else may be here: the compiler uses the instructions for whatever it likes.
 */
#include "net/link/rss_gfni.h"

#include <rte_cpuflags.h>
#include <rte_thash.h>
#include <rte_thash_gfni.h>

#ifndef RTE_THASH_GFNI_DEFINED
# error "compiled without the instructions"
#endif

#define BULK 32

bool apus_rss_gfni_init(struct apus_rss *rss)
{
	static const enum rte_cpu_flag_t needed[] = {
		RTE_CPUFLAG_GFNI,     RTE_CPUFLAG_AVX512F,  RTE_CPUFLAG_AVX512BW,
		RTE_CPUFLAG_AVX512VL, RTE_CPUFLAG_AVX512DQ, RTE_CPUFLAG_AVX512VBMI,
	};

	for (size_t i = 0; i < apus_countof(needed); i++)
		if (rte_cpu_get_flag_enabled(needed[i]) != 1)
			return false;
	rte_thash_complete_matrix(rss->matrices, rss->key, rss->key_bytes);
	return true;
}

uint32_t apus_rss_gfni_hash(const struct apus_rss *rss, const struct apus_rss_tuple *tuple)
{
	return rte_thash_gfni(rss->matrices, (const uint8_t *)tuple, sizeof(*tuple));
}

void apus_rss_gfni_burst(const struct apus_rss *rss, const struct apus_rss_tuple *tuples,
			 uint32_t *hashes, unsigned int n)
{
	uint8_t *at[BULK];

	while (n > 0) {
		unsigned int count = apus_min(n, (unsigned int)BULK);

		for (unsigned int i = 0; i < count; i++)
			at[i] = (uint8_t *)(uintptr_t)&tuples[i];
		rte_thash_gfni_bulk(rss->matrices, sizeof(*tuples), at, hashes, count);
		tuples += count;
		hashes += count;
		n -= count;
	}
}
