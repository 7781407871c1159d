/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main_addr.h: --ip, --addrs and --gw: addresses that a host can have. Each refuses what is none.
 *
 * Internal.
 */
#ifndef APUS_NET_MAIN_ADDR_H
#define APUS_NET_MAIN_ADDR_H

#include "net/stack.h"

void apus_main_parse_ip(const char *text, struct apus_stack_options *stack);
void apus_main_parse_gateway(const char *text, struct apus_stack_options *stack);
void apus_main_parse_addrs(const char *text, struct apus_stack_options *stack);
/* All are there: is there room for the addresses, and can the gateway be reached from them? */
void apus_main_check_addresses(const struct apus_stack_options *s);

#endif
