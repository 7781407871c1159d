/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/options.h: what a stack's TCP offers and accepts; set when the stack is opened.
 *
 * All zero is the default: everything that TCP.md asks for is on.
 */
#ifndef APUS_NET_TCP_OPTIONS_H
#define APUS_NET_TCP_OPTIONS_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_tcp_options {
	bool no_timestamps; /* neither offered nor accepted (RFC 7323 §3) */
	bool no_sack;       /* likewise (RFC 2018 §2) */
};

APUS_END_DECLS

#endif
