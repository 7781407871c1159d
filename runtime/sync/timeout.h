/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/timeout.h: a time limit as a scope (asyncio.timeout).
 *
 *	struct apus_timeout limit;
 *
 *	apus_timeout_begin(&limit, 5 * APUS_SEC);
 *	int64_t n = apus_tcp_read(c, buf, sizeof(buf));
 *	n = apus_timeout_end(&limit, n);	// -ETIMEDOUT when the limit was the reason
 *
 * Scopes nest and end in the order opposite to the one they began in. If several have expired, the
 * outermost reports it. A task must not end inside of one: that ends the process.
 */
#ifndef APUS_RUNTIME_SYNC_TIMEOUT_H
#define APUS_RUNTIME_SYNC_TIMEOUT_H

#include "runtime/sched/task.h"
#include "runtime/sched/timer.h"

APUS_BEGIN_DECLS

struct apus_timeout {
	struct apus_timer timer;
	struct apus_task *task;     /* the one that began the scope */
	struct apus_timeout *outer; /* the limit that this one is inside of; NULL: none */
	uint32_t cancelling;        /* its count of cancels at the beginning */
	bool expired;               /* set by the timer */
	uint16_t depth;             /* among the scopes of the task; 0 once ended */
};

/** apus_timeout_begin - from now on at most @ns; APUS_NEVER sets no limit. Context: task */
void apus_timeout_begin(struct apus_timeout *t, int64_t ns);
/** apus_timeout_reschedule - expire at @deadline_ns instead; APUS_NEVER: not at all. Nothing once it has expired or ended. Context: the same task */
void apus_timeout_reschedule(struct apus_timeout *t, int64_t deadline_ns);
/** apus_timeout_expired - was the limit the reason of a cancel? Also after the end. Context: any */
static inline bool apus_timeout_expired(const struct apus_timeout *t)
{
	return t->expired;
}
/**
 * apus_timeout_end - leave the scope
 * @rc: what the body came to
 *
 * Context: the same task. Return: -ETIMEDOUT if the limit expired and nobody else cancelled the
 * task; @rc otherwise (an error other than -ECANCELED passes through). -EINVAL: another task's,
 * or ended before; or a scope that began inside of it is open (it has ended all the same).
 */
APUS_MUST_CHECK int64_t apus_timeout_end(struct apus_timeout *t, int64_t rc);

/**
 * apus_deadline - the earliest of the time limits that the running task is inside of
 *
 * Those of what it was called by from another shard count, too (cross/call.h). Context: any, on a shard.
 * Return: a point of apus_now(), which may have come; APUS_NEVER when there is no limit
 */
int64_t apus_deadline(void);

APUS_END_DECLS

#endif
