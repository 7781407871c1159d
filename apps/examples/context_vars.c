/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/context_vars.c: values that belong to a request, without passing them on.
 *
 *	request_id = contextvars.ContextVar('request_id', default='-')
 *	token = request_id.set('r1')
 *	...
 *	request_id.reset(token)
 */
#include "example.h"
#include "runtime/sync/combine.h"
#include "runtime/sync/context_var.h"

static struct apus_context_var request_id = {.name = "request_id", .initial_value = "-"};

static void say(const char *what)
{
	printf("[%s] %s\n", (const char *)apus_context_var_get(&request_id), what);
}

static int64_t background(void *arg)
{
	int rc = apus_sleep(2 * APUS_SEC);

	say("written to the log"); /* of the request that spawned it, long after that has ended */
	return rc;
}

static int64_t handle(void *arg)
{
	struct apus_context_token token;

	if (apus_context_var_set(&request_id, arg, &token) ||
	    apus_spawn_detached(NULL, background, NULL, 0))
		return -1;
	say("begins");
	if (apus_sleep(APUS_SEC))
		return -1;
	say("ends");
	return apus_context_var_reset(&token);
}

static int64_t context_vars(void *arg)
{
	int64_t rc = apus_gather(
		(struct apus_task *[]){apus_spawn(handle, "r1"), apus_spawn(handle, "r2")}, 2, NULL,
		0);

	say("main has none");
	return apus_sleep(2 * APUS_SEC) ? -1 : rc;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, context_vars);
}
