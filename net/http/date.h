/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/date.h: HTTP's dates (RFC 9110 §5.6.7), without the C library's locale and time zone.
 */
#ifndef APUS_NET_HTTP_DATE_H
#define APUS_NET_HTTP_DATE_H

#include "net/http/request.h"

APUS_BEGIN_DECLS

#define APUS_HTTP_DATE_BYTES      29 /* "Sun, 06 Nov 1994 08:49:37 GMT", not terminated */
#define APUS_HTTP_DATE_LINE_BYTES 37 /* "Date: " before and CR LF behind */

/* The Date header of this second. */
struct apus_http_date {
	int64_t until_ns; /* of apus_now(): when the line is out of date */
	char line[APUS_HTTP_DATE_LINE_BYTES];
};

/** apus_http_date_format - write @second (since 1970, 0 to the year 9999) as IMF-fixdate */
void apus_http_date_format(int64_t second, char out[APUS_HTTP_DATE_BYTES]);
/** apus_http_date_parse - any of the three forms that must be read. Return: seconds since 1970; -EINVAL */
APUS_MUST_CHECK int64_t apus_http_date_parse(struct apus_http_text text);

static inline void apus_http_date_init(struct apus_http_date *d)
{
	d->until_ns = INT64_MIN;
}

/** apus_http_date_line - the line for now, made once per second. Context: any, on a shard */
const char *apus_http_date_line(struct apus_http_date *d);

APUS_END_DECLS

#endif
