/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/generator.c: a task that runs inside of its consumer's calls.
 *
 * While the body does not suspend, both sides switch to each other and the ready queue sees none of
 * it. When it suspends inside of a call, the consumer gets the core back, sees no value and parks;
 * the body, when it has one, goes on into the consumer directly.
 */
#include "runtime/sync/generator.h"

#include "runtime/sync/combine.h"
#include "runtime/sync/internal.h"

#include <errno.h>

/* On the body's stack, from the first value until the call that sees its end. */
struct apus_generator_core {
	struct apus_generator self;  /* what the body is given */
	struct apus_generator *user; /* valid until the first value */
	struct apus_ender ender;     /* while the handle is out */
	struct apus_task *task;      /* the body's; the handle is ours */
	struct apus_wait *body;      /* its wait, while it waits for a consumer */
	struct apus_wait *consumer;  /* the consumer's, while it is parked */
	void *value;                 /* on its way, to either side */
	int64_t result;              /* of the body */
	enum apus_generator_state state;
	bool is_closing;
	bool is_released;
};

void apus_generator_open(struct apus_generator *g, apus_generator_fn fn, void *arg)
{
	*g = (struct apus_generator){.fn = fn, .arg = arg};
	apus_note(g, "opened");
}

static enum apus_generator_state state_of(const struct apus_generator *g)
{
	if (g->core)
		return g->core->state;
	return g->has_ended ? APUS_GENERATOR_ENDED : APUS_GENERATOR_CREATED;
}

/* ------------------------------------------------------------------------------- the body's life */

static int64_t end_left_open(struct apus_ender *ender);

static int64_t run_body(void *arg)
{
	struct apus_generator_core *core = arg;

	core->task = apus_task_self();
	core->self.core = core;
	core->user->core = core;
	core->ender.end = end_left_open;
	apus_shard_at_end(apus_shard_self(), &core->ender);
	apus_task_set_inner(core->task, true);
	core->result = core->self.fn(&core->self, core->self.arg);
	core->state = APUS_GENERATOR_ENDED;
	apus_task_set_inner(core->task, false);
	/* Its consumer is either inside of its call, or parked: then it is woken. */
	if (core->consumer)
		apus_wake(core->consumer, 0);
	else if (!apus_task_is_inside() && !apus_list_linked(&core->ender.link))
		apus_detach(core->task); /* the run ends without memory: nobody will come for it */
	return 0;
}

/* Return: 0; -ENOMEM. */
static int begin(struct apus_generator *g)
{
	static const struct apus_spawn_options eager = {
		.name = "generator",
		.flags = APUS_SPAWN_EAGER,
	};
	const struct apus_generator_core core = {
		.self = *g,
		.user = g,
		.state = APUS_GENERATOR_RUNNING,
	};
	const struct apus_task *t = apus_spawn_with(&eager, run_body, &core, sizeof(core));

	if (!t)
		g->has_ended = true;
	return t ? 0 : -ENOMEM;
}

/* The body has ended, and with this its stack, where the core is: @g may lie there, too. */
static int64_t finish(struct apus_generator *g)
{
	struct apus_generator_core *core = g->core;
	int64_t rc = core->result;

	if (core->is_closing && rc == APUS_GENERATOR_EXIT)
		rc = 0;
	g->core = NULL;
	g->has_ended = true;
	core->is_released = true;
	apus_list_remove(&core->ender.link);
	apus_detach(core->task);
	return rc < 0 ? rc : 0;
}

/* A cancel of the consumer goes to where the body waits. */
static bool cancel_body(struct apus_wait *wait)
{
	const struct apus_generator_core *core = wait->object;

	return apus_task_cancel(core->task);
}

/* The body suspended inside of our call: wait until it has a value or has ended. */
static inline int64_t wait_for_body(struct apus_generator_core *core)
{
	static const struct apus_wait_type for_body = {.cancel = cancel_body};
	struct apus_wait wait;
	int64_t rc;

	apus_wait_init(&wait, &for_body, "generator", core);
	core->consumer = &wait;
	rc = apus_park_here(&wait);
	core->consumer = NULL;
	return rc;
}

/* Runs the body until it yields or ends; @how is what its yield returns. */
static APUS_SUSPENDS int64_t run(struct apus_generator *g, int64_t how, void **value)
{
	int64_t rc = 0;

	if (!g->core) {
		rc = begin(g);
		if (rc)
			return rc;
	} else {
		g->core->state = APUS_GENERATOR_RUNNING;
		apus_wake_inside(g->core->body, how);
	}
	while (g->core->state == APUS_GENERATOR_RUNNING && !rc)
		rc = wait_for_body(g->core);
	if (g->core->state == APUS_GENERATOR_ENDED) {
		int64_t result = finish(g); /* is the call's, once */

		return rc < 0 ? rc : result;
	}
	if (rc < 0) /* cancelled in the lap in which the value came: that is lost */
		return rc;
	if (value)
		*value = g->core->value;
	return 1;
}

/* --------------------------------------------------------------------------- the consumer's calls */

#define check_home(g) \
 ((g)->core ? apus_task_check_home((g)->core->task, "a call of the generator") : 0)

int64_t apus_generator_send(struct apus_generator *g, void *sent, void **value)
{
	int rc = apus_checkpoint(); /* a body that never waits must not keep others from running */

	if (rc || (rc = check_home(g)))
		return rc;
	switch (state_of(g)) {
	case APUS_GENERATOR_CREATED:
		return sent ? -EINVAL : run(g, 0, value);
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		g->core->value = sent;
		return run(g, 0, value);
	case APUS_GENERATOR_ENDED:
		break;
	}
	return g->core ? finish(g) : 0;
}

int64_t apus_generator_next(struct apus_generator *g, void **value)
{
	return apus_generator_send(g, NULL, value);
}

int64_t apus_generator_throw(struct apus_generator *g, int64_t error, void **value)
{
	int rc = check_home(g);

	apus_assert(error < 0);
	if (rc)
		return rc;
	switch (state_of(g)) {
	case APUS_GENERATOR_CREATED: /* there is no yield yet that could return it */
		g->has_ended = true;
		return error;
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		g->core->value = NULL;
		return run(g, error, value);
	case APUS_GENERATOR_ENDED:
		break;
	}
	return g->core ? finish(g) : 0;
}

int64_t apus_generator_close(struct apus_generator *g)
{
	int64_t rc = check_home(g);

	if (rc)
		return rc;
	switch (state_of(g)) {
	case APUS_GENERATOR_CREATED:
		g->has_ended = true;
		return 0;
	case APUS_GENERATOR_RUNNING:
		return -EBUSY;
	case APUS_GENERATOR_YIELDED:
		break;
	case APUS_GENERATOR_ENDED:
		return g->core ? finish(g) : 0;
	}
	g->core->is_closing = true;
	rc = run(g, APUS_GENERATOR_EXIT, NULL);
	if (rc <= 0)
		return rc;
	/* It ignored the exit and yielded again: it has to end all the same. */
	while (state_of(g) == APUS_GENERATOR_YIELDED)
		(void)run(g, -ECANCELED, NULL);
	return -EPROTO;
}

void apus_generator_cleanup(struct apus_generator *g)
{
	int64_t rc = apus_generator_close(g);

	if (rc < 0 && rc != -ECANCELED)
		apus_unhandled_error("a generator failed when its scope was left", rc);
}

/* Whoever consumed it is gone: the end of the run closes it, or waits where it unwinds already. */
static int64_t end_left_open(struct apus_ender *ender)
{
	struct apus_generator_core *core =
		apus_container_of(ender, struct apus_generator_core, ender);
	struct apus_task *body = apus_task_get(core->task);
	int64_t rc = 0;

	/* The address of what the user had is still good for a name, if for nothing else. */
	(void)apus_misuse_at(0, core->user, "a generator was left open until the end of the run",
			     (const void *)(uintptr_t)core->self.fn);
	if (core->state == APUS_GENERATOR_RUNNING)
		rc = apus_wait(&body, 1, APUS_WAIT_ALL, APUS_NEVER);
	if (rc >= 0 && !core->is_released)
		rc = apus_generator_close(&core->self);
	apus_detach(body);
	return rc;
}

/* ------------------------------------------------------------------------------- the body's calls */

APUS_SUSPENDS int64_t apus_generator_yield(struct apus_generator *g, void *value, void **sent)
{
	struct apus_generator_core *core = g->core;
	struct apus_wait wait;
	int64_t rc;

	if (!core || core->task != apus_task_self())
		return apus_misuse(-EINVAL, g, "yield of a generator outside of its body");
	apus_wait_init(&wait, NULL, "generator's consumer", core);
	core->value = value;
	core->body = &wait;
	core->state = APUS_GENERATOR_YIELDED;
	if (!apus_task_is_inside() && core->consumer)
		rc = apus_park_into(&wait, core->consumer, 0);
	else
		rc = apus_park(&wait);
	core->body = NULL;
	/* Cancelled while no consumer was there: the body unwinds by itself. */
	if (rc == -ECANCELED && core->state == APUS_GENERATOR_YIELDED)
		core->state = APUS_GENERATOR_RUNNING;
	if (sent)
		*sent = core->value;
	return rc;
}
