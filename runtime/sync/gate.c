/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/gate.c: a count that can be closed.
 */
#include "runtime/sync/gate.h"

#include "runtime/sync/internal.h"

#include <errno.h>

void apus_gate_init(struct apus_gate *g)
{
	apus_waitq_init(&g->closers);
	g->inside = 0;
	g->is_closed = false;
	g->home = apus_home_here();
	apus_note(g, "initialised");
}

int apus_gate_enter(struct apus_gate *g)
{
	if (g->is_closed)
		return -EPIPE;
	if (apus_home_check_debug(g, "enter of a gate"))
		return -EXDEV;
	g->inside++;
	apus_note(g, "entered");
	return 0;
}

int apus_gate_leave(struct apus_gate *g)
{
	if (apus_unlikely(!g->inside))
		return apus_misuse(-EPERM, g, "leave of a gate that nobody is in");
	if (apus_home_check_debug(g, "leave of a gate"))
		return -EXDEV;
	apus_note(g, "left");
	if (--g->inside == 0 && g->is_closed)
		apus_waitq_wake_all(&g->closers, 0);
	return 0;
}

static APUS_SUSPENDS int close_slow(struct apus_gate *g, const void *place)
{
	int rc = apus_home_check_at(g, "close of a gate", place);

	return rc ? rc : (int)apus_waitq_wait_here(&g->closers, "gate");
}

int apus_gate_close(struct apus_gate *g)
{
	g->is_closed = true;
	return g->inside ? close_slow(g, __builtin_return_address(0)) : apus_checkpoint();
}
