/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/fast.h: the shortest way through the request that nearly every one is. Internal.
 */
#ifndef APUS_NET_HTTP_FAST_H
#define APUS_NET_HTTP_FAST_H

#include "net/http/parser.h"

APUS_BEGIN_DECLS

/**
 * apus_http_parse_fast - take a whole plain GET or HEAD from the begin of r->base
 * @r: as after apus_http_parser_init(), with base and len set
 *
 * Return: true: the request is complete, and is what the other way would have made of it; false:
 * it says nothing, and @r is as it was.
 */
bool apus_http_parse_fast(struct apus_http_request *r);

APUS_END_DECLS

#endif
