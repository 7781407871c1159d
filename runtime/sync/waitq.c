/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/waitq.c: a queue of waiting tasks.
 */
#include "runtime/sync/waitq.h"

#include "runtime/sched/wait.h"

int64_t apus_waitq_wait(struct apus_waitq *q, const char *what)
{
	struct apus_wait wait;
	int rc = apus_wait_check(&q->waiters);

	if (apus_unlikely(rc))
		return rc;
	apus_wait_init(&wait, NULL, what, q);
	apus_list_push_back(&q->waiters, &wait.link);
	return apus_park(&wait);
}

bool apus_waitq_wake_one(struct apus_waitq *q, int64_t rc)
{
	if (apus_waitq_empty(q))
		return false;
	apus_wake(apus_list_entry(q->waiters.next, struct apus_wait, link), rc);
	return true;
}

size_t apus_waitq_wake_all(struct apus_waitq *q, int64_t rc)
{
	size_t woken = 0;

	while (apus_waitq_wake_one(q, rc))
		woken++;
	return woken;
}
