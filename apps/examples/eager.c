/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/eager.c: tasks that begin at once, and cost nothing if they need not wait.
 *
 *	loop.set_task_factory(asyncio.eager_task_factory)
 *	hit = asyncio.create_task(fetch('cached'))      # runs now
 *	miss = asyncio.create_task(fetch('elsewhere'))  # runs until it first waits
 *	print(hit.done(), miss.done())
 */
#include "example.h"

static int64_t fetch(void *arg)
{
	const char *key = arg;

	printf("fetch %s\n", key);
	if (strcmp(key, "cached") != 0 && apus_sleep(APUS_SEC))
		return -1;
	return (int64_t)strlen(key);
}

static int64_t eager(void *arg)
{
	const struct apus_spawn_options at_once = {.flags = APUS_SPAWN_EAGER};

	seconds();

	struct apus_task *hit = apus_spawn_with(&at_once, fetch, "cached", 0);
	struct apus_task *miss = apus_spawn_with(&at_once, fetch, "elsewhere", 0);

	printf("%s %s\n", apus_task_done(hit) ? "done" : "pending",
	       apus_task_done(miss) ? "done" : "pending");

	int64_t first = apus_await(hit), second = apus_await(miss);

	printf("%lld %lld at %.0f s\n", (long long)first, (long long)second, seconds());
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, eager);
}
