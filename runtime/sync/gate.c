/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/gate.c: a count that can be closed.
 */
#include "runtime/sync/gate.h"

#include "runtime/base/check.h"
#include "runtime/sync/internal.h"

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

static APUS_SUSPENDS int close_slow(struct apus_gate *g)
{
	return (int)apus_waitq_wait_here(&g->closers, "gate");
}

int apus_gate_close(struct apus_gate *g)
{
	g->is_closed = true;
	return g->inside ? close_slow(g) : apus_checkpoint();
}
