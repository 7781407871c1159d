/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/queue.c: a producer, three workers, and waiting until all is worked off.
 *
 *	await queue.join()
 *	for task in tasks:
 *	    task.cancel()
 *	await asyncio.gather(*tasks, return_exceptions=True)
 */
#include "runtime/sync/queue.h"
#include "example.h"
#include "runtime/sync/combine.h"

static struct apus_queue queue;

static int64_t worker(void *arg)
{
	void *tenths;
	int rc;

	while (!(rc = apus_queue_get(&queue, &tenths))) {
		rc = apus_sleep((intptr_t)tenths * 100 * APUS_MS);
		if (rc)
			break;
		apus_queue_task_done(&queue);
		printf("%s has slept for %.1f s\n", (const char *)arg,
		       (double)(intptr_t)tenths / 10);
	}
	return rc;
}

static int64_t queues(void *arg)
{
	const struct apus_queue_options bounded = {.capacity = 4};
	struct apus_task *workers[3];
	int64_t results[3];
	int rc = apus_queue_init(&queue, &bounded);

	seconds();
	workers[0] = apus_spawn(worker, "worker-0");
	workers[1] = apus_spawn(worker, "worker-1");
	workers[2] = apus_spawn(worker, "worker-2");
	for (intptr_t i = 1; i <= 9 && !rc; i++)
		rc = apus_queue_put(&queue, (void *)i);
	if (!rc)
		rc = apus_queue_join(&queue);
	printf("3 workers slept in parallel for %.1f s; expected in all: 4.5 s\n", seconds());
	for (size_t i = 0; i < 3; i++)
		apus_task_cancel(workers[i]);
	(void)!apus_gather(workers, 3, results, APUS_GATHER_RETURN_ERRORS);
	apus_queue_fini(&queue);
	return rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, queues);
}
