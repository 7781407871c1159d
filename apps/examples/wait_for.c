/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/wait_for.c: a time limit.
 *
 *	try:
 *	    await asyncio.wait_for(eternity(), timeout=1.0)
 *	except TimeoutError:
 *	    print('timeout!')
 */
#include "example.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/timeout.h"

#include <errno.h>

static int64_t eternity(void *arg)
{
	int rc = apus_sleep(3600 * APUS_SEC);

	if (!rc)
		printf("yay!\n");
	return rc;
}

static int64_t wait_for(void *arg)
{
	struct apus_timeout limit;

	seconds();
	if (apus_wait_for(apus_spawn(eternity, NULL), APUS_SEC) == -ETIMEDOUT)
		printf("timeout! after %.0f s\n", seconds());

	/* The same without a task: the scope limits whatever is called in it. */
	apus_timeout_begin(&limit, APUS_SEC);
	if (apus_timeout_end(&limit, eternity(NULL)) == -ETIMEDOUT)
		printf("timeout! after %.0f s\n", seconds());
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, wait_for);
}
