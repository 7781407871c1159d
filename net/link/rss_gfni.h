/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/rss_gfni.h: the Toeplitz hash by Galois field instructions, for rss.c alone.
 *
 * What has it is compiled for CPUs that may not be this one, so it is called only where
 * apus_rss_gfni_init() said that the CPU is such.
 */
#ifndef APUS_NET_LINK_RSS_GFNI_H
#define APUS_NET_LINK_RSS_GFNI_H

#include "net/link/rss.h"

#ifdef APUS_HAVE_GFNI

/** apus_rss_gfni_init - fill rss->matrices from rss->key. Return: false if this CPU cannot */
bool apus_rss_gfni_init(struct apus_rss *rss);
uint32_t apus_rss_gfni_hash(const struct apus_rss *rss, const struct apus_rss_tuple *tuple);
void apus_rss_gfni_burst(const struct apus_rss *rss, const struct apus_rss_tuple *tuples,
			 uint32_t *hashes, unsigned int n);

#else

static inline bool apus_rss_gfni_init(struct apus_rss *rss)
{
	return false;
}

static inline uint32_t apus_rss_gfni_hash(const struct apus_rss *rss,
					  const struct apus_rss_tuple *tuple)
{
	return 0;
}

static inline void apus_rss_gfni_burst(const struct apus_rss *rss,
				       const struct apus_rss_tuple *tuples, uint32_t *hashes,
				       unsigned int n)
{
}

#endif

#endif
