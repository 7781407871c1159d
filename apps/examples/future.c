/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/future.c: a result that another task provides.
 *
 *	async def set_after(fut, delay, value):
 *	    await asyncio.sleep(delay)
 *	    fut.set_result(value)
 */
#include "runtime/sync/future.h"
#include "example.h"

static int64_t set_after(void *arg)
{
	int rc = apus_sleep(APUS_SEC);

	return rc ? rc : apus_future_set(arg, (intptr_t) "... world");
}

static int64_t future(void *arg)
{
	struct apus_future f;
	struct apus_task *t;

	apus_future_init(&f);
	t = apus_spawn(set_after, &f);
	printf("hello ...\n");
	printf("%s\n", (const char *)(intptr_t)apus_future_await(&f));
	return apus_await(t);
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, future);
}
