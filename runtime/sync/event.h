/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/event.h: a flag to wait for (asyncio.Event).
 */
#ifndef APUS_RUNTIME_SYNC_EVENT_H
#define APUS_RUNTIME_SYNC_EVENT_H

#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

struct apus_event {
	struct apus_waitq waiters;
	bool is_set;   /* written by set and clear */
	uint32_t home; /* misuse.h */
};

/** apus_event_init - not set. Context: any */
void apus_event_init(struct apus_event *e);
/** apus_event_set - every task that waits now is woken, even if clear follows at once. Context: any, on the shard. Source: Event.set */
void apus_event_set(struct apus_event *e);
/** apus_event_clear - later waits wait. Context: any, on the shard. Source: Event.clear */
void apus_event_clear(struct apus_event *e);
/** apus_event_is_set - is it? Context: any, on the shard. Source: Event.is_set */
static inline bool apus_event_is_set(const struct apus_event *e)
{
	return e->is_set;
}
/** apus_event_wait - until the flag is set; at once if it is. Context: task, suspends. Return: 0, -ECANCELED, -EXDEV. Source: Event.wait */
APUS_MUST_CHECK int apus_event_wait(struct apus_event *e);

APUS_END_DECLS

#endif
