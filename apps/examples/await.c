/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/await.c: one after the other, and at the same time.
 *
 *	await say_after(1, 'hello')               task1 = asyncio.create_task(say_after(1, 'hello'))
 *	await say_after(2, 'world')               task2 = asyncio.create_task(say_after(2, 'world'))
 *	                                          await task1
 *	                                          await task2
 */
#include "example.h"

struct words {
	int64_t delay_ns;
	const char *text;
};

static int64_t say_after(void *arg)
{
	const struct words *w = arg;
	int rc = apus_sleep(w->delay_ns);

	if (rc)
		return rc;
	printf("%s\n", w->text);
	return 0;
}

static int64_t await(void *arg)
{
	struct words hello = {APUS_SEC, "hello"}, world = {2 * APUS_SEC, "world"};

	printf("started at %.0f s\n", seconds());
	if (say_after(&hello) || say_after(&world)) /* a coroutine is called like any function */
		return -1;
	printf("finished at %.0f s\n", seconds());

	struct apus_task *first = apus_spawn(say_after, &hello);
	struct apus_task *second = apus_spawn(say_after, &world);
	int64_t rc = apus_await(first);

	if (apus_await(second) || rc)
		return -1;
	printf("finished at %.0f s\n", seconds());
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, await);
}
