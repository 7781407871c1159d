/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/random.c: xoshiro256** seeded through splitmix64, as its authors advise.
 */
#include "runtime/base/random.h"

#include "runtime/base/check.h"

#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void system_bytes(void *buf, size_t bytes)
{
	apus_must(bytes <= 256); /* getrandom(2) does not return short for so few */
	apus_must_op(getrandom(buf, bytes, 0), ==, bytes);
}

void apus_random_init_seed(struct apus_random *r, uint64_t seed)
{
	for (size_t i = 0; i < apus_countof(r->state); i++)
		r->state[i] = splitmix(&seed);
	r->seeded = true;
}

void apus_random_init_system(struct apus_random *r)
{
	uint64_t seed;

	system_bytes(&seed, sizeof(seed));
	apus_random_init_seed(r, seed);
	r->seeded = false;
}

uint64_t apus_random_u64(struct apus_random *r)
{
	uint64_t *s = r->state;
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

/* Lemire's multiplication, with rejection of the few values that would bias it. */
uint64_t apus_random_below(struct apus_random *r, uint64_t bound)
{
	apus_assert(bound > 0);

	uint64_t threshold = -bound % bound;

	for (;;) {
		unsigned __int128 product = (unsigned __int128)apus_random_u64(r) * bound;

		if ((uint64_t)product >= threshold)
			return (uint64_t)(product >> 64);
	}
}

bool apus_random_chance(struct apus_random *r, uint32_t ppm)
{
	return ppm > 0 && apus_random_below(r, 1000000) < ppm;
}

void apus_random_secret(struct apus_random *r, void *buf, size_t bytes)
{
	if (!r->seeded) {
		system_bytes(buf, bytes);
		return;
	}
	for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		uint64_t value = apus_random_u64(r);

		memcpy((char *)buf + at, &value, apus_min(sizeof(value), bytes - at));
	}
}
