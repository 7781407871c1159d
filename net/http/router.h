/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/router.h: which handler answers which path.
 *
 * A route is a method and an exact path, or a method and a prefix that ends in '/'. An exact path
 * wins over prefixes, a longer prefix over a shorter one. HEAD is answered by GET's handler where
 * it has none; OPTIONS is answered with the methods there are.
 */
#ifndef APUS_NET_HTTP_ROUTER_H
#define APUS_NET_HTTP_ROUTER_H

#include "net/http/response.h"

APUS_BEGIN_DECLS

struct apus_http_router;

/** apus_http_router_create - without routes, on the shard's heap. Context: any, on a shard. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_http_router_create(struct apus_http_router **out);
/** apus_http_router_destroy - consumes @r; no server may use it any more. Context: any, on its shard */
void apus_http_router_destroy(struct apus_http_router *r);

/**
 * apus_http_router_add - @fn answers @method at @path
 * @path: begins with '/'; copied
 * @arg:  handed to @fn; kept until destroy
 *
 * Context: any, on the shard. Return: 0; -EINVAL, -EEXIST, -ENOMEM.
 */
APUS_MUST_CHECK int apus_http_router_add(struct apus_http_router *r, enum apus_http_method method,
					 const char *path, apus_http_handler_fn fn, void *arg);
/** apus_http_router_add_prefix - the same for all paths that begin with @path, which ends in '/' */
APUS_MUST_CHECK int apus_http_router_add_prefix(struct apus_http_router *r,
						enum apus_http_method method, const char *path,
						apus_http_handler_fn fn, void *arg);

/** apus_http_router_handle - a handler: @arg is the router; 404 and 405 are its own answers */
int64_t apus_http_router_handle(struct apus_http_request *req, struct apus_http_response *res,
				void *arg);

APUS_END_DECLS

#endif
