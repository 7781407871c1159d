/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/tasks.c: tasks have names and results.
 *
 *	task = asyncio.create_task(factorial(3), name='three')
 *	print(task.get_name(), task.done())
 *	print(await task)
 */
#include "example.h"

static int64_t factorial(void *arg)
{
	int64_t product = 1, n = (intptr_t)arg;

	for (int64_t i = 2; i <= n; i++) {
		printf("%s: i=%lld\n", apus_task_name(apus_task_self()), (long long)i);
		if (apus_sleep(APUS_SEC))
			return -1;
		product *= i;
	}
	return product;
}

static int64_t tasks(void *arg)
{
	const struct apus_spawn_options three = {.name = "three"}, four = {.name = "four"};

	seconds();

	struct apus_task *a = apus_spawn_with(&three, factorial, (void *)3, 0);
	struct apus_task *b = apus_spawn_with(&four, factorial, (void *)4, 0);

	printf("%s %s\n", apus_task_name(a), apus_task_done(a) ? "done" : "pending");

	int64_t of_three = apus_await(a), of_four = apus_await(b);

	printf("three: %lld, four: %lld, after %.0f s\n", (long long)of_three, (long long)of_four,
	       seconds());
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, tasks);
}
