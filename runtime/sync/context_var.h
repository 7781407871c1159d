/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/context_var.h: values that belong to a task and are inherited (contextvars).
 *
 * A task and a callback see the values that stood when it was spawned or registered; what either
 * side sets later the other does not see. The snapshot costs a counter, not a copy. A value is a
 * pointer that the variable does not own: it must live as long as any task that may read it.
 *
 *	static struct apus_context_var request_id = {.name = "request_id"};
 *
 *	struct apus_context_token token;
 *	rc = apus_context_var_set(&request_id, id, &token);
 *	...
 *	rc = apus_context_var_reset(&token);
 */
#ifndef APUS_RUNTIME_SYNC_CONTEXT_VAR_H
#define APUS_RUNTIME_SYNC_CONTEXT_VAR_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

/* A static of the user's; its address is its identity. */
struct apus_context_var {
	const char *name;    /* for dumps */
	void *initial_value; /* what get gives while nothing is set */
};

/* What set remembers for reset; the user's memory. */
struct apus_context_token {
	const struct apus_context_var *var; /* NULL once used */
	void *old_value;
	bool was_set;
	const void *owner; /* the task it was taken in */
};

/** apus_context_var_get - the running task's or callback's value. Context: any, on a shard. Source: ContextVar.get */
void *apus_context_var_get(const struct apus_context_var *var);
/**
 * apus_context_var_set - from now on, here and in what is spawned or registered from here
 * @token: NULL, or where to remember the value that stood before
 *
 * Context: any, on a shard. Return: 0, -ENOMEM, -ENOSPC (256 variables). Source: ContextVar.set
 */
APUS_MUST_CHECK int apus_context_var_set(const struct apus_context_var *var, void *value,
					 struct apus_context_token *token);
/**
 * apus_context_var_reset - back to what stood before the set that gave @token; once
 *
 * Context: the task that set it. Return: 0, -EALREADY (used), -EINVAL (another task's), -ENOMEM. Source: ContextVar.reset
 */
APUS_MUST_CHECK int apus_context_var_reset(struct apus_context_token *token);

APUS_END_DECLS

#endif
