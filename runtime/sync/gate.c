/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/gate.c: a count that can be closed.
 */
#include "runtime/sync/gate.h"

#include "runtime/base/check.h"
#include "runtime/sched/task.h"

#include <errno.h>

void apus_gate_init(struct apus_gate *g)
{
	apus_waitq_init(&g->closers);
	g->inside = 0;
	g->is_closed = false;
}

int apus_gate_enter(struct apus_gate *g)
{
	if (g->is_closed)
		return -EPIPE;
	g->inside++;
	return 0;
}

void apus_gate_leave(struct apus_gate *g)
{
	apus_must(g->inside > 0);
	if (--g->inside == 0 && g->is_closed)
		apus_waitq_wake_all(&g->closers, 0);
}

int apus_gate_close(struct apus_gate *g)
{
	g->is_closed = true;
	if (!g->inside)
		return apus_checkpoint();
	return (int)apus_waitq_wait(&g->closers, "gate");
}
