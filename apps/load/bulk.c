/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/bulk.c: bytes one way, as many as fit: to a server that discards, from one that sends.
 */
#include "apps/load/load.h"
#include "net/socket/tcp.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VIEWS 64

static int64_t send_all(struct apus_tcp *c, const char *block)
{
	struct apus_timeout limit;
	int64_t n;

	do {
		apus_timeout_begin(&limit, load_options.timeout_ns);
		n = apus_timeout_end(&limit, apus_tcp_write(c, block, load_options.bytes));
		load_stats.bytes_out += n > 0 ? (uint64_t)n : 0;
	} while (n >= 0);
	return n;
}

static int64_t receive_all(struct apus_tcp *c)
{
	struct iovec views[VIEWS];
	struct apus_timeout limit;
	int n;

	for (;;) {
		size_t bytes = 0;

		apus_timeout_begin(&limit, load_options.timeout_ns);
		n = (int)apus_timeout_end(&limit, apus_tcp_peek(c, views, VIEWS));
		if (n <= 0)
			return n ? n : -ENODATA;
		for (int i = 0; i < n; i++)
			bytes += views[i].iov_len;
		apus_tcp_consume(c, bytes);
		load_stats.bytes_in += bytes;
	}
}

static int64_t run(const char *block)
{
	struct apus_tcp *c;
	int64_t rc = 0;

	while (!rc) {
		rc = load_open(&c);
		if (rc) {
			rc = rc == -ECANCELED ? rc : load_failed(rc, true);
			continue;
		}
		rc = block ? send_all(c, block) : receive_all(c);
		load_stats.open--;
		apus_tcp_abort(c);
		if (rc != -ECANCELED)
			rc = load_failed(rc, false);
	}
	return rc;
}

int64_t load_run_send(void *arg)
{
	char *block = malloc(load_options.bytes);
	int64_t rc;

	if (!block)
		return -ENOMEM;
	memset(block, 'x', load_options.bytes);
	rc = run(block);
	free(block);
	return rc;
}

int64_t load_run_receive(void *arg)
{
	return run(NULL);
}
