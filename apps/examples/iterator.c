/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/iterator.c: async for: a next that may wait, in a while.
 *
 *	async for number in Counter(3):
 *	    print(number)
 */
#include "example.h"

struct counter {
	int number, end;
};

/* As all that can be iterated here: 1 and a value, 0 at the end, or an error. */
static int counter_next(struct counter *c, int *number)
{
	int rc = apus_sleep(APUS_SEC);

	if (rc)
		return rc;
	if (c->number == c->end)
		return 0;
	*number = c->number++;
	return 1;
}

static int64_t iterator(void *arg)
{
	struct counter c = {.end = 3};
	int number = 0, rc;

	seconds();
	while ((rc = counter_next(&c, &number)) > 0)
		printf("%d at %.0f s\n", number, seconds());
	printf("end at %.0f s\n", seconds());
	return rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, iterator);
}
