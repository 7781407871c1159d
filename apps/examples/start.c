/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/start.c: wait until a child is ready, not until it ends (Trio's nursery.start).
 *
 *	async with trio.open_nursery() as nursery:
 *	    port = await nursery.start(serve)     # task_status.started(port)
 *	    print('connect to', port)
 *	    nursery.cancel_scope.cancel()
 */
#include "example.h"
#include "runtime/sync/group.h"

static int64_t serve(void *arg)
{
	int64_t rc = apus_sleep(APUS_SEC); /* open, bind, load */

	if (!rc)
		rc = apus_started(8080);
	printf("serving at %.0f s\n", seconds());
	while (!rc)
		rc = apus_sleep(APUS_SEC);
	printf("stopped at %.0f s\n", seconds());
	return rc;
}

static int64_t start(void *arg)
{
	struct apus_group g;

	seconds();
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);

	int64_t port = apus_group_start(&g, NULL, serve, NULL, 0);

	printf("connect to %lld at %.0f s\n", (long long)port, seconds());

	int64_t rc = port < 0 ? port : apus_sleep(2 * APUS_SEC);

	apus_group_cancel(&g);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	return rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, start);
}
