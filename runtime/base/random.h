/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/random.h: chance, from the system or from a seed.
 *
 * The generator is xoshiro256** (Blackman, Vigna): fast and good for everything but secrets.
 * Secrets (sequence number keys, hash salts) are keys for SipHash (siphash.h), drawn once at start
 * with apus_random_secret(): from the system, or from the seed in a simulated world.
 */
#ifndef APUS_RUNTIME_BASE_RANDOM_H
#define APUS_RUNTIME_BASE_RANDOM_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_random {
	uint64_t state[4]; /* never all zero */
	bool seeded; /* from a seed: secrets come from it too, so that a run can be replayed */
};

/** apus_random_init_seed - the same seed gives the same numbers, on every machine */
void apus_random_init_seed(struct apus_random *r, uint64_t seed);

/** apus_random_init_system - seeded by getrandom(2) */
void apus_random_init_system(struct apus_random *r);

/** apus_random_u64 - the next 64 bits. Context: any */
uint64_t apus_random_u64(struct apus_random *r);

/** apus_random_below - uniform in [0, bound), bound > 0; no modulo bias */
uint64_t apus_random_below(struct apus_random *r, uint64_t bound);

/** apus_random_chance - true with probability @ppm in a million */
bool apus_random_chance(struct apus_random *r, uint32_t ppm);

/** apus_random_secret - fill @buf for use as a key */
void apus_random_secret(struct apus_random *r, void *buf, size_t bytes);

APUS_END_DECLS

#endif
