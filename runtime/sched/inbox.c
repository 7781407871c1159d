/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/inbox.c: what other threads and signal handlers give a shard to run.
 *
 * A stack of nodes pushed by compare-and-swap and taken whole, so that many producers and one
 * consumer need no lock (Treiber 1986; taking all at once leaves no ABA). The bell, an eventfd, is
 * rung only when the shard sleeps: `asleep` is set before the shard looks at the inbox a last
 * time, and read by a producer after it pushed, both sequentially consistent, so one of the two
 * sees the other.
 */
#include "runtime/sched/internal.h"

#include <errno.h>
#include <sys/eventfd.h>

void apus_shard_ring(struct apus_shard *shard)
{
	if (atomic_load(&shard->asleep))
		(void)eventfd_write(shard->event_fd, 1);
}

void apus_call_from_thread(struct apus_shard *shard, struct apus_work *work)
{
	int saved_errno = errno; /* of the code that a signal handler interrupted */
	struct apus_work *head = atomic_load_explicit(&shard->inbox, memory_order_relaxed);

	do {
		work->next = head;
	} while (!atomic_compare_exchange_weak(&shard->inbox, &head, work));
	apus_shard_ring(shard);
	errno = saved_errno;
}

bool apus_inbox_poll(struct apus_shard *s)
{
	if (apus_likely(!atomic_load_explicit(&s->inbox, memory_order_relaxed)))
		return false;

	struct apus_work *newest = atomic_exchange_explicit(&s->inbox, NULL, memory_order_acquire);
	struct apus_work *oldest = NULL;

	while (newest) {
		struct apus_work *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct apus_work *next = oldest->next;

		s->counters[APUS_SHARD_INBOX]++;
		oldest->where = APUS_READY_NOWHERE;
		apus_ready_push(&s->ready, oldest, 0);
		oldest = next;
	}
	return true;
}
