/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/event.c: wait until something has happened.
 *
 *	async def waiter(event):
 *	    print('waiting for it ...')
 *	    await event.wait()
 *	    print('... got it!')
 */
#include "runtime/sync/event.h"
#include "example.h"

static int64_t waiter(void *arg)
{
	int rc;

	printf("waiting for it ...\n");
	rc = apus_event_wait(arg);
	if (!rc)
		printf("... got it!\n");
	return rc;
}

static int64_t event(void *arg)
{
	struct apus_event it;
	struct apus_task *t;

	apus_event_init(&it);
	t = apus_spawn(waiter, &it);
	if (apus_sleep(APUS_SEC))
		return -1;
	apus_event_set(&it);
	return apus_await(t);
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, event);
}
