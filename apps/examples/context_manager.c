/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/context_manager.c: async with: enter, body, exit whatever the body came to.
 *
 *	async with Connection() as c:
 *	    await c.query()
 *
 * The idiom is begin ... end: the end gets what the body came to, may wait, and gives what is to
 * be returned, as apus_timeout_end() and apus_group_end() do.
 */
#include "example.h"

#include <errno.h>

struct connection {
	int queries;
};

static int connection_begin(struct connection *c)
{
	*c = (struct connection){0};
	printf("connecting\n");
	return apus_sleep(APUS_SEC);
}

static int64_t connection_end(struct connection *c, int64_t rc)
{
	printf("closing after %d queries, body came to %s\n", c->queries,
	       rc < 0 ? strerror((int)-rc) : "its end");

	int closed = apus_sleep(APUS_SEC);

	return rc < 0 ? rc : closed;
}

static int64_t query(struct connection *c)
{
	printf("query %d\n", ++c->queries);
	return c->queries < 3 ? 0 : -EIO;
}

static int64_t use(int queries)
{
	struct connection c;
	int64_t rc = connection_begin(&c);

	for (int i = 0; i < queries && !rc; i++)
		rc = query(&c);
	return connection_end(&c, rc);
}

static int64_t context_manager(void *arg)
{
	printf("first: %lld\n", (long long)use(2));
	printf("second: %s\n", strerror((int)-use(3)));
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, context_manager);
}
