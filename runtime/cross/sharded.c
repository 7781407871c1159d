/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/sharded.c: an instance on each shard, behind a gate; see sharded.h.
 *
 * The service lies in the memory of the shard that started it. Each shard has a place in it that
 * only that shard writes, and who started it reads when a call there has answered.
 */
#include "runtime/cross/sharded.h"

#include "runtime/base/alloc.h"
#include "runtime/base/list.h"
#include "runtime/cross/ring.h"
#include "runtime/sched/internal.h"
#include "runtime/sched/park.h"
#include "runtime/sync/gate.h"
#include "runtime/sync/timeout.h"

#include <errno.h>

#define RETRY_NS \
 (10 * APUS_MS) /* when there is no memory for the task that is to stop an instance */

/* Of one shard. */
struct place {
	struct apus_sharded *service;
	void *instance;
	bool is_started; /* and not stopped */
	struct apus_gate gate;
	struct apus_list inside; /* struct invocation.link */
} APUS_ALIGNED(APUS_RING_APART);

struct apus_sharded {
	struct apus_sharded_options options;
	struct apus_heap *heap;
	int64_t deadline_ns; /* of a stop */
	unsigned int count;
	struct place places[];
};

/* A call that is inside; on its stack. */
struct invocation {
	struct apus_list link;
	struct apus_task *task;
};

/* Reaches the task as its argument; of the caller. */
struct order {
	struct apus_sharded *service;
	apus_sharded_fn fn;
	void *arg;
};

static struct place *place_here(struct apus_sharded *s)
{
	unsigned int index = apus_shard_index();

	return index < s->count ? &s->places[index] : NULL;
}

/* ------------------------------------------------------------------------------------------ calls */

static int64_t invoke(void *arg)
{
	const struct order *order = arg;
	struct place *place = place_here(order->service);
	struct invocation self = {.task = apus_task_self()};
	int64_t rc;

	if (!place || !place->is_started || apus_gate_enter(&place->gate))
		return -EPIPE;
	apus_list_push_back(&place->inside, &self.link);
	rc = order->fn(place->instance, order->arg);
	apus_list_unlink(&self.link);
	(void)apus_gate_leave(&place->gate);
	return rc;
}

int64_t apus_sharded_call(struct apus_sharded *s, unsigned int shard, apus_sharded_fn fn, void *arg)
{
	struct order order = {.service = s, .fn = fn, .arg = arg};

	return apus_call_on(shard, invoke, &order);
}

int64_t apus_sharded_call_all(struct apus_sharded *s, apus_sharded_fn fn, void *arg,
			      int64_t *results)
{
	struct order order = {.service = s, .fn = fn, .arg = arg};

	return apus_on_all(invoke, &order, results);
}

int64_t apus_sharded_map_reduce(struct apus_sharded *s, apus_sharded_fn map, void *arg,
				apus_reduce_fn reduce, void *into)
{
	struct order order = {.service = s, .fn = map, .arg = arg};

	return apus_map_reduce(invoke, &order, reduce, into);
}

void *apus_sharded_here(const struct apus_sharded *s)
{
	unsigned int index = apus_shard_index();

	return index < s->count && s->places[index].is_started ? s->places[index].instance : NULL;
}

/* ------------------------------------------------------------------------------------------- stop */

static void cancel_inside(struct place *place)
{
	struct apus_list *it;

	apus_list_for_each(it, &place->inside) {
		struct invocation *i = apus_list_entry(it, struct invocation, link);

		apus_task_cancel_because(i->task, "the service stops");
	}
}

/* Until nobody is inside. Return: 0; -ETIMEDOUT, -ECANCELED: some had to be cancelled */
static int64_t empty(struct place *place, int64_t deadline_ns)
{
	struct apus_timeout limit;
	int64_t rc;

	apus_timeout_begin(&limit, APUS_NEVER);
	apus_timeout_reschedule(&limit, deadline_ns);
	rc = apus_timeout_end(&limit, apus_gate_close(&place->gate));
	if (!place->gate.inside)
		return rc == -ETIMEDOUT ? 0 : rc;
	cancel_inside(place);
	while (place->gate.inside)
		if (apus_gate_close(&place->gate))
			rc = -ECANCELED; /* they are to end all the same */
	return rc;
}

static int64_t stop_here(void *arg)
{
	struct apus_sharded *s = arg;
	struct place *place = place_here(s);
	int64_t rc = empty(place, s->deadline_ns), stopped;
	int64_t left_ns = rc ? 0 : apus_max(s->deadline_ns - apus_now(), (int64_t)0);

	place->is_started = false;
	stopped = s->options.stop(place->instance, left_ns, s->options.arg);
	return rc ? rc : apus_min(stopped, (int64_t)0);
}

/* On shard @index, whatever happens to the caller; what keeps it from beginning passes. */
static int64_t stop_on(struct apus_sharded *s, unsigned int index)
{
	const struct place *place = &s->places[index];
	int64_t rc;

	for (;;) {
		rc = apus_call_on(index, stop_here, s);
		if (!place->is_started || rc == -ESHUTDOWN)
			return rc;
		if (rc == -ENOMEM)
			(void)!apus_sleep(RETRY_NS);
	}
}

/*
 * A cancel was passed on to the stop that ran, which may have told nobody; for the next it is the
 * deadline. One that came before is as if it came now. It is told once, by us.
 */
static int64_t stop_all(struct apus_sharded *s, int64_t drain_ns)
{
	struct apus_task *self = apus_task_self();
	uint32_t cancels = apus_task_cancelling(self);
	bool is_cancelled = apus_take_cancel(self);
	int64_t first = 0;

	s->deadline_ns = drain_ns == APUS_NEVER ? APUS_NEVER : apus_now() + drain_ns;
	for (unsigned int i = s->count; i-- > 0;) {
		if (!s->places[i].is_started)
			continue;
		if (is_cancelled || apus_task_cancelling(self) > cancels)
			s->deadline_ns = apus_min(s->deadline_ns, apus_now());

		int64_t rc = stop_on(s, i);

		if (rc < 0 && !first)
			first = rc;
	}
	apus_heap_free(s->heap, s);
	if (!is_cancelled && apus_task_cancelling(self) == cancels)
		return first;
	(void)apus_take_cancel(self);
	return -ECANCELED;
}

int64_t apus_sharded_stop(struct apus_sharded *s, int64_t drain_ns)
{
	return stop_all(s, drain_ns);
}

/* ------------------------------------------------------------------------------------------ start */

static int64_t start_here(void *arg)
{
	struct apus_sharded *s = arg;
	struct place *place = place_here(s);
	int64_t rc;

	apus_gate_init(&place->gate);
	apus_list_init(&place->inside);
	rc = s->options.start(s->options.arg, &place->instance);
	place->is_started = rc >= 0;
	return apus_min(rc, (int64_t)0);
}

int64_t apus_sharded_start(const struct apus_sharded_options *options, struct apus_sharded **out)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	unsigned int count = apus_shard_count();
	struct apus_sharded *s = apus_heap_alloc_aligned(
		heap, sizeof(*s) + count * sizeof(struct place), APUS_RING_APART);
	int64_t rc = 0;

	if (!s)
		return -ENOMEM;
	*s = (struct apus_sharded){.options = *options, .heap = heap, .count = count};
	for (unsigned int i = 0; i < count; i++)
		s->places[i] = (struct place){.service = s};
	for (unsigned int i = 0; i < count && !rc; i++)
		rc = apus_call_on(i, start_here, s);
	if (rc) {
		(void)stop_all(s, options->drain_ns);
		return rc;
	}
	*out = s;
	return 0;
}
