/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/barrier.c: a condition over a count and a state.
 */
#include "runtime/sync/barrier.h"

#include <errno.h>

void apus_barrier_init(struct apus_barrier *b, uint32_t parties)
{
	apus_lock_init(&b->lock);
	apus_condition_init(&b->condition, &b->lock);
	b->parties = parties;
	b->count = 0;
	b->state = APUS_BARRIER_FILLING;
}

static bool lets_in(void *arg)
{
	const struct apus_barrier *b = arg;

	return b->state != APUS_BARRIER_DRAINING && b->state != APUS_BARRIER_RESETTING;
}

static bool lets_out(void *arg)
{
	const struct apus_barrier *b = arg;

	return b->state != APUS_BARRIER_FILLING;
}

/* Waits outside while the barrier drains or resets. */
static int get_in(struct apus_barrier *b)
{
	int rc = apus_condition_wait_for(&b->condition, lets_in, b);

	if (rc)
		return rc;
	return b->state == APUS_BARRIER_BROKEN ? -EPIPE : 0;
}

static int wait_inside(struct apus_barrier *b)
{
	int rc = apus_condition_wait_for(&b->condition, lets_out, b);

	if (rc)
		return rc;
	return b->state == APUS_BARRIER_DRAINING ? 0 : -EPIPE;
}

/* The last one out lets in those who wait outside. */
static void get_out(struct apus_barrier *b)
{
	if (--b->count)
		return;
	if (b->state != APUS_BARRIER_BROKEN)
		b->state = APUS_BARRIER_FILLING;
	apus_condition_notify_all(&b->condition);
}

int64_t apus_barrier_wait(struct apus_barrier *b)
{
	int rc = apus_lock_acquire(&b->lock);
	int64_t index = 0;

	if (rc)
		return rc;
	rc = get_in(b);
	if (!rc) {
		index = b->count++;
		if (b->count == b->parties) {
			b->state = APUS_BARRIER_DRAINING;
			apus_condition_notify_all(&b->condition);
		} else {
			rc = wait_inside(b);
		}
		get_out(b);
	}
	apus_lock_release(&b->lock);
	return rc ? rc : index;
}

/* Tasks inside get out with an error; without any, RESETTING would have nobody to end it. */
static int interrupt(struct apus_barrier *b, enum apus_barrier_state inhabited,
		     enum apus_barrier_state empty)
{
	int rc = apus_lock_acquire(&b->lock);

	if (rc)
		return rc;
	b->state = b->count ? inhabited : empty;
	apus_condition_notify_all(&b->condition);
	apus_lock_release(&b->lock);
	return 0;
}

int apus_barrier_reset(struct apus_barrier *b)
{
	return interrupt(b, APUS_BARRIER_RESETTING, APUS_BARRIER_FILLING);
}

int apus_barrier_abort(struct apus_barrier *b)
{
	return interrupt(b, APUS_BARRIER_BROKEN, APUS_BARRIER_BROKEN);
}
