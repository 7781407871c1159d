/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/cancel.c: cancellation, with cleanup.
 *
 *	try:
 *	    await asyncio.sleep(3600)
 *	except asyncio.CancelledError:
 *	    print('cancel_me(): cancel sleep')
 *	    raise
 *	finally:
 *	    print('cancel_me(): after sleep')
 */
#include "example.h"

#include <errno.h>

static int64_t cancel_me(void *arg)
{
	int rc;

	printf("cancel_me(): before sleep\n");
	rc = apus_sleep(3600 * APUS_SEC);
	if (rc == -ECANCELED)
		printf("cancel_me(): cancel sleep\n");
	printf("cancel_me(): after sleep\n");
	return rc;
}

static int64_t cancel(void *arg)
{
	struct apus_task *t = apus_spawn(cancel_me, NULL);

	if (apus_sleep(APUS_SEC))
		return -1;
	apus_task_cancel(t);
	if (apus_await(t) == -ECANCELED)
		printf("main(): cancel_me is cancelled now\n");
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, cancel);
}
