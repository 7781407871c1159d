/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/addr.h: addresses and endpoints, one layout for IPv4 and IPv6.
 *
 * Sixteen bytes in network order; IPv4 is stored mapped (::ffff:a.b.c.d, RFC 4291 §2.5.5.2), so
 * that tables, keys and the public API need no second shape for IPv6.
 */
#ifndef APUS_NET_IP_ADDR_H
#define APUS_NET_IP_ADDR_H

#include "runtime/base/compiler.h"

#include <arpa/inet.h>

APUS_BEGIN_DECLS

struct apus_addr {
	union {
		uint8_t u8[16];
		uint32_t u32[4]; /* network order, as on the wire */
		uint64_t u64[2];
	};
};

struct apus_endpoint {
	struct apus_addr addr;
	uint16_t port; /* host order */
};

/** apus_addr_is_any - is it all zero? */
static inline bool apus_addr_is_any(struct apus_addr a)
{
	return !(a.u64[0] | a.u64[1]);
}

/** apus_addr_equal - are they the same address? */
static inline bool apus_addr_equal(struct apus_addr a, struct apus_addr b)
{
	return !((a.u64[0] ^ b.u64[0]) | (a.u64[1] ^ b.u64[1]));
}

/** apus_addr_v4 - an IPv4 address, in its mapped form, from network order */
static inline struct apus_addr apus_addr_v4(uint32_t network_order)
{
	struct apus_addr a;

	/* In whole words: what is written in parts is slow to read, and to compare. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	a.u64[1] = (uint64_t)network_order << 32 | 0xffff0000;
#else
	a.u64[1] = UINT64_C(0x0000ffff) << 32 | network_order;
#endif
	a.u64[0] = 0;
	return a;
}

/** apus_addr_is_v4 - is it an IPv4 address, in its mapped form? "any" is neither IPv4 nor IPv6 */
static inline bool apus_addr_is_v4(struct apus_addr a)
{
	return !(a.u64[0] | (a.u32[2] ^ apus_addr_v4(0).u32[2]));
}

/** apus_addr_to_v4 - the IPv4 address that it is, in network order */
static inline uint32_t apus_addr_to_v4(struct apus_addr a)
{
	return a.u32[3];
}

/** apus_addr_parse - "10.7.0.2", "2001:db8::1"; "0.0.0.0" and "::" are any. Return: 0, -EINVAL */
APUS_MUST_CHECK int apus_addr_parse(const char *text, struct apus_addr *out);
/** apus_addr_parse_prefix - "10.7.0.2/24"; without "/n" it is 32 (IPv6: 128). Return: 0, -EINVAL */
APUS_MUST_CHECK int apus_addr_parse_prefix(const char *text, struct apus_addr *out,
					   unsigned int *prefix_bits);
/** apus_endpoint_parse - "10.7.0.2:80", "[::1]:80"; ":80" is any address. Return: 0, -EINVAL */
APUS_MUST_CHECK int apus_endpoint_parse(const char *text, struct apus_endpoint *out);

#define APUS_ENDPOINT_TEXT_BYTES 56 /* "[" 45 "]:" 5 and the end */
/** apus_endpoint_format - Return: @buf */
const char *apus_endpoint_format(struct apus_endpoint e, char buf[APUS_ENDPOINT_TEXT_BYTES]);

/** apus_addr_v4_follows - is @addr one of the @n addresses behind @first? Both in network order; never for @n 0. Context: any */
static inline bool apus_addr_v4_follows(uint32_t first, uint32_t n, uint32_t addr)
{
	return ntohl(addr) - ntohl(first) - 1 < n;
}

APUS_END_DECLS

#endif
