/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/addr.c: addresses and endpoints as text.
 *
 * IPv4 in four decimal parts, IPv6 by RFC 4291 §2.2. Text comes from users, so it is bounded,
 * checked to its last character, and never partly believed. The address of all zeros, in either
 * family, is "any".
 */
#include "net/ip/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int apus_addr_parse(const char *text, struct apus_addr *out)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*out = v4.s_addr ? apus_addr_v4(v4.s_addr) : (struct apus_addr){0};
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1) {
		memcpy(out->u8, v6.s6_addr, sizeof(out->u8));
		return 0;
	}
	return -EINVAL;
}

/* Digits only, no sign, no blank: what strtoul would let pass. Return: the number, -EINVAL */
static int parse_number(const char *text, unsigned int max)
{
	unsigned int n = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		n = n * 10 + (unsigned int)(*text - '0');
		if (n > max)
			return -EINVAL;
	}
	return (int)n;
}

/* Copies the part of @text before @end. Return: 0, -EINVAL if it is too long for an address */
static int cut(const char *text, const char *end, char buf[INET6_ADDRSTRLEN])
{
	size_t bytes = (size_t)(end - text);

	if (bytes >= INET6_ADDRSTRLEN)
		return -EINVAL;
	memcpy(buf, text, bytes);
	buf[bytes] = '\0';
	return 0;
}

int apus_addr_parse_prefix(const char *text, struct apus_addr *out, unsigned int *prefix_bits)
{
	const char *slash = strchr(text, '/');
	char buf[INET6_ADDRSTRLEN];
	struct apus_addr addr;

	if (cut(text, slash ? slash : text + strlen(text), buf) || apus_addr_parse(buf, &addr))
		return -EINVAL;

	int max = strchr(buf, ':') && !apus_addr_is_v4(addr) ? 128 : 32;
	int bits = slash ? parse_number(slash + 1, (unsigned int)max) : max;

	if (bits < 0)
		return -EINVAL;
	*out = addr;
	*prefix_bits = (unsigned int)bits;
	return 0;
}

int apus_endpoint_parse(const char *text, struct apus_endpoint *out)
{
	const char *colon = strrchr(text, ':');
	struct apus_endpoint e = {0};
	char buf[INET6_ADDRSTRLEN];

	if (!colon)
		return -EINVAL;

	int port = parse_number(colon + 1, UINT16_MAX);

	if (port < 0)
		return -EINVAL;
	e.port = (uint16_t)port;

	bool bracketed = *text == '[';
	const char *end = colon;

	if (bracketed) {
		text++;
		if (end <= text || *--end != ']')
			return -EINVAL;
	}
	if (cut(text, end, buf))
		return -EINVAL;
	/* Without brackets a colon in the address could not be told from that of the port. */
	if (bracketed != !!strchr(buf, ':'))
		return -EINVAL;
	if (*buf && apus_addr_parse(buf, &e.addr))
		return -EINVAL;
	*out = e;
	return 0;
}

const char *apus_endpoint_format(struct apus_endpoint e, char buf[APUS_ENDPOINT_TEXT_BYTES])
{
	char text[INET6_ADDRSTRLEN] = "0.0.0.0";
	bool v6 = !apus_addr_is_v4(e.addr) && !apus_addr_is_any(e.addr);

	if (v6)
		inet_ntop(AF_INET6, e.addr.u8, text, sizeof(text));
	else
		inet_ntop(AF_INET, &e.addr.u32[3], text, sizeof(text));
	snprintf(buf, APUS_ENDPOINT_TEXT_BYTES, v6 ? "[%s]:%u" : "%s:%u", text, e.port);
	return buf;
}
