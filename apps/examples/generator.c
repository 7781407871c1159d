/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/generator.c: an async generator: next, send, throw, close.
 *
 *	async def averager():
 *	    total, count, average = 0, 0, 0
 *	    while True:
 *	        try:
 *	            total += yield average
 *	            count += 1
 *	            average = total / count
 *	        except ValueError:
 *	            total, count, average = 0, 0, 0
 *	    # finally: print('closed')
 */
#include "runtime/sync/generator.h"
#include "example.h"

#include <errno.h>

static int64_t averager(struct apus_generator *g, void *arg)
{
	intptr_t total = 0, count = 0, average = 0;
	void *sent;
	int64_t rc;

	for (;;) {
		rc = apus_generator_yield(g, (void *)average, &sent);
		if (rc == -EINVAL) {
			printf("reset\n");
			total = count = average = 0;
			continue;
		}
		if (rc)
			break;
		total += (intptr_t)sent;
		average = total / ++count;
	}
	printf("closed\n");
	return rc;
}

static int64_t generator(void *arg)
{
	struct apus_generator g;
	void *average;
	int64_t rc;

	apus_generator_open(&g, averager, NULL);
	rc = apus_generator_next(&g, &average);
	for (intptr_t i = 10; i <= 30 && rc > 0; i += 10) {
		rc = apus_generator_send(&g, (void *)i, &average);
		printf("sent %d, average %d\n", (int)i, (int)(intptr_t)average);
	}
	(void)!apus_generator_throw(&g, -EINVAL, &average);
	printf("average %d\n", (int)(intptr_t)average);
	rc = apus_generator_close(&g);
	printf("next after close: %lld\n", (long long)apus_generator_next(&g, &average));
	return rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, generator);
}
