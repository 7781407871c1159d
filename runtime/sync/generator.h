/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/generator.h: a body that gives values one at a time (asyncio's async generators).
 *
 *	static int64_t count(struct apus_generator *g, void *arg)
 *	{
 *		for (intptr_t i = 0; i < 3; i++) {
 *			int64_t rc = apus_generator_yield(g, (void *)i, NULL);
 *
 *			if (rc)
 *				return rc;	// closed, or an error thrown in
 *		}
 *		return 0;
 *	}
 *
 *	struct apus_generator g;
 *	void *value;
 *
 *	apus_generator_open(&g, count, NULL);
 *	while ((rc = apus_generator_next(&g, &value)) > 0)
 *		use(value);
 *	rc = apus_generator_close(&g);	// always
 *
 * The body has a stack and a task of its own, but runs inside of the consumer's calls: asking for a
 * value that is there costs two switches and no lap. The body may suspend in any call; then
 * the consumer does. Context variables are those of the moment of the first value.
 *
 * One that is left open is closed when the run ends, after all tasks (apus_run_task()); one that is
 * declared as
 *
 *	struct apus_generator g APUS_GENERATOR_CLOSE_AT_END;
 *
 * when its scope is left, however that happens; an error of the body is then unhandled.
 */
#ifndef APUS_RUNTIME_SYNC_GENERATOR_H
#define APUS_RUNTIME_SYNC_GENERATOR_H

#include "runtime/sched/task.h"
#include "runtime/sched/wait.h"

#include <errno.h>

APUS_BEGIN_DECLS

struct apus_generator;

typedef int64_t (*apus_generator_fn)(struct apus_generator *g, void *arg);

enum apus_generator_state {
	APUS_GENERATOR_CREATED,
	APUS_GENERATOR_RUNNING, /* a consumer waits for a value */
	APUS_GENERATOR_YIELDED, /* it waits for a consumer */
	APUS_GENERATOR_ENDED,
};

/*
 * Embedded by the user; written by the calls below. What the body works with lies on the body's own
 * stack, so that one that was forgotten hurts nobody.
 */
struct apus_generator {
	struct apus_generator_core *core; /* NULL: the body has not begun, or has ended */
	apus_generator_fn fn;
	void *arg;
	bool has_ended;
};

/* What apus_generator_yield() returns in a generator that is being closed (GeneratorExit). */
#define APUS_GENERATOR_EXIT (-ESHUTDOWN)

/** apus_generator_open - nothing runs before the first value is asked for. Context: any */
void apus_generator_open(struct apus_generator *g, apus_generator_fn fn, void *arg);
/** apus_generator_next - run the body to its next value. Context: task, suspends when the body does. Return: 1 and *@value; 0 when the body returned; its error; -EBUSY: another task is in a call; -ECANCELED; -ENOMEM; -EXDEV. Source: __anext__ */
APUS_MUST_CHECK int64_t apus_generator_next(struct apus_generator *g, void **value);
/** apus_generator_send - as next; @sent is what the body's yield gives. Context: task, suspends when the body does. Return: as next; -EINVAL before the first value unless NULL. Source: asend */
APUS_MUST_CHECK int64_t apus_generator_send(struct apus_generator *g, void *sent, void **value);
/** apus_generator_throw - as next; the body's yield returns @error < 0. Context: task, suspends when the body does. Return: as next; @error before the first value. Source: athrow */
APUS_MUST_CHECK int64_t apus_generator_throw(struct apus_generator *g, int64_t error, void **value);
/** apus_generator_close - let the body clean up and end: its yield returns APUS_GENERATOR_EXIT. Again: nothing. A cancel goes to where the body waits, which ends all the same. Context: task, suspends when the body does. Return: 0; -ECANCELED; the body's error; -EBUSY; -EPROTO: it yielded another value, and was cancelled; -EXDEV. Source: aclose */
APUS_MUST_CHECK int64_t apus_generator_close(struct apus_generator *g);

/** apus_generator_cleanup - apus_generator_close() whose result nobody sees: an error but -ECANCELED goes to apus_on_unhandled(). Context: task, suspends when the body does */
void apus_generator_cleanup(struct apus_generator *g);
#define APUS_GENERATOR_CLOSE_AT_END __attribute__((cleanup(apus_generator_cleanup)))

/** apus_generator_yield - in the body: give @value, wait for the next call. @sent: what that sends, or NULL. Context: the body, suspends. Return: 0; the error thrown in; APUS_GENERATOR_EXIT; -ECANCELED; -EINVAL: not by the body */
APUS_MUST_CHECK int64_t apus_generator_yield(struct apus_generator *g, void *value, void **sent);

APUS_END_DECLS

#endif
