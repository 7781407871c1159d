/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/sum.h: one's complement sums, of which the checksums of IP, TCP and UDP are made (RFC 1071).
 *
 * DPDK's rte_raw_cksum() is written for whole packets. Most of what is summed is short (headers,
 * small segments), so that is added here in words of 64 bits; from APUS_SUM_LONG_BYTES on DPDK's is
 * the faster one. Sums are of bytes as they lie in memory: a checksum is stored as it comes.
 */
#ifndef APUS_NET_IP_SUM_H
#define APUS_NET_IP_SUM_H

#include "runtime/base/compiler.h"

#include <rte_ip.h>
#include <string.h>

APUS_BEGIN_DECLS

#define APUS_SUM_LONG_BYTES 512
#define APUS_SUM_SWAP       (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 8 : 0)

/* 16 bits of a sum, with the carries brought round: a half added to itself swapped carries into the upper one. */
static inline uint16_t apus_sum_fold(uint64_t sum)
{
	uint32_t half;

	sum += sum >> 32 | sum << 32;
	half = (uint32_t)(sum >> 32);
	half += half >> 16 | half << 16;
	return (uint16_t)(half >> 16);
}

/*
 * Is it the sum of something with a right checksum: all ones, when the carries are brought round? That
 * is a multiple of 65535; and so is 0, but only nothing but zeros has that, and no header is.
 */
static inline bool apus_sum_is_right(uint64_t sum)
{
	return sum % UINT16_MAX == 0;
}

/* The same, of no more than two numbers of 16 bits. */
static inline uint16_t apus_sum_fold_2(uint32_t sum)
{
	return (uint16_t)(sum + (sum >> 16));
}

/* Adds with the carry brought round. */
static inline uint64_t apus_sum_add(uint64_t sum, uint64_t word)
{
#if defined(__x86_64__)
	if (__builtin_constant_p(sum) && !sum)
		return word;
	__asm__("addq %1, %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "rm"(word)
		: "cc");
	return sum;
#else
	sum += word;
	return sum + (sum < word);
#endif
}

static inline uint64_t apus_sum_load(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

#if defined(__x86_64__) && !APUS_ASAN && !APUS_TSAN
struct apus_sum_32 {
	uint64_t words[4];
} __attribute__((packed));
struct apus_sum_64 {
	uint64_t words[8];
} __attribute__((packed));

/* Adds 32 bytes. The carry goes from word to word in its flag, which C cannot say. */
static inline uint64_t apus_sum_add_32(uint64_t sum, const uint8_t *at)
{
	__asm__("addq (%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq 16(%1), %0\n\t"
		"adcq 24(%1), %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "r"(at), "m"(*(const struct apus_sum_32 *)at)
		: "cc");
	return sum;
}

/* The same for 64. */
static inline uint64_t apus_sum_add_64(uint64_t sum, const uint8_t *at)
{
	__asm__("addq (%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq 16(%1), %0\n\t"
		"adcq 24(%1), %0\n\t"
		"adcq 32(%1), %0\n\t"
		"adcq 40(%1), %0\n\t"
		"adcq 48(%1), %0\n\t"
		"adcq 56(%1), %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "r"(at), "m"(*(const struct apus_sum_64 *)at)
		: "cc");
	return sum;
}
#else
static inline uint64_t apus_sum_add_32(uint64_t sum, const uint8_t *at)
{
	for (int i = 0; i < 4; i++)
		sum = apus_sum_add(sum, apus_sum_load(at + 8 * i));
	return sum;
}

static inline uint64_t apus_sum_add_64(uint64_t sum, const uint8_t *at)
{
	return apus_sum_add_32(apus_sum_add_32(sum, at), at + 32);
}
#endif

/* Adds what is left, less than 32 bytes. */
static inline uint64_t apus_sum_tail(uint64_t sum, const uint8_t *at, size_t bytes)
{
	uint32_t half;
	uint16_t quarter;

	for (; bytes >= 8; bytes -= 8, at += 8)
		sum = apus_sum_add(sum, apus_sum_load(at));
	if (bytes & sizeof(half)) {
		memcpy(&half, at, sizeof(half));
		sum = apus_sum_add(sum, half);
		at += sizeof(half);
	}
	if (bytes & sizeof(quarter)) {
		memcpy(&quarter, at, sizeof(quarter));
		sum = apus_sum_add(sum, quarter);
		at += sizeof(quarter);
	}
	if (bytes & 1) {
		quarter = 0;
		memcpy(&quarter, at, 1); /* as if a zero byte followed */
		sum = apus_sum_add(sum, quarter);
	}
	return sum;
}

/* The same, where at least 8 bytes lie before it that may be read: the last word is cut out of those. */
static inline uint64_t apus_sum_tail_behind(uint64_t sum, const uint8_t *at, size_t bytes)
{
	if (bytes & 16) {
		sum = apus_sum_add(sum, apus_sum_load(at));
		sum = apus_sum_add(sum, apus_sum_load(at + 8));
		at += 16;
	}
	if (bytes & 8) {
		sum = apus_sum_add(sum, apus_sum_load(at));
		at += 8;
	}
	bytes &= 7;
	return bytes ? apus_sum_add(sum, apus_sum_load(at + bytes - 8) >> (64 - 8 * bytes)) : sum;
}

/** apus_sum_long - apus_sum() of a lot, with less per byte. Not inline: in the way of the short ones */
APUS_MUST_CHECK uint64_t apus_sum_long(const void *data, size_t bytes);

/** apus_sum_onto - apus_sum(), added to @sum */
APUS_MUST_CHECK static inline uint64_t apus_sum_onto(uint64_t sum, const void *data, size_t bytes)
{
	const uint8_t *at = (const uint8_t *)data, *end = at + (bytes & ~(size_t)63);

	if (bytes >= APUS_SUM_LONG_BYTES)
		return apus_sum_add(sum, apus_sum_long(data, bytes));
	if (bytes < 32)
		return apus_sum_tail(sum, at, bytes);
	for (; at != end; at += 64)
		sum = apus_sum_add_64(sum, at);
	if (bytes & 32) {
		sum = apus_sum_add_32(sum, at);
		at += 32;
	}
	return apus_sum_tail_behind(sum, at, bytes & 31);
}

/**
 * apus_sum - of @bytes bytes at @data, not inverted, not folded
 *
 * Two sums are joined by apus_sum_add(), if what the second was made of begins at an even byte.
 * Context: any.
 */
APUS_MUST_CHECK static inline uint64_t apus_sum(const void *data, size_t bytes)
{
	return apus_sum_onto(0, data, bytes);
}

/* A step of a copy: the compiler's own are of 16 bytes at most. */
typedef uint8_t apus_sum_step __attribute__((vector_size(32), aligned(1), may_alias));

static inline void apus_sum_put_32(uint8_t *to, const uint8_t *from)
{
	*(apus_sum_step *)to = *(const apus_sum_step *)from;
}

/** apus_sum_copy - copy @bytes from @data to @to, which do not overlap. Return: apus_sum() of them. For short ones: memcpy() is better at many */
APUS_MUST_CHECK static inline uint64_t apus_sum_copy(void *to, const void *data, size_t bytes)
{
	const uint8_t *at = (const uint8_t *)data, *end = at + (bytes & ~(size_t)63);
	uint8_t *put = (uint8_t *)to;
	uint64_t sum = 0;

	if (bytes < 32) {
		memcpy(to, data, bytes);
		return apus_sum_tail(sum, at, bytes);
	}
	/* The last step ends with the bytes, wherever that is; so what is left needs no copy of its own. */
	apus_sum_put_32(put + bytes - 32, at + bytes - 32);
	for (; at != end; at += 64, put += 64) {
		apus_sum_put_32(put, at);
		apus_sum_put_32(put + 32, at + 32);
		sum = apus_sum_add_64(sum, at);
	}
	if (bytes & 32) {
		apus_sum_put_32(put, at);
		sum = apus_sum_add_32(sum, at);
		at += 32;
	}
	return bytes & 31 ? apus_sum_tail_behind(sum, at, bytes & 31) : sum;
}

/**
 * apus_sum_pseudo - of the pseudo header of TCP and UDP (RFC 9293 §3.1)
 * @src, @dst: in network order
 * @bytes:     of the header of TCP or UDP and of what follows it, < 65536
 */
static inline uint64_t apus_sum_pseudo(uint32_t src, uint32_t dst, uint8_t protocol, uint32_t bytes)
{
	/* Both as if swapped, which in one's complement is a shift. */
	return (uint64_t)src + dst + ((uint64_t)(protocol + bytes) << APUS_SUM_SWAP);
}

APUS_END_DECLS

#endif
