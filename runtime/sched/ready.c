/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/ready.c: the slow half of the ready queue: growing, overflowing, taking out.
 */
#include "runtime/sched/ready.h"

#include "runtime/base/check.h"

#include <errno.h>

static const uint32_t ring_min = 256;
static const uint32_t ring_max = UINT32_C(1) << 30;

int apus_ready_init(struct apus_ready *r, struct apus_heap *heap)
{
	*r = (struct apus_ready){
		.ring = apus_heap_alloc(heap, ring_min * sizeof(r->ring[0])),
		.mask = ring_min - 1,
		.room = ring_min,
		.heap = heap,
	};
	r->overflow_tail = &r->overflow;
	return r->ring ? 0 : -ENOMEM;
}

void apus_ready_fini(struct apus_ready *r)
{
	apus_heap_free(r->heap, r->ring);
	r->ring = NULL;
}

static bool grow(struct apus_ready *r)
{
	uint32_t size = 2 * (r->mask + 1);
	uintptr_t *ring;

	if (size > ring_max)
		return false;
	ring = apus_heap_alloc(r->heap, size * sizeof(ring[0]));
	if (!ring)
		return false;
	/* Positions stay; only the mask under them changes. */
	for (uint32_t at = r->head; at != r->tail; at++)
		ring[at & (size - 1)] = r->ring[at & r->mask];
	apus_heap_free(r->heap, r->ring);
	r->ring = ring;
	r->mask = size - 1;
	r->room = size;
	return true;
}

static void overflow_push(struct apus_ready *r, struct apus_work *work, uintptr_t tag)
{
	work->where = APUS_READY_OVERFLOW;
	work->position = (uint32_t)tag; /* it has no position yet: keep the tag there */
	work->next = NULL;
	*r->overflow_tail = work;
	r->overflow_tail = &work->next;
	r->room = 0;
}

int apus_ready_push_slow(struct apus_ready *r, struct apus_work *work, uintptr_t tag)
{
	if (!r->overflow && grow(r))
		return apus_ready_push(r, work, tag);
	overflow_push(r, work, tag);
	return 0;
}

void apus_ready_refill(struct apus_ready *r)
{
	struct apus_work *work = r->overflow;

	r->overflow = NULL;
	r->overflow_tail = &r->overflow;
	r->room = r->mask + 1;
	while (work && (r->tail - r->head <= r->mask || grow(r))) {
		struct apus_work *next = work->next;

		apus_ready_push(r, work, work->position);
		work = next;
	}
	if (!work)
		return;
	r->overflow = work;
	r->room = 0;
	while (work->next)
		work = work->next;
	r->overflow_tail = &work->next;
}

/* The walk along the overflow is linear; it exists only while memory is out. */
static bool overflow_remove(struct apus_ready *r, struct apus_work *work)
{
	for (struct apus_work **at = &r->overflow; *at; at = &(*at)->next) {
		if (*at != work)
			continue;
		*at = work->next;
		if (!*at)
			r->overflow_tail = at;
		if (!r->overflow)
			r->room = r->mask + 1;
		return true;
	}
	return false;
}

bool apus_ready_remove(struct apus_ready *r, struct apus_work *work)
{
	switch ((enum apus_ready_place)work->where) {
	case APUS_READY_NOWHERE:
		return false;
	case APUS_READY_RING:
		r->ring[work->position & r->mask] = 0;
		break;
	case APUS_READY_OVERFLOW:
		apus_must(overflow_remove(r, work));
		break;
	}
	work->where = APUS_READY_NOWHERE;
	return true;
}
