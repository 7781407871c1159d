/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/reno.h: NewReno: the window of RFC 5681 §3.1.
 */
#ifndef APUS_NET_TCP_RENO_H
#define APUS_NET_TCP_RENO_H

#include "net/tcp/cc.h"

APUS_BEGIN_DECLS

extern const struct apus_cc_type apus_reno;

APUS_END_DECLS

#endif
