/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/inbox.c: what other threads and signal handlers give a shard to run.
 *
 * A stack of nodes pushed by compare-and-swap and taken whole, so that many producers and one
 * consumer need no lock (Treiber 1986; taking all at once leaves no ABA). What one thread gave comes
 * out in its order. The nodes are their owners', so the inbox itself takes no memory, however many
 * wait in it.
 *
 * The bell, an eventfd, is rung only when the shard sleeps, and once for all that come meanwhile:
 * `asleep` is set before the shard looks at the inbox a last time, and read by a producer after it
 * pushed, both sequentially consistent, so one of the two sees the other; the producer that takes it
 * back rings.
 *
 * A shard that closes leaves CLOSED in the stack's head by the same exchange that takes what is
 * there: a push comes before it and is run, or after it and is refused. The inbox is counted apart
 * from the shard, bell included, so that a thread that holds it may find this out at any time.
 */
#include "runtime/sched/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CLOSED ((struct apus_work *)1) /* at no work's address */

/* ------------------------------------------------------------------------------- on any thread */

static void ring(struct apus_inbox *inbox)
{
	if (atomic_load(&inbox->asleep) && atomic_exchange(&inbox->asleep, false))
		(void)eventfd_write(inbox->event_fd, 1);
}

void apus_shard_ring(struct apus_shard *shard)
{
	ring(shard->inbox);
}

int apus_inbox_call(struct apus_inbox *inbox, struct apus_work *work)
{
	int saved_errno = errno; /* of the code that a signal handler interrupted */
	struct apus_work *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);

	do {
		if (head == CLOSED)
			return -ESHUTDOWN;
		work->next = head;
	} while (!atomic_compare_exchange_weak(&inbox->head, &head, work));
	ring(inbox);
	errno = saved_errno;
	return 0;
}

struct apus_inbox *apus_inbox_get(struct apus_shard *shard)
{
	struct apus_inbox *inbox = shard->inbox;

	atomic_fetch_add_explicit(&inbox->refs, 1, memory_order_relaxed);
	return inbox;
}

void apus_inbox_put(struct apus_inbox *inbox)
{
	if (!inbox || atomic_fetch_sub_explicit(&inbox->refs, 1, memory_order_acq_rel) > 1)
		return;
	close(inbox->event_fd);
	free(inbox);
}

/* As soon as the work is there, it may run and end the shard: its bell must be there a little longer. */
int apus_call_from_thread(struct apus_shard *shard, struct apus_work *work)
{
	struct apus_inbox *inbox = apus_inbox_get(shard);
	int rc = apus_inbox_call(inbox, work);

	apus_inbox_put(inbox);
	return rc;
}

/* ---------------------------------------------------------------------------------- on the shard */

static struct apus_work *oldest_first(struct apus_work *newest)
{
	struct apus_work *oldest = NULL;

	while (newest) {
		struct apus_work *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

bool apus_inbox_poll(struct apus_shard *s)
{
	struct apus_inbox *inbox = s->inbox;
	struct apus_work *work = atomic_load_explicit(&inbox->head, memory_order_relaxed);

	if (apus_likely(!work) || work == CLOSED)
		return false;
	work = oldest_first(atomic_exchange_explicit(&inbox->head, NULL, memory_order_acquire));

	while (work) {
		struct apus_work *next = work->next;

		s->counters[APUS_SHARD_INBOX]++;
		work->where = APUS_READY_NOWHERE;
		apus_ready_push(&s->ready, work, 0);
		work = next;
	}
	return true;
}

int apus_inbox_open(struct apus_shard *s)
{
	/* It outlasts the shard's heap. */
	struct apus_inbox *inbox = aligned_alloc(APUS_CACHE_LINE, sizeof(*inbox));
	int rc;

	if (!inbox)
		return -ENOMEM;
	atomic_init(&inbox->head, NULL);
	atomic_init(&inbox->asleep, false);
	atomic_init(&inbox->refs, 1);
	apus_list_init(&inbox->waiting);
	inbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (inbox->event_fd < 0) {
		rc = -errno;
		free(inbox);
		return rc;
	}
	s->inbox = inbox;
	return 0;
}

void apus_inbox_shut(struct apus_shard *s)
{
	struct apus_work *work = oldest_first(atomic_exchange(&s->inbox->head, CLOSED));
	struct apus_list *node;

	while (work) {
		struct apus_work *next = work->next;

		work->where = APUS_READY_NOWHERE;
		work->fn(work);
		work = next;
	}
	while ((node = apus_list_pop_front(&s->inbox->waiting))) {
		struct apus_inbox_wait *wait = apus_list_entry(node, struct apus_inbox_wait, link);

		wait->lost(wait);
	}
}

void apus_inbox_wait(struct apus_shard *s, struct apus_inbox_wait *wait)
{
	apus_list_push_back(&s->inbox->waiting, &wait->link);
}
