/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/siphash.h: SipHash-2-4 (Aumasson, Bernstein 2012), a keyed hash that a peer cannot
 * predict without the key: initial sequence numbers (RFC 6528), table salts, port choice.
 */
#ifndef APUS_RUNTIME_BASE_SIPHASH_H
#define APUS_RUNTIME_BASE_SIPHASH_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_siphash_key {
	uint64_t k[2];
};

/** apus_siphash - 64-bit keyed hash of @bytes bytes at @data. Context: any */
uint64_t apus_siphash(const struct apus_siphash_key *key, const void *data, size_t bytes);

APUS_END_DECLS

#endif
