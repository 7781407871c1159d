/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/bulk_server.c: the other end of `load send` and `load receive`.
 *
 * Discards what comes on port 9 (RFC 863) and sends for ever on port 19 (RFC 864, but blocks and not
 * lines of a pattern: it is the road that is measured). `scripts/bench compare` puts it beside
 * bench/peers/epoll_server.c, on both networks.
 */
#include "net/main.h"
#include "net/socket/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PORT_DISCARD 9
#define PORT_CHARGEN 19
#define BLOCK_BYTES  65536
#define VIEWS        64

static char block[BLOCK_BYTES];

static int64_t discard(struct apus_tcp *c, void *arg)
{
	struct iovec views[VIEWS];
	int n;

	while ((n = apus_tcp_peek(c, views, VIEWS)) > 0) {
		size_t bytes = 0;

		for (int i = 0; i < n; i++)
			bytes += views[i].iov_len;
		apus_tcp_consume(c, bytes);
	}
	return n;
}

static int64_t generate(struct apus_tcp *c, void *arg)
{
	int64_t n;

	while ((n = apus_tcp_write(c, block, sizeof(block))) >= 0)
		;
	return n;
}

/* Until it is cancelled; then both listeners go, and who is connected is reset. */
static int64_t serve(void *arg)
{
	const struct apus_server_options discards = {.local.port = PORT_DISCARD,
						     .handler = discard};
	const struct apus_server_options sends = {.local.port = PORT_CHARGEN, .handler = generate};
	struct apus_server *discarding, *sending;
	int rc;

	memset(block, 'x', sizeof(block));
	rc = apus_server_open(&discards, &discarding);
	if (rc)
		return rc;
	rc = apus_server_open(&sends, &sending);
	if (!rc) {
		printf("bulk_server: discards on port %d, sends on port %d\n", PORT_DISCARD,
		       PORT_CHARGEN);
		fflush(stdout);
		rc = apus_server_wait(sending);
		apus_server_stop(sending, 0);
	}
	apus_server_stop(discarding, 0);
	return rc;
}

int main(int argc, char **argv)
{
	return apus_main(argc, argv, serve, NULL);
}
