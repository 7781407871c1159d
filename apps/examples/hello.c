/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/hello.c: a task that sleeps.
 *
 *	async def main():
 *	    print('Hello ...')
 *	    await asyncio.sleep(1)
 *	    print('... World!')
 */
#include "example.h"

static int64_t hello(void *arg)
{
	printf("Hello ...\n");
	if (apus_sleep(APUS_SEC))
		return -1;
	printf("... World!\n");
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, hello);
}
