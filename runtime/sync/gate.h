/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/gate.h: closes behind the last one out: the simplest correct shutdown.
 *
 * Who uses a thing enters and leaves; who takes the thing away closes, which lets nobody else in
 * and waits for those inside.
 */
#ifndef APUS_RUNTIME_SYNC_GATE_H
#define APUS_RUNTIME_SYNC_GATE_H

#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

/* Embedded by the user; written by the calls below. */
struct apus_gate {
	struct apus_waitq closers;
	uint64_t inside;
	bool is_closed;
	uint32_t home; /* misuse.h */
};

/** apus_gate_init - open, nobody inside. Context: any */
void apus_gate_init(struct apus_gate *g);
/** apus_gate_enter - Return: 0; -EPIPE once closed. Context: any, on the shard */
APUS_MUST_CHECK int apus_gate_enter(struct apus_gate *g);
/** apus_gate_leave - once for each enter. Return: 0; -EPERM: nobody is inside. Context: any, on the shard */
int apus_gate_leave(struct apus_gate *g);
/** apus_gate_close - let nobody in, wait for all to leave. Closed again: waits too. Context: task, suspends. Return: 0; -ECANCELED (it stays closed); -EXDEV */
APUS_MUST_CHECK int apus_gate_close(struct apus_gate *g);

APUS_END_DECLS

#endif
