/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/lock.c: one at a time, in order.
 *
 *	async with lock:
 *	    await asyncio.sleep(1)
 */
#include "runtime/sync/lock.h"
#include "example.h"
#include "runtime/sync/combine.h"

static struct apus_lock lock;

static int64_t worker(void *arg)
{
	int rc;

	printf("%s waits for the lock\n", (const char *)arg);
	rc = apus_lock_acquire(&lock);
	if (rc)
		return rc;
	printf("%s has it at %.0f s\n", (const char *)arg, seconds());
	rc = apus_sleep(APUS_SEC);
	apus_lock_release(&lock);
	return rc;
}

static int64_t locks(void *arg)
{
	seconds();
	apus_lock_init(&lock);
	return apus_gather((struct apus_task *[]){apus_spawn(worker, "A"), apus_spawn(worker, "B"),
						  apus_spawn(worker, "C")},
			   3, NULL, 0);
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, locks);
}
