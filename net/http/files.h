/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/files.h: a handler that serves files below a directory.
 *
 * GET and HEAD; index.html for a directory; Last-Modified and If-Modified-Since. Whatever the path
 * says, nothing outside of the directory is opened, also not through a symbolic link. Opening and
 * reading happen on a thread, in pieces, so that a slow disk or a slow client costs memory for one
 * piece and never blocks the shard.
 */
#ifndef APUS_NET_HTTP_FILES_H
#define APUS_NET_HTTP_FILES_H

#include "net/http/response.h"

APUS_BEGIN_DECLS

struct apus_http_files;

/**
 * apus_http_files_open - serve what lies below @root
 * @root:   a directory; it may be renamed later, the handler stays with it
 * @prefix: "/": of the paths it is routed for; ends in '/'; taken off a path to give the file's
 *
 * Context: any, on a shard; may block for a moment. Return: 0; -EINVAL, -ENOMEM, -errno of open(2).
 */
APUS_MUST_CHECK int apus_http_files_open(const char *root, const char *prefix,
					 struct apus_http_files **out);
/** apus_http_files_close - consumes @files; no server may use it any more. Context: any, on its shard */
void apus_http_files_close(struct apus_http_files *files);

/** apus_http_files_walk - do without openat2(), as on kernels before Linux 5.6: no link is followed. For tests */
void apus_http_files_walk(struct apus_http_files *files);

/** apus_http_files_handle - a handler: @arg is the files */
int64_t apus_http_files_handle(struct apus_http_request *req, struct apus_http_response *res,
			       void *arg);

/** apus_http_files_type - the media type for a file's name. Return: never NULL */
const char *apus_http_files_type(const char *name);

APUS_END_DECLS

#endif
