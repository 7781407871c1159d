/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/semaphore.c: five workers, two at a time.
 *
 *	sem = asyncio.Semaphore(2)
 *	async with sem:
 *	    await asyncio.sleep(1)
 */
#include "runtime/sync/semaphore.h"
#include "example.h"
#include "runtime/sync/group.h"

static struct apus_semaphore two;

static int64_t worker(void *arg)
{
	int rc = apus_semaphore_acquire(&two, 1);

	if (rc)
		return rc;
	printf("worker %d begins at %.0f s\n", (int)(intptr_t)arg, seconds());
	rc = apus_sleep(APUS_SEC);
	printf("worker %d ends at %.0f s\n", (int)(intptr_t)arg, seconds());
	apus_semaphore_release(&two, 1);
	return rc;
}

static int64_t semaphore(void *arg)
{
	struct apus_group g;
	int64_t rc = 0;

	seconds();
	apus_semaphore_init(&two, 2, 2);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (intptr_t i = 1; i <= 5 && !rc; i++)
		rc = apus_group_spawn(&g, NULL, worker, (void *)i, 0);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	return rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, semaphore);
}
