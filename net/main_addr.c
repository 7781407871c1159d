/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main_addr.c: --ip, --addrs and --gw; see main_addr.h.
 */
#include "net/main_addr.h"

#include "net/main.h"

#include <arpa/inet.h>
#include <string.h>

#define ADDRS_MAX 65536 /* 28,232 connections each to one server: more than there is memory for */

static bool is_unicast(uint32_t host_order)
{
	return host_order >> 24 != 0 && host_order >> 24 != 127 && host_order < 0xe0000000u;
}

static uint32_t host_mask(unsigned int prefix_bits)
{
	return (uint32_t)(UINT64_C(0xffffffff) >> prefix_bits);
}

void apus_main_parse_ip(const char *text, struct apus_stack_options *stack)
{
	unsigned int bits = 0;
	struct apus_addr addr = {0};
	uint32_t v4, mask;

	if (!strchr(text, '/') || apus_addr_parse_prefix(text, &addr, &bits) || bits > 32)
		apus_main_refuse(
			"--ip %s: give an IPv4 address and the length of its prefix, such as "
			"10.7.0.2/24",
			text);
	v4 = ntohl(apus_addr_to_v4(addr));
	mask = host_mask(bits);
	if (bits == 0 || !is_unicast(v4))
		apus_main_refuse(
			"--ip %s: no host can have this address; 10.7.0.2/24 is one it can", text);
	if (bits < 31 && ((v4 & mask) == 0 || (v4 & mask) == mask))
		apus_main_refuse(
			"--ip %s: this is the network's own or its broadcast address; give a "
			"host's, such as 10.7.0.2/24",
			text);
	stack->addr = addr;
	stack->prefix_bits = bits;
}

void apus_main_parse_gateway(const char *text, struct apus_stack_options *stack)
{
	if (apus_addr_parse(text, &stack->gateway) ||
	    !is_unicast(ntohl(apus_addr_to_v4(stack->gateway))))
		apus_main_refuse("--gw %s: give the IPv4 address of a router, such as 10.7.0.1",
				 text);
}

void apus_main_parse_addrs(const char *text, struct apus_stack_options *stack)
{
	stack->more_addrs = (uint32_t)apus_main_number("addrs", text, 1, ADDRS_MAX) - 1;
}

/* All of them are hosts' of the connected prefix. */
static void check_more(const struct apus_stack_options *s)
{
	uint32_t mask = host_mask(s->prefix_bits), first = ntohl(apus_addr_to_v4(s->addr)) & mask;

	if (!s->more_addrs)
		return;
	if (s->prefix_bits >= 31 || (uint64_t)first + s->more_addrs >= mask)
		apus_main_refuse("--addrs %u: so many do not follow in the network of --ip; give a "
				 "shorter prefix, such as 10.7.0.2/16",
				 s->more_addrs + 1);
}

static void check_gateway(const struct apus_stack_options *s)
{
	uint32_t differ = ntohl(apus_addr_to_v4(s->addr) ^ apus_addr_to_v4(s->gateway));

	if (apus_addr_is_any(s->gateway))
		return;
	if (!differ || apus_addr_v4_follows(apus_addr_to_v4(s->addr), s->more_addrs,
					    apus_addr_to_v4(s->gateway)))
		apus_main_refuse("--gw: the gateway has our own address; give the router's");
	if (differ & ~host_mask(s->prefix_bits))
		apus_main_refuse(
			"--gw: the gateway is not in the network of --ip; give a router that "
			"can be reached directly");
}

void apus_main_check_addresses(const struct apus_stack_options *s)
{
	check_more(s);
	check_gateway(s);
}
