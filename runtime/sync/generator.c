/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/generator.c: a task that runs inside of its consumer's calls.
 *
 * While the body does not suspend, both sides switch to each other and the ready queue sees none of
 * it. When it suspends inside of a call, the consumer gets the core back, sees no value and parks;
 * the body, when it has one, goes on into the consumer directly.
 */
#include "runtime/sync/generator.h"

#include "runtime/base/check.h"

#include <errno.h>

void apus_generator_open(struct apus_generator *g, apus_generator_fn fn, void *arg)
{
	*g = (struct apus_generator){.fn = fn, .arg = arg};
}

static int64_t run_body(void *arg)
{
	struct apus_generator *g = arg;

	g->result = g->fn(g, g->arg);
	g->state = APUS_GENERATOR_ENDED;
	/* Its consumer is either inside of its call, or parked: then it is woken. */
	if (g->consumer)
		apus_wake(g->consumer, 0);
	return 0;
}

/* A cancel of the consumer goes to where the body waits. */
static bool cancel_body(struct apus_wait *wait)
{
	const struct apus_generator *g = wait->object;

	return apus_task_cancel(g->task);
}

/* The body suspended inside of our call: wait until it has a value or has ended. */
static int64_t wait_for_body(struct apus_generator *g)
{
	static const struct apus_wait_type for_body = {.cancel = cancel_body};
	struct apus_wait wait;
	int64_t rc;

	apus_wait_init(&wait, &for_body, "generator", g);
	g->consumer = &wait;
	rc = apus_park(&wait);
	g->consumer = NULL;
	return rc;
}

/* What the body came to is the call's result, once. */
static int64_t finish(struct apus_generator *g)
{
	int64_t rc = g->result;

	g->task = NULL;
	g->result = 0;
	if (g->is_closing && rc == APUS_GENERATOR_EXIT)
		return 0;
	return rc < 0 ? rc : 0;
}

/* Runs the body until it yields or ends; @how is what its yield returns. */
static int64_t run(struct apus_generator *g, int64_t how, void **value)
{
	int64_t rc = 0;

	if (g->state == APUS_GENERATOR_CREATED) {
		const struct apus_spawn_options eager = {
			.name = "generator",
			.flags = APUS_SPAWN_EAGER,
		};

		g->state = APUS_GENERATOR_RUNNING;
		g->task = apus_spawn_with(&eager, run_body, g, 0);
		if (!g->task) {
			g->state = APUS_GENERATOR_ENDED;
			return -ENOMEM;
		}
		apus_detach(g->task); /* g->state knows whether it lives */
	} else {
		g->state = APUS_GENERATOR_RUNNING;
		apus_wake_inside(g->body, how);
	}
	while (g->state == APUS_GENERATOR_RUNNING && !rc)
		rc = wait_for_body(g);
	if (g->state == APUS_GENERATOR_ENDED) {
		int64_t result = finish(g);

		return rc < 0 ? rc : result;
	}
	if (rc < 0) /* cancelled in the lap in which the value came: that is lost */
		return rc;
	if (value)
		*value = g->value;
	return 1;
}

int64_t apus_generator_send(struct apus_generator *g, void *sent, void **value)
{
	int rc = apus_checkpoint(); /* a body that never waits must not keep others from running */

	if (rc)
		return rc;
	switch (g->state) {
	case APUS_GENERATOR_CREATED:
		if (sent)
			return -EINVAL;
		break;
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		break;
	case APUS_GENERATOR_ENDED:
		return 0;
	}
	g->value = sent;
	return run(g, 0, value);
}

int64_t apus_generator_next(struct apus_generator *g, void **value)
{
	return apus_generator_send(g, NULL, value);
}

int64_t apus_generator_throw(struct apus_generator *g, int64_t error, void **value)
{
	apus_assert(error < 0);
	switch (g->state) {
	case APUS_GENERATOR_CREATED: /* there is no yield yet that could return it */
		g->state = APUS_GENERATOR_ENDED;
		return error;
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		break;
	case APUS_GENERATOR_ENDED:
		return 0;
	}
	g->value = NULL;
	return run(g, error, value);
}

int64_t apus_generator_close(struct apus_generator *g)
{
	int64_t rc = 0;

	switch (g->state) {
	case APUS_GENERATOR_CREATED:
		g->state = APUS_GENERATOR_ENDED;
		return 0;
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		break;
	case APUS_GENERATOR_ENDED:
		return 0;
	}
	g->is_closing = true;
	rc = run(g, APUS_GENERATOR_EXIT, NULL);
	if (rc <= 0)
		return rc;
	/* It ignored the exit and yielded again: it has to end all the same. */
	while (g->state == APUS_GENERATOR_YIELDED)
		(void)run(g, -ECANCELED, NULL);
	return -EPROTO;
}

int64_t apus_generator_yield(struct apus_generator *g, void *value, void **sent)
{
	struct apus_wait wait;
	int64_t rc;

	apus_wait_init(&wait, NULL, "generator's consumer", g);
	g->value = value;
	g->body = &wait;
	g->state = APUS_GENERATOR_YIELDED;
	if (!apus_task_is_inside() && g->consumer)
		rc = apus_park_into(&wait, g->consumer, 0);
	else
		rc = apus_park(&wait);
	g->body = NULL;
	/* Cancelled while no consumer was there (the shard ends): the body unwinds by itself. */
	if (rc == -ECANCELED && g->state == APUS_GENERATOR_YIELDED)
		g->state = APUS_GENERATOR_RUNNING;
	if (sent)
		*sent = g->value;
	return rc;
}
