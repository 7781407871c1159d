/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/waitq.c: a queue of waiting tasks.
 */
#include "runtime/sync/waitq.h"

#include "runtime/sync/internal.h"

APUS_SUSPENDS int64_t apus_waitq_wait(struct apus_waitq *q, const char *what)
{
	int rc = apus_wait_check(&q->waiters);

	return apus_unlikely(rc) ? rc : apus_waitq_wait_here(q, what);
}

bool apus_waitq_wake_one(struct apus_waitq *q, int64_t rc)
{
	return apus_waitq_wake_one_here(q, rc);
}

size_t apus_waitq_wake_all(struct apus_waitq *q, int64_t rc)
{
	size_t woken = 0;

	while (apus_waitq_wake_one_here(q, rc))
		woken++;
	return woken;
}

int apus_waitq_wake_one_then_0(struct apus_waitq *q)
{
	apus_waitq_wake_one(q, 0);
	return 0;
}
