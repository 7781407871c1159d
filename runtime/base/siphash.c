/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/siphash.c: SipHash-2-4, little endian, checked against the paper's test vector.
 */
#include "runtime/base/siphash.h"

#include <string.h>

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

uint64_t apus_siphash(const struct apus_siphash_key *key, const void *data, size_t bytes)
{
	const char *in = data;
	uint64_t v[4] = {
		key->k[0] ^ UINT64_C(0x736f6d6570736575),
		key->k[1] ^ UINT64_C(0x646f72616e646f6d),
		key->k[0] ^ UINT64_C(0x6c7967656e657261),
		key->k[1] ^ UINT64_C(0x7465646279746573),
	};
	uint64_t last = (uint64_t)bytes << 56, word;

	for (; bytes >= sizeof(word); bytes -= sizeof(word), in += sizeof(word)) {
		memcpy(&word, in, sizeof(word));
		absorb(v, word);
	}
	for (size_t i = 0; i < bytes; i++)
		last |= (uint64_t)(unsigned char)in[i] << (8 * i);
	absorb(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
