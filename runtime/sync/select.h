/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/select.h: wait for the first of several things (Go's select).
 *
 *	struct apus_select_case cases[] = {
 *		APUS_SELECT_GET(&queue, &item),
 *		APUS_SELECT_EVENT(&stop),
 *		APUS_SELECT_UNTIL(deadline_ns),
 *	};
 *
 *	switch (apus_select(cases, 3)) { case 0: ... }
 *
 * The case that comes true first wins; of several that are true already the first in the list. A
 * case that loses has consumed nothing: no item is taken, no wake is kept from others.
 */
#ifndef APUS_RUNTIME_SYNC_SELECT_H
#define APUS_RUNTIME_SYNC_SELECT_H

#include "runtime/sync/event.h"
#include "runtime/sync/future.h"
#include "runtime/sync/queue.h"

APUS_BEGIN_DECLS

enum apus_select_kind {
	APUS_SELECT_KIND_GET,    /* take an item from a queue; also true once that is shut down */
	APUS_SELECT_KIND_PUT,    /* put an item into one; also true once that is shut down */
	APUS_SELECT_KIND_EVENT,  /* an event is set */
	APUS_SELECT_KIND_FUTURE, /* a future is complete */
	APUS_SELECT_KIND_TASK,   /* a task has ended */
	APUS_SELECT_KIND_UNTIL,  /* a time has come */
};

struct apus_select_case {
	enum apus_select_kind kind;
	union {
		struct apus_queue *queue;
		struct apus_event *event;
		struct apus_future *future;
		struct apus_task *task;
		int64_t deadline_ns;
	};
	void **item; /* of GET: where to */
	void *value; /* of PUT: what */
	int64_t rc; /* written for the winner: what get or put returned, the future's or task's result */
};

#define APUS_SELECT_GET(q, to)                             \
 {                                                         \
  .kind = APUS_SELECT_KIND_GET, .queue = (q), .item = (to) \
 }
#define APUS_SELECT_PUT(q, what)                              \
 {                                                            \
  .kind = APUS_SELECT_KIND_PUT, .queue = (q), .value = (what) \
 }
#define APUS_SELECT_EVENT(e)                   \
 {                                             \
  .kind = APUS_SELECT_KIND_EVENT, .event = (e) \
 }
#define APUS_SELECT_FUTURE(f)                    \
 {                                               \
  .kind = APUS_SELECT_KIND_FUTURE, .future = (f) \
 }
#define APUS_SELECT_TASK(t)                  \
 {                                           \
  .kind = APUS_SELECT_KIND_TASK, .task = (t) \
 }
#define APUS_SELECT_UNTIL(at_ns)                         \
 {                                                       \
  .kind = APUS_SELECT_KIND_UNTIL, .deadline_ns = (at_ns) \
 }

#define APUS_SELECT_CASES_MAX 16

/** apus_select - Context: task, suspends when none is true. Return: the index of the winner; -EINVAL for none or more than 16; -ECANCELED (nothing was consumed); -EXDEV; -EDEADLK: a case is the running task */
APUS_MUST_CHECK int64_t apus_select(struct apus_select_case *cases, size_t n);

APUS_END_DECLS

#endif
