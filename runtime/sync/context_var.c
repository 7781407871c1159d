/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/context_var.c: context variables on top of sched/vars.
 */
#include "runtime/sync/context_var.h"

#include "runtime/sched/misuse.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/vars.h"

#include <errno.h>

void *apus_context_var_get(const struct apus_context_var *var)
{
	void *value;

	if (apus_vars_find(*apus_vars_current(apus_shard_self()), var, &value))
		return value;
	return var->initial_value;
}

int apus_context_var_set(const struct apus_context_var *var, void *value,
			 struct apus_context_token *token)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_vars **vars = apus_vars_current(shard);
	struct apus_context_token before = {.var = var, .owner = vars};

	before.was_set = apus_vars_find(*vars, var, &before.old_value);

	int rc = apus_vars_set(vars, apus_shard_heap(shard), var, value);

	if (!rc && token) {
		*token = before;
		apus_note(token, "given");
	}
	return rc;
}

int apus_context_var_reset(struct apus_context_token *token)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_vars **vars = apus_vars_current(shard);
	struct apus_heap *heap = apus_shard_heap(shard);
	int rc;

	if (!token->var)
		return apus_misuse(-EALREADY, token, "second reset by a context variable's token");
	if (token->owner != vars)
		return apus_misuse(-EINVAL, token, "reset by another task's token");
	rc = token->was_set ? apus_vars_set(vars, heap, token->var, token->old_value)
			    : apus_vars_unset(vars, heap, token->var);
	if (rc)
		return rc;
	token->var = NULL;
	apus_note(token, "used");
	return 0;
}
