/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/gather.c: several results at once, and what an error does.
 *
 *	await asyncio.gather(ok(), bad(), slow())                          # raises at once
 *	await asyncio.gather(ok(), bad(), slow(), return_exceptions=True)  # waits for all
 */
#include "example.h"
#include "runtime/sync/combine.h"

#include <errno.h>

static int64_t ok(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	return rc ? rc : 1;
}

static int64_t bad(void *arg)
{
	int rc = apus_sleep(2 * APUS_SEC);

	return rc ? rc : -EINVAL;
}

static int64_t slow(void *arg)
{
	int rc = apus_sleep(3 * APUS_SEC);

	printf("slow ends at %.0f s\n", seconds());
	return rc ? rc : 3;
}

static int64_t gather(void *arg)
{
	int64_t results[3], rc;

	seconds();
	rc = apus_gather((struct apus_task *[]){apus_spawn(ok, NULL), apus_spawn(bad, NULL),
						apus_spawn(slow, NULL)},
			 3, NULL, 0);
	printf("gather: %s, at %.0f s\n", strerror((int)-rc), seconds());
	if (apus_sleep(2 * APUS_SEC)) /* the sibling keeps running */
		return -1;
	rc = apus_gather((struct apus_task *[]){apus_spawn(ok, NULL), apus_spawn(bad, NULL),
						apus_spawn(slow, NULL)},
			 3, results, APUS_GATHER_RETURN_ERRORS);
	printf("gather: %lld, results %lld, %s, %lld\n", (long long)rc, (long long)results[0],
	       strerror((int)-results[1]), (long long)results[2]);
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, gather);
}
